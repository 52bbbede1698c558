//! Listening sockets: bound when the peer starts, one a worker, so that the kernel spreads connections over workers. The
//! socket of a worker that fails goes with it, or the kernel would go on giving connections to nobody.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use socket2::{Domain, Protocol as SocketProtocol, SockRef, Socket, TcpKeepalive, Type};

use super::counts::{FailureCounts, ListenerCounts};
use super::settings::{Listener, Settings};

/// Connections that the kernel completes before the worker takes them.
const BACKLOG: i32 = 4_096;
/// Silence after which the kernel asks whether the other side is still there.
const KEEPALIVE: Duration = Duration::from_secs(60);

/// Why a listener cannot listen.
#[derive(Debug, thiserror::Error)]
#[error("listener {name} cannot listen at {address}: {error}{}", hint(.error))]
pub struct BindError {
    /// The listener.
    pub name: String,
    /// Where it was to listen.
    pub address: SocketAddr,
    /// What the machine said.
    pub error: io::Error,
}

fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => "; another process listens there, choose another port or stop it",
        io::ErrorKind::PermissionDenied => "; ports below 1024 need CAP_NET_BIND_SERVICE",
        io::ErrorKind::AddrNotAvailable => "; no interface of this machine has that address",
        _ => "",
    }
}

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
    sockets: Mutex<Sockets>,
}

#[derive(Debug)]
enum Sockets {
    /// By worker. `None`: the worker failed, and the socket with it; the kernel spreads over the others meanwhile.
    Open(Vec<Option<std::net::TcpListener>>),
    /// The peer takes no more connections.
    Closed,
}

impl Bound {
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

    /// Closes the peer's own hold on the sockets; each worker closes its own.
    pub(crate) fn close(&self) {
        *self.sockets() = Sockets::Closed;
    }
}

/// Binds every listener of `settings`.
pub fn bind(settings: &Settings) -> Result<Vec<Bound>, BindError> {
    settings.listeners.iter().map(|listener| bind_one(listener, settings.workers.get())).collect()
}

fn bind_one(listener: &Listener, workers: usize) -> Result<Bound, BindError> {
    let fail = |error| BindError { name: listener.name.to_string(), address: listener.address, error };
    let probe_in_use = || -> io::Result<()> {
        // With SO_REUSEPORT a second process could bind the same port unnoticed; without it the kernel says so.
        if listener.address.port() != 0 { socket(listener.address, false).map(drop) } else { Ok(()) }
    };
    probe_in_use().map_err(fail)?;
    let mut sockets = Vec::with_capacity(workers);
    let mut address = listener.address;
    for _ in 0..workers {
        let bound = listening(address).map_err(fail)?;
        address = bound.local_addr().map_err(fail)?;
        sockets.push(Some(bound));
    }
    let sockets = Mutex::new(Sockets::Open(sockets));
    Ok(Bound { listener: listener.clone(), address, counts: Arc::default(), failures: Arc::default(), sockets })
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
    use std::num::NonZeroUsize;

    use super::*;
    use crate::proxy::{Http, Idle, Protocol};

    fn settings(address: SocketAddr) -> Settings {
        Settings {
            workers: NonZeroUsize::new(2).unwrap(),
            listeners: vec![Listener {
                name: "web".parse().unwrap(),
                address,
                pool: "web".parse().unwrap(),
                connections_max: 10,
                protocol: Protocol::Http(Http::default()),
            }],
            announce: Duration::ZERO,
            drain: Duration::ZERO,
            idle: Idle::default(),
        }
    }

    #[test]
    fn workers_share_one_free_port() {
        let bound = bind(&settings("127.0.0.1:0".parse().unwrap())).unwrap();
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
        let other = bind(&settings("127.0.0.1:0".parse().unwrap())).unwrap();
        let error = bind(&settings(other[0].address)).unwrap_err();
        assert!(error.to_string().contains("another process listens there"), "{error}");
    }
}
