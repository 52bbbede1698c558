//! The first half of an exchange: the request goes to a node, and the head of the answer is awaited.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::io::AsyncWrite;

use super::exchange::{Conversation, Replay};
use super::fields::Known;
use super::forward;
use super::h1::body::{BodyFault, Decoder};
use super::h1::head::{self, HeadScan, Scanned};
use super::picture::Length;
use super::reply::Reply;
use super::retry::Failure;
use super::session::Session;
use crate::host;
use crate::model::limits::{INTERIM_ANSWERS_MAX, REPLAY_BYTES_MAX};
use crate::proxy::counts::bump;
use crate::proxy::drains::count_cut;
use crate::proxy::presence::{HALF_CLOSED_TIMEOUT, LOOK_INTERVAL, Presence};
use crate::proxy::pump::{PumpError, Side};

/// How sending a request ended.
pub(crate) enum Sent {
    /// The head of a final answer is there.
    Answered,
    /// The node agreed to change the protocol.
    Switched,
    /// There is none, and perhaps another node may be asked.
    Failed(Failure, Reply),
    /// The client's body is malformed, or too slow; the reply says which.
    ClientFault(Reply),
    /// Nobody is there to be answered.
    ClientGone,
}

/// Sends the request and reads up to the head of the final answer, which is in `session.answer` then.
pub(crate) async fn send(session: &mut Session<'_>, conversation: &mut Conversation, replay: Replay) -> Sent {
    begin_upload(session, conversation, replay);
    bump(&conversation.taken.node().live.counts.requests);
    let started = host::now();
    let mut sending = Sending {
        response_timeout: conversation.taken.pool().pool.response_timeout,
        clock: BodyClock {
            rate_from: started,
            held_up_since: None,
            continue_by: session
                .request
                .expects_continue
                .then(|| started + conversation.taken.pool().pool.response_timeout),
            progressed: started,
            looked: started,
            progress: 0,
        },
        upload: Upload::Running,
        scan: HeadScan::default(),
        has_heard: false,
        interim: Vec::new(),
        interim_count: 0,
        client_ended: false,
        session,
        conversation,
    };
    let mut sent = poll_fn(|cx| sending.poll(cx)).await;
    if !sending.interim.is_empty() && !matches!(sent, Sent::Answered | Sent::Switched) {
        // Half of an interim answer is with the client: nothing that follows could be told from it.
        sent = Sent::ClientGone;
    }
    sending.settle(&sent);
    sent
}

/// Fills the upload with the head for this node, and what of the body was kept.
fn begin_upload(session: &mut Session<'_>, conversation: &Conversation, replay: Replay) {
    let Session { upload, request, origin, settings, routed, bound, .. } = session;
    let encoder = forward::request_encoder(request);
    let edits = routed.of_request(bound, request);
    let target = routed.target(request);
    let (kept, decoder) = match replay {
        Replay::Whole | Replay::Lost => (None, Decoder::new(request.length)),
        Replay::Kept(kept, decoder) => (Some(kept), decoder),
    };
    upload.restart(decoder, encoder, |out| {
        forward::head_to_node(request, (*origin, settings), &conversation.taken, (target, edits.as_ref()), out);
        if let Some(kept) = kept.as_deref().filter(|kept| !kept.is_empty()) {
            encoder.before(kept.len(), out);
            out.extend_from_slice(kept);
            encoder.after(out);
        }
    });
    if edits.is_some() || routed.is_checked {
        upload.drop_trailers();
    }
    match kept {
        Some(kept) => upload.keep_body_after(kept),
        None if request.length != Length::None && (request.method.is_idempotent() || routed.is_mirrored) => {
            upload.keep_body();
        }
        None => {}
    }
}

/// The deadlines of a body that a client sends.
struct BodyClock {
    /// When its rate began to count.
    rate_from: Instant,
    /// Since when the node, and not the client, holds it up.
    held_up_since: Option<Instant>,
    /// By when the node must have said 100, while the client waits for that.
    continue_by: Option<Instant>,
    progressed: Instant,
    /// When the client was last looked at while the node took nothing.
    looked: Instant,
    progress: u64,
}

impl BodyClock {
    fn idle_deadline(&self, session: &Session<'_>) -> Instant {
        self.progressed + session.settings.stream_idle_timeout
    }

    /// By when the next byte is due at `body_rate_min`; `None` where any rate will do.
    fn rate_deadline(&self, session: &Session<'_>) -> Option<Instant> {
        let bytes_per_s = u64::from(session.settings.body_rate_min);
        let earned_ms = session.upload.bytes_moved().saturating_mul(1_000).checked_div(bytes_per_s)?;
        Some(self.rate_from + session.settings.body_rate_grace + Duration::from_millis(earned_ms))
    }

    /// Bytes moved, or another side holds the body up. Time that the node takes is not the client's.
    fn moved(&mut self, progress: u64, waits_for: Side, now: Instant) {
        if progress != self.progress {
            self.progress = progress;
            self.progressed = now;
        }
        if let Some(since) = self.held_up_since.take() {
            self.rate_from += now.saturating_duration_since(since);
        }
        self.held_up_since = (waits_for == Side::Sink).then_some(now);
    }

    fn deadline(&self, session: &Session<'_>) -> Instant {
        let idle = self.idle_deadline(session);
        match session.upload.waits_for() {
            Side::Source if self.continue_by.is_some() => self.continue_by.unwrap_or(idle),
            Side::Source => self.rate_deadline(session).map_or(idle, |rate| rate.min(idle)),
            Side::Sink => idle.min(self.progressed.max(self.looked) + LOOK_INTERVAL),
        }
    }
}

enum Upload {
    Running,
    /// All of the request was written, at this time.
    Ended(Instant),
    /// The node takes no more of it, and may have answered all the same.
    Broken,
}

struct Sending<'s, 'a> {
    session: &'s mut Session<'a>,
    conversation: &'s mut Conversation,
    response_timeout: Duration,
    clock: BodyClock,
    upload: Upload,
    scan: HeadScan,
    /// Something came from the node.
    has_heard: bool,
    /// Interim answers on their way to the client.
    interim: Vec<u8>,
    interim_count: usize,
    client_ended: bool,
}

impl Sending<'_, '_> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Sent> {
        if self.session.worker.is_over(&self.conversation.taken.node().live) {
            count_cut(self.session.bound, &self.conversation.taken.node().live);
            return Poll::Ready(Sent::Failed(Failure::Drained, Reply::DRAINED));
        }
        loop {
            if let Some(sent) = self.poll_upload(cx).or_else(|| self.poll_answer(cx)).or_else(|| self.poll_client(cx)) {
                return Poll::Ready(sent);
            }
            if self.session.alarm.poll(cx).is_pending() {
                return Poll::Pending;
            }
            if let Some(sent) = self.time_is_over() {
                return Poll::Ready(sent);
            }
        }
    }

    fn poll_upload(&mut self, cx: &mut Context<'_>) -> Option<Sent> {
        if !matches!(self.upload, Upload::Running) {
            return None;
        }
        let Session { upload, client, worker, alarm, .. } = &mut *self.session;
        match upload.poll(cx, client, &mut self.conversation.leg.io, &worker.stock, REPLAY_BYTES_MAX) {
            Poll::Ready(Ok(())) => {
                let now = host::now();
                alarm.set(now + self.response_timeout);
                self.upload = Upload::Ended(now);
            }
            Poll::Ready(Err(PumpError::Write(_))) => {
                alarm.set(host::now() + self.response_timeout);
                self.upload = Upload::Broken;
                self.conversation.upload_broken = true;
            }
            Poll::Ready(Err(PumpError::Read(_) | PumpError::Pack(_) | PumpError::Body(BodyFault::Cut))) => {
                return Some(Sent::ClientGone);
            }
            Poll::Ready(Err(PumpError::Body(fault))) => {
                tracing::debug!(client = %self.session.origin.client, %fault, "a request body was refused");
                bump(&self.session.bound.counts.requests_refused);
                return Some(Sent::ClientFault(Reply::BODY_MALFORMED));
            }
            Poll::Pending => {
                let waits_for = upload.waits_for();
                if !upload.is_unread() {
                    self.clock.continue_by = None;
                }
                let progress = upload.progress();
                if progress != self.clock.progress || (waits_for == Side::Sink) != self.clock.held_up_since.is_some() {
                    self.clock.moved(progress, waits_for, host::now());
                }
                let deadline = self.clock.deadline(self.session);
                self.session.alarm.set(deadline);
            }
        }
        None
    }

    fn poll_answer(&mut self, cx: &mut Context<'_>) -> Option<Sent> {
        loop {
            while !self.interim.is_empty() {
                match Pin::new(&mut self.session.client.io).poll_write(cx, &self.interim) {
                    Poll::Ready(Ok(count)) => drop(self.interim.drain(..count)),
                    Poll::Ready(Err(_)) => return Some(Sent::ClientGone),
                    // What the node says next waits until the client took what it said before.
                    Poll::Pending => return None,
                }
            }
            let leg = &mut self.conversation.leg;
            if !leg.input.filled().starts_with(&b"HTTP/1."[..leg.input.len().min(7)]) {
                return Some(self.malformed("no HTTP/1 answer"));
            }
            match self.scan.scan(leg.input.filled()) {
                Scanned::Whole(length) => {
                    let head = &leg.input.filled()[..length];
                    if let Err(fault) = head::answer(head, &self.session.request, &mut self.session.answer) {
                        return Some(self.malformed(fault.0));
                    }
                    leg.input.consume(length);
                    self.scan = HeadScan::default();
                    match self.session.answer.status {
                        101 => return Some(self.switched()),
                        100..=199 => {
                            self.interim_count += 1;
                            if self.interim_count > INTERIM_ANSWERS_MAX {
                                return Some(self.malformed("too many interim answers"));
                            }
                            self.pass_on_interim();
                        }
                        _ => return Some(Sent::Answered),
                    }
                }
                Scanned::More => match leg.poll_fill(cx, &self.session.worker.stock) {
                    Poll::Ready(Ok(count)) if count > 0 => self.has_heard = true,
                    Poll::Ready(Ok(_) | Err(_)) => return Some(self.broken()),
                    Poll::Pending => return None,
                },
                Scanned::BareLineFeed => return Some(self.malformed("a line without CR LF")),
                Scanned::TooLong => return Some(self.malformed("the head is too long")),
            }
        }
    }

    fn pass_on_interim(&mut self) {
        if self.session.answer.status == 100 {
            // From here on the client is to send.
            let now = host::now();
            self.clock.rate_from = now;
            self.clock.progressed = now;
            self.clock.continue_by = None;
            let deadline = self.clock.deadline(self.session);
            if matches!(self.upload, Upload::Running) {
                self.session.alarm.set(deadline);
            }
            if !self.session.request.expects_continue {
                return;
            }
        }
        if !self.session.request.is_http10 {
            forward::interim_head(&self.session.answer, &mut self.interim);
        }
    }

    /// A 101 counts only where the client offered what the node chose, and nothing of the request is on its way.
    fn switched(&self) -> Sent {
        let Session { request, answer, .. } = &*self.session;
        let chosen = answer.fields.values(Known::Upgrade).next();
        let is_offered = chosen.is_some_and(|chosen| {
            super::fields::list(request.fields.values(Known::Upgrade)).any(|offer| offer.eq_ignore_ascii_case(chosen))
        });
        if request.upgrade && is_offered && matches!(self.upload, Upload::Ended(_)) {
            Sent::Switched
        } else {
            self.malformed("a change of protocol that nobody asked for")
        }
    }

    fn poll_client(&mut self, cx: &mut Context<'_>) -> Option<Sent> {
        if self.session.client.io.poll_given_up(cx).is_ready() {
            return Some(Sent::ClientGone);
        }
        // While the upload runs, the client's bytes are the node's to wait for: see `client_left`.
        if matches!(self.upload, Upload::Running) || self.client_ended {
            return None;
        }
        match self.session.client.poll_presence(cx, &self.session.worker.stock) {
            Presence::Here => {}
            Presence::Gone => return Some(Sent::ClientGone),
            Presence::Ended => {
                self.client_ended = true;
                self.session.alarm.bring_forward(host::now() + HALF_CLOSED_TIMEOUT);
            }
        }
        None
    }

    /// Whether the client left while the node took nothing of its body.
    fn client_left(&mut self, now: Instant) -> bool {
        self.clock.looked = now;
        match self.session.client.presence() {
            Presence::Here => false,
            Presence::Gone => true,
            Presence::Ended => now >= self.clock.progressed + HALF_CLOSED_TIMEOUT,
        }
    }

    /// The alarm rang: for whom. `None` where it is set anew.
    fn time_is_over(&mut self) -> Option<Sent> {
        if self.client_ended || !self.interim.is_empty() {
            return Some(Sent::ClientGone);
        }
        let counts = &self.session.bound.failures;
        if !matches!(self.upload, Upload::Running) {
            let live = &self.conversation.taken.node().live;
            bump(&counts.timeouts_response);
            bump(&live.counts.timeouts);
            // A node that never answers must not look like one that was never measured.
            live.note_response_time(self.response_timeout);
            return Some(Sent::Failed(Failure::Timeout, Reply::TIMEOUT));
        }
        let now = host::now();
        let waits_for = self.session.upload.waits_for();
        if waits_for == Side::Sink && self.client_left(now) {
            return Some(Sent::ClientGone);
        }
        match waits_for {
            Side::Source if self.clock.continue_by.is_some_and(|deadline| now >= deadline) => {
                bump(&counts.timeouts_response);
                bump(&self.conversation.taken.node().live.counts.timeouts);
                Some(Sent::Failed(Failure::Timeout, Reply::TIMEOUT))
            }
            Side::Source if self.clock.rate_deadline(self.session).is_some_and(|deadline| now >= deadline) => {
                bump(&counts.timeouts_body_rate);
                Some(Sent::ClientFault(Reply::BODY_TIMEOUT))
            }
            Side::Source if now >= self.clock.idle_deadline(self.session) => {
                bump(&counts.timeouts_stream_idle);
                Some(Sent::ClientFault(Reply::BODY_TIMEOUT))
            }
            Side::Sink if now >= self.clock.idle_deadline(self.session) => {
                bump(&counts.timeouts_stream_idle);
                bump(&self.conversation.taken.node().live.counts.timeouts);
                Some(Sent::Failed(Failure::Timeout, Reply::TIMEOUT))
            }
            _ => {
                let deadline = self.clock.deadline(self.session);
                self.session.alarm.set(deadline);
                None
            }
        }
    }

    fn broken(&self) -> Sent {
        if self.conversation.is_reused && !self.has_heard {
            Sent::Failed(Failure::StaleConnection, Reply::BROKEN)
        } else {
            Sent::Failed(Failure::Broken, Reply::BROKEN)
        }
    }

    fn malformed(&self, what: &'static str) -> Sent {
        bump(&self.session.bound.failures.answers_malformed);
        tracing::debug!(node = %self.conversation.taken.node().node.id, what, "an answer was refused");
        Sent::Failed(Failure::Malformed, Reply::MALFORMED)
    }

    /// Notes what this says of the node and of the client.
    fn settle(&mut self, sent: &Sent) {
        let node = self.conversation.taken.node();
        if self.client_ended {
            self.session.request.persistent = false;
        }
        match (sent, &self.upload) {
            (Sent::Answered, Upload::Ended(ended)) => {
                node.live.note_response_time(host::now().saturating_duration_since(*ended));
            }
            (Sent::Failed(Failure::StaleConnection | Failure::Drained, _), _) => {}
            (Sent::Failed(failure, _), _) => {
                bump(&node.live.counts.exchange_failures);
                // A connection that stood and broke is no proof, or one bad request could take every node out: a probe decides.
                if *failure == Failure::Broken && !self.has_heard {
                    self.session.worker.ask_for_probe(node);
                }
            }
            _ => {}
        }
    }
}
