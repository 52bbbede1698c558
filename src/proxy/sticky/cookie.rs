//! The value of the cookie: which node, until when, and a signature over both and the pool. Pure.
//!
//! It is base64url without padding (RFC 4648 section 5) of: the version, one byte; the seconds since 1970 at which it ends, eight
//! bytes, the most significant first; the node's id; HMAC-SHA256 over all of that and the pool's name.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::keys::CookieKeys;
use crate::model::limits::ID_BYTES_MAX;
use crate::model::{NodeId, PoolName};

const VERSION: u8 = 1;
const TAG_BYTES: usize = 32;
const HEAD_BYTES: usize = 9;
/// Of the value before it is encoded.
const VALUE_BYTES_MAX: usize = HEAD_BYTES + ID_BYTES_MAX + TAG_BYTES;

/// What a cookie says that is believed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Opened {
    pub(super) node: NodeId,
    /// Seconds since 1970.
    pub(super) ends_s: u64,
}

/// What a cookie of this pool says that sends to this node until then.
pub(super) fn seal(keys: &CookieKeys, pool: &PoolName, node: &NodeId, ends_s: u64) -> String {
    let mut value = Vec::with_capacity(VALUE_BYTES_MAX);
    value.push(VERSION);
    value.extend_from_slice(&ends_s.to_be_bytes());
    value.extend_from_slice(node.as_str().as_bytes());
    let tag = keys.sign(&signed(&value, pool));
    value.extend_from_slice(tag.as_ref());
    URL_SAFE_NO_PAD.encode(value)
}

/// Reads a cookie. `None`: it is none of this cluster and pool, somebody bent it, or its time is over.
pub(super) fn open(keys: &CookieKeys, pool: &PoolName, value: &[u8], now_s: u64) -> Option<Opened> {
    // Room for what decoding writes at most, so that a long one is refused before it is looked at.
    let mut decoded = [0; VALUE_BYTES_MAX + 3];
    if value.len() > VALUE_BYTES_MAX * 4 / 3 + 4 {
        return None;
    }
    let count = URL_SAFE_NO_PAD.decode_slice(value, &mut decoded).ok()?;
    let (said, tag) = decoded[..count].split_at_checked(count.checked_sub(TAG_BYTES)?)?;
    let (head, node) = said.split_at_checked(HEAD_BYTES)?;
    if head[0] != VERSION || !keys.verify(&signed(said, pool), tag) {
        return None;
    }
    let ends_s = u64::from_be_bytes(head[1..].try_into().ok()?);
    let node = std::str::from_utf8(node).ok()?.parse().ok()?;
    (now_s < ends_s).then_some(Opened { node, ends_s })
}

/// What the signature is over. No name of a pool has the byte in it that stands before it.
fn signed(said: &[u8], pool: &PoolName) -> Vec<u8> {
    [said, b"\0", pool.as_str().as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::link::{ClusterKey, KeyRing};

    fn ring() -> ClusterKey {
        ClusterKey::generate().unwrap()
    }

    fn keys(key: &ClusterKey) -> CookieKeys {
        CookieKeys::of(&KeyRing::of(key.clone()))
    }

    #[test]
    fn a_cookie_is_believed_by_every_peer_of_the_cluster_for_its_pool_until_it_ends_and_by_nobody_else() {
        let (key, web, node) = (ring(), "web".parse().unwrap(), "web-1".parse().unwrap());
        let value = seal(&keys(&key), &web, &node, 1_000);
        let opened = Opened { node, ends_s: 1_000 };
        assert_eq!(open(&keys(&key), &web, value.as_bytes(), 999), Some(opened.clone()));
        assert_eq!(open(&keys(&key), &web, value.as_bytes(), 1_000), None, "its time is over");
        assert_eq!(open(&keys(&key), &"shop".parse().unwrap(), value.as_bytes(), 1), None, "of another pool");
        assert_eq!(open(&keys(&ring()), &web, value.as_bytes(), 1), None, "of another cluster");
        let text = format!("{}\n{}\n", *ring().to_text(), *key.to_text());
        let rotated = CookieKeys::of(&KeyRing::parse(&text).unwrap());
        assert_eq!(open(&rotated, &web, value.as_bytes(), 1), Some(opened), "the key of before is trusted still");
    }

    proptest! {
        #[test]
        fn whatever_is_bent_is_not_believed(at in 0_usize..200, bit in 0_u8..8, id in "[a-z][a-z0-9.-]{0,61}[a-z0-9]") {
            let (keys, pool) = (keys(&ring()), "web".parse().unwrap());
            let mut value = seal(&keys, &pool, &id.parse().unwrap(), u64::MAX).into_bytes();
            prop_assert!(open(&keys, &pool, &value, 0).is_some());
            let at = at % value.len();
            value[at] ^= 1 << bit;
            prop_assert!(open(&keys, &pool, &value, 0).is_none());
        }

        #[test]
        fn any_bytes_are_taken_without_harm(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            prop_assert!(open(&keys(&ring()), &"web".parse().unwrap(), &bytes, 0).is_none());
            let encoded = URL_SAFE_NO_PAD.encode(&bytes);
            prop_assert!(open(&keys(&ring()), &"web".parse().unwrap(), encoded.as_bytes(), 0).is_none());
        }
    }
}
