//! A warning about something that may happen thousands of times a second while it lasts: said at once, and then at most once
//! in [`INTERVAL`], with how often it happened in between.

use std::cell::Cell;
use std::time::{Duration, Instant};

/// Between two times that the same is said.
const INTERVAL: Duration = Duration::from_secs(10);

/// One worker's warning about one thing.
#[derive(Debug, Default)]
pub(crate) struct Complaint {
    said: Cell<Option<Instant>>,
    unsaid: Cell<u64>,
}

impl Complaint {
    /// It happened. How often it did since it was last said, this time included, where it is to be said now.
    pub(crate) fn count(&self, now: Instant) -> Option<u64> {
        let count = self.unsaid.get() + 1;
        let is_due = self.said.get().is_none_or(|said| now.saturating_duration_since(said) >= INTERVAL);
        self.unsaid.set(if is_due { 0 } else { count });
        if is_due {
            self.said.set(Some(now));
        }
        is_due.then_some(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host;

    #[test]
    fn what_happens_all_the_time_is_said_at_once_and_then_now_and_then() {
        let complaint = Complaint::default();
        let start = host::now();
        let said: Vec<_> =
            (0..25_000).filter_map(|ms| Some((ms, complaint.count(start + Duration::from_millis(ms))?))).collect();
        assert_eq!(said, [(0, 1), (10_000, 10_000), (20_000, 10_000)]);
    }
}
