//! One plan on its way: what is to be done at its step, and what comes next. The step itself is in the catalog; here is only what a leader
//! asked and heard since it leads, which the next one finds out again.

use std::time::{Duration, Instant};

use super::facts::{Facts, NodeFacts};
use super::output::{Output, Write};
use crate::catalog::{Intent, Progress, ServerThen};
use crate::driver::{Action, Answer, Effect, NodeAt, ServerAt};
use crate::model::{DrainLeft, Failover, IntentId, Mode, PeerId, Plan, PlanOutcome, Server, ServerId, Step};

/// Until an executor is asked again that is at work.
const ASK_EVERY: Duration = Duration::from_millis(300);
/// Until one is asked again that did not answer, or cannot do it now.
const ASK_AGAIN_AFTER: Duration = Duration::from_secs(2);
/// An executor that is silent for so long is given up.
pub(super) const SILENT_MAX: Duration = Duration::from_secs(600);
/// What is left behind after a move that is done is tried to be removed for so long.
const FINISH_MAX: Duration = Duration::from_secs(60);
/// How often it is looked whether one that was given up answers.
const ABANDONED_EVERY: Duration = Duration::from_secs(30);
/// How often peers are asked what they have at a node that drains.
const COUNT_EVERY: Duration = Duration::from_millis(250);
/// How often a node is checked that has to be up.
const VERIFY_EVERY: Duration = Duration::from_millis(250);

/// What a leader knows of a plan beside the catalog.
#[derive(Debug)]
pub(super) struct Carrying {
    /// The step that all of this is about.
    step: Step,
    /// When it began, as far as this leader can tell.
    entered: Instant,
    /// Something was asked and is not answered.
    is_waiting: bool,
    /// Before that nothing is asked.
    not_before: Instant,
    /// Since when the executor has not answered.
    silent_since: Option<Instant>,
    /// What it said last, where it could not do it.
    unable: Option<String>,
    /// What is to be written, until it is.
    to_write: Option<Progress>,
    /// The node was checked and is well.
    is_verified: bool,
    /// What was found last.
    found: Option<String>,
    /// Nobody has anything at the node any more.
    is_drained: bool,
    /// Since when a step that cleans up has failed.
    failing_since: Option<Instant>,
    /// The step began in an earlier term, and nothing was heard of the executor since this leader leads.
    was_met: bool,
    /// The executor may have begun what is asked at this step: an earlier leader asked, or this one did and does not know what came of it.
    may_have_begun: bool,
    /// The executor has forgotten what it did.
    has_lost_fence: bool,
    /// To be answered before the next [`Output::Ask`].
    challenge: Option<u64>,
}

impl Carrying {
    /// Of a plan that was met at this step.
    pub(super) fn new(intent: &Intent, facts: &Facts<'_>, now: Instant) -> Self {
        // The step may have begun under another leader, whose clock was perhaps another one.
        let began_ms = intent.steps.last().map_or(facts.wall_now_ms, |taken| taken.at_ms);
        let is_of_earlier = intent.steps.last().is_none_or(|taken| taken.term != facts.term.get());
        let age = Duration::from_millis(facts.wall_now_ms.saturating_sub(began_ms)).min(SILENT_MAX);
        Self {
            step: intent.step,
            entered: now.checked_sub(age).unwrap_or(now),
            is_waiting: false,
            not_before: now,
            silent_since: None,
            unable: None,
            to_write: None,
            is_verified: false,
            found: None,
            is_drained: false,
            failing_since: None,
            was_met: is_of_earlier,
            may_have_begun: is_of_earlier,
            has_lost_fence: false,
            challenge: None,
        }
    }

    /// What is to be done now.
    pub(super) fn turn(&mut self, id: IntentId, intent: &Intent, facts: &Facts<'_>, now: Instant) -> Option<Output> {
        if self.step != intent.step {
            let is_waiting = self.is_waiting;
            *self = Self { is_waiting, ..Self::new(intent, facts, now) };
            // A clock that was set between two steps makes none of them old: this leader has seen it begin.
            self.entered = now;
        }
        if self.is_waiting || now < self.not_before {
            return None;
        }
        if let Some(progress) = self.to_write.clone() {
            return Some(self.wait(Output::Write(Write::Progress { intent: id, progress })));
        }
        match intent.step {
            Step::Drain => self.drain(id, intent, facts, now),
            Step::Act => self.act(id, intent, facts, now),
            Step::Verify => self.verify(id, intent, facts, now),
            Step::Finish => self.ask(id, intent, Action::Finish, facts, now),
            Step::Undo if intent.driver.is_none() => self.end(id, intent, PlanOutcome::RolledBack, None),
            Step::Undo => self.ask(id, intent, Action::Undo, facts, now),
            Step::Abandoned => self.abandoned(id, intent, facts, now),
            Step::Unknown => None,
        }
    }

    fn wait(&mut self, output: Output) -> Output {
        self.is_waiting = true;
        output
    }

    fn write(&mut self, id: IntentId, progress: Progress) -> Option<Output> {
        self.to_write = Some(progress.clone());
        Some(self.wait(Output::Write(Write::Progress { intent: id, progress })))
    }

    fn step(
        &mut self,
        id: IntentId,
        to: Step,
        facts: &Facts<'_>,
        address: Option<String>,
        failure: Option<String>,
    ) -> Option<Output> {
        let (from, term) = (self.step, facts.term.get());
        self.write(id, Progress::Step { intent: id, from, to, address, failure, term })
    }

    fn end(&mut self, id: IntentId, intent: &Intent, outcome: PlanOutcome, failure: Option<String>) -> Option<Output> {
        let failure = match (&intent.failure, failure) {
            (Some(before), Some(after)) => Some(format!("{before}; then: {after}")),
            (before, after) => after.or_else(|| before.clone()),
        };
        self.write(id, Progress::End { intent: id, from: self.step, outcome, address: None, failure })
    }

    /// All is as it was, but perhaps at another address.
    fn rolled_back(&mut self, id: IntentId, intent: &Intent, address: Option<String>) -> Option<Output> {
        let (from, outcome, failure) = (self.step, PlanOutcome::RolledBack, intent.failure.clone());
        self.write(id, Progress::End { intent: id, from, outcome, address, failure })
    }

    fn drain(&mut self, id: IntentId, intent: &Intent, facts: &Facts<'_>, now: Instant) -> Option<Output> {
        let node = facts.nodes.get(&intent.node);
        let is_well_again = intent.trigger == "verdict_down" && node.is_some_and(NodeFacts::is_up);
        let why = if facts.node(&intent.node).is_none() {
            Some("the node is not in the catalog any more".to_owned())
        } else if is_well_again {
            Some("the node is up again".to_owned())
        } else {
            // It may have been said while the old work was waited for.
            let to = intent.to.as_ref().filter(|_| intent.plan == Plan::Move);
            to.filter(|to| facts.catalog.server(to).is_none() || facts.managed.is_blacklisted(to, facts.wall_now_ms))
                .map(|to| format!("server \"{to}\" may not be taken any more"))
        };
        if why.is_some() {
            return self.end(id, intent, PlanOutcome::Cancelled, why);
        }
        let is_over = now.saturating_duration_since(self.entered) >= Duration::from_millis(intent.drain_timeout_ms);
        if self.is_drained || is_over {
            return match (&intent.driver, &intent.address) {
                // By the catalog alone: the address is known from the beginning.
                (None, Some(_)) => self.step(id, Step::Verify, facts, None, None),
                _ => self.step(id, Step::Act, facts, None, None),
            };
        }
        self.not_before = now + COUNT_EVERY;
        let node = intent.node.clone();
        Some(self.wait(Output::CountDrain { intent: id, node }))
    }

    fn act(&mut self, id: IntentId, intent: &Intent, facts: &Facts<'_>, now: Instant) -> Option<Output> {
        if intent.driver.is_none() {
            return self.step(id, Step::Verify, facts, None, None);
        }
        match intent.plan {
            Plan::Move => self.ask(id, intent, Action::Switch, facts, now),
            Plan::Start => self.ask(id, intent, Action::Start, facts, now),
            Plan::Stop => self.ask(id, intent, Action::Stop, facts, now),
            Plan::Unknown => None,
        }
    }

    fn verify(&mut self, id: IntentId, intent: &Intent, facts: &Facts<'_>, now: Instant) -> Option<Output> {
        let address = intent.address.as_deref().and_then(|address| address.parse().ok());
        let Some(address) = address else {
            return self.step(id, Step::Undo, facts, None, Some("it is not known where the node is".to_owned()));
        };
        let node = facts.nodes.get(&intent.node).filter(|node| node.address == address);
        let is_up = node.is_some_and(NodeFacts::is_up);
        // At another address all votes are of after the move. At the same one they may be of before, so it is looked at from here too.
        let is_elsewhere = intent.address != intent.from_address;
        if is_up && (is_elsewhere || self.is_verified) {
            return match (intent.plan, &intent.driver) {
                (Plan::Move, Some(_)) => self.step(id, Step::Finish, facts, None, None),
                _ => self.end(id, intent, PlanOutcome::Done, None),
            };
        }
        let limit = Duration::from_millis(intent.verify_timeout_ms);
        if now.saturating_duration_since(self.entered) >= limit {
            let found = self.found.as_deref().unwrap_or("it was not looked at");
            let verdict = node.map_or("unknown", |node| node.verdict.name());
            let failure =
                format!("not up at {address} within {} s: {found}; the cluster says {verdict}", limit.as_secs());
            return self.step(id, Step::Undo, facts, None, Some(failure));
        }
        self.not_before = now + VERIFY_EVERY;
        Some(self.wait(Output::Verify { intent: id, pool: intent.pool.clone(), address }))
    }

    fn ask(
        &mut self,
        id: IntentId,
        intent: &Intent,
        action: Action,
        facts: &Facts<'_>,
        now: Instant,
    ) -> Option<Output> {
        let (Some(driver), Some(executor)) = (&intent.driver, &intent.executor) else {
            return self.end(id, intent, PlanOutcome::Failed, Some("nobody can carry it out".to_owned()));
        };
        if self.silent_since.is_some_and(|since| now.saturating_duration_since(since) >= SILENT_MAX) {
            let why = self.unable.clone().unwrap_or_else(|| format!("peer \"{executor}\" does not answer"));
            return self.step(id, Step::Abandoned, facts, None, Some(why));
        }
        let (executor, node) = (executor.clone(), intent.node.clone());
        if let Some(challenge) = self.challenge.take() {
            return Some(self.wait(Output::Fence { executor, intent: id, action, node, challenge }));
        }
        // Where the executor remembers what it began, it knows better.
        let again = self.has_lost_fence && self.may_have_begun;
        let effect = Effect { again, ..effect(id, intent, action, facts) };
        let driver = driver.clone();
        Some(self.wait(Output::Ask { executor, driver, effect }))
    }

    /// Whether the executor is there again.
    fn abandoned(&mut self, id: IntentId, intent: &Intent, facts: &Facts<'_>, now: Instant) -> Option<Output> {
        self.not_before = now + ABANDONED_EVERY;
        let (driver, executor) = (intent.driver.as_ref()?, intent.executor.as_ref()?);
        let has = facts.executors.get(executor).is_some_and(|executor| executor.drivers.contains_key(driver));
        let before = intent.was_last()?;
        let is_free = facts.managed.plan_in(&intent.region).is_none();
        if has && is_free { self.step(id, before, facts, None, None) } else { None }
    }

    /// What the executor says.
    pub(super) fn answered(
        &mut self,
        id: IntentId,
        intent: &Intent,
        (action, answer): (Action, Option<Answer>),
        facts: &Facts<'_>,
        now: Instant,
    ) -> Option<Output> {
        self.is_waiting = false;
        if self.step != intent.step || !is_asked_at(intent, action) {
            return None;
        }
        if let Some(answer) = &answer
            && !matches!(answer, Answer::Unable { .. } | Answer::Stale { .. })
        {
            self.was_met = false;
        }
        let Some(answer) = answer else {
            self.may_have_begun = true;
            self.silent(None, now);
            return None;
        };
        match answer {
            Answer::Running => {
                self.may_have_begun = true;
                (self.silent_since, self.not_before) = (None, now + ASK_EVERY);
                None
            }
            Answer::Done(done) => match (action, intent.plan) {
                (Action::Switch | Action::Start, _) => {
                    let address = done.address.or_else(|| intent.from_address.clone());
                    if address.is_none() {
                        let why = "the driver started a node and did not say where it is: answer with its address";
                        return self.step(id, Step::Undo, facts, None, Some(why.to_owned()));
                    }
                    self.step(id, Step::Verify, facts, address, None)
                }
                (Action::Undo, _) => self.rolled_back(id, intent, done.address),
                _ => self.end(id, intent, PlanOutcome::Done, None),
            },
            Answer::Failed { why } => {
                let is_given_up =
                    |limit| self.failing_since.is_some_and(|since| now.saturating_duration_since(since) >= limit);
                match action {
                    Action::Switch | Action::Start => self.step(id, Step::Undo, facts, None, Some(why)),
                    // It is where it is to be; what is left behind is for people.
                    Action::Finish if is_given_up(FINISH_MAX) => self.end(id, intent, PlanOutcome::Done, Some(why)),
                    _ if is_given_up(SILENT_MAX) => self.end(id, intent, PlanOutcome::Failed, Some(why)),
                    // What cleans up has to come to an end: an engine that is started anew fails for a while.
                    _ => {
                        self.failing_since.get_or_insert(now);
                        (self.silent_since, self.not_before) = (None, now + ASK_AGAIN_AFTER);
                        None
                    }
                }
            }
            Answer::NoFence { challenge } => {
                self.challenge = Some(challenge);
                self.silent_since = None;
                self.has_lost_fence = true;
                None
            }
            Answer::Fenced => {
                self.silent_since = None;
                None
            }
            Answer::Stale { term, intent: latest } => {
                let latest = latest.map_or_else(String::new, |latest| format!(" and plan {latest}"));
                self.silent(Some(format!("the executor knows term {term}{latest} of the node, which are later")), now);
                None
            }
            Answer::Unable { why } => {
                self.silent(Some(why), now);
                None
            }
            Answer::Described(_) => None,
        }
    }

    fn silent(&mut self, unable: Option<String>, now: Instant) {
        // A leader that met the plan at this step knows of no answer to it since it began.
        let since = if self.was_met { self.entered } else { now };
        self.silent_since.get_or_insert(since);
        self.unable = unable;
        self.not_before = now + ASK_AGAIN_AFTER;
    }

    /// What peers have at its node.
    pub(super) fn drained(&mut self, left: &[(PeerId, Option<DrainLeft>)]) {
        self.is_waiting = false;
        // One that does not say may be sending it new work, but is not waited for longer than the drain may take.
        self.is_drained = left.iter().all(|(_, left)| left.is_some_and(|left| left.in_flight == 0));
    }

    /// What a check of its node found.
    pub(super) fn verified(&mut self, found: Result<String, String>) {
        self.is_waiting = false;
        self.is_verified = found.is_ok();
        self.found = Some(found.unwrap_or_else(|wrong| wrong));
    }

    /// What became of what was to be written. Where it was refused, what is written is looked at again.
    pub(super) fn written(&mut self, written: &Result<(), String>, now: Instant) {
        self.is_waiting = false;
        self.to_write = None;
        if written.is_err() {
            self.not_before = now + ASK_EVERY;
        }
    }
}

/// Whether that is what is asked at the step of a plan. What is late says nothing.
fn is_asked_at(intent: &Intent, action: Action) -> bool {
    match intent.step {
        Step::Act => matches!(action, Action::Switch | Action::Start | Action::Stop),
        Step::Finish => action == Action::Finish,
        Step::Undo => action == Action::Undo,
        Step::Drain | Step::Verify | Step::Abandoned | Step::Unknown => false,
    }
}

/// What a driver is told.
pub(super) fn effect(id: IntentId, intent: &Intent, action: Action, facts: &Facts<'_>) -> Effect {
    let server = |id: &Option<ServerId>, then: &Option<ServerThen>| {
        let id = id.as_ref()?;
        let then = then.as_ref().map(|then| ServerAt {
            id: id.clone(),
            address: then.address.clone(),
            labels: then.labels.clone(),
        });
        then.or_else(|| facts.catalog.server(id).map(server_at))
    };
    Effect {
        action,
        intent: id,
        term: facts.term,
        node: NodeAt {
            id: intent.node.clone(),
            pool: intent.pool.clone(),
            region: intent.region.clone(),
            address: intent.from_address.clone(),
        },
        from: server(&intent.from, &intent.from_server),
        to: server(&intent.to, &intent.to_server),
        again: false,
    }
}

pub(super) fn server_at(server: &Server) -> ServerAt {
    ServerAt { id: server.id.clone(), address: server.address.to_string(), labels: server.labels.clone() }
}

/// How long the old work of a node may take, in milliseconds; of one that leaves at once none.
pub(super) fn drain_ms(failover: &Failover, mode: Mode) -> u64 {
    match mode {
        Mode::Immediate => 0,
        Mode::Graceful => u64::try_from(failover.drain_timeout.as_millis()).unwrap_or(u64::MAX),
    }
}
