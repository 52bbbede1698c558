//! One actor a worker: it starts the thread, and fails when the thread does, so that it is started again. The other workers
//! go on meanwhile and get its connections.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;

use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::sync::oneshot;

use super::worker::{self, Phase, Shared};

/// A worker of the data plane.
#[derive(Debug)]
pub struct WorkerActor;

/// What a worker is told.
#[derive(Debug)]
pub enum Message {
    /// Its thread ended: why, where it should not have.
    Ended(Result<(), String>),
}

/// A running worker.
pub struct State {
    phase: tokio::sync::watch::Receiver<Phase>,
    /// The thread ends when this is gone, whatever became of the actor.
    _alive: oneshot::Sender<()>,
}

impl Actor for WorkerActor {
    type Msg = Message;
    type State = State;
    /// The worker's number, and what it works with.
    type Arguments = (usize, Shared);

    async fn pre_start(
        &self,
        myself: ActorRef<Message>,
        (index, shared): (usize, Shared),
    ) -> Result<State, ActorProcessingErr> {
        let phase = shared.phase.clone();
        let (alive, is_alive) = oneshot::channel();
        let (ended, has_ended) = oneshot::channel();
        thread::Builder::new().name(format!("worker-{index}")).spawn(move || {
            let running = Running::new(&shared);
            let result = match catch_unwind(AssertUnwindSafe(|| worker::run(index, shared.clone(), is_alive))) {
                Ok(Ok(())) => Ok(()),
                Ok(Err(error)) => Err(error.to_string()),
                Err(_) => Err("the worker panicked".to_owned()),
            };
            // While others serve, no connection may wait for this one. At the end of the peer all are closed anyway.
            for listener in shared.listeners.borrow().iter() {
                listener.close_of(index);
            }
            drop(running);
            // Nobody waits where the actor is gone already.
            let _ = ended.send(result);
        })?;
        tokio::spawn(async move {
            let result = has_ended.await.unwrap_or_else(|_| Err("the worker's thread is gone".to_owned()));
            // The actor may be gone, and then nobody needs to know.
            let _ = myself.send_message(Message::Ended(result));
        });
        Ok(State { phase, _alive: alive })
    }

    async fn handle(
        &self,
        _myself: ActorRef<Message>,
        Message::Ended(result): Message,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        let is_stopping = matches!(*state.phase.borrow(), Phase::Draining | Phase::Ending);
        match result {
            Ok(()) if is_stopping => Ok(()),
            Ok(()) => Err("the worker ended by itself".into()),
            Err(reason) => Err(reason.into()),
        }
    }
}

/// Counts a thread in, and out however it ends.
struct Running<'a>(&'a Shared);

impl<'a> Running<'a> {
    fn new(shared: &'a Shared) -> Self {
        shared.running.send_modify(|count| *count += 1);
        Self(shared)
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.running.send_modify(|count| *count -= 1);
    }
}
