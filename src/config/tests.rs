//! What users can rely on when they write settings.

use super::*;
use crate::api;
use crate::model::{CheckKind, HashKey, HostSent, Observe, Panic, Strategy};
use crate::proxy::Protocol;
use crate::telemetry::log;

mod bad_values;
mod desired;
mod environment;
mod faults;
mod hostile;
mod limits;
mod tls;

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
    assert_eq!((peer.data_dir.to_str(), peer.follow_file), (Some("evenkeel-peer"), true));
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
peer = { id = "ams-1", region = "eu-west", data_dir = "/srv/ek", workers = 3, announce = "2s", drain = "1m" }
api.listen = "[::1]:9090"
log = { level = "debug", format = "json" }
upstream = { idle_connections = 7, idle_timeout = "9s", age_max = "10m" }
catalog.follow_file = false

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
    assert_eq!((peer.data_dir, peer.follow_file), ("/srv/ek".into(), false));
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
