//! Regions, as users wrote them.

use std::num::NonZeroU32;

use super::cidr::Cidr;
use super::drill::ScheduledDrill;
use super::geography::{Continent, Country};
use super::id::RegionName;

/// Requests a second that a region takes with all its nodes usable: 1 to 4,294,967,295.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Capacity(pub NonZeroU32);

/// What a peer is asked, requests a second.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Demand {
    /// By the region that is a request's first choice.
    pub by_region: Vec<(RegionName, f64)>,
    /// Those that it wants to send to another one.
    pub guests: f64,
}

impl Demand {
    /// Whether it is asked nothing.
    pub fn is_none(&self) -> bool {
        self.by_region.is_empty() && self.guests <= 0.0
    }
}

/// A region's share of traffic beside the others': above 0, at most 1000.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct RegionWeight(f64);

impl RegionWeight {
    /// The greatest.
    pub const MAX: f64 = 1_000.0;

    /// `None` where it is not above 0, above [`RegionWeight::MAX`], or no number.
    pub fn new(weight: f64) -> Option<Self> {
        (weight > 0.0 && weight <= Self::MAX).then_some(Self(weight))
    }

    /// The number.
    pub fn get(self) -> f64 {
        self.0
    }
}

impl Default for RegionWeight {
    fn default() -> Self {
        Self(1.0)
    }
}

/// How a region is chosen for a request, before a node in it is.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum RegionStrategy {
    /// The client's, then the peer's, then those that the client's prefers, then any.
    #[default]
    Nearest,
    /// Each in turn.
    RoundRobin,
    /// The one whose nodes are the nearest by their checks.
    LeastLatency,
    /// By chance, in proportion to the weights of regions.
    Weighted,
    /// None: the pool's strategy picks among the nodes of all.
    Any,
}

impl RegionStrategy {
    /// Every strategy under the name that is shown.
    pub const ALL: [(&'static str, Self); 5] = [
        ("nearest", Self::Nearest),
        ("round_robin", Self::RoundRobin),
        ("least_latency", Self::LeastLatency),
        ("weighted", Self::Weighted),
        ("any", Self::Any),
    ];

    /// The name that is shown.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, strategy)| *strategy == self).map_or("", |(name, _)| name)
    }
}

/// What users said of a region. One of which nothing was said is as this one ships.
#[derive(Clone, Debug, PartialEq)]
pub struct Region {
    /// Unique in the catalog.
    pub name: RegionName,
    /// Where its traffic goes when it cannot stay: these in their order, then any.
    pub prefer: Vec<RegionName>,
    /// What it takes; `None`: whatever comes.
    pub capacity: Option<Capacity>,
    /// Its share.
    pub weight: RegionWeight,
    /// Clients that are there.
    pub clients: Vec<Cidr>,
    /// Countries whose clients are there, as a GeoIP file says.
    pub countries: Vec<Country>,
    /// Continents whose clients are there, where no region names their country.
    pub continents: Vec<Continent>,
    /// When some of its traffic is held away to see whether the others could take it; `None`: never by itself.
    pub drill: Option<ScheduledDrill>,
}

impl Region {
    /// A region with everything as it ships.
    pub fn new(name: RegionName) -> Self {
        Self {
            name,
            prefer: Vec::new(),
            capacity: None,
            weight: RegionWeight::default(),
            clients: Vec::new(),
            countries: Vec::new(),
            continents: Vec::new(),
            drill: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_weight_is_a_number_above_0() {
        for weight in [1.0, 0.001, 1_000.0] {
            assert_eq!(RegionWeight::new(weight).map(RegionWeight::get), Some(weight));
        }
        for weight in [0.0, -1.0, 1_000.1, f64::NAN, f64::INFINITY] {
            assert_eq!(RegionWeight::new(weight), None, "{weight}");
        }
    }
}
