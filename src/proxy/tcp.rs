//! A TCP connection: a node is picked, connected to (another one where that fails), and the two are relayed.

use std::cell::Cell;
use std::future::poll_fn;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::Ordering::Relaxed;
use std::task::Poll;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::access_log::{self, End, Note, Record};
use super::alarm::Alarm;
use super::buffer::Stock;
use super::connect::{ConnectError, WithTls, connect};
use super::counts::bump;
use super::drains::count_cut;
use super::http::routed::of_address;
use super::http::told::tls_of;
use super::idle::NodeConnection;
use super::limits;
use super::listen::Bound;
use super::mqtt::{FirstPacket, first_packet};
use super::pick::pick;
use super::presence::while_client_stays;
use super::relay::{Limits, RelayEnd, relay};
use super::settings::Tcp;
use super::stream::{Abort, Leg, Stream};
use super::way::{Course, Way};
use super::worker::Worker;
use crate::balance::hash;
use crate::geo::GeoCell;
use crate::host::{self, Dice};
use crate::limit::Held;
use crate::model::{HashKey, ListenerName, PoolName, RegionName, Scheme, Sticky, Strategy};
use crate::route::{Decision, Facts, Head};
use crate::tls::Inside;
use crate::view::{Ask, Stick, Taken, Tried, View, Wanted};

/// Serves one client connection from its first byte to its last.
pub(crate) async fn serve(worker: &Worker, bound: &Bound, settings: &Tcp, stream: Stream, client: SocketAddr) {
    let began = host::now();
    let mut told = Told {
        worker,
        bound,
        client,
        began,
        tls: tls_of(&stream),
        note: bound.log.as_ref().map(|_| Box::new(Note::of_connection())),
    };
    let ip = client.ip().to_canonical();
    let mut client = Leg::new(stream);
    let mut alarm = Alarm::at(began + settings.idle_timeout);
    // It counts with limits for as long as it stands.
    let (taken, connection, _held) = match find(worker, bound, ip, &mut client, &mut alarm).await {
        Ok(found) => found,
        Err(end) => {
            told.note(|note| note.end = end);
            // The client learns by a reset that nobody took its connection.
            client.io.abort_on_close();
            return;
        }
    };
    alarm.set(host::now() + settings.idle_timeout);
    told.note(|note| note.tried(&taken, 0));
    let node = taken.node();
    bump(&node.live.counts.requests);
    let (bytes_up, bytes_down) = (Cell::new(0), Cell::new(0));
    let mut node_leg = Leg::new(connection.stream);
    let count_up = |bytes| {
        bytes_up.set(bytes_up.get() + bytes);
        bound.counts.bytes_received.fetch_add(bytes, Relaxed);
        node.live.counts.bytes_sent.fetch_add(bytes, Relaxed);
    };
    let count_down = |bytes| {
        bytes_down.set(bytes_down.get() + bytes);
        bound.counts.bytes_sent.fetch_add(bytes, Relaxed);
        node.live.counts.bytes_received.fetch_add(bytes, Relaxed);
    };
    let limits = Limits { idle: settings.idle_timeout, is_over: &|| worker.is_over(&node.live) };
    let ended = relay(&mut client, &mut node_leg, &mut alarm, limits, &worker.stock, &count_up, &count_down).await;
    told.note(|note| {
        (note.bytes_in, note.bytes_out, note.end) = (bytes_up.get(), bytes_down.get(), ended.into());
    });
    match ended {
        RelayEnd::Idle => bump(&bound.failures.timeouts_tcp_idle),
        RelayEnd::Drained => count_cut(bound, &node.live),
        RelayEnd::Closed | RelayEnd::Broken => {}
    }
}

/// One connection as the access log tells it: its line is written when this is dropped, whatever ended it.
struct Told<'a> {
    worker: &'a Worker,
    bound: &'a Bound,
    client: SocketAddr,
    began: Instant,
    tls: Option<access_log::Tls>,
    note: Option<Box<Note>>,
}

impl Told<'_> {
    fn note(&mut self, tell: impl FnOnce(&mut Note)) {
        if let Some(note) = &mut self.note {
            tell(note);
        }
    }
}

impl Drop for Told<'_> {
    fn drop(&mut self) {
        let Self { worker, bound, client, began, tls, note } = self;
        let (Some(log), Some(note)) = (&bound.log, note) else { return };
        let duration = host::now().saturating_duration_since(*began);
        let wall = host::wall_timestamp();
        let record = Record {
            began: wall.checked_sub(duration).unwrap_or(wall),
            duration,
            client: client.ip().to_canonical(),
            sender: SocketAddr::new(client.ip().to_canonical(), client.port()),
            listener: &bound.listener.name,
            route: None,
            scheme: if tls.is_some() { "tls" } else { "tcp" },
            asked: None,
            answer: None,
            tls: *tls,
            note,
        };
        // It is in use only where this is the end of a task that panicked.
        if let Ok(mut dice) = worker.dice.try_borrow_mut() {
            log.log(&record, &mut dice);
        }
    }
}

/// A node with an open connection, and what counts the client's with limits; or how it ended without.
async fn find(
    worker: &Worker,
    bound: &Bound,
    ip: IpAddr,
    client: &mut Leg<Stream>,
    alarm: &mut Alarm,
) -> Result<(Taken, NodeConnection, Vec<Held>), End> {
    let of = (ip, &worker.shared.geo);
    let decision = worker.with_view(|view| decide(view, bound, of, &mut worker.dice.borrow_mut()));
    let Ok(held) = limits::ask(&worker.shared.limiter, &decision, ip, |_| None, host::now()) else {
        bump(&bound.counts.connections_refused);
        return Err(End::Refused);
    };
    let end = decision.end.as_ref().and_then(|entry| entry.route.then.end.as_ref());
    let course = worker.with_view(|view| Course::of(end, worker.pool_of(bound), view));
    let way = match course.ok_or(End::NoNode)? {
        Course::Forward(way) => way,
        // There are no words to refuse it with.
        Course::Refuse(_) | Course::Redirect(_) | Course::Answer(_) | Course::Files(_) => {
            bump(&bound.counts.connections_refused);
            return Err(End::Refused);
        }
    };
    let wants_client_id = worker.with_view(|view| wants_client_id(view, &way));
    let client_id = if wants_client_id { read_client_id(client, alarm, &worker.stock).await } else { None };
    let reach = reach(worker, bound, &way, Asking { client: ip, client_id });
    match while_client_stays(client, alarm, &worker.stock, reach).await {
        Some(Some((taken, connection))) => Ok((taken, connection, held)),
        Some(None) => Err(End::NoNode),
        None => {
            bump(&bound.failures.clients_gone);
            Err(End::ClientGone)
        }
    }
}

/// How long a client of MQTT may take to say who it is before it is served as one that did not.
const CLIENT_ID_TIMEOUT: Duration = Duration::from_secs(10);

/// Whether where a connection goes hangs on the client id of MQTT.
fn wants_client_id(view: &View, way: &Way<'_>) -> bool {
    let wants = |name: &PoolName| {
        let Some(pool) = view.pool(name).map(|pool| &pool.pool) else { return false };
        pool.sticky == Some(Sticky::Key(HashKey::MqttClientId))
            || (pool.strategy == Strategy::ConsistentHash && pool.hash == HashKey::MqttClientId)
    };
    wants(&way.pool) || way.fallback.is_some_and(|fallback| wants(&fallback.pool))
}

/// Reads until the client has said who it is; what was read stays for the node. `None`: it does not say.
async fn read_client_id(client: &mut Leg<Stream>, alarm: &mut Alarm, stock: &Stock) -> Option<u64> {
    alarm.set(host::now() + CLIENT_ID_TIMEOUT);
    poll_fn(|cx| {
        loop {
            match first_packet(client.input.filled()) {
                FirstPacket::ClientId(hash) => return Poll::Ready(Some(hash)),
                FirstPacket::Other => return Poll::Ready(None),
                FirstPacket::More if !client.input.is_empty() && client.input.is_full() => return Poll::Ready(None),
                FirstPacket::More => {}
            }
            match client.poll_fill(cx, stock) {
                Poll::Ready(Ok(1..)) => {}
                // Who has gone is found out by whoever serves it.
                Poll::Ready(_) => return Poll::Ready(None),
                Poll::Pending if alarm.poll(cx).is_ready() => return Poll::Ready(None),
                Poll::Pending => return Poll::Pending,
            }
        }
    })
    .await
}

/// Who asks for a node.
#[derive(Clone, Copy)]
pub(super) struct Asking {
    pub(super) client: IpAddr,
    /// The hash of its client id of MQTT, where it matters and was said.
    pub(super) client_id: Option<u64>,
}

impl Asking {
    /// What of the connection matters to the choice of a node in this pool.
    pub(super) fn of(self, pool: &PoolName, view: &View) -> Ask {
        let Self { client, client_id } = self;
        let Some(pool) = view.pool(pool).map(|pool| &pool.pool) else { return Ask::of(client, host::now()) };
        let by = |key: &HashKey| if *key == HashKey::MqttClientId { client_id } else { None };
        let stick = match &pool.sticky {
            Some(Sticky::Key(key)) => Stick::Key(by(key).unwrap_or_else(|| hash::of_address(client))),
            // A relay sees no cookies.
            Some(Sticky::Cookie(_)) | None => Stick::Free,
        };
        Ask { hash: by(&pool.hash), stick, ..Ask::of(client, host::now()) }
    }
}

/// A node with an open connection, unless every try fails. Nothing was sent, so any connection may be tried elsewhere.
async fn reach(worker: &Worker, bound: &Bound, way: &Way<'_>, asking: Asking) -> Option<(Taken, NodeConnection)> {
    let region = worker.with_view(|view| region_of(view, &worker.shared.geo, asking.client));
    let ask = |pool: &PoolName| worker.with_view(|view| asking.of(pool, view));
    let wanted = way.wanted(ask(&way.pool), region.as_ref());
    if let Some(reached) = reach_one_of(worker, bound, &wanted).await {
        return Some(reached);
    }
    // Whatever its statuses: nothing answered.
    let fallback = way.fallback?;
    let wanted = Wanted { client_region: region.as_ref(), ..Wanted::one_of(&fallback.pool, ask(&fallback.pool)) };
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
pub(super) fn decide(view: &View, bound: &Bound, (client, geo): (IpAddr, &GeoCell), dice: &mut Dice) -> Decision {
    if view.routes().is_empty() {
        return Decision::default();
    }
    let region = region_of(view, geo, client).unwrap_or_else(|| view.regions().own().clone());
    view.routes().find(&Connection { bound, client, region }, dice).decision()
}

/// Where the catalog or the GeoIP file says that a client's address is; `None`: it counts as being where this peer is.
pub(super) fn region_of(view: &View, geo: &GeoCell, client: IpAddr) -> Option<RegionName> {
    of_address(view.regions(), geo, client).cloned()
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

/// What a connection that could not be made says of the node and of this listener.
pub(super) fn note_connect_failure(worker: &Worker, bound: &Bound, taken: &Taken, error: &ConnectError) {
    match error {
        ConnectError::Own(_) | ConnectError::Unready(_) => bump(&bound.failures.connects_own_fault),
        ConnectError::Timeout(_) => bump(&bound.failures.timeouts_connect),
        ConnectError::Failed(_) | ConnectError::NoAddress | ConnectError::Tls(_) => {}
    }
    blame(worker, taken, error);
}

/// What a connection that could not be made says of the node alone.
pub(super) fn blame(worker: &Worker, taken: &Taken, error: &ConnectError) {
    let node = taken.node();
    match error {
        ConnectError::Own(_) => {
            if let Some(times) = worker.connects_failed.count(host::now()) {
                tracing::warn!(node = %node.node.id, %error, times,
                    "the node is not to blame; look at LimitNOFILE and at free ports");
            }
            return;
        }
        // The log has it, and the health of the peer, for as long as it lasts.
        ConnectError::Unready(_) => return,
        ConnectError::Timeout(_) => bump(&node.live.counts.timeouts),
        ConnectError::Failed(_) | ConnectError::NoAddress | ConnectError::Tls(_) => {}
    }
    bump(&node.live.counts.connect_failures);
    tracing::debug!(node = %node.node.id, %error, "a connection to a node failed");
    worker.suspect(node);
}
