//! One stream of a client's connection, as the engine reads and writes it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use ::http::Response;
use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::answer::{AnswerReader, Head, Part};
use super::upload::Upload;
use super::websocket::Handshake;
use crate::model::limits::H2_SEND_BUFFER_BYTES;
use crate::proxy::http::picture::Length;

/// A stream from its head to its end. One that is dropped before its answer is whole is reset, so that no client takes a part
/// for all of it (RFC 9113 section 8.1).
#[derive(Debug)]
pub(crate) struct ClientStream {
    upload: Upload,
    respond: SendResponse<Bytes>,
    /// Once the head of the final answer was sent.
    download: Option<SendStream<Bytes>>,
    answer: AnswerReader,
    /// Bytes of data that come next and were announced.
    owed: usize,
    /// What a node must answer before the stream becomes a WebSocket.
    handshake: Option<Handshake>,
}

impl ClientStream {
    pub(super) fn new(body: RecvStream, respond: SendResponse<Bytes>, is_to_head: bool) -> Self {
        Self {
            upload: Upload::new(body),
            respond,
            download: None,
            answer: AnswerReader::new(is_to_head),
            owed: 0,
            handshake: None,
        }
    }

    /// Its head was read, and says this of what follows.
    pub(super) fn expect(&mut self, length: Length, handshake: Option<Handshake>) {
        if length == Length::Chunked {
            self.upload.be_chunked();
        }
        self.handshake = handshake;
    }

    /// Ready once the client has reset the stream, or its connection has ended.
    pub(crate) fn poll_given_up(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let reset = match &mut self.download {
            Some(download) => download.poll_reset(cx),
            None => self.respond.poll_reset(cx),
        };
        reset.map(drop)
    }

    /// Resets the stream, unless the answer is whole.
    pub(crate) fn abort(&mut self) {
        if !self.answer.has_ended() {
            self.answer.end();
            self.reset(Reason::INTERNAL_ERROR);
        }
    }

    fn reset(&mut self, reason: Reason) {
        match &mut self.download {
            Some(download) => download.send_reset(reason),
            None => self.respond.send_reset(reason),
        }
    }

    fn send_head(&mut self, head: Head, has_ended: bool) -> io::Result<()> {
        let download = self.respond.send_response(response(head), has_ended).map_err(broken)?;
        self.download = Some(download);
        Ok(())
    }

    /// Sends the head of the final answer.
    fn take_head(&mut self, head: Head, has_ended: bool) -> io::Result<()> {
        let Some(handshake) = self.handshake.take() else { return self.send_head(head, has_ended) };
        let accept = head.fields.get("sec-websocket-accept").map(::http::HeaderValue::as_bytes);
        match head.status.as_u16() {
            101 if accept == Some(handshake.accept.as_bytes()) => {
                // RFC 8441 section 5: the same but for the status, and without the proof.
                let mut head = Head { status: ::http::StatusCode::OK, ..head };
                head.fields.remove("sec-websocket-accept");
                self.answer.be_raw();
                self.send_head(head, false)
            }
            // Without a handshake there is no WebSocket, whatever else the node grants; and to the client it would look like one.
            101 | 200..=299 => {
                self.answer.end();
                self.send_head(super::answer::bad_gateway(&head), true)?;
                Err(io::Error::other("the node's answer is no handshake of a WebSocket"))
            }
            _ => self.send_head(head, has_ended),
        }
    }

    /// Sends as much of `data` as the client has room for.
    fn poll_data(&mut self, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        let Some(download) = &mut self.download else { return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())) };
        download.reserve_capacity(self.owed.min(data.len()).min(H2_SEND_BUFFER_BYTES));
        while download.capacity() == 0 {
            match ready!(download.poll_capacity(cx)) {
                Some(Ok(_)) => {}
                Some(Err(error)) => return Poll::Ready(Err(broken(error))),
                None => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            }
        }
        let count = download.capacity().min(self.owed).min(data.len());
        self.owed -= count;
        let is_last = self.owed == 0 && self.answer.ends_here();
        download.send_data(Bytes::copy_from_slice(&data[..count]), is_last).map_err(broken)?;
        if is_last {
            self.answer.end();
        }
        Poll::Ready(Ok(count))
    }
}

fn response(Head { status, fields }: Head) -> Response<()> {
    let mut response = Response::new(());
    *response.status_mut() = status;
    *response.headers_mut() = fields;
    response
}

fn broken(error: h2::Error) -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, error)
}

impl Drop for ClientStream {
    fn drop(&mut self) {
        self.abort();
    }
}

impl AsyncRead for ClientStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.get_mut().upload.poll_read(cx, buf)
    }
}

impl AsyncWrite for ClientStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let mut used = 0;
        while used < bytes.len() {
            if this.owed > 0 {
                match this.poll_data(cx, &bytes[used..]) {
                    Poll::Ready(Ok(count)) => used += count,
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                    Poll::Pending if used > 0 => break,
                    Poll::Pending => return Poll::Pending,
                }
                continue;
            }
            let (count, part) = this.answer.step(&bytes[used..]).map_err(io::Error::other)?;
            used += count;
            match part {
                Part::More => {}
                Part::Interim(head) => this.respond.send_informational(response(head)).map_err(broken)?,
                Part::Head { head, has_ended } => this.take_head(head, has_ended)?,
                Part::Data(count) => this.owed = count,
                Part::End { trailers } => {
                    let Some(download) = &mut this.download else { break };
                    if trailers.is_empty() {
                        download.send_data(Bytes::new(), true).map_err(broken)?;
                    } else {
                        download.send_trailers(trailers).map_err(broken)?;
                    }
                }
            }
        }
        Poll::Ready(Ok(used))
    }

    /// The task of the connection writes what was sent, as soon as it has its turn.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// Ends this side of a WebSocket; of anything else the answer says where it ends.
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if let Some(download) = this.download.as_mut().filter(|_| this.answer.is_raw()) {
            download.send_data(Bytes::new(), true).map_err(broken)?;
            this.answer.end();
        }
        Poll::Ready(Ok(()))
    }
}
