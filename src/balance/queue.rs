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

impl Queue {
    /// Stub until the real line is merged.
    pub fn is_empty(&self) -> bool { true }
    /// Stub.
    pub fn wait(&self, _max: u32) -> Result<Waiting, QueueFull> { Err(QueueFull) }
}
impl Waiting {
    /// Stub.
    pub fn line_up_again(&mut self) {}
}
impl std::future::Future for Waiting { type Output=(); fn poll(self: std::pin::Pin<&mut Self>, _c: &mut std::task::Context<'_>) -> std::task::Poll<()> { std::task::Poll::Ready(()) } }
