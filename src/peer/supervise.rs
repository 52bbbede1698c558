//! Children that fail are started again with a growing pause; one that keeps failing is given up, loudly.

use std::sync::{Arc, Mutex};

/// How every child fares, for people to read.
#[derive(Clone, Debug, Default)]
pub struct Board(Arc<Mutex<Vec<ChildStatus>>>);

/// How one child fares.
#[derive(Clone, Debug, serde::Serialize)]
pub struct ChildStatus {
    /// Its name: `health`, `view`, `proxy-0`.
    pub name: String,
    /// How it is.
    pub state: ChildState,
    /// How often it was started again.
    pub restarts: u64,
    /// What it said when it last failed.
    pub last_failure: Option<String>,
}

/// How a child is.
#[derive(Clone, Copy, Debug, Eq, PartialEq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ChildState {
    /// At work.
    Running,
    /// It failed and is started again after a pause.
    Restarting,
    /// It failed too often and stays down.
    GivenUp,
    /// It ended because the peer stops.
    Stopped,
}

impl Board {
    /// Every child, in the order in which they were started.
    pub fn children(&self) -> Vec<ChildStatus> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }
}
