//! One node's vote: results of checks in, vote and time to the next check out.
//!
//! `rise` and `fall` keep a node that wavers from wavering traffic; suspicion shortens the way down, because then a client's
//! connection and a check have failed one after the other. So does another peer's hint, if nobody is there when this peer
//! looks. Nothing here knows what a check is or where the node listens.
//!
//! A node that is left to other peers has no vote from here and is not checked, but while traffic suspects it: that this peer
//! cannot reach it is its own to know.

use std::num::NonZeroU8;
use std::time::{Duration, Instant};

use crate::host::Dice;
use crate::model::{Check, CheckKind, Health, Observation};

/// Time between two checks of a node that is expected back: `rise` 2 of them are half a second.
const FAST: Duration = Duration::from_millis(250);
/// How long after it went down a node is expected back.
const FAST_FOR: Duration = Duration::from_secs(60);
/// Time between two checks of a node that is down for longer: with two quick ones behind it a node has traffic within a second
/// of coming back, however long it was away.
const DOWN: Duration = Duration::from_millis(500);
/// Time between two checks while results contradict the vote, and after a check that says nothing.
const CHANGING: Duration = Duration::from_secs(1);
/// Times between checks vary by this part of themselves to either side, so that checks of many nodes and peers spread.
const JITTER: f64 = 0.1;
/// One share of the moving average of connect times that a new sample gets: 1/8 (RFC 6298 section 2).
const AVERAGE_SHARE: u32 = 8;

/// What a check says of a node.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Finding {
    /// How good, or how bad.
    pub(super) result: Result<Condition, Fault>,
    /// How long the TCP connection took, where it stood.
    pub(super) connect: Option<Duration>,
    /// The result in words, for people.
    pub(super) words: String,
}

/// How good.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Condition {
    /// It answers as it should.
    Well,
    /// It answers, and says that it is not well.
    Degraded,
}

/// How bad.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Fault {
    /// Nobody is there: refused, unreachable.
    Hard,
    /// It does not answer, or wrongly.
    Soft,
    /// The check could not be done, or cannot be believed. It says nothing of the node.
    Ours,
}

impl From<Condition> for Health {
    fn from(condition: Condition) -> Self {
        match condition {
            Condition::Well => Self::Up,
            Condition::Degraded => Self::Degraded,
        }
    }
}

/// What an answer means for traffic's suspicion.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Suspicion {
    /// This peer's own check found nobody there, of a node on which it has no vote.
    Raised,
    /// The node answers.
    Disproved,
}

/// Why a node was asked, beside its regular checks.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Reason {
    /// The question began after the last suspicion, so that a good answer disproves it.
    pub(super) suspicion: bool,
    /// Another peer saw it fail.
    pub(super) hint: bool,
}

/// One node's vote and how it came about.
#[derive(Debug)]
pub(super) struct Machine {
    interval: Duration,
    rise: NonZeroU8,
    fall: NonZeroU8,
    /// Whether the node is checked while nothing is wrong.
    periodic: bool,
    /// Whether this peer is one of those that observe it.
    observing: bool,
    vote: Option<Health>,
    reached_before: bool,
    latency: Option<Duration>,
    last_result: String,
    checks_total: u64,
    streak: i32,
    /// What the last good answer said, and how many good ones in a row said the same.
    condition: Option<Condition>,
    alike: u32,
    down_since: Option<Instant>,
    suspected: bool,
    /// Whether the last check said nothing of the node.
    inconclusive: bool,
    /// Whether its regular checks have been given a place of their own within the interval.
    spread: bool,
}

impl Machine {
    /// A node that nobody has asked yet. One that is not checked counts as up.
    pub(super) fn new(check: &Check) -> Self {
        let periodic = check.kind != CheckKind::None;
        Self {
            interval: check.interval,
            rise: check.rise,
            fall: check.fall,
            periodic,
            observing: true,
            vote: (!periodic).then_some(Health::Up),
            reached_before: false,
            latency: None,
            last_result: if periodic { "not checked yet" } else { "not checked: the pool's check is none" }.to_owned(),
            checks_total: 0,
            streak: 0,
            condition: None,
            alike: 0,
            down_since: None,
            suspected: false,
            inconclusive: false,
            spread: false,
        }
    }

    /// A node of which something was known before this machine began.
    pub(super) fn resume(check: &Check, known: &Observation, now: Instant) -> Self {
        let fresh = Self::new(check);
        if known.vote.is_none() && known.checks_total == 0 {
            return fresh;
        }
        Self {
            vote: known.vote.or(fresh.vote),
            reached_before: known.reached_before,
            latency: known.latency,
            last_result: known.last_result.clone(),
            checks_total: known.checks_total,
            streak: known.streak,
            down_since: (known.vote == Some(Health::Down)).then_some(now),
            ..fresh
        }
    }

    /// Its pool is checked in another way now. What was found stays, but where it began or ceased to be checked at all.
    pub(super) fn adjust(&mut self, check: &Check) {
        let periodic = check.kind != CheckKind::None;
        if periodic == self.periodic {
            (self.interval, self.rise, self.fall) = (check.interval, check.rise, check.fall);
            return;
        }
        let new = Self { observing: self.observing, suspected: self.suspected, ..Self::new(check) };
        let vote = new.vote.filter(|_| self.observing);
        *self = Self { vote, reached_before: self.reached_before, checks_total: self.checks_total, ..new };
    }

    /// Traffic met hard evidence: the next bad result is enough. True where a check is to find out at once; a node that
    /// is down already is being asked anyway.
    pub(super) fn suspect(&mut self) -> bool {
        self.suspected = true;
        self.vote != Some(Health::Down)
    }

    /// Whether traffic met hard evidence and no check has answered since.
    pub(super) fn is_suspected(&self) -> bool {
        self.suspected
    }

    /// This peer begins or ceases to observe the node. True where that is a change. A vote of before says nothing of now, so
    /// there is none until the first answer; whether the node was ever reached stays true.
    pub(super) fn observe(&mut self, observing: bool) -> bool {
        let changes = self.observing != observing;
        if changes {
            self.observing = observing;
            self.vote = (observing && !self.periodic).then_some(Health::Up);
            self.streak = 0;
            self.down_since = None;
            self.inconclusive = false;
            self.spread = false;
        }
        changes
    }

    /// Whether this peer has a vote on it.
    pub(super) fn is_observing(&self) -> bool {
        self.observing
    }

    /// Whether a bad result now is the first sign that it fails, or confirms what traffic suspects: news for others.
    pub(super) fn is_news_if_bad(&self) -> bool {
        let first = self.streak >= 0;
        if self.observing {
            matches!(self.vote, Some(Health::Up | Health::Degraded)) && (first || self.suspected)
        } else {
            self.suspected && first
        }
    }

    /// Whether somebody's doubt is worth a look: not where it is being asked again and again already.
    pub(super) fn is_open_to_looks(&self) -> bool {
        self.vote != Some(Health::Down) && !self.suspected
    }

    /// Takes a result in.
    pub(super) fn found(&mut self, finding: &Finding, reason: Reason, now: Instant) -> Option<Suspicion> {
        self.last_result.clone_from(&finding.words);
        self.inconclusive = finding.result == Err(Fault::Ours);
        let raised = match finding.result {
            Err(Fault::Ours) => return None,
            Ok(condition) => {
                self.good(condition, finding.connect);
                false
            }
            Err(fault) => self.bad(fault, reason.hint, now),
        };
        if raised {
            return Some(Suspicion::Raised);
        }
        let disproved = finding.result.is_ok() && reason.suspicion && self.suspected;
        self.suspected &= !disproved;
        disproved.then_some(Suspicion::Disproved)
    }

    /// The node has no address: nobody can be there.
    pub(super) fn unresolved(&mut self, words: String, now: Instant) {
        self.last_result = words;
        self.streak = self.streak.min(0).saturating_sub(1);
        self.go_down(now);
    }

    /// The node is now somewhere else entirely, where nobody has reached it yet.
    pub(super) fn moved(&mut self) {
        self.reached_before = false;
        self.latency = None;
    }

    /// Whether it is to be checked again at all.
    pub(super) fn needs_checks(&self, now: Instant) -> bool {
        self.pace(now).is_some()
    }

    /// The time from the beginning of the last check to that of the next; `None`: no check is needed.
    pub(super) fn wait(&mut self, now: Instant, dice: &mut Dice) -> Option<Duration> {
        let pace = self.pace(now)?;
        if pace == self.interval && self.vote == Some(Health::Up) && !self.spread {
            self.spread = true;
            return Some(pace.mul_f64(dice.fraction()));
        }
        Some(pace.mul_f64(1.0 - JITTER + 2.0 * JITTER * dice.fraction()))
    }

    /// What is shown, and what the cluster hears.
    pub(super) fn observation(&self) -> Observation {
        if !self.observing {
            let last_result =
                if self.suspected { self.last_result.clone() } else { "observed by other peers".to_owned() };
            let (reached_before, checks_total) = (self.reached_before, self.checks_total);
            return Observation { reached_before, checks_total, last_result, ..Observation::default() };
        }
        Observation {
            vote: self.vote,
            reached_before: self.reached_before,
            latency: self.latency,
            last_result: self.last_result.clone(),
            checks_total: self.checks_total,
            streak: self.streak,
        }
    }

    fn good(&mut self, condition: Condition, connect: Option<Duration>) {
        self.count(1);
        self.count_condition(condition);
        self.reached_before = true;
        if let Some(sample) = connect {
            self.latency =
                Some(self.latency.map_or(sample, |old| (old * (AVERAGE_SHARE - 1) + sample) / AVERAGE_SHARE));
        }
        if !self.observing {
            self.down_since = None;
            return;
        }
        // The first good answer brings a node up at once: nothing speaks against it yet.
        let enough = self.vote.is_none() || self.streak >= i32::from(self.rise.get());
        if enough && !matches!(self.vote, Some(Health::Up | Health::Degraded)) {
            self.vote = Some(condition.into());
            self.down_since = None;
        }
        // Between these two it goes as between up and down: `fall` alike in a row make it worse, `rise` better.
        match (self.vote, condition) {
            (Some(Health::Up), Condition::Degraded) if self.alike >= u32::from(self.fall.get()) => {
                self.vote = Some(Health::Degraded);
            }
            (Some(Health::Degraded), Condition::Well) if self.alike >= u32::from(self.rise.get()) => {
                self.vote = Some(Health::Up);
            }
            _ => {}
        }
    }

    fn count_condition(&mut self, condition: Condition) {
        self.alike = if self.condition == Some(condition) { self.alike.saturating_add(1) } else { 1 };
        self.condition = Some(condition);
    }

    /// True where that makes it suspect.
    fn bad(&mut self, fault: Fault, hinted: bool, now: Instant) -> bool {
        self.count(-1);
        (self.condition, self.alike) = (None, 0);
        // Two peers found nobody there, one after the other.
        let gone = hinted && fault == Fault::Hard;
        if !self.observing {
            // It was asked because somebody saw it fail; this peer's own look is the second to say so.
            self.down_since.get_or_insert(now);
            return fault == Fault::Hard && !std::mem::replace(&mut self.suspected, true);
        }
        // A node that was never up has nothing to be given credit for: nobody there means down, at the first look.
        let known_dead = self.vote.is_none() && fault == Fault::Hard;
        if known_dead || gone || self.suspected || -self.streak >= i32::from(self.fall.get()) {
            self.go_down(now);
        }
        false
    }

    fn go_down(&mut self, now: Instant) {
        if self.observing && self.vote != Some(Health::Down) {
            self.vote = Some(Health::Down);
            self.down_since = Some(now);
        }
    }

    fn count(&mut self, one: i32) {
        self.checks_total = self.checks_total.saturating_add(1);
        let alike = self.streak.signum() == one;
        self.streak = if alike { self.streak.saturating_add(one) } else { one };
    }

    /// Whether the last good answers say otherwise than the vote.
    fn is_turning(&self) -> bool {
        match self.vote {
            Some(Health::Up) => self.condition == Some(Condition::Degraded),
            Some(Health::Degraded) => self.condition == Some(Condition::Well),
            Some(Health::Down) | None => false,
        }
    }

    /// [`Machine::wait`] before chance.
    fn pace(&self, now: Instant) -> Option<Duration> {
        if !self.observing && !self.suspected {
            return None;
        }
        if self.inconclusive {
            return Some(CHANGING.min(self.interval));
        }
        let expected_back =
            self.streak > 0 || self.down_since.is_some_and(|since| now.saturating_duration_since(since) < FAST_FOR);
        let pace = match self.vote {
            None if !self.observing => {
                if expected_back {
                    FAST
                } else {
                    DOWN
                }
            }
            Some(Health::Up | Health::Degraded) if self.streak < 0 || self.is_turning() => CHANGING,
            Some(Health::Up | Health::Degraded) => return self.periodic.then_some(self.interval),
            Some(Health::Down) if expected_back => FAST,
            Some(Health::Down) => DOWN,
            // Nobody uses it yet, so nobody must wait for it.
            None if self.streak < 0 => FAST,
            None => CHANGING,
        };
        Some(pace.min(self.interval))
    }
}

#[cfg(test)]
mod tests;
