//! A whole peer with its API, for `evenkeel run`, for the demo, and for a program that embeds it.

use std::io;
use std::net::SocketAddr;

use tokio::runtime::{Builder, Runtime};

use crate::api::{self, BoundApi};
use crate::config::Settings;
use crate::peer::supervise::AddError;
use crate::peer::{self, Handles, Peer};

/// Threads that answer the API.
const SERVICE_THREADS: usize = 2;

/// Why a peer did not start. Nothing of it runs then.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The API could not be bound.
    #[error("the API cannot listen at {address}: {error}; choose another [api] listen, or stop what listens there")]
    Api {
        /// Where it was to listen.
        address: SocketAddr,
        /// What the machine said.
        error: io::Error,
    },
    /// The machine gave no thread.
    #[error("the machine gave no thread: {0}")]
    Thread(io::Error),
    /// The peer itself did not start.
    #[error(transparent)]
    Peer(#[from] peer::StartError),
    /// The API did not start.
    #[error(transparent)]
    Child(#[from] AddError),
}

/// A running peer with its API. Several may run in one process. Dropping it cuts what is under way; [`Running::stop`] does
/// not.
#[derive(Debug)]
pub struct Running {
    peer: Peer,
    api_address: SocketAddr,
    service: Service,
}

/// The runtime of the API. A runtime must not be dropped where another one runs, so this ends it in the background.
#[derive(Debug)]
struct Service(Option<Runtime>);

impl Drop for Service {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// Starts a peer: everything is bound when this returns. It needs a tokio runtime to wait on and runs on threads of its own.
pub async fn start(settings: Settings) -> Result<Running, StartError> {
    let bound: BoundApi =
        api::bind(&settings.api).map_err(|error| StartError::Api { address: settings.api.listen(), error })?;
    let service = Builder::new_multi_thread()
        .worker_threads(SERVICE_THREADS)
        .thread_name("service")
        .enable_all()
        .build()
        .map_err(StartError::Thread)?;
    let handle = service.handle().clone();
    let service = Service(Some(service));
    let api_address = bound.address();
    let peer = Peer::start(settings.peer, api_address.to_string()).await?;
    peer.add(api::child(peer.handles().clone(), bound, handle)).await?;
    Ok(Running { peer, api_address, service })
}

impl Running {
    /// What may be asked of the peer.
    pub fn handles(&self) -> &Handles {
        self.peer.handles()
    }

    /// Where the API listens.
    pub fn api_address(&self) -> SocketAddr {
        self.api_address
    }

    /// The peer.
    pub fn peer(&self) -> &Peer {
        &self.peer
    }

    /// Drains and ends; see [`Peer::stop`]. True where nothing had to be cut.
    pub async fn stop(self) -> bool {
        let Self { peer, service, .. } = self;
        let finished = peer.stop().await;
        drop(service);
        finished
    }
}
