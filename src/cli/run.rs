//! `evenkeel run`: one peer, until a signal.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::PathBuf;

use tokio::runtime;

use super::args::Run;
use super::outcome::Failure;
use super::reload::Reload;
use super::signals::{Hangups, Signals};
use crate::Running;
use crate::config::{self, Sources};
use crate::host;
use crate::peer::Handles;
use crate::telemetry::log;

pub(super) fn run(args: Run) -> Result<(), Failure> {
    let sources = Sources::of_process(args.config, args.over_file.into());
    let loaded = config::load(&sources).map_err(|refused| Failure::Settings(refused.to_string()))?;
    log::init(&loaded.settings.log).map_err(|error| Failure::new(error, "this is a fault of Evenkeel's; report it"))?;
    let descriptors_max = host::raise_descriptor_limit();
    let proxy = &loaded.settings.peer.proxy;
    let of_listeners: u64 = proxy.listeners.iter().map(|listener| u64::from(listener.connections_max)).sum();
    let connections_max = proxy.connections_max.map_or(of_listeners, |max| of_listeners.min(max.get().into()));
    // Each client connection may take one more towards a node.
    if let Some(max) = descriptors_max.filter(|&max| max < 2 * connections_max) {
        tracing::warn!(
            descriptors_max = max,
            connections_max,
            "the limit of open files is below twice the connections that listeners take; raise LimitNOFILE or ulimit -n"
        );
    }
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    // The peer has runtimes of its own; this one waits for signals.
    let signals = runtime::Builder::new_current_thread().enable_all().build();
    let signals = signals.map_err(|error| Failure::new(error, "the system is short of memory or descriptors"))?;
    signals.block_on(until_signalled(sources, loaded.settings, loaded.files))
}

async fn until_signalled(
    sources: Sources,
    settings: config::Settings,
    files: BTreeSet<PathBuf>,
) -> Result<(), Failure> {
    // Before the start, so that a signal during it is not lost.
    let mut signals = Signals::take()?;
    let mut hangups = Hangups::take()?;
    let mut reload = Reload::new(sources, settings.clone(), &files);
    let running = crate::start(settings)
        .await
        .map_err(|error| Failure::new(format_args!("the peer did not start: {error}"), "nothing of it runs now"))?;
    let handles = running.handles();
    say(&addresses(handles, running.api_address()));
    tracing::info!(peer = %handles.id, region = %handles.region, "started");
    let mut is_settled = false;
    loop {
        tokio::select! {
            () = handles.readiness.settled(), if !is_settled => {
                is_settled = true;
                say("ready\n");
            }
            () = hangups.next() => reload.reload(&running),
            () = reload.files_changed() => reload.reload(&running),
            () = signals.next() => break,
        }
    }
    end(running, signals).await
}

/// Where this peer listens, a line an address, for people and for scripts that chose port 0.
fn addresses(handles: &Handles, api: SocketAddr) -> String {
    let listeners = handles.listeners.now();
    let lines = listeners.iter().map(|of| format!("listening {} {}://{}\n", of.name, of.protocol, of.address));
    lines.chain([format!("api http://{api}\n")]).collect()
}

/// Says it on standard output. Whoever reads that may have read enough (`| head -1`), and clients are served all the same.
fn say(text: &str) {
    let mut out = io::stdout().lock();
    if let Err(error) = out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        tracing::warn!(%error, "standard output cannot be written; the peer goes on, and its API says what was to be said");
    }
}

async fn end(running: Running, mut signals: Signals) -> Result<(), Failure> {
    tracing::info!("stops: finishes what is under way; another signal, a second from now or later, ends it at once");
    tokio::select! {
        finished = running.stop() => {
            if finished {
                tracing::info!("stopped");
            } else {
                tracing::warn!("stopped; what was still under way after the drain was cut");
            }
            Ok(())
        }
        () = signals.again() => Err(Failure::new("ended at once, as the second signal asked", "requests under way were cut off")),
    }
}
