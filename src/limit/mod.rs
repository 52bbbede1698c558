//! Limits: who has come too often, and who has too much under way. Pure: the time is handed in, and so is the secret by which keys
//! are hashed.
//!
//! One [`Limiter`] serves all limits of a peer, and what it knows of a key goes by the hash of the limit's scope and the key. So
//! it is bounded once, and a limit that stays the same finds its keys again, whatever else changed in the catalog. Keys are
//! hashed by SipHash under a secret, so nobody can choose keys that meet. Rates tell them apart by 64 bits: that any two of a
//! million share one has odds of 1 in 37 million. What is in flight goes by 44 bits and a bucket: any two of a million there meet
//! with odds of 1 in 9 million. Two that share a hash share their limit, and nothing else comes of it.

mod gcra;
mod in_flight;
mod levels;
mod rates;

use std::hash::{BuildHasher, Hash, RandomState};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::model::limits::LIMITER_BYTES_MAX;
use crate::model::{ConnectionLimit, FieldName, Ipv6Prefix, Per, RateLimit};

use gcra::Gcra;
use in_flight::{InFlight, Place};
use rates::Rates;

pub use in_flight::Full;

/// Counts for all limits of a peer.
pub struct Limiter {
    secret: RandomState,
    began: Instant,
    rates: Rates,
    in_flight: InFlight,
}

/// Where a limit stands: keys of two scopes have nothing to do with each other.
#[derive(Clone, Copy, Debug, Hash)]
pub enum Scope<'a> {
    /// In a route, known by the hash of its name.
    Route(u64),
    /// In a listener.
    Listener(&'a str),
}

/// Whom a limit counts by itself.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Who<'a> {
    /// A client: its address, of IPv6 as much as tells clients apart.
    Client(IpAddr),
    /// All who say this in a field.
    Field(&'a [u8]),
    /// Everybody.
    All,
}

impl<'a> Who<'a> {
    /// Whom a limit counts; `field` has the only value of a field, if there is one and it is not empty.
    pub fn of(per: &Per, client: IpAddr, field: impl FnOnce(&FieldName) -> Option<&'a [u8]>) -> Self {
        match per {
            Per::Client(prefix) => Self::client(client, *prefix),
            Per::Header(name, prefix) => field(name).map_or_else(|| Self::client(client, *prefix), Self::Field),
            Per::Route => Self::All,
        }
    }

    /// A client by its address.
    pub fn client(address: IpAddr, prefix: Ipv6Prefix) -> Self {
        Self::Client(match address.to_canonical() {
            IpAddr::V6(address) => {
                let mask = u128::MAX << (128 - u32::from(prefix.get()));
                IpAddr::V6((u128::from(address) & mask).into())
            }
            address => address,
        })
    }
}

/// How a key stands with a rate limit.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RateLeft {
    /// How many may come at once.
    pub requests: u64,
    /// How long it is until one may.
    pub wait: Duration,
}

impl Limiter {
    /// Knows nobody yet. Nobody may know the `secret`.
    pub fn new(secret: RandomState, began: Instant) -> Self {
        Self { secret, began, rates: Rates::default(), in_flight: InFlight::default() }
    }

    /// Takes one of a rate, or says how long it is until one may pass.
    pub fn pass(&self, scope: Scope<'_>, limit: &RateLimit, who: Who<'_>, now: Instant) -> Result<(), Duration> {
        let gcra = Gcra::of(limit);
        self.rates.take(self.rate_key(scope, limit, who), gcra, self.since(now))
    }

    /// How a key stands. Takes nothing.
    pub fn left(&self, scope: Scope<'_>, limit: &RateLimit, who: Who<'_>, now: Instant) -> RateLeft {
        let (requests, wait) = self.rates.look(self.rate_key(scope, limit, who), Gcra::of(limit), self.since(now));
        RateLeft { requests, wait }
    }

    /// Counts one in until what is returned is dropped.
    pub fn enter(self: &Arc<Self>, scope: Scope<'_>, limit: &ConnectionLimit, who: Who<'_>) -> Result<Held, Full> {
        let place = self.in_flight.enter(self.in_flight_key(scope, &limit.per, who), limit.max.get())?;
        Ok(Held(place.map(|place| (Arc::clone(self), place))))
    }

    /// How many of a key are under way.
    pub fn in_flight(&self, scope: Scope<'_>, limit: &ConnectionLimit, who: Who<'_>) -> u64 {
        self.in_flight.count(self.in_flight_key(scope, &limit.per, who))
    }

    /// Keys of rates that gave way to others although they were of use still, since the peer started.
    pub fn forgotten(&self) -> u64 {
        self.rates.forgotten()
    }

    /// How many were let in uncounted because there was no room to count them, since the peer started.
    pub fn uncounted(&self) -> u64 {
        self.in_flight.uncounted()
    }

    /// Memory that is taken; at most [`LIMITER_BYTES_MAX`].
    pub fn bytes(&self) -> usize {
        let bytes = self.rates.bytes() + self.in_flight.bytes();
        debug_assert!(bytes <= LIMITER_BYTES_MAX);
        bytes
    }

    fn since(&self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.began).as_nanos()).unwrap_or(u64::MAX)
    }

    /// A rate that changes is another one, and begins anew.
    fn rate_key(&self, scope: Scope<'_>, limit: &RateLimit, who: Who<'_>) -> u64 {
        self.key((0u8, limit.rate().interval(), limit.burst()), scope, limit.per(), who)
    }

    /// Another greatest number counts the same.
    fn in_flight_key(&self, scope: Scope<'_>, per: &Per, who: Who<'_>) -> u64 {
        self.key(1u8, scope, per, who)
    }

    fn key(&self, kind: impl Hash, scope: Scope<'_>, per: &Per, who: Who<'_>) -> u64 {
        self.secret.hash_one((kind, scope, per, who))
    }
}

impl std::fmt::Debug for Limiter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Limiter").field("bytes", &self.bytes()).finish_non_exhaustive()
    }
}

/// Counts one in as long as it lives.
#[derive(Debug)]
pub struct Held(Option<(Arc<Limiter>, Place)>);

impl Drop for Held {
    fn drop(&mut self) {
        if let Some((limiter, place)) = self.0.take() {
            limiter.in_flight.leave(place);
        }
    }
}

#[cfg(test)]
mod tests;
