//! A node is killed under load and comes back, with checks as they ship: no idempotent request fails, and it is used again at
//! once.

use std::time::{Duration, Instant};

use cluster_tests::front::Front;
use cluster_tests::load::{Load, Offered, Outcome, Plan, failures};
use cluster_tests::node::NodeProcess;
use cluster_tests::raw::get_once;
use cluster_tests::report;
use cluster_tests::settings::{Pool, Settings};
use cluster_tests::wait::{PATIENCE, wait_for, wait_until};
use evenkeel::host;

const REQUESTS_PER_SECOND: u32 = 500;
/// What of the rate may be missing, or too much, on a busy machine.
const RATE_TOLERANCE: f64 = 0.02;
/// Requests without an answer of the killed node after which it counts as left alone: more than a second's.
const REQUESTS_WITHOUT: usize = 600;

/// When the node of this name answered first, of the outcomes from `from` on.
fn first_answer_of(outcomes: &[Outcome], name: &str, from: usize) -> Option<Instant> {
    outcomes[from..].iter().find(|outcome| outcome.node() == Some(name)).map(|outcome| outcome.ended)
}

#[test]
fn no_idempotent_request_fails_when_a_node_is_killed() {
    let names = ["a", "b", "c"];
    let mut nodes = names.map(NodeProcess::start);
    let pool = Pool::new("web").nodes(nodes.iter().map(NodeProcess::address));
    let Some(front) = Front::start(&Settings::default().serve("http", pool)) else { return };
    let began = host::now();
    let load = Load::start(&Plan::get(front.listener("web"), REQUESTS_PER_SECOND));
    wait_until("traffic at every node", || {
        load.look(|outcomes| {
            let answers = |name| outcomes.iter().filter(|outcome| outcome.node() == Some(name)).count();
            names.iter().all(|&name| answers(name) > 50)
        })
    });

    let mut back_within = Vec::new();
    for (node, name) in nodes.iter_mut().zip(names) {
        let killed_at = host::now();
        node.kill();
        let last_answer = || {
            load.look(|outcomes| {
                let at = outcomes.iter().rposition(|outcome| outcome.node() == Some(name))?;
                (outcomes.len() - at > REQUESTS_WITHOUT).then(|| outcomes[at].sent)
            })
        };
        let (last, _) = wait_for("the node to be left alone", PATIENCE, last_answer);

        let count = load.count();
        node.restart();
        wait_for("an answer of the node itself", PATIENCE, || get_once(node.address(), "/health"));
        let answered_at = host::now();
        let (first, _) = wait_for("traffic at the node that came back", PATIENCE, || {
            load.look(|outcomes| first_answer_of(outcomes, name, count))
        });
        let back = first.saturating_duration_since(answered_at);
        report::line(&format!(
            "killed {name}: its last answer was to a request sent {:?} after; back: traffic {back:?} after its first answer",
            last.saturating_duration_since(killed_at),
        ));
        back_within.push(back);
    }
    let outcomes = load.stop();
    let ran = began.elapsed();

    let offered = Offered::of(&outcomes);
    let failed = failures(&outcomes, usize::MAX);
    report::figure("offered", offered);
    report::figure("failed", failed.len());
    let ended = outcomes.iter().filter(|outcome| outcome.reconnected).count();
    report::figure("kept connections that ended between two requests", ended);
    let slowest = outcomes.iter().map(Outcome::took).max().unwrap_or_default();
    report::figure("slowest answer", format!("{slowest:?}"));

    let (rate, due) = (f64::from(REQUESTS_PER_SECOND), f64::from(REQUESTS_PER_SECOND) * ran.as_secs_f64());
    assert!((offered.rate() / rate - 1.0).abs() < RATE_TOLERANCE, "{offered}");
    assert!((offered.requests as f64 / due - 1.0).abs() < RATE_TOLERANCE, "{offered}, and {due:.0} were due");
    let Front::Evenkeel(peer) = &front else { return };
    let counted = &peer.json("/api/health/detailed")["listeners"][0]["counts"]["requests_total"];
    assert_eq!(counted.as_u64(), Some(outcomes.len() as u64), "each request was sent once");
    assert_eq!(ended, 0, "the peer ends no client's connection because a node died");
    assert!(failed.is_empty(), "{}", failed[..failed.len().min(10)].join("\n"));
    assert!(back_within.iter().all(|&took| took <= Duration::from_secs(1)), "{back_within:?}");
}
