//! The catalog as the cluster agrees on it: what users want, what is managed over it, and who changed what.
//!
//! Pure: a body and a write make the next body, or the reason why not.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::json::{self, Etag, JsonError, Object};
use super::managed::Managed;
use super::resource::{self, Kind, Name, ResourceError};
use super::rules::{self, Read, Unknown};
use super::write::{Author, Change, Write, WriteRefused, Wrong};
use crate::document::{Faults, Warning};
use crate::model::limits::{HISTORY_MAX, VALUE_BODY_BYTES_MAX};
use crate::model::{Catalog, NodeId, PeerId, ServerId};

/// The catalog of a cluster at one revision. What a later version wrote beside what this one knows is kept.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Body {
    /// What users want, in the words of a settings file.
    #[serde(default)]
    pub desired: Object,
    /// What the cluster and its operators did since.
    #[serde(default)]
    pub managed: Managed,
    /// The last changes, the newest last.
    #[serde(default)]
    pub history: Vec<Record>,
    /// What this version does not know.
    #[serde(flatten)]
    pub other: Object,
}

/// Who changed what, when, and through which peer.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Record {
    /// The revision that it made.
    pub revision: u64,
    /// When, in milliseconds since 1970, as the clock of the peer that was asked had it.
    pub at_ms: u64,
    /// Who, as they said.
    pub by: Author,
    /// Through which peer.
    pub via: PeerId,
    /// What, in a few words.
    pub what: String,
    /// The ETag of what users wanted from then on.
    pub etag: Etag,
    /// What this version does not know.
    #[serde(flatten)]
    pub other: Object,
}

/// What comes of a write.
#[derive(Clone, Debug, PartialEq)]
pub enum Next {
    /// Nothing: all is as it asks for.
    Same {
        /// The ETag of the resource that was put.
        resource: Option<Etag>,
        /// What is allowed and probably not meant.
        warnings: Vec<Warning>,
    },
    /// The next body.
    Changed {
        /// It.
        body: Box<Body>,
        /// Its bytes.
        bytes: Vec<u8>,
        /// Whether it has a resource that was not there.
        created: bool,
        /// The ETag of the resource that was put.
        resource: Option<Etag>,
        /// What is allowed and probably not meant.
        warnings: Vec<Warning>,
    },
}

/// What a body means to a peer that serves by it.
#[derive(Clone, Debug)]
pub struct Meaning {
    /// Pools and nodes, as managed.
    pub catalog: Catalog,
    /// What is allowed and probably not meant.
    pub warnings: Vec<Warning>,
}

impl Body {
    /// The first body of a cluster: what the file of the peer says that leads first.
    pub fn first(desired: Object, own: &PeerId, at_ms: u64) -> Self {
        let etag = Etag::of(&desired);
        let by = Author::new("settings file");
        let what = "first catalog".to_owned();
        let first = Record { revision: 1, at_ms, by, via: own.clone(), what, etag, other: Object::new() };
        Self { desired, history: vec![first], ..Self::default() }
    }

    /// The body that these bytes are.
    pub fn parse(bytes: &[u8]) -> Result<Self, JsonError> {
        let object = json::parse(bytes)?;
        serde_json::from_value(Value::Object(object)).map_err(|error| JsonError::Unreadable(error.to_string()))
    }

    /// Its bytes, canonical.
    pub fn encode(&self) -> Vec<u8> {
        match serde_json::to_value(self) {
            Ok(Value::Object(object)) => json::canonical(&object),
            // A body is an object, and its keys are texts.
            _ => Vec::new(),
        }
    }

    /// The ETag of what users want.
    pub fn etag(&self) -> Etag {
        Etag::of(&self.desired)
    }

    /// What it means. Another peer has committed it, so keys that this version does not know are no fault.
    pub fn meaning(&self) -> Result<Meaning, Faults> {
        let read = rules::read(&self.desired, Unknown::Kept)?;
        let mut catalog = read.catalog;
        self.managed.over(&mut catalog);
        Ok(Meaning { catalog, warnings: read.warnings })
    }

    /// What becomes of it by this write, as revision `revision`.
    pub fn after(&self, write: &Write, revision: u64) -> Result<Next, WriteRefused> {
        self.match_etag(write)?;
        let mut desired = self.desired.clone();
        let mut managed = self.managed.clone();
        match &write.change {
            Change::Apply { desired: new } | Change::Rollback { desired: new, .. } => desired.clone_from(new),
            Change::Put { name, pool, content, mode } => {
                resource::put(&mut desired, name, pool.as_deref(), content.clone(), *mode)
                    .map_err(|error| refused(&error))?;
            }
            Change::Delete { name } => resource::delete(&mut desired, name).map_err(|error| refused(&error))?,
            Change::Drain { node, timeout_ms } => {
                self.node(node)?;
                managed.drain(node, *timeout_ms, revision, write);
            }
            Change::Undrain { node } => {
                self.node(node)?;
                managed.undrain(node);
            }
            Change::Unblacklist { server } => {
                self.server(server)?;
                managed.servers.remove(server);
            }
            Change::Blacklist { server, duration_ms, reason } => {
                self.server(server)?;
                let until_ms = duration_ms.map(|duration_ms| write.at_ms.saturating_add(duration_ms));
                managed.blacklist(server, until_ms, reason, write);
            }
            Change::Electors { .. } | Change::Shift(_) | Change::Drill(_) | Change::Plan(_) => {}
        }
        let Read { mut catalog, warnings, .. } = self.check(&desired)?;
        if write.change.is_of_desired() {
            let name = |id: &NodeId| Name { kind: Kind::Node, id: id.to_string() };
            let is_new = |id: &NodeId| resource::find(&self.desired, &name(id)).is_none();
            let taken = catalog.nodes().find(|(_, node)| managed.started.contains_key(&node.id) && is_new(&node.id));
            if let Some((_, node)) = taken {
                let message = format!("node \"{}\" was started by the cluster, and its name is taken", node.id);
                return Err(WriteRefused::Conflict { message });
            }
        }
        managed.prune(&catalog);
        managed.with_started(&mut catalog);
        match &write.change {
            Change::Plan(progress) => managed.progress(progress, revision, write, &catalog)?,
            Change::Shift(shifting) => managed.shift(shifting, revision, write, &catalog)?,
            Change::Drill(drilling) => managed.drill(drilling, revision, write, &catalog)?,
            _ => {}
        }
        let resource = match &write.change {
            Change::Put { name, .. } => resource::find(&desired, name).map(|(_, resource)| Etag::of(resource)),
            _ => None,
        };
        let is_record = matches!(write.change, Change::Electors { .. });
        if !is_record
            && managed.says_the_same(&self.managed)
            && json::canonical(&desired) == json::canonical(&self.desired)
        {
            return Ok(Next::Same { resource, warnings });
        }
        let record = Record {
            revision,
            at_ms: write.at_ms,
            by: write.by.clone(),
            via: write.via.clone(),
            what: write.change.summary(),
            etag: Etag::of(&desired),
            other: Object::new(),
        };
        let record = (!write.change.is_of_leader()).then_some(record);
        let skipped = (self.history.len() + record.iter().len()).saturating_sub(HISTORY_MAX);
        let history = self.history.iter().skip(skipped).cloned().chain(record).collect();
        let body = Self { desired, managed, history, other: self.other.clone() };
        let bytes = body.encode();
        if bytes.len() > VALUE_BODY_BYTES_MAX {
            return Err(WriteRefused::TooLarge { length: bytes.len() });
        }
        let created = match &write.change {
            Change::Put { name, .. } => resource::find(&self.desired, name).is_none(),
            _ => false,
        };
        Ok(Next::Changed { body: Box::new(body), bytes, created, resource, warnings })
    }

    /// Whether what the write is about is still what its sender has read.
    fn match_etag(&self, write: &Write) -> Result<(), WriteRefused> {
        let Some(expected) = write.if_match else { return Ok(()) };
        let name = match &write.change {
            Change::Apply { .. }
            | Change::Rollback { .. }
            | Change::Electors { .. }
            | Change::Shift(_)
            | Change::Drill(_)
            | Change::Plan(_) => None,
            Change::Put { name, .. } | Change::Delete { name } => Some(name.clone()),
            Change::Drain { node, .. } | Change::Undrain { node } => {
                Some(Name { kind: Kind::Node, id: node.to_string() })
            }
            Change::Blacklist { server, .. } | Change::Unblacklist { server } => {
                Some(Name { kind: Kind::Server, id: server.to_string() })
            }
        };
        let now = match &name {
            None => Some(self.etag()),
            Some(name) => resource::find(&self.desired, name).map(|(_, resource)| Etag::of(resource)),
        };
        match now {
            Some(now) if now == expected => Ok(()),
            Some(now) => Err(WriteRefused::Changed { etag: now.to_string() }),
            None => Err(WriteRefused::Changed { etag: String::new() }),
        }
    }

    fn node(&self, node: &NodeId) -> Result<(), WriteRefused> {
        let name = Name { kind: Kind::Node, id: node.to_string() };
        match resource::find(&self.desired, &name) {
            Some(_) => Ok(()),
            None if self.managed.started.contains_key(node) => Ok(()),
            None => Err(refused(&ResourceError::NotFound(name))),
        }
    }

    fn server(&self, server: &ServerId) -> Result<(), WriteRefused> {
        let name = Name { kind: Kind::Server, id: server.to_string() };
        match resource::find(&self.desired, &name) {
            Some(_) => Ok(()),
            None => Err(refused(&ResourceError::NotFound(name))),
        }
    }

    /// What the rules say of a document that shall take the place of this one. What was unknown before and is unknown still
    /// is no fault.
    pub fn check(&self, desired: &Object) -> Result<Read, WriteRefused> {
        let read = match rules::read(desired, Unknown::Refused) {
            Ok(read) => return Ok(read),
            Err(faults) => match rules::read(&self.desired, Unknown::Kept) {
                Ok(before) if !before.unknown.is_empty() => rules::read(desired, Unknown::KeptOf(&before.unknown)),
                _ => Err(faults),
            },
        };
        read.map_err(WriteRefused::invalid)
    }
}

fn refused(error: &ResourceError) -> WriteRefused {
    let message = error.to_string();
    match error {
        ResourceError::NotFound(_) => WriteRefused::NotFound { message },
        ResourceError::NothingToReplace(_) => WriteRefused::Missing { message },
        ResourceError::Exists(_) => WriteRefused::Conflict { message },
        ResourceError::OtherName { kind, .. } => WriteRefused::Invalid {
            faults: vec![Wrong {
                key: kind.id_key().to_owned(),
                found: None,
                wrong: message,
                allowed: None,
                hint: Some("leave it out, or write the name that is asked for".to_owned()),
            }],
        },
        ResourceError::PoolMissing(_) => WriteRefused::Invalid {
            faults: vec![Wrong {
                key: "pool".to_owned(),
                found: None,
                wrong: message,
                allowed: None,
                hint: Some("put it to /api/v1/pools/{pool}/nodes, or name a pool".to_owned()),
            }],
        },
    }
}

#[cfg(test)]
mod tests;
