//! The accept loop of the API. It is our own because it bounds what a client may hold: connections, the time to a head, and
//! the time to take an answer.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::middleware::AddExtension;
use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tower::Layer;

use super::deadline::WriteDeadline;
use super::settings::Settings;
use super::writing::Client;
use crate::model::limits::{API_CONNECTIONS_MAX, HEAD_BYTES_MAX};

/// How long a client may take to send a head; also how long a connection may wait for its next request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// How long an answer may stand still because its client does not read. Without that, as many such clients as there are
/// places would hold them all for good.
const WRITE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long answers under way may take once the API stops; less than its actor is given.
const STOP_TIMEOUT: Duration = Duration::from_secs(2);
/// The pause after an accept failed for want of file descriptors or memory, which trying again at once would not free.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The API's address, bound. It stays bound while the API's actor is started again, so that nobody is refused meanwhile.
#[derive(Clone, Debug)]
pub struct BoundApi {
    listener: Arc<std::net::TcpListener>,
    address: SocketAddr,
}

/// Binds the API's address.
pub fn bind(settings: &Settings) -> io::Result<BoundApi> {
    let listener = std::net::TcpListener::bind(settings.listen())?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    Ok(BoundApi { listener: Arc::new(listener), address })
}

impl BoundApi {
    /// The address it really has; never port 0.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A listener of the runtime that this is called on.
    pub(super) fn listener(&self) -> io::Result<TcpListener> {
        TcpListener::from_std(self.listener.try_clone()?)
    }
}

/// Answers until `stop` changes or its sender is gone; then lets the answers under way end.
pub(super) async fn serve(listener: TcpListener, router: Router, mut stop: watch::Receiver<()>) {
    let places = Arc::new(Semaphore::new(API_CONNECTIONS_MAX));
    // Dropped with this future, and all connections with it.
    let mut connections = JoinSet::new();
    loop {
        // Who finds no place waits in the backlog of the socket.
        let accepted = async {
            let place = Arc::clone(&places).acquire_owned().await;
            (listener.accept().await, place)
        };
        tokio::select! {
            (accepted, place) = accepted => match accepted {
                Ok((stream, from)) => {
                    let asked = Layer::layer(&Extension(Client(from.ip())), router.clone());
                    let connection = connection(stream, asked, stop.clone());
                    connections.spawn(async move {
                        let _place = place;
                        connection.await;
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "the API cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
            Some(_) = connections.join_next() => {}
            _ = stop.changed() => break,
        }
    }
    drop(listener);
    // What is left after that is dropped, and so cut.
    let _ = timeout(STOP_TIMEOUT, async { while connections.join_next().await.is_some() {} }).await;
}

async fn connection(stream: TcpStream, router: AddExtension<Router, Client>, mut stop: watch::Receiver<()>) {
    let stream = WriteDeadline::new(stream, WRITE_TIMEOUT);
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    let mut connection = pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        _ = stop.changed() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection to the API ended early");
    }
}
