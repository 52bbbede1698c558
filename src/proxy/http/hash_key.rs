//! What of a request `consistent_hash` looks at, made into a number.

use super::picture::RequestHead;
use crate::balance::hash;
use crate::model::{HashKey, Pool, Strategy};
use crate::route::query::{cookie, values};

/// The hash of what the pool's key names; `None` where the request does not have it or the strategy does not ask.
pub(crate) fn of(head: &RequestHead, pool: &Pool) -> Option<u64> {
    if pool.strategy != Strategy::ConsistentHash {
        return None;
    }
    match &pool.hash {
        HashKey::ClientIp => None,
        HashKey::Uri => Some(hash::of(&head.target)),
        HashKey::Header(name) => head.fields.value_of(name.as_bytes()).map(hash::of),
        HashKey::Cookie(name) => {
            let mut fields = head.fields.iter().filter(|field| field.name.eq_ignore_ascii_case(b"cookie"));
            fields.find_map(|field| cookie(field.value, name.as_bytes())).map(hash::of)
        }
        HashKey::Query(name) => {
            let question = memchr::memchr(b'?', &head.target)?;
            values(&head.target[question + 1..], name.as_bytes()).next().map(hash::of)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_consistent_hash_looks() {
        let mut pool = Pool::new("web".parse().unwrap());
        pool.hash = HashKey::Uri;
        let head = RequestHead { target: b"/a".to_vec(), ..RequestHead::default() };
        assert_eq!(of(&head, &pool), None);
        pool.strategy = Strategy::ConsistentHash;
        assert_eq!(of(&head, &pool), Some(hash::of(b"/a")));
    }
}
