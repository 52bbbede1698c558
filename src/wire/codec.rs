//! The one place that calls bincode.

use bincode::config;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Why bytes are no message, or a value cannot become one.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum WireError {
    /// Cut off, or not what stands at this place.
    #[error("a message cannot be read: {0}; do all peers run versions that fit each other?")]
    Unreadable(String),
    /// The message is whole, and more follows.
    #[error("{0} bytes follow after the end of a message; do all peers run versions that fit each other?")]
    Leftover(usize),
    /// More than a message of its kind may have.
    #[error("a message of {length} bytes is longer than the {max} that its kind may have")]
    TooLong {
        /// Bytes of the message.
        length: usize,
        /// Bytes that are allowed.
        max: usize,
    },
    /// Fewer bytes than a kind has.
    #[error("a message of {0} bytes has no room for its kind")]
    KindMissing(usize),
    /// A kind of a later version, or none.
    #[error("kind {0} of message is not known here; is the sender's version a later one?")]
    KindUnknown(u16),
    /// A known kind, and another one is due.
    #[error("a message of kind {0:?} is not what is due here")]
    KindUnexpected(super::Kind),
}

/// The bytes of `value`, which are at most `MAX`.
pub(crate) fn encode<const MAX: usize>(value: &impl Serialize) -> Result<Vec<u8>, WireError> {
    let bytes = bincode::serde::encode_to_vec(value, config::standard())
        .map_err(|error| WireError::Unreadable(error.to_string()))?;
    if bytes.len() > MAX { Err(WireError::TooLong { length: bytes.len(), max: MAX }) } else { Ok(bytes) }
}

/// The value that `bytes` are, all of them.
///
/// The length is looked at first; the limit given to bincode holds what a claimed length could make it set aside.
pub(crate) fn decode<T: DeserializeOwned, const MAX: usize>(bytes: &[u8]) -> Result<T, WireError> {
    if bytes.len() > MAX {
        return Err(WireError::TooLong { length: bytes.len(), max: MAX });
    }
    let (value, read) = bincode::serde::decode_from_slice(bytes, config::standard().with_limit::<MAX>())
        .map_err(|error| WireError::Unreadable(error.to_string()))?;
    match bytes.len() - read {
        0 => Ok(value),
        leftover => Err(WireError::Leftover(leftover)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_after_a_message_are_an_error() {
        let mut bytes = encode::<8>(&7_u16).unwrap();
        assert_eq!(decode::<u16, 8>(&bytes), Ok(7));
        bytes.push(0);
        assert_eq!(decode::<u16, 8>(&bytes), Err(WireError::Leftover(1)));
    }

    #[test]
    fn the_bound_holds_in_both_directions() {
        assert_eq!(encode::<4>(&"abcd"), Err(WireError::TooLong { length: 5, max: 4 }));
        assert_eq!(decode::<String, 4>(b"\x04abcd"), Err(WireError::TooLong { length: 5, max: 4 }));
        assert_eq!(encode::<5>(&"abcd"), Ok(b"\x04abcd".to_vec()));
    }

    #[test]
    fn a_claimed_length_sets_nothing_aside() {
        // A text of 2^63 bytes, of which none follows.
        let bytes = [0xfd, 0, 0, 0, 0, 0, 0, 0, 0x80];
        assert!(matches!(decode::<String, 64>(&bytes), Err(WireError::Unreadable(_))));
        assert!(matches!(decode::<Vec<u64>, 64>(&bytes), Err(WireError::Unreadable(_))));
    }
}
