//! The last events of the whole cluster: each peer says what it has, and who does not answer is named.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::task::JoinSet;

use super::handles::Handles;
use crate::model::{Event, PeerId, PeerState};
use crate::wire::{Query, QueryAnswer};

/// How long another peer may take to say it.
const ANSWER_WITHIN: Duration = Duration::from_millis(500);

impl Handles {
    /// The events that peers have in memory, the oldest first and each once, and the peers that did not say theirs.
    pub async fn events(&self) -> (Vec<Event>, Vec<PeerId>) {
        let mut by_id: BTreeMap<String, Event> = BTreeMap::new();
        let mut take = |events: Vec<Event>| {
            for event in events {
                // Of one thing that several tell, whoever it happened at or heard of it first has it right.
                let known = by_id.entry(event.id.clone()).or_insert_with(|| event.clone());
                if (event.at_ms, &event.peer) < (known.at_ms, &known.peer) {
                    *known = event;
                }
            }
        };
        take(self.agreed.failover.events.all());
        let mut missing = Vec::new();
        if let Some(cluster) = &self.cluster
            && let Ok(question) = Query::Events.encode()
        {
            let question = Bytes::from(question);
            let mut asking = JoinSet::new();
            for row in cluster.peers.borrow().iter() {
                match row.state {
                    PeerState::Alive | PeerState::Suspect => {}
                    PeerState::Dead if !row.leaving => {
                        missing.push(row.id.clone());
                        continue;
                    }
                    PeerState::Dead | PeerState::Refused => continue,
                }
                let (link, question, peer) = (Arc::clone(&cluster.link), question.clone(), row.id.clone());
                asking.spawn(async move {
                    let answer = link.ask_at_once(peer.clone(), question, ANSWER_WITHIN).await.ok();
                    let events = answer.and_then(|bytes| match QueryAnswer::decode(&bytes) {
                        Ok(QueryAnswer::Outcome(events)) => serde_json::from_slice::<Vec<Event>>(&events).ok(),
                        _ => None,
                    });
                    (peer, events)
                });
            }
            while let Some(answered) = asking.join_next().await {
                match answered {
                    Ok((_, Some(events))) => take(events),
                    Ok((peer, None)) => missing.push(peer),
                    Err(_) => {}
                }
            }
        }
        let mut events: Vec<Event> = by_id.into_values().collect();
        events.sort_by(|a, b| (a.at_ms, &a.id).cmp(&(b.at_ms, &b.id)));
        missing.sort_unstable();
        (events, missing)
    }
}
