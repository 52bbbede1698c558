//! Scaling: nodes of a pool in a region are started while there is too much to do for those that are there, and stopped when there has
//! been too little for a while.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::facts::Facts;
use super::machine::{Machine, Wish, key};
use super::operation::{Answered, Refused};
use super::output::Output;
use super::trigger::{FORCED, MISSING_MAX, Reason};
use crate::catalog::Attempt;
use crate::model::{Admin, Band, Load, Mode, Node, NodeId, Plan, PlanOutcome, Pool, PoolName, RegionName, Scaling};

/// So much more or less than a target is none of the target's business.
const TOLERANCE: f64 = 0.1;
/// After a start that failed, whatever the settings say.
const COOLDOWN_MIN: Duration = Duration::from_secs(5);
/// The cool-down doubles so often.
const FAILURES_COUNTED_MAX: usize = 5;
const DAY_MS: u64 = 24 * 3_600_000;

/// What a leader knows of pools beside the catalog: since when there has been too little to do.
#[derive(Debug, Default)]
pub(super) struct Scales {
    low: BTreeMap<(PoolName, RegionName), Low>,
}

/// Too little to do.
#[derive(Clone, Copy, Debug)]
struct Low {
    since: Instant,
    /// When it was last measured to be.
    seen: Instant,
}

/// What the load of a pool's nodes in a region asks for.
#[derive(Clone, Debug, PartialEq)]
enum Asks {
    More(String),
    Less(String),
    Nothing,
    /// Not all that it goes by is measured at this moment.
    Unknown,
}

impl Machine {
    /// Looks at every pool that is scaled, in each of its regions.
    pub(super) fn scale(&mut self, facts: &Facts<'_>, now: Instant, out: &mut Vec<Output>) {
        let mut low = BTreeMap::new();
        for pool in facts.catalog.pools() {
            let Some(scaling) = pool.scaling.as_ref().filter(|scaling| scaling.enabled) else { continue };
            for region in regions(pool, scaling, facts) {
                let key = (pool.name.clone(), region.clone());
                let asked = asks(pool, &region, scaling, facts);
                if !matches!(asked, Asks::More(_)) {
                    self.told.remove(&start(pool, &region));
                }
                match asked {
                    Asks::More(evidence) => {
                        // What is under way may be what it takes, so nobody is told that it has to wait.
                        let is_cool = is_cool(pool, &region, scaling.cooldown_out, &[Plan::Start], facts);
                        let is_resting = self.is_resting(Plan::Start, None, &pool.name, &region);
                        if is_cool && !is_resting && !self.is_busy(&region, facts) {
                            let reason = Reason { trigger: "load_high", evidence };
                            self.wish(&wish(Plan::Start, None, pool, &region, reason), facts, now, out);
                        }
                    }
                    // Where traffic is held away, and while nodes come and go, there is little to do for a while.
                    Asks::Less(_) if facts.managed.shifts.contains_key(&region) || self.is_busy(&region, facts) => {}
                    Asks::Less(evidence) => {
                        let Low { since, .. } = *self.scaling.low.get(&key).unwrap_or(&Low { since: now, seen: now });
                        low.insert(key, Low { since, seen: now });
                        let lasted = now.saturating_duration_since(since);
                        let is_due = lasted >= scaling.down_for
                            && is_cool(pool, &region, scaling.cooldown_in, &[Plan::Start, Plan::Stop], facts);
                        // Below the least nothing is wanted, so nothing is refused.
                        let count = pool.nodes.iter().filter(|node| is_counted(node, &region, facts)).count();
                        let is_least = count <= usize::try_from(scaling.min_nodes).unwrap_or(usize::MAX);
                        let node = last_started(pool, &region, facts).filter(|_| is_due && !is_least);
                        let node =
                            node.filter(|node| !self.is_resting(Plan::Stop, Some(&node.id), &pool.name, &region));
                        if let Some(node) = node {
                            let evidence = format!("{evidence}, for {} s", lasted.as_secs());
                            let reason = Reason { trigger: "load_low", evidence };
                            self.wish(&wish(Plan::Stop, Some(node), pool, &region, reason), facts, now, out);
                        }
                    }
                    Asks::Unknown => {
                        let known = self.scaling.low.get(&key).copied();
                        let known = known.filter(|low| now.saturating_duration_since(low.seen) < MISSING_MAX);
                        low.extend(known.map(|known| (key, known)));
                    }
                    Asks::Nothing => {}
                }
            }
        }
        self.scaling.low = low;
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
        let named = pool.scaling.as_ref().and_then(|scaling| scaling.regions.as_ref());
        if up && named.is_some_and(|named| !named.contains(region)) {
            let reason = format!("pool \"{}\" is scaled in other regions: `scaling.regions` names them", pool.name);
            return refuse("regions", reason);
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
        let Some(mean) = mean(target.load) else { return Asks::Unknown };
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
    let (mut is_low, mut is_known) = (true, true);
    for (load, band) in bands {
        let Some(Band { up, down }) = band else { continue };
        // What is not known is no reason for more, and none for less.
        let Some(mean) = mean(load) else {
            is_known = false;
            continue;
        };
        if mean > up {
            return Asks::More(format!("{} is {mean:.1} a node, more than {up}", load.name()));
        }
        is_low &= mean < down;
        low.push(format!("{} is {mean:.1} a node, less than {down}", load.name()));
    }
    match (is_low, is_known) {
        (true, false) => Asks::Unknown,
        (true, true) if !low.is_empty() => Asks::Less(low.join(", ")),
        _ => Asks::Nothing,
    }
}

/// Whether the last such plan of a pool in a region is so long ago, by the clocks of those who led.
fn is_cool(pool: &Pool, region: &RegionName, cooldown: Duration, plans: &[Plan], facts: &Facts<'_>) -> bool {
    let attempts = facts.managed.attempts.iter();
    let of_pool = attempts
        .filter(|attempt| attempt.intent.pool == pool.name && attempt.intent.region == *region)
        .filter(|attempt| plans.contains(&attempt.intent.plan));
    // The clock of a leader before may have been ahead; one that is ahead by a day was wrong.
    let ended = of_pool.map(|attempt| attempt.ended_ms);
    let last_ms = ended.filter(|ended_ms| ended_ms.saturating_sub(facts.wall_now_ms) < DAY_MS).max();
    // Each that failed since the last that did not doubles it.
    let is_start = |attempt: &&Attempt| {
        attempt.intent.plan == Plan::Start && attempt.intent.pool == pool.name && attempt.intent.region == *region
    };
    let failed = facts.managed.attempts.iter().rev().filter(is_start);
    let failed = failed.take_while(|attempt| attempt.outcome != PlanOutcome::Done).count();
    let times = 1_u32 << failed.min(FAILURES_COUNTED_MAX);
    let cooldown = match plans {
        [Plan::Start] if failed > 0 => cooldown.max(COOLDOWN_MIN) * times,
        _ => cooldown,
    };
    let cooldown_ms = u64::try_from(cooldown.as_millis()).unwrap_or(u64::MAX);
    last_ms.is_none_or(|last_ms| facts.wall_now_ms.saturating_sub(last_ms) >= cooldown_ms)
}

fn start(pool: &Pool, region: &RegionName) -> String {
    key(Plan::Start, None, &pool.name, region)
}

/// The node that was started last, and that no operator has taken out; one that cannot be used goes before all others.
fn last_started<'a>(pool: &'a Pool, region: &RegionName, facts: &Facts<'_>) -> Option<&'a Node> {
    let started = |node: &NodeId| facts.managed.started.get(node).map(|started| started.intent);
    let nodes = pool.nodes.iter().filter(|node| facts.region_of(node) == region && node.admin == Admin::Enabled);
    let is_usable = |node: &Node| facts.nodes.get(&node.id).is_some_and(|facts| facts.is_usable);
    let started = nodes.filter_map(|node| Some((!is_usable(node), started(&node.id)?, node)));
    started.max_by_key(|(is_broken, intent, _)| (*is_broken, *intent)).map(|(.., node)| node)
}
