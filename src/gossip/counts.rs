//! What gossip costs, for `/metrics` and the tests that hold it to its bounds.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

/// Totals since the peer started.
#[derive(Debug, Default)]
pub struct Counts {
    messages_sent: AtomicU64,
    bytes_sent: AtomicU64,
    messages_received: AtomicU64,
    bytes_received: AtomicU64,
    over_budget: AtomicU64,
    unreadable: AtomicU64,
    refused: AtomicU64,
    left_out: AtomicU64,
    values_unreadable: AtomicU64,
    peers_refused: AtomicU64,
}

/// [`Counts`] at one moment.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Counted {
    /// Messages handed to the link.
    pub messages_sent: u64,
    /// Their bytes.
    pub bytes_sent: u64,
    /// Messages that arrived.
    pub messages_received: u64,
    /// Their bytes.
    pub bytes_received: u64,
    /// Rounds not begun because they would cost more than the cap.
    pub over_budget: u64,
    /// Messages that could not be read.
    pub unreadable: u64,
    /// Messages refused because they break a bound.
    pub refused: u64,
    /// Ids and values left out of messages because there are too many.
    pub left_out: u64,
    /// Values in messages that could not be read.
    pub values_unreadable: u64,
    /// Times that somebody was not taken for a peer because as many as there may be are known.
    pub peers_refused: u64,
}

impl Counts {
    /// The totals now.
    pub fn read(&self) -> Counted {
        Counted {
            messages_sent: self.messages_sent.load(Relaxed),
            bytes_sent: self.bytes_sent.load(Relaxed),
            messages_received: self.messages_received.load(Relaxed),
            bytes_received: self.bytes_received.load(Relaxed),
            over_budget: self.over_budget.load(Relaxed),
            unreadable: self.unreadable.load(Relaxed),
            refused: self.refused.load(Relaxed),
            left_out: self.left_out.load(Relaxed),
            values_unreadable: self.values_unreadable.load(Relaxed),
            peers_refused: self.peers_refused.load(Relaxed),
        }
    }

    pub(super) fn sent(&self, bytes: usize) {
        self.messages_sent.fetch_add(1, Relaxed);
        self.bytes_sent.fetch_add(bytes as u64, Relaxed);
    }

    pub(super) fn received(&self, bytes: usize) {
        self.messages_received.fetch_add(1, Relaxed);
        self.bytes_received.fetch_add(bytes as u64, Relaxed);
    }

    pub(super) fn over_budget(&self) {
        self.over_budget.fetch_add(1, Relaxed);
    }

    pub(super) fn unreadable(&self) {
        self.unreadable.fetch_add(1, Relaxed);
    }

    pub(super) fn refused(&self) {
        self.refused.fetch_add(1, Relaxed);
    }

    pub(super) fn left_out(&self, parts: u64) {
        self.left_out.fetch_add(parts, Relaxed);
    }

    /// What readers and members counted by themselves, in total.
    pub(super) fn set_not_taken(&self, values_unreadable: u64, peers_refused: u64) {
        self.values_unreadable.store(values_unreadable, Relaxed);
        self.peers_refused.store(peers_refused, Relaxed);
    }
}
