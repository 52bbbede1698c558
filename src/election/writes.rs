//! Writes that wait for their turn at the leader: one value is undecided at a time.
//!
//! A write with an id that waits or is undecided is not done a second time: who sends it again waits for the first. One
//! that was done is answered from the value. An id that belongs to something else is refused. All of that is looked at before
//! anything else of the write is.

use std::collections::VecDeque;

use crate::election::outcomes::{Outcomes, Remembered, WriteKey};
use crate::model::Revision;
use crate::model::limits::WRITES_WAITING_MAX;

/// The writes of a leader: `W` is what is to be written, `R` is how to answer whoever asked.
#[derive(Debug)]
pub struct Writes<W, R> {
    undecided: Option<Entry<W, R>>,
    waiting: VecDeque<Entry<W, R>>,
}

#[derive(Debug)]
struct Entry<W, R> {
    key: Option<WriteKey>,
    write: W,
    asked_by: Vec<R>,
}

/// What becomes of a write that is offered.
#[derive(Debug, Eq, PartialEq)]
pub enum Offered<R> {
    /// It waits, or whoever asked waits for the same write.
    Waits,
    /// It was done before, and became this revision.
    Done(Revision, R),
    /// Its id belongs to something else, which was done or waits.
    Other(R),
    /// Too many wait.
    Full(R),
}

impl<W, R> Writes<W, R> {
    /// None waits.
    pub fn new() -> Self {
        Self { undecided: None, waiting: VecDeque::new() }
    }

    /// A write, with its key if it has one. `done` is of the newest value that this leader has accepted, decided or not:
    /// an undecided write of a leader before it is found there, and waits like any other that is undecided.
    pub fn offer(&mut self, key: Option<WriteKey>, write: W, asked_by: R, done: &Outcomes) -> Offered<R> {
        let is_full = self.asking() >= WRITES_WAITING_MAX;
        if let Some(key) = &key {
            let all = self.undecided.iter_mut().chain(&mut self.waiting);
            let mut known = all.filter_map(|entry| Some((entry.key.as_ref()?, &mut entry.asked_by)));
            match known.find(|(known, _)| known.id == key.id) {
                Some((known, _)) if known != key => return Offered::Other(asked_by),
                Some(_) if is_full => return Offered::Full(asked_by),
                Some((_, all_asked_by)) => {
                    all_asked_by.push(asked_by);
                    return Offered::Waits;
                }
                None => {}
            }
            match done.get(key) {
                Some(Remembered::Done(revision)) => return Offered::Done(revision, asked_by),
                Some(Remembered::Other) => return Offered::Other(asked_by),
                None => {}
            }
        }
        if is_full {
            return Offered::Full(asked_by);
        }
        self.waiting.push_back(Entry { key, write, asked_by: vec![asked_by] });
        Offered::Waits
    }

    /// The next write to be made a value of, while none is undecided. It is undecided from now on.
    pub fn begin(&mut self) -> Option<&W> {
        if self.undecided.is_some() {
            return None;
        }
        self.undecided = Some(self.waiting.pop_front()?);
        self.undecided()
    }

    /// The one that is undecided.
    pub fn undecided(&self) -> Option<&W> {
        self.undecided.as_ref().map(|entry| &entry.write)
    }

    /// The one that was undecided is decided, or was refused: who is to be answered.
    pub fn decided(&mut self) -> Vec<R> {
        self.undecided.take().map(|entry| entry.asked_by).unwrap_or_default()
    }

    /// This peer leads no more: first those of whose write nobody knows what becomes, then those whose write was never
    /// begun.
    pub fn led_no_more(&mut self) -> (Vec<R>, Vec<R>) {
        let unknown = self.decided();
        (unknown, std::mem::take(&mut self.waiting).into_iter().flat_map(|entry| entry.asked_by).collect())
    }

    fn asking(&self) -> usize {
        self.undecided.iter().map(|entry| entry.asked_by.len().saturating_sub(1)).sum::<usize>()
            + self.waiting.iter().map(|entry| entry.asked_by.len()).sum::<usize>()
    }
}

impl<W, R> Default for Writes<W, R> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::election::outcomes::Fingerprint;

    fn key(id: &str, content: &str) -> Option<WriteKey> {
        Some(WriteKey { id: id.parse().unwrap(), fingerprint: Fingerprint::of(content.as_bytes()) })
    }

    #[test]
    fn writes_are_decided_one_at_a_time_in_their_order() {
        let (mut writes, none) = (Writes::new(), Outcomes::default());
        assert_eq!(writes.begin(), None);
        for (write, who) in [("first", 1), ("second", 2)] {
            assert_eq!(writes.offer(None, write, who, &none), Offered::Waits);
        }
        assert_eq!(writes.begin(), Some(&"first"));
        assert_eq!(writes.begin(), None, "one is undecided");
        assert_eq!(writes.decided(), [1]);
        assert_eq!(writes.begin(), Some(&"second"));
        assert_eq!(writes.decided(), [2]);
    }

    #[test]
    fn a_write_that_is_sent_again_waits_for_the_first_or_is_told_what_it_became() {
        let (mut writes, mut done) = (Writes::new(), Outcomes::default());
        assert_eq!(writes.offer(key("x", "write"), "write", 1, &done), Offered::Waits);
        assert_eq!(writes.offer(key("x", "write"), "write", 2, &done), Offered::Waits);
        assert_eq!(writes.begin(), Some(&"write"));
        assert_eq!(writes.offer(key("x", "write"), "write", 3, &done), Offered::Waits);
        // It is in the accepted value already, and not decided: nobody is told yet.
        let revision = Revision::new(4).unwrap();
        done.push(key("x", "write").unwrap(), revision);
        assert_eq!(writes.offer(key("x", "write"), "write", 4, &done), Offered::Waits);
        assert_eq!(writes.decided(), [1, 2, 3, 4]);
        assert_eq!(writes.begin(), None);
        assert_eq!(writes.offer(key("x", "write"), "write", 5, &done), Offered::Done(revision, 5));
    }

    #[test]
    fn an_id_is_not_taken_for_something_else_while_the_first_waits_nor_after_it_is_done() {
        let (mut writes, mut done) = (Writes::new(), Outcomes::default());
        assert_eq!(writes.offer(key("x", "first"), "first", 1, &done), Offered::Waits);
        assert_eq!(writes.offer(key("x", "other"), "other", 2, &done), Offered::Other(2));
        assert!(writes.begin().is_some());
        assert_eq!(writes.offer(key("x", "other"), "other", 3, &done), Offered::Other(3));
        done.push(key("x", "first").unwrap(), Revision::new(4).unwrap());
        assert_eq!(writes.decided(), [1]);
        assert_eq!(writes.offer(key("x", "other"), "other", 4, &done), Offered::Other(4));
    }

    #[test]
    fn no_more_wait_than_allowed_whatever_they_wait_for() {
        let (mut writes, none) = (Writes::new(), Outcomes::default());
        for who in 0..WRITES_WAITING_MAX {
            let key = if who % 2 == 0 { key("same", "write") } else { None };
            assert_eq!(writes.offer(key, "write", who, &none), Offered::Waits);
        }
        assert_eq!(writes.offer(None, "write", 64, &none), Offered::Full(64));
        assert_eq!(writes.offer(key("same", "write"), "write", 65, &none), Offered::Full(65));
        assert!(writes.begin().is_some());
        assert_eq!(writes.offer(None, "write", 66, &none), Offered::Waits);
    }

    #[test]
    fn a_leader_that_is_none_any_more_tells_the_begun_from_the_rest() {
        let (mut writes, none) = (Writes::new(), Outcomes::default());
        (1..=3).for_each(|who| assert_eq!(writes.offer(None, "write", who, &none), Offered::Waits));
        assert!(writes.begin().is_some());
        assert_eq!(writes.led_no_more(), (vec![1], vec![2, 3]));
        assert_eq!(writes.begin(), None);
    }
}
