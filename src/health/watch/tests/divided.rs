//! Nodes are shared among peers.

use super::*;

#[test]
fn a_node_that_others_observe_is_not_checked_and_not_waited_for() {
    let (mut stage, here, elsewhere) = divided();
    stage.check(Ok(Condition::Well));
    stage.hear();
    assert!(stage.watch.is_first_round_done());
    assert_eq!((stage.vote(&here), stage.vote(&elsewhere)), (Some(Health::Up), None));
    assert_eq!(stage.last_result(&elsewhere), "observed by other peers");
    for _ in 0..20 {
        stage.skip();
        let ask = stage.ask();
        assert_eq!(ask.index, 0);
        stage.answer(&ask, stage.now, Ok(Condition::Well), 0);
    }
}

#[test]
fn what_traffic_meets_at_a_node_that_others_observe_is_this_peers_own_to_know() {
    let (mut stage, _, elsewhere) = divided();
    stage.check(Ok(Condition::Well));
    stage.watch.suspected(&id(&elsewhere), stage.now);
    for _ in 0..3 {
        let ask = stage.next_ask();
        assert_eq!((ask.index, stage.answer(&ask, stage.now, Err(Fault::Hard), 0)), (1, None));
        assert_eq!(stage.vote(&elsewhere), None, "no vote");
    }
    let ask = stage.next_ask();
    assert_eq!(stage.answer(&ask, stage.now, Ok(Condition::Well), 0), Some((id(&elsewhere), Suspicion::Disproved)));
    assert_eq!(stage.next_ask().index, 0, "it is left to others again");
}

#[test]
fn when_members_change_the_schedule_follows_and_nothing_known_is_lost() {
    let (mut stage, here, elsewhere) = divided();
    stage.check(Ok(Condition::Well));
    // Alone: the other node is now to be asked here. Others knew it, so there is time.
    stage.watch.meet(members(&["own"]), |_| true, stage.now);
    assert_eq!(stage.vote(&here), Some(Health::Up));
    let mut waited = Duration::ZERO;
    loop {
        waited += stage.skip();
        let ask = stage.ask();
        stage.answer(&ask, stage.now, Ok(Condition::Well), 0);
        if ask.index == 1 {
            break;
        }
    }
    assert!(waited > Duration::ZERO && waited <= Check::INTERVAL_DEFAULT, "{waited:?}");
    assert_eq!(stage.vote(&elsewhere), Some(Health::Up));
    // The others are back, and its vote with them.
    stage.watch.meet(members(&MANY), |_| true, stage.now);
    assert_eq!((stage.vote(&here), stage.vote(&elsewhere)), (Some(Health::Up), None));
    assert!(stage.observed[&id(&elsewhere)].reached_before);
    // Gone again, and nobody knows anything of the node: it is asked at once.
    stage.now += PAUSE_MIN;
    stage.watch.meet(members(&["own"]), |_| false, stage.now);
    assert_eq!(stage.vote(&elsewhere), None, "what was seen an hour ago is no vote");
    assert_eq!(stage.skip(), Duration::ZERO);
    assert_eq!(stage.ask().index, 1);
}

#[test]
fn nobody_waits_for_the_first_check_of_a_node_that_is_left_to_others_meanwhile() {
    let (here, elsewhere) = here_and_elsewhere();
    let nodes = [(here.as_str(), "10.0.0.1:80"), (elsewhere.as_str(), "10.0.0.1:80")];
    let mut stage = Stage::new(&catalog(tcp(), &nodes));
    let (first, second) = (stage.ask(), stage.ask());
    stage.answer(&first, stage.now, Ok(Condition::Well), 0);
    stage.watch.meet(members(&MANY), |_| false, stage.now);
    stage.hear();
    assert!(stage.watch.is_first_round_done());
    stage.answer(&second, stage.now, Ok(Condition::Well), 0);
    assert_eq!(stage.vote(elsewhere.as_str()), None);
}

#[test]
fn a_peer_that_starts_among_others_waits_for_them_and_asks_only_its_share() {
    let nodes: Vec<String> = (0..200).map(|number| format!("n{number}")).collect();
    let nodes: Vec<(&str, &str)> = nodes.iter().map(|node| (node.as_str(), "10.0.0.1:80")).collect();
    let start = host::now();
    let new = || {
        let alone = members(&["own"]);
        Watch::new(&catalog(tcp(), &nodes), HashMap::new(), alone, start + 400 * MS, Dice::from_seed(1), start)
    };
    let asked = |watch: &mut Watch, now: Instant| {
        assert!(watch.next().is_none_or(|next| next <= now), "it sleeps on");
        std::iter::from_fn(|| watch.take_ask(now)).count()
    };

    let mut watch = new();
    assert_eq!(watch.next(), Some(start + 400 * MS));
    assert!(watch.take_ask(start + 399 * MS).is_none());
    let alone = asked(&mut watch, start + 400 * MS);
    assert!(alone >= 200.min(CHECKS_IN_FLIGHT_MAX), "nobody came, and only {alone} are asked");

    let mut watch = new();
    watch.meet(members(&MANY[..2]), |_| false, start + 50 * MS);
    assert_eq!(watch.next(), Some(start + 150 * MS), "more may come");
    watch.meet(members(&MANY), |_| false, start + 100 * MS);
    assert_eq!(watch.next(), Some(start + 200 * MS));
    let share = asked(&mut watch, start + 200 * MS);
    assert!((1..150).contains(&share), "{share} of 200");

    let mut watch = new();
    watch.meet(members(&MANY), |_| false, start + 390 * MS);
    assert_eq!(watch.next(), Some(start + 400 * MS), "the wait has an end");
}

/// Twenty peers and ten nodes in virtual time, every answer good.
#[test]
fn a_node_is_asked_as_often_by_twenty_peers_as_by_three_and_a_dead_observer_is_replaced_within_two_intervals() {
    let interval = Check::INTERVAL_DEFAULT;
    let ids: Vec<String> = (0..20).map(|number| format!("p{number:02}")).collect();
    let nodes: Vec<String> = (0..10).map(|number| format!("n{number}")).collect();
    let nodes: Vec<(&str, &str)> = nodes.iter().map(|node| (node.as_str(), "10.0.0.1:80")).collect();
    let catalog = catalog(tcp(), &nodes);
    let start = host::now();
    let seen_by = |own: usize, dead: Option<usize>| {
        let others = (0..20).filter(|other| *other != own && Some(*other) != dead).map(|other| ids[other].as_str());
        let all: Vec<&str> = std::iter::once(ids[own].as_str()).chain(others).collect();
        members(&all)
    };
    let mut watches: Vec<Watch> = (0..20)
        .map(|own| Watch::new(&catalog, HashMap::new(), seen_by(own, None), start, Dice::from_seed(own as u64), start))
        .collect();
    // Lets time pass and returns who asked which node when.
    let run = |watches: &mut [Watch], dead: Option<usize>, from: Instant, until: Instant| {
        let mut asked = Vec::new();
        for (own, watch) in watches.iter_mut().enumerate().filter(|(own, _)| Some(*own) != dead) {
            let mut now = from;
            while now < until {
                while let Some(ask) = watch.take_ask(now) {
                    asked.push((own, ask.index, now));
                    let finding = Finding { result: Ok(Condition::Well), connect: Some(MS), words: "ok".into() };
                    watch.answered(ask.index, Answer { began: now, finding, answering: Some(0) }, now);
                }
                now = watch.next().map_or(until, |next| next.max(now));
            }
        }
        asked
    };
    let intervals = 40;
    let settled = start + interval;
    run(&mut watches, None, start, settled);
    let end = settled + interval * intervals;
    let asked = run(&mut watches, None, settled, end);
    for node in 0..10 {
        let rate = asked.iter().filter(|(_, index, _)| *index == node).count() as f64 / f64::from(intervals);
        assert!((rate - 3.0).abs() <= 0.3, "n{node} is asked {rate} times an interval");
    }

    let dead = asked.iter().find(|(_, index, _)| *index == 0).unwrap().0;
    let observers = |asked: &[(usize, usize, Instant)], node: usize| {
        let of = asked.iter().filter(|(_, index, _)| *index == node).map(|(own, _, _)| *own);
        of.collect::<std::collections::BTreeSet<_>>()
    };
    for own in (0..20).filter(|own| *own != dead) {
        watches[own].meet(seen_by(own, Some(dead)), |_| true, end);
    }
    let after = run(&mut watches, Some(dead), end, end + interval * 2);
    for node in 0..10 {
        let (was, is) = (observers(&asked, node), observers(&after, node));
        assert_eq!(is.len(), 3, "n{node}");
        let stayed = was.iter().filter(|own| **own != dead).all(|own| is.contains(own));
        assert!(stayed && (was == is || was.contains(&dead)), "n{node}: {was:?} {is:?}");
    }
}
