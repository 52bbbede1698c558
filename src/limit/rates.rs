//! How each key stands with its rate: a table of a fixed greatest size, read and written without locks.
//!
//! A slot is two words: the hash of a key, and when its next one would come. One whose time is over says nothing that an empty
//! one does not, so it is free for whoever comes. Where all slots of a bucket are of use still and the table may not grow, a key
//! that was never refused gives way before one that was, and of either kind the one that is nearest to having its whole burst again;
//! it loses least. So one that is limited stays, however many others come, unless its bucket fills with others that are. What is
//! used up would not say so by itself: with a burst of one everybody who came has used up all.
//!
//! Two words are not written at once. Who claims a slot writes the hash first; a key that gives way in that moment, or its heir,
//! may be charged for one request of the other. Nothing else can come of a race.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};
use std::time::Duration;

use super::gcra::Gcra;
use super::levels::Levels;
use crate::model::limits::RATE_KEYS_MAX;

/// Keys of a bucket.
const WAYS: usize = 8;
/// Bits of the second word that say how long a burst of the key takes; the rest is its time.
const SCALE_BITS: u32 = 6;
/// The bit beside these that says that the key was refused.
const REFUSED: u64 = 1 << SCALE_BITS;
/// Bits that are not time.
const BESIDE_BITS: u32 = SCALE_BITS + 1;
/// The latest time that a slot holds: four and a half years.
const TIME_MAX: u64 = u64::MAX >> BESIDE_BITS;
/// Buckets of each level.
const BUCKETS: [usize; 5] = [1 << 4, 1 << 8, 1 << 12, 1 << 16, RATE_KEYS_MAX / WAYS];

/// Two cache lines.
#[derive(Default)]
#[repr(align(128))]
struct Bucket {
    /// 0: nobody was here yet.
    keys: [AtomicU64; WAYS],
    times: [AtomicU64; WAYS],
}

/// When the next one of a key would come.
#[derive(Clone, Copy, Default)]
struct Time(u64);

impl Time {
    /// Of a key that stood there as `before`.
    fn of(next: u64, gcra: Gcra, before: Self) -> Self {
        Self(next.min(TIME_MAX) << BESIDE_BITS | before.0 & REFUSED | u64::from(gcra.scale()))
    }

    fn next(self) -> u64 {
        self.0 >> BESIDE_BITS
    }

    fn was_refused(self) -> bool {
        self.0 & REFUSED != 0
    }

    /// How much of its burst is used up, in parts of 1,024 of the power of two below its tolerance; 0: it is of no more use.
    fn used(self, now: u64) -> u64 {
        let ahead = u128::from(self.next().saturating_sub(now));
        let scale = self.0 & ((1 << SCALE_BITS) - 1);
        let parts = u64::try_from((ahead << 10) >> scale).unwrap_or(u64::MAX);
        if ahead == 0 { 0 } else { parts.max(1) }
    }
}

impl Bucket {
    fn find(&self, key: u64) -> Option<&AtomicU64> {
        let at = self.keys.iter().position(|known| known.load(Acquire) == key)?;
        Some(&self.times[at])
    }

    /// The slot that a newcomer takes, whose it was, its time, and how much of use that is still.
    fn least(&self, now: u64) -> (usize, u64, Time, u64) {
        let mut least = (0, 0, Time::default(), u64::MAX);
        let mut least_rank = (true, u64::MAX);
        for (at, (key, time)) in self.keys.iter().zip(&self.times).enumerate() {
            let (key, time) = (key.load(Acquire), Time(time.load(Acquire)));
            let used = if key == 0 { 0 } else { time.used(now) };
            let rank = (used > 0 && time.was_refused(), used);
            if rank < least_rank {
                (least, least_rank) = ((at, key, time, used), rank);
            }
            if used == 0 {
                break;
            }
        }
        least
    }
}

/// How keys stand with their rates.
pub(super) struct Rates {
    levels: Levels<Bucket>,
    forgotten: AtomicU64,
}

impl Default for Rates {
    fn default() -> Self {
        Self { levels: Levels::new(&BUCKETS), forgotten: AtomicU64::new(0) }
    }
}

impl Rates {
    /// Takes one for the key of this hash, or says how long it is until one may pass.
    pub(super) fn take(&self, hash: u64, gcra: Gcra, now: u64) -> Result<(), Duration> {
        let key = hash.max(1);
        loop {
            let level = self.levels.newest();
            let bucket = self.levels.bucket(level, hash);
            let Some(time) = bucket.find(key) else {
                let before = self.before(level, hash, now).unwrap_or_default();
                // Who may not pass needs no slot: it is known where it was found.
                gcra.take(before.next(), now)?;
                self.claim(bucket, (level, key), before, now);
                continue;
            };
            let mut word = time.load(Acquire);
            loop {
                let taken = gcra.take(Time(word).next(), now);
                let new = match taken {
                    Err(_) if Time(word).was_refused() => return taken.map(|_| ()),
                    Err(_) => word | REFUSED,
                    Ok(next) => Time::of(next, gcra, Time(word)).0,
                };
                match time.compare_exchange_weak(word, new, AcqRel, Acquire) {
                    Ok(_) => return taken.map(|_| ()),
                    Err(newer) => word = newer,
                }
            }
        }
    }

    /// Gives the key a slot, unless others were faster, or there is room in a larger level.
    fn claim(&self, bucket: &Bucket, (level, key): (usize, u64), before: Time, now: u64) {
        let (at, old, time, used) = bucket.least(now);
        if used > 0 && self.levels.grow(level) {
            return;
        }
        if bucket.keys[at].compare_exchange(old, key, AcqRel, Relaxed).is_err() {
            return;
        }
        if used > 0 {
            self.forgotten.fetch_add(1, Relaxed);
        }
        if used > 0 || before.next() > now || time.was_refused() {
            // Where it was moved meanwhile, that was by the key itself or is one request of the one before.
            let _ = bucket.times[at].compare_exchange(time.0, before.0, AcqRel, Relaxed);
        }
    }

    /// When the next one of a key would come, as far as a level before this one knows.
    fn before(&self, level: usize, hash: u64, now: u64) -> Option<Time> {
        let key = hash.max(1);
        let times = (0..level).filter_map(|level| {
            let time = Time(self.levels.known(level, hash)?.find(key)?.load(Acquire));
            (time.next() > now).then_some(time)
        });
        times.max_by_key(|time| time.next())
    }

    /// How many of the key of this hash may pass at once, and how long it is until one may. Takes none.
    pub(super) fn look(&self, hash: u64, gcra: Gcra, now: u64) -> (u64, Duration) {
        let level = self.levels.newest();
        let here = self.levels.known(level, hash).and_then(|bucket| bucket.find(hash.max(1)));
        let here = here.map(|time| Time(time.load(Acquire)));
        let next = here.or_else(|| self.before(level, hash, now)).unwrap_or_default().next();
        (gcra.left(next, now), gcra.take(next, now).err().unwrap_or_default())
    }

    /// Keys that were of use still and gave way.
    pub(super) fn forgotten(&self) -> u64 {
        self.forgotten.load(Relaxed)
    }

    /// Memory that is taken.
    pub(super) fn bytes(&self) -> usize {
        self.levels.bytes()
    }
}

#[cfg(test)]
mod tests;
