//! External checks: nodes of other pools are asked whether a request may go on (nginx's `auth_request`).

use std::sync::Arc;
use std::time::Instant;

use super::exchange::Asking;
use super::fields::{Fields, Known, alike};
use super::forward;
use super::picture::{Length, Method, RequestHead};
use super::retry::{self, Again, Failure};
use super::routed::judged;
use super::session::Session;
use super::subrequest::{self, Answer, Message, Wanted};
use crate::host;
use crate::model::limits::EXTERNAL_CHECK_ANSWER_BYTES_MAX;
use crate::model::{ExternalCheck, FieldName};
use crate::proxy::counts::bump;
use crate::proxy::pick::{pick, pick_now};
use crate::proxy::presence::while_client_stays;
use crate::proxy::way::Way;
use crate::view::Tried;

/// Fields that ask something of the resource, which the check is not, or say how its answer may be packed.
const OF_THE_RESOURCE: [&[u8]; 9] = [
    b"accept-encoding",
    b"if-match",
    b"if-modified-since",
    b"if-none-match",
    b"if-range",
    b"if-unmodified-since",
    b"range",
    b"trailer",
    b"content-encoding",
];

/// Fields by which a check's answer says what a client is to do.
const FOR_THE_CLIENT: [&[u8]; 7] = [
    b"cache-control",
    b"content-encoding",
    b"content-type",
    b"location",
    b"retry-after",
    b"set-cookie",
    b"www-authenticate",
];

const METHOD: &[u8] = b"X-Original-Method";
const URI: &[u8] = b"X-Original-URI";

/// Why a request does not go on.
pub(super) enum Stopped {
    /// A node says so, and this is what its client is told.
    Refused(Refused),
    /// Nobody could be asked.
    Failed,
    /// Nobody is there any more to be told.
    ClientGone,
}

/// What a client is told of a check that its request did not pass.
pub(crate) struct Refused {
    pub(crate) status: u16,
    pub(crate) fields: Fields,
    pub(crate) body: Vec<u8>,
}

/// Has every route that wants it ask about the request. What they have to say of it is in its fields then.
pub(super) async fn ask(session: &mut Session<'_>) -> Result<(), Stopped> {
    let routes: Vec<Arc<_>> =
        session.routed.decision.entries().filter(|entry| entry.route.then.check.is_some()).map(Arc::clone).collect();
    for entry in routes {
        let Some(check) = &entry.route.then.check else { continue };
        let until = host::now() + check.timeout;
        let Answer { head, body } = match one(session, check, until).await {
            Some(Ok(answer)) => answer,
            Some(Err(failure)) => {
                tracing::debug!(route = %entry.route.name, pool = %check.pool, ?failure, "a check failed");
                bump(&session.bound.failures.checks_failed);
                return Err(Stopped::Failed);
            }
            None => return Err(Stopped::ClientGone),
        };
        if head.status < 300 {
            take_over(&mut session.request.fields, &check.copy, &head.fields);
            continue;
        }
        bump(&session.bound.counts.requests_refused);
        let mut fields = Fields::default();
        for field in head.fields.iter() {
            if FOR_THE_CLIENT.iter().any(|name| field.name.eq_ignore_ascii_case(name)) {
                fields.push(field.name, field.value);
            }
        }
        return Err(Stopped::Refused(Refused { status: head.status, fields, body }));
    }
    Ok(())
}

/// Puts fields of the answer in the place of what the client said in them.
fn take_over(request: &mut Fields, names: &[FieldName], answer: &Fields) {
    for name in names {
        let name = name.as_str().as_bytes();
        request.take_away_alike(name);
        for field in answer.iter().filter(|field| !field.dropped && field.name.eq_ignore_ascii_case(name)) {
            request.push(field.name, field.value);
        }
    }
}

/// Asks nodes until one has an answer of 2xx to 4xx; `None`: the client is gone.
async fn one(session: &mut Session<'_>, check: &ExternalCheck, until: Instant) -> Option<Result<Answer, Failure>> {
    let way = Way::to(&check.pool);
    let asking = Asking::of(session, &way);
    let picked = asking.wanted(&way);
    let mut message = Message { request: head_of(&session.request, &check.path), bytes: Vec::new() };
    let Session { worker, bound, client, alarm, origin, settings, .. } = session;
    let asked = async {
        let mut tried = Tried::default();
        let first = tokio::time::timeout_at(until.into(), pick(worker, bound, &picked, &tried)).await;
        let Ok(Ok(mut taken)) = first else { return Err(Failure::Connect) };
        let mut fresh_only = false;
        let mut retries = 0;
        let mut permit;
        loop {
            message.bytes.clear();
            let Message { request, bytes } = &mut message;
            forward::head_to_node(request, (*origin, settings), &taken, (&request.target, None), bytes);
            let wanted = (Wanted::Bytes(EXTERNAL_CHECK_ANSWER_BYTES_MAX), until);
            let failure = match subrequest::ask(worker, &taken, &message, fresh_only, wanted).await {
                Ok(answer) if answer.head.status < 500 => return Ok(answer),
                Ok(_) => Failure::Unavailable,
                Err(failure) => failure,
            };
            match retry::decide(failure, &message.request.method, true) {
                Again::SameNode => fresh_only = true,
                Again::OtherNode if retries < taken.pool().pool.retries && host::now() < until => {
                    fresh_only = false;
                    retries += 1;
                    permit = taken.pool().live.try_retry();
                    tried.add(&taken);
                    match pick_now(worker, &picked, &tried) {
                        Ok(next) if permit.is_some() => taken = next,
                        _ => return Err(failure),
                    }
                }
                Again::No | Again::OtherNode => return Err(failure),
            }
        }
    };
    while_client_stays(client, alarm, &worker.stock, asked).await
}

/// The head of the request by which a check is asked about this one.
fn head_of(request: &RequestHead, path: &str) -> RequestHead {
    let mut fields = Fields::default();
    for field in request.fields.iter() {
        let stays = match field.known {
            Known::ContentLength | Known::Expect | Known::Te | Known::Upgrade => false,
            Known::Other => {
                let is = |name: &[u8]| alike(field.name, name);
                !OF_THE_RESOURCE.into_iter().any(is) && !is(METHOD) && !is(URI)
            }
            _ => true,
        };
        if stays && !field.dropped {
            fields.push(field.name, field.value);
        }
    }
    fields.push(METHOD, request.method.as_bytes());
    fields.push(URI, &judged(&request.target));
    RequestHead {
        method: Method::Get,
        target: path.as_bytes().to_vec(),
        authority: request.authority.clone(),
        fields,
        length: Length::None,
        is_http2: request.is_http2,
        persistent: true,
        ..RequestHead::default()
    }
}
