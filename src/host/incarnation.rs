//! Numbers that tell one start of a peer from another.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use super::clock::wall_now_ms;

/// A source of numbers that grow within one process, and between two unless the clock was set back in between. Nothing
/// decides by which of two is greater: they have to differ, and the wall clock at milliseconds is the cheapest way.
#[derive(Clone, Debug)]
pub struct Incarnations(Arc<AtomicU64>);

impl Incarnations {
    /// From the wall clock of this moment on.
    pub fn new() -> Self {
        Self::starting_at(wall_now_ms())
    }

    /// From `first` on.
    pub fn starting_at(first: u64) -> Self {
        Self(Arc::new(AtomicU64::new(first)))
    }

    /// A number that was not given before.
    pub fn next(&self) -> u64 {
        self.0.fetch_add(1, Relaxed)
    }
}

impl Default for Incarnations {
    fn default() -> Self {
        Self::new()
    }
}
