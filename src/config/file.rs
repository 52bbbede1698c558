//! The settings as a whole: every section in turn, then what they say of each other.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use super::addresses::{self, Listening, NodeAt};
use super::cluster;
use super::desired::desired;
use super::driver;
use super::folders;
use super::geoip;
use super::inherited;
use super::listener;
use super::peer as sections;
use super::settings::Settings;
use super::sources::{Machine, Sources};
use super::tls;
use crate::catalog::rules::{self, Over, PoolNames, PoolRead, RouteRead, Written};
use crate::document::{Description, Fault, Origin, Reader, Section, Table, quoted};
use crate::driver::Kind;
use crate::model::limits::LISTENERS_MAX;
use crate::model::{Conditions, DriverName, End, ListenerName, NodeId, PoolName};
use crate::proxy::Folder;
use crate::tls::Profile;
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

/// Reads everything. `None` where faults were found.
pub(super) fn read(reader: &mut Reader<'_>, root: &Table, sources: &Sources) -> Option<Settings> {
    let inherited = inherited::read(reader);
    let settings = reader.root(root, |s| whole(s, root, &sources.machine, &inherited));
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

fn whole(s: &mut Section<'_, '_, '_>, root: &Table, machine: &Machine, over: &Over) -> Option<Settings> {
    let peer = sections::peer(s, machine);
    let api = sections::api(s);
    let log = sections::log(s);
    let idle = sections::upstream(s);
    let cluster = cluster::cluster(s);
    let is_alone = cluster.is_none() && !s.is_set("cluster");
    let follow_file = sections::catalog(s, is_alone);
    let folders = folders::folders(s);
    let mut listeners = listener::listeners(s);
    for http in listeners.iter_mut().filter_map(|read| read.listener.as_mut()) {
        if let proxy::Protocol::Http(http) = &mut http.protocol {
            http.folders = Arc::clone(&folders);
        }
    }
    let profiles = tls::profiles(s);
    let geo = geoip::geoip(s);
    let written = rules::written(s, over);
    let drivers = driver::drivers(s, &peer.data_dir);
    s.later(&["webhook", "history"]);

    if s.reader().is_describing() {
        return None;
    }
    let is_named = s.is_set("listener") || s.is_set("pool");
    let is_reported = s.reader().is_damaged() || (is_named && s.reader().faults.count() > 0);
    let has_work = !listeners.is_empty() || !written.pools.is_empty() || over.beside.is_some() || !is_alone;
    if !has_work && !is_reported {
        let fault = Fault::new(s.origin(), "", "there is neither a listener nor a pool, so there is nothing to do")
            .hint(LEAST_FILE);
        s.reader().fault(fault);
    }
    refuse_twice(s, &listeners);
    written.refuse(s, over);
    if listeners.len() > LISTENERS_MAX {
        let wrong = format!("{} listeners are more than the {LISTENERS_MAX} allowed", listeners.len());
        let fault = Fault::new(s.origin(), "listener", wrong);
        s.reader().fault(fault);
    } else {
        refuse_addresses(s, &listeners, &written, over, &api);
        let takes_the_clusters = !is_alone && written.pools.is_empty() && over.beside.is_none();
        if takes_the_clusters && !listeners.is_empty() {
            let message =
                "there is no pool in it: until this peer has the cluster's catalog its clients are turned away";
            s.reader().warn(Origin::Default, "", message);
        } else {
            refuse_unknown_pools(s, &listeners, &written, over);
        }
    }

    refuse_unknown_profiles(s, &written, &profiles, is_alone);
    warn_of_unknown_drivers(s, &written, &drivers, is_alone);
    warn_of_unused_pools(s, &listeners, &written, over);
    inherited::warn_of_unused(s, &written.pools, over);
    warn_of_requests_of_relays(s, &listeners, &written);
    warn_of_unknown_folders(s, &written, &folders);
    warn_of_unknown_listeners(s, &listeners, &written);

    let mut built: Vec<proxy::Listener> = listeners.iter().filter_map(|read| read.listener.clone()).collect();
    if over.beside.is_some() && listeners.is_empty() {
        built.push(inherited::regions_listener());
        inherited::note_regions_listener(s.reader());
    } else if listeners.is_empty() && !written.pools.is_empty() && !s.reader().is_damaged() {
        s.reader().warn(Origin::Default, "", "there is no listener; this peer takes no traffic");
    }
    let catalog = written.build(s, over)?;
    let proxy = proxy::Settings {
        workers: peer.workers,
        listeners: built,
        announce: peer.announce,
        drain: peer.drain,
        idle,
        connections_max: peer.connections_max,
    };
    let desired = Arc::new(desired(root, over));
    let peer = peer::Settings {
        id: peer.id,
        region: peer.region,
        data_dir: peer.data_dir,
        proxy,
        catalog,
        desired,
        follow_file,
        tls: profiles,
        drivers,
        geo,
        cluster,
    };
    Some(Settings { peer, api, log })
}

/// Pools that name a driver which the file does not have. In a cluster other peers may have it, and where a file says nothing of drivers they do.
fn warn_of_unknown_drivers(
    s: &mut Section<'_, '_, '_>,
    written: &Written,
    drivers: &BTreeMap<DriverName, Kind>,
    is_alone: bool,
) {
    for read in &written.pools {
        let (Some((pool, origin)), Some(of)) = (&read.name, &read.pool) else { continue };
        let moved = of.failover.as_ref().and_then(|failover| failover.by.driver()).map(|driver| ("failover", driver));
        let scaled = of.scaling.as_ref().map(|scaling| ("scaling", &scaling.driver));
        for (key, name) in moved.into_iter().chain(scaled).filter(|(_, name)| !drivers.contains_key(*name)) {
            let what = match (is_alone, drivers.is_empty()) {
                (true, _) => "and no other peer to have it: nothing is done",
                (false, false) => "another peer has to have it",
                (false, true) => continue,
            };
            let message = format!("there is no [[driver]] of name \"{name}\" in this file; {what}");
            s.reader().warn(origin.clone(), format!("pool \"{pool}\" {key}.driver"), message);
        }
    }
}

/// Pools that name a profile of TLS which the file does not have. In a cluster other peers may have it.
fn refuse_unknown_profiles(s: &mut Section<'_, '_, '_>, written: &Written, profiles: &[Profile], is_alone: bool) {
    for read in &written.pools {
        let Some((pool, origin)) = &read.name else { continue };
        let Some(name) = read.pool.as_ref().and_then(|pool| pool.tls.as_ref()) else { continue };
        if profiles.iter().any(|profile| profile.name == *name) {
            continue;
        }
        let (origin, key) = (origin.clone(), format!("pool \"{pool}\" tls"));
        let wrong = format!("there is no [[tls]] of name \"{name}\" in it");
        if is_alone {
            let names: Vec<String> = profiles.iter().map(|profile| quoted(&profile.name)).collect();
            let allowed =
                if names.is_empty() { "a [[tls]] of this file; it has none".to_owned() } else { names.join(", ") };
            s.reader().fault(Fault::new(origin, key, wrong).found(quoted(name)).allowed(allowed));
        } else {
            s.reader().warn(origin, key, format!("{wrong}: this peer does not use the nodes of the pool"));
        }
    }
}

/// Pools that neither a listener nor a route leads to. Where a listener's pool is wrong, one of these may be the one that is meant.
fn warn_of_unused_pools(s: &mut Section<'_, '_, '_>, listeners: &[listener::Read], written: &Written, over: &Over) {
    let beside = over.beside.iter().map(|(pool, _)| &pool.name);
    let named = written.pools.iter().filter_map(|pool| pool.name.as_ref()).map(|(name, _)| name).chain(beside);
    let named: HashSet<&PoolName> = named.collect();
    let by_listeners = listeners.iter().filter_map(|read| read.pool.as_ref()).map(|(name, _)| name);
    let by_routes = written.routes.iter().flat_map(pools_of_route);
    let led: HashSet<&PoolName> = by_listeners.chain(by_routes).collect();
    if s.reader().is_damaged() || listeners.iter().any(|read| read.pool.is_none()) || !led.is_subset(&named) {
        return;
    }
    // A route may lead to a node by its name.
    let is_led_by_node = |pool: &PoolRead| {
        let named =
            |id: &NodeId| written.routes.iter().any(|route| route.node.as_ref().is_some_and(|(node, _)| node == id));
        pool.pool.as_ref().is_some_and(|pool| pool.nodes.iter().any(|node| named(&node.id)))
    };
    for pool in written.pools.iter().filter(|pool| !is_led_by_node(pool)) {
        let Some((name, origin)) = pool.name.as_ref().filter(|(name, _)| !led.contains(name)) else { continue };
        let (origin, place) = (origin.clone(), format!("pool \"{name}\""));
        s.reader().warn(origin, place, "neither a listener nor a route leads to it; its nodes are only checked");
    }
}

/// Routes to files of a folder that this peer does not have. In a cluster others may.
fn warn_of_unknown_folders(s: &mut Section<'_, '_, '_>, written: &Written, folders: &[Folder]) {
    for read in &written.routes {
        let (Some((name, origin)), Some(route)) = (&read.name, &read.route) else { continue };
        let Some(End::Files(files)) = &route.then.end else { continue };
        if !folders.iter().any(|folder| folder.name == files.folder) {
            let message = format!("this file has no [[files]] called {}; here it answers with 404", files.folder);
            s.reader().warn(origin.clone(), format!("route \"{name}\" then.files.folder"), message);
        }
    }
}

/// Routes of a listener that this peer does not have. In a cluster others may.
fn warn_of_unknown_listeners(s: &mut Section<'_, '_, '_>, listeners: &[listener::Read], written: &Written) {
    // A listener that was wrong may be the one that is meant.
    let Some(known) = listeners.iter().map(|read| read.listener.as_ref()).collect::<Option<Vec<_>>>() else { return };
    if known.is_empty() {
        return;
    }
    for read in &written.routes {
        let (Some((name, origin)), Some(route)) = (&read.name, &read.route) else { continue };
        let named = listeners_named(&route.when);
        for unknown in named.into_iter().filter(|name| known.iter().all(|known| known.name != **name)) {
            let message =
                format!("this file has no [[listener]] called {unknown}; here the route fits nothing that comes there");
            s.reader().warn(origin.clone(), format!("route \"{name}\" when.listener"), message);
        }
    }
}

fn listeners_named(when: &Conditions) -> Vec<&ListenerName> {
    let within = when.any.iter().chain(&when.not).flat_map(listeners_named);
    when.listeners.iter().chain(within).collect()
}

fn pools_of_route(route: &RouteRead) -> impl Iterator<Item = &PoolName> {
    route.pools.iter().map(|(_, pool, _)| pool)
}

/// Settings of requests of a pool that only relays lead to, and no route, which may be one of requests.
fn warn_of_requests_of_relays(s: &mut Section<'_, '_, '_>, listeners: &[listener::Read], written: &Written) {
    let named = |pool: &PoolRead| pool.name.as_ref().map(|(name, _)| name.clone());
    let by_route =
        |pool: &PoolRead| written.routes.iter().flat_map(pools_of_route).any(|led| Some(led) == named(pool).as_ref());
    for pool in written.pools.iter().filter(|pool| !pool.of_requests.is_empty() && !by_route(pool)) {
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
fn refuse_unknown_pools(s: &mut Section<'_, '_, '_>, listeners: &[listener::Read], written: &Written, over: &Over) {
    let Some(names) = PoolNames::of(s, written, over) else { return };
    for read in listeners {
        if let Some((name, origin)) = &read.pool {
            names.refuse(s.reader(), format!("{} pool", read.place), name, origin);
        }
    }
}

/// Listeners of one name.
fn refuse_twice(s: &mut Section<'_, '_, '_>, listeners: &[listener::Read]) {
    let names = listeners.iter().filter_map(|read| read.name.as_ref()).map(|(name, origin)| (name, origin.clone()));
    let words = |name: &_| (format!("listener \"{name}\" name"), format!("listener {name} stands there twice"));
    s.reader().refuse_twice(names, words);
}

/// What addresses say of each other.
fn refuse_addresses(
    s: &mut Section<'_, '_, '_>,
    listeners: &[listener::Read],
    written: &Written,
    over: &Over,
    api: &api::Settings,
) {
    let regions = over.beside.iter().filter(|_| listeners.is_empty()).map(|(_, origin)| {
        let listener = inherited::regions_listener();
        let place = format!("listener \"{}\"", listener.name);
        Listening { address: listener.address, origin: origin.clone(), place }
    });
    let read = listeners.iter().filter_map(|read| {
        let (address, origin) = read.address.clone()?;
        Some(Listening { address, origin, place: read.place.clone() })
    });
    let listening: Vec<Listening> = read.chain(regions).collect();
    addresses::refuse_clashes(s.reader(), &listening, api.listen());

    let read = written.pools.iter().flat_map(|read| &read.nodes).filter_map(|node| {
        let (address, origin) = node.address.as_ref()?;
        Some(NodeAt { address, origin: origin.clone(), place: &node.place })
    });
    let beside = over.beside.iter().flat_map(|(pool, origin)| pool.nodes.iter().map(move |node| (node, origin)));
    let beside: Vec<_> =
        beside.map(|(node, origin)| (&node.address, origin.clone(), format!("node \"{}\"", node.id))).collect();
    let beside = beside.iter().map(|(address, origin, place)| NodeAt { address, origin: origin.clone(), place });
    addresses::refuse_loops(s.reader(), &listening, read.chain(beside));
}
