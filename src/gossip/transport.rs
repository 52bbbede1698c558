//! chitchat's transport over the link. This file alone knows how chitchat 0.11 writes its messages.
//!
//! chitchat's one task awaits `send` inline for several peers a round, so `send` only enqueues: the link dials and writes in
//! tasks of its own and drops the oldest. `recv` never fails: an error would end the gossip for good.

use std::net::SocketAddr;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use chitchat::transport::{Socket, Transport};
use chitchat::{ChitchatMessage, Deserializable, Serializable};
use tokio::sync::{OwnedMutexGuard, mpsc};

use super::budget::Budget;
use super::counts::Counts;
use crate::host;
use crate::link::{Channel, Link, Received, To};

/// What chitchat opens its socket with.
pub(super) struct LinkTransport {
    pub(super) link: Arc<dyn Link>,
    pub(super) inbox: Arc<tokio::sync::Mutex<mpsc::Receiver<Received>>>,
    pub(super) counts: Arc<Counts>,
    pub(super) bytes_per_second: u32,
}

/// The socket: as long as it lives nobody else reads the inbox.
struct LinkSocket {
    link: Arc<dyn Link>,
    inbox: OwnedMutexGuard<mpsc::Receiver<Received>>,
    counts: Arc<Counts>,
    budget: Budget,
}

#[async_trait]
impl Transport for LinkTransport {
    async fn open(&self, _listen: SocketAddr) -> anyhow::Result<Box<dyn Socket>> {
        Ok(Box::new(LinkSocket {
            link: Arc::clone(&self.link),
            inbox: Arc::clone(&self.inbox).lock_owned().await,
            counts: Arc::clone(&self.counts),
            budget: Budget::new(self.bytes_per_second, host::now()),
        }))
    }
}

#[async_trait]
impl Socket for LinkSocket {
    async fn send(&mut self, to: SocketAddr, message: ChitchatMessage) -> anyhow::Result<()> {
        let begins = matches!(message, ChitchatMessage::Syn { .. });
        let mut bytes = Vec::new();
        message.serialize(&mut bytes);
        let now = host::now();
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
            let mut rest = &received.bytes[..];
            match ChitchatMessage::deserialize(&mut rest) {
                Ok(message) if rest.is_empty() => return Ok((received.address, message)),
                Ok(_) => self.counts.unreadable(),
                Err(error) => {
                    tracing::debug!(peer = %received.from, %error, "a message of gossip cannot be read");
                    self.counts.unreadable();
                }
            }
        }
    }
}
