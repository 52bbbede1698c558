//! How nodes fail over to other servers, as users wrote it for their pool.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::id::DriverName;

/// By what a plan is carried out.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum By {
    /// By the catalog alone: the node's address becomes that of the server.
    #[default]
    Static,
    /// By the driver of this name, at a peer whose settings have it.
    Driver(DriverName),
}

impl By {
    /// How users write [`By::Static`]; no driver is called so.
    pub const STATIC: &'static str = "static";

    /// The driver, if it takes one.
    pub fn driver(&self) -> Option<&DriverName> {
        match self {
            Self::Static => None,
            Self::Driver(name) => Some(name),
        }
    }

    /// As users write it.
    pub fn name(&self) -> &str {
        self.driver().map_or(Self::STATIC, DriverName::as_str)
    }
}

/// How a node leaves the server that it stands on.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// At once.
    #[default]
    Immediate,
    /// When its old work is done, or the time for that is over.
    Graceful,
}

impl Mode {
    /// Every mode under the name that is shown.
    pub const ALL: [(&'static str, Self); 2] = [("immediate", Self::Immediate), ("graceful", Self::Graceful)];
}

/// When and how the nodes of a pool are moved to other servers.
#[derive(Clone, Debug, PartialEq)]
pub struct Failover {
    /// Whether that happens by itself; where not, operators move nodes.
    pub enabled: bool,
    /// By what.
    pub by: By,
    /// How nodes leave.
    pub mode: Mode,
    /// How long the old work may take in [`Mode::Graceful`].
    pub drain_timeout: Duration,
    /// Moves of one node in an hour.
    pub moves_per_hour: u32,
    /// From one move of a node to the next.
    pub cooldown: Duration,
    /// Servers that are probed before one is chosen.
    pub candidates: u32,
    /// How long a node has to be down.
    pub down_for: Duration,
    /// More than this for [`Failover::hot_for`] moves a node; `None`: nothing does.
    pub cpu_percent: Option<f64>,
    /// The same of its memory, in millions of bytes.
    pub memory_mb: Option<f64>,
    /// How long that has to last.
    pub hot_for: Duration,
    /// How long the node may take to be up on its new server.
    pub verify_timeout: Duration,
}

impl Default for Failover {
    fn default() -> Self {
        Self {
            enabled: true,
            by: By::Static,
            mode: Mode::Immediate,
            drain_timeout: Duration::from_secs(60),
            moves_per_hour: 3,
            cooldown: Duration::from_secs(300),
            candidates: 3,
            down_for: Duration::ZERO,
            cpu_percent: Some(90.0),
            memory_mb: Some(1_000.0),
            hot_for: Duration::from_secs(300),
            verify_timeout: Duration::from_secs(60),
        }
    }
}
