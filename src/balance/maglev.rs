//! Hashing to a node: Maglev (Eisenbud and others, NSDI 2016), weighted. Every peer with the same nodes builds the same
//! table whatever their order, and a node that goes away moves few keys but its own.

/// Slots of the table: prime, and at least a hundred a node up to 650 nodes, which keeps shares even to about 1 %.
const SLOTS: u64 = 65_537;

/// What an empty slot holds while the table is filled. Nodes are numbered below 10,000.
const EMPTY: u16 = u16::MAX;

/// A prepared table. Candidates are numbered from 0.
#[derive(Debug)]
pub(crate) struct Maglev {
    table: Vec<u16>,
}

impl Maglev {
    /// A table for candidates of which `keys[i]` is the hash of the id and `weights[i]` the positive weight.
    pub(crate) fn new(keys: &[u64], weights: &[f64]) -> Self {
        Self { table: fill(keys, weights, SLOTS) }
    }

    /// The candidates for `hash`, best first; some come more than once.
    pub(crate) fn walk(&self, hash: u64) -> impl Iterator<Item = usize> + '_ {
        let slots = self.table.len().max(1);
        let start = usize::try_from(hash % slots as u64).unwrap_or(0);
        let (before, from) = self.table.split_at(start.min(self.table.len()));
        from.iter().chain(before).map(|&candidate| usize::from(candidate))
    }
}

/// Each candidate takes the free slot it likes best when it is its turn. A candidate of twice the mean weight takes two a
/// round, one of half of it takes one every other round.
fn fill(keys: &[u64], weights: &[f64], slots: u64) -> Vec<u16> {
    if keys.is_empty() {
        return Vec::new();
    }
    let mean = weights.iter().sum::<f64>() / weights.len() as f64;
    let mut takers: Vec<Taker> = (0..keys.len())
        .map(|i| Taker {
            candidate: u16::try_from(i).unwrap_or(EMPTY),
            key: keys[i],
            at: keys[i] % slots,
            skip: keys[i].rotate_left(32) % (slots - 1) + 1,
            share: weights[i] / mean,
            credit: 0.0,
        })
        .collect();
    // By key, or the table would hang on the order in which nodes were written.
    takers.sort_by_key(|taker| taker.key);
    let mut table = vec![EMPTY; usize::try_from(slots).unwrap_or(0)];
    let mut left = table.len();
    loop {
        for taker in &mut takers {
            taker.credit += taker.share;
            while taker.credit >= 1.0 {
                if left == 0 {
                    return table;
                }
                taker.credit -= 1.0;
                let slot = taker.take_free(&mut table, slots);
                table[slot] = taker.candidate;
                left -= 1;
            }
        }
    }
}

struct Taker {
    candidate: u16,
    key: u64,
    at: u64,
    skip: u64,
    share: f64,
    credit: f64,
}

impl Taker {
    /// The next free slot of its permutation. There is one: the caller counts those left.
    fn take_free(&mut self, table: &mut [u16], slots: u64) -> usize {
        loop {
            let slot = usize::try_from(self.at).unwrap_or(0);
            self.at = (self.at + self.skip) % slots;
            if table[slot] == EMPTY {
                return slot;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::balance::hash;

    fn keys(ids: &[&str]) -> Vec<u64> {
        ids.iter().map(|id| hash::of(id.as_bytes())).collect()
    }

    #[test]
    fn picks_stay_what_they_are_for_ever() {
        let ids = ["web-1", "web-2", "web-3", "web-4", "web-5"];
        let maglev = Maglev::new(&keys(&ids), &[1.0, 1.0, 1.0, 1.0, 2.0]);
        let picked = |key: &str| ids[maglev.walk(hash::of(key.as_bytes())).next().unwrap()];
        let golden = ["", "/", "/cart", "alice", "bob", "10.0.0.1", "203.0.113.7", "2001:db8::1"].map(picked);
        assert_eq!(golden, ["web-1", "web-5", "web-4", "web-1", "web-3", "web-5", "web-1", "web-4"]);
    }

    #[test]
    fn the_order_of_the_file_does_not_matter() {
        let ids = ["a", "b", "c", "d"];
        let weights = [1.0, 2.0, 3.0, 4.0];
        let forward = fill(&keys(&ids), &weights, 1_009);
        let backward = fill(&keys(&["d", "c", "b", "a"]), &[4.0, 3.0, 2.0, 1.0], 1_009);
        assert!(forward.iter().zip(&backward).all(|(&a, &b)| a == 3 - b));
    }

    #[test]
    fn slots_are_shared_by_weight() {
        let weights = [1.0, 2.0, 5.0, 0.5];
        let table = fill(&keys(&["a", "b", "c", "d"]), &weights, SLOTS);
        for (i, weight) in weights.iter().enumerate() {
            let share = table.iter().filter(|&&slot| usize::from(slot) == i).count() as f64 / table.len() as f64;
            assert!((share - weight / 8.5).abs() < 0.001, "node {i}: {share}");
        }
    }

    #[test]
    fn a_node_that_goes_away_moves_few_keys_but_its_own() {
        let ids: Vec<String> = (0..20).map(|i| format!("node-{i}")).collect();
        let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
        let before = fill(&keys(&ids), &[1.0; 20], SLOTS);
        let after = fill(&keys(&ids[..19]), &[1.0; 19], SLOTS);
        let moved = before.iter().zip(&after).filter(|&(&a, &b)| a != 19 && a != b).count();
        assert!(moved < before.len() / 20, "{moved} slots moved without need");
    }

    #[test]
    fn a_walk_meets_every_node_and_nobody_where_there_is_none() {
        let maglev = Maglev::new(&keys(&["a", "b", "c"]), &[1.0; 3]);
        let met: std::collections::HashSet<usize> = maglev.walk(u64::MAX).collect();
        assert_eq!(met.len(), 3);
        assert_eq!(Maglev::new(&[], &[]).walk(1).next(), None);
    }
}
