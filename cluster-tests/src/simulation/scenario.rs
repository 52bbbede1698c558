//! What is done to a cluster, and what must come of it.

use std::time::Duration;

use clap::ValueEnum;
use evenkeel::host::Dice;

use super::judge::{Judge, Rules};
use super::nodes::Nodes;
use super::peers::{Peers, STEP};
use super::trace::Trace;
use super::weather::Weather;
use super::{Violation, catalogs};

/// Left in peace, all agree within this time: on who lives, and on every node.
const AGREED_WITHIN: Duration = Duration::from_secs(2);
/// And are right about every node within this one: a node that was silent may have to be asked twice, 2 s each time.
const RIGHT_WITHIN: Duration = Duration::from_secs(15);
/// A young cluster is one within this time.
const JOINED_WITHIN: Duration = Duration::from_secs(2);
/// A death is seen by all within this time: of up to five peers, and of more.
const DEATH_SEEN_WITHIN: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(2));
/// A peer that disagrees with everybody is doubted within this time, and believed again.
const DOUBTED_WITHIN: Duration = Duration::from_secs(15);
/// Looks at everybody are so many steps apart.
const STEPS_PER_LOOK: u64 = 5;

/// What is done to the cluster.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum Scenario {
    /// Storms of everything that can go wrong, and calm after each.
    Weather,
    /// One packet in ten is lost, and nothing else is wrong.
    Loss,
    /// Peers get no time to run, now this one and now that.
    Starved,
    /// One peer reaches no node.
    Doubtful,
    /// Nothing but a start, some quiet time, and a death: what it takes and costs.
    Crowd,
    /// Nodes are added, removed, moved and weighed anew, and each peer is told at another time, under loss.
    Catalogs,
}

/// How a cluster is simulated.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Decides everything.
    pub seed: u64,
    /// How many peers.
    pub peers: usize,
    /// How many nodes.
    pub nodes: usize,
    /// Virtual time, after the start.
    pub lasts: Duration,
    /// What is done.
    pub scenario: Scenario,
}

/// A simulation under way.
struct Run<'t> {
    peers: Peers,
    judge: Judge,
    trace: &'t mut Trace,
    dice: Dice,
    steps: u64,
}

/// Simulates, tells the trace, and returns its number.
pub fn simulate(plan: &Plan, trace: &mut Trace) -> Result<u64, Violation> {
    if plan.scenario == Scenario::Catalogs {
        return catalogs::simulate(plan, trace);
    }
    let mut dice = Dice::from_seed(plan.seed);
    let nodes = Nodes::new(plan.nodes, Dice::from_seed(dice.bits()));
    let peers = Peers::new(plan.peers, nodes, Dice::from_seed(dice.bits()));
    let mut run = Run { peers, judge: Judge::default(), trace, dice, steps: 0 };
    run.start()?;
    let end = run.peers.elapsed() + plan.lasts;
    match plan.scenario {
        Scenario::Weather => run.weather(end)?,
        Scenario::Loss => run.loss(end)?,
        Scenario::Starved => run.starved(end)?,
        Scenario::Doubtful => run.doubtful(end)?,
        Scenario::Crowd => run.crowd(end)?,
        Scenario::Catalogs => {}
    }
    for peer in run.peers.running().collect::<Vec<_>>() {
        let restarts = run.peers.restarts(peer);
        if restarts > 0 {
            return Err(Violation(format!("parts of p{peer:02} failed and were started again {restarts} times")));
        }
    }
    let trace = run.peers.trace();
    Ok(run.trace.number(trace))
}

impl Run<'_> {
    /// All start within a second, and find each other.
    fn start(&mut self) -> Result<(), Violation> {
        let pause = Duration::from_secs(1) / u32::try_from(self.peers.count()).unwrap_or(u32::MAX);
        for peer in 0..self.peers.count() {
            self.peers.start(peer);
            self.go_on(self.peers.elapsed() + pause)?;
        }
        let started = self.peers.elapsed();
        let joined = self.until(JOINED_WITHIN, "all are joined", |run| run.judge.disagree_on_peers(&run.peers))?;
        self.until(JOINED_WITHIN, "all know all nodes", |run| {
            let unready = run.peers.running().find(|peer| !run.peers.is_checked(*peer));
            unready.map(|peer| format!("p{peer:02} does not")).or_else(|| run.judge.wrong_on_nodes(&run.peers))
        })?;
        let ready = self.peers.elapsed() - started;
        self.trace.figure("joined, ms after the last start", &joined.as_millis());
        self.trace.figure("all nodes known to all, ms after the last start", &ready.as_millis());
        Ok(())
    }

    /// Storm and calm, by turns.
    fn weather(&mut self, end: Duration) -> Result<(), Violation> {
        let mut weather = Weather::new(Dice::from_seed(self.dice.bits()));
        let (mut agreed_max, mut right_max) = (Duration::ZERO, Duration::ZERO);
        while self.peers.elapsed() < end {
            let storm_ends = self.peers.elapsed() + self.seconds(5, 25);
            while self.peers.elapsed() < storm_ends {
                weather.blow(&mut self.peers, self.trace);
                self.step()?;
            }
            weather.clear(&mut self.peers, self.trace);
            let cleared = self.peers.elapsed();
            let nodes = |run: &Self| run.judge.disagree_on_verdicts(&run.peers);
            let agreed = self.until(AGREED_WITHIN, "all agree on nodes", nodes)?;
            agreed_max = agreed_max.max(agreed);
            // What was on its way when the storm ended may still arrive, so who lives is asked when the time is over.
            self.go_on(cleared + AGREED_WITHIN)?;
            if let Some(wrong) = self.judge.disagree_on_peers(&self.peers) {
                return Err(Violation(format!("{} ms after a storm {wrong}", AGREED_WITHIN.as_millis())));
            }
            // Some packets may be lost at any time, and nobody dies of it.
            let loss = self.dice.below(100);
            self.peers.set_loss(loss as f64 / 1_000.0);
            self.judge.rules.no_death = true;
            self.until(RIGHT_WITHIN, "all are right about nodes", |run| run.judge.wrong_on_nodes(&run.peers))?;
            right_max = right_max.max(self.peers.elapsed() - cleared);
            self.go_on(self.peers.elapsed() + Duration::from_secs(5))?;
            if let Some(wrong) = self.judge.wrong_on_nodes(&self.peers) {
                return Err(Violation(format!("left in peace, {wrong}")));
            }
            self.judge.rules.no_death = false;
            self.peers.set_loss(0.0);
        }
        self.trace.figure("all agreed on nodes, ms after a storm at most", &agreed_max.as_millis());
        self.trace.figure("all were right about nodes, ms after a storm at most", &right_max.as_millis());
        let down_wrongly = self.judge.down_wrongly_max.as_millis();
        self.trace.figure("a node down that most of its observers reach, ms at most", &down_wrongly);
        Ok(())
    }

    fn loss(&mut self, end: Duration) -> Result<(), Violation> {
        self.peers.set_loss(0.1);
        self.judge.rules = Rules { no_death: true, no_down: true, no_accusation: true };
        self.go_on(end)?;
        self.trace.figure("false deaths at 10 % loss", &self.judge.deaths_wrongly);
        Ok(())
    }

    fn starved(&mut self, end: Duration) -> Result<(), Violation> {
        self.judge.rules = Rules { no_down: true, no_accusation: true, ..Rules::default() };
        let mut starved = 0;
        while self.peers.elapsed() < end {
            let peer = self.dice.below(self.peers.count());
            // From hardly noticed to given up by all.
            let ms = 100 << self.dice.below(8);
            let lasts = Duration::from_millis(ms + self.dice.below(100) as u64);
            let now = self.peers.elapsed();
            self.trace.event(now, &format_args!("-- p{peer:02} starved for {} ms", lasts.as_millis()));
            self.peers.starve(peer);
            self.go_on(now + lasts)?;
            self.peers.feed(peer);
            starved += 1;
            self.trace.event(self.peers.elapsed(), &format_args!("-- p{peer:02} wakes"));
            let awake = self.seconds(1, 6);
            self.go_on(self.peers.elapsed() + awake)?;
        }
        let settled = |run: &Self| run.judge.disagree_on_peers(&run.peers);
        let healed = self.until(AGREED_WITHIN, "all agree on peers", settled)?;
        self.trace.figure("peers starved", &starved);
        self.trace.figure("all agree on peers, ms after the last pause of 1 to 6 s", &healed.as_millis());
        Ok(())
    }

    fn doubtful(&mut self, end: Duration) -> Result<(), Violation> {
        self.judge.rules = Rules { no_death: true, no_down: true, no_accusation: true };
        while self.peers.elapsed() < end {
            let peer = self.dice.below(self.peers.count());
            self.trace.event(self.peers.elapsed(), &format_args!("-- p{peer:02} cut from all nodes"));
            self.set_cut_from_all(peer, true);
            let doubted = self.until(DOUBTED_WITHIN, "all doubt it", |run| {
                let believes = |of: &usize| run.judge.doubtful(*of) != [peer];
                run.peers.running().find(believes).map(|of| format!("p{of:02} does not"))
            })?;
            self.trace.figure("doubted by all, ms", &doubted.as_millis());
            let lasts = self.seconds(5, 60);
            self.go_on(self.peers.elapsed() + lasts)?;
            self.trace.event(self.peers.elapsed(), &format_args!("-- p{peer:02} reaches nodes again"));
            self.set_cut_from_all(peer, false);
            let believed = self.until(DOUBTED_WITHIN, "all believe it", |run| {
                let doubts = |of: &usize| !run.judge.doubtful(*of).is_empty();
                run.peers.running().find(doubts).map(|of| format!("p{of:02} does not"))
            })?;
            self.trace.figure("believed by all, ms", &believed.as_millis());
        }
        Ok(())
    }

    fn crowd(&mut self, end: Duration) -> Result<(), Violation> {
        let count = self.peers.count();
        let started = self.peers.elapsed();
        let sent = |run: &Self| (0..count).map(|peer| run.peers.bytes_sent(peer)).sum::<u64>();
        let (sent_before, asked_before) = (sent(self), self.peers.nodes().asked());
        self.judge.rules = Rules { no_death: true, no_down: true, no_accusation: true };
        self.go_on(end)?;
        let seconds = (self.peers.elapsed() - started).as_secs_f64();
        let per_peer = |total: u64| (total as f64 / seconds / count as f64).round();
        self.trace.figure("bytes sent, a second and peer", &per_peer(sent(self) - sent_before));
        self.trace.figure("checks, a second and peer", &per_peer(self.peers.nodes().asked() - asked_before));
        self.judge.rules.no_death = false;
        let dead = self.dice.below(count);
        self.trace.event(self.peers.elapsed(), &format_args!("-- p{dead:02} killed"));
        self.peers.kill(dead);
        let within = if count <= 5 { DEATH_SEEN_WITHIN.0 } else { DEATH_SEEN_WITHIN.1 };
        let seen = self.until(within, "all see the death", |run| run.judge.disagree_on_peers(&run.peers))?;
        self.trace.figure("a death seen by all, ms", &seen.as_millis());
        Ok(())
    }

    fn set_cut_from_all(&self, peer: usize, is_cut: bool) {
        let nodes = self.peers.nodes();
        (0..nodes.count()).for_each(|node| nodes.set_cut(peer, node, is_cut));
    }

    /// Goes on until nothing is wrong, and says how long that took.
    fn until(
        &mut self,
        within: Duration,
        what: &str,
        wrong: impl Fn(&Self) -> Option<String>,
    ) -> Result<Duration, Violation> {
        let began = self.peers.elapsed();
        loop {
            self.go_on(self.peers.elapsed() + STEP * u32::try_from(STEPS_PER_LOOK).unwrap_or(1))?;
            let took = self.peers.elapsed() - began;
            match wrong(self) {
                None => return Ok(took),
                Some(why) if took > within => {
                    return Err(Violation(format!("not within {} ms: {what}; {why}", within.as_millis())));
                }
                Some(_) => {}
            }
        }
    }

    fn go_on(&mut self, until: Duration) -> Result<(), Violation> {
        while self.peers.elapsed() < until {
            self.step()?;
        }
        Ok(())
    }

    fn step(&mut self) -> Result<(), Violation> {
        self.peers.step();
        self.steps += 1;
        if self.steps.is_multiple_of(STEPS_PER_LOOK) { self.judge.look(&self.peers, self.trace) } else { Ok(()) }
    }

    fn seconds(&mut self, least: usize, most: usize) -> Duration {
        Duration::from_millis((least * 1_000 + self.dice.below((most - least) * 1_000)) as u64)
    }
}
