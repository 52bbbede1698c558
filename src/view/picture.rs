//! The picture itself: immutable, swapped whole, read by every worker through a cache of its own.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use serde::Serialize;

use super::choose::Tiers;
use crate::balance::score::{Band, Score};
use crate::balance::{NodeLive, PoolLive};
use crate::model::{Admin, CheckKind, Health, Node, NodeId, Observation, Pool, PoolName, Verdict};

/// One peer's picture of everything it may send traffic to.
#[derive(Clone, Debug, Default)]
pub struct View {
    pub(super) pools: Vec<Arc<PoolView>>,
    pub(super) index: Arc<Index>,
}

/// Where pools and nodes stand in a view; the same for all views of one catalog.
#[derive(Debug, Default)]
pub(super) struct Index {
    pub(super) pools: HashMap<PoolName, usize>,
    /// The position of the pool, and that within it.
    pub(super) nodes: HashMap<NodeId, (usize, usize)>,
}

impl View {
    /// Whether something is known of every node that is checked.
    pub fn is_checked(&self) -> bool {
        self.pools.iter().filter(|pool| pool.pool.check.kind != CheckKind::None).all(|pool| {
            pool.nodes.iter().all(|node| node.node.admin == Admin::Disabled || node.observation.checks_total > 0)
        })
    }

    /// The pool of this name.
    pub fn pool(&self, name: &PoolName) -> Option<&Arc<PoolView>> {
        self.pools.get(*self.index.pools.get(name)?)
    }

    /// Every pool, in the order of the catalog.
    pub fn pools(&self) -> impl Iterator<Item = &Arc<PoolView>> {
        self.pools.iter()
    }

    /// A node and its pool.
    pub fn node(&self, id: &NodeId) -> Option<(&Arc<PoolView>, &Arc<NodeView>)> {
        let &(pool, node) = self.index.nodes.get(id)?;
        let pool = self.pools.get(pool)?;
        Some((pool, pool.nodes.get(node)?))
    }

    /// When something in it changes by time alone; `None`: only by what is observed.
    pub fn due(&self) -> Option<Instant> {
        self.pools.iter().filter_map(|pool| pool.due).min()
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
    pub nodes: Vec<Arc<NodeView>>,
    /// Who may be picked, prepared.
    pub(super) tiers: Tiers,
    /// When it changes by time alone: a node climbs its ramp, or an old verdict ends.
    pub(super) due: Option<Instant>,
}

/// A node with everything that is known of it.
#[derive(Clone, Debug)]
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
    /// Weight × slow start × degraded 0.5.
    pub effective_weight: f64,
    /// Moving average of the check's connect time, over observers.
    pub latency: Option<Duration>,
    /// Since when its verdict has been up or degraded without a break; slow start counts from here.
    pub usable_since: Option<Instant>,
    /// Since when nobody has voted on it; `None`: there is a vote.
    pub(super) silent_since: Option<Instant>,
}

impl NodeView {
    /// Whether the verdict allows it, it is enabled, and there is an address to connect to.
    pub fn is_usable(&self) -> bool {
        matches!(self.state.verdict, Verdict::Up | Verdict::Degraded) && self.is_allowed()
    }

    /// Whether it may be sent traffic when nothing better is left: enabled, and with an address.
    pub(super) fn is_allowed(&self) -> bool {
        self.state.admin == Admin::Enabled && !self.addresses.is_empty()
    }

    /// What this peer's own traffic and checks say of it at this moment.
    pub fn local(&self) -> Local {
        if self.live.is_suspect() || self.observation.vote == Some(Health::Down) {
            Local::Ejected
        } else {
            Local::Admitted
        }
    }

    /// 50 to 100 in hundredths, with what is in flight at this moment; see [`crate::balance::score`].
    pub fn health_score(&self) -> f64 {
        (f64::from(Score::of(self.latency).at(self.live.in_flight())) * 100.0).round() / 100.0
    }

    /// The score in a word.
    pub fn band(&self) -> Band {
        Band::of(self.health_score())
    }
}

/// A node's state, by who says it. What this peer's own traffic says is asked of [`NodeView::local`]: it changes between
/// two views.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct NodeState {
    /// What an operator says.
    pub admin: Admin,
    /// How it runs.
    pub run: Run,
    /// What the cluster says.
    pub verdict: Verdict,
}

/// How a node runs. Nodes that nobody starts and stops run.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Run {
    /// It runs.
    #[default]
    Running,
}

/// What this peer's own traffic and checks say of a node.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Local {
    /// Nothing against it.
    Admitted,
    /// Hard evidence: a connection was refused or reset, or the checks of this peer fail.
    Ejected,
}

/// Where the one writer puts a new view and everybody reads it.
#[derive(Clone, Debug, Default)]
pub struct ViewCell(Arc<ArcSwap<View>>);

impl ViewCell {
    /// A cell with its first view in it.
    pub fn new(view: View) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(view)))
    }

    /// The view of this moment.
    pub fn load(&self) -> Arc<View> {
        self.0.load_full()
    }

    /// A reader for one thread, which costs one relaxed load while nothing changed.
    pub fn cache(&self) -> Cache {
        Cache(arc_swap::Cache::new(Arc::clone(&self.0)))
    }

    /// Only the view's own actor, and whoever starts a peer, may.
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
