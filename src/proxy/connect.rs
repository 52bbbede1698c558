//! Opening connections to nodes.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, Connection};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::counts::bump;
use super::idle::NodeConnection;
use super::listen;
use super::stream::Stream;
use super::tls_stream::{Scratch, TlsStream};
use super::worker::Worker;
use crate::host;
use crate::model::Transport;
use crate::probe::ProbeError;
use crate::tls::{Inside, NodeTlsError};
use crate::view::{NodeView, Taken};

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    /// Nobody listens there, or nothing leads there, or it was reset at once.
    #[error("{0}")]
    Failed(io::Error),
    /// This peer is out of descriptors, ports or memory, which says nothing about the node.
    #[error("this peer could not connect: {0}")]
    Own(io::Error),
    /// `connect_timeout` is over.
    #[error("no connection within {} ms", .0.as_millis())]
    Timeout(Duration),
    /// The node's name leads nowhere at present.
    #[error("the name of the node has no address")]
    NoAddress,
    /// This peer's file says nothing of the TLS that is wanted, which says nothing about the node.
    #[error(transparent)]
    Unready(#[from] NodeTlsError),
    /// The certificate or the handshake is wrong.
    #[error("TLS: {0}")]
    Tls(io::Error),
}

/// TLS to one node.
#[derive(Debug)]
pub(crate) struct WithTls {
    pub(crate) config: Arc<ClientConfig>,
    name: ServerName<'static>,
}

impl WithTls {
    /// How a node that was taken is spoken to; `None`: without TLS.
    pub(crate) fn of(worker: &Worker, taken: &Taken, inside: Inside) -> Result<Option<Self>, ConnectError> {
        let (pool, node) = (&taken.pool().pool, &taken.node().node);
        let transport = pool.transport(node);
        if transport == Transport::Plain {
            return Ok(None);
        }
        let found = worker.shared.tls.load().of(&transport, inside, &node.address.host)?;
        Ok(found.map(|(config, name)| Self { config, name }))
    }
}

/// A connection for a request to a node: one that is idle, unless it is to be a fresh one, or a new one; and whether it was idle.
/// `is_replayable`: the request may be sent once more where the node closes the connection just now.
pub(crate) async fn open(
    worker: &Worker,
    taken: &Taken,
    is_replayable: bool,
    fresh_only: bool,
) -> Result<(NodeConnection, bool), ConnectError> {
    let node = taken.node();
    let tls = WithTls::of(worker, taken, Inside::Http)?;
    if !fresh_only {
        let config = tls.as_ref().map(|tls| &tls.config);
        let settings = &worker.shared.settings.idle;
        let idle = worker.idle.borrow_mut().take(node, config, host::now(), is_replayable, settings);
        if let Some(connection) = idle {
            return Ok((connection, true));
        }
    }
    bump(&node.live.counts.connections);
    let connection = connect(node, taken.pool().pool.connect_timeout, tls.as_ref(), &worker.scratch).await?;
    Ok((connection, false))
}

/// Opens a connection to the first address of `node` that takes one.
pub(crate) async fn connect(
    node: &NodeView,
    connect_timeout: Duration,
    tls: Option<&WithTls>,
    scratch: &Scratch,
) -> Result<NodeConnection, ConnectError> {
    let mut last = ConnectError::NoAddress;
    let mut time_left = connect_timeout;
    for (index, &address) in node.addresses.iter().enumerate() {
        // An address that leads nowhere must not use up the time of those behind it.
        let others = u32::try_from(node.addresses.len() - index - 1).unwrap_or(u32::MAX);
        let share = time_left / (others + 1);
        let began = host::now();
        match timeout(share, connect_one(address, tls, scratch)).await {
            Ok(Ok(stream)) => {
                let tls = tls.map(|tls| Arc::clone(&tls.config));
                return Ok(NodeConnection { stream, address, opened: host::now(), tls });
            }
            Ok(Err(error)) => last = error,
            Err(_) => last = ConnectError::Timeout(connect_timeout),
        }
        time_left = time_left.saturating_sub(host::now().saturating_duration_since(began));
    }
    Err(last)
}

async fn connect_one(address: SocketAddr, tls: Option<&WithTls>, scratch: &Scratch) -> Result<Stream, ConnectError> {
    let stream = TcpStream::connect(address).await.map_err(|error| {
        if ProbeError::of_connect(&error).is_own() { ConnectError::Own(error) } else { ConnectError::Failed(error) }
    })?;
    listen::keep_alive(&stream);
    // Heads and small bodies go out at once. Best effort, as it only costs time.
    let _ = stream.set_nodelay(true);
    let Some(WithTls { config, name }) = tls else { return Ok(Stream::Plain(stream)) };
    let session = ClientConnection::new(Arc::clone(config), name.clone())
        .map_err(|error| ConnectError::Tls(io::Error::other(error)))?;
    let mut stream = TlsStream::new(stream, Connection::Client(session), scratch.clone(), Vec::new());
    poll_fn(|cx| stream.poll_handshake(cx)).await.map_err(ConnectError::Tls)?;
    Ok(Stream::Tls(Box::new(stream)))
}
