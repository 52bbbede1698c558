//! Where a node could go: the servers of its region, the best first, and why not the others.

use super::facts::Facts;
use crate::model::{
    By, Candidate, Host, Node, NodeAddress, PlanOutcome, Pool, RegionName, Server, ServerAddress, ServerId,
};

/// Servers that may be taken, the best first, and those that may not.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Ranked {
    /// To be probed in this order.
    pub best: Vec<Server>,
    /// Why not.
    pub excluded: Vec<Candidate>,
}

/// The servers that this node may go to. `only`: an operator named it.
///
/// The best is the one with the fewest nodes, of these the one at which the fewest plans failed that are remembered, of these the first
/// of the catalog.
pub(super) fn rank(
    node: &Node,
    pool: &Pool,
    region: &RegionName,
    by: &By,
    only: Option<&ServerId>,
    facts: &Facts<'_>,
) -> Ranked {
    let mut ranked = Ranked::default();
    let mut best = Vec::new();
    for (at, server) in facts.catalog.servers().iter().enumerate() {
        let is_named = only.is_none_or(|only| *only == server.id);
        // Of other regions nobody wants to know.
        if !is_named || (server.region != *region && only.is_none()) {
            continue;
        }
        match excluded(server, node, pool, region, by, facts) {
            Some(why) => ranked.excluded.push(Candidate { server: server.id.clone(), found: why }),
            None => best.push((nodes_on(server, facts), failures_on(server, facts), at, server)),
        }
    }
    best.sort_by_key(|(nodes, failures, at, _)| (*nodes, *failures, *at));
    ranked.best = best.into_iter().map(|(.., server)| server.clone()).collect();
    ranked
}

fn excluded(
    server: &Server,
    node: &Node,
    pool: &Pool,
    region: &RegionName,
    by: &By,
    facts: &Facts<'_>,
) -> Option<String> {
    if server.region != *region {
        return Some(format!("it is in region \"{}\"", server.region));
    }
    if node.server.as_ref() == Some(&server.id) {
        return Some("the node stands on it".to_owned());
    }
    if facts.managed.is_blacklisted(&server.id, facts.wall_now_ms) {
        let reason = facts.managed.servers.get(&server.id).map(|said| said.reason.as_str()).unwrap_or_default();
        return Some(if reason.is_empty() { "blacklisted".to_owned() } else { format!("blacklisted: {reason}") });
    }
    if *by == By::Static {
        let address = address_on(&server.address, &node.address);
        if address == node.address {
            return Some("the node is there".to_owned());
        }
        if let Some(other) = pool.nodes.iter().find(|other| other.id != node.id && other.address == address) {
            return Some(format!("node \"{}\" is at {address}", other.id));
        }
    }
    None
}

/// The server that a node which is started stands on: the one with the fewest nodes, of these the one at which the fewest plans failed.
/// `None`: the region has none that may be taken, or none at all, and its nodes need none.
pub(super) fn for_start(region: &RegionName, facts: &Facts<'_>) -> Option<ServerId> {
    let servers = facts.catalog.servers().iter().filter(|server| server.region == *region);
    let allowed = servers.filter(|server| !facts.managed.is_blacklisted(&server.id, facts.wall_now_ms));
    allowed.min_by_key(|server| (nodes_on(server, facts), failures_on(server, facts))).map(|server| server.id.clone())
}

/// Where a node is reached that is moved by the catalog alone: at the server, with its port, or the node's own.
pub(super) fn address_on(server: &ServerAddress, node: &NodeAddress) -> NodeAddress {
    let port = server.port.map_or(node.port, std::num::NonZeroU16::get);
    NodeAddress { tls: node.tls, host: Host::clone(&server.host), port }
}

fn nodes_on(server: &Server, facts: &Facts<'_>) -> usize {
    facts.catalog.nodes().filter(|(_, node)| node.server.as_ref() == Some(&server.id)).count()
}

fn failures_on(server: &Server, facts: &Facts<'_>) -> usize {
    let failed = |outcome| matches!(outcome, PlanOutcome::RolledBack | PlanOutcome::Failed);
    let attempts = facts.managed.attempts.iter();
    attempts.filter(|attempt| attempt.intent.to.as_ref() == Some(&server.id) && failed(attempt.outcome)).count()
}
