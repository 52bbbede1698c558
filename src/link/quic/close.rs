//! Numbers that a connection is closed with, and what the end of one says.

use quinn::{ConnectionError, TransportErrorCode, VarInt};

use super::super::keep::Ended;
use crate::wire::Refusal;

// 0 is what quinn itself says where a connection was dropped and not closed: that is no goodbye.

/// The peer ends, or ends this link.
pub(super) const GOODBYE: VarInt = VarInt::from_u32(1);
/// Another connection has taken the place of this one.
pub(super) const RETIRED: VarInt = VarInt::from_u32(2);
/// A stream was not written or read in time, or nobody takes what it carries.
pub(super) const DROPPED: VarInt = VarInt::from_u32(3);
/// The number of the first reason of a refusal.
const REFUSED: u32 = 16;

/// Alerts of TLS (RFC 8446 section 6) by which one side refuses the other.
mod alert {
    pub(super) const BAD_CERTIFICATE: u64 = 42;
    pub(super) const CERTIFICATE_EXPIRED: u64 = 45;
    pub(super) const CERTIFICATE_UNKNOWN: u64 = 46;
    pub(super) const UNKNOWN_CA: u64 = 48;
    pub(super) const DECRYPT_ERROR: u64 = 51;
    pub(super) const PROTOCOL_VERSION: u64 = 70;
    pub(super) const CERTIFICATE_REQUIRED: u64 = 116;
    pub(super) const NO_APPLICATION_PROTOCOL: u64 = 120;
}

/// The number of a refusal.
pub(super) fn code_of(reason: Refusal) -> VarInt {
    VarInt::from_u32(REFUSED + reason as u32)
}

/// Whether the end of a connection is a refusal, and whose: true where the other side refused.
pub(super) fn refusal(error: &ConnectionError) -> Option<(Refusal, bool)> {
    match error {
        ConnectionError::TransportError(error) => of_alert(error.code).map(|reason| (reason, false)),
        ConnectionError::ConnectionClosed(close) => of_alert(close.error_code).map(|reason| (reason, true)),
        ConnectionError::ApplicationClosed(close) => of_code(close.error_code).map(|reason| (reason, true)),
        ConnectionError::VersionMismatch => Some((Refusal::Version, false)),
        ConnectionError::Reset
        | ConnectionError::TimedOut
        | ConnectionError::LocallyClosed
        | ConnectionError::CidsExhausted => None,
    }
}

/// What the end of a connection that had been taken means.
pub(super) fn ended(error: &ConnectionError) -> Ended {
    match error {
        ConnectionError::ApplicationClosed(close) if close.error_code == GOODBYE => Ended::Goodbye,
        error => match refusal(error) {
            Some((reason, true)) => Ended::Refused(reason),
            _ => Ended::Lost,
        },
    }
}

fn of_code(code: VarInt) -> Option<Refusal> {
    let at = code.into_inner().checked_sub(u64::from(REFUSED))?;
    Refusal::ALL.get(usize::try_from(at).ok()?).copied()
}

/// In QUIC an alert is the lower byte of a transport error from 0x100 on (RFC 9001 section 4.8).
fn of_alert(code: TransportErrorCode) -> Option<Refusal> {
    match u64::from(code).checked_sub(0x100)? {
        // The certificate is of a trusted authority, and lacks the name that was dialed.
        alert::BAD_CERTIFICATE => Some(Refusal::WrongCluster),
        alert::UNKNOWN_CA
        | alert::DECRYPT_ERROR
        | alert::CERTIFICATE_UNKNOWN
        | alert::CERTIFICATE_EXPIRED
        | alert::CERTIFICATE_REQUIRED => Some(Refusal::WrongKey),
        alert::NO_APPLICATION_PROTOCOL | alert::PROTOCOL_VERSION => Some(Refusal::Version),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_read_from_the_number_it_was_closed_with() {
        for reason in Refusal::ALL {
            assert_eq!(of_code(code_of(reason)), Some(reason));
        }
        for code in [GOODBYE, RETIRED, DROPPED, VarInt::from_u32(REFUSED + 10), VarInt::MAX] {
            assert_eq!(of_code(code), None);
        }
        assert_eq!(of_alert(TransportErrorCode::crypto(48)), Some(Refusal::WrongKey));
        assert_eq!(of_alert(TransportErrorCode::crypto(42)), Some(Refusal::WrongCluster));
        assert_eq!(of_alert(TransportErrorCode::INTERNAL_ERROR), None);
    }
}
