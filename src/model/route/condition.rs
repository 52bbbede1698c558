//! What a request must be like.

use std::sync::Arc;

use super::super::cidr::Cidr;
use super::super::id::{ListenerName, RegionName};
use super::super::time::TimeWindow;
use super::pattern::{FieldName, HostPattern, Method, PathPattern, TextPattern};

/// What a request must be like: every list that is not empty must hold something that fits it, one of `any` must hold where
/// there are any, and none of `not`.
///
/// Of a connection that is not HTTP there is no more to ask than where it came in, from whom, and when.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Conditions {
    /// Where it came in.
    pub listeners: Vec<ListenerName>,
    /// Whether it came over TLS.
    pub scheme: Option<Scheme>,
    /// The host that it names.
    pub hosts: Vec<HostPattern>,
    /// Its path.
    pub paths: Vec<PathPattern>,
    /// Its method.
    pub methods: Vec<Method>,
    /// A field of its head.
    pub headers: Vec<Named<FieldName>>,
    /// A cookie.
    pub cookies: Vec<Named<Arc<str>>>,
    /// A parameter of its query, compared decoded.
    pub queries: Vec<Named<Arc<str>>>,
    /// What its `User-Agent` contains.
    pub user_agents: Vec<Arc<str>>,
    /// Who the client is.
    pub clients: Vec<Cidr>,
    /// Where the client is.
    pub regions: Vec<RegionName>,
    /// When it is.
    pub times: Vec<TimeWindow>,
    /// Which part of all clients or requests.
    pub share: Option<Share>,
    /// One of these must hold.
    pub any: Vec<Self>,
    /// None of these may hold.
    pub not: Vec<Self>,
}

impl Conditions {
    /// Whether something in it can be asked of an HTTP request alone.
    pub fn needs_http(&self) -> bool {
        !(self.hosts.is_empty()
            && self.paths.is_empty()
            && self.methods.is_empty()
            && self.headers.is_empty()
            && self.cookies.is_empty()
            && self.queries.is_empty()
            && self.user_agents.is_empty())
            || self.any.iter().chain(&self.not).any(Self::needs_http)
    }
}

/// Whether a request came over TLS.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Scheme {
    /// It came in plain.
    Http,
    /// It came over TLS.
    Https,
}

impl Scheme {
    /// As it stands in a URL.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

/// Something with a name that must be there, with one of these values or with any.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Named<N> {
    /// What it is called.
    pub name: N,
    /// What it may be; empty: whatever it is.
    pub values: Vec<TextPattern>,
    /// Whether capitals and small letters of ASCII are the same.
    pub ignore_case: bool,
}

/// A part of all clients or of all requests.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Share {
    /// How many.
    pub percent: Percent,
    /// Of what.
    pub of: ShareOf,
}

/// Of what a [`Share`] is a part.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum ShareOf {
    /// Of the clients, by address: one who is in it stays in it, at every peer, and stays in when it grows.
    #[default]
    Clients,
    /// Of the requests, by chance.
    Requests,
}

/// 0 to 100, to the hundredth.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Percent(u16);

impl Percent {
    /// All of it.
    pub const ALL: Self = Self(10_000);

    /// `None` where it is not within 0 to 100, or is something and would be rounded to nothing. What is finer than a hundredth is
    /// rounded.
    pub fn new(percent: f64) -> Option<Self> {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 10,000 by the range")]
        let rounded = (0.0..=100.0).contains(&percent).then(|| Self((percent * 100.0).round() as u16))?;
        (rounded.0 > 0 || percent == 0.0).then_some(rounded)
    }

    /// As a number.
    pub fn get(self) -> f64 {
        f64::from(self.0) / 100.0
    }

    /// Whether the part holds whoever drew `number`, any of all 64-bit numbers alike. A greater part holds whoever the smaller
    /// one holds.
    pub fn holds(self, number: u64) -> bool {
        // The upper 64 bits of the product: `number` scaled to 0 to 9,999.
        let place = (u128::from(number) * 10_000) >> 64;
        place < u128::from(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_holds_its_share_and_grows_around_whom_it_holds() {
        let numbers = (0..10_000u64).map(|n| n * (u64::MAX / 10_000));
        for (percent, held) in [(0.0, 0), (0.01, 1), (25.0, 2_500), (100.0, 10_000)] {
            let part = Percent::new(percent).unwrap();
            let count = numbers.clone().filter(|&number| part.holds(number)).count();
            assert!(count.abs_diff(held) <= 1, "{percent}: {count}");
        }
        let (small, large) = (Percent::new(10.0).unwrap(), Percent::new(10.01).unwrap());
        assert!(numbers.clone().all(|number| !small.holds(number) || large.holds(number)));
        for wrong in [-0.1, 100.1, f64::NAN] {
            assert_eq!(Percent::new(wrong), None);
        }
    }

    #[test]
    fn what_only_http_has_is_known_also_inside_of_any_and_not() {
        let path = Conditions { paths: vec!["/a".parse().unwrap()], ..Conditions::default() };
        assert!(path.needs_http());
        let nested = Conditions { not: vec![path], ..Conditions::default() };
        assert!(nested.needs_http());
        let client = Conditions { clients: vec!["10.0.0.0/8".parse().unwrap()], ..Conditions::default() };
        assert!(!Conditions { any: vec![client], ..Conditions::default() }.needs_http());
    }
}
