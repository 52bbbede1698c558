//! A cluster simulated from a seed: the product's own view, health, gossip and hints, for many peers in virtual time, over
//! the links in memory and with made-up nodes. The same seed gives the same trace, and a seed that fails is replayed.
//!
//! [`peers`] runs them in lockstep, [`nodes`] is the world they look at, [`weather`] breaks and mends things at random,
//! [`judge`] says what must hold, and [`scenario`] puts these together. [`catalogs`] is the one story in which
//! the nodes themselves come and go. [`system`] fixes chance and clocks of the process;
//! `src/bin/simulate.rs` is how it is run.

pub mod catalogs;
pub mod judge;
pub mod nodes;
pub mod peers;
pub mod scenario;
pub mod system;
pub mod trace;
pub mod weather;

/// What must hold and does not, in words.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Violation(pub String);
