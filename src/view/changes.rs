//! What happened since the last view, gathered: the latest of each kind, so that it is bounded however much happens and
//! however long it waits.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use super::build::Event;
use super::heard::{Demand, FRESH_MIN, Load, OWN, Place};
use super::picture::View;
use crate::model::limits::{
    ADDRESSES_PER_NODE_MAX, HEARD_PAGES_MAX, NODES_MAX, OBSERVATIONS_PER_PAGE_MAX, PEERS_MAX, REGIONS_MAX,
};
use crate::model::{Catalog, Heard, Members, NodeKey, Observation, PeerId, Revision};

/// What happened since the last view: of each kind and node, peer or page the latest. What was said is about nodes of the view
/// to which it was added, also where a catalog came before it.
#[derive(Debug, Default)]
pub struct Changes {
    pub(super) catalog: Option<Arc<Catalog>>,
    pub(super) nodes: HashMap<NodeKey, Change>,
    pub(super) peers: BTreeMap<PeerId, FromPeer>,
    pub(super) own_swept: Option<Instant>,
    pub(super) members: Option<Arc<Members>>,
    pub(super) dropped: u64,
}

/// What this peer found of a node.
#[derive(Debug, Default)]
pub(super) struct Change {
    pub(super) observation: Option<Observation>,
    pub(super) addresses: Option<Vec<SocketAddr>>,
    /// Of the drain that began with this revision: since when somebody has known.
    pub(super) drain: Option<(Revision, Instant)>,
}

/// What another peer told.
#[derive(Debug, Default)]
pub(super) struct FromPeer {
    /// Nothing of what it told before counts.
    pub(super) forgotten: bool,
    pub(super) swept: Option<Instant>,
    /// Each sorted by place.
    pub(super) pages: BTreeMap<u16, Vec<(Place, Heard)>>,
    pub(super) load: Option<Load>,
    pub(super) demand: Option<Demand>,
}

impl Changes {
    /// Adds one. What is about nodes that `view` does not know, or beyond what may be told, changes nothing and is counted.
    pub fn add(&mut self, view: &View, event: Event) {
        match event {
            Event::Catalog(catalog) => self.catalog = Some(catalog),
            Event::Observed { node, observation } if view.index.keys.contains_key(&node) => {
                self.nodes.entry(node).or_default().observation = Some(observation);
            }
            Event::Resolved { node, mut addresses } if view.index.keys.contains_key(&node) => {
                addresses.truncate(ADDRESSES_PER_NODE_MAX);
                self.nodes.entry(node).or_default().addresses = Some(addresses);
            }
            Event::DrainKnown { node, begun, since } if view.index.keys.contains_key(&node) => {
                let known = &mut self.nodes.entry(node).or_default().drain;
                if known.is_none_or(|(of, at)| begun > of || (begun == of && since < at)) {
                    *known = Some((begun, since));
                }
            }
            Event::Observed { .. } | Event::Resolved { .. } | Event::DrainKnown { .. } => self.dropped += 1,
            Event::OwnSwept { at } => self.own_swept = self.own_swept.max(Some(at)),
            Event::Members(members) => self.members = Some(members),
            Event::Heard { page, nodes, .. } if usize::from(page) >= HEARD_PAGES_MAX => {
                self.dropped += nodes.len().max(1) as u64;
            }
            Event::Heard { observer, page, nodes } => {
                let nodes = self.placed(view, nodes, OBSERVATIONS_PER_PAGE_MAX);
                if let Some(peer) = self.peer(view, observer) {
                    peer.pages.insert(page, nodes);
                }
            }
            Event::Load { observer, at, in_flight } => {
                let in_flight = self.placed(view, in_flight, NODES_MAX);
                if let Some(peer) = self.peer(view, observer) {
                    peer.load = Some(Load { heard_at: at, in_flight });
                }
            }
            Event::Demand { observer, at, demand } => {
                let by_region = demand.by_region.into_iter().take(REGIONS_MAX).collect();
                if let Some(peer) = self.peer(view, observer) {
                    peer.demand = Some(Demand { heard_at: at, by_region, guests: demand.guests });
                }
            }
            Event::Swept { observer, at } => {
                if let Some(peer) = self.peer(view, observer) {
                    peer.swept = peer.swept.max(Some(at));
                }
            }
            Event::Forgotten { observer } => {
                if let Some(peer) = self.peer(view, observer) {
                    *peer = FromPeer { forgotten: true, ..FromPeer::default() };
                }
            }
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.catalog.is_none()
            && self.nodes.is_empty()
            && self.peers.is_empty()
            && self.own_swept.is_none()
            && self.members.is_none()
    }

    /// What is told of nodes that this peer knows, by place, each once, of the first `most`.
    fn placed<T>(&mut self, view: &View, nodes: Vec<(NodeKey, T)>, most: usize) -> Vec<(Place, T)> {
        let told = nodes.len();
        let of_known = |(key, said): (NodeKey, T)| view.index.keys.get(&key).map(|place| (*place, said));
        let mut placed: Vec<(Place, T)> = nodes.into_iter().take(most).filter_map(of_known).collect();
        placed.sort_by_key(|(place, _)| *place);
        placed.dedup_by_key(|(place, _)| *place);
        self.dropped += (told - placed.len()) as u64;
        placed
    }

    /// What that peer told; `None` where it is this one, or there are too many.
    fn peer(&mut self, view: &View, id: PeerId) -> Option<&mut FromPeer> {
        let is_room = self.peers.len() < PEERS_MAX || self.peers.contains_key(&id);
        if id == view.members.own().id || !is_room {
            self.dropped += 1;
            return None;
        }
        Some(self.peers.entry(id).or_default())
    }
}

impl View {
    /// Whether an event changes who gets requests, and not only what is shown or how shares stand.
    pub fn is_news(&self, event: &Event) -> bool {
        let known = |key: &NodeKey| self.index.keys.get(key).map(|place| &self.pools[place.pool].nodes[place.node]);
        match event {
            Event::Catalog(_) => true,
            Event::Observed { node, observation } => {
                known(node).is_some_and(|known| observation.vote != known.observation.vote)
            }
            Event::DrainKnown { node, begun, since } => {
                let drain = known(node).and_then(|known| known.drain);
                drain.is_some_and(|drain| drain.known_since(*begun, *since).is_some())
            }
            Event::Resolved { node, addresses } => known(node).is_some_and(|known| *addresses != known.addresses),
            Event::Heard { observer, page, nodes } => {
                let Some(slot) = self.observers.find(observer) else { return true };
                let is_new = |(key, heard): &(NodeKey, Heard)| {
                    let Some(place) = self.index.keys.get(key) else { return false };
                    let said = &self.pools[place.pool].nodes[place.node].said;
                    said.iter().find(|said| said.slot == slot).and_then(|said| said.heard.vote) != heard.vote
                };
                nodes.len() < self.observers.page(slot, *page).len() || nodes.iter().any(is_new)
            }
            Event::OwnSwept { at } => self.wakes(OWN, *at),
            Event::Swept { observer, at } => self.observers.find(observer).is_none_or(|slot| self.wakes(slot, *at)),
            Event::Members(members) => *members != self.members,
            Event::Forgotten { observer } => self.observers.find(observer).is_some(),
            Event::Load { .. } | Event::Demand { .. } => false,
        }
    }

    /// Whether what that observer told may have been too old, and is not any more.
    fn wakes(&self, slot: usize, at: Instant) -> bool {
        let swept = self.observers.get(slot).and_then(|observer| observer.swept);
        swept.is_none_or(|swept| at.saturating_duration_since(swept) >= FRESH_MIN)
    }
}
