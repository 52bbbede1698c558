//! Resources of the catalog one by one: made, read as users wrote them, changed, deleted; and nodes drained.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get, post};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::error::ApiError;
use super::list::{Page, Params};
use super::peers;
use super::router::Asked;
use super::timestamp::of_ms;
use super::writing::{Asking, body, object};
use crate::catalog::{Change, Etag, Kind, Mode, Name, Source, Written, all, find};
use crate::model::{NodeId, PeerId, PeerState};
use crate::peer::Handles;
use crate::wire::{Query, QueryAnswer};

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
        let written = asking.write(&handles, change).await?;
        Ok::<_, ApiError>(put_done(&handles, &name, StatusCode::OK, written))
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
    Ok(put_done(handles, &name, StatusCode::CREATED, written))
}

/// The answer to a put that is done: its ETag is that of the resource, which is what the next `If-Match` has to say.
fn put_done(handles: &Handles, name: &Name, status: StatusCode, written: Written) -> Response {
    let applied = handles.agreed.catalog.applied();
    let resource = find(applied.desired(), name).filter(|_| written.applied);
    let etag = resource.map(|(_, resource)| Etag::of(resource));
    let response = (status, Json(written)).into_response();
    match etag {
        Some(etag) => tagged(response, etag),
        None => response,
    }
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
    Ok(tagged(Json(resource).into_response(), Etag::of(resource)))
}

/// What is shown of a resource, with the ETag of what users wrote of it: for `If-Match`.
pub(super) fn with_etag(handles: &Handles, kind: Kind, id: &str, shown: impl Serialize) -> Response {
    let applied = handles.agreed.catalog.applied();
    let written = find(applied.desired(), &Name { kind, id: id.to_owned() });
    let response = Json(shown).into_response();
    match written {
        Some((_, resource)) => tagged(response, Etag::of(resource)),
        None => response,
    }
}

fn tagged(mut response: Response, etag: Etag) -> Response {
    if let Ok(etag) = HeaderValue::from_str(&format!("\"{etag}\"")) {
        response.headers_mut().insert(header::ETAG, etag);
    }
    response
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

/// How far the drain of a node is: what is left at every peer. Each is asked; who does not answer in time is named.
pub(super) async fn progress(handles: &Handles, id: &NodeId) -> Option<Value> {
    /// How long another peer may take to say it.
    const ANSWER_WITHIN: Duration = Duration::from_millis(500);
    let applied = handles.agreed.catalog.applied();
    let Source::Committed { body, .. } = &applied.source else { return None };
    let managed = body.managed.nodes.get(id).filter(|node| node.is_draining())?;
    let here = handles.view.load().node(id).map(|(_, node)| node.live.in_flight());
    let mut left = vec![(handles.id.clone(), here)];
    if let (Some(cluster), Ok(question)) = (&handles.cluster, Query::InFlight(id.clone()).encode()) {
        let mut asking = JoinSet::new();
        for peer in peers::states(handles).into_iter().filter(|peer| peer.id != handles.id) {
            if !matches!(peer.state, PeerState::Alive | PeerState::Suspect) {
                continue;
            }
            let (link, question) = (Arc::clone(&cluster.link), Bytes::from(question.clone()));
            asking.spawn(async move {
                let answer = link.ask(peer.id.clone(), question, ANSWER_WITHIN).await.ok();
                let count = answer.and_then(|bytes| match QueryAnswer::decode(&bytes) {
                    Ok(QueryAnswer::Count(count)) => Some(count.unwrap_or(0)),
                    _ => None,
                });
                (peer.id, count)
            });
        }
        while let Some(answered) = asking.join_next().await {
            left.extend(answered.ok());
        }
    }
    left.sort_unstable();
    let by_peer: Vec<Value> = (left.iter())
        .filter_map(|(peer, count)| Some((peer, count.filter(|count| *count > 0)?)))
        .map(|(peer, count)| json!({ "peer": peer, "in_flight": count }))
        .collect();
    let silent: Vec<&PeerId> = left.iter().filter(|(_, count)| count.is_none()).map(|(peer, _)| peer).collect();
    Some(json!({
        "since": of_ms(managed.at_ms),
        "by": managed.by,
        "timeout_ms": managed.drain_timeout_ms,
        "in_flight": left.iter().filter_map(|(_, count)| *count).map(u64::from).sum::<u64>(),
        "by_peer": by_peer,
        "missing_peers": silent,
    }))
}
