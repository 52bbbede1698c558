//! Transcripts: what comes in on the left, what the machine says of the node on the right.

use std::fmt::Write as _;

use super::*;
use crate::host;
use crate::model::TcpCheck;

/// Asked after whatever was suspected.
const ASKED: Reason = Reason { suspicion: true, hint: false };

fn finding(word: &str) -> Finding {
    let (result, connect) = match word {
        "good" => (Ok(Condition::Well), Some(Duration::from_millis(8))),
        "degraded" => (Ok(Condition::Degraded), Some(Duration::from_millis(8))),
        "refused" => (Err(Fault::Hard), None),
        "503" => (Err(Fault::Soft), Some(Duration::from_millis(8))),
        "ours" => (Err(Fault::Ours), None),
        _ => panic!("{word}"),
    };
    Finding { result, connect, words: word.to_owned() }
}

fn pace(pace: Option<Duration>) -> String {
    pace.map_or_else(|| "never".to_owned(), |pace| format!("{} ms", pace.as_millis()))
}

/// Plays `script`, one word a check; after each, time goes on by the machine's own pace. `suspect` and `60s` are no checks.
fn play(check: &Check, script: &str) -> String {
    let mut now = host::now();
    let mut machine = Machine::new(check);
    let mut told = String::new();
    for word in script.split_whitespace() {
        match word {
            "suspect" => {
                let at_once = machine.suspect();
                writeln!(told, "suspect: {}", if at_once { "ask at once" } else { "asked anyway" }).unwrap();
                continue;
            }
            "60s" => {
                now += Duration::from_secs(60);
                continue;
            }
            "left" => {
                machine.observe(false);
                let left = machine.observation();
                writeln!(told, "left: {:?}, {}", left.vote, left.last_result).unwrap();
                continue;
            }
            "ours-again" => {
                machine.observe(true);
                continue;
            }
            "gone" => machine.unresolved("name does not resolve".into(), now),
            _ => {
                let (word, hint) = word.strip_suffix("-on-hint").map_or((word, false), |word| (word, true));
                match machine.found(&finding(word), Reason { hint, ..ASKED }, now) {
                    Some(Suspicion::Disproved) => writeln!(told, "suspicion disproved").unwrap(),
                    Some(Suspicion::Raised) => writeln!(told, "suspicion raised").unwrap(),
                    None => {}
                }
            }
        }
        let vote = machine.vote.map_or_else(|| "none".to_owned(), |vote| format!("{vote:?}").to_lowercase());
        writeln!(told, "{word}: {vote}, streak {}, next {}", machine.streak, pace(machine.pace(now))).unwrap();
        now += machine.pace(now).unwrap_or_default();
    }
    told
}

fn told(check: &Check, script: &str, expected: &str) {
    let got = play(check, script);
    let expected: String = expected.trim().lines().map(|line| format!("{}\n", line.trim())).collect();
    assert_eq!(got, expected, "\n{got}");
}

fn tcp() -> Check {
    Check::of(CheckKind::Tcp(TcpCheck::default()))
}

#[test]
fn the_first_good_answer_brings_a_node_up() {
    told(&tcp(), "good good", "good: up, streak 1, next 5000 ms\n good: up, streak 2, next 5000 ms");
}

#[test]
fn a_node_that_refuses_from_the_start_is_known_as_down_at_once() {
    told(&tcp(), "refused", "refused: down, streak -1, next 250 ms");
}

#[test]
fn a_node_that_is_sick_from_the_start_is_down_after_fall() {
    told(
        &tcp(),
        "503 503 503",
        "503: none, streak -1, next 250 ms
         503: none, streak -2, next 250 ms
         503: down, streak -3, next 250 ms",
    );
}

#[test]
fn a_node_goes_down_after_fall_in_a_row_and_comes_back_after_rise() {
    told(
        &tcp(),
        "good 503 good 503 503 refused good 503 good good good",
        "good: up, streak 1, next 5000 ms
         503: up, streak -1, next 1000 ms
         good: up, streak 1, next 5000 ms
         503: up, streak -1, next 1000 ms
         503: up, streak -2, next 1000 ms
         refused: down, streak -3, next 250 ms
         good: down, streak 1, next 250 ms
         503: down, streak -1, next 250 ms
         good: down, streak 1, next 250 ms
         good: up, streak 2, next 5000 ms
         good: up, streak 3, next 5000 ms",
    );
}

#[test]
fn after_a_minute_a_dead_node_is_asked_every_half_second_and_once_it_answers_fast_again() {
    told(
        &tcp(),
        "refused 60s refused refused good good",
        "refused: down, streak -1, next 250 ms
         refused: down, streak -2, next 500 ms
         refused: down, streak -3, next 500 ms
         good: down, streak 1, next 250 ms
         good: up, streak 2, next 5000 ms",
    );
}

#[test]
fn a_suspected_node_is_down_with_the_first_bad_answer_and_comes_back_by_rise() {
    told(
        &tcp(),
        "good suspect refused suspect good good",
        "good: up, streak 1, next 5000 ms
         suspect: ask at once
         refused: down, streak -1, next 250 ms
         suspect: asked anyway
         suspicion disproved
         good: down, streak 1, next 250 ms
         good: up, streak 2, next 5000 ms",
    );
}

#[test]
fn a_good_answer_disproves_a_suspicion_and_the_node_stays_up() {
    told(
        &tcp(),
        "good suspect good 503",
        "good: up, streak 1, next 5000 ms
         suspect: ask at once
         suspicion disproved
         good: up, streak 2, next 5000 ms
         503: up, streak -1, next 1000 ms",
    );
}

#[test]
fn an_answer_to_an_older_question_does_not_disprove_a_suspicion() {
    let mut machine = Machine::new(&tcp());
    let now = host::now();
    machine.found(&finding("good"), ASKED, now);
    machine.suspect();
    assert_eq!(machine.found(&finding("good"), Reason::default(), now), None);
    assert!(machine.is_suspected());
    machine.found(&finding("refused"), ASKED, now);
    assert_eq!(machine.observation().vote, Some(Health::Down));
}

#[test]
fn a_node_without_a_check_is_up_until_traffic_and_a_connection_say_otherwise() {
    told(
        &Check::of(CheckKind::None),
        "suspect good suspect refused refused good good",
        "suspect: ask at once
         suspicion disproved
         good: up, streak 1, next never
         suspect: ask at once
         refused: down, streak -1, next 250 ms
         refused: down, streak -2, next 250 ms
         suspicion disproved
         good: down, streak 1, next 250 ms
         good: up, streak 2, next never",
    );
    assert_eq!(Machine::new(&Check::of(CheckKind::None)).observation().vote, Some(Health::Up));
}

#[test]
fn what_is_this_peers_own_fault_changes_no_vote() {
    told(
        &tcp(),
        "ours good ours ours ours ours suspect ours",
        "ours: none, streak 0, next 1000 ms
         good: up, streak 1, next 5000 ms
         ours: up, streak 1, next 1000 ms
         ours: up, streak 1, next 1000 ms
         ours: up, streak 1, next 1000 ms
         ours: up, streak 1, next 1000 ms
         suspect: ask at once
         ours: up, streak 1, next 1000 ms",
    );
}

#[test]
fn a_node_without_an_address_is_down_and_comes_back_by_rise() {
    told(
        &tcp(),
        "gone good good",
        "gone: down, streak -1, next 250 ms
         good: down, streak 1, next 250 ms
         good: up, streak 2, next 5000 ms",
    );
}

#[test]
fn an_interval_shorter_than_the_fast_ones_is_kept() {
    let quick = Check { interval: Duration::from_millis(100), ..tcp() };
    told(
        &quick,
        "good 503 503 503 good",
        "good: up, streak 1, next 100 ms
         503: up, streak -1, next 100 ms
         503: up, streak -2, next 100 ms
         503: down, streak -3, next 100 ms
         good: down, streak 1, next 100 ms",
    );
}

#[test]
fn everything_shown_is_filled_and_a_restart_forgets_nothing() {
    let mut machine = Machine::new(&tcp());
    let now = host::now();
    machine.found(&finding("good"), ASKED, now);
    let mut slow = finding("good");
    slow.connect = Some(Duration::from_millis(16));
    machine.found(&slow, ASKED, now);
    let seen = machine.observation();
    let expected = Observation {
        vote: Some(Health::Up),
        reached_before: true,
        latency: Some(Duration::from_millis(9)),
        last_result: "good".into(),
        checks_total: 2,
        streak: 2,
    };
    assert_eq!(seen, expected);
    assert_eq!(Machine::resume(&tcp(), &seen, now).observation(), seen);
    let unknown = Machine::resume(&tcp(), &Observation::default(), now).observation();
    assert_eq!(unknown.last_result, "not checked yet");
}

#[test]
fn a_settled_node_first_gets_its_own_place_and_then_keeps_within_a_tenth() {
    let mut dice = Dice::from_seed(7);
    let now = host::now();
    let mut firsts = Vec::new();
    for _ in 0..100 {
        let mut machine = Machine::new(&tcp());
        machine.found(&finding("good"), ASKED, now);
        firsts.push(machine.wait(now, &mut dice).unwrap());
        for _ in 0..10 {
            let wait = machine.wait(now, &mut dice).unwrap();
            assert!((Duration::from_millis(4_500)..=Duration::from_millis(5_500)).contains(&wait), "{wait:?}");
        }
    }
    let early = firsts.iter().filter(|wait| **wait < Duration::from_millis(2_500)).count();
    assert!((30..70).contains(&early), "{early} of 100 fall into the first half of the interval");
}

#[test]
fn a_hint_and_nobody_there_is_enough_and_a_hint_and_a_wrong_answer_is_one_of_fall() {
    told(
        &tcp(),
        "good good-on-hint 503-on-hint 503 good refused-on-hint",
        "good: up, streak 1, next 5000 ms
         good-on-hint: up, streak 2, next 5000 ms
         503-on-hint: up, streak -1, next 1000 ms
         503: up, streak -2, next 1000 ms
         good: up, streak 1, next 5000 ms
         refused-on-hint: down, streak -1, next 250 ms",
    );
}

#[test]
fn a_node_that_is_left_to_others_has_no_vote_and_is_asked_only_while_this_peer_cannot_reach_it() {
    told(
        &tcp(),
        "good left good 503-on-hint refused-on-hint refused 60s refused good suspect refused good",
        "good: up, streak 1, next 5000 ms
         left: None, observed by other peers
         good: none, streak 1, next never
         503-on-hint: none, streak -1, next never
         suspicion raised
         refused-on-hint: none, streak -2, next 250 ms
         refused: none, streak -3, next 250 ms
         refused: none, streak -4, next 500 ms
         suspicion disproved
         good: none, streak 1, next never
         suspect: ask at once
         refused: none, streak -1, next 250 ms
         suspicion disproved
         good: none, streak 1, next never",
    );
}

#[test]
fn who_observes_a_node_again_has_no_vote_before_the_first_answer_and_knows_that_it_was_reached() {
    told(
        &tcp(),
        "good left ours-again refused",
        "good: up, streak 1, next 5000 ms
         left: None, observed by other peers
         refused: down, streak -1, next 250 ms",
    );
    let now = host::now();
    let mut machine = Machine::new(&tcp());
    machine.found(&finding("good"), ASKED, now);
    assert!(machine.observe(false) && !machine.observe(false) && machine.observe(true));
    let seen = machine.observation();
    assert_eq!((seen.vote, seen.reached_before), (None, true));
    // Where nobody ever asks there is nothing to wait for.
    let mut unchecked = Machine::new(&Check::of(CheckKind::None));
    assert!(unchecked.observe(false) && unchecked.observe(true));
    assert_eq!(unchecked.observation().vote, Some(Health::Up));
}

#[test]
fn a_node_that_says_it_is_not_well_is_degraded_after_fall_and_well_again_after_rise() {
    let check = Check::of(CheckKind::Tcp(TcpCheck::default()));
    let mut now = host::now();
    let mut machine = Machine::new(&check);
    let mut votes = |script: &str| {
        let mut votes = Vec::new();
        for word in script.split_whitespace() {
            machine.found(&finding(word), ASKED, now);
            now += Duration::from_secs(1);
            votes.push(machine.observation().vote.map_or("none", |vote| match vote {
                Health::Up => "up",
                Health::Degraded => "degraded",
                Health::Down => "down",
            }));
        }
        votes.join(" ")
    };
    assert_eq!(votes("good degraded degraded good degraded degraded"), "up up up up up up", "it wavers");
    assert_eq!(votes("degraded good degraded good good"), "degraded degraded degraded degraded up");
    assert_eq!(votes("degraded 503 degraded degraded degraded"), "up up up up degraded", "in a row");
    assert_eq!(votes("503 503 503 degraded degraded"), "degraded degraded down down degraded");
    assert_eq!(votes("503 503 503 good good"), "degraded degraded down down up");
    let mut fresh = Machine::new(&check);
    fresh.found(&finding("degraded"), ASKED, now);
    assert_eq!(fresh.observation().vote, Some(Health::Degraded), "nothing speaks against it yet");
}

#[test]
fn a_node_that_begins_to_say_otherwise_is_asked_sooner() {
    let check = Check::of(CheckKind::Tcp(TcpCheck::default()));
    let now = host::now();
    let mut machine = Machine::new(&check);
    machine.found(&finding("good"), ASKED, now);
    assert_eq!(machine.pace(now), Some(check.interval));
    machine.found(&finding("degraded"), ASKED, now);
    assert_eq!(machine.pace(now), Some(CHANGING));
    machine.found(&finding("degraded"), ASKED, now);
    machine.found(&finding("degraded"), ASKED, now);
    assert_eq!((machine.observation().vote, machine.pace(now)), (Some(Health::Degraded), Some(check.interval)));
    machine.found(&finding("good"), ASKED, now);
    assert_eq!(machine.pace(now), Some(CHANGING));
}
