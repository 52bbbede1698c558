//! What other peers have in flight, as the choice of a node sees it: the sum of what each said last, less with every moment
//! that it is older, so that peers do not all send to the node that each of them finds idle.

use std::iter::once;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::heard::{Load, OWN, Slots};
use super::picture::View;
use super::spill::{RegionLive, Standing, shares};
use crate::model::{Demand, RegionName};

impl View {
    /// Writes what others have in flight now into the counts that picks read. True while some of it will age.
    ///
    /// Into the live counts and not into what strategies prepared, because it changes all the time: a hash table is not made
    /// again for it, and a pick reads it from the line that it reads anyway.
    pub(super) fn share_load(&self, now: Instant) -> bool {
        let alive = self.observers.alive(&self.members);
        let mut sums: Vec<Vec<f64>> = self.pools.iter().map(|pool| vec![0.0; pool.nodes.len()]).collect();
        let mut some = false;
        for (load, share) in self.loads(alive, now) {
            some = true;
            for &(place, count) in &load.in_flight {
                if let Some(sum) = sums.get_mut(place.pool).and_then(|pool| pool.get_mut(place.node)) {
                    *sum += f64::from(count) * share;
                }
            }
        }
        for (pool, sums) in self.pools.iter().zip(sums) {
            for (node, sum) in pool.nodes.iter().zip(&sums) {
                node.live.set_in_flight_elsewhere(rounded(*sum));
            }
            pool.live.set_in_flight_elsewhere(rounded(sums.iter().sum()));
        }
        some
    }

    /// Whether anything counts that others have in flight.
    pub(super) fn has_load(&self, now: Instant) -> bool {
        self.loads(self.observers.alive(&self.members), now).next().is_some()
    }

    /// Whether users say of any region what it can take.
    pub fn limits_regions(&self) -> bool {
        !self.regions.live().is_empty()
    }

    /// Measures what each region is asked at this peer, since it was measured last.
    pub(super) fn measure_demand(&self, since: Duration) {
        self.regions.live().values().for_each(|live| live.measure(since));
        self.regions.guests().measure(since);
    }

    /// What this peer is asked, where that matters and is any: as others are to be told it.
    pub fn demand(&self) -> Demand {
        if !self.limits_regions() {
            return Demand::default();
        }
        let asked = self.regions.live().iter().map(|(name, live)| (name.clone(), live.asked_here()));
        let by_region = asked.filter(|(_, per_second)| *per_second > 0.0).collect();
        Demand { by_region, guests: self.regions.guests().per_second() }
    }

    /// Allots what this peer may send to each region now, by what all are asked and what can be used.
    pub(super) fn share_regions(&self, now: Instant) {
        let alive = self.observers.alive(&self.members);
        let living = self.observers.known().filter(move |(slot, _)| *slot != OWN && alive.has(*slot));
        let heard: Vec<_> = living
            .filter_map(|(_, observer)| observer.demand.as_deref().filter(|demand| demand.counts(observer.swept, now)))
            .collect();
        let standing = |(name, live): (&RegionName, &Arc<RegionLive>)| {
            let elsewhere = heard.iter().map(|demand| demand.by_region.get(name).copied().unwrap_or_default());
            Standing { capacity: self.capacity_now(name), asked: once(live.asked_here()).chain(elsewhere).collect() }
        };
        let standings: Vec<Standing> = self.regions.live().iter().map(standing).collect();
        let guests: Vec<f64> =
            once(self.regions.guests().per_second()).chain(heard.iter().map(|demand| demand.guests)).collect();
        let peers = self.members.iter().count();
        for (live, share) in self.regions.live().values().zip(shares(&standings, &guests, peers)) {
            live.allot(share, now);
        }
    }

    /// Requests a second that a region can take with the nodes of it that can be used.
    fn capacity_now(&self, name: &RegionName) -> f64 {
        let nodes = self.pools.iter().flat_map(|pool| &pool.nodes);
        let nodes =
            nodes.filter(|node| node.node.region.as_ref().unwrap_or(self.regions.own()) == name && !node.node.backup);
        let (all, usable) = nodes.fold((0.0, 0.0), |(all, usable), node| {
            let weight = f64::from(node.node.weight.get());
            (all + weight, if node.is_usable() && !node.is_out_of_reach() { usable + weight } else { usable })
        });
        let part = if all > 0.0 { usable / all } else { 0.0 };
        let whole = self.regions.get(name).and_then(|region| region.capacity);
        match whole {
            Some(capacity) => f64::from(capacity.0.get()) * part,
            None if part > 0.0 => f64::INFINITY,
            None => 0.0,
        }
    }

    fn loads(&self, alive: Slots, now: Instant) -> impl Iterator<Item = (&Load, f64)> {
        let living = self.observers.known().filter(move |(slot, _)| alive.has(*slot));
        let loads = living.filter_map(move |(_, observer)| {
            let load = observer.load.as_deref()?;
            Some((load, load.share(observer.swept, now)))
        });
        loads.filter(|(_, share)| *share > 0.0)
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "not negative, and the cast saturates")]
fn rounded(sum: f64) -> u32 {
    sum.round() as u32
}
