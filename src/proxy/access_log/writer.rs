//! The thread that writes lines, and the bounded queue before it. Whoever has a line hands it over or drops it, and never waits.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::destination::Destination;
use super::sink::Sink;
use crate::host;
use crate::model::limits::{LOG_BYTES_WAITING_MAX, LOG_LINES_WAITING_MAX};
use crate::proxy::complaint::Complaint;

/// Lines are written together up to so many bytes.
const BATCH_BYTES_MAX: usize = 64 * 1024;
/// How long the end of a peer waits for lines that are not written yet.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);

/// Why a log cannot be written from the start.
#[derive(Debug, thiserror::Error)]
#[error("the access log cannot be written to {to}: {error}{}", hint(.error))]
pub struct OpenError {
    to: Destination,
    error: io::Error,
}

fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::NotFound => "; make its folder first",
        io::ErrorKind::PermissionDenied => "; let the user that runs evenkeel write there",
        _ => "",
    }
}

/// What was counted at one destination.
#[derive(Debug, Default)]
pub struct Counts {
    /// Lines that were written.
    pub written: AtomicU64,
    /// Lines that were dropped because too many waited.
    pub dropped_full: AtomicU64,
    /// Lines that were lost because they could not be written.
    pub dropped_unwritable: AtomicU64,
}

enum Message {
    Line(Vec<u8>),
    /// Look at what else there is to do.
    Wake,
    /// Say when everything before this was written.
    Flush(oneshot::Sender<()>),
}

/// The way to the thread. The thread ends when the last one is gone and everything was written.
#[derive(Debug)]
pub(crate) struct Writer {
    pub(super) to: Destination,
    queue: mpsc::Sender<Message>,
    state: Arc<State>,
}

#[derive(Debug, Default)]
struct State {
    counts: Arc<Counts>,
    bytes_waiting: AtomicUsize,
    reopens: AtomicBool,
}

impl Writer {
    /// Opens a destination, and starts its thread.
    pub(super) fn open(to: &Destination) -> Result<Arc<Self>, OpenError> {
        let fail = |error| OpenError { to: to.clone(), error };
        let sink = Sink::open(to).map_err(fail)?;
        let (queue, lines) = mpsc::channel(LOG_LINES_WAITING_MAX);
        let state = Arc::<State>::default();
        let (its_state, its_to) = (Arc::clone(&state), to.clone());
        let thread = thread::Builder::new().name("access-log".to_owned());
        thread.spawn(move || run(lines, sink, &its_state, &its_to)).map_err(fail)?;
        Ok(Arc::new(Self { to: to.clone(), queue, state }))
    }

    /// Hands a line over, without its end; drops it where too much waits.
    pub(super) fn write(&self, line: Vec<u8>) {
        let State { counts, bytes_waiting, .. } = &*self.state;
        let length = line.len();
        let is_full = bytes_waiting.fetch_add(length, Relaxed) + length > LOG_BYTES_WAITING_MAX;
        if is_full || self.queue.try_send(Message::Line(line)).is_err() {
            bytes_waiting.fetch_sub(length, Relaxed);
            counts.dropped_full.fetch_add(1, Relaxed);
        }
    }

    /// Has a file opened anew, for whoever has moved it away.
    pub(crate) fn reopen(&self) {
        self.state.reopens.store(true, Relaxed);
        // Where the queue is full the thread is at work, and looks anyway.
        let _ = self.queue.try_send(Message::Wake);
    }

    /// Waits until all that was handed over is written, but not for ever: what takes nothing does not hold up the peer's end.
    pub(crate) async fn flush(&self) {
        let (done, is_done) = oneshot::channel();
        let flushed = async {
            if self.queue.send(Message::Flush(done)).await.is_ok() {
                // A thread that is gone has nothing to write any more.
                let _ = is_done.await;
            }
        };
        let _ = timeout(FLUSH_TIMEOUT, flushed).await;
    }

    pub(super) fn counts(&self) -> &Arc<Counts> {
        &self.state.counts
    }
}

fn run(mut lines: mpsc::Receiver<Message>, mut sink: Sink, state: &State, to: &Destination) {
    let (mut batch, mut flushed) = (Vec::with_capacity(BATCH_BYTES_MAX), Vec::new());
    let mut losses = Losses::default();
    while let Some(first) = lines.blocking_recv() {
        let mut next = Some(first);
        let mut count = 0;
        while let Some(message) = next {
            match message {
                Message::Line(line) => {
                    state.bytes_waiting.fetch_sub(line.len(), Relaxed);
                    batch.extend_from_slice(&line);
                    batch.push(b'\n');
                    count += 1;
                }
                Message::Wake => {}
                Message::Flush(done) => flushed.push(done),
            }
            next = if batch.len() < BATCH_BYTES_MAX { lines.try_recv().ok() } else { None };
        }
        if state.reopens.swap(false, Relaxed) {
            match sink.reopen() {
                Ok(()) => tracing::info!(%to, "the access log is opened anew"),
                Err(error) => {
                    tracing::error!(%to, %error, "the access log cannot be opened anew; the old file is written on");
                }
            }
        }
        let lost = match sink.write(&batch) {
            Ok(()) => 0,
            Err((lost, error)) => {
                losses.unwritable(lost, &error, to);
                lost
            }
        };
        state.counts.written.fetch_add(count - lost.min(count), Relaxed);
        state.counts.dropped_unwritable.fetch_add(lost, Relaxed);
        losses.full(state.counts.dropped_full.load(Relaxed), to, host::now());
        batch.clear();
        flushed.drain(..).for_each(|done| {
            // Whoever waited may have given up.
            let _ = done.send(());
        });
    }
}

/// Says what was lost, at once and then now and then.
#[derive(Default)]
struct Losses {
    unwritable: Complaint,
    lost: u64,
    full: Complaint,
    full_known: u64,
}

impl Losses {
    fn unwritable(&mut self, lost: u64, error: &io::Error, to: &Destination) {
        self.lost += lost;
        if self.unwritable.count(host::now()).is_some() {
            tracing::error!(%to, %error, lines = std::mem::take(&mut self.lost), "lines of the access log cannot be written and are lost");
        }
    }

    fn full(&mut self, dropped: u64, to: &Destination, now: Instant) {
        if dropped > self.full_known && self.full.count(now).is_some() {
            let lines = dropped - std::mem::replace(&mut self.full_known, dropped);
            tracing::warn!(%to, lines, "lines of the access log were dropped: it is written slower than requests come");
        }
    }
}
