//! Writes that were done, by the id that their senders gave them.
//!
//! A client that got no answer sends its write again, through any peer and perhaps to another leader. What was done the
//! first time is part of the value that is agreed on, so whoever leads knows it. It stands beside the body, so that two
//! values of one body are equal to those who ask for the body alone; the hash by which a value is fetched is of both.

use std::collections::VecDeque;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::host::Dice;
use crate::model::limits::{IDEMPOTENCY_ID_BYTES_MAX, OUTCOMES_MAX, VALUE_BODY_BYTES_MAX, VALUE_BYTES_MAX};
use crate::model::{Revision, ValueHash};
use crate::wire::{WireError, read_record, write_record};

/// What a client calls one write: 1 to [`IDEMPOTENCY_ID_BYTES_MAX`] printable ASCII characters.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct IdempotencyId(Box<str>);

/// A text is no [`IdempotencyId`].
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("an idempotency id has 1 to {IDEMPOTENCY_ID_BYTES_MAX} printable ASCII characters and no space")]
pub struct IdempotencyIdError;

impl IdempotencyId {
    /// One that nobody else has, by 128 bits of chance.
    pub fn random(dice: &mut Dice) -> Self {
        Self(format!("{:016x}{:016x}", dice.bits(), dice.bits()).into())
    }
}

impl FromStr for IdempotencyId {
    type Err = IdempotencyIdError;

    fn from_str(text: &str) -> Result<Self, IdempotencyIdError> {
        let fits = (1..=IDEMPOTENCY_ID_BYTES_MAX).contains(&text.len());
        if fits && text.bytes().all(|b| b.is_ascii_graphic()) { Ok(Self(text.into())) } else { Err(IdempotencyIdError) }
    }
}

impl fmt::Display for IdempotencyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for IdempotencyId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for IdempotencyId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Box::<str>::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// What is to be written, in 8 bytes: by them an id that is used again for something else is noticed (the fingerprint of
/// draft-ietf-httpapi-idempotency-key-header, section 2.4).
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Fingerprint(u64);

impl Fingerprint {
    /// Of these bytes: the first 8 of their SHA-256.
    pub fn of(bytes: &[u8]) -> Self {
        let mut first = [0; 8];
        first.copy_from_slice(&ValueHash::of(bytes).bytes()[..8]);
        Self(u64::from_be_bytes(first))
    }
}

/// By this a write that is sent again is known.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct WriteKey {
    /// What its sender calls it.
    pub id: IdempotencyId,
    /// What it is to write.
    pub fingerprint: Fingerprint,
}

/// What is known of a write that is sent again.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Remembered {
    /// It was done, and became this revision.
    Done(Revision),
    /// Under its id something else was done.
    Other,
}

/// The last [`OUTCOMES_MAX`] writes that had an id, each id once, the oldest first.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
pub struct Outcomes(VecDeque<(WriteKey, Revision)>);

impl Outcomes {
    /// What became of this write; `None`: nothing was done under its id.
    pub fn get(&self, key: &WriteKey) -> Option<Remembered> {
        let (known, revision) = self.0.iter().find(|(known, _)| known.id == key.id)?;
        Some(if known == key { Remembered::Done(*revision) } else { Remembered::Other })
    }

    /// This write becomes that revision. Of too many the oldest are forgotten; an id that is known keeps its revision.
    pub fn push(&mut self, key: WriteKey, revision: Revision) {
        if self.get(&key).is_none() {
            if self.0.len() == OUTCOMES_MAX {
                self.0.pop_front();
            }
            self.0.push_back((key, revision));
        }
    }

    /// How many are remembered.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<'de> Deserialize<'de> for Outcomes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let all = VecDeque::<(WriteKey, Revision)>::deserialize(deserializer)?;
        let distinct: std::collections::BTreeSet<_> = all.iter().map(|(key, _)| &key.id).collect();
        if all.len() > OUTCOMES_MAX || distinct.len() < all.len() {
            return Err(de::Error::custom(format_args!("outcomes are at most {OUTCOMES_MAX}, each id once")));
        }
        Ok(Self(all))
    }
}

/// The value that a cluster agrees on: a body that means nothing here, and the outcomes of the writes that made it.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Value {
    /// What was done, by id.
    pub outcomes: Outcomes,
    /// The catalog.
    pub body: Vec<u8>,
}

impl Value {
    /// Its bytes, as they are kept and fetched.
    pub fn encode(&self) -> Result<Vec<u8>, WireError> {
        if self.body.len() > VALUE_BODY_BYTES_MAX {
            return Err(WireError::TooLong { length: self.body.len(), max: VALUE_BODY_BYTES_MAX });
        }
        write_record::<VALUE_BYTES_MAX>(self)
    }

    /// The value that bytes of this hash are.
    pub fn decode(bytes: &[u8], hash: ValueHash) -> Result<Self, ValueError> {
        if bytes.len() > VALUE_BYTES_MAX || ValueHash::of(bytes) != hash {
            return Err(ValueError::Bent);
        }
        read_record::<Self, VALUE_BYTES_MAX>(bytes).map_err(ValueError::Unreadable)
    }
}

/// Why bytes are not the value that was asked for.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ValueError {
    /// They have another hash.
    #[error("these are not the bytes of the value with that hash")]
    Bent,
    /// They have the right hash, and yet nothing can be read in them.
    #[error("the value cannot be read: {0}")]
    Unreadable(WireError),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: usize) -> WriteKey {
        let id = format!("{number:0>width$}", width = IDEMPOTENCY_ID_BYTES_MAX).parse().unwrap();
        WriteKey { id, fingerprint: Fingerprint(u64::MAX) }
    }

    fn revision(number: usize) -> Revision {
        Revision::new(number as u64).unwrap()
    }

    #[test]
    fn the_last_thousand_are_remembered_and_a_known_one_keeps_its_revision() {
        let mut outcomes = Outcomes::default();
        (0..OUTCOMES_MAX + 2).for_each(|number| outcomes.push(key(number), revision(number)));
        outcomes.push(key(5), revision(9_999));
        assert_eq!(outcomes.len(), OUTCOMES_MAX);
        assert_eq!((outcomes.get(&key(1)), outcomes.get(&key(2))), (None, Some(Remembered::Done(revision(2)))));
        assert_eq!(outcomes.get(&key(5)), Some(Remembered::Done(revision(5))));
    }

    #[test]
    fn a_full_value_is_read_as_it_was_written_and_nothing_else_is_taken_for_it() {
        let mut value = Value { outcomes: Outcomes::default(), body: vec![7; VALUE_BODY_BYTES_MAX] };
        (0..OUTCOMES_MAX).for_each(|number| value.outcomes.push(key(number), Revision::MAX));
        let mut bytes = value.encode().unwrap();
        let hash = ValueHash::of(&bytes);
        assert_eq!(Value::decode(&bytes, hash), Ok(value.clone()));
        bytes[100] ^= 1;
        assert_eq!(Value::decode(&bytes, hash), Err(ValueError::Bent));
        value.body.push(7);
        assert!(matches!(value.encode(), Err(WireError::TooLong { .. })));
    }

    #[test]
    fn what_follows_of_a_write_twice_is_no_value() {
        let mut twice = Outcomes::default();
        twice.push(key(1), revision(1));
        twice.0.push_back((key(1), revision(2)));
        let bytes = Value { outcomes: twice, body: vec![] }.encode().unwrap();
        assert!(matches!(Value::decode(&bytes, ValueHash::of(&bytes)), Err(ValueError::Unreadable(_))));
    }

    #[test]
    fn an_id_that_was_used_for_something_else_is_noticed_and_what_it_was_used_for_stays() {
        let mut outcomes = Outcomes::default();
        outcomes.push(key(1), revision(1));
        let other = WriteKey { fingerprint: Fingerprint::of(b"else"), ..key(1) };
        assert_eq!(outcomes.get(&other), Some(Remembered::Other));
        outcomes.push(other, revision(2));
        assert_eq!((outcomes.get(&key(1)), outcomes.len()), (Some(Remembered::Done(revision(1))), 1));
    }

    #[test]
    fn an_id_is_short_and_printable() {
        for bad in ["", "a b", "ä", "\n", &"x".repeat(IDEMPOTENCY_ID_BYTES_MAX + 1)] {
            assert_eq!(bad.parse::<IdempotencyId>(), Err(IdempotencyIdError), "{bad:?}");
        }
    }
}
