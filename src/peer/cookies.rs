//! Where the keys come from by which cookies of sticky sessions are signed.

use super::cluster::ClusterSettings;
use crate::host::{DataFolder, DurableError, DurableFile};
use crate::link::{ClusterKey, KeyRing, TrustSource};
use crate::model::limits::KEY_FILE_BYTES_MAX;

/// The file in the data folder with the key of a peer that has none in common with others.
const FILE: &str = "cookie.key";

/// The keys that all peers of the cluster have; `None`: they have none in common.
pub(super) fn shared(cluster: Option<&ClusterSettings>) -> Option<&KeyRing> {
    let cluster = cluster?;
    match (&cluster.cookie_keys, &cluster.trust) {
        (Some(ring), _) | (None, TrustSource::Keys(ring)) => Some(ring),
        (None, TrustSource::Authority(_)) => None,
    }
}

/// The key of this peer alone, made when it is needed first. Where the disk does not keep it, sessions end with the process. Blocks.
pub(super) fn own(folder: &DataFolder) -> Option<KeyRing> {
    let file = DurableFile::new(folder.path(), FILE, KEY_FILE_BYTES_MAX);
    match file.read() {
        Ok(None) => {}
        Ok(Some(bytes)) => match std::str::from_utf8(&bytes).ok().and_then(|text| KeyRing::parse(text).ok()) {
            Some(ring) => return Some(ring),
            None => tracing::warn!(
                file = %file.path().display(),
                "it holds no key: a new one signs the cookies of sticky sessions, and those of before are not believed"
            ),
        },
        Err(error @ DurableError::TooLong { .. }) => {
            tracing::warn!(%error, "a new key signs the cookies of sticky sessions, and those of before are not believed");
        }
        // The key may stand there still, and be read at the next start.
        Err(error) => {
            tracing::warn!(%error, "until this process ends another key signs the cookies of sticky sessions; the file stays as it is");
            return ClusterKey::generate().map(KeyRing::of);
        }
    }
    let key = ClusterKey::generate()?;
    if let Err(error) = file.replace(format!("{}\n", *key.to_text()).as_bytes()) {
        tracing::warn!(%error, "sticky sessions by cookie end when this process does");
    }
    Some(KeyRing::of(key))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_peer_that_is_alone_has_the_same_key_after_a_restart_and_a_new_one_where_the_file_was_bent() {
        let folder = tempfile::tempdir().unwrap();
        let folder = DataFolder::take(folder.path()).unwrap();
        let first = own(&folder).unwrap();
        assert_eq!(own(&folder).unwrap(), first);
        fs::write(folder.path().join(FILE), b"\xff").unwrap();
        let second = own(&folder).unwrap();
        assert_ne!(second, first);
        assert_eq!(own(&folder).unwrap(), second);
    }

    #[test]
    fn a_key_that_cannot_be_read_at_this_start_is_there_at_the_next_one() {
        let folder = tempfile::tempdir().unwrap();
        let folder = DataFolder::take(folder.path()).unwrap();
        let first = own(&folder).unwrap();
        let (file, elsewhere) = (folder.path().join(FILE), folder.path().join("elsewhere"));
        // A link that leads in a circle cannot be opened, by root neither, and could be replaced.
        fs::rename(&file, &elsewhere).unwrap();
        std::os::unix::fs::symlink(&file, &file).unwrap();
        let meanwhile = own(&folder).unwrap();
        assert_ne!(meanwhile, first);
        assert!(fs::symlink_metadata(&file).unwrap().is_symlink(), "nothing was written over it");
        fs::rename(&elsewhere, &file).unwrap();
        assert_eq!(own(&folder).unwrap(), first);
    }
}
