//! chitchat's transport over the link.
//!
//! chitchat's one task awaits `send` inline for several peers a round, so `send` only enqueues: the link dials and writes in
//! tasks of its own and drops the oldest. `recv` never fails: an error would end the gossip for good.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use chitchat::transport::{Socket, Transport};
use chitchat::{ChitchatId, ChitchatMessage, Deserializable, Serializable};
use tokio::sync::{OwnedMutexGuard, mpsc};

use super::budget::Budget;
use super::counts::Counts;
use super::guard::Guard;
use super::rounds::Rounds;
use super::settings::Pace;
use crate::host;
use crate::link::{Channel, Link, Received, To};
use crate::model::ClusterName;

/// What chitchat opens its socket with.
pub(super) struct LinkTransport {
    pub(super) link: Arc<dyn Link>,
    pub(super) inbox: Arc<tokio::sync::Mutex<mpsc::Receiver<Received>>>,
    pub(super) counts: Arc<Counts>,
    pub(super) own: ChitchatId,
    pub(super) cluster: ClusterName,
    pub(super) pace: Pace,
}

/// The socket: as long as it lives nobody else reads the inbox.
struct LinkSocket {
    link: Arc<dyn Link>,
    inbox: OwnedMutexGuard<mpsc::Receiver<Received>>,
    counts: Arc<Counts>,
    budget: Budget,
    guard: Guard,
    rounds: Rounds,
    /// Whoever was not heard of for so long does not live.
    detection: Duration,
}

#[async_trait]
impl Transport for LinkTransport {
    async fn open(&self, _listen: SocketAddr) -> anyhow::Result<Box<dyn Socket>> {
        let now = host::now();
        Ok(Box::new(LinkSocket {
            link: Arc::clone(&self.link),
            inbox: Arc::clone(&self.inbox).lock_owned().await,
            counts: Arc::clone(&self.counts),
            budget: Budget::new(self.pace.bytes_per_second, now),
            rounds: Rounds::new(now),
            detection: self.pace.detection(),
            guard: Guard::new(self.cluster.as_str(), &self.own, self.pace.remembered(), now)?,
        }))
    }
}

#[async_trait]
impl Socket for LinkSocket {
    async fn send(&mut self, to: SocketAddr, message: ChitchatMessage) -> anyhow::Result<()> {
        let begins = matches!(message, ChitchatMessage::Syn { .. });
        let now = host::now();
        if begins && !self.rounds.begins(now, || self.guard.living(now, self.detection)) {
            return Ok(());
        }
        let mut bytes = Vec::new();
        message.serialize(&mut bytes);
        if begins && !self.budget.try_spend(bytes.len(), now) {
            self.counts.over_budget();
            return Ok(());
        }
        if !begins {
            self.budget.spend(bytes.len(), now);
        }
        self.counts.sent(bytes.len());
        self.link.send(To::Address(to), Channel::Gossip, Bytes::from(bytes));
        Ok(())
    }

    async fn recv(&mut self) -> anyhow::Result<(SocketAddr, ChitchatMessage)> {
        loop {
            let Some(received) = self.inbox.recv().await else {
                // The link is gone, and with it the peer is about to be.
                return std::future::pending().await;
            };
            self.counts.received(received.bytes.len());
            let (from, bytes) = (&received.from, &received.bytes[..]);
            let admitted = match self.guard.admit(from, received.address, bytes, host::now()) {
                Ok(admitted) => admitted,
                Err(refused) => {
                    tracing::debug!(peer = %from, why = %refused, "a message of gossip is refused");
                    if refused.is_unreadable() {
                        self.counts.unreadable();
                    } else {
                        self.counts.refused();
                    }
                    continue;
                }
            };
            if admitted.left_out > 0 {
                tracing::debug!(peer = %from, parts = admitted.left_out, "gossip is left out: there is too much of it");
                self.counts.left_out(admitted.left_out);
            }
            match ChitchatMessage::deserialize(&mut &admitted.bytes[..]) {
                Ok(message) => return Ok((received.address, message)),
                Err(error) => {
                    tracing::debug!(peer = %from, %error, "a message of gossip cannot be read");
                    self.counts.unreadable();
                }
            }
        }
    }
}
