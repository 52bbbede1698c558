//! For how long nobody votes after a leader was heard.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, de};

/// The minimum time-out of an election: for so long after a leader was heard, and after any start, a peer votes for nobody.
/// At most [`MinTimeout::MAX`], so that no word of a peer silences another for longer.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub struct MinTimeout(u32);

impl MinTimeout {
    /// The longest.
    pub const MAX: Duration = Duration::from_secs(600);

    /// Of whole milliseconds; `None` above [`MinTimeout::MAX`].
    pub fn new(duration: Duration) -> Option<Self> {
        u32::try_from(duration.as_millis()).ok().filter(|_| duration <= Self::MAX).map(Self)
    }

    /// The time.
    pub fn get(self) -> Duration {
        Duration::from_millis(u64::from(self.0))
    }
}

impl<'de> Deserialize<'de> for MinTimeout {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let ms = u32::deserialize(deserializer)?;
        Self::new(Duration::from_millis(u64::from(ms)))
            .ok_or_else(|| de::Error::custom(format_args!("{ms} ms is no minimum time-out")))
    }
}
