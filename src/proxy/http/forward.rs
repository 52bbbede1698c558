//! What a head becomes on its way through: which fields end here, which are added, and what they say.

use std::io::Write;
use std::net::IpAddr;

use super::fields::Known;
use super::h1::body::Encoder;
use super::origin::Origin;
use super::picture::{AnswerHead, Length, RequestHead};
use super::routed::Edits;
use crate::model::HostSent;
use crate::proxy::settings::Http;
use crate::view::Taken;

/// The name of this proxy in `Via` and `Forwarded`.
const PSEUDONYM: &str = "evenkeel";

/// How a request's body goes to a node.
pub(crate) fn request_encoder(head: &RequestHead) -> Encoder {
    if head.length == Length::Chunked { Encoder::Chunked } else { Encoder::Plain }
}

/// Writes the head of a request as the node that was taken gets it.
pub(crate) fn head_to_node(
    head: &RequestHead,
    from: (Origin, &Http),
    taken: &Taken,
    (target, edits): (&[u8], Option<&Edits<'_>>),
    out: &mut Vec<u8>,
) {
    let node_authority = taken.node().node.address.authority();
    let host = match taken.pool().pool.host_sent {
        HostSent::Client => None,
        HostSent::Node => Some(node_authority.as_str()),
    };
    request_head(head, from, host, &node_authority, (target, edits), out);
}

/// Writes the head of a request as a node gets it. `node_authority` is sent as `Host` where it is given, or where the
/// client named no host.
pub(crate) fn request_head(
    head: &RequestHead,
    (origin, settings): (Origin, &Http),
    node_authority: Option<&str>,
    fallback_authority: &str,
    (target, edits): (&[u8], Option<&Edits<'_>>),
    out: &mut Vec<u8>,
) {
    out.extend_from_slice(head.method.as_bytes());
    out.push(b' ');
    out.extend_from_slice(target);
    out.extend_from_slice(b" HTTP/1.1\r\nHost: ");
    match node_authority {
        Some(authority) => out.extend_from_slice(authority.as_bytes()),
        None if head.authority.is_empty() => out.extend_from_slice(fallback_authority.as_bytes()),
        None => out.extend_from_slice(&head.authority),
    }
    out.extend_from_slice(b"\r\n");

    let mut has_length = false;
    for field in head.fields.iter() {
        let passes = match field.known {
            Known::Host => false,
            Known::Expect => head.expects_continue,
            Known::ContentLength => {
                has_length = true;
                true
            }
            Known::Via => true,
            Known::MaxForwards => head.max_forwards.is_none(),
            // The chain of a believed sender is written below, with this peer's link added.
            Known::Forwarded | Known::XForwardedFor => false,
            // Not even of a believed sender: it may pass on what it does not know.
            Known::Disguised => false,
            Known::XForwardedHost | Known::XForwardedProto | Known::XForwarded | Known::XRealIp => origin.trusted,
            known => !known.is_hop_by_hop(),
        };
        if passes && !field.dropped && !edits.is_some_and(|edits| edits.drops(field.name)) {
            write_field(field.name, field.value, out);
        }
    }
    if let Some(edits) = edits {
        edits.write(out);
    }
    if let Some(more) = head.max_forwards {
        write_all(out, format_args!("Max-Forwards: {}\r\n", more.saturating_sub(1)));
    }
    write_framing(head, has_length, out);
    write_upgrade(head, out);
    write_forwarded(head, origin, out);
    if settings.via {
        let version = match (head.is_http10, head.is_http2) {
            (true, _) => "1.0",
            (false, true) => "2.0",
            (false, false) => "1.1",
        };
        write_all(out, format_args!("Via: {version} {PSEUDONYM}\r\n"));
    }
    out.extend_from_slice(b"\r\n");
}

fn write_framing(head: &RequestHead, has_length: bool, out: &mut Vec<u8>) {
    if head.length == Length::Chunked {
        out.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
        // Only a sender that frames by chunks can pass on the trailers that the node may send (RFC 9110 section 10.1.4).
    }
    debug_assert!(
        has_length == matches!(head.length, Length::Counted(_)) || head.length == Length::None,
        "the length that is passed on is the one that was read"
    );
    if wants_trailers(head) {
        out.extend_from_slice(b"TE: trailers\r\nConnection: TE\r\n");
    }
}

/// Whether the client takes trailers: gRPC does, and its nodes ask.
fn wants_trailers(head: &RequestHead) -> bool {
    !head.is_http10
        && !head.upgrade
        && super::fields::list(head.fields.values(Known::Te)).any(|item| item.eq_ignore_ascii_case(b"trailers"))
}

fn write_upgrade(head: &RequestHead, out: &mut Vec<u8>) {
    if !head.upgrade {
        return;
    }
    out.extend_from_slice(b"Connection: upgrade\r\n");
    for value in head.fields.values(Known::Upgrade) {
        write_field(b"Upgrade", value, out);
    }
}

/// `X-Forwarded-*` as everybody has them and `Forwarded` (RFC 7239), both saying the same. What a sender that is not
/// listed said of itself is gone.
fn write_forwarded(head: &RequestHead, origin: Origin, out: &mut Vec<u8>) {
    let client = origin.client.ip();
    let said = |known| origin.trusted && head.fields.values(known).next().is_some();

    out.extend_from_slice(b"X-Forwarded-For: ");
    if origin.trusted {
        for value in head.fields.values(Known::XForwardedFor).filter(|value| !value.is_empty()) {
            out.extend_from_slice(value);
            out.extend_from_slice(b", ");
        }
    }
    write_all(out, format_args!("{client}\r\n"));
    if !said(Known::XForwardedProto) {
        write_field(b"X-Forwarded-Proto", origin.scheme().as_bytes(), out);
    }
    if !said(Known::XForwardedHost) && !head.authority.is_empty() {
        write_field(b"X-Forwarded-Host", &head.authority, out);
    }

    out.extend_from_slice(b"Forwarded: ");
    if origin.trusted {
        for value in head.fields.values(Known::Forwarded).filter(|value| !value.is_empty()) {
            out.extend_from_slice(value);
            out.extend_from_slice(b", ");
        }
    }
    match client {
        IpAddr::V4(ip) => write_all(out, format_args!("for={ip}")),
        IpAddr::V6(ip) => write_all(out, format_args!("for=\"[{ip}]\"")),
    }
    if !head.authority.is_empty() {
        // A colon or a bracket makes it a quoted string; an authority has no quotation mark or backslash in it.
        out.extend_from_slice(b";host=\"");
        out.extend_from_slice(&head.authority);
        out.push(b'"');
    }
    out.extend_from_slice(b";proto=");
    out.extend_from_slice(origin.scheme().as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// How an answer's body goes to the client, and whether the connection can go on behind it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct AnswerPlan {
    pub(crate) encoder: Encoder,
    pub(crate) persistent: bool,
}

impl AnswerPlan {
    /// `may_persist`: whether the client wants to go on and this peer does too.
    pub(crate) fn of(request: &RequestHead, answer: &AnswerHead, may_persist: bool) -> Self {
        match answer.length {
            Length::None | Length::Counted(_) => Self { encoder: Encoder::Plain, persistent: may_persist },
            Length::Chunked | Length::UntilClose if !request.is_http10 => {
                Self { encoder: Encoder::Chunked, persistent: may_persist }
            }
            // HTTP/1.0 knows no chunks: the end of the connection ends the body.
            Length::Chunked | Length::UntilClose => Self { encoder: Encoder::Plain, persistent: false },
        }
    }
}

/// Writes the head of a final answer as the client gets it. `date` is sent where the node sent none.
pub(crate) fn answer_head(
    request: &RequestHead,
    answer: &AnswerHead,
    plan: AnswerPlan,
    (date, edits): (&str, Option<&Edits<'_>>),
    out: &mut Vec<u8>,
) {
    write_status_line(answer, out);
    let mut has_date = false;
    for field in answer.fields.iter() {
        let passes = match field.known {
            Known::ContentLength => answer.length_said.is_some(),
            Known::Date => {
                has_date = true;
                true
            }
            // 426 says with it what it wants (RFC 9110 section 15.5.22).
            Known::Upgrade => answer.status == 426,
            known => !known.is_hop_by_hop() && !field.dropped,
        };
        if passes && !edits.is_some_and(|edits| edits.drops(field.name)) {
            write_field(field.name, field.value, out);
        }
    }
    if let Some(edits) = edits {
        edits.write(out);
    }
    if !has_date {
        write_field(b"Date", date.as_bytes(), out);
    }
    if plan.encoder == Encoder::Chunked {
        out.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
    }
    match (plan.persistent, answer.status == 426) {
        (false, _) => out.extend_from_slice(b"Connection: close\r\n"),
        (true, true) => out.extend_from_slice(b"Connection: upgrade\r\n"),
        (true, false) if request.is_http10 => out.extend_from_slice(b"Connection: keep-alive\r\n"),
        (true, false) => {}
    }
    out.extend_from_slice(b"\r\n");
}

/// Writes the head of an interim answer (RFC 9110 section 15.2) as the client gets it.
pub(crate) fn interim_head(answer: &AnswerHead, out: &mut Vec<u8>) {
    write_status_line(answer, out);
    for field in answer.fields.iter() {
        if !field.known.is_hop_by_hop() && field.known != Known::ContentLength && !field.dropped {
            write_field(field.name, field.value, out);
        }
    }
    out.extend_from_slice(b"\r\n");
}

/// Writes the head of a 101 as the client gets it.
pub(crate) fn switching_head(answer: &AnswerHead, edits: Option<&Edits<'_>>, out: &mut Vec<u8>) {
    write_status_line(answer, out);
    for field in answer.fields.iter() {
        let passes = match field.known {
            Known::Upgrade => true,
            Known::ContentLength => false,
            known => !known.is_hop_by_hop() && !field.dropped,
        };
        if passes && !edits.is_some_and(|edits| edits.drops(field.name)) {
            write_field(field.name, field.value, out);
        }
    }
    if let Some(edits) = edits {
        edits.write(out);
    }
    out.extend_from_slice(b"Connection: upgrade\r\n\r\n");
}

fn write_status_line(answer: &AnswerHead, out: &mut Vec<u8>) {
    write_all(out, format_args!("HTTP/1.1 {} ", answer.status));
    out.extend_from_slice(&answer.reason);
    out.extend_from_slice(b"\r\n");
}

fn write_field(name: &[u8], value: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

fn write_all(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    let written = out.write_fmt(text);
    debug_assert!(written.is_ok(), "a Vec takes everything");
}
