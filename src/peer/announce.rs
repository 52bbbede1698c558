//! What the others are told of this peer's picture: what changed in the view since they were told last.
//!
//! The view is looked at, and not each observation on its way to it: gossip sends once an interval, and of what changed in
//! between only the last word counts.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::gossip::Input;
use crate::model::{Admin, Heard, NodeKey};
use crate::view::{NodeView, PoolView, View};

/// How often every node is looked at, for what changes between two views: whether this peer's traffic passes it over.
const LOOK_AT_ALL_EVERY: Duration = Duration::from_millis(500);
/// How often it is told what is in flight.
const LOAD_EVERY: Duration = Duration::from_secs(1);
/// How often it is told what is asked of regions: by that others know how much of a region's room is theirs.
const DEMAND_EVERY: Duration = Duration::from_millis(250);

/// What was told last.
#[derive(Debug)]
pub(super) struct Announcer {
    seen: Option<Arc<View>>,
    /// What was said of each node; `None`: nothing is, it is disabled. Never more than there are nodes.
    said: HashMap<NodeKey, Option<Heard>>,
    swept: Option<Instant>,
    look_at_all: Instant,
    load_at: Instant,
    demand_at: Instant,
    /// Whether any was told last.
    is_asked: bool,
}

impl Announcer {
    /// Nothing was told yet.
    pub(super) fn new(now: Instant) -> Self {
        Self {
            seen: None,
            said: HashMap::new(),
            swept: None,
            look_at_all: now,
            load_at: now,
            demand_at: now,
            is_asked: false,
        }
    }

    /// What is to be told now.
    pub(super) fn look(&mut self, view: &Arc<View>, now: Instant) -> Vec<Input> {
        let mut inputs = Vec::new();
        let all = self.look_at_all <= now;
        if all {
            self.look_at_all = now + LOOK_AT_ALL_EVERY;
        }
        let seen = self.seen.replace(Arc::clone(view));
        let is_of_another = seen.as_ref().is_some_and(|seen| !view.is_of_the_catalog_of(seen));
        let all = all || is_of_another;
        if is_of_another {
            self.forget_those_gone_from(view, &mut inputs);
        }
        let before = seen.iter().flat_map(|seen| seen.pools()).map(Some).chain(std::iter::repeat(None));
        for (pool, before) in view.pools().zip(before) {
            if !all && before.is_some_and(|before| Arc::ptr_eq(pool, before)) {
                continue;
            }
            for node in changed(pool, before.filter(|_| !all)) {
                let heard = (node.node.admin != Admin::Disabled).then(|| node.said_here());
                if self.said.insert(node.key, heard) != Some(heard) {
                    inputs.push(Input::Observed { node: node.key, heard });
                }
            }
        }
        if is_of_another {
            inputs.push(Input::TellAgain);
        }
        if view.own_swept() != self.swept {
            self.swept = view.own_swept();
            inputs.push(Input::Swept);
        }
        if self.load_at <= now {
            self.load_at = now + LOAD_EVERY;
            inputs.push(Input::Load(loads(view)));
        }
        if self.demand_at <= now {
            self.demand_at = now + DEMAND_EVERY;
            let demand = view.demand();
            let was_asked = std::mem::replace(&mut self.is_asked, !demand.is_none());
            if was_asked || self.is_asked {
                inputs.push(Input::Demand(demand));
            }
        }
        inputs
    }

    /// Takes back what was said of nodes that the catalog does not have any more.
    fn forget_those_gone_from(&mut self, view: &View, inputs: &mut Vec<Input>) {
        let stay: HashSet<NodeKey> = view.pools().flat_map(|pool| &pool.nodes).map(|node| node.key).collect();
        let mut gone: Vec<NodeKey> = self.said.keys().filter(|node| !stay.contains(node)).copied().collect();
        // What is told goes by nothing but the views, or a simulation would not tell the same story twice.
        gone.sort_unstable();
        for node in gone {
            self.said.remove(&node);
            inputs.push(Input::Observed { node, heard: None });
        }
    }
}

/// The nodes of a pool that are others than before.
fn changed<'a>(pool: &'a PoolView, before: Option<&'a Arc<PoolView>>) -> impl Iterator<Item = &'a Arc<NodeView>> {
    let before = before.into_iter().flat_map(|before| &before.nodes).map(Some).chain(std::iter::repeat(None));
    let pairs = pool.nodes.iter().zip(before);
    pairs.filter(|(node, before)| before.is_none_or(|before| !Arc::ptr_eq(node, before))).map(|(node, _)| node)
}

fn loads(view: &View) -> Vec<(NodeKey, u32)> {
    let nodes = view.pools().flat_map(|pool| &pool.nodes);
    nodes.map(|node| (node.key, node.live.in_flight())).filter(|(_, in_flight)| *in_flight > 0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host;
    use crate::model::{Catalog, Health, Member, Members, Node, Observation, Pool, RegionName};
    use crate::view::{self, Changes, Event};

    fn catalog() -> Catalog {
        let pools = ["p", "q"].map(|name| {
            let mut pool = Pool::new(name.parse().unwrap());
            for number in 0..3 {
                let id = format!("{name}{number}").parse().unwrap();
                pool.nodes.push(Node::new(id, "192.0.2.1:80".parse().unwrap()));
            }
            pool
        });
        Catalog::new(pools.into()).unwrap()
    }

    fn observed(inputs: &[Input]) -> Vec<Option<Health>> {
        let votes = inputs.iter().filter_map(|input| match input {
            Input::Observed { heard: Some(heard), .. } => Some(heard.vote),
            _ => None,
        });
        votes.collect()
    }

    #[test]
    fn all_is_told_once_and_then_what_changed() {
        let start = host::now();
        let at = |ms: u64| start + Duration::from_millis(ms);
        let own = Member { id: "me".parse().unwrap(), region: RegionName::default() };
        let view = Arc::new(view::first(&catalog(), Arc::new(Members::alone(own)), start));
        let mut announcer = Announcer::new(start);
        assert_eq!(observed(&announcer.look(&view, at(0))).len(), 6);
        assert_eq!(observed(&announcer.look(&view, at(25))), []);

        let observation = Observation { vote: Some(Health::Up), ..Observation::default() };
        let mut changes = Changes::default();
        changes.add(&view, Event::Observed { node: view.node(&"q1".parse().unwrap()).unwrap().1.key, observation });
        let view = Arc::new(view.after(changes, at(50)));
        assert_eq!(observed(&announcer.look(&view, at(50))), [Some(Health::Up)]);
        assert_eq!(observed(&announcer.look(&view, at(75))), []);
    }

    #[test]
    fn another_catalog_is_followed_at_once_and_what_others_say_is_asked_for_again() {
        let start = host::now();
        let own = Member { id: "me".parse().unwrap(), region: RegionName::default() };
        let view = Arc::new(view::first(&catalog(), Arc::new(Members::alone(own)), start));
        let mut announcer = Announcer::new(start);
        announcer.look(&view, start);
        let mut pools = catalog().pools().to_vec();
        let removed = pools[0].nodes.remove(0);
        pools[1].nodes.push(Node::new("q9".parse().unwrap(), "192.0.2.9:80".parse().unwrap()));
        pools.reverse();
        let mut changes = Changes::default();
        changes.add(&view, Event::Catalog(Arc::new(Catalog::new(pools).unwrap())));
        let view = Arc::new(view.after(changes, start));
        let told = announcer.look(&view, start + Duration::from_millis(25));
        let gone = NodeKey::of(&removed.id, &removed.address);
        let added = view.node(&"q9".parse().unwrap()).unwrap().1.key;
        let nodes: Vec<_> = told
            .iter()
            .filter_map(|input| match input {
                Input::Observed { node, heard } => Some((*node, heard.is_some())),
                _ => None,
            })
            .collect();
        assert_eq!(nodes, [(gone, false), (added, true)], "of those that stay nothing is said again");
        assert!(matches!(told.last(), Some(Input::TellAgain)));
        let told = announcer.look(&view, start + Duration::from_millis(50));
        assert!(told.is_empty(), "{told:?}");
    }

    #[test]
    fn what_traffic_alone_knows_is_told_with_the_next_look_at_all() {
        let start = host::now();
        let own = Member { id: "me".parse().unwrap(), region: RegionName::default() };
        let view = Arc::new(view::first(&catalog(), Arc::new(Members::alone(own)), start));
        let mut announcer = Announcer::new(start);
        announcer.look(&view, start);
        view.node(&"p0".parse().unwrap()).unwrap().1.live.suspect();
        let told = announcer.look(&view, start + LOOK_AT_ALL_EVERY);
        let ejected = |input: &&Input| matches!(input, Input::Observed { heard: Some(heard), .. } if heard.ejected);
        assert_eq!(observed(&told), [None], "of the others nothing is said again");
        assert_eq!(told.iter().filter(ejected).count(), 1);
    }
}
