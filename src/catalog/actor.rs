//! The actor: it applies what the cluster has committed, and while its peer leads it turns writes into what is committed
//! next, one after the other. Documents are read and made in tasks, away from the thread that keeps time.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::sync::{Mutex, OwnedMutexGuard, mpsc, oneshot, watch};
use tokio::task::{JoinError, JoinSet, spawn_blocking};

use super::applied::{Applied, Behind, Source};
use super::body::{Body, Next};
use super::json::{Etag, Object};
use super::versions::Versions;
use super::write::{Write, WriteRefused, Written};
use crate::document::Warning;
use crate::election::{Committed, Declined, Leadership, Offered, Refused, Request, Standing, Value, Writes};
use crate::host;
use crate::model::{Catalog, PeerId, Revision, Slot, Term, ValueHash};

/// A turn ends after this time even if nothing happened, so that a request to stop is heard.
const TURN_MAX: Duration = Duration::from_millis(200);
/// Until a write is tried again that was declined because something else was undecided.
const AGAIN_AFTER: Duration = Duration::from_millis(20);
/// Writes taken in one turn.
const WRITES_PER_TURN_MAX: usize = 64;

/// A write, and who waits for it.
#[derive(Debug)]
pub struct Asked {
    /// The write.
    pub write: Write,
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
    writes: Writes<Arc<Write>, Reply>,
    /// The term that this peer leads in.
    leading: Option<Term>,
    /// What the next write is made from.
    newest: Option<Newest>,
    step: Step,
    tasks: JoinSet<Done>,
    /// The committed value that is being read.
    reading: Option<Slot>,
}

/// The newest committed value.
#[derive(Clone)]
struct Newest {
    slot: Slot,
    value: Arc<Value>,
    /// What it says; why that cannot be read.
    body: Result<Arc<Body>, Arc<str>>,
}

/// How far the write is that is undecided.
enum Step {
    /// There is none.
    Idle,
    /// It is being made, or is on its way to the elector.
    Making,
    /// It is declined for now.
    Again(std::time::Instant),
    /// It is proposed.
    Proposed { hash: ValueHash, warnings: Vec<Warning>, write: Option<Arc<Write>> },
}

enum Done {
    /// A committed value was read.
    Read(Slot, Arc<Value>, Result<(Arc<Body>, Applied), String>),
    /// A write was made into a value and given to the elector.
    Made {
        term: Term,
        made: Made,
    },
    Kept(Result<(), String>),
}

enum Made {
    Proposed {
        hash: ValueHash,
        warnings: Vec<Warning>,
        write: Option<Arc<Write>>,
    },
    /// It is done, or was before; `changed`: it changed something.
    Done {
        revision: Revision,
        changed: bool,
        etag: Etag,
        warnings: Vec<Warning>,
        write: Arc<Write>,
    },
    Refused(WriteRefused),
    Again,
    NotLeading,
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
            arguments: given,
            asked,
            writes: Writes::new(),
            leading: None,
            newest: None,
            step: Step::Idle,
            tasks: JoinSet::new(),
            reading: None,
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
        let id = self.writes.undecided().map(|write| write.id.clone());
        let is_begun = matches!(self.step, Step::Making | Step::Proposed { .. });
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
        self.tasks.spawn_blocking(move || {
            let read = read(&slot, &value);
            Done::Read(slot, value, read)
        });
    }

    fn offer(&mut self, asked: Asked) {
        let Asked { write, reply } = asked;
        let (Some(_), Some(newest)) = (self.leading, &self.newest) else {
            return answer(reply, Err(WriteRefused::NotLeading));
        };
        let id = write.id.clone();
        match self.writes.offer(Some(id.clone()), Arc::new(write), reply, &newest.value.outcomes) {
            Offered::Waits => {}
            Offered::Done(revision, reply) => {
                let etag = newest.body.as_ref().map_or_else(|_| Etag::of(&Object::new()), |body| body.etag());
                answer(
                    reply,
                    Ok(Written {
                        revision: revision.get(),
                        etag,
                        changed: true,
                        applied: false,
                        id,
                        warnings: Vec::new(),
                    }),
                );
            }
            Offered::Full(reply) => {
                answer(reply, Err(WriteRefused::Busy));
            }
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
            let body = Body::first((*self.arguments.desired).clone(), &self.arguments.own, wall_ms());
            self.step = Step::Making;
            self.tasks.spawn(async move {
                let value = Value { body: body.encode(), ..Value::default() };
                Done::Made { term, made: propose(&elector, Revision::ZERO, value, Vec::new(), None).await }
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
            Done::Kept(Err(error)) => {
                tracing::warn!(error, "this revision cannot be kept; a rollback to it would have to ask other peers");
            }
            Done::Kept(Ok(())) => {}
        }
    }

    fn made(&mut self, made: Made) {
        match made {
            Made::Proposed { hash, warnings, write } => {
                self.step = Step::Proposed { hash, warnings, write };
                self.decide();
            }
            Made::Done { revision, changed, etag, warnings, write } => {
                let (revision, warnings, id) = (revision.get(), in_words(&warnings), write.id.clone());
                let written = Written { revision, etag, changed, applied: false, id, warnings };
                self.decided(&Ok(written));
            }
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
        let (Step::Proposed { hash, warnings, write }, Some(newest)) = (&self.step, &self.newest) else { return };
        if newest.slot.hash != *hash {
            return;
        }
        let Some(write) = write else {
            self.step = Step::Idle;
            return;
        };
        let Ok(body) = &newest.body else { return };
        let revision = newest.value.outcomes.get(&write.id).unwrap_or(newest.slot.revision).get();
        let (etag, warnings, id) = (body.etag(), in_words(warnings), write.id.clone());
        self.decided(&Ok(Written { revision, etag, changed: true, applied: false, id, warnings }));
    }

    fn decided(&mut self, outcome: &Result<Written, WriteRefused>) {
        self.step = Step::Idle;
        self.writes.decided().into_iter().for_each(|reply| answer(reply, outcome.clone()));
    }

    /// Serves by what is committed from now on, if it can be read.
    fn apply(&mut self, slot: Slot, value: Arc<Value>, read: Result<(Arc<Body>, Applied), String>) {
        let revision = slot.revision;
        match read {
            Ok((body, applied)) => {
                self.newest = Some(Newest { slot, value, body: Ok(Arc::clone(&body)) });
                if applied.behind.is_none() {
                    tracing::info!(%revision, "the cluster's catalog is applied");
                    let catalog = Arc::clone(&applied.catalog);
                    self.arguments.catalog.send_if_modified(|now| {
                        let is_new = **now != *catalog;
                        *now = catalog;
                        is_new
                    });
                    self.arguments.applied.send_replace(Arc::new(applied));
                } else if let Some(behind) = applied.behind {
                    self.fall_behind(behind);
                }
                let versions = self.arguments.versions.clone();
                self.tasks.spawn_blocking(move || {
                    let named: BTreeSet<Etag> = body.history.iter().map(|record| record.etag).collect();
                    Done::Kept(versions.keep(&body.desired, &named))
                });
            }
            Err(why) => {
                self.newest = Some(Newest { slot, value, body: Err(why.as_str().into()) });
                self.fall_behind(Behind { revision, why });
            }
        }
        self.decide();
    }

    fn fall_behind(&self, behind: Behind) {
        let Behind { revision, why } = &behind;
        tracing::error!(%revision, why, "the cluster's catalog cannot be applied here; this peer goes on with the one before");
        let before = Arc::clone(&self.arguments.applied.borrow());
        self.arguments.applied.send_replace(Arc::new(Applied { behind: Some(behind), ..(*before).clone() }));
    }
}

/// What a committed value means. Blocks.
fn read(slot: &Slot, value: &Value) -> Result<(Arc<Body>, Applied), String> {
    let body = Arc::new(Body::parse(&value.body).map_err(|error| error.to_string())?);
    let source = Source::Committed { revision: slot.revision, etag: body.etag(), body: Arc::clone(&body) };
    let applied = match body.meaning() {
        Ok(meaning) => {
            let (catalog, warnings) = (Arc::new(meaning.catalog), meaning.warnings.into());
            Applied { source, catalog, warnings, behind: None }
        }
        Err(faults) => {
            let behind = Some(Behind { revision: slot.revision, why: faults.to_string() });
            Applied { source, catalog: Arc::default(), warnings: Arc::default(), behind }
        }
    };
    Ok((body, applied))
}

/// The catalog of a peer at its start, from what is committed on its disk. Blocks.
pub fn at_start(committed: &Committed) -> Result<Applied, String> {
    let (_, applied) = read(&committed.slot, &committed.value)?;
    match applied.behind {
        None => Ok(applied),
        Some(behind) => Err(behind.why),
    }
}

/// Makes a write into a value and gives it to the elector.
async fn make(newest: Newest, write: Arc<Write>, elector: mpsc::Sender<Request>) -> Made {
    let body = match &newest.body {
        Ok(body) => Arc::clone(body),
        Err(why) => {
            let message = format!("the catalog was written by a later version and cannot be changed here: {why}");
            return Made::Refused(WriteRefused::Unavailable { message });
        }
    };
    if let Some(revision) = newest.value.outcomes.get(&write.id) {
        // It was proposed, and whether it was taken was not heard.
        return Made::Done { revision, changed: true, etag: body.etag(), warnings: Vec::new(), write };
    }
    let on = newest.slot.revision;
    let Some(revision) = on.next() else {
        return Made::Refused(WriteRefused::Unavailable { message: "no revision is left".to_owned() });
    };
    let making = {
        let (body, write) = (Arc::clone(&body), Arc::clone(&write));
        spawn_blocking(move || body.after(&write, revision.get())).await
    };
    let made = match making {
        Ok(Ok(Next::Changed { bytes, warnings, .. })) => {
            let mut outcomes = newest.value.outcomes.clone();
            outcomes.push(write.id.clone(), revision);
            return propose(&elector, on, Value { outcomes, body: bytes }, warnings, Some(write)).await;
        }
        Ok(Ok(Next::Same { warnings })) => {
            Made::Done { revision: on, changed: false, etag: body.etag(), warnings, write }
        }
        Ok(Err(refused)) => Made::Refused(refused),
        Err(error) => {
            tracing::error!(%error, "a write could not be looked at");
            Made::Refused(WriteRefused::Unavailable { message: "the write could not be looked at".to_owned() })
        }
    };
    // It is answered by what this peer knows, which has to be the newest there is.
    if holds_lease(&elector).await { made } else { Made::NotLeading }
}

async fn holds_lease(elector: &mpsc::Sender<Request>) -> bool {
    let (reply, is_held) = oneshot::channel();
    elector.send(Request::Authority(reply)).await.is_ok() && is_held.await.is_ok_and(|authority| authority.is_some())
}

async fn propose(
    elector: &mpsc::Sender<Request>,
    on: Revision,
    value: Value,
    warnings: Vec<Warning>,
    write: Option<Arc<Write>>,
) -> Made {
    let encoded = spawn_blocking(move || value.encode()).await;
    let bytes = match encoded {
        Ok(Ok(bytes)) => bytes,
        Ok(Err(error)) => return Made::Refused(WriteRefused::Unavailable { message: error.to_string() }),
        Err(error) => return Made::Refused(WriteRefused::Unavailable { message: error.to_string() }),
    };
    let (reply, proposed) = oneshot::channel();
    if elector.send(Request::Propose { on, bytes, reply }).await.is_err() {
        return Made::Again;
    }
    match proposed.await {
        Ok(Ok(hash)) => Made::Proposed { hash, warnings, write },
        Ok(Err(Refused::Declined(Declined::NotLeading))) => Made::NotLeading,
        Ok(Err(Refused::Disk(error))) => Made::Refused(WriteRefused::Unavailable {
            message: format!("the leader cannot write to its disk: {error}"),
        }),
        Ok(Err(_)) | Err(_) => Made::Again,
    }
}

fn in_words(warnings: &[Warning]) -> Vec<String> {
    warnings.iter().map(ToString::to_string).collect()
}

fn wall_ms() -> u64 {
    let since = host::wall_now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Whoever asked may have gone; then nobody misses the answer.
fn answer(reply: Reply, with: Result<Written, WriteRefused>) {
    let _ = reply.send(with);
}
