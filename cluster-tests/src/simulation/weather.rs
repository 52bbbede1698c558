//! What goes wrong at random: peers that die, leave or starve, ways that are cut, packets that are lost, nodes that are gone.

use std::fmt;
use std::time::Duration;

use evenkeel::host::Dice;

use super::nodes::Manner;
use super::peers::Peers;
use super::trace::Trace;

/// How long a fault stands.
const STANDS_MS: (usize, usize) = (200, 9_000);
/// Between two faults.
const PAUSE_MS: (usize, usize) = (100, 1_500);
/// So many run at all times.
const RUNNING_MIN: usize = 2;

/// Something that is wrong for a while.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Fault {
    Killed(usize),
    Left(usize),
    Starved(usize),
    /// These ways are cut.
    Cut(Vec<(usize, usize)>),
    /// In thousandths.
    Loss(usize),
    Node(usize, Manner),
    /// A peer has no way to these nodes.
    Unreached(usize, Vec<usize>),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Killed(peer) => write!(f, "p{peer:02} killed"),
            Self::Left(peer) => write!(f, "p{peer:02} told to leave"),
            Self::Starved(peer) => write!(f, "p{peer:02} starved"),
            Self::Cut(ways) => {
                f.write_str("cut")?;
                ways.iter().try_for_each(|(from, to)| write!(f, " p{from:02}>p{to:02}"))
            }
            Self::Loss(thousandths) => write!(f, "{thousandths} of 1000 packets lost"),
            Self::Node(node, manner) => write!(f, "n{node:03} made {manner:?}"),
            Self::Unreached(peer, nodes) => write!(f, "p{peer:02} cut from {nodes:?}"),
        }
    }
}

/// The weather over a cluster.
#[derive(Debug)]
pub struct Weather {
    dice: Dice,
    next: Duration,
    /// What stands, and until when.
    standing: Vec<(Duration, Fault)>,
}

impl Weather {
    /// A clear sky.
    pub fn new(dice: Dice) -> Self {
        Self { dice, next: Duration::ZERO, standing: Vec::new() }
    }

    /// Lets happen what is due.
    pub fn blow(&mut self, peers: &mut Peers, trace: &mut Trace) {
        let now = peers.elapsed();
        while let Some(at) = self.standing.iter().position(|(until, _)| *until <= now) {
            let (_, fault) = self.standing.swap_remove(at);
            self.end(fault, peers, trace);
        }
        if self.next <= now {
            self.next = now + self.between(PAUSE_MS);
            let until = now + self.between(STANDS_MS);
            if let Some(fault) = self.draw(peers) {
                self.begin(until, fault, peers, trace);
            }
        }
    }

    /// Ends what stands between those who run. A dead peer or node is brought back or left as it is, by a throw of the dice.
    pub fn clear(&mut self, peers: &mut Peers, trace: &mut Trace) {
        for (until, fault) in std::mem::take(&mut self.standing) {
            let may_stay = matches!(fault, Fault::Killed(_) | Fault::Left(_) | Fault::Node(..));
            if may_stay && self.dice.below(2) == 0 {
                self.standing.push((until, fault));
            } else {
                self.end(fault, peers, trace);
            }
        }
    }

    fn begin(&mut self, until: Duration, fault: Fault, peers: &mut Peers, trace: &mut Trace) {
        trace.event(peers.elapsed(), &format_args!("-- {fault}"));
        match &fault {
            Fault::Killed(peer) => peers.kill(*peer),
            Fault::Left(peer) => peers.leave(*peer),
            Fault::Starved(peer) => peers.starve(*peer),
            Fault::Cut(ways) => ways.iter().for_each(|(from, to)| peers.set_cut(*from, *to, true)),
            Fault::Loss(thousandths) => peers.set_loss(*thousandths as f64 / 1_000.0),
            Fault::Node(node, manner) => peers.nodes().set(*node, *manner),
            Fault::Unreached(peer, nodes) => nodes.iter().for_each(|node| peers.nodes().set_cut(*peer, *node, true)),
        }
        self.standing.push((until, fault));
    }

    fn end(&mut self, fault: Fault, peers: &mut Peers, trace: &mut Trace) {
        trace.event(peers.elapsed(), &format_args!("-- no more: {fault}"));
        match fault {
            Fault::Killed(peer) | Fault::Left(peer) if peers.is_empty(peer) => peers.start(peer),
            // It takes long to leave.
            Fault::Killed(peer) | Fault::Left(peer) => {
                peers.kill(peer);
                peers.start(peer);
            }
            Fault::Starved(peer) => peers.feed(peer),
            Fault::Cut(ways) => ways.iter().for_each(|(from, to)| peers.set_cut(*from, *to, false)),
            Fault::Loss(_) => peers.set_loss(0.0),
            Fault::Node(node, _) => peers.nodes().set(node, Manner::Up),
            Fault::Unreached(peer, nodes) => nodes.iter().for_each(|node| peers.nodes().set_cut(peer, *node, false)),
        }
    }

    /// A fault that is not there yet; none where the dice say something that cannot be.
    fn draw(&mut self, peers: &Peers) -> Option<Fault> {
        let count = peers.count();
        let nodes = peers.nodes().count();
        let peer = self.dice.below(count);
        let other = (peer + 1 + self.dice.below(count - 1)) % count;
        let node = self.dice.below(nodes);
        let is_well = peers.is_running(peer) && !peers.is_starved(peer);
        let may_go = is_well && peers.running().count() > RUNNING_MIN;
        let fault = match self.dice.below(20) {
            0..2 => Fault::Killed(peer),
            2 => Fault::Left(peer),
            3..6 => Fault::Starved(peer),
            6..8 => Fault::Cut(vec![(peer, other), (other, peer)]),
            8..10 => Fault::Cut(vec![(peer, other)]),
            10 => Fault::Cut(self.part(count)),
            11..13 => Fault::Loss(self.dice.below(300)),
            13..15 => Fault::Node(node, Manner::Refuses),
            15 => Fault::Node(node, Manner::Silent),
            16..18 => Fault::Unreached(peer, vec![node]),
            18 => Fault::Unreached(peer, (0..nodes).collect()),
            _ => {
                peers.suspect(peer, node);
                return None;
            }
        };
        let is_possible = match &fault {
            Fault::Killed(_) | Fault::Left(_) => may_go,
            Fault::Starved(_) => is_well,
            Fault::Node(node, _) => peers.nodes().manner(*node) == Manner::Up,
            Fault::Cut(_) | Fault::Loss(_) | Fault::Unreached(..) => true,
        };
        is_possible.then_some(fault)
    }

    /// All ways between two halves.
    fn part(&mut self, count: usize) -> Vec<(usize, usize)> {
        let sides: Vec<bool> = (0..count).map(|_| self.dice.below(2) == 0).collect();
        let pairs = (0..count).flat_map(|from| (0..count).map(move |to| (from, to)));
        pairs.filter(|(from, to)| sides[*from] != sides[*to]).collect()
    }

    fn between(&mut self, (least, most): (usize, usize)) -> Duration {
        Duration::from_millis((least + self.dice.below(most - least)) as u64)
    }
}
