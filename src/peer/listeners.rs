//! Listeners whose pool the catalog does not have: their clients are turned away, and somebody has to be told.

use std::collections::BTreeSet;

use super::handles::{BoundListener, BoundListeners, Handles};
use super::supervise::ChildSpec;
use crate::model::ListenerName;
use crate::view::{View, ViewCell};

impl Handles {
    /// Those of this peer.
    pub fn listeners_without_pool(&self, view: &View) -> Vec<BoundListener> {
        without_pool(&self.listeners.now(), view).cloned().collect()
    }
}

fn without_pool<'l>(listeners: &'l [BoundListener], view: &'l View) -> impl Iterator<Item = &'l BoundListener> {
    listeners.iter().filter(|listener| view.pool(&listener.pool).is_none())
}

/// Tells the log whenever a listener loses its pool, or has it again.
pub(super) fn pools_child(listeners: BoundListeners, view: ViewCell) -> ChildSpec {
    ChildSpec::task("listener-pools", move || {
        let (mut listeners, view) = (listeners.clone(), view.clone());
        async move {
            let mut catalogs = view.catalogs();
            let mut told = BTreeSet::<ListenerName>::new();
            loop {
                catalogs.borrow_and_update();
                let (now, bound) = (view.load(), listeners.now());
                let without: BTreeSet<_> = without_pool(&bound, &now).map(|of| of.name.clone()).collect();
                for BoundListener { name, pool, .. } in bound.iter() {
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
                tokio::select! {
                    changed = catalogs.changed() => if changed.is_err() {
                        // The peer is ending.
                        std::future::pending::<()>().await;
                    },
                    () = listeners.changed() => {}
                }
            }
        }
    })
}
