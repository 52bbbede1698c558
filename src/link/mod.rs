//! Links between peers: one connection a pair of peers, over which every other part of the cluster talks.
//!
//! What it gives: a message on a [`Channel`] to a peer ([`Link::send`]), a question with an answer ([`Link::ask`]), and word
//! of links that come and go ([`Link::events`]), which is the fast sign of a peer's death. What it refuses to know: what the
//! messages mean. A message arrives whole and once, or not at all; order is not promised.
//!
//! The link is a trait because there are two of it: [`QuicLink`], and [`memory::Network`] for simulation in virtual time. Both
//! obey one pure machine (`keep.rs`: who is dialed when, which of two connections stays, who is refused) and pass one suite
//! of tests. Everything is bounded, and [`Link::send`] never waits: what cannot be carried is dropped and counted.

mod events;
mod keep;
mod key;
pub mod memory;
mod outbox;
mod protocols;
mod quic;
mod refusals;
mod settle;
#[cfg(test)]
mod suite;
mod table;
mod talk;
mod trust;

use std::fmt::Debug;
use std::net::SocketAddr;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use crate::model::limits::{
    CATALOG_BYTES_MAX, ELECTION_BYTES_MAX, GOSSIP_BYTES_MAX, HINT_BYTES_MAX, INBOX_MESSAGES_MAX, QUERY_BYTES_MAX,
    SPEED_BYTES_MAX,
};
use crate::model::{ClusterId, ClusterName, PeerId, RegionName};
use crate::wire::{Advertised, Hello, Software};

pub use events::{Events, LinkEvent};
pub use key::{ClusterKey, Fingerprint, KeyError, KeyFileError, KeyRing};
pub use protocols::Protocols;
pub use quic::{QuicLink, StartError};
pub use refusals::SeenRefusal;
pub use table::{ChannelCounts, Counts, LinkState, Links, PeerLink};
pub use trust::{AuthorityFiles, TrustError, TrustSource};

/// What a call that waits returns.
pub type Waiting<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// This peer's links to the others.
pub trait Link: Send + Sync + Debug {
    /// Puts a message into the outbox of a peer and returns. An outbox holds a few messages a channel; one more drops the
    /// oldest. A peer without a link is dialed; a message to an id that was never met is dropped.
    ///
    /// Nothing is sent on [`Channel::Query`] this way, and what is tried is dropped; use [`Link::ask`].
    fn send(&self, to: To, channel: Channel, bytes: Bytes);

    /// Asks a peer with a link, and waits for its answer, which may itself have to wait for something there. A few such
    /// questions to one peer are under way at a time; the next waits for its turn within its limit.
    fn ask(&self, to: PeerId, question: Bytes, limit: Duration) -> Waiting<'_, Result<Bytes, AskError>>;

    /// The same for a question that is answered at once, out of what the other peer has: it never waits for those that wait.
    /// What a majority needs to commit a write is asked for like this, while writes wait for that.
    fn ask_at_once(&self, to: PeerId, question: Bytes, limit: Duration) -> Waiting<'_, Result<Bytes, AskError>> {
        self.ask(to, question, limit)
    }

    /// All links as they are now, with what was counted and who was refused.
    fn known(&self) -> Links;

    /// What happens from now on. Subscribe first, then look at [`Link::known`].
    fn events(&self) -> Events;

    /// Says from now on that the cluster has this id, and refuses peers of another one.
    fn set_cluster_id(&self, cluster_id: ClusterId);

    /// Ends the link to a peer that is gone for good, and knows it no longer until it dials.
    fn forget(&self, peer: &PeerId);

    /// Says goodbye to all, which they see at once, and waits until they were told. Messages under way may be lost. From here
    /// on the link dials nobody and tells nothing.
    fn close(&self) -> Waiting<'_, ()>;
}

/// What a message is for. Each has its own bound and its own boxes, so that none holds up another.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Channel {
    /// Membership and shared state.
    Gossip,
    /// Nodes that were just seen failing.
    Hint,
    /// Questions and answers.
    Query,
    /// Votes and heartbeats.
    Election,
    /// The catalog on its way to all.
    Catalog,
    /// Speed tests between peers.
    Speed,
}

impl Channel {
    /// Every channel, in the order of its number on the wire.
    pub const ALL: [Self; 6] = [Self::Gossip, Self::Hint, Self::Query, Self::Election, Self::Catalog, Self::Speed];
    /// Those that carry messages one way.
    pub(super) const ONE_WAY: [Self; 5] = [Self::Gossip, Self::Hint, Self::Election, Self::Catalog, Self::Speed];

    /// The most bytes that a message may have, looked at before any of them is decoded.
    pub fn bytes_max(self) -> usize {
        match self {
            Self::Gossip => GOSSIP_BYTES_MAX,
            Self::Hint => HINT_BYTES_MAX,
            Self::Query => QUERY_BYTES_MAX,
            Self::Election => ELECTION_BYTES_MAX,
            Self::Catalog => CATALOG_BYTES_MAX,
            Self::Speed => SPEED_BYTES_MAX,
        }
    }

    /// One word, for metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Gossip => "gossip",
            Self::Hint => "hint",
            Self::Query => "query",
            Self::Election => "election",
            Self::Catalog => "catalog",
            Self::Speed => "speed",
        }
    }

    /// How long a message may take to be written or read. What is late is worth nothing: the next one says it better. A
    /// catalog is worth waiting for.
    pub(super) fn limit(self) -> Duration {
        match self {
            Self::Gossip | Self::Hint | Self::Election | Self::Speed => Duration::from_millis(500),
            Self::Query | Self::Catalog => Duration::from_secs(10),
        }
    }

    /// Its number, which is frozen: the first byte of a stream, where 0 is a ping.
    pub(super) fn number(self) -> u8 {
        self as u8 + 1
    }

    pub(super) fn of_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|channel| channel.number() == number)
    }
}

/// Whom a message is for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum To {
    /// Whoever answers there: a seed, or an address that gossip tells of.
    Address(SocketAddr),
    /// A peer that was met.
    Peer(PeerId),
}

/// A message.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Received {
    /// Who sent it: its certificate says so.
    pub from: PeerId,
    /// Where the sender can be dialed.
    pub address: SocketAddr,
    /// What it came on.
    pub channel: Channel,
    /// The message, at most [`Channel::bytes_max`] long.
    pub bytes: Bytes,
}

/// A question of another peer.
#[derive(Debug)]
pub struct Question {
    /// Who asks.
    pub from: PeerId,
    /// The question.
    pub bytes: Bytes,
    /// Takes the answer.
    pub answer: Answer,
}

/// Takes the answer to a question. Dropped without one, the asker is told at once that there is none.
#[derive(Debug)]
pub struct Answer(oneshot::Sender<Bytes>);

impl Answer {
    /// Sends the answer, if the asker still waits.
    pub fn send(self, bytes: Bytes) {
        // The asker may have gone; then nobody misses the answer.
        let _ = self.0.send(bytes);
    }
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum AskError {
    /// No link to this peer stands. Nothing was sent.
    #[error("there is no link to the peer; ask again once it is up, or ask another one")]
    NotLinked,
    /// Question or answer is longer than allowed. Nothing was sent, or the answer was not taken.
    #[error("the question or its answer has more than {QUERY_BYTES_MAX} bytes")]
    TooLong,
    /// Nothing came in time. The question may have had its effect.
    #[error("the peer did not answer in time; whether it acted is not known")]
    TimedOut,
    /// The link was lost. The question may have had its effect.
    #[error("the link was lost before the answer; whether the peer acted is not known")]
    Lost,
    /// The peer has too much to do, or nobody there who answers. The question had no effect.
    #[error("the peer takes no question now; ask again later, or ask another one")]
    NotTaken,
}

/// Where what was received waits. An inbox whose owner is late drops, and what it dropped is counted.
#[derive(Debug)]
pub struct Inboxes {
    /// Of [`Channel::Gossip`].
    pub gossip: mpsc::Receiver<Received>,
    /// Of [`Channel::Hint`].
    pub hint: mpsc::Receiver<Received>,
    /// Of [`Channel::Query`].
    pub query: mpsc::Receiver<Question>,
    /// Of [`Channel::Election`].
    pub election: mpsc::Receiver<Received>,
    /// Of [`Channel::Catalog`].
    pub catalog: mpsc::Receiver<Received>,
    /// Of [`Channel::Speed`].
    pub speed: mpsc::Receiver<Received>,
}

/// The link's ends of the inboxes.
#[derive(Debug)]
pub(super) struct Inlets {
    one_way: [mpsc::Sender<Received>; Channel::ONE_WAY.len()],
    query: mpsc::Sender<Question>,
}

impl Inlets {
    pub(super) fn new() -> (Self, Inboxes) {
        let (gossip_in, gossip) = mpsc::channel(INBOX_MESSAGES_MAX);
        let (hint_in, hint) = mpsc::channel(INBOX_MESSAGES_MAX);
        let (query_in, query) = mpsc::channel(INBOX_MESSAGES_MAX);
        let (election_in, election) = mpsc::channel(INBOX_MESSAGES_MAX);
        let (catalog_in, catalog) = mpsc::channel(INBOX_CATALOGS_MAX);
        let (speed_in, speed) = mpsc::channel(INBOX_MESSAGES_MAX);
        let inlets = Self { one_way: [gossip_in, hint_in, election_in, catalog_in, speed_in], query: query_in };
        (inlets, Inboxes { gossip, hint, query, election, catalog, speed })
    }

    /// False where the message was dropped: nobody takes them fast enough, or at all.
    pub(super) fn put(&self, message: Received) -> bool {
        let at = Channel::ONE_WAY.iter().position(|channel| *channel == message.channel);
        at.is_some_and(|at| self.one_way[at].try_send(message).is_ok())
    }

    /// Where the answer will be, or `None` where the question was dropped.
    pub(super) fn ask(&self, from: PeerId, bytes: Bytes) -> Option<oneshot::Receiver<Bytes>> {
        let (answer, is_answered) = oneshot::channel();
        self.query.try_send(Question { from, bytes, answer: Answer(answer) }).ok()?;
        Some(is_answered)
    }
}

/// Who a peer says that it is.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The cluster that it belongs to.
    pub cluster: ClusterName,
    /// Its name.
    pub id: PeerId,
    /// Where it is.
    pub region: RegionName,
    /// Greater after every start.
    pub incarnation: u64,
}

impl Identity {
    /// How it greets, dialed at `advertised`, before the cluster has an id.
    pub(super) fn hello(&self, advertised: Advertised) -> Hello {
        let Self { cluster, id, region, incarnation } = self.clone();
        Hello { cluster, id, region, incarnation, advertised, cluster_id: None, software: Software::own() }
    }
}

/// A peer as its links need to know it.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Who it is.
    pub own: Identity,
    /// The UDP address that it listens on.
    pub listen: SocketAddr,
    /// Where the others dial it. `None`: where it listens.
    pub advertise: Option<SocketAddr>,
    /// Whom it takes.
    pub trust: TrustSource,
    /// How soon a silent link counts as lost.
    pub timing: Timing,
    /// What it speaks.
    pub protocols: Protocols,
}

/// How soon a silent link counts as lost: after `idle` and up to one `keep_alive`. Lower finds dead peers sooner and takes a
/// long pause for one. `idle` is at least three keep-alives, so that two may be lost on the way.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Timing {
    idle: Duration,
    keep_alive: Duration,
}

impl Timing {
    /// Peers of one machine.
    pub const LOCAL: Self = Self { idle: Duration::from_millis(500), keep_alive: Duration::from_millis(150) };
    /// Peers of one network.
    pub const LAN: Self = Self { idle: Duration::from_secs(1), keep_alive: Duration::from_millis(300) };
    /// Peers far from each other.
    pub const WAN: Self = Self { idle: Duration::from_secs(5), keep_alive: Duration::from_millis(1_500) };

    /// A link on which nothing came for so long is lost.
    pub fn idle(self) -> Duration {
        self.idle
    }

    /// On a quiet link something is sent so often.
    pub fn keep_alive(self) -> Duration {
        self.keep_alive
    }
}

/// Catalogs that were received and wait to be taken: they are large, and only the newest counts.
const INBOX_CATALOGS_MAX: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_of_channels_are_frozen() {
        for (at, channel) in Channel::ALL.into_iter().enumerate() {
            assert_eq!(usize::from(channel.number()), at + 1);
            assert_eq!(Channel::of_number(channel.number()), Some(channel));
        }
        assert_eq!(Channel::of_number(0), None, "0 is a ping");
        assert_eq!(Channel::of_number(7), None);
    }
}
