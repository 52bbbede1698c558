//! Doing what the machine wants done. Everything here waits, in a task of its own, and ends within a limit.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::output::{Input, Output, Probe, ProbeBy, Unwritten, Write};
use super::report::Report;
use crate::catalog::{CatalogHandle, Change, WriteRefused};
use crate::driver::{Answer, Effect, Executor, Order};
use crate::election::{Authority, Request};
use crate::host::Names;
use crate::link::Link;
use crate::model::{
    Check, CheckTarget, DrainLeft, DriverName, Host, Node, NodeAddress, NodeId, PeerId, Pool, PoolName, ServerId, Term,
};
use crate::probe;
use crate::tls::NodeTlsCell;
use crate::view::ViewCell;
use crate::wire::{Query, QueryAnswer};

/// How long an executor may take to answer: it never makes a leader wait for an effect.
const ORDER_LIMIT: Duration = Duration::from_secs(3);
/// How long the elector may take to say whether this peer leads.
const AUTHORITY_LIMIT: Duration = Duration::from_secs(1);
/// Servers that are probed at the same time for one node.
const PROBES_MAX: usize = 4;
/// How long a server may take to be probed by a driver.
const PROBE_LIMIT: Duration = Duration::from_secs(15);
/// Until a driver is asked again that is at a probe.
const PROBE_AGAIN_AFTER: Duration = Duration::from_millis(100);
/// How long a peer may take to say what it has.
const REPORT_LIMIT: Duration = Duration::from_millis(1_500);

/// What [`Hands::count_drain`] comes to.
pub type Counting = Pin<Box<dyn Future<Output = Vec<(PeerId, Option<DrainLeft>)>> + Send>>;

/// The ways to all that a leader touches.
#[derive(Clone)]
pub struct Hands {
    /// This peer.
    pub own: PeerId,
    /// The others; a cluster of one has none.
    pub link: Option<Arc<dyn Link>>,
    /// What this peer carries out itself.
    pub executor: Executor,
    /// What is agreed on.
    pub catalog: CatalogHandle,
    /// Who says whether this peer leads.
    pub elector: mpsc::Sender<Request>,
    /// What this peer serves by.
    pub view: ViewCell,
    /// How nodes are spoken to.
    pub tls: NodeTlsCell,
    /// Asks every peer what it has at a node that drains.
    pub count_drain: Arc<dyn Fn(NodeId) -> Counting + Send + Sync>,
}

impl std::fmt::Debug for Hands {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hands").field("own", &self.own).field("executor", &self.executor).finish_non_exhaustive()
    }
}

/// What is looked at again in any case: the catalog says whether it is written.
fn told(written: Result<u64, Unwritten>) -> Result<(), String> {
    written.map(drop).map_err(|unwritten| unwritten.to_string())
}

impl Hands {
    /// Does it, as the leader of this term; what is then to be heard. What only tells something is not done here.
    pub async fn perform(self, output: Output, term: Term) -> Option<Input> {
        match output {
            Output::Probe(probe) => {
                let look = probe.look;
                Some(Input::Probed { look, found: self.probe(probe, term).await })
            }
            Output::Write(Write::Plan { look, progress }) => {
                let written = self.write(Change::Plan(progress), term).await;
                Some(Input::Planned { look, written })
            }
            Output::Write(Write::Progress { intent, progress }) => {
                let written = self.write(Change::Plan(progress), term).await;
                Some(Input::Progressed { intent, written: told(written) })
            }
            Output::Write(Write::Resolve { ticket, intent, progress }) => {
                let written = self.write(Change::Plan(progress), term).await.map(drop);
                Some(Input::Resolved { ticket, intent, written })
            }
            Output::Write(Write::Shift(shifting)) => {
                Some(Input::Shifted { written: told(self.write(Change::Shift(shifting), term).await) })
            }
            Output::Write(Write::Drill(drilling)) => {
                Some(Input::Shifted { written: told(self.write(Change::Drill(drilling), term).await) })
            }
            Output::Ask { executor, driver, effect } => {
                let (intent, action) = (effect.intent, effect.action);
                let answer = self.order(&executor, Order::Act { driver, effect: Box::new(effect) }, term).await;
                Some(Input::Answered { intent, action, answer })
            }
            Output::Fence { executor, intent, action, node, challenge } => {
                let answer = self.order(&executor, Order::Fence { node, term, challenge }, term).await;
                Some(Input::Answered { intent, action, answer })
            }
            Output::CountDrain { intent, node } => {
                Some(Input::Drained { intent, left: (self.count_drain)(node).await })
            }
            Output::Verify { intent, pool, address } => {
                Some(Input::Verified { intent, found: self.check(&pool, &address).await })
            }
            Output::Tell(_) | Output::Reply { .. } => None,
        }
    }

    /// Whether this peer leads in this term at this moment.
    async fn authority(&self, term: Term) -> Option<Authority> {
        let (reply, authority) = oneshot::channel();
        self.elector.send(Request::Authority(reply)).await.ok()?;
        let authority = timeout(AUTHORITY_LIMIT, authority).await.ok()?.ok()??;
        (authority.term == term).then_some(authority)
    }

    async fn write(&self, change: Change, term: Term) -> Result<u64, Unwritten> {
        let what = change.summary();
        self.catalog.write_as_leader(change, term).await.map(|written| written.revision).map_err(
            |refused| match refused {
                WriteRefused::OutcomeUnknown { .. } => Unwritten::Unknown,
                refused => {
                    tracing::warn!(%term, what, %refused, "what the leader wants to write is refused");
                    Unwritten::Refused(refused.to_string())
                }
            },
        )
    }

    /// Orders something, once it is known that this peer leads still.
    async fn order(&self, executor: &PeerId, order: Order, term: Term) -> Option<Answer> {
        self.authority(term).await?;
        if *executor == self.own {
            return Some(self.executor.order(order).await);
        }
        let bytes = serde_json::to_vec(&order).ok()?;
        let question = Query::Order(bytes).encode().ok()?;
        let answer = self.link.as_ref()?.ask(executor.clone(), Bytes::from(question), ORDER_LIMIT).await.ok()?;
        match QueryAnswer::decode(&answer) {
            Ok(QueryAnswer::Outcome(answer)) => serde_json::from_slice(&answer).ok(),
            _ => None,
        }
    }

    /// What a peer says of itself.
    pub async fn report(&self, peer: PeerId) -> Option<Report> {
        let question = Query::Report.encode().ok()?;
        let answer = self.link.as_ref()?.ask(peer, Bytes::from(question), REPORT_LIMIT).await.ok()?;
        match QueryAnswer::decode(&answer) {
            Ok(QueryAnswer::Outcome(report)) => serde_json::from_slice(&report).ok(),
            _ => None,
        }
    }

    async fn probe(&self, probe: Probe, term: Term) -> Vec<(ServerId, Result<String, String>)> {
        let Probe { pool, servers, by, .. } = probe;
        match by {
            ProbeBy::Check(addresses) => {
                let mut checking = JoinSet::new();
                for (server, address) in servers.into_iter().zip(addresses) {
                    let (hands, pool) = (self.clone(), pool.clone());
                    checking.spawn(async move { (server.id, hands.check(&pool, &address).await) });
                }
                checking.join_all().await
            }
            ProbeBy::Driver { executor, driver, effects } => {
                let places = Arc::new(Semaphore::new(PROBES_MAX));
                let mut probing = JoinSet::new();
                for (at, effect) in effects.into_iter().enumerate() {
                    let (hands, places) = (self.clone(), Arc::clone(&places));
                    let (executor, driver) = (executor.clone(), driver.clone());
                    probing.spawn(async move {
                        let _place = places.acquire().await;
                        let probing = hands.probe_by(&executor, &driver, &effect, term);
                        let answered = timeout(PROBE_LIMIT, probing).await;
                        (at, answered.unwrap_or_else(|_| Err("the driver took too long".to_owned())))
                    });
                }
                let mut answers: Vec<Option<Result<String, String>>> = vec![None; servers.len()];
                // The best that answers is taken: nobody waits for those behind it.
                let is_known = |answers: &[Option<Result<String, String>>]| {
                    let first = answers.iter().position(|answer| !matches!(answer, Some(Err(_))));
                    first.is_none_or(|first| answers[first].is_some())
                };
                while !is_known(&answers)
                    && let Some(answered) = probing.join_next().await
                {
                    let Ok((at, answer)) = answered else { continue };
                    answers[at] = Some(answer);
                }
                let found = servers.into_iter().zip(answers);
                found.filter_map(|(server, answer)| Some((server.id, answer?))).collect()
            }
        }
    }

    async fn probe_by(
        &self,
        executor: &PeerId,
        driver: &DriverName,
        effect: &Effect,
        term: Term,
    ) -> Result<String, String> {
        loop {
            let order = Order::Act { driver: driver.clone(), effect: Box::new(effect.clone()) };
            match self.order(executor, order, term).await {
                Some(Answer::Done(done)) => return Ok(done.note),
                Some(Answer::Failed { why } | Answer::Unable { why }) => return Err(why),
                Some(Answer::NoFence { challenge }) => {
                    let node = effect.node.id.clone();
                    self.order(executor, Order::Fence { node, term, challenge }, term).await;
                }
                Some(Answer::Stale { term, .. }) => return Err(format!("the executor knows a later term: {term}")),
                Some(Answer::Running | Answer::Fenced | Answer::Described(_)) => sleep(PROBE_AGAIN_AFTER).await,
                None => return Err(format!("peer \"{executor}\" does not answer")),
            }
        }
    }

    /// Checks an address from here as the pool's nodes are checked.
    async fn check(&self, pool: &PoolName, address: &NodeAddress) -> Result<String, String> {
        let pool = self.view.load().pool(pool).map(|pool| Arc::clone(&pool.pool));
        let pool = pool.ok_or_else(|| "its pool is gone".to_owned())?;
        let mut wrong = Vec::new();
        for target in targets(&pool, address).await? {
            let report = probe::run(&target, &Check::clone(&pool.check), &self.tls.load()).await;
            match &report.outcome {
                Ok(_) => return Ok(report.to_string()),
                Err(_) => wrong.push(report.to_string()),
            }
        }
        Err(wrong.join("; "))
    }
}

/// Where a node of that pool would be at this address.
async fn targets(pool: &Pool, address: &NodeAddress) -> Result<Vec<CheckTarget>, String> {
    /// An address more makes it no likelier that one answers.
    const ADDRESSES_MAX: usize = 2;
    let addresses = match &address.host {
        Host::Ip(ip) => vec![*ip],
        Host::Name(name) => Names::of_system().resolve(name).await.map_err(|error| error.to_string())?.addresses,
    };
    let node = Node::new("probed".parse().map_err(|_| String::new())?, address.clone());
    let authority: Arc<str> = Arc::from(address.authority().as_str());
    let target = |ip| CheckTarget {
        address: std::net::SocketAddr::new(ip, address.port),
        transport: pool.transport(&node),
        host: address.host.clone(),
        authority: Arc::clone(&authority),
    };
    Ok(addresses.into_iter().take(ADDRESSES_MAX).map(target).collect())
}
