//! A TLS check: the handshake, with all that rustls asks of a certificate, and how long that certificate is still good.

use std::time::{Duration, Instant};

use tokio::io::AsyncWriteExt;
use tokio::time::timeout;

use super::Found;
use super::connect::open;
use super::error::ProbeError;
use crate::host;
use crate::model::{CheckTarget, TlsCheck, Transport};
use crate::tls::{Inside, NodeTls, good_until_ms};

const DAY_MS: u64 = 24 * 3_600_000;
/// How long the end of a connection may take after the result is known.
const CLOSE_TIME_MAX: Duration = Duration::from_millis(100);

/// The outcome, and when it was known.
pub(super) async fn check(
    target: &CheckTarget,
    check: &TlsCheck,
    tls: &NodeTls,
    deadline: Instant,
    connect: &mut Option<Duration>,
) -> (Result<Found, ProbeError>, Instant) {
    // Whatever else is spoken to the node, it is this that is looked at.
    let transport = match &target.transport {
        Transport::Plain => Transport::Tls,
        spoken => spoken.clone(),
    };
    let target = CheckTarget { transport, ..target.clone() };
    let opened = open(&target, (tls, Inside::Bytes), deadline, connect).await;
    let known = host::now();
    let mut connection = match opened {
        Ok(connection) => connection,
        Err(error) => return (Err(error), known),
    };
    let outcome = connection.certificate().and_then(good_until_ms).map_or_else(
        || Err(ProbeError::Malformed("its certificate does not say how long it is good".to_owned())),
        |until_ms| Ok(judge(until_ms, host::wall_now_ms(), check)),
    );
    let _ = timeout(CLOSE_TIME_MAX, connection.shutdown()).await;
    (outcome, known)
}

fn judge(until_ms: u64, now_ms: u64, check: &TlsCheck) -> Found {
    let days_left = until_ms.saturating_sub(now_ms) / DAY_MS;
    if days_left < u64::from(check.min_days) { Found::Ending { days_left } } else { Found::Certified { days_left } }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_that_ends_within_the_days_is_told() {
        let check = TlsCheck { min_days: 7 };
        let days = |days: u64| 1_000 + days * DAY_MS;
        assert_eq!(judge(days(7), 1_000, &check), Found::Certified { days_left: 7 });
        assert_eq!(judge(days(7) - 1, 1_000, &check), Found::Ending { days_left: 6 });
        assert_eq!(judge(0, 1_000, &check), Found::Ending { days_left: 0 });
        assert_eq!(judge(0, 1_000, &TlsCheck { min_days: 0 }), Found::Certified { days_left: 0 }, "nobody asks");
    }
}
