//! Asking a node how it is: what to ask, how often, and how many answers in a row count.

use std::fmt;
use std::num::NonZeroU8;
use std::sync::Arc;
use std::time::Duration;

use super::address::Host;
use super::transport::Transport;

/// What a check does.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum CheckKind {
    /// `GET path` and a status within `statuses`.
    Http(HttpCheck),
    /// A connection, and optionally bytes sent and bytes expected.
    Tcp(TcpCheck),
    /// A TLS handshake, and how long the certificate is still good.
    Tls(TlsCheck),
    /// A connection that an MQTT broker accepts.
    Mqtt(MqttCheck),
    /// Nothing is asked; the node counts as up until traffic says otherwise.
    None,
}

impl CheckKind {
    /// The name that users write.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Http(_) => "http",
            Self::Tcp(_) => "tcp",
            Self::Tls(_) => "tls",
            Self::Mqtt(_) => "mqtt",
            Self::None => "none",
        }
    }
}

/// An HTTP check.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct HttpCheck {
    /// Path and query, beginning with `/`.
    pub path: Arc<str>,
    /// Value of the `Host` field; `None`: the node's own.
    pub host: Option<Arc<str>>,
    /// Statuses that mean up.
    pub statuses: StatusRange,
    /// What of the body counts beside that.
    pub body: BodyCheck,
}

impl HttpCheck {
    /// Of this path, where the status says it all.
    pub fn of(path: impl Into<Arc<str>>) -> Self {
        Self { path: path.into(), host: None, statuses: StatusRange::SUCCESS, body: BodyCheck::Any }
    }
}

/// What of the body of an HTTP answer counts.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum BodyCheck {
    /// Nothing.
    Any,
    /// It must contain these bytes.
    Contains(Arc<[u8]>),
    /// It is JSON, and this field of it says how the node is.
    Json(JsonField),
}

/// Where a field is in JSON: the names of objects within objects, `status` or `checks.database.state`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct JsonField(Box<[Arc<str>]>);

/// Why a text names no field.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("it is no field: one to eight names with dots between them, none of them empty")]
pub struct JsonFieldError;

impl JsonField {
    /// Objects within objects.
    const DEPTH_MAX: usize = 8;

    /// The names, the outermost first.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(AsRef::as_ref)
    }
}

impl std::str::FromStr for JsonField {
    type Err = JsonFieldError;

    fn from_str(text: &str) -> Result<Self, JsonFieldError> {
        let names: Box<[Arc<str>]> = text.split('.').map(Arc::from).collect();
        let are_names = names.iter().all(|name| !name.is_empty() && !name.chars().any(char::is_control));
        if are_names && names.len() <= Self::DEPTH_MAX { Ok(Self(names)) } else { Err(JsonFieldError) }
    }
}

impl fmt::Display for JsonField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("."))
    }
}

/// Statuses from `low` to `high`, both included, within 100 to 599.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct StatusRange {
    low: u16,
    high: u16,
}

impl StatusRange {
    /// 200 to 399, which is what most balancers take for healthy.
    pub const SUCCESS: Self = Self { low: 200, high: 399 };

    /// A range, unless it is empty or reaches outside of 100 to 599.
    pub fn new(low: u16, high: u16) -> Option<Self> {
        (100 <= low && low <= high && high <= 599).then_some(Self { low, high })
    }

    /// Whether all of them are of the other range.
    pub fn is_within(self, other: Self) -> bool {
        other.contains(self.low) && other.contains(self.high)
    }

    /// Whether `status` is one of them.
    pub fn contains(self, status: u16) -> bool {
        (self.low..=self.high).contains(&status)
    }
}

/// As users write it: `200-399`, or `200` alone.
impl fmt::Display for StatusRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.low == self.high { write!(f, "{}", self.low) } else { write!(f, "{}-{}", self.low, self.high) }
    }
}

/// A TCP check.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct TcpCheck {
    /// Bytes sent once connected.
    pub send: Arc<[u8]>,
    /// Bytes that the answer must contain; empty: the connection is enough.
    pub expect: Arc<[u8]>,
}

/// A TLS check.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct TlsCheck {
    /// A node whose certificate is good for fewer days is degraded.
    pub min_days: u16,
}

impl Default for TlsCheck {
    fn default() -> Self {
        Self { min_days: 7 }
    }
}

/// An MQTT check.
#[derive(Clone, Default, Eq, PartialEq)]
pub struct MqttCheck {
    /// Who connects; `None`: nobody in particular.
    pub user: Option<Arc<str>>,
    /// Their password.
    pub password: Option<Arc<[u8]>>,
}

impl fmt::Debug for MqttCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MqttCheck").field("user", &self.user).finish_non_exhaustive()
    }
}

/// How a pool's nodes are checked.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Check {
    /// What is done.
    pub kind: CheckKind,
    /// Time between two checks of a settled node, ± 10 %. Shorter finds dead nodes sooner and asks them more often.
    pub interval: Duration,
    /// How long one check may take.
    pub timeout: Duration,
    /// Good answers in a row that bring a node up.
    pub rise: NonZeroU8,
    /// Bad answers in a row that take it down.
    pub fall: NonZeroU8,
}

impl Check {
    /// Interval of a check that sets none.
    pub const INTERVAL_DEFAULT: Duration = Duration::from_secs(5);
    /// Time-out of a check that sets none.
    pub const TIMEOUT_DEFAULT: Duration = Duration::from_secs(2);
    /// `rise` of a check that sets none.
    pub const RISE_DEFAULT: NonZeroU8 = NonZeroU8::new(2).unwrap();
    /// `fall` of a check that sets none.
    pub const FALL_DEFAULT: NonZeroU8 = NonZeroU8::new(3).unwrap();

    /// A check of this kind with everything else as it ships.
    pub fn of(kind: CheckKind) -> Self {
        Self {
            kind,
            interval: Self::INTERVAL_DEFAULT,
            timeout: Self::TIMEOUT_DEFAULT,
            rise: Self::RISE_DEFAULT,
            fall: Self::FALL_DEFAULT,
        }
    }
}

impl Default for Check {
    fn default() -> Self {
        Self::of(CheckKind::Tcp(TcpCheck::default()))
    }
}

/// What one check of one node is to do, with the address already known.
#[derive(Clone, Debug)]
pub struct CheckTarget {
    /// Where to connect.
    pub address: std::net::SocketAddr,
    /// What is spoken there below the check.
    pub transport: Transport,
    /// The name for the certificate.
    pub host: Host,
    /// The value of `Host` where the check names none.
    pub authority: Arc<str>,
}
