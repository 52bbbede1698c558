//! An upgrade rehearsed: a peer of a later version, which speaks a newer protocol beside the old one, says words that nobody
//! knows and has written keys into the catalog that nobody knows, lives with peers of this version.

use std::net::SocketAddr;
use std::num::{NonZeroU8, NonZeroUsize};
use std::sync::Arc;
use std::time::Duration;

use cluster_tests::api::{Api, Request, Said};
use cluster_tests::peer::Peer;
use cluster_tests::report;
use cluster_tests::wait::{PATIENCE, wait_for, wait_until};
use evenkeel::catalog::Object;
use evenkeel::election::Founders;
use evenkeel::gossip::Seed;
use evenkeel::link::{Channel, Link, Protocols, To, TrustSource};
use evenkeel::model::{Catalog, PeerId, RegionName};
use evenkeel::{Running, api, config, peer, proxy, telemetry};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

/// A peer of a later version: this one's software, with what a later one would do beside it.
struct Later {
    running: Running,
    runtime: Runtime,
    _folder: tempfile::TempDir,
}

impl Later {
    fn start(seed: SocketAddr, desired: Object) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let name = "evenkeel".parse().expect("a name");
        let settings = config::Settings {
            peer: peer::Settings {
                id: "later".parse().expect("an id"),
                region: RegionName::default(),
                data_dir: folder.path().to_path_buf(),
                drivers: std::collections::BTreeMap::new(),
                tls: Vec::new(),
                geo: None,
                proxy: proxy::Settings {
                    workers: NonZeroUsize::MIN,
                    listeners: Vec::new(),
                    announce: Duration::ZERO,
                    drain: Duration::ZERO,
                    idle: proxy::Idle::default(),
                    connections_max: None,
                },
                catalog: Catalog::default(),
                desired: Arc::new(desired),
                follow_file: false,
                cluster: Some(peer::ClusterSettings {
                    trust: TrustSource::Keys(evenkeel::link::KeyRing::of_loopback(&name)),
                    name,
                    listen: seed,
                    advertise: None,
                    seeds: vec![Seed::Address(seed)],
                    preset: evenkeel::model::Preset::Lan,
                    protocols: Protocols::new(1, 2).expect("two versions"),
                    cookie_keys: None,
                    founders: Founders::Expect(NonZeroU8::MIN),
                }),
            },
            api: api::Settings::new(SocketAddr::from(([127, 0, 0, 1], 0))).expect("loopback"),
            log: telemetry::log::Settings::default(),
        };
        let runtime = Runtime::new().expect("a runtime");
        let running = runtime.block_on(evenkeel::start(settings)).expect("a peer");
        Self { running, runtime, _folder: folder }
    }

    fn link(&self) -> Arc<dyn Link> {
        Arc::clone(&self.running.handles().cluster.as_ref().expect("it is in a cluster").link)
    }

    /// Says what only a later version knows, on every channel that carries messages, and asks what nobody can answer.
    fn speak(&self, to: &PeerId) {
        let unknown_kind: &[u8] = &[0, 99, 1, 2, 3];
        let unknown_word: &[u8] = &[0, 4, 0, 0, 3, 200];
        for channel in [Channel::Gossip, Channel::Hint, Channel::Election, Channel::Catalog] {
            for message in [unknown_kind, unknown_word] {
                self.link().send(To::Peer(to.clone()), channel, message.to_vec().into());
            }
        }
        let link = self.link();
        let asked = link.ask(to.clone(), unknown_kind.to_vec().into(), Duration::from_secs(2));
        assert!(self.runtime.block_on(asked).is_err(), "nobody can answer that");
    }
}

fn settings(id: &str, seed: SocketAddr) -> String {
    format!(
        "[peer]\nid = \"{id}\"\n[api]\nlisten = \"127.0.0.1:0\"\n[cluster]\nlisten = \"127.0.0.1:0\"\n\
         seeds = [\"{seed}\"]\nelectors = [\"later\"]\n[[pool]]\nname = \"own\"\nnode = [{{ id = \"own-1\", address = \"127.0.0.1:9\" }}]\n"
    )
}

fn ask(api: SocketAddr, request: &Request<'_>) -> Said {
    let api = Api { address: api, namespace: None };
    api.ask(request, PATIENCE).unwrap_or_else(|broken| panic!("{} {}: {broken:?}", request.method, request.path))
}

#[test]
fn peers_of_this_version_live_with_one_that_speaks_a_newer_protocol_and_keep_what_it_wrote() {
    let desired = json!({
        "pool": [{ "name": "web", "node": [{ "id": "web-1", "address": "127.0.0.1:9" }], "warp": { "factor": 9 } }],
        "galaxy": [{ "name": "andromeda" }]
    });
    let Value::Object(desired) = desired else { unreachable!() };
    let free = std::net::UdpSocket::bind("127.0.0.1:0").expect("a port");
    let seed = free.local_addr().expect("a bound socket has an address");
    drop(free);
    let later = Later::start(seed, desired);
    let agreed = later.running.handles().agreed.catalog.clone();
    wait_until("the later version to lead, and to commit what it knows", || agreed.applied().revision().is_some());

    let peers: Vec<Peer> = ["old-1", "old-2"].iter().map(|id| Peer::start_file(&settings(id, seed), &[])).collect();
    for peer in &peers {
        wait_for("a peer of this version to serve by the later one's catalog", PATIENCE, || {
            let catalog = peer.json("/api/v1/catalog");
            let is_whole = catalog["desired"]["galaxy"][0]["name"] == "andromeda"
                && catalog["desired"]["pool"][0]["warp"]["factor"] == 9;
            (is_whole && catalog["behind"].is_null()).then_some(())
        });
        let warnings = peer.json("/api/v1/catalog")["warnings"].to_string();
        assert!(warnings.contains("galaxy"), "{warnings}");
        assert!(peer.json("/api/v1/nodes").to_string().contains("web-1"), "it serves the part that it knows");
    }

    // Words and questions of a later version are refused one by one, and no link is lost by them.
    for id in ["old-1", "old-2"] {
        (0..50).for_each(|_| later.speak(&id.parse().expect("an id")));
    }
    for peer in &peers {
        let said = peer.json("/api/v1/peers");
        let rows = said["items"].as_array().expect("a list has items");
        assert!(rows.iter().all(|row| row["state"] == "alive") && rows.len() == 3, "{said}");
        assert!(!peer.log().contains("lost the link"), "{}", peer.log());
    }

    // A peer of this version becomes an elector, and then leads; what it does not know outlives what it writes.
    for id in ["old-1", "old-2"] {
        wait_for("the peer to be an elector", PATIENCE, || {
            let request = Request::write("POST", "/api/v1/electors", json!({ "id": id }));
            (ask(peers[0].api(), &request).status == 201).then_some(())
        });
    }
    later.runtime.block_on(later.running.stop());
    let (leader, _) = wait_for("a peer of this version to lead", PATIENCE, || {
        peers[1].json("/api/v1/leader")["leader"]["id"].as_str().filter(|id| *id != "later").map(str::to_owned)
    });
    report::figure("leads after the later version has left", leader);
    let put = Request::write("PUT", "/api/v1/nodes/web-1", json!({ "address": "127.0.0.1:10", "weight": 7 }));
    let written = ask(peers[1].api(), &put);
    assert_eq!(written.status, 200, "{}", written.json);
    let catalog = peers[1].json("/api/v1/catalog");
    assert_eq!(catalog["desired"]["galaxy"][0]["name"], "andromeda");
    assert_eq!(catalog["desired"]["pool"][0]["warp"]["factor"], 9);
    assert_eq!(catalog["desired"]["pool"][0]["node"][0]["weight"], 7);

    // What a user of this version writes and nobody knows is a fault all the same.
    let misspelt = Request::write("PUT", "/api/v1/nodes/web-1", json!({ "address": "127.0.0.1:10", "wieght": 7 }));
    let refused = ask(peers[0].api(), &misspelt);
    assert_eq!(
        (refused.status, refused.json["error"]["faults"].as_array().map(Vec::len)),
        (422, Some(1)),
        "{}",
        refused.json
    );
}
