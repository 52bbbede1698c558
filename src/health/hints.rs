//! Hints on their way out: "I just saw this node fail", a reason for others to look. First-hand only, at most one a node and
//! second, gathered for a moment into one message a peer.
//!
//! Pure. Nodes are numbered; who is to hear of one is asked when the message is made, so that it is those who live then.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use crate::model::limits::HINT_NODES_MAX;
use crate::model::{NodeId, PeerId};

/// Nodes on one server fail together, so a message waits for more of them.
const GATHER: Duration = Duration::from_millis(20);
/// Time between two hints at one node.
const PAUSE: Duration = Duration::from_secs(1);

/// A message to one peer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Hint {
    /// To whom.
    pub to: PeerId,
    /// The nodes that this peer saw failing: 1 to [`HINT_NODES_MAX`].
    pub nodes: Vec<NodeId>,
}

/// What was seen and not said yet.
#[derive(Debug, Default)]
pub(super) struct Hints {
    gathered: Vec<usize>,
    send_at: Option<Instant>,
    /// When each node was last hinted at, of the last second. Never more than there are nodes.
    last: HashMap<usize, Instant>,
}

impl Hints {
    /// This peer saw a node fail. True where others will hear of it.
    pub(super) fn add(&mut self, node: usize, now: Instant) -> bool {
        if self.last.get(&node).is_some_and(|last| now.saturating_duration_since(*last) < PAUSE) {
            return false;
        }
        self.last.insert(node, now);
        self.gathered.push(node);
        self.send_at.get_or_insert(now + GATHER);
        true
    }

    /// Says nothing of a node that is gone.
    pub(super) fn forget(&mut self, node: usize) {
        self.gathered.retain(|gathered| *gathered != node);
        self.last.remove(&node);
    }

    /// When [`Hints::take`] has something.
    pub(super) fn next(&self) -> Option<Instant> {
        self.send_at
    }

    /// The messages that are due. `to`: a node's id and who is to hear of it.
    pub(super) fn take(&mut self, now: Instant, to: impl Fn(usize) -> (NodeId, Vec<PeerId>)) -> Vec<Hint> {
        if self.send_at.is_none_or(|at| now < at) {
            return Vec::new();
        }
        self.send_at = None;
        self.last.retain(|_, last| now.saturating_duration_since(*last) < PAUSE);
        let mut by_peer: BTreeMap<PeerId, Vec<NodeId>> = BTreeMap::new();
        for (node, peers) in self.gathered.drain(..).map(to) {
            for peer in peers {
                by_peer.entry(peer).or_default().push(node.clone());
            }
        }
        let messages = |(to, nodes): (PeerId, Vec<NodeId>)| {
            let parts: Vec<Vec<NodeId>> = nodes.chunks(HINT_NODES_MAX).map(<[NodeId]>::to_vec).collect();
            parts.into_iter().map(move |nodes| Hint { to: to.clone(), nodes })
        };
        by_peer.into_iter().flat_map(messages).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::host;

    const MS: Duration = Duration::from_millis(1);

    fn node(number: usize) -> NodeId {
        format!("n{number}").parse().unwrap()
    }

    fn peer(text: &str) -> PeerId {
        text.parse().unwrap()
    }

    #[test]
    fn what_is_seen_within_a_moment_goes_out_in_one_message_to_each() {
        let now = host::now();
        let mut hints = Hints::default();
        assert!(hints.add(1, now) && hints.add(2, now + 15 * MS));
        assert_eq!(hints.next(), Some(now + GATHER));
        let to = |number| match number {
            1 => (node(1), vec![peer("a"), peer("b")]),
            _ => (node(2), vec![peer("b")]),
        };
        assert!(hints.take(now + 19 * MS, to).is_empty());
        let sent = hints.take(now + 20 * MS, to);
        let expected =
            [Hint { to: peer("a"), nodes: vec![node(1)] }, Hint { to: peer("b"), nodes: vec![node(1), node(2)] }];
        assert_eq!(sent, expected);
        assert_eq!((hints.next(), hints.take(now + 99 * MS, to)), (None, Vec::new()));
    }

    #[test]
    fn a_node_that_fails_again_and_again_is_hinted_at_once_a_second() {
        let now = host::now();
        let mut hints = Hints::default();
        let said = (0..3_000).filter(|ms| hints.add(7, now + *ms * MS)).count();
        assert_eq!(said, 3);
    }

    proptest! {
        #[test]
        fn hints_are_bounded_whatever_fails_and_each_goes_out_once(
            events in prop::collection::vec((0_usize..300, 0_u64..40), 0..600),
        ) {
            let began = host::now();
            let mut now = began;
            let mut hints = Hints::default();
            let mut said: HashMap<NodeId, Vec<Instant>> = HashMap::new();
            let mut accepted = 0;
            for (number, wait_ms) in events {
                now += Duration::from_millis(wait_ms);
                let sent = hints.take(now, |number| (node(number), vec![peer("a")]));
                for hint in sent {
                    prop_assert!((1..=HINT_NODES_MAX).contains(&hint.nodes.len()));
                    hint.nodes.into_iter().for_each(|node| said.entry(node).or_default().push(now));
                }
                accepted += usize::from(hints.add(number, now));
                prop_assert!(hints.last.len() <= 300 && hints.gathered.len() <= 300);
                prop_assert!(hints.next().is_none_or(|at| at <= now + GATHER));
            }
            now += GATHER;
            for hint in hints.take(now, |number| (node(number), vec![peer("a")])) {
                hint.nodes.into_iter().for_each(|node| said.entry(node).or_default().push(now));
            }
            prop_assert_eq!(said.values().map(Vec::len).sum::<usize>(), accepted);
            let most = (now - began).div_duration_f64(PAUSE) + 2.0;
            for times in said.values() {
                prop_assert!(times.len() as f64 <= most, "{} times", times.len());
            }
        }
    }
}
