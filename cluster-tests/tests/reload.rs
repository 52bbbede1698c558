//! SIGHUP: what is taken without a restart, what is not, and what a faulty file does.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Instant;

use cluster_tests::api::{Api, Request};
use cluster_tests::load::{Load, Plan, failures};
use cluster_tests::node::TestNode;
use cluster_tests::peer::{Peer, evenkeel, write_settings};
use cluster_tests::raw::Raw;
use cluster_tests::settings::{Pool, Settings};
use cluster_tests::wait::{PATIENCE, wait_until};
use evenkeel::host;
use evenkeel::link::ClusterKey;
use rustix::process::Signal;
use serde_json::{Value, json};

/// A peer of a cluster that trusts whoever has the keys of this file.
fn peer(id: &str, key_file: &Path, seeds: &[SocketAddr]) -> Peer {
    let seeds: Vec<String> = seeds.iter().map(|seed| format!("\"{seed}\"")).collect();
    let settings = Settings::default().peer_line(format!("id = \"{id}\"")).serve("http", Pool::new("web").unchecked());
    let cluster = format!(
        "[cluster]\nlisten = \"127.0.0.1:0\"\npreset = \"local\"\nseeds = [{}]\nkey_file = {key_file:?}\n",
        seeds.join(", ")
    );
    Peer::start_file(&format!("{}{cluster}", settings.evenkeel_toml()), &[])
}

fn write_keys(file: &Path, keys: &[&ClusterKey]) {
    let text: String = keys.iter().map(|key| format!("{}\n", key.to_text().trim_end())).collect();
    std::fs::write(file, text).expect("a temporary folder takes a file");
}

/// What a peer shows of all that it knows, itself included.
fn shown(peer: &Peer) -> Vec<Value> {
    peer.json("/api/v1/peers")["items"].as_array().expect("a list").clone()
}

fn cluster_address(peer: &Peer) -> SocketAddr {
    let own = shown(peer).into_iter().find(|of| of["this"] == true).expect("it shows itself");
    own["addresses"][0].as_str().and_then(|address| address.parse().ok()).expect("an address")
}

/// Whether a peer sees the other one alive over a link that stands.
fn is_linked(peer: &Peer, other: &str) -> bool {
    shown(peer).iter().any(|of| of["id"] == other && of["state"] == "alive" && of["link"]["state"] == "up")
}

/// Asserts that the link to `other` has stood without a break since `up` at least.
#[track_caller]
fn has_stood(peer: &Peer, other: &str, up: Instant) {
    let least_ms = up.elapsed().as_millis();
    let peers = shown(peer);
    let of = peers.iter().find(|of| of["id"] == other).expect("it is known");
    assert_eq!((&of["state"], &of["link"]["state"]), (&"alive".into(), &"up".into()), "{of}");
    assert!(of["link"]["since_ms"].as_u64().is_some_and(|since| u128::from(since) >= least_ms), "{least_ms}: {of}");
}

/// Asks a peer to read its settings again, and waits until its log says this, once more than before.
fn reload(peer: &mut Peer, said: &str) {
    let before = peer.process().log().matches(said).count();
    peer.process().signal(Signal::HUP);
    peer.process().wait_log(said, PATIENCE, |log| (log.matches(said).count() > before).then_some(()));
}

/// Writes a peer's settings anew and asks it to read them, and waits until its log says this, once more than before.
fn rewrite(peer: &mut Peer, toml: &str, said: &str) {
    // It may notice by itself before it is asked.
    let before = peer.process().log().matches(said).count();
    write_settings(peer.process().folder(), toml);
    peer.process().signal(Signal::HUP);
    peer.process().wait_log(said, PATIENCE, |log| (log.matches(said).count() > before).then_some(()));
}

const TAKEN: &str = "the cluster's keys are taken";
const FOLLOWED: &str = "the catalog follows this peer's file";
const REFUSED: &str = "the settings were read again and refused";

#[test]
fn a_hang_up_ends_nothing_and_what_takes_a_restart_is_said() {
    let node = TestNode::start("a");
    let pool = || Pool::new("web").unchecked().nodes([node.address()]);
    let mut peer = Peer::start(&Settings::default().serve("http", pool()));
    for _ in 0..2 {
        reload(&mut peer, "nothing changed");
        assert_eq!(Raw::connect(peer.listener("web")).get("/").status, 200);
    }
    let changed = Settings::default().serve("http", pool().line("retries = 0")).peer_line("drain = \"1s\"");
    rewrite(&mut peer, &changed.evenkeel_toml(), "these settings changed and take a restart");
    assert!(peer.process().log().contains("sections=\"[peer]\""), "{}", peer.process().log());
    peer.process().wait_log("the new pool", PATIENCE, |log| log.contains(FOLLOWED).then_some(()));
    rewrite(&mut peer, "[peer]\nid = 7\n[pool]\n", REFUSED);
    assert!(peer.process().log().contains("peer.id"), "every fault is in the log: {}", peer.process().log());
    assert_eq!(Raw::connect(peer.listener("web")).get("/").status, 200);
    assert_eq!(peer.process().terminate().code(), Some(0));
}

/// A peer of one node behind listener `web`, with these lines below; and another node, which is not in its file.
fn shop(lines: &str) -> (Peer, [TestNode; 2]) {
    let nodes = [TestNode::start("a"), TestNode::start("b")];
    let peer = Peer::start_file(&format!("{}{lines}", of_nodes([nodes[0].address()]).evenkeel_toml()), &[]);
    wait_until("the first catalog", || catalog(&peer)["source"] == "cluster");
    (peer, nodes)
}

fn of_nodes(nodes: impl IntoIterator<Item = SocketAddr>) -> Settings {
    Settings::default().serve("http", Pool::new("web").unchecked().nodes(nodes))
}

fn catalog(peer: &Peer) -> Value {
    peer.json("/api/v1/catalog")
}

fn served_by(peer: &Peer) -> String {
    Raw::connect(peer.listener("web")).get("/").text().trim_end().to_owned()
}

#[test]
fn a_catalog_that_follows_the_file_is_changed_by_a_reload_and_no_connection_is_dropped() {
    let (mut peer, nodes) = shop("");
    assert_eq!(catalog(&peer)["file"], json!({"follow": true, "differs": false}));
    let load = Load::start(&Plan::get(peer.listener("web"), 200));
    wait_until("traffic", || load.count() > 50);
    let mut kept = Raw::connect(peer.listener("web"));
    for node in [&nodes[1], &nodes[0], &nodes[1]] {
        rewrite(&mut peer, &of_nodes([node.address()]).evenkeel_toml(), FOLLOWED);
        wait_until("traffic at the other node", || served_by(&peer) == node.name());
        assert_eq!(kept.get("/").status, 200, "a connection of a client outlives it");
        assert_eq!(catalog(&peer)["file"]["differs"], false);
        let count = load.count();
        wait_until("more traffic", || load.count() > count + 20);
    }
    assert_eq!(failures(&load.stop(), 10), [""; 0]);

    // What was changed through the API in between goes with the next reload, also of a file that is as it was.
    let api = Api { address: peer.api(), namespace: None };
    let post = Request::write("POST", "/api/v1/pools", json!({"name": "api"}));
    assert_eq!(api.ask(&post, PATIENCE).expect("an answer").status, 201);
    assert_eq!(catalog(&peer)["file"]["differs"], true);
    reload(&mut peer, FOLLOWED);
    wait_until("the file to count again", || catalog(&peer)["file"]["differs"] == false);

    let revision = catalog(&peer)["revision"].clone();
    rewrite(&mut peer, "[[pool]]\nname = \"web\"\nstrategy = \"rond\"\nretires = 1\n", REFUSED);
    let log = peer.log();
    assert!(log.contains("strategy") && log.contains("retires"), "every fault is in the log: {log}");
    assert_eq!((served_by(&peer).as_str(), &catalog(&peer)["revision"]), ("b", &revision));
}

#[test]
fn a_catalog_of_its_own_stays_and_the_log_says_how_the_file_is_applied() {
    let (mut peer, nodes) = shop("[catalog]\nfollow_file = false\n");
    let changed = format!("{}[catalog]\nfollow_file = false\n", of_nodes([nodes[1].address()]).evenkeel_toml());
    rewrite(&mut peer, &changed, "`evenkeel apply FILE`");
    let file = peer.process().folder().join("evenkeel.toml");
    assert!(!peer.log().contains("take a restart"), "{}", peer.log());
    assert_eq!(catalog(&peer)["file"], json!({"follow": false, "differs": true}));
    assert_eq!(served_by(&peer), "a");
    reload(&mut peer, "nothing changed");
    let api = peer.api().to_string();
    let applied = evenkeel(&["apply", file.to_str().unwrap(), "--yes", "--api", &api], &[]);
    assert!(applied.status.success(), "{applied:?}");
    assert_eq!(served_by(&peer), "b");
    assert_eq!(catalog(&peer)["file"]["differs"], false);
}

#[test]
fn keys_are_changed_in_three_steps_and_no_link_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("cluster.key");
    let (old, new) = (ClusterKey::generate().unwrap(), ClusterKey::generate().unwrap());
    write_keys(&file, &[&old]);
    let mut first = peer("a", &file, &[]);
    let seed = cluster_address(&first);
    let mut second = peer("b", &file, &[seed]);
    wait_until("the two to meet", || is_linked(&first, "b") && is_linked(&second, "a"));
    let up = host::now();

    for keys in [&[&old, &new][..], &[&new, &old], &[&new]] {
        // In between they trust by different files: each takes the new one when it notices, or is told.
        let taken = |peer: &Peer| peer.log().matches(TAKEN).count();
        let before = [taken(&first), taken(&second)];
        write_keys(&file, keys);
        for (peer, before) in [&mut first, &mut second].into_iter().zip(before) {
            peer.process().signal(Signal::HUP);
            peer.process().wait_log(TAKEN, PATIENCE, |log| (log.matches(TAKEN).count() > before).then_some(()));
        }
        has_stood(&first, "b", up);
        has_stood(&second, "a", up);
    }

    // The new key is what counts now, and the old one is worth nothing.
    let third = peer("c", &file, &[seed]);
    wait_until("a peer with the new key", || is_linked(&first, "c") && is_linked(&second, "c"));
    let left_behind = folder.path().join("old.key");
    write_keys(&left_behind, &[&old]);
    let stranger = peer("d", &left_behind, &[seed]);
    let is_refused = |peer: &Peer| shown(peer).iter().any(|of| of["refused"]["reason"] == "wrong_key");
    wait_until("the old key to be refused", || is_refused(&first) && is_refused(&stranger));
    assert!(shown(&first).iter().all(|of| of["id"] != "d"));

    // A file that cannot be read changes nothing.
    std::fs::write(&file, "no key\n").unwrap();
    first.process().wait_log(REFUSED, PATIENCE, |log| log.contains(REFUSED).then_some(()));
    assert!(first.process().log().contains("cluster.key_file"), "{}", first.process().log());
    let kept = folder.path().join("new.key");
    write_keys(&kept, &[&new]);
    let fifth = peer("e", &kept, &[seed]);
    wait_until("a peer with the key that is kept", || is_linked(&first, "e") && is_linked(&fifth, "a"));
    has_stood(&first, "b", up);
    has_stood(&second, "a", up);
    drop((third, stranger));
}

#[test]
fn a_file_that_was_changed_while_its_peer_was_down_is_served_from_the_first_request() {
    let (old, new) = (TestNode::start("old"), TestNode::start("new"));
    let memory = tempfile::tempdir().expect("a temporary folder");
    let start = |node: &TestNode| {
        let pool = Pool::new("web").node(&node.address().to_string(), &["weight = 2"]);
        Peer::start(&Settings::default().remembering_in(memory.path()).serve("http", pool))
    };
    let asked = |node: &TestNode| {
        node.look(|seen| seen.requests.iter().filter(|request| request.line.contains("/mine")).count())
    };
    let mut peer = start(&old);
    wait_until("the first file to be agreed on", || peer.json("/api/v1/catalog")["source"] == "cluster");
    Raw::connect(peer.listener("web")).get("/mine");
    assert_eq!(asked(&old), 1);
    let first = peer.json("/api/v1/catalog")["revision"].as_u64().expect("a revision");
    peer.process().kill();

    let peer = start(&new);
    let mut client = Raw::connect(peer.listener("web"));
    let is_agreed = || peer.json("/api/v1/catalog")["revision"].as_u64() > Some(first);
    let mut requests = 0;
    wait_until("the changed file to be agreed on", || {
        requests += 1;
        assert_eq!(client.get("/mine").status, 200);
        is_agreed()
    });
    assert_eq!((asked(&old), asked(&new)), (1, requests), "nothing went to the node of the old file");
}
