//! What was computed once: peers, messages and steps by number, so that the checker walks over numbers.

use std::collections::HashMap;
use std::sync::Arc;

use crate::election::ballot::Ballot;
use crate::election::machine::Election;
use crate::model::{PeerId, Slot};
use crate::wire::ElectionMessage;

/// One peer: its process and its disk.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(super) struct Local {
    pub(super) machine: Election,
    pub(super) disk: Ballot,
    pub(super) writing: Option<(u64, Ballot)>,
    pub(super) life: u8,
    /// When an answer to a heartbeat came last.
    pub(super) answered_at: u8,
}

/// What can be done to one peer.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(super) enum Stroke {
    Hear(u16),
    Fire,
    Written,
    Crash,
    Wipe,
    Propose(u8),
    Change(u8),
}

/// What that leads to.
#[derive(Clone, Debug)]
pub(super) struct Stepped {
    pub(super) after: u32,
    pub(super) sent: Vec<u16>,
    pub(super) led: Vec<u64>,
    pub(super) committed: Vec<u16>,
    pub(super) fault: Option<Fault>,
    /// The revision that the peer has accepted, when it was elected.
    pub(super) elected_with: Option<Option<u16>>,
}

/// What must never happen.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) enum Fault {
    TwoLeaders,
    WentBack,
    CommittedLost,
}

#[derive(Default)]
pub(super) struct Memo {
    pub(super) locals: Vec<Arc<Local>>,
    local_ids: HashMap<Arc<Local>, u32>,
    pub(super) messages: Vec<(usize, PeerId, ElectionMessage)>,
    message_ids: HashMap<(usize, PeerId, ElectionMessage), u16>,
    pub(super) slots: Vec<Slot>,
    pub(super) steps: HashMap<(u32, Stroke, u8), Arc<Stepped>>,
}

impl Memo {
    pub(super) fn local(&mut self, local: Local) -> u32 {
        let local = Arc::new(local);
        if let Some(&id) = self.local_ids.get(&local) {
            return id;
        }
        let id = u32::try_from(self.locals.len()).unwrap();
        self.locals.push(Arc::clone(&local));
        self.local_ids.insert(local, id);
        id
    }

    pub(super) fn message(&mut self, message: (usize, PeerId, ElectionMessage)) -> u16 {
        if let Some(&id) = self.message_ids.get(&message) {
            return id;
        }
        let id = u16::try_from(self.messages.len()).unwrap();
        self.messages.push(message.clone());
        self.message_ids.insert(message, id);
        id
    }

    /// Slots that say the same have one number, from 1.
    pub(super) fn slot(&mut self, slot: &Slot) -> u16 {
        let known = self.slots.iter().position(|known| known.says_the_same(slot));
        let at = known.unwrap_or_else(|| {
            self.slots.push(slot.clone());
            self.slots.len() - 1
        });
        u16::try_from(at + 1).unwrap()
    }
}
