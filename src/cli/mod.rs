//! What a user types, and what is said back: words to standard output, faults to standard error, and an exit code.

mod args;
mod ask;
mod change;
mod check;
mod client;
mod demo;
mod elect;
mod explain;
mod failover;
mod keygen;
mod outcome;
mod reload;
mod run;
mod signals;
mod table;
mod watch;

use std::ffi::OsString;
use std::process::ExitCode;

use args::Command;

/// Does what `args` (the program's own name first) say. The exit code is 0 when all is fine, 1 when something failed, and
/// 64 when usage or settings are wrong.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args: Vec<OsString> = args.into_iter().collect();
    let program = args.first().map_or("evenkeel".into(), |program| program.to_string_lossy().into_owned());
    let cli = match args::parse(args) {
        Ok(cli) => cli,
        Err(told) => {
            // A pipe that is closed already cannot be told.
            let _ = told.print();
            return ExitCode::from(args::exit_code(&told));
        }
    };
    let done = match cli.command {
        Command::Run(run) => run::run(run),
        Command::Check(check) => check::check(&check, cli.colour),
        Command::Status(ask) => ask::status(&ask, cli.colour),
        Command::Pools(ask) => ask::pools(&ask, cli.colour),
        Command::Nodes(ask) => ask::nodes(&ask, cli.colour),
        Command::Peers(question) => ask::peers(&question, cli.colour),
        Command::Explain(asked) => explain::explain(&asked, cli.colour),
        Command::Leader(question) => elect::leader(&question, cli.colour),
        Command::Electors(electors) => elect::electors(&electors, cli.colour),
        Command::Apply(apply) => change::apply(&apply),
        Command::Catalog(catalog) => change::catalog(&catalog, cli.colour),
        Command::Drain(drain) => change::drain(&drain),
        Command::Undrain(undrain) => change::undrain(&undrain),
        Command::Failover(asked) => failover::failover(&asked, cli.colour),
        Command::Events(events) => failover::events(&events, cli.colour),
        Command::Keygen(keygen) => keygen::keygen(&keygen),
        Command::Demo(demo) => demo::demo(&demo, &program),
    };
    outcome::exit(done)
}
