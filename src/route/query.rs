//! Parts of a request that hold parts of their own: the query, and the field of cookies.

use std::borrow::Cow;

use super::path::decode;

/// The values of a parameter in a query, as they stand there.
pub fn values<'a>(query: &'a [u8], name: &[u8]) -> impl Iterator<Item = &'a [u8]> {
    let pairs = query.split(|&byte| byte == b'&').filter(|pair| !pair.is_empty());
    pairs.filter_map(move |pair| {
        let (key, value) = memchr::memchr(b'=', pair).map_or((pair, &[][..]), |at| (&pair[..at], &pair[at + 1..]));
        (decode(key) == name).then_some(value)
    })
}

/// A value of a query as the form that was filled in had it: `+` is a space (WHATWG URL section 5.1).
pub(super) fn meant(value: &[u8]) -> Cow<'_, [u8]> {
    if memchr::memchr(b'+', value).is_none() {
        return decode(value);
    }
    let spaced: Vec<u8> = value.iter().map(|&byte| if byte == b'+' { b' ' } else { byte }).collect();
    Cow::Owned(decode(&spaced).into_owned())
}

/// The value of a cookie in a `Cookie` field (RFC 6265 section 4.2.1); of several of one name the first.
pub fn cookie<'a>(field: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    cookies(field, name).next()
}

/// The values of all cookies of this name: a browser that was given two by path or domain sends both.
pub fn cookies<'a>(field: &'a [u8], name: &[u8]) -> impl Iterator<Item = &'a [u8]> {
    let pairs = field.split(|&byte| byte == b';');
    pairs.filter_map(move |pair| pair.trim_ascii().strip_prefix(name)?.strip_prefix(b"="))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_and_cookies_are_found_by_their_whole_name() {
        let all = |query: &'static str, name: &str| -> Vec<_> { values(query.as_bytes(), name.as_bytes()).collect() };
        assert_eq!(all("aid=1&id=2&id=3", "id"), [b"2", b"3"]);
        assert_eq!(all("id&x", "id"), [b""]);
        assert_eq!(all("%69d=1", "id"), [b"1"]);
        assert!(all("", "id").is_empty());
        assert_eq!(meant(b"a+b%2Bc").as_ref(), b"a b+c");
        assert_eq!(cookie(b"asid=1; sid=2", b"sid"), Some(&b"2"[..]));
        assert_eq!(cookie(b"user=ann ", b"user"), Some(&b"ann"[..]));
        assert_eq!(cookie(b"sid=2", b"id"), None);
    }
}
