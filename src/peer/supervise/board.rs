//! How every child fares, for people to read. The supervisor alone writes it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How every child fares, in the order in which they were added. Cheap to clone; all clones show the same.
#[derive(Clone, Debug, Default)]
pub struct Board(Arc<Mutex<Vec<ChildStatus>>>);

/// How one child fares.
#[derive(Clone, Debug, Eq, PartialEq, serde::Serialize)]
pub struct ChildStatus {
    /// Its name: `health`, `view`, `proxy-0`.
    pub name: String,
    /// How it is.
    pub state: ChildState,
    /// Whether the peer is unhealthy without it, and not only degraded.
    pub critical: bool,
    /// How often it was started again.
    pub restarts: u64,
    /// What it said when it last failed.
    pub last_failure: Option<String>,
}

/// How a child is.
#[derive(Clone, Copy, Debug, Eq, PartialEq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ChildState {
    /// It is being started for the first time.
    Starting,
    /// At work.
    Running,
    /// It failed and is started again after a pause.
    Restarting,
    /// It failed too often and stays down.
    GivenUp,
    /// It ended because the peer stops.
    Stopped,
}

impl ChildState {
    /// The word that is shown.
    pub fn name(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Restarting => "restarting",
            Self::GivenUp => "given_up",
            Self::Stopped => "stopped",
        }
    }
}

impl Board {
    /// Every child, in the order in which they were added.
    pub fn children(&self) -> Vec<ChildStatus> {
        self.lock().clone()
    }

    /// Whether a critical child was given up.
    pub fn lacks_critical(&self) -> bool {
        self.lock().iter().any(|child| child.critical && child.state == ChildState::GivenUp)
    }

    /// Hangs up a new child; its position is how it is called from then on.
    pub(crate) fn add(&self, status: ChildStatus) -> usize {
        let mut children = self.lock();
        children.push(status);
        children.len() - 1
    }

    /// Changes what is said of the child at `position`.
    pub(super) fn change(&self, position: usize, change: impl FnOnce(&mut ChildStatus)) {
        if let Some(status) = self.lock().get_mut(position) {
            change(status);
        }
    }

    /// Nothing panics while it holds the lock, so a poisoned one still holds a whole board.
    fn lock(&self) -> MutexGuard<'_, Vec<ChildStatus>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
