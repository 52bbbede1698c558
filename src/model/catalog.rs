//! The cluster's desired state, whole and consistent.

use std::collections::HashSet;

use super::id::{NodeId, PoolName, RegionName, RouteName, ServerId};
use super::limits::{NODES_MAX, POOLS_MAX, REGIONS_MAX, ROUTES_MAX, SERVERS_MAX};
use super::pool::{Node, Pool};
use super::region::Region;
use super::route::Route;
use super::server::Server;
use super::shift::{Shift, ShiftPolicy};

/// Why parts do not make a catalog.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum CatalogError {
    /// Two pools of one name.
    #[error("pool {0} stands there twice")]
    PoolTwice(PoolName),
    /// Two nodes of one id, in one pool or in two.
    #[error("node {0} stands there twice; a node id is unique in the cluster")]
    NodeTwice(NodeId),
    /// More than [`POOLS_MAX`].
    #[error("{0} pools are more than the {POOLS_MAX} allowed")]
    PoolsTooMany(usize),
    /// More than [`NODES_MAX`].
    #[error("{0} nodes are more than the {NODES_MAX} allowed")]
    NodesTooMany(usize),
    /// Two regions of one name.
    #[error("region {0} stands there twice")]
    RegionTwice(RegionName),
    /// More than [`REGIONS_MAX`].
    #[error("{0} regions are more than the {REGIONS_MAX} allowed")]
    RegionsTooMany(usize),
    /// Two servers of one id.
    #[error("server {0} stands there twice")]
    ServerTwice(ServerId),
    /// More than [`SERVERS_MAX`].
    #[error("{0} servers are more than the {SERVERS_MAX} allowed")]
    ServersTooMany(usize),
    /// Two routes of one name.
    #[error("route {0} stands there twice")]
    RouteTwice(RouteName),
    /// More than [`ROUTES_MAX`].
    #[error("{0} routes are more than the {ROUTES_MAX} allowed")]
    RoutesTooMany(usize),
    /// A route to a pool that is not there.
    #[error("route {0} leads to pool {1}, and there is no such pool")]
    RouteToNowhere(RouteName, PoolName),
    /// A node on a server that is not there.
    #[error("node {0} stands on server {1}, and there is no such server")]
    NodeOnNoServer(NodeId, ServerId),
    /// A route to a node that is not there.
    #[error("route {0} leads to node {1}, and there is no such node")]
    RouteToNoNode(RouteName, NodeId),
}

/// What a catalog is made of.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CatalogParts {
    /// The pools.
    pub pools: Vec<Pool>,
    /// Regions of which something is said.
    pub regions: Vec<Region>,
    /// What nodes can be moved between.
    pub servers: Vec<Server>,
    /// Where requests go.
    pub routes: Vec<Route>,
    /// When traffic is held away from regions.
    pub shift_policy: ShiftPolicy,
    /// From which it is.
    pub shifts: Vec<Shift>,
}

/// Pools with unique names, of nodes with unique ids; regions, servers and routes with unique names, and routes that lead to
/// one of the pools.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Catalog(CatalogParts);

impl Catalog {
    /// A catalog of these pools alone.
    pub fn new(pools: Vec<Pool>) -> Result<Self, CatalogError> {
        Self::of(CatalogParts { pools, ..CatalogParts::default() })
    }

    /// A catalog of these parts.
    pub fn of(parts: CatalogParts) -> Result<Self, CatalogError> {
        let CatalogParts { pools, regions, servers, routes, .. } = &parts;
        if pools.len() > POOLS_MAX {
            return Err(CatalogError::PoolsTooMany(pools.len()));
        }
        let nodes = pools.iter().map(|pool| pool.nodes.len()).sum();
        if nodes > NODES_MAX {
            return Err(CatalogError::NodesTooMany(nodes));
        }
        let mut names = HashSet::new();
        let mut ids = HashSet::new();
        for pool in pools {
            if !names.insert(&pool.name) {
                return Err(CatalogError::PoolTwice(pool.name.clone()));
            }
            if let Some(node) = pool.nodes.iter().find(|node| !ids.insert(&node.id)) {
                return Err(CatalogError::NodeTwice(node.id.clone()));
            }
        }
        if regions.len() > REGIONS_MAX {
            return Err(CatalogError::RegionsTooMany(regions.len()));
        }
        if servers.len() > SERVERS_MAX {
            return Err(CatalogError::ServersTooMany(servers.len()));
        }
        if routes.len() > ROUTES_MAX {
            return Err(CatalogError::RoutesTooMany(routes.len()));
        }
        let mut seen = HashSet::new();
        if let Some(region) = regions.iter().find(|region| !seen.insert(&region.name)) {
            return Err(CatalogError::RegionTwice(region.name.clone()));
        }
        let mut seen = HashSet::new();
        if let Some(server) = servers.iter().find(|server| !seen.insert(&server.id)) {
            return Err(CatalogError::ServerTwice(server.id.clone()));
        }
        let on = |node: &Node| node.server.clone().filter(|server| !seen.contains(server));
        let nodes = pools.iter().flat_map(|pool| &pool.nodes);
        if let Some((node, server)) = nodes.filter_map(|node| Some((node, on(node)?))).next() {
            return Err(CatalogError::NodeOnNoServer(node.id.clone(), server));
        }
        let mut seen = HashSet::new();
        if let Some(route) = routes.iter().find(|route| !seen.insert(&route.name)) {
            return Err(CatalogError::RouteTwice(route.name.clone()));
        }
        for route in routes {
            if let Some(pool) = route.then.pools().find(|pool| !names.contains(pool)) {
                return Err(CatalogError::RouteToNowhere(route.name.clone(), pool.clone()));
            }
            if let Some(node) = route.then.node().filter(|node| !ids.contains(node)) {
                return Err(CatalogError::RouteToNoNode(route.name.clone(), node.clone()));
            }
        }
        Ok(Self(parts))
    }

    /// The pools, in the order in which they were written.
    pub fn pools(&self) -> &[Pool] {
        &self.0.pools
    }

    /// The regions of which something is said.
    pub fn regions(&self) -> &[Region] {
        &self.0.regions
    }

    /// What nodes can be moved between.
    pub fn servers(&self) -> &[Server] {
        &self.0.servers
    }

    /// Where requests go, in the order in which they were written.
    pub fn routes(&self) -> &[Route] {
        &self.0.routes
    }

    /// When traffic is held away from regions.
    pub fn shift_policy(&self) -> &ShiftPolicy {
        &self.0.shift_policy
    }

    /// The regions from which traffic is held away.
    pub fn shifts(&self) -> &[Shift] {
        &self.0.shifts
    }

    /// The server of this id.
    pub fn server(&self, id: &ServerId) -> Option<&Server> {
        self.0.servers.iter().find(|server| server.id == *id)
    }

    /// Whether a node is said to be there, or users say something of it.
    pub fn has_region(&self, name: &RegionName) -> bool {
        self.0.regions.iter().any(|region| region.name == *name)
            || self.nodes().any(|(_, node)| node.region.as_ref() == Some(name))
    }

    /// The same, where traffic is held away from these regions.
    pub fn set_shifts(&mut self, shifts: Vec<Shift>) {
        self.0.shifts = shifts;
    }

    /// One node more. False where there is one of this id, no such pool, or no room.
    pub fn add_node(&mut self, pool: &PoolName, node: Node) -> bool {
        if self.nodes().any(|(_, known)| known.id == node.id) || self.nodes().count() >= NODES_MAX {
            return false;
        }
        let Some(pool) = self.0.pools.iter_mut().find(|known| known.name == *pool) else { return false };
        pool.nodes.push(node);
        true
    }

    /// The pool of this name.
    pub fn pool(&self, name: &PoolName) -> Option<&Pool> {
        self.0.pools.iter().find(|pool| pool.name == *name)
    }

    /// Changes nodes in place; their ids stay.
    pub fn change_nodes(&mut self, change: impl Fn(&mut Node)) {
        for node in self.0.pools.iter_mut().flat_map(|pool| &mut pool.nodes) {
            let id = node.id.clone();
            change(node);
            node.id = id;
        }
    }

    /// Every node with its pool.
    pub fn nodes(&self) -> impl Iterator<Item = (&Pool, &Node)> {
        self.0.pools.iter().flat_map(|pool| pool.nodes.iter().map(move |node| (pool, node)))
    }
}
