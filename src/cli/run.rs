//! `evenkeel run`: one peer, until a signal.

use tokio::runtime;

use super::args::Run;
use super::outcome::Failure;
use super::signals::Signals;
use crate::config::{self, Environment, Flags, Sources};
use crate::telemetry::log;

pub(super) fn run(args: Run) -> Result<(), Failure> {
    let Run { config, id, region, api_listen, log_level } = args;
    let flags = Flags { id, region, api_listen, log_level };
    let loaded = config::load(Sources { file: config, environment: Environment::of_process(), flags })
        .map_err(|faults| Failure::Settings(faults.to_string()))?;
    log::init(&loaded.settings.log).map_err(|error| Failure::new(error, "this is a fault of Evenkeel's; report it"))?;
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    // The peer has runtimes of its own; this one waits for signals.
    let signals = runtime::Builder::new_current_thread().enable_all().build();
    let signals = signals.map_err(|error| Failure::new(error, "the system is short of memory or descriptors"))?;
    signals.block_on(until_signalled(loaded.settings))
}

async fn until_signalled(settings: config::Settings) -> Result<(), Failure> {
    // Before the start, so that a signal during it is not lost.
    let mut signals = Signals::take()?;
    let running = crate::start(settings).map_err(|error| {
        Failure::new(format_args!("the peer did not start: {error}"), "free the address or change it")
    })?;
    let handles = running.handles();
    for listener in handles.listeners.iter() {
        tracing::info!(listener = %listener.name, address = %listener.address, pool = %listener.pool, "listens");
    }
    tracing::info!(peer = %handles.id, region = %handles.region, api = %running.api_address(), "started");
    signals.next().await;
    tracing::info!("stops: finishes what is under way; another signal ends it at once");
    tokio::select! {
        () = running.stop() => {
            tracing::info!("stopped");
            Ok(())
        }
        () = signals.next() => Err(Failure::new("ended at once, as the second signal asked", "requests under way were cut off")),
    }
}
