//! Traffic that is held away from a region.

use std::time::Duration;

use super::id::RegionName;

/// What of a region's own traffic stays there: 0 to 100 percent.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Stays(u8);

impl Stays {
    /// All of it: there is no shift.
    pub const ALL: Self = Self(100);
    /// None of it.
    pub const NONE: Self = Self(0);

    /// `None` above 100.
    pub const fn new(percent: u8) -> Option<Self> {
        if percent <= 100 { Some(Self(percent)) } else { None }
    }

    /// In percent.
    pub fn percent(self) -> u8 {
        self.0
    }

    /// As a part of one.
    pub fn part(self) -> f64 {
        f64::from(self.0) / 100.0
    }
}

/// A region's traffic that is held away from it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Shift {
    /// The region.
    pub region: RegionName,
    /// What stays.
    pub stays: Stays,
    /// Where the rest goes first; `None`: where it would go without the region.
    pub to: Option<RegionName>,
}

/// When traffic is held away from regions, and how it comes back.
#[derive(Clone, Debug, PartialEq)]
pub struct ShiftPolicy {
    /// Whether a region that is lost is shifted by itself; where not, operators do it.
    pub enabled: bool,
    /// How long a region has to be lost.
    pub after: Duration,
    /// How long it has to be well before traffic comes back.
    pub stable: Duration,
    /// How long each step of coming back takes.
    pub step: Duration,
    /// Of a region's answers so many percent more than before may be errors while it comes back.
    pub errors_percent: f64,
    /// How long an operator's shift lasts who does not say.
    pub manual: Duration,
}

impl ShiftPolicy {
    /// What comes back, step by step.
    pub const STEPS: [Stays; 4] = [Stays(10), Stays(25), Stays(50), Stays::ALL];
}

impl Default for ShiftPolicy {
    fn default() -> Self {
        Self {
            enabled: true,
            after: Duration::from_secs(15),
            stable: Duration::from_secs(300),
            step: Duration::from_secs(60),
            errors_percent: 5.0,
            manual: Duration::from_secs(4 * 3_600),
        }
    }
}
