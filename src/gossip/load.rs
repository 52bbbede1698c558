//! What is in flight at nodes, as text: the busiest of them, each with a rounded count.
//!
//! 1,000 nodes with one request each are no load to speak of, and to say so every second would cost more than all else. So a
//! peer names its busiest nodes, and a count is told in steps of a quarter: one that trembles does not change the text.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD as BASE64;

use crate::model::NodeKey;
use crate::model::limits::{GOSSIP_VALUE_BYTES_MAX, LOADS_PER_PEER_MAX};

/// The first byte; what begins otherwise is of a later version.
const VERSION: u8 = 1;
/// Six of the key and one of the count.
const ENTRY_BYTES: usize = 7;
/// Counts below are not told.
const COUNT_LEAST: u32 = 2;
/// One step of a count.
const COUNT_STEP: f64 = 1.25;

const _: () = assert!((1 + LOADS_PER_PEER_MAX * ENTRY_BYTES).div_ceil(3) * 4 <= GOSSIP_VALUE_BYTES_MAX);

/// The text for the busiest of `loads`; `None` where nothing is worth telling.
pub(super) fn text(mut loads: Vec<(NodeKey, u32)>) -> Option<String> {
    loads.retain(|(_, count)| *count >= COUNT_LEAST);
    // By step and then by key, so that two of about the same count do not take turns in being named.
    loads.sort_unstable_by_key(|&(node, count)| (std::cmp::Reverse(code(count)), node));
    loads.truncate(LOADS_PER_PEER_MAX);
    loads.sort_unstable_by_key(|(node, _)| *node);
    let mut bytes = vec![VERSION];
    for (node, count) in &loads {
        bytes.extend_from_slice(&node.to_bytes());
        bytes.push(code(*count));
    }
    (!loads.is_empty()).then(|| BASE64.encode(bytes))
}

/// Reads such a text. `None`: it is not one, or of a later version.
pub(super) fn read(text: &str) -> Option<Vec<(NodeKey, u32)>> {
    if text.len() > GOSSIP_VALUE_BYTES_MAX {
        return None;
    }
    let bytes = BASE64.decode(text).ok()?;
    let (&VERSION, entries) = bytes.split_first()? else { return None };
    let (entries, rest) = entries.as_chunks::<ENTRY_BYTES>();
    if !rest.is_empty() || entries.len() > LOADS_PER_PEER_MAX {
        return None;
    }
    let entry =
        |&[a, b, c, d, e, f, count]: &[u8; ENTRY_BYTES]| (NodeKey::from_bytes([a, b, c, d, e, f]), count_of(count));
    Some(entries.iter().map(entry).collect())
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to what a byte holds")]
fn code(count: u32) -> u8 {
    f64::from(count.max(1)).log(COUNT_STEP).round().clamp(0.0, f64::from(u8::MAX)) as u8
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a cast of a float saturates")]
fn count_of(code: u8) -> u32 {
    COUNT_STEP.powi(i32::from(code)).round() as u32
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(number: u16) -> NodeKey {
        let [high, low] = number.to_be_bytes();
        NodeKey::from_bytes([0, 0, 0, 0, high, low])
    }

    #[test]
    fn the_busiest_nodes_are_told_with_about_their_counts() {
        let loads = (1..=1_000).map(|number| (key(number), u32::from(number))).collect();
        let read = read(&text(loads).unwrap()).unwrap();
        assert_eq!(read.len(), LOADS_PER_PEER_MAX);
        for (node, count) in read {
            let [.., high, low] = node.to_bytes();
            let real = f64::from(u16::from_be_bytes([high, low]));
            assert!(real > 800.0 && (0.85..=1.15).contains(&(f64::from(count) / real)), "{real} became {count}");
        }
    }

    #[test]
    fn little_is_not_told_and_trembling_counts_do_not_change_the_text() {
        assert_eq!(text(vec![(key(1), 1), (key(2), 0)]), None);
        assert_eq!(text(vec![(key(1), 100), (key(2), 101)]), text(vec![(key(1), 101), (key(2), 100)]));
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in ".{0,100}", bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let _ = read(&text);
            let _ = read(&BASE64.encode([&[VERSION][..], &bytes].concat()));
        }
    }
}
