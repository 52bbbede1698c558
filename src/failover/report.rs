//! What each peer tells the leader about itself. It travels as JSON.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering::Relaxed;

use serde::{Deserialize, Serialize};

use super::facts::RegionFacts;
use crate::catalog::Managed;
use crate::driver::Described;
use crate::model::{PeerId, RegionName};
use crate::view::View;

/// What a peer can carry out, and what its traffic met.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Report {
    /// Its drivers, with the nodes that they have.
    #[serde(default)]
    pub executor: Described,
    /// What its traffic met in each region.
    #[serde(default)]
    pub regions: BTreeMap<RegionName, Traffic>,
}

/// What one peer's traffic met in a region since that peer began.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Traffic {
    /// Answers of nodes, and connections and exchanges that failed.
    pub answers: u64,
    /// Those of them that were errors: 5xx, and all that failed.
    pub errors: u64,
}

/// What this peer's traffic met.
pub(super) fn traffic(view: &View) -> BTreeMap<RegionName, Traffic> {
    let mut regions: BTreeMap<RegionName, Traffic> = BTreeMap::new();
    for node in view.pools().flat_map(|pool| &pool.nodes) {
        let counts = &node.live.counts;
        let answers: u64 = counts.answers.iter().map(|count| count.load(Relaxed)).sum();
        let failed: u64 = [&counts.connect_failures, &counts.exchange_failures, &counts.timeouts]
            .map(|count| count.load(Relaxed))
            .iter()
            .sum();
        let server_errors = counts.answers.last().map_or(0, |count| count.load(Relaxed));
        let region = node.node.region.as_ref().unwrap_or(view.regions().own());
        let traffic = regions.entry(region.clone()).or_default();
        traffic.answers += answers + failed;
        traffic.errors += server_errors + failed;
    }
    regions
}

/// Every region with a node, as this peer sees its nodes, and as the traffic of all peers met them.
pub(super) fn regions(view: &View, managed: &Managed, tally: &Tally) -> BTreeMap<RegionName, RegionFacts> {
    let mut regions: BTreeMap<RegionName, RegionFacts> = BTreeMap::new();
    for node in view.pools().flat_map(|pool| &pool.nodes) {
        let region = node.node.region.as_ref().unwrap_or(view.regions().own());
        regions.entry(region.clone()).or_default().add(&node.node, node.is_usable(), managed);
    }
    for (region, traffic) in &tally.regions {
        if let Some(facts) = regions.get_mut(region) {
            (facts.answers, facts.errors) = (traffic.answers, traffic.errors);
        }
    }
    regions
}

/// What the traffic of all peers met since this leader heard of each for the first time. Peers count since they began, so only what is between
/// two of their reports is told of now.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    heard: BTreeMap<PeerId, BTreeMap<RegionName, Traffic>>,
    regions: BTreeMap<RegionName, Traffic>,
}

impl Tally {
    /// Takes a peer's report in.
    pub(super) fn hear(&mut self, peer: &PeerId, report: &Report) {
        let Some(before) = self.heard.insert(peer.clone(), report.regions.clone()) else { return };
        for (region, now) in &report.regions {
            let before = before.get(region).copied().unwrap_or_default();
            // Less than before: the peer was started anew, and has counted that since.
            let before = if now.answers < before.answers { Traffic::default() } else { before };
            let all = self.regions.entry(region.clone()).or_default();
            all.answers += now.answers.saturating_sub(before.answers);
            all.errors += now.errors.saturating_sub(before.errors);
        }
    }

    /// Forgets peers that are none any more.
    pub(super) fn keep(&mut self, is_member: impl Fn(&PeerId) -> bool) {
        self.heard.retain(|peer, _| is_member(peer));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_peer_met_before_this_leader_heard_of_it_or_before_it_was_started_anew_is_not_told_of_now() {
        let mut tally = Tally::default();
        let mut hear = |peer: &str, answers: u64, errors: u64| {
            let regions = [("us".parse().unwrap(), Traffic { answers, errors })].into();
            tally.hear(&peer.parse().unwrap(), &Report { regions, ..Report::default() });
            let all = tally.regions.get("us").copied().unwrap_or_default();
            (all.answers, all.errors)
        };
        assert_eq!(hear("p1", 1_000, 900), (0, 0));
        assert_eq!(hear("p1", 1_010, 901), (10, 1));
        assert_eq!(hear("p2", 5_000, 0), (10, 1));
        assert_eq!(hear("p2", 5_100, 2), (110, 3));
        assert_eq!(hear("p1", 30, 0), (140, 3), "it was started anew");
        assert_eq!(hear("p1", 35, 1), (145, 4));
    }
}
