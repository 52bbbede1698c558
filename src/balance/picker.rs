//! One of several candidates by a strategy, and a place taken at it. Whatever a strategy needs is prepared when the view is
//! made; a pick reads that and the live counts, and allocates nothing.
//!
//! A strategy proposes a few times. Where all it proposed is full or not to be used, which is rare, all candidates are
//! looked at, so that a pick fails only when none can be had.

use std::sync::Arc;
use std::time::Duration;

use super::draw::Draw;
use super::least;
use super::live::{NodeLive, PoolLive};
use super::maglev::Maglev;
use super::rotate::Rotation;
use super::score::Score;
use crate::host::Dice;
use crate::model::Strategy;

/// Up to so many candidates the least of all is taken, above it the least of [`DRAWS`].
const EXACT_MAX: usize = 64;
/// Candidates drawn where there are too many to look at all.
const DRAWS: usize = 8;
/// Proposals of a strategy before all candidates are looked at.
const PROPOSALS_MAX: usize = 16;
/// Slots of the hash table that are looked at before all candidates are.
const WALK_MAX: usize = 64;
/// Looks at all candidates that may be spoilt by others who take the same place first.
const LOOKS_MAX: usize = 4;
/// A hashed-to node with more than this many times its share of what is in flight is passed over.
const CROWDED_FACTOR: f64 = 1.25;
/// A node with no more than this in flight is never crowded: a browser opens six connections, and a quiet pool should
/// not tear a session apart over them.
const CROWDED_MIN: u32 = 8;
/// One pick of so many by `least_response_time` is left to chance: a node that was slow once and is sent nothing would
/// otherwise never be measured again.
const EXPLORE_ONE_IN: usize = 64;
/// Latencies of checks below this are alike: within one network they are mostly noise.
const LATENCY_MS_MIN: f64 = 1.0;

/// A node that can be picked.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// Its counts.
    pub live: Arc<NodeLive>,
    /// [`super::hash::of`] its id: what hashing goes by, and what tells it from the others.
    pub key: u64,
    /// Its weight as users wrote it, which `random` takes out again.
    pub weight: f64,
    /// Its effective weight; positive.
    pub effective_weight: f64,
    /// Moving average of its check's connect time.
    pub latency: Option<Duration>,
    /// Places at it.
    pub places: u32,
}

impl Candidate {
    #[expect(clippy::float_cmp, reason = "asks whether anything was changed at all, not whether results agree")]
    fn is(&self, other: &Self, by_latency: bool) -> bool {
        Arc::ptr_eq(&self.live, &other.live)
            && self.key == other.key
            && self.weight == other.weight
            && self.effective_weight == other.effective_weight
            && (!by_latency || self.latency == other.latency)
            && self.places == other.places
    }
}

/// Why there is no place.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum NoPlace {
    /// No candidate may be used.
    Nobody,
    /// Some may, and every one is full.
    Full,
}

/// A strategy, prepared for its candidates.
#[derive(Debug)]
pub struct Picker {
    strategy: Strategy,
    exact: bool,
    candidates: Vec<Candidate>,
    seats: Vec<Seat>,
    kernel: Kernel,
}

/// What a pick reads of a candidate, close together.
#[derive(Debug)]
struct Seat {
    live: Arc<NodeLive>,
    key: u64,
    places: u32,
    /// Chance to be drawn, among all shares.
    share: f32,
    /// What one request in flight weighs here: mean share ÷ this one's.
    load_per_request: f32,
    /// Of its checks; the mean of the others where it was never measured.
    latency_ms: f32,
    score: Score,
}

#[derive(Debug)]
enum Kernel {
    Rotate(Rotation),
    Draw(Draw),
    Least { cost: Cost, table: Draw, among: Among },
    Hash(Maglev),
}

/// Among whom the least is sought.
#[derive(Clone, Copy, Debug)]
enum Among {
    Two,
    /// All up to [`EXACT_MAX`] candidates, [`DRAWS`] of more.
    All,
}

/// What the least is sought of.
#[derive(Clone, Copy, Debug)]
enum Cost {
    /// Nothing: chance decides by share.
    Nothing,
    /// Requests in flight, by share.
    Load,
    /// The best score, whatever the weight.
    Score,
    /// Latency of checks × (1 + load).
    Latency,
    /// Time to the head of an answer × (1 + load). Where it was never measured, a node counts as fast as its checks: it
    /// gets requests, but no more at once than that promises.
    ResponseTime,
    /// The order of preference for a hash (rendezvous, Thaler and Ravishankar 1998): the same at every peer.
    Hash(u64),
}

impl Picker {
    /// Prepares `strategy`. `exact`: `health_score` takes the best score, not the better of two.
    pub fn new(strategy: Strategy, exact: bool, candidates: Vec<Candidate>) -> Self {
        let shares: Vec<f64> = candidates.iter().map(|one| share(strategy, exact, one)).collect();
        let keys = || candidates.iter().map(|one| one.key).collect::<Vec<u64>>();
        let least = |cost| Kernel::Least { cost, table: Draw::new(&shares), among: Among::All };
        let better_of_two = |cost| Kernel::Least { cost, table: Draw::new(&shares), among: Among::Two };
        let kernel = match strategy {
            Strategy::RoundRobin => Kernel::Rotate(Rotation::new(&shares)),
            Strategy::Random | Strategy::Weighted | Strategy::WeightedLatency => Kernel::Draw(Draw::new(&shares)),
            Strategy::HealthScore if exact => least(Cost::Score),
            Strategy::HealthScore | Strategy::PowerOfTwo => better_of_two(Cost::Load),
            Strategy::LeastConnections => least(Cost::Load),
            Strategy::LeastLatency => least(Cost::Latency),
            Strategy::LeastResponseTime => least(Cost::ResponseTime),
            Strategy::IpHash | Strategy::ConsistentHash => Kernel::Hash(Maglev::new(&keys(), &shares)),
        };
        let seats = seats(&candidates, &shares);
        Self { strategy, exact, candidates, seats, kernel }
    }

    /// Whether it was prepared for just this.
    pub fn is_for(&self, strategy: Strategy, exact: bool, candidates: &[Candidate]) -> bool {
        let by_latency = matches!(
            strategy,
            Strategy::HealthScore | Strategy::LeastLatency | Strategy::LeastResponseTime | Strategy::WeightedLatency
        );
        self.strategy == strategy
            && self.exact == exact
            && self.candidates.len() == candidates.len()
            && self.candidates.iter().zip(candidates).all(|(mine, theirs)| mine.is(theirs, by_latency))
    }

    /// Picks a candidate that `may` be used, by its key and its counts, and takes a place at it, which the caller gives
    /// back by [`PoolLive::leave`]. `hash` is what hashing strategies go by.
    pub(crate) fn take(
        &self,
        pool: &PoolLive,
        hash: u64,
        dice: &mut Dice,
        may: impl Fn(u64, &NodeLive) -> bool,
    ) -> Result<usize, NoPlace> {
        if self.seats.is_empty() {
            return Err(NoPlace::Nobody);
        }
        let pick = Pick { seats: &self.seats, pool, may };
        let proposed = match &self.kernel {
            Kernel::Rotate(rotation) => pick.first_of((0..PROPOSALS_MAX).map_while(|_| rotation.next(&pool.cursor))),
            Kernel::Draw(table) => pick.first_of((0..PROPOSALS_MAX).map_while(|_| table.draw(dice))),
            Kernel::Least { cost, table, among } => pick.least(*cost, table, *among, dice),
            Kernel::Hash(maglev) => pick.uncrowded(maglev.walk(hash).take(WALK_MAX)),
        };
        let last_resort = match self.kernel {
            Kernel::Rotate(_) | Kernel::Draw(_) => Cost::Nothing,
            Kernel::Least { cost, .. } => cost,
            Kernel::Hash(_) => Cost::Hash(hash),
        };
        proposed.map_or_else(|| pick.any(last_resort, dice), Ok)
    }
}

/// One pick under way.
struct Pick<'a, May> {
    seats: &'a [Seat],
    pool: &'a PoolLive,
    may: May,
}

impl<May: Fn(u64, &NodeLive) -> bool> Pick<'_, May> {
    fn may(&self, index: usize) -> bool {
        let seat = &self.seats[index];
        (self.may)(seat.key, &seat.live)
    }

    /// Takes a place there, if it may be used and has one.
    fn enter(&self, index: usize) -> bool {
        let seat = &self.seats[index];
        self.may(index) && self.pool.try_enter(&seat.live, seat.places)
    }

    fn first_of(&self, mut proposals: impl Iterator<Item = usize>) -> Option<usize> {
        proposals.find(|&index| self.enter(index))
    }

    /// The first that is not crowded; if all are, the first that has a place at all.
    fn uncrowded(&self, proposals: impl Iterator<Item = usize>) -> Option<usize> {
        let mean = f64::from(self.pool.in_flight_everywhere()) / self.seats.len() as f64;
        let mut crowded = None;
        for index in proposals {
            let seat = &self.seats[index];
            let in_flight = seat.live.in_flight_everywhere();
            let bound = CROWDED_FACTOR * mean / f64::from(seat.load_per_request) + 1.0;
            if in_flight >= CROWDED_MIN && f64::from(in_flight) > bound {
                if crowded.is_none() && seat.live.in_flight() < seat.places && self.may(index) {
                    crowded = Some(index);
                }
            } else if self.enter(index) {
                return Some(index);
            }
        }
        crowded.filter(|&index| self.enter(index))
    }

    /// The least of a few drawn; `None` where the caller is to look at all.
    fn least(&self, cost: Cost, table: &Draw, among: Among, dice: &mut Dice) -> Option<usize> {
        if matches!(cost, Cost::ResponseTime)
            && dice.below(EXPLORE_ONE_IN) == 0
            && let Some(explored) = table.draw(dice).filter(|&index| self.enter(index))
        {
            return Some(explored);
        }
        let cost = |index: usize| {
            let seat = &self.seats[index];
            let in_flight = seat.live.in_flight();
            if in_flight < seat.places && self.may(index) { seat.cost(cost, in_flight) } else { f32::INFINITY }
        };
        let least = match among {
            Among::Two => least::of_draws::<2>(table, dice, cost),
            Among::All if self.seats.len() > EXACT_MAX => least::of_draws::<DRAWS>(table, dice, cost),
            Among::All => None,
        };
        least.filter(|&index| self.enter(index))
    }

    /// The least of all that may be used and have a place.
    fn any(&self, cost: Cost, dice: &mut Dice) -> Result<usize, NoPlace> {
        let mut full = false;
        for _ in 0..LOOKS_MAX {
            full = false;
            let least = least::of_all(
                self.seats.len(),
                dice,
                |index| self.seats[index].share,
                |index| {
                    let seat = &self.seats[index];
                    let in_flight = seat.live.in_flight();
                    let (may, room) = (self.may(index), in_flight < seat.places);
                    full |= may & !room;
                    if may & room { seat.cost(cost, in_flight) } else { f32::INFINITY }
                },
            );
            match least {
                None => return Err(if full { NoPlace::Full } else { NoPlace::Nobody }),
                Some(index) if self.enter(index) => return Ok(index),
                // Somebody took the last place there in between.
                Some(_) => full = true,
            }
        }
        // So many are after the same few places that the best is always gone: the first that can be had.
        let start = dice.below(self.seats.len());
        let mut all = (start..self.seats.len()).chain(0..start);
        all.find(|&index| self.enter(index)).ok_or(if full { NoPlace::Full } else { NoPlace::Nobody })
    }
}

impl Seat {
    /// `in_flight`: from this peer. What others have there counts as well; places are counted at each peer for itself.
    fn cost(&self, cost: Cost, in_flight: u32) -> f32 {
        let in_flight = in_flight.saturating_add(self.live.in_flight_elsewhere());
        let load = in_flight as f32 * self.load_per_request;
        match cost {
            Cost::Nothing => 0.0,
            Cost::Load => load,
            Cost::Score => -self.score.at(in_flight),
            Cost::Latency => self.latency_ms * (1.0 + load),
            Cost::ResponseTime => match self.live.response_us() {
                0 => self.latency_ms * (1.0 + load),
                us => us as f32 / 1_000.0 * (1.0 + load),
            },
            Cost::Hash(hash) => (super::hash::pair(self.key, hash) >> 40) as f32,
        }
    }
}

/// The chance of a candidate to be drawn, among all shares.
fn share(strategy: Strategy, exact: bool, one: &Candidate) -> f64 {
    match strategy {
        Strategy::Random => one.effective_weight / one.weight,
        Strategy::WeightedLatency => {
            one.effective_weight * (200.0 - one.latency.map_or(LATENCY_MS_MIN, milliseconds)).max(1.0)
        }
        // Without the connections: they are what the two drawn are compared by, and would count twice.
        Strategy::HealthScore if !exact => one.effective_weight * f64::from(Score::of(one.latency).at(0)),
        _ => one.effective_weight,
    }
}

#[expect(clippy::cast_possible_truncation, reason = "what is compared in a pick needs no more than 24 bits")]
fn seats(candidates: &[Candidate], shares: &[f64]) -> Vec<Seat> {
    let mean_share = mean(shares.iter().copied()).unwrap_or(1.0);
    let mean_latency_ms = mean(candidates.iter().filter_map(|one| one.latency).map(milliseconds));
    let latency_ms = |one: &Candidate| one.latency.map(milliseconds).or(mean_latency_ms).unwrap_or(LATENCY_MS_MIN);
    candidates
        .iter()
        .zip(shares)
        .map(|(one, &share)| Seat {
            live: Arc::clone(&one.live),
            key: one.key,
            places: one.places,
            share: share as f32,
            load_per_request: (mean_share / share) as f32,
            latency_ms: latency_ms(one).max(LATENCY_MS_MIN) as f32,
            score: Score::of(one.latency),
        })
        .collect()
}

fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (sum, count) = values.fold((0.0, 0_u32), |(sum, count), value| (sum + value, count + 1));
    (count > 0).then(|| sum / f64::from(count))
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1_000.0
}
