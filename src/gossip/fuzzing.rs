//! The decoders of this folder, for `crate::fuzzing`.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use chitchat::{ChitchatId, ChitchatMessage, Deserializable, Serializable};

use super::guard::Guard;
use super::page::Pages;
use crate::host;
use crate::model::limits::{
    GOSSIP_BYTES_MAX, GOSSIP_UNPACKED_BYTES_MAX, LOADS_PER_PEER_MAX, OBSERVATIONS_PER_PAGE_MAX,
};
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

/// What `transport` does with a message: the guard, and then chitchat's own decoder.
pub(crate) fn message(bytes: &[u8]) {
    let now = host::now();
    let address = SocketAddr::from((Ipv4Addr::new(10, 77, 0, 1), 7_940));
    let own = ChitchatId::new("own", 1, address);
    let from = "p1".parse().expect("a name");
    let mut guard = Guard::new("evenkeel", &own, Duration::from_secs(120), now).expect("memory for zstd");
    let Ok(admitted) = guard.admit(&from, address, bytes, now) else { return };
    assert!(admitted.bytes.len() <= GOSSIP_BYTES_MAX + GOSSIP_UNPACKED_BYTES_MAX);
    let mut rest = &admitted.bytes[..];
    // chitchat also wants each peer to be named once.
    if let Ok(message) = ChitchatMessage::deserialize(&mut rest) {
        assert!(rest.is_empty());
        // A text that was read is written by chitchat as it is shown; that it can be is what is looked at here.
        assert!(!format!("{message:?}").is_empty());
        let again =
            guard.admit(&from, address, &admitted.bytes, now).expect("what was let through is let through again");
        assert_eq!((again.bytes, again.left_out), (admitted.bytes, 0));
    }
}

/// As chitchat 0.11 writes them: its magic number and version 0; then the type.
const BEGIN: [u8; 3] = [0x53, 0xb0, 0];
const CLUSTER: &[u8] = b"\x08\x00evenkeel";

/// A digest that names `p1`, with so many heartbeats.
fn digest(heartbeat: u64) -> Vec<u8> {
    let mut digest = vec![1, 0, 2, 0, b'p', b'1'];
    digest.extend_from_slice(&7_u64.to_le_bytes());
    digest.extend_from_slice(&[4, 10, 77, 0, 1]);
    digest.extend_from_slice(&7_940_u16.to_le_bytes());
    digest.extend([heartbeat, 0, 9].into_iter().flat_map(u64::to_le_bytes));
    digest
}

/// What begins an exchange of the cluster `evenkeel`.
pub(crate) fn syn(heartbeat: u64) -> Vec<u8> {
    [&BEGIN[..], &[0], &digest(heartbeat), CLUSTER].concat()
}

pub(crate) fn messages() -> Vec<Vec<u8>> {
    let digest = digest(3);
    let mut about = vec![0];
    about.extend_from_slice(&digest[2..21]);
    about.extend_from_slice(&[0; 16]);
    about.extend_from_slice(b"\x01\x06\x00region\x02\x00eu");
    about.extend_from_slice(&9_u64.to_le_bytes());
    about.push(0);
    let about = [&u16::try_from(about.len()).expect("short").to_le_bytes()[..], &about].concat();
    let mut bad_cluster = Vec::new();
    ChitchatMessage::BadCluster.serialize(&mut bad_cluster);
    vec![
        syn(3),
        // A delta of no blocks.
        [&BEGIN[..], &[1], &digest, &[0]].concat(),
        // One of a plain block: the peer, and a key of it.
        [&BEGIN[..], &[1], &digest, &[2], &about, &[0]].concat(),
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
