//! One request and its answer: a node is picked, the request is sent, the answer comes back, and where that fails another
//! node is asked, as `retry` allows. Both bodies stream, at the same time if need be.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::ClientConfig;

use super::answer;
use super::checked::{self, Stopped};
use super::files;
use super::h1::body::Decoder;
use super::limited;
use super::mirror;
use super::pages;
use super::picture::Length;
use super::reply::{Own, Reply};
use super::retry::{self, Again, Failure};
use super::routed::{Asked, Routed};
use super::send::{self, Sent};
use super::session::{DRAIN_BYTES_MAX, Session};
use super::wellness;
use crate::balance::RetryPermit;
use crate::host;
use crate::model::RegionName;
use crate::proxy::access_log::End;
use crate::proxy::connect::{ConnectError, open};
use crate::proxy::counts::bump;
use crate::proxy::pick::{NoNode, pick, pick_now};
use crate::proxy::presence::while_client_stays;
use crate::proxy::sticky::{self, Held};
use crate::proxy::stream::{Leg, Stream};
use crate::proxy::tcp::note_connect_failure;
use crate::proxy::way::{Course, Way};
use crate::route::render;
use crate::view::{Ask, Stick, Taken, Tried, Unavailable, Wanted};

/// Pause before a request is sent again, unless the node was just not there: from, and up to.
const RETRY_PAUSE: (Duration, Duration) = (Duration::from_millis(25), Duration::from_millis(250));

/// What comes after an exchange.
pub(crate) enum Next {
    /// The next request of this connection.
    Request,
    /// The connection is closed once the client has all.
    Close,
    /// The connection is reset: the client must not take what it has for an end.
    Abort,
    /// The protocol was changed; from here on bytes are relayed.
    Tunnel(Box<Leg<Stream>>, Taken),
}

/// A node with a connection to it, while one exchange uses it.
pub(crate) struct Conversation {
    pub(crate) taken: Taken,
    pub(crate) leg: Leg<Stream>,
    pub(crate) address: std::net::SocketAddr,
    pub(crate) opened: Instant,
    pub(crate) tls: Option<Arc<ClientConfig>>,
    /// It had been idle, so the node may have closed it by now.
    pub(crate) is_reused: bool,
    /// The node no longer takes the request's body.
    pub(crate) upload_broken: bool,
}

/// Carries out the exchange whose head `session` has read.
pub(crate) async fn run(session: &mut Session<'_>) -> Next {
    let next = answered(session).await;
    // What was upgraded goes on.
    if !matches!(next, Next::Tunnel(..)) {
        session.routed.held.clear();
    }
    next
}

async fn answered(session: &mut Session<'_>) -> Next {
    session.began = host::now();
    if session.request.max_forwards == Some(0) {
        session.routed = Routed::default();
        return refuse(session, &Own::Reply(Reply::OPTIONS)).await;
    }
    if let Some(answer) = wellness::asked(session) {
        session.routed = Routed::default();
        session.note(|note| note.is_silent = true);
        return refuse(session, &Own::Fixed(&answer)).await;
    }
    let client = session.origin.client_of(&session.request.fields, session.settings);
    session.routed = Routed::of(session, client);
    if let Err(reply) = limited::ask(session) {
        return refuse(session, &Own::Reply(reply)).await;
    }
    let bound = session.bound;
    let entry = session.routed.decision.end.clone();
    let end = entry.as_ref().and_then(|entry| entry.route.then.end.as_ref());
    let pool = session.worker.pool_of(bound);
    let course = session.worker.with_view(|view| Course::of(end, pool, view));
    // On the heap, so that a request that nobody is asked about is not larger for it.
    if session.routed.is_checked
        && !matches!(course, Some(Course::Refuse(_)))
        && let Err(stopped) = Box::pin(checked::ask(session)).await
    {
        return match stopped {
            Stopped::Refused(refused) => refuse(session, &Own::Checked(&refused)).await,
            Stopped::Failed => refuse(session, &Own::Reply(Reply::NOT_CHECKED)).await,
            Stopped::ClientGone => gone(session),
        };
    }
    match course {
        Some(Course::Forward(way)) => {
            let next = forward(session, &way).await;
            if session.routed.is_mirrored && !matches!(next, Next::Tunnel(..)) {
                mirror::send(session);
            }
            next
        }
        Some(Course::Redirect(redirect)) if !redirect.leads(&session.request.authority) => {
            bump(&bound.counts.requests_refused);
            refuse(session, &Own::Reply(Reply::NO_HOST)).await
        }
        Some(Course::Redirect(redirect)) => {
            let mut location = Vec::with_capacity(128);
            let name = entry.as_ref().map(|entry| &entry.route.name);
            let asked = Asked::of(bound, &session.request, client);
            name.into_iter().for_each(|name| render(&redirect.to, &asked, name, &mut location));
            refuse(session, &Own::Redirect(redirect.status, &location)).await
        }
        Some(Course::Answer(answer)) => refuse(session, &Own::Fixed(answer)).await,
        // On the heap, so that a request to a node is not larger for it.
        Some(Course::Files(files)) => Box::pin(files::serve(session, files)).await,
        Some(Course::Refuse(status)) => {
            bump(&bound.counts.requests_refused);
            refuse(session, &Own::Reply(Reply::refused(status))).await
        }
        None => refuse(session, &Own::Reply(Reply::NO_NODE)).await,
    }
}

/// How sending a request one way ended.
enum Ended {
    /// The client has its answer, or is gone.
    Done(Next),
    /// There is none, and this is what the client would be told.
    Failed { failure: Failure, reply: Reply, replay: Replay },
    /// A node's answer was given up, because this one of the other pool may have a better one.
    Given { next: Taken, replay: Replay },
}

/// Sends a request, and where that fails the other way.
async fn forward(session: &mut Session<'_>, way: &Way<'_>) -> Next {
    let other = way.fallback.map(|fallback| Way::to(&fallback.pool));
    let (first, replay) = match send_one_way(session, way, None, Replay::Whole).await {
        Ended::Done(next) => return next,
        Ended::Given { next, replay } => (Some(next), replay),
        Ended::Failed { failure, reply, replay } => {
            let is_for = way.fallback.is_some_and(|fallback| fallback.is_for(reply.status));
            if !is_for || retry::decide(failure, &session.request.method, replay.is_whole()) == Again::No {
                return refuse(session, &Own::Reply(reply)).await;
            }
            (None, replay)
        }
    };
    let Some(other) = other else { return refuse(session, &Own::Reply(Reply::NO_NODE)).await };
    match send_one_way(session, &other, first, replay).await {
        Ended::Done(next) => next,
        Ended::Failed { reply, .. } => refuse(session, &Own::Reply(reply)).await,
        Ended::Given { .. } => refuse(session, &Own::Reply(Reply::NO_NODE)).await,
    }
}

/// What of the request at hand matters to the choice of a node in this pool.
pub(super) struct Asking {
    ask: Ask,
    /// Of the client, where that matters and is known.
    region: Option<RegionName>,
    /// The cookie of its session.
    held: Option<Held>,
}

impl Asking {
    pub(super) fn of(session: &Session<'_>, way: &Way<'_>) -> Self {
        let Session { worker, settings, origin, routed, request, .. } = session;
        let client = routed.client;
        let nothing = || Self { ask: Ask::of(client, session.began), region: None, held: None };
        worker.with_view(|view| {
            let Some(pool) = view.pool(&way.pool) else { return nothing() };
            let of = (*settings, *origin, &worker.shared.geo);
            let region = if pool.has_regions() { routed.region(view, of, request).cloned() } else { None };
            let hash = sticky::hash_of(request, &pool.pool);
            let (stick, held) = if pool.pool.sticky.is_some() {
                let keys = worker.shared.cookie_keys.load();
                let now_s = host::wall_now_ms() / 1_000;
                sticky::stick_of((request, client), (pool, way.regions), view, &keys, now_s)
            } else {
                (Stick::Free, None)
            };
            Self { ask: Ask { hash, stick, ..Ask::of(client, session.began) }, region, held }
        })
    }

    pub(super) fn wanted<'w>(&'w self, way: &'w Way<'_>) -> Wanted<'w> {
        way.wanted(self.ask, self.region.as_ref())
    }

    /// Whether the session of the request is at home at this node.
    fn is_at_home(&self, taken: &Taken) -> bool {
        match self.ask.stick {
            Stick::Free => false,
            Stick::Node(home) => taken.node().key == home,
            Stick::Key(_) => true,
        }
    }

    /// What the client is told of its session with the answer of this node.
    fn set_cookie(&self, session: &Session<'_>, taken: &Taken) -> Option<Vec<u8>> {
        let pool = taken.pool();
        pool.pool.sticky.as_ref()?;
        let Session { worker, origin, .. } = session;
        let now = (host::wall_now_ms() / 1_000, origin.over_tls);
        let keys = worker.shared.cookie_keys.load();
        worker.with_view(|view| sticky::set_cookie(pool, taken.node(), self.held.as_ref(), view, &keys, now))
    }
}

/// Sends a request to nodes of one pool, beginning with `first`, until one answers or no more may be tried.
async fn send_one_way(session: &mut Session<'_>, way: &Way<'_>, first: Option<Taken>, mut replay: Replay) -> Ended {
    let bound = session.bound;
    let asking = Asking::of(session, way);
    let wanted = asking.wanted(way);
    let mut tried = Tried::default();
    let mut retries = 0;
    let mut permit: Option<RetryPermit> = None;
    let mut taken = match first {
        Some(taken) => taken,
        None => {
            let first = {
                let Session { worker, client, alarm, .. } = &mut *session;
                while_client_stays(client, alarm, &worker.stock, pick(worker, bound, &wanted, &tried)).await
            };
            match first {
                Some(Ok(taken)) => taken,
                // Nothing was sent, as where no connection could be made.
                Some(Err(none)) => return Ended::Failed { failure: Failure::Connect, reply: reply_of(none), replay },
                None => return client_gone(session),
            }
        }
    };
    let mut fresh_only = false;
    loop {
        session.note(|note| note.tried(&taken, retries));
        let (failure, reply) = match open(session.worker, &taken, session.request.method.is_idempotent(), fresh_only)
            .await
        {
            Err(error) => {
                note_connect_failure(session.worker, session.bound, &taken, &error);
                let reply = match error {
                    ConnectError::Timeout(_) => Reply::CONNECT_TIMEOUT,
                    ConnectError::Own(_) | ConnectError::Unready(_) => Reply::NO_NODE,
                    _ => Reply::NOT_REACHED,
                };
                (Failure::Connect, reply)
            }
            Ok((connection, is_reused)) => {
                let mut conversation = Conversation {
                    leg: Leg::new(connection.stream),
                    address: connection.address,
                    opened: connection.opened,
                    tls: connection.tls,
                    taken,
                    is_reused,
                    upload_broken: false,
                };
                // What is left of the body after this try is found anew.
                let replay_now = std::mem::replace(&mut replay, Replay::Lost);
                let sent = send::send(session, &mut conversation, replay_now).await;
                if matches!(sent, Sent::Switched | Sent::Answered) {
                    session.routed.cookie = asking.set_cookie(session, &conversation.taken);
                }
                match sent {
                    Sent::Switched => return Ended::Done(answer::switch(session, conversation).await),
                    Sent::Answered => {
                        let status = session.answer.status;
                        session.note(|note| note.answered(status));
                        let Some(better) = better(session, &conversation, way, &wanted, (&tried, retries), &mut permit)
                        else {
                            if let Some((reply, kept)) = pages::instead(session) {
                                answer::count(session, &conversation.taken);
                                drop(conversation);
                                return Ended::Done(refuse(session, &Own::Instead(reply, &kept)).await);
                            }
                            return Ended::Done(answer::pass_on(session, conversation).await);
                        };
                        answer::count(session, &conversation.taken);
                        replay = Replay::after(session);
                        tried.add(&conversation.taken);
                        drop(conversation);
                        match better {
                            Better::OtherWay(next) => return Ended::Given { next, replay },
                            Better::SameWay(next, granted) => {
                                permit = Some(granted);
                                retries += 1;
                                fresh_only = false;
                                pause(session).await;
                                taken = next;
                                continue;
                            }
                        }
                    }
                    Sent::ClientFault(reply) => {
                        session.reply(reply, false).await;
                        return Ended::Done(Next::Close);
                    }
                    Sent::ClientGone => return client_gone(session),
                    Sent::Failed(failure, reply) => {
                        replay = Replay::after(session);
                        let Conversation { taken: failed, .. } = conversation;
                        taken = failed;
                        (failure, reply)
                    }
                }
            }
        };
        match retry::decide(failure, &session.request.method, replay.is_whole()) {
            Again::No => return Ended::Failed { failure, reply, replay },
            Again::SameNode => {
                fresh_only = true;
                // Where it was taken out of service meanwhile, rather another one; that costs no try either.
                if !session.worker.still_serves(taken.node(), asking.is_at_home(&taken)) {
                    tried.add(&taken);
                    if let Ok(next) = pick_now(session.worker, &wanted, &tried) {
                        fresh_only = false;
                        taken = next;
                    }
                }
            }
            Again::OtherNode => {
                fresh_only = false;
                let pool = taken.pool();
                if retries >= pool.pool.retries {
                    return Ended::Failed { failure, reply, replay };
                }
                drop(permit.take());
                permit = pool.live.try_retry();
                if permit.is_none() {
                    return Ended::Failed { failure, reply, replay };
                }
                tried.add(&taken);
                drop(taken);
                // Where there is no other node the client need not wait to hear so.
                let next = match pick_now(session.worker, &wanted, &tried) {
                    Err(Unavailable::Full) => {
                        let Session { worker, client, alarm, .. } = &mut *session;
                        let pick = pick(worker, bound, &wanted, &tried);
                        let Some(next) = while_client_stays(client, alarm, &worker.stock, pick).await else {
                            return client_gone(session);
                        };
                        next.ok()
                    }
                    next => next.ok(),
                };
                let Some(next) = next else { return Ended::Failed { failure, reply, replay } };
                if failure != Failure::Connect || retries > 0 {
                    pause(session).await;
                }
                retries += 1;
                taken = next;
            }
        }
    }
}

fn client_gone(session: &mut Session<'_>) -> Ended {
    Ended::Done(gone(session))
}

fn gone(session: &mut Session<'_>) -> Next {
    bump(&session.bound.failures.clients_gone);
    session.note(|note| note.end = End::ClientGone);
    Next::Abort
}

/// Who may answer better than the node that just did.
enum Better {
    /// Another node of its pool.
    SameWay(Taken, RetryPermit),
    /// A node of the pool that takes over.
    OtherWay(Taken),
}

/// Looks for somebody who may answer better; an answer is given up only where there is one. `None`: it is passed on.
fn better(
    session: &Session<'_>,
    conversation: &Conversation,
    way: &Way<'_>,
    wanted: &Wanted<'_>,
    (tried, retries): (&Tried, u8),
    permit: &mut Option<RetryPermit>,
) -> Option<Better> {
    let status = session.answer.status;
    let is_unavailable = matches!(status, 502 | 503);
    let is_for_other = way.fallback.is_some_and(|fallback| fallback.is_for(status));
    if !(is_unavailable || is_for_other)
        || retry::decide(Failure::Unavailable, &session.request.method, Replay::is_kept(session)) != Again::OtherNode
    {
        return None;
    }
    let pool = conversation.taken.pool();
    if is_unavailable && retries < pool.pool.retries {
        let mut tried = tried.clone();
        tried.add(&conversation.taken);
        if let Ok(next) = pick_now(session.worker, wanted, &tried) {
            drop(permit.take());
            if let Some(granted) = pool.live.try_retry() {
                return Some(Better::SameWay(next, granted));
            }
        }
    }
    let fallback = way.fallback.filter(|_| is_for_other)?;
    let other = Way::to(&fallback.pool);
    let asking = Asking::of(session, &other);
    let wanted = asking.wanted(&other);
    pick_now(session.worker, &wanted, &Tried::default()).ok().map(Better::OtherWay)
}

fn reply_of(no_node: NoNode) -> Reply {
    match no_node {
        NoNode::Unusable => Reply::NO_NODE,
        NoNode::QueueFull | NoNode::QueueTimeout => Reply::FULL,
        NoNode::OverCapacity => Reply::OVER_CAPACITY,
    }
}

/// What of a request can be sent again.
pub(crate) enum Replay {
    /// All of it: nothing of the body was taken from the client.
    Whole,
    /// All of it: this much of the body was taken and kept, and the decoder stands where the rest of it begins. It may stand at
    /// the end behind nothing kept: an empty body in chunks, whose place in the client's bytes holds the next request by now.
    Kept(Vec<u8>, Decoder),
    /// Not all of it.
    Lost,
}

impl Replay {
    fn after(session: &mut Session<'_>) -> Self {
        let Session { request, upload, client, .. } = session;
        if request.length == Length::None || upload.is_unread() {
            return Self::Whole;
        }
        let kept = upload.take_kept();
        let decoder = upload.abandon(client);
        kept.map_or(Self::Lost, |kept| Self::Kept(kept, decoder))
    }

    /// Whether [`Replay::after`] would find all of the request.
    fn is_kept(session: &Session<'_>) -> bool {
        let Session { request, upload, .. } = session;
        request.length == Length::None || upload.is_unread() || upload.has_kept()
    }

    fn is_whole(&self) -> bool {
        !matches!(self, Self::Lost)
    }
}

/// Answers for this peer and goes on with the connection where the rest of the request allows.
pub(super) async fn refuse(session: &mut Session<'_>, own: &Own<'_>) -> Next {
    let has_body = session.request.length != Length::None;
    // Whoever waits for 100 may send its body or not: there is no telling what the next bytes are.
    let may_persist = session.request.persistent
        && session.keeps_connection()
        && !(has_body && (session.request.expects_continue || !session.upload.is_unread()));
    // A body that was not begun to be read yet is read and dropped, if it is short.
    let drains = may_persist
        && match session.request.length {
            Length::None => true,
            Length::Counted(length) => length <= DRAIN_BYTES_MAX,
            Length::Chunked | Length::UntilClose => false,
        };
    if !session.answer_own(own, drains).await {
        return Next::Abort;
    }
    if drains && session.drain_body(Decoder::new(session.request.length)).await { Next::Request } else { Next::Close }
}

async fn pause(session: &Session<'_>) {
    let (low, high) = RETRY_PAUSE;
    let fraction = session.worker.dice.borrow_mut().fraction();
    tokio::time::sleep(low + (high - low).mul_f64(fraction)).await;
}
