//! Failover as the rest of a peer asks for it: operators' wishes go to whoever leads, and other peers' questions are answered.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::actor::Asked;
use super::operation::{Answered, Operation, Refused};
use super::report::{Report, traffic};
use crate::catalog::CatalogHandle;
use crate::driver::{Answer, Described, Executor, Order};
use crate::host;
use crate::link::{AskError, Link};
use crate::model::{Event, Happened, PeerId};
use crate::telemetry::events::Events;
use crate::view::ViewCell;
use crate::wire::{Query, QueryAnswer};

/// How long the leader may take: servers are probed first, and what is planned is committed.
const OPERATE_LIMIT: Duration = Duration::from_secs(8);
/// How long it is waited for somebody to lead.
const LEADER_WAIT: Duration = Duration::from_millis(1_500);

/// The way to a peer's failover.
#[derive(Clone, Debug)]
pub struct FailoverHandle {
    own: PeerId,
    link: Option<Arc<dyn Link>>,
    catalog: CatalogHandle,
    executor: Executor,
    view: ViewCell,
    asked: mpsc::Sender<Asked>,
    /// The last events of this peer.
    pub events: Events,
}

/// What a handle is made of.
#[derive(Clone, Debug)]
pub struct Parts {
    /// This peer.
    pub own: PeerId,
    /// The others; a cluster of one has none.
    pub link: Option<Arc<dyn Link>>,
    /// What is agreed on, and who leads.
    pub catalog: CatalogHandle,
    /// What this peer carries out.
    pub executor: Executor,
    /// What it serves by.
    pub view: ViewCell,
    /// The way to its failover actor.
    pub asked: mpsc::Sender<Asked>,
    /// Its events.
    pub events: Events,
}

impl FailoverHandle {
    /// The handle.
    pub fn new(parts: Parts) -> Self {
        let Parts { own, link, catalog, executor, view, asked, events } = parts;
        Self { own, link, catalog, executor, view, asked, events }
    }

    /// What this peer carries out.
    pub fn executor(&self) -> &Executor {
        &self.executor
    }

    /// Asks whoever leads.
    pub async fn operate(&self, operation: Operation) -> Answered {
        let unavailable = |message: &str| Answered::Refused(Refused::Unavailable { message: message.to_owned() });
        let Some(leader) = self.catalog.known_leader(LEADER_WAIT).await else {
            return unavailable(
                "nobody leads, so nothing is moved or scaled; traffic goes on. See /api/v1/leader for who is missing",
            );
        };
        if leader == self.own {
            return self.operate_here(operation).await;
        }
        let question = serde_json::to_vec(&operation).ok().and_then(|bytes| Query::Operate(bytes).encode().ok());
        let (Some(link), Some(question)) = (&self.link, question) else {
            return unavailable("the leader cannot be asked");
        };
        match link.ask(leader, Bytes::from(question), OPERATE_LIMIT).await {
            Ok(answer) => match QueryAnswer::decode(&answer) {
                Ok(QueryAnswer::Outcome(answered)) => {
                    serde_json::from_slice(&answered).unwrap_or(Answered::Refused(Refused::OutcomeUnknown))
                }
                _ => Answered::Refused(Refused::OutcomeUnknown),
            },
            Err(AskError::NotLinked | AskError::NotTaken | AskError::TooLong) => {
                unavailable("the leader cannot be reached")
            }
            Err(_) => Answered::Refused(Refused::OutcomeUnknown),
        }
    }

    async fn operate_here(&self, operation: Operation) -> Answered {
        let (reply, answered) = oneshot::channel();
        if self.asked.send(Asked { operation, reply }).await.is_err() {
            return Answered::Refused(Refused::NotLeading);
        }
        match timeout(OPERATE_LIMIT, answered).await {
            Ok(Ok(answered)) => answered,
            Ok(Err(_)) | Err(_) => Answered::Refused(Refused::OutcomeUnknown),
        }
    }

    /// What this peer says of itself.
    pub async fn report(&self) -> Report {
        let executor = match self.executor.order(Order::Describe).await {
            Answer::Described(described) => described,
            _ => Described::default(),
        };
        Report { executor, regions: traffic(&self.view.load()) }
    }

    /// Answers another peer; `None` where that cannot be read, or is not for failover.
    pub async fn answer(&self, question: Query) -> Option<QueryAnswer> {
        let outcome = match question {
            Query::Order(bytes) => {
                let order: Order = serde_json::from_slice(&bytes).ok()?;
                serde_json::to_vec(&self.order(order).await)
            }
            Query::Operate(bytes) => {
                let operation: Operation = serde_json::from_slice(&bytes).ok()?;
                serde_json::to_vec(&self.operate_here(operation).await)
            }
            Query::Report => serde_json::to_vec(&self.report().await),
            Query::Events => serde_json::to_vec(&self.events.all()),
            Query::Value(_) | Query::Desired(_) | Query::Write(_) | Query::Electors(_) | Query::Drain(_) => {
                return None;
            }
        };
        outcome.ok().map(QueryAnswer::Outcome)
    }

    /// Carries out an order, and tells of one that came too late.
    async fn order(&self, order: Order) -> Answer {
        let late = match &order {
            Order::Act { effect, .. } => Some((effect.node.id.clone(), effect.intent, effect.term.get())),
            Order::Describe | Order::Fence { .. } => None,
        };
        let answer = self.executor.order(order).await;
        if let (Answer::Stale { term: highest, .. }, Some((node, intent, term))) = (&answer, late) {
            let highest = highest.get();
            let happened = Happened::OrderRefused { node, intent, term, highest };
            let id = format!("{}-late-{intent}-{term}-{highest}", self.own);
            self.events.push(Event { id, at_ms: host::wall_now_ms(), peer: self.own.clone(), happened });
        }
        answer
    }
}
