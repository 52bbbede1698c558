//! What a pick costs: every strategy, 3 to 10,000 nodes, while another thread picks, gives back and measures at the same
//! nodes. Prints the median and the 99th percentile of single picks, with the cost of reading the clock taken off. Then
//! what it costs to build the next view when the verdict on one node of 10,000 changes.
//!
//! `cargo bench --bench pick`

#![expect(clippy::print_stdout, reason = "it is there to print")]

use std::collections::VecDeque;
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use evenkeel::balance::hash;
use evenkeel::host::{Dice, now};
use evenkeel::model::{
    Catalog, Check, CheckKind, Health, Member, Members, Node, NodeAddress, NodeKey, Observation, Pool, RegionName,
    Strategy, Weight,
};
use evenkeel::view::{Ask, Changes, Event, PoolView, Taken, Tried, View, first};

const SIZES: [u16; 4] = [3, 64, 1_000, 10_000];
const PICKS: usize = 100_000;
/// Places that each thread holds at a time, so that nodes differ in load.
const HELD: usize = 2_000;

fn main() {
    // Cargo hands over flags such as `--bench`; there is nothing to choose.
    let clock = clock_cost();
    println!("pick: ns p50 / p99 of {PICKS} single picks, counts changing (clock: {} ns taken off)", clock.as_nanos());
    print!("{:24}", "nodes");
    for size in SIZES {
        print!("{size:>16}");
    }
    println!();
    let strategies = Strategy::ALL.into_iter().map(|(name, strategy)| (name.to_owned(), strategy, false));
    for (name, strategy, exact) in strategies.chain([("health_score exact".to_owned(), Strategy::HealthScore, true)]) {
        print!("{name:24}");
        for size in SIZES {
            let view = view(strategy, exact, size);
            let (p50, p99) = measure(view.pools().next().expect("the pool"), clock);
            print!("{:>16}", format!("{p50} / {p99}"));
        }
        println!();
    }
    for (name, strategy) in Strategy::ALL {
        println!("next view of 10000 nodes, {name}: {} us", build_cost(strategy).as_micros());
    }
}

/// The median time of ten changes of one verdict.
fn build_cost(strategy: Strategy) -> Duration {
    let mut view = view(strategy, false, 10_000);
    let node = view.pools().next().expect("the pool").nodes[7].key;
    let mut times: Vec<Duration> = [Health::Down, Health::Up]
        .into_iter()
        .cycle()
        .take(10)
        .map(|health| {
            let observation = Observation { vote: Some(health), ..Observation::default() };
            let before = now();
            let mut changes = Changes::default();
            changes.add(&view, Event::Observed { node, observation });
            view = view.after(changes, before);
            now().duration_since(before)
        })
        .collect();
    times.sort_unstable();
    times[5]
}

/// A pool in which every node is up, with weights of 1 to 10 and latencies of 0 to 99 ms.
fn view(strategy: Strategy, exact: bool, size: u16) -> View {
    let mut pool = Pool::new("bench".parse().expect("a name"));
    pool.strategy = strategy;
    pool.exact = exact;
    pool.check = Check::of(CheckKind::None);
    for i in 0..size {
        let [high, low] = i.to_be_bytes();
        let address = NodeAddress::from(std::net::SocketAddr::from((Ipv4Addr::new(10, 0, high, low), 80)));
        let mut node = Node::new(format!("node-{i}").parse().expect("an id"), address);
        node.weight = Weight::new(1 + i % 10).expect("a weight");
        // No node is ever full: waiting is not what is measured here.
        node.max_connections = NonZeroU32::MAX;
        pool.nodes.push(node);
    }
    let view = first(&Catalog::new(vec![pool.clone()]).expect("a catalog"), alone(), now());
    let mut changes = Changes::default();
    for (i, node) in pool.nodes.iter().enumerate() {
        let latency = Some(Duration::from_millis(i as u64 % 100));
        let observation = Observation { vote: Some(Health::Up), latency, ..Observation::default() };
        changes.add(&view, Event::Observed { node: NodeKey::of(&node.id, &node.address), observation });
    }
    view.after(changes, now())
}

/// A cluster of one.
fn alone() -> Arc<Members> {
    Arc::new(Members::alone(Member { id: "own".parse().expect("a name"), region: RegionName::default() }))
}

fn ask(dice: &mut Dice) -> Ask {
    let bits = dice.bits().to_le_bytes();
    Ask { hash: Some(hash::of(&bits[..4])), ..Ask::of(IpAddr::V4(Ipv4Addr::new(10, bits[0], bits[1], bits[2])), now()) }
}

fn measure(pool: &Arc<PoolView>, clock: Duration) -> (u128, u128) {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut dice = Dice::from_seed(2);
            let mut held = VecDeque::new();
            while !stop.load(Relaxed) {
                turn_over(pool, &mut held, &mut dice);
            }
        });
        let mut dice = Dice::from_seed(1);
        let mut held = VecDeque::new();
        let mut times = Vec::with_capacity(PICKS);
        for _ in 0..PICKS {
            let ask = ask(&mut dice);
            let tried = Tried::default();
            let before = now();
            let taken = black_box(pool.take(&ask, &tried, &mut dice));
            times.push(now().duration_since(before).saturating_sub(clock));
            keep(taken.ok(), &mut held);
        }
        stop.store(true, Relaxed);
        times.sort_unstable();
        (times[PICKS / 2].as_nanos(), times[PICKS / 100 * 99].as_nanos())
    })
}

fn turn_over(pool: &Arc<PoolView>, held: &mut VecDeque<Taken>, dice: &mut Dice) {
    let taken = pool.take(&ask(dice), &Tried::default(), dice).ok();
    if let Some(taken) = &taken {
        taken.node().live.note_response_time(Duration::from_micros(500 + dice.below(1_000) as u64));
        taken.node().live.counts.requests.fetch_add(1, Relaxed);
    }
    keep(taken, held);
}

fn keep(taken: Option<Taken>, held: &mut VecDeque<Taken>) {
    held.extend(taken);
    if held.len() > HELD {
        held.pop_front();
    }
}

/// The median time between two looks at the clock.
fn clock_cost() -> Duration {
    let mut times: Vec<Duration> = (0..10_001)
        .map(|_| {
            let before = now();
            now().duration_since(before)
        })
        .collect();
    times.sort_unstable();
    times[5_000]
}
