//! A peer that is told to stop finishes what it has and ends with 0.

use std::io::{ErrorKind, Read};
use std::net::TcpListener;
use std::time::Duration;

use cluster_tests::load::{Load, Plan, failures};
use cluster_tests::node::{Answer, TestNode};
use cluster_tests::pattern::Pattern;
use cluster_tests::peer::Peer;
use cluster_tests::raw::{Broken, End, Raw};
use cluster_tests::report;
use cluster_tests::settings::{Pool, Settings};
use cluster_tests::wait::{PATIENCE, wait_until};
use evenkeel::host;
use rustix::process::Signal;

fn peer(node: &TestNode, lines: &[&str]) -> Peer {
    let settings = Settings::one("web", "http", [node.address()]);
    Peer::start(&lines.iter().fold(settings, |settings, line| settings.peer_line(*line)))
}

#[test]
fn no_request_fails_when_a_peer_stops_under_load() {
    let node = TestNode::start("a");
    let mut peer = peer(&node, &["announce = \"3s\""]);
    let address = peer.listener("web");
    let mut download = Raw::connect(address);
    download.send("GET /slow/6000000 HTTP/1.1\r\nHost: test\r\n\r\n").unwrap();
    let (_, head) = download.final_head().unwrap();
    let load = Load::start(&Plan::get(address, 500));
    let slow_plan =
        Plan { request: "GET /delay/1500 HTTP/1.1\r\nHost: test\r\n\r\n".into(), clients: 8, ..Plan::get(address, 50) };
    let slow = Load::start(&slow_plan);
    wait_until("traffic", || load.count() > 200);

    let told = host::now();
    peer.process().signal(Signal::TERM);
    wait_until("/health to say 503", || peer.says_it_stops());
    // A balancer in front takes a while to see that, and then it sends no more.
    let count = load.count();
    wait_until("traffic while the peer says that it stops", || load.count() > count + 300);
    let outcomes = [load.stop(), slow.stop()].concat();
    assert!(told.elapsed() < Duration::from_secs(3), "{:?}", told.elapsed());
    assert_eq!(failures(&outcomes, 10), [""; 0]);
    let closed =
        outcomes.iter().filter(|outcome| outcome.sent > told).filter_map(|outcome| outcome.answer.as_ref().ok());
    let (closing, after) =
        closed.fold((0, 0), |(closing, all), answer| (closing + usize::from(!answer.head.keeps_alive()), all + 1));
    assert!(after >= 300 && closing >= 300, "{after} answers after the signal, {closing} of them the last on theirs");
    report::line(&format!(
        "{} requests, {after} of them after the signal, {closing} of those with `Connection: close`",
        outcomes.len()
    ));

    let (mut got, mut wrong) = (0, None);
    let body = download.body(head.answer_framing("GET").unwrap(), &mut |part| {
        wrong = wrong.or_else(|| Pattern::shared().difference(got, part));
        got += part.len() as u64;
    });
    assert_eq!((body, wrong, got), (Ok(Vec::new()), None, 6_000_000), "a download is finished");
    assert!(peer.process().wait(PATIENCE).success());
    report::figure("signal to exit", format!("{:?}", told.elapsed()));
    assert!(Raw::try_connect(address).is_err(), "nobody listens any more");
}

#[test]
fn idle_connections_do_not_hold_a_stopping_peer() {
    let node = TestNode::start("a");
    let mut peer = peer(&node, &["announce = \"200ms\"", "drain = \"20s\""]);
    let mut clients: Vec<Raw> = (0..50).map(|_| Raw::connect(peer.listener("web"))).collect();
    for client in clients.iter_mut().take(25) {
        assert_eq!(client.get("/").status, 200);
    }
    let told = host::now();
    peer.process().signal(Signal::TERM);
    for client in &mut clients {
        assert!(matches!(client.end(PATIENCE), End::Closed | End::Reset));
    }
    assert!(peer.process().wait(PATIENCE).success());
    assert!(told.elapsed() < Duration::from_secs(5), "{:?}", told.elapsed());
}

#[test]
fn a_request_that_outlasts_the_drain_is_cut_at_its_end() {
    let node = TestNode::start("a");
    let mut peer = peer(&node, &["announce = \"0s\"", "drain = \"700ms\""]);
    let mut client = Raw::connect(peer.listener("web"));
    client.send("GET /freeze HTTP/1.1\r\nHost: test\r\n\r\n").unwrap();
    wait_until("the request at the node", || node.look(|seen| seen.requests_total) == 1);
    let told = host::now();
    peer.process().signal(Signal::TERM);
    let broken = client.answer("GET").map(|answer| answer.status);
    assert!(matches!(broken, Err(Broken::Closed | Broken::Reset | Broken::Cut) | Ok(503 | 504)), "{broken:?}");
    assert!(peer.process().wait(PATIENCE).success());
    assert!((Duration::from_millis(600)..Duration::from_secs(5)).contains(&told.elapsed()), "{:?}", told.elapsed());
}

#[test]
fn what_the_end_of_the_drain_cuts_off_does_not_look_finished() {
    let node = TestNode::start("a");
    node.order(
        "/endless",
        Answer::Pattern { status: 200, fields: Vec::new(), bytes: 100_000_000, chunked: true, pause_ms: 5 },
    );
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let behind = listener.local_addr().expect("an address");
    let settings =
        Settings::one("web", "http", [node.address()]).serve("tcp", Pool::new("relay").unchecked().nodes([behind]));
    let settings = settings.peer_line("announce = \"0s\"").peer_line("drain = \"500ms\"");
    let mut peer = Peer::start(&settings);
    // Neither a length nor chunks: the end of the connection is the end of the body.
    let mut download = Raw::connect(peer.listener("web"));
    download.send("GET /endless HTTP/1.0\r\nHost: test\r\n\r\n").unwrap();
    let (_, head) = download.final_head().unwrap();
    assert_eq!((head.status(), head.field("content-length")), (Ok(200), None));
    let mut relayed = Raw::connect(peer.listener("relay"));
    let (mut relayed_to, _) = listener.accept().expect("a connection");
    relayed.send("x").unwrap();
    relayed_to.read_exact(&mut [0; 1]).unwrap();

    peer.process().signal(Signal::TERM);
    let rest = download.rest();
    assert_eq!(rest.map(|bytes| bytes.len()), Err(Broken::Reset), "HTTP/1.0 to the end of the connection");
    assert_eq!(relayed.end(PATIENCE), End::Reset, "a relay, for the client");
    let told = relayed_to.read(&mut [0; 1]).map_err(|error| error.kind());
    assert_eq!(told, Err(ErrorKind::ConnectionReset), "a relay, for the node");
    assert!(peer.process().wait(PATIENCE).success());
}

#[test]
fn a_kept_connection_is_answered_once_more_when_nobody_told_its_client() {
    let node = TestNode::start("a");
    let mut peer = peer(&node, &["announce = \"0s\"", "drain = \"20s\""]);
    let mut client = Raw::connect(peer.listener("web"));
    client.send("GET /slow/3000000 HTTP/1.1\r\nHost: test\r\n\r\n").unwrap();
    let (_, head) = client.final_head().unwrap();
    assert!(head.keeps_alive(), "the connection was promised to stay");
    let told = host::now();
    peer.process().signal(Signal::TERM);
    wait_until("nobody to listen", || Raw::try_connect(peer.listener("web")).is_err());
    client.body(head.answer_framing("GET").unwrap(), &mut |_| ()).unwrap();
    let answer = client.get("/next");
    assert_eq!((answer.status, answer.head.keeps_alive()), (200, false), "and now it is told");
    assert_eq!(client.end(PATIENCE), End::Closed);
    assert!(peer.process().wait(PATIENCE).success());
    assert!(told.elapsed() < Duration::from_secs(10), "{:?}", told.elapsed());
}

#[test]
fn a_second_signal_ends_a_peer_at_once() {
    let node = TestNode::start("a");
    let mut peer = peer(&node, &["drain = \"60s\""]);
    let mut client = Raw::connect(peer.listener("web"));
    client.send("GET /freeze HTTP/1.1\r\nHost: test\r\n\r\n").unwrap();
    wait_until("the request at the node", || node.look(|seen| seen.requests_total) == 1);
    peer.process().signal(Signal::TERM);
    wait_until("the peer to take the first signal", || peer.says_it_stops());
    // One that comes within a second of the first is the same, doubled on its way.
    peer.process().signal(Signal::TERM);
    let first = host::now();
    wait_until("a second after the first", || first.elapsed() > Duration::from_millis(1_500));
    assert!(peer.process().exited().is_none() && peer.says_it_stops(), "a doubled signal cuts nobody off");
    peer.process().signal(Signal::TERM);
    assert!(!peer.process().wait(Duration::from_secs(3)).success(), "requests were cut, and that is no success");
}
