//! What users wanted in the last revisions, each in a file that is named after its ETag, so that a rollback has something to
//! go back to. Every call blocks.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use super::json::{self, Etag, Object};
use crate::host::DurableFile;
use crate::model::limits::VALUE_BODY_BYTES_MAX;

const DESIRED: &str = "desired-";

/// The files.
#[derive(Clone, Debug)]
pub struct Versions {
    folder: PathBuf,
}

impl Versions {
    /// Those in this folder.
    pub fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// Keeps what users want now, and of what they wanted before only what is named.
    pub fn keep(&self, desired: &Object, named: &BTreeSet<Etag>) -> Result<(), String> {
        if let Ok(entries) = fs::read_dir(&self.folder) {
            for entry in entries.flatten() {
                let name = entry.file_name();
                let etag = name.to_str().and_then(|name| name.strip_prefix(DESIRED)?.parse::<Etag>().ok());
                if etag.is_some_and(|etag| !named.contains(&etag)) {
                    // One that stays is tried again the next time.
                    let _ = fs::remove_file(entry.path());
                }
            }
        }
        let etag = Etag::of(desired);
        if self.get(etag).is_some() {
            return Ok(());
        }
        self.file(etag).replace(&json::canonical(desired)).map_err(|error| error.to_string())
    }

    /// What users wanted then; `None` where this peer has not got it, or not any more.
    pub fn get(&self, etag: Etag) -> Option<Object> {
        let desired = json::parse(&self.file(etag).read().ok()??).ok()?;
        (Etag::of(&desired) == etag).then_some(desired)
    }

    fn file(&self, etag: Etag) -> DurableFile {
        DurableFile::new(&self.folder, &format!("{DESIRED}{etag}"), VALUE_BODY_BYTES_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn desired(number: u32) -> Object {
        json::parse(format!("{{\"x\":{number}}}").as_bytes()).unwrap()
    }

    #[test]
    fn what_is_named_is_kept_and_the_rest_goes() {
        let folder = tempfile::tempdir().unwrap();
        let versions = Versions::new(folder.path().to_path_buf());
        let etags: Vec<Etag> = (0..5).map(|number| Etag::of(&desired(number))).collect();
        for number in 0..5 {
            let named = etags[number.max(2) - 2..=number].iter().copied().collect();
            versions.keep(&desired(u32::try_from(number).unwrap()), &named).unwrap();
        }
        let kept: Vec<bool> = etags.iter().map(|etag| versions.get(*etag).is_some()).collect();
        assert_eq!(kept, [false, false, true, true, true]);
    }

    #[test]
    fn what_is_damaged_is_not_had() {
        let folder = tempfile::tempdir().unwrap();
        let versions = Versions::new(folder.path().to_path_buf());
        let etag = Etag::of(&desired(1));
        versions.keep(&desired(1), &[etag].into()).unwrap();
        let path = folder.path().join(format!("{DESIRED}{etag}"));
        fs::write(&path, "{\"x\":2}").unwrap();
        assert_eq!(versions.get(etag), None);
        versions.keep(&desired(1), &[etag].into()).unwrap();
        assert_eq!(versions.get(etag), Some(desired(1)), "it is written anew");
    }
}
