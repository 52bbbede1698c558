//! What a client sent, made part of one line: valid UTF-8 without line ends, quotes, control characters or anything that turns
//! the direction of what a terminal shows, and never longer than a bound.

use std::io::Write;

use crate::model::limits::LOG_FIELD_BYTES_MAX;

/// Behind what was cut.
const CUT: &str = "…";

/// How characters are written that must not stand in a line.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Style {
    /// As in a string of JSON (RFC 8259 section 7); a byte that is no UTF-8 becomes U+FFFD.
    Json,
    /// Each of its bytes as `\xHH`, which nginx and Apache do too.
    Text,
}

/// Writes a value, at most [`LOG_FIELD_BYTES_MAX`] bytes of it.
pub(super) fn write(value: &[u8], style: Style, out: &mut Vec<u8>) {
    let end = out.len() + LOG_FIELD_BYTES_MAX;
    for chunk in value.utf8_chunks() {
        for character in chunk.valid().chars() {
            let before = out.len();
            one(character, style, out);
            if out.len() > end {
                out.truncate(before);
                return out.extend_from_slice(CUT.as_bytes());
            }
        }
        for byte in chunk.invalid() {
            let before = out.len();
            match style {
                Style::Json => out.extend_from_slice("\u{fffd}".as_bytes()),
                Style::Text => hexadecimal(*byte, out),
            }
            if out.len() > end {
                out.truncate(before);
                return out.extend_from_slice(CUT.as_bytes());
            }
        }
    }
}

fn one(character: char, style: Style, out: &mut Vec<u8>) {
    let mut bytes = [0; 4];
    let encoded = character.encode_utf8(&mut bytes);
    if !must_go(character) {
        return out.extend_from_slice(encoded.as_bytes());
    }
    match style {
        Style::Json => match character {
            '"' => out.extend_from_slice(b"\\\""),
            '\\' => out.extend_from_slice(b"\\\\"),
            _ => {
                let written = write!(out, "\\u{:04x}", u32::from(character));
                debug_assert!(written.is_ok(), "a Vec takes everything");
            }
        },
        Style::Text => encoded.bytes().for_each(|byte| hexadecimal(byte, out)),
    }
}

/// Control characters, line ends of any kind, what turns the direction of text, and what ends a quoted value. All are below
/// U+10000, so that JSON writes each as one escape.
fn must_go(character: char) -> bool {
    matches!(character,
        '"' | '\\' | '\u{061c}' | '\u{2028}' | '\u{2029}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
        || character.is_control()
}

fn hexadecimal(byte: u8, out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    out.extend_from_slice(&[b'\\', b'x', DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
}
