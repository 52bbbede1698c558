//! The files that settings were read from, watched for changes. Their folders are watched and not they themselves: files are
//! replaced by a rename, and as Kubernetes does it by another target of a link beside them, which leaves the old file as it was.
//!
//! That something happened in a folder is a reason to look; only a file that is another one than before is a change.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use notify::event::{AccessKind, AccessMode};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::Notify;
use tokio::time::timeout;

/// A file counts as written once its folder was still for so long: whoever writes several of them is given the time.
const QUIET: Duration = Duration::from_millis(300);
/// A folder in which something always happens is not waited for longer.
const LOUD_MAX: Duration = Duration::from_secs(3);

/// What tells a file from the one that was there before; `None`: it cannot be seen.
type Stamp = Option<(u64, u64, u64, i64, i64)>;

fn stamp(path: &Path) -> Stamp {
    let of = |file: Metadata| (file.dev(), file.ino(), file.size(), file.mtime(), file.mtime_nsec());
    std::fs::metadata(path).ok().map(of)
}

/// Files that are watched.
pub(super) struct Watch {
    /// `None`: this machine does not tell; a signal still has everything read again.
    watcher: Option<RecommendedWatcher>,
    folders: BTreeSet<PathBuf>,
    woken: Arc<Notify>,
    files: BTreeMap<PathBuf, Stamp>,
}

impl Watch {
    pub(super) fn new() -> Self {
        let woken = Arc::new(Notify::new());
        let wake = Arc::clone(&woken);
        let watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            // Files that are only read are no reason; where events were lost it is better to look.
            if event.is_ok_and(|event| is_of_reading(event.kind)) {
                return;
            }
            wake.notify_one();
        });
        let watcher = watcher.map_err(|error| tell(&error)).ok();
        Self { watcher, folders: BTreeSet::new(), woken, files: BTreeMap::new() }
    }

    /// Watches these files, and those of before no longer. One that was watched before is another one where it has changed
    /// since [`Watch::look`].
    pub(super) fn follow<'p>(&mut self, files: impl Iterator<Item = &'p Path>) {
        let before = std::mem::take(&mut self.files);
        let stamped = files.map(|file| (file.to_owned(), before.get(file).copied().unwrap_or_else(|| stamp(file))));
        self.files = stamped.collect();
        let Some(watcher) = &mut self.watcher else { return };
        let folders: BTreeSet<PathBuf> = self.files.keys().flat_map(|file| folders(file)).collect();
        for folder in self.folders.difference(&folders) {
            // It may be gone, and with it what watched it.
            let _ = watcher.unwatch(folder);
        }
        for folder in folders.difference(&self.folders) {
            if let Err(error) = watcher.watch(folder, RecursiveMode::NonRecursive) {
                tell(&error);
            }
        }
        self.folders = folders;
    }

    /// What the files are now counts as seen.
    pub(super) fn look(&mut self) {
        self.files.iter_mut().for_each(|(file, seen)| *seen = stamp(file));
    }

    /// Waits until a file is another one than when it was seen last.
    pub(super) async fn changed(&mut self) {
        loop {
            self.woken.notified().await;
            let quiet = async { while timeout(QUIET, self.woken.notified()).await.is_ok() {} };
            // Over or not, it is looked now.
            let _ = timeout(LOUD_MAX, quiet).await;
            if self.files.iter().any(|(file, seen)| stamp(file) != *seen) {
                return;
            }
        }
    }
}

fn is_of_reading(kind: EventKind) -> bool {
    matches!(kind, EventKind::Access(how) if how != AccessKind::Close(AccessMode::Write))
}

/// Where a change of a file shows: its folder, and that of the file that it leads to.
fn folders(file: &Path) -> impl Iterator<Item = PathBuf> {
    let of = |file: &Path| {
        let folder = file.parent()?;
        Some(if folder.as_os_str().is_empty() { PathBuf::from(".") } else { folder.to_owned() })
    };
    let target = file.canonicalize().ok().and_then(|target| of(&target));
    of(file).into_iter().chain(target)
}

fn tell(error: &notify::Error) {
    tracing::warn!(%error, "changed files are not noticed by themselves; SIGHUP has everything read again");
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn sees(watch: &mut Watch, change: impl FnOnce()) {
        change();
        timeout(Duration::from_secs(30), watch.changed()).await.expect("a change is seen");
        watch.look();
    }

    #[tokio::test]
    async fn a_file_that_is_written_replaced_or_led_elsewhere_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        // As Kubernetes mounts a secret.
        for version in ["v1", "v2"] {
            std::fs::create_dir(at(version)).unwrap();
            std::fs::write(at(version).join("tls.crt"), version).unwrap();
        }
        std::os::unix::fs::symlink("v1", at("..data")).unwrap();
        std::os::unix::fs::symlink("..data/tls.crt", at("tls.crt")).unwrap();
        std::fs::write(at("plain"), "1").unwrap();

        let mut watch = Watch::new();
        let (plain, linked) = (at("plain"), at("tls.crt"));
        watch.follow([plain.as_path(), linked.as_path()].into_iter());
        sees(&mut watch, || std::fs::write(&plain, "22").unwrap()).await;
        sees(&mut watch, || {
            std::fs::write(at("new"), "333").unwrap();
            std::fs::rename(at("new"), &plain).unwrap();
        })
        .await;
        sees(&mut watch, || {
            std::os::unix::fs::symlink("v2", at("..new")).unwrap();
            std::fs::rename(at("..new"), at("..data")).unwrap();
        })
        .await;
        sees(&mut watch, || std::fs::remove_file(&plain).unwrap()).await;
        sees(&mut watch, || std::fs::write(&plain, "4").unwrap()).await;
    }

    #[tokio::test]
    async fn what_else_happens_in_the_folder_is_no_change() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("evenkeel.toml");
        std::fs::write(&file, "1").unwrap();
        let mut watch = Watch::new();
        watch.follow([file.as_path()].into_iter());
        std::fs::write(folder.path().join("other"), "2").unwrap();
        std::fs::read(&file).unwrap();
        assert!(timeout(3 * QUIET, watch.changed()).await.is_err());
    }
}
