//! Waiting for a condition, with a deadline and a name for what is waited for.

use std::time::{Duration, Instant};

use evenkeel::host;

/// How long most things may take on a busy machine before a test gives up.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// Time between two looks at a condition.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// Asks `look` until it has something, and returns it with the time that took; panics after `patience` with `what`.
#[track_caller]
pub fn wait_for<T>(what: &str, patience: Duration, mut look: impl FnMut() -> Option<T>) -> (T, Duration) {
    let began = host::now();
    loop {
        if let Some(found) = look() {
            return (found, began.elapsed());
        }
        assert!(began.elapsed() < patience, "waited {patience:?} in vain for {what}");
        pause(LOOK_EVERY);
    }
}

/// Waits until `holds`; panics after [`PATIENCE`] with `what`.
#[track_caller]
pub fn wait_until(what: &str, mut holds: impl FnMut() -> bool) -> Duration {
    wait_for(what, PATIENCE, || holds().then_some(())).1
}

/// [`wait_until`] for a story that runs on a runtime: whatever else runs there goes on.
pub async fn wait_until_async(what: &str, mut holds: impl FnMut() -> bool) {
    let began = host::now();
    while !holds() {
        assert!(began.elapsed() < PATIENCE, "waited {PATIENCE:?} in vain for {what}");
        pause_async(LOOK_EVERY).await;
    }
}

/// [`pause`] on a runtime.
pub async fn pause_async(pause: Duration) {
    tokio::time::sleep(pause).await;
}

/// Lets `pause` pass: for pacing a load or for showing that something does *not* happen, never for luck.
#[expect(clippy::disallowed_methods, reason = "the one place where a test lets time pass")]
pub fn pause(pause: Duration) {
    std::thread::sleep(pause);
}

/// Lets time pass up to `at`.
pub fn pause_until(at: Instant) {
    pause(at.saturating_duration_since(host::now()));
}
