//! Time. Deciding code is handed an [`Instant`]; only the edge asks for one, and asks here.

use std::time::{Instant, SystemTime};

/// Now, on the monotonic clock: what every decision is measured by.
#[expect(clippy::disallowed_methods, reason = "the one place that reads the monotonic clock")]
pub fn now() -> Instant {
    Instant::now()
}

/// Now, on the wall clock: for people to read, never for a decision.
#[expect(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
pub fn wall_now() -> SystemTime {
    SystemTime::now()
}
