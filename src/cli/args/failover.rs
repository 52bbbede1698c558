//! The words of `evenkeel failover` and `events`.

use clap::{Args, Subcommand, ValueEnum};

use super::Question;

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(in crate::cli) struct Failover {
    #[command(flatten)]
    pub(in crate::cli) question: Question,
    #[command(subcommand)]
    pub(in crate::cli) command: Option<FailoverCommand>,
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum FailoverCommand {
    /// Move a node to another server
    Move(Move),
    /// Hold the traffic of a region away from it
    Trigger(Trigger),
    /// Hold a little of a region's traffic away for a little while, to see whether the others take it
    Drill(Drill),
    /// Give a region its traffic back at once
    Restore(Restore),
    /// Move no node to a server
    Blacklist(Blacklist),
    /// Nodes may be moved to a server again
    Allow(Allow),
    /// Start a node of a pool in a region, or stop one that was started
    Scale(Scale),
    /// Say that an abandoned plan is settled
    Resolve(Resolve),
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Move {
    /// The node
    #[arg(value_name = "NODE")]
    pub(in crate::cli) node: String,
    /// To this server; left out: the best that answers
    #[arg(long, value_name = "SERVER")]
    pub(in crate::cli) to: Option<String>,
    /// When its old work is done
    #[arg(long)]
    pub(in crate::cli) graceful: bool,
    /// At once
    #[arg(long, conflicts_with = "graceful")]
    pub(in crate::cli) immediate: bool,
    /// Also where it was moved too often, or just now
    #[arg(long)]
    pub(in crate::cli) ignore_limits: bool,
    #[command(flatten)]
    pub(in crate::cli) question: Question,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Trigger {
    /// The region
    #[arg(long, value_name = "REGION")]
    pub(in crate::cli) from: String,
    /// Where its traffic goes first; left out: where it would go without the region
    #[arg(long, value_name = "REGION")]
    pub(in crate::cli) to: Option<String>,
    /// How much of it, 1 to 100; left out: all
    #[arg(long, value_name = "PERCENT")]
    pub(in crate::cli) percent: Option<u8>,
    /// How long, such as 30m or 2h; left out: as `[failover] manual` says
    #[arg(long = "for", value_name = "TIME")]
    pub(in crate::cli) duration: Option<String>,
    /// Why, for whoever looks
    #[arg(long, value_name = "TEXT")]
    pub(in crate::cli) reason: Option<String>,
    #[command(flatten)]
    pub(in crate::cli) question: Question,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Drill {
    /// The region
    #[arg(value_name = "REGION")]
    pub(in crate::cli) region: String,
    /// Where its traffic goes first; left out: as its own drill says, else where it would go without the region
    #[arg(long, value_name = "REGION")]
    pub(in crate::cli) to: Option<String>,
    /// How much of it, 1 to 50; left out: as its own drill says, else 10
    #[arg(long, value_name = "PERCENT")]
    pub(in crate::cli) percent: Option<u8>,
    /// How long, 10s to 1h; left out: as its own drill says, else 5m
    #[arg(long = "for", value_name = "TIME")]
    pub(in crate::cli) duration: Option<String>,
    #[command(flatten)]
    pub(in crate::cli) question: Question,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Restore {
    /// The region
    #[arg(value_name = "REGION")]
    pub(in crate::cli) region: String,
    #[command(flatten)]
    pub(in crate::cli) question: Question,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Blacklist {
    /// The server
    #[arg(value_name = "SERVER")]
    pub(in crate::cli) server: String,
    /// How long, such as 24h; left out: until it is allowed again
    #[arg(long = "for", value_name = "TIME")]
    pub(in crate::cli) duration: Option<String>,
    /// Why, for whoever looks
    #[arg(long, value_name = "TEXT")]
    pub(in crate::cli) reason: Option<String>,
    #[command(flatten)]
    pub(in crate::cli) question: Question,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Allow {
    /// The server
    #[arg(value_name = "SERVER")]
    pub(in crate::cli) server: String,
    #[command(flatten)]
    pub(in crate::cli) question: Question,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Scale {
    /// The pool
    #[arg(value_name = "POOL")]
    pub(in crate::cli) pool: String,
    /// The region
    #[arg(value_name = "REGION")]
    pub(in crate::cli) region: String,
    /// One more, or one less
    #[arg(value_name = "DIRECTION")]
    pub(in crate::cli) direction: Direction,
    #[command(flatten)]
    pub(in crate::cli) question: Question,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(in crate::cli) enum Direction {
    Up,
    Down,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Resolve {
    /// The plan: i42
    #[arg(value_name = "PLAN")]
    pub(in crate::cli) intent: String,
    #[command(flatten)]
    pub(in crate::cli) question: Question,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Events {
    /// Only these: plan_begun, plan_step, plan_ended, plan_refused, order_refused, shift_begun, shift_turned, shift_ended,
    /// drill_ended
    #[arg(long)]
    pub(in crate::cli) kind: Option<String>,
    /// Only of this node
    #[arg(long)]
    pub(in crate::cli) node: Option<String>,
    /// Only of this region
    #[arg(long)]
    pub(in crate::cli) region: Option<String>,
    #[command(flatten)]
    pub(in crate::cli) question: Question,
}
