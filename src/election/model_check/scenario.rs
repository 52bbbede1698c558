//! What may happen in one run of the checker, and how often.

use std::time::Duration;

use crate::election::event::Change;
use crate::election::rules::Rules;
use crate::model::Electors;

/// What may happen, and how often.
#[derive(Clone, Debug)]
pub(super) struct Scenario {
    pub(super) name: &'static str,
    pub(super) rules: Rules,
    /// The peers, by name, each with what is on its disk at first and the first electors that its settings name.
    pub(super) peers: Vec<(&'static str, Disk, Option<&'static str>)>,
    /// Those that campaign, by their place.
    pub(super) candidates: &'static [usize],
    /// No term beyond this one.
    pub(super) term_max: u64,
    /// Crashes that keep the disk, of these peers.
    pub(super) crashes: u8,
    pub(super) who_crashes: &'static [usize],
    /// Crashes that lose it.
    pub(super) wipes: u8,
    pub(super) who_is_wiped: &'static [usize],
    /// Not the disk is lost with them but the value that was accepted last.
    pub(super) damaged: bool,
    /// Values proposed after the first.
    pub(super) writes: u8,
    pub(super) changes: Vec<Change>,
    /// A ballot takes time to reach the disk, and a crash may come before.
    pub(super) slow_disk: bool,
    /// Whoever leads at the beginning: elected before, and heard by all.
    pub(super) led_by: Option<usize>,
    /// Time runs: so many steps of [`STEP`].
    pub(super) steps: u8,
    /// Heartbeats that a leader sends because it is time to.
    pub(super) beats: u8,
    /// Left out is what changes nothing that lasts. A candidate is taken to have won the round before the votes, which only
    /// ever holds candidates back; and what acknowledges or proposes nothing, or only says no, is lost.
    pub(super) terse: bool,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Disk {
    /// Nothing.
    Empty,
    /// The first value is committed, by these electors, in term 1.
    Committed(&'static str),
}

/// A step of the clock: three are as long as a lease, and four are longer than the minimum time-out.
pub(super) const STEP: Duration = Duration::from_millis(90);

pub(super) fn electors(ids: &str) -> Electors {
    Electors::new(ids.split(',').map(|id| id.parse().unwrap())).unwrap()
}
