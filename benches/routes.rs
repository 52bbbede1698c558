//! What it costs to find the routes of a request, among 10 and among 10,000 of them, by the conditions that are usual. Prints
//! nanoseconds a request, the median of several rounds over requests that come in random order, and the ratio of the two.
//!
//! With 10,000 routes each request meets another route, as where every customer has a host; then what is looked at is not in the
//! processor's caches, which is a part of the price. The second column of 10,000 has the same routes and asks for ten of them only.
//!
//! `cargo bench --bench routes`

#![expect(clippy::print_stdout, reason = "it is there to print")]

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};

use evenkeel::host::{Dice, now};
use evenkeel::model::{
    Action, Conditions, HostPattern, ListenerName, Method, Named, PathPattern, PoolName, RegionName, Route, Scheme,
    TextPattern,
};
use evenkeel::route::{Facts, Head, Table};
use jiff::Timestamp;

const FEW: usize = 10;
const MANY: usize = 10_000;
const REQUESTS: usize = 50_000;
const ROUNDS: usize = 31;

/// A kind of routes, and the request that fits the one of this number.
struct Kind {
    name: &'static str,
    conditions: fn(usize) -> Conditions,
    host: fn(usize) -> String,
    path: fn(usize) -> String,
}

const KINDS: [Kind; 8] = [
    Kind {
        name: "host",
        conditions: |n| Conditions { hosts: vec![host(&format!("app-{n}.example.com"))], ..Conditions::default() },
        host: |n| format!("app-{n}.example.com"),
        path: |_| "/cart/items".to_owned(),
    },
    Kind {
        name: "host *.",
        conditions: |n| Conditions { hosts: vec![host(&format!("*.tenant-{n}.example"))], ..Conditions::default() },
        host: |n| format!("www.tenant-{n}.example"),
        path: |_| "/cart/items".to_owned(),
    },
    Kind {
        name: "path, whole",
        conditions: |n| Conditions { paths: vec![path(&format!("/page-{n}"))], ..Conditions::default() },
        host: |_| "example.com".to_owned(),
        path: |n| format!("/page-{n}"),
    },
    Kind {
        name: "path prefix",
        conditions: |n| Conditions { paths: vec![path(&format!("/app-{n}/*"))], ..Conditions::default() },
        host: |_| "example.com".to_owned(),
        path: |n| format!("/app-{n}/cart/items"),
    },
    Kind {
        name: "host, path prefix",
        conditions: |n| Conditions {
            hosts: vec![host(&format!("app-{}.example.com", n / 10))],
            paths: vec![path(&format!("/part-{}/*", n % 10))],
            ..Conditions::default()
        },
        host: |n| format!("app-{}.example.com", n / 10),
        path: |n| format!("/part-{}/items", n % 10),
    },
    Kind {
        name: "path prefix, method",
        conditions: |n| Conditions {
            paths: vec![path(&format!("/app-{n}/*"))],
            methods: vec![method("GET"), method("HEAD")],
            ..Conditions::default()
        },
        host: |_| "example.com".to_owned(),
        path: |n| format!("/app-{n}/cart/items"),
    },
    Kind {
        name: "host, header",
        conditions: |n| Conditions {
            hosts: vec![host(&format!("app-{n}.example.com"))],
            headers: vec![Named {
                name: "x-tier".parse().expect("a name"),
                values: vec![text("gold")],
                ignore_case: false,
            }],
            ..Conditions::default()
        },
        host: |n| format!("app-{n}.example.com"),
        path: |_| "/cart/items".to_owned(),
    },
    Kind {
        name: "path prefix, client",
        conditions: |n| Conditions {
            paths: vec![path(&format!("/app-{n}/*"))],
            clients: vec!["192.0.2.0/24".parse().expect("a range")],
            ..Conditions::default()
        },
        host: |_| "example.com".to_owned(),
        path: |n| format!("/app-{n}/cart/items"),
    },
];

fn main() {
    // Cargo hands over flags such as `--bench`; there is nothing to choose.
    let mut dice = Dice::new();
    println!("routes: ns a request, median of {ROUNDS} rounds of {REQUESTS}");
    println!("{:24}{:>10}{:>10}{:>10}{:>12}{:>10}", "conditions", "10", "10,000", "ratio", "ten of them", "ratio");
    for kind in KINDS {
        let (few, many) = (table(&kind, FEW), table(&kind, MANY));
        let (of_ten, of_all) = (Requests::of(&kind, FEW, &mut dice), Requests::of(&kind, MANY, &mut dice));
        let mut rounds = [const { Vec::new() }; 5];
        for _ in 0..ROUNDS {
            // Ratios are taken within a round, so that what else the machine does hits both alike.
            let [few, all, ten] = [(&few, &of_ten), (&many, &of_all), (&many, &of_ten)]
                .map(|(table, asked)| measure(table, asked, &mut dice));
            rounds
                .iter_mut()
                .zip([few, all, all / few, ten, ten / few])
                .for_each(|(rounds, figure)| rounds.push(figure));
        }
        let [few, all, ratio, ten, ratio_ten] = rounds.map(median);
        println!("{:24}{few:>10.0}{all:>10.0}{ratio:>10.2}{ten:>12.0}{ratio_ten:>10.2}", kind.name);
    }
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

fn host(pattern: &str) -> HostPattern {
    pattern.parse().expect("a host")
}

fn path(pattern: &str) -> PathPattern {
    pattern.parse().expect("a path")
}

fn method(name: &str) -> Method {
    name.parse().expect("a method")
}

fn text(pattern: &str) -> TextPattern {
    pattern.parse().expect("a pattern")
}

fn table(kind: &Kind, count: usize) -> Table {
    let pool: PoolName = "web".parse().expect("a name");
    let routes: Vec<Route> = (0..count)
        .map(|n| Route {
            name: format!("route-{n}").parse().expect("a name"),
            priority: Route::PRIORITY_DEFAULT,
            enabled: true,
            when: (kind.conditions)(n),
            then: Action::to_pool(pool.clone()),
        })
        .collect();
    Table::of(&routes)
}

/// Requests, each for one of the first `count` routes.
struct Requests {
    listener: ListenerName,
    /// Hosts and paths, one behind the other: a head that is to be routed was read just before, so finding it in memory is no part
    /// of the price.
    text: String,
    /// Where the host of each ends, and its path.
    ends: Vec<(usize, usize)>,
}

impl Requests {
    fn of(kind: &Kind, count: usize, dice: &mut Dice) -> Self {
        let (mut text, mut ends) = (String::new(), Vec::new());
        for _ in 0..REQUESTS {
            let n = dice.below(count);
            text.push_str(&(kind.host)(n));
            let host = text.len();
            text.push_str(&(kind.path)(n));
            ends.push((host, text.len()));
        }
        Self { listener: "web".parse().expect("a name"), text, ends }
    }

    fn iter(&self) -> impl Iterator<Item = Asked<'_>> {
        let begins = std::iter::once(0).chain(self.ends.iter().map(|&(_, end)| end));
        begins.zip(&self.ends).map(|(begin, &(host, end))| Asked {
            listener: &self.listener,
            host: &self.text.as_bytes()[begin..host],
            path: &self.text.as_bytes()[host..end],
        })
    }
}

/// Nanoseconds to find the route of a request.
fn measure(table: &Table, asked: &Requests, dice: &mut Dice) -> f64 {
    let began = now();
    let found = asked.iter().filter(|asked| table.find(black_box(asked), dice).has_end()).count();
    let took = now().duration_since(began);
    assert_eq!(found, REQUESTS, "each has its route");
    took.as_secs_f64() * 1e9 / REQUESTS as f64
}

struct Asked<'a> {
    listener: &'a ListenerName,
    host: &'a [u8],
    path: &'a [u8],
}

impl Facts for Asked<'_> {
    fn listener(&self) -> &ListenerName {
        self.listener
    }

    fn scheme(&self) -> Scheme {
        Scheme::Http
    }

    fn client(&self) -> IpAddr {
        IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7))
    }

    fn region(&self) -> Option<&RegionName> {
        None
    }

    fn now(&self) -> Timestamp {
        Timestamp::UNIX_EPOCH
    }

    fn head(&self) -> Option<Head<'_>> {
        let (authority, path) = (self.host, self.path);
        Some(Head { method: b"GET", authority, target: path, path })
    }

    fn has_field(&self, name: &str, is_it: &mut dyn FnMut(&[u8]) -> bool) -> bool {
        name == "x-tier" && is_it(b"gold")
    }
}
