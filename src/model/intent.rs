//! The name of a plan that is carried out.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// The name of an intent: the revision of the catalog that it was committed with, as `i42`. So of two the later one has the greater
/// number, whoever led, and no two are the same.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct IntentId(u64);

/// A text that is none.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("an intent is called i and a number: i42")]
pub struct IntentIdError;

impl IntentId {
    /// That of the intent which this revision has first.
    pub const fn of_revision(revision: u64) -> Self {
        Self(revision)
    }

    /// The revision that it was committed with.
    pub const fn revision(self) -> u64 {
        self.0
    }
}

impl fmt::Display for IntentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("i{}", self.0))
    }
}

impl FromStr for IntentId {
    type Err = IntentIdError;

    fn from_str(text: &str) -> Result<Self, IntentIdError> {
        let number = text.strip_prefix('i').filter(|number| number.bytes().all(|b| b.is_ascii_digit()));
        let id = number.and_then(|number| number.parse().ok()).map(Self).ok_or(IntentIdError)?;
        // One name each: no zeros before a number.
        if id.to_string() == text { Ok(id) } else { Err(IntentIdError) }
    }
}

impl Serialize for IntentId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for IntentId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_intent_is_called_by_its_revision() {
        let id = IntentId::of_revision(42);
        assert_eq!(id.to_string(), "i42");
        assert_eq!("i42".parse(), Ok(id));
        assert!(id < IntentId::of_revision(100));
        for bad in ["", "i", "42", "i-1", "i042", "i4x", "i99999999999999999999999"] {
            assert_eq!(bad.parse::<IntentId>(), Err(IntentIdError), "{bad}");
        }
    }
}
