//! Resources of the catalog one by one: made, read as users wrote them, changed, deleted; and nodes drained.

use std::time::Duration;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get, post};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::error::ApiError;
use super::list::{Page, Params};
use super::router::Asked;
use super::timestamp::of_ms;
use super::writing::{Asking, body, object, tagged};
use crate::catalog::{Applied, Change, Etag, Kind, Mode, Name, Object, Source, Written, all, find};
use crate::host;
use crate::model::{DrainLeft, NodeId, PeerId};
use crate::peer::Handles;

/// The list of a kind that has no view of its own.
pub(super) fn listed(kind: Kind) -> MethodRouter<Asked> {
    get(move |State(handles): State<Handles>, uri: Uri| list(kind, handles, uri)).merge(made(kind))
}

/// One of a kind that has no view of its own.
pub(super) fn one_of(kind: Kind) -> MethodRouter<Asked> {
    get(move |State(handles): State<Handles>, Path(id): Path<String>, uri: Uri| one(kind, handles, id, uri))
        .merge(changed(kind))
}

/// Making one.
pub(super) fn made(kind: Kind) -> MethodRouter<Asked> {
    post(move |State(handles): State<Handles>, uri: Uri, asking: Asking, body: Bytes| async move {
        let params = Params::of(&uri, if kind == Kind::Node { &["pool"] } else { &[] })?;
        let pool = params.get("pool").map(str::to_owned);
        create(kind, &handles, pool, asking, &body).await
    })
}

/// Changing and deleting one.
pub(super) fn changed(kind: Kind) -> MethodRouter<Asked> {
    let put = move |State(handles): State<Handles>, Path(id): Path<String>, uri: Uri, asking: Asking, body: Bytes| async move {
        let params = Params::of(&uri, if kind == Kind::Node { &["pool"] } else { &[] })?;
        let pool = params.get("pool").map(str::to_owned);
        let (mode, content) = (asking.mode, object(&body)?);
        let name = Name { kind, id };
        let change = Change::Put { name: name.clone(), pool, content, mode };
        Ok::<_, ApiError>(put_done(&name, asking.write(&handles, change).await?))
    };
    let delete = move |State(handles): State<Handles>, Path(id): Path<String>, uri: Uri, asking: Asking| async move {
        Params::of(&uri, &[])?;
        let change = Change::Delete { name: Name { kind, id } };
        Ok::<_, ApiError>(Json(asking.write(&handles, change).await?).into_response())
    };
    axum::routing::put(put).delete(delete)
}

/// `POST /api/v1/pools/{pool}/nodes`
pub(super) async fn add_node(
    State(handles): State<Handles>,
    Path(pool): Path<String>,
    uri: Uri,
    asking: Asking,
    body: Bytes,
) -> Result<Response, ApiError> {
    Params::of(&uri, &[])?;
    create(Kind::Node, &handles, Some(pool), asking, &body).await
}

async fn create(
    kind: Kind,
    handles: &Handles,
    pool: Option<String>,
    asking: Asking,
    body: &Bytes,
) -> Result<Response, ApiError> {
    let content = object(body)?;
    let Some(Value::String(id)) = content.get(kind.id_key()).cloned() else {
        return Err(ApiError::bad_body(format!("a new {kind} needs a text `{}`", kind.id_key())));
    };
    let name = Name { kind, id };
    let change = Change::Put { name: name.clone(), pool, content, mode: Mode::Create };
    let written = asking.write(handles, change).await?;
    // Sent again, it is answered as it was the first time.
    Ok(put_done(&name, Written { created: true, ..written }))
}

/// The answer to a put that is done: its ETag is that of the resource, which is what the next `If-Match` has to say.
fn put_done(name: &Name, written: Written) -> Response {
    let etag = written.resource_etag;
    let created = written.created;
    let mut response = Json(written).into_response();
    if created {
        *response.status_mut() = StatusCode::CREATED;
        if let Ok(at) = HeaderValue::from_str(&path_of(name)) {
            response.headers_mut().insert(header::LOCATION, at);
        }
    }
    tagged(response, etag)
}

/// Where a resource is found.
fn path_of(Name { kind, id }: &Name) -> String {
    format!("/api/v1/{kind}s/{id}")
}

async fn list(kind: Kind, handles: Handles, uri: Uri) -> Result<Response, ApiError> {
    let params = Params::of(&uri, &Page::PARAMS)?;
    let page = Page::of(&params)?;
    let applied = handles.agreed.catalog.applied();
    let resources = all(applied.desired(), kind);
    Ok(page.reply(resources, |(id, ..)| *id, |(_, _, resource)| Value::Object((*resource).clone()), &handles))
}

async fn one(kind: Kind, handles: Handles, id: String, uri: Uri) -> Result<Response, ApiError> {
    Params::of(&uri, &[])?;
    let applied = handles.agreed.catalog.applied();
    let name = Name { kind, id };
    let Some((_, resource)) = find(applied.desired(), &name) else {
        let known = all(applied.desired(), kind).into_iter().map(|(id, ..)| id);
        return Err(ApiError::unknown(kind.key(), &name.id, known));
    };
    Ok(tagged(Json(resource).into_response(), Some(Etag::of(resource))))
}

/// What is shown of a resource, and beside it what users wrote of it, with its ETag for `If-Match`.
#[derive(Serialize)]
struct Beside<'a, S> {
    #[serde(flatten)]
    shown: S,
    /// `null` for a moment after the catalog has changed: what is shown is of the one before.
    desired: Option<&'a Object>,
}

/// The answer that shows a pool or a node, as it is and as users wrote it.
pub(super) fn beside(applied: Option<&Applied>, kind: Kind, id: &str, shown: impl Serialize) -> Response {
    let name = Name { kind, id: id.to_owned() };
    let desired = applied.and_then(|applied| find(applied.desired(), &name)).map(|(_, resource)| resource);
    tagged(Json(Beside { shown, desired }).into_response(), desired.map(Etag::of))
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Drain {
    /// How long the old work may take; left out: as long as it takes.
    #[serde(default)]
    timeout: Option<String>,
}

/// `POST /api/v1/nodes/{node}/drain`
pub(super) async fn drain(
    State(handles): State<Handles>,
    Path(id): Path<String>,
    uri: Uri,
    asking: Asking,
    bytes: Bytes,
) -> Result<Response, ApiError> {
    Params::of(&uri, &[])?;
    let Drain { timeout } = if bytes.is_empty() { Drain::default() } else { body(&bytes)? };
    let timeout_ms = timeout.map(|text| drain_timeout(&text)).transpose()?;
    let timeout_ms = timeout_ms.map(|timeout| u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX));
    let change = Change::Drain { node: node(&handles, &id)?, timeout_ms };
    Ok(Json(asking.write(&handles, change).await?).into_response())
}

/// `POST /api/v1/nodes/{node}/undrain`
pub(super) async fn undrain(
    State(handles): State<Handles>,
    Path(id): Path<String>,
    uri: Uri,
    asking: Asking,
) -> Result<Response, ApiError> {
    Params::of(&uri, &[])?;
    let change = Change::Undrain { node: node(&handles, &id)? };
    Ok(Json(asking.write(&handles, change).await?).into_response())
}

fn node(handles: &Handles, id: &str) -> Result<NodeId, ApiError> {
    let view = handles.view.load();
    let ids = || view.pools().flat_map(|pool| pool.nodes.iter().map(|node| node.node.id.as_str()));
    id.parse().map_err(|_| ApiError::unknown("node", id, ids()))
}

fn drain_timeout(text: &str) -> Result<Duration, ApiError> {
    crate::document::duration(text, Duration::ZERO, Duration::from_secs(7 * 24 * 3_600))
        .map_err(|why| ApiError::bad_body(format!("timeout: {why}")))
}

/// How far the drain of a node is: what is left at every peer, and who does not say. `None`: it does not drain.
pub(super) async fn progress(handles: &Handles, id: &NodeId) -> Option<Value> {
    let applied = handles.agreed.catalog.applied();
    let Source::Committed { body, .. } = &applied.source else { return None };
    let managed = body.managed.nodes.get(id).filter(|node| node.is_draining())?;
    let cut_at = handles.view.load().node(id).and_then(|(_, node)| node.cut_at());
    let left = handles.drain_left(id).await;
    let silent: Vec<&PeerId> = left.iter().filter(|(_, left)| left.is_none()).map(|(peer, _)| peer).collect();
    let known = || left.iter().filter_map(|(peer, left)| Some((peer, (*left)?)));
    let by_peer: Vec<Value> = known()
        .filter(|(_, left)| *left != DrainLeft::default())
        .map(|(peer, left)| json!({ "peer": peer, "in_flight": left.in_flight, "cut": left.cut }))
        .collect();
    let cut_in = cut_at.map(|at| at.saturating_duration_since(host::now()).as_millis());
    Some(json!({
        "since": of_ms(managed.at_ms),
        "by": managed.by,
        "timeout_ms": managed.drain_timeout_ms,
        "cut_in_ms": cut_in.map(|ms| u64::try_from(ms).unwrap_or(u64::MAX)),
        "in_flight": known().map(|(_, left)| u64::from(left.in_flight)).sum::<u64>(),
        "cut": known().map(|(_, left)| left.cut).sum::<u64>(),
        "by_peer": by_peer,
        "missing_peers": silent,
    }))
}
