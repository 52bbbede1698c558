//! Where a value stands.

use std::fmt;
use std::sync::Arc;

use serde::Serialize;

/// Where a value stands, from the weakest to the strongest: a later one overrides an earlier one.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(tag = "from", rename_all = "snake_case")]
pub enum Origin {
    /// Nobody set it.
    Default,
    /// Nobody set it, and this machine says what it is: its host name, its cores.
    Machine,
    /// The settings file.
    File {
        /// As the user named it.
        #[serde(serialize_with = "as_text")]
        path: Arc<str>,
        /// Counted from 1; 0: the file as a whole.
        line: u32,
    },
    /// The catalog of the cluster, or what somebody wants it to be.
    Catalog,
    /// A variable of the environment.
    Environment {
        /// Its name.
        name: String,
    },
    /// A flag of the command line.
    Flag {
        /// With its dashes.
        name: &'static str,
    },
}

fn as_text<S: serde::Serializer>(text: &Arc<str>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(text)
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::Machine => f.write_str("this machine"),
            Self::File { path, line: 0 } => f.write_str(path),
            Self::File { path, line } => write!(f, "{path} line {line}"),
            Self::Catalog => f.write_str("the catalog"),
            Self::Environment { name } => write!(f, "environment {name}"),
            Self::Flag { name } => write!(f, "flag {name}"),
        }
    }
}
