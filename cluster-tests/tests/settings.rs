//! Settings as users meet them: a bad file, and a peer that is told nothing but `REGIONAL_ENDPOINTS`.

use std::net::TcpListener;
use std::time::Duration;

use cluster_tests::certificates::Authority;
use cluster_tests::need;
use cluster_tests::node::TestNode;
use cluster_tests::peer::{Peer, evenkeel, write_settings};
use cluster_tests::raw::Raw;
use cluster_tests::wait::wait_for;

/// A file in which nearly every line is wrong, and words that must be said of each.
const BAD_FILE: &str = r#"
[peer]
id = "Ams 1"
regoin = "us"
[[listener]]
name = "web"
listen = "127.0.0.1:99999"
protocol = "htpp"
pool = "wbe"
[[pool]]
name = "web"
strategy = "round_robbin"
slow_start = "fast"
[[pool.node]]
id = "web-1"
address = "10.0.1.10"
weight = 0
"#;
const BAD_WORDS: [&str; 9] =
    ["Ams 1", "regoin", "region", "99999", "htpp", "wbe", "round_robbin", "slow_start", "weight"];

#[test]
fn a_bad_file_is_refused_by_check_and_by_run_in_the_same_words() {
    let folder = tempfile::tempdir().unwrap();
    let file = write_settings(folder.path(), BAD_FILE);
    let file = file.to_str().unwrap();
    let checked = evenkeel(&["check", file], &[]);
    let run = evenkeel(&["run", "--config", file], &[]);
    assert_eq!((checked.status.code(), run.status.code()), (Some(64), Some(64)));
    let told = |printed: &cluster_tests::peer::Printed| format!("{}{}", printed.out, printed.err).trim().to_owned();
    assert_eq!(told(&checked), told(&run), "the same words");
    for word in BAD_WORDS {
        assert!(told(&checked).contains(word), "{word:?} is not told:\n{}", told(&checked));
    }
    for line in ["3", "4", "7", "8", "9", "12", "13", "16", "17"] {
        assert!(told(&checked).contains(&format!(" line {line}:")), "line {line} is not told:\n{}", told(&checked));
    }
    assert!(told(&checked).contains("round_robin"), "the nearest known word is told");
}

#[test]
fn a_good_file_is_fine_and_starts_nothing() {
    let node = TestNode::start("a");
    let folder = tempfile::tempdir().unwrap();
    let settings = cluster_tests::settings::Settings::one("web", "http", [node.address()]);
    let file = write_settings(folder.path(), &settings.evenkeel_toml());
    let checked = evenkeel(&["check", file.to_str().unwrap()], &[]);
    assert_eq!(checked.status.code(), Some(0), "{}{}", checked.out, checked.err);
    assert_eq!(node.seen().connections, 0);
}

#[test]
fn a_variable_without_effect_stops_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let file = write_settings(folder.path(), "");
    for variable in ["FAILOVER_ENABLED", "EVENKEEL_CLUSTER_NAME", "AUTO_SCALE_ENABLED"] {
        let run = evenkeel(&["run", "--config", file.to_str().unwrap()], &[(variable, "true")]);
        assert_eq!(run.status.code(), Some(64), "{variable}: {}{}", run.out, run.err);
        assert!(run.err.contains(variable) && run.err.contains("not available in this version"), "{}", run.err);
    }
}

#[test]
fn a_peer_that_is_told_only_its_regions_runs() {
    // The addresses are the documented ones, so they have to be free.
    for address in ["127.0.0.1:8000", "127.0.0.1:8080"] {
        if TcpListener::bind(address).is_err() {
            return need::missing(&format!("{address} is not free"));
        }
    }
    let (us, eu) = (TestNode::start("us"), TestNode::start("eu"));
    let regions = format!("us-east:http://{},eu-west:{}", us.address(), eu.address());
    let peer = Peer::start_bare(&[("REGIONAL_ENDPOINTS", &regions), ("LOAD_BALANCING_STRATEGY", "round_robin")]);
    assert_eq!(peer.listener("regions"), "127.0.0.1:8000".parse().unwrap());
    assert_eq!(peer.api(), "127.0.0.1:8080".parse().unwrap());
    let mut client = Raw::connect(peer.listener("regions"));
    for _ in 0..10 {
        assert_eq!(client.get("/").status, 200);
    }
    for node in [&us, &eu] {
        let seen = node.seen();
        assert_eq!(seen.requests_total, 5);
        assert_eq!(
            seen.requests[0].field("host"),
            Some(node.address().to_string().as_str()),
            "a node gets its own name"
        );
    }
}

/// A peer with a listener for the pool of `REGIONAL_ENDPOINTS`, and `variables` beside it.
fn regional_peer(variables: &[(&str, &str)]) -> Peer {
    let file = "[api]\nlisten = \"127.0.0.1:0\"\n[[listener]]\nname = \"regions\"\nlisten = \"127.0.0.1:0\"\n\
                protocol = \"http\"\npool = \"regions\"\n";
    Peer::start_file(file, variables)
}

#[test]
fn nodes_are_spoken_to_over_tls_and_must_show_the_right_name() {
    let authority = Authority::new();
    let folder = tempfile::tempdir().unwrap();
    let roots = authority.write(folder.path());
    let roots = roots.to_str().unwrap();
    let node = TestNode::start_tls("tls", &authority.server(&["localhost"]));
    let named = format!("eu:https://localhost:{}", node.address().port());

    let peer = regional_peer(&[("REGIONAL_ENDPOINTS", &named), ("SSL_CERT_FILE", roots)]);
    let mut client = Raw::connect(peer.listener("regions"));
    for _ in 0..5 {
        assert_eq!(client.get("/").text(), "tls\n");
    }
    let seen = node.seen();
    assert_eq!(seen.requests[0].field("host"), Some(named.trim_start_matches("eu:https://")));
    assert!(seen.connections < 10, "TLS connections are kept: {}", seen.connections);

    let strangers = Authority::new().server(&["localhost"]);
    let stranger = TestNode::start_tls("stranger", &strangers);
    let misnamed = TestNode::start_tls("misnamed", &authority.server(&["other.example"]));
    for (node, name) in [(&stranger, "localhost"), (&misnamed, "localhost"), (&node, "127.0.0.1")] {
        node.forget();
        let address = format!("eu:https://{name}:{}", node.address().port());
        let peer = regional_peer(&[("REGIONAL_ENDPOINTS", &address), ("SSL_CERT_FILE", roots)]);
        let answer = Raw::connect(peer.listener("regions")).get("/");
        assert!(matches!(answer.status, 502 | 503), "{} as {name}: {}", node.name(), answer.status);
        let seen = node.seen();
        assert_eq!((seen.requests.len(), seen.checks), (0, 0), "{} as {name} is told nothing", node.name());
        let nodes = peer.json("/api/v1/nodes");
        assert_ne!(nodes["items"][0]["state"]["verdict"], "up", "{} as {name}", node.name());
    }
}

#[test]
fn a_name_may_lead_to_several_addresses_of_which_one_answers() {
    let node = TestNode::start("a");
    let named = format!("eu:http://localhost:{}", node.address().port());
    let peer = regional_peer(&[("REGIONAL_ENDPOINTS", &named)]);
    let address = peer.listener("regions");
    let (answer, _) = wait_for("an answer", Duration::from_secs(5), || {
        Some(Raw::connect(address).get("/")).filter(|answer| answer.status == 200)
    });
    assert_eq!(answer.text(), "a\n");
}
