//! One view from the one before and what was observed since. Pure, and whatever did not change is taken over as it is, so
//! that a verdict on one node of 10,000 does not cost 10,000 nodes' work.
//!
//! A view holds all that the next one needs: observations, counts, times. Whoever builds it keeps nothing beside.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::choose::Tiers;
use super::picture::{Index, NodeState, NodeView, PoolView, Run, View};
use super::verdict::{HOLD, Held, Vote, verdict};
use crate::balance::weight;
use crate::balance::{NodeLive, PoolLive};
use crate::model::limits::ADDRESSES_PER_NODE_MAX;
use crate::model::{Catalog, CheckKind, Health, Node, NodeId, Observation, Pool, Verdict};

/// How often a node in slow start gets a new weight.
const RAMP_STEP: Duration = Duration::from_secs(1);

/// Something that changes the view.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// This peer's checks say this of a node now.
    Observed {
        /// The node.
        node: NodeId,
        /// All that is known of it.
        observation: Observation,
    },
    /// A node's name leads here now.
    Resolved {
        /// The node.
        node: NodeId,
        /// Every address; none: the name does not resolve.
        addresses: Vec<SocketAddr>,
    },
}

impl Event {
    fn node(&self) -> &NodeId {
        match self {
            Self::Observed { node, .. } | Self::Resolved { node, .. } => node,
        }
    }
}

/// What was observed since the last view: the latest of each kind a node, so it is bounded by the catalog.
#[derive(Debug, Default)]
pub struct Changes {
    nodes: HashMap<NodeId, Change>,
}

#[derive(Debug, Default)]
struct Change {
    observation: Option<Observation>,
    addresses: Option<Vec<SocketAddr>>,
}

impl Changes {
    /// Adds one. Events on nodes that `view` does not know change nothing.
    pub fn add(&mut self, view: &View, event: Event) {
        if view.node(event.node()).is_none() {
            return;
        }
        match event {
            Event::Observed { node, observation } => {
                self.nodes.entry(node).or_default().observation = Some(observation);
            }
            Event::Resolved { node, mut addresses } => {
                addresses.truncate(ADDRESSES_PER_NODE_MAX);
                self.nodes.entry(node).or_default().addresses = Some(addresses);
            }
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }
}

/// The view of a peer that has just started: literal addresses are known and nothing else.
pub fn first(catalog: &Catalog, now: Instant) -> View {
    let mut index = Index::default();
    let mut pools = Vec::with_capacity(catalog.pools().len());
    for (at, pool) in catalog.pools().iter().enumerate() {
        index.pools.insert(pool.name.clone(), at);
        let places = pool.nodes.iter().enumerate().map(|(node_at, node)| (node.id.clone(), (at, node_at)));
        index.nodes.extend(places);
        let nodes = pool.nodes.iter().map(|node| Arc::new(first_node(node, pool, now))).collect();
        let live = Arc::new(PoolLive::default());
        pools.push(Arc::new(build_pool(Arc::new(pool.clone()), live, nodes, None, now)));
    }
    View { pools, index: Arc::new(index) }
}

impl View {
    /// The view after these changes, or after time alone.
    #[must_use]
    pub fn after(&self, changes: Changes, now: Instant) -> Self {
        let mut by_pool: HashMap<usize, Vec<(usize, Change)>> = HashMap::new();
        for (id, change) in changes.nodes {
            if let Some(&(pool, node)) = self.index.nodes.get(&id) {
                by_pool.entry(pool).or_default().push((node, change));
            }
        }
        let pools = self.pools.iter().enumerate().map(|(at, pool)| {
            let changes = by_pool.remove(&at).unwrap_or_default();
            let due = pool.due.is_some_and(|due| due <= now);
            if changes.is_empty() && !due { Arc::clone(pool) } else { Arc::new(pool.after(changes, now)) }
        });
        Self { pools: pools.collect(), index: Arc::clone(&self.index) }
    }

    /// Whether an event changes who gets requests, and not only what is shown or how shares stand.
    pub fn is_news(&self, event: &Event) -> bool {
        let Some((_, known)) = self.node(event.node()) else { return false };
        match event {
            Event::Observed { observation, .. } => observation.vote != known.observation.vote,
            Event::Resolved { addresses, .. } => *addresses != known.addresses,
        }
    }
}

impl PoolView {
    fn after(&self, changes: Vec<(usize, Change)>, now: Instant) -> Self {
        let mut nodes = self.nodes.clone();
        for (at, change) in changes {
            let node = Arc::make_mut(&mut nodes[at]);
            if let Some(observation) = change.observation {
                node.latency = observation.latency;
                node.observation = observation;
            }
            if let Some(addresses) = change.addresses {
                node.addresses = addresses;
            }
        }
        build_pool(Arc::clone(&self.pool), Arc::clone(&self.live), nodes, Some(&self.tiers), now)
    }

    /// Whether the same nodes are picked in the same way.
    pub fn picks_like(&self, other: &Self) -> bool {
        self.tiers.are(&other.tiers)
    }
}

fn first_node(node: &Node, pool: &Pool, now: Instant) -> NodeView {
    NodeView {
        node: node.clone(),
        live: Arc::new(NodeLive::default()),
        addresses: node.address.literal().into_iter().collect(),
        state: NodeState { admin: node.admin, run: Run::Running, verdict: Verdict::Unknown },
        observation: Observation {
            // Nobody ever asks such a node, so it counts as up until traffic says otherwise.
            vote: (pool.check.kind == CheckKind::None).then_some(Health::Up),
            ..Observation::default()
        },
        effective_weight: f64::from(node.weight.get()),
        latency: None,
        usable_since: None,
        silent_since: Some(now),
    }
}

/// Judges every node, weighs it beside its siblings and prepares the picking.
fn build_pool(
    pool: Arc<Pool>,
    live: Arc<PoolLive>,
    mut nodes: Vec<Arc<NodeView>>,
    previous: Option<&Tiers>,
    now: Instant,
) -> PoolView {
    let mut due: Option<Instant> = None;
    let mut wake_at = |at: Instant| due = Some(due.map_or(at, |due| due.min(at)));
    for node in &mut nodes {
        let judged = judge(node, now);
        if judged != (node.state.verdict, node.usable_since, node.silent_since) {
            let node = Arc::make_mut(node);
            (node.state.verdict, node.usable_since, node.silent_since) = judged;
        }
        if let Some(silent_since) = node.silent_since.filter(|&since| now < since + HOLD) {
            wake_at(silent_since + HOLD);
        }
    }
    let ramp = |node: &NodeView| {
        let age = node.usable_since.map(|since| now.saturating_duration_since(since));
        age.filter(|_| node.is_usable()).map(|age| weight::ramp(age, pool.slow_start))
    };
    // Backup nodes never share traffic with the others, so they have a ramp of their own.
    let top = |backup: bool| {
        let siblings = nodes.iter().filter(|node| node.node.backup == backup);
        siblings.filter_map(|node| ramp(node)).fold(0.0, f64::max)
    };
    let tops = [top(false), top(true)];
    for node in &mut nodes {
        let degraded = node.state.verdict == Verdict::Degraded;
        let top = tops[usize::from(node.node.backup)];
        let (own, top) = ramp(node).map_or((1.0, 1.0), |own| (own, top));
        if own < top {
            wake_at(now + RAMP_STEP);
        }
        let weight = weight::effective(node.node.weight, own, top, degraded);
        if (weight - node.effective_weight).abs() > f64::EPSILON {
            Arc::make_mut(node).effective_weight = weight;
        }
    }
    let tiers = Tiers::new(&pool, &nodes, previous);
    PoolView { pool, live, nodes, tiers, due }
}

/// Verdict, since when usable, since when without a vote.
fn judge(node: &NodeView, now: Instant) -> (Verdict, Option<Instant>, Option<Instant>) {
    let observation = &node.observation;
    let vote = observation.vote.map(|health| Vote { health, reached_before: observation.reached_before });
    let silent_since = if vote.is_some() { None } else { node.silent_since.or(Some(now)) };
    let held =
        silent_since.map(|since| Held { verdict: node.state.verdict, silent: now.saturating_duration_since(since) });
    let local = node.live.is_suspect().then_some(Health::Down);
    let verdict = verdict(vote.as_slice(), held, local);
    let usable = matches!(verdict, Verdict::Up | Verdict::Degraded);
    (verdict, usable.then(|| node.usable_since.unwrap_or(now)), silent_since)
}
