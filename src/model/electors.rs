//! Who votes.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use xxhash_rust::xxh3::xxh3_64;

use super::id::PeerId;
use super::limits::ELECTORS_MAX;

/// The peers that vote: 1 to [`ELECTORS_MAX`], sorted, each once.
#[derive(Clone, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Electors(Arc<[PeerId]>);

/// Why peers cannot be the electors.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ElectorsError {
    /// Nobody would vote.
    #[error("a cluster needs at least one elector")]
    Nobody,
    /// One of them stands there twice.
    #[error("elector {0} stands there twice")]
    Twice(PeerId),
    /// More than [`ELECTORS_MAX`].
    #[error("{0} electors are more than the {ELECTORS_MAX} allowed; name 3, 5 or 7 of the peers")]
    TooMany(usize),
}

/// What is unwise about a number of electors.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ElectorsWarning {
    /// One: no failover when it is gone.
    Single,
    /// Two: no failover without both.
    Pair,
    /// An even number: no more may fail than with one elector less.
    Even,
}

impl fmt::Display for ElectorsWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Single => "one elector: while it is gone there is no failover and no write; have three",
            Self::Pair => "two electors: there is no failover and no write without both; have three",
            Self::Even => "an even number of electors: no more of them may fail than with one less",
        })
    }
}

/// A few bytes that are the same where the electors are the same, on every version.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub struct ElectorsHash(u64);

impl Electors {
    /// The electors of these ids, in any order.
    pub fn new(ids: impl IntoIterator<Item = PeerId>) -> Result<Self, ElectorsError> {
        let mut ids: Vec<PeerId> = ids.into_iter().collect();
        ids.sort_unstable();
        if let Some(pair) = ids.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(ElectorsError::Twice(pair[0].clone()));
        }
        match ids.len() {
            0 => Err(ElectorsError::Nobody),
            count if count > ELECTORS_MAX => Err(ElectorsError::TooMany(count)),
            _ => Ok(Self(ids.into())),
        }
    }

    /// One that votes for itself.
    pub fn alone(id: PeerId) -> Self {
        Self([id].into())
    }

    /// All of them, by id.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &PeerId> {
        self.0.iter()
    }

    /// All but this one, by id.
    pub fn others<'a>(&'a self, own: &'a PeerId) -> impl Iterator<Item = &'a PeerId> {
        self.0.iter().filter(move |id| *id != own)
    }

    /// How many; never 0.
    #[expect(clippy::len_without_is_empty, reason = "there is always one")]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether it is one of them.
    pub fn contains(&self, id: &PeerId) -> bool {
        self.0.binary_search(id).is_ok()
    }

    /// These and one more.
    pub fn with(&self, id: PeerId) -> Result<Self, ElectorsError> {
        Self::new(self.0.iter().cloned().chain([id]))
    }

    /// These without one; the last one stays.
    pub fn without(&self, id: &PeerId) -> Result<Self, ElectorsError> {
        Self::new(self.others(id).cloned())
    }

    /// What is unwise about how many they are.
    pub fn warning(&self) -> Option<ElectorsWarning> {
        match self.len() {
            1 => Some(ElectorsWarning::Single),
            2 => Some(ElectorsWarning::Pair),
            even if even % 2 == 0 => Some(ElectorsWarning::Even),
            _ => None,
        }
    }

    /// What peers compare to see whether they name the same electors.
    pub fn hash(&self) -> ElectorsHash {
        // No id has a zero byte, so no two lists are the same bytes.
        let mut bytes = Vec::new();
        for id in &*self.0 {
            bytes.extend_from_slice(id.as_str().as_bytes());
            bytes.push(0);
        }
        ElectorsHash(xxh3_64(&bytes))
    }
}

impl fmt::Display for Electors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, id) in self.0.iter().enumerate() {
            write!(f, "{}{id}", if at == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

impl fmt::Debug for Electors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{{self}}}")
    }
}

impl Serialize for Electors {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter())
    }
}

impl<'de> Deserialize<'de> for Electors {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let ids = Vec::<PeerId>::deserialize(deserializer)?;
        if !ids.is_sorted() {
            return Err(de::Error::custom("electors are sorted by id"));
        }
        Self::new(ids).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn electors(ids: &str) -> Electors {
        Electors::new(ids.split(',').map(|id| id.parse().unwrap())).unwrap()
    }

    #[test]
    fn electors_are_sorted_and_each_stands_there_once() {
        assert_eq!(electors("c,a,b").to_string(), "a,b,c");
        let id = |id: &str| id.parse::<PeerId>().unwrap();
        assert_eq!(Electors::new([id("a"), id("b"), id("a")]), Err(ElectorsError::Twice(id("a"))));
        assert_eq!(Electors::new([]), Err(ElectorsError::Nobody));
        let many = (0..=ELECTORS_MAX).map(|number| id(&format!("p{number}")));
        assert_eq!(Electors::new(many), Err(ElectorsError::TooMany(ELECTORS_MAX + 1)));
    }

    #[test]
    fn one_comes_and_one_goes() {
        let id = |id: &str| id.parse::<PeerId>().unwrap();
        assert_eq!(electors("a,c").with(id("b")), Ok(electors("a,b,c")));
        assert_eq!(electors("a,c").with(id("c")), Err(ElectorsError::Twice(id("c"))));
        assert_eq!(electors("a,c").without(&id("c")), Ok(electors("a")));
        assert_eq!(electors("a").without(&id("a")), Err(ElectorsError::Nobody));
    }

    #[test]
    fn one_two_and_even_numbers_are_warned_of() {
        let warnings: Vec<_> =
            ["a", "a,b", "a,b,c", "a,b,c,d", "a,b,c,d,e"].iter().map(|ids| electors(ids).warning()).collect();
        let (single, pair, even) = (ElectorsWarning::Single, ElectorsWarning::Pair, ElectorsWarning::Even);
        assert_eq!(warnings, [Some(single), Some(pair), None, Some(even), None]);
    }

    /// Frozen: peers of different versions compare it.
    #[test]
    fn the_hash_is_the_same_over_versions_and_another_for_other_electors() {
        assert_eq!(electors("a,b,c").hash(), electors("c,b,a").hash());
        assert_ne!(electors("a,b").hash(), electors("a,b,c").hash());
        assert_ne!(electors("ab,c").hash(), electors("a,bc").hash());
        assert_eq!(electors("a,b,c").hash(), ElectorsHash(7_481_124_173_643_337_706));
    }
}
