//! What peers hint at, and what a hint does.

use super::*;

impl Stage {
    /// The hints that go out within the next moment, as `peer: nodes`.
    fn hints(&mut self) -> Vec<String> {
        let hints = self.watch.take_hints(self.now + 20 * MS);
        let nodes = |hint: &Hint| hint.nodes.iter().map(NodeId::as_str).collect::<Vec<_>>().join(" ");
        hints.iter().map(|hint| format!("{}: {}", hint.to, nodes(hint))).collect()
    }
}

#[test]
fn what_this_peer_sees_fail_is_hinted_at_once_and_not_more_than_once_a_second() {
    let nodes = [("a", "10.0.0.1:80"), ("z", "10.0.0.2:80")];
    let mut stage = Stage::among(&catalog(tcp(), &nodes), HashMap::new(), &FEW);
    // Nobody is astonished that a node is down which nobody has seen up.
    stage.check(Err(Fault::Hard));
    assert_eq!(stage.hints(), Vec::<String>::new());
    stage.check(Ok(Condition::Well));
    stage.check(Ok(Condition::Well));
    stage.check(Ok(Condition::Well));
    assert_eq!((stage.vote("a"), stage.vote("z")), (Some(Health::Up), Some(Health::Up)));
    // Traffic suspects it, and the check says so too.
    stage.watch.suspected(&id("a"), stage.now);
    assert_eq!(stage.hints(), ["b: a", "c: a"]);
    stage.now += PAUSE_MIN;
    let ask = stage.ask();
    stage.answer(&ask, stage.now, Err(Fault::Hard), 0);
    assert_eq!(stage.vote("a"), Some(Health::Down));
    assert_eq!(stage.hints(), Vec::<String>::new(), "said within the last second");
    // The first check that fails, of a node that nobody suspects.
    loop {
        let ask = stage.next_ask();
        stage.answer(&ask, stage.now, Err(Fault::Soft), 0);
        if ask.index == 1 {
            break;
        }
    }
    assert_eq!((stage.vote("z"), stage.hints()), (Some(Health::Up), vec!["b: z".to_owned(), "c: z".to_owned()]));
    stage.now += Duration::from_secs(5);
    while let Some(ask) = stage.watch.take_ask(stage.now) {
        stage.answer(&ask, stage.now, Err(Fault::Soft), 0);
    }
    assert_eq!(stage.hints(), Vec::<String>::new(), "the others know by now");
}

#[test]
fn hints_go_to_the_observers_of_a_node_and_never_to_this_peer() {
    let (mut stage, here, elsewhere) = divided();
    stage.check(Ok(Condition::Well));
    for node in [&here, &elsewhere] {
        stage.watch.suspected(&id(node), stage.now);
    }
    let hints = stage.hints();
    let about = |node: &str| hints.iter().filter(|hint| hint.contains(node)).count();
    assert_eq!((about(&here), about(&elsewhere)), (2, 3), "{hints:?}");
    assert!(hints.iter().all(|hint| !hint.starts_with("own:")));
}

#[test]
fn a_peer_that_is_alone_hints_at_nothing() {
    let mut stage = Stage::new(&catalog(tcp(), &[("a", "10.0.0.1:80")]));
    stage.check(Ok(Condition::Well));
    stage.watch.suspected(&id("a"), stage.now);
    stage.now += PAUSE_MIN;
    stage.check(Err(Fault::Hard));
    assert_eq!(stage.hints(), Vec::<String>::new());
}

#[test]
fn a_peer_that_was_late_sends_no_hint_and_no_sweep_of_that_round() {
    let mut stage = Stage::among(&catalog(tcp(), &[("a", "10.0.0.1:80")]), HashMap::new(), &FEW);
    stage.check(Ok(Condition::Well));
    stage.watch.sweep(stage.now);
    stage.hear();
    let swept = stage.swept;
    assert_eq!(swept, Some(stage.now));
    stage.skip();
    let (ask, began) = (stage.ask(), stage.now);
    stage.now += Duration::from_secs(3);
    assert!(stage.watch.woke(began + 100 * MS, stage.now));
    stage.watch.suspected(&id("a"), stage.now);
    stage.answer(&ask, began, Err(Fault::Hard), 0);
    stage.watch.sweep(stage.now);
    stage.hear();
    assert_eq!((stage.hints(), stage.swept), (Vec::new(), swept));
    // What it finds afterwards it says.
    stage.now += PAUSE_MIN;
    stage.check(Err(Fault::Hard));
    stage.watch.sweep(stage.now);
    stage.hear();
    assert_eq!(stage.hints(), ["b: a", "c: a"]);
    assert_eq!(stage.swept, Some(stage.now));
}

#[test]
fn a_sweep_is_told_after_all_that_it_vouches_for() {
    let mut stage = Stage::new(&catalog(tcp(), &[("a", "10.0.0.1:80")]));
    stage.hear();
    stage.check(Ok(Condition::Well));
    stage.watch.sweep(stage.now);
    assert!(matches!(stage.watch.next_output(), Some(Output::Observed { .. })));
    assert_eq!(stage.watch.next_output(), Some(Output::Swept { at: stage.now }));
    assert_eq!(stage.watch.next_output(), None);
}

#[test]
fn a_hint_makes_this_peer_look_and_only_what_it_sees_itself_counts() {
    let mut stage = Stage::among(&catalog(tcp(), &[("a", "10.0.0.1:80")]), HashMap::new(), &FEW);
    stage.check(Ok(Condition::Well));
    for (result, vote) in [
        (Ok(Condition::Well), Health::Up),
        (Err(Fault::Soft), Health::Up),
        (Ok(Condition::Well), Health::Up),
        (Err(Fault::Hard), Health::Down),
    ] {
        stage.now += PAUSE_MIN;
        stage.watch.hinted(&id("a"), stage.now);
        assert_eq!(stage.vote("a"), Some(Health::Up), "a hint alone says nothing");
        assert_eq!(stage.check(result), Duration::ZERO);
        assert_eq!((stage.vote("a"), stage.hints()), (Some(vote), Vec::new()), "{result:?}");
    }
    stage.watch.hinted(&id("nobody"), stage.now);
    // It is being asked again and again anyway.
    let next = stage.watch.next();
    stage.watch.hinted(&id("a"), stage.now);
    assert_eq!(stage.watch.next(), next);
}

#[test]
fn a_flood_of_hints_asks_a_node_once_in_100_ms_and_one_question_is_under_way() {
    let mut stage = Stage::among(&catalog(tcp(), &[("a", "10.0.0.1:80")]), HashMap::new(), &FEW);
    let mut asked = 0;
    let mut under_way: Option<(Ask, Instant)> = None;
    for _ in 0..1_000 {
        stage.now += MS;
        (0..10).for_each(|_| stage.watch.hinted(&id("a"), stage.now));
        if let Some((ask, began)) = under_way.take_if(|(_, began)| stage.now - *began >= 7 * MS) {
            stage.answer(&ask, began, Ok(Condition::Well), 0);
        }
        if let Some(ask) = stage.watch.take_ask(stage.now) {
            assert!(under_way.is_none());
            asked += 1;
            under_way = Some((ask, stage.now));
        }
    }
    assert!((8..=10).contains(&asked), "{asked} questions in a second");
}

#[test]
fn a_hint_during_a_check_asks_again_after_it() {
    let mut stage = Stage::among(&catalog(tcp(), &[("a", "10.0.0.1:80")]), HashMap::new(), &FEW);
    stage.check(Ok(Condition::Well));
    stage.skip();
    let ask = stage.ask();
    stage.watch.hinted(&id("a"), stage.now);
    stage.answer(&ask, stage.now, Ok(Condition::Well), 0);
    assert_eq!(stage.skip(), PAUSE_MIN);
    let ask = stage.ask();
    stage.answer(&ask, stage.now, Err(Fault::Hard), 0);
    assert_eq!(stage.vote("a"), Some(Health::Down));
}

#[test]
fn a_hint_at_a_node_that_others_observe_makes_it_suspect_here_if_nobody_is_there() {
    let (mut stage, _, elsewhere) = divided();
    stage.check(Ok(Condition::Well));
    stage.watch.hinted(&id(&elsewhere), stage.now);
    let ask = stage.ask();
    let changed = stage.answer(&ask, stage.now, Err(Fault::Hard), 0);
    assert_eq!(changed, Some((id(&elsewhere), Suspicion::Raised)));
    assert_eq!((stage.vote(&elsewhere), stage.hints()), (None, Vec::new()));
    assert!(stage.watch.is_suspected(&id(&elsewhere)));
    assert_eq!(stage.next_ask().index, 1, "it is asked until it answers");
}

#[test]
fn an_exchange_that_broke_at_a_node_that_others_observe_makes_it_suspect_here_if_nobody_is_there() {
    let (mut stage, _, elsewhere) = divided();
    stage.check(Ok(Condition::Well));
    stage.watch.broke_off(&id(&elsewhere), stage.now);
    let ask = stage.ask();
    assert_eq!(stage.answer(&ask, stage.now, Err(Fault::Soft), 0), None);
    stage.now += PAUSE_MIN;
    stage.watch.broke_off(&id(&elsewhere), stage.now);
    let ask = stage.ask();
    let changed = stage.answer(&ask, stage.now, Err(Fault::Hard), 0);
    assert_eq!(changed, Some((id(&elsewhere), Suspicion::Raised)));
    assert!(stage.hints().iter().all(|hint| hint.ends_with(&elsewhere)), "its observers are told to look");
    assert!(stage.watch.is_suspected(&id(&elsewhere)));
}
