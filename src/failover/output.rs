//! What a leader wants done, and what it hears of that.

use crate::catalog::{Drilling, Progress, Shifting};
use crate::driver::{Action, Answer, Effect};
use crate::model::{
    DrainLeft, DriverName, Happened, IntentId, NodeAddress, NodeId, PeerId, PoolName, Server, ServerId,
};

use super::operation::{Answered, Operation};

/// One thing to be done. Each is answered by an [`Input`], but for those that tell something.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// Servers are probed, all at once, for a node that could move there.
    Probe(Probe),
    /// Something is written, in the leader's term.
    Write(Write),
    /// An executor is asked, once it is known that this peer still leads.
    Ask {
        /// Who.
        executor: PeerId,
        /// By which driver.
        driver: DriverName,
        /// What for.
        effect: Effect,
    },
    /// An executor is told by which term a node may be touched, once it is known that this peer still leads.
    Fence {
        /// Who.
        executor: PeerId,
        /// For which plan.
        intent: IntentId,
        /// What is then asked.
        action: Action,
        /// Which node.
        node: NodeId,
        /// What the executor said.
        challenge: u64,
    },
    /// All peers are asked what they still have at a node.
    CountDrain {
        /// For which plan.
        intent: IntentId,
        /// Which node.
        node: NodeId,
    },
    /// The node is checked from here, as its pool says.
    Verify {
        /// For which plan.
        intent: IntentId,
        /// Its pool.
        pool: PoolName,
        /// Where it is to answer.
        address: NodeAddress,
    },
    /// Everybody may know.
    Tell(Happened),
    /// An operator is answered.
    Reply {
        /// Who.
        ticket: u64,
        /// What.
        answered: Answered,
    },
}

/// Something to be written.
#[derive(Clone, Debug, PartialEq)]
pub enum Write {
    /// A new plan.
    Plan {
        /// What asked for it.
        look: u64,
        /// It.
        progress: Progress,
    },
    /// A plan goes on or is over.
    Progress {
        /// Which.
        intent: IntentId,
        /// How.
        progress: Progress,
    },
    /// An abandoned plan is settled.
    Resolve {
        /// Who asked, for the answer.
        ticket: u64,
        /// Which.
        intent: IntentId,
        /// How.
        progress: Progress,
    },
    /// A shift.
    Shift(Shifting),
    /// A drill.
    Drill(Drilling),
}

/// Why something is not written, as far as is known.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Unwritten {
    /// It is not.
    #[error("{0}")]
    Refused(String),
    /// It may be yet.
    #[error("it reached no majority in time")]
    Unknown,
}

/// Servers to be probed.
#[derive(Clone, Debug, PartialEq)]
pub struct Probe {
    /// What asked for it.
    pub look: u64,
    /// The pool of the node, whose check is asked.
    pub pool: PoolName,
    /// The servers, the best first.
    pub servers: Vec<Server>,
    /// How.
    pub by: ProbeBy,
}

/// How a server is probed.
#[derive(Clone, Debug, PartialEq)]
pub enum ProbeBy {
    /// By the pool's check, from here, at these addresses.
    Check(Vec<NodeAddress>),
    /// By the driver.
    Driver {
        /// Who has it.
        executor: PeerId,
        /// Its name.
        driver: DriverName,
        /// What it is asked, one a server.
        effects: Vec<Effect>,
    },
}

/// What a leader hears.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// Of [`Output::Probe`]: of each server what was found, or what is wrong with it.
    Probed {
        /// What asked for it.
        look: u64,
        /// By server.
        found: Vec<(ServerId, Result<String, String>)>,
    },
    /// Of a new plan: its revision, or why it is not written.
    Planned {
        /// What asked for it.
        look: u64,
        /// What became of it.
        written: Result<u64, Unwritten>,
    },
    /// An abandoned plan is settled, or not.
    Resolved {
        /// Who asked, for the answer.
        ticket: u64,
        /// Which.
        intent: IntentId,
        /// What became of it.
        written: Result<(), Unwritten>,
    },
    /// A plan's progress is written, or not.
    Progressed {
        /// Which.
        intent: IntentId,
        /// What became of it.
        written: Result<(), String>,
    },
    /// A shift or a drill is written, or not.
    Shifted {
        /// What became of it.
        written: Result<(), String>,
    },
    /// Of [`Output::Ask`] and [`Output::Fence`]; `None`: nothing was heard, or this peer does not lead any more.
    Answered {
        /// Of which plan.
        intent: IntentId,
        /// What was asked for.
        action: Action,
        /// What was answered.
        answer: Option<Answer>,
    },
    /// Of [`Output::CountDrain`]: what each peer has; `None`: it does not say.
    Drained {
        /// Of which plan.
        intent: IntentId,
        /// By peer.
        left: Vec<(PeerId, Option<DrainLeft>)>,
    },
    /// Of [`Output::Verify`].
    Verified {
        /// Of which plan.
        intent: IntentId,
        /// What was found, or what is wrong.
        found: Result<String, String>,
    },
    /// An operator wants something.
    Operate {
        /// Who, for the answer.
        ticket: u64,
        /// What.
        operation: Operation,
    },
}
