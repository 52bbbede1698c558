//! A connection with what was read from it and not yet used.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::buffer::{Buffer, Stock};
use super::http::h2::ClientStream;
use super::tls_stream::TlsStream;

/// A connection to a client or to a node.
#[derive(Debug)]
pub(crate) enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream>),
    /// One stream of a client's connection that speaks HTTP/2, which its own task reads and writes.
    Http2(Box<ClientStream>),
}

impl Stream {
    /// Whether an idle connection was closed, or said something that nobody asked for, as far as the runtime has heard.
    pub(crate) fn is_stale(&mut self) -> bool {
        let mut byte = [0; 1];
        let mut context = Context::from_waker(Waker::noop());
        Pin::new(self).poll_read(&mut context, &mut ReadBuf::new(&mut byte)).is_ready()
    }

    /// The same, asked of the kernel: a system call, for when being wrong costs a request.
    pub(crate) fn is_stale_now(&self) -> bool {
        let mut byte = [MaybeUninit::uninit(); 1];
        let Some(tcp) = self.tcp() else { return false };
        !matches!(SockRef::from(tcp).peek(&mut byte), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }

    /// Says that nothing more comes where the protocol has a word for it, without waiting.
    pub(crate) fn say_end(&mut self) {
        if let Self::Tls(stream) = self {
            stream.say_end();
        }
    }

    /// The connection below, where this is all that goes over it.
    pub(crate) fn tcp(&self) -> Option<&TcpStream> {
        match self {
            Self::Plain(stream) => Some(stream),
            Self::Tls(stream) => Some(stream.tcp()),
            Self::Http2(_) => None,
        }
    }

    /// Ready once the client gave up what it asked for, where it can say so beside its bytes.
    pub(crate) fn poll_given_up(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self {
            Self::Plain(_) | Self::Tls(_) => Poll::Pending,
            Self::Http2(stream) => stream.poll_given_up(cx),
        }
    }
}

/// Ends connections so that the other side cannot take an abort for an end.
pub(crate) trait Abort {
    /// Makes the coming close a reset.
    fn abort_on_close(&self);
}

impl Abort for TcpStream {
    fn abort_on_close(&self) {
        // Best effort: where it fails the other side sees an orderly end.
        let _ = self.set_zero_linger();
    }
}

impl Abort for Stream {
    fn abort_on_close(&self) {
        // A stream of HTTP/2 does so by itself, unless all was said.
        if let Some(tcp) = self.tcp() {
            tcp.abort_on_close();
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Http2(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Http2(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Self::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Self::Http2(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(_) => Poll::Ready(Ok(())),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
            Self::Http2(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Http2(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

/// One side of a relay: a connection, and what was read from it and not yet used.
#[derive(Debug)]
pub(crate) struct Leg<S> {
    pub(crate) io: S,
    pub(crate) input: Buffer,
}

impl<S: AsyncRead + Unpin> Leg<S> {
    pub(crate) fn new(io: S) -> Self {
        Self { io, input: Buffer::default() }
    }

    /// Reads what there is; 0 at the end. Never called with a full buffer.
    pub(crate) fn poll_fill(&mut self, cx: &mut Context<'_>, stock: &Stock) -> Poll<io::Result<usize>> {
        let room = self.input.room(stock);
        debug_assert!(!room.is_empty(), "whoever fills has used or bounded what is there");
        let mut buf = ReadBuf::new(room);
        match Pin::new(&mut self.io).poll_read(cx, &mut buf) {
            Poll::Ready(Ok(())) => {
                let count = buf.filled().len();
                self.input.commit(count);
                Poll::Ready(Ok(count))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => {
                self.input.release(stock);
                Poll::Pending
            }
        }
    }
}
