//! Time as elections need it.

use std::time::{Duration, Instant};

/// This moment: on the clock that timers run by, and how long the machine has slept since its start, which that clock does
/// not count.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Now {
    /// The monotonic clock.
    pub at: Instant,
    /// How long the machine was suspended.
    pub asleep: Duration,
}

impl Now {
    /// This moment on the clock that goes on while the machine sleeps.
    pub(super) fn boot(self) -> BootTime {
        BootTime(self.at + self.asleep)
    }
}

/// A moment on the clock that goes on while the machine sleeps. Leases are kept by it: a leader that was suspended must
/// find its lease over when it wakes.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct BootTime(Instant);

impl BootTime {
    /// So much later.
    pub(super) fn after(self, duration: Duration) -> Self {
        Self(self.0 + duration)
    }

    /// How long it is from `now` until then; 0 where it is over.
    pub fn from_now(self, now: Now) -> Duration {
        self.0.saturating_duration_since(now.boot().0)
    }
}
