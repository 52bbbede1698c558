//! What routes ask of a request.

use std::net::IpAddr;

use jiff::Timestamp;

use crate::model::{ListenerName, RegionName, Scheme};

/// A request, or a connection that is not HTTP, as far as routes ask of it.
pub trait Facts {
    /// Where it came in.
    fn listener(&self) -> &ListenerName;
    /// Whether that was over TLS.
    fn scheme(&self) -> Scheme;
    /// For whom it is.
    fn client(&self) -> IpAddr;
    /// Where that client is; `None`: nobody knows.
    fn region(&self) -> Option<&RegionName>;
    /// The wall clock.
    fn now(&self) -> Timestamp;
    /// What is asked; `None`: it is not HTTP.
    fn head(&self) -> Option<Head<'_>>;
    /// Whether a field of this name, which is in lower case, has a value of which `is_it` says so.
    fn has_field(&self, name: &str, is_it: &mut dyn FnMut(&[u8]) -> bool) -> bool;
}

/// What an HTTP request asks for.
#[derive(Clone, Copy, Debug)]
pub struct Head<'a> {
    /// Its method.
    pub method: &'a [u8],
    /// Host and port that it names, as they were sent.
    pub authority: &'a [u8],
    /// Path and query as they were sent.
    pub target: &'a [u8],
    /// The path in plain form: see [`super::path::plain`].
    pub path: &'a [u8],
}

impl<'a> Head<'a> {
    /// The host alone, without the port (RFC 3986 section 3.2).
    pub fn host(&self) -> &'a [u8] {
        host_of(self.authority)
    }

    /// The query as it was sent; empty where there is none.
    pub fn query(&self) -> &'a [u8] {
        memchr::memchr(b'?', self.target).map_or(&[], |question| &self.target[question + 1..])
    }
}

fn host_of(authority: &[u8]) -> &[u8] {
    // An IPv6 address has colons of its own and stands in brackets.
    let from = if authority.first() == Some(&b'[') { memchr::memchr(b']', authority).unwrap_or(0) } else { 0 };
    let host = memchr::memchr(b':', &authority[from..]).map_or(authority, |colon| &authority[..from + colon]);
    // A final dot says "absolute"; it is the same host.
    host.strip_suffix(b".").unwrap_or(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_an_authority_without_its_port() {
        for (authority, host) in [
            ("shop.example", "shop.example"),
            ("shop.example:8080", "shop.example"),
            ("shop.example.:80", "shop.example"),
            ("[::1]:80", "[::1]"),
            ("[::1]", "[::1]"),
            ("", ""),
        ] {
            assert_eq!(host_of(authority.as_bytes()), host.as_bytes());
        }
    }
}
