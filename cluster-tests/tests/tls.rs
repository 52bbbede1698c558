//! TLS of clients: who gets which certificate, who is refused and what it is told, as `curl` and `openssl` see it too.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use cluster_tests::certificates::Authority;
use cluster_tests::need;
use cluster_tests::node::TestNode;
use cluster_tests::peer::Peer;
use cluster_tests::raw::{End, Raw};
use cluster_tests::settings::{Pool, Settings};
use cluster_tests::wait::wait_until;
use rustls::{NamedGroup, ProtocolVersion};
use tempfile::TempDir;

/// An authority, a folder for files, and a node.
struct Scene {
    authority: Authority,
    folder: TempDir,
    node: TestNode,
}

impl Scene {
    fn new() -> Self {
        Self {
            authority: Authority::new(),
            folder: tempfile::tempdir().expect("a temporary folder"),
            node: TestNode::start("a"),
        }
    }

    /// The inline table of a certificate for these names.
    fn certificate(&self, name: &str, names: &[&str]) -> String {
        let (certificate, key) = self.authority.issue_to(self.folder.path(), name, names);
        format!("{{ certificate_file = {certificate:?}, key_file = {key:?} }}")
    }

    /// A peer whose listener `web` speaks TLS by these lines.
    fn peer(&self, protocol: &'static str, tls: &str) -> Peer {
        let pool = Pool::new("web").unchecked().nodes([self.node.address()]);
        Peer::start(&Settings::default().serve(protocol, pool).listener_line(format!("[listener.tls]\n{tls}")))
    }

    fn two_tenants(&self) -> String {
        let (shop, blog) = (self.certificate("shop", &["shop.test"]), self.certificate("blog", &["*.blog.test"]));
        format!("certificates = [{shop}, {blog}]")
    }

    /// `GET /` by curl, which trusts the authority.
    fn curl(&self, peer: &Peer, host: &str, more: &[&str]) -> Output {
        let at = peer.listener("web");
        let authority = self.authority.write(self.folder.path());
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--show-error", "--max-time", "10", "--cacert"]).arg(authority);
        curl.arg("--resolve").arg(format!("{host}:{}:{}", at.port(), at.ip())).args(more);
        curl.arg(format!("https://{host}:{}/", at.port())).output().expect("curl runs")
    }
}

/// What `openssl s_client` says of a connection that it ends at once.
fn s_client(at: SocketAddr, more: &[&str]) -> String {
    let mut openssl = Command::new("openssl");
    openssl.args(["s_client", "-connect", &at.to_string()]).args(more).stdin(Stdio::null());
    let output = openssl.output().expect("openssl runs");
    let text = [output.stdout, output.stderr].concat();
    String::from_utf8_lossy(&text).into_owned()
}

fn failures(peer: &Peer, kind: &str) -> u64 {
    peer.json("/api/health/detailed")["counts"][kind].as_u64().unwrap_or_else(|| panic!("no count {kind}"))
}

#[test]
fn a_client_gets_the_certificate_of_the_name_it_asks_for_and_no_other_tenants() {
    let scene = Scene::new();
    let peer = scene.peer("http", &scene.two_tenants());
    let at = peer.listener("web");
    for name in ["shop.test", "www.blog.test"] {
        let mut client = Raw::connect_tls(at, &scene.authority.client(name));
        assert_eq!(client.get("/").text().trim_end(), "a", "{name}");
        let tls = client.tls().expect("it speaks TLS");
        assert_eq!(tls.protocol_version(), Some(ProtocolVersion::TLSv1_3));
        let group = tls.negotiated_key_exchange_group().map(rustls::crypto::SupportedKxGroup::name);
        assert_eq!(group, Some(NamedGroup::X25519MLKEM768), "safe from machines to come");
    }
    let seen = scene.node.seen().requests;
    let seen = seen.back().expect("a request");
    assert_eq!(seen.field("x-forwarded-proto"), Some("https"));
    assert!(seen.field("forwarded").is_some_and(|value| value.ends_with(";proto=https")), "{seen:?}");

    if need::program("openssl").is_none() || need::program("curl").is_none() {
        return;
    }
    for host in ["shop.test", "a.blog.test"] {
        let out = scene.curl(&peer, host, &[]);
        assert_eq!(String::from_utf8_lossy(&out.stdout).trim_end(), "a", "{host}: {out:?}");
    }
    let before = failures(&peer, "names_unrecognized");
    for unknown in ["other.test", "blog.test", "a.b.blog.test"] {
        let said = s_client(at, &["-servername", unknown]);
        assert!(said.contains("unrecognized name"), "{unknown}: {said}");
        assert!(!said.contains("BEGIN CERTIFICATE"), "{unknown} gets nobody's certificate: {said}");
    }
    let said = s_client(at, &["-noservername"]);
    assert!(said.contains("unrecognized name") && !said.contains("BEGIN CERTIFICATE"), "{said}");
    assert_eq!(failures(&peer, "names_unrecognized") - before, 4);
}

#[test]
fn whoever_asks_for_no_name_gets_the_certificate_of_the_address_or_the_default() {
    if need::program("openssl").is_none() {
        return;
    }
    let scene = Scene::new();
    let address = scene.certificate("address", &["shop.test", "127.0.0.1"]);
    let blog = scene.certificate("blog", &["blog.test"]);
    let authority = scene.authority.write(scene.folder.path());
    let verified = |peer: &Peer, sni: &[&str], name: &[&str]| {
        let ca = authority.to_str().expect("a path in UTF-8");
        let said = s_client(peer.listener("web"), &[sni, &["-CAfile", ca, "-verify_return_error"], name].concat());
        assert!(said.contains("Verify return code: 0 (ok)"), "{said}");
    };
    let peer = scene.peer("http", &format!("certificates = [{blog}, {address}]"));
    verified(&peer, &["-noservername"], &["-verify_ip", "127.0.0.1"]);
    let peer = scene.peer("http", &format!("certificates = [{blog}, {address}]\ndefault = \"BLOG.test\""));
    verified(&peer, &["-noservername"], &["-verify_ip", "127.0.0.1"]);
    verified(&peer, &["-servername", "other.test"], &["-verify_hostname", "blog.test"]);
    // One certificate, not in a list, its key in the same file.
    let (certificate, key) = scene.authority.issue(&["one.test"]);
    let both = scene.folder.path().join("both.pem");
    std::fs::write(&both, format!("{certificate}{key}")).expect("a temporary folder takes a file");
    let peer = scene.peer("http", &format!("certificates = {{ certificate_file = {both:?} }}"));
    verified(&peer, &["-servername", "one.test"], &["-verify_hostname", "one.test"]);
    assert!(peer.log().contains("everybody may read it"), "a key that is open to all is warned of: {}", peer.log());
}

#[test]
fn old_versions_are_refused() {
    if need::program("openssl").is_none() {
        return;
    }
    let scene = Scene::new();
    let peer = scene.peer("http", &scene.two_tenants());
    let at = peer.listener("web");
    let with = |version: &str| s_client(at, &["-servername", "shop.test", version, "-cipher", "DEFAULT:@SECLEVEL=0"]);
    for version in ["-tls1", "-tls1_1"] {
        let said = with(version);
        assert!(said.contains(" alert ") && !said.contains("BEGIN CERTIFICATE"), "{version}: {said}");
    }
    assert!(with("-tls1_2").contains("BEGIN CERTIFICATE"), "TLS 1.2 is spoken");
    assert_eq!(failures(&peer, "handshakes_failed"), 2);
    let strict = scene.peer("http", &format!("{}\nmin_version = \"1.3\"", scene.two_tenants()));
    let said = s_client(strict.listener("web"), &["-servername", "shop.test", "-tls1_2"]);
    assert!(said.contains("alert protocol version"), "{said}");
}

#[test]
fn clients_show_certificates_where_they_must() {
    if need::program("curl").is_none() {
        return;
    }
    let scene = Scene::new();
    let ca = scene.authority.write(scene.folder.path());
    let (certificate, key) = scene.authority.issue_to(scene.folder.path(), "client", &["client.test"]);
    let (wrong, wrong_key) = Authority::new().issue_to(scene.folder.path(), "stranger", &["client.test"]);
    let as_text = |path: &Path| path.to_str().expect("a path in UTF-8").to_owned();
    let own = ["--cert", &as_text(&certificate), "--key", &as_text(&key)].map(str::to_owned);
    let strangers = ["--cert", &as_text(&wrong), "--key", &as_text(&wrong_key)].map(str::to_owned);
    for (required, shows_none, why) in [(true, false, "certificate required"), (false, true, "")] {
        let tls =
            format!("{}\nclient_certificates = {{ ca_file = {ca:?}, required = {required} }}", scene.two_tenants());
        let peer = scene.peer("http", &tls);
        let asks = |shown: &[String]| {
            let shown: Vec<&str> = shown.iter().map(String::as_str).collect();
            scene.curl(&peer, "shop.test", &shown)
        };
        assert!(asks(&own).status.success(), "{:?}", asks(&own));
        let none = asks(&[]);
        assert_eq!(none.status.success(), shows_none, "{none:?}");
        assert!(String::from_utf8_lossy(&none.stderr).contains(why), "{none:?}");
        assert!(!asks(&strangers).status.success(), "another authority's counts for nothing");
    }
}

#[test]
fn tls_ends_at_a_tcp_listener_and_each_half_by_itself() {
    let scene = Scene::new();
    let peer = scene.peer("tcp", &scene.two_tenants());
    let mut client = Raw::connect_tls(peer.listener("web"), &scene.authority.client("shop.test"));
    let body = vec![b'x'; 300_000];
    let head = format!("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    client.send([head.as_bytes(), &body].concat()).expect("it is sent");
    client.end_sending();
    let answer = client.answer("POST").expect("an answer after this side has ended");
    assert!(answer.body == body);
    assert_eq!(client.end(Duration::from_secs(5)), End::Closed, "the end is said, not cut");

    // A client that only vanishes is no client that has ended.
    let client = Raw::connect_tls(peer.listener("web"), &scene.authority.client("shop.test"));
    let open = || peer.json("/api/health/detailed")["listeners"][0]["counts"]["connections_open"].as_u64();
    wait_until("the connection", || open() == Some(1));
    client.reset();
    wait_until("its end", || open() == Some(0));
}

#[test]
fn bodies_of_any_size_go_both_ways_over_tls() {
    let scene = Scene::new();
    let peer = scene.peer("http", &scene.two_tenants());
    let mut client = Raw::connect_tls(peer.listener("web"), &scene.authority.client("shop.test"));
    for length in [0, 1, 16_383, 16_384, 16_385, 70_000, 3_000_000] {
        let body: Vec<u8> = (0..length).map(|at: u32| at.wrapping_mul(2_654_435_761).to_le_bytes()[3]).collect();
        let head = format!("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n");
        let answer =
            client.ask([head.as_bytes(), &body].concat()).unwrap_or_else(|broken| panic!("{length} bytes: {broken:?}"));
        assert!(answer.status == 200 && answer.body == body, "{length} bytes");
    }
}

#[test]
fn a_client_that_says_nothing_is_let_go() {
    let scene = Scene::new();
    let peer = scene.peer("http", &format!("{}\nhandshake_timeout = \"200ms\"", scene.two_tenants()));
    let mut silent = Raw::connect(peer.listener("web"));
    let mut halting = Raw::connect(peer.listener("web"));
    halting.send([22, 3, 1, 2, 0, 1]).expect("it is sent");
    for client in [&mut silent, &mut halting] {
        assert!(matches!(client.end(Duration::from_secs(10)), End::Closed | End::Reset));
    }
    wait_until("both to be counted", || failures(&peer, "timeouts_handshake") == 2);
    let mut plain = Raw::connect(peer.listener("web"));
    plain.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").expect("it is sent");
    assert!(matches!(plain.end(Duration::from_secs(10)), End::Closed | End::Reset | End::Bytes(_)));
    wait_until("what is no TLS to be counted", || failures(&peer, "handshakes_failed") == 1);
}

#[test]
fn a_session_is_resumed_and_counted() {
    let scene = Scene::new();
    let peer = scene.peer("http", &scene.two_tenants());
    let client = scene.authority.client("shop.test");
    for _ in 0..3 {
        let mut raw = Raw::connect_tls(peer.listener("web"), &client);
        assert_eq!(raw.get("/").status, 200);
    }
    let counts = &peer.json("/api/health/detailed")["listeners"][0]["counts"];
    assert_eq!((counts["handshakes_total"].as_u64(), counts["handshakes_resumed"].as_u64()), (Some(3), Some(2)));
}

#[test]
fn sslscan_finds_nothing_old_and_nothing_weak() {
    let Some(program) = need::program("sslscan") else { return };
    let scene = Scene::new();
    let peer = scene.peer("http", &scene.two_tenants());
    let run = Command::new(program)
        .args(["--no-colour", "--sni-name=shop.test"])
        .arg(peer.listener("web").to_string())
        .output()
        .expect("sslscan runs");
    let said = String::from_utf8_lossy(&run.stdout).into_owned();
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let versions: Vec<Vec<String>> = said
        .lines()
        .map(words)
        .filter(|words| matches!(words.get(1).map(String::as_str), Some("enabled" | "disabled")))
        .collect();
    let is = |version: &str| versions.iter().find(|words| words[0] == version).map(|words| words[1] == "enabled");
    for (version, enabled) in [
        ("SSLv2", false),
        ("SSLv3", false),
        ("TLSv1.0", false),
        ("TLSv1.1", false),
        ("TLSv1.2", true),
        ("TLSv1.3", true),
    ] {
        assert_eq!(is(version), Some(enabled), "{version}: {said}");
    }
    // Every suite has a key of its own for each connection, and authenticates what it encrypts.
    let suites: Vec<Vec<String>> = said
        .lines()
        .map(words)
        .filter(|words| matches!(words.first().map(String::as_str), Some("Preferred" | "Accepted")))
        .collect();
    assert!(suites.len() >= 6, "{said}");
    for suite in &suites {
        let name = &suite[4];
        assert!(name.starts_with("TLS_") || name.starts_with("ECDHE-"), "{name}");
        assert!(name.contains("GCM") || name.contains("POLY1305") || name.contains("CHACHA20"), "{name}");
    }
    for wanted in [
        "Session renegotiation not supported",
        "TLSv1.3 not vulnerable to heartbleed",
        "TLSv1.2 not vulnerable to heartbleed",
    ] {
        assert!(said.contains(wanted), "{wanted}: {said}");
    }
    assert!(said.contains("Subject:  shop.test") || said.contains("DNS:shop.test"), "{said}");
    assert!(!said.contains("blog.test"), "nobody hears of another tenant: {said}");
}
