//! Peers that are started with one seed list become one cluster, see each other die and come back, and route around what dies.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use cluster_tests::cluster::{Cluster, Shape};
use cluster_tests::load::{Load, Offered, Plan, failures};
use cluster_tests::report;
use cluster_tests::wait::{PATIENCE, wait_for};
use evenkeel::host;

#[test]
fn three_peers_with_one_seed_list_name_the_same_peers_and_nodes_within_two_seconds() {
    let began = host::now();
    let shape = Shape { peers: 3, nodes: 2, preset: "lan", health: None };
    let Some(cluster) = Cluster::start(shape) else { return };
    cluster.wait_agreed(PATIENCE);
    let took = began.elapsed();
    let names = |peer: usize, path: &str| -> Vec<String> {
        let items = cluster.json(peer, path)["items"].clone();
        items.as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap().to_owned()).collect()
    };
    for peer in 0..3 {
        assert_eq!(names(peer, "/api/v1/peers"), ["p1", "p2", "p3"]);
        assert_eq!(names(peer, "/api/v1/nodes"), ["web-1", "web-2"]);
    }
    report::figure("from nothing to agreement, network and nodes included", format!("{took:?}"));
    assert!(took < Duration::from_secs(2), "{took:?}");
}

#[test]
fn a_peer_that_is_killed_is_dead_to_the_others_within_a_second_and_back_when_it_is_started() {
    let shape = Shape { peers: 5, nodes: 1, preset: "lan", health: None };
    let Some(mut cluster) = Cluster::start(shape) else { return };
    cluster.wait_agreed(PATIENCE);
    let mut slowest = Duration::ZERO;
    for victim in [4, 0, 2] {
        let killed = host::now();
        cluster.kill_peer(victim);
        for by in cluster.running() {
            wait_for("a peer to see the death", PATIENCE, || {
                (cluster.sees_peer(by, victim).as_deref() == Some("dead")).then_some(())
            });
        }
        let took = killed.elapsed();
        report::figure("seen by all after", format!("{took:?}"));
        slowest = slowest.max(took);
        for by in cluster.running() {
            assert_eq!(cluster.json(by, "/api/v1/nodes")["missing_peers"][0], cluster.id(victim));
        }
        let began = host::now();
        cluster.restart_peer(victim);
        cluster.wait_agreed(PATIENCE);
        report::figure("back for all after its start", format!("{:?}", began.elapsed()));
    }
    assert!(slowest <= Duration::from_secs(1), "{slowest:?}");
}

#[test]
fn a_node_that_is_killed_under_load_fails_no_request_and_every_peer_leaves_it_within_half_a_second() {
    let shape = Shape { peers: 3, nodes: 3, preset: "lan", health: None };
    let Some(mut cluster) = Cluster::start(shape) else { return };
    cluster.wait_agreed(PATIENCE);
    let rate = 500 / 3;
    let traffic: Vec<_> = (0..3).map(|peer| cluster.traffic(peer)).collect();
    let client = cluster.client().namespace();
    let stop = AtomicBool::new(false);
    let (outcomes, left_after) = std::thread::scope(|scope| {
        let loads: Vec<_> = traffic
            .iter()
            .map(|&to| {
                let (client, stop) = (client.clone(), &stop);
                scope.spawn(move || {
                    cluster_tests::network::enter(&client);
                    let load = Load::start(&Plan::get(to, rate));
                    wait_for("the end of the story", Duration::from_secs(60), || stop.load(Relaxed).then_some(()));
                    load.stop()
                })
            })
            .collect();
        cluster_tests::wait::pause(Duration::from_secs(2));
        let before: Vec<u64> = (0..3).map(|peer| checks(&cluster, peer)).collect();
        let killed = host::now();
        cluster.kill_node(0);
        let left = || (0..3).all(|peer| cluster.sees_node(peer, 0).0 == "down");
        wait_for("every peer to leave the node", PATIENCE, || left().then_some(()));
        let left_after = killed.elapsed();
        cluster_tests::wait::pause(Duration::from_secs(1));
        for (peer, before) in before.iter().enumerate() {
            let probes = checks(&cluster, peer) - before;
            report::figure("probes of the node since, at one peer", probes);
            assert!(probes <= 12, "{probes} probes");
        }
        cluster.start_node(0);
        cluster.wait_agreed(PATIENCE);
        stop.store(true, Relaxed);
        let outcomes: Vec<_> = loads.into_iter().map(|load| load.join().unwrap()).collect();
        (outcomes, left_after)
    });
    report::figure("every peer has left the node after", format!("{left_after:?}"));
    for outcomes in &outcomes {
        report::figure("offered", Offered::of(outcomes));
        let failed = failures(outcomes, 10);
        assert!(failed.is_empty(), "{failed:?}");
    }
    assert!(left_after <= Duration::from_millis(500), "{left_after:?}");
}

/// Checks of the first node by a peer itself.
fn checks(cluster: &Cluster, peer: usize) -> u64 {
    let list = cluster.json(peer, "/api/v1/nodes/web-1/observations");
    let rows = list["items"].as_array().expect("a list has items");
    let own = rows.iter().find(|row| row["observer"] == cluster.id(peer)).expect("each of three observes");
    own["checks_total"].as_u64().expect("a peer counts its own checks")
}
