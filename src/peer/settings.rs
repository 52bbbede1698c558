//! What one peer is told when it starts.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::cluster::ClusterSettings;
use crate::driver::Kind;
use crate::geo::Geo;
use crate::model::{Catalog, DriverName, PeerId, RegionName};
use crate::proxy;
use crate::tls::Profile;

/// Everything a peer needs, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Its name.
    pub id: PeerId,
    /// Where it is.
    pub region: RegionName,
    /// The folder of what it must remember. It is made where it is missing; no other peer has the same.
    pub data_dir: PathBuf,
    /// The data plane.
    pub proxy: proxy::Settings,
    /// Pools and nodes.
    pub catalog: Catalog,
    /// The same as the document that users write, of which `catalog` is what was read.
    pub desired: Arc<Map<String, Value>>,
    /// Whether the cluster's catalog becomes this one each time it is read anew. Where not, it only starts a new cluster.
    pub follow_file: bool,
    /// Profiles of TLS to nodes, which pools name.
    pub tls: Vec<Profile>,
    /// By what it moves, starts and stops nodes.
    pub drivers: BTreeMap<DriverName, Kind>,
    /// Where addresses are; `None`: nobody says.
    pub geo: Option<Arc<Geo>>,
    /// With whom it shares what it knows; `None`: a cluster of one.
    pub cluster: Option<ClusterSettings>,
}
