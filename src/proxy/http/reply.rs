//! The answers that this peer gives itself: one place for what a client is told, which names no internals.

use std::io::Write;

use super::checked::Refused;
use super::fields::Fields;
use super::pages::{self, ErrorPage, ErrorPages};
use super::picture::{Method, Refusal, RequestHead};
use super::routed::Edits;
use crate::model::FixedAnswer;
use crate::proxy::limits;

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
    pub(crate) const NO_HOST: Self = Self { status: 400, reason: "the request names no host", retry_after_s: None };
    pub(crate) const NO_NODE: Self = Self { status: 503, reason: "no node is available", retry_after_s: Some(1) };
    pub(crate) const FULL: Self = Self { status: 503, reason: "all nodes are busy", retry_after_s: Some(1) };
    pub(crate) const OVER_CAPACITY: Self =
        Self { status: 503, reason: "every region has as many requests as it takes", retry_after_s: Some(1) };
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

    /// To one too many.
    pub(crate) const fn limited(limits::Refused { status, retry_after_s }: limits::Refused) -> Self {
        Self { status, reason: "too many requests", retry_after_s: Some(retry_after_s) }
    }
    pub(crate) const NOT_CHECKED: Self =
        Self { status: 503, reason: "nobody could say whether the request may go on", retry_after_s: Some(1) };
    pub(crate) const NO_FILE: Self = Self { status: 404, reason: "there is no such file", retry_after_s: None };
    pub(crate) const FILE_BROKEN: Self = Self { status: 500, reason: "the file cannot be read", retry_after_s: None };
    pub(crate) const NOT_OF_FILES: Self =
        Self { status: 405, reason: "a file can be had, and nothing else be done with it", retry_after_s: None };

    /// Of a status and nothing more, as a route wants it.
    pub(crate) const fn refused(status: u16) -> Self {
        Self { status, reason: "refused", retry_after_s: None }
    }
}

/// An answer of this peer's own, with what a route says.
pub(crate) enum Own<'a> {
    /// Its own words.
    Reply(Reply),
    /// To go elsewhere: the status, and where.
    Redirect(u16, &'a [u8]),
    /// What a route says.
    Fixed(&'a FixedAnswer),
    /// What a node said that was asked whether the request may go on.
    Checked(&'a Refused),
    /// In the place of a node's answer, with what of its fields stays.
    Instead(Reply, &'a Fields),
    /// A page of the listener's in the place of the peer's own words, and what stays of the fields of a node's answer.
    Page(Reply, &'a ErrorPage, Option<&'a Fields>),
}

impl Own<'_> {
    pub(crate) fn status(&self) -> u16 {
        match self {
            Self::Reply(reply) | Self::Instead(reply, _) | Self::Page(reply, ..) => reply.status,
            Self::Redirect(status, _) => *status,
            Self::Fixed(answer) => answer.status,
            Self::Checked(refused) => refused.status,
        }
    }

    /// The same with the page of its status, where there is one.
    pub(crate) fn with_page<'p>(&self, pages: &'p ErrorPages) -> Option<Own<'p>>
    where
        Self: 'p,
    {
        let (reply, kept) = match self {
            Self::Reply(reply) => (reply, None),
            Self::Instead(reply, kept) => (reply, Some(*kept)),
            _ => return None,
        };
        pages.of(reply.status).map(|page| Own::Page(*reply, page, kept))
    }

    /// Why the peer answers, for the access log.
    pub(crate) fn reason(&self) -> &'static str {
        match self {
            Self::Reply(reply) | Self::Instead(reply, _) | Self::Page(reply, ..) => reply.reason,
            Self::Redirect(..) => "a route redirects",
            Self::Fixed(_) => "a route answers",
            Self::Checked(_) => "a check refuses it",
        }
    }

    /// Writes the whole answer.
    pub(crate) fn write(
        &self,
        request: &RequestHead,
        persistent: bool,
        (date, edits): (&str, Option<&Edits<'_>>),
        out: &mut Vec<u8>,
    ) {
        let said: Vec<u8>;
        let (status, content_type, body): (u16, &str, &[u8]) = match self {
            Self::Reply(reply) | Self::Instead(reply, _) | Self::Page(reply, ..)
                if pages::wants_json(&request.fields) =>
            {
                said = pages::problem(reply, reason_phrase(reply.status));
                (reply.status, "application/problem+json", &said)
            }
            Self::Page(reply, page, _) => (reply.status, &page.content_type, &page.body),
            Self::Reply(reply) | Self::Instead(reply, _) => {
                said = format!("{} {}: {}\n", reply.status, reason_phrase(reply.status), reply.reason).into_bytes();
                (reply.status, FixedAnswer::CONTENT_TYPE_DEFAULT, &said)
            }
            Self::Redirect(status, _) => (*status, "", &[]),
            Self::Fixed(answer) => (answer.status, &answer.content_type, answer.body.as_bytes()),
            Self::Checked(refused) => (refused.status, "", &refused.body),
        };
        let drops = |name: &[u8]| edits.is_some_and(|edits| edits.drops(name));
        let mut head = || -> std::io::Result<()> {
            write!(out, "HTTP/1.1 {status} {}\r\nDate: {date}\r\n", reason_phrase(status))?;
            if !content_type.is_empty() && FixedAnswer::may_have_body(status) && !drops(b"content-type") {
                write!(out, "Content-Type: {content_type}\r\n")?;
            }
            if FixedAnswer::may_have_body(status) {
                write!(out, "Content-Length: {}\r\n", body.len())?;
            }
            match self {
                Self::Instead(_, kept) | Self::Page(_, _, Some(kept)) => write_fields(kept, drops, out),
                Self::Reply(reply) | Self::Page(reply, _, None) => {
                    if let Some(seconds) = reply.retry_after_s.filter(|_| !drops(b"retry-after")) {
                        write!(out, "Retry-After: {seconds}\r\n")?;
                    }
                    if *reply == Reply::NOT_OF_FILES {
                        out.extend_from_slice(b"Allow: GET, HEAD\r\n");
                    } else if matches!(status, 200 | 405) {
                        out.extend_from_slice(b"Allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS\r\n");
                    }
                }
                Self::Redirect(_, location) => {
                    out.extend_from_slice(b"Location: ");
                    out.extend_from_slice(location);
                    out.extend_from_slice(b"\r\n");
                }
                Self::Fixed(_) => {}
                Self::Checked(refused) => write_fields(&refused.fields, drops, out),
            }
            if let Some(edits) = edits {
                edits.write(out);
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
            out.extend_from_slice(body);
        }
    }
}

fn write_fields(fields: &Fields, drops: impl Fn(&[u8]) -> bool, out: &mut Vec<u8>) {
    for field in fields.iter().filter(|field| !drops(field.name)) {
        out.extend_from_slice(field.name);
        out.extend_from_slice(b": ");
        out.extend_from_slice(field.value);
        out.extend_from_slice(b"\r\n");
    }
}

impl From<Refusal> for Reply {
    fn from(refusal: Refusal) -> Self {
        Self { status: refusal.status, reason: refusal.reason, retry_after_s: None }
    }
}

/// The phrase of RFC 9110 section 15, of RFC 6585 for 428, 429, 431 and 511, and of RFC 8297, 8470, 7725 and 7540 for what else
/// is in use; of other statuses nothing, which RFC 9112 section 4 allows.
fn reason_phrase(status: u16) -> &'static str {
    match status {
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        203 => "Non-Authoritative Information",
        204 => "No Content",
        205 => "Reset Content",
        206 => "Partial Content",
        300 => "Multiple Choices",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        304 => "Not Modified",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        402 => "Payment Required",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        408 => "Request Timeout",
        409 => "Conflict",
        410 => "Gone",
        411 => "Length Required",
        412 => "Precondition Failed",
        413 => "Content Too Large",
        414 => "URI Too Long",
        415 => "Unsupported Media Type",
        416 => "Range Not Satisfiable",
        417 => "Expectation Failed",
        421 => "Misdirected Request",
        422 => "Unprocessable Content",
        425 => "Too Early",
        426 => "Upgrade Required",
        428 => "Precondition Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        451 => "Unavailable For Legal Reasons",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        507 => "Insufficient Storage",
        511 => "Network Authentication Required",
        _ => "",
    }
}
