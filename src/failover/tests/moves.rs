use std::time::Duration;

use serde_json::{Value, json};

use super::world::{World, node};
use crate::catalog::Change;
use crate::driver::Action;
use crate::failover::operation::{Answered, Refused, What};
use crate::model::{Happened, PlanOutcome, Step};

/// Two exits, each on a server of its own, and two servers more.
fn exits(failover: &Value) -> World {
    let server = |id: &str, ip: &str| json!({ "id": id, "region": "us", "address": format!("{ip}:80") });
    World::new(&json!({
        "pool": [{
            "name": "exits",
            "failover": failover,
            "node": [
                { "id": "us-1", "address": "192.0.2.1:80", "region": "us", "server": "s-1" },
                { "id": "us-2", "address": "192.0.2.2:80", "region": "us", "server": "s-2" },
            ],
        }],
        "server": [
            server("s-1", "192.0.2.1"), server("s-2", "192.0.2.2"), server("s-3", "192.0.2.3"), server("s-4", "192.0.2.4"),
            json!({ "id": "far", "region": "uk", "address": "192.0.2.9:80" }),
        ],
    }))
}

fn outcomes(world: &World) -> Vec<PlanOutcome> {
    world.body.managed.attempts.iter().map(|attempt| attempt.outcome).collect()
}

#[test]
fn a_node_whose_server_died_is_moved_to_the_best_one_that_answers_and_everything_about_it_is_told() {
    let mut world = exits(&json!({}));
    world.run(Duration::from_secs(10));
    assert_eq!(world.revision, 1, "nothing is written while all is well");
    world.dead.extend(["192.0.2.1:80".to_owned(), "192.0.2.3:80".to_owned()]);
    world.until("it is moved", |world| outcomes(world) == [PlanOutcome::Done]);
    assert_eq!((world.address("us-1").as_str(), world.server("us-1").unwrap().as_str()), ("192.0.2.4:80", "s-4"));
    let attempt = &world.body.managed.attempts[0];
    let found: Vec<(&str, &str)> =
        attempt.intent.candidates.iter().map(|of| (of.server.as_str(), of.found.as_str())).collect();
    assert_eq!(found.len(), 4, "{found:?}");
    assert!(found.contains(&("s-3", "refused")) && found.contains(&("s-4", "chosen: connected")), "{found:?}");
    assert_eq!(attempt.intent.trigger, "verdict_down");
    let kinds: Vec<&str> = world.events.iter().map(|event| event.happened.kind()).collect();
    assert_eq!(kinds, ["plan_begun", "plan_ended"]);
    world.run(Duration::from_secs(60));
    assert_eq!(outcomes(&world).len(), 1, "once");
}

#[test]
fn what_users_write_of_a_node_later_counts_again() {
    let mut world = exits(&json!({}));
    world.dead.insert("192.0.2.1:80".to_owned());
    world.until("it is moved", |world| outcomes(world) == [PlanOutcome::Done]);
    assert_eq!(world.address("us-1"), "192.0.2.3:80");
    let mut desired = world.body.desired.clone();
    desired["pool"][0]["node"][0]["address"] = json!("192.0.2.77:80");
    world.write(Change::Apply { desired }).unwrap();
    assert_eq!(world.address("us-1"), "192.0.2.77:80");
}

#[test]
fn the_fourth_move_in_an_hour_is_refused_with_the_reason_and_so_is_one_within_the_cool_down() {
    let mut world = exits(&json!({ "cooldown": "0s" }));
    let ask = |world: &mut World, ignores_limits| {
        world.operate(What::Move { node: node("us-1"), to: None, mode: None, ignores_limits })
    };
    for number in 1..=3 {
        assert!(matches!(ask(&mut world, false), Answered::Planned { .. }));
        world.until("it is moved", |world| outcomes(world).len() == number);
        world.run(Duration::from_secs(60));
    }
    let Answered::Refused(Refused::Against { constraint, reason, .. }) = ask(&mut world, false) else { panic!() };
    assert_eq!(constraint, "moves_per_hour");
    assert!(reason.contains("3 times in the last hour, and 3 are allowed; again in 34"), "{reason}");
    assert!(matches!(ask(&mut world, true), Answered::Planned { .. }), "an operator who knows better");
    world.run(Duration::from_secs(3_600));
    assert!(matches!(ask(&mut world, false), Answered::Planned { .. }), "an hour later it may");

    let mut world = exits(&json!({}));
    assert!(matches!(ask(&mut world, false), Answered::Planned { .. }));
    world.until("it is moved", |world| outcomes(world).len() == 1);
    let Answered::Refused(Refused::Against { constraint, .. }) = ask(&mut world, false) else { panic!() };
    assert_eq!(constraint, "cooldown");
}

#[test]
fn a_node_that_dies_again_is_told_once_why_it_is_not_moved_and_then_moved_when_it_may_be() {
    let mut world = exits(&json!({}));
    world.dead.insert("192.0.2.1:80".to_owned());
    world.until("it is moved", |world| outcomes(world).len() == 1);
    world.dead.insert("192.0.2.3:80".to_owned());
    world.run(Duration::from_secs(120));
    assert_eq!(world.refusals().iter().map(|(constraint, _)| constraint.as_str()).collect::<Vec<_>>(), ["cooldown"]);
    world.until("it is moved again", |world| outcomes(world).len() == 2);
    assert_eq!(world.address("us-1"), "192.0.2.4:80");
}

#[test]
fn a_blacklisted_server_is_never_chosen_until_that_is_over() {
    let mut world = exits(&json!({}));
    let s3 = || "s-3".parse().unwrap();
    let blacklist = |server, seconds: Option<u64>| Change::Blacklist {
        server,
        duration_ms: seconds.map(|seconds| seconds * 1_000),
        reason: "slow".to_owned(),
    };
    world.write(blacklist(s3(), Some(100))).unwrap();
    world.write(blacklist("s-4".parse().unwrap(), None)).unwrap();
    world.dead.insert("192.0.2.1:80".to_owned());
    world.run(Duration::from_secs(90));
    assert_eq!(world.address("us-1"), "192.0.2.1:80");
    let Happened::PlanRefused { constraint, candidates, .. } = &world.happened[0] else { panic!() };
    assert_eq!(constraint, "candidates");
    assert!(
        candidates.iter().any(|of| of.server.as_str() == "s-3" && of.found == "blacklisted: slow"),
        "{candidates:?}"
    );
    let Answered::Refused(Refused::Against { reason, .. }) =
        world.operate(What::Move { node: node("us-1"), to: Some(s3()), mode: None, ignores_limits: true })
    else {
        panic!()
    };
    assert!(reason.contains("s-3"), "not for an operator either: {reason}");
    world.until("it is moved", |world| outcomes(world).len() == 1);
    assert_eq!(world.server("us-1").unwrap().as_str(), "s-3");
}

#[test]
fn a_switch_that_fails_is_rolled_back_and_so_is_a_node_that_does_not_come_up() {
    let mut world = exits(&json!({ "driver": "vpn", "verify_timeout": "10s" }));
    world.hand.failing.insert(Action::Switch);
    world.dead.insert("192.0.2.1:80".to_owned());
    world.until("it is rolled back", |world| outcomes(world) == [PlanOutcome::RolledBack]);
    assert_eq!(world.address("us-1"), "192.0.2.1:80");
    let attempt = &world.body.managed.attempts[0];
    assert_eq!(attempt.intent.failure.as_deref(), Some("the driver failed"));
    assert_eq!(world.hand.begun[&(attempt.id, Action::Undo)], 1);

    // The driver does what it is told, and nobody answers there.
    let mut world = exits(&json!({ "driver": "vpn", "verify_timeout": "10s" }));
    world.dead.insert("192.0.2.1:80".to_owned());
    world.deaf.insert("192.0.2.3:80".to_owned());
    world.until("it is rolled back", |world| outcomes(world) == [PlanOutcome::RolledBack]);
    let attempt = &world.body.managed.attempts[0];
    assert!(
        attempt.intent.failure.as_ref().unwrap().contains("not up at 192.0.2.3:80 within 10 s: refused"),
        "{attempt:?}"
    );
    assert_eq!(world.address("us-1"), "192.0.2.1:80");
    assert_eq!(world.hand.begun[&(attempt.id, Action::Undo)], 1);
    // The next one goes where no plan failed.
    world.until("it is moved", |world| outcomes(world).len() == 2);
    assert_eq!(world.server("us-1").unwrap().as_str(), "s-4");
}

#[test]
fn graceful_waits_until_the_old_work_is_done_and_no_longer_than_it_may() {
    let ask = || What::Move { node: node("us-1"), to: None, mode: None, ignores_limits: false };
    let graceful = json!({ "mode": "graceful", "drain_timeout": "30s", "driver": "vpn" });
    let mut world = exits(&graceful);
    world.connections.insert("us-1".to_owned(), 2);
    assert!(matches!(world.operate(ask()), Answered::Planned { .. }));
    world.run(Duration::from_secs(20));
    let intent = world.body.managed.intents.values().next().unwrap();
    assert_eq!(intent.step, Step::Drain);
    let catalog = world.body.meaning().unwrap().catalog;
    assert_eq!(catalog.nodes().find(|(_, of)| of.id == node("us-1")).unwrap().1.admin.name(), "draining");
    assert!(world.hand.begun.is_empty());
    world.connections.clear();
    world.until("it is moved", |world| outcomes(world) == [PlanOutcome::Done]);
    let catalog = world.body.meaning().unwrap().catalog;
    assert_eq!(catalog.nodes().find(|(_, of)| of.id == node("us-1")).unwrap().1.admin.name(), "enabled");

    let mut world = exits(&graceful);
    world.connections.insert("us-1".to_owned(), 2);
    assert!(matches!(world.operate(ask()), Answered::Planned { .. }));
    world.run(Duration::from_secs(29));
    assert!(world.hand.begun.is_empty());
    world.run(Duration::from_secs(5));
    assert_eq!(outcomes(&world), [PlanOutcome::Done]);
}

#[test]
fn a_node_that_comes_back_while_it_drains_stays() {
    let mut world = exits(&json!({ "mode": "graceful", "driver": "vpn" }));
    world.dead.insert("192.0.2.1:80".to_owned());
    world.connections.insert("us-1".to_owned(), 1);
    world.until("it drains", |world| !world.body.managed.intents.is_empty());
    world.dead.clear();
    world.until("that is over", |world| outcomes(world) == [PlanOutcome::Cancelled]);
    assert!(world.hand.begun.is_empty());
}

#[test]
fn one_plan_at_a_time_is_carried_out_in_a_region() {
    let mut world = exits(&json!({ "driver": "vpn" }));
    world.hand.slow = 20;
    world.dead.extend(["192.0.2.1:80".to_owned(), "192.0.2.2:80".to_owned()]);
    let mut most = 0;
    for _ in 0..400 {
        world.look();
        most = most.max(world.body.managed.intents.len());
    }
    assert_eq!((most, outcomes(&world).len()), (1, 2));
    assert_eq!(world.refusals(), [], "that one waits for the other is nothing to tell");
    // An operator is told.
    world.hand.slow = 20;
    let ask = |id: &str| What::Move { node: node(id), to: None, mode: None, ignores_limits: true };
    assert!(matches!(world.operate(ask("us-1")), Answered::Planned { .. }));
    let Answered::Refused(Refused::Against { constraint, .. }) = world.operate(ask("us-2")) else { panic!() };
    assert_eq!(constraint, "one_plan_in_a_region");
}

#[test]
fn a_roll_back_that_fails_for_a_while_is_tried_until_it_is_done() {
    let mut world = exits(&json!({ "driver": "vpn" }));
    world.hand.failing.extend([Action::Switch, Action::Undo]);
    world.dead.insert("192.0.2.1:80".to_owned());
    world.until("it goes back", |world| world.body.managed.intents.values().any(|intent| intent.step == Step::Undo));
    world.run(Duration::from_secs(30));
    assert_eq!(outcomes(&world), []);
    world.hand.failing.clear();
    world.until("it is rolled back", |world| outcomes(world) == [PlanOutcome::RolledBack]);

    // One that never comes to an end is given up, and said to have failed.
    let mut world = exits(&json!({ "driver": "vpn" }));
    world.hand.failing.extend([Action::Switch, Action::Undo]);
    world.dead.insert("192.0.2.1:80".to_owned());
    world.until("it is given up", |world| outcomes(world) == [PlanOutcome::Failed]);
    let attempt = &world.body.managed.attempts[0];
    assert!(attempt.ended_ms - attempt.intent.at_ms() >= 600_000);
}

#[test]
fn a_server_at_which_a_plan_failed_or_a_probe_is_the_last_choice_although_nothing_stands_on_it() {
    let mut world = exits(&json!({ "driver": "vpn", "verify_timeout": "5s", "cooldown": "0s" }));
    let mut desired = world.body.desired.clone();
    desired["pool"][0]["node"]
        .as_array_mut()
        .unwrap()
        .push(json!({ "id": "us-4", "address": "192.0.2.4:80", "region": "us", "server": "s-4" }));
    world.write(Change::Apply { desired }).unwrap();
    world.dead.insert("192.0.2.1:80".to_owned());
    world.deaf.insert("192.0.2.3:80".to_owned());
    world.until("it is moved", |world| outcomes(world) == [PlanOutcome::RolledBack, PlanOutcome::Done]);
    assert_eq!(world.body.managed.attempts[1].intent.to.as_ref().unwrap().as_str(), "s-2");

    // Three that are dead and empty do not keep the fourth from being asked.
    let mut world = exits(&json!({}));
    let mut desired = world.body.desired.clone();
    for (server, ip) in [("s-5", "192.0.2.5"), ("s-6", "192.0.2.6")] {
        let server = json!({ "id": server, "region": "us", "address": format!("{ip}:80") });
        desired["server"].as_array_mut().unwrap().push(server);
        world.dead.insert(format!("{ip}:80"));
    }
    desired["pool"][0]["node"][1]["server"] = json!("s-4");
    world.write(Change::Apply { desired }).unwrap();
    world.dead.extend(["192.0.2.1:80".to_owned(), "192.0.2.2:80".to_owned(), "192.0.2.3:80".to_owned()]);
    world.until("it is moved", |world| world.server("us-1").is_some_and(|server| server.as_str() == "s-4"));
}

#[test]
fn a_server_that_is_deleted_or_blacklisted_while_a_plan_is_carried_out_is_undone_or_not_taken() {
    let mut world = exits(&json!({ "driver": "vpn", "verify_timeout": "5s" }));
    world.hand.slow = 8;
    world.dead.insert("192.0.2.1:80".to_owned());
    world.deaf.insert("192.0.2.3:80".to_owned());
    world.until("it is at work", |world| world.body.managed.intents.values().any(|intent| intent.step == Step::Act));
    let mut desired = world.body.desired.clone();
    desired["server"] = json!([]);
    for node in desired["pool"][0]["node"].as_array_mut().unwrap() {
        node.as_object_mut().unwrap().remove("server");
    }
    world.write(Change::Apply { desired }).unwrap();
    world.until("it is rolled back", |world| outcomes(world) == [PlanOutcome::RolledBack]);
    let undo = world.hand.told.iter().find(|effect| effect.action == Action::Undo).unwrap();
    let of = |server: &Option<crate::driver::ServerAt>| server.as_ref().map(|server| server.address.clone());
    assert_eq!((of(&undo.from), of(&undo.to)), (Some("192.0.2.1:80".to_owned()), Some("192.0.2.3:80".to_owned())));

    let mut world = exits(&json!({ "driver": "vpn", "mode": "graceful", "cooldown": "0s" }));
    world.connections.insert("us-1".to_owned(), 1);
    let ask = What::Move { node: node("us-1"), to: None, mode: None, ignores_limits: false };
    let Answered::Planned { to: Some(to), .. } = world.operate(ask) else { panic!() };
    world.write(Change::Blacklist { server: to, duration_ms: None, reason: String::new() }).unwrap();
    world.until("that is over", |world| outcomes(world) == [PlanOutcome::Cancelled]);
    assert!(world.hand.begun.is_empty());
    assert!(world.body.managed.nodes[&node("us-1")].moves_ms.is_empty(), "it was not moved");
}

#[test]
fn an_executor_that_forgot_what_it_began_is_told_that_it_may_have_begun() {
    let mut world = exits(&json!({ "driver": "vpn" }));
    world.hand.slow = u32::MAX;
    world.dead.insert("192.0.2.1:80".to_owned());
    world.until("it is at work", |world| world.body.managed.intents.values().any(|intent| intent.step == Step::Act));
    world.run(Duration::from_secs(2));
    (world.hand.slow, world.hand.has_no_fence) = (0, true);
    world.until("it is moved", |world| outcomes(world) == [PlanOutcome::Done]);
    let switches = world.hand.told.iter().filter(|effect| effect.action == Action::Switch);
    assert_eq!(switches.map(|effect| effect.again).collect::<Vec<_>>(), [true]);
    // One that has never begun anything is not told so.
    let mut world = exits(&json!({ "driver": "vpn" }));
    world.hand.has_no_fence = true;
    world.dead.insert("192.0.2.1:80".to_owned());
    world.until("it is moved", |world| outcomes(world) == [PlanOutcome::Done]);
    assert!(world.hand.told.iter().all(|effect| !effect.again));
}

#[test]
fn many_nodes_without_a_server_are_each_told_of_once() {
    let nodes: Vec<Value> = (0..30)
        .map(|at| json!({ "id": format!("us-{at}"), "address": format!("192.0.2.{at}:80"), "region": "us" }))
        .collect();
    let mut world = World::new(&json!({ "pool": [{ "name": "exits", "failover": {}, "node": nodes }] }));
    world.dead.extend((0..30).map(|at| format!("192.0.2.{at}:80")));
    world.run(Duration::from_secs(120));
    assert_eq!(world.refusals().len(), 30);
}

#[test]
fn what_is_told_of_servers_is_bounded_however_many_there_are() {
    let mut world = exits(&json!({ "cooldown": "0s", "moves_per_hour": 60 }));
    let mut desired = world.body.desired.clone();
    for at in 0..3_000_u32 {
        let address = format!("10.0.{}.{}:80", at / 250, at % 250);
        let server = json!({ "id": format!("many-{at}"), "region": "us", "address": address });
        desired["server"].as_array_mut().unwrap().push(server);
    }
    world.write(Change::Apply { desired }).unwrap();
    for number in 1..=3 {
        let ask = What::Move { node: node("us-1"), to: None, mode: None, ignores_limits: true };
        assert!(matches!(world.operate(ask), Answered::Planned { .. }));
        world.until("it is moved", |world| outcomes(world).len() == number);
    }
    assert!(world.body.managed.attempts.iter().all(|attempt| attempt.intent.candidates.len() <= 24));
}

#[test]
fn an_executor_that_is_silent_is_given_up_the_region_goes_on_and_it_is_taken_up_again() {
    let mut world = exits(&json!({ "driver": "vpn" }));
    world.dead.insert("192.0.2.1:80".to_owned());
    world.hand.slow = u32::MAX;
    world.until("it is at work", |world| world.body.managed.intents.values().any(|intent| intent.step == Step::Act));
    world.hand.is_silent = true;
    world.run(Duration::from_secs(590));
    let step = |world: &World| world.body.managed.intents.values().next().unwrap().step;
    assert_eq!(step(&world), Step::Act);
    world.run(Duration::from_secs(30));
    assert_eq!(step(&world), Step::Abandoned);
    let id = *world.body.managed.intents.keys().next().unwrap();
    let Answered::Refused(Refused::Against { constraint, .. }) =
        world.operate(What::Move { node: node("us-1"), to: None, mode: None, ignores_limits: true })
    else {
        panic!()
    };
    assert_eq!(constraint, "abandoned");
    // It answers again.
    (world.hand.is_silent, world.hand.slow) = (false, 0);
    world.until("it is moved", |world| outcomes(world) == [PlanOutcome::Done]);
    assert_eq!(world.hand.begun[&(id, Action::Switch)], 1);

    let mut world = exits(&json!({ "driver": "vpn" }));
    world.dead.insert("192.0.2.1:80".to_owned());
    world.hand.slow = u32::MAX;
    world.until("it is at work", |world| world.body.managed.intents.values().any(|intent| intent.step == Step::Act));
    world.hand.is_silent = true;
    world.until("it is given up", |world| {
        world.body.managed.intents.values().any(|intent| intent.step == Step::Abandoned)
    });
    let id = *world.body.managed.intents.keys().next().unwrap();
    assert_eq!(world.operate(What::Resolve { intent: id }), Answered::Resolved { intent: id });
    assert_eq!(outcomes(&world), [PlanOutcome::Resolved]);
}

#[test]
fn a_hot_node_is_moved_when_that_lasts() {
    let mut world = exits(&json!({ "driver": "vpn" }));
    world.cpu.insert("us-1".to_owned(), 95.0);
    world.run(Duration::from_secs(299));
    assert!(world.body.managed.intents.is_empty() && world.body.managed.attempts.is_empty());
    world.run(Duration::from_secs(5));
    assert_eq!(world.body.managed.attempts[0].intent.trigger, "cpu");
}

#[test]
fn a_plan_that_nobody_hears_of_is_given_up_in_ten_minutes_however_many_leaders_come_and_an_operator_settles_it_before()
{
    let silent = || {
        let mut world = exits(&json!({ "driver": "vpn" }));
        world.dead.insert("192.0.2.1:80".to_owned());
        world.hand.slow = u32::MAX;
        let is_at_work = |world: &World| world.body.managed.intents.values().any(|intent| intent.step == Step::Act);
        world.until("it is at work", is_at_work);
        world.run(Duration::from_secs(1));
        world.hand.is_silent = true;
        world
    };
    let mut world = silent();
    for _ in 0..21 {
        world.elect();
        world.run(Duration::from_secs(30));
    }
    assert!(world.body.managed.intents.values().all(|intent| intent.step == Step::Abandoned));

    let mut world = silent();
    world.run(Duration::from_secs(10));
    let id = *world.body.managed.intents.keys().next().unwrap();
    assert_eq!(world.operate(What::Resolve { intent: id }), Answered::Resolved { intent: id });
    assert_eq!(outcomes(&world), [PlanOutcome::Resolved]);

    let mut world = silent();
    world.hand.is_silent = false;
    let id = *world.body.managed.intents.keys().next().unwrap();
    let Answered::Refused(Refused::Against { constraint, .. }) = world.operate(What::Resolve { intent: id }) else {
        panic!()
    };
    assert_eq!(constraint, "under_way", "its peer answers");
}

#[test]
fn a_node_that_was_well_on_its_new_server_stays_there_when_nobody_hears_of_the_end() {
    let mut world = exits(&json!({ "driver": "vpn" }));
    world.dead.insert("192.0.2.1:80".to_owned());
    world.hand.failing.insert(Action::Finish);
    world.until("it is to be finished", |world| {
        world.body.managed.intents.values().any(|intent| intent.step == Step::Finish)
    });
    world.hand.is_silent = true;
    world.until("it is given up", |world| {
        world.body.managed.intents.values().any(|intent| intent.step == Step::Abandoned)
    });
    assert_eq!(world.address("us-1"), "192.0.2.3:80");
    let id = *world.body.managed.intents.keys().next().unwrap();
    assert_eq!(world.operate(What::Resolve { intent: id }), Answered::Resolved { intent: id });
    assert_eq!(world.address("us-1"), "192.0.2.3:80");
}

#[test]
fn where_a_node_was_moved_does_not_rise_again_when_users_write_what_they_had_written_before() {
    let mut world = exits(&json!({}));
    world.dead.insert("192.0.2.1:80".to_owned());
    world.until("it is moved", |world| outcomes(world) == [PlanOutcome::Done]);
    let before = world.body.desired.clone();
    let mut desired = before.clone();
    desired["pool"][0]["node"][0]["server"] = json!("s-4");
    world.write(Change::Apply { desired }).unwrap();
    world.dead.clear();
    world.write(Change::Apply { desired: before }).unwrap();
    assert_eq!(world.address("us-1"), "192.0.2.1:80");
}
