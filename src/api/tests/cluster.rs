//! What is shown of the cluster.

use super::*;
use crate::model::ClusterId;

/// A link that is as it is said to be. The API asks it for nothing else.
#[derive(Debug)]
struct Standing(Links);

impl Link for Standing {
    fn send(&self, _: To, _: Channel, _: bytes::Bytes) {
        unreachable!("the API sends nothing");
    }

    fn ask(&self, _: PeerId, _: bytes::Bytes, _: Duration) -> Waiting<'_, Result<bytes::Bytes, AskError>> {
        unreachable!("the API asks nobody");
    }

    fn known(&self) -> Links {
        self.0.clone()
    }

    fn events(&self) -> Events {
        unreachable!("the API waits for nothing");
    }

    fn set_cluster_id(&self, _: ClusterId) {
        unreachable!("the API does not name clusters");
    }

    fn forget(&self, _: &PeerId) {
        unreachable!("the API forgets nobody");
    }

    fn close(&self) -> Waiting<'_, ()> {
        unreachable!("the API closes no link");
    }
}

/// The peer of [`handles`] in a cluster: `fra-1` alive with a link, `waw-1` dead, and somebody with another key refused.
pub(super) fn in_cluster() -> Handles {
    let now = host::now();
    let row = |id: &str, state| PeerRow {
        id: id.parse().unwrap(),
        region: Some("eu-west".parse().unwrap()),
        state,
        address: "10.0.0.2:7940".parse().unwrap(),
        api: Some("127.0.0.1:8080".into()),
        software: Some("evenkeel 0.1.0".into()),
        catalog: None,
        incarnation: 7,
        heard: now,
        leaving: false,
    };
    let mut counts = Counts::default();
    counts.refusals[Refusal::WrongKey as usize] = 3;
    let gossip = &mut counts.channels[Channel::Gossip as usize];
    (gossip.sent, gossip.late) = (7, 2);
    let links = Links {
        peers: vec![PeerLink {
            id: "fra-1".parse().unwrap(),
            region: "eu-west".parse().unwrap(),
            address: "10.0.0.2:7940".parse().unwrap(),
            incarnation: 7,
            software: "evenkeel 0.1.0".into(),
            state: LinkState::Up,
            since: now,
            dropped: 2,
            rtt: Some(Duration::from_micros(1_250)),
            bytes_sent: 10,
            bytes_received: 20,
            datagrams_received: 3,
        }],
        refusals: vec![SeenRefusal {
            reason: Refusal::WrongKey,
            address: "10.0.0.9:5000".parse().unwrap(),
            by_other: false,
            count: 3,
            last: now,
        }],
        counts,
    };
    let peers = Arc::new(vec![row("fra-1", PeerState::Alive), row("waw-1", PeerState::Dead)]);
    let cluster = ClusterHandles {
        name: "prod".parse().unwrap(),
        preset: crate::model::Preset::Lan,
        advertise: "10.0.0.1:7940".parse().unwrap(),
        api: "127.0.0.1:8080".into(),
        incarnation: 3,
        link: Arc::new(Standing(links)),
        peers: watch::channel(peers).1,
        gossip: Arc::<gossip::Counts>::default(),
    };
    Handles { cluster: Some(cluster), ..handles() }
}

/// Takes out what a clock put in; it must be there and small.
fn without_times(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                if ["last_heard_ms", "since_ms", "last_ms_ago"].contains(&key.as_str()) && !value.is_null() {
                    assert!(value.as_u64().is_some_and(|ms| ms < 60_000), "{key}: {value}");
                    *value = json!("lately");
                }
                without_times(value);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(without_times),
        _ => {}
    }
}

#[tokio::test]
async fn the_shape_of_peers() {
    let (status, mut peers) = json_of(&in_cluster(), "/api/v1/peers").await;
    assert_eq!(status, StatusCode::OK);
    without_times(&mut peers);
    let own = concat!("evenkeel ", env!("CARGO_PKG_VERSION"));
    let fra = json!({
        "id": "fra-1", "region": "eu-west", "state": "alive", "this": false, "addresses": ["10.0.0.2:7940"],
        "api": "127.0.0.1:8080", "software": "evenkeel 0.1.0", "incarnation": 7, "leaving": false, "doubtful": false,
        "catalog_version": null, "last_heard_ms": "lately",
        "link": {"state": "up", "since_ms": "lately", "rtt_ms": 1.25, "bytes_sent": 10, "bytes_received": 20,
                 "messages_dropped": 2},
        "refused": null
    });
    let waw = json!({
        "id": "waw-1", "region": "eu-west", "state": "dead", "this": false, "addresses": ["10.0.0.2:7940"],
        "api": "127.0.0.1:8080", "software": "evenkeel 0.1.0", "incarnation": 7, "leaving": false, "doubtful": false,
        "catalog_version": null, "last_heard_ms": "lately", "link": null, "refused": null
    });
    let expected = json!({
        "items": [
            {"id": null, "region": null, "state": "refused", "this": false, "addresses": ["10.0.0.9:5000"], "api": null,
             "software": null, "incarnation": null, "leaving": false, "doubtful": false, "catalog_version": null,
             "last_heard_ms": "lately", "link": null,
             "refused": {"reason": "wrong_key", "hint": Refusal::WrongKey.hint(), "by": "this", "count": 3,
                         "last_ms_ago": "lately"}},
            {"id": "ams-1", "region": "default", "state": "alive", "this": true, "addresses": ["10.0.0.1:7940"],
             "api": "127.0.0.1:8080", "software": own, "incarnation": 3, "leaving": false, "doubtful": false,
             "catalog_version": null, "last_heard_ms": null, "link": null, "refused": null},
            fra, waw,
        ],
        "next": null, "as_of": "now", "missing_peers": ["waw-1"]
    });
    assert_eq!(peers, expected);
    assert_eq!(json_of(&in_cluster(), "/api/v1/peers/fra-1").await.1["link"]["state"], "up");
    let (status, unknown) = json_of(&in_cluster(), "/api/v1/peers/fra-2").await;
    assert_eq!((status, &unknown["error"]["code"]), (StatusCode::NOT_FOUND, &json!("unknown_peer")));
    assert_eq!(unknown["error"]["hint"], "did you mean fra-1?");
}

#[tokio::test]
async fn a_peer_without_a_cluster_shows_itself() {
    let (peers, _) = ids(&handles(), "/api/v1/peers").await;
    assert_eq!(peers, ["ams-1"]);
    let (_, cluster) = json_of(&handles(), "/api/v1/cluster").await;
    assert_eq!((&cluster["name"], &cluster["gossip"]), (&Value::Null, &Value::Null));
    assert_eq!(cluster["peers"], json!({"total": 1, "alive": 1, "suspect": 0, "dead": 0, "refused": 0}));
}

#[tokio::test]
async fn the_shape_of_the_cluster() {
    let handles = in_cluster();
    let (status, cluster) = json_of(&handles, "/api/v1/cluster").await;
    let expected = json!({
        "name": "prod", "preset": "lan", "peer": "ams-1",
        "peers": {"total": 3, "alive": 2, "suspect": 0, "dead": 1, "refused": 1},
        "doubtful": [], "nodes": {"total": 4, "usable": 2, "up": 2, "degraded": 0, "down": 1, "unknown": 1},
        "disagreements": [], "disagreements_unlisted": 0,
        "gossip": {
            "messages_sent_total": 0, "sent_bytes_total": 0, "messages_received_total": 0, "received_bytes_total": 0,
            "rounds_over_budget_total": 0, "unreadable_total": 0, "refused_total": 0, "left_out_total": 0,
            "values_unreadable_total": 0, "peers_refused_total": 0
        },
        "as_of": "now", "missing_peers": ["waw-1"]
    });
    assert_eq!((status, cluster), (StatusCode::OK, expected));
}

#[tokio::test]
async fn a_node_on_which_peers_disagree_is_named_with_who_says_what() {
    let handles = in_cluster();
    let pools = || vec![pool("web", vec![node("web-1", 8_001)])];
    let own = Member { id: "ams-1".parse().unwrap(), region: RegionName::default() };
    let other = Member { id: "fra-1".parse().unwrap(), region: RegionName::default() };
    let fra: PeerId = "fra-1".parse().unwrap();
    let now = host::now();
    let first = view::first(&Catalog::new(pools()).unwrap(), Arc::new(Members::new(own, [other])), now);
    let key = first.node(&"web-1".parse().unwrap()).unwrap().1.key;
    let heard = crate::model::Heard { vote: Some(Health::Down), reached_before: true, latency: None, ejected: true };
    let mut changes = Changes::default();
    for event in [
        observed(&node("web-1", 8_001), Health::Up),
        Event::OwnSwept { at: now },
        Event::Heard { observer: fra.clone(), page: 0, nodes: vec![(key, heard)] },
        Event::Swept { observer: fra, at: now },
    ] {
        changes.add(&first, event);
    }
    handles.view.store(Arc::new(first.after(changes, now)));
    let (_, cluster) = json_of(&handles, "/api/v1/cluster").await;
    let expected = json!([{"node": "web-1", "up": ["ams-1"], "degraded": [], "down": ["fra-1"]}]);
    assert_eq!(cluster["disagreements"], expected);
    let (_, seen) = json_of(&handles, "/api/v1/nodes/web-1/observations").await;
    assert_eq!(seen["items"][1]["observer"], "fra-1");
    assert_eq!((&seen["items"][1]["ejected"], &seen["items"][1]["last_result"]), (&json!(true), &Value::Null));
}

#[tokio::test]
async fn a_node_that_this_peer_cannot_reach_is_ejected_here_whatever_traffic_met() {
    let handles = handles();
    handles.view.store(view_of(
        vec![pool("web", vec![node("web-1", 8_001), node("web-2", 8_002)])],
        vec![observed(&node("web-1", 8_001), Health::Down), observed(&node("web-2", 8_002), Health::Up)],
    ));
    for (node, local) in [("web-1", "ejected"), ("web-2", "admitted")] {
        let (_, shown) = json_of(&handles, &format!("/api/v1/nodes/{node}")).await;
        assert_eq!(shown["state"]["local"], local, "{node}");
    }
}

#[tokio::test]
async fn a_peer_of_several_without_a_leader_is_degraded_and_takes_traffic() {
    let handles = in_cluster();
    for path in ["/api/health", "/api/health/detailed"] {
        let (status, health) = json_of(&handles, path).await;
        let reasons = health["reasons"].as_array().unwrap();
        let reason = reasons.iter().find(|reason| reason["code"] == "nobody_leads").unwrap();
        assert!(reason["message"].as_str().unwrap().contains("traffic goes on"), "{reason}");
        assert_eq!((status, &health["status"], &health["ready"]), (StatusCode::OK, &json!("degraded"), &json!(true)));
    }
    let (_, report) = json_of(&handles, "/api/health/detailed").await;
    assert_eq!((&report["leader"]["leader"], &report["catalog"]["revision"]), (&Value::Null, &Value::Null));
    let page = body(ask(&handles, get("/metrics")).await).await;
    for line in ["evenkeel_election_leader_known 0.0", "evenkeel_electors 0.0", "evenkeel_catalog_revision 0.0"] {
        assert!(page.lines().any(|said| said == line), "{line}: {page}");
    }
}
