//! Time. Deciding code is handed an [`Instant`]; only the edge asks for one, and asks here.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Now, on the monotonic clock: what every decision is measured by.
///
/// Asked of tokio, which reads the same clock, except in a test that has paused it: the simulation runs the product's own
/// code in virtual time, and what decides must not see another time than what sleeps.
#[expect(clippy::disallowed_methods, reason = "the one place that reads the monotonic clock")]
pub fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// Now, on the wall clock: for people to read, and for what people set by the clock.
#[expect(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
pub fn wall_now() -> SystemTime {
    SystemTime::now()
}

/// The same as a time that zones know. Only a clock that is set beyond the year 9999 has no such time.
pub fn wall_timestamp() -> jiff::Timestamp {
    jiff::Timestamp::try_from(wall_now()).unwrap_or(jiff::Timestamp::MAX)
}

/// The same in milliseconds since 1970; 0 before that.
pub fn wall_now_ms() -> u64 {
    let since_epoch = wall_now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX)
}
