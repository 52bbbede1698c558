use std::net::IpAddr;

use jiff::Timestamp;
use proptest::prelude::*;

use super::*;
use crate::model::{Action, Conditions, End, Named, Percent, RegionName, Scheme, Share, ShareOf};
use crate::route::Head;
use crate::route::path::{self, plain};

/// A request as a test says it.
#[derive(Clone, Debug)]
struct Request {
    listener: ListenerName,
    scheme: Scheme,
    client: IpAddr,
    region: Option<RegionName>,
    now: Timestamp,
    is_http: bool,
    method: String,
    authority: String,
    target: String,
    path: Vec<u8>,
    fields: Vec<(&'static str, &'static str)>,
}

impl Request {
    fn get(url: &str) -> Self {
        let (authority, target) = url.split_at(url.find('/').unwrap());
        Self {
            listener: "web".parse().unwrap(),
            scheme: Scheme::Http,
            client: "203.0.113.7".parse().unwrap(),
            region: None,
            now: "2026-03-27T10:00:00Z".parse().unwrap(),
            is_http: true,
            method: "GET".into(),
            authority: authority.into(),
            target: target.into(),
            path: plain(path::of(target.as_bytes())).into_owned(),
            fields: Vec::new(),
        }
    }

    fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }
}

impl Facts for Request {
    fn listener(&self) -> &ListenerName {
        &self.listener
    }
    fn scheme(&self) -> Scheme {
        self.scheme
    }
    fn client(&self) -> IpAddr {
        self.client
    }
    fn region(&self) -> Option<&RegionName> {
        self.region.as_ref()
    }
    fn now(&self) -> Timestamp {
        self.now
    }
    fn head(&self) -> Option<Head<'_>> {
        self.is_http.then(|| Head {
            method: self.method.as_bytes(),
            authority: self.authority.as_bytes(),
            target: self.target.as_bytes(),
            path: &self.path,
        })
    }
    fn has_field(&self, name: &str, is_it: &mut dyn FnMut(&[u8]) -> bool) -> bool {
        self.fields.iter().any(|(known, value)| known.eq_ignore_ascii_case(name) && is_it(value.as_bytes()))
    }
}

fn route(name: &str, priority: u16, when: Conditions) -> Route {
    let then = Action::to_pool("web".parse().unwrap());
    Route { name: name.parse().unwrap(), priority, enabled: true, when, then }
}

fn when(hosts: &[&str], paths: &[&str]) -> Conditions {
    Conditions {
        hosts: hosts.iter().map(|host| host.parse().unwrap()).collect(),
        paths: paths.iter().map(|path| path.parse().unwrap()).collect(),
        ..Conditions::default()
    }
}

fn found(table: &Table, request: &Request) -> String {
    let decision = table.find(request, &mut Dice::from_seed(1)).decision();
    decision.routes().map(|route| route.name.as_str()).collect::<Vec<_>>().join(" ")
}

#[test]
fn the_first_route_that_fits_counts_by_priority_and_then_as_written() {
    let table = Table::of(&[
        route("rest", 100, Conditions::default()),
        route("shop", 50, when(&["shop.example"], &[])),
        route("api", 10, when(&[], &["/api/*"])),
        route("late-api", 10, when(&[], &["/api/*"])),
        Route { enabled: false, ..route("off", 1, Conditions::default()) },
    ]);
    for (url, name) in [
        ("a.example/", "rest"),
        ("shop.example/", "shop"),
        ("SHOP.example:8080/x", "shop"),
        ("shop.example/api/v1", "api"),
        ("a.example/api/", "api"),
        ("a.example//x/..//%61pi/", "api"),
        ("a.example/api", "rest"),
    ] {
        assert_eq!(found(&table, &Request::get(url)), name, "{url}");
    }
}

#[test]
fn routes_without_an_end_add_to_the_one_that_ends() {
    let mut headers = route("headers", 1, Conditions::default());
    headers.then.end = None;
    let mut none = route("none", 300, Conditions::default());
    none.then.end = None;
    let table = Table::of(&[headers, route("api", 10, when(&[], &["/api/*"])), none]);
    assert_eq!(found(&table, &Request::get("a/api/x")), "headers api");
    assert_eq!(found(&table, &Request::get("a/")), "headers none");
    let decision = table.find(&Request::get("a/"), &mut Dice::from_seed(1)).decision();
    assert!(decision.end.is_none(), "its way ends at the pool of the listener");
}

#[test]
fn every_condition_decides() {
    let named = |name: &str, values: &[&str], ignore_case| Named {
        name: name.into(),
        values: values.iter().map(|value| value.parse().unwrap()).collect(),
        ignore_case,
    };
    let header = |name: &str, values: &[&str], ignore_case| Named {
        name: name.parse().unwrap(),
        values: values.iter().map(|value| value.parse().unwrap()).collect(),
        ignore_case,
    };
    let plain = Conditions::default;
    let get = || Request::get("shop.example/cart?id=2&name=a+b");
    type Change = fn(&mut Request);
    let rows: [(Conditions, Change, Change); 14] = [
        (
            Conditions { listeners: vec!["web".parse().unwrap()], ..plain() },
            |_| {},
            |r| r.listener = "tls".parse().unwrap(),
        ),
        (Conditions { scheme: Some(Scheme::Http), ..plain() }, |_| {}, |r| r.scheme = Scheme::Https),
        (Conditions { methods: vec!["GET".parse().unwrap()], ..plain() }, |_| {}, |r| r.method = "POST".into()),
        (
            Conditions { headers: vec![header("Upgrade", &["websocket"], true)], ..plain() },
            |r| r.fields.push(("UPGRADE", "WebSocket")),
            |r| r.fields.push(("upgrade", "h2c")),
        ),
        (Conditions { headers: vec![header("x-a", &[], false)], ..plain() }, |r| r.fields.push(("X-A", "")), |_| {}),
        (
            Conditions { cookies: vec![named("sid", &["v2*"], false)], ..plain() },
            |r| r.fields.push(("Cookie", "a=1; sid=v2.7")),
            |r| r.fields.push(("Cookie", "xsid=v2.7; sid=v1")),
        ),
        (
            Conditions { queries: vec![named("id", &["2"], false)], ..plain() },
            |_| {},
            |r| r.target = "/cart?id=3".into(),
        ),
        (
            Conditions { queries: vec![named("name", &["a b"], false)], ..plain() },
            |_| {},
            |r| r.target = "/cart".into(),
        ),
        (
            Conditions { user_agents: vec!["iPhone".into()], ..plain() },
            |r| r.fields.push(("User-Agent", "Mozilla/5.0 (iPhone; CPU)")),
            |r| r.fields.push(("User-Agent", "Mozilla/5.0 (iphone)")),
        ),
        (
            Conditions { clients: vec!["203.0.113.0/24".parse().unwrap()], ..plain() },
            |_| {},
            |r| r.client = "198.51.100.1".parse().unwrap(),
        ),
        (
            Conditions { regions: vec!["eu".parse().unwrap()], ..plain() },
            |r| r.region = Some("eu".parse().unwrap()),
            |r| r.region = Some("us".parse().unwrap()),
        ),
        (
            Conditions {
                times: vec![crate::model::TimeWindow {
                    from: "09:00".parse().unwrap(),
                    to: "17:00".parse().unwrap(),
                    days: Vec::new(),
                    zone: "UTC".parse().unwrap(),
                }],
                ..plain()
            },
            |_| {},
            |r| r.now = "2026-03-27T18:00:00Z".parse().unwrap(),
        ),
        (
            Conditions { any: vec![when(&[], &["/x"]), when(&[], &["/cart"])], ..plain() },
            |_| {},
            |r| r.path = b"/y".to_vec(),
        ),
        (Conditions { not: vec![when(&[], &["/x", "/y"])], ..plain() }, |_| {}, |r| r.path = b"/y".to_vec()),
    ];
    for (number, (conditions, fits, does_not)) in rows.into_iter().enumerate() {
        let table = Table::of(&[route("it", 1, conditions)]);
        assert_eq!(found(&table, &get().with(fits)), "it", "row {number}");
        assert_eq!(found(&table, &get().with(does_not)), "", "row {number}");
    }
}

#[test]
fn a_share_of_clients_is_the_same_at_every_peer_and_differs_from_route_to_route() {
    let share = |name: &str, percent| {
        let share = Share { percent: Percent::new(percent).unwrap(), of: ShareOf::Clients };
        Table::of(&[route(name, 1, Conditions { share: Some(share), ..Conditions::default() })])
    };
    let clients = |table: &Table| -> Vec<u32> {
        let is_in = |n: &u32| {
            let client = IpAddr::from(n.to_be_bytes());
            !found(table, &Request::get("a/").with(|request| request.client = client)).is_empty()
        };
        (0..2_000).filter(is_in).collect()
    };
    let canary = clients(&share("canary", 20.0));
    assert!((300..500).contains(&canary.len()), "{}", canary.len());
    assert_eq!(canary, clients(&share("canary", 20.0)));
    let wider = clients(&share("canary", 30.0));
    assert!(canary.iter().all(|client| wider.contains(client)));
    assert_ne!(canary, clients(&share("other", 20.0)));
}

#[test]
fn a_share_of_requests_is_drawn() {
    let share = Share { percent: Percent::new(25.0).unwrap(), of: ShareOf::Requests };
    let table = Table::of(&[route("it", 1, Conditions { share: Some(share), ..Conditions::default() })]);
    let mut dice = Dice::from_seed(7);
    let request = Request::get("a/");
    let drawn = (0..4_000).filter(|_| table.find(&request, &mut dice).has_end()).count();
    assert!((900..1_100).contains(&drawn), "{drawn}");
}

#[test]
fn a_connection_that_is_not_http_meets_routes_that_name_its_listener_and_ask_nothing_else() {
    let of_listener = |conditions| Conditions { listeners: vec!["mqtt".parse().unwrap()], ..conditions };
    let table = Table::of(&[
        route("all", 1, Conditions::default()),
        route("host", 2, of_listener(when(&["a.example"], &[]))),
        route(
            "client",
            3,
            of_listener(Conditions { clients: vec!["10.0.0.0/8".parse().unwrap()], ..Conditions::default() }),
        ),
        route("rest", 4, of_listener(Conditions::default())),
    ]);
    let connection = |client: &str| {
        Request::get("/").with(|request| {
            request.is_http = false;
            request.listener = "mqtt".parse().unwrap();
            request.client = client.parse().unwrap();
        })
    };
    assert_eq!(found(&table, &connection("10.1.2.3")), "client");
    assert_eq!(found(&table, &connection("192.0.2.1")), "rest");
    assert_eq!(found(&table, &connection("192.0.2.1").with(|request| request.listener = "tcp".parse().unwrap())), "");
}

#[test]
fn a_route_of_many_hosts_and_paths_fits_all_of_them() {
    let hosts: Vec<String> = (0..64).map(|n| format!("h{n}.example")).collect();
    let paths: Vec<String> = (0..64).map(|n| format!("/p{n}/*")).collect();
    let listeners = (0..64).map(|n| format!("l{n}").parse().unwrap()).collect();
    let many = Conditions {
        listeners,
        hosts: hosts.iter().map(|host| host.parse().unwrap()).collect(),
        paths: paths.iter().map(|path| path.parse().unwrap()).collect(),
        ..Conditions::default()
    };
    let table = Table::of(&[route("many", 1, many)]);
    let at =
        |url: &str, listener: &str| found(&table, &Request::get(url).with(|r| r.listener = listener.parse().unwrap()));
    assert_eq!(at("h63.example/p63/x", "l63"), "many");
    assert_eq!(at("h64.example/p63/x", "l63"), "");
    assert_eq!(at("h63.example/p64/x", "l63"), "");
    assert_eq!(at("h63.example/p63/x", "l64"), "");
}

fn conditions() -> impl Strategy<Value = Conditions> {
    let host = prop::sample::select(vec![
        "a.example",
        "b.example",
        "*.example",
        "a*.example",
        "a.*",
        "*.b.example",
        "10.0.0.1",
    ]);
    let path = prop::sample::select(vec!["/", "/*", "/a", "/a/*", "/a*", "/*/b", "/a/*/c", "/a/b"]);
    let listener = prop::sample::select(vec!["web", "tls"]);
    let method = prop::sample::select(vec!["GET", "POST"]);
    let few = 0..3usize;
    (
        prop::collection::vec(host, few.clone()),
        prop::collection::vec(path, few.clone()),
        prop::collection::vec(listener, few.clone()),
        prop::collection::vec(method, few),
    )
        .prop_map(|(hosts, paths, listeners, methods)| Conditions {
            listeners: listeners.into_iter().map(|name| name.parse().unwrap()).collect(),
            methods: methods.into_iter().map(|method| method.parse().unwrap()).collect(),
            ..when(&hosts, &paths)
        })
}

proptest! {
    #[test]
    fn the_index_finds_what_looking_at_every_route_finds(
        written in prop::collection::vec((conditions(), 0u16..4, any::<bool>()), 0..24),
        host in prop::sample::select(vec!["a.example", "b.example", "x.b.example", "A.example:80", "10.0.0.1", "c.test", ".example"]),
        target in prop::sample::select(vec!["/", "/a", "/a/", "/a/b", "/a/x/c", "/x/b", "/ab", "//a", "/a?b=/c"]),
        listener in prop::sample::select(vec!["web", "tls", "other"]),
    ) {
        let routes: Vec<Route> = written.into_iter().enumerate().map(|(number, (when, priority, ends))| {
            let mut route = route(&format!("r{number}"), priority, when);
            if !ends {
                route.then.end = None;
            }
            route
        }).collect();
        let request = Request::get(&format!("{host}{target}")).with(|request| request.listener = listener.parse().unwrap());
        let mut sorted: Vec<&Route> = routes.iter().collect();
        sorted.sort_by_key(|route| route.priority);
        let mut dice = Dice::from_seed(1);
        let mut expected = Vec::new();
        for route in sorted {
            let mut draft = Draft::default();
            let asked = draft.add(&route.when, Settled::default(), 0);
            if draft.checks().hold(asked, &request, &mut dice) {
                expected.push(route.name.as_str());
                if matches!(route.then.end, Some(End::Forward(_))) {
                    break;
                }
            }
        }
        prop_assert_eq!(found(&Table::of(&routes), &request), expected.join(" "));
    }
}

#[test]
fn no_host_can_pass_for_another_one_with_a_path() {
    let table = Table::of(&[
        route("admin", 1, when(&["shop.example"], &["/admin/*"])),
        route("below", 2, when(&["*.shop.example"], &["/a/*"])),
        route("all-below", 3, when(&["*.shop.example"], &[])),
    ]);
    for (url, names) in [
        ("shop.example/admin/x", "admin"),
        ("a.shop.example/a/x", "below"),
        ("a.shop.example/b", "all-below"),
        // What stands in the tree is a host from its end, NUL, and a path.
        ("nimda\0shop.example/", ""),
        ("x\0.shop.example/a/x", ""),
        ("\0/", ""),
    ] {
        assert_eq!(found(&table, &Request::get(url)), names, "{url:?}");
    }
}

#[test]
fn a_host_is_the_same_with_a_dot_at_its_end_wherever_a_route_names_it() {
    let hosts = |host: &str| when(&[host], &[]);
    let table = Table::of(&[
        route("any", 1, Conditions { any: vec![hosts("adm.test.")], ..Conditions::default() }),
        route("star", 2, when(&["*.adm2.test."], &[])),
        route("not", 3, Conditions { not: vec![hosts("ok.adm3.test.")], ..when(&["*.adm3.test"], &[]) }),
        route("many", 4, when(&["a.many.test."], &["/a*b"; 1])),
    ]);
    for (url, name) in [
        ("adm.test/", "any"),
        ("adm.test./", "any"),
        ("x.adm2.test/", "star"),
        ("x.adm2.test./", "star"),
        ("ok.adm3.test/", ""),
        ("no.adm3.test/", "not"),
        ("a.many.test/ab", "many"),
    ] {
        assert_eq!(found(&table, &Request::get(url)), name, "{url}");
    }
}

#[test]
fn a_listener_that_a_route_names_twice_is_named_once() {
    let listeners = vec!["db".parse().unwrap(); 2];
    let twice = Route {
        then: Action { end: None, ..Action::to_pool("web".parse().unwrap()) },
        ..route("r", 1, Conditions { listeners, ..Conditions::default() })
    };
    let connection =
        Request::get("a/").with(|request| (request.listener, request.is_http) = ("db".parse().unwrap(), false));
    assert_eq!(found(&Table::of(std::slice::from_ref(&twice)), &connection), "r");
    assert_eq!(found(&Table::of(&[twice]), &Request { is_http: true, ..connection }), "r");
}
