//! Three regions, of which one dies, through the whole of a view.

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use super::*;
use crate::host;
use crate::model::{
    Capacity, Catalog, CatalogParts, Check, CheckKind, Health, Member, Members, Node, NodeKey, Observation, Pool,
    PoolName, Region, TcpCheck,
};
use crate::view::{Ask, Changes, Event, View, first};

const STEP: Duration = Duration::from_millis(250);

fn name(text: &str) -> RegionName {
    text.parse().unwrap()
}

fn catalog(capacities: &[(&str, Option<u32>)]) -> Catalog {
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
    Catalog::of(CatalogParts { pools: vec![pool], regions, ..CatalogParts::default() }).unwrap()
}

fn after(view: &View, events: impl IntoIterator<Item = Event>, now: Instant) -> View {
    let mut changes = Changes::default();
    events.into_iter().for_each(|event| changes.add(view, event));
    view.after(changes, now)
}

fn observed(region: &str, vote: Health) -> Event {
    let node = NodeKey::of(&format!("{region}-1").parse().unwrap(), &"192.0.2.1:80".parse().unwrap());
    Event::Observed {
        node,
        observation: Observation { vote: Some(vote), reached_before: true, ..Observation::default() },
    }
}

fn begin(capacities: &[(&str, Option<u32>)], now: Instant) -> View {
    let own = Member { id: "own".parse().unwrap(), region: name(capacities[0].0) };
    let view = first(&catalog(capacities), Arc::new(Members::alone(own)), now);
    let up = capacities.iter().map(|(region, _)| observed(region, Health::Up));
    after(&view, up, now)
}

/// Offers requests of clients in these regions, so many a second for so long; who served them, and how many nobody did. Returns
/// the moment of the last.
fn offer(view: &View, from: Instant, seconds: u32, rates: &[(&str, u32)]) -> (Vec<(String, u32)>, u32) {
    let pool: PoolName = "web".parse().unwrap();
    let mut dice = Dice::from_seed(1);
    let mut served: std::collections::BTreeMap<String, u32> = std::collections::BTreeMap::new();
    let mut refused = 0;
    for step in 0..seconds * 4 {
        let now = from + STEP * step;
        for (region, rate) in rates {
            let region = name(region);
            for at in 0..rate / 4 {
                let now = now + STEP * at / (rate / 4);
                let ask = Ask::of(IpAddr::V4(Ipv4Addr::LOCALHOST), now);
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
    assert!(view.demand().is_empty() && !view.limits_regions());
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
