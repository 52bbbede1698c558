//! Who gets a request where users say what regions can take: its own region while that has room for it, else the next one that
//! takes guests, else nobody.

use std::sync::Arc;
use std::time::Instant;

use super::choose::{Ask, Taken, Tried, Unavailable, Wanted};
use super::picture::{NodeView, PoolView, View};
use super::regions::Regions;
use super::tiers::ByRegion;
use crate::balance::NodeLive;
use crate::host::Dice;
use crate::model::{RegionName, RegionStrategy};

/// What came of a request.
struct Settled<'a> {
    /// The region that it asked first.
    home: Option<&'a RegionName>,
    /// Whether it asked another one to take it as a guest.
    was_guest: bool,
    /// A node, or why there is none.
    taken: Result<Taken, Unavailable>,
}

impl View {
    /// [`View::take`] at the moment of this pick: a request may have waited since it came, or was elsewhere first. The clock is read only
    /// where regions take so many a second.
    pub fn take_at(
        &self,
        wanted: &Wanted<'_>,
        tried: &Tried,
        dice: &mut Dice,
        clock: impl FnOnce() -> Instant,
    ) -> Result<Taken, Unavailable> {
        if !self.limits_regions() {
            return self.take(wanted, tried, dice);
        }
        self.take(&Wanted { ask: Ask { now: clock(), ..wanted.ask }, ..*wanted }, tried, dice)
    }
}

impl PoolView {
    /// Picks a node in the regions where the request is to go, as far as these take it.
    pub(super) fn take_within_capacity(
        self: &Arc<Self>,
        regions: &Regions,
        wanted: &Wanted<'_>,
        tried: &Tried,
        dice: &mut Dice,
    ) -> Result<Taken, Unavailable> {
        let Settled { home, was_guest, taken } = match &self.tiers.regions {
            Some(by_region) => self.take_in_order(by_region, regions, wanted, tried, dice),
            None => self.take_in_only_region(regions, wanted, tried, dice),
        };
        // Once, when it is settled: not at each turn of those who wait.
        if !matches!(taken, Err(Unavailable::Full)) {
            if was_guest {
                Self::count_guest(home, regions, tried);
            } else {
                count(home, regions, tried);
            }
        }
        taken
    }

    fn take_in_only_region<'a>(
        self: &'a Arc<Self>,
        regions: &Regions,
        wanted: &Wanted<'_>,
        tried: &Tried,
        dice: &mut Dice,
    ) -> Settled<'a> {
        let none = Settled { home: None, was_guest: false, taken: Err(Unavailable::NoNode) };
        let Some(home) = &self.tiers.only_region else { return none };
        if wanted.regions.is_some_and(|choice| choice.strict && !choice.prefer.contains(home)) {
            return none;
        }
        let admits = |taken: &Taken| {
            // Without a usable node nobody counts what a region can take: then there are other rules.
            !taken.node().is_usable() || regions.live().get(home).is_none_or(|live| live.admits(false, wanted.ask.now))
        };
        let taken = self.take(&wanted.ask, tried, dice);
        let taken = taken.and_then(|taken| if admits(&taken) { Ok(taken) } else { Err(Unavailable::OverCapacity) });
        Settled { home: Some(home), was_guest: false, taken }
    }

    fn take_in_order<'a>(
        self: &'a Arc<Self>,
        by_region: &'a ByRegion,
        regions: &'a Regions,
        wanted: &Wanted<'a>,
        tried: &Tried,
        dice: &mut Dice,
    ) -> Settled<'a> {
        let preferred = wanted.regions.map(|choice| &choice.prefer[..]).unwrap_or_default();
        let strict = wanted.regions.filter(|choice| choice.strict);
        let is_nearest = self.pool.region_strategy == RegionStrategy::Nearest;
        let near = is_nearest.then(|| regions.order(wanted.client_region.unwrap_or(regions.own())));
        // One that has no usable node is chosen all the same: whoever takes its place takes guests.
        let chosen = if is_nearest { [None; 2] } else { by_region.intend(&self.live, dice) };
        let others = near.into_iter().flatten().chain(chosen.into_iter().flatten()).chain(&by_region.names);
        let names = preferred.iter().chain(others.filter(|_| strict.is_none()));

        let hash = self.hash_of(&wanted.ask);
        let may = |key: u64, live: &NodeLive| !live.is_suspect() && !tried.contains(key);
        let (mut home, mut was_guest, mut is_full, mut is_over) = (None, false, false, false);
        for name in names {
            let Some(tier) = by_region.tiers.get(name) else { continue };
            let is_guest = *home.get_or_insert(name) != name;
            match self.take_of(tier, hash, dice, may) {
                None => {}
                Some(Ok(taken)) => {
                    was_guest |= is_guest;
                    if regions.live().get(name).is_none_or(|live| live.admits(is_guest, wanted.ask.now)) {
                        return Settled { home, was_guest, taken: Ok(taken) };
                    }
                    is_over = true;
                }
                Some(Err(_)) => is_full = true,
            }
        }
        let taken = match (is_full, is_over, strict) {
            (true, ..) => Err(Unavailable::Full),
            (false, true, _) => Err(Unavailable::OverCapacity),
            (false, false, Some(choice)) => self.take_strictly(choice, hash, tried, dice),
            (false, false, None) => self.take(&wanted.ask, tried, dice),
        };
        Settled { home, was_guest, taken }
    }

    /// Counts a request that went to this node because it wanted no other: as one of the region's own, and others of them have the less.
    pub(super) fn stay_at(node: &NodeView, regions: &Regions, wanted: &Wanted<'_>, tried: &Tried) {
        let region = node.node.region.as_ref().unwrap_or(regions.own());
        count(Some(region), regions, tried);
        if let Some(live) = regions.live().get(region) {
            live.charge(wanted.ask.now);
        }
    }

    /// Counts a request that could not stay in the region that it asked first. Each time it is sent again, for each time it needs room.
    pub(super) fn count_guest(home: Option<&RegionName>, regions: &Regions, tried: &Tried) {
        count(home, regions, tried);
        regions.guests().count();
    }
}

/// Counts a request by the region that it asked first; one that is sent again was counted.
fn count(home: Option<&RegionName>, regions: &Regions, tried: &Tried) {
    if tried.is_empty()
        && let Some(live) = home.and_then(|home| regions.live().get(home))
    {
        live.count();
    }
}

#[cfg(test)]
mod tests;
