//! One request to an engine: a connection of its own, and no more bytes of an answer than anybody can need.
//!
//! Whatever listens there may be no engine at all, so nothing it sends is kept without a bound. Connections are not kept either:
//! one to a socket of the same machine costs nothing, and one that is new cannot have died unseen.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bollard::ClientVersion;
use bytes::Bytes;
use http_body_util::Empty;
use hyper::body::{Body, Incoming};
use hyper::client::conn::http1;
use hyper::header::{CONNECTION, HOST, HeaderValue, USER_AGENT};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

use super::settings::Engine;
use crate::host::Names;
use crate::model::Host;

/// Bytes of one answer. The list of a full machine's containers has some hundred thousand, what is told of a large image
/// while it is fetched some million.
const ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Bytes of the head of an answer, and of what is read of its body at once.
const BUFFER_BYTES_MAX: usize = 64 * 1024;
/// Fields of the head of an answer.
const FIELDS_MAX: usize = 64;

/// The way to an engine.
#[derive(Clone)]
pub(super) struct Wire {
    engine: Engine,
    names: Names,
}

/// Nobody listens there, or not for this process.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Unreachable(String);

impl Wire {
    pub(super) fn new(engine: Engine, names: Names) -> Self {
        Self { engine, names }
    }

    /// The head of the answer to this request of this version of the API, and the body as it comes. It ends when both are dropped.
    pub(super) async fn exchange<B>(
        &self,
        mut request: Request<B>,
        version: Option<ClientVersion>,
    ) -> Result<Response<Incoming>, bollard::errors::Error>
    where
        B: Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let stream = self.open().await.map_err(|error| io::Error::other(Unreachable(error.to_string())))?;
        // Asked of the engine itself and not of a proxy: the target is a path. The library knows the version and leaves it out,
        // and without it an engine speaks its newest.
        let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
        let path = match version {
            Some(version) if !path.starts_with("/v1.") => format!("/v{version}{path}"),
            _ => path.to_owned(),
        };
        *request.uri_mut() = path.parse()?;
        let host = match &self.engine {
            Engine::Socket(_) => HeaderValue::from_static("docker"),
            Engine::Http(address) => HeaderValue::from_str(&address.authority()).map_err(http::Error::from)?,
        };
        let fields = request.headers_mut();
        fields.insert(HOST, host);
        fields.insert(CONNECTION, HeaderValue::from_static("close"));
        fields.insert(USER_AGENT, HeaderValue::from_static(concat!("evenkeel/", env!("CARGO_PKG_VERSION"))));
        let mut builder = http1::Builder::new();
        builder.max_buf_size(BUFFER_BYTES_MAX).max_headers(FIELDS_MAX);
        let (mut sender, connection) = builder.handshake(TokioIo::new(stream)).await?;
        // What goes wrong with it, the answer says too.
        tokio::spawn(async move { drop(connection.await) });
        Ok(sender.send_request(request).await?)
    }

    /// Asks without a version, and without anything that an engine could misunderstand.
    pub(super) async fn ping(&self) -> Result<Response<Incoming>, bollard::errors::Error> {
        self.exchange(Request::get("/_ping").body(Empty::<Bytes>::new())?, None).await
    }

    async fn open(&self) -> io::Result<Bounded> {
        let stream = match &self.engine {
            Engine::Socket(path) => Stream::Unix(UnixStream::connect(path).await?),
            Engine::Http(address) => match &address.host {
                Host::Ip(ip) => Stream::Tcp(TcpStream::connect((*ip, address.port)).await?),
                Host::Name(name) => {
                    let found = self.names.resolve(name).await.map_err(io::Error::other)?;
                    Stream::Tcp(connect_to_any(&found.addresses, address.port).await?)
                }
            },
        };
        Ok(Bounded { stream, left: ANSWER_BYTES_MAX })
    }
}

/// Connects to the first of these addresses that takes a connection.
pub(super) async fn connect_to_any(addresses: &[std::net::IpAddr], port: u16) -> io::Result<TcpStream> {
    let mut failed = io::Error::other("no address is known for it");
    for address in addresses {
        match TcpStream::connect((*address, port)).await {
            Ok(stream) => return Ok(stream),
            Err(error) => failed = error,
        }
    }
    Err(failed)
}

enum Stream {
    Unix(UnixStream),
    Tcp(TcpStream),
}

/// A connection that gives [`ANSWER_BYTES_MAX`] bytes, to the end of the read that reaches them, and then fails.
struct Bounded {
    stream: Stream,
    left: usize,
}

impl AsyncRead for Bounded {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.left == 0 {
            let why = format!("it answers with more than {ANSWER_BYTES_MAX} bytes");
            return Poll::Ready(Err(io::Error::other(why)));
        }
        let before = buf.filled().len();
        let polled = match &mut this.stream {
            Stream::Unix(unix) => Pin::new(unix).poll_read(cx, buf),
            Stream::Tcp(tcp) => Pin::new(tcp).poll_read(cx, buf),
        };
        this.left = this.left.saturating_sub(buf.filled().len() - before);
        polled
    }
}

impl AsyncWrite for Bounded {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().stream {
            Stream::Unix(unix) => Pin::new(unix).poll_write(cx, bytes),
            Stream::Tcp(tcp) => Pin::new(tcp).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().stream {
            Stream::Unix(unix) => Pin::new(unix).poll_flush(cx),
            Stream::Tcp(tcp) => Pin::new(tcp).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().stream {
            Stream::Unix(unix) => Pin::new(unix).poll_shutdown(cx),
            Stream::Tcp(tcp) => Pin::new(tcp).poll_shutdown(cx),
        }
    }
}
