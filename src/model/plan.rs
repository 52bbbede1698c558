//! What plans do, how far they are, and how they end.

use serde::{Deserialize, Serialize};

use super::id::ServerId;

/// What is to be done.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Plan {
    /// A node moves to another server.
    Move,
    /// A node is started.
    Start,
    /// A node that was started is stopped.
    Stop,
    /// What a later version does; this one leaves it alone.
    #[serde(other)]
    Unknown,
}

impl Plan {
    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Move => "move",
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Unknown => "unknown",
        }
    }
}

/// How far a plan is.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// The node finishes its old work.
    Drain,
    /// The driver switches, starts or stops.
    Act,
    /// That is done, and the node has to be up.
    Verify,
    /// It is, and the driver forgets what was before.
    Finish,
    /// It went wrong and is taken back.
    Undo,
    /// The executor has been silent for too long: the node stays as it is, until that answers or an operator says that it is settled.
    Abandoned,
    /// One of a later version; this one leaves it alone.
    #[serde(other)]
    Unknown,
}

impl Step {
    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Drain => "drain",
            Self::Act => "act",
            Self::Verify => "verify",
            Self::Finish => "finish",
            Self::Undo => "undo",
            Self::Abandoned => "abandoned",
            Self::Unknown => "unknown",
        }
    }
}

/// How a plan ended.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PlanOutcome {
    /// As it was meant.
    Done,
    /// It went wrong, and all is as it was.
    RolledBack,
    /// It went wrong, and what it left could not be taken back.
    Failed,
    /// Its reason was gone before anything was done.
    Cancelled,
    /// An operator said that it is settled.
    Resolved,
    /// One of a later version.
    #[serde(other)]
    Unknown,
}

impl PlanOutcome {
    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::RolledBack => "rolled_back",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Resolved => "resolved",
            Self::Unknown => "unknown",
        }
    }
}

/// A server that was looked at.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Candidate {
    /// Which.
    pub server: ServerId,
    /// What was found, in words: `chosen: connected in 0.4 ms`, `connect: refused`, `blacklisted`.
    pub found: String,
}

/// A step of a plan.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct StepTaken {
    /// Which.
    pub step: Step,
    /// When, in milliseconds since 1970, as the clock of the leader had it.
    pub at_ms: u64,
    /// The term of the leader.
    pub term: u64,
}
