//! `evenkeel demo`: one peer and three sample nodes in one process, to see traffic go around a dead node.

mod changes;
mod keys;
mod node;

use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::num::{NonZeroU8, NonZeroUsize};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime;
use tokio::time::MissedTickBehavior;

use super::args::Demo;
use super::outcome::Failure;
use super::signals::Signals;
use crate::model::{
    Catalog, Check, CheckKind, HttpCheck, ListenerName, Node, NodeId, PeerId, Pool, PoolName, RegionName, StatusRange,
    Strategy,
};
use crate::proxy::{Http, Idle, Listener, Protocol};
use crate::telemetry::log;
use crate::{Running, api, config, host, peer, proxy};
use changes::Changes;
use keys::{Key, Keys};
use node::SampleNode;

const NODES: [&str; 3] = ["web-1", "web-2", "web-3"];
/// How often the view is looked at for changes to tell.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// `program` is how this program was called, for lines to paste.
pub(super) fn demo(args: &Demo, program: &str) -> Result<(), Failure> {
    log::init(&log_settings()).map_err(|error| Failure::new(error, "this is a fault of Evenkeel's; report it"))?;
    // The peer has runtimes of its own; this one is for the sample nodes and for whoever watches.
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
        Failure::new(format_args!("the demo did not start: {error}"), "is the loopback interface up?")
    };
    let mut nodes = Vec::new();
    for name in NODES {
        nodes.push(SampleNode::start_new(name).await.map_err(|error| cannot(&error))?);
    }
    let settings = settings(&nodes).map_err(|error| cannot(&error))?;
    let running = crate::start(settings).await.map_err(|error| cannot(&error))?;
    let mut keys = if args.no_input { Keys::none() } else { Keys::listen() };
    say(&welcome(&running, &nodes, program, keys.are_read()))?;

    let watched = watch(&running, &mut nodes, &mut keys, &mut signals).await;
    drop(keys);
    let stopped = tokio::select! {
        _ = running.stop() => Ok(()),
        () = signals.next() => Err(Failure::new("ended at once, as the second signal asked", "nothing was kept")),
    };
    watched.and(stopped)
}

/// Tells every change and obeys every key, until it is time to end.
async fn watch(
    running: &Running,
    nodes: &mut [SampleNode],
    keys: &mut Keys,
    signals: &mut Signals,
) -> Result<(), Failure> {
    let begin = host::now();
    let mut changes = Changes::default();
    let mut look = tokio::time::interval(LOOK_INTERVAL);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let lines = tokio::select! {
            _ = look.tick() => {
                let view = running.handles().view.load();
                let nodes = view.pools().flat_map(|pool| &pool.nodes);
                nodes
                    .filter_map(|of| changes.look_at(&of.node.id, of.state.verdict, &of.observation.last_result))
                    .collect()
            }
            key = keys.next() => match key {
                Key::Quit => return Ok(()),
                Key::Node(at) => match nodes.get_mut(at) {
                    Some(node) => vec![toggle(node).await],
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

/// Writes at once: whoever reads a pipe reads along.
fn say(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

fn welcome(running: &Running, nodes: &[SampleNode], program: &str, keys: bool) -> String {
    let traffic = running.handles().listeners.first().map_or_else(String::new, |web| web.address.to_string());
    let api = running.api_address();
    let asked = if api == api::Settings::default().listen() { String::new() } else { format!(" --api {api}") };
    let mut text = format!(
        "Evenkeel demo: one peer and three sample nodes in this process.\n\n  traffic  http://{traffic}/\n  API      http://{api}/\n"
    );
    for node in nodes {
        text += &format!("  {:<7}  http://{}/\n", node.name(), node.address());
    }
    text += &format!(
        "\nTry in another terminal:\n\n  \
         curl http://{traffic}/\n  \
         while sleep 0.2; do curl -s http://{traffic}/; done\n  \
         {program} nodes{asked}\n  \
         {program} status{asked}\n\n"
    );
    text +=
        if keys { "Keys: 1, 2 and 3 stop and start a node, q quits.\n\n" } else { "Ends with Ctrl-C or SIGTERM.\n\n" };
    text
}

/// One listener, one pool of the sample nodes, checked often so that there is something to see.
fn settings(nodes: &[SampleNode]) -> Result<config::Settings, Box<dyn std::error::Error>> {
    let mut pool = Pool::new(PoolName::from_str("web")?);
    pool.strategy = Strategy::RoundRobin;
    pool.slow_start = Duration::from_secs(5);
    pool.check = Check {
        interval: Duration::from_secs(1),
        timeout: Duration::from_secs(1),
        rise: NonZeroU8::MIN,
        fall: NonZeroU8::MIN.saturating_add(1),
        ..Check::of(CheckKind::Http(HttpCheck {
            path: Arc::from("/health"),
            host: None,
            statuses: StatusRange::SUCCESS,
        }))
    };
    for node in nodes {
        pool.nodes.push(Node::new(NodeId::from_str(node.name())?, node.address().into()));
    }
    let web = Listener {
        name: ListenerName::from_str("web")?,
        address: free(8000),
        pool: pool.name.clone(),
        connections_max: 1_024,
        protocol: Protocol::Http(Http::default()),
    };
    Ok(config::Settings {
        peer: peer::Settings {
            id: PeerId::from_str("demo")?,
            region: RegionName::default(),
            proxy: proxy::Settings {
                workers: std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN),
                listeners: vec![web],
                announce: Duration::ZERO,
                drain: Duration::from_secs(2),
                idle: Idle::default(),
            },
            catalog: Catalog::new(vec![pool])?,
        },
        api: api::Settings::new(free(api::Settings::default().listen().port()))?,
        log: log_settings(),
    })
}

/// This port of loopback, or any free one where it is taken.
fn free(port: u16) -> SocketAddr {
    let wanted = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    match TcpListener::bind(wanted) {
        Ok(_) => wanted,
        Err(_) => SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_is_left_to_whoever_has_it() {
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        assert_eq!(free(taken.local_addr().unwrap().port()).port(), 0);
    }

    #[tokio::test]
    async fn the_demo_is_a_peer_with_one_pool_of_its_sample_nodes() {
        let node = SampleNode::start_new("web-1").await.unwrap();
        let settings = settings(std::slice::from_ref(&node)).unwrap();
        let pool = &settings.peer.catalog.pools()[0];
        assert_eq!(pool.nodes[0].address.literal(), Some(node.address()));
        assert_eq!(settings.peer.proxy.listeners[0].pool, pool.name);
        assert!(settings.api.listen().ip().is_loopback());
        assert_eq!(settings.log.level, log::Level::Error, "its screen stays readable");
    }
}
