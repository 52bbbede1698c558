//! How long the machine was suspended: what the monotonic clock does not count.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// How long the machine was suspended since its start. It grows, but for the microseconds that pass between two looks at
/// two clocks, when the machine was suspended and never else: so it may be added to [`super::now`], in virtual time as well.
pub fn asleep() -> Duration {
    let since_start = |clock| {
        let time = clock_gettime(clock);
        let seconds = Duration::from_secs(u64::try_from(time.tv_sec).unwrap_or(0));
        seconds + Duration::from_nanos(u64::try_from(time.tv_nsec).unwrap_or(0))
    };
    let awake = since_start(ClockId::Monotonic);
    since_start(ClockId::Boottime).saturating_sub(awake)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_that_stays_awake_has_not_slept_longer_a_moment_later() {
        let before = asleep();
        assert!(asleep().abs_diff(before) < Duration::from_secs(1));
    }
}
