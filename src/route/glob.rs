//! Patterns in which `*` stands for any number of bytes.

/// Whether `text` fits `pattern`. At most as many steps as both are long, times one another; a pattern has few stars.
pub(super) fn fits(pattern: &[u8], text: &[u8], ignore_case: bool) -> bool {
    let same = |a: u8, b: u8| a == b || (ignore_case && a.eq_ignore_ascii_case(&b));
    let (mut at, mut read) = (0, 0);
    // Where the last star stands, and how far the text was when it was reached: there another byte may be its own.
    let mut star: Option<(usize, usize)> = None;
    while read < text.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, read));
                at += 1;
            }
            Some(&byte) if same(byte, text[read]) => {
                at += 1;
                read += 1;
            }
            _ => {
                let Some((star_at, taken)) = star else { return false };
                star = Some((star_at, taken + 1));
                at = star_at + 1;
                read = taken + 1;
            }
        }
    }
    pattern[at..].iter().all(|&byte| byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_bytes_and_none() {
        for (pattern, text, is_fit) in [
            ("", "", true),
            ("", "a", false),
            ("a", "a", true),
            ("a", "A", false),
            ("*", "", true),
            ("*", "abc", true),
            ("a*c", "ac", true),
            ("a*c", "abbc", true),
            ("a*c", "abcd", false),
            ("*.example.com", "a.b.example.com", true),
            ("*.example.com", "example.com", false),
            ("a*b*c", "a1b2b3c", true),
            ("a*b*c", "a1c", false),
            ("**a", "bba", true),
        ] {
            assert_eq!(fits(pattern.as_bytes(), text.as_bytes(), false), is_fit, "{pattern} {text}");
        }
        assert!(fits(b"WebSocket", b"websocket", true));
    }

    proptest::proptest! {
        #[test]
        fn it_agrees_with_the_plain_definition(pattern in "[ab*]{0,8}", text in "[ab]{0,10}") {
            fn plain(pattern: &[u8], text: &[u8]) -> bool {
                match pattern.split_first() {
                    None => text.is_empty(),
                    Some((b'*', rest)) => (0..=text.len()).any(|taken| plain(rest, &text[taken..])),
                    Some((byte, rest)) => text.split_first().is_some_and(|(first, more)| first == byte && plain(rest, more)),
                }
            }
            proptest::prop_assert_eq!(fits(pattern.as_bytes(), text.as_bytes(), false), plain(pattern.as_bytes(), text.as_bytes()));
        }
    }
}
