//! Pools that name a profile of TLS which this peer's file does not have: their nodes are not used by this peer, since speaking to
//! them in plain, or trusting others in their place, is what nobody asked for; and somebody has to be told.

use std::collections::BTreeMap;
use std::time::Duration;

use super::handles::Handles;
use super::supervise::ChildSpec;
use crate::model::{PoolName, TlsName};
use crate::tls::{NodeTls, NodeTlsCell};
use crate::view::{View, ViewCell};

/// How often it is looked whether the file has a profile by now; the catalog is looked at whenever it changes.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

impl Handles {
    /// Those pools, by name, with the profile that each names.
    pub fn pools_without_profile(&self, view: &View) -> BTreeMap<PoolName, TlsName> {
        without_profile(&self.tls.load(), view)
    }
}

fn without_profile(tls: &NodeTls, view: &View) -> BTreeMap<PoolName, TlsName> {
    let pools = view.pools().filter_map(|pool| Some((&pool.pool.name, pool.pool.tls.as_ref()?)));
    let missing = pools.filter(|(_, profile)| !tls.has(profile));
    missing.map(|(pool, profile)| (pool.clone(), profile.clone())).collect()
}

/// Tells the log whenever a pool names a profile that is not there, or it is there again.
pub(super) fn profiles_child(tls: NodeTlsCell, view: ViewCell) -> ChildSpec {
    ChildSpec::task("node-tls", move || {
        let (tls, view) = (tls.clone(), view.clone());
        async move {
            let mut catalogs = view.catalogs();
            let mut told = BTreeMap::new();
            loop {
                catalogs.borrow_and_update();
                let without = without_profile(&tls.load(), &view.load());
                for (pool, profile) in &without {
                    if told.get(pool) != Some(profile) {
                        tracing::warn!(
                            %pool,
                            tls = %profile,
                            "this peer's file has no [[tls]] of the name that the pool names: its nodes are not used by this peer"
                        );
                    }
                }
                for (pool, profile) in told.iter().filter(|(pool, _)| !without.contains_key(*pool)) {
                    tracing::info!(%pool, tls = %profile, "the nodes of the pool are used by this peer again");
                }
                told = without;
                tokio::select! {
                    changed = catalogs.changed() => if changed.is_err() {
                        // The peer is ending.
                        std::future::pending::<()>().await;
                    },
                    () = tokio::time::sleep(LOOK_INTERVAL) => {}
                }
            }
        }
    })
}
