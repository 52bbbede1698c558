//! What the peer says itself: whether it is well, pages for failures, and fields that tell browsers to be careful.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use cluster_tests::certificates::Authority;
use cluster_tests::node::{Behaviour, TestNode, Then};
use cluster_tests::peer::{Peer, evenkeel, write_settings};
use cluster_tests::raw::Raw;
use cluster_tests::settings::{Pool, Settings};
use cluster_tests::wait::{PATIENCE, wait_until};
use rustix::process::Signal;

fn health(at: SocketAddr) -> (u16, String) {
    let answer = Raw::connect(at).get("/healthz");
    assert_eq!(answer.field("content-type"), Some("application/json"));
    (answer.status, answer.text())
}

#[test]
fn a_listener_says_whether_traffic_is_well_sent_to_it() {
    let node = TestNode::start("a");
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let settings = Settings::default()
        .serve("http", Pool::new("web").checked_fast().nodes([node.address()]))
        .listener_line("health_path = \"/healthz\"")
        .listener_line(format!("access_log = {{ to = \"file:{}\", format = \"{{target}}\" }}", log.display()))
        .peer_line("announce = \"2s\"");
    let mut peer = Peer::start(&settings);
    let web = peer.listener("web");
    assert_eq!(health(web), (200, "{\"status\":\"ok\",\"pool\":\"web\",\"nodes\":1,\"usable\":1}\n".to_owned()));
    let mut client = Raw::connect(web);
    let head = client.ask("HEAD /healthz HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert_eq!(
        client.ask("POST /healthz HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n").unwrap().text(),
        "a\n",
        "a node's business"
    );
    assert_eq!(client.get("/healthz/").text(), "a\n");

    node.order("/health", Behaviour::status(500));
    wait_until("no node is usable", || health(web).0 == 503);
    assert!(health(web).1.starts_with("{\"status\":\"no_node\""));
    node.order("/health", Behaviour::default());
    wait_until("the node is back", || health(web).0 == 200);

    peer.process().signal(Signal::TERM);
    wait_until("it says that it stops", || health(web).1.starts_with("{\"status\":\"draining\""));
    assert_eq!(peer.process().wait(PATIENCE).code(), Some(0));
    assert_eq!(fs::read_to_string(&log).unwrap(), "/healthz\n/healthz/\n", "who asks how it is fills no log");
}

#[test]
fn failures_have_the_pages_of_the_listener_and_programs_get_json() {
    let (node, folder) = (TestNode::start("a"), tempfile::tempdir().unwrap());
    let (page, missing) = (folder.path().join("50x.html"), folder.path().join("404.txt"));
    fs::write(&page, "<h1>We will be back</h1>").unwrap();
    fs::write(&missing, "not here\n").unwrap();
    let pages = |intercept: bool| {
        format!(
            "error_pages = {{ intercept = {intercept}, page = [{{ status = [\"500-599\", 429], file = {page:?} }}, {{ status = 404, file = {missing:?} }}] }}"
        )
    };
    let settings = Settings::one("web", "http", [node.address()])
        .listener_line(pages(false))
        .serve("http", Pool::new("all").unchecked().nodes([node.address()]))
        .listener_line(pages(true))
        .serve("http", Pool::new("none").unchecked())
        .listener_line(pages(false));
    let mut peer = Peer::start(&settings);
    let answer = Raw::connect(peer.listener("none")).get("/");
    assert_eq!((answer.status, answer.text().as_str()), (503, "<h1>We will be back</h1>"));
    assert_eq!(answer.field("content-type"), Some("text/html; charset=utf-8"));
    assert_eq!(answer.field("retry-after"), Some("1"), "what is said beside the page stays");
    let program = "GET / HTTP/1.1\r\nHost: a\r\nAccept: application/json\r\n\r\n";
    let answer = Raw::connect(peer.listener("none")).ask(program).unwrap();
    assert_eq!(answer.field("content-type"), Some("application/problem+json"));
    let problem: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!((&problem["status"], &problem["detail"]), (&503.into(), &"no node is available".into()));

    let retry = "HTTP/1.1 429 Slow Down\r\nRetry-After: 7\r\nContent-Length: 4\r\n\r\nslow";
    node.order("/slow", Behaviour::raw(retry, Then::Keep));
    let asks = "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic\r\nContent-Length: 3\r\n\r\nwho";
    node.order("/who", Behaviour::raw(asks, Then::Keep));
    let mut plain = Raw::connect(peer.listener("web"));
    assert_eq!(plain.get("/slow").text(), "slow", "a node's answer is its own");
    let mut all = Raw::connect(peer.listener("all"));
    let answer = all.get("/slow");
    assert_eq!((answer.status, answer.field("retry-after")), (429, Some("7")));
    assert_eq!(answer.text(), "<h1>We will be back</h1>");
    assert_eq!(all.get("/status/404").text(), "not here\n");
    assert_eq!(all.get("/status/403").text(), "", "there is no page for it");
    assert_eq!(all.get("/who").text(), "who");
    assert_eq!(all.get("/").text(), "a\n");

    // A page that changes is taken without a restart.
    fs::write(&page, "<h1>Soon</h1>").unwrap();
    peer.process().signal(Signal::HUP);
    wait_until("the new page", || Raw::connect(peer.listener("none")).get("/").text() == "<h1>Soon</h1>");
}

#[test]
fn browsers_are_told_to_be_careful_and_whoever_made_the_answer_knows_better() {
    let node = TestNode::start("a");
    node.order(
        "/own",
        Behaviour::raw("HTTP/1.1 200 OK\r\nx-frame-options: ALLOWALL\r\nContent-Length: 0\r\n\r\n", Then::Keep),
    );
    let authority = Authority::new();
    let folder = tempfile::tempdir().unwrap();
    let file = authority.issue_in_one(folder.path(), &["shop.example"]);
    let settings = Settings::one("web", "http", [node.address()])
        .listener_line("security_headers = \"basic\"")
        .serve("http", Pool::new("tls").unchecked().nodes([node.address()]))
        .listener_line("security_headers = \"basic\"")
        .over_tls(&file);
    let routes = "[[route]]\nname = \"strict\"\nwhen = { path = \"/strict\" }\nthen = { security_headers = \"strict\", pool = \"web\" }\n\
                  [[route]]\nname = \"off\"\nwhen = { path = \"/off\" }\nthen = { security_headers = \"off\", refuse = 403 }\n\
                  [[route]]\nname = \"closed\"\nwhen = { path = \"/closed\" }\n[route.then]\nrefuse = 403\n\
                  answer_headers = { remove = [\"Referrer-Policy\"], set = { \"X-Frame-Options\" = \"DENY\" } }\n";
    let peer = Peer::start_file(&format!("{}{routes}", settings.evenkeel_toml()), &[]);
    let mut web = Raw::connect(peer.listener("web"));
    let fields = |answer: &cluster_tests::raw::Answer| {
        [
            "x-content-type-options",
            "x-frame-options",
            "referrer-policy",
            "content-security-policy",
            "strict-transport-security",
        ]
        .map(|name| answer.head.all(name).collect::<Vec<_>>().join("|"))
    };
    let basic = ["nosniff", "SAMEORIGIN", "strict-origin-when-cross-origin", "", ""];
    assert_eq!(fields(&web.get("/")), basic);
    assert_eq!(fields(&web.get("/own")), ["nosniff", "ALLOWALL", "strict-origin-when-cross-origin", "", ""]);
    assert_eq!(fields(&web.get("/strict"))[1..3], ["DENY", "no-referrer"]);
    assert!(fields(&web.get("/strict"))[3].starts_with("default-src 'self'"));
    assert_eq!(fields(&web.get("/closed")), ["nosniff", "DENY", "", "", ""], "a route has the last word");
    assert_eq!(fields(&web.get("/off")), [""; 5]);
    let mut tls = Raw::connect_tls(peer.listener("tls"), &authority.client("shop.example"));
    assert_eq!(fields(&tls.get("/"))[4], "max-age=31536000");
}

#[test]
fn what_is_wrong_with_these_settings_is_told_with_what_is_allowed() {
    let folder = tempfile::tempdir().unwrap();
    let check = |name: &Path, lines: &str| {
        let settings = Settings::one("web", "http", []).listener_line(lines);
        let file = write_settings(name, &settings.evenkeel_toml());
        evenkeel(&["check", file.to_str().unwrap()], &[])
    };
    for (lines, key, allowed) in [
        ("access_log = { format = \"xml\" }", "access_log.format", "json"),
        ("access_log = { format = \"{cookies}\" }", "access_log.format", "stands for nothing"),
        ("access_log = { format = \"{header:Cookie}\" }", "access_log.format", "secret"),
        ("access_log = { to = \"stderr\" }", "access_log.to", "stdout"),
        ("access_log = { sample = 0 }", "access_log.sample", "above 0"),
        ("access_log = { sample = 2 }", "access_log.sample", "at most 1"),
        ("access_log = { facility = \"local8\" , to = \"syslog\" }", "access_log.facility", "local7"),
        ("access_log = { facility = \"local1\" }", "access_log.facility", "only syslog"),
        ("access_log = { query = \"yes\" }", "access_log.query", "true or false"),
        ("access_log = { lines = 5 }", "lines", "sample"),
        ("compression = { algorithms = [\"deflate\"] }", "compression.algorithms", "zstd"),
        ("compression = { algorithms = [] }", "compression.algorithms", "nothing would be compressed"),
        ("compression = { types = [\"html\"] }", "compression.types", "text/"),
        ("compression = { level = 10 }", "compression.level", "1 to 9"),
        ("compression = { min_size = -1 }", "compression.min_size", "bytes"),
        ("security_headers = \"hard\"", "security_headers", "strict"),
        ("health_path = \"health\"", "health_path", "path"),
        ("error_pages = { }", "error_pages.page", "missing"),
        ("error_pages = { page = { status = 200, file = \"/a.html\" } }", "status", "400 to 599"),
        ("error_pages = { page = { status = 500, file = \"/nowhere.html\" } }", "file", "no such file"),
        ("error_pages = { page = { status = 500, file = \"/etc/hostname\" } }", "file", "content_type"),
        ("protocol_of = 1", "protocol_of", "protocol"),
    ] {
        let printed = check(folder.path(), lines);
        assert!(!printed.status.success(), "{lines}");
        let told = format!("{}{}", printed.out, printed.err);
        assert!(told.contains(key) && told.contains(allowed), "{lines}: {told}");
    }
    let tcp = Settings::one("web", "tcp", []).listener_line("compression = { }");
    let file = write_settings(folder.path(), &tcp.evenkeel_toml());
    let told = evenkeel(&["check", file.to_str().unwrap()], &[]);
    assert!(
        told.err.contains("only with protocol = \"http\"") || told.out.contains("only with protocol = \"http\""),
        "{}",
        told.err
    );
}
