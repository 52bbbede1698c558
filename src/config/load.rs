//! Temporary: the names that the command line calls.

use std::fmt;
use std::path::PathBuf;

use super::Settings;

/// Where settings come from, in rising order.
#[derive(Debug)]
pub struct Sources {
    /// The file.
    pub file: Option<PathBuf>,
    /// The environment.
    pub environment: Environment,
    /// The flags.
    pub flags: Flags,
}

/// The environment.
#[derive(Debug, Default)]
pub struct Environment;

impl Environment {
    /// That of this process.
    pub fn of_process() -> Self {
        Self
    }
}

/// Flags of `run`.
#[derive(Debug, Default)]
pub struct Flags {
    /// `--id`
    pub id: Option<String>,
    /// `--region`
    pub region: Option<String>,
    /// `--api-listen`
    pub api_listen: Option<String>,
    /// `--log-level`
    pub log_level: Option<String>,
}

/// Settings, and what to warn of.
#[derive(Debug)]
pub struct Loaded {
    /// The settings.
    pub settings: Settings,
    /// Warnings.
    pub warnings: Vec<String>,
}

/// Every fault.
#[derive(Debug, serde::Serialize)]
pub struct Faults(Vec<String>);

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("\n"))
    }
}

/// Loads everything.
#[expect(clippy::needless_pass_by_value, reason = "the real one takes them apart")]
pub fn load(sources: Sources) -> Result<Loaded, Faults> {
    Err(Faults(vec![format!("{sources:?}")]))
}
