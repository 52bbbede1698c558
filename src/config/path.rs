//! Paths of files and folders of this machine, as settings name them.

use std::path::PathBuf;

use crate::document::{Words, Wrong, quoted};

/// What Linux takes at the most (`PATH_MAX` with its final NUL).
const PATH_BYTES_MAX: usize = 4_095;

/// The path of a file.
pub(super) const FILE: Words<PathBuf> = Words::of("the path of a file", path, |path| quoted(&path.display()));

/// The path of a folder.
pub(super) const FOLDER: Words<PathBuf> = Words { allowed: "the path of a folder", ..FILE };

/// The path of a folder that is told to others than this process, and so from the root.
pub(super) const FOLDER_FROM_ROOT: Words<PathBuf> = Words {
    allowed: "the path of a folder, from / on",
    parse: |text| if text.starts_with('/') { path(text) } else { Err(Wrong::new("it does not begin with /")) },
    ..FILE
};

fn path(text: &str) -> Result<PathBuf, Wrong> {
    if text.is_empty() {
        Err(Wrong::new("it is empty"))
    } else if text.contains('\0') {
        Err(Wrong::new("it has a NUL character, which no path has"))
    } else if text.len() > PATH_BYTES_MAX {
        Err(Wrong::new(format!("it is longer than {PATH_BYTES_MAX} bytes")))
    } else {
        Ok(PathBuf::from(text))
    }
}
