//! Buckets by hash, of which there are more as they are needed, up to a bound. Nothing here is locked, moved or given back.
//!
//! A level has a number of buckets that stays. Where one of them is too full, all that is new goes to the next level, which is
//! several times as large; what stands in the levels before is found there until it is of no more use. Memory is taken a segment
//! at a time, as the first key comes to it.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Buckets for which memory is taken at once.
const SEGMENT_BUCKETS: usize = 512;

pub(super) struct Levels<B> {
    levels: Box<[Level<B>]>,
    newest: AtomicUsize,
}

struct Level<B> {
    segments: Box<[OnceLock<Box<[B]>>]>,
    /// A power of two.
    buckets: usize,
}

impl<B: Default> Levels<B> {
    /// Levels of so many buckets, each a power of two and more than the one before.
    pub(super) fn new(buckets: &[usize]) -> Self {
        let level = |&buckets: &usize| {
            debug_assert!(buckets.is_power_of_two());
            let segments = (0..buckets.div_ceil(SEGMENT_BUCKETS)).map(|_| OnceLock::new()).collect();
            Level { segments, buckets }
        };
        Self { levels: buckets.iter().map(level).collect(), newest: AtomicUsize::new(0) }
    }

    /// The level that new keys go to.
    pub(super) fn newest(&self) -> usize {
        self.newest.load(Relaxed)
    }

    /// The bucket of a hash.
    pub(super) fn bucket(&self, level: usize, hash: u64) -> &B {
        let (segment, bucket) = self.place(level, hash);
        let segment = &self.levels[level].segments[segment];
        let buckets = segment.get().unwrap_or_else(|| {
            let buckets = self.levels[level].buckets.min(SEGMENT_BUCKETS);
            // Nobody is waited for: of two who take memory for it, one gives it back.
            let _ = segment.set((0..buckets).map(|_| B::default()).collect());
            segment.wait()
        });
        &buckets[bucket]
    }

    /// The same, where ever a key came there.
    pub(super) fn known(&self, level: usize, hash: u64) -> Option<&B> {
        let (segment, bucket) = self.place(level, hash);
        self.levels[level].segments[segment].get().map(|buckets| &buckets[bucket])
    }

    fn place(&self, level: usize, hash: u64) -> (usize, usize) {
        #[expect(clippy::cast_possible_truncation, reason = "the low bits are what is wanted")]
        let bucket = hash as usize & (self.levels[level].buckets - 1);
        (bucket / SEGMENT_BUCKETS, bucket % SEGMENT_BUCKETS)
    }

    /// Begins the level after `full`. False where there is none.
    pub(super) fn grow(&self, full: usize) -> bool {
        if full + 1 == self.levels.len() {
            return false;
        }
        // Somebody else may have done so already.
        let _ = self.newest.compare_exchange(full, full + 1, Relaxed, Relaxed);
        true
    }

    /// Memory that is taken.
    pub(super) fn bytes(&self) -> usize {
        let taken = |level: &Level<B>| {
            let segments = level.segments.iter().filter_map(OnceLock::get).map(|buckets| size_of_val(&**buckets));
            size_of_val(&*level.segments) + segments.sum::<usize>()
        };
        self.levels.iter().map(taken).sum()
    }
}
