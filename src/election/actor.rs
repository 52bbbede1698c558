//! The actor: it feeds the elector with what happens, and does what it wants done. Disk and other peers are waited for in
//! tasks, so a turn takes no longer than the machine thinks.
//!
//! Long, and one subject: what the machine may be told, and what it may want, by the order of a turn. What can be decided apart is
//! the machine's (`machine.rs` and its siblings), what is on disk is `store.rs`, what others see is `standing.rs`.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::sync::{Mutex, OwnedMutexGuard, mpsc, oneshot, watch};
use tokio::task::{AbortHandle, JoinError, JoinSet, spawn_blocking};

use crate::election::event::{Change, Declined, Event, Leadership, Output};
use crate::election::lease::Authority;
use crate::election::machine::Election;
use crate::election::outcomes::Value;
use crate::election::settings::Settings;
use crate::election::standing::{Committed, Standing};
use crate::election::store::{Life, Pin, Store};
use crate::election::time::Now;
use crate::host::{self, Dice};
use crate::link::{Channel, Events, Link, LinkEvent, LinkState, Received, To};
use crate::model::{Electors, PeerId, Revision, Slot, Term, ValueHash};
use crate::wire::{ElectionMessage, Query, QueryAnswer, Word};

/// A turn ends after this time even if nothing happened, so that a request to stop is heard.
const TURN_MAX: Duration = Duration::from_millis(200);
/// Messages taken in one turn.
const MESSAGES_PER_TURN_MAX: usize = 256;
/// How long another peer may take to send a value. After that whoever leads is asked, at its next heartbeat.
const FETCH_LIMIT: Duration = Duration::from_secs(5);

/// Until what is committed is read again, where that failed.
const READ_AGAIN_AFTER: Duration = Duration::from_secs(2);

/// The way to other peers; a cluster of one has none.
#[derive(Clone, Debug)]
pub struct Reach {
    /// The link.
    pub link: Arc<dyn Link>,
    /// What arrives for elections.
    pub inbox: Arc<Mutex<mpsc::Receiver<Received>>>,
}

/// What the rest of the peer asks of its elector.
#[derive(Debug)]
pub enum Request {
    /// A new value, made from the committed one of this revision. Answered when it is on its way, or declined; that it is
    /// committed is seen in the committed value.
    Propose {
        /// The revision that it was made from.
        on: Revision,
        /// Its bytes.
        bytes: Vec<u8>,
        /// Whether it is on its way.
        reply: oneshot::Sender<Result<ValueHash, Refused>>,
    },
    /// One elector more or less. Answered when it is committed.
    Change {
        /// Which.
        change: Change,
        /// The electors of the committed change.
        reply: oneshot::Sender<Result<Electors, Refused>>,
    },
    /// An elector is gone for good, and with it the majority.
    Forget {
        /// Which.
        peer: PeerId,
        /// Whether it is forgotten, told once that is on disk. Dropped where the disk fails: it may yet be done.
        reply: oneshot::Sender<Result<(), Refused>>,
    },
    /// Whether this peer may act as the leader at this moment.
    Authority(oneshot::Sender<Option<Authority>>),
    /// Another one shall lead first, if another one can.
    GiveWay,
    /// The peer is about to stop. Answered when that was said to the others.
    Stop(oneshot::Sender<()>),
}

/// Why a request is not done.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Refused {
    /// It has left no trace.
    #[error(transparent)]
    Declined(#[from] Declined),
    /// The value could not be written to this peer's disk. It has left no trace.
    #[error("the value cannot be written to this peer's disk: {0}")]
    Disk(String),
    /// Another leader may finish it, or it may be lost.
    #[error("this peer leads no more, and nobody knows yet what becomes of the change")]
    Unknown,
}

/// What the actor is given at every start.
#[derive(Clone, Debug)]
pub struct Arguments {
    /// Who it is, and how fast.
    pub settings: Settings,
    /// Its disk.
    pub store: Arc<Store>,
    /// The others.
    pub reach: Option<Reach>,
    /// What is asked of it.
    pub requests: Arc<Mutex<mpsc::Receiver<Request>>>,
    /// The first electors of a new cluster, once they can be told.
    pub founders: watch::Receiver<Option<Electors>>,
    /// Where it says how it stands.
    pub standing: watch::Sender<Arc<Standing>>,
    /// Where it says what is committed.
    pub committed: watch::Sender<Option<Committed>>,
    /// Chance.
    pub dice: Dice,
}

impl Arguments {
    /// The ends of what a peer says of its elections: how it stands, and what is committed.
    #[expect(clippy::type_complexity, reason = "two channels, each with its two ends")]
    pub fn channels() -> (
        (watch::Sender<Arc<Standing>>, watch::Receiver<Arc<Standing>>),
        (watch::Sender<Option<Committed>>, watch::Receiver<Option<Committed>>),
    ) {
        (watch::channel(Arc::new(Standing::new(host::now()))), watch::channel(None))
    }
}

/// The actor.
#[derive(Clone, Copy, Debug, Default)]
pub struct ElectionActor;

/// The actor's one message, which it sends itself.
#[derive(Clone, Copy, Debug)]
pub struct Turn;

/// What the actor owns while it runs.
pub struct State {
    machine: Election,
    arguments: Arguments,
    inbox: Option<OwnedMutexGuard<mpsc::Receiver<Received>>>,
    events: Option<Events>,
    requests: OwnedMutexGuard<mpsc::Receiver<Request>>,
    tasks: JoinSet<Done>,
    /// Whether the newest of what is committed is being read.
    reading: Option<Slot>,
    /// That failed the last time.
    is_unreadable: bool,
    changing: Option<(Change, oneshot::Sender<Result<Electors, Refused>>)>,
    /// An elector is forgotten with the ballot of this number.
    forgetting: Option<(u64, oneshot::Sender<Result<(), Refused>>)>,
    /// The last ballot that is on disk.
    written: u64,
    /// The files are changed in its name.
    life: Life,
    fetch: Fetch,
    kept: BTreeSet<ValueHash>,
    /// Values that have come since, each until a clean-up that knows whether the machine names it.
    come: Vec<Pin>,
    /// One clean-up at a time: one that is late must not remove what came after it began.
    is_cleaning: bool,
    /// Why a value or the ballot could not be written when that was tried last.
    disk: Option<String>,
    /// Whose heartbeat of which earlier term was refused last.
    refused: Option<(PeerId, Term)>,
    damage: Arc<[String]>,
    /// Where the ballot of before is, which could not be read.
    put_aside: Option<PathBuf>,
    founders_open: bool,
}

/// The fetch that was begun last.
#[derive(Default)]
struct Fetch {
    number: u64,
    task: Option<AbortHandle>,
}

enum Done {
    Persisted(u64, Result<(), String>),
    Stored {
        on: Revision,
        hash: ValueHash,
        reply: oneshot::Sender<Result<ValueHash, Refused>>,
        stored: Result<Pin, String>,
    },
    Fetched {
        /// Which fetch it was.
        number: u64,
        value: ValueHash,
        fetched: Result<Pin, Unfetched>,
    },
    Read(Slot, Result<Arc<Value>, String>),
    Kept,
}

/// Why a value was not fetched.
enum Unfetched {
    /// Whoever has it did not send it.
    Elsewhere(String),
    /// It came, and cannot be written here.
    Disk(String),
}

enum Woken {
    Message(Option<Received>),
    Link(LinkEvent),
    Request(Option<Request>),
    Founders(bool),
    Task(Result<Done, JoinError>),
    Time,
}

impl Actor for ElectionActor {
    type Msg = Turn;
    type State = State;
    type Arguments = Arguments;

    async fn pre_start(&self, myself: ActorRef<Turn>, mut given: Arguments) -> Result<State, ActorProcessingErr> {
        // Whoever ran before has ended, or is about to.
        let requests = Arc::clone(&given.requests).lock_owned().await;
        let inbox = match &given.reach {
            Some(reach) => Some(Arc::clone(&reach.inbox).lock_owned().await),
            None => None,
        };
        let store = Arc::clone(&given.store);
        let (life, found) = spawn_blocking(move || store.begin()).await?;
        for damage in &found.damage {
            tracing::error!(damage, "a file of this elector is damaged; it votes again once it has heard all others");
        }
        let mut machine = Election::new(given.settings.clone(), found.ballot, now(), &mut given.dice);
        let founders = given.founders.borrow_and_update().clone();
        machine.handle(Event::FirstElectors(founders), now(), &mut given.dice);
        let events = given.reach.as_ref().map(|reach| reach.link.events());
        let reading = machine.committed().cloned();
        let mut state = State {
            machine,
            arguments: given,
            inbox,
            events,
            requests,
            tasks: JoinSet::new(),
            reading: None,
            is_unreadable: false,
            changing: None,
            forgetting: None,
            written: 0,
            life,
            fetch: Fetch::default(),
            kept: BTreeSet::new(),
            come: Vec::new(),
            is_cleaning: false,
            disk: None,
            refused: None,
            damage: found.damage.into(),
            put_aside: found.put_aside,
            founders_open: true,
        };
        state.look_at_links();
        if let Some(slot) = reading {
            state.read(slot);
        }
        state.perform();
        myself.cast(Turn)?;
        Ok(state)
    }

    async fn handle(&self, myself: ActorRef<Turn>, _: Turn, state: &mut State) -> Result<(), ActorProcessingErr> {
        match state.wait().await {
            Woken::Message(Some(received)) => state.received(&received),
            Woken::Link(event) => state.linked(event),
            Woken::Request(Some(request)) => state.asked(request),
            Woken::Founders(true) => {
                let founders = state.arguments.founders.borrow_and_update().clone();
                state.feed(Event::FirstElectors(founders));
            }
            Woken::Founders(false) => state.founders_open = false,
            Woken::Task(joined) => state.joined(joined)?,
            Woken::Time => {}
            Woken::Message(None) | Woken::Request(None) => {
                myself.stop(Some("nobody is left to hear".to_owned()));
                return Ok(());
            }
        }
        state.take_all_that_is_there()?;
        if state.machine.next_deadline().is_some_and(|at| at <= host::now()) {
            state.feed(Event::DeadlineReached);
        }
        state.tell();
        // It is on disk, and whoever asked sees it.
        let written = state.written;
        if let Some((_, reply)) = state.forgetting.take_if(|(number, _)| *number <= written) {
            answer(reply, Ok(()));
        }
        myself.cast(Turn)?;
        Ok(())
    }
}

fn now() -> Now {
    Now { at: host::now(), asleep: host::asleep() }
}

impl State {
    async fn wait(&mut self) -> Woken {
        let turn_end = host::now() + TURN_MAX;
        let until = self.machine.next_deadline().map_or(turn_end, |at| at.min(turn_end));
        let (inbox, events) = (self.inbox.as_mut(), self.events.as_mut());
        let message = async {
            match inbox {
                Some(inbox) => inbox.recv().await,
                None => std::future::pending().await,
            }
        };
        let event = async {
            match events {
                Some(events) => events.next().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            Some(joined) = self.tasks.join_next(), if !self.tasks.is_empty() => Woken::Task(joined),
            message = message => Woken::Message(message),
            event = event => Woken::Link(event),
            changed = self.arguments.founders.changed(), if self.founders_open => Woken::Founders(changed.is_ok()),
            request = self.requests.recv() => Woken::Request(request),
            () = tokio::time::sleep_until(until.into()) => Woken::Time,
        }
    }

    /// What came meanwhile is heard before a deadline is: a leader that was heard late was still heard.
    fn take_all_that_is_there(&mut self) -> Result<(), JoinError> {
        for _ in 0..MESSAGES_PER_TURN_MAX {
            let Some(Ok(received)) = self.inbox.as_mut().map(|inbox| inbox.try_recv()) else { break };
            self.received(&received);
        }
        while let Some(joined) = self.tasks.try_join_next() {
            self.joined(joined)?;
        }
        Ok(())
    }

    /// One that panicked takes the elector with it, which is started again: what it had to do would else be waited for, for
    /// ever.
    fn joined(&mut self, joined: Result<Done, JoinError>) -> Result<(), JoinError> {
        match joined {
            Ok(done) => self.done(done),
            Err(error) if error.is_cancelled() => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn feed(&mut self, event: Event) {
        self.machine.handle(event, now(), &mut self.arguments.dice);
        self.perform();
    }

    fn received(&mut self, received: &Received) {
        match ElectionMessage::decode(&received.bytes) {
            Ok(message) => {
                self.look_at_term(&received.from, &message);
                self.feed(Event::Received { from: received.from.clone(), message });
            }
            Err(error) => tracing::debug!(peer = %received.from, %error, "an election message cannot be read"),
        }
    }

    /// A leader of before speaks still: it is refused, and somebody may want to know.
    fn look_at_term(&mut self, from: &PeerId, message: &ElectionMessage) {
        let is_late = matches!(message.word, Word::Beat { .. }) && message.term < self.machine.term();
        let refused = (from.clone(), message.term);
        if is_late && self.refused.as_ref() != Some(&refused) {
            let (of, now) = (message.term, self.machine.term());
            tracing::warn!(peer = %from, term = %of, own_term = %now, "a heartbeat of an earlier term is refused");
            self.refused = Some(refused);
        }
    }

    fn linked(&mut self, event: LinkEvent) {
        match event {
            LinkEvent::Up { peer, .. } => self.feed(Event::Linked(peer)),
            LinkEvent::Lost { peer, .. } => self.feed(Event::Unlinked(peer)),
            LinkEvent::Missed => self.look_at_links(),
            LinkEvent::RedialFailed { .. } | LinkEvent::Refused { .. } => {}
        }
    }

    fn look_at_links(&mut self) {
        let Some(reach) = &self.arguments.reach else { return };
        for link in reach.link.known().peers {
            let is_up = link.state == LinkState::Up;
            self.feed(if is_up { Event::Linked(link.id) } else { Event::Unlinked(link.id) });
        }
    }

    fn asked(&mut self, request: Request) {
        match request {
            Request::Propose { on, bytes, reply } => {
                let store = Arc::clone(&self.arguments.store);
                self.tasks.spawn_blocking(move || {
                    let hash = ValueHash::of(&bytes);
                    Done::Stored { on, hash, reply, stored: store.write(hash, &bytes) }
                });
            }
            // One that is committed and not told yet is no more the machine's, and still somebody's.
            Request::Change { reply, .. } if self.changing.is_some() => {
                answer(reply, Err(Declined::Undecided.into()));
            }
            Request::Change { change, reply } => match self.ask(Event::Change(change.clone())) {
                Ok(()) => self.changing = Some((change, reply)),
                Err(declined) => answer(reply, Err(declined.into())),
            },
            Request::Forget { reply, .. } if self.forgetting.is_some() => {
                answer(reply, Err(Declined::Undecided.into()));
            }
            Request::Forget { peer, reply } => match self.ask(Event::Forget(peer)) {
                Ok(()) => self.forgetting = Some((self.machine.unwritten().unwrap_or_default(), reply)),
                Err(declined) => answer(reply, Err(declined.into())),
            },
            Request::Authority(reply) => answer(reply, self.machine.authority(now())),
            Request::GiveWay => self.feed(Event::GiveWay),
            Request::Stop(reply) => {
                self.feed(Event::Stop);
                answer(reply, ());
            }
        }
    }

    /// Feeds what may be declined.
    fn ask(&mut self, event: Event) -> Result<(), Declined> {
        self.machine.handle(event, now(), &mut self.arguments.dice);
        self.perform().map_or(Ok(()), Err)
    }

    /// Does what the machine wants done. What it declined is returned.
    fn perform(&mut self) -> Option<Declined> {
        let mut declined = None;
        while let Some(output) = self.machine.poll_output() {
            match output {
                Output::Persist { number, ballot } => {
                    let store = Arc::clone(&self.arguments.store);
                    let life = self.life;
                    self.tasks.spawn_blocking(move || Done::Persisted(number, store.write_ballot(life, &ballot)));
                }
                Output::Send { to, message } => self.send(to, &message),
                Output::Fetch { value, from } => self.fetch(value, from),
                Output::Committed(slot) => self.read(slot),
                Output::Led(leadership) => self.led(&leadership),
                Output::Declined(why) => declined = Some(why),
                Output::Stranger { peer, cluster } => {
                    tracing::error!(
                        %peer, %cluster, "a peer has the value of another cluster of this name; it is not merged"
                    );
                }
            }
        }
        declined
    }

    fn send(&self, to: PeerId, message: &ElectionMessage) {
        let Some(reach) = &self.arguments.reach else { return };
        match message.encode() {
            Ok(bytes) => reach.link.send(To::Peer(to), Channel::Election, Bytes::from(bytes)),
            Err(error) => tracing::error!(%error, "an election message cannot be written"),
        }
    }

    fn fetch(&mut self, value: ValueHash, from: PeerId) {
        self.fetch.number += 1;
        let number = self.fetch.number;
        let store = Arc::clone(&self.arguments.store);
        let link = self.arguments.reach.as_ref().map(|reach| Arc::clone(&reach.link));
        let task = self.tasks.spawn(async move {
            let fetched = async {
                let elsewhere = |error: &dyn std::fmt::Display| Unfetched::Elsewhere(error.to_string());
                let link = link.ok_or_else(|| elsewhere(&"there is nobody to ask"))?;
                let question = Query::Value(value).encode().map_err(|error| elsewhere(&error))?;
                let answered = link.ask_at_once(from, question.into(), FETCH_LIMIT).await;
                let answered = answered.map_err(|error| elsewhere(&error))?;
                let QueryAnswer::Bytes(Some(bytes)) =
                    QueryAnswer::decode(&answered).map_err(|error| elsewhere(&error))?
                else {
                    return Err(elsewhere(&"it has not got it"));
                };
                if ValueHash::of(&bytes) != value {
                    return Err(elsewhere(&"it sent something else"));
                }
                let written = spawn_blocking(move || store.write(value, &bytes)).await;
                written.map_err(|error| elsewhere(&error))?.map_err(Unfetched::Disk)
            };
            Done::Fetched { number, value, fetched: fetched.await }
        });
        if let Some(before) = self.fetch.task.replace(task) {
            before.abort();
        }
    }

    fn read(&mut self, slot: Slot) {
        self.reading = Some(slot.clone());
        let store = Arc::clone(&self.arguments.store);
        self.tasks.spawn_blocking(move || {
            let value = store.read(slot.hash);
            Done::Read(slot, value)
        });
    }

    fn led(&mut self, leadership: &Leadership) {
        match leadership {
            Leadership::Nobody => tracing::info!("nobody leads that this peer knows of"),
            Leadership::Other { leader, term } => tracing::info!(%leader, %term, "a leader is known"),
            Leadership::Own { term, .. } => tracing::info!(%term, "this peer leads"),
        }
        if let (Leadership::Own { first: true, .. }, false) = (leadership, self.damage.is_empty()) {
            let (folder, ballot) = (self.arguments.store.folder().display(), self.put_aside.as_ref());
            tracing::error!(
                %folder,
                damaged_ballot = ballot.map(|path| tracing::field::display(path.display())),
                "a new cluster begins, for what this peer knew of one was damaged; the values of before stay in the folder \
                 until this peer's next start"
            );
        }
        if !matches!(leadership, Leadership::Own { .. })
            && let Some((_, reply)) = self.changing.take()
        {
            answer(reply, Err(Refused::Unknown));
        }
    }

    fn done(&mut self, done: Done) {
        match done {
            Done::Persisted(number, Ok(())) => {
                self.disk_works();
                self.written = number;
                self.feed(Event::Persisted(number));
                self.clean_up();
            }
            Done::Persisted(number, Err(error)) => {
                self.disk_failed(error);
                self.feed(Event::PersistFailed(number));
                // It is tried again, and may yet be done: no answer says so.
                self.forgetting = None;
            }
            Done::Stored { reply, stored: Err(error), .. } => {
                self.disk_failed(error.clone());
                answer(reply, Err(Refused::Disk(error)));
                self.feed(Event::GiveWay);
            }
            Done::Stored { on, hash, reply, stored: Ok(pin) } => {
                self.disk_works();
                self.come.push(pin);
                let asked = self.ask(Event::Propose { on, value: hash });
                answer(reply, asked.map(|()| hash).map_err(Refused::from));
                self.clean_up();
            }
            Done::Fetched { value, fetched: Ok(pin), .. } => {
                self.disk_works();
                self.come.push(pin);
                self.feed(Event::Fetched(value));
                self.clean_up();
            }
            // Another one has taken its place meanwhile.
            Done::Fetched { number, .. } if number != self.fetch.number => {}
            Done::Fetched { value, fetched: Err(Unfetched::Elsewhere(error)), .. } => {
                tracing::debug!(?value, error, "a value could not be fetched; it is tried again");
                self.feed(Event::FetchFailed(value));
            }
            Done::Fetched { value, fetched: Err(Unfetched::Disk(error)), .. } => {
                self.disk_failed(error);
                self.feed(Event::FetchUnwritten(value));
            }
            Done::Read(slot, value) => self.has_read(slot, value),
            Done::Kept => {
                self.is_cleaning = false;
                self.clean_up();
            }
        }
    }

    /// Told once, until it works again.
    fn disk_failed(&mut self, error: String) {
        if self.disk.is_none() {
            tracing::error!(
                error,
                "this peer's disk fails: it votes for nobody and takes up nothing new until that is mended"
            );
        }
        self.disk = Some(error);
    }

    fn disk_works(&mut self) {
        if self.disk.take().is_some() {
            tracing::info!("this peer's disk takes what is written again");
        }
    }

    fn has_read(&mut self, slot: Slot, value: Result<Arc<Value>, String>) {
        if self.reading.as_ref() != Some(&slot) {
            return;
        }
        self.reading = None;
        match value {
            Ok(value) => {
                self.is_unreadable = false;
                if let Some((change, reply)) = self.changing.take_if(|(change, _)| is_done_by(change, &slot.electors)) {
                    tracing::info!(?change, electors = ?slot.electors, "the electors have changed");
                    answer(reply, Ok(slot.electors.clone()));
                }
                if let Some(reach) = &self.arguments.reach {
                    reach.link.set_cluster_id(slot.cluster);
                }
                self.arguments.committed.send_replace(Some(Committed { slot, value }));
            }
            Err(error) => {
                if !self.is_unreadable {
                    tracing::error!(
                        error,
                        "what is committed cannot be read; this peer goes on with what it had, and tries again"
                    );
                }
                self.is_unreadable = true;
                self.reading = Some(slot.clone());
                let store = Arc::clone(&self.arguments.store);
                self.tasks.spawn(async move {
                    tokio::time::sleep(READ_AGAIN_AFTER).await;
                    let hash = slot.hash;
                    let value = spawn_blocking(move || store.read(hash)).await;
                    Done::Read(slot, value.unwrap_or_else(|error| Err(error.to_string())))
                });
            }
        }
    }

    /// Removes values that nobody needs any more, away from this thread.
    fn clean_up(&mut self) {
        let values = self.machine.values();
        if !self.is_cleaning && (values != self.kept || !self.come.is_empty()) {
            self.kept.clone_from(&values);
            self.come.clear();
            self.is_cleaning = true;
            let (store, life) = (Arc::clone(&self.arguments.store), self.life);
            self.tasks.spawn_blocking(move || {
                store.keep(life, &values);
                Done::Kept
            });
        }
    }

    fn tell(&mut self) {
        let before = Arc::clone(&self.arguments.standing.borrow());
        let leadership = self.machine.leadership();
        let since = if leadership == before.leadership { before.since } else { host::now() };
        let strangers = self.machine.strangers();
        let standing = Standing {
            leadership,
            since,
            term: self.machine.term(),
            memory: self.machine.memory(),
            electors: self.machine.electors().cloned(),
            cluster: self.machine.cluster(),
            committed: self.machine.committed().map(|slot| slot.revision),
            takes_changes: self.machine.takes_changes(),
            disk_failing: self.disk.as_deref().map(Arc::from),
            damage: Arc::clone(&self.damage),
            strangers: if strangers.iter().eq(before.strangers.iter().map(|(peer, cluster)| (peer, cluster))) {
                Arc::clone(&before.strangers)
            } else {
                strangers.iter().map(|(peer, cluster)| (peer.clone(), *cluster)).collect()
            },
        };
        if standing != *before {
            self.arguments.standing.send_replace(Arc::new(standing));
        }
    }
}

impl Drop for State {
    /// An elector that has ended leads nobody, however it came to its end: nothing may wait for it. What it knew stays said;
    /// the one that is started next says more.
    fn drop(&mut self) {
        let before = Arc::clone(&self.arguments.standing.borrow());
        if before.leadership != Leadership::Nobody {
            let (leadership, since) = (Leadership::Nobody, host::now());
            let standing = Standing { leadership, since, takes_changes: false, ..(*before).clone() };
            self.arguments.standing.send_replace(Arc::new(standing));
        }
    }
}

fn is_done_by(change: &Change, electors: &Electors) -> bool {
    match change {
        Change::Add(peer) => electors.contains(peer),
        Change::Remove(peer) => !electors.contains(peer),
    }
}

/// Whoever asked may have gone; then nobody misses the answer.
fn answer<T>(reply: oneshot::Sender<T>, with: T) {
    let _ = reply.send(with);
}

#[cfg(test)]
mod tests;
