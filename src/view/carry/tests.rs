//! Views whose catalog changes while others talk.

use std::net::{IpAddr, Ipv4Addr};

use super::*;
use crate::host::{self, Dice};
use crate::model::{Admin, Check, Heard, Member, NodeId, PeerId, RegionName, Revision, Strategy, TcpCheck, Weight};
use crate::view::{Ask, Changes, Event, Taken, Tried, Unavailable, first};

const SECOND: Duration = Duration::from_secs(1);

fn id(text: &str) -> NodeId {
    text.parse().unwrap()
}

fn peer(text: &str) -> PeerId {
    text.parse().unwrap()
}

/// Nodes written as `id` or `id@last part of the address`.
fn pool(name: &str, nodes: &[&str]) -> Pool {
    let mut pool = Pool::new(name.parse().unwrap());
    pool.check = Check::of(CheckKind::Tcp(TcpCheck::default()));
    pool.strategy = Strategy::IpHash;
    pool.nodes = nodes
        .iter()
        .map(|text| {
            let (id, host) = text.split_once('@').unwrap_or((text, "1"));
            Node::new(id.parse().unwrap(), format!("192.0.2.{host}:80").parse().unwrap())
        })
        .collect();
    pool
}

fn catalog(pools: &[Pool]) -> Catalog {
    Catalog::new(pools.to_vec()).unwrap()
}

fn members() -> Arc<Members> {
    let member = |id: &str| Member { id: peer(id), region: RegionName::default() };
    Arc::new(Members::new(member("own"), [member("b"), member("c")]))
}

fn begin_with(pools: &[Pool], now: Instant) -> View {
    first(&catalog(pools), members(), now)
}

fn after(view: &View, events: impl IntoIterator<Item = Event>, now: Instant) -> View {
    let mut changes = Changes::default();
    events.into_iter().for_each(|event| changes.add(view, event));
    view.after(changes, now)
}

fn change(view: &View, pools: &[Pool], now: Instant) -> View {
    after(view, [Event::Catalog(Arc::new(catalog(pools)))], now)
}

fn key(text: &str, host: u8) -> NodeKey {
    NodeKey::of(&id(text), &format!("192.0.2.{host}:80").parse().unwrap())
}

/// What `observer` says on a page: `U` or `D` of each.
fn said(observer: &str, page: u16, nodes: &[(NodeKey, char)]) -> Event {
    let heard = |letter: char| {
        let vote = if letter == 'U' { Health::Up } else { Health::Down };
        Heard { vote: Some(vote), reached_before: true, latency: None, ejected: false }
    };
    let nodes = nodes.iter().map(|(key, letter)| (*key, heard(*letter))).collect();
    Event::Heard { observer: peer(observer), page, nodes }
}

fn swept(observer: &str, at: Instant) -> Event {
    Event::Swept { observer: peer(observer), at }
}

fn up(key: NodeKey) -> Event {
    let observation =
        Observation { vote: Some(Health::Up), reached_before: true, checks_total: 3, ..Observation::default() };
    Event::Observed { node: key, observation }
}

fn verdict(view: &View, node: &str) -> Option<Verdict> {
    view.node(&id(node)).map(|(_, node)| node.state.verdict)
}

fn take(view: &View, client: u32) -> Result<Taken, Unavailable> {
    let pool = view.pool(&"web".parse().unwrap()).unwrap();
    let ask = Ask::of(IpAddr::V4(Ipv4Addr::from_bits(client)), host::now());
    pool.take(&ask, &Tried::default(), &mut Dice::from_seed(1))
}

/// Whom 500 clients are sent to.
fn picks(view: &View) -> Vec<NodeId> {
    (0..500).map(|client| take(view, client).unwrap().node().node.id.clone()).collect()
}

#[test]
fn what_stays_keeps_all_that_is_known_and_takes_on_what_is_set_now() {
    let start = host::now();
    let view = begin_with(&[pool("web", &["a", "b"]), pool("old", &["c"])], start);
    let view = after(&view, [up(key("a", 1)), up(key("b", 1)), up(key("c", 1))], start);
    let held = take(&view, 1).unwrap();
    held.node().live.note_response_time(SECOND);

    let mut web = pool("web", &["new@7", "b", "a"]);
    web.retries = 9;
    web.nodes[2].weight = Weight::new(5).unwrap();
    let later = start + SECOND;
    let changed = change(&view, &[pool("more", &["c"]), web], later);
    assert!(!changed.is_of_the_catalog_of(&view));
    for name in ["a", "b", "c"] {
        let (before, now) = (view.node(&id(name)).unwrap().1, changed.node(&id(name)).unwrap().1);
        assert!(Arc::ptr_eq(&before.live, &now.live), "{name}: what is in flight is counted on");
        assert_eq!((&before.observation, before.usable_since), (&now.observation, now.usable_since), "{name}");
        assert_eq!(now.state.verdict, Verdict::Up, "{name}");
    }
    let (web, a) = changed.node(&id("a")).unwrap();
    assert_eq!((web.pool.retries, a.node.weight.get()), (9, 5));
    assert!(Arc::ptr_eq(&web.live, &view.pool(&"web".parse().unwrap()).unwrap().live), "those who wait there wait on");
    let new = changed.node(&id("new")).unwrap().1;
    assert_eq!((new.state.verdict, new.addresses.len()), (Verdict::Unknown, 1));
    assert!(changed.pool(&"old".parse().unwrap()).is_none());
    assert_eq!(held.node().live.in_flight(), 1);
    drop(held);
    assert_eq!(a.live.in_flight() + changed.node(&id("b")).unwrap().1.live.in_flight(), 0);
}

#[test]
fn a_removed_node_and_one_at_another_address_get_nothing_from_then_on() {
    let now = host::now();
    let view = begin_with(&[pool("web", &["a", "b", "c"])], now);
    let view = after(&view, [up(key("a", 1)), up(key("b", 1)), up(key("c", 1))], now);
    let held: Vec<Taken> = (0..50).map(|client| take(&view, client).unwrap()).collect();
    let changed = change(&view, &[pool("web", &["a@9", "c"])], now);
    assert!(picks(&changed).iter().all(|node| *node == id("c")), "nothing is known of the other address");
    assert_eq!(verdict(&changed, "a"), Some(Verdict::Unknown));
    assert_eq!(verdict(&changed, "b"), None);
    let moved = changed.node(&id("a")).unwrap().1;
    assert_eq!(moved.addresses, ["192.0.2.9:80".parse().unwrap()]);
    assert!(!Arc::ptr_eq(&moved.live, &view.node(&id("a")).unwrap().1.live));
    // What is late of the address that it had says nothing of the one that it has.
    let late = after(&changed, [up(key("a", 1)), up(key("b", 1))], now);
    assert_eq!(verdict(&late, "a"), Some(Verdict::Unknown));
    assert_eq!(late.heard_dropped(), 2);
    drop(held);
    assert!(view.pools().flat_map(|pool| &pool.nodes).all(|node| node.live.in_flight() == 0));
}

#[test]
fn the_order_of_pools_and_nodes_changes_neither_verdicts_nor_picks() {
    let now = host::now();
    let names: Vec<String> = (0..12).map(|number| format!("n{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let ordered = [pool("web", &names), pool("api", &["x", "y"])];
    let mut dice = Dice::from_seed(7);
    let mut shuffled_names = names.clone();
    (1..names.len()).for_each(|at| shuffled_names.swap(at, dice.below(at + 1)));
    let shuffled = [pool("api", &["y", "x"]), pool("web", &shuffled_names)];
    let letter = |number: usize| if number.is_multiple_of(4) { 'D' } else { 'U' };
    let pages = |at: Instant| {
        let page = |number: u16| -> Vec<(NodeKey, char)> {
            let nodes = names.iter().enumerate().filter(|(at, _)| at % 2 == usize::from(number));
            nodes.map(|(at, name)| (key(name, 1), letter(at))).collect()
        };
        let of = |observer| [said(observer, 0, &page(0)), said(observer, 1, &page(1)), swept(observer, at)];
        [of("b"), of("c")].concat()
    };
    let told = after(&begin_with(&ordered, now), pages(now), now);
    let first_shuffled = after(&begin_with(&shuffled, now), pages(now), now);
    let then_shuffled = change(&told, &shuffled, now);
    let and_back = change(&then_shuffled, &ordered, now);
    for view in [&first_shuffled, &then_shuffled, &and_back] {
        assert_eq!(picks(view), picks(&told));
        for name in &names {
            assert_eq!(verdict(view, name), verdict(&told, name), "{name}");
        }
    }
    // A page still takes back what it said, wherever the nodes stand now.
    let silent = after(&then_shuffled, [said("b", 0, &[]), said("c", 0, &[])], now);
    let votes = |view: &View, name: &str| {
        view.opinions(&id(name)).unwrap().iter().filter(|opinion| opinion.heard.vote.is_some()).count()
    };
    assert_eq!((votes(&silent, "n0"), votes(&silent, "n1")), (0, 2));
}

#[test]
fn what_others_have_in_flight_moves_with_the_nodes() {
    let now = host::now();
    let view = begin_with(&[pool("web", &["a", "b", "c"])], now);
    let load = Event::Load { observer: peer("b"), at: now, in_flight: vec![(key("a", 1), 5), (key("c", 1), 7)] };
    let changed = change(&after(&view, [load], now), &[pool("new", &["x"]), pool("web", &["c", "b"])], now);
    changed.share_load(now);
    let of = |node: &str| changed.node(&id(node)).unwrap().1.live.in_flight_elsewhere();
    assert_eq!((of("c"), of("b"), of("x")), (7, 0, 0));
}

#[test]
fn whether_observations_or_the_catalog_come_first_all_end_with_the_same_verdicts() {
    let now = host::now();
    let old = [pool("web", &["a", "b"])];
    let new = [pool("web", &["n", "b", "m@4"])];
    let pages = || {
        let all = [(key("a", 1), 'U'), (key("b", 1), 'D'), (key("n", 1), 'U'), (key("m", 4), 'D')];
        [said("b", 0, &all), said("c", 3, &all), swept("b", now), swept("c", now)]
    };
    // One has the catalog, and then hears.
    let after_catalog = after(&change(&begin_with(&old, now), &new, now), pages(), now);
    // Another hears of nodes that it does not know, then is told of them, and is told again what others say.
    let before_catalog = change(&after(&begin_with(&old, now), pages(), now), &new, now);
    assert_eq!(verdict(&before_catalog, "n"), Some(Verdict::Unknown), "nothing is kept of strangers");
    assert_eq!(verdict(&before_catalog, "b"), Some(Verdict::Down), "and nothing lost of nodes that stay");
    let before_catalog = after(&before_catalog, pages(), now);
    // A third hears both at once.
    let catalog = || Event::Catalog(Arc::new(catalog(&new)));
    let at_once = after(&begin_with(&old, now), [catalog()].into_iter().chain(pages()), now);
    let at_once = after(&at_once, pages(), now);
    for node in ["n", "b", "m"] {
        let expected = verdict(&after_catalog, node);
        assert_ne!(expected, Some(Verdict::Unknown), "{node}");
        assert_eq!(verdict(&before_catalog, node), expected, "{node}");
        assert_eq!(verdict(&at_once, node), expected, "{node}");
    }
}

/// A drain that began with this revision.
fn drain(revision: u64, timeout: Option<Duration>) -> Admin {
    Admin::Draining { begun: Revision::new(revision).unwrap(), timeout }
}

#[test]
fn a_drain_counts_from_when_this_peer_was_told_and_ends_when_it_is_taken_back() {
    let start = host::now();
    let with = |admin: Admin| {
        let mut web = pool("web", &["a", "b"]);
        web.nodes[0].admin = admin;
        [web]
    };
    let view = after(&begin_with(&with(Admin::Enabled), start), [up(key("a", 1)), up(key("b", 1))], start);
    let cut_at = |view: &View| view.node(&id("a")).unwrap().1.cut_at();
    assert_eq!(cut_at(&view), None);
    let told = start + 5 * SECOND;
    let draining = change(&view, &with(drain(2, Some(10 * SECOND))), told);
    assert_eq!(cut_at(&draining), Some(told + 10 * SECOND));
    assert!(picks(&draining).iter().all(|node| *node == id("b")), "no new work, whatever the hash says");
    // Other changes, another deadline: it still counts from the same moment.
    let longer = change(&draining, &with(drain(2, Some(60 * SECOND))), told + SECOND);
    assert_eq!(cut_at(&longer), Some(told + 60 * SECOND));
    assert_eq!(cut_at(&change(&longer, &with(drain(2, None)), told + SECOND)), None);
    let back = change(&longer, &with(Admin::Enabled), told + 2 * SECOND);
    assert_eq!(cut_at(&back), None);
    assert_eq!(picks(&back), picks(&view));
    let again = change(&back, &with(drain(5, Some(SECOND))), told + 9 * SECOND);
    assert_eq!(cut_at(&again), Some(told + 10 * SECOND));
    // Taken back and begun anew while this peer heard nothing.
    let anew = change(&again, &with(drain(7, Some(SECOND))), told + 90 * SECOND);
    assert_eq!(cut_at(&anew), Some(told + 91 * SECOND));
}

#[test]
fn a_peer_that_is_started_during_a_drain_counts_from_when_others_were_told() {
    let start = host::now() + 60 * SECOND;
    let mut web = pool("web", &["a", "b"]);
    web.nodes[0].admin = drain(2, Some(10 * SECOND));
    let view = begin_with(&[web], start);
    let cut_at = |view: &View| view.node(&id("a")).unwrap().1.cut_at();
    let told = |view: &View, begun: u64, ago: u32| {
        let begun = Revision::new(begun).unwrap();
        after(view, [Event::DrainKnown { node: key("a", 1), begun, since: start - ago * SECOND }], start)
    };
    assert_eq!(cut_at(&view), Some(start + 10 * SECOND));
    let known = told(&view, 2, 4);
    assert_eq!(cut_at(&known), Some(start + 6 * SECOND));
    assert_ne!(known.deadlines_moved, view.deadlines_moved, "workers are told");
    let seen = known.node(&id("a")).unwrap().1.drain_seen(start + SECOND).unwrap();
    assert_eq!((seen.begun.get(), seen.passed_ms), (2, 5_000), "and it tells the next one");
    assert_eq!(cut_at(&told(&known, 2, 1)), Some(start + 6 * SECOND), "who knows it for less long says nothing new");
    assert_eq!(cut_at(&told(&known, 1, 9)), Some(start + 6 * SECOND), "that is another drain");
    let over = told(&known, 2, 11);
    assert_eq!(over.node(&id("a")).unwrap().1.drains_by(), None);
    assert!(over.node(&id("a")).unwrap().1.drain_is_over);
}

#[test]
fn a_drain_moves_only_the_clients_of_its_node() {
    let now = host::now();
    let names: Vec<String> = (0..10).map(|number| format!("n{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let view = begin_with(&[pool("web", &names)], now);
    let view = after(&view, names.iter().map(|name| up(key(name, 1))), now);
    let mut web = pool("web", &names);
    web.nodes[3].admin = drain(2, None);
    let draining = change(&view, &[web], now);
    let before_and_after = picks(&view).into_iter().zip(picks(&draining)).filter(|(before, _)| *before != id("n3"));
    let moved = before_and_after.filter(|(before, after)| before != after).count();
    assert!(moved < 25, "{moved} of 450");
    assert!(!picks(&draining).contains(&id("n3")));
}

#[test]
fn the_same_catalog_once_more_changes_nothing() {
    let now = host::now();
    let pools = [pool("web", &["a", "b"]), pool("api", &["x"])];
    let view = begin_with(&pools, now);
    let again = change(&view, &pools, now);
    assert!(again.is_of_the_catalog_of(&view));
    assert!(view.pools().zip(again.pools()).all(|(a, b)| Arc::ptr_eq(a, b)));
    // A change in one pool leaves the others as they are.
    let one = change(&view, &[pool("web", &["a"]), pool("api", &["x"])], now);
    assert!(Arc::ptr_eq(&view.pools[1], &one.pools[1]) && !Arc::ptr_eq(&view.pools[0], &one.pools[0]));
    assert!(change(&view, &[], now).pools().next().is_none());
}
