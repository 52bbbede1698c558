//! Messages that wait for one peer: a few a channel, and the oldest gives way.

use std::collections::VecDeque;

use bytes::Bytes;

use super::Channel;
use crate::model::limits::OUTBOX_MESSAGES_MAX;

#[derive(Debug, Default)]
pub(super) struct Outbox([VecDeque<Bytes>; Channel::ALL.len()]);

impl Outbox {
    /// True where an older message had to go.
    pub(super) fn push(&mut self, channel: Channel, bytes: Bytes) -> bool {
        let waiting = &mut self.0[channel as usize];
        let full = waiting.len() == most(channel);
        if full {
            waiting.pop_front();
        }
        waiting.push_back(bytes);
        full
    }

    pub(super) fn pop(&mut self, channel: Channel) -> Option<Bytes> {
        self.0[channel as usize].pop_front()
    }

    /// Takes everything out, the oldest of a channel first.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = (Channel, Bytes)> {
        Channel::ALL
            .into_iter()
            .zip(&mut self.0)
            .flat_map(|(channel, waiting)| std::mem::take(waiting).into_iter().map(move |bytes| (channel, bytes)))
    }
}

/// Catalogs are large, and only the newest counts.
fn most(channel: Channel) -> usize {
    if channel == Channel::Catalog { 1 } else { OUTBOX_MESSAGES_MAX }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_message_of_a_full_channel_gives_way() {
        let mut outbox = Outbox::default();
        let message = |at: usize| Bytes::from(at.to_string());
        for at in 0..OUTBOX_MESSAGES_MAX {
            assert!(!outbox.push(Channel::Gossip, message(at)));
        }
        assert!(!outbox.push(Channel::Hint, message(0)), "another channel has room of its own");
        assert!(outbox.push(Channel::Gossip, message(OUTBOX_MESSAGES_MAX)));
        assert_eq!(outbox.pop(Channel::Gossip), Some(message(1)));
        assert_eq!(outbox.drain().count(), OUTBOX_MESSAGES_MAX);
        assert_eq!(outbox.pop(Channel::Gossip), None);
    }

    #[test]
    fn of_two_catalogs_the_newer_one_waits() {
        let mut outbox = Outbox::default();
        assert!(!outbox.push(Channel::Catalog, Bytes::from_static(b"old")));
        assert!(outbox.push(Channel::Catalog, Bytes::from_static(b"new")));
        assert_eq!(outbox.drain().collect::<Vec<_>>(), [(Channel::Catalog, Bytes::from_static(b"new"))]);
    }
}
