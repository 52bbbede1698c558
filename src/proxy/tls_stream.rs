//! TLS over a connection, of either side. rustls does the protocol; here is when bytes are read and written.
//!
//! As many bytes as there are come out of the kernel in one read and are fed to rustls in its portions, and what it makes of
//! one write goes out in one. An idle connection holds none of these buffers.

use std::cell::RefCell;
use std::io::{self, IoSlice, Read, Write};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use rustls::Connection;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::model::limits::RELAY_BUFFER_BYTES;

/// Where bytes are read to before they are decrypted: one a worker, since nothing stays in it.
#[derive(Clone, Debug)]
pub(crate) struct Scratch(Rc<RefCell<Box<[u8]>>>);

impl Default for Scratch {
    fn default() -> Self {
        Self(Rc::new(RefCell::new(vec![0; RELAY_BUFFER_BYTES].into())))
    }
}

/// A connection that speaks TLS, from its handshake to its end.
#[derive(Debug)]
pub(crate) struct TlsStream {
    tcp: TcpStream,
    session: Connection,
    scratch: Scratch,
    /// What was read and not fed yet, because the reader took no more; `[fed..]` of it.
    rest: Vec<u8>,
    fed: usize,
    /// The kernel took no more of what was encrypted.
    is_blocked: bool,
    has_said_end: bool,
}

impl TlsStream {
    /// `rest` was read from the connection and is not fed to `session` yet.
    pub(crate) fn new(tcp: TcpStream, session: Connection, scratch: Scratch, rest: Vec<u8>) -> Self {
        Self { tcp, session, scratch, rest, fed: 0, is_blocked: false, has_said_end: false }
    }

    pub(crate) fn tcp(&self) -> &TcpStream {
        &self.tcp
    }

    pub(crate) fn session(&self) -> &Connection {
        &self.session
    }

    /// Whether this is the protocol inside that both sides chose (ALPN, RFC 7301).
    pub(crate) fn has_agreed_on(&self, protocol: &[u8]) -> bool {
        self.session.alpn_protocol() == Some(protocol)
    }

    /// Says and hears what comes before the first byte of data.
    pub(crate) fn poll_handshake(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.session.is_handshaking() {
            ready!(self.poll_send(cx))?;
            if !self.session.is_handshaking() {
                break;
            }
            if ready!(self.poll_receive(cx, Self::feed))? == 0 {
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
        }
        // What a server of TLS 1.3 has left to say are tickets: they go out with its first data.
        let is_left_for_data = matches!(&self.session, Connection::Server(_))
            && self.session.protocol_version() == Some(rustls::ProtocolVersion::TLSv1_3);
        if is_left_for_data { Poll::Ready(Ok(())) } else { self.poll_send(cx) }
    }

    /// Ends the connection of a handshake that failed: nothing more is said, and what still comes is dropped.
    pub(crate) fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_send(cx))?;
        ready!(Pin::new(&mut self.tcp).poll_shutdown(cx))?;
        let mut scratch = self.scratch.0.borrow_mut();
        loop {
            let mut read = ReadBuf::new(&mut scratch);
            ready!(Pin::new(&mut self.tcp).poll_read(cx, &mut read))?;
            if read.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
        }
    }

    /// Says that nothing more comes, as far as the kernel takes it at once: for a connection that is closed in silence.
    pub(crate) fn say_end(&mut self) {
        self.queue_end();
        // Best effort: whoever is gone already misses nothing.
        let _ = self.poll_send(&mut Context::from_waker(Waker::noop()));
    }

    fn queue_end(&mut self) {
        if !std::mem::replace(&mut self.has_said_end, true) {
            self.session.send_close_notify();
        }
    }

    /// Writes all that is encrypted.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.session.wants_write() {
            match self.session.write_tls(&mut Kernel { tcp: &mut self.tcp, cx }) {
                Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.is_blocked = true;
                    return Poll::Pending;
                }
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        self.is_blocked = false;
        Poll::Ready(Ok(()))
    }

    /// Reads what there is, for `take` to use up a part of it; the rest is kept for later. 0 at the end of the connection.
    fn poll_receive(
        &mut self,
        cx: &mut Context<'_>,
        take: impl FnOnce(&mut Self, &mut Context<'_>, &[u8]) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        if !self.rest.is_empty() {
            let rest = std::mem::take(&mut self.rest);
            self.fed += take(self, cx, &rest[self.fed..])?;
            if self.fed < rest.len() {
                self.rest = rest;
            } else {
                self.fed = 0;
            }
            return Poll::Ready(Ok(1));
        }
        let scratch = self.scratch.clone();
        let mut scratch = scratch.0.borrow_mut();
        let mut read = ReadBuf::new(&mut scratch);
        ready!(Pin::new(&mut self.tcp).poll_read(cx, &mut read))?;
        let used = take(self, cx, read.filled())?;
        self.rest.extend_from_slice(&read.filled()[used..]);
        Poll::Ready(Ok(read.filled().len()))
    }

    /// Has rustls look at a portion of these bytes, and says how many that were. No byte is the end of the connection.
    fn feed(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> io::Result<usize> {
        let mut left = bytes;
        self.session.read_tls(&mut left)?;
        if let Err(error) = self.session.process_new_packets() {
            // It has put an alert behind whatever is left to write, which the other side may still get.
            let _ = self.poll_send(cx);
            return Err(io::Error::new(io::ErrorKind::InvalidData, error));
        }
        if left.len() == bytes.len() && !bytes.is_empty() {
            return Err(io::ErrorKind::InvalidData.into());
        }
        Ok(bytes.len() - left.len())
    }

    /// Moves what was decrypted to the reader. True at the end that the other side told.
    fn decrypted(&mut self, buf: &mut ReadBuf<'_>) -> io::Result<bool> {
        while buf.remaining() > 0 {
            match self.session.reader().read(buf.initialize_unfilled()) {
                Ok(0) => return Ok(true),
                Ok(count) => buf.advance(count),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(false)
    }
}

impl AsyncRead for TlsStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.is_blocked {
            // Whoever only waits for the other side must not keep it waiting for what is half written.
            if let Poll::Ready(Err(error)) = this.poll_send(cx) {
                return Poll::Ready(Err(error));
            }
        }
        let before = buf.filled().len();
        loop {
            let fault = match this.decrypted(buf) {
                Ok(has_ended) if has_ended || buf.remaining() == 0 => return Poll::Ready(Ok(())),
                Ok(_) if buf.filled().len() > before && this.rest.is_empty() => return Poll::Ready(Ok(())),
                Ok(_) => {
                    let received = this.poll_receive(cx, |this, cx, bytes| {
                        let mut used = this.feed(cx, bytes)?;
                        while !this.decrypted(buf)? && used < bytes.len() && buf.remaining() > 0 {
                            used += this.feed(cx, &bytes[used..])?;
                        }
                        Ok(used)
                    });
                    match ready!(received) {
                        Ok(_) => continue,
                        Err(fault) => fault,
                    }
                }
                Err(fault) => fault,
            };
            // What was decrypted before the fault belongs to the reader first; it meets the fault the next time.
            return Poll::Ready(if buf.filled().len() > before { Ok(()) } else { Err(fault) });
        }
    }
}

impl AsyncWrite for TlsStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.is_blocked {
            ready!(this.poll_send(cx))?;
        }
        let mut count = this.session.writer().write_vectored(bufs)?;
        if count == 0 && bufs.iter().any(|buf| !buf.is_empty()) {
            ready!(this.poll_send(cx))?;
            count = this.session.writer().write_vectored(bufs)?;
        }
        match this.poll_send(cx) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            // What the kernel does not take now is taken in by the next write, flush or read.
            Poll::Ready(Ok(())) | Poll::Pending => Poll::Ready(Ok(count)),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        // Tickets alone are not worth a segment.
        if this.is_blocked { this.poll_send(cx) } else { Poll::Ready(Ok(())) }
    }

    /// Ends this side: first by word, so that nobody can cut the connection and be taken for this peer (RFC 8446 section
    /// 6.1), then by the end of the connection below. The other side may go on.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.queue_end();
        ready!(this.poll_send(cx))?;
        Pin::new(&mut this.tcp).poll_shutdown(cx)
    }
}

/// The connection below, as rustls writes to it.
struct Kernel<'s, 'c, 'w> {
    tcp: &'s mut TcpStream,
    cx: &'c mut Context<'w>,
}

impl Kernel<'_, '_, '_> {
    fn now<T>(polled: Poll<io::Result<T>>) -> io::Result<T> {
        match polled {
            Poll::Ready(done) => done,
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }
}

impl Write for Kernel<'_, '_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Self::now(Pin::new(&mut *self.tcp).poll_write(self.cx, bytes))
    }

    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        Self::now(Pin::new(&mut *self.tcp).poll_write_vectored(self.cx, bufs))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
