//! What an operator finds in the access log, whatever clients send and wherever it goes.

use std::fs;
use std::net::UdpSocket;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::time::Duration;

use cluster_tests::node::{Behaviour, TestNode, Then};
use cluster_tests::peer::Peer;
use cluster_tests::raw::{End, Raw};
use cluster_tests::settings::{Pool, Settings};
use cluster_tests::wait::{PATIENCE, wait_for, wait_until};
use rustix::process::Signal;
use serde_json::Value;

/// A peer before this node whose listener logs as these lines say.
fn logging(protocol: &'static str, node: &TestNode, lines: &str, routes: &str) -> Peer {
    let settings = Settings::one("web", protocol, [node.address()]).peer_line("id = \"ams-1\"");
    let settings = settings.listener_line(format!("access_log = {{ {lines} }}"));
    Peer::start_file(&format!("{}{routes}", settings.evenkeel_toml()), &[])
}

fn lines_of(file: &Path) -> Vec<String> {
    let text = fs::read(file).map(|bytes| String::from_utf8(bytes).expect("a log is UTF-8")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

/// The lines of a file once there are so many.
#[track_caller]
fn lines(file: &Path, count: usize) -> Vec<String> {
    wait_for("lines of the access log", PATIENCE, || Some(lines_of(file)).filter(|lines| lines.len() >= count)).0
}

#[track_caller]
fn objects(file: &Path, count: usize) -> Vec<Value> {
    let parse = |line: &String| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    lines(file, count).iter().map(parse).collect()
}

#[test]
fn each_request_has_a_line_with_who_asked_what_and_who_answered() {
    let node = TestNode::start("a");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("access.log");
    let routes = "[[route]]\nname = \"quiet\"\nwhen = { path = \"/health\" }\nthen = { access_log = false, answer = { body = \"up\\n\" } }\n\
                  [[route]]\nname = \"closed\"\nwhen = { path = \"/admin\" }\nthen = { refuse = 403 }\n";
    let peer = logging("http", &node, &format!("to = \"file:{}\"", file.display()), routes);
    let mut client = Raw::connect(peer.listener("web"));
    assert_eq!(client.get("/health").text(), "up\n");
    let request = "GET /bytes/1000?token=secret HTTP/1.1\r\nHost: shop.example\r\nUser-Agent: test/1\r\nReferer: http://a/b?c\r\n\
                   Authorization: Basic hidden\r\nCookie: session=hidden\r\nX-Request-Id: id-7\r\n\r\n";
    assert_eq!(client.ask(request).unwrap().body.len(), 1_000);
    let post = "POST /digest HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 5\r\n\r\nhello";
    assert_eq!(client.ask(post).unwrap().status, 200);
    assert_eq!(client.get("/admin").status, 403);
    assert_eq!(client.ask("GET / HTTP/3.0\r\nHost: a\r\n\r\n").unwrap().status, 505);

    let found = objects(&file, 4);
    assert_eq!(found.len(), 4, "a route says that it is not logged: {found:?}");
    let first = &found[0];
    for (key, value) in [
        ("client", "127.0.0.1"),
        ("sender", "127.0.0.1"),
        ("listener", "web"),
        ("pool", "web"),
        ("node", "web-1"),
        ("scheme", "http"),
        ("method", "GET"),
        ("host", "shop.example"),
        ("path", "/bytes/1000"),
        ("protocol", "HTTP/1.1"),
        ("user_agent", "test/1"),
        ("referer", "http://a/b"),
        ("request_id", "id-7"),
        ("end", "whole"),
    ] {
        assert_eq!(first[key], value, "{key} of {first}");
    }
    assert_eq!((&first["status"], &first["bytes_out"], &first["retries"]), (&200.into(), &1_000.into(), &0.into()));
    assert!(first["node_ms"].as_f64().unwrap() <= first["duration_ms"].as_f64().unwrap(), "{first}");
    assert_eq!((&found[1]["method"], &found[1]["bytes_in"]), (&"POST".into(), &5.into()));
    let refused = &found[2];
    assert_eq!(
        (&refused["status"], &refused["route"], &refused["own"]),
        (&403.into(), &"closed".into(), &"refused".into())
    );
    assert_eq!((&refused["node"], &refused["pool"]), (&Value::Null, &Value::Null));
    assert_eq!((&found[3]["status"], &found[3]["method"]), (&505.into(), &Value::Null));
    let text = fs::read_to_string(&file).unwrap();
    assert!(!text.contains("secret") && !text.contains("hidden"), "{text}");
}

#[test]
fn a_client_writes_no_second_line_and_no_endless_one() {
    let node = TestNode::start("a");
    let folder = tempfile::tempdir().unwrap();
    let (own, json) = (folder.path().join("own.log"), folder.path().join("json.log"));
    let format = "{client} \\\"{request}\\\" {status} \\\"{user_agent}\\\" \\\"{header:x-name}\\\"";
    let settings = Settings::one("web", "http", [node.address()])
        .listener_line(format!("access_log = {{ to = \"file:{}\", format = \"{format}\" }}", own.display()))
        .serve("http", Pool::new("api").unchecked().nodes([node.address()]))
        .listener_line(format!("access_log = {{ to = \"file:{}\", query = true }}", json.display()));
    let peer = Peer::start(&settings);
    // What a field may carry by RFC 9110 beside plain text: tabs, quotes and bytes above 127. The rest is refused.
    let evil: &[&[u8]] = &[
        b"a\"b\\c\td",
        b"\xff\xfe\x80 \xc3\x28",
        "\u{2028}forged 127.0.0.1 \u{85} \u{202e}".as_bytes(),
        b"nul\0inside",
        b"cr\rinside",
        b"lf\ninside",
        &[b'x'; 14_000],
        &[b'x'; 100_000],
    ];
    for listener in ["web", "api"] {
        for value in evil {
            let mut client = Raw::connect(peer.listener(listener));
            let head = b"GET /a?b=%0a%22 HTTP/1.1\r\nHost: a\r\nX-Name: ";
            let _ = client.send([head.as_slice(), value, b"\r\nUser-Agent: ", value, b"\r\n\r\n"].concat());
            let _ = client.answer("GET");
        }
    }
    let count = evil.len();
    for file in [&own, &json] {
        let found = lines(file, count);
        assert_eq!(found.len(), count, "{found:#?}");
        for line in &found {
            assert!(line.len() < 10_000 && !line.chars().any(char::is_control), "{} bytes: {line:?}", line.len());
        }
    }
    assert!(lines_of(&own).iter().all(|line| line.starts_with("127.0.0.1 \"")));
    let statuses: Vec<_> = objects(&json, count).iter().map(|line| line["status"].as_u64()).collect();
    assert_eq!(statuses.iter().filter(|status| **status == Some(200)).count(), 4, "{statuses:?}");
    assert_eq!(objects(&json, count)[0]["user_agent"], "a\"b\\c\td");
}

#[test]
fn a_file_that_was_moved_away_is_opened_anew_at_a_hang_up_and_nothing_is_lost() {
    let node = TestNode::start("a");
    let folder = tempfile::tempdir().unwrap();
    let (file, old) = (folder.path().join("access.log"), folder.path().join("access.log.1"));
    let peer = logging("http", &node, &format!("to = \"file:{}\", format = \"{{target}}\"", file.display()), "");
    let mut client = Raw::connect(peer.listener("web"));
    client.get("/1");
    assert_eq!(lines(&file, 1), ["/1"]);
    fs::rename(&file, &old).unwrap();
    client.get("/2");
    assert_eq!(lines(&old, 2), ["/1", "/2"], "it is written on until the peer is told");
    let mut peer = peer;
    peer.process().signal(Signal::HUP);
    wait_until("the file anew", || file.exists());
    client.get("/3");
    assert_eq!(lines(&file, 1), ["/3"]);
    assert_eq!(lines_of(&old), ["/1", "/2"]);
    client.get("/4");
    assert_eq!(peer.process().terminate().code(), Some(0));
    assert_eq!(lines_of(&file), ["/3", "/4"], "an orderly end writes what waits");
}

#[test]
fn a_connection_that_is_relayed_has_one_line_at_its_end() {
    let node = TestNode::start("a");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("access.log");
    let peer = logging("tcp", &node, &format!("to = \"file:{}\"", file.display()), "");
    let mut client = Raw::connect(peer.listener("web"));
    let request = "GET /bytes/500 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    client.send(request).unwrap();
    assert_eq!(client.answer("GET").unwrap().body.len(), 500);
    assert_eq!(lines_of(&file), [""; 0], "it goes on");
    client.end_sending();
    let found = &objects(&file, 1)[0];
    assert_eq!((&found["scheme"], &found["node"], &found["end"]), (&"tcp".into(), &"web-1".into(), &"whole".into()));
    assert_eq!(found["bytes_in"], request.len());
    assert!(found["bytes_out"].as_u64().unwrap() > 500, "{found}");
    drop(node);
    // The reset may come before the connection is one to whoever opens it.
    if let Ok(mut client) = Raw::try_connect(peer.listener("web")) {
        assert!(!matches!(client.end(PATIENCE), End::Bytes(_)));
    }
    assert_eq!(objects(&file, 2)[1]["end"], "no_node");
}

#[test]
fn what_failed_says_why_and_how_often_it_was_tried() {
    let (bad, good) = (TestNode::start("a"), TestNode::start("b"));
    bad.order("*", Behaviour::raw("", Then::Reset));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("access.log");
    let settings = Settings::one("web", "http", [bad.address(), good.address()])
        .pool_line("strategy = \"round_robin\"")
        .listener_line(format!("access_log = {{ to = \"file:{}\" }}", file.display()))
        .peer_line("workers = 1");
    let peer = Peer::start(&settings);
    let mut client = Raw::connect(peer.listener("web"));
    for _ in 0..2 {
        assert_eq!(client.get("/").status, 200);
    }
    let found = objects(&file, 2);
    let retries: Vec<_> = found.iter().map(|line| line["retries"].as_u64().unwrap()).collect();
    assert!(retries.contains(&1) && retries.iter().all(|&retries| retries <= 1), "{found:?}");
    assert!(found.iter().all(|line| line["node"] == "web-2"));

    good.order("*", Behaviour::raw("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort", Then::Close));
    let _ = Raw::connect(peer.listener("web")).ask("POST /cut HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
    let mut cut = Raw::connect(peer.listener("web"));
    cut.send("POST /cut HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n").unwrap();
    let _ = cut.answer("POST");
    let ends: Vec<_> = objects(&file, 4)[2..].iter().map(|line| line["own"].clone()).collect();
    assert!(ends.contains(&"the node broke off".into()), "one of them came to the bad node: {ends:?}");
    assert!(objects(&file, 4)[2..].iter().any(|line| line["end"] == "node_cut"));

    good.order("*", Behaviour::freeze());
    bad.order("*", Behaviour::freeze());
    let mut gone = Raw::connect(peer.listener("web"));
    gone.send("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    wait_until("the request at a node", || {
        [&bad, &good].iter().any(|node| node.seen().requests.iter().any(|request| request.line.contains("/slow")))
    });
    gone.reset();
    let last = &objects(&file, 5)[4];
    assert_eq!((&last["end"], &last["status"], &last["path"]), (&"client_gone".into(), &499.into(), &"/slow".into()));
}

#[test]
fn what_the_end_of_the_peer_cuts_has_its_line_too() {
    let node = TestNode::start("a");
    node.order("*", Behaviour::freeze());
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("access.log");
    let settings = Settings::one("web", "http", [node.address()])
        .listener_line(format!("access_log = {{ to = \"file:{}\" }}", file.display()))
        .peer_line("announce = \"0s\"")
        .peer_line("drain = \"0s\"");
    let mut peer = Peer::start(&settings);
    let mut client = Raw::connect(peer.listener("web"));
    client.send("GET /cut HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    wait_until("the request at the node", || !node.seen().requests.is_empty());
    assert_eq!(peer.process().terminate().code(), Some(0));
    let found = &objects(&file, 1)[0];
    assert_eq!((&found["path"], &found["end"]), (&"/cut".into(), &"peer_ended".into()));
}

#[test]
fn syslog_here_and_elsewhere_gets_lines_as_it_reads_them() {
    let node = TestNode::start("a");
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("log");
    let (local, server) = (UnixDatagram::bind(&socket).unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
    local.set_read_timeout(Some(PATIENCE)).unwrap();
    server.set_read_timeout(Some(PATIENCE)).unwrap();
    let format = "format = \"{path} {status}\"";
    let settings = Settings::one("web", "http", [node.address()])
        .listener_line(format!("access_log = {{ to = \"syslog:unix:{}\", {format} }}", socket.display()))
        .serve("http", Pool::new("api").unchecked().nodes([node.address()]))
        .listener_line(format!(
            "access_log = {{ to = \"syslog:udp://{}\", facility = \"local0\", {format} }}",
            server.local_addr().unwrap()
        ));
    let peer = Peer::start(&settings);
    let mut bytes = [0; 4_096];
    Raw::connect(peer.listener("web")).get("/local");
    let count = local.recv(&mut bytes).unwrap();
    let line = std::str::from_utf8(&bytes[..count]).unwrap();
    assert!(line.starts_with("<190>") && line.ends_with(&format!(" evenkeel[{}]: /local 200", peer.pid())), "{line}");
    Raw::connect(peer.listener("api")).get("/far");
    let count = server.recv(&mut bytes).unwrap();
    let line = std::str::from_utf8(&bytes[..count]).unwrap();
    assert!(
        line.starts_with("<134>1 20") && line.ends_with(&format!(" evenkeel {} access - /far 200", peer.pid())),
        "{line}"
    );

    // A syslog that is started again is found again, and what it missed is counted.
    drop(local);
    fs::remove_file(&socket).unwrap();
    Raw::connect(peer.listener("web")).get("/lost");
    let lost = format!(
        "evenkeel_access_log_dropped_lines_total{{to=\"syslog:unix:{}\",why=\"unwritable\"}} 1",
        socket.display()
    );
    wait_until("the loss is counted", || peer.ask("/metrics").text().contains(&lost));
    let local = UnixDatagram::bind(&socket).unwrap();
    local.set_read_timeout(Some(PATIENCE)).unwrap();
    Raw::connect(peer.listener("web")).get("/again");
    let count = local.recv(&mut bytes).unwrap();
    assert!(std::str::from_utf8(&bytes[..count]).unwrap().ends_with("/again 200"));
}

#[test]
fn a_log_that_nobody_reads_holds_up_no_request_and_what_is_lost_is_told() {
    let node = TestNode::start("a");
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status().unwrap();
    assert!(made.success());
    // Somebody has it open and reads nothing: the kernel takes 64 KiB and no more.
    let _reader = fs::OpenOptions::new().read(true).write(true).open(&pipe).unwrap();
    let long = "x".repeat(1_900);
    let lines = format!(
        "to = \"file:{}\", format = \"{long} {{path}} {{header:a}} {{header:b}} {{header:c}}\"",
        pipe.display()
    );
    let peer = logging("http", &node, &lines, "");
    let mut client = Raw::connect(peer.listener("web"));
    client.set_patience(Duration::from_secs(5));
    let request = format!("GET / HTTP/1.1\r\nHost: a\r\nA: {long}\r\nB: {long}\r\nC: {long}\r\n\r\n");
    let is_told = || {
        peer.ask("/metrics").text().lines().any(|line| {
            line.starts_with("evenkeel_access_log_dropped_lines_total")
                && line.contains("\"full\"")
                && !line.ends_with(" 0")
        })
    };
    // Eight MiB wait at most: some 1,100 of these.
    for _ in 0..1_300 {
        assert_eq!(client.ask(&request).unwrap().status, 200);
    }
    assert!(is_told(), "{}", peer.ask("/metrics").text());
}

#[test]
fn a_log_that_cannot_be_written_is_refused_at_the_start() {
    let settings = Settings::one("web", "http", []).listener_line("access_log = { to = \"file:/nowhere/access.log\" }");
    let folder = tempfile::tempdir().unwrap();
    let file = cluster_tests::peer::write_settings(folder.path(), &settings.evenkeel_toml());
    let printed = cluster_tests::peer::evenkeel(&["run", "--config", file.to_str().unwrap()], &[]);
    assert!(!printed.status.success());
    assert!(
        printed.err.contains("listener web: the access log cannot be written to file:/nowhere/access.log"),
        "{}",
        printed.err
    );
    assert!(printed.err.contains("make its folder first"), "{}", printed.err);
}
