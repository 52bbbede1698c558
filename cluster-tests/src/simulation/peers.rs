//! Peers in lockstep: each has a runtime of its own with a virtual clock, and one thread runs them in turn, a step at a time.
//!
//! A runtime a peer, because that is how a peer dies and starves: a killed one ends with its runtime, at whatever it was
//! doing, and one that is starved is not run for a while and finds all its timers late at once. The network between them has
//! a runtime too, which goes first in every step.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use evenkeel::gossip::{Counted, Seed};
use evenkeel::host::{self, Dice, Incarnations};
use evenkeel::link::memory::{Network, Path};
use evenkeel::link::{Identity, Timing};
use evenkeel::model::{Admin, Catalog, Member, NodeId, PeerId, PeerState, Preset, RegionName, Verdict};
use evenkeel::peer::{BarePeer, BareSettings, ClusterHandles, Surroundings};
use evenkeel::view::ViewCell;
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;
use tokio::time::{advance, sleep_until};

use super::nodes::Nodes;

/// How far everybody goes before the next one does. What one peer says another one hears within two steps.
pub const STEP: Duration = Duration::from_millis(2);
/// The first so many peers are everybody's seeds.
const SEEDS: usize = 3;
/// Incarnations of two starts of one peer are further apart than its gossip is ever started anew.
const INCARNATIONS_PER_START: u64 = 1_000_000;

/// A cluster.
#[derive(Debug)]
pub struct Peers {
    hub: Runtime,
    network: Network,
    nodes: Nodes,
    catalog: Arc<Catalog>,
    places: Vec<Place>,
    dice: Dice,
    began: Instant,
    elapsed: Duration,
    steps: usize,
}

#[derive(Debug)]
struct Place {
    id: PeerId,
    address: SocketAddr,
    starts: u64,
    process: Option<Process>,
}

#[derive(Debug)]
struct Process {
    life: Life,
    view: ViewCell,
    cluster: ClusterHandles,
    is_starved: bool,
    // Last: what is above ends before it.
    runtime: Runtime,
}

#[derive(Debug)]
enum Life {
    Running(BarePeer),
    Leaving(JoinHandle<()>),
}

/// What one peer sees at one moment.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Sight {
    /// The other peers that it knows, with their incarnations, by number.
    pub peers: Vec<(usize, PeerState, u64)>,
    /// Its verdict on every node.
    pub verdicts: Vec<Verdict>,
    /// Peers whose votes do not count.
    pub doubtful: Vec<usize>,
}

impl Peers {
    /// So many places, nobody started yet.
    pub fn new(count: usize, nodes: Nodes, mut dice: Dice) -> Self {
        let hub = runtime();
        let network = hub.block_on(async { Network::new(dice.bits()) });
        let began = hub.block_on(async { host::now() });
        let place = |number: usize| {
            let host = u32::try_from(number).expect("few enough for the addresses of a network") + 1;
            let address = SocketAddr::from((Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 0, 0, 0)) + host), 7940));
            let id = format!("p{number:02}").parse().expect("a name");
            Place { id, address, starts: 0, process: None }
        };
        let places = (0..count).map(place).collect();
        let catalog = Arc::new(nodes.catalog());
        Self { hub, network, nodes, catalog, places, dice, began, elapsed: Duration::ZERO, steps: 0 }
    }

    /// How many places there are.
    pub fn count(&self) -> usize {
        self.places.len()
    }

    /// Virtual time since the beginning.
    pub fn elapsed(&self) -> Duration {
        self.elapsed
    }

    /// The nodes.
    pub fn nodes(&self) -> &Nodes {
        &self.nodes
    }

    /// Everything that the network carried, as one number.
    pub fn trace(&self) -> u64 {
        self.network.trace()
    }

    /// Those that run, starved or not; one that is leaving does not.
    pub fn running(&self) -> impl Iterator<Item = usize> {
        (0..self.places.len()).filter(|peer| self.is_running(*peer))
    }

    /// Whether a peer runs.
    pub fn is_running(&self, peer: usize) -> bool {
        let process = self.places[peer].process.as_ref();
        process.is_some_and(|process| matches!(process.life, Life::Running(_)))
    }

    /// Whether nobody is at a place: not even one that leaves.
    pub fn is_empty(&self, peer: usize) -> bool {
        self.places[peer].process.is_none()
    }

    /// Whether a peer gets no time to run.
    pub fn is_starved(&self, peer: usize) -> bool {
        self.places[peer].process.as_ref().is_some_and(|process| process.is_starved)
    }

    /// What a peer's gossip has cost since it started.
    pub fn counted(&self, peer: usize) -> Counted {
        self.places[peer].process.as_ref().map(|process| process.cluster.gossip.read()).unwrap_or_default()
    }

    /// Bytes of all messages that a peer's links have sent since it started.
    pub fn bytes_sent(&self, peer: usize) -> u64 {
        let _entered = self.hub.enter();
        let links = self.places[peer].process.as_ref().map(|process| process.cluster.link.known());
        links.map_or(0, |links| links.counts.channels.iter().map(|counts| counts.bytes_sent).sum())
    }

    /// Which start of a peer others ought to know.
    pub fn starts(&self, peer: usize) -> u64 {
        self.places[peer].starts
    }

    /// What a peer sees; `None` where nobody runs.
    pub fn sight(&self, peer: usize) -> Option<Sight> {
        let process = self.places[peer].process.as_ref()?;
        let rows = process.cluster.peers.borrow().clone();
        let peers = rows.iter().filter_map(|row| {
            let start = row.incarnation / INCARNATIONS_PER_START;
            Some((self.number(&row.id)?, row.state, start))
        });
        let view = process.view.load();
        let nodes = view.pools().flat_map(|pool| &pool.nodes);
        Some(Sight {
            peers: peers.collect(),
            verdicts: nodes.map(|node| node.state.verdict).collect(),
            doubtful: view.doubtful().iter().filter_map(|id| self.number(id)).collect(),
        })
    }

    /// What a peer says of every node of its catalog that is not disabled; `None` where nobody runs.
    pub fn verdicts(&self, peer: usize) -> Option<BTreeMap<NodeId, Verdict>> {
        let view = self.places[peer].process.as_ref()?.view.load();
        let nodes = view.pools().flat_map(|pool| &pool.nodes).filter(|node| node.node.admin != Admin::Disabled);
        Some(nodes.map(|node| (node.node.id.clone(), node.state.verdict)).collect())
    }

    /// Gives a peer another catalog.
    pub fn set_catalog(&self, peer: usize, catalog: &Arc<Catalog>) {
        let Some(Process { life: Life::Running(running), runtime, .. }) = &self.places[peer].process else { return };
        let _entered = runtime.enter();
        running.set_catalog(Arc::clone(catalog));
    }

    /// Whether every node was checked once as far as a peer knows.
    pub fn is_checked(&self, peer: usize) -> bool {
        match self.places[peer].process.as_ref().map(|process| &process.life) {
            Some(Life::Running(running)) => running.is_checked(),
            _ => false,
        }
    }

    /// Parts of a peer that were started again, which none should have to be.
    pub fn restarts(&self, peer: usize) -> u64 {
        match self.places[peer].process.as_ref().map(|process| &process.life) {
            Some(Life::Running(running)) => running.children().children().iter().map(|child| child.restarts).sum(),
            _ => 0,
        }
    }

    /// Starts a peer where nobody is.
    pub fn start(&mut self, peer: usize) {
        let id = self.places[peer].id.clone();
        let (address, region) = (self.places[peer].address, RegionName::default());
        let place = &mut self.places[peer];
        assert!(place.process.is_none(), "{id} runs already");
        place.starts += 1;
        let incarnation = place.starts * INCARNATIONS_PER_START;
        let cluster = "simulated".parse().expect("a name");
        let own = Identity { cluster, id: id.clone(), region: region.clone(), incarnation };
        let (link, inboxes) = {
            let _entered = self.hub.enter();
            self.network.start(&own, Timing::LAN, Some(address))
        };
        let seeds = self.places.iter().take(SEEDS).map(|seed| Seed::Address(seed.address)).collect();
        let bare = BareSettings {
            own: Member { id, region },
            cluster: own.cluster,
            preset: Preset::Lan,
            advertise: address,
            seeds,
            catalog: Arc::clone(&self.catalog),
        };
        let surroundings = Surroundings {
            link: Arc::new(link),
            inboxes,
            world: self.nodes.seen_by(peer),
            dice: Dice::from_seed(self.dice.bits()),
            incarnations: Incarnations::starting_at(incarnation),
        };
        let runtime = runtime();
        let elapsed = self.elapsed;
        let running = runtime.block_on(async move {
            advance(elapsed).await;
            BarePeer::start(bare, surroundings).await
        });
        let running = running.expect("a peer starts: nothing that it needs can be missing");
        let (view, cluster) = (running.view().clone(), running.cluster().clone());
        let process = Process { life: Life::Running(running), view, cluster, is_starved: false, runtime };
        self.places[peer].process = Some(process);
    }

    /// Ends a peer without a word, wherever it stands.
    pub fn kill(&mut self, peer: usize) {
        {
            let _entered = self.hub.enter();
            self.network.kill(self.places[peer].address);
        }
        self.places[peer].process = None;
    }

    /// Lets a peer leave, which it tells the others. It is gone a few steps later.
    pub fn leave(&mut self, peer: usize) {
        let Some(mut process) = self.places[peer].process.take() else { return };
        process.life = match process.life {
            Life::Running(running) => Life::Leaving(process.runtime.spawn(running.stop())),
            leaving @ Life::Leaving(_) => leaving,
        };
        self.places[peer].process = Some(process);
    }

    /// Gives a peer no time to run: neither its timers nor what arrives are looked at.
    pub fn starve(&mut self, peer: usize) {
        if let Some(process) = &mut self.places[peer].process {
            process.is_starved = true;
            let _entered = self.hub.enter();
            self.network.pause(self.places[peer].address);
        }
    }

    /// Lets it run again. It finds its timers late, and what arrived meanwhile, in one order or the other.
    pub fn feed(&mut self, peer: usize) {
        let address = self.places[peer].address;
        let Some(process) = self.places[peer].process.as_mut().filter(|process| process.is_starved) else { return };
        process.is_starved = false;
        let now = self.began + self.elapsed;
        let wake = async { advance(now.saturating_duration_since(host::now())).await };
        let resume = || {
            let _entered = self.hub.enter();
            self.network.resume(address);
        };
        if self.dice.below(2) == 0 {
            process.runtime.block_on(wake);
            resume();
        } else {
            resume();
            run_until(&self.hub, now + STEP / 2);
            process.runtime.block_on(wake);
        }
    }

    /// Cuts one direction between two peers, or mends it.
    pub fn set_cut(&self, from: usize, to: usize, is_cut: bool) {
        let _entered = self.hub.enter();
        let (from, to) = (self.places[from].address, self.places[to].address);
        if is_cut { self.network.cut(from, to) } else { self.network.mend(from, to) }
    }

    /// Sets which share of all packets between peers is lost.
    pub fn set_loss(&self, loss: f64) {
        let _entered = self.hub.enter();
        self.network.set_paths(Path { loss, ..Path::default() });
    }

    /// As if traffic at a peer had met hard evidence at a node.
    pub fn suspect(&self, peer: usize, node: usize) {
        let Some(Process { life: Life::Running(running), runtime, .. }) = &self.places[peer].process else { return };
        let _entered = runtime.enter();
        running.suspect(&super::nodes::id(node));
    }

    /// Everybody goes one step.
    pub fn step(&mut self) {
        self.elapsed += STEP;
        self.steps += 1;
        let until = self.began + self.elapsed;
        run_until(&self.hub, until);
        let count = self.places.len();
        for turn in 0..count {
            let place = &mut self.places[(turn + self.steps) % count];
            let Some(process) = place.process.as_ref().filter(|process| !process.is_starved) else { continue };
            run_until(&process.runtime, until);
            if matches!(&process.life, Life::Leaving(leaving) if leaving.is_finished()) {
                place.process = None;
            }
        }
    }

    fn number(&self, id: &PeerId) -> Option<usize> {
        id.as_str().strip_prefix('p')?.parse().ok()
    }
}

/// Lets a runtime go on until then. Its clock jumps from timer to timer, and stops there.
fn run_until(runtime: &Runtime, until: Instant) {
    runtime.block_on(async { sleep_until(until.into()).await });
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime without IO")
}
