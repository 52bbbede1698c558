//! Requests that wait for a place when every node is full: bounded, first come first served, across workers.

/// A pool's waiting line.
#[derive(Debug, Default)]
pub struct Queue {}

/// As many wait as may.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct QueueFull;

/// A request's place in the line; resolves when a place at some node was given back and it is this one's turn to try.
/// Dropping it leaves the line and passes a turn that was given but not used on to the next.
#[derive(Debug)]
pub struct Waiting {}

impl Queue {
    /// Lets the longest waiting one try. Costs one relaxed load when nobody waits.
    pub fn wake_one(&self) {}

    /// How many wait now.
    pub fn waiting(&self) -> usize {
        0
    }
}
