//! The folder in which a peer keeps what must outlive it. One process has it at a time: two that vote by one ballot would
//! each believe that the vote is theirs.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{FlockOperation, flock};

/// The name of the file whose lock is the folder's.
const LOCK: &str = "lock";

/// Why a peer cannot have its folder.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// Another process has it.
    #[error(
        "the data folder {path} is in use by another process; stop that one, or give each peer a folder of its own with \
         [peer] data_dir"
    )]
    InUse {
        /// The folder.
        path: PathBuf,
    },
    /// It cannot be made, or this user may not write there.
    #[error(
        "the data folder {path} cannot be used: {error}; name another one with [peer] data_dir, or let this user write there"
    )]
    Unusable {
        /// The folder.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
}

/// A folder that this process has for itself, for as long as any copy of this lives.
#[derive(Clone, Debug)]
pub struct DataFolder {
    path: PathBuf,
    /// Its lock goes with the file. `None`: see [`DataFolder::failing`].
    _lock: Option<Arc<File>>,
    failing: Option<Arc<str>>,
}

impl DataFolder {
    /// Takes the folder, and makes it where it is not there, for this user alone.
    ///
    /// A disk that is full, broken or mounted for reading alone is no reason not to serve traffic: the folder is had then,
    /// [`DataFolder::failing`] says what is wrong, and whoever writes there finds out each time.
    pub fn take(path: &Path) -> Result<Self, FolderError> {
        let folder = |lock, failing| Self { path: path.to_path_buf(), _lock: lock, failing };
        let lock = match Self::lock_file(path) {
            Ok(lock) => lock,
            Err(error) if is_of_disk(&error) => return Ok(folder(None, Some(Arc::from(error.to_string())))),
            Err(error) => return Err(FolderError::Unusable { path: path.to_path_buf(), error }),
        };
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(folder(Some(Arc::new(lock)), None)),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(FolderError::InUse { path: path.to_path_buf() }),
            Err(error) => Err(FolderError::Unusable { path: path.to_path_buf(), error: error.into() }),
        }
    }

    fn lock_file(path: &Path) -> io::Result<File> {
        DirBuilder::new().recursive(true).mode(0o700).create(path)?;
        let lock = path.join(LOCK);
        OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&lock)?;
        // A file that is open for writing would keep the disk from being mounted for reading alone.
        File::open(lock)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What is wrong with the disk, where it was found wrong when the folder was taken.
    pub fn failing(&self) -> Option<&str> {
        self.failing.as_deref()
    }

    /// A folder in it, made where it is not there; that it cannot be made is found out by whoever writes there.
    pub fn inner(&self, name: &str) -> PathBuf {
        let path = self.path.join(name);
        let _ = fs::create_dir(&path);
        path
    }
}

/// Whether that is the disk's fault and may pass, rather than a wrong name or missing rights.
fn is_of_disk(error: &io::Error) -> bool {
    // EIO has no kind of its own.
    let is_broken = error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error());
    is_broken
        || matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::ReadOnlyFilesystem | ErrorKind::QuotaExceeded)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_folder_is_made_for_this_user_alone_and_had_by_one_at_a_time() {
        let outer = tempfile::tempdir().unwrap();
        let path = outer.path().join("state/ams-1");
        let folder = DataFolder::take(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
        let copy = folder.clone();
        drop(folder);
        let error = DataFolder::take(&path).unwrap_err().to_string();
        assert!(error.contains("in use") && error.contains("[peer] data_dir"), "{error}");
        drop(copy);
        DataFolder::take(&path).unwrap();
    }

    #[test]
    fn a_folder_that_cannot_be_is_refused_with_a_hint() {
        let outer = tempfile::tempdir().unwrap();
        let file = outer.path().join("file");
        fs::write(&file, "").unwrap();
        let error = DataFolder::take(&file.join("ams-1")).unwrap_err().to_string();
        assert!(error.contains("cannot be used") && error.contains("[peer] data_dir"), "{error}");
    }

    #[test]
    fn a_failing_disk_is_told_from_a_wrong_name() {
        for (errno, of_disk) in [
            (rustix::io::Errno::NOSPC, true),
            (rustix::io::Errno::ROFS, true),
            (rustix::io::Errno::DQUOT, true),
            (rustix::io::Errno::IO, true),
            (rustix::io::Errno::ACCESS, false),
            (rustix::io::Errno::NOTDIR, false),
        ] {
            assert_eq!(is_of_disk(&errno.into()), of_disk, "{errno}");
        }
    }
}
