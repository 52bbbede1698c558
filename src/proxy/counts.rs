//! What each listener counted since the peer started. Written by workers with relaxed adds, read by `/metrics`.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Adds one.
pub(crate) fn bump(counter: &AtomicU64) {
    counter.fetch_add(1, Relaxed);
}

macro_rules! counts {
    ($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Default)]
        pub struct $name {
            $($(#[$field_doc])* pub $field: AtomicU64,)*
        }

        impl $name {
            /// Every count under its name, in order.
            pub fn all(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$((stringify!($field), self.$field.load(Relaxed)),)*].into_iter()
            }
        }
    };
}

counts! {
    /// Of one listener.
    ListenerCounts {
        /// Connections open now.
        connections_open,
        /// Connections accepted.
        connections_total,
        /// Connections closed at once because `connections_max` were open.
        connections_refused,
        /// TLS handshakes done.
        handshakes_total,
        /// Those of them that resumed an earlier session.
        handshakes_resumed,
        /// Connections that speak HTTP/2.
        http2_connections_total,
        /// Requests whose head was read whole.
        requests_total,
        /// Requests refused because they were malformed or not allowed.
        requests_refused,
        /// Answers this peer gave itself: 502, 503, 504 and refusals.
        answers_own,
        /// Bytes of bodies and relays from clients.
        bytes_received,
        /// Bytes of bodies and relays to clients.
        bytes_sent,
        /// Upgraded connections (WebSockets) begun.
        upgrades_total,
        /// Copies of requests that were sent to other pools.
        mirrors_total,
    }
}

counts! {
    /// Of one listener, what went wrong with its traffic. Each time-out has its own name.
    FailureCounts {
        /// A client took longer than `handshake_timeout` to its TLS.
        timeouts_handshake,
        /// A client took longer than `head_timeout` to send a head.
        timeouts_head,
        /// A connection waited longer than `keep_alive_timeout` for its next request.
        timeouts_keep_alive,
        /// A request body was slower than `body_rate_min`.
        timeouts_body_rate,
        /// A body stood still longer than `stream_idle_timeout`.
        timeouts_stream_idle,
        /// An upgraded connection stood still longer than `tunnel_idle_timeout`.
        timeouts_tunnel_idle,
        /// A TCP connection stood still longer than its `idle_timeout`.
        timeouts_tcp_idle,
        /// A connection to a node took longer than `connect_timeout`.
        timeouts_connect,
        /// A node took longer than `response_timeout` to the head of its answer.
        timeouts_response,
        /// A request waited longer than `queue_timeout` for a place.
        timeouts_queue,
        /// TLS handshakes of clients that failed.
        handshakes_failed,
        /// Connections of HTTP/2 that were ended because the client sent more of something than anybody means.
        http2_floods,
        /// Connections of HTTP/2 that were ended because what the client sent cannot be read.
        http2_faults,
        /// Clients that asked for a name, or came to an address, that no certificate of the listener is for.
        names_unrecognized,
        /// Connections to nodes that this peer could not open for lack of descriptors, ports or memory.
        connects_own_fault,
        /// Requests that found `queue` others waiting.
        queue_full,
        /// Requests for which no node could be used.
        no_node,
        /// Requests that no region took because each had what it can take.
        over_capacity,
        /// Requests of which nobody could say whether they may go on.
        checks_failed,
        /// Requests that were not copied: no node could be used at once, or too many copies were under way.
        mirrors_dropped,
        /// Copies of requests that no node answered.
        mirrors_failed,
        /// Nodes' answers that were malformed or not allowed.
        answers_malformed,
        /// Nodes' answers that ended before their end.
        answers_cut,
        /// Exchanges, tunnels and relays that were cut because the drain of their node was over.
        drains_cut,
        /// Clients that went away before their answer was whole.
        clients_gone,
    }
}
