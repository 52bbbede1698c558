use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::samples::{effect, intent, node, term};
use super::*;

const WEB: &str = "web-1";

fn fence(of_term: u64) -> Fence {
    Fence::new(node(WEB), term(of_term))
}

/// The fence after this was begun and came to its end.
fn after(mut fence: Fence, steps: &[(u64, Action, Result<&str, &str>)]) -> Fence {
    for (of_intent, action, outcome) in steps {
        fence.begin(intent(*of_intent), *action);
        fence.end(intent(*of_intent), *action, &outcome.map(done).map_err(Failed::new));
    }
    fence
}

fn done(note: &str) -> Done {
    Done { address: None, note: note.to_owned() }
}

fn run(again: bool) -> Decision {
    Decision::Run { again }
}

fn failed(decision: &Decision) -> &str {
    match decision {
        Decision::Answer(Answer::Failed { why }) => why,
        other => panic!("not a failure: {other:?}"),
    }
}

fn stale(of_term: u64, of_intent: Option<u64>) -> Decision {
    Decision::Answer(Answer::Stale { term: term(of_term), intent: of_intent.map(intent) })
}

#[test]
fn a_node_that_nobody_touched_is_touched() {
    for action in Action::ALL {
        assert_eq!(fence(3).decide(&effect((3, 1), action), false), run(false), "{action}");
    }
}

#[test]
fn an_earlier_term_is_refused_whatever_it_asks() {
    let fence = after(fence(3), &[(7, Action::Switch, Ok("moved"))]);
    for action in Action::ALL {
        for of_intent in [6, 7, 8] {
            assert_eq!(fence.decide(&effect((2, of_intent), action), false), stale(3, Some(7)), "{action} {of_intent}");
        }
    }
    assert_eq!(self::fence(3).decide(&effect((2, 9), Action::Switch), false), stale(3, None));
}

#[test]
fn an_earlier_plan_is_refused_even_of_a_later_term() {
    let mut fence = after(fence(3), &[(7, Action::Switch, Ok("moved"))]);
    fence.raise(term(5));
    for action in Action::ALL {
        assert_eq!(fence.decide(&effect((5, 6), action), false), stale(5, Some(7)), "{action}");
    }
}

#[test]
fn a_later_plan_begins_anew() {
    let mut fence = after(fence(3), &[(7, Action::Switch, Ok("moved")), (7, Action::Undo, Err("no"))]);
    assert_eq!(fence.decide(&effect((3, 8), Action::Switch), false), run(false));
    fence.begin(intent(8), Action::Switch);
    assert_eq!(fence.decide(&effect((3, 8), Action::Undo), false), run(false), "of plan 7 nothing is left");
    assert_eq!(fence.decide(&effect((3, 7), Action::Undo), false), stale(3, Some(8)));
}

#[test]
fn what_is_done_is_told_again_and_not_done_again() {
    for action in [Action::Switch, Action::Finish, Action::Undo, Action::Start, Action::Stop] {
        let fence = after(fence(3), &[(7, action, Ok("as asked"))]);
        for is_busy in [false, true] {
            let decision = fence.decide(&effect((4, 7), action), is_busy);
            assert_eq!(decision, Decision::Answer(Answer::Done(done("as asked"))), "{action}");
        }
    }
}

#[test]
fn what_failed_is_told_again_and_only_what_cleans_up_is_tried_again() {
    for action in [Action::Switch, Action::Start] {
        let fence = after(fence(3), &[(7, action, Err("no disk"))]);
        assert_eq!(failed(&fence.decide(&effect((4, 7), action), false)), "no disk");
    }
    for action in [Action::Undo, Action::Finish, Action::Stop] {
        let fence = after(fence(3), &[(7, action, Err("no disk"))]);
        assert_eq!(fence.decide(&effect((4, 7), action), false), run(true), "{action}");
    }
}

#[test]
fn what_was_begun_and_does_not_go_on_is_begun_again_and_said_to_be() {
    for action in [Action::Switch, Action::Finish, Action::Undo, Action::Start, Action::Stop] {
        let mut fence = fence(3);
        fence.begin(intent(7), action);
        assert_eq!(fence.decide(&effect((4, 7), action), false), run(true), "{action}");
        assert_eq!(fence.decide(&effect((4, 7), action), true), Decision::Answer(Answer::Running), "{action}");
    }
}

#[test]
fn nothing_begins_while_something_goes_on() {
    let mut fence = fence(3);
    fence.begin(intent(7), Action::Switch);
    for action in Action::ALL {
        for of_intent in [7, 8] {
            let decision = fence.decide(&effect((4, of_intent), action), true);
            assert_eq!(decision, Decision::Answer(Answer::Running), "{action} of {of_intent}");
        }
    }
}

#[test]
fn a_switch_start_or_finish_that_comes_after_its_undo_is_never_done() {
    let begun = |mut fence: Fence| {
        fence.begin(intent(7), Action::Undo);
        fence
    };
    for undone in [
        begun(fence(3)),
        after(fence(3), &[(7, Action::Undo, Ok("back"))]),
        after(fence(3), &[(7, Action::Undo, Err("no"))]),
        after(fence(3), &[(7, Action::Switch, Ok("moved")), (7, Action::Undo, Ok("back"))]),
        after(fence(3), &[(7, Action::Switch, Err("no")), (7, Action::Undo, Ok("back"))]),
    ] {
        for action in [Action::Switch, Action::Start, Action::Finish] {
            let decision = undone.decide(&effect((4, 7), action), false);
            assert!(failed(&decision).contains("it was undone"), "{decision:?}");
        }
    }
}

#[test]
fn a_switch_after_its_finish_is_told_what_was_done_and_never_done() {
    let both = after(fence(3), &[(7, Action::Switch, Ok("moved")), (7, Action::Finish, Ok("for good"))]);
    let decision = both.decide(&effect((4, 7), Action::Switch), false);
    assert_eq!(decision, Decision::Answer(Answer::Done(done("moved"))));
    // The fence was lost between the two.
    let finished = after(fence(3), &[(7, Action::Finish, Ok("for good"))]);
    assert!(failed(&finished.decide(&effect((4, 7), Action::Switch), false)).contains("it was finished"));
}

#[test]
fn what_is_finished_is_not_undone_and_what_failed_to_be_is() {
    let finished = after(fence(3), &[(7, Action::Switch, Ok("moved")), (7, Action::Finish, Ok("for good"))]);
    assert!(failed(&finished.decide(&effect((3, 7), Action::Undo), false)).contains("it was finished"));
    let half = after(fence(3), &[(7, Action::Switch, Ok("moved")), (7, Action::Finish, Err("no"))]);
    assert_eq!(half.decide(&effect((3, 7), Action::Undo), false), run(false));
}

#[test]
fn a_start_that_comes_after_its_stop_is_never_done() {
    let stopped = after(fence(3), &[(7, Action::Start, Ok("there")), (7, Action::Stop, Ok("gone"))]);
    assert!(failed(&stopped.decide(&effect((3, 7), Action::Start), false)).contains("it was stopped"));
}

#[test]
fn of_a_probe_nothing_is_remembered_but_its_term() {
    let before = after(fence(3), &[(7, Action::Switch, Ok("moved"))]);
    let mut fence = before.clone();
    fence.begin(intent(9), Action::Probe);
    fence.end(intent(9), Action::Probe, &Ok(done("there")));
    assert_eq!(fence, before);
    fence.raise(term(5));
    assert_eq!(fence.decide(&effect((4, 9), Action::Probe), false), stale(5, Some(7)));
    assert_eq!(fence.decide(&effect((5, 9), Action::Probe), false), run(false));
}

#[test]
fn words_of_a_driver_are_one_line_that_can_be_shown() {
    assert_eq!(one_line(" two\nlines\u{1b}[31m \u{202e}turned\n"), "two lines?[31m ?turned");
    let long = one_line(&"ä".repeat(10_000));
    assert_eq!(long.chars().count(), WORDS_CHARS_MAX);
    assert!(long.ends_with('…'));
    let whole = "x".repeat(WORDS_CHARS_MAX);
    assert_eq!(one_line(&whole), whole);
    let good = Done { address: Some("https://Web.Example".to_owned()), note: "a\0b".to_owned() };
    let kept = Done { address: Some("https://web.example:443".to_owned()), note: "a?b".to_owned() };
    assert_eq!(bounded(Ok(good), &[]), Ok(kept));
    let bad = bounded(Ok(Done { address: Some("nowhere".to_owned()), note: String::new() }), &[]);
    assert!(bad.unwrap_err().why.contains("an address which is none: a port is missing"));
}

#[test]
fn a_fence_is_read_as_it_was_written_however_long() {
    let longest = |action| {
        let host = format!("{}.{}", "h".repeat(63), "h.".repeat(94));
        let said = Done { address: Some(format!("https://{host}h:65535")), note: "\u{10ffff}\"".repeat(10_000) };
        (intent(u64::MAX), action, bounded(Ok(said), &[]))
    };
    let mut full = Fence::new(node(&"x".repeat(63)), Term::MAX);
    for (of_intent, action, outcome) in Action::ALL.map(longest) {
        assert!(outcome.is_ok(), "{outcome:?}");
        full.begin(of_intent, action);
        full.end(of_intent, action, &outcome);
    }
    let some = after(fence(3), &[(7, Action::Switch, Ok("moved")), (7, Action::Undo, Err("no"))]);
    for fence in [fence(0), some, full] {
        assert_eq!(Fence::decode(fence.node(), &fence.encode().unwrap()), Ok(fence));
    }
}

/// Frozen: a later version reads what this one has written.
#[test]
fn the_file_stays_the_same_over_versions() {
    let mut fence = after(fence(3), &[(7, Action::Switch, Ok("moved")), (7, Action::Undo, Err("no"))]);
    fence.begin(intent(7), Action::Stop);
    let steps = r#"{"switch":{"done":{"address":null,"note":"moved"}},"undo":{"failed":{"why":"no"}},"stop":"begun"}"#;
    let body = format!(r#"{{"node":"web-1","term":3,"plan":{{"intent":"i7","steps":{steps}}}}}"#).into_bytes();
    let length = u32::try_from(body.len()).unwrap().to_be_bytes();
    assert_eq!(fence.encode().unwrap(), [&b"ekfence1"[..], &length, &checksum(&body), &body].concat());
}

#[test]
fn a_file_that_is_cut_off_lengthened_or_bent_anywhere_is_no_fence() {
    let whole = after(fence(3), &[(7, Action::Switch, Ok("moved"))]).encode().unwrap();
    for cut in 0..whole.len() {
        assert!(Fence::decode(&node(WEB), &whole[..cut]).is_err(), "cut to {cut}");
    }
    assert!(Fence::decode(&node(WEB), &[&whole[..], &[0]].concat()).is_err());
    for at in 0..whole.len() {
        for bit in 0..8 {
            let mut bent = whole.clone();
            bent[at] ^= 1 << bit;
            assert!(Fence::decode(&node(WEB), &bent).is_err(), "bit {bit} of byte {at}");
        }
    }
}

#[test]
fn a_file_of_another_node_or_that_contradicts_itself_is_no_fence() {
    let bytes = fence(3).encode().unwrap();
    assert_eq!(Fence::decode(&node("web-2"), &bytes), Err(FenceError::Node(node(WEB))));
    for steps in [BTreeMap::new(), BTreeMap::from([(Action::Probe, Step::Begun)])] {
        let wrong = Fence { plan: Some(Plan { intent: intent(7), steps }), ..fence(3) };
        assert_eq!(Fence::decode(&node(WEB), &wrong.encode().unwrap()), Err(FenceError::Contradiction));
    }
}

#[test]
fn a_damaged_file_is_put_aside_and_a_missing_one_is_no_error() {
    let folder = tempfile::tempdir().unwrap();
    let inner = folder.path().join("driver");
    let file = FenceFile::new(&inner, &node(WEB));
    assert_eq!(file.read(), Ok(None));
    file.write(&fence(3)).unwrap();
    assert_eq!(file.read(), Ok(Some(fence(3))));
    for damage in [&b""[..], b"ekfence1", &[0; HEAD_BYTES + BODY_BYTES_MAX + 1]] {
        fs::write(file.file.path(), damage).unwrap();
        assert_eq!(file.read(), Ok(None));
        assert!(!file.file.path().exists());
        assert_eq!(fs::read(inner.join("fence-web-1.record.damaged")).unwrap(), damage);
    }
}

#[test]
fn what_cannot_be_read_for_another_reason_is_no_damage() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("fence-web-1.record")).unwrap();
    let error = FenceFile::new(folder.path(), &node(WEB)).read().unwrap_err();
    assert!(error.contains("cannot be read"), "{error}");
}

#[test]
fn nodes_whose_names_look_like_other_files_keep_theirs() {
    let folder = tempfile::tempdir().unwrap();
    let names = ["a", "a.new", "a.record", "a.record.new", "a.damaged", "a.record.damaged"];
    for round in 1..=2 {
        for name in names {
            FenceFile::new(folder.path(), &node(name)).write(&Fence::new(node(name), term(round))).unwrap();
        }
        for name in names {
            assert_eq!(
                FenceFile::new(folder.path(), &node(name)).read(),
                Ok(Some(Fence::new(node(name), term(round)))),
                "{name}"
            );
        }
    }
}

/// What may happen to an executor.
#[derive(Clone, Debug)]
enum Event {
    Order { term: u64, intent: u64, action: Action },
    End { well: bool },
    Restart,
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let order = (1..5_u64, 1..4_u64, 0..Action::ALL.len()).prop_map(|(term, intent, action)| Event::Order {
        term,
        intent,
        action: Action::ALL[action],
    });
    let event =
        prop_oneof![6 => order, 3 => any::<bool>().prop_map(|well| Event::End { well }), 1 => Just(Event::Restart)];
    prop::collection::vec(event, 1..80)
}

proptest! {
    #[test]
    fn hostile_bytes_are_an_error_or_a_fence(bytes: Vec<u8>) {
        let head = [&MAGIC[..], &u32::try_from(bytes.len()).unwrap().to_be_bytes(), &checksum(&bytes)].concat();
        if let Ok(fence) = Fence::decode(&node(WEB), &[head, bytes].concat()) {
            prop_assert_eq!(Fence::decode(&node(WEB), &fence.encode().unwrap()), Ok(fence));
        }
    }

    /// Its checksum is right, and it was not this program that wrote it.
    #[test]
    fn a_forged_file_is_an_error_or_a_fence(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<char>()), 1..8),
    ) {
        let steps = [(7, Action::Switch, Ok("moved")), (7, Action::Undo, Err("no"))];
        let mut text: Vec<char> = serde_json::to_string(&after(fence(3), &steps)).unwrap().chars().collect();
        for (at, character) in changes {
            let at = at.index(text.len());
            text[at] = character;
        }
        let body = text.into_iter().collect::<String>().into_bytes();
        let head = [&MAGIC[..], &u32::try_from(body.len()).unwrap().to_be_bytes(), &checksum(&body)].concat();
        if let Ok(fence) = Fence::decode(&node(WEB), &[head, body].concat()) {
            prop_assert_eq!(Fence::decode(&node(WEB), &fence.encode().unwrap()), Ok(fence));
        }
    }

    /// Orders of several leaders for several plans, late, twice and in any order, with crashes between them.
    #[test]
    fn nothing_is_done_twice_or_for_the_past_whatever_comes_and_crashes(events in events()) {
        let mut disk = fence(0).encode().unwrap();
        let mut under_way: Option<(u64, Action)> = None;
        let (mut answered, mut latest) = (0, 0);
        let mut begun = BTreeSet::new();
        let mut completed = BTreeSet::new();
        for event in events {
            let mut fence = Fence::decode(&node(WEB), &disk).unwrap();
            match event {
                Event::Restart => under_way = None,
                Event::End { well } => {
                    if let Some((of, action)) = under_way.take() {
                        fence.end(intent(of), action, &if well { Ok(done("")) } else { Err(Failed::new("no")) });
                        if well && action != Action::Probe {
                            prop_assert!(completed.insert((of, action)), "{action} of {of} is done twice");
                        }
                    }
                }
                Event::Order { term: of_term, intent: of, action } => {
                    let order = effect((of_term, of), action);
                    fence.raise(order.term);
                    match fence.decide(&order, under_way.is_some()) {
                        Decision::Run { again } => {
                            prop_assert_eq!(under_way, None);
                            prop_assert!(of_term >= answered, "{of_term} begins after {answered}");
                            prop_assert!(of >= latest, "plan {of} begins something after {latest}");
                            let is_first = action == Action::Probe || begun.insert((of, action));
                            prop_assert_eq!(again, !is_first);
                            prop_assert!(!completed.contains(&(of, action)));
                            if matches!(action, Action::Switch | Action::Start | Action::Finish) {
                                prop_assert!(!begun.contains(&(of, Action::Undo)), "{action} after undo");
                            }
                            if action != Action::Probe {
                                latest = of;
                            }
                            fence.begin(intent(of), action);
                            under_way = Some((of, action));
                        }
                        Decision::Answer(Answer::Done(_)) => prop_assert!(completed.contains(&(of, action))),
                        Decision::Answer(_) => {}
                    }
                    answered = answered.max(of_term);
                }
            }
            disk = fence.encode().unwrap();
        }
    }
}

#[test]
fn what_a_driver_was_given_in_secret_is_not_told() {
    let secrets = ["s3cr3t-t0k3n", "s3cr3t-t0k3n-2", "info"].map(str::to_owned);
    let said = |note: &str| match bounded(Ok(Done { address: None, note: note.to_owned() }), &secrets) {
        Ok(done) => done.note,
        Err(failed) => failed.why,
    };
    assert_eq!(said("curl: https://u:s3cr3t-t0k3n-2@x failed"), "curl: https://u:(secret)@x failed");
    assert_eq!(said("info: as ever"), "info: as ever");
    let failed = bounded(Err(Failed::new("token s3cr3t-t0k3n is refused")), &secrets);
    assert_eq!(failed, Err(Failed::new("token (secret) is refused")));
}

#[test]
fn files_of_nodes_that_were_started_and_are_gone_are_removed_and_no_others() {
    let folder = tempfile::tempdir().unwrap();
    let exec = folder.path().join("exec");
    fs::create_dir(&exec).unwrap();
    let done = || Ok(Done { address: None, note: String::new() });
    for (name, steps, outcome) in [
        ("stopped", &[Action::Stop][..], done()),
        ("undone", &[Action::Start, Action::Undo], done()),
        ("started", &[Action::Start], done()),
        ("moved", &[Action::Switch, Action::Undo], done()),
        ("failing", &[Action::Stop], Err(Failed::new("no"))),
    ] {
        let mut fence = Fence::new(node(name), term(3));
        for step in steps {
            fence.begin(intent(7), *step);
            fence.end(intent(7), *step, &outcome);
        }
        FenceFile::new(folder.path(), &node(name)).write(&fence).unwrap();
        fs::write(exec.join(format!("command-{name}.json")), "{}").unwrap();
    }
    let beside = [exec.clone()];
    assert_eq!(remove_over(folder.path(), Duration::from_secs(60), &beside), 0, "they are new");
    assert_eq!(remove_over(folder.path(), Duration::ZERO, &beside), 2);
    let left = |folder: &Path| fs::read_dir(folder).unwrap().filter(|of| of.as_ref().unwrap().path().is_file()).count();
    assert_eq!((left(folder.path()), left(&exec)), (3, 3));
    assert!(FenceFile::new(folder.path(), &node("stopped")).read().unwrap().is_none());
}
