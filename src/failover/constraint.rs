//! What is against a plan: each constraint is a row of one table.

use super::facts::{ExecutorFacts, Facts};
use crate::catalog::Intent;
use crate::model::{Admin, DriverName, Failover, NodeId, PeerId, Plan, Pool, RegionName, Verdict};

/// A plan that somebody or something wants.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted<'a> {
    /// What it would do.
    pub plan: Plan,
    /// With which node; of one that would be started `None`.
    pub node: Option<&'a NodeId>,
    /// Its pool.
    pub pool: &'a Pool,
    /// Where.
    pub region: &'a RegionName,
    /// By which driver; `None`: the catalog alone.
    pub driver: Option<&'a DriverName>,
    /// An operator wants it.
    pub is_forced: bool,
    /// And also beyond what may be done in a time.
    pub ignores_limits: bool,
}

/// What is against it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Against {
    /// The row.
    pub constraint: &'static str,
    /// In words.
    pub reason: String,
}

/// Who is asked.
#[derive(Clone, Copy, PartialEq)]
enum Asks {
    /// Everybody.
    All,
    /// Whatever no operator wants.
    Unforced,
    /// Whoever does not say that limits are to be ignored.
    Limited,
}

struct Row {
    name: &'static str,
    plans: &'static [Plan],
    asks: Asks,
    against: fn(&Wanted<'_>, &Facts<'_>) -> Option<String>,
}

const HOUR_MS: u64 = 3_600_000;

const ROWS: [Row; 14] = [
    Row {
        name: "settled",
        plans: &[Plan::Move, Plan::Start, Plan::Stop],
        asks: Asks::Unforced,
        against: |_, facts| (!facts.is_checked).then(|| "not every node was looked at yet".to_owned()),
    },
    Row {
        name: "one_plan_in_a_region",
        plans: &[Plan::Move, Plan::Start, Plan::Stop],
        asks: Asks::All,
        against: |wanted, facts| {
            let other = facts.managed.plan_in(wanted.region)?;
            Some(format!("plan {other} is carried out in region \"{}\"", wanted.region))
        },
    },
    Row {
        name: "abandoned",
        plans: &[Plan::Move, Plan::Stop],
        asks: Asks::All,
        against: |wanted, facts| {
            let (id, _) = facts.managed.intents.iter().find(|(_, intent)| Some(&intent.node) == wanted.node)?;
            Some(format!(
                "plan {id} of the node is abandoned: say that it is settled with `evenkeel failover resolve {id}`"
            ))
        },
    },
    Row {
        name: "enabled",
        plans: &[Plan::Move],
        asks: Asks::Unforced,
        against: |wanted, _| {
            let enabled = wanted.pool.failover.as_ref().is_some_and(|failover| failover.enabled);
            (!enabled).then(|| format!("failover of pool \"{}\" is not enabled", wanted.pool.name))
        },
    },
    Row {
        name: "enabled",
        plans: &[Plan::Start, Plan::Stop],
        asks: Asks::Unforced,
        against: |wanted, _| {
            let enabled = wanted.pool.scaling.as_ref().is_some_and(|scaling| scaling.enabled);
            (!enabled).then(|| format!("scaling of pool \"{}\" is not enabled", wanted.pool.name))
        },
    },
    Row {
        name: "operator",
        plans: &[Plan::Move, Plan::Stop],
        asks: Asks::Unforced,
        against: |wanted, facts| {
            let (_, node) = facts.catalog.nodes().find(|(_, node)| Some(&node.id) == wanted.node)?;
            let admin = node.admin;
            (admin != Admin::Enabled).then(|| format!("an operator has it {}", admin.name()))
        },
    },
    Row {
        name: "moves_per_hour",
        plans: &[Plan::Move],
        asks: Asks::Limited,
        against: |wanted, facts| {
            let most = failover(wanted).moves_per_hour;
            let ages = ages_ms(wanted, facts).filter(|age| *age < HOUR_MS).collect::<Vec<_>>();
            let count = u32::try_from(ages.len()).unwrap_or(u32::MAX);
            // When the oldest of those that fill the hour is over.
            let counted = usize::try_from(most).ok().and_then(|most| ages.len().checked_sub(most));
            let left_s = counted.and_then(|at| ages.get(at)).map_or(0, |age| (HOUR_MS - age).div_ceil(1_000));
            (count >= most).then(|| {
                format!("it was moved {count} times in the last hour, and {most} are allowed; again in {left_s} s")
            })
        },
    },
    Row {
        name: "cooldown",
        plans: &[Plan::Move],
        asks: Asks::Limited,
        against: |wanted, facts| {
            let cooldown_ms = u64::try_from(failover(wanted).cooldown.as_millis()).unwrap_or(u64::MAX);
            let last = ages_ms(wanted, facts).last()?;
            let left_s = cooldown_ms.saturating_sub(last).div_ceil(1_000);
            (left_s > 0).then(|| format!("it was moved {} s ago; again in {left_s} s", last / 1_000))
        },
    },
    Row {
        name: "executor",
        plans: &[Plan::Move, Plan::Start, Plan::Stop],
        asks: Asks::All,
        against: |wanted, facts| {
            let driver = wanted.driver?;
            let has = facts.executors.values().any(|executor| executor.drivers.contains_key(driver));
            (!has).then(|| format!("no peer that answers has a driver \"{driver}\" that works: [[driver]] in its file"))
        },
    },
    Row {
        name: "owner",
        plans: &[Plan::Move, Plan::Stop],
        asks: Asks::All,
        against: |wanted, facts| {
            let (driver, node) = (wanted.driver?, wanted.node?);
            let owner = owner(node, driver, facts)?;
            let works = facts.executors.get(&owner).is_some_and(|executor| executor.drivers.contains_key(driver));
            // What is down may be taken from whoever is gone with it. What is up would be there twice.
            let is_down = facts.nodes.get(node).is_some_and(|node| node.verdict == Verdict::Down);
            let may_go_on = works || (wanted.plan == Plan::Move && is_down);
            (!may_go_on).then(|| {
                format!("peer \"{owner}\" has it, and does not answer, or its driver \"{driver}\" does not work")
            })
        },
    },
    Row {
        name: "region_is_whole",
        plans: &[Plan::Stop],
        asks: Asks::Unforced,
        against: |wanted, facts| {
            let shift = facts.managed.shifts.get(wanted.region)?;
            let region = wanted.region;
            Some(format!("traffic of region \"{region}\" is held away from it ({}), and comes back", shift.kind.name()))
        },
    },
    Row {
        name: "max_nodes",
        plans: &[Plan::Start],
        asks: Asks::All,
        against: |wanted, facts| {
            let most = wanted.pool.scaling.as_ref()?.max_nodes;
            let count = nodes_of(wanted, facts);
            (count >= most)
                .then(|| format!("it has {count} nodes in region \"{}\", and {most} are allowed", wanted.region))
        },
    },
    Row {
        name: "min_nodes",
        plans: &[Plan::Stop],
        asks: Asks::All,
        against: |wanted, facts| {
            let least = wanted.pool.scaling.as_ref()?.min_nodes;
            let count = nodes_of(wanted, facts);
            (count <= least)
                .then(|| format!("it has {count} nodes in region \"{}\", and {least} are to stay", wanted.region))
        },
    },
    Row {
        name: "region_is_well",
        plans: &[Plan::Stop],
        asks: Asks::Unforced,
        against: |wanted, facts| {
            let siblings = wanted.pool.nodes.iter().filter(|node| facts.region_of(node) == wanted.region);
            let unwell = siblings
                .filter(|node| Some(&node.id) != wanted.node && node.admin == Admin::Enabled && !node.backup)
                .find(|node| !facts.nodes.get(&node.id).is_some_and(|facts| facts.is_usable))?;
            Some(format!("node \"{}\" of the region cannot be used", unwell.id))
        },
    },
];

/// The first row that is against it.
pub(super) fn against(wanted: &Wanted<'_>, facts: &Facts<'_>) -> Option<Against> {
    let asked = ROWS.iter().filter(|row| {
        row.plans.contains(&wanted.plan)
            && match row.asks {
                Asks::All => true,
                Asks::Unforced => !wanted.is_forced,
                Asks::Limited => !wanted.ignores_limits,
            }
    });
    asked.filter_map(|row| Some(Against { constraint: row.name, reason: (row.against)(wanted, facts)? })).next()
}

fn failover(wanted: &Wanted<'_>) -> Failover {
    wanted.pool.failover.clone().unwrap_or_default()
}

/// How long ago the node was moved each time, the oldest first. The clock of a leader before may have been ahead: then it was just now. One
/// that is ahead by more than all limits was wrong.
fn ages_ms<'a>(wanted: &Wanted<'a>, facts: &Facts<'a>) -> impl Iterator<Item = u64> {
    let now_ms = facts.wall_now_ms;
    let moves = wanted.node.and_then(|node| facts.managed.nodes.get(node)).map(|managed| managed.moves_ms.clone());
    let moves = moves.unwrap_or_default().into_iter();
    moves
        .filter(move |at_ms| at_ms.saturating_sub(now_ms) < 24 * HOUR_MS)
        .map(move |at_ms| now_ms.saturating_sub(at_ms))
}

/// Nodes of the pool in the region, backup nodes left out.
fn nodes_of(wanted: &Wanted<'_>, facts: &Facts<'_>) -> u32 {
    let nodes = facts.catalog.pool(&wanted.pool.name).map(|pool| &pool.nodes[..]).unwrap_or_default();
    let count = nodes.iter().filter(|node| facts.region_of(node) == wanted.region && !node.backup).count();
    // One that is started may come, also where nobody knows what became of it.
    let is_coming = |intent: &&Intent| {
        intent.plan == Plan::Start
            && (&intent.pool, &intent.region) == (&wanted.pool.name, wanted.region)
            && nodes.iter().all(|node| node.id != intent.node)
    };
    let coming = facts.managed.intents.values().filter(is_coming).count();
    u32::try_from(count + coming).unwrap_or(u32::MAX)
}

/// The peer whose driver has the node, as far as anybody knows: as it says itself, or as the last plan left it.
pub(super) fn owner(id: &NodeId, driver: &DriverName, facts: &Facts<'_>) -> Option<PeerId> {
    let has = |executor: &ExecutorFacts| executor.drivers.get(driver).is_some_and(|nodes| nodes.contains(id));
    if let Some((peer, _)) = facts.executors.iter().find(|(_, executor)| has(executor)) {
        return Some(peer.clone());
    }
    let (_, node) = facts.node(id)?;
    // Where users have written something else since, what was moved is nobody's.
    let moved = facts.managed.nodes.get(id).and_then(|managed| managed.moved.as_ref());
    let moved = moved.filter(|moved| moved.address == node.address.to_string());
    let started = || facts.managed.started.get(id).map(|started| started.executor.clone());
    moved.and_then(|moved| moved.executor.clone()).or_else(started)
}
