//! What a client sends on a stream, as the engine reads it: DATA as it is where its length was said, in chunks otherwise.

use std::io;
use std::io::Write;
use std::task::{Context, Poll};

use ::http::HeaderMap;
use bytes::{Buf, Bytes};
use h2::RecvStream;
use tokio::io::ReadBuf;

/// One direction of a stream: from the client.
#[derive(Debug)]
pub(super) struct Upload {
    body: RecvStream,
    is_chunked: bool,
    /// Framing that is to be read first.
    framing: Vec<u8>,
    /// Data of a frame that was not read yet. The client may send as much again only once it is.
    data: Bytes,
    has_ended: bool,
}

impl Upload {
    pub(super) fn new(body: RecvStream) -> Self {
        Self { body, is_chunked: false, framing: Vec::new(), data: Bytes::new(), has_ended: false }
    }

    /// The body says itself where it ends.
    pub(super) fn be_chunked(&mut self) {
        self.is_chunked = true;
    }

    /// Reads what there is; nothing at the end.
    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        loop {
            self.give(buf)?;
            let is_given = self.framing.is_empty() && self.data.is_empty();
            if buf.remaining() == 0 || (self.has_ended && is_given) {
                return Poll::Ready(Ok(()));
            }
            match self.poll_frame(cx) {
                Poll::Ready(Ok(())) => {}
                // What came before the fault is read first; the next read meets it again.
                Poll::Ready(Err(_)) | Poll::Pending if buf.filled().len() > before => return Poll::Ready(Ok(())),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    /// Hands on what is here already.
    fn give(&mut self, buf: &mut ReadBuf<'_>) -> io::Result<()> {
        let count = self.framing.len().min(buf.remaining());
        if count > 0 {
            buf.put_slice(&self.framing[..count]);
            self.framing.drain(..count);
        }
        let count = self.data.len().min(buf.remaining());
        if count > 0 {
            buf.put_slice(&self.data[..count]);
            self.data.advance(count);
            self.body.flow_control().release_capacity(count).map_err(io::Error::other)?;
            if self.data.is_empty() && self.is_chunked {
                self.framing.extend_from_slice(b"\r\n");
                return self.give(buf);
            }
        }
        Ok(())
    }

    /// Takes the next frame, once all of the last one was handed on.
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match std::task::ready!(self.body.poll_data(cx)) {
            Some(data) => {
                self.data = data.map_err(io::Error::other)?;
                if self.is_chunked && !self.data.is_empty() {
                    write!(self.framing, "{:x}\r\n", self.data.len())?;
                }
            }
            None => {
                let trailers = std::task::ready!(self.body.poll_trailers(cx)).map_err(io::Error::other)?;
                if self.is_chunked {
                    self.framing.extend_from_slice(b"0\r\n");
                    write_trailers(trailers.as_ref(), &mut self.framing);
                    self.framing.extend_from_slice(b"\r\n");
                }
                self.has_ended = true;
            }
        }
        Poll::Ready(Ok(()))
    }
}

/// Writes trailers as HTTP/1.1 has them. Those of a body whose length was said have no place there.
fn write_trailers(trailers: Option<&HeaderMap>, out: &mut Vec<u8>) {
    for (name, value) in trailers.into_iter().flatten() {
        out.extend_from_slice(name.as_str().as_bytes());
        out.extend_from_slice(b": ");
        out.extend_from_slice(value.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
}
