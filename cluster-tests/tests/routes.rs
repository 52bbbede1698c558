//! Routes at a real peer: who is asked before a request goes on, who has a copy of it, and that `explain` and routing are of one mind.

use std::fs;
use std::net::SocketAddr;
use std::time::Duration;

use cluster_tests::node::{Behaviour, NodeProcess, SeenRequest, TestNode, Then};
use cluster_tests::pattern::Pattern;
use cluster_tests::peer::{Peer, write_settings};
use cluster_tests::ports;
use cluster_tests::raw::{Answer, Raw};
use cluster_tests::settings::{Listener, Pool, Settings};
use cluster_tests::wait::wait_until;
use evenkeel::host;
use rustix::process::Signal;
use serde_json::Value;

/// A peer whose listener `web` leads to the pool `web`, with pools beside it that only routes lead to, and these routes.
fn start(web: &TestNode, beside: Vec<Pool>, routes: &str) -> Peer {
    let mut settings = Settings::one("web", "http", [web.address()]).listener_line("trusted_proxies = [\"127.0.0.1\"]");
    settings.pools.extend(beside);
    Peer::start_file(&format!("{}{routes}", settings.evenkeel_toml()), &[])
}

fn pool(name: &str, nodes: impl IntoIterator<Item = SocketAddr>) -> Pool {
    Pool::new(name).unchecked().nodes(nodes)
}

fn asked(auth: &TestNode) -> SeenRequest {
    auth.look(|seen| seen.requests.back().cloned()).expect("it was asked")
}

/// The values of all fields that somebody who takes an underscore for a hyphen calls so.
fn named_like<'r>(request: &'r SeenRequest, name: &str) -> Vec<&'r str> {
    let is = |found: &str| found.to_ascii_lowercase().replace('_', "-") == name;
    request.fields.iter().filter(|(found, _)| is(found)).map(|(_, value)| value.as_str()).collect()
}

fn failures(peer: &Peer, kind: &str) -> f64 {
    let page = peer.ask("/metrics").text();
    let line =
        page.lines().find(|line| line.starts_with("evenkeel_failures_total") && line.contains(&format!("\"{kind}\"")));
    line.and_then(|line| line.rsplit(' ').next()?.parse().ok()).unwrap_or_else(|| panic!("no {kind} in {page}"))
}

const CHECKED: &str = "
[[route]]
name = \"private\"
when = { path = \"/private/*\" }
then = { check = { pool = \"auth\", path = \"/verify\", timeout = \"1s\", copy = [\"x-user\"] }, pool = \"web\" }
";

#[test]
fn a_request_goes_on_once_a_check_says_so_with_what_the_check_says_of_it() {
    let (web, auth) = (TestNode::start("web"), TestNode::start("auth"));
    let yes = "HTTP/1.1 204 No Content\r\nX-User: ann\r\nX-Other: 1\r\n\r\n";
    auth.order("/verify", Behaviour::raw(yes, Then::Keep));
    let peer = start(&web, vec![pool("auth", [auth.address()])], CHECKED);
    let mut client = Raw::connect(peer.listener("web"));
    let answer = client
        .ask(
            "POST /private/digest?a=1 HTTP/1.1\r\nHost: shop.example\r\nCookie: id=7\r\nX-User: root\r\nX_User: root\r\n\
             X-Original-URI: /public\r\nX_Original_URI: /public\r\nIf-None-Match: \"a\"\r\nContent-Length: 5\r\n\r\nhello",
        )
        .unwrap();
    assert_eq!(answer.status, 200);

    let check = asked(&auth);
    assert_eq!(check.line, "GET /verify HTTP/1.1");
    for (name, value) in [
        ("host", Some("shop.example")),
        ("cookie", Some("id=7")),
        ("x-original-method", Some("POST")),
        ("x-original-uri", Some("/private/digest?a=1")),
        ("x-forwarded-for", Some("127.0.0.1")),
        ("content-length", None),
        ("if-none-match", None),
    ] {
        assert_eq!(check.field(name), value, "{name}");
    }
    assert_eq!(named_like(&check, "x-original-uri"), ["/private/digest?a=1"]);
    let went_on = asked(&web);
    assert_eq!((went_on.body_bytes, went_on.whole), (5, true));
    assert_eq!(named_like(&went_on, "x-user"), ["ann"], "what the client says of itself is gone");
    assert_eq!(went_on.field("x-other"), None, "nobody wants it copied");
    assert_eq!(went_on.field("if-none-match"), Some("\"a\""));

    // Nor does a trailer bring it in.
    let chunked = "POST /private/digest HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nX-User: root\r\n\r\n";
    assert_eq!(client.ask(chunked).unwrap().status, 200);
    let went_on = asked(&web);
    assert_eq!((went_on.body_bytes, went_on.trailers), (2, Vec::new()));

    // It is asked about what the node gets.
    for (sent, judged) in [
        ("/private/public/../secret?a=../b", "/private/secret?a=../b"),
        ("/x/..%2fprivate/a", "/private/a"),
        ("/private//a%20b", "/private//a%20b"),
    ] {
        assert_eq!(client.ask(format!("GET {sent} HTTP/1.1\r\nHost: a\r\n\r\n")).unwrap().status, 200);
        assert_eq!(named_like(&asked(&auth), "x-original-uri"), [judged], "{sent}");
        assert_eq!(asked(&web).line, format!("GET {judged} HTTP/1.1"));
    }

    let (asked_before, connections) = auth.look(|seen| (seen.requests_total, seen.connections));
    assert_eq!(client.get("/open").text(), "web\n");
    assert_eq!(auth.look(|seen| seen.requests_total), asked_before, "only the route's requests are asked about");
    assert_eq!(client.get("/private/").status, 200);
    assert_eq!(auth.look(|seen| seen.connections), connections, "and its connection is used again");
}

#[test]
fn a_request_that_a_check_refuses_goes_nowhere_and_its_client_hears_why() {
    let (web, auth) = (TestNode::start("web"), TestNode::start("auth"));
    let who = "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"a\"\r\nX-Internal: 1\r\nContent-Length: 4\r\n\r\nwho?";
    let peer = start(&web, vec![pool("auth", [auth.address()])], CHECKED);
    let mut client = Raw::connect(peer.listener("web"));
    auth.order("/verify", Behaviour::raw(who, Then::Keep));
    let answer = client.ask("POST /private/a HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello").unwrap();
    assert_eq!((answer.status, answer.text().as_str()), (401, "who?"));
    assert_eq!(answer.field("www-authenticate"), Some("Basic realm=\"a\""));
    assert_eq!(answer.field("x-internal"), None);

    let login = "HTTP/1.1 302 Found\r\nLocation: https://login.example/\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nContent-Length: 0\r\n\r\n";
    auth.order("/verify", Behaviour::raw(login, Then::Keep));
    let answer = client.get("/private/a");
    assert_eq!((answer.status, answer.field("location")), (302, Some("https://login.example/")));
    let cookies = answer.head.fields.iter().filter(|(name, _)| name.eq_ignore_ascii_case("set-cookie")).count();
    assert_eq!(cookies, 2);

    let long = format!("HTTP/1.1 403 Forbidden\r\nContent-Length: 100000\r\n\r\n{}", "a".repeat(100_000));
    auth.order("/verify", Behaviour::raw(long, Then::Keep));
    let answer = client.get("/private/a");
    assert_eq!((answer.status, answer.body.len()), (403, 0), "nobody keeps a page of any size");
    assert_eq!(web.look(|seen| seen.requests_total), 0);
    assert_eq!(client.get("/").text(), "web\n", "the connection goes on");
}

#[test]
fn where_nobody_can_say_whether_a_request_may_go_on_it_does_not() {
    let (web, auth) = (TestNode::start("web"), TestNode::start("auth"));
    let mut dead = NodeProcess::start("dead");
    let refused = dead.address();
    dead.kill();
    let peer = start(&web, vec![pool("auth", [refused, auth.address()])], CHECKED);
    let get = || Raw::connect(peer.listener("web")).get("/private/a").status;
    for _ in 0..6 {
        assert_eq!(get(), 200, "another node of the pool is asked");
    }
    let web_before = web.look(|seen| seen.requests_total);
    auth.order("/verify", Behaviour::status(500));
    assert_eq!(get(), 503);
    auth.order("/verify", Behaviour::raw("no HTTP\r\n\r\n", Then::Close));
    assert_eq!(get(), 503);
    auth.order("/verify", Behaviour::freeze());
    let began = host::now();
    assert_eq!(get(), 503);
    let took = began.elapsed();
    assert!(took >= Duration::from_millis(900) && took < Duration::from_secs(3), "{took:?}");
    assert_eq!(web.look(|seen| seen.requests_total), web_before);
    assert_eq!(failures(&peer, "checks_failed"), 3.0);
    assert!(Raw::connect(peer.listener("web")).get("/").status == 200);
}

const MIRRORED: &str = "
[[route]]
name = \"copies\"
then = { mirror = { pool = \"shadow\" }, request_headers = { set = { \"X-Tier\" = \"new\" } }, pool = \"web\" }
";

#[test]
fn another_pool_gets_a_copy_of_requests_and_no_client_waits_for_it() {
    let (web, shadow) = (TestNode::start("web"), TestNode::start("shadow"));
    let peer = start(&web, vec![pool("shadow", [shadow.address()])], MIRRORED);
    let mut client = Raw::connect(peer.listener("web"));
    let copies = || shadow.look(|seen| seen.requests.iter().cloned().collect::<Vec<_>>());

    assert_eq!(client.get("/a?b=1").text(), "web\n");
    wait_until("the copy", || copies().len() == 1);
    let copy = copies().remove(0);
    assert_eq!((copy.line.as_str(), copy.field("x-tier")), ("GET /a?b=1 HTTP/1.1", Some("new")));
    assert_eq!(copy.field("host"), Some("test"));

    // Bodies that are counted, and in chunks.
    let body = Pattern::shared().body(60_000);
    client.send(b"POST /digest HTTP/1.1\r\nHost: a\r\nContent-Length: 60000\r\n\r\n").unwrap();
    client.send(&body).unwrap();
    assert_eq!(client.answer("POST").unwrap().status, 200);
    client.send(b"PUT /digest HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n").unwrap();
    assert_eq!(client.answer("PUT").unwrap().status, 200);
    wait_until("the copies", || copies().len() == 3 && copies().iter().all(|copy| copy.whole));
    let bodies = |node: &TestNode| {
        node.look(|seen| {
            seen.requests.iter().map(|request| (request.body_bytes, request.body_digest)).collect::<Vec<_>>()
        })
    };
    assert_eq!(bodies(&shadow), bodies(&web));

    // One that is too long has none, and a WebSocket neither.
    client.send(b"POST /digest HTTP/1.1\r\nHost: a\r\nContent-Length: 70000\r\n\r\n").unwrap();
    client.send(Pattern::shared().body(70_000)).unwrap();
    assert_eq!(client.answer("POST").unwrap().status, 200);
    let mut socket = Raw::connect(peer.listener("web"));
    socket.send(b"GET /upgrade HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n").unwrap();
    assert_eq!(socket.final_head().unwrap().1.status(), Ok(101));

    // A shadow that never answers is in nobody's way.
    shadow.order("/", Behaviour::freeze());
    let began = host::now();
    for _ in 0..50 {
        assert_eq!(client.get("/").text(), "web\n");
    }
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    wait_until("all copies", || copies().len() == 53);

    // Nor one that is not there; what became of the copies is counted.
    drop(shadow);
    for _ in 0..5 {
        assert_eq!(client.get("/b").text(), "web\n");
    }
    wait_until("the failures", || failures(&peer, "mirrors_failed") + failures(&peer, "mirrors_dropped") >= 5.0);
}

const TABLE: &str = "
[[route]]
name = \"beta\"
priority = 1
when = { any = [{ header = { name = \"x-beta\", value = \"1\" } }, { cookie = { name = \"beta\", value = \"1\" } }], not = [{ path = \"/stable/*\" }] }
then = { pool = \"beta\" }

[[route]]
name = \"api\"
priority = 10
when = { host = \"*.example.com\", path = \"/api/*\", method = [\"GET\", \"POST\"] }
then = { pool = \"api\", rewrite = { prefix = \"/api\", to = \"/v1\" } }

[[route]]
name = \"near\"
priority = 20
when = { client = [\"198.51.100.0/24\"] }
then = { node = \"beta-1\" }

[[route]]
name = \"old\"
priority = 30
when = { path = \"/old/*\" }
then = { redirect = { to = \"https://{host}/new\", status = 301 } }

[[route]]
name = \"closed\"
priority = 40
when = { query = { name = \"debug\", value = \"1\" } }
then = { refuse = 403 }
";

#[test]
fn explain_says_of_each_request_what_routing_does_with_it() {
    let nodes = ["web", "api", "beta"].map(TestNode::start);
    let beside = vec![pool("api", [nodes[1].address()]), pool("beta", [nodes[2].address()])];
    let peer = start(&nodes[0], beside, TABLE);
    for (method, host, target, fields, goes) in [
        ("GET", "a.example.com", "/api/users", &[][..], "api"),
        ("POST", "a.example.com", "/api/users", &[], "api"),
        ("DELETE", "a.example.com", "/api/users", &[], "web"),
        ("GET", "example.com", "/api/users", &[], "web"),
        ("GET", "a.example.com", "/api/users", &[("X-Beta", "1")], "beta"),
        ("GET", "a.example.com", "/x", &[("Cookie", "a=2; beta=1")], "beta"),
        ("GET", "a.example.com", "/stable/x", &[("X-Beta", "1")], "web"),
        ("GET", "a.example.com", "/%73table/x", &[("X-Beta", "1")], "web"),
        ("GET", "example.com", "/", &[("X-Forwarded-For", "198.51.100.7")], "beta"),
        ("GET", "example.com", "/", &[("X-Forwarded-For", "203.0.113.7")], "web"),
        ("GET", "example.com", "/old/page", &[], "301"),
        ("GET", "example.com", "/?debug=1", &[], "403"),
        ("GET", "example.com", "/?debug=0", &[], "web"),
        ("OPTIONS", "example.com", "/", &[("Max-Forwards", "0")], "200"),
    ] {
        let what = format!("{method} {host}{target} {fields:?}");
        let lines: String = fields.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let request = format!("{method} {target} HTTP/1.1\r\nHost: {host}\r\n{lines}\r\n");
        let answer = Raw::connect(peer.listener("web")).ask(request).unwrap();
        let went = if answer.status == 200 && method != "OPTIONS" {
            answer.text().trim().to_owned()
        } else {
            answer.status.to_string()
        };
        assert_eq!(went, goes, "{what}");

        let encode = |text: &str| {
            text.replace('%', "%25")
                .replace('&', "%26")
                .replace('?', "%3F")
                .replace('=', "%3D")
                .replace(' ', "%20")
                .replace(';', "%3B")
        };
        let headers: String = fields.iter().map(|(name, value)| format!("&header={name}:{}", encode(value))).collect();
        let explained = peer.json(&format!(
            "/api/v1/explain?method={method}&url=http://{host}{}&from=127.0.0.1{headers}",
            encode(target)
        ));
        let end = &explained["end"];
        match end["action"].as_str() {
            Some("forward") => assert_eq!(end["pool"], goes, "{what}: {explained}"),
            _ => assert_eq!(end["status"].to_string(), goes, "{what}: {explained}"),
        }
        if let Some(location) = answer.field("location") {
            assert_eq!(end["location"], location, "{what}");
        }
    }
    let sent = nodes[1].look(|seen| seen.requests.back().cloned()).expect("it was sent one");
    assert_eq!(sent.line, "POST /v1/users HTTP/1.1");
    let log = peer.log();
    assert!(!log.contains("leads to it"), "routes lead to pools too: {log}");
}

#[test]
fn clients_are_where_the_geoip_file_says_also_once_it_is_replaced() {
    let (web, german) = (TestNode::start("web"), TestNode::start("german"));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("countries.mmdb");
    let first = fs::read("../src/geo/fixture.mmdb").unwrap();
    fs::write(&file, &first).unwrap();
    let routes = format!(
        "[geoip]\nfile = {file:?}\n[[region]]\nname = \"de\"\ncountries = [\"DE\"]\n[[region]]\nname = \"fr\"\ncountries = [\"FR\"]\n\
         [[route]]\nname = \"german\"\nwhen = {{ region = \"de\" }}\nthen = {{ pool = \"german\" }}\n"
    );
    let peer = start(&web, vec![pool("german", [german.address()])], &routes);
    let get = |client: &str| -> Answer {
        let request = format!("GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: {client}\r\n\r\n");
        Raw::connect(peer.listener("web")).ask(request).unwrap()
    };
    let region = |client: &str| -> Value {
        peer.json(&format!("/api/v1/explain?url=http://a/&from={client}"))["client_region"].clone()
    };
    assert_eq!((get("203.0.113.7").text().as_str(), region("203.0.113.7")), ("german\n", "de".into()));
    assert_eq!(get("192.0.2.1").text(), "web\n", "who is in no country that a region has");

    // One that is damaged is refused, with the reason, and the old one stays.
    replace(&file, b"not a database");
    wait_until("the refusal", || peer.log().contains("countries.mmdb"));
    assert_eq!(get("203.0.113.7").text(), "german\n");

    // A two-letter text of that format begins with 0x42.
    let at = first.windows(3).position(|bytes| bytes == b"\x42DE").expect("the country is there");
    let mut second = first.clone();
    second[at + 1..at + 3].copy_from_slice(b"FR");
    replace(&file, &second);
    wait_until("the new file", || region("203.0.113.7") == "fr");
    assert_eq!(get("203.0.113.7").text(), "web\n");
}

/// As whoever keeps such a file up to date does it.
fn replace(file: &std::path::Path, bytes: &[u8]) {
    let next = file.with_extension("next");
    fs::write(&next, bytes).expect("it is written");
    fs::rename(&next, file).expect("it is renamed");
}

#[test]
fn routes_change_while_requests_flow_and_none_fails() {
    let nodes = ["web", "other"].map(TestNode::start);
    let mut peer = start(&nodes[0], vec![pool("other", [nodes[1].address()])], "");
    let base = {
        let mut settings =
            Settings::one("web", "http", [nodes[0].address()]).listener_line("trusted_proxies = [\"127.0.0.1\"]");
        settings.pools.push(pool("other", [nodes[1].address()]));
        settings.evenkeel_toml()
    };
    wait_until("the first catalog", || peer.json("/api/v1/catalog")["source"] == "cluster");
    let mut client = Raw::connect(peer.listener("web"));
    for round in 0..10 {
        let goes = if round % 2 == 0 { "other" } else { "web" };
        let route = format!("[[route]]\nname = \"all\"\nthen = {{ pool = \"{goes}\" }}\n");
        write_settings(peer.process().folder(), &format!("{base}{route}"));
        peer.process().signal(Signal::HUP);
        wait_until("the route", || client.get("/").text() == format!("{goes}\n"));
    }
}

const GUARDED: &str = "
[[route]]
name = \"closed\"
priority = 1
when = { path = \"/admin/*\" }
then = { refuse = 403 }

[[route]]
name = \"secret\"
priority = 1
when = { host = \"*.secret.example\" }
then = { refuse = 403 }

[[route]]
name = \"tenant\"
when = { host = \"a.example\" }
then = { rewrite = { prefix = \"/\", to = \"/tenant-a/\" }, request_headers = { set = { \"X-Role\" = \"guest\" }, remove = [\"x-internal\"] }, pool = \"web\" }

[[route]]
name = \"forbidden\"
when = { header = { name = \"x-forbidden\" } }
then = { refuse = 403 }
";

#[test]
fn nobody_gets_around_a_route_by_another_spelling() {
    let web = TestNode::start("web");
    let peer = start(&web, Vec::new(), GUARDED);
    let mut client = Raw::connect(peer.listener("web"));
    let mut ask = |host: &str, target: &str| {
        web.forget();
        let request = format!("GET {target} HTTP/1.1\r\nHost: {host}\r\nX_Role: admin\r\nX_Internal: 1\r\n\r\n");
        let status = client.ask(request).unwrap().status;
        (status, web.look(|seen| seen.requests.back().cloned()))
    };
    for target in [
        "/admin/x",
        "//admin/x",
        "/%61dmin/x",
        "/x/../admin/x",
        "/x/%2e%2e/admin/x",
        "/admin%2fx",
        "/x%2f..%2fadmin%2fx",
    ] {
        assert_eq!(ask("b.example", target).0, 403, "{target}");
    }
    for name in ["X-Forbidden", "x_forbidden", "X_FORBIDDEN"] {
        let request = format!("GET / HTTP/1.1\r\nHost: b.example\r\n{name}: 1\r\n\r\n");
        assert_eq!(Raw::connect(peer.listener("web")).ask(request).unwrap().status, 403, "{name}");
    }
    for host in ["www.secret.example", "WWW.Secret.Example:80", "www.secret.example."] {
        assert_eq!(ask(host, "/").0, 403, "{host}");
    }
    let line = |seen: (u16, Option<SeenRequest>)| seen.1.map(|seen| seen.line);
    // What was judged is what is sent.
    for (host, target, sent) in [
        ("b.example", "/admin/x/../../open?a=../b", "/open?a=../b"),
        ("b.example", "/admin/x%2f..%2f..%2fopen", "/open"),
        ("b.example", "/a%2Fb//c?d", "/a%2Fb//c?d"),
        ("a.example", "/x", "/tenant-a/x"),
        ("a.example", "/../tenant-b/x", "/tenant-a/tenant-b/x"),
        ("a.example", "/x/..%2f..%2ftenant-b/x?y", "/tenant-a/tenant-b/x?y"),
        ("a.example", "/x/%2e%2E/%20y", "/tenant-a/%20y"),
        ("a.example", "///evil//x", "/tenant-a/evil//x"),
    ] {
        assert_eq!(line(ask(host, target)), Some(format!("GET {sent} HTTP/1.1")), "{host}{target}");
    }
    let (_, seen) = ask("a.example", "/x");
    let seen = seen.expect("it came");
    assert_eq!(named_like(&seen, "x-role"), ["guest"]);
    assert_eq!(named_like(&seen, "x-internal"), [""; 0]);
    drop(client);
    for host in [
        format!("{}.secret.example", "a".repeat(300)),
        "a..secret.example".to_owned(),
        "www.secret.example..".to_owned(),
    ] {
        let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
        assert_eq!(Raw::connect(peer.listener("web")).ask(request).unwrap().status, 400, "{host}");
    }
}

#[test]
fn another_pool_takes_what_the_first_cannot_answer_and_only_that() {
    let (web, spare) = (TestNode::start("web"), TestNode::start("spare"));
    let mut dead = NodeProcess::start("dead");
    let refused = dead.address();
    dead.kill();
    let beside = vec![
        pool("spare", [spare.address()]),
        pool("gone", [refused]),
        Pool::new("slow").unchecked().line("response_timeout = \"500ms\"").nodes([web.address()]),
    ];
    let route = |name: &str, path: &str, pool: &str, on: &str| {
        format!(
            "[[route]]\nname = \"{name}\"\nwhen = {{ path = \"{path}/*\" }}\nthen = {{ pool = \"{pool}\", fallback = {{ pool = \"spare\"{on} }} }}\n"
        )
    };
    let routes = [
        route("gone", "/gone", "gone", ""),
        route("slow", "/late", "slow", ""),
        route("some", "/status", "web", ", on = [500, \"503-504\"]"),
    ];
    let peer = start(&web, beside, &routes.concat());
    let ask = |request: &str| {
        let answer = Raw::connect(peer.listener("web")).ask(request).unwrap();
        (answer.status, answer.text())
    };
    let spared = (200, "spare\n".to_owned());
    assert_eq!(ask("GET /gone/x HTTP/1.1\r\nHost: a\r\n\r\n"), spared);
    assert_eq!(ask("POST /gone/x HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi"), spared, "nobody has seen it");
    assert_eq!(spare.look(|seen| seen.requests.back().map(|seen| seen.body_bytes)), Some(2));
    web.order("/late/x", Behaviour::freeze());
    assert_eq!(ask("GET /late/x HTTP/1.1\r\nHost: a\r\n\r\n"), spared);
    assert_eq!(ask("POST /late/x HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi").0, 504, "it may have been done");
    for (status, is_spared) in [(200, false), (404, false), (500, true), (502, false), (503, true), (504, true)] {
        let request = format!("GET /status/{status} HTTP/1.1\r\nHost: a\r\n\r\n");
        // The path asks the spare node for that status too.
        spare.order(&format!("/status/{status}"), Behaviour::default());
        let (got, text) = ask(&request);
        assert_eq!((got, text == "spare\n"), (if is_spared { 200 } else { status }, is_spared), "{status}");
    }
}

#[test]
fn a_listener_that_comes_with_its_guard_never_answers_without_it() {
    let web = TestNode::start("web");
    let (at, coming) = (ports::free(), ports::free());
    let file = |comes: bool| {
        let mut settings = Settings::one("web", "http", [web.address()]);
        settings.listeners[0].listen = at;
        if comes {
            let first = settings.listeners[0].clone();
            settings.listeners.push(Listener { name: "pub".to_owned(), listen: coming, ..first });
            let guard = "[[route]]\nname = \"guard\"\nwhen = { listener = \"pub\" }\nthen = { refuse = 403 }\n";
            return format!("{}{guard}", settings.evenkeel_toml());
        }
        settings.evenkeel_toml()
    };
    let mut peer = Peer::start_file(&file(false), &[]);
    for round in 0..5 {
        write_settings(peer.process().folder(), &file(true));
        peer.process().signal(Signal::HUP);
        let mut answers = 0;
        wait_until("twenty answers", || {
            // It may not be bound yet.
            if let Ok(mut raw) = Raw::try_connect(coming) {
                assert_eq!(raw.get("/").status, 403, "round {round}, answer {answers}");
                answers += 1;
            }
            answers >= 20
        });
        write_settings(peer.process().folder(), &file(false));
        peer.process().signal(Signal::HUP);
        wait_until("the listener to be gone", || Raw::try_connect(coming).is_err());
    }
    assert_eq!(web.look(|seen| seen.requests_total), 0);
}

#[test]
fn a_redirect_leads_to_a_host_or_is_none() {
    let web = TestNode::start("web");
    let routes = "[[route]]\nname = \"moved\"\nthen = { redirect = { to = \"https://{host}{target}\" } }\n";
    let peer = start(&web, Vec::new(), routes);
    for (request, status, location) in [
        ("GET /a?b HTTP/1.1\r\nHost: x.example:80\r\n\r\n", 302, Some("https://x.example/a?b")),
        ("OPTIONS * HTTP/1.1\r\nHost: x.example\r\n\r\n", 302, Some("https://x.example")),
        ("GET /a HTTP/1.0\r\n\r\n", 400, None),
        ("GET /a HTTP/1.1\r\nHost:\r\n\r\n", 400, None),
    ] {
        let answer = Raw::connect(peer.listener("web")).ask(request).unwrap();
        assert_eq!((answer.status, answer.field("location")), (status, location), "{request:?}");
    }
}
