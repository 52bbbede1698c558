//! A node that runs: it accepts, and ends with the test.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;
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

    /// Serves until it is dropped, which ends its connections.
    pub async fn run(self) {
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                accepted = self.listener.accept() => if let Ok((stream, _)) = accepted {
                    connections.spawn(connection(stream, Arc::clone(&self.record), self.tls.clone()));
                },
                Some(_) = connections.join_next() => {}
            }
        }
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
    task: tokio::task::AbortHandle,
    /// Shared by the nodes that were started together.
    _runtime: Arc<OwnRuntime>,
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
            .map(|node| (node.address(), node.record(), runtime.spawn(node.run()).abort_handle()))
            .collect();
        let runtime = Arc::new(OwnRuntime(Some(runtime)));
        started
            .into_iter()
            .map(|(address, record, task)| Self { address, record, task, _runtime: Arc::clone(&runtime) })
            .collect()
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
    fn drop(&mut self) {
        self.task.abort();
    }
}
