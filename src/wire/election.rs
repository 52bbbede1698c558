//! What peers say of who leads, and of which value the cluster has agreed on.

use serde::{Deserialize, Serialize};

use super::codec::{WireError, decode, encode};
use super::frame::Kind;
use crate::model::limits::ELECTION_BYTES_MAX;
use crate::model::{ClusterId, ElectorsHash, MinTimeout, Newness, Slot, Term};

/// A message of the election. What every one of them says comes first.
#[derive(Clone, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub struct ElectionMessage {
    /// The sender's cluster, once it knows one. Peers of two clusters have nothing to say to each other.
    pub cluster: Option<ClusterId>,
    /// The electors that the sender goes by: those of what it accepted last, or of the first list where there is nothing.
    pub electors: Option<ElectorsHash>,
    /// The sender's term.
    pub term: Term,
    /// What it says.
    pub word: Word,
}

/// What is said. A question carries the *life* of who asks, a number that every start of a peer draws anew, and its answer
/// brings it back: what was promised to a peer before it lost its disk is not counted by that peer afterwards.
///
/// Sent as it stands here: a new word goes to the end.
#[derive(Clone, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub enum Word {
    /// How are you? Asked by a peer that does not remember how it voted.
    Hail {
        /// The life of who asks.
        life: u64,
    },
    /// The answer to [`Word::Hail`]: what is on the sender's disk.
    Status(Status),
    /// Would you vote for me, or: do you?
    Ask {
        /// The life of who asks.
        life: u64,
        /// Which of the two.
        round: Round,
        /// The term that the sender would lead, which is its own term only in the round of votes.
        asked: Term,
        /// How new what the sender accepted is.
        newest: Newness,
    },
    /// The answer to [`Word::Ask`].
    Answer {
        /// The life of who asked.
        life: u64,
        /// What was asked.
        round: Round,
        /// For which term.
        asked: Term,
        /// The answer.
        verdict: Verdict,
    },
    /// The leader lives, and this is the value.
    Beat {
        /// The leader's life.
        life: u64,
        /// Counts the leader's heartbeats, so that it knows when it sent the one that is answered.
        number: u64,
        /// The leader's own: its lease hangs on nobody voting for so long.
        min_timeout: MinTimeout,
        /// What is to be accepted: stamped with the leader's term. None while the leader has nothing to propose.
        proposed: Option<Slot>,
        /// What a majority has accepted.
        committed: Option<Slot>,
    },
    /// The answer to [`Word::Beat`].
    Beaten {
        /// The leader's life.
        life: u64,
        /// The number of the heartbeat.
        number: u64,
        /// Whether the sender counts.
        memory: Memory,
        /// How new what the sender has accepted is, durably.
        accepted: Newness,
    },
    /// The sender led this term, and leads no more: nobody has to wait for it.
    Resign,
}

/// What is asked of a voter.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub enum Round {
    /// Whether it would vote: nobody's term changes by it.
    PreVote,
    /// Its vote.
    Vote,
}

/// A voter's answer.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub enum Verdict {
    /// Yes; a vote is on disk.
    Granted,
    /// Not for so many milliseconds: a leader was heard, or the voter has just started.
    Held {
        /// How long it still holds.
        for_ms: u32,
    },
    /// No: it has voted otherwise, knows a later term, has accepted something newer, or goes by another first list.
    Refused,
    /// It does not remember how it voted.
    Forgotten,
}

/// Whether a peer remembers every vote that it gave and every value that it accepted.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub enum Memory {
    /// It does.
    Whole,
    /// Its ballot is not there or cannot be read: it may be new, or it may have forgotten.
    Lost,
}

/// What a peer has on disk.
#[derive(Clone, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub struct Status {
    /// The life of who asked.
    pub life: u64,
    /// Whether the rest is all that the sender ever promised.
    pub memory: Memory,
    /// The newest value that it accepted.
    pub accepted: Option<Slot>,
    /// The newest one that it knows a majority to have accepted.
    pub committed: Option<Slot>,
    /// For how long it votes for nobody after it heard a leader.
    pub min_timeout: MinTimeout,
}

impl ElectionMessage {
    /// The message.
    pub fn encode(&self) -> Result<Vec<u8>, WireError> {
        Ok(Kind::Election.frame(&encode::<ELECTION_BYTES_MAX>(self)?))
    }

    /// What a message says.
    pub fn decode(message: &[u8]) -> Result<Self, WireError> {
        decode::<Self, ELECTION_BYTES_MAX>(Kind::Election.body(message)?)
    }
}

#[cfg(any(test, fuzzing))]
pub(super) mod samples {
    use std::time::Duration;

    use super::*;
    use crate::model::limits::{ELECTORS_MAX, ID_BYTES_MAX};
    use crate::model::{Electors, Revision, ValueHash};

    fn slot() -> Slot {
        let ids =
            (0..ELECTORS_MAX).map(|at| format!("{at:0>width$}", width = ID_BYTES_MAX).parse().expect("a legal sample"));
        Slot {
            stamp: Term::MAX,
            revision: Revision::MAX,
            hash: ValueHash::of(b"value"),
            electors: Electors::new(ids).expect("a legal sample"),
            cluster: ClusterId([7; 16]),
        }
    }

    /// One of each word, as long as it can be.
    pub(crate) fn all() -> Vec<ElectionMessage> {
        let (life, number, asked) = (u64::MAX, u64::MAX, Term::MAX);
        let min_timeout = MinTimeout::new(Duration::from_millis(300)).expect("a legal sample");
        let (accepted, committed) = (Some(slot()), Some(slot()));
        let newest = slot().newness();
        let status = Status { life, memory: Memory::Whole, accepted, committed, min_timeout };
        let words = [
            Word::Hail { life },
            Word::Status(status),
            Word::Ask { life, round: Round::PreVote, asked, newest },
            Word::Answer { life, round: Round::Vote, asked, verdict: Verdict::Held { for_ms: u32::MAX } },
            Word::Beat { life, number, min_timeout, proposed: Some(slot()), committed: Some(slot()) },
            Word::Beaten { life, number, memory: Memory::Lost, accepted: newest },
            Word::Resign,
        ];
        let (cluster, electors) = (Some(ClusterId([7; 16])), Some(slot().electors.hash()));
        words.into_iter().map(|word| ElectionMessage { cluster, electors, term: Term::MAX, word }).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_word_arrives_as_it_was_sent_however_long() {
        for message in samples::all() {
            let bytes = message.encode().unwrap();
            assert_eq!(ElectionMessage::decode(&bytes), Ok(message.clone()));
            for cut in 0..bytes.len().min(200) {
                assert!(ElectionMessage::decode(&bytes[..cut]).is_err(), "{message:?} cut to {cut}");
            }
        }
    }

    /// Frozen: a later version that writes these words otherwise could not talk to this one.
    #[test]
    fn the_bytes_of_a_message_stay_the_same_over_versions() {
        let term = Term::new(3).unwrap();
        let word = Word::Ask { life: 9, round: Round::Vote, asked: term, newest: Newness::default() };
        let message = ElectionMessage { cluster: None, electors: None, term, word };
        assert_eq!(message.encode().unwrap(), [0, 4, 0, 0, 3, 2, 9, 1, 3, 0, 0]);
    }

    #[test]
    fn what_no_peer_may_say_is_refused() {
        let good = [0, 4, 0, 0, 3, 2, 9, 1, 3, 0, 0];
        assert!(ElectionMessage::decode(&good).is_ok());
        let endless_term = [&[0, 4, 0, 0][..], &[0xfd; 1], &[0xff; 8], &[6]].concat();
        assert!(ElectionMessage::decode(&endless_term).is_err());
        let unknown_word = [0, 4, 0, 0, 3, 7];
        assert!(ElectionMessage::decode(&unknown_word).is_err());
        // A heartbeat whose electors are not sorted, or nobody.
        for ids in [&[2, 1, b'b', 1, b'a'][..], &[2, 1, b'a', 1, b'a'], &[0]] {
            let beat = [&[0, 4, 0, 0, 3, 4, 1, 1, 0, 1, 3, 1][..], &[0; 32], ids, &[0; 16], &[0]].concat();
            assert!(ElectionMessage::decode(&beat).is_err(), "{ids:?}");
        }
        let beat = [&[0, 4, 0, 0, 3, 4, 1, 1, 0, 1, 3, 1][..], &[0; 32], &[2, 1, b'a', 1, b'b'], &[0; 16], &[0]];
        assert!(ElectionMessage::decode(&beat.concat()).is_ok());
    }

    proptest! {
        #[test]
        fn hostile_bytes_are_an_error_or_a_message(bytes: Vec<u8>) {
            if let Ok(message) = ElectionMessage::decode(&Kind::Election.frame(&bytes)) {
                prop_assert_eq!(ElectionMessage::decode(&message.encode().unwrap()), Ok(message));
            }
        }
    }
}
