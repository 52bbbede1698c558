//! What a peer's file says of its listeners.

use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::sync::Arc;
use std::time::Duration;

use super::access_log;
use super::http::compress::Compression;
use super::http::files::Folder;
use super::http::pages::ErrorPages;
use crate::model::{Cidr, FieldName, ListenerName, PoolName, Scheme, SecurityHeaders};
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
    /// Client connections at the same time, over all listeners; more are closed at once and counted. `None`: as many as the
    /// listeners take.
    pub connections_max: Option<NonZeroU32>,
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
    /// Those of one client, by its address or the /64 of it, listed proxies left out; more are closed at once and counted.
    pub connections_per_client_max: Option<NonZeroU32>,
    /// What is spoken there.
    pub protocol: Protocol,
    /// TLS around it; `None`: it is spoken as it is.
    pub tls: Option<Tls>,
    /// What is logged of its traffic; `None`: nothing.
    pub access_log: Option<access_log::Settings>,
}

impl Listener {
    /// Whether clients come over TLS.
    pub fn scheme(&self) -> Scheme {
        if self.tls.is_some() { Scheme::Https } else { Scheme::Http }
    }

    /// What it speaks, in a word: `http`, `https`, `tcp` or `tls`.
    pub fn protocol_shown(&self) -> &'static str {
        match (&self.protocol, &self.tls) {
            (Protocol::Http(_), None) => "http",
            (Protocol::Http(_), Some(_)) => "https",
            (Protocol::Tcp(_), None) => "tcp",
            (Protocol::Tcp(_), Some(_)) => "tls",
        }
    }
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
#[expect(clippy::large_enum_variant, reason = "there is one a listener, and each request reads it")]
pub enum Protocol {
    /// HTTP/1.1, and HTTP/2 where its settings have it.
    Http(Http),
    /// Bytes.
    Tcp(Tcp),
}

/// Settings of an HTTP listener.
#[derive(Clone, Debug, PartialEq)]
pub struct Http {
    /// Senders whose `Forwarded` and `X-Forwarded-*` fields are believed and added to.
    pub trusted_proxies: Vec<Cidr>,
    /// The field in which listed proxies say where a client is.
    pub region_header: Option<FieldName>,
    /// Whether clients may speak HTTP/2.
    pub http2: bool,
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
    /// Which answers are compressed, and how; `None`: none are.
    pub compression: Option<Compression>,
    /// The fields that every answer gets unless it has them.
    pub security_headers: SecurityHeaders,
    /// The path at which the peer says whether traffic is well sent here; `None`: nowhere.
    pub health_path: Option<Arc<str>>,
    /// Pages for failures.
    pub error_pages: ErrorPages,
    /// Folders of this peer's machine, which routes name.
    pub folders: Arc<[Folder]>,
}

impl Default for Http {
    fn default() -> Self {
        Self {
            trusted_proxies: Vec::new(),
            region_header: None,
            http2: true,
            via: true,
            head_timeout: Duration::from_secs(10),
            keep_alive_timeout: Duration::from_secs(60),
            stream_idle_timeout: Duration::from_secs(300),
            body_rate_min: 1_000,
            body_rate_grace: Duration::from_secs(10),
            tunnel_idle_timeout: Duration::from_secs(3_600),
            compression: None,
            security_headers: SecurityHeaders::Off,
            health_path: None,
            error_pages: ErrorPages::default(),
            folders: Arc::from([]),
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
