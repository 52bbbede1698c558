use std::time::Duration;

use serde_json::{Value, json};

use super::world::World;
use crate::driver::Action;
use crate::failover::operation::{Answered, Refused, What};
use crate::model::{PlanOutcome, Step};

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
    world.run(Duration::from_secs(70));
    assert_eq!(world.body.managed.attempts.len(), 2, "a minute later");
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
