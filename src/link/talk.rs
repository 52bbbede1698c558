//! How often the log tells of one peer's link. A peer that comes and goes many times a minute is one fact, and its lines
//! would bury all others; [`super::Counts`] and the events count every time.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::model::PeerId;
use crate::model::limits::PEERS_MAX;

/// Lines about one peer in one [`SPAN`].
const LINES_MAX: u32 = 6;
/// Lines are counted over this time.
const SPAN: Duration = Duration::from_secs(60);

/// What was told of each peer.
#[derive(Debug, Default)]
pub(super) struct Talk(BTreeMap<PeerId, Told>);

#[derive(Debug)]
struct Told {
    since: Instant,
    lines: u32,
    unsaid: u64,
}

impl Talk {
    /// Whether a line about this peer may be written now, and how many were not written before it.
    pub(super) fn may_say(&mut self, peer: &PeerId, now: Instant) -> Option<u64> {
        if !self.0.contains_key(peer) && self.0.len() >= PEERS_MAX {
            let oldest = self.0.iter().min_by_key(|(_, told)| told.since).map(|(id, _)| id.clone());
            oldest.and_then(|oldest| self.0.remove(&oldest));
        }
        let told = self.0.entry(peer.clone()).or_insert(Told { since: now, lines: 0, unsaid: 0 });
        if now.saturating_duration_since(told.since) >= SPAN {
            (told.since, told.lines) = (now, 0);
        }
        if told.lines >= LINES_MAX {
            told.unsaid += 1;
            return None;
        }
        told.lines += 1;
        Some(std::mem::take(&mut told.unsaid))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host;

    #[test]
    fn a_peer_that_comes_and_goes_is_told_of_a_few_times_a_minute_and_what_was_left_out_is_counted() {
        let start = host::now();
        let mut talk = Talk::default();
        let mut say = |id: &str, ms: u64| talk.may_say(&id.parse().unwrap(), start + Duration::from_millis(ms));
        let said = (0..1_000).filter(|&ms| say("rogue", ms).is_some()).count();
        assert_eq!(said, LINES_MAX as usize);
        assert_eq!(say("ams", 1_000), Some(0), "nobody else is silenced");
        assert_eq!(say("rogue", 60_000), Some(1_000 - u64::from(LINES_MAX)));
        assert_eq!(say("rogue", 60_001), Some(0));
    }

    #[test]
    fn no_more_is_kept_than_there_may_be_peers() {
        let start = host::now();
        let mut talk = Talk::default();
        for at in 0..10 * PEERS_MAX {
            let id = format!("p{at}").parse().unwrap();
            assert_eq!(talk.may_say(&id, start + Duration::from_micros(at as u64)), Some(0));
        }
        assert_eq!(talk.0.len(), PEERS_MAX);
    }
}
