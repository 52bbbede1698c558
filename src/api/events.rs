//! What happened in the cluster lately.

use axum::extract::State;
use axum::http::Uri;
use axum::response::Response;
use serde::Serialize;

use super::error::ApiError;
use super::list::{Page, Params};
use super::timestamp::of_ms;
use crate::model::{Event, Happened, PeerId};
use crate::peer::Handles;

/// `GET /api/v1/events?kind=&node=&region=`
pub(super) async fn list(State(handles): State<Handles>, uri: Uri) -> Result<Response, ApiError> {
    let [limit, after] = Page::PARAMS;
    let params = Params::of(&uri, &["kind", "node", "region", limit, after])?;
    let page = Page::of(&params)?;
    if let Some(kind) = params.get("kind").filter(|kind| !Happened::KINDS.contains(kind)) {
        return Err(ApiError::bad_query(
            format!("there are no events of kind {kind:?}"),
            format!("there are {}", Happened::KINDS.join(", ")),
        ));
    }
    let fits = |event: &Event| {
        let happened = &event.happened;
        params.get("kind").is_none_or(|kind| happened.kind() == kind)
            && params.get("node").is_none_or(|node| happened.node().is_some_and(|of| of.as_str() == node))
            && params.get("region").is_none_or(|region| happened.region().is_some_and(|of| of.as_str() == region))
    };
    let (events, missing) = handles.events().await;
    // In the order of time, whichever peer tells it.
    let keyed = |event: Event| (format!("{:016}-{}", event.at_ms, event.id), event);
    let events: Vec<(String, Event)> = events.into_iter().filter(fits).map(keyed).collect();
    Ok(page.reply_without(events, |(key, _)| key, |(_, event)| EventShown::of(event), missing))
}

#[derive(Serialize)]
struct EventShown {
    id: String,
    at: String,
    /// The peer that tells it.
    peer: PeerId,
    /// It in words.
    summary: String,
    #[serde(flatten)]
    happened: Happened,
}

impl EventShown {
    fn of(event: &Event) -> Self {
        let Event { id, at_ms, peer, happened } = event.clone();
        Self { id, at: of_ms(at_ms), peer, summary: happened.to_string(), happened }
    }
}
