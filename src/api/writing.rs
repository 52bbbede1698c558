//! What every write has in common: who asks, under which condition and id, and how what becomes of it is answered.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Bytes;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::time::timeout;

use super::error::ApiError;
use super::health::listener_without_pool;
use crate::catalog::{self, Applied, Author, Change, Etag, JsonError, Mode, Object, Write, WriteRefused, Written};
use crate::election::IdempotencyId;
use crate::host::{self, Dice};
use crate::model::limits::VALUE_BODY_BYTES_MAX;
use crate::peer::Handles;
use crate::view::View;

/// By this a write that is sent again is known.
pub(super) const IDEMPOTENCY_KEY: &str = "idempotency-key";
/// Who asks, as they say.
pub(super) const USER: &str = "evenkeel-user";

/// What is said of a write at a peer whose file comes first.
const FOLLOWS_FILE: &str = "this peer follows its settings file: at its next start or reload the catalog is what the file says, \
                            without this change; write it into the file too";

/// How long a write waits until the view is of what is applied, which it is within milliseconds.
const VIEW_WAIT: Duration = Duration::from_secs(1);

/// What the fields of a request say of a write.
#[derive(Debug)]
pub(super) struct Asking {
    by: Author,
    id: IdempotencyId,
    /// Whether they named it.
    pub(super) is_keyed: bool,
    if_match: Option<Etag>,
    /// What a put may do: anything, make what is new, or replace what is there.
    pub(super) mode: Mode,
}

impl Asking {
    /// What they say; `from` is who sent them.
    fn of(fields: &HeaderMap, from: IpAddr) -> Result<Self, ApiError> {
        let text = |name: &str| {
            let mut all = fields.get_all(name).iter();
            match (all.next().map(HeaderValue::to_str), all.next()) {
                (None, _) => Ok(None),
                (Some(_), Some(_)) => Err(ApiError::bad_field(name, "it stands twice", "send it once")),
                (Some(Ok(text)), None) => Ok(Some(text)),
                (Some(Err(_)), None) => Err(ApiError::bad_field(name, "it is not plain text", "write printable ASCII")),
            }
        };
        let by = text(USER)?.map_or_else(|| Author::new(&from.to_string()), Author::new);
        let key = text(IDEMPOTENCY_KEY)?;
        let is_keyed = key.is_some();
        let id = match key {
            None => IdempotencyId::random(&mut Dice::new()),
            Some(id) => id.parse().map_err(|error: crate::election::IdempotencyIdError| {
                ApiError::bad_field(IDEMPOTENCY_KEY, error.to_string(), "a UUID is a good one")
            })?,
        };
        let none_match = text(header::IF_NONE_MATCH.as_str())?;
        let (if_match, mode) = match (text(header::IF_MATCH.as_str())?.map(str::trim), none_match.map(str::trim)) {
            (None, None) => (None, Mode::Put),
            (None, Some("*")) => (None, Mode::Create),
            (Some("*"), None) => (None, Mode::Replace),
            (Some(etag), None) => {
                let etag = etag.parse().map_err(|error: catalog::EtagError| {
                    ApiError::bad_field("if-match", error.to_string(), "take it from the ETag of a GET, one of them")
                })?;
                (Some(etag), Mode::Replace)
            }
            (None, Some(_)) => {
                return Err(ApiError::bad_field("if-none-match", "only * is taken", "leave it out, or write *"));
            }
            (Some(_), Some(_)) => {
                return Err(ApiError::bad_field("if-match", "it stands beside if-none-match", "leave one of them out"));
            }
        };
        Ok(Self { by, id, is_keyed, if_match, mode })
    }

    /// Who asks, where there is nothing that a condition could be about.
    pub(super) fn author(self) -> Result<Author, ApiError> {
        match (self.if_match, self.mode) {
            (None, Mode::Put) => Ok(self.by),
            _ => Err(ApiError::bad_field("if-match, if-none-match", "electors have no ETag", "leave it out")),
        }
    }

    /// Asks whoever leads for this change, and answers what becomes of it.
    pub(super) async fn write(self, handles: &Handles, change: Change) -> Result<Written, ApiError> {
        let Self { by, id, if_match, mode, .. } = self;
        let is_of_file = change.is_of_desired();
        if mode == Mode::Create && !matches!(change, Change::Put { .. }) {
            return Err(ApiError::bad_field("if-none-match", "only a PUT of one resource may be new", "leave it out"));
        }
        let is_of_regions = matches!(change, Change::Shift(_) | Change::Drill(_));
        let write = Write { change, if_match, id, by, via: handles.id.clone(), at_ms: host::wall_now_ms() };
        let mut written = handles.agreed.catalog.write(write).await.map_err(|why| match (why, mode) {
            (WriteRefused::Conflict { message }, _) if is_of_regions => ApiError::write(
                StatusCode::CONFLICT,
                "refused",
                message,
                "GET /api/v1/failover shows what is shifted; DELETE /api/v1/regions/{region}/shift ends that",
            ),
            (WriteRefused::Conflict { message }, Mode::Create) => ApiError::write(
                StatusCode::PRECONDITION_FAILED,
                "exists",
                message,
                "leave If-None-Match out to replace it, or choose another name",
            ),
            (why, _) => refused(why),
        })?;
        let (view, applied) = in_step(handles).await;
        written.applied = written.applied && applied.is_some();
        // The leader knows of no other peer's listeners and file.
        written.warnings.extend(handles.listeners_without_pool(&view).iter().map(listener_without_pool));
        if handles.agreed.follow_file && is_of_file && written.changed {
            written.warnings.push(FOLLOWS_FILE.to_owned());
        }
        Ok(written)
    }
}

/// The view, and the catalog that is applied, once the one is of the other: whoever is told of a write finds it, and sees
/// nothing of the one before. After [`VIEW_WAIT`] the view alone.
pub(super) async fn in_step(handles: &Handles) -> (Arc<View>, Option<Arc<Applied>>) {
    let mut catalogs = handles.view.catalogs();
    let there = async {
        loop {
            let (view, applied) = (handles.view.load(), handles.agreed.catalog.applied());
            if view.is_of(&applied.catalog) {
                return Some((view, applied));
            }
            catalogs.changed().await.ok()?;
        }
    };
    match timeout(VIEW_WAIT, there).await {
        Ok(Some((view, applied))) => (view, Some(applied)),
        Ok(None) | Err(_) => (handles.view.load(), None),
    }
}

/// Who sent a request: put there where the connection is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Client(pub(super) IpAddr);

impl<S: Sync> FromRequestParts<S> for Asking {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let own = IpAddr::V4(Ipv4Addr::LOCALHOST);
        Self::of(&parts.headers, parts.extensions.get::<Client>().map_or(own, |client| client.0))
    }
}

/// The answer to a write of the whole catalog that is done.
pub(super) fn done(written: Written) -> Response {
    let etag = written.etag;
    tagged(Json(written).into_response(), etag)
}

/// An answer with the ETag of what it is about.
pub(super) fn tagged(mut response: Response, etag: Option<Etag>) -> Response {
    let etag = etag.and_then(|etag| HeaderValue::from_str(&format!("\"{etag}\"")).ok());
    if let Some(etag) = etag {
        response.headers_mut().insert(header::ETAG, etag);
    }
    response
}

/// Why a write is not done.
pub(super) fn refused(refused: WriteRefused) -> ApiError {
    let message = refused.to_string();
    match refused {
        WriteRefused::NotFound { message } => ApiError::write(
            StatusCode::NOT_FOUND,
            "not_found",
            message,
            "GET the list to see what is there; POST makes what is new",
        ),
        WriteRefused::Conflict { message } => ApiError::write(
            StatusCode::CONFLICT,
            "exists",
            message,
            "PUT changes what is there; or choose another name",
        ),
        WriteRefused::Missing { message } => ApiError::write(
            StatusCode::PRECONDITION_FAILED,
            "missing",
            message,
            "leave If-Match out to make it, or choose another name",
        ),
        WriteRefused::Changed { etag } => ApiError::write(
            StatusCode::PRECONDITION_FAILED,
            "changed",
            message,
            "GET it again, look at what has changed, and send the write with the new ETag",
        )
        .with("etag", if etag.is_empty() { Value::Null } else { Value::String(etag) }),
        WriteRefused::Invalid { faults } => {
            let count = faults.len();
            let message = format!("{count} {} in it; nothing is changed", if count == 1 { "fault" } else { "faults" });
            ApiError::write(
                StatusCode::UNPROCESSABLE_ENTITY,
                "invalid",
                message,
                "mend what `faults` names, and send it again",
            )
            .with("faults", serde_json::to_value(faults).unwrap_or_default())
        }
        WriteRefused::OtherWrite { .. } => ApiError::write(
            StatusCode::UNPROCESSABLE_ENTITY,
            "idempotency_key_reused",
            message,
            "nothing was done; give each write a key of its own: a UUID is a good one",
        ),
        WriteRefused::TooLarge { .. } => too_large(message),
        WriteRefused::Busy => {
            ApiError::unavailable("too_many_writes", message, "nothing was done; send it again in a second")
        }
        WriteRefused::Unavailable { message } => ApiError::no_leader(message),
        WriteRefused::OutcomeUnknown { id } => {
            let hint = format!("send it again with the field Idempotency-Key: {id}; so it is done once");
            ApiError::unavailable("write_outcome_unknown", message, hint)
                .with("idempotency_key", Value::String(id.to_string()))
        }
        WriteRefused::NotLeading => ApiError::no_leader("nobody leads at this moment"),
    }
}

/// The object that a body is.
pub(super) fn object(body: &Bytes) -> Result<Object, ApiError> {
    catalog::parse(body).map_err(|error| match error {
        JsonError::TooLong { .. } => too_large(error.to_string()),
        error => ApiError::bad_body(error.to_string()),
    })
}

fn too_large(message: String) -> ApiError {
    let hint = format!("a catalog has at most {} MiB; nothing is changed", VALUE_BODY_BYTES_MAX >> 20);
    ApiError::write(StatusCode::PAYLOAD_TOO_LARGE, "catalog_too_large", message, hint)
}

/// What a small body says; keys that are not known are refused.
pub(super) fn body<T: DeserializeOwned>(body: &Bytes) -> Result<T, ApiError> {
    serde_json::from_value(Value::Object(object(body)?)).map_err(|error| ApiError::bad_body(error.to_string()))
}
