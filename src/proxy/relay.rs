//! Two connections joined: what comes from either goes to the other, until both have ended. TCP listeners and upgraded
//! HTTP connections.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};

use super::alarm::Alarm;
use super::buffer::Stock;
use super::pump::{Pump, PumpError};
use super::stream::{Abort, Leg};
use crate::host;

/// A relay looks so many times in an idle time whether anything moved, and so ends up to one part later than it says: the
/// bytes that pass need no clock then.
const IDLE_TICKS: u32 = 8;

/// How a relay ended.
#[derive(Clone, Copy, Debug)]
pub(crate) enum RelayEnd {
    /// Both sides said that they are done.
    Closed,
    /// A side broke off.
    Broken,
    /// Nothing moved for the idle time.
    Idle,
    /// The node was drained, and its time is over.
    Drained,
}

/// What ends a relay beside its two sides.
pub(crate) struct Limits<'a> {
    /// Nothing moved for so long.
    pub(crate) idle: Duration,
    /// Its time is over. Whoever makes it so wakes the task.
    pub(crate) is_over: &'a dyn Fn() -> bool,
}

/// Two joined connections. Unless both sides said that they are done, both are reset when it is over, whatever ended it: a side
/// that broke, the idle time, or the end of the peer, which drops its tasks. Neither side may take that for an end.
struct Joined<'a, A: Abort, B: Abort> {
    client: &'a mut Leg<A>,
    node: &'a mut Leg<B>,
    are_done: bool,
}

impl<A: Abort, B: Abort> Drop for Joined<'_, A, B> {
    fn drop(&mut self) {
        if !self.are_done {
            self.client.io.abort_on_close();
            self.node.io.abort_on_close();
        }
    }
}

struct Direction {
    pump: Pump,
    state: DirectionState,
    counted: u64,
}

#[derive(PartialEq)]
enum DirectionState {
    Moving,
    ShuttingDown,
    Closed,
}

impl Direction {
    fn new() -> Self {
        Self { pump: Pump::raw(), state: DirectionState::Moving, counted: 0 }
    }

    fn poll<A, B>(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut Leg<A>,
        to: &mut Leg<B>,
        stock: &Stock,
        count: &dyn Fn(u64),
    ) -> Result<(), PumpError>
    where
        A: AsyncRead + Unpin,
        B: AsyncWrite + Unpin,
    {
        if self.state == DirectionState::Moving {
            let polled = self.pump.poll(cx, from, &mut to.io, stock, 0);
            if self.pump.bytes_moved() != self.counted {
                count(self.pump.bytes_moved() - self.counted);
                self.counted = self.pump.bytes_moved();
            }
            match polled {
                Poll::Ready(Ok(())) => self.state = DirectionState::ShuttingDown,
                // A TLS node that ends without saying so: what it sent still belongs to the client.
                Poll::Ready(Err(PumpError::Read(error))) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
                    self.state = DirectionState::ShuttingDown;
                }
                Poll::Ready(Err(error)) => return Err(error),
                Poll::Pending => {}
            }
        }
        if self.state == DirectionState::ShuttingDown {
            match Pin::new(&mut to.io).poll_shutdown(cx) {
                Poll::Ready(Ok(())) => self.state = DirectionState::Closed,
                // The other side is gone altogether, which is no loss: everything was written to it.
                Poll::Ready(Err(error)) if error.kind() == std::io::ErrorKind::NotConnected => {
                    self.state = DirectionState::Closed;
                }
                Poll::Ready(Err(error)) => return Err(PumpError::Write(error)),
                Poll::Pending => {}
            }
        }
        Ok(())
    }
}

/// Relays until both sides have ended, one breaks, or a limit is met; all but the first reset both. `count_up` and
/// `count_down` are told of bytes from `client` to `node` and back as they move.
pub(crate) async fn relay<A, B>(
    client: &mut Leg<A>,
    node: &mut Leg<B>,
    alarm: &mut Alarm,
    Limits { idle, is_over }: Limits<'_>,
    stock: &Stock,
    count_up: &dyn Fn(u64),
    count_down: &dyn Fn(u64),
) -> RelayEnd
where
    A: AsyncRead + AsyncWrite + Abort + Unpin,
    B: AsyncRead + AsyncWrite + Abort + Unpin,
{
    let mut joined = Joined { client, node, are_done: false };
    let mut up = Direction::new();
    let mut down = Direction::new();
    let tick = idle / IDLE_TICKS;
    let (mut progress, mut quiet_ticks) = (0, 0);
    alarm.set(host::now() + tick);
    poll_fn(|cx| {
        if is_over() {
            return Poll::Ready(RelayEnd::Drained);
        }
        let Joined { client, node, are_done } = &mut joined;
        let moved =
            up.poll(cx, client, node, stock, count_up).and_then(|()| down.poll(cx, node, client, stock, count_down));
        if moved.is_err() {
            return Poll::Ready(RelayEnd::Broken);
        }
        if up.state == DirectionState::Closed && down.state == DirectionState::Closed {
            *are_done = true;
            return Poll::Ready(RelayEnd::Closed);
        }
        while alarm.poll(cx).is_ready() {
            let now_progress = up.pump.progress() + down.pump.progress();
            quiet_ticks = if now_progress == progress { quiet_ticks + 1 } else { 0 };
            progress = now_progress;
            if quiet_ticks == IDLE_TICKS {
                return Poll::Ready(RelayEnd::Idle);
            }
            alarm.set(host::now() + tick);
        }
        Poll::Pending
    })
    .await
}
