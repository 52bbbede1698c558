//! Who was refused, and why: counted for each reason and address, and told once a minute for each. Whoever has more addresses
//! than are kept apart is told of no more often than that many times a minute.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use crate::model::limits::REFUSALS_MAX;
use crate::wire::Refusal;

/// A refusal that comes again is told again after this long.
const TELL_EVERY: Duration = Duration::from_secs(60);
/// A refusal is shown for so long after its last time, as the dead are: what was mended is no fault any more.
const SHOWN_FOR: Duration = Duration::from_secs(600);

/// Refusals of one reason between this peer and one address.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SeenRefusal {
    /// Why.
    pub reason: Refusal,
    /// The other side's address, with the port of the last time.
    pub address: SocketAddr,
    /// True where this peer was refused, false where it refused.
    pub by_other: bool,
    /// How often.
    pub count: u64,
    /// The last time.
    pub last: Instant,
}

/// The table. What no longer fits pushes out what is oldest; the totals keep counting it.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    seen: BTreeMap<(Refusal, IpAddr, bool), Entry>,
    totals: [u64; Refusal::ALL.len()],
    /// When the minute at hand began, and how often something was told in it: an entry that was pushed out is told anew.
    told: Option<(Instant, usize)>,
}

#[derive(Debug)]
struct Entry {
    seen: SeenRefusal,
    told: Instant,
}

impl Refusals {
    /// Counts a refusal; true where it is to be told.
    pub(super) fn note(&mut self, reason: Refusal, address: SocketAddr, by_other: bool, now: Instant) -> bool {
        self.totals[reason as usize] += 1;
        let key = (reason, address.ip(), by_other);
        if let Some(entry) = self.seen.get_mut(&key) {
            entry.seen = SeenRefusal { address, count: entry.seen.count + 1, last: now, ..entry.seen };
            let again = now.duration_since(entry.told) >= TELL_EVERY;
            if again {
                entry.told = now;
            }
            return again && self.may_tell(now);
        }
        if self.seen.len() == REFUSALS_MAX {
            let oldest = self.seen.iter().min_by_key(|(_, entry)| entry.seen.last).map(|(key, _)| *key);
            oldest.and_then(|key| self.seen.remove(&key));
        }
        let seen = SeenRefusal { reason, address, by_other, count: 1, last: now };
        self.seen.insert(key, Entry { seen, told: now });
        self.may_tell(now)
    }

    fn may_tell(&mut self, now: Instant) -> bool {
        let (began, times) = self.told.filter(|(began, _)| now.duration_since(*began) < TELL_EVERY).unwrap_or((now, 0));
        let may = times < REFUSALS_MAX;
        self.told = Some((began, times + usize::from(may)));
        may
    }

    /// Those that are kept apart and were met lately.
    pub(super) fn seen(&self, now: Instant) -> impl Iterator<Item = SeenRefusal> {
        let seen = self.seen.values().map(|entry| entry.seen);
        seen.filter(move |seen| now.saturating_duration_since(seen.last) < SHOWN_FOR)
    }

    /// How often each reason was met.
    pub(super) fn totals(&self) -> [u64; Refusal::ALL.len()] {
        self.totals
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host;

    #[test]
    fn a_refusal_is_told_once_a_minute_and_always_counted() {
        let start = host::now();
        let mut refusals = Refusals::default();
        let mut note = |reason, address: &str, seconds| {
            refusals.note(reason, address.parse().unwrap(), false, start + Duration::from_secs(seconds))
        };
        assert!(note(Refusal::WrongKey, "10.0.0.1:1000", 0));
        assert!(!note(Refusal::WrongKey, "10.0.0.1:2000", 59), "another port is the same machine");
        assert!(note(Refusal::IdTaken, "10.0.0.1:1000", 59));
        assert!(note(Refusal::WrongKey, "10.0.0.2:1000", 59));
        assert!(note(Refusal::WrongKey, "10.0.0.1:3000", 60));
        let first = refusals.seen(start + Duration::from_secs(60)).next().unwrap();
        assert_eq!((first.count, first.address.port(), first.last), (3, 3000, start + Duration::from_secs(60)));
        assert_eq!(refusals.totals()[Refusal::WrongKey as usize], 4);
    }

    #[test]
    fn many_addresses_push_out_the_oldest_and_no_count() {
        let start = host::now();
        let mut refusals = Refusals::default();
        for at in 0..1_000_u32 {
            let address = SocketAddr::new(IpAddr::V4(at.into()), 1);
            refusals.note(Refusal::WrongKey, address, false, start + Duration::from_millis(u64::from(at)));
        }
        let seen: Vec<_> = refusals.seen(start + Duration::from_secs(1)).collect();
        assert_eq!(seen.len(), REFUSALS_MAX);
        assert!(seen.iter().all(|seen| seen.last >= start + Duration::from_millis(936)));
        assert_eq!(refusals.totals()[Refusal::WrongKey as usize], 1_000);
    }

    #[test]
    fn somebody_with_many_addresses_does_not_fill_the_log() {
        let start = host::now();
        let mut refusals = Refusals::default();
        let mut told = 0;
        for at in 0..10_000_u32 {
            let address = SocketAddr::new(IpAddr::V4((at % 1_000).into()), 1);
            let now = start + Duration::from_millis(u64::from(at) * 5);
            told += usize::from(refusals.note(Refusal::WrongKey, address, false, now));
        }
        assert_eq!(told, REFUSALS_MAX, "in 50 s");
        let again = SocketAddr::new(IpAddr::V4(5_000.into()), 1);
        assert!(refusals.note(Refusal::WrongKey, again, false, start + Duration::from_secs(60)), "another minute");
    }

    #[test]
    fn a_refusal_that_does_not_come_again_is_shown_for_ten_minutes_and_stays_counted() {
        let start = host::now();
        let mut refusals = Refusals::default();
        refusals.note(Refusal::WrongKey, "10.0.0.1:1000".parse().unwrap(), true, start);
        assert_eq!(refusals.seen(start + Duration::from_secs(599)).count(), 1);
        assert_eq!(refusals.seen(start + Duration::from_secs(600)).count(), 0);
        assert_eq!(refusals.totals()[Refusal::WrongKey as usize], 1);
    }
}
