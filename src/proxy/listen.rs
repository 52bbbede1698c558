//! Listening sockets: bound when the peer starts, one a worker, so that the kernel spreads connections over workers. The
//! socket of a worker that fails goes with it, or the kernel would go on giving connections to nobody.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use socket2::{Domain, Protocol as SocketProtocol, SockRef, Socket, TcpKeepalive, Type};

use super::access_log::{self, AccessLog, OpenError};
use super::counts::{FailureCounts, ListenerCounts};
use super::settings::Listener;
use crate::model::PoolName;

/// Connections that the kernel completes before the worker takes them.
const BACKLOG: i32 = 4_096;
/// Silence after which the kernel asks whether the other side is still there.
const KEEPALIVE: Duration = Duration::from_secs(60);

/// Why a listener cannot listen, or cannot log what it hears.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Its socket cannot be bound.
    #[error("listener {name} cannot listen at {address}: {error}{}", hint(.error))]
    Socket {
        /// The listener.
        name: String,
        /// Where it was to listen.
        address: SocketAddr,
        /// What the machine said.
        error: io::Error,
    },
    /// Its access log cannot be written.
    #[error("listener {name}: {error}")]
    Log {
        /// The listener.
        name: String,
        /// What is wrong with it.
        error: OpenError,
    },
}

fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => "; another process listens there, choose another port or stop it",
        io::ErrorKind::PermissionDenied => "; ports below 1024 need CAP_NET_BIND_SERVICE",
        io::ErrorKind::AddrNotAvailable => "; no interface of this machine has that address",
        _ => "",
    }
}

/// Every listener of a peer that cannot listen, or cannot log what it hears. There is one at least.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
pub struct BindErrors(pub Vec<BindError>);

/// A listener with its sockets, one a worker.
#[derive(Debug)]
pub struct Bound {
    /// As the file says it.
    pub listener: Listener,
    /// The address it really has.
    pub address: SocketAddr,
    /// What it counts.
    pub counts: Arc<ListenerCounts>,
    /// What went wrong with its traffic.
    pub failures: Arc<FailureCounts>,
    /// Where its traffic is logged; `None`: nowhere.
    pub log: Option<Arc<AccessLog>>,
    sockets: Arc<Mutex<Sockets>>,
    /// Its pool under the settings before, which serves until the catalog has the new one.
    pub(crate) pool_before: Option<PoolName>,
    /// The file says something else by now, or nothing.
    is_retired: AtomicBool,
    /// What it says instead.
    successor: OnceLock<Arc<Self>>,
}

/// The listeners of a peer at a time.
pub type Listeners = Arc<[Arc<Bound>]>;

#[derive(Debug)]
enum Sockets {
    /// By worker. `None`: the worker failed, and the socket with it; the kernel spreads over the others meanwhile.
    Open(Vec<Option<std::net::TcpListener>>),
    /// The peer takes no more connections.
    Closed,
}

impl Bound {
    /// The same sockets under other settings. What was counted under its name goes on.
    fn with(&self, listener: Listener, log: Option<Arc<AccessLog>>) -> Self {
        let is_renamed = listener.name != self.listener.name;
        let (counts, failures) = match is_renamed {
            true => (Arc::default(), Arc::default()),
            false => (Arc::clone(&self.counts), Arc::clone(&self.failures)),
        };
        Self {
            address: self.address,
            counts,
            failures,
            log,
            sockets: Arc::clone(&self.sockets),
            pool_before: (listener.pool != self.listener.pool).then(|| self.listener.pool.clone()),
            is_retired: AtomicBool::new(false),
            successor: OnceLock::new(),
            listener,
        }
    }

    /// This listener as the file says it now.
    pub(crate) fn newest(&self) -> &Self {
        let mut newest = self;
        while let Some(next) = newest.successor.get() {
            newest = next;
        }
        newest
    }

    fn sockets(&self) -> MutexGuard<'_, Sockets> {
        self.sockets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The socket of one worker, bound anew where it went with the worker; `None` once the listener is closed.
    pub(crate) fn socket(&self, worker: usize) -> io::Result<Option<std::net::TcpListener>> {
        let mut sockets = self.sockets();
        let Sockets::Open(sockets) = &mut *sockets else { return Ok(None) };
        let Some(socket) = sockets.get_mut(worker) else { return Ok(None) };
        let bound = match socket.take() {
            Some(bound) => bound,
            None => listening(self.address)?,
        };
        socket.insert(bound).try_clone().map(Some)
    }

    /// Closes the socket of a worker that failed: the kernel would go on giving it connections that nobody takes.
    pub(crate) fn close_of(&self, worker: usize) {
        if let Sockets::Open(sockets) = &mut *self.sockets()
            && let Some(socket) = sockets.get_mut(worker)
        {
            *socket = None;
        }
    }

    /// Whether the other one is this one with other settings: connections come to the same sockets.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.sockets, &other.sockets)
    }

    /// Whether connections that are kept here end with their next answer, since the settings of this listener have changed.
    pub(crate) fn is_retired(&self) -> bool {
        self.is_retired.load(Relaxed)
    }

    /// Has the file of its access log opened anew.
    pub fn reopen_log(&self) {
        self.log.iter().for_each(|log| log.writer.reopen());
    }

    /// Waits until its access log is written, but not for ever.
    pub async fn flush_log(&self) {
        if let Some(log) = &self.log {
            log.writer.flush().await;
        }
    }

    /// Closes the peer's own hold on the sockets; each worker closes its own.
    pub(crate) fn close(&self) {
        *self.sockets() = Sockets::Closed;
    }
}

/// Binds every listener of `settings`, or of those of them that are not bound yet: where `now` has one at the same address, its
/// sockets go on, and connections in their line with them. On a fault nothing has changed.
pub fn bind(listeners: &[Listener], workers: usize, now: &[Arc<Bound>]) -> Result<Listeners, BindErrors> {
    let own_ports: Vec<u16> = now.iter().map(|bound| bound.address.port()).collect();
    let logs = access_log::open(listeners, now);
    let bound = listeners.iter().zip(logs).map(|(listener, log)| {
        let log = log?;
        if let Some(same) = now.iter().find(|bound| bound.listener == *listener) {
            return Ok(Arc::clone(same));
        }
        let is_at = |bound: &&Arc<Bound>| {
            let is_port_said = listener.address.port() != 0;
            bound.listener.address == listener.address && (is_port_said || bound.listener.name == listener.name)
        };
        let bound = match now.iter().find(is_at) {
            Some(there) => there.with(listener.clone(), log),
            None => bind_one(listener, workers, &own_ports, log)?,
        };
        Ok(Arc::new(bound))
    });
    let (mut all, mut errors) = (Vec::new(), Vec::new());
    bound.for_each(|bound| match bound {
        Ok(bound) => all.push(bound),
        Err(error) => errors.push(error),
    });
    if errors.is_empty() { Ok(all.into()) } else { Err(BindErrors(errors)) }
}

/// Says to those of `before` that `now` does not have any more that they end, or are another one from here on.
pub fn retire(before: &[Arc<Bound>], now: &[Arc<Bound>]) {
    for old in before {
        let Some(new) = now.iter().find(|new| new.is_same(old)) else {
            old.close();
            old.is_retired.store(true, Relaxed);
            continue;
        };
        if Arc::ptr_eq(old, new) {
            continue;
        }
        // It is said once: whoever has a successor is in no list any more.
        let _ = old.successor.set(Arc::clone(new));
        // Another certificate is no reason to end a connection that has one.
        let beside_tls = |bound: &Bound| Listener { tls: None, ..bound.listener.clone() };
        if beside_tls(old) != beside_tls(new) {
            old.is_retired.store(true, Relaxed);
        }
    }
}

fn bind_one(
    listener: &Listener,
    workers: usize,
    own_ports: &[u16],
    log: Option<Arc<AccessLog>>,
) -> Result<Bound, BindError> {
    let fail = |error| BindError::Socket { name: listener.name.to_string(), address: listener.address, error };
    let probe_in_use = || -> io::Result<()> {
        // With SO_REUSEPORT a second process could bind the same port unnoticed; without it the kernel says so. Of a port that
        // this peer itself has at another address it would say so too.
        let is_own = own_ports.contains(&listener.address.port());
        if listener.address.port() != 0 && !is_own { socket(listener.address, false).map(drop) } else { Ok(()) }
    };
    probe_in_use().map_err(fail)?;
    let mut sockets = Vec::with_capacity(workers);
    let mut address = listener.address;
    for _ in 0..workers {
        let bound = listening(address).map_err(fail)?;
        address = bound.local_addr().map_err(fail)?;
        sockets.push(Some(bound));
    }
    let sockets = Arc::new(Mutex::new(Sockets::Open(sockets)));
    Ok(Bound {
        listener: listener.clone(),
        address,
        counts: Arc::default(),
        failures: Arc::default(),
        log,
        sockets,
        pool_before: None,
        is_retired: AtomicBool::new(false),
        successor: OnceLock::new(),
    })
}

/// A socket that shares its port with those of the other workers.
fn listening(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let socket = socket(address, true)?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

fn socket(address: SocketAddr, reuse_port: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(SocketProtocol::TCP))?;
    socket.set_nonblocking(true)?;
    socket.set_reuse_address(true)?;
    if reuse_port {
        socket.set_reuse_port(true)?;
    }
    socket.bind(&address.into())?;
    Ok(socket)
}

/// Sets what every client connection has.
pub(crate) fn prepare(stream: &tokio::net::TcpStream) {
    // Best effort, as it only costs time or memory.
    let _ = stream.set_nodelay(true);
    keep_alive(stream);
}

/// Has the kernel ask after silence whether the other side is still there.
pub(crate) fn keep_alive(stream: &tokio::net::TcpStream) {
    // Best effort: without it a side that vanished is noticed by the idle time.
    let _ = SockRef::from(stream).set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::{Http, Protocol};

    fn listener(name: &str, address: SocketAddr) -> Listener {
        Listener {
            name: name.parse().unwrap(),
            address,
            pool: "web".parse().unwrap(),
            connections_max: 10,
            connections_per_client_max: None,
            protocol: Protocol::Http(Http::default()),
            tls: None,
            access_log: None,
        }
    }

    /// Any free port, as somebody else would choose it.
    fn free() -> SocketAddr {
        "127.0.0.1:0".parse().unwrap()
    }

    fn one(name: &str, address: SocketAddr) -> Result<Listeners, BindErrors> {
        bind(&[listener(name, address)], 2, &[])
    }

    #[test]
    fn workers_share_one_free_port() {
        let bound = one("web", free()).unwrap();
        assert_ne!(bound[0].address.port(), 0);
        for worker in 0..2 {
            let socket = bound[0].socket(worker).unwrap().unwrap();
            assert_eq!(socket.local_addr().unwrap(), bound[0].address);
        }
        assert!(bound[0].socket(2).unwrap().is_none());
        bound[0].close_of(1);
        let anew = bound[0].socket(1).unwrap().unwrap();
        assert_eq!(anew.local_addr().unwrap(), bound[0].address, "a worker that is started again listens again");
        bound[0].close();
        assert!(bound[0].socket(0).unwrap().is_none());
    }

    #[test]
    fn a_port_that_another_process_has_is_refused_with_a_hint() {
        let other = one("web", free()).unwrap();
        let error = one("web", other[0].address).unwrap_err();
        assert!(error.to_string().contains("another process listens there"), "{error}");
    }

    #[test]
    fn a_listener_that_stays_keeps_its_sockets_and_its_counts() {
        let before = one("web", free()).unwrap();
        before[0].counts.requests_total.store(7, Relaxed);
        let same = bind(&[listener("web", free())], 2, &before).unwrap();
        assert!(Arc::ptr_eq(&before[0], &same[0]), "what did not change is not touched");

        let fewer = Listener { connections_max: 5, ..listener("web", free()) };
        let after = bind(&[fewer, listener("more", free())], 2, &before).unwrap();
        assert!(after[0].is_same(&before[0]) && after[0].address == before[0].address);
        assert_eq!((after[0].counts.requests_total.load(Relaxed), after[0].listener.connections_max), (7, 5));
        assert_ne!(after[1].address, after[0].address);
        retire(&before, &after);
        assert!(before[0].is_retired() && !after[0].is_retired());
        assert!(after[0].socket(0).unwrap().is_some(), "the sockets are open");

        let none = bind(&[], 2, &after).unwrap();
        retire(&after, &none);
        assert!(after[0].is_retired() && after[0].socket(0).unwrap().is_none());
    }

    #[test]
    fn an_address_goes_to_the_listener_that_has_it_next() {
        let at = one("web", free()).unwrap()[0].address;
        let before = one("web", at).unwrap();
        let after = bind(&[listener("front", at)], 2, &before).unwrap();
        assert!(after[0].is_same(&before[0]), "nobody is turned away in between");
        let everywhere = SocketAddr::new([0, 0, 0, 0].into(), at.port());
        let wider = bind(&[listener("web", everywhere)], 2, &before).unwrap();
        assert!(!wider[0].is_same(&before[0]), "and its own port is no other process");
    }

    #[test]
    fn what_cannot_be_bound_leaves_everything_as_it_was() {
        let (other, before) = (one("other", free()).unwrap(), one("web", free()).unwrap());
        let (taken, foreign) = (other[0].address, "192.0.2.77:80".parse().unwrap());
        let wanted = [listener("web", taken), listener("new", free()), listener("far", foreign)];
        let BindErrors(refused) = bind(&wanted, 2, &before).unwrap_err();
        let at = refused.iter().map(|error| match error {
            BindError::Socket { address, .. } => *address,
            other => panic!("{other}"),
        });
        assert_eq!(at.collect::<Vec<_>>(), [taken, foreign], "all of them are told");
        assert!(!before[0].is_retired() && before[0].socket(0).unwrap().is_some());
    }
}
