//! Servers that no node is moved to, because an operator said so.

use serde::{Deserialize, Serialize};

use super::super::json::Object;
use super::super::write::Write;
use super::Managed;
use crate::model::ServerId;

/// What was said of a server.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct ManagedServer {
    /// Until when no node is moved there, in milliseconds since 1970; `None`: until somebody says otherwise.
    #[serde(default)]
    pub blacklisted_until_ms: Option<u64>,
    /// Why.
    #[serde(default)]
    pub reason: String,
    /// When that was said, in milliseconds since 1970, as the clock of the peer that was told had it.
    pub at_ms: u64,
    /// Who said it.
    pub by: String,
    /// What this version does not know.
    #[serde(flatten)]
    pub other: Object,
}

impl ManagedServer {
    /// Whether no node is moved there at this moment, as the wall clock of whoever asks has it.
    pub fn is_blacklisted(&self, wall_now_ms: u64) -> bool {
        self.blacklisted_until_ms.is_none_or(|until_ms| wall_now_ms < until_ms)
    }
}

impl Managed {
    pub(in super::super) fn blacklist(
        &mut self,
        server: &ServerId,
        until_ms: Option<u64>,
        reason: &str,
        write: &Write,
    ) {
        // Those that are over go, so that there are no more than servers that are blacklisted.
        self.servers.retain(|_, said| said.is_blacklisted(write.at_ms));
        let said = ManagedServer {
            blacklisted_until_ms: until_ms,
            reason: reason.to_owned(),
            at_ms: write.at_ms,
            by: write.by.as_str().to_owned(),
            other: Object::new(),
        };
        self.servers.insert(server.clone(), said);
    }

    /// Whether no node is moved to that server at this moment.
    pub fn is_blacklisted(&self, server: &ServerId, wall_now_ms: u64) -> bool {
        self.servers.get(server).is_some_and(|said| said.is_blacklisted(wall_now_ms))
    }
}
