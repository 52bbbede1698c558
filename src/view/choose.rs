//! Who gets a request: usable nodes → backup nodes → softly excluded ones → those that only this peer cannot reach →
//! hard-down ones when nothing else is left.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use super::chooser::{Chooser, Standing, median};
use super::explain::Rank;
use super::heard::Place;
use super::homes::{Homes, Resident};
use super::picture::{NodeView, PoolView, View};
use super::regions::Regions;
use crate::balance::{Candidate, NoPlace, NodeLive, Picker, PoolLive, hash};
use crate::host::Dice;
use crate::model::{
    Admin, NodeId, NodeKey, Panic, Pool, PoolName, RegionChoice, RegionName, RegionStrategy, Sticky, Strategy,
};

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
    /// otherwise, as long as it is enabled, and nobody else does.
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
        if let Some(settled) = self.take_at_home(pool, wanted, tried) {
            return settled;
        }
        pool.take_by_region(&self.regions, wanted, tried, dice)
    }
}

impl PoolView {
    /// Takes a place at one node.
    fn take_one(self: &Arc<Self>, index: usize, strict: bool, tried: &Tried) -> Result<Taken, Unavailable> {
        let node = self.nodes.get(index).ok_or(Unavailable::NoNode)?;
        let is_well = node.is_usable() && !node.is_out_of_reach() && !node.live.is_suspect();
        if !node.is_allowed() || !(is_well || strict) || tried.contains(key(node)) {
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
    fn take_by_region(
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

/// A pool's nodes by when it is their turn. Those drained, disabled or without an address are in none.
#[derive(Debug)]
pub(super) struct Tiers {
    /// Enabled, up or degraded, and within reach of this peer.
    usable: Arc<Tier>,
    /// The same, of the backup nodes.
    backup: Arc<Tier>,
    /// Enabled, up or degraded for the cluster, backup or not, and out of reach of this peer.
    out_of_reach: Arc<Tier>,
    /// Enabled, and down or unknown.
    rest: Arc<Tier>,
    /// `None`: all nodes are in one region, or regions make no difference.
    pub(super) regions: Option<Arc<ByRegion>>,
    /// The region of all nodes, where they are in one.
    pub(super) only_region: Option<RegionName>,
    /// Where sessions are at home that go by a hash; `None`: none do.
    pub(super) homes: Option<Arc<Homes>>,
}

/// The usable nodes of a pool by their regions.
#[derive(Debug)]
pub(super) struct ByRegion {
    pub(super) tiers: HashMap<RegionName, Arc<Tier>>,
    /// Where every node is, usable or not.
    of_node: HashMap<u64, RegionName>,
    /// The regions among which a strategy chooses: those with usable nodes.
    pub(super) names: Vec<RegionName>,
    chooser: Chooser,
    /// The regions among which it would choose if all nodes were usable, and how.
    all: Vec<RegionName>,
    intended: Chooser,
}

impl ByRegion {
    fn is(&self, other: &Self) -> bool {
        let is_same = |(name, tier): (&RegionName, &Arc<Tier>)| {
            other.tiers.get(name).is_some_and(|theirs| Arc::ptr_eq(tier, theirs))
        };
        self.tiers.len() == other.tiers.len()
            && self.tiers.iter().all(is_same)
            && self.names == other.names
            && self.of_node == other.of_node
            && self.chooser == other.chooser
            && self.all == other.all
            && self.intended == other.intended
    }

    /// The region whose turn it would be if all nodes were usable, and where it has none that is, the one in its place.
    pub(super) fn intend(&self, live: &PoolLive, dice: &mut Dice) -> [Option<&RegionName>; 2] {
        let Some(intended) = self.intended.choose(live, dice).and_then(|at| self.all.get(at)) else { return [None; 2] };
        let is_usable = self.tiers.get(intended).is_some_and(|tier| !tier.positions.is_empty());
        let instead = if is_usable { None } else { self.chooser.choose_instead(dice) };
        [Some(intended), instead.and_then(|at| self.names.get(at))]
    }

    /// The region whose turn it is by the pool's region strategy.
    pub(super) fn choose(&self, live: &PoolLive, dice: &mut Dice) -> Option<&RegionName> {
        self.names.get(self.chooser.choose(live, dice)?)
    }
}

/// Nodes among which a strategy picks.
#[derive(Debug)]
pub(super) struct Tier {
    picker: Picker,
    /// Where each candidate stands in the pool.
    positions: Vec<u32>,
}

impl Tiers {
    /// Sorts the nodes; what is as it was in `previous` is taken over with all that was prepared for it.
    pub(super) fn new(pool: &Pool, nodes: &[Arc<NodeView>], regions: &Regions, previous: Option<&Self>) -> Self {
        let tier = |belongs: &dyn Fn(&NodeView) -> bool, previous: Option<&Arc<Tier>>| {
            let members = || nodes.iter().enumerate().filter(|(_, node)| belongs(node));
            let positions: Vec<u32> = members().map(|(at, _)| u32::try_from(at).unwrap_or(u32::MAX)).collect();
            let candidates: Vec<Candidate> = members().map(|(_, node)| candidate(node)).collect();
            let same = previous.filter(|previous| {
                previous.positions == positions && previous.picker.is_for(pool.strategy, pool.exact, &candidates)
            });
            same.map_or_else(
                || Arc::new(Tier { picker: Picker::new(pool.strategy, pool.exact, candidates), positions }),
                Arc::clone,
            )
        };
        let in_turn = |turn: Rank| move |node: &NodeView| rank_of(node) == turn;
        let region_of = |node: &NodeView| node.node.region.clone().unwrap_or_else(|| regions.own().clone());
        let first = nodes.first().map(|node| region_of(node));
        let is_first = |node: &Arc<NodeView>| {
            node.node.region.as_ref().unwrap_or(regions.own()) == first.as_ref().unwrap_or(regions.own())
        };
        let (only_region, matters) = match nodes.iter().all(is_first) {
            true => (first, false),
            false => (None, pool.region_strategy != RegionStrategy::Any),
        };
        let by_region = matters.then(|| {
            let previous = previous.and_then(|tiers| tiers.regions.as_ref());
            let of_node: HashMap<u64, RegionName> = nodes.iter().map(|node| (key(node), region_of(node))).collect();
            let names: BTreeSet<&RegionName> = of_node.values().collect();
            let in_region = |name: &RegionName| {
                let belongs = |node: &NodeView| rank_of(node) == Rank::Usable && region_of(node) == *name;
                tier(&belongs, previous.and_then(|by_region| by_region.tiers.get(name)))
            };
            let tiers: HashMap<RegionName, Arc<Tier>> =
                names.iter().map(|&name| (name.clone(), in_region(name))).collect();
            let usable: Vec<RegionName> =
                names.iter().filter(|&&name| !tiers[name].positions.is_empty()).map(|&name| name.clone()).collect();
            let chooser = Chooser::of(pool.region_strategy, &usable, |name| {
                let nodes = tiers[name].positions.iter().map(|&at| &nodes[at as usize]);
                Standing {
                    weight: regions.weight(name),
                    latency: median(nodes.filter_map(|node| node.latency).collect()),
                }
            });
            let residents = nodes.iter().filter(|node| !node.node.backup).map(|node| region_of(node));
            let all: Vec<RegionName> = residents.collect::<BTreeSet<_>>().into_iter().collect();
            let intended = match (pool.region_strategy, &chooser) {
                // What would be the nearest nobody can measure while it is gone: so it is the one that was.
                (RegionStrategy::LeastLatency, Chooser::One(at)) => {
                    let was = previous.and_then(|previous| match previous.intended {
                        Chooser::One(at) => previous.all.get(at),
                        _ => None,
                    });
                    let nearest = was.filter(|was| !usable.contains(was) && all.contains(was)).unwrap_or(&usable[*at]);
                    all.iter().position(|name| name == nearest).map_or(Chooser::Nobody, Chooser::One)
                }
                (strategy, _) => {
                    Chooser::of(strategy, &all, |name| Standing { weight: regions.weight(name), latency: None })
                }
            };
            let made = ByRegion { tiers, names: usable, chooser, all, intended, of_node };
            previous.filter(|previous| made.is(previous)).map_or_else(|| Arc::new(made), Arc::clone)
        });
        let homes = matches!(pool.sticky, Some(Sticky::Key(_))).then(|| {
            let previous = previous.and_then(|tiers| tiers.homes.as_ref());
            let stays = |node: &NodeView| match node.state.admin {
                Admin::Enabled => true,
                // Nobody can tell an old session from a new one by its hash, so without a deadline it would never be empty.
                Admin::Draining { timeout, .. } => timeout.is_some() && !node.drain_is_over,
                Admin::Disabled => false,
            };
            let residents = nodes.iter().enumerate().filter(|(_, node)| stays(node) && !node.node.backup);
            let residents = residents.map(|(at, node)| Resident {
                at: u32::try_from(at).unwrap_or(u32::MAX),
                key: key(node),
                weight: node.node.weight.get(),
                region: matters.then(|| region_of(node)),
            });
            Homes::of(residents.collect(), previous)
        });
        Self {
            homes,
            regions: by_region,
            only_region,
            usable: tier(&in_turn(Rank::Usable), previous.map(|tiers| &tiers.usable)),
            backup: tier(&in_turn(Rank::Backup), previous.map(|tiers| &tiers.backup)),
            out_of_reach: tier(&in_turn(Rank::OutOfReach), previous.map(|tiers| &tiers.out_of_reach)),
            rest: tier(&in_turn(Rank::LastResort), previous.map(|tiers| &tiers.rest)),
        }
    }

    /// Whether both were prepared once.
    pub(super) fn are(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.usable, &other.usable)
            && Arc::ptr_eq(&self.backup, &other.backup)
            && Arc::ptr_eq(&self.out_of_reach, &other.out_of_reach)
            && Arc::ptr_eq(&self.rest, &other.rest)
            && self.only_region == other.only_region
            && self.homes.as_ref().map(Arc::as_ptr) == other.homes.as_ref().map(Arc::as_ptr)
            && match (&self.regions, &other.regions) {
                (Some(one), Some(other)) => Arc::ptr_eq(one, other),
                (None, None) => true,
                _ => false,
            }
    }
}

/// When it is a node's turn.
pub(super) fn rank_of(node: &NodeView) -> Rank {
    match (node.is_allowed(), node.is_usable(), node.is_out_of_reach(), node.node.backup) {
        (false, ..) => Rank::Excluded,
        (true, false, ..) => Rank::LastResort,
        (true, true, true, _) => Rank::OutOfReach,
        (true, true, false, true) => Rank::Backup,
        (true, true, false, false) => Rank::Usable,
    }
}

fn candidate(node: &NodeView) -> Candidate {
    Candidate {
        live: Arc::clone(&node.live),
        key: key(node),
        weight: f64::from(node.node.weight.get()),
        effective_weight: node.effective_weight,
        latency: node.latency,
        places: node.node.max_connections.get(),
    }
}

/// What a node is known by to hashing, at every peer, and to [`Tried`].
pub(super) fn key(node: &NodeView) -> u64 {
    hash::of(node.node.id.as_str().as_bytes())
}
