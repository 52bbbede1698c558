use std::io::Read;

use proptest::prelude::*;

use super::codec::Codecs;
use super::*;

fn best(said: &str) -> Option<Algorithm> {
    accepted::best([said.as_bytes()].into_iter(), &Algorithm::ALL)
}

#[test]
fn a_client_gets_what_it_likes_best_and_of_equals_what_the_listener_does() {
    use Algorithm::{Brotli, Gzip, Zstd};
    for (said, expected) in [
        ("gzip, deflate, br, zstd", Some(Zstd)),
        ("gzip, deflate, br", Some(Brotli)),
        ("gzip", Some(Gzip)),
        ("x-gzip", Some(Gzip)),
        ("GZIP;Q=0.5", Some(Gzip)),
        ("gzip;q=1.0, br;q=0.9, zstd;q=0.001", Some(Gzip)),
        ("zstd;q=0, *", Some(Brotli)),
        ("*;q=0.5, gzip;q=0.6", Some(Gzip)),
        ("*", Some(Zstd)),
        ("*;q=0", None),
        ("gzip;q=0", None),
        ("gzip;q=0.000", None),
        ("identity", None),
        ("identity;q=1, gzip;q=0.5", None),
        ("identity;q=0.5, gzip;q=0.5", Some(Gzip)),
        ("identity;q=0, gzip;q=0.1", Some(Gzip)),
        ("deflate, compress", None),
        ("", None),
        ("gzip;q=2", None),
        ("gzip;q=1.001", None),
        ("gzip;q=0.1234", None),
        ("gzip;q=", None),
        ("gzip;level=9;q=0.5", Some(Gzip)),
        (",, gzip ,", Some(Gzip)),
    ] {
        assert_eq!(best(said), expected, "{said:?}");
    }
    let both = [b"br;q=0.1".as_slice(), b"gzip;q=0.2"];
    assert_eq!(accepted::best(both.into_iter(), &Algorithm::ALL), Some(Gzip), "it may be said in several fields");
    assert_eq!(accepted::best(both.into_iter(), &[Brotli]), Some(Brotli));
}

fn request(method: Method, fields: &[(&str, &str)]) -> RequestHead {
    let mut head = RequestHead { method, ..RequestHead::default() };
    fields.iter().for_each(|(name, value)| head.fields.push(name.as_bytes(), value.as_bytes()));
    head
}

fn answer(status: u16, length: Length, fields: &[(&str, &str)]) -> AnswerHead {
    let mut head = AnswerHead { status, length, ..AnswerHead::default() };
    fields.iter().for_each(|(name, value)| head.fields.push(name.as_bytes(), value.as_bytes()));
    head
}

#[test]
fn what_is_compressed_or_partial_or_short_or_not_to_be_changed_goes_as_it_is() {
    let settings = Compression::default();
    let json = ("Content-Type", "application/json; charset=utf-8");
    let is_compressed = |asked: &[(&str, &str)], answer: &AnswerHead| {
        let asked = [&[("Accept-Encoding", "gzip")], asked].concat();
        matches!(verdict(&settings, &request(Method::Get, &asked), answer), Verdict::By(_))
    };
    let long = Length::Counted(2_000);
    assert!(is_compressed(&[], &answer(200, long, &[json])));
    assert!(is_compressed(&[], &answer(404, Length::Chunked, &[json])));
    assert!(is_compressed(&[], &answer(200, Length::UntilClose, &[json, ("Content-Encoding", "identity")])));
    assert!(!is_compressed(&[("Cache-Control", "max-age=0, no-transform")], &answer(200, long, &[json])));
    for (status, length, more) in [
        (206, long, ("Content-Range", "bytes 0-1999/4000")),
        (200, long, ("Content-Range", "bytes 0-1999/4000")),
        (204, Length::None, ("Server", "a")),
        (304, Length::None, ("Server", "a")),
        (200, Length::Counted(1_023), ("Server", "a")),
        (200, long, ("Content-Encoding", "br")),
        (200, long, ("Cache-Control", "public, No-Transform")),
        (200, long, ("Content-Digest", "sha-256=:AAAA:")),
    ] {
        assert!(!is_compressed(&[], &answer(status, length, &[json, more])), "{status} {length:?} {more:?}");
    }
    for content_type in ["image/png", "application/octet-stream", "video/mp4", "application/zip", "json", ""] {
        assert!(!is_compressed(&[], &answer(200, long, &[("Content-Type", content_type)])), "{content_type}");
    }
    assert!(!is_compressed(&[], &answer(200, long, &[])), "what it is must be known");
    for content_type in
        ["text/html", "TEXT/CSS", "application/ld+json", "image/svg+xml;charset=utf-8", "text/event-stream"]
    {
        assert!(is_compressed(&[], &answer(200, long, &[("Content-Type", content_type)])), "{content_type}");
    }
    let old = RequestHead { is_http10: true, ..request(Method::Get, &[("Accept-Encoding", "gzip")]) };
    assert!(matches!(verdict(&settings, &old, &answer(200, long, &[json])), Verdict::AsItIs));
}

#[test]
fn the_head_says_what_became_of_the_body() {
    let fields = [("Content-Length", "2000"), ("ETag", "\"abc\""), ("Accept-Ranges", "bytes"), ("Vary", "Origin")];
    let mut head = answer(200, Length::Counted(2_000), &fields);
    head.length_said = Some(2_000);
    say_vary(&mut head.fields);
    change_head(Algorithm::Brotli, &mut head);
    let left: Vec<(&[u8], &[u8])> =
        head.fields.iter().filter(|field| !field.dropped).map(|field| (field.name, field.value)).collect();
    let expected: [(&[u8], &[u8]); 5] = [
        (b"Content-Length", b"2000"),
        (b"Vary", b"Origin"),
        (b"Vary", b"Accept-Encoding"),
        (b"ETag", b"W/\"abc\""),
        (b"Content-Encoding", b"br"),
    ];
    assert_eq!(left, expected);
    assert_eq!((head.length, head.length_said), (Length::Chunked, None), "the length is not passed on");

    let mut known = answer(200, Length::Chunked, &[("Vary", "accept-encoding"), ("ETag", "W/\"x\"")]);
    say_vary(&mut known.fields);
    change_head(Algorithm::Gzip, &mut known);
    assert_eq!(known.fields.iter().filter(|field| field.name == b"Vary").count(), 1);
    assert_eq!(known.fields.value_of(b"etag"), Some(b"W/\"x\"".as_slice()));
}

#[test]
fn a_worker_compresses_so_many_at_once_and_no_more() {
    let codecs = Codecs::default();
    let places: Vec<_> = (0..3).map_while(|_| codecs.take(2)).collect();
    assert_eq!(places.len(), 2);
    drop(places);
    assert!(codecs.take(1).is_some());
}

fn unpacked(algorithm: Algorithm, packed: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    match algorithm {
        Algorithm::Gzip => flate2::read::GzDecoder::new(packed).read_to_end(&mut out),
        Algorithm::Brotli => brotli::Decompressor::new(packed, 4_096).read_to_end(&mut out),
        Algorithm::Zstd => {
            zstd::stream::read::Decoder::new(packed).and_then(|mut decoder| decoder.read_to_end(&mut out))
        }
    }
    .unwrap();
    out
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn what_goes_in_comes_out_however_it_is_cut(
        pieces in proptest::collection::vec((proptest::collection::vec(0_u8..8, 0..3_000), any::<bool>()), 0..12),
        level in 1_u8..=9,
    ) {
        for algorithm in Algorithm::ALL {
            let codecs = Codecs::default();
            let mut codec = Codec::new(algorithm, level, codecs.take(1).unwrap());
            let mut packed = Vec::new();
            let mut whole = Vec::new();
            for (piece, is_flushed) in &pieces {
                codec.push(piece, &mut packed).unwrap();
                whole.extend_from_slice(piece);
                if *is_flushed {
                    codec.flush(&mut packed).unwrap();
                    prop_assert!(!codec.holds());
                }
            }
            codec.finish(&mut packed).unwrap();
            prop_assert!(unpacked(algorithm, &packed) == whole, "{:?} at {}", algorithm, level);
        }
    }
}
