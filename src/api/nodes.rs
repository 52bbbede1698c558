//! Nodes as the API shows them, and who sees what of one.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::Uri;
use axum::response::Response;
use serde::Serialize;
use serde_json::Value;

use super::error::ApiError;
use super::list::{Page, Params};
use super::resources::{beside, progress};
use super::writing::in_step;
use crate::balance::score::Band;
use crate::catalog::Kind;
use crate::model::{
    Admin, Health, NodeAddress, NodeId, Observation, PeerId, PoolName, RegionName, Run, ServerId, Verdict,
};
use crate::peer::Handles;
use crate::view::{Local, NodeView, Opinion, PoolView, View};

/// `GET /api/v1/nodes?pool=`
pub(super) async fn list(State(handles): State<Handles>, uri: Uri) -> Result<Response, ApiError> {
    let [limit, after] = Page::PARAMS;
    let params = Params::of(&uri, &["pool", limit, after])?;
    let page = Page::of(&params)?;
    listed(&handles, page, params.get("pool"))
}

fn listed(handles: &Handles, page: Page, pool: Option<&str>) -> Result<Response, ApiError> {
    let view = handles.view.load();
    if let Some(name) = pool
        && !view.pools().any(|pool| pool.pool.name.as_str() == name)
    {
        return Err(ApiError::unknown("pool", name, view.pools().map(|pool| pool.pool.name.as_str())));
    }
    let nodes: Vec<_> = view
        .pools()
        .filter(|of| pool.is_none_or(|name| of.pool.name.as_str() == name))
        .flat_map(|pool| pool.nodes.iter().map(move |node| (pool, node)))
        .collect();
    Ok(page.reply(nodes, |(_, node)| node.node.id.as_str(), |(pool, node)| NodeShown::of(pool, node, handles), handles))
}

/// `GET /api/v1/pools/{pool}/nodes`
pub(super) async fn of_pool(
    State(handles): State<Handles>,
    Path(name): Path<String>,
    uri: Uri,
) -> Result<Response, ApiError> {
    let params = Params::of(&uri, &Page::PARAMS)?;
    listed(&handles, Page::of(&params)?, Some(&name))
}

/// `GET /api/v1/nodes/{node}`
pub(super) async fn one(
    State(handles): State<Handles>,
    Path(id): Path<String>,
    uri: Uri,
) -> Result<Response, ApiError> {
    Params::of(&uri, &[])?;
    let known = find(&handles.view.load(), &id).map(|(_, node)| node.node.id.clone())?;
    let drain = progress(&handles, &known).await;
    let (view, applied) = in_step(&handles).await;
    let (pool, node) = find(&view, &id)?;
    let shown = OneShown { node: NodeShown::of(pool, node, &handles), drain };
    Ok(beside(applied.as_deref(), Kind::Node, &id, shown))
}

/// `GET /api/v1/nodes/{node}/observations`
pub(super) async fn observations(
    State(handles): State<Handles>,
    Path(id): Path<String>,
    uri: Uri,
) -> Result<Response, ApiError> {
    let params = Params::of(&uri, &Page::PARAMS)?;
    let page = Page::of(&params)?;
    let view = handles.view.load();
    let (_, node) = find(&view, &id)?;
    let opinions = view.opinions(&node.node.id).unwrap_or_default();
    let own = &handles.id;
    let show =
        |opinion: &Opinion| ObservationShown::of(opinion, node, (opinion.peer == *own).then_some(&node.observation));
    Ok(page.reply(opinions, |opinion| opinion.peer.as_str(), show, &handles))
}

fn find<'a>(view: &'a View, id: &str) -> Result<(&'a PoolView, &'a NodeView), ApiError> {
    let known = id.parse::<NodeId>().ok().and_then(|id| view.node(&id));
    let ids = || view.pools().flat_map(|pool| pool.nodes.iter().map(|node| node.node.id.as_str()));
    known.map(|(pool, node)| (&**pool, &**node)).ok_or_else(|| ApiError::unknown("node", id, ids()))
}

/// A node. What was never measured is `null`.
#[derive(Serialize)]
struct NodeShown<'a> {
    id: &'a NodeId,
    pool: &'a PoolName,
    region: &'a RegionName,
    address: &'a NodeAddress,
    /// Where its name leads now; empty where it does not resolve.
    addresses: &'a [SocketAddr],
    /// What it stands on, where that is known.
    server: Option<&'a ServerId>,
    weight: u16,
    effective_weight: f64,
    backup: bool,
    state: StateShown,
    health_score: f64,
    band: Band,
    /// Moving average of the check's connect time.
    latency_ms: Option<f64>,
    /// Moving average of the time to the head of an answer.
    response_ms: Option<f64>,
    /// What counts against `max_connections`, over all peers.
    connections: u32,
    max_connections: u32,
    /// What this peer has at the node.
    in_flight: u32,
    cpu_percent: Option<f64>,
    memory_mb: Option<f64>,
    labels: BTreeMap<&'a str, &'a str>,
    totals: Totals,
}

/// One node alone.
#[derive(Serialize)]
struct OneShown<'a> {
    #[serde(flatten)]
    node: NodeShown<'a>,
    /// How far its drain is, over all peers; `null` where it does not drain.
    drain: Option<Value>,
}

/// How a node is, by who says it.
#[derive(Serialize)]
struct StateShown {
    /// An operator.
    admin: Admin,
    /// Whoever starts and stops it.
    run: Run,
    /// The cluster's checks.
    verdict: Verdict,
    /// This peer's own traffic and checks.
    local: Local,
}

/// What a node did since the peer started.
#[derive(Serialize)]
struct Totals {
    requests: u64,
    answers: BTreeMap<&'static str, u64>,
    connections: u64,
    connect_failures: u64,
    exchange_failures: u64,
    timeouts: u64,
    bytes_sent: u64,
    bytes_received: u64,
}

impl<'a> NodeShown<'a> {
    fn of(pool: &'a PoolView, view: &'a NodeView, handles: &'a Handles) -> Self {
        let (node, live, counts) = (&view.node, &view.live, &view.live.counts);
        let score = view.health_score();
        let read = |count: &AtomicU64| count.load(Relaxed);
        Self {
            id: &node.id,
            pool: &pool.pool.name,
            region: node.region.as_ref().unwrap_or(&handles.region),
            address: &node.address,
            addresses: &view.addresses,
            server: node.server.as_ref(),
            weight: node.weight.get(),
            effective_weight: rounded(view.effective_weight),
            backup: node.backup,
            state: StateShown {
                admin: node.admin,
                run: view.state.run,
                verdict: view.state.verdict,
                local: view.local(),
            },
            health_score: rounded(score),
            band: Band::of(score),
            latency_ms: view.latency.map(ms),
            response_ms: live.response_time().map(ms),
            connections: live.in_flight_everywhere(),
            max_connections: node.max_connections.get(),
            in_flight: live.in_flight(),
            cpu_percent: None,
            memory_mb: None,
            labels: BTreeMap::new(),
            totals: Totals {
                requests: read(&counts.requests),
                answers: CLASSES.into_iter().zip(counts.answers.iter().map(read)).collect(),
                connections: read(&counts.connections),
                connect_failures: read(&counts.connect_failures),
                exchange_failures: read(&counts.exchange_failures),
                timeouts: read(&counts.timeouts),
                bytes_sent: read(&counts.bytes_sent),
                bytes_received: read(&counts.bytes_received),
            },
        }
    }
}

/// What one peer says of a node. In words, and how often it looked, is known of the peer that answers only.
#[derive(Serialize)]
struct ObservationShown {
    observer: PeerId,
    node: NodeId,
    vote: Option<Health>,
    reached_before: bool,
    /// It routes around the node, whatever the others say.
    ejected: bool,
    latency_ms: Option<f64>,
    /// What it has at the node.
    in_flight: u32,
    /// It lives and was lately seen to look; a vote that is not fresh does not count.
    fresh: bool,
    /// It disagrees with everybody; its vote does not count.
    doubtful: bool,
    last_result: Option<String>,
    checks_total: Option<u64>,
    streak: Option<i32>,
}

impl ObservationShown {
    fn of(opinion: &Opinion, view: &NodeView, own: Option<&Observation>) -> Self {
        let heard = &opinion.heard;
        Self {
            observer: opinion.peer.clone(),
            node: view.node.id.clone(),
            vote: heard.vote,
            reached_before: heard.reached_before,
            ejected: heard.ejected,
            latency_ms: heard.latency.map(ms),
            in_flight: opinion.in_flight,
            fresh: opinion.fresh,
            doubtful: opinion.doubtful,
            last_result: own.map(|own| own.last_result.clone()),
            checks_total: own.map(|own| own.checks_total),
            streak: own.map(|own| own.streak),
        }
    }
}

/// The names of the classes of answers, in the order of their counts.
pub(super) const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// Milliseconds, to the microsecond.
pub(super) fn ms(time: Duration) -> f64 {
    rounded(time.as_secs_f64() * 1_000.0)
}

fn rounded(number: f64) -> f64 {
    (number * 1_000.0).round() / 1_000.0
}
