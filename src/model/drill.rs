//! Drills: a little of a region's traffic is held away from it for a little while, to see whether the others could take it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::id::RegionName;
use super::time::DailyTime;

/// How much, how long, and where to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Drill {
    /// How much of its traffic, in percent: 1 to 50.
    pub percent: u8,
    /// How long.
    pub lasts: Duration,
    /// Where it goes first; `None`: where it would go without the region.
    pub to: Option<RegionName>,
}

impl Drill {
    /// The most of a region's traffic that a drill may hold away, in percent.
    pub const PERCENT_MAX: u8 = 50;
    /// The shortest one.
    pub const LASTS_MIN: Duration = Duration::from_secs(10);
    /// The longest one.
    pub const LASTS_MAX: Duration = Duration::from_secs(3_600);
}

impl Default for Drill {
    fn default() -> Self {
        Self { percent: 10, lasts: Duration::from_secs(300), to: None }
    }
}

/// A drill that is held again and again.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ScheduledDrill {
    /// When.
    pub at: DailyTime,
    /// What.
    pub drill: Drill,
}

/// What became of a drill.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DrillOutcome {
    /// It lasted its time, and the others answered as well as the region itself.
    Passed,
    /// It lasted its time, and there was too little traffic to say anything.
    Inconclusive,
    /// It was ended before its time: the others answered worse, something else went wrong, or an operator ended it.
    Stopped,
    /// It was not begun: something was wrong already.
    Skipped,
    /// One of a later version.
    #[serde(other)]
    Unknown,
}

impl DrillOutcome {
    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Inconclusive => "inconclusive",
            Self::Stopped => "stopped",
            Self::Skipped => "skipped",
            Self::Unknown => "unknown",
        }
    }
}

/// What was counted during a drill, over all peers.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct DrillCounts {
    /// Answers of the region's nodes, and exchanges with them that failed.
    pub answers_here: u64,
    /// Those of them that were errors: 5xx, and all that failed.
    pub errors_here: u64,
    /// Answers of nodes where the traffic went.
    pub answers_elsewhere: u64,
    /// Those of them that were errors.
    pub errors_elsewhere: u64,
}

/// A drill that is over, as it is told.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct DrillTold {
    /// The region.
    pub region: RegionName,
    /// What became of it.
    pub outcome: DrillOutcome,
    /// Why, in words.
    pub why: String,
    /// The revision that it began with; `None`: it did not begin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub begun: Option<u64>,
    /// Who asked for it; empty: it was scheduled.
    pub by: String,
    /// What was counted.
    #[serde(flatten)]
    pub counts: DrillCounts,
}
