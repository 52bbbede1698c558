//! What settings are made of: a file, the environment, flags, and what the machine says of itself. Only the two
//! `of_process` functions here look at the real ones.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use super::file;
use super::state_folder::StateFolder;
use crate::document::{Description, Outside};
use crate::model::PeerId;

/// Everything that settings are read from. The default is nothing at all, not even of the machine: see
/// [`Sources::of_process`].
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// The settings file. None: the one that `EVENKEEL_CONFIG` names, if it is set.
    pub file: Option<PathBuf>,
    /// The environment, which overrides the file.
    pub environment: Environment,
    /// The flags, which override both.
    pub flags: Flags,
    /// What stands in for the rest.
    pub machine: Machine,
}

impl Sources {
    /// This file and these flags, with the environment and the machine of this process.
    pub fn of_process(file: Option<PathBuf>, flags: Flags) -> Self {
        let environment = Environment::of_process();
        let machine = Machine::of_process(&environment);
        Self { file, environment, flags, machine }
    }

    /// The settings file, if there is one.
    pub fn file(&self) -> Option<&Path> {
        self.file.as_deref().or_else(|| self.environment.get(super::FILE_VARIABLE).map(Path::new))
    }
}

impl Outside for Sources {
    fn variable(&self, name: &str) -> Option<&str> {
        self.environment.get(name)
    }

    fn inherited(&self, section: &str, key: &str) -> Option<&'static str> {
        (section == "log" && key == "level").then_some("LOG_LEVEL")
    }

    fn flag(&self, section: &str, key: &str) -> Option<(&'static str, Option<&str>)> {
        self.flags.of(section, key)
    }

    fn describe(&self) -> Description {
        file::describe()
    }
}

/// Values of flags as written; `None`: the flag was not given.
#[derive(Clone, Debug, Default)]
pub struct Flags {
    /// `--id`: `peer.id`.
    pub id: Option<String>,
    /// `--region`: `peer.region`.
    pub region: Option<String>,
    /// `--api-listen`: `api.listen`.
    pub api_listen: Option<String>,
    /// `--log-level`: `log.level`.
    pub log_level: Option<String>,
    /// `--cluster-listen`: `cluster.listen`.
    pub cluster_listen: Option<String>,
    /// `--seeds`: `cluster.seeds`.
    pub seeds: Option<String>,
    /// `--key-file`: `cluster.key_file`.
    pub key_file: Option<String>,
}

impl Flags {
    /// The flag that sets this key, and its value if it was given.
    fn of(&self, section: &str, key: &str) -> Option<(&'static str, Option<&str>)> {
        let (name, value) = match (section, key) {
            ("peer", "id") => ("--id", &self.id),
            ("peer", "region") => ("--region", &self.region),
            ("api", "listen") => ("--api-listen", &self.api_listen),
            ("log", "level") => ("--log-level", &self.log_level),
            ("cluster", "listen") => ("--cluster-listen", &self.cluster_listen),
            ("cluster", "seeds") => ("--seeds", &self.seeds),
            ("cluster", "key_file") => ("--key-file", &self.key_file),
            _ => return None,
        };
        Some((name, value.as_deref()))
    }
}

/// Variables of the environment. An empty one counts as not set, which is what a template with nothing to fill in leaves.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    values: BTreeMap<String, String>,
    unreadable: BTreeSet<String>,
}

impl Environment {
    /// The environment of this process.
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
    pub fn of_process() -> Self {
        let mut environment = Self::default();
        for (name, value) in std::env::vars_os() {
            // A name that is no text cannot be one of ours.
            let Ok(name) = name.into_string() else { continue };
            match value.into_string() {
                Ok(value) => {
                    environment.values.insert(name, value);
                }
                Err(_) => {
                    environment.unreadable.insert(name);
                }
            }
        }
        environment
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// The names that are set, in order.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.values.iter().filter(|(_, value)| !value.is_empty()).map(|(name, _)| name.as_str())
    }

    /// The names whose values are not UTF-8.
    pub(super) fn unreadable(&self) -> impl Iterator<Item = &str> {
        self.unreadable.iter().map(String::as_str)
    }
}

impl<N: Into<String>, V: Into<String>> FromIterator<(N, V)> for Environment {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(variables: I) -> Self {
        let values = variables.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        Self { values, unreadable: BTreeSet::new() }
    }
}

/// What a machine says of itself. The default is a machine that says nothing: id `peer`, one core, no
/// folder of state.
#[derive(Clone, Debug)]
pub struct Machine {
    /// Its host name made into a peer id.
    pub peer_id: PeerId,
    /// Its cores, as far as this process may use them.
    pub cores: NonZeroUsize,
    /// Where it keeps what peers remember.
    pub state: StateFolder,
}

impl Machine {
    /// The machine that this process runs on, with this environment.
    pub fn of_process(environment: &Environment) -> Self {
        // Where there is no such file the id is "peer", and settings say another.
        let host_name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        Self {
            peer_id: peer_id_of(&host_name),
            cores: std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN),
            state: StateFolder::told(environment, is_writable),
        }
    }
}

impl Default for Machine {
    fn default() -> Self {
        Self { peer_id: peer_id_of(""), cores: NonZeroUsize::MIN, state: StateFolder::Beside }
    }
}

/// Whether this user can write into this folder, or make it.
fn is_writable(folder: &Path) -> bool {
    use rustix::fs::{Access, access};
    let place = if folder.exists() { Some(folder) } else { folder.parent() };
    place.is_some_and(|place| access(place, Access::WRITE_OK | Access::EXEC_OK).is_ok())
}

/// The peer id that a host name makes: in lower case, up to its first dot, other characters as `-`.
fn peer_id_of(host_name: &str) -> PeerId {
    let label = host_name.trim().split('.').next().unwrap_or_default();
    let made: String = label
        .chars()
        .map(|c| c.to_ascii_lowercase())
        .map(|c| if c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' { c } else { '-' })
        .take(crate::model::limits::ID_BYTES_MAX)
        .collect();
    let made = made.trim_matches(['-', '_']);
    made.parse().or_else(|_| "peer".parse()).expect("`peer` is a legal id")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_name_makes_a_legal_peer_id() {
        for (host_name, id) in [
            ("Ams-1\n", "ams-1"),
            ("web_7.internal.example", "web_7"),
            ("büro", "b-ro"),
            ("---", "peer"),
            ("", "peer"),
            (&"x".repeat(100), &"x".repeat(63)),
        ] {
            assert_eq!(peer_id_of(host_name).as_str(), id);
        }
    }
}
