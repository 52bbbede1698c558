//! Links in memory, for the simulation of a cluster in virtual time.
//!
//! A [`Network`] joins peers of one process. It delays, loses, cuts and pauses as it is told, and rolls its dice from a seed:
//! under tokio's paused clock, on a runtime of one thread, the same seed gives the same events in the same order. Every message
//! and hello is really encoded and decoded, and what is decided is decided by the same machine as over QUIC.
//!
//! It is a model of QUIC and not QUIC: what is lost is sent again after a while, so it comes late or, past the limit of its
//! channel, not at all; a link on which nothing is heard for its idle time is lost on that side; a peer that was restarted
//! resets connections that it does not know. It knows no bandwidth and no certificates.

mod world;

use crate::model::ClusterId;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::events::Subscribers;
use super::{AskError, Channel, Events, Identity, Inboxes, Link, Links, Timing, To, Waiting};
use crate::host::{self, Dice};
use crate::model::PeerId;
use crate::wire::Advertised;
use world::World;

/// The way from one peer to another.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Path {
    /// How long everything takes.
    pub delay: Duration,
    /// Which share is lost, 0 to 1.
    pub loss: f64,
}

impl Default for Path {
    fn default() -> Self {
        Self { delay: Duration::from_micros(500), loss: 0.0 }
    }
}

/// What joins the peers of a simulation.
#[derive(Clone)]
pub struct Network {
    shared: Arc<Shared>,
    /// Ends with the last handle, links included.
    _driver: Arc<JoinSet<()>>,
}

struct Shared {
    world: Mutex<World>,
    /// The next thing may be due earlier than it was.
    has_changed: Notify,
}

impl Network {
    /// A network whose dice fall as `seed` says. Must be called in a runtime.
    pub fn new(seed: u64) -> Self {
        let shared =
            Arc::new(Shared { world: Mutex::new(World::new(Dice::from_seed(seed))), has_changed: Notify::new() });
        let mut driver = JoinSet::new();
        driver.spawn(drive(Arc::clone(&shared)));
        Self { shared, _driver: Arc::new(driver) }
    }

    /// Starts a peer at `address`, or at one that is free. Whoever was there before is gone without a word.
    pub fn start(&self, own: &Identity, timing: Timing, address: Option<SocketAddr>) -> (MemoryLink, Inboxes) {
        let (address, run, inboxes) = self.shared.with(|world| {
            let address = address.unwrap_or_else(|| world.free_address());
            let advertised = Advertised::new(address).expect("a simulation uses addresses that can be dialed");
            let (run, inboxes) = world.start(own.hello(advertised), timing);
            (address, run, inboxes)
        });
        (MemoryLink { network: self.clone(), address, run }, inboxes)
    }

    /// Sets the way in one direction.
    pub fn set_path(&self, from: SocketAddr, to: SocketAddr, path: Path) {
        self.shared.with(|world| world.set_path(from, to, path));
    }

    /// Sets every way that is not set by itself.
    pub fn set_paths(&self, path: Path) {
        self.shared.with(|world| world.set_paths(path));
    }

    /// Lets nothing through in one direction, until it is mended.
    pub fn cut(&self, from: SocketAddr, to: SocketAddr) {
        self.shared.with(|world| world.cut(from, to));
    }

    /// Lets everything through again in one direction.
    pub fn mend(&self, from: SocketAddr, to: SocketAddr) {
        self.shared.with(|world| world.mend(from, to));
    }

    /// Stops a peer's link where it stands: it hears and says nothing, and does not know it.
    pub fn pause(&self, peer: SocketAddr) {
        self.shared.with(|world| world.pause(peer));
    }

    /// Lets a paused peer go on, with all that has come meanwhile.
    pub fn resume(&self, peer: SocketAddr) {
        self.shared.with(|world| world.resume(peer, host::now()));
    }

    /// Ends a peer without a word.
    pub fn kill(&self, peer: SocketAddr) {
        self.shared.with(|world| world.kill(peer));
    }

    /// Everything that the network has done so far, as one number: equal where two runs were.
    pub fn trace(&self) -> u64 {
        self.shared.lock().trace()
    }
}

impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Network")
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with<T>(&self, act: impl FnOnce(&mut World) -> T) -> T {
        let done = act(&mut self.lock());
        self.has_changed.notify_one();
        done
    }
}

/// Makes happen what is due, when it is.
async fn drive(shared: Arc<Shared>) {
    loop {
        let next = shared.lock().next_due();
        let changed = shared.has_changed.notified();
        if let Some(due) = next {
            let wait = due.saturating_duration_since(host::now());
            if !wait.is_zero() && timeout(wait, changed).await.is_ok() {
                continue;
            }
        } else {
            changed.await;
            continue;
        }
        let questions = {
            let mut world = shared.lock();
            world.run(host::now());
            world.take_questions()
        };
        for question in questions {
            let shared = Arc::clone(&shared);
            tokio::spawn(async move {
                let answer = question.is_answered.await.ok();
                shared.with(|world| world.answer(question.asked, answer, host::now()));
            });
        }
    }
}

/// One peer's links over a [`Network`]. Dropped, it closes them.
#[derive(Debug)]
pub struct MemoryLink {
    network: Network,
    address: SocketAddr,
    /// Another peer may have been started at its address since.
    run: u64,
}

impl MemoryLink {
    /// Where it is dialed.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Does something as this peer; `None` where it was killed or closed.
    fn with<T>(&self, act: impl FnOnce(&mut World) -> T) -> Option<T> {
        self.network.shared.with(|world| world.is_running(self.address, self.run).then(|| act(world)))
    }
}

impl Link for MemoryLink {
    fn send(&self, to: To, channel: Channel, bytes: Bytes) {
        self.with(|world| world.send(self.address, &to, channel, bytes, host::now()));
    }

    fn ask(&self, to: PeerId, question: Bytes, limit: Duration) -> Waiting<'_, Result<Bytes, AskError>> {
        Box::pin(async move {
            let (answer, is_answered) = oneshot::channel();
            let asked = self.with(|world| world.ask(self.address, &to, question, answer, host::now()));
            asked.unwrap_or(Err(AskError::NotLinked))?;
            match timeout(limit, is_answered).await {
                Ok(answer) => answer.unwrap_or(Err(AskError::Lost)),
                Err(_) => Err(AskError::TimedOut),
            }
        })
    }

    fn known(&self) -> Links {
        self.with(|world| world.known(self.address)).unwrap_or_default()
    }

    fn events(&self) -> Events {
        // A peer that is gone has no more to tell.
        self.with(|world| world.events(self.address)).unwrap_or_else(|| Subscribers::default().add())
    }

    fn set_cluster_id(&self, cluster_id: ClusterId) {
        self.with(|world| world.keeper(self.address, |keeper| keeper.set_cluster_id(cluster_id)));
    }

    fn forget(&self, peer: &PeerId) {
        self.with(|world| world.forget(self.address, peer, host::now()));
    }

    fn close(&self) -> Waiting<'_, ()> {
        self.with(|world| world.close(self.address, host::now()));
        Box::pin(std::future::ready(()))
    }
}

impl Drop for MemoryLink {
    fn drop(&mut self) {
        self.with(|world| world.close(self.address, host::now()));
    }
}

/// Addresses for peers that name none: 10.0.0.1, and so on, on the usual port.
fn address_of(number: u32) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 0, 0, 0)) + number), 7940))
}

#[cfg(test)]
mod tests;
