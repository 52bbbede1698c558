//! Requests that wait for a place when every node is full: bounded, first come first served, across workers.
//!
//! Whoever lines up gets a *turn*: leave to try for a place. Each place that is given back makes one turn, for the first
//! in line who has none. A turn that comes to nothing, because the place is at a node which that request may not use,
//! goes on to the next behind, and whoever had it stands where it stood. So nobody overtakes, no place lies idle while
//! somebody waits who could use it, and one place wakes one request.
//!
//! A request that finds the line not empty, or every node full, does in order: `wait`; then until it is served or its time
//! is over, await the [`Waiting`], load the view anew, try to take; on success [`Waiting::served`], else [`Waiting::again`].
//!
//! No wake-up is lost: [`Queue::wait`] raises the count of the line before it looks for a place, whoever gives one back
//! does so before it looks at that count, and both are sequentially consistent. Hence also the first turn, which every
//! request gets after it lined up.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering, fence};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// A pool's waiting line.
#[derive(Debug, Default)]
pub struct Queue(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    /// Length of the line, for those who only want to know whether there is one.
    length: AtomicUsize,
    line: Mutex<Line>,
}

/// Who waits, by ticket.
#[derive(Debug, Default)]
struct Line {
    waiting: BTreeMap<u64, Waiter>,
    ticket_next: u64,
    /// Turns that are out.
    turns: usize,
    /// Places that were given back while everybody in line had a turn: the next who comes to nothing tries again.
    spare: usize,
}

#[derive(Debug)]
struct Waiter {
    standing: Standing,
    waker: Option<Waker>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Standing {
    /// Has not tried since it lined up.
    Fresh,
    /// May try.
    Turn,
    /// Tried and found nothing.
    Tried,
}

/// As many wait as may.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("as many requests wait for a place as may")]
pub struct QueueFull;

/// A request's place in the line. It resolves when it is this one's turn to try for a place; then either [`Self::again`],
/// which keeps its place in the line, or [`Self::served`]. Dropping it leaves the line, and a turn that it had goes on
/// to the next.
#[derive(Debug)]
#[must_use = "a request that drops its place in the line has left the line"]
pub struct Waiting {
    queue: Arc<Shared>,
    ticket: u64,
}

impl Queue {
    /// Lines up behind all others, unless `max` wait already.
    pub fn wait(&self, max: u32) -> Result<Waiting, QueueFull> {
        let mut line = self.0.lock();
        if line.waiting.len() >= usize::try_from(max).unwrap_or(usize::MAX) {
            return Err(QueueFull);
        }
        let ticket = line.ticket_next;
        line.ticket_next += 1;
        line.waiting.insert(ticket, Waiter { standing: Standing::Fresh, waker: None });
        if line.turns == 0 || line.take_spare() {
            line.give_turn(ticket);
        }
        self.0.length.store(line.waiting.len(), Ordering::SeqCst);
        // Between the count and the look at the nodes that follows, against `PoolLive::leave`.
        fence(Ordering::SeqCst);
        Ok(Waiting { queue: Arc::clone(&self.0), ticket })
    }

    /// A place was given back: the first in line without a turn may try. Costs one load when nobody waits.
    pub fn wake_one(&self) {
        if self.0.length.load(Ordering::SeqCst) == 0 {
            return;
        }
        let waker = self.0.lock().wake_next_after(None);
        wake(waker);
    }

    /// What may be used has changed: everybody in line may try once more, one after the other.
    pub fn wake_all(&self) {
        if self.is_empty() {
            return;
        }
        let mut line = self.0.lock();
        for waiter in line.waiting.values_mut().filter(|waiter| waiter.standing == Standing::Tried) {
            waiter.standing = Standing::Fresh;
        }
        let waker = line.wake_fresh();
        drop(line);
        wake(waker);
    }

    /// Requests in line.
    pub fn len(&self) -> usize {
        self.0.length.load(Ordering::Relaxed)
    }

    /// Whether nobody waits. A request that finds somebody waiting lines up behind and does not try for a place first.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Waiting {
    /// The turn came to nothing: back to where it stood. It resolves again at its next turn.
    pub fn again(&mut self) {
        let mut line = self.queue.lock();
        if line.standing(self.ticket) != Some(Standing::Turn) || line.take_spare() {
            return;
        }
        if let Some(waiter) = line.waiting.get_mut(&self.ticket) {
            waiter.standing = Standing::Tried;
        }
        line.turns -= 1;
        let waker = line.pass_turn_on(self.ticket);
        drop(line);
        wake(waker);
    }

    /// The turn was used: leaves the line.
    pub fn served(self) {
        self.leave(true);
    }

    fn leave(&self, served: bool) {
        let mut line = self.queue.lock();
        let Some(waiter) = line.waiting.remove(&self.ticket) else { return };
        let mut waker = None;
        if waiter.standing == Standing::Turn {
            line.turns -= 1;
            waker = if served { line.wake_fresh() } else { line.pass_turn_on(self.ticket) };
        }
        if line.waiting.is_empty() {
            line.spare = 0;
        }
        self.queue.length.store(line.waiting.len(), Ordering::SeqCst);
        drop(line);
        wake(waker);
    }
}

impl Future for Waiting {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let mut line = self.queue.lock();
        match line.waiting.get_mut(&self.ticket) {
            Some(waiter) if waiter.standing != Standing::Turn => {
                waiter.waker = Some(context.waker().clone());
                Poll::Pending
            }
            _ => Poll::Ready(()),
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.leave(false);
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Line> {
        // Nothing under the lock panics half way through a change.
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Line {
    fn standing(&self, ticket: u64) -> Option<Standing> {
        self.waiting.get(&ticket).map(|waiter| waiter.standing)
    }

    fn take_spare(&mut self) -> bool {
        let some = self.spare > 0;
        self.spare -= usize::from(some);
        some
    }

    fn give_turn(&mut self, ticket: u64) -> Option<Waker> {
        let waiter = self.waiting.get_mut(&ticket)?;
        waiter.standing = Standing::Turn;
        self.turns += 1;
        waiter.waker.take()
    }

    /// The first without a turn, of those behind `ticket` where one is given.
    fn wake_next_after(&mut self, ticket: Option<u64>) -> Option<Waker> {
        let from = ticket.map_or(0, |ticket| ticket + 1);
        let next = self.waiting.range(from..).find(|(_, waiter)| waiter.standing != Standing::Turn);
        match (next.map(|(&ticket, _)| ticket), ticket) {
            (Some(next), _) => self.give_turn(next),
            (None, None) => {
                self.spare += usize::from(!self.waiting.is_empty());
                None
            }
            (None, Some(_)) => None,
        }
    }

    /// A turn that came to nothing goes on to whoever stands behind; past the end of the line it ends.
    fn pass_turn_on(&mut self, ticket: u64) -> Option<Waker> {
        self.wake_next_after(Some(ticket)).or_else(|| self.wake_fresh())
    }

    /// With no turn out, the first who never had one gets it: each tries once after it lined up.
    fn wake_fresh(&mut self) -> Option<Waker> {
        if self.turns > 0 {
            return None;
        }
        let fresh = self.waiting.iter().find(|(_, waiter)| waiter.standing == Standing::Fresh);
        let ticket = fresh.map(|(&ticket, _)| ticket)?;
        self.give_turn(ticket)
    }
}

/// Outside of the lock: a waker may run code of its own.
fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}

#[cfg(test)]
mod tests;
