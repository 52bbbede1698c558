//! What is due when: many things, each asked again and again, one question under way for each, so many for all. And whether
//! this peer is on time itself.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// How late this peer's own timer may be before it takes a fault for its own (`DESIGN.md` section 5).
const LATE: Duration = Duration::from_millis(500);

/// When each of `0..n` is due.
#[derive(Debug)]
pub(super) struct Schedule {
    /// Those that are due some time and not under way; the first is the next.
    queue: BTreeSet<(Instant, usize)>,
    slots: Vec<Slot>,
    under_way: usize,
    under_way_max: usize,
}

#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    due: Option<Instant>,
    under_way: bool,
}

impl Schedule {
    /// A schedule for `0..count` of which nothing is due, with at most `under_way_max` under way.
    pub(super) fn new(count: usize, under_way_max: usize) -> Self {
        Self { queue: BTreeSet::new(), slots: vec![Slot::default(); count], under_way: 0, under_way_max }
    }

    /// Makes room for `0..count`; what is new is not due.
    pub(super) fn grow(&mut self, count: usize) {
        if self.slots.len() < count {
            self.slots.resize_with(count, Slot::default);
        }
    }

    /// Makes it due at `at` instead of whenever it was. What is under way waits for its end.
    pub(super) fn set(&mut self, index: usize, at: Instant) {
        self.take_from_queue(index);
        self.slots[index].due = Some(at);
        self.put_into_queue(index);
    }

    /// Makes it due at `at`, unless it is sooner.
    pub(super) fn bring_forward(&mut self, index: usize, at: Instant) {
        if self.slots[index].due.is_none_or(|due| at < due) {
            self.set(index, at);
        }
    }

    /// Makes it due no more.
    pub(super) fn clear(&mut self, index: usize) {
        self.take_from_queue(index);
        self.slots[index].due = None;
    }

    /// Takes one that is due, longest due first; it is under way until [`Schedule::finished`].
    pub(super) fn take(&mut self, now: Instant) -> Option<usize> {
        if self.under_way >= self.under_way_max {
            return None;
        }
        let (at, index) = *self.queue.first()?;
        if at > now {
            return None;
        }
        self.queue.pop_first();
        self.slots[index] = Slot { due: None, under_way: true };
        self.under_way += 1;
        Some(index)
    }

    /// It is not under way any more.
    pub(super) fn finished(&mut self, index: usize) {
        if self.slots[index].under_way {
            self.slots[index].under_way = false;
            self.under_way -= 1;
            self.put_into_queue(index);
        }
    }

    /// Whether it is under way.
    pub(super) fn is_under_way(&self, index: usize) -> bool {
        self.slots[index].under_way
    }

    /// When [`Schedule::take`] has something; `None` while nothing is due, or as many are under way as may be.
    pub(super) fn next(&self) -> Option<Instant> {
        if self.under_way >= self.under_way_max {
            return None;
        }
        self.queue.first().map(|(at, _)| *at)
    }

    fn put_into_queue(&mut self, index: usize) {
        if let Slot { due: Some(at), under_way: false } = self.slots[index] {
            self.queue.insert((at, index));
        }
    }

    fn take_from_queue(&mut self, index: usize) {
        if let Some(at) = self.slots[index].due {
            self.queue.remove(&(at, index));
        }
    }
}

/// Whether this peer is on time. One that was starved or stopped sees every time-out expire at once, and must not accuse
/// the nodes of it.
#[derive(Debug, Default)]
pub(super) struct Punctuality {
    late_until: Option<Instant>,
}

impl Punctuality {
    /// A timer set for `scheduled` was looked at only at `actual`. True where that was late.
    pub(super) fn woke(&mut self, scheduled: Instant, actual: Instant) -> bool {
        let late = actual.saturating_duration_since(scheduled) > LATE;
        if late {
            self.late_until = Some(actual);
        }
        late
    }

    /// Whether a fault found by a question that began then may be this peer's own.
    pub(super) fn doubts(&self, began: Instant) -> bool {
        self.late_until.is_some_and(|until| began <= until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host;
    use crate::model::limits::{CHECKS_IN_FLIGHT_MAX, NODES_MAX};

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn the_longest_due_goes_first_and_nothing_goes_early() {
        let now = host::now();
        let mut schedule = Schedule::new(3, 10);
        assert_eq!(schedule.next(), None);
        schedule.set(0, now + 20 * MS);
        schedule.set(1, now + 10 * MS);
        assert_eq!(schedule.next(), Some(now + 10 * MS));
        assert_eq!(schedule.take(now), None);
        assert_eq!(schedule.take(now + 20 * MS), Some(1));
        assert_eq!(schedule.take(now + 20 * MS), Some(0));
        assert_eq!(schedule.take(now + 20 * MS), None);
    }

    #[test]
    fn one_question_is_under_way_for_each_and_what_falls_due_meanwhile_waits() {
        let now = host::now();
        let mut schedule = Schedule::new(1, 10);
        schedule.set(0, now);
        assert_eq!(schedule.take(now), Some(0));
        assert!(schedule.is_under_way(0));
        schedule.set(0, now + 5 * MS);
        schedule.bring_forward(0, now + MS);
        schedule.bring_forward(0, now + 9 * MS);
        assert_eq!(schedule.take(now + 10 * MS), None);
        schedule.finished(0);
        assert_eq!(schedule.next(), Some(now + MS));
        schedule.clear(0);
        assert_eq!(schedule.next(), None);
    }

    #[test]
    fn no_more_are_under_way_than_may_be() {
        let now = host::now();
        let mut schedule = Schedule::new(3, 2);
        (0..3).for_each(|index| schedule.set(index, now));
        assert!(schedule.take(now).is_some() && schedule.take(now).is_some());
        assert_eq!((schedule.take(now), schedule.next()), (None, None));
        schedule.finished(0);
        schedule.finished(0);
        assert_eq!(schedule.take(now), Some(2));
        assert_eq!(schedule.take(now), None);
    }

    /// Ten virtual minutes of the largest catalog, each question taking 50 ms, some things brought forward.
    #[test]
    fn ten_thousand_keep_their_interval_within_the_bound() {
        let start = host::now();
        let interval = Duration::from_secs(5);
        let mut dice = host::Dice::from_seed(3);
        let mut schedule = Schedule::new(NODES_MAX, CHECKS_IN_FLIGHT_MAX);
        let mut last = vec![None::<Instant>; NODES_MAX];
        let mut asked = vec![0_u32; NODES_MAX];
        (0..NODES_MAX).for_each(|index| schedule.set(index, start));
        let mut flying = std::collections::VecDeque::new();
        let mut now = start;
        let mut all_asked_at = None;
        while now < start + Duration::from_secs(600) {
            while flying.front().is_some_and(|(until, _)| *until <= now) {
                let (_, index) = flying.pop_front().unwrap();
                schedule.finished(index);
            }
            while let Some(index) = schedule.take(now) {
                assert!(flying.len() < CHECKS_IN_FLIGHT_MAX);
                if let Some(last) = last[index].replace(now) {
                    assert!(now - last <= interval + Duration::from_millis(1_100), "{:?}", now - last);
                }
                asked[index] += 1;
                // The first time they are all due at once; afterwards each has its place.
                let wait = if asked[index] == 1 { interval.mul_f64(dice.fraction()) } else { interval };
                schedule.set(index, now + wait);
                flying.push_back((now + 50 * MS, index));
            }
            if all_asked_at.is_none() && last.iter().all(Option::is_some) {
                all_asked_at = Some(now - start);
            }
            now += 5 * MS;
        }
        assert!(all_asked_at.unwrap() <= Duration::from_secs(1), "{all_asked_at:?}");
        assert!(asked.iter().all(|&times| (115..=125).contains(&times)));
    }

    #[test]
    fn a_peer_that_was_late_doubts_what_it_began_before_and_not_what_it_began_after() {
        let now = host::now();
        let mut own = Punctuality::default();
        assert!(!own.woke(now, now + 500 * MS));
        assert!(!own.doubts(now));
        assert!(own.woke(now, now + 501 * MS));
        assert!(own.doubts(now) && own.doubts(now + 501 * MS));
        assert!(!own.doubts(now + 502 * MS));
        assert!(!own.woke(now + 600 * MS, now + 600 * MS));
        assert!(own.doubts(now), "a question from before stays doubtful");
    }
}
