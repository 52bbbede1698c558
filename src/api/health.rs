//! Whether the peer is ready for traffic, and whether all is well with it and its pools.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Value, json};

use super::electors::LeaderShown;
use super::error::ApiError;
use super::list::Params;
use super::pools::{NodeTally, PoolShown};
use super::router::Asked;
use super::timestamp::rfc3339;
use super::{catalog, cluster, electors};
use crate::catalog::Behind;
use crate::host;
use crate::model::{ListenerName, PeerId, PoolName, RegionName, Revision};
use crate::peer::supervise::{ChildState, ChildStatus};
use crate::peer::{BoundListener, Handles, NotReady};
use crate::proxy::FailureCounts;
use crate::view::View;

/// `GET /health`: for whoever sends traffic to this peer.
pub(super) async fn ready(State(handles): State<Handles>, uri: Uri) -> Result<Response, ApiError> {
    Params::of(&uri, &[])?;
    Ok(match handles.ready() {
        Ok(()) => (StatusCode::OK, Json(json!({ "status": "ready", "reason": null }))).into_response(),
        Err(why) => {
            let body = json!({ "status": "not_ready", "reason": why.name() });
            (StatusCode::SERVICE_UNAVAILABLE, Json(body)).into_response()
        }
    })
}

/// `GET /api/health`: for operators.
pub(super) async fn summary(State(handles): State<Handles>, uri: Uri) -> Result<Response, ApiError> {
    Params::of(&uri, &[])?;
    let (view, children) = (handles.view.load(), handles.children.children());
    let health = Health::of(&handles, &view, &children, &LeaderShown::of(&handles));
    Ok((health.status.code(), Json(health)).into_response())
}

/// `GET /api/health/detailed`
pub(super) async fn detailed(State(asked): State<Asked>, uri: Uri) -> Result<Response, ApiError> {
    let Asked { handles, started } = asked;
    Params::of(&uri, &[])?;
    let (view, children) = (handles.view.load(), handles.children.children());
    let leader = LeaderShown::of(&handles);
    let health = Health::of(&handles, &view, &children, &leader);
    let uptime = host::now().saturating_duration_since(handles.started);
    let mut pools: Vec<_> = view.pools().map(|pool| PoolShown::of(pool, &handles)).collect();
    pools.sort_by(|a, b| a.name().cmp(b.name()));
    let bound = handles.listeners.now();
    let listeners = bound.iter().map(|listener| ListenerShown {
        name: &listener.name,
        address: listener.address,
        protocol: listener.protocol,
        pool: &listener.pool,
        counts: listener.counts.all().collect(),
    });
    let detailed = Detailed {
        peer: PeerShown { id: &handles.id, region: &handles.region, version: env!("CARGO_PKG_VERSION") },
        started_at: rfc3339(started),
        uptime_seconds: uptime.as_secs(),
        listeners: listeners.collect(),
        pools,
        cluster: handles.cluster.as_ref().map(|_| cluster::Shown::of(&handles)),
        leader,
        catalog: CatalogShown::of(&handles),
        counts: failures(&handles),
        children: &children,
        as_of: rfc3339(host::wall_now()),
        health: &health,
    };
    Ok((health.status.code(), Json(detailed)).into_response())
}

/// What went wrong with the traffic of all listeners together.
fn failures(handles: &Handles) -> BTreeMap<&'static str, u64> {
    let mut sums: BTreeMap<_, _> = FailureCounts::default().all().collect();
    for (name, value) in handles.listeners.now().iter().flat_map(|listener| listener.failures.all()) {
        *sums.entry(name).or_default() += value;
    }
    sums
}

/// How well it is. Greater is worse.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
enum Status {
    Healthy,
    /// It serves, and somebody should look.
    Degraded,
    /// It does not serve, or no longer knows whom it should send traffic to.
    Unhealthy,
}

impl Status {
    fn code(self) -> StatusCode {
        if self == Self::Unhealthy { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK }
    }
}

/// What one finding is about.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Code {
    Starting,
    Draining,
    PoolWithoutUsableNodes,
    ListenerWithoutPool,
    PoolWithoutTls,
    NobodyLeads,
    DiskFailing,
    CatalogBehind,
    ChildRestarting,
    ChildGivenUp,
}

/// One finding that is not as it should be.
#[derive(Debug, Eq, PartialEq, Serialize)]
struct Reason {
    code: Code,
    message: String,
}

#[derive(Debug, Serialize)]
struct Health {
    status: Status,
    ready: bool,
    reasons: Vec<Reason>,
    pools_total: usize,
    pools_without_usable_nodes: Vec<PoolName>,
    children_given_up: Vec<String>,
}

impl Health {
    fn of(handles: &Handles, view: &View, children: &[ChildStatus], leader: &LeaderShown) -> Self {
        let (mut status, mut reasons) = (Status::Healthy, Vec::new());
        let mut find = |at_least: Status, code: Code, message: String| {
            status = status.max(at_least);
            reasons.push(Reason { code, message });
        };
        let readiness = handles.ready();
        match readiness {
            // Every part is looked at below.
            Ok(()) | Err(NotReady::PartGivenUp) => {}
            Err(NotReady::Starting) => {
                find(Status::Degraded, Code::Starting, "nodes have not all been checked once yet".into());
            }
            Err(NotReady::Draining) => {
                find(Status::Degraded, Code::Draining, "the peer is stopping and takes no new traffic".into());
            }
        }
        let pools_total = view.pools().count();
        let empty = view.pools().filter(|pool| NodeTally::of(&pool.nodes).usable == 0);
        let mut without: Vec<PoolName> = empty.map(|pool| pool.pool.name.clone()).collect();
        without.sort();
        for pool in &without {
            let all = without.len() == pools_total;
            let at_least = if all { Status::Unhealthy } else { Status::Degraded };
            find(at_least, Code::PoolWithoutUsableNodes, format!("no node of pool {pool} is usable"));
        }
        let turned_away = handles.listeners_without_pool(view);
        for listener in &turned_away {
            let all = turned_away.len() == handles.listeners.now().len();
            let at_least = if all { Status::Unhealthy } else { Status::Degraded };
            find(at_least, Code::ListenerWithoutPool, listener_without_pool(listener));
        }
        for (pool, profile) in handles.pools_without_profile(view) {
            let message = format!(
                "this peer's file has no [[tls]] of name {profile}, which pool {pool} names: its nodes are not used by this peer"
            );
            find(Status::Degraded, Code::PoolWithoutTls, message);
        }
        // Traffic needs neither a leader nor the newest catalog.
        if let Some(nobody) = leader.nobody().filter(|_| handles.cluster.is_some()) {
            find(Status::Degraded, Code::NobodyLeads, nobody);
        }
        if let Some(failing) = electors::disk_failing(handles) {
            find(Status::Degraded, Code::DiskFailing, failing);
        }
        if let Some(behind) = &handles.agreed.catalog.applied().behind {
            let Behind { revision, why } = behind;
            let message =
                format!("this peer cannot serve by revision {revision} and goes on with an earlier one: {why}");
            find(Status::Degraded, Code::CatalogBehind, message);
        }
        for child in children {
            let said = child.last_failure.as_deref().unwrap_or("it did not say why");
            match child.state {
                ChildState::GivenUp => {
                    let at_least = if child.critical { Status::Unhealthy } else { Status::Degraded };
                    let message = format!("{} failed too often and stays down until a restart: {said}", child.name);
                    find(at_least, Code::ChildGivenUp, message);
                }
                ChildState::Restarting => {
                    let message = format!("{} failed and is being started again: {said}", child.name);
                    find(Status::Degraded, Code::ChildRestarting, message);
                }
                ChildState::Starting | ChildState::Running | ChildState::Stopped => {}
            }
        }
        let given_up = children.iter().filter(|child| child.state == ChildState::GivenUp);
        Self {
            status,
            ready: readiness.is_ok(),
            reasons,
            pools_total,
            pools_without_usable_nodes: without,
            children_given_up: given_up.map(|child| child.name.clone()).collect(),
        }
    }
}

/// What to say of a listener whose pool is not there.
pub(super) fn listener_without_pool(listener: &BoundListener) -> String {
    let BoundListener { name, pool, .. } = listener;
    format!(
        "listener {name} of this peer sends to pool {pool}, which the catalog does not have: its clients are turned away"
    )
}

#[derive(Serialize)]
struct Detailed<'a> {
    #[serde(flatten)]
    health: &'a Health,
    peer: PeerShown<'a>,
    started_at: String,
    uptime_seconds: u64,
    children: &'a [ChildStatus],
    listeners: Vec<ListenerShown<'a>>,
    pools: Vec<PoolShown<'a>>,
    /// `null` for a cluster of one.
    cluster: Option<cluster::Shown>,
    /// What the data plane counted since it started, each time-out under its own name.
    counts: BTreeMap<&'static str, u64>,
    /// As `/api/v1/leader` has it.
    leader: LeaderShown,
    catalog: CatalogShown,
    as_of: String,
}

/// By which catalog this peer serves.
#[derive(Serialize)]
struct CatalogShown {
    /// `null`: by its own file, because the cluster has not committed one yet.
    revision: Option<Revision>,
    /// As `/api/v1/catalog` has it.
    behind: Option<Value>,
}

impl CatalogShown {
    fn of(handles: &Handles) -> Self {
        let applied = handles.agreed.catalog.applied();
        Self { revision: applied.revision(), behind: catalog::behind(&applied) }
    }
}

#[derive(Serialize)]
struct PeerShown<'a> {
    id: &'a PeerId,
    region: &'a RegionName,
    version: &'static str,
}

#[derive(Serialize)]
struct ListenerShown<'a> {
    name: &'a ListenerName,
    address: SocketAddr,
    protocol: &'static str,
    pool: &'a PoolName,
    counts: BTreeMap<&'static str, u64>,
}
