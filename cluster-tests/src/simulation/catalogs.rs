//! Catalogs that change while peers live, and reach each peer at another time, before what others say of their nodes or after.

use std::sync::Arc;
use std::time::Duration;

use evenkeel::host::Dice;
use evenkeel::model::{Admin, Catalog, Node, NodeId, Pool, Revision, Verdict, Weight};

use super::Violation;
use super::nodes::{self, Manner, Nodes};
use super::peers::{Peers, STEP};
use super::scenario::Plan;
use super::trace::Trace;

/// A new catalog has reached all within this time.
const TOLD_WITHIN_MS: usize = 3_000;
/// Then all say the same of every node within this one,
const AGREED_WITHIN: Duration = Duration::from_secs(2);
/// and are right within this one.
const RIGHT_WITHIN: Duration = Duration::from_secs(15);
/// Packets that are lost, all the time.
const LOSS: f64 = 0.05;

struct Run<'t> {
    peers: Peers,
    dice: Dice,
    trace: &'t mut Trace,
    agreed_max: Duration,
    right_max: Duration,
}

/// Simulates, tells the trace, and returns its number.
pub fn simulate(plan: &Plan, trace: &mut Trace) -> Result<u64, Violation> {
    let mut dice = Dice::from_seed(plan.seed);
    let nodes = Nodes::new(plan.nodes, Dice::from_seed(dice.bits()));
    let mut peers = Peers::new(plan.peers, nodes, Dice::from_seed(dice.bits()));
    (0..plan.peers).for_each(|peer| peers.start(peer));
    peers.set_loss(LOSS);
    let mut run = Run { peers, dice, trace, agreed_max: Duration::ZERO, right_max: Duration::ZERO };
    let mut changes = 0;
    while run.peers.elapsed() < plan.lasts {
        changes += 1;
        run.change(changes)?;
    }
    for peer in run.peers.running().collect::<Vec<_>>() {
        if run.peers.restarts(peer) > 0 {
            return Err(Violation(format!("parts of p{peer:02} failed and were started again")));
        }
    }
    run.trace.figure("catalogs", &changes);
    run.trace.figure("all agreed on nodes, ms after the last was told at most", &run.agreed_max.as_millis());
    run.trace.figure("all were right about nodes, ms after the last was told at most", &run.right_max.as_millis());
    let network = run.peers.trace();
    Ok(run.trace.number(network))
}

impl Run<'_> {
    fn change(&mut self, number: usize) -> Result<(), Violation> {
        let count = self.peers.count();
        for _ in 0..self.dice.below(3) {
            let node = self.dice.below(self.peers.nodes().count());
            let manner = if self.dice.below(3) == 0 { Manner::Refuses } else { Manner::Up };
            self.peers.nodes().set(node, manner);
        }
        let catalog = Arc::new(self.catalog());
        let began = self.peers.elapsed();
        self.trace.event(began, &format_args!("-- catalog {number} of {} nodes", catalog.nodes().count()));
        // Now and then somebody starts anew, with the first catalog of all, and is told of this one like the others.
        let restarts = (self.dice.below(5) == 0).then(|| self.dice.below(count));
        if let Some(peer) = restarts {
            self.trace.event(began, &format_args!("-- p{peer:02} killed and started"));
            self.peers.kill(peer);
            self.peers.start(peer);
        }
        let mut told_at: Vec<(Duration, usize)> = (0..count)
            .map(|peer| (began + Duration::from_millis(self.dice.below(TOLD_WITHIN_MS) as u64), peer))
            .collect();
        told_at.sort_unstable();
        for (at, peer) in told_at {
            self.go_on(at);
            self.trace.event(at, &format_args!("-- p{peer:02} is told"));
            self.peers.set_catalog(peer, &catalog);
        }
        let told = self.peers.elapsed();
        let agreed = self.until(AGREED_WITHIN, |run| run.disagree(&catalog))?;
        self.agreed_max = self.agreed_max.max(agreed);
        self.until(RIGHT_WITHIN, |run| run.wrong(&catalog))?;
        self.right_max = self.right_max.max(self.peers.elapsed() - told);
        Ok(())
    }

    /// A catalog of two pools in any order, of nodes that are mostly where they were.
    fn catalog(&mut self) -> Catalog {
        let count = self.peers.nodes().count();
        let mut pools = ["web", "api"].map(|name| Pool::new(name.parse().expect("a name")));
        let mut numbers: Vec<usize> = (0..count).collect();
        (1..count).for_each(|at| numbers.swap(at, self.dice.below(at + 1)));
        for number in numbers {
            // One in five is not there at all.
            if self.dice.below(5) == 0 {
                continue;
            }
            let place = if self.dice.below(8) == 0 { self.dice.below(count) } else { number };
            let mut node = Node::new(nodes::id(number), nodes::address(place).into());
            node.weight = u16::try_from(1 + self.dice.below(9)).ok().and_then(Weight::new).expect("a weight");
            node.admin = match self.dice.below(12) {
                0 => Admin::Draining { begun: Revision::ZERO, timeout: Some(Duration::from_secs(1)) },
                1 => Admin::Disabled,
                _ => Admin::Enabled,
            };
            let pool = if self.dice.below(9) == 0 { 1 - number % 2 } else { number % 2 };
            pools[pool].nodes.push(node);
        }
        if self.dice.below(2) == 0 {
            pools.swap(0, 1);
        }
        Catalog::new(pools.into()).expect("every id once")
    }

    /// Somebody who has another catalog, or says otherwise of a node.
    fn disagree(&self, catalog: &Catalog) -> Option<String> {
        let enabled = |node: &&Node| node.admin != Admin::Disabled;
        let mut ids: Vec<&NodeId> =
            catalog.nodes().map(|(_, node)| node).filter(enabled).map(|node| &node.id).collect();
        ids.sort_unstable();
        let first = self.peers.verdicts(0)?;
        for peer in self.peers.running() {
            let verdicts = self.peers.verdicts(peer)?;
            if !verdicts.keys().eq(ids.iter().copied()) {
                return Some(format!("p{peer:02} has other nodes"));
            }
            if let Some((id, verdict)) = verdicts.iter().find(|(id, verdict)| first.get(*id) != Some(*verdict)) {
                return Some(format!("{id} is {} to p{peer:02} and not to p00", verdict.name()));
            }
        }
        None
    }

    /// Somebody whose verdict on a node is not how the node is.
    fn wrong(&self, catalog: &Catalog) -> Option<String> {
        self.disagree(catalog).or_else(|| {
            let verdicts = self.peers.verdicts(0)?;
            let wrong = catalog.nodes().map(|(_, node)| node).find(|node| {
                let is_up = node.address.literal().is_some_and(|address| self.peers.nodes().is_up_at(address));
                verdicts.get(&node.id).is_some_and(|verdict| is_up != (*verdict == Verdict::Up))
            });
            wrong.map(|node| format!("{} is {} and is not", node.id, verdicts[&node.id].name()))
        })
    }

    fn until(&mut self, within: Duration, wrong: impl Fn(&Self) -> Option<String>) -> Result<Duration, Violation> {
        let began = self.peers.elapsed();
        loop {
            let took = self.peers.elapsed() - began;
            match wrong(self) {
                None => return Ok(took),
                Some(why) if took > within => {
                    return Err(Violation(format!("{} ms after all were told {why}", within.as_millis())));
                }
                Some(_) => self.go_on(self.peers.elapsed() + 5 * STEP),
            }
        }
    }

    fn go_on(&mut self, until: Duration) {
        while self.peers.elapsed() < until {
            self.peers.step();
        }
    }
}
