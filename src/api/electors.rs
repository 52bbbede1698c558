//! Who leads, who votes, and how that is changed.

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::error::ApiError;
use super::list::Params;
use super::peers;
use super::timestamp::rfc3339;
use super::writing::{Asking, body};
use crate::catalog::ElectorsRefused;
use crate::election::Standing;
use crate::host;
use crate::model::{ClusterId, Electors, PeerId, PeerState, RegionName, Revision, Term};
use crate::peer::Handles;
use crate::wire::{ElectorsChange, Memory};

/// `GET /api/v1/leader`
pub(super) async fn leader(State(handles): State<Handles>, uri: Uri) -> Result<Response, ApiError> {
    Params::of(&uri, &[])?;
    Ok(Json(LeaderShown::of(&handles)).into_response())
}

/// Who leads, as far as the peer that answers knows.
#[derive(Serialize)]
pub(super) struct LeaderShown {
    /// `null`: nobody, as far as this peer knows.
    leader: Option<PeerShown>,
    term: Term,
    /// Since when this peer has known that.
    since: String,
    electors: Vec<ElectorShown>,
    /// How many electors have to agree; `null` while it is not known who votes.
    quorum: Option<usize>,
    /// The revision that is committed, as far as this peer knows.
    committed_revision: Option<Revision>,
    /// Which cluster this is; `null` until it has committed something.
    cluster_id: Option<String>,
    /// What a new cluster, or one without a leader, waits for.
    waits_for: Option<String>,
    /// What is unwise, or wrong.
    warnings: Vec<String>,
}

#[derive(Serialize)]
struct PeerShown {
    id: PeerId,
    region: Option<RegionName>,
}

#[derive(Serialize)]
struct ElectorShown {
    id: PeerId,
    /// As this peer sees it; `null`: it was never met.
    state: Option<PeerState>,
}

impl LeaderShown {
    pub(super) fn of(handles: &Handles) -> Self {
        let standing = handles.agreed.standing();
        let states = peers::states(handles);
        let region = |id: &PeerId| states.iter().find(|peer| peer.id == *id).and_then(|peer| peer.region.clone());
        let state = |id: &PeerId| states.iter().find(|peer| peer.id == *id).map(|peer| peer.state);
        let electors: Vec<ElectorShown> = (standing.electors.iter().flat_map(Electors::iter))
            .map(|id| ElectorShown { id: id.clone(), state: state(id) })
            .collect();
        let leader = standing.leader(&handles.id).map(|id| PeerShown { id: id.clone(), region: region(id) });
        let ago = host::now().saturating_duration_since(standing.since);
        let wall_now = host::wall_now();
        Self {
            waits_for: leader.is_none().then(|| waits_for(handles, &standing, &electors)).flatten(),
            leader,
            term: standing.term,
            since: rfc3339(wall_now.checked_sub(ago).unwrap_or(wall_now)),
            quorum: (!electors.is_empty()).then_some(electors.len() / 2 + 1),
            electors,
            committed_revision: standing.committed,
            cluster_id: standing.cluster.map(|id: ClusterId| id.to_string()),
            warnings: warnings(handles, &standing),
        }
    }

    /// What it means that nobody leads, where that is so.
    pub(super) fn nobody(&self) -> Option<String> {
        if self.leader.is_some() {
            return None;
        }
        let waits_for = self.waits_for.as_ref().map_or_else(String::new, |what| format!("; waiting: {what}"));
        Some(format!("nobody leads that this peer knows of, so nothing can be changed; traffic goes on{waits_for}"))
    }
}

/// Why nobody leads, as far as this peer can tell.
fn waits_for(handles: &Handles, standing: &Standing, electors: &[ElectorShown]) -> Option<String> {
    if let Some(founding) = handles.agreed.founding.borrow().clone() {
        return Some(founding);
    }
    let gone: Vec<&str> = electors
        .iter()
        .filter(|elector| !matches!(elector.state, Some(PeerState::Alive | PeerState::Suspect)))
        .map(|elector| elector.id.as_str())
        .collect();
    let quorum = electors.len() / 2 + 1;
    if electors.len() - gone.len() < quorum {
        return Some(format!(
            "a majority: {} of {} electors are not here ({}). Start them; if they are gone for good, see \
             `evenkeel electors forget`",
            gone.len(),
            electors.len(),
            gone.join(", ")
        ));
    }
    if standing.memory == Memory::Lost {
        let every =
            "every other elector: this peer does not remember how it voted, and hears all of them before it votes";
        return Some(every.to_owned());
    }
    Some(
        "an election to come to its end; where it does not, ask /api/v1/leader of every elector: one that has lost its \
         disk says so, and too many of them need `evenkeel electors forget`"
            .to_owned(),
    )
}

fn warnings(handles: &Handles, standing: &Standing) -> Vec<String> {
    let mut warnings = Vec::new();
    // A cluster of one that is meant to be one is no news.
    if handles.cluster.is_some() {
        let unwise = standing.electors.as_ref().and_then(Electors::warning);
        warnings.extend(unwise.map(|warning| warning.to_string()));
    }
    warnings.extend(disk_failing(handles));
    warnings.extend(standing.damage.iter().map(|damage| format!("damaged when this peer started: {damage}")));
    let strangers = standing.strangers.iter();
    warnings.extend(strangers.map(|(peer, cluster)| {
        format!("peer {peer} belongs to another cluster of this name ({cluster}); wipe its data folder to let it join")
    }));
    warnings
}

/// What to say of a disk that takes nothing.
pub(super) fn disk_failing(handles: &Handles) -> Option<String> {
    let standing = handles.agreed.standing();
    let why = standing.disk_failing.as_deref().or(handles.agreed.data_folder.failing())?;
    Some(format!("this peer's disk fails, so it votes for nobody: {why}"))
}

/// `GET /api/v1/electors`
pub(super) async fn list(State(handles): State<Handles>, uri: Uri) -> Result<Response, ApiError> {
    Params::of(&uri, &[])?;
    let shown = LeaderShown::of(&handles);
    Ok(Json(json!({
        "items": shown.electors,
        "next": null,
        "quorum": shown.quorum,
        "warnings": shown.warnings,
        "as_of": rfc3339(host::wall_now()),
        "missing_peers": peers::missing(&handles),
    }))
    .into_response())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Elector {
    id: PeerId,
}

/// `POST /api/v1/electors`: one elector more.
pub(super) async fn add(
    State(handles): State<Handles>,
    uri: Uri,
    asking: Asking,
    bytes: Bytes,
) -> Result<Response, ApiError> {
    Params::of(&uri, &[])?;
    let (by, Elector { id }) = (asking.author()?, body(&bytes)?);
    changed(handles.agreed.catalog.change_electors(ElectorsChange::Add(id), by).await, StatusCode::CREATED)
}

/// `DELETE /api/v1/electors/{id}?forget=`: one less, by the majority; or, where none is left, at this peer alone.
pub(super) async fn remove(
    State(handles): State<Handles>,
    Path(id): Path<String>,
    uri: Uri,
    asking: Asking,
) -> Result<Response, ApiError> {
    let params = Params::of(&uri, &["forget"])?;
    let by = asking.author()?;
    let peer: PeerId = id.parse().map_err(|_| ApiError::unknown("peer", &id, std::iter::empty()))?;
    match params.get("forget") {
        None | Some("false") => {
            changed(handles.agreed.catalog.change_electors(ElectorsChange::Remove(peer), by).await, StatusCode::OK)
        }
        Some("true") => {
            handles.agreed.catalog.forget_elector(peer, by).await.map_err(|why| refused(&why))?;
            let electors = handles.agreed.standing().electors.clone();
            let electors: Vec<PeerId> = electors.iter().flat_map(Electors::iter).cloned().collect();
            Ok(Json(json!({ "electors": electors, "here_alone": true })).into_response())
        }
        Some(_) => Err(ApiError::bad_query("forget is true or false", "write ?forget=true")),
    }
}

fn changed(outcome: Result<Electors, ElectorsRefused>, status: StatusCode) -> Result<Response, ApiError> {
    let electors = outcome.map_err(|why| refused(&why))?;
    let ids: Vec<&PeerId> = electors.iter().collect();
    let warning = electors.warning().map(|warning| warning.to_string());
    Ok((status, Json(json!({ "electors": ids, "warning": warning }))).into_response())
}

fn refused(refused: &ElectorsRefused) -> ApiError {
    let message = refused.to_string();
    match refused {
        ElectorsRefused::Declined(_) => ApiError::write(
            StatusCode::CONFLICT,
            "declined",
            message,
            "GET /api/v1/electors and /api/v1/peers show who votes and who is here",
        ),
        ElectorsRefused::NoLeader => ApiError::no_leader(message),
        ElectorsRefused::OutcomeUnknown => {
            ApiError::unavailable("write_outcome_unknown", message, "GET /api/v1/electors shows whether it is done")
        }
    }
}
