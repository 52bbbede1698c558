//! The leader's machine: it looks at what is known, wants plans, asks what is against them, looks for servers, and carries out what is
//! committed. Facts, time and answers are handed in, [`Output`]s go out, and nothing is done here.
//!
//! What it has in memory is what it asked and heard since it leads. Whatever must outlive it is in the catalog: the plans with their steps,
//! when nodes were moved, what is shifted. A new leader begins with an empty machine.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::candidate::{Going, Ranked, address_on, excluded, rank};
use super::carry::{Carrying, drain_ms, effect, server_at};
use super::constraint::{Against, Wanted, against, owner};
use super::facts::{ExecutorFacts, Facts};
use super::operation::{Answered, Operation, Refused, What};
use super::output::{Input, Output, Probe, ProbeBy, Unwritten, Write};
use super::trigger::{FORCED, Reason, Watch};
use crate::catalog::{Intent, Object, Progress, ServerThen};
use crate::driver::Action;
use crate::model::limits::{CANDIDATES_TOLD_MAX, REASON_BYTES_MAX};
use crate::model::{
    By, Candidate, DriverName, Failover, Happened, IntentId, Mode, Node, NodeId, PeerId, Plan, PlanOutcome, Pool,
    PoolName, RegionName, ServerId, Step,
};

/// Until a node is looked at again for which no server was found.
const LOOK_AGAIN_AFTER: Duration = Duration::from_secs(15);
/// A probe of servers that is not answered after this time never will be.
const LOOK_MAX: Duration = Duration::from_secs(75);
/// A server that failed a probe is the last choice for so long.
const DOUBTED_FOR: Duration = Duration::from_secs(300);

/// What a leader remembers.
#[derive(Debug, Default)]
pub struct Machine {
    /// Nodes for which some row of the table of triggers holds.
    watches: BTreeMap<NodeId, Watch>,
    /// Where a server is looked for, or a plan is being written: at most one a region.
    looks: BTreeMap<u64, Look>,
    looks_made: u64,
    /// What could not be planned, and is not tried before then: by its node, or by pool and region.
    resting: BTreeMap<String, Instant>,
    /// Servers that failed a probe, until when they are doubted.
    doubted: BTreeMap<ServerId, Instant>,
    /// What was told of a plan that is refused: by its node, or by pool and region.
    pub(super) told: BTreeMap<String, BTreeSet<String>>,
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
        self.resting.retain(|_, until| now < *until);
        self.doubted.retain(|_, until| now < *until);
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
        self.stop_orphans(facts, now, &mut out);
        self.shift(facts, now, &mut out);
        out
    }

    /// Takes what was heard, and says what is to be done for that.
    pub fn hear(&mut self, input: Input, facts: &Facts<'_>, now: Instant) -> Vec<Output> {
        let mut out = Vec::new();
        match input {
            Input::Probed { look, found } => self.probed(look, &found, facts, now, &mut out),
            Input::Planned { look, written } => self.planned(look, written, facts, now, &mut out),
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
                // What is under way in the region comes first, and may be what it takes; or nobody could take it just now.
                let region = facts.region_of(node);
                if self.is_busy(region, facts) || self.resting.contains_key(node.id.as_str()) {
                    continue;
                }
                let wish = Wish {
                    plan: Plan::Move,
                    node: Some(node),
                    pool,
                    region,
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
        let going = Going { node: wish.node, pool: wish.pool, region: wish.region, by: &by, only: wish.to.as_ref() };
        let ranked = match wish.plan {
            Plan::Move | Plan::Start => rank(&going, |server| self.doubted.contains_key(server), facts),
            Plan::Stop | Plan::Unknown => Ranked::default(),
        };
        // What is started in a region without servers needs none.
        let has_servers = !(ranked.best.is_empty() && ranked.excluded.is_empty());
        let needs_server = wish.plan == Plan::Move || (wish.plan == Plan::Start && has_servers);
        if needs_server && ranked.best.is_empty() {
            self.rest(wish.plan, wish.node.map(|node| &node.id), &wish.pool.name, wish.region, now);
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
        match needs_server {
            true => {
                let most =
                    wish.pool.failover.as_ref().map_or(Failover::default().candidates, |failover| failover.candidates);
                let most = usize::try_from(most).unwrap_or(usize::MAX);
                let rest = look.ranked.best.split_off(most.min(look.ranked.best.len()));
                let not_asked =
                    rest.into_iter().map(|server| Candidate { server: server.id, found: "not probed".to_owned() });
                let told = look.ranked.best.len() + look.ranked.excluded.len();
                look.ranked.excluded.extend(not_asked.take(CANDIDATES_TOLD_MAX.saturating_sub(told)));
                out.push(Output::Probe(probe(number, wish.node, wish.pool, &look, facts)));
            }
            false => {
                let intent = Box::new(look.intent_of(wish.node, wish.pool, None, Vec::new(), facts));
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
        for (server, found) in found {
            if found.is_ok() {
                self.doubted.remove(server);
            } else {
                self.doubted.insert(server.clone(), now + DOUBTED_FOR);
            }
        }
        let Some(look) = self.looks.get(&number).filter(|look| look.intent.is_none()) else { return };
        let node = look.node.as_ref().map(|id| facts.node(id));
        let (Some(pool), false) = (facts.catalog.pool(&look.pool), node == Some(None)) else {
            return self.refuse_look(number, "gone", "the node is gone".to_owned(), Vec::new(), facts, out);
        };
        let node = node.flatten().map(|(_, node)| node);
        let by = look.driver.clone().map_or(By::Static, By::Driver);
        let going = Going { node, pool, region: &look.region, by: &by, only: None };
        let region = match node {
            // An operator may name a server of another region, and it was allowed.
            Some(_) if look.reason.trigger == FORCED => None,
            _ => Some(&look.region),
        };
        let mut candidates = Vec::new();
        let mut chosen = None;
        for server in &look.ranked.best {
            let found = found.iter().find(|(id, _)| *id == server.id).map(|(_, found)| found);
            // It took a while: what was allowed may not be any more.
            let going = Going { region: region.unwrap_or(&server.region), ..going };
            let (is_well, words) = match (excluded(server, &going, facts), found) {
                (Some(why), _) => (false, why),
                (None, Some(Ok(words))) => (true, cut(words)),
                (None, Some(Err(words))) => (false, cut(words)),
                (None, None) => (false, "nothing was heard".to_owned()),
            };
            let is_chosen = is_well && chosen.is_none();
            let words = if is_chosen { format!("chosen: {words}") } else { words };
            candidates.push(Candidate { server: server.id.clone(), found: words });
            if is_chosen {
                chosen = Some(server.id.clone());
            }
        }
        candidates.extend(look.ranked.excluded.iter().cloned());
        candidates.truncate(CANDIDATES_TOLD_MAX);
        let Some(to) = chosen else {
            let (plan, node, pool, region) = (look.plan, look.node.clone(), look.pool.clone(), look.region.clone());
            self.rest(plan, node.as_ref(), &pool, &region, now);
            return self.refuse_look(number, "candidates", "no server answered".to_owned(), candidates, facts, out);
        };
        let wanted = Wanted {
            plan: look.plan,
            node: node.map(|node| &node.id),
            pool,
            region: &look.region,
            driver: look.driver.as_ref(),
            is_forced: look.reason.trigger == FORCED,
            ignores_limits: look.ignores_limits,
        };
        if let Some(Against { constraint, reason }) = against(&wanted, facts) {
            return self.refuse_look(number, constraint, reason, candidates, facts, out);
        }
        let intent = Box::new(look.intent_of(node, pool, Some(&to), candidates, facts));
        if let Some(look) = self.looks.get_mut(&number) {
            look.intent = Some(intent.clone());
        }
        let progress = Progress::Plan { intent, term: facts.term.get() };
        out.push(Output::Write(Write::Plan { look: number, progress }));
    }

    /// Nodes that were started are stopped where nothing says any more that they are to be: their pool is gone, or is not scaled any more.
    fn stop_orphans(&mut self, facts: &Facts<'_>, now: Instant, out: &mut Vec<Output>) {
        for (id, started) in &facts.managed.started {
            let pool = facts.catalog.pool(&started.pool);
            let is_wanted = pool.is_some_and(|pool| pool.scaling.is_some());
            let (Some(driver), false) = (&started.driver, is_wanted) else { continue };
            let has = |peer: &ExecutorFacts| peer.drivers.contains_key(driver);
            let executor = owner(id, driver, facts).unwrap_or_else(|| started.executor.clone());
            let is_planned = facts.managed.intents.values().any(|intent| intent.node == *id);
            let is_there = facts.executors.get(&executor).is_some_and(has);
            if is_planned || !is_there || self.is_busy(&started.region, facts) || self.resting.contains_key(id.as_str())
            {
                continue;
            }
            self.looks_made += 1;
            let why = if pool.is_some() { "is not scaled any more" } else { "is gone" };
            let reason = Reason { trigger: "orphaned", evidence: format!("pool \"{}\" {why}", started.pool) };
            let mut look = Look {
                began: now,
                plan: Plan::Stop,
                node: Some(id.clone()),
                pool: started.pool.clone(),
                region: started.region.clone(),
                reason,
                by: String::new(),
                ticket: None,
                ignores_limits: false,
                mode: None,
                executor: Some(executor),
                driver: Some(driver.clone()),
                ranked: Ranked::default(),
                intent: None,
            };
            let nowhere = Pool::new(started.pool.clone());
            let node = facts.node(id).map(|(_, node)| node);
            let mut intent = Box::new(look.intent_of(node, pool.unwrap_or(&nowhere), None, Vec::new(), facts));
            intent.node.clone_from(id);
            if node.is_none() {
                // Nobody sends it anything.
                (intent.step, intent.from_address) = (Step::Act, Some(started.address.clone()));
            }
            look.intent = Some(intent.clone());
            let progress = Progress::Plan { intent, term: facts.term.get() };
            out.push(Output::Write(Write::Plan { look: self.looks_made, progress }));
            self.looks.insert(self.looks_made, look);
        }
    }

    /// It is not tried again for a while.
    fn rest(&mut self, plan: Plan, node: Option<&NodeId>, pool: &PoolName, region: &RegionName, now: Instant) {
        self.resting.insert(key(plan, node, pool, region), now + LOOK_AGAIN_AFTER);
    }

    /// Whether it could not be planned just now.
    pub(super) fn is_resting(&self, plan: Plan, node: Option<&NodeId>, pool: &PoolName, region: &RegionName) -> bool {
        self.resting.contains_key(&key(plan, node, pool, region))
    }

    /// A plan is committed, or not.
    fn planned(
        &mut self,
        number: u64,
        written: Result<u64, Unwritten>,
        facts: &Facts<'_>,
        now: Instant,
        out: &mut Vec<Output>,
    ) {
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
            Err(Unwritten::Refused(why)) => {
                if let Some(look) = self.looks.get(&number) {
                    self.resting.insert(look.key(), now + LOOK_AGAIN_AFTER);
                }
                self.refuse_look(number, "catalog", why, Vec::new(), facts, out);
            }
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
        } else if self.told.entry(key).or_default().insert(constraint.clone()) {
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
                let Some(intent) = facts.managed.intents.get(&id) else {
                    return not_found(format!("there is no plan {id} that is not over"));
                };
                let answers = intent.executor.as_ref().is_none_or(|executor| facts.executors.contains_key(executor));
                if intent.step != Step::Abandoned && answers {
                    let refused = Refused::Against {
                        constraint: "under_way".to_owned(),
                        reason: format!("plan {id} is carried out: it is at {}", intent.step.name()),
                        candidates: Vec::new(),
                    };
                    return out.push(Output::Reply { ticket, answered: Answered::Refused(refused) });
                }
                let failure = Some(if by.is_empty() { "settled".to_owned() } else { format!("settled by {by}") });
                let (from, outcome) = (intent.step, PlanOutcome::Resolved);
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
        let then = |id: &ServerId| facts.catalog.server(id).map(ServerThen::of);
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
            from_server: node.and_then(|node| node.server.as_ref()).and_then(&then),
            to_server: to.and_then(&then),
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

pub(super) fn key(plan: Plan, node: Option<&NodeId>, pool: &PoolName, region: &RegionName) -> String {
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

/// Who carries it out: whoever has the node, else a peer of the region, else the one with the fewest plans and nodes. A node is stopped by
/// whoever has it and by nobody else.
fn executor(driver: &DriverName, wish: &Wish<'_>, facts: &Facts<'_>) -> Option<PeerId> {
    let known = wish.node.and_then(|node| owner(&node.id, driver, facts));
    if wish.plan == Plan::Stop && known.is_some() {
        return known;
    }
    let able = facts.executors.iter().filter(|(_, executor)| executor.drivers.contains_key(driver));
    let busy = |peer: &PeerId| {
        let started = facts.managed.started.values().filter(|started| started.executor == *peer).count();
        let intents = facts.managed.intents.values().filter(|intent| intent.executor.as_ref() == Some(peer)).count();
        started + intents
    };
    let best = able.min_by_key(|(peer, executor)| {
        (known.as_ref() != Some(*peer), executor.region != *wish.region, busy(peer), (*peer).clone())
    });
    best.map(|(peer, _)| peer.clone())
}

/// What is asked of servers before one is chosen.
fn probe(number: u64, node: Option<&Node>, pool: &Pool, look: &Look, facts: &Facts<'_>) -> Probe {
    let servers = look.ranked.best.clone();
    let by = match (&look.driver, &look.executor, node) {
        (Some(driver), Some(executor), _) => {
            let intent = look.intent_of(node, pool, None, Vec::new(), facts);
            let effects = servers.iter().map(|server| {
                // A probe belongs to no plan; it is later than all that there were, and earlier than the next.
                let effect = effect(IntentId::of_revision(facts.revision), &intent, Action::Probe, facts);
                crate::driver::Effect { to: Some(server_at(server)), ..effect }
            });
            ProbeBy::Driver { executor: executor.clone(), driver: driver.clone(), effects: effects.collect() }
        }
        (_, _, Some(node)) => {
            ProbeBy::Check(servers.iter().map(|server| address_on(&server.address, &node.address)).collect())
        }
        (_, _, None) => ProbeBy::Check(Vec::new()),
    };
    Probe { look: number, pool: pool.name.clone(), servers, by }
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
