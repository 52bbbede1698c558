//! What the cluster and its operators did to what users wrote. `apply` never touches it.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::json::Object;
use crate::model::{Admin, Catalog, NodeId};

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
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct ManagedNode {
    /// What it may take: `draining`. A word that this version does not know counts as nothing said, and is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub admin: Option<String>,
    /// Of a drain: how long the old work may take, in milliseconds. `None`: as long as it takes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drain_timeout_ms: Option<u64>,
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
    /// A drain.
    pub fn draining(timeout: Option<Duration>, at_ms: u64, by: String) -> Self {
        Self {
            admin: Some(DRAINING.to_owned()),
            drain_timeout_ms: timeout.map(|timeout| u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX)),
            at_ms,
            by,
            other: Object::new(),
        }
    }

    fn over(&self, written: Admin) -> Admin {
        match self.admin.as_deref() {
            Some(DRAINING) if written != Admin::Disabled => {
                Admin::Draining { timeout: self.drain_timeout_ms.map(Duration::from_millis) }
            }
            _ => written,
        }
    }

    /// Whether it drains.
    pub fn is_draining(&self) -> bool {
        self.admin.as_deref() == Some(DRAINING)
    }
}
