//! What may stand in the catalog: every key of it, and what its parts say of each other.
//!
//! The settings file holds the first catalog of a cluster, and so is read here too: a key lives on one line of `pool.rs`,
//! `node.rs`, `check.rs`, `region.rs`, `server.rs` or `route.rs`, wherever the document comes from. [`read`] is for a
//! catalog that stands alone: one that a user sends, or one that the cluster agreed on.

mod check;
mod failover;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod hash_key;
mod names;
mod node;
mod pool;
mod region;
mod route;
mod scaling;
mod server;
mod sticky;
#[cfg(test)]
mod tests;
mod time;

use std::collections::BTreeSet;
use std::num::NonZeroU8;
use std::time::Duration;

use serde_json::{Map, Value};

pub use crate::document::Unknown;
use crate::document::{Description, Faults, Origin, Outside, Override, Reader, Section, Table, Warning};
use crate::model::{Catalog, CatalogParts, Pool, RegionStrategy, Route, ShiftPolicy, Strategy};

pub(crate) use check::{FALL, INTERVAL, STATUSES};
pub(crate) use names::PoolNames;
pub(crate) use pool::{PoolRead, REGION_STRATEGY, STRATEGY};
pub(crate) use route::{CONTENT_TYPE, RouteRead, SECURITY_HEADERS};
pub(crate) use scaling::{LITTLE, MUCH, NODES_AT_MOST};

use region::RegionRead;
use server::ServerRead;

/// The keys that a catalog has, which are the sections of the settings file that are the catalog.
pub const PARTS: [&str; 5] = ["pool", "region", "server", "route", "failover"];

/// A catalog that was read.
#[derive(Clone, Debug, PartialEq)]
pub struct Read {
    /// The catalog.
    pub catalog: Catalog,
    /// The keys that this version does not know and that were kept.
    pub unknown: BTreeSet<String>,
    /// What is allowed and probably not meant.
    pub warnings: Vec<Warning>,
}

/// Reads what users want the catalog to be, which has the keys of the settings file: `{"pool": [{"name": "web", "node":
/// [...]}]}`. Refused, it is told everything that is wrong at once.
pub fn read(desired: &Map<String, Value>, unknown: Unknown<'_>) -> Result<Read, Faults> {
    let mut reader = Reader::of_catalog(unknown, &Alone);
    let root = Table::of_json(desired);
    let over = Over::default();
    let catalog = reader.root(&root, |s| {
        let written = written(s, &over);
        written.refuse(s, &over);
        written.build(s, &over)
    });
    match catalog {
        Some(catalog) if reader.faults.count() == 0 => {
            Ok(Read { catalog, unknown: reader.kept().clone(), warnings: reader.take_warnings() })
        }
        _ => Err(reader.faults.in_reading_order()),
    }
}

/// A document around which there is nothing: no environment, no flags.
struct Alone;

impl Outside for Alone {
    fn variable(&self, _: &str) -> Option<&str> {
        None
    }

    fn inherited(&self, _: &str, _: &str) -> Option<&'static str> {
        None
    }

    fn flag(&self, _: &str, _: &str) -> Option<(&'static str, Option<&str>)> {
        None
    }

    fn describe(&self) -> Description {
        let mut reader = Reader::describing(&Self);
        reader.root(&Table::default(), |s| drop(written(s, &Over::default())));
        reader.into_description()
    }
}

/// What is stronger than a document or stands beside it.
#[derive(Debug, Default)]
pub(crate) struct Over {
    /// The strategy of every pool.
    pub strategy: Option<Override<Strategy>>,
    /// The region strategy of every pool.
    pub region_strategy: Option<Override<RegionStrategy>>,
    /// The interval of every pool's checks.
    pub interval: Option<Override<Duration>>,
    /// Bad answers in a row that take a node of any pool down.
    pub fall: Option<Override<NonZeroU8>>,
    /// Whether regions are shifted by themselves.
    pub auto_shift: Option<Override<bool>>,
    /// How pools are scaled that are scaled.
    pub scaling: OverScaling,
    /// A pool more, and who says so.
    pub beside: Option<(Pool, Origin)>,
}

/// What is stronger than a document of how pools are scaled.
#[derive(Debug, Default)]
pub(crate) struct OverScaling {
    /// Whether that happens by itself.
    pub enabled: Option<Override<bool>>,
    /// Nodes of a region that there are at most.
    pub max_nodes: Option<Override<u32>>,
    /// More connections than that at a node start one.
    pub up: Option<Override<f64>>,
    /// Less than that stop one.
    pub down: Option<Override<f64>>,
}

/// What stands in a document, each part by itself.
pub(crate) struct Written {
    pub pools: Vec<PoolRead>,
    regions: Vec<RegionRead>,
    servers: Vec<ServerRead>,
    shift_policy: ShiftPolicy,
    pub routes: Vec<RouteRead>,
}

/// Reads every part.
pub(crate) fn written(s: &mut Section<'_, '_, '_>, over: &Over) -> Written {
    Written {
        pools: pool::pools(s, over),
        regions: region::regions(s),
        servers: server::servers(s),
        shift_policy: s
            .section("failover", "When a region that is lost gets its traffic back.", |s| failover::shifts(s, over)),
        routes: route::routes(s),
    }
}

/// The route, switched off where a newer peer wrote of it what this version does not know: with a condition less it would fit
/// what it must not.
fn known(mut route: Route, s: &mut Section<'_, '_, '_>) -> Route {
    let place = format!("route \"{}\" ", route.name);
    if s.reader().kept().iter().any(|key| key.starts_with(&place)) {
        route.enabled = false;
        let origin = s.origin_of("route");
        s.reader().warn(origin, place.trim_end(), "this version does not know all of it and passes it over");
    }
    route
}

impl Written {
    /// Refuses what the parts say of each other.
    pub(crate) fn refuse(&self, s: &mut Section<'_, '_, '_>, over: &Over) {
        names::refuse_twice(s, self, over);
        names::refuse_unknown_ends(s, self, over);
        names::refuse_unknown_servers(s, self);
    }

    /// The catalog; `None` where something of it was refused.
    pub(crate) fn build(self, s: &mut Section<'_, '_, '_>, over: &Over) -> Option<Catalog> {
        let beside = over.beside.iter().map(|(pool, _)| pool.clone());
        let parts = CatalogParts {
            pools: self.pools.into_iter().filter_map(|read| read.pool).chain(beside).collect(),
            regions: self.regions.into_iter().filter_map(|read| read.region).collect(),
            servers: self.servers.into_iter().filter_map(|read| read.server).collect(),
            shift_policy: self.shift_policy,
            shifts: Vec::new(),
            routes: self.routes.into_iter().filter_map(|read| read.route).map(|route| known(route, s)).collect(),
        };
        names::build(s, parts)
    }
}
