//! Pools as the API shows them.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::Uri;
use axum::response::Response;
use serde::Serialize;

use super::error::ApiError;
use super::list::{Page, Params};
use super::resources::beside;
use super::writing::in_step;
use crate::catalog::Kind;
use crate::model::{Admin, ListenerName, PoolName, Strategy, Verdict};
use crate::peer::Handles;
use crate::view::{NodeView, PoolView};

/// `GET /api/v1/pools`
pub(super) async fn list(State(handles): State<Handles>, uri: Uri) -> Result<Response, ApiError> {
    let params = Params::of(&uri, &Page::PARAMS)?;
    let page = Page::of(&params)?;
    let view = handles.view.load();
    Ok(page.reply(
        view.pools().collect(),
        |pool| pool.pool.name.as_str(),
        |pool| PoolShown::of(pool, &handles),
        &handles,
    ))
}

/// `GET /api/v1/pools/{pool}`
pub(super) async fn one(
    State(handles): State<Handles>,
    Path(name): Path<String>,
    uri: Uri,
) -> Result<Response, ApiError> {
    Params::of(&uri, &[])?;
    let (view, applied) = in_step(&handles).await;
    let known = view.pools().find(|pool| pool.pool.name.as_str() == name);
    let pool =
        known.ok_or_else(|| ApiError::unknown("pool", &name, view.pools().map(|pool| pool.pool.name.as_str())))?;
    Ok(beside(applied.as_deref(), Kind::Pool, &name, PoolShown::of(pool, &handles)))
}

/// A pool.
#[derive(Serialize)]
pub(super) struct PoolShown<'a> {
    name: &'a PoolName,
    strategy: Strategy,
    check: &'static str,
    listeners: Vec<ListenerName>,
    nodes: NodeTally,
    in_flight: u32,
    waiting: usize,
    retries_total: u64,
    retries_refused_total: u64,
}

impl<'a> PoolShown<'a> {
    pub(super) fn name(&self) -> &PoolName {
        self.name
    }

    pub(super) fn of(pool: &'a PoolView, handles: &'a Handles) -> Self {
        use std::sync::atomic::Ordering::Relaxed;
        let listeners = handles.listeners.now();
        let listeners = listeners.iter();
        Self {
            name: &pool.pool.name,
            strategy: pool.pool.strategy,
            check: pool.pool.check.kind.name(),
            listeners: listeners.filter(|of| of.pool == pool.pool.name).map(|of| of.name.clone()).collect(),
            nodes: NodeTally::of(&pool.nodes),
            in_flight: pool.live.in_flight(),
            waiting: pool.live.queue.len(),
            retries_total: pool.live.retries.load(Relaxed),
            retries_refused_total: pool.live.retries_refused.load(Relaxed),
        }
    }
}

/// Nodes of a pool, counted.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
pub(super) struct NodeTally {
    total: usize,
    /// Enabled, and up or degraded.
    pub(super) usable: usize,
    up: usize,
    degraded: usize,
    down: usize,
    unknown: usize,
}

impl NodeTally {
    pub(super) fn of<'a>(nodes: impl IntoIterator<Item = &'a Arc<NodeView>>) -> Self {
        let mut tally = Self::default();
        for node in nodes {
            tally.total += 1;
            *match node.state.verdict {
                Verdict::Up => &mut tally.up,
                Verdict::Degraded => &mut tally.degraded,
                Verdict::Down => &mut tally.down,
                Verdict::Unknown => &mut tally.unknown,
            } += 1;
            let answers = matches!(node.state.verdict, Verdict::Up | Verdict::Degraded);
            tally.usable += usize::from(answers && node.node.admin == Admin::Enabled);
        }
        tally
    }

    /// Every count that goes by verdict, under the verdict's name.
    pub(super) fn by_verdict(&self) -> [(&'static str, usize); 4] {
        [
            (Verdict::Up.name(), self.up),
            (Verdict::Degraded.name(), self.degraded),
            (Verdict::Down.name(), self.down),
            (Verdict::Unknown.name(), self.unknown),
        ]
    }
}
