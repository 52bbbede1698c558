//! The elector: its state, and the one way in and out.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use crate::election::ballot::{Ballot, Vote};
use crate::election::campaign::Asking;
use crate::election::event::{Event, Leadership, Output};
use crate::election::following::Following;
use crate::election::journal::Journal;
use crate::election::leading::Leading;
use crate::election::recovery::Recovery;
use crate::election::rules::{Rule, Rules};
use crate::election::settings::{Pace, Settings};
use crate::election::time::Now;
use crate::host::Dice;
use crate::model::limits::PEERS_MAX;
use crate::model::{ClusterId, Electors, PeerId, Slot, Term, ValueHash};
use crate::wire::{ElectionMessage, Memory, Word};

/// One elector, or a peer that follows the electors. See the head of `election/mod.rs` for what always holds.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Election {
    pub(super) settings: Settings,
    pub(super) rules: Rules,
    /// Drawn at every start: see [`Word`].
    pub(super) life: u64,
    pub(super) journal: Journal,
    pub(super) role: Role,
    pub(super) recovery: Recovery,
    /// The first electors, as this peer's settings name them.
    pub(super) named: Option<Electors>,
    pub(super) linked: BTreeSet<PeerId>,
    /// Nobody is voted for before, because this peer has just started.
    pub(super) silent_until: Instant,
    /// Nobody is voted for before, because a leader was heard.
    pub(super) held_until: Instant,
    /// What is being fetched, and from whom.
    pub(super) fetching: Option<(ValueHash, PeerId)>,
    /// The last value that was fetched or made here, beside those that the ballot names.
    pub(super) fetched: Option<ValueHash>,
    /// The last fetch failed; the next is begun at the next heartbeat or deadline.
    fetch_paused: bool,
    /// What was fetched could not be written so many times in a row: the next fetch is not begun before that moment. The
    /// bytes may be megabytes, and a disk is full for long.
    unwritten: Option<(u32, Instant)>,
    pub(super) stopping: bool,
    strangers: BTreeMap<PeerId, ClusterId>,
    told_leader: Leadership,
    told_committed: Option<Slot>,
    outputs: VecDeque<Output>,
}

/// What a peer does now. A peer that has lost its ballot, or is no elector, only ever follows.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(super) enum Role {
    Following(Following),
    Asking(Asking),
    Leading(Leading),
}

/// How long until a ballot that could not be written is tried again, and after how long a value is first fetched again for
/// the same reason.
const WRITE_AGAIN_AFTER: Duration = Duration::from_millis(500);
/// How often that time is doubled for a value: to 32 s.
const DOUBLED_MAX: u32 = 6;

impl Election {
    /// A peer at its start, with what is on its disk. Where there is no ballot, or none that can be read, that is
    /// [`Ballot::lost`].
    pub fn new(settings: Settings, ballot: Ballot, now: Now, dice: &mut Dice) -> Self {
        Self::with_rules(settings, ballot, Rules::default(), now, dice)
    }

    pub(super) fn with_rules(settings: Settings, mut ballot: Ballot, rules: Rules, now: Now, dice: &mut Dice) -> Self {
        ballot.min_timeout = ballot.min_timeout.max(settings.pace.min_timeout);
        let silence = ballot.min_timeout.get();
        let quiet = if rules.keep(Rule::SilenceAfterStart) { silence } else { Duration::ZERO };
        let following = Following::alone(now.at + Pace::patience(silence, dice));
        Self {
            settings,
            rules,
            life: dice.bits(),
            told_committed: ballot.committed.clone(),
            journal: Journal::new(ballot),
            role: Role::Following(following),
            recovery: Recovery::new(now.at),
            named: None,
            linked: BTreeSet::new(),
            silent_until: now.at + quiet,
            held_until: now.at,
            fetching: None,
            fetched: None,
            fetch_paused: false,
            unwritten: None,
            stopping: false,
            strangers: BTreeMap::new(),
            told_leader: Leadership::Nobody,
            outputs: VecDeque::new(),
        }
    }

    /// Something happened. What is to be done about it is taken by [`Election::poll_output`] afterwards.
    pub fn handle(&mut self, event: Event, now: Now, dice: &mut Dice) {
        match event {
            Event::Received { from, message } => self.receive(&from, message, now, dice),
            Event::Linked(peer) => self.linked(peer),
            Event::Unlinked(peer) => {
                self.linked.remove(&peer);
            }
            Event::DeadlineReached => self.deadline(now, dice),
            Event::Persisted(number) => {
                for (to, message) in self.journal.written(number) {
                    self.outputs.push_back(Output::Send { to, message });
                }
                self.durable(now, dice);
            }
            Event::PersistFailed(number) => {
                // Without a disk nothing can be committed here: another one shall lead.
                if self.journal.failed(number, now.at + WRITE_AGAIN_AFTER) {
                    self.resign(now, dice);
                }
            }
            Event::Fetched(value) => {
                self.fetching.take_if(|(fetching, _)| *fetching == value);
                self.unwritten = None;
                self.fetched = Some(value);
                self.take_up();
            }
            Event::FetchFailed(value) => {
                self.fetch_paused |= self.fetching.take_if(|(fetching, _)| *fetching == value).is_some();
            }
            Event::FetchUnwritten(value) => {
                if self.fetching.take_if(|(fetching, _)| *fetching == value).is_some() {
                    let before = self.unwritten.map_or(0, |(times, _)| times);
                    let after = WRITE_AGAIN_AFTER * (1 << before.min(DOUBLED_MAX));
                    self.unwritten = Some((before.saturating_add(1), now.at + after));
                    self.fetch_paused = true;
                }
            }
            Event::FirstElectors(named) => self.name_first(named, now, dice),
            Event::Propose { on, value } => self.propose(on, value, dice),
            Event::Change(change) => self.change(change, now),
            Event::Forget(peer) => self.forget(&peer, now),
            Event::GiveWay => self.resign(now, dice),
            Event::Stop => {
                self.stopping = true;
                self.resign(now, dice);
            }
        }
        self.settle(now, dice);
    }

    /// The next thing to be done.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When [`Event::DeadlineReached`] is due next.
    pub fn next_deadline(&self) -> Option<Instant> {
        let role = match &self.role {
            Role::Following(following) => self.may_campaign().then_some(following.campaign_at),
            Role::Asking(asking) => Some(asking.give_up_at),
            Role::Leading(leading) => Some(leading.beat_at),
        };
        let recovery = (self.memory() == Memory::Lost).then_some(self.recovery.hail_at);
        [role, recovery, self.journal.retry_at].into_iter().flatten().min()
    }

    fn receive(&mut self, from: &PeerId, message: ElectionMessage, now: Now, dice: &mut Dice) {
        if *from == self.settings.own || self.is_stranger(from, message.cluster) {
            return;
        }
        let ElectionMessage { cluster: _, electors, term, word } = message;
        match word {
            Word::Hail { life } => self.hailed(from, life),
            Word::Status(status) => self.recovery.heard(self.life, from, term, electors, status),
            Word::Ask { life, round, asked, newest } => {
                let asks = super::voting::Asks { from, life, round, asked, newest, electors };
                self.vote(&asks, now, dice);
            }
            Word::Answer { life, round, asked, verdict } if life == self.life => {
                let answer = super::campaign::Answer { term, round, asked, verdict };
                self.answered(from, answer, now, dice);
            }
            Word::Beat { life, number, min_timeout, proposed, committed } => {
                self.fetch_paused = self.unwritten.is_some_and(|(_, until)| now.at < until);
                let beat = super::following::Beat { life, number, proposed, committed };
                self.beat_heard(from, term, min_timeout, beat, now, dice);
            }
            Word::Beaten { life, number, memory, accepted } if life == self.life => {
                let answer = super::leading::Beaten { term, number, memory, accepted };
                self.beaten(from, answer, now, dice);
            }
            Word::Answer { .. } | Word::Beaten { .. } => {}
            Word::Resign => self.resigned(from, term, now, dice),
        }
    }

    /// Whether it is of another cluster, which is told once.
    fn is_stranger(&mut self, from: &PeerId, cluster: Option<ClusterId>) -> bool {
        let (Some(theirs), Some(ours)) = (cluster, self.cluster()) else { return false };
        if theirs == ours {
            self.strangers.remove(from);
            return false;
        }
        let is_known = self.strangers.get(from) == Some(&theirs);
        if !is_known && (self.strangers.len() < PEERS_MAX || self.strangers.contains_key(from)) {
            self.strangers.insert(from.clone(), theirs);
            self.outputs.push_back(Output::Stranger { peer: from.clone(), cluster: theirs });
        }
        true
    }

    fn linked(&mut self, peer: PeerId) {
        if peer == self.settings.own || self.linked.len() >= PEERS_MAX {
            return;
        }
        self.linked.insert(peer.clone());
        if let Role::Leading(leading) = &mut self.role {
            leading.announce_again();
        }
        if self.memory() == Memory::Lost {
            self.send(peer, Word::Hail { life: self.life });
        }
    }

    fn deadline(&mut self, now: Now, dice: &mut Dice) {
        self.fetch_paused = self.unwritten.is_some_and(|(_, until)| now.at < until);
        self.journal.retry_at.take_if(|at| *at <= now.at);
        if self.memory() == Memory::Lost && self.recovery.hail_at <= now.at {
            self.hail(now);
        }
        match &self.role {
            Role::Following(following) if following.campaign_at <= now.at => self.campaign(now, dice),
            Role::Asking(asking) if asking.give_up_at <= now.at => self.give_up(now, dice),
            Role::Leading(leading) if leading.beat_at <= now.at => self.lead_on(now, dice),
            _ => {}
        }
    }

    /// A ballot has reached the disk: what waited for it.
    fn durable(&mut self, now: Now, dice: &mut Dice) {
        match &self.role {
            Role::Following(_) => self.answer_beat(),
            Role::Asking(_) => self.ask(now, dice),
            Role::Leading(_) => self.beat(now),
        }
    }

    /// What follows of what has changed, whatever it was.
    fn settle(&mut self, now: Now, dice: &mut Dice) {
        self.recover(now, dice);
        self.commit();
        self.tell_committed(now, dice);
        self.tell_leader();
        if let Some((number, ballot)) = self.journal.next_write() {
            self.outputs.push_back(Output::Persist { number, ballot });
        }
        self.check();
    }

    fn tell_committed(&mut self, now: Now, dice: &mut Dice) {
        let Some(committed) = self.journal.durable().committed.clone() else { return };
        if self.told_committed.as_ref().is_none_or(|told| told.revision < committed.revision) {
            self.told_committed = Some(committed.clone());
            self.outputs.push_back(Output::Committed(committed.clone()));
            if matches!(self.role, Role::Leading(_)) && !committed.electors.contains(&self.settings.own) {
                self.resign(now, dice);
            }
        }
    }

    fn tell_leader(&mut self) {
        let leader = self.leadership();
        if leader != self.told_leader {
            self.told_leader = leader.clone();
            self.outputs.push_back(Output::Led(leader));
        }
    }

    /// Who leads, as far as this peer knows.
    pub fn leadership(&self) -> Leadership {
        match &self.role {
            Role::Following(Following { leader: Some(leader), .. }) => {
                Leadership::Other { leader: leader.id.clone(), term: self.term() }
            }
            Role::Leading(_) => Leadership::Own { term: self.term(), first: self.journal.wanted.accepted.is_none() },
            Role::Following(_) | Role::Asking(_) => Leadership::Nobody,
        }
    }

    /// This peer's term.
    pub fn term(&self) -> Term {
        self.journal.wanted.term
    }

    /// Whether this peer remembers how it voted.
    pub fn memory(&self) -> Memory {
        self.journal.wanted.memory
    }

    /// The number of the ballot with which all that is decided by now will be on disk; `None` where it is.
    pub fn unwritten(&self) -> Option<u64> {
        self.journal.number_of_wanted()
    }

    /// What is committed, as far as this peer knows and has it on disk.
    pub fn committed(&self) -> Option<&Slot> {
        self.journal.durable().committed.as_ref()
    }

    /// The values whose bytes have to stay: those that a ballot names which is on disk or on its way there, and the last one
    /// that was fetched or made.
    pub fn values(&self) -> BTreeSet<ValueHash> {
        self.journal.values().chain(self.fetched).chain(self.fetching.iter().map(|(value, _)| *value)).collect()
    }

    /// Whether it leads and has committed something in its term: from then on it takes changes.
    pub fn takes_changes(&self) -> bool {
        matches!(&self.role, Role::Leading(leading) if leading.has_committed)
    }

    /// Who votes, as far as this peer knows; before a first value those that its settings name.
    pub fn electors(&self) -> Option<&Electors> {
        self.journal.wanted.electors().or(self.named.as_ref())
    }

    /// Peers of this cluster's name that have another cluster's value.
    pub fn strangers(&self) -> &BTreeMap<PeerId, ClusterId> {
        &self.strangers
    }

    /// The cluster of this peer, once a first value was accepted.
    pub fn cluster(&self) -> Option<ClusterId> {
        let ballot = &self.journal.wanted;
        ballot.accepted.as_ref().or(ballot.committed.as_ref()).map(|slot| slot.cluster)
    }

    pub(super) fn output(&mut self, output: Output) {
        self.outputs.push_back(output);
    }

    pub(super) fn message(&self, word: Word) -> ElectionMessage {
        let electors = self.electors().map(Electors::hash);
        ElectionMessage { cluster: self.cluster(), electors, term: self.term(), word }
    }

    pub(super) fn send(&mut self, to: PeerId, word: Word) {
        let message = self.message(word);
        self.outputs.push_back(Output::Send { to, message });
    }

    /// Says it once all that is decided by now is on disk.
    pub(super) fn send_when_durable(&mut self, to: PeerId, word: Word) {
        let message = self.message(word);
        if !self.rules.keep(Rule::VoteIsDurable) || !self.journal.hold(to.clone(), message.clone()) {
            self.outputs.push_back(Output::Send { to, message });
        }
    }

    /// Takes part in a later term, in which nothing was promised yet.
    pub(super) fn adopt(&mut self, term: Term, now: Now, dice: &mut Dice) {
        debug_assert!(term > self.term());
        self.journal.wanted.term = term;
        self.journal.wanted.vote = Vote::Open;
        self.follow_nobody(now, dice);
    }

    /// Leads, asks and follows no more, and waits for a leader.
    pub(super) fn follow_nobody(&mut self, now: Now, dice: &mut Dice) {
        let patience = Pace::patience(self.journal.wanted.min_timeout.get(), dice);
        self.role = Role::Following(Following::alone(now.at + patience));
    }

    /// Whether the bytes of this value are on disk; where not, they are asked for.
    pub(super) fn has(&mut self, value: ValueHash, from: &PeerId) -> bool {
        if self.journal.wanted.values().any(|known| known == value) || self.fetched == Some(value) {
            return true;
        }
        if self.fetching.is_none() && !self.fetch_paused {
            self.fetching = Some((value, from.clone()));
            self.outputs.push_back(Output::Fetch { value, from: from.clone() });
        }
        false
    }

    /// What always holds here, whatever happened.
    fn check(&self) {
        let ballot = &self.journal.wanted;
        debug_assert!(ballot.term >= self.journal.durable().term, "a term never goes back");
        match ballot.memory {
            Memory::Lost => {
                debug_assert!(matches!(self.role, Role::Following(_)), "who has forgotten does not campaign");
                debug_assert!(ballot.accepted.is_none(), "who has forgotten accepts nothing");
            }
            Memory::Whole => {
                let committed = ballot.committed.as_ref().map(Slot::newness).unwrap_or_default();
                debug_assert!(committed <= ballot.newness(), "what is committed was accepted");
                debug_assert!(ballot.newness().stamp <= ballot.term, "nothing is accepted of a term to come");
            }
        }
        if let Role::Leading(_) = self.role {
            debug_assert_eq!(ballot.vote, Vote::For(self.settings.own.clone()), "a leader has voted for itself");
        }
    }
}
