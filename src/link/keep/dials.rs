//! Whom a peer dials, and when: the addresses that somebody wants, the pause after each failure, and what waits for whoever answers.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::{Keeper, Output, Refused, Token};
use crate::link::LinkEvent;
use crate::link::outbox::Outbox;
use crate::model::PeerId;
use crate::model::limits::{DIAL_ADDRESSES_MAX, DIALS_IN_FLIGHT_MAX};
use crate::wire::Refusal;

/// The first pause after a dial that failed; it doubles with each.
pub(super) const BACKOFF_FIRST: Duration = Duration::from_millis(100);
/// The longest pause between dials. Peers that were parted are linked again within about this time after the cut is mended,
/// and shown as suspect until then; longer would save a packet every few seconds to hosts that are gone.
pub(super) const BACKOFF_MOST: Duration = Duration::from_secs(1);

/// An address that is dialed where somebody wants that.
#[derive(Debug)]
pub(super) struct Target {
    /// Who answered there last.
    pub(super) peer: Option<PeerId>,
    pub(super) dialing: Option<Token>,
    pub(super) failures: u32,
    pub(super) not_before: Instant,
    pub(super) wanted_until: Instant,
    /// This dial is the one right after a loss; its failure is told.
    pub(super) tells_failure: bool,
    /// It leads to this very peer.
    pub(super) is_own: bool,
    /// Messages for whoever answers.
    pub(super) outbox: Outbox,
}

impl Target {
    fn new(now: Instant) -> Self {
        Self {
            peer: None,
            dialing: None,
            failures: 0,
            not_before: now,
            wanted_until: now,
            tells_failure: false,
            is_own: false,
            outbox: Outbox::default(),
        }
    }
}

impl Keeper {
    pub(super) fn dial_failed(&mut self, address: SocketAddr, refused: Option<Refused>, now: Instant) {
        let pause = self.backoff(address);
        let Some(target) = self.targets.get_mut(&address) else { return };
        target.dialing = None;
        target.failures = target.failures.saturating_add(1);
        target.not_before = now + pause;
        let tells_failure = std::mem::take(&mut target.tells_failure);
        match refused {
            // The peer is linked, or about to be, by another connection; and this address leads to it too.
            Some(Refused { reason: Refusal::Duplicate, peer: Some(id), .. }) if self.peers.contains_key(&id) => {
                self.leads_to(address, &id);
                return;
            }
            Some(Refused { reason: Refusal::Itself, .. }) => {
                target.is_own = true;
                // Messages to oneself are no loss.
                drop(std::mem::take(&mut target.outbox));
                return;
            }
            _ => {}
        }
        self.counts.dials_failed += 1;
        let mut nobodys = 0;
        self.counts.drop_all(&mut target.outbox, &mut nobodys);
        let id = target.peer.clone();
        if let Some((id, peer)) = id.and_then(|id| self.peers.get_mut(&id).map(|peer| (id, peer)))
            && peer.link.is_none()
        {
            self.counts.drop_all(&mut peer.outbox, &mut peer.dropped);
            if tells_failure {
                let incarnation = peer.hello.incarnation;
                self.outputs.push_back(Output::Tell(LinkEvent::RedialFailed { peer: id, incarnation }));
            }
        }
    }

    /// What waits for whoever answers at an address is for this peer.
    pub(super) fn leads_to(&mut self, address: SocketAddr, id: &PeerId) {
        let Some(target) = self.targets.get_mut(&address) else { return };
        target.peer = Some(id.clone());
        let Some(peer) = self.peers.get_mut(id) else { return };
        for (channel, bytes) in target.outbox.drain() {
            if peer.outbox.push(channel, bytes) {
                peer.dropped += 1;
                self.counts.channels[channel as usize].dropped += 1;
            }
        }
    }

    /// Half to all of a pause that doubles with each failure, so that peers that lost each other at once do not dial at once.
    pub(super) fn backoff(&mut self, address: SocketAddr) -> Duration {
        let failures = self.targets.get(&address).map_or(0, |target| target.failures);
        let pause = BACKOFF_FIRST.saturating_mul(1 << failures.min(10)).min(BACKOFF_MOST);
        pause.mul_f64(0.5 + self.dice.fraction() / 2.0)
    }

    pub(super) fn want(&mut self, address: SocketAddr, how_long: Duration, now: Instant) {
        if let Some(target) = self.targets.get_mut(&address) {
            target.wanted_until = target.wanted_until.max(now + how_long);
        } else if let Some(target) = self.target(address, now) {
            target.wanted_until = now + how_long;
        }
    }

    pub(super) fn dial_what_is_due(&mut self, now: Instant) {
        while !self.is_closed && self.dials_under_way() < DIALS_IN_FLIGHT_MAX {
            let due = |(_, target): &(&SocketAddr, &Target)| self.is_wanted(target, now) && target.not_before <= now;
            let next = self.targets.iter().filter(due).min_by_key(|(address, target)| (target.not_before, **address));
            let Some(address) = next.map(|(address, _)| *address) else { return };
            let token = self.begin();
            self.targets.get_mut(&address).expect("it was found there").dialing = Some(token);
            self.counts.dials += 1;
            self.outputs.push_back(Output::Dial { token, address });
        }
    }

    pub(super) fn is_wanted(&self, target: &Target, now: Instant) -> bool {
        let is_linked = || target.peer.as_ref().is_some_and(|id| self.link(id).is_some());
        target.dialing.is_none() && !target.is_own && target.wanted_until > now && !is_linked()
    }

    pub(super) fn dials_under_way(&self) -> usize {
        self.targets.values().filter(|target| target.dialing.is_some()).count()
    }

    /// The address that a connection was dialed at and that still waits for it.
    pub(super) fn dialed(&self, token: Token) -> Option<SocketAddr> {
        self.targets.iter().find(|(_, target)| target.dialing == Some(token)).map(|(address, _)| *address)
    }

    /// Who answers at an address, as far as that is known and still so.
    pub(super) fn peer_at(&self, address: SocketAddr) -> Option<PeerId> {
        let id = self.targets.get(&address)?.peer.as_ref()?;
        let peer = self.peers.get(id)?;
        (peer.link.is_some() || peer.hello.advertised.get() == address).then(|| id.clone())
    }

    /// The record of an address, made where there is none; `None` where there is no room for it.
    pub(super) fn target(&mut self, address: SocketAddr, now: Instant) -> Option<&mut Target> {
        let is_known = self.targets.contains_key(&address);
        if !is_known && self.targets.len() == DIAL_ADDRESSES_MAX {
            let is_idle = |target: &Target| target.dialing.is_none() && target.wanted_until <= now;
            let idle = self.targets.iter().filter(|(_, target)| is_idle(target) && !target.is_own);
            let oldest = idle.min_by_key(|(_, target)| target.wanted_until).map(|(address, _)| *address)?;
            self.targets.remove(&oldest);
        }
        let own = self.own.advertised.get();
        Some(self.targets.entry(address).or_insert_with(|| Target { is_own: address == own, ..Target::new(now) }))
    }
}
