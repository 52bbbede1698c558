//! Where a request came from: who sent it, and for which client, as far as its senders are believed.

use std::net::{IpAddr, SocketAddr};

use super::fields::{Fields, Known};
use crate::proxy::access_log::Tls;
use crate::proxy::settings::Http;

/// The sender of the requests of one connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Origin {
    pub(crate) client: SocketAddr,
    /// Whether the sender is a listed proxy, whose word about the client is believed.
    pub(crate) trusted: bool,
    /// Whether it was sent over TLS.
    pub(crate) over_tls: bool,
    /// Of which version, as far as it was looked at.
    pub(crate) tls: Option<Tls>,
}

impl Origin {
    pub(crate) fn of(client: SocketAddr, over_tls: bool, settings: &Http) -> Self {
        let client = SocketAddr::new(client.ip().to_canonical(), client.port());
        Self { client, trusted: is_listed(client.ip(), settings), over_tls, tls: None }
    }

    /// The scheme of its requests.
    pub(crate) fn scheme(self) -> &'static str {
        if self.over_tls { "https" } else { "http" }
    }

    /// The client that a request is for: the sender, or behind listed proxies the last address of their chain that is none of
    /// theirs. What stands before that address is its own word and not believed. `Forwarded` counts where there is no
    /// `X-Forwarded-For`.
    pub(crate) fn client_of(self, fields: &Fields, settings: &Http) -> IpAddr {
        let mut client = self.client.ip();
        if !self.trusted {
            return client;
        }
        let has_common = fields.values(Known::XForwardedFor).next().is_some();
        let chain = if has_common { Known::XForwardedFor } else { Known::Forwarded };
        let links = fields.values(chain).rev().flat_map(|value| value.rsplit(|&byte| byte == b','));
        for link in links.map(<[u8]>::trim_ascii).filter(|link| !link.is_empty()) {
            // A link that hides its address (`unknown`, `_hidden`) is as far as the chain can be followed.
            let ip = if has_common { ip_of(link) } else { for_of(link) };
            let Some(ip) = ip else { break };
            client = ip;
            if !is_listed(ip, settings) {
                break;
            }
        }
        client
    }
}

fn is_listed(ip: IpAddr, settings: &Http) -> bool {
    settings.trusted_proxies.iter().any(|range| range.contains(ip))
}

/// The address of `for=` in an element of `Forwarded` (RFC 7239 section 4).
fn for_of(element: &[u8]) -> Option<IpAddr> {
    let value = element.split(|&byte| byte == b';').find_map(|pair| {
        let (name, value) = pair.trim_ascii().split_at_checked("for=".len())?;
        name.eq_ignore_ascii_case(b"for=").then_some(value)
    })?;
    let quoted = value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\""));
    ip_of(quoted.unwrap_or(value))
}

/// An address, with a port or not: `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]:80`.
fn ip_of(text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(text).ok()?;
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let with_port = || text.parse::<SocketAddr>().ok().map(|address| address.ip());
    bare.parse().ok().or_else(with_port).map(|ip: IpAddr| ip.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Who sends, with which fields; and who the client is.
    type Row = (&'static str, &'static [(&'static str, &'static str)], &'static str);

    #[test]
    fn behind_listed_proxies_a_client_is_who_they_say_and_nobody_else_is_believed() {
        let settings = Http {
            trusted_proxies: vec!["10.0.0.0/8".parse().unwrap(), "2001:db8::/32".parse().unwrap()],
            ..Http::default()
        };
        let rows: &[Row] = &[
            ("203.0.113.1", &[("X-Forwarded-For", "198.51.100.7")], "203.0.113.1"),
            ("10.0.0.1", &[], "10.0.0.1"),
            ("10.0.0.1", &[("X-Forwarded-For", "")], "10.0.0.1"),
            ("10.0.0.1", &[("X-Forwarded-For", "198.51.100.7")], "198.51.100.7"),
            ("::ffff:10.0.0.1", &[("X-Forwarded-For", "::ffff:198.51.100.7")], "198.51.100.7"),
            ("10.0.0.1", &[("X-Forwarded-For", "9.9.9.9, 198.51.100.7, 10.0.0.2")], "198.51.100.7"),
            ("10.0.0.1", &[("X-Forwarded-For", "198.51.100.7"), ("X-Forwarded-For", "10.0.0.2,,")], "198.51.100.7"),
            ("10.0.0.1", &[("X-Forwarded-For", "10.0.0.3, 10.0.0.2")], "10.0.0.3"),
            ("10.0.0.1", &[("X-Forwarded-For", "198.51.100.7, unknown, 10.0.0.2")], "10.0.0.2"),
            ("10.0.0.1", &[("X-Forwarded-For", "198.51.100.7:4711")], "198.51.100.7"),
            ("10.0.0.1", &[("X-Forwarded-For", "[2001:db9::1]:80")], "2001:db9::1"),
            ("10.0.0.1", &[("X-Forwarded-For", "[2001:db9::1]")], "2001:db9::1"),
            ("10.0.0.1", &[("Forwarded", "for=9.9.9.9"), ("X-Forwarded-For", "198.51.100.7")], "198.51.100.7"),
            (
                "10.0.0.1",
                &[("Forwarded", "for=9.9.9.9, proto=http;For=\"198.51.100.7:1\";by=10.0.0.1")],
                "198.51.100.7",
            ),
            ("10.0.0.1", &[("Forwarded", "for=\"[2001:db9::1]:4711\", for=\"[2001:db8::1]\"")], "2001:db9::1"),
            ("10.0.0.1", &[("Forwarded", "for=198.51.100.7, for=_hidden")], "10.0.0.1"),
            ("10.0.0.1", &[("Forwarded", "by=198.51.100.7")], "10.0.0.1"),
        ];
        for (sender, chain, client) in rows {
            let mut fields = Fields::default();
            chain.iter().for_each(|(name, value)| fields.push(name.as_bytes(), value.as_bytes()));
            let origin = Origin::of(SocketAddr::new(sender.parse().unwrap(), 5_000), false, &settings);
            let found = origin.client_of(&fields, &settings);
            assert_eq!(found, client.parse::<IpAddr>().unwrap(), "{sender} {chain:?}");
        }
    }
}
