//! The decoders of this folder, for `crate::fuzzing`.

use chitchat::{ChitchatMessage, Deserializable, Serializable};

use super::page::Pages;
use crate::host;
use crate::model::limits::{LOADS_PER_PEER_MAX, OBSERVATIONS_PER_PAGE_MAX};
use crate::model::{Health, Heard, NodeKey};

pub(crate) fn page(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(nodes) = super::page::read(text) {
        assert!(nodes.len() <= OBSERVATIONS_PER_PAGE_MAX);
    }
}

pub(crate) fn pages() -> Vec<Vec<u8>> {
    let mut pages = Pages::default();
    for number in 0..50 {
        let heard = Heard { vote: Some(Health::Up), reached_before: true, latency: None, ejected: false };
        pages.set(NodeKey::from_bytes([number; 6]), Some(&heard));
    }
    pages.take_changes(host::now()).into_iter().filter_map(|(_, text)| Some(text?.into_bytes())).collect()
}

pub(crate) fn load(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Some(loads) = super::load::read(text) {
        assert!(loads.len() <= LOADS_PER_PEER_MAX);
    }
}

pub(crate) fn loads() -> Vec<Vec<u8>> {
    let loads = (1..60).map(|number| (NodeKey::from_bytes([number; 6]), 10 * u32::from(number))).collect();
    super::load::text(loads).into_iter().map(String::into_bytes).collect()
}

/// chitchat's own decoder, as `transport` calls it.
pub(crate) fn message(bytes: &[u8]) {
    let mut rest = bytes;
    if let Ok(message) = ChitchatMessage::deserialize(&mut rest) {
        // A text that was read is written by chitchat as it is shown; that it can be is what is looked at here.
        assert!(!format!("{message:?}").is_empty());
    }
}

pub(crate) fn messages() -> Vec<Vec<u8>> {
    // As chitchat 0.11 writes them: its magic number, version 0, the type; then the peers that a digest names.
    const BEGIN: [u8; 3] = [0x53, 0xb0, 0];
    let mut digest = vec![1, 0, 2, 0, b'p', b'1'];
    digest.extend_from_slice(&7_u64.to_le_bytes());
    digest.extend_from_slice(&[4, 10, 77, 0, 1]);
    digest.extend_from_slice(&7_940_u16.to_le_bytes());
    digest.extend([3_u64, 0, 9].into_iter().flat_map(u64::to_le_bytes));
    let cluster = b"\x08\x00evenkeel";
    let mut bad_cluster = Vec::new();
    ChitchatMessage::BadCluster.serialize(&mut bad_cluster);
    vec![
        [&BEGIN[..], &[0], &digest, cluster].concat(),
        // A delta of no blocks.
        [&BEGIN[..], &[1], &digest, &[0]].concat(),
        [&BEGIN[..], &[2, 0]].concat(),
        bad_cluster,
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_samples_of_messages_are_what_chitchat_reads() {
        let read = |bytes: &Vec<u8>| ChitchatMessage::deserialize(&mut &bytes[..]).is_ok();
        assert!(messages().iter().filter(|bytes| read(bytes)).count() >= 2, "{:?}", messages());
        let syn = &messages()[0];
        let mut rest = &syn[..];
        let message = ChitchatMessage::deserialize(&mut rest).unwrap();
        assert!(rest.is_empty() && matches!(message, ChitchatMessage::Syn { .. }));
        let mut again = Vec::new();
        message.serialize(&mut again);
        assert_eq!(again, *syn);
    }
}
