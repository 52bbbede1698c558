//! Copies of requests for other pools. Whoever sent the request does not wait for them, and what becomes of them is counted and
//! nothing else.

use std::rc::Rc;
use std::sync::Arc;

use tokio::task::spawn_local;

use super::exchange::Asking;
use super::forward;
use super::picture::{Length, RequestHead};
use super::retry::{self, Again};
use super::session::Session;
use super::subrequest::{self, Message, Wanted};
use crate::host;
use crate::model::Mirror;
use crate::model::limits::MIRRORS_MAX;
use crate::proxy::counts::bump;
use crate::proxy::pick::pick_now;
use crate::proxy::way::Way;
use crate::proxy::worker::Worker;
use crate::view::Tried;

/// A copy that is under way, counted as long as it is.
struct UnderWay(Rc<Worker>);

impl UnderWay {
    fn begin(worker: &Rc<Worker>) -> Option<Self> {
        let count = worker.mirrors.get();
        (count < MIRRORS_MAX).then(|| {
            worker.mirrors.set(count + 1);
            Self(Rc::clone(worker))
        })
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.mirrors.set(self.0.mirrors.get() - 1);
    }
}

/// Sends copies of the request that has just been answered to whom its routes say. One whose body was not kept whole has none, and
/// one that was to become something else neither.
pub(super) fn send(session: &mut Session<'_>) {
    let body = match session.request.length {
        Length::None => Vec::new(),
        _ if !session.upload.is_done() => return,
        _ => match session.upload.take_kept() {
            Some(body) => body,
            None => return,
        },
    };
    if session.request.upgrade {
        return;
    }
    let session = &*session;
    for mirror in session.routed.decision.routes().filter_map(|route| route.then.mirror.as_ref()) {
        if begin(session, mirror, &body).is_none() {
            bump(&session.bound.failures.mirrors_dropped);
        }
    }
}

/// `None`: there are as many as may be, or no node that may be used.
fn begin(session: &Session<'_>, mirror: &Mirror, body: &[u8]) -> Option<()> {
    let Session { worker, bound, origin, settings, routed, request, .. } = session;
    let under_way = UnderWay::begin(worker)?;
    let way = Way::to(&mirror.pool);
    let asking = Asking::of(session, &way);
    let taken = pick_now(worker, &asking.wanted(&way), &Tried::default()).ok()?;
    let mut bytes = Vec::with_capacity(1_024 + body.len());
    let edits = routed.of_request(bound, request);
    let from = (*origin, *settings);
    forward::head_to_node(request, from, &taken, (routed.target(request), edits.as_ref()), &mut bytes);
    let encoder = forward::request_encoder(request);
    if !body.is_empty() {
        encoder.before(body.len(), &mut bytes);
        bytes.extend_from_slice(body);
        encoder.after(&mut bytes);
    }
    encoder.end(&[], &mut bytes);
    let request = RequestHead { method: request.method.clone(), ..RequestHead::default() };
    let message = Message { request, bytes };
    let bound = Arc::clone(bound);
    bump(&bound.counts.mirrors_total);
    spawn_local(async move {
        let worker = &under_way.0;
        let ask = async |fresh_only| {
            let until = host::now() + taken.pool().pool.response_timeout;
            subrequest::ask(worker, &taken, &message, fresh_only, (Wanted::Nothing, until)).await
        };
        let Err(failure) = ask(false).await else { return };
        let again = retry::decide(failure, &message.request.method, true);
        if again != Again::SameNode || ask(true).await.is_err() {
            bump(&bound.failures.mirrors_failed);
        }
    });
    Some(())
}
