//! What a leader decides by, at one moment.

use std::collections::{BTreeMap, BTreeSet};

use crate::catalog::Managed;
use crate::model::{
    Admin, Catalog, DriverName, Node, NodeAddress, NodeId, PeerId, Plan, Pool, RegionName, Term, Verdict,
};

/// All that is known.
#[derive(Clone, Debug)]
pub struct Facts<'a> {
    /// Where this peer is, and with it nodes of which nobody says where they are.
    pub own_region: &'a RegionName,
    /// The term that this peer leads in.
    pub term: Term,
    /// The revision of all that is managed.
    pub revision: u64,
    /// What is to be, as managed.
    pub catalog: &'a Catalog,
    /// What was done.
    pub managed: &'a Managed,
    /// Every node of a pool that is moved or scaled.
    pub nodes: BTreeMap<NodeId, NodeFacts>,
    /// Every region that has a node.
    pub regions: BTreeMap<RegionName, RegionFacts>,
    /// The peers that live and answered lately.
    pub executors: BTreeMap<PeerId, ExecutorFacts>,
    /// Whether every node was looked at since this peer started: before that none is known to be down.
    pub is_checked: bool,
    /// Milliseconds since 1970: what outlives a leader is measured by the clocks of all of them.
    pub wall_now_ms: u64,
}

impl<'a> Facts<'a> {
    /// Where a node is.
    pub fn region_of<'n>(&'n self, node: &'n Node) -> &'n RegionName {
        node.region.as_ref().unwrap_or(self.own_region)
    }

    /// A node and its pool.
    pub fn node(&self, id: &NodeId) -> Option<(&'a Pool, &'a Node)> {
        self.catalog.nodes().find(|(_, node)| node.id == *id)
    }
}

/// A node.
#[derive(Clone, Debug, PartialEq)]
pub struct NodeFacts {
    /// Where requests are sent to it, as this peer serves by it.
    pub address: NodeAddress,
    /// What the cluster says.
    pub verdict: Verdict,
    /// Whether it can be sent new requests.
    pub is_usable: bool,
    /// Requests and connections, over all peers.
    pub connections: u32,
    /// Percent of the processors of its machine.
    pub cpu_percent: Option<f64>,
    /// Millions of bytes.
    pub memory_mb: Option<f64>,
    /// Its health score, where that is fed by more than its latency and connections.
    pub score: Option<f64>,
    /// Whether its test endpoints can be reached through it, where that is tried.
    pub reaches_endpoints: Option<bool>,
    /// What was found last, in words.
    pub last_result: String,
}

impl NodeFacts {
    /// At this address, and nothing else is known.
    pub fn at(address: NodeAddress) -> Self {
        Self {
            address,
            verdict: Verdict::Unknown,
            is_usable: false,
            connections: 0,
            cpu_percent: None,
            memory_mb: None,
            score: None,
            reaches_endpoints: None,
            last_result: String::new(),
        }
    }

    /// Whether the cluster says that it can be used.
    pub fn is_up(&self) -> bool {
        matches!(self.verdict, Verdict::Up | Verdict::Degraded)
    }
}

/// A region.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct RegionFacts {
    /// Nodes that are not backup, and that no operator has taken out.
    pub nodes: u32,
    /// Those of them that can be used.
    pub usable: u32,
    /// Answers of its nodes, and connections that failed, over all peers, since this leader heard of each first.
    pub answers: u64,
    /// Those of them that were errors.
    pub errors: u64,
}

impl RegionFacts {
    /// One node of it more. A node that an operator has taken out counts neither way, and one that is being moved does: what drains it is the
    /// cluster.
    pub fn add(&mut self, node: &Node, is_usable: bool, managed: &Managed) {
        let is_moved = || managed.intents.values().any(|intent| intent.node == node.id && intent.plan == Plan::Move);
        if node.backup || (node.admin != Admin::Enabled && !is_moved()) {
            return;
        }
        self.nodes += 1;
        self.usable += u32::from(is_usable);
    }
}

/// A peer that can carry plans out.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ExecutorFacts {
    /// Where it is.
    pub region: RegionName,
    /// Its drivers that work, with the nodes that each has.
    pub drivers: BTreeMap<DriverName, BTreeSet<NodeId>>,
}
