//! What limits say: those of the routes that have a say in a request, asked in the order of the routes, and the caps of listeners
//! and of the process. Who is refused by one limit counts against none behind it.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use super::counts::bump;
use super::settings::{Listener, Protocol};
use crate::limit::{Full, Held, Limiter, Scope, Who};
use crate::model::{ConnectionLimit, FieldName, Ipv6Prefix, LIMITED_STATUS_DEFAULT, Per, Rate, RouteName};
use crate::route::{Decision, Entry};

/// What somebody is told who is one too many.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Refused {
    pub(crate) status: u16,
    /// Whole seconds after which trying again makes sense, at least 1.
    pub(crate) retry_after_s: u32,
}

/// Asks every limit of these routes. What is returned counts as long as it lives. `field`: the only value of a field.
pub(crate) fn ask<'a>(
    limiter: &Arc<Limiter>,
    decision: &Decision,
    client: IpAddr,
    field: impl Fn(&FieldName) -> Option<&'a [u8]>,
    now: Instant,
) -> Result<Vec<Held>, Refused> {
    let mut held = Vec::new();
    for entry in decision.entries() {
        let then = &entry.route.then;
        if let Some(limit) = &then.rate_limit {
            let who = Who::of(limit.per(), client, &field);
            if let Err(wait) = limiter.pass(scope(entry), limit, who, now) {
                bump(&entry.limited.by_rate);
                return Err(Refused { status: limit.status(), retry_after_s: whole_seconds(wait) });
            }
        }
        if let Some(limit) = &then.connection_limit {
            let who = Who::of(&limit.per, client, &field);
            match limiter.enter(scope(entry), limit, who) {
                Ok(place) => held.push(place),
                Err(Full) => {
                    bump(&entry.limited.by_connections);
                    // Nobody knows when one of them will be over.
                    return Err(Refused { status: limit.status, retry_after_s: 1 });
                }
            }
        }
    }
    Ok(held)
}

fn scope(entry: &Entry) -> Scope<'static> {
    Scope::Route(entry.seed())
}

fn whole_seconds(wait: Duration) -> u32 {
    let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    u32::try_from(seconds).unwrap_or(u32::MAX).max(1)
}

/// How a client stands with one limit of a route.
#[derive(Clone, Debug, PartialEq)]
pub struct Standing {
    /// The route.
    pub route: RouteName,
    /// Whom it counts by itself: `client_ip`, `header:<name>`, `route`.
    pub per: String,
    /// Which limit.
    pub limit: Limit,
    /// What the client would be told if it is one too many now.
    pub refuses: Option<u16>,
}

/// A limit, and how much of it is left.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Limit {
    /// So many in a time.
    Rate {
        /// How many.
        rate: Rate,
        /// At once after a rest.
        burst: NonZeroU32,
        /// At once now.
        left: u64,
        /// The time until one may pass; 0: at once.
        wait: Duration,
    },
    /// So many at the same time.
    Connections {
        /// How many.
        max: NonZeroU32,
        /// How many there are.
        in_flight: u64,
    },
}

/// How a client stands with every limit that [`ask`] would ask. Takes nothing.
pub(crate) fn look<'a>(
    limiter: &Limiter,
    decision: &Decision,
    client: IpAddr,
    field: impl Fn(&FieldName) -> Option<&'a [u8]>,
    now: Instant,
) -> Vec<Standing> {
    let mut all = Vec::new();
    for entry in decision.entries() {
        let route = &entry.route;
        if let Some(limit) = &route.then.rate_limit {
            let left = limiter.left(scope(entry), limit, Who::of(limit.per(), client, &field), now);
            let (rate, burst) = (limit.rate(), limit.burst());
            all.push(Standing {
                route: route.name.clone(),
                per: limit.per().word(),
                limit: Limit::Rate { rate, burst, left: left.requests, wait: left.wait },
                refuses: (!left.wait.is_zero()).then_some(limit.status()),
            });
        }
        if let Some(limit) = &route.then.connection_limit {
            let in_flight = limiter.in_flight(scope(entry), limit, Who::of(&limit.per, client, &field));
            all.push(Standing {
                route: route.name.clone(),
                per: limit.per.word(),
                limit: Limit::Connections { max: limit.max, in_flight },
                refuses: (in_flight >= u64::from(limit.max.get())).then_some(limit.status),
            });
        }
    }
    all
}

/// Client connections of one process, over all its listeners.
#[derive(Debug)]
pub struct ProcessCap {
    max: Option<NonZeroU32>,
    open: AtomicU64,
}

impl ProcessCap {
    /// `max`: more are closed at once; `None`: there is no cap.
    pub fn new(max: Option<NonZeroU32>) -> Self {
        Self { max, open: AtomicU64::new(0) }
    }

    /// Counts one in until what is returned is dropped.
    pub(crate) fn enter(self: &Arc<Self>) -> Result<Option<Inside>, Full> {
        let Some(max) = self.max else { return Ok(None) };
        let open = self.open.fetch_add(1, Relaxed);
        let inside = Inside(Arc::clone(self));
        if open < u64::from(max.get()) { Ok(Some(inside)) } else { Err(Full) }
    }
}

/// One connection of a process that has a cap.
pub(crate) struct Inside(Arc<ProcessCap>);

impl Drop for Inside {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Relaxed);
    }
}

/// Counts a connection in for its client, where the listener says how many one may have. Listed proxies are many clients.
pub(crate) fn enter_client(limiter: &Arc<Limiter>, listener: &Listener, client: IpAddr) -> Result<Option<Held>, Full> {
    let Some(max) = listener.connections_per_client_max else { return Ok(None) };
    if let Protocol::Http(http) = &listener.protocol
        && http.trusted_proxies.iter().any(|range| range.contains(client))
    {
        return Ok(None);
    }
    let limit = ConnectionLimit { per: Per::Client(Ipv6Prefix::DEFAULT), max, status: LIMITED_STATUS_DEFAULT };
    limiter.enter(Scope::Listener(listener.name.as_str()), &limit, Who::client(client, Ipv6Prefix::DEFAULT)).map(Some)
}

#[cfg(test)]
mod tests {
    use std::hash::RandomState;

    use super::*;
    use crate::host::{self, Dice};
    use crate::model::{Action, Conditions, RateLimit, Route};
    use crate::proxy::settings::{Http, Tcp};
    use crate::route::Table;

    fn route(name: &str, then: Action) -> Route {
        Route { name: name.parse().unwrap(), priority: 100, enabled: true, when: Conditions::default(), then }
    }

    fn limited(rate: Option<&str>, max: Option<u32>) -> Action {
        let rate = rate.map(|rate| RateLimit::new(Per::Route, rate.parse().unwrap(), NonZeroU32::MIN, 429).unwrap());
        let connection_limit = max.map(|max| {
            let max = NonZeroU32::new(max).unwrap();
            ConnectionLimit { per: Per::Route, max, status: 503 }
        });
        Action { rate_limit: rate, connection_limit, ..Action::default() }
    }

    struct Any;

    impl crate::route::Facts for Any {
        fn listener(&self) -> &crate::model::ListenerName {
            static NAME: std::sync::OnceLock<crate::model::ListenerName> = std::sync::OnceLock::new();
            NAME.get_or_init(|| "web".parse().unwrap())
        }
        fn scheme(&self) -> crate::model::Scheme {
            crate::model::Scheme::Http
        }
        fn client(&self) -> IpAddr {
            CLIENT
        }
        fn region(&self) -> Option<&crate::model::RegionName> {
            None
        }
        fn now(&self) -> jiff::Timestamp {
            host::wall_timestamp()
        }
        fn head(&self) -> Option<crate::route::Head<'_>> {
            Some(crate::route::Head { method: b"GET", authority: b"a", target: b"/", path: b"/" })
        }
        fn has_field(&self, _: &str, _: &mut dyn FnMut(&[u8]) -> bool) -> bool {
            false
        }
    }

    const CLIENT: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(203, 0, 113, 7));

    fn none<'a>(_: &FieldName) -> Option<&'a [u8]> {
        None
    }

    #[test]
    fn all_limits_along_the_way_count_and_who_is_refused_counts_against_none_behind() {
        let now = host::now();
        let limiter = Arc::new(Limiter::new(RandomState::new(), now));
        let routes = [route("first", limited(Some("1/m"), None)), route("second", limited(Some("60/m"), Some(1)))];
        let table = Table::of(&routes);
        let decision = table.find(&Any, &mut Dice::from_seed(1)).decision();
        let asked = |now| ask(&limiter, &decision, CLIENT, none, now);

        let held = asked(now).unwrap();
        assert_eq!(held.len(), 1);
        assert_eq!(asked(now).err(), Some(Refused { status: 429, retry_after_s: 60 }));
        let looked = look(&limiter, &decision, CLIENT, none, now);
        let said: Vec<_> = looked.iter().map(|of| (of.route.as_str(), of.refuses)).collect();
        assert_eq!(said, [("first", Some(429)), ("second", Some(429)), ("second", Some(503))]);

        let later = now + Duration::from_secs(60);
        assert_eq!(asked(later).err(), Some(Refused { status: 503, retry_after_s: 1 }), "one is under way still");
        drop(held);
        assert!(asked(later + Duration::from_secs(60)).is_ok());
        let counts: Vec<_> = table
            .entries()
            .iter()
            .map(|entry| (entry.limited.by_rate.load(Relaxed), entry.limited.by_connections.load(Relaxed)))
            .collect();
        assert_eq!(counts, [(1, 0), (0, 1)]);
    }

    #[test]
    fn a_wait_is_told_in_whole_seconds_and_never_as_none() {
        for (ms, seconds) in [(1, 1), (999, 1), (1_000, 1), (1_001, 2), (3_600_000, 3_600)] {
            assert_eq!(whole_seconds(Duration::from_millis(ms)), seconds);
        }
    }

    #[test]
    fn a_process_takes_no_more_than_its_cap_and_takes_again_what_ends() {
        let cap = Arc::new(ProcessCap::new(NonZeroU32::new(1)));
        let first = cap.enter().unwrap();
        assert!(cap.enter().is_err() && cap.enter().is_err());
        drop(first);
        assert!(cap.enter().is_ok());
        let open = Arc::new(ProcessCap::new(None));
        assert!((0..10).all(|_| open.enter().unwrap().is_none()));
    }

    #[test]
    fn a_client_has_as_many_connections_as_its_listener_says_unless_it_is_a_listed_proxy() {
        let limiter = Arc::new(Limiter::new(RandomState::new(), host::now()));
        let http = Http { trusted_proxies: vec!["10.0.0.0/8".parse().unwrap()], ..Http::default() };
        let mut listener = Listener {
            name: "web".parse().unwrap(),
            address: "127.0.0.1:0".parse().unwrap(),
            pool: "web".parse().unwrap(),
            connections_max: 10,
            connections_per_client_max: NonZeroU32::new(1),
            protocol: Protocol::Http(http),
            access_log: None,
            tls: None,
        };
        let mut held = Vec::new();
        let mut enters = |listener: &Listener, client: &str| {
            let entered = enter_client(&limiter, listener, client.parse().unwrap());
            entered.map(|place| held.push(place)).is_ok()
        };
        for (client, passes) in [
            ("203.0.113.7", true),
            ("203.0.113.7", false),
            ("::ffff:203.0.113.7", false),
            ("2001:db8::1", true),
            ("2001:db8::2", false),
            ("10.0.0.1", true),
            ("10.0.0.1", true),
        ] {
            assert_eq!(enters(&listener, client), passes, "{client}");
        }
        listener.connections_per_client_max = None;
        assert!(enters(&listener, "203.0.113.7"));
        listener.protocol = Protocol::Tcp(Tcp::default());
        listener.connections_per_client_max = NonZeroU32::new(1);
        assert!(!enters(&listener, "203.0.113.7"));
    }
}
