//! Every metric of a peer: its name, its meaning, its kind. What the numbers are is read at each scrape from the counts
//! that the peer keeps anyway, so no number is counted twice.

/// How a metric moves.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// It only grows while the peer runs. Its name ends in `_total`.
    Counter,
    /// It goes up and down.
    Gauge,
}

/// What a metric counts in.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Unit {
    /// Bytes.
    Bytes,
    /// Seconds.
    Seconds,
}

/// One metric.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Metric {
    /// The name of its samples.
    pub name: &'static str,
    /// One sentence.
    pub help: &'static str,
    /// How it moves.
    pub kind: Kind,
    /// Its labels, in order.
    pub labels: &'static [&'static str],
}

impl Metric {
    /// Its name without what OpenMetrics puts behind it, and its unit: a name ends in its unit, a counter's in `_total`
    /// after that.
    pub fn stem(&self) -> (&'static str, Option<Unit>) {
        let name = self.name.strip_suffix("_total").unwrap_or(self.name);
        for (suffix, unit) in [("_bytes", Unit::Bytes), ("_seconds", Unit::Seconds)] {
            if let Some(stem) = name.strip_suffix(suffix) {
                return (stem, Some(unit));
            }
        }
        (name, None)
    }
}

macro_rules! metrics {
    ($($constant:ident = $kind:ident $name:literal [$($label:literal),*] $help:literal;)*) => {
        $(
            #[doc = $help]
            pub const $constant: Metric =
                Metric { name: $name, help: $help, kind: Kind::$kind, labels: &[$($label),*] };
        )*

        /// All of them, in the order in which a scrape shows them.
        pub const ALL: &[Metric] = &[$($constant),*];
    };
}

metrics! {
    BUILD_INFO = Gauge "evenkeel_build_info" ["version"]
        "Always 1; its label says what runs.";
    START_TIME = Gauge "evenkeel_start_time_seconds" []
        "When the peer started, in seconds since 1970.";
    READY = Gauge "evenkeel_ready" []
        "1 while the peer is ready for traffic.";
    CHILD_RESTARTS = Counter "evenkeel_child_restarts_total" ["child"]
        "How often a part of the peer was started again.";
    CHILD_GIVEN_UP = Gauge "evenkeel_child_given_up" ["child"]
        "1 where a part of the peer failed too often and stays down.";

    PEERS = Gauge "evenkeel_peers" ["state"]
        "Peers of the cluster as this one sees them, itself included.";
    GOSSIP_SENT = Counter "evenkeel_gossip_sent_messages_total" []
        "Messages of gossip handed to the link.";
    GOSSIP_SENT_BYTES = Counter "evenkeel_gossip_sent_bytes_total" []
        "Bytes of gossip handed to the link.";
    GOSSIP_RECEIVED = Counter "evenkeel_gossip_received_messages_total" []
        "Messages of gossip received.";
    GOSSIP_RECEIVED_BYTES = Counter "evenkeel_gossip_received_bytes_total" []
        "Bytes of gossip received.";
    GOSSIP_OVER_BUDGET = Counter "evenkeel_gossip_rounds_over_budget_total" []
        "Rounds of gossip that were left out because they would have cost more than the cap.";
    GOSSIP_UNREADABLE = Counter "evenkeel_gossip_unreadable_total" ["what"]
        "Messages of gossip, and values in them, that could not be read.";
    GOSSIP_REFUSED = Counter "evenkeel_gossip_refused_total" ["what"]
        "Messages of gossip that break a bound, and parts left out of others because there are too many.";
    GOSSIP_PEERS_REFUSED = Counter "evenkeel_gossip_peers_refused_total" []
        "Times that somebody was not taken for a peer because as many as there may be are known.";
    LINK_REFUSED = Counter "evenkeel_link_refused_total" ["reason"]
        "Links that this peer refused or was refused.";
    LINK_DIALS = Counter "evenkeel_link_dials_total" []
        "Times that another peer was dialed.";
    LINK_DIALS_FAILED = Counter "evenkeel_link_dials_failed_total" []
        "Dials that led to no link.";
    LINK_LOST = Counter "evenkeel_link_lost_total" []
        "Links that were lost without a goodbye.";
    LINK_SENT = Counter "evenkeel_link_sent_messages_total" ["channel"]
        "Messages handed to the network.";
    LINK_SENT_BYTES = Counter "evenkeel_link_sent_bytes_total" ["channel"]
        "Bytes of messages handed to the network.";
    LINK_RECEIVED = Counter "evenkeel_link_received_messages_total" ["channel"]
        "Messages received whole.";
    LINK_RECEIVED_BYTES = Counter "evenkeel_link_received_bytes_total" ["channel"]
        "Bytes of messages received whole.";
    LINK_DROPPED = Counter "evenkeel_link_dropped_messages_total" ["channel", "why"]
        "Messages that did not arrive: unsent (outbox full, peer gone), late, oversized, untaken (received, and nobody took it).";
    HEARD_DROPPED = Counter "evenkeel_heard_dropped_total" []
        "Observations of other peers that were not kept: of nodes that this peer does not have, or too many.";

    ELECTION_TERM = Gauge "evenkeel_election_term" []
        "The newest term that this peer knows; it only grows, by one an election.";
    ELECTION_LEADING = Gauge "evenkeel_election_leading" []
        "1 while this peer leads.";
    ELECTION_LEADER_KNOWN = Gauge "evenkeel_election_leader_known" []
        "1 while this peer knows who leads.";
    ELECTORS = Gauge "evenkeel_electors" []
        "Peers that vote; 0 while that is not known.";
    CATALOG_REVISION = Gauge "evenkeel_catalog_revision" []
        "The revision that this peer serves by; 0 while it serves by its own file.";
    CATALOG_BEHIND = Gauge "evenkeel_catalog_behind" []
        "1 where a newer revision is committed that this peer cannot serve by.";

    POOL_NODES = Gauge "evenkeel_pool_nodes" ["pool", "verdict"]
        "Nodes of a pool by verdict.";
    POOL_IN_FLIGHT = Gauge "evenkeel_pool_in_flight" ["pool"]
        "Requests and connections between pick and end.";
    POOL_WAITING = Gauge "evenkeel_pool_queue_waiting" ["pool"]
        "Requests that wait for a place because every node is full.";
    POOL_RETRIES = Counter "evenkeel_pool_retries_total" ["pool"]
        "Requests that were sent again to another node.";
    POOL_RETRIES_REFUSED = Counter "evenkeel_pool_retries_refused_total" ["pool"]
        "Retries that the retry budget refused.";

    NODE_UP = Gauge "evenkeel_node_up" ["pool", "node"]
        "1 where the verdict is up or degraded, else 0.";
    NODE_IN_FLIGHT = Gauge "evenkeel_node_in_flight" ["pool", "node"]
        "Requests and connections at a node now.";
    NODE_WEIGHT = Gauge "evenkeel_node_weight" ["pool", "node"]
        "Weight as it was set.";
    NODE_EFFECTIVE_WEIGHT = Gauge "evenkeel_node_effective_weight" ["pool", "node"]
        "Weight after slow start, degradation and traffic evidence.";
    NODE_HEALTH_SCORE = Gauge "evenkeel_node_health_score" ["pool", "node"]
        "Health score, 50 to 100.";
    NODE_LATENCY = Gauge "evenkeel_node_latency_seconds" ["pool", "node"]
        "Moving average of the connect time of checks; absent until measured.";
    NODE_RESPONSE = Gauge "evenkeel_node_response_seconds" ["pool", "node"]
        "Moving average of the time to the head of an answer; absent until measured.";
    NODE_REQUESTS = Counter "evenkeel_node_requests_total" ["pool", "node"]
        "Requests sent and TCP connections relayed.";
    NODE_ANSWERS = Counter "evenkeel_node_answers_total" ["pool", "node", "class"]
        "Answers by class of their status.";
    NODE_CONNECTIONS = Counter "evenkeel_node_connections_total" ["pool", "node"]
        "Connections opened.";
    NODE_CONNECT_FAILURES = Counter "evenkeel_node_connect_failures_total" ["pool", "node"]
        "Connections that could not be opened.";
    NODE_EXCHANGE_FAILURES = Counter "evenkeel_node_exchange_failures_total" ["pool", "node"]
        "Exchanges that broke after they were sent.";
    NODE_TIMEOUTS = Counter "evenkeel_node_timeouts_total" ["pool", "node"]
        "Exchanges that ran into a time-out of the node's.";
    NODE_BYTES_SENT = Counter "evenkeel_node_sent_bytes_total" ["pool", "node"]
        "Bytes of bodies and relays to a node.";
    NODE_BYTES_RECEIVED = Counter "evenkeel_node_received_bytes_total" ["pool", "node"]
        "Bytes of bodies and relays from a node.";
    NODE_CHECKS = Counter "evenkeel_node_checks_total" ["pool", "node"]
        "Checks of a node by this peer.";

    ACCESS_LOG_LINES = Counter "evenkeel_access_log_lines_total" ["to"]
        "Lines of access logs that were written.";
    ACCESS_LOG_DROPPED = Counter "evenkeel_access_log_dropped_lines_total" ["to", "why"]
        "Lines of access logs that were lost: full (too many waited), unwritable (the system refused them).";

    LISTENER_CONNECTIONS_OPEN = Gauge "evenkeel_listener_connections_open" ["listener"]
        "Client connections open now.";
    LISTENER_CONNECTIONS = Counter "evenkeel_listener_connections_total" ["listener"]
        "Client connections accepted.";
    LISTENER_CONNECTIONS_REFUSED = Counter "evenkeel_listener_connections_refused_total" ["listener"]
        "Client connections closed at once because as many as allowed were open.";
    LISTENER_REQUESTS = Counter "evenkeel_listener_requests_total" ["listener"]
        "Requests whose head was read whole.";
    LISTENER_REQUESTS_REFUSED = Counter "evenkeel_listener_requests_refused_total" ["listener"]
        "Requests refused because they were malformed or not allowed.";
    LISTENER_ANSWERS_OWN = Counter "evenkeel_listener_answers_own_total" ["listener"]
        "Answers that the peer gave itself: 502, 503, 504 and refusals.";
    LISTENER_BYTES_RECEIVED = Counter "evenkeel_listener_received_bytes_total" ["listener"]
        "Bytes of bodies and relays from clients.";
    LISTENER_BYTES_SENT = Counter "evenkeel_listener_sent_bytes_total" ["listener"]
        "Bytes of bodies and relays to clients.";
    LISTENER_UPGRADES = Counter "evenkeel_listener_upgrades_total" ["listener"]
        "Upgraded connections (WebSockets) begun.";
    LISTENER_MIRRORS = Counter "evenkeel_listener_mirrors_total" ["listener"]
        "Copies of requests that were sent to other pools.";
    LISTENER_HTTP2_CONNECTIONS = Counter "evenkeel_listener_http2_connections_total" ["listener"]
        "Connections of clients that speak HTTP/2.";
    LISTENER_HANDSHAKES = Counter "evenkeel_listener_tls_handshakes_total" ["listener"]
        "TLS handshakes of clients that were done.";
    LISTENER_HANDSHAKES_RESUMED = Counter "evenkeel_listener_tls_handshakes_resumed_total" ["listener"]
        "Those of them that resumed an earlier session.";

    REQUESTS_LIMITED = Counter "evenkeel_requests_limited_total" ["route", "limit"]
        "Requests, and connections that are not HTTP, that a limit of a route refused: by its rate, or by connections.";
    LIMIT_MEMORY = Gauge "evenkeel_limit_memory_bytes" []
        "Memory in which limits count.";
    LIMIT_FORGOTTEN = Counter "evenkeel_limit_keys_forgotten_total" []
        "Keys of rate limits that gave way to others although they were of use still: all memory for them is in use.";
    LIMIT_UNCOUNTED = Counter "evenkeel_limit_uncounted_total" []
        "Requests and connections that a connection limit let in uncounted: all memory for it is in use.";

    TIMEOUTS = Counter "evenkeel_timeouts_total" ["listener", "pool", "timeout"]
        "Time-outs that struck, each under the name of its setting; without a pool where none was chosen yet.";
    FAILURES = Counter "evenkeel_failures_total" ["listener", "pool", "kind"]
        "What else went wrong between clients and nodes.";
}

/// The metric of each count that a listener keeps.
pub const OF_LISTENER: &[(&str, Metric)] = &[
    ("connections_open", LISTENER_CONNECTIONS_OPEN),
    ("connections_total", LISTENER_CONNECTIONS),
    ("connections_refused", LISTENER_CONNECTIONS_REFUSED),
    ("handshakes_total", LISTENER_HANDSHAKES),
    ("handshakes_resumed", LISTENER_HANDSHAKES_RESUMED),
    ("http2_connections_total", LISTENER_HTTP2_CONNECTIONS),
    ("requests_total", LISTENER_REQUESTS),
    ("requests_refused", LISTENER_REQUESTS_REFUSED),
    ("answers_own", LISTENER_ANSWERS_OWN),
    ("bytes_received", LISTENER_BYTES_RECEIVED),
    ("bytes_sent", LISTENER_BYTES_SENT),
    ("upgrades_total", LISTENER_UPGRADES),
    ("mirrors_total", LISTENER_MIRRORS),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_conventions_of_prometheus_and_are_unique() {
        for (at, metric) in ALL.iter().enumerate() {
            assert!(metric.name.starts_with("evenkeel_"), "{}", metric.name);
            assert_eq!(metric.name.ends_with("_total"), metric.kind == Kind::Counter, "{}", metric.name);
            let (stem, _) = metric.stem();
            for unit in ["bytes", "seconds"] {
                assert!(!stem.contains(unit), "{}: a unit stands at the end, before _total", metric.name);
            }
            assert!(metric.help.ends_with('.'), "{}", metric.name);
            assert!(ALL[..at].iter().all(|other| other.name != metric.name), "{} stands there twice", metric.name);
        }
    }
}
