//! The names of nodes: which are to be asked for again, and what an answer changes.

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
    names: Vec<Name>,
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
    /// All of these are due at once. `known`: where one led before a restart; empty if nobody knows.
    pub(super) fn new(names: Vec<(Arc<str>, Vec<IpAddr>)>, now: Instant) -> Self {
        let mut schedule = Schedule::new(names.len(), UNDER_WAY_MAX);
        (0..names.len()).for_each(|index| schedule.set(index, now));
        Self { names: names.into_iter().map(|(name, addresses)| Name { name, addresses }).collect(), schedule }
    }

    /// A name to ask for, with its number.
    pub(super) fn take(&mut self, now: Instant) -> Option<(usize, Arc<str>)> {
        self.schedule.take(now).map(|index| (index, Arc::clone(&self.names[index].name)))
    }

    /// When [`Names::take`] has one.
    pub(super) fn next(&self) -> Option<Instant> {
        self.schedule.next()
    }

    /// Where a name led last; empty: nowhere yet.
    pub(super) fn addresses(&self, index: usize) -> &[IpAddr] {
        &self.names[index].addresses
    }

    /// Takes an answer in.
    pub(super) fn answered(&mut self, index: usize, answer: Result<Resolved, NameError>, now: Instant) -> Change {
        self.schedule.finished(index);
        let name = &mut self.names[index];
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
        self.schedule.set(index, now + AGAIN_AFTER_FAILURE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host;

    fn resolved(last: u8, valid_s: u64) -> Result<Resolved, NameError> {
        Ok(Resolved { addresses: vec![IpAddr::from([10, 0, 0, last])], valid_for: Duration::from_secs(valid_s) })
    }

    fn failed() -> Result<Resolved, NameError> {
        Err(NameError::TimedOut { name: "web".into() })
    }

    #[test]
    fn a_name_is_asked_for_again_when_its_answer_is_no_longer_valid() {
        let now = host::now();
        let mut names = Names::new(vec![("web".into(), Vec::new())], now);
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
        let mut names = Names::new(vec![("web".into(), Vec::new())], now);
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
        let mut names = Names::new(vec![("web".into(), Vec::new())], now);
        names.take(now);
        names.broke(0, now);
        assert!(names.take(now + AGAIN_AFTER_FAILURE).is_some());
    }
}
