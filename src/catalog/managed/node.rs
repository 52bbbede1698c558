//! What operators said of nodes, and where the cluster moved them.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::super::json::Object;
use super::super::write::Write;
use super::Managed;
use crate::model::{Admin, DriverName, IntentId, Node, NodeId, PeerId, PoolName, RegionName, Revision, ServerId};

const DRAINING: &str = "draining";

/// What was said of a node, and what was done with it.
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
    /// Where it was moved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub moved: Option<Moved>,
    /// When moves of it began, the newest last, in milliseconds since 1970 by the clocks of those who led.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub moves_ms: Vec<u64>,
    /// What this version does not know.
    #[serde(flatten)]
    pub other: Object,
}

/// Where a node was moved.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Moved {
    /// What it stands on.
    #[serde(default)]
    pub server: Option<ServerId>,
    /// Where requests are sent to it.
    pub address: String,
    /// What users had written of its server then. Where they write something else, that counts.
    #[serde(default)]
    pub from: Option<ServerId>,
    /// And of its address.
    pub from_address: String,
    /// The peer whose driver did it, where it took one: what it stands on may be of that peer's machine.
    #[serde(default)]
    pub executor: Option<PeerId>,
    /// The plan.
    pub intent: IntentId,
}

/// A node that users did not write: it was started.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Started {
    /// Its pool.
    pub pool: PoolName,
    /// Where it is.
    pub region: RegionName,
    /// What it stands on, where it needed something.
    #[serde(default)]
    pub server: Option<ServerId>,
    /// Where requests are sent to it.
    pub address: String,
    /// The peer whose driver has it.
    pub executor: PeerId,
    /// That driver.
    #[serde(default)]
    pub driver: Option<DriverName>,
    /// The plan.
    pub intent: IntentId,
    /// When, in milliseconds since 1970, as the clock of the leader had it.
    pub at_ms: u64,
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
        let ManagedNode { moved, moves_ms, other, .. } = std::mem::take(managed);
        *managed = ManagedNode { moved, moves_ms, other, ..ManagedNode::default() };
        if *managed == ManagedNode::default() {
            self.nodes.remove(node);
        }
    }
}

impl ManagedNode {
    pub(super) fn over(&self, node: &mut Node) {
        node.admin = match self.admin.as_deref() {
            Some(DRAINING) if node.admin != Admin::Disabled => {
                let begun = self.drain_revision.and_then(Revision::new).unwrap_or(Revision::ZERO);
                Admin::Draining { begun, timeout: self.drain_timeout_ms.map(Duration::from_millis) }
            }
            _ => node.admin,
        };
        if let Some(moved) = self.moved.as_ref().filter(|moved| moved.is_of(node))
            && let Ok(address) = moved.address.parse()
        {
            node.address = address;
            node.server.clone_from(&moved.server);
        }
    }

    /// Whether it drains.
    pub fn is_draining(&self) -> bool {
        self.admin.as_deref() == Some(DRAINING)
    }
}

impl Moved {
    /// Whether users still write of the node what they wrote when it was moved.
    pub fn is_of(&self, written: &Node) -> bool {
        self.from == written.server && self.from_address == written.address.to_string()
    }
}
