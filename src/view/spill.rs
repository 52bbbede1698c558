//! Spill: what a region is asked beyond what it can take goes on to others at once, by the same arithmetic at every peer, and
//! what nobody can take is refused.
//!
//! A region gets its own requests up to its capacity, as much of it as the weight of its usable nodes is of all. Of guests it
//! takes so many that it does not come above nine tenths of that. What is asked where is measured by each peer and told to all;
//! each may then send its part of what a region takes. Pure.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

/// Of what it can take, a region is filled with guests so far.
const GUESTS_UP_TO: f64 = 0.9;
/// Requests a second that every peer counts as asking more than it does: one that was asked nothing yet has a part too.
const LEAST_PER_SECOND: f64 = 0.5;
/// How long what was measured counts: rates are averages that forget at this pace.
const MEMORY: Duration = Duration::from_secs(1);
/// Less than this a second is nothing.
const RATE_LEAST: f64 = 0.01;
/// How much of a second's requests may come at once.
const BURST: Duration = Duration::from_millis(50);

/// What is asked of a region in the whole cluster, and what it can take. Requests a second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Standing {
    /// What it can take now: nothing without a usable node, infinite where users say nothing.
    pub(super) capacity: f64,
    /// Requests whose first choice it is, over all peers.
    pub(super) asked: f64,
    /// Those of them that come to this peer.
    pub(super) asked_here: f64,
}

/// What this peer may send to a region, requests a second; infinite: whatever comes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Share {
    /// Of those whose first choice it is.
    pub(super) own: f64,
    /// Of those that cannot stay elsewhere.
    pub(super) guests: f64,
}

/// What this peer, which is one of `peers`, may send to each region.
pub(super) fn shares(regions: &[Standing], peers: usize) -> Vec<Share> {
    let least_of_all = LEAST_PER_SECOND * peers.max(1) as f64;
    // The part of what is asked that cannot stay.
    let part_over = |of: &Standing| if of.asked > of.capacity { (of.asked - of.capacity) / of.asked } else { 0.0 };
    let over: f64 = regions.iter().map(|of| part_over(of) * of.asked).sum();
    let over_here: f64 = regions.iter().map(|of| part_over(of) * of.asked_here).sum();
    let part_of_guests = ((over_here + LEAST_PER_SECOND) / (over + least_of_all)).min(1.0);
    let share = |of: &Standing| {
        let own = if of.asked > of.capacity {
            of.capacity * ((of.asked_here + LEAST_PER_SECOND) / (of.asked + least_of_all)).min(1.0)
        } else {
            f64::INFINITY
        };
        let room = (GUESTS_UP_TO * of.capacity - of.asked.min(of.capacity)).max(0.0);
        Share { own, guests: if room.is_finite() { room * part_of_guests } else { f64::INFINITY } }
    };
    regions.iter().map(share).collect()
}

/// What is known and counted of one region at this peer. Workers count and ask, the view's actor measures and allots.
#[derive(Debug)]
pub(super) struct RegionLive {
    began: Instant,
    /// Requests whose first choice it was.
    asked: AtomicU64,
    /// As many there were when it was measured last.
    measured: AtomicU64,
    /// Requests a second of this peer, the bits of a float.
    asked_here: AtomicU64,
    own: Allowance,
    guests: Allowance,
}

impl RegionLive {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            began: now,
            asked: AtomicU64::new(0),
            measured: AtomicU64::new(0),
            asked_here: AtomicU64::new(0.0_f64.to_bits()),
            own: Allowance::unlimited(),
            guests: Allowance::unlimited(),
        }
    }

    /// A request came whose first choice this region is.
    pub(super) fn count(&self) {
        self.asked.fetch_add(1, Relaxed);
    }

    /// Whether one more may be sent there. One that may counts as sent.
    pub(super) fn admits(&self, is_guest: bool, now: Instant) -> bool {
        let allowance = if is_guest { &self.guests } else { &self.own };
        allowance.take(now.saturating_duration_since(self.began))
    }

    /// Measures what came since `before`.
    pub(super) fn measure(&self, since: Duration) {
        if since.is_zero() {
            return;
        }
        let asked = self.asked.load(Relaxed);
        let new = asked.wrapping_sub(self.measured.swap(asked, Relaxed));
        let rate = new as f64 / since.as_secs_f64();
        let keeps = (-since.div_duration_f64(MEMORY)).exp();
        let average = f64::from_bits(self.asked_here.load(Relaxed)) * keeps + rate * (1.0 - keeps);
        self.asked_here.store(average.to_bits(), Relaxed);
    }

    /// Requests a second of this peer, as all peers are told it.
    pub(super) fn asked_here(&self) -> f64 {
        told(f64::from_bits(self.asked_here.load(Relaxed)))
    }

    pub(super) fn allot(&self, share: Share) {
        self.own.set(share.own);
        self.guests.set(share.guests);
    }
}

/// A rate as it is told: two digits, so that one that trembles says nothing new.
fn told(rate: f64) -> f64 {
    if rate < 1.0 {
        return (rate * 10.0).round() / 10.0;
    }
    let step = 10_f64.powf(rate.log10().floor() - 1.0);
    (rate / step).round() * step
}

/// A rate that is kept by the time at which the next one is due (the generic cell rate algorithm, ITU-T I.371 annex A).
#[derive(Debug)]
struct Allowance {
    /// Nanoseconds between two; `u64::MAX`: none may be sent; 0: any.
    interval_ns: AtomicU64,
    /// Nanoseconds from the beginning at which the next one is due.
    due_ns: AtomicU64,
}

impl Allowance {
    fn unlimited() -> Self {
        Self { interval_ns: AtomicU64::new(0), due_ns: AtomicU64::new(0) }
    }

    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "not negative, and the cast saturates")]
    fn set(&self, per_second: f64) {
        let interval_ns = match per_second {
            any if any.is_infinite() => 0,
            none if none < RATE_LEAST => u64::MAX,
            some => (1e9 / some).max(1.0) as u64,
        };
        self.interval_ns.store(interval_ns, Relaxed);
    }

    fn take(&self, at: Duration) -> bool {
        let interval_ns = self.interval_ns.load(Relaxed);
        if matches!(interval_ns, 0 | u64::MAX) {
            return interval_ns == 0;
        }
        let now_ns = u64::try_from(at.as_nanos()).unwrap_or(u64::MAX);
        let burst_ns = u64::try_from(BURST.as_nanos()).unwrap_or(u64::MAX).max(interval_ns);
        let next = |due_ns: u64| {
            let due_ns = due_ns.max(now_ns).checked_add(interval_ns)?;
            (due_ns - now_ns <= burst_ns).then_some(due_ns)
        };
        self.due_ns.fetch_update(Relaxed, Relaxed, next).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::host;

    fn standing(capacity: f64, asked: f64, asked_here: f64) -> Standing {
        Standing { capacity, asked, asked_here }
    }

    #[test]
    fn a_region_that_died_at_full_load_fills_two_others_to_nine_tenths_and_the_rest_is_refused() {
        let dead = standing(0.0, 1_000.0, 1_000.0);
        let alone = |b: f64, c: f64| shares(&[dead, standing(600.0, b, b), standing(600.0, c, c)], 1);
        let idle = alone(0.0, 0.0);
        assert!(idle[1].guests > 539.0 && idle[1].guests <= 540.0, "{idle:?}");
        let busy = alone(200.0, 400.0);
        assert!((busy[1].guests - 340.0).abs() < 1.0 && (busy[2].guests - 140.0).abs() < 1.0, "{busy:?}");
        assert_eq!((busy[0].guests, busy[1].own), (0.0, f64::INFINITY));
        let full = alone(550.0, 600.0);
        assert_eq!((full[1].guests, full[2].guests), (0.0, 0.0));
    }

    #[test]
    fn a_region_that_is_asked_too_much_keeps_what_it_can_take() {
        let shares = shares(&[standing(1_000.0, 1_500.0, 500.0), standing(f64::INFINITY, 10.0, 10.0)], 3);
        assert!((shares[0].own - 333.5).abs() < 1.0, "{shares:?}");
        assert_eq!((shares[0].guests, shares[1].guests), (0.0, f64::INFINITY));
    }

    proptest! {
        /// Whoever is asked how much where: all peers together never send a region more than it takes.
        #[test]
        fn the_parts_of_all_peers_are_never_more_than_the_whole(
            capacities in prop::collection::vec(prop_oneof![Just(0.0), 1.0..2_000.0], 2..6),
            asked in prop::collection::vec(prop::collection::vec(0.0..1_000.0, 6), 1..5),
        ) {
            let total = |region: usize| asked.iter().map(|peer| peer[region]).sum::<f64>();
            let of_peer = |peer: &Vec<f64>| {
                let regions = capacities.iter().enumerate().map(|(at, &capacity)| standing(capacity, total(at), peer[at]));
                shares(&regions.collect::<Vec<_>>(), asked.len())
            };
            let all: Vec<Vec<Share>> = asked.iter().map(of_peer).collect();
            for (at, &capacity) in capacities.iter().enumerate() {
                let guests: f64 = all.iter().map(|peer| peer[at].guests).sum();
                let own = total(at).min(capacity);
                prop_assert!(guests <= 1e-6 || guests + own <= GUESTS_UP_TO * capacity + 1e-6);
                if total(at) > capacity {
                    prop_assert!(all.iter().map(|peer| peer[at].own).sum::<f64>() <= capacity + 1e-6);
                }
            }
        }
    }

    #[test]
    fn an_allowance_lets_its_rate_through_and_no_more() {
        let region = RegionLive::new(host::now());
        region.allot(Share { own: f64::INFINITY, guests: 340.0 });
        let sent = |offered: u64, seconds: u64| {
            let step = Duration::from_secs(1) / u32::try_from(offered).unwrap();
            (0..offered * seconds)
                .filter(|&at| region.admits(true, region.began + step * u32::try_from(at).unwrap()))
                .count()
        };
        let passed = sent(1_000, 10);
        assert!((3_380..=3_420).contains(&passed), "{passed}");
        region.allot(Share { own: f64::INFINITY, guests: 0.0 });
        assert!(!region.admits(true, region.began + Duration::from_secs(1_000)));
        assert!(region.admits(false, region.began));
    }

    #[test]
    fn rates_are_measured_and_told_in_two_digits() {
        let region = RegionLive::new(host::now());
        for _ in 0..40 {
            (0..25).for_each(|_| region.count());
            region.measure(Duration::from_millis(250));
        }
        assert_eq!(region.asked_here(), 100.0);
        assert_eq!((told(0.04), told(0.26), told(7.36), told(1_234.0)), (0.0, 0.3, 7.4, 1_200.0));
    }
}
