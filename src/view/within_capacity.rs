//! Who gets a request where users say what regions can take: its own region while that has room for it, else the next one that
//! takes guests, else nobody.

use std::sync::Arc;

use super::choose::{ByRegion, Taken, Tried, Unavailable, Wanted};
use super::picture::{NodeView, PoolView};
use super::regions::Regions;
use crate::balance::NodeLive;
use crate::host::Dice;
use crate::model::{RegionName, RegionStrategy};

/// A node or why there is none, and the region that the request asked first.
type Settled<'a> = (Option<&'a RegionName>, Result<Taken, Unavailable>);

impl PoolView {
    /// Picks a node in the regions where the request is to go, as far as these take it.
    pub(super) fn take_within_capacity(
        self: &Arc<Self>,
        regions: &Regions,
        wanted: &Wanted<'_>,
        tried: &Tried,
        dice: &mut Dice,
    ) -> Result<Taken, Unavailable> {
        let (home, settled) = match &self.tiers.regions {
            Some(by_region) => self.take_in_order(by_region, regions, wanted, tried, dice),
            None => self.take_in_only_region(regions, wanted, tried, dice),
        };
        // Once, when it is settled: not at each turn of those who wait.
        if !matches!(settled, Err(Unavailable::Full)) {
            count(home, regions, tried);
        }
        settled
    }

    fn take_in_only_region<'a>(
        self: &'a Arc<Self>,
        regions: &Regions,
        wanted: &Wanted<'_>,
        tried: &Tried,
        dice: &mut Dice,
    ) -> Settled<'a> {
        let Some(home) = &self.tiers.only_region else { return (None, Err(Unavailable::NoNode)) };
        if wanted.regions.is_some_and(|choice| choice.strict && !choice.prefer.contains(home)) {
            return (None, Err(Unavailable::NoNode));
        }
        let admits = |taken: &Taken| {
            // Without a usable node nobody counts what a region can take: then there are other rules.
            !taken.node().is_usable() || regions.live().get(home).is_none_or(|live| live.admits(false, wanted.ask.now))
        };
        let settled = self.take(&wanted.ask, tried, dice);
        let settled = settled.and_then(|taken| if admits(&taken) { Ok(taken) } else { Err(Unavailable::OverCapacity) });
        (Some(home), settled)
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
        let chosen = if is_nearest { None } else { by_region.choose(&self.live, dice) };
        let others = near.into_iter().flatten().chain(chosen).chain(&by_region.names);
        let names = preferred.iter().chain(others.filter(|_| strict.is_none()));

        let hash = self.hash_of(&wanted.ask);
        let may = |key: u64, live: &NodeLive| !live.is_suspect() && !tried.contains(key);
        let (mut home, mut is_full, mut is_over) = (None, false, false);
        for name in names {
            let Some(tier) = by_region.tiers.get(name) else { continue };
            let is_guest = *home.get_or_insert(name) != name;
            match self.take_of(tier, hash, dice, may) {
                None => {}
                Some(Ok(taken))
                    if regions.live().get(name).is_none_or(|live| live.admits(is_guest, wanted.ask.now)) =>
                {
                    return (home, Ok(taken));
                }
                Some(Ok(_)) => is_over = true,
                Some(Err(_)) => is_full = true,
            }
        }
        let settled = match (is_full, is_over, strict) {
            (true, ..) => Err(Unavailable::Full),
            (false, true, _) => Err(Unavailable::OverCapacity),
            (false, false, Some(choice)) => self.take_strictly(choice, hash, tried, dice),
            (false, false, None) => self.take(&wanted.ask, tried, dice),
        };
        (home, settled)
    }

    /// Counts a request that went to this node because it wanted no other.
    pub(super) fn count_at(node: &NodeView, regions: &Regions, tried: &Tried) {
        count(Some(node.node.region.as_ref().unwrap_or(regions.own())), regions, tried);
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
