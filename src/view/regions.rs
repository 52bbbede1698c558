//! What is known of regions: where clients are, and where traffic goes that cannot stay.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use super::spill::{Meter, RegionLive};
use crate::model::{Continent, Country, Pool, Region, RegionName, RegionWeight, Shift, Whereabouts};
use crate::route::ClientRanges;

/// The regions of a catalog, seen from one peer.
#[derive(Clone, Debug, Default)]
pub struct Regions {
    /// The peer's own.
    own: RegionName,
    written: Vec<Region>,
    by_name: HashMap<RegionName, usize>,
    clients: ClientRanges,
    by_country: HashMap<Country, usize>,
    by_continent: HashMap<Continent, usize>,
    /// Those from which traffic is held away.
    shifts: Vec<Shift>,
    /// What is counted of each region, where users say of any what it can take; else empty.
    live: BTreeMap<RegionName, Arc<RegionLive>>,
    /// Requests that this peer wanted to send to another region than the first of their choice.
    guests: Arc<Meter>,
}

impl Regions {
    pub(super) fn of(own: RegionName, written: &[Region], shifts: &[Shift]) -> Self {
        let by_name = written.iter().enumerate().map(|(at, region)| (region.name.clone(), at)).collect();
        // Of two that name the same the first counts.
        let (mut by_country, mut by_continent) = (HashMap::new(), HashMap::new());
        for (at, region) in written.iter().enumerate() {
            region.countries.iter().for_each(|country| _ = by_country.entry(*country).or_insert(at));
            region.continents.iter().for_each(|continent| _ = by_continent.entry(*continent).or_insert(at));
        }
        let clients = ClientRanges::of(written);
        let (live, guests) = (BTreeMap::new(), Arc::default());
        let (written, shifts) = (written.to_vec(), shifts.to_vec());
        Self { own, clients, by_name, by_country, by_continent, written, shifts, live, guests }
    }

    /// The same, counting where `pools` have nodes; what was counted `before` goes on.
    pub(super) fn counting(mut self, pools: &[Pool], before: &Self, now: Instant) -> Self {
        let live = |name: RegionName| {
            let live = before.live.get(&name).map_or_else(|| Arc::new(RegionLive::new(now)), Arc::clone);
            (name, live)
        };
        self.live = self.counted(pools).into_iter().map(live).collect();
        self.guests = Arc::clone(&before.guests);
        self
    }

    /// The same with counts of its own, which begin where these are: what is tried there counts nowhere.
    pub(super) fn apart(&self) -> Self {
        let live = self.live.iter().map(|(name, live)| (name.clone(), Arc::new(live.copy()))).collect();
        Self { live, guests: Arc::default(), ..self.clone() }
    }

    /// Whether what is counted are the regions of these pools.
    pub(super) fn count(&self, pools: &[Pool]) -> bool {
        self.live.keys().eq(&self.counted(pools))
    }

    /// The regions of these pools' nodes, where users say of any region what it can take.
    fn counted(&self, pools: &[Pool]) -> BTreeSet<RegionName> {
        if self.written.iter().all(|region| region.capacity.is_none()) {
            return BTreeSet::new();
        }
        let nodes = pools.iter().flat_map(|pool| &pool.nodes);
        nodes.map(|node| node.region.as_ref().unwrap_or(&self.own).clone()).collect()
    }

    /// What is counted of each region; of none where users say of none what it can take.
    pub(super) fn live(&self) -> &BTreeMap<RegionName, Arc<RegionLive>> {
        &self.live
    }

    /// Requests that wanted to go to another region than the first of their choice, where any is counted.
    pub(super) fn guests(&self) -> &Meter {
        &self.guests
    }

    /// Whether they are these, at this peer.
    pub(super) fn are(&self, own: &RegionName, written: &[Region], shifts: &[Shift]) -> bool {
        self.own == *own && self.written == written && self.shifts == shifts
    }

    /// Those from which traffic is held away.
    pub fn shifts(&self) -> &[Shift] {
        &self.shifts
    }

    /// The peer's own region.
    pub fn own(&self) -> &RegionName {
        &self.own
    }

    /// The region that the catalog says a client of this address is in.
    pub fn of_client(&self, client: IpAddr) -> Option<&RegionName> {
        self.clients.of_client(client).map(|at| &self.written[at].name)
    }

    /// The region of clients who are there.
    pub fn of_whereabouts(&self, place: Whereabouts) -> Option<&RegionName> {
        let by_country = place.country.and_then(|country| self.by_country.get(&country));
        let by_continent = || place.continent.and_then(|continent| self.by_continent.get(&continent));
        by_country.or_else(by_continent).map(|&at| &self.written[at].name)
    }

    /// Whether any says of which countries or continents its clients are.
    pub fn ask_whereabouts(&self) -> bool {
        !self.by_country.is_empty() || !self.by_continent.is_empty()
    }

    /// What is said of a region.
    pub fn get(&self, name: &RegionName) -> Option<&Region> {
        self.by_name.get(name).map(|&at| &self.written[at])
    }

    /// The share of a region beside the others'.
    pub(super) fn weight(&self, name: &RegionName) -> f64 {
        self.get(name).map_or(RegionWeight::default(), |region| region.weight).get()
    }

    /// Where sessions of a client are at home, the best first: [`Regions::order`] without this peer's own region, for it has to be the same at
    /// every peer.
    pub(super) fn order_of_homes<'a>(&'a self, client: &'a RegionName) -> impl Iterator<Item = &'a RegionName> {
        let preferred = self.get(client).map(|region| &region.prefer[..]).unwrap_or_default();
        std::iter::once(client).chain(preferred)
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
