//! All routes of a catalog, so arranged that a request meets only those that its listener, host and path allow.
//!
//! Routes are known by their places in the order in which they are looked at: by priority, then as they were written. The lists that
//! a request meets are in that order, and are gone through side by side.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use super::facts::Facts;
use super::fit::{Settled, holds};
use super::trie::{Forest, Grown, Texts, Tree};
use crate::host::Dice;
use crate::model::limits::HOST_BYTES_MAX;
use crate::model::{Conditions, HostPattern, ListenerName, PathPattern, Route};

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
    by_listener: HashMap<ListenerName, Hosts>,
    /// Of routes that name no listener.
    of_all: Hosts,
    /// Those that decide about connections which are not HTTP: they name a listener and ask nothing else.
    of_connections: Box<[u32]>,
}

#[derive(Clone, Copy, Debug)]
struct Mark {
    /// Whether the index says all that there is to say.
    is_settled: bool,
    /// Whether it says where the way ends.
    ends: bool,
}

/// A route that is switched on.
#[derive(Debug)]
pub struct Entry {
    /// As it was written.
    pub route: Route,
    settled: Settled,
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

/// The trees of paths by the hosts that they are of.
#[derive(Debug, Default)]
struct Hosts {
    /// The tree in which hosts stand, from their ends: whole ones, and what follows the star of `*.example.com` with its dot. What
    /// stands there are trees of paths.
    names: Option<Tree>,
    /// The paths of all hosts.
    any: Option<Tree>,
    forest: Forest,
}

#[derive(Default)]
struct HostsDraft {
    exact: HashMap<Box<str>, Texts>,
    below: HashMap<Box<str>, Texts>,
    any: Option<Texts>,
}

impl HostsDraft {
    fn trees(self) -> Hosts {
        let mut grown = Grown::default();
        let any = self.any.map(|paths| grown.plant(paths));
        let mut names = Texts::default();
        let is_named = !self.exact.is_empty() || !self.below.is_empty();
        for (host, paths) in self.exact {
            names.whole(&reversed(&host), grown.plant(paths).0);
        }
        for (ending, paths) in self.below {
            names.beginning(&reversed(&ending), grown.plant(paths).0);
        }
        let names = is_named.then(|| grown.plant(names));
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
        let Some(star) = text.rfind('*') else { return Self::Exact(text.strip_suffix('.').unwrap_or(text)) };
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
        let mut of_connections = Vec::new();
        let mut entries = Vec::with_capacity(enabled.len());
        for (place, route) in (0u32..).zip(enabled) {
            let when = &route.when;
            if !when.listeners.is_empty() && !when.needs_http() {
                of_connections.push(place);
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
            let settled = proven(route, settled);
            entries.push(Arc::new(Entry { settled, route: route.clone(), seed, limited }));
        }
        let mark =
            |entry: &Arc<Entry>| Mark { is_settled: is_all_settled(entry), ends: entry.route.then.end.is_some() };
        let marks = entries.iter().map(mark).collect();
        Self {
            entries: entries.into(),
            marks,
            by_listener: by_listener.into_iter().map(|(name, hosts)| (name, hosts.trees())).collect(),
            of_all: of_all.trees(),
            of_connections: of_connections.into(),
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
    pub fn find<F: Facts + ?Sized>(&self, facts: &F, dice: &mut Dice) -> Decision {
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
            None => lists.add(&self.of_connections),
        }
        let is_http = facts.head().is_some();
        let mut decision = Decision::default();
        while let Some(place) = lists.next() {
            let mark = self.marks[place as usize];
            let is_it = (is_http && mark.is_settled) || {
                let entry = &self.entries[place as usize];
                // The index has led nobody to the routes of connections.
                let settled = if is_http { entry.settled } else { Settled::default() };
                holds(&entry.route.when, settled, facts, entry.seed, dice)
            };
            if !is_it {
                continue;
            }
            let entry = Arc::clone(&self.entries[place as usize]);
            if mark.ends {
                decision.end = Some(entry);
                break;
            }
            decision.before.push(entry);
        }
        decision
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

fn is_all_settled(entry: &Entry) -> bool {
    let Settled { listener, host, path } = entry.settled;
    let when = &entry.route.when;
    let conditions = Conditions { listeners: Vec::new(), hosts: Vec::new(), paths: Vec::new(), ..when.clone() };
    listener && host && path && conditions == Conditions::default()
}

fn put(hosts: &mut HostsDraft, route: &Route, planned: Settled, place: u32) {
    let when = &route.when;
    let put_paths = |paths: &mut Texts| {
        if when.paths.is_empty() {
            paths.beginning(b"", place);
        }
        for path in &when.paths {
            match PathKey::of(path) {
                PathKey::Whole(path) => paths.whole(path.as_bytes(), place),
                PathKey::Beginning(prefix) | PathKey::Checked(prefix) => paths.beginning(prefix.as_bytes(), place),
            }
        }
    };
    if when.hosts.is_empty() || !planned.host {
        return put_paths(hosts.any.get_or_insert_default());
    }
    for host in &when.hosts {
        match HostKey::of(host) {
            HostKey::Exact(host) => put_paths(hosts.exact.entry(host.into()).or_default()),
            HostKey::Below(ending) | HostKey::Checked(Some(ending)) => {
                put_paths(hosts.below.entry(ending.into()).or_default());
            }
            HostKey::Checked(None) => put_paths(hosts.any.get_or_insert_default()),
        }
    }
}

impl Hosts {
    /// `from_end`: the host in lower case, from its end.
    fn walk<'t>(&'t self, from_end: &[u8], path: &[u8], found: &mut impl FnMut(&'t [u32])) {
        if let Some(paths) = self.any {
            self.forest.walk(paths, path, &mut *found);
        }
        if let Some(names) = self.names {
            self.forest.walk(names, from_end, |trees| {
                trees.iter().for_each(|&paths| self.forest.walk(Tree(paths), path, &mut *found));
            });
        }
    }
}

/// The host in lower case, from its end. What is longer than any name is no host that a route names.
fn from_end<'b>(host: &[u8], room: &'b mut [u8; HOST_BYTES_MAX]) -> &'b [u8] {
    let Some(room) = room.get_mut(..host.len()) else { return &[] };
    room.iter_mut().zip(host.iter().rev()).for_each(|(to, byte)| *to = byte.to_ascii_lowercase());
    room
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
