//! What happens in a simulated network, and when: one queue of parcels and timers, in the order of their time.
//!
//! Long, and one subject: each thing that happens may put others into the queue, so all that may happen stands in one place,
//! by the order of the headings below (what a test does, what a link does, what the driver does, how it happens).

use std::collections::{BTreeMap, BTreeSet};
use std::hash::Hasher;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::oneshot;
use xxhash_rust::xxh3::Xxh3Default;

use super::super::events::Subscribers;
use super::super::keep::{Ended, Keeper, Newcomer, Output, Refused, Token};
use super::super::settle::Side;
use super::super::{AskError, Channel, Events, Inboxes, Inlets, Links, Received, Timing, To};
use super::{Path, address_of};
use crate::host::{self, Dice};
use crate::model::PeerId;
use crate::wire::{Hello, HelloAnswer, Refusal};

/// As over QUIC.
const GREETING_LIMIT: Duration = Duration::from_secs(2);
const PING_LIMIT: Duration = Duration::from_millis(300);
const RETIRED_FOR: Duration = Duration::from_secs(1);
/// What was lost is sent again after this and four times the delay; then after twice as long, and so on.
const RETRY_FIRST: Duration = Duration::from_millis(25);
/// Longer than anything is tried.
const BURIED_AFTER: Duration = Duration::from_secs(30);

type Number = u64;

/// The network and all its peers.
pub(super) struct World {
    dice: Dice,
    peers: BTreeMap<SocketAddr, Process>,
    connections: BTreeMap<Number, Connection>,
    paths: BTreeMap<(SocketAddr, SocketAddr), Path>,
    usual_path: Path,
    cuts: BTreeSet<(SocketAddr, SocketAddr)>,
    queue: BTreeMap<(Instant, Number), Due>,
    questions: Vec<Asked>,
    last_number: Number,
    last_address: u32,
    began: Instant,
    trace: Xxh3Default,
}

/// A peer.
struct Process {
    /// Another one after each start.
    run: Number,
    keeper: Keeper,
    inlets: Inlets,
    subscribers: Subscribers,
    timing: Timing,
    ends: BTreeMap<Token, End>,
    asking: BTreeMap<Number, (Token, oneshot::Sender<Result<Bytes, AskError>>)>,
    pinging: BTreeMap<Number, (Token, Token)>,
    /// What came while it was paused.
    paused: Option<Vec<Due>>,
    /// When its keeper is called next.
    deadline: Option<Instant>,
}

/// Which end of which connection.
#[derive(Clone, Copy)]
struct End {
    connection: Number,
    side: usize,
}

impl End {
    fn other(self) -> Self {
        Self { side: 1 - self.side, ..self }
    }
}

struct Connection {
    /// The one that dialed, and the one that accepted.
    sides: [Option<Standing>; 2],
    addresses: [SocketAddr; 2],
}

/// What one end knows of its connection.
struct Standing {
    run: Number,
    token: Token,
    heard: Instant,
    parcels: u64,
    is_taken: bool,
}

/// What happens at a time.
enum Due {
    /// A parcel is put on its way, perhaps not for the first time, by this run of the peer there.
    Try { from: End, run: Option<Number>, parcel: Parcel, begun: Instant, tries: u32 },
    /// A parcel arrives.
    Arrive { at: End, parcel: Parcel },
    /// An end that is still there says that it is.
    KeepAlive { end: End },
    /// An end looks whether it has heard anything.
    Idle { end: End },
    /// A dial has taken too long.
    GiveUp { end: End },
    /// A ping has.
    NoPong { address: SocketAddr, run: Number, ping: Number },
    /// A connection whose place another one has is closed.
    Close { end: End, why: Farewell },
    /// A keeper's deadline.
    Deadline { address: SocketAddr, run: Number },
    /// Nothing of a connection can be under way any more.
    Bury { connection: Number },
}

/// What goes from one end to the other.
#[derive(Clone)]
enum Parcel {
    Hello(Bytes),
    Answer(Bytes),
    Message(Channel, Bytes),
    Question(Number, Bytes),
    Reply(Number, Option<Bytes>),
    Ping(Number),
    Pong(Number),
    KeepAlive,
    Farewell(Farewell),
}

#[derive(Clone, Copy)]
enum Farewell {
    Goodbye,
    Refused(Refusal),
    Retired,
    /// Said by whoever does not know the connection.
    Reset,
}

/// A question that somebody is to answer.
pub(super) struct Asked {
    pub(super) asked: Place,
    pub(super) is_answered: oneshot::Receiver<Bytes>,
}

/// Where an answer goes.
#[derive(Clone, Copy)]
pub(super) struct Place {
    end: End,
    question: Number,
}

impl Parcel {
    /// How long it is tried. What is not said here is tried once.
    fn limit(&self) -> Option<Duration> {
        match self {
            Self::Message(channel, _) => Some(channel.limit()),
            Self::Hello(_) | Self::Answer(_) => Some(GREETING_LIMIT),
            Self::Question(..) | Self::Reply(..) => Some(Channel::Query.limit()),
            Self::Ping(_) | Self::Pong(_) => Some(PING_LIMIT),
            Self::KeepAlive | Self::Farewell(_) => None,
        }
    }

    /// For the trace: what it is, and its bytes.
    fn mark(&self) -> (u8, &[u8]) {
        match self {
            Self::Hello(bytes) => (1, bytes),
            Self::Answer(bytes) => (2, bytes),
            Self::Message(_, bytes) => (3, bytes),
            Self::Question(_, bytes) => (4, bytes),
            Self::Reply(_, bytes) => (5, bytes.as_deref().unwrap_or_default()),
            Self::Ping(_) => (6, &[]),
            Self::Pong(_) => (7, &[]),
            Self::KeepAlive => (8, &[]),
            Self::Farewell(_) => (9, &[]),
        }
    }
}

impl World {
    pub(super) fn new(dice: Dice) -> Self {
        Self {
            dice,
            peers: BTreeMap::new(),
            connections: BTreeMap::new(),
            paths: BTreeMap::new(),
            usual_path: Path::default(),
            cuts: BTreeSet::new(),
            queue: BTreeMap::new(),
            questions: Vec::new(),
            last_number: 0,
            last_address: 0,
            began: host::now(),
            trace: Xxh3Default::new(),
        }
    }

    // What a test does to it.

    pub(super) fn free_address(&mut self) -> SocketAddr {
        loop {
            self.last_address += 1;
            let address = address_of(self.last_address);
            if !self.peers.contains_key(&address) {
                return address;
            }
        }
    }

    pub(super) fn start(&mut self, own: Hello, timing: Timing) -> (u64, Inboxes) {
        let run = self.number();
        let (inlets, inboxes) = Inlets::new();
        let address = own.advertised.get();
        let process = Process {
            run,
            keeper: Keeper::new(own, Dice::from_seed(self.dice.bits())),
            inlets,
            subscribers: Subscribers::default(),
            timing,
            ends: BTreeMap::new(),
            asking: BTreeMap::new(),
            pinging: BTreeMap::new(),
            paused: None,
            deadline: None,
        };
        self.peers.insert(address, process);
        (run, inboxes)
    }

    pub(super) fn set_path(&mut self, from: SocketAddr, to: SocketAddr, path: Path) {
        self.paths.insert((from, to), path);
    }

    pub(super) fn set_paths(&mut self, path: Path) {
        self.usual_path = path;
    }

    pub(super) fn cut(&mut self, from: SocketAddr, to: SocketAddr) {
        self.cuts.insert((from, to));
    }

    pub(super) fn mend(&mut self, from: SocketAddr, to: SocketAddr) {
        self.cuts.remove(&(from, to));
    }

    pub(super) fn pause(&mut self, address: SocketAddr) {
        if let Some(process) = self.peers.get_mut(&address) {
            process.paused.get_or_insert_default();
        }
    }

    pub(super) fn resume(&mut self, address: SocketAddr, now: Instant) {
        let held = self.peers.get_mut(&address).and_then(|process| process.paused.take());
        for due in held.into_iter().flatten() {
            self.at(now, due);
        }
        self.follow(address, now);
    }

    pub(super) fn kill(&mut self, address: SocketAddr) {
        self.peers.remove(&address);
    }

    pub(super) fn trace(&self) -> u64 {
        self.trace.digest()
    }

    // What a link does.

    pub(super) fn send(&mut self, from: SocketAddr, to: &To, channel: Channel, bytes: Bytes, now: Instant) {
        self.keeper(from, |keeper| keeper.send(to, channel, bytes, now));
        self.follow(from, now);
    }

    pub(super) fn ask(
        &mut self,
        from: SocketAddr,
        to: &PeerId,
        question: Bytes,
        answer: oneshot::Sender<Result<Bytes, AskError>>,
        now: Instant,
    ) -> Result<(), AskError> {
        if question.len() > Channel::Query.bytes_max() {
            self.count(from, Channel::Query, |counts| counts.oversized += 1);
            return Err(AskError::TooLong);
        }
        let number = self.number();
        let process = self.peers.get_mut(&from).ok_or(AskError::NotLinked)?;
        let token = process.keeper.link(to).ok_or(AskError::NotLinked)?;
        let end = *process.ends.get(&token).ok_or(AskError::NotLinked)?;
        process.asking.insert(number, (token, answer));
        let length = question.len() as u64;
        self.count(from, Channel::Query, |counts| {
            counts.sent += 1;
            counts.bytes_sent += length;
        });
        self.post(end, Parcel::Question(number, question), now);
        Ok(())
    }

    pub(super) fn answer(&mut self, to: Place, answer: Option<Bytes>, now: Instant) {
        self.post(to.end, Parcel::Reply(to.question, answer), now);
    }

    pub(super) fn known(&self, address: SocketAddr) -> Links {
        let Some(process) = self.peers.get(&address) else { return Links::default() };
        process.keeper.known(host::now(), |token, link| {
            let standing = process.ends.get(&token).and_then(|end| self.standing(*end));
            link.datagrams_received = standing.map_or(0, |standing| standing.parcels);
            let there = self.path(address, link.address).delay;
            link.rtt = Some(there + self.path(link.address, address).delay);
        })
    }

    pub(super) fn is_running(&self, address: SocketAddr, run: u64) -> bool {
        self.peers.get(&address).is_some_and(|process| process.run == run)
    }

    pub(super) fn events(&mut self, address: SocketAddr) -> Events {
        self.peers.get_mut(&address).map_or_else(|| Subscribers::default().add(), |process| process.subscribers.add())
    }

    pub(super) fn forget(&mut self, address: SocketAddr, peer: &PeerId, now: Instant) {
        self.keeper(address, |keeper| keeper.forget(peer));
        self.follow(address, now);
    }

    pub(super) fn close(&mut self, address: SocketAddr, now: Instant) {
        let Some(process) = self.peers.get_mut(&address) else { return };
        process.keeper.close();
        let ends: Vec<End> = process.ends.values().copied().collect();
        for end in ends {
            self.leave(end, Farewell::Goodbye, now);
        }
        self.peers.remove(&address);
    }

    pub(super) fn keeper<T>(&mut self, address: SocketAddr, say: impl FnOnce(&mut Keeper) -> T) -> Option<T> {
        self.peers.get_mut(&address).map(|process| say(&mut process.keeper))
    }

    // What the driver does.

    pub(super) fn next_due(&self) -> Option<Instant> {
        self.queue.first_key_value().map(|((due, _), _)| *due)
    }

    /// Makes happen what is due.
    pub(super) fn run(&mut self, now: Instant) {
        while let Some(entry) = self.queue.first_entry().filter(|entry| entry.key().0 <= now) {
            let due = entry.remove();
            self.happen(due, now);
        }
    }

    /// Questions that have arrived since the last time.
    pub(super) fn take_questions(&mut self) -> Vec<Asked> {
        std::mem::take(&mut self.questions)
    }

    // How it happens.

    fn happen(&mut self, due: Due, now: Instant) {
        if let Due::Bury { connection } = due {
            let is_live = |side| self.process_of(End { connection, side }).is_some();
            if !is_live(0) && !is_live(1) {
                self.connections.remove(&connection);
            }
            return;
        }
        let Some(address) = self.whose(&due) else { return };
        if let Some(held) = self.peers.get_mut(&address).and_then(|process| process.paused.as_mut()) {
            held.push(due);
            return;
        }
        match due {
            Due::Try { from, run, parcel, begun, tries } => {
                // Whoever is dead sends nothing again. A farewell is said on the way out.
                if matches!(parcel, Parcel::Farewell(_)) || self.run_of(address) == run {
                    self.try_to_send(from, parcel, begun, tries, now);
                }
            }
            Due::Arrive { at, parcel } => self.arrive(at, parcel, now),
            Due::KeepAlive { end } => {
                if let Some(process) = self.process_of(end) {
                    let pause = process.timing.keep_alive;
                    self.post(end, Parcel::KeepAlive, now);
                    self.at(now + pause, Due::KeepAlive { end });
                }
            }
            Due::Idle { end } => {
                let (Some(standing), Some(process)) = (self.standing(end), self.process_of(end)) else { return };
                let (idle, is_taken) = (process.timing.idle, standing.is_taken);
                let silent_until = standing.heard + idle;
                if silent_until > now {
                    self.at(silent_until, Due::Idle { end });
                } else if is_taken {
                    self.end(end, Farewell::Reset, now);
                } else {
                    // A greeting has a limit of its own.
                    self.at(now + idle, Due::Idle { end });
                }
            }
            Due::GiveUp { end } => {
                if self.standing(end).is_some_and(|standing| !standing.is_taken) {
                    self.end(end, Farewell::Reset, now);
                }
            }
            Due::NoPong { address, run, ping } => {
                if self.peers.get(&address).is_some_and(|process| process.run == run) {
                    self.ponged(address, ping, false, now);
                }
            }
            Due::Close { end, why } => self.leave(end, why, now),
            Due::Deadline { address, run } => {
                if let Some(process) = self.peers.get_mut(&address).filter(|process| process.run == run) {
                    process.deadline = None;
                    process.keeper.on_time(now);
                    self.follow(address, now);
                }
            }
            Due::Bury { .. } => {}
        }
    }

    /// At whose end it happens: whoever is paused there does not notice yet.
    fn whose(&self, due: &Due) -> Option<SocketAddr> {
        let address = |end: &End| Some(self.connections.get(&end.connection)?.addresses[end.side]);
        match due {
            Due::Try { from: end, .. }
            | Due::Arrive { at: end, .. }
            | Due::KeepAlive { end }
            | Due::Idle { end }
            | Due::GiveUp { end }
            | Due::Close { end, .. } => address(end),
            Due::NoPong { address, .. } | Due::Deadline { address, .. } => Some(*address),
            Due::Bury { .. } => None,
        }
    }

    fn try_to_send(&mut self, from: End, parcel: Parcel, begun: Instant, tries: u32, now: Instant) {
        let Some(connection) = self.connections.get(&from.connection) else { return };
        let (here, there) = (connection.addresses[from.side], connection.addresses[1 - from.side]);
        let path = self.path(here, there);
        let is_lost = self.dice.fraction() < path.loss || self.cuts.contains(&(here, there));
        if !is_lost {
            self.at(now + path.delay, Due::Arrive { at: from.other(), parcel });
            return;
        }
        let Some(limit) = parcel.limit() else { return };
        let again = now + (RETRY_FIRST + 4 * path.delay) * (1 << tries.min(10));
        if again.duration_since(begun) <= limit {
            let run = self.run_of(here);
            self.at(again, Due::Try { from, run, parcel, begun, tries: tries + 1 });
        } else if let Parcel::Message(channel, _) = parcel {
            self.count(here, channel, |counts| {
                counts.sent -= 1;
                counts.late += 1;
            });
        }
    }

    fn arrive(&mut self, at: End, parcel: Parcel, now: Instant) {
        let (kind, bytes) = parcel.mark();
        self.trace.write_u8(kind);
        self.trace.write_u128(now.duration_since(self.began).as_nanos());
        self.trace.write_u64(at.connection);
        self.trace.write(bytes);

        let Some(connection) = self.connections.get(&at.connection) else { return };
        let address = connection.addresses[at.side];
        let Some(process) = self.peers.get_mut(&address) else { return };
        if let Parcel::Hello(bytes) = &parcel
            && connection.sides[at.side].is_none()
        {
            self.hear(at, bytes, now);
            return;
        }
        let run = process.run;
        let known = self.connections.get_mut(&at.connection).and_then(|connection| connection.sides[at.side].as_mut());
        let Some(standing) = known.filter(|standing| standing.run == run) else {
            // It ran before this process, or was closed here. A reset is not answered by one.
            if !matches!(parcel, Parcel::Farewell(_)) {
                self.post(at, Parcel::Farewell(Farewell::Reset), now);
            }
            return;
        };
        standing.heard = now;
        standing.parcels += 1;
        let (token, is_taken) = (standing.token, standing.is_taken);
        match parcel {
            Parcel::Hello(_) | Parcel::KeepAlive => {}
            Parcel::Answer(bytes) => self.answered(at, token, &bytes, now),
            Parcel::Message(..) | Parcel::Question(..) if !is_taken => {
                // Overtaken the welcome: over QUIC it would wait in its stream.
                self.at(now + RETRY_FIRST, Due::Arrive { at, parcel });
            }
            Parcel::Message(channel, bytes) => self.deliver(address, token, channel, bytes),
            Parcel::Question(question, bytes) => self.question(Place { end: at, question }, address, token, bytes, now),
            Parcel::Reply(question, answer) => {
                let asking = self.peers.get_mut(&address).and_then(|process| process.asking.remove(&question));
                if let Some((_, asker)) = asking {
                    let _ = asker.send(answer.ok_or(AskError::NotTaken));
                }
            }
            Parcel::Ping(ping) => self.post(at, Parcel::Pong(ping), now),
            Parcel::Pong(ping) => self.ponged(address, ping, true, now),
            Parcel::Farewell(why) => self.end(at, why, now),
        }
    }

    /// Somebody dials.
    fn hear(&mut self, at: End, bytes: &[u8], now: Instant) {
        let Some(connection) = self.connections.get(&at.connection) else { return };
        let (address, remote) = (connection.addresses[at.side], connection.addresses[1 - at.side]);
        let Ok(hello) = Hello::decode(bytes) else { return };
        let Some(token) = self.keeper(address, Keeper::begin) else { return };
        self.stand(at, address, token, now);
        let newcomer = Newcomer { token, side: Side::Accepted, remote, hello, is_named: true };
        self.keeper(address, |keeper| keeper.greeted(newcomer, now));
        self.follow(address, now);
    }

    /// The other end has answered a hello.
    fn answered(&mut self, at: End, token: Token, bytes: &[u8], now: Instant) {
        let Some(connection) = self.connections.get(&at.connection) else { return };
        let (address, remote) = (connection.addresses[at.side], connection.addresses[1 - at.side]);
        match HelloAnswer::decode(bytes) {
            Ok(HelloAnswer::Welcome(hello)) => {
                let newcomer = Newcomer { token, side: Side::Dialed, remote, hello, is_named: true };
                self.keeper(address, |keeper| keeper.greeted(newcomer, now));
            }
            Ok(HelloAnswer::Refused { reason, by }) => {
                self.drop_end(at, now);
                let refused = Refused { reason, by_other: true, peer: Some(by) };
                self.keeper(address, |keeper| keeper.failed(token, Some(refused), now));
            }
            Err(_) => self.leave(at, Farewell::Refused(Refusal::Malformed), now),
        }
        self.follow(address, now);
    }

    fn deliver(&mut self, address: SocketAddr, token: Token, channel: Channel, bytes: Bytes) {
        let Some(process) = self.peers.get_mut(&address) else { return };
        let Some((from, sender)) = process.keeper.owner(token) else { return };
        let length = bytes.len() as u64;
        let is_taken = process.inlets.put(Received { from, address: sender, channel, bytes });
        self.count(address, channel, |counts| {
            counts.received += 1;
            counts.bytes_received += length;
            counts.untaken += u64::from(!is_taken);
        });
    }

    fn question(&mut self, asked: Place, address: SocketAddr, token: Token, bytes: Bytes, now: Instant) {
        let Some(process) = self.peers.get_mut(&address) else { return };
        let Some((from, _)) = process.keeper.owner(token) else { return };
        let length = bytes.len() as u64;
        let is_answered = process.inlets.ask(from, bytes);
        self.count(address, Channel::Query, |counts| {
            counts.received += 1;
            counts.bytes_received += length;
            counts.untaken += u64::from(is_answered.is_none());
        });
        match is_answered {
            Some(is_answered) => self.questions.push(Asked { asked, is_answered }),
            None => self.answer(asked, None, now),
        }
    }

    fn ponged(&mut self, address: SocketAddr, ping: Number, answered: bool, now: Instant) {
        let pinging = self.peers.get_mut(&address).and_then(|process| process.pinging.remove(&ping));
        if let Some((old, newcomer)) = pinging {
            self.keeper(address, |keeper| keeper.pinged(old, newcomer, answered, now));
            self.follow(address, now);
        }
    }

    /// Performs what a keeper has decided, and sends what waits in its outboxes.
    fn follow(&mut self, address: SocketAddr, now: Instant) {
        if self.peers.get(&address).is_none_or(|process| process.paused.is_some()) {
            return;
        }
        while let Some(output) = self.keeper(address, Keeper::poll_output).flatten() {
            self.perform(address, output, now);
        }
        self.send_what_waits(address, now);
        let Some(process) = self.peers.get_mut(&address) else { return };
        if let Some(deadline) = process.keeper.next_deadline(now)
            && process.deadline.is_none_or(|known| deadline < known)
        {
            process.deadline = Some(deadline);
            let run = process.run;
            self.at(deadline, Due::Deadline { address, run });
        }
    }

    fn perform(&mut self, address: SocketAddr, output: Output, now: Instant) {
        let end = |world: &Self, token| world.peers.get(&address)?.ends.get(&token).copied();
        match output {
            Output::Dial { token, address: there } => self.dial(address, token, there, now),
            Output::Ping { old, newcomer } => {
                let ping = self.number();
                let Some(process) = self.peers.get_mut(&address) else { return };
                process.pinging.insert(ping, (old, newcomer));
                let run = process.run;
                if let Some(end) = end(self, old) {
                    self.post(end, Parcel::Ping(ping), now);
                }
                self.at(now + PING_LIMIT, Due::NoPong { address, run, ping });
            }
            Output::Take { token } => {
                let Some(end) = end(self, token) else { return };
                if let Some(standing) = self.standing_mut(end) {
                    standing.is_taken = true;
                }
                if end.side == 1
                    && let Some(own) = self.keeper(address, |keeper| keeper.own().clone())
                {
                    self.post(end, answer(&HelloAnswer::Welcome(own)), now);
                }
            }
            Output::Refuse { token, reason } => {
                let Some(end) = end(self, token) else { return };
                if end.side == 0 {
                    self.leave(end, Farewell::Refused(reason), now);
                } else if let Some(by) = self.keeper(address, |keeper| keeper.own().id.clone()) {
                    self.post(end, answer(&HelloAnswer::Refused { reason, by }), now);
                    self.drop_end(end, now);
                }
            }
            Output::Retire { token } => {
                if let Some(end) = end(self, token) {
                    self.at(now + RETIRED_FOR, Due::Close { end, why: Farewell::Retired });
                }
            }
            Output::Close { token } => {
                if let Some(end) = end(self, token) {
                    self.leave(end, Farewell::Goodbye, now);
                }
            }
            Output::Tell(event) => {
                if let Some(process) = self.peers.get_mut(&address) {
                    process.subscribers.tell(&event);
                }
            }
        }
    }

    fn dial(&mut self, address: SocketAddr, token: Token, there: SocketAddr, now: Instant) {
        let connection = self.number();
        let end = End { connection, side: 0 };
        self.connections.insert(connection, Connection { sides: [None, None], addresses: [address, there] });
        self.stand(end, address, token, now);
        let Some(Ok(hello)) = self.keeper(address, |keeper| keeper.own().encode()) else { return };
        // The handshake of TLS goes there and back first.
        let handshake = self.path(address, there).delay + self.path(there, address).delay;
        let parcel = Parcel::Hello(hello.into());
        let run = self.run_of(address);
        self.at(now + handshake, Due::Try { from: end, run, parcel, begun: now, tries: 0 });
        self.at(now + GREETING_LIMIT, Due::GiveUp { end });
    }

    fn send_what_waits(&mut self, address: SocketAddr, now: Instant) {
        let Some(process) = self.peers.get_mut(&address) else { return };
        let ends: Vec<(Token, End)> = process.ends.iter().map(|(token, end)| (*token, *end)).collect();
        for (token, end) in ends {
            if !self.standing(end).is_some_and(|standing| standing.is_taken) {
                continue;
            }
            for channel in Channel::ONE_WAY {
                while let Some(Ok(Some(bytes))) = self.keeper(address, |keeper| keeper.next_message(token, channel)) {
                    let length = bytes.len() as u64;
                    self.count(address, channel, |counts| {
                        counts.sent += 1;
                        counts.bytes_sent += length;
                    });
                    self.post(end, Parcel::Message(channel, bytes), now);
                }
            }
        }
    }

    /// One end stands from now on.
    fn stand(&mut self, end: End, address: SocketAddr, token: Token, now: Instant) {
        let Some(process) = self.peers.get_mut(&address) else { return };
        process.ends.insert(token, end);
        let Process { run, timing, .. } = *process;
        if let Some(connection) = self.connections.get_mut(&end.connection) {
            connection.sides[end.side] = Some(Standing { run, token, heard: now, parcels: 0, is_taken: false });
        }
        self.at(now + timing.keep_alive, Due::KeepAlive { end });
        self.at(now + timing.idle, Due::Idle { end });
    }

    /// One end says farewell, and is gone.
    fn leave(&mut self, end: End, why: Farewell, now: Instant) {
        if self.standing(end).is_some() {
            self.post(end, Parcel::Farewell(why), now);
            self.end(end, why, now);
        }
    }

    /// One end is gone, and its keeper is told why.
    fn end(&mut self, end: End, why: Farewell, now: Instant) {
        let Some(connection) = self.connections.get(&end.connection) else { return };
        let address = connection.addresses[end.side];
        let Some(Standing { token, is_taken, .. }) = self.drop_end(end, now) else { return };
        let Some(process) = self.peers.get_mut(&address) else { return };
        let lost: Vec<Number> =
            process.asking.iter().filter(|(_, (asked, _))| *asked == token).map(|(number, _)| *number).collect();
        for number in lost {
            if let Some((_, asker)) = process.asking.remove(&number) {
                let _ = asker.send(Err(AskError::Lost));
            }
        }
        let refused = match why {
            Farewell::Refused(reason) => Some(reason),
            _ => None,
        };
        if is_taken {
            let how = match (why, refused) {
                (Farewell::Goodbye, _) => Ended::Goodbye,
                (_, Some(reason)) => Ended::Refused(reason),
                _ => Ended::Lost,
            };
            process.keeper.ended(token, how, now);
        } else {
            let refused = refused.map(|reason| Refused { reason, by_other: true, peer: None });
            process.keeper.failed(token, refused, now);
        }
        self.follow(address, now);
    }

    /// Forgets one end of a connection, and the connection with its last one.
    fn drop_end(&mut self, end: End, now: Instant) -> Option<Standing> {
        let connection = self.connections.get_mut(&end.connection)?;
        let standing = connection.sides[end.side].take()?;
        let address = connection.addresses[end.side];
        self.at(now + BURIED_AFTER, Due::Bury { connection: end.connection });
        if let Some(process) = self.peers.get_mut(&address).filter(|process| process.run == standing.run) {
            process.ends.remove(&standing.token);
        }
        Some(standing)
    }

    fn post(&mut self, from: End, parcel: Parcel, now: Instant) {
        let address = self.connections.get(&from.connection).map(|connection| connection.addresses[from.side]);
        let run = address.and_then(|address| self.run_of(address));
        self.at(now, Due::Try { from, run, parcel, begun: now, tries: 0 });
    }

    /// Which run of a peer is at an address.
    fn run_of(&self, address: SocketAddr) -> Option<Number> {
        self.peers.get(&address).map(|process| process.run)
    }

    fn at(&mut self, when: Instant, due: Due) {
        let number = self.number();
        self.queue.insert((when, number), due);
    }

    fn number(&mut self) -> Number {
        self.last_number += 1;
        self.last_number
    }

    fn path(&self, from: SocketAddr, to: SocketAddr) -> Path {
        self.paths.get(&(from, to)).copied().unwrap_or(self.usual_path)
    }

    fn standing(&self, end: End) -> Option<&Standing> {
        self.connections.get(&end.connection)?.sides[end.side].as_ref()
    }

    fn standing_mut(&mut self, end: End) -> Option<&mut Standing> {
        self.connections.get_mut(&end.connection)?.sides[end.side].as_mut()
    }

    /// The process at an end, if it is the one that stands there.
    fn process_of(&self, end: End) -> Option<&Process> {
        let connection = self.connections.get(&end.connection)?;
        let run = connection.sides[end.side].as_ref()?.run;
        self.peers.get(&connection.addresses[end.side]).filter(|process| process.run == run)
    }

    fn count(&mut self, address: SocketAddr, channel: Channel, add: impl FnOnce(&mut super::super::ChannelCounts)) {
        if let Some(process) = self.peers.get_mut(&address) {
            add(&mut process.keeper.counts().channels[channel as usize]);
        }
    }
}

fn answer(answer: &HelloAnswer) -> Parcel {
    let message = answer.encode().expect("the bounds of ids and software leave room: model::limits asserts it");
    Parcel::Answer(message.into())
}
