//! Where a node listens, as a user writes it.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;

use serde::{Serialize, Serializer};

/// The host part of an address.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Host {
    /// A literal address; nothing to look up.
    Ip(IpAddr),
    /// A name in lower case, looked up again as its TTL ends.
    Name(Arc<str>),
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(IpAddr::V6(ip)) => write!(f, "[{ip}]"),
            Self::Ip(ip) => write!(f, "{ip}"),
            Self::Name(name) => f.write_str(name),
        }
    }
}

/// A node's address: `10.0.1.10:8000`, `web.internal:80`, `http://host[:port]`, `https://host[:port]`.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct NodeAddress {
    /// Whether the peer speaks TLS to the node.
    pub tls: bool,
    /// Name or literal address; with TLS it is also the name that the certificate must carry.
    pub host: Host,
    /// TCP port, never 0.
    pub port: u16,
}

/// Why a text is no node address.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum AddressError {
    /// Neither `http`, `https` nor none.
    #[error("scheme {0:?} is not known; use host:port, http://host or https://host")]
    Scheme(String),
    /// `host` without a port and without a scheme that implies one.
    #[error("a port is missing; write host:port, or https://host for port 443")]
    PortMissing,
    /// Not a number of 1 to 65535.
    #[error("port {0:?} is not a number of 1 to 65535")]
    Port(String),
    /// Empty, too long, or with characters that no host name has.
    #[error("{0:?} is neither a host name nor an IP address (IPv6 stands in brackets)")]
    Host(String),
    /// Something stands behind the port.
    #[error("an address ends after the port; {0:?} cannot follow")]
    Trailing(String),
}

impl NodeAddress {
    /// The value of a `Host` field that names this node: the port is left out where the scheme implies it.
    pub fn authority(&self) -> String {
        let implied = if self.tls { 443 } else { 80 };
        if self.port == implied { self.host.to_string() } else { format!("{}:{}", self.host, self.port) }
    }

    /// The socket address, where the host is a literal one.
    pub fn literal(&self) -> Option<SocketAddr> {
        match self.host {
            Host::Ip(ip) => Some(SocketAddr::new(ip, self.port)),
            Host::Name(_) => None,
        }
    }
}

impl From<SocketAddr> for NodeAddress {
    fn from(address: SocketAddr) -> Self {
        Self { tls: false, host: Host::Ip(address.ip()), port: address.port() }
    }
}

/// Whether `name` is a host name: labels of letters, digits, `-` and `_`, 253 bytes at most (RFC 1123 section 2.1; `_` is
/// in use inside many networks).
fn is_host_name(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    !name.is_empty()
        && name.len() <= 253
        && name.split('.').all(|label| {
            !label.is_empty()
                && label.len() <= 63
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        })
        // The last label of a name is not a number, or "1.2.3.400" would be one.
        && !name.rsplit('.').next().is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit()))
}

impl FromStr for NodeAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let (tls, implied, rest) = match text.split_once("://") {
            Some(("http", rest)) => (false, Some(80), rest),
            Some(("https", rest)) => (true, Some(443), rest),
            Some((scheme, _)) => return Err(AddressError::Scheme(scheme.to_owned())),
            None => (false, None, text),
        };
        let rest = if implied.is_some() { rest.strip_suffix('/').unwrap_or(rest) } else { rest };
        if let Some(at) = rest.find(['/', '?', '#']) {
            return Err(AddressError::Trailing(rest[at..].to_owned()));
        }
        let (host, port) = if let Some(bracketed) = rest.strip_prefix('[') {
            let (host, after) = bracketed.split_once(']').ok_or_else(|| AddressError::Host(rest.to_owned()))?;
            let ip = host.parse().map_err(|_| AddressError::Host(host.to_owned()))?;
            let port = match after.strip_prefix(':') {
                Some(port) => Some(port),
                None if after.is_empty() => None,
                None => return Err(AddressError::Trailing(after.to_owned())),
            };
            (Host::Ip(IpAddr::V6(ip)), port)
        } else {
            let (host, port) = match rest.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (rest, None),
            };
            let host = match host.parse::<IpAddr>() {
                Ok(ip) => Host::Ip(ip),
                Err(_) if is_host_name(host) => Host::Name(Arc::from(host.to_ascii_lowercase())),
                Err(_) => return Err(AddressError::Host(host.to_owned())),
            };
            (host, port)
        };
        let port = match (port, implied) {
            (Some(port), _) => port
                .parse::<u16>()
                .ok()
                .filter(|&number| number != 0 && port.bytes().all(|b| b.is_ascii_digit()))
                .ok_or_else(|| AddressError::Port(port.to_owned()))?,
            (None, Some(implied)) => implied,
            (None, None) => return Err(AddressError::PortMissing),
        };
        Ok(Self { tls, host, port })
    }
}

impl fmt::Display for NodeAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.tls {
            f.write_str("https://")?;
        }
        write!(f, "{}:{}", self.host, self.port)
    }
}

impl Serialize for NodeAddress {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_as_it_is_written() {
        for (text, shown, authority) in [
            ("10.0.1.10:8000", "10.0.1.10:8000", "10.0.1.10:8000"),
            ("Web.Internal:80", "web.internal:80", "web.internal"),
            ("[::1]:9000", "[::1]:9000", "[::1]:9000"),
            ("https://eu.example.com", "https://eu.example.com:443", "eu.example.com"),
            ("https://eu.example.com/", "https://eu.example.com:443", "eu.example.com"),
            ("https://[::1]:8443", "https://[::1]:8443", "[::1]:8443"),
            ("http://a_b.example", "a_b.example:80", "a_b.example"),
        ] {
            let address: NodeAddress = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(address.to_string(), shown);
            assert_eq!(address.authority(), authority);
        }
    }

    #[test]
    fn a_wrong_address_is_refused_with_what_is_wrong() {
        for (text, why) in [
            ("", AddressError::Host(String::new())),
            ("web", AddressError::PortMissing),
            ("web:0", AddressError::Port("0".into())),
            ("web:+80", AddressError::Port("+80".into())),
            ("web:65536", AddressError::Port("65536".into())),
            ("1.2.3.400:80", AddressError::Host("1.2.3.400".into())),
            ("ftp://web:21", AddressError::Scheme("ftp".into())),
            ("http://web/path", AddressError::Trailing("/path".into())),
            ("::1:80", AddressError::Host(String::new())),
            ("[::1", AddressError::Host("[::1".into())),
            ("user@web:80", AddressError::Host("user@web".into())),
        ] {
            assert_eq!(text.parse::<NodeAddress>(), Err(why), "{text:?}");
        }
    }
}
