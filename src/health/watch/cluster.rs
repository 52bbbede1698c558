//! Whole clusters in virtual time: every peer has its own watch and its own view, answers are made up, hints arrive at once and
//! what peers observe is told to the others five times a second.

use std::collections::BTreeSet;

use super::*;
use crate::health::machine::Condition;
use crate::host;
use crate::model::{Heard, Member, Node, NodeKey, Pool, RegionName, TcpCheck, Verdict};
use crate::view::{Changes, Event, Local, NodeView, View, first};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
/// Between two words of gossip.
const GOSSIP: Duration = Duration::from_millis(200);

struct Peer {
    id: PeerId,
    watch: Watch,
    view: View,
    alive: bool,
    told_sweep: Option<Instant>,
}

struct Cluster {
    now: Instant,
    peers: Vec<Peer>,
    nodes: usize,
    /// Nodes that refuse everybody.
    dead: BTreeSet<usize>,
    /// Peer and node: there is no way from one to the other.
    cut: BTreeSet<(usize, usize)>,
    gossip_at: Instant,
    sweep_at: Instant,
    /// Probes by node.
    probes: Vec<usize>,
    /// Hints that arrived.
    hints: usize,
    /// Verdicts of down, by peer and node, that were ever seen.
    seen_down: BTreeSet<(usize, usize)>,
}

fn node_id(number: usize) -> NodeId {
    format!("n{number:02}").parse().unwrap()
}

impl Cluster {
    fn new(peers: usize, nodes: usize, check: Check) -> Self {
        let now = host::now();
        let mut pool = Pool::new("web".parse().unwrap());
        pool.check = check;
        pool.nodes = (0..nodes).map(|number| Node::new(node_id(number), "192.0.2.1:80".parse().unwrap())).collect();
        let catalog = Catalog::new(vec![pool]).unwrap();
        let ids: Vec<PeerId> = (0..peers).map(|number| format!("p{number:02}").parse().unwrap()).collect();
        let members = |own: usize| members(own, &ids, |_| true);
        let peer = |own: usize| Peer {
            id: ids[own].clone(),
            watch: Watch::new(&catalog, HashMap::new(), members(own), now, Dice::from_seed(own as u64), now),
            view: first(&catalog, members(own), now),
            alive: true,
            told_sweep: None,
        };
        let mut cluster = Self {
            now,
            peers: (0..peers).map(peer).collect(),
            nodes,
            dead: BTreeSet::new(),
            cut: BTreeSet::new(),
            gossip_at: now,
            sweep_at: now,
            probes: vec![0; nodes],
            hints: 0,
            seen_down: BTreeSet::new(),
        };
        // Sweeps are seen to rise, and every node has its place within the interval.
        cluster.run(6 * SECOND);
        cluster
    }

    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.round();
            let due = self.peers.iter().filter(|peer| peer.alive).filter_map(|peer| peer.watch.next());
            let views = self.peers.iter().filter(|peer| peer.alive).filter_map(|peer| peer.view.due());
            let next = due.chain(views).chain([self.gossip_at, self.sweep_at]).min().unwrap();
            self.now = next.max(self.now + MS).min(end);
        }
        self.round();
    }

    /// How long until `holds` for every living peer, looked at every 10 ms.
    fn until(&mut self, what: &str, holds: impl Fn(&View) -> bool) -> Duration {
        let began = self.now;
        while !self.peers.iter().filter(|peer| peer.alive).all(|peer| holds(&peer.view)) {
            assert!(self.now - began < 60 * SECOND, "never: {what}");
            self.run(10 * MS);
        }
        self.now - began
    }

    fn round(&mut self) {
        if self.sweep_at <= self.now {
            self.sweep_at = self.now + SECOND;
            self.peers.iter_mut().for_each(|peer| peer.watch.sweep(self.now));
        }
        for at in 0..self.peers.len() {
            if self.peers[at].alive {
                self.ask(at);
                self.hint(at);
                self.hear(at);
            }
        }
        if self.gossip_at <= self.now {
            self.gossip_at = self.now + GOSSIP;
            self.gossip();
        }
        for (at, peer) in self.peers.iter().enumerate().filter(|(_, peer)| peer.alive) {
            let down = (0..self.nodes).filter(|node| verdict(&peer.view, *node) == Verdict::Down);
            self.seen_down.extend(down.map(|node| (at, node)));
        }
    }

    fn ask(&mut self, at: usize) {
        let peer = &mut self.peers[at];
        while let Some(ask) = peer.watch.take_ask(self.now) {
            self.probes[ask.index] += 1;
            let is_there = !self.dead.contains(&ask.index) && !self.cut.contains(&(at, ask.index));
            let finding = Finding {
                result: if is_there { Ok(Condition::Well) } else { Err(Fault::Hard) },
                connect: is_there.then_some(MS),
                words: String::new(),
            };
            let answer = Answer { began: self.now, finding, answering: is_there.then_some(0) };
            if let Some((node, suspicion)) = peer.watch.answered(ask.index, answer, self.now) {
                let live = &peer.view.node(&node).unwrap().1.live;
                let _ = if suspicion == Suspicion::Raised { live.suspect() } else { live.clear_suspicion() };
            }
        }
    }

    fn hint(&mut self, at: usize) {
        for hint in self.peers[at].watch.take_hints(self.now) {
            let to = self.peers.iter_mut().find(|peer| peer.id == hint.to).unwrap();
            self.hints += 1;
            hint.nodes.iter().for_each(|node| to.watch.hinted(node, self.now));
        }
    }

    /// What the watch found goes into the view, and so does time.
    fn hear(&mut self, at: usize) {
        let peer = &mut self.peers[at];
        let mut changes = Changes::default();
        while let Some(output) = peer.watch.next_output() {
            let event = match output {
                Output::Observed { key, observation, .. } => Event::Observed { node: key, observation },
                Output::Resolved { key, addresses, .. } => Event::Resolved { node: key, addresses },
                Output::Swept { at } => Event::OwnSwept { at },
            };
            changes.add(&peer.view, event);
        }
        if !changes.is_empty() || peer.view.due().is_some_and(|due| due <= self.now) {
            peer.view = peer.view.after(changes, self.now);
        }
    }

    fn gossip(&mut self) {
        let mut told = Vec::new();
        for peer in self.peers.iter_mut().filter(|peer| peer.alive) {
            let nodes: Vec<(NodeKey, Heard)> = (0..self.nodes)
                .map(|number| node(&peer.view, number))
                .map(|node| (node.key, node.said_here()))
                .collect();
            told.push(Event::Heard { observer: peer.id.clone(), page: 0, nodes });
            if std::mem::replace(&mut peer.told_sweep, peer.view.own_swept()) != peer.view.own_swept() {
                told.push(Event::Swept { observer: peer.id.clone(), at: self.now });
            }
        }
        for peer in self.peers.iter_mut().filter(|peer| peer.alive) {
            let mut changes = Changes::default();
            let others = told.iter().filter(|event| {
                !matches!(event, Event::Heard { observer, .. } | Event::Swept { observer, .. } if *observer == peer.id)
            });
            others.for_each(|event| changes.add(&peer.view, event.clone()));
            peer.view = peer.view.after(changes, self.now);
        }
    }

    /// A client of that peer meets a node that refuses.
    fn traffic_fails(&mut self, peer: usize, number: usize) {
        let peer = &mut self.peers[peer];
        node(&peer.view, number).live.suspect();
        peer.watch.suspected(&node_id(number), self.now);
    }

    /// A peer dies, and the others know.
    fn kill(&mut self, dead: usize) {
        self.peers[dead].alive = false;
        let ids: Vec<PeerId> = self.peers.iter().map(|peer| peer.id.clone()).collect();
        let living: Vec<bool> = self.peers.iter().map(|peer| peer.alive).collect();
        for own in (0..self.peers.len()).filter(|own| living[*own]) {
            let now = members(own, &ids, |other| living[other]);
            let peer = &mut self.peers[own];
            let known: BTreeSet<NodeId> = (0..self.nodes)
                .filter(|number| verdict(&peer.view, *number) != Verdict::Unknown)
                .map(node_id)
                .collect();
            peer.watch.meet(Arc::clone(&now), |node| known.contains(node), self.now);
            let mut changes = Changes::default();
            changes.add(&peer.view, Event::Members(now));
            peer.view = peer.view.after(changes, self.now);
        }
    }

    /// Fresh votes on a node, as a peer sees them.
    fn votes(&self, peer: usize, number: usize) -> usize {
        let opinions = self.peers[peer].view.opinions(&node_id(number)).unwrap();
        opinions.iter().filter(|of| of.fresh && of.heard.vote.is_some()).count()
    }
}

fn members(own: usize, ids: &[PeerId], is_alive: impl Fn(usize) -> bool) -> Arc<Members> {
    let member = |number: usize| Member { id: ids[number].clone(), region: RegionName::default() };
    Arc::new(Members::new(member(own), (0..ids.len()).filter(|other| is_alive(*other)).map(member)))
}

fn node(view: &View, number: usize) -> &NodeView {
    view.node(&node_id(number)).unwrap().1
}

fn verdict(view: &View, number: usize) -> Verdict {
    node(view, number).state.verdict
}

fn tcp() -> Check {
    Check::of(CheckKind::Tcp(TcpCheck::default()))
}

#[test]
fn one_failed_connection_at_one_peer_takes_a_dead_node_down_at_all_of_them() {
    for peers in [2, 5, 20] {
        // The next regular check is minutes away.
        let mut cluster = Cluster::new(peers, 4, Check { interval: 600 * SECOND, ..tcp() });
        cluster.dead.insert(0);
        cluster.probes = vec![0; 4];
        cluster.traffic_fails(peers - 1, 0);
        let took = cluster.until("down at all", |view| verdict(view, 0) == Verdict::Down);
        println!("{peers} peers: down at all after {} ms, {} hints", took.as_millis(), cluster.hints);
        assert!(took <= 2 * GOSSIP + 50 * MS, "{peers} peers: {took:?}");
        assert!(cluster.hints <= 4, "whoever was hinted at hints at nobody");
        let others: usize = cluster.probes[1..].iter().sum();
        assert_eq!(others, 0, "nobody asks the others");
        // It comes back, and its observers find out by themselves.
        cluster.dead.clear();
        let took = cluster.until("up at all", |view| verdict(view, 0) == Verdict::Up);
        println!("{peers} peers: up at all after {} ms", took.as_millis());
        assert!(took <= SECOND + GOSSIP, "{peers} peers: {took:?}");
    }
}

#[test]
fn a_peer_that_is_cut_off_from_a_node_never_takes_it_down_for_anybody() {
    for (peers, cut_off) in [(5, 1), (5, 2), (2, 1)] {
        let mut cluster = Cluster::new(peers, 4, tcp());
        cluster.cut.extend((0..cut_off).map(|peer| (peer, 0)));
        cluster.traffic_fails(0, 0);
        cluster.run(60 * SECOND);
        assert!(cluster.seen_down.is_empty(), "{cut_off} of {peers}: {:?}", cluster.seen_down);
        for (at, peer) in cluster.peers.iter().enumerate() {
            let expected = if at < cut_off { Local::Ejected } else { Local::Admitted };
            assert_eq!(node(&peer.view, 0).local(), expected, "{at} of {peers}");
        }
        cluster.cut.clear();
        cluster.run(5 * SECOND);
        assert!(cluster.peers.iter().all(|peer| node(&peer.view, 0).local() == Local::Admitted));
    }
}

#[test]
fn most_of_the_peers_cut_off_take_the_node_down_for_all_and_only_that_node() {
    let mut cluster = Cluster::new(5, 4, tcp());
    cluster.cut.extend((0..3).map(|peer| (peer, 0)));
    let took = cluster.until("down at all", |view| verdict(view, 0) == Verdict::Down);
    println!("3 of 5 cut off: down at all after {} ms", took.as_millis());
    cluster.run(30 * SECOND);
    assert_eq!(cluster.seen_down, (0..5).map(|peer| (peer, 0)).collect());
}

#[test]
fn a_peer_that_reaches_no_node_is_doubted_by_all_and_takes_no_node_down() {
    for peers in [3, 5, 20] {
        let mut cluster = Cluster::new(peers, 12, tcp());
        cluster.cut.extend((0..12).map(|node| (0, node)));
        let doubted: PeerId = cluster.peers[0].id.clone();
        cluster.until("doubted", |view| view.doubtful() == [doubted.clone()]);
        cluster.run(30 * SECOND);
        assert!(cluster.seen_down.is_empty(), "{peers} peers: {:?}", cluster.seen_down);
        cluster.cut.clear();
        cluster.until("believed", |view| view.doubtful().is_empty());
    }
}

#[test]
fn when_an_observer_dies_no_node_is_without_votes_and_another_looks_within_two_intervals() {
    let mut cluster = Cluster::new(20, 10, tcp());
    let counts = |cluster: &Cluster| (0..10).map(|node| cluster.votes(7, node)).collect::<Vec<_>>();
    assert_eq!(counts(&cluster), [3; 10]);
    cluster.kill(3);
    assert!(counts(&cluster).iter().all(|&votes| votes >= 2));
    cluster.run(2 * Check::INTERVAL_DEFAULT);
    assert_eq!(counts(&cluster), [3; 10]);
    assert!(cluster.seen_down.is_empty());
    cluster.probes = vec![0; 10];
    cluster.run(20 * Check::INTERVAL_DEFAULT);
    assert!(cluster.probes.iter().all(|probes| (54..=66).contains(probes)), "60 of each: {:?}", cluster.probes);
}

#[test]
fn every_peer_comes_to_the_same_verdicts() {
    let mut cluster = Cluster::new(7, 20, tcp());
    let mut dice = Dice::from_seed(0x51);
    for _ in 0..10 {
        match dice.below(3) {
            0 => drop(cluster.dead.insert(dice.below(20))),
            1 => drop(cluster.dead.pop_first()),
            _ => drop(cluster.cut.insert((dice.below(7), dice.below(20)))),
        }
        cluster.run(20 * SECOND);
        let verdicts = |peer: &Peer| (0..20).map(|node| verdict(&peer.view, node)).collect::<Vec<_>>();
        let first = verdicts(&cluster.peers[0]);
        assert!(cluster.peers.iter().all(|peer| verdicts(peer) == first));
        for dead in &cluster.dead {
            assert_eq!(first[*dead], Verdict::Down);
        }
    }
}
