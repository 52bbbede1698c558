//! One request and its answer: a node is picked, the request is sent, the answer comes back, and where that fails another
//! node is asked, as `retry` allows. Both bodies stream, at the same time if need be.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::ClientConfig;

use super::answer;
use super::h1::body::Decoder;
use super::hash_key;
use super::picture::Length;
use super::reply::Reply;
use super::retry::{self, Again, Failure};
use super::send::{self, Sent};
use super::session::{DRAIN_BYTES_MAX, Session};
use crate::balance::RetryPermit;
use crate::host;
use crate::proxy::connect::{ConnectError, WithTls, connect};
use crate::proxy::counts::bump;
use crate::proxy::idle::NodeConnection;
use crate::proxy::pick::{NoNode, pick, pick_now};
use crate::proxy::presence::while_client_stays;
use crate::proxy::stream::{Leg, Stream};
use crate::proxy::tcp::note_connect_failure;
use crate::tls::Inside;
use crate::view::{Ask, Taken, Tried, Unavailable};

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
    session.began = host::now();
    if session.request.max_forwards == Some(0) {
        return refuse(session, Reply::OPTIONS).await;
    }
    let bound = session.bound;
    let pool_name = session.worker.pool_of(bound);
    let client = session.origin.client_of(&session.request.fields, session.settings);
    let hash = session.worker.pool(pool_name).and_then(|pool| hash_key::of(&session.request, &pool.pool));
    let ask = Ask { client, hash };
    let mut tried = Tried::default();
    let mut retries = 0;
    let mut permit: Option<RetryPermit> = None;
    let mut replay = Replay::Whole;
    let first = {
        let Session { worker, client, alarm, .. } = &mut *session;
        while_client_stays(client, alarm, &worker.stock, pick(worker, bound, pool_name, &ask, &tried)).await
    };
    let mut taken = match first {
        Some(Ok(taken)) => taken,
        Some(Err(no_node)) => return refuse(session, reply_of(no_node)).await,
        None => {
            bump(&session.bound.failures.clients_gone);
            return Next::Abort;
        }
    };
    let mut fresh_only = false;
    loop {
        let (failure, reply) = match open(session, &taken, fresh_only).await {
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
                match sent {
                    Sent::Switched => return answer::switch(session, conversation).await,
                    Sent::Answered => {
                        let may_retry = matches!(session.answer.status, 502 | 503)
                            && retries < conversation.taken.pool().pool.retries
                            && retry::decide(Failure::Unavailable, &session.request.method, Replay::is_kept(session))
                                == Again::OtherNode;
                        if !may_retry {
                            return answer::pass_on(session, conversation).await;
                        }
                        let mut tried_next = tried.clone();
                        tried_next.add(&conversation.taken);
                        // Only where another node can take it is this answer given up.
                        let next = pick_now(session.worker, pool_name, &ask, &tried_next).ok();
                        drop(permit.take());
                        let granted = next.is_some().then(|| conversation.taken.pool().live.try_retry()).flatten();
                        let (Some(next), Some(granted)) = (next, granted) else {
                            return answer::pass_on(session, conversation).await;
                        };
                        answer::count(session, &conversation.taken);
                        replay = Replay::after(session);
                        tried = tried_next;
                        permit = Some(granted);
                        retries += 1;
                        fresh_only = false;
                        drop(conversation);
                        pause(session).await;
                        taken = next;
                        continue;
                    }
                    Sent::ClientFault(reply) => {
                        session.reply(reply, false).await;
                        return Next::Close;
                    }
                    Sent::ClientGone => {
                        bump(&session.bound.failures.clients_gone);
                        return Next::Abort;
                    }
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
            Again::No => return refuse(session, reply).await,
            Again::SameNode => {
                fresh_only = true;
                // Where it was taken out of service meanwhile, rather another one; that costs no try either.
                if !session.worker.still_serves(taken.node()) {
                    tried.add(&taken);
                    if let Ok(next) = pick_now(session.worker, pool_name, &ask, &tried) {
                        fresh_only = false;
                        taken = next;
                    }
                }
            }
            Again::OtherNode => {
                fresh_only = false;
                let pool = taken.pool();
                if retries >= pool.pool.retries {
                    return refuse(session, reply).await;
                }
                drop(permit.take());
                permit = pool.live.try_retry();
                if permit.is_none() {
                    return refuse(session, reply).await;
                }
                tried.add(&taken);
                drop(taken);
                // Where there is no other node the client need not wait to hear so.
                let next = match pick_now(session.worker, pool_name, &ask, &tried) {
                    Err(Unavailable::Full) => {
                        let Session { worker, client, alarm, .. } = &mut *session;
                        let pick = pick(worker, bound, pool_name, &ask, &tried);
                        let Some(next) = while_client_stays(client, alarm, &worker.stock, pick).await else {
                            bump(&session.bound.failures.clients_gone);
                            return Next::Abort;
                        };
                        next.ok()
                    }
                    next => next.ok(),
                };
                let Some(next) = next else { return refuse(session, reply).await };
                if failure != Failure::Connect || retries > 0 {
                    pause(session).await;
                }
                retries += 1;
                taken = next;
            }
        }
    }
}

fn reply_of(no_node: NoNode) -> Reply {
    match no_node {
        NoNode::Unusable => Reply::NO_NODE,
        NoNode::QueueFull | NoNode::QueueTimeout => Reply::FULL,
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
async fn refuse(session: &mut Session<'_>, reply: Reply) -> Next {
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
    if !session.reply(reply, drains).await {
        return Next::Abort;
    }
    if drains && session.drain_body(Decoder::new(session.request.length)).await { Next::Request } else { Next::Close }
}

async fn pause(session: &Session<'_>) {
    let (low, high) = RETRY_PAUSE;
    let fraction = session.worker.dice.borrow_mut().fraction();
    tokio::time::sleep(low + (high - low).mul_f64(fraction)).await;
}

/// A connection to the node: one that is idle, or a new one.
async fn open(session: &Session<'_>, taken: &Taken, fresh_only: bool) -> Result<(NodeConnection, bool), ConnectError> {
    let (worker, node) = (session.worker, taken.node());
    let tls = WithTls::of(worker, taken, Inside::Http)?;
    if !fresh_only {
        let is_replayable = session.request.method.is_idempotent();
        let settings = &session.worker.shared.settings.idle;
        let idle = session.worker.idle.borrow_mut().take(
            node,
            tls.as_ref().map(|tls| &tls.config),
            host::now(),
            is_replayable,
            settings,
        );
        if let Some(connection) = idle {
            return Ok((connection, true));
        }
    }
    bump(&node.live.counts.connections);
    let connection = connect(node, taken.pool().pool.connect_timeout, tls.as_ref(), &worker.scratch).await?;
    Ok((connection, false))
}
