//! What a leader asks of an executor, and what it is answered. They travel between peers as JSON.

use serde::{Deserialize, Serialize};

use super::effect::{Done, Effect, Usage};
use crate::model::{DriverName, IntentId, NodeId, Term};

/// What a leader asks.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// Which drivers there are, and the nodes that they have.
    Describe,
    /// An effect. Asked again while it goes on, or after it, it is not done again: the answer is what became of it.
    Act {
        /// By which driver.
        driver: DriverName,
        /// It.
        effect: Box<Effect>,
    },
    /// The term by which this node may be touched, in answer to [`Answer::NoFence`]. Only a leader that has asked for its lease since it
    /// heard that may say so.
    Fence {
        /// Which node.
        node: NodeId,
        /// The leader's term.
        term: Term,
        /// What the answer said.
        challenge: u64,
    },
}

/// What an executor answers.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// To [`Order::Describe`].
    Described(Described),
    /// It goes on; ask again.
    Running,
    /// It is done.
    Done(Done),
    /// It was tried and failed.
    Failed {
        /// Why, in one line.
        why: String,
    },
    /// A later term, or a later plan, has touched the node. Nothing was done.
    Stale {
        /// The highest term.
        term: Term,
        /// The latest plan.
        intent: Option<IntentId>,
    },
    /// It does not remember which term touched that node last: its data folder is new, or damaged. Nothing was done.
    NoFence {
        /// To be said again in [`Order::Fence`].
        challenge: u64,
    },
    /// The term is written down.
    Fenced,
    /// It is not done, and may be if it is asked for again: no such driver here, too much under way, the disk fails.
    Unable {
        /// Why, in one line.
        why: String,
    },
}

/// What an executor can do.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Described {
    /// Its drivers.
    #[serde(default)]
    pub drivers: Vec<DriverDescribed>,
}

/// One driver of an executor.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct DriverDescribed {
    /// Its name.
    pub name: DriverName,
    /// The nodes that it has, as far as it can tell.
    #[serde(default)]
    pub nodes: Vec<Usage>,
    /// Why it cannot work at this moment, in one line; `None`: it can.
    #[serde(default)]
    pub failing: Option<String>,
}
