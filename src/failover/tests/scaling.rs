use std::time::Duration;

use serde_json::{Value, json};

use super::world::World;
use crate::catalog::{Change, Shifting};
use crate::driver::Action;
use crate::failover::operation::{Answered, Refused, What};
use crate::model::{PlanOutcome, ShiftKind, Step};

fn exits(scaling: &Value) -> World {
    World::new(&json!({
        "pool": [{
            "name": "exits",
            "failover": { "driver": "vpn" },
            "scaling": scaling,
            "node": [{ "id": "us-1", "address": "192.0.2.1:80", "region": "us", "server": "s-1" }],
        }],
        "server": [
            { "id": "s-1", "region": "us", "address": "192.0.2.1:80" },
            { "id": "s-2", "region": "us", "address": "192.0.2.2:80" },
        ],
    }))
}

/// The same at every node.
fn load(world: &mut World, connections: u32) {
    for id in world.node_ids() {
        world.connections.insert(id, connections);
    }
}

#[test]
fn more_than_50_connections_a_node_start_one_up_to_the_most_and_less_than_10_for_300_s_stop_it_drained() {
    let mut world = exits(&json!({ "driver": "vpn" }));
    load(&mut world, 50);
    world.run(Duration::from_secs(10));
    assert_eq!(world.node_ids().len(), 1);
    for _ in 0..600 {
        load(&mut world, 51);
        world.look();
    }
    world.run(Duration::from_secs(120));
    load(&mut world, 51);
    world.run(Duration::from_secs(120));
    let ids = world.node_ids();
    assert_eq!(ids.len(), 3, "{ids:?}");
    let last = ids[2].clone();
    load(&mut world, 9);
    world.run(Duration::from_secs(299));
    assert_eq!(world.node_ids().len(), 3);
    world.until("it drains", |world| world.body.managed.intents.values().any(|intent| intent.step == Step::Drain));
    let intent = world.body.managed.intents.values().next().unwrap();
    assert_eq!(intent.node.as_str(), last, "the last one goes first");
    world.run(Duration::from_secs(30));
    assert!(!world.hand.begun.keys().any(|(_, action)| *action == Action::Stop), "it still has work");
    load(&mut world, 0);
    world.until("it is stopped", |world| world.node_ids().len() == 2);
    world.until("all are", |world| world.node_ids().len() == 1);
    world.run(Duration::from_secs(1_000));
    assert_eq!(world.node_ids(), ["us-1"], "what users wrote stays");
    for (action, count) in [(Action::Start, 2), (Action::Stop, 2)] {
        assert_eq!(world.hand.begun.keys().filter(|(_, of)| *of == action).count(), count, "{action}");
    }
}

#[test]
fn a_node_that_does_not_come_up_is_stopped_again_and_the_next_try_waits() {
    let mut world = exits(&json!({ "driver": "vpn", "verify_timeout": "10s" }));
    world.hand.failing.insert(Action::Start);
    for _ in 0..40 {
        load(&mut world, 60);
        world.look();
    }
    let outcomes: Vec<PlanOutcome> = world.body.managed.attempts.iter().map(|attempt| attempt.outcome).collect();
    assert_eq!(outcomes, [PlanOutcome::RolledBack]);
    assert_eq!(world.node_ids().len(), 1);
    world.run(Duration::from_secs(105));
    assert_eq!(world.body.managed.attempts.len(), 1, "a failure doubles the cool-down of a minute");
    world.run(Duration::from_secs(10));
    assert_eq!(world.body.managed.attempts.len(), 2);
    world.run(Duration::from_secs(230));
    assert_eq!(world.body.managed.attempts.len(), 2, "and the next one does again");
    world.run(Duration::from_secs(20));
    assert_eq!(world.body.managed.attempts.len(), 3);
}

#[test]
fn nothing_is_stopped_while_another_node_of_the_region_is_down_and_a_move_comes_first() {
    let mut world = exits(&json!({ "driver": "vpn" }));
    for _ in 0..40 {
        load(&mut world, 60);
        world.look();
    }
    assert_eq!(world.node_ids().len(), 2);
    load(&mut world, 0);
    world.dead.extend(["192.0.2.1:80".to_owned(), "192.0.2.2:80".to_owned()]);
    world.run(Duration::from_secs(900));
    assert!(!world.hand.begun.keys().any(|(_, action)| *action == Action::Stop));
    world.dead.remove("192.0.2.2:80");
    world.until("it is moved and then one stopped", |world| world.node_ids().len() == 1);
    let plans: Vec<&str> = world.body.managed.attempts.iter().map(|attempt| attempt.intent.plan.name()).collect();
    assert_eq!(plans, ["start", "move", "stop"]);
}

#[test]
fn a_target_is_tracked_and_what_is_near_it_is_left_alone() {
    let mut world = exits(&json!({ "driver": "vpn", "max_nodes": 10, "target": { "of": "cpu", "value": 50.0 } }));
    world.cpu.insert("us-1".to_owned(), 54.0);
    world.run(Duration::from_secs(60));
    assert_eq!(world.node_ids().len(), 1);
    world.cpu.insert("us-1".to_owned(), 90.0);
    world.until("one is started", |world| world.node_ids().len() == 2);
    for id in world.node_ids() {
        world.cpu.insert(id, 46.0);
    }
    world.run(Duration::from_secs(900));
    assert_eq!(world.node_ids().len(), 2);
}

#[test]
fn an_operator_scales_between_the_least_and_the_most() {
    let mut world = exits(&json!({ "driver": "vpn", "max_nodes": 2, "enabled": false }));
    let scale = |world: &mut World, up| {
        world.operate(What::Scale { pool: "exits".parse().unwrap(), region: "us".parse().unwrap(), up })
    };
    let constraint = |answered| match answered {
        Answered::Refused(Refused::Against { constraint, .. }) => constraint,
        other => panic!("{other:?}"),
    };
    assert_eq!(constraint(scale(&mut world, false)), "started");
    assert!(matches!(scale(&mut world, true), Answered::Planned { .. }));
    world.until("it is there", |world| world.node_ids().len() == 2 && world.body.managed.intents.is_empty());
    assert_eq!(constraint(scale(&mut world, true)), "max_nodes");
    assert!(matches!(scale(&mut world, false), Answered::Planned { .. }));
    world.until("it is gone", |world| world.node_ids().len() == 1);
}

/// One node of the catalog, and one that was started.
fn scaled(scaling: &Value) -> World {
    let mut world = exits(scaling);
    for _ in 0..40 {
        load(&mut world, 60);
        world.look();
    }
    assert_eq!(world.node_ids().len(), 2);
    assert!(world.body.managed.intents.is_empty());
    world
}

fn stops(world: &World) -> usize {
    world.hand.begun.keys().filter(|(_, action)| *action == Action::Stop).count()
}

#[test]
fn nothing_is_stopped_while_traffic_is_held_away_from_the_region() {
    let mut world = scaled(&json!({ "driver": "vpn" }));
    let begin = Shifting::Begin {
        region: "us".parse().unwrap(),
        kind: ShiftKind::Operator,
        to: None,
        stays_percent: 0,
        duration_ms: Some(7_200_000),
        why: String::new(),
    };
    world.write(Change::Shift(begin)).unwrap();
    load(&mut world, 0);
    world.run(Duration::from_secs(1_800));
    assert_eq!(stops(&world), 0);
    world.write(Change::Shift(Shifting::End { region: "us".parse().unwrap(), begun: None })).unwrap();
    world.run(Duration::from_secs(290));
    assert_eq!(stops(&world), 0, "for 300 s there has to be little to do");
    world.until("one is stopped", |world| world.node_ids().len() == 1);
}

#[test]
fn a_node_is_stopped_by_the_peer_that_has_it_and_by_no_other() {
    let mut world = scaled(&json!({ "driver": "vpn" }));
    (world.hand.is_silent, world.hand.has_sibling) = (true, true);
    load(&mut world, 0);
    world.run(Duration::from_secs(1_000));
    assert!(world.body.managed.intents.is_empty() && world.node_ids().len() == 2);
    assert_eq!(world.refusals().last().unwrap().0, "owner");
    let id = world.node_ids()[1].parse().unwrap();
    let ask = What::Move { node: id, to: None, mode: None, ignores_limits: true };
    let Answered::Refused(Refused::Against { constraint, .. }) = world.operate(ask) else { panic!() };
    assert_eq!(constraint, "owner", "it would be there twice");
    world.hand.is_silent = false;
    world.until("it is stopped", |world| world.node_ids().len() == 1);
    assert_eq!(world.body.managed.attempts.last().unwrap().intent.executor.as_ref().unwrap().as_str(), "ams-1");
}

#[test]
fn nodes_of_a_pool_that_is_gone_or_not_scaled_any_more_are_stopped() {
    for is_gone in [true, false] {
        let mut world = scaled(&json!({ "driver": "vpn" }));
        let mut desired = world.body.desired.clone();
        if is_gone {
            desired["pool"] = json!([]);
        } else {
            desired["pool"][0].as_object_mut().unwrap().remove("scaling");
            load(&mut world, 0);
        }
        world.write(Change::Apply { desired }).unwrap();
        assert_eq!(world.body.managed.started.len(), 1);
        world.until("it is stopped", |world| world.body.managed.started.is_empty());
        let attempt = world.body.managed.attempts.last().unwrap();
        assert_eq!((attempt.intent.trigger.as_str(), attempt.outcome), ("orphaned", PlanOutcome::Done));
        assert_eq!(stops(&world), 1);
        assert_eq!(world.node_ids().len(), usize::from(!is_gone));
    }
}

#[test]
fn one_whose_start_was_abandoned_counts_and_a_broken_one_goes_first() {
    let mut world = exits(&json!({ "driver": "vpn", "max_nodes": 2 }));
    world.hand.slow = u32::MAX;
    for _ in 0..40 {
        load(&mut world, 60);
        world.look();
    }
    (world.hand.is_silent, world.hand.has_sibling) = (true, true);
    for _ in 0..4_000 {
        load(&mut world, 60);
        world.look();
    }
    let intents: Vec<Step> = world.body.managed.intents.values().map(|intent| intent.step).collect();
    assert_eq!(intents, [Step::Abandoned], "none in its place: it may be there");

    let mut world = exits(&json!({ "driver": "vpn" }));
    for _ in 0..2_000 {
        load(&mut world, 60);
        world.look();
    }
    assert_eq!(world.node_ids().len(), 3);
    let broken = world.node_ids()[1].clone();
    load(&mut world, 0);
    let mut desired = world.body.desired.clone();
    desired["pool"][0].as_object_mut().unwrap().remove("failover");
    world.write(Change::Apply { desired }).unwrap();
    let address = world.address(&broken);
    world.dead.insert(address);
    world.until("it is stopped", |world| !world.node_ids().contains(&broken));
}

#[test]
fn a_clock_that_was_a_month_ahead_keeps_nothing_from_being_started() {
    let mut world = exits(&json!({ "driver": "vpn" }));
    world.wall_ms += 30 * 24 * 3_600_000;
    for _ in 0..40 {
        load(&mut world, 60);
        world.look();
    }
    assert_eq!(world.node_ids().len(), 2);
    world.wall_ms -= 30 * 24 * 3_600_000;
    for _ in 0..40 {
        load(&mut world, 60);
        world.look();
    }
    assert_eq!(world.node_ids().len(), 3);
}

#[test]
fn a_node_is_started_on_a_server_that_answers_and_on_none_that_may_not_be_taken() {
    let mut world = exits(&json!({ "driver": "vpn" }));
    let mut desired = world.body.desired.clone();
    let more = json!({ "id": "s-3", "region": "us", "address": "192.0.2.3:80" });
    desired["server"].as_array_mut().unwrap().push(more);
    world.write(Change::Apply { desired }).unwrap();
    world.dead.insert("192.0.2.2:80".to_owned());
    for _ in 0..40 {
        load(&mut world, 60);
        world.look();
    }
    let started = world.body.managed.started.values().next().unwrap();
    assert_eq!(started.server.as_ref().unwrap().as_str(), "s-3");
    let candidates = &world.body.managed.attempts[0].intent.candidates;
    assert!(candidates.iter().any(|of| of.server.as_str() == "s-2" && of.found == "refused"), "{candidates:?}");

    let mut world = exits(&json!({ "driver": "vpn" }));
    for server in ["s-1", "s-2"] {
        let server = server.parse().unwrap();
        world.write(Change::Blacklist { server, duration_ms: None, reason: String::new() }).unwrap();
    }
    for _ in 0..40 {
        load(&mut world, 60);
        world.look();
    }
    assert_eq!(world.node_ids().len(), 1);
    assert_eq!(world.refusals().iter().map(|(constraint, _)| constraint.as_str()).collect::<Vec<_>>(), ["candidates"]);
}
