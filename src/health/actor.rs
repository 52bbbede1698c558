//! The actor: it asks what the watch says is due, and feeds the watch with what comes back.
//!
//! Events come over bounded channels that outlive it, so nothing is lost when it is started again; its own mailbox only ever
//! holds the next [`Turn`].

use std::collections::HashMap;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::sync::mpsc::error::TryRecvError;
use tokio::sync::{Mutex, OwnedMutexGuard, mpsc, watch as watch_channel};
use tokio::task::{Id, JoinError, JoinSet};

use super::ask::{Answer, Asker, ask};
use super::hints::Hint;
use super::machine::Suspicion;
use super::watch::{Known, Output, Watch};
use crate::host::{self, Dice, NameError, Names, Resolved};
use crate::model::{Catalog, Evidence, Members, NodeId, NodeKey, Verdict};
use crate::view::ViewCell;

/// How long a turn lasts at most. A request to stop is heard between two turns, and a peer that is late is noticed by it.
const TURN_MAX: Duration = Duration::from_millis(100);
/// How often others are told that this peer looks, and the view is searched for suspicions of which no word came: the
/// channel may have been full.
const SWEEP_EVERY: Duration = Duration::from_secs(1);
/// The same in the first [`YOUNG`] after a start: nothing that a peer says is believed before it has said this once, and where
/// all have started together they know nothing until then.
const SWEEP_EVERY_YOUNG: Duration = Duration::from_millis(250);
const YOUNG: Duration = Duration::from_secs(5);

/// What the actor is given, again at each start.
pub struct Arguments<T> {
    /// The nodes, and how they are checked; the newest counts.
    pub catalog: watch_channel::Receiver<Arc<Catalog>>,
    /// What routing knows: read for what was known before a restart, and for the suspicions of workers.
    pub view: ViewCell,
    /// Where what was found goes. While it is full the latest of each node is kept and nothing waits.
    pub outputs: mpsc::Sender<T>,
    /// What workers met at nodes.
    pub suspects: Arc<Mutex<mpsc::Receiver<Evidence>>>,
    /// Nodes that other peers hint at.
    pub hinted: Arc<Mutex<mpsc::Receiver<NodeId>>>,
    /// Where hints for others go. While it is full they are dropped: a hint that waits is worth nothing.
    pub hints: mpsc::Sender<Hint>,
    /// Who lives, and so which nodes this peer observes.
    pub members: watch_channel::Receiver<Arc<Members>>,
    /// Nodes are asked from then on even if nobody else lives.
    pub company_by: Instant,
    /// Set to true once every node that this peer is to check was checked and that was sent.
    pub first_round: watch_channel::Sender<bool>,
    /// Chance.
    pub dice: Dice,
    /// Names.
    pub names: Names,
    /// Who answers checks.
    pub asker: Asker,
}

impl<T> Clone for Arguments<T> {
    fn clone(&self) -> Self {
        Self {
            catalog: self.catalog.clone(),
            view: self.view.clone(),
            outputs: self.outputs.clone(),
            suspects: Arc::clone(&self.suspects),
            hinted: Arc::clone(&self.hinted),
            hints: self.hints.clone(),
            members: self.members.clone(),
            company_by: self.company_by,
            first_round: self.first_round.clone(),
            dice: self.dice.clone(),
            names: self.names.clone(),
            asker: self.asker.clone(),
        }
    }
}

/// The actor's one message, which it sends itself.
#[derive(Clone, Copy, Debug)]
pub struct Turn;

/// The actor that asks nodes how they are. Its outputs arrive as `T`.
#[derive(Debug)]
pub struct Health<T>(PhantomData<fn() -> T>);

/// What the actor owns while it runs.
pub struct State<T> {
    watch: Watch,
    tasks: JoinSet<Done>,
    /// What each task is about, for those that end without a word.
    about: HashMap<Id, About>,
    suspects: OwnedMutexGuard<mpsc::Receiver<Evidence>>,
    suspects_open: bool,
    hinted: OwnedMutexGuard<mpsc::Receiver<NodeId>>,
    hinted_open: bool,
    hints: mpsc::Sender<Hint>,
    members: watch_channel::Receiver<Arc<Members>>,
    members_open: bool,
    catalog: watch_channel::Receiver<Arc<Catalog>>,
    catalog_open: bool,
    /// Changes with the catalog of the view, which may know a node before this actor or after.
    viewed: watch_channel::Receiver<()>,
    outputs: mpsc::Sender<T>,
    first_round: watch_channel::Sender<bool>,
    view: ViewCell,
    names: Names,
    asker: Asker,
    started: Instant,
    swept: Instant,
    /// When the last turn ended, by its own reckoning: the next one is measured from here.
    now: Instant,
}

#[derive(Clone, Copy)]
enum About {
    Node(usize),
    Name(usize),
}

enum Done {
    Node(usize, Answer),
    Name(usize, Result<Resolved, NameError>),
}

enum Event<T> {
    Task(Option<Result<(Id, Done), JoinError>>),
    Suspect(Option<Evidence>),
    Hinted(Option<NodeId>),
    Members(bool),
    Catalog(bool),
    Viewed,
    Room(Result<mpsc::OwnedPermit<T>, mpsc::error::SendError<()>>),
    Time,
}

impl<T> Default for Health<T> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T: From<Output> + Send + 'static> Actor for Health<T> {
    type Msg = Turn;
    type State = State<T>;
    type Arguments = Arguments<T>;

    async fn pre_start(&self, myself: ActorRef<Turn>, mut given: Arguments<T>) -> Result<State<T>, ActorProcessingErr> {
        let now = host::now();
        // Whoever ran before has ended, or is about to.
        let suspects = given.suspects.lock_owned().await;
        let hinted = given.hinted.lock_owned().await;
        let members = Arc::clone(&given.members.borrow_and_update());
        let catalog = Arc::clone(&given.catalog.borrow_and_update());
        // Before the view is read: what changes from here on is told.
        let viewed = given.view.catalogs();
        let state = State {
            watch: Watch::new(&catalog, known(&given.view), members, given.company_by, given.dice, now),
            tasks: JoinSet::new(),
            about: HashMap::new(),
            suspects,
            suspects_open: true,
            hinted,
            hinted_open: true,
            hints: given.hints,
            members: given.members,
            members_open: true,
            catalog: given.catalog,
            catalog_open: true,
            viewed,
            outputs: given.outputs,
            first_round: given.first_round,
            view: given.view,
            names: given.names,
            asker: given.asker,
            started: now,
            swept: now,
            now,
        };
        myself.cast(Turn)?;
        Ok(state)
    }

    async fn handle(&self, myself: ActorRef<Turn>, _: Turn, state: &mut State<T>) -> Result<(), ActorProcessingErr> {
        state.begin();
        let scheduled = state.watch.next().map_or(state.now + TURN_MAX, |next| next.min(state.now + TURN_MAX));
        let event = state.wait(scheduled.max(state.now)).await;
        let now = host::now();
        if state.watch.woke(scheduled.max(state.now), now) {
            let late_ms = (now - scheduled).as_millis();
            tracing::warn!(late_ms, "this peer was late itself; failed checks of this round are not counted");
        }
        state.now = now;
        if state.take(event).is_err() {
            // Nobody hears us any more: the peer is stopping.
            myself.stop(Some("nobody listens to its outputs".to_owned()));
            return Ok(());
        }
        state.take_all_that_is_there();
        myself.cast(Turn)?;
        Ok(())
    }
}

impl<T: From<Output> + Send + 'static> State<T> {
    /// Begins everything that is due, and says what there is room for.
    fn begin(&mut self) {
        let young = self.now.saturating_duration_since(self.started) < YOUNG;
        let sweep_every = if young { SWEEP_EVERY_YOUNG } else { SWEEP_EVERY };
        if self.now.saturating_duration_since(self.swept) >= sweep_every {
            self.swept = self.now;
            self.sweep();
        }
        for hint in self.watch.take_hints(self.now) {
            if let Err(error) = self.hints.try_send(hint) {
                tracing::debug!(%error, "a hint is dropped");
            }
        }
        while let Some(due) = self.watch.take_ask(self.now) {
            let (index, asker) = (due.index, self.asker.clone());
            let task = self.tasks.spawn(async move { Done::Node(index, ask(due, asker).await) });
            self.about.insert(task.id(), About::Node(index));
        }
        while let Some((number, name)) = self.watch.take_name(self.now) {
            let names = self.names.clone();
            let task = self.tasks.spawn(async move { Done::Name(number, names.resolve(&name).await) });
            self.about.insert(task.id(), About::Name(number));
        }
        while self.watch.has_output() {
            let Ok(permit) = self.outputs.clone().try_reserve_owned() else { break };
            self.say(permit);
        }
        if self.watch.is_first_round_done() {
            self.first_round.send_if_modified(|done| !std::mem::replace(done, true));
        }
    }

    async fn wait(&mut self, until: Instant) -> Event<T> {
        tokio::select! {
            done = self.tasks.join_next_with_id(), if !self.tasks.is_empty() => Event::Task(done),
            suspect = self.suspects.recv(), if self.suspects_open => Event::Suspect(suspect),
            hinted = self.hinted.recv(), if self.hinted_open => Event::Hinted(hinted),
            changed = self.members.changed(), if self.members_open => Event::Members(changed.is_ok()),
            changed = self.catalog.changed(), if self.catalog_open => Event::Catalog(changed.is_ok()),
            // The cell is held here, so its sender lives.
            Ok(()) = self.viewed.changed() => Event::Viewed,
            room = self.outputs.clone().reserve_owned(), if self.watch.has_output() => Event::Room(room),
            () = tokio::time::sleep_until(until.into()) => Event::Time,
        }
    }

    fn take(&mut self, event: Event<T>) -> Result<(), mpsc::error::SendError<()>> {
        match event {
            Event::Task(done) => {
                if let Some(done) = done {
                    self.done(done);
                }
            }
            Event::Suspect(Some(evidence)) => self.met(&evidence),
            Event::Suspect(None) => self.suspects_open = false,
            Event::Hinted(Some(node)) => self.watch.hinted(&node, self.now),
            Event::Hinted(None) => self.hinted_open = false,
            Event::Members(true) => self.meet(),
            Event::Members(false) => self.members_open = false,
            Event::Catalog(true) => self.change(),
            Event::Catalog(false) => self.catalog_open = false,
            Event::Viewed => self.watch.tell_again(&known(&self.view)),
            Event::Room(room) => self.say(room?),
            Event::Time if self.outputs.is_closed() => return Err(mpsc::error::SendError(())),
            Event::Time => {}
        }
        Ok(())
    }

    /// More may have come meanwhile; what is there is taken before anything is decided.
    fn take_all_that_is_there(&mut self) {
        while let Some(done) = self.tasks.try_join_next_with_id() {
            self.done(done);
        }
        while self.suspects_open {
            match self.suspects.try_recv() {
                Ok(evidence) => self.met(&evidence),
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => self.suspects_open = false,
            }
        }
        while self.hinted_open {
            match self.hinted.try_recv() {
                Ok(node) => self.watch.hinted(&node, self.now),
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => self.hinted_open = false,
            }
        }
    }

    fn met(&mut self, evidence: &Evidence) {
        match evidence {
            Evidence::Hard(node) => self.watch.suspected(node, self.now),
            Evidence::Soft(node) => self.watch.broke_off(node, self.now),
        }
    }

    /// Others live now.
    fn meet(&mut self) {
        let members = Arc::clone(&self.members.borrow_and_update());
        let view = self.view.load();
        let is_known = |id: &NodeId| view.node(id).is_some_and(|(_, node)| node.state.verdict != Verdict::Unknown);
        self.watch.meet(members, is_known, self.now);
    }

    /// Other nodes are to be asked, or otherwise.
    fn change(&mut self) {
        let catalog = Arc::clone(&self.catalog.borrow_and_update());
        let view = self.view.load();
        let is_known = |id: &NodeId| view.node(id).is_some_and(|(_, node)| node.state.verdict != Verdict::Unknown);
        self.watch.change(&catalog, is_known, self.now);
    }

    fn done(&mut self, done: Result<(Id, Done), JoinError>) {
        match done {
            Ok((id, done)) => {
                self.about.remove(&id);
                match done {
                    Done::Node(index, answer) => {
                        if let Some((node, suspicion)) = self.watch.answered(index, answer, self.now) {
                            self.suspicion(&node, suspicion);
                        }
                    }
                    Done::Name(number, answer) => self.watch.name_answered(number, answer, self.now),
                }
            }
            Err(error) => {
                let about = self.about.remove(&error.id());
                tracing::error!(%error, "a check ended without a result");
                match about {
                    Some(About::Node(index)) => self.watch.broke(index, self.now),
                    Some(About::Name(number)) => self.watch.name_broke(number, self.now),
                    None => {}
                }
            }
        }
    }

    fn suspicion(&self, node: &NodeId, suspicion: Suspicion) {
        let view = self.view.load();
        // The view may have it at another address still, or already.
        let known = view.node(node).filter(|(_, known)| self.watch.key_of(node) == Some(known.key));
        let Some((pool, node)) = known else { return };
        match suspicion {
            // Whoever waits for a place may have one here now.
            Suspicion::Disproved if node.live.clear_suspicion() => pool.live.queue.wake_all(),
            Suspicion::Disproved => {}
            Suspicion::Raised => {
                node.live.suspect();
            }
        }
    }

    fn say(&mut self, permit: mpsc::OwnedPermit<T>) {
        if let Some(output) = self.watch.next_output() {
            permit.send(T::from(output));
        }
    }

    /// Says that this peer looks, and asks about nodes that workers pass over as suspect and of which no word came here.
    fn sweep(&mut self) {
        self.watch.sweep(self.now);
        let view = self.view.load();
        for node in view.pools().flat_map(|pool| &pool.nodes) {
            if node.live.is_suspect() && !self.watch.is_suspected(&node.node.id) {
                self.watch.suspected(&node.node.id, self.now);
            }
        }
    }
}

/// What the view remembers of each node.
fn known(view: &ViewCell) -> HashMap<NodeKey, Known> {
    let view = view.load();
    let nodes = view.pools().flat_map(|pool| &pool.nodes);
    nodes
        .map(|node| {
            let known = Known { observation: node.observation.clone(), addresses: node.addresses.clone() };
            (node.key, known)
        })
        .collect()
}

#[cfg(test)]
mod tests;
