//! Where a peer listens: the list that workers follow, what is shown of it, and listeners that are bound and wait to be opened.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::AbortHandle;

use super::handles::{BoundListener, BoundListeners};
use crate::proxy::{self, Bound, Listeners};

/// The listeners of a peer.
#[derive(Clone, Debug)]
pub(super) struct OpenListeners {
    now: watch::Sender<Listeners>,
    shown: watch::Sender<Arc<[BoundListener]>>,
    next: Arc<Mutex<Option<Next>>>,
}

/// Listeners of which some are not open yet.
#[derive(Debug)]
struct Next {
    all: Listeners,
    waiting: AbortHandle,
}

impl OpenListeners {
    /// These are open.
    pub(super) fn new(listeners: Listeners) -> Self {
        let shown = watch::Sender::new(shown(&listeners));
        Self { now: watch::Sender::new(listeners), shown, next: Arc::default() }
    }

    /// For those who follow the list.
    pub(super) fn subscribe(&self) -> watch::Receiver<Listeners> {
        self.now.subscribe()
    }

    /// What is shown of it.
    pub(super) fn shown(&self) -> BoundListeners {
        BoundListeners::from(self.shown.subscribe())
    }

    /// All that are bound, open or not.
    pub(super) fn bound(&self) -> Listeners {
        self.next().as_ref().map_or_else(|| Arc::clone(&self.now.borrow()), |next| Arc::clone(&next.all))
    }

    /// These from now on. Where something is to be waited for, those that are new are opened after it; what waited before is forgotten.
    pub(super) fn listen(&self, all: &Listeners, after: Option<(impl Future<Output = ()> + Send + 'static, &Handle)>) {
        let before = self.bound();
        let mut next = self.next();
        if let Some(Next { waiting, .. }) = next.take() {
            waiting.abort();
        }
        proxy::retire(&before, all);
        let open = Arc::clone(&self.now.borrow());
        // Routes know a listener by its name: under another one it is another listener.
        let meanwhile = |bound: &Arc<Bound>| {
            let there = open.iter().find(|open| bound.is_same(open))?;
            Some(Arc::clone(if there.listener.name == bound.listener.name { bound } else { there }))
        };
        let meanwhile: Listeners = all.iter().filter_map(meanwhile).collect();
        let is_all = meanwhile.len() == all.len()
            && meanwhile.iter().zip(all.iter()).all(|(one, other)| Arc::ptr_eq(one, other));
        let Some((after, runtime)) = after.filter(|_| !is_all) else { return self.open(Arc::clone(all)) };
        let is_new = |bound: &&Arc<Bound>| meanwhile.iter().all(|open| !Arc::ptr_eq(open, bound));
        let names: Vec<&str> = all.iter().filter(is_new).map(|bound| bound.listener.name.as_str()).collect();
        let names = names.join(", ");
        tracing::info!(listeners = names, "these are bound and open once the catalog is what the file says");
        self.open(meanwhile);
        let (this, opened) = (self.clone(), Arc::clone(all));
        let waiting = runtime.spawn(async move {
            after.await;
            let mut next = this.next();
            // Another list that came just now stays.
            if next.as_ref().is_some_and(|next| Arc::ptr_eq(&next.all, &opened)) {
                *next = None;
                tracing::info!(listeners = names, "these are open: the catalog is what the file says");
                this.open(opened);
            }
        });
        *next = Some(Next { all: Arc::clone(all), waiting: waiting.abort_handle() });
    }

    /// Closes all of them.
    pub(super) fn close(&self) {
        self.bound().iter().for_each(|bound| bound.close());
        if let Some(Next { waiting, .. }) = self.next().take() {
            waiting.abort();
        }
    }

    fn open(&self, listeners: Listeners) {
        self.shown.send_replace(shown(&listeners));
        self.now.send_replace(listeners);
    }

    fn next(&self) -> MutexGuard<'_, Option<Next>> {
        self.next.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn shown(listeners: &Listeners) -> Arc<[BoundListener]> {
    listeners.iter().map(|bound| bound_listener(bound)).collect()
}

fn bound_listener(bound: &Bound) -> BoundListener {
    BoundListener {
        name: bound.listener.name.clone(),
        address: bound.address,
        protocol: bound.listener.protocol_shown(),
        pool: bound.listener.pool.clone(),
        counts: Arc::clone(&bound.counts),
        failures: Arc::clone(&bound.failures),
        log: bound.log.clone(),
    }
}
