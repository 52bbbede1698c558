//! One connection to a node, served by hand so that it can misbehave.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::behaviour::{Answer, Behaviour, BodyRead, Then};
use super::record::{Record, SeenRequest};
use crate::head::{self, Body, Framing, Head};
use crate::pattern::{Digest, Pattern};

/// Longest head that a node reads.
const HEAD_BYTES_MAX: usize = 256 * 1024;
/// Bytes read at once.
const READ_BYTES: usize = 128 * 1024;
/// Bytes of a piece of a slow body.
const SLOW_PIECE_BYTES: usize = 16 * 1024;
/// Bytes of a piece of any other body.
const PIECE_BYTES: usize = 256 * 1024;

/// What a node's connection runs over: TCP, or TLS on it.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// How the owner of a connection is to end it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum End {
    Close,
    Reset,
}

/// Serves one connection to its end.
pub(super) async fn serve(stream: &mut dyn Stream, record: Arc<Record>) -> End {
    let connection = record.opened();
    let mut wire = Wire { stream, buffer: vec![0; READ_BYTES].into(), start: 0, end: 0 };
    let end = loop {
        match exchange(&mut wire, &record, connection).await {
            Ok(Then::Keep) => {}
            Ok(Then::Close) | Err(_) => break End::Close,
            Ok(Then::Reset) => break End::Reset,
            Ok(Then::Hang) => {
                // Whatever still comes is taken and never answered, until the other side gives up.
                while wire.fill().await.is_ok_and(|more| more) {
                    wire.start = wire.end;
                }
                break End::Close;
            }
        }
    };
    record.closed();
    end
}

struct Wire<'a> {
    stream: &'a mut dyn Stream,
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
}

impl Wire<'_> {
    /// Reads once more into the empty buffer; `false` at the connection's end.
    async fn fill(&mut self) -> io::Result<bool> {
        let count = self.stream.read(&mut self.buffer).await?;
        (self.start, self.end) = (0, count);
        Ok(count > 0)
    }

    /// The next head with its empty line; `None` where the connection ends before one begins.
    async fn head(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut bytes = Vec::new();
        loop {
            let seen = bytes.len();
            bytes.extend_from_slice(&self.buffer[self.start..self.end]);
            if let Some(length) = head::length(&bytes) {
                self.start += length - seen;
                bytes.truncate(length);
                return Ok(Some(bytes));
            }
            if bytes.len() > HEAD_BYTES_MAX {
                return Ok(Some(bytes));
            }
            self.start = self.end;
            if !self.fill().await? {
                return Ok((!bytes.is_empty()).then_some(bytes));
            }
        }
    }

    async fn send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.stream.write_all(bytes.as_ref()).await?;
        self.stream.flush().await
    }
}

/// Notes the end of a request however its exchange ends.
struct InFlight<'a>(&'a Record);

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.ended();
    }
}

async fn exchange(wire: &mut Wire<'_>, record: &Record, connection: u64) -> io::Result<Then> {
    let Some(bytes) = wire.head().await? else { return Ok(Then::Close) };
    let parsed = Head::parse(&bytes).and_then(|head| Ok((head.request_framing()?, head)));
    let (framing, head) = match parsed {
        Ok(parsed) => parsed,
        Err(fault) => {
            record.fault(format!("{fault} in {:?}", head::text(&bytes)));
            wire.send("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").await?;
            return Ok(Then::Close);
        }
    };
    let number = record.began(SeenRequest {
        connection,
        line: head.start.clone(),
        fields: head.fields.clone(),
        ..SeenRequest::default()
    });
    let _in_flight = InFlight(record);
    let behaviour = record.behaviour(head.target());
    let mut request = Request { number, body: Body::new(framing), digest: Digest::default(), head, framing };
    if behaviour.body_read == BodyRead::First && behaviour.answer != Answer::Echo {
        if request.head.lists("expect", "100-continue") && framing != Framing::Empty {
            wire.send("HTTP/1.1 100 Continue\r\n\r\n").await?;
        }
        request.read_body(wire, record).await?;
    }
    let then = answer(wire, record, &mut request, &behaviour).await?;
    match behaviour.body_read {
        BodyRead::Last if then == Then::Keep => request.read_body(wire, record).await?,
        BodyRead::Never if framing != Framing::Empty => return Ok(Then::Close),
        BodyRead::First | BodyRead::Last | BodyRead::Never => {}
    }
    Ok(if then == Then::Keep && !request.head.keeps_alive() { Then::Close } else { then })
}

struct Request {
    number: u64,
    head: Head,
    framing: Framing,
    body: Body,
    digest: Digest,
}

impl Request {
    /// The next piece of the body; `None` once all of it has come.
    async fn piece(&mut self, wire: &mut Wire<'_>, record: &Record) -> io::Result<Option<Vec<u8>>> {
        loop {
            let mut piece = Vec::new();
            let digest = &mut self.digest;
            let fed = self.body.feed(&wire.buffer[wire.start..wire.end], &mut |part| {
                digest.update(part);
                piece.extend_from_slice(part);
            });
            match fed {
                Ok(taken) => wire.start += taken,
                Err(fault) => {
                    record.fault(format!("{fault} in the body of {:?}", self.head.start));
                    return Err(io::ErrorKind::InvalidData.into());
                }
            }
            let (bytes, value, whole) = (self.digest.bytes, self.digest.value(), self.body.is_done());
            let trailers = self.body.trailers.clone();
            record.amend(self.number, |request| {
                (request.body_bytes, request.body_digest, request.whole) = (bytes, value, whole);
                request.trailers = trailers;
            });
            if !piece.is_empty() {
                return Ok(Some(piece));
            }
            if whole {
                return Ok(None);
            }
            if !wire.fill().await? {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    async fn read_body(&mut self, wire: &mut Wire<'_>, record: &Record) -> io::Result<()> {
        while self.piece(wire, record).await?.is_some() {}
        Ok(())
    }
}

async fn answer(
    wire: &mut Wire<'_>,
    record: &Record,
    request: &mut Request,
    behaviour: &Behaviour,
) -> io::Result<Then> {
    if behaviour.delay_ms > 0 {
        tokio::time::sleep(Duration::from_millis(behaviour.delay_ms)).await;
    }
    for status in &behaviour.interim {
        wire.send(format!("HTTP/1.1 {status} Interim\r\nInterim: {status}\r\n\r\n")).await?;
    }
    let name = &record.name;
    match &behaviour.answer {
        Answer::Raw { bytes, then } => {
            wire.send(head::bytes(bytes)).await?;
            return Ok(*then);
        }
        Answer::Name => whole(wire, request, name, format!("{name}\n").as_bytes()).await?,
        Answer::Digest => {
            let body = format!("{} {:016x}\n", request.digest.bytes, request.digest.value());
            whole(wire, request, name, body.as_bytes()).await?;
        }
        Answer::Echo => echo(wire, record, request).await?,
        Answer::Upgrade => return upgrade(wire, request).await,
        Answer::Pattern { status, fields, bytes, chunked, pause_ms } => {
            let mut head = format!("HTTP/1.1 {status} Status\r\nNode: {name}\r\n");
            for (name, value) in fields {
                head.push_str(&format!("{name}: {value}\r\n"));
            }
            let bodyless = *status < 200 || *status == 204 || *status == 304;
            match (bodyless, chunked) {
                (true, _) => {}
                (false, true) => head.push_str("Transfer-Encoding: chunked\r\n"),
                (false, false) => head.push_str(&format!("Content-Length: {bytes}\r\n")),
            }
            head.push_str("\r\n");
            wire.send(head).await?;
            if !bodyless && request.head.method() != "HEAD" {
                pattern(wire, *bytes, *chunked, *pause_ms).await?;
            }
        }
    }
    Ok(Then::Keep)
}

async fn whole(wire: &mut Wire<'_>, request: &Request, name: &str, body: &[u8]) -> io::Result<()> {
    let length = body.len();
    let head =
        format!("HTTP/1.1 200 OK\r\nNode: {name}\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\n\r\n");
    let mut bytes = head.into_bytes();
    if request.head.method() != "HEAD" {
        bytes.extend_from_slice(body);
    }
    wire.send(bytes).await
}

async fn pattern(wire: &mut Wire<'_>, bytes: u64, chunked: bool, pause_ms: u64) -> io::Result<()> {
    let piece_bytes = if pause_ms > 0 { SLOW_PIECE_BYTES } else { PIECE_BYTES };
    let mut sent = 0;
    while sent < bytes {
        let left = usize::try_from(bytes - sent).unwrap_or(usize::MAX);
        let piece = Pattern::shared().at(sent, left.min(piece_bytes));
        if chunked {
            wire.send(format!("{:x}\r\n", piece.len())).await?;
        }
        wire.send(piece).await?;
        if chunked {
            wire.send("\r\n").await?;
        }
        sent += piece.len() as u64;
        if pause_ms > 0 {
            tokio::time::sleep(Duration::from_millis(pause_ms)).await;
        }
    }
    if chunked {
        wire.send("0\r\n\r\n").await?;
    }
    Ok(())
}

async fn echo(wire: &mut Wire<'_>, record: &Record, request: &mut Request) -> io::Result<()> {
    wire.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await?;
    while let Some(piece) = request.piece(wire, record).await? {
        wire.send(format!("{:x}\r\n", piece.len())).await?;
        wire.send(piece).await?;
        wire.send("\r\n").await?;
    }
    wire.send("0\r\n\r\n").await
}

async fn upgrade(wire: &mut Wire<'_>, request: &Request) -> io::Result<Then> {
    let Some(protocol) = request.head.field("upgrade") else {
        wire.send("HTTP/1.1 426 Upgrade Required\r\nUpgrade: echo\r\nConnection: upgrade\r\nContent-Length: 0\r\n\r\n")
            .await?;
        return Ok(Then::Keep);
    };
    debug_assert_eq!(request.framing, Framing::Empty);
    let accept = request.head.field("sec-websocket-key").map(accept_of);
    let accept = accept.map_or_else(String::new, |accept| format!("Sec-WebSocket-Accept: {accept}\r\n"));
    wire.send(format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: {protocol}\r\n{accept}\r\n"
    ))
    .await?;
    loop {
        let echoed = wire.buffer[wire.start..wire.end].to_vec();
        wire.start = wire.end;
        wire.send(echoed).await?;
        if !wire.fill().await? {
            return Ok(Then::Close);
        }
    }
}

/// The answer to a key (RFC 6455 section 4.2.2).
fn accept_of(key: &str) -> String {
    let sum = digest(&SHA1_FOR_LEGACY_USE_ONLY, format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11").as_bytes());
    STANDARD.encode(sum.as_ref())
}
