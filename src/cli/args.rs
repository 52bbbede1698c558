//! The command line, and how it teaches itself.

use std::ffi::OsString;
use std::io::IsTerminal;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use super::client::ApiAddress;
use super::outcome::USAGE;
use crate::config::Flags;

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
  evenkeel demo                                one peer and three sample nodes, and what to try
  evenkeel check evenkeel.toml                 every fault of a file at once; starts nothing
  evenkeel run --config evenkeel.toml          one peer
  evenkeel status                              how that peer is
  evenkeel nodes --pool web                    the nodes of one pool
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
    /// One peer and three sample nodes in this process, to try things out
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
}

impl From<OverFile> for Flags {
    fn from(OverFile { id, region, api_listen, log_level }: OverFile) -> Self {
        Self { id, region, api_listen, log_level }
    }
}

const RUN_HELP: &str = "\
A flag beats the environment (EVENKEEL_ + section + key), which beats the file.
The first SIGTERM or Ctrl-C drains and exits with 0; a second one ends at once with 1.

Examples:
  evenkeel run --config evenkeel.toml
  evenkeel run --config evenkeel.toml --id ams-1 --region eu-west
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
pub(super) struct Ask {
    /// The peer's API: host:port or http://host:port
    #[arg(long, env = "EVENKEEL_API", value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    pub(super) api: ApiAddress,
    /// Only this pool
    #[arg(long)]
    pub(super) pool: Option<String>,
    /// For programs: what the API said
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Listens on 127.0.0.1:8000 for traffic and on 127.0.0.1:8080 for the API, or on free ports where these are taken.
On a terminal the keys 1, 2 and 3 stop and start a node, and q quits.")]
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
        assert!(ask.json);
        assert_eq!(ask.api, "localhost:9090".parse().unwrap());
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
