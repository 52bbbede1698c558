//! What whoever writes a catalog can rely on.

use serde_json::json;

use super::*;
use crate::model::{HostSent, NodeId, Strategy};

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(object) => object,
        other => panic!("{other} is no object"),
    }
}

fn refused(value: Value) -> Faults {
    read(&object(value), Unknown::Refused).expect_err("it is wrong")
}

#[test]
fn a_catalog_has_the_keys_of_the_settings_file() {
    let Read { catalog, warnings, .. } = read(
        &object(json!({
            "pool": [{
                "name": "web",
                "strategy": "p2c",
                "host": "node",
                "health": {"type": "http", "path": "/health", "statuses": 204},
                "node": [{"id": "web-1", "address": "10.0.0.1:80", "weight": 3}, {"id": "web-2", "address": "https://b"}],
            }],
        })),
        Unknown::Refused,
    )
    .unwrap();
    assert_eq!(warnings, []);
    let [pool] = catalog.pools() else { panic!("one pool") };
    assert_eq!((pool.strategy, pool.host_sent, pool.nodes.len()), (Strategy::PowerOfTwo, HostSent::Node, 2));
    assert_eq!(pool.nodes[0].weight.get(), 3);
    assert_eq!(pool.nodes[1].id, "web-2".parse::<NodeId>().unwrap());
}

#[test]
fn nothing_at_all_is_a_catalog_without_pools() {
    let Read { catalog, warnings, .. } = read(&Map::new(), Unknown::Refused).unwrap();
    assert_eq!((catalog, warnings), (Catalog::default(), vec![]));
}

#[test]
fn every_fault_is_told_at_once_and_names_what_it_is_about() {
    let found = refused(json!({
        "pools": [],
        "pool": [
            {"name": "web", "retries": "2", "queue": null, "node": [{"id": "web-1", "address": "10.0.0.1:80", "weigth": 3}]},
            {"name": "web", "node": [{"id": "web-1", "address": "db"}, 7]},
        ],
        "route": [{"name": "api", "then": {"pool": "wep"}}],
    }));
    let told: Vec<(&str, &str, Option<&str>)> =
        found.faults.iter().map(|fault| (fault.key.as_str(), fault.wrong.as_str(), fault.hint.as_deref())).collect();
    let first = "the first is at the catalog; give one of them another name";
    assert_eq!(
        told,
        [
            (r#"pool "web" retries"#, "it is a text, not a whole number", Some("write it without quotes: 2")),
            (r#"pool "web" queue"#, "it is null, not a whole number", Some("leave the key out")),
            (r#"pool "web" node "web-1" weigth"#, "there is no such key", Some("did you mean weight?")),
            (
                r#"pool "web" node "web-1" address"#,
                "a port is missing; write host:port, or https://host for port 443",
                Some("write \"db:80\" if that is its port")
            ),
            (r#"pool "web" node"#, "it is a whole number, not a table", Some("write \"node\": [{ ... }]")),
            (r#"pool "web" name"#, "pool web stands there twice", Some(first)),
            (r#"node "web-1" id"#, "node web-1 stands there twice; a node id is unique in the cluster", Some(first)),
            (r#"route "api" then.pool"#, "there is no such pool", Some("did you mean \"web\"?")),
            ("pools", "there is no such section", Some("did you mean pool?")),
        ]
    );
    assert_eq!(found.faults[2].origin, Origin::Catalog);
    assert_eq!(
        found.faults[2].to_string(),
        "the catalog: pool \"web\" node \"web-1\" weigth\n    found:   weigth = 3\n    wrong:   there is no such key\n    \
         allowed: address, backup, id, max_connections, region, server, weight\n    hint:    did you mean weight?"
    );
}

#[test]
fn what_a_newer_peer_wrote_is_kept_with_one_warning_and_a_user_is_refused_it() {
    let newer = json!({
        "pool": [{"name": "web", "tracing": {}, "shards": 3, "node": [
            {"id": "a", "address": "10.0.0.1:80", "zone": "x"},
            {"id": "b", "address": "10.0.0.2:80", "zone": "x"},
            {"id": "c", "address": "10.0.0.3:80", "zone": "x"},
            {"id": "d", "address": "10.0.0.4:80", "zone": "x"},
        ]}],
        "policy": {},
    });
    let Read { catalog, warnings, .. } = read(&object(newer.clone()), Unknown::Kept).unwrap();
    assert_eq!(catalog.nodes().count(), 4);
    let told: Vec<String> = warnings.iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        ["the catalog: this version does not know policy, pool \"web\" node \"a\" zone, pool \"web\" node \"b\" \
          zone, pool \"web\" node \"c\" zone, pool \"web\" node \"d\" zone and 2 more; they are kept and have no effect here"]
    );
    assert_eq!(refused(newer).count(), 7);
    // What it does know must be right all the same.
    assert!(read(&object(json!({"pool": [{"name": "web", "retries": 99}]})), Unknown::Kept).is_err());
}

#[test]
fn regions_servers_and_routes_are_read_and_a_warning_says_what_nothing_acts_on() {
    let Read { catalog, warnings, .. } = read(
        &object(json!({
            "pool": [{"name": "web", "node": [{"id": "web-1", "address": "10.0.0.1:80"}]}],
            "region": [
                {"name": "eu-west", "prefer": ["us-east", "ap"], "capacity": "1000/s", "weight": 1.5},
                {"name": "us-east", "weight": 2},
            ],
            "server": [
                {"id": "vpn-1", "region": "eu-west", "address": "10.0.0.9", "labels": {"provider": "acme", "rack.u": "7"}},
                {"id": "vpn-2", "region": "us-east", "address": "vpn-2.example:51820"},
            ],
            "route": [
                {"name": "api", "priority": 10, "when": {"path": ["/api/*", "/v1/*"], "method": "GET", "host": "*.example.com",
                 "listener": ["web"]}, "then": {"pool": "web"}},
                {"name": "rest", "enabled": false, "then": {"pool": "web"}},
            ],
        })),
        Unknown::Refused,
    )
    .unwrap_or_else(|refused| panic!("{refused}"));
    let told: Vec<String> = warnings.iter().map(ToString::to_string).collect();
    assert_eq!(told, [""; 0]);
    let [eu, us] = catalog.regions() else { panic!("two regions") };
    assert_eq!((eu.name.as_str(), eu.prefer.len(), eu.weight.get()), ("eu-west", 2, 1.5));
    assert_eq!(eu.capacity.map(|capacity| capacity.0.get()), Some(1_000));
    assert_eq!((us.capacity, us.weight.get(), us.prefer.len()), (None, 2.0, 0));
    let [one, two] = catalog.servers() else { panic!("two servers") };
    assert_eq!((one.id.as_str(), one.address.to_string(), &*one.labels["rack.u"]), ("vpn-1", "10.0.0.9".into(), "7"));
    assert_eq!((two.address.to_string(), two.labels.len()), ("vpn-2.example:51820".into(), 0));
    let [api, rest] = catalog.routes() else { panic!("two routes") };
    assert_eq!((api.priority, api.enabled), (10, true));
    assert_eq!(api.then, crate::model::Action::to_pool("web".parse().unwrap()));
    assert_eq!((api.when.paths.len(), api.when.methods.len(), api.when.hosts.len()), (2, 1, 1));
    assert_eq!(api.when.listeners[0].as_str(), "web");
    assert_eq!((rest.priority, rest.enabled, &rest.when), (100, false, &crate::model::Conditions::default()));
}

#[test]
fn wrong_regions_servers_and_routes_are_told_what_to_do() {
    let pool = json!([{"name": "web", "node": [{"id": "web-1", "address": "10.0.0.1:80"}]}]);
    for (part, element, key, why) in [
        ("region", json!({"name": "eu", "prefer": ["eu"]}), "region \"eu\" prefer", "the region itself"),
        ("region", json!({"name": "eu", "prefer": ["us", "us"]}), "region \"eu\" prefer", "twice"),
        ("region", json!({"name": "eu", "capacity": "1000"}), "region \"eu\" capacity", "of which time"),
        ("region", json!({"name": "eu", "capacity": "0/s"}), "region \"eu\" capacity", "it is nothing"),
        ("region", json!({"name": "eu", "capacity": "fast/s"}), "region \"eu\" capacity", "whole number"),
        ("region", json!({"name": "eu", "weight": 0}), "region \"eu\" weight", "outside of that"),
        ("region", json!({"name": "eu", "weight": "1.5"}), "region \"eu\" weight", "not a number"),
        ("server", json!({"id": "s", "address": "a"}), "server \"s\" region", "it is missing"),
        ("server", json!({"id": "s", "region": "eu", "address": "http://a"}), "server \"s\" address", "scheme"),
        (
            "server",
            json!({"id": "s", "region": "eu", "address": "a", "labels": {"rack": 7}}),
            "server \"s\" labels",
            "\"rack\": it is a whole number",
        ),
        ("route", json!({"name": "r"}), "route \"r\" then", "it says nothing"),
        ("route", json!({"name": "r", "then": {"pool": "none"}}), "route \"r\" then.pool", "no such pool"),
        (
            "route",
            json!({"name": "r", "priority": 65_536, "then": {"pool": "web"}}),
            "route \"r\" priority",
            "it is more than 65535",
        ),
        (
            "route",
            json!({"name": "r", "when": {"path": []}, "then": {"pool": "web"}}),
            "route \"r\" when.path",
            "an empty list",
        ),
        (
            "route",
            json!({"name": "r", "when": {"method": "get"}, "then": {"pool": "web"}}),
            "route \"r\" when.method",
            "no method",
        ),
        (
            "route",
            json!({"name": "r", "then": {"pool": "web", "rate_limit": {}}}),
            "route \"r\" then.rate_limit.rate",
            "it is missing",
        ),
    ] {
        let found = refused(json!({"pool": pool, part: [element]}));
        assert_eq!((found.count(), found.faults[0].key.as_str()), (1, key), "{found}");
        assert!(found.faults[0].wrong.contains(why), "{found}");
    }
    for (part, element) in [
        ("region", json!({"name": "a"})),
        ("server", json!({"id": "a", "region": "eu", "address": "a"})),
        ("route", json!({"name": "a", "then": {"pool": "web"}})),
    ] {
        let found = refused(json!({"pool": pool, part: [element, element]}));
        assert_eq!(found.count(), 1, "{found}");
        assert!(found.faults[0].wrong.ends_with("stands there twice"), "{found}");
    }
}

#[test]
fn too_many_of_anything_are_refused_with_their_number() {
    let pools = |count: usize| (0..count).map(|n| json!({"name": format!("p{n}")})).collect::<Vec<_>>();
    assert!(read(&object(json!({"pool": pools(1_024)})), Unknown::Refused).is_ok());
    assert_eq!(refused(json!({"pool": pools(1_025)})).faults[0].wrong, "1025 pools are more than the 1024 allowed");
    assert_eq!(refused(json!({"region": pools(257)})).faults[0].wrong, "257 regions are more than the 256 allowed");
    let servers: Vec<_> =
        (0..10_001).map(|n| json!({"id": format!("s{n}"), "region": "eu", "address": "10.0.0.1"})).collect();
    assert_eq!(refused(json!({"server": servers})).faults[0].wrong, "10001 servers are more than the 10000 allowed");
}

#[test]
fn what_is_no_catalog_at_all_is_refused_in_bounded_words() {
    let deep = (0..100).fold(json!(1), |inside, _| json!({"health": [inside]}));
    for value in [json!({"pool": 1}), json!({"pool": {"name": "web"}}), json!({"pool": [[]]}), json!({"pool": [deep]})]
    {
        let found = refused(value);
        assert!(found.count() > 0 && found.to_string().len() < 4_000, "{found}");
    }
    let long = "x".repeat(1_000_000);
    let found = refused(json!({"pool": [{"name": long, &long: long}]}));
    assert!(found.to_string().len() < 4_000);
}
