//! The picture of an exchange that every codec makes and takes: heads, and how a body is delimited.

use std::fmt;

use super::fields::Fields;
use crate::proxy::buffer;

/// What a request asks for, as far as the proxy must tell methods apart.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) enum Method {
    #[default]
    Get,
    Head,
    Options,
    Put,
    Delete,
    Trace,
    Connect,
    Post,
    Other(Box<[u8]>),
}

impl Method {
    pub(crate) fn of(token: &[u8]) -> Self {
        match token {
            b"GET" => Self::Get,
            b"HEAD" => Self::Head,
            b"OPTIONS" => Self::Options,
            b"PUT" => Self::Put,
            b"DELETE" => Self::Delete,
            b"TRACE" => Self::Trace,
            b"CONNECT" => Self::Connect,
            b"POST" => Self::Post,
            other => Self::Other(Box::from(other)),
        }
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Get => b"GET",
            Self::Head => b"HEAD",
            Self::Options => b"OPTIONS",
            Self::Put => b"PUT",
            Self::Delete => b"DELETE",
            Self::Trace => b"TRACE",
            Self::Connect => b"CONNECT",
            Self::Post => b"POST",
            Self::Other(token) => token,
        }
    }

    /// Whether sending it twice means the same as once (RFC 9110 section 9.2.2).
    pub(crate) fn is_idempotent(&self) -> bool {
        !matches!(self, Self::Post | Self::Connect | Self::Other(_))
    }
}

/// How a body is delimited.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum Length {
    /// There is none.
    #[default]
    None,
    /// So many bytes.
    Counted(u64),
    /// It says itself where it ends.
    Chunked,
    /// It ends with the connection; only answers can.
    UntilClose,
}

/// A request's head.
#[derive(Debug, Default)]
pub(crate) struct RequestHead {
    pub(crate) method: Method,
    /// Path and query, or `*`.
    pub(crate) target: Vec<u8>,
    /// Host and port that the request is for; empty where an HTTP/1.0 client names none.
    pub(crate) authority: Vec<u8>,
    pub(crate) fields: Fields,
    pub(crate) length: Length,
    /// HTTP/1.0, which knows neither chunks nor interim answers.
    pub(crate) is_http10: bool,
    /// HTTP/2, where `persistent` says nothing: streams end, and the connection by itself.
    pub(crate) is_http2: bool,
    /// Whether the client wants to go on with this connection.
    pub(crate) persistent: bool,
    /// The client offers to change the protocol, and may.
    pub(crate) upgrade: bool,
    /// How many more proxies an OPTIONS may pass (RFC 9110 section 7.6.2).
    pub(crate) max_forwards: Option<u32>,
    /// The client waits for 100 before it sends the body.
    pub(crate) expects_continue: bool,
}

impl RequestHead {
    /// Gives back memory that only a large request needed.
    pub(crate) fn rest(&mut self) {
        self.method = Method::Get;
        buffer::rest(&mut self.target);
        buffer::rest(&mut self.authority);
        self.fields.rest();
    }
}

/// An answer's head.
#[derive(Debug, Default)]
pub(crate) struct AnswerHead {
    pub(crate) status: u16,
    pub(crate) reason: Vec<u8>,
    pub(crate) fields: Fields,
    pub(crate) length: Length,
    /// Whether the node wants to go on with this connection.
    pub(crate) persistent: bool,
    /// The answer to HEAD, and 304, say a length and have no body.
    pub(crate) length_said: Option<u64>,
}

impl AnswerHead {
    /// Gives back memory that only a large answer needed.
    pub(crate) fn rest(&mut self) {
        buffer::rest(&mut self.reason);
        self.fields.rest();
    }
}

/// Why a request is refused. The first three words of a row: status, the reason that the client sees.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Refusal {
    pub(crate) status: u16,
    pub(crate) reason: &'static str,
}

impl Refusal {
    pub(crate) const fn new(status: u16, reason: &'static str) -> Self {
        Self { status, reason }
    }

    pub(crate) const fn bad(reason: &'static str) -> Self {
        Self::new(400, reason)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.status, self.reason)
    }
}

/// Why a node's answer cannot be passed on.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Malformed(pub(crate) &'static str);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_head_leaves_no_memory_behind_and_a_common_one_its_own() {
        let filled = |fields: usize, bytes: usize| {
            let mut head =
                RequestHead { target: vec![b'/'; bytes], authority: vec![b'a'; bytes], ..RequestHead::default() };
            (0..fields).for_each(|_| head.fields.push(b"Cookie", &vec![b'x'; bytes / fields]));
            head.rest();
            head.target.capacity() + head.authority.capacity() + head.fields.capacity_bytes()
        };
        assert_eq!(filled(100, 8_000), 0);
        assert!(filled(10, 500) >= 1_500, "nothing is to be allocated again for the next request like it");
    }
}
