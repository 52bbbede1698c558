//! What a driver is told, and what comes of it.

use std::collections::BTreeMap;
use std::fmt::{self, Debug};
use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::model::{IntentId, NodeId, PoolName, RegionName, ServerId, Term};

/// What is to be done.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Look whether the server `to` could be used. Nothing is changed.
    Probe,
    /// The node stands on the server `to` from now on. What it stood on before is kept, so that it can go back.
    Switch,
    /// The switch is for good: what was kept of before may go.
    Finish,
    /// The switch is taken back, whether it was done, half done or never begun: the node stands on `from` again.
    Undo,
    /// A node that was not there is started.
    Start,
    /// A node that was started is gone for good.
    Stop,
}

impl Action {
    /// Every action.
    pub const ALL: [Self; 6] = [Self::Probe, Self::Switch, Self::Finish, Self::Undo, Self::Start, Self::Stop];

    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Probe => "probe",
            Self::Switch => "switch",
            Self::Finish => "finish",
            Self::Undo => "undo",
            Self::Start => "start",
            Self::Stop => "stop",
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// One step of a plan, for a driver.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Effect {
    /// What is to be done.
    pub action: Action,
    /// The plan. All steps of one have the same; of two plans for a node the later one has the greater.
    pub intent: IntentId,
    /// The term of the leader who asks.
    pub term: Term,
    /// The node.
    pub node: NodeAt,
    /// What it stands on; `None`: nobody said, or it is started.
    #[serde(default)]
    pub from: Option<ServerAt>,
    /// What it is to stand on; `None`: the driver does not need a server, or it is stopped.
    #[serde(default)]
    pub to: Option<ServerAt>,
    /// The same was begun before, and nobody knows how far it came.
    #[serde(default)]
    pub again: bool,
}

/// The node of an effect.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct NodeAt {
    /// Which.
    pub id: NodeId,
    /// Its pool.
    pub pool: PoolName,
    /// Where it is.
    pub region: RegionName,
    /// Where requests are sent to it now, as `host:port` or `https://host:port`; `None`: it is started.
    #[serde(default)]
    pub address: Option<String>,
}

/// A server, as a driver is told it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct ServerAt {
    /// Which.
    pub id: ServerId,
    /// Where it is reached: a host, perhaps with a port.
    pub address: String,
    /// What users say of it.
    #[serde(default)]
    pub labels: BTreeMap<Arc<str>, Arc<str>>,
}

/// What was done.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Done {
    /// Where the node is reached from now on, as a [`NodeAddress`](crate::model::NodeAddress) is written; `None`: where it was.
    #[serde(default)]
    pub address: Option<String>,
    /// In a few words, for people.
    #[serde(default)]
    pub note: String,
}

/// It was not done, or not all of it: an [`Action::Undo`] may follow in any case.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize, thiserror::Error)]
#[error("{why}")]
pub struct Failed {
    /// In one line, for people: what was asked of whom and what came back.
    pub why: String,
}

impl Failed {
    /// For this reason.
    pub fn new(why: impl Into<String>) -> Self {
        Self { why: why.into() }
    }
}

/// What a node uses of its machine.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Usage {
    /// Which.
    pub node: NodeId,
    /// Percent of the processors of its machine: 100 when all of them are busy for it. `None`: not measured yet.
    #[serde(default)]
    pub cpu_percent: Option<f64>,
    /// Millions of bytes that it cannot give back (its caches left out). `None`: not measured yet.
    #[serde(default)]
    pub memory_mb: Option<f64>,
    /// Whether what runs it says that it is well; `None`: it says nothing.
    #[serde(default)]
    pub is_healthy: Option<bool>,
}

/// Carries out effects on nodes.
///
/// Effects on one node come one after the other, but for probes, which change nothing; those on different nodes come at the same time. The future of [`Driver::act`] is
/// not dropped while the peer lives.
#[async_trait]
pub trait Driver: Debug + Send + Sync {
    /// Does it, within a time of its own settings. Told the same twice, it does it once: what it finds done already is done.
    async fn act(&self, effect: &Effect) -> Result<Done, Failed>;

    /// What it was given that nobody else is to read: values of its environment. They are taken out of whatever it says.
    fn secrets(&self) -> Vec<String> {
        Vec::new()
    }

    /// The nodes that it has here, and what they use. Nothing, where the driver cannot tell.
    async fn usage(&self) -> Result<Vec<Usage>, Failed> {
        Ok(Vec::new())
    }
}
