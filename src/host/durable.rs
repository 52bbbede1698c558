//! Small files that must survive a crash at any moment: read whole, replaced whole.
//!
//! A file is written beside its place under another name, brought to the disk, renamed into its place, and the folder is
//! brought to the disk. So after a crash the old content stands there or the new one, and never a part of either. What was
//! read may still have been bent by the disk or by hand: whoever keeps something here adds a checksum.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Why a file cannot be read or replaced, with the file and what can be done.
#[derive(Debug, thiserror::Error)]
pub enum DurableError {
    /// It has more bytes than it can have.
    #[error("{path}: it has more than {max} bytes, so it was not written by this program")]
    TooLong {
        /// The file.
        path: PathBuf,
        /// Bytes that are allowed.
        max: usize,
    },
    /// It is there and cannot be read.
    #[error("{path}: cannot be read: {error}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// It cannot be replaced; the content of before stands there still.
    #[error("{path}: cannot be written: {error}")]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
}

/// A file that is replaced whole. It blocks: never on a thread that keeps time.
#[derive(Clone, Debug)]
pub struct DurableFile {
    path: PathBuf,
    bytes_max: usize,
}

impl DurableFile {
    /// The file of this name in a folder that exists, of at most so many bytes.
    pub fn new(folder: &Path, name: &str, bytes_max: usize) -> Self {
        Self { path: folder.join(name), bytes_max }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What it holds; `None` where it is not there.
    pub fn read(&self) -> Result<Option<Vec<u8>>, DurableError> {
        let failed = |error| DurableError::Read { path: self.path.clone(), error };
        let file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        let mut bytes = Vec::new();
        file.take(self.bytes_max as u64 + 1).read_to_end(&mut bytes).map_err(failed)?;
        if bytes.len() > self.bytes_max {
            return Err(DurableError::TooLong { path: self.path.clone(), max: self.bytes_max });
        }
        Ok(Some(bytes))
    }

    /// Replaces what it holds. When this returns, the new content is on disk.
    pub fn replace(&self, bytes: &[u8]) -> Result<(), DurableError> {
        if bytes.len() > self.bytes_max {
            return Err(DurableError::TooLong { path: self.path.clone(), max: self.bytes_max });
        }
        self.try_replace(bytes).map_err(|error| DurableError::Write { path: self.path.clone(), error })
    }

    fn try_replace(&self, bytes: &[u8]) -> io::Result<()> {
        let folder = self.path.parent().unwrap_or(Path::new("."));
        let mut beside = self.path.clone().into_os_string();
        beside.push(".new");
        let beside = PathBuf::from(beside);
        let written = (|| {
            let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
            file.write_all(bytes)?;
            file.sync_all()
        })();
        let renamed = written.and_then(|()| fs::rename(&beside, &self.path));
        if renamed.is_err() {
            // What is half there helps nobody, and on a full disk it is in the way.
            let _ = fs::remove_file(&beside);
        }
        renamed?;
        File::open(folder)?.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn a_file_that_is_not_there_is_none_and_one_that_was_replaced_is_what_it_was_replaced_by() {
        let folder = tempfile::tempdir().unwrap();
        let file = DurableFile::new(folder.path(), "ballot", 8);
        assert_eq!(file.read().unwrap(), None);
        file.replace(b"one").unwrap();
        file.replace(b"two").unwrap();
        assert_eq!(file.read().unwrap().as_deref(), Some(&b"two"[..]));
        let names: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["ballot"], "nothing is left beside it");
        assert_eq!(fs::metadata(file.path()).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn more_bytes_than_allowed_are_neither_written_nor_read() {
        let folder = tempfile::tempdir().unwrap();
        let file = DurableFile::new(folder.path(), "ballot", 4);
        file.replace(b"four").unwrap();
        assert!(matches!(file.replace(b"fives"), Err(DurableError::TooLong { max: 4, .. })));
        assert_eq!(file.read().unwrap().as_deref(), Some(&b"four"[..]));
        fs::write(file.path(), b"fives").unwrap();
        assert!(matches!(file.read(), Err(DurableError::TooLong { max: 4, .. })));
    }

    #[test]
    fn what_a_crash_left_beside_it_is_no_content_and_does_not_hinder() {
        let folder = tempfile::tempdir().unwrap();
        let file = DurableFile::new(folder.path(), "ballot", 8);
        file.replace(b"old").unwrap();
        fs::write(folder.path().join("ballot.new"), b"half").unwrap();
        assert_eq!(file.read().unwrap().as_deref(), Some(&b"old"[..]));
        file.replace(b"new").unwrap();
        assert_eq!(file.read().unwrap().as_deref(), Some(&b"new"[..]));
    }

    #[test]
    fn where_it_cannot_be_replaced_the_old_content_stays_and_the_error_names_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let gone = DurableFile::new(&folder.path().join("gone"), "ballot", 8);
        let error = gone.replace(b"new").unwrap_err().to_string();
        assert!(error.contains("gone/ballot: cannot be written"), "{error}");
        assert_eq!(gone.read().unwrap(), None);

        // A folder stands where the new content would be written: that fails for root, too.
        let file = DurableFile::new(folder.path(), "ballot", 8);
        file.replace(b"old").unwrap();
        fs::create_dir(folder.path().join("ballot.new")).unwrap();
        assert!(matches!(file.replace(b"new"), Err(DurableError::Write { .. })));
        assert_eq!(file.read().unwrap().as_deref(), Some(&b"old"[..]));
    }

    #[test]
    fn a_disk_that_is_full_keeps_the_old_content() {
        let folder = tempfile::tempdir().unwrap();
        let file = DurableFile::new(folder.path(), "ballot", 8);
        file.replace(b"old").unwrap();
        // Every write to it says that no space is left.
        symlink("/dev/full", folder.path().join("ballot.new")).unwrap();
        let error = file.replace(b"new").unwrap_err().to_string();
        assert!(error.contains("No space left"), "{error}");
        assert_eq!(file.read().unwrap().as_deref(), Some(&b"old"[..]));
    }

    #[test]
    fn what_is_there_and_cannot_be_read_is_an_error_and_not_an_absence() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("ballot")).unwrap();
        let file = DurableFile::new(folder.path(), "ballot", 8);
        let error = file.read().unwrap_err().to_string();
        assert!(error.contains("ballot: cannot be read"), "{error}");
    }
}
