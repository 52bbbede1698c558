//! What is measured, and the nodes that serve it.

use cluster_tests::nginx::{Nginx, Shape};
use cluster_tests::settings::{Pool, Settings};
use cluster_tests::{ports, wait};

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
            Self::Http | Self::Tcp => "/small",
            Self::Http1m | Self::Tcp1m => "/1m",
        }
    }

    /// The settings of every proxy: the nodes of the origin, checked, behind one listener.
    pub(crate) fn settings(self, origin: &Origin, core: usize) -> Settings {
        let (protocol, check) = match self {
            Self::Http | Self::Http1m => ("http", "{ type = \"http\", path = \"/health\" }"),
            Self::Tcp | Self::Tcp1m => ("tcp", "{ type = \"tcp\" }"),
        };
        let pool = Pool::new("bench").checked(check).line("strategy = \"round_robin\"");
        let settings = Settings::default().peer_line("workers = 1").serve(protocol, pool.nodes(origin.addresses()));
        Settings { core: Some(core), ..settings }
    }
}

/// The nodes: nginx with one worker, on the core of the load.
pub(crate) struct Origin(Vec<Nginx>);

impl Origin {
    /// Starts them; `None`, with a line that says so, without nginx.
    pub(crate) fn start(core: usize) -> Option<Self> {
        let nodes: Option<Vec<Nginx>> = (0..NODES)
            .map(|number| Nginx::start_node_at(&format!("node-{number}"), ports::free(), Shape::Worker, Some(core)))
            .collect();
        nodes.map(Self)
    }

    fn addresses(&self) -> impl Iterator<Item = std::net::SocketAddr> {
        self.0.iter().map(Nginx::address)
    }
}

/// Waits until a proxy serves: checks may have to come first.
pub(crate) fn await_service(address: std::net::SocketAddr) {
    wait::wait_until("an answer through the proxy", || {
        cluster_tests::raw::get_once(address, "/small").is_some_and(|answer| answer.status == 200)
    });
}
