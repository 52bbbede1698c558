//! 1,000 nodes: how soon a peer is ready, with every node checked.

use std::time::Duration;

use cluster_tests::node::TestNode;
use cluster_tests::peer::Peer;
use cluster_tests::raw::Raw;
use cluster_tests::settings::{Pool, Settings};
use cluster_tests::{need, report};

const NODES: usize = 1_000;

#[test]
fn a_peer_with_a_thousand_nodes_is_ready_within_a_second_and_has_checked_each() {
    if !need::open_files(8_192) {
        return;
    }
    let nodes = TestNode::start_many(NODES);
    let health = "{ type = \"http\", path = \"/health\" }";
    let pool =
        Pool::new("web").checked(health).line("strategy = \"round_robin\"").nodes(nodes.iter().map(TestNode::address));
    let peer = Peer::start(&Settings::default().serve("http", pool));
    let checked = nodes.iter().filter(|node| node.look(|seen| seen.checks) > 0).count();
    report::figure("start to ready, 1,000 nodes", format!("{:?}", peer.ready_after()));
    assert_eq!(checked, NODES, "every node was checked when the peer said `ready`");
    let listed = peer.json("/api/v1/nodes?limit=1000");
    let up = listed["items"].as_array().unwrap().iter().filter(|node| node["state"]["verdict"] == "up").count();
    assert_eq!(up, NODES, "every node is up");

    let mut client = Raw::connect(peer.listener("web"));
    for _ in 0..NODES {
        assert_eq!(client.get("/").status, 200);
    }
    let asked = nodes.iter().filter(|node| node.look(|seen| seen.requests_total) > 0).count();
    assert!(asked > NODES * 9 / 10, "{asked} nodes were asked in {NODES} turns");
    assert!(peer.ready_after() <= Duration::from_secs(1), "{:?}", peer.ready_after());
}
