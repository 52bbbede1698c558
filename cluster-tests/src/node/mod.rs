//! A node whose behaviour is set while it runs: it delays, freezes, closes early, answers garbage, and notes what it got.
//!
//! [`TestNode`] runs in the test's process; [`NodeProcess`] is one of its own, which can be killed.

mod behaviour;
mod control;
mod exchange;
mod process;
mod record;
mod server;

pub use behaviour::{Answer, Behaviour, BodyRead, Then};
pub use control::{Command, serve_control};
pub(crate) use control::{control_of, tell};
pub use process::NodeProcess;
pub use record::{Seen, SeenRequest};
pub use server::{Node, TestNode};
