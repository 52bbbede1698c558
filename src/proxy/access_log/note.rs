//! What is noted of an exchange while it goes on, for its line.

use std::time::{Duration, Instant};

use crate::host;
use crate::model::{NodeId, PoolName};
use crate::view::Taken;

/// How an exchange or a connection ended.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum End {
    /// Everything was said.
    #[default]
    Whole,
    /// The node broke off.
    NodeCut,
    /// The client went away, or took no more.
    ClientGone,
    /// Nothing moved for too long.
    Idle,
    /// The drain of the node was over.
    Drained,
    /// A side broke off.
    Broken,
    /// There was no node to connect to.
    NoNode,
    /// A route refused it.
    Refused,
    /// The peer ended in the middle of it.
    PeerEnded,
}

impl End {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Whole => "whole",
            Self::NodeCut => "node_cut",
            Self::ClientGone => "client_gone",
            Self::Idle => "idle",
            Self::Drained => "drained",
            Self::Broken => "broken",
            Self::NoNode => "no_node",
            Self::Refused => "refused",
            Self::PeerEnded => "peer_ended",
        }
    }
}

/// What is known of an exchange so far.
#[derive(Debug, Default)]
pub(crate) struct Note {
    /// The pool that it was sent to last.
    pub(crate) pool: Option<PoolName>,
    /// The node.
    pub(crate) node: Option<NodeId>,
    /// How often it was sent again.
    pub(crate) retries: u8,
    /// When it was sent last.
    pub(super) sent_at: Option<Instant>,
    /// From there to the head of the answer.
    pub(crate) node_time: Option<Duration>,
    /// What the client was told.
    pub(crate) status: Option<u16>,
    /// Why the peer itself answered.
    pub(crate) own: Option<&'static str>,
    /// Bytes of bodies from the client.
    pub(crate) bytes_in: u64,
    /// Bytes of bodies to the client.
    pub(crate) bytes_out: u64,
    pub(crate) end: End,
    /// It goes on.
    pub(crate) is_open: bool,
    /// It has no line.
    pub(crate) is_silent: bool,
}

impl Note {
    /// Of a connection: unless something else is noted it is cut by the end of the peer.
    pub(crate) fn of_connection() -> Self {
        Self { end: End::PeerEnded, ..Self::default() }
    }

    /// It is sent to this node, after so many others.
    pub(crate) fn tried(&mut self, taken: &Taken, retries: u8) {
        self.pool = Some(taken.pool().pool.name.clone());
        self.node = Some(taken.node().node.id.clone());
        self.retries = retries;
        self.sent_at = Some(host::now());
    }

    /// The head of the node's answer is there.
    pub(crate) fn answered(&mut self, status: u16) {
        self.status = Some(status);
        self.node_time = self.sent_at.map(|sent_at| host::now().saturating_duration_since(sent_at));
    }

    /// The peer itself answered, with so many bytes of a body.
    pub(crate) fn own(&mut self, status: u16, reason: &'static str, body_bytes: u64) {
        self.status = Some(status);
        self.own = Some(reason);
        self.bytes_out += body_bytes;
    }
}
