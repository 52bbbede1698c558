//! What must hold while a cluster is simulated, and once it has been left in peace.

use std::collections::BTreeMap;
use std::time::Duration;

use evenkeel::model::{Member, Members, Node, NodeId, Observe, PeerState, RegionName, Verdict};
use evenkeel::view::observers::Observed;

use super::Violation;
use super::nodes::{self, Manner};
use super::peers::{Peers, Sight};
use super::trace::Trace;

/// A node that is up, and that most of its observers reach, is called down by nobody for longer. It takes two checks at the
/// pace of a node that is down, and the time until that is told; a peer that has just lost or found others needs the time
/// in which a vote stays fresh beside.
const DOWN_WRONGLY_MAX: Duration = Duration::from_secs(6);
/// A peer that was starved may hear its own fault for so long.
const WOKEN: Duration = Duration::from_secs(3);

/// Which rules hold beside those that always do.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Rules {
    /// No peer that runs may be called dead.
    pub no_death: bool,
    /// No node that is up may be called down, not for a moment.
    pub no_down: bool,
    /// A peer that was starved accuses no other.
    pub no_accusation: bool,
}

/// Looks at every peer again and again, tells the trace what changed, and says what is wrong.
#[derive(Debug, Default)]
pub struct Judge {
    /// Which rules hold now.
    pub rules: Rules,
    seen: BTreeMap<usize, Sight>,
    wrong_since: BTreeMap<(usize, usize), Duration>,
    starved_at: BTreeMap<usize, Duration>,
    observed: Vec<Observed>,
    /// How long a node was called down wrongly at most.
    pub down_wrongly_max: Duration,
    /// Peers that run and were called dead.
    pub deaths_wrongly: u64,
}

impl Judge {
    /// Looks at everybody.
    pub fn look(&mut self, peers: &Peers, trace: &mut Trace) -> Result<(), Violation> {
        let now = peers.elapsed();
        for peer in 0..peers.count() {
            if peers.is_starved(peer) {
                // It sees nothing, and nothing can be held against it.
                self.starved_at.insert(peer, now);
                self.wrong_since.retain(|(of, _), _| *of != peer);
                continue;
            }
            let Some(sight) = peers.sight(peer) else {
                self.seen.remove(&peer);
                self.wrong_since.retain(|(of, _), _| *of != peer);
                continue;
            };
            let before = self.seen.get(&peer).cloned().unwrap_or_default();
            if before != sight {
                self.told(peer, &before, &sight, peers, trace)?;
                self.seen.insert(peer, sight.clone());
            }
            self.judge_nodes(peer, &sight, peers)?;
        }
        Ok(())
    }

    /// What is wrong with what everybody sees of peers, now that it has had time to settle; `None`: nothing.
    pub fn disagree_on_peers(&self, peers: &Peers) -> Option<String> {
        for peer in peers.running() {
            let sight = self.seen.get(&peer)?;
            for other in (0..peers.count()).filter(|other| *other != peer) {
                let seen = sight.peers.iter().find(|(number, ..)| *number == other);
                let is_right = if peers.is_running(other) {
                    seen.is_some_and(|(_, state, start)| *state == PeerState::Alive && *start == peers.starts(other))
                } else {
                    seen.is_none_or(|(_, state, _)| *state == PeerState::Dead)
                };
                if !is_right {
                    let state = seen.map_or("not at all", |(_, state, _)| state.name());
                    let is = if peers.is_running(other) { "runs" } else { "does not run" };
                    return Some(format!("p{peer:02} sees p{other:02} {state}, which {is}"));
                }
            }
        }
        None
    }

    /// Two peers whose verdicts on a node differ.
    pub fn disagree_on_verdicts(&self, peers: &Peers) -> Option<String> {
        let mut running = peers.running();
        let first = running.next()?;
        let expected = &self.seen.get(&first)?.verdicts;
        for peer in running {
            let verdicts = &self.seen.get(&peer)?.verdicts;
            if let Some(node) = (0..expected.len()).find(|node| expected[*node] != verdicts[*node]) {
                let (here, there) = (expected[node].name(), verdicts[node].name());
                return Some(format!("n{node:03} is {here} to p{first:02} and {there} to p{peer:02}"));
            }
        }
        None
    }

    /// A peer whose verdict on a node is not how the node is.
    pub fn wrong_on_nodes(&self, peers: &Peers) -> Option<String> {
        for peer in peers.running() {
            let verdicts = &self.seen.get(&peer)?.verdicts;
            for (node, verdict) in verdicts.iter().enumerate() {
                let is_up = peers.nodes().manner(node) == Manner::Up;
                if is_up != (*verdict == Verdict::Up) {
                    return Some(format!("n{node:03} is {} to p{peer:02} and is not", verdict.name()));
                }
            }
        }
        None
    }

    /// Whom a peer called doubtful when it was looked at last.
    pub fn doubtful(&self, peer: usize) -> &[usize] {
        self.seen.get(&peer).map_or(&[], |sight| &sight.doubtful)
    }

    fn told(
        &mut self,
        peer: usize,
        before: &Sight,
        after: &Sight,
        peers: &Peers,
        trace: &mut Trace,
    ) -> Result<(), Violation> {
        let now = peers.elapsed();
        let woken = |of: usize| self.starved_at.get(&of).is_some_and(|at| now < *at + WOKEN);
        for (other, state, start) in after.peers.iter().filter(|row| !before.peers.contains(row)) {
            trace.event(now, &format_args!("p{peer:02}: p{other:02}.{start} is {}", state.name()));
            let is_wrong = *state == PeerState::Dead && peers.is_running(*other) && *start == peers.starts(*other);
            if !is_wrong || !peers.is_running(peer) {
                continue;
            }
            self.deaths_wrongly += 1;
            if self.rules.no_death {
                return Err(Violation(format!("p{peer:02} calls p{other:02} dead, which runs")));
            }
            if self.rules.no_accusation && !woken(*other) {
                return Err(Violation(format!("p{peer:02} calls p{other:02} dead, which runs and was never starved")));
            }
        }
        for node in 0..after.verdicts.len() {
            let (was, is) = (before.verdicts.get(node), after.verdicts[node]);
            if was == Some(&is) {
                continue;
            }
            trace.event(now, &format_args!("p{peer:02}: n{node:03} is {}", is.name()));
            if self.rules.no_down && is == Verdict::Down && peers.nodes().manner(node) == Manner::Up {
                return Err(Violation(format!("p{peer:02} calls n{node:03} down, which is up")));
            }
        }
        if before.doubtful != after.doubtful {
            trace.event(now, &format_args!("p{peer:02}: doubtful are {:?}", after.doubtful));
        }
        Ok(())
    }

    fn judge_nodes(&mut self, peer: usize, sight: &Sight, peers: &Peers) -> Result<(), Violation> {
        let now = peers.elapsed();
        for (node, verdict) in sight.verdicts.iter().enumerate() {
            let is_wrong = *verdict == Verdict::Down
                && peers.nodes().manner(node) == Manner::Up
                && peers.is_running(peer)
                && !sight.doubtful.contains(&peer)
                && self.most_reach(peer, sight, node, peers);
            if !is_wrong {
                self.wrong_since.remove(&(peer, node));
                continue;
            }
            let since = *self.wrong_since.entry((peer, node)).or_insert(now);
            self.down_wrongly_max = self.down_wrongly_max.max(now - since);
            if now - since > DOWN_WRONGLY_MAX {
                return Err(Violation(format!(
                    "p{peer:02} has called n{node:03} down since {} ms, which is up and which most of its observers reach",
                    since.as_millis()
                )));
            }
        }
        Ok(())
    }

    /// Whether more than half of those who observe a node, as a peer sees it, run and reach the node.
    fn most_reach(&mut self, peer: usize, sight: &Sight, node: usize, peers: &Peers) -> bool {
        let member = |number: usize| Member {
            id: format!("p{number:02}").parse().expect("a name"),
            region: RegionName::default(),
        };
        let living = sight.peers.iter().filter(|(_, state, _)| *state != PeerState::Dead);
        let members = Members::new(member(peer), living.map(|(number, ..)| member(*number)));
        while self.observed.len() <= node {
            let number = self.observed.len();
            let id: NodeId = nodes::id(number);
            let node = Node::new(id, nodes::address(number).into());
            self.observed.push(Observed::of(&node, Observe::Divided));
        }
        let observers = self.observed[node].observers(&members);
        let reaches = |number: usize| {
            peers.is_running(number) && !peers.is_starved(number) && !peers.nodes().is_cut(number, node)
        };
        let numbers = observers.iter().filter_map(|observer| observer.id.as_str()[1..].parse().ok());
        numbers.filter(|number| reaches(*number)).count() * 2 > observers.len()
    }
}
