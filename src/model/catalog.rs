//! The cluster's desired state, whole and consistent.

use std::collections::HashSet;

use super::id::{NodeId, PoolName};
use super::limits::{NODES_MAX, POOLS_MAX};
use super::pool::{Node, Pool};

/// Why pools do not make a catalog.
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
}

/// Pools with unique names, of nodes with unique ids.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Catalog {
    pools: Vec<Pool>,
}

impl Catalog {
    /// A catalog of these pools.
    pub fn new(pools: Vec<Pool>) -> Result<Self, CatalogError> {
        if pools.len() > POOLS_MAX {
            return Err(CatalogError::PoolsTooMany(pools.len()));
        }
        let nodes = pools.iter().map(|pool| pool.nodes.len()).sum();
        if nodes > NODES_MAX {
            return Err(CatalogError::NodesTooMany(nodes));
        }
        let mut names = HashSet::new();
        let mut ids = HashSet::new();
        for pool in &pools {
            if !names.insert(&pool.name) {
                return Err(CatalogError::PoolTwice(pool.name.clone()));
            }
            if let Some(node) = pool.nodes.iter().find(|node| !ids.insert(&node.id)) {
                return Err(CatalogError::NodeTwice(node.id.clone()));
            }
        }
        Ok(Self { pools })
    }

    /// The pools, in the order of the file.
    pub fn pools(&self) -> &[Pool] {
        &self.pools
    }

    /// The pool of this name.
    pub fn pool(&self, name: &PoolName) -> Option<&Pool> {
        self.pools.iter().find(|pool| pool.name == *name)
    }

    /// Every node with its pool.
    pub fn nodes(&self) -> impl Iterator<Item = (&Pool, &Node)> {
        self.pools.iter().flat_map(|pool| pool.nodes.iter().map(move |node| (pool, node)))
    }
}
