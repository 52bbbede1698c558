//! Made-up nodes: which of them answer, and which peers have a way to them.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use evenkeel::health::{Asking, World};
use evenkeel::host::{self, Dice};
use evenkeel::model::{Catalog, Check, CheckTarget, Node, NodeId, Pool};
use evenkeel::probe::{Found, Phase, ProbeError, Report};
use tokio::time::sleep;

/// How long an answer takes at least, and how much longer at most.
const ANSWER_MS: (usize, usize) = (1, 8);

/// How a node is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Manner {
    /// It answers.
    Up,
    /// Its host says that nobody is there.
    Refuses,
    /// It swallows everything.
    Silent,
}

/// All nodes. Clones are the same nodes.
#[derive(Clone, Debug)]
pub struct Nodes(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    manners: Vec<Manner>,
    /// Peer and node: there is no way from one to the other.
    cuts: BTreeSet<(usize, usize)>,
    dice: Dice,
    asked: u64,
}

impl Nodes {
    /// So many, all of them up.
    pub fn new(count: usize, dice: Dice) -> Self {
        let state = State { manners: vec![Manner::Up; count], cuts: BTreeSet::new(), dice, asked: 0 };
        Self(Arc::new(Mutex::new(state)))
    }

    /// The catalog that names them, in one pool that is checked as pools are which say nothing.
    pub fn catalog(&self) -> Catalog {
        let mut pool = Pool::new("web".parse().expect("a name"));
        let count = self.state().manners.len();
        pool.nodes = (0..count).map(|number| Node::new(id(number), address(number).into())).collect();
        Catalog::new(vec![pool]).expect("ids and addresses differ")
    }

    /// The world of one peer.
    pub fn seen_by(&self, peer: usize) -> Arc<dyn World> {
        Arc::new(SeenBy { peer, nodes: self.clone() })
    }

    /// From now on a node is like this.
    pub fn set(&self, node: usize, manner: Manner) {
        self.state().manners[node] = manner;
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.state().manners.len()
    }

    /// How a node is.
    pub fn manner(&self, node: usize) -> Manner {
        self.state().manners[node]
    }

    /// Whether the node at an address answers.
    pub fn is_up_at(&self, address: SocketAddr) -> bool {
        self.manner(number(address)) == Manner::Up
    }

    /// Takes away a peer's way to a node, or gives it back.
    pub fn set_cut(&self, peer: usize, node: usize, is_cut: bool) {
        let mut state = self.state();
        if is_cut {
            state.cuts.insert((peer, node));
        } else {
            state.cuts.remove(&(peer, node));
        }
    }

    /// Whether a peer has a way to a node.
    pub fn is_cut(&self, peer: usize, node: usize) -> bool {
        self.state().cuts.contains(&(peer, node))
    }

    /// How many checks were begun.
    pub fn asked(&self) -> u64 {
        self.state().asked
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug)]
struct SeenBy {
    peer: usize,
    nodes: Nodes,
}

impl World for SeenBy {
    fn ask(&self, target: &CheckTarget, check: &Check) -> Asking {
        let (peer, nodes, timeout) = (self.peer, self.nodes.clone(), check.timeout);
        let node = number(target.address);
        Box::pin(async move {
            let began = host::now();
            let takes = {
                let mut state = nodes.state();
                state.asked += 1;
                let (least, spread) = ANSWER_MS;
                Duration::from_millis((least + state.dice.below(spread)) as u64)
            };
            let is_silent = || nodes.is_cut(peer, node) || nodes.manner(node) == Manner::Silent;
            sleep(if is_silent() { timeout } else { takes.min(timeout) }).await;
            // A peer that was starved meanwhile finds its time over, as it would with a deadline of its own.
            let total = host::now() - began;
            let outcome = if is_silent() || total >= timeout {
                Err(ProbeError::TimedOut(Phase::Connect))
            } else if nodes.manner(node) == Manner::Refuses {
                Err(ProbeError::Refused)
            } else {
                Ok(Found::Connected)
            };
            Report { connect: outcome.is_ok().then_some(takes), outcome, total }
        })
    }
}

/// What a node is called.
pub fn id(node: usize) -> NodeId {
    format!("n{node:03}").parse().expect("a name")
}

/// Where a node is: at 10.1.0.0 and up; peers are below.
pub fn address(node: usize) -> SocketAddr {
    let node = u32::try_from(node).expect("few enough for the addresses of a network");
    SocketAddr::from((Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 1, 0, 0)) + node), 80))
}

fn number(address: SocketAddr) -> usize {
    match address {
        SocketAddr::V4(v4) => (u32::from(*v4.ip()) - u32::from(Ipv4Addr::new(10, 1, 0, 0))) as usize,
        SocketAddr::V6(_) => unreachable!("nodes have addresses of version 4"),
    }
}
