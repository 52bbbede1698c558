//! `evenkeel demo`: three peers and three sample nodes in one process, to see traffic go around what dies.

mod changes;
mod folder;
mod keys;
mod leader;
mod node;
mod peer;

use std::io::{self, Write};
use std::time::Duration;

use tokio::runtime;
use tokio::time::MissedTickBehavior;

use super::args::Demo;
use super::outcome::Failure;
use super::signals::Signals;
use crate::gossip::Seed;
use crate::host;
use crate::model::{PeerId, Term, Verdict};
use crate::telemetry::log;
use changes::Changes;
use folder::Folder;
use keys::{Key, Keys};
use leader::Leader;
use node::SampleNode;
use peer::DemoPeer;

const NODES: [&str; 3] = ["web-1", "web-2", "web-3"];
const PEERS: u16 = 3;
/// How often the views are looked at for changes to tell.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// `program` is how this program was called, for lines to paste.
pub(super) fn demo(args: &Demo, program: &str) -> Result<(), Failure> {
    log::init(&log_settings()).map_err(|error| Failure::new(error, "this is a fault of Evenkeel's; report it"))?;
    // The peers have runtimes of their own; this one is for the sample nodes and for whoever watches.
    let runtime = runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.map_err(|error| Failure::new(error, "the system is short of memory or descriptors"))?;
    runtime.block_on(show(args, program))
}

/// What a node does when it is stopped is told on the screen; warnings of the same would tear it apart.
fn log_settings() -> log::Settings {
    log::Settings { level: log::Level::Error, ..log::Settings::default() }
}

async fn show(args: &Demo, program: &str) -> Result<(), Failure> {
    let mut signals = Signals::take()?;
    let cannot = |error: &dyn std::fmt::Display| {
        Failure::new(
            format_args!("the demo did not start: {error}"),
            "is the loopback interface up, and can the folder for temporary files be written?",
        )
    };
    // Made before the peers, and so removed after them.
    let folder = Folder::new().map_err(|error| cannot(&error))?;
    let mut nodes = Vec::new();
    for name in NODES {
        nodes.push(SampleNode::start_new(name).await.map_err(|error| cannot(&error))?);
    }
    let mut peers: Vec<DemoPeer> = Vec::new();
    for number in 0..PEERS {
        let peer =
            DemoPeer::start_new(number, &nodes, seeds(&peers), folder.path()).await.map_err(|error| cannot(&error))?;
        peers.push(peer);
    }
    let all = seeds(&peers);
    for peer in &mut peers {
        peer.set_seeds(&all);
    }
    let mut keys = if args.no_input { Keys::none() } else { Keys::listen() };
    say(&welcome(&peers, &nodes, program, keys.are_read()))?;

    let watched = watch(&mut peers, &mut nodes, &mut keys, &mut signals).await;
    drop(keys);
    let end = async {
        for peer in &mut peers {
            peer.stop().await;
        }
    };
    let stopped = tokio::select! {
        () = end => Ok(()),
        () = signals.next() => Err(Failure::new("ended at once, as the second signal asked", "nothing was kept")),
    };
    watched.and(stopped)
}

/// The addresses of peers, for others to ask first.
fn seeds(peers: &[DemoPeer]) -> Vec<Seed> {
    peers.iter().filter_map(|peer| peer.addresses().2).map(Seed::Address).collect()
}

/// Tells every change and obeys every key, until it is time to end.
async fn watch(
    peers: &mut [DemoPeer],
    nodes: &mut [SampleNode],
    keys: &mut Keys,
    signals: &mut Signals,
) -> Result<(), Failure> {
    let begin = host::now();
    let (mut changes, mut leader) = (Changes::default(), Leader::default());
    let mut look = tokio::time::interval(LOOK_INTERVAL);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let lines = tokio::select! {
            _ = look.tick() => {
                look_at_all(peers, &mut changes);
                let mut lines = changes.take();
                lines.extend(leader.look_at(known_leader(peers)));
                lines
            }
            key = keys.next() => match key {
                Key::Quit => return Ok(()),
                Key::Node(at) => match nodes.get_mut(at) {
                    Some(node) => vec![toggle(node).await],
                    None => continue,
                },
                Key::Peer(at) => match peers.get_mut(at) {
                    Some(peer) => vec![toggle_peer(peer, &mut changes).await],
                    None => continue,
                },
            },
            () = signals.next() => return Ok(()),
        };
        let after = host::now().saturating_duration_since(begin).as_secs_f64();
        for line in lines {
            say(&format!("{after:>7.1}s  {line}\n"))?;
        }
    }
}

/// What each peer that runs thinks of nodes and of the other peers.
fn look_at_all(peers: &[DemoPeer], changes: &mut Changes) {
    for (peer, running) in peers.iter().filter_map(|peer| Some((peer, peer.running()?))) {
        let handles = running.handles();
        let view = handles.view.load();
        for of in view.pools().flat_map(|pool| &pool.nodes) {
            // A peer that hears from others that a node is up may not have looked itself since.
            let why = if of.state.verdict == Verdict::Up { "" } else { of.observation.last_result.as_str() };
            changes.look_at(peer.id(), of.node.id.as_str(), of.state.verdict.name(), why);
        }
        if let Some(cluster) = &handles.cluster {
            for row in cluster.peers.borrow().iter() {
                changes.look_at(peer.id(), row.id.as_str(), row.state.name(), "");
            }
        }
    }
}

/// Who leads in the newest term that a peer that runs knows a leader of.
fn known_leader(peers: &[DemoPeer]) -> Option<(Term, PeerId)> {
    let known = peers.iter().filter_map(DemoPeer::running).filter_map(|running| {
        let handles = running.handles();
        let standing = handles.agreed.standing();
        Some((standing.term, standing.leader(&handles.id)?.clone()))
    });
    known.max()
}

async fn toggle(node: &mut SampleNode) -> String {
    let name = node.name();
    if node.is_running() {
        node.stop().await;
        return format!("{name}  you stopped it: its socket and connections are closed");
    }
    match node.start().await {
        Ok(()) => format!("{name}  you started it"),
        Err(error) => format!("{name}  could not be started: {error}; try again"),
    }
}

async fn toggle_peer(peer: &mut DemoPeer, changes: &mut Changes) -> String {
    let id = peer.id().clone();
    if peer.crash() {
        changes.forget(&id);
        return format!("{id}  you ended it as a crash would; the other two take traffic");
    }
    match peer.start().await {
        Ok(()) => format!("{id}  you started it"),
        Err(error) => format!("{id}  could not be started: {error}; try again"),
    }
}

/// Writes at once: whoever reads a pipe reads along.
fn say(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

fn welcome(peers: &[DemoPeer], nodes: &[SampleNode], program: &str, keys: bool) -> String {
    let mut text = "Evenkeel demo: three peers, one cluster, and three sample nodes in this process.\n\n".to_owned();
    let mut traffic = Vec::new();
    let mut apis = Vec::new();
    for peer in peers {
        let (listens, api, cluster) = peer.addresses();
        let shown = listens.map(|address| address.to_string()).unwrap_or_default();
        let cluster = cluster.map(|address| address.to_string()).unwrap_or_default();
        text += &format!("  {:<7}  traffic http://{shown}/   API http://{api}/   peers udp {cluster}\n", peer.id());
        traffic.push(shown);
        apis.push(api);
    }
    for node in nodes {
        text += &format!("  {:<7}  http://{}/\n", node.name(), node.address());
    }
    let first = |at: usize| traffic.get(at).cloned().unwrap_or_default();
    let drained = nodes.first().map_or_else(String::new, |node| node.name().to_owned());
    let api = |at: usize| apis.get(at).map(|api| format!(" --api {api}")).unwrap_or_default();
    text += &format!(
        "\nTry in another terminal:\n\n  \
         while sleep 0.2; do curl -s http://{}/ || curl -s http://{}/; done\n  \
         {program} peers{}\n  \
         {program} nodes{}\n  \
         {program} status{}\n  \
         {program} leader{}\n  \
         {program} drain {drained}{}\n  \
         {program} undrain {drained}{}\n  \
         {program} catalog history{}\n\n",
        first(0),
        first(1),
        api(0),
        api(1),
        api(2),
        api(0),
        api(1),
        api(2),
        api(0),
    );
    text += if keys {
        "Keys: 1, 2 and 3 stop and start a node; a, b and c end and start a peer; q quits.\n\n"
    } else {
        "Ends with Ctrl-C or SIGTERM.\n\n"
    };
    text
}
