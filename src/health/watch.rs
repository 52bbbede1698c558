//! All nodes together: what to ask and when, what the answers change, and what others must hear of it.
//!
//! Events and the time come in, questions and [`Output`]s are taken out; the order in which outputs come out is that in which
//! nodes changed, and a node that changed twice meanwhile is told once, as it is now. So nothing here grows without bound,
//! however slowly it is emptied.

mod change;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::ask::{Answer, Ask};
use super::hints::{Hint, Hints};
use super::machine::{Fault, Finding, Machine, Reason, Suspicion};
use super::names::{Change, Names};
use super::schedule::{Punctuality, Schedule};
use crate::host::{Dice, NameError, Resolved};
use crate::model::limits::CHECKS_IN_FLIGHT_MAX;
use crate::model::{
    Catalog, Check, CheckKind, CheckTarget, Members, NodeAddress, NodeId, NodeKey, Observation, PeerId, Transport,
};
use crate::view::observers::{ALL_MAX, Observed};

/// Time from the end of a check to the beginning of the next at least, however much traffic suspects the node and however
/// many peers hint at it.
const PAUSE_MIN: Duration = Duration::from_millis(100);
/// Who lives counts as known once no news of it came for so long: peers that start together find each other one by one.
const COMPANY_SETTLES: Duration = Duration::from_millis(100);

/// What others must hear.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// What this peer now knows of a node.
    Observed {
        /// The node.
        node: NodeId,
        /// It, at the address that was asked.
        key: NodeKey,
        /// All of what is known.
        observation: Observation,
    },
    /// Where a node's name leads now, the address that answered last first; empty: nowhere. A node with a literal address
    /// is never told.
    Resolved {
        /// The node.
        node: NodeId,
        /// It, with the name that was resolved.
        key: NodeKey,
        /// Its addresses.
        addresses: Vec<SocketAddr>,
    },
    /// This peer keeps time, and all that it found until then was told. While that is said again and again others believe
    /// what this peer says.
    Swept {
        /// When.
        at: Instant,
    },
}

/// What was known of a node before a restart.
#[derive(Clone, Debug, Default)]
pub(super) struct Known {
    pub(super) observation: Observation,
    pub(super) addresses: Vec<SocketAddr>,
}

/// All nodes that are checked, or may have to be.
#[derive(Debug)]
pub(super) struct Watch {
    /// By number. One that is gone keeps its number until no question for it is under way any more.
    nodes: Vec<Watched>,
    /// Those that are not gone.
    numbers: HashMap<NodeId, usize>,
    /// Numbers that may be given to other nodes.
    free: Vec<usize>,
    /// Nodes that are not watched because an operator said so.
    disabled: HashMap<NodeKey, NodeId>,
    schedule: Schedule,
    names: Names,
    /// Which nodes share each name.
    named: Vec<Vec<usize>>,
    punctuality: Punctuality,
    dice: Dice,
    /// Who lives, and so who observes what.
    members: Arc<Members>,
    /// No node is asked before.
    begin: Instant,
    /// What `begin` is at the latest.
    company_by: Instant,
    hints: Hints,
    /// Nodes with something untold, each once.
    untold: VecDeque<usize>,
    /// Disabled nodes of which that was not told yet.
    said_once: BTreeMap<NodeKey, NodeId>,
    /// A sweep that was not told yet.
    swept: Option<Instant>,
    /// Nodes of the first round of which nothing was told yet.
    round_left: usize,
}

#[derive(Debug)]
struct Watched {
    id: NodeId,
    /// It is in the catalog no more.
    is_gone: bool,
    observed: Observed,
    /// The number of its name; `None`: its address is literal.
    name: Option<usize>,
    address: NodeAddress,
    transport: Transport,
    authority: Arc<str>,
    check: Arc<Check>,
    machine: Machine,
    /// Empty: its name leads nowhere, or nobody knows yet.
    addresses: Vec<SocketAddr>,
    round: Round,
    /// Traffic suspected it while a question was under way that had begun before.
    suspected_meanwhile: bool,
    /// An exchange of traffic broke, and no question has begun since.
    broke_off: bool,
    /// Another peer saw it fail, and no question has begun since.
    hinted: bool,
    /// The question under way, or the last one, was asked because of that.
    asked_for_hint: bool,
    finished: Option<Instant>,
    /// The addresses of the question under way, or of the last one.
    asked: Vec<SocketAddr>,
    tell_addresses: bool,
    tell_observation: bool,
}

/// How far a node is in the first round.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Round {
    /// It was not asked, or its answer did not count; or nobody knows yet where its name leads.
    Open,
    /// It was, and nobody heard of it yet.
    Untold,
    /// It was and that was told; or it has no check to wait for, or other peers check it, and there is an address.
    Done,
}

impl Watch {
    /// A watch over every node that is not disabled; all that this peer observes are due at once, or at `company_by` where
    /// it is alone until then: whoever will share its nodes with others need not ask them all first.
    pub(super) fn new(
        catalog: &Catalog,
        known: HashMap<NodeKey, Known>,
        members: Arc<Members>,
        company_by: Instant,
        dice: Dice,
        now: Instant,
    ) -> Self {
        let mut watch = Self {
            nodes: Vec::new(),
            numbers: HashMap::new(),
            free: Vec::new(),
            disabled: HashMap::new(),
            schedule: Schedule::new(0, CHECKS_IN_FLIGHT_MAX),
            names: Names::new(),
            named: Vec::new(),
            punctuality: Punctuality::default(),
            dice,
            begin: if members.is_alone() { company_by.max(now) } else { now },
            company_by,
            members,
            hints: Hints::default(),
            untold: VecDeque::new(),
            said_once: BTreeMap::new(),
            swept: None,
            round_left: 0,
        };
        watch.begin_with(catalog, known, now);
        watch
    }

    /// A timer set for `scheduled` was looked at at `now`. To be told before what happened meanwhile. True where late.
    pub(super) fn woke(&mut self, scheduled: Instant, now: Instant) -> bool {
        self.punctuality.woke(scheduled, now)
    }

    /// When something will be due; `None` while that depends on something else.
    pub(super) fn next(&self) -> Option<Instant> {
        let ask = self.schedule.next().map(|next| next.max(self.begin));
        [ask, self.names.next(), self.hints.next()].into_iter().flatten().min()
    }

    /// Others live now: nodes that this peer observes from now on are asked, at once where nobody knows anything of them
    /// (`is_known`), else some time within their first interval; those that it observes no more are left to others.
    pub(super) fn meet(&mut self, members: Arc<Members>, is_known: impl Fn(&NodeId) -> bool, now: Instant) {
        self.members = members;
        if now < self.begin {
            self.begin = self.company_by.min(now + COMPANY_SETTLES);
        }
        for index in 0..self.nodes.len() {
            if !self.nodes[index].is_gone {
                self.take_part(index, &is_known, now);
            }
        }
    }

    /// Begins to observe a node, or leaves it to others, as members and settings now say.
    fn take_part(&mut self, index: usize, is_known: impl Fn(&NodeId) -> bool, now: Instant) {
        let node = &mut self.nodes[index];
        let observing = node.observed.is_observed_here(&self.members);
        if !node.machine.observe(observing) {
            return;
        }
        if observing && node.machine.needs_checks(now) {
            let spread = if is_known(&node.id) { self.dice.fraction() } else { 0.0 };
            let at = now + node.check.interval.mul_f64(spread);
            if !node.addresses.is_empty() {
                self.schedule.bring_forward(index, at);
            }
        } else if !observing {
            if node.round != Round::Done && !node.addresses.is_empty() {
                node.round = Round::Done;
                self.round_left -= 1;
            }
            if !node.machine.is_suspected() && !node.hinted && !node.broke_off {
                self.schedule.clear(index);
            }
        }
        self.tell_observation(index);
    }

    /// Another peer saw a node fail: this one looks for itself. The hint alone says nothing; if nobody is there, that is the
    /// second peer to say so.
    pub(super) fn hinted(&mut self, id: &NodeId, now: Instant) {
        if let Some(index) = self.look_at(id, now) {
            self.nodes[index].hinted = true;
        }
    }

    /// An exchange with a node broke, which may be the fault of what was asked: it is asked at once, and how often it must
    /// fail before it is down stays as it was.
    pub(super) fn broke_off(&mut self, id: &NodeId, now: Instant) {
        if let Some(index) = self.look_at(id, now) {
            self.nodes[index].broke_off = true;
        }
    }

    /// Asks a node soon, unless it is being asked again and again already. After a question that is under way comes another.
    fn look_at(&mut self, id: &NodeId, now: Instant) -> Option<usize> {
        let index = *self.numbers.get(id)?;
        let node = &self.nodes[index];
        if !node.machine.is_open_to_looks() || node.addresses.is_empty() {
            return None;
        }
        if !self.schedule.is_under_way(index) {
            self.schedule.bring_forward(index, node.not_before(now));
        }
        Some(index)
    }

    /// The messages of hints that are due, each to one peer.
    pub(super) fn take_hints(&mut self, now: Instant) -> Vec<Hint> {
        let (nodes, members) = (&self.nodes, &self.members);
        self.hints.take(now, |index| {
            let node = &nodes[index];
            let others = |all: &mut dyn Iterator<Item = &PeerId>| -> Vec<PeerId> {
                all.filter(|id| **id != members.own().id).cloned().collect()
            };
            let to = if members.len() <= ALL_MAX {
                others(&mut members.iter().map(|member| &member.id))
            } else {
                others(&mut node.observed.observers(members).into_iter().map(|member| &member.id))
            };
            (node.id.clone(), to)
        })
    }

    /// Says that this peer keeps time, unless it does not.
    pub(super) fn sweep(&mut self, now: Instant) {
        if !self.punctuality.doubts(now) {
            self.swept = Some(now);
        }
    }

    /// A node to ask now. It counts as asked until [`Watch::answered`] or [`Watch::broke`].
    pub(super) fn take_ask(&mut self, now: Instant) -> Option<Ask> {
        if now < self.begin {
            return None;
        }
        let index = self.schedule.take(now)?;
        let node = &mut self.nodes[index];
        node.suspected_meanwhile = false;
        node.broke_off = false;
        node.asked_for_hint = std::mem::take(&mut node.hinted);
        node.asked.clone_from(&node.addresses);
        let target = |address: &SocketAddr| CheckTarget {
            address: *address,
            transport: node.transport.clone(),
            host: node.address.host.clone(),
            authority: Arc::clone(&node.authority),
        };
        Some(Ask { index, targets: node.addresses.iter().map(target).collect(), check: Arc::clone(&node.check) })
    }

    /// Takes a name whose time to be asked has come. It counts as asked until [`Watch::name_answered`] or
    /// [`Watch::name_broke`].
    pub(super) fn take_name(&mut self, now: Instant) -> Option<(usize, Arc<str>)> {
        self.names.take(now)
    }

    /// Takes an answer in. Returns the node where it changes what is suspected of it.
    pub(super) fn answered(&mut self, index: usize, mut answer: Answer, now: Instant) -> Option<(NodeId, Suspicion)> {
        if answer.finding.result.is_err() && self.punctuality.doubts(answer.began) {
            answer.finding.result = Err(Fault::Ours);
            answer.finding.words = format!("not counted, this peer was late itself: {}", answer.finding.words);
        }
        self.schedule.finished(index);
        let node = &mut self.nodes[index];
        if node.is_gone {
            self.free.push(index);
            return None;
        }
        node.finished = Some(now);
        if !node.asked.iter().any(|asked| node.addresses.contains(asked)) {
            // It has moved meanwhile, or is asked otherwise: that is done as soon as there is an address.
            return None;
        }
        let reason = Reason { suspicion: !node.suspected_meanwhile, hint: node.asked_for_hint };
        let is_news_if_bad = node.machine.is_news_if_bad();
        let changed = node.machine.found(&answer.finding, reason, now);
        let is_news = is_news_if_bad || changed == Some(Suspicion::Raised);
        match answer.finding.result {
            Err(Fault::Ours) => {}
            // Whoever hinted told the others as well.
            Err(_) if is_news && !reason.hint && !self.members.is_alone() => {
                self.hints.add(index, now);
                node.asked_once();
            }
            _ => node.asked_once(),
        }
        let answering = answer.answering.and_then(|position| node.asked.get(position));
        if let Some(position) = answering.and_then(|good| node.addresses.iter().position(|known| known == good))
            && position > 0
        {
            node.addresses[..=position].rotate_right(1);
            node.tell_addresses = true;
        }
        let changed = changed.map(|suspicion| (node.id.clone(), suspicion));
        let ask_again = node.machine.is_suspected() && node.suspected_meanwhile;
        if ask_again {
            self.due(index, now);
        } else if let Some(wait) = self.nodes[index].machine.wait(now, &mut self.dice) {
            self.due(index, (answer.began + wait).max(now + wait.min(PAUSE_MIN)));
        }
        if self.nodes[index].hinted || self.nodes[index].broke_off {
            // The question that has just ended began before somebody saw what they saw.
            self.schedule.bring_forward(index, self.nodes[index].not_before(now));
        }
        self.tell_observation(index);
        changed
    }

    /// A check came to no end of its own; it says nothing of the node.
    pub(super) fn broke(&mut self, index: usize, now: Instant) {
        let words =
            "not checked: the check itself failed, which is a fault of this program; please report it".to_owned();
        let finding = Finding { result: Err(Fault::Ours), connect: None, words };
        self.answered(index, Answer { began: now, finding, answering: None }, now);
    }

    /// Traffic met hard evidence at a node: it is asked at once, or once more if a question from before is under way.
    pub(super) fn suspected(&mut self, id: &NodeId, now: Instant) {
        let Some(&index) = self.numbers.get(id) else { return };
        let node = &mut self.nodes[index];
        let ask = node.machine.suspect();
        // What a peer that was late itself saw in that time is no reason to trouble others, until its own check says so.
        if ask && !self.members.is_alone() && !self.punctuality.doubts(now) {
            self.hints.add(index, now);
        }
        if self.schedule.is_under_way(index) {
            node.suspected_meanwhile = true;
        } else if ask {
            let at = node.not_before(now);
            if !node.addresses.is_empty() {
                self.schedule.bring_forward(index, at);
            }
        }
    }

    /// Whether traffic's suspicion of a node is known here.
    pub(super) fn is_suspected(&self, id: &NodeId) -> bool {
        self.numbers.get(id).is_none_or(|&index| self.nodes[index].machine.is_suspected())
    }

    /// Takes in where a name leads.
    pub(super) fn name_answered(&mut self, number: usize, answer: Result<Resolved, NameError>, now: Instant) {
        let change = self.names.answered(number, answer, now);
        let nodes = std::mem::take(&mut self.named[number]);
        for &index in &nodes {
            match &change {
                Change::Kept if !self.nodes[index].addresses.is_empty() => {}
                Change::Kept => {
                    let ips = self.names.addresses(number).to_vec();
                    self.moved(index, &ips, now);
                }
                Change::Moved(ips) => self.moved(index, ips, now),
                Change::Nowhere(why) => self.nowhere(index, why, now),
            }
        }
        self.named[number] = nodes;
    }

    /// The question for a name came to no end of its own.
    pub(super) fn name_broke(&mut self, number: usize, now: Instant) {
        self.names.broke(number, now);
    }

    /// Whether every node that this peer is to check was checked once, and what was found has been taken out.
    pub(super) fn is_first_round_done(&self) -> bool {
        self.round_left == 0
    }

    /// Whether [`Watch::next_output`] has one.
    pub(super) fn has_output(&self) -> bool {
        !self.untold.is_empty() || !self.said_once.is_empty() || self.swept.is_some()
    }

    /// What others must hear next.
    pub(super) fn next_output(&mut self) -> Option<Output> {
        if let Some((key, node)) = self.said_once.pop_first() {
            return Some(Output::Observed { node, key, observation: disabled() });
        }
        let Some(&index) = self.untold.front() else {
            // After all that it vouches for.
            return self.swept.take().map(|at| Output::Swept { at });
        };
        let node = &mut self.nodes[index];
        // Where it is comes before how it is, so that nobody is sent to an address that is not known to be good.
        if std::mem::take(&mut node.tell_addresses) {
            let (key, addresses) = (node.observed.key, node.addresses.clone());
            return Some(Output::Resolved { node: node.id.clone(), key, addresses });
        }
        self.untold.pop_front();
        node.tell_observation = false;
        if node.round == Round::Untold {
            node.round = Round::Done;
            self.round_left -= 1;
        }
        let (key, observation) = (node.observed.key, node.machine.observation());
        Some(Output::Observed { node: node.id.clone(), key, observation })
    }

    fn moved(&mut self, index: usize, ips: &[IpAddr], now: Instant) {
        let node = &mut self.nodes[index];
        let mut addresses: Vec<SocketAddr> = ips.iter().map(|ip| SocketAddr::new(*ip, node.address.port)).collect();
        // The address that answered last stays the first, so that traffic does not move with every shuffled answer.
        if let Some(position) = node.addresses.first().and_then(|first| addresses.iter().position(|next| next == first))
        {
            addresses[..=position].rotate_right(1);
        }
        if !addresses.iter().any(|address| node.addresses.contains(address)) {
            node.machine.moved();
        }
        node.addresses = addresses;
        node.tell_addresses = true;
        if !node.is_checked_here() {
            node.asked_once();
        }
        if node.machine.needs_checks(now) {
            self.due(index, now);
        }
        self.tell_observation(index);
    }

    fn nowhere(&mut self, index: usize, why: &str, now: Instant) {
        let node = &mut self.nodes[index];
        node.machine.unresolved(format!("name does not resolve: {why}"), now);
        node.asked_once();
        node.addresses.clear();
        node.hinted = false;
        node.broke_off = false;
        node.tell_addresses = true;
        self.schedule.clear(index);
        self.tell_observation(index);
    }

    /// Asks a node at `at`, if there is an address to ask.
    fn due(&mut self, index: usize, at: Instant) {
        if !self.nodes[index].addresses.is_empty() {
            self.schedule.set(index, at);
        }
    }

    fn tell_observation(&mut self, index: usize) {
        if !std::mem::replace(&mut self.nodes[index].tell_observation, true) {
            self.untold.push_back(index);
        }
    }
}

impl Watched {
    /// When it may be asked at the earliest.
    fn not_before(&self, now: Instant) -> Instant {
        self.finished.map_or(now, |finished| now.max(finished + PAUSE_MIN))
    }

    /// Whether regular checks of this peer say how it is.
    fn is_checked_here(&self) -> bool {
        self.check.kind != CheckKind::None && self.machine.is_observing()
    }

    fn asked_once(&mut self) {
        if self.round == Round::Open {
            self.round = Round::Untold;
        }
    }
}

/// What is said of a node that nobody asks.
fn disabled() -> Observation {
    Observation { last_result: "not checked: the node is disabled".to_owned(), ..Observation::default() }
}

#[cfg(test)]
mod tests;

#[cfg(test)]
mod cluster;
