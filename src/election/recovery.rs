//! A lost ballot: how a peer that does not remember its votes comes to vote.
//!
//! Whatever it has promised, it has promised to a peer that remembers: a candidate writes its term before it asks, a leader
//! writes its value before it proposes. So it hears every other elector, takes the highest term of all as one in which it
//! may have voted, and the newest value of all as one that it may have accepted. Less than all would not do: it may have
//! been the one that two majorities had in common.
//!
//! Who all others are, the others say: the electors of the newest committed value that one of them knows, and those of
//! every newer one that one of them has accepted. A change of electors that was committed without this peer's present life
//! has a majority that does not need its word.
//!
//! A peer that was never there is in the same place, and takes the same way: a learner hears all electors before it can
//! become one of them, and the electors of a new cluster hear each other say that nothing was ever accepted.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use crate::election::ballot::{Ballot, Vote};
use crate::election::machine::Election;
use crate::election::rules::Rule;
use crate::election::settings::Pace;
use crate::election::time::Now;
use crate::host::Dice;
use crate::model::limits::PEERS_MAX;
use crate::model::{Electors, ElectorsHash, MinTimeout, Newness, PeerId, Slot, Term};
use crate::wire::{Memory, Status, Word};

/// What a peer that has forgotten has heard since its start.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(super) struct Recovery {
    heard: BTreeMap<PeerId, Heard>,
    pub(super) hail_at: Instant,
}

/// What one peer said of itself.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
struct Heard {
    term: Term,
    electors: Option<ElectorsHash>,
    status: Status,
}

impl Heard {
    fn committed(&self) -> Newness {
        self.status.committed.as_ref().map(Slot::newness).unwrap_or_default()
    }

    /// Nothing was ever accepted there, and the first electors are these.
    fn is_new(&self, first: ElectorsHash) -> bool {
        self.status.accepted.is_none() && self.status.committed.is_none() && self.electors == Some(first)
    }
}

/// What is still missing.
enum Step {
    /// These have to be heard, each with its memory whole.
    Wait(BTreeSet<PeerId>),
    /// All is known: the highest term, and the newest value with one who has it.
    Take(Term, Option<(Slot, PeerId)>),
    /// Nothing was ever accepted by anybody: a new cluster, or one that has not gone further.
    Found(Term, Electors),
}

impl Recovery {
    pub(super) fn new(hail_at: Instant) -> Self {
        Self { heard: BTreeMap::new(), hail_at }
    }

    /// What was heard counts no more: it was before this peer forgot.
    pub(super) fn restart(&mut self) {
        self.heard.clear();
    }

    pub(super) fn heard(
        &mut self,
        own_life: u64,
        from: &PeerId,
        term: Term,
        electors: Option<ElectorsHash>,
        status: Status,
    ) {
        let is_answer = status.life == own_life;
        if is_answer && (self.heard.len() < PEERS_MAX || self.heard.contains_key(from)) {
            self.heard.insert(from.clone(), Heard { term, electors, status });
        }
    }
}

impl Election {
    pub(super) fn hail(&mut self, now: Now) {
        self.recovery.hail_at = now.at + self.settings.pace.min_timeout.get();
        // Those that were heard are asked again: an operator may have told them to forget one that is missing. Where no
        // elector is known yet, everybody is asked.
        let others = self.other_electors_heard_of().unwrap_or_else(|| self.linked.clone());
        for to in others {
            self.send(to, Word::Hail { life: self.life });
        }
    }

    /// Says how it is with this peer: what is on its disk, and what is on its way there.
    pub(super) fn hailed(&mut self, from: &PeerId, life: u64) {
        let ballot = &self.journal.wanted;
        let (accepted, committed) = (ballot.accepted.clone(), ballot.committed.clone());
        let status = Status { life, memory: ballot.memory, accepted, committed, min_timeout: ballot.min_timeout };
        self.send(from.clone(), Word::Status(status));
    }

    /// The settings name the first electors, or name others than before.
    pub(super) fn name_first(&mut self, named: Option<Electors>, now: Now, dice: &mut Dice) {
        self.named = named;
        let ballot = &self.journal.wanted;
        if ballot.is_founding() && self.named.is_some() && self.named != ballot.founding {
            self.join(now, dice);
        }
    }

    /// Whom a peer that has forgotten has yet to hear, each with its memory whole. None where there is nothing to wait for;
    /// an elector among them that is gone for good has to be removed, or forgotten where no majority is left.
    pub fn waits_for(&self) -> BTreeSet<PeerId> {
        match self.step() {
            Some(Step::Wait(missing)) if self.memory() == Memory::Lost => missing,
            _ => BTreeSet::new(),
        }
    }

    /// Remembers again, once all has been heard and is here.
    pub(super) fn recover(&mut self, now: Now, dice: &mut Dice) {
        if self.memory() == Memory::Whole {
            return;
        }
        let (term, accepted, founding) = match self.step() {
            None | Some(Step::Wait(_)) => return,
            Some(Step::Found(term, electors)) => (term, None, Some(electors)),
            Some(Step::Take(term, newest)) => match newest {
                Some((slot, from)) if !self.has(slot.hash, &from) => return,
                newest => (term, newest.map(|(slot, _)| slot), None),
            },
        };
        let known = &self.journal.wanted;
        let statuses = self.recovery.heard.values().map(|heard| &heard.status);
        let min_timeout = statuses.clone().map(|status| status.min_timeout).max().unwrap_or_default();
        let min_timeout: MinTimeout = min_timeout.max(known.min_timeout);
        // The newest that any of them knows to be committed, where this peer has its bytes.
        let heard_committed = statuses.filter_map(|status| status.committed.as_ref());
        let committed = heard_committed.chain(&known.committed).max_by_key(|slot| slot.newness()).cloned();
        let is_here = |slot: &Slot| accepted.as_ref().is_some_and(|accepted| accepted.hash == slot.hash);
        let committed = committed.filter(is_here).or_else(|| known.committed.clone());
        // Nothing is accepted of a term to come, whatever was heard of terms.
        let stamp = accepted.as_ref().map(|slot| slot.stamp).unwrap_or_default();
        let term = term.max(known.term).max(stamp);
        let vote = if term > Term::ZERO { Vote::Forgotten } else { Vote::Open };
        let ballot = Ballot { memory: Memory::Whole, term, vote, founding, accepted, committed, min_timeout };
        self.journal.wanted = ballot;
        self.recovery.restart();
        if self.journal.wanted.accepted.is_some() {
            // A leader may count on an answer that this peer gave before it forgot.
            self.silent_until = self.silent_until.max(now.at + min_timeout.get());
        }
        self.follow_whom_it_follows(now, dice);
    }

    /// It was no candidate until now, so its time begins now; whoever leads is followed as before.
    fn follow_whom_it_follows(&mut self, now: Now, dice: &mut Dice) {
        if let super::machine::Role::Following(following) = &mut self.role {
            following.campaign_at = now.at + Pace::patience(self.journal.wanted.min_timeout.get(), dice);
        }
        self.take_up();
    }

    fn step(&self) -> Option<Step> {
        let own = &self.settings.own;
        if !self.rules.keep(Rule::LostBallotIsSilent) {
            // Broken on purpose: a lost ballot is taken for an empty one.
            return self.named.clone().map(|named| Step::Found(Term::ZERO, named));
        }
        let others = self.other_electors_heard_of().filter(|_| self.rules.keep(Rule::NoSecondFounding));
        let Some(all) = others else { return self.found() };
        let heard = &self.recovery.heard;
        let is_whole = |id: &PeerId| heard.get(id).is_some_and(|heard| heard.status.memory == Memory::Whole);
        let missing: BTreeSet<PeerId> = all.iter().filter(|id| !is_whole(id)).cloned().collect();
        let too_many = self.rules.keep(Rule::RecoveryHearsAll) || missing.len() * 2 > all.len();
        if !missing.is_empty() && too_many {
            return Some(Step::Wait(missing));
        }
        let whole = heard.iter().filter(|(_, heard)| heard.status.memory == Memory::Whole);
        let term = whole.clone().map(|(_, heard)| heard.term).max().unwrap_or_default();
        let accepted = whole.filter_map(|(id, heard)| Some((heard.status.accepted.clone()?, id.clone())));
        let committed = heard.iter().filter_map(|(id, heard)| Some((heard.status.committed.clone()?, id.clone())));
        let known = self.journal.wanted.committed.clone().map(|slot| (slot, own.clone()));
        Some(Step::Take(term, accepted.chain(committed).chain(known).max_by_key(|(slot, _)| slot.newness())))
    }

    /// All other electors, as far as what was heard and is known here tells: those of the newest committed value, and of
    /// each newer one. `None` where nobody knows of a value.
    fn other_electors_heard_of(&self) -> Option<BTreeSet<PeerId>> {
        let known = self.journal.wanted.committed.iter();
        let heard = self.recovery.heard.values().map(|heard| &heard.status);
        let committed = known.clone().chain(heard.clone().filter_map(|status| status.committed.as_ref()));
        let committed = committed.map(Slot::newness).max().unwrap_or_default();
        let slots = known.chain(heard.flat_map(|status| status.accepted.iter().chain(&status.committed)));
        let mut newer = slots.filter(|slot| slot.newness() >= committed).peekable();
        newer.peek()?;
        let all = newer.flat_map(|slot| slot.electors.others(&self.settings.own));
        Some(all.cloned().collect())
    }

    /// A new cluster begins where all of the first electors have heard each other, name the same ones and have accepted
    /// nothing, and no peer that is linked knows of a value.
    fn found(&self) -> Option<Step> {
        let own = &self.settings.own;
        let named = self.named.as_ref().filter(|named| named.contains(own))?;
        let heard = &self.recovery.heard;
        let is_new = |id: &PeerId| {
            heard.get(id).is_some_and(|heard| {
                heard.is_new(named.hash())
                    || (!self.rules.keep(Rule::NoSecondFounding) && heard.committed() > Newness::default())
            })
        };
        let unheard = self.linked.iter().filter(|id| !heard.contains_key(*id));
        let missing: BTreeSet<PeerId> = named.others(own).filter(|id| !is_new(id)).chain(unheard).cloned().collect();
        if !missing.is_empty() {
            return Some(Step::Wait(missing));
        }
        let term = heard.values().map(|heard| heard.term).max().unwrap_or_default();
        Some(Step::Found(term, named.clone()))
    }
}
