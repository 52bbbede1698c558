//! What peers call a node among themselves.

use std::fmt;

use super::address::NodeAddress;
use super::id::NodeId;

/// A node's id and address in 48 bits: short enough to be told of thousands of nodes every second, and another one where
/// two peers' files give one id two addresses, so that observations of different things are never taken together.
///
/// It is XXH3 (64 bits, seed 0) of the id, a zero byte and the address as text, without its upper 16 bits. Peers of all
/// versions must agree on it. Of 10,000 nodes two have the same key in one of five million catalogs.
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct NodeKey(u64);

impl NodeKey {
    /// Bytes of a key.
    pub const BYTES: usize = 6;

    /// The key of a node.
    pub fn of(id: &NodeId, address: &NodeAddress) -> Self {
        let text = format!("{id}\0{address}");
        Self(xxhash_rust::xxh3::xxh3_64(text.as_bytes()) & (u64::MAX >> 16))
    }

    /// As it is sent, most significant byte first.
    pub fn to_bytes(self) -> [u8; Self::BYTES] {
        let [_, _, bytes @ ..] = self.0.to_be_bytes();
        bytes
    }

    /// From what was sent. Every six bytes are a key, if perhaps of no node.
    pub fn from_bytes(bytes: [u8; Self::BYTES]) -> Self {
        let [a, b, c, d, e, f] = bytes;
        Self(u64::from_be_bytes([0, 0, a, b, c, d, e, f]))
    }
}

impl fmt::Debug for NodeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:012x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(id: &str, address: &str) -> NodeKey {
        NodeKey::of(&id.parse().unwrap(), &address.parse().unwrap())
    }

    #[test]
    fn keys_stay_what_they_are_for_ever() {
        assert_eq!(format!("{:?}", key("web-1", "10.0.0.1:80")), "49e5ecac022f");
    }

    #[test]
    fn another_address_is_another_node() {
        assert_ne!(key("a", "10.0.0.1:80"), key("a", "10.0.0.2:80"));
        assert_ne!(key("a", "10.0.0.1:80"), key("a", "https://10.0.0.1:80"));
        assert_ne!(key("a", "10.0.0.1:80"), key("b", "10.0.0.1:80"));
    }

    #[test]
    fn a_key_is_read_as_it_was_sent() {
        let key = key("a", "10.0.0.1:80");
        assert_eq!(NodeKey::from_bytes(key.to_bytes()), key);
        assert_eq!(NodeKey::from_bytes([0xff; 6]).to_bytes(), [0xff; 6]);
    }
}
