use std::time::Duration;

use serde_json::{Value, json};

use super::world::World;
use crate::catalog::{Change, Drilling, Shifting};
use crate::model::{DrillOutcome, DrillTold, Happened, ShiftKind};

/// The world begins on 2023-11-14, a Tuesday, at 22:13:20.
fn world(drill: &Value) -> World {
    let node = |id: &str, region: &str, ip: &str| json!({ "id": id, "address": format!("{ip}:80"), "region": region });
    World::new(&json!({
        "pool": [{
            "name": "web",
            "node": [
                node("us-1", "us", "192.0.2.1"),
                node("us-2", "us", "192.0.2.2"),
                node("eu-1", "eu", "192.0.2.3"),
                node("ap-1", "ap", "192.0.2.4"),
            ],
        }],
        "region": [{ "name": "us", "drill": drill }],
    }))
}

fn nightly() -> Value {
    json!({ "at": "22:30", "percent": 10, "for": "5m", "to": "eu" })
}

/// What became of the drills.
fn told(world: &World) -> Vec<DrillTold> {
    let of = |event: &crate::model::Event| match &event.happened {
        Happened::DrillEnded(told) => Some(told.clone()),
        _ => None,
    };
    world.events.iter().filter_map(of).collect()
}

fn outcomes(world: &World) -> Vec<DrillOutcome> {
    told(world).iter().map(|told| told.outcome).collect()
}

/// Seconds pass in which both regions answer a hundred times each, with so many errors.
fn serve(world: &mut World, seconds: u64, errors: (u64, u64)) {
    for _ in 0..seconds {
        for (region, errors) in [("us", errors.0), ("eu", errors.1), ("ap", 0)] {
            let counts = world.traffic.entry(region.to_owned()).or_default();
            *counts = (counts.0 + 100, counts.1 + errors);
        }
        world.run(Duration::from_secs(1));
    }
}

/// Until a drill is under way.
fn begin(world: &mut World) {
    world.until("a drill is held", |world| !world.body.managed.shifts.is_empty());
    let (region, shift) = world.body.managed.shifts.first_key_value().unwrap();
    assert_eq!((region.as_str(), shift.kind, shift.stays_percent), ("us", ShiftKind::Drill, 90));
}

#[test]
fn a_drill_is_held_when_it_is_due_restores_itself_and_reports() {
    let mut world = world(&nightly());
    world.run(Duration::from_secs(1));
    world.pass(Duration::from_secs(990));
    world.run(Duration::from_secs(8));
    assert!(world.body.managed.shifts.is_empty(), "it is not 22:30 yet");
    begin(&mut world);
    assert_eq!(world.wall_ms / 1_000 % 86_400, 22 * 3_600 + 30 * 60);
    serve(&mut world, 299, (1, 1));
    assert_eq!(outcomes(&world), []);
    serve(&mut world, 2, (1, 1));
    assert!(world.body.managed.shifts.is_empty());
    let [told] = &told(&world)[..] else { panic!("{:?}", told(&world)) };
    assert_eq!(told.outcome, DrillOutcome::Passed, "{told:?}");
    assert!(told.counts.answers_elsewhere > 29_000 && told.counts.errors_elsewhere > 290, "{told:?}");
    // Once a night.
    for _ in 0..23 {
        world.pass(Duration::from_secs(3_600));
        world.run(Duration::from_secs(1));
    }
    assert_eq!(outcomes(&world).len(), 1);
    begin(&mut world);
}

#[test]
fn a_drill_without_traffic_says_that_it_says_nothing() {
    let mut world = world(&nightly());
    begin(&mut world);
    world.run(Duration::from_secs(302));
    assert_eq!(outcomes(&world), [DrillOutcome::Inconclusive]);
}

#[test]
fn a_drill_ends_at_once_where_the_others_answer_worse() {
    let mut world = world(&nightly());
    begin(&mut world);
    serve(&mut world, 60, (10, 10));
    assert_eq!(outcomes(&world), [], "they were no better at home");
    serve(&mut world, 60, (0, 40));
    assert_eq!(outcomes(&world), [DrillOutcome::Stopped]);
    assert!(world.body.managed.shifts.is_empty());
    let why = &told(&world)[0].why;
    assert!(why.contains("the others answered worse") && why.contains("elsewhere"), "{why}");
    world.run(Duration::from_secs(3_600));
    assert_eq!(outcomes(&world).len(), 1, "it is not tried again that night");
}

#[test]
fn a_drill_ends_when_anything_goes_wrong_and_what_is_lost_is_shifted() {
    for (dead, shifted) in [
        (&["192.0.2.3:80"][..], Some("eu")),
        (&["192.0.2.1:80", "192.0.2.2:80"], Some("us")),
        (&["192.0.2.4:80"], Some("ap")),
        (&["192.0.2.1:80"], None),
    ] {
        let mut world = world(&nightly());
        begin(&mut world);
        world.dead.extend(dead.iter().map(|address| (*address).to_owned()));
        world.run(Duration::from_secs(1));
        match shifted {
            Some(shifted) => {
                assert_eq!(outcomes(&world), [DrillOutcome::Stopped], "{dead:?}");
                world.run(Duration::from_secs(20));
                let shifts: Vec<_> =
                    world.body.managed.shifts.iter().map(|(name, shift)| (name.as_str(), shift.kind)).collect();
                assert_eq!(shifts, [(shifted, ShiftKind::Lost)], "{dead:?}");
            }
            None => assert_eq!(outcomes(&world), [], "half of its nodes are enough"),
        }
    }
}

#[test]
fn a_drill_that_something_is_against_begins_late_or_is_skipped_with_the_reason() {
    let mut late = world(&nightly());
    late.dead.insert("192.0.2.3:80".to_owned());
    late.run(Duration::from_secs(1_020));
    // It is lost, and shifted until it was well for 300 s and came back in four steps.
    late.dead.clear();
    late.run(Duration::from_secs(420));
    assert_eq!(outcomes(&late), []);
    begin_of_any(&mut late);

    let mut skipped = world(&nightly());
    skipped.dead.insert("192.0.2.3:80".to_owned());
    skipped.run(Duration::from_secs(1_000 + 905));
    let [told] = &told(&skipped)[..] else { panic!("{:?}", told(&skipped)) };
    assert_eq!(told.outcome, DrillOutcome::Skipped);
    assert!(told.why.contains("region \"eu\""), "{}", told.why);
    assert!(told.begun.is_none() && told.by.is_empty());
    skipped.dead.clear();
    skipped.run(Duration::from_secs(600));
    skipped.pass(Duration::from_secs(3_600));
    skipped.run(Duration::from_secs(60));
    assert_eq!(outcomes(&skipped).len(), 1, "the next one is tomorrow's");
}

/// Until a drill is under way, whatever was shifted before.
fn begin_of_any(world: &mut World) {
    world.until("a drill is held", |world| {
        world.body.managed.shifts.values().any(|shift| shift.kind == ShiftKind::Drill)
    });
}

#[test]
fn another_leader_ends_the_drill_of_the_one_before_and_holds_no_other() {
    let mut world = world(&nightly());
    begin(&mut world);
    serve(&mut world, 100, (0, 0));
    world.elect();
    serve(&mut world, 205, (0, 0));
    assert_eq!(outcomes(&world), [DrillOutcome::Passed]);
    world.elect();
    world.run(Duration::from_secs(600));
    assert_eq!(outcomes(&world).len(), 1);
}

#[test]
fn an_operator_holds_a_drill_at_any_time_and_ends_one() {
    let mut world = world(&json!({ "at": "03:00" }));
    let by_hand = |region: &str, percent: u8| {
        Change::Drill(Drilling::Begin {
            region: region.parse().unwrap(),
            to: None,
            percent,
            duration_ms: 60_000,
            scheduled_ms: None,
        })
    };
    world.write(by_hand("eu", 10)).unwrap();
    for (region, percent, wrong) in [("us", 10, "shifted"), ("us", 0, "shifted"), ("mars", 10, "no region")] {
        let refused = world.write(by_hand(region, percent)).unwrap_err();
        assert!(refused.contains(wrong), "{refused}");
    }
    serve(&mut world, 61, (0, 0));
    assert_eq!(outcomes(&world), [DrillOutcome::Passed]);
    for percent in [0, 51, 255] {
        let refused = world.write(by_hand("eu", percent)).unwrap_err();
        assert!(refused.contains("1 to 50"), "{refused}");
    }
    world.write(by_hand("us", 50)).unwrap();
    world.write(Change::Shift(Shifting::End { region: "us".parse().unwrap(), begun: None })).unwrap();
    let told = told(&world);
    assert_eq!(told[1].outcome, DrillOutcome::Stopped);
    assert!(told[1].why.contains("operator"), "{}", told[1].why);
}

#[test]
fn a_shift_of_an_operator_takes_the_place_of_a_drill() {
    let mut world = world(&nightly());
    begin(&mut world);
    let begin = Shifting::Begin {
        region: "us".parse().unwrap(),
        kind: ShiftKind::Operator,
        to: None,
        stays_percent: 0,
        duration_ms: Some(60_000),
        why: "maintenance".to_owned(),
    };
    world.write(Change::Shift(begin)).unwrap();
    world.run(Duration::from_secs(10));
    assert_eq!(outcomes(&world), [DrillOutcome::Stopped]);
    assert_eq!(world.body.managed.shifts.first_key_value().unwrap().1.kind, ShiftKind::Operator);
}

#[test]
fn a_drill_by_hand_that_lasts_beyond_the_time_of_the_next_is_told_of() {
    let mut world = world(&nightly());
    world.pass(Duration::from_secs(980));
    let by_hand = Drilling::Begin {
        region: "us".parse().unwrap(),
        to: None,
        percent: 10,
        duration_ms: 3_600_000,
        scheduled_ms: None,
    };
    world.write(Change::Drill(by_hand)).unwrap();
    serve(&mut world, 1_900, (0, 0));
    assert_eq!(outcomes(&world), []);
    world.write(Change::Shift(Shifting::End { region: "us".parse().unwrap(), begun: None })).unwrap();
    serve(&mut world, 10, (0, 0));
    assert_eq!(outcomes(&world), [DrillOutcome::Stopped]);
}
