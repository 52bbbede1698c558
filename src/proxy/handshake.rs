//! The handshake of a client that speaks TLS: its name chooses a certificate, and all of it has one deadline.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use rustls::Connection;
use rustls::server::{Accepted, Acceptor};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::counts::bump;
use super::listen::Bound;
use super::settings::Tls;
use super::stream::Stream;
use super::tls_stream::{Scratch, TlsStream};
use super::worker::Worker;
use crate::tls::Server;

/// A fatal alert `unrecognized_name` (RFC 6066 section 3) as it goes out before anything is encrypted (RFC 8446 section 5.1).
const UNRECOGNIZED_NAME: [u8; 7] = [21, 3, 3, 0, 2, 2, 112];
/// Bytes that are read at once of a first message, which mostly has one or two thousand.
const HELLO_READ_BYTES: usize = 4 * 1024;

/// How long a client that was refused may go on sending, so that the alert is not overtaken by a reset.
const LINGER_TIMEOUT: Duration = Duration::from_secs(1);

/// Why there was no handshake.
#[derive(Debug, thiserror::Error)]
enum HandshakeError {
    #[error("no certificate is for the name that the client asked for")]
    Unrecognized,
    #[error(transparent)]
    Failed(#[from] io::Error),
}

/// Carries out the handshake of a client. `None` where it failed, which is counted, and told to the client where TLS has a
/// word for it.
pub(super) async fn accept(
    worker: &Worker,
    bound: &Bound,
    tls: &Tls,
    tcp: TcpStream,
    client: SocketAddr,
) -> Option<Stream> {
    let failures = &bound.failures;
    let error = match timeout(tls.handshake_timeout, shake_hands(&tls.server, tcp, &worker.scratch)).await {
        Ok(Ok(stream)) => {
            bump(&bound.counts.handshakes_total);
            if stream.session().handshake_kind() == Some(rustls::HandshakeKind::Resumed) {
                bump(&bound.counts.handshakes_resumed);
            }
            return Some(Stream::Tls(Box::new(stream)));
        }
        Ok(Err(error)) => error,
        Err(_) => {
            bump(&failures.timeouts_handshake);
            return None;
        }
    };
    bump(match error {
        HandshakeError::Unrecognized => &failures.names_unrecognized,
        HandshakeError::Failed(_) => &failures.handshakes_failed,
    });
    tracing::debug!(%client, listener = %bound.listener.name, %error, "a TLS handshake failed");
    None
}

async fn shake_hands(server: &Server, tcp: TcpStream, scratch: &Scratch) -> Result<TlsStream, HandshakeError> {
    let (accepted, tcp, rest) = hello(tcp).await?;
    let local = || tcp.local_addr().ok().map(|address| address.ip());
    let Some(config) = server.choose(&accepted.client_hello(), local) else {
        // It is the first thing that is said on this connection, so the kernel has room for it.
        let _ = tcp.try_write(&UNRECOGNIZED_NAME);
        return Err(HandshakeError::Unrecognized);
    };
    let config = std::sync::Arc::clone(config);
    let session = match accepted.into_connection(config) {
        Ok(session) => session,
        Err((error, alert)) => return Err(refuse(&tcp, error, alert).into()),
    };
    let mut stream = TlsStream::new(tcp, Connection::Server(session), scratch.clone(), rest);
    let shaken = poll_fn(|cx| stream.poll_handshake(cx)).await;
    if let Err(error) = shaken {
        // It fails only where the client is served no longer than that.
        let _ = timeout(LINGER_TIMEOUT, poll_fn(|cx| stream.poll_linger(cx))).await;
        return Err(error.into());
    }
    Ok(stream)
}

/// Reads the first message of a client. What was read behind it comes back beside it.
async fn hello(mut tcp: TcpStream) -> Result<(Accepted, TcpStream, Vec<u8>), HandshakeError> {
    let mut acceptor = Acceptor::default();
    let (accepted, rest) = poll_fn(|cx| poll_hello(cx, &mut acceptor, &mut tcp)).await?;
    Ok((accepted, tcp, rest))
}

fn poll_hello(
    cx: &mut Context<'_>,
    acceptor: &mut Acceptor,
    tcp: &mut TcpStream,
) -> Poll<io::Result<(Accepted, Vec<u8>)>> {
    loop {
        let mut bytes = [0; HELLO_READ_BYTES];
        let mut read = ReadBuf::new(&mut bytes);
        ready!(Pin::new(&mut *tcp).poll_read(cx, &mut read))?;
        let mut left = read.filled();
        if left.is_empty() {
            return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
        }
        while !left.is_empty() {
            if acceptor.read_tls(&mut left)? == 0 {
                return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
            }
            match acceptor.accept() {
                Ok(Some(accepted)) => return Poll::Ready(Ok((accepted, left.to_vec()))),
                Ok(None) => {}
                Err((error, alert)) => return Poll::Ready(Err(refuse(tcp, error, alert))),
            }
        }
    }
}

/// Tells a client why, as far as the kernel takes it at once.
fn refuse(tcp: &TcpStream, error: rustls::Error, mut alert: rustls::server::AcceptedAlert) -> io::Error {
    let mut bytes = Vec::new();
    if alert.write_all(&mut bytes).is_ok() && !bytes.is_empty() {
        let _ = tcp.try_write(&bytes);
    }
    io::Error::new(io::ErrorKind::InvalidData, error)
}
