//! A node is killed under load and comes back: no idempotent request fails, and it is used again at once.

use std::time::Duration;

use cluster_tests::front::Front;
use cluster_tests::load::{Load, Plan, failures};
use cluster_tests::node::NodeProcess;
use cluster_tests::raw::get_once;
use cluster_tests::report;
use cluster_tests::settings::{Pool, Settings};
use cluster_tests::wait::{PATIENCE, pause, wait_for, wait_until};
use evenkeel::host;

const REQUESTS_PER_SECOND: u32 = 500;

#[test]
fn no_idempotent_request_fails_when_a_node_is_killed() {
    let mut nodes = ["a", "b", "c"].map(NodeProcess::start);
    let pool = Pool::new("web").checked_fast().nodes(nodes.iter().map(NodeProcess::address));
    let Some(front) = Front::start(&Settings::default().serve("http", pool)) else { return };
    let load = Load::start(&Plan::get(front.listener("web"), REQUESTS_PER_SECOND));
    let answered_by = |load: &Load, name: &str, from: usize| {
        load.so_far()[from..].iter().filter(|outcome| outcome.node() == Some(name)).count()
    };
    wait_until("traffic at every node", || ["a", "b", "c"].iter().all(|name| answered_by(&load, name, 0) > 50));

    let mut back_within = Vec::new();
    for round in 0..3 {
        let killed_at = host::now();
        nodes[round].kill();
        pause(Duration::from_millis(1_200));
        let name = ["a", "b", "c"][round];
        let last =
            load.so_far().iter().filter(|outcome| outcome.node() == Some(name)).map(|outcome| outcome.sent).max();
        let last = last.map_or(Duration::ZERO, |last| last.saturating_duration_since(killed_at));
        let count = load.count();

        nodes[round].restart();
        wait_for("an answer of the node itself", PATIENCE, || get_once(nodes[round].address(), "/health"));
        let (_, took) = wait_for("traffic at the node that came back", PATIENCE, || {
            (answered_by(&load, name, count) > 0).then_some(())
        });
        report::line(&format!(
            "killed {name}: its last answer was to a request sent {last:?} after; back: traffic after {took:?}"
        ));
        back_within.push(took);
    }
    let outcomes = load.stop();
    let failed = failures(&outcomes, 10);
    let slowest = outcomes.iter().map(|outcome| outcome.took).max().unwrap_or_default();
    report::figure("requests", outcomes.len());
    report::figure("failed", failures(&outcomes, usize::MAX).len());
    report::figure("asked again on another connection", outcomes.iter().filter(|outcome| outcome.asked_again).count());
    report::figure("slowest answer", format!("{slowest:?}"));
    if front.is_peer() {
        assert!(failed.is_empty(), "{}", failed.join("\n"));
        assert!(back_within.iter().all(|&took| took <= Duration::from_secs(1)), "{back_within:?}");
    }
}
