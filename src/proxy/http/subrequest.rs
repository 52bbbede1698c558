//! A request of this peer's own to a node, for the sake of one that a client sent: it is there whole before it is sent, and its answer
//! is taken whole before it is used.

use std::future::poll_fn;
use std::time::Instant;

use tokio::io::AsyncWriteExt;
use tokio::time::timeout_at;

use super::h1::body::{Decoder, Step};
use super::h1::head::{self, HeadScan, Scanned};
use super::picture::{AnswerHead, RequestHead};
use super::retry::Failure;
use crate::host;
use crate::model::limits::INTERIM_ANSWERS_MAX;
use crate::proxy::connect::open;
use crate::proxy::counts::bump;
use crate::proxy::idle::NodeConnection;
use crate::proxy::stream::{Leg, Stream};
use crate::proxy::tcp::blame;
use crate::proxy::worker::Worker;
use crate::view::Taken;

/// A request with all that is sent of it.
pub(super) struct Message {
    /// As far as it says what an answer is like.
    pub(super) request: RequestHead,
    /// Head and body.
    pub(super) bytes: Vec<u8>,
}

/// What becomes of the body of an answer.
#[derive(Clone, Copy, Debug)]
pub(super) enum Wanted {
    /// It is kept up to so many bytes; of a longer one nothing is.
    Bytes(usize),
    /// It is read and dropped.
    Nothing,
}

/// What a node answered.
#[derive(Debug, Default)]
pub(super) struct Answer {
    pub(super) head: AnswerHead,
    pub(super) body: Vec<u8>,
}

/// Sends a message to a node that was taken, on a connection that was idle unless it is to be fresh, and takes the answer. What goes
/// wrong is counted of that node; what it means for the client's request whoever asks counts.
pub(super) async fn ask(
    worker: &Worker,
    taken: &Taken,
    message: &Message,
    fresh_only: bool,
    (wanted, until): (Wanted, Instant),
) -> Result<Answer, Failure> {
    let live = &taken.node().live;
    let opened =
        timeout_at(until.into(), open(worker, taken, message.request.method.is_idempotent(), fresh_only)).await;
    let (connection, is_reused) = match opened {
        Ok(Ok(opened)) => opened,
        Ok(Err(error)) => {
            blame(worker, taken, &error);
            return Err(Failure::Connect);
        }
        Err(_) => return Err(Failure::Connect),
    };
    let NodeConnection { stream, address, opened, tls } = connection;
    let mut talk = Talk { worker, leg: Leg::new(stream), has_heard: false };
    bump(&live.counts.requests);
    let began = host::now();
    let answered = timeout_at(until.into(), talk.run(message, wanted)).await;
    let now = host::now();
    let Talk { mut leg, has_heard, .. } = talk;
    let failure = match answered {
        Ok(Ok((answer, is_whole))) => {
            live.note_response_time(now.saturating_duration_since(began));
            bump(&live.counts.answers[usize::from(answer.head.status / 100).clamp(1, 5) - 1]);
            leg.input.release(&worker.stock);
            // Bytes behind an answer belong to no request.
            if is_whole && answer.head.persistent && leg.input.is_empty() {
                worker.keep_idle(live, NodeConnection { stream: leg.io, address, opened, tls }, now);
            }
            return Ok(answer);
        }
        Ok(Err(Failure::Broken)) if is_reused && !has_heard => return Err(Failure::StaleConnection),
        Ok(Err(failure)) => failure,
        Err(_) => {
            bump(&live.counts.timeouts);
            Failure::Timeout
        }
    };
    bump(&live.counts.exchange_failures);
    if failure == Failure::Broken && !has_heard {
        worker.ask_for_probe(taken.node());
    }
    Err(failure)
}

struct Talk<'w> {
    worker: &'w Worker,
    leg: Leg<Stream>,
    /// Something came from the node.
    has_heard: bool,
}

impl Talk<'_> {
    /// The answer, and whether all of it was read.
    async fn run(&mut self, message: &Message, wanted: Wanted) -> Result<(Answer, bool), Failure> {
        self.leg.io.write_all(&message.bytes).await.map_err(|_| Failure::Broken)?;
        self.leg.io.flush().await.map_err(|_| Failure::Broken)?;
        let mut answer = Answer::default();
        for _ in 0..=INTERIM_ANSWERS_MAX {
            self.read_head(&message.request, &mut answer.head).await?;
            match answer.head.status {
                // Nobody asked to change the protocol.
                101 => return Err(Failure::Malformed),
                100..=199 => {}
                _ => {
                    let is_whole = self.read_body(wanted, &mut answer).await?;
                    return Ok((answer, is_whole));
                }
            }
        }
        Err(Failure::Malformed)
    }

    async fn read_head(&mut self, request: &RequestHead, head: &mut AnswerHead) -> Result<(), Failure> {
        let mut scan = HeadScan::default();
        loop {
            match scan.scan(self.leg.input.filled()) {
                Scanned::Whole(length) => {
                    head::answer(&self.leg.input.filled()[..length], request, head).map_err(|_| Failure::Malformed)?;
                    self.leg.input.consume(length);
                    return Ok(());
                }
                Scanned::More if self.fill().await? => self.has_heard = true,
                Scanned::More => return Err(Failure::Broken),
                Scanned::BareLineFeed | Scanned::TooLong => return Err(Failure::Malformed),
            }
        }
    }

    /// Whether it is there to its end. One that is longer than is wanted is left where it is.
    async fn read_body(&mut self, wanted: Wanted, answer: &mut Answer) -> Result<bool, Failure> {
        let mut decoder = Decoder::new(answer.head.length);
        let mut trailers = Vec::new();
        loop {
            let step = decoder.step(self.leg.input.filled(), &mut trailers).map_err(|_| Failure::Malformed)?;
            match step {
                Step::Data { skip, len } => {
                    if let Wanted::Bytes(max) = wanted {
                        if answer.body.len() + len > max {
                            answer.body.clear();
                            return Ok(false);
                        }
                        answer.body.extend_from_slice(&self.leg.input.filled()[skip..skip + len]);
                    }
                    self.leg.input.consume(skip + len);
                }
                Step::End { skip } => {
                    self.leg.input.consume(skip);
                    return Ok(true);
                }
                Step::More { skip } => {
                    self.leg.input.consume(skip);
                    if !self.fill().await? {
                        return decoder.end_of_input().map(|()| true).map_err(|_| Failure::Broken);
                    }
                }
            }
        }
    }

    /// False at the end.
    async fn fill(&mut self) -> Result<bool, Failure> {
        let Self { worker, leg, .. } = self;
        let count = poll_fn(|cx| leg.poll_fill(cx, &worker.stock)).await.map_err(|_| Failure::Broken)?;
        Ok(count > 0)
    }
}
