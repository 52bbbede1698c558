//! The answers that this peer gives itself: one place for what a client is told, which names no internals.

use std::io::Write;

use super::picture::{Method, Refusal, RequestHead};

/// An answer of this peer's own.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) reason: &'static str,
    /// Seconds after which trying again makes sense.
    pub(crate) retry_after_s: Option<u32>,
}

impl Reply {
    /// To OPTIONS that was to come no further than here (RFC 9110 section 7.6.2).
    pub(crate) const OPTIONS: Self =
        Self { status: 200, reason: "this is as far as it was to go", retry_after_s: None };
    pub(crate) const NO_NODE: Self = Self { status: 503, reason: "no node is available", retry_after_s: Some(1) };
    pub(crate) const FULL: Self = Self { status: 503, reason: "all nodes are busy", retry_after_s: Some(1) };
    pub(crate) const NOT_REACHED: Self =
        Self { status: 502, reason: "the node could not be reached", retry_after_s: None };
    pub(crate) const BROKEN: Self = Self { status: 502, reason: "the node broke off", retry_after_s: None };
    pub(crate) const MALFORMED: Self =
        Self { status: 502, reason: "the node's answer was malformed", retry_after_s: None };
    pub(crate) const TIMEOUT: Self =
        Self { status: 504, reason: "the node did not answer in time", retry_after_s: None };
    pub(crate) const CONNECT_TIMEOUT: Self =
        Self { status: 504, reason: "the node could not be reached in time", retry_after_s: None };
    pub(crate) const DRAINED: Self =
        Self { status: 504, reason: "the node was taken out of service before it answered", retry_after_s: None };
    pub(crate) const HEAD_TIMEOUT: Self =
        Self { status: 408, reason: "the request did not arrive in time", retry_after_s: None };
    pub(crate) const BODY_TIMEOUT: Self =
        Self { status: 408, reason: "the request body did not arrive in time", retry_after_s: None };
    pub(crate) const BODY_MALFORMED: Self = Self { status: 400, reason: "malformed request body", retry_after_s: None };

    /// Writes the whole answer.
    pub(crate) fn write(self, request: &RequestHead, persistent: bool, date: &str, out: &mut Vec<u8>) {
        let body = format!("{} {}: {}\n", self.status, reason_phrase(self.status), self.reason);
        let mut head = || -> std::io::Result<()> {
            write!(out, "HTTP/1.1 {} {}\r\nDate: {date}\r\n", self.status, reason_phrase(self.status))?;
            write!(out, "Content-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\n", body.len())?;
            if let Some(seconds) = self.retry_after_s {
                write!(out, "Retry-After: {seconds}\r\n")?;
            }
            if matches!(self.status, 200 | 405) {
                out.extend_from_slice(b"Allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS\r\n");
            }
            if !persistent {
                out.extend_from_slice(b"Connection: close\r\n");
            } else if request.is_http10 {
                out.extend_from_slice(b"Connection: keep-alive\r\n");
            }
            out.extend_from_slice(b"\r\n");
            Ok(())
        };
        let written = head();
        debug_assert!(written.is_ok(), "a Vec takes everything");
        if request.method != Method::Head {
            out.extend_from_slice(body.as_bytes());
        }
    }
}

impl From<Refusal> for Reply {
    fn from(refusal: Refusal) -> Self {
        Self { status: refusal.status, reason: refusal.reason, retry_after_s: None }
    }
}

/// The phrase of RFC 9110 section 15.
fn reason_phrase(status: u16) -> &'static str {
    match status {
        200 => "OK",
        400 => "Bad Request",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        414 => "URI Too Long",
        417 => "Expectation Failed",
        421 => "Misdirected Request",
        431 => "Request Header Fields Too Large",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        _ => "Error",
    }
}
