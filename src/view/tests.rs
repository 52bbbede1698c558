//! Choosing and building, told by small pools.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::*;
use crate::balance::hash;
use crate::host::{self, Dice};
use crate::model::{
    Admin, Catalog, Check, CheckKind, Health, Member, Members, Node, NodeId, NodeKey, Observation, Panic, Pool,
    PoolName, RegionName, Revision, Strategy, Verdict, Weight,
};

/// A pool `p` of nodes written as `id[*weight][/places][+backup]`, observed as given: `U` up, `G` degraded, `D` down,
/// `?` not yet, `x` draining, `o` disabled, `n` up with a name that does not resolve; after it `!`: suspect.
fn pool(pool: Pool, nodes: &[(&str, &str)]) -> View {
    let started = host::now();
    let view = first(&catalog(pool, nodes), alone(), started);
    let mut changes = Changes::default();
    for (node, (_, how)) in view.pools[0].nodes.iter().zip(nodes) {
        if how.ends_with('!') {
            node.live.suspect();
        }
        let vote = match &how[..1] {
            "G" => Some(Health::Degraded),
            "D" => Some(Health::Down),
            "?" => None,
            _ => Some(Health::Up),
        };
        changes.add(&view, observed(&node.node.id, vote));
    }
    view.after(changes, started)
}

/// A cluster of one.
fn alone() -> Arc<Members> {
    Arc::new(Members::alone(Member { id: "own".parse().unwrap(), region: RegionName::default() }))
}

fn catalog(mut pool: Pool, nodes: &[(&str, &str)]) -> Catalog {
    for (text, how) in nodes {
        let (text, backup) = text.strip_suffix("+backup").map_or((*text, false), |text| (text, true));
        let (text, places) = text.split_once('/').map_or((text, "1024"), |(text, places)| (text, places));
        let (id, weight) = text.split_once('*').unwrap_or((text, "1"));
        let address = if how.starts_with('n') { "no.such.name:80" } else { "192.0.2.1:80" };
        let mut node = Node::new(id.parse().unwrap(), address.parse().unwrap());
        node.weight = Weight::new(weight.parse().unwrap()).unwrap();
        node.max_connections = NonZeroU32::new(places.parse().unwrap()).unwrap();
        node.backup = backup;
        node.admin = match &how[..1] {
            "x" => Admin::Draining { begun: Revision::ZERO, timeout: None },
            "o" => Admin::Disabled,
            _ => Admin::Enabled,
        };
        pool.nodes.push(node);
    }
    Catalog::new(vec![pool]).unwrap()
}

fn named(strategy: Strategy) -> Pool {
    let mut pool = Pool::new("p".parse().unwrap());
    pool.strategy = strategy;
    pool
}

fn observed(node: &NodeId, vote: Option<Health>) -> Event {
    let reached_before = vote == Some(Health::Up);
    let observation = Observation { vote, reached_before, ..Observation::default() };
    Event::Observed { node: key(node.as_str()), observation }
}

fn with(view: &View, event: Event, now: Instant) -> View {
    let mut changes = Changes::default();
    changes.add(view, event);
    view.after(changes, now)
}

fn id(text: &str) -> NodeId {
    text.parse().unwrap()
}

/// Of a node with the address that all have here.
fn key(id: &str) -> NodeKey {
    at(id, "192.0.2.1:80")
}

fn at(text: &str, address: &str) -> NodeKey {
    NodeKey::of(&id(text), &address.parse().unwrap())
}

fn client(number: u32) -> Ask {
    Ask::of(IpAddr::V4(Ipv4Addr::from_bits(number)), host::now())
}

/// Who is picked by 200 requests that end at once, or why nobody is.
fn picked(view: &View, tried: &Tried) -> Result<String, Unavailable> {
    let mut dice = Dice::from_seed(1);
    let mut ids = BTreeMap::new();
    for i in 0..200 {
        let taken = view.pools[0].take(&client(i), tried, &mut dice)?;
        ids.insert(taken.node().node.id.clone(), ());
    }
    Ok(ids.keys().map(NodeId::as_str).collect::<Vec<_>>().join(" "))
}

#[test]
fn who_gets_a_request_by_table() {
    use Unavailable::{Full, NoNode};
    for (nodes, open, closed) in [
        (&[("a", "U"), ("b", "G"), ("c", "D"), ("d", "?"), ("e+backup", "U")][..], Ok("a b"), Ok("a b")),
        // Backup nodes when no other is usable; down and unknown ones when nothing else is left.
        (&[("a", "D"), ("b", "?"), ("c+backup", "U"), ("d+backup", "G")], Ok("c d"), Ok("c d")),
        (&[("a", "D"), ("b", "?"), ("c+backup", "D")], Ok("a b c"), Err(NoNode)),
        // What operators took out and what has no address is never used.
        (&[("a", "x"), ("b", "o"), ("c", "n")], Err(NoNode), Err(NoNode)),
        (&[("a", "x"), ("b", "o"), ("c", "n"), ("d", "D")], Ok("d"), Err(NoNode)),
        (&[], Err(NoNode), Err(NoNode)),
        // Suspects are passed over while others are left, backup nodes included.
        (&[("a", "U!"), ("b", "U")], Ok("b"), Ok("b")),
        (&[("a", "U!"), ("b+backup", "U")], Ok("b"), Ok("b")),
        (&[("a", "U!"), ("b+backup", "U!"), ("c", "D")], Ok("a"), Ok("a")),
        (&[("a", "D"), ("b+backup", "U!"), ("c", "D!")], Ok("b"), Ok("b")),
        // A full node is not a down one: no backup node stands in for it, nor a suspect.
        (&[("a/0", "U"), ("b", "U")], Ok("b"), Ok("b")),
        (&[("a/0", "U"), ("b+backup", "U"), ("c", "D"), ("d", "U!")], Err(Full), Err(Full)),
        (&[("a/0", "U!"), ("b+backup", "U")], Ok("b"), Ok("b")),
        (&[("a/0", "U!"), ("b", "D")], Err(Full), Err(Full)),
    ] {
        for (_, strategy) in Strategy::ALL {
            for (panic, expected) in [(Panic::Open, open), (Panic::Closed, closed)] {
                let mut settings = named(strategy);
                settings.panic = panic;
                // `/0` cannot be written: such a node has one place, and it is taken.
                let full: Vec<usize> =
                    nodes.iter().enumerate().filter(|(_, (text, _))| text.contains("/0")).map(|(at, _)| at).collect();
                let texts: Vec<String> = nodes.iter().map(|(text, _)| text.replace("/0", "/1")).collect();
                let nodes: Vec<(&str, &str)> =
                    texts.iter().map(String::as_str).zip(nodes.iter().map(|n| n.1)).collect();
                let view = pool(settings, &nodes);
                for at in full {
                    assert!(view.pools[0].live.try_enter(&view.pools[0].nodes[at].live, 1));
                }
                let got = picked(&view, &Tried::default());
                assert_eq!(got.as_deref(), expected.as_ref().copied(), "{strategy} {panic:?} {nodes:?}");
            }
        }
    }
}

#[test]
fn a_retry_goes_to_another_node_each_time_also_when_the_view_changes_meanwhile() {
    for (_, strategy) in Strategy::ALL {
        let mut view = pool(named(strategy), &[("a", "U"), ("b", "U"), ("c", "U"), ("d+backup", "U"), ("e", "D")]);
        let mut dice = Dice::from_seed(9);
        let mut tried = Tried::default();
        let mut order = Vec::new();
        for round in 0..5 {
            let taken = view.pools[0].take(&client(7), &tried, &mut dice).unwrap();
            tried.add(&taken);
            order.push(taken.node().node.id.to_string());
            drop(taken);
            let vote = if round % 2 == 0 { Health::Degraded } else { Health::Up };
            view = with(&view, observed(&id("b"), Some(vote)), host::now());
        }
        order[..3].sort_unstable();
        assert_eq!(order, ["a", "b", "c", "d", "e"], "{strategy}");
        assert_eq!(picked(&view, &tried), Err(Unavailable::NoNode), "{strategy}");
    }
}

/// Shares of `requests` of which each lasts until `at_once` others have begun.
fn shares(view: &View, requests: u32, at_once: usize) -> Vec<f64> {
    let pool = &view.pools[0];
    let mut dice = Dice::from_seed(0x5eed);
    let mut under_way: Vec<Taken> = Vec::new();
    let mut counts = vec![0_u32; pool.nodes.len()];
    for i in 0..requests {
        if under_way.len() == at_once {
            under_way.swap_remove(dice.below(at_once));
        }
        let client = Ask::of(IpAddr::V4(Ipv4Addr::from_bits(i.wrapping_mul(2_654_435_761))), host::now());
        let taken = pool.take(&client, &Tried::default(), &mut dice).unwrap();
        let at = pool.nodes.iter().position(|node| node.node.id == taken.node().node.id).unwrap();
        counts[at] += 1;
        under_way.push(taken);
    }
    counts.into_iter().map(|count| f64::from(count) / f64::from(requests)).collect()
}

fn assert_near(got: &[f64], expected: &[f64], tolerance: f64, what: &str) {
    assert!(got.iter().zip(expected).all(|(got, expected)| (got - expected).abs() <= tolerance), "{what}: {got:?}");
}

#[test]
fn nodes_get_requests_in_proportion_to_their_weights_with_every_strategy() {
    for (name, strategy) in Strategy::ALL {
        for (weights, at_once) in [(&[1, 2, 3][..], 1), (&[1, 2, 3], 60), (&[5, 1, 1, 2, 1], 1), (&[5, 1, 1, 2, 1], 80)]
        {
            let texts: Vec<String> =
                weights.iter().enumerate().map(|(i, weight)| format!("node-{i}*{weight}")).collect();
            let nodes: Vec<(&str, &str)> = texts.iter().map(|text| (text.as_str(), "U")).collect();
            let sum = f64::from(weights.iter().sum::<i32>());
            let expected: Vec<f64> = match strategy {
                Strategy::Random => weights.iter().map(|_| 1.0 / weights.len() as f64).collect(),
                _ => weights.iter().map(|&weight| f64::from(weight) / sum).collect(),
            };
            let got = shares(&pool(named(strategy), &nodes), 20_000, at_once);
            assert_near(&got, &expected, 0.03, &format!("{name} {weights:?} {at_once} at once"));
        }
    }
}

/// A pool with one node of each latency in ms.
fn with_latencies(settings: Pool, latencies_ms: &[u64]) -> View {
    let texts: Vec<String> = (0..latencies_ms.len()).map(|i| format!("node-{i}")).collect();
    let nodes: Vec<(&str, &str)> = texts.iter().map(|text| (text.as_str(), "U")).collect();
    let view = pool(settings, &nodes);
    let mut changes = Changes::default();
    for (text, &ms) in texts.iter().zip(latencies_ms) {
        let latency = Some(Duration::from_millis(ms));
        let observation = Observation { vote: Some(Health::Up), latency, ..Observation::default() };
        changes.add(&view, Event::Observed { node: key(text), observation });
    }
    view.after(changes, host::now())
}

#[test]
fn latency_counts_with_the_strategies_that_are_named_after_it() {
    let latencies = [10, 100, 250];
    let of = |strategy, at_once| shares(&with_latencies(named(strategy), &latencies), 20_000, at_once);
    assert_near(
        &of(Strategy::WeightedLatency, 1),
        &[190.0 / 291.0, 100.0 / 291.0, 1.0 / 291.0],
        0.02,
        "weighted_latency",
    );
    assert_near(&of(Strategy::LeastLatency, 1), &[1.0, 0.0, 0.0], 0.0, "least_latency of an idle pool");
    let loaded = of(Strategy::LeastLatency, 50);
    assert!(loaded[0] > 0.7 && loaded[1] > 0.05 && loaded[2] > 0.01, "least_latency of a loaded pool: {loaded:?}");
    // Scores with nothing in flight: 100, 85.7 and 71.4.
    assert_near(&of(Strategy::HealthScore, 1), &[0.389, 0.333, 0.278], 0.02, "health_score");
    let mut exact = named(Strategy::HealthScore);
    exact.exact = true;
    assert_near(&shares(&with_latencies(exact, &latencies), 1_000, 1), &[1.0, 0.0, 0.0], 0.0, "the best score");
}

#[test]
fn the_fastest_answers_win_and_a_slow_node_is_measured_again_now_and_then() {
    let view = pool(named(Strategy::LeastResponseTime), &[("a", "U"), ("b", "U"), ("c", "U")]);
    for (node, ms) in view.pools[0].nodes.iter().zip([5, 20, 2_000]) {
        node.live.note_response_time(Duration::from_millis(ms));
    }
    let got = shares(&view, 20_000, 1);
    assert!(got[0] > 0.97 && got[1] > 0.003 && got[2] > 0.003, "{got:?}");
}

#[test]
fn a_pool_above_64_nodes_is_shared_evenly_from_a_few_draws() {
    let texts: Vec<String> = (0..200).map(|i| format!("node-{i}")).collect();
    let nodes: Vec<(&str, &str)> = texts.iter().map(|text| (text.as_str(), "U")).collect();
    for strategy in [Strategy::LeastConnections, Strategy::LeastLatency, Strategy::PowerOfTwo, Strategy::HealthScore] {
        let view = pool(named(strategy), &nodes);
        let mut dice = Dice::from_seed(4);
        let ask = client(1);
        let held: Vec<Taken> =
            (0..2_000).map(|_| view.pools[0].take(&ask, &Tried::default(), &mut dice).unwrap()).collect();
        let most = view.pools[0].nodes.iter().map(|node| node.live.in_flight()).max();
        assert!(most <= Some(14), "{strategy}: {most:?} where 10 are the mean of {}", held.len());
    }
}

#[test]
fn a_client_keeps_its_node_until_that_is_crowded() {
    let nodes: Vec<(&str, &str)> = [("a", "U"), ("b", "U"), ("c", "U"), ("d", "U")].into();
    let view = pool(named(Strategy::ConsistentHash), &nodes);
    let pool = &view.pools[0];
    let mut dice = Dice::from_seed(4);
    let ask = Ask { hash: Some(hash::of(b"/cart")), ..Ask::of(IpAddr::V4(Ipv4Addr::LOCALHOST), host::now()) };
    let take = |dice: &mut Dice| pool.take(&ask, &Tried::default(), dice).unwrap();
    let home = take(&mut dice).node().node.id.clone();
    let few: Vec<Taken> = (0..8).map(|_| take(&mut dice)).collect();
    assert!(few.iter().all(|taken| taken.node().node.id == home), "a browser's few connections stay together");
    let many: Vec<Taken> = (0..192).map(|_| take(&mut dice)).collect();
    for node in &pool.nodes {
        let bound = f64::from(pool.live.in_flight()) / 4.0 * 1.25 + 2.0;
        assert!(f64::from(node.live.in_flight()) <= bound, "{}: {}", node.node.id, node.live.in_flight());
    }
    drop((few, many));
    assert_eq!(take(&mut dice).node().node.id, home);
    // Without it, one other node gets all its keys' requests for this key, and it has them back afterwards.
    let away = with(&view, observed(&home, Some(Health::Down)), host::now());
    let stand_in = away.pools[0].take(&ask, &Tried::default(), &mut dice).unwrap().node().node.id.clone();
    assert_ne!(stand_in, home);
    let back = with(&away, observed(&home, Some(Health::Up)), host::now() + Duration::from_secs(60));
    let back = back.after(Changes::default(), host::now() + Duration::from_secs(200));
    assert_eq!(back.pools[0].take(&ask, &Tried::default(), &mut dice).unwrap().node().node.id, home);
}

#[test]
fn places_are_never_given_out_twice_among_threads() {
    for (_, strategy) in Strategy::ALL {
        let view = pool(named(strategy), &[("a/2", "U"), ("b/1", "U"), ("c*9/3", "U")]);
        let pool = &view.pools[0];
        std::thread::scope(|scope| {
            for seed in 0..4 {
                scope.spawn(move || {
                    let mut dice = Dice::from_seed(seed);
                    for i in 0..2_000 {
                        let Ok(taken) = pool.take(&client(i), &Tried::default(), &mut dice) else { continue };
                        let node = taken.node();
                        assert!(node.live.in_flight() <= node.node.max_connections.get(), "{strategy}");
                    }
                });
            }
        });
        assert_eq!(pool.live.in_flight(), 0);
        let mut dice = Dice::from_seed(8);
        let held: Vec<Taken> =
            std::iter::from_fn(|| pool.take(&client(3), &Tried::default(), &mut dice).ok()).take(9).collect();
        assert_eq!(held.len(), 6, "{strategy}: every place can be had");
        assert_eq!(pool.take(&client(3), &Tried::default(), &mut dice).unwrap_err(), Unavailable::Full);
    }
}

#[test]
fn a_node_that_comes_back_starts_slowly_and_one_among_new_ones_does_not() {
    let started = host::now();
    let view = pool(named(Strategy::RoundRobin), &[("a*10", "U"), ("b*10", "U")]);
    let weights = |view: &View| [0, 1].map(|at| view.pools[0].nodes[at].effective_weight);
    assert_eq!(weights(&view), [10.0, 10.0], "all are new");
    assert_eq!(view.due(), None);

    let later = started + Duration::from_secs(600);
    let down = with(&view, observed(&id("b"), Some(Health::Down)), later);
    let back = with(&down, observed(&id("b"), Some(Health::Up)), later);
    assert_eq!(weights(&back), [10.0, 1.0]);
    assert_eq!(back.due(), Some(later + Duration::from_secs(1)));
    let half = back.after(Changes::default(), later + Duration::from_secs(15));
    assert!((weights(&half)[1] - 5.5).abs() < 1e-9);
    assert_near(&shares(&half, 15_500, 1), &[10.0 / 15.5, 5.5 / 15.5], 0.001, "half way");
    let whole = half.after(Changes::default(), later + Duration::from_secs(30));
    assert_eq!(weights(&whole), [10.0, 10.0]);
    assert_eq!(whole.due(), None);

    let degraded = with(&whole, observed(&id("a"), Some(Health::Degraded)), later + Duration::from_secs(40));
    assert_eq!(weights(&degraded), [5.0, 10.0]);
}

#[test]
fn the_first_view_knows_literal_addresses_and_nothing_else() {
    let catalog = catalog(named(Strategy::Random), &[("a", "?"), ("b", "n")]);
    let now = host::now();
    let view = first(&catalog, alone(), now);
    let states: Vec<(Verdict, usize)> =
        view.pools[0].nodes.iter().map(|node| (node.state.verdict, node.addresses.len())).collect();
    assert_eq!(states, [(Verdict::Unknown, 1), (Verdict::Unknown, 0)]);
    assert_eq!(picked(&view, &Tried::default()).as_deref(), Ok("a"), "nothing better is left");

    let address: SocketAddr = "192.0.2.9:80".parse().unwrap();
    let resolved = Event::Resolved { node: at("b", "no.such.name:80"), addresses: vec![address; 99] };
    assert!(view.is_news(&resolved));
    let view = with(&view, resolved, now);
    assert_eq!(view.node(&id("b")).unwrap().1.addresses, [address; 16]);
    assert!(view.pool(&"p".parse::<PoolName>().unwrap()).is_some() && view.node(&id("c")).is_none());
}

#[test]
fn a_pool_that_is_not_checked_has_its_nodes_up_at_once() {
    let mut settings = named(Strategy::Random);
    settings.check = Check::of(CheckKind::None);
    let view = first(&catalog(settings, &[("a", "U"), ("b", "n")]), alone(), host::now());
    assert!(view.pools[0].nodes.iter().all(|node| node.state.verdict == Verdict::Up));
    assert_eq!(picked(&view, &Tried::default()).as_deref(), Ok("a"));
}

#[test]
fn the_last_verdict_holds_for_half_a_minute_after_the_last_vote() {
    let now = host::now();
    let at = |seconds| now + Duration::from_secs(seconds);
    let verdict = |view: &View| view.pools[0].nodes[0].state.verdict;
    let up = pool(named(Strategy::Random), &[("a", "U")]);
    let silent = with(&up, observed(&id("a"), None), at(100));
    assert_eq!((verdict(&silent), silent.due()), (Verdict::Up, Some(at(130))));
    let gone = silent.after(Changes::default(), at(130));
    assert_eq!((verdict(&gone), gone.due()), (Verdict::Unknown, None));
}

#[test]
fn what_did_not_change_is_taken_over() {
    let mut other = named(Strategy::ConsistentHash);
    other.name = "q".parse().unwrap();
    let pools = [
        catalog(named(Strategy::ConsistentHash), &[("a", "U"), ("b", "U")]).pools()[0].clone(),
        catalog(other, &[("c", "U")]).pools()[0].clone(),
    ];
    let now = host::now();
    let view = first(&Catalog::new(pools.to_vec()).unwrap(), alone(), now);
    let mut observation = Observation { vote: Some(Health::Up), ..Observation::default() };
    let up = with(&view, Event::Observed { node: key("a"), observation: observation.clone() }, now);
    assert!(Arc::ptr_eq(&view.pools[1], &up.pools[1]) && !Arc::ptr_eq(&view.pools[0], &up.pools[0]));
    assert!(!up.pools[0].picks_like(&view.pools[0]));

    // A latency is shown; it does not move a hash table.
    observation.latency = Some(Duration::from_millis(3));
    let event = Event::Observed { node: key("a"), observation };
    assert!(!up.is_news(&event));
    let shown = with(&up, event, now);
    assert_eq!(shown.node(&id("a")).unwrap().1.latency, Some(Duration::from_millis(3)));
    assert!(shown.pools[0].picks_like(&up.pools[0]));
    assert!(Arc::ptr_eq(&shown.pools[0].nodes[1], &up.pools[0].nodes[1]));
    assert!(Arc::ptr_eq(&shown.pools[0].nodes[0].live, &view.pools[0].nodes[0].live), "counts outlive views");
}

#[test]
fn a_node_says_how_it_is_at_this_moment() {
    let view = with_latencies(named(Strategy::Random), &[150]);
    let node = &view.pools[0].nodes[0];
    assert_eq!((node.local(), node.health_score(), node.band().name()), (Local::Admitted, 71.43, "acceptable"));
    node.live.suspect();
    assert_eq!(node.local(), Local::Ejected);
}

#[test]
fn who_wants_one_node_gets_it_or_another_or_nobody_as_strict_and_panic_say() {
    let gets = |how: &str, strict: bool, panic: Panic| {
        let mut settings = named(Strategy::RoundRobin);
        settings.panic = panic;
        let (view, wanted) = (pool(settings, &[("a", how), ("b", "U")]), id("a"));
        let name = view.pools[0].pool.name.clone();
        let node = Some(WantedNode { id: &wanted, strict });
        let wanted = Wanted { node, ..Wanted::one_of(&name, client(1)) };
        let taken = view.take(&wanted, &Tried::default(), &mut Dice::from_seed(1));
        taken.map(|taken| taken.node().node.id.as_str().to_owned()).unwrap_or_default()
    };
    for (how, lenient, strict_open, strict_closed) in [
        ("U", "a", "a", "a"),
        ("G", "a", "a", "a"),
        // A suspicion is no verdict.
        ("U!", "b", "a", "a"),
        ("D", "b", "a", ""),
        ("?", "b", "a", ""),
        ("x", "b", "", ""),
        ("o", "b", "", ""),
    ] {
        let got = [(false, Panic::Open), (true, Panic::Open), (true, Panic::Closed)];
        let got = got.map(|(strict, panic)| gets(how, strict, panic));
        assert_eq!(got, [lenient, strict_open, strict_closed], "{how}");
    }
}
