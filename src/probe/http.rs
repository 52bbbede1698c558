//! An HTTP check: one `GET`, and the status says it all.

use std::pin::pin;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::header::{CONNECTION, HOST, USER_AGENT};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::time::timeout;

use super::Found;
use super::connect::{open, within};
use super::error::{Phase, ProbeError, words};
use crate::host;
use crate::model::limits::{HEAD_BYTES_MAX, HEAD_FIELDS_MAX};
use crate::model::{CheckTarget, HttpCheck};
use crate::tls::{Inside, NodeTls};

/// How long a body is read and dropped once the status is known, so that a node that sends a page sees its connection
/// closed and not reset. A node that sends no end of it does not hold up the result for longer.
const DRAIN_TIME_MAX: Duration = Duration::from_millis(100);

/// The outcome, and when it was known.
pub(super) async fn check(
    target: &CheckTarget,
    check: &HttpCheck,
    tls: &NodeTls,
    deadline: Instant,
    connect: &mut Option<Duration>,
) -> (Result<Found, ProbeError>, Instant) {
    let request = match request(target, check) {
        Ok(request) => request,
        Err(error) => return (Err(error), host::now()),
    };
    let connection = match open(target, (tls, Inside::Http), deadline, connect).await {
        Ok(connection) => TokioIo::new(connection),
        Err(error) => return (Err(error), host::now()),
    };
    let mut known = None;
    let outcome = within(deadline, Phase::Answer, async {
        let mut builder = http1::Builder::new();
        builder.max_buf_size(HEAD_BYTES_MAX).max_headers(HEAD_FIELDS_MAX);
        let (mut sender, connection) =
            builder.handshake(connection).await.map_err(|error| ProbeError::of_exchange(&error))?;
        let mut connection = pin!(connection);
        let mut connected = true;
        let mut answer = pin!(sender.send_request(request));
        // The connection may end in the same moment in which it hands over the answer, so its end is no verdict.
        let answer = loop {
            tokio::select! {
                biased;
                answer = &mut answer => break answer.map_err(|error| ProbeError::of_exchange(&error))?,
                _ = &mut connection, if connected => connected = false,
            }
        };
        let outcome = judge(&answer, check);
        known = Some((outcome.clone(), host::now()));
        let rest = async {
            if connected {
                let _ = (&mut connection).await;
            }
        };
        let _ = timeout(DRAIN_TIME_MAX, async { tokio::join!(drain(answer), rest) }).await;
        outcome
    })
    .await;
    known.unwrap_or_else(|| (outcome, host::now()))
}

fn request(target: &CheckTarget, check: &HttpCheck) -> Result<Request<Empty<Bytes>>, ProbeError> {
    let authority = check.host.as_deref().unwrap_or(&target.authority);
    Request::get(&*check.path)
        .header(HOST, authority)
        .header(USER_AGENT, concat!("evenkeel/", env!("CARGO_PKG_VERSION")))
        .header(CONNECTION, "close")
        .body(Empty::new())
        .map_err(|error| ProbeError::Own(words(error)))
}

fn judge(answer: &Response<Incoming>, check: &HttpCheck) -> Result<Found, ProbeError> {
    let status = answer.status().as_u16();
    if check.statuses.contains(status) { Ok(Found::Status(status)) } else { Err(ProbeError::Status(status)) }
}

/// Reads what comes and drops it; the connection itself ends after the bytes that a check reads.
async fn drain(answer: Response<Incoming>) {
    let mut body = answer.into_body();
    while let Some(Ok(_)) = body.frame().await {}
}
