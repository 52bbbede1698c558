//! The connection that a check is done on: TCP, and TLS where the node speaks it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout_at;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::error::{Phase, ProbeError, words};
use crate::host;
use crate::model::CheckTarget;
use crate::model::limits::CHECK_ANSWER_BYTES_MAX;
use crate::tls::{Inside, NodeTls};

/// A connection that gives [`CHECK_ANSWER_BYTES_MAX`] bytes, to the end of the read that reaches them, and then fails:
/// whatever a node sends, a check neither reads nor parses without end.
pub(super) struct Connection {
    stream: Stream,
    left: usize,
}

enum Stream {
    Tcp(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Connection {
    /// The certificate of the node, as it was shown and trusted; `None`: it is not spoken to over TLS.
    pub(super) fn certificate(&self) -> Option<&[u8]> {
        match &self.stream {
            Stream::Tcp(_) => None,
            Stream::Tls(tls) => tls.get_ref().1.peer_certificates()?.first().map(AsRef::as_ref),
        }
    }
}

/// Waits for `step` of `phase`, at most until `deadline`.
pub(super) async fn within<T>(
    deadline: Instant,
    phase: Phase,
    step: impl Future<Output = Result<T, ProbeError>>,
) -> Result<T, ProbeError> {
    timeout_at(deadline.into(), step).await.unwrap_or(Err(ProbeError::TimedOut(phase)))
}

/// Opens the connection and writes into `connect` how long TCP took.
pub(super) async fn open(
    target: &CheckTarget,
    (tls, inside): (&NodeTls, Inside),
    deadline: Instant,
    connect: &mut Option<Duration>,
) -> Result<Connection, ProbeError> {
    // Without its profile a node is not even connected to.
    let tls = tls.of(&target.transport, inside, &target.host).map_err(|error| ProbeError::Own(words(error)))?;
    let began = host::now();
    let tcp = within(deadline, Phase::Connect, async {
        TcpStream::connect(target.address).await.map_err(|error| ProbeError::of_connect(&error))
    })
    .await?;
    *connect = Some(host::now() - began);
    // Worth nothing more than a few milliseconds, so not worth failing for.
    let _ = tcp.set_nodelay(true);
    let stream = if let Some((config, name)) = tls {
        let tls = within(deadline, Phase::Tls, async {
            let handshake = TlsConnector::from(config).connect(name, tcp);
            handshake.await.map_err(|error| ProbeError::of_io(&error, Phase::Tls))
        })
        .await?;
        Stream::Tls(Box::new(tls))
    } else {
        Stream::Tcp(tcp)
    };
    Ok(Connection { stream, left: CHECK_ANSWER_BYTES_MAX })
}

impl AsyncRead for Connection {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.left == 0 {
            return Poll::Ready(Err(io::Error::other("more bytes than a check reads")));
        }
        let before = buf.filled().len();
        let polled = match &mut this.stream {
            Stream::Tcp(tcp) => Pin::new(tcp).poll_read(cx, buf),
            Stream::Tls(tls) => Pin::new(tls).poll_read(cx, buf),
        };
        this.left = this.left.saturating_sub(buf.filled().len() - before);
        polled
    }
}

impl AsyncWrite for Connection {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().stream {
            Stream::Tcp(tcp) => Pin::new(tcp).poll_write(cx, bytes),
            Stream::Tls(tls) => Pin::new(tls).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().stream {
            Stream::Tcp(tcp) => Pin::new(tcp).poll_flush(cx),
            Stream::Tls(tls) => Pin::new(tls).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().stream {
            Stream::Tcp(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Stream::Tls(tls) => Pin::new(tls).poll_shutdown(cx),
        }
    }
}
