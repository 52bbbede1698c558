//! How failover stands: what is carried out, what became of the last plans, what is shifted, moved, started and blacklisted.

use std::collections::{BTreeMap, BTreeSet};

use axum::Json;
use axum::extract::State;
use axum::http::Uri;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::managed;
use crate::api::error::ApiError;
use crate::api::list::Params;
use crate::api::timestamp::of_ms;
use crate::catalog::{Attempt, Intent, Managed, ManagedDrill, ManagedShift};
use crate::host;
use crate::model::{Catalog, IntentId, RegionName, ScheduledDrill};
use crate::peer::Handles;

/// `GET /api/v1/failover`, and the same under the names of the systems that Evenkeel takes over from.
pub(in crate::api) async fn status(State(handles): State<Handles>, uri: Uri) -> Result<Response, ApiError> {
    Params::of(&uri, &[])?;
    let applied = handles.agreed.catalog.applied();
    let standing = handles.agreed.standing();
    let none = Managed::default();
    let managed = managed(&applied).unwrap_or(&none);
    let now_ms = host::wall_now_ms();
    let policy = applied.catalog.shift_policy();
    let failed = |attempt: &&Attempt| attempt.outcome != crate::model::PlanOutcome::Done;
    let pools = applied.catalog.pools().iter().filter(|pool| pool.failover.is_some() || pool.scaling.is_some());
    let pools: Vec<Value> = pools
        .map(|pool| {
            json!({
                "pool": pool.name,
                "failover": pool.failover.as_ref().map(|failover| json!({
                    "enabled": failover.enabled,
                    "driver": failover.by.name(),
                    "mode": failover.mode,
                    "moves_per_hour": failover.moves_per_hour,
                    "cooldown_s": failover.cooldown.as_secs(),
                })),
                "scaling": pool.scaling.as_ref().map(|scaling| json!({
                    "enabled": scaling.enabled,
                    "driver": scaling.driver,
                    "min_nodes": scaling.min_nodes,
                    "max_nodes": scaling.max_nodes,
                })),
            })
        })
        .collect();
    let shown = json!({
        "leader": standing.leader(&handles.id),
        "term": standing.term,
        "plans": managed.intents.iter().map(|(id, intent)| of_intent(*id, intent)).collect::<Vec<_>>(),
        "attempts": managed.attempts.iter().rev().map(of_attempt).collect::<Vec<_>>(),
        "attempts_failed": managed.attempts.iter().filter(failed).count(),
        "shifts": managed.shifts.iter().map(|(region, shift)| of_shift(region, shift)).collect::<Vec<_>>(),
        "shifts_enabled": policy.enabled,
        "drills": drills(&applied.catalog, managed, now_ms),
        "moved": managed.nodes.iter().filter_map(|(id, node)| {
            let moved = node.moved.as_ref()?;
            Some(json!({ "node": id, "server": moved.server, "address": moved.address, "intent": moved.intent }))
        }).collect::<Vec<_>>(),
        "started": managed.started.iter().map(|(id, started)| json!({
            "node": id,
            "pool": started.pool,
            "region": started.region,
            "address": started.address,
            "peer": started.executor,
            "at": of_ms(started.at_ms),
        })).collect::<Vec<_>>(),
        "blacklisted": managed.servers.iter().filter(|(_, said)| said.is_blacklisted(now_ms)).map(|(id, said)| json!({
            "server": id,
            "until": said.blacklisted_until_ms.map(of_ms),
            "reason": said.reason,
            "by": said.by,
        })).collect::<Vec<_>>(),
        "pools": pools,
        "as_of": of_ms(now_ms),
    });
    Ok(Json(shown).into_response())
}

/// Of every region that has a drill, or had one: when the next is due, and what came of the last one.
fn drills(catalog: &Catalog, managed: &Managed, now_ms: u64) -> Vec<Value> {
    let scheduled: BTreeMap<&RegionName, &ScheduledDrill> =
        catalog.regions().iter().filter_map(|region| Some((&region.name, region.drill.as_ref()?))).collect();
    let names: BTreeSet<&RegionName> = scheduled.keys().copied().chain(managed.drills.keys()).collect();
    let shown = names.into_iter().map(|name| {
        let next_ms = scheduled.get(name).and_then(|scheduled| {
            let now = jiff::Timestamp::from_millisecond(i64::try_from(now_ms).ok()?).ok()?;
            u64::try_from(scheduled.at.next(now)?.as_millisecond()).ok()
        });
        json!({
            "region": name,
            "next": next_ms.map(of_ms),
            "last": managed.drills.get(name).map(of_drill),
        })
    });
    shown.collect()
}

fn of_drill(drill: &ManagedDrill) -> Value {
    let mut shown = json!({
        "began": drill.begun.map(|_| of_ms(drill.at_ms)),
        "by": drill.by,
        "outcome": null,
    });
    if let (Some(shown), Some(end)) = (shown.as_object_mut(), &drill.ended) {
        shown.insert("ended".to_owned(), json!(of_ms(end.at_ms)));
        shown.insert("outcome".to_owned(), json!(end.outcome));
        shown.insert("why".to_owned(), json!(end.why));
        if let Ok(Value::Object(counts)) = serde_json::to_value(end.counts) {
            shown.extend(counts);
        }
    }
    shown
}

fn of_intent(id: IntentId, intent: &Intent) -> Value {
    let steps: Vec<Value> = intent
        .steps
        .iter()
        .map(|taken| json!({ "step": taken.step, "at": of_ms(taken.at_ms), "term": taken.term }))
        .collect();
    json!({
        "intent": id,
        "plan": intent.plan,
        "node": intent.node,
        "pool": intent.pool,
        "region": intent.region,
        "step": intent.step,
        "mode": intent.mode,
        "driver": intent.driver.as_ref().map_or(crate::model::By::STATIC, |driver| driver.as_str()),
        "executor": intent.executor,
        "from": intent.from,
        "from_address": intent.from_address,
        "to": intent.to,
        "address": intent.address,
        "trigger": intent.trigger,
        "evidence": intent.evidence,
        "by": intent.by,
        "candidates": intent.candidates,
        "steps": steps,
        "failure": intent.failure,
    })
}

fn of_attempt(attempt: &Attempt) -> Value {
    let mut shown = of_intent(attempt.id, &attempt.intent);
    if let Some(shown) = shown.as_object_mut() {
        shown.insert("outcome".to_owned(), json!(attempt.outcome));
        shown.insert("ended".to_owned(), json!(of_ms(attempt.ended_ms)));
    }
    shown
}

fn of_shift(region: &RegionName, shift: &ManagedShift) -> Value {
    json!({
        "region": region,
        "kind": shift.kind,
        "to": shift.to,
        "stays_percent": shift.stays_percent,
        "returning": shift.is_returning,
        "taken_back": shift.taken_back,
        "since": of_ms(shift.at_ms),
        "step_since": of_ms(shift.step_ms),
        "until": shift.until_ms.map(of_ms),
        "by": shift.by,
        "why": shift.why,
    })
}
