//! SIGHUP, or a file that changed: the settings are read again, and what can be taken without a restart is taken. These are the
//! listeners with their certificates, the keys by which peers know each other, and the catalog part where the catalog follows
//! the file; of everything else that changed the log says that it needs a restart, or what else to do.
//!
//! Settings with a fault, and those with a listener that cannot be bound, are refused whole, with every fault in the log, and the
//! peer goes on as it was.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use super::watch::Watch;
use crate::catalog::{Object, canonical};
use crate::config::{self, Fault, Loaded, Refused, Settings, Sources};
use crate::link::TrustSource;
use crate::model::{ListenerName, PoolName};
use crate::proxy::{BindErrors, Bound};
use crate::{Running, peer};

/// What a running peer was told last, and where to look again.
pub(super) struct Reload {
    sources: Sources,
    /// Listeners and keys are those in force and the catalog is as it was read last; everything else is as it was at the start.
    settings: Settings,
    watch: Watch,
}

impl Reload {
    /// `files` were read beside the settings.
    pub(super) fn new(sources: Sources, settings: Settings, files: &BTreeSet<PathBuf>) -> Self {
        let mut watch = Watch::new();
        watch.follow(sources.file().into_iter().chain(files.iter().map(PathBuf::as_path)));
        Self { sources, settings, watch }
    }

    /// Waits until one of the files is another one than when it was read last.
    pub(super) async fn files_changed(&mut self) {
        self.watch.changed().await;
    }

    /// Reads the settings again and takes what can be taken.
    pub(super) fn reload(&mut self, running: &Running) {
        running.peer().reopen_logs();
        // What is written from here on is another change.
        self.watch.look();
        let loaded = config::load(&self.sources);
        let files = loaded.as_ref().map_or_else(|refused| &refused.files, |loaded| &loaded.files);
        self.watch.follow(self.sources.file().into_iter().chain(files.iter().map(PathBuf::as_path)));
        match loaded {
            Ok(Loaded { settings, warnings, .. }) => {
                for warning in &warnings {
                    tracing::warn!("{warning}");
                }
                self.take(&settings, running);
            }
            Err(refused) => tell(&refused),
        }
    }

    fn take(&mut self, read: &Settings, running: &Running) {
        let mut is_same = true;
        let (now, new) = (&mut self.settings.peer.proxy, &read.peer.proxy);
        let mut bound = None;
        if now.listeners != new.listeners {
            match running.peer().bind(&new.listeners) {
                Ok(listeners) => bound = Some(listeners),
                Err(BindErrors(errors)) => {
                    errors.iter().for_each(|error| tracing::error!("{error}"));
                    let faults = errors.len();
                    tracing::error!(
                        faults,
                        "the settings were read again; nothing of them is taken, and the peer goes on as it was"
                    );
                    return;
                }
            }
        }
        if self.settings.peer.tls != read.peer.tls {
            is_same = false;
            match running.peer().set_profiles(&read.peer.tls) {
                Ok(()) => {
                    tracing::info!("the settings were read again; the profiles of TLS to nodes are taken");
                    self.settings.peer.tls.clone_from(&read.peer.tls);
                }
                Err(error) => tracing::error!(%error, "the profiles of TLS to nodes are refused; the old ones stay"),
            }
        }
        if self.settings.peer.geo != read.peer.geo {
            is_same = false;
            running.peer().set_geo(read.peer.geo.clone());
            self.settings.peer.geo.clone_from(&read.peer.geo);
            match read.peer.geo.as_ref().map(|geo| geo.about()) {
                Some((kind, made_s)) => {
                    tracing::info!(kind, made_s, "the settings were read again; the GeoIP file is taken");
                }
                None => tracing::info!("the settings were read again; there is no GeoIP file any more"),
            }
        }
        if self.settings.peer.drivers != read.peer.drivers {
            is_same = false;
            running.peer().set_drivers(read.peer.drivers.clone());
            self.settings.peer.drivers.clone_from(&read.peer.drivers);
            let drivers: Vec<String> = read.peer.drivers.keys().map(ToString::to_string).collect();
            tracing::info!(drivers = drivers.join(", "), "the settings were read again; the drivers are taken");
        }
        if let (Some(old), Some(new)) = (&mut self.settings.peer.cluster, &read.peer.cluster)
            && (&old.trust, &old.cookie_keys) != (&new.trust, &new.cookie_keys)
        {
            is_same = false;
            match running.peer().rekey(new) {
                Ok(()) => {
                    tell_of(&new.trust);
                    old.trust = new.trust.clone();
                    old.cookie_keys.clone_from(&new.cookie_keys);
                }
                Err(error) => {
                    tracing::error!(%error, "the new keys or certificates of the cluster are refused; the old ones stay");
                }
            }
        }
        // What the file said before may be the catalog only in a moment.
        let under_way = running.peer().file_under_way();
        let catalog = self.take_catalog(read, under_way.as_deref(), running);
        is_same &= catalog == CatalogPart::Same;
        if let Some(listeners) = bound {
            is_same = false;
            // A listener that is new may be one that routes of the same file guard.
            let waits = self.settings.peer.follow_file && (under_way.is_some() || catalog != CatalogPart::Same);
            running.peer().listen(&listeners, waits);
            self.settings.peer.proxy.listeners.clone_from(&read.peer.proxy.listeners);
            tell_listeners(&listeners);
        }
        let sections = restart_needed(&self.settings, read);
        if !sections.is_empty() {
            is_same = false;
            let sections = sections.join(", ");
            tracing::warn!(sections, "these settings changed and take a restart; they stay as they were");
        }
        if is_same {
            tracing::info!("the settings were read again; nothing changed");
        }
    }

    /// Takes what users want, and says what becomes of it.
    fn take_catalog(&mut self, read: &Settings, under_way: Option<&Object>, running: &Running) -> CatalogPart {
        let now = &mut self.settings.peer;
        let follows = now.follow_file;
        // A file that is followed is new where users have changed the catalog since it was read last.
        let differs = match follows {
            true => {
                let applied = running.peer().handles().agreed.catalog.applied();
                canonical(under_way.unwrap_or(applied.desired())) != canonical(&read.peer.desired)
            }
            false => now.desired != read.peer.desired,
        };
        let left_alone = pool_missing(&read.peer).filter(|_| follows);
        running.peer().file_was_read(&read.peer.desired, follows && left_alone.is_none());
        now.desired = Arc::clone(&read.peer.desired);
        match left_alone {
            Some((listener, pool)) => tracing::warn!(
                %listener,
                %pool,
                "the catalog part of the file is not applied: this listener sends to a pool that the file does not have"
            ),
            None if !differs => return CatalogPart::Same,
            None if follows => {
                tracing::info!("the settings were read again; their catalog part is applied");
                return CatalogPart::Applied;
            }
            None => tracing::info!(
                "the catalog part of the file changed; the cluster's catalog stays as it is: `evenkeel apply FILE` shows the \
                 difference and applies it"
            ),
        }
        CatalogPart::LeftAlone
    }
}

/// What becomes of the catalog part of a file that was read again.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum CatalogPart {
    /// It is what the cluster has.
    Same,
    /// The cluster is asked to make it its own.
    Applied,
    /// It is not taken.
    LeftAlone,
}

/// A listener and its pool, which the catalog part of the same file does not have.
fn pool_missing(read: &peer::Settings) -> Option<(ListenerName, PoolName)> {
    let mut listeners = read.proxy.listeners.iter();
    let missing = listeners.find(|listener| read.catalog.pools().iter().all(|pool| pool.name != listener.pool));
    missing.map(|listener| (listener.name.clone(), listener.pool.clone()))
}

/// Says where the peer listens now, and which names its certificates carry.
fn tell_listeners(bound: &[Arc<Bound>]) {
    let shown = |of: &Arc<Bound>| format!("{} {}://{}", of.listener.name, of.listener.protocol_shown(), of.address);
    let listeners: Vec<String> = bound.iter().map(shown).collect();
    tracing::info!(listeners = listeners.join(", "), "the settings were read again; the listeners are taken");
}

/// Says which keys are in force now, by fingerprints that every peer shows alike.
fn tell_of(trust: &TrustSource) {
    match trust {
        TrustSource::Keys(ring) => {
            let issuing = ring.issuing().fingerprint();
            let trusted: Vec<String> = ring.trusted().map(|key| key.fingerprint().to_string()).collect();
            let trusted = trusted.join(", ");
            tracing::info!(%issuing, trusted, "the settings were read again; the cluster's keys are taken");
        }
        TrustSource::Authority(_) => {
            tracing::info!("the settings were read again; the certificates between peers are taken");
        }
    }
}

fn tell(refused: &Refused) {
    let faults = &refused.faults;
    for Fault { origin, key, found, wrong, allowed, hint } in &faults.faults {
        tracing::error!(%origin, key, found, allowed, hint, "{wrong}");
    }
    tracing::error!(
        faults = faults.count(),
        "the settings were read again and refused; nothing of them is taken, and the peer goes on as it was; \
         `evenkeel check FILE` tells the same at more length"
    );
}

/// The sections that differ and that only a start reads.
fn restart_needed(now: &Settings, read: &Settings) -> Vec<&'static str> {
    let (proxy, new_proxy) = (&now.peer.proxy, &read.peer.proxy);
    let of_peer = |settings: &Settings| {
        let proxy = &settings.peer.proxy;
        let peer = &settings.peer;
        let own = (peer.id.clone(), peer.region.clone(), peer.data_dir.clone());
        (own, proxy.workers, proxy.announce, proxy.drain, proxy.connections_max)
    };
    // Its keys are taken without a restart.
    let of_cluster = |settings: &Settings| {
        settings.peer.cluster.clone().map(|of| (of.name, of.listen, of.advertise, of.seeds, of.preset, of.founders))
    };
    let sections = [
        ("[peer]", of_peer(now) != of_peer(read)),
        ("[api]", now.api != read.api),
        ("[log]", now.log != read.log),
        ("[upstream]", proxy.idle != new_proxy.idle),
        ("[cluster]", of_cluster(now) != of_cluster(read)),
        ("[catalog]", now.peer.follow_file != read.peer.follow_file),
    ];
    sections.into_iter().filter(|(_, differs)| *differs).map(|(section, _)| section).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Environment, Flags};

    fn settings(variables: &[(&str, &str)]) -> Settings {
        let regions = [("REGIONAL_ENDPOINTS", "us:us.example:80")];
        let environment: Environment = regions.iter().chain(variables).copied().collect();
        let sources = Sources { environment, flags: Flags::default(), ..Sources::default() };
        config::load(&sources).unwrap_or_else(|refused| panic!("{refused}")).settings
    }

    #[test]
    fn what_takes_a_restart_is_named_by_its_section() {
        let cluster = ("EVENKEEL_CLUSTER_LISTEN", "127.0.0.1:7940");
        let now = settings(&[cluster]);
        assert_eq!(restart_needed(&now, &now), [""; 0]);
        for (variable, section) in [
            (("EVENKEEL_PEER_DRAIN", "1s"), "[peer]"),
            (("EVENKEEL_PEER_MAX_CONNECTIONS", "9"), "[peer]"),
            (("EVENKEEL_API_LISTEN", "127.0.0.1:1"), "[api]"),
            (("EVENKEEL_LOG_LEVEL", "debug"), "[log]"),
            (("EVENKEEL_UPSTREAM_IDLE_CONNECTIONS", "1"), "[upstream]"),
            (("EVENKEEL_CLUSTER_PRESET", "wan"), "[cluster]"),
            (("EVENKEEL_CLUSTER_EXPECT", "3"), "[cluster]"),
            (("EVENKEEL_PEER_DATA_DIR", "/elsewhere"), "[peer]"),
            (("EVENKEEL_CATALOG_FOLLOW_FILE", "true"), "[catalog]"),
        ] {
            assert_eq!(restart_needed(&now, &settings(&[cluster, variable])), [section]);
        }
        let other_pool = settings(&[cluster, ("LOAD_BALANCER_STRATEGY", "random")]);
        assert_eq!(restart_needed(&now, &other_pool), [""; 0], "the catalog is not the business of a start");
        assert_eq!(restart_needed(&now, &settings(&[])), ["[cluster]", "[catalog]"], "who is alone follows the file");
        let mut fewer = now.clone();
        fewer.peer.proxy.listeners.clear();
        assert_eq!(restart_needed(&now, &fewer), [""; 0], "listeners are taken at once");
        let mut rekeyed = now.clone();
        if let Some(cluster) = &mut rekeyed.peer.cluster {
            let key = crate::link::ClusterKey::generate().unwrap();
            cluster.trust = TrustSource::Keys(crate::link::KeyRing::of(key));
        }
        assert_eq!(restart_needed(&now, &rekeyed), [""; 0], "keys are taken at once");
    }
}
