//! A client that sends any bytes and reads answers strictly; every wait has an end.

use std::io::{Error, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};

use crate::head::{self, Body, Framing, Head};

/// How long a peer of a test may keep silent before that counts as no answer.
pub const SILENCE_MAX: Duration = Duration::from_secs(10);

/// Bytes read at once.
const READ_BYTES: usize = 128 * 1024;
/// Longest head that is still read.
const HEAD_BYTES_MAX: usize = 256 * 1024;

/// One connection.
#[derive(Debug)]
pub struct Raw {
    stream: TcpStream,
    tls: Option<Box<ClientConnection>>,
    /// Bytes that were read, up to `end`, and not yet asked for, from `start` on.
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
}

/// How a client speaks TLS.
#[derive(Clone, Debug)]
pub struct TlsClient {
    /// Whom it trusts, and what it shows.
    pub config: Arc<ClientConfig>,
    /// Whom it asks for.
    pub name: ServerName<'static>,
}

/// An answer, whole.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Answer {
    /// Statuses of informational answers before it.
    pub interim: Vec<u16>,
    /// Its status.
    pub status: u16,
    /// Its head.
    pub head: Head,
    /// Its body.
    pub body: Vec<u8>,
    /// Its trailer lines.
    pub trailers: Vec<String>,
}

/// Why there is no whole answer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Broken {
    /// The connection ended before the first byte.
    Closed,
    /// The connection ended within the head or the body.
    Cut,
    /// The connection was reset.
    Reset,
    /// Nothing came for the time allowed.
    Silent,
    /// What came is not HTTP/1.1.
    Malformed(String),
}

/// How a connection ended, or not.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum End {
    /// By an orderly end.
    Closed,
    /// By a reset.
    Reset,
    /// It is still open and silent.
    Open,
    /// More bytes came.
    Bytes(Vec<u8>),
}

impl Raw {
    /// Connects; panics where nobody listens.
    #[track_caller]
    pub fn connect(to: SocketAddr) -> Self {
        Self::try_connect(to).unwrap_or_else(|error| panic!("no connection to {to}: {error}"))
    }

    /// Connects.
    pub fn try_connect(to: SocketAddr) -> std::io::Result<Self> {
        let stream = TcpStream::connect_timeout(&to, SILENCE_MAX)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(SILENCE_MAX))?;
        stream.set_write_timeout(Some(SILENCE_MAX))?;
        Ok(Self { stream, tls: None, buffer: vec![0; READ_BYTES].into(), start: 0, end: 0 })
    }

    /// Connects over TLS as `client` says and shakes hands.
    pub fn try_connect_tls(to: SocketAddr, client: &TlsClient) -> std::io::Result<Self> {
        let mut raw = Self::try_connect(to)?;
        let mut tls = ClientConnection::new(Arc::clone(&client.config), client.name.clone()).map_err(Error::other)?;
        while tls.is_handshaking() || tls.wants_write() {
            tls.complete_io(&mut raw.stream)?;
        }
        raw.tls = Some(Box::new(tls));
        Ok(raw)
    }

    /// The same; panics without a connection.
    #[track_caller]
    pub fn connect_tls(to: SocketAddr, client: &TlsClient) -> Self {
        Self::try_connect_tls(to, client).unwrap_or_else(|error| panic!("no TLS with {to}: {error}"))
    }

    /// Its TLS.
    pub fn tls(&self) -> Option<&ClientConnection> {
        self.tls.as_deref()
    }

    /// The socket itself, for options and for a second thread.
    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Its own address.
    pub fn local(&self) -> SocketAddr {
        self.stream.local_addr().expect("a connected socket has an address")
    }

    /// How long the other side may keep silent.
    pub fn set_patience(&self, patience: Duration) {
        self.stream.set_read_timeout(Some(patience)).expect("a time-out above zero");
    }

    /// Sends all bytes. An error is no failure of the test: who refuses a request may close before its end.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> std::io::Result<()> {
        match &mut self.tls {
            None => self.stream.write_all(bytes.as_ref()),
            Some(tls) => {
                let mut stream = rustls::Stream::new(&mut **tls, &mut self.stream);
                stream.write_all(bytes.as_ref())?;
                stream.flush()
            }
        }
    }

    /// Ends the sending half.
    pub fn end_sending(&mut self) {
        if let Some(tls) = &mut self.tls {
            tls.send_close_notify();
            let _ = tls.write_tls(&mut self.stream);
        }
        // The other side may have ended the connection already, which is as good.
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// Ends the connection with a reset.
    pub fn reset(self) {
        let _ = socket2::SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
    }

    /// Sends a request and reads its answer.
    pub fn ask(&mut self, request: impl AsRef<[u8]>) -> Result<Answer, Broken> {
        let request = request.as_ref();
        let method = head::text(request.split(|&byte| byte == b' ').next().unwrap_or_default());
        let sent = self.send(request);
        let answer = self.answer(&method);
        match (sent, answer) {
            (Err(error), Err(Broken::Closed)) if error.kind() == ErrorKind::ConnectionReset => Err(Broken::Reset),
            (_, answer) => answer,
        }
    }

    /// `GET` of a path; panics without a whole answer.
    #[track_caller]
    pub fn get(&mut self, path: &str) -> Answer {
        self.ask(format!("GET {path} HTTP/1.1\r\nHost: test\r\n\r\n"))
            .unwrap_or_else(|broken| panic!("GET {path}: {broken:?}"))
    }

    /// Reads one answer to `method`, with its informational ones.
    pub fn answer(&mut self, method: &str) -> Result<Answer, Broken> {
        let (interim, head) = self.final_head()?;
        let framing = head.answer_framing(method).map_err(Broken::Malformed)?;
        let mut body = Vec::new();
        let trailers = self.body(framing, &mut |part| body.extend_from_slice(part))?;
        Ok(Answer { interim, status: head.status().map_err(Broken::Malformed)?, head, body, trailers })
    }

    /// Reads informational heads and the head of the final answer.
    pub fn final_head(&mut self) -> Result<(Vec<u16>, Head), Broken> {
        let mut interim = Vec::new();
        loop {
            let head = self.head()?;
            match head.status().map_err(Broken::Malformed)? {
                status @ (100 | 102..=199) => interim.push(status),
                _ => return Ok((interim, head)),
            }
        }
    }

    /// Reads one head.
    pub fn head(&mut self) -> Result<Head, Broken> {
        let mut bytes = Vec::new();
        loop {
            let seen = bytes.len();
            bytes.extend_from_slice(&self.buffer[self.start..self.end]);
            if let Some(length) = head::length(&bytes) {
                self.start += length - seen;
                return Head::parse(&bytes[..length]).map_err(Broken::Malformed);
            }
            if bytes.len() > HEAD_BYTES_MAX {
                return Err(Broken::Malformed("an endless head".into()));
            }
            self.start = self.end;
            match self.fill() {
                Ok(true) => {}
                Ok(false) if bytes.is_empty() => return Err(Broken::Closed),
                Ok(false) => return Err(Broken::Cut),
                Err(broken) => return Err(broken),
            }
        }
    }

    /// Reads a body and returns its trailer lines.
    pub fn body(&mut self, framing: Framing, sink: &mut dyn FnMut(&[u8])) -> Result<Vec<String>, Broken> {
        let mut body = Body::new(framing);
        loop {
            let taken = body.feed(&self.buffer[self.start..self.end], sink).map_err(Broken::Malformed)?;
            self.start += taken;
            if body.is_done() {
                return Ok(body.trailers);
            }
            if !self.fill()? {
                return if body.may_end() { Ok(body.trailers) } else { Err(Broken::Cut) };
            }
        }
    }

    /// Reads exactly `length` bytes, as a tunnel or relay carries them.
    pub fn bytes(&mut self, length: usize) -> Result<Vec<u8>, Broken> {
        let mut bytes = Vec::with_capacity(length);
        self.body(Framing::Counted(length as u64), &mut |part| bytes.extend_from_slice(part))?;
        Ok(bytes)
    }

    /// Reads everything up to the connection's end.
    pub fn rest(&mut self) -> Result<Vec<u8>, Broken> {
        let mut bytes = Vec::new();
        self.body(Framing::UntilClose, &mut |part| bytes.extend_from_slice(part))?;
        Ok(bytes)
    }

    /// What becomes of the connection within `patience`.
    pub fn end(&mut self, patience: Duration) -> End {
        if self.start < self.end {
            return End::Bytes(self.buffer[self.start..self.end].to_vec());
        }
        self.set_patience(patience);
        let end = self.fill_to_end();
        self.set_patience(SILENCE_MAX);
        end
    }

    /// What became of the connection so far, without waiting.
    pub fn state(&mut self) -> End {
        if self.start < self.end {
            return End::Bytes(self.buffer[self.start..self.end].to_vec());
        }
        self.stream.set_nonblocking(true).expect("a socket of one's own");
        let end = self.fill_to_end();
        self.stream.set_nonblocking(false).expect("a socket of one's own");
        end
    }

    fn fill_to_end(&mut self) -> End {
        match self.fill() {
            Ok(true) => End::Bytes(self.buffer[self.start..self.end].to_vec()),
            Ok(false) | Err(Broken::Closed) => End::Closed,
            Err(Broken::Silent) => End::Open,
            Err(_) => End::Reset,
        }
    }

    /// Reads once more into the empty buffer; `false` at the connection's end.
    fn fill(&mut self) -> Result<bool, Broken> {
        debug_assert_eq!(self.start, self.end);
        loop {
            let read = match &mut self.tls {
                None => self.stream.read(&mut self.buffer),
                Some(tls) => rustls::Stream::new(&mut **tls, &mut self.stream).read(&mut self.buffer),
            };
            return match read {
                Ok(count) => {
                    (self.start, self.end) = (0, count);
                    Ok(count > 0)
                }
                Err(error) => match error.kind() {
                    ErrorKind::Interrupted => continue,
                    ErrorKind::WouldBlock | ErrorKind::TimedOut => Err(Broken::Silent),
                    ErrorKind::ConnectionReset => Err(Broken::Reset),
                    // TLS without the word that it ends.
                    ErrorKind::UnexpectedEof => Err(Broken::Cut),
                    _ => Err(Broken::Malformed(format!("reading failed: {error}"))),
                },
            };
        }
    }
}

impl Answer {
    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The value of a field.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.head.field(name)
    }
}

/// One `GET` on its own connection; `None` without a whole answer.
pub fn get_once(from: SocketAddr, path: &str) -> Option<Answer> {
    let mut raw = Raw::try_connect(from).ok()?;
    raw.ask(format!("GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")).ok()
}
