//! Finding a node for a request or connection, and waiting in line where every node is full.

use super::counts::bump;
use super::listen::Bound;
use super::worker::Worker;
use crate::host;
use crate::view::{Taken, Tried, Unavailable, Wanted};

/// Why no node was found.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum NoNode {
    /// None may be used, or all that may were tried.
    Unusable,
    /// As many wait as may.
    QueueFull,
    /// `queue_timeout` is over.
    QueueTimeout,
    /// Every region where it may go has what it can take.
    OverCapacity,
}

/// Picks a node of the pool as it is now, waiting for a place if need be; for traffic of the listener `bound`.
pub(crate) async fn pick(worker: &Worker, bound: &Bound, wanted: &Wanted<'_>, tried: &Tried) -> Result<Taken, NoNode> {
    match pick_now(worker, wanted, tried) {
        Ok(taken) => Ok(taken),
        Err(Unavailable::NoNode) => {
            bump(&bound.failures.no_node);
            Err(NoNode::Unusable)
        }
        Err(Unavailable::OverCapacity) => {
            bump(&bound.failures.over_capacity);
            Err(NoNode::OverCapacity)
        }
        Err(Unavailable::Full) => wait(worker, bound, wanted, tried).await,
    }
}

/// Picks a node unless one must be waited for. Nobody overtakes those who wait.
pub(crate) fn pick_now(worker: &Worker, wanted: &Wanted<'_>, tried: &Tried) -> Result<Taken, Unavailable> {
    worker.with_view(|view| {
        let pool = view.pool(wanted.pool).ok_or(Unavailable::NoNode)?;
        if !pool.live.queue.is_empty() {
            return Err(Unavailable::Full);
        }
        view.take_at(wanted, tried, &mut worker.dice.borrow_mut(), host::now)
    })
}

async fn wait(worker: &Worker, bound: &Bound, wanted: &Wanted<'_>, tried: &Tried) -> Result<Taken, NoNode> {
    let Some(pool) = worker.pool(wanted.pool) else { return Err(NoNode::Unusable) };
    let Ok(mut waiting) = pool.live.queue.wait(pool.pool.queue) else {
        bump(&bound.failures.queue_full);
        return Err(NoNode::QueueFull);
    };
    let deadline = host::now() + pool.pool.queue_timeout;
    let turn = async move {
        loop {
            (&mut waiting).await;
            // Since then the view may have changed, and with it what this pool is.
            match worker.with_view(|view| view.take_at(wanted, tried, &mut worker.dice.borrow_mut(), host::now)) {
                Ok(taken) => {
                    waiting.served();
                    return Ok(taken);
                }
                Err(Unavailable::NoNode) => {
                    bump(&bound.failures.no_node);
                    return Err(NoNode::Unusable);
                }
                Err(Unavailable::OverCapacity) => {
                    bump(&bound.failures.over_capacity);
                    return Err(NoNode::OverCapacity);
                }
                Err(Unavailable::Full) => waiting.again(),
            }
        }
    };
    tokio::time::timeout_at(deadline.into(), turn).await.unwrap_or_else(|_| {
        bump(&bound.failures.timeouts_queue);
        Err(NoNode::QueueTimeout)
    })
}
