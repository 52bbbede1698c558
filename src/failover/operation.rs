//! What operators ask of the leader. It travels between peers as JSON.

use serde::{Deserialize, Serialize};

use crate::model::{Candidate, IntentId, Mode, NodeId, PoolName, RegionName, ServerId};

/// What an operator wants.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Operation {
    /// What.
    pub what: What,
    /// Who asks, as they say.
    #[serde(default)]
    pub by: String,
}

/// What is to be done.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// A node moves to another server.
    Move {
        /// Which.
        node: NodeId,
        /// To this one; `None`: the best.
        #[serde(default)]
        to: Option<ServerId>,
        /// How it leaves; `None`: as its pool says.
        #[serde(default)]
        mode: Option<Mode>,
        /// Also where it was moved too often or just now.
        #[serde(default)]
        ignores_limits: bool,
    },
    /// One node more, or less.
    Scale {
        /// Of this pool.
        pool: PoolName,
        /// Where.
        region: RegionName,
        /// More.
        up: bool,
    },
    /// An abandoned plan is settled: whatever it left is as it is to be.
    Resolve {
        /// Which.
        intent: IntentId,
    },
}

/// What becomes of it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Answered {
    /// A plan is carried out from now on.
    Planned {
        /// Which.
        intent: IntentId,
        /// The node; one that is started gets its name from the plan.
        node: NodeId,
        /// The server that it goes to.
        #[serde(default)]
        to: Option<ServerId>,
        /// The servers that were looked at.
        #[serde(default)]
        candidates: Vec<Candidate>,
    },
    /// The plan is over.
    Resolved {
        /// Which.
        intent: IntentId,
    },
    /// It is not done.
    Refused(Refused),
}

/// Why it is not done.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize, thiserror::Error)]
#[serde(rename_all = "snake_case", tag = "refused")]
pub enum Refused {
    /// What it is about is not there.
    #[error("{message}")]
    NotFound {
        /// What is not there.
        message: String,
    },
    /// Something is against it.
    #[error("{reason}")]
    Against {
        /// What: `moves_per_hour`, `candidates`.
        constraint: String,
        /// In words.
        reason: String,
        /// The servers that were looked at.
        #[serde(default)]
        candidates: Vec<Candidate>,
    },
    /// Nobody leads, or whoever leads cannot do it now. Nothing was done.
    #[error("{message}")]
    Unavailable {
        /// Why.
        message: String,
    },
    /// The peer that was asked does not lead; for peers among themselves.
    #[error("this peer does not lead")]
    NotLeading,
    /// It may yet be done.
    #[error("whether it is done is not known yet; look at the failover status")]
    OutcomeUnknown,
}
