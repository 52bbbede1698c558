//! The one form of every error, and the one place that turns errors into replies.

use axum::Json;
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::document::shorten;
use crate::model::limits::API_BODY_BYTES_MAX;

/// What the asker did wrong, or what the peer cannot do.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct ApiError {
    status: StatusCode,
    /// For programs; never changes.
    code: &'static str,
    /// For people: what is wrong.
    message: String,
    /// For people: what to do.
    hint: String,
    /// What else programs may want, beside the rest.
    more: Option<Box<(&'static str, Value)>>,
    /// After so many seconds it is worth another try.
    retry_after_s: Option<u8>,
}

impl ApiError {
    fn new(status: StatusCode, code: &'static str, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), hint: hint.into(), more: None, retry_after_s: None }
    }

    /// A write that is not done.
    pub(super) fn write(
        status: StatusCode,
        code: &'static str,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) -> Self {
        Self::new(status, code, message, hint)
    }

    /// It cannot be done at this moment; it may be in a second.
    pub(super) fn unavailable(code: &'static str, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, code, message, hint).retry_after(1)
    }

    /// Nobody leads who could do it.
    pub(super) fn no_leader(message: impl Into<String>) -> Self {
        Self::unavailable("no_leader", message, "nothing was done; send it again in a second")
    }

    /// With this beside the rest.
    pub(super) fn with(mut self, key: &'static str, value: Value) -> Self {
        self.more = Some(Box::new((key, value)));
        self
    }

    /// Worth another try after so many seconds.
    pub(super) fn retry_after(mut self, seconds: u8) -> Self {
        self.retry_after_s = Some(seconds);
        self
    }

    /// A body that cannot be taken.
    pub(super) fn bad_body(message: impl Into<String>) -> Self {
        Self::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "bad_body",
            message,
            "nothing is changed; the docs show what is taken",
        )
    }

    /// A field of the request that cannot be taken.
    pub(super) fn bad_field(field: &str, message: impl std::fmt::Display, hint: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_field", format!("{field}: {message}"), hint)
    }

    /// The request is sent by a page of another site in a browser on this machine.
    pub(super) fn foreign_origin(origin: &str) -> Self {
        let message = format!("the page of {origin:?} may not change anything here");
        Self::new(
            StatusCode::FORBIDDEN,
            "foreign_origin",
            message,
            "ask from a program, or from a page of this machine",
        )
    }

    /// A revision that the history does not have.
    pub(super) fn no_revision(named: &str, known: &[String]) -> Self {
        let hint = match known {
            [] => "the cluster has not committed a catalog yet".to_owned(),
            known => format!("the history has {}", known.join(", ")),
        };
        Self::new(StatusCode::NOT_FOUND, "unknown_revision", format!("there is no revision {named:?} in it"), hint)
    }

    /// A revision of which no reachable peer has kept what users wanted.
    pub(super) fn revision_not_kept(revision: u64) -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "revision_not_kept",
            format!("no peer that can be reached has kept revision {revision}"),
            "start the peers that are missing, or choose another revision",
        )
    }

    /// There is no such path.
    pub(super) fn no_path(path: &str, known: &[&str]) -> Self {
        let hint = match nearest(path, known.iter().copied()) {
            Some(near) => format!("did you mean {near}?"),
            None => format!("paths are {}", known.join(", ")),
        };
        Self::new(StatusCode::NOT_FOUND, "no_path", format!("there is nothing at {path}"), hint)
    }

    /// There is no such thing: `what` is `pool`, `node` or `peer`.
    pub(super) fn unknown<'a>(what: &'static str, name: &str, known: impl Iterator<Item = &'a str>) -> Self {
        let code = match what {
            "pool" => "unknown_pool",
            "peer" => "unknown_peer",
            "region" => "unknown_region",
            "server" => "unknown_server",
            "route" => "unknown_route",
            "listener" => "unknown_listener",
            "plan" => "unknown_plan",
            _ => "unknown_node",
        };
        let hint = match nearest(name, known) {
            Some(near) => format!("did you mean {near}?"),
            None if what == "listener" => "/api/health/detailed lists every listener".to_owned(),
            None if what == "plan" => "/api/v1/failover lists every plan".to_owned(),
            None => format!("/api/v1/{what}s lists every {what}"),
        };
        Self::new(StatusCode::NOT_FOUND, code, format!("there is no {what} {:?}", shorten(name)), hint)
    }

    /// A name in the query that means nothing here.
    pub(super) fn unknown_query(name: &str, known: &[&str]) -> Self {
        let hint = match (nearest(name, known.iter().copied()), known) {
            (Some(near), _) => format!("did you mean {near}?"),
            (None, []) => "this path takes no query".to_owned(),
            (None, known) => format!("this path takes {}", known.join(", ")),
        };
        Self::new(StatusCode::BAD_REQUEST, "unknown_query", format!("{name:?} is not known in a query here"), hint)
    }

    /// A value in the query, or the query itself, that cannot be read.
    pub(super) fn bad_query(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_query", message, hint)
    }

    /// The request does not name this machine: a page in a browser may have been led here under another name.
    pub(super) fn foreign_host(host: Option<&str>) -> Self {
        let (status, code) = match host {
            Some(_) => (StatusCode::FORBIDDEN, "foreign_host"),
            None => (StatusCode::BAD_REQUEST, "no_host"),
        };
        let message = match host {
            Some(host) => format!("host {host:?} is not this machine"),
            None => "the request has no Host, or more than one".to_owned(),
        };
        Self::new(
            status,
            code,
            message,
            "ask for localhost, 127.0.0.1 or [::1]; the API answers only under these names",
        )
    }

    /// The path is known and takes other methods; `allow` is what the `Allow` field says of them.
    fn method(method: &Method, path: &str, allow: Option<&str>) -> Self {
        let allowed: Vec<&str> =
            allow.unwrap_or_default().split(',').map(str::trim).filter(|of| !of.is_empty()).collect();
        let hint = match allowed.split_last() {
            None => "this path takes no method".to_owned(),
            Some((only, [])) => format!("use {only}"),
            Some((last, others)) => format!("use {} or {last}", others.join(", ")),
        };
        let message = format!("{method} is not allowed at {path}");
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message, hint)
    }

    /// What a refusal means that was made below the handlers.
    fn of_status(method: &Method, status: StatusCode) -> Self {
        match status {
            StatusCode::PAYLOAD_TOO_LARGE => Self::new(
                status,
                "body_too_large",
                "the body is too large",
                format!("a body has at most {API_BODY_BYTES_MAX} bytes"),
            ),
            StatusCode::SERVICE_UNAVAILABLE if method.is_safe() => {
                Self::new(status, "too_slow", "the answer took too long", "try again; ask for less with ?limit=")
            }
            StatusCode::SERVICE_UNAVAILABLE => Self::new(
                status,
                "too_slow",
                "the answer took too long; whether the change is done is not known yet",
                "GET what it was about; a write that had an Idempotency-Key may be sent again with it",
            ),
            status if status.is_server_error() => {
                Self::new(status, "internal", "the peer failed to answer", "its log says why")
            }
            status => {
                Self::new(status, "bad_request", "the request cannot be answered", "check method, path and fields")
            }
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let Self { status, code, message, hint, more, retry_after_s } = self;
        let mut error = json!({ "code": code, "message": message, "hint": hint });
        if let Some((key, value)) = more.map(|more| *more) {
            error[key] = value;
        }
        let mut response = (status, Json(json!({ "error": error }))).into_response();
        if let Some(seconds) = retry_after_s {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(u16::from(seconds)));
        }
        response
    }
}

/// Gives every refusal that a layer or the framework made in its own words the one form, and keeps its fields. It answers
/// `method` at `path`.
pub(super) fn shape(mut response: Response, method: &Method, path: &str) -> Response {
    let status = response.status();
    let plain = !(status.is_client_error() || status.is_server_error());
    let ours = response.headers().get(header::CONTENT_TYPE).is_some_and(|kind| kind == "application/json");
    if plain || ours {
        return response;
    }
    let allow = response.headers_mut().remove(header::ALLOW);
    let error = if status == StatusCode::METHOD_NOT_ALLOWED {
        ApiError::method(method, path, allow.as_ref().and_then(|allow| allow.to_str().ok()))
    } else {
        ApiError::of_status(method, status)
    };
    let mut shaped = error.into_response();
    if let Some(allow) = allow {
        shaped.headers_mut().insert(header::ALLOW, allow);
    }
    shaped
}

/// The known word that `word` was likely meant to be.
fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    // Comparing costs the product of both lengths, and every known word is one comparison.
    const WORD_BYTES_MAX: usize = 128;
    const LIKENESS_MIN: f64 = 0.6;
    if word.len() > WORD_BYTES_MAX {
        return None;
    }
    known
        .map(|known| (strsim::normalized_damerau_levenshtein(word, known), known))
        .filter(|(likeness, _)| *likeness >= LIKENESS_MIN)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, known)| known)
}
