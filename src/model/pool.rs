//! Pools and their nodes, as users wrote them.

use std::num::NonZeroU32;
use std::time::Duration;

use serde::{Deserialize, Serialize, Serializer};

use super::address::NodeAddress;
use super::check::Check;
use super::failover::Failover;
use super::id::{NodeId, PoolName, RegionName, ServerId, TlsName};
use super::region::RegionStrategy;
use super::scaling::Scaling;
use super::slot::Revision;
use super::sticky::Sticky;
use super::strategy::{HashKey, Strategy};

/// A node's share of traffic beside its siblings': 1 to 1000.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Weight(u16);

impl Weight {
    /// The weight of a node that sets none.
    pub const DEFAULT: Self = Self(1);
    /// The greatest.
    pub const MAX: u16 = 1_000;

    /// `None` outside of 1 to 1000.
    pub fn new(weight: u16) -> Option<Self> {
        (1..=Self::MAX).contains(&weight).then_some(Self(weight))
    }

    /// The number.
    pub fn get(self) -> u16 {
        self.0
    }
}

/// What an operator said of a node.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum Admin {
    /// It may be used.
    #[default]
    Enabled,
    /// It takes no new work and finishes the old.
    Draining {
        /// The revision of the catalog that it began with: one that was ended and begun anew is another drain.
        begun: Revision,
        /// How long the old may take, from when the first peer was told as far as others can ask it, and else from when they were told
        /// themselves; then what is left is cut. `None`: as long as it takes.
        timeout: Option<Duration>,
    },
    /// It is not used at all, and not checked.
    Disabled,
}

impl Admin {
    /// The word that is shown.
    pub fn name(self) -> &'static str {
        match self {
            Self::Enabled => "enabled",
            Self::Draining { .. } => "draining",
            Self::Disabled => "disabled",
        }
    }
}

impl Serialize for Admin {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// How a node runs. One that nobody starts and stops runs.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Run {
    /// It is started, and was not up yet.
    Starting,
    /// It runs.
    #[default]
    Running,
    /// It finishes its work, and then is stopped.
    Stopping,
}

/// What one peer still has at a node that drains.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct DrainLeft {
    /// Requests and connections that go on.
    pub in_flight: u32,
    /// Those that were cut because the time of this drain was over.
    pub cut: u64,
}

/// A drain as one peer sees it.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct DrainSeen {
    /// The revision that it began with, by which it is known from another one.
    pub begun: Revision,
    /// For how long the peer has counted it, in milliseconds.
    pub passed_ms: u64,
    /// What the peer still has.
    pub left: DrainLeft,
}

/// One endpoint in a pool.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// Unique in the cluster.
    pub id: NodeId,
    /// Where it listens.
    pub address: NodeAddress,
    /// Where it is; a node that says nothing is in the region of whoever asks.
    pub region: Option<RegionName>,
    /// What it stands on; `None`: nobody said.
    pub server: Option<ServerId>,
    /// How it runs.
    pub run: Run,
    /// Its share.
    pub weight: Weight,
    /// Used only when no other node of the pool is usable.
    pub backup: bool,
    /// Exchanges or connections at the same time, a peer.
    pub max_connections: NonZeroU32,
    /// What an operator said.
    pub admin: Admin,
}

impl Node {
    /// `max_connections` of a node that sets none.
    pub const MAX_CONNECTIONS_DEFAULT: NonZeroU32 = NonZeroU32::new(1_024).unwrap();

    /// A node with everything as it ships.
    pub fn new(id: NodeId, address: NodeAddress) -> Self {
        Self {
            id,
            address,
            region: None,
            server: None,
            run: Run::default(),
            weight: Weight::DEFAULT,
            backup: false,
            max_connections: Self::MAX_CONNECTIONS_DEFAULT,
            admin: Admin::Enabled,
        }
    }
}

/// Whose name the `Host` field carries to a node.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum HostSent {
    /// The one that the client sent.
    #[default]
    Client,
    /// The node's own, from its address.
    Node,
}

/// What happens when too few nodes are left.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Panic {
    /// Softly excluded nodes are used, then hard-down ones: somebody may answer.
    #[default]
    Open,
    /// Only usable and backup nodes are used; else 503.
    Closed,
}

/// Which peers check a node.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Observe {
    /// A few, so that the number of checks does not grow with the number of peers.
    #[default]
    Divided,
    /// Every peer: paths differ from peer to peer and each is to be known. Costs peers × nodes checks an interval.
    Everywhere,
}

/// A named group of nodes that serve the same thing.
#[derive(Clone, Debug, PartialEq)]
pub struct Pool {
    /// Unique in the catalog.
    pub name: PoolName,
    /// How a node is picked.
    pub strategy: Strategy,
    /// How a region is chosen before.
    pub region_strategy: RegionStrategy,
    /// What `consistent_hash` looks at.
    pub hash: HashKey,
    /// What keeps sessions at their node; `None`: nothing does.
    pub sticky: Option<Sticky>,
    /// `health_score` takes the best score instead of the better of two by chance.
    pub exact: bool,
    /// How nodes are checked.
    pub check: Check,
    /// By whom.
    pub observe: Observe,
    /// Whose name `Host` carries.
    pub host_sent: HostSent,
    /// The profile by which TLS is spoken to its nodes; `None`: as their addresses say, by the machine's trust roots.
    pub tls: Option<TlsName>,
    /// What happens when too few nodes are left.
    pub panic: Panic,
    /// How long a node that came back ramps from a tenth of its weight to all of it; zero: not at all.
    pub slow_start: Duration,
    /// Times that one request is sent again, each to another node.
    pub retries: u8,
    /// How long a connection to a node may take.
    pub connect_timeout: Duration,
    /// How long a node may take from the end of the request to the head of its answer.
    pub response_timeout: Duration,
    /// Requests that wait when every node is full; 0: none waits.
    pub queue: u32,
    /// How long a request waits for a place.
    pub queue_timeout: Duration,
    /// How its nodes are moved to other servers; `None`: they are not.
    pub failover: Option<Failover>,
    /// How nodes are started and stopped by what there is to do; `None`: they are not.
    pub scaling: Option<Scaling>,
    /// The nodes, in the order of the file.
    pub nodes: Vec<Node>,
}

impl Pool {
    /// A pool with everything as it ships.
    pub fn new(name: PoolName) -> Self {
        Self {
            name,
            strategy: Strategy::default(),
            region_strategy: RegionStrategy::default(),
            hash: HashKey::default(),
            sticky: None,
            exact: false,
            check: Check::default(),
            observe: Observe::default(),
            host_sent: HostSent::default(),
            tls: None,
            panic: Panic::default(),
            slow_start: Duration::from_secs(30),
            retries: 2,
            connect_timeout: Duration::from_secs(3),
            response_timeout: Duration::from_secs(60),
            queue: 1_024,
            queue_timeout: Duration::from_secs(5),
            failover: None,
            scaling: None,
            nodes: Vec::new(),
        }
    }
}
