//! Limits by client, field and route, and the caps of a listener and of a process: who is turned away, how, and who is not.

use std::net::SocketAddr;
use std::time::Duration;

use cluster_tests::environment::is_soak;
use cluster_tests::node::TestNode;
use cluster_tests::peer::{Peer, write_settings};
use cluster_tests::raw::{Answer, End, Raw};
use cluster_tests::settings::{Pool, Settings};
use cluster_tests::wait::{pause, wait_until};
use cluster_tests::{procfs, report};
use evenkeel::model::limits::LIMITER_BYTES_MAX;
use rustix::process::Signal;
use serde_json::{Value, json};

/// Long enough for a peer on a busy machine to close a connection.
const MOMENT: Duration = Duration::from_secs(3);

/// How large the story of many is.
struct Crowd {
    addresses: u32,
    /// What limits may take to remember them: of the smaller crowd three hundred bytes each, for their table has just grown to one for
    /// half a million.
    limiter_bytes: u64,
    /// What a peer may take for a load like that beside its limits: buffers, and an allocator that keeps what was given back.
    beside_bytes: u64,
}

const CROWD: Crowd = Crowd { addresses: 30_000, limiter_bytes: 9 << 20, beside_bytes: 12 << 20 };
const LARGER_CROWD: Crowd =
    Crowd { addresses: 1_000_000, limiter_bytes: LIMITER_BYTES_MAX as u64, beside_bytes: 24 << 20 };
/// Requests that its client sends at once.
const BATCH: u32 = 100;

/// A peer before this node, whose listener `web` believes this machine, with these routes.
fn peer(node: &TestNode, routes: &str) -> Peer {
    start(&trusting(node), routes)
}

fn trusting(node: &TestNode) -> Settings {
    let settings = Settings::default().serve("http", Pool::new("web").unchecked().nodes([node.address()]));
    settings.listener_line("trusted_proxies = [\"127.0.0.1\"]")
}

fn start(settings: &Settings, routes: &str) -> Peer {
    let peer = Peer::start_file(&format!("{}{routes}", settings.evenkeel_toml()), &[]);
    wait_until("the first catalog", || peer.json("/api/v1/catalog")["source"] == "cluster");
    peer
}

fn route(name: &str, then: &str) -> String {
    format!("[[route]]\nname = \"{name}\"\nthen = {{ {then} }}\n")
}

/// `GET /` with these fields, each ended by CR LF.
fn get(client: &mut Raw, fields: &str) -> Answer {
    client.ask(format!("GET / HTTP/1.1\r\nHost: test\r\n{fields}\r\n")).expect("a whole answer")
}

/// The statuses of so many requests with these fields, over one connection.
fn statuses(peer: &Peer, fields: &str, requests: usize) -> Vec<u16> {
    let mut client = Raw::connect(peer.listener("web"));
    (0..requests).map(|_| get(&mut client, fields).status).collect()
}

fn metric(peer: &Peer, name: &str) -> f64 {
    let page = peer.ask("/metrics").text();
    let line = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no {name} in\n{page}"))
}

fn limited(peer: &Peer, route: &str, limit: &str) -> f64 {
    metric(peer, &format!("evenkeel_requests_limited_total{{route=\"{route}\",limit=\"{limit}\"}}"))
}

#[test]
fn a_burst_passes_and_who_comes_too_often_is_told_when_to_come_again() {
    let node = TestNode::start("a");
    let peer = peer(&node, &route("api", "rate_limit = { rate = \"20/m\", burst = 3 }"));
    let mut client = Raw::connect(peer.listener("web"));
    for _ in 0..3 {
        assert_eq!(get(&mut client, "").status, 200);
    }
    let refused = get(&mut client, "");
    assert_eq!(refused.status, 429);
    let seconds: u64 = refused.field("retry-after").expect("it says when").parse().expect("whole seconds");
    // The next one is there three seconds after the first.
    assert!((1..=3).contains(&seconds), "{seconds}");
    assert!(refused.text().contains("too many requests"), "{}", refused.text());
    assert_eq!(limited(&peer, "api", "rate"), 1.0);
    assert_eq!(node.seen().requests.len(), 3, "no node hears of it");

    pause(Duration::from_secs(seconds));
    assert_eq!(get(&mut client, "").status, 200, "over the same connection");
}

#[test]
fn clients_are_told_apart_by_what_a_limit_says() {
    let node = TestNode::start("a");
    let by_key = "per = \"header:X-Api-Key\", rate = \"1/h\", burst = 2, status = 503";
    let routes = [
        "[[route]]\nname = \"by-key\"\nwhen = { header = { name = \"x-by\", value = \"key\" } }\n",
        &format!("then = {{ rate_limit = {{ {by_key} }}, pool = \"web\" }}\n"),
        &route("by-address", "rate_limit = { per = \"client_ip\", rate = \"1/h\", burst = 2 }, pool = \"web\""),
    ];
    let peer = peer(&node, &routes.concat());
    let asked = |fields: &str| statuses(&peer, fields, 3);
    let rest = [200, 200, 429];
    for client in ["198.51.100.7", "198.51.100.8", "2001:db8::1"] {
        assert_eq!(asked(&format!("X-Forwarded-For: {client}\r\n")), rest, "{client}");
    }
    for (client, status) in [
        ("2001:db8:0:0:1234::1", 429),
        ("2001:db8:0:1::1", 200),
        ("::ffff:198.51.100.7", 429),
        // The rest of the chain is its sender's own word.
        ("203.0.113.99, 198.51.100.7", 429),
    ] {
        assert_eq!(statuses(&peer, &format!("X-Forwarded-For: {client}\r\n"), 1), [status], "{client}");
    }

    let key = |fields: &str| asked(&format!("X-By: key\r\n{fields}"));
    let rest = [200, 200, 503];
    assert_eq!(key("X-Api-Key: gold\r\n"), rest);
    assert_eq!(key("X-Api-Key: silver\r\n"), rest);
    assert_eq!(key("x-api-key: gold\r\nX-Forwarded-For: 198.51.100.9\r\n"), [503; 3], "whoever sends it");
    assert_eq!(key("X-Forwarded-For: 198.51.100.10\r\n"), rest, "without one, by address");
    assert_eq!(key("X-Api-Key: a\r\nX-Api-Key: b\r\nX-Forwarded-For: 198.51.100.10\r\n"), [503; 3], "and with two");
    assert_eq!((limited(&peer, "by-key", "rate"), limited(&peer, "by-address", "rate")), (9.0, 6.0));
}

#[test]
fn who_is_not_believed_cannot_pretend_to_be_many() {
    let node = TestNode::start("a");
    let settings = Settings::default().serve("http", Pool::new("web").unchecked().nodes([node.address()]));
    let peer = start(&settings, &route("api", "rate_limit = { rate = \"1/h\", burst = 2 }"));
    let mut client = Raw::connect(peer.listener("web"));
    let mut ask = |number: u32| {
        let pretended = format!("203.0.113.{number}");
        get(
            &mut client,
            &format!("X-Forwarded-For: {pretended}\r\nForwarded: for={pretended}\r\nX-Real-IP: {pretended}\r\n"),
        )
    };
    let statuses: Vec<u16> = (1..=5).map(|number| ask(number).status).collect();
    assert_eq!(statuses, [200, 200, 429, 429, 429]);
}

#[test]
fn limits_of_all_routes_along_the_way_count_and_a_refusal_counts_against_none_behind() {
    let node = TestNode::start("a");
    let routes = [
        route("first", "rate_limit = { rate = \"1/h\", burst = 2 }"),
        route("second", "rate_limit = { per = \"route\", rate = \"1/h\", burst = 3 }, pool = \"web\""),
    ];
    let peer = peer(&node, &routes.concat());
    let asked = |client: &str| statuses(&peer, &format!("X-Forwarded-For: {client}\r\n"), 5);
    assert_eq!(asked("198.51.100.1"), [200, 200, 429, 429, 429]);
    assert_eq!(asked("198.51.100.2"), [200, 429, 429, 429, 429], "one was left to all");
    assert_eq!((limited(&peer, "first", "rate"), limited(&peer, "second", "rate")), (6.0, 1.0));

    let explained = peer.json("/api/v1/explain?url=http://test/&from=198.51.100.3");
    let limits: Vec<Value> = ["route", "limit", "per", "left", "refuses"]
        .iter()
        .map(|key| explained["limits"].as_array().expect("a list").iter().map(|limit| limit[key].clone()).collect())
        .collect();
    let expected = [
        json!(["first", "second"]),
        json!(["rate", "rate"]),
        json!(["client_ip", "route"]),
        json!([2, 0]),
        json!([null, 429]),
    ];
    assert_eq!(limits, expected, "{explained}");
    let again = peer.json("/api/v1/explain?url=http://test/&from=198.51.100.3");
    assert_eq!(again["limits"][0], explained["limits"][0], "asking takes nothing");
}

/// Writes a peer's settings anew, and waits until what it says of a request is as wanted.
fn rewrite(peer: &mut Peer, toml: &str, is_taken: impl Fn(&Value) -> bool) {
    write_settings(peer.process().folder(), toml);
    peer.process().signal(Signal::HUP);
    wait_until("the routes", || is_taken(&peer.json("/api/v1/explain?url=http://test/&from=192.0.2.1")));
}

#[test]
fn a_limit_changes_while_the_peer_runs_and_one_that_stays_forgets_nobody() {
    let node = TestNode::start("a");
    let toml = trusting(&node).evenkeel_toml();
    let strict = route("api", "rate_limit = { rate = \"1/h\", burst = 1 }");
    let mut peer = Peer::start_file(&format!("{toml}{strict}"), &[]);
    wait_until("the first catalog", || peer.json("/api/v1/catalog")["source"] == "cluster");
    let fields = "X-Forwarded-For: 198.51.100.7\r\n";
    assert_eq!(statuses(&peer, fields, 2), [200, 429]);

    let other =
        "[[route]]\nname = \"other\"\npriority = 1\nthen = { answer_headers = { set = { \"X-Other\" = \"1\" } } }\n";
    rewrite(&mut peer, &format!("{toml}{strict}{other}"), |explained| {
        explained["routes"].as_array().is_some_and(|all| all.len() == 2)
    });
    assert_eq!(statuses(&peer, fields, 1), [429]);
    assert_eq!(limited(&peer, "api", "rate"), 2.0, "nor what it has counted");

    let wider = route("api", "rate_limit = { rate = \"1/h\", burst = 3 }");
    rewrite(&mut peer, &format!("{toml}{wider}"), |explained| explained["limits"][0]["burst"] == 3);
    assert_eq!(statuses(&peer, fields, 4), [200, 200, 200, 429]);
    rewrite(&mut peer, &toml, |explained| explained["limits"] == json!([]));
    assert_eq!(statuses(&peer, fields, 10), [200; 10]);
}

#[test]
fn a_client_has_so_many_requests_and_websockets_under_way_and_no_more() {
    let node = TestNode::start("a");
    let peer = peer(&node, &route("api", "connection_limit = { max = 2 }"));
    let fields = |client: &str| format!("X-Forwarded-For: {client}\r\n");
    let one = fields("198.51.100.7");
    // Connections that rest between two requests hold nothing.
    let mut resting: Vec<Raw> = (0..5).map(|_| Raw::connect(peer.listener("web"))).collect();
    for client in &mut resting {
        assert_eq!(get(client, &one).status, 200);
    }
    let upgrade = |path: &str| {
        let mut raw = Raw::connect(peer.listener("web"));
        let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\n{one}Connection: upgrade\r\nUpgrade: echo\r\n\r\n");
        raw.send(request).expect("it is sent");
        raw
    };
    let mut tunnel = upgrade("/upgrade");
    assert_eq!(tunnel.head().expect("an answer").status(), Ok(101));
    // One whose node never answers.
    let waiting = upgrade("/freeze");
    wait_until("the second to be at its node", || {
        node.seen().requests.iter().any(|seen| seen.line.contains("/freeze"))
    });

    let refused = get(&mut resting[0], &one);
    assert_eq!((refused.status, refused.field("retry-after")), (429, Some("1")));
    assert_eq!(limited(&peer, "api", "connections"), 1.0);
    assert_eq!(get(&mut resting[1], &fields("198.51.100.8")).status, 200, "others are none the worse");
    tunnel.send("hello").expect("it is sent");
    assert_eq!(tunnel.bytes(5), Ok(b"hello".to_vec()), "and what is under way goes on");

    drop(tunnel);
    wait_until("the tunnel's place", || get(&mut resting[2], &one).status == 200);
    waiting.reset();
    let in_flight =
        || peer.json("/api/v1/explain?url=http://test/&from=198.51.100.7")["limits"][0]["in_flight"].clone();
    wait_until("the place of the client that left", || in_flight() == 0);
}

/// Whether a new connection to a relay before a node of HTTP is answered; else it is reset.
fn is_relayed(at: SocketAddr) -> Option<Raw> {
    let mut raw = match Raw::try_connect(at) {
        Ok(raw) => raw,
        // The reset may be there before the connection is looked at for the first time.
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return None,
        Err(error) => panic!("no connection to {at}: {error}"),
    };
    let answer = raw.ask("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
    match answer {
        Ok(answer) => {
            assert_eq!(answer.status, 200);
            Some(raw)
        }
        Err(broken) => {
            assert_eq!(broken, cluster_tests::raw::Broken::Reset);
            None
        }
    }
}

#[test]
fn connections_that_are_not_http_are_reset_beyond_a_limit() {
    let node = TestNode::start("a");
    let routes = [
        "[[route]]\nname = \"few\"\nwhen = { listener = \"relay\" }\nthen = { connection_limit = { max = 2 } }\n",
        "[[route]]\nname = \"seldom\"\nwhen = { listener = \"relay\" }\n",
        "then = { rate_limit = { rate = \"1/h\", burst = 3 } }\n",
    ];
    let peer = start(&Settings::one("relay", "tcp", [node.address()]), &routes.concat());
    let at = peer.listener("relay");
    let (first, second) = (is_relayed(at), is_relayed(at));
    assert!(first.is_some() && second.is_some());
    assert!(is_relayed(at).is_none(), "two are open");
    assert_eq!(limited(&peer, "few", "connections"), 1.0);
    drop(first);
    let in_flight = || peer.json("/api/v1/explain?listener=relay&from=127.0.0.1")["limits"][0]["in_flight"].clone();
    wait_until("the place of the first", || in_flight() == 1);
    let third = is_relayed(at);
    assert!(third.is_some(), "who was refused by the first limit was not counted by the second");
    drop((second, third));
    wait_until("their places", || in_flight() == 0);
    assert!(is_relayed(at).is_none(), "three in an hour");
    assert_eq!(limited(&peer, "seldom", "rate"), 1.0);
    let name = "evenkeel_listener_connections_refused_total{listener=\"relay\"}";
    assert_eq!(metric(&peer, name), 2.0);
}

/// Opens connections until one is closed at once; how many stayed.
fn stayed(at: SocketAddr, kept: &mut Vec<Raw>) -> usize {
    let before = kept.len();
    loop {
        let mut raw = Raw::connect(at);
        match raw.ask("GET / HTTP/1.1\r\nHost: test\r\n\r\n") {
            Ok(answer) => assert_eq!(answer.status, 200),
            Err(_) => return kept.len() - before,
        }
        kept.push(raw);
        assert!(kept.len() < 100, "nobody is turned away");
    }
}

#[test]
fn a_process_and_a_client_have_as_many_connections_as_they_may() {
    let node = TestNode::start("a");
    let pool = |name: &str| Pool::new(name).unchecked().nodes([node.address()]);
    let settings = Settings::default().serve("http", pool("web")).listener_line("max_connections_per_client = 3");
    let settings = settings.serve("http", pool("more")).peer_line("max_connections = 5");
    let peer = start(&settings, "");
    let mut kept = Vec::new();
    assert_eq!(stayed(peer.listener("web"), &mut kept), 3, "of one client");
    assert_eq!(stayed(peer.listener("more"), &mut kept), 2, "the rest of the process");
    let refused = |listener: &str| {
        metric(&peer, &format!("evenkeel_listener_connections_refused_total{{listener=\"{listener}\"}}"))
    };
    assert_eq!((refused("web"), refused("more")), (1.0, 1.0));
    if let Ok(mut turned_away) = Raw::try_connect(peer.listener("more")) {
        assert!(matches!(turned_away.end(MOMENT), End::Closed | End::Reset));
    }

    drop(kept.remove(0));
    wait_until("a place", || stayed(peer.listener("more"), &mut kept) == 1);
}

#[test]
fn many_addresses_take_bounded_memory_and_neither_free_who_is_limited_nor_limit_who_is_not() {
    let Crowd { addresses, limiter_bytes, beside_bytes } = if is_soak() { LARGER_CROWD } else { CROWD };
    let node = TestNode::start("a");
    let then = "rate_limit = { rate = \"60/h\", burst = 4 }, answer = { status = 204 }";
    let mut peer = peer(&node, &route("api", then));
    let limited_fields = "X-Forwarded-For: 203.0.113.7\r\n";
    assert_eq!(statuses(&peer, limited_fields, 5), [204, 204, 204, 204, 429]);
    let before = procfs::forget_peak(peer.process().pid());

    let mut client = Raw::connect(peer.listener("web"));
    for first in (0..addresses).step_by(BATCH as usize) {
        let batch = first..first + BATCH;
        let of = |number: u32| std::net::Ipv4Addr::from(0x0A00_0000 + number);
        let one = |number| format!("GET / HTTP/1.1\r\nHost: test\r\nX-Forwarded-For: {}\r\n\r\n", of(number));
        client.send(batch.clone().map(one).collect::<String>()).expect("it is sent");
        for number in batch {
            assert_eq!(client.answer("GET").expect("an answer").status, 204, "{number}: it never came before");
        }
    }
    assert_eq!(statuses(&peer, limited_fields, 1), [429], "whatever came in between");
    let grown = procfs::peak_resident_bytes(peer.process().pid()).saturating_sub(before);
    let counted = metric(&peer, "evenkeel_limit_memory_bytes");
    let figures = format!("{} KiB of limits, the process grew by {} KiB", counted / 1024.0, grown / 1024);
    report::figure(&format!("{addresses} addresses against a limiter"), figures);
    assert!(counted <= limiter_bytes as f64, "{counted}");
    assert!(grown <= limiter_bytes + beside_bytes, "{grown}");
    let forgotten = metric(&peer, "evenkeel_limit_keys_forgotten_total");
    assert!(forgotten <= f64::from(addresses) / 50.0, "{forgotten}");
}
