//! The folder in which a peer remembers what it must, where the settings name none.

use std::path::{Path, PathBuf};

use super::sources::Environment;
use crate::model::PeerId;

/// Where packages and services keep such folders.
const OF_MACHINE: &str = "/var/lib/evenkeel";

/// Where a machine keeps what programs remember.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum StateFolder {
    /// This folder is for one peer alone: whoever starts it says so, as systemd does.
    Own(PathBuf),
    /// This folder is for all peers here; each has one of its name in it.
    Shared(PathBuf),
    /// The machine names none: a folder beside where the peer is started, with its name.
    Beside,
}

impl StateFolder {
    /// What the environment says, and whether a folder can be written or made there.
    pub(super) fn told(environment: &Environment, is_writable: impl Fn(&Path) -> bool) -> Self {
        // systemd names several with colons between them; the first is the one of the service.
        let own = environment.get("STATE_DIRECTORY").and_then(|folders| folders.split(':').find(|of| !of.is_empty()));
        if let Some(own) = own {
            return Self::Own(PathBuf::from(own));
        }
        if is_writable(Path::new(OF_MACHINE)) {
            return Self::Shared(PathBuf::from(OF_MACHINE));
        }
        // A relative path there is to be ignored (XDG Base Directory Specification).
        let absolute = |name: &str| environment.get(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let of_user = absolute("XDG_STATE_HOME").or_else(|| Some(absolute("HOME")?.join(".local/state")));
        of_user.map_or(Self::Beside, |of_user| Self::Shared(of_user.join("evenkeel")))
    }

    /// The folder of this peer.
    pub fn of(&self, id: &PeerId) -> PathBuf {
        match self {
            Self::Own(folder) => folder.clone(),
            Self::Shared(folder) => folder.join(id.as_str()),
            Self::Beside => PathBuf::from(format!("evenkeel-{id}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_folder_that_is_named_or_can_be_written_is_taken() {
        let user = [("XDG_STATE_HOME", "/home/a/state"), ("HOME", "/home/a")];
        for (variables, is_writable, folder) in [
            (&[("STATE_DIRECTORY", "/var/lib/ek:/var/lib/other"), user[0]][..], true, "/var/lib/ek"),
            (&user[..], true, "/var/lib/evenkeel/ams-1"),
            (&user[..], false, "/home/a/state/evenkeel/ams-1"),
            (&user[1..], false, "/home/a/.local/state/evenkeel/ams-1"),
            (&[("XDG_STATE_HOME", "relative"), user[1]][..], false, "/home/a/.local/state/evenkeel/ams-1"),
            (&[("STATE_DIRECTORY", ":"), ("HOME", "")][..], false, "evenkeel-ams-1"),
        ] {
            let environment: Environment = variables.iter().copied().collect();
            let told = StateFolder::told(&environment, |_| is_writable);
            assert_eq!(told.of(&"ams-1".parse().unwrap()), Path::new(folder));
        }
    }
}
