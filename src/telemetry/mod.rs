//! Names of metrics, and the log.

pub mod events;
pub mod log;
pub mod metrics;
