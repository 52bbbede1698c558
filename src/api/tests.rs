//! The shapes that programs rely on, asked of the whole router; and the API as a real child on a real socket.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Method, Request, StatusCode, header};
use axum::response::Response;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{mpsc, watch};
use tower::ServiceExt;

use super::router::router;
use crate::catalog::{self, CatalogHandle};
use crate::driver::Executor;
use crate::election;
use crate::failover;
use crate::geo::GeoCell;
use crate::gossip::{self, PeerRow};
use crate::host::{self, DataFolder, Dice};
use crate::limit::Limiter;
use crate::link::{
    AskError, Channel, Counts, Events, KeyRing, Link, LinkState, Links, PeerLink, SeenRefusal, To, Waiting,
};
use crate::model::limits::{API_BODY_BYTES_MAX, API_CONNECTIONS_MAX};
use crate::model::{
    Action, Catalog, CatalogParts, Conditions, Health, Member, Members, Node, NodeId, NodeKey, Observation, PeerId,
    PeerState, Per, Pool, PoolName, RateLimit, RegionName, Route, Weight,
};
use crate::peer::supervise::{Board, ChildState, ChildStatus, Supervisor};
use crate::peer::{Agreed, BoundListener, ClusterHandles, Handles, Readiness};
use crate::proxy::access_log::AccessLog;
use crate::proxy::explain::{Beside, Explainer};
use crate::proxy::{CookieKeys, CookieKeysCell};
use crate::view::{self, Changes, Event, View, ViewCell};
use crate::wire::Refusal;

mod cluster;

use cluster::in_cluster;

fn node(id: &str, port: u16) -> Node {
    Node::new(id.parse::<NodeId>().unwrap(), std::net::SocketAddr::from(([10, 0, 0, 1], port)).into())
}

fn pool(name: &str, nodes: Vec<Node>) -> Pool {
    let mut pool = Pool::new(name.parse::<PoolName>().unwrap());
    pool.nodes = nodes;
    pool
}

fn observed(node: &Node, vote: Health) -> Event {
    let observation = Observation {
        vote: Some(vote),
        reached_before: vote == Health::Up,
        latency: Some(Duration::from_micros(1_500)),
        last_result: "ok 200 in 1.5 ms".into(),
        checks_total: 7,
        streak: 4,
    };
    Event::Observed { node: NodeKey::of(&node.id, &node.address), observation }
}

/// The view of these pools after these observations.
fn view_of(pools: Vec<Pool>, events: Vec<Event>) -> Arc<View> {
    let now = host::now();
    let own = Member { id: "ams-1".parse().unwrap(), region: RegionName::default() };
    let view = view::first(&Catalog::new(pools).unwrap(), Arc::new(Members::alone(own)), now);
    let mut changes = Changes::default();
    for event in events {
        changes.add(&view, event);
    }
    Arc::new(view.after(changes, now))
}

/// A peer with pool `web` of `web-1` up, `web-2` down and `web-3` unknown, and pool `api` of `api-1` up.
fn handles() -> Handles {
    let mut handles = empty();
    let mut first = node("web-1", 8_001);
    first.weight = Weight::new(3).unwrap();
    first.region = Some("eu-west".parse::<RegionName>().unwrap());
    let web = pool("web", vec![first, node("web-2", 8_002), node("web-3", 8_003)]);
    let pools = vec![web, pool("api", vec![node("api-1", 9_001)])];
    handles.agreed = agreed(Catalog::new(pools.clone()).unwrap());
    let view = view_of(
        pools,
        vec![
            observed(&node("web-1", 8_001), Health::Up),
            observed(&node("web-2", 8_002), Health::Down),
            observed(&node("api-1", 9_001), Health::Up),
        ],
    );
    let counts = |id: &str| view.node(&id.parse().unwrap()).map(|(_, node)| Arc::clone(&node.live)).unwrap();
    let first = counts("web-1");
    first.counts.requests.store(12, Relaxed);
    first.counts.answers[1].store(11, Relaxed);
    first.counts.answers[4].store(1, Relaxed);
    counts("web-2").suspect();
    handles.view.store(view);
    handles.readiness.set_checked();
    handles.children.add(child("view", ChildState::Running));
    handles
}

fn cookie_keys() -> CookieKeysCell {
    CookieKeys::of(&KeyRing::of_loopback(&"evenkeel".parse().unwrap())).into()
}

fn empty() -> Handles {
    let view = ViewCell::new(Arc::unwrap_or_clone(view_of(Vec::new(), Vec::new())));
    let limiter = Arc::new(Limiter::new(std::hash::RandomState::new(), host::now()));
    Handles {
        id: "ams-1".parse().unwrap(),
        region: RegionName::default(),
        explainer: Explainer::new(
            watch::channel(Arc::from([])).1,
            view.clone(),
            Beside { cookie_keys: cookie_keys(), geo: GeoCell::default(), limiter: Arc::clone(&limiter) },
        ),
        limiter,
        view,
        started: host::now(),
        listeners: watch::channel::<Arc<[_]>>(Arc::new([BoundListener {
            name: "front".parse().unwrap(),
            address: "127.0.0.1:8000".parse().unwrap(),
            protocol: "http",
            pool: "web".parse().unwrap(),
            counts: Arc::default(),
            failures: Arc::default(),
            log: Some(AccessLog::to_nowhere()),
        }]))
        .1
        .into(),
        tls: crate::tls::ClientConfigs::trusting([]).unwrap().into(),
        children: Board::default(),
        readiness: Readiness::default(),
        agreed: agreed(Catalog::default()),
        cluster: None,
    }
}

/// A peer that serves by its own file, and whose elector and catalog do not answer.
fn agreed(catalog: Catalog) -> Agreed {
    let folder = tempfile::tempdir().unwrap();
    let file = Arc::new(catalog::Object::new());
    let source = catalog::Source::File { desired: Arc::clone(&file) };
    let applied = catalog::Applied { source, catalog: Arc::new(catalog), warnings: Arc::default(), behind: None };
    let ((_, standing), _) = election::Arguments::channels();
    let parts = catalog::Parts {
        own: "ams-1".parse().unwrap(),
        link: None,
        standing,
        applied: watch::channel(Arc::new(applied)).1,
        asked: mpsc::channel(1).0,
        elector: mpsc::channel(1).0,
        store: Arc::new(election::Store::new(folder.path().to_path_buf())),
        versions: catalog::Versions::new(folder.path().to_path_buf()),
    };
    let handle = CatalogHandle::new(parts);
    let members = Arc::new(Members::alone(Member { id: "ams-1".parse().unwrap(), region: RegionName::default() }));
    let failover = failover::FailoverHandle::new(failover::Parts {
        own: "ams-1".parse().unwrap(),
        link: None,
        catalog: handle.clone(),
        executor: Executor::new(BTreeMap::new(), folder.path().join("driver"), Dice::from_seed(1)),
        view: ViewCell::new(view::first(&Catalog::default(), members, host::now())),
        asked: mpsc::channel(1).0,
        events: crate::telemetry::events::Events::default(),
    });
    Agreed {
        catalog: handle,
        failover,
        founding: watch::channel(None).1,
        follow_file: false,
        file: watch::channel(file).1,
        data_folder: DataFolder::take(folder.path()).unwrap(),
    }
}

fn child(name: &str, state: ChildState) -> ChildStatus {
    let failed = matches!(state, ChildState::Restarting | ChildState::GivenUp);
    let last_failure = failed.then(|| "out of ideas".to_owned());
    ChildStatus { name: name.into(), state, critical: name == "view", restarts: 0, last_failure }
}

async fn ask(handles: &Handles, request: Request<Body>) -> Response {
    router(handles.clone()).oneshot(request).await.unwrap()
}

fn get(path: &str) -> Request<Body> {
    Request::get(path).header(header::HOST, "localhost:8080").body(Body::empty()).unwrap()
}

async fn body(response: Response) -> String {
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Status and JSON, with the moment taken out.
async fn json_of(handles: &Handles, path: &str) -> (StatusCode, Value) {
    let response = ask(handles, get(path)).await;
    let status = response.status();
    let mut value: Value = serde_json::from_str(&body(response).await).unwrap();
    for moment in ["as_of", "started_at"] {
        if let Some(moment) = value.get_mut(moment) {
            assert!(moment.as_str().is_some_and(|text| text.ends_with('Z')), "{moment}");
            *moment = json!("now");
        }
    }
    (status, value)
}

async fn ids(handles: &Handles, path: &str) -> (Vec<String>, Value) {
    let (status, list) = json_of(handles, path).await;
    assert_eq!(status, StatusCode::OK, "{path}: {list}");
    let ids = list["items"].as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap().to_owned());
    (ids.collect(), list["next"].clone())
}

#[tokio::test]
async fn the_shape_of_a_node() {
    let (status, node) = json_of(&handles(), "/api/v1/nodes/web-1").await;
    assert_eq!(status, StatusCode::OK);
    let expected = json!({
        "id": "web-1", "pool": "web", "region": "eu-west", "address": "10.0.0.1:8001", "addresses": ["10.0.0.1:8001"],
        "server": null, "weight": 3, "effective_weight": 3.0, "backup": false,
        "state": {"admin": "enabled", "run": "running", "verdict": "up", "local": "admitted"},
        "health_score": 100.0, "band": "excellent", "latency_ms": 1.5, "response_ms": null,
        "connections": 0, "max_connections": 1024, "in_flight": 0, "cpu_percent": null, "memory_mb": null, "labels": {},
        "totals": {
            "requests": 12, "answers": {"1xx": 0, "2xx": 11, "3xx": 0, "4xx": 0, "5xx": 1}, "connections": 0,
            "connect_failures": 0, "exchange_failures": 0, "timeouts": 0, "bytes_sent": 0, "bytes_received": 0
        },
        "drain": null, "desired": null
    });
    assert_eq!(node, expected);
    let (_, down) = json_of(&handles(), "/api/v1/nodes/web-2").await;
    assert_eq!(down["state"], json!({"admin": "enabled", "run": "running", "verdict": "down", "local": "ejected"}));
    assert_eq!(down["region"], "default", "a node that names no region is in the peer's");
}

#[tokio::test]
async fn the_shape_of_pools_and_observations() {
    let (_, pools) = json_of(&handles(), "/api/v1/pools").await;
    let idle = json!({"in_flight": 0, "waiting": 0, "retries_total": 0, "retries_refused_total": 0});
    let mut expected = json!({
        "items": [
            {"name": "api", "strategy": "health_score", "check": "tcp", "listeners": [],
             "nodes": {"total": 1, "usable": 1, "up": 1, "degraded": 0, "down": 0, "unknown": 0}},
            {"name": "web", "strategy": "health_score", "check": "tcp", "listeners": ["front"],
             "nodes": {"total": 3, "usable": 1, "up": 1, "degraded": 0, "down": 1, "unknown": 1}},
        ],
        "next": null, "as_of": "now", "missing_peers": []
    });
    for pool in expected["items"].as_array_mut().unwrap() {
        pool.as_object_mut().unwrap().extend(idle.as_object().unwrap().clone());
    }
    assert_eq!(pools, expected);

    let (_, seen) = json_of(&handles(), "/api/v1/nodes/web-2/observations").await;
    let observation = json!({
        "observer": "ams-1", "node": "web-2", "vote": "down", "reached_before": false, "ejected": true, "latency_ms": 1.5,
        "in_flight": 0, "fresh": true, "doubtful": false, "last_result": "ok 200 in 1.5 ms", "checks_total": 7, "streak": 4
    });
    assert_eq!(seen, json!({"items": [observation], "next": null, "as_of": "now", "missing_peers": []}));
    let (_, unseen) = json_of(&handles(), "/api/v1/nodes/web-3/observations").await;
    assert_eq!(unseen["items"][0]["vote"], Value::Null);
    assert_eq!(unseen["items"][0]["latency_ms"], Value::Null);
}

#[tokio::test]
async fn lists_are_sorted_filtered_and_paged() {
    let handles = handles();
    assert_eq!(ids(&handles, "/api/v1/nodes").await.0, ["api-1", "web-1", "web-2", "web-3"]);
    assert_eq!(ids(&handles, "/api/v1/nodes?pool=web").await.0, ["web-1", "web-2", "web-3"]);
    let (page, next) = ids(&handles, "/api/v1/nodes?limit=3").await;
    assert_eq!((page.len(), next), (3, json!("web-2")));
    let (page, next) = ids(&handles, "/api/v1/nodes?limit=3&after=web-2").await;
    assert_eq!((page, next), (vec!["web-3".to_owned()], Value::Null));
    let (page, next) = ids(&handles, "/api/v1/nodes?limit=4").await;
    assert_eq!((page.len(), next), (4, Value::Null));
    assert_eq!(ids(&handles, "/api/v1/nodes?after=zzz").await.0, [""; 0]);
}

#[tokio::test]
async fn a_wrong_question_is_refused_with_what_is_wrong_and_what_to_do() {
    let handles = handles();
    for (path, status, code, hint) in [
        ("/api/v1/node", 404, "no_path", "did you mean /api/v1/nodes?"),
        ("/", 404, "no_path", "paths are /health"),
        ("/api/v1/nodes/web-9", 404, "unknown_node", "did you mean web-"),
        ("/api/v1/nodes/Nothing%20like%20it", 404, "unknown_node", "/api/v1/nodes lists every node"),
        ("/api/v1/nodes?pool=wep", 404, "unknown_pool", "did you mean web?"),
        ("/api/v1/nodes?pol=web", 400, "unknown_query", "did you mean pool?"),
        ("/api/v1/nodes?color=red", 400, "unknown_query", "this path takes pool, limit, after"),
        ("/metrics?x", 400, "unknown_query", "this path takes no query"),
        ("/health?x=1", 400, "unknown_query", "this path takes no query"),
        ("/api/v1/nodes?limit=0", 400, "bad_query", "use 1 to 1000"),
        ("/api/v1/nodes?limit=1001", 400, "bad_query", "use 1 to 1000"),
        ("/api/v1/nodes?limit=ten", 400, "bad_query", "use 1 to 1000"),
        ("/api/v1/nodes?limit=1&limit=2", 400, "bad_query", "write it once"),
        ("/api/v1/nodes/%ff", 400, "bad_request", "check method, path and fields"),
    ] {
        let (got, error) = json_of(&handles, path).await;
        assert_eq!(got.as_u16(), status, "{path}: {error}");
        assert_eq!(error["error"]["code"], code, "{path}");
        assert!(error["error"]["hint"].as_str().unwrap().starts_with(hint), "{path}: {error}");
        assert!(!error["error"]["message"].as_str().unwrap().is_empty());
    }
}

#[tokio::test]
async fn refusals_made_below_the_handlers_have_the_same_form() {
    let handles = handles();
    let request = Request::post("/api/v1/peers").header(header::HOST, "localhost").body(Body::empty()).unwrap();
    let response = ask(&handles, request).await;
    assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(response.headers()[header::ALLOW], "GET,HEAD");
    let refusal: Value = serde_json::from_str(&body(response).await).unwrap();
    let expected = json!({
        "code": "method_not_allowed", "message": "POST is not allowed at /api/v1/peers", "hint": "use GET or HEAD"
    });
    assert_eq!(refusal["error"], expected);

    let request = Request::get("/health")
        .header(header::HOST, "localhost")
        .header(header::CONTENT_LENGTH, (API_BODY_BYTES_MAX + 1).to_string());
    let response = ask(&handles, request.body(Body::empty()).unwrap()).await;
    assert_eq!(response.status(), StatusCode::PAYLOAD_TOO_LARGE);
    assert!(body(response).await.contains("\"body_too_large\""));
}

#[tokio::test]
async fn another_host_than_this_machine_is_refused() {
    let handles = handles();
    for (host, status) in [("evil.example", 403), ("evil.example:8080", 403), ("127.0.0.1:8080", 200), ("[::1]", 200)] {
        let request = Request::get("/health").header(header::HOST, host).body(Body::empty()).unwrap();
        assert_eq!(ask(&handles, request).await.status().as_u16(), status, "{host}");
    }
    let absolute = Request::get("http://evil.example/health").header(header::HOST, "localhost");
    assert_eq!(ask(&handles, absolute.body(Body::empty()).unwrap()).await.status(), StatusCode::FORBIDDEN);
    let none = ask(&handles, Request::get("/health").body(Body::empty()).unwrap()).await;
    assert_eq!(none.status(), StatusCode::BAD_REQUEST);
    assert!(body(none).await.contains("\"no_host\""));
}

#[tokio::test]
async fn head_is_answered_like_get_without_the_body() {
    let mut request = get("/api/v1/nodes");
    *request.method_mut() = Method::HEAD;
    let response = ask(&handles(), request).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(body(response).await, "");
}

#[tokio::test]
async fn health_says_ready_or_why_not() {
    let handles = empty();
    assert_eq!(
        json_of(&handles, "/health").await,
        (StatusCode::SERVICE_UNAVAILABLE, json!({"status": "not_ready", "reason": "starting"}))
    );
    handles.readiness.set_checked();
    assert_eq!(json_of(&handles, "/health").await, (StatusCode::OK, json!({"status": "ready", "reason": null})));
    handles.readiness.set_draining();
    assert_eq!(json_of(&handles, "/health").await.1["reason"], "draining");
}

#[tokio::test]
async fn a_peer_that_lost_a_part_it_cannot_do_without_wants_no_traffic() {
    for (name, state, code, reason) in [
        ("api", ChildState::GivenUp, 200, Value::Null),
        ("view", ChildState::Restarting, 200, Value::Null),
        ("view", ChildState::GivenUp, 503, json!("part_given_up")),
    ] {
        let handles = handles();
        handles.children.add(child(name, state));
        let (status, health) = json_of(&handles, "/health").await;
        assert_eq!((status.as_u16(), &health["reason"]), (code, &reason), "{name} {state:?}");
        let (_, report) = json_of(&handles, "/api/health").await;
        assert_eq!(report["ready"], code == 200, "{name} {state:?}");
        let page = body(ask(&handles, get("/metrics")).await).await;
        assert!(
            page.contains(if code == 200 { "evenkeel_ready 1.0" } else { "evenkeel_ready 0.0" }),
            "{name} {state:?}"
        );
    }
}

#[tokio::test]
async fn all_is_well_until_a_pool_or_a_child_is_not() {
    let handles = handles();
    let well = json!({
        "status": "healthy", "ready": true, "reasons": [], "pools_total": 2, "pools_without_usable_nodes": [],
        "children_given_up": []
    });
    assert_eq!(json_of(&handles, "/api/health").await, (StatusCode::OK, well));

    let dead = || pool("dead", vec![node("dead-1", 1), node("dead-2", 2)]);
    handles.view.store(view_of(
        vec![pool("web", vec![node("web-1", 3)]), dead()],
        vec![observed(&node("web-1", 3), Health::Degraded), observed(&node("dead-1", 1), Health::Down)],
    ));
    let (status, health) = json_of(&handles, "/api/health").await;
    assert_eq!((status, &health["status"]), (StatusCode::OK, &json!("degraded")));
    assert_eq!(health["pools_without_usable_nodes"], json!(["dead"]));
    let reason = json!([{"code": "pool_without_usable_nodes", "message": "no node of pool dead is usable"}]);
    assert_eq!(health["reasons"], reason);

    handles.view.store(view_of(vec![dead()], vec![observed(&node("dead-1", 1), Health::Down)]));
    let (status, health) = json_of(&handles, "/api/health").await;
    assert_eq!((status, &health["status"]), (StatusCode::SERVICE_UNAVAILABLE, &json!("unhealthy")));
}

#[tokio::test]
async fn a_child_given_up_degrades_and_a_critical_one_makes_unhealthy() {
    for (name, state, status, code) in [
        ("api", ChildState::Running, "healthy", 200),
        ("api", ChildState::Restarting, "degraded", 200),
        ("api", ChildState::GivenUp, "degraded", 200),
        ("view", ChildState::Restarting, "degraded", 200),
        ("view", ChildState::GivenUp, "unhealthy", 503),
    ] {
        let handles = handles();
        handles.children.add(child(name, state));
        for path in ["/api/health", "/api/health/detailed"] {
            let (got, health) = json_of(&handles, path).await;
            assert_eq!((got.as_u16(), health["status"].as_str()), (code, Some(status)), "{name} {state:?}");
            assert_eq!(
                health["children_given_up"].as_array().unwrap().len(),
                usize::from(state == ChildState::GivenUp)
            );
        }
    }
}

#[tokio::test]
async fn the_detailed_report_shows_peer_children_listeners_and_pools() {
    let handles = handles();
    handles.listeners.now()[0].failures.no_node.store(3, Relaxed);
    let (status, report) = json_of(&handles, "/api/health/detailed").await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(report["peer"], json!({"id": "ams-1", "region": "default", "version": env!("CARGO_PKG_VERSION")}));
    let view = json!({"name": "view", "state": "running", "critical": true, "restarts": 0, "last_failure": null});
    assert_eq!(report["children"], json!([view]));
    let listener = &report["listeners"][0];
    assert_eq!((&listener["name"], &listener["address"]), (&json!("front"), &json!("127.0.0.1:8000")));
    assert_eq!(listener["counts"]["requests_total"], 0);
    assert_eq!(report["pools"][1]["nodes"]["down"], 1);
    assert_eq!(report["counts"]["timeouts_connect"], 0);
    assert_eq!(report["counts"]["no_node"], 3);
    assert!(report["uptime_seconds"].is_u64());
}

/// Gives the peer a route `api` with a limit.
fn limit(handles: &Handles) {
    let view = handles.view.load();
    let rate = RateLimit::new(Per::Route, "1/s".parse().unwrap(), std::num::NonZeroU32::MIN, 429).unwrap();
    let then = Action { rate_limit: Some(rate), ..Action::default() };
    let route = Route { name: "api".parse().unwrap(), priority: 1, enabled: true, when: Conditions::default(), then };
    let pools = view.pools().map(|pool| Pool::clone(&pool.pool)).collect();
    let catalog = Catalog::of(CatalogParts { pools, routes: vec![route], ..CatalogParts::default() }).unwrap();
    let mut changes = Changes::default();
    changes.add(&view, Event::Catalog(Arc::new(catalog)));
    handles.view.store(Arc::new(view.after(changes, host::now())));
}

#[tokio::test]
async fn a_scrape_shows_every_metric_and_no_other() {
    let handles = in_cluster();
    let front = &handles.listeners.now()[0];
    front.failures.timeouts_head.store(5, Relaxed);
    front.failures.timeouts_connect.store(4, Relaxed);
    front.failures.no_node.store(3, Relaxed);
    front.counts.bytes_sent.store(2, Relaxed);
    let view = handles.view.load();
    let (_, node) = view.node(&"web-1".parse().unwrap()).unwrap();
    node.live.note_response_time(Duration::from_millis(2));
    limit(&handles);
    handles.view.load().routes().entries()[0].limited.by_rate.store(6, Relaxed);
    let response = ask(&handles, get("/metrics")).await;
    assert!(response.headers()[header::CONTENT_TYPE].to_str().unwrap().starts_with("application/openmetrics-text"));
    let page = body(response).await;
    assert!(page.ends_with("# EOF\n"));

    let samples = page.lines().filter(|line| !line.starts_with('#'));
    let mut shown: Vec<_> = samples.map(|line| line.split(['{', ' ']).next().unwrap()).collect();
    shown.dedup();
    let known: Vec<_> = crate::telemetry::metrics::ALL.iter().map(|metric| metric.name).collect();
    let (mut sorted, mut sorted_known) = (shown.clone(), known);
    sorted.sort_unstable();
    sorted_known.sort_unstable();
    assert_eq!(sorted, sorted_known, "each once, so all samples of one stand together");

    for line in [
        "evenkeel_requests_limited_total{route=\"api\",limit=\"rate\"} 6.0",
        "evenkeel_node_up{pool=\"web\",node=\"web-1\"} 1.0",
        "evenkeel_node_up{pool=\"web\",node=\"web-2\"} 0.0",
        "evenkeel_node_requests_total{pool=\"web\",node=\"web-1\"} 12.0",
        "evenkeel_node_answers_total{pool=\"web\",node=\"web-1\",class=\"2xx\"} 11.0",
        "evenkeel_node_latency_seconds{pool=\"web\",node=\"web-1\"} 0.0015",
        "evenkeel_pool_nodes{pool=\"web\",verdict=\"unknown\"} 1.0",
        "evenkeel_timeouts_total{listener=\"front\",pool=\"\",timeout=\"head\"} 5.0",
        "evenkeel_timeouts_total{listener=\"front\",pool=\"web\",timeout=\"connect\"} 4.0",
        "evenkeel_failures_total{listener=\"front\",pool=\"web\",kind=\"no_node\"} 3.0",
        "evenkeel_listener_sent_bytes_total{listener=\"front\"} 2.0",
        "evenkeel_node_received_bytes_total{pool=\"web\",node=\"web-1\"} 0.0",
        "# UNIT evenkeel_listener_sent_bytes bytes",
        "# UNIT evenkeel_node_latency_seconds seconds",
        "evenkeel_peers{state=\"alive\"} 2.0",
        "evenkeel_peers{state=\"dead\"} 1.0",
        "evenkeel_peers{state=\"refused\"} 1.0",
        "evenkeel_gossip_sent_bytes_total 0.0",
        "evenkeel_gossip_unreadable_total{what=\"value\"} 0.0",
        "evenkeel_gossip_refused_total{what=\"message\"} 0.0",
        "evenkeel_link_refused_total{reason=\"wrong_key\"} 3.0",
        "evenkeel_link_refused_total{reason=\"version\"} 0.0",
        "evenkeel_link_sent_messages_total{channel=\"gossip\"} 7.0",
        "evenkeel_link_received_bytes_total{channel=\"hint\"} 0.0",
        "evenkeel_link_dropped_messages_total{channel=\"gossip\",why=\"late\"} 2.0",
        "evenkeel_heard_dropped_total 0.0",
        "evenkeel_child_restarts_total{child=\"view\"} 0.0",
        "evenkeel_listener_requests_total{listener=\"front\"} 0.0",
    ] {
        assert!(page.lines().any(|shown| shown == line), "{line} is not in\n{page}");
    }
    assert!(!page.contains("evenkeel_node_latency_seconds{pool=\"web\",node=\"web-3\"}"), "never measured");
}

#[test]
fn every_count_of_a_listener_is_a_metric() {
    let counted: Vec<_> = crate::proxy::ListenerCounts::default().all().map(|(name, _)| name).collect();
    let shown: Vec<_> = crate::telemetry::metrics::OF_LISTENER.iter().map(|(name, _)| *name).collect();
    assert_eq!(counted, shown);
}

/// One request on a connection of its own.
async fn exchange(address: std::net::SocketAddr, head: &str) -> std::io::Result<String> {
    let mut stream = tokio::net::TcpStream::connect(address).await?;
    stream.write_all(head.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

#[tokio::test]
async fn the_api_answers_on_its_socket_and_again_after_it_was_killed_and_not_after_a_stop() {
    const READY: &str = "GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    let settings = super::Settings::new("127.0.0.1:0".parse().unwrap()).unwrap();
    let bound = super::bind(&settings).unwrap();
    let address = bound.address();
    let service = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let handles = Handles { children: Board::default(), ..handles() };
    let supervisor = Supervisor::start(handles.children.clone(), Dice::from_seed(1)).await.unwrap();
    supervisor.add(super::child(handles, bound, service.handle().clone())).await.unwrap();
    assert!(exchange(address, READY).await.unwrap().starts_with("HTTP/1.1 200"));

    assert!(supervisor.kill("api").await);
    // Who was being answered is cut off; who comes while nobody accepts waits in the backlog, as the socket stays bound.
    let mut tries = 0;
    while !exchange(address, READY).await.is_ok_and(|answer| answer.starts_with("HTTP/1.1 200")) {
        tries += 1;
        assert!(tries < 1_000, "it never answered again");
    }

    supervisor.stop().await;
    assert!(exchange(address, READY).await.is_err());
    service.shutdown_background();
}

/// Clients that ask for more than any buffer holds and read none of it.
async fn never_reading(address: std::net::SocketAddr, count: usize) -> Vec<tokio::net::TcpStream> {
    let questions = "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(2_000);
    let mut clients = Vec::new();
    for _ in 0..count {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4_096).unwrap();
        let client = socket.connect(address).await.unwrap();
        client.writable().await.unwrap();
        client.try_write(questions.as_bytes()).unwrap();
        clients.push(client);
    }
    clients
}

#[tokio::test]
async fn clients_that_never_read_hold_no_place_for_good_and_no_stop() {
    const PATIENCE: Duration = Duration::from_secs(30);
    const READY: &str = "GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    let bound = super::bind(&super::Settings::new("127.0.0.1:0".parse().unwrap()).unwrap()).unwrap();
    let address = bound.address();
    let (stop, stopped) = watch::channel(());
    let serving = tokio::spawn(super::serve::serve(bound.listener().unwrap(), router(handles()), stopped));
    let _holders = never_reading(address, API_CONNECTIONS_MAX).await;
    let answer = tokio::time::timeout(PATIENCE, exchange(address, READY)).await.expect("a place is free in the end");
    assert!(answer.unwrap().starts_with("HTTP/1.1 200"));

    let _holders = never_reading(address, 3).await;
    // Answered, so the others are being answered too.
    assert!(exchange(address, READY).await.unwrap().starts_with("HTTP/1.1 200"));
    stop.send(()).unwrap();
    let asked_to_stop = host::now();
    tokio::time::timeout(PATIENCE, serving).await.expect("it stops").unwrap();
    assert!(host::now() - asked_to_stop < Duration::from_secs(3), "before its actor would be killed");
}
