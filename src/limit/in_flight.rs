//! How many of each key are under way at the same time: a table of a fixed greatest size, read and written without locks.
//!
//! A slot is one word, 44 bits of the hash of a key and 20 bits of its count. A count of 0 is a free slot, and no other is ever
//! given away. A key may come to stand in two slots where two of its first come in the same moment, or as the table grows; its
//! count is the sum. Two that come in the same moment to two slots may be one too many.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};

use super::levels::Levels;
use crate::model::limits::{CONNECTION_LIMIT_MAX, IN_FLIGHT_KEYS_MAX};

/// Keys of a bucket.
const WAYS: usize = 8;
const COUNT_BITS: u32 = 20;
const COUNT_MASK: u64 = (1 << COUNT_BITS) - 1;
/// Buckets of each level.
const BUCKETS: [usize; 5] = [1 << 4, 1 << 8, 1 << 12, 1 << 16, IN_FLIGHT_KEYS_MAX / WAYS];

const _: () = assert!((CONNECTION_LIMIT_MAX as u64) < COUNT_MASK);
// What tells keys of a bucket apart is not what led them there.
const _: () = assert!(IN_FLIGHT_KEYS_MAX / WAYS <= 1 << COUNT_BITS);

/// One cache line.
#[derive(Default)]
#[repr(align(64))]
struct Bucket([AtomicU64; WAYS]);

/// Where something is counted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    hash: u64,
    level: usize,
    slot: usize,
}

/// As many as may be are under way.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Full;

pub(super) struct InFlight {
    levels: Levels<Bucket>,
    uncounted: AtomicU64,
}

impl Default for InFlight {
    fn default() -> Self {
        Self { levels: Levels::new(&BUCKETS), uncounted: AtomicU64::new(0) }
    }
}

impl InFlight {
    /// Counts one in, of at most `max`. `None`: there is no room to count it, which is no reason to turn it away.
    pub(super) fn enter(&self, hash: u64, max: u32) -> Result<Option<Place>, Full> {
        loop {
            let newest = self.levels.newest();
            let (count, own) = self.find(hash, newest);
            if count >= u64::from(max) {
                return Err(Full);
            }
            let (level, slot, word) = match own {
                Some(own) => own,
                None => {
                    let Bucket(slots) = self.levels.bucket(newest, hash);
                    let free = slots.iter().map(|slot| slot.load(Acquire)).enumerate();
                    match free.into_iter().find(|(_, word)| word & COUNT_MASK == 0) {
                        Some((slot, word)) => (newest, slot, word),
                        None if self.levels.grow(newest) => continue,
                        None => {
                            self.uncounted.fetch_add(1, Relaxed);
                            return Ok(None);
                        }
                    }
                }
            };
            let counted = (hash & !COUNT_MASK) | ((word & COUNT_MASK) + 1);
            let Bucket(slots) = self.levels.bucket(level, hash);
            if slots[slot].compare_exchange_weak(word, counted, AcqRel, Relaxed).is_ok() {
                return Ok(Some(Place { hash, level, slot }));
            }
        }
    }

    /// Counts out what was counted in there.
    pub(super) fn leave(&self, Place { hash, level, slot }: Place) {
        let Bucket(slots) = self.levels.bucket(level, hash);
        slots[slot].fetch_sub(1, AcqRel);
    }

    /// How many of the key of this hash are under way.
    pub(super) fn count(&self, hash: u64) -> u64 {
        self.find(hash, self.levels.newest()).0
    }

    /// How many are under way, and a slot that the key has.
    fn find(&self, hash: u64, newest: usize) -> (u64, Option<(usize, usize, u64)>) {
        let (mut count, mut own) = (0, None);
        for level in 0..=newest {
            let Some(Bucket(slots)) = self.levels.known(level, hash) else { continue };
            for (slot, word) in slots.iter().map(|slot| slot.load(Acquire)).enumerate() {
                if word & COUNT_MASK > 0 && word & !COUNT_MASK == hash & !COUNT_MASK {
                    count += word & COUNT_MASK;
                    own = Some((level, slot, word));
                }
            }
        }
        (count, own)
    }

    /// How many were let in uncounted.
    pub(super) fn uncounted(&self) -> u64 {
        self.uncounted.load(Relaxed)
    }

    /// Memory that is taken.
    pub(super) fn bytes(&self) -> usize {
        self.levels.bytes()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;
    use crate::host::Dice;

    fn hash(key: u64) -> u64 {
        Dice::from_seed(key).bits()
    }

    #[test]
    fn a_million_keys_are_counted_at_the_same_time_in_bounded_memory() {
        let table = InFlight::default();
        let places: Vec<_> = (0..1_000_000).map(|key| table.enter(hash(key), 1).unwrap()).collect();
        let uncounted = places.iter().filter(|place| place.is_none()).count();
        assert_eq!(table.uncounted(), uncounted as u64);
        assert!(uncounted < 10_000, "{uncounted}");
        let full = (0..1_000_000).filter(|&key| table.enter(hash(key), 1).is_err()).count();
        assert!(full >= 1_000_000 - uncounted, "{full}");
        assert!(table.bytes() < 21 << 20, "{}", table.bytes());
        places.into_iter().flatten().for_each(|place| table.leave(place));
        assert_eq!((0..1_000_000).map(|key| table.count(hash(key))).max(), Some(0));
    }

    #[test]
    fn threads_that_come_and_go_leave_nothing_behind_and_are_never_many_too_many() {
        let (table, inside) = (InFlight::default(), AtomicU64::new(0));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for turn in 0..50_000u64 {
                        // Others come and go around it, so that slots are taken and given back.
                        let other = table.enter(hash(1 + turn % 300), 1_000);
                        if let Ok(Some(place)) = table.enter(hash(0), 2) {
                            // Each that entered in the same moment may be one too many.
                            assert!(inside.fetch_add(1, AcqRel) < 4);
                            inside.fetch_sub(1, AcqRel);
                            table.leave(place);
                        }
                        if let Ok(Some(place)) = other {
                            table.leave(place);
                        }
                    }
                });
            }
        });
        assert_eq!((0..301).map(|key| table.count(hash(key))).sum::<u64>(), 0);
    }

    proptest! {
        #[test]
        fn it_counts_as_a_plain_map_does(turns in prop::collection::vec((0u64..60, 0u32..4, any::<bool>()), 1..400)) {
            let table = InFlight::default();
            let mut model: HashMap<u64, Vec<Place>> = HashMap::new();
            for (key, max, leaves) in turns {
                let held = model.entry(key).or_default();
                if leaves {
                    held.pop().into_iter().for_each(|place| table.leave(place));
                } else {
                    match table.enter(hash(key), max) {
                        Ok(place) => {
                            prop_assert!(held.len() < max as usize);
                            held.push(place.unwrap());
                        }
                        Err(Full) => prop_assert!(held.len() >= max as usize),
                    }
                }
                prop_assert_eq!(table.count(hash(key)), held.len() as u64);
            }
        }
    }
}
