//! The second half of an exchange: a node's answer goes to the client, while the rest of the request may still go the
//! other way.

use std::future::poll_fn;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll};
use std::time::Instant;

use super::compress::{self, Codec};
use super::exchange::{Conversation, Next};
use super::forward::{self, AnswerPlan};
use super::h1::body::{BodyFault, Decoder, Encoder};
use super::picture::Length;
use super::reply::Reply;
use super::session::Session;
use crate::host;
use crate::proxy::access_log::End;
use crate::proxy::counts::bump;
use crate::proxy::drains::count_cut;
use crate::proxy::idle::NodeConnection;
use crate::proxy::presence::{HALF_CLOSED_TIMEOUT, LOOK_INTERVAL, Presence};
use crate::proxy::pump::{PumpError, Side};
use crate::proxy::stream::Abort;
use crate::view::Taken;

/// How passing an answer on ended.
enum Passed {
    Whole,
    /// The node broke off in the middle, or what came is no body.
    Cut(PumpError),
    /// The client took no more.
    ClientGone,
    /// Neither side moved.
    Idle,
    /// The node was drained, and its time is over.
    Drained,
}

impl Passed {
    /// As the access log has it.
    fn end(&self) -> End {
        match self {
            Self::Whole => End::Whole,
            Self::Cut(_) => End::NodeCut,
            Self::ClientGone => End::ClientGone,
            Self::Idle => End::Idle,
            Self::Drained => End::Drained,
        }
    }
}

/// Passes on the answer whose head is in `session.answer`.
pub(crate) async fn pass_on(session: &mut Session<'_>, mut conversation: Conversation) -> Next {
    let upload_open = !session.upload.is_done();
    // A client that waits for 100 and gets another answer may send its body or not.
    let may_persist =
        session.request.persistent && session.keeps_connection() && !(upload_open && session.request.expects_continue);
    let decoder = Decoder::new(session.answer.length);
    let codec = dress(session);
    let plan = AnswerPlan::of(&session.request, &session.answer, may_persist);
    let now = host::now();
    {
        let Session { download, request, answer, worker, routed, bound, .. } = session;
        let edits = routed.of_answer(bound, request);
        download.restart(decoder, plan.encoder, |out| {
            worker.with_date(now, |date| forward::answer_head(request, answer, plan, (date, edits.as_ref()), out));
        });
        codec.into_iter().for_each(|codec| download.pack(codec));
    }
    // A client that was told a length, or reads chunks, sees by itself when the end is missing.
    let cut_shows = plan.encoder == Encoder::Chunked || matches!(session.answer.length, Length::Counted(_));
    let (passed, ended, client_ended) = {
        let mut passing = Passing {
            session,
            conversation: &mut conversation,
            progress: 0,
            progressed: now,
            looked: now,
            client_ended: false,
            must_reset: !cut_shows,
        };
        (passing.run().await, passing.progressed, passing.client_ended)
    };
    count(session, &conversation.taken);
    count_bytes(session, &conversation.taken);
    session.request.persistent &= !client_ended;
    session.note(|note| note.end = passed.end());
    match passed {
        Passed::Whole => end(session, conversation, plan, ended).await,
        Passed::Cut(error) => {
            let is_malformed = matches!(error, PumpError::Body(fault) if fault != BodyFault::Cut);
            let counts = &session.bound.failures;
            bump(if is_malformed { &counts.answers_malformed } else { &counts.answers_cut });
            bump(&conversation.taken.node().live.counts.exchange_failures);
            tracing::debug!(node = %conversation.taken.node().node.id, %error, "an answer broke off");
            if session.download.bytes_written() == 0 {
                session.reply(if is_malformed { Reply::MALFORMED } else { Reply::BROKEN }, false).await;
                return Next::Close;
            }
            if cut_shows { Next::Close } else { Next::Abort }
        }
        Passed::ClientGone => {
            bump(&session.bound.failures.clients_gone);
            Next::Abort
        }
        Passed::Drained => {
            count_cut(session.bound, &conversation.taken.node().live);
            if session.download.bytes_written() == 0 {
                session.reply(Reply::DRAINED, false).await;
                return Next::Close;
            }
            if cut_shows { Next::Close } else { Next::Abort }
        }
        Passed::Idle => {
            bump(&session.bound.failures.timeouts_stream_idle);
            Next::Abort
        }
    }
}

/// Makes the head of an answer what this listener makes of it, and gives what compresses its body.
pub(super) fn dress(session: &mut Session<'_>) -> Option<Codec> {
    let Session { settings, worker, request, answer, routed, origin, .. } = session;
    for (name, value) in routed.security_headers(settings).fields(origin.over_tls) {
        if answer.fields.value_of(name.as_bytes()).is_none() {
            answer.fields.push(name.as_bytes(), value.as_bytes());
        }
    }
    let compression = settings.compression.as_ref()?;
    let said = routed.decision.routes().filter_map(|route| route.then.compression).last();
    if said == Some(false) { None } else { compress::begin(compression, worker, request, answer) }
}

/// Keeps both connections where both can go on.
async fn end(session: &mut Session<'_>, conversation: Conversation, plan: AnswerPlan, ended: Instant) -> Next {
    let upload_done = session.upload.is_done();
    let Conversation { mut leg, address, opened, taken, tls, .. } = conversation;
    leg.input.release(&session.worker.stock);
    // Bytes behind an answer belong to no request: whatever they are, nobody else may get them.
    if upload_done && session.answer.persistent && leg.input.is_empty() {
        let connection = NodeConnection { stream: leg.io, address, opened, tls };
        session.worker.keep_idle(&taken.node().live, connection, ended);
    }
    drop(taken);
    if !plan.persistent || !session.request.persistent {
        return Next::Close;
    }
    if upload_done {
        return Next::Request;
    }
    // The answer came before the body was all sent, and the body is of no more use.
    let Session { upload, client, .. } = session;
    let decoder = upload.abandon(client);
    if session.drain_body(decoder).await { Next::Request } else { Next::Close }
}

/// Tells the client that the protocol changes.
pub(crate) async fn switch(session: &mut Session<'_>, conversation: Conversation) -> Next {
    let mut out = Vec::with_capacity(256);
    let edits = session.routed.of_answer(session.bound, &session.request);
    forward::switching_head(&session.answer, edits.as_ref(), &mut out);
    count(session, &conversation.taken);
    session.note(|note| note.answered(101));
    if !session.write_out(&out).await {
        bump(&session.bound.failures.clients_gone);
        session.note(|note| note.end = End::ClientGone);
        return Next::Abort;
    }
    Next::Tunnel(Box::new(conversation.leg), conversation.taken)
}

/// Counts an answer by its class.
pub(crate) fn count(session: &Session<'_>, taken: &Taken) {
    let class = usize::from(session.answer.status / 100).clamp(1, 5) - 1;
    bump(&taken.node().live.counts.answers[class]);
}

fn count_bytes(session: &Session<'_>, taken: &Taken) {
    let (up, down) = (session.upload.bytes_moved(), session.download.bytes_moved());
    let passed = session.download.bytes_passed();
    let live = &taken.node().live.counts;
    let listener = &session.bound.counts;
    if up > 0 {
        live.bytes_sent.fetch_add(up, Relaxed);
        listener.bytes_received.fetch_add(up, Relaxed);
    }
    if down > 0 {
        live.bytes_received.fetch_add(down, Relaxed);
        listener.bytes_sent.fetch_add(passed, Relaxed);
    }
}

struct Passing<'s, 'a> {
    session: &'s mut Session<'a>,
    conversation: &'s mut Conversation,
    progress: u64,
    progressed: Instant,
    /// When the client was last looked at while the node took nothing of its body.
    looked: Instant,
    client_ended: bool,
    /// Whether the client must be told by a reset should this be dropped in the middle: the peer ends, and its tasks with it.
    must_reset: bool,
}

impl Drop for Passing<'_, '_> {
    fn drop(&mut self) {
        if self.must_reset {
            self.session.client.io.abort_on_close();
        }
    }
}

impl Passing<'_, '_> {
    async fn run(&mut self) -> Passed {
        let passed = poll_fn(|cx| self.poll(cx)).await;
        self.must_reset = false;
        passed
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Passed> {
        if self.session.worker.is_over(&self.conversation.taken.node().live) {
            return Poll::Ready(Passed::Drained);
        }
        let Session { upload, download, client, worker, .. } = &mut *self.session;
        let leg = &mut self.conversation.leg;
        if !upload.is_done() && !self.conversation.upload_broken {
            match upload.poll(cx, client, &mut leg.io, &worker.stock, 0) {
                // A node that has answered may stop reading; its answer counts all the same.
                Poll::Ready(Err(PumpError::Write(_))) => self.conversation.upload_broken = true,
                Poll::Ready(Err(_)) => return Poll::Ready(Passed::ClientGone),
                Poll::Ready(Ok(())) | Poll::Pending => {}
            }
        }
        match download.poll(cx, leg, &mut client.io, &worker.stock, 0) {
            Poll::Ready(Ok(())) => return Poll::Ready(Passed::Whole),
            Poll::Ready(Err(PumpError::Write(_))) => return Poll::Ready(Passed::ClientGone),
            Poll::Ready(Err(error)) => return Poll::Ready(Passed::Cut(error)),
            Poll::Pending => {}
        }
        if client.io.poll_given_up(cx).is_ready() {
            return Poll::Ready(Passed::ClientGone);
        }
        // A client that went away must not hold its node's place until the node says something.
        let reads_client = upload.is_done() || self.conversation.upload_broken;
        let holds_client_up = !reads_client && upload.waits_for() == Side::Sink;
        if reads_client && !self.client_ended {
            match client.poll_presence(cx, &worker.stock) {
                Presence::Here => {}
                Presence::Gone => return Poll::Ready(Passed::ClientGone),
                Presence::Ended => {
                    self.client_ended = true;
                    self.progressed = host::now();
                }
            }
        }
        loop {
            let Session { upload, download, client, alarm, settings, .. } = &mut *self.session;
            let progress = upload.progress() + download.progress();
            if progress != self.progress {
                self.progress = progress;
                self.progressed = host::now();
            }
            let idle_timeout = settings.stream_idle_timeout;
            let idle_timeout = if self.client_ended { idle_timeout.min(HALF_CLOSED_TIMEOUT) } else { idle_timeout };
            let deadline = self.progressed + idle_timeout;
            let look_at = holds_client_up.then(|| self.progressed.max(self.looked) + LOOK_INTERVAL);
            alarm.set(look_at.map_or(deadline, |look_at| look_at.min(deadline)));
            if alarm.poll(cx).is_pending() {
                return Poll::Pending;
            }
            let now = host::now();
            if now >= deadline {
                return Poll::Ready(if self.client_ended { Passed::ClientGone } else { Passed::Idle });
            }
            self.looked = now;
            match client.presence() {
                Presence::Gone => return Poll::Ready(Passed::ClientGone),
                Presence::Ended => self.client_ended = true,
                Presence::Here => {}
            }
        }
    }
}
