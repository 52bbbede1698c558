//! Following: what a heartbeat does to a peer that does not lead.

use std::time::Instant;

use crate::election::ballot::{Ballot, Vote};
use crate::election::machine::{Election, Role};
use crate::election::settings::Pace;
use crate::election::time::Now;
use crate::host::Dice;
use crate::model::{MinTimeout, PeerId, Slot, Term};
use crate::wire::{Memory, Word};

/// A peer that follows a leader, or waits for one.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(super) struct Following {
    pub(super) leader: Option<Leader>,
    /// When it campaigns, should no leader be heard until then.
    pub(super) campaign_at: Instant,
}

/// A leader, and its last heartbeat.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(super) struct Leader {
    pub(super) id: PeerId,
    pub(super) beat: Beat,
}

/// What a heartbeat says.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(super) struct Beat {
    pub(super) life: u64,
    pub(super) number: u64,
    pub(super) proposed: Option<Slot>,
    pub(super) committed: Option<Slot>,
}

impl Following {
    pub(super) fn alone(campaign_at: Instant) -> Self {
        Self { leader: None, campaign_at }
    }
}

impl Election {
    pub(super) fn beat_heard(
        &mut self,
        from: &PeerId,
        term: Term,
        min_timeout: MinTimeout,
        beat: Beat,
        now: Now,
        dice: &mut Dice,
    ) {
        if term < self.term() {
            // A leader of before, or one whom this peer cannot follow any more: it shall know.
            let (life, number) = (beat.life, beat.number);
            let (memory, accepted) = (self.memory(), self.journal.durable().newness());
            self.send(from.clone(), Word::Beaten { life, number, memory, accepted });
            return;
        }
        if self.journal.wanted.is_founding() && beat.committed.is_some() {
            self.join(now, dice);
        }
        if term > self.term() {
            self.adopt(term, now, dice);
        }
        match &self.role {
            // One term has one leader. Who says otherwise is broken, and is not followed.
            Role::Leading(_) => return,
            Role::Following(Following { leader: Some(leader), .. }) if leader.id != *from => return,
            // One that was overtaken says nothing new.
            Role::Following(Following { leader: Some(leader), .. })
                if leader.beat.life == beat.life && leader.beat.number > beat.number =>
            {
                return;
            }
            Role::Following(_) | Role::Asking(_) => {}
        }
        // What a leader of before has yet to send, it may never send.
        let is_followed =
            matches!(&self.role, Role::Following(Following { leader: Some(leader), .. }) if leader.id == *from);
        if !is_followed {
            self.fetching.take_if(|(_, source)| source != from);
        }
        let silence = min_timeout.max(self.settings.pace.min_timeout);
        self.journal.wanted.min_timeout = silence;
        self.held_until = now.at + silence.get();
        let campaign_at = now.at + Pace::patience(silence.get(), dice);
        let leader = Leader { id: from.clone(), beat };
        self.role = Role::Following(Following { leader: Some(leader), campaign_at });
        self.take_up();
        self.answer_beat();
    }

    /// A cluster with a value was met by one that has none: nothing was ever committed here, so nothing is lost by leaving.
    /// What was promised here is kept by nobody else, and so this peer begins as one that has forgotten.
    pub(super) fn join(&mut self, now: Now, dice: &mut Dice) {
        self.follow_nobody(now, dice);
        self.journal.wanted = Ballot { term: self.term(), ..Ballot::lost(self.journal.wanted.min_timeout) };
        self.recovery.restart();
    }

    /// Takes up what the leader proposed and what it says is committed, as far as the bytes are here.
    pub(super) fn take_up(&mut self) {
        let Role::Following(Following { leader: Some(Leader { id, beat }), .. }) = &self.role else { return };
        let (id, proposed, committed) = (id.clone(), beat.proposed.clone(), beat.committed.clone());
        let is_whole = self.memory() == Memory::Whole;
        if let Some(slot) = proposed
            && is_whole
            && slot.stamp == self.term()
            && slot.newness() > self.journal.wanted.newness()
        {
            if !self.has(slot.hash, &id) {
                return;
            }
            self.journal.wanted.accepted = Some(slot);
        }
        if let Some(slot) = committed
            && slot.stamp <= self.term()
            && self.journal.wanted.committed.as_ref().is_none_or(|known| slot.newness() > known.newness())
            && self.has(slot.hash, &id)
        {
            if is_whole && slot.newness() > self.journal.wanted.newness() {
                self.journal.wanted.accepted = Some(slot.clone());
            }
            self.journal.wanted.committed = Some(slot);
        }
    }

    /// Answers the leader's last heartbeat, with what is on disk. A promise to be silent for so long has to be there too:
    /// the leader's lease hangs on it.
    pub(super) fn answer_beat(&mut self) {
        let Role::Following(Following { leader: Some(leader), .. }) = &self.role else { return };
        let (durable, wanted) = (self.journal.durable(), &self.journal.wanted);
        let is_promised =
            (durable.term, durable.min_timeout, durable.memory) == (wanted.term, wanted.min_timeout, wanted.memory);
        if !is_promised {
            return;
        }
        let word = Word::Beaten {
            life: leader.beat.life,
            number: leader.beat.number,
            memory: durable.memory,
            accepted: durable.newness(),
        };
        let to = leader.id.clone();
        self.send(to, word);
    }

    /// The leader of this term leads no more: nobody has to wait for it.
    pub(super) fn resigned(&mut self, from: &PeerId, term: Term, now: Now, dice: &mut Dice) {
        let Role::Following(following) = &mut self.role else { return };
        let led = following.leader.as_ref().is_some_and(|leader| leader.id == *from);
        if led && term == self.journal.wanted.term {
            following.leader = None;
            following.campaign_at = now.at + self.settings.pace.again(dice);
            self.held_until = now.at;
        }
    }

    /// Whether this peer may try to be elected.
    pub(super) fn may_campaign(&self) -> bool {
        let is_elector = self.journal.wanted.electors().is_some_and(|electors| electors.contains(&self.settings.own));
        is_elector && self.memory() == Memory::Whole && !self.stopping && self.journal.retry_at.is_none()
    }

    pub(super) fn votes_for_itself(&mut self, term: Term) {
        self.journal.wanted.term = term;
        self.journal.wanted.vote = Vote::For(self.settings.own.clone());
    }
}
