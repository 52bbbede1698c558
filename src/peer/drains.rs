//! How far a drain is, at every peer: each says what it has left, and who does not answer is named. A peer that was started while a
//! node drained, or was cut off from the others, learns from them since when that has been so.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::handles::Handles;
use super::supervise::ChildSpec;
use crate::gossip::PeerRow;
use crate::host;
use crate::link::Link;
use crate::model::{DrainLeft, DrainSeen, NodeId, NodeKey, PeerId, PeerState, Revision};
use crate::view::{self, ViewCell};
use crate::wire::{Query, QueryAnswer};

/// How long another peer may take to say it.
const ANSWER_WITHIN: Duration = Duration::from_millis(500);
/// How often those are asked that have not said since when they know of a drain.
const LEARN_EVERY: Duration = Duration::from_millis(500);

impl Handles {
    /// What each peer has left at a node that drains, by peer. `None`: it does not answer, or has not heard of the drain, so it
    /// may be sending the node new work. One that said goodbye has nothing.
    pub async fn drain_left(&self, node: &NodeId) -> Vec<(PeerId, Option<DrainLeft>)> {
        let others = self.cluster.as_ref().map(|cluster| (Arc::clone(&cluster.link), cluster.peers.clone()));
        left_at(&self.id, &self.view, others.as_ref(), node).await
    }
}

/// The way to other peers, and who they are.
pub(super) type Others = (Arc<dyn Link>, watch::Receiver<Arc<Vec<PeerRow>>>);

/// [`Handles::drain_left`] for whoever has no handles.
pub(super) async fn left_at(
    own: &PeerId,
    view: &ViewCell,
    others: Option<&Others>,
    node: &NodeId,
) -> Vec<(PeerId, Option<DrainLeft>)> {
    let here = view.load().node(node).and_then(|(_, node)| node.drain_left());
    let mut left = vec![(own.clone(), here)];
    let Some((link, peers)) = others else { return left };
    let mut asked = Vec::new();
    for peer in peers.borrow().iter() {
        match peer.state {
            PeerState::Alive | PeerState::Suspect => asked.push(peer.id.clone()),
            PeerState::Dead if !peer.leaving => left.push((peer.id.clone(), None)),
            PeerState::Dead | PeerState::Refused => {}
        }
    }
    let answers = ask(link, node, asked).await;
    left.extend(answers.into_iter().map(|(peer, seen)| (peer, seen.map(|seen| seen.left))));
    left.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
    left
}

/// Asks peers how they see a drain.
async fn ask(link: &Arc<dyn Link>, node: &NodeId, peers: Vec<PeerId>) -> Vec<(PeerId, Option<DrainSeen>)> {
    let Ok(question) = Query::Drain(node.clone()).encode() else { return Vec::new() };
    let question = Bytes::from(question);
    let mut asking = JoinSet::new();
    for peer in peers {
        let (link, question) = (Arc::clone(link), question.clone());
        asking.spawn(async move {
            let answer = link.ask_at_once(peer.clone(), question, ANSWER_WITHIN).await.ok();
            let seen = answer.and_then(|bytes| match QueryAnswer::decode(&bytes) {
                Ok(QueryAnswer::Drain(seen)) => seen,
                _ => None,
            });
            (peer, seen)
        });
    }
    let mut answers = Vec::new();
    while let Some(answered) = asking.join_next().await {
        answers.extend(answered.ok());
    }
    answers
}

/// Asks each peer that lives, once for every drain with a deadline, since when it has known of it, and tells the view. Without that a
/// peer that is started would give the node all of the time again.
pub(super) fn learn_child(
    link: Arc<dyn Link>,
    peers: watch::Receiver<Arc<Vec<PeerRow>>>,
    view: ViewCell,
    events: mpsc::Sender<view::Event>,
) -> ChildSpec {
    ChildSpec::task("learn-drains", move || {
        let (link, peers, view, events) = (Arc::clone(&link), peers.clone(), view.clone(), events.clone());
        async move {
            let mut catalogs = view.catalogs();
            let mut told: HashMap<(NodeKey, Revision), HashSet<PeerId>> = HashMap::new();
            loop {
                let drains = drains_of(&view);
                told.retain(|known, _| drains.iter().any(|(_, key, begun)| (*key, *begun) == *known));
                let mut asking = JoinSet::new();
                for (node, key, begun) in &drains {
                    let told = told.entry((*key, *begun)).or_default();
                    let is_asked = |row: &&PeerRow| row.state == PeerState::Alive && !told.contains(&row.id);
                    let asked = peers.borrow().iter().filter(is_asked).map(|row| row.id.clone()).collect();
                    let (link, node, drain) = (Arc::clone(&link), node.clone(), (*key, *begun));
                    asking.spawn(async move { (drain, ask(&link, &node, asked).await) });
                }
                while let Some(answered) = asking.join_next().await {
                    let Ok(((node, begun), answers)) = answered else { continue };
                    for (peer, seen) in answers {
                        let Some(seen) = seen.filter(|seen| seen.begun == begun) else { continue };
                        told.entry((node, begun)).or_default().insert(peer);
                        let since = host::now().checked_sub(Duration::from_millis(seen.passed_ms));
                        let Some(since) = since else { continue };
                        if events.send(view::Event::DrainKnown { node, begun, since }).await.is_err() {
                            return;
                        }
                    }
                }
                let pause = if drains.is_empty() { Duration::MAX } else { LEARN_EVERY };
                if let Ok(Err(_)) = timeout(pause, catalogs.changed()).await {
                    return;
                }
            }
        }
    })
}

fn drains_of(view: &ViewCell) -> Vec<(NodeId, NodeKey, Revision)> {
    let view = view.load();
    let nodes = view.pools().flat_map(|pool| &pool.nodes);
    nodes.filter_map(|node| Some((node.node.id.clone(), node.key, node.drains_by()?))).collect()
}
