//! TLS to nodes by profiles: a pool names one, and each peer has it in its own file.

use cluster_tests::certificates::Authority;
use cluster_tests::node::TestNode;
use cluster_tests::peer::{Peer, write_settings};
use cluster_tests::raw::Raw;
use cluster_tests::settings::{Pool, Settings};
use cluster_tests::wait::wait_until;

/// A pool `web` whose nodes have TLS by profile `inner`, and these lines below.
fn settings(node: &TestNode, lines: &str) -> String {
    let pool = Pool::new("web").checked_fast().line("tls = \"inner\"").line("retries = 0").nodes([node.address()]);
    format!("{}{lines}", Settings::default().serve("http", pool).evenkeel_toml())
}

fn status(peer: &Peer) -> u16 {
    Raw::connect(peer.listener("web")).get("/").status
}

#[test]
fn nodes_are_reached_by_the_profile_of_their_pool_and_by_no_other_trust() {
    let (authority, folder) = (Authority::new(), tempfile::tempdir().expect("a folder"));
    // It listens at an address, has the certificate of a name, and takes nobody without a certificate.
    let node = TestNode::start_tls("a", &authority.server_asking_clients(&["db.test"]));
    let ca = authority.write(folder.path());
    let (certificate, key) = authority.issue_to(folder.path(), "client", &["client.test"]);
    let profile = |ca: &std::path::Path, server_name: &str| {
        format!(
            "[[tls]]\nname = \"inner\"\nca_file = {ca:?}\ncertificate_file = {certificate:?}\nkey_file = {key:?}\n\
             server_name = \"{server_name}\"\n"
        )
    };
    let mut peer = Peer::start_file(&settings(&node, &profile(&ca, "db.test")), &[]);
    wait_until("a check over TLS", || peer.json("/api/v1/nodes/web-1")["state"]["verdict"] == "up");
    assert_eq!(status(&peer), 200);

    // Another name, then another authority: nothing that stands is used for what is trusted no more.
    write_settings(peer.process().folder(), &settings(&node, &profile(&ca, "other.test")));
    wait_until("the other name", || status(&peer) == 502);
    write_settings(peer.process().folder(), &settings(&node, &profile(&ca, "db.test")));
    wait_until("the right name", || status(&peer) == 200);
    let stranger = folder.path().join("stranger.pem");
    std::fs::write(&stranger, Authority::new().pem()).expect("a file");
    write_settings(peer.process().folder(), &settings(&node, &profile(&stranger, "db.test")));
    wait_until("the other authority", || status(&peer) == 502);
    wait_until("the checks to see the same", || peer.json("/api/v1/nodes/web-1")["state"]["verdict"] == "down");
    // The file itself changes, and not what names it.
    std::fs::write(&stranger, authority.pem()).expect("a file");
    wait_until("the authority again", || status(&peer) == 200);
}

#[test]
fn a_peer_without_the_profile_says_so_and_speaks_to_no_node() {
    let node = TestNode::start("a");
    let file = settings(&node, "[cluster]\nlisten = \"127.0.0.1:0\"\npreset = \"local\"\n");
    let peer = Peer::start_file(&file, &[]);
    assert_eq!(status(&peer), 503);
    let health = peer.json("/api/health/detailed");
    let reasons = health["reasons"].as_array().expect("a list");
    assert!(reasons.iter().any(|reason| reason["code"] == "pool_without_tls"), "{health}");
    wait_until("the log to say so", || peer.log().contains("its nodes are not used by this peer"));
    wait_until("a check to say why", || peer.ask("/api/v1/nodes/web-1/observations").text().contains("[[tls]]"));
    let seen = node.seen();
    assert_eq!((seen.connections, seen.checks), (0, 0), "not a byte went there in plain");
}
