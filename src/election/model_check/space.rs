//! The states that three or four peers can be in together, and how one leads to another.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use stateright::{Model, Property};

use super::memo::{Fault, Local, Memo, Stepped, Stroke};
use super::properties;
use super::scenario::{Disk, STEP, Scenario, electors};
use crate::election::ballot::{Ballot, Vote};
use crate::election::event::{Event, Leadership, Output};
use crate::election::machine::{Election, Role};
use crate::election::settings::{Pace, Settings};
use crate::election::time::Now;
use crate::host::{self, Dice};
use crate::model::{ClusterId, Electors, MinTimeout, PeerId, Revision, Slot, Term, ValueHash};
use crate::wire::{ElectionMessage, Memory, Round, Verdict, Word};

const PEERS_MAX: usize = 4;
const MESSAGE_WORDS: usize = 16;
const TERMS_MAX: usize = 8;
const REVISIONS_MAX: usize = 5;

/// All peers together.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(super) struct State {
    peers: [u32; PEERS_MAX],
    network: [u64; MESSAGE_WORDS],
    /// Who led each term, counted from 1.
    pub(super) leaders: [u8; TERMS_MAX],
    /// What was told to be committed, by revision.
    pub(super) committed: [u16; REVISIONS_MAX],
    pub(super) fault: Option<Fault>,
    crashes: u8,
    wipes: u8,
    writes: u8,
    changes: u8,
    beats: u8,
    pub(super) clock: u8,
}

#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(super) enum Action {
    Deliver { to: usize, message: u16 },
    Fire(usize),
    Written(usize),
    Crash(usize),
    Wipe(usize),
    Propose(usize),
    Change(usize),
    Tick,
}

pub(super) struct Space {
    pub(super) scenario: Scenario,
    pub(super) ids: Vec<PeerId>,
    base: Instant,
    memo: Mutex<Memo>,
}

impl Space {
    pub(super) fn new(scenario: Scenario) -> Self {
        let ids = scenario.peers.iter().map(|(id, ..)| id.parse().unwrap()).collect();
        Self { scenario, ids, base: host::now(), memo: Mutex::default() }
    }

    /// What happened, a line each, with what was said.
    pub(super) fn story(&self, actions: &[Action]) -> String {
        let memo = self.memo();
        let line = |action: &Action| match action {
            Action::Deliver { to, message } => {
                let (_, from, message) = &memo.messages[usize::from(*message)];
                format!("{} hears {from}: {:?}\n", self.ids[*to], message.word)
            }
            other => format!("{other:?}\n"),
        };
        actions.iter().map(line).collect()
    }

    fn memo(&self) -> MutexGuard<'_, Memo> {
        self.memo.lock().unwrap()
    }

    pub(super) fn is_timed(&self) -> bool {
        self.scenario.steps > 0
    }

    pub(super) fn now(&self, clock: u8) -> Now {
        // Everybody is long past the silence of its start.
        let at = self.base
            + if self.is_timed() { Duration::from_secs(10) + STEP * u32::from(clock) } else { Duration::ZERO };
        Now { at, asleep: Duration::ZERO }
    }

    /// Dice of one life of a peer. Timers fall as early as they may.
    fn dice(&self, peer: usize, life: u8) -> Dice {
        let first = (peer as u64 * 100 + u64::from(life)) * 100_000;
        if !self.is_timed() {
            return Dice::from_seed(first);
        }
        let early = |seed: &u64| {
            let mut dice = Dice::from_seed(*seed);
            let _life = dice.bits();
            dice.fraction() < 0.01 && Dice::from_seed(*seed).fraction() < 0.01
        };
        // Two draws in a row that are early are rare; one that is early where it matters will do.
        let seed = (first..first + 50_000).find(early).unwrap_or(first);
        Dice::from_seed(seed)
    }

    fn start(&self, peer: usize, life: u8, disk: &Ballot, clock: Option<u8>) -> Local {
        let pace = if self.is_timed() { Pace::of(crate::model::Preset::Lan) } else { Pace::timeless() };
        let settings = Settings { own: self.ids[peer].clone(), pace };
        let now = clock.map_or(Now { at: self.base, asleep: Duration::ZERO }, |clock| self.now(clock));
        let machine =
            Election::with_rules(settings, disk.clone(), self.scenario.rules, now, &mut self.dice(peer, life));
        Local { machine, disk: disk.clone(), writing: None, life, answered_at: 0 }
    }

    /// Does `event` to a peer, and performs what it wants done but for the sending.
    #[expect(clippy::too_many_arguments, reason = "a test's inner loop")]
    fn perform(
        &self,
        memo: &mut Memo,
        peer: usize,
        local: &mut Local,
        event: Event,
        clock: u8,
        dice: &mut Dice,
        out: &mut Stepped,
    ) {
        let now = self.now(clock);
        local.machine.handle(event, now, dice);
        let mut won: Option<Word> = None;
        loop {
            let Some(output) = local.machine.poll_output() else {
                let Some(word) = won.take() else { break };
                let term = local.machine.term();
                let (cluster, electors) = (local.machine.cluster(), local.machine.electors().map(Electors::hash));
                for from in self.ids.iter().filter(|id| **id != self.ids[peer]).cloned() {
                    let message = ElectionMessage { cluster, electors, term, word: word.clone() };
                    local.machine.handle(Event::Received { from, message }, now, dice);
                }
                continue;
            };
            match output {
                Output::Persist { number, ballot } if self.scenario.slow_disk => {
                    local.writing = Some((number, ballot));
                }
                Output::Persist { number, ballot } => {
                    self.write(local, ballot, out);
                    local.machine.handle(Event::Persisted(number), now, dice);
                }
                Output::Send { message, .. } if self.scenario.terse && is_idle(&message) => {
                    if let Word::Ask { life, round, asked, .. } = message.word {
                        won = Some(Word::Answer { life, round, asked, verdict: Verdict::Granted });
                    }
                }
                Output::Send { to, mut message } => {
                    if let Word::Beaten { number, .. } = &mut message.word
                        && !self.is_timed()
                    {
                        // Which heartbeat is answered says when it was sent, and nothing else: without time, any.
                        *number = 0;
                    }
                    if let Some(to) = self.ids.iter().position(|id| *id == to) {
                        out.sent.push(memo.message((to, self.ids[peer].clone(), message)));
                    }
                }
                Output::Fetch { value, .. } => local.machine.handle(Event::Fetched(value), now, dice),
                Output::Committed(slot) => {
                    assert!(slot.revision.get() < REVISIONS_MAX as u64);
                    out.committed.push(memo.slot(&slot));
                }
                Output::Led(Leadership::Own { term, .. }) => {
                    out.led.push(term.get());
                    let accepted = local.machine.journal.wanted.accepted.clone();
                    out.elected_with = Some(accepted.map(|slot| memo.slot(&slot)));
                }
                Output::Led(_) | Output::Declined(_) | Output::Stranger { .. } => {}
            }
        }
    }

    fn write(&self, local: &mut Local, ballot: Ballot, out: &mut Stepped) {
        let old = &local.disk;
        let vote_kept = matches!(old.vote, Vote::Open) || old.vote == ballot.vote || ballot.vote == Vote::Forgotten;
        let gone_back = ballot.term < old.term || (ballot.term == old.term && !vote_kept);
        if gone_back && old.memory == Memory::Whole && ballot.memory == Memory::Whole {
            out.fault = Some(Fault::WentBack);
        }
        local.disk = ballot;
    }

    fn step(&self, peer: usize, before: u32, stroke: &Stroke, clock: u8) -> Arc<Stepped> {
        let mut memo = self.memo();
        let clock_key = if self.is_timed() { clock } else { 0 };
        // Each peer has its own name in its state, so the peer is no part of the key.
        let key = (before, stroke.clone(), clock_key);
        if let Some(known) = memo.steps.get(&key) {
            return Arc::clone(known);
        }
        let mut local = (*memo.locals[before as usize]).clone();
        let mut out =
            Stepped { after: 0, sent: vec![], led: vec![], committed: vec![], fault: None, elected_with: None };
        let mut dice = self.dice(peer, local.life);
        let event = match stroke {
            Stroke::Hear(message) => {
                let (_, from, mut message) = memo.messages[usize::from(*message)].clone();
                if let Word::Beaten { number, .. } = &mut message.word {
                    local.answered_at = clock_key;
                    if let (Role::Leading(leading), false) = (&local.machine.role, self.is_timed()) {
                        *number = leading.number;
                    }
                }
                Some(Event::Received { from, message })
            }
            Stroke::Fire => Some(Event::DeadlineReached),
            Stroke::Written => {
                let (number, ballot) = local.writing.take().unwrap();
                self.write(&mut local, ballot, &mut out);
                Some(Event::Persisted(number))
            }
            Stroke::Crash | Stroke::Wipe => {
                let disk = match stroke {
                    Stroke::Crash => local.disk.clone(),
                    Stroke::Wipe if self.scenario.damaged => {
                        let hash = |slot: &Option<Slot>| slot.as_ref().map(|slot| slot.hash);
                        let committed_is_there = hash(&local.disk.committed) != hash(&local.disk.accepted);
                        local.disk.clone().without_value(committed_is_there)
                    }
                    _ => Ballot::lost(MinTimeout::default()),
                };
                local = self.start(peer, local.life + 1, &disk, Some(clock));
                dice = self.dice(peer, local.life);
                self.introduce(&mut memo, peer, &mut local, clock, &mut dice, &mut out);
                None
            }
            Stroke::Propose(number) => {
                let on = local.machine.journal.wanted.accepted.as_ref().map(|slot| slot.revision).unwrap_or_default();
                let value = ValueHash::new([u8::try_from(peer).unwrap() * 16 + number + 1; 32]);
                Some(Event::Propose { on, value })
            }
            Stroke::Change(number) => Some(Event::Change(self.scenario.changes[usize::from(*number)].clone())),
        };
        if let Some(event) = event {
            self.perform(&mut memo, peer, &mut local, event, clock, &mut dice, &mut out);
        }
        out.after = memo.local(local);
        let out = Arc::new(out);
        memo.steps.insert(key, Arc::clone(&out));
        out
    }

    /// What a peer learns at its start: its first electors, and whom it is linked to.
    fn introduce(
        &self,
        memo: &mut Memo,
        peer: usize,
        local: &mut Local,
        clock: u8,
        dice: &mut Dice,
        out: &mut Stepped,
    ) {
        let mut events: Vec<Event> = Vec::new();
        // Linked first: a peer that knows of nobody might take itself for a cluster of its own.
        events.extend(self.ids.iter().filter(|id| **id != self.ids[peer]).cloned().map(Event::Linked));
        let (_, _, named) = self.scenario.peers[peer];
        events.push(Event::FirstElectors(named.map(electors)));
        for event in events {
            self.perform(memo, peer, local, event, clock, dice, out);
        }
    }

    fn apply(&self, state: &mut State, peer: usize, stroke: &Stroke) {
        let out = self.step(peer, state.peers[peer], stroke, state.clock);
        state.peers[peer] = out.after;
        // A peer that has forgotten promises nothing until it has heard enough. So hearing of a status late is the same as
        // hearing of it at once and doing nothing for a while, and a status need not travel.
        let is_status = |message: &u16| matches!(self.memo().messages[usize::from(*message)].2.word, Word::Status(_));
        let (heard, sent): (Vec<u16>, Vec<u16>) = out.sent.iter().partition(|message| is_status(message));
        for message in heard {
            let to = self.memo().messages[usize::from(message)].0;
            self.apply(state, to, &Stroke::Hear(message));
        }
        for message in sent {
            let message = usize::from(message);
            assert!(message < MESSAGE_WORDS * 64, "too many different messages");
            state.network[message / 64] |= 1 << (message % 64);
        }
        if out.fault.is_some() {
            state.fault = out.fault;
        }
        for &term in &out.led {
            let leader = &mut state.leaders[usize::try_from(term).unwrap() - 1];
            let own = u8::try_from(peer + 1).unwrap();
            if *leader != 0 && *leader != own {
                state.fault = Some(Fault::TwoLeaders);
            }
            *leader = own;
        }
        let memo = self.memo();
        let revision_of = |slot: u16| memo.slots[usize::from(slot - 1)].revision.get();
        let newest = (1..REVISIONS_MAX).rev().find(|&at| state.committed[at] != 0).unwrap_or(0);
        // One that is elected late, after others of later terms, may lack what they have committed: nobody follows it.
        let newest_term = state.leaders.iter().rposition(|leader| *leader != 0).map_or(0, |at| at as u64 + 1);
        if let Some(with) = out.elected_with
            && out.led.contains(&newest_term)
            && with.map_or(0, revision_of) < newest as u64
        {
            state.fault = Some(Fault::CommittedLost);
        }
        for &slot in &out.committed {
            let revision = usize::try_from(revision_of(slot)).unwrap();
            let known = &mut state.committed[revision];
            if (*known != 0 && *known != slot) || revision > newest + 1 {
                state.fault = Some(Fault::CommittedLost);
            }
            *known = slot;
        }
    }

    pub(super) fn local(&self, state: &State, peer: usize) -> Arc<Local> {
        Arc::clone(&self.memo().locals[state.peers[peer] as usize])
    }

    fn disk(&self, disk: Disk) -> Ballot {
        let min_timeout =
            if self.is_timed() { Pace::of(crate::model::Preset::Lan).min_timeout } else { MinTimeout::default() };
        let Disk::Committed(ids) = disk else { return Ballot::lost(min_timeout) };
        let term = Term::ZERO.next().unwrap();
        let slot = Slot {
            stamp: term,
            revision: Revision::ZERO.next().unwrap(),
            hash: ValueHash::new([0; 32]),
            electors: electors(ids),
            cluster: ClusterId([1; 16]),
        };
        Ballot {
            memory: Memory::Whole,
            term,
            vote: Vote::For(electors(ids).iter().next().unwrap().clone()),
            founding: None,
            accepted: Some(slot.clone()),
            committed: Some(slot),
            min_timeout,
        }
    }

    /// Delivers everything until nothing is left to say.
    fn calm(&self, state: &mut State) {
        loop {
            let before = state.clone();
            for message in (0..MESSAGE_WORDS * 64).filter(|at| before.network[at / 64] >> (at % 64) & 1 == 1) {
                let message = u16::try_from(message).unwrap();
                let to = self.memo().messages[usize::from(message)].0;
                self.apply(state, to, &Stroke::Hear(message));
                while self.local(state, to).writing.is_some() {
                    self.apply(state, to, &Stroke::Written);
                }
            }
            if before == *state {
                break;
            }
        }
    }
}

impl Model for Space {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let mut state = State {
            peers: [0; PEERS_MAX],
            network: [0; MESSAGE_WORDS],
            leaders: [0; TERMS_MAX],
            committed: [0; REVISIONS_MAX],
            fault: None,
            crashes: self.scenario.crashes,
            wipes: self.scenario.wipes,
            writes: self.scenario.writes,
            changes: u8::try_from(self.scenario.changes.len()).unwrap(),
            beats: self.scenario.beats,
            clock: 0,
        };
        for (peer, (_, disk, _)) in self.scenario.peers.iter().enumerate() {
            let disk = self.disk(*disk);
            let mut out =
                Stepped { after: 0, sent: vec![], led: vec![], committed: vec![], fault: None, elected_with: None };
            let mut local = self.start(peer, 0, &disk, None);
            let mut memo = self.memo();
            let mut dice = self.dice(peer, 0);
            self.introduce(&mut memo, peer, &mut local, 0, &mut dice, &mut out);
            if let Some(slot) = &disk.committed {
                state.committed[1] = memo.slot(slot);
                state.leaders[0] = 1;
            }
            state.peers[peer] = memo.local(local);
            drop(memo);
            for message in out.sent {
                assert!(!matches!(self.memo().messages[usize::from(message)].2.word, Word::Status(_)));
                state.network[usize::from(message) / 64] |= 1 << (message % 64);
            }
        }
        if let Some(leader) = self.scenario.led_by {
            self.apply(&mut state, leader, &Stroke::Fire);
            while self.local(&state, leader).writing.is_some() {
                self.apply(&mut state, leader, &Stroke::Written);
            }
            self.calm(&mut state);
            assert!(matches!(self.local(&state, leader).machine.role, Role::Leading(_)), "{state:?}");
            // What was said until here was heard by all; nothing of it comes again.
            state.network = [0; MESSAGE_WORDS];
        }
        vec![state]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        if state.fault.is_some() {
            return;
        }
        let count = self.ids.len();
        {
            let memo = self.memo();
            for (at, word) in state.network.iter().enumerate() {
                let mut left = *word;
                while left != 0 {
                    let message = u16::try_from(at * 64).unwrap() + u16::try_from(left.trailing_zeros()).unwrap();
                    left &= left - 1;
                    let to = memo.messages[usize::from(message)].0;
                    actions.push(Action::Deliver { to, message });
                }
            }
        }
        let now = self.now(state.clock);
        for peer in 0..count {
            let local = self.local(state, peer);
            let machine = &local.machine;
            let leads = matches!(machine.role, Role::Leading(_));
            let is_due = machine.next_deadline().is_some_and(|at| at <= now.at);
            let may_fire = if leads {
                self.is_timed() && state.beats > 0
            } else {
                self.scenario.candidates.contains(&peer)
                    && machine.memory() == Memory::Whole
                    && machine.term().get() < self.scenario.term_max
            };
            if is_due && may_fire {
                actions.push(Action::Fire(peer));
            }
            if local.writing.is_some() {
                actions.push(Action::Written(peer));
            }
            if state.crashes > 0 && self.scenario.who_crashes.contains(&peer) {
                actions.push(Action::Crash(peer));
            }
            if state.wipes > 0 && self.scenario.who_is_wiped.contains(&peer) {
                actions.push(Action::Wipe(peer));
            }
            if leads {
                let is_first = machine.journal.wanted.accepted.is_none();
                if state.writes > 0 || is_first {
                    actions.push(Action::Propose(peer));
                }
                if state.changes > 0 {
                    actions.push(Action::Change(peer));
                }
            }
        }
        if state.clock < self.scenario.steps {
            actions.push(Action::Tick);
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        match action {
            Action::Deliver { to, message } => self.apply(&mut state, to, &Stroke::Hear(message)),
            Action::Fire(peer) => {
                if matches!(self.local(last, peer).machine.role, Role::Leading(_)) {
                    state.beats -= 1;
                }
                self.apply(&mut state, peer, &Stroke::Fire);
            }
            Action::Written(peer) => self.apply(&mut state, peer, &Stroke::Written),
            Action::Crash(peer) => {
                state.crashes -= 1;
                self.apply(&mut state, peer, &Stroke::Crash);
            }
            Action::Wipe(peer) => {
                state.wipes -= 1;
                self.apply(&mut state, peer, &Stroke::Wipe);
            }
            Action::Propose(peer) => {
                let is_first = self.local(last, peer).machine.journal.wanted.accepted.is_none();
                self.apply(&mut state, peer, &Stroke::Propose(last.writes));
                let declined = state.peers == last.peers;
                state.writes -= u8::from(!is_first && !declined);
                if declined {
                    return None;
                }
            }
            Action::Change(peer) => {
                self.apply(&mut state, peer, &Stroke::Change(last.changes - 1));
                if state.peers == last.peers {
                    return None;
                }
                state.changes -= 1;
            }
            Action::Tick => state.clock += 1,
        }
        // Most that is heard twice changes nothing.
        (state != *last).then_some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        properties::of(self)
    }
}

/// Whether nothing that lasts changes by it.
fn is_idle(message: &ElectionMessage) -> bool {
    match &message.word {
        Word::Ask { round, .. } => *round == Round::PreVote,
        Word::Answer { verdict, asked, .. } => {
            *verdict == Verdict::Forgotten || (*verdict == Verdict::Refused && message.term <= *asked)
        }
        Word::Beat { proposed, .. } => proposed.is_none(),
        // Who has not accepted in this term, and knows no later one.
        Word::Beaten { accepted, .. } => accepted.stamp == Term::ZERO || accepted.stamp < message.term,
        Word::Hail { .. } | Word::Status(_) | Word::Resign => false,
    }
}
