//! How a peer gossips.

use std::net::SocketAddr;
use std::time::Duration;

use crate::model::limits::GOSSIP_BYTES_PER_SECOND_MAX;
use crate::model::{ClusterName, PeerId, Preset, RegionName};

/// How a peer gossips.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The cluster's name.
    pub cluster: ClusterName,
    /// This peer's id.
    pub id: PeerId,
    /// Where it is.
    pub region: RegionName,
    /// Where others reach it.
    pub advertise: SocketAddr,
    /// Where its API listens, for people.
    pub api: String,
    /// Whom it asks first.
    pub seeds: Vec<Seed>,
    /// How fast.
    pub pace: Pace,
}

/// An address that may be a name.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Seed {
    /// An address.
    Address(SocketAddr),
    /// A name, resolved again while nobody is found there, and a port.
    Name(String, u16),
}

/// How fast peers gossip, and when silence is death.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pace {
    /// Between two rounds. Death takes six to nine of them to be seen by all at phi 8, and twelve among 20 to 100 peers, which begin
    /// every second exchange only.
    pub interval: Duration,
    /// How many times its usual pause a peer may be silent (as the exponential model of phi counts it). Healthy clusters
    /// of up to 100 peers were never seen above 5.3.
    pub phi: f64,
    /// A dead peer stays in the digests for half of this time and in the state for all of it.
    pub grace: Duration,
    /// Bytes of rounds that this peer begins and of answers that it gives; above it no new rounds are begun.
    pub bytes_per_second: u32,
}

impl Pace {
    /// What a preset means.
    pub fn of(preset: Preset) -> Self {
        let (interval, phi) = match preset {
            Preset::Local => (Duration::from_millis(50), 8.0),
            Preset::Lan => (Duration::from_millis(100), 8.0),
            Preset::Wan => (Duration::from_secs(1), 8.0),
        };
        Self {
            interval,
            phi,
            // Every restart leaves the id of the process before in everybody's digests. Seeds, not ghosts, heal a
            // cluster that was parted for longer.
            grace: Duration::from_secs(120),
            bytes_per_second: GOSSIP_BYTES_PER_SECOND_MAX,
        }
    }

    /// How long a death takes to be seen: phi is the silence over its usual length, which is at most the interval in a cluster
    /// of up to 8 peers, and half as much again in a large one.
    pub fn detection(&self) -> Duration {
        self.interval.mul_f64(self.phi)
    }

    /// A pause between two heartbeats that is longer is an outage and no sample for phi: a death would have been seen before.
    /// A long sample lets a peer that is dead, and of which somebody just remembered one more heartbeat, live again for longer:
    /// one of 0.8 s for up to 1.7 s, one of 1.6 s for 2.8 s.
    pub fn sample_max(&self) -> Duration {
        self.detection()
    }

    /// For how long gossip keeps a peer that is silent, at most: until phi sees it, were all samples of the longest, and then
    /// for the grace.
    pub fn remembered(&self) -> Duration {
        self.grace + self.sample_max().mul_f64(self.phi) + self.interval
    }
}
