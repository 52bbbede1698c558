//! Sessions of both kinds, through failures, drains and a changed catalog.

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use super::*;
use crate::host::{self, Dice};
use crate::model::{
    Admin, Catalog, Check, CheckKind, HashKey, Health, Member, Members, Node, Observation, Pool, RegionName, Revision,
    Sticky, TcpCheck,
};
use crate::view::{Ask, Changes, Event, first};

const SECOND: Duration = Duration::from_secs(1);

/// Four nodes, of which sessions are known by their clients' addresses.
fn pool() -> Pool {
    let mut pool = Pool::new("web".parse().unwrap());
    pool.check = Check::of(CheckKind::Tcp(TcpCheck::default()));
    pool.sticky = Some(Sticky::Key(HashKey::ClientIp));
    pool.nodes = ["a", "b", "c", "d"].map(|id| Node::new(id.parse().unwrap(), "192.0.2.1:80".parse().unwrap())).into();
    pool
}

fn begin(pool: &Pool, now: Instant) -> View {
    begin_in(RegionName::default(), pool, now)
}

/// What a peer knows that has just started, in this region.
fn unchecked(region: RegionName, pool: &Pool, now: Instant) -> View {
    let own = Member { id: "own".parse().unwrap(), region };
    let catalog = Catalog::new(vec![pool.clone()]).unwrap();
    first(&catalog, Arc::new(Members::alone(own)), now)
}

fn begin_in(region: RegionName, pool: &Pool, now: Instant) -> View {
    let view = unchecked(region, pool, now);
    let up = pool.nodes.iter().map(|node| observed(node.id.as_str(), Health::Up));
    after(&view, up.chain([Event::OwnSwept { at: now }]), now)
}

fn node_key(id: &str) -> NodeKey {
    NodeKey::of(&id.parse().unwrap(), &"192.0.2.1:80".parse().unwrap())
}

fn observed(id: &str, vote: Health) -> Event {
    let observation = Observation { vote: Some(vote), reached_before: true, ..Observation::default() };
    Event::Observed { node: node_key(id), observation }
}

fn after(view: &View, events: impl IntoIterator<Item = Event>, now: Instant) -> View {
    let mut changes = Changes::default();
    events.into_iter().for_each(|event| changes.add(view, event));
    view.after(changes, now)
}

fn draining(pool: &Pool, at: usize, timeout: Option<Duration>) -> Event {
    let mut pool = pool.clone();
    pool.nodes[at].admin = Admin::Draining { begun: Revision::ZERO, timeout };
    Event::Catalog(Arc::new(Catalog::new(vec![pool]).unwrap()))
}

/// Who serves a session now.
fn served(view: &View, stick: Stick) -> Result<String, Unavailable> {
    let name = "web".parse().unwrap();
    let ask = Ask { stick, ..Ask::of(IpAddr::V4(Ipv4Addr::LOCALHOST), host::now()) };
    let taken = view.take(&Wanted::one_of(&name, ask), &Tried::default(), &mut Dice::from_seed(7))?;
    Ok(taken.node().node.id.as_str().to_owned())
}

/// Where two hundred sessions are.
fn homes(view: &View) -> Vec<String> {
    let hash = |number: u64| crate::balance::hash::of(&number.to_be_bytes());
    (0..200).map(|number| served(view, Stick::Key(hash(number))).unwrap()).collect()
}

fn at(id: &str) -> Stick {
    Stick::Node(node_key(id))
}

#[test]
fn sessions_by_a_hash_move_only_where_their_node_fails_and_come_back_with_it() {
    let now = host::now();
    let view = begin(&pool(), now);
    let before = homes(&view);
    assert!(["a", "b", "c", "d"].iter().all(|id| before.iter().filter(|home| home == id).count() > 20), "{before:?}");
    let failed = after(&view, [observed("b", Health::Down)], now);
    for (before, after) in before.iter().zip(homes(&failed)) {
        assert!(if before == "b" { after != "b" } else { after == *before });
    }
    let back = after(&failed, [observed("b", Health::Up)], now + SECOND);
    assert_eq!(homes(&back), before);
}

#[test]
fn sessions_stay_at_a_node_that_drains_until_its_deadline_and_a_view_is_due_then() {
    let now = host::now();
    let view = after(&begin(&pool(), now), [draining(&pool(), 1, Some(30 * SECOND))], now);
    let before = homes(&begin(&pool(), now));
    assert_eq!(homes(&view), before);
    assert_eq!(served(&view, at("b")).as_deref(), Ok("b"));
    assert!(view.keeps(&"web".parse().unwrap(), node_key("b")));
    assert!(view.due().is_some_and(|due| due <= now + 30 * SECOND));
    let without = (0..50).map(|_| served(&view, Stick::Free).unwrap());
    assert!(without.into_iter().all(|id| id != "b"), "nobody new");
    let over = after(&view, [Event::OwnSwept { at: now + 30 * SECOND }], now + 30 * SECOND);
    assert!(homes(&over).iter().all(|home| home != "b"));
    assert_ne!(served(&over, at("b")).as_deref(), Ok("b"));
    assert!(!over.keeps(&"web".parse().unwrap(), node_key("b")));
}

#[test]
fn a_drain_without_a_deadline_keeps_sessions_that_have_a_cookie_and_gives_a_hash_nobody() {
    let now = host::now();
    let view = after(&begin(&pool(), now), [draining(&pool(), 1, None)], now);
    assert_eq!(served(&view, at("b")).as_deref(), Ok("b"));
    assert!(homes(&view).iter().all(|home| home != "b"));
}

#[test]
fn a_session_waits_for_its_full_home_and_passes_by_one_that_is_suspect_gone_down_or_tried() {
    let now = host::now();
    let mut small = pool();
    small.nodes[0].max_connections = std::num::NonZeroU32::MIN;
    let view = begin(&small, now);
    let name = small.name.clone();
    let ask = Ask { stick: at("a"), ..Ask::of(IpAddr::V4(Ipv4Addr::LOCALHOST), host::now()) };
    let wanted = Wanted::one_of(&name, ask);
    let taken = view.take(&wanted, &Tried::default(), &mut Dice::from_seed(1)).unwrap();
    assert_eq!(taken.node().node.id.as_str(), "a");
    assert_eq!(served(&view, at("a")), Err(Unavailable::Full), "the others have places, and are not its home");
    let mut tried = Tried::default();
    tried.add(&taken);
    let other = view.take(&wanted, &tried, &mut Dice::from_seed(1)).unwrap();
    assert_ne!(other.node().node.id.as_str(), "a");
    drop((taken, other));

    let (_, b) = view.node(&"b".parse().unwrap()).unwrap();
    b.live.suspect();
    assert_ne!(served(&view, at("b")).as_deref(), Ok("b"));
    assert!(view.keeps(&name, node_key("b")), "just this once");
    b.live.clear_suspicion();
    let down = after(&view, [observed("b", Health::Down)], now);
    assert_ne!(served(&down, at("b")).as_deref(), Ok("b"));
    assert!(!down.keeps(&name, node_key("b")));
    assert!(served(&view, at("gone")).is_ok() && !view.keeps(&name, node_key("gone")));
}

#[test]
fn a_session_is_no_reason_to_leave_the_regions_of_a_strict_route_and_else_it_stays_where_it_is() {
    let now = host::now();
    let mut two = pool();
    let (eu, us): (RegionName, RegionName) = ("eu".parse().unwrap(), "us".parse().unwrap());
    two.nodes.iter_mut().enumerate().for_each(|(at, node)| {
        node.region = Some(if at < 2 { eu.clone() } else { us.clone() });
    });
    let view = begin(&two, now);
    let name = two.name.clone();
    let choice = |strict| RegionChoice { prefer: vec![us.clone()], strict };
    let (strict, lenient) = (choice(true), choice(false));
    let served = |regions, stick| {
        let ask = Ask { stick, ..Ask::of(IpAddr::V4(Ipv4Addr::LOCALHOST), host::now()) };
        let wanted = Wanted { regions: Some(regions), client_region: Some(&eu), ..Wanted::one_of(&name, ask) };
        let taken = view.take(&wanted, &Tried::default(), &mut Dice::from_seed(3)).unwrap();
        taken.node().node.id.as_str().to_owned()
    };
    assert_eq!(served(&lenient, at("a")), "a");
    assert!(["c", "d"].contains(&&*served(&strict, at("a"))));
    for hash in 0..50 {
        assert!(["c", "d"].contains(&&*served(&strict, Stick::Key(hash))));
    }
    let near = homes(&view);
    let client = |region: &RegionName| {
        let ask = Ask { stick: Stick::Key(4), ..Ask::of(IpAddr::V4(Ipv4Addr::LOCALHOST), host::now()) };
        let wanted = Wanted { client_region: Some(region), ..Wanted::one_of(&name, ask) };
        view.home_of_session(&wanted).unwrap().as_str().to_owned()
    };
    assert!(["a", "b"].contains(&&*client(&eu)) && ["c", "d"].contains(&&*client(&us)), "{near:?}");
}

#[test]
fn sessions_stay_at_their_nodes_while_a_peer_that_has_just_started_knows_nothing_of_these() {
    let now = host::now();
    let blank = unchecked(RegionName::default(), &pool(), now);
    let homes_before = homes(&begin(&pool(), now));
    assert_eq!(homes(&blank), homes_before);
    for id in ["a", "b", "c", "d"] {
        assert_eq!(served(&blank, at(id)).as_deref(), Ok(id));
    }
    // The first check of one is there before those of the others.
    let one = after(&blank, [observed("a", Health::Up)], now);
    assert_eq!(homes(&one), homes_before);
    assert_eq!(served(&one, at("c")).as_deref(), Ok("c"));
    let down = after(&one, [observed("b", Health::Down)], now);
    assert_ne!(served(&down, at("b")).as_deref(), Ok("b"));
    assert!(homes(&down).iter().all(|home| home != "b"));

    // A node that is added is nobody's home by a hash before somebody knows that it is well.
    let mut more = pool();
    more.nodes.push(Node::new("e".parse().unwrap(), "192.0.2.1:80".parse().unwrap()));
    let added = Event::Catalog(Arc::new(Catalog::new(vec![more]).unwrap()));
    let added = after(&begin(&pool(), now), [added], now);
    assert!(homes(&added).iter().all(|home| home != "e"));
    let up = after(&added, [observed("e", Health::Up)], now);
    assert!(homes(&up).iter().any(|home| home == "e"));
}

#[test]
fn peers_of_three_regions_find_the_same_node_for_a_session_by_a_hash_unless_all_know_where_its_client_is() {
    let now = host::now();
    let mut three = pool();
    let regions: [RegionName; 3] = ["eu", "us", "ap"].map(|name| name.parse().unwrap());
    three.nodes.iter_mut().enumerate().for_each(|(at, node)| node.region = Some(regions[at % 3].clone()));
    let views = regions.clone().map(|region| begin_in(region, &three, now));
    let found = views.each_ref().map(homes);
    assert!(found[0] == found[1] && found[1] == found[2], "{found:?}");
    assert!(["a", "b", "c", "d"].iter().all(|id| found[0].iter().any(|home| home == id)), "{found:?}");
    let name = three.name.clone();
    // Nobody is in that region, and it prefers none: where the peer is says nothing here either.
    let nowhere: RegionName = "sa".parse().unwrap();
    for hash in 0..50 {
        let at_all = |client: &RegionName| {
            views.each_ref().map(|view| {
                let ask = Ask { stick: Stick::Key(hash), ..Ask::of(IpAddr::V4(Ipv4Addr::LOCALHOST), now) };
                let wanted = Wanted { client_region: Some(client), ..Wanted::one_of(&name, ask) };
                view.home_of_session(&wanted).unwrap().as_str().to_owned()
            })
        };
        assert_eq!(at_all(&regions[1]), ["b"; 3]);
        let [eu, us, ap] = at_all(&nowhere);
        assert!(eu == us && us == ap);
    }
}
