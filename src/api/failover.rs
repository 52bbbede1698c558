//! Failover by hand, and how it stands: nodes moved, regions shifted, pools scaled, servers that are not to be used.

use std::time::Duration;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};

use super::error::ApiError;
use super::list::Params;
use super::timestamp::of_ms;
use super::writing::{Asking, body};
use crate::catalog::{Applied, Attempt, Change, Intent, Managed, ManagedShift, Shifting, Source};
use crate::failover::{Answered, Operation, Refused, What};
use crate::host;
use crate::model::{IntentId, Mode, NodeId, PoolName, RegionName, ServerId, ShiftKind};
use crate::peer::Handles;

/// The longest that an operator's shift, or a server's place on the blacklist, may last.
const DURATION_MAX: Duration = Duration::from_secs(30 * 24 * 3_600);

/// `GET /api/v1/failover`, and the same under the names of the systems that Evenkeel takes over from.
pub(super) async fn status(State(handles): State<Handles>, uri: Uri) -> Result<Response, ApiError> {
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

fn managed(applied: &Applied) -> Option<&Managed> {
    match &applied.source {
        Source::File { .. } => None,
        Source::Committed { body, .. } => Some(&body.managed),
    }
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

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct MoveAsked {
    #[serde(default)]
    to: Option<String>,
    #[serde(default)]
    mode: Option<Mode>,
    #[serde(default)]
    ignore_limits: bool,
}

/// `POST /api/v1/nodes/{node}/move`, and `/api/failover/force/{node}`
pub(super) async fn move_node(
    State(handles): State<Handles>,
    Path(id): Path<String>,
    uri: Uri,
    asking: Asking,
    bytes: Bytes,
) -> Result<Response, ApiError> {
    Params::of(&uri, &[])?;
    let MoveAsked { to, mode, ignore_limits } = if bytes.is_empty() { MoveAsked::default() } else { body(&bytes)? };
    let view = handles.view.load();
    let ids = || view.pools().flat_map(|pool| pool.nodes.iter().map(|node| node.node.id.as_str()));
    let node: NodeId = id.parse().map_err(|_| ApiError::unknown("node", &id, ids()))?;
    let to = to.map(|to| server(&handles, &to)).transpose()?;
    operate(&handles, asking, What::Move { node, to, mode, ignores_limits: ignore_limits }).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ScaleAsked {
    region: String,
    direction: Direction,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Direction {
    Up,
    Down,
}

/// `POST /api/v1/pools/{pool}/scale`
pub(super) async fn scale(
    State(handles): State<Handles>,
    Path(pool): Path<String>,
    uri: Uri,
    asking: Asking,
    bytes: Bytes,
) -> Result<Response, ApiError> {
    Params::of(&uri, &[])?;
    let ScaleAsked { region, direction } = body(&bytes)?;
    let pool = pool_of(&handles, &pool)?;
    let region =
        region.parse().map_err(|_| ApiError::bad_body(format!("region: {region:?} is no name of a region")))?;
    operate(&handles, asking, What::Scale { pool, region, up: matches!(direction, Direction::Up) }).await
}

/// `POST /api/load-balancer/scale-up/{country}`
pub(super) async fn scale_up(
    State(handles): State<Handles>,
    Path(country): Path<String>,
    uri: Uri,
    asking: Asking,
) -> Result<Response, ApiError> {
    scale_country(&handles, &country, &uri, asking, true).await
}

/// `POST /api/load-balancer/scale-down/{country}`
pub(super) async fn scale_down(
    State(handles): State<Handles>,
    Path(country): Path<String>,
    uri: Uri,
    asking: Asking,
) -> Result<Response, ApiError> {
    scale_country(&handles, &country, &uri, asking, false).await
}

/// A country is a region; its pool is the one that is scaled there, or the one that is named.
async fn scale_country(
    handles: &Handles,
    country: &str,
    uri: &Uri,
    asking: Asking,
    up: bool,
) -> Result<Response, ApiError> {
    let params = Params::of(uri, &["pool"])?;
    let region: RegionName = region(handles, country)?;
    let applied = handles.agreed.catalog.applied();
    let pool = match params.get("pool") {
        Some(pool) => pool_of(handles, pool)?,
        None => {
            let scaled: Vec<_> = applied.catalog.pools().iter().filter(|pool| pool.scaling.is_some()).collect();
            match &scaled[..] {
                [pool] => pool.name.clone(),
                [] => {
                    return Err(ApiError::bad_query("no pool is scaled", "write `scaling` of a pool, with its driver"));
                }
                _ => {
                    let names: Vec<&str> = scaled.iter().map(|pool| pool.name.as_str()).collect();
                    let hint = format!("add ?pool= with one of {}", names.join(", "));
                    return Err(ApiError::bad_query("more than one pool is scaled", hint));
                }
            }
        }
    };
    operate(handles, asking, What::Scale { pool, region, up }).await
}

/// `POST /api/v1/failover/plans/{intent}/resolve`
pub(super) async fn resolve(
    State(handles): State<Handles>,
    Path(intent): Path<String>,
    uri: Uri,
    asking: Asking,
) -> Result<Response, ApiError> {
    Params::of(&uri, &[])?;
    let applied = handles.agreed.catalog.applied();
    let known: Vec<String> =
        managed(&applied).map(|managed| managed.intents.keys().map(ToString::to_string).collect()).unwrap_or_default();
    let id = intent.parse().map_err(|_| ApiError::unknown("plan", &intent, known.iter().map(String::as_str)))?;
    operate(&handles, asking, What::Resolve { intent: id }).await
}

async fn operate(handles: &Handles, asking: Asking, what: What) -> Result<Response, ApiError> {
    let by = asking.author()?.as_str().to_owned();
    match handles.agreed.failover.operate(Operation { what, by }).await {
        Answered::Planned { intent, node, to, candidates } => {
            let shown = json!({ "intent": intent, "node": node, "to": to, "candidates": candidates });
            Ok((StatusCode::ACCEPTED, Json(shown)).into_response())
        }
        Answered::Resolved { intent } => Ok(Json(json!({ "intent": intent, "outcome": "resolved" })).into_response()),
        Answered::Refused(refused) => Err(refused_of(refused)),
    }
}

fn refused_of(refused: Refused) -> ApiError {
    let message = refused.to_string();
    match refused {
        Refused::NotFound { message } => ApiError::write(
            StatusCode::NOT_FOUND,
            "not_found",
            message,
            "GET /api/v1/nodes and /api/v1/failover show what is there",
        ),
        Refused::Against { constraint, candidates, .. } => {
            let hint = match constraint.as_str() {
                "moves_per_hour" | "cooldown" => "wait, or send {\"ignore_limits\": true}",
                "candidates" => "`against.candidates` says what was found of each server",
                "one_plan_in_a_region" => "GET /api/v1/failover shows it; ask again when it is over",
                _ => "GET /api/v1/failover shows how things stand",
            };
            ApiError::write(StatusCode::CONFLICT, "refused", message, hint)
                .with("against", json!({ "constraint": constraint, "candidates": candidates }))
        }
        Refused::Unavailable { message } => ApiError::write(
            StatusCode::SERVICE_UNAVAILABLE,
            "no_leader",
            message,
            "nothing was done; ask again in a second",
        )
        .retry_after(1),
        Refused::NotLeading => {
            let hint = "nothing was done; ask again in a second";
            ApiError::write(StatusCode::SERVICE_UNAVAILABLE, "no_leader", "nobody leads at this moment", hint)
                .retry_after(1)
        }
        Refused::OutcomeUnknown => {
            let hint = "GET /api/v1/failover shows whether there is a plan";
            ApiError::write(StatusCode::SERVICE_UNAVAILABLE, "outcome_unknown", message, hint).retry_after(1)
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Trigger {
    from_region: String,
    #[serde(default)]
    to_region: Option<String>,
    #[serde(default)]
    duration: Option<String>,
    #[serde(default)]
    reason: Option<String>,
}

/// `POST /api/v1/lb/failover/trigger`
pub(super) async fn trigger(
    State(handles): State<Handles>,
    uri: Uri,
    asking: Asking,
    bytes: Bytes,
) -> Result<Response, ApiError> {
    Params::of(&uri, &[])?;
    let Trigger { from_region, to_region, duration, reason } = body(&bytes)?;
    let asked = ShiftAsked { to: to_region, percent: None, duration, reason };
    begin_shift(&handles, &from_region, asking, asked).await
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct ShiftAsked {
    /// Where the traffic goes first.
    #[serde(default)]
    to: Option<String>,
    /// How much of it; left out: all.
    #[serde(default)]
    percent: Option<u8>,
    /// How long.
    #[serde(default)]
    duration: Option<String>,
    #[serde(default)]
    reason: Option<String>,
}

/// `POST /api/v1/regions/{region}/shift`
pub(super) async fn shift(
    State(handles): State<Handles>,
    Path(name): Path<String>,
    uri: Uri,
    asking: Asking,
    bytes: Bytes,
) -> Result<Response, ApiError> {
    Params::of(&uri, &[])?;
    let asked = if bytes.is_empty() { ShiftAsked::default() } else { body(&bytes)? };
    begin_shift(&handles, &name, asking, asked).await
}

async fn begin_shift(handles: &Handles, name: &str, asking: Asking, asked: ShiftAsked) -> Result<Response, ApiError> {
    let ShiftAsked { to, percent, duration, reason } = asked;
    let percent = percent.unwrap_or(100);
    if !(1..=100).contains(&percent) {
        return Err(ApiError::bad_body(format!("percent: {percent} cannot be held away; 1 to 100 can")));
    }
    let default = handles.agreed.catalog.applied().catalog.shift_policy().manual;
    let duration = lasts(duration)?.unwrap_or(default);
    let to = to.map(|to| region(handles, &to)).transpose()?;
    let shifting = Shifting::Begin {
        region: region(handles, name)?,
        kind: ShiftKind::Operator,
        to,
        stays_percent: 100 - percent,
        duration_ms: Some(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)),
        why: words("reason", reason)?,
    };
    let written = asking.write(handles, Change::Shift(shifting)).await?;
    Ok(Json(written).into_response())
}

/// `DELETE /api/v1/regions/{region}/shift`
pub(super) async fn unshift(
    State(handles): State<Handles>,
    Path(name): Path<String>,
    uri: Uri,
    asking: Asking,
) -> Result<Response, ApiError> {
    Params::of(&uri, &[])?;
    let change = Change::Shift(Shifting::End { region: region(&handles, &name)?, begun: None });
    Ok(Json(asking.write(&handles, change).await?).into_response())
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Blacklist {
    /// How long; left out: until somebody says otherwise.
    #[serde(default)]
    duration: Option<String>,
    #[serde(default)]
    reason: Option<String>,
}

/// `POST /api/v1/servers/{server}/blacklist`
pub(super) async fn blacklist(
    State(handles): State<Handles>,
    Path(id): Path<String>,
    uri: Uri,
    asking: Asking,
    bytes: Bytes,
) -> Result<Response, ApiError> {
    Params::of(&uri, &[])?;
    let Blacklist { duration, reason } = if bytes.is_empty() { Blacklist::default() } else { body(&bytes)? };
    let duration_ms = lasts(duration)?.map(|duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX));
    let change = Change::Blacklist { server: server(&handles, &id)?, duration_ms, reason: words("reason", reason)? };
    Ok(Json(asking.write(&handles, change).await?).into_response())
}

/// `DELETE /api/v1/servers/{server}/blacklist`
pub(super) async fn unblacklist(
    State(handles): State<Handles>,
    Path(id): Path<String>,
    uri: Uri,
    asking: Asking,
) -> Result<Response, ApiError> {
    Params::of(&uri, &[])?;
    let change = Change::Unblacklist { server: server(&handles, &id)? };
    Ok(Json(asking.write(&handles, change).await?).into_response())
}

/// `GET /api/v1/servers/{server}/blacklist`
pub(super) async fn blacklisted(
    State(handles): State<Handles>,
    Path(id): Path<String>,
    uri: Uri,
) -> Result<Response, ApiError> {
    Params::of(&uri, &[])?;
    let server = server(&handles, &id)?;
    let applied = handles.agreed.catalog.applied();
    let now_ms = host::wall_now_ms();
    let said = managed(&applied).and_then(|managed| managed.servers.get(&server));
    let said = said.filter(|said| said.is_blacklisted(now_ms));
    let shown = json!({
        "server": server,
        "blacklisted": said.is_some(),
        "until": said.and_then(|said| said.blacklisted_until_ms).map(of_ms),
        "reason": said.map(|said| &said.reason),
        "by": said.map(|said| &said.by),
        "since": said.map(|said| of_ms(said.at_ms)),
    });
    Ok(Json(shown).into_response())
}

/// How long something is to last, where that is said.
fn lasts(duration: Option<String>) -> Result<Option<Duration>, ApiError> {
    let read = |text: String| {
        crate::document::duration(&text, Duration::from_secs(1), DURATION_MAX)
            .map_err(|why| ApiError::bad_body(format!("duration: {why}")))
    };
    duration.map(read).transpose()
}

/// Words of an operator, as far as the catalog keeps them.
fn words(key: &str, words: Option<String>) -> Result<String, ApiError> {
    let words = words.unwrap_or_default();
    let most = crate::model::limits::REASON_BYTES_MAX;
    if words.len() > most || words.chars().any(char::is_control) {
        return Err(ApiError::bad_body(format!("{key}: a text of one line, at most {most} bytes")));
    }
    Ok(words)
}

fn server(handles: &Handles, id: &str) -> Result<ServerId, ApiError> {
    let applied = handles.agreed.catalog.applied();
    let known = || applied.catalog.servers().iter().map(|server| server.id.as_str());
    let found = applied.catalog.servers().iter().find(|server| server.id.as_str() == id);
    found.map(|server| server.id.clone()).ok_or_else(|| ApiError::unknown("server", id, known()))
}

fn pool_of(handles: &Handles, name: &str) -> Result<PoolName, ApiError> {
    let applied = handles.agreed.catalog.applied();
    let known = || applied.catalog.pools().iter().map(|pool| pool.name.as_str());
    let found = applied.catalog.pools().iter().find(|pool| pool.name.as_str() == name);
    found.map(|pool| pool.name.clone()).ok_or_else(|| ApiError::unknown("pool", name, known()))
}

fn region(handles: &Handles, name: &str) -> Result<RegionName, ApiError> {
    let applied = handles.agreed.catalog.applied();
    let written = applied.catalog.regions().iter().map(|region| &region.name);
    let of_nodes = applied.catalog.nodes().filter_map(|(_, node)| node.region.as_ref());
    let known: std::collections::BTreeSet<&str> = written.chain(of_nodes).map(RegionName::as_str).collect();
    let found = name.parse().ok().filter(|_| known.contains(name));
    found.ok_or_else(|| ApiError::unknown("region", name, known.iter().copied()))
}
