//! Campaigning: asking who would vote, then asking for votes.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::election::ballot::Vote;
use crate::election::machine::{Election, Role};
use crate::election::quorum::{self, Need, Outcome};
use crate::election::settings::Pace;
use crate::election::time::Now;
use crate::host::Dice;
use crate::model::limits::ELECTORS_MAX;
use crate::model::{MinTimeout, PeerId, Term};
use crate::wire::{Round, Verdict, Word};

/// A candidate and what it was answered.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(super) struct Asking {
    pub(super) round: Round,
    pub(super) asked: Term,
    answers: BTreeMap<PeerId, Said>,
    /// The question was sent: in the round of votes that waits for the candidate's own vote to be on disk.
    is_sent: bool,
    /// Someone knows of a term in which this one comes too late.
    is_behind: bool,
    pub(super) give_up_at: Instant,
}

/// A voter's answer, and its term.
#[derive(Clone, Copy)]
pub(super) struct Answer {
    pub(super) term: Term,
    pub(super) round: Round,
    pub(super) asked: Term,
    pub(super) verdict: Verdict,
}

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
enum Said {
    Yes,
    No,
    /// Not before.
    Later(Instant),
}

impl Election {
    /// No leader was heard for too long: asks who would vote for this peer.
    pub(super) fn campaign(&mut self, now: Now, dice: &mut Dice) {
        let silent = self.silent_until.max(self.held_until);
        let term = self.term().next();
        let (true, Some(asked)) = (self.may_campaign(), term) else {
            let patience = Pace::patience(self.settings.pace.min_timeout.get(), dice);
            return self.campaign_at(now.at + patience);
        };
        if silent > now.at {
            // It would refuse itself its own vote.
            return self.campaign_at(silent);
        }
        self.begin(Round::PreVote, asked, now);
        self.ask(now, dice);
    }

    fn begin(&mut self, round: Round, asked: Term, now: Now) {
        let give_up_at = now.at + self.journal.wanted.min_timeout.get();
        let answers = BTreeMap::new();
        self.role = Role::Asking(Asking { round, asked, answers, is_sent: false, is_behind: false, give_up_at });
    }

    fn campaign_at(&mut self, at: Instant) {
        let Role::Following(following) = &mut self.role else { return };
        following.campaign_at = at;
        // Whom it followed is silent for longer than anybody waits.
        following.leader = None;
    }

    /// Puts the question, once the candidate's own vote is on disk.
    pub(super) fn ask(&mut self, now: Now, dice: &mut Dice) {
        let durable = self.journal.durable();
        let own_vote = Vote::For(self.settings.own.clone());
        let Role::Asking(asking) = &mut self.role else { return };
        let may_ask = match asking.round {
            Round::PreVote => true,
            Round::Vote => (durable.term, &durable.vote) == (asking.asked, &own_vote),
        };
        if asking.is_sent || !may_ask {
            return;
        }
        asking.is_sent = true;
        asking.answers.insert(self.settings.own.clone(), Said::Yes);
        let (round, asked) = (asking.round, asking.asked);
        let word = Word::Ask { life: self.life, round, asked, newest: self.journal.durable().newness() };
        for to in self.other_electors() {
            self.send(to, word.clone());
        }
        self.count(now, dice);
    }

    pub(super) fn answered(&mut self, from: &PeerId, answer: Answer, now: Now, dice: &mut Dice) {
        let Answer { term, round, asked, verdict } = answer;
        let Role::Asking(asking) = &mut self.role else { return };
        if (asking.round, asking.asked) != (round, asked) || asking.answers.len() > ELECTORS_MAX {
            return;
        }
        if term > self.journal.wanted.term {
            // This candidate comes too late. It catches up, and asks again soon.
            self.adopt(term, now, dice);
            let again = self.settings.pace.again(dice);
            return self.campaign_at(now.at + again);
        }
        asking.is_behind |= term >= asked && verdict == Verdict::Refused;
        let said = match verdict {
            Verdict::Granted => Said::Yes,
            Verdict::Refused => Said::No,
            Verdict::Held { for_ms } => {
                let held = Duration::from_millis(u64::from(for_ms)).min(MinTimeout::MAX);
                Said::Later(now.at + held)
            }
            // It remembers as soon as it has heard all others, this one among them.
            Verdict::Forgotten => Said::Later(asking.give_up_at),
        };
        // What was granted stays granted, should an older answer come later.
        let known = asking.answers.entry(from.clone()).or_insert(said);
        if *known != Said::Yes {
            *known = said;
        }
        self.count(now, dice);
    }

    fn count(&mut self, now: Now, dice: &mut Dice) {
        let need = self.need();
        let Some(electors) = self.journal.wanted.electors().cloned() else { return };
        let Role::Asking(asking) = &self.role else { return };
        let outcome = quorum::outcome(&electors, need, |id| match asking.answers.get(id) {
            Some(Said::Yes) => quorum::Ballot::Yes,
            Some(Said::No | Said::Later(_)) => quorum::Ballot::No,
            None => quorum::Ballot::Silent,
        });
        let (round, asked) = (asking.round, asking.asked);
        match (outcome, round) {
            (Outcome::Pending, _) => {}
            (Outcome::Won, Round::PreVote) => {
                self.votes_for_itself(asked);
                self.begin(Round::Vote, asked, now);
                // A ballot that is on disk already, or rules that do not ask for it.
                self.ask(now, dice);
            }
            (Outcome::Won, Round::Vote) => self.lead(now, dice),
            (Outcome::Lost, _) => {
                // When so many hold no longer that they could be enough, those that have agreed among them.
                let could_be = quorum::reached_by(&electors, need, |id| match asking.answers.get(id) {
                    Some(Said::Yes) | None => Some(now.at),
                    Some(Said::Later(at)) => Some(*at),
                    Some(Said::No) => None,
                });
                let is_soon = round == Round::Vote || asking.is_behind;
                let at = match could_be {
                    Some(at) => at,
                    None if is_soon => now.at + self.settings.pace.again(dice),
                    None => now.at + Pace::patience(self.journal.wanted.min_timeout.get(), dice),
                };
                self.follow_nobody(now, dice);
                self.campaign_at(at);
            }
        }
    }

    /// Too few have answered at all.
    pub(super) fn give_up(&mut self, now: Now, dice: &mut Dice) {
        self.follow_nobody(now, dice);
        let again = self.settings.pace.again(dice);
        self.campaign_at(now.at + again);
    }

    /// How many electors have to agree: all of them until it is known here that something was committed.
    pub(super) fn need(&self) -> Need {
        if self.journal.wanted.committed.is_some() { Need::Majority } else { Need::All }
    }

    pub(super) fn other_electors(&self) -> Vec<PeerId> {
        let electors = self.journal.wanted.electors();
        electors.map(|electors| electors.others(&self.settings.own).cloned().collect()).unwrap_or_default()
    }
}
