//! What each peer tells the leader about itself. It travels as JSON.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering::Relaxed;

use serde::{Deserialize, Serialize};

use super::facts::RegionFacts;
use crate::driver::Described;
use crate::model::{Admin, RegionName};
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
pub(super) fn regions<'r>(view: &View, reports: impl Iterator<Item = &'r Report>) -> BTreeMap<RegionName, RegionFacts> {
    let mut regions: BTreeMap<RegionName, RegionFacts> = BTreeMap::new();
    for node in view.pools().flat_map(|pool| &pool.nodes) {
        if node.node.backup || node.node.admin != Admin::Enabled {
            continue;
        }
        let region = node.node.region.as_ref().unwrap_or(view.regions().own());
        let facts = regions.entry(region.clone()).or_default();
        facts.nodes += 1;
        facts.usable += u32::from(node.is_usable());
    }
    for (region, traffic) in reports.flat_map(|report| &report.regions) {
        if let Some(facts) = regions.get_mut(region) {
            facts.answers += traffic.answers;
            facts.errors += traffic.errors;
        }
    }
    regions
}
