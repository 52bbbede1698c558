//! Temporary: a peer of nothing but its API.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::peer::supervise::{Board, Supervisor};
use crate::peer::{BoundListener, Handles, Readiness};
use crate::view::ViewCell;
use crate::{api, config, host};

/// A running peer.
#[derive(Debug)]
pub struct Running {
    handles: Handles,
    api_address: SocketAddr,
    supervisor: Supervisor,
    cluster: tokio::runtime::Runtime,
    service: tokio::runtime::Runtime,
}

/// Why a peer did not start.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct StartError(#[from] std::io::Error);

/// Starts a peer.
pub fn start(settings: config::Settings) -> Result<Running, StartError> {
    let bound = api::bind(&settings.api)?;
    let runtime = || tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let (cluster, service) = (runtime()?, runtime()?);
    let listeners = settings.peer.proxy.listeners.iter().map(|listener| BoundListener {
        name: listener.name.clone(),
        address: listener.address,
        protocol: "http",
        pool: listener.pool.clone(),
        counts: Arc::default(),
    });
    let handles = Handles {
        id: settings.peer.id,
        region: settings.peer.region,
        view: ViewCell::default(),
        started: host::now(),
        listeners: listeners.collect(),
        counts: Arc::default(),
        children: Board::default(),
        readiness: Readiness::default(),
    };
    let api_address = bound.address();
    let child = api::child(handles.clone(), bound, service.handle().clone());
    let board = handles.children.clone();
    let (sender, receiver) = std::sync::mpsc::sync_channel(1);
    cluster.spawn(async move {
        if let Ok(supervisor) = Supervisor::start(board).await {
            let _ = supervisor.add(child).await;
            let _ = sender.send(supervisor);
        }
    });
    let supervisor = receiver.recv().map_err(std::io::Error::other)?;
    Ok(Running { handles, api_address, supervisor, cluster, service })
}

impl Running {
    /// To ask it.
    pub fn handles(&self) -> &Handles {
        &self.handles
    }

    /// Where its API listens.
    pub fn api_address(&self) -> SocketAddr {
        self.api_address
    }

    /// Drains and ends.
    pub async fn stop(self) {
        self.supervisor.stop().await;
        self.cluster.shutdown_background();
        self.service.shutdown_background();
    }
}
