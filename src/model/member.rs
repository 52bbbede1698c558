//! Who is in the cluster at one moment, as one peer sees it.

use super::id::{PeerId, RegionName};
use super::limits::PEERS_MAX;

/// A peer that lives.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Member {
    /// Its name.
    pub id: PeerId,
    /// Where it is.
    pub region: RegionName,
}

/// This peer and the others that live now: sorted by id, each once, [`PEERS_MAX`] at most.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Members {
    sorted: Vec<Member>,
    own: usize,
    left_out: usize,
}

impl Members {
    /// A cluster of one.
    pub fn alone(own: Member) -> Self {
        Self { sorted: vec![own], own: 0, left_out: 0 }
    }

    /// This peer and others. Of two with one id the first counts, and nobody else is this peer. Of too many the greatest ids
    /// are left out, so that all peers leave out the same; this peer never leaves out itself.
    pub fn new(own: Member, others: impl IntoIterator<Item = Member>) -> Self {
        let mut sorted: Vec<Member> = others.into_iter().filter(|other| other.id != own.id).collect();
        sorted.sort_by(|a, b| a.id.cmp(&b.id));
        sorted.dedup_by(|later, first| later.id == first.id);
        let left_out = sorted.len().saturating_sub(PEERS_MAX - 1);
        sorted.truncate(PEERS_MAX - 1);
        let at = sorted.partition_point(|other| other.id < own.id);
        sorted.insert(at, own);
        Self { sorted, own: at, left_out }
    }

    /// This peer.
    pub fn own(&self) -> &Member {
        &self.sorted[self.own]
    }

    /// All of them, by id.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Member> {
        self.sorted.iter()
    }

    /// All but this peer, by id.
    pub fn others(&self) -> impl Iterator<Item = &Member> {
        self.sorted.iter().enumerate().filter(|(at, _)| *at != self.own).map(|(_, member)| member)
    }

    /// How many there are; never 0.
    #[expect(clippy::len_without_is_empty, reason = "there is always this peer")]
    pub fn len(&self) -> usize {
        self.sorted.len()
    }

    /// Whether there is nobody but this peer.
    pub fn is_alone(&self) -> bool {
        self.sorted.len() == 1
    }

    /// Whether it is one of them.
    pub fn contains(&self, id: &PeerId) -> bool {
        self.sorted.binary_search_by(|member| member.id.cmp(id)).is_ok()
    }

    /// How many live and are left out, because they are more than [`PEERS_MAX`].
    pub fn left_out(&self) -> usize {
        self.left_out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(id: &str) -> Member {
        Member { id: id.parse().unwrap(), region: RegionName::default() }
    }

    fn ids(members: &Members) -> Vec<&str> {
        members.iter().map(|member| member.id.as_str()).collect()
    }

    #[test]
    fn members_are_sorted_and_each_stands_there_once() {
        let members = Members::new(member("m"), ["z", "a", "z", "m"].map(member));
        assert_eq!(ids(&members), ["a", "m", "z"]);
        assert_eq!(members.own(), &member("m"));
        assert_eq!(members.others().map(|other| other.id.as_str()).collect::<Vec<_>>(), ["a", "z"]);
        assert!(members.contains(&"z".parse().unwrap()) && !members.contains(&"b".parse().unwrap()));
        assert_eq!(Members::new(member("m"), []), Members::alone(member("m")));
        assert!(Members::alone(member("m")).is_alone() && !members.is_alone());
    }

    #[test]
    fn too_many_are_cut_at_the_same_end_by_all_and_nobody_leaves_out_itself() {
        let all = || (0..PEERS_MAX + 10).map(|number| member(&format!("p{number:03}")));
        let members = Members::new(member("zz"), all());
        assert_eq!((members.len(), members.left_out()), (PEERS_MAX, 11));
        assert_eq!(members.own().id.as_str(), "zz");
        let first = Members::new(member("p000"), all());
        assert_eq!((first.len(), first.left_out()), (PEERS_MAX, 10));
        assert_eq!(ids(&first)[..PEERS_MAX - 1], ids(&members)[..PEERS_MAX - 1]);
    }
}
