//! Where a node could go: the servers of its region, the best first, and why not the others.

use super::facts::Facts;
use crate::model::limits::CANDIDATES_TOLD_MAX;
use crate::model::{
    By, Candidate, Host, Node, NodeAddress, PlanOutcome, Pool, RegionName, Server, ServerAddress, ServerId,
};

/// A server at which a plan failed is the last choice for so long.
const FAILED_LATELY_MS: u64 = 3_600_000;

/// Servers that may be taken, the best first, and those that may not.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Ranked {
    /// To be probed in this order.
    pub best: Vec<Server>,
    /// Why not.
    pub excluded: Vec<Candidate>,
}

/// What needs a server.
#[derive(Clone, Copy, Debug)]
pub(super) struct Going<'a> {
    /// Which node; `None`: one that is started.
    pub node: Option<&'a Node>,
    /// Its pool.
    pub pool: &'a Pool,
    /// Where.
    pub region: &'a RegionName,
    /// By what.
    pub by: &'a By,
    /// An operator named it.
    pub only: Option<&'a ServerId>,
}

/// The servers that this node may go to.
///
/// First come those at which no plan failed within the hour, and that did not fail a probe lately; of these those with the fewest nodes; of
/// these those at which the fewest plans failed that are remembered; of these the first of the catalog.
pub(super) fn rank(going: &Going<'_>, is_doubted: impl Fn(&ServerId) -> bool, facts: &Facts<'_>) -> Ranked {
    let mut ranked = Ranked::default();
    let mut best = Vec::new();
    for (at, server) in facts.catalog.servers().iter().enumerate() {
        let is_named = going.only.is_none_or(|only| *only == server.id);
        // Of other regions nobody wants to know.
        if !is_named || (server.region != *going.region && going.only.is_none()) {
            continue;
        }
        match excluded(server, going, facts) {
            Some(found) if ranked.excluded.len() < CANDIDATES_TOLD_MAX => {
                ranked.excluded.push(Candidate { server: server.id.clone(), found });
            }
            Some(_) => {}
            None => {
                let is_last = is_doubted(&server.id) || failures_on(server, Some(FAILED_LATELY_MS), facts) > 0;
                best.push((is_last, nodes_on(server, facts), failures_on(server, None, facts), at, server));
            }
        }
    }
    best.sort_by_key(|(is_last, nodes, failures, at, _)| (*is_last, *nodes, *failures, *at));
    ranked.best = best.into_iter().map(|(.., server)| server.clone()).collect();
    ranked
}

/// Why a server may not be taken.
pub(super) fn excluded(server: &Server, going: &Going<'_>, facts: &Facts<'_>) -> Option<String> {
    if facts.catalog.server(&server.id).is_none() {
        return Some("it is not in the catalog any more".to_owned());
    }
    if server.region != *going.region {
        return Some(format!("it is in region \"{}\"", server.region));
    }
    if facts.managed.is_blacklisted(&server.id, facts.wall_now_ms) {
        let reason = facts.managed.servers.get(&server.id).map(|said| said.reason.as_str()).unwrap_or_default();
        return Some(if reason.is_empty() { "blacklisted".to_owned() } else { format!("blacklisted: {reason}") });
    }
    let node = going.node?;
    if node.server.as_ref() == Some(&server.id) {
        return Some("the node stands on it".to_owned());
    }
    if *going.by == By::Static {
        let address = address_on(&server.address, &node.address);
        if address == node.address {
            return Some("the node is there".to_owned());
        }
        if let Some(other) = going.pool.nodes.iter().find(|other| other.id != node.id && other.address == address) {
            return Some(format!("node \"{}\" is at {address}", other.id));
        }
    }
    None
}

/// Where a node is reached that is moved by the catalog alone: at the server, with its port, or the node's own.
pub(super) fn address_on(server: &ServerAddress, node: &NodeAddress) -> NodeAddress {
    let port = server.port.map_or(node.port, std::num::NonZeroU16::get);
    NodeAddress { tls: node.tls, host: Host::clone(&server.host), port }
}

fn nodes_on(server: &Server, facts: &Facts<'_>) -> usize {
    facts.catalog.nodes().filter(|(_, node)| node.server.as_ref() == Some(&server.id)).count()
}

/// Plans that failed there, of those that are remembered; `lately`: within so many milliseconds, by the clocks of those who led.
fn failures_on(server: &Server, lately_ms: Option<u64>, facts: &Facts<'_>) -> usize {
    let failed = |outcome| matches!(outcome, PlanOutcome::RolledBack | PlanOutcome::Failed);
    let is_late =
        |ended_ms: u64| lately_ms.is_none_or(|lately_ms| facts.wall_now_ms.saturating_sub(ended_ms) < lately_ms);
    let attempts = facts.managed.attempts.iter().filter(|attempt| is_late(attempt.ended_ms));
    attempts.filter(|attempt| attempt.intent.to.as_ref() == Some(&server.id) && failed(attempt.outcome)).count()
}
