//! What one peer knows of one node, and what all of that says together.

use std::time::Duration;

use serde::Serialize;

/// What a check found, after `rise` and `fall`. Greater is worse.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Health {
    /// It answers as it should.
    Up,
    /// It answers, and says that it is not well.
    Degraded,
    /// It does not answer, or wrongly.
    Down,
}

/// What the cluster's observations say together.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Use it.
    Up,
    /// Use it for half of its weight.
    Degraded,
    /// Do not use it.
    Down,
    /// Nobody knows; it is not used until somebody does.
    #[default]
    Unknown,
}

impl From<Health> for Verdict {
    fn from(health: Health) -> Self {
        match health {
            Health::Up => Self::Up,
            Health::Degraded => Self::Degraded,
            Health::Down => Self::Down,
        }
    }
}

impl Verdict {
    /// The word that is shown.
    pub fn name(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Degraded => "degraded",
            Self::Down => "down",
            Self::Unknown => "unknown",
        }
    }
}

/// What one peer says of a node to the others.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Heard {
    /// Its vote; `None`: it has none, or leaves the node to other peers.
    pub vote: Option<Health>,
    /// Whether it has ever had a good answer from this address.
    pub reached_before: bool,
    /// Moving average of its check's connect time.
    pub latency: Option<Duration>,
    /// Whether it routes around the node, whatever the others say.
    pub ejected: bool,
}

/// What one peer knows of one node. `vote` is `None` until enough checks in a row agreed for the first time, and where the
/// node is left to other peers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Observation {
    /// The peer's vote.
    pub vote: Option<Health>,
    /// Whether this peer has ever had a good answer from this address: a down vote counts only from one that has.
    pub reached_before: bool,
    /// Moving average of the check's connect time.
    pub latency: Option<Duration>,
    /// What the last check found, in words, for people: `connect: refused`, `status 503`, `ok 200 in 1.2 ms`.
    pub last_result: String,
    /// Checks that this vote rests on, and how many of them in a row were alike.
    pub checks_total: u64,
    /// Good (positive) or bad (negative) results in a row.
    pub streak: i32,
}
