//! What other peers have in flight, as the choice of a node sees it: the sum of what each said last, less with every moment
//! that it is older, so that peers do not all send to the node that each of them finds idle.

use std::time::Instant;

use super::heard::{Load, Slots};
use super::picture::View;

impl View {
    /// Writes what others have in flight now into the counts that picks read. True while some of it will age.
    ///
    /// Into the live counts and not into what strategies prepared, because it changes all the time: a hash table is not made
    /// again for it, and a pick reads it from the line that it reads anyway.
    pub(super) fn share_load(&self, now: Instant) -> bool {
        let alive = self.observers.alive(&self.members);
        let mut sums: Vec<Vec<f64>> = self.pools.iter().map(|pool| vec![0.0; pool.nodes.len()]).collect();
        let mut some = false;
        for (load, share) in self.loads(alive, now) {
            some = true;
            for &(place, count) in &load.in_flight {
                if let Some(sum) = sums.get_mut(place.pool).and_then(|pool| pool.get_mut(place.node)) {
                    *sum += f64::from(count) * share;
                }
            }
        }
        for (pool, sums) in self.pools.iter().zip(sums) {
            for (node, sum) in pool.nodes.iter().zip(&sums) {
                node.live.set_in_flight_elsewhere(rounded(*sum));
            }
            pool.live.set_in_flight_elsewhere(rounded(sums.iter().sum()));
        }
        some
    }

    /// Whether anything counts that others have in flight.
    pub(super) fn has_load(&self, now: Instant) -> bool {
        self.loads(self.observers.alive(&self.members), now).next().is_some()
    }

    fn loads(&self, alive: Slots, now: Instant) -> impl Iterator<Item = (&Load, f64)> {
        let living = self.observers.known().filter(move |(slot, _)| alive.has(*slot));
        let loads = living.filter_map(move |(_, observer)| {
            let load = observer.load.as_deref()?;
            Some((load, load.share(observer.swept, now)))
        });
        loads.filter(|(_, share)| *share > 0.0)
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "not negative, and the cast saturates")]
fn rounded(sum: f64) -> u32 {
    sum.round() as u32
}
