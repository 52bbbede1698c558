//! Scaling: nodes of a pool in a region are started while there is too much to do for those that are there, and stopped when there has
//! been too little for a while.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::facts::Facts;
use super::machine::{Machine, Wish};
use super::operation::{Answered, Refused};
use super::output::Output;
use super::trigger::{FORCED, Reason};
use crate::model::{Admin, Band, Load, Mode, Node, NodeId, Plan, Pool, PoolName, RegionName, Scaling};

/// So much more or less than a target is none of the target's business.
const TOLERANCE: f64 = 0.1;

/// What a leader knows of pools beside the catalog: since when there has been too little to do.
#[derive(Debug, Default)]
pub(super) struct Scales {
    low_since: BTreeMap<(PoolName, RegionName), Instant>,
}

/// What the load of a pool's nodes in a region asks for.
#[derive(Clone, Debug, PartialEq)]
enum Asks {
    More(String),
    Less(String),
    Nothing,
}

impl Machine {
    /// Looks at every pool that is scaled, in each of its regions.
    pub(super) fn scale(&mut self, facts: &Facts<'_>, now: Instant, out: &mut Vec<Output>) {
        let mut low = BTreeMap::new();
        for pool in facts.catalog.pools() {
            let Some(scaling) = pool.scaling.as_ref().filter(|scaling| scaling.enabled) else { continue };
            for region in regions(pool, scaling, facts) {
                let key = (pool.name.clone(), region.clone());
                match asks(pool, &region, scaling, facts) {
                    Asks::More(evidence) => {
                        // What is under way may be what it takes, so nobody is told that it has to wait.
                        let is_cool = is_cool(pool, &region, scaling.cooldown_out, &[Plan::Start], facts);
                        if is_cool && !self.is_busy(&region, facts) {
                            let reason = Reason { trigger: "load_high", evidence };
                            self.wish(&wish(Plan::Start, None, pool, &region, reason), facts, now, out);
                        }
                    }
                    Asks::Less(evidence) => {
                        let since = *self.scaling.low_since.get(&key).unwrap_or(&now);
                        low.insert(key, since);
                        let lasted = now.saturating_duration_since(since);
                        let is_due = lasted >= scaling.down_for
                            && !self.is_busy(&region, facts)
                            && is_cool(pool, &region, scaling.cooldown_in, &[Plan::Start, Plan::Stop], facts);
                        // Below the least nothing is wanted, so nothing is refused.
                        let count = pool.nodes.iter().filter(|node| is_counted(node, &region, facts)).count();
                        let is_least = count <= usize::try_from(scaling.min_nodes).unwrap_or(usize::MAX);
                        if let Some(node) = last_started(pool, &region, facts).filter(|_| is_due && !is_least) {
                            let evidence = format!("{evidence}, for {} s", lasted.as_secs());
                            let reason = Reason { trigger: "load_low", evidence };
                            self.wish(&wish(Plan::Stop, Some(node), pool, &region, reason), facts, now, out);
                        }
                    }
                    Asks::Nothing => {}
                }
            }
        }
        self.scaling.low_since = low;
    }

    /// An operator wants one more, or one less.
    pub(super) fn scale_by_hand(
        &mut self,
        (pool, region): (&Pool, &RegionName),
        up: bool,
        (ticket, by): (u64, String),
        facts: &Facts<'_>,
        now: Instant,
        out: &mut Vec<Output>,
    ) {
        let mut refuse = |constraint: &str, reason: String| {
            let refused = Refused::Against { constraint: constraint.to_owned(), reason, candidates: Vec::new() };
            out.push(Output::Reply { ticket, answered: Answered::Refused(refused) });
        };
        if pool.scaling.is_none() {
            let reason = format!("pool \"{}\" has no `scaling`, which names the driver that starts nodes", pool.name);
            return refuse("enabled", reason);
        }
        let node = last_started(pool, region, facts);
        if !up && node.is_none() {
            let reason = format!(
                "no node of pool \"{}\" in region \"{region}\" was started; those of the catalog stay",
                pool.name
            );
            return refuse("started", reason);
        }
        let plan = if up { Plan::Start } else { Plan::Stop };
        let reason = Reason { trigger: FORCED, evidence: "an operator asked for it".to_owned() };
        let node = node.filter(|_| !up);
        let wish = Wish { by, ticket: Some(ticket), ..wish(plan, node, pool, region, reason) };
        self.wish(&wish, facts, now, out);
    }
}

fn wish<'a>(plan: Plan, node: Option<&'a Node>, pool: &'a Pool, region: &'a RegionName, reason: Reason) -> Wish<'a> {
    Wish {
        plan,
        node,
        pool,
        region,
        reason,
        by: String::new(),
        ticket: None,
        to: None,
        mode: (plan == Plan::Stop).then_some(Mode::Graceful),
        ignores_limits: false,
    }
}

/// Where a pool is scaled.
fn regions(pool: &Pool, scaling: &Scaling, facts: &Facts<'_>) -> Vec<RegionName> {
    if let Some(regions) = &scaling.regions {
        return regions.clone();
    }
    let is_written = |node: &&Node| !facts.managed.started.contains_key(&node.id);
    let mut regions: Vec<RegionName> =
        pool.nodes.iter().filter(is_written).map(|node| facts.region_of(node).clone()).collect();
    regions.sort_unstable();
    regions.dedup();
    regions
}

fn is_counted(node: &Node, region: &RegionName, facts: &Facts<'_>) -> bool {
    facts.region_of(node) == region && !node.backup
}

/// What the load of the nodes that can be used asks for.
fn asks(pool: &Pool, region: &RegionName, scaling: &Scaling, facts: &Facts<'_>) -> Asks {
    let nodes: Vec<_> = pool.nodes.iter().filter(|node| is_counted(node, region, facts)).collect();
    let count = nodes.len();
    if count < usize::try_from(scaling.min_nodes).unwrap_or(usize::MAX) {
        return Asks::More(format!("it has {count} nodes, and {} are the least", scaling.min_nodes));
    }
    let usable: Vec<_> =
        nodes.iter().filter_map(|node| facts.nodes.get(&node.id)).filter(|facts| facts.is_usable).collect();
    // Where none can be used, nobody knows how much there is to do: that is for a move, or for another region.
    if usable.is_empty() {
        return Asks::Nothing;
    }
    let mean = |load: Load| {
        let of = |node: &super::facts::NodeFacts| match load {
            Load::Connections => Some(f64::from(node.connections)),
            Load::Cpu => node.cpu_percent,
            Load::Memory => node.memory_mb,
        };
        let known: Vec<f64> = usable.iter().filter_map(|node| of(node)).collect();
        (!known.is_empty()).then(|| known.iter().sum::<f64>() / known.len() as f64)
    };
    if let Some(target) = scaling.target {
        let Some(mean) = mean(target.load) else { return Asks::Nothing };
        let part = mean / target.value;
        let said =
            |mean: f64| format!("{} is {mean:.1} a node, and {} is the target", target.load.name(), target.value);
        let wanted = (usable.len() as f64 * part).ceil();
        return if part > 1.0 + TOLERANCE && wanted > usable.len() as f64 {
            Asks::More(said(mean))
        } else if part < 1.0 - TOLERANCE && wanted < usable.len() as f64 {
            Asks::Less(said(mean))
        } else {
            Asks::Nothing
        };
    }
    let bands = [(Load::Connections, scaling.connections), (Load::Cpu, scaling.cpu), (Load::Memory, scaling.memory)];
    let mut low = Vec::new();
    let mut is_low = true;
    for (load, band) in bands {
        let Some(Band { up, down }) = band else { continue };
        // What is not known is no reason for more, and none for less.
        let Some(mean) = mean(load) else {
            is_low = false;
            continue;
        };
        if mean > up {
            return Asks::More(format!("{} is {mean:.1} a node, more than {up}", load.name()));
        }
        is_low &= mean < down;
        low.push(format!("{} is {mean:.1} a node, less than {down}", load.name()));
    }
    if is_low && !low.is_empty() { Asks::Less(low.join(", ")) } else { Asks::Nothing }
}

/// Whether the last such plan of a pool in a region is so long ago, by the clocks of those who led.
fn is_cool(pool: &Pool, region: &RegionName, cooldown: Duration, plans: &[Plan], facts: &Facts<'_>) -> bool {
    let attempts = facts.managed.attempts.iter();
    let of_pool = attempts
        .filter(|attempt| attempt.intent.pool == pool.name && attempt.intent.region == *region)
        .filter(|attempt| plans.contains(&attempt.intent.plan));
    let last_ms = of_pool.map(|attempt| attempt.ended_ms).max();
    let cooldown_ms = u64::try_from(cooldown.as_millis()).unwrap_or(u64::MAX);
    last_ms.is_none_or(|last_ms| facts.wall_now_ms.saturating_sub(last_ms) >= cooldown_ms)
}

/// The node that was started last, and that no operator has taken out.
fn last_started<'a>(pool: &'a Pool, region: &RegionName, facts: &Facts<'_>) -> Option<&'a Node> {
    let started = |node: &NodeId| facts.managed.started.get(node).map(|started| started.intent);
    let nodes = pool.nodes.iter().filter(|node| facts.region_of(node) == region && node.admin == Admin::Enabled);
    nodes.filter_map(|node| Some((started(&node.id)?, node))).max_by_key(|(intent, _)| *intent).map(|(_, node)| node)
}
