//! The nodes of a pool in the order of their turns, prepared for picks.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::chooser::{Chooser, Standing, median};
use super::explain::Rank;
use super::homes::{Homes, Resident};
use super::picture::NodeView;
use super::regions::Regions;
use crate::balance::{Candidate, Picker, PoolLive, hash};
use crate::host::Dice;
use crate::model::{Admin, Pool, RegionName, RegionStrategy, Sticky};

/// A pool's nodes by when it is their turn. Those drained, disabled or without an address are in none.
#[derive(Debug)]
pub(super) struct Tiers {
    /// Enabled, up or degraded, and within reach of this peer.
    pub(super) usable: Arc<Tier>,
    /// The same, of the backup nodes.
    pub(super) backup: Arc<Tier>,
    /// Enabled, up or degraded for the cluster, backup or not, and out of reach of this peer.
    pub(super) out_of_reach: Arc<Tier>,
    /// Enabled, and down or unknown.
    pub(super) rest: Arc<Tier>,
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
    pub(super) of_node: HashMap<u64, RegionName>,
    /// The regions among which a strategy chooses: those with usable nodes.
    pub(super) names: Vec<RegionName>,
    pub(super) chooser: Chooser,
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
    pub(super) picker: Picker,
    /// Where each candidate stands in the pool.
    pub(super) positions: Vec<u32>,
}

impl Tiers {
    /// Sorts the nodes; what is as it was in `previous` is taken over with all that was prepared for it. `may`: those that there are.
    pub(super) fn new(
        pool: &Pool,
        nodes: &[Arc<NodeView>],
        regions: &Regions,
        may: &dyn Fn(&NodeView) -> bool,
        previous: Option<&Self>,
    ) -> Self {
        let tier = |belongs: &dyn Fn(&NodeView) -> bool, previous: Option<&Arc<Tier>>| {
            let members = || nodes.iter().enumerate().filter(|(_, node)| belongs(node) && may(node));
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
            let residents = nodes.iter().enumerate().filter(|(_, node)| stays(node) && !node.node.backup && may(node));
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
