//! A link at work: messages out of the outbox, one stream each, and into the inboxes.
//!
//! A stream begins with a byte: a channel's number, or 0 for a ping. Each channel writes one message at a time, so that a large
//! one holds up only its own kind. A message that is not written in its time is reset, not finished: the other side must not
//! take the half of it for the whole.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use quinn::{Connection, ReadError, ReadExactError, ReadToEndError, RecvStream, SendStream, VarInt, WriteError};
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::super::keep::{Gone, Token};
use super::super::{AskError, Channel, Received};
use super::endpoint::priority;
use super::{Shared, close};
use crate::host;
use crate::model::limits::{PATIENT_QUESTIONS_PER_PEER_MAX, QUESTIONS_PER_PEER_MAX};

/// The first byte of a stream that asks whether its other end lives; so is the answer.
const PING: u8 = 0;
/// A connection whose place another one has taken is read for so long before it is closed.
const RETIRED_FOR: Duration = Duration::from_secs(1);
/// Messages longer than this are read one at a time from each peer.
const LARGE_BYTES: usize = 256 * 1024;

/// One connection, for those who send on it.
pub(super) struct Carrier {
    pub(super) connection: Connection,
    wakers: [Notify; Channel::ALL.len()],
    retired: Notify,
    /// Leaves room among the streams for a ping.
    questions: Semaphore,
    /// Leaves room among the questions for those that are answered at once.
    patient: Semaphore,
}

/// How soon a question can be answered.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Answered {
    /// Out of what is there.
    AtOnce,
    /// Perhaps once something else has happened.
    Later,
}

impl Carrier {
    pub(super) fn new(connection: Connection) -> Self {
        Self {
            connection,
            wakers: std::array::from_fn(|_| Notify::new()),
            retired: Notify::new(),
            questions: Semaphore::new(QUESTIONS_PER_PEER_MAX),
            patient: Semaphore::new(PATIENT_QUESTIONS_PER_PEER_MAX),
        }
    }

    /// A message waits.
    pub(super) fn wake(&self, channel: Channel) {
        self.wakers[channel as usize].notify_one();
    }

    /// Another connection has its place.
    pub(super) fn retire(&self) {
        self.retired.notify_one();
        // Writers find out that they have nothing more to write.
        self.wakers.iter().for_each(Notify::notify_one);
    }

    /// Whether the other end answers. Take a time limit.
    pub(super) async fn ping(&self) -> bool {
        let Ok((mut to, mut from)) = self.connection.open_bi().await else { return false };
        if to.write_all(&[PING]).await.is_err() || to.finish().is_err() {
            return false;
        }
        from.read_to_end(1).await.is_ok_and(|answer| answer == [PING])
    }

    /// Asks, and waits for the answer. Take a time limit.
    pub(super) async fn ask(
        &self,
        shared: &Arc<Shared>,
        question: Bytes,
        answered: Answered,
    ) -> Result<Bytes, AskError> {
        let length = question.len();
        if length > Channel::Query.bytes_max() {
            shared.count(Channel::Query, |counts| counts.oversized += 1);
            return Err(AskError::TooLong);
        }
        // Taken first: one that waits for its turn among the patient keeps no place from others.
        let _turn = match answered {
            Answered::AtOnce => None,
            Answered::Later => Some(self.patient.acquire().await.map_err(|_| AskError::Lost)?),
        };
        let _place = self.questions.acquire().await.map_err(|_| AskError::Lost)?;
        let (mut to, mut from) = self.connection.open_bi().await.map_err(|_| AskError::Lost)?;
        write(&mut to, Channel::Query, question).await.map_err(|error| match error {
            WriteError::Stopped(_) => AskError::NotTaken,
            _ => AskError::Lost,
        })?;
        shared.count(Channel::Query, |counts| {
            counts.sent += 1;
            counts.bytes_sent += length as u64;
        });
        match from.read_to_end(Channel::Query.bytes_max()).await {
            Ok(answer) => Ok(Bytes::from(answer)),
            Err(ReadToEndError::TooLong) => Err(AskError::TooLong),
            Err(ReadToEndError::Read(ReadError::Reset(_))) => Err(AskError::NotTaken),
            Err(ReadToEndError::Read(_)) => Err(AskError::Lost),
        }
    }
}

impl Shared {
    fn count(self: &Arc<Self>, channel: Channel, add: impl FnOnce(&mut super::super::ChannelCounts)) {
        add(&mut self.lock().keeper.counts().channels[channel as usize]);
    }
}

/// Carries messages in both directions until the connection ends.
pub(super) async fn carry(shared: &Arc<Shared>, token: Token, carrier: &Arc<Carrier>) {
    let mut tasks = JoinSet::new();
    for channel in Channel::ONE_WAY {
        tasks.spawn(write_all(Arc::clone(shared), token, Arc::clone(carrier), channel));
    }
    tasks.spawn(read_messages(Arc::clone(shared), token, Arc::clone(carrier)));
    tasks.spawn(read_questions(Arc::clone(shared), token, Arc::clone(carrier)));
    let connection = &carrier.connection;
    let why = tokio::select! {
        biased;
        why = connection.closed() => why,
        () = retired(carrier) => {
            connection.close(close::RETIRED, b"retired");
            connection.closed().await
        }
    };
    shared.with(|core| core.keeper.ended(token, close::ended(&why), host::now()));
}

async fn retired(carrier: &Carrier) {
    carrier.retired.notified().await;
    sleep(RETIRED_FOR).await;
}

/// Writes what waits in one channel's outbox.
async fn write_all(shared: Arc<Shared>, token: Token, carrier: Arc<Carrier>, channel: Channel) {
    loop {
        let is_woken = carrier.wakers[channel as usize].notified();
        let message = shared.lock().keeper.next_message(token, channel);
        let bytes = match message {
            Err(Gone) => return,
            Ok(None) => {
                is_woken.await;
                continue;
            }
            Ok(Some(bytes)) => bytes,
        };
        let length = bytes.len() as u64;
        let written = timeout(channel.limit(), async {
            let mut stream = Writing::new(carrier.connection.open_uni().await.map_err(drop)?);
            stream.write(channel, bytes).await.map_err(drop)
        });
        let written = written.await;
        shared.count(channel, |counts| match written {
            Ok(Ok(())) => {
                counts.sent += 1;
                counts.bytes_sent += length;
            }
            Ok(Err(())) => counts.dropped += 1,
            Err(_) => counts.late += 1,
        });
    }
}

/// A stream that is reset, unless its message was written whole: dropped, quinn would finish it.
struct Writing {
    stream: SendStream,
    is_whole: bool,
}

impl Writing {
    fn new(stream: SendStream) -> Self {
        Self { stream, is_whole: false }
    }

    async fn write(&mut self, channel: Channel, bytes: Bytes) -> Result<(), WriteError> {
        write(&mut self.stream, channel, bytes).await?;
        self.is_whole = true;
        Ok(())
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        if !self.is_whole {
            // It fails where the stream is gone already.
            let _ = self.stream.reset(close::DROPPED);
        }
    }
}

async fn write(stream: &mut SendStream, channel: Channel, bytes: Bytes) -> Result<(), WriteError> {
    // It fails where the stream is gone, which writing says too.
    let _ = stream.set_priority(priority(channel));
    let number = Bytes::copy_from_slice(&[channel.number()]);
    stream.write_all_chunks(&mut [number, bytes]).await?;
    stream.finish().map_err(|_| WriteError::ClosedStream)
}

/// Reads messages: as many at once as the other side may have streams.
async fn read_messages(shared: Arc<Shared>, token: Token, carrier: Arc<Carrier>) {
    let mut reading = JoinSet::new();
    let large = Arc::new(Semaphore::new(1));
    while let Ok(stream) = carrier.connection.accept_uni().await {
        while reading.try_join_next().is_some() {}
        reading.spawn(read_message(Arc::clone(&shared), token, stream, Arc::clone(&large)));
    }
}

async fn read_message(shared: Arc<Shared>, token: Token, mut stream: RecvStream, large: Arc<Semaphore>) {
    let Some(channel) = read_number(&mut stream).await.and_then(Channel::of_number) else {
        // A channel of a later version.
        let _ = stream.stop(close::DROPPED);
        return;
    };
    if !Channel::ONE_WAY.contains(&channel) {
        let _ = stream.stop(close::DROPPED);
        return;
    }
    let max = channel.bytes_max();
    let read = timeout(2 * channel.limit(), async {
        // Many large messages at once could take much memory for one peer; fails never, for it is never closed.
        let _place = if max > LARGE_BYTES { large.acquire().await.ok() } else { None };
        stream.read_to_end(max).await
    });
    let bytes = match read.await {
        Ok(Ok(bytes)) => Bytes::from(bytes),
        Ok(Err(ReadToEndError::TooLong)) => {
            shared.count(channel, |counts| counts.oversized += 1);
            let _ = stream.stop(close::DROPPED);
            return;
        }
        // Reset by its sender, which counts it.
        Ok(Err(ReadToEndError::Read(_))) => return,
        Err(_) => {
            shared.count(channel, |counts| counts.late += 1);
            let _ = stream.stop(close::DROPPED);
            return;
        }
    };
    let mut core = shared.lock();
    let Some((from, address)) = core.keeper.owner(token) else { return };
    let length = bytes.len() as u64;
    let taken = shared.inlets.put(Received { from, address, channel, bytes });
    let counts = &mut core.keeper.counts().channels[channel as usize];
    counts.received += 1;
    counts.bytes_received += length;
    counts.untaken += u64::from(!taken);
}

async fn read_number(stream: &mut RecvStream) -> Option<u8> {
    let mut number = [0];
    let read: Result<Result<(), ReadExactError>, _> =
        timeout(Channel::Gossip.limit(), stream.read_exact(&mut number)).await;
    matches!(read, Ok(Ok(()))).then_some(number[0])
}

/// Answers pings, and hands questions on.
async fn read_questions(shared: Arc<Shared>, token: Token, carrier: Arc<Carrier>) {
    let mut reading = JoinSet::new();
    let large = Arc::new(Semaphore::new(1));
    while let Ok((to, from)) = carrier.connection.accept_bi().await {
        while reading.try_join_next().is_some() {}
        reading.spawn(read_question(Arc::clone(&shared), token, to, from, Arc::clone(&large)));
    }
}

async fn read_question(
    shared: Arc<Shared>,
    token: Token,
    mut to: SendStream,
    mut from: RecvStream,
    large: Arc<Semaphore>,
) {
    let refuse = |to: &mut SendStream, from: &mut RecvStream, code: VarInt| {
        let _ = to.reset(code);
        let _ = from.stop(code);
    };
    match read_number(&mut from).await {
        Some(PING) => {
            // Its asker waits no longer than its time.
            let _ = to.write_all(&[PING]).await;
            return;
        }
        Some(number) if Channel::of_number(number) == Some(Channel::Query) => {}
        _ => return refuse(&mut to, &mut from, close::DROPPED),
    }
    let read = timeout(Channel::Query.limit(), async {
        let _place = large.acquire().await.ok();
        from.read_to_end(Channel::Query.bytes_max()).await
    });
    let bytes = match read.await {
        Ok(Ok(bytes)) => Bytes::from(bytes),
        Ok(Err(ReadToEndError::TooLong)) => {
            shared.count(Channel::Query, |counts| counts.oversized += 1);
            return refuse(&mut to, &mut from, close::DROPPED);
        }
        Ok(Err(_)) => return,
        Err(_) => {
            shared.count(Channel::Query, |counts| counts.late += 1);
            return refuse(&mut to, &mut from, close::DROPPED);
        }
    };
    let length = bytes.len() as u64;
    let Some((asker, _)) = shared.lock().keeper.owner(token) else { return };
    let answered = shared.inlets.ask(asker, bytes);
    shared.count(Channel::Query, |counts| {
        counts.received += 1;
        counts.bytes_received += length;
        counts.untaken += u64::from(answered.is_none());
    });
    let Some(is_answered) = answered else { return refuse(&mut to, &mut from, close::DROPPED) };
    // The asker that gives up stops the stream: then nobody needs to work on.
    let gives_up = to.stopped();
    let answer = tokio::select! {
        biased;
        answer = is_answered => answer.ok(),
        _ = gives_up => return,
    };
    match answer {
        Some(bytes) if bytes.len() <= Channel::Query.bytes_max() => {
            if to.write_all_chunks(&mut [bytes]).await.is_ok() {
                let _ = to.finish();
            }
        }
        Some(_) => {
            shared.count(Channel::Query, |counts| counts.oversized += 1);
            let _ = to.reset(close::DROPPED);
        }
        None => {
            let _ = to.reset(close::DROPPED);
        }
    }
}
