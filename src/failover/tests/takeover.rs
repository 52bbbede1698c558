use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::json;

use super::world::{World, node};
use crate::driver::{Action, Answer, Effect, NodeAt};
use crate::failover::operation::What;
use crate::model::{IntentId, Mode, PlanOutcome, Term};

fn exits() -> World {
    let server = |id: &str, ip: &str| json!({ "id": id, "region": "us", "address": format!("{ip}:80") });
    World::new(&json!({
        "pool": [{
            "name": "exits",
            "failover": { "driver": "vpn", "mode": "graceful", "verify_timeout": "5s" },
            "node": [{ "id": "us-1", "address": "192.0.2.1:80", "region": "us", "server": "s-1" }],
        }],
        "server": [server("s-1", "192.0.2.1"), server("s-2", "192.0.2.2"), server("s-3", "192.0.2.3")],
    }))
}

/// Runs one move with whatever goes wrong, and the leader gone before or after the step of that number.
fn run(dies: Option<(u32, bool)>, wrong: impl Fn(&mut World)) -> World {
    let mut world = exits();
    wrong(&mut world);
    world.dies = dies;
    let operation = What::Move { node: node("us-1"), to: None, mode: Some(Mode::Graceful), ignores_limits: true };
    world.hand.slow = 2;
    // A leader that is gone before it planned anything is asked again, as an operator would ask.
    for _ in 0..3 {
        let operation = super::super::operation::Operation { what: operation.clone(), by: "operator".to_owned() };
        world.ask_operation(operation);
        world.run(Duration::from_secs(30));
        if !world.body.managed.attempts.is_empty() {
            break;
        }
    }
    world
}

/// Whatever a leader's death leaves, every effect was begun once at most, the plan is over, and the node is where the last effect left it.
fn judge(world: &World, dies: (u32, bool), expected: PlanOutcome) {
    let managed = &world.body.managed;
    assert!(managed.intents.is_empty(), "{dies:?}: {managed:#?}");
    assert!(!managed.attempts.is_empty(), "{dies:?}");
    for ((intent, action), begun) in &world.hand.begun {
        assert_eq!(*begun, 1, "{dies:?}: {action} of {intent}");
    }
    let did: BTreeSet<(IntentId, Action)> = world.hand.did.keys().copied().collect();
    for attempt in &managed.attempts {
        let has = |action| did.contains(&(attempt.id, action));
        match attempt.outcome {
            PlanOutcome::Done => {
                assert!(has(Action::Switch) && has(Action::Finish) && !has(Action::Undo), "{dies:?}: {did:?}");
            }
            PlanOutcome::RolledBack => assert!(has(Action::Undo) && !has(Action::Finish), "{dies:?}: {did:?}"),
            outcome => panic!("{dies:?}: {outcome:?}"),
        }
        assert_eq!(attempt.outcome, expected, "{dies:?}");
    }
    let is_moved = managed.attempts.last().is_some_and(|attempt| attempt.outcome == PlanOutcome::Done);
    assert_eq!(world.address("us-1") != "192.0.2.1:80", is_moved, "{dies:?}");
}

#[test]
fn wherever_a_leader_dies_in_a_plan_each_effect_happens_once_or_is_undone() {
    let mut steps = 0;
    for (wrong, expected) in [
        ((|_| ()) as fn(&mut World), PlanOutcome::Done),
        (|world| _ = world.hand.failing.insert(Action::Switch), PlanOutcome::RolledBack),
        (|world| world.hand.has_no_fence = true, PlanOutcome::Done),
    ] {
        let whole = run(None, wrong);
        judge(&whole, (0, false), expected);
        assert!(whole.performed > 10, "{}", whole.performed);
        for at in 1..=whole.performed {
            for after in [false, true] {
                let world = run(Some((at, after)), wrong);
                judge(&world, (at, after), expected);
                steps += world.deaths;
            }
        }
    }
    assert!(steps > 60, "{steps} leaders died");
}

#[test]
fn an_order_of_an_earlier_leader_that_comes_late_is_refused() {
    let mut world = run(None, |_| ());
    world.elect();
    let attempt = world.body.managed.attempts[0].clone();
    let effect = |term| Effect {
        action: Action::Undo,
        intent: attempt.id,
        term: Term::new(term).unwrap(),
        node: NodeAt { id: node("us-1"), pool: "exits".parse().unwrap(), region: "us".parse().unwrap(), address: None },
        from: None,
        to: None,
        again: false,
    };
    // The new leader has moved it again.
    world.operate(What::Move { node: node("us-1"), to: None, mode: None, ignores_limits: true });
    world.run(Duration::from_secs(10));
    assert_eq!(world.body.managed.attempts.len(), 2);
    assert!(matches!(world.ask(&effect(1)), Some(Answer::Stale { .. })));
    assert!(!world.hand.did.contains_key(&(attempt.id, Action::Undo)));
}
