//! A picture of all links, for the API and for metrics.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::{Channel, SeenRefusal};
use crate::model::{PeerId, RegionName};
use crate::wire::Refusal;

/// All links of a peer as they were at one moment.
#[derive(Clone, Debug, Default)]
pub struct Links {
    /// Every peer that was met and not forgotten, in the order of ids.
    pub peers: Vec<PeerLink>,
    /// Who was refused lately, by reason and address.
    pub refusals: Vec<SeenRefusal>,
    /// What was counted since the start.
    pub counts: Counts,
}

/// One peer.
#[derive(Clone, Debug)]
pub struct PeerLink {
    /// Its name.
    pub id: PeerId,
    /// Where it is.
    pub region: RegionName,
    /// Where it can be dialed.
    pub address: SocketAddr,
    /// Which run of it was met last.
    pub incarnation: u64,
    /// What it says that it runs.
    pub software: String,
    /// Whether the link stands.
    pub state: LinkState,
    /// Since when it does, or does not.
    pub since: Instant,
    /// Messages for it that were dropped.
    pub dropped: u64,
    /// Time to the peer and back, while the link stands.
    pub rtt: Option<Duration>,
    /// Bytes sent on the link that stands, its overhead included.
    pub bytes_sent: u64,
    /// Bytes received on the link that stands, its overhead included.
    pub bytes_received: u64,
    /// Datagrams received on the link that stands: while it rises the peer's link lives, whatever its messages say.
    pub datagrams_received: u64,
}

/// Whether a link stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum LinkState {
    /// It does.
    Up,
    /// It does not, and the peer is being dialed.
    Dialing,
    /// It does not.
    Lost,
}

/// What a link counted since its start.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Counts {
    /// Of each channel, in the order of [`Channel::ALL`].
    pub channels: [ChannelCounts; Channel::ALL.len()],
    /// Of each reason, in the order of [`Refusal::ALL`].
    pub refusals: [u64; Refusal::ALL.len()],
    /// Dials begun.
    pub dials: u64,
    /// Dials that led to no link.
    pub dials_failed: u64,
    /// Links that stood.
    pub ups: u64,
    /// Links that were lost, goodbyes left out.
    pub losses: u64,
}

impl Counts {
    /// Those of one channel.
    pub fn of(&self, channel: Channel) -> &ChannelCounts {
        &self.channels[channel as usize]
    }

    /// How often this reason was met.
    pub fn refused(&self, reason: Refusal) -> u64 {
        self.refusals[reason as usize]
    }
}

/// What was counted of one channel.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct ChannelCounts {
    /// Messages that were handed to the network.
    pub sent: u64,
    /// Their bytes.
    pub bytes_sent: u64,
    /// Messages that were received whole.
    pub received: u64,
    /// Their bytes.
    pub bytes_received: u64,
    /// Messages dropped before they were sent: the outbox was full, the peer is not known or did not answer.
    pub dropped: u64,
    /// Messages that were not written or read in time.
    pub late: u64,
    /// Messages longer than the channel allows, to be sent or received.
    pub oversized: u64,
    /// Messages dropped after they were received: nobody took them in time.
    pub untaken: u64,
}
