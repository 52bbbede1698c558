//! Three regions, of which one dies, through the whole of a view.

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use super::*;
use crate::host;
use crate::model::{
    Capacity, Catalog, CatalogParts, Check, CheckKind, HashKey, Health, Member, Members, Node, NodeKey, Observation,
    Pool, PoolName, Region, Sticky, TcpCheck,
};
use crate::view::{Ask, Changes, Event, Stick, View, first};

const STEP: Duration = Duration::from_millis(250);

fn name(text: &str) -> RegionName {
    text.parse().unwrap()
}

fn catalog(capacities: &[(&str, Option<u32>)], of_pool: impl FnOnce(&mut Pool)) -> Catalog {
    let mut pool = Pool::new("web".parse().unwrap());
    pool.check = Check::of(CheckKind::Tcp(TcpCheck::default()));
    let mut regions = Vec::new();
    for (text, capacity) in capacities {
        let mut node = Node::new(format!("{text}-1").parse().unwrap(), "192.0.2.1:80".parse().unwrap());
        node.region = Some(name(text));
        pool.nodes.push(node);
        let mut region = Region::new(name(text));
        region.capacity = capacity.map(|capacity| Capacity(capacity.try_into().unwrap()));
        regions.push(region);
    }
    of_pool(&mut pool);
    Catalog::of(CatalogParts { pools: vec![pool], regions, ..CatalogParts::default() }).unwrap()
}

fn after(view: &View, events: impl IntoIterator<Item = Event>, now: Instant) -> View {
    let mut changes = Changes::default();
    events.into_iter().for_each(|event| changes.add(view, event));
    view.after(changes, now)
}

fn node_key(region: &str) -> NodeKey {
    NodeKey::of(&format!("{region}-1").parse().unwrap(), &"192.0.2.1:80".parse().unwrap())
}

fn observed(region: &str, vote: Health) -> Event {
    let observation = Observation { vote: Some(vote), reached_before: true, ..Observation::default() };
    Event::Observed { node: node_key(region), observation }
}

fn begin(capacities: &[(&str, Option<u32>)], now: Instant) -> View {
    begin_with(capacities, now, |_| {})
}

fn begin_with(capacities: &[(&str, Option<u32>)], now: Instant, of_pool: impl FnOnce(&mut Pool)) -> View {
    let own = Member { id: "own".parse().unwrap(), region: name(capacities[0].0) };
    let view = first(&catalog(capacities, of_pool), Arc::new(Members::alone(own)), now);
    let up = capacities.iter().map(|(region, _)| observed(region, Health::Up));
    after(&view, up, now)
}

/// Offers requests of clients in these regions, so many a second for so long; who served them, and how many nobody did.
fn offer(view: &View, from: Instant, seconds: u32, rates: &[(&str, u32)]) -> (Vec<(String, u32)>, u32) {
    offer_of(view, from, seconds, rates, |_| Stick::Free)
}

/// The same with sessions, by the number of the request.
fn offer_of(
    view: &View,
    from: Instant,
    seconds: u32,
    rates: &[(&str, u32)],
    stick: impl Fn(u32) -> Stick,
) -> (Vec<(String, u32)>, u32) {
    let pool: PoolName = "web".parse().unwrap();
    let mut dice = Dice::from_seed(1);
    let mut served: std::collections::BTreeMap<String, u32> = std::collections::BTreeMap::new();
    let (mut number, mut refused) = (0, 0);
    for step in 0..seconds * 4 {
        let now = from + STEP * step;
        for (region, rate) in rates {
            let region = name(region);
            for at in 0..rate / 4 {
                let now = now + STEP * at / (rate / 4);
                number += 1;
                let ask = Ask { stick: stick(number), ..Ask::of(IpAddr::V4(Ipv4Addr::LOCALHOST), now) };
                let wanted = Wanted { client_region: Some(&region), ..Wanted::one_of(&pool, ask) };
                match view.take(&wanted, &Tried::default(), &mut dice) {
                    Ok(taken) => *served.entry(taken.node().node.id.as_str().to_owned()).or_default() += 1,
                    Err(Unavailable::OverCapacity) => refused += 1,
                    Err(other) => panic!("{other:?}"),
                }
            }
        }
        view.measure_demand(STEP);
        view.share_regions(now + STEP);
    }
    (served.into_iter().collect(), refused)
}

/// What a node served a second.
fn rate(served: &[(String, u32)], node: &str, seconds: u32) -> f64 {
    f64::from(served.iter().find(|(id, _)| id == node).map_or(0, |(_, count)| *count)) / f64::from(seconds)
}

#[test]
fn a_region_that_dies_at_full_load_leaves_none_of_the_others_above_nine_tenths_and_the_rest_is_refused() {
    let now = host::now();
    let view = begin(&[("a", Some(1_000)), ("b", Some(600)), ("c", Some(600))], now);
    let rates = [("a", 1_000), ("b", 200), ("c", 240)];
    offer(&view, now, 8, &rates);
    let later = now + Duration::from_secs(8);
    let (before, refused) = offer(&view, later, 4, &rates);
    assert_eq!((before, refused), (vec![("a-1".into(), 4_000), ("b-1".into(), 800), ("c-1".into(), 960)], 0));

    let dead = after(&view, [observed("a", Health::Down)], later + STEP);
    dead.share_regions(later + STEP);
    let (after, refused) = offer(&dead, later + Duration::from_secs(4), 10, &rates);
    let of = |node: &str| f64::from(after.iter().find(|(id, _)| id == node).map_or(0, |(_, count)| *count)) / 10.0;
    assert_eq!(of("a-1"), 0.0);
    assert!((530.0..=545.0).contains(&of("b-1")) && (530.0..=545.0).contains(&of("c-1")), "{after:?}");
    let refused = f64::from(refused) / 10.0;
    assert!((355.0..=375.0).contains(&refused), "{refused}");
}

#[test]
fn what_a_region_cannot_take_goes_on_to_one_of_which_nothing_is_said() {
    let now = host::now();
    let view = begin(&[("a", Some(100)), ("b", None)], now);
    offer(&view, now, 8, &[("a", 400)]);
    let (served, refused) = offer(&view, now + Duration::from_secs(8), 10, &[("a", 400)]);
    assert_eq!(refused, 0);
    assert!((980..=1_030).contains(&served[0].1) && served[0].1 + served[1].1 == 4_000, "{served:?}");
}

#[test]
fn without_a_capacity_nothing_is_counted_and_nothing_refused() {
    let now = host::now();
    let view = begin(&[("a", None), ("b", None)], now);
    let (served, refused) = offer(&view, now, 1, &[("a", 1_000)]);
    assert_eq!((served, refused), (vec![("a-1".to_owned(), 1_000)], 0));
    assert!(view.demand().is_none() && !view.limits_regions());
}

#[test]
fn a_pool_in_one_region_gets_what_that_region_can_take() {
    let now = host::now();
    let view = begin(&[("a", Some(100))], now);
    offer(&view, now, 8, &[("a", 400)]);
    let (served, refused) = offer(&view, now + Duration::from_secs(8), 10, &[("a", 400)]);
    assert!((980..=1_030).contains(&served[0].1) && served[0].1 + refused == 4_000, "{served:?} {refused}");
    // Where nobody is usable the pool's rule for that holds, and what a region can take says nothing.
    let dead = after(&view, [observed("a", Health::Down)], now);
    dead.share_regions(now);
    assert_eq!(offer(&dead, now + Duration::from_secs(20), 1, &[("a", 400)]).1, 0);
}

#[test]
fn who_is_sent_again_or_waited_is_asked_about_as_of_now_and_not_as_of_when_it_came() {
    let now = host::now();
    let view = begin(&[("a", Some(100)), ("b", Some(100))], now);
    let dead = after(&view, [observed("a", Health::Down)], now);
    offer(&dead, now, 6, &[("a", 20)]);
    let later = now + Duration::from_secs(12);
    dead.share_regions(later);
    let (pool, region) = ("web".parse().unwrap(), name("a"));
    let mut dice = Dice::from_seed(1);
    let mut ask = |came: Instant, picked: Instant| {
        let ask = Ask::of(IpAddr::V4(Ipv4Addr::LOCALHOST), came);
        let wanted = Wanted { client_region: Some(&region), ..Wanted::one_of(&pool, ask) };
        dead.take_at(&wanted, &Tried::default(), &mut dice, || picked).map(|_| ())
    };
    assert_eq!(ask(later, later), Ok(()), "a newer guest");
    assert_eq!(ask(later - Duration::from_secs(5), later), Ok(()), "one that came five seconds before");
    // By the time of its coming there would be five seconds of guests before it.
    assert_eq!(ask(later, later - Duration::from_secs(5)), Err(Unavailable::OverCapacity));
}

#[test]
fn guests_of_one_of_three_peers_get_all_of_the_room_also_where_their_region_is_not_over_its_capacity() {
    let now = host::now();
    let view = begin(&[("a", Some(100)), ("b", Some(100))], now);
    let others = ["own", "second", "third"].map(|id| Member { id: id.parse().unwrap(), region: name("a") });
    let view = after(&view, [Event::Members(Arc::new(Members::new(others[0].clone(), others[1..].to_vec())))], now);
    // What is held against the node is no verdict, and takes nothing from what its region can take.
    view.node(&"a-1".parse().unwrap()).unwrap().1.live.suspect();
    offer(&view, now, 3, &[("a", 60)]);
    let (served, refused) = offer(&view, now + Duration::from_secs(3), 10, &[("a", 60)]);
    assert_eq!((served, refused), (vec![("b-1".to_owned(), 600)], 0));
    assert!(view.demand().guests >= 59.0, "{:?}", view.demand());
}

#[test]
fn sessions_by_a_hash_whose_region_died_are_guests_and_those_at_home_count_as_the_regions_own() {
    let now = host::now();
    let sticky = |pool: &mut Pool| pool.sticky = Some(Sticky::Key(HashKey::ClientIp));
    let view = begin_with(&[("a", Some(100)), ("b", Some(100))], now, sticky);
    let rates = [("a", 100), ("b", 48)];
    let session = |number: u32| Stick::Key(crate::balance::hash::of(&number.to_be_bytes()));
    offer_of(&view, now, 8, &rates, session);
    let (before, refused) = offer_of(&view, now + Duration::from_secs(8), 4, &rates, session);
    assert_eq!((before, refused), (vec![("a-1".into(), 400), ("b-1".into(), 192)], 0));
    let asked = view.demand().by_region;
    assert!(
        asked.iter().all(|(region, rate)| (rate - if *region == name("a") { 100.0 } else { 48.0 }).abs() < 2.0),
        "{asked:?}"
    );

    let later = now + Duration::from_secs(12);
    let dead = after(&view, [observed("a", Health::Down)], later);
    dead.share_regions(later);
    let (served, refused) = offer_of(&dead, later, 10, &rates, session);
    let b = rate(&served, "b-1", 10);
    assert!((84.0..=92.0).contains(&b), "{served:?}");
    assert!(f64::from(refused) >= 10.0 * (148.0 - 92.0), "{refused}");
}

#[test]
fn a_session_that_stays_by_its_cookie_counts_where_it_stays_and_leaves_less_room_there() {
    let now = host::now();
    let view = begin(&[("a", Some(100)), ("b", Some(100))], now);
    // Every second request is of a session at b, whose client is nearer to a.
    let half = |number: u32| if number.is_multiple_of(2) { Stick::Node(node_key("b")) } else { Stick::Free };
    offer_of(&view, now, 8, &[("a", 120)], half);
    let asked = view.demand().by_region;
    assert!(asked.iter().all(|(_, rate)| (58.0..=62.0).contains(rate)) && asked.len() == 2, "{asked:?}");
    let later = now + Duration::from_secs(8);
    let dead = after(&view, [observed("a", Health::Down)], later);
    dead.share_regions(later);
    let (served, _) = offer_of(&dead, later, 10, &[("a", 120)], half);
    let b = rate(&served, "b-1", 10);
    assert!((84.0..=92.0).contains(&b), "{served:?}");
}

#[test]
fn whichever_region_strategy_chooses_what_others_take_in_place_of_a_dead_region_are_guests() {
    for strategy in [RegionStrategy::RoundRobin, RegionStrategy::Weighted, RegionStrategy::LeastLatency] {
        let now = host::now();
        let capacities = [("a", Some(100)), ("b", Some(100)), ("c", Some(100))];
        let view = begin_with(&capacities, now, |pool| pool.region_strategy = strategy);
        offer(&view, now, 8, &[("a", 200)]);
        let (before, refused) = offer(&view, now + Duration::from_secs(8), 4, &[("a", 200)]);
        assert_eq!(refused, 0, "{strategy:?}: {before:?}");
        let later = now + Duration::from_secs(12);
        let dead = after(&view, [observed("a", Health::Down)], later);
        dead.share_regions(later);
        offer(&dead, later, 4, &[("a", 200)]);
        let (served, refused) = offer(&dead, later + Duration::from_secs(4), 10, &[("a", 200)]);
        for node in ["b-1", "c-1"] {
            let rate = rate(&served, node, 10);
            assert!((82.0..=92.0).contains(&rate), "{strategy:?}: {served:?}");
        }
        assert!(refused >= 160, "{strategy:?}: {refused}");
    }
}

#[test]
fn what_is_only_rehearsed_takes_no_room_and_counts_as_no_demand() {
    let now = host::now();
    let view = begin(&[("a", Some(100)), ("b", Some(100))], now);
    let rates = [("a", 400), ("b", 40)];
    offer(&view, now, 10, &rates);
    let asked = |view: &View| view.demand().by_region.iter().find(|(region, _)| *region == name("a")).map(|of| of.1);
    let before = asked(&view);
    let later = now + Duration::from_secs(10);
    let pool: PoolName = "web".parse().unwrap();
    let mut dice = Dice::from_seed(1);
    for _ in 0..10_000 {
        let wanted = Wanted::one_of(&pool, Ask::of(IpAddr::V4(Ipv4Addr::LOCALHOST), later));
        let _ = view.rehearse(&wanted, &mut dice);
    }
    view.measure_demand(STEP);
    assert!(asked(&view) < before, "{:?} a second after {before:?}", asked(&view));
    let (served, _) = offer(&view, later, 4, &rates);
    assert!(rate(&served, "a-1", 4) > 95.0, "{served:?}");
}
