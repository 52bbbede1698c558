//! How long a body is (RFC 9112 section 6.3), decided once, from fields that can be read in one way only.

use crate::proxy::http::fields::{Fields, Known};
use crate::proxy::http::picture::{AnswerHead, Length, Malformed, Method, Refusal, RequestHead};

/// Digits of a length: more would not fit 64 bits, and nobody means it.
const LENGTH_DIGITS_MAX: usize = 18;

/// The length that `Content-Length` says, if it is there. Lists, signs and repetitions are refused even where all say the
/// same: another reader may take the first or the last.
fn content_length(fields: &Fields) -> Result<Option<u64>, &'static str> {
    let mut values = fields.values(Known::ContentLength);
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err("more than one Content-Length");
    }
    if value.is_empty() || value.len() > LENGTH_DIGITS_MAX || !value.iter().all(u8::is_ascii_digit) {
        return Err("malformed Content-Length");
    }
    Ok(Some(value.iter().fold(0, |number, digit| number * 10 + u64::from(digit - b'0'))))
}

enum Coding {
    /// Exactly `chunked`, once.
    Chunked,
    /// Chunked on top of something this proxy does not undo.
    Other,
    Wrong,
}

fn coding(fields: &Fields) -> Option<Coding> {
    let mut values = fields.values(Known::TransferEncoding);
    let value = values.next()?;
    if values.next().is_some() {
        return Some(Coding::Wrong);
    }
    if value.eq_ignore_ascii_case(b"chunked") {
        return Some(Coding::Chunked);
    }
    let known = |coding: &[u8]| {
        [&b"gzip"[..], b"x-gzip", b"deflate", b"compress", b"x-compress", b"br", b"zstd"]
            .iter()
            .any(|known| coding.eq_ignore_ascii_case(known))
    };
    let mut codings: Vec<&[u8]> = value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii).collect();
    let last = codings.pop().unwrap_or_default();
    let is_layered = !codings.is_empty() && codings.iter().all(|coding| known(coding));
    Some(if is_layered && last.eq_ignore_ascii_case(b"chunked") { Coding::Other } else { Coding::Wrong })
}

/// How long a request's body is.
pub(crate) fn of_request(head: &RequestHead) -> Result<Length, Refusal> {
    let length = content_length(&head.fields).map_err(Refusal::bad)?;
    match (coding(&head.fields), length) {
        (None, None | Some(0)) => Ok(Length::None),
        (None, Some(length)) => Ok(Length::Counted(length)),
        (Some(_), _) if head.is_http10 => Err(Refusal::bad("Transfer-Encoding in HTTP/1.0")),
        (Some(_), Some(_)) => Err(Refusal::bad("both Transfer-Encoding and Content-Length")),
        (Some(Coding::Chunked), None) => Ok(Length::Chunked),
        (Some(Coding::Other), None) => Err(Refusal::new(501, "transfer coding is not supported")),
        (Some(Coding::Wrong), None) => Err(Refusal::bad("malformed Transfer-Encoding")),
    }
}

/// How long an answer's body is, noted in `head`.
pub(crate) fn of_answer(request: &RequestHead, is_http10: bool, head: &mut AnswerHead) -> Result<(), Malformed> {
    let length = content_length(&head.fields).map_err(Malformed)?;
    let coding = coding(&head.fields);
    match coding {
        Some(_) if is_http10 => return Err(Malformed("Transfer-Encoding in HTTP/1.0")),
        Some(_) if length.is_some() => return Err(Malformed("both Transfer-Encoding and Content-Length")),
        Some(Coding::Other | Coding::Wrong) => return Err(Malformed("transfer coding is not supported")),
        _ => {}
    }
    head.length_said = None;
    head.length = if head.status < 200 || head.status == 204 {
        // These have no body to say a length of, not even to HEAD (RFC 9110 section 8.6).
        Length::None
    } else if request.method == Method::Head || head.status == 304 {
        head.length_said = length;
        Length::None
    } else if coding.is_some() {
        Length::Chunked
    } else if let Some(length) = length {
        head.length_said = Some(length);
        Length::Counted(length)
    } else {
        head.persistent = false;
        Length::UntilClose
    };
    Ok(())
}
