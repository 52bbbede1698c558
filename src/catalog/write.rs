//! A write to the catalog, what becomes of it, and why it may be refused. They travel between peers as JSON.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::json::{Etag, Object};
use super::managed::{Drilling, Progress, Shifting};
use super::resource::{Mode, Name};
use crate::document::Faults;
use crate::election::{Fingerprint, IdempotencyId, WriteKey};
use crate::model::limits::AUTHOR_BYTES_MAX;
use crate::model::{NodeId, PeerId, ServerId};
use crate::wire::ElectorsChange;

/// What is to be changed.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// All that users write, anew. What the cluster manages stays.
    Apply {
        /// What they write.
        desired: Object,
    },
    /// One resource.
    Put {
        /// Which.
        name: Name,
        /// The pool of a node that is new or moves.
        #[serde(default)]
        pool: Option<String>,
        /// What it is to be.
        content: Object,
        /// What if it is there already, or is not.
        mode: Mode,
    },
    /// One resource goes; a pool with its nodes.
    Delete {
        /// Which.
        name: Name,
    },
    /// A node takes no new work and finishes the old.
    Drain {
        /// Which.
        node: NodeId,
        /// How long the old work may take, in milliseconds; `None`: as long as it takes.
        #[serde(default)]
        timeout_ms: Option<u64>,
    },
    /// It takes work again.
    Undrain {
        /// Which.
        node: NodeId,
    },
    /// No node is moved to a server.
    Blacklist {
        /// Which.
        server: ServerId,
        /// For how long, in milliseconds; `None`: until somebody says otherwise.
        #[serde(default)]
        duration_ms: Option<u64>,
        /// Why.
        #[serde(default)]
        reason: String,
    },
    /// Nodes may be moved there again.
    Unblacklist {
        /// Which.
        server: ServerId,
    },
    /// Traffic is held away from a region, or comes back.
    Shift(Shifting),
    /// A drill of a region is held, is over, or is not held.
    Drill(Drilling),
    /// What the leader does with a plan; nobody else writes that.
    Plan(Progress),
    /// A change of electors, which was made, for the history.
    Electors {
        /// Which.
        change: ElectorsChange,
    },
    /// What users wrote is as it was in an earlier revision.
    Rollback {
        /// Which revision.
        revision: u64,
        /// What users wanted then.
        desired: Object,
    },
}

impl Change {
    /// What tells it from another change. Blocks.
    fn fingerprint(&self) -> Fingerprint {
        // It is an object, and has no map whose keys are no texts.
        let mut value = serde_json::to_value(self).unwrap_or_default();
        value.sort_all_objects();
        Fingerprint::of(value.to_string().as_bytes())
    }

    /// Whether it changes what users want; else what is managed over that.
    pub fn is_of_desired(&self) -> bool {
        matches!(self, Self::Apply { .. } | Self::Put { .. } | Self::Delete { .. } | Self::Rollback { .. })
    }

    /// Whether it is the leader's own: so it is done only by the leader that asks for it, and is not one of the changes among which users
    /// look for their own.
    pub fn is_of_leader(&self) -> bool {
        match self {
            Self::Plan(_) | Self::Shift(Shifting::Turn { .. }) => true,
            Self::Drill(drilling) => !drilling.is_by_hand(),
            _ => false,
        }
    }

    /// What it did, in a few words, for the history.
    pub fn summary(&self) -> String {
        match self {
            Self::Apply { .. } => "apply".to_owned(),
            Self::Put { name, mode: Mode::Create, .. } => format!("create {name}"),
            Self::Put { name, .. } => format!("put {name}"),
            Self::Delete { name } => format!("delete {name}"),
            Self::Drain { node, timeout_ms: None } => format!("drain node \"{node}\""),
            Self::Drain { node, timeout_ms: Some(ms) } => {
                format!("drain node \"{node}\" within {} s", Duration::from_millis(*ms).as_secs_f64())
            }
            Self::Undrain { node } => format!("undrain node \"{node}\""),
            Self::Blacklist { server, .. } => format!("blacklist server \"{server}\""),
            Self::Unblacklist { server } => format!("take server \"{server}\" off the blacklist"),
            Self::Shift(shifting) => shifting.summary(),
            Self::Drill(drilling) => drilling.summary(),
            Self::Plan(progress) => progress.summary(),
            Self::Electors { change: ElectorsChange::Add(peer) } => format!("add elector \"{peer}\""),
            Self::Electors { change: ElectorsChange::Remove(peer) } => format!("remove elector \"{peer}\""),
            Self::Rollback { revision, .. } => format!("rollback to revision {revision}"),
        }
    }
}

/// A write.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Write {
    /// What is to be changed.
    pub change: Change,
    /// It is done only while what it is about is still this: the catalog, or the one resource that it names.
    #[serde(default)]
    pub if_match: Option<Etag>,
    /// By this a write that is sent again is known.
    pub id: IdempotencyId,
    /// Who asked, as they said.
    pub by: Author,
    /// The peer that was asked.
    pub via: PeerId,
    /// When, in milliseconds since 1970, as that peer's clock had it.
    pub at_ms: u64,
}

/// A write with the key that its outcome is remembered by.
#[derive(Clone, Debug)]
pub struct Keyed {
    write: Write,
    key: WriteKey,
}

impl Keyed {
    /// A write with its key, which has to be made of all that it changes: this blocks.
    pub fn new(write: Write) -> Self {
        let key = WriteKey { id: write.id.clone(), fingerprint: write.change.fingerprint() };
        Self { write, key }
    }

    /// The write.
    pub fn write(&self) -> &Write {
        &self.write
    }

    /// By what it is known if it is sent again.
    pub fn key(&self) -> &WriteKey {
        &self.key
    }
}

/// Who asked for a write, as they said: at most [`AUTHOR_BYTES_MAX`] bytes, on one line.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Author(String);

impl Author {
    /// This name, cut where it is too long and with nothing in it that would not show on one line.
    pub fn new(name: &str) -> Self {
        let mut shown = String::new();
        for c in name.trim().chars().map(|c| if c.is_control() { '?' } else { c }) {
            if shown.len() + c.len_utf8() > AUTHOR_BYTES_MAX {
                break;
            }
            shown.push(c);
        }
        Self(shown)
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for Author {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self::new(&String::deserialize(deserializer)?))
    }
}

/// A write that is done.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Written {
    /// The revision that has it.
    pub revision: u64,
    /// The ETag of what users want in that revision. Unknown of a write that was sent again.
    pub etag: Option<Etag>,
    /// Whether it changed anything; else the revision is the one that was there.
    pub changed: bool,
    /// Whether it made a resource that was not there. Unknown of a write that was sent again.
    #[serde(default)]
    pub created: bool,
    /// The ETag of the resource that was put, as this revision has it. Unknown of a write that was sent again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource_etag: Option<Etag>,
    /// Whether the peer that was asked serves by it already.
    #[serde(default)]
    pub applied: bool,
    /// The id that it was done under.
    pub id: IdempotencyId,
    /// What is allowed and probably not meant.
    #[serde(default)]
    pub warnings: Vec<String>,
}

/// A write that is not done, and why.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize, thiserror::Error)]
#[serde(rename_all = "snake_case", tag = "refused")]
pub enum WriteRefused {
    /// What it is about is not there.
    #[error("{message}")]
    NotFound {
        /// What is not there.
        message: String,
    },
    /// What it would replace is not there, and it may make nothing.
    #[error("{message}")]
    Missing {
        /// What is not there.
        message: String,
    },
    /// What it would create is there.
    #[error("{message}")]
    Conflict {
        /// What is in the way.
        message: String,
    },
    /// What it is about has changed since it was read.
    #[error("it has changed in between: {}", if etag.is_empty() { "it is not there".to_owned() } else { format!("its ETag is \"{etag}\" now") })]
    Changed {
        /// What it is now; of what is not there nothing.
        etag: String,
    },
    /// Its id belongs to another write, which was done or is under way. Nothing was done for this one.
    #[error("the idempotency id {id} belongs to another write")]
    OtherWrite {
        /// The id.
        id: IdempotencyId,
    },
    /// What it would make is no catalog.
    #[error("{} faults", faults.len())]
    Invalid {
        /// All that is wrong.
        faults: Vec<Wrong>,
    },
    /// What it would make is larger than a catalog may be.
    #[error("the catalog would have {length} bytes, more than a catalog may have")]
    TooLarge {
        /// Bytes that it would have.
        length: usize,
    },
    /// Too many writes wait. Nothing was done.
    #[error("too many writes wait")]
    Busy,
    /// Nobody leads, or whoever leads cannot write. Nothing was done.
    #[error("{message}")]
    Unavailable {
        /// Why.
        message: String,
    },
    /// It reached no majority in time, and may yet be done. Sent again under the same id it is done once.
    #[error("the write reached no majority in time; whether it is done is not known yet")]
    OutcomeUnknown {
        /// The id to send it again under.
        id: IdempotencyId,
    },
    /// The peer that was asked does not lead; for peers among themselves.
    #[error("this peer does not lead")]
    NotLeading,
}

/// One thing that is wrong with a document.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Wrong {
    /// The key: `pool "web" node "web-1" weight`.
    pub key: String,
    /// What stands there; a secret is not shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub found: Option<String>,
    /// What is wrong with it.
    pub wrong: String,
    /// What may stand there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allowed: Option<String>,
    /// What to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl WriteRefused {
    /// Everything that is wrong with a document.
    pub fn invalid(faults: Faults) -> Self {
        let wrong = |fault: crate::document::Fault| Wrong {
            key: fault.key,
            found: fault.found,
            wrong: fault.wrong,
            allowed: fault.allowed,
            hint: fault.hint,
        };
        Self::Invalid { faults: faults.faults.into_iter().map(wrong).collect() }
    }

    /// Whether the same write may be done if it is asked for again.
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::Busy | Self::Unavailable { .. } | Self::OutcomeUnknown { .. } | Self::NotLeading)
    }
}

/// What a leader answers another peer.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It is done.
    Written(Written),
    /// It is not.
    Refused(WriteRefused),
}

impl Outcome {
    /// As it travels.
    pub fn encode(&self) -> Vec<u8> {
        // It has no map whose keys are no texts, so it has a text.
        serde_json::to_vec(self).unwrap_or_default()
    }
}

impl From<Result<Written, WriteRefused>> for Outcome {
    fn from(result: Result<Written, WriteRefused>) -> Self {
        result.map_or_else(Self::Refused, Self::Written)
    }
}

impl From<Outcome> for Result<Written, WriteRefused> {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Written(written) => Ok(written),
            Outcome::Refused(refused) => Err(refused),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Frozen: while peers of two versions run, a write that is sent again through the other one has to be known as the same. A
    /// new field of a change is left out where it says what was so before.
    #[test]
    fn a_change_is_known_again_by_another_version_and_told_from_every_other() {
        let object = |value: serde_json::Value| value.as_object().cloned().unwrap();
        let desired = object(json!({ "pool": [{ "name": "web", "node": [] }] }));
        let turned = object(json!({ "pool": [{ "node": [], "name": "web" }] }));
        let of = |change: &Change| format!("{:?}", change.fingerprint());
        let apply = Change::Apply { desired };
        assert_eq!(of(&apply), of(&Change::Apply { desired: turned }), "keys have no order");
        let node: NodeId = "web-1".parse().unwrap();
        let drain = Change::Drain { node: node.clone(), timeout_ms: Some(5) };
        let longer = Change::Drain { node: node.clone(), timeout_ms: None };
        let all = [of(&apply), of(&drain), of(&longer), of(&Change::Undrain { node })];
        assert_eq!(
            all,
            [
                "Fingerprint(10069840239932301448)",
                "Fingerprint(18405031941351386584)",
                "Fingerprint(8979654832709674457)",
                "Fingerprint(3757603645280461219)"
            ]
        );
    }
}
