//! `[listener.compression]`: which answers are compressed, and how.

use super::listener::BYTES;
use crate::document::{Choice, Fault, ListOf, Section, Words, parsed, quoted, whole};
use crate::model::limits::COMPRESSED_TYPES_MAX;
use crate::proxy::{Algorithm, Compression, MediaPattern};

const ALGORITHM: Choice<Algorithm> = Choice {
    aliases: &[("brotli", Algorithm::Brotli)],
    ..Choice::of(&[("zstd", Algorithm::Zstd), ("br", Algorithm::Brotli), ("gzip", Algorithm::Gzip)])
};

const MEDIA_TYPE: Words<MediaPattern> =
    Words::of("media types, \"text/html\", \"text/*\", \"application/*+json\"", parsed, quoted);

/// `[listener.compression]`; `None` where it is left out.
pub(super) fn listener(s: &mut Section<'_, '_, '_>) -> Option<Compression> {
    s.optional_table(
        "compression",
        "Answers are compressed for clients that accept that. Left out: they go as nodes send them. An empty table has the defaults.",
        compression,
    )
}

fn compression(s: &mut Section<'_, '_, '_>) -> Compression {
    let default = Compression::default();
    let algorithms = s.key(
        "algorithms",
        &ListOf(ALGORITHM, Algorithm::ALL.len()),
        default.algorithms,
        "By which of these, the best first. A client that likes one better gets that.",
    );
    let types = s.key(
        "types",
        &ListOf(MEDIA_TYPE, COMPRESSED_TYPES_MAX),
        default.types,
        "Which types of content, by the `Content-Type` of the answer.",
    );
    let size_min_bytes =
        s.key("min_size", &BYTES, default.size_min_bytes, "Answers whose length is known and less go as they are.");
    let level = s.key("level", &whole(1, 9), default.level, "How hard it is tried: 1 is fast, 9 is small.");
    for (key, is_empty) in [("algorithms", algorithms.is_empty()), ("types", types.is_empty())] {
        if is_empty {
            let fault = Fault::new(s.origin_of(key), s.path_of(key), "it is empty, so nothing would be compressed")
                .hint("name one at least, or leave compression out");
            s.reader().fault(fault);
        }
    }
    Compression { algorithms, types, size_min_bytes, level }
}
