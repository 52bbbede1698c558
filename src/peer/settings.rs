//! What one peer is told when it starts.

use super::cluster::ClusterSettings;
use crate::model::{Catalog, PeerId, RegionName};
use crate::proxy;

/// Everything a peer needs, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Its name.
    pub id: PeerId,
    /// Where it is.
    pub region: RegionName,
    /// The data plane.
    pub proxy: proxy::Settings,
    /// Pools and nodes.
    pub catalog: Catalog,
    /// With whom it shares what it knows; `None`: a cluster of one.
    pub cluster: Option<ClusterSettings>,
}
