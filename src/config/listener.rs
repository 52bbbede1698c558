//! `[[listener]]`: an address that takes client traffic.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::peer::ADDRESS;
use super::tls;
use super::{access_log, compression, error_pages};
use crate::catalog::rules::SECURITY_HEADERS;
use crate::document::{Choice, ListOf, Origin, Section, Span, Words, Wrong, YesNo, name, parsed, quoted, whole};
use crate::model::{Cidr, FieldName, ListenerName, PoolName};
use crate::proxy::{Http, Listener, Protocol, Tcp};

/// Client connections of a listener that sets no bound: room for ten thousand idle ones, and for as many requests beside.
pub(super) const CONNECTIONS_DEFAULT: u32 = 16_384;
const TRUSTED_PROXIES_MAX: usize = 1_024;

const MS_10: Duration = Duration::from_millis(10);
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(24 * 3_600);
const WEEK: Duration = Duration::from_secs(7 * 24 * 3_600);

#[derive(Clone, Copy, PartialEq)]
enum Spoken {
    Http,
    Tcp,
}

const PROTOCOL: Choice<Spoken> = Choice::of(&[("http", Spoken::Http), ("tcp", Spoken::Tcp)]);

const FIELD_NAME: Words<FieldName> = Words::of("the name of a field, \"x-client-region\"", parsed, quoted);

const CIDR: Words<Cidr> = Words::of("ranges of addresses, \"10.0.0.0/8\", or addresses", parsed, quoted);

const HEALTH_PATH: Words<Arc<str>> = Words::of(
    "a path, \"/health\"",
    |text| {
        let is_path = text.starts_with('/')
            && text.len() <= 1_024
            && text.chars().all(|c| c.is_ascii_graphic() && !matches!(c, '?' | '#'));
        if is_path { Ok(Arc::from(text)) } else { Err(Wrong::new("it is not a path as it is sent, without a query")) }
    },
    quoted,
);

/// Bytes: a whole number, or with a unit.
pub(super) const BYTES: Words<u32> = Words {
    number_too: true,
    ..Words::of("bytes, 0 to 4294967295, or with a unit: \"64KB\", \"64KiB\"", bytes, |bytes: &u32| bytes.to_string())
};

fn bytes(text: &str) -> Result<u32, Wrong> {
    const UNITS: [(&str, u64); 8] = [
        ("", 1),
        ("B", 1),
        ("KB", 1_000),
        ("KiB", 1 << 10),
        ("MB", 1_000_000),
        ("MiB", 1 << 20),
        ("GB", 1_000_000_000),
        ("GiB", 1 << 30),
    ];
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let factor = UNITS.iter().find(|(name, _)| *name == unit.trim_start()).map(|(_, factor)| *factor);
    let (true, Some(factor)) = (digits > 0, factor) else {
        return Err(Wrong::new("it is not a size").hint("write a whole number and B, KB, KiB, MB, MiB, GB or GiB"));
    };
    let bytes = number.parse::<u64>().ok().and_then(|number| number.checked_mul(factor));
    bytes.and_then(|bytes| u32::try_from(bytes).ok()).ok_or_else(|| Wrong::new("it is more than 4294967295 bytes"))
}

/// What was read of one listener; what is `None` was wrong and is reported.
pub(super) struct Read {
    pub name: Option<(ListenerName, Origin)>,
    pub address: Option<(SocketAddr, Origin)>,
    pub pool: Option<(PoolName, Origin)>,
    /// As faults name it.
    pub place: String,
    pub listener: Option<Listener>,
}

pub(super) fn listeners(s: &mut Section<'_, '_, '_>) -> Vec<Read> {
    s.list("listener", "An address of this peer that takes client traffic.", listener)
}

fn listener(s: &mut Section<'_, '_, '_>) -> Read {
    let name: Option<ListenerName> = s.required("name", &name(), "Its name, unique in the peer.");
    if let Some(name) = &name {
        s.called("listener", name, "");
    }
    let address = s.required("listen", &ADDRESS, "Where it listens.");
    let protocol = s.key_unless_refused(
        "protocol",
        &PROTOCOL,
        Spoken::Http,
        "What is spoken there: HTTP with everything that goes with it, or bytes that are relayed.",
    );
    let pool: Option<PoolName> = s.required("pool", &crate::document::name(), "The pool that its traffic goes to.");
    let connections_max = s.key(
        "max_connections",
        &whole(1, 1_000_000),
        CONNECTIONS_DEFAULT,
        "Client connections at the same time, over all workers; more are closed at once and counted. Each takes a file \
         descriptor, and a second one towards its node.",
    );
    let connections_per_client_max = s.optional(
        "max_connections_per_client",
        &whole(1, 1_000_000),
        "as many as the listener takes",
        "Those of one client, known by its address, of IPv6 by the first 64 bits; more are closed at once and counted. \
         `trusted_proxies` are left out: behind them are many.",
    );
    let http = s.only(protocol.is_none_or(|spoken| spoken == Spoken::Http), "protocol = \"http\"", http);
    let tcp = s.only(protocol.is_none_or(|spoken| spoken == Spoken::Tcp), "protocol = \"tcp\"", tcp);
    let tls_is_wrong = |tls: &Option<_>, s: &Section<'_, '_, '_>| tls.is_none() && s.is_set("tls");
    let inside: &[&[u8]] = match protocol {
        Some(Spoken::Http) if http.http2 => &[b"h2", b"http/1.1"],
        Some(Spoken::Http) => &[b"http/1.1"],
        _ => &[],
    };
    let tls = tls::listener(s, inside);
    let access_log = access_log::listener(s);
    let protocol = protocol.filter(|_| !tls_is_wrong(&tls, s));
    let protocol = protocol.map(|spoken| match spoken {
        Spoken::Http => Protocol::Http(http),
        Spoken::Tcp => Protocol::Tcp(tcp),
    });
    let listener = match (&name, address, &pool, protocol) {
        (Some(name), Some(address), Some(pool), Some(protocol)) => Some(Listener {
            name: name.clone(),
            address,
            pool: pool.clone(),
            connections_max,
            connections_per_client_max,
            protocol,
            tls,
            access_log,
        }),
        _ => None,
    };
    Read {
        name: name.map(|name| (name, s.origin_of("name"))),
        address: address.map(|address| (address, s.origin_of("listen"))),
        pool: pool.map(|pool| (pool, s.origin_of("pool"))),
        place: s.name().to_owned(),
        listener,
    }
}

fn http(s: &mut Section<'_, '_, '_>) -> Http {
    let default = Http::default();
    Http {
        trusted_proxies: s.key(
            "trusted_proxies",
            &ListOf(CIDR, TRUSTED_PROXIES_MAX),
            default.trusted_proxies,
            "Senders whose `Forwarded` and `X-Forwarded-*` fields are believed and added to. From everybody else they are \
             replaced.",
        ),
        region_header: s.optional(
            "region_header",
            &FIELD_NAME,
            "none",
            "The field in which `trusted_proxies` say where a client is; what it says is the name of a region.",
        ),
        http2: s.key(
            "http2",
            &YesNo,
            default.http2,
            "Whether clients may speak HTTP/2: over TLS where they choose it (ALPN), without TLS where they begin with it (prior \
             knowledge). Nodes get HTTP/1.1 either way.",
        ),
        via: s.key(
            "via",
            &YesNo,
            default.via,
            "Whether requests to nodes carry `Via` (RFC 9110 section 7.6.3). nginx as a node compresses no answer when it is \
             there, unless its `gzip_proxied` says so.",
        ),
        head_timeout: s.key("head_timeout", &Span(MS_10, HOUR), default.head_timeout, "How long a client may take to send a whole head."),
        keep_alive_timeout: s.key(
            "keep_alive_timeout",
            &Span(MS_10, DAY),
            default.keep_alive_timeout,
            "How long a connection may wait for its next request.",
        ),
        stream_idle_timeout: s.key(
            "stream_idle_timeout",
            &Span(MS_10, DAY),
            default.stream_idle_timeout,
            "How long a body, either way, may stand still.",
        ),
        body_rate_min: s.key(
            "body_rate_min",
            &BYTES,
            default.body_rate_min,
            "Bytes a second that a request body must reach once `body_rate_grace` is over; 0 takes any. A client that sends \
             slower on purpose holds a connection and a node.",
        ),
        body_rate_grace: s.key(
            "body_rate_grace",
            &Span(Duration::ZERO, HOUR),
            default.body_rate_grace,
            "How long a request body may take before its rate counts.",
        ),
        tunnel_idle_timeout: s.key(
            "tunnel_idle_timeout",
            &Span(MS_10, WEEK),
            default.tunnel_idle_timeout,
            "How long an upgraded connection (a WebSocket) may stand still.",
        ),
        compression: compression::listener(s),
        security_headers: s.key(
            "security_headers",
            &SECURITY_HEADERS,
            default.security_headers,
            "Fields that tell browsers to be careful, on every answer that does not have them already; `strict` needs a site that \
             is made for it. `Strict-Transport-Security` is said over TLS only.",
        ),
        health_path: s.optional(
            "health_path",
            &HEALTH_PATH,
            "none",
            "A path at which the peer itself answers, before any route: 200 while `pool` has a usable node and the peer takes \
             traffic, else 503. For balancers in front of it. It is not logged.",
        ),
        error_pages: error_pages::listener(s),
        // They stand beside the listeners: `file.rs` hands them in.
        folders: default.folders,
    }
}

fn tcp(s: &mut Section<'_, '_, '_>) -> Tcp {
    Tcp {
        idle_timeout: s.key(
            "idle_timeout",
            &Span(MS_10, WEEK),
            Tcp::default().idle_timeout,
            "How long a connection may stand still in both directions. In front of MQTT keep it at 1.5 × the keep-alive time \
             of the clients or more.",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_bytes_or_has_a_unit() {
        for (text, size) in [("0", 0), ("1000", 1_000), ("64KB", 64_000), ("64 KiB", 65_536), ("1MB", 1_000_000)] {
            assert_eq!(bytes(text).unwrap(), size, "{text}");
        }
        for text in ["", "-1", "1kb", "KB", "4GiB", "99999999999999999999"] {
            assert!(bytes(text).is_err(), "{text}");
        }
    }
}
