//! What a node got, verbatim, and what it is to do.

use std::collections::{HashMap, VecDeque};
use std::sync::Mutex;

use serde::{Deserialize, Serialize};

use super::behaviour::Behaviour;

/// Requests and faults kept; older ones are only counted.
const KEPT_MAX: usize = 10_000;
/// The path of checks, which are counted and not kept.
const CHECK_PATH: &str = "/health";

/// Everything a node got so far.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Seen {
    /// Connections accepted.
    pub connections: u64,
    /// Connections open now.
    pub connections_open: u64,
    /// The most requests under way at one time.
    pub in_flight_max: u64,
    /// Requests under way.
    pub in_flight: u64,
    /// Requests to `/health`.
    pub checks: u64,
    /// Other requests.
    pub requests_total: u64,
    /// The last of them.
    pub requests: VecDeque<SeenRequest>,
    /// What came and was no request of HTTP/1.1: a proxy must never pass such a thing on.
    pub faults: VecDeque<String>,
}

/// A request as it came.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct SeenRequest {
    /// Which connection of this node it came on, from 1.
    pub connection: u64,
    /// The request line.
    pub line: String,
    /// The fields, verbatim.
    pub fields: Vec<(String, String)>,
    /// Bytes of its body, once read.
    pub body_bytes: u64,
    /// Digest of its body, once read.
    pub body_digest: u64,
    /// Trailer lines.
    pub trailers: Vec<String>,
    /// Whether its body came whole.
    pub whole: bool,
}

impl SeenRequest {
    /// The value of the first field of this name.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

/// A node's memory and orders, shared by its connections.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) name: String,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    seen: Seen,
    /// Number of the first request that is kept, counted from 0.
    first_kept: u64,
    orders: HashMap<String, Behaviour>,
    otherwise: Option<Behaviour>,
}

impl Record {
    pub(super) fn new(name: String) -> Self {
        Self { name, inner: Mutex::default() }
    }

    fn with<T>(&self, look: impl FnOnce(&mut Inner) -> T) -> T {
        look(&mut self.inner.lock().expect("nothing panics while it holds the record"))
    }

    pub(super) fn seen(&self) -> Seen {
        self.with(|inner| inner.seen.clone())
    }

    pub(super) fn look<T>(&self, look: impl FnOnce(&Seen) -> T) -> T {
        self.with(|inner| look(&inner.seen))
    }

    /// Forgets requests and faults; counts of connections stay.
    pub(super) fn forget(&self) {
        self.with(|inner| {
            inner.first_kept += inner.seen.requests.len() as u64;
            inner.seen.requests.clear();
            inner.seen.faults.clear();
        });
    }

    /// Sets what happens to requests of this target; `*`: to all without an order of their own.
    pub(super) fn order(&self, target: &str, behaviour: Behaviour) {
        self.with(|inner| {
            if target == "*" {
                inner.otherwise = Some(behaviour);
            } else {
                inner.orders.insert(target.to_owned(), behaviour);
            }
        });
    }

    /// Drops all orders.
    pub(super) fn at_ease(&self) {
        self.with(|inner| {
            inner.orders.clear();
            inner.otherwise = None;
        });
    }

    pub(super) fn behaviour(&self, target: &str) -> Behaviour {
        self.with(|inner| inner.orders.get(target).or(inner.otherwise.as_ref()).cloned())
            .unwrap_or_else(|| Behaviour::of_target(target))
    }

    pub(super) fn opened(&self) -> u64 {
        self.with(|inner| {
            inner.seen.connections += 1;
            inner.seen.connections_open += 1;
            inner.seen.connections
        })
    }

    pub(super) fn closed(&self) {
        self.with(|inner| inner.seen.connections_open -= 1);
    }

    /// Notes a request whose head came and returns its number, under which its body is noted later.
    pub(super) fn began(&self, request: SeenRequest) -> u64 {
        self.with(|inner| {
            inner.seen.in_flight += 1;
            inner.seen.in_flight_max = inner.seen.in_flight_max.max(inner.seen.in_flight);
            if request.line.split(' ').nth(1) == Some(CHECK_PATH) {
                inner.seen.checks += 1;
                return u64::MAX;
            }
            inner.seen.requests_total += 1;
            inner.seen.requests.push_back(request);
            if inner.seen.requests.len() > KEPT_MAX {
                inner.seen.requests.pop_front();
                inner.first_kept += 1;
            }
            inner.first_kept + inner.seen.requests.len() as u64 - 1
        })
    }

    /// Changes what was noted of a request, where it is still kept.
    pub(super) fn amend(&self, number: u64, amend: impl FnOnce(&mut SeenRequest)) {
        self.with(|inner| {
            let kept = number.checked_sub(inner.first_kept).and_then(|index| usize::try_from(index).ok());
            if let Some(request) = kept.and_then(|index| inner.seen.requests.get_mut(index)) {
                amend(request);
            }
        });
    }

    pub(super) fn ended(&self) {
        self.with(|inner| inner.seen.in_flight -= 1);
    }

    pub(super) fn fault(&self, fault: String) {
        self.with(|inner| {
            inner.seen.faults.push_back(fault);
            if inner.seen.faults.len() > KEPT_MAX {
                inner.seen.faults.pop_front();
            }
        });
    }
}
