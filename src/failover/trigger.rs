//! Why a node is moved: each reason is a row of one table.

use std::time::{Duration, Instant};

use super::facts::NodeFacts;
use crate::balance::score::Band;
use crate::model::{Failover, Verdict};

/// Since when each row has held without a break.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Watch {
    since: [Option<Instant>; ROWS.len()],
}

/// A reason that has held for long enough.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Reason {
    /// The row.
    pub trigger: &'static str,
    /// What was seen, in words.
    pub evidence: String,
}

/// An operator asks for it.
pub(super) const FORCED: &str = "forced";

struct Row {
    name: &'static str,
    /// What is seen, where it holds at this moment.
    holds: fn(&NodeFacts, &Failover) -> Option<String>,
    /// How long it has to.
    lasts: fn(&Failover) -> Duration,
}

/// The first that holds is the reason that is told.
const ROWS: [Row; 5] = [
    Row {
        name: "verdict_down",
        holds: |node, _| {
            (node.verdict == Verdict::Down).then(|| format!("the cluster says down: {}", node.last_result))
        },
        lasts: |failover| failover.down_for,
    },
    Row {
        name: "endpoints_unreachable",
        holds: |node, _| {
            (node.reaches_endpoints == Some(false)).then(|| "no test endpoint can be reached through it".to_owned())
        },
        lasts: |failover| failover.down_for,
    },
    Row {
        name: "score_critical",
        holds: |node, _| {
            let score = node.score.filter(|score| Band::of(*score) == Band::Critical)?;
            Some(format!("its health score is {score:.1}, which is critical"))
        },
        lasts: |failover| failover.hot_for,
    },
    Row {
        name: "cpu",
        holds: |node, failover| above("CPU", "%", node.cpu_percent, failover.cpu_percent),
        lasts: |failover| failover.hot_for,
    },
    Row {
        name: "memory",
        holds: |node, failover| above("memory", "MB", node.memory_mb, failover.memory_mb),
        lasts: |failover| failover.hot_for,
    },
];

fn above(what: &str, unit: &str, is: Option<f64>, most: Option<f64>) -> Option<String> {
    let (is, most) = (is?, most?);
    (is > most).then(|| format!("{what} is {is:.0} {unit}, more than {most} {unit}"))
}

impl Watch {
    /// Looks at a node, and says why it is to be moved, if it is.
    pub(super) fn look(&mut self, node: &NodeFacts, failover: &Failover, now: Instant) -> Option<Reason> {
        let mut reason = None;
        for (row, since) in ROWS.iter().zip(&mut self.since) {
            let Some(seen) = (row.holds)(node, failover) else {
                *since = None;
                continue;
            };
            let since = *since.get_or_insert(now);
            let lasts = (row.lasts)(failover);
            let held = now.saturating_duration_since(since);
            if reason.is_none() && held >= lasts {
                let evidence = if lasts.is_zero() { seen } else { format!("{seen}, for {} s", held.as_secs()) };
                reason = Some(Reason { trigger: row.name, evidence });
            }
        }
        reason
    }

    /// Whether nothing holds.
    pub(super) fn is_quiet(&self) -> bool {
        self.since.iter().all(Option::is_none)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host;

    fn node() -> NodeFacts {
        NodeFacts { verdict: Verdict::Up, ..NodeFacts::at("192.0.2.1:80".parse().unwrap()) }
    }

    fn trigger(watch: &mut Watch, node: &NodeFacts, now: Instant) -> Option<&'static str> {
        watch.look(node, &Failover::default(), now).map(|reason| reason.trigger)
    }

    #[test]
    fn a_node_that_is_down_is_moved_at_once_and_one_that_is_hot_when_it_lasts() {
        let begin = host::now();
        let at = |seconds| begin + Duration::from_secs(seconds);
        let mut watch = Watch::default();
        assert_eq!(trigger(&mut watch, &node(), at(0)), None);
        assert!(watch.is_quiet());
        let down = NodeFacts { verdict: Verdict::Down, ..node() };
        assert_eq!(trigger(&mut watch, &down, at(1)), Some("verdict_down"));
        for (name, hot) in [
            ("cpu", NodeFacts { cpu_percent: Some(91.0), ..node() }),
            ("memory", NodeFacts { memory_mb: Some(1_001.0), ..node() }),
            ("score_critical", NodeFacts { score: Some(59.9), ..node() }),
        ] {
            let mut watch = Watch::default();
            assert_eq!(trigger(&mut watch, &hot, at(0)), None);
            assert_eq!(trigger(&mut watch, &hot, at(299)), None);
            assert_eq!(trigger(&mut watch, &hot, at(300)), Some(name));
            assert_eq!(trigger(&mut watch, &node(), at(301)), None);
            assert_eq!(trigger(&mut watch, &hot, at(302)), None, "it begins anew");
        }
        let lost = NodeFacts { reaches_endpoints: Some(false), ..node() };
        assert_eq!(trigger(&mut Watch::default(), &lost, at(0)), Some("endpoints_unreachable"));
    }

    #[test]
    fn a_row_that_is_not_fed_or_switched_off_moves_nobody() {
        let begin = host::now();
        let hot = NodeFacts { cpu_percent: Some(100.0), memory_mb: Some(1e6), ..node() };
        let never = Failover { cpu_percent: None, memory_mb: None, ..Failover::default() };
        let mut watch = Watch::default();
        assert_eq!(watch.look(&hot, &never, begin), None);
        assert_eq!(watch.look(&hot, &never, begin + Duration::from_secs(3_600)), None);
        let unknown = NodeFacts { verdict: Verdict::Unknown, ..node() };
        assert_eq!(watch.look(&unknown, &Failover::default(), begin), None);
    }
}
