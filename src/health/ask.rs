//! One check of one node, which may have several addresses: they are tried in order until one answers as it should.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use super::machine::{Condition, Fault, Finding};
use crate::host;
use crate::model::{Check, CheckTarget};
use crate::probe::{self, Found, ProbeError, Report};
use crate::tls::NodeTlsCell;

/// Who answers when a node is asked.
#[derive(Clone, Debug)]
pub enum Asker {
    /// The node itself, over the network.
    Nodes(NodeTlsCell),
    /// A simulated world, in which everything else is the product's own.
    World(Arc<dyn World>),
}

/// What [`World::ask`] comes to.
pub type Asking = Pin<Box<dyn Future<Output = Report> + Send>>;

/// A world of made-up nodes.
pub trait World: fmt::Debug + Send + Sync {
    /// Does one check of one address, as [`probe::run`] does, within the check's time-out.
    fn ask(&self, target: &CheckTarget, check: &Check) -> Asking;
}

impl Asker {
    async fn ask(&self, target: &CheckTarget, check: &Check) -> Report {
        match self {
            Self::Nodes(tls) => probe::run(target, check, &tls.load()).await,
            Self::World(world) => world.ask(target, check).await,
        }
    }
}

/// What is to be asked.
#[derive(Clone, Debug)]
pub(super) struct Ask {
    /// The node's number in the watch.
    pub(super) index: usize,
    /// Its addresses in the order in which they are tried; at least one.
    pub(super) targets: Vec<CheckTarget>,
    /// How.
    pub(super) check: Arc<Check>,
}

/// What was found.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    /// When the asking began.
    pub(super) began: Instant,
    /// What it says of the node.
    pub(super) finding: Finding,
    /// Which of the targets answered as it should.
    pub(super) answering: Option<usize>,
}

/// Tries the addresses within the check's time-out. Each gets an equal share of the time that is left, so that one that
/// swallows everything leaves some for the next.
pub(super) async fn ask(ask: Ask, asker: Asker) -> Answer {
    let began = host::now();
    let mut failures = Vec::new();
    for (position, target) in ask.targets.iter().enumerate() {
        let left = ask.check.timeout.saturating_sub(host::now() - began);
        let shares = u32::try_from(ask.targets.len() - position).unwrap_or(u32::MAX);
        let check = Check { timeout: left / shares, ..(*ask.check).clone() };
        let report = asker.ask(target, &check).await;
        match &report.outcome {
            Ok(found) => {
                let words = report.to_string();
                let condition = match found {
                    Found::Degraded(_) | Found::Ending { .. } => Condition::Degraded,
                    Found::Connected
                    | Found::Certified { .. }
                    | Found::Accepted
                    | Found::Expected
                    | Found::Status(_)
                    | Found::Well(_) => Condition::Well,
                };
                let finding = Finding { result: Ok(condition), connect: report.connect, words };
                return Answer { began, finding, answering: Some(position) };
            }
            Err(_) => failures.push(report),
        }
    }
    Answer { began, finding: failed(failures), answering: None }
}

/// All addresses failed. The one that came furthest speaks for the node: a node that answers on one of its addresses, if
/// wrongly, is there; and one that could not be asked everywhere is not condemned.
fn failed(failures: Vec<Report>) -> Finding {
    let tried = failures.len();
    let fault = |report: &Report| match &report.outcome {
        Err(error) if error.is_own() => Fault::Ours,
        Err(error) if error.is_hard() => Fault::Hard,
        _ => Fault::Soft,
    };
    let rank = |report: &Report| match fault(report) {
        Fault::Hard => 0,
        Fault::Soft => 1,
        Fault::Ours => 2,
    };
    // `max_by_key` takes the last of equals; the first address is the one people know.
    match failures.into_iter().rev().max_by_key(rank) {
        Some(report) => {
            let more = if tried > 1 { format!(" (none of {tried} addresses answers)") } else { String::new() };
            Finding { result: Err(fault(&report)), connect: report.connect, words: format!("{report}{more}") }
        }
        None => {
            let error = ProbeError::Own("the node has no address".to_owned());
            Finding { result: Err(Fault::Ours), connect: None, words: error.to_string() }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::time::Duration;

    use tokio::net::TcpListener;

    use super::*;
    use crate::model::{CheckKind, Host, HttpCheck, TcpCheck, Transport};
    use crate::tls::ClientConfigs;

    fn asking(addresses: &[SocketAddr], kind: CheckKind) -> Ask {
        let target = |address: &SocketAddr| CheckTarget {
            address: *address,
            transport: Transport::Plain,
            host: Host::Ip(address.ip()),
            authority: address.to_string().into(),
        };
        let check = Check { timeout: Duration::from_millis(400), ..Check::of(kind) };
        Ask { index: 0, targets: addresses.iter().map(target).collect(), check: Arc::new(check) }
    }

    async fn answer(addresses: &[SocketAddr], kind: CheckKind) -> Answer {
        ask(asking(addresses, kind), Asker::Nodes(ClientConfigs::trusting([]).unwrap().into())).await
    }

    async fn nobody() -> SocketAddr {
        TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
    }

    #[tokio::test]
    async fn the_first_address_that_answers_is_enough_and_is_named() {
        let there = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let there = there.local_addr().map(|address| (there, address)).unwrap();
        let got = answer(&[nobody().await, there.1, nobody().await], CheckKind::Tcp(TcpCheck::default())).await;
        assert_eq!((got.finding.result, got.answering), (Ok(Condition::Well), Some(1)));
        assert!(got.finding.words.starts_with("ok connected in "), "{}", got.finding.words);
    }

    #[tokio::test]
    async fn an_address_that_is_silent_leaves_time_for_the_next() {
        // Connections to a listener that nobody accepts from stand, and nothing answers.
        let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let speaks = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addresses = [silent.local_addr().unwrap(), speaks.local_addr().unwrap()];
        tokio::spawn(async move {
            let (stream, _) = speaks.accept().await.unwrap();
            stream.writable().await.unwrap();
            stream.try_write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").unwrap();
            stream.readable().await.unwrap();
        });
        let expects = TcpCheck { send: b"x".as_slice().into(), expect: b"200".as_slice().into() };
        let got = answer(&addresses, CheckKind::Tcp(expects)).await;
        assert_eq!(got.answering, Some(1), "{}", got.finding.words);
    }

    #[tokio::test]
    async fn only_a_node_that_is_nowhere_is_hard_down() {
        let got = answer(&[nobody().await, nobody().await], CheckKind::Tcp(TcpCheck::default())).await;
        assert_eq!(got.finding.result, Err(Fault::Hard));
        assert_eq!(got.finding.words, "connect: refused (none of 2 addresses answers)");
        let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let http = HttpCheck::of("/");
        let got = answer(&[nobody().await, silent.local_addr().unwrap()], CheckKind::Http(http)).await;
        assert_eq!(got.finding.result, Err(Fault::Soft));
        assert_eq!(got.finding.words, "answer: timed out (none of 2 addresses answers)");
    }
}
