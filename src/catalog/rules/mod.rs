//! What may stand in the catalog: every key of it, and what its parts say of each other.
//!
//! The settings file holds the first catalog of a cluster, and so is read here too: a key lives on one line of `pool.rs`,
//! `node.rs` or `check.rs`, wherever the document comes from.

mod check;
mod names;
mod node;
mod pool;

use crate::document::{Origin, Override, Section};
use crate::model::{Catalog, Pool, Strategy};

use std::time::Duration;

pub(crate) use check::INTERVAL;
pub(crate) use names::PoolNames;
pub(crate) use pool::{PoolRead, STRATEGY};

/// What is stronger than a document or stands beside it.
#[derive(Debug, Default)]
pub(crate) struct Over {
    /// The strategy of every pool.
    pub strategy: Option<Override<Strategy>>,
    /// The interval of every pool's checks.
    pub interval: Option<Override<Duration>>,
    /// A pool more, and who says so.
    pub beside: Option<(Pool, Origin)>,
}

/// What stands in a document, each part by itself.
pub(crate) struct Written {
    pub pools: Vec<PoolRead>,
}

/// Reads every part.
pub(crate) fn written(s: &mut Section<'_, '_, '_>, over: &Over) -> Written {
    Written { pools: pool::pools(s, over) }
}

impl Written {
    /// Whether it says nothing at all.
    pub(crate) fn is_empty(&self) -> bool {
        self.pools.is_empty()
    }

    /// Refuses what the parts say of each other.
    pub(crate) fn refuse(&self, s: &mut Section<'_, '_, '_>, over: &Over) {
        names::refuse_twice(s, self, over);
    }

    /// The catalog; `None` where something of it was refused.
    pub(crate) fn build(self, s: &mut Section<'_, '_, '_>, over: Over) -> Option<Catalog> {
        let beside = over.beside.map(|(pool, _)| pool);
        let pools = self.pools.into_iter().filter_map(|read| read.pool).chain(beside).collect();
        names::build(s, pools)
    }
}
