//! Failover, joined with all that it touches.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::{Mutex, mpsc, watch};

use super::drains::{Others, left_at};
use super::supervise::ChildSpec;
use crate::catalog::CatalogHandle;
use crate::driver::{Driver, Executor, Kind};
use crate::election::Request;
use crate::failover::{self, FailoverActor, FailoverHandle, Hands, Parts};
use crate::host::{DataFolder, Dice};
use crate::model::limits::OPERATIONS_WAITING_MAX;
use crate::model::{DriverName, Member, Members};
use crate::telemetry::events::Events;
use crate::tls::NodeTlsCell;
use crate::view::ViewCell;

/// The folder of a peer's data in which its executor remembers who touched which node.
const FOLDER: &str = "driver";

/// What failover is joined with.
pub(super) struct Joints {
    pub(super) own: Member,
    pub(super) drivers: BTreeMap<DriverName, Kind>,
    pub(super) tls: NodeTlsCell,
    /// Who lives.
    pub(super) members: watch::Receiver<Arc<Members>>,
    /// The way to others, and who they are; a cluster of one has none.
    pub(super) others: Option<Others>,
}

/// The handle, and the actor to be supervised.
pub(super) fn failover(
    joints: Joints,
    catalog: &CatalogHandle,
    elector: &mpsc::Sender<Request>,
    view: &ViewCell,
    folder: &DataFolder,
) -> (FailoverHandle, ChildSpec) {
    let Joints { own, drivers, tls, members, others } = joints;
    let executor = Executor::new(made(drivers), folder.inner(FOLDER), Dice::new());
    let (asks, asked) = mpsc::channel(OPERATIONS_WAITING_MAX);
    let events = Events::default();
    let link = others.as_ref().map(|(link, _)| Arc::clone(link));
    let handle = FailoverHandle::new(Parts {
        own: own.id.clone(),
        link: link.clone(),
        catalog: catalog.clone(),
        executor: executor.clone(),
        view: view.clone(),
        asked: asks,
        events: events.clone(),
    });
    let count_drain = {
        let (own, view) = (own.id.clone(), view.clone());
        move |node| -> failover::Counting {
            let (own, view, others) = (own.clone(), view.clone(), others.clone());
            Box::pin(async move { left_at(&own, &view, others.as_ref(), &node).await })
        }
    };
    let hands = Hands {
        own: own.id.clone(),
        link,
        executor,
        catalog: catalog.clone(),
        elector: elector.clone(),
        view: view.clone(),
        tls,
        count_drain: Arc::new(count_drain),
    };
    let arguments = failover::Arguments {
        own,
        members,
        standing: catalog.follow_standing(),
        applied: catalog.follow(),
        view: view.clone(),
        asked: Arc::new(Mutex::new(asked)),
        hands,
        handle: handle.clone(),
        events,
    };
    (handle, ChildSpec::new("failover", move || (FailoverActor, arguments.clone())))
}

/// The drivers of these settings, which were checked when they were read.
pub(super) fn made(drivers: BTreeMap<DriverName, Kind>) -> BTreeMap<DriverName, Arc<dyn Driver>> {
    let made = drivers.into_iter().filter_map(|(name, kind)| match kind.into_driver() {
        Ok(driver) => Some((name, driver)),
        Err(why) => {
            tracing::error!(driver = %name, why, "a driver cannot be made; nothing is carried out by it here");
            None
        }
    });
    made.collect()
}
