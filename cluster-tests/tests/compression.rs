//! Which answers are compressed, as curl and a browser read them.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};

use cluster_tests::need;
use cluster_tests::node::{Behaviour, TestNode, Then};
use cluster_tests::peer::Peer;
use cluster_tests::raw::Raw;
use cluster_tests::settings::Settings;
use cluster_tests::wait::{PATIENCE, wait_for};

/// 30 kB of text in which every line is another one.
fn text() -> String {
    (0..1_000).map(|line| format!("line {line} of a text that repeats\n")).collect()
}

fn answer(content_type: &str, more: &str, body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\n{more}\r\n{body}", body.len())
}

/// A node with a text at `/text`, `/json`, `/tiny`, `/image`, `/packed`, `/fixed` and, in chunks, at `/chunks`.
fn node() -> TestNode {
    let node = TestNode::start("a");
    let text = text();
    let chunked: String = text
        .as_bytes()
        .chunks(700)
        .map(|part| format!("{:x}\r\n{}\r\n", part.len(), String::from_utf8_lossy(part)))
        .collect();
    for (path, answer) in [
        ("/text", answer("text/html; charset=utf-8", "ETag: \"v1\"\r\nAccept-Ranges: bytes\r\n", &text)),
        ("/json", answer("application/problem+json", "", &text)),
        ("/tiny", answer("text/plain", "", "short")),
        ("/image", answer("image/png", "", &text)),
        ("/packed", answer("text/plain", "Content-Encoding: br\r\n", &text)),
        ("/fixed", answer("text/plain", "Cache-Control: no-transform\r\n", &text)),
        (
            "/chunks",
            format!(
                "HTTP/1.1 200 OK\r\nContent-Type: text/css\r\nTransfer-Encoding: chunked\r\n\r\n{chunked}0\r\n\r\n"
            ),
        ),
    ] {
        node.order(path, Behaviour::raw(answer, Then::Keep));
    }
    node
}

fn compressing(node: &TestNode, lines: &str) -> Peer {
    Peer::start(&Settings::one("web", "http", [node.address()]).listener_line(format!("compression = {{ {lines} }}")))
}

/// What curl makes of a resource: the head, and the body with its encoding undone.
fn curl(program: &Path, address: SocketAddr, path: &str, arguments: &[&str]) -> (String, String) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (head, body) = (folder.path().join("head"), folder.path().join("body"));
    let run = Command::new(program)
        .args(["-s", "-S", "-D"])
        .arg(&head)
        .arg("-o")
        .arg(&body)
        .args(arguments)
        .arg(format!("http://{address}{path}"))
        .output()
        .expect("curl runs");
    assert!(run.status.success(), "{path} {arguments:?}: {}", String::from_utf8_lossy(&run.stderr));
    let body = fs::read(body).map(|body| String::from_utf8_lossy(&body).into_owned()).unwrap_or_default();
    (fs::read_to_string(head).expect("curl wrote the head").to_ascii_lowercase(), body)
}

#[test]
fn curl_reads_every_algorithm_and_gets_the_one_that_it_likes() {
    let Some(program) = need::program("curl") else { return };
    let node = node();
    let peer = compressing(&node, "");
    let web = peer.listener("web");
    for (accepted, encoding) in [
        ("gzip", Some("gzip")),
        ("br", Some("br")),
        ("zstd", Some("zstd")),
        ("gzip, deflate, br, zstd", Some("zstd")),
        ("gzip;q=0.9, br;q=1.0, zstd;q=0.5", Some("br")),
        ("*", Some("zstd")),
        ("gzip;q=0", None),
        ("identity", None),
        ("deflate", None),
    ] {
        for path in ["/text", "/json", "/chunks"] {
            let header = format!("Accept-Encoding: {accepted}");
            let (head, body) = curl(&program, web, path, &["--compressed", "-H", &header]);
            let said = head.lines().find_map(|line| line.strip_prefix("content-encoding: "));
            assert_eq!(said, encoding, "{path} {accepted}: {head}");
            assert_eq!(body, text(), "{path} {accepted}");
            assert!(head.contains("vary: accept-encoding"), "{path} {accepted}: {head}");
            if path == "/text" {
                let is_packed = encoding.is_some();
                assert_eq!(head.contains("etag: w/\"v1\""), is_packed, "{head}");
                assert_eq!(head.contains("accept-ranges"), !is_packed, "{head}");
                assert_eq!(head.contains("content-length"), !is_packed, "{head}");
            }
        }
    }
    let sent: f64 = counter(&peer, "evenkeel_listener_sent_bytes_total");
    let received: f64 = counter(&peer, "evenkeel_node_received_bytes_total");
    assert!(sent < received * 0.6, "{sent} of {received} bytes went out");
}

#[track_caller]
fn counter(peer: &Peer, name: &str) -> f64 {
    let page = peer.ask("/metrics").text();
    let line = page.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("no {name} in {page}"));
    line.rsplit(' ').next().and_then(|value| value.parse().ok()).expect("a number")
}

#[test]
fn what_gains_nothing_or_must_not_change_goes_as_it_is() {
    let node = node();
    let peer = compressing(&node, "");
    let mut client = Raw::connect(peer.listener("web"));
    let ask =
        |path: &str, more: &str| format!("GET {path} HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip, br\r\n{more}\r\n");
    for path in ["/tiny", "/image", "/fixed"] {
        let answer = client.ask(ask(path, "")).unwrap();
        assert_eq!((answer.field("content-encoding"), answer.field("vary")), (None, None), "{path}");
    }
    assert_eq!(client.ask(ask("/text", "Cache-Control: no-transform\r\n")).unwrap().text(), text());
    let packed = client.ask(ask("/packed", "")).unwrap();
    assert_eq!((packed.field("content-encoding"), packed.text()), (Some("br"), text()));
    node.order("/part", Behaviour::raw(
        "HTTP/1.1 206 Partial Content\r\nContent-Type: text/plain\r\nContent-Range: bytes 0-4/90000\r\nContent-Length: 5\r\n\r\nhello",
        Then::Keep,
    ));
    assert_eq!(client.ask(ask("/part", "Range: bytes=0-4\r\n")).unwrap().text(), "hello");
    node.order("/same", Behaviour::raw("HTTP/1.1 304 Not Modified\r\nETag: \"v1\"\r\n\r\n", Then::Keep));
    let same = client.ask(ask("/same", "If-None-Match: W/\"v1\"\r\n")).unwrap();
    assert_eq!((same.status, same.field("etag")), (304, Some("\"v1\"")));

    let head = answer("text/html", "", "").replace("Content-Length: 0", "Content-Length: 30000");
    node.order("/text", Behaviour::raw(head, Then::Keep));
    let head = client.ask(ask("/text", "").replace("GET", "HEAD")).unwrap();
    assert_eq!((head.field("content-encoding"), head.field("content-length")), (Some("br"), None), "as GET would say");
    assert_eq!(client.get("/tiny").text(), "short", "nothing came that was no answer");
}

#[test]
fn an_old_client_and_a_route_that_says_so_get_the_text_itself() {
    let node = node();
    let settings = Settings::one("web", "http", [node.address()])
        .listener_line("compression = { min_size = 0, types = [\"text/*\"] }");
    let route = "[[route]]\nname = \"plain\"\nwhen = { path = \"/text\" }\nthen = { compression = false }\n";
    let peer = Peer::start_file(&format!("{}{route}", settings.evenkeel_toml()), &[]);
    let mut client = Raw::connect(peer.listener("web"));
    let ask =
        |path: &str, version: &str| format!("GET {path} HTTP/{version}\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n");
    assert_eq!(client.ask(ask("/text", "1.1")).unwrap().text(), text());
    assert_eq!(client.ask(ask("/json", "1.1")).unwrap().text(), text(), "its type is not in the list");
    assert_eq!(client.ask(ask("/tiny", "1.1")).unwrap().field("content-encoding"), Some("gzip"), "any size");
    assert_eq!(client.ask(ask("/chunks", "1.0")).unwrap().text(), text());
}

#[test]
fn an_event_is_read_while_its_node_says_no_more() {
    let Some(program) = need::program("curl") else { return };
    let node = TestNode::start("a");
    let event = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\nd\r\ndata: hello\n\n\r\n";
    node.order("*", Behaviour::raw(event, Then::Hang));
    let peer = compressing(&node, "");
    for encoding in ["gzip", "br", "zstd"] {
        let mut curl = Command::new(&program)
            .args(["-s", "-N", "--compressed", "-H", &format!("Accept-Encoding: {encoding}")])
            .arg(format!("http://{}/events", peer.listener("web")))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(curl.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "data: hello\n", "{encoding}");
        curl.kill().unwrap();
        curl.wait().unwrap();
    }
}

/// A page that loads a script, has a frame load it again, and asks twice for data.
const PAGE: &str = r#"<!doctype html><title>page</title><body><script src="/app.js"></script>
<iframe src="/frame.html"></iframe><script>
(async () => {
  const first = await (await fetch('/data.json')).json();
  const second = await (await fetch('/data.json')).json();
  const p = document.createElement('p');
  p.textContent = 'data ' + first.length + ' ' + second.length + ' ' + window.loaded;
  document.body.append(p);
})();
</script>"#;

#[test]
fn a_browser_reads_what_is_compressed_and_asks_again_only_for_what_it_may_not_keep() {
    let Some(program) = need::program("chromium") else { return };
    let node = TestNode::start("a");
    let folder = tempfile::tempdir().unwrap();
    let (site, log, profile) = (folder.path().join("site"), folder.path().join("log"), folder.path().join("profile"));
    fs::create_dir(&site).unwrap();
    fs::write(site.join("index.html"), PAGE).unwrap();
    fs::write(site.join("frame.html"), "<!doctype html><script src=\"/app.js\"></script>").unwrap();
    fs::write(site.join("app.js"), format!("/*{}*/ window.loaded = 'script';", text())).unwrap();
    let numbers: Vec<String> = (0..2_000).map(|number| number.to_string()).collect();
    fs::write(site.join("data.json"), format!("[{}]", numbers.join(","))).unwrap();
    let format = "{method} {path} {status} {answer_header:content-encoding}";
    let settings = Settings::one("web", "http", [node.address()])
        .listener_line("compression = { }")
        .listener_line(format!("access_log = {{ to = \"file:{}\", format = \"{format}\" }}", log.display()));
    let routes = format!(
        "[[files]]\nname = \"site\"\nroot = {site:?}\n\
         [[route]]\nname = \"data\"\npriority = 1\nwhen = {{ path = \"/data.json\" }}\nthen = {{ files = {{ folder = \"site\", cache = \"0s\" }} }}\n\
         [[route]]\nname = \"site\"\nthen = {{ files = {{ folder = \"site\", cache = \"1h\" }} }}\n"
    );
    let peer = Peer::start_file(&format!("{}{routes}", settings.evenkeel_toml()), &[]);
    let run = Command::new(program)
        .args([
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--disable-background-networking",
        ])
        .args(["--no-first-run", "--virtual-time-budget=8000", "--dump-dom"])
        .arg(format!("--user-data-dir={}", profile.display()))
        .arg(format!("http://{}/", peer.listener("web")))
        .output()
        .unwrap();
    let dom = String::from_utf8_lossy(&run.stdout).into_owned();
    let told = String::from_utf8_lossy(&run.stderr).into_owned();
    assert!(dom.contains("data 2000 2000 script"), "{dom}\n{told}");
    let (lines, _) = wait_for("the lines of the access log", PATIENCE, || {
        let lines: Vec<String> = fs::read_to_string(&log).ok()?.lines().map(str::to_owned).collect();
        (lines.iter().filter(|line| line.contains("/data.json")).count() >= 2).then_some(lines)
    });
    let of = |path: &str| -> Vec<String> { lines.iter().filter(|line| line.contains(path)).cloned().collect() };
    assert_eq!(of("/app.js"), ["GET /app.js 200 zstd"], "it is kept: {lines:?}");
    assert_eq!(
        of("/data.json"),
        ["GET /data.json 200 zstd", "GET /data.json 304 -"],
        "it is asked for whether it changed: {lines:?}"
    );
}
