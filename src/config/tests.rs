//! What users can rely on when they write settings.

use proptest::prelude::*;

use super::*;
use crate::api;
use crate::model::{CheckKind, HashKey, HostSent, Observe, Panic, Strategy};
use crate::proxy::Protocol;
use crate::telemetry::log;

fn sources(environment: &[(&str, &str)]) -> Sources {
    Sources { environment: environment.iter().copied().collect(), ..Sources::default() }
}

fn of_text(text: &str) -> Result<Loaded, Refused> {
    read("evenkeel.toml", Ok(Some(text)), &Sources::default())
}

fn of_environment(environment: &[(&str, &str)]) -> Result<Loaded, Refused> {
    load(&sources(environment))
}

fn with_environment(text: &str, environment: &[(&str, &str)]) -> Result<Loaded, Refused> {
    read("evenkeel.toml", Ok(Some(text)), &sources(environment))
}

fn faults(result: Result<Loaded, Refused>) -> Faults {
    result.expect_err("it is wrong").faults
}

/// A file with nothing wrong; what is to be wrong is put behind it.
const GOOD: &str = r#"
[[listener]]
name = "web"
listen = "127.0.0.1:8000"
pool = "web"

[[pool]]
name = "web"

[[pool.node]]
id = "web-1"
address = "127.0.0.1:3000"
"#;

#[test]
fn the_least_file_gives_everything_as_it_ships() {
    let loaded = of_text(GOOD).unwrap();
    assert_eq!(loaded.warnings, []);
    let Settings { peer, api, log } = loaded.settings;
    assert_eq!((peer.id.as_str(), peer.region.as_str()), ("peer", "default"));
    assert_eq!(api, api::Settings::default());
    assert_eq!(log, log::Settings::default());
    assert_eq!(peer.proxy.idle, crate::proxy::Idle::default());
    assert_eq!(peer.proxy.listeners[0].protocol, Protocol::Http(crate::proxy::Http::default()));
    let pool = &peer.catalog.pools()[0];
    let node = crate::model::Node::new("web-1".parse().unwrap(), "127.0.0.1:3000".parse().unwrap());
    let expected = crate::model::Pool { nodes: vec![node], ..crate::model::Pool::new("web".parse().unwrap()) };
    assert_eq!(*pool, expected);
}

#[test]
fn every_key_reaches_its_setting() {
    let text = r#"
peer = { id = "ams-1", region = "eu-west", workers = 3, announce = "2s", drain = "1m" }
api.listen = "[::1]:9090"
log = { level = "debug", format = "json" }
upstream = { idle_connections = 7, idle_timeout = "9s", age_max = "10m" }

[[listener]]
name = "web"
listen = "0.0.0.0:80"
pool = "web"
max_connections = 10
trusted_proxies = ["10.0.0.0/8", "::1"]
via = false
head_timeout = "1s"
keep_alive_timeout = "2s"
stream_idle_timeout = "3s"
body_rate_min = "2KB"
body_rate_grace = "4s"
tunnel_idle_timeout = "5s"

[[listener]]
name = "db"
listen = "0.0.0.0:5432"
protocol = "tcp"
pool = "db"
idle_timeout = "6h"

[[pool]]
name = "web"
strategy = "consistent_hash"
hash = "header:X-User"
health = { type = "http", path = "/health?deep=1", host = "web.internal:81", statuses = 204, interval = "1s", timeout = "500ms", rise = 1, fall = 4 }
observe = "everywhere"
host = "node"
panic = "closed"
slow_start = "0s"
retries = 0
connect_timeout = "1s"
response_timeout = "2s"
queue = 0
queue_timeout = "3s"

  [[pool.node]]
  id = "web-1"
  address = "https://web.example"
  region = "us-east"
  weight = 1000
  backup = true
  max_connections = 100

[[pool]]
name = "db"
strategy = "health_score"
exact = true
health = { send = "PING\r\n", expect = "PONG" }
"#;
    let Settings { peer, api, log } = of_text(text).unwrap().settings;
    assert_eq!((peer.id.as_str(), peer.region.as_str()), ("ams-1", "eu-west"));
    assert_eq!(api.listen().to_string(), "[::1]:9090");
    assert_eq!(log, log::Settings { level: log::Level::Debug, format: log::Format::Json });
    let proxy = &peer.proxy;
    assert_eq!((proxy.workers.get(), proxy.announce.as_secs(), proxy.drain.as_secs()), (3, 2, 60));
    assert_eq!(
        (proxy.idle.connections_max, proxy.idle.idle_timeout.as_secs(), proxy.idle.age_max.as_secs()),
        (7, 9, 600)
    );
    let Protocol::Http(http) = &proxy.listeners[0].protocol else { panic!("http") };
    assert_eq!(http.trusted_proxies.len(), 2);
    assert!(!http.via);
    assert_eq!(
        (http.head_timeout.as_secs(), http.keep_alive_timeout.as_secs(), http.stream_idle_timeout.as_secs()),
        (1, 2, 3)
    );
    assert_eq!((http.body_rate_min, http.body_rate_grace.as_secs(), http.tunnel_idle_timeout.as_secs()), (2_000, 4, 5));
    assert_eq!(proxy.listeners[0].connections_max, 10);
    let Protocol::Tcp(tcp) = &proxy.listeners[1].protocol else { panic!("tcp") };
    assert_eq!(tcp.idle_timeout.as_secs(), 6 * 3_600);
    let web = &peer.catalog.pools()[0];
    assert_eq!((web.strategy, &web.hash), (Strategy::ConsistentHash, &HashKey::Header("x-user".into())));
    let CheckKind::Http(check) = &web.check.kind else { panic!("http") };
    assert_eq!(
        (&*check.path, check.host.as_deref(), check.statuses.to_string()),
        ("/health?deep=1", Some("web.internal:81"), "204".into())
    );
    assert_eq!(
        (web.check.interval.as_millis(), web.check.timeout.as_millis(), web.check.rise.get(), web.check.fall.get()),
        (1_000, 500, 1, 4)
    );
    assert_eq!((web.host_sent, web.panic, web.retries, web.queue), (HostSent::Node, Panic::Closed, 0, 0));
    assert_eq!((web.observe, peer.catalog.pools()[1].observe), (Observe::Everywhere, Observe::Divided));
    assert_eq!(
        (
            web.slow_start.as_secs(),
            web.connect_timeout.as_secs(),
            web.response_timeout.as_secs(),
            web.queue_timeout.as_secs()
        ),
        (0, 1, 2, 3)
    );
    let node = &web.nodes[0];
    assert_eq!(
        (node.address.to_string(), node.weight.get(), node.backup, node.max_connections.get()),
        ("https://web.example:443".into(), 1_000, true, 100)
    );
    assert_eq!(node.region.as_ref().map(crate::model::RegionName::as_str), Some("us-east"));
    let db = &peer.catalog.pools()[1];
    assert!(db.exact);
    let CheckKind::Tcp(check) = &db.check.kind else { panic!("tcp") };
    assert_eq!((&*check.send, &*check.expect), (&b"PING\r\n"[..], &b"PONG"[..]));
}

#[test]
fn a_wrong_file_is_told_what_stands_there_what_may_and_what_to_do() {
    for (text, said) in [
        (
            "[[pool.node]]\nid = \"web-2\"\naddress = \"127.0.0.1:1\"\nweigth = 3",
            r#"evenkeel.toml line 16: pool "web" node "web-2" weigth
    found:   weigth = 3
    wrong:   there is no such key
    allowed: address, backup, id, max_connections, region, weight
    hint:    did you mean weight?

1 fault"#,
        ),
        (
            "[[pool.node]]\nid = \"web-2\"\naddress = \"127.0.0.1:1\"\nweight = 5000",
            r#"evenkeel.toml line 16: pool "web" node "web-2" weight
    found:   5000
    wrong:   it is more than 1000
    allowed: a whole number of 1 to 1000

1 fault"#,
        ),
        (
            "[upstream]\nidle_timeout = 60",
            r#"evenkeel.toml line 14: upstream.idle_timeout
    found:   60
    wrong:   a number alone does not say its unit
    allowed: a duration of "10ms" to "24h"
    hint:    write "60s" for seconds

1 fault"#,
        ),
        (
            "[[pool]]\nname = \"b\"\nstrategy = \"lest_conn\"",
            r#"evenkeel.toml line 15: pool "b" strategy
    found:   "lest_conn"
    wrong:   it is none of these
    allowed: "round_robin", "random", "weighted", "weighted_latency", "health_score", "least_connections", "least_latency", "least_response_time", "p2c", "ip_hash", "consistent_hash"; also "weighted_round_robin", "least_conn", "ewma"
    hint:    did you mean "least_conn"?

1 fault"#,
        ),
        (
            "[[listener]]\nname = \"Web 2\"\nlisten = \":8001\"\npool = \"wep\"",
            r#"evenkeel.toml line 14: listener 2 name
    found:   "Web 2"
    wrong:   'W' is not allowed in a name; use a-z, 0-9, and after the first character also . _ -
    allowed: 1 to 63 of a-z, 0-9, and after the first character also . _ -
    hint:    write "web-2"

evenkeel.toml line 15: listener 2 listen
    found:   ":8001"
    wrong:   it is not an IP address with a port
    allowed: an IP address and a port, "127.0.0.1:8000" or "[::1]:8000"; port 0 takes a free one
    hint:    write "0.0.0.0:8001" for all IPv4 addresses, "[::]:8001" for all

evenkeel.toml line 16: listener 2 pool
    found:   "wep"
    wrong:   there is no such pool
    allowed: web
    hint:    did you mean "web"?

3 faults"#,
        ),
        (
            "[api]\nlisten = \"0.0.0.0:8080\"",
            r#"evenkeel.toml line 14: api.listen
    found:   "0.0.0.0:8080"
    wrong:   0.0.0.0:8080 is not loopback; the API of this version has no users and listens on loopback only, such as 127.0.0.1:8080
    allowed: a loopback address and a port, "127.0.0.1:8080"; port 0 takes a free one

1 fault"#,
        ),
        (
            "[[pool]]\nname = \"web\"",
            r#"evenkeel.toml line 14: pool "web" name
    found:   "web"
    wrong:   pool web stands there twice
    hint:    the first is at evenkeel.toml line 8; give one of them another name

1 fault"#,
        ),
        (
            "[[pool.node]]\nid = \"web-1\"\naddress = \"db\"",
            r#"evenkeel.toml line 14: node "web-1" id
    found:   "web-1"
    wrong:   node web-1 stands there twice; a node id is unique in the cluster
    hint:    the first is at evenkeel.toml line 11; give one of them another name

evenkeel.toml line 15: pool "web" node "web-1" address
    found:   "db"
    wrong:   a port is missing; write host:port, or https://host for port 443
    allowed: "host:port", "http://host", "https://host"; a name is looked up again as its TTL ends
    hint:    write "db:80" if that is its port

2 faults"#,
        ),
        (
            "[[pool.node]]\naddress = \"db:1\"",
            r#"evenkeel.toml line 13: pool "web" node 2 id
    wrong:   it is missing
    allowed: 1 to 63 of a-z, 0-9, and after the first character also . _ -

1 fault"#,
        ),
        (
            "[[listener]]\nname = \"web\"\nlisten = \"127.0.0.1:8080\"\npool = \"web\"\nprotocol = \"tcp\"\nvia = true",
            r#"evenkeel.toml line 14: listener "web" name
    found:   "web"
    wrong:   listener web stands there twice
    hint:    the first is at evenkeel.toml line 3; give one of them another name

evenkeel.toml line 15: listener "web" listen
    found:   "127.0.0.1:8080"
    wrong:   the API (api.listen) listens there
    hint:    give one of them another port

evenkeel.toml line 18: listener "web" via
    found:   via = true
    wrong:   it has an effect only with protocol = "http"
    hint:    remove it

3 faults"#,
        ),
        (
            "[peer]\ninterval = \"5s\"\nid = ams",
            r#"evenkeel.toml line 14: peer.interval
    found:   interval = "5s"
    wrong:   there is no such key
    allowed: announce, drain, id, region, workers
    hint:    interval is a key of [pool.health]

evenkeel.toml line 15
    found:   id = ams
    wrong:   it is neither a number nor a text in quotes
    hint:    put a text in quotes: "..."

2 faults"#,
        ),
        (
            "[pool]\nname = \"x\"\n[history]\nname = \"prod\"",
            r#"evenkeel.toml line 13
    found:   [pool]
    wrong:   duplicate key
    hint:    a key or [section] stands once; a list repeats [[name]], with two brackets, for each element

evenkeel.toml line 15: history
    wrong:   not available in this version
    hint:    remove it; nothing here acts on it yet

2 faults"#,
        ),
        (
            "[[pool]]\nname = \"b\"\nhealth = { type = \"http\" path = \"/\" }\nretries = 99",
            r#"evenkeel.toml line 15
    found:   health = { type = "http" path = "/" }
    wrong:   missing comma between key-value pairs, expected `,`
    hint:    a table is written { a = 1, b = 2 }; look for a missing comma or }

evenkeel.toml line 16: pool "b" retries
    found:   99
    wrong:   it is more than 10
    allowed: a whole number of 0 to 10

2 faults"#,
        ),
        (
            "[[pool.node]]\nid = \"web-2\"\naddress = \"127.0.0.1:1\"\npool.x = 1",
            r#"evenkeel.toml line 16: pool "web" node "web-2" pool
    found:   pool.x = 1
    wrong:   there is no such key
    allowed: address, backup, id, max_connections, region, weight
    hint:    pool is a key of [[listener]]

1 fault"#,
        ),
        (
            "[peer.tls]\nx = 1",
            r#"evenkeel.toml line 13: peer.tls
    found:   [peer.tls]
    wrong:   there is no such key
    allowed: announce, drain, id, region, workers

1 fault"#,
        ),
        (
            "[peer\nid = \"x\"\nworkers = \"many\"",
            r#"evenkeel.toml line 13
    found:   [peer
    wrong:   unclosed table, expected `]`
    hint:    a section is written [name], an element of a list [[name]]

1 fault; the file is checked further once its shape is mended"#,
        ),
    ] {
        let text = format!("{GOOD}{text}");
        assert_eq!(faults(of_text(&text)).to_string(), said, "\n{text}");
    }
}

#[test]
fn every_fault_of_a_file_is_told_at_once_in_the_order_of_its_lines() {
    let text = r#"[peer]
id = 7
workers = 0
drain = "1w"
colour = "red"
[api]
listen = "0.0.0.0:1"
[log]
level = "loud"
format = true
[metrics]
[[listener]]
name = "a"
listen = "127.0.0.1"
pool = "none"
head_timeout = "2 hours"
max_connections = -1
trusted_proxies = ["10.0.0.0/40", "x"]
[[listener]]
name = "a"
[[pool]]
name = "web"
strategy = "fastest"
hash = "header"
exact = "yes"
health = { type = "htp", path = "health", statuses = "2xx", rise = 300 }
sticky = { by = "cookie" }
[[pool.node]]
id = "n 1"
address = "http://n/path"
weight = 1.5
[[pool.node]]
address = "n:99999"
max_connections = 0
"#;
    let found = faults(of_text(text));
    let lines: Vec<u32> = found
        .faults
        .iter()
        .map(|fault| match fault.origin {
            Origin::File { line, .. } => line,
            _ => panic!("{fault}"),
        })
        .collect();
    assert_eq!(
        lines,
        [
            2, 3, 4, 5, 7, 9, 10, 11, 14, 15, 16, 17, 18, 19, 19, 20, 23, 24, 25, 26, 26, 26, 26, 27, 29, 30, 31, 32,
            33, 34
        ],
        "{found}"
    );
    assert!(found.to_string().ends_with("\n\n30 faults"));
    let json = serde_json::to_value(&found).unwrap();
    assert_eq!(json["faults"][0]["origin"], serde_json::json!({"from": "file", "path": "evenkeel.toml", "line": 2}));
    assert_eq!(json["faults"][0]["key"], "peer.id");
}

#[test]
fn the_environment_overrides_the_file_and_flags_override_both() {
    let text =
        format!("[peer]\nid = \"of-file\"\nregion = \"of-file\"\n[log]\nlevel = \"warn\"\nformat = \"json\"\n{GOOD}");
    let mut sources = sources(&[
        ("EVENKEEL_PEER_ID", "of-environment"),
        ("EVENKEEL_PEER_REGION", "of-environment"),
        ("EVENKEEL_UPSTREAM_IDLE_TIMEOUT", "9s"),
        ("EVENKEEL_PEER_WORKERS", ""),
        ("LOG_LEVEL", "ERROR"),
        ("HOME", "/root"),
    ]);
    sources.flags.id = Some("of-flag".to_owned());
    let loaded = read("evenkeel.toml", Ok(Some(&text)), &sources).unwrap();
    let value = |key: &str| {
        let setting = loaded.values.iter().find(|setting| setting.key == key).unwrap_or_else(|| panic!("{key}"));
        (setting.value.as_str(), setting.origin.to_string())
    };
    assert_eq!(value("peer.id"), ("\"of-flag\"", "flag --id".to_owned()));
    assert_eq!(value("peer.region"), ("\"of-environment\"", "environment EVENKEEL_PEER_REGION".to_owned()));
    assert_eq!(value("log.level"), ("\"error\"", "environment LOG_LEVEL".to_owned()));
    assert_eq!(value("log.format"), ("\"json\"", "evenkeel.toml line 6".to_owned()));
    assert_eq!(value("upstream.idle_timeout"), ("\"9s\"", "environment EVENKEEL_UPSTREAM_IDLE_TIMEOUT".to_owned()));
    assert_eq!(value("upstream.age_max"), ("\"1h\"", "default".to_owned()));
    assert_eq!(value("peer.workers"), ("1", "this machine".to_owned()));
    assert_eq!(
        value("pool \"web\" node \"web-1\" address"),
        ("\"127.0.0.1:3000\"", "evenkeel.toml line 18".to_owned())
    );
    assert_eq!(value("pool \"web\" health.interval"), ("\"5s\"", "default".to_owned()));
    assert_eq!(loaded.settings.peer.id.as_str(), "of-flag");
    assert_eq!(loaded.settings.log.level, log::Level::Error);

    // Evenkeel's own name is the stronger one.
    let loaded = with_environment(&text, &[("LOG_LEVEL", "ERROR"), ("EVENKEEL_LOG_LEVEL", "debug")]).unwrap();
    assert_eq!(loaded.settings.log.level, log::Level::Debug);
}

#[test]
fn what_the_environment_overrides_must_be_right_all_the_same() {
    let text = format!("[peer]\nregion = 5\n{GOOD}");
    let environment =
        [("EVENKEEL_PEER_REGION", "eu"), ("EVENKEEL_PEER_WORKERS", "all"), ("EVENKEEL_API_LISTEN", "localhost:80")];
    assert_eq!(
        faults(with_environment(&text, &environment)).to_string(),
        r#"evenkeel.toml line 2: peer.region
    found:   5
    wrong:   it is a whole number, not a text
    allowed: 1 to 63 of a-z, 0-9, and after the first character also . _ -
    hint:    write it in quotes: "5"

environment EVENKEEL_PEER_WORKERS: peer.workers
    found:   all
    wrong:   it is not a whole number
    allowed: a whole number of 1 to 1024

environment EVENKEEL_API_LISTEN: api.listen
    found:   localhost:80
    wrong:   it is not an IP address with a port
    allowed: a loopback address and a port, "127.0.0.1:8080"; port 0 takes a free one
    hint:    write "127.0.0.1:80"

3 faults"#
    );
}

#[test]
fn a_peer_that_is_given_only_regional_endpoints_runs() {
    let endpoints = ("REGIONAL_ENDPOINTS", "us-east:https://us.example.com, eu-west:https://eu.example.com");
    let loaded = of_environment(&[endpoints]).unwrap();
    assert_eq!(loaded.warnings, []);
    let peer = loaded.settings.peer;
    let [listener] = &peer.proxy.listeners[..] else { panic!("one listener") };
    assert_eq!((listener.name.as_str(), listener.address.to_string()), ("regions", "127.0.0.1:8000".to_owned()));
    assert!(matches!(listener.protocol, Protocol::Http(_)));
    let [pool] = peer.catalog.pools() else { panic!("one pool") };
    assert_eq!((pool.name.as_str(), pool.host_sent), ("regions", HostSent::Node));
    let nodes: Vec<(String, String, String)> = pool
        .nodes
        .iter()
        .map(|node| {
            (
                node.id.to_string(),
                node.region.as_ref().map(ToString::to_string).unwrap_or_default(),
                node.address.to_string(),
            )
        })
        .collect();
    assert_eq!(
        nodes,
        [
            ("us-east-1".into(), "us-east".into(), "https://us.example.com:443".into()),
            ("eu-west-1".into(), "eu-west".into(), "https://eu.example.com:443".into()),
        ]
    );

    let strategy =
        |environment: &[(&str, &str)]| of_environment(environment).unwrap().settings.peer.catalog.pools()[0].strategy;
    assert_eq!(strategy(&[endpoints]), Strategy::HealthScore);
    assert_eq!(strategy(&[endpoints, ("LOAD_BALANCER_STRATEGY", "random")]), Strategy::Random);
    assert_eq!(
        strategy(&[endpoints, ("LOAD_BALANCER_STRATEGY", "random"), ("LOAD_BALANCING_STRATEGY", "least_latency")]),
        Strategy::LeastLatency
    );

    // Beside a file it is one pool more; the file's listeners are all there are.
    let loaded = with_environment(GOOD, &[endpoints]).unwrap();
    assert_eq!(loaded.settings.peer.catalog.pools().len(), 2);
    assert_eq!(loaded.settings.peer.proxy.listeners.len(), 1);
    let led = GOOD.replace("pool = \"web\"", "pool = \"regions\"");
    assert_eq!(with_environment(&led, &[endpoints]).unwrap().settings.peer.proxy.listeners[0].pool.as_str(), "regions");
}

#[test]
fn nobody_listens_where_the_api_does() {
    for (address, api, refused) in [
        ("127.0.0.1:8080", "127.0.0.1:8080", true),
        ("0.0.0.0:8080", "127.0.0.1:8080", true),
        ("[::]:8080", "127.0.0.1:8080", true),
        ("0.0.0.0:8080", "[::1]:8080", false),
        ("127.0.0.2:8080", "127.0.0.1:8080", false),
        ("0.0.0.0:8081", "127.0.0.1:8080", false),
        ("127.0.0.1:0", "127.0.0.1:0", false),
    ] {
        let text = format!("api.listen = \"{api}\"\n{GOOD}").replace("127.0.0.1:8000", address);
        assert_eq!(of_text(&text).is_err(), refused, "{text}");
    }
    let environment = [("REGIONAL_ENDPOINTS", "us:us.example:80"), ("EVENKEEL_API_LISTEN", "127.0.0.1:8000")];
    assert_eq!(faults(of_environment(&environment)).faults[0].wrong, "the API (api.listen) listens there");
}

#[test]
fn listeners_that_cover_one_another_are_refused_and_both_are_named() {
    let listener = |name: &str, address: &str| {
        format!("[[listener]]\nname = \"{name}\"\nlisten = \"{address}\"\npool = \"web\"\n")
    };
    for (second, wrong) in [
        ("127.0.0.1:8000", "listener \"web\" (evenkeel.toml line 4) listens there"),
        ("0.0.0.0:8000", "it covers 127.0.0.1:8000, where listener \"web\" (evenkeel.toml line 4) listens"),
        ("[::]:8000", "it covers 127.0.0.1:8000, where listener \"web\" (evenkeel.toml line 4) listens"),
    ] {
        let found = faults(of_text(&format!("{GOOD}{}", listener("b", second))));
        assert_eq!(found.count(), 1, "{found}");
        assert_eq!((found.faults[0].key.as_str(), found.faults[0].wrong.as_str()), ("listener \"b\" listen", wrong));
    }
    let covered = GOOD.replace("127.0.0.1:8000", "0.0.0.0:8000") + &listener("b", "127.0.0.1:8000");
    let found = faults(of_text(&covered));
    assert_eq!(
        found.faults[0].wrong,
        "listener \"web\" (evenkeel.toml line 4) listens at 0.0.0.0:8000, which covers it"
    );
    assert!(of_text(&format!("{GOOD}{}", listener("b", "127.0.0.2:8000"))).is_ok());
}

#[test]
fn a_node_where_this_peer_itself_listens_is_refused() {
    for address in ["127.0.0.1:8000", "localhost:8000", "http://127.0.0.1:8000"] {
        let found = faults(of_text(&GOOD.replace("127.0.0.1:3000", address)));
        assert_eq!(found.count(), 1, "{found}");
        assert_eq!(
            (found.faults[0].key.as_str(), found.faults[0].wrong.as_str()),
            (
                "pool \"web\" node \"web-1\" address",
                "listener \"web\" of this peer listens there, so a request would come back to it"
            )
        );
    }
    let found = faults(of_environment(&[("REGIONAL_ENDPOINTS", "us:127.0.0.1:8000")]));
    assert_eq!(found.faults[0].key, "node \"us-1\" address", "{found}");
}

#[test]
fn what_a_check_sends_is_shown_to_nobody() {
    let text = GOOD.replace(
        "name = \"web\"\n\n[[pool.node]]",
        "name = \"web\"\nhealth = { send = \"AUTH hunter2\" }\n\n[[pool.node]]",
    );
    let loaded = of_text(&text).unwrap();
    let send = loaded.values.iter().find(|setting| setting.key == "pool \"web\" health.send").unwrap();
    assert_eq!(send.value, "(12 bytes, not shown)");
    for wrong in [text.replace("{ send", "{ type = \"none\", send"), text.replace("hunter2", &"hunter2".repeat(10_000))]
    {
        let found = faults(of_text(&wrong));
        assert_eq!((found.count(), found.to_string().contains("hunter2")), (1, false), "{found}");
    }
}

#[test]
fn warnings_are_told_beside_faults_and_none_that_only_follows_from_one() {
    let text = format!("{GOOD}[[pool]]\nname = \"b\"\nretries = 99\n");
    let refused = of_text(&text).unwrap_err();
    let warned: Vec<String> = refused.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(
        warned,
        [
            "evenkeel.toml line 13: pool \"b\": it has no node; whoever asks for it gets 503, or a closed connection",
            "evenkeel.toml line 14: pool \"b\": no listener leads to it; its nodes are only checked",
        ]
    );
    let told = refused.to_string();
    assert!(told.starts_with("warning: evenkeel.toml line 13:") && told.ends_with("\n\n1 fault"), "{told}");

    let misspelt = GOOD.replacen("pool = \"web\"", "pool = \"wep\"", 1);
    assert_eq!(of_text(&misspelt).unwrap_err().warnings, [], "the listener means this pool");
    let broken = GOOD.replacen("pool = \"web\"", "pool = web", 1);
    assert_eq!(of_text(&broken).unwrap_err().warnings, []);

    let crowd: String = (0..2_000).map(|n| format!("[[pool]]\nname = \"p{n}\"\n")).collect();
    let warnings = of_text(&crowd).unwrap_err().warnings;
    assert_eq!(warnings.len(), crate::model::limits::SETTINGS_WARNINGS_MAX + 1);
    assert!(warnings.last().unwrap().message.ends_with(" more warnings are not listed"));
}

#[test]
fn settings_of_requests_are_warned_of_where_only_relays_lead_to_the_pool() {
    let pool = "[[pool]]\nname = \"db\"\nstrategy = \"consistent_hash\"\nhash = \"header:x-user\"\nhost = \"node\"\n\
                response_timeout = \"9s\"\nnode = [{ id = \"db-1\", address = \"127.0.0.1:1\" }]\n";
    let listener = |name: &str, protocol: &str, port: u16| {
        format!(
            "[[listener]]\nname = \"{name}\"\nprotocol = \"{protocol}\"\npool = \"db\"\nlisten = \"127.0.0.1:{port}\"\n"
        )
    };
    let warnings = |text: &str| of_text(text).unwrap_or_else(|refused| panic!("{refused}")).warnings;
    let relays = format!("{pool}{}{}", listener("a", "tcp", 1_000), listener("b", "tcp", 1_001));
    let told: Vec<String> = warnings(&relays).iter().map(ToString::to_string).collect();
    let why = "it has no effect: it is of HTTP requests, and only tcp listeners lead to this pool";
    let expected = [(4, "hash"), (5, "host"), (6, "response_timeout")];
    assert_eq!(told, expected.map(|(line, key)| format!("evenkeel.toml line {line}: pool \"db\" {key}: {why}")));
    assert_eq!(warnings(&relays.replace("header:x-user", "client_ip")).len(), 2, "a relay has a client");
    assert_eq!(warnings(&format!("{pool}{}{}", listener("a", "tcp", 1_000), listener("b", "http", 1_001))), []);
}

#[test]
fn a_path_that_a_hint_proposes_is_one_that_is_taken() {
    for (wrong, right) in [("x", "/x"), ("x y", "/x%20y"), ("/ü#1", "/%C3%BC%231"), ("", "/")] {
        let text = |path: &str| format!("{GOOD}[pool.health]\ntype = \"http\"\npath = \"{path}\"\n");
        let found = faults(of_text(&text(wrong)));
        assert_eq!(found.faults[0].hint.as_deref(), Some(&*format!("write \"{right}\"")), "{found}");
        assert!(of_text(&text(right)).is_ok(), "{right}");
    }
}

#[test]
fn what_may_stand_in_a_section_leaves_out_what_this_version_does_not_have() {
    for (text, name) in [("[peer]\nx = 1", "data_dir"), ("[api]\nx = 1", "user"), ("[[x]]", "webhook")] {
        let found = faults(of_text(&format!("{GOOD}{text}")));
        assert!(!found.to_string().contains(name), "{found}");
    }
    let found = faults(of_text(&format!("{GOOD}[histroy]")));
    assert_eq!(found.faults[0].hint.as_deref(), Some("history is not available in this version"));
}

#[test]
fn wrong_regional_endpoints_are_told_one_by_one() {
    let environment = [(
        "REGIONAL_ENDPOINTS",
        "https://us.example.com,us-east,US:https://us.example.com,eu:ftp://eu,as:https://a.example/x,ok:https://o.example,ok:1.2.3.4:5",
    )];
    let found = faults(of_environment(&environment));
    let said: Vec<(&str, &str)> =
        found.faults.iter().map(|fault| (fault.found.as_deref().unwrap_or(""), fault.wrong.as_str())).collect();
    assert_eq!(
        said,
        [
            ("https://us.example.com", "it does not say the region"),
            ("us-east", "a colon after the region is missing"),
            (
                "US:https://us.example.com",
                "the region: 'U' is not allowed in a name; use a-z, 0-9, and after the first character also . _ -"
            ),
            ("eu:ftp://eu", "the address: scheme \"ftp\" is not known; use host:port, http://host or https://host"),
            ("as:https://a.example/x", "the address: an address ends after the port; \"/x\" cannot follow"),
            ("ok:1.2.3.4:5", "its region stands there twice"),
        ]
    );
    for (wrong, hint) in [
        ("us=https://us.example.com", "write us:https://us.example.com"),
        ("us-east = 10.0.0.7:80", "write us-east:10.0.0.7:80"),
        ("us-east", "write us-east:https://us-east.example.com"),
    ] {
        let found = faults(of_environment(&[("REGIONAL_ENDPOINTS", wrong)]));
        assert_eq!(found.faults[0].hint.as_deref(), Some(hint), "{found}");
        let written = hint.trim_start_matches("write ");
        assert!(of_environment(&[("REGIONAL_ENDPOINTS", written)]).is_ok(), "what is hinted at is right: {written}");
    }
    let file = GOOD.replace("\"web\"", "\"regions\"");
    let found = faults(with_environment(&file, &[("REGIONAL_ENDPOINTS", "us:us.example:80")]));
    assert_eq!(found.faults[0].wrong, "pool regions stands there twice");
    let file = GOOD.replace("web-1", "us-1");
    let found = faults(with_environment(&file, &[("REGIONAL_ENDPOINTS", "us:us.example:80")]));
    assert_eq!(found.faults[0].wrong, "node us-1 stands there twice; a node id is unique in the cluster");
    assert!(of_environment(&[("REGIONAL_ENDPOINTS", ",")]).is_err());
}

#[test]
fn variables_of_other_systems_set_all_pools() {
    let text = format!("{GOOD}[[pool]]\nname = \"b\"\nstrategy = \"random\"\nhealth = {{ type = \"none\" }}\n");
    for (interval, seconds) in [("30", 30), ("45s", 45), ("2m", 120)] {
        let environment = [("HEALTH_CHECK_INTERVAL", interval), ("LOAD_BALANCER_STRATEGY", "p2c")];
        let loaded = with_environment(&text, &environment).unwrap();
        let pools = loaded.settings.peer.catalog.pools().to_vec();
        assert_eq!(pools[0].check.interval.as_secs(), seconds);
        assert!(pools.iter().all(|pool| pool.strategy == Strategy::PowerOfTwo));
        assert!(
            !loaded.values.iter().any(|setting| setting.key == "pool \"b\" health.interval"),
            "it has no effect there"
        );
    }
    for (name, value) in [
        ("HEALTH_CHECK_INTERVAL", "often"),
        ("HEALTH_CHECK_INTERVAL", "0"),
        ("LOAD_BALANCER_STRATEGY", "best"),
        ("LOG_LEVEL", "loud"),
    ] {
        let found = faults(with_environment(&text, &[(name, value)]));
        assert_eq!(found.count(), 1, "{found}");
        assert!(found.to_string().starts_with(&format!("environment {name}")), "{found}");
    }
    let found = faults(with_environment(&text, &[("LOAD_BALANCING_STRATEGY", "weighted")]));
    assert!(found.faults[0].wrong.ends_with("not available in this version"), "{found}");
}

#[test]
fn every_name_of_a_later_version_is_refused_as_such_and_not_as_unknown() {
    for text in [
        "[cluster]\nlisten = \"127.0.0.1:0\"\nelectors = [\"a\"]",
        "[cluster]\nlisten = \"127.0.0.1:0\"\nexpect = 3",
        "[tls]",
        "[[region]]\nname = \"eu\"",
        "[[route]]\nname = \"api\"",
        "[[driver]]",
        "[[server]]",
        "[[webhook]]",
        "[history]",
        "[catalog]\nfollow_file = true",
        "[peer]\ndata_dir = \"/var\"",
        "[[api.user]]\nname = \"admin\"",
        "[api]\nlisten = \"unix:/run/evenkeel\"",
        "[[pool]]\nname = \"b\"\nsticky = { by = \"cookie\" }",
        "[[pool]]\nname = \"b\"\nhash = \"mqtt_client_id\"",
        "[[pool]]\nname = \"b\"\nhealth = { type = \"tls\" }",
        "[[pool]]\nname = \"b\"\nhealth = { type = \"grpc\" }",
        "[[pool]]\nname = \"b\"\nhealth = { type = \"mqtt\" }",
        "[[pool]]\nname = \"b\"\nhealth = { type = \"postgres\" }",
        "[[pool]]\nname = \"b\"\nhealth = { type = \"docker\" }",
        "[[pool]]\nname = \"b\"\nhealth = { type = \"exec\" }",
    ] {
        let found = faults(of_text(&format!("{GOOD}{text}")));
        assert_eq!(found.count(), 1, "{found}");
        assert!(found.faults[0].wrong.ends_with("not available in this version"), "{found}");
    }
    for name in inherited::LATER.iter().chain(&[
        "EVENKEEL_CLUSTER_EXPECT",
        "EVENKEEL_API_USER",
        "EVENKEEL_PEER_DATA_DIR",
        "EVENKEEL_CATALOG_FOLLOW_FILE",
    ]) {
        let found = faults(with_environment(GOOD, &[(name, "1")]));
        assert_eq!(found.count(), 1, "{found}");
        assert_eq!(found.faults[0].wrong, "not available in this version", "{found}");
    }
}

#[test]
fn an_unknown_variable_of_ours_is_refused_and_other_peoples_are_left_alone() {
    let found = faults(with_environment(GOOD, &[("EVENKEEL_LOG_LEVLE", "info"), ("EVENKEEL_POOL_WEB", "x")]));
    assert_eq!(
        found.to_string(),
        r#"environment EVENKEEL_LOG_LEVLE
    found:   info
    wrong:   there is no such setting
    hint:    did you mean EVENKEEL_LOG_LEVEL?

environment EVENKEEL_POOL_WEB
    found:   x
    wrong:   there is no such setting
    hint:    pools and listeners are lists, which only the file can hold

2 faults"#
    );
    let others = [
        ("EVENKEEL_API", "10.0.0.1:8080"),
        ("EVENKEEL_SOAK", "1"),
        ("EVENKEEL_TEST_WRITE", "1"),
        ("EVENKEEL_SERVICE_HOST", "10.0.0.1"),
        ("EVENKEEL_SERVICE_PORT", "80"),
        ("EVENKEEL_SERVICE_PORT_HTTP", "80"),
        ("EVENKEEL_PORT", "tcp://10.0.0.1:80"),
        ("EVENKEEL_PORT_80_TCP_ADDR", "10.0.0.1"),
        ("EVENKEEL_API_SERVICE_HOST", "10.0.0.1"),
        ("FAILOVER_ENABLED", ""),
        ("PATH", "/bin"),
    ];
    assert!(with_environment(GOOD, &others).is_ok());
}

#[test]
fn nothing_at_all_is_told_what_the_least_file_is() {
    let found = faults(load(&Sources::default()));
    let said = found.to_string();
    assert!(said.starts_with("no settings file\n    wrong:   there is neither a listener nor a pool"), "{said}");
    // The least file, as it is told, is a file that works.
    let told: String = said
        .lines()
        .skip_while(|line| !line.contains("[[listener]]"))
        .take_while(|line| !line.contains("REGIONAL_ENDPOINTS"))
        .map(|line| format!("{}\n", line.trim()))
        .collect();
    assert_eq!(of_text(&told).unwrap().settings.peer.catalog.nodes().count(), 1);
}

#[test]
fn what_is_allowed_and_probably_not_meant_is_said() {
    let text = "[[pool]]\nname = \"a\"\nhash = \"uri\"\nexact = true\nstrategy = \"random\"\n";
    let said: Vec<String> = of_text(text).unwrap().warnings.iter().map(ToString::to_string).collect();
    assert_eq!(
        said,
        [
            "evenkeel.toml line 3: pool \"a\" hash: it has no effect while the strategy is random; consistent_hash looks at it",
            "evenkeel.toml line 4: pool \"a\" exact: it has no effect while the strategy is random; health_score looks at it",
            "evenkeel.toml line 1: pool \"a\": it has no node; whoever asks for it gets 503, or a closed connection",
            "evenkeel.toml line 2: pool \"a\": no listener leads to it; its nodes are only checked",
            "there is no listener; this peer takes no traffic",
        ]
    );
}

#[test]
fn a_file_that_cannot_be_read_is_told_why() {
    let folder = std::env::temp_dir().join(format!("evenkeel-settings-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("evenkeel.toml");
    let sources = Sources { file: Some(path.clone()), ..Sources::default() };
    let said = |sources: &Sources| faults(load(sources)).to_string().replace(&folder.display().to_string(), "DIR");

    let told = said(&sources);
    assert!(told.starts_with("DIR/evenkeel.toml\n    wrong:   there is no such file\n    hint:    look for"), "{told}");
    assert!(told.contains("begin one; the least file is:\n"), "{told}");
    let by_environment = self::sources(&[("EVENKEEL_CONFIG", &path.display().to_string())]);
    assert!(said(&by_environment).contains("hint:    EVENKEEL_CONFIG names it; look for"));
    std::fs::write(folder.join("evenkel.toml"), GOOD).unwrap();
    assert_eq!(
        said(&sources),
        "DIR/evenkeel.toml\n    wrong:   there is no such file\n    hint:    did you mean DIR/evenkel.toml?\n\n1 fault"
    );
    let nowhere = Sources { file: Some(folder.join("none/evenkeel.toml")), ..Sources::default() };
    assert!(said(&nowhere).contains("hint:    there is no folder DIR/none either"), "{}", said(&nowhere));
    std::fs::write(&path, b"# one\n# two \xff\n").unwrap();
    assert_eq!(
        said(&sources),
        "DIR/evenkeel.toml line 2\n    wrong:   it is not UTF-8 from here on\n    hint:    save it as UTF-8\n\n1 fault"
    );
    std::fs::write(&path, "#\n".repeat(3 * 1024 * 1024)).unwrap();
    assert_eq!(
        said(&sources),
        "DIR/evenkeel.toml\n    wrong:   it is larger than 4 MiB, the most a settings file may have\n\n1 fault"
    );
    std::fs::write(&path, GOOD).unwrap();
    assert!(load(&sources).is_ok());
    assert!(load(&by_environment).is_ok());
    let directory = Sources { file: Some(folder.clone()), ..Sources::default() };
    assert!(said(&directory).contains("it is a directory"));
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn the_sample_that_ships_is_right_and_warns_of_nothing() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/evenkeel.toml");
    let loaded =
        load(&Sources { file: Some(path.into()), ..Sources::default() }).unwrap_or_else(|refused| panic!("{refused}"));
    assert_eq!(loaded.warnings, []);
}

#[test]
fn the_sample_that_ships_names_every_key() {
    let sample = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/evenkeel.toml")).unwrap();
    for row in file::describe().rows {
        assert!(sample.contains(&format!("{} = ", row.key)), "{} {}", row.section, row.key);
    }
}

#[test]
fn the_unit_that_ships_waits_longer_than_a_peer_takes_to_stop() {
    let unit =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/systemd/evenkeel.service")).unwrap();
    let seconds =
        unit.lines().find_map(|line| line.strip_prefix("TimeoutStopSec=")?.strip_suffix('s')?.parse::<u64>().ok());
    let proxy = of_text(GOOD).unwrap().settings.peer.proxy;
    assert!(seconds.unwrap() > (proxy.announce + proxy.drain).as_secs());
}

#[test]
fn ten_thousand_nodes_are_read_and_one_more_is_refused() {
    let file = |nodes: usize| {
        let nodes: String =
            (0..nodes).map(|n| format!("[[pool.node]]\nid = \"n-{n}\"\naddress = \"10.0.0.1:{}\"\n", n + 1)).collect();
        format!("[[pool]]\nname = \"web\"\n{nodes}")
    };
    assert_eq!(of_text(&file(10_000)).unwrap().settings.peer.catalog.nodes().count(), 10_000);
    let found = faults(of_text(&file(10_001)));
    assert_eq!(found.faults[0].wrong, "10001 nodes are more than the 10000 allowed");
}

#[test]
fn a_file_of_nothing_but_faults_is_refused_in_bounded_words() {
    let unknown: String = (0..50_000).map(|n| format!("k{n} = 1\n")).collect();
    let found = faults(of_text(&format!("[peer]\n{unknown}")));
    assert_eq!(found.count(), 50_001, "and nothing to do");
    let found = faults(of_text(&format!("[[pool]]\nname = \"{}\"\n", "x y".repeat(1_000_000))));
    assert!(found.to_string().len() < 2_000, "{}", found.to_string().len());
    let broken: String = (0..20_000).map(|n| format!("k{n} = [1 2]\n")).collect();
    assert_eq!(faults(of_text(&broken)).count(), 20_000);
    let one = |n| {
        format!("[[listener]]\nname = \"l{n}\"\nlisten = \"[::1]:0\"\npool = \"p{n}\"\n[[pool]]\nname = \"q{n}\"\n")
    };
    let crowd: String = (0..10_000).map(one).collect();
    let wrongs: Vec<String> = faults(of_text(&crowd)).faults.into_iter().map(|fault| fault.wrong).collect();
    assert_eq!(wrongs, ["10000 listeners are more than the 256 allowed", "10000 pools are more than the 1024 allowed"]);
    let found = faults(of_text(&"[[".repeat(100_000)));
    assert!(found.to_string().len() < 2_000);
    let deep = format!("a = {}{}", "[".repeat(100_000), "]".repeat(100_000));
    assert!(of_text(&deep).is_err());
}

const ESCAPE: char = '\u{1b}';

proptest! {
    #[test]
    fn no_text_panics_the_reader(text in "\\PC*") {
        let _ = of_text(&text);
    }

    #[test]
    fn no_text_of_our_own_words_panics_the_reader(
        words in proptest::collection::vec(
            prop_oneof![
                Just("[peer]\n"), Just("[[pool]]\n"), Just("[[pool.node]]\n"), Just("[pool]\n"), Just("[[listener]]\n"),
                Just("[api]\n"), Just("name"), Just("id"), Just("address"), Just("health"), Just("listen"), Just("pool"),
                Just("workers"), Just(" = "), Just("."), Just("\n"), Just("{"), Just("}"), Just("["), Just("]"), Just(","),
                Just("\""), Just("\"\"\""), Just("'"), Just("\"web\""), Just("\"127.0.0.1:80\""), Just("5"), Just("-1"),
                Just("1e3"), Just("1979-05-27"), Just("true"), Just("\"5s\""), Just("# \u{1b}[31m"), Just("\r\n"), Just("\u{feff}"), Just("ü"),
            ],
            0..60,
        )
    ) {
        let text: String = words.concat();
        if let Err(found) = of_text(&text) {
            prop_assert!(found.faults.count() > 0);
            prop_assert!(!found.to_string().contains(ESCAPE), "a terminal would obey it");
        }
    }

    #[test]
    fn no_variable_panics_the_reader(name in "(EVENKEEL_[A-Z_]{0,20}|REGIONAL_ENDPOINTS|HEALTH_CHECK_INTERVAL|LOG_LEVEL)", value in "\\PC*") {
        let _ = of_environment(&[(&name, &value)]);
    }
}
