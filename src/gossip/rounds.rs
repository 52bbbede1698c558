//! Which rounds of gossip this peer begins: all of them in a small cluster, half of them in a large one.
//!
//! A round costs as many bytes as there are peers, and with twice the peers one hears of each by twice as many ways. chitchat
//! reads its interval once, when it starts; so it is the first messages of exchanges that are dropped here, each by itself
//! and not three at a time: what is left is spread over time, and heartbeats come more evenly than at twice the interval.
//! Answers are never dropped.

use std::time::{Duration, Instant};

/// Up to so many others, every exchange is begun.
const PEERS_FULL: usize = 8;
/// At least this share of exchanges is begun: with fewer, a death takes longer to be seen in proportion.
const SHARE_LEAST: f64 = 0.5;
/// Multiples of it, without their whole parts, are spread evenly, and so is every n-th of them: who stands at a certain place
/// in chitchat's rounds, such as a seed, has its share too.
const GOLDEN: f64 = 0.618_033_988_749_895;
/// Between two counts of peers.
const COUNT_EVERY: Duration = Duration::from_secs(1);

/// Decides about each exchange.
#[derive(Debug)]
pub(super) struct Rounds {
    share: f64,
    place: f64,
    count_at: Instant,
}

impl Rounds {
    /// Begins with all.
    pub(super) fn new(now: Instant) -> Self {
        Self { share: 1.0, place: 0.0, count_at: now }
    }

    /// Whether this exchange is begun. `living` counts the other peers that are heard of; it is asked now and then.
    pub(super) fn begins(&mut self, now: Instant, living: impl FnOnce() -> usize) -> bool {
        if self.count_at <= now {
            self.count_at = now + COUNT_EVERY;
            self.share = (PEERS_FULL as f64 / living().max(1) as f64).clamp(SHARE_LEAST, 1.0);
        }
        self.place = (self.place + GOLDEN).fract();
        self.place < self.share
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host;

    fn begun(living: usize, times: usize) -> Vec<bool> {
        let start = host::now();
        let mut rounds = Rounds::new(start);
        let at = |time: usize| start + Duration::from_millis(30) * u32::try_from(time).unwrap();
        (0..times).map(|time| rounds.begins(at(time), || living)).collect()
    }

    fn share(begun: impl Iterator<Item = bool> + Clone) -> f64 {
        begun.clone().filter(|begun| *begun).count() as f64 / begun.count() as f64
    }

    #[test]
    fn a_small_cluster_begins_every_exchange_and_a_large_one_half_of_them() {
        for (living, expected) in [(0, 1.0), (4, 1.0), (8, 1.0), (12, 0.667), (16, 0.5), (127, 0.5)] {
            let share = share(begun(living, 10_000).into_iter());
            assert!((share - expected).abs() < 0.01, "{share} with {living}");
        }
    }

    #[test]
    fn whoever_has_a_place_in_each_round_has_its_share() {
        let begun = begun(100, 10_000);
        for (of, at) in (1..=6).flat_map(|of| (0..of).map(move |at| (of, at))) {
            let share = share(begun.iter().skip(at).step_by(of).copied());
            assert!((share - 0.5).abs() < 0.02, "{share} of place {at} of {of}");
        }
        let longest_pause = begun.split(|begun| *begun).map(<[bool]>::len).max();
        assert_eq!(longest_pause, Some(2), "a peer is never silent for a whole round of chitchat's");
    }

    #[test]
    fn a_cluster_that_shrinks_begins_all_again() {
        let start = host::now();
        let mut rounds = Rounds::new(start);
        let mut all = |seconds: u64, living: usize| {
            (0..100).all(|_| rounds.begins(start + Duration::from_secs(seconds), || living))
        };
        assert!(!all(0, 100));
        assert!(all(1, 5));
    }
}
