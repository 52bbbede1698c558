//! Drills: one is held when it is due and nothing is wrong, and ends when its time is over or anything goes wrong. A drill never adds to trouble.

use std::time::Duration;

use super::facts::Facts;
use super::shift::{ANSWERS_LEAST, Shifts, is_lost, is_well};
use crate::catalog::{Drilling, ManagedShift};
use crate::model::{Drill, DrillCounts, DrillOutcome, Plan, Region, RegionName, ShiftKind, ShiftPolicy};

/// How late a drill may begin that something was against when it was due. Then it is skipped.
const LATE_MAX: Duration = Duration::from_secs(900);
/// One that is later still was nobody's to skip: nobody led then, or it was not asked for yet.
const SKIPPED_WITHIN: Duration = Duration::from_secs(1_800);

impl Shifts {
    /// What is to be written of drills: that the one under way is over, or that one which is due is held or not.
    pub(super) fn drill(&self, policy: &ShiftPolicy, facts: &Facts<'_>) -> Option<Drilling> {
        let shifts = facts.managed.shifts.iter().filter(|(_, shift)| shift.kind == ShiftKind::Drill);
        let shifts = shifts.filter(|(name, _)| self.is_open(name));
        let mut ends = shifts.filter_map(|(name, shift)| self.end_drill(name, shift, policy, facts));
        ends.next().or_else(|| {
            let mut open = facts.catalog.regions().iter().filter(|region| self.is_open(&region.name));
            open.find_map(|region| due(region, facts))
        })
    }

    fn end_drill(
        &self,
        name: &RegionName,
        shift: &ManagedShift,
        policy: &ShiftPolicy,
        facts: &Facts<'_>,
    ) -> Option<Drilling> {
        let counted = self.counted_since(name, shift, facts)?;
        let is_over = shift.until_ms.is_some_and(|until_ms| until_ms <= facts.wall_now_ms);
        // What the region meets is what the others would meet without a drill.
        let is_worse = counted.elsewhere.is_worse_than(counted.here, policy);
        let wrong = against(name, shift.to.as_ref(), Some(shift.begun), facts)
            .or_else(|| is_worse.then(|| "the others answered worse".to_owned()));
        let (outcome, why) = match wrong {
            Some(wrong) => (DrillOutcome::Stopped, format!("{wrong}; {counted}")),
            None if !is_over => return None,
            None if counted.elsewhere.answers < ANSWERS_LEAST => {
                (DrillOutcome::Inconclusive, format!("too few answers elsewhere to say anything; {counted}"))
            }
            None => (DrillOutcome::Passed, counted.to_string()),
        };
        let counts = DrillCounts {
            answers_here: counted.here.answers,
            errors_here: counted.here.errors,
            answers_elsewhere: counted.elsewhere.answers,
            errors_elsewhere: counted.elsewhere.errors,
        };
        Some(Drilling::End { region: name.clone(), begun: shift.begun, outcome, why, counts })
    }
}

/// Whether a region's drill is due, and held or not.
fn due(region: &Region, facts: &Facts<'_>) -> Option<Drilling> {
    let scheduled = region.drill.as_ref()?;
    let now = jiff::Timestamp::from_millisecond(i64::try_from(facts.wall_now_ms).ok()?).ok()?;
    let scheduled_ms = u64::try_from(scheduled.at.last(now)?.as_millisecond()).ok()?;
    let last = facts.managed.drills.get(&region.name);
    if last.is_some_and(|drill| drill.ended.is_none()) {
        // One by hand that lasts longer.
        return None;
    }
    let was_dealt_with = last.and_then(|drill| drill.scheduled_ms);
    let late = Duration::from_millis(facts.wall_now_ms.saturating_sub(scheduled_ms));
    if was_dealt_with >= Some(scheduled_ms) || late >= SKIPPED_WITHIN {
        return None;
    }
    let Drill { percent, lasts, to } = &scheduled.drill;
    let wrong = if facts.is_checked {
        against(&region.name, to.as_ref(), None, facts)
    } else {
        Some("not every node was checked yet".to_owned())
    };
    match wrong {
        None => Some(Drilling::Begin {
            region: region.name.clone(),
            to: to.clone(),
            percent: *percent,
            duration_ms: u64::try_from(lasts.as_millis()).unwrap_or(u64::MAX),
            scheduled_ms: Some(scheduled_ms),
        }),
        Some(_) if late < LATE_MAX => None,
        Some(why) => Some(Drilling::Skip { region: region.name.clone(), scheduled_ms, why }),
    }
}

/// What is against holding a drill, or going on with the one that began with that revision.
fn against(name: &RegionName, to: Option<&RegionName>, begun: Option<u64>, facts: &Facts<'_>) -> Option<String> {
    let others_shift = facts.managed.shifts.iter().find(|(_, shift)| Some(shift.begun) != begun);
    if let Some((shifted, _)) = others_shift {
        return Some(format!("traffic of region \"{shifted}\" is held away from it"));
    }
    if let Some(moving) =
        facts.managed.intents.values().find(|intent| intent.plan == Plan::Move && intent.is_under_way())
    {
        return Some(format!("node \"{}\" is being moved", moving.node));
    }
    let is_weak = |name: &RegionName| facts.regions.get(name).is_none_or(|region| !is_well(*region));
    if let Some(weak) = std::iter::once(name).chain(to).find(|name| is_weak(name)) {
        return Some(format!("fewer than half of the nodes of region \"{weak}\" can be used"));
    }
    let mut others = facts.regions.iter().filter(|(other, _)| *other != name).peekable();
    if others.peek().is_none() {
        return Some("there is no other region".to_owned());
    }
    let lost = others.find(|(_, region)| is_lost(**region));
    lost.map(|(lost, _)| format!("none of the nodes of region \"{lost}\" can be used"))
}
