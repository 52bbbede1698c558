//! The plain form of a path: what it means, however it is written. Routes compare it, so that nobody gets around one that
//! guards `/admin` by writing `//admin`, `/a/../admin` or `/%61dmin`.

use std::borrow::Cow;

/// The path of a request target, without the query.
pub fn of(target: &[u8]) -> &[u8] {
    memchr::memchr(b'?', target).map_or(target, |question| &target[..question])
}

/// The value of a parameter of one of its segments: `/cart;sid=1` (RFC 3986 section 3.3).
pub fn parameter<'a>(path: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let parameters = path.split(|&byte| byte == b'/').flat_map(|segment| segment.split(|&byte| byte == b';').skip(1));
    parameters.into_iter().find_map(|parameter| parameter.strip_prefix(name)?.strip_prefix(b"="))
}

/// The plain form: percent-encoded bytes decoded, empty and dot segments gone (RFC 3986 sections 2.4 and 5.2.4). A path that
/// climbs above the root ends there. What is not a path at all (`*`) stays.
pub fn plain(path: &[u8]) -> Cow<'_, [u8]> {
    if is_plain(path) { Cow::Borrowed(path) } else { Cow::Owned(resolve(&decode(path))) }
}

fn is_plain(path: &[u8]) -> bool {
    let mut before = 0;
    for &byte in path {
        if byte == b'%' || (before == b'/' && matches!(byte, b'/' | b'.')) {
            return false;
        }
        before = byte;
    }
    true
}

/// Whether a path has dot segments, however they are written. What it means then depends on who reads it first.
pub fn has_dots(path: &[u8]) -> bool {
    let is_dots = |segment: &[u8]| matches!(segment, b"." | b"..");
    !is_plain(path) && decode(path).split(|&byte| byte == b'/').any(is_dots)
}

/// Decodes what is percent-encoded; what only looks so stays as it is.
pub(super) fn decode(text: &[u8]) -> Cow<'_, [u8]> {
    if memchr::memchr(b'%', text).is_none() {
        return Cow::Borrowed(text);
    }
    let digit =
        |byte: Option<&u8>| byte.and_then(|&byte| char::from(byte).to_digit(16)).and_then(|n| u8::try_from(n).ok());
    let mut out = Vec::with_capacity(text.len());
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        if byte == b'%'
            && let (Some(high), Some(low)) = (digit(text.get(at + 1)), digit(text.get(at + 2)))
        {
            out.push(high << 4 | low);
            at += 3;
        } else {
            out.push(byte);
            at += 1;
        }
    }
    Cow::Owned(out)
}

fn resolve(path: &[u8]) -> Vec<u8> {
    if path.first() != Some(&b'/') {
        return path.to_vec();
    }
    let mut out: Vec<u8> = Vec::with_capacity(path.len());
    let mut segments = path[1..].split(|&byte| byte == b'/').peekable();
    while let Some(segment) = segments.next() {
        let is_last = segments.peek().is_none();
        match segment {
            b"" | b"." => {}
            b".." => {
                let parent = out.iter().rposition(|&byte| byte == b'/').unwrap_or(0);
                out.truncate(parent);
            }
            segment => {
                out.push(b'/');
                out.extend_from_slice(segment);
                continue;
            }
        }
        // What ends in a segment that is gone is a folder: /a/. and /a/b/.. are /a/.
        if is_last {
            out.push(b'/');
        }
    }
    out
}

/// Writes a plain path so that it can be sent: what may not stand in one is percent-encoded (RFC 3986 section 3.3).
pub fn encode(path: &[u8], out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for &byte in path {
        if byte.is_ascii_alphanumeric() || b"/-._~!$&'()*+,;=:@".contains(&byte) {
            out.push(byte);
        } else {
            out.extend_from_slice(&[b'%', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_of_segments_are_found_by_their_whole_name() {
        assert_eq!(parameter(b"/a;x=1/cart;sid=7;y", b"sid"), Some(&b"7"[..]));
        assert_eq!(parameter(b"/cart;asid=7", b"sid"), None);
        assert_eq!(parameter(b"/sid=7", b"sid"), None);
    }

    #[test]
    fn a_plain_path_is_what_a_path_means() {
        for (path, form) in [
            ("/", "/"),
            ("/a/b", "/a/b"),
            ("/a/", "/a/"),
            ("/a.b/c", "/a.b/c"),
            ("//admin", "/admin"),
            ("/a//b", "/a/b"),
            ("/./a", "/a"),
            ("/a/./b", "/a/b"),
            ("/a/.", "/a/"),
            ("/a/b/..", "/a/"),
            ("/a/../admin", "/admin"),
            ("/../../admin", "/admin"),
            ("/..", "/"),
            ("/%61dmin", "/admin"),
            ("/a/%2e%2E/admin", "/admin"),
            ("/a%2fb", "/a/b"),
            ("/a%2", "/a%2"),
            ("/a%zz", "/a%zz"),
            ("/.well-known/x", "/.well-known/x"),
            ("/...", "/..."),
            ("*", "*"),
        ] {
            assert_eq!(plain(path.as_bytes()), path::from(form), "{path}");
        }
        assert!(matches!(plain(b"/a/b"), Cow::Borrowed(_)), "the common case copies nothing");
    }

    #[test]
    fn dot_segments_are_seen_however_they_are_written() {
        for path in ["/a/../b", "/..", "/.", "/a/%2e%2E/b", "/a%2f..%2fb", "/a/.%2e", "/x/..%2f..%2fb"] {
            assert!(has_dots(path.as_bytes()), "{path}");
        }
        for path in ["/a/b", "//a", "/a%2fb", "/.well-known", "/...", "/a..", "/%61", "*"] {
            assert!(!has_dots(path.as_bytes()), "{path}");
        }
    }

    mod path {
        pub(super) fn from(text: &str) -> std::borrow::Cow<'_, [u8]> {
            text.as_bytes().into()
        }
    }

    proptest::proptest! {
        #[test]
        fn nothing_that_climbs_or_hides_is_left(path in "/[a./%2eE]{0,24}") {
            let plain = plain(path.as_bytes()).into_owned();
            let segments: Vec<&[u8]> = plain.split(|&byte| byte == b'/').collect();
            proptest::prop_assert_eq!(plain.first(), Some(&b'/'));
            proptest::prop_assert!(!segments.iter().any(|segment| matches!(*segment, b"." | b"..")));
            proptest::prop_assert!(!plain.windows(2).any(|pair| pair == b"//"));
        }

        #[test]
        fn what_is_encoded_means_the_same(path in "/[a-z %ü]{0,12}") {
            let mut sent = Vec::new();
            encode(path.as_bytes(), &mut sent);
            proptest::prop_assert_eq!(decode(&sent).into_owned(), path.into_bytes());
        }
    }
}
