//! Listeners and certificates change under load, and no client notices: no request fails, no WebSocket and no download is cut.

use std::net::SocketAddr;
use std::time::Duration;

use cluster_tests::certificates::Authority;
use cluster_tests::environment::is_soak;
use cluster_tests::load::{Load, Offered, Plan, failures};
use cluster_tests::node::TestNode;
use cluster_tests::peer::{Peer, write_settings};
use cluster_tests::ports;
use cluster_tests::raw::{Raw, TlsClient};
use cluster_tests::report;
use cluster_tests::settings::{Listener, Pool, Settings};
use cluster_tests::wait::{PATIENCE, wait_for, wait_until};
use rustix::process::Signal;

const REFUSED: &str = "the settings were read again and refused";
const TAKEN: &str = "the listeners are taken";

/// Reloads of the story, each with another certificate and another setting; and at its larger size.
const RELOADS: (u32, u32) = (10, 60);
/// Requests a second of each of its two loads; and at its larger size, where there are 100,000 of them together.
const RATE: (u32, u32) = (250, 1_000);
const REQUESTS_SOAK: usize = 50_000;
/// Bytes of its download, of which a node sends 16 KiB every 5 ms.
const DOWNLOAD_BYTES: usize = 24 * 1024 * 1024;

/// Waits until the log says this so many times.
fn said(peer: &mut Peer, what: &str, times: usize) {
    peer.process().wait_log(what, PATIENCE, |log| (log.matches(what).count() >= times).then_some(()));
}

/// The certificate that a new connection is shown.
fn shown(at: SocketAddr, client: &TlsClient) -> Vec<u8> {
    let raw = Raw::connect_tls(at, client);
    raw.tls().and_then(|tls| tls.peer_certificates()?.first()).expect("a certificate").to_vec()
}

/// Asks for an upgrade and says whether bytes come back.
fn echoes(tunnel: &mut Raw, word: &str) -> bool {
    tunnel.send(word).is_ok() && tunnel.bytes(word.len()).is_ok_and(|back| back == word.as_bytes())
}

fn upgrade(mut raw: Raw) -> Raw {
    raw.send("GET /upgrade HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n").expect("it is sent");
    let head = raw.head().expect("an answer");
    assert_eq!(head.status(), Ok(101));
    raw
}

#[test]
fn certificates_and_listeners_change_under_load_and_nothing_is_cut() {
    let (authority, folder, node) = (Authority::new(), tempfile::tempdir().expect("a folder"), TestNode::start("a"));
    let (certificate, key) = authority.issue_to(folder.path(), "shop", &["shop.test"]);
    let tls = format!("[listener.tls]\ncertificates = {{ certificate_file = {certificate:?}, key_file = {key:?} }}");
    let (reloads, rate) = if is_soak() { (RELOADS.1, RATE.1) } else { (RELOADS.0, RATE.0) };
    let (secure, plain, coming) = (ports::free(), ports::free(), ports::free());
    let settings = |round: u32| {
        let mut settings = Settings::default().serve("http", Pool::new("web").unchecked().nodes([node.address()]));
        let listener = |name: &str, listen: SocketAddr, lines: &[String]| Listener {
            name: name.to_owned(),
            listen,
            protocol: "http",
            pool: "web".to_owned(),
            lines: lines.to_vec(),
            tls: None,
        };
        // Every other round has other settings and another listener, which goes again.
        let changing = format!("head_timeout = \"{}s\"", 10 + round % 2);
        settings.listeners =
            vec![listener("secure", secure, &[changing.clone(), tls.clone()]), listener("plain", plain, &[changing])];
        if round % 2 == 1 {
            settings.listeners.push(listener("coming", coming, &[]));
        }
        settings.evenkeel_toml()
    };
    let mut peer = Peer::start_file(&settings(0), &[]);
    let client = authority.client("shop.test");
    let mut tunnel = upgrade(Raw::connect_tls(secure, &client));
    let mut plain_tunnel = upgrade(Raw::connect(plain));
    let download = std::thread::spawn({
        let client = client.clone();
        move || {
            let mut raw = Raw::connect_tls(secure, &client);
            raw.ask(format!("GET /slow/{DOWNLOAD_BYTES} HTTP/1.1\r\nHost: a\r\n\r\n")).map(|answer| answer.body.len())
        }
    });
    let loads = [Load::start(&Plan::get(secure, rate).over_tls(client.clone())), Load::start(&Plan::get(plain, rate))];
    wait_until("traffic", || loads.iter().all(|load| load.count() > 100));

    for round in 1..=reloads {
        let before = shown(secure, &client);
        let taken = peer.log().matches(TAKEN).count();
        // Nobody tells the peer of this one.
        authority.issue_to(folder.path(), "shop", &["shop.test"]);
        wait_until("the new certificate", || shown(secure, &client) != before);
        said(&mut peer, TAKEN, taken + 1);
        let taken = peer.log().matches(TAKEN).count();
        write_settings(peer.process().folder(), &settings(round));
        peer.process().signal(Signal::HUP);
        said(&mut peer, TAKEN, taken + 1);
        if round % 2 == 1 {
            assert_eq!(Raw::connect(coming).get("/").status, 200);
        } else {
            wait_until("the listener to be gone", || Raw::try_connect(coming).is_err());
        }
        let word = format!("round {round}");
        assert!(echoes(&mut tunnel, &word) && echoes(&mut plain_tunnel, &word), "{word}");
        let counts: Vec<usize> = loads.iter().map(Load::count).collect();
        wait_until("more traffic", || loads.iter().zip(&counts).all(|(load, before)| load.count() > before + 50));
    }
    if is_soak() {
        let done = || loads.iter().all(|load| load.count() >= REQUESTS_SOAK);
        wait_for("all of the load", Duration::from_secs(120), || done().then_some(()));
    }
    assert_eq!(download.join().expect("the client ends"), Ok(DOWNLOAD_BYTES), "a download goes on");
    assert!(echoes(&mut tunnel, "the end") && echoes(&mut plain_tunnel, "the end"));
    for load in loads {
        let outcomes = load.stop();
        report::line(&format!("{}, {reloads} × 2 reloads", Offered::of(&outcomes)));
        assert_eq!(failures(&outcomes, 10), [""; 0]);
    }
}

#[test]
fn a_pool_gets_another_name_in_one_reload_and_no_request_fails() {
    let node = TestNode::start("a");
    let at = ports::free();
    let named = |pool: &str| {
        let mut settings = Settings::one(pool, "http", [node.address()]);
        settings.listeners[0].listen = at;
        settings.listeners[0].name = "web".to_owned();
        settings.evenkeel_toml()
    };
    let mut peer = Peer::start_file(&named("first"), &[]);
    let load = Load::start(&Plan::get(at, RATE.0));
    wait_until("traffic", || load.count() > 100);
    for (round, pool) in ["second", "third", "first", "second"].into_iter().enumerate() {
        write_settings(peer.process().folder(), &named(pool));
        said(&mut peer, TAKEN, round + 1);
        wait_until("the pool", || peer.ask(&format!("/api/v1/pools/{pool}")).status == 200);
        let count = load.count();
        wait_until("more traffic", || load.count() > count + 50);
    }
    assert_eq!(failures(&load.stop(), 10), [""; 0]);
}

#[test]
fn a_bad_file_is_refused_with_all_its_faults_and_the_old_one_stays() {
    let (authority, folder, node) = (Authority::new(), tempfile::tempdir().expect("a folder"), TestNode::start("a"));
    let (certificate, key) = authority.issue_to(folder.path(), "shop", &["shop.test"]);
    let tls = format!("[listener.tls]\ncertificates = {{ certificate_file = {certificate:?}, key_file = {key:?} }}");
    let settings = Settings::one("web", "http", [node.address()]).listener_line(tls);
    let mut peer = Peer::start(&settings);
    let (at, client) = (peer.listener("web"), authority.client("shop.test"));
    let first = shown(at, &client);
    let mut kept = Raw::connect_tls(at, &client);

    // A certificate without the key that is its own, as between two copies.
    let (other, _) = Authority::new().issue(&["shop.test"]);
    std::fs::write(&certificate, other).expect("a file");
    said(&mut peer, REFUSED, 1);
    assert!(peer.log().contains("its private key does not belong to the certificate"), "{}", peer.log());
    assert!(shown(at, &client) == first && kept.get("/").status == 200);
    std::fs::write(&certificate, "no certificate").expect("a file");
    said(&mut peer, REFUSED, 2);
    assert!(peer.log().contains("there is no certificate in it"), "{}", peer.log());
    std::fs::remove_file(&certificate).expect("a file");
    said(&mut peer, REFUSED, 3);
    assert!(peer.log().contains("there is no such file"), "{}", peer.log());
    assert!(shown(at, &client) == first && kept.get("/").status == 200);
    authority.issue_to(folder.path(), "shop", &["shop.test"]);
    wait_until("the new certificate", || shown(at, &client) != first);
    assert_eq!(kept.get("/").status, 200, "a connection under the old one goes on");

    // An address that somebody else has.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("its address");
    let mut moved = settings.clone();
    moved.listeners[0].listen = address;
    let second = shown(at, &client);
    write_settings(peer.process().folder(), &moved.evenkeel_toml());
    said(&mut peer, "read again; nothing of them is taken", 1);
    assert!(peer.log().contains("another process listens there"), "{}", peer.log());
    assert!(shown(at, &client) == second && kept.get("/").status == 200);
}

#[test]
fn certificates_that_a_link_leads_to_are_taken_when_it_leads_elsewhere() {
    let (authority, folder, node) = (Authority::new(), tempfile::tempdir().expect("a folder"), TestNode::start("a"));
    // As Kubernetes mounts a secret: the files are links through one that is replaced.
    let at = |name: &str| folder.path().join(name);
    for version in ["v1", "v2"] {
        std::fs::create_dir(at(version)).expect("a folder");
        authority.issue_to(&at(version), "tls", &["shop.test"]);
    }
    let link = |target: &str, name: &str| std::os::unix::fs::symlink(target, at(name)).expect("a link");
    link("v1", "..data");
    link("..data/tls.pem", "tls.crt");
    link("..data/tls.key", "tls.key");
    let (certificate, key) = (at("tls.crt"), at("tls.key"));
    let tls = format!("[listener.tls]\ncertificates = {{ certificate_file = {certificate:?}, key_file = {key:?} }}");
    let peer = Peer::start(&Settings::one("web", "http", [node.address()]).listener_line(tls));
    let client = authority.client("shop.test");
    let first = shown(peer.listener("web"), &client);
    link("v2", "..new");
    std::fs::rename(at("..new"), at("..data")).expect("a link is replaced");
    wait_until("the new certificate", || shown(peer.listener("web"), &client) != first);
    assert!(!peer.log().contains(REFUSED), "{}", peer.log());
}
