//! Settings as users meet them: a bad file, and a peer that is told nothing but `REGIONAL_ENDPOINTS`.

use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use cluster_tests::certificates::Authority;
use cluster_tests::network::Network;
use cluster_tests::node::TestNode;
use cluster_tests::peer::{Peer, evenkeel, write_settings};
use cluster_tests::process::Spawn;
use cluster_tests::raw::Raw;
use cluster_tests::wait::{PATIENCE, wait_for};
use cluster_tests::{binary, settings};
use rustix::process::Signal;
use serde_json::{Value, json};

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
    let settings = settings::Settings::one("web", "http", [node.address()]);
    let file = write_settings(folder.path(), &settings.evenkeel_toml());
    let checked = evenkeel(&["check", file.to_str().unwrap()], &[]);
    assert_eq!(checked.status.code(), Some(0), "{}{}", checked.out, checked.err);
    assert_eq!(node.seen().connections, 0);
}

#[test]
fn a_variable_without_effect_stops_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let file = write_settings(folder.path(), "");
    for variable in ["EVENKEEL_HISTORY_KEEP", "EVENKEEL_API_USER"] {
        let run = evenkeel(&["run", "--config", file.to_str().unwrap()], &[(variable, "true")]);
        assert_eq!(run.status.code(), Some(64), "{variable}: {}{}", run.out, run.err);
        assert!(run.err.contains(variable) && run.err.contains("not available in this version"), "{}", run.err);
    }
}

#[test]
fn a_peer_that_is_told_only_its_regions_runs() {
    // The addresses are the documented ones. On this machine others may have them; on a host of its own nobody does.
    let Some(network) = Network::of(1) else { return };
    // Built out here, since a build may need the machine's own network.
    binary::evenkeel();
    let taken = ["127.0.0.1:8000", "127.0.0.1:8080"].map(TcpListener::bind);
    network.host(0).within(told_only_its_regions);
    drop(taken);
}

fn told_only_its_regions() {
    let (us, eu) = (TestNode::start("us"), TestNode::start("eu"));
    let regions = format!("us-east:http://{},eu-west:{}", us.address(), eu.address());
    let peer = Peer::start_bare(&[("REGIONAL_ENDPOINTS", &regions), ("LOAD_BALANCING_STRATEGY", "round_robin")]);
    assert_eq!(peer.listener("regions").to_string(), "127.0.0.1:8000");
    assert_eq!(peer.api().to_string(), "127.0.0.1:8080");
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

#[test]
fn programs_are_told_the_same_shape_of_a_good_a_bad_and_a_broken_file() {
    let folder = tempfile::tempdir().unwrap();
    let good = "[[listener]]\nname = \"web\"\nlisten = \"127.0.0.1:8000\"\npool = \"web\"\n[[pool]]\nname = \"web\"\n";
    let mut names: Vec<Vec<String>> = Vec::new();
    for (text, ok, shape_only) in [
        (good.to_owned(), true, false),
        (format!("{good}retries = 99\n"), false, false),
        ("[peer".to_owned(), false, true),
    ] {
        let file = write_settings(folder.path(), &text);
        let file = file.to_str().unwrap();
        let checked = evenkeel(&["check", file, "--json"], &[("EVENKEEL_API", "127.0.0.1:9")]);
        assert_eq!(checked.status.code(), Some(if ok { 0 } else { 64 }), "{}{}", checked.out, checked.err);
        let told: Value = serde_json::from_str(&checked.out).unwrap();
        assert_eq!((&told["ok"], &told["file"], &told["shape_only"]), (&json!(ok), &json!(file), &json!(shape_only)));
        assert_eq!((told["faults"].as_array().unwrap().is_empty(), &told["unlisted"]), (ok, &json!(0)), "{told}");
        // The pool has no node, which is said whether something else is wrong or not.
        assert_eq!(told["warnings"].as_array().unwrap().len(), usize::from(!shape_only), "{told}");
        names.push(told.as_object().unwrap().keys().cloned().collect());
    }
    assert!(names.iter().all(|of| *of == names[0]), "{names:?}");
}

#[test]
fn check_shows_every_value_with_where_it_comes_from() {
    let folder = tempfile::tempdir().unwrap();
    let text = "[[pool]]\nname = \"web\"\nretries = 5\nhealth = { send = \"AUTH hunter2\" }\n";
    let file = write_settings(folder.path(), text);
    let file = file.to_str().unwrap();
    let checked = evenkeel(&["check", file, "--values", "--id", "ams-1"], &[("EVENKEEL_LOG_LEVEL", "debug")]);
    assert_eq!(checked.status.code(), Some(0), "{}{}", checked.out, checked.err);
    let row = |key: &str| {
        let line = checked.out.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix("  "));
        line.unwrap_or_else(|| panic!("{key} is not told:\n{}", checked.out)).trim().to_owned()
    };
    for (key, value, origin) in [
        ("peer.id", "\"ams-1\"", "flag --id"),
        ("log.level", "\"debug\"", "environment EVENKEEL_LOG_LEVEL"),
        ("log.format", "\"text\"", "default"),
        ("pool \"web\" retries", "5", &format!("{file} line 3")),
        ("pool \"web\" health.send", "(12 bytes, not shown)", &format!("{file} line 4")),
    ] {
        let told = row(key);
        assert!(told.starts_with(value) && told.ends_with(origin), "{key}: {told}");
    }
    let json = evenkeel(&["check", file, "--values", "--json"], &[]);
    let told: Value = serde_json::from_str(&json.out).unwrap();
    let retries = told["values"].as_array().unwrap().iter().find(|value| value["key"] == "pool \"web\" retries");
    assert_eq!(retries.unwrap()["origin"], json!({"from": "file", "path": file, "line": 3}));
    for printed in [&checked, &json] {
        assert!(!printed.out.contains("hunter2"), "{}", printed.out);
    }
}

#[test]
fn a_file_that_is_not_there_is_told_with_the_one_that_was_meant_or_how_to_begin() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("evenkel.toml");
    let missing = missing.to_str().unwrap();
    let alone = evenkeel(&["check", missing], &[]);
    assert_eq!(alone.status.code(), Some(64));
    assert!(alone.err.contains("there is no such file") && alone.err.contains("[[listener]]"), "{}", alone.err);
    let meant = write_settings(folder.path(), "");
    let beside = evenkeel(&["check", missing], &[]);
    assert!(beside.err.contains(&format!("did you mean {}?", meant.display())), "{}", beside.err);

    let asked = evenkeel(&["status", "--api", "foo"], &[]);
    assert_eq!(asked.status.code(), Some(64));
    assert!(asked.err.contains("host:port") && asked.err.contains("foo:8080"), "{}", asked.err);
}

/// A pool of `node` with a listener.
fn one_pool(node: SocketAddr) -> settings::Settings {
    settings::Settings::one("web", "http", [node])
}

#[test]
fn questions_about_a_pool_are_answered_for_that_pool_or_with_those_there_are() {
    let node = TestNode::start("a");
    let text = one_pool(node.address()).evenkeel_toml() + "\n[[pool]]\nname = \"spare\"\n";
    let peer = Peer::start_file(&text, &[]);
    let api = peer.api().to_string();
    for command in ["status", "pools", "nodes"] {
        let refused = evenkeel(&[command, "--api", &api, "--pool", "spars"], &[]);
        assert_eq!(refused.status.code(), Some(1), "{command}: {}{}", refused.out, refused.err);
        assert!(refused.err.contains("spars") && refused.err.contains("spare"), "{command}: {}", refused.err);
        assert_eq!(refused.out, "", "{command}");
    }
    let told = evenkeel(&["status", "--api", &api, "--pool", "spare", "--json"], &[]);
    let told: Value = serde_json::from_str(&told.out).unwrap();
    let pools: Vec<_> = told["pools"].as_array().unwrap().iter().map(|pool| &pool["name"]).collect();
    assert_eq!((pools, &told["listeners"]), (vec![&json!("spare")], &json!([])));
}

#[test]
fn a_peer_serves_on_when_nobody_reads_what_it_says() {
    let node = TestNode::start("a");
    let folder = tempfile::tempdir().unwrap();
    let settings = one_pool(node.address()).with_lasting_ports();
    let file = write_settings(folder.path(), &settings.evenkeel_toml());
    let spawn = Spawn::new("evenkeel", &binary::evenkeel(), Signal::KILL).arg("run").arg("--config").arg(file).unread();
    let mut peer = spawn.start(folder);
    // Once for its addresses and once for `ready`.
    peer.wait_log("warnings that nobody reads", PATIENCE, |log| {
        (log.matches("standard output cannot be written").count() == 2).then_some(())
    });
    assert_eq!(Raw::connect(settings.listeners[0].listen).get("/").status, 200);
    assert_eq!(peer.terminate().code(), Some(0));
}

#[test]
fn a_demo_without_a_terminal_speaks_of_no_keys() {
    let demo = Spawn::new("the demo", &binary::evenkeel(), Signal::KILL).arg("demo");
    let mut demo = demo.start(tempfile::tempdir().unwrap());
    demo.wait_log("how it ends", PATIENCE, |log| log.contains("Ends with").then_some(()));
    assert_eq!(demo.terminate().code(), Some(0));
    assert!(demo.log().contains("curl") && !demo.log().contains("Keys"), "{}", demo.log());
}
