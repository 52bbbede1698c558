//! The API as a child of the peer: the actor lives on the cluster thread, its accept loop and all answers on the service
//! runtime, so that a heavy question never delays a heartbeat.

use std::time::Duration;

use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::runtime;
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinHandle};

use super::router::router;
use super::serve::{BoundApi, serve};
use crate::peer::Handles;
use crate::peer::supervise::ChildSpec;

/// How long answers under way may take when the peer stops.
const STOP_TIMEOUT: Duration = Duration::from_secs(3);

/// The API on `bound`, answering from `handles`, at work on the runtime `service`.
pub fn child(handles: Handles, bound: BoundApi, service: runtime::Handle) -> ChildSpec {
    let make = move || (Api, (handles.clone(), bound.clone(), service.clone()));
    ChildSpec::new("api", make).stop_timeout(STOP_TIMEOUT)
}

struct Api;

/// The accept loop ended, which it does only when it is told to or broke.
struct Ended;

struct Serving {
    stop: watch::Sender<()>,
    accept_loop: AbortHandle,
    /// Ends when the accept loop has ended.
    watcher: JoinHandle<()>,
}

impl Drop for Serving {
    /// An actor that is killed or fails leaves nothing behind that would answer beside its successor.
    fn drop(&mut self) {
        self.accept_loop.abort();
    }
}

impl Actor for Api {
    type Msg = Ended;
    type State = Serving;
    type Arguments = (Handles, BoundApi, runtime::Handle);

    async fn pre_start(
        &self,
        myself: ActorRef<Ended>,
        (handles, bound, service): Self::Arguments,
    ) -> Result<Serving, ActorProcessingErr> {
        let listener = {
            // A socket belongs to the runtime on which it was registered.
            let _on_service = service.enter();
            bound.listener()?
        };
        let (stop, stopped) = watch::channel(());
        let answering = service.spawn(serve(listener, router(handles), stopped));
        let accept_loop = answering.abort_handle();
        let watcher = tokio::spawn(async move {
            let _ = answering.await;
            // The actor is gone where it was what ended the loop.
            let _ = myself.send_message(Ended);
        });
        Ok(Serving { stop, accept_loop, watcher })
    }

    async fn handle(&self, _myself: ActorRef<Ended>, Ended: Ended, _: &mut Serving) -> Result<(), ActorProcessingErr> {
        Err("its accept loop broke".into())
    }

    async fn post_stop(&self, _myself: ActorRef<Ended>, serving: &mut Serving) -> Result<(), ActorProcessingErr> {
        let _ = serving.stop.send(());
        let _ = (&mut serving.watcher).await;
        Ok(())
    }
}
