//! Links over QUIC: one endpoint and one UDP port a peer, mutual TLS 1.3, a stream a message.
//!
//! The tasks here do what the [`Keeper`] decides. It stands behind one lock that is held for moments only and never over an
//! await; whoever has something to say to it ([`Shared::with`]) performs what it answers before the lock is let go, so its
//! outputs happen in its order.

mod carry;
mod close;
mod endpoint;
mod greet;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use bytes::Bytes;
use quinn::{ClientConfig, Connection, Endpoint};
use tokio::runtime::Handle;
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::events::Subscribers;
use super::keep::{Keeper, Output, Token};
use super::protocols::Protocols;
use super::talk::Talk;
use super::trust::Trust;
use super::{
    AskError, Channel, Events, Inboxes, Inlets, Link, LinkEvent, Links, Settings, Timing, To, TrustError, TrustSource,
    Waiting,
};
use crate::host::{self, Dice};
use crate::model::{ClusterId, ClusterName, PeerId};
use crate::wire::{Advertised, Refusal};
use carry::{Answered, Carrier};

/// A connection answers a ping within this time, or counts as dead where another one waits for its place.
const PING_LIMIT: Duration = Duration::from_millis(300);
/// How long all are given to hear the goodbye.
const GOODBYE_LIMIT: Duration = Duration::from_secs(1);

/// Why links cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The port cannot be had.
    #[error("cannot listen for peers on {address} (UDP): {error}; is another peer running there?")]
    Bind {
        /// The address that was asked for.
        address: SocketAddr,
        /// What the system said.
        error: io::Error,
    },
    /// Nobody can dial the address that the others would be told.
    #[error("{0} cannot be dialed by other peers; set `cluster.advertise` to this peer's own address and port")]
    Advertise(SocketAddr),
    /// Keys or certificates do not do.
    #[error(transparent)]
    Trust(#[from] TrustError),
}

/// Links to the other peers over QUIC. Dropped, it closes them.
pub struct QuicLink {
    shared: Arc<Shared>,
    address: SocketAddr,
    /// Accepts, and keeps time.
    _tasks: JoinSet<()>,
}

impl QuicLink {
    /// Binds the port and takes peers from now on. Must be called in a runtime, on which all its tasks then run.
    pub fn start(settings: &Settings) -> Result<(Self, Inboxes), StartError> {
        let Settings { own, listen, advertise, trust: source, timing, protocols } = settings;
        let trust = Trust::new(source, *protocols, &own.cluster, &own.id)?;
        let (client, server) = endpoint::configs(&trust, *timing)?;
        let bind_error = |error| StartError::Bind { address: *listen, error };
        let socket = endpoint::bind(*listen).map_err(bind_error)?;
        let endpoint = endpoint::open(socket, &source.reset_secret(&own.id), server).map_err(bind_error)?;
        let address = endpoint.local_addr().map_err(bind_error)?;
        // A configured port of 0 stands for the one that the system chose.
        let advertised = match advertise {
            Some(advertise) if advertise.port() == 0 => SocketAddr::new(advertise.ip(), address.port()),
            Some(advertise) => *advertise,
            None => address,
        };
        let own = own.hello(Advertised::new(advertised).ok_or(StartError::Advertise(advertised))?);
        let (inlets, inboxes) = Inlets::new();
        let shared = Arc::new(Shared {
            core: Mutex::new(Core {
                keeper: Keeper::new(own, Dice::new()),
                connections: BTreeMap::new(),
                verdicts: BTreeMap::new(),
                subscribers: Subscribers::default(),
                talk: Talk::default(),
            }),
            endpoint,
            client: ArcSwap::from_pointee(Dialing { config: client, trust }),
            inlets,
            timing: *timing,
            protocols: *protocols,
            runtime: Handle::current(),
            has_changed: Notify::new(),
        });
        let mut tasks = JoinSet::new();
        tasks.spawn(greet::accept_all(Arc::clone(&shared)));
        tasks.spawn(keep_time(Arc::clone(&shared)));
        Ok((Self { shared, address, _tasks: tasks }, inboxes))
    }

    /// Where it listens: the port is known from here where 0 was asked for.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where the others are told to dial it.
    pub fn advertised(&self) -> SocketAddr {
        self.shared.lock().keeper.own().advertised.get()
    }

    /// From now on handshakes go by this trust. Links that stand are left alone.
    pub fn rekey(&self, source: &TrustSource) -> Result<(), TrustError> {
        let (cluster, id): (ClusterName, PeerId) = {
            let core = self.shared.lock();
            (core.keeper.own().cluster.clone(), core.keeper.own().id.clone())
        };
        let trust = Trust::new(source, self.shared.protocols, &cluster, &id)?;
        let (client, server) = endpoint::configs(&trust, self.shared.timing)?;
        self.shared.endpoint.set_server_config(Some(server));
        self.shared.client.store(Arc::new(Dialing { config: client, trust }));
        Ok(())
    }
}

impl QuicLink {
    async fn asked(&self, to: PeerId, question: Bytes, limit: Duration, answered: Answered) -> Result<Bytes, AskError> {
        let carrier = {
            let core = self.shared.lock();
            core.keeper.link(&to).and_then(|token| core.connections.get(&token).cloned())
        };
        let carrier = carrier.ok_or(AskError::NotLinked)?;
        let asked = carrier.ask(&self.shared, question, answered);
        timeout(limit, asked).await.unwrap_or(Err(AskError::TimedOut))
    }
}

impl Link for QuicLink {
    fn send(&self, to: To, channel: Channel, bytes: Bytes) {
        let token = {
            let mut core = self.shared.lock();
            let token = core.keeper.send(&to, channel, bytes, host::now());
            if let Some(carrier) = token.and_then(|token| core.connections.get(&token)) {
                carrier.wake(channel);
            }
            token
        };
        if token.is_none() {
            // It may be due to be dialed, now or later.
            self.shared.with(|_| ());
        }
    }

    fn ask(&self, to: PeerId, question: Bytes, limit: Duration) -> Waiting<'_, Result<Bytes, AskError>> {
        Box::pin(self.asked(to, question, limit, Answered::Later))
    }

    fn ask_at_once(&self, to: PeerId, question: Bytes, limit: Duration) -> Waiting<'_, Result<Bytes, AskError>> {
        Box::pin(self.asked(to, question, limit, Answered::AtOnce))
    }

    fn known(&self) -> Links {
        let core = self.shared.lock();
        core.keeper.known(host::now(), |token, link| {
            if let Some(carrier) = core.connections.get(&token) {
                let stats = carrier.connection.stats();
                link.rtt = Some(stats.path.rtt);
                link.bytes_sent = stats.udp_tx.bytes;
                link.bytes_received = stats.udp_rx.bytes;
                link.datagrams_received = stats.udp_rx.datagrams;
            }
        })
    }

    fn events(&self) -> Events {
        self.shared.lock().subscribers.add()
    }

    fn set_cluster_id(&self, cluster_id: ClusterId) {
        self.shared.lock().keeper.set_cluster_id(cluster_id);
    }

    fn forget(&self, peer: &PeerId) {
        self.shared.with(|core| core.keeper.forget(peer));
    }

    fn close(&self) -> Waiting<'_, ()> {
        Box::pin(async {
            self.shared.say_goodbye();
            // Whoever does not acknowledge it in time finds out by its own idle time.
            let _ = timeout(GOODBYE_LIMIT, self.shared.endpoint.wait_idle()).await;
        })
    }
}

impl fmt::Debug for QuicLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QuicLink").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Drop for QuicLink {
    fn drop(&mut self) {
        self.shared.say_goodbye();
    }
}

/// What all tasks of a link share.
struct Shared {
    core: Mutex<Core>,
    endpoint: Endpoint,
    client: ArcSwap<Dialing>,
    inlets: Inlets,
    timing: Timing,
    protocols: Protocols,
    runtime: Handle,
    /// The next deadline of the keeper may be another one.
    has_changed: Notify,
}

/// What dialing needs; swapped whole when keys change.
struct Dialing {
    config: ClientConfig,
    trust: Trust,
}

/// What stands behind the lock.
struct Core {
    keeper: Keeper,
    connections: BTreeMap<Token, Arc<Carrier>>,
    /// Greetings that wait for their verdict.
    verdicts: BTreeMap<Token, oneshot::Sender<Verdict>>,
    subscribers: Subscribers,
    talk: Talk,
}

/// What becomes of a connection whose other end has said who it is.
enum Verdict {
    Take,
    Refuse(Refusal),
}

impl Shared {
    /// Says something to the keeper, and performs what it answers.
    fn with<T>(self: &Arc<Self>, say: impl FnOnce(&mut Core) -> T) -> T {
        let mut core = self.lock();
        let said = say(&mut core);
        while let Some(output) = core.keeper.poll_output() {
            self.perform(&mut core, output);
        }
        // The next deadline may be another one, with outputs or without.
        self.has_changed.notify_one();
        said
    }

    fn lock(&self) -> MutexGuard<'_, Core> {
        // A panic of another task left it between two messages, each of which leaves it whole.
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn perform(self: &Arc<Self>, core: &mut Core, output: Output) {
        match output {
            Output::Dial { token, address } => {
                self.runtime.spawn(greet::dial(Arc::clone(self), token, address));
            }
            Output::Ping { old, newcomer } => {
                let old_carrier = core.connections.get(&old).cloned();
                let shared = Arc::clone(self);
                self.runtime.spawn(async move {
                    let answered = match old_carrier {
                        Some(carrier) => timeout(PING_LIMIT, carrier.ping()).await.unwrap_or(false),
                        None => false,
                    };
                    shared.with(|core| core.keeper.pinged(old, newcomer, answered, host::now()));
                });
            }
            Output::Take { token } => core.decide(token, Verdict::Take),
            Output::Refuse { token, reason } => core.decide(token, Verdict::Refuse(reason)),
            Output::Retire { token } => {
                if let Some(carrier) = core.connections.get(&token) {
                    carrier.retire();
                }
            }
            Output::Close { token } => {
                if let Some(carrier) = core.connections.get(&token) {
                    carrier.connection.close(close::GOODBYE, b"forgotten");
                }
            }
            Output::Tell(event) => {
                log(&event, &mut core.talk, host::now());
                core.subscribers.tell(&event);
            }
        }
    }

    fn say_goodbye(&self) {
        let mut core = self.lock();
        core.keeper.close();
        // Greetings that wait learn that there will be no verdict.
        core.verdicts.clear();
        self.endpoint.close(close::GOODBYE, b"goodbye");
    }

    /// From here on the keeper may name this connection.
    fn register(&self, token: Token, connection: &Connection) -> Arc<Carrier> {
        let carrier = Arc::new(Carrier::new(connection.clone()));
        self.lock().connections.insert(token, Arc::clone(&carrier));
        carrier
    }

    fn unregister(&self, token: Token) {
        self.lock().connections.remove(&token);
    }
}

impl Core {
    fn decide(&mut self, token: Token, verdict: Verdict) {
        if let Some(waiting) = self.verdicts.remove(&token) {
            // Who no longer waits has found the connection at its end, and says so to the keeper.
            let _ = waiting.send(verdict);
        }
    }
}

fn log(event: &LinkEvent, talk: &mut Talk, now: Instant) {
    let unsaid = match event {
        LinkEvent::Up { peer, .. } | LinkEvent::Lost { peer, .. } | LinkEvent::RedialFailed { peer, .. } => {
            let Some(unsaid) = talk.may_say(peer, now) else { return };
            // Left out where it is none.
            (unsaid > 0).then_some(unsaid)
        }
        LinkEvent::Refused { .. } | LinkEvent::Missed => None,
    };
    match event {
        LinkEvent::Up { peer, incarnation, region, address } => {
            tracing::info!(%peer, incarnation, %region, %address, unsaid, "linked with a peer");
        }
        LinkEvent::Lost { peer, incarnation, said_goodbye: true } => {
            tracing::info!(%peer, incarnation, unsaid, "a peer said goodbye");
        }
        LinkEvent::Lost { peer, incarnation, said_goodbye: false } => {
            tracing::warn!(%peer, incarnation, unsaid, "lost the link to a peer; dialing it again");
        }
        LinkEvent::RedialFailed { peer, incarnation } => {
            tracing::warn!(%peer, incarnation, unsaid, "a lost peer does not answer; dialing goes on");
        }
        LinkEvent::Refused { reason, address, by_other: false } => {
            tracing::warn!(%reason, %address, "refused a peer: {}", reason.hint());
        }
        LinkEvent::Refused { reason, address, by_other: true } => {
            tracing::warn!(%reason, %address, "a peer refused this one: {}", reason.hint());
        }
        LinkEvent::Missed => {}
    }
}

/// Tells the keeper when its next deadline has come.
async fn keep_time(shared: Arc<Shared>) {
    loop {
        let deadline = shared.lock().keeper.next_deadline(host::now());
        let changed = shared.has_changed.notified();
        match deadline {
            Some(deadline) => {
                let wait = deadline.saturating_duration_since(host::now());
                if timeout(wait, changed).await.is_ok() {
                    continue;
                }
            }
            None => {
                changed.await;
                continue;
            }
        }
        shared.with(|core| core.keeper.on_time(host::now()));
    }
}
