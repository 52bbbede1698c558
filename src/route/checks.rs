//! Conditions, compiled: what is left to ask of a request once the index has led it to a route.
//!
//! What is asked lies in arrays of its own, apart from the routes, and lists that are alike lie there once. So a request that meets
//! one of ten thousand routes reads what it needs of it and not the route, which is a hundred times as large.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::Arc;

use memchr::memmem;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::facts::{Facts, Head};
use super::glob;
use super::query::{cookie, meant, values};
use crate::host::Dice;
use crate::model::{
    Cidr, Conditions, FieldName, HostPattern, ListenerName, Method, Named, PathPattern, RegionName, Scheme, Share,
    ShareOf, TextPattern, TimeWindow,
};

/// What of the outermost conditions the index has settled already.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Settled {
    pub(super) listener: bool,
    pub(super) host: bool,
    pub(super) path: bool,
}

/// Where a list lies in the array of its kind.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub(super) struct List {
    from: u32,
    to: u32,
}

/// One thing that is asked of a request: that it is one of a list.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
enum Check {
    Listener(List),
    Scheme(Scheme),
    Host(List),
    Path(List),
    Method(List),
    Header(List),
    Cookie(List),
    Query(List),
    UserAgent(List),
    Client(List),
    Region(List),
    Time(List),
    /// That all of one of these lists of checks hold.
    Any(List),
    /// That all of none of them hold.
    Not(List),
    /// That it is in this share, of this many.
    Share(u32),
}

/// What is asked by all routes of a table.
#[derive(Debug, Default)]
pub(super) struct Checks {
    checks: Box<[Check]>,
    /// Lists of checks, for [`Check::Any`] and [`Check::Not`].
    groups: Box<[List]>,
    listeners: Box<[ListenerName]>,
    hosts: Box<[HostPattern]>,
    paths: Box<[PathPattern]>,
    methods: Box<[Method]>,
    headers: Box<[Named<FieldName>]>,
    /// Cookies and parameters of queries.
    names: Box<[Named<Arc<str>>]>,
    user_agents: Box<[Arc<str>]>,
    clients: Box<[Cidr]>,
    regions: Box<[RegionName]>,
    times: Box<[TimeWindow]>,
    /// With what tells the shares of one route from those of another.
    shares: Box<[(Share, u64)]>,
}

/// [`Checks`] that are being gathered.
#[derive(Default)]
pub(super) struct Draft {
    checks: Kept<Check>,
    groups: Kept<List>,
    listeners: Kept<ListenerName>,
    hosts: Kept<HostPattern>,
    paths: Kept<PathPattern>,
    methods: Kept<Method>,
    headers: Kept<Named<FieldName>>,
    names: Kept<Named<Arc<str>>>,
    user_agents: Kept<Arc<str>>,
    clients: Kept<Cidr>,
    regions: Kept<RegionName>,
    times: Kept<TimeWindow>,
    shares: Vec<(Share, u64)>,
}

/// Lists of one kind, each once.
struct Kept<T> {
    all: Vec<T>,
    known: HashMap<Box<[T]>, List>,
}

impl<T> Default for Kept<T> {
    fn default() -> Self {
        Self { all: Vec::new(), known: HashMap::new() }
    }
}

impl<T: Clone + Eq + Hash> Kept<T> {
    fn list(&mut self, list: &[T]) -> List {
        if let Some(&known) = self.known.get(list) {
            return known;
        }
        let from = index(self.all.len());
        self.all.extend_from_slice(list);
        let place = List { from, to: index(self.all.len()) };
        self.known.insert(list.into(), place);
        place
    }

    /// The list, unless it asks nothing or what it asks is settled.
    fn asked(&mut self, list: &[T], is_settled: bool) -> Option<List> {
        (!list.is_empty() && !is_settled).then(|| self.list(list))
    }
}

fn index(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

impl Draft {
    /// Adds what these conditions ask beyond what is settled. `seed` tells the shares of clients of different routes apart.
    pub(super) fn add(&mut self, when: &Conditions, settled: Settled, seed: u64) -> List {
        let Conditions {
            listeners,
            scheme,
            hosts,
            paths,
            methods,
            headers,
            cookies,
            queries,
            user_agents,
            clients,
            regions,
            times,
            share,
            any,
            not,
        } = when;
        let share = share.map(|share| {
            self.shares.push((share, seed));
            Check::Share(index(self.shares.len() - 1))
        });
        let checks = [
            self.listeners.asked(listeners, settled.listener).map(Check::Listener),
            scheme.map(Check::Scheme),
            self.hosts.asked(hosts, settled.host).map(Check::Host),
            self.paths.asked(paths, settled.path).map(Check::Path),
            self.methods.asked(methods, false).map(Check::Method),
            self.headers.asked(headers, false).map(Check::Header),
            self.names.asked(cookies, false).map(Check::Cookie),
            self.names.asked(queries, false).map(Check::Query),
            self.user_agents.asked(user_agents, false).map(Check::UserAgent),
            self.clients.asked(clients, false).map(Check::Client),
            self.regions.asked(regions, false).map(Check::Region),
            self.times.asked(times, false).map(Check::Time),
            self.groups(any, seed).map(Check::Any),
            self.groups(not, seed).map(Check::Not),
            // The dice roll last, and only for who fits otherwise.
            share,
        ];
        let checks: Vec<Check> = checks.into_iter().flatten().collect();
        self.checks.list(&checks)
    }

    fn groups(&mut self, conditions: &[Conditions], seed: u64) -> Option<List> {
        let groups: Vec<List> = conditions.iter().map(|one| self.add(one, Settled::default(), seed)).collect();
        self.groups.asked(&groups, false)
    }

    pub(super) fn checks(self) -> Checks {
        Checks {
            checks: self.checks.all.into(),
            groups: self.groups.all.into(),
            listeners: self.listeners.all.into(),
            hosts: self.hosts.all.into(),
            paths: self.paths.all.into(),
            methods: self.methods.all.into(),
            headers: self.headers.all.into(),
            names: self.names.all.into(),
            user_agents: self.user_agents.all.into(),
            clients: self.clients.all.into(),
            regions: self.regions.all.into(),
            times: self.times.all.into(),
            shares: self.shares.into(),
        }
    }
}

impl Checks {
    /// Whether all checks of a list hold.
    pub(super) fn hold<F: Facts + ?Sized>(&self, list: List, facts: &F, dice: &mut Dice) -> bool {
        of(&self.checks, list).iter().all(|&check| self.holds(check, facts, dice))
    }

    fn holds<F: Facts + ?Sized>(&self, check: Check, facts: &F, dice: &mut Dice) -> bool {
        let of_head = |is_it: &dyn Fn(Head<'_>) -> bool| facts.head().is_some_and(is_it);
        let of_fields = |is_it: &dyn Fn() -> bool| facts.head().is_some() && is_it();
        match check {
            Check::Listener(list) => of(&self.listeners, list).contains(facts.listener()),
            Check::Scheme(scheme) => scheme == facts.scheme(),
            Check::Host(list) => of_head(&|head| {
                of(&self.hosts, list).iter().any(|host| glob::fits(host.as_str().as_bytes(), head.host(), true))
            }),
            Check::Path(list) => of_head(&|head| {
                of(&self.paths, list).iter().any(|path| glob::fits(path.as_str().as_bytes(), head.path, false))
            }),
            Check::Method(list) => {
                of_head(&|head| of(&self.methods, list).iter().any(|method| method.as_str().as_bytes() == head.method))
            }
            Check::Header(list) => of_fields(&|| {
                of(&self.headers, list)
                    .iter()
                    .any(|named| facts.has_field(named.name.as_str(), &mut |value| fits(named, value)))
            }),
            Check::Cookie(list) => of_fields(&|| {
                of(&self.names, list).iter().any(|named| {
                    facts.has_field("cookie", &mut |field| {
                        cookie(field, named.name.as_bytes()).is_some_and(|value| fits(named, value))
                    })
                })
            }),
            Check::Query(list) => of_head(&|head| {
                of(&self.names, list)
                    .iter()
                    .any(|named| values(head.query(), named.name.as_bytes()).any(|value| fits(named, &meant(value))))
            }),
            Check::UserAgent(list) => of_fields(&|| {
                of(&self.user_agents, list).iter().any(|part| {
                    facts.has_field("user-agent", &mut |value| memmem::find(value, part.as_bytes()).is_some())
                })
            }),
            Check::Client(list) => {
                let client = facts.client();
                of(&self.clients, list).iter().any(|range| range.contains(client))
            }
            Check::Region(list) => facts.region().is_some_and(|region| of(&self.regions, list).contains(region)),
            Check::Time(list) => {
                let now = facts.now();
                of(&self.times, list).iter().any(|window| window.holds(now))
            }
            Check::Any(list) => of(&self.groups, list).iter().any(|&group| self.hold(group, facts, dice)),
            Check::Not(list) => !of(&self.groups, list).iter().any(|&group| self.hold(group, facts, dice)),
            Check::Share(at) => {
                let (share, seed) = self.shares[at as usize];
                is_in(share, facts.client(), seed, dice)
            }
        }
    }
}

fn of<T>(all: &[T], list: List) -> &[T] {
    &all[list.from as usize..list.to as usize]
}

fn is_in(share: Share, client: IpAddr, seed: u64, dice: &mut Dice) -> bool {
    let number = match share.of {
        ShareOf::Requests => dice.bits(),
        ShareOf::Clients => match client.to_canonical() {
            IpAddr::V4(ip) => xxh3_64_with_seed(&ip.octets(), seed),
            IpAddr::V6(ip) => xxh3_64_with_seed(&ip.octets(), seed),
        },
    };
    share.percent.holds(number)
}

fn fits<N>(named: &Named<N>, value: &[u8]) -> bool {
    let is_it = |pattern: &TextPattern| glob::fits(pattern.as_str().as_bytes(), value, named.ignore_case);
    named.values.is_empty() || named.values.iter().any(is_it)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_routes_ask_alike_lies_there_once() {
        let when = |range: &str| Conditions {
            methods: vec!["GET".parse().unwrap(), "HEAD".parse().unwrap()],
            clients: vec![range.parse().unwrap()],
            ..Conditions::default()
        };
        let mut draft = Draft::default();
        let one = draft.add(&when("10.0.0.0/8"), Settled::default(), 1);
        assert_eq!(draft.add(&when("10.0.0.0/8"), Settled::default(), 2), one);
        assert_ne!(draft.add(&when("192.0.2.0/24"), Settled::default(), 3), one);
        let checks = draft.checks();
        assert_eq!((checks.checks.len(), checks.methods.len(), checks.clients.len()), (4, 2, 2));
    }

    #[test]
    fn what_is_settled_is_not_asked_again() {
        let when = Conditions { hosts: vec!["a.example".parse().unwrap()], ..Conditions::default() };
        let settled = Settled { host: true, ..Settled::default() };
        let nothing = List::default();
        assert_eq!(Draft::default().add(&when, settled, 1), nothing);
        assert_ne!(Draft::default().add(&when, Settled::default(), 1), nothing);
    }

    #[test]
    fn shares_of_different_routes_are_of_different_clients() {
        let share = Share { percent: crate::model::Percent::new(50.0).unwrap(), of: ShareOf::Clients };
        let when = Conditions { share: Some(share), ..Conditions::default() };
        let mut draft = Draft::default();
        assert_ne!(draft.add(&when, Settled::default(), 1), draft.add(&when, Settled::default(), 2));
    }
}
