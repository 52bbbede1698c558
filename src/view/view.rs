//! The picture itself: immutable, swapped whole, read by every worker through a cache of its own.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;

use crate::balance::{NodeLive, PoolLive};
use crate::model::{Node, NodeId, Observation, Pool, PoolName, Verdict};

/// One peer's picture of everything it may send traffic to.
#[derive(Debug, Default)]
pub struct View {
    pools: HashMap<PoolName, Arc<PoolView>>,
}

impl View {
    /// A view of these pools.
    #[cfg(test)]
    pub(crate) fn of(pools: impl IntoIterator<Item = Arc<PoolView>>) -> Self {
        Self { pools: pools.into_iter().map(|pool| (pool.pool.name.clone(), pool)).collect() }
    }

    /// The pool of this name.
    pub fn pool(&self, name: &PoolName) -> Option<&Arc<PoolView>> {
        self.pools.get(name)
    }

    /// Every pool, in no order.
    pub fn pools(&self) -> impl Iterator<Item = &Arc<PoolView>> {
        self.pools.values()
    }

    /// A node and its pool.
    pub fn node(&self, id: &NodeId) -> Option<(&Arc<PoolView>, &NodeView)> {
        self.pools.values().find_map(|pool| pool.nodes.iter().find(|node| node.node.id == *id).map(|node| (pool, node)))
    }
}

/// A pool with its nodes and whatever its strategy prepared.
#[derive(Debug)]
pub struct PoolView {
    /// As users wrote it.
    pub pool: Arc<Pool>,
    /// Its counts.
    pub live: Arc<PoolLive>,
    /// Its nodes, in the order of the catalog.
    pub nodes: Vec<NodeView>,
}

/// A node with everything that is known of it.
#[derive(Debug)]
pub struct NodeView {
    /// As users wrote it.
    pub node: Node,
    /// Its counts.
    pub live: Arc<NodeLive>,
    /// Where its name leads now; a literal address is its own. Empty: the name does not resolve.
    pub addresses: Vec<SocketAddr>,
    /// What is said of it.
    pub state: NodeState,
    /// This peer's own observation.
    pub observation: Observation,
    /// Weight × slow start × degraded 0.5 × traffic evidence.
    pub effective_weight: f64,
    /// 50 to 100, without the part of the connections; see `balance::score`.
    pub latency: Option<Duration>,
}

/// A node's state, by who says it.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct NodeState {
    /// What the cluster says.
    pub verdict: Verdict,
    /// How it runs.
    pub run: Run,
}

/// How a node runs. Nodes that nobody starts and stops run.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Run {
    /// It runs.
    #[default]
    Running,
}

/// Where the one writer puts a new view and everybody reads it.
#[derive(Clone, Debug, Default)]
pub struct ViewCell(Arc<ArcSwap<View>>);

impl ViewCell {
    /// The view of this moment.
    pub fn load(&self) -> Arc<View> {
        self.0.load_full()
    }

    /// A reader for one thread, which costs one relaxed load while nothing changed.
    pub fn cache(&self) -> Cache {
        Cache(arc_swap::Cache::new(Arc::clone(&self.0)))
    }

    /// Only the view's own actor (and tests) may.
    pub(crate) fn store(&self, view: Arc<View>) {
        self.0.store(view);
    }
}

/// One thread's reader of the view.
#[derive(Debug)]
pub struct Cache(arc_swap::Cache<Arc<ArcSwap<View>>, Arc<View>>);

impl Cache {
    /// The view of this moment.
    pub fn load(&mut self) -> &Arc<View> {
        self.0.load()
    }
}
