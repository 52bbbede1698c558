//! The generic cell rate algorithm by virtual scheduling (ITU-T I.371 annex A): of a key nothing is kept but the time at which the
//! next one would come if all came evenly. It lets through just what a bucket of `burst` tokens does that is filled at the rate.
//!
//! Times are nanoseconds since some begin.

use std::time::Duration;

use crate::model::RateLimit;

/// A rate with its burst.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Gcra {
    interval_ns: u64,
    /// How far ahead of now the next one may be: all of the burst.
    tolerance_ns: u64,
}

impl Gcra {
    pub(super) fn of(limit: &RateLimit) -> Self {
        // A limit's burst lasts a day at most.
        let interval_ns = u64::try_from(limit.rate().interval().as_nanos()).unwrap_or(u64::MAX);
        Self { interval_ns, tolerance_ns: interval_ns.saturating_mul(limit.burst().get().into()) }
    }

    /// Takes one. When the next one would come after that; or how long it is until one may pass.
    pub(super) fn take(self, next: u64, now: u64) -> Result<u64, Duration> {
        let after = next.max(now).saturating_add(self.interval_ns);
        match (after - now).checked_sub(self.tolerance_ns) {
            None | Some(0) => Ok(after),
            Some(wait) => Err(Duration::from_nanos(wait)),
        }
    }

    /// How many may pass at once.
    pub(super) fn left(self, next: u64, now: u64) -> u64 {
        self.tolerance_ns.saturating_sub(next.saturating_sub(now)) / self.interval_ns
    }

    /// The power of two that its tolerance is not below.
    pub(super) fn scale(self) -> u32 {
        self.tolerance_ns.max(1).ilog2()
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use proptest::prelude::*;

    use super::*;
    use crate::model::{LIMITED_STATUS_DEFAULT, Per};

    fn gcra(rate: &str, burst: u32) -> Gcra {
        let burst = NonZeroU32::new(burst).unwrap();
        Gcra::of(&RateLimit::new(Per::Route, rate.parse().unwrap(), burst, LIMITED_STATUS_DEFAULT).unwrap())
    }

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn a_burst_passes_and_then_one_at_a_time() {
        let gcra = gcra("10/s", 3);
        let mut next = 0;
        for left in [3, 2, 1] {
            assert_eq!(gcra.left(next, 5 * SECOND), left);
            next = gcra.take(next, 5 * SECOND).unwrap();
        }
        assert_eq!(gcra.left(next, 5 * SECOND), 0);
        assert_eq!(gcra.take(next, 5 * SECOND), Err(Duration::from_millis(100)));
        assert_eq!(gcra.take(next, 5 * SECOND + SECOND / 20), Err(Duration::from_millis(50)));
        let next = gcra.take(next, 5 * SECOND + SECOND / 10).unwrap();
        assert!(gcra.take(next, 5 * SECOND + SECOND / 10).is_err());
        assert_eq!(gcra.left(next, 6 * SECOND), 3, "and after a rest the burst is there again");
    }

    #[test]
    fn a_clock_that_a_reader_read_a_little_earlier_does_no_harm() {
        let gcra = gcra("10/s", 1);
        let next = gcra.take(0, 5 * SECOND).unwrap();
        assert_eq!(gcra.take(next, 4 * SECOND), Err(Duration::from_millis(1_100)));
    }

    proptest! {
        #[test]
        fn it_lets_through_what_a_bucket_of_tokens_does(
            burst in 1u32..20,
            steps in prop::collection::vec(0u64..400_000_000, 1..200),
        ) {
            let gcra = gcra("10/s", burst);
            // In parts of a token, of which there are as many as nanoseconds in an interval.
            let full = u64::from(burst) * 100_000_000;
            let (mut tokens, mut now, mut next) = (full, SECOND, 0);
            for step in steps {
                now += step;
                tokens = (tokens + step).min(full);
                let passes = tokens >= 100_000_000;
                match gcra.take(next, now) {
                    Ok(after) => {
                        prop_assert!(passes);
                        tokens -= 100_000_000;
                        next = after;
                    }
                    Err(wait) => {
                        prop_assert!(!passes);
                        prop_assert_eq!(wait, Duration::from_nanos(100_000_000 - tokens));
                    }
                }
            }
        }
    }
}
