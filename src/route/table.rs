//! All routes of a catalog, so arranged that a request meets only those that its listener, host and path allow.
//!
//! Routes are known by their places in the order in which they are looked at: by priority, then as they were written. The lists that
//! a request meets are in that order, and are gone through side by side.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use super::checks::{Checks, Draft, List, Settled};
use super::facts::Facts;
use super::trie::{Forest, Grown, Met, Texts, Tree};
use crate::host::Dice;
use crate::model::limits::HOST_BYTES_MAX;
use crate::model::{HostPattern, ListenerName, PathPattern, Route};

/// Places that one route takes in the index. One whose listeners, hosts and paths make more is looked at for more requests than
/// it must be.
const PLACES_PER_ROUTE_MAX: usize = 256;
/// Lists that one request meets where its routes are as usual.
const LISTS_USUAL: usize = 12;

/// All routes of a catalog. The default has none.
#[derive(Debug, Default)]
pub struct Table {
    entries: Box<[Arc<Entry>]>,
    /// What is looked at of each before anything else of it: all of them lie close together.
    marks: Box<[Mark]>,
    checks: Checks,
    by_listener: HashMap<ListenerName, Hosts>,
    /// Of routes that name no listener.
    of_all: Hosts,
    /// Those that decide about connections which are not HTTP: they name a listener and ask nothing that only HTTP has.
    of_connections: HashMap<ListenerName, Vec<u32>>,
}

#[derive(Clone, Copy, Debug)]
struct Mark {
    /// What is asked beyond the index.
    checks: List,
    /// Whether it says where the way ends.
    ends: bool,
}

/// A route that is switched on.
#[derive(Debug)]
pub struct Entry {
    /// As it was written.
    pub route: Route,
    /// Tells its shares of clients from those of other routes, at every peer alike.
    seed: u64,
    /// Whom its limits refused since the peer started, or since it has been a route.
    pub limited: Arc<Limited>,
}

impl Entry {
    /// Tells the route from others, at every peer alike and whatever else of it is changed.
    pub fn seed(&self) -> u64 {
        self.seed
    }
}

/// How many the limits of a route refused: requests, and connections that are not HTTP.
#[derive(Debug, Default)]
pub struct Limited {
    /// By its rate.
    pub by_rate: AtomicU64,
    /// By what there may be at the same time.
    pub by_connections: AtomicU64,
}

/// The routes that have a say in what becomes of a request, by their places.
#[derive(Debug)]
pub struct Found<'t> {
    table: &'t Table,
    before: Vec<u32>,
    end: Option<u32>,
}

impl Found<'_> {
    /// Whether one of them says where the way ends.
    pub fn has_end(&self) -> bool {
        self.end.is_some()
    }

    /// The routes themselves, which stay what they are when the table is another.
    pub fn decision(&self) -> Decision {
        let entry = |&place: &u32| Arc::clone(&self.table.entries[place as usize]);
        Decision { before: self.before.iter().map(entry).collect(), end: self.end.as_ref().map(entry) }
    }
}

/// What becomes of a request.
#[derive(Clone, Debug, Default)]
pub struct Decision {
    /// Routes that fit and say no end, in order.
    pub before: Vec<Arc<Entry>>,
    /// The one that says where the way ends; `None`: at the listener's pool.
    pub end: Option<Arc<Entry>>,
}

impl Decision {
    /// All routes that have a say, in order.
    pub fn routes(&self) -> impl Iterator<Item = &Route> {
        self.entries().map(|entry| &entry.route)
    }

    /// The same with what is known of them.
    pub fn entries(&self) -> impl Iterator<Item = &Arc<Entry>> {
        self.before.iter().chain(&self.end)
    }
}

/// The paths by the hosts that they are of.
#[derive(Debug, Default)]
struct Hosts {
    /// The tree in which hosts stand, from their ends, and behind [`HOST_ENDS`] their paths. Where `*.example.com` stands, without its
    /// star, are the routes of all its paths, and as what is whole there the tree of the others, as no path ends in a host.
    names: Option<Tree>,
    /// The paths of all hosts.
    any: Option<Tree>,
    forest: Forest,
}

/// Tells a host from the path behind it: no host has it.
const HOST_ENDS: u8 = 0;

#[derive(Default)]
struct HostsDraft {
    names: Texts,
    /// The paths below a name, where they are not all paths.
    below: HashMap<Box<str>, Texts>,
    any: Option<Texts>,
}

impl HostsDraft {
    fn trees(self) -> Hosts {
        let mut grown = Grown::default();
        let any = self.any.map(|paths| grown.plant(paths));
        let mut names = self.names;
        for (ending, paths) in self.below {
            names.whole(&reversed(&ending), grown.plant(paths).0);
        }
        let names = (!names.is_empty()).then(|| grown.plant(names));
        Hosts { names, any, forest: grown.forest() }
    }
}

fn reversed(text: &str) -> Vec<u8> {
    text.bytes().rev().collect()
}

/// How a host pattern is looked up.
enum HostKey<'p> {
    Exact(&'p str),
    Below(&'p str),
    /// Among all hosts that end so, or among all.
    Checked(Option<&'p str>),
}

impl<'p> HostKey<'p> {
    fn of(pattern: &'p HostPattern) -> Self {
        let text = pattern.as_str();
        let Some(star) = text.rfind('*') else { return Self::Exact(text) };
        let ending = &text[star + 1..];
        if star == 0 && ending.starts_with('.') {
            return Self::Below(ending);
        }
        Self::Checked(ending.find('.').map(|dot| &ending[dot..]))
    }
}

/// How a path pattern is looked up.
enum PathKey<'p> {
    Whole(&'p str),
    Beginning(&'p str),
    /// Among all that begin so.
    Checked(&'p str),
}

impl<'p> PathKey<'p> {
    fn of(pattern: &'p PathPattern) -> Self {
        let text = pattern.as_str();
        match text.find('*') {
            None => Self::Whole(text),
            Some(star) if star + 1 == text.len() => Self::Beginning(&text[..star]),
            Some(star) => Self::Checked(&text[..star]),
        }
    }
}

impl Table {
    /// Arranges the routes that are switched on.
    pub fn of(routes: &[Route]) -> Self {
        Self::default().after(routes)
    }

    /// The same, with what routes of this table have counted.
    #[must_use]
    pub fn after(&self, routes: &[Route]) -> Self {
        let counted: HashMap<_, _> = self.entries.iter().map(|entry| (&entry.route.name, &entry.limited)).collect();
        let mut enabled: Vec<&Route> = routes.iter().filter(|route| route.enabled).collect();
        enabled.sort_by_key(|route| route.priority);
        let mut by_listener: HashMap<ListenerName, HostsDraft> = HashMap::new();
        let mut of_all = HostsDraft::default();
        let mut of_connections: HashMap<ListenerName, Vec<u32>> = HashMap::new();
        let mut entries = Vec::with_capacity(enabled.len());
        let mut marks = Vec::with_capacity(enabled.len());
        let mut checks = Draft::default();
        for (place, route) in (0u32..).zip(enabled) {
            let when = &route.when;
            if !when.needs_http() {
                for name in &when.listeners {
                    let places = of_connections.entry(name.clone()).or_default();
                    // One that is named twice is named.
                    if places.last() != Some(&place) {
                        places.push(place);
                    }
                }
            }
            let settled = plan(route);
            let put = |hosts: &mut HostsDraft| put(hosts, route, settled, place);
            if settled.listener && !when.listeners.is_empty() {
                when.listeners.iter().for_each(|name| put(by_listener.entry(name.clone()).or_default()));
            } else {
                put(&mut of_all);
            }
            let seed = xxhash_rust::xxh3::xxh3_64(route.name.as_str().as_bytes());
            let limited = counted.get(&route.name).map(|limited| Arc::clone(limited)).unwrap_or_default();
            let checks = checks.add(when, proven(route, settled), seed);
            marks.push(Mark { checks, ends: route.then.end.is_some() });
            entries.push(Arc::new(Entry { route: route.clone(), seed, limited }));
        }
        Self {
            entries: entries.into(),
            marks: marks.into(),
            checks: checks.checks(),
            by_listener: by_listener.into_iter().map(|(name, hosts)| (name, hosts.trees())).collect(),
            of_all: of_all.trees(),
            of_connections,
        }
    }

    /// Whether there is none, so that nothing need be asked.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The routes that are switched on, in the order in which they are looked at.
    pub fn entries(&self) -> &[Arc<Entry>] {
        &self.entries
    }

    /// Which routes have a say in what becomes of a request.
    pub fn find<F: Facts + ?Sized>(&self, facts: &F, dice: &mut Dice) -> Found<'_> {
        let mut lists = Lists::default();
        match facts.head() {
            Some(head) => {
                let mut room = [0; HOST_BYTES_MAX];
                let host = from_end(head.host(), &mut room);
                let own = if self.by_listener.is_empty() { None } else { self.by_listener.get(facts.listener()) };
                for hosts in own.into_iter().chain([&self.of_all]) {
                    hosts.walk(host, head.path, &mut |places| lists.add(places));
                }
            }
            None => lists.add(self.of_connections.get(facts.listener()).map_or(&[], Vec::as_slice)),
        }
        let mut found = Found { table: self, before: Vec::new(), end: None };
        while let Some(place) = lists.next() {
            let mark = self.marks[place as usize];
            if !self.checks.hold(mark.checks, facts, dice) {
                continue;
            }
            if mark.ends {
                found.end = Some(place);
                break;
            }
            found.before.push(place);
        }
        found
    }
}

/// Which parts of its conditions become places in the index.
fn plan(route: &Route) -> Settled {
    let when = &route.when;
    let counts = [when.listeners.len().max(1), when.hosts.len().max(1), when.paths.len().max(1)];
    let [listeners, hosts, paths] = counts;
    Settled {
        listener: listeners * hosts * paths <= PLACES_PER_ROUTE_MAX,
        host: hosts * paths <= PLACES_PER_ROUTE_MAX,
        path: true,
    }
}

/// Which parts need not be looked at where the index has led to the route.
fn proven(route: &Route, planned: Settled) -> Settled {
    let when = &route.when;
    Settled {
        listener: planned.listener,
        host: planned.host && when.hosts.iter().all(|host| !matches!(HostKey::of(host), HostKey::Checked(_))),
        path: when.paths.iter().all(|path| !matches!(PathKey::of(path), PathKey::Checked(_))),
    }
}

fn put(hosts: &mut HostsDraft, route: &Route, planned: Settled, place: u32) {
    let when = &route.when;
    let put_paths = |texts: &mut Texts, host: &[u8]| {
        if when.paths.is_empty() {
            texts.beginning(host, place);
        }
        for path in &when.paths {
            match PathKey::of(path) {
                PathKey::Whole(path) => texts.whole(&[host, path.as_bytes()].concat(), place),
                PathKey::Beginning(prefix) | PathKey::Checked(prefix) => {
                    texts.beginning(&[host, prefix.as_bytes()].concat(), place);
                }
            }
        }
    };
    if when.hosts.is_empty() || !planned.host {
        return put_paths(hosts.any.get_or_insert_default(), b"");
    }
    for host in &when.hosts {
        match HostKey::of(host) {
            HostKey::Exact(host) => {
                let mut host = reversed(host);
                host.push(HOST_ENDS);
                put_paths(&mut hosts.names, &host);
            }
            HostKey::Below(ending) | HostKey::Checked(Some(ending)) if when.paths.is_empty() => {
                hosts.names.beginning(&reversed(ending), place);
            }
            HostKey::Below(ending) | HostKey::Checked(Some(ending)) => {
                put_paths(hosts.below.entry(ending.into()).or_default(), b"");
            }
            HostKey::Checked(None) => put_paths(hosts.any.get_or_insert_default(), b""),
        }
    }
}

impl Hosts {
    /// `from_end`: the host in lower case, from its end; `None`: it is none that a route could name.
    fn walk<'t>(&'t self, from_end: Option<&[u8]>, path: &[u8], found: &mut impl FnMut(&'t [u32])) {
        let Self { names, any, forest } = self;
        if let Some(paths) = *any {
            forest.walk(paths, path, found);
        }
        if let (Some(names), Some(host)) = (*names, from_end) {
            let mut walk = forest.begin(names);
            let is_known = walk.on(host, &mut |met| {
                found(met.beginning);
                met.whole.iter().for_each(|&paths| forest.walk(Tree(paths), path, found));
            });
            let mut found_all = |met: Met<'t>| found(met.beginning);
            if is_known && walk.on(&[HOST_ENDS], &mut found_all) && walk.on(path, &mut found_all) {
                found(walk.whole());
            }
        }
    }
}

/// The host in lower case, from its end; `None`: it is longer than any name, or has a byte that none has.
fn from_end<'b>(host: &[u8], room: &'b mut [u8; HOST_BYTES_MAX]) -> Option<&'b [u8]> {
    let room = room.get_mut(..host.len())?;
    room.iter_mut().zip(host.iter().rev()).for_each(|(to, byte)| *to = byte.to_ascii_lowercase());
    (!room.contains(&HOST_ENDS)).then_some(room)
}

/// Lists of places, each in order, gone through in the order of all.
struct Lists<'t> {
    few: [&'t [u32]; LISTS_USUAL],
    count: usize,
    /// Where more lists were met than are usual.
    more: Vec<&'t [u32]>,
}

impl Default for Lists<'_> {
    fn default() -> Self {
        Self { few: [&[]; LISTS_USUAL], count: 0, more: Vec::new() }
    }
}

impl<'t> Lists<'t> {
    fn add(&mut self, places: &'t [u32]) {
        if places.is_empty() {
            return;
        }
        match self.few.get_mut(self.count) {
            Some(free) => {
                *free = places;
                self.count += 1;
            }
            None => self.more.push(places),
        }
    }

    /// The next place, each once.
    fn next(&mut self) -> Option<u32> {
        let (few, more) = (&mut self.few[..self.count], &mut self.more);
        let least = few.iter().chain(more.iter()).filter_map(|list| list.first().copied()).min()?;
        for list in few.iter_mut().chain(more.iter_mut()) {
            if list.first() == Some(&least) {
                *list = &list[1..];
            }
        }
        Some(least)
    }
}

#[cfg(test)]
mod tests;
