//! Which links this peer keeps: whom it dials and when, which of two connections stays, who is refused.
//!
//! Pure. Connections have names (tokens) here and nothing else; a shell (`quic/`, `memory/`) opens, greets and closes them,
//! says what became of them, and performs the outputs in their order. It knows no socket, no clock and no certificate: the
//! shell says what the time is and whether a certificate names the id of a hello.
//!
//! Every entry ends in the same few rules about one table of peers and one of addresses (`keep/dials.rs`). What can be decided
//! apart stands apart: which of two connections stays (`settle.rs`), what waits (`outbox.rs`), who was refused (`refusals.rs`).
//!
//! A connection's way: [`Keeper::begin`] or [`Output::Dial`] names it; [`Keeper::greeted`] says who is at its other end;
//! [`Output::Take`] or [`Output::Refuse`] decides; [`Keeper::ended`] says that it is gone, however that came.

use crate::model::ClusterId;
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;

use self::dials::{BACKOFF_FIRST, Target};
use super::outbox::Outbox;
use super::refusals::Refusals;
use super::settle::{Settled, Side, Standing, settle};
use super::{Channel, Counts, LinkEvent, LinkState, Links, PeerLink, To};
use crate::host::Dice;
use crate::model::PeerId;
use crate::model::limits::{DIALS_IN_FLIGHT_MAX, PEERS_MAX};
use crate::wire::{Hello, Refusal};

mod dials;

/// A message asks for its address to be dialed for so long.
const WANTED_BY_MESSAGE: Duration = Duration::from_secs(30);
/// A lost peer is dialed for so long, though nobody sends to it.
const WANTED_BY_LOSS: Duration = Duration::from_secs(600);
/// A peer that said goodbye is left alone for so long: it ends, and may be started again.
const PAUSE_AFTER_GOODBYE: Duration = Duration::from_millis(500);

/// Names a connection, or the try to get one, at this peer.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(super) struct Token(u64);

/// What the shell does, in this order.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Output {
    /// Dial, and say hello.
    Dial { token: Token, address: SocketAddr },
    /// Ask the other end of `old` whether it lives, within the time for that, and say so by [`Keeper::pinged`].
    Ping { old: Token, newcomer: Token },
    /// Welcome the other end, where it dialed, and carry messages.
    Take { token: Token },
    /// Say this to the other end, and close.
    Refuse { token: Token, reason: Refusal },
    /// Another connection has its place: send nothing more on it, read what is under way, and close.
    Retire { token: Token },
    /// Say goodbye.
    Close { token: Token },
    /// Tell every subscriber.
    Tell(LinkEvent),
}

/// A connection whose other end has said who it is.
#[derive(Clone, Debug)]
pub(super) struct Newcomer {
    pub(super) token: Token,
    pub(super) side: Side,
    /// Where its packets come from.
    pub(super) remote: SocketAddr,
    pub(super) hello: Hello,
    /// Its certificate carries this id and the name of this cluster.
    pub(super) is_named: bool,
}

/// Why a dial led to no link, where it is known.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Refused {
    pub(super) reason: Refusal,
    /// True where the other end refused, false where this one did.
    pub(super) by_other: bool,
    /// Who answered, as far as it was said.
    pub(super) peer: Option<PeerId>,
}

/// How a connection that had been taken came to its end.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Ended {
    /// The other end said goodbye.
    Goodbye,
    /// The other end refuses this peer after all.
    Refused(Refusal),
    /// Nothing was heard for too long, or the other end does not know it any more.
    Lost,
}

/// The machine.
#[derive(Debug)]
pub(super) struct Keeper {
    own: Hello,
    dice: Dice,
    peers: BTreeMap<PeerId, Peer>,
    targets: BTreeMap<SocketAddr, Target>,
    /// Whose each connection is that was taken and has not ended.
    taken: BTreeMap<Token, PeerId>,
    /// Those that wait until the one before them has answered, or not.
    waiting: BTreeMap<Token, Newcomer>,
    refusals: Refusals,
    counts: Counts,
    outputs: VecDeque<Output>,
    last_token: u64,
    is_closed: bool,
}

/// A peer that was met.
#[derive(Debug)]
struct Peer {
    hello: Hello,
    link: Option<(Token, Side)>,
    since: Instant,
    outbox: Outbox,
    dropped: u64,
}

impl Keeper {
    pub(super) fn new(own: Hello, dice: Dice) -> Self {
        Self {
            own,
            dice,
            peers: BTreeMap::new(),
            targets: BTreeMap::new(),
            taken: BTreeMap::new(),
            waiting: BTreeMap::new(),
            refusals: Refusals::default(),
            counts: Counts::default(),
            outputs: VecDeque::new(),
            last_token: 0,
            is_closed: false,
        }
    }

    // What a shell says.

    /// A connection was accepted, and nothing is known of it yet.
    pub(super) fn begin(&mut self) -> Token {
        self.last_token += 1;
        Token(self.last_token)
    }

    /// Puts a message into an outbox. Returns the connection that is to carry it, if one stands.
    pub(super) fn send(&mut self, to: &To, channel: Channel, bytes: Bytes, now: Instant) -> Option<Token> {
        let counts = &mut self.counts.channels[channel as usize];
        if bytes.len() > channel.bytes_max() {
            counts.oversized += 1;
            return None;
        }
        if self.is_closed || !Channel::ONE_WAY.contains(&channel) {
            counts.dropped += 1;
            return None;
        }
        let (id, address) = match to {
            To::Peer(id) => {
                let Some(peer) = self.peers.get(id) else {
                    counts.dropped += 1;
                    return None;
                };
                (Some(id.clone()), peer.hello.advertised.get())
            }
            To::Address(address) => (self.peer_at(*address), *address),
        };
        let linked = match id.and_then(|id| self.peers.get_mut(&id)) {
            Some(peer) => {
                if peer.outbox.push(channel, bytes) {
                    peer.dropped += 1;
                    self.counts.channels[channel as usize].dropped += 1;
                }
                peer.link.map(|(token, _)| token)
            }
            None => {
                let dropped = match self.target(address, now) {
                    Some(target) if target.is_own => return None,
                    Some(target) => target.outbox.push(channel, bytes),
                    None => true,
                };
                self.counts.channels[channel as usize].dropped += u64::from(dropped);
                None
            }
        };
        if linked.is_none() {
            self.want(address, WANTED_BY_MESSAGE, now);
            self.dial_what_is_due(now);
        }
        linked
    }

    /// The next message that this connection is to carry; `Err` where it carries none any more.
    pub(super) fn next_message(&mut self, token: Token, channel: Channel) -> Result<Option<Bytes>, Gone> {
        let peer = self.taken.get(&token).and_then(|id| self.peers.get_mut(id)).ok_or(Gone)?;
        if peer.link.is_some_and(|(link, _)| link == token) { Ok(peer.outbox.pop(channel)) } else { Err(Gone) }
    }

    /// The other end of a connection has said who it is.
    pub(super) fn greeted(&mut self, newcomer: Newcomer, now: Instant) {
        if self.is_closed {
            return;
        }
        if let Err(reason) = self.check(&newcomer) {
            self.refuse(&newcomer, reason, now);
            return;
        }
        let Some(peer) = self.peers.get(&newcomer.hello.id) else {
            if self.make_room() {
                self.take(newcomer, now);
            } else {
                self.refuse(&newcomer, Refusal::Full, now);
            }
            return;
        };
        let Some((old, side)) = peer.link else {
            self.take(newcomer, now);
            return;
        };
        let standing = Standing { side, incarnation: peer.hello.incarnation };
        let new = Standing { side: newcomer.side, incarnation: newcomer.hello.incarnation };
        match settle(&self.own.id, &newcomer.hello.id, standing, new) {
            Settled::Replace => self.take(newcomer, now),
            Settled::IfOldIsDead(_) => {
                self.outputs.push_back(Output::Ping { old, newcomer: newcomer.token });
                self.waiting.insert(newcomer.token, newcomer);
            }
        }
    }

    /// The connection that `newcomer` met was asked whether it lives.
    pub(super) fn pinged(&mut self, old: Token, newcomer: Token, answered: bool, now: Instant) {
        let Some(newcomer) = self.waiting.remove(&newcomer) else { return };
        let link = self.peers.get(&newcomer.hello.id).and_then(|peer| peer.link.map(|link| (link, &peer.hello)));
        match link {
            Some(((link, _), hello)) if link == old && answered => {
                match (hello.incarnation == newcomer.hello.incarnation, newcomer.side) {
                    (true, Side::Dialed) => self.read_out(&newcomer, now),
                    (true, Side::Accepted) => self.refuse(&newcomer, Refusal::Duplicate, now),
                    (false, _) => self.refuse(&newcomer, Refusal::IdTaken, now),
                }
            }
            Some(((link, _), _)) if link == old => self.take(newcomer, now),
            // Much happened meanwhile: settle it anew.
            _ => self.greeted(newcomer, now),
        }
    }

    /// A connection ended that had not been taken: nobody answered, or one end refused.
    pub(super) fn failed(&mut self, token: Token, refused: Option<Refused>, now: Instant) {
        self.waiting.remove(&token);
        if let Some(address) = self.dialed(token) {
            if let Some(Refused { reason, by_other, .. }) = refused {
                self.refused(reason, address, by_other, now);
            }
            self.dial_failed(address, refused, now);
        }
        self.dial_what_is_due(now);
    }

    /// Somebody was refused, or refused this peer, before a hello could say who: counted and told.
    pub(super) fn refused(&mut self, reason: Refusal, address: SocketAddr, by_other: bool, now: Instant) {
        if !self.is_closed && reason.is_fault() && self.refusals.note(reason, address, by_other, now) {
            self.outputs.push_back(Output::Tell(LinkEvent::Refused { reason, address, by_other }));
        }
    }

    /// A connection ended that had been taken.
    pub(super) fn ended(&mut self, token: Token, how: Ended, now: Instant) {
        let Some(id) = self.taken.remove(&token) else { return };
        let Some(peer) = self.peers.get_mut(&id) else { return };
        if peer.link.is_none_or(|(link, _)| link != token) {
            return;
        }
        peer.link = None;
        peer.since = now;
        if self.is_closed {
            return;
        }
        let (incarnation, address) = (peer.hello.incarnation, peer.hello.advertised.get());
        let said_goodbye = how == Ended::Goodbye;
        if said_goodbye {
            self.counts.drop_all(&mut peer.outbox, &mut peer.dropped);
        } else {
            self.counts.losses += 1;
        }
        self.outputs.push_back(Output::Tell(LinkEvent::Lost { peer: id.clone(), incarnation, said_goodbye }));
        if let Ended::Refused(reason) = how {
            self.refused(reason, address, true, now);
        }
        if let Some(target) = self.target(address, now) {
            target.peer = Some(id);
            target.failures = 0;
            target.tells_failure = !said_goodbye;
            target.not_before = match how {
                Ended::Goodbye => now + PAUSE_AFTER_GOODBYE,
                Ended::Refused(_) => now + BACKOFF_FIRST,
                Ended::Lost => now,
            };
        }
        self.want(address, WANTED_BY_LOSS, now);
        self.dial_what_is_due(now);
    }

    /// Time has passed.
    pub(super) fn on_time(&mut self, now: Instant) {
        self.dial_what_is_due(now);
    }

    /// Ends the link to a peer and knows it no longer.
    pub(super) fn forget(&mut self, id: &PeerId) {
        if let Some(Peer { link: Some((token, _)), .. }) = self.peers.remove(id) {
            self.outputs.push_back(Output::Close { token });
        }
        self.targets.retain(|_, target| target.peer.as_ref() != Some(id) || target.dialing.is_some());
    }

    /// The shell closes everything: from here on nobody is dialed or taken, and nothing is told.
    pub(super) fn close(&mut self) {
        self.is_closed = true;
        self.outputs.clear();
    }

    /// The cluster has this id from now on.
    pub(super) fn set_cluster_id(&mut self, cluster_id: ClusterId) {
        self.own.cluster_id = Some(cluster_id);
    }

    // What a shell asks.

    /// The next thing to do.
    pub(super) fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Whether it was closed.
    pub(super) fn is_closed(&self) -> bool {
        self.is_closed
    }

    /// When [`Keeper::on_time`] is due.
    pub(super) fn next_deadline(&self, now: Instant) -> Option<Instant> {
        // With every dial under way, the end of one of them is the next event.
        if self.is_closed || self.dials_under_way() >= DIALS_IN_FLIGHT_MAX {
            return None;
        }
        self.targets.values().filter(|target| self.is_wanted(target, now)).map(|target| target.not_before).min()
    }

    /// What this peer says of itself.
    pub(super) fn own(&self) -> &Hello {
        &self.own
    }

    /// Who is at the other end of a connection that was taken, and where it can be dialed.
    pub(super) fn owner(&self, token: Token) -> Option<(PeerId, SocketAddr)> {
        let id = self.taken.get(&token)?;
        self.peers.get(id).map(|peer| (id.clone(), peer.hello.advertised.get()))
    }

    /// The connection to a peer.
    pub(super) fn link(&self, id: &PeerId) -> Option<Token> {
        self.peers.get(id)?.link.map(|(token, _)| token)
    }

    /// The counts, for what the shell sees.
    pub(super) fn counts(&mut self) -> &mut Counts {
        &mut self.counts
    }

    /// The picture, where the shell fills in what it alone can measure of a connection.
    pub(super) fn known(&self, now: Instant, measure: impl Fn(Token, &mut PeerLink)) -> Links {
        let picture = |(id, peer): (&PeerId, &Peer)| {
            let address = peer.hello.advertised.get();
            let is_dialing = || self.targets.get(&address).is_some_and(|target| target.dialing.is_some());
            let mut link = PeerLink {
                id: id.clone(),
                region: peer.hello.region.clone(),
                address,
                incarnation: peer.hello.incarnation,
                software: peer.hello.software.as_str().to_owned(),
                state: match peer.link {
                    Some(_) => LinkState::Up,
                    None if is_dialing() => LinkState::Dialing,
                    None => LinkState::Lost,
                },
                since: peer.since,
                dropped: peer.dropped,
                rtt: None,
                bytes_sent: 0,
                bytes_received: 0,
                datagrams_received: 0,
            };
            if let Some((token, _)) = peer.link {
                measure(token, &mut link);
            }
            link
        };
        Links {
            peers: self.peers.iter().map(picture).collect(),
            refusals: self.refusals.seen(now).collect(),
            counts: Counts { refusals: self.refusals.totals(), ..self.counts },
        }
    }

    // How it decides.

    fn check(&self, newcomer: &Newcomer) -> Result<(), Refusal> {
        let hello = &newcomer.hello;
        if hello.cluster != self.own.cluster {
            return Err(Refusal::WrongCluster);
        }
        if !newcomer.is_named {
            return Err(Refusal::WrongId);
        }
        if hello.id == self.own.id {
            let itself = hello.incarnation == self.own.incarnation;
            return Err(if itself { Refusal::Itself } else { Refusal::IdTaken });
        }
        match (hello.cluster_id, self.own.cluster_id) {
            (Some(theirs), Some(ours)) if theirs != ours => Err(Refusal::OtherCluster),
            _ => Ok(()),
        }
    }

    fn take(&mut self, newcomer: Newcomer, now: Instant) {
        let Newcomer { token, side, hello, .. } = newcomer;
        let id = hello.id.clone();
        let (incarnation, region, address) = (hello.incarnation, hello.region.clone(), hello.advertised.get());
        let before = self.peers.get(&id).map(|peer| (peer.link, peer.hello.incarnation));

        // A new run behind a link that stood: the old one was lost, and it is said in that order.
        let replaced = before.and_then(|(link, _)| link);
        let same_run = before.is_some_and(|(_, known)| known == incarnation);
        if let Some((old, _)) = replaced {
            self.outputs.push_back(Output::Retire { token: old });
            if let Some((_, incarnation)) = before.filter(|_| !same_run) {
                self.counts.losses += 1;
                let lost = LinkEvent::Lost { peer: id.clone(), incarnation, said_goodbye: false };
                self.outputs.push_back(Output::Tell(lost));
            }
        }

        let peer = self.peers.entry(id.clone()).or_insert_with(|| Peer {
            hello: hello.clone(),
            link: None,
            since: now,
            outbox: Outbox::default(),
            dropped: 0,
        });
        peer.hello = hello;
        peer.link = Some((token, side));
        self.taken.insert(token, id.clone());
        self.outputs.push_back(Output::Take { token });
        if !(replaced.is_some() && same_run) {
            self.peers.get_mut(&id).expect("it was put there").since = now;
            self.counts.ups += 1;
            self.outputs.push_back(Output::Tell(LinkEvent::Up { peer: id.clone(), incarnation, region, address }));
        }

        let dialed = self.dialed(token);
        if let Some(target) = dialed.and_then(|address| self.targets.get_mut(&address)) {
            target.dialing = None;
        }
        let _ = self.target(address, now);
        for address in dialed.into_iter().chain([address]) {
            if let Some(target) = self.targets.get_mut(&address) {
                target.failures = 0;
                target.tells_failure = false;
                target.not_before = now;
            }
            self.leads_to(address, &id);
        }
        self.dial_what_is_due(now);
    }

    /// A dial was welcomed, and yet another connection stays: the other end may have sent something on this one before it
    /// found the same, so it is read before it is closed.
    fn read_out(&mut self, newcomer: &Newcomer, now: Instant) {
        self.taken.insert(newcomer.token, newcomer.hello.id.clone());
        self.outputs.push_back(Output::Take { token: newcomer.token });
        self.outputs.push_back(Output::Retire { token: newcomer.token });
        if let Some(address) = self.dialed(newcomer.token) {
            let peer = Some(newcomer.hello.id.clone());
            self.dial_failed(address, Some(Refused { reason: Refusal::Duplicate, by_other: false, peer }), now);
        }
        self.dial_what_is_due(now);
    }

    fn refuse(&mut self, newcomer: &Newcomer, reason: Refusal, now: Instant) {
        self.outputs.push_back(Output::Refuse { token: newcomer.token, reason });
        self.refused(reason, newcomer.remote, false, now);
        if let Some(address) = self.dialed(newcomer.token) {
            let peer = Some(newcomer.hello.id.clone());
            self.dial_failed(address, Some(Refused { reason, by_other: false, peer }), now);
        }
        self.dial_what_is_due(now);
    }

    /// Lets go of the peer that has been lost the longest, where the table is full. False where all are linked.
    fn make_room(&mut self) -> bool {
        if self.peers.len() < PEERS_MAX {
            return true;
        }
        let lost = self.peers.iter().filter(|(_, peer)| peer.link.is_none());
        let Some(id) = lost.min_by_key(|(_, peer)| peer.since).map(|(id, _)| id.clone()) else { return false };
        self.forget(&id);
        true
    }
}

/// A connection carries nothing any more.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Gone;

impl Counts {
    fn drop_all(&mut self, outbox: &mut Outbox, dropped: &mut u64) {
        for (channel, _) in outbox.drain() {
            self.channels[channel as usize].dropped += 1;
            *dropped += 1;
        }
    }
}

#[cfg(test)]
mod tests;
