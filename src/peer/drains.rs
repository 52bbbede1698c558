//! How far a drain is, at every peer: each says what it has left, and who does not answer is named.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::task::JoinSet;

use super::handles::Handles;
use crate::model::{DrainLeft, NodeId, PeerId, PeerState};
use crate::wire::{Query, QueryAnswer};

/// How long another peer may take to say it.
const ANSWER_WITHIN: Duration = Duration::from_millis(500);

impl Handles {
    /// What each peer has left at a node that drains, by peer. `None`: it does not answer, or has not heard of the drain, so it
    /// may be sending the node new work. One that said goodbye has nothing.
    pub async fn drain_left(&self, node: &NodeId) -> Vec<(PeerId, Option<DrainLeft>)> {
        let here = self.view.load().node(node).and_then(|(_, node)| node.drain_left());
        let mut left = vec![(self.id.clone(), here)];
        let (Some(cluster), Ok(question)) = (&self.cluster, Query::Drain(node.clone()).encode()) else { return left };
        let question = Bytes::from(question);
        let mut asking = JoinSet::new();
        for peer in cluster.peers.borrow().iter() {
            match peer.state {
                PeerState::Alive | PeerState::Suspect => {
                    let (link, question, peer) = (Arc::clone(&cluster.link), question.clone(), peer.id.clone());
                    asking.spawn(async move {
                        let answer = link.ask_at_once(peer.clone(), question, ANSWER_WITHIN).await.ok();
                        let left = answer.and_then(|bytes| match QueryAnswer::decode(&bytes) {
                            Ok(QueryAnswer::Drain(left)) => left,
                            _ => None,
                        });
                        (peer, left)
                    });
                }
                PeerState::Dead if !peer.leaving => left.push((peer.id.clone(), None)),
                PeerState::Dead | PeerState::Refused => {}
            }
        }
        while let Some(answered) = asking.join_next().await {
            left.extend(answered.ok());
        }
        left.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        left
    }
}
