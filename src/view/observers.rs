//! Who observes a node: the peers whose checks count, so few that what a node is asked does not grow with the cluster.
//!
//! Pure, and the same at every peer that sees the same members: nobody is asked to agree. Where two peers see different
//! members for a moment, a node has an observer too many or one that it had before, and no harm is done.

use std::cmp::Reverse;

use crate::model::{Member, Members, Node, NodeKey, Observe, PeerId, RegionName};

/// Up to so many peers all observe: a cut-off one is outvoted, and the cluster is small enough for everybody to look.
pub const ALL_MAX: usize = 5;
/// Of more, so many observe: the fewest of which one can be wrong.
const CHOSEN: usize = 3;

/// A node as far as it matters here.
#[derive(Clone, Debug)]
pub struct Observed {
    /// Its key.
    pub key: NodeKey,
    /// Where it is; `None`: in the region of whoever asks.
    pub region: Option<RegionName>,
    /// What its pool says.
    pub observe: Observe,
}

impl Observed {
    /// What matters of a node in a pool that is observed like this.
    pub fn of(node: &Node, observe: Observe) -> Self {
        Self { key: NodeKey::of(&node.id, &node.address), region: node.region.clone(), observe }
    }

    /// Its observers. The peers of its region if any live there, else all; of these all up to [`ALL_MAX`], else the three
    /// that rank first by rendezvous hash (Thaler and Ravishankar 1998): when one dies, one other takes its place, and
    /// nothing changes for the nodes that it did not observe.
    pub fn observers<'m>(&self, members: &'m Members) -> Vec<&'m Member> {
        if self.observe == Observe::Everywhere {
            return members.iter().collect();
        }
        let region = self.region.as_ref().unwrap_or(&members.own().region);
        let mut near: Vec<&Member> = members.iter().filter(|member| member.region == *region).collect();
        if near.is_empty() {
            near = members.iter().collect();
        }
        if near.len() > ALL_MAX {
            let rank = |member: &&Member| (Reverse(rank(self.key, &member.id)), member.id.clone());
            near.select_nth_unstable_by_key(CHOSEN - 1, rank);
            near.truncate(CHOSEN);
            near.sort_unstable_by(|a, b| a.id.cmp(&b.id));
        }
        near
    }

    /// Whether this peer is one of them.
    pub fn is_observed_here(&self, members: &Members) -> bool {
        self.observers(members).iter().any(|member| member.id == members.own().id)
    }
}

/// How much a peer is meant for a node: XXH3 (64 bits, seed 0) of the key's bytes and the peer's id. Peers of all versions
/// must agree on it.
fn rank(key: NodeKey, peer: &PeerId) -> u64 {
    let mut bytes = Vec::with_capacity(NodeKey::BYTES + peer.as_str().len());
    bytes.extend_from_slice(&key.to_bytes());
    bytes.extend_from_slice(peer.as_str().as_bytes());
    crate::balance::hash::of(&bytes)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// `ams-1@eu` and so on; the first is this peer.
    fn members(texts: &[String]) -> Members {
        let member = |text: &String| {
            let (id, region) = text.split_once('@').unwrap_or((text, "eu"));
            Member { id: id.parse().unwrap(), region: region.parse().unwrap() }
        };
        Members::new(member(&texts[0]), texts[1..].iter().map(member))
    }

    fn cluster(count: usize) -> Vec<String> {
        (0..count).map(|number| format!("p{number:02}")).collect()
    }

    fn node(id: &str, region: Option<&str>) -> Observed {
        let mut node = Node::new(id.parse().unwrap(), "10.0.0.1:80".parse().unwrap());
        node.region = region.map(|region| region.parse().unwrap());
        Observed::of(&node, Observe::Divided)
    }

    fn ids(members: &Members, node: &Observed) -> Vec<String> {
        node.observers(members).iter().map(|member| member.id.to_string()).collect()
    }

    #[test]
    fn observers_by_table() {
        let texts = |texts: &[&str]| texts.iter().map(ToString::to_string).collect::<Vec<_>>();
        for (peers, region, expected) in [
            (&["a"][..], Some("eu"), &["a"][..]),
            (&["a"], Some("us"), &["a"]),
            (&["a@eu", "b@us", "c@us"], Some("us"), &["b", "c"]),
            (&["a@eu", "b@us", "c@us"], Some("eu"), &["a"]),
            // Nobody lives there, so everybody looks.
            (&["a@eu", "b@us", "c@us"], Some("asia"), &["a", "b", "c"]),
            // The node says nothing: it is where the one who asks is, here `a`.
            (&["a@eu", "b@us", "c@eu"], None, &["a", "c"]),
            (&["a", "b", "c", "d", "e"], Some("eu"), &["a", "b", "c", "d", "e"]),
        ] {
            let members = members(&texts(peers));
            assert_eq!(ids(&members, &node("web-1", region)), texts(expected), "{peers:?} {region:?}");
        }
        let members = members(&cluster(20));
        let everywhere = Observed { observe: Observe::Everywhere, ..node("web-1", Some("eu")) };
        assert_eq!(everywhere.observers(&members).len(), 20);
    }

    #[test]
    fn three_of_many_are_chosen_and_all_peers_choose_the_same_for_ever() {
        let mut peers = cluster(6);
        let seen: Vec<Vec<String>> = (0..6)
            .map(|_| {
                peers.rotate_left(1);
                ids(&members(&peers), &node("web-1", Some("eu")))
            })
            .collect();
        assert_eq!(seen, vec![["p00", "p02", "p04"]; 6]);
    }

    #[test]
    fn what_a_node_is_asked_does_not_grow_with_the_peers_and_checks_are_spread_over_them() {
        for count in [6, 20, 128] {
            let members = members(&cluster(count));
            let mut checks = BTreeMap::<String, usize>::new();
            for number in 0..1_000 {
                let observers = ids(&members, &node(&format!("web-{number}"), Some("eu")));
                assert_eq!(observers.len(), 3);
                observers.into_iter().for_each(|peer| *checks.entry(peer).or_default() += 1);
            }
            let mean = 3_000 / count;
            assert!(checks.len() == count && checks.values().all(|&of| of > mean / 3 && of < mean * 2), "{checks:?}");
        }
    }

    #[test]
    fn when_an_observer_dies_only_its_nodes_get_another() {
        let before = members(&cluster(20));
        let after = members(&cluster(20).into_iter().filter(|peer| peer != "p07").collect::<Vec<_>>());
        let mut replaced = 0;
        for number in 0..200 {
            let node = node(&format!("web-{number}"), Some("eu"));
            let (was, is) = (ids(&before, &node), ids(&after, &node));
            let left: Vec<&String> = was.iter().filter(|peer| *peer != "p07").collect();
            assert!(left.iter().all(|peer| is.contains(peer)), "{was:?} {is:?}");
            if was.iter().any(|peer| peer == "p07") {
                replaced += 1;
            } else {
                assert_eq!(was, is);
            }
        }
        assert!(replaced > 10, "{replaced}");
    }

    #[test]
    fn a_peer_knows_whether_it_is_one_of_them() {
        let peers = cluster(20);
        let node = node("web-1", Some("eu"));
        let observers = ids(&members(&peers), &node);
        for own in 0..peers.len() {
            let mut rotated = peers.clone();
            rotated.rotate_left(own);
            assert_eq!(node.is_observed_here(&members(&rotated)), observers.contains(&peers[own]));
        }
    }
}
