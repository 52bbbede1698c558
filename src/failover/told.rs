//! What another catalog says that has happened: every peer reads the same, so each can tell it, whoever led.

use crate::catalog::{Intent, Managed, ManagedShift};
use crate::model::{DrillTold, Event, Happened, IntentId, PeerId, PlanTold, RegionName, ShiftTold, Step};

/// What happened between two catalogs, in its order.
pub fn told(before: &Managed, after: &Managed, own: &PeerId, now_ms: u64) -> Vec<Event> {
    let mut events = Vec::new();
    let mut tell = |id: String, at_ms: u64, happened: Happened| {
        events.push(Event { id, at_ms, peer: own.clone(), happened });
    };
    for (id, intent) in &after.intents {
        steps(*id, intent, before.intents.get(id), &mut tell);
    }
    let known = before.attempts.last().map(|attempt| attempt.id);
    // Plans of different regions may end in another order than they began.
    let is_known = |id: IntentId| before.attempts.iter().any(|attempt| attempt.id == id);
    for attempt in after.attempts.iter().filter(|attempt| known.is_none() || !is_known(attempt.id)) {
        steps(attempt.id, &attempt.intent, before.intents.get(&attempt.id), &mut tell);
        let ended = Happened::PlanEnded {
            plan: of_intent(attempt.id, &attempt.intent),
            outcome: attempt.outcome,
            failure: attempt.intent.failure.clone(),
            steps: attempt.intent.steps.clone(),
            took_ms: attempt.ended_ms.saturating_sub(attempt.intent.at_ms()),
        };
        tell(format!("{}-end", attempt.id), attempt.ended_ms, ended);
    }
    for (region, shift) in &after.shifts {
        match before.shifts.get(region).filter(|known| known.begun == shift.begun) {
            None => {
                let told = of_shift(region, shift);
                tell(format!("shift-{}", shift.begun), shift.at_ms, Happened::ShiftBegun(told));
            }
            Some(known) if (known.stays_percent, known.is_returning) != (shift.stays_percent, shift.is_returning) => {
                let id = format!("shift-{}-{}-{}", shift.begun, shift.step_ms, shift.stays_percent);
                tell(id, shift.step_ms, Happened::ShiftTurned(of_shift(region, shift)));
            }
            Some(_) => {}
        }
    }
    for (region, shift) in &before.shifts {
        // Where another one took its place, the begin of that says so.
        if !after.shifts.contains_key(region) {
            tell(format!("shift-{}-end", shift.begun), now_ms, Happened::ShiftEnded(of_shift(region, shift)));
        }
    }
    for (region, drill) in &after.drills {
        let Some(end) = &drill.ended else { continue };
        if before.drills.get(region).is_some_and(|known| known.ended.as_ref() == Some(end)) {
            continue;
        }
        let told = DrillTold {
            region: region.clone(),
            outcome: end.outcome,
            why: end.why.clone(),
            begun: drill.begun,
            by: drill.by.clone(),
            counts: end.counts,
        };
        tell(format!("drill-{region}-{}", end.at_ms), end.at_ms, Happened::DrillEnded(told));
    }
    events.sort_by_key(|event| event.at_ms);
    events
}

/// The begin of a plan, and each step that it has taken since.
fn steps(id: IntentId, intent: &Intent, before: Option<&Intent>, tell: &mut impl FnMut(String, u64, Happened)) {
    let known = before.map_or(0, |before| before.steps.len());
    for (at, taken) in intent.steps.iter().enumerate().skip(known) {
        if at == 0 {
            tell(format!("{id}-begin"), taken.at_ms, Happened::PlanBegun(of_intent(id, intent)));
            continue;
        }
        let failure = intent.failure.clone().filter(|_| matches!(taken.step, Step::Undo | Step::Abandoned));
        let (node, region) = (intent.node.clone(), intent.region.clone());
        let step = Happened::PlanStep { intent: id, node, region, step: taken.step, failure, term: taken.term };
        tell(format!("{id}-{at}-{}", taken.step.name()), taken.at_ms, step);
    }
}

fn of_intent(id: IntentId, intent: &Intent) -> PlanTold {
    PlanTold {
        intent: id,
        plan: intent.plan,
        node: intent.node.clone(),
        pool: intent.pool.clone(),
        region: intent.region.clone(),
        trigger: intent.trigger.clone(),
        evidence: intent.evidence.clone(),
        by: intent.by.clone(),
        from: intent.from.clone(),
        to: intent.to.clone(),
        executor: intent.executor.clone(),
        candidates: intent.candidates.clone(),
        term: intent.steps.first().map_or(0, |taken| taken.term),
    }
}

fn of_shift(region: &RegionName, shift: &ManagedShift) -> ShiftTold {
    ShiftTold {
        region: region.clone(),
        shift: shift.kind,
        begun: shift.begun,
        to: shift.to.clone(),
        stays_percent: shift.stays_percent,
        taken_back: shift.taken_back,
        by: shift.by.clone(),
        why: shift.why.clone(),
    }
}
