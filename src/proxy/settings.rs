//! What a peer's file says of its listeners.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use crate::model::{ListenerName, PoolName};
use crate::tls::Server;

/// Everything the data plane is told when it starts.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Worker threads, each with its own runtime and connections to nodes. Default: one a core.
    pub workers: NonZeroUsize,
    /// Addresses that take client traffic.
    pub listeners: Vec<Listener>,
    /// How long a stopping peer says so (`/health` 503, `Connection: close`) before it stops accepting.
    pub announce: Duration,
    /// How long a stopping peer lets requests and connections finish.
    pub drain: Duration,
    /// Idle connections to nodes.
    pub idle: Idle,
}

/// How connections to nodes are kept for the next request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Idle {
    /// Idle connections kept of one node, a worker.
    pub connections_max: usize,
    /// How long one is kept without use. Keep it below the node's own keep-alive time.
    pub idle_timeout: Duration,
    /// How old one may get.
    pub age_max: Duration,
}

impl Default for Idle {
    fn default() -> Self {
        Self { connections_max: 64, idle_timeout: Duration::from_secs(60), age_max: Duration::from_secs(3_600) }
    }
}

/// An address that takes client traffic.
#[derive(Clone, Debug, PartialEq)]
pub struct Listener {
    /// Its name, unique in the peer.
    pub name: ListenerName,
    /// Where it listens; port 0: a free one.
    pub address: SocketAddr,
    /// The pool that its traffic goes to.
    pub pool: PoolName,
    /// Client connections at the same time, over all workers; more are closed at once and counted.
    pub connections_max: u32,
    /// What is spoken there.
    pub protocol: Protocol,
    /// TLS around it; `None`: it is spoken as it is.
    pub tls: Option<Tls>,
}

/// TLS of a listener.
#[derive(Clone, Debug, PartialEq)]
pub struct Tls {
    /// How it is spoken.
    pub server: Arc<Server>,
    /// How long a client may take from its connection to the end of its handshake.
    pub handshake_timeout: Duration,
}

impl Tls {
    /// How long a client may take where nothing else is said.
    pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
}

/// What a listener speaks.
#[derive(Clone, Debug, PartialEq)]
pub enum Protocol {
    /// HTTP/1.1.
    Http(Http),
    /// Bytes.
    Tcp(Tcp),
}

/// Settings of an HTTP listener.
#[derive(Clone, Debug, PartialEq)]
pub struct Http {
    /// Senders whose `Forwarded` and `X-Forwarded-*` fields are believed and added to.
    pub trusted_proxies: Vec<Cidr>,
    /// Whether requests to nodes carry `Via` (RFC 9110 section 7.6.3). nginx as a node does not compress when it is there
    /// unless its `gzip_proxied` says so.
    pub via: bool,
    /// How long a client may take to send a whole head.
    pub head_timeout: Duration,
    /// How long a connection may wait for its next request.
    pub keep_alive_timeout: Duration,
    /// How long a body, either way, may stand still.
    pub stream_idle_timeout: Duration,
    /// Bytes a second that a request body must reach, measured after `body_rate_grace`; 0: any.
    pub body_rate_min: u32,
    /// How long a request body may take before its rate counts.
    pub body_rate_grace: Duration,
    /// How long an upgraded connection (a WebSocket) may stand still.
    pub tunnel_idle_timeout: Duration,
}

impl Default for Http {
    fn default() -> Self {
        Self {
            trusted_proxies: Vec::new(),
            via: true,
            head_timeout: Duration::from_secs(10),
            keep_alive_timeout: Duration::from_secs(60),
            stream_idle_timeout: Duration::from_secs(300),
            body_rate_min: 1_000,
            body_rate_grace: Duration::from_secs(10),
            tunnel_idle_timeout: Duration::from_secs(3_600),
        }
    }
}

/// Settings of a TCP listener.
#[derive(Clone, Debug, PartialEq)]
pub struct Tcp {
    /// How long a connection may stand still in both directions. In front of MQTT keep it at 1.5 × the keep-alive time of
    /// the clients or more.
    pub idle_timeout: Duration,
}

impl Default for Tcp {
    fn default() -> Self {
        Self { idle_timeout: Duration::from_secs(3_600) }
    }
}

/// A range of addresses: `10.0.0.0/8`, `2001:db8::/32`, or one address.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Cidr {
    network: IpAddr,
    prefix_bits: u8,
}

/// Why a text is no range of addresses.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{0:?} is no range of addresses; write 10.0.0.0/8 or one address")]
pub struct CidrError(String);

fn bits(ip: IpAddr) -> (u128, u8) {
    match ip {
        IpAddr::V4(ip) => (u128::from(ip.to_bits()) << 96, 32),
        IpAddr::V6(ip) => (ip.to_bits(), 128),
    }
}

impl Cidr {
    /// Whether `ip` lies within. An IPv4 address that came over IPv6 (`::ffff:a.b.c.d`) counts as what it is.
    pub fn contains(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        if ip.is_ipv4() != self.network.is_ipv4() {
            return false;
        }
        let mask = u128::MAX.checked_shl(128 - u32::from(self.prefix_bits)).unwrap_or(0);
        bits(ip).0 & mask == bits(self.network).0 & mask
    }
}

/// As users write it; one address stands alone.
impl std::fmt::Display for Cidr {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.prefix_bits == bits(self.network).1 {
            write!(f, "{}", self.network)
        } else {
            write!(f, "{}/{}", self.network, self.prefix_bits)
        }
    }
}

impl std::str::FromStr for Cidr {
    type Err = CidrError;

    fn from_str(text: &str) -> Result<Self, CidrError> {
        let wrong = || CidrError(text.to_owned());
        let (ip, prefix) = match text.split_once('/') {
            Some((ip, prefix)) => (ip, Some(prefix)),
            None => (text, None),
        };
        let network: IpAddr = ip.parse().map_err(|_| wrong())?;
        let width = bits(network).1;
        let prefix_bits = match prefix {
            Some(prefix) => prefix.parse().ok().filter(|&bits| bits <= width).ok_or_else(wrong)?,
            None => width,
        };
        Ok(Self { network, prefix_bits })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_holds_its_addresses_and_no_others() {
        for (range, inside, outside) in [
            ("10.0.0.0/8", "10.255.0.1", "11.0.0.1"),
            ("192.0.2.7", "192.0.2.7", "192.0.2.8"),
            ("0.0.0.0/0", "203.0.113.9", "::1"),
            ("2001:db8::/32", "2001:db8:ffff::1", "2001:db9::1"),
            ("127.0.0.0/8", "::ffff:127.0.0.1", "::1"),
        ] {
            let range: Cidr = range.parse().unwrap();
            assert!(range.contains(inside.parse().unwrap()), "{range:?} {inside}");
            assert!(!range.contains(outside.parse().unwrap()), "{range:?} {outside}");
        }
        for wrong in ["", "10.0.0.0/33", "10.0.0/8", "::/129", "a/8", "10.0.0.0/"] {
            assert!(wrong.parse::<Cidr>().is_err(), "{wrong}");
        }
    }
}
