//! `kill -9` in a loop under load: each start is clean, and serves at once.

use std::time::Duration;

use cluster_tests::load::{Load, Plan};
use cluster_tests::node::TestNode;
use cluster_tests::peer::Peer;
use cluster_tests::raw::Raw;
use cluster_tests::report;
use cluster_tests::settings::{Pool, Settings};
use cluster_tests::wait::{wait_for, wait_until};
use evenkeel::host;

const KILLS: usize = 20;

#[test]
fn a_killed_peer_starts_clean_and_serves_at_once() {
    let nodes = TestNode::start_many(3);
    let pool = Pool::new("web").checked_fast().nodes(nodes.iter().map(TestNode::address));
    let settings = Settings::default().serve("http", pool).with_lasting_ports();
    let mut peer = Peer::start(&settings);
    let address = peer.listener("web");
    let load = Load::start(&Plan::get(address, 400));
    let mut down = Vec::new();
    let mut slowest = Duration::ZERO;
    for _ in 0..KILLS {
        let count = load.count();
        wait_until("traffic", || load.count() > count + 40);
        let killed = host::now();
        peer.process().kill();
        peer = Peer::start(&settings);
        assert_eq!(peer.listener("web"), address);
        assert_eq!(Raw::connect(address).get("/").status, 200, "the first request after `ready` is answered");
        slowest = slowest.max(peer.ready_after());
        down.push(killed..=host::now());
    }
    wait_for("the last traffic", Duration::from_secs(5), || (load.count() > 0).then_some(()));
    let outcomes = load.stop();
    let failed: Vec<_> = outcomes.iter().filter(|outcome| !outcome.is_good()).collect();
    let stray = failed.iter().filter(|outcome| {
        // A request that was under way when the peer died was sent before.
        let ended = outcome.sent + outcome.took;
        !down.iter().any(|down| down.contains(&outcome.sent) || down.contains(&ended))
    });
    assert_eq!(stray.count(), 0, "no request fails while a peer runs");
    assert!(peer.process().terminate().success());
    report::figure("kills", KILLS);
    report::figure("slowest start to ready", format!("{slowest:?}"));
    report::line(&format!("{} of {} requests failed, all while the peer was down", failed.len(), outcomes.len()));
}
