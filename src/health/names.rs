//! The names of nodes: which are to be asked for again, and what an answer changes.
//!
//! A name that no node has any more is forgotten at once, but its number is not given to another while a question for it is
//! under way: the answer must not be taken for that of another name.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::schedule::Schedule;
use crate::host::{NameError, Resolved};

/// Names asked for at the same time.
const UNDER_WAY_MAX: usize = 64;
/// How soon a name that led nowhere is asked for again.
const AGAIN_AFTER_FAILURE: Duration = Duration::from_secs(5);

/// Every name once, however many nodes share it.
#[derive(Debug)]
pub(super) struct Names {
    /// By number; `None`: nobody has it, or nobody has it any more.
    names: Vec<Option<Name>>,
    numbers: HashMap<Arc<str>, usize>,
    /// Numbers that may be given to other names.
    free: Vec<usize>,
    schedule: Schedule,
}

#[derive(Debug)]
struct Name {
    name: Arc<str>,
    addresses: Vec<IpAddr>,
}

/// What an answer changes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Change {
    /// Nothing. Also where a name that led somewhere leads nowhere now: name servers fail more often than nodes move, and
    /// checks will tell.
    Kept,
    /// It leads to these addresses now.
    Moved(Vec<IpAddr>),
    /// It leads nowhere and never has; why, in words.
    Nowhere(String),
}

impl Names {
    /// None yet.
    pub(super) fn new() -> Self {
        Self { names: Vec::new(), numbers: HashMap::new(), free: Vec::new(), schedule: Schedule::new(0, UNDER_WAY_MAX) }
    }

    /// The number of a name, which is due at once where it is new. `known`: where it led before a restart; empty if nobody
    /// knows.
    pub(super) fn number_of(&mut self, name: &Arc<str>, known: Vec<IpAddr>, now: Instant) -> usize {
        if let Some(&number) = self.numbers.get(name) {
            let standing = self.names.get_mut(number).and_then(Option::as_mut);
            if let Some(standing) = standing.filter(|standing| standing.addresses.is_empty()) {
                standing.addresses = known;
            }
            return number;
        }
        let new = Some(Name { name: Arc::clone(name), addresses: known });
        let number = match self.free.pop() {
            Some(number) => {
                self.names[number] = new;
                number
            }
            None => {
                self.names.push(new);
                self.names.len() - 1
            }
        };
        self.schedule.grow(self.names.len());
        self.numbers.insert(Arc::clone(name), number);
        self.schedule.set(number, now);
        number
    }

    /// No node has this name any more.
    pub(super) fn forget(&mut self, number: usize) {
        let Some(gone) = self.names[number].take() else { return };
        self.numbers.remove(&gone.name);
        self.schedule.clear(number);
        if !self.schedule.is_under_way(number) {
            self.free.push(number);
        }
    }

    /// A name to ask for, with its number.
    pub(super) fn take(&mut self, now: Instant) -> Option<(usize, Arc<str>)> {
        let number = self.schedule.take(now)?;
        self.names[number].as_ref().map(|name| (number, Arc::clone(&name.name)))
    }

    /// When [`Names::take`] has one.
    pub(super) fn next(&self) -> Option<Instant> {
        self.schedule.next()
    }

    /// Where a name led last; empty: nowhere yet.
    pub(super) fn addresses(&self, index: usize) -> &[IpAddr] {
        self.names[index].as_ref().map_or(&[], |name| &name.addresses)
    }

    /// Takes an answer in.
    pub(super) fn answered(&mut self, index: usize, answer: Result<Resolved, NameError>, now: Instant) -> Change {
        self.schedule.finished(index);
        let Some(name) = &mut self.names[index] else {
            self.free.push(index);
            return Change::Kept;
        };
        match answer {
            Ok(resolved) => {
                self.schedule.set(index, now + resolved.valid_for);
                if resolved.addresses == name.addresses {
                    return Change::Kept;
                }
                name.addresses.clone_from(&resolved.addresses);
                Change::Moved(resolved.addresses)
            }
            Err(error) => {
                self.schedule.set(index, now + AGAIN_AFTER_FAILURE);
                if name.addresses.is_empty() { Change::Nowhere(error.to_string()) } else { Change::Kept }
            }
        }
    }

    /// The question came to no end; it is asked again later.
    pub(super) fn broke(&mut self, index: usize, now: Instant) {
        self.schedule.finished(index);
        if self.names[index].is_some() {
            self.schedule.set(index, now + AGAIN_AFTER_FAILURE);
        } else {
            self.free.push(index);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host;

    fn resolved(last: u8, valid_s: u64) -> Result<Resolved, NameError> {
        Ok(Resolved { addresses: vec![IpAddr::from([10, 0, 0, last])], valid_for: Duration::from_secs(valid_s) })
    }

    fn web(now: Instant) -> Names {
        let mut names = Names::new();
        assert_eq!(names.number_of(&"web".into(), Vec::new(), now), 0);
        names
    }

    fn failed() -> Result<Resolved, NameError> {
        Err(NameError::TimedOut { name: "web".into() })
    }

    #[test]
    fn a_name_is_asked_for_again_when_its_answer_is_no_longer_valid() {
        let now = host::now();
        let mut names = web(now);
        assert_eq!(names.take(now), Some((0, "web".into())));
        assert_eq!(names.take(now), None, "one question at a time");
        let Change::Moved(addresses) = names.answered(0, resolved(1, 60), now) else { panic!() };
        assert_eq!(addresses, [IpAddr::from([10, 0, 0, 1])]);
        assert_eq!(names.next(), Some(now + Duration::from_secs(60)));
        let later = now + Duration::from_secs(60);
        assert!(names.take(later).is_some());
        assert_eq!(names.answered(0, resolved(1, 60), later), Change::Kept);
    }

    #[test]
    fn a_failure_keeps_the_last_good_addresses_and_asks_again_soon() {
        let now = host::now();
        let mut names = web(now);
        names.take(now);
        assert!(matches!(names.answered(0, failed(), now), Change::Nowhere(why) if why.contains("web")));
        assert_eq!(names.next(), Some(now + AGAIN_AFTER_FAILURE));
        let now = now + AGAIN_AFTER_FAILURE;
        names.take(now);
        names.answered(0, resolved(1, 1), now);
        names.take(now + Duration::from_secs(1));
        assert_eq!(names.answered(0, failed(), now), Change::Kept);
        names.take(now + AGAIN_AFTER_FAILURE);
        assert!(matches!(names.answered(0, resolved(2, 1), now), Change::Moved(_)));
    }

    #[test]
    fn a_question_that_broke_off_is_asked_again() {
        let now = host::now();
        let mut names = web(now);
        names.take(now);
        names.broke(0, now);
        assert!(names.take(now + AGAIN_AFTER_FAILURE).is_some());
    }

    #[test]
    fn an_answer_to_a_forgotten_name_is_not_taken_for_that_of_another() {
        let now = host::now();
        let mut names = web(now);
        names.take(now);
        names.forget(0);
        assert_eq!(names.number_of(&"other".into(), Vec::new(), now), 1);
        assert_eq!(names.answered(0, resolved(1, 60), now), Change::Kept);
        assert_eq!(names.take(now), Some((1, "other".into())));
        assert!(names.addresses(0).is_empty() && names.addresses(1).is_empty());
        assert_eq!(names.number_of(&"web".into(), Vec::new(), now), 0, "numbers are used again");
        assert_eq!(names.take(now), Some((0, "web".into())));
    }
}
