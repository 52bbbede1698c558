//! Observations as text: pages that fit a gossip value, and that change only when something changed that routing cares for.
//!
//! A node takes 8 bytes: its key (6), flags (1) and latency (1). 10,000 nodes in one value would block every later key of
//! their peer, so nodes are spread over pages by the first bits of their keys; a vote on one node re-sends one page.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD as BASE64;

use crate::model::limits::{GOSSIP_VALUE_BYTES_MAX, HEARD_PAGES_MAX, NODES_MAX, OBSERVATIONS_PER_PAGE_MAX};
use crate::model::{Health, Heard, NodeKey};

/// The first byte of every page; a page that begins otherwise is of a later version and is left alone.
const VERSION: u8 = 1;
/// Bytes of one node.
const ENTRY_BYTES: usize = 8;
/// Most bits of a node's key that name its page: with 10,000 nodes, which a hash spreads evenly, 6 are enough, and a seventh is
/// for bad luck.
const PAGE_BITS_MAX: u32 = HEARD_PAGES_MAX.ilog2();
/// One step of a latency is 7 %: 255 steps reach from 10 µs to five minutes.
const LATENCY_STEP: f64 = 1.07;
/// The least latency that is told apart from none.
const LATENCY_LEAST: Duration = Duration::from_micros(10);
/// A latency is told anew when it is so many steps (14 %) from what was told: an average that trembles costs nothing.
const LATENCY_STEPS_NEW: u8 = 2;

/// A page on which nothing but latencies moved waits so long after it was said. A connect takes 0.1 ms and then 3 ms, and
/// nobody decides by the difference: said at once, latencies alone were nearly all that 1,000 nodes cost.
const LATENCIES_EVERY: Duration = Duration::from_secs(10);

const VOTE: u8 = 0b0000_0011;
const REACHED_BEFORE: u8 = 0b0000_0100;
const EJECTED: u8 = 0b0000_1000;

const _: () = assert!((1 + OBSERVATIONS_PER_PAGE_MAX * ENTRY_BYTES).div_ceil(3) * 4 <= GOSSIP_VALUE_BYTES_MAX);
const _: () = assert!(NODES_MAX * 2 <= OBSERVATIONS_PER_PAGE_MAX << PAGE_BITS_MAX);
const _: () = assert!(PAGE_BITS_MAX <= u8::BITS, "the first byte of a key names its page");

/// Why a page cannot be read.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub(super) enum PageError {
    /// Not base64.
    #[error("it is not base64")]
    Text,
    /// A later version.
    #[error("it is of version {0}, and this peer reads {VERSION}")]
    Version(u8),
    /// Empty, too long, or it ends within a node.
    #[error("it has {0} bytes")]
    Length(usize),
}

/// What this peer says of nodes, on pages.
#[derive(Debug, Default)]
pub(super) struct Pages {
    nodes: BTreeMap<NodeKey, Entry>,
    /// How many of a key's first bits name its page.
    bits: u32,
    /// How each page differs from what was said.
    changed: Vec<Change>,
    /// When something was said of each page, where it was not taken back.
    said: Vec<Option<Instant>>,
}

/// How a page differs from what was said.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
enum Change {
    #[default]
    Nothing,
    /// Only in latencies.
    Latencies,
    /// In what others decide by.
    Votes,
}

/// A node as it is written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Entry {
    flags: u8,
    latency: u8,
}

impl Pages {
    /// Takes in what this peer knows of a node now; `None`: it no longer looks at it. Who has no vote and turns no traffic
    /// away says nothing: of many peers, few observe a node.
    pub(super) fn set(&mut self, node: NodeKey, heard: Option<&Heard>) {
        let Some(entry) = heard.filter(|heard| heard.vote.is_some() || heard.ejected).map(Entry::of) else {
            if self.nodes.remove(&node).is_some() {
                self.mark(node, Change::Votes);
            }
            return;
        };
        let change = match self.nodes.get(&node) {
            Some(known) if known.flags != entry.flags => Change::Votes,
            Some(known) if known.is_far_from(entry.latency) => Change::Latencies,
            Some(_) => return,
            None if self.nodes.len() >= NODES_MAX => return,
            None => Change::Votes,
        };
        self.nodes.insert(node, entry);
        self.mark(node, change);
        self.make_room(node);
    }

    /// Takes out what is to be said now: a page and its text; `None`: the page is gone.
    pub(super) fn take_changes(&mut self, now: Instant) -> Vec<(u16, Option<String>)> {
        let mut changes = Vec::new();
        for page in 0..self.count() {
            let slot = usize::from(page);
            self.said.resize(usize::from(self.count()), None);
            let waits = |said: Instant| now.saturating_duration_since(said) < LATENCIES_EVERY;
            match self.changed.get(slot).copied().unwrap_or_default() {
                Change::Nothing => continue,
                Change::Latencies if self.said[slot].is_some_and(waits) => continue,
                Change::Latencies | Change::Votes => self.changed[slot] = Change::Nothing,
            }
            let text = self.text(page);
            let was_said = std::mem::replace(&mut self.said[slot], text.is_some().then_some(now)).is_some();
            if text.is_some() || was_said {
                changes.push((page, text));
            }
        }
        changes
    }

    /// Everything is to be said again: whoever said it before forgot.
    pub(super) fn begin(&mut self) {
        self.said.clear();
        self.say_all();
    }

    fn say_all(&mut self) {
        self.changed = vec![Change::Votes; usize::from(self.count())];
    }

    fn count(&self) -> u16 {
        1 << self.bits
    }

    fn page_of(&self, node: NodeKey) -> u16 {
        let [first, ..] = node.to_bytes();
        u16::from(first) >> (u8::BITS - self.bits)
    }

    fn mark(&mut self, node: NodeKey, change: Change) {
        let slot = usize::from(self.page_of(node));
        self.changed.resize(usize::from(self.count()), Change::Nothing);
        self.changed[slot] = self.changed[slot].max(change);
    }

    /// Spreads nodes over twice as many pages while the page of `node` is too full.
    fn make_room(&mut self, node: NodeKey) {
        while self.on_page(self.page_of(node)).count() > OBSERVATIONS_PER_PAGE_MAX && self.bits < PAGE_BITS_MAX {
            self.bits += 1;
            self.say_all();
        }
    }

    fn on_page(&self, page: u16) -> impl Iterator<Item = (&NodeKey, &Entry)> {
        let bound = |page: u16| u8::try_from(page << (u8::BITS - self.bits)).ok().map(|first| [first, 0, 0, 0, 0, 0]);
        let first = bound(page).map_or(Bound::Unbounded, |first| Bound::Included(NodeKey::from_bytes(first)));
        // Behind the last page there is nothing.
        let end = bound(page + 1).map_or(Bound::Unbounded, |end| Bound::Excluded(NodeKey::from_bytes(end)));
        self.nodes.range((first, end))
    }

    fn text(&self, page: u16) -> Option<String> {
        let mut bytes = vec![VERSION];
        for (node, entry) in self.on_page(page).take(OBSERVATIONS_PER_PAGE_MAX) {
            bytes.extend_from_slice(&node.to_bytes());
            bytes.extend_from_slice(&[entry.flags, entry.latency]);
        }
        (bytes.len() > 1).then(|| BASE64.encode(bytes))
    }
}

impl Entry {
    fn of(heard: &Heard) -> Self {
        let vote = match heard.vote {
            None => 0,
            Some(Health::Up) => 1,
            Some(Health::Degraded) => 2,
            Some(Health::Down) => 3,
        };
        let flag = |set: bool, bit: u8| if set { bit } else { 0 };
        let flags = vote | flag(heard.reached_before, REACHED_BEFORE) | flag(heard.ejected, EJECTED);
        Self { flags, latency: latency_code(heard.latency) }
    }

    fn is_far_from(self, latency: u8) -> bool {
        (self.latency == 0) != (latency == 0) || self.latency.abs_diff(latency) >= LATENCY_STEPS_NEW
    }

    fn heard(self) -> Heard {
        let vote = match self.flags & VOTE {
            1 => Some(Health::Up),
            2 => Some(Health::Degraded),
            3 => Some(Health::Down),
            _ => None,
        };
        Heard {
            vote,
            reached_before: self.flags & REACHED_BEFORE != 0,
            latency: latency_of(self.latency),
            ejected: self.flags & EJECTED != 0,
        }
    }
}

/// Reads a page. Flags of later versions are left alone.
pub(super) fn read(text: &str) -> Result<Vec<(NodeKey, Heard)>, PageError> {
    if text.len() > GOSSIP_VALUE_BYTES_MAX {
        return Err(PageError::Length(text.len()));
    }
    let bytes = BASE64.decode(text).map_err(|_| PageError::Text)?;
    let (&version, entries) = bytes.split_first().ok_or(PageError::Length(0))?;
    if version != VERSION {
        return Err(PageError::Version(version));
    }
    let (entries, rest) = entries.as_chunks::<ENTRY_BYTES>();
    if !rest.is_empty() || entries.len() > OBSERVATIONS_PER_PAGE_MAX {
        return Err(PageError::Length(bytes.len()));
    }
    let entry = |&[a, b, c, d, e, f, flags, latency]: &[u8; ENTRY_BYTES]| {
        let key = NodeKey::from_bytes([a, b, c, d, e, f]);
        (key, Entry { flags, latency }.heard())
    };
    Ok(entries.iter().map(entry).collect())
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to what a byte holds")]
fn latency_code(latency: Option<Duration>) -> u8 {
    let Some(latency) = latency else { return 0 };
    let steps = (latency.as_secs_f64() / LATENCY_LEAST.as_secs_f64()).max(1.0).log(LATENCY_STEP).round();
    (steps + 1.0).clamp(1.0, f64::from(u8::MAX)) as u8
}

fn latency_of(code: u8) -> Option<Duration> {
    let steps = code.checked_sub(1)?;
    Some(LATENCY_LEAST.mul_f64(LATENCY_STEP.powi(i32::from(steps))))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::host;

    fn heard(vote: Option<Health>, latency_ms: u64) -> Heard {
        Heard {
            vote,
            reached_before: true,
            latency: Some(Duration::from_millis(latency_ms)),
            ejected: vote == Some(Health::Down),
        }
    }

    /// Spread evenly, as a hash does it.
    fn key(number: u64) -> NodeKey {
        let [bytes @ .., _, _] = number.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_be_bytes();
        NodeKey::from_bytes(bytes)
    }

    /// Long after whatever was said before.
    fn say(pages: &mut Pages, said: &mut BTreeMap<u16, String>) -> usize {
        let last = pages.said.iter().flatten().max();
        let now = last.map_or_else(host::now, |last| *last + LATENCIES_EVERY);
        say_at(pages, said, now)
    }

    fn say_at(pages: &mut Pages, said: &mut BTreeMap<u16, String>, now: Instant) -> usize {
        let changes = pages.take_changes(now);
        let count = changes.len();
        for (page, text) in changes {
            match text {
                Some(text) => {
                    assert!(text.len() <= GOSSIP_VALUE_BYTES_MAX);
                    said.insert(page, text);
                }
                None => drop(said.remove(&page)),
            }
        }
        count
    }

    fn all(said: &BTreeMap<u16, String>) -> BTreeMap<NodeKey, Heard> {
        said.values().flat_map(|text| read(text).unwrap()).collect()
    }

    #[test]
    fn ten_thousand_nodes_are_said_on_pages_that_fit_and_one_vote_says_one_page_anew() {
        let (mut pages, mut said) = (Pages::default(), BTreeMap::new());
        for number in 0..10_000 {
            pages.set(key(number), Some(&heard(Some(Health::Up), 3)));
        }
        say(&mut pages, &mut said);
        assert_eq!(all(&said).len(), 10_000);

        pages.set(key(77), Some(&heard(Some(Health::Down), 3)));
        assert_eq!(say(&mut pages, &mut said), 1);
        assert_eq!(all(&said)[&key(77)].vote, Some(Health::Down));
    }

    #[test]
    fn a_latency_that_trembles_is_not_said_anew_and_one_that_moved_is() {
        let (mut pages, mut said) = (Pages::default(), BTreeMap::new());
        pages.set(key(1), Some(&heard(Some(Health::Up), 100)));
        assert_eq!(say(&mut pages, &mut said), 1);
        for latency_ms in [101, 99, 104, 97] {
            pages.set(key(1), Some(&heard(Some(Health::Up), latency_ms)));
            assert_eq!(say(&mut pages, &mut said), 0, "{latency_ms} ms");
        }
        pages.set(key(1), Some(&heard(Some(Health::Up), 150)));
        assert_eq!(say(&mut pages, &mut said), 1);
        let latency_ms = all(&said)[&key(1)].latency.unwrap().as_millis();
        assert!((140..=160).contains(&latency_ms), "{latency_ms} ms");
    }

    #[test]
    fn latencies_that_move_wait_for_their_turn_and_a_vote_does_not() {
        let (mut pages, mut said) = (Pages::default(), BTreeMap::new());
        let start = host::now();
        let at = |ms: u64| start + Duration::from_millis(ms);
        pages.set(key(1), Some(&heard(Some(Health::Up), 1)));
        assert_eq!(say_at(&mut pages, &mut said, at(0)), 1);
        // Every 100 ms for a minute.
        let mut times = 0;
        for round in 1..=600 {
            pages.set(key(1), Some(&heard(Some(Health::Up), 1 + 9 * (round % 2))));
            times += say_at(&mut pages, &mut said, at(100 * round));
        }
        assert_eq!(times, 6);
        pages.set(key(1), Some(&heard(Some(Health::Down), 7)));
        assert_eq!(say_at(&mut pages, &mut said, at(60_001)), 1);
        let told = all(&said)[&key(1)];
        assert_eq!((told.vote, told.latency.unwrap().as_millis()), (Some(Health::Down), 7), "and the latency with it");
    }

    #[test]
    fn who_has_no_vote_on_a_node_and_turns_no_traffic_away_says_nothing_of_it() {
        let (mut pages, mut said) = (Pages::default(), BTreeMap::new());
        pages.set(key(1), Some(&heard(None, 1)));
        assert_eq!(say(&mut pages, &mut said), 0);
        pages.set(key(1), Some(&Heard { ejected: true, ..heard(None, 1) }));
        assert_eq!(say(&mut pages, &mut said), 1);
        pages.set(key(1), Some(&heard(None, 1)));
        assert_eq!(say(&mut pages, &mut said), 1);
        assert!(said.is_empty());
    }

    #[test]
    fn nothing_is_taken_back_that_was_never_said() {
        let mut pages = Pages::default();
        pages.begin();
        assert!(pages.take_changes(host::now()).is_empty());
    }

    #[test]
    fn a_node_that_is_no_longer_looked_at_is_no_longer_said() {
        let (mut pages, mut said) = (Pages::default(), BTreeMap::new());
        pages.set(key(1), Some(&heard(Some(Health::Up), 1)));
        say(&mut pages, &mut said);
        pages.set(key(1), None);
        assert_eq!(say(&mut pages, &mut said), 1);
        assert!(said.is_empty());
    }

    #[test]
    fn latencies_from_microseconds_to_minutes_keep_their_size() {
        for us in [1_u64, 10, 250, 1_000, 70_000, 2_000_000, 250_000_000] {
            let latency = Duration::from_micros(us);
            let read = latency_of(latency_code(Some(latency))).unwrap();
            let ratio = read.as_secs_f64() / latency.max(LATENCY_LEAST).as_secs_f64();
            assert!((0.96..=1.04).contains(&ratio), "{latency:?} became {read:?}");
        }
        assert_eq!(latency_of(latency_code(None)), None);
    }

    #[test]
    fn what_is_not_a_page_is_refused() {
        for (text, error) in [
            ("", PageError::Length(0)),
            ("not base64!", PageError::Text),
            ("Ag", PageError::Version(2)),
            ("AQA", PageError::Length(2)),
        ] {
            assert_eq!(read(text), Err(error), "{text:?}");
        }
        let long = BASE64.encode([&[VERSION][..], &[0; ENTRY_BYTES * (OBSERVATIONS_PER_PAGE_MAX + 1)]].concat());
        assert!(matches!(read(&long), Err(PageError::Length(_))));
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in ".{0,200}", bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = read(&text);
            let _ = read(&BASE64.encode([&[VERSION][..], &bytes].concat()));
        }
    }
}
