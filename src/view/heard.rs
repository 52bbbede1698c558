//! What other peers say, as it was heard: their votes stand at the nodes that they are about, and here stands the rest: who
//! they are, when each was last known to look, which nodes a page of theirs names, and what they have in flight.
//!
//! A peer tells in pages, each replaced whole. A node may move from one page to another, and the two may arrive in either
//! order: what a page said last of a node is the page's own to take back, and nobody else's.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::model::limits::PEERS_MAX;
use crate::model::{Heard, Members, Node, Observe, PeerId, RegionName};

/// How long an observer's last sweep speaks for its observations at least: three sweeps, of which two may be lost.
pub(super) const FRESH_MIN: Duration = Duration::from_secs(3);
/// Where a pool is checked less often, its observations are good for so many intervals.
const FRESH_INTERVALS: u32 = 2;
/// What others have in flight counts less with every moment and not at all after this: a peer that is gone holds nothing.
pub(super) const LOAD_MAX_AGE: Duration = Duration::from_secs(3);

/// This peer's slot.
pub(super) const OWN: usize = 0;

/// Where a node stands: the position of its pool, and its own within the pool.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(super) struct Place {
    pub(super) pool: usize,
    pub(super) node: usize,
}

/// Where nodes that stay stood before, and where they stand now.
#[derive(Debug, Default)]
pub(super) struct Moves {
    to: HashMap<Place, Place>,
}

impl Moves {
    pub(super) fn insert(&mut self, was: Place, is: Place) {
        self.to.insert(was, is);
    }

    /// What is said of places, at the places where their nodes stand now; sorted. Without those that are gone.
    fn apply<T>(&self, said: impl Iterator<Item = (Place, T)>) -> Vec<(Place, T)> {
        let mut moved: Vec<(Place, T)> = said.filter_map(|(was, said)| Some((*self.to.get(&was)?, said))).collect();
        moved.sort_unstable_by_key(|(place, _)| *place);
        moved
    }
}

/// A set of observers, by slot.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Slots(u128);

const _: () = assert!(PEERS_MAX <= u128::BITS as usize);

impl Slots {
    pub(super) const ALL: Self = Self(u128::MAX);

    pub(super) fn with(self, slot: usize) -> Self {
        Self(self.0 | 1 << slot)
    }

    pub(super) fn and(self, others: Self) -> Self {
        Self(self.0 & others.0)
    }

    pub(super) fn without(self, others: Self) -> Self {
        Self(self.0 & !others.0)
    }

    pub(super) fn has(self, slot: usize) -> bool {
        self.0 >> slot & 1 == 1
    }

    pub(super) fn iter(self) -> impl Iterator<Item = usize> {
        (0..PEERS_MAX).filter(move |&slot| self.has(slot))
    }
}

impl FromIterator<usize> for Slots {
    fn from_iter<T: IntoIterator<Item = usize>>(slots: T) -> Self {
        slots.into_iter().fold(Self::default(), Self::with)
    }
}

/// Whose votes are about a node at all: those of the peers in its region if any live there, else all. A node without a region
/// is in this peer's, and what other regions find at its address is theirs to know.
///
/// Not those alone who are meant to observe it: when an observer dies the one that looked before it goes on being heard until
/// it takes its vote back itself, and there is no moment without votes.
#[derive(Debug)]
pub(super) struct Near {
    /// Empty where all peers are in one region: then all are near to everything.
    by_region: HashMap<RegionName, Slots>,
    own: RegionName,
}

impl Near {
    pub(super) fn of(observers: &Observers, members: &Members) -> Self {
        let own = members.own().region.clone();
        let mut by_region: HashMap<RegionName, Slots> = HashMap::new();
        if members.iter().any(|member| member.region != own) {
            for member in members.iter() {
                let slots = by_region.entry(member.region.clone()).or_default();
                *slots = observers.find(&member.id).map_or(*slots, |slot| slots.with(slot));
            }
        }
        Self { by_region, own }
    }

    pub(super) fn to(&self, node: &Node, observe: Observe) -> Slots {
        if self.by_region.is_empty() || observe == Observe::Everywhere {
            return Slots::ALL;
        }
        self.by_region.get(node.region.as_ref().unwrap_or(&self.own)).copied().unwrap_or(Slots::ALL)
    }
}

/// What another peer says of the node at which this stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Said {
    pub(super) slot: usize,
    /// The page that said it last.
    pub(super) page: u16,
    pub(super) heard: Heard,
}

/// Requests in flight at nodes, from one peer: all of them that are worth telling.
#[derive(Clone, Debug)]
pub(super) struct Load {
    pub(super) heard_at: Instant,
    /// By place.
    pub(super) in_flight: Vec<(Place, u32)>,
}

/// How old what was heard then is now: 0 when it was heard, 1 and more where it counts no longer. A peer says nothing of what stays as
/// it is; that it still sweeps says so.
fn age(heard_at: Instant, swept: Option<Instant>, now: Instant) -> f64 {
    let heard_at = swept.map_or(heard_at, |swept| swept.max(heard_at));
    now.saturating_duration_since(heard_at).div_duration_f64(LOAD_MAX_AGE)
}

impl Demand {
    /// Whether it counts. All of it does, until none does: what counted less with time would let everybody else send more than there
    /// is room for.
    pub(super) fn counts(&self, swept: Option<Instant>, now: Instant) -> bool {
        age(self.heard_at, swept, now) < 1.0
    }
}

impl Load {
    /// How much of it counts now: all when it was heard, nothing after [`LOAD_MAX_AGE`].
    pub(super) fn share(&self, swept: Option<Instant>, now: Instant) -> f64 {
        1.0 - age(self.heard_at, swept, now).min(1.0)
    }

    fn at(&self, place: Place) -> u32 {
        self.in_flight.binary_search_by_key(&place, |(at, _)| *at).map_or(0, |found| self.in_flight[found].1)
    }
}

/// Everybody of whom something was heard, this peer among them. Slots keep their owner while anything of it is known.
#[derive(Clone, Debug, Default)]
pub(super) struct Observers(Vec<Option<Arc<Observer>>>);

#[derive(Clone, Debug)]
pub(super) struct Observer {
    pub(super) id: PeerId,
    /// When its sweep counter was last seen to rise.
    pub(super) swept: Option<Instant>,
    /// The nodes that each page names, sorted.
    pages: BTreeMap<u16, Arc<[Place]>>,
    pub(super) load: Option<Arc<Load>>,
    pub(super) demand: Option<Arc<Demand>>,
}

/// Requests a second, from one peer.
#[derive(Clone, Debug)]
pub(super) struct Demand {
    pub(super) heard_at: Instant,
    /// By the region that is their first choice.
    pub(super) by_region: BTreeMap<RegionName, f64>,
    /// Those that it wants to send to another one.
    pub(super) guests: f64,
}

impl Observers {
    /// This peer alone, which has just started and is believed for as long as if it had looked already.
    pub(super) fn alone(own: PeerId, now: Instant) -> Self {
        let own = Observer { swept: Some(now), ..Observer::new(own) };
        Self(vec![Some(Arc::new(own))])
    }

    pub(super) fn get(&self, slot: usize) -> Option<&Observer> {
        self.0.get(slot)?.as_deref()
    }

    pub(super) fn find(&self, id: &PeerId) -> Option<usize> {
        self.known().find(|(_, observer)| observer.id == *id).map(|(slot, _)| slot)
    }

    /// Everybody with its slot.
    pub(super) fn known(&self) -> impl Iterator<Item = (usize, &Observer)> {
        self.0.iter().enumerate().filter_map(|(slot, observer)| Some((slot, &**observer.as_ref()?)))
    }

    /// A slot for a peer that has none; `None` where all are taken.
    pub(super) fn settle(&mut self, id: &PeerId) -> Option<usize> {
        let slot = self.0.iter().position(Option::is_none).unwrap_or(self.0.len());
        if slot >= PEERS_MAX {
            return None;
        }
        if slot == self.0.len() {
            self.0.push(None);
        }
        self.0[slot] = Some(Arc::new(Observer::new(id.clone())));
        Some(slot)
    }

    /// Somebody who is no member, and has to make room for one who may be.
    pub(super) fn stranger(&self, members: &Members) -> Option<usize> {
        let mut others = self.known().filter(|(slot, _)| *slot != OWN);
        others.find(|(_, observer)| !members.contains(&observer.id)).map(|(slot, _)| slot)
    }

    /// Clears a slot. Returns the nodes of which its owner may have said something.
    pub(super) fn forget(&mut self, slot: usize) -> Vec<Place> {
        let observer = self.0.get_mut(slot).and_then(Option::take);
        observer.iter().flat_map(|observer| observer.pages.values()).flat_map(|page| page.iter().copied()).collect()
    }

    /// Notes that its sweep counter rose. What was seen to happen later stays.
    pub(super) fn sweep(&mut self, slot: usize, at: Instant) {
        self.change(slot, |observer| observer.swept = observer.swept.max(Some(at)));
    }

    /// Notes which nodes a page names now, sorted; none: the page is gone. Returns those that it named before.
    pub(super) fn turn(&mut self, slot: usize, page: u16, places: Vec<Place>) -> Arc<[Place]> {
        let mut before = None;
        self.change(slot, |observer| {
            before = if places.is_empty() {
                observer.pages.remove(&page)
            } else {
                observer.pages.insert(page, places.into())
            };
        });
        before.unwrap_or_default()
    }

    /// The nodes that a page names.
    pub(super) fn page(&self, slot: usize, page: u16) -> &[Place] {
        self.get(slot).and_then(|observer| observer.pages.get(&page)).map_or(&[], |page| page)
    }

    /// Notes what it has in flight.
    pub(super) fn load(&mut self, slot: usize, load: Load) {
        self.change(slot, |observer| observer.load = (!load.in_flight.is_empty()).then(|| Arc::new(load)));
    }

    /// Notes what it is asked.
    pub(super) fn demand(&mut self, slot: usize, demand: Demand) {
        let is_any = !demand.by_region.is_empty() || demand.guests > 0.0;
        self.change(slot, |observer| observer.demand = is_any.then(|| Arc::new(demand)));
    }

    /// The same, after a change of the catalog.
    pub(super) fn moved(&self, moves: &Moves) -> Self {
        let moved = |observer: &Observer| {
            let page = |(page, places): (&u16, &Arc<[Place]>)| {
                let places = moves.apply(places.iter().map(|place| (*place, ())));
                (!places.is_empty()).then(|| (*page, places.into_iter().map(|(place, ())| place).collect()))
            };
            let load = observer.load.as_ref().and_then(|load| {
                let in_flight = moves.apply(load.in_flight.iter().copied());
                (!in_flight.is_empty()).then(|| Arc::new(Load { heard_at: load.heard_at, in_flight }))
            });
            let pages = observer.pages.iter().filter_map(page).collect();
            Arc::new(Observer {
                id: observer.id.clone(),
                swept: observer.swept,
                pages,
                load,
                demand: observer.demand.clone(),
            })
        };
        Self(self.0.iter().map(|observer| observer.as_deref().map(moved)).collect())
    }

    /// Those who live.
    pub(super) fn alive(&self, members: &Members) -> Slots {
        self.known().filter(|(_, observer)| members.contains(&observer.id)).map(|(slot, _)| slot).collect()
    }

    /// Those of `alive` whose observations of a pool that is checked every `interval` are fresh, and when the first of them
    /// will not be. A peer that is alone has nobody whom it could believe more than what it saw last.
    pub(super) fn fresh(
        &self,
        alive: Slots,
        is_alone: bool,
        interval: Duration,
        now: Instant,
    ) -> (Slots, Option<Instant>) {
        if is_alone {
            return (Slots::default().with(OWN), None);
        }
        let window = FRESH_MIN.max(interval.saturating_mul(FRESH_INTERVALS));
        let until = |slot: usize| self.get(slot).and_then(|observer| observer.swept?.checked_add(window));
        let fresh = || alive.iter().filter_map(|slot| Some((slot, until(slot)?))).filter(|(_, until)| now < *until);
        (fresh().map(|(slot, _)| slot).collect(), fresh().map(|(_, until)| until).min())
    }

    /// What it said last that it has in flight at a node.
    pub(super) fn in_flight(&self, slot: usize, place: Place) -> u32 {
        self.get(slot).and_then(|observer| observer.load.as_ref()).map_or(0, |load| load.at(place))
    }

    fn change(&mut self, slot: usize, change: impl FnOnce(&mut Observer)) {
        if let Some(Some(observer)) = self.0.get_mut(slot) {
            change(Arc::make_mut(observer));
        }
    }
}

impl Observer {
    fn new(id: PeerId) -> Self {
        Self { id, swept: None, pages: BTreeMap::new(), load: None, demand: None }
    }
}

#[cfg(test)]
mod tests;
