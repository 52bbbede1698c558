//! What checks find, of real servers and of nodes that say how they are.

use cluster_tests::mosquitto::Mosquitto;
use cluster_tests::node::{Behaviour, TestNode, Then};
use cluster_tests::peer::Peer;
use cluster_tests::raw::Raw;
use cluster_tests::settings::{Pool, Settings};
use cluster_tests::wait::wait_until;
use rustix::process::Signal;

const OFTEN: &str = "interval = \"100ms\", timeout = \"500ms\", rise = 2, fall = 2";

/// The verdict on a node, and what its last check found.
fn seen(peer: &Peer, node: &str) -> (String, String) {
    let shown = peer.json(&format!("/api/v1/nodes/{node}"));
    let verdict = shown["state"]["verdict"].as_str().unwrap_or_default().to_owned();
    (verdict, peer.json(&format!("/api/v1/nodes/{node}/observations")).to_string())
}

fn wait_verdict(peer: &Peer, node: &str, verdict: &str, words: &str) {
    wait_until(&format!("{node} to be {verdict}: {words}"), || {
        let (is, shown) = seen(peer, node);
        is == verdict && shown.contains(words)
    });
}

fn says(word: &str) -> Behaviour {
    let body = format!("{{\"node\":{{\"status\":\"{word}\"}}}}");
    Behaviour::raw(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()), Then::Keep)
}

#[test]
fn a_node_that_says_degraded_gets_half_of_its_weight_and_one_that_says_unhealthy_gets_nothing() {
    let nodes = TestNode::start_many(2);
    nodes.iter().for_each(|node| node.order("/health", says("healthy")));
    let health = format!("{{ type = \"http\", path = \"/health\", json = \"node.status\", {OFTEN} }}");
    let pool = Pool::new("web").line("strategy = \"round_robin\"").line("slow_start = \"0s\"").checked(&health);
    let peer = Peer::start(&Settings::default().serve("http", pool.nodes(nodes.iter().map(TestNode::address))));
    wait_verdict(&peer, "web-1", "up", "healthy");
    wait_verdict(&peer, "web-2", "up", "healthy");
    let shares = || {
        let before: Vec<u64> = nodes.iter().map(|node| node.look(|seen| seen.requests_total)).collect();
        let mut client = Raw::connect(peer.listener("web"));
        for _ in 0..300 {
            assert_eq!(client.get("/").status, 200);
        }
        let after = nodes.iter().map(|node| node.look(|seen| seen.requests_total));
        after.zip(before).map(|(after, before)| after - before).collect::<Vec<_>>()
    };
    nodes[0].order("/health", says("degraded"));
    wait_verdict(&peer, "web-1", "degraded", "degraded");
    let [first, second] = shares()[..] else { panic!() };
    assert!(first.abs_diff(100) <= 5 && second.abs_diff(200) <= 5, "{first} {second}");
    nodes[0].order("/health", says("unhealthy"));
    wait_verdict(&peer, "web-1", "down", "unhealthy");
    assert_eq!(shares()[0], 0);
    nodes[0].order("/health", says("ok"));
    wait_verdict(&peer, "web-1", "up", "ok");
    let [first, second] = shares()[..] else { panic!() };
    assert!(first.abs_diff(second) <= 5, "{first} {second}");
}

#[test]
fn an_mqtt_broker_is_up_while_it_lets_the_user_of_the_check_in() {
    let Some(mut broker) = Mosquitto::start_for("probe", "s3cr3t-pw") else { return };
    let Some(open) = Mosquitto::start() else { return };
    let health = |more: &str| format!("{{ type = \"mqtt\", {OFTEN}{more} }}");
    let pool = |name: &str, of: &Mosquitto, more: &str| Pool::new(name).checked(&health(more)).nodes([of.address()]);
    let settings = Settings::default()
        .serve("tcp", pool("known", &broker, ", user = \"probe\", password = \"s3cr3t-pw\""))
        .serve("tcp", pool("wrong", &broker, ", user = \"probe\", password = \"s3cr3t\""))
        .serve("tcp", pool("nobody", &broker, ""))
        .serve("tcp", pool("open", &open, ""));
    let peer = Peer::start(&settings);
    wait_verdict(&peer, "known-1", "up", "accepted");
    wait_verdict(&peer, "open-1", "up", "accepted");
    wait_verdict(&peer, "wrong-1", "down", "answer: ");
    wait_verdict(&peer, "nobody-1", "down", "answer: ");
    // A broker that hangs takes connections, and lets nobody in.
    broker.process().signal(Signal::STOP);
    wait_verdict(&peer, "known-1", "down", "answer: timed out");
    broker.process().signal(Signal::CONT);
    wait_verdict(&peer, "known-1", "up", "accepted");
    broker.process().kill();
    wait_verdict(&peer, "known-1", "down", "connect: refused");
    for shown in [peer.log(), peer.json("/api/v1/pools").to_string(), peer.json("/api/v1/nodes").to_string()] {
        assert!(!shown.contains("s3cr3t"), "the password is not told");
    }
}
