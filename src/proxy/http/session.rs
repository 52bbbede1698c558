//! One client connection: heads are read one after the other, each begins an exchange, and in the end the connection is
//! closed so that the client still gets what was said last.

use std::cell::Cell;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::Poll;
use std::time::{Duration, Instant};

use tokio::io::{AsyncWrite, AsyncWriteExt};

use super::exchange::Next;
use super::h1::body::{Decoder, Encoder, Step};
use super::h1::head::{self, HeadScan, Scanned};
use super::h2;
use super::origin::Origin;
use super::picture::{AnswerHead, Method, Refusal, RequestHead};
use super::reply::{Own, Reply};
use super::routed::Routed;
use super::told::{self, Telling};
use crate::host;
use crate::proxy::access_log::{End, Note};
use crate::proxy::alarm::Alarm;
use crate::proxy::buffer::Size;
use crate::proxy::counts::bump;
use crate::proxy::drains::count_cut;
use crate::proxy::listen::Bound;
use crate::proxy::pump::Pump;
use crate::proxy::relay::{Limits, RelayEnd, relay};
use crate::proxy::settings::Http;
use crate::proxy::stream::{Abort, Leg, Stream};
use crate::proxy::worker::Worker;
use crate::view::Taken;

/// How long a client that was told the end may keep silent without ending its side before its connection is closed.
const LINGER_SILENCE_MAX: Duration = Duration::from_secs(5);
/// How long it may go on sending what nobody wants, so that it gets its answer and not a reset.
const LINGER_MAX: Duration = Duration::from_secs(30);
/// How long this peer tries to write an answer of its own.
pub(crate) const REPLY_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a connection that is fresh, or was just answered, may take to say what it wants once the peer drains.
const DRAIN_HEAD_TIMEOUT: Duration = Duration::from_secs(1);
/// Bytes of an unread body that are read and dropped to keep the connection (RFC 9112 section 9.3).
pub(crate) const DRAIN_BYTES_MAX: u64 = 64 * 1024;
/// How long that may take.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(1);

/// One client connection and the memory that its exchanges use one after the other.
pub(crate) struct Session<'a> {
    pub(crate) worker: &'a Rc<Worker>,
    pub(crate) bound: &'a Arc<Bound>,
    pub(crate) settings: &'a Http,
    pub(crate) origin: Origin,
    pub(crate) client: Leg<Stream>,
    pub(crate) alarm: Alarm,
    pub(crate) request: RequestHead,
    pub(crate) answer: AnswerHead,
    /// What routes say of the request.
    pub(crate) routed: Routed,
    pub(crate) upload: Pump,
    pub(crate) download: Pump,
    /// When the head of the request was whole.
    pub(crate) began: Instant,
    /// What the access log is to say of the exchange; `None`: nothing is logged.
    pub(crate) note: Option<Box<Note>>,
}

enum HeadRead {
    Request,
    /// The client speaks HTTP/2, without having asked.
    Http2,
    Refused(Refusal),
    Timeout,
    End,
}

/// Serves one client connection from its first byte to its last.
pub(crate) async fn serve(
    worker: &Rc<Worker>,
    bound: &Arc<Bound>,
    settings: &Http,
    stream: Stream,
    client: SocketAddr,
) {
    let mut origin = Origin::of(client, matches!(stream, Stream::Tls(_)), settings);
    origin.tls = told::tls_of(&stream);
    if matches!(&stream, Stream::Tls(tls) if tls.has_agreed_on(b"h2")) {
        return Box::pin(h2::serve(worker, bound, settings, (Leg::new(stream), origin))).await;
    }
    let mut session = Session::new(worker, bound, (settings, origin), Leg::new(stream));
    let mut is_first = true;
    loop {
        match session.read_head(is_first).await {
            HeadRead::Request => bump(&bound.counts.requests_total),
            HeadRead::Refused(refusal) => {
                bump(&bound.counts.requests_refused);
                session.request.method = Method::Get;
                session.routed = Routed::default();
                session.reply(refusal.into(), false).await;
                told::unread(&mut session);
                return session.close().await;
            }
            HeadRead::Timeout => {
                session.request.method = Method::Get;
                session.routed = Routed::default();
                session.reply(Reply::HEAD_TIMEOUT, false).await;
                told::unread(&mut session);
                return session.close().await;
            }
            HeadRead::Http2 => {
                let Session { client, origin, .. } = session;
                return Box::pin(h2::serve(worker, bound, settings, (client, origin))).await;
            }
            HeadRead::End => return session.client.io.say_end(),
        }
        is_first = false;
        match told::run(&mut session).await {
            Next::Request => session.rest(),
            Next::Close => return session.close().await,
            Next::Abort => return session.client.io.abort_on_close(),
            Next::Tunnel(node, taken) => return tunnel(session, *node, taken).await,
        }
    }
}

/// Relays what is spoken instead of HTTP, until it ends.
pub(super) async fn tunnel(mut session: Session<'_>, mut node: Leg<Stream>, taken: Taken) {
    let Session { worker, bound, settings, .. } = session;
    bump(&bound.counts.upgrades_total);
    let live = &taken.node().live.counts;
    let (bytes_up, bytes_down) = (Cell::new(0), Cell::new(0));
    let count_up = |bytes| {
        bytes_up.set(bytes_up.get() + bytes);
        bound.counts.bytes_received.fetch_add(bytes, Relaxed);
        live.bytes_sent.fetch_add(bytes, Relaxed);
    };
    let count_down = |bytes| {
        bytes_down.set(bytes_down.get() + bytes);
        bound.counts.bytes_sent.fetch_add(bytes, Relaxed);
        live.bytes_received.fetch_add(bytes, Relaxed);
    };
    let is_over = || worker.is_over(&taken.node().live);
    let limits = Limits { idle: settings.tunnel_idle_timeout, is_over: &is_over };
    let telling = Telling::begin(&mut session);
    let Session { client, alarm, .. } = &mut *telling.0;
    let ended = relay(client, &mut node, alarm, limits, &worker.stock, &count_up, &count_down).await;
    match ended {
        RelayEnd::Idle => bump(&bound.failures.timeouts_tunnel_idle),
        RelayEnd::Drained => count_cut(bound, &taken.node().live),
        RelayEnd::Closed | RelayEnd::Broken => {}
    }
    telling.0.note(|note| {
        (note.bytes_in, note.bytes_out, note.end) = (bytes_up.get(), bytes_down.get(), ended.into());
    });
    told::exchange_ended(telling.0);
}

impl<'a> Session<'a> {
    /// For a client of which no request was read yet.
    pub(super) fn new(
        worker: &'a Rc<Worker>,
        bound: &'a Arc<Bound>,
        (settings, origin): (&'a Http, Origin),
        client: Leg<Stream>,
    ) -> Self {
        let now = host::now();
        Self {
            worker,
            bound,
            settings,
            origin,
            client,
            alarm: Alarm::at(now + settings.head_timeout),
            request: RequestHead::default(),
            answer: AnswerHead::default(),
            routed: Routed::default(),
            upload: Pump::new(Decoder::Ended, Encoder::Plain),
            download: Pump::new(Decoder::Ended, Encoder::Plain),
            began: now,
            note: bound.log.as_ref().map(|_| Box::default()),
        }
    }

    /// Reads the next head. Between requests the connection is idle and ends soon once the peer drains.
    async fn read_head(&mut self, is_first: bool) -> HeadRead {
        let mut scan = HeadScan::default();
        let mut drained = pin!(self.worker.drain.notified());
        let waits_from = host::now();
        let idle = if is_first { self.settings.head_timeout } else { self.settings.keep_alive_timeout };
        let mut has_begun = is_first;
        let mut is_hurried = false;
        self.alarm.set(waits_from + idle);
        poll_fn(|cx| {
            loop {
                let input = &mut self.client.input;
                match head::leading_empty_lines(input.filled()) {
                    Ok(count) => input.consume(count),
                    Err(refusal) => return Poll::Ready(HeadRead::Refused(refusal)),
                }
                if !input.is_empty() {
                    if !has_begun {
                        has_begun = true;
                        self.alarm.set(host::now() + self.settings.head_timeout);
                    }
                    match scan.scan(input.filled()) {
                        Scanned::More => {}
                        Scanned::Whole(length) => {
                            let parsed =
                                head::request(&input.filled()[..length], self.origin.over_tls, &mut self.request);
                            // Prior knowledge (RFC 9113 section 3.3): over TLS the client would have asked for it.
                            if parsed.is_err()
                                && is_first
                                && self.settings.http2
                                && !self.origin.over_tls
                                && input.filled()[..length] == *h2::PREFACE_HEAD
                            {
                                return Poll::Ready(HeadRead::Http2);
                            }
                            input.consume(length);
                            return Poll::Ready(parsed.map_or_else(HeadRead::Refused, |()| HeadRead::Request));
                        }
                        Scanned::BareLineFeed => {
                            return Poll::Ready(HeadRead::Refused(Refusal::bad("a line ends with CR LF")));
                        }
                        Scanned::TooLong => {
                            return Poll::Ready(HeadRead::Refused(head::too_long(input.filled())));
                        }
                    }
                }
                if self.alarm.poll(cx).is_ready() {
                    let is_idle = self.client.input.is_empty();
                    let counts = &self.bound.failures;
                    match (is_idle, is_first) {
                        // Not the client was slow: the peer ends.
                        (true, _) if is_hurried => {}
                        (true, false) => bump(&counts.timeouts_keep_alive),
                        _ => bump(&counts.timeouts_head),
                    }
                    return Poll::Ready(if is_idle { HeadRead::End } else { HeadRead::Timeout });
                }
                match self.client.poll_fill(cx, &self.worker.stock) {
                    Poll::Ready(Ok(count)) if count > 0 => {}
                    Poll::Ready(Ok(_) | Err(_)) => {
                        if !self.client.input.is_empty() {
                            bump(&self.bound.failures.clients_gone);
                        }
                        return Poll::Ready(HeadRead::End);
                    }
                    Poll::Pending if !self.client.input.is_empty() || is_hurried => return Poll::Pending,
                    Poll::Pending => {
                        // Nothing has come: only now may a connection be taken for idle.
                        if !self.worker.is_draining() && drained.as_mut().poll(cx).is_pending() {
                            return Poll::Pending;
                        }
                        // Whoever has just come was accepted; and whoever was just answered was not told that this was the
                        // last answer. Both are served if they ask soon. One that has rested since then is let go.
                        is_hurried = true;
                        let since = if is_first { host::now() } else { waits_from };
                        self.alarm.bring_forward(since + DRAIN_HEAD_TIMEOUT);
                    }
                }
            }
        })
        .await
    }

    /// Whether the connection is kept for another request, as far as this peer has a say.
    pub(crate) fn keeps_connection(&self) -> bool {
        self.worker.keeps_connections() && !self.bound.is_retired()
    }

    /// Gives back memory that only a large exchange needed.
    fn rest(&mut self) {
        self.request.rest();
        self.answer.rest();
        self.upload.rest();
        self.download.rest();
    }

    /// Notes something for the access log, where there is one.
    pub(crate) fn note(&mut self, tell: impl FnOnce(&mut Note)) {
        if let Some(note) = &mut self.note {
            tell(note);
        }
    }

    /// Answers for this peer itself. False where the client is gone.
    pub(crate) async fn reply(&mut self, reply: Reply, persistent: bool) -> bool {
        self.answer_own(&Own::Reply(reply), persistent).await
    }

    /// The same with what a route has to say.
    pub(crate) async fn answer_own(&mut self, own: &Own<'_>, persistent: bool) -> bool {
        bump(&self.bound.counts.answers_own);
        let mut out = Vec::with_capacity(512);
        let Self { request, routed, bound, settings, origin, .. } = &*self;
        let page = own.with_page(&settings.error_pages);
        let own = page.as_ref().unwrap_or(own);
        let edits = routed.of_own_answer(bound, request, (settings, *origin));
        let written = |date: &str| own.write(request, persistent, (date, edits.as_ref()), &mut out);
        self.worker.with_date(host::now(), written);
        let is_told = self.write_out(&out).await;
        self.note(|note| {
            note.own(own.status(), own.reason(), told::body_bytes(&out));
            if !is_told {
                note.end = End::ClientGone;
            }
        });
        is_told
    }

    /// Writes a head of this peer's own. False where the client is gone.
    pub(crate) async fn write_out(&mut self, out: &[u8]) -> bool {
        let io = &mut self.client.io;
        let written = async {
            io.write_all(out).await?;
            io.flush().await
        };
        matches!(tokio::time::timeout(REPLY_TIMEOUT, written).await, Ok(Ok(())))
    }

    /// Reads and drops the rest of a body that nobody wants, if it is short. True where the connection can go on.
    pub(crate) async fn drain_body(&mut self, mut decoder: Decoder) -> bool {
        if decoder.remaining().is_some_and(|bytes| bytes > DRAIN_BYTES_MAX) {
            return false;
        }
        let Self { client, worker, .. } = self;
        let mut drained = 0;
        let mut trailers = Vec::new();
        let ended = poll_fn(|cx| {
            loop {
                match decoder.step(client.input.filled(), &mut trailers) {
                    Ok(Step::Data { skip, len }) => {
                        client.input.consume(skip + len);
                        drained += len as u64;
                        if drained > DRAIN_BYTES_MAX {
                            return Poll::Ready(false);
                        }
                    }
                    Ok(Step::End { skip }) => {
                        client.input.consume(skip);
                        return Poll::Ready(true);
                    }
                    Ok(Step::More { skip }) => {
                        client.input.consume(skip);
                        match client.poll_fill(cx, &worker.stock) {
                            Poll::Ready(Ok(count)) if count > 0 => {}
                            Poll::Ready(_) => return Poll::Ready(false),
                            Poll::Pending => return Poll::Pending,
                        }
                    }
                    Err(_) => return Poll::Ready(false),
                }
            }
        });
        tokio::time::timeout(DRAIN_TIMEOUT, ended).await.unwrap_or(false)
    }

    /// Closes so that the client gets all that was written: first this side, and what still comes is read and dropped,
    /// or the kernel would answer it with a reset that overtakes the answer (RFC 9112 section 9.6). Bounded by time and not by
    /// bytes: an upload that was answered early is as long as it is.
    pub(crate) async fn close(&mut self) {
        let Self { client, worker, alarm, .. } = self;
        if poll_fn(|cx| Pin::new(&mut client.io).poll_shutdown(cx)).await.is_err() {
            return;
        }
        let began = host::now();
        alarm.set(began + LINGER_SILENCE_MAX);
        poll_fn(|cx| {
            loop {
                let was_full = client.input.is_full();
                let count = client.input.len();
                client.input.consume(count);
                if was_full {
                    client.input.resize(Size::Large, &worker.stock);
                }
                let is_silent = match client.poll_fill(cx, &worker.stock) {
                    Poll::Ready(Ok(1..)) => false,
                    Poll::Ready(_) => return Poll::Ready(()),
                    Poll::Pending => true,
                };
                if !is_silent {
                    alarm.set((host::now() + LINGER_SILENCE_MAX).min(began + LINGER_MAX));
                }
                if alarm.poll(cx).is_ready() {
                    return Poll::Ready(());
                }
                if is_silent {
                    return Poll::Pending;
                }
            }
        })
        .await;
    }
}
