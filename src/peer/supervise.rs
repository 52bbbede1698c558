//! Children that fail are started again with a growing pause; one that keeps failing is given up, loudly.
//!
//! ractor has no restart strategies: its default supervisor stops when a child ends, and a failed `pre_start` goes to
//! whoever spawned. So this one actor holds every child of a peer by a [`ChildSpec`] and never awaits a child in its own
//! handlers, except to stop: a child that is slow to start or to fail does not hold up its siblings.

mod actor;
mod board;
mod restarts;

use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::time::Duration;

use ractor::{Actor, ActorCell, ActorId, ActorProcessingErr, ActorRef, ActorStatus, SpawnErr, SupervisionEvent};
use tokio::sync::oneshot;
use tokio::task::AbortHandle;

use crate::host::{self, Dice};

pub use board::{Board, ChildState, ChildStatus};
use restarts::{Next, Restarts};

/// How long one start of a child may take. A start binds and wires; whatever waits for others belongs after it.
const START_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a child that was killed may take to be gone. Only one that blocks its thread needs longer.
const KILL_TIMEOUT: Duration = Duration::from_secs(1);
/// How long a child may take to stop when its specification does not say.
const STOP_TIMEOUT_DEFAULT: Duration = Duration::from_secs(5);

type Starting = Pin<Box<dyn Future<Output = Result<ActorCell, SpawnErr>> + Send>>;

/// How a child is started, as often as it takes.
pub struct ChildSpec {
    name: String,
    start: Box<dyn Fn(ActorCell) -> Starting + Send + Sync>,
    critical: bool,
    stop_timeout: Duration,
}

impl ChildSpec {
    /// A child whose actor and arguments `make` makes anew for every start. The actor's `pre_start` fails the start.
    pub fn new<A, F>(name: impl Into<String>, make: F) -> Self
    where
        A: Actor,
        F: Fn() -> (A, A::Arguments) + Send + Sync + 'static,
    {
        let start = move |supervisor: ActorCell| -> Starting {
            // A panic in here would be the supervisor's own; one in the actor is caught by ractor.
            let made = catch_unwind(AssertUnwindSafe(&make));
            Box::pin(async move {
                let (actor, arguments) = made.map_err(|panic| SpawnErr::StartupFailed(panic_text(&*panic).into()))?;
                // Without a name: names are process-wide, and several peers may live in one process.
                let (child, _ended) = supervisor.spawn_linked(None, actor, arguments).await?;
                Ok(child.get_cell())
            })
        };
        Self { name: name.into(), start: Box::new(start), critical: false, stop_timeout: STOP_TIMEOUT_DEFAULT }
    }

    /// Without this child the peer is unhealthy and not only degraded.
    #[must_use]
    pub fn critical(self) -> Self {
        Self { critical: true, ..self }
    }

    /// How long the child's `post_stop` may take before it is killed; default 5 s.
    #[must_use]
    pub fn stop_timeout(self, stop_timeout: Duration) -> Self {
        Self { stop_timeout, ..self }
    }
}

impl fmt::Debug for ChildSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChildSpec").field("name", &self.name).field("critical", &self.critical).finish_non_exhaustive()
    }
}

/// Why a child did not start at the first try.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum AddError {
    /// Its start failed. It is tried again, as after any other failure.
    #[error("{child} did not start: {reason}")]
    NotStarted {
        /// The child.
        child: String,
        /// What it said.
        reason: String,
    },
    /// The supervisor stops or has stopped, and takes no more children.
    #[error("the peer is stopping")]
    Stopping,
}

/// The parent of every actor of one peer. It and its children live on the runtime on which it was started.
#[derive(Clone, Debug)]
pub struct Supervisor(ActorRef<Message>);

impl Supervisor {
    /// A supervisor without children, which tells `board` how each fares. `dice` spread its pauses.
    pub async fn start(board: Board, dice: Dice) -> Result<Self, SpawnErr> {
        let (actor, _ended) = Actor::spawn(None, Parent, (board, dice)).await?;
        Ok(Self(actor))
    }

    /// Adds a child and waits until its first start went well or failed. Either way it is looked after from here on.
    pub async fn add(&self, spec: ChildSpec) -> Result<(), AddError> {
        let (reply, answer) = oneshot::channel();
        self.0.send_message(Message::Add(Box::new(spec), reply)).map_err(|_| AddError::Stopping)?;
        answer.await.unwrap_or(Err(AddError::Stopping))
    }

    /// Kills a running child, which is started again as after any failure. True where there was one of this name.
    pub async fn kill(&self, name: &str) -> bool {
        let (reply, answer) = oneshot::channel();
        self.0.send_message(Message::Kill(name.to_owned(), reply)).is_ok() && answer.await.unwrap_or(false)
    }

    /// Stops every child, the last added first, each within its own time, and then the supervisor.
    pub async fn stop(&self) {
        // One that takes no message stops already, or is gone.
        let _ = self.0.send_message(Message::Stop);
        self.ended().await;
    }

    /// Waits until the supervisor has ended, with its children.
    pub async fn ended(&self) {
        // Without a limit it cannot time out.
        let _ = self.0.get_cell().wait(None).await;
    }
}

/// What the supervisor is told.
enum Message {
    Add(Box<ChildSpec>, oneshot::Sender<Result<(), AddError>>),
    /// A start ended.
    Started(usize, Result<ActorCell, String>),
    /// A pause is over.
    StartAgain(usize),
    Kill(String, oneshot::Sender<bool>),
    Stop,
}

/// The actor.
struct Parent;

struct State {
    children: Vec<Child>,
    /// Actors whose end was heard of before the message that they had started, with what they said.
    ended_early: Vec<(ActorId, String)>,
    board: Board,
    dice: Dice,
    stopping: bool,
}

struct Child {
    spec: ChildSpec,
    restarts: Restarts,
    phase: Phase,
    /// Who waits for the outcome of the first start.
    first: Option<oneshot::Sender<Result<(), AddError>>>,
}

enum Phase {
    Starting(AbortHandle),
    Running(ActorCell),
    /// Between two starts, or given up.
    Down,
}

impl Actor for Parent {
    type Msg = Message;
    type State = State;
    type Arguments = (Board, Dice);

    async fn pre_start(
        &self,
        _myself: ActorRef<Message>,
        (board, dice): Self::Arguments,
    ) -> Result<State, ActorProcessingErr> {
        Ok(State { children: Vec::new(), ended_early: Vec::new(), board, dice, stopping: false })
    }

    async fn handle(
        &self,
        myself: ActorRef<Message>,
        message: Message,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        if state.stopping {
            return Ok(());
        }
        match message {
            Message::Add(spec, first) => state.add(&myself, *spec, first),
            Message::Started(index, Ok(cell)) => state.on_started(&myself, index, cell),
            Message::Started(index, Err(reason)) => state.on_failed(&myself, index, &reason),
            Message::StartAgain(index) => state.start_again(&myself, index),
            Message::Kill(name, reply) => {
                let _ = reply.send(state.kill(&name));
            }
            Message::Stop => {
                state.stop(&myself).await;
                myself.stop(None);
            }
        }
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<Message>,
        event: SupervisionEvent,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        let (cell, reason) = match event {
            SupervisionEvent::ActorFailed(cell, error) => (cell, error.to_string()),
            SupervisionEvent::ActorTerminated(cell, _, reason) => {
                (cell, reason.map_or_else(|| "it ended unasked".to_owned(), |reason| format!("it ended: {reason}")))
            }
            _ => return Ok(()),
        };
        if !state.stopping {
            state.on_ended(&myself, &cell, reason);
        }
        Ok(())
    }
}

impl State {
    fn add(&mut self, myself: &ActorRef<Message>, spec: ChildSpec, first: oneshot::Sender<Result<(), AddError>>) {
        let index = self.board.add(ChildStatus {
            name: spec.name.clone(),
            state: ChildState::Starting,
            critical: spec.critical,
            restarts: 0,
            last_failure: None,
        });
        debug_assert_eq!(index, self.children.len(), "one board, one supervisor");
        let phase = Phase::Starting(begin_start(myself, index, &spec));
        self.children.push(Child { spec, restarts: Restarts::default(), phase, first: Some(first) });
    }

    fn start_again(&mut self, myself: &ActorRef<Message>, index: usize) {
        let child = &mut self.children[index];
        child.phase = Phase::Starting(begin_start(myself, index, &child.spec));
        self.board.change(index, |status| status.restarts += 1);
    }

    fn on_started(&mut self, myself: &ActorRef<Message>, index: usize, cell: ActorCell) {
        // Supervision events overtake messages, so a child that failed right after its start was heard of already.
        if let Some(at) = self.ended_early.iter().position(|(id, _)| *id == cell.get_id()) {
            let (_, reason) = self.ended_early.swap_remove(at);
            return self.on_failed(myself, index, &reason);
        }
        let child = &mut self.children[index];
        child.phase = Phase::Running(cell);
        child.restarts.on_started(host::now());
        if let Some(first) = child.first.take() {
            let _ = first.send(Ok(()));
        } else {
            tracing::info!(child = child.spec.name, "started again");
        }
        self.board.change(index, |status| status.state = ChildState::Running);
    }

    fn on_ended(&mut self, myself: &ActorRef<Message>, cell: &ActorCell, reason: String) {
        match self.children.iter().position(|child| matches!(&child.phase, Phase::Running(of) if of == cell)) {
            Some(index) => self.on_failed(myself, index, &reason),
            None => self.ended_early.push((cell.get_id(), reason)),
        }
    }

    fn on_failed(&mut self, myself: &ActorRef<Message>, index: usize, reason: &str) {
        let child = &mut self.children[index];
        let name = child.spec.name.as_str();
        child.phase = Phase::Down;
        if let Some(first) = child.first.take() {
            let _ = first.send(Err(AddError::NotStarted { child: name.to_owned(), reason: reason.to_owned() }));
        }
        let state = match child.restarts.on_failed(host::now(), &mut self.dice) {
            Next::StartAfter(pause) => {
                tracing::warn!(child = name, reason, ?pause, "failed and is started again after a pause");
                // The timer ends by itself where the supervisor ends first.
                myself.send_after(pause, move || Message::StartAgain(index));
                ChildState::Restarting
            }
            Next::GiveUp => {
                tracing::error!(child = name, reason, "failed too often and is given up; restart the peer");
                ChildState::GivenUp
            }
        };
        self.board.change(index, |status| {
            status.state = state;
            status.last_failure = Some(reason.to_owned());
        });
    }

    fn kill(&self, name: &str) -> bool {
        let running = self.children.iter().find_map(|child| match &child.phase {
            Phase::Running(cell) if child.spec.name == name => Some(cell),
            _ => None,
        });
        running.inspect(|cell| cell.kill()).is_some()
    }

    /// The last added first, one after the other: whoever was added later may lean on whoever came before.
    async fn stop(&mut self, myself: &ActorRef<Message>) {
        self.stopping = true;
        for (index, child) in self.children.iter_mut().enumerate().rev() {
            match std::mem::replace(&mut child.phase, Phase::Down) {
                Phase::Running(cell) => end(&child.spec.name, &cell, child.spec.stop_timeout).await,
                Phase::Starting(start) => start.abort(),
                Phase::Down => {}
            }
            self.board.change(index, |status| {
                if status.state != ChildState::GivenUp {
                    status.state = ChildState::Stopped;
                }
            });
        }
        // A start may have gone well in the moment in which it was called off.
        for cell in myself.get_children() {
            end("a child that had just started", &cell, KILL_TIMEOUT).await;
        }
    }
}

/// Starts a child in a task of its own, which reports with [`Message::Started`].
fn begin_start(myself: &ActorRef<Message>, index: usize, spec: &ChildSpec) -> AbortHandle {
    let start = tokio::time::timeout(START_TIMEOUT, (spec.start)(myself.get_cell()));
    let myself = myself.clone();
    let task = tokio::spawn(async move {
        let outcome = match start.await {
            Ok(Ok(cell)) => Ok(cell),
            Ok(Err(SpawnErr::StartupFailed(error))) => Err(error.to_string()),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err(format!("it did not start within {START_TIMEOUT:?}")),
        };
        // A supervisor that is gone has ended its children.
        let _ = myself.send_message(Message::Started(index, outcome));
    });
    task.abort_handle()
}

/// Asks a child to stop, waits, and kills it where that takes too long.
async fn end(name: &str, cell: &ActorCell, stop_timeout: Duration) {
    cell.stop(None);
    if cell.wait(Some(stop_timeout)).await.is_ok() {
        return;
    }
    tracing::warn!(child = name, ?stop_timeout, "did not stop in time and is killed");
    if cell.kill_and_wait(Some(KILL_TIMEOUT)).await.is_err() && cell.get_status() != ActorStatus::Stopped {
        tracing::error!(child = name, "does not even end when killed; it blocks its thread");
    }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("it panicked without words").to_owned()
}

#[cfg(test)]
mod tests;
