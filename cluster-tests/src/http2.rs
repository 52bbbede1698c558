//! A client of HTTP/2: the codec of the crate h2, with a thread of its own that keeps the connection going.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::{RecvStream, SendStream};
use http::{HeaderMap, Request, Response};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::raw::{SILENCE_MAX, TlsClient};

/// One connection.
#[derive(Debug)]
pub struct Http2 {
    runtime: Runtime,
    send: SendRequest<Bytes>,
    ended: watch::Receiver<Option<Result<(), String>>>,
}

/// An answer, whole.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// Its fields.
    pub fields: HeaderMap,
    /// Its body.
    pub body: Vec<u8>,
    /// Its trailers.
    pub trailers: HeaderMap,
}

impl Answer {
    /// The value of the first field of this name.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.get(name).and_then(|value| value.to_str().ok())
    }

    /// Its body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl Http2 {
    /// Connects without TLS, by prior knowledge.
    pub fn connect(to: SocketAddr) -> Self {
        Self::with(to, None, |_| {})
    }

    /// Connects over TLS; the server must choose `h2`.
    pub fn connect_tls(to: SocketAddr, client: &TlsClient) -> Self {
        Self::with(to, Some(client), |_| {})
    }

    /// Connects with settings of its own.
    pub fn with(to: SocketAddr, tls: Option<&TlsClient>, set: impl FnOnce(&mut h2::client::Builder)) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("a runtime starts");
        let mut builder = h2::client::Builder::new();
        set(&mut builder);
        let (said, ended) = watch::channel(None);
        let send = runtime.block_on(async {
            let tcp = TcpStream::connect(to).await.unwrap_or_else(|error| panic!("no connection to {to}: {error}"));
            tcp.set_nodelay(true).expect("a connection has options");
            match tls {
                None => {
                    let (send, connection) = builder.handshake(tcp).await.expect("HTTP/2");
                    tokio::spawn(async move { said.send(Some(connection.await.map_err(|error| error.to_string()))) });
                    send
                }
                Some(TlsClient { config, name }) => {
                    let mut config = rustls::ClientConfig::clone(config);
                    config.alpn_protocols = vec![b"h2".to_vec()];
                    let tls = TlsConnector::from(Arc::new(config)).connect(name.clone(), tcp).await.expect("TLS");
                    assert_eq!(tls.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
                    let (send, connection) = builder.handshake(tls).await.expect("HTTP/2");
                    tokio::spawn(async move { said.send(Some(connection.await.map_err(|error| error.to_string()))) });
                    send
                }
            }
        });
        Self { runtime, send, ended }
    }

    /// Runs what is to be done with the connection.
    pub fn run<T>(&self, what: impl Future<Output = T>) -> T {
        self.runtime.block_on(async { timeout(6 * SILENCE_MAX, what).await.expect("it takes a minute at most") })
    }

    /// What begins streams.
    pub fn sender(&self) -> SendRequest<Bytes> {
        self.send.clone()
    }

    /// `GET` of a path, whole.
    pub fn get(&self, path: &str) -> Result<Answer, h2::Error> {
        self.run(ask(self.sender(), get(path), &[]))
    }

    /// `POST` with a body, whole.
    pub fn post(&self, path: &str, body: &[u8]) -> Result<Answer, h2::Error> {
        self.run(ask(self.sender(), request("POST", path), &[body]))
    }

    /// Begins a stream that is not ended yet.
    pub fn begin(&self, request: Request<()>) -> (ResponseFuture, SendStream<Bytes>) {
        self.run(async {
            let mut send = self.sender().ready().await.expect("room for a stream");
            send.send_request(request, false).expect("a request")
        })
    }

    /// How the connection ended, once it has.
    pub fn ended(&self) -> Option<Result<(), String>> {
        self.ended.borrow().clone()
    }

    /// Waits for its end.
    pub fn await_end(&self, patience: Duration) -> Result<(), String> {
        let mut ended = self.ended.clone();
        let end = self
            .runtime
            .block_on(async { timeout(patience, ended.wait_for(Option::is_some)).await.ok()?.ok()?.clone() });
        end.expect("the connection ends")
    }
}

/// A request for a path of the host `test`.
pub fn request(method: &str, path: &str) -> Request<()> {
    Request::builder().method(method).uri(format!("http://test{path}")).body(()).expect("a request")
}

/// `GET` of a path.
pub fn get(path: &str) -> Request<()> {
    request("GET", path)
}

/// Sends a request with a body of these pieces, and reads the answer.
pub async fn ask(send: SendRequest<Bytes>, request: Request<()>, body: &[&[u8]]) -> Result<Answer, h2::Error> {
    let mut send = send.ready().await?;
    let (answer, mut stream) = send.send_request(request, body.is_empty())?;
    let send = async {
        let mut left = body.len();
        for piece in body {
            left -= 1;
            // An answer may come before all was sent, and the rest is not wanted.
            if send_all(&mut stream, piece, left == 0).await.is_err() {
                break;
            }
        }
    };
    // The answer may come while the body goes.
    let read = async { whole(answer.await?).await };
    tokio::join!(send, read).1
}

/// Sends bytes as fast as the other side takes them.
pub async fn send_all(stream: &mut SendStream<Bytes>, mut bytes: &[u8], is_last: bool) -> Result<(), h2::Error> {
    if bytes.is_empty() && is_last {
        return stream.send_data(Bytes::new(), true);
    }
    while !bytes.is_empty() {
        stream.reserve_capacity(bytes.len());
        while stream.capacity() == 0 {
            match std::future::poll_fn(|cx| stream.poll_capacity(cx)).await {
                Some(room) => room?,
                None => return Err(h2::Reason::CANCEL.into()),
            };
        }
        let (now, rest) = bytes.split_at(stream.capacity().min(bytes.len()));
        stream.send_data(Bytes::copy_from_slice(now), is_last && rest.is_empty())?;
        bytes = rest;
    }
    Ok(())
}

/// Reads an answer to its end.
pub async fn whole(response: Response<RecvStream>) -> Result<Answer, h2::Error> {
    let (parts, mut stream) = response.into_parts();
    let mut body = Vec::new();
    read(&mut stream, |part| body.extend_from_slice(part)).await?;
    let trailers = stream.trailers().await?.unwrap_or_default();
    Ok(Answer { status: parts.status.as_u16(), fields: parts.headers, body, trailers })
}

/// Reads a body to its end.
pub async fn read(stream: &mut RecvStream, mut sink: impl FnMut(&[u8])) -> Result<(), h2::Error> {
    while let Some(part) = stream.data().await {
        let part = part?;
        sink(&part);
        stream.flow_control().release_capacity(part.len())?;
    }
    Ok(())
}
