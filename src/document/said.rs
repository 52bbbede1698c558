//! What reading says beside faults: where every value came from, and what is worth a word.

use std::fmt;

use serde::Serialize;

use super::origin::Origin;

/// A setting, as a user would write it. Of a secret it only says that it is there.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Setting {
    /// The whole key: `upstream.idle_timeout`, `pool "web" node "web-1" weight`.
    pub key: String,
    /// What it is.
    pub value: String,
    /// Where that comes from.
    pub origin: Origin,
}

/// Something that is allowed and probably not meant.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Warning {
    /// Where it stands.
    pub origin: Origin,
    /// What it is about; empty: the settings as a whole.
    pub key: String,
    /// What follows from it.
    pub message: String,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.origin, self.key.is_empty()) {
            (Origin::Default | Origin::Machine, true) => f.write_str(&self.message),
            (Origin::Default | Origin::Machine, false) => write!(f, "{}: {}", self.key, self.message),
            (origin, true) => write!(f, "{origin}: {}", self.message),
            (origin, false) => write!(f, "{origin}: {}: {}", self.key, self.message),
        }
    }
}
