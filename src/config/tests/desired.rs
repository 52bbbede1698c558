//! The catalog part of the file, as the document that it becomes.

use proptest::prelude::*;
use proptest::strategy::Strategy;
use serde_json::{Value, json};

use super::*;
use crate::catalog::rules::{self, Unknown};

/// The document of these settings, of which the catalog is what was read.
fn desired(loaded: &Loaded) -> Value {
    let peer = &loaded.settings.peer;
    let read = rules::read(&peer.desired, Unknown::Refused).unwrap_or_else(|refused| panic!("{refused}"));
    assert_eq!(read.catalog, peer.catalog);
    Value::Object((*peer.desired).clone())
}

#[test]
fn the_document_has_what_the_user_wrote_and_as_it_was_written() {
    let text = r#"
[[listener]]
name = "web"
listen = "127.0.0.1:8000"
pool = "web"
[[pool]]
name = "web"
strategy = "ewma"
health.type = "http"
health.statuses = 204
  [[pool.node]]
  id = "web-1"
  address = "http://A.example"
  backup = true
[[region]]
name = "eu"
weight = 1.5
prefer = ["us"]
[[server]]
id = "s"
region = "eu"
address = "10.0.0.1"
labels = { rack = "7" }
[[route]]
name = "r"
when = { path = "/*" }
then.pool = "web"
"#;
    let expected = json!({
        "pool": [{"name": "web", "strategy": "ewma", "health": {"type": "http", "statuses": 204},
                  "node": [{"id": "web-1", "address": "http://A.example", "backup": true}]}],
        "region": [{"name": "eu", "weight": 1.5, "prefer": ["us"]}],
        "server": [{"id": "s", "region": "eu", "address": "10.0.0.1", "labels": {"rack": "7"}}],
        "route": [{"name": "r", "when": {"path": "/*"}, "then": {"pool": "web"}}],
    });
    let loaded = of_text(text).unwrap();
    assert_eq!(desired(&loaded), expected);
    assert_eq!(loaded.warnings, []);
}

#[test]
fn what_the_environment_says_is_written_into_the_document() {
    let text = format!("{GOOD}[[pool]]\nname = \"b\"\nstrategy = \"random\"\nhealth = {{ type = \"none\" }}\n");
    let environment = [
        ("HEALTH_CHECK_INTERVAL", "30"),
        ("LOAD_BALANCER_STRATEGY", "least_conn"),
        ("LOAD_BALANCING_STRATEGY", "weighted"),
        ("REGIONAL_ENDPOINTS", "us-east:https://us.example.com,eu:10.0.0.7:81"),
    ];
    let expected = json!({"pool": [
        {"name": "web", "node": [{"id": "web-1", "address": "127.0.0.1:3000"}], "strategy": "least_connections",
         "region_strategy": "weighted", "health": {"interval": "30s"}},
        {"name": "b", "strategy": "least_connections", "health": {"type": "none"}, "region_strategy": "weighted"},
        {"name": "regions", "strategy": "least_connections", "region_strategy": "weighted", "health": {"interval": "30s"}, "host": "node", "node": [
            {"id": "us-east-1", "address": "https://us.example.com:443", "region": "us-east"},
            {"id": "eu-1", "address": "10.0.0.7:81", "region": "eu"},
        ]},
    ]});
    assert_eq!(desired(&with_environment(&text, &environment).unwrap()), expected);

    let text = format!(
        "{GOOD}[[pool]]\nname = \"vpn\"\nhealth = {{ fall = 9 }}\nscaling = {{ driver = \"vpn\", connections = {{ up = 9 }} }}\n"
    );
    let environment = [
        ("FAILOVER_THRESHOLD", "5"),
        ("FAILOVER_ENABLED", "False"),
        ("LOAD_BALANCER_ENABLED", "True"),
        ("AUTO_SCALE_ENABLED", "false"),
        ("MAX_NODES_PER_COUNTRY", "3"),
        ("SCALE_UP_THRESHOLD", "50"),
        ("SCALE_DOWN_THRESHOLD", "10.5"),
        ("REGIONAL_ENDPOINTS", "us:us.example:80"),
    ];
    let node = json!({"id": "us-1", "address": "us.example:80", "region": "us"});
    let expected = json!({"pool": [
        {"name": "web", "node": [{"id": "web-1", "address": "127.0.0.1:3000"}], "health": {"fall": 5}},
        {"name": "vpn", "health": {"fall": 5}, "scaling": {
            "driver": "vpn", "connections": {"up": 50.0, "down": 10.5}, "enabled": false, "max_nodes": 3,
        }},
        {"name": "regions", "health": {"fall": 5}, "host": "node", "node": [node]},
    ], "failover": {"enabled": false}});
    assert_eq!(desired(&with_environment(&text, &environment).unwrap()), expected);

    let alone = desired(&of_environment(&[("REGIONAL_ENDPOINTS", "us:us.example:80")]).unwrap());
    let node = json!({"id": "us-1", "address": "us.example:80", "region": "us"});
    assert_eq!(alone, json!({"pool": [{"name": "regions", "host": "node", "node": [node]}]}));
}

#[test]
fn the_sample_that_ships_is_a_document_too() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/evenkeel.toml");
    let loaded = load(&Sources { file: Some(path.into()), ..Sources::default() }).unwrap();
    assert_eq!(desired(&loaded)["pool"].as_array().map(Vec::len), Some(2));
    // What stands there as a comment is right too.
    let text = std::fs::read_to_string(path).unwrap();
    let at = text.find("# [[region]]").expect("the sample shows a region");
    let shown: String = text[at..].lines().map(|line| format!("{}\n", line.trim_start_matches(['#', ' ']))).collect();
    let loaded = of_text(&format!("{}{shown}", &text[..at])).unwrap_or_else(|refused| panic!("{refused}"));
    assert_eq!(desired(&loaded)["route"].as_array().map(Vec::len), Some(8));
    // The folder is shown before the part that is read here.
    let of_folder =
        loaded.warnings.iter().filter(|warning| warning.to_string().contains("no [[files]] called site")).count();
    assert_eq!((loaded.warnings.len(), of_folder), (1, 1));
}

/// A line, or none.
fn maybe(line: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
    proptest::option::of(line).prop_map(Option::unwrap_or_default)
}

/// A key with one of these values, or none.
fn key(key: &'static str, values: &'static [&'static str]) -> impl Strategy<Value = String> {
    maybe(proptest::sample::select(values).prop_map(move |value| format!("{key} = {value}\n")))
}

fn node(number: usize) -> impl Strategy<Value = String> {
    let lines = (
        proptest::sample::select(&["10.0.0.1:80", "https://a.example", "[::1]:9", "b.example:1"][..]),
        key("region", &["\"eu\"", "\"us-east\""]),
        key("weight", &["1", "0x10", "1_000"]),
        key("backup", &["true", "false"]),
        key("max_connections", &["1", "1000000"]),
    );
    lines.prop_map(move |(address, region, weight, backup, most)| {
        format!("[[pool.node]]\nid = \"n{number}\"\naddress = \"{address}\"\n{region}{weight}{backup}{most}")
    })
}

fn pool(number: usize) -> impl Strategy<Value = String> {
    let lines = (
        key("strategy", &["\"p2c\"", "\"ewma\"", "'consistent_hash'"]),
        key("hash", &["\"uri\"", "\"header:X-User\"", "\"cookie:a\""]),
        key("slow_start", &["\"0s\"", "\"90s\""]),
        key("retries", &["0", "+3"]),
        key("host", &["\"node\""]),
        key(
            "health",
            &[
                "{ type = \"none\" }",
                "{ type = \"http\", path = \"/a?b\", statuses = \"200-204\", interval = \"2s\" }",
                "{ send = \"PING\\r\\n\", expect = \"\\u00fc\" }",
                "{ fall = 7 }",
            ],
        ),
        proptest::collection::vec(Just(()), 0..4),
    );
    lines
        .prop_flat_map(move |(strategy, hash, slow, retries, host, health, nodes)| {
            let nodes: Vec<_> = (0..nodes.len()).map(|at| node(number * 10 + at)).collect();
            let head = format!("[[pool]]\nname = \"p{number}\"\n{strategy}{hash}{slow}{retries}{host}{health}");
            nodes.prop_map(move |nodes| format!("{head}{}", nodes.concat()))
        })
        .boxed()
}

proptest! {
    #[test]
    fn every_catalog_of_a_file_is_the_same_read_from_its_document(
        pools in proptest::collection::vec(Just(()), 1..4).prop_flat_map(|pools| (0..pools.len()).map(pool).collect::<Vec<_>>()),
        strategy in proptest::option::of(proptest::sample::select(&["random", "WEIGHTED"][..])),
        interval in proptest::option::of(proptest::sample::select(&["7", "250ms"][..])),
        regions in proptest::option::of(Just("us:us.example:80")),
    ) {
        let environment: Vec<(&str, &str)> =
            [("LOAD_BALANCER_STRATEGY", strategy), ("HEALTH_CHECK_INTERVAL", interval), ("REGIONAL_ENDPOINTS", regions)]
                .into_iter()
                .filter_map(|(name, value)| Some((name, value?)))
                .collect();
        let text = pools.concat();
        let loaded = with_environment(&text, &environment).unwrap_or_else(|refused| panic!("{text}\n{refused}"));
        desired(&loaded);
    }
}
