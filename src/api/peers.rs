//! Peers as the API shows them: those that gossip knows, those that the link refused, and this one.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::{Path, State};
use axum::http::Uri;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::error::ApiError;
use super::list::{Page, Params};
use crate::gossip::PeerRow;
use crate::host;
use crate::link::{LinkState, PeerLink, SeenRefusal};
use crate::model::{PeerId, PeerState, RegionName, Revision};
use crate::peer::{ClusterHandles, Handles};

/// `GET /api/v1/peers`
pub(super) async fn list(State(handles): State<Handles>, uri: Uri) -> Result<Response, ApiError> {
    let params = Params::of(&uri, &Page::PARAMS)?;
    let page = Page::of(&params)?;
    Ok(page.reply(all(&handles), |peer| peer.key.as_str(), PeerShown::clone, &handles))
}

/// `GET /api/v1/peers/{id}`
pub(super) async fn one(
    State(handles): State<Handles>,
    Path(id): Path<String>,
    uri: Uri,
) -> Result<Response, ApiError> {
    Params::of(&uri, &[])?;
    let peers = all(&handles);
    let found = peers.iter().find(|peer| peer.key == id);
    let peer = found.ok_or_else(|| ApiError::unknown("peer", &id, peers.iter().map(|peer| peer.key.as_str())))?;
    Ok(Json(peer).into_response())
}

/// A peer. What is not known is `null`.
#[derive(Clone, Serialize)]
pub(super) struct PeerShown {
    /// What it is listed under: its id, or the address of one that was refused.
    #[serde(skip)]
    key: String,
    id: Option<PeerId>,
    region: Option<RegionName>,
    state: PeerState,
    /// Whether it is the one that answers.
    this: bool,
    /// Where other peers reach it.
    addresses: Vec<SocketAddr>,
    /// Where its API listens.
    api: Option<String>,
    software: Option<String>,
    incarnation: Option<u64>,
    /// It stops.
    leaving: bool,
    /// Its votes do not count, because it disagrees with everybody.
    doubtful: bool,
    /// The revision of the catalog that it serves by; `null`: its own file, or it is not known.
    catalog_version: Option<Revision>,
    /// Since it was heard of last; `null` for the peer that answers.
    last_heard_ms: Option<u64>,
    link: Option<LinkShown>,
    /// Why it was not taken, where it was not.
    refused: Option<RefusalShown>,
}

/// The link to a peer.
#[derive(Clone, Serialize)]
struct LinkShown {
    /// `up`, `dialing` or `lost`.
    state: &'static str,
    /// Since it is so.
    since_ms: u64,
    rtt_ms: Option<f64>,
    bytes_sent: u64,
    bytes_received: u64,
    messages_dropped: u64,
}

/// Why two peers did not take each other.
#[derive(Clone, Serialize)]
struct RefusalShown {
    reason: &'static str,
    hint: &'static str,
    /// Which side refused: `this` or `other`.
    by: &'static str,
    count: u64,
    last_ms_ago: u64,
}

/// Everybody, this peer included.
pub(super) fn all(handles: &Handles) -> Vec<PeerShown> {
    let all_doubtful = handles.view.load().doubtful();
    let doubtful = |id: &PeerId| all_doubtful.contains(id);
    let Some(cluster) = &handles.cluster else {
        return vec![own(handles, None, doubtful(&handles.id))];
    };
    let now = host::now();
    let links = cluster.link.known();
    let mut peers = vec![own(handles, Some(cluster), doubtful(&handles.id))];
    for row in cluster.peers.borrow().iter() {
        let link = links.peers.iter().find(|link| link.id == row.id);
        peers.push(known(row, link, doubtful(&row.id), now));
    }
    peers.extend(links.refusals.iter().map(|refusal| refused(refusal, now)));
    peers
}

/// A peer that is known by its id, this one included, and how it is.
pub(super) struct PeerStanding {
    pub(super) id: PeerId,
    pub(super) region: Option<RegionName>,
    pub(super) state: PeerState,
}

/// Every peer that is known by its id.
pub(super) fn states(handles: &Handles) -> Vec<PeerStanding> {
    let own = PeerStanding { id: handles.id.clone(), region: Some(handles.region.clone()), state: PeerState::Alive };
    let rows = handles.cluster.iter().flat_map(|cluster| cluster.peers.borrow().to_vec());
    let others = rows.map(|row| PeerStanding { id: row.id, region: row.region, state: row.state });
    std::iter::once(own).chain(others).collect()
}

/// Ids of peers that were known and do not answer now: what they say is missing from every list.
pub(super) fn missing(handles: &Handles) -> Vec<PeerId> {
    let Some(cluster) = &handles.cluster else { return Vec::new() };
    let peers = cluster.peers.borrow();
    peers.iter().filter(|row| row.state == PeerState::Dead).map(|row| row.id.clone()).collect()
}

fn own(handles: &Handles, cluster: Option<&ClusterHandles>, doubtful: bool) -> PeerShown {
    PeerShown {
        key: handles.id.to_string(),
        id: Some(handles.id.clone()),
        region: Some(handles.region.clone()),
        state: PeerState::Alive,
        this: true,
        addresses: cluster.map(|cluster| cluster.advertise).into_iter().collect(),
        api: cluster.map(|cluster| cluster.api.clone()),
        software: Some(concat!("evenkeel ", env!("CARGO_PKG_VERSION")).to_owned()),
        incarnation: cluster.map(|cluster| cluster.incarnation),
        leaving: handles.readiness.check() == Err(crate::peer::NotReady::Draining),
        doubtful,
        catalog_version: handles.agreed.catalog.applied().revision(),
        last_heard_ms: None,
        link: None,
        refused: None,
    }
}

fn known(row: &PeerRow, link: Option<&PeerLink>, doubtful: bool, now: Instant) -> PeerShown {
    PeerShown {
        key: row.id.to_string(),
        id: Some(row.id.clone()),
        region: row.region.clone(),
        state: row.state,
        this: false,
        addresses: vec![row.address],
        api: row.api.clone(),
        software: row.software.clone(),
        incarnation: Some(row.incarnation),
        leaving: row.leaving,
        doubtful,
        catalog_version: row.catalog,
        last_heard_ms: Some(whole_ms(now.saturating_duration_since(row.heard))),
        link: link.map(|link| LinkShown::of(link, now)),
        refused: None,
    }
}

fn refused(refusal: &SeenRefusal, now: Instant) -> PeerShown {
    PeerShown {
        key: format!("{} {}", refusal.address, refusal.reason),
        id: None,
        region: None,
        state: PeerState::Refused,
        this: false,
        addresses: vec![refusal.address],
        api: None,
        software: None,
        incarnation: None,
        leaving: false,
        doubtful: false,
        catalog_version: None,
        last_heard_ms: Some(whole_ms(now.saturating_duration_since(refusal.last))),
        link: None,
        refused: Some(RefusalShown {
            reason: refusal.reason.name(),
            hint: refusal.reason.hint(),
            by: if refusal.by_other { "other" } else { "this" },
            count: refusal.count,
            last_ms_ago: whole_ms(now.saturating_duration_since(refusal.last)),
        }),
    }
}

impl LinkShown {
    fn of(link: &PeerLink, now: Instant) -> Self {
        Self {
            state: match link.state {
                LinkState::Up => "up",
                LinkState::Dialing => "dialing",
                LinkState::Lost => "lost",
            },
            since_ms: whole_ms(now.saturating_duration_since(link.since)),
            rtt_ms: link.rtt.map(super::nodes::ms),
            bytes_sent: link.bytes_sent,
            bytes_received: link.bytes_received,
            messages_dropped: link.dropped,
        }
    }
}

impl PeerShown {
    pub(super) fn state(&self) -> PeerState {
        self.state
    }
}

fn whole_ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
