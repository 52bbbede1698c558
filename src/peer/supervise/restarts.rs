//! Whether and when a child that failed is started again. Pure: the supervisor feeds it and sets its timer.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::host::Dice;

/// The pause after a first failure.
const PAUSE_MIN: Duration = Duration::from_millis(100);
/// The longest pause. It doubles from failure to failure until here.
const PAUSE_MAX: Duration = Duration::from_secs(10);
/// Failures within [`WINDOW`] that are still borne; one more and the child is given up. The pauses of so many failures
/// sum up to 43 s at most, so a child that fails at every start is given up within a minute and not nursed for ever.
const FAILURES_MAX: usize = 10;
/// The time within which failures are counted.
const WINDOW: Duration = Duration::from_secs(60);
/// A child that ran for so long has recovered: its next failure counts as a first one.
const CALM: Duration = Duration::from_secs(60);

/// What to do about a child that failed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Next {
    /// Start it again after this pause.
    StartAfter(Duration),
    /// Leave it down: it fails too often for another start to help.
    GiveUp,
}

/// The memory of one child's failures.
#[derive(Debug, Default)]
pub(super) struct Restarts {
    /// When it failed, oldest first; at most [`FAILURES_MAX`] + 1.
    failed: VecDeque<Instant>,
    /// Failures in a row without calm between them.
    in_a_row: u32,
    /// When it last started well.
    running_since: Option<Instant>,
}

impl Restarts {
    /// The child started well.
    pub(super) fn on_started(&mut self, now: Instant) {
        self.running_since = Some(now);
    }

    /// The child failed: at its start, at work, or by ending unasked.
    pub(super) fn on_failed(&mut self, now: Instant, dice: &mut Dice) -> Next {
        if self.running_since.take().is_some_and(|since| now.saturating_duration_since(since) >= CALM) {
            self.in_a_row = 0;
        }
        self.failed.push_back(now);
        self.failed.retain(|&at| now.saturating_duration_since(at) < WINDOW);
        if self.failed.len() > FAILURES_MAX {
            return Next::GiveUp;
        }
        let whole = PAUSE_MIN.saturating_mul(1 << self.in_a_row.min(16)).min(PAUSE_MAX);
        self.in_a_row += 1;
        // Between half of the pause and all of it, so that children which fell together do not rise together.
        Next::StartAfter(whole.mul_f64(0.5 + dice.fraction() / 2.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fails at once after every start, until given up; the pauses and the virtual time it took.
    fn fail_at_every_start(dice: &mut Dice) -> (Vec<Duration>, Duration) {
        let begin = crate::host::now();
        let (mut now, mut restarts, mut pauses) = (begin, Restarts::default(), Vec::new());
        loop {
            match restarts.on_failed(now, dice) {
                Next::StartAfter(pause) => {
                    now += pause;
                    restarts.on_started(now);
                    pauses.push(pause);
                }
                Next::GiveUp => return (pauses, now - begin),
            }
        }
    }

    #[test]
    fn the_pause_doubles_from_a_tenth_of_a_second_to_ten_and_is_jittered() {
        let (pauses, _) = fail_at_every_start(&mut Dice::from_seed(1));
        for (pause, whole_ms) in pauses.iter().zip([100, 200, 400, 800, 1_600, 3_200, 6_400, 10_000, 10_000, 10_000]) {
            let whole = Duration::from_millis(whole_ms);
            assert!(whole / 2 <= *pause && *pause <= whole, "{pause:?} of {whole:?}");
        }
        let (others, _) = fail_at_every_start(&mut Dice::from_seed(2));
        assert_ne!(pauses, others);
    }

    #[test]
    fn a_child_that_fails_at_every_start_is_given_up_at_the_eleventh_failure_and_within_a_minute() {
        for seed in 0..200 {
            let (pauses, took) = fail_at_every_start(&mut Dice::from_seed(seed));
            assert_eq!(pauses.len(), FAILURES_MAX);
            assert!(took < WINDOW, "{took:?}");
        }
    }

    #[test]
    fn a_child_that_fails_ten_times_a_minute_is_started_again_for_ever() {
        let (mut now, mut restarts, mut dice) = (crate::host::now(), Restarts::default(), Dice::from_seed(3));
        for _ in 0..1_000 {
            assert!(matches!(restarts.on_failed(now, &mut dice), Next::StartAfter(_)));
            restarts.on_started(now);
            now += WINDOW / 10;
        }
    }

    #[test]
    fn a_child_that_was_calm_for_a_minute_starts_again_from_the_small_pause() {
        let (mut now, mut restarts, mut dice) = (crate::host::now(), Restarts::default(), Dice::from_seed(4));
        for _ in 0..5 {
            restarts.on_failed(now, &mut dice);
        }
        restarts.on_started(now);
        now += CALM - Duration::from_millis(1);
        let Next::StartAfter(pause) = restarts.on_failed(now, &mut dice) else { panic!("given up") };
        assert!(pause >= Duration::from_millis(1_600), "{pause:?} after a short calm");
        restarts.on_started(now);
        now += CALM;
        let Next::StartAfter(pause) = restarts.on_failed(now, &mut dice) else { panic!("given up") };
        assert!(pause <= PAUSE_MIN, "{pause:?} after a whole calm");
    }

    #[test]
    fn a_child_that_never_starts_has_no_calm() {
        let (mut now, mut restarts, mut dice) = (crate::host::now(), Restarts::default(), Dice::from_seed(5));
        restarts.on_failed(now, &mut dice);
        now += 10 * CALM;
        let Next::StartAfter(pause) = restarts.on_failed(now, &mut dice) else { panic!("given up") };
        assert!(pause >= PAUSE_MIN, "{pause:?}");
    }
}
