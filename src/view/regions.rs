//! What is known of regions: where clients are, and where traffic goes that cannot stay.

use std::collections::HashMap;
use std::net::IpAddr;

use crate::model::{Region, RegionName, RegionWeight};
use crate::route::ClientRanges;

/// The regions of a catalog, seen from one peer.
#[derive(Debug, Default, PartialEq)]
pub struct Regions {
    /// The peer's own.
    own: RegionName,
    written: Vec<Region>,
    by_name: HashMap<RegionName, usize>,
    clients: ClientRanges,
}

impl Regions {
    pub(super) fn of(own: RegionName, written: &[Region]) -> Self {
        let by_name = written.iter().enumerate().map(|(at, region)| (region.name.clone(), at)).collect();
        Self { own, clients: ClientRanges::of(written), by_name, written: written.to_vec() }
    }

    /// Whether they are these, at this peer.
    pub(super) fn are(&self, own: &RegionName, written: &[Region]) -> bool {
        self.own == *own && self.written == written
    }

    /// The peer's own region.
    pub fn own(&self) -> &RegionName {
        &self.own
    }

    /// The region that the catalog says a client of this address is in.
    pub fn of_client(&self, client: IpAddr) -> Option<&RegionName> {
        self.clients.of_client(client).map(|at| &self.written[at].name)
    }

    /// What is said of a region.
    pub fn get(&self, name: &RegionName) -> Option<&Region> {
        self.by_name.get(name).map(|&at| &self.written[at])
    }

    /// The share of a region beside the others'.
    pub(super) fn weight(&self, name: &RegionName) -> f64 {
        self.get(name).map_or(RegionWeight::default(), |region| region.weight).get()
    }

    /// Where traffic of a client goes, the best first: its region, the peer's, then those that the first of the two which says any
    /// prefers. Then any.
    pub(super) fn order<'a>(&'a self, client: &'a RegionName) -> impl Iterator<Item = &'a RegionName> {
        let prefers =
            |name: &RegionName| self.get(name).map(|region| &region.prefer[..]).filter(|list| !list.is_empty());
        let preferred = prefers(client).or_else(|| prefers(&self.own)).unwrap_or_default();
        // What a client's own region prefers is nearer to it than where the peer happens to be.
        let says = prefers(client).is_some();
        let (before, behind) = if says { (None, Some(&self.own)) } else { (Some(&self.own), None) };
        std::iter::once(client).chain(before).chain(preferred).chain(behind)
    }
}
