//! Failover: nodes move to other servers, regions' traffic is held away from what is lost, nodes are started and stopped.
//!
//! Only the leader decides, by one pure [`Machine`]: facts, time and answers come in, [`Output`]s go out. A plan is a committed intent in the
//! catalog before anything is done for it, and every step of it is committed before the next one begins, so that whoever leads next goes on
//! where the last leader stopped. What acts outside of the cluster is an executor (see [`crate::driver`]), which refuses earlier terms and does
//! nothing twice. The actor feeds the machine and does what it wants done.

mod actor;
mod candidate;
mod carry;
mod constraint;
mod drill;
mod facts;
mod handle;
mod hands;
mod machine;
mod operation;
mod output;
mod report;
mod scale;
mod shift;
#[cfg(test)]
mod tests;
mod told;
mod trigger;

pub use actor::{Arguments, Asked, FailoverActor, Turn};
pub use facts::{ExecutorFacts, Facts, NodeFacts, RegionFacts};
pub use handle::{FailoverHandle, Parts};
pub use hands::{Counting, Hands};
pub use machine::Machine;
pub use operation::{Answered, Operation, Refused, What};
pub use output::{Input, Output, Probe, ProbeBy, Unwritten, Write};
pub use report::{Report, Traffic};
pub use told::told;
