//! Traffic that is held away from a region, and comes back: of one that was lost, by operators, and for drills.

use cluster_tests::api::Request;
use cluster_tests::cluster::{Cluster, Shape, Special};
use cluster_tests::load::{Load, Plan, failures};
use cluster_tests::node::Behaviour;
use cluster_tests::wait::{PATIENCE, wait_for, wait_until};
use serde_json::{Value, json};

const HEALTH: &str =
    "{ type = \"http\", path = \"/health\", interval = \"250ms\", timeout = \"500ms\", rise = 1, fall = 2 }";

const POLICY: &str = "
[failover]
after = \"1s\"
stable = \"3s\"
step = \"1s\"
";

/// Two peers and a node in `us`, one of each in `eu`.
fn cluster() -> Option<Cluster> {
    let shape = Shape { peers: 3, nodes: 2, preset: "lan", health: Some(HEALTH) };
    let special = Special {
        peer_regions: vec!["us", "us", "eu"],
        node_regions: vec!["us", "eu"],
        catalog: POLICY,
        ..Special::default()
    };
    let cluster = Cluster::start_special(shape, special)?;
    cluster.wait_led(&[0, 1, 2]);
    cluster.wait_founded();
    cluster.wait_agreed(PATIENCE);
    Some(cluster)
}

fn load(cluster: &Cluster, peer: usize, path: &str) -> Load {
    let request = format!("GET {path} HTTP/1.1\r\nHost: shop.example\r\n\r\n");
    cluster.client().within(|| Load::start(&Plan { request, ..Plan::get(cluster.traffic(peer), 100) }))
}

/// Requests that this peer sent to a node.
fn served_by(cluster: &Cluster, peer: usize, node: &str) -> u64 {
    let totals = cluster.json(peer, &format!("/api/v1/nodes/{node}"))["totals"]["requests"].as_u64();
    totals.unwrap_or_default()
}

fn shifts(cluster: &Cluster, peer: usize) -> Vec<Value> {
    cluster.json(peer, "/api/v1/failover")["shifts"].as_array().cloned().expect("a list")
}

/// What happened to regions, and what stayed of their traffic.
fn told(cluster: &Cluster, peer: usize) -> Vec<(String, u64)> {
    let events = cluster.json(peer, "/api/v1/events?region=us");
    let of = |event: &Value| Some((event["kind"].as_str()?.to_owned(), event["stays_percent"].as_u64()?));
    events["items"].as_array().expect("a list").iter().filter_map(of).collect()
}

#[test]
fn a_region_that_was_lost_gets_its_traffic_back_in_steps_whoever_leads() {
    let Some(mut cluster) = cluster() else { return };
    let ((leader, _), _) = cluster.wait_led(&[0, 1, 2]);
    // One of the region's peers that does not lead, and the one that is left when the leader is gone.
    let peer = usize::from(leader == 0);
    let load = load(&cluster, peer, "/");
    wait_until("traffic at home", || served_by(&cluster, peer, "web-1") > 50);
    cluster.kill_node(0);
    wait_until("the shift", || shifts(&cluster, peer).iter().any(|shift| shift["kind"] == "lost"));
    cluster.start_node(0);
    wait_until("it to be up again", || cluster.sees_node(peer, 0).0 == "up");
    let (us, eu) = (served_by(&cluster, peer, "web-1"), served_by(&cluster, peer, "web-2"));
    wait_until("traffic elsewhere", || served_by(&cluster, peer, "web-2") > eu + 100);
    assert_eq!(served_by(&cluster, peer, "web-1"), us, "it is up, and not trusted yet");
    wait_until("the first step", || shifts(&cluster, peer).iter().any(|shift| shift["stays_percent"] == 10));
    cluster.kill_peer(leader);
    wait_until("the end of the shift", || shifts(&cluster, peer).is_empty());
    let us = served_by(&cluster, peer, "web-1");
    wait_until("traffic at home again", || served_by(&cluster, peer, "web-1") > us + 100);
    let expected = [
        ("shift_begun", 0),
        ("shift_turned", 10),
        ("shift_turned", 25),
        ("shift_turned", 50),
        ("shift_turned", 100),
        ("shift_ended", 100),
    ];
    assert_eq!(told(&cluster, peer), expected.map(|(kind, stays)| (kind.to_owned(), stays)));
    let outcomes = load.stop();
    let last: Vec<_> = outcomes.into_iter().rev().take(500).collect();
    assert_eq!(failures(&last, 5), [""; 0]);
}

#[test]
fn errors_while_a_regions_traffic_comes_back_take_it_back() {
    let Some(mut cluster) = cluster() else { return };
    let loads = [load(&cluster, 0, "/"), load(&cluster, 1, "/sometimes")];
    cluster.kill_node(0);
    wait_until("the shift", || !shifts(&cluster, 2).is_empty());
    cluster.start_node(0);
    cluster.order_node(0, "/sometimes", Behaviour::status(500));
    let (shift, _) = wait_for("it to be taken back", PATIENCE, || {
        shifts(&cluster, 2).into_iter().find(|shift| shift["taken_back"] == 1)
    });
    assert_eq!((&shift["stays_percent"], &shift["returning"]), (&json!(0), &json!(false)), "{shift}");
    assert!(shift["why"].as_str().is_some_and(|why| why.contains("answers were errors")), "{shift}");
    cluster.order_node(0, "/sometimes", Behaviour::default());
    wait_until("the end of the shift", || shifts(&cluster, 2).is_empty());
    loads.into_iter().for_each(|load| drop(load.stop()));
}

/// What became of the drills of the region, at a peer.
fn drills(cluster: &Cluster, peer: usize) -> Vec<Value> {
    let events = cluster.json(peer, "/api/v1/events?kind=drill_ended&region=us");
    events["items"].as_array().cloned().expect("a list")
}

#[test]
fn a_drill_holds_some_traffic_away_restores_itself_and_reports_at_any_peer() {
    let Some(mut cluster) = cluster() else { return };
    let load = load(&cluster, 0, "/");
    wait_until("traffic at home", || served_by(&cluster, 0, "web-1") > 50);
    assert_eq!(served_by(&cluster, 0, "web-2"), 0);
    let asked = json!({ "percent": 50, "duration": "10s" });
    let said = cluster.send(2, &Request::write("POST", "/api/v1/regions/us/drill", asked.clone()));
    assert_eq!(said.status, 200, "{:?}", said.json);
    let said = cluster.send(1, &Request::write("POST", "/api/v1/regions/eu/drill", asked));
    assert_eq!(said.status, 409, "one at a time: {:?}", said.json);
    wait_until("traffic elsewhere", || served_by(&cluster, 0, "web-2") > 50);
    let is_told = || (0..3).all(|peer| drills(&cluster, peer).len() == 1).then_some(());
    wait_for("what came of it, at every peer", 3 * PATIENCE, is_told);
    let drill = drills(&cluster, 1).remove(0);
    assert_eq!(drill["outcome"], "passed", "{drill}");
    let count = |key: &str| drill[key].as_u64().expect("a count");
    assert!(count("answers_here") > 100 && count("answers_elsewhere") > 100, "{drill}");
    assert_eq!((count("errors_here"), count("errors_elsewhere")), (0, 0), "{drill}");
    wait_until("no shift", || shifts(&cluster, 0).is_empty());
    let (us, eu) = (served_by(&cluster, 0, "web-1"), served_by(&cluster, 0, "web-2"));
    wait_until("traffic at home again", || served_by(&cluster, 0, "web-1") > us + 100);
    assert_eq!(served_by(&cluster, 0, "web-2"), eu, "nothing is elsewhere any more");
    assert_eq!(failures(&load.stop(), 5), [""; 0]);

    // One that is due begins by itself, and ends when the region that takes the traffic is lost.
    let minute = evenkeel::host::wall_now_ms() / 60_000 % 1_440;
    let at = format!("{:02}:{:02}", minute / 60, minute % 60);
    let region = json!({ "name": "us", "drill": { "at": at, "for": "1h", "to": "eu" } });
    let said = cluster.send(2, &Request::write("PUT", "/api/v1/regions/us", region));
    assert_eq!(said.status, 201, "{:?}", said.json);
    wait_until("the drill", || shifts(&cluster, 0).iter().any(|shift| shift["kind"] == "drill"));
    let status = cluster.json(0, "/api/v1/failover")["drills"][0].clone();
    assert!(status["region"] == "us" && status["next"].is_string(), "{status}");
    assert_eq!(status["last"]["outcome"], Value::Null, "{status}");
    cluster.kill_node(1);
    wait_until("its end", || drills(&cluster, 0).len() == 2);
    let drill = drills(&cluster, 0).remove(1);
    assert_eq!(drill["outcome"], "stopped", "{drill}");
    assert!(drill["why"].as_str().is_some_and(|why| why.contains("region \"eu\"")), "{drill}");
    for (path, body, status) in [
        ("mars", json!({}), 404),
        ("us", json!({ "percent": 51 }), 422),
        ("us", json!({ "duration": "1s" }), 422),
        ("us", json!({ "to": "us" }), 409),
        ("us", json!({ "for": "1m" }), 422),
    ] {
        let said = cluster.send(0, &Request::write("POST", &format!("/api/v1/regions/{path}/drill"), body.clone()));
        assert_eq!(said.status, status, "{path} {body}: {:?}", said.json);
    }
}

#[test]
fn an_operator_holds_traffic_away_from_a_region_at_any_peer_and_gives_it_back() {
    let Some(cluster) = cluster() else { return };
    let load = load(&cluster, 0, "/");
    let by = |node| served_by(&cluster, 0, node);
    wait_until("traffic in the peer's own region", || by("web-1") > 50);
    assert_eq!(by("web-2"), 0);
    let asked = json!({ "from_region": "us", "to_region": "eu" });
    let said = cluster.send(2, &Request::write("POST", "/api/v1/lb/failover/trigger", asked));
    assert_eq!(said.status, 200, "{:?}", said.json);
    wait_until("traffic in the other region", || by("web-2") > 50);
    let shift = cluster.json(0, "/api/v1/failover")["shifts"][0].clone();
    assert_eq!(
        (&shift["region"], &shift["kind"], &shift["stays_percent"]),
        (&json!("us"), &json!("operator"), &json!(0))
    );
    assert!(shift["until"].is_string(), "{shift}");
    let (us, eu) = (by("web-1"), by("web-2"));
    wait_until("more of it", || by("web-2") > eu + 100);
    assert_eq!(by("web-1"), us, "nothing stays");
    let explained = cluster.json(0, "/api/v1/explain?url=http://shop.example/");
    assert!(explained.to_string().contains("region_shifted"), "{explained}");
    let said =
        cluster.send(1, &Request { body: None, ..Request::write("DELETE", "/api/v1/regions/us/shift", json!({})) });
    assert_eq!(said.status, 200, "{:?}", said.json);
    wait_until("traffic at home again", || by("web-1") > us + 50);
    assert_eq!(failures(&load.stop(), 5), [""; 0]);
    for (body, status) in [
        (json!({ "from_region": "mars" }), 404),
        (json!({ "from_region": "us", "to_region": "us" }), 409),
        (json!({ "from_region": "us", "duration": "1000d" }), 422),
        (json!({ "region": "us" }), 422),
    ] {
        let said = cluster.send(0, &Request::write("POST", "/api/v1/lb/failover/trigger", body.clone()));
        assert_eq!(said.status, status, "{body}: {:?}", said.json);
    }
}
