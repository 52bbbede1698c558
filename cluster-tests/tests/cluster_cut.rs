//! Paths that are cut: from one peer to one node, between peers, one way, on and off. Every side serves what it reaches, and
//! once all is healed all agree.

use std::time::Duration;

use cluster_tests::cluster::{Cluster, Shape};
use cluster_tests::raw::get_once;
use cluster_tests::report;
use cluster_tests::wait::{PATIENCE, pause, pause_until, wait_for};
use evenkeel::host;

/// Checked often, so that a story need not wait for the five seconds that ship.
const HEALTH: &str = "{ type = \"http\", path = \"/health\", interval = \"500ms\", timeout = \"300ms\", fall = 2 }";

/// All agree so soon once nothing is cut.
const AGREED_MAX: Duration = Duration::from_secs(2);

fn five(nodes: u8) -> Option<Cluster> {
    let cluster = Cluster::start(Shape { peers: 5, nodes, preset: "lan", health: Some(HEALTH) })?;
    cluster.wait_agreed(PATIENCE);
    Some(cluster)
}

/// Every path between two peers on one side and three on the other.
const BETWEEN_SIDES: [(usize, usize); 6] = [(0, 2), (0, 3), (0, 4), (1, 2), (1, 3), (1, 4)];

fn part(cluster: &Cluster) {
    for (one, other) in BETWEEN_SIDES {
        cluster.network().cut(one, other);
    }
}

/// Mends what was cut; all have to agree soon.
#[track_caller]
fn heal(cluster: &Cluster, what: &str) {
    cluster.network().heal();
    let took = cluster.wait_agreed(PATIENCE);
    report::figure(what, format!("{took:?}"));
    assert!(took <= AGREED_MAX, "{took:?}");
}

/// Whether a client gets an answer through each of these peers.
#[track_caller]
fn assert_serve(cluster: &Cluster, peers: impl IntoIterator<Item = usize>) {
    for peer in peers {
        let to = cluster.traffic(peer);
        let answer = cluster.client().within(|| get_once(to, "/"));
        assert_eq!(answer.map(|answer| answer.status), Some(200), "through {}", cluster.id(peer));
    }
}

#[test]
fn a_peer_cut_from_one_node_alone_routes_around_it_and_three_of_five_take_it_down_for_all() {
    let Some(cluster) = five(3) else { return };
    let node = cluster.node_host(0);
    cluster.network().cut(0, node);
    wait_for("the peer that is cut to route around", PATIENCE, || {
        (cluster.sees_node(0, 0).1 == "ejected").then_some(())
    });
    pause(Duration::from_secs(2));
    for peer in 0..5 {
        let (verdict, local) = cluster.sees_node(peer, 0);
        assert_eq!((verdict.as_str(), local.as_str()), ("up", if peer == 0 { "ejected" } else { "admitted" }));
    }
    assert_serve(&cluster, 0..5);

    cluster.network().cut(1, node);
    pause(Duration::from_secs(2));
    for peer in 0..5 {
        assert_eq!(cluster.sees_node(peer, 0).0, "up", "two of five are no majority");
    }
    cluster.network().cut(2, node);
    let cut = host::now();
    for peer in 0..5 {
        wait_for("all to drop the node", PATIENCE, || (cluster.sees_node(peer, 0).0 == "down").then_some(()));
    }
    report::figure("all five have dropped it after", format!("{:?}", cut.elapsed()));
    assert_serve(&cluster, 0..5);
    cluster.network().heal();
    report::figure("all agree again after", format!("{:?}", cluster.wait_agreed(PATIENCE)));
}

#[test]
fn a_peer_that_reaches_nothing_is_doubtful_and_takes_nobody_with_it() {
    let Some(cluster) = five(4) else { return };
    for node in 0..4 {
        cluster.network().cut(0, cluster.node_host(node));
    }
    wait_for("the others to doubt it", PATIENCE, || {
        let doubted = (1..5).all(|by| cluster.json(by, "/api/v1/cluster")["doubtful"][0] == cluster.id(0));
        doubted.then_some(())
    });
    for peer in 1..5 {
        for node in 0..4 {
            assert_eq!(cluster.sees_node(peer, node), ("up".to_owned(), "admitted".to_owned()));
        }
    }
    assert_serve(&cluster, 1..5);
    cluster.network().heal();
    cluster.wait_agreed(PATIENCE);
}

#[test]
fn parted_peers_serve_what_they_reach_and_agree_within_two_seconds_once_healed() {
    let Some(cluster) = five(2) else { return };
    part(&cluster);
    wait_for("both sides to call the other one dead", PATIENCE, || {
        let dead = |by: usize, of: usize| cluster.sees_peer(by, of).as_deref() == Some("dead");
        BETWEEN_SIDES.iter().all(|&(one, other)| dead(one, other) && dead(other, one)).then_some(())
    });
    assert_serve(&cluster, 0..5);
    heal(&cluster, "all agree after the cut is healed");
}

#[test]
fn more_lost_peers_than_are_dialed_at_once_are_all_linked_again_within_two_seconds() {
    // Longer than a dial takes at most, and a pause after it: dials are under way and lost when the cut is mended.
    const PARTED_FOR: Duration = Duration::from_secs(7);
    let shape = Shape { peers: 10, nodes: 1, preset: "lan", health: Some(HEALTH) };
    let Some(cluster) = Cluster::start(shape) else { return };
    cluster.wait_agreed(PATIENCE);
    for (one, other) in (0..5).flat_map(|one| (5..10).map(move |other| (one, other))) {
        cluster.network().cut(one, other);
    }
    pause(PARTED_FOR);
    assert_eq!(cluster.sees_peer(0, 9).as_deref(), Some("dead"));
    heal(&cluster, "all ten agree after the cut is healed");
}

#[test]
fn peers_cut_one_way_or_from_each_other_alone_stay_one_cluster_by_way_of_the_others() {
    let Some(cluster) = five(2) else { return };
    cluster.network().cut_one_way(0, 1);
    pause(Duration::from_secs(3));
    for by in 0..5 {
        for of in 0..5 {
            let state = cluster.sees_peer(by, of);
            assert_ne!(
                state.as_deref(),
                Some("dead"),
                "{} is heard by way of others at {}",
                cluster.id(of),
                cluster.id(by)
            );
        }
    }
    assert_serve(&cluster, 0..5);
    heal(&cluster, "all agree after a cut one way is healed");
}

#[test]
fn a_path_that_flaps_for_a_while_leaves_no_trace() {
    let Some(cluster) = five(2) else { return };
    let seconds = if cluster_tests::environment::is_soak() { 60 } else { 12 };
    let began = host::now();
    let mut at = began;
    while began.elapsed() < Duration::from_secs(seconds) {
        part(&cluster);
        assert_serve(&cluster, 0..5);
        at += Duration::from_secs(2);
        pause_until(at);
        cluster.network().heal();
        assert_serve(&cluster, 0..5);
        at += Duration::from_secs(2);
        pause_until(at);
    }
    let took = cluster.wait_agreed(PATIENCE);
    report::figure("all agree after the flapping", format!("{took:?}"));
    assert!(took <= AGREED_MAX, "{took:?}");
    for peer in 0..5 {
        let children = cluster.json(peer, "/api/health/detailed")["children"].clone();
        assert!(children.as_array().unwrap().iter().all(|child| child["restarts"] == 0), "{children}");
    }
}

#[test]
fn a_tenth_of_all_packets_lost_is_no_death() {
    let Some(cluster) = five(2) else { return };
    let seconds = if cluster_tests::environment::is_soak() { 60 } else { 15 };
    for one in 0..5 {
        for other in one + 1..5 {
            cluster.network().lose(one, other, 10);
        }
    }
    let began = host::now();
    let mut looks = 0;
    while began.elapsed() < Duration::from_secs(seconds) {
        for by in 0..5 {
            for of in 0..5 {
                assert_ne!(cluster.sees_peer(by, of).as_deref(), Some("dead"), "after {:?}", began.elapsed());
            }
            looks += 1;
        }
        assert_serve(&cluster, 0..5);
    }
    report::figure("looks at all peers without a death", looks);
    for peer in 0..5 {
        let log = cluster.log(peer);
        assert!(!log.contains("peer is dead"), "{log}");
    }
}
