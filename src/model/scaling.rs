//! How many nodes a pool has in a region, as users wrote it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::id::{DriverName, RegionName};

/// More than `up` starts a node, less than `down` for a while stops one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Band {
    /// Above this one more.
    pub up: f64,
    /// Below this one less. It is less than `up`.
    pub down: f64,
}

/// What is measured, as the mean of the nodes that can be used.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Load {
    /// Requests and connections at a node, over all peers.
    Connections,
    /// Percent of the processors of its machine.
    Cpu,
    /// Millions of bytes.
    Memory,
}

impl Load {
    /// Each under the name that is shown.
    pub const ALL: [(&'static str, Self); 3] =
        [("connections", Self::Connections), ("cpu", Self::Cpu), ("memory", Self::Memory)];

    /// The name.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, load)| *load == self).map_or("", |(name, _)| name)
    }
}

/// So many nodes that the load of each is this.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LoadTarget {
    /// What.
    pub load: Load,
    /// How much of it, above 0.
    pub value: f64,
}

/// How a pool is scaled, in each of its regions by itself.
#[derive(Clone, Debug, PartialEq)]
pub struct Scaling {
    /// Whether that happens by itself; where not, operators start and stop nodes.
    pub enabled: bool,
    /// By what nodes are started and stopped.
    pub driver: DriverName,
    /// Where; `None`: in every region where the pool has a node of the file.
    pub regions: Option<Vec<RegionName>>,
    /// Nodes that there are at least.
    pub min_nodes: u32,
    /// And at most.
    pub max_nodes: u32,
    /// By connections; `None`: not by them.
    pub connections: Option<Band>,
    /// By CPU.
    pub cpu: Option<Band>,
    /// By memory.
    pub memory: Option<Band>,
    /// To a target.
    pub target: Option<LoadTarget>,
    /// How long there has to be too little to do before a node is stopped.
    pub down_for: Duration,
    /// From a start to the next.
    pub cooldown_out: Duration,
    /// From a start or a stop to the next stop.
    pub cooldown_in: Duration,
    /// How long the work of a node that is stopped may take.
    pub drain_timeout: Duration,
    /// How long a node may take from its start until it is up.
    pub verify_timeout: Duration,
}

impl Scaling {
    /// By this driver, with everything as it ships.
    pub fn new(driver: DriverName) -> Self {
        Self {
            enabled: true,
            driver,
            regions: None,
            min_nodes: 1,
            max_nodes: 3,
            connections: Some(Band { up: 50.0, down: 10.0 }),
            cpu: None,
            memory: None,
            target: None,
            down_for: Duration::from_secs(300),
            cooldown_out: Duration::from_secs(60),
            cooldown_in: Duration::from_secs(300),
            drain_timeout: Duration::from_secs(300),
            verify_timeout: Duration::from_secs(120),
        }
    }

    /// [`Scaling::cpu`] of whoever asks for it and says no more.
    pub const CPU_DEFAULT: Band = Band { up: 80.0, down: 20.0 };
    /// [`Scaling::memory`] of whoever asks for it and says no more.
    pub const MEMORY_DEFAULT: Band = Band { up: 500.0, down: 300.0 };
    /// [`Scaling::connections`] of whoever says no more.
    pub const CONNECTIONS_DEFAULT: Band = Band { up: 50.0, down: 10.0 };
}
