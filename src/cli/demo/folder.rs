//! The folder in which the peers of a demo keep what they must remember. It goes with the demo.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// A folder that is removed when this is dropped.
#[derive(Debug)]
pub(super) struct Folder(PathBuf);

impl Folder {
    /// A new one below the machine's folder for what is temporary, which nobody else may read.
    pub(super) fn new() -> io::Result<Self> {
        /// As many demos of one process id may have ended without removing theirs.
        const LEFT_OVER_MAX: u32 = 100;
        let mut left_over = 0;
        loop {
            let name = format!("evenkeel-demo-{}-{left_over}", std::process::id());
            let path = std::env::temp_dir().join(name);
            match DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => return Ok(Self(path)),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists && left_over < LEFT_OVER_MAX => {
                    left_over += 1;
                }
                Err(error) => return Err(error),
            }
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What cannot be removed is left to the machine, which empties that folder now and then.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_goes_with_all_that_is_in_it() {
        let (one, other) = (Folder::new().unwrap(), Folder::new().unwrap());
        assert_ne!(one.path(), other.path());
        let path = one.path().to_owned();
        std::fs::create_dir(path.join("demo-1")).unwrap();
        std::fs::write(path.join("demo-1/vote"), "x").unwrap();
        drop(one);
        assert!(!path.exists() && other.path().exists());
    }
}
