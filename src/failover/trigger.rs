//! Why a node is moved: each reason is a row of one table.

use std::time::{Duration, Instant};

use super::facts::NodeFacts;
use crate::balance::score::Band;
use crate::model::{Failover, Verdict};

/// What is measured may be missing for so long, and counts as it was: an engine that has much to do is late.
pub(super) const MISSING_MAX: Duration = Duration::from_secs(10);

/// Since when each row has held without a break.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Watch {
    held: [Option<Held>; ROWS.len()],
}

#[derive(Clone, Copy, Debug)]
struct Held {
    since: Instant,
    /// When it was last seen to hold.
    seen: Instant,
}

/// What a row says of this moment.
#[derive(Debug)]
enum Seen {
    Holds(String),
    No,
    /// It is not measured at this moment.
    NotKnown,
}

impl Seen {
    /// It holds where there is something to say.
    fn of(words: Option<String>) -> Self {
        words.map_or(Self::No, Self::Holds)
    }
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
    /// What is seen at this moment.
    sees: fn(&NodeFacts, &Failover) -> Seen,
    /// How long it has to.
    lasts: fn(&Failover) -> Duration,
}

/// The first that holds is the reason that is told.
const ROWS: [Row; 5] = [
    Row {
        name: "verdict_down",
        sees: |node, _| {
            let is_down = node.verdict == Verdict::Down;
            Seen::of(is_down.then(|| format!("the cluster says down: {}", node.last_result)))
        },
        lasts: |failover| failover.down_for,
    },
    Row {
        name: "endpoints_unreachable",
        sees: |node, _| match node.reaches_endpoints {
            Some(false) => Seen::Holds("no test endpoint can be reached through it".to_owned()),
            Some(true) => Seen::No,
            None => Seen::NotKnown,
        },
        lasts: |failover| failover.down_for,
    },
    Row {
        name: "score_critical",
        sees: |node, _| {
            let Some(score) = node.score else { return Seen::NotKnown };
            let is_critical = Band::of(score) == Band::Critical;
            Seen::of(is_critical.then(|| format!("its health score is {score:.1}, which is critical")))
        },
        lasts: |failover| failover.hot_for,
    },
    Row {
        name: "cpu",
        sees: |node, failover| above("CPU", "%", node.cpu_percent, failover.cpu_percent),
        lasts: |failover| failover.hot_for,
    },
    Row {
        name: "memory",
        sees: |node, failover| above("memory", "MB", node.memory_mb, failover.memory_mb),
        lasts: |failover| failover.hot_for,
    },
];

fn above(what: &str, unit: &str, is: Option<f64>, most: Option<f64>) -> Seen {
    match (is, most) {
        (_, None) => Seen::No,
        (None, _) => Seen::NotKnown,
        (Some(is), Some(most)) => {
            Seen::of((is > most).then(|| format!("{what} is {is:.0} {unit}, more than {most} {unit}")))
        }
    }
}

impl Watch {
    /// Looks at a node, and says why it is to be moved, if it is.
    pub(super) fn look(&mut self, node: &NodeFacts, failover: &Failover, now: Instant) -> Option<Reason> {
        let mut reason = None;
        for (row, held) in ROWS.iter().zip(&mut self.held) {
            let seen = match (row.sees)(node, failover) {
                Seen::Holds(seen) => seen,
                Seen::No => {
                    *held = None;
                    continue;
                }
                Seen::NotKnown => {
                    *held = held.filter(|held| now.saturating_duration_since(held.seen) < MISSING_MAX);
                    continue;
                }
            };
            let Held { since, seen: last } = held.get_or_insert(Held { since: now, seen: now });
            *last = now;
            let lasts = (row.lasts)(failover);
            let held = now.saturating_duration_since(*since);
            if reason.is_none() && held >= lasts {
                let evidence = if lasts.is_zero() { seen } else { format!("{seen}, for {} s", held.as_secs()) };
                reason = Some(Reason { trigger: row.name, evidence });
            }
        }
        reason
    }

    /// Whether nothing holds.
    pub(super) fn is_quiet(&self) -> bool {
        self.held.iter().all(Option::is_none)
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
            let cool = NodeFacts { cpu_percent: Some(1.0), memory_mb: Some(1.0), score: Some(99.0), ..node() };
            assert_eq!(trigger(&mut watch, &cool, at(301)), None);
            assert_eq!(trigger(&mut watch, &hot, at(302)), None, "it begins anew");
        }
        // What is not measured for a moment is as it was.
        let hot = NodeFacts { cpu_percent: Some(91.0), ..node() };
        let mut watch = Watch::default();
        assert_eq!(trigger(&mut watch, &hot, at(0)), None);
        assert_eq!(trigger(&mut watch, &node(), at(9)), None);
        assert_eq!(trigger(&mut watch, &hot, at(11)), None);
        assert_eq!(trigger(&mut watch, &hot, at(300)), Some("cpu"));
        assert_eq!(trigger(&mut watch, &node(), at(310)), None);
        assert_eq!(trigger(&mut watch, &hot, at(311)), None, "it was not measured for too long");
        let cool = NodeFacts { cpu_percent: Some(50.0), ..node() };
        assert_eq!(trigger(&mut watch, &cool, at(312)), None);
        assert!(watch.is_quiet());
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
