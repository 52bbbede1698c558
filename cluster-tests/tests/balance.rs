//! Who gets a request: the shares of each strategy at real nodes, places at a node, and backups.

use std::collections::BTreeMap;
use std::time::Duration;

use cluster_tests::load::{Load, Plan, failures};
use cluster_tests::node::{Behaviour, TestNode};
use cluster_tests::peer::Peer;
use cluster_tests::raw::Raw;
use cluster_tests::report;
use cluster_tests::settings::{Pool, Settings};
use cluster_tests::wait::wait_until;
use evenkeel::host;

/// A peer before `nodes`, each with these further lines.
fn peer(strategy: &str, nodes: &[TestNode], lines: &[&[&str]]) -> Peer {
    let pool = Pool::new("web").unchecked().line(format!("strategy = {strategy:?}"));
    Peer::start(&Settings::default().serve("http", with_nodes(pool, nodes, lines)))
}

fn with_nodes(pool: Pool, nodes: &[TestNode], lines: &[&[&str]]) -> Pool {
    let lines = lines.iter().copied().chain(std::iter::repeat(&[][..]));
    nodes.iter().zip(lines).fold(pool, |pool, (node, lines)| pool.node(&node.address().to_string(), lines))
}

fn shares(nodes: &[TestNode]) -> Vec<u64> {
    nodes.iter().map(|node| node.look(|seen| seen.requests_total)).collect()
}

/// Asks `count` times from as many connections as `clients`.
fn ask(peer: &Peer, clients: u32, count: usize) {
    let load = Load::start(&Plan::busy(peer.listener("web"), clients));
    wait_until("the requests", || load.count() >= count);
    assert_eq!(failures(&load.stop(), 5), [""; 0]);
}

#[test]
fn round_robin_keeps_to_weights() {
    for strategy in ["round_robin", "weighted_round_robin"] {
        let nodes = TestNode::start_many(3);
        let peer = peer(strategy, &nodes, &[&["weight = 3"], &["weight = 2"]]);
        let mut client = Raw::connect(peer.listener("web"));
        for _ in 0..600 {
            assert_eq!(client.get("/").status, 200);
        }
        report::line(&format!("{strategy}: {:?}", shares(&nodes)));
        for (share, expected) in shares(&nodes).into_iter().zip([300_u64, 200, 100]) {
            assert!(share.abs_diff(expected) <= 6, "{:?}", shares(&nodes));
        }
    }
}

#[test]
fn chance_keeps_to_weights_in_the_long_run() {
    for (strategy, weights, expected) in [
        ("random", [1, 1, 1], [1.0, 1.0, 1.0]),
        ("weighted", [1, 2, 5], [1.0, 2.0, 5.0]),
        ("weighted_latency", [1, 1, 1], [1.0, 1.0, 1.0]),
        ("health_score", [1, 1, 1], [1.0, 1.0, 1.0]),
        ("p2c", [1, 1, 1], [1.0, 1.0, 1.0]),
    ] {
        let nodes = TestNode::start_many(3);
        let lines: Vec<String> = weights.iter().map(|weight| format!("weight = {weight}")).collect();
        let lines: Vec<[&str; 1]> = lines.iter().map(|line| [line.as_str()]).collect();
        let peer = peer(strategy, &nodes, &lines.iter().map(<[&str; 1]>::as_slice).collect::<Vec<_>>());
        ask(&peer, 4, 2_000);
        let shares = shares(&nodes);
        report::line(&format!("{strategy} by {weights:?}: {shares:?}"));
        let (all, weight): (u64, f64) = (shares.iter().sum(), expected.iter().sum());
        for (share, expected) in shares.iter().zip(expected) {
            let (share, expected) = (*share as f64 / all as f64, expected / weight);
            // Six standard deviations of 2,000 draws are below 0.07.
            assert!((share - expected).abs() < 0.07, "{strategy}: {shares:?}");
        }
    }
}

#[test]
fn strategies_that_look_at_load_spare_a_slow_node() {
    for strategy in ["least_connections", "least_conn", "p2c", "health_score", "least_response_time"] {
        let nodes = TestNode::start_many(3);
        nodes[0].order("*", Behaviour::delayed(60));
        let peer = peer(strategy, &nodes, &[]);
        ask(&peer, 12, 1_000);
        let shares = shares(&nodes);
        report::line(&format!("{strategy} with a slow first node: {shares:?}"));
        let all: u64 = shares.iter().sum();
        assert!(shares[0] * 5 < all, "{strategy}: {shares:?}");
        // The fastest answers may all come from one node, and then that one is asked.
        let shared = strategy == "least_response_time" || (shares[1] * 8 > all && shares[2] * 8 > all);
        assert!(shared, "{strategy}: {shares:?}");
    }
}

#[test]
fn every_strategy_serves() {
    for strategy in ["least_latency", "ewma", "ip_hash", "consistent_hash"] {
        let nodes = TestNode::start_many(3);
        let peer = peer(strategy, &nodes, &[]);
        ask(&peer, 4, 200);
        assert!(shares(&nodes).iter().sum::<u64>() >= 200);
    }
}

/// A request of this client number.
type MakeRequest = fn(u32) -> String;

#[test]
fn what_is_hashed_decides_alone() {
    let requests: [(&str, MakeRequest); 4] = [
        ("uri", |number| format!("GET /{number} HTTP/1.1\r\nHost: test\r\n\r\n")),
        ("header:x-user", |number| format!("GET / HTTP/1.1\r\nHost: test\r\nX-User: {number}\r\n\r\n")),
        ("cookie:user", |number| format!("GET / HTTP/1.1\r\nHost: test\r\nCookie: a=b; user={number}; c=d\r\n\r\n")),
        ("query:user", |number| format!("GET /?a=b&user={number} HTTP/1.1\r\nHost: test\r\n\r\n")),
    ];
    for (hash, request) in requests {
        let nodes = TestNode::start_many(5);
        let pool = Pool::new("web").unchecked().line("strategy = \"consistent_hash\"").line(format!("hash = {hash:?}"));
        let peer = Peer::start(&Settings::default().serve("http", with_nodes(pool, &nodes, &[])));
        let mut picked: BTreeMap<u32, String> = BTreeMap::new();
        for _ in 0..3 {
            let mut client = Raw::connect(peer.listener("web"));
            for number in 0..100 {
                let node = client.ask(request(number)).unwrap().field("node").unwrap().to_owned();
                let before = picked.entry(number).or_insert_with(|| node.clone());
                assert_eq!(*before, node, "{hash} {number} always meets the same node");
            }
        }
        let shares = shares(&nodes);
        report::line(&format!("consistent_hash by {hash}: {shares:?}"));
        assert!(shares.iter().all(|&share| share >= 15), "{hash}: {shares:?} of 300");
    }
    let nodes = TestNode::start_many(5);
    let peer = peer("ip_hash", &nodes, &[]);
    for _ in 0..20 {
        assert_eq!(Raw::connect(peer.listener("web")).get("/").status, 200);
    }
    assert_eq!(shares(&nodes).iter().filter(|&&share| share > 0).count(), 1, "one client, one node");
}

#[test]
fn a_backup_waits_until_it_is_needed() {
    let mut nodes = TestNode::start_many(3);
    let pool = Pool::new("web").checked_fast().line("strategy = \"round_robin\"");
    let pool = with_nodes(pool, &nodes, &[&[], &[], &["backup = true"]]);
    let peer = Peer::start(&Settings::default().serve("http", pool));
    let mut client = Raw::connect(peer.listener("web"));
    for _ in 0..50 {
        assert_eq!(client.get("/").status, 200);
    }
    assert_eq!(shares(&nodes)[2], 0);
    for node in nodes.drain(..2) {
        drop(node);
    }
    for _ in 0..50 {
        assert_eq!(client.get("/").field("node"), Some("node-3"), "no request fails on the way to the backup");
    }
}

#[test]
fn a_node_that_is_down_gets_nothing_and_returns_when_it_is_up() {
    let nodes = TestNode::start_many(2);
    nodes[0].order("/health", Behaviour::status(503));
    let pool = Pool::new("web").checked_fast().line("strategy = \"round_robin\"");
    let peer = Peer::start(&Settings::default().serve("http", with_nodes(pool, &nodes, &[])));
    let mut client = Raw::connect(peer.listener("web"));
    for _ in 0..50 {
        assert_eq!(client.get("/").field("node"), Some("node-2"));
    }
    nodes[0].at_ease();
    wait_until("traffic at the node that came up", || client.get("/").field("node") == Some("node-1"));
    nodes[0].order("/health", Behaviour::status(503));
    wait_until("the node to be left alone", || {
        let before = shares(&nodes)[0];
        (0..20).for_each(|_| assert_eq!(client.get("/").status, 200));
        shares(&nodes)[0] == before
    });
}

/// Sends one request on each of `count` connections and reads the answers' statuses.
fn burst(peer: &Peer, count: usize) -> Vec<u16> {
    let mut clients: Vec<Raw> = (0..count).map(|_| Raw::connect(peer.listener("web"))).collect();
    for client in &mut clients {
        client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n").expect("a request is taken");
    }
    clients.iter_mut().map(|client| client.answer("GET").expect("an answer").status).collect()
}

#[test]
fn requests_above_a_nodes_places_wait_their_turn() {
    let nodes = TestNode::start_many(2);
    nodes.iter().for_each(|node| node.order("*", Behaviour::delayed(50)));
    let peer = peer("least_connections", &nodes, &[&["max_connections = 2"], &["max_connections = 3"]]);
    assert_eq!(burst(&peer, 40), [200; 40]);
    for (node, places) in nodes.iter().zip([2, 3]) {
        let seen = node.seen();
        assert_eq!(seen.in_flight_max, places, "{} is never asked for more at once", node.name());
    }
}

#[test]
fn a_full_queue_refuses_at_once_and_a_slow_one_in_time() {
    let nodes = TestNode::start_many(1);
    nodes[0].order("*", Behaviour::delayed(400));
    let start = |lines: [&str; 2]| {
        let pool = lines.iter().fold(Pool::new("web").unchecked(), |pool, line| pool.line(*line));
        Peer::start(&Settings::default().serve("http", with_nodes(pool, &nodes, &[&["max_connections = 1"]])))
    };
    let count = |statuses: &[u16], wanted| statuses.iter().filter(|&&status| status == wanted).count();

    let none = start(["queue = 0", "queue_timeout = \"5s\""]);
    let statuses = burst(&none, 5);
    assert_eq!((count(&statuses, 200), count(&statuses, 503)), (1, 4), "{statuses:?}");

    let short = start(["queue = 100", "queue_timeout = \"100ms\""]);
    let began = host::now();
    let statuses = burst(&short, 5);
    assert_eq!((count(&statuses, 200), count(&statuses, 503)), (1, 4), "{statuses:?}");
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
}
