//! Who gets a request: usable nodes → backup nodes → softly excluded ones → those that only this peer cannot reach →
//! hard-down ones when nothing else is left.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use super::chooser::Chooser;
use super::heard::Place;
use super::picture::{NodeView, PoolView, View};
use super::regions::Regions;
use super::tiers::{Tier, Tiers, key};
use crate::balance::{NoPlace, NodeLive, hash};
use crate::host::Dice;
use crate::model::{NodeId, NodeKey, Panic, PoolName, RegionChoice, RegionName, RegionStrategy, Strategy};

/// Nodes that one request can have tried, the first included. A request with more tries forgets the oldest.
const TRIED_MAX: usize = 16;

/// What of a request matters to the choice.
#[derive(Clone, Copy, Debug)]
pub struct Ask {
    /// The client, for `ip_hash`.
    pub client: IpAddr,
    /// [`crate::balance::hash::of`] what the pool's `HashKey` names; `None` where the request does not have it, and then
    /// the client's address stands in.
    pub hash: Option<u64>,
    /// What its session says.
    pub stick: Stick,
    /// When it is asked.
    pub now: Instant,
}

impl Ask {
    /// Of this client, and nothing else.
    pub fn of(client: IpAddr, now: Instant) -> Self {
        Self { client, hash: None, stick: Stick::Free, now }
    }
}

/// Where the session of a request is at home.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Stick {
    /// Nowhere: it has none, or is to get one.
    #[default]
    Free,
    /// At this node.
    Node(NodeKey),
    /// At the node that this hash finds.
    Key(u64),
}

/// What a request wants to be sent to.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// One of this pool.
    pub pool: &'a PoolName,
    /// This one of them, if it can be used.
    pub node: Option<WantedNode<'a>>,
    /// Where the client is; `None`: where the peer is. It matters only where the pool [has several regions](PoolView::has_regions).
    pub client_region: Option<&'a RegionName>,
    /// Regions that a route names.
    pub regions: Option<&'a RegionChoice>,
    /// What else matters to the choice.
    pub ask: Ask,
}

impl<'a> Wanted<'a> {
    /// One of this pool, and nothing special.
    pub fn one_of(pool: &'a PoolName, ask: Ask) -> Self {
        Self { pool, node: None, client_region: None, regions: None, ask }
    }
}

/// One node that a request wants to be sent to.
#[derive(Clone, Copy, Debug)]
pub struct WantedNode<'a> {
    /// Which.
    pub id: &'a NodeId,
    /// Whether no other node takes its place.
    pub strict: bool,
}

/// The nodes that this request has already been sent to, which are not tried again, also not after the view changed.
#[derive(Clone, Debug, Default)]
pub struct Tried {
    keys: [u64; TRIED_MAX],
    count: usize,
}

/// Why there is no node.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Unavailable {
    /// No node may be used, or all that may were tried.
    NoNode,
    /// Some may be used and every one is full: wait in the pool's queue.
    Full,
    /// No region where it may go takes one more now: each has what it can take.
    OverCapacity,
}

/// A node that was picked, with its place. Dropping it gives the place back.
#[derive(Debug)]
pub struct Taken {
    pool: Arc<PoolView>,
    index: usize,
}

impl Taken {
    pub(super) fn new(pool: &Arc<PoolView>, index: usize) -> Self {
        Self { pool: Arc::clone(pool), index }
    }

    /// The node.
    pub fn node(&self) -> &NodeView {
        &self.pool.nodes[self.index]
    }

    /// Its pool.
    pub fn pool(&self) -> &Arc<PoolView> {
        &self.pool
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.pool.live.leave(&self.node().live);
    }
}

impl Tried {
    /// Notes that this node was tried.
    pub fn add(&mut self, taken: &Taken) {
        self.keys[self.count % TRIED_MAX] = key(taken.node());
        self.count += 1;
    }

    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub(super) fn contains(&self, key: u64) -> bool {
        self.keys[..self.count.min(TRIED_MAX)].contains(&key)
    }
}

impl View {
    /// Picks a node as this request wants it, and takes a place at it.
    ///
    /// A wanted node gets the request while it is usable, nothing is held against it, and it has a place; one that is `strict` also
    /// otherwise, as long as it is enabled and its pool tries nodes that are down, and nobody else does.
    pub fn take(&self, wanted: &Wanted<'_>, tried: &Tried, dice: &mut Dice) -> Result<Taken, Unavailable> {
        let pool = self.pool(wanted.pool).ok_or(Unavailable::NoNode)?;
        let of_pool = |place: &Place| self.pools.get(place.pool).is_some_and(|of| Arc::ptr_eq(of, pool));
        if let Some(WantedNode { id, strict }) = wanted.node {
            let place = self.index.nodes.get(id).filter(|place| of_pool(place));
            let taken = place.map_or(Err(Unavailable::NoNode), |place| pool.take_one(place.node, strict, tried));
            if strict || taken.is_ok() {
                if let Ok(taken) = &taken {
                    PoolView::stay_at(taken.node(), &self.regions, wanted, tried);
                }
                return taken;
            }
        }
        let taken = match self.take_at_home(pool, wanted, tried) {
            Some(settled) => settled,
            None => pool.take_by_region(&self.regions, wanted, tried, dice),
        };
        match (taken, &pool.away) {
            (Ok(taken), Some(away)) => Ok(self.take_away(taken, away, wanted, tried, dice)),
            (taken, _) => taken,
        }
    }
}

impl PoolView {
    /// Takes a place at one node.
    fn take_one(self: &Arc<Self>, index: usize, strict: bool, tried: &Tried) -> Result<Taken, Unavailable> {
        let node = self.nodes.get(index).ok_or(Unavailable::NoNode)?;
        let is_well = node.is_usable() && !node.is_out_of_reach() && !node.live.is_suspect();
        // A suspicion is a reason to look, not a verdict: whoever wants this one only has no better one.
        let is_known_down = !node.is_usable() || node.is_out_of_reach();
        let is_tried = strict && (self.pool.panic == Panic::Open || !is_known_down);
        if !node.is_allowed() || !(is_well || is_tried) || tried.contains(key(node)) {
            return Err(Unavailable::NoNode);
        }
        let has_place = self.live.try_enter(&node.live, node.node.max_connections.get());
        if has_place { Ok(Taken { pool: Arc::clone(self), index }) } else { Err(Unavailable::Full) }
    }

    /// Whether its nodes are in several regions, among which one is chosen before a node is.
    pub fn has_regions(&self) -> bool {
        self.tiers.regions.is_some()
    }

    /// Picks a node in the regions where the request is to go, one after the other, and then, unless these are all that it may go to,
    /// anywhere.
    ///
    /// A region is passed over where nobody in it is usable, and also where all are full: others may have a place.
    pub(super) fn take_by_region(
        self: &Arc<Self>,
        regions: &Regions,
        wanted: &Wanted<'_>,
        tried: &Tried,
        dice: &mut Dice,
    ) -> Result<Taken, Unavailable> {
        if !regions.live().is_empty() && self.pool.region_strategy != RegionStrategy::Any {
            return self.take_within_capacity(regions, wanted, tried, dice);
        }
        let strict = wanted.regions.filter(|choice| choice.strict);
        let Some(by_region) = &self.tiers.regions else {
            // All nodes are in one region.
            let is_outside = |choice: &RegionChoice| {
                !self.tiers.only_region.as_ref().is_some_and(|only| choice.prefer.contains(only))
            };
            return if strict.is_some_and(is_outside) {
                Err(Unavailable::NoNode)
            } else {
                self.take(&wanted.ask, tried, dice)
            };
        };
        let hash = self.hash_of(&wanted.ask);
        let may = |key: u64, live: &NodeLive| !live.is_suspect() && !tried.contains(key);
        let mut is_full = false;
        let mut take_in = |name: &RegionName, dice: &mut Dice| {
            let tier = by_region.tiers.get(name)?;
            match self.take_of(tier, hash, dice, may)? {
                Ok(taken) => Some(taken),
                Err(_) => {
                    is_full = true;
                    None
                }
            }
        };
        if let Some(choice) = wanted.regions {
            for name in &choice.prefer {
                if let Some(taken) = take_in(name, dice) {
                    return Ok(taken);
                }
            }
            if choice.strict {
                return if is_full { Err(Unavailable::Full) } else { self.take_strictly(choice, hash, tried, dice) };
            }
        }
        let chosen = match self.pool.region_strategy {
            RegionStrategy::Nearest | RegionStrategy::Any => None,
            RegionStrategy::RoundRobin | RegionStrategy::LeastLatency | RegionStrategy::Weighted => {
                by_region.choose(&self.live, dice)
            }
        };
        if let Some(taken) = chosen.and_then(|name| take_in(name, dice)) {
            return Ok(taken);
        }
        if self.pool.region_strategy == RegionStrategy::Nearest {
            for name in regions.order(wanted.client_region.unwrap_or(regions.own())) {
                if let Some(taken) = take_in(name, dice) {
                    return Ok(taken);
                }
            }
        }
        self.take(&wanted.ask, tried, dice)
    }

    /// The regions that its strategy looks at one after the other, as far as that can be foretold.
    pub(super) fn order_of_regions<'a>(&'a self, regions: &'a Regions, wanted: &Wanted<'a>) -> Vec<&'a RegionName> {
        let Some(by_region) = &self.tiers.regions else { return Vec::new() };
        match (self.pool.region_strategy, &by_region.chooser) {
            (RegionStrategy::Nearest, _) => regions.order(wanted.client_region.unwrap_or(regions.own())).collect(),
            (_, Chooser::One(at)) => by_region.names.get(*at).into_iter().collect(),
            _ => Vec::new(),
        }
    }

    /// Of the nodes that are used when no better ones are left, those of some regions.
    pub(super) fn take_strictly(
        self: &Arc<Self>,
        choice: &RegionChoice,
        hash: u64,
        tried: &Tried,
        dice: &mut Dice,
    ) -> Result<Taken, Unavailable> {
        let Some(by_region) = &self.tiers.regions else { return Err(Unavailable::NoNode) };
        let is_there = |key: u64| by_region.of_node.get(&key).is_some_and(|name| choice.prefer.contains(name));
        let unsuspected = |key: u64, live: &NodeLive| !live.is_suspect() && !tried.contains(key) && is_there(key);
        let untried = |key: u64, _: &NodeLive| !tried.contains(key) && is_there(key);
        let Tiers { usable, backup, out_of_reach, rest, .. } = &self.tiers;
        if let Some(settled) = self.take_of(backup, hash, dice, unsuspected) {
            return settled;
        }
        let last: &[_] = match self.pool.panic {
            Panic::Open => &[usable, backup, out_of_reach, rest],
            Panic::Closed => &[usable, backup],
        };
        last.iter().find_map(|tier| self.take_of(tier, hash, dice, untried)).unwrap_or(Err(Unavailable::NoNode))
    }

    /// What hashing strategies go by.
    pub(super) fn hash_of(&self, ask: &Ask) -> u64 {
        let by_address = || hash::of_address(ask.client);
        match self.pool.strategy {
            Strategy::IpHash => by_address(),
            Strategy::ConsistentHash => ask.hash.unwrap_or_else(by_address),
            _ => 0,
        }
    }

    /// Picks a node, wherever it is, and takes a place at it. At most 1 µs and no allocation, with 10,000 nodes.
    ///
    /// A full node is not a down one: while a usable node is full the request waits, and backup nodes stay idle. Softly
    /// excluded nodes (a connection to one failed and no probe has answered since) come after the backup ones. A node that
    /// the cluster calls up and this peer's own checks do not reach is not down, but from here as good as that.
    ///
    /// A new request that finds `live.queue` not empty lines up there before it takes, or it would overtake.
    pub fn take(self: &Arc<Self>, ask: &Ask, tried: &Tried, dice: &mut Dice) -> Result<Taken, Unavailable> {
        let hash = self.hash_of(ask);
        let untried = |key: u64, _: &NodeLive| !tried.contains(key);
        let unsuspected = |key: u64, live: &NodeLive| !live.is_suspect() && !tried.contains(key);
        let Tiers { usable, backup, out_of_reach, rest, .. } = &self.tiers;
        for tier in [usable, backup] {
            if let Some(settled) = self.take_of(tier, hash, dice, unsuspected) {
                return settled;
            }
        }
        // A suspicion is a reason to look, not a verdict: until the probe has failed such a node is better than none.
        let last: &[_] = match self.pool.panic {
            Panic::Open => &[usable, backup, out_of_reach, rest],
            Panic::Closed => &[usable, backup],
        };
        for tier in last {
            if let Some(settled) = self.take_of(tier, hash, dice, untried) {
                return settled;
            }
        }
        Err(Unavailable::NoNode)
    }

    /// `None`: nobody in this tier may be used, the next one has its say.
    pub(super) fn take_of(
        self: &Arc<Self>,
        tier: &Tier,
        hash: u64,
        dice: &mut Dice,
        may: impl Fn(u64, &NodeLive) -> bool,
    ) -> Option<Result<Taken, Unavailable>> {
        match tier.picker.take(&self.live, hash, dice, may) {
            Ok(candidate) => Some(Ok(Taken { pool: Arc::clone(self), index: tier.positions[candidate] as usize })),
            Err(NoPlace::Full) => Some(Err(Unavailable::Full)),
            Err(NoPlace::Nobody) => None,
        }
    }
}
