//! What the cluster and its operators did to what users wrote. `apply` never touches it.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::json::Object;
use super::write::Write;
use crate::model::{Admin, Catalog, NodeId, Revision};

const DRAINING: &str = "draining";

/// The managed part of a document. What a later version wrote beside it is kept.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Managed {
    /// Nodes of which an operator said something, by id.
    #[serde(default)]
    pub nodes: BTreeMap<NodeId, ManagedNode>,
    /// What this version does not know.
    #[serde(flatten)]
    pub other: Object,
}

/// What an operator said of a node.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct ManagedNode {
    /// What it may take: `draining`. A word that this version does not know counts as nothing said, and is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub admin: Option<String>,
    /// Of a drain: how long the old work may take, in milliseconds. `None`: as long as it takes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drain_timeout_ms: Option<u64>,
    /// Of a drain: the revision that it began with. By this one that was ended and begun anew is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drain_revision: Option<u64>,
    /// When that was said, in milliseconds since 1970, as the clock of the peer that was told had it. Shown and nothing else.
    #[serde(default)]
    pub at_ms: u64,
    /// Who said it.
    #[serde(default)]
    pub by: String,
    /// What this version does not know.
    #[serde(flatten)]
    pub other: Object,
}

impl Managed {
    /// A node drains from now on. One that does already goes on doing so, perhaps within another time.
    pub fn drain(&mut self, node: &NodeId, timeout_ms: Option<u64>, revision: u64, write: &Write) {
        let managed = self.nodes.entry(node.clone()).or_default();
        managed.drain_timeout_ms = timeout_ms;
        if !managed.is_draining() {
            managed.admin = Some(DRAINING.to_owned());
            managed.drain_revision = Some(revision);
            managed.at_ms = write.at_ms;
            write.by.as_str().clone_into(&mut managed.by);
        }
    }

    /// A node takes work again. What else is said of it stays.
    pub fn undrain(&mut self, node: &NodeId) {
        let Some(managed) = self.nodes.get_mut(node).filter(|managed| managed.is_draining()) else { return };
        *managed = ManagedNode { other: std::mem::take(&mut managed.other), ..ManagedNode::default() };
        if managed.other.is_empty() {
            self.nodes.remove(node);
        }
    }

    /// Whether both mean the same, whoever said it and when.
    pub fn says_the_same(&self, other: &Self) -> bool {
        let said = |of: &Self| -> BTreeMap<NodeId, ManagedNode> {
            let nodes = of.nodes.iter();
            nodes.map(|(id, node)| (id.clone(), ManagedNode { at_ms: 0, by: String::new(), ..node.clone() })).collect()
        };
        self.other == other.other && said(self) == said(other)
    }

    /// Forgets nodes that users do not have any more.
    pub fn prune(&mut self, has: impl Fn(&NodeId) -> bool) {
        self.nodes.retain(|id, _| has(id));
    }

    /// What users wrote, with what operators said over it.
    pub fn over(&self, catalog: &mut Catalog) {
        if self.nodes.is_empty() {
            return;
        }
        catalog.change_nodes(|node| {
            if let Some(managed) = self.nodes.get(&node.id) {
                node.admin = managed.over(node.admin);
            }
        });
    }
}

impl ManagedNode {
    fn over(&self, written: Admin) -> Admin {
        match self.admin.as_deref() {
            Some(DRAINING) if written != Admin::Disabled => {
                let begun = self.drain_revision.and_then(Revision::new).unwrap_or(Revision::ZERO);
                Admin::Draining { begun, timeout: self.drain_timeout_ms.map(Duration::from_millis) }
            }
            _ => written,
        }
    }

    /// Whether it drains.
    pub fn is_draining(&self) -> bool {
        self.admin.as_deref() == Some(DRAINING)
    }
}
