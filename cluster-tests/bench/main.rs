//! Evenkeel beside nginx and HAProxy on the same work: CPU time a request, from the kernel's own account.
//!
//! Each proxy has one worker on one core; the load and the nodes have another. A round measures every proxy once, in turning
//! order, so that what the machine does meanwhile hits all alike; ratios are taken within a round and their median is told.

mod contender;
mod machine;
mod measure;
mod table;
mod work;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use cluster_tests::{binary, need, report};

use crate::contender::{Contender, Kind};
use crate::measure::Measured;
use crate::work::{Origin, Work};

/// Proxies run here.
const PROXY_CORE: usize = 0;
/// The load and the nodes run here.
const LOAD_CORE: usize = 1;
/// A run before the first round, which fills caches and connections.
const WARM_UP: Duration = Duration::from_secs(1);

#[derive(Parser)]
#[command(about = "CPU time a request: Evenkeel beside nginx and HAProxy on the same work")]
struct Arguments {
    /// Works, of: http (128 bytes), http-1m (1 MiB), https and https-1m (the same over TLS), http2
    /// and http2-1m (the same over streams of HTTP/2 and TLS), handshake and resume (a
    /// connection of TLS for each request, shaking hands in full or resuming), tcp and tcp-1m (the same through a TCP relay)
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "http,http-1m,https,https-1m,http2,http2-1m,handshake,resume,tcp,tcp-1m"
    )]
    works: Vec<Work>,
    /// Proxies, of: evenkeel, nginx, haproxy
    #[arg(long, value_delimiter = ',', default_value = "evenkeel,nginx,haproxy")]
    only: Vec<Kind>,
    /// Rounds; each measures every proxy once
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// Seconds of one measurement
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=60))]
    seconds: u64,
    /// Client connections, kept
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=4096))]
    connections: u32,
    /// Three rounds of one second: for a first look, not for a record
    #[arg(long)]
    quick: bool,
    /// The evenkeel to measure; left out: a release build of this source
    #[arg(long)]
    binary: Option<PathBuf>,
    /// An evenkeel of another version, measured beside it in every round: what a change costs
    #[arg(long, requires = "binary")]
    before: Option<PathBuf>,
    /// Writes every measurement to this file as JSON
    #[arg(long)]
    json: Option<PathBuf>,
}

/// Everything measured of one work.
struct Outcome {
    work: Work,
    rounds: Vec<Vec<(Kind, Measured)>>,
}

fn main() -> ExitCode {
    let mut arguments = Arguments::parse();
    if arguments.quick {
        (arguments.rounds, arguments.seconds) = (3, 1);
    }
    for program in ["wrk", "taskset", "openssl", "h2load"] {
        if need::find(program).is_none() {
            report::complain(&format!(
                "{program} is not installed; the load needs it (Debian: apt install wrk util-linux openssl nghttp2-client)"
            ));
            return ExitCode::FAILURE;
        }
    }
    if machine::cores() < 2 {
        report::complain("this machine has one core; proxies and load need one each");
        return ExitCode::FAILURE;
    }
    let binary = arguments
        .only
        .contains(&Kind::Evenkeel)
        .then(|| arguments.binary.clone().unwrap_or_else(|| binary::build(binary::Build::Release)));
    let machine = machine::describe(binary.as_deref());
    report::line(&machine::text(&machine));
    let Some(origin) = Origin::start(LOAD_CORE) else { return ExitCode::FAILURE };
    let outcomes: Vec<Outcome> =
        arguments.works.iter().filter_map(|&work| run(work, &arguments, binary.as_deref(), &origin)).collect();
    if let Some(file) = &arguments.json {
        let json = table::json(&machine, &outcomes);
        if let Err(error) = std::fs::write(file, format!("{json:#}\n")) {
            report::complain(&format!("{} cannot be written: {error}", file.display()));
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

/// Measures one work and prints its table; `None` where no proxy can do it.
fn run(work: Work, arguments: &Arguments, binary: Option<&std::path::Path>, origin: &Origin) -> Option<Outcome> {
    let settings = work.settings(origin, PROXY_CORE);
    let client = work.is_over_tls().then(|| origin.client());
    let before = arguments.before.as_deref();
    let kinds = arguments.only.iter().copied().chain(before.map(|_| Kind::Before));
    let contenders: Vec<Contender> = kinds
        .filter_map(|kind| {
            let binary = if kind == Kind::Before { before } else { binary };
            Contender::start(kind, &settings, binary, client.as_ref())
        })
        .collect();
    if contenders.is_empty() {
        return None;
    }
    let load = |contender: &Contender, time| measure::measure(contender, work, arguments.connections, time, LOAD_CORE);
    for contender in &contenders {
        load(contender, WARM_UP);
    }
    let mut rounds = Vec::new();
    for round in 0..arguments.rounds as usize {
        let mut measured: Vec<(Kind, Measured)> = Vec::new();
        for turn in 0..contenders.len() {
            let contender = &contenders[(round + turn) % contenders.len()];
            measured.push((contender.kind, load(contender, Duration::from_secs(arguments.seconds))));
        }
        rounds.push(measured);
    }
    let outcome = Outcome { work, rounds };
    report::line(&table::text(&outcome));
    Some(outcome)
}

/// The name that a value has on the command line.
fn name_of(value: &impl ValueEnum) -> String {
    value.to_possible_value().map_or_else(|| "before".to_owned(), |value| value.get_name().to_owned())
}
