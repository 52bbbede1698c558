//! `[[pool]]` and its nodes: the part of the file that is the catalog.

use std::num::{NonZeroU8, NonZeroU32};
use std::sync::Arc;
use std::time::Duration;

use super::inherited::Inherited;
use crate::document::{
    Choice, NOT_AVAILABLE, Origin, Section, Span, WholeOf, Words, Wrong, YesNo, name, parsed, quoted, whole,
};
use crate::model::limits::{CHECK_ANSWER_BYTES_MAX, TARGET_BYTES_MAX};
use crate::model::{
    Check, CheckKind, HashKey, HostSent, HttpCheck, Node, NodeAddress, NodeId, Observe, Panic, Pool, PoolName,
    StatusRange, Strategy, TcpCheck, Weight,
};

const MS_10: Duration = Duration::from_millis(10);
const MINUTES_5: Duration = Duration::from_secs(300);
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(24 * 3_600);

pub(super) const STRATEGY: Choice<Strategy> = Choice { words: &Strategy::ALL, aliases: &Strategy::ALIASES, later: &[] };

/// How often a node may be asked how it is.
pub(super) const INTERVAL: Span = Span(Duration::from_millis(100), HOUR);

const HOST_SENT: Choice<HostSent> = Choice::of(&[("client", HostSent::Client), ("node", HostSent::Node)]);
const OBSERVE: Choice<Observe> = Choice::of(&[("divided", Observe::Divided), ("everywhere", Observe::Everywhere)]);
const PANIC: Choice<Panic> = Choice::of(&[("open", Panic::Open), ("closed", Panic::Closed)]);

#[derive(Clone, Copy, PartialEq)]
enum Type {
    Tcp,
    Http,
    None,
}

const TYPE: Choice<Type> = Choice {
    words: &[("tcp", Type::Tcp), ("http", Type::Http), ("none", Type::None)],
    aliases: &[],
    later: &["tls", "grpc", "mqtt", "postgres", "docker", "exec"],
};

/// A name that a field or a cookie may have (RFC 9110 section 5.6.2).
fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

const HASH: Words<HashKey> = Words::of(
    "\"client_ip\", \"uri\", \"header:<name>\", \"cookie:<name>\", \"query:<name>\"",
    |text| {
        let (what, name) = text.split_once(':').map_or((text, None), |(what, name)| (what, Some(name)));
        let token = |name: &str| is_token(name).then(|| Arc::from(name));
        let key = match (what, name) {
            ("client_ip", None) => Some(HashKey::ClientIp),
            ("uri", None) => Some(HashKey::Uri),
            ("header", Some(name)) => token(&name.to_ascii_lowercase()).map(HashKey::Header),
            ("cookie", Some(name)) => token(name).map(HashKey::Cookie),
            ("query", Some(name)) if !name.is_empty() => Some(HashKey::Query(Arc::from(name))),
            ("mqtt_client_id", None) => return Err(Wrong::new(format!("\"mqtt_client_id\" is {NOT_AVAILABLE}"))),
            ("header" | "cookie" | "query", None) => {
                return Err(Wrong::new("it does not say which").hint(format!("write \"{what}:<name>\"")));
            }
            _ => None,
        };
        key.ok_or_else(|| Wrong::new("it is none of these"))
    },
    |key| match key {
        HashKey::ClientIp => "\"client_ip\"".to_owned(),
        HashKey::Uri => "\"uri\"".to_owned(),
        HashKey::Header(name) => format!("\"header:{name}\""),
        HashKey::Cookie(name) => format!("\"cookie:{name}\""),
        HashKey::Query(name) => format!("\"query:{name}\""),
    },
);

const PATH: Words<Arc<str>> = Words::of(
    "a path that begins with /, without spaces, perhaps with a query",
    |text| {
        let encoded = encoded(text);
        if encoded.len() > TARGET_BYTES_MAX {
            Err(Wrong::new(format!("it is longer than {TARGET_BYTES_MAX} bytes")))
        } else if !text.starts_with('/') {
            Err(Wrong::new("it does not begin with /").hint(format!("write \"/{encoded}\"")))
        } else if let Some(wrong) = text.chars().find(|c| !may_stand_in_target(*c)) {
            let wrong = Wrong::new(format!("{wrong:?} cannot stand in a request target"));
            Err(wrong.hint(format!("write \"{encoded}\"")))
        } else {
            Ok(Arc::from(text))
        }
    },
    quoted,
);

fn may_stand_in_target(c: char) -> bool {
    c.is_ascii_graphic() && c != '#'
}

/// `text` with what cannot stand in a request target percent-encoded (RFC 3986 section 2.1).
fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if may_stand_in_target(c) {
            out.push(c);
        } else {
            let mut bytes = [0; 4];
            out.extend(c.encode_utf8(&mut bytes).bytes().map(|byte| format!("%{byte:02X}")));
        }
    }
    out
}

const HOST: Words<Arc<str>> = Words::of(
    "a host name or address, perhaps with a port",
    |text| {
        // Read as an address it obeys the same rules; a port is no part of them here.
        let as_address = format!("http://{text}").parse::<NodeAddress>();
        match as_address {
            Ok(_) if !text.ends_with('/') => Ok(Arc::from(text)),
            Ok(_) => Err(Wrong::new("a host has no path")),
            Err(error) => Err(Wrong::new(error.to_string())),
        }
    },
    quoted,
);

const STATUSES: Words<StatusRange> = Words {
    number_too: true,
    ..Words::of(
        "a status or a range of them within 100 to 599: 200, \"200-399\"",
        |text| {
            let (low, high) = text.split_once('-').unwrap_or((text, text));
            match (low.trim().parse(), high.trim().parse()) {
                (Ok(low), Ok(high)) => StatusRange::new(low, high)
                    .ok_or_else(|| Wrong::new("it is empty, or reaches outside of 100 to 599")),
                _ => Err(Wrong::new("it is neither a status nor a range of them")),
            }
        },
        |statuses: &StatusRange| {
            if statuses.to_string().contains('-') { quoted(statuses) } else { statuses.to_string() }
        },
    )
};

const BYTES: Words<Arc<[u8]>> = Words::of(
    "a text of at most 64 KiB; TOML's escapes such as \\r\\n work",
    |text| {
        if text.len() > CHECK_ANSWER_BYTES_MAX {
            return Err(Wrong::new(format!("it is longer than {CHECK_ANSWER_BYTES_MAX} bytes")));
        }
        Ok(Arc::from(text.as_bytes()))
    },
    |bytes| format!("{:?}", String::from_utf8_lossy(bytes)),
);

/// Bytes that may log in: `AUTH` of Redis, `LOGIN` of a mail server.
const BYTES_SENT: Words<Arc<[u8]>> = Words {
    show: |bytes| if bytes.is_empty() { "\"\"".to_owned() } else { format!("({} bytes, not shown)", bytes.len()) },
    secret: true,
    ..BYTES
};

const ADDRESS: Words<NodeAddress> = Words::of(
    "\"host:port\", \"http://host\", \"https://host\"; a name is looked up again as its TTL ends",
    |text| {
        parsed::<NodeAddress>(text).map_err(|wrong| {
            let with_port = format!("{text}:80");
            match text.parse::<NodeAddress>() {
                Err(crate::model::AddressError::PortMissing) if with_port.parse::<NodeAddress>().is_ok() => {
                    wrong.hint(format!("write \"{with_port}\" if that is its port"))
                }
                _ => wrong,
            }
        })
    },
    quoted,
);

/// What was read of one pool; a pool that is `None` was wrong and that is reported.
pub(super) struct Read {
    pub name: Option<(PoolName, Origin)>,
    pub nodes: Vec<NodeRead>,
    pub pool: Option<Pool>,
    /// Keys that were written and look at requests, which a relay has none of.
    pub of_requests: Vec<(Origin, String)>,
}

/// What was read of one node; what is `None` was wrong and is reported.
pub(super) struct NodeRead {
    pub id: Option<(NodeId, Origin)>,
    pub address: Option<(NodeAddress, Origin)>,
    /// As faults name it.
    pub place: String,
}

pub(super) fn pools(s: &mut Section<'_, '_, '_>, inherited: &Inherited) -> Vec<Read> {
    s.list("pool", "A named group of nodes that serve the same thing.", |s| pool(s, inherited))
}

fn pool(s: &mut Section<'_, '_, '_>, inherited: &Inherited) -> Read {
    let name: Option<PoolName> = s.required("name", &name(), "Its name, unique in the catalog.");
    if let Some(name) = &name {
        s.called("pool", name, "");
    }
    let default = Pool::new(name.clone().unwrap_or_else(super::inherited::regions_pool));
    let strategy = s.key_overridden(
        "strategy",
        &STRATEGY,
        default.strategy,
        "How a node is picked. `health_score` takes the better of two by latency and load; `consistent_hash` keeps a client \
         or a resource at its node.",
        ("LOAD_BALANCER_STRATEGY", inherited.strategy.as_ref()),
    );
    let hash = s.key("hash", &HASH, default.hash, "What of a request `consistent_hash` looks at.");
    let exact = s.key(
        "exact",
        &YesNo,
        default.exact,
        "`health_score` takes the best node instead of the better of two by chance. Several peers that see the same scores \
         then pick the same node at the same moment.",
    );
    let pool = Pool {
        strategy,
        hash,
        exact,
        check: s.table(
            "health",
            "How the nodes of a pool are checked; also written `health = { type = \"http\", ... }`. Left out: a connection every 5 s.",
            |s| check(s, inherited),
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
        ..default
    };
    s.later(&["sticky"]);
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
    let hashes_requests = strategy == Strategy::ConsistentHash && pool.hash != HashKey::ClientIp;
    let of_requests = [("hash", hashes_requests), ("host", true), ("response_timeout", true)];
    let of_requests = of_requests.into_iter().filter(|(key, looks)| *looks && s.is_set(key));
    let of_requests = of_requests.map(|(key, _)| (s.origin_of(key), s.path_of(key))).collect();
    if nodes.is_empty() && !s.reader().is_damaged() {
        let (origin, place) = (s.origin(), s.name().to_owned());
        s.reader().warn(origin, place, "it has no node; whoever asks for it gets 503, or a closed connection");
    }
    let origin = s.origin_of("name");
    Read {
        pool: name.is_some().then(|| Pool { nodes: nodes.into_iter().flatten().collect(), ..pool }),
        name: name.map(|name| (name, origin)),
        nodes: read,
        of_requests,
    }
}

fn check(s: &mut Section<'_, '_, '_>, inherited: &Inherited) -> Check {
    let kind = s.key_unless_refused(
        "type",
        &TYPE,
        Type::Tcp,
        "What is asked: whether it accepts a connection, how it answers a request, or nothing, so that a node counts as up \
         until traffic says otherwise. To a node with an https address both `tcp` and `http` speak TLS.",
    );
    let asks = kind.is_none_or(|kind| kind != Type::None);
    let http = s.only(kind.is_none_or(|kind| kind == Type::Http), "type = \"http\"", |s| HttpCheck {
        path: s.key("path", &PATH, Arc::from("/"), "What is asked for with GET."),
        host: s.optional("host", &HOST, "the node's own", "The value of the `Host` field."),
        statuses: s.key("statuses", &STATUSES, StatusRange::SUCCESS, "Statuses of an answer that mean up."),
    });
    let tcp = s.only(kind.is_none_or(|kind| kind == Type::Tcp), "type = \"tcp\"", |s| TcpCheck {
        send: s.key("send", &BYTES_SENT, Arc::default(), "What is sent once connected; empty: nothing."),
        expect: s.key(
            "expect",
            &BYTES,
            Arc::default(),
            "What the answer must contain; empty: the connection is enough.",
        ),
    });
    s.only(asks, "a type that asks", |s| Check {
        interval: s.key_overridden(
            "interval",
            &INTERVAL,
            Check::INTERVAL_DEFAULT,
            "Time between two checks of a settled node, ± 10 %. Shorter finds dead nodes sooner and asks them more often; a \
             node that is changing is asked faster anyway.",
            ("HEALTH_CHECK_INTERVAL", inherited.interval.as_ref()),
        ),
        timeout: s.key("timeout", &Span(MS_10, MINUTES_5), Check::TIMEOUT_DEFAULT, "How long one check may take."),
        rise: s.key::<WholeOf<NonZeroU8>>(
            "rise",
            &whole(1, 255),
            Check::RISE_DEFAULT,
            "Good answers in a row that bring a node that is down up again.",
        ),
        fall: s.key("fall", &whole(1, 255), Check::FALL_DEFAULT, "Bad answers in a row that take a node down."),
        kind: match kind.unwrap_or(Type::Tcp) {
            Type::Tcp => CheckKind::Tcp(tcp),
            Type::Http => CheckKind::Http(http),
            Type::None => CheckKind::None,
        },
    })
}

fn node(s: &mut Section<'_, '_, '_>, above: &str, nodes: &mut Vec<NodeRead>) -> Option<Node> {
    let id: Option<NodeId> = s.required("id", &name(), "Its id, unique in the cluster.");
    if let Some(id) = &id {
        s.called("node", id, above);
    }
    let address = s.required(
        "address",
        &ADDRESS,
        "Where it listens; https speaks TLS to it, checks its certificate and its name.",
    );
    nodes.push(NodeRead {
        id: id.clone().map(|id| (id, s.origin_of("id"))),
        address: address.clone().map(|address| (address, s.origin_of("address"))),
        place: s.name().to_owned(),
    });
    let region = s.optional("region", &name(), "the region of whoever asks", "Where it is.");
    let weight = s.key(
        "weight",
        &whole(1, Weight::MAX.into()),
        Weight::DEFAULT,
        "Its share beside its siblings': 2 gets twice what 1 gets.",
    );
    let backup = s.key("backup", &YesNo, false, "Used only when no other node of the pool is usable.");
    let max_connections: NonZeroU32 = s.key(
        "max_connections",
        &whole(1, 1_000_000),
        Node::MAX_CONNECTIONS_DEFAULT,
        "Requests or connections at the same time, a peer; more wait in the pool's queue.",
    );
    Some(Node { region, weight, backup, max_connections, ..Node::new(id?, address?) })
}
