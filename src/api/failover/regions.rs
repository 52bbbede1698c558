//! Regions by hand: their traffic is held away from them, or given back, and drills.

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::Uri;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;

use super::{DAYS_30, lasts, region, words};
use crate::api::error::ApiError;
use crate::api::list::Params;
use crate::api::writing::{Asking, body};
use crate::catalog::{Change, Drilling, Shifting};
use crate::model::{Drill, ShiftKind};
use crate::peer::Handles;

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
pub(in crate::api) async fn trigger(
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
pub(in crate::api) async fn shift(
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
    let duration = lasts(duration, DAYS_30)?.unwrap_or(default);
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

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct DrillAsked {
    /// Where the traffic goes first.
    #[serde(default)]
    to: Option<String>,
    /// How much of it.
    #[serde(default)]
    percent: Option<u8>,
    /// How long.
    #[serde(default)]
    duration: Option<String>,
}

/// `POST /api/v1/regions/{region}/drill`: what is left out is as the region's own drill says, else as drills ship.
pub(in crate::api) async fn drill(
    State(handles): State<Handles>,
    Path(name): Path<String>,
    uri: Uri,
    asking: Asking,
    bytes: Bytes,
) -> Result<Response, ApiError> {
    Params::of(&uri, &[])?;
    let DrillAsked { to, percent, duration } = if bytes.is_empty() { DrillAsked::default() } else { body(&bytes)? };
    let from = region(&handles, &name)?;
    let applied = handles.agreed.catalog.applied();
    let written = applied.catalog.regions().iter().find(|written| written.name == from);
    let own = written.and_then(|written| Some(written.drill.as_ref()?.drill.clone())).unwrap_or_default();
    let percent = percent.unwrap_or(own.percent);
    if !(1..=Drill::PERCENT_MAX).contains(&percent) {
        let most = Drill::PERCENT_MAX;
        return Err(ApiError::bad_body(format!("percent: a drill does not hold {percent} away; 1 to {most} it can")));
    }
    let lasts = lasts(duration, Drill::LASTS_MIN..=Drill::LASTS_MAX)?.unwrap_or(own.lasts);
    let drilling = Drilling::Begin {
        to: to.map(|to| region(&handles, &to)).transpose()?.or(own.to),
        region: from,
        percent,
        duration_ms: u64::try_from(lasts.as_millis()).unwrap_or(u64::MAX),
        scheduled_ms: None,
    };
    let written = asking.write(&handles, Change::Drill(drilling)).await?;
    Ok(Json(written).into_response())
}

/// `DELETE /api/v1/regions/{region}/shift`, also where that is a drill
pub(in crate::api) async fn unshift(
    State(handles): State<Handles>,
    Path(name): Path<String>,
    uri: Uri,
    asking: Asking,
) -> Result<Response, ApiError> {
    Params::of(&uri, &[])?;
    let change = Change::Shift(Shifting::End { region: region(&handles, &name)?, begun: None });
    Ok(Json(asking.write(&handles, change).await?).into_response())
}
