//! Traffic that is held away from a region: a request that would be sent there goes elsewhere, but for the part that stays.

use std::sync::Arc;

use super::choose::{Stick, Taken, Tried, Wanted};
use super::picture::{PoolView, View};
use crate::host::Dice;
use crate::model::{RegionChoice, Shift, Stays};

impl View {
    /// The node for a request that got this one: another one, where traffic is held away from the region of this one and the request is of
    /// that part. Where nobody else takes it, it stays: held away is better than served there, and worse than not served.
    ///
    /// `away`: the pool without the nodes of such regions.
    pub(super) fn take_away(
        &self,
        taken: Taken,
        away: &Arc<PoolView>,
        wanted: &Wanted<'_>,
        tried: &Tried,
        dice: &mut Dice,
    ) -> Taken {
        let region = taken.node().node.region.as_ref().unwrap_or(self.regions.own());
        let Some(shift) = self.regions.shifts().iter().find(|shift| shift.region == *region) else { return taken };
        let is_bound = wanted.regions.is_some_and(|choice| choice.strict);
        if is_bound || stays(shift.stays, wanted.ask.stick, dice) {
            return taken;
        }
        // It was counted where it wanted to go, and is not counted again.
        let mut around = tried.clone();
        around.add(&taken);
        let choice = first_to(shift, wanted);
        let wanted = Wanted { node: None, regions: choice.as_ref().or(wanted.regions), ..*wanted };
        let at_home = match wanted.ask.stick {
            // The same node for a session each time, for as long as it is away.
            Stick::Key(hash) => away.take_home_by_hash(hash, &self.regions, &wanted, &around),
            Stick::Free | Stick::Node(_) => None,
        };
        let other = at_home.unwrap_or_else(|| away.take_by_region(&self.regions, &wanted, &around, dice));
        // A node that is down is no better.
        other.ok().filter(|other| other.node().is_usable()).unwrap_or(taken)
    }
}

/// Whether a request is of the part that stays. Sessions do not come and go with each request: one that is known by a hash is of one part
/// or the other, and one that is bound to a node stays while any does.
fn stays(stays: Stays, stick: Stick, dice: &mut Dice) -> bool {
    match stick {
        Stick::Node(_) => stays > Stays::NONE,
        Stick::Key(hash) => hash as f64 / u64::MAX as f64 * 100.0 < f64::from(stays.percent()),
        Stick::Free => dice.fraction() < stays.part(),
    }
}

/// Where the shift says that it goes first, unless a route says something.
fn first_to(shift: &Shift, wanted: &Wanted<'_>) -> Option<RegionChoice> {
    let to = shift.to.clone().filter(|_| wanted.regions.is_none())?;
    Some(RegionChoice { prefer: vec![to], strict: false })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;
    use crate::host;
    use crate::model::{
        Catalog, Check, CheckKind, Health, Member, Members, Node, NodeKey, Observation, Pool, RegionName,
        RegionStrategy, TcpCheck,
    };
    use crate::view::{Ask, Changes, Event, first};

    fn name(text: &str) -> RegionName {
        text.parse().unwrap()
    }

    /// A node in each of three regions, all up, with this peer in the first, from which traffic is held away.
    fn view(strategy: RegionStrategy, stays: u8, to: Option<&str>, down: &[&str]) -> View {
        let mut pool = Pool::new("web".parse().unwrap());
        pool.check = Check::of(CheckKind::Tcp(TcpCheck::default()));
        pool.region_strategy = strategy;
        for region in ["us", "eu", "ap"] {
            let mut node = Node::new(format!("{region}-1").parse().unwrap(), "192.0.2.1:80".parse().unwrap());
            node.region = Some(name(region));
            pool.nodes.push(node);
        }
        let mut catalog = Catalog::new(vec![pool]).unwrap();
        catalog.set_shifts(vec![Shift { region: name("us"), stays: Stays::new(stays).unwrap(), to: to.map(name) }]);
        let own = Member { id: "own".parse().unwrap(), region: name("us") };
        let view = first(&catalog, Arc::new(Members::alone(own)), host::now());
        let mut changes = Changes::default();
        for region in ["us", "eu", "ap"] {
            let vote = Some(if down.contains(&region) { Health::Down } else { Health::Up });
            let observation = Observation { vote, reached_before: true, ..Observation::default() };
            let id = format!("{region}-1").parse().unwrap();
            let node = NodeKey::of(&id, &"192.0.2.1:80".parse().unwrap());
            changes.add(&view, Event::Observed { node, observation });
        }
        view.after(changes, host::now())
    }

    /// What of a thousand requests each region gets, in percent.
    fn shares(view: &View, stick: impl Fn(u64) -> Stick) -> BTreeMap<String, u64> {
        let mut dice = Dice::from_seed(7);
        let mut counts: BTreeMap<String, u64> = BTreeMap::new();
        let pool = "web".parse().unwrap();
        for number in 0..1_000_u64 {
            let ask = Ask { stick: stick(number), ..Ask::of(IpAddr::V4(Ipv4Addr::LOCALHOST), host::now()) };
            let taken = view.take(&Wanted::one_of(&pool, ask), &Tried::default(), &mut dice).unwrap();
            *counts.entry(taken.node().node.region.clone().unwrap().to_string()).or_default() += 1;
        }
        counts.into_iter().map(|(region, count)| (region, (count + 5) / 10)).collect()
    }

    #[test]
    fn a_region_that_is_shifted_gets_the_part_that_stays_and_the_rest_goes_where_it_is_to_go() {
        let free = |_| Stick::Free;
        for strategy in [RegionStrategy::Nearest, RegionStrategy::RoundRobin, RegionStrategy::Any] {
            let none = shares(&view(strategy, 0, None, &[]), free);
            assert_eq!(none.get("us"), None, "{strategy:?}: {none:?}");
        }
        let quarter = shares(&view(RegionStrategy::Nearest, 25, Some("ap"), &[]), free);
        assert!(quarter["us"].abs_diff(25) <= 4 && quarter["ap"].abs_diff(75) <= 4, "{quarter:?}");
        let all = shares(&view(RegionStrategy::Nearest, 100, None, &[]), free);
        assert_eq!(all["us"], 100, "{all:?}");
    }

    #[test]
    fn what_nobody_else_takes_is_served_in_the_region_that_is_shifted() {
        let home = shares(&view(RegionStrategy::Nearest, 0, Some("eu"), &["eu", "ap"]), |_| Stick::Free);
        assert_eq!(home["us"], 100, "{home:?}");
        let elsewhere = shares(&view(RegionStrategy::Nearest, 0, Some("eu"), &["eu"]), |_| Stick::Free);
        assert_eq!(elsewhere["ap"], 100, "{elsewhere:?}");
    }

    #[test]
    fn sessions_bound_to_a_node_leave_when_nothing_stays_and_not_before() {
        let key = NodeKey::of(&"us-1".parse().unwrap(), &"192.0.2.1:80".parse().unwrap());
        let bound = |_| Stick::Node(key);
        assert_eq!(shares(&view(RegionStrategy::Nearest, 0, None, &[]), bound).get("us"), None);
        assert_eq!(shares(&view(RegionStrategy::Nearest, 10, None, &[]), bound)["us"], 100);
    }
}
