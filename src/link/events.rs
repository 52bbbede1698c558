//! Word of links that come and go, to each subscriber in order and none lost without notice.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::Notify;

use crate::model::limits::LINK_EVENTS_MAX;
use crate::model::{PeerId, RegionName};
use crate::wire::Refusal;

/// Something happened to a link.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum LinkEvent {
    /// A link stands: both sides have taken each other's hello.
    Up {
        /// Who is at its other end.
        peer: PeerId,
        /// Which run of it.
        incarnation: u64,
        /// Where it is.
        region: RegionName,
        /// Where it can be dialed.
        address: SocketAddr,
    },
    /// A link stands no more. Unless the peer said goodbye it is being dialed again: [`LinkEvent::Up`] or
    /// [`LinkEvent::RedialFailed`] follows.
    Lost {
        /// Who was at its other end.
        peer: PeerId,
        /// Which run of it.
        incarnation: u64,
        /// It ended the link itself.
        said_goodbye: bool,
    },
    /// A peer was lost, and the dial right after it failed too. Told once; dialing goes on.
    RedialFailed {
        /// Who does not answer.
        peer: PeerId,
        /// Which run of it had been linked.
        incarnation: u64,
    },
    /// Two peers did not take each other. Told once a minute for a reason and an address; all are counted.
    Refused {
        /// Why.
        reason: Refusal,
        /// The other one.
        address: SocketAddr,
        /// True where this peer was refused, false where it refused.
        by_other: bool,
    },
    /// The subscriber was late and events were dropped: look at the whole table.
    Missed,
}

/// A subscription.
#[derive(Debug)]
pub struct Events(Arc<Queue>);

impl Events {
    /// The next event. Waits for ever once the link is gone.
    ///
    /// Safe to drop while it waits: no event goes with it.
    pub async fn next(&mut self) -> LinkEvent {
        loop {
            if let Some(event) = self.try_next() {
                return event;
            }
            // An event between the look and this leaves word.
            self.0.changed.notified().await;
        }
    }

    /// The next event, if there is one already.
    pub fn try_next(&mut self) -> Option<LinkEvent> {
        self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }
}

#[derive(Debug, Default)]
struct Queue {
    waiting: Mutex<VecDeque<LinkEvent>>,
    changed: Notify,
}

/// Whoever wants to know. A subscription that was dropped is left out from the next event on.
#[derive(Debug, Default)]
pub(super) struct Subscribers(Vec<Weak<Queue>>);

impl Subscribers {
    pub(super) fn add(&mut self) -> Events {
        let queue = Arc::new(Queue::default());
        self.0.push(Arc::downgrade(&queue));
        Events(queue)
    }

    pub(super) fn tell(&mut self, event: &LinkEvent) {
        self.0.retain(|queue| {
            let Some(queue) = queue.upgrade() else { return false };
            let mut waiting = queue.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            if waiting.len() < LINK_EVENTS_MAX {
                waiting.push_back(event.clone());
            } else {
                waiting.clear();
                waiting.push_back(LinkEvent::Missed);
            }
            drop(waiting);
            queue.changed.notify_one();
            true
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lost(incarnation: u64) -> LinkEvent {
        LinkEvent::Lost { peer: "a".parse().unwrap(), incarnation, said_goodbye: false }
    }

    #[tokio::test]
    async fn every_subscriber_hears_all_in_order() {
        let mut subscribers = Subscribers::default();
        let (mut first, mut second) = (subscribers.add(), subscribers.add());
        let told = [lost(1), lost(2)];
        told.iter().for_each(|event| subscribers.tell(event));
        for events in [&mut first, &mut second] {
            assert_eq!([events.next().await, events.next().await], told);
            assert_eq!(events.try_next(), None);
        }
    }

    #[test]
    fn a_late_subscriber_is_told_to_look_for_itself_and_hears_what_follows() {
        let mut subscribers = Subscribers::default();
        let mut events = subscribers.add();
        for at in 0..=LINK_EVENTS_MAX {
            subscribers.tell(&lost(at as u64));
        }
        subscribers.tell(&lost(7));
        assert_eq!(events.try_next(), Some(LinkEvent::Missed));
        assert_eq!(events.try_next(), Some(lost(7)));
        assert_eq!(events.try_next(), None);
    }

    #[test]
    fn nothing_is_kept_for_those_who_left() {
        let mut subscribers = Subscribers::default();
        drop(subscribers.add());
        subscribers.tell(&lost(1));
        assert!(subscribers.0.is_empty());
    }
}
