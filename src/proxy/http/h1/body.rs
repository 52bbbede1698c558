//! Bodies: what of the bytes that arrive is data, and how data is written again (RFC 9112 sections 6 and 7).
//!
//! A chunked body is taken apart and put together anew, never passed on as it came: what a node reads is this proxy's
//! reading and no other.

use std::io::Write;

use crate::model::limits::{CHUNK_EXTENSION_BYTES_MAX, HEAD_FIELDS_MAX, TRAILER_BYTES_MAX};
use crate::proxy::http::fields::{Known, is_token};
use crate::proxy::http::picture::Length;

/// Digits of a chunk's size: 15 hexadecimal ones are 2^60 bytes.
const SIZE_DIGITS_MAX: usize = 15;

/// Takes a body apart as it arrives.
#[derive(Debug)]
pub(crate) enum Decoder {
    /// Nothing more belongs to it.
    Ended,
    /// So many bytes are still to come.
    Counted(u64),
    Chunked(Chunked),
    /// Everything up to the end of the connection.
    UntilClose,
}

/// Where a chunked body stands.
#[derive(Debug, Default)]
pub(crate) struct Chunked {
    state: ChunkState,
    trailers: Vec<u8>,
    trailer_fields: usize,
}

#[derive(Debug, Default)]
enum ChunkState {
    #[default]
    Size,
    Data(u64),
    DataEnd,
    Trailers,
}

/// What the next bytes are. The caller uses up `skip` bytes, and `len` more once it has passed them on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Step {
    /// Behind `skip` bytes of framing stand `len` bytes of data.
    Data { skip: usize, len: usize },
    /// Behind `skip` bytes of framing more must be read.
    More { skip: usize },
    /// Behind `skip` bytes of framing the body has ended.
    End { skip: usize },
}

/// Why a body cannot be read on.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum BodyFault {
    #[error("malformed chunk")]
    Chunk,
    #[error("chunk extension is too long")]
    ExtensionTooLong,
    #[error("malformed trailer section")]
    Trailer,
    #[error("trailer section is too long")]
    TrailerTooLong,
    #[error("the body ended before its end")]
    Cut,
}

impl Decoder {
    pub(crate) fn new(length: Length) -> Self {
        match length {
            Length::None | Length::Counted(0) => Self::Ended,
            Length::Counted(length) => Self::Counted(length),
            Length::Chunked => Self::Chunked(Chunked::default()),
            Length::UntilClose => Self::UntilClose,
        }
    }

    /// How many bytes are still to come, where that is known.
    pub(crate) fn remaining(&self) -> Option<u64> {
        match self {
            Self::Ended => Some(0),
            Self::Counted(left) => Some(*left),
            Self::Chunked(_) | Self::UntilClose => None,
        }
    }

    /// Looks at `input` and says what it begins with. `trailers` takes the lines of a trailer section.
    pub(crate) fn step(&mut self, input: &[u8], trailers: &mut Vec<u8>) -> Result<Step, BodyFault> {
        match self {
            Self::Ended => Ok(Step::End { skip: 0 }),
            _ if input.is_empty() => Ok(Step::More { skip: 0 }),
            Self::UntilClose => Ok(Step::Data { skip: 0, len: input.len() }),
            Self::Counted(left) => {
                let len = usize::try_from(*left).unwrap_or(usize::MAX).min(input.len());
                *left -= len as u64;
                if *left == 0 {
                    *self = Self::Ended;
                }
                Ok(Step::Data { skip: 0, len })
            }
            Self::Chunked(chunked) => {
                let step = chunked.step(input)?;
                if matches!(step, Step::End { .. }) {
                    std::mem::swap(trailers, &mut chunked.trailers);
                    *self = Self::Ended;
                }
                Ok(step)
            }
        }
    }

    /// The connection ended: whether the body did too.
    pub(crate) fn end_of_input(&mut self) -> Result<(), BodyFault> {
        match self {
            Self::Ended => Ok(()),
            Self::UntilClose => {
                *self = Self::Ended;
                Ok(())
            }
            Self::Counted(_) | Self::Chunked(_) => Err(BodyFault::Cut),
        }
    }
}

impl Chunked {
    fn step(&mut self, input: &[u8]) -> Result<Step, BodyFault> {
        let mut skip = 0;
        loop {
            let rest = &input[skip..];
            match self.state {
                ChunkState::Size => {
                    let Some(line) = line(rest, SIZE_DIGITS_MAX + CHUNK_EXTENSION_BYTES_MAX)? else {
                        return Ok(Step::More { skip });
                    };
                    let size = chunk_size(line)?;
                    skip += line.len() + 2;
                    self.state = if size == 0 { ChunkState::Trailers } else { ChunkState::Data(size) };
                }
                ChunkState::Data(left) => {
                    if rest.is_empty() {
                        return Ok(Step::More { skip });
                    }
                    let len = usize::try_from(left).unwrap_or(usize::MAX).min(rest.len());
                    let left = left - len as u64;
                    self.state = if left == 0 { ChunkState::DataEnd } else { ChunkState::Data(left) };
                    return Ok(Step::Data { skip, len });
                }
                ChunkState::DataEnd => match rest {
                    [b'\r', b'\n', ..] => {
                        skip += 2;
                        self.state = ChunkState::Size;
                    }
                    [] | [b'\r'] => return Ok(Step::More { skip }),
                    _ => return Err(BodyFault::Chunk),
                },
                ChunkState::Trailers => {
                    let room = TRAILER_BYTES_MAX - self.trailers.len().min(TRAILER_BYTES_MAX);
                    let Some(line) = line(rest, room).map_err(|_| BodyFault::TrailerTooLong)? else {
                        return Ok(Step::More { skip });
                    };
                    skip += line.len() + 2;
                    if line.is_empty() {
                        return Ok(Step::End { skip });
                    }
                    self.trailer_fields += 1;
                    if self.trailer_fields > HEAD_FIELDS_MAX {
                        return Err(BodyFault::TrailerTooLong);
                    }
                    if passes(line)? {
                        self.trailers.extend_from_slice(line);
                        self.trailers.extend_from_slice(b"\r\n");
                    }
                }
            }
        }
    }
}

/// The first line of `input` without its end, once it is whole. At most `bytes_max` bytes long.
fn line(input: &[u8], bytes_max: usize) -> Result<Option<&[u8]>, BodyFault> {
    match memchr::memchr(b'\n', &input[..input.len().min(bytes_max + 2)]) {
        Some(0) => Err(BodyFault::Chunk),
        Some(end) if input[end - 1] != b'\r' => Err(BodyFault::Chunk),
        Some(end) => Ok(Some(&input[..end - 1])),
        None if input.len() >= bytes_max + 2 => Err(BodyFault::ExtensionTooLong),
        None => Ok(None),
    }
}

/// `chunk-size [ chunk-ext ]` (RFC 9112 section 7.1); an extension is passed over.
fn chunk_size(line: &[u8]) -> Result<u64, BodyFault> {
    let digits = line.iter().position(|byte| !byte.is_ascii_hexdigit()).unwrap_or(line.len());
    if digits == 0 || digits > SIZE_DIGITS_MAX {
        return Err(BodyFault::Chunk);
    }
    let extension = line[digits..].trim_ascii_start();
    let is_extension = extension.is_empty() && digits == line.len() || extension.starts_with(b";");
    if !is_extension || extension.iter().any(|&byte| (byte < 0x20 && byte != b'\t') || byte == 0x7f) {
        return Err(BodyFault::Chunk);
    }
    if extension.len() > CHUNK_EXTENSION_BYTES_MAX {
        return Err(BodyFault::ExtensionTooLong);
    }
    Ok(line[..digits].iter().fold(0, |size, &digit| {
        let value = (digit as char).to_digit(16).unwrap_or(0);
        size * 16 + u64::from(value)
    }))
}

/// Whether a field of a trailer section goes on. One that decides how a message is read or who may do what has no say behind
/// it and ends here (RFC 9110 section 6.5.1); one about framing or routing is no honest sender's.
fn passes(line: &[u8]) -> Result<bool, BodyFault> {
    const DROPPED: [&[u8]; 6] =
        [b"authorization", b"cache-control", b"content-encoding", b"content-type", b"cookie", b"set-cookie"];
    let (name, value) = line.split_at(memchr::memchr(b':', line).ok_or(BodyFault::Trailer)?);
    let is_value = value[1..].iter().all(|&byte| (byte >= 0x20 && byte != 0x7f) || byte == b'\t');
    if !is_token(name) || !is_value {
        return Err(BodyFault::Trailer);
    }
    match Known::of(name) {
        Known::ContentLength | Known::Host | Known::TransferEncoding => Err(BodyFault::Trailer),
        Known::Other => Ok(!DROPPED.iter().any(|dropped| name.eq_ignore_ascii_case(dropped))),
        _ => Ok(false),
    }
}

/// How data is written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Encoder {
    /// As it is: its length was said, or the end of the connection says it.
    Plain,
    Chunked,
    /// Not at all: the answer to HEAD.
    Discard,
}

impl Encoder {
    /// What stands before `len` bytes of data, which are not none.
    pub(crate) fn before(self, len: usize, out: &mut Vec<u8>) {
        if self == Self::Chunked {
            write_hex(len, out);
            out.extend_from_slice(b"\r\n");
        }
    }

    /// What stands behind data.
    pub(crate) fn after(self, out: &mut Vec<u8>) {
        if self == Self::Chunked {
            out.extend_from_slice(b"\r\n");
        }
    }

    /// What ends a body.
    pub(crate) fn end(self, trailers: &[u8], out: &mut Vec<u8>) {
        if self == Self::Chunked {
            out.extend_from_slice(b"0\r\n");
            out.extend_from_slice(trailers);
            out.extend_from_slice(b"\r\n");
        }
    }
}

fn write_hex(number: usize, out: &mut Vec<u8>) {
    let written = write!(out, "{number:x}");
    debug_assert!(written.is_ok(), "a Vec takes everything");
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds `input` in pieces of `piece` bytes, as a connection would, and returns data and trailers.
    fn decode(length: Length, input: &[u8], piece: usize) -> Result<(Vec<u8>, Vec<u8>, usize), BodyFault> {
        let mut decoder = Decoder::new(length);
        let mut buffer: Vec<u8> = Vec::new();
        let (mut data, mut trailers, mut used) = (Vec::new(), Vec::new(), 0);
        let mut pieces = input.chunks(piece);
        loop {
            let (skip, take, end) = match decoder.step(&buffer, &mut trailers)? {
                Step::Data { skip, len } => (skip, len, false),
                Step::More { skip } => {
                    buffer.drain(..skip);
                    used += skip;
                    match pieces.next() {
                        Some(piece) => buffer.extend_from_slice(piece),
                        None => return decoder.end_of_input().map(|()| (data, trailers, used)),
                    }
                    continue;
                }
                Step::End { skip } => (skip, 0, true),
            };
            data.extend_from_slice(&buffer[skip..skip + take]);
            buffer.drain(..skip + take);
            used += skip + take;
            if end {
                return Ok((data, trailers, used));
            }
        }
    }

    #[test]
    fn a_chunked_body_is_the_same_however_it_is_cut_into_pieces() {
        let input = b"5\r\nhello\r\n6;name=\"value\"\r\n world\r\n0\r\nX-Sum: 1\r\n\r\nNEXT";
        for piece in 1..input.len() {
            let (data, trailers, used) = decode(Length::Chunked, input, piece).unwrap();
            assert_eq!(data, b"hello world");
            assert_eq!(trailers, b"X-Sum: 1\r\n");
            assert_eq!(&input[used..], b"NEXT");
        }
    }

    #[test]
    fn a_trailer_that_comes_too_late_to_mean_anything_is_dropped_and_the_body_is_whole() {
        for name in
            ["Set-Cookie", "date", "Content-Type", "Cache-Control", "X-Forwarded-For", "Connection", "Content_Length"]
        {
            let input = format!("5\r\nhello\r\n0\r\nX-A: 1\r\n{name}: x\r\nX-B: 2\r\n\r\n");
            let (data, trailers, used) = decode(Length::Chunked, input.as_bytes(), 4_096).unwrap();
            assert_eq!((data, used), (b"hello".to_vec(), input.len()), "{name}");
            assert_eq!(trailers, b"X-A: 1\r\nX-B: 2\r\n", "{name}");
        }
    }

    #[test]
    fn a_malformed_chunk_is_refused_however_it_is_cut_into_pieces() {
        use BodyFault::{Chunk, Cut, ExtensionTooLong, Trailer, TrailerTooLong};
        let long_extension = format!("5;{}\r\nhello\r\n0\r\n\r\n", "x".repeat(300));
        let long_trailers = format!("0\r\n{}\r\n", "X-A: 1\r\n".repeat(2_000));
        let many_trailers = format!("0\r\n{}\r\n", "X: 1\r\n".repeat(101));
        let long_line = format!("0\r\nX-A: {}\r\n\r\n", "1".repeat(9_000));
        let rows: &[(&[u8], BodyFault)] = &[
            (b"5\nhello\r\n0\r\n\r\n", Chunk),
            (b"5\r\nhello\n0\r\n\r\n", Chunk),
            (b"5\r\nhello!\r\n0\r\n\r\n", Chunk),
            (b"\r\nhello\r\n0\r\n\r\n", Chunk),
            (b"0x5\r\nhello\r\n0\r\n\r\n", Chunk),
            (b"-5\r\nhello\r\n0\r\n\r\n", Chunk),
            (b"+5\r\nhello\r\n0\r\n\r\n", Chunk),
            (b"5 \r\nhello\r\n0\r\n\r\n", Chunk),
            (b" 5\r\nhello\r\n0\r\n\r\n", Chunk),
            (b"5 x\r\nhello\r\n0\r\n\r\n", Chunk),
            (b"5;a\x00b\r\nhello\r\n0\r\n\r\n", Chunk),
            (b"1000000000000000\r\nhello\r\n", Chunk),
            (b"ffffffffffffffffff\r\nhello\r\n", Chunk),
            (b"5\rX\nhello\r\n0\r\n\r\n", Chunk),
            (b"0\r\nContent-Length: 5\r\n\r\n", Trailer),
            (b"0\r\nHost: a\r\n\r\n", Trailer),
            (b"0\r\ntransfer-encoding: chunked\r\n\r\n", Trailer),
            (b"0\r\nno colon\r\n\r\n", Trailer),
            (b"0\r\nX : 1\r\n\r\n", Trailer),
            (b"0\r\n X: 1\r\n\r\n", Trailer),
            (long_extension.as_bytes(), ExtensionTooLong),
            (long_trailers.as_bytes(), TrailerTooLong),
            (many_trailers.as_bytes(), TrailerTooLong),
            (long_line.as_bytes(), TrailerTooLong),
            (b"5\r\nhel", Cut),
            (b"5\r\nhello\r\n0\r\n", Cut),
            (b"", Cut),
        ];
        for (input, fault) in rows {
            for piece in [1, 2, 3, 7, 4_096] {
                let found = decode(Length::Chunked, input, piece).map(|_| ());
                let shown = String::from_utf8_lossy(&input[..input.len().min(40)]);
                assert_eq!(found, Err(*fault), "{shown:?} in pieces of {piece}");
            }
        }
    }

    #[test]
    fn a_counted_body_ends_where_it_says_and_not_before() {
        assert_eq!(decode(Length::Counted(5), b"helloNEXT", 3).unwrap(), (b"hello".to_vec(), vec![], 5));
        assert_eq!(decode(Length::Counted(5), b"hell", 3), Err(BodyFault::Cut));
        assert_eq!(decode(Length::UntilClose, b"hello", 2).unwrap().0, b"hello");
        assert_eq!(decode(Length::None, b"NEXT", 4).unwrap().2, 0);
    }
}
