//! Sessions: where they are at home, whether they stay there, and a place taken at it.

use std::sync::Arc;

use super::choose::{Stick, Taken, Tried, Unavailable, Wanted};
use super::picture::{PoolView, View};
use super::regions::Regions;
use super::tiers::key;
use crate::model::{NodeId, NodeKey, PoolName, RegionChoice, RegionName, RegionStrategy};

impl View {
    /// Where the session of a request is at home, used or not.
    pub(super) fn home(&self, pool: &PoolView, wanted: &Wanted<'_>, tried: &Tried) -> Option<usize> {
        match wanted.ask.stick {
            Stick::Free => None,
            Stick::Node(key) => {
                let place = self.index.keys.get(&key)?;
                self.pools.get(place.pool).filter(|of| of.pool.name == pool.pool.name).map(|_| place.node)
            }
            Stick::Key(hash) => pool.home_of(hash, &self.regions, wanted, tried, &[]).map(|home| home.at),
        }
    }

    /// Takes a place where the session of a request is at home. `None`: it is nowhere, or cannot stay.
    pub(super) fn take_at_home(
        &self,
        pool: &Arc<PoolView>,
        wanted: &Wanted<'_>,
        tried: &Tried,
    ) -> Option<Result<Taken, Unavailable>> {
        if let Stick::Key(hash) = wanted.ask.stick {
            return pool.take_home_by_hash(hash, &self.regions, wanted, tried);
        }
        let settled = pool.take_home(self.home(pool, wanted, tried)?, wanted.regions, &self.regions, tried)?;
        if let Ok(taken) = &settled {
            PoolView::stay_at(taken.node(), &self.regions, wanted, tried);
        }
        Some(settled)
    }

    /// The node where the session of a request is at home, as long as that can be used.
    pub fn home_of_session(&self, wanted: &Wanted<'_>) -> Option<&NodeId> {
        let pool = self.pool(wanted.pool)?;
        let node = &pool.nodes[self.home(pool, wanted, &Tried::default())?];
        node.keeps_sessions().then_some(&node.node.id)
    }

    /// Whether a session that is at home there stays, even where this one request may have to go elsewhere.
    pub fn keeps(&self, pool: &PoolName, home: NodeKey) -> bool {
        let place = self.index.keys.get(&home);
        let of = place.and_then(|place| self.pools.get(place.pool).map(|pool| (pool, place.node)));
        of.is_some_and(|(of, at)| of.pool.name == *pool && of.nodes[at].keeps_sessions())
    }
}

/// Where a session by a hash is at home.
struct Home<'v> {
    /// The node, in its pool.
    at: usize,
    /// The region where it would be if every node could be used; `None`: regions make no difference.
    first: Option<&'v RegionName>,
}

impl PoolView {
    /// Takes a place at the home of a session by a hash, as far as the region takes it.
    ///
    /// Sessions that are at home where they would be anyway stay, whatever their region takes. Those that are there because their own
    /// region has no node for them are guests.
    pub(super) fn take_home_by_hash(
        self: &Arc<Self>,
        hash: u64,
        regions: &Regions,
        wanted: &Wanted<'_>,
        tried: &Tried,
    ) -> Option<Result<Taken, Unavailable>> {
        let is_counted = !regions.live().is_empty() && self.pool.region_strategy != RegionStrategy::Any;
        let mut over: Vec<&RegionName> = Vec::new();
        let mut first = None;
        while let Some(home) = self.home_of(hash, regions, wanted, tried, &over) {
            let Some(settled) = self.take_home(home.at, wanted.regions, regions, tried) else { break };
            let (Ok(taken), true) = (&settled, is_counted) else { return Some(settled) };
            let region = self.nodes[home.at].node.region.as_ref().unwrap_or(regions.own());
            first = home.first;
            if first.is_none_or(|first| first == region) {
                Self::stay_at(taken.node(), regions, wanted, tried);
                return Some(settled);
            }
            if regions.live().get(region).is_none_or(|live| live.admits(true, wanted.ask.now)) {
                Self::count_guest(first, regions, tried);
                return Some(settled);
            }
            over.push(region);
        }
        (!over.is_empty()).then(|| {
            Self::count_guest(first, regions, tried);
            Err(Unavailable::OverCapacity)
        })
    }

    /// Takes a place at the home of a session. `None`: it cannot be used now. A full one is waited for.
    pub(super) fn take_home(
        self: &Arc<Self>,
        index: usize,
        choice: Option<&RegionChoice>,
        regions: &Regions,
        tried: &Tried,
    ) -> Option<Result<Taken, Unavailable>> {
        let node = self.nodes.get(index)?;
        let region = node.node.region.as_ref().unwrap_or(regions.own());
        let is_elsewhere = choice.is_some_and(|choice| choice.strict && !choice.prefer.contains(region));
        if is_elsewhere || !node.keeps_sessions() || node.live.is_suspect() || tried.contains(key(node)) {
            return None;
        }
        let has_place = self.live.try_enter(&node.live, node.node.max_connections.get());
        Some(if has_place { Ok(Taken::new(self, index)) } else { Err(Unavailable::Full) })
    }

    /// The node where sessions of this hash are at home, which is the same at every peer. Those of a node that cannot be used are
    /// shared out among the others, and nobody else's move; they come back with it. `over`: regions that take no more.
    ///
    /// Regions are looked at in the client's order, where it is known to all peers where the client is. That a client came to this one
    /// says nothing: it may come to another next time. A strategy that chooses among regions would tear sessions apart, so it is not asked.
    fn home_of<'v>(
        &'v self,
        hash: u64,
        regions: &'v Regions,
        wanted: &Wanted<'v>,
        tried: &Tried,
        over: &[&RegionName],
    ) -> Option<Home<'v>> {
        let homes = self.tiers.homes.as_ref()?;
        let region = |at: usize| self.nodes[at].node.region.as_ref().unwrap_or(regions.own());
        let may = |at: usize| {
            let node = &self.nodes[at];
            node.keeps_sessions_by_hash()
                && !node.live.is_suspect()
                && !tried.contains(key(node))
                && !over.contains(&region(at))
        };
        let anywhere = |first| homes.whole().find(hash, may).map(|at| Home { at, first });
        if !self.has_regions() {
            return anywhere(None);
        }
        let chosen = wanted.regions.map(|choice| &choice.prefer[..]).unwrap_or_default();
        let nearest = self.pool.region_strategy == RegionStrategy::Nearest;
        let client = wanted.client_region.filter(|_| nearest);
        let order = || chosen.iter().chain(client.into_iter().flat_map(|client| regions.order_of_homes(client)));
        let first = order().find(|name| homes.of_region(name).is_some());
        let first = first.or_else(|| homes.whole().find(hash, |_| true).map(region));
        let near = order().find_map(|name| homes.of_region(name)?.find(hash, may));
        near.map(|at| Home { at, first }).or_else(|| anywhere(first))
    }
}

#[cfg(test)]
mod tests;
