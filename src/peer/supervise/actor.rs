//! A child that is a loop and takes no messages: it reads channels that outlive it.

use std::future::Future;
use std::pin::Pin;

use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::task::AbortHandle;

use super::ChildSpec;

type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

impl ChildSpec {
    /// A child that is the future that `make` makes anew for every start. It has failed when it ends.
    pub fn task<F, W>(name: impl Into<String>, make: F) -> Self
    where
        F: Fn() -> W + Send + Sync + 'static,
        W: Future<Output = ()> + Send + 'static,
    {
        Self::new(name, move || (Task, Box::pin(make()) as Work))
    }
}

struct Task;

/// The work ended.
struct Ended(String);

struct Working(AbortHandle);

impl Drop for Working {
    /// Nothing is left behind that would work beside its successor.
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Actor for Task {
    type Msg = Ended;
    type State = Working;
    type Arguments = Work;

    async fn pre_start(&self, myself: ActorRef<Ended>, work: Work) -> Result<Working, ActorProcessingErr> {
        let work = tokio::spawn(work);
        let abort = work.abort_handle();
        tokio::spawn(async move {
            let reason = match work.await {
                Ok(()) => "it ended unasked".to_owned(),
                Err(error) => error.to_string(),
            };
            // Where the actor is gone, that is why the work ended.
            let _ = myself.send_message(Ended(reason));
        });
        Ok(Working(abort))
    }

    async fn handle(
        &self,
        _: ActorRef<Ended>,
        Ended(reason): Ended,
        _: &mut Working,
    ) -> Result<(), ActorProcessingErr> {
        Err(reason.into())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use tokio::sync::{Mutex, mpsc};

    use super::super::{Board, Supervisor};
    use super::*;
    use crate::host::Dice;

    #[tokio::test]
    async fn work_that_panics_begins_again_with_what_is_left_in_its_channel() {
        let (sender, receiver) = mpsc::channel(8);
        let (told, mut heard) = mpsc::channel(8);
        let receiver = Arc::new(Mutex::new(receiver));
        let supervisor = Supervisor::start(Board::default(), Dice::from_seed(1)).await.unwrap();
        let work = ChildSpec::task("reads", move || {
            let (receiver, told) = (Arc::clone(&receiver), told.clone());
            async move {
                while let Some(number) = receiver.lock().await.recv().await {
                    assert!(number != 2, "two is too much");
                    told.send(number).await.unwrap();
                }
            }
        });
        supervisor.add(work).await.unwrap();
        for number in 1..=3 {
            sender.send(number).await.unwrap();
        }
        for expected in [1, 3] {
            let number = tokio::time::timeout(Duration::from_secs(10), heard.recv()).await.unwrap();
            assert_eq!(number, Some(expected));
        }
        supervisor.stop().await;
    }
}
