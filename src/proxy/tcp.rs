//! A TCP connection: a node is picked, connected to (another one where that fails), and the two are relayed.

use std::net::SocketAddr;
use std::sync::atomic::Ordering::Relaxed;

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
use super::worker::Worker;
use crate::host;
use crate::tls::Inside;
use crate::view::{Ask, Taken, Tried};

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
    let ask = Ask { client: client.ip().to_canonical(), hash: None };
    let mut tried = Tried::default();
    let mut retries = 0;
    // Held while the try that it allows is under way, and no longer.
    let mut permit = None;
    loop {
        let taken = pick(worker, bound, worker.pool_of(bound), &ask, &tried).await.ok()?;
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
