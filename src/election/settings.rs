//! How a peer takes part in elections.

use std::time::Duration;

use crate::election::leading::ANNOUNCED_EVERY;
use crate::host::Dice;
use crate::model::{MinTimeout, PeerId, Preset};

/// How a peer takes part in elections.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Settings {
    /// This peer.
    pub own: PeerId,
    /// How fast.
    pub pace: Pace,
}

/// How fast elections go. A dead leader is missed after one to two minimum time-outs, and its successor has to ask a
/// majority twice and to write twice before it leads. A pause of a leader's process or disk that is longer than the
/// minimum time-out costs it its place.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Pace {
    /// Between two heartbeats of a leader; at most a third of the minimum time-out, so that one may be lost.
    pub(super) heartbeat: Duration,
    /// For so long nobody votes after a leader was heard; a peer campaigns after one to two of it.
    pub(super) min_timeout: MinTimeout,
    /// Within this range a candidate asks again after votes were split.
    pub(super) again: (Duration, Duration),
}

const AGAIN_MIN: Duration = Duration::from_millis(20);
const AGAIN_MAX: Duration = Duration::from_millis(120);

impl Pace {
    /// What a preset means.
    pub fn of(preset: Preset) -> Self {
        let (heartbeat_ms, min_timeout_ms) = match preset {
            Preset::Local => (30, 100),
            Preset::Lan => (100, 300),
            Preset::Wan => (500, 1_500),
        };
        Self::new(Duration::from_millis(heartbeat_ms), Duration::from_millis(min_timeout_ms))
            .expect("the presets are in range")
    }

    /// A pace of one's own. `None` where a heartbeat is 0 or more than a third of the minimum time-out, or that is longer
    /// than [`MinTimeout::MAX`].
    pub fn new(heartbeat: Duration, min_timeout: Duration) -> Option<Self> {
        let min_timeout = MinTimeout::new(min_timeout)?;
        let fits = !heartbeat.is_zero() && heartbeat * 3 <= min_timeout.get();
        fits.then_some(Self { heartbeat, min_timeout, again: (AGAIN_MIN, AGAIN_MAX) })
    }

    /// No time passes: every timer is due, nothing is held back. The model checker goes through all orders of events by it.
    #[cfg(test)]
    pub(super) fn timeless() -> Self {
        Self { heartbeat: Duration::ZERO, min_timeout: MinTimeout::default(), again: (Duration::ZERO, Duration::ZERO) }
    }

    /// Between two heartbeats that reach those that are no electors.
    pub(super) fn between_announcements(&self) -> Duration {
        self.heartbeat * ANNOUNCED_EVERY
    }

    /// How long to wait before asking again after a split vote.
    pub(super) fn again(&self, dice: &mut Dice) -> Duration {
        between(self.again.0, self.again.1, dice)
    }

    /// How long to wait for a leader, where nobody may vote for `silence`.
    pub(super) fn patience(silence: Duration, dice: &mut Dice) -> Duration {
        between(silence, silence * 2, dice)
    }
}

fn between(least: Duration, most: Duration, dice: &mut Dice) -> Duration {
    least + (most - least).mul_f64(dice.fraction())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_preset_leaves_room_for_a_lost_heartbeat() {
        for preset in Preset::ALL {
            let pace = Pace::of(preset);
            assert!(pace.heartbeat * 3 <= pace.min_timeout.get(), "{preset:?}");
        }
        let ms = Duration::from_millis;
        assert_eq!(Pace::new(ms(101), ms(300)), None);
        assert_eq!(Pace::new(ms(0), ms(300)), None);
        assert_eq!(Pace::new(ms(100), Duration::from_secs(601)), None);
    }
}
