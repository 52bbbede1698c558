//! Why a node gets a request and others do not: the same tiers, regions and doubts that a pick goes through, told.

use std::sync::Arc;

use super::choose::{Tried, Unavailable, Wanted};
use super::picture::{NodeView, PoolView, View};
use super::tiers::rank_of;
use crate::host::Dice;
use crate::model::{Admin, Health, NodeId, PeerId, RegionName, Verdict};

/// When it is a node's turn.
#[derive(Clone, Copy, Debug, Eq, PartialEq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Rank {
    /// With the first.
    Usable,
    /// When no other is usable.
    Backup,
    /// When none of these is left: this peer's own checks do not reach it.
    OutOfReach,
    /// When nothing else is left.
    LastResort,
    /// Never.
    Excluded,
}

/// What keeps a node from being among the first.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Against {
    /// The reason in a word.
    pub reason: &'static str,
    /// Whose evidence that is; empty: it is no matter of evidence.
    pub by: Vec<PeerId>,
}

/// One node, as a pick sees it.
#[derive(Clone, Debug)]
pub struct Chance<'v> {
    /// It.
    pub node: &'v NodeView,
    /// Where it is.
    pub region: &'v RegionName,
    /// When it is its turn.
    pub rank: Rank,
    /// What is held against it.
    pub against: Vec<Against>,
}

impl View {
    /// Which node [`View::take`] would pick now. No region is asked more often for it, none has less room for others, and the place at
    /// the node is free again. Where nodes or regions take turns it is one of them.
    pub fn rehearse(&self, wanted: &Wanted<'_>, dice: &mut Dice) -> Result<NodeId, Unavailable> {
        let apart = Self { regions: Arc::new(self.regions.apart()), ..self.clone() };
        apart.take(wanted, &Tried::default(), dice).map(|taken| taken.node().node.id.clone())
    }

    /// Every node of a pool, as a pick sees it.
    pub fn chances<'v>(&'v self, pool: &'v PoolView) -> Vec<Chance<'v>> {
        let chance = |node: &'v NodeView| Chance {
            region: node.node.region.as_ref().unwrap_or(self.regions().own()),
            rank: rank_of(node),
            against: self.against(node),
            node,
        };
        pool.nodes.iter().map(|node| chance(node)).collect()
    }

    /// The regions in which a node is looked for one after the other; empty where regions make no difference. Those that
    /// `round_robin` and `weighted` choose by turn or chance are not foretold.
    pub fn region_order<'v>(&'v self, wanted: &Wanted<'v>) -> Vec<&'v RegionName> {
        let Some(pool) = self.pool(wanted.pool).filter(|pool| pool.has_regions()) else { return Vec::new() };
        let chosen = wanted.regions.map(|choice| &choice.prefer[..]).unwrap_or_default();
        let strict = wanted.regions.is_some_and(|choice| choice.strict);
        let then = pool.order_of_regions(self.regions(), wanted).into_iter().filter(|_| !strict);
        let mut order: Vec<&RegionName> = Vec::new();
        for name in chosen.iter().chain(then) {
            if !order.contains(&name) {
                order.push(name);
            }
        }
        order
    }

    fn against(&self, node: &NodeView) -> Vec<Against> {
        let mut against = Vec::new();
        let mut add = |reason, by| against.push(Against { reason, by });
        let own = || vec![self.members().own().id.clone()];
        match node.state.admin {
            Admin::Enabled => {}
            Admin::Draining { .. } => add("draining", Vec::new()),
            Admin::Disabled => add("disabled", Vec::new()),
        }
        let region = node.node.region.as_ref().unwrap_or(self.regions().own());
        if self.regions().shifts().iter().any(|shift| shift.region == *region) {
            add("region_shifted", Vec::new());
        }
        if node.addresses.is_empty() {
            add("name_leads_nowhere", own());
        }
        let voters = |vote: Health| {
            let opinions = self.opinions(&node.node.id).unwrap_or_default();
            let counted = opinions.into_iter().filter(|opinion| opinion.fresh && !opinion.doubtful);
            counted.filter(|opinion| opinion.heard.vote == Some(vote)).map(|opinion| opinion.peer).collect::<Vec<_>>()
        };
        match node.state.verdict {
            Verdict::Up => {}
            Verdict::Degraded => add("degraded", voters(Health::Degraded)),
            Verdict::Down => add("down", voters(Health::Down)),
            Verdict::Unknown => add("unknown", Vec::new()),
        }
        if node.is_usable() && node.is_out_of_reach() {
            add("out_of_reach", own());
        }
        if node.live.is_suspect() {
            add("connection_failed", own());
        }
        if node.live.in_flight() >= node.node.max_connections.get() {
            add("full", own());
        }
        against
    }
}
