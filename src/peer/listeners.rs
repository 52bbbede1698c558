//! Listeners whose pool the catalog does not have: their clients are turned away, and somebody has to be told.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::handles::{BoundListener, Handles};
use super::supervise::ChildSpec;
use crate::model::ListenerName;
use crate::view::{View, ViewCell};

impl Handles {
    /// Those of this peer.
    pub fn listeners_without_pool<'h>(&'h self, view: &'h View) -> impl Iterator<Item = &'h BoundListener> {
        without_pool(&self.listeners, view)
    }
}

fn without_pool<'l>(listeners: &'l [BoundListener], view: &'l View) -> impl Iterator<Item = &'l BoundListener> {
    listeners.iter().filter(|listener| view.pool(&listener.pool).is_none())
}

/// Tells the log whenever a listener loses its pool, or has it again.
pub(super) fn pools_child(listeners: Arc<[BoundListener]>, view: ViewCell) -> ChildSpec {
    ChildSpec::task("listener-pools", move || {
        let (listeners, view) = (Arc::clone(&listeners), view.clone());
        async move {
            let mut catalogs = view.catalogs();
            let mut told = BTreeSet::<ListenerName>::new();
            loop {
                catalogs.borrow_and_update();
                let now = view.load();
                let without: BTreeSet<_> = without_pool(&listeners, &now).map(|of| of.name.clone()).collect();
                for BoundListener { name, pool, .. } in listeners.iter() {
                    match (told.contains(name), without.contains(name)) {
                        (false, true) => tracing::warn!(
                            listener = %name,
                            %pool,
                            "the catalog does not have the pool of this listener any more: its clients are turned away"
                        ),
                        (true, false) => tracing::info!(listener = %name, %pool, "the pool of this listener is back"),
                        (true, true) | (false, false) => {}
                    }
                }
                told = without;
                if catalogs.changed().await.is_err() {
                    // The peer is ending.
                    std::future::pending::<()>().await;
                }
            }
        }
    })
}
