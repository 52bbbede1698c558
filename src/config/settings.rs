//! What a whole process is told, once everything was checked.

use crate::telemetry::log;
use crate::{api, peer};

/// Everything, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// The peer.
    pub peer: peer::Settings,
    /// Its API.
    pub api: api::Settings,
    /// The log.
    pub log: log::Settings,
}
