//! `kill -9` in a loop under load: each start is clean, and serves at once.

use std::time::{Duration, Instant};

use cluster_tests::load::{Load, Outcome, Plan};
use cluster_tests::node::TestNode;
use cluster_tests::peer::Peer;
use cluster_tests::raw::Raw;
use cluster_tests::report;
use cluster_tests::settings::{Pool, Settings};
use cluster_tests::wait::wait_until;
use evenkeel::host;

const KILLS: usize = 20;
/// Requests that each start has to answer before it is killed.
const REQUESTS_EACH: usize = 40;

/// Waits until this start has answered its share of the load, to requests sent since `ready`.
fn wait_for_traffic_through(peer: &Peer, load: &Load, ready: Instant) {
    wait_until("traffic through this start", || {
        let answered = |outcome: &&Outcome| outcome.is_good() && outcome.sent >= ready;
        load.look(|outcomes| outcomes.iter().rev().filter(answered).take(REQUESTS_EACH).count() == REQUESTS_EACH)
    });
    let counted = &peer.json("/api/health/detailed")["listeners"][0]["counts"]["requests_total"];
    assert!(counted.as_u64() >= Some(REQUESTS_EACH as u64), "this start counted them itself: {counted}");
}

/// Nothing is amiss with this start: it is healthy, no part of it had to be started again, and its log tells of no error.
fn expect_clean(peer: &mut Peer) {
    let health = peer.json("/api/health/detailed");
    assert_eq!((&health["status"], &health["reasons"]), (&"healthy".into(), &serde_json::json!([])), "{health}");
    let children = health["children"].as_array().expect("a list");
    assert!(!children.is_empty());
    for child in children {
        assert_eq!((&child["state"], &child["restarts"]), (&"running".into(), &0.into()), "{child}");
    }
    let log = peer.process().log();
    let bad: Vec<&str> = log.lines().filter(|line| line.contains("ERROR") || line.contains("panicked")).collect();
    assert_eq!(bad, [""; 0]);
    assert!(log.contains(" INFO "), "the log has its usual form, or the line above proves nothing:\n{log}");
}

#[test]
fn a_killed_peer_starts_clean_and_serves_at_once() {
    let nodes = TestNode::start_many(3);
    let pool = Pool::new("web").checked_fast().nodes(nodes.iter().map(TestNode::address));
    let memory = tempfile::tempdir().unwrap();
    let settings = Settings::default().remembering_in(memory.path()).serve("http", pool).with_lasting_ports();
    let mut peer = Peer::start(&settings);
    let mut ready = host::now();
    let address = peer.listener("web");
    let load = Load::start(&Plan::get(address, 400));
    let mut down = Vec::new();
    let mut slowest = Duration::ZERO;
    for _ in 0..KILLS {
        wait_for_traffic_through(&peer, &load, ready);
        expect_clean(&mut peer);
        let killed = host::now();
        peer.process().kill();
        peer = Peer::start(&settings);
        ready = host::now();
        assert_eq!(peer.listener("web"), address);
        assert_eq!(Raw::connect(address).get("/").status, 200, "the first request after `ready` is answered");
        slowest = slowest.max(peer.ready_after());
        down.push(killed..=ready);
    }
    wait_for_traffic_through(&peer, &load, ready);
    expect_clean(&mut peer);
    let outcomes = load.stop();
    let failed: Vec<_> = outcomes.iter().filter(|outcome| !outcome.is_good()).collect();
    let stray = failed.iter().filter(|outcome| {
        // A request that was under way when the peer died was sent before.
        !down.iter().any(|down| down.contains(&outcome.sent) || down.contains(&outcome.ended))
    });
    assert_eq!(stray.count(), 0, "no request fails while a peer runs");
    assert!(peer.process().terminate().success());
    report::figure("kills", KILLS);
    report::figure("slowest start to ready", format!("{slowest:?}"));
    report::line(&format!("{} of {} requests failed, all while the peer was down", failed.len(), outcomes.len()));
}
