//! A TCP check: a connection, bytes sent, bytes expected.

use std::time::{Duration, Instant};

use memchr::memmem::Finder;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::Found;
use super::connect::{Connection, open, within};
use super::error::{Phase, ProbeError};
use crate::host;
use crate::model::limits::CHECK_ANSWER_BYTES_MAX;
use crate::model::{CheckTarget, TcpCheck};
use crate::tls::{Inside, NodeTls};

/// Bytes read at once.
const READ_BYTES: usize = 4 * 1024;
/// How long the end of a connection may take after the result is known.
const CLOSE_TIME_MAX: Duration = Duration::from_millis(100);

/// The outcome, and when it was known.
pub(super) async fn check(
    target: &CheckTarget,
    check: &TcpCheck,
    tls: &NodeTls,
    deadline: Instant,
    connect: &mut Option<Duration>,
) -> (Result<Found, ProbeError>, Instant) {
    let outcome = exchange(target, check, tls, deadline, connect).await;
    let known = host::now();
    let outcome = match outcome {
        Ok((found, mut connection)) => {
            // With TLS this says goodbye, so that the node logs no broken connection.
            let _ = timeout(CLOSE_TIME_MAX, connection.shutdown()).await;
            Ok(found)
        }
        Err(error) => Err(error),
    };
    (outcome, known)
}

async fn exchange(
    target: &CheckTarget,
    check: &TcpCheck,
    tls: &NodeTls,
    deadline: Instant,
    connect: &mut Option<Duration>,
) -> Result<(Found, Connection), ProbeError> {
    let mut connection = open(target, (tls, Inside::Bytes), deadline, connect).await?;
    within(deadline, Phase::Answer, async {
        if !check.send.is_empty() {
            connection.write_all(&check.send).await.map_err(|error| ProbeError::of_io(&error, Phase::Answer))?;
            connection.flush().await.map_err(|error| ProbeError::of_io(&error, Phase::Answer))?;
        }
        if check.expect.is_empty() {
            return Ok((Found::Connected, connection));
        }
        let expected = Finder::new(&*check.expect);
        let mut received = Vec::new();
        while received.len() < CHECK_ANSWER_BYTES_MAX {
            // Bytes from before may hold the beginning of what is expected, so the search goes back by its length.
            let from = received.len().saturating_sub(check.expect.len() - 1);
            received.reserve(READ_BYTES);
            let read = connection.read_buf(&mut received).await;
            match read.map_err(|error| ProbeError::of_io(&error, Phase::Answer))? {
                0 if received.is_empty() => return Err(ProbeError::Closed(Phase::Answer)),
                0 => break,
                _ if expected.find(&received[from..]).is_some() => return Ok((Found::Expected, connection)),
                _ => {}
            }
        }
        Err(ProbeError::ExpectedMissing { received: received.len() })
    })
    .await
}
