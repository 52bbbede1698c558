//! Peers that form one cluster, each on a host of its own, with nodes and clients on further hosts.
//!
//! Hosts come in this order: the peers, then one for each node, then one for clients. Each peer has the same key, the same
//! seeds and the same pool; its listener is at port 8000 of its host, and its API on its host's own loopback.

use std::ffi::OsString;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use evenkeel::link::{ClusterKey, KeyRing};
use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::api::{Api, Request, Said};
use crate::binary;
use crate::certificates::Authority;
use crate::network::{Host, Network};
use crate::node::{self, Behaviour, Command};
use crate::peer::{Peer, write_settings};
use crate::process::{Process, Spawn};
use crate::settings::{Pool, Settings};
use crate::wait::{PATIENCE, wait_for};

const CLUSTER_PORT: u16 = 7_940;
const TRAFFIC_PORT: u16 = 8_000;
const NODE_PORT: u16 = 9_000;
const SPARE_PORT: u16 = 9_100;

/// What a cluster is made of.
#[derive(Clone, Debug)]
pub struct Shape {
    /// Peers.
    pub peers: u8,
    /// Nodes, each on a host of its own.
    pub nodes: u8,
    /// `local`, `lan` or `wan`.
    pub preset: &'static str,
    /// The value of the pool's `health`, in TOML; `None`: as it ships.
    pub health: Option<&'static str>,
}

/// What is special about a cluster's peers.
#[derive(Debug, Default)]
pub struct Special {
    /// Instead of a cluster key: each peer has a certificate of this authority.
    pub authority: Option<Authority>,
    /// So many nodes more, all at ports of the host of clients and all up for good.
    pub crowd: u16,
    /// Variables of the environment of the first peer.
    pub variables: Vec<(&'static str, OsString)>,
    /// Where the peers are, one after the other; those behind the end are where nothing is said.
    pub peer_regions: Vec<&'static str>,
    /// Where the nodes are.
    pub node_regions: Vec<&'static str>,
    /// Further lines of the pool.
    pub pool_lines: Vec<&'static str>,
    /// Further lines of the listener.
    pub listener_lines: Vec<String>,
    /// Further lines of the nodes, one after the other.
    pub node_lines: Vec<&'static str>,
    /// Further sections of the catalog.
    pub catalog: &'static str,
    /// So many nodes that no pool has, at ports of the host of clients from 9100 on.
    pub spares: u16,
    /// Further sections of each peer's file, by the number of the peer.
    pub sections: Option<fn(usize) -> String>,
}

/// A running cluster.
#[derive(Debug)]
pub struct Cluster {
    // Processes end before the hosts that they are in.
    peers: Vec<Option<Peer>>,
    nodes: Vec<Option<Process>>,
    /// Held, as long as the cluster lives.
    crowd: Option<Process>,
    spares: Vec<Option<Process>>,
    shape: Shape,
    special: Special,
    key: TempDir,
    /// What each peer remembers, across its restarts.
    memory: TempDir,
    network: Network,
}

impl Cluster {
    /// Starts nodes and then all peers at once; `None`, with a line that says so, where the machine allows no network.
    #[track_caller]
    pub fn start(shape: Shape) -> Option<Self> {
        Self::start_special(shape, Special::default())
    }

    /// The same with peers that are special.
    #[track_caller]
    pub fn start_special(shape: Shape, special: Special) -> Option<Self> {
        // Built before anything is in a network of its own.
        binary::evenkeel();
        binary::test_node();
        let network = Network::of(shape.peers + shape.nodes + 1)?;
        let key = tempfile::tempdir().expect("a temporary folder");
        let memory = tempfile::tempdir().expect("a temporary folder");
        let text = ClusterKey::generate().expect("a machine has random numbers").to_text();
        std::fs::write(key.path().join("cluster.key"), text.as_bytes()).expect("a temporary folder takes a file");
        let mut cluster = Self {
            peers: Vec::new(),
            nodes: Vec::new(),
            crowd: None,
            spares: Vec::new(),
            shape,
            special,
            key,
            memory,
            network,
        };
        for node in 0..usize::from(cluster.shape.nodes) {
            cluster.nodes.push(None);
            cluster.start_node(node);
        }
        if let Some(more) = cluster.special.crowd.checked_sub(1) {
            let listen = SocketAddr::new(cluster.client().address(), NODE_PORT);
            cluster.crowd = Some(spawn_node(cluster.client(), "crowd", listen, more));
        }
        for spare in 0..cluster.special.spares {
            cluster.spares.push(None);
            cluster.start_spare(spare);
        }
        let spawned: Vec<Process> =
            (0..usize::from(cluster.shape.peers)).map(|peer| cluster.spawn_peer(peer)).collect();
        cluster.peers = spawned.into_iter().map(|process| Some(Peer::await_ready_of(process))).collect();
        Some(cluster)
    }

    /// The network, to break it.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// The host of a peer.
    pub fn peer_host(&self, peer: usize) -> usize {
        peer
    }

    /// The host of a node.
    pub fn node_host(&self, node: usize) -> usize {
        usize::from(self.shape.peers) + node
    }

    /// The host of clients.
    pub fn client(&self) -> &Host {
        self.network.host(usize::from(self.shape.peers + self.shape.nodes))
    }

    /// The id of a peer.
    pub fn id(&self, peer: usize) -> String {
        format!("p{}", peer + 1)
    }

    /// Where a peer takes traffic.
    pub fn traffic(&self, peer: usize) -> SocketAddr {
        (self.address(peer), TRAFFIC_PORT).into()
    }

    /// Where the other peers reach a peer.
    pub fn cluster_address(&self, peer: usize) -> SocketAddr {
        (self.address(peer), CLUSTER_PORT).into()
    }

    /// The authority of its peers, where it was started with one.
    #[track_caller]
    pub fn authority(&self) -> &Authority {
        self.special.authority.as_ref().expect("the cluster was started with an authority")
    }

    fn address(&self, host: usize) -> IpAddr {
        self.network.host(host).address()
    }

    fn spawn_peer(&self, peer: usize) -> Process {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = write_settings(folder.path(), &self.toml(peer));
        let mut spawn = self
            .network
            .host(peer)
            .spawn(format!("evenkeel {}", self.id(peer)), &binary::evenkeel(), Signal::KILL)
            .arg("run")
            .arg("--config")
            .arg(file);
        for (name, value) in self.special.variables.iter().filter(|_| peer == 0) {
            spawn = spawn.env(name, value);
        }
        spawn.start(folder)
    }

    /// The cluster's key, for whoever comes late.
    pub fn key_ring(&self) -> KeyRing {
        let text = std::fs::read_to_string(self.key.path().join("cluster.key")).expect("the file of the key");
        KeyRing::parse(&text).expect("a key")
    }

    /// The lines that say whom a peer trusts; the files that they name are written.
    fn trust(&self, peer: usize) -> String {
        let Some(authority) = &self.special.authority else {
            return format!("key_file = {:?}\n", self.key.path().join("cluster.key"));
        };
        let (certificate, key) = authority.issue(&certificate_names(&self.id(peer)).each_ref().map(String::as_str));
        let files =
            [("authority_file", authority.pem()), ("certificate_file", certificate), ("certificate_key_file", key)];
        let write = |(name, pem): (&str, String)| {
            let file = self.key.path().join(format!("{name}.{peer}.pem"));
            std::fs::write(&file, pem).expect("a temporary folder takes a file");
            format!("{name} = {file:?}\n")
        };
        files.map(write).concat()
    }

    fn toml(&self, peer: usize) -> String {
        let nodes =
            (0..usize::from(self.shape.nodes)).map(|node| (self.address(self.node_host(node)), NODE_PORT).into());
        let crowd = (0..self.special.crowd).map(|at| SocketAddr::new(self.client().address(), NODE_PORT + at));
        let mut pool = Pool::new("web").line("strategy = \"round_robin\"").nodes(nodes.chain(crowd));
        for (node, region) in pool.nodes.iter_mut().zip(&self.special.node_regions) {
            node.lines.push(format!("region = {region:?}"));
        }
        for (node, lines) in pool.nodes.iter_mut().zip(&self.special.node_lines) {
            node.lines.push((*lines).to_owned());
        }
        pool.lines.extend(self.special.pool_lines.iter().map(|&line| line.to_owned()));
        if let Some(health) = self.shape.health {
            pool = pool.checked(health);
        }
        let mut settings = Settings::default()
            .peer_line(format!("id = \"{}\"", self.id(peer)))
            .remembering_in(&self.memory.path().join(self.id(peer)))
            .serve("http", pool);
        if let Some(region) = self.special.peer_regions.get(peer) {
            settings = settings.peer_line(format!("region = {region:?}"));
        }
        settings.listeners[0].listen = (IpAddr::from([0, 0, 0, 0]), TRAFFIC_PORT).into();
        settings.listeners[0].lines.extend(self.special.listener_lines.iter().cloned());
        let seeds: Vec<String> = (0..usize::from(self.shape.peers))
            .map(|peer| format!("\"{}:{CLUSTER_PORT}\"", self.address(peer)))
            .collect();
        format!(
            "{}{}{}[cluster]\nlisten = \"{}:{CLUSTER_PORT}\"\nseeds = [{}]\npreset = \"{}\"\n{}",
            settings.evenkeel_toml(),
            self.special.catalog,
            self.special.sections.map(|section| section(peer)).unwrap_or_default(),
            self.address(peer),
            seeds.join(", "),
            self.shape.preset,
            self.trust(peer),
        )
    }

    /// A peer that runs.
    #[track_caller]
    pub fn peer(&mut self, peer: usize) -> &mut Peer {
        self.peers[peer].as_mut().expect("the peer runs")
    }

    /// What a peer that runs has said so far.
    #[track_caller]
    pub fn log(&self, peer: usize) -> String {
        self.peers[peer].as_ref().expect("the peer runs").log()
    }

    /// What a peer's API answers to `GET path`.
    #[track_caller]
    pub fn json(&self, peer: usize, path: &str) -> Value {
        let running = self.peers[peer].as_ref().expect("the peer runs");
        self.network.host(peer).within(|| running.json(path))
    }

    /// Where the API of a peer is that runs.
    #[track_caller]
    pub fn api(&self, peer: usize) -> Api {
        let running = self.peers[peer].as_ref().expect("the peer runs");
        Api { address: running.api(), namespace: Some(self.network.host(peer).namespace()) }
    }

    /// What a peer's API answers to any request.
    #[track_caller]
    pub fn send(&self, peer: usize, request: &Request<'_>) -> Said {
        let said = self.api(peer).ask(request, PATIENCE);
        said.unwrap_or_else(|broken| panic!("{} {} at {}: {broken:?}", request.method, request.path, self.id(peer)))
    }

    /// Who leads, as a peer knows it, and its term; `None`: nobody.
    #[track_caller]
    pub fn leader_at(&self, peer: usize) -> Option<(usize, u64)> {
        let said = self.json(peer, "/api/v1/leader");
        let id = said["leader"]["id"].as_str()?;
        let leader = (0..self.peers.len()).find(|&peer| self.id(peer) == id)?;
        Some((leader, said["term"].as_u64()?))
    }

    /// Waits until every one of these peers knows the same leader, and that one knows itself.
    #[track_caller]
    pub fn wait_led(&self, peers: &[usize]) -> ((usize, u64), Duration) {
        wait_for("one leader", PATIENCE, || {
            let first = self.leader_at(*peers.first()?)?;
            let all = peers.iter().all(|&peer| self.leader_at(peer) == Some(first)) && peers.contains(&first.0);
            all.then_some(first)
        })
    }

    /// Waits until every peer that runs serves by a catalog that the cluster has committed. Before that every elector is needed,
    /// and after it a majority.
    #[track_caller]
    pub fn wait_founded(&self) {
        let serves = |peer: usize| self.json(peer, "/api/v1/catalog")["revision"].is_u64();
        let founded = || self.running().into_iter().all(serves);
        wait_for("a first catalog everywhere", PATIENCE, || founded().then_some(()));
    }

    /// The folder in which a peer remembers.
    pub fn memory(&self, peer: usize) -> PathBuf {
        self.memory.path().join(self.id(peer)).join("state")
    }

    /// Starts a peer that was killed, and does not wait until it is ready.
    pub fn start_peer(&self, peer: usize) -> Process {
        self.spawn_peer(peer)
    }

    /// A peer that was started with [`Cluster::start_peer`] is ready.
    #[track_caller]
    pub fn await_peer(&mut self, peer: usize, process: Process) {
        self.peers[peer] = Some(Peer::await_ready_of(process));
    }

    /// The peers that run.
    pub fn running(&self) -> Vec<usize> {
        (0..self.peers.len()).filter(|&peer| self.peers[peer].is_some()).collect()
    }

    /// Kills a peer at once.
    pub fn kill_peer(&mut self, peer: usize) {
        if let Some(mut running) = self.peers[peer].take() {
            running.process().kill();
        }
    }

    /// Starts a peer again, and waits until it is ready.
    #[track_caller]
    pub fn restart_peer(&mut self, peer: usize) {
        self.kill_peer(peer);
        self.peers[peer] = Some(Peer::await_ready_of(self.spawn_peer(peer)));
    }

    /// Starts a node.
    #[track_caller]
    pub fn start_node(&mut self, node: usize) {
        let host = self.network.host(self.node_host(node));
        let process = spawn_node(host, &format!("web-{}", node + 1), SocketAddr::new(host.address(), NODE_PORT), 0);
        self.nodes[node] = Some(process);
    }

    /// Sets what happens to requests of this target at a node; `*`: to all without an order of their own.
    #[track_caller]
    pub fn order_node(&self, node: usize, target: &str, behaviour: impl Into<Behaviour>) {
        let process = self.nodes[node].as_ref().expect("a node that runs");
        let control = node::control_of(&process.log()).expect("a node says where it takes orders");
        let command = Command::Order { target: target.to_owned(), behaviour: behaviour.into() };
        self.network.host(self.node_host(node)).within(|| node::tell(control, &command));
    }

    /// Starts a node that no pool has.
    #[track_caller]
    pub fn start_spare(&mut self, spare: u16) {
        let listen = SocketAddr::new(self.client().address(), SPARE_PORT + spare);
        let process = spawn_node(self.client(), &format!("spare-{spare}"), listen, 0);
        self.spares[usize::from(spare)] = Some(process);
    }

    /// Kills one at once.
    pub fn kill_spare(&mut self, spare: u16) {
        if let Some(mut process) = self.spares[usize::from(spare)].take() {
            process.kill();
        }
    }

    /// Kills a node at once.
    pub fn kill_node(&mut self, node: usize) {
        if let Some(mut process) = self.nodes[node].take() {
            process.kill();
        }
    }

    /// How peer `by` sees peer `of`: `alive`, `suspect`, `dead`; `None`: it does not know it.
    #[track_caller]
    pub fn sees_peer(&self, by: usize, of: usize) -> Option<String> {
        let list = self.json(by, "/api/v1/peers");
        let row = list["items"].as_array()?.iter().find(|row| row["id"] == self.id(of))?.clone();
        Some(row["state"].as_str()?.to_owned())
    }

    /// The verdict on a node at a peer, and what the peer's own traffic and checks say: `("up", "admitted")`.
    #[track_caller]
    pub fn sees_node(&self, by: usize, node: usize) -> (String, String) {
        let shown = self.json(by, &format!("/api/v1/nodes/web-{}", node + 1));
        let word = |word: &Value| word.as_str().unwrap_or_default().to_owned();
        (word(&shown["state"]["verdict"]), word(&shown["state"]["local"]))
    }

    /// Waits until every peer that runs sees all those that run as alive, and all nodes as up.
    #[track_caller]
    pub fn wait_agreed(&self, patience: Duration) -> Duration {
        let running = self.running();
        let agreed = || {
            running.iter().all(|&by| {
                running.iter().all(|&of| self.sees_peer(by, of).as_deref() == Some("alive"))
                    && (0..self.nodes.len()).all(|node| self.sees_node(by, node).0 == "up")
            })
        };
        wait_for("all peers to agree that all is well", patience, || agreed().then_some(())).1
    }
}

fn spawn_node(host: &Host, name: &str, listen: SocketAddr, more: u16) -> Process {
    let spawn: Spawn = host.spawn(format!("test-node {name}"), &binary::test_node(), Signal::TERM);
    let mut process = spawn
        .args(["--name", name, "--listen", &listen.to_string(), "--more", &more.to_string()])
        .start(tempfile::tempdir().expect("a temporary folder"));
    process.wait_log("the control address", PATIENCE, |log| log.contains("control ").then_some(()));
    process
}

/// The names that the certificate of a peer carries.
pub fn certificate_names(id: &str) -> [String; 2] {
    [format!("{id}.peer.evenkeel"), "evenkeel.cluster.evenkeel".to_owned()]
}
