//! The cluster as this peer sees it, on one page.

use axum::Json;
use axum::extract::State;
use axum::http::Uri;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::error::ApiError;
use super::list::Params;
use super::peers;
use super::pools::NodeTally;
use super::timestamp::rfc3339;
use crate::gossip::Counted;
use crate::host;
use crate::model::{ClusterName, Health, NodeId, PeerId, PeerState, Preset};
use crate::peer::Handles;
use crate::view::View;

/// Nodes that are named because peers disagree about them; more are counted.
const DISAGREEMENTS_MAX: usize = 100;

/// `GET /api/v1/cluster`
pub(super) async fn one(State(handles): State<Handles>, uri: Uri) -> Result<Response, ApiError> {
    Params::of(&uri, &[])?;
    Ok(Json(Shown::of(&handles)).into_response())
}

#[derive(Serialize)]
pub(super) struct Shown {
    /// `null`: a cluster of one, which nobody can join.
    name: Option<ClusterName>,
    preset: Option<Preset>,
    /// The peer that answers.
    peer: PeerId,
    peers: PeerTally,
    /// Peers whose votes do not count, because they disagree with everybody.
    doubtful: Vec<PeerId>,
    nodes: NodeTally,
    /// Nodes about which fresh votes differ.
    disagreements: Vec<Disagreement>,
    disagreements_unlisted: usize,
    gossip: Option<GossipShown>,
    as_of: String,
    missing_peers: Vec<PeerId>,
}

#[derive(Default, Serialize)]
pub(super) struct PeerTally {
    total: usize,
    alive: usize,
    suspect: usize,
    dead: usize,
    refused: usize,
}

#[derive(Serialize)]
struct Disagreement {
    node: NodeId,
    up: Vec<PeerId>,
    degraded: Vec<PeerId>,
    down: Vec<PeerId>,
}

/// What gossip costs this peer.
#[derive(Serialize)]
struct GossipShown {
    messages_sent_total: u64,
    sent_bytes_total: u64,
    messages_received_total: u64,
    received_bytes_total: u64,
    rounds_over_budget_total: u64,
    unreadable_total: u64,
    refused_total: u64,
    left_out_total: u64,
    values_unreadable_total: u64,
    peers_refused_total: u64,
}

impl Shown {
    pub(super) fn of(handles: &Handles) -> Self {
        let view = handles.view.load();
        let peers = PeerTally::of(handles);
        let nodes = view.pools().flat_map(|pool| &pool.nodes);
        let mut disagreements: Vec<Disagreement> =
            nodes.filter_map(|node| Disagreement::of(&view, &node.node.id)).collect();
        let disagreements_unlisted = disagreements.len().saturating_sub(DISAGREEMENTS_MAX);
        disagreements.truncate(DISAGREEMENTS_MAX);
        let cluster = handles.cluster.as_ref();
        Self {
            name: cluster.map(|cluster| cluster.name.clone()),
            preset: cluster.map(|cluster| cluster.preset),
            peer: handles.id.clone(),
            peers,
            doubtful: view.doubtful(),
            nodes: NodeTally::of(view.pools().flat_map(|pool| &pool.nodes)),
            disagreements,
            disagreements_unlisted,
            gossip: cluster.map(|cluster| GossipShown::of(&cluster.gossip.read())),
            as_of: rfc3339(host::wall_now()),
            missing_peers: peers::missing(handles),
        }
    }
}

impl PeerTally {
    pub(super) fn of(handles: &Handles) -> Self {
        let mut tally = Self::default();
        for peer in peers::all(handles) {
            tally.total += usize::from(peer.state() != PeerState::Refused);
            *match peer.state() {
                PeerState::Alive => &mut tally.alive,
                PeerState::Suspect => &mut tally.suspect,
                PeerState::Dead => &mut tally.dead,
                PeerState::Refused => &mut tally.refused,
            } += 1;
        }
        tally
    }

    pub(super) fn by_state(&self) -> [(PeerState, usize); 4] {
        [
            (PeerState::Alive, self.alive),
            (PeerState::Suspect, self.suspect),
            (PeerState::Dead, self.dead),
            (PeerState::Refused, self.refused),
        ]
    }
}

impl Disagreement {
    /// `None` where all fresh votes on the node are alike.
    fn of(view: &View, node: &NodeId) -> Option<Self> {
        let opinions = view.opinions(node)?;
        let who = |vote: Health| -> Vec<PeerId> {
            let those = opinions.iter().filter(|opinion| opinion.fresh && opinion.heard.vote == Some(vote));
            those.map(|opinion| opinion.peer.clone()).collect()
        };
        let disagreement =
            Self { node: node.clone(), up: who(Health::Up), degraded: who(Health::Degraded), down: who(Health::Down) };
        let camps = [&disagreement.up, &disagreement.degraded, &disagreement.down];
        (camps.iter().filter(|camp| !camp.is_empty()).count() > 1).then_some(disagreement)
    }
}

impl GossipShown {
    fn of(counted: &Counted) -> Self {
        Self {
            messages_sent_total: counted.messages_sent,
            sent_bytes_total: counted.bytes_sent,
            messages_received_total: counted.messages_received,
            received_bytes_total: counted.bytes_received,
            rounds_over_budget_total: counted.over_budget,
            unreadable_total: counted.unreadable,
            refused_total: counted.refused,
            left_out_total: counted.left_out,
            values_unreadable_total: counted.values_unreadable,
            peers_refused_total: counted.peers_refused,
        }
    }
}
