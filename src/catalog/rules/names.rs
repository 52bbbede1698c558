//! Names that must be unique, names that must lead somewhere, and how many there may be.

use std::collections::BTreeSet;

use super::route::RouteRead;
use super::{Over, Written};
use crate::document::{Fault, Origin, Reader, Section, nearest, quoted};
use crate::model::{Catalog, CatalogError, CatalogParts, NodeId, PoolName, ServerId};

/// More pools than this are not listed in a fault.
const NAMES_SHOWN_MAX: usize = 20;

/// The pools that a name may mean.
pub(crate) struct PoolNames<'n>(BTreeSet<&'n str>);

impl<'n> PoolNames<'n> {
    /// `None` where one could not be read: it may be the one that is meant.
    pub(crate) fn of(s: &mut Section<'_, '_, '_>, written: &'n Written, over: &'n Over) -> Option<Self> {
        if s.reader().is_damaged() || written.pools.iter().any(|pool| pool.name.is_none()) {
            return None;
        }
        let read = written.pools.iter().filter_map(|pool| pool.name.as_ref()).map(|(name, _)| name);
        let beside = over.beside.iter().map(|(pool, _)| &pool.name);
        Some(Self(read.chain(beside).map(PoolName::as_str).collect()))
    }

    /// Refuses a name that leads nowhere.
    pub(crate) fn refuse(&self, reader: &mut Reader<'_>, key: String, name: &PoolName, origin: &Origin) {
        if self.0.contains(name.as_str()) {
            return;
        }
        let allowed = match self.0.len() {
            0 => "a [[pool]]; there is none".to_owned(),
            1..=NAMES_SHOWN_MAX => self.0.iter().copied().collect::<Vec<_>>().join(", "),
            many => format!("one of the {many} pools"),
        };
        let mut fault =
            Fault::new(origin.clone(), key, "there is no such pool").found(format!("\"{name}\"")).allowed(allowed);
        if let Some(meant) = nearest(name.as_str(), self.0.iter().copied()) {
            fault = fault.hint(format!("did you mean \"{meant}\"?"));
        }
        reader.fault(fault);
    }
}

/// Refuses names that stand twice.
pub(super) fn refuse_twice(s: &mut Section<'_, '_, '_>, written: &Written, over: &Over) {
    let beside = over.beside.iter().map(|(pool, origin)| (&pool.name, origin.clone()));
    let names = written.pools.iter().filter_map(|read| read.name.as_ref());
    s.reader().refuse_twice(names.map(|(name, origin)| (name, origin.clone())).chain(beside), |name| {
        (format!("pool \"{name}\" name"), CatalogError::PoolTwice(name.clone()).to_string())
    });

    let beside = over.beside.iter().flat_map(|(pool, origin)| pool.nodes.iter().map(|node| (&node.id, origin.clone())));
    let ids = written.pools.iter().flat_map(|read| &read.nodes).filter_map(|node| node.id.as_ref());
    s.reader().refuse_twice(ids.map(|(id, origin)| (id, origin.clone())).chain(beside), |id| {
        (format!("node \"{id}\" id"), CatalogError::NodeTwice(id.clone()).to_string())
    });

    let names = written.regions.iter().filter_map(|read| read.name.as_ref());
    s.reader().refuse_twice(names.map(|(name, origin)| (name, origin.clone())), |name| {
        (format!("region \"{name}\" name"), CatalogError::RegionTwice(name.clone()).to_string())
    });
    let ids = written.servers.iter().filter_map(|read| read.id.as_ref());
    s.reader().refuse_twice(ids.map(|(id, origin)| (id, origin.clone())), |id| {
        (format!("server \"{id}\" id"), CatalogError::ServerTwice(id.clone()).to_string())
    });
    let names = written.routes.iter().filter_map(|read| read.name.as_ref());
    s.reader().refuse_twice(names.map(|(name, origin)| (name, origin.clone())), |name| {
        (format!("route \"{name}\" name"), CatalogError::RouteTwice(name.clone()).to_string())
    });
}

/// Refuses routes whose pool or node does not exist.
pub(super) fn refuse_unknown_ends(s: &mut Section<'_, '_, '_>, written: &Written, over: &Over) {
    let Some(names) = PoolNames::of(s, written, over) else { return };
    for read in &written.routes {
        for (key, name, origin) in &read.pools {
            names.refuse(s.reader(), format!("{} {key}", read.place), name, origin);
        }
    }
    let mut nodes = written.pools.iter().flat_map(|pool| &pool.nodes);
    if nodes.any(|node| node.id.is_none()) {
        return;
    }
    let read = written.pools.iter().flat_map(|pool| &pool.nodes).filter_map(|node| node.id.as_ref()).map(|(id, _)| id);
    let beside = over.beside.iter().flat_map(|(pool, _)| &pool.nodes).map(|node| &node.id);
    let ids: BTreeSet<&str> = read.chain(beside).map(NodeId::as_str).collect();
    for RouteRead { node, place, .. } in &written.routes {
        let Some((id, origin)) = node.as_ref().filter(|(id, _)| !ids.contains(id.as_str())) else { continue };
        let fault = Fault::new(origin.clone(), format!("{place} then.node"), "there is no such node").found(quoted(id));
        let fault = match nearest(id.as_str(), ids.iter().copied()) {
            Some(meant) => fault.hint(format!("did you mean \"{meant}\"?")),
            None => fault,
        };
        s.reader().fault(fault);
    }
}

/// Refuses nodes on servers that do not exist.
pub(super) fn refuse_unknown_servers(s: &mut Section<'_, '_, '_>, written: &Written) {
    if s.reader().is_damaged() || written.servers.iter().any(|server| server.id.is_none()) {
        return;
    }
    let ids = written.servers.iter().filter_map(|server| server.id.as_ref()).map(|(id, _)| id);
    let ids: BTreeSet<&str> = ids.map(ServerId::as_str).collect();
    for node in written.pools.iter().flat_map(|pool| &pool.nodes) {
        let Some((id, origin)) = node.server.as_ref().filter(|(id, _)| !ids.contains(id.as_str())) else { continue };
        let fault =
            Fault::new(origin.clone(), format!("{} server", node.place), "there is no such server").found(quoted(id));
        let fault = match nearest(id.as_str(), ids.iter().copied()) {
            Some(meant) => fault.hint(format!("did you mean \"{meant}\"?")),
            None => fault.hint("write a [[server]] with this id"),
        };
        s.reader().fault(fault);
    }
}

/// A catalog of what could be read.
pub(super) fn build(s: &mut Section<'_, '_, '_>, parts: CatalogParts) -> Option<Catalog> {
    match Catalog::of(parts) {
        Ok(catalog) => Some(catalog),
        Err(error) => {
            let part = match error {
                CatalogError::PoolsTooMany(_) | CatalogError::NodesTooMany(_) => "pool",
                CatalogError::RegionsTooMany(_) => "region",
                CatalogError::ServersTooMany(_) => "server",
                CatalogError::RoutesTooMany(_) => "route",
                // What stands twice or leads nowhere is reported where it stands.
                CatalogError::PoolTwice(_)
                | CatalogError::NodeTwice(_)
                | CatalogError::RegionTwice(_)
                | CatalogError::ServerTwice(_)
                | CatalogError::RouteTwice(_)
                | CatalogError::RouteToNowhere(..)
                | CatalogError::NodeOnNoServer(..)
                | CatalogError::RouteToNoNode(..) => return None,
            };
            let fault = Fault::new(s.origin(), part, error.to_string());
            s.reader().fault(fault);
            None
        }
    }
}
