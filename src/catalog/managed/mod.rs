//! What the cluster and its operators did to what users wrote. `apply` never touches it.

mod drill;
mod node;
mod plan;
mod server;
mod shift;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

pub use drill::{DrillEnd, Drilling, ManagedDrill};
pub use node::{ManagedNode, Moved, Started};
pub use plan::{Attempt, Intent, Progress, ServerThen};
pub use server::ManagedServer;
pub use shift::{ManagedShift, Shifting};

use super::json::Object;
use crate::model::{Catalog, IntentId, Node, NodeId, Plan, RegionName, Run, ServerId, Step};

/// The managed part of a document. What a later version wrote beside it is kept.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Managed {
    /// Nodes of which an operator said something, or that were moved, by id.
    #[serde(default)]
    pub nodes: BTreeMap<NodeId, ManagedNode>,
    /// Nodes that were started.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub started: BTreeMap<NodeId, Started>,
    /// Servers of which an operator said something.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub servers: BTreeMap<ServerId, ManagedServer>,
    /// Regions that are shifted.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub shifts: BTreeMap<RegionName, ManagedShift>,
    /// The last drills, by region.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub drills: BTreeMap<RegionName, ManagedDrill>,
    /// Plans that are carried out.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub intents: BTreeMap<IntentId, Intent>,
    /// The last plans that are over, the newest last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attempts: Vec<Attempt>,
    /// What this version does not know.
    #[serde(flatten)]
    pub other: Object,
}

impl Managed {
    /// Whether both mean the same, whoever said it and when.
    pub fn says_the_same(&self, other: &Self) -> bool {
        let said = |of: &Self| {
            let nodes = of.nodes.iter();
            let nodes = nodes
                .map(|(id, node)| (id.clone(), ManagedNode { at_ms: 0, by: String::new(), ..node.clone() }))
                .collect();
            Self { nodes, ..of.clone() }
        };
        said(self) == said(other)
    }

    /// Forgets what is about something that users do not have any more. Plans go on: what was begun is to be ended.
    pub fn prune(&mut self, catalog: &Catalog) {
        let written: BTreeSet<&NodeId> = catalog.nodes().map(|(_, node)| &node.id).collect();
        let Self { nodes, started, .. } = self;
        nodes.retain(|id, _| written.contains(id) || started.contains_key(id));
        // What users write of a node later counts, also where they write later what they had written before.
        for (_, node) in catalog.nodes() {
            if let Some(managed) = nodes.get_mut(&node.id)
                && managed.moved.as_ref().is_some_and(|moved| !moved.is_of(node))
            {
                managed.moved = None;
            }
        }
        self.servers.retain(|id, _| catalog.server(id).is_some());
        let shifts = &self.shifts;
        self.drills.retain(|region, _| catalog.has_region(region) || shifts.contains_key(region));
    }

    /// What users wrote, with the nodes that were started.
    pub fn with_started(&self, catalog: &mut Catalog) {
        for (id, started) in &self.started {
            let Ok(address) = started.address.parse() else { continue };
            let (region, server) = (Some(started.region.clone()), started.server.clone());
            let node = Node { region, server, ..Node::new(id.clone(), address) };
            // Where users have written one of that name since, theirs it is.
            catalog.add_node(&started.pool, node);
        }
    }

    /// What users wrote, with what was said and done over it.
    pub fn over(&self, catalog: &mut Catalog) {
        self.with_started(catalog);
        for intent in self.intents.values().filter(|intent| intent.plan == Plan::Start) {
            let Some(address) = intent.address.as_ref().and_then(|address| address.parse().ok()) else { continue };
            if !matches!(intent.step, Step::Verify | Step::Finish) {
                continue;
            }
            let (region, server, run) = (Some(intent.region.clone()), intent.to.clone(), Run::Starting);
            let node = Node { region, server, run, ..Node::new(intent.node.clone(), address) };
            catalog.add_node(&intent.pool, node);
        }
        self.shifts_over(catalog);
        if self.nodes.is_empty() && self.intents.is_empty() {
            return;
        }
        let by_node: BTreeMap<&NodeId, (IntentId, &Intent)> =
            self.intents.iter().map(|(id, intent)| (&intent.node, (*id, intent))).collect();
        catalog.change_nodes(|node| {
            if let Some(managed) = self.nodes.get(&node.id) {
                managed.over(node);
            }
            if let Some((id, intent)) = by_node.get(&node.id) {
                intent.over(*id, node);
            }
        });
    }
}
