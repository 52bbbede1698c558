//! A node that runs: it accepts, and ends when told.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

use super::behaviour::Behaviour;
use super::exchange::{End, serve};
use super::record::{Record, Seen};

/// A node on the runtime of whoever runs it.
#[derive(Debug)]
pub struct Node {
    listener: TcpListener,
    record: Arc<Record>,
    tls: Option<Arc<ServerConfig>>,
}

impl Node {
    /// A node that listens at `address`; port 0: a free one.
    pub async fn bind(name: &str, address: SocketAddr, tls: Option<Arc<ServerConfig>>) -> std::io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        Ok(Self { listener, record: Arc::new(Record::new(name.to_owned())), tls })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.listener.local_addr().expect("a bound socket has an address")
    }

    pub(super) fn record(&self) -> Arc<Record> {
        Arc::clone(&self.record)
    }

    /// Serves until `stop`; then its listener and all its connections are gone.
    pub async fn run(self, stop: impl Future<Output = ()>) {
        let mut connections = JoinSet::new();
        tokio::pin!(stop);
        loop {
            tokio::select! {
                () = &mut stop => break,
                accepted = self.listener.accept() => if let Ok((stream, _)) = accepted {
                    connections.spawn(connection(stream, Arc::clone(&self.record), self.tls.clone()));
                },
                Some(_) = connections.join_next() => {}
            }
        }
        connections.shutdown().await;
    }
}

async fn connection(mut stream: TcpStream, record: Arc<Record>, tls: Option<Arc<ServerConfig>>) {
    let _ = stream.set_nodelay(true);
    let end = match tls {
        None => serve(&mut stream, record).await,
        Some(tls) => match TlsAcceptor::from(tls).accept(&mut stream).await {
            Ok(mut stream) => {
                let end = serve(&mut stream, record).await;
                if end == End::Close {
                    let _ = tokio::io::AsyncWriteExt::shutdown(&mut stream).await;
                }
                end
            }
            Err(error) => {
                record.fault(format!("no TLS: {error}"));
                End::Close
            }
        },
    };
    if end == End::Reset {
        let _ = socket2::SockRef::from(&stream).set_linger(Some(std::time::Duration::ZERO));
    }
}

/// A node within the test's process, on a thread of its own; it ends when dropped.
#[derive(Debug)]
pub struct TestNode {
    address: SocketAddr,
    record: Arc<Record>,
    /// Dropped, it stops the node.
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
    /// Shared by the nodes that were started together.
    runtime: Arc<OwnRuntime>,
}

/// A runtime that is left behind rather than waited for.
#[derive(Debug)]
struct OwnRuntime(Option<Runtime>);

impl Drop for OwnRuntime {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

impl TestNode {
    /// A node on a free port.
    pub fn start(name: &str) -> Self {
        Self::start_all(&[name.to_owned()], None).remove(0)
    }

    /// A node that speaks TLS on a free port.
    pub fn start_tls(name: &str, tls: &Arc<ServerConfig>) -> Self {
        Self::start_all(&[name.to_owned()], Some(tls)).remove(0)
    }

    /// Many nodes on one thread, called `node-1` and on.
    pub fn start_many(count: usize) -> Vec<Self> {
        Self::start_all(&(1..=count).map(|number| format!("node-{number}")).collect::<Vec<_>>(), None)
    }

    fn start_all(names: &[String], tls: Option<&Arc<ServerConfig>>) -> Vec<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("test-node")
            .enable_all()
            .build()
            .expect("a runtime starts");
        let anywhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let bound: Vec<Node> = names
            .iter()
            .map(|name| runtime.block_on(Node::bind(name, anywhere, tls.cloned())).expect("a free port on loopback"))
            .collect();
        let started: Vec<_> = bound
            .into_iter()
            .map(|node| {
                let (stop, stopped) = oneshot::channel();
                let (address, record) = (node.address(), node.record());
                let task = runtime.spawn(node.run(async {
                    // An order to stop and a sender that is gone are the same.
                    let _ = stopped.await;
                }));
                (address, record, stop, task)
            })
            .collect();
        let runtime = Arc::new(OwnRuntime(Some(runtime)));
        let node = |(address, record, stop, task)| {
            let runtime = Arc::clone(&runtime);
            Self { address, record, stop: Some(stop), task, runtime }
        };
        started.into_iter().map(node).collect()
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its name, which it answers with.
    pub fn name(&self) -> &str {
        &self.record.name
    }

    /// Sets what happens to requests of this target; `*`: to all without an order of their own.
    pub fn order(&self, target: &str, behaviour: impl Into<Behaviour>) {
        self.record.order(target, behaviour.into());
    }

    /// Drops all orders.
    pub fn at_ease(&self) {
        self.record.at_ease();
    }

    /// What it got so far.
    pub fn seen(&self) -> Seen {
        self.record.seen()
    }

    /// Looks at what it got, without a copy.
    pub fn look<T>(&self, look: impl FnOnce(&Seen) -> T) -> T {
        self.record.look(look)
    }

    /// Forgets the requests it got.
    pub fn forget(&self) {
        self.record.forget();
    }
}

impl Drop for TestNode {
    /// Returns when the node is gone: the next connection to it is refused.
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(runtime) = &self.runtime.0 {
            let _ = runtime.block_on(&mut self.task);
        }
    }
}
