//! Clusters simulated from a seed. `CLUSTER_SEED=0x51` replays one; `EVENKEEL_SOAK=1` runs hundreds.

use std::process::{Command, Output};

use cluster_tests::environment::{is_soak, variable};
use cluster_tests::report;
use cluster_tests::simulation::system::WALL_JUMPS;

fn simulate(arguments: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_simulate"));
    command.args(arguments.split_whitespace());
    command
}

fn lines(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Runs it, with the figures for whoever looks and the last events where it fails.
#[track_caller]
fn holds(arguments: &str) {
    let output = simulate(arguments).output().expect("the simulation runs");
    let (lines, complaint) = (lines(&output), String::from_utf8_lossy(&output.stderr));
    let last: Vec<&str> = lines.lines().rev().take(40).collect();
    let last = last.into_iter().rev().collect::<Vec<_>>().join("\n");
    assert!(output.status.success(), "simulate {arguments}\n{last}\n{complaint}");
    let is_figure = |line: &&str| !line.starts_with(' ');
    lines.lines().filter(is_figure).for_each(|line| report::line(&format!("{arguments}: {line}")));
}

#[test]
fn the_same_seed_gives_the_same_trace_whatever_the_wall_clock_does() {
    let arguments = "--seed 0x51 --minutes 1";
    let first = simulate(arguments).output().expect("the simulation runs");
    let second = simulate(arguments).output().expect("the simulation runs");
    let jumping = simulate(arguments).env(WALL_JUMPS, "1").output().expect("the simulation runs");
    let other = simulate("--seed 0x52 --minutes 1").output().expect("the simulation runs");
    assert!(first.status.success(), "{}", String::from_utf8_lossy(&first.stderr));
    assert!(lines(&first).lines().count() > 300, "much happens in a minute");
    assert_eq!(lines(&first), lines(&second));
    assert_eq!(lines(&first), lines(&jumping), "the wall clock jumped by a day and an hour, again and again");
    assert_ne!(lines(&first), lines(&other), "another seed is another story");
}

#[test]
fn whatever_goes_wrong_all_agree_two_seconds_after_it_is_over() {
    let seeds: Vec<String> = match variable("CLUSTER_SEED") {
        Some(seed) => vec![seed.into_string().expect("a seed is a number")],
        None => (1..=if is_soak() { 300 } else { 4 }).map(|seed| seed.to_string()).collect(),
    };
    for seed in seeds {
        holds(&format!("--seed {seed} --minutes 2"));
    }
}

#[test]
fn peers_that_are_told_of_nodes_at_different_times_end_with_the_same_verdicts() {
    for seed in 1..=if is_soak() { 100 } else { 3 } {
        holds(&format!("--seed {seed} --minutes 2 --nodes 24 --scenario catalogs"));
    }
}

#[test]
fn one_packet_in_ten_lost_for_half_an_hour_kills_nobody() {
    holds("--minutes 30 --scenario loss");
}

#[test]
fn a_peer_that_gets_no_time_to_run_accuses_nobody_when_it_wakes() {
    holds("--minutes 4 --scenario starved");
}

#[test]
fn a_peer_that_reaches_no_node_is_doubted_and_takes_no_node_down() {
    holds("--minutes 3 --scenario doubtful");
}

#[test]
fn many_peers_find_each_other_and_see_a_death_within_two_seconds() {
    for peers in [20, 50, 100] {
        holds(&format!("--peers {peers} --nodes 20 --minutes 0.05 --scenario crowd"));
    }
}
