//! A cap on the bytes a second that this peer's own rounds of gossip cost.
//!
//! A cluster whose peers are late sends full deltas to everybody, which makes it later: it does not recover by itself. What
//! a peer *begins* is therefore dropped above the cap; answers never are, because whoever waits for one would begin again.

use std::time::{Duration, Instant};

/// What may be sent at once after a quiet time, in seconds of the cap.
const BURST: Duration = Duration::from_secs(1);

/// A token bucket over bytes.
#[derive(Debug)]
pub(super) struct Budget {
    bytes_per_second: u32,
    /// Bytes that may be sent now; below zero where answers used more than there was.
    left: f64,
    at: Instant,
}

impl Budget {
    /// A full budget.
    pub(super) fn new(bytes_per_second: u32, now: Instant) -> Self {
        Self { bytes_per_second, left: f64::from(bytes_per_second) * BURST.as_secs_f64(), at: now }
    }

    /// Counts bytes that are sent whatever they cost.
    pub(super) fn spend(&mut self, bytes: usize, now: Instant) {
        self.refill(now);
        self.take(bytes);
    }

    /// Counts bytes of something new, if the budget allows it.
    pub(super) fn try_spend(&mut self, bytes: usize, now: Instant) -> bool {
        self.refill(now);
        let allowed = self.left > 0.0;
        if allowed {
            self.take(bytes);
        }
        allowed
    }

    fn refill(&mut self, now: Instant) {
        let most = f64::from(self.bytes_per_second) * BURST.as_secs_f64();
        let gained = f64::from(self.bytes_per_second) * now.saturating_duration_since(self.at).as_secs_f64();
        self.left = (self.left + gained).min(most);
        self.at = self.at.max(now);
    }

    fn take(&mut self, bytes: usize) {
        let most = f64::from(self.bytes_per_second) * BURST.as_secs_f64();
        // A debt of more than a second would silence this peer for longer than others take to call it dead.
        self.left = (self.left - f64::from(u32::try_from(bytes).unwrap_or(u32::MAX))).max(-most / 2.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host;

    #[test]
    fn over_any_time_no_more_is_begun_than_the_cap_allows() {
        let start = host::now();
        let mut budget = Budget::new(10_000, start);
        let mut sent = 0;
        for ms in 0..10_000 {
            let now = start + Duration::from_millis(ms);
            sent += if budget.try_spend(700, now) { 700 } else { 0 };
        }
        assert!((100_000..=111_000).contains(&sent), "{sent} bytes in 10 s and one burst");
    }

    #[test]
    fn answers_are_counted_and_never_silence_a_peer_for_long() {
        let start = host::now();
        let mut budget = Budget::new(10_000, start);
        budget.spend(10_000_000, start);
        assert!(!budget.try_spend(1, start));
        assert!(budget.try_spend(1, start + Duration::from_millis(501)));
    }
}
