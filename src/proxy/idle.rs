//! Connections to nodes that wait for their next request, kept by the worker that opened them.

use std::collections::{HashMap, HashSet, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::ClientConfig;

use super::settings::Idle as Settings;
use super::stream::Stream;
use crate::balance::NodeLive;
use crate::model::Admin;
use crate::view::{NodeView, View};

/// A request that cannot be sent twice gets no connection that was idle longer: the longer it was, the more likely the
/// node closes it just now.
const FRESH: Duration = Duration::from_secs(2);

/// A connection to a node with what must be known to use it again.
#[derive(Debug)]
pub(crate) struct NodeConnection {
    pub(crate) stream: Stream,
    pub(crate) address: SocketAddr,
    pub(crate) opened: Instant,
    /// By which TLS it is spoken: one of another trust is another connection.
    pub(crate) tls: Option<Arc<ClientConfig>>,
}

/// A worker's idle connections.
#[derive(Debug, Default)]
pub(crate) struct IdleConnections {
    nodes: HashMap<*const NodeLive, Shelf>,
}

#[derive(Debug)]
struct Shelf {
    /// Keeps the address that is the key from being used for another node.
    live: Arc<NodeLive>,
    /// The one that was used last is at the back.
    connections: VecDeque<(NodeConnection, Instant)>,
}

impl IdleConnections {
    /// The connection to this node that was used last and is still good.
    pub(crate) fn take(
        &mut self,
        node: &NodeView,
        tls: Option<&Arc<ClientConfig>>,
        now: Instant,
        is_replayable: bool,
        settings: &Settings,
    ) -> Option<NodeConnection> {
        let shelf = self.nodes.get_mut(&Arc::as_ptr(&node.live))?;
        while let Some((mut connection, since)) = shelf.connections.pop_back() {
            let idle = now.saturating_duration_since(since);
            let is_good = idle < settings.idle_timeout
                && now.saturating_duration_since(connection.opened) < settings.age_max
                && node.addresses.contains(&connection.address)
                && connection.tls.as_ref().map(Arc::as_ptr) == tls.map(Arc::as_ptr)
                && !connection.stream.is_stale()
                && (is_replayable || !connection.stream.is_stale_now());
            if is_good && (is_replayable || idle < FRESH) {
                return Some(connection);
            }
            if is_good {
                shelf.connections.push_back((connection, since));
                return None;
            }
        }
        None
    }

    /// Keeps a connection for later, unless there are enough.
    pub(crate) fn keep(&mut self, live: &Arc<NodeLive>, connection: NodeConnection, now: Instant, settings: &Settings) {
        let shelf = self
            .nodes
            .entry(Arc::as_ptr(live))
            .or_insert_with(|| Shelf { live: Arc::clone(live), connections: VecDeque::new() });
        debug_assert!(Arc::ptr_eq(&shelf.live, live));
        if shelf.connections.len() >= settings.connections_max {
            shelf.connections.pop_front();
        }
        if settings.connections_max > 0 {
            shelf.connections.push_back((connection, now));
        }
    }

    /// Closes what has been idle too long, is too old, or was closed by the node, and all of nodes that get nothing new.
    pub(crate) fn sweep(&mut self, now: Instant, settings: &Settings, view: &View) {
        if self.nodes.is_empty() {
            return;
        }
        let nodes = view.pools().flat_map(|pool| &pool.nodes).filter(|node| node.state.admin == Admin::Enabled);
        let serving: HashSet<*const NodeLive> = nodes.map(|node| Arc::as_ptr(&node.live)).collect();
        self.nodes.retain(|live, _| serving.contains(live));
        for shelf in self.nodes.values_mut() {
            shelf.connections.retain_mut(|(connection, since)| {
                now.saturating_duration_since(*since) < settings.idle_timeout
                    && now.saturating_duration_since(connection.opened) < settings.age_max
                    && !connection.stream.is_stale_now()
            });
        }
        self.nodes.retain(|_, shelf| !shelf.connections.is_empty());
    }
}
