//! Plans by hand: nodes moved, pools scaled, abandoned plans settled. The leader decides.

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::json;

use super::{managed, pool_of, region, server};
use crate::api::error::ApiError;
use crate::api::list::Params;
use crate::api::writing::{Asking, IDEMPOTENCY_KEY, body};
use crate::failover::{Answered, Operation, Refused, What};
use crate::model::{Mode, NodeId, RegionName};
use crate::peer::Handles;

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
pub(in crate::api) async fn move_node(
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
pub(in crate::api) async fn scale(
    State(handles): State<Handles>,
    Path(pool): Path<String>,
    uri: Uri,
    asking: Asking,
    bytes: Bytes,
) -> Result<Response, ApiError> {
    Params::of(&uri, &[])?;
    let ScaleAsked { region: name, direction } = body(&bytes)?;
    let pool = pool_of(&handles, &pool)?;
    let region = region(&handles, &name)?;
    operate(&handles, asking, What::Scale { pool, region, up: matches!(direction, Direction::Up) }).await
}

/// `POST /api/load-balancer/scale-up/{country}`
pub(in crate::api) async fn scale_up(
    State(handles): State<Handles>,
    Path(country): Path<String>,
    uri: Uri,
    asking: Asking,
) -> Result<Response, ApiError> {
    scale_country(&handles, &country, &uri, asking, true).await
}

/// `POST /api/load-balancer/scale-down/{country}`
pub(in crate::api) async fn scale_down(
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
pub(in crate::api) async fn resolve(
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
    if asking.is_keyed {
        let hint = "GET /api/v1/failover shows whether there is a plan already";
        return Err(ApiError::bad_field(IDEMPOTENCY_KEY, "a plan is made anew each time it is asked for", hint));
    }
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
                "under_way" => "wait until it is over, or until its peer is given up",
                "owner" => "start that peer again, or remove it from the cluster for good",
                "one_plan_in_a_region" => "GET /api/v1/failover shows it; ask again when it is over",
                _ => "GET /api/v1/failover shows how things stand",
            };
            ApiError::write(StatusCode::CONFLICT, "refused", message, hint)
                .with("against", json!({ "constraint": constraint, "candidates": candidates }))
        }
        Refused::Unavailable { message } => ApiError::no_leader(message),
        Refused::NotLeading => ApiError::no_leader("nobody leads at this moment"),
        Refused::OutcomeUnknown => {
            ApiError::unavailable("outcome_unknown", message, "GET /api/v1/failover shows whether there is a plan")
        }
    }
}
