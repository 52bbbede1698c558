//! Compression of answers on their way to the client: whether, how, and what that makes of the head (RFC 9110 section 8.4).

mod accepted;
mod codec;

use std::fmt;
use std::str::FromStr;

pub(crate) use codec::{Codec, Codecs};

use super::fields::{self, Fields, Known};
use super::picture::{AnswerHead, Length, Method, RequestHead};
use crate::model::limits::COMPRESSIONS_PER_WORKER_MAX;
use crate::proxy::worker::Worker;

/// Which answers of a listener are compressed, and how.
#[derive(Clone, Debug, PartialEq)]
pub struct Compression {
    /// By which of these, the best first. Where a client likes one better it gets that.
    pub algorithms: Vec<Algorithm>,
    /// Which types of content.
    pub types: Vec<MediaPattern>,
    /// Bytes below which it is not worth it, where the length is known.
    pub size_min_bytes: u32,
    /// How hard it is tried: 1, fast, to 9, small.
    pub level: u8,
}

impl Default for Compression {
    fn default() -> Self {
        let types = Self::TYPES_DEFAULT.iter().filter_map(|text| text.parse().ok()).collect();
        Self { algorithms: Algorithm::ALL.to_vec(), types, size_min_bytes: 1_024, level: 4 }
    }
}

impl Compression {
    /// Text in all its forms. What is compressed by itself, images, films, archives, is not.
    pub const TYPES_DEFAULT: [&'static str; 12] = [
        "text/*",
        "application/json",
        "application/*+json",
        "application/javascript",
        "application/x-javascript",
        "application/xml",
        "application/*+xml",
        "application/wasm",
        "image/svg+xml",
        "image/x-icon",
        "font/ttf",
        "font/otf",
    ];
}

/// A way to compress.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Algorithm {
    /// Zstandard (RFC 8878).
    Zstd,
    /// Brotli (RFC 7932).
    Brotli,
    /// gzip (RFC 1952).
    Gzip,
}

impl Algorithm {
    /// All of them, in the order of what they gain for their time.
    pub const ALL: [Self; 3] = [Self::Zstd, Self::Brotli, Self::Gzip];

    /// As `Content-Encoding` names it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Zstd => "zstd",
            Self::Brotli => "br",
            Self::Gzip => "gzip",
        }
    }
}

/// Media types: one, or all that a star in it stands for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct MediaPattern(String);

/// Why a text is no pattern of media types.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("it is no media type: two words with / between them, of which the second may have one star")]
pub struct MediaPatternError;

impl FromStr for MediaPattern {
    type Err = MediaPatternError;

    fn from_str(text: &str) -> Result<Self, MediaPatternError> {
        let (kind, sub) = text.split_once('/').ok_or(MediaPatternError)?;
        let is_one = fields::is_token(kind.as_bytes())
            && fields::is_token(sub.as_bytes())
            && !kind.contains('*')
            && sub.matches('*').count() <= 1;
        if is_one { Ok(Self(text.to_ascii_lowercase())) } else { Err(MediaPatternError) }
    }
}

impl fmt::Display for MediaPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl MediaPattern {
    /// Whether it stands for the type of this `Content-Type`.
    fn fits(&self, content_type: &[u8]) -> bool {
        let kind = content_type.split(|&byte| byte == b';').next().unwrap_or_default().trim_ascii();
        let pattern = self.0.as_bytes();
        match self.0.split_once('*') {
            None => kind.eq_ignore_ascii_case(pattern),
            Some((before, behind)) => {
                kind.len() >= before.len() + behind.len()
                    && kind[..before.len()].eq_ignore_ascii_case(before.as_bytes())
                    && kind[kind.len() - behind.len()..].eq_ignore_ascii_case(behind.as_bytes())
            }
        }
    }
}

/// What becomes of an answer.
enum Verdict {
    /// It goes as it is, whoever asks.
    AsItIs,
    /// It is one that is compressed for clients who take that, and this one does not.
    NotForThis,
    /// It is compressed.
    By(Algorithm),
}

/// Makes the head of an answer that of what the client gets, and gives what compresses its body.
pub(super) fn begin(
    settings: &Compression,
    worker: &Worker,
    request: &RequestHead,
    answer: &mut AnswerHead,
) -> Option<Codec> {
    if answer.status == 304 {
        // It says what the answer would say that it stands for (RFC 9110 section 15.4.5), of which the type is not told.
        say_vary(&mut answer.fields);
        return None;
    }
    let algorithm = match verdict(settings, request, answer) {
        Verdict::AsItIs => return None,
        Verdict::NotForThis => {
            say_vary(&mut answer.fields);
            return None;
        }
        Verdict::By(algorithm) => algorithm,
    };
    say_vary(&mut answer.fields);
    let place = worker.codecs.take(COMPRESSIONS_PER_WORKER_MAX)?;
    change_head(algorithm, answer);
    // The answer to HEAD says what that to GET would, and has nothing to compress.
    (request.method != Method::Head).then(|| Codec::new(algorithm, settings.level, place))
}

fn verdict(settings: &Compression, request: &RequestHead, answer: &AnswerHead) -> Verdict {
    let (asked, fields) = (&request.fields, &answer.fields);
    let has = |name: &str| fields.value_of(name.as_bytes()).is_some();
    let is_partial = matches!(answer.status, 204 | 205 | 206 | 304) || has("content-range");
    // What says something about the very bytes would be wrong about others.
    let is_measured = ["content-digest", "repr-digest", "digest", "content-md5"].into_iter().any(has);
    if request.is_http10 || is_partial || is_measured || is_encoded(fields) || must_stay(asked) || must_stay(fields) {
        return Verdict::AsItIs;
    }
    let length = match answer.length {
        Length::Counted(length) => Some(length),
        Length::None => answer.length_said,
        Length::Chunked | Length::UntilClose => None,
    };
    if length.is_some_and(|length| length < settings.size_min_bytes.into())
        || (answer.length == Length::None && request.method != Method::Head)
    {
        return Verdict::AsItIs;
    }
    let Some(content_type) = fields.value_of(b"content-type") else { return Verdict::AsItIs };
    if !settings.types.iter().any(|pattern| pattern.fits(content_type)) {
        return Verdict::AsItIs;
    }
    let accepted =
        asked.iter().filter(|field| field.name.eq_ignore_ascii_case(b"accept-encoding")).map(|field| field.value);
    accepted::best(accepted, &settings.algorithms).map_or(Verdict::NotForThis, Verdict::By)
}

fn is_encoded(fields: &Fields) -> bool {
    fields.value_of(b"content-encoding").is_some_and(|value| !value.eq_ignore_ascii_case(b"identity"))
}

/// `Cache-Control: no-transform`, said by the client or the node (RFC 9111 section 5.2).
fn must_stay(fields: &Fields) -> bool {
    let values =
        fields.iter().filter(|field| field.name.eq_ignore_ascii_case(b"cache-control")).map(|field| field.value);
    fields::list(values).any(|directive| directive.eq_ignore_ascii_case(b"no-transform"))
}

/// Whoever keeps the answer must know that it depends on what a client accepts (RFC 9110 section 12.5.5).
fn say_vary(fields: &mut Fields) {
    let values = fields.iter().filter(|field| field.name.eq_ignore_ascii_case(b"vary")).map(|field| field.value);
    if !fields::list(values).any(|name| name == b"*" || name.eq_ignore_ascii_case(b"accept-encoding")) {
        fields.push(b"Vary", b"Accept-Encoding");
    }
}

fn change_head(algorithm: Algorithm, answer: &mut AnswerHead) {
    let AnswerHead { fields, length, length_said, .. } = answer;
    // Parts of the compressed bytes cannot be had, and they are others each time: what is the same is the meaning
    // (RFC 9110 section 8.8.1).
    let tag = fields.value_of(b"etag").filter(|tag| tag.starts_with(b"\"")).map(|tag| [b"W/", tag].concat());
    fields.take_away(b"accept-ranges");
    fields.take_away(b"content-encoding");
    if let Some(tag) = tag {
        fields.take_away(b"etag");
        fields.push(b"ETag", &tag);
    }
    fields.push(b"Content-Encoding", algorithm.name().as_bytes());
    *length_said = None;
    if *length != Length::None {
        *length = Length::Chunked;
    }
    debug_assert!(fields.values(Known::TransferEncoding).next().is_none_or(|_| *length != Length::None));
}

#[cfg(test)]
mod tests;
