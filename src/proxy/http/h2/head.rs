//! A request's head as HTTP/2 has it (RFC 9113 section 8), made into the picture that every codec makes.
//!
//! The codec has looked at the frames, at names in lower case, at which pseudo-header fields there are and at fields of a
//! connection. What is looked at here is what a node or a route could read in two ways, by the rules of HTTP/1.1.

use ::http::Method as WireMethod;
use ::http::request::Parts;
use h2::ext::Protocol;

use super::websocket::Handshake;
use crate::model::limits::{HEAD_FIELDS_MAX, TARGET_BYTES_MAX};
use crate::proxy::http::fields::Known;
use crate::proxy::http::h1::{framing, head as h1};
use crate::proxy::http::picture::{Length, Method, Refusal, RequestHead};

/// Reads a request's head. `has_ended`: nothing follows it. Says the handshake where the client wants a WebSocket, for which
/// `handshake` makes one.
pub(super) fn take(
    parts: &Parts,
    has_ended: bool,
    handshake: impl FnOnce() -> Handshake,
    head: &mut RequestHead,
) -> Result<Option<Handshake>, Refusal> {
    *head =
        RequestHead { is_http2: true, method: Method::of(parts.method.as_str().as_bytes()), ..RequestHead::default() };
    let handshake = match parts.method {
        WireMethod::TRACE => return Err(Refusal::new(405, "TRACE is not allowed")),
        WireMethod::CONNECT => {
            // As a node sees it; a refusal is read like one of GET too.
            head.method = Method::Get;
            let protocol = parts.extensions.get::<Protocol>();
            let protocol = protocol.ok_or(Refusal::new(405, "CONNECT is not allowed"))?;
            // RFC 9220 section 3 has the status, for a protocol that is not known.
            if protocol.as_str() != "websocket" {
                return Err(Refusal::new(501, "the protocol is not supported"));
            }
            if has_ended {
                return Err(Refusal::bad("a WebSocket that has ended"));
            }
            Some(handshake())
        }
        _ => None,
    };
    take_target(parts, head)?;
    take_fields(parts, handshake.as_ref(), head)?;
    take_length(has_ended, handshake.is_some(), head)?;
    head.upgrade = handshake.is_some();
    h1::take_max_forwards(head)?;
    h1::take_expectation(head)?;
    Ok(handshake)
}

/// What is asked for, and of which host (RFC 9113 section 8.3.1).
fn take_target(parts: &Parts, head: &mut RequestHead) -> Result<(), Refusal> {
    // Some who end TLS in front of a peer say the scheme of their client, others their own: routes go by the listener's.
    if parts.uri.scheme_str().is_some_and(|scheme| !matches!(scheme, "http" | "https")) {
        return Err(Refusal::bad("the scheme is neither http nor https"));
    }
    let target = parts.uri.path_and_query().map_or("", |path| path.as_str()).as_bytes();
    if target.len() > TARGET_BYTES_MAX {
        return Err(Refusal::new(414, "request target is too long"));
    }
    let is_of_server = target == b"*" && head.method == Method::Options;
    if !h1::is_target(target) || (!target.starts_with(b"/") && !is_of_server) {
        return Err(Refusal::bad("malformed request target"));
    }
    head.target.extend_from_slice(target);

    let mut hosts = parts.headers.get_all(::http::header::HOST).iter().map(::http::HeaderValue::as_bytes);
    let host = hosts.next();
    if hosts.next().is_some() {
        return Err(Refusal::bad("more than one Host"));
    }
    let authority = parts.uri.authority().map(|authority| authority.as_str().as_bytes());
    match (authority, host) {
        (None, None) => return Err(Refusal::bad("the host is missing")),
        (Some(authority), Some(host)) if !authority.eq_ignore_ascii_case(host) => {
            return Err(Refusal::bad("Host is not :authority"));
        }
        _ => {}
    }
    let authority = authority.or(host).unwrap_or_default();
    if !h1::is_authority(authority) {
        return Err(Refusal::bad("malformed host"));
    }
    head.authority.extend_from_slice(authority);
    Ok(())
}

fn take_fields(parts: &Parts, handshake: Option<&Handshake>, head: &mut RequestHead) -> Result<(), Refusal> {
    // Crumbs of cookies are one field; what they may be together the size of a head says.
    let crumbs = parts.headers.get_all(::http::header::COOKIE).iter().count();
    if parts.headers.len() - crumbs.saturating_sub(1) > HEAD_FIELDS_MAX {
        return Err(Refusal::new(431, "request head has too many fields"));
    }
    // Whoever looks for a host in the fields finds it there whatever the version.
    head.fields.push(b"host", &head.authority);
    let mut cookies: Vec<u8> = Vec::new();
    for (name, value) in &parts.headers {
        let (name, value) = (name.as_str().as_bytes(), value.as_bytes());
        // RFC 9113 section 8.2.1.
        if value.trim_ascii().len() != value.len() {
            return Err(Refusal::bad("malformed field value"));
        }
        match name {
            b"host" => {}
            b"cookie" => {
                // Crumbs of one field (RFC 9113 section 8.2.3).
                if !cookies.is_empty() {
                    cookies.extend_from_slice(b"; ");
                }
                cookies.extend_from_slice(value);
            }
            b"sec-websocket-key" if handshake.is_some() => {}
            _ => head.fields.push(name, value),
        }
    }
    if !cookies.is_empty() {
        head.fields.push(b"cookie", &cookies);
    }
    if let Some(handshake) = handshake {
        head.fields.push(b"upgrade", b"websocket");
        head.fields.push(b"sec-websocket-key", handshake.key.as_bytes());
    }
    Ok(())
}

fn take_length(has_ended: bool, is_tunnel: bool, head: &mut RequestHead) -> Result<(), Refusal> {
    let said = framing::of_request(head)?;
    let is_said = head.fields.values(Known::ContentLength).next().is_some();
    head.length = match (has_ended, said) {
        (_, Length::Counted(_)) if is_tunnel => return Err(Refusal::bad("a WebSocket with a length")),
        (true, Length::Counted(_)) => return Err(Refusal::bad("the body that was announced is missing")),
        (true, _) => Length::None,
        (false, Length::None) if !is_said && !is_tunnel => Length::Chunked,
        (false, said) => said,
    };
    Ok(())
}

#[cfg(test)]
mod tests;
