//! Clients that leave, wait for leave, or ask for what kills: what becomes of a node's places, and of everybody else.

use std::time::Duration;

use cluster_tests::load::{Load, Offered, Plan, failures};
use cluster_tests::node::{Behaviour, NodeProcess, TestNode, Then};
use cluster_tests::peer::Peer;
use cluster_tests::raw::{Broken, Raw};
use cluster_tests::report;
use cluster_tests::settings::{Pool, Settings};
use cluster_tests::wait::{wait_for, wait_until};
use evenkeel::host;

/// What "at once" may take on a busy machine.
const AT_ONCE: Duration = Duration::from_millis(500);
/// How long a client that only ended its side is still served: it may read on, and a peer cannot tell.
const HALF_CLOSED: Duration = Duration::from_secs(5);

/// How long it may take to see that a client left whose bytes nobody reads.
const LOOK: Duration = Duration::from_secs(1);

/// How a client leaves.
type Leave = fn(Raw);

/// A peer before one node that has one place.
fn one_place(node: &TestNode) -> Peer {
    let pool = Pool::new("web").unchecked().line("queue_timeout = \"30s\"");
    let pool = pool.node(&node.address().to_string(), &["max_connections = 1"]);
    Peer::start(&Settings::default().serve("http", pool))
}

fn send(peer: &Peer, path: &str) -> Raw {
    let mut client = Raw::connect(peer.listener("web"));
    client.send(format!("GET {path} HTTP/1.1\r\nHost: test\r\n\r\n")).expect("a request is taken");
    client
}

/// Waits until this many requests wait for a place.
fn wait_for_waiting(peer: &Peer, count: u64) {
    wait_until("the waiting line", || peer.json("/api/health/detailed")["pools"][0]["waiting"] == count);
}

/// The paths that a node was asked for.
fn paths(node: &TestNode) -> Vec<String> {
    node.look(|seen| {
        seen.requests.iter().map(|request| request.line.split(' ').nth(1).unwrap_or_default().to_owned()).collect()
    })
}

#[test]
fn a_client_that_leaves_frees_its_place_at_the_node() {
    let ways = [("a reset", Raw::reset as Leave, AT_ONCE), ("an orderly end", drop, HALF_CLOSED + AT_ONCE)];
    for (how, leave, patience) in ways {
        let node = TestNode::start("a");
        let peer = one_place(&node);
        let holder = send(&peer, "/freeze");
        wait_until("the request at the node", || paths(&node) == ["/freeze"]);
        let mut next = send(&peer, "/next");
        wait_for_waiting(&peer, 1);
        assert_eq!(paths(&node), ["/freeze"], "the only place is taken");

        let left = host::now();
        leave(holder);
        assert_eq!(next.answer("GET").map(|answer| answer.status), Ok(200), "after {how}");
        let freed = left.elapsed();
        report::figure(&format!("a place is free after {how}"), format!("{freed:?}"));
        assert!(freed <= patience, "{how}: {freed:?}");
        wait_until("the node to be rid of the request", || node.look(|seen| seen.in_flight) == 0);
    }
}

#[test]
fn a_client_that_leaves_the_waiting_line_never_reaches_the_node() {
    // Who merely ended its side may still read: for as long it keeps its place in line.
    for (leave, patience) in [(Raw::reset as Leave, AT_ONCE), (drop, HALF_CLOSED + AT_ONCE)] {
        let node = TestNode::start("a");
        let peer = one_place(&node);
        let holder = send(&peer, "/freeze");
        wait_until("the request at the node", || paths(&node) == ["/freeze"]);
        let leaver = send(&peer, "/leaver");
        wait_for_waiting(&peer, 1);
        let mut stayer = send(&peer, "/stayer");
        wait_for_waiting(&peer, 2);

        let left = host::now();
        leave(leaver);
        wait_for_waiting(&peer, 1);
        assert!(left.elapsed() <= patience, "who leaves is out of the line: {:?}", left.elapsed());
        holder.reset();
        assert_eq!(stayer.answer("GET").map(|answer| answer.status), Ok(200));
        assert_eq!(stayer.get("/again").status, 200);
        assert_eq!(paths(&node), ["/freeze", "/stayer", "/again"]);
    }
}

#[test]
fn a_client_that_ended_its_side_is_served_when_its_turn_comes() {
    let node = TestNode::start("a");
    let peer = one_place(&node);
    let holder = send(&peer, "/freeze");
    wait_until("the request at the node", || paths(&node) == ["/freeze"]);
    let mut half_closed = send(&peer, "/half-closed");
    half_closed.end_sending();
    wait_for_waiting(&peer, 1);
    holder.reset();
    assert_eq!(half_closed.answer("GET").map(|answer| answer.status), Ok(200));
}

#[test]
fn nothing_that_a_client_sent_ahead_hides_that_it_left() {
    let node = TestNode::start("a");
    let peer = one_place(&node);
    let mut holder = send(&peer, "/freeze");
    wait_until("the request at the node", || paths(&node) == ["/freeze"]);
    holder.send("G").expect("the beginning of another request is taken");
    let mut next = send(&peer, "/next");
    wait_for_waiting(&peer, 1);
    let left = host::now();
    holder.reset();
    assert_eq!(next.answer("GET").map(|answer| answer.status), Ok(200));
    assert!(left.elapsed() <= AT_ONCE, "{:?}", left.elapsed());
}

#[test]
fn a_client_that_leaves_while_the_node_takes_nothing_of_its_body_frees_its_place() {
    let node = NodeProcess::start("stuck");
    let pool = Pool::new("web").unchecked().line("queue_timeout = \"30s\"");
    let peer = Peer::start(
        &Settings::default().serve("http", pool.node(&node.address().to_string(), &["max_connections = 1"])),
    );
    node.freeze();
    let mut holder = Raw::connect(peer.listener("web"));
    holder.send("POST /digest HTTP/1.1\r\nHost: test\r\nContent-Length: 1000000000\r\n\r\n").expect("a head is taken");
    holder.stream().set_nonblocking(true).expect("a socket of one's own");
    // Until no buffer on the way takes any more.
    let mut full_since = None;
    let piece = vec![b'x'; 64 * 1024];
    wait_until("every buffer to be full", || match std::io::Write::write(&mut holder.stream(), &piece) {
        Ok(_) => {
            full_since = None;
            false
        }
        Err(_) => full_since.get_or_insert_with(host::now).elapsed() > AT_ONCE,
    });
    let mut next = send(&peer, "/next");
    wait_for_waiting(&peer, 1);
    let left = host::now();
    holder.reset();
    wait_until("the place to be free", || peer.json("/api/health/detailed")["pools"][0]["waiting"] == 0);
    assert!(left.elapsed() <= LOOK + AT_ONCE, "{:?}", left.elapsed());
    node.thaw();
    assert_eq!(next.answer("GET").map(|answer| answer.status), Ok(200));
}

#[test]
fn options_goes_as_far_as_it_may() {
    let node = TestNode::start("a");
    let peer = Peer::start(&Settings::one("web", "http", [node.address()]));
    let mut client = Raw::connect(peer.listener("web"));
    let mut options = |forwards: &str| {
        client
            .ask(format!("OPTIONS /far HTTP/1.1\r\nHost: test\r\nMax-Forwards: {forwards}\r\n\r\n"))
            .expect("an answer")
    };
    let answer = options("0");
    assert_eq!((answer.status, answer.field("node")), (200, None), "RFC 9110 section 7.6.2: the peer answers itself");
    assert!(answer.field("allow").is_some_and(|allow| allow.contains("GET")), "{:?}", answer.head);
    assert_eq!(paths(&node), [""; 0]);
    for (sent, got) in [("1", "0"), ("10", "9"), ("007", "6")] {
        assert_eq!(options(sent).field("node"), Some("a"));
        let seen =
            node.look(|seen| seen.requests.back().and_then(|request| request.field("max-forwards").map(str::to_owned)));
        assert_eq!(seen.as_deref(), Some(got), "{sent} is one less");
    }
    // It means something to OPTIONS and TRACE alone.
    assert_eq!(
        client.ask("GET /get HTTP/1.1\r\nHost: test\r\nMax-Forwards: 0\r\n\r\n").unwrap().field("node"),
        Some("a")
    );
}

#[test]
fn a_frozen_node_is_not_held_against_a_client_that_waits_to_be_told_to_go_on() {
    let frozen = NodeProcess::start("frozen");
    let good = TestNode::start("good");
    // A body is due well before the node is: who took the wait for the client's would answer 408.
    let pool =
        |name: &str| Pool::new(name).unchecked().line("strategy = \"round_robin\"").line("response_timeout = \"1s\"");
    let hurried = ["body_rate_grace = \"100ms\"", "stream_idle_timeout = \"500ms\""];
    let mut settings = Settings::default().serve("http", pool("one").nodes([frozen.address()]));
    settings = hurried.iter().fold(settings, |settings, line| settings.listener_line(*line));
    settings = settings.serve("http", pool("two").nodes([frozen.address(), good.address()]));
    settings = hurried.iter().fold(settings, |settings, line| settings.listener_line(*line));
    let peer = Peer::start(&settings);
    frozen.freeze();
    let ask = |listener: &str, method: &str| {
        let mut client = Raw::connect(peer.listener(listener));
        let head = "HTTP/1.1\r\nHost: test\r\nExpect: 100-continue\r\nContent-Length: 5";
        client.send(format!("{method} /digest {head}\r\n\r\n")).expect("a head is taken");
        let first = client.head().map(|head| head.status());
        if first != Ok(Ok(100)) {
            return first;
        }
        client.send("hello").expect("a body is taken");
        client.answer(method).map(|answer| Ok(answer.status))
    };

    for method in ["POST", "PUT"] {
        let began = host::now();
        assert_eq!(ask("one", method), Ok(Ok(504)), "{method}: there is no other node");
        let took = began.elapsed();
        assert!((Duration::from_secs(1)..Duration::from_secs(3)).contains(&took), "{method}: {took:?}");
    }
    // Nothing of the body was sent, so what may be sent twice goes to the other node. An order may not.
    let ten = |method: &str| (0..10).map(|_| ask("two", method)).collect::<Vec<_>>();
    assert_eq!(ten("PUT"), vec![Ok(Ok(200)); 10]);
    let posted = ten("POST");
    assert!(posted.iter().all(|status| matches!(status, Ok(Ok(200 | 504)))), "{posted:?}");
    assert!(posted.contains(&Ok(Ok(504))), "the frozen node was asked too: {posted:?}");
    frozen.thaw();
}

#[test]
fn a_request_that_breaks_every_node_harms_nobody_else() {
    const CRASHES: usize = 20;
    let nodes = TestNode::start_many(3);
    nodes.iter().for_each(|node| node.order("/crash", Behaviour::raw("", Then::Close)));
    let pool = Pool::new("web").checked_fast().line("panic = \"closed\"").line("strategy = \"round_robin\"");
    let peer = Peer::start(&Settings::default().serve("http", pool.nodes(nodes.iter().map(TestNode::address))));
    let load = Load::start(&Plan::get(peer.listener("web"), 300));
    wait_until("traffic", || load.count() > 100);
    for _ in 0..CRASHES {
        let mut crasher = Raw::connect(peer.listener("web"));
        let crashed = crasher.ask("GET /crash HTTP/1.1\r\nHost: test\r\n\r\n").map(|answer| answer.status);
        assert!(matches!(crashed, Ok(502) | Err(Broken::Closed)), "{crashed:?}");
        for node in peer.json("/api/v1/nodes")["items"].as_array().expect("a list") {
            let state = &node["state"];
            assert_eq!((&state["verdict"], &state["local"]), (&"up".into(), &"admitted".into()), "{node}");
        }
    }
    let broken: Vec<usize> =
        nodes.iter().map(|node| paths(node).iter().filter(|path| *path == "/crash").count()).collect();
    let count = load.count();
    wait_for("traffic after the last crash", Duration::from_secs(5), || (load.count() > count + 100).then_some(()));
    let outcomes = load.stop();
    report::line(&format!(
        "{CRASHES} requests broke {broken:?} connections of the nodes; beside them {}",
        Offered::of(&outcomes)
    ));
    assert!(broken.iter().all(|&count| count >= CRASHES / 3), "each node was met: {broken:?}");
    assert_eq!(failures(&outcomes, 10), [""; 0]);
}

#[test]
fn a_request_that_a_node_broke_off_and_one_bad_check_leave_the_node_up() {
    let node = TestNode::start("a");
    node.order("/crash", Behaviour::raw("", Then::Close));
    let pool = Pool::new("web").checked(
        "{ type = \"http\", path = \"/health\", interval = \"250ms\", timeout = \"1s\", rise = 1, fall = 50 }",
    );
    let peer = Peer::start(&Settings::default().serve("http", pool.nodes([node.address()])));
    node.order("/health", Behaviour::status(500));
    let observed = || peer.json("/api/v1/nodes/web-1/observations")["items"][0].clone();
    let mut client = Raw::connect(peer.listener("web"));
    let crashed = client.ask("POST /crash HTTP/1.1\r\nHost: test\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(crashed.map(|answer| answer.status), Ok(502));
    wait_until("some bad checks", || observed()["streak"].as_i64().is_some_and(|streak| streak <= -3));
    assert_eq!(observed()["vote"], "up", "fall is 50: {}", observed());
    let state = &peer.json("/api/v1/nodes/web-1")["state"];
    assert_eq!((&state["verdict"], &state["local"]), (&"up".into(), &"admitted".into()), "{state}");
}
