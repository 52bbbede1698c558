//! Sessions: where they are at home, whether they stay there, and a place taken at it.

use std::sync::Arc;

use super::choose::{Stick, Taken, Tried, Unavailable, Wanted, key};
use super::picture::{PoolView, View};
use super::regions::Regions;
use crate::model::{NodeId, NodeKey, PoolName, RegionChoice, RegionStrategy};

impl View {
    /// Where the session of a request is at home, used or not.
    pub(super) fn home(&self, pool: &PoolView, wanted: &Wanted<'_>, tried: &Tried) -> Option<usize> {
        match wanted.ask.stick {
            Stick::Free => None,
            Stick::Node(key) => {
                let place = self.index.keys.get(&key)?;
                self.pools.get(place.pool).filter(|of| of.pool.name == pool.pool.name).map(|_| place.node)
            }
            Stick::Key(hash) => pool.home_of(hash, &self.regions, wanted, tried),
        }
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

impl PoolView {
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
    /// shared out among the others, and nobody else's move; they come back with it.
    ///
    /// Regions are looked at in the client's order. A strategy that chooses among regions would tear sessions apart, so it is not asked.
    fn home_of(&self, hash: u64, regions: &Regions, wanted: &Wanted<'_>, tried: &Tried) -> Option<usize> {
        let homes = self.tiers.homes.as_ref()?;
        let may = |at: usize| {
            let node = &self.nodes[at];
            node.keeps_sessions() && !node.live.is_suspect() && !tried.contains(key(node))
        };
        if self.has_regions() {
            let client = wanted.client_region.unwrap_or(regions.own());
            let chosen = wanted.regions.map(|choice| &choice.prefer[..]).unwrap_or_default();
            let nearest = self.pool.region_strategy == RegionStrategy::Nearest;
            let then = regions.order(client).filter(|_| nearest);
            if let Some(home) = chosen.iter().chain(then).find_map(|name| homes.of_region(name)?.find(hash, may)) {
                return Some(home);
            }
        }
        homes.whole().find(hash, may)
    }
}

#[cfg(test)]
mod tests;
