//! One connection of a client that speaks HTTP/2: its streams are exchanges that run at the same time, and in the end the client
//! is told which of them were served.

use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use ::http::{Method, Request};
use bytes::Bytes;
use h2::server::{Builder, Connection, SendResponse};
use h2::{Reason, RecvStream};
use tokio::sync::futures::Notified;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::head;
use super::stream::ClientStream;
use super::websocket::Handshake;
use super::wire::{Sight, Wire};
use crate::host;
use crate::model::limits::{
    H2_CONNECTION_WINDOW_BYTES, H2_RESETS_PENDING_MAX, H2_SEND_BUFFER_BYTES, H2_STREAM_WINDOW_BYTES, H2_STREAMS_MAX,
    HEAD_BYTES_MAX,
};
use crate::proxy::alarm::Alarm;
use crate::proxy::counts::bump;
use crate::proxy::http::exchange::Next;
use crate::proxy::http::origin::Origin;
use crate::proxy::http::picture::RequestHead;
use crate::proxy::http::session::{Session, tunnel};
use crate::proxy::http::told;
use crate::proxy::listen::Bound;
use crate::proxy::settings::{Http, Protocol};
use crate::proxy::stream::{Abort, Leg, Stream};
use crate::proxy::worker::Worker;

/// What the preface looks like to who reads HTTP/1.1 (RFC 9113 section 3.4).
pub(crate) const PREFACE_HEAD: &[u8] = b"PRI * HTTP/2.0\r\n\r\n";

/// How long a client that was told the end, and has no stream any more, may keep its connection.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(1);
/// How long exchanges whose connection is gone may take to notice.
const WIND_UP_TIMEOUT: Duration = Duration::from_secs(1);

/// Serves one client connection from its preface on. What was read of it is in `client`.
pub(crate) async fn serve(
    worker: &Rc<Worker>,
    bound: &Arc<Bound>,
    settings: &Http,
    (client, origin): (Leg<Stream>, Origin),
) {
    bump(&bound.counts.http2_connections_total);
    let sight = Rc::new(Sight::default());
    let wire = Wire::new(client, Rc::clone(&sight));
    let connection = match timeout(settings.head_timeout, builder().handshake(wire)).await {
        Ok(Ok(connection)) => connection,
        Ok(Err(error)) => return note_end(bound, origin.client, &error),
        Err(_) => return bump(&bound.failures.timeouts_head),
    };
    let mut serving = Serving {
        worker,
        bound,
        settings,
        origin,
        sight,
        connection,
        exchanges: JoinSet::new(),
        has_asked: false,
        last_words: None,
        quiet_since: host::now(),
        bytes_written: 0,
        alarm: Alarm::at(host::now() + settings.head_timeout),
    };
    let drained = pin!(worker.drain.notified());
    let ended = serving.run(drained).await;
    let Serving { connection, mut exchanges, .. } = serving;
    if let Err(error) = ended {
        note_end(bound, origin.client, &error);
    }
    // Its streams are over with it: each exchange finds that out as soon as it looks.
    drop(connection);
    let wound_up = async { while exchanges.join_next().await.is_some() {} };
    // What does not look, since it waits for a node, is dropped with the set.
    let _ = timeout(WIND_UP_TIMEOUT, wound_up).await;
}

#[expect(clippy::cast_possible_truncation, reason = "heads are bounded by far less than 4 GiB")]
fn builder() -> Builder {
    let mut builder = Builder::new();
    builder
        .max_concurrent_streams(H2_STREAMS_MAX)
        .initial_window_size(H2_STREAM_WINDOW_BYTES)
        .initial_connection_window_size(H2_CONNECTION_WINDOW_BYTES)
        .max_header_list_size(HEAD_BYTES_MAX as u32)
        .max_pending_accept_reset_streams(H2_RESETS_PENDING_MAX)
        .max_send_buffer_size(H2_SEND_BUFFER_BYTES)
        .enable_connect_protocol();
    builder
}

/// Counts a connection that did not end well.
fn note_end(bound: &Bound, client: SocketAddr, error: &h2::Error) {
    // Who went away in silence is counted by the exchanges that it left.
    if error.is_io() || error.is_remote() {
        return;
    }
    let is_flood = error.reason() == Some(Reason::ENHANCE_YOUR_CALM);
    let failures = &bound.failures;
    bump(if is_flood { &failures.http2_floods } else { &failures.http2_faults });
    tracing::debug!(%client, listener = %bound.listener.name, %error, "a connection of HTTP/2 was ended");
}

struct Serving<'a> {
    worker: &'a Rc<Worker>,
    bound: &'a Arc<Bound>,
    settings: &'a Http,
    origin: Origin,
    sight: Rc<Sight>,
    connection: Connection<Wire, Bytes>,
    exchanges: JoinSet<()>,
    /// A stream was begun.
    has_asked: bool,
    last_words: Option<LastWords>,
    /// Since when there is no exchange, and nothing was written.
    quiet_since: Instant,
    bytes_written: u64,
    alarm: Alarm,
}

/// How far the end of a connection has come.
#[derive(Clone, Copy, Eq, PartialEq)]
enum LastWords {
    /// The client was told, and what it has begun goes on.
    GoingAway,
    /// Nothing goes on; what was written goes out, if the client takes it.
    Cut,
}

impl Serving<'_> {
    async fn run(&mut self, mut drained: Pin<&mut Notified<'_>>) -> Result<(), h2::Error> {
        poll_fn(|cx| {
            if self.last_words.is_none() {
                let is_told = drained.as_mut().poll(cx).is_ready() || self.worker.is_draining();
                if is_told || self.bound.is_retired() {
                    self.go_away();
                }
            }
            self.poll(cx)
        })
        .await
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), h2::Error>> {
        loop {
            let had_exchanges = !self.exchanges.is_empty();
            while let Poll::Ready(accepted) = self.connection.poll_accept(cx) {
                match accepted {
                    Some(Ok((request, respond))) => self.begin(request, respond),
                    Some(Err(error)) => return Poll::Ready(Err(error)),
                    None => return Poll::Ready(Ok(())),
                }
            }
            // Behind what was just begun: a set that is empty wakes nobody.
            while let Poll::Ready(Some(ended)) = self.exchanges.poll_join_next(cx) {
                // Those that were aborted are none of interest.
                if let Err(error) = ended
                    && error.is_panic()
                {
                    tracing::error!(%error, "an exchange failed");
                }
            }
            if self.sight.is_flooding() && self.last_words != Some(LastWords::Cut) {
                bump(&self.bound.failures.http2_floods);
                self.cut(Reason::ENHANCE_YOUR_CALM);
                continue;
            }
            if !self.exchanges.is_empty() && self.last_words != Some(LastWords::Cut) {
                return Poll::Pending;
            }
            if had_exchanges || self.bytes_written != self.sight.bytes_written() {
                self.bytes_written = self.sight.bytes_written();
                self.quiet_since = host::now();
            }
            self.alarm.set(self.deadline());
            if self.alarm.poll(cx).is_pending() {
                return Poll::Pending;
            }
            if self.rings() {
                return Poll::Ready(Ok(()));
            }
        }
    }

    /// By when something must happen while there is no exchange.
    fn deadline(&self) -> Instant {
        let timeout = match self.last_words {
            Some(LastWords::Cut) => LEAVE_TIMEOUT,
            // What was answered is still on its way to the client.
            _ if self.connection.has_streams() => self.settings.stream_idle_timeout,
            Some(LastWords::GoingAway) => LEAVE_TIMEOUT,
            None if self.has_asked => self.settings.keep_alive_timeout,
            None => self.settings.head_timeout,
        };
        self.quiet_since + timeout
    }

    /// The time is over. True where the connection is too.
    fn rings(&mut self) -> bool {
        let failures = &self.bound.failures;
        let is_stuck = self.connection.has_streams();
        match self.last_words {
            Some(LastWords::Cut) => return true,
            _ if is_stuck => {
                bump(&failures.timeouts_stream_idle);
                self.cut(Reason::NO_ERROR);
            }
            Some(LastWords::GoingAway) => self.cut(Reason::NO_ERROR),
            None => {
                bump(if self.has_asked { &failures.timeouts_keep_alive } else { &failures.timeouts_head });
                self.go_away();
            }
        }
        self.quiet_since = host::now();
        false
    }

    /// Tells the client that it gets no more streams here, after those that are on their way.
    fn go_away(&mut self) {
        self.connection.graceful_shutdown();
        self.last_words = Some(LastWords::GoingAway);
    }

    fn cut(&mut self, reason: Reason) {
        self.connection.abrupt_shutdown(reason);
        self.exchanges.abort_all();
        self.last_words = Some(LastWords::Cut);
        self.quiet_since = host::now();
    }

    fn begin(&mut self, request: Request<RecvStream>, respond: SendResponse<Bytes>) {
        self.has_asked = true;
        if self.last_words.is_none() && !self.worker.keeps_connections() {
            self.go_away();
        }
        let (worker, bound, origin) = (Rc::clone(self.worker), Arc::clone(self.bound), self.origin);
        // Boxed here: on its way into a task a future is moved several times, and this is one of several KiB.
        self.exchanges.spawn_local(Box::pin(async move { exchange(&worker, &bound, origin, request, respond).await }));
    }
}

/// Carries out the exchange of one stream.
async fn exchange(
    worker: &Rc<Worker>,
    bound: &Arc<Bound>,
    origin: Origin,
    request: Request<RecvStream>,
    respond: SendResponse<Bytes>,
) {
    let Protocol::Http(settings) = &bound.listener.protocol else { return };
    let _enlisted = worker.enlist().await;
    let (parts, body) = request.into_parts();
    let has_ended = body.is_end_stream();
    let mut stream = ClientStream::new(body, respond, parts.method == Method::HEAD);
    let mut head = RequestHead::default();
    let handshake = || Handshake::new(&mut worker.dice.borrow_mut());
    let taken = head::take(&parts, has_ended, handshake, &mut head);
    drop(parts);
    let taken = taken.map(|handshake| stream.expect(head.length, handshake));
    let client = Leg::new(Stream::Http2(Box::new(stream)));
    let mut session = Session { request: head, ..Session::new(worker, bound, (settings, origin), client) };
    if let Err(refusal) = taken {
        bump(&bound.counts.requests_refused);
        session.reply(refusal.into(), false).await;
        told::unread(&mut session);
        return;
    }
    bump(&bound.counts.requests_total);
    match told::run(&mut session).await {
        // An answer that is not whole resets the stream as it is dropped.
        Next::Request | Next::Close => {}
        Next::Abort => session.client.io.abort_on_close(),
        Next::Tunnel(node, taken) => tunnel(session, *node, taken).await,
    }
}
