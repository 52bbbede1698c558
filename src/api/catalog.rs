//! The catalog as a whole: what users want, what is managed over it, what has changed, and how to go back.

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::Uri;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::error::ApiError;
use super::list::Params;
use super::timestamp::{of_ms, rfc3339};
use super::writing::{Asking, body, done, object, refused, tagged};
use crate::catalog::{Applied, Change, Difference, Managed, Object, Record, Source, canonical, difference};
use crate::host;
use crate::peer::Handles;

/// What `GET` shows beside `desired`: sent back unchanged it is no fault, and nothing is done about it.
const SHOWN: [&str; 8] = ["revision", "etag", "source", "managed", "behind", "warnings", "file", "as_of"];

/// `GET /api/v1/catalog`
pub(super) async fn one(State(handles): State<Handles>, uri: Uri) -> Result<Response, ApiError> {
    Params::of(&uri, &[])?;
    let applied = handles.agreed.catalog.applied();
    let nothing = Managed::default();
    let (source, managed, etag) = match &applied.source {
        Source::File { .. } => ("file", &nothing, None),
        Source::Committed { body, etag, .. } => ("cluster", &body.managed, Some(*etag)),
    };
    let shown = json!({
        "revision": applied.revision(),
        "etag": etag,
        "source": source,
        "desired": applied.desired(),
        "managed": managed,
        "behind": behind(&applied),
        "warnings": applied.warnings.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "file": FileShown::of(&handles, &applied),
        "as_of": rfc3339(host::wall_now()),
    });
    Ok(tagged(Json(shown).into_response(), etag))
}

/// A newer catalog that is committed and cannot be served by; `null` where there is none.
pub(super) fn behind(applied: &Applied) -> Option<Value> {
    applied.behind.as_ref().map(|behind| json!({ "revision": behind.revision, "why": behind.why }))
}

/// This peer's own file beside what it serves by.
#[derive(Serialize)]
struct FileShown {
    /// Whether it is applied whenever this peer starts.
    follow: bool,
    /// Whether it says something else than what is served by.
    differs: bool,
}

impl FileShown {
    fn of(handles: &Handles, applied: &Applied) -> Self {
        let differs = canonical(&handles.agreed.file.borrow()) != canonical(applied.desired());
        Self { follow: handles.agreed.follow_file, differs }
    }
}

/// `PUT /api/v1/catalog`
pub(super) async fn put(
    State(handles): State<Handles>,
    uri: Uri,
    asking: Asking,
    body: Bytes,
) -> Result<Response, ApiError> {
    Params::of(&uri, &[])?;
    let desired = desired(&body)?;
    Ok(done(asking.write(&handles, Change::Apply { desired }).await?))
}

/// `POST /api/v1/catalog/diff`: what a put would change.
pub(super) async fn diff(State(handles): State<Handles>, uri: Uri, body: Bytes) -> Result<Response, ApiError> {
    Params::of(&uri, &[])?;
    let desired = desired(&body)?;
    // What the put would refuse is no difference.
    handles.agreed.catalog.applied().check(&desired).map_err(refused)?;
    Ok(Json(from_now(&handles, &desired)).into_response())
}

fn from_now(handles: &Handles, desired: &Object) -> Difference {
    let applied = handles.agreed.catalog.applied();
    match &applied.source {
        Source::File { desired: now } => difference(now, desired, &Managed::default()),
        Source::Committed { body, .. } => difference(&body.desired, desired, &body.managed),
    }
}

/// What a body wants: its `desired`.
fn desired(body: &Bytes) -> Result<Object, ApiError> {
    let mut whole = object(body)?;
    let Some(Value::Object(desired)) = whole.remove("desired") else {
        return Err(ApiError::bad_body("it has no object `desired`: write {\"desired\": {\"pool\": [...]}}"));
    };
    match whole.keys().find(|key| !SHOWN.contains(&key.as_str())) {
        Some(key) => {
            Err(ApiError::bad_body(format!("{key:?} stands beside `desired`, where nothing belongs; move it in")))
        }
        None => Ok(desired),
    }
}

/// `GET /api/v1/catalog/history`: the last changes, the newest first.
pub(super) async fn history(State(handles): State<Handles>, uri: Uri) -> Result<Response, ApiError> {
    Params::of(&uri, &[])?;
    let items: Vec<Value> = handles.agreed.catalog.history().iter().rev().map(shown).collect();
    Ok(Json(json!({
        "items": items,
        "next": null,
        "as_of": rfc3339(host::wall_now()),
        "missing_peers": super::peers::missing(&handles),
    }))
    .into_response())
}

/// `GET /api/v1/catalog/history/{revision}`: one of them, with what it changed of what users wanted (`null`: the one before is
/// not known any more), what they wanted from then on, and what a rollback to it would change.
pub(super) async fn version(
    State(handles): State<Handles>,
    Path(revision): Path<String>,
    uri: Uri,
) -> Result<Response, ApiError> {
    Params::of(&uri, &[])?;
    let (record, desired) = wanted_then(&handles, revision.parse().ok(), &revision).await?;
    let catalog = &handles.agreed.catalog;
    let before = catalog.history().into_iter().take_while(|earlier| earlier.revision < record.revision).last();
    let before = match before {
        Some(before) => catalog.desired_of(before.etag).await,
        None => None,
    };
    let changed = before.map(|before| difference(&before, &desired, &Managed::default()));
    let mut answer = shown(&record);
    answer["difference"] = serde_json::to_value(changed).unwrap_or_default();
    answer["rollback_difference"] = serde_json::to_value(from_now(&handles, &desired)).unwrap_or_default();
    answer["desired"] = Value::Object(desired);
    Ok(Json(answer).into_response())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rollback {
    revision: u64,
}

/// `POST /api/v1/catalog/rollback`
pub(super) async fn rollback(
    State(handles): State<Handles>,
    uri: Uri,
    asking: Asking,
    bytes: Bytes,
) -> Result<Response, ApiError> {
    Params::of(&uri, &[])?;
    let Rollback { revision } = body(&bytes)?;
    let (_, desired) = wanted_then(&handles, Some(revision), &revision.to_string()).await?;
    let change = Change::Rollback { revision, desired };
    Ok(done(asking.write(&handles, change).await?))
}

async fn wanted_then(handles: &Handles, revision: Option<u64>, named: &str) -> Result<(Record, Object), ApiError> {
    let history = handles.agreed.catalog.history();
    let record = history.iter().find(|record| Some(record.revision) == revision).cloned();
    let record = record.ok_or_else(|| {
        let known: Vec<String> = history.iter().map(|record| record.revision.to_string()).collect();
        ApiError::no_revision(named, &known)
    })?;
    let desired = handles.agreed.catalog.desired_of(record.etag).await;
    let desired = desired.ok_or_else(|| ApiError::revision_not_kept(record.revision))?;
    Ok((record, desired))
}

fn shown(record: &Record) -> Value {
    json!({
        "revision": record.revision,
        "at": of_ms(record.at_ms),
        "by": record.by,
        "via": record.via,
        "what": record.what,
        "etag": record.etag,
    })
}
