//! A peer without a data plane, on the runtime of its caller: it checks nodes, gossips and keeps a view, over any link and in
//! any world of nodes, and sends no traffic.
//!
//! The simulation of a cluster is made of such peers: every part is the one that [`super::Peer`] is made of, and only what
//! is below them is made up. Time is that of the runtime, chance that of the dice which are given.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::{mpsc, watch};

use super::cluster::{ClusterHandles, Group, Joined, Own, join};
use super::start::{SUSPECTS_MAX, StartError, Ways, catalog_child, health_child, view_child};
use super::supervise::{Board, Supervisor};
use crate::gossip::{Input, Seed};
use crate::health::{Asker, World};
use crate::host::{self, Dice, Incarnations};
use crate::link::{Inboxes, Link};
use crate::model::{Catalog, ClusterName, Evidence, Member, Members, NodeId, Preset};
use crate::view::{self, ViewCell};

/// What a peer without a data plane is told.
#[derive(Clone, Debug)]
pub struct BareSettings {
    /// Its name and where it is.
    pub own: Member,
    /// The cluster's name.
    pub cluster: ClusterName,
    /// How far apart peers are.
    pub preset: Preset,
    /// Where others reach it.
    pub advertise: SocketAddr,
    /// Whom it asks first.
    pub seeds: Vec<Seed>,
    /// Pools and nodes.
    pub catalog: Arc<Catalog>,
}

/// All that is below such a peer.
#[derive(Debug)]
pub struct Surroundings {
    /// Its link, which stands.
    pub link: Arc<dyn Link>,
    /// What comes over it.
    pub inboxes: Inboxes,
    /// The nodes.
    pub world: Arc<dyn World>,
    /// Chance.
    pub dice: Dice,
    /// Numbers that tell this start from others.
    pub incarnations: Incarnations,
}

/// A running peer without a data plane. It ends with its runtime, or by [`BarePeer::stop`].
#[derive(Debug)]
pub struct BarePeer {
    view: ViewCell,
    /// What is to be observed: whoever has a newer one sends it here.
    pub(super) catalog: watch::Sender<Arc<Catalog>>,
    children: Board,
    cluster: ClusterHandles,
    inputs: mpsc::Sender<Input>,
    suspects: mpsc::Sender<Evidence>,
    is_checked: watch::Receiver<bool>,
    supervisor: Supervisor,
}

impl BarePeer {
    /// Starts a peer on the runtime that this is called in.
    pub async fn start(settings: BareSettings, surroundings: Surroundings) -> Result<Self, StartError> {
        let Surroundings { link, inboxes, world, mut dice, incarnations } = surroundings;
        let BareSettings { own, cluster, preset, advertise, seeds, catalog } = settings;
        let children = Board::default();
        let supervisor = Supervisor::start(children.clone(), Dice::from_seed(dice.bits())).await;
        let supervisor = supervisor.map_err(|error| StartError::Supervisor(error.to_string()))?;
        let members = Arc::new(Members::alone(own.clone()));
        let view = ViewCell::new(view::first(&catalog, members, host::now()));
        let (events, inbox) = view::channel();
        let (catalogs, newest) = watch::channel(catalog);
        supervisor.add(view_child(view.clone(), inbox)).await?;
        supervisor.add(catalog_child(newest.clone(), events.clone())).await?;

        let incarnation = incarnations.next();
        let own = Own { id: own.id, region: own.region, api: String::new(), incarnations };
        let group = Group { name: &cluster, seeds: &seeds, preset };
        let joined = join(&group, own, advertise, incarnation, (link, inboxes), &view, events.clone());
        let Joined { handles, ends, children: parts, inputs, .. } = joined;
        let (suspects, suspect_inbox) = mpsc::channel(SUSPECTS_MAX);
        let (first_round, is_checked) = watch::channel(false);
        let ways = Ways { outputs: events, suspects: suspect_inbox, ends, first_round };
        supervisor.add(health_child(newest, view.clone(), ways, Asker::World(world), dice)).await?;
        for part in parts {
            supervisor.add(part).await?;
        }
        Ok(Self { view, catalog: catalogs, children, cluster: handles, inputs, suspects, is_checked, supervisor })
    }

    /// Its picture of all nodes.
    pub fn view(&self) -> &ViewCell {
        &self.view
    }

    /// Observes the nodes of this catalog from now on.
    pub fn set_catalog(&self, catalog: Arc<Catalog>) {
        self.catalog.send_replace(catalog);
    }

    /// Its cluster side.
    pub fn cluster(&self) -> &ClusterHandles {
        &self.cluster
    }

    /// Its children and how they fare.
    pub fn children(&self) -> &Board {
        &self.children
    }

    /// Whether every node that it observes was checked once, and that is in its view.
    pub fn is_checked(&self) -> bool {
        *self.is_checked.borrow() && self.view.load().is_checked()
    }

    /// As if its traffic had met hard evidence at a node: the node is passed over from now on and asked at once. False for a
    /// node that it does not have.
    pub fn suspect(&self, node: &NodeId) -> bool {
        let view = self.view.load();
        let Some((_, known)) = view.node(node) else { return false };
        if known.live.suspect() {
            // While too many wait the health actor finds it in the view.
            let _ = self.suspects.try_send(Evidence::Hard(node.clone()));
        }
        true
    }

    /// Tells the others that it leaves, and ends; the link goes last, and says goodbye.
    pub async fn stop(self) {
        // Gossip that is down is started again and would tell the others; one that is given up cannot.
        let _ = self.inputs.try_send(Input::Leaving);
        tokio::time::sleep(crate::gossip::Pace::of(self.cluster.preset).interval * 2).await;
        self.supervisor.stop().await;
        self.cluster.link.close().await;
    }
}
