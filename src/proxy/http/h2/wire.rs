//! The bytes below a connection of HTTP/2: what was read before it was known to be one comes first, and frames are counted as
//! they come by.

use std::cell::Cell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::floods::FrameCount;
use crate::host;
use crate::proxy::alarm::Alarm;
use crate::proxy::buffer::Buffer;
use crate::proxy::stream::{Leg, Stream};

/// How long a client that was told the end may go on sending, so that it is not overtaken by a reset.
const LINGER_TIMEOUT: Duration = Duration::from_secs(1);
/// Bytes that are read and dropped at once meanwhile.
const LINGER_READ_BYTES: usize = 4 * 1024;

/// What is seen of a connection from outside of its codec.
#[derive(Debug, Default)]
pub(super) struct Sight {
    is_flooding: Cell<bool>,
    bytes_written: Cell<u64>,
}

impl Sight {
    /// Whether the client has sent more frames that ask for nothing than it may.
    pub(super) fn is_flooding(&self) -> bool {
        self.is_flooding.get()
    }

    /// Grows while the client takes what is sent.
    pub(super) fn bytes_written(&self) -> u64 {
        self.bytes_written.get()
    }
}

/// A client's connection as the codec reads and writes it.
#[derive(Debug)]
pub(super) struct Wire {
    client: Leg<Stream>,
    frames: FrameCount,
    sight: Rc<Sight>,
    linger: Option<Alarm>,
}

impl Wire {
    pub(super) fn new(client: Leg<Stream>, sight: Rc<Sight>) -> Self {
        Self { client, frames: FrameCount::new(), sight, linger: None }
    }

    fn written(&self, polled: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(count)) = &polled {
            self.sight.bytes_written.set(self.sight.bytes_written.get() + *count as u64);
        }
        polled
    }
}

impl AsyncRead for Wire {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        let input = &mut this.client.input;
        if input.is_empty() {
            ready!(Pin::new(&mut this.client.io).poll_read(cx, buf))?;
        } else {
            let count = input.len().min(buf.remaining());
            buf.put_slice(&input.filled()[..count]);
            input.consume(count);
            if input.is_empty() {
                // Nothing is read into it any more.
                *input = Buffer::default();
            }
        }
        if !this.frames.take(&buf.filled()[before..], host::now) {
            this.sight.is_flooding.set(true);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.client.io).poll_write(cx, bytes);
        this.written(polled)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.client.io).poll_write_vectored(cx, bufs);
        this.written(polled)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().client.io).poll_flush(cx)
    }

    /// Ends this side, and drops what still comes: the kernel would answer it with a reset that overtakes the last words.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.linger.is_none() {
            ready!(Pin::new(&mut this.client.io).poll_shutdown(cx))?;
        }
        let alarm = this.linger.get_or_insert_with(|| Alarm::at(host::now() + LINGER_TIMEOUT));
        let mut bytes = [0; LINGER_READ_BYTES];
        loop {
            let mut read = ReadBuf::new(&mut bytes);
            let polled = Pin::new(&mut this.client.io).poll_read(cx, &mut read);
            if polled.is_ready() && (read.filled().is_empty() || matches!(polled, Poll::Ready(Err(_)))) {
                return Poll::Ready(Ok(()));
            }
            if alarm.poll(cx).is_ready() {
                return Poll::Ready(Ok(()));
            }
            ready!(polled)?;
        }
    }
}
