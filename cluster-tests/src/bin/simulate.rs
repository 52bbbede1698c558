//! Simulates a cluster from a seed: `simulate --seed 0x51 --peers 5 --nodes 20 --minutes 5 --scenario weather`.
//!
//! It prints a line an event, virtual milliseconds first, then figures and the number of the trace: the same seed gives the
//! same lines. Where something does not hold it says what, and how to see it again, and ends with 1.

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use cluster_tests::report;
use cluster_tests::simulation::scenario::{Plan, Scenario, simulate};
use cluster_tests::simulation::system;
use cluster_tests::simulation::trace::Trace;
use evenkeel::telemetry::log;

#[derive(Parser)]
#[command(about = "Simulates a cluster from a seed")]
struct Arguments {
    /// Decides everything; decimal, or hexadecimal after 0x.
    #[arg(long, default_value = "0x51", value_parser = seed)]
    seed: u64,
    /// How many peers; at least 2.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(2..=120))]
    peers: u16,
    /// How many nodes.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    nodes: u16,
    /// Virtual minutes.
    #[arg(long, default_value_t = 5.0)]
    minutes: f64,
    /// What is done to the cluster.
    #[arg(long, value_enum, default_value_t = Scenario::Weather)]
    scenario: Scenario,
    /// Prints figures only.
    #[arg(long)]
    quiet: bool,
    /// Prints the peers' own log, of all of them together, on standard error.
    #[arg(long)]
    log: bool,
}

fn seed(text: &str) -> Result<u64, std::num::ParseIntError> {
    text.strip_prefix("0x").map_or_else(|| text.parse(), |digits| u64::from_str_radix(digits, 16))
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if !system::is_fixed() {
        return match system::run_again_fixed(arguments.seed) {
            Ok(status) if status.success() => ExitCode::SUCCESS,
            Ok(_) => ExitCode::FAILURE,
            Err(error) => {
                report::complain(&format!("the simulation does not start: {error}"));
                ExitCode::FAILURE
            }
        };
    }
    if arguments.log {
        let settings = log::Settings { level: log::Level::Debug, ..log::Settings::default() };
        log::init(&settings).expect("nobody else sets up a log here");
    }
    let plan = Plan {
        seed: arguments.seed,
        peers: usize::from(arguments.peers),
        nodes: usize::from(arguments.nodes),
        lasts: Duration::from_secs_f64(arguments.minutes * 60.0),
        scenario: arguments.scenario,
    };
    match simulate(&plan, &mut Trace::new(arguments.quiet)) {
        Ok(number) => {
            report::line(&format!("trace {number:#018x}"));
            ExitCode::SUCCESS
        }
        Err(violation) => {
            let Arguments { seed, peers, nodes, minutes, .. } = arguments;
            let scenario = format!("{:?}", arguments.scenario).to_lowercase();
            report::complain(&format!("violated: {}", violation.0));
            report::complain(&format!(
                "replay: cargo run -p cluster-tests --bin simulate -- \
                 --seed {seed:#x} --peers {peers} --nodes {nodes} --minutes {minutes} --scenario {scenario}"
            ));
            ExitCode::FAILURE
        }
    }
}
