//! Answers as the engine writes them, HTTP/1.1, read into what HTTP/2 says instead. Pure: bytes in, parts of an answer out.

use ::http::header::{self, HeaderName};
use ::http::{HeaderMap, HeaderValue, StatusCode};
use bytes::Bytes;

use crate::proxy::http::fields::Known;
use crate::proxy::http::h1::body::{Decoder, Step};
use crate::proxy::http::h1::head::{HeadScan, Scanned};
use crate::proxy::http::picture::Length;

/// What comes next of an answer.
#[derive(Debug)]
pub(super) enum Part {
    /// All bytes were taken, and there is nothing to be said yet.
    More,
    /// A 1xx answer.
    Interim(Head),
    /// The head of the final answer.
    Head { head: Head, has_ended: bool },
    /// So many of the bytes behind those that were taken are data.
    Data(usize),
    /// The body has ended. `trailers` is empty where there are none.
    End { trailers: HeaderMap },
}

/// A head of HTTP/2.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) status: StatusCode,
    pub(super) fields: HeaderMap,
}

/// What was written is no answer, which is a fault of this peer: nothing but its own writing comes here.
#[derive(Debug, thiserror::Error)]
#[error("an answer was written that cannot be read")]
pub(super) struct Unreadable;

/// Reads what the engine writes on one stream.
#[derive(Debug)]
pub(super) struct AnswerReader {
    /// To HEAD, so no body follows whatever the head says.
    is_to_head: bool,
    state: State,
}

#[derive(Debug)]
enum State {
    /// This much of a head came before the rest of it.
    Head(Vec<u8>, HeadScan),
    Body(Decoder),
    /// Bytes of another protocol.
    Raw,
    Ended,
}

impl AnswerReader {
    pub(super) fn new(is_to_head: bool) -> Self {
        Self { is_to_head, state: State::Head(Vec::new(), HeadScan::default()) }
    }

    /// From here on everything is data.
    pub(super) fn be_raw(&mut self) {
        self.state = State::Raw;
    }

    /// Whether everything is data.
    pub(super) fn is_raw(&self) -> bool {
        matches!(self.state, State::Raw)
    }

    /// Whether the answer is whole.
    pub(super) fn has_ended(&self) -> bool {
        matches!(self.state, State::Ended)
    }

    /// Whether the body ends behind the data that was found last, without another word.
    pub(super) fn ends_here(&self) -> bool {
        matches!(self.state, State::Body(Decoder::Ended))
    }

    /// The answer has ended.
    pub(super) fn end(&mut self) {
        self.state = State::Ended;
    }

    /// Reads the beginning of `bytes`, and says how many of them it used; those of [`Part::Data`] are not among them.
    pub(super) fn step(&mut self, bytes: &[u8]) -> Result<(usize, Part), Unreadable> {
        match &mut self.state {
            State::Head(begun, scan) => {
                let old = begun.len();
                let whole = match old {
                    0 => bytes,
                    _ => {
                        begun.extend_from_slice(bytes);
                        &begun[..]
                    }
                };
                match scan.scan(whole) {
                    Scanned::Whole(length) => {
                        let part = self.take_head(length, bytes)?;
                        Ok((length - old, part))
                    }
                    Scanned::More => {
                        if old == 0 {
                            begun.extend_from_slice(bytes);
                        }
                        Ok((bytes.len(), Part::More))
                    }
                    Scanned::BareLineFeed | Scanned::TooLong => Err(Unreadable),
                }
            }
            State::Body(decoder) => {
                let mut trailers = Vec::new();
                Ok(match decoder.step(bytes, &mut trailers).map_err(|_| Unreadable)? {
                    Step::Data { skip, len } => (skip, Part::Data(len)),
                    // Framing is written in whole lines.
                    Step::More { skip } if skip < bytes.len() => return Err(Unreadable),
                    Step::More { skip } => (skip, Part::More),
                    Step::End { skip } => {
                        let trailers = fields(&Bytes::from(trailers), &mut Framing::default())?;
                        self.state = State::Ended;
                        (skip, Part::End { trailers })
                    }
                })
            }
            State::Raw => Ok((0, Part::Data(bytes.len()))),
            State::Ended => Err(Unreadable),
        }
    }

    /// Takes the head that is the first `length` bytes of what has come.
    fn take_head(&mut self, length: usize, bytes: &[u8]) -> Result<Part, Unreadable> {
        let State::Head(begun, scan) = &mut self.state else { return Err(Unreadable) };
        let head = if begun.is_empty() { &bytes[..length] } else { &begun[..length] };
        let (head, framing) = read(head)?;
        if head.status.is_informational() && head.status != StatusCode::SWITCHING_PROTOCOLS {
            begun.clear();
            *scan = HeadScan::default();
            return Ok(Part::Interim(head));
        }
        let length = match framing {
            _ if self.is_to_head || matches!(head.status.as_u16(), 101 | 204 | 304) => Length::None,
            Framing { is_chunked: true, .. } => Length::Chunked,
            Framing { length: Some(length), .. } => Length::Counted(length),
            Framing { .. } => Length::None,
        };
        let decoder = Decoder::new(length);
        let has_ended = matches!(decoder, Decoder::Ended);
        self.state = if has_ended { State::Ended } else { State::Body(decoder) };
        Ok(Part::Head { head, has_ended })
    }
}

/// How the body behind a head is delimited.
#[derive(Debug, Default)]
struct Framing {
    is_chunked: bool,
    length: Option<u64>,
}

fn read(head: &[u8]) -> Result<(Head, Framing), Unreadable> {
    let line_end = memchr::memchr(b'\r', head).ok_or(Unreadable)?;
    let status = head.get("HTTP/1.1 ".len().."HTTP/1.1 200".len()).ok_or(Unreadable)?;
    let status = StatusCode::from_bytes(status).map_err(|_| Unreadable)?;
    let mut framing = Framing::default();
    let lines = head.get(line_end + 2..head.len() - 2).ok_or(Unreadable)?;
    let fields = fields(&Bytes::copy_from_slice(lines), &mut framing)?;
    Ok((Head { status, fields }, framing))
}

/// Reads lines of fields. What concerns a connection of HTTP/1.1 only ends here (RFC 9113 section 8.2.2).
fn fields(lines: &Bytes, framing: &mut Framing) -> Result<HeaderMap, Unreadable> {
    let mut fields = HeaderMap::with_capacity(if lines.is_empty() { 0 } else { 12 });
    let mut start = 0;
    while let Some(at) = memchr::memchr(b'\n', &lines[start..]) {
        let line = &lines[start..start + at];
        let colon = memchr::memchr(b':', line).ok_or(Unreadable)?;
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        match Known::of(name) {
            Known::TransferEncoding => framing.is_chunked = true,
            known if known.is_hop_by_hop() => {}
            known => {
                let from = value.as_ptr() as usize - lines.as_ptr() as usize;
                let shared = lines.slice(from..from + value.len());
                let value = HeaderValue::from_maybe_shared(shared).map_err(|_| Unreadable)?;
                if known == Known::ContentLength {
                    let length = value.to_str().ok().and_then(|digits| digits.parse().ok());
                    framing.length = Some(length.ok_or(Unreadable)?);
                }
                let name = HeaderName::from_bytes(name).map_err(|_| Unreadable)?;
                fields.append(name, value);
            }
        }
        start += at + 1;
    }
    Ok(fields)
}

/// The head that a client gets where what the node answered cannot be said to it.
pub(super) fn bad_gateway(answer: &Head) -> Head {
    let mut fields = HeaderMap::new();
    if let Some(date) = answer.fields.get(header::DATE) {
        fields.insert(header::DATE, date.clone());
    }
    fields.insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
    Head { status: StatusCode::BAD_GATEWAY, fields }
}

#[cfg(test)]
mod tests;
