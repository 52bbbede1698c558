//! What is on disk, what is on its way there, and what is said only when it has arrived.

use std::time::Instant;

use crate::election::ballot::Ballot;
use crate::model::limits::HELD_ANSWERS_MAX;
use crate::model::{PeerId, ValueHash};
use crate::wire::ElectionMessage;

/// The ballot in three states: on disk, being written, wanted. Decisions are taken by what is wanted, so that nothing is
/// promised twice; what is told of it is what is on disk.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(super) struct Journal {
    durable: Ballot,
    writing: Option<(u64, Ballot)>,
    pub(super) wanted: Ballot,
    last: u64,
    held: Vec<(u64, PeerId, ElectionMessage)>,
    pub(super) retry_at: Option<Instant>,
}

impl Journal {
    pub(super) fn new(durable: Ballot) -> Self {
        Self { wanted: durable.clone(), durable, writing: None, last: 0, held: Vec::new(), retry_at: None }
    }

    pub(super) fn durable(&self) -> &Ballot {
        &self.durable
    }

    /// Every value that a ballot names which is on disk, on its way there, or wanted.
    pub(super) fn values(&self) -> impl Iterator<Item = ValueHash> {
        let writing = self.writing.iter().flat_map(|(_, ballot)| ballot.values());
        self.durable.values().chain(writing).chain(self.wanted.values())
    }

    /// Says `message` once everything that is wanted now is on disk. False where it can be said at once, or has to be
    /// dropped because too many wait: that is a lost message, and nothing worse.
    pub(super) fn hold(&mut self, to: PeerId, message: ElectionMessage) -> bool {
        let Some(number) = self.number_of_wanted() else { return false };
        let held = (number, to, message);
        // One that asks again and again before the disk has answered is answered once.
        if self.held.len() < HELD_ANSWERS_MAX && !self.held.contains(&held) {
            self.held.push(held);
        }
        true
    }

    /// With which ballot all that is wanted will be on disk.
    pub(super) fn number_of_wanted(&self) -> Option<u64> {
        match &self.writing {
            Some((number, ballot)) if *ballot == self.wanted => Some(*number),
            Some((number, _)) => Some(number + 1),
            None if self.wanted == self.durable => None,
            None => Some(self.last + 1),
        }
    }

    /// The next ballot to write, with its number.
    pub(super) fn next_write(&mut self) -> Option<(u64, Ballot)> {
        if self.writing.is_some() || self.wanted == self.durable || self.retry_at.is_some() {
            return None;
        }
        self.last += 1;
        self.writing = Some((self.last, self.wanted.clone()));
        self.writing.clone()
    }

    /// The ballot of this number is on disk: what may be said now.
    pub(super) fn written(&mut self, number: u64) -> Vec<(PeerId, ElectionMessage)> {
        match self.writing.take() {
            Some((writing, ballot)) if writing == number => self.durable = ballot,
            other => {
                self.writing = other;
                return Vec::new();
            }
        }
        let (now, later) = std::mem::take(&mut self.held).into_iter().partition(|(due, ..)| *due <= number);
        self.held = later;
        now.into_iter().map(|(_, to, message): (u64, _, _)| (to, message)).collect()
    }

    /// It could not be written; it is tried again then, with whatever is wanted by then.
    pub(super) fn failed(&mut self, number: u64, again_at: Instant) -> bool {
        let is_it = self.writing.as_ref().is_some_and(|(writing, _)| *writing == number);
        if is_it {
            // The number is used again, so that what waits for it goes on waiting.
            self.writing = None;
            self.last = number - 1;
            self.retry_at = Some(again_at);
        }
        is_it
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{MinTimeout, Term};
    use crate::wire::Word;

    fn message(term: u64) -> ElectionMessage {
        ElectionMessage { cluster: None, electors: None, term: Term::new(term).unwrap(), word: Word::Resign }
    }

    fn peer() -> PeerId {
        "a".parse().unwrap()
    }

    #[test]
    fn what_rests_on_a_ballot_is_said_when_that_ballot_is_on_disk_and_not_one_before() {
        let mut journal = Journal::new(Ballot::lost(MinTimeout::default()));
        assert!(!journal.hold(peer(), message(0)), "nothing is wanted, nothing waits");
        journal.wanted.term = Term::new(1).unwrap();
        assert!(journal.hold(peer(), message(1)));
        assert_eq!(journal.next_write().unwrap().0, 1);
        assert!(journal.hold(peer(), message(1)), "it is on its way, not there");
        journal.wanted.term = Term::new(2).unwrap();
        assert!(journal.hold(peer(), message(2)));
        assert_eq!(journal.next_write(), None, "one at a time");
        assert_eq!(journal.written(1), [(peer(), message(1))], "once, however often it was asked for");
        assert_eq!(journal.next_write().unwrap().1.term, Term::new(2).unwrap());
        assert_eq!(journal.written(7), [], "of no number that is being written");
        assert_eq!(journal.written(2), [(peer(), message(2))]);
        assert_eq!(journal.durable().term, Term::new(2).unwrap());
        assert_eq!(journal.next_write(), None);
    }

    #[test]
    fn a_ballot_that_could_not_be_written_is_written_again_and_nothing_is_said_until_then() {
        let mut journal = Journal::new(Ballot::lost(MinTimeout::default()));
        journal.wanted.term = Term::new(1).unwrap();
        assert!(journal.hold(peer(), message(1)));
        assert_eq!(journal.next_write().unwrap().0, 1);
        let now = crate::host::now();
        assert!(journal.failed(1, now) && !journal.failed(1, now));
        assert_eq!(journal.next_write(), None, "not before it is time");
        journal.retry_at = None;
        assert_eq!(journal.next_write().unwrap().0, 1);
        assert_eq!(journal.written(1), [(peer(), message(1))]);
    }

    #[test]
    fn what_waits_is_bounded() {
        let mut journal = Journal::new(Ballot::lost(MinTimeout::default()));
        journal.wanted.term = Term::new(1).unwrap();
        for term in 0..2 * HELD_ANSWERS_MAX as u64 {
            assert!(journal.hold(peer(), message(term)));
        }
        let number = journal.next_write().unwrap().0;
        assert_eq!(journal.written(number).len(), HELD_ANSWERS_MAX);
    }
}
