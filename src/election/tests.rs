//! What a single machine does where the other tests do not look: a disk that fails, a machine that sleeps, bytes that do not
//! come.

use std::time::Duration;

use crate::election::ballot::{Ballot, samples};
use crate::election::event::{Event, Leadership, Output};
use crate::election::machine::Election;
use crate::election::settings::{Pace, Settings};
use crate::election::time::Now;
use crate::host::{self, Dice};
use crate::model::{ClusterId, Electors, MinTimeout, PeerId, Preset, Revision, Slot, Term, ValueHash};
use crate::wire::{ElectionMessage, Word};

struct Alone {
    machine: Election,
    now: Now,
    dice: Dice,
}

impl Alone {
    fn new(own: &str, ballot: Ballot) -> Self {
        let now = Now { at: host::now(), asleep: Duration::ZERO };
        let mut dice = Dice::from_seed(1);
        let settings = Settings { own: own.parse().unwrap(), pace: Pace::of(Preset::Lan) };
        Self { machine: Election::new(settings, ballot, now, &mut dice), now, dice }
    }

    /// What `event` makes the machine want, so much later.
    fn after(&mut self, ms: u64, event: Event) -> Vec<Output> {
        self.now.at += Duration::from_millis(ms);
        self.machine.handle(event, self.now, &mut self.dice);
        std::iter::from_fn(|| self.machine.poll_output()).collect()
    }

    /// The same, with a disk that writes at once.
    fn settled(&mut self, ms: u64, event: Event) -> Vec<Output> {
        let mut all = self.after(ms, event);
        let mut at = 0;
        while at < all.len() {
            if let Output::Persist { number, .. } = all[at] {
                all.extend(self.after(0, Event::Persisted(number)));
            }
            at += 1;
        }
        all
    }

    fn leads(&self) -> bool {
        matches!(self.machine.leadership(), Leadership::Own { .. })
    }
}

fn sole_leader() -> Alone {
    let own: PeerId = "a".parse().unwrap();
    let mut alone = Alone::new("a", Ballot::lost(MinTimeout::default()));
    alone.settled(0, Event::FirstElectors(Some(Electors::alone(own))));
    alone.settled(700, Event::DeadlineReached);
    assert!(alone.leads() && alone.machine.authority(alone.now).is_none(), "it has committed nothing yet");
    alone.settled(0, Event::Propose { on: Revision::ZERO, value: ValueHash::of(b"first") });
    assert!(alone.machine.authority(alone.now).is_some());
    alone
}

#[test]
fn an_elector_alone_whose_newest_value_is_damaged_goes_on_with_the_committed_one_in_a_later_term() {
    let own: PeerId = "a".parse().unwrap();
    let mut ballot = samples::full();
    for slot in [&mut ballot.accepted, &mut ballot.committed].into_iter().flatten() {
        slot.electors = Electors::alone(own.clone());
    }
    let (term, committed) = (ballot.term, ballot.committed.clone());
    for forgotten in [term, Term::ZERO] {
        let damaged = Ballot { term: forgotten, ..ballot.clone().without_value(true) };
        let mut alone = Alone::new("a", damaged);
        alone.settled(0, Event::FirstElectors(Some(Electors::alone(own.clone()))));
        assert_eq!(alone.machine.journal.durable().accepted, committed);
        assert!(alone.machine.term() >= forgotten.max(committed.as_ref().unwrap().stamp));
        alone.settled(1_000, Event::DeadlineReached);
        alone.settled(1_000, Event::DeadlineReached);
        assert!(alone.leads() && alone.machine.term() > forgotten);
        assert_eq!(alone.machine.committed().map(|slot| slot.revision), committed.as_ref().map(|slot| slot.revision));
    }
}

#[test]
fn a_leader_whose_disk_fails_leads_no_more_and_its_ballot_is_written_again() {
    let mut alone = sole_leader();
    let on = alone.machine.committed().unwrap().revision;
    let wanted = alone.after(0, Event::Propose { on, value: ValueHash::of(b"second") });
    let [Output::Persist { number, ballot }] = wanted.as_slice() else { panic!("{wanted:?}") };
    let told = alone.after(0, Event::PersistFailed(*number));
    assert_eq!(told, [Output::Led(Leadership::Nobody)]);
    assert!(alone.machine.authority(alone.now).is_none());
    assert_eq!(alone.after(100, Event::DeadlineReached), [], "not at once: a full disk is not full of zeal");
    let again = alone.after(400, Event::DeadlineReached);
    assert_eq!(again, [Output::Persist { number: *number, ballot: ballot.clone() }]);
    alone.settled(0, Event::Persisted(*number));
    alone.settled(700, Event::DeadlineReached);
    alone.settled(700, Event::DeadlineReached);
    assert!(alone.leads());
    assert_eq!(alone.machine.committed().map(|slot| slot.hash), Some(ValueHash::of(b"second")));
}

#[test]
fn a_leader_that_may_act_says_which_value_is_the_newest_that_it_accepted() {
    let mut alone = sole_leader();
    let accepted = |alone: &Alone| alone.machine.authority(alone.now).unwrap().accepted;
    let first = alone.machine.committed().unwrap().revision;
    assert_eq!(accepted(&alone), first);
    let wanted = alone.after(0, Event::Propose { on: first, value: ValueHash::of(b"second") });
    let [Output::Persist { number, .. }] = wanted.as_slice() else { panic!("{wanted:?}") };
    assert_eq!(alone.machine.committed().unwrap().revision, first);
    assert_eq!(accepted(&alone), first.next().unwrap(), "it is accepted and not committed");
    alone.settled(0, Event::Persisted(*number));
    assert_eq!(Some(accepted(&alone)), alone.machine.committed().map(|slot| slot.revision));
}

#[test]
fn a_leader_that_slept_finds_its_lease_over_though_its_clock_stood_still() {
    let mut alone = sole_leader();
    let authority = alone.machine.authority(alone.now).unwrap();
    assert_eq!(authority.term, Term::new(1).unwrap());
    assert_eq!(authority.until.from_now(alone.now), Duration::from_millis(270));
    alone.now.asleep += Duration::from_millis(269);
    assert!(alone.machine.authority(alone.now).is_some());
    alone.now.asleep += Duration::from_millis(1);
    assert!(alone.machine.authority(alone.now).is_none());
}

#[test]
fn nothing_is_proposed_on_what_has_changed_or_beside_what_is_undecided() {
    let mut alone = sole_leader();
    let value = ValueHash::of(b"second");
    let declined = |outputs: Vec<Output>| outputs.iter().any(|output| matches!(output, Output::Declined(_)));
    assert!(declined(alone.settled(0, Event::Propose { on: Revision::ZERO, value })));
    let on = alone.machine.committed().unwrap().revision;
    assert!(!declined(alone.after(0, Event::Propose { on, value })));
    assert!(declined(alone.after(0, Event::Propose { on, value: ValueHash::of(b"third") })));
}

/// The slot that follows what [`samples::full`] has accepted, under the term of a leader.
fn next_of_sample(term: Term) -> Slot {
    let known = samples::full().accepted.unwrap();
    Slot { stamp: term, revision: known.revision.next().unwrap(), hash: ValueHash::of(b"new"), ..known }
}

/// A heartbeat that proposes it.
fn beat(from: &str, term: Term, number: u64) -> Event {
    let slot = next_of_sample(term);
    let (cluster, min_timeout) = (Some(slot.cluster), samples::full().min_timeout);
    let word = Word::Beat { life: 1, number, min_timeout, proposed: Some(slot), committed: None };
    Event::Received { from: from.parse().unwrap(), message: ElectionMessage { cluster, electors: None, term, word } }
}

fn fetches(outputs: &[Output]) -> usize {
    outputs.iter().filter(|output| matches!(output, Output::Fetch { .. })).count()
}

#[test]
fn a_value_that_cannot_be_written_is_fetched_ever_more_rarely_until_it_can() {
    let ballot = samples::full();
    let (term, value) = (ballot.term, ValueHash::of(b"new"));
    let mut follower = Alone::new("a", ballot);
    let mut at = Vec::new();
    for number in 1..=6_000 {
        if fetches(&follower.settled(20, beat("b", term, number))) > 0 {
            at.push(number * 20);
            follower.settled(0, Event::FetchUnwritten(value));
        }
    }
    let pauses: Vec<u64> = at.windows(2).map(|two| two[1] - two[0]).collect();
    assert_eq!(pauses, [500, 1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 32_000]);
    follower.settled(32_000, beat("b", term, 6_001));
    follower.settled(0, Event::Fetched(value));
    assert_eq!(follower.machine.journal.durable().accepted, Some(next_of_sample(term)));
}

#[test]
fn a_new_leader_is_asked_at_once_for_what_the_one_before_has_not_sent() {
    let ballot = samples::full();
    let (term, later) = (ballot.term, ballot.term.next().unwrap());
    let mut follower = Alone::new("a", ballot);
    assert_eq!(fetches(&follower.settled(0, beat("b", term, 1))), 1);
    let outputs = follower.settled(100, beat("c", later, 1));
    let from = |output: &Output| matches!(output, Output::Fetch { from, .. } if from.as_str() == "c");
    assert!(outputs.iter().any(from), "{outputs:?}");
    assert_eq!(fetches(&follower.settled(100, beat("c", later, 2))), 0, "one is under way");
}

#[test]
fn bytes_that_cannot_be_had_are_asked_for_again_at_the_next_heartbeat_and_not_before() {
    let ballot = samples::full();
    let (value, slot) = (ValueHash::of(b"new"), next_of_sample(ballot.term));
    let beat = |number| beat("b", samples::full().term, number);
    let mut follower = Alone::new("a", ballot);
    assert_eq!(fetches(&follower.settled(0, beat(1))), 1);
    assert_eq!(fetches(&follower.settled(100, beat(2))), 0, "one is under way");
    assert_eq!(fetches(&follower.settled(10, Event::FetchFailed(value))), 0);
    assert_eq!(fetches(&follower.settled(90, beat(3))), 1);
    let outputs = follower.settled(10, Event::Fetched(value));
    let accepted = |output: &Output| match output {
        Output::Persist { ballot, .. } => ballot.accepted.as_ref() == Some(&slot),
        _ => false,
    };
    assert!(outputs.iter().any(accepted), "{outputs:?}");
}

#[test]
fn a_peer_of_another_cluster_is_told_of_once_and_not_listened_to() {
    let mut peer = Alone::new("a", samples::full());
    let hail = |cluster| {
        let word = Word::Hail { life: 1 };
        let message = ElectionMessage { cluster: Some(ClusterId(cluster)), electors: None, term: Term::ZERO, word };
        Event::Received { from: "x".parse().unwrap(), message }
    };
    let stranger = Output::Stranger { peer: "x".parse().unwrap(), cluster: ClusterId([9; 16]) };
    assert_eq!(peer.settled(0, hail([9; 16])), [stranger]);
    assert_eq!(peer.settled(0, hail([9; 16])), []);
    assert_eq!(peer.machine.strangers().len(), 1);
    assert!(matches!(peer.settled(0, hail([3; 16])).as_slice(), [Output::Send { .. }]));
    assert_eq!(peer.machine.strangers().len(), 0, "it has joined");
}
