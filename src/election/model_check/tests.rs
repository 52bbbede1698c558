//! The scenarios: each is gone through to its end, and each rule that is left out is missed.

use stateright::{Checker, HasDiscoveries, Model};

use super::properties::*;
use super::scenario::*;
use super::space::*;
use crate::election::event::Change;
use crate::election::rules::{Rule, Rules};
use crate::host;

/// Three electors with a committed value, of which two campaign.
fn three() -> Scenario {
    let peer = |id| (id, Disk::Committed("a,b,c"), None);
    Scenario {
        name: "three electors",
        rules: Rules::default(),
        peers: vec![peer("a"), peer("b"), peer("c")],
        candidates: &[0, 1],
        term_max: 2,
        crashes: 0,
        who_crashes: &[0, 1, 2],
        wipes: 0,
        who_is_wiped: &[0, 1, 2],
        damaged: false,
        writes: 0,
        changes: vec![],
        slow_disk: false,
        led_by: None,
        steps: 0,
        beats: 0,
        terse: true,
    }
}

/// The same, where a leads term 2 and all have heard it, and b would lead term 3.
fn led() -> Scenario {
    Scenario { led_by: Some(0), candidates: &[1], term_max: 3, ..three() }
}

/// Nobody has anything on disk, and all name the same first electors.
fn new_cluster() -> Scenario {
    let peer = |id| (id, Disk::Empty, Some("a,b,c"));
    Scenario { peers: vec![peer("a"), peer("b"), peer("c")], term_max: 1, ..three() }
}

/// Two of three electors have lost their disks, and their settings name those two alone.
fn second_founding() -> Scenario {
    let lost = |id| (id, Disk::Empty, Some("b,c"));
    let peers = vec![("a", Disk::Committed("a,b,c"), None), lost("b"), lost("c")];
    Scenario { name: "beside a committed value", peers, candidates: &[1], ..three() }
}

/// With a clock: a leads, c hears nothing of it and would lead, and b starts again.
fn timed() -> Scenario {
    Scenario { name: "leases on a clock", candidates: &[2], crashes: 1, who_crashes: &[1], steps: 4, beats: 2, ..led() }
}

fn check(scenario: Scenario) -> impl Checker<Space> {
    let name = scenario.name;
    let begun = host::now();
    let checker = Space::new(scenario).checker().finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
    let seconds = host::now().duration_since(begun).as_secs_f64();
    let (states, steps) = (checker.unique_state_count(), checker.state_count());
    println!("{name}: {states} states, {steps} steps, at most {} deep, {seconds:.1} s", checker.max_depth());
    checker
}

/// In no state that can be reached is a property violated, and what should be seen somewhere is.
fn holds(scenario: Scenario) {
    let checker = check(scenario);
    for (property, path) in checker.discoveries() {
        let is_example = [ELECTED, ELECTED_AGAIN, COMMITTED, CHANGED, RECOVERED].contains(&property);
        assert!(is_example, "not so: {property}\n{}", checker.model().story(&path.into_actions()));
    }
    checker.assert_properties();
}

/// Without `rule` the checker finds what must never happen, and names it.
fn is_missed(rule: Rule, scenario: Scenario, property: &'static str) {
    let checker = check(Scenario { rules: Rules::without(rule), ..scenario });
    let path = checker.discovery(property).unwrap_or_else(|| panic!("nobody misses {rule:?}"));
    let actions = path.into_actions();
    println!("without {rule:?}, after {} events it is not so that {property}", actions.len());
    println!("{}", checker.model().story(&actions));
}

#[test]
fn every_word_of_an_election_in_every_order() {
    holds(Scenario { name: "every word", terse: false, ..three() });
}

#[test]
fn two_candidates_a_slow_disk_and_a_crash() {
    holds(Scenario { name: "a slow disk and a crash", slow_disk: true, crashes: 1, ..three() });
}

#[test]
fn two_candidates_for_two_terms() {
    holds(Scenario { name: "two more terms", term_max: 3, ..three() });
}

#[test]
fn a_write_while_another_leader_comes() {
    holds(Scenario { name: "two writes, two leaders", writes: 2, ..led() });
}

#[test]
fn a_write_a_crash_and_another_leader() {
    holds(Scenario { name: "a write, a crash, two leaders", writes: 1, crashes: 1, slow_disk: true, ..led() });
}

#[test]
fn a_voter_that_loses_its_disk_between_two_candidates() {
    holds(Scenario { name: "a voter loses its disk", wipes: 1, who_is_wiped: &[2], ..three() });
}

#[test]
fn a_write_a_lost_disk_and_another_leader() {
    // The leader, who may then vote; the candidate; and the one that both need.
    for (who, writes) in [(&[0][..], 1), (&[1], 0), (&[2], 1)] {
        holds(Scenario { name: "a lost disk, two leaders", writes, wipes: 1, who_is_wiped: who, ..led() });
    }
}

#[test]
fn a_write_a_damaged_value_and_another_leader() {
    for (who, writes) in [(&[0][..], 1), (&[1], 0), (&[2], 1)] {
        let scenario = Scenario { name: "a damaged value, two leaders", damaged: true, ..led() };
        holds(Scenario { writes, wipes: 1, who_is_wiped: who, ..scenario });
    }
}

#[test]
fn an_elector_is_removed_while_another_leader_comes() {
    for gone in ["a", "c"] {
        let changes = vec![Change::Remove(gone.parse().unwrap())];
        holds(Scenario { name: "an elector goes", candidates: &[1, 2], changes, ..led() });
    }
}

#[test]
fn an_elector_is_added_while_another_leader_comes() {
    let peer = |id| (id, Disk::Committed("a,b,c"), None);
    let peers = ["a", "b", "c", "d"].map(peer).into();
    let changes = vec![Change::Add("d".parse().unwrap())];
    holds(Scenario { name: "an elector comes", peers, changes, ..led() });
}

#[test]
fn an_elector_goes_and_another_loses_its_disk() {
    let changes = vec![Change::Remove("c".parse().unwrap())];
    let scenario = Scenario { name: "an elector goes, another loses its disk", changes, ..led() };
    holds(Scenario { wipes: 1, who_is_wiped: &[1], ..scenario });
}

#[test]
fn a_new_cluster_begins_once() {
    holds(Scenario { name: "a new cluster", ..new_cluster() });
}

#[test]
fn a_new_cluster_and_a_lost_disk() {
    let scenario = Scenario { name: "a new cluster and a lost disk", candidates: &[0], ..new_cluster() };
    holds(Scenario { wipes: 1, who_is_wiped: &[1], ..scenario });
}

#[test]
fn no_cluster_begins_beside_a_committed_value() {
    holds(Scenario { ..second_founding() });
}

#[test]
fn nobody_acts_beside_another_and_a_leader_without_a_quorum_stops() {
    holds(timed());
}

#[test]
fn a_vote_that_is_not_on_disk_is_missed() {
    let scenario = Scenario { name: "votes told too early", slow_disk: true, crashes: 1, who_crashes: &[2], ..three() };
    is_missed(Rule::VoteIsDurable, scenario, ONE_LEADER);
}

#[test]
fn a_vote_after_a_lost_disk_is_missed() {
    let peers = ["a", "b", "c"].map(|id| (id, Disk::Committed("a,b,c"), Some("a,b,c"))).into();
    let scenario = Scenario { name: "votes after a lost disk", wipes: 1, who_is_wiped: &[2], peers, ..three() };
    is_missed(Rule::LostBallotIsSilent, scenario, ONE_LEADER);
}

#[test]
fn a_recovery_from_fewer_than_all_is_missed() {
    let scenario = Scenario { name: "recovery from some", writes: 1, wipes: 1, ..led() };
    is_missed(Rule::RecoveryHearsAll, scenario, NEVER_LOST);
}

#[test]
fn what_is_accepted_and_told_as_committed_is_missed() {
    let scenario = Scenario { name: "accepted told as committed", writes: 2, ..led() };
    is_missed(Rule::AcceptedMayBeLost, scenario, NEVER_LOST);
}

#[test]
fn a_vote_right_after_a_start_is_missed() {
    is_missed(Rule::SilenceAfterStart, Scenario { name: "no silence after a start", ..timed() }, ONE_ACTS);
}

#[test]
fn a_founding_beside_a_committed_value_is_missed() {
    is_missed(Rule::NoSecondFounding, second_founding(), NEVER_LOST);
}
