//! How one check of one node is done: HTTP, TCP, TLS, MQTT. Each returns what it found and how long each phase took.
//!
//! One check is one connection, opened for it and closed after it, so that what is found is what a new client would find.
//! Whether a result means up or down is not decided here.

mod connect;
mod error;
mod http;
mod mqtt;
mod tcp;
mod tls;

use std::fmt;
use std::time::Duration;

pub use error::{Phase, ProbeError};

use crate::host;
use crate::model::{Check, CheckKind, CheckTarget, TcpCheck};
use crate::tls::NodeTls;

/// What one check found, and how long it took.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Report {
    /// What the node answered, or why it did not.
    pub outcome: Result<Found, ProbeError>,
    /// Until the TCP connection stood, without TLS; `None` where it never did.
    pub connect: Option<Duration>,
    /// From the beginning until the outcome was known.
    pub total: Duration,
}

/// A good answer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Found {
    /// The connection stands, with TLS where the node speaks it; nothing was to be expected.
    Connected,
    /// The expected bytes came.
    Expected,
    /// A status within the check's range.
    Status(u16),
    /// Its certificate is good for so many days.
    Certified {
        /// Whole days.
        days_left: u64,
    },
    /// Its certificate is good, and ends soon.
    Ending {
        /// Whole days.
        days_left: u64,
    },
    /// It lets us in.
    Accepted,
    /// It says that it is well, in its own word.
    Well(String),
    /// It answers, and says that it is not well, in its own word.
    Degraded(String),
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connected => f.write_str("connected"),
            Self::Certified { days_left } => write!(f, "certificate good for {days_left} days"),
            Self::Ending { days_left } => write!(f, "certificate ends in {days_left} days"),
            Self::Accepted => f.write_str("accepted"),
            Self::Expected => f.write_str("answered as expected"),
            Self::Status(status) => write!(f, "{status}"),
            Self::Well(word) | Self::Degraded(word) => write!(f, "says {word:?}"),
        }
    }
}

impl fmt::Display for Report {
    /// In one line for people: `ok 200 in 1.2 ms`, `connect: refused`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.outcome {
            Ok(found) => write!(f, "ok {found} in {:.1} ms", self.total.as_secs_f64() * 1e3),
            Err(error) => error.fmt(f),
        }
    }
}

/// Checks one address of one node, within `check.timeout` from now. A check of kind `none` opens a connection and no more.
///
/// Dropping the future closes the connection.
pub async fn run(target: &CheckTarget, check: &Check, tls: &NodeTls) -> Report {
    let began = host::now();
    let deadline = began + check.timeout;
    let mut connect = None;
    let outcome = match &check.kind {
        CheckKind::Http(http) => http::check(target, http, tls, deadline, &mut connect).await,
        CheckKind::Tcp(tcp) => tcp::check(target, tcp, tls, deadline, &mut connect).await,
        CheckKind::Tls(of_tls) => tls::check(target, of_tls, tls, deadline, &mut connect).await,
        CheckKind::Mqtt(mqtt) => mqtt::check(target, mqtt, tls, deadline, &mut connect).await,
        CheckKind::None => tcp::check(target, &TcpCheck::default(), tls, deadline, &mut connect).await,
    };
    Report { total: outcome.1 - began, outcome: outcome.0, connect }
}

#[cfg(test)]
mod tests;
