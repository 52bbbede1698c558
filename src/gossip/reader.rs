//! What others gossip, as events: only what changed since it was read last, and nothing of ghosts.
//!
//! A peer that was restarted stands in chitchat's state twice for a while, and its old keys with it. Of several incarnations
//! of one id the one counts that lives; of several that live, the one that was seen last for the first time: a clock that was
//! set back gives a new process a lower number, and it is the one that runs.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use chitchat::{ChitchatId, NodeState};

use super::membership::Sighting;
use super::{demand, load, page, topic};
use crate::model::limits::{GOSSIP_KEYS_PER_PEER_MAX, PEERS_MAX};
use crate::model::{Demand, Heard, NodeKey, PeerId, Revision};

/// What changed.
#[derive(Clone, Debug, PartialEq)]
pub enum News {
    /// A page of observations, whole.
    Page {
        /// Whose.
        observer: PeerId,
        /// Which of its pages.
        page: u16,
        /// What it says; empty: the page is gone.
        nodes: Vec<(NodeKey, Heard)>,
    },
    /// A peer was started anew or is gone: nothing that it said before counts.
    Forget(PeerId),
    /// Its checks kept time since the last word.
    Swept {
        /// Whose.
        observer: PeerId,
        /// When that was read.
        at: Instant,
    },
    /// What it has in flight at its busiest nodes.
    Load {
        /// Whose.
        observer: PeerId,
        /// When that was read.
        at: Instant,
        /// The nodes and counts.
        loads: Vec<(NodeKey, u32)>,
    },
    /// What it is asked by region.
    Demand {
        /// Whose.
        observer: PeerId,
        /// When that was read.
        at: Instant,
        /// What that is.
        demand: Demand,
    },
}

/// What was read so far.
#[derive(Debug, Default)]
pub(super) struct Reader {
    peers: BTreeMap<PeerId, Read>,
    /// Every incarnation that stands in the state: in which order they came, and of whom.
    order: BTreeMap<ChitchatId, (u64, Option<PeerId>)>,
    next: u64,
    /// Values that could not be read.
    unreadable_total: u64,
}

#[derive(Debug)]
struct Read {
    id: ChitchatId,
    max_version: u64,
    /// Whether keys that were read before are to be read although none changed since.
    is_to_tell_again: bool,
    /// The version of each key as it was read last.
    versions: BTreeMap<String, u64>,
    api: Option<String>,
    software: Option<String>,
    catalog: Option<Revision>,
}

/// What a peer says of itself, for people.
#[derive(Debug, Default)]
pub(super) struct About<'r> {
    pub(super) api: Option<&'r str>,
    pub(super) software: Option<&'r str>,
    pub(super) catalog: Option<Revision>,
}

/// All that gossip says at one moment.
pub(super) struct Round {
    /// One for each peer.
    pub(super) sightings: Vec<Sighting>,
    /// What changed.
    pub(super) news: Vec<News>,
}

impl Reader {
    /// Values that could not be read, in total.
    pub(super) fn unreadable_total(&self) -> u64 {
        self.unreadable_total
    }

    /// What a peer says of itself.
    pub(super) fn about(&self, peer: &PeerId) -> About<'_> {
        let read = self.peers.get(peer);
        read.map_or_else(About::default, |read| About {
            api: read.api.as_deref(),
            software: read.software.as_deref(),
            catalog: read.catalog,
        })
    }

    /// A new chitchat begins with nothing: what was read before does not count until it is read again.
    pub(super) fn begin(&mut self) -> Vec<News> {
        self.order.clear();
        std::mem::take(&mut self.peers).into_keys().map(News::Forget).collect()
    }

    /// What is said of nodes and their load is read once more.
    pub(super) fn tell_again(&mut self) {
        for read in self.peers.values_mut() {
            read.is_to_tell_again = true;
            // That somebody sweeps is news only where the counter rose since.
            read.versions.retain(|key, _| topic::page_of(key).is_none() && key != topic::LOAD);
        }
    }

    /// Reads the state. `live`: who lives by phi.
    pub(super) fn read(
        &mut self,
        own: &ChitchatId,
        states: &BTreeMap<ChitchatId, NodeState>,
        live: &BTreeSet<ChitchatId>,
        now: Instant,
    ) -> Round {
        self.order.retain(|id, _| states.contains_key(id));
        for id in states.keys() {
            if !self.order.contains_key(id) {
                let peer = id.node_id.parse().ok().filter(|_| id.node_id != own.node_id);
                self.order.insert(id.clone(), (self.next, peer));
                self.next += 1;
            }
        }
        let mut chosen: BTreeMap<PeerId, &ChitchatId> = BTreeMap::new();
        for id in states.keys() {
            let Some((_, Some(peer))) = self.order.get(id) else { continue };
            let rank = |id: &ChitchatId| (live.contains(id), self.order.get(id).map(|(order, _)| *order));
            if chosen.get(peer).is_none_or(|other| rank(other) < rank(id)) {
                chosen.insert(peer.clone(), id);
            }
        }
        let mut round = Round { sightings: Vec::new(), news: Vec::new() };
        let gone: Vec<PeerId> = self.peers.keys().filter(|peer| !chosen.contains_key(*peer)).cloned().collect();
        for peer in gone {
            self.peers.remove(&peer);
            round.news.push(News::Forget(peer));
        }
        let mut chosen: Vec<_> = chosen.into_iter().collect();
        // Names that somebody makes up must not push out peers that are known.
        chosen.sort_by_key(|(peer, id)| (!live.contains(id), !self.peers.contains_key(peer)));
        for (peer, id) in chosen.into_iter().take(PEERS_MAX) {
            let Some(state) = states.get(id) else { continue };
            self.read_peer(&peer, id, state, &mut round.news, now);
            round.sightings.push(Sighting {
                incarnation: id.generation_id,
                address: id.gossip_advertise_addr,
                region: state.get(topic::REGION).and_then(|region| region.parse().ok()),
                beats: live.contains(id),
                heartbeat: state.heartbeat().into(),
                leaving: state.contains_key(topic::LEAVING),
                id: peer,
            });
        }
        round
    }

    fn read_peer(&mut self, peer: &PeerId, id: &ChitchatId, state: &NodeState, news: &mut Vec<News>, at: Instant) {
        let read = self.peers.entry(peer.clone()).or_insert_with(|| Read::of(id.clone()));
        if read.id != *id {
            *read = Read::of(id.clone());
            news.push(News::Forget(peer.clone()));
        }
        if state.max_version() < read.max_version {
            // It was reset: its keys were sent anew, and older ones may be gone without a word.
            *read = Read::of(id.clone());
            news.push(News::Forget(peer.clone()));
        }
        if state.max_version() == read.max_version && !std::mem::take(&mut read.is_to_tell_again) {
            return;
        }
        read.is_to_tell_again = false;
        read.max_version = state.max_version();
        for (key, value) in state.key_values_including_deleted() {
            let known = read.versions.get(key).copied();
            if known.is_none() && read.versions.len() >= GOSSIP_KEYS_PER_PEER_MAX {
                self.unreadable_total = self.unreadable_total.saturating_add(1);
                break;
            }
            if known.is_some_and(|known| known >= value.version) {
                continue;
            }
            let deleted = value.is_deleted();
            let text = if deleted { "" } else { value.value.as_str() };
            let readable = match key {
                topic::SWEEP => {
                    news.push(News::Swept { observer: peer.clone(), at });
                    true
                }
                topic::LOAD if deleted => {
                    news.push(News::Load { observer: peer.clone(), at, loads: Vec::new() });
                    true
                }
                topic::LOAD => {
                    load::read(text).map(|loads| news.push(News::Load { observer: peer.clone(), at, loads })).is_some()
                }
                topic::DEMAND if deleted => {
                    news.push(News::Demand { observer: peer.clone(), at, demand: Demand::default() });
                    true
                }
                topic::DEMAND => demand::read(text)
                    .map(|demand| news.push(News::Demand { observer: peer.clone(), at, demand }))
                    .is_some(),
                topic::API => {
                    read.api = shown(text);
                    true
                }
                topic::CATALOG => {
                    let revision = text.parse().ok().and_then(Revision::new);
                    read.catalog = revision.or(read.catalog);
                    revision.is_some()
                }
                topic::SOFTWARE => {
                    read.software = shown(text);
                    true
                }
                _ => match topic::page_of(key) {
                    Some(page) if deleted => {
                        news.push(News::Page { observer: peer.clone(), page, nodes: Vec::new() });
                        true
                    }
                    Some(page) => match page::read(text) {
                        Ok(nodes) => {
                            news.push(News::Page { observer: peer.clone(), page, nodes });
                            true
                        }
                        Err(error) => {
                            tracing::debug!(%peer, key, %error, "a page of observations cannot be read");
                            false
                        }
                    },
                    // Keys of later versions are left alone.
                    None => true,
                },
            };
            self.unreadable_total = self.unreadable_total.saturating_add(u64::from(!readable));
            read.versions.insert(key.to_owned(), value.version);
        }
    }
}

impl Read {
    fn of(id: ChitchatId) -> Self {
        Self {
            id,
            max_version: 0,
            is_to_tell_again: false,
            versions: BTreeMap::new(),
            api: None,
            software: None,
            catalog: None,
        }
    }
}

/// A short text for people to read; anything else is not shown.
fn shown(text: &str) -> Option<String> {
    let plain = !text.is_empty() && text.len() <= 128 && text.bytes().all(|b| b == b' ' || b.is_ascii_graphic());
    plain.then(|| text.to_owned())
}
