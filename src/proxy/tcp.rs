//! A TCP connection: a node is picked, connected to (another one where that fails), and the two are relayed.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::Ordering::Relaxed;

use jiff::Timestamp;

use super::alarm::Alarm;
use super::connect::{ConnectError, WithTls, connect};
use super::counts::bump;
use super::drains::count_cut;
use super::idle::NodeConnection;
use super::listen::Bound;
use super::pick::pick;
use super::presence::while_client_stays;
use super::relay::{Limits, RelayEnd, relay};
use super::settings::Tcp;
use super::stream::{Abort, Leg, Stream};
use super::way::Course;
use super::worker::Worker;
use crate::host::{self, Dice};
use crate::model::{ListenerName, RegionName, Scheme};
use crate::route::{Decision, Facts, Head};
use crate::tls::Inside;
use crate::view::{Ask, Taken, Tried, View, Wanted};

/// Serves one client connection from its first byte to its last.
pub(crate) async fn serve(worker: &Worker, bound: &Bound, settings: &Tcp, stream: Stream, client: SocketAddr) {
    let reach = reach(worker, bound, client);
    let mut client = Leg::new(stream);
    let mut alarm = Alarm::at(host::now() + settings.idle_timeout);
    let reached = while_client_stays(&mut client, &mut alarm, &worker.stock, reach).await;
    if reached.is_none() {
        bump(&bound.failures.clients_gone);
    }
    let Some((taken, connection)) = reached.flatten() else {
        // The client learns by a reset that nobody took its connection.
        client.io.abort_on_close();
        return;
    };
    let node = taken.node();
    bump(&node.live.counts.requests);
    let mut node_leg = Leg::new(connection.stream);
    let count_up = |bytes| {
        bound.counts.bytes_received.fetch_add(bytes, Relaxed);
        node.live.counts.bytes_sent.fetch_add(bytes, Relaxed);
    };
    let count_down = |bytes| {
        bound.counts.bytes_sent.fetch_add(bytes, Relaxed);
        node.live.counts.bytes_received.fetch_add(bytes, Relaxed);
    };
    let limits = Limits { idle: settings.idle_timeout, is_over: &|| worker.is_over(&node.live) };
    match relay(&mut client, &mut node_leg, &mut alarm, limits, &worker.stock, &count_up, &count_down).await {
        RelayEnd::Idle => bump(&bound.failures.timeouts_tcp_idle),
        RelayEnd::Drained => count_cut(bound, &node.live),
        RelayEnd::Closed | RelayEnd::Broken => {}
    }
}

/// A node with an open connection, unless every try fails. Nothing was sent, so any connection may be tried elsewhere.
async fn reach(worker: &Worker, bound: &Bound, client: SocketAddr) -> Option<(Taken, NodeConnection)> {
    let client = client.ip().to_canonical();
    let ask = Ask { client, hash: None };
    let decision = worker.with_view(|view| decide(view, bound, client, &mut worker.dice.borrow_mut()));
    let end = decision.end.as_ref().and_then(|entry| entry.route.then.end.as_ref());
    let way = match worker.with_view(|view| Course::of(end, worker.pool_of(bound), view))? {
        Course::Forward(way) => way,
        // There are no words to refuse it with.
        Course::Refuse(_) | Course::Redirect(_) | Course::Answer(_) => {
            bump(&bound.counts.connections_refused);
            return None;
        }
    };
    let region = worker.with_view(|view| region_of(view, client));
    let wanted = way.wanted(ask, Some(&region));
    if let Some(reached) = reach_one_of(worker, bound, &wanted).await {
        return Some(reached);
    }
    // Whatever its statuses: nothing answered.
    let fallback = way.fallback?;
    let wanted = Wanted { client_region: Some(&region), ..Wanted::one_of(&fallback.pool, ask) };
    reach_one_of(worker, bound, &wanted).await
}

/// A node of one pool with an open connection.
async fn reach_one_of(worker: &Worker, bound: &Bound, wanted: &Wanted<'_>) -> Option<(Taken, NodeConnection)> {
    let mut tried = Tried::default();
    let mut retries = 0;
    // Held while the try that it allows is under way, and no longer.
    let mut permit = None;
    loop {
        let taken = pick(worker, bound, wanted, &tried).await.ok()?;
        let node = taken.node();
        bump(&node.live.counts.connections);
        let connected = match WithTls::of(worker, &taken, Inside::Bytes) {
            Ok(tls) => connect(node, taken.pool().pool.connect_timeout, tls.as_ref(), &worker.scratch).await,
            Err(error) => Err(error),
        };
        match connected {
            Ok(connection) => return Some((taken, connection)),
            Err(error) => {
                note_connect_failure(worker, bound, &taken, &error);
                drop(permit.take());
                if retries >= taken.pool().pool.retries {
                    return None;
                }
                permit = Some(taken.pool().live.try_retry()?);
            }
        }
        retries += 1;
        tried.add(&taken);
    }
}

/// A connection as routes see it.
struct Connection<'a> {
    bound: &'a Bound,
    client: IpAddr,
    region: RegionName,
}

/// Which routes have a say in what becomes of a connection.
pub(super) fn decide(view: &View, bound: &Bound, client: IpAddr, dice: &mut Dice) -> Decision {
    if view.routes().is_empty() {
        return Decision::default();
    }
    view.routes().find(&Connection { bound, client, region: region_of(view, client) }, dice)
}

/// Where a client is: where the catalog says its address is, or else where this peer is.
pub(super) fn region_of(view: &View, client: IpAddr) -> RegionName {
    view.regions().of_client(client).unwrap_or(view.regions().own()).clone()
}

impl Facts for Connection<'_> {
    fn listener(&self) -> &ListenerName {
        &self.bound.listener.name
    }

    fn scheme(&self) -> Scheme {
        self.bound.listener.scheme()
    }

    fn client(&self) -> IpAddr {
        self.client
    }

    fn region(&self) -> Option<&RegionName> {
        Some(&self.region)
    }

    fn now(&self) -> Timestamp {
        host::wall_timestamp()
    }

    fn head(&self) -> Option<Head<'_>> {
        None
    }

    fn has_field(&self, _: &str, _: &mut dyn FnMut(&[u8]) -> bool) -> bool {
        false
    }
}

/// Counts a connection that could not be opened, and holds it against the node.
pub(super) fn note_connect_failure(worker: &Worker, bound: &Bound, taken: &Taken, error: &ConnectError) {
    let node = taken.node();
    if matches!(error, ConnectError::Own(_)) {
        bump(&bound.failures.connects_own_fault);
        if let Some(times) = worker.connects_failed.count(host::now()) {
            tracing::warn!(node = %node.node.id, %error, times,
                "the node is not to blame; look at LimitNOFILE and at free ports");
        }
        return;
    }
    if matches!(error, ConnectError::Unready(_)) {
        // The log has it, and the health of the peer, for as long as it lasts.
        bump(&bound.failures.connects_own_fault);
        return;
    }
    bump(&node.live.counts.connect_failures);
    if matches!(error, ConnectError::Timeout(_)) {
        bump(&bound.failures.timeouts_connect);
        bump(&node.live.counts.timeouts);
    }
    tracing::debug!(node = %node.node.id, %error, "a connection to a node failed");
    worker.suspect(node);
}
