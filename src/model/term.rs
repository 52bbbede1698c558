//! The number of an election.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, de};

/// The number of an election. It only grows, and fences every action: of two leaders the one of the greater term is right.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub struct Term(u64);

impl Term {
    /// Before the first election.
    pub const ZERO: Self = Self(0);
    /// No election is ever numbered higher. At a thousand elections a second it is reached in eight thousand years, so
    /// whoever names a greater one is broken, and is not followed to where no next term is left.
    pub const MAX: Self = Self(1 << 48);

    /// The term of this number; `None` above [`Term::MAX`].
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

impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl<'de> Deserialize<'de> for Term {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = u64::deserialize(deserializer)?;
        Self::new(number).ok_or_else(|| de::Error::custom(format_args!("{number} is no term")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_grow_by_one_up_to_the_last() {
        assert_eq!(Term::ZERO.next().map(Term::get), Some(1));
        assert_eq!(Term::MAX.next(), None);
        assert_eq!(Term::new(u64::MAX), None);
    }
}
