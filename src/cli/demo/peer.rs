//! A peer of the demo, which can be ended and started again at the addresses that it had.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::node::SampleNode;
use super::{PEERS, log_settings};
use crate::catalog::rules::{self, Unknown};
use crate::election::Founders;
use crate::gossip::Seed;
use crate::link::{KeyRing, Protocols, TrustSource};
use crate::model::{Electors, ListenerName, PeerId, PoolName, Preset, RegionName};
use crate::proxy::{Http, Idle, Listener, Protocol};
use crate::{Running, StartError, api, config, peer, proxy};

/// A peer of the demo.
pub(super) struct DemoPeer {
    settings: config::Settings,
    running: Option<Running>,
}

impl DemoPeer {
    /// A peer of this number, counted from 0, started. `seeds`: peers that run already.
    pub(super) async fn start_new(
        number: u16,
        nodes: &[SampleNode],
        seeds: Vec<Seed>,
        folder: &Path,
    ) -> Result<Self, Box<dyn std::error::Error>> {
        let mut settings = settings(number, nodes, folder)?;
        if let Some(cluster) = &mut settings.peer.cluster {
            cluster.seeds = seeds;
        }
        let mut peer = Self { settings, running: None };
        peer.start().await?;
        Ok(peer)
    }

    pub(super) fn id(&self) -> &PeerId {
        &self.settings.peer.id
    }

    pub(super) fn running(&self) -> Option<&Running> {
        self.running.as_ref()
    }

    /// Where it takes traffic, where its API listens, where peers reach it.
    pub(super) fn addresses(&self) -> (Option<SocketAddr>, SocketAddr, Option<SocketAddr>) {
        let traffic = self.settings.peer.proxy.listeners.first().map(|web| web.address);
        let cluster = self.settings.peer.cluster.as_ref().map(|cluster| cluster.listen);
        (traffic, self.settings.api.listen(), cluster)
    }

    /// Whom it asks first when it is started again.
    pub(super) fn set_seeds(&mut self, seeds: &[Seed]) {
        if let Some(cluster) = &mut self.settings.peer.cluster {
            cluster.seeds = seeds.to_vec();
        }
    }

    /// Starts it. The addresses that it gets are those that it has from now on.
    pub(super) async fn start(&mut self) -> Result<(), StartError> {
        let running = crate::start(self.settings.clone()).await?;
        let handles = running.handles();
        for (listener, bound) in self.settings.peer.proxy.listeners.iter_mut().zip(handles.listeners.now().iter()) {
            listener.address = bound.address;
        }
        if let (Some(cluster), Some(joined)) = (&mut self.settings.peer.cluster, &handles.cluster) {
            cluster.listen = joined.advertise;
        }
        // It was loopback when it was bound.
        if let Ok(api) = api::Settings::new(running.api_address()) {
            self.settings.api = api;
        }
        self.running = Some(running);
        Ok(())
    }

    /// Ends it as a crash would: nothing is drained and nobody told. False where it does not run.
    pub(super) fn crash(&mut self) -> bool {
        self.running.take().is_some()
    }

    /// Drains it and ends it.
    pub(super) async fn stop(&mut self) {
        if let Some(running) = self.running.take() {
            running.stop().await;
        }
    }
}

/// One listener, one pool of the sample nodes, checked often so that there is something to see.
fn settings(number: u16, nodes: &[SampleNode], folder: &Path) -> Result<config::Settings, Box<dyn std::error::Error>> {
    let nodes: Vec<Value> =
        nodes.iter().map(|node| json!({"id": node.name(), "address": node.address().to_string()})).collect();
    let desired = json!({"pool": [{
        "name": "web",
        "strategy": "round_robin",
        "slow_start": "5s",
        "health": {"type": "http", "path": "/health", "interval": "1s", "timeout": "1s", "rise": 1, "fall": 2},
        "node": nodes,
    }]});
    let desired = desired.as_object().cloned().unwrap_or_default();
    let catalog = rules::read(&desired, Unknown::Refused)?.catalog;
    let web = Listener {
        name: "web".parse::<ListenerName>()?,
        address: free(8000 + number),
        pool: "web".parse::<PoolName>()?,
        connections_max: 1_024,
        connections_per_client_max: None,
        protocol: Protocol::Http(Http::default()),
        tls: None,
        access_log: None,
    };
    let name = "demo".parse()?;
    let id: PeerId = format!("demo-{}", number + 1).parse()?;
    Ok(config::Settings {
        peer: peer::Settings {
            data_dir: folder.join(id.as_str()),
            tls: Vec::new(),
            drivers: BTreeMap::new(),
            geo: None,
            id,
            region: RegionName::default(),
            proxy: proxy::Settings {
                workers: NonZeroUsize::MIN,
                listeners: vec![web],
                announce: Duration::ZERO,
                drain: Duration::from_secs(2),
                idle: Idle::default(),
                connections_max: None,
            },
            catalog,
            desired: Arc::new(desired),
            follow_file: false,
            cluster: Some(peer::ClusterSettings {
                trust: TrustSource::Keys(KeyRing::of_loopback(&name)),
                name,
                listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
                advertise: None,
                seeds: Vec::new(),
                preset: Preset::Local,
                protocols: Protocols::OWN,
                cookie_keys: None,
                founders: Founders::Named(founders()?),
            }),
        },
        api: api::Settings::new(free(api::Settings::default().listen().port() + number))?,
        log: log_settings(),
    })
}

/// All peers of the demo. They start one after another, so that the first of them has no seeds.
fn founders() -> Result<Electors, Box<dyn std::error::Error>> {
    let ids: Result<Vec<PeerId>, _> = (1..=PEERS).map(|number| format!("demo-{number}").parse()).collect();
    Ok(Electors::new(ids?)?)
}

/// This port of loopback, or any free one where it is taken.
fn free(port: u16) -> SocketAddr {
    let wanted = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    match TcpListener::bind(wanted) {
        Ok(_) => wanted,
        Err(_) => SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::log;

    #[test]
    fn a_taken_port_is_left_to_whoever_has_it() {
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        assert_eq!(free(taken.local_addr().unwrap().port()).port(), 0);
    }

    #[tokio::test]
    async fn a_peer_of_the_demo_has_one_pool_of_its_sample_nodes() {
        let node = SampleNode::start_new("web-1").await.unwrap();
        let settings = settings(0, std::slice::from_ref(&node), Path::new("/nowhere")).unwrap();
        let pool = &settings.peer.catalog.pools()[0];
        assert_eq!(pool.nodes[0].address.literal(), Some(node.address()));
        assert_eq!(settings.peer.proxy.listeners[0].pool, pool.name);
        assert_eq!((pool.check.kind.name(), pool.check.interval), ("http", Duration::from_secs(1)));
        assert!(settings.api.listen().ip().is_loopback());
        assert_eq!(settings.log.level, log::Level::Error, "its screen stays readable");
    }
}
