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
/// Of a rate, so much of a second's requests may come at once.
const BURST_MIN: Duration = Duration::from_millis(50);
/// And as many as these, for browsers ask for what a page is made of at once; but never more than come in `BURST_MAX`.
const BURST_REQUESTS: u64 = 16;
/// Where a peer's share is a few requests a second, the shares of all peers together would else be far above what they are of.
const BURST_MAX: Duration = Duration::from_secs(1);

/// What is asked of a region, and what it can take. Requests a second.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Standing {
    /// What it can take now: nothing without a usable node, infinite where users say nothing.
    pub(super) capacity: f64,
    /// Requests whose first choice it is, by the peer that they come to, this one first.
    pub(super) asked: Vec<f64>,
}

impl Standing {
    /// Over all peers.
    fn asked(&self) -> f64 {
        self.asked.iter().sum()
    }

    /// The part of what is asked that cannot stay.
    fn part_over(&self) -> f64 {
        let asked = self.asked();
        if asked > self.capacity { (asked - self.capacity) / asked } else { 0.0 }
    }
}

/// What this peer may send to a region, requests a second; infinite: whatever comes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Share {
    /// Of those whose first choice it is.
    pub(super) own: f64,
    /// Of those that cannot stay elsewhere.
    pub(super) guests: f64,
}

/// What this peer, which is one of `peers`, may send to each region. `guests`: what each peer wanted to send to another region than the
/// first choice, as it was measured, for whatever reason; this one first.
///
/// Guests have a part of a region's room by what their peers want to send. That is measured a moment late, so what can be foreseen from
/// what is asked counts as if it were measured.
pub(super) fn shares(regions: &[Standing], guests: &[f64], peers: usize) -> Vec<Share> {
    let least_of_all = LEAST_PER_SECOND * peers.max(guests.len()) as f64;
    let wanted = |(peer, &measured): (usize, &f64)| {
        let foreseen = |of: &Standing| of.part_over() * of.asked.get(peer).copied().unwrap_or_default();
        regions.iter().map(foreseen).sum::<f64>().max(measured)
    };
    let of_all: f64 = guests.iter().enumerate().map(wanted).sum();
    let of_own = guests.iter().enumerate().next().map_or(0.0, wanted);
    let part_of_guests = ((of_own + LEAST_PER_SECOND) / (of_all + least_of_all)).min(1.0);
    let share = |of: &Standing| {
        let (asked, asked_here) = (of.asked(), of.asked.first().copied().unwrap_or_default());
        let own = if asked > of.capacity {
            of.capacity * ((asked_here + LEAST_PER_SECOND) / (asked + least_of_all)).min(1.0)
        } else {
            f64::INFINITY
        };
        let room = (GUESTS_UP_TO * of.capacity - asked.min(of.capacity)).max(0.0);
        Share { own, guests: if room.is_finite() { room * part_of_guests } else { f64::INFINITY } }
    };
    regions.iter().map(share).collect()
}

/// How many come, and how fast. Workers count, the view's actor measures.
#[derive(Debug, Default)]
pub(super) struct Meter {
    count: AtomicU64,
    /// As many there were when it was measured last.
    measured: AtomicU64,
    /// Requests a second, the bits of a float.
    per_second: AtomicU64,
}

impl Meter {
    /// One came.
    pub(super) fn count(&self) {
        self.count.fetch_add(1, Relaxed);
    }

    /// Measures what came in the time since it was measured last.
    pub(super) fn measure(&self, since: Duration) {
        if since.is_zero() {
            return;
        }
        let count = self.count.load(Relaxed);
        let new = count.wrapping_sub(self.measured.swap(count, Relaxed));
        let rate = new as f64 / since.as_secs_f64();
        let keeps = (-since.div_duration_f64(MEMORY)).exp();
        let average = f64::from_bits(self.per_second.load(Relaxed)) * keeps + rate * (1.0 - keeps);
        self.per_second.store(average.to_bits(), Relaxed);
    }

    /// Requests a second, as all peers are told it.
    pub(super) fn per_second(&self) -> f64 {
        told(f64::from_bits(self.per_second.load(Relaxed)))
    }
}

/// What is known and counted of one region at this peer. Workers count and ask, the view's actor measures and allots.
#[derive(Debug)]
pub(super) struct RegionLive {
    began: Instant,
    /// Requests whose first choice it was.
    asked: Meter,
    own: Allowance,
    guests: Allowance,
}

impl RegionLive {
    pub(super) fn new(now: Instant) -> Self {
        Self { began: now, asked: Meter::default(), own: Allowance::unlimited(), guests: Allowance::unlimited() }
    }

    /// The same at this moment, of its own.
    pub(super) fn copy(&self) -> Self {
        let Self { began, asked: _, own, guests } = self;
        Self { began: *began, asked: Meter::default(), own: own.copy(), guests: guests.copy() }
    }

    /// A request came whose first choice this region is.
    pub(super) fn count(&self) {
        self.asked.count();
    }

    /// Whether one more may be sent there. One that may counts as sent.
    pub(super) fn admits(&self, is_guest: bool, now: Instant) -> bool {
        let allowance = if is_guest { &self.guests } else { &self.own };
        allowance.take(now.saturating_duration_since(self.began))
    }

    /// One of its own was sent there that goes nowhere else: others of its own have the less.
    pub(super) fn charge(&self, now: Instant) {
        self.own.charge(now.saturating_duration_since(self.began));
    }

    /// Measures what came since it was measured last.
    pub(super) fn measure(&self, since: Duration) {
        self.asked.measure(since);
    }

    /// Requests a second of this peer, as all peers are told it.
    pub(super) fn asked_here(&self) -> f64 {
        self.asked.per_second()
    }

    /// What it may be sent from `now` on.
    pub(super) fn allot(&self, share: Share, now: Instant) {
        let at = now.saturating_duration_since(self.began);
        self.own.set(share.own, at);
        self.guests.set(share.guests, at);
    }
}

/// A rate as it is told: three digits and no less than a tenth, so that one that trembles says little that is new. It is never told
/// as less than it is, or others would send what there is no room for.
fn told(rate: f64) -> f64 {
    if rate < RATE_LEAST {
        return 0.0;
    }
    // What was told once is told so again, however a float is rounded.
    let up = |parts: f64| (parts - 1e-9).ceil();
    if rate < 100.0 {
        return up(rate * 10.0) / 10.0;
    }
    let step = 10_f64.powf(rate.log10().floor() - 2.0);
    up(rate / step) * step
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

    fn copy(&self) -> Self {
        let of = |number: &AtomicU64| AtomicU64::new(number.load(Relaxed));
        Self { interval_ns: of(&self.interval_ns), due_ns: of(&self.due_ns) }
    }

    /// So many a second from now on. Of the burst as many are used up as were before: at another rate they last another time.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "not negative, and the cast saturates")]
    fn set(&self, per_second: f64, at: Duration) {
        let interval_ns = match per_second {
            any if any.is_infinite() => 0,
            none if none < RATE_LEAST => u64::MAX,
            some => (1e9 / some).max(1.0) as u64,
        };
        let before_ns = self.interval_ns.swap(interval_ns, Relaxed);
        if before_ns == interval_ns || matches!(interval_ns, 0 | u64::MAX) {
            return;
        }
        let now_ns = nanoseconds(at);
        let moved = |due_ns: u64| {
            let ahead_ns = due_ns.checked_sub(now_ns)?;
            let ahead_ns = match before_ns {
                0 | u64::MAX => ahead_ns,
                _ => (ahead_ns as f64 / before_ns as f64 * interval_ns as f64) as u64,
            };
            // Where the burst is a smaller one now, it is owed; but nobody is locked out for what could be sent at another rate.
            Some(now_ns + ahead_ns.min(burst_ns(interval_ns) + nanoseconds(BURST_MAX)))
        };
        // Where none is due later than now there is nothing to be moved.
        let _ = self.due_ns.fetch_update(Relaxed, Relaxed, moved);
    }

    /// Takes one, if one may be sent now.
    fn take(&self, at: Duration) -> bool {
        let interval_ns = self.interval_ns.load(Relaxed);
        if matches!(interval_ns, 0 | u64::MAX) {
            return interval_ns == 0;
        }
        let (now_ns, burst_ns) = (nanoseconds(at), burst_ns(interval_ns));
        let next = |due_ns: u64| {
            let due_ns = due_ns.max(now_ns).checked_add(interval_ns)?;
            (due_ns - now_ns <= burst_ns).then_some(due_ns)
        };
        self.due_ns.fetch_update(Relaxed, Relaxed, next).is_ok()
    }

    /// Takes one that is sent in any case.
    fn charge(&self, at: Duration) {
        let interval_ns = self.interval_ns.load(Relaxed);
        if matches!(interval_ns, 0 | u64::MAX) {
            return;
        }
        let (now_ns, burst_ns) = (nanoseconds(at), burst_ns(interval_ns));
        let next =
            |due_ns: u64| Some(due_ns.max(now_ns).saturating_add(interval_ns).min(now_ns + burst_ns).max(due_ns));
        let _ = self.due_ns.fetch_update(Relaxed, Relaxed, next);
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// How far ahead of now the next one may be due: all of the burst.
fn burst_ns(interval_ns: u64) -> u64 {
    let requests_ns = interval_ns.saturating_mul(BURST_REQUESTS).min(nanoseconds(BURST_MAX));
    requests_ns.max(nanoseconds(BURST_MIN)).max(interval_ns)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::host;

    /// A region that these are asked of, by peer.
    fn standing(capacity: f64, asked: &[f64]) -> Standing {
        Standing { capacity, asked: asked.into() }
    }

    #[test]
    fn a_region_that_died_at_full_load_fills_two_others_to_nine_tenths_and_the_rest_is_refused() {
        let dead = || standing(0.0, &[1_000.0]);
        let alone = |b: f64, c: f64| shares(&[dead(), standing(600.0, &[b]), standing(600.0, &[c])], &[0.0], 1);
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
        let full = standing(1_000.0, &[500.0, 400.0, 600.0]);
        let shares = shares(&[full, standing(f64::INFINITY, &[10.0, 0.0, 0.0])], &[0.0; 3], 3);
        assert!((shares[0].own - 333.5).abs() < 1.0, "{shares:?}");
        assert_eq!((shares[0].guests, shares[1].guests), (0.0, f64::INFINITY));
    }

    #[test]
    fn who_has_guests_for_another_reason_than_that_a_region_is_full_gets_the_room_for_them() {
        // The home of one pool's clients is well and idle, and yet they cannot stay: only that pool's nodes are gone there.
        let regions = |asked: &[f64]| [standing(100.0, asked), standing(100.0, &[0.0; 3])];
        let has = shares(&regions(&[60.0, 0.0, 0.0]), &[60.0, 0.0, 0.0], 3);
        assert!(has[1].guests > 88.0, "{has:?}");
        let has_none = shares(&regions(&[0.0, 60.0, 0.0]), &[0.0, 60.0, 0.0], 3);
        assert!(has_none[1].guests < 1.0 && has_none[1].guests > 0.5, "{has_none:?}");
    }

    proptest! {
        /// Whoever is asked how much where, and wants to send away how much: all peers together never send a region more than it takes.
        #[test]
        fn the_parts_of_all_peers_are_never_more_than_the_whole(
            capacities in prop::collection::vec(prop_oneof![Just(0.0), 1.0..2_000.0], 2..6),
            asked in prop::collection::vec(prop::collection::vec(0.0..1_000.0, 6), 1..5),
            guests in prop::collection::vec(prop_oneof![Just(0.0), 0.0..1_000.0], 5),
        ) {
            let total = |region: usize| asked.iter().map(|peer| peer[region]).sum::<f64>();
            let of_peer = |peer: usize| {
                let peers = asked.len();
                let order = || (0..peers).map(move |at| (at + peer) % peers);
                let of_region = |region: usize| order().map(|peer| asked[peer][region]).collect::<Vec<_>>();
                let regions = capacities.iter().enumerate().map(|(at, &capacity)| standing(capacity, &of_region(at)));
                let guests: Vec<f64> = order().map(|peer| guests[peer]).collect();
                shares(&regions.collect::<Vec<_>>(), &guests, asked.len())
            };
            let all: Vec<Vec<Share>> = (0..asked.len()).map(of_peer).collect();
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

    /// A region of which this peer may send so many guests a second, from its beginning.
    fn guests(per_second: f64) -> RegionLive {
        let region = RegionLive::new(host::now());
        region.allot(Share { own: f64::INFINITY, guests: per_second }, region.began);
        region
    }

    #[test]
    fn an_allowance_lets_its_rate_through_and_no_more() {
        let region = guests(340.0);
        let sent = |offered: u64, seconds: u64| {
            let step = Duration::from_secs(1) / u32::try_from(offered).unwrap();
            (0..offered * seconds)
                .filter(|&at| region.admits(true, region.began + step * u32::try_from(at).unwrap()))
                .count()
        };
        let passed = sent(1_000, 10);
        assert!((3_380..=3_420).contains(&passed), "{passed}");
        let later = region.began + Duration::from_secs(1_000);
        region.allot(Share { own: f64::INFINITY, guests: 0.0 }, later);
        assert!(!region.admits(true, later));
        assert!(region.admits(false, region.began));
    }

    #[test]
    fn who_may_send_more_from_now_on_need_not_wait_for_what_it_might_send_before() {
        let region = guests(0.05);
        let at = |ms: u64| region.began + Duration::from_millis(ms);
        assert!(region.admits(true, at(0)), "the first, and the next one is due in twenty seconds");
        assert!(!region.admits(true, at(250)));
        region.allot(Share { own: f64::INFINITY, guests: 90.0 }, at(250));
        let passed = (0..100).filter(|step| region.admits(true, at(250 + step * 10))).count();
        assert!((88..=106).contains(&passed), "{passed} in the second after that");
        // The same for a region's own.
        region.allot(Share { own: 0.05, guests: 0.0 }, at(2_000));
        assert!(region.admits(false, at(2_000)) && !region.admits(false, at(2_001)));
        region.allot(Share { own: 100.0, guests: 0.0 }, at(2_002));
        assert!(region.admits(false, at(2_002)));
    }

    #[test]
    fn shares_that_tremble_let_no_more_through_than_they_say() {
        let region = guests(100.0);
        let mut passed = 0;
        for ms in 0..20_000_u32 {
            if ms % 250 == 0 {
                let guests = if ms % 500 == 0 { 100.0 } else { 10.0 };
                let share = Share { own: f64::INFINITY, guests };
                region.allot(share, region.began + Duration::from_millis(ms.into()));
            }
            passed += u32::from(region.admits(true, region.began + Duration::from_millis(ms.into())));
        }
        // Half of the time 100 a second, half of it 10, and one burst.
        assert!((1_080..=1_116 + 10).contains(&passed), "{passed}");
    }

    #[test]
    fn what_browsers_ask_at_once_is_served_and_no_second_sees_more_than_the_rate_and_a_burst() {
        // Ten at once each second, of ninety that have room.
        let region = guests(90.0);
        let refused =
            (0..200_u32).filter(|at| !region.admits(true, region.began + Duration::from_secs((at / 10).into())));
        assert_eq!(refused.count(), 0);

        for (rate, offered) in [(90.0, 90), (90.0, 400), (20.0, 20), (20.0, 200), (2.0, 30), (540.0, 1_000)] {
            let region = guests(rate);
            let mut dice = host::Dice::from_seed(7);
            // Whoever they are, they come when they like, and every fifth brings four others.
            let mut sent: Vec<Duration> = Vec::new();
            let mut now = Duration::ZERO;
            let seconds = 60;
            while now < Duration::from_secs(seconds) {
                let together = if dice.fraction() < 0.2 { 5 } else { 1 };
                sent.extend((0..together).filter(|_| region.admits(true, region.began + now)).map(|_| now));
                now += Duration::from_secs_f64(-(1.0 - dice.fraction()).ln() * 1.8 / f64::from(offered));
            }
            let burst = (rate * 0.05_f64).max(16.0_f64.min(rate)).max(1.0);
            let before = |end: Duration| sent.partition_point(|at| *at < end);
            let within = |from: &Duration| before(*from + Duration::from_secs(1)) - before(*from);
            let most = sent.iter().map(within).max().unwrap_or_default();
            assert!(most as f64 <= rate + burst + 1.0, "{most} in a second of {rate} and {burst}");
            let used = sent.len() as f64 / seconds as f64;
            let least = 0.8 * rate.min(f64::from(offered));
            assert!(used >= least, "{used} of {rate} where {offered} are offered");
        }
    }

    #[test]
    fn rates_are_measured_and_told_in_three_digits_and_never_as_less_than_they_are() {
        let region = RegionLive::new(host::now());
        for _ in 0..40 {
            (0..25).for_each(|_| region.count());
            region.measure(Duration::from_millis(250));
        }
        assert_eq!(region.asked_here(), 100.0);
        for (rate, as_told) in [
            (0.001, 0.0),
            (0.04, 0.1),
            (0.26, 0.3),
            (2.3, 2.3),
            (7.36, 7.4),
            (23.41, 23.5),
            (99.99, 100.0),
            (104.5, 105.0),
            (1_231.0, 1_240.0),
            (1_240.0, 1_240.0),
        ] {
            assert_eq!(told(rate), as_told, "{rate}");
            assert_eq!(told(as_told), as_told);
            assert!(as_told.to_string().len() <= 6, "{as_told}");
        }
    }
}
