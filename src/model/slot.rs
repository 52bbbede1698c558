//! One version of the value that a cluster agrees on, as elections speak of it: by number and hash, never by content.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, de};

use super::electors::Electors;
use super::term::Term;

/// The version of the cluster's value. It grows by one with every change; the first is 1.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub struct Revision(u64);

impl Revision {
    /// Before the first commit.
    pub const ZERO: Self = Self(0);
    /// No version is ever numbered higher.
    pub const MAX: Self = Self(1 << 48);

    /// The revision of this number; `None` above [`Revision::MAX`].
    pub const fn new(number: u64) -> Option<Self> {
        if number <= Self::MAX.0 { Some(Self(number)) } else { None }
    }

    /// Its number.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The one after it; `None` after the last.
    pub fn next(self) -> Option<Self> {
        Self::new(self.0 + 1)
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl<'de> Deserialize<'de> for Revision {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = u64::deserialize(deserializer)?;
        Self::new(number).ok_or_else(|| de::Error::custom(format_args!("{number} is no revision")))
    }
}

/// SHA-256 of all bytes of a value: two values of one hash are one value, wherever they were fetched.
#[derive(Clone, Copy, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub struct ValueHash([u8; 32]);

impl ValueHash {
    /// A hash that was computed elsewhere.
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The hash of a value's bytes.
    pub fn of(value: &[u8]) -> Self {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, value);
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest.as_ref());
        Self(bytes)
    }

    /// Its bytes.
    pub fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for ValueHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ValueHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().take(4).try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// A text is no [`ValueHash`].
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the hash of a value is 64 digits 0-9 a-f")]
pub struct ValueHashError;

impl FromStr for ValueHash {
    type Err = ValueHashError;

    fn from_str(text: &str) -> Result<Self, ValueHashError> {
        if text.len() != 64 || !text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)) {
            return Err(ValueHashError);
        }
        let mut bytes = [0; 32];
        for (at, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&text[2 * at..2 * at + 2], 16).map_err(|_| ValueHashError)?;
        }
        Ok(Self(bytes))
    }
}

/// What tells one cluster from another of the same name: minted by its first commit.
#[derive(Clone, Copy, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub struct ClusterId(pub [u8; 16]);

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// How new an accepted value is: by the term that stamped it, then by its revision. One term has one leader, and that one
/// gives a revision once, so two values that are equally new are one value.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub struct Newness {
    /// The term whose leader proposed it, or proposed it again.
    pub stamp: Term,
    /// Its version.
    pub revision: Revision,
}

/// A value that a leader proposed, with what is stored beside it.
#[derive(Clone, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub struct Slot {
    /// The term whose leader proposed it, or proposed it again.
    pub stamp: Term,
    /// Its version; a leader that proposes it again keeps it.
    pub revision: Revision,
    /// Of its bytes, by which they are fetched.
    pub hash: ValueHash,
    /// Who votes where this is what was accepted last.
    pub electors: Electors,
    /// The cluster whose value this is.
    pub cluster: ClusterId,
}

impl Slot {
    /// How new it is.
    pub fn newness(&self) -> Newness {
        Newness { stamp: self.stamp, revision: self.revision }
    }

    /// The same version with the same electors, whoever stamped it.
    pub fn says_the_same(&self, other: &Self) -> bool {
        (self.revision, self.hash, self.cluster, &self.electors)
            == (other.revision, other.hash, other.cluster, &other.electors)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_hash_is_written_as_it_is_read() {
        let hash = ValueHash::of(b"abc");
        assert_eq!(hash.to_string(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(hash.to_string().parse(), Ok(hash));
        for bad in ["", "BA", &"g".repeat(64), &"a".repeat(63), &"ä".repeat(32)] {
            assert_eq!(bad.parse::<ValueHash>(), Err(ValueHashError), "{bad}");
        }
    }

    #[test]
    fn the_stamp_tells_what_is_newer_before_the_revision_does() {
        let new =
            |stamp, revision| Newness { stamp: Term::new(stamp).unwrap(), revision: Revision::new(revision).unwrap() };
        assert!(new(2, 5) > new(1, 9) && new(2, 6) > new(2, 5) && Newness::default() < new(1, 1));
    }

    proptest! {
        #[test]
        fn no_text_breaks_the_reader_of_hashes(text: String) {
            if let Ok(hash) = text.parse::<ValueHash>() {
                prop_assert_eq!(hash.to_string(), text);
            }
        }
    }
}
