//! Who votes first in a new cluster: a list that every peer has to come to by itself, and that is not known before the
//! others are.
//!
//! Pure: who is known, and where seeds lead, is told anew each time; the answer is the list, or what it still waits for.
//! Nothing is guessed. Two peers that found with different lists do not agree on anything, which is safe; but a list that is
//! too short by whoever was late would found two clusters.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::num::NonZeroU8;

use crate::model::{Electors, ElectorsError, PeerId};

/// How the settings say who votes first.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Founders {
    /// The peers at the seed addresses; with no seeds this peer alone.
    Seeds,
    /// These.
    Named(Electors),
    /// All peers that are known, once they are so many, this one included.
    Expect(NonZeroU8),
}

/// A peer and where it is dialed.
pub type Known<'a> = (&'a PeerId, SocketAddr);

/// What the list still waits for, or why there is none.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum FoundersError {
    /// A seed's name leads nowhere yet.
    #[error("seed {0} of the list leads to no address yet; does its name resolve here?")]
    Unresolved(usize),
    /// A seed's name leads to several peers, and which of them vote nobody can tell.
    #[error(
        "seed {0} of the list leads to several addresses; name the peers that vote with \
         `cluster.electors`, or say how many peers there are with `cluster.expect`"
    )]
    Several(usize),
    /// Nobody was met at a seed's address yet.
    #[error("no peer was met at the seed {0} yet; does it run, and can it be reached?")]
    Unmet(SocketAddr),
    /// Fewer peers are known than are expected.
    #[error("{known} of {expected} expected peers are known; start the others")]
    Fewer {
        /// This one included.
        known: usize,
        /// As the settings say.
        expected: usize,
    },
    /// More peers are known than are expected: which of them vote nobody can tell.
    #[error("{known} peers are known, more than the {expected} that are expected; say the same number at every peer")]
    More {
        /// This one included.
        known: usize,
        /// As the settings say.
        expected: usize,
    },
    /// So many cannot vote.
    #[error(transparent)]
    Electors(#[from] ElectorsError),
}

impl Founders {
    /// The list, as far as it can be told. `seeds`: where each leads now, in the order of the settings. `others`: every other
    /// peer that lives.
    pub fn electors(
        &self,
        own: Known<'_>,
        seeds: &[Vec<SocketAddr>],
        others: &[Known<'_>],
    ) -> Result<Electors, FoundersError> {
        match self {
            Self::Named(electors) => Ok(electors.clone()),
            Self::Seeds if seeds.is_empty() => Ok(Electors::alone(own.0.clone())),
            Self::Seeds => {
                let mut electors = BTreeSet::new();
                for (at, addresses) in seeds.iter().enumerate() {
                    let address = match addresses[..] {
                        [address] => address,
                        [] => return Err(FoundersError::Unresolved(at + 1)),
                        _ => return Err(FoundersError::Several(at + 1)),
                    };
                    let mut all = std::iter::once(&own).chain(others);
                    let (peer, _) = all.find(|(_, dialed)| *dialed == address).ok_or(FoundersError::Unmet(address))?;
                    // Two seeds may be two names of one peer.
                    electors.insert((*peer).clone());
                }
                Ok(Electors::new(electors)?)
            }
            Self::Expect(expected) => {
                let all: BTreeSet<&PeerId> = std::iter::once(&own).chain(others).map(|(peer, _)| *peer).collect();
                let (known, expected) = (all.len(), usize::from(expected.get()));
                match known.cmp(&expected) {
                    std::cmp::Ordering::Less => Err(FoundersError::Fewer { known, expected }),
                    std::cmp::Ordering::Greater => Err(FoundersError::More { known, expected }),
                    std::cmp::Ordering::Equal => Ok(Electors::new(all.into_iter().cloned())?),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> PeerId {
        text.parse().unwrap()
    }

    fn at(host: u8) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, host], 7940))
    }

    /// What peer `ams` at host 1 comes to, which knows those others; hosts by number, a seed by the hosts that it leads to.
    fn electors(founders: &Founders, seeds: &[&[u8]], others: &[(&str, u8)]) -> Result<String, FoundersError> {
        let seeds: Vec<Vec<SocketAddr>> =
            seeds.iter().map(|hosts| hosts.iter().map(|host| at(*host)).collect()).collect();
        let others: Vec<(PeerId, SocketAddr)> = others.iter().map(|(name, host)| (id(name), at(*host))).collect();
        let others: Vec<Known<'_>> = others.iter().map(|(id, address)| (id, *address)).collect();
        let electors = founders.electors((&id("ams"), at(1)), &seeds, &others)?;
        Ok(electors.iter().map(PeerId::as_str).collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn the_peers_at_the_seeds_vote_first_once_each_of_them_was_met() {
        let seeds: &[&[u8]] = &[&[1], &[2], &[3]];
        let told = |others: &[(&str, u8)]| electors(&Founders::Seeds, seeds, others);
        assert_eq!(told(&[("waw", 3)]), Err(FoundersError::Unmet(at(2))));
        assert_eq!(told(&[("waw", 3), ("fra", 2)]).unwrap(), "ams fra waw");
        assert_eq!(
            told(&[("waw", 3), ("fra", 2), ("late", 9)]).unwrap(),
            "ams fra waw",
            "who is no seed does not vote"
        );
    }

    #[test]
    fn every_peer_comes_to_the_same_list_whether_it_is_in_it_or_not() {
        let told = electors(&Founders::Seeds, &[&[2], &[3], &[4]], &[("waw", 3), ("fra", 2), ("mad", 4)]);
        assert_eq!(told.unwrap(), "fra mad waw");
    }

    #[test]
    fn two_names_of_one_peer_are_one_elector_and_no_seeds_are_this_peer_alone() {
        assert_eq!(electors(&Founders::Seeds, &[&[1], &[1], &[2]], &[("fra", 2)]).unwrap(), "ams fra");
        assert_eq!(electors(&Founders::Seeds, &[], &[("fra", 2)]).unwrap(), "ams");
    }

    #[test]
    fn a_seed_that_leads_nowhere_or_to_several_founds_nothing_and_says_what_to_do() {
        let nowhere = electors(&Founders::Seeds, &[&[1], &[]], &[]).unwrap_err();
        assert_eq!(nowhere, FoundersError::Unresolved(2));
        let several = electors(&Founders::Seeds, &[&[1, 2, 3]], &[("fra", 2), ("waw", 3)]).unwrap_err();
        assert!(several.to_string().contains("cluster.electors"), "{several}");
    }

    #[test]
    fn so_many_as_are_expected_vote_and_neither_fewer_nor_more() {
        let three = Founders::Expect(NonZeroU8::new(3).unwrap());
        let told = |others: &[(&str, u8)]| electors(&three, &[&[1]], others);
        assert_eq!(told(&[("fra", 2)]), Err(FoundersError::Fewer { known: 2, expected: 3 }));
        assert_eq!(told(&[("fra", 2), ("waw", 3)]).unwrap(), "ams fra waw");
        let more = told(&[("fra", 2), ("waw", 3), ("mad", 4)]);
        assert_eq!(more, Err(FoundersError::More { known: 4, expected: 3 }));
        let crowd = Founders::Expect(NonZeroU8::MAX);
        let names: Vec<String> = (1..255).map(|number| format!("p{number}")).collect();
        let others: Vec<(&str, u8)> = names.iter().map(|name| (name.as_str(), 2)).collect();
        assert_eq!(electors(&crowd, &[], &others), Err(FoundersError::Electors(ElectorsError::TooMany(255))));
    }

    #[test]
    fn whoever_is_named_votes_whether_it_was_met_or_not() {
        let named = Founders::Named(Electors::new([id("ek-0"), id("ek-1"), id("ek-2")]).unwrap());
        assert_eq!(electors(&named, &[&[1, 2, 3]], &[]).unwrap(), "ek-0 ek-1 ek-2");
    }
}
