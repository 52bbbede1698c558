//! The leader's machine: it looks at what is known, wants plans, asks what is against them, looks for servers, and carries out what is
//! committed. Facts, time and answers are handed in, [`Output`]s go out, and nothing is done here.
//!
//! What it has in memory is what it asked and heard since it leads. Whatever must outlive it is in the catalog: the plans with their steps,
//! when nodes were moved, what is shifted. A new leader begins with an empty machine.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::candidate::{Ranked, address_on, for_start, rank};
use super::carry::{Carrying, drain_ms, effect, server_at};
use super::constraint::{Against, Wanted, against};
use super::facts::Facts;
use super::operation::{Answered, Operation, Refused, What};
use super::output::{Input, Output, Probe, ProbeBy, Unwritten, Write};
use super::trigger::{FORCED, Reason, Watch};
use crate::catalog::{Intent, Object, Progress};
use crate::driver::Action;
use crate::model::limits::REASON_BYTES_MAX;
use crate::model::{
    By, Candidate, DriverName, Failover, Happened, IntentId, Mode, Node, NodeId, PeerId, Plan, PlanOutcome, Pool,
    PoolName, RegionName, ServerId, Step,
};

/// Until a node is looked at again for which no server was found.
const LOOK_AGAIN_AFTER: Duration = Duration::from_secs(15);
/// A probe of servers that is not answered after this time never will be.
const LOOK_MAX: Duration = Duration::from_secs(30);

/// What a leader remembers.
#[derive(Debug, Default)]
pub struct Machine {
    /// Nodes for which some row of the table of triggers holds.
    watches: BTreeMap<NodeId, Watch>,
    /// Where a server is looked for, or a plan is being written: at most one a region.
    looks: BTreeMap<u64, Look>,
    looks_made: u64,
    /// Nodes for which no server was found, until when.
    resting: BTreeMap<NodeId, Instant>,
    /// What was told last of a plan that is refused: by its node, or by pool and region.
    told: BTreeMap<String, String>,
    carried: BTreeMap<IntentId, Carrying>,
    pub(super) scaling: super::scale::Scales,
    pub(super) shifting: super::shift::Shifts,
}

/// A plan before it is one.
#[derive(Clone, Debug)]
struct Look {
    began: Instant,
    plan: Plan,
    node: Option<NodeId>,
    pool: PoolName,
    region: RegionName,
    reason: Reason,
    by: String,
    ticket: Option<u64>,
    ignores_limits: bool,
    mode: Option<Mode>,
    executor: Option<PeerId>,
    driver: Option<DriverName>,
    /// The servers that are probed, and why not the others.
    ranked: Ranked,
    /// What is being written.
    intent: Option<Box<Intent>>,
}

/// Somebody or something wants a plan.
#[derive(Clone, Debug)]
pub(super) struct Wish<'a> {
    pub(super) plan: Plan,
    pub(super) node: Option<&'a Node>,
    pub(super) pool: &'a Pool,
    pub(super) region: &'a RegionName,
    pub(super) reason: Reason,
    pub(super) by: String,
    pub(super) ticket: Option<u64>,
    pub(super) to: Option<ServerId>,
    pub(super) mode: Option<Mode>,
    pub(super) ignores_limits: bool,
}

impl Machine {
    /// What is to be done now.
    pub fn turn(&mut self, facts: &Facts<'_>, now: Instant) -> Vec<Output> {
        let mut out = Vec::new();
        self.carry(facts, now, &mut out);
        let late = self.looks.iter().filter(|(_, look)| now.saturating_duration_since(look.began) >= LOOK_MAX);
        let late: Vec<u64> = late.map(|(look, _)| *look).collect();
        for look in late {
            self.refuse_look(
                look,
                "candidates",
                "servers were probed and nothing was heard".to_owned(),
                Vec::new(),
                facts,
                &mut out,
            );
        }
        self.watch(facts, now, &mut out);
        self.scale(facts, now, &mut out);
        self.shift(facts, now, &mut out);
        out
    }

    /// Takes what was heard, and says what is to be done for that.
    pub fn hear(&mut self, input: Input, facts: &Facts<'_>, now: Instant) -> Vec<Output> {
        let mut out = Vec::new();
        match input {
            Input::Probed { look, found } => self.probed(look, &found, facts, now, &mut out),
            Input::Planned { look, written } => self.planned(look, written, facts, &mut out),
            Input::Progressed { intent, written } => {
                if let Some(carrying) = self.carried.get_mut(&intent) {
                    carrying.written(&written, now);
                }
            }
            Input::Resolved { ticket, intent, written } => {
                let answered = match written {
                    Ok(()) => Answered::Resolved { intent },
                    Err(unwritten) => Answered::Refused(of_unwritten(unwritten)),
                };
                out.push(Output::Reply { ticket, answered });
            }
            Input::Shifted { written } => self.shifting.written(&written, now),
            Input::Answered { intent: id, action, answer } => {
                if let (Some(carrying), Some(intent)) = (self.carried.get_mut(&id), facts.managed.intents.get(&id)) {
                    out.extend(carrying.answered(id, intent, (action, answer), facts, now));
                }
            }
            Input::Drained { intent, left } => {
                if let Some(carrying) = self.carried.get_mut(&intent) {
                    carrying.drained(&left);
                }
            }
            Input::Verified { intent, found } => {
                if let Some(carrying) = self.carried.get_mut(&intent) {
                    carrying.verified(found);
                }
            }
            Input::Operate { ticket, operation } => self.operate(ticket, operation, facts, now, &mut out),
        }
        out
    }

    /// Plans that are committed go on.
    fn carry(&mut self, facts: &Facts<'_>, now: Instant, out: &mut Vec<Output>) {
        let intents = &facts.managed.intents;
        self.carried.retain(|id, _| intents.contains_key(id));
        for (id, intent) in intents {
            let carrying = self.carried.entry(*id).or_insert_with(|| Carrying::new(intent, facts, now));
            out.extend(carrying.turn(*id, intent, facts, now));
        }
    }

    /// Nodes that are to be moved.
    fn watch(&mut self, facts: &Facts<'_>, now: Instant, out: &mut Vec<Output>) {
        let mut seen = BTreeSet::new();
        for pool in facts.catalog.pools() {
            let Some(failover) = &pool.failover else { continue };
            for node in &pool.nodes {
                let Some(node_facts) = facts.nodes.get(&node.id) else { continue };
                let watch = self.watches.entry(node.id.clone()).or_default();
                let reason = watch.look(node_facts, failover, now);
                if watch.is_quiet() {
                    self.watches.remove(&node.id);
                    self.told.remove(node.id.as_str());
                } else {
                    seen.insert(node.id.clone());
                }
                let Some(reason) = reason else { continue };
                // It is being moved already, or nobody could take it just now.
                let is_planned =
                    facts.managed.intents.values().any(|intent| intent.node == node.id && intent.is_under_way());
                let is_looked_for = self.looks.values().any(|look| look.node.as_ref() == Some(&node.id));
                if is_planned || is_looked_for || self.resting.get(&node.id).is_some_and(|until| now < *until) {
                    continue;
                }
                let wish = Wish {
                    plan: Plan::Move,
                    node: Some(node),
                    pool,
                    region: facts.region_of(node),
                    reason,
                    by: String::new(),
                    ticket: None,
                    to: None,
                    mode: None,
                    ignores_limits: false,
                };
                self.wish(&wish, facts, now, out);
            }
        }
        self.watches.retain(|node, _| seen.contains(node));
        self.resting.retain(|_, until| now < *until);
    }

    /// Asks what is against a plan, and begins it where nothing is.
    pub(super) fn wish(&mut self, wish: &Wish<'_>, facts: &Facts<'_>, now: Instant, out: &mut Vec<Output>) {
        let by = by_of(wish);
        let wanted = Wanted {
            plan: wish.plan,
            node: wish.node.map(|node| &node.id),
            pool: wish.pool,
            region: wish.region,
            driver: by.driver(),
            is_forced: wish.reason.trigger == FORCED,
            ignores_limits: wish.ignores_limits,
        };
        let found = against(&wanted, facts).or_else(|| {
            let other = self.looks.values().find(|look| look.region == *wish.region)?;
            let reason = format!("a {} in region \"{}\" is about to be planned", other.plan.name(), wish.region);
            Some(Against { constraint: "one_plan_in_a_region", reason })
        });
        if let Some(Against { constraint, reason }) = found {
            return self.refuse(wish, constraint, reason, Vec::new(), facts, out);
        }
        let executor = by.driver().and_then(|driver| executor(driver, wish, facts));
        let ranked = match (wish.plan, wish.node) {
            (Plan::Move, Some(node)) => rank(node, wish.pool, wish.region, &by, wish.to.as_ref(), facts),
            _ => Ranked::default(),
        };
        if wish.plan == Plan::Move && ranked.best.is_empty() {
            if let Some(node) = wish.node {
                self.resting.insert(node.id.clone(), now + LOOK_AGAIN_AFTER);
            }
            let reason = match &wish.to {
                Some(to) if ranked.excluded.is_empty() => format!("there is no server \"{to}\""),
                Some(to) => format!("server \"{to}\" cannot be taken"),
                None => {
                    format!("region \"{}\" has no other server that could be taken: write a [[server]]", wish.region)
                }
            };
            return self.refuse(wish, "candidates", reason, ranked.excluded, facts, out);
        }
        self.looks_made += 1;
        let number = self.looks_made;
        let mut look = Look {
            began: now,
            plan: wish.plan,
            node: wish.node.map(|node| node.id.clone()),
            pool: wish.pool.name.clone(),
            region: wish.region.clone(),
            reason: wish.reason.clone(),
            by: wish.by.clone(),
            ticket: wish.ticket,
            ignores_limits: wish.ignores_limits,
            mode: wish.mode,
            executor,
            driver: by.driver().cloned(),
            ranked,
            intent: None,
        };
        match wish.node.filter(|_| wish.plan == Plan::Move) {
            Some(node) => {
                let most =
                    wish.pool.failover.as_ref().map_or(Failover::default().candidates, |failover| failover.candidates);
                let most = usize::try_from(most).unwrap_or(usize::MAX);
                let rest = look.ranked.best.split_off(most.min(look.ranked.best.len()));
                let not_asked =
                    rest.into_iter().map(|server| Candidate { server: server.id, found: "not probed".to_owned() });
                look.ranked.excluded.extend(not_asked);
                out.push(Output::Probe(probe(number, node, wish.pool, &look, facts)));
            }
            None => {
                let to = if wish.plan == Plan::Start { for_start(wish.region, facts) } else { None };
                let intent = Box::new(look.intent_of(wish.node, wish.pool, to.as_ref(), Vec::new(), facts));
                look.intent = Some(intent.clone());
                let progress = Progress::Plan { intent, term: facts.term.get() };
                out.push(Output::Write(Write::Plan { look: number, progress }));
            }
        }
        self.looks.insert(number, look);
    }

    /// Servers were probed: the best that answers is taken.
    fn probed(
        &mut self,
        number: u64,
        found: &[(ServerId, Result<String, String>)],
        facts: &Facts<'_>,
        now: Instant,
        out: &mut Vec<Output>,
    ) {
        let Some(look) = self.looks.get(&number).filter(|look| look.intent.is_none()) else { return };
        let mut candidates = Vec::new();
        let mut chosen = None;
        for server in &look.ranked.best {
            let found = found.iter().find(|(id, _)| *id == server.id).map(|(_, found)| found);
            let (is_well, words) = match found {
                Some(Ok(words)) => (true, cut(words)),
                Some(Err(words)) => (false, cut(words)),
                None => (false, "nothing was heard".to_owned()),
            };
            let is_chosen = is_well && chosen.is_none();
            let words = if is_chosen { format!("chosen: {words}") } else { words };
            candidates.push(Candidate { server: server.id.clone(), found: words });
            if is_chosen {
                chosen = Some(server.id.clone());
            }
        }
        candidates.extend(look.ranked.excluded.iter().cloned());
        let Some(node) = look.node.clone() else { return };
        let Some(to) = chosen else {
            self.resting.insert(node, now + LOOK_AGAIN_AFTER);
            return self.refuse_look(number, "candidates", "no server answered".to_owned(), candidates, facts, out);
        };
        let Some((pool, node)) = facts.node(&node) else {
            return self.refuse_look(number, "gone", "the node is gone".to_owned(), candidates, facts, out);
        };
        // It took a while: what was allowed may not be any more.
        let wanted = Wanted {
            plan: look.plan,
            node: Some(&node.id),
            pool,
            region: &look.region,
            driver: look.driver.as_ref(),
            is_forced: look.reason.trigger == FORCED,
            ignores_limits: look.ignores_limits,
        };
        if let Some(Against { constraint, reason }) = against(&wanted, facts) {
            return self.refuse_look(number, constraint, reason, candidates, facts, out);
        }
        let intent = Box::new(look.intent_of(Some(node), pool, Some(&to), candidates, facts));
        if let Some(look) = self.looks.get_mut(&number) {
            look.intent = Some(intent.clone());
        }
        let progress = Progress::Plan { intent, term: facts.term.get() };
        out.push(Output::Write(Write::Plan { look: number, progress }));
    }

    /// A plan is committed, or not.
    fn planned(&mut self, number: u64, written: Result<u64, Unwritten>, facts: &Facts<'_>, out: &mut Vec<Output>) {
        match written {
            Ok(revision) => {
                let Some(look) = self.looks.remove(&number) else { return };
                self.told.remove(&look.key());
                let id = IntentId::of_revision(revision);
                let planned = facts.managed.intents.get(&id);
                if let (Some(ticket), Some(intent)) = (look.ticket, look.intent) {
                    let node = planned.map_or_else(|| intent.node.clone(), |planned| planned.node.clone());
                    let answered =
                        Answered::Planned { intent: id, node, to: intent.to.clone(), candidates: intent.candidates };
                    out.push(Output::Reply { ticket, answered });
                }
            }
            Err(Unwritten::Refused(why)) => self.refuse_look(number, "catalog", why, Vec::new(), facts, out),
            Err(Unwritten::Unknown) => {
                // Where it is written after all it is carried out like any other.
                let ticket = self.looks.remove(&number).and_then(|look| look.ticket);
                let answered = Answered::Refused(Refused::OutcomeUnknown);
                out.extend(ticket.map(|ticket| Output::Reply { ticket, answered }));
            }
        }
    }

    fn refuse_look(
        &mut self,
        number: u64,
        constraint: &'static str,
        reason: String,
        candidates: Vec<Candidate>,
        facts: &Facts<'_>,
        out: &mut Vec<Output>,
    ) {
        let Some(look) = self.looks.remove(&number) else { return };
        let key = look.key();
        let Look { plan, node, pool, region, reason: why, by, ticket, .. } = look;
        let refused = Happened::PlanRefused {
            plan,
            node,
            pool,
            region,
            trigger: why.trigger.to_owned(),
            evidence: why.evidence,
            by,
            constraint: constraint.to_owned(),
            reason,
            candidates,
            term: facts.term.get(),
        };
        self.tell_refused(key, ticket, refused, out);
    }

    fn refuse(
        &mut self,
        wish: &Wish<'_>,
        constraint: &'static str,
        reason: String,
        candidates: Vec<Candidate>,
        facts: &Facts<'_>,
        out: &mut Vec<Output>,
    ) {
        let node = wish.node.map(|node| node.id.clone());
        let key = key(wish.plan, node.as_ref(), &wish.pool.name, wish.region);
        let refused = Happened::PlanRefused {
            plan: wish.plan,
            node,
            pool: wish.pool.name.clone(),
            region: wish.region.clone(),
            trigger: wish.reason.trigger.to_owned(),
            evidence: wish.reason.evidence.clone(),
            by: wish.by.clone(),
            constraint: constraint.to_owned(),
            reason,
            candidates,
            term: facts.term.get(),
        };
        self.tell_refused(key, wish.ticket, refused, out);
    }

    /// Tells whoever asked, and everybody once for as long as the same is against it.
    fn tell_refused(&mut self, key: String, ticket: Option<u64>, refused: Happened, out: &mut Vec<Output>) {
        let Happened::PlanRefused { constraint, reason, candidates, .. } = &refused else { return };
        if let Some(ticket) = ticket {
            let (constraint, reason, candidates) = (constraint.clone(), reason.clone(), candidates.clone());
            let answered = Answered::Refused(Refused::Against { constraint, reason, candidates });
            out.push(Output::Reply { ticket, answered });
            out.push(Output::Tell(refused));
        } else if self.told.get(&key) != Some(constraint) {
            self.told.insert(key, constraint.clone());
            out.push(Output::Tell(refused));
        }
    }

    /// Whether a plan is carried out in a region, or about to be.
    pub(super) fn is_busy(&self, region: &RegionName, facts: &Facts<'_>) -> bool {
        facts.managed.plan_in(region).is_some() || self.looks.values().any(|look| look.region == *region)
    }

    fn operate(&mut self, ticket: u64, operation: Operation, facts: &Facts<'_>, now: Instant, out: &mut Vec<Output>) {
        let Operation { what, by } = operation;
        let mut not_found = |message: String| {
            out.push(Output::Reply { ticket, answered: Answered::Refused(Refused::NotFound { message }) });
        };
        let forced = |evidence: String| Reason { trigger: FORCED, evidence };
        match what {
            What::Move { node: id, to, mode, ignores_limits } => {
                let Some((pool, node)) = facts.node(&id) else {
                    return not_found(format!("there is no node \"{id}\""));
                };
                let wish = Wish {
                    plan: Plan::Move,
                    node: Some(node),
                    pool,
                    region: facts.region_of(node),
                    reason: forced("an operator asked for it".to_owned()),
                    by,
                    ticket: Some(ticket),
                    to,
                    mode,
                    ignores_limits,
                };
                self.wish(&wish, facts, now, out);
            }
            What::Scale { pool, region, up } => {
                let Some(pool) = facts.catalog.pool(&pool) else {
                    return not_found(format!("there is no pool \"{pool}\""));
                };
                self.scale_by_hand((pool, &region), up, (ticket, by), facts, now, out);
            }
            What::Resolve { intent: id } => {
                let is_abandoned = facts.managed.intents.get(&id).filter(|intent| intent.step == Step::Abandoned);
                if is_abandoned.is_none() {
                    return not_found(format!("there is no abandoned plan {id}"));
                }
                let failure = Some(if by.is_empty() { "settled".to_owned() } else { format!("settled by {by}") });
                let (from, outcome) = (Step::Abandoned, PlanOutcome::Resolved);
                let progress = Progress::End { intent: id, from, outcome, address: None, failure };
                out.push(Output::Write(Write::Resolve { ticket, intent: id, progress }));
            }
        }
    }
}

impl Look {
    fn key(&self) -> String {
        key(self.plan, self.node.as_ref(), &self.pool, &self.region)
    }

    /// What is to be written.
    fn intent_of(
        &self,
        node: Option<&Node>,
        pool: &Pool,
        to: Option<&ServerId>,
        candidates: Vec<Candidate>,
        facts: &Facts<'_>,
    ) -> Intent {
        let failover = pool.failover.clone().unwrap_or_default();
        let mode = match self.plan {
            Plan::Stop => Mode::Graceful,
            _ => self.mode.unwrap_or(failover.mode),
        };
        let scaling = pool.scaling.as_ref();
        let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let (drain_timeout_ms, verify_timeout) = match (self.plan, scaling) {
            (Plan::Stop, Some(scaling)) => (ms(scaling.drain_timeout), scaling.verify_timeout),
            (Plan::Start, Some(scaling)) => (0, scaling.verify_timeout),
            _ => (drain_ms(&failover, mode), failover.verify_timeout),
        };
        let server = to.and_then(|to| facts.catalog.server(to));
        let address = match (&self.driver, server, node) {
            (None, Some(server), Some(node)) => Some(address_on(&server.address, &node.address).to_string()),
            _ => None,
        };
        let step = match (self.plan, mode, &self.driver) {
            (Plan::Move | Plan::Stop, Mode::Graceful, _) => Step::Drain,
            // By the catalog alone it is done with the same write.
            (Plan::Move, Mode::Immediate, None) => Step::Verify,
            _ => Step::Act,
        };
        Intent {
            plan: self.plan,
            // Of a node that is started the catalog makes the name, by the revision.
            node: node.map_or_else(starting, |node| node.id.clone()),
            pool: self.pool.clone(),
            region: self.region.clone(),
            driver: self.driver.clone(),
            executor: self.executor.clone(),
            mode,
            from: node.and_then(|node| node.server.clone()),
            from_address: node.map(|node| node.address.to_string()),
            to: to.cloned(),
            written: None,
            step,
            address,
            drain_timeout_ms,
            verify_timeout_ms: ms(verify_timeout),
            trigger: self.reason.trigger.to_owned(),
            evidence: cut(&self.reason.evidence),
            by: self.by.clone(),
            candidates,
            steps: Vec::new(),
            failure: None,
            other: Object::new(),
        }
    }
}

fn of_unwritten(unwritten: Unwritten) -> Refused {
    match unwritten {
        Unwritten::Refused(message) => Refused::Unavailable { message },
        Unwritten::Unknown => Refused::OutcomeUnknown,
    }
}

fn starting() -> NodeId {
    "starting".parse().expect("`starting` is a legal name")
}

fn key(plan: Plan, node: Option<&NodeId>, pool: &PoolName, region: &RegionName) -> String {
    node.map_or_else(|| format!("{} {pool} {region}", plan.name()), ToString::to_string)
}

/// By what a wish is carried out.
fn by_of(wish: &Wish<'_>) -> By {
    match wish.plan {
        Plan::Start | Plan::Stop => {
            wish.pool.scaling.as_ref().map_or(By::Static, |scaling| By::Driver(scaling.driver.clone()))
        }
        Plan::Move | Plan::Unknown => wish.pool.failover.clone().unwrap_or_default().by,
    }
}

/// Who carries it out: whoever has the node, else a peer of the region, else the one with the fewest plans and nodes.
fn executor(driver: &DriverName, wish: &Wish<'_>, facts: &Facts<'_>) -> Option<PeerId> {
    let node = wish.node.map(|node| &node.id);
    let known = node.and_then(|id| {
        let moved = facts.managed.nodes.get(id).and_then(|managed| managed.moved.as_ref()?.executor.clone());
        facts.managed.started.get(id).map(|started| started.executor.clone()).or(moved)
    });
    let able =
        facts.executors.iter().filter_map(|(peer, executor)| Some((peer, executor, executor.drivers.get(driver)?)));
    let busy = |peer: &PeerId| {
        let started = facts.managed.started.values().filter(|started| started.executor == *peer).count();
        let intents = facts.managed.intents.values().filter(|intent| intent.executor.as_ref() == Some(peer)).count();
        started + intents
    };
    let best = able.min_by_key(|(peer, executor, nodes)| {
        let has = node.is_some_and(|node| nodes.contains(node));
        let is_known = known.as_ref() == Some(*peer);
        (!has, !is_known, executor.region != *wish.region, busy(peer), (*peer).clone())
    });
    best.map(|(peer, ..)| peer.clone())
}

/// What is asked of servers before one is chosen.
fn probe(number: u64, node: &Node, pool: &Pool, look: &Look, facts: &Facts<'_>) -> Probe {
    let servers = look.ranked.best.clone();
    let by = match (&look.driver, &look.executor) {
        (Some(driver), Some(executor)) => {
            let intent = look.intent_of(Some(node), pool, None, Vec::new(), facts);
            let effects = servers.iter().map(|server| {
                // A probe belongs to no plan; it is later than all that there were, and earlier than the next.
                let effect = effect(IntentId::of_revision(facts.revision), &intent, Action::Probe, facts);
                crate::driver::Effect { to: Some(server_at(server)), ..effect }
            });
            ProbeBy::Driver { executor: executor.clone(), driver: driver.clone(), effects: effects.collect() }
        }
        _ => ProbeBy::Check(servers.iter().map(|server| address_on(&server.address, &node.address)).collect()),
    };
    Probe { look: number, node: node.id.clone(), pool: pool.name.clone(), servers, by }
}

/// Words of others, not longer than the catalog keeps them.
fn cut(words: &str) -> String {
    let mut cut = String::new();
    for c in words.chars().map(|c| if c.is_control() { ' ' } else { c }) {
        if cut.len() + c.len_utf8() > REASON_BYTES_MAX {
            break;
        }
        cut.push(c);
    }
    cut
}
