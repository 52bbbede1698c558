//! What is measured, and the nodes that serve it.

use std::path::PathBuf;

use cluster_tests::certificates::Authority;
use cluster_tests::nginx::{Nginx, Shape};
use cluster_tests::raw::{Raw, TlsClient};
use cluster_tests::settings::{Pool, Settings};
use cluster_tests::{ports, wait};
use tempfile::TempDir;

/// Nodes behind each proxy.
const NODES: usize = 2;

/// One kind of work.
#[derive(Clone, Copy, Debug, Eq, PartialEq, clap::ValueEnum)]
pub(crate) enum Work {
    /// Answers of 128 bytes over kept HTTP/1.1 connections.
    Http,
    /// Answers of 1 MiB over kept HTTP/1.1 connections.
    #[value(name = "http-1m")]
    Http1m,
    /// The requests of `http` over kept connections of TLS.
    Https,
    /// The requests of `http-1m` over kept connections of TLS.
    #[value(name = "https-1m")]
    Https1m,
    /// The requests of `http` over streams of HTTP/2, over TLS.
    Http2,
    /// The requests of `http-1m` over streams of HTTP/2, over TLS.
    #[value(name = "http2-1m")]
    Http21m,
    /// A connection with a full handshake for every request of `http`.
    Handshake,
    /// A connection for every request of `http`, each resuming the TLS of an earlier one.
    Resume,
    /// The requests of `http` through a TCP relay.
    Tcp,
    /// The requests of `http-1m` through a TCP relay.
    #[value(name = "tcp-1m")]
    Tcp1m,
}

impl Work {
    /// What the client asks for.
    pub(crate) fn path(self) -> &'static str {
        match self {
            Self::Http | Self::Https | Self::Http2 | Self::Handshake | Self::Resume | Self::Tcp => "/small",
            Self::Http1m | Self::Https1m | Self::Http21m | Self::Tcp1m => "/1m",
        }
    }

    /// The settings of every proxy: the nodes of the origin, checked, behind one listener.
    pub(crate) fn settings(self, origin: &Origin, core: usize) -> Settings {
        let (protocol, check) = match self {
            Self::Tcp | Self::Tcp1m => ("tcp", "{ type = \"tcp\" }"),
            _ => ("http", "{ type = \"http\", path = \"/health\" }"),
        };
        let pool = Pool::new("bench").checked(check).line("strategy = \"round_robin\"");
        let settings = Settings::default().peer_line("workers = 1").serve(protocol, pool.nodes(origin.addresses()));
        let settings = if self.is_over_tls() { settings.over_tls(&origin.certificate) } else { settings };
        Settings { core: Some(core), ..settings }
    }

    /// Whether clients speak TLS.
    pub(crate) fn is_over_tls(self) -> bool {
        matches!(self, Self::Https | Self::Https1m | Self::Handshake | Self::Resume) || self.is_http2()
    }

    /// Whether clients speak HTTP/2.
    pub(crate) fn is_http2(self) -> bool {
        matches!(self, Self::Http2 | Self::Http21m)
    }

    /// What a request of wrk says beside the usual.
    pub(crate) fn field(self) -> Option<&'static str> {
        (self == Self::Resume).then_some("Connection: close")
    }
}

/// The nodes: nginx with one worker, on the core of the load.
pub(crate) struct Origin {
    nodes: Vec<Nginx>,
    authority: Authority,
    /// Of the proxies, with its key.
    certificate: PathBuf,
    _folder: TempDir,
}

impl Origin {
    /// Starts them; `None`, with a line that says so, without nginx.
    pub(crate) fn start(core: usize) -> Option<Self> {
        let nodes: Option<Vec<Nginx>> = (0..NODES)
            .map(|number| Nginx::start_node_at(&format!("node-{number}"), ports::free(), Shape::Worker, Some(core)))
            .collect();
        let (authority, folder) = (Authority::new(), tempfile::tempdir().expect("a temporary folder"));
        let certificate = authority.issue_in_one(folder.path(), &["bench.test", "127.0.0.1"]);
        Some(Self { nodes: nodes?, authority, certificate, _folder: folder })
    }

    fn addresses(&self) -> impl Iterator<Item = std::net::SocketAddr> {
        self.nodes.iter().map(Nginx::address)
    }

    /// A client of the proxies.
    pub(crate) fn client(&self) -> TlsClient {
        self.authority.client("bench.test")
    }
}

/// Waits until a proxy serves: checks may have to come first.
pub(crate) fn await_service(address: std::net::SocketAddr, client: Option<&TlsClient>) {
    let request = "GET /small HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n";
    wait::wait_until("an answer through the proxy", || {
        let connected =
            client.map_or_else(|| Raw::try_connect(address), |client| Raw::try_connect_tls(address, client));
        connected.is_ok_and(|mut raw| raw.ask(request).is_ok_and(|answer| answer.status == 200))
    });
}
