//! How an elector stands, as the rest of its peer and its operators see it.

use std::sync::Arc;
use std::time::Instant;

use crate::election::event::Leadership;
use crate::election::outcomes::Value;
use crate::model::{ClusterId, Electors, PeerId, Revision, Slot, Term};
use crate::wire::Memory;

/// How this peer stands in elections.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Standing {
    /// Who leads, as far as this peer knows.
    pub leadership: Leadership,
    /// Since when it has known that, on this peer's clock.
    pub since: Instant,
    /// This peer's term.
    pub term: Term,
    /// Whether it remembers how it voted.
    pub memory: Memory,
    /// Who votes; before a first value those that the settings name.
    pub electors: Option<Electors>,
    /// Which cluster this is, once a first value was accepted.
    pub cluster: Option<ClusterId>,
    /// The revision that is committed.
    pub committed: Option<Revision>,
    /// As a leader it has committed something in its term, so that it takes changes.
    pub takes_changes: bool,
    /// Why what it has to remember could not be written when that was tried last: it takes no part until it can.
    pub disk_failing: Option<Arc<str>>,
    /// What was damaged on its disk when it started, for people.
    pub damage: Arc<[String]>,
    /// Peers of this cluster's name that have another cluster's value.
    pub strangers: Arc<[(PeerId, ClusterId)]>,
}

impl Standing {
    /// Nothing is known yet.
    pub(super) fn new(now: Instant) -> Self {
        Self {
            leadership: Leadership::Nobody,
            since: now,
            term: Term::ZERO,
            memory: Memory::Lost,
            electors: None,
            cluster: None,
            committed: None,
            takes_changes: false,
            disk_failing: None,
            damage: Arc::default(),
            strangers: Arc::default(),
        }
    }

    /// The leader, if there is one that this peer knows.
    pub fn leader<'a>(&'a self, own: &'a PeerId) -> Option<&'a PeerId> {
        match &self.leadership {
            Leadership::Nobody => None,
            Leadership::Other { leader, .. } => Some(leader),
            Leadership::Own { .. } => Some(own),
        }
    }
}

/// A value that is committed and on this peer's disk.
#[derive(Clone, Debug, PartialEq)]
pub struct Committed {
    /// Which version it is, and who votes.
    pub slot: Slot,
    /// The value.
    pub value: Arc<Value>,
}
