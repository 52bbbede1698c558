//! Drains with a deadline: which nodes' time is over at this peer, and by when the next one's is.
//!
//! Pure. A node that was removed while it drained keeps its deadline for as long as it has something to be cut.

use std::sync::Arc;
use std::time::Instant;

use super::counts::bump;
use super::listen::Bound;
use crate::balance::NodeLive;
use crate::view::View;

/// The nodes that drain with a deadline. Empty nearly always.
#[derive(Debug, Default)]
pub(super) struct Drains {
    nodes: Vec<Drain>,
}

#[derive(Debug)]
struct Drain {
    live: Arc<NodeLive>,
    cut_at: Instant,
}

impl Drains {
    /// Takes in the nodes of this view.
    pub(super) fn follow(&mut self, view: &View) {
        let nodes = || view.pools().flat_map(|pool| &pool.nodes);
        let left = std::mem::take(&mut self.nodes);
        self.nodes.extend(nodes().filter_map(|node| {
            let (live, cut_at) = (Arc::clone(&node.live), node.cut_at()?);
            Some(Drain { live, cut_at })
        }));
        let removed = |drain: &Drain| nodes().all(|node| !Arc::ptr_eq(&node.live, &drain.live));
        self.nodes.extend(left.into_iter().filter(|drain| drain.live.in_flight() > 0 && removed(drain)));
    }

    /// Those whose time is over.
    pub(super) fn over(&self, now: Instant) -> Vec<Arc<NodeLive>> {
        self.nodes.iter().filter(|drain| drain.cut_at <= now).map(|drain| Arc::clone(&drain.live)).collect()
    }

    /// When the next one's time is over.
    pub(super) fn next(&self, now: Instant) -> Option<Instant> {
        self.nodes.iter().map(|drain| drain.cut_at).filter(|cut_at| *cut_at > now).min()
    }
}

/// Counts what is cut of a node whose time is over.
pub(in crate::proxy) fn count_cut(bound: &Bound, node: &NodeLive) {
    bump(&bound.failures.drains_cut);
    bump(&node.counts.drains_cut);
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::host;
    use crate::model::{Admin, Catalog, Member, Members, Node, Pool, RegionName, Revision};
    use crate::view::{Changes, Event, first};

    fn catalog(nodes: &[(&str, Option<u64>)]) -> Catalog {
        let mut pool = Pool::new("web".parse().unwrap());
        for (id, seconds) in nodes {
            let mut node = Node::new(id.parse().unwrap(), "192.0.2.1:80".parse().unwrap());
            if let Some(seconds) = seconds {
                node.admin = Admin::Draining { begun: Revision::ZERO, timeout: Some(Duration::from_secs(*seconds)) };
            }
            pool.nodes.push(node);
        }
        Catalog::new(vec![pool]).unwrap()
    }

    #[test]
    fn a_deadline_stands_until_it_is_taken_back_also_where_the_node_is_removed() {
        let now = host::now();
        let at = |seconds| now + Duration::from_secs(seconds);
        let own = Member { id: "own".parse().unwrap(), region: RegionName::default() };
        let view = first(&catalog(&[("a", Some(5)), ("b", Some(9)), ("c", None)]), Arc::new(Members::alone(own)), now);
        let change = |view: &View, nodes: &[(&str, Option<u64>)]| {
            let mut changes = Changes::default();
            changes.add(view, Event::Catalog(Arc::new(catalog(nodes))));
            view.after(changes, now)
        };
        let mut drains = Drains::default();
        assert_eq!((drains.next(now), drains.over(at(99)).len()), (None, 0));
        drains.follow(&view);
        assert_eq!((drains.next(now), drains.over(at(4)).len()), (Some(at(5)), 0));
        assert_eq!((drains.next(at(5)), drains.over(at(5)).len()), (Some(at(9)), 1));
        assert_eq!((drains.next(at(9)), drains.over(at(9)).len()), (None, 2));

        let pool = Arc::clone(view.pools().next().unwrap());
        let b = Arc::clone(&pool.nodes[1].live);
        assert!(pool.live.try_enter(&b, 1));
        let undrained = change(&view, &[("a", None), ("c", None)]);
        drains.follow(&undrained);
        assert_eq!(drains.next(now), Some(at(9)), "b is gone and still has something, a drains no more");
        pool.live.leave(&b);
        drains.follow(&undrained);
        assert_eq!(drains.next(now), None);
    }
}
