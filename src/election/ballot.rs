//! What an elector must remember over a crash, and how it stands in a file.
//!
//! The file: eight bytes that name it and its version, the length and the first eight bytes of the SHA-256 of what follows,
//! then bincode. It is written whole and replaced at once; a file that is cut off, bent or empty is no ballot, and a peer
//! without a ballot is one that has forgotten how it voted, never one that has not voted.

use serde::{Deserialize, Serialize};

use crate::model::limits::BALLOT_BYTES_MAX;
use crate::model::{Electors, MinTimeout, Newness, PeerId, Slot, Term, ValueHash};
use crate::wire::{Memory, WireError, read_record, write_record};

/// What an elector has promised and accepted.
#[derive(Clone, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub struct Ballot {
    /// Whether the rest is all that this peer ever promised. Where it is lost, only `committed` says anything.
    pub memory: Memory,
    /// The highest term that this peer takes part in.
    pub term: Term,
    /// Its vote in that term.
    pub vote: Vote,
    /// Who votes until a first value is accepted.
    pub founding: Option<Electors>,
    /// The newest value that it accepted; it may be lost again.
    pub accepted: Option<Slot>,
    /// The newest one that it knows a majority to have accepted; it is never lost.
    pub committed: Option<Slot>,
    /// For how long it votes for nobody after it heard a leader: the greater of the leader's minimum and its own.
    pub min_timeout: MinTimeout,
}

/// A vote.
#[derive(Clone, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub enum Vote {
    /// For nobody yet.
    Open,
    /// For this peer.
    For(PeerId),
    /// Perhaps given before the ballot was lost; so none is given in this term.
    Forgotten,
}

/// Why a file is no ballot.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum BallotError {
    /// It does not begin like one.
    #[error("it is no ballot of this version")]
    Foreign,
    /// It is not as long as it says, or longer than a ballot can be.
    #[error("it has {0} bytes, and says otherwise")]
    Length(usize),
    /// Something in it has changed since it was written.
    #[error("its checksum is wrong")]
    Checksum,
    /// Its checksum is right, and yet nothing can be read in it.
    #[error("it cannot be read: {0}")]
    Content(WireError),
    /// It says two things that cannot both be.
    #[error("it contradicts itself")]
    Contradiction,
}

const MAGIC: [u8; 8] = *b"ekballo1";
const HEAD_BYTES: usize = MAGIC.len() + 4 + 8;
/// Bytes of the longest file.
pub const BALLOT_FILE_BYTES_MAX: usize = HEAD_BYTES + BALLOT_BYTES_MAX;

impl Ballot {
    /// Of a peer that has none: it is new, or its disk was lost.
    pub fn lost(min_timeout: MinTimeout) -> Self {
        Self {
            memory: Memory::Lost,
            term: Term::ZERO,
            vote: Vote::Open,
            founding: None,
            accepted: None,
            committed: None,
            min_timeout,
        }
    }

    /// This ballot where the file of a value that it names cannot be read, or holds something else. What is committed stays
    /// where `committed_is_there`; a promise to have accepted is void, so none counts. The term stays: it is known, nothing of
    /// an earlier one may be taken up again, and who leads next leads a later one.
    pub fn without_value(self, committed_is_there: bool) -> Self {
        let committed = self.committed.filter(|_| committed_is_there);
        Self { term: self.term, committed, ..Self::lost(self.min_timeout) }
    }

    /// The values whose bytes have to be on disk for this ballot to be true.
    pub fn values(&self) -> impl Iterator<Item = ValueHash> {
        self.accepted.iter().chain(&self.committed).map(|slot| slot.hash)
    }

    /// How new what it accepted is.
    pub(super) fn newness(&self) -> Newness {
        self.accepted.as_ref().map_or_else(Newness::default, Slot::newness)
    }

    /// Who votes, as far as this peer knows.
    pub(super) fn electors(&self) -> Option<&Electors> {
        self.accepted.as_ref().or(self.committed.as_ref()).map(|slot| &slot.electors).or(self.founding.as_ref())
    }

    /// Whether it belongs to a cluster that has not accepted a first value here.
    pub(super) fn is_founding(&self) -> bool {
        self.memory == Memory::Whole && self.accepted.is_none()
    }

    fn is_consistent(&self) -> bool {
        let accepted = self.newness();
        let committed = self.committed.as_ref().map_or_else(Newness::default, Slot::newness);
        match self.memory {
            Memory::Whole => {
                committed <= accepted
                    && accepted.stamp <= self.term
                    && self.electors().is_some()
                    && (self.term > Term::ZERO || self.vote == Vote::Open)
            }
            Memory::Lost => self.accepted.is_none() && self.founding.is_none() && self.vote == Vote::Open,
        }
    }

    /// The bytes of its file.
    pub fn encode(&self) -> Result<Vec<u8>, WireError> {
        let body = write_record::<BALLOT_BYTES_MAX>(self)?;
        let length = u32::try_from(body.len()).unwrap_or(u32::MAX);
        let mut bytes = Vec::with_capacity(HEAD_BYTES + body.len());
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.extend_from_slice(&checksum(&body));
        bytes.extend_from_slice(&body);
        Ok(bytes)
    }

    /// The ballot that a file is.
    pub fn decode(file: &[u8]) -> Result<Self, BallotError> {
        let Some((head, body)) = file.split_at_checked(HEAD_BYTES) else { return Err(BallotError::Length(file.len())) };
        if !head.starts_with(&MAGIC) {
            return Err(BallotError::Foreign);
        }
        if body.len() > BALLOT_BYTES_MAX || head[8..12] != u32::try_from(body.len()).unwrap_or(0).to_be_bytes() {
            return Err(BallotError::Length(file.len()));
        }
        if head[12..] != checksum(body) {
            return Err(BallotError::Checksum);
        }
        let ballot: Self = read_record::<_, BALLOT_BYTES_MAX>(body).map_err(BallotError::Content)?;
        if ballot.is_consistent() { Ok(ballot) } else { Err(BallotError::Contradiction) }
    }
}

fn checksum(body: &[u8]) -> [u8; 8] {
    let mut first = [0; 8];
    first.copy_from_slice(&ValueHash::of(body).bytes()[..8]);
    first
}

#[cfg(any(test, fuzzing))]
pub(super) mod samples {
    use std::time::Duration;

    use super::*;
    use crate::model::{ClusterId, Revision};

    pub(crate) fn full() -> Ballot {
        let electors =
            Electors::new(["a", "b", "c"].map(|id| id.parse().expect("a legal sample"))).expect("a legal sample");
        let slot = Slot {
            stamp: Term::new(7).expect("a legal sample"),
            revision: Revision::new(12).expect("a legal sample"),
            hash: ValueHash::of(b"value"),
            electors: electors.clone(),
            cluster: ClusterId([3; 16]),
        };
        Ballot {
            memory: Memory::Whole,
            term: Term::new(8).expect("a legal sample"),
            vote: Vote::For("b".parse().expect("a legal sample")),
            founding: Some(electors),
            accepted: Some(slot.clone()),
            committed: Some(slot),
            min_timeout: MinTimeout::new(Duration::from_millis(300)).expect("a legal sample"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::host::DurableFile;
    use crate::model::limits::{ELECTORS_MAX, ID_BYTES_MAX};

    #[test]
    fn a_ballot_is_read_as_it_was_written_however_long() {
        let ids = (0..ELECTORS_MAX).map(|at| format!("{at:0>width$}", width = ID_BYTES_MAX).parse().unwrap());
        let electors = Electors::new(ids).unwrap();
        let mut longest = samples::full();
        longest.founding = Some(electors.clone());
        longest.accepted.as_mut().unwrap().electors = electors.clone();
        longest.committed.as_mut().unwrap().electors = electors;
        for ballot in [samples::full(), longest, Ballot::lost(MinTimeout::default())] {
            assert_eq!(Ballot::decode(&ballot.encode().unwrap()), Ok(ballot));
        }
    }

    /// Frozen: a later version reads what this one has written.
    #[test]
    fn the_file_stays_the_same_over_versions() {
        let mut ballot = Ballot::lost(MinTimeout::default());
        ballot.term = Term::new(2).unwrap();
        let head = [&b"ekballo1"[..], &[0, 0, 0, 7], &checksum(&[1, 2, 0, 0, 0, 0, 0])].concat();
        assert_eq!(ballot.encode().unwrap(), [&head[..], &[1, 2, 0, 0, 0, 0, 0]].concat());
    }

    #[test]
    fn a_file_that_is_cut_off_lengthened_or_bent_anywhere_is_no_ballot() {
        let whole = samples::full().encode().unwrap();
        for cut in 0..whole.len() {
            assert!(Ballot::decode(&whole[..cut]).is_err(), "cut to {cut}");
        }
        assert!(Ballot::decode(&[&whole[..], &[0]].concat()).is_err());
        for at in 0..whole.len() {
            for bit in 0..8 {
                let mut bent = whole.clone();
                bent[at] ^= 1 << bit;
                assert!(Ballot::decode(&bent).is_err(), "bit {bit} of byte {at}");
            }
        }
    }

    #[test]
    fn a_file_that_contradicts_itself_is_no_ballot() {
        let good = samples::full();
        let early = Ballot { term: Term::new(6).unwrap(), ..good.clone() };
        let unaccepted = Ballot { accepted: None, ..good.clone() };
        let nobody = Ballot { accepted: None, committed: None, founding: None, ..good.clone() };
        let remembered = Ballot { memory: Memory::Lost, ..good };
        for ballot in [early, unaccepted, nobody, remembered] {
            assert_eq!(Ballot::decode(&ballot.encode().unwrap()), Err(BallotError::Contradiction), "{ballot:?}");
        }
    }

    /// The file itself: what is not a whole ballot is an error, and what is not there is a ballot that was lost.
    #[test]
    fn a_real_file_that_is_truncated_flipped_emptied_or_gone_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        let file = DurableFile::new(folder.path(), "ballot", BALLOT_FILE_BYTES_MAX);
        assert_eq!(file.read().unwrap(), None);
        let written = samples::full().encode().unwrap();
        file.replace(&written).unwrap();
        let read = || Ballot::decode(&file.read().unwrap().unwrap());
        assert_eq!(read(), Ok(samples::full()));

        std::fs::OpenOptions::new().write(true).open(file.path()).unwrap().set_len(40).unwrap();
        assert_eq!(read(), Err(BallotError::Length(40)));
        let mut flipped = written.clone();
        flipped[50] ^= 1;
        std::fs::write(file.path(), &flipped).unwrap();
        assert_eq!(read(), Err(BallotError::Checksum));
        std::fs::write(file.path(), b"").unwrap();
        assert_eq!(read(), Err(BallotError::Length(0)));
        std::fs::write(file.path(), b"[peer]\nid = \"a\"\nregion = \"eu\"\n").unwrap();
        assert_eq!(read(), Err(BallotError::Foreign));
    }

    #[test]
    fn a_value_that_cannot_be_read_makes_a_lost_ballot_that_keeps_what_is_there() {
        let lost = samples::full().without_value(true);
        assert_eq!((lost.memory, lost.accepted.as_ref()), (Memory::Lost, None));
        assert_eq!(lost.committed, samples::full().committed);
        assert_eq!(lost.min_timeout, samples::full().min_timeout);
        assert_eq!(
            (lost.term, &lost.vote),
            (samples::full().term, &Vote::Open),
            "votes wait until all others are heard"
        );
        assert_eq!(samples::full().without_value(false).committed, None);
        assert!(Ballot::decode(&lost.encode().unwrap()).is_ok());
    }

    proptest! {
        #[test]
        fn hostile_bytes_are_an_error_or_a_ballot(bytes: Vec<u8>) {
            let head = [&MAGIC[..], &u32::try_from(bytes.len()).unwrap().to_be_bytes(), &checksum(&bytes)].concat();
            if let Ok(ballot) = Ballot::decode(&[head, bytes].concat()) {
                prop_assert_eq!(Ballot::decode(&ballot.encode().unwrap()), Ok(ballot));
            }
        }
    }
}
