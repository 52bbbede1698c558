//! Whether this peer may act as the leader at this moment.

use crate::election::machine::{Election, Role};
use crate::election::time::{BootTime, Now};
use crate::model::{Revision, Term};

/// Permission to act: for this long nobody else can have been elected. It is asked for again before every effect, and the
/// effect carries the term.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Authority {
    /// Fences what is done by it.
    pub term: Term,
    /// Until then, on the clock that goes on while the machine sleeps.
    pub until: BootTime,
    /// The newest that this leader has accepted. What was decided by an older one was not decided by the newest.
    pub accepted: Revision,
}

/// What of the minimum time-out a leader uses: clocks may run apart by the rest.
const SHARE: f64 = 0.9;

impl Election {
    /// Whether this peer may act as the leader now. A majority has answered a heartbeat, and each of it votes for nobody for
    /// the minimum time-out after it heard that heartbeat, which was after it was sent.
    pub fn authority(&self, now: Now) -> Option<Authority> {
        let Role::Leading(leading) = &self.role else { return None };
        if !leading.has_committed {
            return None;
        }
        let until =
            self.majority_answered(self.last_sent()?)?.after(self.settings.pace.min_timeout.get().mul_f64(SHARE));
        let accepted = self.journal.wanted.newness().revision;
        (now.boot() < until).then_some(Authority { term: self.term(), until, accepted })
    }
}
