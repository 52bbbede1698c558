use std::time::Duration;

use serde_json::json;

use super::world::World;
use crate::catalog::{Change, Shifting};
use crate::model::{Happened, RegionName, ShiftKind};

fn regions() -> World {
    let node = |id: &str, region: &str, ip: &str| json!({ "id": id, "address": format!("{ip}:80"), "region": region });
    World::new(&json!({
        "pool": [{
            "name": "web",
            "node": [node("us-1", "us", "192.0.2.1"), node("us-2", "us", "192.0.2.2"), node("eu-1", "eu", "192.0.2.3")],
        }],
    }))
}

fn lose(world: &mut World, is_lost: bool) {
    for address in ["192.0.2.1:80", "192.0.2.2:80"] {
        if is_lost {
            world.dead.insert(address.to_owned());
        } else {
            world.dead.remove(address);
        }
    }
}

/// What stays in the region, in percent, and since when by the second.
fn told(world: &World) -> Vec<(&'static str, u8, u64)> {
    let of = |event: &crate::model::Event| {
        let shift = match &event.happened {
            Happened::ShiftBegun(shift) => ("begun", shift.stays_percent),
            Happened::ShiftTurned(shift) => ("turned", shift.stays_percent),
            Happened::ShiftEnded(_) => ("ended", 100),
            _ => return None,
        };
        Some((shift.0, shift.1, (event.at_ms - 1_700_000_000_000) / 1_000))
    };
    world.events.iter().filter_map(of).collect()
}

#[test]
fn a_region_that_flaps_every_20_s_for_10_minutes_is_shifted_at_most_once() {
    let mut world = regions();
    for round in 0..30 {
        lose(&mut world, round % 2 == 0);
        world.run(Duration::from_secs(20));
    }
    let told = told(&world);
    assert_eq!(told, [("begun", 0, 15)], "{told:?}");
}

#[test]
fn a_region_that_is_lost_for_less_than_15_s_or_alone_is_not_shifted() {
    let mut world = regions();
    lose(&mut world, true);
    world.run(Duration::from_secs(14));
    lose(&mut world, false);
    world.run(Duration::from_secs(60));
    assert_eq!(told(&world), []);
    lose(&mut world, true);
    world.dead.insert("192.0.2.3:80".to_owned());
    world.run(Duration::from_secs(60));
    assert_eq!(told(&world), [], "there is nowhere to go");
}

#[test]
fn a_region_that_recovers_comes_back_in_steps_once_it_has_been_well_for_300_s() {
    let mut world = regions();
    lose(&mut world, true);
    world.run(Duration::from_secs(30));
    lose(&mut world, false);
    world.run(Duration::from_secs(700));
    assert_eq!(
        told(&world),
        [
            ("begun", 0, 15),
            ("turned", 10, 330),
            ("turned", 25, 390),
            ("turned", 50, 450),
            ("turned", 100, 510),
            ("ended", 100, 570)
        ]
    );
    assert!(world.body.managed.shifts.is_empty());
}

#[test]
fn errors_while_it_comes_back_take_it_back_and_it_has_to_be_well_again() {
    let mut world = regions();
    lose(&mut world, true);
    world.run(Duration::from_secs(30));
    lose(&mut world, false);
    world.run(Duration::from_secs(370));
    // A quarter of its traffic is there, and every fifth answer is an error; elsewhere none is.
    for second in 0..10_u64 {
        world.traffic.insert("us".to_owned(), (second * 20, second * 4));
        world.traffic.insert("eu".to_owned(), (second * 200, 0));
        world.run(Duration::from_secs(1));
    }
    let told = told(&world);
    assert_eq!(told.last().map(|(what, stays, _)| (*what, *stays)), Some(("turned", 0)), "{told:?}");
    let shift = &world.body.managed.shifts[&"us".parse::<RegionName>().unwrap()];
    assert_eq!(shift.taken_back, 1);
    assert!(shift.why.contains("20.0 %"), "{}", shift.why);
    // As many errors as everywhere are no reason.
    world.run(Duration::from_secs(300));
    for second in 0..100_u64 {
        world.traffic.insert("us".to_owned(), (180 + second * 20, 36 + second * 4));
        world.traffic.insert("eu".to_owned(), (1_800 + second * 200, second * 40));
        world.run(Duration::from_secs(1));
    }
    assert_eq!(world.body.managed.shifts[&"us".parse::<RegionName>().unwrap()].taken_back, 1);
    world.until("it is back", |world| world.body.managed.shifts.is_empty());
}

#[test]
fn one_that_is_lost_again_while_it_comes_back_begins_anew_and_another_leader_goes_on_with_it() {
    let mut world = regions();
    lose(&mut world, true);
    world.run(Duration::from_secs(30));
    lose(&mut world, false);
    world.run(Duration::from_secs(310));
    lose(&mut world, true);
    world.run(Duration::from_secs(1));
    assert_eq!(told(&world).last().unwrap().1, 0);
    lose(&mut world, false);
    world.elect();
    world.until("it is back", |world| world.body.managed.shifts.is_empty());
    assert_eq!(told(&world).iter().filter(|(what, ..)| *what == "begun").count(), 1);
}

#[test]
fn an_operators_shift_lasts_as_long_as_they_said_and_comes_back_in_steps() {
    let mut world = regions();
    let begin = Shifting::Begin {
        region: "us".parse().unwrap(),
        kind: ShiftKind::Operator,
        to: Some("eu".parse().unwrap()),
        stays_percent: 0,
        duration_ms: Some(3_600_000),
        why: "maintenance".to_owned(),
    };
    world.write(Change::Shift(begin)).unwrap();
    world.run(Duration::from_secs(3_590));
    assert_eq!(told(&world).len(), 1);
    world.run(Duration::from_secs(300));
    let told = told(&world);
    assert_eq!(told.iter().map(|(_, stays, _)| *stays).collect::<Vec<_>>(), [0, 10, 25, 50, 100, 100]);
    assert!(world.body.managed.shifts.is_empty());
}

fn by_hand(region: &str) -> Change {
    Change::Shift(Shifting::Begin {
        region: region.parse().unwrap(),
        kind: ShiftKind::Operator,
        to: None,
        stays_percent: 0,
        duration_ms: Some(3_600_000),
        why: String::new(),
    })
}

#[test]
fn a_shift_lasts_while_all_nodes_of_its_region_are_drained() {
    let mut world = regions();
    world.write(by_hand("us")).unwrap();
    for node in ["us-1", "us-2"] {
        world.write(Change::Drain { node: node.parse().unwrap(), timeout_ms: None }).unwrap();
    }
    world.run(Duration::from_secs(60));
    assert_eq!(told(&world), [("begun", 0, 0)]);
    // Of one that was lost too.
    let mut world = regions();
    lose(&mut world, true);
    world.run(Duration::from_secs(20));
    for node in ["us-1", "us-2"] {
        world.write(Change::Drain { node: node.parse().unwrap(), timeout_ms: None }).unwrap();
    }
    world.run(Duration::from_secs(60));
    assert_eq!(told(&world), [("begun", 0, 15)]);
}

#[test]
fn a_region_that_only_peers_name_is_shifted_too_and_one_that_cannot_be_keeps_no_other_from_it() {
    let mut world = World::new(&json!({
        "pool": [{
            "name": "web",
            "node": [
                { "id": "here", "address": "192.0.2.1:80" },
                { "id": "xx-1", "address": "192.0.2.2:80", "region": "xx" },
                { "id": "eu-1", "address": "192.0.2.3:80", "region": "eu" },
            ],
        }],
    }));
    world.own_region = "us".parse().unwrap();
    world.dead.extend(["192.0.2.1:80".to_owned(), "192.0.2.2:80".to_owned()]);
    world.run(Duration::from_secs(30));
    let shifted: Vec<&str> = world.body.managed.shifts.keys().map(RegionName::as_str).collect();
    assert_eq!(shifted, ["us", "xx"]);
}

#[test]
fn an_operators_shift_is_not_taken_for_one_of_a_lost_region() {
    let mut world = regions();
    world.write(by_hand("us")).unwrap();
    let lost = Shifting::Begin {
        region: "us".parse().unwrap(),
        kind: ShiftKind::Lost,
        to: None,
        stays_percent: 0,
        duration_ms: None,
        why: String::new(),
    };
    assert!(world.write(Change::Shift(lost)).unwrap_err().contains("shifted already"));
    assert_eq!(world.body.managed.shifts[&"us".parse::<RegionName>().unwrap()].kind, ShiftKind::Operator);
}

#[test]
fn errors_of_before_another_leader_was_elected_take_nothing_back() {
    let mut world = regions();
    world.traffic.insert("us".to_owned(), (1_300, 1_250));
    world.traffic.insert("eu".to_owned(), (50_000, 10));
    lose(&mut world, true);
    world.run(Duration::from_secs(30));
    lose(&mut world, false);
    world.run(Duration::from_secs(310));
    assert_eq!(told(&world).last().unwrap().1, 10);
    world.elect();
    for second in 1..=600_u64 {
        world.traffic.insert("us".to_owned(), (1_300 + second * 20, 1_250));
        world.run(Duration::from_secs(1));
    }
    assert!(world.body.managed.shifts.is_empty(), "{:?}", told(&world));
    assert!(told(&world).iter().skip(1).all(|(_, stays, _)| *stays > 0), "{:?}", told(&world));
}

#[test]
fn a_shift_of_a_part_comes_back_from_what_stays_and_a_region_that_is_lost_meanwhile_keeps_nothing() {
    let mut world = regions();
    let part = |percent: u8| {
        Change::Shift(Shifting::Begin {
            region: "us".parse().unwrap(),
            kind: ShiftKind::Operator,
            to: None,
            stays_percent: 100 - percent,
            duration_ms: Some(400_000),
            why: String::new(),
        })
    };
    world.write(part(30)).unwrap();
    world.run(Duration::from_secs(600));
    assert_eq!(told(&world).iter().map(|(_, stays, _)| *stays).collect::<Vec<_>>(), [70, 100, 100]);

    let mut world = regions();
    world.write(part(30)).unwrap();
    lose(&mut world, true);
    world.run(Duration::from_secs(20));
    assert_eq!(told(&world).iter().map(|(_, stays, _)| *stays).collect::<Vec<_>>(), [70, 0]);
    lose(&mut world, false);
    world.run(Duration::from_secs(1_000));
    assert_eq!(told(&world).iter().map(|(_, stays, _)| *stays).collect::<Vec<_>>(), [70, 0, 10, 25, 50, 100, 100]);

    // What an operator says of a region that is lost lets nothing stay there.
    let mut world = regions();
    lose(&mut world, true);
    world.run(Duration::from_secs(20));
    world.write(part(30)).unwrap();
    assert_eq!(world.body.managed.shifts.first_key_value().unwrap().1.stays_percent, 0);
    let kinds: Vec<&str> = told(&world).iter().map(|(kind, ..)| *kind).collect();
    assert_eq!(kinds, ["begun", "begun"], "that it has its traffic is not said");
}
