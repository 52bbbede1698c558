//! Where sessions are at home that go by a hash: prepared from what the catalog says alone, so that every peer finds the same
//! node and a node that fails moves nobody's sessions but its own.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use crate::balance::Maglev;
use crate::model::RegionName;

/// Slots that are looked at for a node that can be used. Where one in a hundred can, 1,024 miss it once in 30,000 sessions, which
/// then go where the strategy says.
const WALK_MAX: usize = 1_024;

/// A node at which sessions may be at home.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Resident {
    /// Where it stands in the pool.
    pub(super) at: u32,
    /// What it is known by to hashing.
    pub(super) key: u64,
    /// As users wrote it: one that ramps would pull sessions about.
    pub(super) weight: u16,
    /// Where it is; `None`: regions make no difference.
    pub(super) region: Option<RegionName>,
}

/// The homes of a pool.
#[derive(Debug)]
pub(super) struct Homes {
    residents: Vec<Resident>,
    whole: Quarter,
    by_region: HashMap<RegionName, Quarter>,
}

impl Homes {
    /// Of these nodes; the same as before where they are the same.
    pub(super) fn of(residents: Vec<Resident>, previous: Option<&Arc<Self>>) -> Arc<Self> {
        if let Some(previous) = previous.filter(|previous| previous.residents == residents) {
            return Arc::clone(previous);
        }
        let names: BTreeSet<&RegionName> = residents.iter().filter_map(|of| of.region.as_ref()).collect();
        let in_region = |name: &RegionName| Quarter::of(residents.iter().filter(|of| of.region.as_ref() == Some(name)));
        let by_region = names.into_iter().map(|name| (name.clone(), in_region(name))).collect();
        Arc::new(Self { whole: Quarter::of(residents.iter()), by_region, residents })
    }

    /// All of them.
    pub(super) fn whole(&self) -> &Quarter {
        &self.whole
    }

    /// Those of one region.
    pub(super) fn of_region(&self, name: &RegionName) -> Option<&Quarter> {
        self.by_region.get(name)
    }
}

/// Some of the homes of a pool, by hash.
#[derive(Debug)]
pub(super) struct Quarter {
    table: Maglev,
    positions: Vec<u32>,
}

impl Quarter {
    fn of<'r>(residents: impl Iterator<Item = &'r Resident>) -> Self {
        let residents: Vec<&Resident> = residents.collect();
        let keys: Vec<u64> = residents.iter().map(|of| of.key).collect();
        let weights: Vec<f64> = residents.iter().map(|of| f64::from(of.weight)).collect();
        Self { table: Maglev::new(&keys, &weights), positions: residents.iter().map(|of| of.at).collect() }
    }

    /// Where the first node on this hash's way stands that may be used. A way is the same whoever is left out.
    pub(super) fn find(&self, hash: u64, may: impl Fn(usize) -> bool) -> Option<usize> {
        let way = self.table.walk(hash).take(WALK_MAX).map(|candidate| self.positions[candidate] as usize);
        let mut last = usize::MAX;
        way.into_iter().find(|&at| {
            let is_new = at != last;
            last = at;
            is_new && may(at)
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::balance::hash;

    fn residents(count: u32) -> Vec<Resident> {
        let of = |at: u32| Resident { at, key: hash::of(format!("node-{at}").as_bytes()), weight: 1, region: None };
        (0..count).map(of).collect()
    }

    proptest! {
        #[test]
        fn who_is_left_out_moves_nobody_but_its_own(count in 2_u32..40, out in 0_usize..40, sessions in prop::collection::vec(any::<u64>(), 50)) {
            let out = out % count as usize;
            let homes = Homes::of(residents(count), None);
            for session in sessions {
                let before = homes.whole().find(session, |_| true).unwrap();
                let after = homes.whole().find(session, |at| at != out);
                prop_assert!(after.is_some() && after != Some(out));
                prop_assert!(before == out || after == Some(before));
            }
        }
    }

    #[test]
    fn sessions_of_one_that_is_left_out_are_shared_among_all_others() {
        let homes = Homes::of(residents(5), None);
        let mut counts = [0_u32; 5];
        for session in 0..10_000_u64 {
            let session = hash::of(&session.to_be_bytes());
            counts[homes.whole().find(session, |at| at != 0).unwrap()] += 1;
        }
        assert_eq!(counts[0], 0);
        assert!(counts[1..].iter().all(|count| count.abs_diff(2_500) < 300), "{counts:?}");
    }

    #[test]
    fn what_is_the_same_is_not_made_again() {
        let first = Homes::of(residents(3), None);
        assert!(Arc::ptr_eq(&Homes::of(residents(3), Some(&first)), &first));
        assert!(!Arc::ptr_eq(&Homes::of(residents(4), Some(&first)), &first));
        assert_eq!(Homes::of(Vec::new(), None).whole().find(7, |_| true), None);
    }
}
