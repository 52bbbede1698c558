//! What of a request `consistent_hash` looks at, made into a number.

use super::fields::Fields;
use super::picture::RequestHead;
use crate::balance::hash;
use crate::model::{HashKey, Pool, Strategy};

/// The hash of what the pool's key names; `None` where the request does not have it or the strategy does not ask.
pub(crate) fn of(head: &RequestHead, pool: &Pool) -> Option<u64> {
    if pool.strategy != Strategy::ConsistentHash {
        return None;
    }
    match &pool.hash {
        HashKey::ClientIp => None,
        HashKey::Uri => Some(hash::of(&head.target)),
        HashKey::Header(name) => head.fields.value_of(name.as_bytes()).map(hash::of),
        HashKey::Cookie(name) => cookie(&head.fields, name.as_bytes()).map(hash::of),
        HashKey::Query(name) => query(&head.target, name.as_bytes()).map(hash::of),
    }
}

/// The value of a cookie (RFC 6265 section 4.2.1).
fn cookie<'a>(fields: &'a Fields, name: &[u8]) -> Option<&'a [u8]> {
    fields
        .iter()
        .filter(|field| field.name.eq_ignore_ascii_case(b"cookie"))
        .flat_map(|field| field.value.split(|&byte| byte == b';'))
        .find_map(|pair| pair.trim_ascii_start().strip_prefix(name)?.strip_prefix(b"="))
}

/// The value of a query parameter, as it stands in the target.
fn query<'a>(target: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let question = memchr::memchr(b'?', target)?;
    target[question + 1..].split(|&byte| byte == b'&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix(b"="))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cookies_and_query_parameters_are_found_by_their_whole_name() {
        let mut fields = Fields::default();
        fields.push(b"Cookie", b"asid=1; sid=2");
        fields.push(b"cookie", b"user=ann");
        assert_eq!(cookie(&fields, b"sid"), Some(&b"2"[..]));
        assert_eq!(cookie(&fields, b"user"), Some(&b"ann"[..]));
        assert_eq!(cookie(&fields, b"id"), None);
        assert_eq!(query(b"/p?aid=1&id=2", b"id"), Some(&b"2"[..]));
        assert_eq!(query(b"/p", b"id"), None);
    }

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
