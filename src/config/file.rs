//! The settings as a whole: every section in turn, then what they say of each other.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::hash::Hash;

use super::addresses::{self, Listening, NodeAt};
use super::cluster;
use super::inherited::{self, Inherited};
use super::listener;
use super::peer as sections;
use super::pool;
use super::settings::Settings;
use super::sources::{Machine, Sources};
use crate::document::{Description, Fault, Origin, Reader, Section, Table, nearest};
use crate::model::limits::LISTENERS_MAX;
use crate::model::{Catalog, CatalogError, Pool, PoolName};
use crate::{api, peer, proxy};

/// The least file, for whoever has none.
pub(super) const LEAST_FILE: &str = "the least file is:\n
             [[listener]]
             name = \"web\"
             listen = \"127.0.0.1:8000\"
             pool = \"web\"

             [[pool]]
             name = \"web\"

             [[pool.node]]
             id = \"web-1\"
             address = \"127.0.0.1:3000\"\n
             or set REGIONAL_ENDPOINTS=us-east:https://us.example.com";

/// More pools than this are not listed in a fault.
const NAMES_SHOWN_MAX: usize = 20;

/// Reads everything. `None` where faults were found.
pub(super) fn read(reader: &mut Reader<'_>, root: &Table, sources: &Sources) -> Option<Settings> {
    let inherited = inherited::read(reader);
    let settings = reader.root(root, |s| whole(s, &sources.machine, inherited));
    inherited::refuse_unknown(reader, &sources.environment);
    settings
}

/// Every section, key and variable there is.
pub(super) fn describe() -> Description {
    let nothing = Sources::default();
    let mut reader = Reader::describing(&nothing);
    read(&mut reader, &Table::default(), &nothing);
    reader.into_description()
}

fn whole(s: &mut Section<'_, '_, '_>, machine: &Machine, inherited: Inherited) -> Option<Settings> {
    let peer = sections::peer(s, machine);
    let api = sections::api(s);
    let log = sections::log(s);
    let idle = sections::upstream(s);
    let cluster = cluster::cluster(s);
    let listeners = listener::listeners(s);
    let pools = pool::pools(s, &inherited);
    s.later(&["tls", "catalog", "region", "route", "server", "driver", "webhook", "history"]);

    if s.reader().is_describing() {
        return None;
    }
    let is_named = s.is_set("listener") || s.is_set("pool");
    let is_reported = s.reader().is_damaged() || (is_named && s.reader().faults.count() > 0);
    if listeners.is_empty() && pools.is_empty() && !inherited.regions_named && !is_reported {
        let fault = Fault::new(s.origin(), "", "there is neither a listener nor a pool, so there is nothing to do")
            .hint(LEAST_FILE);
        s.reader().fault(fault);
    }
    refuse_twice(s, &listeners, &pools, &inherited);
    if listeners.len() > LISTENERS_MAX {
        let wrong = format!("{} listeners are more than the {LISTENERS_MAX} allowed", listeners.len());
        let fault = Fault::new(s.origin(), "listener", wrong);
        s.reader().fault(fault);
    } else {
        refuse_addresses(s, &listeners, &pools, &inherited, &api);
        refuse_unknown_pools(s, &listeners, &pools, &inherited);
    }

    warn_of_unused_pools(s, &listeners, &pools, &inherited);
    warn_of_requests_of_relays(s, &listeners, &pools);

    let mut built: Vec<proxy::Listener> = listeners.iter().filter_map(|read| read.listener.clone()).collect();
    if inherited.regions_named && listeners.is_empty() {
        built.push(inherited::regions_listener());
        inherited::note_regions_listener(s.reader());
    } else if listeners.is_empty() && !pools.is_empty() && !s.reader().is_damaged() {
        s.reader().warn(Origin::Default, "", "there is no listener; this peer takes no traffic");
    }
    let pools: Vec<Pool> = pools.into_iter().filter_map(|read| read.pool).chain(inherited.regions).collect();
    let catalog = match Catalog::new(pools) {
        Ok(catalog) => catalog,
        Err(error) => {
            // What stands twice is reported where it stands.
            if matches!(error, CatalogError::PoolsTooMany(_) | CatalogError::NodesTooMany(_)) {
                let fault = Fault::new(s.origin(), "pool", error.to_string());
                s.reader().fault(fault);
            }
            return None;
        }
    };
    let proxy =
        proxy::Settings { workers: peer.workers, listeners: built, announce: peer.announce, drain: peer.drain, idle };
    Some(Settings { peer: peer::Settings { id: peer.id, region: peer.region, proxy, catalog, cluster }, api, log })
}

/// Pools that no listener leads to. Where a listener's pool is wrong, one of these may be the one that is meant.
fn warn_of_unused_pools(
    s: &mut Section<'_, '_, '_>,
    listeners: &[listener::Read],
    pools: &[pool::Read],
    inherited: &Inherited,
) {
    let regions = inherited.regions_named.then(inherited::regions_pool);
    let named = pools.iter().filter_map(|pool| pool.name.as_ref()).map(|(name, _)| name).chain(&regions);
    let named: HashSet<&PoolName> = named.collect();
    let led: HashSet<&PoolName> =
        listeners.iter().filter_map(|read| read.pool.as_ref()).map(|(name, _)| name).collect();
    if s.reader().is_damaged() || listeners.iter().any(|read| read.pool.is_none()) || !led.is_subset(&named) {
        return;
    }
    for (name, origin) in pools.iter().filter_map(|pool| pool.name.as_ref()).filter(|(name, _)| !led.contains(name)) {
        let (origin, place) = (origin.clone(), format!("pool \"{name}\""));
        s.reader().warn(origin, place, "no listener leads to it; its nodes are only checked");
    }
}

/// Settings of requests of a pool that only relays lead to.
fn warn_of_requests_of_relays(s: &mut Section<'_, '_, '_>, listeners: &[listener::Read], pools: &[pool::Read]) {
    let named = |pool: &pool::Read| pool.name.as_ref().map(|(name, _)| name.clone());
    for pool in pools.iter().filter(|pool| !pool.of_requests.is_empty()) {
        // A listener that was wrong is none of the relays.
        let mut leading =
            listeners.iter().filter(|read| read.pool.as_ref().map(|(name, _)| name) == named(pool).as_ref());
        let is_relay = |read: &listener::Read| {
            read.listener.as_ref().is_some_and(|listener| matches!(listener.protocol, proxy::Protocol::Tcp(_)))
        };
        let first = leading.next();
        if !first.is_some_and(is_relay) || !leading.all(is_relay) || listeners.iter().any(|read| read.pool.is_none()) {
            continue;
        }
        for (origin, path) in &pool.of_requests {
            let message = "it has no effect: it is of HTTP requests, and only tcp listeners lead to this pool";
            s.reader().warn(origin.clone(), path.clone(), message);
        }
    }
}

/// Listeners whose pool does not exist.
fn refuse_unknown_pools(
    s: &mut Section<'_, '_, '_>,
    listeners: &[listener::Read],
    pools: &[pool::Read],
    inherited: &Inherited,
) {
    // A pool whose name was wrong may be the one that is meant.
    if s.reader().is_damaged() || pools.iter().any(|pool| pool.name.is_none()) {
        return;
    }
    let regions = inherited.regions_named.then(inherited::regions_pool);
    let named: BTreeSet<&str> = pools
        .iter()
        .filter_map(|pool| pool.name.as_ref().map(|(name, _)| name))
        .chain(regions.as_ref())
        .map(PoolName::as_str)
        .collect();
    for read in listeners {
        let Some((name, origin)) = &read.pool else { continue };
        if named.contains(name.as_str()) {
            continue;
        }
        let allowed = match named.len() {
            0 => "a [[pool]] of this file; there is none".to_owned(),
            1..=NAMES_SHOWN_MAX => named.iter().copied().collect::<Vec<_>>().join(", "),
            many => format!("one of the {many} pools"),
        };
        let mut fault = Fault::new(origin.clone(), format!("{} pool", read.place), "there is no such pool")
            .found(format!("\"{name}\""))
            .allowed(allowed);
        if let Some(meant) = nearest(name.as_str(), named.iter().copied()) {
            fault = fault.hint(format!("did you mean \"{meant}\"?"));
        }
        s.reader().fault(fault);
    }
}

/// Names that must be unique and are not; the second is at fault and the first is named.
fn refuse_twice(
    s: &mut Section<'_, '_, '_>,
    listeners: &[listener::Read],
    pools: &[pool::Read],
    inherited: &Inherited,
) {
    let names = listeners.iter().filter_map(|read| read.name.as_ref()).map(|(name, origin)| (name, origin.clone()));
    twice(s, names, |name| (format!("listener \"{name}\" name"), format!("listener {name} stands there twice")));

    let regions = inherited
        .regions_named
        .then(|| (inherited::regions_pool(), Origin::Environment { name: "REGIONAL_ENDPOINTS".to_owned() }));
    let names = pools.iter().filter_map(|read| read.name.as_ref()).chain(regions.as_ref());
    twice(s, names.map(|(name, origin)| (name, origin.clone())), |name| {
        (format!("pool \"{name}\" name"), CatalogError::PoolTwice(name.clone()).to_string())
    });

    let regional = inherited.regions.iter().flat_map(|pool| &pool.nodes);
    let regional = regional.map(|node| (&node.id, Origin::Environment { name: "REGIONAL_ENDPOINTS".to_owned() }));
    let ids = pools.iter().flat_map(|read| &read.nodes).filter_map(|node| node.id.as_ref());
    let ids = ids.map(|(id, origin)| (id, origin.clone())).chain(regional);
    twice(s, ids, |id| (format!("node \"{id}\" id"), CatalogError::NodeTwice(id.clone()).to_string()));
}

fn twice<'n, N: Hash + Eq + std::fmt::Display + 'n>(
    s: &mut Section<'_, '_, '_>,
    names: impl Iterator<Item = (&'n N, Origin)>,
    words: impl Fn(&N) -> (String, String),
) {
    let mut seen: HashMap<&N, Origin> = HashMap::new();
    for (name, origin) in names {
        match seen.entry(name) {
            Entry::Vacant(entry) => {
                entry.insert(origin);
            }
            Entry::Occupied(first) => {
                let (key, wrong) = words(name);
                let fault = Fault::new(origin, key, wrong)
                    .found(format!("\"{name}\""))
                    .hint(format!("the first is at {}; give one of them another name", first.get()));
                s.reader().fault(fault);
            }
        }
    }
}

/// What addresses say of each other.
fn refuse_addresses(
    s: &mut Section<'_, '_, '_>,
    listeners: &[listener::Read],
    pools: &[pool::Read],
    inherited: &Inherited,
    api: &api::Settings,
) {
    let regional = || Origin::Environment { name: "REGIONAL_ENDPOINTS".to_owned() };
    let regions = (inherited.regions_named && listeners.is_empty()).then(inherited::regions_listener);
    let regions = regions.map(|listener| Listening {
        address: listener.address,
        origin: regional(),
        place: format!("listener \"{}\"", listener.name),
    });
    let read = listeners.iter().filter_map(|read| {
        let (address, origin) = read.address.clone()?;
        Some(Listening { address, origin, place: read.place.clone() })
    });
    let listening: Vec<Listening> = read.chain(regions).collect();
    addresses::refuse_clashes(s.reader(), &listening, api.listen());

    let read = pools.iter().flat_map(|read| &read.nodes).filter_map(|node| {
        let (address, origin) = node.address.as_ref()?;
        Some(NodeAt { address, origin: origin.clone(), place: &node.place })
    });
    let regional_nodes = inherited.regions.iter().flat_map(|pool| &pool.nodes);
    let regional_nodes: Vec<_> = regional_nodes.map(|node| (&node.address, format!("node \"{}\"", node.id))).collect();
    let of_regions = regional_nodes.iter().map(|(address, place)| NodeAt { address, origin: regional(), place });
    addresses::refuse_loops(s.reader(), &listening, read.chain(of_regions));
}
