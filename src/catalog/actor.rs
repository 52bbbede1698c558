//! The actor: it applies what the cluster has committed, and while its peer leads it turns writes into what is committed
//! next, one after the other. Documents are read (`reading.rs`) and made (`actor/making.rs`) in tasks, away from the thread
//! that keeps time.

mod making;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::sync::{Mutex, OwnedMutexGuard, mpsc, oneshot, watch};
use tokio::task::{JoinError, JoinSet, spawn_blocking};

use making::{Made, Proposed, in_words, make, propose, written};

use super::applied::{Applied, Behind, Source};
use super::body::Body;
use super::json::{Etag, Object};
use super::reading::{Newest, Read, Said, read};
use super::versions::Versions;
use super::write::{Keyed, WriteRefused, Written};
use crate::election::{Committed, Leadership, Offered, Remembered, Request, Standing, Value, Writes};
use crate::host;
use crate::model::{Catalog, Electors, PeerId, Revision, Slot, Term};

/// A turn ends after this time even if nothing happened, so that a request to stop is heard.
const TURN_MAX: Duration = Duration::from_millis(200);
/// Until a write is tried again that was declined because something else was undecided.
const AGAIN_AFTER: Duration = Duration::from_millis(20);
/// How often a peer without listeners or pools lets another one begin the cluster.
const GIVE_WAY_MAX: u32 = 10;
/// Writes taken in one turn.
const WRITES_PER_TURN_MAX: usize = 64;

/// A write, and who waits for it.
#[derive(Debug)]
pub struct Asked {
    /// The write.
    pub write: Keyed,
    /// It is done only while this peer leads in this term; `None`: whenever it leads.
    pub term: Option<Term>,
    /// Takes what becomes of it. A peer that does not lead answers [`WriteRefused::NotLeading`] at once.
    pub reply: Reply,
}

type Reply = oneshot::Sender<Result<Written, WriteRefused>>;

/// What the actor is given at every start.
#[derive(Clone, Debug)]
pub struct Arguments {
    /// This peer.
    pub own: PeerId,
    /// What users want, as this peer's file has it: the first catalog, if this peer leads first.
    pub desired: Arc<Object>,
    /// It has no listener or no pool: a new cluster shall begin with the file of a peer that has, where there is one.
    pub gives_way: bool,
    /// The catalog is about to become what the file says, and nobody else has a say: until then what was agreed on before the
    /// start is not served by.
    pub file_first: bool,
    /// Writes for this peer as the leader.
    pub asked: Arc<Mutex<mpsc::Receiver<Asked>>>,
    /// How its elector stands.
    pub standing: watch::Receiver<Arc<Standing>>,
    /// What is committed.
    pub committed: watch::Receiver<Option<Committed>>,
    /// The way to its elector.
    pub elector: mpsc::Sender<Request>,
    /// Where it says what it serves by.
    pub applied: watch::Sender<Arc<Applied>>,
    /// Where routing and checks take the catalog from.
    pub catalog: watch::Sender<Arc<Catalog>>,
    /// What users wanted in the last revisions.
    pub versions: Versions,
}

/// The actor.
#[derive(Clone, Copy, Debug, Default)]
pub struct CatalogActor;

/// The actor's one message, which it sends itself.
#[derive(Clone, Copy, Debug)]
pub struct Turn;

/// What the actor owns while it runs.
pub struct State {
    arguments: Arguments,
    asked: OwnedMutexGuard<mpsc::Receiver<Asked>>,
    writes: Writes<Arc<Keyed>, Reply>,
    /// The term that this peer leads in.
    leading: Option<Term>,
    /// What the next write is made from.
    newest: Option<Newest>,
    step: Step,
    tasks: JoinSet<Done>,
    /// See [`Arguments::file_first`].
    file_first: bool,
    /// The committed value that is being read.
    reading: Option<Slot>,
    /// How often it has given way to another one that could begin the cluster.
    gave_way: u32,
    /// What is to be kept for a rollback next, and whether something is being kept.
    to_keep: Option<Arc<Body>>,
    is_keeping: bool,
}

/// How far the write is that is undecided.
enum Step {
    /// There is none.
    Idle,
    /// It is being made, or is on its way to the elector.
    Making,
    /// Something else is undecided, so it is made once more at this moment.
    Again(Instant),
    /// It is proposed.
    Proposed(Proposed),
}

enum Done {
    /// A committed value was read.
    Read(Slot, Arc<Value>, Result<Read, String>),
    /// A write was made into a value and given to the elector.
    Made {
        term: Term,
        made: Made,
    },
    Kept(Result<(), String>),
}

enum Woken {
    Asked(Option<Asked>),
    Standing(bool),
    Committed(bool),
    Task(Result<Done, JoinError>),
    Time,
}

impl Actor for CatalogActor {
    type Msg = Turn;
    type State = State;
    type Arguments = Arguments;

    async fn pre_start(&self, myself: ActorRef<Turn>, given: Arguments) -> Result<State, ActorProcessingErr> {
        // Whoever ran before has ended, or is about to.
        let asked = Arc::clone(&given.asked).lock_owned().await;
        let mut state = State {
            file_first: given.file_first,
            arguments: given,
            asked,
            writes: Writes::new(),
            leading: None,
            newest: None,
            step: Step::Idle,
            tasks: JoinSet::new(),
            reading: None,
            gave_way: 0,
            to_keep: None,
            is_keeping: false,
        };
        state.committed();
        state.stand();
        myself.cast(Turn)?;
        Ok(state)
    }

    async fn handle(&self, myself: ActorRef<Turn>, _: Turn, state: &mut State) -> Result<(), ActorProcessingErr> {
        match state.wait().await {
            Woken::Asked(Some(asked)) => {
                state.offer(asked);
                for _ in 0..WRITES_PER_TURN_MAX {
                    let Ok(asked) = state.asked.try_recv() else { break };
                    state.offer(asked);
                }
            }
            Woken::Standing(true) => state.stand(),
            Woken::Committed(true) => state.committed(),
            Woken::Task(done) => state.done(done?),
            Woken::Time => {}
            Woken::Asked(None) | Woken::Standing(false) | Woken::Committed(false) => {
                myself.stop(Some("nobody is left to hear".to_owned()));
                return Ok(());
            }
        }
        state.advance();
        myself.cast(Turn)?;
        Ok(())
    }
}

impl State {
    async fn wait(&mut self) -> Woken {
        let again = match self.step {
            Step::Again(at) => Some(at),
            _ => None,
        };
        let turn_end = host::now() + TURN_MAX;
        let until = again.map_or(turn_end, |at| at.min(turn_end));
        let Arguments { standing, committed, .. } = &mut self.arguments;
        tokio::select! {
            biased;
            Some(done) = self.tasks.join_next(), if !self.tasks.is_empty() => Woken::Task(done),
            changed = committed.changed() => Woken::Committed(changed.is_ok()),
            changed = standing.changed() => Woken::Standing(changed.is_ok()),
            asked = self.asked.recv() => Woken::Asked(asked),
            () = tokio::time::sleep_until(until.into()) => Woken::Time,
        }
    }

    /// The elector stands otherwise.
    fn stand(&mut self) {
        let standing = Arc::clone(&self.arguments.standing.borrow_and_update());
        let leading = match standing.leadership {
            Leadership::Own { term, first } if standing.takes_changes || first => Some(term),
            _ => None,
        };
        if self.leading.is_some() && leading != self.leading {
            self.led_no_more();
        }
        self.leading = leading;
    }

    fn led_no_more(&mut self) {
        let id = self.writes.undecided().map(|write| write.key().id.clone());
        let is_begun = matches!(self.step, Step::Making | Step::Proposed(_));
        let (begun, waiting) = self.writes.led_no_more();
        for reply in begun {
            let refused = match &id {
                Some(id) if is_begun => WriteRefused::OutcomeUnknown { id: id.clone() },
                _ => WriteRefused::NotLeading,
            };
            answer(reply, Err(refused));
        }
        waiting.into_iter().for_each(|reply| answer(reply, Err(WriteRefused::NotLeading)));
        self.step = Step::Idle;
    }

    /// Something newer is committed.
    fn committed(&mut self) {
        let committed = self.arguments.committed.borrow_and_update().clone();
        let Some(Committed { slot, value }) = committed else { return };
        if self.newest.as_ref().is_some_and(|newest| newest.slot == slot) || self.reading.as_ref() == Some(&slot) {
            return;
        }
        self.reading = Some(slot.clone());
        let file = self.file_first.then(|| Arc::clone(&self.arguments.desired));
        self.tasks.spawn(async move {
            let reading = {
                let (slot, value) = (slot.clone(), Arc::clone(&value));
                spawn_blocking(move || read(&slot, &value, file.as_deref())).await
            };
            // One that nobody can read is no reason to try for ever: this peer goes on with the one before.
            Done::Read(slot, value, reading.unwrap_or_else(|error| Err(error.to_string())))
        });
    }

    fn offer(&mut self, asked: Asked) {
        let Asked { write, term, reply } = asked;
        let leading = self.leading.filter(|leading| term.is_none_or(|term| term == *leading));
        let (Some(_), Some(newest)) = (leading, &self.newest) else {
            return answer(reply, Err(WriteRefused::NotLeading));
        };
        let key = write.key().clone();
        match self.writes.offer(Some(key.clone()), Arc::new(write), reply, &newest.value.outcomes) {
            Offered::Waits => {}
            Offered::Done(revision, reply) => {
                answer(reply, Ok(written(revision, None, key.id)));
            }
            Offered::Other(reply) => answer(reply, Err(WriteRefused::OtherWrite { id: key.id })),
            Offered::Full(reply) => answer(reply, Err(WriteRefused::Busy)),
        }
    }

    /// Begins the next write, where this peer leads and none is under way.
    fn advance(&mut self) {
        match self.step {
            Step::Idle => {}
            Step::Again(at) if at <= host::now() => {}
            _ => return,
        }
        let Some(term) = self.leading else { return };
        let elector = self.arguments.elector.clone();
        let Some(newest) = self.newest.clone() else {
            // The first catalog of the cluster.
            if !matches!(self.arguments.standing.borrow().leadership, Leadership::Own { first: true, .. }) {
                return;
            }
            self.step = Step::Making;
            if self.gives_way() {
                self.gave_way += 1;
                tracing::info!(
                    "a new cluster shall not begin with a file without listeners or pools; another one may lead"
                );
                self.tasks.spawn(async move {
                    let _ = elector.send(Request::GiveWay).await;
                    Done::Made { term, made: Made::NotLeading }
                });
                return;
            }
            let (desired, own) = (Arc::clone(&self.arguments.desired), self.arguments.own.clone());
            self.tasks.spawn(async move {
                let first = move || Body::first((*desired).clone(), &own, host::wall_now_ms()).encode();
                let body = match spawn_blocking(first).await {
                    Ok(body) => body,
                    Err(error) => {
                        let message = error.to_string();
                        return Done::Made { term, made: Made::Refused(WriteRefused::Unavailable { message }) };
                    }
                };
                let value = Value { body, ..Value::default() };
                let proposed =
                    |hash| Proposed { hash, write: None, created: false, resource_etag: None, warnings: Vec::new() };
                Done::Made { term, made: propose(&elector, Revision::ZERO, value, proposed).await }
            });
            return;
        };
        if self.reading.is_some() {
            return;
        }
        if self.writes.undecided().is_none() && self.writes.begin().is_none() {
            self.step = Step::Idle;
            return;
        }
        let Some(write) = self.writes.undecided().cloned() else { return };
        self.step = Step::Making;
        self.tasks.spawn(async move { Done::Made { term, made: make(newest, write, elector).await } });
    }

    /// Whether another one should lead first. Where none can, this one does after a few elections.
    fn gives_way(&self) -> bool {
        let has_others = |electors: &Electors| electors.len() > 1;
        self.arguments.gives_way
            && self.gave_way < GIVE_WAY_MAX
            && self.arguments.standing.borrow().electors.as_ref().is_some_and(has_others)
    }

    fn done(&mut self, done: Done) {
        match done {
            Done::Read(slot, value, read) => {
                if self.reading.as_ref() == Some(&slot) {
                    self.reading = None;
                    self.apply(slot, value, read);
                }
            }
            // What was made in an earlier term is none of this one's: who asked for it was told.
            Done::Made { term, .. } if self.leading != Some(term) || !matches!(self.step, Step::Making) => {}
            Done::Made { made, .. } => self.made(made),
            Done::Kept(kept) => {
                if let Err(error) = kept {
                    tracing::warn!(
                        error,
                        "this revision cannot be kept; a rollback to it would have to ask other peers"
                    );
                }
                self.is_keeping = false;
                self.keep();
            }
        }
    }

    fn made(&mut self, made: Made) {
        match made {
            Made::Proposed(proposed) => {
                self.step = Step::Proposed(proposed);
                self.decide();
            }
            Made::Done(written) => self.decided(&Ok(written)),
            Made::Refused(refused) if self.writes.undecided().is_none() => {
                tracing::error!(%refused, "the first catalog cannot be proposed; it is tried again");
                self.step = Step::Again(host::now() + TURN_MAX);
            }
            Made::Refused(refused) => self.decided(&Err(refused)),
            Made::Again => self.step = Step::Again(host::now() + AGAIN_AFTER),
            Made::NotLeading => {
                self.led_no_more();
                self.step = Step::Again(host::now() + AGAIN_AFTER);
            }
        }
    }

    /// Answers the write that is undecided, if the newest committed value is the one that was proposed.
    fn decide(&mut self) {
        let (Step::Proposed(proposed), Some(newest)) = (&self.step, &self.newest) else { return };
        if newest.slot.hash != proposed.hash {
            return;
        }
        let Some(write) = &proposed.write else {
            self.step = Step::Idle;
            return;
        };
        let Ok(Said { etag, .. }) = newest.said else { return };
        let revision = match newest.value.outcomes.get(write.key()) {
            Some(Remembered::Done(revision)) => revision,
            _ => newest.slot.revision,
        };
        let (created, resource_etag) = (proposed.created, proposed.resource_etag);
        let warnings = in_words(&proposed.warnings);
        let written = written(revision, Some(etag), write.key().id.clone());
        self.decided(&Ok(Written { created, resource_etag, warnings, ..written }));
    }

    fn decided(&mut self, outcome: &Result<Written, WriteRefused>) {
        self.step = Step::Idle;
        self.writes.decided().into_iter().for_each(|reply| answer(reply, outcome.clone()));
    }

    /// Serves by what is committed from now on, if it can be read.
    fn apply(&mut self, slot: Slot, value: Arc<Value>, read: Result<Read, String>) {
        let revision = slot.revision;
        match read {
            Ok(Read { said, applied, is_of_file }) => {
                let body = Arc::clone(&said.body);
                self.newest = Some(Newest { slot, value, said: Ok(said) });
                let is_by_file = matches!(self.arguments.applied.borrow().source, Source::File { .. });
                if std::mem::take(&mut self.file_first) && is_by_file && !is_of_file {
                    tracing::debug!(%revision, "this peer's file is newer than what was agreed on before");
                } else if applied.behind.is_none() {
                    tracing::info!(%revision, "the cluster's catalog is applied");
                    let catalog = Arc::clone(&applied.catalog);
                    // First what is shown, then what is done: who sees a view of a catalog finds that catalog applied.
                    self.arguments.applied.send_replace(Arc::new(applied));
                    self.arguments.catalog.send_if_modified(|now| {
                        let is_new = **now != *catalog;
                        *now = catalog;
                        is_new
                    });
                } else if let Some(behind) = applied.behind {
                    self.fall_behind(behind);
                }
                self.to_keep = Some(body);
                self.keep();
            }
            Err(why) => {
                self.newest = Some(Newest { slot, value, said: Err(why.as_str().into()) });
                self.fall_behind(Behind { revision, why });
            }
        }
        self.decide();
    }

    /// Keeps what users want for a rollback: one after the other, so that none removes what a later one has kept.
    fn keep(&mut self) {
        if self.is_keeping {
            return;
        }
        let Some(body) = self.to_keep.take() else { return };
        self.is_keeping = true;
        let versions = self.arguments.versions.clone();
        self.tasks.spawn_blocking(move || {
            let named: BTreeSet<Etag> = body.history.iter().map(|record| record.etag).collect();
            Done::Kept(versions.keep(&body.desired, &named))
        });
    }

    fn fall_behind(&self, behind: Behind) {
        let Behind { revision, why } = &behind;
        tracing::error!(%revision, why, "the cluster's catalog cannot be applied here; this peer goes on with the one before");
        let before = Arc::clone(&self.arguments.applied.borrow());
        self.arguments.applied.send_replace(Arc::new(Applied { behind: Some(behind), ..(*before).clone() }));
    }
}

/// Whoever asked may have gone; then nobody misses the answer.
fn answer(reply: Reply, with: Result<Written, WriteRefused>) {
    let _ = reply.send(with);
}

#[cfg(test)]
mod tests;
