//! Opening connections to nodes.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::idle::NodeConnection;
use super::stream::NodeStream;
use crate::host;
use crate::tls;
use crate::view::NodeView;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    /// Nobody listens there, or nothing leads there, or it was reset at once.
    #[error("{0}")]
    Refused(io::Error),
    /// `connect_timeout` is over.
    #[error("no connection within {} ms", .0.as_millis())]
    Timeout(Duration),
    /// The node's name leads nowhere at present.
    #[error("the name of the node has no address")]
    NoAddress,
    /// The certificate or the handshake is wrong.
    #[error("TLS: {0}")]
    Tls(io::Error),
}

/// Opens a connection to the first address of `node` that takes one.
pub(crate) async fn connect(
    node: &NodeView,
    connect_timeout: Duration,
    tls: &Arc<ClientConfig>,
) -> Result<NodeConnection, ConnectError> {
    timeout(connect_timeout, connect_any(node, tls)).await.unwrap_or(Err(ConnectError::Timeout(connect_timeout)))
}

async fn connect_any(node: &NodeView, tls: &Arc<ClientConfig>) -> Result<NodeConnection, ConnectError> {
    let mut last = ConnectError::NoAddress;
    for &address in &node.addresses {
        match connect_one(node, address, tls).await {
            Ok(stream) => return Ok(NodeConnection { stream, address, opened: host::now() }),
            Err(error) => last = error,
        }
    }
    Err(last)
}

async fn connect_one(
    node: &NodeView,
    address: SocketAddr,
    tls: &Arc<ClientConfig>,
) -> Result<NodeStream, ConnectError> {
    let stream = TcpStream::connect(address).await.map_err(ConnectError::Refused)?;
    // Heads and small bodies go out at once. Best effort, as it only costs time.
    let _ = stream.set_nodelay(true);
    if !node.node.address.tls {
        return Ok(NodeStream::Plain(stream));
    }
    let name = tls::server_name(&node.node.address.host).map_err(|error| ConnectError::Tls(io::Error::other(error)))?;
    let stream = TlsConnector::from(Arc::clone(tls)).connect(name, stream).await.map_err(ConnectError::Tls)?;
    Ok(NodeStream::Tls(Box::new(stream)))
}
