//! The command line, and how it teaches itself.

mod failover;

use std::ffi::OsString;
use std::io::IsTerminal;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use super::client::ApiAddress;
use super::outcome::USAGE;
use crate::config::Flags;

pub(super) use failover::{Direction, Events, Failover, FailoverCommand};

/// What was typed.
#[derive(Debug)]
pub(super) struct Cli {
    pub(super) command: Command,
    /// Whether tables are coloured: only on a terminal, and not where `NO_COLOR` is set (<https://no-color.org>).
    pub(super) colour: bool,
}

/// Reads the command line. What comes back otherwise is to be printed: help, version, or what is wrong.
pub(super) fn parse(args: Vec<OsString>) -> Result<Cli, clap::Error> {
    let Typed { command, no_color } = Typed::try_parse_from(args)?;
    let colour = no_color.is_none_or(|value| value.is_empty()) && std::io::stdout().is_terminal();
    Ok(Cli { command, colour })
}

/// Help and version that were asked for are fine; anything else is wrong usage.
pub(super) fn exit_code(told: &clap::Error) -> u8 {
    if told.use_stderr() { USAGE } else { 0 }
}

/// A load balancer whose instances form one cluster.
#[derive(Debug, Parser)]
#[command(name = "evenkeel", version, arg_required_else_help = true, after_help = EXAMPLES, max_term_width = 120)]
struct Typed {
    #[command(subcommand)]
    command: Command,
    /// No colours, as on a terminal where NO_COLOR is set
    #[arg(long, env = "NO_COLOR", hide_env = true, global = true, num_args = 0, default_missing_value = "1")]
    no_color: Option<OsString>,
}

const EXAMPLES: &str = "\
Examples:
  evenkeel demo                                three peers and three sample nodes, and what to try
  evenkeel check evenkeel.toml                 every fault of a file at once; starts nothing
  evenkeel run --config evenkeel.toml          one peer
  evenkeel status                              how that peer and its cluster are
  evenkeel peers                               who is in the cluster
  evenkeel nodes --pool web                    the nodes of one pool
  evenkeel apply evenkeel.toml                 make the cluster's catalog what the file says
  evenkeel explain http://shop.example/cart    what would become of a request, and why
  evenkeel drain web-1 --timeout 30s           take a node out of service
  evenkeel nodes --json | jq '.items[].id'     the same for programs

Exit codes: 0 fine, 1 failed, 64 wrong usage or settings.";

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Run one peer until SIGTERM or Ctrl-C
    Run(Run),
    /// Check a settings file: every fault at once, with line and key
    Check(Check),
    /// How a running peer is: listeners, pools, its own parts
    Status(Ask),
    /// The pools of a running peer
    Pools(Ask),
    /// The nodes of a running peer
    Nodes(Ask),
    /// The peers of a running peer's cluster: who lives, who was refused and why
    Peers(Question),
    /// What would become of a request, and why: routes, regions, nodes and what is held against them
    Explain(Explain),
    /// Who leads, who votes, and what a cluster without a leader waits for
    Leader(Question),
    /// Who votes: the list, or one more or less
    Electors(Electors),
    /// Make the catalog what a file says: the difference first, then yes or no
    Apply(Apply),
    /// The catalog that the cluster agreed on: shown, compared, its history, back to an earlier revision
    Catalog(Catalog),
    /// Give a node no new work, and wait until its old work is done at every peer
    Drain(Drain),
    /// Give a drained node work again
    Undrain(Undrain),
    /// Nodes moved to other servers, regions shifted, pools scaled: how that stands, and by hand
    Failover(Failover),
    /// What happened in the cluster lately
    Events(Events),
    /// A new cluster key, which makes peers one cluster
    Keygen(Keygen),
    /// Three peers and three sample nodes in this process, to try things out
    Demo(Demo),
}

#[derive(Debug, Args)]
#[command(after_help = RUN_HELP)]
pub(super) struct Run {
    /// The settings file
    #[arg(long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    #[command(flatten)]
    pub(super) over_file: OverFile,
}

/// What stands over the settings file.
#[derive(Clone, Debug, Default, Args)]
pub(super) struct OverFile {
    /// The peer's name, unique in the cluster; over peer.id of the file
    #[arg(long)]
    pub(super) id: Option<String>,
    /// Where the peer is; over peer.region of the file
    #[arg(long)]
    pub(super) region: Option<String>,
    /// Where the API listens, such as 127.0.0.1:8080; over api.listen of the file
    #[arg(long, value_name = "ADDRESS")]
    pub(super) api_listen: Option<String>,
    /// trace, debug, info, warn or error; over log.level of the file
    #[arg(long, value_name = "LEVEL")]
    pub(super) log_level: Option<String>,
    /// The UDP address at which other peers reach this one; over cluster.listen of the file
    #[arg(long, value_name = "ADDRESS")]
    pub(super) cluster_listen: Option<String>,
    /// Whom it asks first, with commas: 10.0.0.1:7940,10.0.0.2:7940; over cluster.seeds of the file
    #[arg(long, value_name = "ADDRESSES")]
    pub(super) seeds: Option<String>,
    /// The file with the cluster key; over cluster.key_file of the file
    #[arg(long, value_name = "FILE")]
    pub(super) key_file: Option<String>,
}

impl From<OverFile> for Flags {
    fn from(over: OverFile) -> Self {
        let OverFile { id, region, api_listen, log_level, cluster_listen, seeds, key_file } = over;
        Self { id, region, api_listen, log_level, cluster_listen, seeds, key_file }
    }
}

const RUN_HELP: &str = "\
A flag beats the environment (EVENKEEL_ + section + key), which beats the file.
The first SIGTERM or Ctrl-C drains and exits with 0; another one, a second later or more, ends at once with 1.
SIGHUP reads the settings again and takes new cluster keys, and the catalog part where the catalog follows the file;
the log says what else takes a restart.

Examples:
  evenkeel run --config evenkeel.toml
  evenkeel run --config evenkeel.toml --id ams-1 --region eu-west --key-file cluster.key \\
    --cluster-listen 10.0.0.1:7940 --seeds 10.0.0.1:7940,10.0.0.2:7940,10.0.0.3:7940
  REGIONAL_ENDPOINTS=us:https://us.example.com,eu:https://eu.example.com evenkeel run";

#[derive(Debug, Args)]
#[command(after_help = CHECK_HELP)]
pub(super) struct Check {
    /// The settings file
    #[arg(value_name = "FILE")]
    pub(super) file: PathBuf,
    /// Every setting with its value and where that comes from; of a node only what is set
    #[arg(long)]
    pub(super) values: bool,
    /// For programs: one JSON object
    #[arg(long)]
    pub(super) json: bool,
    #[command(flatten)]
    pub(super) over_file: OverFile,
}

const CHECK_HELP: &str = "\
The environment and the flags count, as for `evenkeel run`.

With --json always one object, whatever was found:
  ok          true where a peer would start with these settings
  file        as it was named
  faults      what is wrong: origin, key, found, wrong, allowed, hint
  unlisted    how many more faults there are
  shape_only  true where the shape of the file is broken, so that only that was checked
  warnings    what is probably not meant: origin, key, message
  values      with --values, where nothing is wrong: key, value, origin; else null";

/// What to ask of a running peer.
#[derive(Debug, Args)]
pub(super) struct Question {
    /// The peer's API: host:port or http://host:port
    #[arg(long, env = "EVENKEEL_API", value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    pub(super) api: ApiAddress,
    /// For programs: what the API said
    #[arg(long)]
    pub(super) json: bool,
}

/// What to ask of a running peer about its pools.
#[derive(Debug, Args)]
pub(super) struct Ask {
    #[command(flatten)]
    pub(super) question: Question,
    /// Only this pool
    #[arg(long)]
    pub(super) pool: Option<String>,
}

/// A request that is asked about.
#[derive(Debug, Args)]
#[command(after_help = EXPLAIN_HELP)]
pub(super) struct Explain {
    #[command(flatten)]
    pub(super) question: Question,
    /// Its URL; left out: a connection to a listener that is not HTTP
    #[arg(value_name = "URL", required_unless_present = "listener")]
    pub(super) url: Option<String>,
    /// Who sends it; default: 127.0.0.1
    #[arg(long, value_name = "ADDRESS")]
    pub(super) from: Option<String>,
    /// Its method; default: GET
    #[arg(long, requires = "url")]
    pub(super) method: Option<String>,
    /// A field of its head; may be given several times
    #[arg(long, value_name = "NAME:VALUE", requires = "url")]
    pub(super) header: Vec<String>,
    /// Where it comes in; default: the first listener of HTTP
    #[arg(long, value_name = "NAME")]
    pub(super) listener: Option<String>,
}

const EXPLAIN_HELP: &str = "\
It is decided by the code that decides about real requests, at the peer that is asked; nothing is sent. Where chance or turns
decide, it is one of the answers that could be.

Examples:
  evenkeel explain http://shop.example/cart --from 203.0.113.7
  evenkeel explain http://shop.example/ --header 'Cookie: beta=1' --method POST
  evenkeel explain --listener mqtt --from 203.0.113.7";

#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "\
An elector that is dead for good is removed while a majority of the others is left, and then another is added. `forget` is for
where no majority is left: it is said at every peer that is left, and what only the gone ones knew is lost."
)]
pub(super) struct Electors {
    #[command(flatten)]
    pub(super) question: Question,
    #[command(subcommand)]
    pub(super) command: Option<ElectorsCommand>,
}

#[derive(Debug, Subcommand)]
pub(super) enum ElectorsCommand {
    /// One more, which has to be here
    Add(Elector),
    /// One less, by the majority of the rest
    Remove(Elector),
    /// One less where no majority is left, at the peer that is asked and nowhere else
    Forget(Forget),
}

#[derive(Debug, Args)]
pub(super) struct Forget {
    /// The peer's id
    #[arg(value_name = "PEER")]
    pub(super) peer: String,
    /// Do not ask
    #[arg(long)]
    pub(super) yes: bool,
    #[command(flatten)]
    pub(super) question: Question,
}

#[derive(Debug, Args)]
pub(super) struct Elector {
    /// The peer's id
    #[arg(value_name = "PEER")]
    pub(super) peer: String,
    #[command(flatten)]
    pub(super) question: Question,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Of the file only [[pool]], [[region]], [[server]] and [[route]] count. What operators did since (drains) stays.
What is applied is what was shown: if somebody changes the catalog in between, nothing is done.")]
pub(super) struct Apply {
    /// The settings file, or one with its catalog part alone
    #[arg(value_name = "FILE")]
    pub(super) file: PathBuf,
    /// Do not ask
    #[arg(long)]
    pub(super) yes: bool,
    /// Show the difference and change nothing
    #[arg(long, conflicts_with = "yes")]
    pub(super) dry_run: bool,
    #[command(flatten)]
    pub(super) question: Question,
}

#[derive(Debug, Args)]
pub(super) struct Catalog {
    #[command(subcommand)]
    pub(super) command: CatalogCommand,
}

#[derive(Debug, Subcommand)]
pub(super) enum CatalogCommand {
    /// What users want, as JSON
    Show(Question),
    /// What `apply` would change
    Diff(Diff),
    /// Who changed what, when and through which peer: the last 20 changes
    History(History),
    /// Make what users want what it was in an earlier revision
    Rollback(Rollback),
}

#[derive(Debug, Args)]
pub(super) struct Diff {
    /// The settings file, or one with its catalog part alone
    #[arg(value_name = "FILE")]
    pub(super) file: PathBuf,
    #[command(flatten)]
    pub(super) question: Question,
}

#[derive(Debug, Args)]
pub(super) struct History {
    /// One of them, with what it changed
    #[arg(value_name = "REVISION")]
    pub(super) revision: Option<u64>,
    #[command(flatten)]
    pub(super) question: Question,
}

#[derive(Debug, Args)]
pub(super) struct Rollback {
    /// A revision of `evenkeel catalog history`
    #[arg(value_name = "REVISION")]
    pub(super) revision: u64,
    /// Show the difference and stop
    #[arg(long)]
    pub(super) dry_run: bool,
    /// Do not ask
    #[arg(long)]
    pub(super) yes: bool,
    #[command(flatten)]
    pub(super) question: Question,
}

#[derive(Debug, Args)]
pub(super) struct Drain {
    /// The node
    #[arg(value_name = "NODE")]
    pub(super) node: String,
    /// How long the old work may take, such as 30s; then what is left is cut. Left out: as long as it takes
    #[arg(long, value_name = "TIME")]
    pub(super) timeout: Option<String>,
    /// Do not wait until nothing is left
    #[arg(long)]
    pub(super) no_wait: bool,
    #[command(flatten)]
    pub(super) question: Question,
}

#[derive(Debug, Args)]
pub(super) struct Undrain {
    /// The node
    #[arg(value_name = "NODE")]
    pub(super) node: String,
    #[command(flatten)]
    pub(super) question: Question,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Whoever has the key is trusted as the cluster is: give it to peers only, by a safe way.
To change it, in three steps, each at every peer before the next: add the new key as the last line of the file;
make it the first; remove the old one. After each step: systemctl reload evenkeel (SIGHUP).")]
pub(super) struct Keygen {
    /// Where to write it, readable by its owner alone; left out: standard output
    #[arg(value_name = "FILE")]
    pub(super) file: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Listens on 127.0.0.1:8000 to 8002 for traffic and on 127.0.0.1:8080 to 8082 for the APIs, or on free ports where these are
taken. On a terminal the keys 1, 2 and 3 stop and start a node, a, b and c end and start a peer, and q quits.")]
pub(super) struct Demo {
    /// Read no keys, for scripts; ends with SIGTERM or Ctrl-C
    #[arg(long)]
    pub(super) no_input: bool,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::config::{self, Sources};

    fn typed(line: &str) -> Result<Command, clap::Error> {
        Typed::try_parse_from(line.split_whitespace()).map(|typed| typed.command)
    }

    #[test]
    fn the_command_line_is_consistent() {
        Typed::command().debug_assert();
    }

    #[test]
    fn flags_of_run_are_read() {
        let Ok(Command::Run(run)) =
            typed("evenkeel run --config a.toml --id ams-1 --api-listen 127.0.0.1:1 --log-level debug")
        else {
            panic!("not read")
        };
        assert_eq!(run.config, Some(PathBuf::from("a.toml")));
        let over = run.over_file;
        assert_eq!(over.id.as_deref(), Some("ams-1"));
        assert_eq!(over.region, None);
        assert_eq!(over.api_listen.as_deref(), Some("127.0.0.1:1"));
        assert_eq!(over.log_level.as_deref(), Some("debug"));
    }

    #[test]
    fn the_example_of_regional_endpoints_is_one_that_a_peer_takes() {
        let example = RUN_HELP.lines().find_map(|line| line.trim().strip_prefix("REGIONAL_ENDPOINTS=")).unwrap();
        let value = example.strip_suffix(" evenkeel run").unwrap();
        let environment = [("REGIONAL_ENDPOINTS", value)].into_iter().collect();
        let loaded = config::load(&Sources { environment, ..Sources::default() }).unwrap();
        let nodes = loaded.settings.peer.catalog.nodes().map(|(_, node)| node.address.to_string()).collect::<Vec<_>>();
        assert_eq!(nodes, ["https://us.example.com:443", "https://eu.example.com:443"]);
    }

    #[test]
    fn questions_take_an_api_a_pool_and_json() {
        let Ok(Command::Nodes(ask)) = typed("evenkeel nodes --json --api http://localhost:9090/ --pool web") else {
            panic!("not read")
        };
        assert!(ask.question.json);
        assert_eq!(ask.question.api, "localhost:9090".parse().unwrap());
        assert_eq!(ask.pool.as_deref(), Some("web"));
    }

    #[test]
    fn wrong_usage_ends_with_64_and_help_and_version_with_0() {
        let code = |line: &str| {
            parse(line.split_whitespace().map(OsString::from).collect()).err().map(|told| exit_code(&told))
        };
        for wrong in
            ["evenkeel", "evenkeel fly", "evenkeel check", "evenkeel run --confg x", "evenkeel nodes --api ftp://x"]
        {
            assert_eq!(code(wrong), Some(64), "{wrong}");
        }
        for fine in ["evenkeel --help", "evenkeel --version", "evenkeel run --help", "evenkeel help demo"] {
            assert_eq!(code(fine), Some(0), "{fine}");
        }
        assert_eq!(code("evenkeel demo --no-input"), None);
    }
}
