//! Whether a client is still there while others work for it: who has gone must not hold a place at a node, or one in line.
//!
//! A reset says so at once. A client that merely ended its side may still read, and most likely it is gone: it is served for
//! [`HALF_CLOSED_TIMEOUT`] without progress. Both stand in the kernel's queue behind what the client sent ahead, so that is
//! read, up to a bound; where it must not be read, the runtime still knows what the kernel told it of the connection.

use std::future::poll_fn;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::io::Interest;

use super::alarm::Alarm;
use super::buffer::Stock;
use super::stream::{Leg, Stream};
use crate::host;
use crate::model::limits::RELAY_BUFFER_BYTES;

/// How long a client that has ended its side is served while nothing moves.
pub(crate) const HALF_CLOSED_TIMEOUT: Duration = Duration::from_secs(5);
/// How often a client is looked at whose bytes are not read because a node takes none.
pub(crate) const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// What is known of a client.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Presence {
    Here,
    /// It sends no more, and may still read.
    Ended,
    /// It reset the connection.
    Gone,
}

impl Leg<Stream> {
    /// Reads what the client sends ahead, and so learns of its end or is woken by it.
    pub(crate) fn poll_presence(&mut self, cx: &mut Context<'_>, stock: &Stock) -> Presence {
        if matches!(self.io, Stream::Http2(_)) {
            // The end of what it sends is the end of its request, and no sign that it leaves.
            return if self.io.poll_given_up(cx).is_ready() { Presence::Gone } else { Presence::Here };
        }
        while self.input.len() < RELAY_BUFFER_BYTES {
            match self.poll_fill(cx, stock) {
                Poll::Ready(Ok(0)) => return Presence::Ended,
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(_)) => return Presence::Gone,
                Poll::Pending => return Presence::Here,
            }
        }
        self.presence()
    }

    /// The same without reading and without a system call. Nobody is woken by it: look again after [`LOOK_INTERVAL`].
    pub(crate) fn presence(&self) -> Presence {
        let Some(tcp) = self.io.tcp() else { return Presence::Here };
        let ready = pin!(tcp.ready(Interest::READABLE | Interest::WRITABLE));
        match ready.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Err(_)) => Presence::Gone,
            Poll::Ready(Ok(ready)) if ready.is_write_closed() => Presence::Gone,
            Poll::Ready(Ok(ready)) if ready.is_read_closed() => Presence::Ended,
            Poll::Ready(Ok(_)) | Poll::Pending => Presence::Here,
        }
    }
}

/// The result of `work`, unless the client goes away before. Uses `alarm` only once the client has ended its side.
pub(crate) async fn while_client_stays<T>(
    client: &mut Leg<Stream>,
    alarm: &mut Alarm,
    stock: &Stock,
    work: impl Future<Output = T>,
) -> Option<T> {
    let mut work = pin!(work);
    let mut has_ended = false;
    poll_fn(|cx| {
        if let Poll::Ready(done) = work.as_mut().poll(cx) {
            return Poll::Ready(Some(done));
        }
        if !has_ended {
            match client.poll_presence(cx, stock) {
                Presence::Here => {}
                Presence::Gone => return Poll::Ready(None),
                Presence::Ended => {
                    has_ended = true;
                    alarm.set(host::now() + HALF_CLOSED_TIMEOUT);
                }
            }
        }
        if has_ended && alarm.poll(cx).is_ready() {
            return Poll::Ready(None);
        }
        Poll::Pending
    })
    .await
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{Shutdown, TcpListener};

    use socket2::SockRef;
    use tokio::net::TcpStream;

    use super::*;

    /// A client, and this side of its connection.
    fn connected() -> (std::net::TcpStream, Leg<Stream>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (stream, _) = listener.accept().unwrap();
        stream.set_nonblocking(true).unwrap();
        (client, Leg::new(Stream::Plain(TcpStream::from_std(stream).unwrap())))
    }

    /// What `look` finds once it finds something.
    async fn found(mut look: impl FnMut(&mut Context<'_>) -> Presence) -> Presence {
        let mut presence = Presence::Here;
        while presence == Presence::Here {
            // The runtime hears from the kernel in between.
            tokio::task::yield_now().await;
            presence = poll_fn(|cx| Poll::Ready(look(cx))).await;
        }
        presence
    }

    fn reset(client: std::net::TcpStream) {
        SockRef::from(&client).set_linger(Some(Duration::ZERO)).unwrap();
        drop(client);
    }

    #[tokio::test]
    async fn a_client_that_sent_ahead_is_seen_to_leave_all_the_same() {
        let stock = Stock::default();
        let (mut client, mut leg) = connected();
        client.write_all(b"GET /next").unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        assert_eq!(found(|cx| leg.poll_presence(cx, &stock)).await, Presence::Ended);
        assert_eq!(leg.input.filled(), b"GET /next", "and what it sent is kept");
        reset(client);
        // An end that was read hides the reset behind it from readers, and not from the runtime.
        assert_eq!(
            found(|_| if leg.presence() == Presence::Gone { Presence::Gone } else { Presence::Here }).await,
            Presence::Gone
        );
    }

    #[tokio::test]
    async fn a_client_is_seen_to_leave_without_its_bytes_being_read() {
        for (leave, presence) in [
            ((|client| client.shutdown(Shutdown::Write).unwrap()) as fn(&std::net::TcpStream), Presence::Ended),
            (|client| SockRef::from(client).set_linger(Some(Duration::ZERO)).unwrap(), Presence::Gone),
        ] {
            let (mut client, leg) = connected();
            client.write_all(b"more than anybody reads").unwrap();
            assert_eq!(leg.presence(), Presence::Here);
            leave(&client);
            let kept = (presence == Presence::Ended).then(|| client.try_clone().unwrap());
            drop(client);
            assert_eq!(found(|_| leg.presence()).await, presence);
            drop(kept);
        }
    }

    #[tokio::test]
    async fn no_more_than_a_buffer_is_read_ahead() {
        let stock = Stock::default();
        let (mut client, mut leg) = connected();
        let sender = std::thread::spawn(move || {
            client.write_all(&vec![b'x'; 4 * RELAY_BUFFER_BYTES]).unwrap();
            client.shutdown(Shutdown::Write).unwrap();
            let _ = client.read(&mut [0; 1]);
        });
        while leg.input.len() < RELAY_BUFFER_BYTES {
            assert_eq!(
                found(|cx| {
                    let presence = leg.poll_presence(cx, &stock);
                    if leg.input.len() == RELAY_BUFFER_BYTES { Presence::Ended } else { presence }
                })
                .await,
                Presence::Ended
            );
        }
        assert_eq!(leg.input.len(), RELAY_BUFFER_BYTES);
        drop(leg);
        sender.join().unwrap();
    }
}
