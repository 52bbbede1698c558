//! Who votes first: told to the elector again and again until the cluster has committed something.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::supervise::ChildSpec;
use crate::election::{Founders, Standing};
use crate::gossip::{PeerRow, Seed};
use crate::host::Names;
use crate::model::{Electors, PeerId, PeerState};

/// Between two looks at who is known and where seeds lead.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// How long the name of a seed is waited for.
const NAME_LIMIT: Duration = Duration::from_secs(2);

/// What the first electors are told from, and where they are told.
#[derive(Clone)]
pub(super) struct Founding {
    pub(super) founders: Founders,
    pub(super) own: PeerId,
    pub(super) advertise: SocketAddr,
    pub(super) seeds: Arc<[Seed]>,
    pub(super) peers: watch::Receiver<Arc<Vec<PeerRow>>>,
    pub(super) names: Names,
    pub(super) standing: watch::Receiver<Arc<Standing>>,
    /// Takes the list.
    pub(super) told: watch::Sender<Option<Electors>>,
    /// Takes what the list still waits for, for people.
    pub(super) waits_for: watch::Sender<Option<String>>,
}

impl Founding {
    pub(super) fn child(self) -> ChildSpec {
        ChildSpec::task("founding", move || self.clone().run())
    }

    async fn run(mut self) {
        // A restart of this child must not take back what was told.
        loop {
            if self.standing.borrow().committed.is_some() {
                self.waits_for.send_replace(None);
                // It is over for good; a child that ends would be started again.
                std::future::pending::<()>().await;
            }
            let seeds = self.seeds().await;
            let peers = Arc::clone(&self.peers.borrow_and_update());
            let lives = |peer: &&PeerRow| peer.state == PeerState::Alive && peer.id != self.own;
            let others: Vec<_> = peers.iter().filter(lives).map(|peer| (&peer.id, peer.address)).collect();
            let (electors, waits_for) = match self.founders.electors((&self.own, self.advertise), &seeds, &others) {
                Ok(electors) => (Some(electors), None),
                Err(error) => (None, Some(error.to_string())),
            };
            self.told.send_if_modified(|told| {
                let changes = electors.is_some() && *told != electors;
                if changes {
                    told.clone_from(&electors);
                }
                changes
            });
            self.waits_for.send_if_modified(|said| {
                let changes = *said != waits_for;
                said.clone_from(&waits_for);
                changes
            });
            tokio::select! {
                _ = self.peers.changed() => {}
                () = sleep(LOOK_EVERY) => {}
            }
        }
    }

    /// Where each seed leads now.
    async fn seeds(&self) -> Vec<Vec<SocketAddr>> {
        if self.founders != Founders::Seeds {
            return Vec::new();
        }
        let mut led = Vec::with_capacity(self.seeds.len());
        for seed in self.seeds.iter() {
            led.push(match seed {
                Seed::Address(address) => vec![*address],
                Seed::Name(name, port) => match timeout(NAME_LIMIT, self.names.resolve(name)).await {
                    Ok(Ok(resolved)) => resolved.addresses.iter().map(|ip| SocketAddr::new(*ip, *port)).collect(),
                    Ok(Err(_)) | Err(_) => Vec::new(),
                },
            });
        }
        led
    }
}
