//! Voting: what a peer answers to one that would lead.

use std::time::Duration;

use crate::election::ballot::Vote;
use crate::election::machine::Election;
use crate::election::time::Now;
use crate::host::Dice;
use crate::model::{Electors, ElectorsHash, Newness, PeerId, Term};
use crate::wire::{Memory, Round, Verdict, Word};

/// Who asks for what.
pub(super) struct Asks<'a> {
    pub(super) from: &'a PeerId,
    pub(super) life: u64,
    pub(super) round: Round,
    pub(super) asked: Term,
    pub(super) newest: Newness,
    pub(super) electors: Option<ElectorsHash>,
}

impl Election {
    pub(super) fn vote(&mut self, asks: &Asks<'_>, now: Now, dice: &mut Dice) {
        let verdict = self.verdict(asks, now, dice);
        let &Asks { from, life, round, asked, .. } = asks;
        let word = Word::Answer { life, round, asked, verdict };
        if (round, verdict) == (Round::Vote, Verdict::Granted) {
            self.send_when_durable(from.clone(), word);
        } else {
            self.send(from.clone(), word);
        }
    }

    fn verdict(&mut self, asks: &Asks<'_>, now: Now, dice: &mut Dice) -> Verdict {
        if self.memory() == Memory::Lost {
            return Verdict::Forgotten;
        }
        if let Some(for_ms) = self.holds_for(now) {
            return Verdict::Held { for_ms };
        }
        if asks.round == Round::Vote && asks.asked > self.term() {
            // The term is begun by who asks, whether it is elected or not.
            self.adopt(asks.asked, now, dice);
        }
        let ballot = &self.journal.wanted;
        let is_new_enough = asks.newest >= ballot.newness();
        // Before a first value nothing but the list of electors says that two peers begin the same cluster.
        let is_of_this_cluster = ballot.accepted.is_some()
            || asks.newest > Newness::default()
            || asks.electors == ballot.electors().map(Electors::hash);
        let is_open = match asks.round {
            Round::PreVote => asks.asked > ballot.term,
            Round::Vote => {
                asks.asked == ballot.term
                    && match &ballot.vote {
                        Vote::Open => true,
                        Vote::For(other) => other == asks.from,
                        Vote::Forgotten => false,
                    }
            }
        };
        if !(is_new_enough && is_of_this_cluster && is_open) {
            return Verdict::Refused;
        }
        if asks.round == Round::Vote {
            self.journal.wanted.vote = Vote::For(asks.from.clone());
        }
        Verdict::Granted
    }

    /// How many milliseconds this peer still votes for nobody, rounded up.
    pub(super) fn holds_for(&self, now: Now) -> Option<u32> {
        let left = self.silent_until.max(self.held_until).saturating_duration_since(now.at);
        let ms = left.as_nanos().div_ceil(Duration::from_millis(1).as_nanos());
        (ms > 0).then(|| u32::try_from(ms).unwrap_or(u32::MAX))
    }
}
