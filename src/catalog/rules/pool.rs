//! `[[pool]]`.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::time::Duration;

use super::Over;
use super::check::check;
use super::hash_key::HASH;
use super::node::{NodeRead, node};
use super::sticky::sticky;
use crate::document::{Choice, Origin, Section, Span, YesNo, name, whole};
use crate::model::{HostSent, Observe, Panic, Pool, PoolName, RegionStrategy, Sticky, Strategy};

const MS_10: Duration = Duration::from_millis(10);
const MINUTES_5: Duration = Duration::from_secs(300);
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(24 * 3_600);

/// How a region is chosen.
pub(crate) const REGION_STRATEGY: Choice<RegionStrategy> = Choice::of(&RegionStrategy::ALL);

pub(crate) const STRATEGY: Choice<Strategy> = Choice { words: &Strategy::ALL, aliases: &Strategy::ALIASES, later: &[] };

const HOST_SENT: Choice<HostSent> = Choice::of(&[("client", HostSent::Client), ("node", HostSent::Node)]);
const OBSERVE: Choice<Observe> = Choice::of(&[("divided", Observe::Divided), ("everywhere", Observe::Everywhere)]);
const PANIC: Choice<Panic> = Choice::of(&[("open", Panic::Open), ("closed", Panic::Closed)]);

/// What was read of one pool; a pool that is `None` was wrong and that is reported.
pub(crate) struct PoolRead {
    pub name: Option<(PoolName, Origin)>,
    pub nodes: Vec<NodeRead>,
    pub pool: Option<Pool>,
    /// Keys that were written and look at requests, which a relay has none of.
    pub of_requests: Vec<(Origin, String)>,
}

pub(super) fn pools(s: &mut Section<'_, '_, '_>, over: &Over) -> Vec<PoolRead> {
    let read = s.list("pool", "A named group of nodes that serve the same thing.", |s| pool(s, over));
    warn_of_one_cookie(s, &read);
    read
}

/// Pools whose sessions go by cookies of one name.
fn warn_of_one_cookie(s: &mut Section<'_, '_, '_>, read: &[PoolRead]) {
    let mut first: BTreeMap<&str, &PoolName> = BTreeMap::new();
    for read in read {
        let (Some((name, origin)), Some(pool)) = (&read.name, &read.pool) else { continue };
        let Some(Sticky::Cookie(cookie)) = &pool.sticky else { continue };
        match first.entry(&cookie.name) {
            Entry::Vacant(place) => {
                place.insert(name);
            }
            Entry::Occupied(other) => {
                let message = format!(
                    "the cookie of pool \"{}\" has this name too: where one browser uses both, each overwrites the other's",
                    other.get()
                );
                s.reader().warn(origin.clone(), format!("pool \"{name}\" sticky.name"), message);
            }
        }
    }
}

fn pool(s: &mut Section<'_, '_, '_>, over: &Over) -> PoolRead {
    let name: Option<PoolName> = s.required("name", &name(), "Its name, unique in the catalog.");
    if let Some(name) = &name {
        s.called("pool", name, "");
    }
    let default = Pool::new(name.clone().unwrap_or_else(unnamed));
    let strategy = s.key_overridden(
        "strategy",
        &STRATEGY,
        default.strategy,
        "How a node is picked. `health_score` takes the better of two by latency and load; `consistent_hash` keeps a client \
         or a resource at its node.",
        over.strategy.as_ref(),
    );
    let region_strategy = s.key_overridden(
        "region_strategy",
        &REGION_STRATEGY,
        default.region_strategy,
        "How a region is chosen before a node in it is, where the pool has nodes in several. `nearest`: the client's, then the \
         peer's, then those that the client's prefers, then any. A region none of whose nodes can take a request is passed over.",
        over.region_strategy.as_ref(),
    );
    let hash = s.key("hash", &HASH, default.hash, "What of a request `consistent_hash` looks at.");
    let exact = s.key(
        "exact",
        &YesNo,
        default.exact,
        "`health_score` takes the best node instead of the better of two by chance. Several peers that see the same scores \
         then pick the same node at the same moment.",
    );
    let sticky = s
        .optional_table(
            "sticky",
            "What keeps sessions at their node. Left out: each request goes where the strategy says.",
            |s| sticky(s, &default.name),
        )
        .flatten();
    let pool = Pool {
        strategy,
        region_strategy,
        hash,
        sticky,
        exact,
        check: s.table(
            "health",
            "How the nodes of a pool are checked; also written `health = { type = \"http\", ... }`. Left out: a connection every 5 s.",
            |s| check(s, over),
        ),
        observe: s.key(
            "observe",
            &OBSERVE,
            default.observe,
            "Which peers of a cluster check its nodes: `divided` shares them out, the peers of a node's region first, so that \
             checks do not grow with peers; `everywhere` lets every peer check every node, where paths differ from peer to \
             peer.",
        ),
        host_sent: s.key(
            "host",
            &HOST_SENT,
            default.host_sent,
            "Whose name the `Host` field carries to a node: the one that the client sent, or the node's own, which nodes in \
             other people's networks mostly want.",
        ),
        tls: s.optional(
            "tls",
            &crate::document::name(),
            "none",
            "The profile by which TLS is spoken to its nodes: a `[[tls]]` of this name in the file of each peer. A peer whose \
             file has none does not use the nodes at all. Left out: nodes with https:// in their address have TLS by the \
             machine's trust roots.",
        ),
        panic: s.key(
            "panic",
            &PANIC,
            default.panic,
            "When no usable node is left: `open` tries nodes that are down, since somebody may answer; `closed` answers 503.",
        ),
        slow_start: s.key(
            "slow_start",
            &Span(Duration::ZERO, HOUR),
            default.slow_start,
            "How long a node that came back ramps from a tenth of its weight to all of it; \"0s\": not at all.",
        ),
        retries: s.key("retries", &whole(0, 10), default.retries, "Times that one request is sent again, each to another node."),
        connect_timeout: s.key(
            "connect_timeout",
            &Span(MS_10, MINUTES_5),
            default.connect_timeout,
            "How long a connection to a node may take.",
        ),
        response_timeout: s.key(
            "response_timeout",
            &Span(MS_10, DAY),
            default.response_timeout,
            "How long a node may take from the end of the request to the head of its answer.",
        ),
        queue: s.key(
            "queue",
            &whole(0, 1_000_000),
            default.queue,
            "Requests that wait when every node has `max_connections`; 0: none waits, and a request more gets 503.",
        ),
        queue_timeout: s.key("queue_timeout", &Span(MS_10, HOUR), default.queue_timeout, "How long a request waits for a place."),
        failover: s.optional_table(
            "failover",
            "When a node is moved to another server. Left out: never.",
            super::failover::failover,
        ),
        scaling: s
            .optional_table(
                "scaling",
                "When nodes are started and stopped, in each region by itself. Left out: never.",
                |s| super::scaling::scaling(s, &over.scaling),
            )
            .flatten(),
        ..default
    };
    let mut read = Vec::new();
    let above = format!("{} ", s.name());
    let nodes = s.long_list("node", "One endpoint of a pool; requests are sent to it.", |s| node(s, &above, &mut read));

    for (key, needed, met) in [
        ("hash", "consistent_hash", strategy == Strategy::ConsistentHash),
        ("exact", "health_score", strategy == Strategy::HealthScore),
    ] {
        if s.is_set(key) && !met {
            let (origin, path) = (s.origin_of(key), s.path_of(key));
            s.reader().warn(
                origin,
                path,
                format!("it has no effect while the strategy is {strategy}; {needed} looks at it"),
            );
        }
    }
    let hashes_requests = strategy == Strategy::ConsistentHash && pool.hash.is_of_requests();
    let sticks_to_requests = match &pool.sticky {
        Some(Sticky::Cookie(_)) => true,
        Some(Sticky::Key(key)) => key.is_of_requests(),
        None => false,
    };
    let of_requests =
        [("hash", hashes_requests), ("sticky", sticks_to_requests), ("host", true), ("response_timeout", true)];
    let of_requests = of_requests.into_iter().filter(|(key, looks)| *looks && s.is_set(key));
    let of_requests = of_requests.map(|(key, _)| (s.origin_of(key), s.path_of(key))).collect();
    if nodes.is_empty() && !s.reader().is_damaged() {
        let (origin, place) = (s.origin(), s.name().to_owned());
        s.reader().warn(origin, place, "it has no node; whoever asks for it gets 503, or a closed connection");
    }
    let origin = s.origin_of("name");
    PoolRead {
        pool: name.is_some().then(|| Pool { nodes: nodes.into_iter().flatten().collect(), ..pool }),
        name: name.map(|name| (name, origin)),
        nodes: read,
        of_requests,
    }
}

/// Stands in for a name that was refused, in a pool that is then dropped.
fn unnamed() -> PoolName {
    "unnamed".parse().expect("`unnamed` is a legal name")
}
