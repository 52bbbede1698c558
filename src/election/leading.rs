//! Leading: heartbeats, commits, and giving up where no majority answers.

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

use crate::election::event::{Declined, Output};
use crate::election::machine::{Election, Role};
use crate::election::quorum::{self, Need, Outcome};
use crate::election::rules::Rule;
use crate::election::time::{BootTime, Now};
use crate::host::Dice;
use crate::model::limits::PEERS_MAX;
use crate::model::{ClusterId, Electors, Newness, PeerId, Revision, Slot, Term, ValueHash};
use crate::wire::{Memory, Word};

/// A leader and what it knows of the others.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(super) struct Leading {
    /// Of the last heartbeat.
    pub(super) number: u64,
    /// When the last heartbeats were sent.
    sent: VecDeque<(u64, BootTime)>,
    pub(super) others: BTreeMap<PeerId, Progress>,
    /// What is proposed and not committed.
    pub(super) undecided: Option<Slot>,
    /// Something was committed in this term: from then on this leader may act, and change what is agreed on.
    pub(super) has_committed: bool,
    /// No majority is expected to have answered before.
    since: BootTime,
    pub(super) beat_at: Instant,
    /// The newest that was announced to peers that are no electors.
    announced: Option<Newness>,
}

/// A peer's answer to a heartbeat, and its term.
#[derive(Clone, Copy)]
pub(super) struct Beaten {
    pub(super) term: Term,
    pub(super) number: u64,
    pub(super) memory: Memory,
    pub(super) accepted: Newness,
}

/// What a leader knows of another peer.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) struct Progress {
    /// When the newest heartbeat was sent that it answered.
    pub(super) answered: BootTime,
    pub(super) accepted: Newness,
    pub(super) memory: Memory,
}

/// Heartbeats whose sending is remembered. An answer to an older one says nothing about now.
const SENT_MAX: usize = 32;
/// Every so many heartbeats also reach those that are no electors: what they have to know can wait, and they are many.
pub(super) const ANNOUNCED_EVERY: u32 = 8;

impl Leading {
    /// Somebody has come who may not know what is committed.
    pub(super) fn announce_again(&mut self) {
        self.announced = None;
    }
}

impl Election {
    /// Elected.
    pub(super) fn lead(&mut self, now: Now, dice: &mut Dice) {
        let term = self.term();
        let mut leading = Leading {
            number: 0,
            sent: VecDeque::new(),
            others: BTreeMap::new(),
            undecided: None,
            has_committed: false,
            since: now.boot(),
            beat_at: now.at,
            announced: None,
        };
        // Whatever was accepted last may be committed, and is proposed again under the new term before anything else.
        if let Some(accepted) = &mut self.journal.wanted.accepted {
            accepted.stamp = term;
            leading.undecided = Some(accepted.clone());
        }
        self.role = Role::Leading(leading);
        self.lead_on(now, dice);
    }

    /// Time for a heartbeat, if a majority still answers.
    pub(super) fn lead_on(&mut self, now: Now, dice: &mut Dice) {
        let silence = self.journal.wanted.min_timeout.get();
        let Role::Leading(leading) = &self.role else { return };
        let since = leading.since;
        let heard = self.majority_answered(now.boot()).map_or(since, |answered| answered.max(since));
        if now.boot() > heard.after(silence) {
            return self.follow_nobody(now, dice);
        }
        self.beat(now);
    }

    /// Tells everybody who leads, what is proposed and what is committed: as much of it as is on this peer's disk.
    pub(super) fn beat(&mut self, now: Now) {
        let durable = self.journal.durable();
        let term = self.journal.wanted.term;
        let proposed = durable.accepted.clone().filter(|slot| slot.stamp == term);
        let committed = durable.committed.clone();
        let electors = self.other_electors();
        let pace = self.settings.pace;
        let Role::Leading(leading) = &mut self.role else { return };
        leading.number += 1;
        leading.sent.push_back((leading.number, now.boot()));
        if leading.sent.len() > SENT_MAX {
            leading.sent.pop_front();
        }
        leading.beat_at = now.at + pace.heartbeat;
        let newest = committed.as_ref().map(Slot::newness);
        let announces = leading.announced != newest || leading.number % u64::from(ANNOUNCED_EVERY) == 1;
        if announces {
            leading.announced = newest;
        }
        let number = leading.number;
        let word = Word::Beat { life: self.life, number, min_timeout: pace.min_timeout, proposed, committed };
        // A leader hears itself.
        self.held_until = now.at + self.journal.wanted.min_timeout.get();
        let listeners = self.linked.iter().filter(|peer| announces && !electors.contains(peer));
        let listeners: Vec<PeerId> = listeners.cloned().collect();
        for to in electors.into_iter().chain(listeners) {
            self.send(to, word.clone());
        }
    }

    pub(super) fn beaten(&mut self, from: &PeerId, answer: Beaten, now: Now, dice: &mut Dice) {
        let Beaten { term, number, memory, accepted } = answer;
        let Role::Leading(leading) = &mut self.role else { return };
        if term > self.journal.wanted.term {
            // It can follow this leader no more. One term later it can follow the next.
            if memory == Memory::Whole {
                self.adopt(term, now, dice);
            }
            return;
        }
        if term < self.journal.wanted.term {
            return;
        }
        let Some(&(_, answered)) = leading.sent.iter().find(|(sent, _)| *sent == number) else { return };
        if !leading.others.contains_key(from) && leading.others.len() >= PEERS_MAX {
            return;
        }
        let progress = leading.others.entry(from.clone()).or_insert(Progress { answered, accepted, memory });
        progress.answered = progress.answered.max(answered);
        // A peer that lost its disk has lost what it had accepted; otherwise answers may come in any order.
        progress.accepted = if memory == Memory::Lost { Newness::default() } else { progress.accepted.max(accepted) };
        progress.memory = memory;
    }

    /// Commits what enough electors have on disk.
    pub(super) fn commit(&mut self) {
        let need = self.need();
        let durable = self.journal.durable().newness();
        let Role::Leading(leading) = &mut self.role else { return };
        let Some(undecided) = &leading.undecided else { return };
        let newness = undecided.newness();
        let outcome = quorum::outcome(&undecided.electors, need, |id| {
            let accepted = match leading.others.get(id) {
                _ if *id == self.settings.own => durable,
                Some(Progress { memory: Memory::Whole, accepted, .. }) => *accepted,
                _ => Newness::default(),
            };
            // What is stamped by this term comes from this leader, so equally new is the same.
            if accepted >= newness { quorum::Ballot::Yes } else { quorum::Ballot::Silent }
        });
        let is_enough = !self.rules.keep(Rule::AcceptedMayBeLost) && durable >= newness;
        if outcome == Outcome::Won || is_enough {
            leading.has_committed = true;
            self.journal.wanted.committed = leading.undecided.take();
        }
    }

    pub(super) fn propose(&mut self, on: Revision, value: ValueHash, dice: &mut Dice) {
        match self.next_slot(on) {
            Ok(Some(slot)) => self.undecided(Slot { hash: value, ..slot }),
            Ok(None) => self.propose_first(value, dice),
            Err(why) => self.output(Output::Declined(why)),
        }
        self.fetched = Some(value);
    }

    /// The first value of a cluster mints its id.
    fn propose_first(&mut self, value: ValueHash, dice: &mut Dice) {
        let (stamp, electors) = (self.term(), self.journal.wanted.electors().cloned());
        let (Some(electors), Some(revision)) = (electors, Revision::ZERO.next()) else { return };
        let mut id = [0; 16];
        id[..8].copy_from_slice(&dice.bits().to_be_bytes());
        id[8..].copy_from_slice(&dice.bits().to_be_bytes());
        self.undecided(Slot { stamp, revision, hash: value, electors, cluster: ClusterId(id) });
    }

    /// The slot that may follow the committed one of revision `on`, with its value and electors; none before the first.
    pub(super) fn next_slot(&self, on: Revision) -> Result<Option<Slot>, Declined> {
        let Role::Leading(leading) = &self.role else { return Err(Declined::NotLeading) };
        if leading.undecided.is_some() {
            return Err(Declined::Undecided);
        }
        let Some(accepted) = &self.journal.wanted.accepted else {
            return if on == Revision::ZERO { Ok(None) } else { Err(Declined::Outdated) };
        };
        if !leading.has_committed {
            return Err(Declined::NotLeading);
        }
        let revision = accepted.revision.next().filter(|_| accepted.revision == on).ok_or(Declined::Outdated)?;
        Ok(Some(Slot { revision, ..accepted.clone() }))
    }

    pub(super) fn undecided(&mut self, slot: Slot) {
        let Role::Leading(leading) = &mut self.role else { return };
        leading.undecided = Some(slot.clone());
        self.journal.wanted.accepted = Some(slot);
    }

    /// Leads no more, and says so: nobody has to wait for this peer.
    pub(super) fn resign(&mut self, now: Now, dice: &mut Dice) {
        let Role::Leading(_) = &self.role else { return };
        let electors = self.other_electors();
        for to in electors {
            self.send(to, Word::Resign);
        }
        self.follow_nobody(now, dice);
        self.held_until = now.at;
    }

    /// When the newest heartbeat was sent.
    pub(super) fn last_sent(&self) -> Option<BootTime> {
        let Role::Leading(leading) = &self.role else { return None };
        leading.sent.back().map(|(_, at)| *at)
    }

    /// When the newest heartbeat was sent that a majority has answered, where the leader itself has answered at `own`.
    pub(super) fn majority_answered(&self, own: BootTime) -> Option<BootTime> {
        self.answered_by(self.journal.wanted.electors()?, own)
    }

    /// The same among these electors.
    pub(super) fn answered_by(&self, electors: &Electors, own: BootTime) -> Option<BootTime> {
        let Role::Leading(leading) = &self.role else { return None };
        quorum::reached_by(electors, Need::Majority, |id| {
            if *id == self.settings.own {
                return Some(own);
            }
            let progress = leading.others.get(id)?;
            (progress.memory == Memory::Whole).then_some(progress.answered)
        })
    }
}
