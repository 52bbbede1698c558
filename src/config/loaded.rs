//! What loading gives: settings, or what is wrong with them.

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;

use super::settings::Settings;
use crate::document::{Faults, Setting, Warning};

/// Settings that may be started.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The settings.
    pub settings: Settings,
    /// What is allowed and probably not meant.
    pub warnings: Vec<Warning>,
    /// Every setting that has an effect, with its origin, in the order of the reference; of nodes only what was set.
    pub values: Vec<Setting>,
    /// The files with certificates and keys that were read beside it.
    pub files: BTreeSet<PathBuf>,
}

/// Settings that may not be started.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Refused {
    /// What is wrong.
    pub faults: Faults,
    /// What is allowed and probably not meant, as far as it could be read.
    pub warnings: Vec<Warning>,
    /// The files with certificates and keys that it names, as far as it could be read.
    pub files: BTreeSet<PathBuf>,
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
