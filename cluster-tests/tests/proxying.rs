//! What HTTP clients and nodes may rely on while a peer stands between them.

use std::time::Duration;

use cluster_tests::front::Front;
use cluster_tests::nginx::Nginx;
use cluster_tests::node::{Answer as NodeAnswer, Behaviour, BodyRead, TestNode, Then};
use cluster_tests::pattern::Pattern;
use cluster_tests::raw::{Broken, End, Raw};
use cluster_tests::settings::{Pool, Settings};
use cluster_tests::wait::wait_until;

/// Long enough for a peer on a busy machine to close a connection or not.
const MOMENT: Duration = Duration::from_secs(3);

fn before(nodes: &[&TestNode]) -> Settings {
    Settings::one("web", "http", nodes.iter().map(|node| node.address()))
}

#[test]
fn files_of_real_nginx_come_through_as_they_are() {
    let nodes: Option<Vec<Nginx>> = ["a", "b"].iter().map(|name| Nginx::start_node(name)).collect();
    let Some(nodes) = nodes else { return };
    let Some(front) = Front::start(&Settings::one("web", "http", nodes.iter().map(Nginx::address))) else { return };
    let mut client = Raw::connect(front.listener("web"));

    for (path, length) in [("/1k", 1 << 10), ("/64k", 64 << 10), ("/1m", 1 << 20)] {
        let answer = client.get(path);
        assert_eq!((answer.status, answer.body.len()), (200, length), "{path}");
        assert_eq!(Pattern::shared().difference(0, &answer.body), None, "{path}");
    }

    let tag = client.get("/1k").field("etag").expect("nginx tags its files").to_owned();
    let unchanged = format!("GET /1k HTTP/1.1\r\nHost: test\r\nIf-None-Match: {tag}\r\n\r\n");
    for request in [unchanged.clone(), unchanged.replace("GET", "HEAD")] {
        let answer = client.ask(request).unwrap();
        assert_eq!((answer.status, answer.body.len()), (304, 0));
        assert_eq!(answer.field("etag"), Some(tag.as_str()));
    }

    let part = client.ask("GET /64k HTTP/1.1\r\nHost: test\r\nRange: bytes=1000-1999\r\n\r\n").unwrap();
    assert_eq!((part.status, part.field("content-range")), (206, Some("bytes 1000-1999/65536")));
    assert_eq!((part.body.len(), Pattern::shared().difference(1_000, &part.body)), (1_000, None));
    let beyond = client.ask("GET /1k HTTP/1.1\r\nHost: test\r\nRange: bytes=5000-\r\n\r\n").unwrap();
    assert_eq!((beyond.status, beyond.field("content-range")), (416, Some("bytes */1024")));

    let head = client.ask("HEAD /1m HTTP/1.1\r\nHost: test\r\n\r\n").unwrap();
    assert_eq!((head.status, head.field("content-length"), head.body.len()), (200, Some("1048576"), 0));
    assert_eq!(client.get("/none").status, 404);
    assert_eq!(client.ask("POST /1k HTTP/1.1\r\nHost: test\r\nContent-Length: 2\r\n\r\nhi").unwrap().status, 405);
    assert_eq!(client.get("/1k").status, 200, "all of it went over one connection");
}

#[test]
fn connections_are_kept_on_both_sides() {
    let node = TestNode::start("a");
    // Each worker has connections of its own.
    let Some(front) = Front::start(&before(&[&node]).peer_line("workers = 1")) else { return };
    let mut client = Raw::connect(front.listener("web"));
    for _ in 0..100 {
        assert_eq!(client.get("/").text(), "a\n");
    }
    assert_eq!(node.seen().connections, 1, "one client that asks in turn needs one connection to the node");

    let answer = client.ask("GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n").unwrap();
    assert_eq!(answer.status, 200);
    assert_eq!(client.end(MOMENT), End::Closed);
    assert_eq!(Raw::connect(front.listener("web")).get("/").status, 200);
    assert_eq!(node.seen().connections, 1, "a client's close is its own, not the node's");
}

#[test]
fn requests_sent_at_once_are_answered_in_order() {
    let node = TestNode::start("a");
    let Some(front) = Front::start(&before(&[&node])) else { return };
    let mut client = Raw::connect(front.listener("web"));
    let requests: String =
        (1..=20).map(|number| format!("GET /bytes/{number} HTTP/1.1\r\nHost: test\r\n\r\n")).collect();
    client.send(requests).unwrap();
    for number in 1..=20 {
        assert_eq!(client.answer("GET").unwrap().body.len(), number);
    }
}

#[test]
fn an_old_client_gets_an_answer_it_can_read() {
    let node = TestNode::start("a");
    let Some(front) = Front::start(&before(&[&node])) else { return };
    let mut client = Raw::connect(front.listener("web"));
    client.send("GET /chunked/100000 HTTP/1.0\r\nHost: test\r\n\r\n").unwrap();
    let answer = client.answer("GET").unwrap();
    assert_eq!(answer.field("transfer-encoding"), None, "HTTP/1.0 knows no chunks (RFC 9112 section 6.1)");
    assert_eq!((answer.body.len(), Pattern::shared().difference(0, &answer.body)), (100_000, None));
    assert_eq!(client.end(MOMENT), End::Closed);

    let mut kept = Raw::connect(front.listener("web"));
    for _ in 0..2 {
        let answer = kept.ask("GET / HTTP/1.0\r\nHost: test\r\nConnection: keep-alive\r\n\r\n").unwrap();
        assert_eq!(answer.text(), "a\n");
    }
}

#[test]
fn fields_of_one_hop_stay_on_it() {
    let node = TestNode::start("a");
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: X-Hop, Keep-Alive\r\nX-Hop: 1\r\nKeep-Alive: timeout=9\r\n\
                  Proxy-Connection: keep-alive\r\nX-End: 2\r\n\r\n";
    node.order("*", Behaviour::raw(answer, Then::Keep));
    let Some(front) = Front::start(&before(&[&node])) else { return };
    let request = "GET / HTTP/1.1\r\nHost: test\r\nConnection: X-Hop, keep-alive, TE\r\nX-Hop: 1\r\nKeep-Alive: timeout=9\r\n\
                   Proxy-Connection: keep-alive\r\nTE: trailers\r\nUpgrade: h2c\r\nX-End: 2\r\nx-END: 3\r\n\r\n";
    let answer = Raw::connect(front.listener("web")).ask(request).unwrap();
    if !front.is_peer() {
        return;
    }
    for gone in ["x-hop", "keep-alive", "proxy-connection"] {
        assert_eq!(answer.field(gone), None, "{gone} of the answer");
    }
    assert_eq!(answer.field("x-end"), Some("2"));
    let seen = node.seen();
    let request = &seen.requests[0];
    for gone in ["x-hop", "keep-alive", "proxy-connection", "upgrade"] {
        assert_eq!(request.field(gone), None, "{gone} of the request");
    }
    // The peer takes trailers itself, and says so for its own hop.
    assert_eq!(request.field("te"), Some("trailers"));
    assert_eq!(request.field("connection"), Some("TE"));
    let ends: Vec<_> = request.fields.iter().filter(|(name, _)| name.eq_ignore_ascii_case("x-end")).collect();
    assert_eq!(
        ends.iter().map(|(_, value)| value.as_str()).collect::<Vec<_>>(),
        ["2", "3"],
        "lines are not merged or moved"
    );
    assert_eq!(request.field("host"), Some("test"));
}

#[test]
fn a_node_is_told_who_asks_and_a_client_cannot_pretend() {
    let node = TestNode::start("a");
    let pretended = "GET / HTTP/1.1\r\nHost: shop.example:8080\r\nX-Forwarded-For: 203.0.113.9\r\nX-Forwarded-Proto: https\r\n\
                     X-Forwarded-Host: evil.example\r\nForwarded: for=203.0.113.9\r\nX-Forwarded-Ssl: on\r\n\
                     X-Forwarded-Client-Cert: root\r\nX-Real-IP: 203.0.113.9\r\nX_Forwarded_For: 203.0.113.9\r\n\
                     Content_Length: 5\r\nX_Request_Id: 7\r\n\r\n";
    let Some(front) = Front::start(&before(&[&node])) else { return };
    if !front.is_peer() {
        return;
    }
    assert_eq!(Raw::connect(front.listener("web")).ask(pretended).unwrap().status, 200);
    let seen = node.seen();
    let request = &seen.requests[0];
    for gone in ["x-forwarded-ssl", "x-forwarded-client-cert", "x-real-ip", "x_forwarded_for", "content_length"] {
        assert_eq!(request.field(gone), None, "{gone}");
    }
    assert_eq!(request.field("x_request_id"), Some("7"), "an underscore alone harms nobody");
    assert_eq!(request.field("x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(request.field("x-forwarded-proto"), Some("http"));
    assert_eq!(request.field("x-forwarded-host"), Some("shop.example:8080"));
    let forwarded = request.field("forwarded").expect("RFC 7239").to_lowercase();
    assert!(forwarded.contains("for=127.0.0.1") && !forwarded.contains("203.0.113.9"), "{forwarded}");
    assert!(forwarded.contains("proto=http") && forwarded.contains("host=\"shop.example:8080\""), "{forwarded}");
    assert!(request.field("via").is_some_and(|via| via.starts_with("1.1 ")), "{:?}", request.field("via"));

    node.forget();
    let trusting = before(&[&node]).listener_line("trusted_proxies = [\"127.0.0.0/8\"]");
    let Some(front) = Front::start(&trusting) else { return };
    assert_eq!(Raw::connect(front.listener("web")).ask(pretended).unwrap().status, 200);
    let seen = node.seen();
    let request = &seen.requests[0];
    assert_eq!(request.field("x-forwarded-for"), Some("203.0.113.9, 127.0.0.1"));
    assert_eq!(request.field("x-forwarded-ssl"), Some("on"));
    assert_eq!(request.field("x_forwarded_for"), None, "a listed proxy may have let it pass from anybody");
    assert_eq!(request.field("x-forwarded-proto"), Some("https"));
    let forwarded = request.field("forwarded").expect("RFC 7239").to_lowercase();
    assert!(forwarded.starts_with("for=203.0.113.9, for=127.0.0.1"), "{forwarded}");

    node.forget();
    let nothing_said = "GET / HTTP/1.1\r\nHost: test\r\nX-Forwarded-For:\r\nForwarded: \r\n\r\n";
    assert_eq!(Raw::connect(front.listener("web")).ask(nothing_said).unwrap().status, 200);
    let seen = node.seen();
    assert_eq!(seen.requests[0].field("x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(seen.requests[0].field("forwarded"), Some("for=127.0.0.1;host=\"test\";proto=http"));
}

#[test]
fn clients_behind_a_listed_proxy_are_told_apart_when_nodes_are_picked_by_client() {
    let nodes = TestNode::start_many(4);
    let pool = |name: &str| {
        let pool = Pool::new(name).unchecked().line("strategy = \"ip_hash\"");
        pool.nodes(nodes.iter().map(TestNode::address))
    };
    let settings = Settings::default().serve("http", pool("open")).serve("http", pool("behind"));
    let Some(front) = Front::start(&settings.listener_line("trusted_proxies = [\"127.0.0.0/8\"]")) else { return };
    if !front.is_peer() {
        return;
    }
    let picked = |listener: &str| {
        let mut client = Raw::connect(front.listener(listener));
        let mut ask = |number: u8| {
            let chain = format!("X-Forwarded-For: 192.0.2.{number}, 127.0.0.9");
            client.ask(format!("GET / HTTP/1.1\r\nHost: test\r\n{chain}\r\n\r\n")).unwrap().text()
        };
        let names: Vec<String> = (0..40).map(&mut ask).collect();
        assert_eq!((0..40).map(ask).collect::<Vec<_>>(), names, "each has one node");
        names.into_iter().collect::<std::collections::BTreeSet<_>>().len()
    };
    assert_eq!(picked("open"), 1, "who is not listed is one client, whatever it says");
    assert_eq!(picked("behind"), 4);
}

#[test]
fn an_upgraded_connection_carries_any_bytes() {
    let node = TestNode::start("a");
    let Some(front) = Front::start(&before(&[&node])) else { return };
    if front.kind() == cluster_tests::front::Kind::Nginx {
        return;
    }
    let mut client = Raw::connect(front.listener("web"));
    // The first bytes come along with the request: they belong to the tunnel.
    client.send("GET /upgrade HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\nfirst").unwrap();
    let head = client.head().unwrap();
    assert_eq!(head.status(), Ok(101));
    assert_eq!((head.field("upgrade"), head.lists("connection", "upgrade")), (Some("echo"), true));
    assert_eq!(client.bytes(5).unwrap(), b"first");
    let mut sent = 0;
    for length in [1, 100, 65_536, 300_000] {
        let bytes = Pattern::shared().at(sent, length);
        client.send(bytes).unwrap();
        assert_eq!(Pattern::shared().difference(sent, &client.bytes(length).unwrap()), None);
        sent += length as u64;
    }
    client.end_sending();
    assert_eq!(client.end(MOMENT), End::Closed, "one side's end reaches the other and comes back");
    wait_until("the node's connection to end", || node.look(|seen| seen.connections_open) == 0);
}

#[test]
fn nothing_is_tunnelled_before_the_node_agrees() {
    let node = TestNode::start("a");
    let Some(front) = Front::start(&before(&[&node])) else { return };
    let mut client = Raw::connect(front.listener("web"));
    // The node answers 200: what follows the request is the next request, not the bytes of a tunnel.
    let two = "GET /no HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n\
               GET /next HTTP/1.1\r\nHost: test\r\n\r\n";
    client.send(two).unwrap();
    assert_eq!(client.answer("GET").unwrap().text(), "a\n");
    assert_eq!(client.answer("GET").unwrap().text(), "a\n");
    let lines: Vec<String> = node.seen().requests.iter().map(|request| request.line.clone()).collect();
    assert_eq!(lines, ["GET /no HTTP/1.1", "GET /next HTTP/1.1"]);
    assert_eq!(node.seen().faults, [""; 0]);
}

#[test]
fn a_client_that_asks_first_is_told_to_go_on() {
    let node = TestNode::start("a");
    let Some(front) = Front::start(&before(&[&node])) else { return };
    let mut client = Raw::connect(front.listener("web"));
    client.send("POST /digest HTTP/1.1\r\nHost: test\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n").unwrap();
    assert_eq!(client.head().unwrap().status(), Ok(100));
    client.send("hello").unwrap();
    assert_eq!(client.answer("POST").unwrap().status, 200);
    assert_eq!(client.get("/").status, 200);
    assert_eq!(node.seen().requests[0].body_bytes, 5);
}

#[test]
fn hints_before_an_answer_reach_the_client() {
    let node = TestNode::start("a");
    node.order("/hints", Behaviour { interim: vec![103, 103], ..Behaviour::default() });
    let Some(front) = Front::start(&before(&[&node])) else { return };
    if !front.is_peer() {
        return;
    }
    let mut client = Raw::connect(front.listener("web"));
    let answer = client.get("/hints");
    assert_eq!((answer.interim.as_slice(), answer.status), (&[103, 103][..], 200));
    client.send("GET /hints HTTP/1.0\r\nHost: test\r\n\r\n").unwrap();
    assert_eq!(client.answer("GET").unwrap().interim, [0_u16; 0], "HTTP/1.0 knows no 1xx (RFC 9110 section 15.2)");
}

#[test]
fn an_answer_before_the_whole_request_gets_through() {
    let node = TestNode::start("a");
    node.order("/large", Behaviour { body_read: BodyRead::Never, ..Behaviour::status(413) });
    let Some(front) = Front::start(&before(&[&node])) else { return };
    let mut client = Raw::connect(front.listener("web"));
    client.send("POST /large HTTP/1.1\r\nHost: test\r\nContent-Length: 100000000\r\n\r\n").unwrap();
    client.send(Pattern::shared().at(0, 10_000)).unwrap();
    assert_eq!(client.answer("POST").unwrap().status, 413);
    assert_eq!(Raw::connect(front.listener("web")).get("/").status, 200);

    // A client that reads only once it has sent all of it gets the same.
    let mut client = Raw::connect(front.listener("web"));
    client.send("POST /large HTTP/1.1\r\nHost: test\r\nContent-Length: 100000000\r\n\r\n").unwrap();
    let piece = Pattern::shared().at(0, 1_000_000);
    for sent in 0..100 {
        client.send(piece).unwrap_or_else(|error| panic!("after {sent} MB: {error}"));
    }
    assert_eq!(client.answer("POST").unwrap().status, 413);
}

#[test]
fn only_what_may_be_sent_twice_is() {
    let (good, bad) = (TestNode::start("good"), TestNode::start("bad"));
    bad.order("*", Behaviour::raw("", Then::Reset));
    let settings = Settings::default().serve(
        "http",
        Pool::new("web").unchecked().line("strategy = \"round_robin\"").nodes([good.address(), bad.address()]),
    );
    let Some(front) = Front::start(&settings) else { return };
    if !front.is_peer() {
        return;
    }
    for _ in 0..20 {
        let answer = Raw::connect(front.listener("web")).get("/");
        assert_eq!((answer.status, answer.text().as_str()), (200, "good\n"), "GET is asked again at another node");
    }
    assert!(bad.seen().requests_total >= 1, "the bad node was tried");
    bad.forget();
    good.forget();
    let post = "POST /order HTTP/1.1\r\nHost: test\r\nContent-Length: 2\r\n\r\nhi";
    let statuses: Vec<u16> = (0..20).map(|_| Raw::connect(front.listener("web")).ask(post).unwrap().status).collect();
    let (lost, taken) = (bad.seen().requests.len(), good.seen().requests.len());
    assert_eq!(lost + taken, 20, "each order arrives at one node, once");
    assert_eq!(statuses.iter().filter(|&&status| status == 502).count(), lost, "{statuses:?}");
}

#[test]
fn a_body_in_chunks_is_sent_again_whole_and_the_next_request_is_no_part_of_it() {
    let (good, bad) = (TestNode::start("good"), TestNode::start_many(2));
    let pool = Pool::new("web").unchecked().line("retries = 2").nodes(bad.iter().map(TestNode::address));
    let pool = pool.node(&good.address().to_string(), &["backup = true"]);
    let Some(front) = Front::start(&Settings::default().serve("http", pool)) else { return };
    if !front.is_peer() {
        return;
    }
    const PUT: &str = "PUT /digest HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n";
    const NEXT: &str = "GET /next HTTP/1.1\r\nHost: test\r\n\r\n";
    bad.iter().for_each(|node| node.order("/digest", Behaviour::raw("", Then::Close)));
    bad.iter().for_each(|node| node.order("/next", Behaviour::status(200)));
    for (body, bytes) in [("0\r\n\r\n", 0), ("5\r\nhello\r\n0\r\n\r\n", 5)] {
        good.forget();
        let mut client = Raw::connect(front.listener("web"));
        client.send(format!("{PUT}{body}{NEXT}")).unwrap();
        let answer = client.answer("PUT").unwrap();
        assert_eq!((answer.status, answer.field("node")), (200, Some("good")), "{body:?}: both others broke off");
        assert_eq!(client.answer("GET").map(|answer| answer.status), Ok(200), "{body:?}: behind it");
        assert_eq!(good.look(|seen| seen.requests[0].body_bytes), bytes, "{body:?}");
    }

    // The same while most of the body is still with the client.
    let break_off = Behaviour { body_read: BodyRead::Never, ..Behaviour::raw("", Then::Close) };
    bad.iter().for_each(|node| node.order("/digest", break_off.clone()));
    good.forget();
    let mut client = Raw::connect(front.listener("web"));
    client.send(format!("{PUT}5\r\nhel")).unwrap();
    wait_until("the request at the last node", || good.look(|seen| seen.in_flight) == 1);
    client.send("lo\r\n6\r\n world\r\n0\r\n\r\n").unwrap();
    assert_eq!(client.answer("PUT").map(|answer| answer.status), Ok(200));
    assert_eq!(good.look(|seen| seen.requests[0].body_bytes), 11);
}

#[test]
fn refusals_of_the_peer_name_nothing_within() {
    let gone = cluster_tests::ports::free();
    let slow = TestNode::start("slow");
    slow.order("*", NodeAnswer::Raw { bytes: String::new(), then: Then::Hang });
    let broken = TestNode::start("broken");
    broken.order("*", Behaviour::raw("nonsense\r\n\r\n", Then::Close));
    let settings = Settings::one("gone", "http", [gone])
        .serve("http", Pool::new("slow").unchecked().line("response_timeout = \"300ms\"").nodes([slow.address()]))
        .serve("http", Pool::new("broken").unchecked().nodes([broken.address()]));
    let Some(front) = Front::start(&settings) else { return };
    if !front.is_peer() {
        return;
    }
    for (listener, statuses) in [("gone", &[502, 503][..]), ("slow", &[504]), ("broken", &[502])] {
        let mut client = Raw::connect(front.listener(listener));
        for _ in 0..2 {
            let answer = client.ask("GET / HTTP/1.1\r\nHost: test\r\n\r\n").unwrap();
            assert!(statuses.contains(&answer.status), "{listener}: {}", answer.head.start);
            let told = answer.text();
            assert!(!told.is_empty() && told.len() < 200, "a short reason: {told:?}");
            assert!(!told.contains("127.0.0.1") && !told.contains("-1"), "no address and no node: {told:?}");
        }
    }
}

#[test]
fn a_client_that_leaves_takes_its_request_along() {
    let node = TestNode::start("a");
    let Some(front) = Front::start(&before(&[&node])) else { return };
    let mut client = Raw::connect(front.listener("web"));
    client.send("GET /bytes/1000000000 HTTP/1.1\r\nHost: test\r\n\r\n").unwrap();
    assert_eq!(client.head().unwrap().status(), Ok(200));
    client.reset();
    wait_until("the node to be rid of the request", || node.look(|seen| seen.in_flight) == 0);
    let mut after = Raw::connect(front.listener("web"));
    for _ in 0..3 {
        assert_eq!(after.get("/").text(), "a\n", "nothing of the abandoned answer is left");
    }
}

#[test]
fn a_node_that_dies_within_a_body_is_not_papered_over() {
    let node = TestNode::start("a");
    node.order("/cut", Behaviour::raw("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf", Then::Close));
    node.order(
        "/chunk",
        Behaviour::raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n", Then::Reset),
    );
    let Some(front) = Front::start(&before(&[&node])) else { return };
    for path in ["/cut", "/chunk"] {
        let mut client = Raw::connect(front.listener("web"));
        let broken = client.ask(format!("GET {path} HTTP/1.1\r\nHost: test\r\n\r\n")).unwrap_err();
        assert!(matches!(broken, Broken::Cut | Broken::Reset), "{path}: {broken:?}");
    }
}
