//! Something that happened, as it is told and kept.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::drill::{DrillOutcome, DrillTold};
use super::id::{NodeId, PeerId, PoolName, RegionName, ServerId};
use super::intent::IntentId;
use super::plan::{Candidate, Plan, PlanOutcome, Step, StepTaken};

/// Why a region is shifted.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ShiftKind {
    /// It was lost: traffic comes back when it has been well for a while.
    Lost,
    /// An operator wants it: traffic comes back when the time is over or they say so.
    Operator,
    /// A drill: a little of it, for a little while.
    Drill,
    /// One of a later version; this one leaves it alone.
    #[serde(other)]
    Unknown,
}

impl ShiftKind {
    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Lost => "lost",
            Self::Operator => "operator",
            Self::Drill => "drill",
            Self::Unknown => "unknown",
        }
    }
}

/// Something that happened.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Event {
    /// What several peers tell of one thing has one id.
    pub id: String,
    /// When, in milliseconds since 1970, as the clock of the peer had it that it happened at.
    pub at_ms: u64,
    /// The peer that tells it.
    pub peer: PeerId,
    /// What.
    #[serde(flatten)]
    pub happened: Happened,
}

/// What happened.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Happened {
    /// A plan is carried out from now on.
    PlanBegun(PlanTold),
    /// It goes on.
    PlanStep {
        /// Which.
        intent: IntentId,
        /// Of which node.
        node: NodeId,
        /// Where the node is.
        region: RegionName,
        /// Where it is now.
        step: Step,
        /// What went wrong.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        failure: Option<String>,
        /// The term of the leader.
        term: u64,
    },
    /// It is over.
    PlanEnded {
        /// All of it.
        #[serde(flatten)]
        plan: PlanTold,
        /// How it ended.
        outcome: PlanOutcome,
        /// What went wrong.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        failure: Option<String>,
        /// When each step began, and in whose term.
        steps: Vec<StepTaken>,
        /// How long it took, in milliseconds by the clocks of those who led.
        took_ms: u64,
    },
    /// There was a reason for a plan, and something was against it.
    PlanRefused {
        /// What would have been done.
        plan: Plan,
        /// With which node; of one that would have been started none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        node: Option<NodeId>,
        /// Its pool.
        pool: PoolName,
        /// Where.
        region: RegionName,
        /// Why it would have been done.
        trigger: String,
        /// What was seen.
        evidence: String,
        /// Who asked for it; empty: nobody.
        by: String,
        /// What is against it: `moves_per_hour`, `cooldown`, `candidates`.
        constraint: String,
        /// In words.
        reason: String,
        /// The servers that were looked at, and what was found.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        candidates: Vec<Candidate>,
        /// The term of the leader.
        term: u64,
    },
    /// An executor refused what a leader of an earlier term asked, or what belongs to an earlier plan.
    OrderRefused {
        /// Of which node.
        node: NodeId,
        /// Which plan.
        intent: IntentId,
        /// The term of whoever asked.
        term: u64,
        /// The highest that the executor knows.
        highest: u64,
    },
    /// A region's traffic is held away from it.
    ShiftBegun(ShiftTold),
    /// More of it stays, or less again.
    ShiftTurned(ShiftTold),
    /// It is over.
    ShiftEnded(ShiftTold),
    /// A drill is over, or was not begun when it was due.
    DrillEnded(DrillTold),
}

/// A plan, as it is told.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct PlanTold {
    /// Which.
    pub intent: IntentId,
    /// What it does.
    pub plan: Plan,
    /// With which node.
    pub node: NodeId,
    /// Its pool.
    pub pool: PoolName,
    /// Where.
    pub region: RegionName,
    /// Why.
    pub trigger: String,
    /// What was seen.
    pub evidence: String,
    /// Who asked for it; empty: nobody.
    pub by: String,
    /// What the node stood on.
    pub from: Option<ServerId>,
    /// What it is to stand on.
    pub to: Option<ServerId>,
    /// The peer that carries it out; `None`: the catalog alone.
    pub executor: Option<PeerId>,
    /// The servers that were looked at, and what was found.
    pub candidates: Vec<Candidate>,
    /// The term of the leader that planned it.
    pub term: u64,
}

/// A region's shift, as it is told.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct ShiftTold {
    /// The region.
    pub region: RegionName,
    /// Why there is a shift.
    pub shift: ShiftKind,
    /// The revision that it began with.
    pub begun: u64,
    /// Where the traffic goes first.
    pub to: Option<RegionName>,
    /// What stays, in percent.
    pub stays_percent: u8,
    /// How often it was taken back.
    pub taken_back: u32,
    /// Who asked for it; empty: nobody.
    pub by: String,
    /// Why, in words.
    pub why: String,
}

impl Happened {
    /// The words for all that may happen.
    pub const KINDS: [&str; 9] = [
        "plan_begun",
        "plan_step",
        "plan_ended",
        "plan_refused",
        "order_refused",
        "shift_begun",
        "shift_turned",
        "shift_ended",
        "drill_ended",
    ];

    /// The word for it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::PlanBegun(_) => "plan_begun",
            Self::PlanStep { .. } => "plan_step",
            Self::PlanEnded { .. } => "plan_ended",
            Self::PlanRefused { .. } => "plan_refused",
            Self::OrderRefused { .. } => "order_refused",
            Self::ShiftBegun(_) => "shift_begun",
            Self::ShiftTurned(_) => "shift_turned",
            Self::ShiftEnded(_) => "shift_ended",
            Self::DrillEnded(_) => "drill_ended",
        }
    }

    /// Whether somebody may have to do something about it.
    pub fn is_trouble(&self) -> bool {
        match self {
            Self::PlanEnded { outcome, .. } => *outcome != PlanOutcome::Done,
            Self::PlanStep { step, .. } => matches!(step, Step::Undo | Step::Abandoned),
            Self::PlanRefused { .. } | Self::OrderRefused { .. } => true,
            Self::ShiftBegun(shift) => shift.shift == ShiftKind::Lost,
            Self::ShiftTurned(shift) => shift.stays_percent == 0,
            Self::DrillEnded(drill) => matches!(drill.outcome, DrillOutcome::Stopped | DrillOutcome::Skipped),
            Self::PlanBegun(_) | Self::ShiftEnded(_) => false,
        }
    }

    /// The node that it is about.
    pub fn node(&self) -> Option<&NodeId> {
        match self {
            Self::PlanBegun(plan) | Self::PlanEnded { plan, .. } => Some(&plan.node),
            Self::PlanStep { node, .. } | Self::OrderRefused { node, .. } => Some(node),
            Self::PlanRefused { node, .. } => node.as_ref(),
            Self::ShiftBegun(_) | Self::ShiftTurned(_) | Self::ShiftEnded(_) | Self::DrillEnded(_) => None,
        }
    }

    /// The region that it is about.
    pub fn region(&self) -> Option<&RegionName> {
        match self {
            Self::PlanBegun(plan) | Self::PlanEnded { plan, .. } => Some(&plan.region),
            Self::PlanStep { region, .. } | Self::PlanRefused { region, .. } => Some(region),
            Self::OrderRefused { .. } => None,
            Self::ShiftBegun(shift) | Self::ShiftTurned(shift) | Self::ShiftEnded(shift) => Some(&shift.region),
            Self::DrillEnded(drill) => Some(&drill.region),
        }
    }
}

impl fmt::Display for Happened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let because = |why: Option<&str>| match why {
            Some(why) if !why.is_empty() => format!(": {why}"),
            _ => String::new(),
        };
        match self {
            Self::PlanBegun(plan) => {
                let to = plan.to.as_ref().map(|to| format!(" to server {to}")).unwrap_or_default();
                let PlanTold { intent, plan: what, node, trigger, evidence, .. } = plan;
                write!(f, "plan {intent}: {} of node {node}{to}, {trigger}{}", what.name(), because(Some(evidence)))
            }
            Self::PlanStep { intent, node, step, failure, .. } => {
                write!(f, "plan {intent} of node {node} is at {}{}", step.name(), because(failure.as_deref()))
            }
            Self::PlanEnded { plan: PlanTold { intent, plan, node, .. }, outcome, failure, .. } => {
                let (plan, outcome) = (plan.name(), outcome.name());
                write!(f, "plan {intent}: {plan} of node {node} is over, {outcome}{}", because(failure.as_deref()))
            }
            Self::PlanRefused { plan, node, pool, constraint, reason, .. } => {
                let of = node.as_ref().map_or_else(|| format!("in pool {pool}"), |node| format!("of node {node}"));
                write!(f, "no {} {of}, {constraint}{}", plan.name(), because(Some(reason)))
            }
            Self::OrderRefused { node, intent, term, highest } => {
                write!(f, "an order for plan {intent} of node {node} came in term {term}, and {highest} is known here")
            }
            Self::ShiftBegun(ShiftTold { region, shift, stays_percent, why, .. }) => {
                let (kind, why) = (shift.name(), because(Some(why)));
                write!(f, "traffic of region {region} is held away from it, {stays_percent} % stay ({kind}){why}")
            }
            Self::ShiftTurned(ShiftTold { region, stays_percent: 0, why, .. }) => {
                write!(f, "traffic of region {region} is taken back again{}", because(Some(why)))
            }
            Self::ShiftTurned(ShiftTold { region, stays_percent, .. }) => {
                write!(f, "traffic comes back to region {region}, {stays_percent} % stay")
            }
            Self::ShiftEnded(ShiftTold { region, .. }) => write!(f, "region {region} has its traffic"),
            Self::DrillEnded(DrillTold { region, outcome, why, .. }) => {
                write!(f, "a drill of region {region}: {}{}", outcome.name(), because(Some(why)))
            }
        }
    }
}
