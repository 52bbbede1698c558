//! The last events of a peer, in the order in which it learned of them.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use crate::model::Event;
use crate::model::limits::EVENTS_KEPT_MAX;

/// The last events. It is cheap to clone, and all clones have the same.
#[derive(Clone, Debug, Default)]
pub struct Events(Arc<Mutex<VecDeque<Event>>>);

impl Events {
    /// One more. One of an id that is there already is the same and is not kept twice; the oldest of too many goes.
    pub fn push(&self, event: Event) {
        let mut events = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if events.iter().rev().any(|known| known.id == event.id) {
            return;
        }
        let Event { id, happened, .. } = &event;
        if happened.is_trouble() {
            tracing::warn!(kind = happened.kind(), id, "{happened}");
        } else {
            tracing::info!(kind = happened.kind(), id, "{happened}");
        }
        if events.len() >= EVENTS_KEPT_MAX {
            events.pop_front();
        }
        events.push_back(event);
    }

    /// All that are kept, the oldest first.
    pub fn all(&self) -> Vec<Event> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }
}
