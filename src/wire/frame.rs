//! What stands before every body: its kind, two bytes, the greater first.

use super::WireError;

/// What a message is. Its number is frozen; a new kind takes a new one.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u16)]
pub enum Kind {
    /// A peer says who it is: the first message of a connection.
    Hello = 1,
    /// The answer to it.
    HelloAnswer = 2,
    /// Nodes that were just seen failing.
    Hint = 3,
    /// Who leads, and what the cluster has agreed on.
    Election = 4,
    /// What one peer asks another.
    Query = 5,
    /// The answer to that.
    QueryAnswer = 6,
}

impl Kind {
    /// Every kind, for reading.
    const ALL: [Self; 6] = [Self::Hello, Self::HelloAnswer, Self::Hint, Self::Election, Self::Query, Self::QueryAnswer];

    /// The message: this kind, then the body.
    pub(super) fn frame(self, body: &[u8]) -> Vec<u8> {
        let mut message = Vec::with_capacity(2 + body.len());
        message.extend_from_slice(&(self as u16).to_be_bytes());
        message.extend_from_slice(body);
        message
    }

    /// The kind of a message and its body.
    pub(crate) fn split(message: &[u8]) -> Result<(Self, &[u8]), WireError> {
        let (number, body) = message.split_first_chunk().ok_or(WireError::KindMissing(message.len()))?;
        let number = u16::from_be_bytes(*number);
        let kind = Self::ALL.into_iter().find(|kind| *kind as u16 == number);
        kind.map(|kind| (kind, body)).ok_or(WireError::KindUnknown(number))
    }

    /// The body of a message that must be of this kind.
    pub(super) fn body(self, message: &[u8]) -> Result<&[u8], WireError> {
        match Self::split(message)? {
            (kind, body) if kind == self => Ok(body),
            (other, _) => Err(WireError::KindUnexpected(other)),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_message_begins_with_its_kind() {
        for kind in Kind::ALL {
            let message = kind.frame(b"body");
            assert_eq!(Kind::split(&message), Ok((kind, &b"body"[..])));
            assert_eq!(kind.body(&message), Ok(&b"body"[..]));
        }
        assert_eq!(Kind::Hint.frame(&[]), [0, 3]);
    }

    #[test]
    fn a_kind_that_is_missing_unknown_or_not_due_is_an_error() {
        assert_eq!(Kind::split(&[]), Err(WireError::KindMissing(0)));
        assert_eq!(Kind::split(&[0]), Err(WireError::KindMissing(1)));
        assert_eq!(Kind::split(&[0xff, 0xfe, 1]), Err(WireError::KindUnknown(0xfffe)));
        assert_eq!(Kind::Hello.body(&[0, 3]), Err(WireError::KindUnexpected(Kind::Hint)));
    }

    proptest! {
        #[test]
        fn no_bytes_break_the_reader(bytes: Vec<u8>) {
            if let Ok((kind, body)) = Kind::split(&bytes) {
                prop_assert_eq!(kind.frame(body), bytes);
            }
        }
    }
}
