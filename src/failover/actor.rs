//! The actor: while its peer leads it feeds the machine with what is known and does what it wants done; at every peer it tells what another
//! catalog says that has happened.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::sync::{Mutex, OwnedMutexGuard, mpsc, oneshot, watch};
use tokio::task::JoinSet;

use super::facts::{ExecutorFacts, Facts, NodeFacts};
use super::handle::FailoverHandle;
use super::hands::Hands;
use super::machine::Machine;
use super::operation::{Answered, Operation, Refused};
use super::output::{Input, Output};
use super::report::{Report, Tally, regions};
use super::told::told;
use crate::catalog::{Applied, Managed, Source};
use crate::driver::Usage;
use crate::election::{Leadership, Standing};
use crate::host;
use crate::model::{Event, Member, Members, NodeId, PeerId, Pool, Term};
use crate::telemetry::events::Events;
use crate::view::{View, ViewCell};

/// How often a leader looks.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// A turn ends after this time even where nobody leads, so that a request to stop is heard.
const TURN_MAX: Duration = Duration::from_millis(250);
/// How often every peer is asked what it has.
const REPORT_EVERY: Duration = Duration::from_secs(2);
/// What a peer said counts for so long.
const REPORT_COUNTS_FOR: Duration = Duration::from_secs(8);
/// Operators that wait for an answer at the same time.
const TICKETS_MAX: usize = 64;

/// An operator's wish, and who waits for what becomes of it.
#[derive(Debug)]
pub struct Asked {
    /// The wish.
    pub operation: Operation,
    /// Takes the answer. A peer that does not lead answers so at once.
    pub reply: oneshot::Sender<Answered>,
}

/// What the actor is given at every start.
#[derive(Clone, Debug)]
pub struct Arguments {
    /// This peer.
    pub own: Member,
    /// Who lives.
    pub members: watch::Receiver<Arc<Members>>,
    /// How its elector stands.
    pub standing: watch::Receiver<Arc<Standing>>,
    /// What it serves by.
    pub applied: watch::Receiver<Arc<Applied>>,
    /// What routing knows.
    pub view: ViewCell,
    /// What operators ask.
    pub asked: Arc<Mutex<mpsc::Receiver<Asked>>>,
    /// The ways to all that a leader touches.
    pub hands: Hands,
    /// What this peer says of itself.
    pub handle: FailoverHandle,
    /// Where what happens is told.
    pub events: Events,
}

/// The actor.
#[derive(Clone, Copy, Debug, Default)]
pub struct FailoverActor;

/// The actor's one message, which it sends itself.
#[derive(Clone, Copy, Debug)]
pub struct Turn;

/// What the actor owns while it runs.
pub struct State {
    arguments: Arguments,
    asked: OwnedMutexGuard<mpsc::Receiver<Asked>>,
    /// What was managed when it was told last what happened.
    known: Arc<Managed>,
    leading: Option<Leading>,
    /// Whether the catalog has anything to look at.
    is_concerned: bool,
    tickets_given: u64,
    refused_told: u64,
}

/// What it has while its peer leads.
struct Leading {
    term: Term,
    machine: Machine,
    tasks: JoinSet<Option<Input>>,
    tickets: BTreeMap<u64, oneshot::Sender<Answered>>,
    reports: BTreeMap<PeerId, (Instant, Report)>,
    tally: Tally,
    reporting: JoinSet<(PeerId, Option<Report>)>,
    report_at: Instant,
    look_at: Instant,
}

enum Woken {
    Heard(Option<Input>),
    Reported(PeerId, Option<Report>),
    Asked(Option<Asked>),
    Applied(bool),
    Standing(bool),
    Time,
}

impl Actor for FailoverActor {
    type Msg = Turn;
    type State = State;
    type Arguments = Arguments;

    async fn pre_start(&self, myself: ActorRef<Turn>, arguments: Arguments) -> Result<State, ActorProcessingErr> {
        // Whoever ran before has ended, or is about to.
        let asked = Arc::clone(&arguments.asked).lock_owned().await;
        let known = managed(&arguments.applied.borrow());
        let is_concerned = concerns(&arguments.applied.borrow());
        let mut state =
            State { arguments, asked, known, leading: None, is_concerned, tickets_given: 0, refused_told: 0 };
        state.stand();
        myself.cast(Turn)?;
        Ok(state)
    }

    async fn handle(&self, myself: ActorRef<Turn>, _: Turn, state: &mut State) -> Result<(), ActorProcessingErr> {
        match state.wait().await {
            Woken::Asked(Some(asked)) => state.ask(asked),
            Woken::Applied(true) => state.applied(),
            Woken::Standing(true) => state.stand(),
            Woken::Heard(Some(input)) => state.turn(Some(input)),
            Woken::Reported(peer, Some(report)) => {
                if let Some(leading) = &mut state.leading {
                    leading.tally.hear(&peer, &report);
                    leading.reports.insert(peer, (host::now(), report));
                }
            }
            Woken::Heard(None) | Woken::Reported(_, None) | Woken::Time => {}
            Woken::Asked(None) | Woken::Applied(false) | Woken::Standing(false) => {
                myself.stop(Some("nobody is left to hear".to_owned()));
                return Ok(());
            }
        }
        state.look();
        myself.cast(Turn)?;
        Ok(())
    }
}

impl State {
    async fn wait(&mut self) -> Woken {
        let Arguments { standing, applied, .. } = &mut self.arguments;
        let until = self.leading.as_ref().map_or_else(|| host::now() + TURN_MAX, |leading| leading.look_at);
        let (mut none, mut no_reports) = (JoinSet::new(), JoinSet::new());
        let (tasks, reporting) = match &mut self.leading {
            Some(leading) => (&mut leading.tasks, &mut leading.reporting),
            None => (&mut none, &mut no_reports),
        };
        tokio::select! {
            biased;
            changed = standing.changed() => Woken::Standing(changed.is_ok()),
            changed = applied.changed() => Woken::Applied(changed.is_ok()),
            Some(heard) = tasks.join_next(), if !tasks.is_empty() => Woken::Heard(heard.ok().flatten()),
            Some(Ok((peer, report))) = reporting.join_next(), if !reporting.is_empty() => Woken::Reported(peer, report),
            asked = self.asked.recv() => Woken::Asked(asked),
            () = tokio::time::sleep_until(until.into()) => Woken::Time,
        }
    }

    /// The elector stands otherwise.
    fn stand(&mut self) {
        let standing = Arc::clone(&self.arguments.standing.borrow_and_update());
        let term = match standing.leadership {
            Leadership::Own { term, .. } if standing.takes_changes => Some(term),
            _ => None,
        };
        if self.leading.as_ref().map(|leading| leading.term) == term {
            return;
        }
        // What was asked goes on or not: whoever leads next finds out. Those who wait here are told.
        if let Some(leading) = self.leading.take() {
            for (_, reply) in leading.tickets {
                let _ = reply.send(Answered::Refused(Refused::OutcomeUnknown));
            }
        }
        let now = host::now();
        self.leading = term.map(|term| Leading {
            term,
            machine: Machine::default(),
            tasks: JoinSet::new(),
            tickets: BTreeMap::new(),
            reports: BTreeMap::new(),
            tally: Tally::default(),
            reporting: JoinSet::new(),
            report_at: now,
            look_at: now,
        });
    }

    /// Another catalog: what happened is told, whoever led.
    fn applied(&mut self) {
        let applied = Arc::clone(&self.arguments.applied.borrow_and_update());
        self.is_concerned = concerns(&applied);
        let managed = managed(&applied);
        if Arc::ptr_eq(&managed, &self.known) {
            return;
        }
        for event in told(&self.known, &managed, &self.arguments.own.id, host::wall_now_ms()) {
            self.arguments.events.push(event);
        }
        self.known = managed;
        if let Some(leading) = &mut self.leading {
            leading.look_at = host::now();
        }
    }

    fn ask(&mut self, asked: Asked) {
        let Asked { operation, reply } = asked;
        let Some(leading) = &mut self.leading else {
            let _ = reply.send(Answered::Refused(Refused::NotLeading));
            return;
        };
        leading.tickets.retain(|_, reply| !reply.is_closed());
        if leading.tickets.len() >= TICKETS_MAX {
            let message = "too many operators wait for an answer; ask again in a moment".to_owned();
            let _ = reply.send(Answered::Refused(Refused::Unavailable { message }));
            return;
        }
        self.tickets_given += 1;
        leading.tickets.insert(self.tickets_given, reply);
        self.turn(Some(Input::Operate { ticket: self.tickets_given, operation }));
    }

    /// Looks, where it is time.
    fn look(&mut self) {
        let now = host::now();
        let Some(leading) = &mut self.leading else { return };
        if self.is_concerned && leading.report_at <= now && leading.reporting.is_empty() {
            leading.report_at = now + REPORT_EVERY;
            let own = self.arguments.own.id.clone();
            for peer in self.arguments.members.borrow().iter() {
                let (hands, handle, peer, own) =
                    (self.arguments.hands.clone(), self.arguments.handle.clone(), peer.id.clone(), own.clone());
                leading.reporting.spawn(async move {
                    let report =
                        if peer == own { Some(handle.report().await) } else { hands.report(peer.clone()).await };
                    (peer, report)
                });
            }
        }
        leading.tally.keep(|peer| self.arguments.members.borrow().contains(peer));
        leading.reports.retain(|_, (at, _)| now.saturating_duration_since(*at) < REPORT_COUNTS_FOR);
        if leading.look_at <= now {
            leading.look_at = now + LOOK_EVERY;
            self.turn(None);
        }
    }

    /// Feeds the machine, and begins what it wants done.
    fn turn(&mut self, input: Option<Input>) {
        let Some(leading) = &mut self.leading else { return };
        let applied = Arc::clone(&self.arguments.applied.borrow());
        let Source::Committed { body, revision, .. } = &applied.source else { return };
        if !self.is_concerned && input.is_none() {
            return;
        }
        // One that lags behind what it has committed would decide by what was.
        if self.arguments.standing.borrow().committed.is_some_and(|committed| committed > *revision) && input.is_none()
        {
            return;
        }
        let view = self.arguments.view.load();
        let facts = Facts {
            own_region: &self.arguments.own.region,
            term: leading.term,
            revision: revision.get(),
            catalog: &applied.catalog,
            managed: &body.managed,
            nodes: nodes(&view, &body.managed, &leading.reports),
            regions: regions(&view, &body.managed, &leading.tally),
            executors: executors(&leading.reports, &self.arguments.members.borrow()),
            is_checked: view.is_checked(),
            wall_now_ms: host::wall_now_ms(),
        };
        let now = host::now();
        let mut outputs = Vec::new();
        if let Some(input) = input {
            outputs.extend(leading.machine.hear(input, &facts, now));
        }
        outputs.extend(leading.machine.turn(&facts, now));
        for output in outputs {
            match output {
                Output::Tell(happened) => {
                    self.refused_told += 1;
                    let (own, at_ms) = (self.arguments.own.id.clone(), facts.wall_now_ms);
                    let id = format!("{own}-{}-{}", facts.term, self.refused_told);
                    self.arguments.events.push(Event { id, at_ms, peer: own, happened });
                }
                Output::Reply { ticket, answered } => {
                    if let Some(reply) = leading.tickets.remove(&ticket) {
                        // Whoever asked may have gone.
                        let _ = reply.send(answered);
                    }
                }
                output => {
                    let (hands, term) = (self.arguments.hands.clone(), leading.term);
                    leading.tasks.spawn(hands.perform(output, term));
                }
            }
        }
    }
}

/// Whether a leader has anything to look at: what moves or scales, more than one region, a drill, or something that was begun.
fn concerns(applied: &Applied) -> bool {
    let catalog = &applied.catalog;
    let mut regions = catalog.nodes().map(|(_, node)| &node.region);
    let first = regions.next();
    let is_managed = match &applied.source {
        Source::File { .. } => false,
        Source::Committed { body, .. } => !body.managed.intents.is_empty() || !body.managed.shifts.is_empty(),
    };
    is_managed
        || catalog.pools().iter().any(|pool| pool.failover.is_some() || pool.scaling.is_some())
        || catalog.regions().iter().any(|region| region.drill.is_some())
        || regions.any(|region| Some(region) != first)
}

/// What a catalog has that is managed.
fn managed(applied: &Applied) -> Arc<Managed> {
    match &applied.source {
        Source::File { .. } => Arc::default(),
        Source::Committed { body, .. } => Arc::new(body.managed.clone()),
    }
}

/// The nodes of pools that are moved or scaled, or of which an operator moves one.
fn nodes(view: &View, managed: &Managed, reports: &BTreeMap<PeerId, (Instant, Report)>) -> BTreeMap<NodeId, NodeFacts> {
    let drivers = reports.values().flat_map(|(_, report)| &report.executor.drivers);
    let usage: BTreeMap<&NodeId, &Usage> =
        drivers.flat_map(|driver| &driver.nodes).map(|usage| (&usage.node, usage)).collect();
    let has_plan = |pool: &Pool| managed.intents.values().any(|intent| intent.pool == pool.name);
    let pools =
        view.pools().filter(|pool| pool.pool.failover.is_some() || pool.pool.scaling.is_some() || has_plan(&pool.pool));
    let facts = pools.flat_map(|pool| &pool.nodes).map(|node| {
        let used = usage.get(&node.node.id);
        let facts = NodeFacts {
            address: node.node.address.clone(),
            verdict: node.state.verdict,
            is_usable: node.is_usable(),
            connections: node.live.in_flight_everywhere(),
            cpu_percent: used.and_then(|used| used.cpu_percent),
            memory_mb: used.and_then(|used| used.memory_mb),
            score: None,
            reaches_endpoints: None,
            last_result: node.observation.last_result.to_string(),
        };
        (node.node.id.clone(), facts)
    });
    facts.collect()
}

/// The peers that live and answered lately, with their drivers that work.
fn executors(reports: &BTreeMap<PeerId, (Instant, Report)>, members: &Members) -> BTreeMap<PeerId, ExecutorFacts> {
    let living = members.iter().filter_map(|member| Some((member, &reports.get(&member.id)?.1)));
    let facts = living.map(|(member, report)| {
        let working = report.executor.drivers.iter().filter(|driver| driver.failing.is_none());
        let drivers = working.map(|driver| {
            let nodes: BTreeSet<NodeId> = driver.nodes.iter().map(|usage| usage.node.clone()).collect();
            (driver.name.clone(), nodes)
        });
        (member.id.clone(), ExecutorFacts { region: member.region.clone(), drivers: drivers.collect() })
    });
    facts.collect()
}
