//! An HTTP check: one `GET`, and the status says it all, or a text or a field of JSON in the body too.

use std::pin::pin;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::header::{CONNECTION, HOST, USER_AGENT};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use memchr::memmem;
use serde_json::Value;
use tokio::time::timeout;

use super::Found;
use super::connect::{open, within};
use super::error::{Phase, ProbeError, words};
use crate::host;
use crate::model::limits::{CHECK_ANSWER_BYTES_MAX, HEAD_BYTES_MAX, HEAD_FIELDS_MAX};
use crate::model::{BodyCheck, CheckTarget, HttpCheck};
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
        let rest = async {
            if connected {
                let _ = (&mut connection).await;
            }
        };
        if outcome.is_err() || check.body == BodyCheck::Any {
            known = Some((outcome.clone(), host::now()));
            let _ = timeout(DRAIN_TIME_MAX, async { tokio::join!(drain(answer), rest) }).await;
            return outcome;
        }
        // The connection moves the body on, and may end with it.
        let mut rest = pin!(rest);
        let mut body = pin!(Limited::new(answer.into_body(), CHECK_ANSWER_BYTES_MAX).collect());
        let mut moves = true;
        let body = loop {
            tokio::select! {
                biased;
                body = &mut body => break body,
                () = &mut rest, if moves => moves = false,
            }
        };
        let body = body.map_err(|_| ProbeError::Closed(Phase::Answer))?.to_bytes();
        judge_body(&body, &check.body, outcome)
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

fn judge_body(body: &[u8], check: &BodyCheck, outcome: Result<Found, ProbeError>) -> Result<Found, ProbeError> {
    match check {
        BodyCheck::Any => outcome,
        BodyCheck::Contains(expected) => match memmem::find(body, expected) {
            Some(_) => Ok(Found::Expected),
            None => Err(ProbeError::ExpectedMissing { received: body.len() }),
        },
        BodyCheck::Json(field) => {
            let json: Value = serde_json::from_slice(body)
                .map_err(|error| ProbeError::Silent(format!("its body is no JSON ({})", words(error))))?;
            let said = field.names().try_fold(&json, |json, name| json.get(name));
            let said = said.ok_or_else(|| ProbeError::Silent(format!("its JSON has no field {field}")))?;
            let word = match said {
                Value::String(word) => words(word),
                Value::Bool(is_well) => is_well.to_string(),
                other => return Err(ProbeError::Silent(format!("field {field} is {}, and no word", words(other)))),
            };
            match Condition::of(&word) {
                Some(Condition::Well) => Ok(Found::Well(word)),
                Some(Condition::Degraded) => Ok(Found::Degraded(word)),
                None => Err(ProbeError::Unwell(word)),
            }
        }
    }
}

/// What a node's own word means, in any case of letters; `None`: it cannot be used.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Condition {
    Well,
    Degraded,
}

impl Condition {
    /// The words of draft-inadarei-api-health-check (`pass`, `warn`, `fail`), of Spring Boot (`UP`, `DOWN`), and those that people use.
    const WELL: [&str; 8] = ["healthy", "ok", "up", "pass", "passing", "alive", "green", "true"];
    const DEGRADED: [&str; 5] = ["degraded", "warn", "warning", "impaired", "yellow"];

    fn of(word: &str) -> Option<Self> {
        let is = |known: &&str| word.eq_ignore_ascii_case(known);
        if Self::WELL.iter().any(is) {
            Some(Self::Well)
        } else if Self::DEGRADED.iter().any(is) {
            Some(Self::Degraded)
        } else {
            None
        }
    }
}

/// Reads what comes and drops it; the connection itself ends after the bytes that a check reads.
async fn drain(answer: Response<Incoming>) {
    let mut body = answer.into_body();
    while let Some(Ok(_)) = body.frame().await {}
}
