//! A sample node: a web server that says its name and counts, and that can really be stopped.

use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};

/// The pause after an accept failed.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A web server on loopback. Dropping it closes its socket and its connections.
pub(super) struct SampleNode {
    name: &'static str,
    address: SocketAddr,
    /// Requests since it was first started, checks not counted.
    requests: Arc<AtomicU64>,
    serving: Option<Serving>,
}

/// A running server's task, ended with it.
struct Serving(JoinHandle<()>);

impl Drop for Serving {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl SampleNode {
    /// A node on a free port, which it keeps.
    pub(super) async fn start_new(name: &'static str) -> io::Result<Self> {
        let mut node = Self { name, address: (Ipv4Addr::LOCALHOST, 0).into(), requests: Arc::default(), serving: None };
        node.start().await?;
        Ok(node)
    }

    pub(super) fn name(&self) -> &'static str {
        self.name
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) fn is_running(&self) -> bool {
        self.serving.is_some()
    }

    /// Listens and answers.
    pub(super) async fn start(&mut self) -> io::Result<()> {
        let listener = TcpListener::bind(self.address).await?;
        self.address = listener.local_addr()?;
        self.serving = Some(Serving(tokio::spawn(serve(listener, self.name, Arc::clone(&self.requests)))));
        Ok(())
    }

    /// Closes the listening socket and every connection, and returns when that is done.
    pub(super) async fn stop(&mut self) {
        if let Some(mut serving) = self.serving.take() {
            serving.0.abort();
            // It was called off, which is no news.
            let _ = (&mut serving.0).await;
        }
    }
}

async fn serve(listener: TcpListener, name: &'static str, requests: Arc<AtomicU64>) {
    // Dropped with this future, and every connection with it.
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((stream, _)) = accepted else {
                    // Out of descriptors, which trying again at once would not free.
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                };
                let requests = Arc::clone(&requests);
                let answer = service_fn(move |request| std::future::ready(answer(&request, name, &requests)));
                connections.spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), answer));
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

fn answer(request: &Request<Incoming>, name: &str, requests: &AtomicU64) -> Result<Response<Full<Bytes>>, Infallible> {
    let text = if request.uri().path() == "/health" {
        "ok\n".to_owned()
    } else {
        format!("{name} answers its request {}\n", requests.fetch_add(1, Ordering::Relaxed) + 1)
    };
    Ok(Response::new(Full::new(Bytes::from(text))))
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use super::*;

    async fn ask(stream: &mut TcpStream) -> String {
        stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        let mut answer = vec![0; 1_024];
        let length = stream.read(&mut answer).await.unwrap();
        String::from_utf8_lossy(&answer[..length]).into_owned()
    }

    #[tokio::test]
    async fn a_stopped_node_is_really_gone_and_comes_back_where_it_was() {
        let mut node = SampleNode::start_new("web-1").await.unwrap();
        let address = node.address();
        let mut kept = TcpStream::connect(address).await.unwrap();
        assert!(ask(&mut kept).await.ends_with("web-1 answers its request 1\n"));

        node.stop().await;
        assert!(!node.is_running());
        assert!(matches!(kept.read(&mut [0; 16]).await, Ok(0) | Err(_)), "its connections are closed");
        assert!(TcpStream::connect(address).await.is_err(), "its socket is closed");

        node.start().await.unwrap();
        assert_eq!(node.address(), address);
        assert!(ask(&mut TcpStream::connect(address).await.unwrap()).await.ends_with("web-1 answers its request 2\n"));
    }
}
