//! The catalog that a peer serves by.

use std::sync::Arc;

use super::body::Body;
use super::json::{Etag, Object};
use super::write::WriteRefused;
use crate::document::Warning;
use crate::model::{Catalog, Revision};

/// The catalog that a peer serves by at this moment.
#[derive(Clone, Debug)]
pub struct Applied {
    /// Where it comes from.
    pub source: Source,
    /// Pools and nodes, as managed.
    pub catalog: Arc<Catalog>,
    /// What is allowed and probably not meant.
    pub warnings: Arc<[Warning]>,
    /// A newer one is committed, and why this peer cannot serve by it. It goes on with this one.
    pub behind: Option<Behind>,
}

/// Where a catalog comes from.
#[derive(Clone, Debug)]
pub enum Source {
    /// This peer's own file: the cluster has not committed a first one yet.
    File {
        /// What users want, as the file has it.
        desired: Arc<Object>,
    },
    /// The cluster.
    Committed {
        /// Its revision.
        revision: Revision,
        /// All of it.
        body: Arc<Body>,
        /// Its ETag.
        etag: Etag,
    },
}

/// A committed catalog that cannot be served by.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Behind {
    /// Its revision.
    pub revision: Revision,
    /// Why.
    pub why: String,
}

impl Applied {
    /// The revision, once the cluster has committed one.
    pub fn revision(&self) -> Option<Revision> {
        match &self.source {
            Source::File { .. } => None,
            Source::Committed { revision, .. } => Some(*revision),
        }
    }

    /// What this peer would put into the place of what is applied, were it asked for this: what is wrong with it, if anything.
    /// Blocks.
    pub fn check(&self, desired: &Object) -> Result<Vec<Warning>, WriteRefused> {
        let read = match &self.source {
            Source::File { desired: now } => Body { desired: (**now).clone(), ..Body::default() }.check(desired),
            Source::Committed { body, .. } => body.check(desired),
        };
        read.map(|read| read.warnings)
    }

    /// What users want.
    pub fn desired(&self) -> &Object {
        match &self.source {
            Source::File { desired } => desired,
            Source::Committed { body, .. } => &body.desired,
        }
    }
}
