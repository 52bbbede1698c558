//! Regions that die, and what others take of their traffic.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use cluster_tests::cluster::{Cluster, Shape, Special};
use cluster_tests::environment::is_soak;
use cluster_tests::load::{Load, Outcome, Plan};
use cluster_tests::report;
use cluster_tests::wait::{pause, wait_until};
use evenkeel::host;

const HEALTH: &str =
    "{ type = \"http\", path = \"/health\", interval = \"250ms\", timeout = \"500ms\", rise = 1, fall = 2 }";
/// Requests a second, all peers together.
const RATE: u32 = 200;
/// From the death of a region until new requests are served elsewhere.
const SERVED_WITHIN: Duration = Duration::from_secs(2);
const SERVED_WITHIN_WORST: Duration = Duration::from_secs(3);
/// An answer that took longer is none that a user would call served.
const PROMPT: Duration = Duration::from_secs(1);

/// How a region dies.
#[derive(Clone, Copy, Debug)]
enum Death {
    /// Every process in it is killed: connections are refused.
    Killed,
    /// It is cut off: nothing is answered, and nothing refused.
    CutOff,
}

/// Clients of this region at this peer.
fn plan(cluster: &Cluster, peer: usize, region: &str, rate: u32) -> Plan {
    let request = format!("GET / HTTP/1.1\r\nHost: test\r\nX-Region: {region}\r\n\r\n");
    Plan { request, ..Plan::get(cluster.traffic(peer), rate) }
}

/// Peers believe what the clients' host says of where clients are.
fn listener_lines() -> Vec<String> {
    vec!["trusted_proxies = [\"10.0.0.0/8\"]".to_owned(), "region_header = \"x-region\"".to_owned()]
}

fn nodes(outcomes: &[Outcome]) -> BTreeMap<&str, usize> {
    let mut counts = BTreeMap::new();
    outcomes.iter().filter_map(Outcome::node).for_each(|node| *counts.entry(node).or_default() += 1);
    counts
}

/// Two peers and two nodes in `eu`, one peer and two nodes in `us`. One of the regions dies as a whole; how long until the peers
/// of the other one serve all new requests of both.
fn served_elsewhere_after(death: Death, region: &str) -> Option<Duration> {
    let shape = Shape { peers: 3, nodes: 4, preset: "lan", health: Some(HEALTH) };
    let special = Special {
        peer_regions: vec!["eu", "eu", "us"],
        node_regions: vec!["eu", "eu", "us", "us"],
        listener_lines: listener_lines(),
        pool_lines: vec!["connect_timeout = \"500ms\""],
        ..Special::default()
    };
    let mut cluster = Cluster::start_special(shape, special)?;
    cluster.wait_led(&[0, 1, 2]);
    let (dying, left): (Vec<usize>, Vec<usize>) = (0..3).partition(|&peer| (peer == 2) == (region == "us"));
    let dying_nodes = if region == "us" { [2, 3] } else { [0, 1] };
    let loads: Vec<(usize, Load)> = cluster.client().within(|| {
        let of = |peer: usize| ["eu", "us"].map(|region| (peer, Load::start(&plan(&cluster, peer, region, RATE / 6))));
        (0..3).flat_map(of).collect()
    });
    wait_until("traffic in both regions", || loads.iter().all(|(_, load)| load.count() > 60));
    let died = host::now();
    match death {
        Death::Killed => {
            dying_nodes.iter().for_each(|&node| cluster.kill_node(node));
            dying.iter().for_each(|&peer| cluster.kill_peer(peer));
        }
        Death::CutOff => {
            let gone = dying.iter().map(|&peer| cluster.peer_host(peer));
            let gone: Vec<usize> = gone.chain(dying_nodes.map(|node| cluster.node_host(node))).collect();
            let others = left.iter().map(|&peer| cluster.peer_host(peer));
            let left_nodes = (0..4).filter(|node| !dying_nodes.contains(node)).map(|node| cluster.node_host(node));
            for other in others.chain(left_nodes) {
                gone.iter().for_each(|&host| cluster.network().cut(host, other));
            }
        }
    }
    let mut outcomes = Vec::new();
    pause(Duration::from_secs(6));
    for (peer, load) in loads {
        let of = load.stop();
        if left.contains(&peer) {
            outcomes.extend(of);
        }
    }
    let new = outcomes.iter().filter(|outcome| outcome.due > died);
    let unserved = new.filter(|outcome| !outcome.is_good() || outcome.took() > PROMPT);
    let last = unserved.map(|outcome| outcome.due.saturating_duration_since(died)).max().unwrap_or_default();
    let after: Vec<Outcome> = outcomes.iter().filter(|outcome| outcome.due > died + last).cloned().collect();
    assert!(after.len() > 100, "{} requests", after.len());
    let there: Vec<String> = dying_nodes.iter().map(|node| format!("web-{}", node + 1)).collect();
    assert!(nodes(&after).keys().all(|node| !there.iter().any(|gone| gone == node)), "{:?}", nodes(&after));
    Some(last)
}

fn rounds(region: &str, is_led: &str) {
    for death in [Death::Killed, Death::CutOff] {
        let count = if is_soak() { 10 } else { 1 };
        let mut times = Vec::new();
        for _ in 0..count {
            let Some(time) = served_elsewhere_after(death, region) else { return };
            times.push(time);
        }
        times.sort_unstable();
        let (median, worst) = (times[times.len() / 2], times[times.len() - 1]);
        report::line(&format!("{region} {death:?}, {is_led}: median {median:.2?}, worst {worst:.2?} of {count}"));
        assert!(median <= SERVED_WITHIN && worst <= SERVED_WITHIN_WORST, "{death:?}: {times:?}");
    }
}

#[test]
fn when_a_region_dies_the_other_serves_all_within_two_seconds_with_a_leader() {
    rounds("us", "with a leader");
}

#[test]
fn when_a_region_dies_with_most_peers_the_other_serves_all_within_two_seconds_without_a_leader() {
    rounds("eu", "without a leader");
}

/// Requests a second in each second from the one to the other.
fn per_second(outcomes: &[Outcome], node: &str, from: Instant, to: Instant) -> Vec<usize> {
    let seconds = usize::try_from((to - from).as_secs()).expect("few");
    let mut counts = vec![0; seconds];
    for outcome in outcomes.iter().filter(|outcome| outcome.is_good() && outcome.node() == Some(node)) {
        let second = outcome.due.checked_duration_since(from).map(|since| since.as_secs());
        if let Some(count) = second.and_then(|second| counts.get_mut(usize::try_from(second).ok()?)) {
            *count += 1;
        }
    }
    counts
}

#[test]
fn a_region_of_a_thousand_a_second_that_dies_fills_two_of_six_hundred_to_nine_tenths_and_the_rest_is_told_when_to_come_again()
 {
    let shape = Shape { peers: 3, nodes: 3, preset: "lan", health: Some(HEALTH) };
    let special = Special {
        peer_regions: vec!["eu", "us", "ap"],
        node_regions: vec!["eu", "us", "ap"],
        listener_lines: listener_lines(),
        catalog: "[[region]]\nname = \"eu\"\ncapacity = \"1000/s\"\n[[region]]\nname = \"us\"\ncapacity = \"600/s\"\n\
                  [[region]]\nname = \"ap\"\ncapacity = \"600/s\"\n",
        ..Special::default()
    };
    let Some(mut cluster) = Cluster::start_special(shape, special) else { return };
    let loads: Vec<Load> = cluster.client().within(|| {
        let of = |peer: usize| {
            [("eu", 333), ("us", 40), ("ap", 60)].map(|(region, rate)| Load::start(&plan(&cluster, peer, region, rate)))
        };
        (0..3).flat_map(of).collect()
    });
    // What is measured is an average of about a second.
    pause(Duration::from_secs(6));
    let full = host::now();
    cluster.kill_node(0);
    let killed = host::now();
    pause(Duration::from_secs(12));
    let outcomes: Vec<Outcome> = loads.into_iter().flat_map(Load::stop).collect();
    let before = per_second(&outcomes, "web-1", full - Duration::from_secs(3), full);
    let (from, to) = (killed + Duration::from_secs(2), killed + Duration::from_secs(11));
    let mean = |node: &str| {
        let counts = per_second(&outcomes, node, from, to);
        (counts.iter().sum::<usize>() as f64 / counts.len() as f64, counts)
    };
    let ((us, us_seconds), (ap, ap_seconds)) = (mean("web-2"), mean("web-3"));
    let refused: Vec<&Outcome> =
        outcomes.iter().filter(|outcome| (from..to).contains(&outcome.due) && !outcome.is_good()).collect();
    let refused_rate = refused.len() as f64 / (to - from).as_secs_f64();
    report::line(&format!(
        "eu before: {before:?} a second; after: us {us:.0} {us_seconds:?}, ap {ap:.0} {ap_seconds:?}, refused {refused_rate:.0} a second"
    ));
    for outcome in &refused {
        let answer = outcome.answer.as_ref().expect("an answer, not a broken connection");
        assert_eq!((answer.status, answer.field("retry-after")), (503, Some("1")), "{}", answer.text());
    }
    // A request of each peer may be on either side of the first moment and of the last.
    let most = 540.0 + 3.0 / (to - from).as_secs_f64();
    assert!(us <= most && ap <= most, "nobody is above nine tenths");
    assert!(us >= 480.0 && ap >= 480.0, "and what they can take is used");
    assert!((150.0..=300.0).contains(&refused_rate), "{refused_rate}");
}
