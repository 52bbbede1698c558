//! Evenkeel: a load balancer whose instances form one cluster.
//!
//! A line of code lives in the folder whose noun it is about; see `docs/internals/layout.md`.

pub mod api;
pub mod balance;
pub mod catalog;
pub mod cli;
pub mod config;
pub mod document;
pub mod driver;
pub mod election;
pub mod failover;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
pub mod geo;
pub mod gossip;
pub mod health;
pub mod host;
pub mod limit;
pub mod link;
pub mod model;
pub mod peer;
pub mod probe;
pub mod proxy;
pub mod route;
pub mod telemetry;
pub mod tls;
pub mod view;
pub mod wire;

mod start;

pub use start::{Running, StartError, start};
