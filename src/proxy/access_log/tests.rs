//! What every line is, whoever sent what; and which formats and places there are.

use std::net::SocketAddr;
use std::time::Duration;

use proptest::prelude::*;

use super::line::Asked;
use super::*;
use crate::model::limits::LOG_FIELD_BYTES_MAX;
use crate::proxy::http::fields::Fields;

fn line(format: &str, target: &[u8], fields: &Fields, note: &Note) -> Vec<u8> {
    let (listener, sender) = ("web".parse().unwrap(), SocketAddr::from(([192, 0, 2, 1], 4_711)));
    let record = Record {
        began: "2026-03-01T12:34:56.789Z".parse().unwrap(),
        duration: Duration::from_micros(1_500),
        client: "203.0.113.7".parse().unwrap(),
        sender,
        listener: &listener,
        route: None,
        scheme: "https",
        asked: Some(Asked { method: b"GET", authority: b"shop.example", target, fields, protocol: "HTTP/1.1" }),
        answer: None,
        tls: Some(Tls("TLSv1.3")),
        note,
    };
    let mut out = Vec::new();
    format.parse::<Format>().unwrap().write(&record, false, &mut out);
    out
}

fn note() -> Note {
    Note { status: Some(200), bytes_out: 12, pool: Some("web".parse().unwrap()), ..Note::default() }
}

fn fields(pairs: &[(&str, &[u8])]) -> Fields {
    let mut fields = Fields::default();
    pairs.iter().for_each(|(name, value)| fields.push(name.as_bytes(), value));
    fields
}

fn text(line: Vec<u8>) -> String {
    String::from_utf8(line).unwrap()
}

#[test]
fn formats_with_a_name_are_as_everybody_has_them_and_show_no_query() {
    let sent =
        fields(&[("Referer", b"https://a.example/b?token=1"), ("User-Agent", b"curl/8"), ("X-Request-Id", b"r-1")]);
    let common = "203.0.113.7 - - [01/Mar/2026:12:34:56 +0000] \"GET /cart HTTP/1.1\" 200 12";
    assert_eq!(text(line("common", b"/cart?token=2", &sent, &note())), common);
    let combined = format!("{common} \"https://a.example/b\" \"curl/8\"");
    assert_eq!(text(line("combined", b"/cart?token=2", &sent, &note())), combined);
    let json: serde_json::Value = serde_json::from_slice(&line("json", b"/cart?token=2", &sent, &note())).unwrap();
    let expected = serde_json::json!({
        "time": "2026-03-01T12:34:56.789Z", "client": "203.0.113.7", "sender": "192.0.2.1", "listener": "web",
        "route": null, "pool": "web", "node": null, "scheme": "https", "method": "GET", "host": "shop.example",
        "path": "/cart", "protocol": "HTTP/1.1", "status": 200, "bytes_in": 0, "bytes_out": 12, "duration_ms": 1.5,
        "node_ms": null, "retries": 0, "user_agent": "curl/8", "referer": "https://a.example/b", "request_id": "r-1",
        "tls": "TLSv1.3", "own": null, "end": "whole",
    });
    assert_eq!(json, expected);
}

#[test]
fn a_format_of_ones_own_says_what_it_names() {
    let sent = fields(&[("X-Tier", b"gold \"x\"")]);
    let own = "{{{time_ms}}} {client}:{sender_port} {path}?{query} {header:x-tier} {header:none} {status} {duration_ms} {tls}";
    let expected = "{1772368496789} 203.0.113.7:4711 /a?b=1 gold \\x22x\\x22 - 200 1.500 TLSv1.3";
    assert_eq!(text(line(own, b"/a?b=1", &sent, &note())), expected);
}

#[test]
fn a_format_that_says_nothing_or_a_secret_is_refused() {
    for (format, why) in [
        ("jsn", "neither of these"),
        ("", "neither of these"),
        ("{client", "not closed"),
        ("client} {path}", "not closed"),
        ("{clients}", "{clients} stands for nothing"),
        ("{header:}", "stands for nothing"),
        ("{header:a b}", "stands for nothing"),
        ("{header:Authorization}", "is a secret"),
        ("{header:cookie}", "is a secret"),
        ("{answer_header:Set-Cookie}", "is a secret"),
        ("{client}\n", "control character"),
    ] {
        let error = format.parse::<Format>().unwrap_err().to_string();
        assert!(error.contains(why), "{format:?}: {error}");
    }
    assert!("{client}".repeat(100).parse::<Format>().is_err());
}

#[test]
fn lines_go_to_places_that_are_named_whole() {
    for text in [
        "stdout",
        "file:/var/log/a.log",
        "syslog:unix:/run/log",
        "syslog:udp://192.0.2.1:514",
        "syslog:udp://[::1]:514",
    ] {
        assert_eq!(text.parse::<Destination>().unwrap().to_string(), text);
    }
    assert_eq!("syslog".parse::<Destination>().unwrap().to_string(), "syslog:unix:/dev/log");
    for text in [
        "",
        "stderr",
        "file:a.log",
        "file:",
        "file:/",
        "syslog:udp://host:514",
        "syslog:udp://1.2.3.4",
        "syslog:unix:x",
    ] {
        assert!(text.parse::<Destination>().is_err(), "{text}");
    }
}

#[test]
fn what_ends_a_line_or_turns_it_around_is_written_otherwise() {
    let evil = "\r\n\0\"\\\t\u{85}\u{2028}\u{202e}\u{7f}é".as_bytes();
    let sent = fields(&[("User-Agent", evil)]);
    let own = text(line("{user_agent}", b"/", &sent, &note()));
    assert_eq!(own, "\\x0D\\x0A\\x00\\x22\\x5C\\x09\\xC2\\x85\\xE2\\x80\\xA8\\xE2\\x80\\xAE\\x7Fé");
    let json: serde_json::Value = serde_json::from_slice(&line("json", b"/", &sent, &note())).unwrap();
    assert_eq!(json["user_agent"], std::str::from_utf8(evil).unwrap(), "whoever reads it has it back");
    let long = fields(&[("User-Agent", &[b'a'; 100_000])]);
    let own = text(line("{user_agent}", b"/", &long, &note()));
    assert_eq!((own.chars().count(), own.ends_with('…')), (LOG_FIELD_BYTES_MAX + 1, true));
}

proptest! {
    #[test]
    fn every_line_is_one_line_of_text(
        target in proptest::collection::vec(any::<u8>(), 0..6_000),
        agent in proptest::collection::vec(any::<u8>(), 0..6_000),
    ) {
        let sent = fields(&[("User-Agent", &agent), ("Referer", &target)]);
        for format in ["json", "common", "combined", "a {target} \"{user_agent}\" {header:referer}"] {
            let line = text(line(format, &target, &sent, &note()));
            prop_assert!(!line.chars().any(|c| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}')), "{}", line);
            prop_assert!(line.len() < 4 * LOG_FIELD_BYTES_MAX);
            if format == "json" {
                prop_assert!(serde_json::from_str::<serde_json::Value>(&line).is_ok(), "{}", line);
            }
        }
    }
}

#[test]
fn a_share_is_more_than_nothing_and_at_most_all() {
    for (share, is_one) in [(0.0, false), (-1.0, false), (0.001, true), (1.0, true), (1.1, false), (f64::NAN, false)] {
        assert_eq!(Share::new(share).is_some(), is_one, "{share}");
    }
}
