//! A few peers, a network between them and a clock, in one thread and from one seed. Transcripts and the simulation run on
//! it. Messages travel as bytes, ballots are written as the file has them, and each peer's clock runs at its own rate.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crate::election::ballot::{Ballot, Vote};
use crate::election::event::{Event, Leadership, Output};
use crate::election::machine::Election;
use crate::election::settings::{Pace, Settings};
use crate::election::time::Now;
use crate::host::{self, Dice};
use crate::model::{Electors, MinTimeout, PeerId, Preset, Revision, Slot, ValueHash};
use crate::wire::{ElectionMessage, Memory};

pub(super) struct World {
    start: Instant,
    pub(super) clock: Duration,
    pub(super) peers: BTreeMap<PeerId, Peer>,
    queue: BTreeMap<(Duration, u64), Item>,
    queued: u64,
    cut: BTreeSet<(PeerId, PeerId)>,
    pub(super) dice: Dice,
    pub(super) weather: Weather,
    /// What happened, a line each.
    pub(super) told: Vec<String>,
    names: BTreeMap<ValueHash, String>,
    /// By term, and by the first electors of their cluster: two clusters that began apart have terms of their own.
    leaders: BTreeMap<(u64, Option<Electors>), PeerId>,
    committed: BTreeMap<Revision, Slot>,
    /// An operator has forgotten an elector, and with it that a revision has the same electors everywhere.
    pub(super) forgot: bool,
}

/// How well network and disks do.
#[derive(Clone, Copy, Debug)]
pub(super) struct Weather {
    pub(super) delay_ms: (u64, u64),
    pub(super) lost: f64,
    pub(super) twice: f64,
    pub(super) disk_ms: (u64, u64),
}

impl Weather {
    pub(super) const FAIR: Self = Self { delay_ms: (1, 1), lost: 0.0, twice: 0.0, disk_ms: (2, 2) };
    pub(super) const ROUGH: Self = Self { delay_ms: (0, 80), lost: 0.1, twice: 0.1, disk_ms: (0, 40) };
}

pub(super) struct Peer {
    pub(super) named: Option<Electors>,
    /// The file of its ballot, and the values that it has.
    file: Option<Vec<u8>>,
    values: BTreeSet<ValueHash>,
    /// A value was lost, and the ballot was not.
    is_damaged: bool,
    pub(super) machine: Option<Election>,
    life: u64,
    /// How fast its clock runs.
    pub(super) rate: f64,
    /// It does nothing until then.
    pub(super) paused_until: Duration,
}

enum Item {
    Message { from: PeerId, to: PeerId, bytes: Vec<u8> },
    Written { peer: PeerId, life: u64, number: u64, file: Vec<u8> },
    Fetched { peer: PeerId, life: u64, value: ValueHash, from: PeerId },
}

pub(super) fn id(text: &str) -> PeerId {
    text.parse().unwrap()
}

impl World {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            start: host::now(),
            clock: Duration::ZERO,
            peers: BTreeMap::new(),
            queue: BTreeMap::new(),
            queued: 0,
            cut: BTreeSet::new(),
            dice: Dice::from_seed(seed),
            weather: Weather::FAIR,
            told: Vec::new(),
            names: BTreeMap::new(),
            leaders: BTreeMap::new(),
            committed: BTreeMap::new(),
            forgot: false,
        }
    }

    pub(super) fn add(&mut self, peer: PeerId, named: Option<Electors>) {
        let peer_state = Peer {
            named,
            file: None,
            values: BTreeSet::new(),
            is_damaged: false,
            machine: None,
            life: 0,
            rate: 1.0,
            paused_until: Duration::ZERO,
        };
        self.peers.insert(peer, peer_state);
    }

    pub(super) fn begin(&mut self, peer: &PeerId) {
        let now = self.now(peer);
        let pace = Pace::of(Preset::Lan);
        let state = self.peers.get_mut(peer).unwrap();
        assert!(state.machine.is_none(), "{peer} runs already");
        let mut ballot = match &state.file {
            Some(file) => Ballot::decode(file).unwrap(),
            None => Ballot::lost(MinTimeout::default()),
        };
        let is_there = |value| state.values.contains(&value);
        if !ballot.values().all(is_there) {
            assert!(state.is_damaged, "the bytes of a value come before its ballot");
            let committed_is_there = ballot.committed.as_ref().is_some_and(|slot| is_there(slot.hash));
            ballot = ballot.without_value(committed_is_there);
        }
        state.life += 1;
        let settings = Settings { own: peer.clone(), pace };
        state.machine = Some(Election::new(settings, ballot, now, &mut self.dice));
        let named = state.named.clone();
        self.do_to(peer, Event::FirstElectors(named));
        for other in self.running() {
            self.link(peer, &other, true);
        }
    }

    pub(super) fn crash(&mut self, peer: &PeerId) {
        self.peers.get_mut(peer).unwrap().machine = None;
        for other in self.running() {
            self.do_to(&other, Event::Unlinked(peer.clone()));
        }
    }

    /// The file of the value that it accepted last is damaged.
    pub(super) fn damage(&mut self, peer: &PeerId) {
        self.crash(peer);
        let state = self.peers.get_mut(peer).unwrap();
        let ballot = state.file.as_ref().map(|file| Ballot::decode(file).unwrap());
        if let Some(slot) = ballot.and_then(|ballot| ballot.accepted) {
            state.values.remove(&slot.hash);
            state.is_damaged = true;
        }
    }

    pub(super) fn wipe(&mut self, peer: &PeerId) {
        self.crash(peer);
        let state = self.peers.get_mut(peer).unwrap();
        state.file = None;
        state.values.clear();
        if self.peers.values().all(|peer| peer.file.is_none()) {
            // Nobody remembers anything: what begins now is another cluster.
            self.leaders.clear();
            self.committed.clear();
        }
    }

    /// No link stands between any of the one side and any of the other.
    pub(super) fn cut(&mut self, some: &[PeerId], others: &[PeerId]) {
        for one in some {
            for other in others {
                self.cut.extend([(one.clone(), other.clone()), (other.clone(), one.clone())]);
                self.link(one, other, false);
            }
        }
    }

    pub(super) fn heal(&mut self) {
        for (one, other) in std::mem::take(&mut self.cut) {
            if one < other {
                self.link(&one, &other, true);
            }
        }
    }

    fn link(&mut self, one: &PeerId, other: &PeerId, stands: bool) {
        if one == other || (stands && self.cut.contains(&(one.clone(), other.clone()))) {
            return;
        }
        for (to, of) in [(one, other), (other, one)] {
            let event = if stands { Event::Linked(of.clone()) } else { Event::Unlinked(of.clone()) };
            if self.peers[of].machine.is_some() {
                self.do_to(to, event);
            }
        }
    }

    pub(super) fn running(&self) -> Vec<PeerId> {
        self.peers.iter().filter(|(_, peer)| peer.machine.is_some()).map(|(id, _)| id.clone()).collect()
    }

    pub(super) fn now(&self, peer: &PeerId) -> Now {
        let peer = &self.peers[peer];
        Now { at: self.start + self.clock.mul_f64(peer.rate), asleep: Duration::ZERO }
    }

    /// Proposes a value at `peer`.
    pub(super) fn write(&mut self, peer: &PeerId, text: &str) {
        let value = ValueHash::of(text.as_bytes());
        self.names.insert(value, text.to_owned());
        let Some(state) = self.peers.get_mut(peer) else { return };
        let Some(machine) = &state.machine else { return };
        state.values.insert(value);
        let on = machine.committed().map(|slot| slot.revision).unwrap_or_default();
        self.do_to(peer, Event::Propose { on, value });
    }

    pub(super) fn run(&mut self, time: Duration) {
        let end = self.clock + time;
        loop {
            let item = self.queue.keys().next().map(|(at, _)| *at);
            let due = self.running().into_iter().filter_map(|id| Some((self.due(&id)?, id))).min();
            match (item, due) {
                (Some(at), due) if at <= end && due.as_ref().is_none_or(|(due, _)| at <= *due) => {
                    self.clock = self.clock.max(at);
                    let (_, item) = self.queue.pop_first().unwrap();
                    self.happens(item);
                }
                (_, Some((at, peer))) if at <= end => {
                    self.clock = self.clock.max(at);
                    self.do_to(&peer, Event::DeadlineReached);
                }
                _ => break,
            }
        }
        self.clock = end;
    }

    /// When a peer's timer goes off, on the world's clock.
    fn due(&self, id: &PeerId) -> Option<Duration> {
        let peer = &self.peers[id];
        let at = peer.machine.as_ref()?.next_deadline()?.saturating_duration_since(self.start);
        // A clock that is asked a moment too early would ask again and again.
        Some((at.div_f64(peer.rate) + Duration::from_micros(1)).max(peer.paused_until).max(self.clock))
    }

    fn happens(&mut self, item: Item) {
        let to = match &item {
            Item::Message { to, .. } => to,
            Item::Written { peer, .. } | Item::Fetched { peer, .. } => peer,
        };
        let paused_until = self.peers[to].paused_until;
        if paused_until > self.clock {
            return self.later(paused_until, item);
        }
        match item {
            Item::Message { from, to, bytes } => {
                let message = ElectionMessage::decode(&bytes).unwrap();
                self.do_to(&to, Event::Received { from, message });
            }
            Item::Written { peer, life, number, file } => {
                let state = self.peers.get_mut(&peer).unwrap();
                if state.life == life && state.machine.is_some() {
                    let (old, new) = (state.file.replace(file), state.file.clone().unwrap());
                    check_disk(&peer, old.as_deref(), &new);
                    self.do_to(&peer, Event::Persisted(number));
                }
            }
            Item::Fetched { peer, life, value, from } => {
                let is_there = self.peers[&from].values.contains(&value) && self.peers[&from].machine.is_some();
                let is_cut = self.cut.contains(&(peer.clone(), from));
                let state = self.peers.get_mut(&peer).unwrap();
                if state.life == life {
                    let event = if is_there && !is_cut { Event::Fetched(value) } else { Event::FetchFailed(value) };
                    if matches!(event, Event::Fetched(_)) {
                        state.values.insert(value);
                    }
                    self.do_to(&peer, event);
                }
            }
        }
    }

    fn later(&mut self, at: Duration, item: Item) {
        self.queued += 1;
        self.queue.insert((at, self.queued), item);
    }

    fn between(&mut self, (least, most): (u64, u64)) -> Duration {
        Duration::from_millis(least) + Duration::from_millis(most - least).mul_f64(self.dice.fraction())
    }

    pub(super) fn do_to(&mut self, peer: &PeerId, event: Event) {
        let now = self.now(peer);
        let Some(machine) = &mut self.peers.get_mut(peer).unwrap().machine else { return };
        machine.handle(event, now, &mut self.dice);
        while let Some(output) = self.peers.get_mut(peer).unwrap().machine.as_mut().unwrap().poll_output() {
            self.perform(peer, output);
        }
        self.check();
    }

    fn perform(&mut self, peer: &PeerId, output: Output) {
        let life = self.peers[peer].life;
        match output {
            Output::Persist { number, ballot } => {
                let at = self.clock + self.between(self.weather.disk_ms);
                self.later(at, Item::Written { peer: peer.clone(), life, number, file: ballot.encode().unwrap() });
            }
            Output::Send { to, message } => {
                let is_cut = self.cut.contains(&(peer.clone(), to.clone()));
                let is_lost = self.weather.lost > 0.0 && self.dice.fraction() < self.weather.lost;
                if is_cut || is_lost || !self.peers.contains_key(&to) {
                    return;
                }
                let bytes = message.encode().unwrap();
                let copies = if self.weather.twice > 0.0 && self.dice.fraction() < self.weather.twice { 2 } else { 1 };
                for _ in 0..copies {
                    let at = self.clock + self.between(self.weather.delay_ms);
                    let (from, to) = (peer.clone(), to.clone());
                    self.later(at, Item::Message { from, to, bytes: bytes.clone() });
                }
            }
            Output::Fetch { value, from } => {
                let at = self.clock + self.between(self.weather.delay_ms);
                self.later(at, Item::Fetched { peer: peer.clone(), life, value, from });
            }
            Output::Committed(slot) => {
                let name = self.names.get(&slot.hash).map_or("?", String::as_str);
                let (revision, electors) = (slot.revision, &slot.electors);
                self.told.push(format!("{peer} has committed revision {revision}: {name}, electors {electors}"));
                self.commits(peer, &slot);
            }
            Output::Led(leadership) => {
                let line = match leadership {
                    Leadership::Nobody => format!("{peer} follows nobody"),
                    Leadership::Other { leader, term } => format!("{peer} follows {leader} in term {term}"),
                    Leadership::Own { term, first } => {
                        let founders = self.peers[peer].named.clone();
                        let known = self.leaders.entry((term.get(), founders)).or_insert_with(|| peer.clone());
                        assert_eq!(known, peer, "term {term} has two leaders");
                        format!("{peer} leads term {term}{}", if first { ", and has no value yet" } else { "" })
                    }
                };
                self.told.push(line);
            }
            Output::Declined(why) => self.told.push(format!("{peer} declines: {why}")),
            Output::Stranger { peer: stranger, .. } => {
                self.told.push(format!("{peer} meets {stranger}, which is of another cluster"));
            }
        }
    }

    /// One revision is one value in one cluster, and each follows the one before.
    fn commits(&mut self, peer: &PeerId, slot: &Slot) {
        let known = self.committed.iter().find(|(_, known)| known.cluster != slot.cluster);
        if known.is_some() {
            // Two clusters that began apart are told by a transcript; each is linear for itself.
            return;
        }
        let newest = self.committed.keys().next_back().copied().unwrap_or_default();
        let revision = slot.revision;
        let known = self.committed.entry(revision).or_insert_with(|| slot.clone());
        let electors = if self.forgot { slot.electors.clone() } else { known.electors.clone() };
        assert!(
            slot.says_the_same(&Slot { electors, ..known.clone() }),
            "{peer}: revision {revision} is two values: {known:?} {slot:?}"
        );
        assert!(revision.get() <= newest.get() + 1, "{peer}: revision {revision} follows {newest}");
    }

    fn check(&self) {
        let acts: Vec<&PeerId> = self
            .peers
            .iter()
            .filter(|(id, peer)| peer.machine.as_ref().is_some_and(|machine| machine.authority(self.now(id)).is_some()))
            .map(|(id, _)| id)
            .collect();
        let clusters: BTreeSet<_> = acts.iter().map(|id| self.peers[*id].machine.as_ref().unwrap().cluster()).collect();
        assert!(acts.len() <= clusters.len(), "{acts:?} may act at once");
    }

    /// Who leads the latest term that has a leader.
    pub(super) fn leader(&self) -> Option<String> {
        let leads = |machine: &Election| match machine.leadership() {
            Leadership::Own { term, .. } => Some(term),
            _ => None,
        };
        let all = self.peers.iter().filter_map(|(id, peer)| Some((leads(peer.machine.as_ref()?)?, id)));
        all.max().map(|(_, id)| id.to_string())
    }

    /// How each peer stands.
    pub(super) fn show(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for (id, peer) in &self.peers {
            let Some(machine) = &peer.machine else {
                lines.push(format!("{id}: down"));
                continue;
            };
            let ballot = machine.journal.durable();
            let vote = match &ballot.vote {
                Vote::Open => "nobody".to_owned(),
                Vote::For(other) => other.to_string(),
                Vote::Forgotten => "it forgot whom".to_owned(),
            };
            let memory = match ballot.memory {
                Memory::Whole => String::new(),
                Memory::Lost => {
                    let missing: Vec<String> = machine.waits_for().iter().map(ToString::to_string).collect();
                    format!(", has forgotten, waits for {}", missing.join(","))
                }
            };
            let value = |slot: &Option<Slot>| match slot {
                Some(slot) => {
                    let name = self.names.get(&slot.hash).map_or("?", String::as_str);
                    format!("{}.{} {name} {}", slot.stamp, slot.revision, slot.electors)
                }
                None => "nothing".to_owned(),
            };
            let acts = if machine.authority(self.now(id)).is_some() { ", may act" } else { "" };
            lines.push(format!(
                "{id}: term {}, voted for {vote}, accepted {}, committed {}{memory}{acts}",
                ballot.term,
                value(&ballot.accepted),
                value(&ballot.committed)
            ));
        }
        lines
    }
}

/// On one disk the term never goes back, nor does a vote change within it.
fn check_disk(peer: &PeerId, old: Option<&[u8]>, new: &[u8]) {
    let Some(old) = old.map(|old| Ballot::decode(old).unwrap()) else { return };
    let new = Ballot::decode(new).unwrap();
    assert!(new.term >= old.term, "{peer}: its term went back");
    if new.memory == Memory::Lost || old.memory == Memory::Lost {
        return;
    }
    // Whoever lost a value remembers that it may have voted, and votes for nobody.
    let is_kept = old.vote == Vote::Open || old.vote == new.vote || new.vote == Vote::Forgotten;
    assert!(new.term > old.term || is_kept, "{peer}: its vote changed");
}
