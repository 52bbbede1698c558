//! The view of another catalog: whatever stays is carried over with all that is known of it, and what is new begins as at the
//! start of the peer.
//!
//! A node stays where it keeps its id and its address; at another address it is another node. What other peers said of nodes
//! goes by their places, which a catalog changes, so it moves along.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::build::{Previous, Seen, build_pool, tally};
use super::heard::{Moves, Near, Observers, Place, Slots};
use super::picture::{DrainBegun, Index, NodeState, NodeView, PoolView, Routes, Standing, View};
use super::regions::Regions;
use super::verdict::Tally;
use crate::balance::NodeLive;
use crate::model::{Catalog, CheckKind, Health, Members, Node, NodeKey, Observation, Pool, Verdict};

/// A pool of the new catalog, not judged yet.
struct Draft<'v> {
    pool: Arc<Pool>,
    before: Option<&'v Arc<PoolView>>,
    nodes: Vec<Arc<NodeView>>,
}

/// The view after `view` for this catalog; the same where nothing of it is new.
pub(super) fn carried(view: &View, catalog: &Catalog, now: Instant) -> View {
    if view.is_of(catalog) {
        return view.clone();
    }
    let mut index = Index::default();
    let mut moves = Moves::default();
    let drafts: Vec<Draft<'_>> = (catalog.pools().iter().enumerate())
        .map(|(at, pool)| {
            index.pools.insert(pool.name.clone(), at);
            let place = |node| Place { pool: at, node };
            let nodes = pool.nodes.iter().enumerate();
            let nodes = nodes.map(|(number, node)| draw(view, pool, node, place(number), &mut moves, now));
            let nodes: Vec<_> = nodes.collect();
            for (number, node) in nodes.iter().enumerate() {
                index.nodes.insert(node.node.id.clone(), place(number));
                index.keys.insert(node.key, place(number));
            }
            let before = view.pool(&pool.name);
            let same = before.filter(|before| *before.pool == *pool);
            let pool = same.map_or_else(|| Arc::new(pool.clone()), |same| Arc::clone(&same.pool));
            Draft { pool, before, nodes }
        })
        .collect();
    let observers = view.observers.moved(&moves);
    let routes = if view.routes.written == catalog.routes() {
        Arc::clone(&view.routes)
    } else {
        Arc::new(Routes { written: catalog.routes().to_vec(), table: view.routes.table.after(catalog.routes()) })
    };
    let own = &view.members.own().region;
    let regions = if view.regions.are(own, catalog.regions(), catalog.shifts()) && view.regions.count(catalog.pools()) {
        Arc::clone(&view.regions)
    } else {
        let regions = Regions::of(own.clone(), catalog.regions(), catalog.shifts());
        Arc::new(regions.counting(catalog.pools(), &view.regions, now))
    };
    judged(view, drafts, (Arc::new(index), routes, regions), observers, now)
}

/// A node as the new catalog has it.
fn draw(view: &View, pool: &Pool, node: &Node, place: Place, moves: &mut Moves, now: Instant) -> Arc<NodeView> {
    let known = view.index.nodes.get(&node.id).map(|was| (*was, &view.pools[was.pool].nodes[was.node]));
    let Some((was, before)) = known.filter(|(_, before)| before.node.address == node.address) else {
        return Arc::new(NodeView { is_from_start: view.pools.is_empty(), ..begin(node, pool, now) });
    };
    moves.insert(was, place);
    if before.node == *node {
        return Arc::clone(before);
    }
    Arc::new(NodeView {
        node: node.clone(),
        state: NodeState { admin: node.admin, run: node.run, ..before.state },
        drain: DrainBegun::of(node.admin, before.drain, &before.live, now),
        ..NodeView::clone(before)
    })
}

/// A node of which nothing is known.
fn begin(node: &Node, pool: &Pool, now: Instant) -> NodeView {
    let live = Arc::new(NodeLive::default());
    NodeView {
        node: node.clone(),
        key: NodeKey::of(&node.id, &node.address),
        addresses: node.address.literal().into_iter().collect(),
        state: NodeState { admin: node.admin, run: node.run, verdict: Verdict::Unknown },
        observation: Observation {
            // Nobody ever asks such a node, so it counts as up until traffic says otherwise.
            vote: (pool.check.kind == CheckKind::None).then_some(Health::Up),
            ..Observation::default()
        },
        said: Vec::new(),
        effective_weight: f64::from(node.weight.get()),
        latency: None,
        usable_since: None,
        silent_since: Some(now),
        was_judged: false,
        is_from_start: false,
        drain: DrainBegun::of(node.admin, None, &live, now),
        drain_is_over: false,
        live,
    }
}

/// Judges all of them by the votes that stand. A pool of which nothing changed is taken over as it is.
fn judged(
    view: &View,
    drafts: Vec<Draft<'_>>,
    (index, routes, regions): (Arc<Index>, Arc<Routes>, Arc<Regions>),
    observers: Observers,
    now: Instant,
) -> View {
    let members = Arc::clone(&view.members);
    let alive = observers.alive(&members);
    let mut by_interval: HashMap<Duration, (Slots, Option<Instant>)> = HashMap::new();
    let mut stale_at: Option<Instant> = None;
    let mut whole = Tally::default();
    let looked: Vec<(Slots, Arc<Tally>)> = (drafts.iter())
        .map(|draft| {
            let interval = draft.pool.check.interval;
            let fresh = || observers.fresh(alive, members.is_alone(), interval, now);
            let (fresh, until) = *by_interval.entry(interval).or_insert_with(fresh);
            stale_at = [stale_at, until].into_iter().flatten().min();
            let tally = Arc::new(tally(&draft.nodes, fresh));
            whole.add(&tally);
            (fresh, tally)
        })
        .collect();
    let doubtful: Slots = whole.doubtful().into_iter().collect();
    let near = Near::of(&observers, &members);
    let pools = drafts.into_iter().zip(looked).map(|(Draft { pool, before, nodes }, (fresh, tally))| {
        let standing = Standing { fresh, counting: fresh.without(doubtful) };
        let due = |before: &PoolView| before.due.is_some_and(|due| due <= now);
        if let Some(before) = before
            && Arc::ptr_eq(&before.pool, &pool)
            && Arc::ptr_eq(&view.regions, &regions)
            && before.standing == standing
            && !due(before)
        {
            return Arc::clone(before);
        }
        let live = before.map_or_else(Arc::default, |before| Arc::clone(&before.live));
        let seen = Seen { standing, regions: &regions, tally, near: &near, judged: None };
        Arc::new(build_pool(pool, live, before.map(|before| Previous::of(before)), nodes, seen, now))
    });
    let pools = pools.collect();
    let (dropped, deadlines_moved) = (view.dropped, view.deadlines_moved);
    View { pools, index, routes, regions, members, observers, doubtful, stale_at, dropped, deadlines_moved }
}

impl View {
    /// Before the first catalog.
    pub(super) fn empty(members: Arc<Members>, observers: Observers) -> Self {
        Self {
            pools: Vec::new(),
            index: Arc::default(),
            routes: Arc::default(),
            regions: Arc::new(Regions::of(members.own().region.clone(), &[], &[])),
            members,
            observers,
            doubtful: Slots::default(),
            stale_at: None,
            dropped: 0,
            deadlines_moved: 0,
        }
    }

    /// Whether this is a view of that catalog.
    pub fn is_of(&self, catalog: &Catalog) -> bool {
        self.pools.iter().map(|pool| &*pool.pool).eq(catalog.pools())
            && self.routes.written == catalog.routes()
            && self.regions.are(self.regions.own(), catalog.regions(), catalog.shifts())
    }

    /// Whether both are views of one catalog.
    pub fn is_of_the_catalog_of(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.index, &other.index)
    }
}

#[cfg(test)]
mod tests;
