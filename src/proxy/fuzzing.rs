//! The decoders of this folder, for `crate::fuzzing`.

use super::http::h1::body::{Decoder, Step};
use super::http::h1::head::{self, HeadScan, Scanned};
use super::http::picture::{AnswerHead, Length, RequestHead};

/// A head of a request and of an answer, found at the same place whole and byte by byte.
pub(crate) fn head(bytes: &[u8]) {
    let whole = HeadScan::default().scan(bytes);
    let mut piecewise = HeadScan::default();
    let met = (1..=bytes.len()).map(|end| piecewise.scan(&bytes[..end])).find(|scanned| *scanned != Scanned::More);
    assert_eq!(met.unwrap_or(Scanned::More), if bytes.is_empty() { Scanned::More } else { whole });
    let _ = head::leading_empty_lines(bytes);
    let _ = head::too_long(bytes);
    let Scanned::Whole(length) = whole else { return };
    assert!(length <= bytes.len());
    let mut request = RequestHead::default();
    let _ = head::request(&bytes[..length], false, &mut request);
    let mut answer = AnswerHead::default();
    let _ = head::answer(&bytes[..length], &RequestHead::default(), &mut answer);
}

pub(crate) fn heads() -> Vec<Vec<u8>> {
    [
        "GET /a?b HTTP/1.1\r\nHost: example.com\r\nAccept: */*\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nConnection: close, x\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: keep-alive\r\n\r\n",
    ]
    .map(|head| head.as_bytes().to_vec())
    .into()
}

/// A chunked body: the same data whether it arrives at once or byte by byte.
pub(crate) fn chunked(bytes: &[u8]) {
    let (whole, piecewise) = (read(bytes, bytes.len().max(1)), read(bytes, 1));
    assert_eq!(whole, piecewise);
}

pub(crate) fn chunked_bodies() -> Vec<Vec<u8>> {
    ["5\r\nhello\r\n0\r\n\r\n", "1;a=b\r\nx\r\nA\r\n0123456789\r\n0\r\nChecksum: 1\r\n\r\n"]
        .map(|body| body.as_bytes().to_vec())
        .into()
}

/// The data and trailers of a body that arrives in pieces of `at_once` bytes; `None` where it is refused or does not end.
fn read(bytes: &[u8], at_once: usize) -> Option<(Vec<u8>, Vec<u8>)> {
    let mut decoder = Decoder::new(Length::Chunked);
    let (mut data, mut trailers) = (Vec::new(), Vec::new());
    let (mut start, mut end) = (0, at_once.min(bytes.len()));
    loop {
        match decoder.step(&bytes[start..end], &mut trailers).ok()? {
            Step::Data { skip, len } => {
                start += skip;
                data.extend_from_slice(&bytes[start..start + len]);
                start += len;
            }
            Step::End { .. } => return Some((data, trailers)),
            Step::More { skip } => {
                start += skip;
                if end == bytes.len() {
                    return None;
                }
                end = (end + at_once).min(bytes.len());
            }
        }
    }
}
