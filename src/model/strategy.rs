//! How a node of a pool is picked: the names that users write.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Serialize, Serializer};

/// How a node of a pool is picked.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum Strategy {
    /// Each in turn, smoothly by weight.
    RoundRobin,
    /// By chance, all alike.
    Random,
    /// By chance, in proportion to effective weight.
    Weighted,
    /// By chance, in proportion to `max(1, 200 − latency in ms)`.
    WeightedLatency,
    /// Two by chance, the one with the better health score for its load.
    #[default]
    HealthScore,
    /// The fewest requests in flight for its weight.
    LeastConnections,
    /// The smallest latency of checks, times load.
    LeastLatency,
    /// The smallest time to the head of an answer, times load.
    LeastResponseTime,
    /// Two by chance, the one with fewer requests in flight for its weight.
    PowerOfTwo,
    /// The client's address decides.
    IpHash,
    /// The pool's [`HashKey`] decides.
    ConsistentHash,
}

impl Strategy {
    /// Every strategy under the name that is shown.
    pub const ALL: [(&'static str, Self); 11] = [
        ("round_robin", Self::RoundRobin),
        ("random", Self::Random),
        ("weighted", Self::Weighted),
        ("weighted_latency", Self::WeightedLatency),
        ("health_score", Self::HealthScore),
        ("least_connections", Self::LeastConnections),
        ("least_latency", Self::LeastLatency),
        ("least_response_time", Self::LeastResponseTime),
        ("p2c", Self::PowerOfTwo),
        ("ip_hash", Self::IpHash),
        ("consistent_hash", Self::ConsistentHash),
    ];

    /// Second names, as other balancers write them.
    pub const ALIASES: [(&'static str, Self); 3] = [
        ("weighted_round_robin", Self::RoundRobin),
        ("least_conn", Self::LeastConnections),
        ("ewma", Self::LeastLatency),
    ];

    /// The name that is shown.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, strategy)| *strategy == self).map_or("", |(name, _)| name)
    }
}

/// A strategy that is not known.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{0:?} is no strategy")]
pub struct StrategyError(pub String);

impl FromStr for Strategy {
    type Err = StrategyError;

    fn from_str(text: &str) -> Result<Self, StrategyError> {
        Self::ALL
            .iter()
            .chain(&Self::ALIASES)
            .find(|(name, _)| *name == text)
            .map(|(_, strategy)| *strategy)
            .ok_or_else(|| StrategyError(text.to_owned()))
    }
}

impl fmt::Display for Strategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl Serialize for Strategy {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// What of a request or connection `consistent_hash` looks at, and sessions that stay by it.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub enum HashKey {
    /// The client's address.
    #[default]
    ClientIp,
    /// Path and query.
    Uri,
    /// The value of a field, named in lower case.
    Header(Arc<str>),
    /// The value of a cookie.
    Cookie(Arc<str>),
    /// The value of a query parameter.
    Query(Arc<str>),
    /// The id of a session: the value of a cookie of this name, else of a query parameter, else of a path parameter
    /// (`/cart;sid=1`).
    Session(Arc<str>),
    /// The client id of an MQTT CONNECT packet.
    MqttClientId,
}

impl HashKey {
    /// Whether it is of HTTP requests, which a relay does not see.
    pub fn is_of_requests(&self) -> bool {
        !matches!(self, Self::ClientIp | Self::MqttClientId)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_strategy_is_read_under_its_name_and_its_aliases() {
        for (name, strategy) in Strategy::ALL {
            assert_eq!(name.parse(), Ok(strategy));
            assert_eq!(strategy.to_string(), name);
        }
        assert_eq!("ewma".parse(), Ok(Strategy::LeastLatency));
        assert_eq!("fastest".parse::<Strategy>(), Err(StrategyError("fastest".into())));
    }
}
