//! Plans that are carried out, and what became of those before: what a new leader has to know to go on where the last one stopped.
//!
//! A plan is committed before anything is done for it, and each of its steps before the next one begins. So whoever leads next finds
//! every plan at a step of which it is known what was done before it, and asks the executor what was done in it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::super::json::Object;
use super::super::write::{Write, WriteRefused};
use super::{Managed, Moved, Started};
use crate::model::limits::{ATTEMPTS_MAX, CANDIDATES_TOLD_MAX, INTENTS_MAX, MOVES_KEPT_MAX};
use crate::model::{
    Admin, Candidate, Catalog, DriverName, IntentId, Mode, Node, NodeId, PeerId, Plan, PlanOutcome, PoolName,
    RegionName, Revision, Run, Server, ServerId, Step, StepTaken,
};

/// The committed record of a plan.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Intent {
    /// What is done.
    pub plan: Plan,
    /// With which node.
    pub node: NodeId,
    /// Its pool.
    pub pool: PoolName,
    /// Where it is.
    pub region: RegionName,
    /// By which driver; `None`: by the catalog alone.
    #[serde(default)]
    pub driver: Option<DriverName>,
    /// At which peer.
    #[serde(default)]
    pub executor: Option<PeerId>,
    /// How the node leaves what it stands on.
    #[serde(default)]
    pub mode: Mode,
    /// What it stands on.
    #[serde(default)]
    pub from: Option<ServerId>,
    /// Where requests are sent to it before; of one that is started nowhere.
    #[serde(default)]
    pub from_address: Option<String>,
    /// What it is to stand on.
    #[serde(default)]
    pub to: Option<ServerId>,
    /// That server, as it was when the plan was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_server: Option<ServerThen>,
    /// The one that it is to stand on, as it was then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to_server: Option<ServerThen>,
    /// What users had written of the node's server and address when the plan was made.
    #[serde(default)]
    pub written: Option<Written>,
    /// How far it is.
    pub step: Step,
    /// Where requests are sent to it after, once that is known.
    #[serde(default)]
    pub address: Option<String>,
    /// How long its old work may take.
    #[serde(default)]
    pub drain_timeout_ms: u64,
    /// How long it may take to be up.
    #[serde(default)]
    pub verify_timeout_ms: u64,
    /// Why: `verdict_down`, `forced`.
    pub trigger: String,
    /// What was seen, in words.
    #[serde(default)]
    pub evidence: String,
    /// Who asked for it; empty: the cluster by itself.
    #[serde(default)]
    pub by: String,
    /// The servers that were looked at, the best first, and what was found.
    #[serde(default)]
    pub candidates: Vec<Candidate>,
    /// Every step with its time and the term of whoever led.
    #[serde(default)]
    pub steps: Vec<StepTaken>,
    /// What went wrong.
    #[serde(default)]
    pub failure: Option<String>,
    /// What this version does not know.
    #[serde(flatten)]
    pub other: Object,
}

/// A server as it was when a plan was made: users may delete it before the plan is over, and it has to be undone all the same.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct ServerThen {
    /// Where it is reached.
    pub address: String,
    /// What users said of it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<Arc<str>, Arc<str>>,
}

impl ServerThen {
    /// As it is now.
    pub fn of(server: &Server) -> Self {
        Self { address: server.address.to_string(), labels: server.labels.clone() }
    }
}

/// What users wrote of a node.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Written {
    /// What it stands on.
    #[serde(default)]
    pub server: Option<ServerId>,
    /// Where requests are sent to it.
    pub address: String,
}

/// A plan that is over.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Attempt {
    /// Its name.
    pub id: IntentId,
    /// How it ended.
    pub outcome: PlanOutcome,
    /// When, in milliseconds since 1970.
    pub ended_ms: u64,
    /// All of it.
    #[serde(flatten)]
    pub intent: Intent,
}

/// What a leader writes of plans.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Progress {
    /// A new one. Of one that starts a node the name of the node is made of the pool's and the plan's.
    Plan {
        /// It, at its first step.
        intent: Box<Intent>,
        /// Its leader's term.
        term: u64,
    },
    /// One goes on.
    Step {
        /// Which.
        intent: IntentId,
        /// From where.
        from: Step,
        /// To where.
        to: Step,
        /// Where requests are sent to its node from now on.
        #[serde(default)]
        address: Option<String>,
        /// What went wrong.
        #[serde(default)]
        failure: Option<String>,
        /// Its leader's term.
        term: u64,
    },
    /// One is over.
    End {
        /// Which.
        intent: IntentId,
        /// From where.
        from: Step,
        /// How.
        outcome: PlanOutcome,
        /// Where its node is now, where it went back and came to another place: an engine may have found another port free.
        #[serde(default)]
        address: Option<String>,
        /// What went wrong.
        #[serde(default)]
        failure: Option<String>,
    },
}

impl Progress {
    /// In a few words.
    pub fn summary(&self) -> String {
        match self {
            Self::Plan { intent, .. } => format!("plan: {} node \"{}\"", intent.plan.name(), intent.node),
            Self::Step { intent, to, .. } => format!("plan {intent}: {}", to.name()),
            Self::End { intent, outcome, .. } => format!("plan {intent}: {}", outcome.name()),
        }
    }
}

impl Intent {
    /// Whether its region is to wait for it.
    pub fn is_under_way(&self) -> bool {
        self.step != Step::Abandoned
    }

    /// When it was planned, in milliseconds since 1970.
    pub fn at_ms(&self) -> u64 {
        self.steps.first().map_or(0, |taken| taken.at_ms)
    }

    /// Whether requests are sent where it leads.
    fn is_switched(&self) -> bool {
        match self.step {
            // It was well there before nobody heard of it any more.
            Step::Abandoned => self.was_last() == Some(Step::Finish),
            step => matches!(step, Step::Verify | Step::Finish),
        }
    }

    /// The step before it was abandoned.
    pub fn was_last(&self) -> Option<Step> {
        self.steps.iter().rev().map(|taken| taken.step).find(|step| *step != Step::Abandoned)
    }

    pub(super) fn over(&self, id: IntentId, node: &mut Node) {
        let stops = self.plan == Plan::Stop && matches!(self.step, Step::Drain | Step::Act | Step::Abandoned);
        if stops {
            node.run = Run::Stopping;
        }
        let drains = stops || (self.plan == Plan::Move && matches!(self.step, Step::Drain | Step::Act));
        if drains && self.mode == Mode::Graceful && node.admin == Admin::Enabled {
            let begun = Revision::new(id.revision()).unwrap_or(Revision::ZERO);
            node.admin = Admin::Draining { begun, timeout: Some(Duration::from_millis(self.drain_timeout_ms)) };
        }
        if self.plan == Plan::Move
            && self.is_switched()
            && let Some(address) = self.address.as_ref().and_then(|address| address.parse().ok())
        {
            node.address = address;
            node.server.clone_from(&self.to);
        }
    }
}

impl Managed {
    /// Whether a plan is carried out in a region.
    pub fn plan_in(&self, region: &RegionName) -> Option<IntentId> {
        let mut intents = self.intents.iter();
        intents.find(|(_, intent)| intent.region == *region && intent.is_under_way()).map(|(id, _)| *id)
    }

    /// Writes down what a leader says of a plan. `catalog`: as it is before.
    pub(in super::super) fn progress(
        &mut self,
        progress: &Progress,
        revision: u64,
        write: &Write,
        catalog: &Catalog,
    ) -> Result<(), WriteRefused> {
        match progress {
            Progress::Plan { intent, term } => self.plan(intent, *term, revision, write, catalog),
            Progress::Step { intent: id, from, to, address, failure, term } => {
                let intent = self.at(*id, *from)?;
                intent.step = *to;
                intent.address = address.clone().or(intent.address.take());
                intent.failure = failure.clone().or(intent.failure.take());
                intent.steps.push(StepTaken { step: *to, at_ms: write.at_ms, term: *term });
                Ok(())
            }
            Progress::End { intent: id, from, outcome, address, failure } => {
                let intent = self.at(*id, *from)?;
                if *outcome == PlanOutcome::RolledBack {
                    intent.address.clone_from(address);
                }
                intent.failure = failure.clone().or(intent.failure.take());
                self.end(*id, *outcome, write);
                Ok(())
            }
        }
    }

    fn at(&mut self, id: IntentId, from: Step) -> Result<&mut Intent, WriteRefused> {
        let intent = self.intents.get_mut(&id);
        let intent = intent.ok_or_else(|| WriteRefused::NotFound { message: format!("there is no plan {id}") })?;
        if intent.step == from {
            return Ok(intent);
        }
        let message = format!("plan {id} is at {} and not at {}", intent.step.name(), from.name());
        Err(WriteRefused::Conflict { message })
    }

    fn plan(
        &mut self,
        intent: &Intent,
        term: u64,
        revision: u64,
        write: &Write,
        catalog: &Catalog,
    ) -> Result<(), WriteRefused> {
        let conflict = |message: String| Err(WriteRefused::Conflict { message });
        if self.intents.len() >= INTENTS_MAX {
            return conflict(format!("{INTENTS_MAX} plans are carried out or abandoned; no more are begun"));
        }
        if let Some(other) = self.plan_in(&intent.region) {
            return conflict(format!("plan {other} is carried out in region \"{}\"", intent.region));
        }
        let id = IntentId::of_revision(revision);
        let mut intent = intent.clone();
        if intent.plan == Plan::Start {
            intent.node = started_id(&intent.pool, id);
        } else if let Some(other) = self.intents.iter().find(|(_, other)| other.node == intent.node) {
            return conflict(format!("plan {} of node \"{}\" is not over", other.0, intent.node));
        } else if intent.plan == Plan::Stop && self.started.contains_key(&intent.node) {
            // It may be of a pool that users have removed.
        } else {
            let written = catalog.nodes().map(|(_, node)| node).find(|node| node.id == intent.node);
            let Some(written) = written else {
                return Err(WriteRefused::NotFound { message: format!("there is no node \"{}\"", intent.node) });
            };
            intent.written = Some(Written { server: written.server.clone(), address: written.address.to_string() });
        }
        intent.candidates.truncate(CANDIDATES_TOLD_MAX);
        intent.steps = vec![StepTaken { step: intent.step, at_ms: write.at_ms, term }];
        if intent.plan == Plan::Move {
            let moves = &mut self.nodes.entry(intent.node.clone()).or_default().moves_ms;
            moves.push(write.at_ms);
            let skipped = moves.len().saturating_sub(MOVES_KEPT_MAX);
            moves.drain(..skipped);
        }
        self.intents.insert(id, intent);
        Ok(())
    }

    fn moved(&mut self, id: IntentId, intent: &Intent, server: Option<ServerId>) {
        let (Some(written), Some(address)) = (&intent.written, &intent.address) else { return };
        self.nodes.entry(intent.node.clone()).or_default().moved = Some(Moved {
            server,
            address: address.clone(),
            from: written.server.clone(),
            from_address: written.address.clone(),
            executor: intent.executor.clone(),
            intent: id,
        });
    }

    fn end(&mut self, id: IntentId, outcome: PlanOutcome, write: &Write) {
        let Some(intent) = self.intents.remove(&id) else { return };
        match (intent.plan, outcome) {
            (Plan::Move, PlanOutcome::Done) => {
                // Where users have written something else meanwhile, that counts.
                self.moved(id, &intent, intent.to.clone());
            }
            (Plan::Move, PlanOutcome::Resolved) if intent.was_last() == Some(Step::Finish) => {
                self.moved(id, &intent, intent.to.clone());
            }
            (Plan::Move, PlanOutcome::RolledBack) if intent.address != intent.from_address => {
                self.moved(id, &intent, intent.from.clone());
            }
            (Plan::Start, PlanOutcome::Done) => {
                if let (Some(address), Some(executor)) = (&intent.address, &intent.executor) {
                    let started = Started {
                        pool: intent.pool.clone(),
                        region: intent.region.clone(),
                        server: intent.to.clone(),
                        address: address.clone(),
                        executor: executor.clone(),
                        driver: intent.driver.clone(),
                        intent: id,
                        at_ms: write.at_ms,
                    };
                    self.started.insert(intent.node.clone(), started);
                }
            }
            (Plan::Stop, PlanOutcome::Done) => {
                self.started.remove(&intent.node);
            }
            _ => {}
        }
        if (intent.plan, outcome) == (Plan::Move, PlanOutcome::Cancelled)
            && let Some(managed) = self.nodes.get_mut(&intent.node)
        {
            // It was not touched.
            managed.moves_ms.retain(|at_ms| *at_ms != intent.at_ms());
        }
        let intent = Intent { from_server: None, to_server: None, ..intent };
        self.attempts.push(Attempt { id, outcome, ended_ms: write.at_ms, intent });
        let skipped = self.attempts.len().saturating_sub(ATTEMPTS_MAX);
        self.attempts.drain(..skipped);
    }
}

/// The name of a node that a plan starts.
fn started_id(pool: &PoolName, id: IntentId) -> NodeId {
    /// With the longest number it is still a name.
    const POOL_BYTES_MAX: usize = 40;
    let pool: String = pool.as_str().chars().take(POOL_BYTES_MAX).collect();
    // Both are of characters that a name has, and not too long together.
    format!("{pool}-{id}").parse().expect("a part of a name and an intent are a name")
}
