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

use super::ask::{Answer, ask};
use super::watch::{Known, Output, Watch};
use crate::host::{self, Dice, NameError, Names, Resolved};
use crate::model::{Catalog, NodeId};
use crate::tls::ClientConfigs;
use crate::view::ViewCell;

/// How long a turn lasts at most. A request to stop is heard between two turns, and a peer that is late is noticed by it.
const TURN_MAX: Duration = Duration::from_millis(100);
/// How often the view is searched for suspicions of which no word came: the channel may have been full.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// What the actor is given, again at each start.
pub struct Arguments<T> {
    /// The nodes, and how they are checked.
    pub catalog: Arc<Catalog>,
    /// What routing knows: read for what was known before a restart, and for the suspicions of workers.
    pub view: ViewCell,
    /// Where what was found goes. While it is full the latest of each node is kept and nothing waits.
    pub outputs: mpsc::Sender<T>,
    /// Nodes at which a worker met hard evidence.
    pub suspects: Arc<Mutex<mpsc::Receiver<NodeId>>>,
    /// Set to true once every node that has a check was checked and that was sent.
    pub first_round: watch_channel::Sender<bool>,
    /// Chance.
    pub dice: Dice,
    /// Names.
    pub names: Names,
    /// TLS to nodes.
    pub tls: ClientConfigs,
}

impl<T> Clone for Arguments<T> {
    fn clone(&self) -> Self {
        Self {
            catalog: Arc::clone(&self.catalog),
            view: self.view.clone(),
            outputs: self.outputs.clone(),
            suspects: Arc::clone(&self.suspects),
            first_round: self.first_round.clone(),
            dice: self.dice.clone(),
            names: self.names.clone(),
            tls: self.tls.clone(),
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
    suspects: OwnedMutexGuard<mpsc::Receiver<NodeId>>,
    suspects_open: bool,
    outputs: mpsc::Sender<T>,
    first_round: watch_channel::Sender<bool>,
    view: ViewCell,
    names: Names,
    tls: ClientConfigs,
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
    Suspect(Option<NodeId>),
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

    async fn pre_start(&self, myself: ActorRef<Turn>, given: Arguments<T>) -> Result<State<T>, ActorProcessingErr> {
        let now = host::now();
        // Whoever ran before has ended, or is about to.
        let suspects = given.suspects.lock_owned().await;
        let state = State {
            watch: Watch::new(&given.catalog, known(&given.view), given.dice, now),
            tasks: JoinSet::new(),
            about: HashMap::new(),
            suspects,
            suspects_open: true,
            outputs: given.outputs,
            first_round: given.first_round,
            view: given.view,
            names: given.names,
            tls: given.tls,
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
        if self.now.saturating_duration_since(self.swept) >= SWEEP_EVERY {
            self.swept = self.now;
            self.sweep();
        }
        while let Some(due) = self.watch.take_ask(self.now) {
            let (index, tls) = (due.index, self.tls.clone());
            let task = self.tasks.spawn(async move { Done::Node(index, ask(due, tls).await) });
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
            Event::Suspect(Some(node)) => self.watch.suspected(&node, self.now),
            Event::Suspect(None) => self.suspects_open = false,
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
                Ok(node) => self.watch.suspected(&node, self.now),
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => self.suspects_open = false,
            }
        }
    }

    fn done(&mut self, done: Result<(Id, Done), JoinError>) {
        match done {
            Ok((id, done)) => {
                self.about.remove(&id);
                match done {
                    Done::Node(index, answer) => {
                        if let Some(node) = self.watch.answered(index, answer, self.now)
                            && let Some((pool, found)) = self.view.load().node(&node)
                            && found.live.clear_suspicion()
                        {
                            // Whoever waits for a place may have one here now.
                            pool.live.queue.wake_all();
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

    fn say(&mut self, permit: mpsc::OwnedPermit<T>) {
        if let Some(output) = self.watch.next_output() {
            permit.send(T::from(output));
        }
    }

    /// Asks about nodes that workers pass over as suspect and of which no word came here.
    fn sweep(&mut self) {
        let view = self.view.load();
        for node in view.pools().flat_map(|pool| &pool.nodes) {
            if node.live.is_suspect() && !self.watch.is_suspected(&node.node.id) {
                self.watch.suspected(&node.node.id, self.now);
            }
        }
    }
}

/// What the view remembers of each node.
fn known(view: &ViewCell) -> HashMap<NodeId, Known> {
    let view = view.load();
    let nodes = view.pools().flat_map(|pool| &pool.nodes);
    nodes
        .map(|node| {
            let known = Known { observation: node.observation.clone(), addresses: node.addresses.clone() };
            (node.node.id.clone(), known)
        })
        .collect()
}

#[cfg(test)]
mod tests;
