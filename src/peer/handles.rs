//! What the rest of the process may ask of a running peer: everything here is cheap, and waits for nobody.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::watch;

use super::agree::Agreed;
use super::cluster::ClusterHandles;
use crate::limit::Limiter;
use crate::model::{ListenerName, PeerId, PoolName, RegionName};
use crate::proxy::access_log::AccessLog;
use crate::proxy::explain::Explainer;
use crate::proxy::{FailureCounts, ListenerCounts};
use crate::tls::NodeTlsCell;
use crate::view::ViewCell;

/// A running peer, to be asked.
#[derive(Clone, Debug)]
pub struct Handles {
    /// Its name.
    pub id: PeerId,
    /// Where it is.
    pub region: RegionName,
    /// Its picture of all nodes.
    pub view: ViewCell,
    /// When it started.
    pub started: Instant,
    /// Its listeners, bound.
    pub listeners: BoundListeners,
    /// How it speaks TLS to nodes.
    pub tls: NodeTlsCell,
    /// Says what would become of a request.
    pub explainer: Explainer,
    /// What limits count.
    pub limiter: Arc<Limiter>,
    /// Its children and how they fare.
    pub children: super::supervise::Board,
    /// Whether it is ready, and if not why.
    pub readiness: Readiness,
    /// What it agrees on with others: who leads, and the catalog.
    pub agreed: Agreed,
    /// Its cluster side; `None`: a cluster of one.
    pub cluster: Option<ClusterHandles>,
}

impl Handles {
    /// Whether traffic may be sent to this peer, or why not.
    pub fn ready(&self) -> Result<(), NotReady> {
        self.readiness.check()?;
        if self.children.lacks_critical() { Err(NotReady::PartGivenUp) } else { Ok(()) }
    }
}

/// A listener that is bound.
#[derive(Clone, Debug)]
pub struct BoundListener {
    /// Its name.
    pub name: ListenerName,
    /// The address it really has; never port 0.
    pub address: SocketAddr,
    /// `http` or `tcp`; over TLS `https` or `tls`.
    pub protocol: &'static str,
    /// The pool behind it.
    pub pool: PoolName,
    /// What it counted.
    pub counts: Arc<ListenerCounts>,
    /// What went wrong with its traffic.
    pub failures: Arc<FailureCounts>,
    /// Where its traffic is logged; `None`: nowhere.
    pub log: Option<Arc<AccessLog>>,
}

/// The listeners of a peer, which a reload may change.
#[derive(Clone, Debug)]
pub struct BoundListeners(watch::Receiver<Arc<[BoundListener]>>);

impl BoundListeners {
    /// Those that there are now.
    pub fn now(&self) -> Arc<[BoundListener]> {
        Arc::clone(&self.0.borrow())
    }

    /// Waits until there are others. Never, where the peer is gone.
    pub async fn changed(&mut self) {
        if self.0.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

impl From<watch::Receiver<Arc<[BoundListener]>>> for BoundListeners {
    fn from(listeners: watch::Receiver<Arc<[BoundListener]>>) -> Self {
        Self(listeners)
    }
}

/// Whether a peer is ready for traffic: listeners bound, every node checked once or 1 s over, not draining.
#[derive(Clone, Debug)]
pub struct Readiness(Arc<watch::Sender<Stage>>);

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Stage {
    Starting,
    Ready,
    Draining,
}

/// Why a peer is not ready.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum NotReady {
    /// Nodes have not been checked once yet.
    Starting,
    /// It is stopping.
    Draining,
    /// A part that it cannot do without failed too often and stays down.
    PartGivenUp,
}

impl NotReady {
    /// The word for the API.
    pub fn name(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Draining => "draining",
            Self::PartGivenUp => "part_given_up",
        }
    }
}

impl Default for Readiness {
    fn default() -> Self {
        Self(Arc::new(watch::channel(Stage::Starting).0))
    }
}

impl Readiness {
    /// Every node was checked once, or the wait for it is over. A peer that drains stays so.
    pub fn set_checked(&self) {
        self.0.send_modify(|stage| {
            if *stage == Stage::Starting {
                *stage = Stage::Ready;
            }
        });
    }

    /// The peer begins to stop.
    pub fn set_draining(&self) {
        self.0.send_replace(Stage::Draining);
    }

    /// Waits until the peer is ready, or stops before it was.
    pub async fn settled(&self) {
        // The sender is here, so it cannot be gone.
        let _ = self.0.subscribe().wait_for(|stage| *stage != Stage::Starting).await;
    }

    /// Whether it is through with its start and not about to stop; [`Handles::ready`] also looks at its parts.
    pub fn check(&self) -> Result<(), NotReady> {
        match *self.0.borrow() {
            Stage::Starting => Err(NotReady::Starting),
            Stage::Ready => Ok(()),
            Stage::Draining => Err(NotReady::Draining),
        }
    }
}
