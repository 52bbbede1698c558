//! The HTTP API for operators. It reaches the rest through the handles of `peer`, waits for nobody, and answers on
//! loopback only, under loopback's names only.

mod actor;
mod catalog;
mod cluster;
mod deadline;
mod electors;
mod error;
mod events;
mod explain;
mod failover;
mod health;
mod list;
mod metrics;
mod nodes;
mod peers;
mod pools;
mod resources;
mod router;
mod serve;
mod settings;
mod timestamp;
mod writing;

pub use actor::child;
pub use serve::{BoundApi, bind};
pub use settings::{NotLoopback, Settings};

#[cfg(test)]
mod tests;
