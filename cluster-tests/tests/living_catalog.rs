//! The catalog of a running peer changes under traffic: nothing fails and nothing is cut, but by the deadline of a drain.

use std::net::{SocketAddr, TcpListener};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use cluster_tests::load::{Load, Plan, failures};
use cluster_tests::node::TestNode;
use cluster_tests::pattern::Pattern;
use cluster_tests::raw::{End, Raw};
use cluster_tests::report;
use cluster_tests::wait::{PATIENCE, wait_until};
use evenkeel::balance::NodeLive;
use evenkeel::host::Dice;
use evenkeel::model::{
    Admin, Catalog, Check, CheckKind, HttpCheck, Node, NodeId, Pool, RegionName, Revision, Strategy, Weight,
};
use evenkeel::proxy::{Http, Idle, Listener, Protocol, Tcp};
use evenkeel::telemetry::log;
use evenkeel::{Running, api, config, peer, proxy};
use tempfile::TempDir;
use tokio::runtime::Runtime;

const UPGRADE: &str = "GET /upgrade HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n";
const CHANGES: usize = 200;

/// A peer in this process, with a listener for each pool.
struct Peer {
    running: Option<Running>,
    runtime: Runtime,
    /// What it remembers.
    _folder: TempDir,
}

impl Peer {
    fn start(catalog: Catalog, tcp: &str) -> Self {
        let listener = |pool: &Pool| Listener {
            name: pool.name.as_str().parse().expect("a name"),
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            pool: pool.name.clone(),
            connections_max: 1_000,
            connections_per_client_max: None,
            tls: None,
            access_log: None,
            protocol: if pool.name.as_str() == tcp {
                Protocol::Tcp(Tcp::default())
            } else {
                Protocol::Http(Http::default())
            },
        };
        let folder = tempfile::tempdir().expect("a temporary folder");
        let settings = config::Settings {
            peer: peer::Settings {
                id: "living".parse().expect("an id"),
                region: RegionName::default(),
                proxy: proxy::Settings {
                    workers: NonZeroUsize::new(2).expect("two"),
                    listeners: catalog.pools().iter().map(listener).collect(),
                    announce: Duration::ZERO,
                    drain: Duration::from_secs(5),
                    idle: Idle::default(),
                    connections_max: None,
                },
                data_dir: folder.path().to_path_buf(),
                tls: Vec::new(),
                drivers: std::collections::BTreeMap::new(),
                geo: None,
                catalog: Catalog::default(),
                desired: Arc::default(),
                follow_file: false,
                cluster: None,
            },
            api: api::Settings::new(SocketAddr::from(([127, 0, 0, 1], 0))).expect("loopback"),
            log: log::Settings::default(),
        };
        let runtime = Runtime::new().expect("a runtime");
        let running = runtime.block_on(evenkeel::start(settings)).expect("a peer");
        runtime.block_on(running.handles().readiness.settled());
        let agreed = &running.handles().agreed;
        wait_until("the first catalog to be agreed on", || agreed.catalog.applied().revision().is_some());
        running.peer().set_catalog(Arc::new(catalog));
        let peer = Self { running: Some(running), runtime, _folder: folder };
        let view = &peer.running().handles().view;
        wait_until("all nodes to be checked", || view.load().pools().count() > 0 && view.load().is_checked());
        peer
    }

    fn running(&self) -> &Running {
        self.running.as_ref().expect("it runs")
    }

    fn listener(&self, name: &str) -> SocketAddr {
        let listeners = self.running().handles().listeners.now();
        listeners.iter().find(|listener| listener.name.as_str() == name).expect("a listener").address
    }

    /// Gives it this catalog and waits until routing goes by it.
    fn serve(&self, pools: &[Pool]) {
        self.running().peer().set_catalog(Arc::new(Catalog::new(pools.to_vec()).expect("a catalog")));
        let view = &self.running().handles().view;
        wait_until("the catalog to be served", || view.load().pools().map(|pool| &*pool.pool).eq(pools));
    }

    fn live(&self, node: &str) -> Arc<NodeLive> {
        let id: NodeId = node.parse().expect("an id");
        Arc::clone(&self.running().handles().view.load().node(&id).expect("a node").1.live)
    }

    fn stop(mut self) {
        if let Some(running) = self.running.take() {
            self.runtime.block_on(running.stop());
        }
    }
}

fn pool(name: &str, nodes: &[(&str, SocketAddr)]) -> Pool {
    let mut pool = Pool::new(name.parse().expect("a name"));
    pool.strategy = Strategy::RoundRobin;
    pool.slow_start = Duration::ZERO;
    let http = HttpCheck::of("/health");
    pool.check = Check { interval: Duration::from_secs(1), ..Check::of(CheckKind::Http(http)) };
    pool.nodes = nodes.iter().map(|(id, address)| Node::new(id.parse().expect("an id"), (*address).into())).collect();
    pool
}

fn draining(mut pool: Pool, node: &str, timeout: Option<Duration>) -> Pool {
    let found = pool.nodes.iter_mut().find(|known| known.id.as_str() == node).expect("a node");
    found.admin = Admin::Draining { begun: Revision::ZERO, timeout };
    pool
}

fn echo(tunnel: &mut Raw, bytes: &str) {
    tunnel.send(bytes).expect("it stands");
    assert_eq!(tunnel.bytes(bytes.len()).as_deref(), Ok(bytes.as_bytes()));
}

fn tunnel(to: SocketAddr) -> Raw {
    let mut tunnel = Raw::connect(to);
    tunnel.send(UPGRADE).expect("a connection");
    assert_eq!(tunnel.head().map(|head| head.status()), Ok(Ok(101)));
    echo(&mut tunnel, "first");
    tunnel
}

#[test]
fn nothing_fails_and_nothing_is_cut_while_the_catalog_changes_two_hundred_times() {
    let nodes: Vec<TestNode> = ["a", "b", "c", "d", "e"].iter().map(|name| TestNode::start(name)).collect();
    let sockets: Vec<TestNode> = ["s", "t", "u"].iter().map(|name| TestNode::start(name)).collect();
    let all =
        |nodes: &[TestNode]| nodes.iter().map(|node| (node.name().to_owned(), node.address())).collect::<Vec<_>>();
    let named = |name: &str, nodes: &[(String, SocketAddr)]| {
        pool(name, &nodes.iter().map(|(id, address)| (id.as_str(), *address)).collect::<Vec<_>>())
    };
    let (web, ws) = (all(&nodes), all(&sockets));
    let peer = Peer::start(Catalog::new(vec![named("web", &web), named("ws", &ws)]).expect("a catalog"), "");
    let load = Load::start(&Plan { clients: 32, ..Plan::get(peer.listener("web"), 1_000) });
    let mut tunnels: Vec<Raw> = (0..12).map(|_| tunnel(peer.listener("ws"))).collect();
    wait_until("traffic", || load.count() > 200);

    let mut dice = Dice::from_seed(0x11fe);
    // Nodes that are not in the catalog, and how many requests each had had when its last one ended.
    let mut gone: Vec<(usize, u64)> = Vec::new();
    for change in 0..CHANGES {
        for (node, requests) in gone.drain(..) {
            let now = nodes[node].look(|seen| seen.requests_total);
            assert_eq!(now, requests, "a removed node got requests before change {change}");
        }
        // The first always stays; the others come and go, stand in any order, and one stands at another's address.
        let (mut here, away): (Vec<usize>, Vec<usize>) = (1..nodes.len()).partition(|_| dice.below(3) > 0);
        here.push(0);
        let at = dice.below(here.len());
        here.rotate_left(at);
        let mut pools = vec![named("web", &here.iter().map(|node| web[*node].clone()).collect::<Vec<_>>())];
        for node in &mut pools[0].nodes {
            node.weight = u16::try_from(1 + dice.below(5)).ok().and_then(Weight::new).expect("a weight");
        }
        if dice.below(4) == 0 {
            pools[0].strategy = Strategy::ALL[dice.below(Strategy::ALL.len())].1;
            pools[0].check.interval = Duration::from_millis(500);
        }
        if dice.below(3) == 0 {
            pools[0].nodes.push(Node::new("moving".parse().expect("an id"), web[here[0]].1.into()));
        }
        let mut sockets: Vec<(String, SocketAddr)> = ws.clone();
        if dice.below(2) == 0 {
            sockets.remove(1 + dice.below(2));
        }
        let mut sockets = named("ws", &sockets);
        if dice.below(2) == 0 {
            sockets = draining(sockets, "s", None);
        }
        pools.insert(dice.below(2), sockets);
        let before = peer.running().handles().view.load();
        peer.serve(&pools);
        for node in away {
            if let Some((_, view)) = before.node(&web[node].0.parse().expect("an id")) {
                // What had begun goes on.
                wait_until("the last request of a removed node", || view.live.in_flight() == 0);
            }
            gone.push((node, nodes[node].look(|seen| seen.requests_total)));
        }
        let count = load.count();
        wait_until("traffic", || load.count() > count + 20);
        let at = change % tunnels.len();
        echo(&mut tunnels[at], "still here");
    }
    let outcomes = load.stop();
    assert_eq!(failures(&outcomes, 10), [""; 0]);
    assert_eq!(outcomes.iter().filter(|outcome| outcome.reconnected).count(), 0, "client connections stay");
    tunnels.iter_mut().for_each(|tunnel| echo(tunnel, "to the end"));
    report::figure("requests during 200 catalogs", outcomes.len());
    drop(tunnels);
    peer.stop();
}

#[test]
fn a_removed_node_finishes_what_it_has_and_its_kept_connections_are_closed() {
    let (a, b) = (TestNode::start("a"), TestNode::start("b"));
    let peer = Peer::start(Catalog::new(vec![pool("web", &[("a", a.address())])]).expect("a catalog"), "");
    let mut kept: Vec<Raw> = (0..8).map(|_| Raw::connect(peer.listener("web"))).collect();
    kept.iter_mut().for_each(|client| assert_eq!(client.get("/").status, 200));
    let mut download = Raw::connect(peer.listener("web"));
    download.send("GET /slow/3000000 HTTP/1.1\r\nHost: test\r\n\r\n").expect("a connection");
    let (_, head) = download.final_head().expect("a head");
    peer.serve(&[pool("web", &[("b", b.address())])]);
    for client in &mut kept {
        assert_eq!(client.get("/").field("node"), Some("b"), "client connections stay, and lead to the other node");
    }
    // One is the download, and checks come and go.
    wait_until("kept connections to be closed", || a.look(|seen| seen.connections_open) <= 1);
    let (mut got, mut wrong) = (0, None);
    let body = download.body(head.answer_framing("GET").expect("a body"), &mut |part| {
        wrong = wrong.or_else(|| Pattern::shared().difference(got, part));
        got += part.len() as u64;
    });
    assert_eq!((body, wrong, got), (Ok(Vec::new()), None, 3_000_000));
    assert_eq!(download.get("/").field("node"), Some("b"));
    let checks = a.look(|seen| seen.checks);
    let others = b.look(|seen| seen.checks);
    wait_until("checks of the other node", || b.look(|seen| seen.checks) >= others + 3);
    assert!(a.look(|seen| seen.checks) <= checks + 1, "a removed node is not checked any more");
    peer.stop();
}

#[test]
fn a_drained_node_finishes_its_work_and_what_is_left_at_the_deadline_is_cut() {
    let nodes: Vec<TestNode> = ["a", "b", "c"].iter().map(|name| TestNode::start(name)).collect();
    let [a, b, c] = &nodes[..] else { unreachable!("three were started") };
    let raw = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let mut relayed = pool("relay", &[("r", raw.local_addr().expect("an address"))]);
    relayed.check = Check::of(CheckKind::None);
    let web = || pool("web", &[("a", a.address())]);
    let calm = || pool("calm", &[("b", b.address())]);
    let peer = Peer::start(Catalog::new(vec![web(), calm(), relayed.clone()]).expect("a catalog"), "relay");

    // Without a deadline all that is under way is finished, and nothing new begins.
    let mut slow = Raw::connect(peer.listener("web"));
    slow.send("GET /delay/800 HTTP/1.1\r\nHost: test\r\n\r\n").expect("a connection");
    wait_until("the request at the node", || a.look(|seen| seen.in_flight) >= 1);
    let spare = Node::new("c".parse().expect("an id"), c.address().into());
    let with_spare = |mut pool: Pool| {
        pool.nodes.push(spare.clone());
        pool
    };
    peer.serve(&[draining(with_spare(web()), "a", None), calm(), relayed.clone()]);
    let mut other = Raw::connect(peer.listener("web"));
    assert_eq!(other.get("/").field("node"), Some("c"));
    assert_eq!(slow.answer("GET").map(|answer| answer.status), Ok(200));

    // With one, what is left is cut when it is over, and only there.
    peer.serve(&[web(), calm(), relayed.clone()]);
    let mut cut = tunnel(peer.listener("web"));
    let mut spared = tunnel(peer.listener("calm"));
    let mut tcp = Raw::connect(peer.listener("relay"));
    let (_node_side, _) = raw.accept().expect("a relayed connection");
    tcp.send("x").expect("it stands");
    let mut posted = Raw::connect(peer.listener("web"));
    posted.send("POST /freeze HTTP/1.1\r\nHost: test\r\nContent-Length: 0\r\n\r\n").expect("a connection");
    let mut asked = Raw::connect(peer.listener("web"));
    asked.send("GET /freeze HTTP/1.1\r\nHost: test\r\n\r\n").expect("a connection");
    let live = peer.live("a");
    wait_until("all of it at the node", || live.in_flight() == 3);
    c.order("/freeze", cluster_tests::node::Answer::Name);
    let deadline = Some(Duration::from_millis(1_500));
    let told = evenkeel::host::now();
    let relay_drains = draining(relayed.clone(), "r", deadline);
    let web_drains = draining(with_spare(web()), "a", deadline);
    peer.serve(&[web_drains.clone(), draining(calm(), "b", deadline), relay_drains.clone()]);
    echo(&mut cut, "before the deadline");
    // Taken back in time.
    peer.serve(&[web_drains, calm(), relay_drains]);
    assert!(matches!(cut.end(PATIENCE), End::Reset | End::Closed));
    assert!(told.elapsed() >= Duration::from_millis(1_500), "{:?}", told.elapsed());
    assert!(told.elapsed() < Duration::from_secs(4), "{:?}", told.elapsed());
    assert!(matches!(tcp.end(PATIENCE), End::Reset | End::Closed));
    let answer = asked.answer("GET").expect("an answer");
    assert_eq!((answer.status, answer.field("node")), (200, Some("c")), "what may be sent twice is");
    let answer = posted.answer("POST").expect("an answer");
    assert_eq!((answer.status, answer.head.keeps_alive()), (504, true), "{}", answer.text());
    assert_eq!(posted.get("/").field("node"), Some("c"), "the client's connection goes on");
    assert_eq!(live.in_flight(), 0);
    echo(&mut spared, "untouched");
    drop(spared);
    peer.stop();
}
