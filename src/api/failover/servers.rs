//! Servers that no node is to be moved to.

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::Uri;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::json;

use super::{DAYS_30, lasts, managed, server, words};
use crate::api::error::ApiError;
use crate::api::list::Params;
use crate::api::timestamp::of_ms;
use crate::api::writing::{Asking, body};
use crate::catalog::Change;
use crate::host;
use crate::peer::Handles;

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
pub(in crate::api) async fn blacklist(
    State(handles): State<Handles>,
    Path(id): Path<String>,
    uri: Uri,
    asking: Asking,
    bytes: Bytes,
) -> Result<Response, ApiError> {
    Params::of(&uri, &[])?;
    let Blacklist { duration, reason } = if bytes.is_empty() { Blacklist::default() } else { body(&bytes)? };
    let duration_ms = lasts(duration, DAYS_30)?.map(|duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX));
    let change = Change::Blacklist { server: server(&handles, &id)?, duration_ms, reason: words("reason", reason)? };
    Ok(Json(asking.write(&handles, change).await?).into_response())
}

/// `DELETE /api/v1/servers/{server}/blacklist`
pub(in crate::api) async fn unblacklist(
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
pub(in crate::api) async fn blacklisted(
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
