//! The files of `deploy/examples`, which stand in the places of other balancers' configurations: each is read by `evenkeel check`,
//! stands in `docs/recipes`, and does before real servers what the configuration in whose place it stands promised.

use std::collections::BTreeSet;
use std::fs;
use std::net::{SocketAddr, UdpSocket};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use cluster_tests::example::{Example, Running};
use cluster_tests::http2::Http2;
use cluster_tests::mosquitto::{self, Mosquitto};
use cluster_tests::nginx::Nginx;
use cluster_tests::peer::{Peer, evenkeel};
use cluster_tests::postgres::Postgres;
use cluster_tests::raw::{Answer, Raw, SILENCE_MAX, get_once};
use cluster_tests::wait::{PATIENCE, pause, wait_for, wait_until};
use cluster_tests::web_app::WebApp;
use cluster_tests::websocket::WebSocket;
use cluster_tests::{need, ports};
use rustix::process::Signal;
use serde_json::Value;

const RECIPES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/recipes");

/// More requests than a client sends within the rest of a burst.
const MANY: usize = 200;

fn node(answer: &Answer) -> &str {
    answer.field("node").unwrap_or_else(|| panic!("no node answered: {} {}", answer.status, answer.text()))
}

/// `GET` with these fields, each ended by CR LF.
#[track_caller]
fn get(client: &mut Raw, path: &str, fields: &str) -> Answer {
    client.ask(format!("GET {path} HTTP/1.1\r\nHost: test\r\n{fields}\r\n")).unwrap_or_else(|e| panic!("{path}: {e:?}"))
}

/// Who answers `GET path` at a listener, each time over a connection of its own.
fn nodes(at: SocketAddr, path: &str, times: usize) -> BTreeSet<String> {
    (0..times).map(|_| node(&Raw::connect(at).get(path)).to_owned()).collect()
}

/// Waits until `GET path` is answered by this node.
#[track_caller]
fn wait_node(mut connect: impl FnMut() -> Raw, path: &str, name: &str) {
    wait_until(&format!("an answer of {name}"), || connect().get(path).field("node") == Some(name));
}

/// How many requests pass at once, and the answer to the first that does not.
fn burst(client: &mut Raw, path: &str) -> (usize, Answer) {
    let refused = |passed: usize| {
        let answer = client.get(path);
        (answer.status != 200).then_some((passed, answer))
    };
    (0..MANY).find_map(refused).expect("somebody is too many")
}

fn names(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

/// The line of a log that is written behind an answer.
fn wait_line(file: &Path, text: &str) -> String {
    let look = || fs::read_to_string(file).ok().filter(|log| log.contains(text));
    wait_for(&format!("{text} in {}", file.display()), PATIENCE, look).0
}

#[test]
fn check_takes_every_example() {
    let mut faults = String::new();
    for name in Example::names() {
        let example = Example::of(&name);
        let file = example.write();
        let printed = evenkeel(&["check", file.to_str().expect("a plain path")], &[]);
        let told = format!("{}{}", printed.out, printed.err);
        if !printed.status.success() || told.contains("warning") {
            faults.push_str(&told);
        }
    }
    assert!(faults.is_empty(), "{faults}");
}

#[test]
fn every_example_stands_in_a_recipe_and_recipes_link_to_nothing_that_is_not_there() {
    let mut linked = BTreeSet::new();
    let index = fs::read_to_string(Path::new(RECIPES).join("README.md")).unwrap();
    for entry in fs::read_dir(RECIPES).unwrap() {
        let file = entry.unwrap().path();
        let text = fs::read_to_string(&file).unwrap();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let (path, heading) = link.split_once('#').unwrap_or((link, ""));
            let target = file.parent().unwrap().join(path);
            assert!(target.exists(), "{}: {link}", file.display());
            if !heading.is_empty() {
                let has = |line: &str| line.starts_with('#') && anchor(line) == heading;
                assert!(fs::read_to_string(&target).unwrap().lines().any(has), "{}: {link}", file.display());
            }
            if let Some(example) = path.strip_prefix("../../deploy/examples/")
                && index.contains(example)
            {
                linked.insert((example.to_owned(), file.file_name().unwrap().to_owned()));
            }
        }
    }
    for name in Example::names() {
        let pages = linked.iter().filter(|(example, _)| *example == name).count();
        assert!(pages >= 2, "{name} stands in {pages} of the index and a page");
    }
}

/// How GitHub names a heading in links.
fn anchor(heading: &str) -> String {
    let kept = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = kept.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

/// 001's nginx.conf: three apps and one in reserve.
fn sysmanage(apps: &[WebApp; 4]) -> Running {
    let mut example = Example::of("001-nginx.toml");
    for (at, app) in apps.iter().enumerate() {
        example = example.node(&format!("10.0.1.1{at}:8000"), app.address());
    }
    example.start()
}

#[test]
fn the_nginx_of_001_routes_by_path_limits_by_client_and_serves_files() {
    let Some(apps) = WebApp::start_each(["a", "b", "c", "d"]) else { return };
    let Running { peer, machine } = sysmanage(&apps);
    let static_folder = machine.path("/var/www/sysmanage/static");
    fs::write(static_folder.join("app.css"), "p {}\n").unwrap();
    let (http, https) = (peer.listener("http"), peer.listener("https"));
    let tls = machine.authority.client("sysmanage.example.com");

    assert!(nodes(http, "/api/users", 8).is_subset(&names(&["a", "b", "c"])), "the reserve has nothing to do");
    let answer = get(&mut Raw::connect_tls(https, &tls), "/api/fields", "X-Forwarded-For: 203.0.113.9\r\n");
    let fields: Value = serde_json::from_slice(&answer.body).unwrap();
    let forwarded = ["x-real-ip", "x-forwarded-for", "x-forwarded-proto", "host"].map(|name| &fields[name]);
    assert_eq!(forwarded, ["127.0.0.1", "127.0.0.1", "https", "test"], "{fields}");
    assert_eq!(Http2::connect_tls(https, &tls).get("/api/users").unwrap().status, 200);

    let told = |answer: &Answer| {
        ["x-frame-options", "x-content-type-options", "x-xss-protection", "strict-transport-security"]
            .map(|name| answer.field(name).unwrap_or_default().to_owned())
    };
    let hsts = "max-age=31536000; includeSubDomains";
    assert_eq!(told(&answer), ["DENY", "nosniff", "1; mode=block", hsts]);
    let mut client = Raw::connect(http);
    let file = client.get("/static/app.css");
    assert_eq!((file.status, file.text().as_str()), (200, "p {}\n"));
    assert_eq!(file.field("cache-control"), Some("public, max-age=31536000, immutable"));
    assert_eq!(told(&file), ["DENY", "nosniff", "1; mode=block", ""]);
    let well = client.get("/health");
    assert_eq!((well.text().as_str(), well.field("content-type")), ("healthy\n", Some("text/plain")));
    assert_eq!(client.get("/elsewhere").status, 404);
    let log = wait_line(&machine.path("/var/log/evenkeel/access.log"), "/elsewhere");
    assert!(log.contains("\"GET /static/app.css HTTP/1.1\" 200") && !log.contains("/health"), "{log}");

    let (passed, refused) = burst(&mut client, "/api/auth/login");
    assert!(passed >= 11, "{passed}");
    assert_eq!(refused.status, 429);
    assert!(refused.field("retry-after").is_some());
    assert_eq!(client.get("/api/users").status, 200, "its limit is another");
    let (passed, refused) = burst(&mut client, "/api/users");
    assert!(passed >= 10, "{passed} of 21, eleven of which were used above");
    assert_eq!(refused.status, 429);
}

#[test]
fn the_nginx_of_001_goes_on_while_apps_fail_and_die_and_the_reserve_comes_last() {
    let Some(mut apps) = WebApp::start_each(["a", "b", "c", "d"]) else { return };
    let Running { peer, machine: _machine } = sysmanage(&apps);
    let http = peer.listener("http");
    apps[0].order("/api/broken", 500);
    for _ in 0..8 {
        assert_eq!(Raw::connect(http).get("/api/broken").status, 200, "another one has an answer");
    }

    let chat = || WebSocket::open(Raw::connect(http), "/ws/chat", "");
    let said: BTreeSet<String> = (0..10).map(|_| chat().say("hello")).collect();
    assert_eq!(said.len(), 1, "all of one client are at one app: {said:?}");
    let said = said.first().unwrap();
    let at = apps[..3].iter().position(|app| *said == format!("{}: hello", app.name())).expect("one of three");
    apps[at].kill();
    let others: BTreeSet<String> = (0..10).map(|_| chat().say("hello")).collect();
    assert!(others.len() == 1 && !others.contains(said), "{others:?}");
    assert!(!nodes(http, "/api/users", 4).contains("d"), "two are left");

    apps[..3].iter_mut().for_each(WebApp::kill);
    wait_node(|| Raw::connect(http), "/api/users", "d");
    assert_eq!(get_once(http, "/health").unwrap().text(), "healthy\n");
}

#[test]
fn the_check_of_001_asks_before_each_request_and_falls_back_from_apps_that_are_not_well() {
    let Some(mut apps) = WebApp::start_each(["a", "b", "c", "d"]) else { return };
    let mut example = Example::of("001-nginx-health-check.toml");
    for (at, app) in apps.iter().enumerate() {
        example = example.node(&format!("10.0.1.1{at}:8000"), app.address());
    }
    let Running { peer, machine: _machine } = example.start();
    let http = peer.listener("http");
    assert!(nodes(http, "/api/users", 8).is_subset(&names(&["a", "b", "c"])));
    assert_eq!(Raw::connect(http).get("/backend-health").status, 404, "nobody outside asks it");

    apps[..3].iter().for_each(|app| app.order("/api/health/detailed", 503));
    wait_node(|| Raw::connect(http), "/api/users", "d");
    apps[3].order("/api/health/detailed", 503);
    wait_until("the question to be answered by nobody", || Raw::connect(http).get("/api/users").status == 503);
    apps[3].order("/api/health/detailed", 200);
    apps[..3].iter_mut().for_each(WebApp::kill);
    wait_node(|| Raw::connect(http), "/api/users", "d");
}

#[test]
fn the_sessions_of_001_stay_at_the_app_that_had_the_fewest() {
    let Some(apps) = WebApp::start_each(["a", "b", "c"]) else { return };
    let mut example = Example::of("001-nginx-lua.toml");
    for (at, app) in apps.iter().enumerate() {
        example = example.node(&format!("10.0.1.1{at}:8000"), app.address());
    }
    let Running { peer, machine: _machine } = example.start();
    let http = peer.listener("http");
    let refused = WebSocket::ask(&mut Raw::connect(http), "/ws", "").unwrap();
    assert_eq!((refused.status, refused.text().as_str()), (400, "Missing session ID\n"));

    let mut open = Vec::new();
    for session in ["x", "y", "z"] {
        let fields = format!("Cookie: sessionid={session}\r\n");
        open.push(WebSocket::open(Raw::connect(http), "/ws", &fields));
    }
    let at: BTreeSet<&str> = open.iter().map(|socket| node(&socket.answer)).collect();
    assert_eq!(at.len(), 3, "one each: {at:?}");
    for socket in &open {
        let set = socket.answer.field("set-cookie").expect("a cookie");
        let cookie = set.split(';').next().unwrap();
        assert!(cookie.starts_with("SYSMANAGE="), "{cookie}");
        let again = WebSocket::open(Raw::connect(http), "/ws?session=x", &format!("Cookie: {cookie}\r\n"));
        assert_eq!(node(&again.answer), node(&socket.answer));
    }
}

#[test]
fn the_haproxy_of_001_leads_to_https_and_tells_backends_apart() {
    let Some(mut api) = WebApp::start_each(["a", "b", "c", "d"]) else { return };
    let Some(mut web) = WebApp::start_each(["web-1", "web-2", "web-3"]) else { return };
    let (Some(one), Some(two)) = (Nginx::start_node("static-1"), Nginx::start_node("static-2")) else { return };
    let syslog = UdpSocket::bind("127.0.0.1:0").unwrap();
    syslog.set_read_timeout(Some(SILENCE_MAX)).unwrap();
    let example = || {
        let mut example = Example::of("001-haproxy.toml");
        for (at, app) in api.iter().enumerate() {
            example = example.node(&format!("10.0.1.1{at}:8000"), app.address());
        }
        for (at, app) in web.iter().enumerate() {
            example = example.node(&format!("10.0.1.2{at}:3000"), app.address());
        }
        let example = example.node("10.0.1.30:80", one.address()).node("10.0.1.31:80", two.address());
        example.put("udp://127.0.0.1:514", &format!("udp://{}", syslog.local_addr().unwrap()))
    };
    let Running { peer, machine } = example().start();
    let tls = machine.authority.client("sysmanage.example.com");
    let (passed, refused) = burst(&mut Raw::connect_tls(peer.listener("https"), &tls), "/health");
    assert!(passed >= 20 && refused.status == 429, "{passed} {}", refused.status);
    let mut line = [0; 2048];
    let length = syslog.recv(&mut line).expect("a line");
    let line = String::from_utf8_lossy(&line[..length]).into_owned();
    assert!(line.contains("\"path\":\"/health\"") && line.starts_with("<134>"), "local0 and info: {line}");

    // The rest asks more than a client may.
    let Running { peer, machine } = example().put("burst = 20", "burst = 20000").start();
    let tls = machine.authority.client("sysmanage.example.com");
    let connect = || Raw::connect_tls(peer.listener("https"), &tls);
    let redirect = Raw::connect(peer.listener("http")).get("/api/users?page=2");
    assert_eq!((redirect.status, redirect.field("location")), (302, Some("https://test/api/users?page=2")));
    let asked = |path: &str| -> BTreeSet<String> { (0..8).map(|_| node(&connect().get(path)).to_owned()).collect() };
    assert_eq!(asked("/"), names(&["web-1", "web-2"]));
    assert!(asked("/api/users").is_subset(&names(&["a", "b", "c"])));
    assert_eq!(asked("/static/1k"), names(&["static-1", "static-2"]));
    let well = connect().get("/health");
    assert_eq!((well.text().as_str(), well.field("node")), ("OK", None));
    assert_eq!(well.field("strict-transport-security"), Some("max-age=31536000; includeSubDomains"));
    assert_eq!(well.field("x-frame-options"), Some("DENY"));

    // By the field alone, on a path of the web.
    let sockets: BTreeSet<String> = (0..5).map(|_| WebSocket::open(connect(), "/live", "").say("hello")).collect();
    assert!(sockets.len() == 1 && !sockets.first().unwrap().starts_with("web"), "{sockets:?}");

    web[..2].iter_mut().for_each(WebApp::kill);
    wait_node(connect, "/", "web-3");
    api[..3].iter_mut().for_each(WebApp::kill);
    wait_node(connect, "/api/users", "d");
}

#[test]
fn the_nginx_of_002_leads_to_https_compresses_and_keeps_a_client_at_its_app() {
    let Some(mut apps) = WebApp::start_each(["a", "b", "c", "d"]) else { return };
    let mut example = Example::of("002-nginx.toml");
    for (at, app) in apps.iter().enumerate() {
        example = example.node(&format!("10.0.1.{}:8000", at + 1), app.address());
    }
    let Running { peer, machine } = example.start();
    for folder in ["static", "media"] {
        fs::write(machine.path("/var/www/syncapp").join(folder).join("a.txt"), folder).unwrap();
    }
    let redirect = Raw::connect(peer.listener("http")).get("/jobs?id=7");
    assert_eq!((redirect.status, redirect.field("location")), (301, Some("https://test/jobs?id=7")));

    let tls = machine.authority.client("syncapp.example.com");
    let connect = || Raw::connect_tls(peer.listener("https"), &tls);
    let packed = get(&mut connect(), "/long", "Accept-Encoding: br, gzip\r\n");
    assert_eq!((packed.field("content-encoding"), packed.field("vary")), (Some("gzip"), Some("Accept-Encoding")));
    assert_eq!(packed.body[..2], [0x1f, 0x8b]);
    assert_eq!(packed.field("server"), None, "the app says what it is, and nobody hears it");
    let policy = packed.field("content-security-policy").expect("a policy");
    assert!(policy.starts_with("default-src 'self'; script-src 'self' 'unsafe-inline'"), "{policy}");
    assert_eq!(packed.field("x-frame-options"), Some("DENY"));
    for folder in ["static", "media"] {
        let file = connect().get(&format!("/{folder}/a.txt"));
        assert_eq!((file.text().as_str(), file.field("cache-control")), (folder, Some("public, max-age=86400")));
    }
    assert_eq!(connect().get("/health/").status, 200);
    let log = wait_line(&machine.path("/var/log/evenkeel/access.log"), "/media/a.txt");
    assert!(!log.contains("/health/"), "{log}");

    let asked = || -> BTreeSet<String> { (0..8).map(|_| node(&connect().get("/")).to_owned()).collect() };
    let home = asked();
    assert!(home.len() == 1 && !home.contains("d"), "{home:?}");
    assert_eq!(WebSocket::open(connect(), "/live", "").say("x"), format!("{}: x", home.first().unwrap()));
    let at = apps.iter().position(|app| home.contains(app.name())).unwrap();
    apps[at].kill();
    let other = asked();
    assert!(other.len() == 1 && other != home && !other.contains("d"), "{other:?}");
    apps[..3].iter_mut().for_each(WebApp::kill);
    wait_node(connect, "/", "d");
}

#[test]
fn the_status_of_002_shows_figures_to_whoever_is_listed_and_nothing_else_to_anybody() {
    let Some(curl) = need::program("curl") else { return };
    let api = ports::free();
    let example = Example::of("002-nginx-status.toml").put("127.0.0.1:8090", &api.to_string());
    let Running { peer, machine: _machine } = example.start();
    let at = peer.listener("status");
    let figures = Raw::connect(at).get("/metrics");
    assert!(figures.status == 200 && figures.text().contains("evenkeel_listener_requests_total"), "{}", figures.text());
    for request in ["GET /api/v1/catalog", "GET /health", "POST /metrics", "GET /metrics/../api/v1/nodes"] {
        let answer =
            Raw::connect(at).ask(format!("{request} HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")).unwrap();
        assert_eq!(answer.status, 403, "{request}");
    }
    let url = format!("http://{at}/metrics");
    let foreign = Command::new(curl)
        .args(["-s", "--interface", "127.0.0.2", "-w", "%{http_code}", "-o", "/dev/null", &url])
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&foreign.stdout), "403");
}

#[test]
fn the_haproxy_of_002_keeps_sessions_by_a_cookie_and_has_pages_for_failures() {
    let Some(mut apps) = WebApp::start_each(["a", "b", "c", "d"]) else { return };
    let (Some(one), Some(two)) = (Nginx::start_node("static-1"), Nginx::start_node("static-2")) else { return };
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("log");
    let syslog = UnixDatagram::bind(&socket).unwrap();
    syslog.set_read_timeout(Some(SILENCE_MAX)).unwrap();
    let mut example =
        Example::of("002-haproxy.toml").put("\"syslog\"", &format!("\"syslog:unix:{}\"", socket.display()));
    for (at, app) in apps.iter().enumerate() {
        example = example.node(&format!("10.0.1.{}:8000", at + 1), app.address());
    }
    let example = example.node("10.0.2.1:80", one.address()).node("10.0.2.2:80", two.address());
    let Running { peer, machine } = example.start();
    let redirect = Raw::connect(peer.listener("http")).get("/jobs?id=7");
    assert_eq!((redirect.status, redirect.field("location")), (301, Some("https://test/jobs?id=7")));
    let mut line = [0; 2048];
    let length = syslog.recv(&mut line).expect("a line");
    assert!(String::from_utf8_lossy(&line[..length]).contains("\"status\":301"));

    let tls = machine.authority.client("syncapp.example.com");
    let connect = || Raw::connect_tls(peer.listener("https"), &tls);
    let mut homes = BTreeSet::new();
    let mut session = (String::new(), String::new());
    for _ in 0..6 {
        let begun = connect().get("/");
        assert_eq!(begun.field("cache-control"), Some("private"), "nocache");
        let cookie = begun.field("set-cookie").and_then(|set| set.split(';').next()).expect("a cookie").to_owned();
        assert!(cookie.starts_with("SERVERID="), "{cookie}");
        for _ in 0..4 {
            let again = get(&mut connect(), "/", &format!("Cookie: {cookie}\r\n"));
            assert_eq!((node(&again), again.field("set-cookie")), (node(&begun), None));
        }
        homes.insert(node(&begun).to_owned());
        session = (cookie, node(&begun).to_owned());
    }
    assert_eq!(homes, names(&["a", "b", "c"]), "round robin begins them");

    let file = connect().get("/static/1k");
    assert!(node(&file).starts_with("static-"));
    assert_eq!((file.field("cache-control"), file.field("expires")), (Some("max-age=86400, public"), None));
    assert_eq!(connect().get("/health/").status, 200);
    let packed = get(&mut connect(), "/long", "Accept-Encoding: gzip\r\n");
    assert_eq!(packed.field("content-encoding"), Some("gzip"));

    let (cookie, home) = session;
    let at = apps.iter().position(|app| app.name() == home).unwrap();
    apps[at].kill();
    let moved = get(&mut connect(), "/", &format!("Cookie: {cookie}\r\n"));
    assert!(moved.status == 200 && node(&moved) != home, "the session goes on elsewhere");
    apps[..3].iter_mut().for_each(WebApp::kill);
    wait_node(connect, "/", "d");
    apps[3].kill();
    wait_until("the page", || connect().get("/").text() == "<p>502.html</p>");
    assert_eq!(connect().get("/health/").status, 502, "no server is left, and all were tried");
}

#[test]
fn the_cloud_balancer_of_002_has_its_target_group_and_drains_a_target() {
    let Some(apps) = WebApp::start_each(["a", "b"]) else { return };
    let example = Example::of("002-alb.toml").node("10.0.1.1:8000", apps[0].address());
    let Running { peer, machine } = example.node("10.0.1.2:8000", apps[1].address()).start();
    let redirect = Raw::connect(peer.listener("http")).get("/a?b=c");
    assert_eq!((redirect.status, redirect.field("location")), (301, Some("https://test/a?b=c")));
    let tls = machine.authority.client("syncapp.example.com");
    let asked = || -> BTreeSet<String> {
        let connect = || Raw::connect_tls(peer.listener("https"), &tls);
        (0..8).map(|_| node(&connect().get("/")).to_owned()).collect()
    };
    assert_eq!(asked(), names(&["a", "b"]));
    wait_until("the first catalog", || peer.json("/api/v1/catalog")["source"] == "cluster");
    let api = peer.api().to_string();
    let printed = evenkeel(&["drain", "web-1", "--timeout", "60s", "--api", &api], &[]);
    assert!(printed.status.success() && printed.out.contains("nothing is left"), "{}{}", printed.out, printed.err);
    assert_eq!(asked(), names(&["b"]));
}

/// An MQTT example before brokers, of which some may not be there.
fn brokers(name: &str, mqtt: [SocketAddr; 3], websockets: [SocketAddr; 3]) -> Running {
    let mut example = Example::of(name);
    for (at, (mqtt, websockets)) in mqtt.into_iter().zip(websockets).enumerate() {
        example = example.node(&format!("mosquitto-{}:1883", at + 1), mqtt);
        example = example.node(&format!("mosquitto-{}:9001", at + 1), websockets);
    }
    if name == "004-nginx.toml" {
        example = example.put("127.0.0.1:8090", "127.0.0.1:0");
    }
    example.start()
}

/// Publishes a retained message as this client.
fn publish(at: SocketAddr, id: &str, topic: &str, message: &str) -> bool {
    let mut publish = mosquitto::client("mosquitto_pub", at);
    publish.args(["-i", id, "-r", "-t", topic, "-m", message]).stderr(Stdio::null());
    publish.status().expect("mosquitto_pub runs").success()
}

/// The first message that this client gets.
fn subscribed(at: SocketAddr, id: &str, topic: &str) -> String {
    let mut subscribe = mosquitto::client("mosquitto_sub", at);
    let output = subscribe.args(["-i", id, "-t", topic, "-C", "1", "-W", "5"]).output().expect("mosquitto_sub runs");
    String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
}

/// A client that says nothing for longer than the three seconds of the source, and then gets what is published at its broker.
fn outlives_a_silence(through: SocketAddr, brokers: &mut [&mut Mosquitto]) {
    let mut subscribe = mosquitto::client("mosquitto_sub", through);
    subscribe.args(["-i", "silent", "-k", "60", "-t", "later", "-C", "1", "-W", "20"]).stdout(Stdio::piped());
    let subscriber = subscribe.spawn().expect("mosquitto_sub runs");
    let is_there = |broker: &mut Mosquitto| broker.process().log().contains("Sending SUBACK to silent");
    let look = || brokers.iter_mut().position(|broker| is_there(broker));
    let (at, _) = wait_for("the subscription", PATIENCE, look);
    pause(Duration::from_secs(4));
    let ended = |broker: &mut Mosquitto| broker.process().log().contains("Client silent ");
    assert!(!ended(brokers[at]), "{}", brokers[at].process().log());
    assert!(publish(brokers[at].address(), "direct", "later", "still there"));
    let output = subscriber.wait_with_output().expect("it ends");
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim_end(), "still there");
}

fn state(peer: &Peer, node: &str) -> String {
    peer.json(&format!("/api/v1/nodes/{node}"))["state"].to_string()
}

/// CONNECT of a client without an id, and the answer that accepts it.
const CONNECT: &[u8] = b"\x10\x0c\x00\x04MQTT\x04\x02\x00\x3c\x00\x00";
const CONNACK: &[u8] = b"\x20\x02\x00\x00";

#[test]
fn the_nginx_of_004_brings_clients_of_mqtt_back_to_their_broker_and_lets_them_be_quiet() {
    let (Some(mut one), Some(mut two), Some(mut three)) = (Mosquitto::start(), Mosquitto::start(), Mosquitto::start())
    else {
        return;
    };
    let (mqtt, websockets) =
        ([&one, &two, &three].map(Mosquitto::address), [&one, &two, &three].map(Mosquitto::websockets));
    let Running { peer, machine: _machine } = brokers("004-nginx.toml", mqtt, websockets);
    let through = peer.listener("mqtt");
    for id in ["device-1", "device-2", "device-3", "device-4", "device-5", "device-6"] {
        assert!(publish(through, id, id, "hello"));
        assert_eq!(subscribed(through, id, id), "hello", "it is at the broker where it was");
    }
    outlives_a_silence(through, &mut [&mut one, &mut two, &mut three]);

    let raw = Raw::connect(peer.listener("mqtt-websocket"));
    let mut socket = WebSocket::open(raw, "/mqtt", "Sec-WebSocket-Protocol: mqtt\r\n");
    assert_eq!(socket.ask_bytes(CONNECT).as_deref(), Ok(CONNACK));

    let status = peer.listener("status");
    let asked = |path: &str| get_once(status, path).expect("an answer").status;
    assert_eq!(["/health", "/mqtt-status", "/"].map(asked), [200, 200, 404]);
    // It accepts connections and says nothing: no check of the connection alone would find that.
    one.process().signal(Signal::STOP);
    wait_until("the broker that hangs to be down", || state(&peer, "mqtt-1").contains("down"));
    one.process().signal(Signal::CONT);
    wait_until("it to be back", || !state(&peer, "mqtt-1").contains("down"));
    for broker in [&mut one, &mut two, &mut three] {
        broker.process().kill();
    }
    wait_until("nobody to be left", || asked("/mqtt-status") == 503);
    assert_eq!(asked("/health"), 200);
}

#[test]
fn the_haproxy_of_004_shares_clients_of_mqtt_out_and_finds_the_broker_that_is_left() {
    let (Some(mut one), Some(mut two)) = (Mosquitto::start(), Mosquitto::start()) else { return };
    let (gone, gone_too) = (ports::free(), ports::free());
    let mqtt = [one.address(), two.address(), gone];
    let Running { peer, machine: _machine } =
        brokers("004-haproxy.toml", mqtt, [one.websockets(), two.websockets(), gone_too]);
    let through = peer.listener("mqtt");
    wait_until("the third to be known as down", || state(&peer, "mqtt-3").contains("down"));
    let mut quiet: Vec<_> = ["quiet-1", "quiet-2", "quiet-3", "quiet-4"]
        .map(|id| {
            mosquitto::client("mosquitto_sub", through).args(["-i", id, "-t", "none", "-W", "60"]).spawn().unwrap()
        })
        .into();
    let here = |broker: &mut Mosquitto| broker.process().log().matches("Sending SUBACK to quiet-").count();
    wait_until("all to be there", || here(&mut one) + here(&mut two) == 4);
    assert_eq!((here(&mut one), here(&mut two)), (2, 2), "whoever has the fewest gets the next");
    outlives_a_silence(through, &mut [&mut one, &mut two]);
    for client in &mut quiet {
        client.kill().unwrap();
        client.wait().unwrap();
    }

    let raw = Raw::connect(peer.listener("mqtt-websocket"));
    let mut socket = WebSocket::open(raw, "/mqtt", "Sec-WebSocket-Protocol: mqtt\r\n");
    assert_eq!(socket.ask_bytes(CONNECT).as_deref(), Ok(CONNACK));
    one.process().kill();
    assert!(publish(through, "a", "topic", "hello"), "the other one takes it");
    assert_eq!(subscribed(through, "b", "topic"), "hello");
}

#[test]
fn the_api_of_004_has_paths_of_its_own_and_websockets_stay_at_their_server() {
    let Some(mut apps) = WebApp::start_each(["a", "b", "c"]) else { return };
    let mut example = Example::of("004-nginx-api.toml");
    for (at, app) in apps.iter().enumerate() {
        example = example.node(&format!("routemq-{}:8080", at + 1), app.address());
    }
    let Running { peer, machine: _machine } = example.start();
    let http = peer.listener("http");
    assert_eq!(nodes(http, "/api/messages", 30), names(&["a", "b", "c"]));
    let answer = Raw::connect(http).get("/api/fields");
    let fields: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!((&fields["x-real-ip"], &fields["x-forwarded-proto"]), (&"127.0.0.1".into(), &"http".into()));
    let well = Raw::connect(http).get("/health");
    assert!(well.status == 200 && well.field("node").is_some(), "a server says how it is");
    assert_eq!(Raw::connect(http).get("/").status, 404);

    let talk = || WebSocket::open(Raw::connect(http), "/ws/live", "");
    let mut first = talk();
    let home = first.say("hello");
    assert!((0..9).all(|_| talk().say("hello") == home));
    pause(Duration::from_secs(4));
    assert_eq!(first.say("hello"), home, "a quiet one is left alone");
    let at = apps.iter().position(|app| home == format!("{}: hello", app.name())).unwrap();
    apps[at].kill();
    let other = talk().say("hello");
    assert!(other != home && (0..9).all(|_| talk().say("hello") == other));
    assert_eq!(Raw::connect(http).get("/api/messages").status, 200);
}

#[test]
fn the_databases_of_004_are_written_at_one_and_read_at_the_others_while_they_live() {
    let (Some(primary), Some(replica)) = (Postgres::start(), Postgres::start()) else { return };
    let example = Example::of("004-postgresql.toml").node("postgresql-1:5432", primary.address());
    let example = example.node("postgresql-2:5432", replica.address()).node("postgresql-3:5432", ports::free());
    let Running { peer, machine: _machine } = example.start();
    let at = |listener: &str| {
        let mut psql = primary.client("psql", peer.listener(listener));
        let output = psql.args(["-At", "-c", "select inet_server_port()"]).output().unwrap();
        String::from_utf8_lossy(&output.stdout).trim().parse::<u16>().ok()
    };
    for _ in 0..4 {
        assert_eq!((at("write"), at("read")), (Some(primary.address().port()), Some(replica.address().port())));
    }
    drop(replica);
    wait_until("reads at the primary", || at("read") == Some(primary.address().port()));
    assert_eq!(at("write"), Some(primary.address().port()));
}
