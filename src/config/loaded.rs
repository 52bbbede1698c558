//! What loading gives beside the settings: what is worth a word, and where every value came from.

use std::fmt;

use serde::Serialize;

use super::fault::Faults;
use super::origin::Origin;
use super::settings::Settings;

/// Settings that may be started.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The settings.
    pub settings: Settings,
    /// What is allowed and probably not meant.
    pub warnings: Vec<Warning>,
    /// Every setting that has an effect, with its origin, in the order of the reference; of nodes only what was set.
    pub values: Vec<Setting>,
}

/// Settings that may not be started.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Refused {
    /// What is wrong.
    pub faults: Faults,
    /// What is allowed and probably not meant, as far as it could be read.
    pub warnings: Vec<Warning>,
}

/// Warnings, a line each, then the faults.
impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for warning in &self.warnings {
            writeln!(f, "warning: {warning}")?;
        }
        if !self.warnings.is_empty() {
            writeln!(f)?;
        }
        self.faults.fmt(f)
    }
}

impl std::error::Error for Refused {}

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
