//! Regions: when one is lost for long enough its traffic is held away, and comes back step by step when it has been well.
//!
//! Spill moves what cannot stay at once, at every peer and without a leader. A shift is for a region that comes and goes: it is not trusted
//! again before it has been well for a while.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

use super::facts::{Facts, RegionFacts};
use super::machine::Machine;
use super::output::{Output, Write};
use crate::catalog::{ManagedShift, Shifting};
use crate::model::{RegionName, ShiftKind, ShiftPolicy, Stays};

/// Until a shift is written again that could not be.
const WRITE_AGAIN_AFTER: Duration = Duration::from_secs(1);
/// With fewer answers nothing is said of a region's errors.
pub(super) const ANSWERS_LEAST: u64 = 20;

/// What a leader knows of regions beside the catalog.
#[derive(Debug, Default)]
pub(super) struct Shifts {
    /// Since when a region has been lost.
    lost_since: BTreeMap<RegionName, Instant>,
    /// Since when one has been well.
    well_since: BTreeMap<RegionName, Instant>,
    /// The step that each shift is at.
    steps: BTreeMap<RegionName, AtStep>,
    /// The region of which something is being written.
    waiting: Option<RegionName>,
    /// Regions of which something was not written: one must not keep the others from it.
    not_before: BTreeMap<RegionName, Instant>,
}

/// The step of a shift.
#[derive(Clone, Copy, Debug)]
struct AtStep {
    begun: u64,
    stays_percent: u8,
    is_returning: bool,
    /// When it began, as far as this leader can tell.
    entered: Instant,
    /// What had been counted of the region, and of the others, when this leader first saw it.
    counted: Counted,
}

impl Shifts {
    pub(super) fn written(&mut self, written: &Result<(), String>, now: Instant) {
        let region = self.waiting.take();
        if written.is_err() {
            self.not_before.extend(region.map(|region| (region, now + WRITE_AGAIN_AFTER)));
        }
    }
}

impl Machine {
    /// Looks at all regions. One thing is written at a time.
    pub(super) fn shift(&mut self, facts: &Facts<'_>, now: Instant, out: &mut Vec<Output>) {
        let shifts = &mut self.shifting;
        for (name, region) in &facts.regions {
            note(&mut shifts.lost_since, name, is_lost(*region), now);
            note(&mut shifts.well_since, name, is_well(*region), now);
        }
        let known = |name: &RegionName| facts.regions.contains_key(name);
        shifts.lost_since.retain(|name, _| known(name));
        shifts.well_since.retain(|name, _| known(name));
        shifts.steps.retain(|name, _| facts.managed.shifts.contains_key(name));
        for (name, shift) in &facts.managed.shifts {
            shifts.at_step(name, shift, facts, now);
        }
        shifts.not_before.retain(|_, at| now < *at);
        if shifts.waiting.is_some() {
            return;
        }
        let policy = facts.catalog.shift_policy();
        let shifted = facts.managed.shifts.iter().filter(|(name, _)| shifts.is_open(name));
        let of_shifts = shifted.filter_map(|(name, shift)| shifts.next(name, shift, policy, facts, now));
        let of_lost = facts.regions.keys().filter(|name| shifts.is_open(name));
        let of_lost = of_lost.filter_map(|name| shifts.begin(name, policy, facts, now));
        let drills = std::iter::once_with(|| shifts.drill(policy, facts)).flatten();
        let mut next = of_shifts.chain(of_lost).map(Write::Shift).chain(drills.map(Write::Drill));
        if let Some(write) = next.next() {
            drop(next);
            shifts.waiting = match &write {
                Write::Shift(shifting) => Some(shifting.region().clone()),
                Write::Drill(drilling) => Some(drilling.region().clone()),
                Write::Plan { .. } | Write::Progress { .. } | Write::Resolve { .. } => None,
            };
            out.push(Output::Write(write));
        }
    }
}

impl Shifts {
    /// Whether something may be written of it now.
    pub(super) fn is_open(&self, name: &RegionName) -> bool {
        !self.not_before.contains_key(name)
    }

    fn at_step(&mut self, name: &RegionName, shift: &ManagedShift, facts: &Facts<'_>, now: Instant) {
        let is_it = |step: &AtStep| {
            (step.begun, step.stays_percent, step.is_returning)
                == (shift.begun, shift.stays_percent, shift.is_returning)
        };
        let known = self.steps.get(name);
        if known.is_some_and(is_it) {
            return;
        }
        // One that this leader has not seen before may have been at its step for a while.
        let age = match known {
            Some(_) => Duration::ZERO,
            None => Duration::from_millis(facts.wall_now_ms.saturating_sub(shift.step_ms)),
        };
        let ManagedShift { begun, stays_percent, is_returning, .. } = *shift;
        let entered = now.checked_sub(age).unwrap_or(now);
        let counted = Counted::of(name, shift, facts);
        self.steps.insert(name.clone(), AtStep { begun, stays_percent, is_returning, entered, counted });
    }

    /// What was counted since this leader first saw the shift at its step.
    pub(super) fn counted_since(&self, name: &RegionName, shift: &ManagedShift, facts: &Facts<'_>) -> Option<Counted> {
        Some(Counted::of(name, shift, facts).since(self.steps.get(name)?.counted))
    }

    /// Whether a region has been lost for long enough, and there is another one for its traffic.
    fn is_lost_for_long(&self, name: &RegionName, policy: &ShiftPolicy, facts: &Facts<'_>, now: Instant) -> bool {
        let since = self.lost_since.get(name);
        let has_other = facts.regions.iter().any(|(other, region)| other != name && region.usable > 0);
        let is_long = since.is_some_and(|since| now.saturating_duration_since(*since) >= policy.after);
        facts.is_checked && is_long && has_other
    }

    /// Whether a region that is not shifted is to be.
    fn begin(&self, name: &RegionName, policy: &ShiftPolicy, facts: &Facts<'_>, now: Instant) -> Option<Shifting> {
        let is_due = policy.enabled && self.is_lost_for_long(name, policy, facts, now);
        if !is_due || facts.managed.shifts.contains_key(name) {
            return None;
        }
        let lost_for = now.saturating_duration_since(*self.lost_since.get(name)?);
        let why = format!("none of its nodes could be used for {} s", lost_for.as_secs());
        Some(Shifting::Begin {
            region: name.clone(),
            kind: ShiftKind::Lost,
            to: None,
            stays_percent: Stays::NONE.percent(),
            duration_ms: None,
            why,
        })
    }

    /// What becomes of a region that is shifted.
    fn next(
        &self,
        name: &RegionName,
        shift: &ManagedShift,
        policy: &ShiftPolicy,
        facts: &Facts<'_>,
        now: Instant,
    ) -> Option<Shifting> {
        let step = self.steps.get(name)?;
        let turn = |stays: Stays, is_returning: bool, why: Option<String>| Shifting::Turn {
            region: name.clone(),
            begun: shift.begun,
            stays_percent: stays.percent(),
            is_returning,
            why,
        };
        let end = || Shifting::End { region: name.clone(), begun: Some(shift.begun) };
        let is_over = shift.until_ms.is_some_and(|until_ms| until_ms <= facts.wall_now_ms);
        if !facts.regions.contains_key(name) && (is_over || shift.kind == ShiftKind::Lost) {
            // It has no nodes any more, so there is nothing to come back to.
            return Some(end());
        }
        match shift.kind {
            // How a drill ends says what came of it.
            ShiftKind::Unknown | ShiftKind::Drill => return None,
            ShiftKind::Operator if !is_over && !shift.is_returning => {
                // What an operator lets stay has nowhere to stay.
                let is_due =
                    policy.enabled && shift.stays_percent > 0 && self.is_lost_for_long(name, policy, facts, now);
                let why = || format!("none of its nodes could be used for {} s", policy.after.as_secs());
                return is_due.then(|| turn(Stays::NONE, false, Some(why())));
            }
            ShiftKind::Operator | ShiftKind::Lost => {}
        }
        let well_for = self.well_since.get(name).map(|since| now.saturating_duration_since(*since));
        let further = ShiftPolicy::STEPS.into_iter().find(|stays| stays.percent() > shift.stays_percent);
        if !shift.is_returning {
            // One that was taken back for its errors was well all the while, as far as its nodes say.
            let held_for = now.saturating_duration_since(step.entered);
            let is_due = well_for.is_some_and(|well_for| well_for.min(held_for) >= policy.stable);
            return is_due.then(|| further.map_or_else(end, |stays| turn(stays, true, None)));
        }
        if well_for.is_none() {
            return Some(turn(Stays::NONE, false, Some("it was lost again while its traffic came back".to_owned())));
        }
        let counted = self.counted_since(name, shift, facts)?;
        if counted.here.is_worse_than(counted.elsewhere, policy) {
            let why = format!("{counted}, at {} % of its traffic", shift.stays_percent);
            return Some(turn(Stays::NONE, false, Some(why)));
        }
        if now.saturating_duration_since(step.entered) < policy.step {
            return None;
        }
        Some(further.map_or_else(end, |stays| turn(stays, true, None)))
    }
}

fn note(since: &mut BTreeMap<RegionName, Instant>, name: &RegionName, holds: bool, now: Instant) {
    if holds {
        since.entry(name.clone()).or_insert(now);
    } else {
        since.remove(name);
    }
}

/// None of its nodes can be used.
pub(super) fn is_lost(region: RegionFacts) -> bool {
    region.nodes > 0 && region.usable == 0
}

/// At least half of its nodes can be used: with fewer it would be lost again by what comes back.
pub(super) fn is_well(region: RegionFacts) -> bool {
    region.usable > 0 && u64::from(region.usable) * 2 >= u64::from(region.nodes)
}

/// What traffic met somewhere.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Met {
    pub(super) answers: u64,
    pub(super) errors: u64,
}

impl Met {
    fn of(region: &RegionFacts) -> Self {
        Self { answers: region.answers, errors: region.errors }
    }

    fn plus(self, other: Self) -> Self {
        Self { answers: self.answers + other.answers, errors: self.errors + other.errors }
    }

    fn since(self, then: Self) -> Self {
        let (answers, errors) = (self.answers.saturating_sub(then.answers), self.errors.saturating_sub(then.errors));
        Self { answers, errors: errors.min(answers) }
    }

    /// Whether more of what it says are errors, so far as it says anything.
    pub(super) fn is_worse_than(self, other: Self, policy: &ShiftPolicy) -> bool {
        self.answers >= ANSWERS_LEAST && self.error_percent() > other.error_percent() + policy.errors_percent
    }

    fn error_percent(self) -> f64 {
        if self.answers == 0 { 0.0 } else { self.errors as f64 * 100.0 / self.answers as f64 }
    }
}

impl fmt::Display for Met {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} answers were errors ({:.1} %)", self.errors, self.answers, self.error_percent())
    }
}

/// What traffic met in a region that is shifted, and where it went.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counted {
    pub(super) here: Met,
    pub(super) elsewhere: Met,
}

impl Counted {
    fn of(name: &RegionName, shift: &ManagedShift, facts: &Facts<'_>) -> Self {
        let here = facts.regions.get(name).map(Met::of).unwrap_or_default();
        let others = facts.regions.iter().filter(|(other, _)| match &shift.to {
            // A drill is about those who take the traffic.
            Some(to) if shift.kind == ShiftKind::Drill => *other == to,
            _ => *other != name,
        });
        Self { here, elsewhere: others.map(|(_, region)| Met::of(region)).fold(Met::default(), Met::plus) }
    }

    fn since(self, then: Self) -> Self {
        Self { here: self.here.since(then.here), elsewhere: self.elsewhere.since(then.elsewhere) }
    }
}

impl fmt::Display for Counted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "in the region {}, elsewhere {}", self.here, self.elsewhere)
    }
}
