//! What a machine must offer for a test: a missing server skips the test at home and fails it in CI.

use std::path::PathBuf;

/// Where Debian keeps servers that are not on an ordinary user's `PATH`.
const SYSTEM_FOLDERS: [&str; 4] = ["/usr/sbin", "/usr/local/sbin", "/sbin", "/usr/bin"];

/// The program of this name; without it a line says so, and the test is to return. With `CI=true` that is a failure.
#[track_caller]
pub fn program(name: &str) -> Option<PathBuf> {
    let found = find(name);
    if found.is_none() {
        missing(&format!("{name} is not installed"));
    }
    found
}

/// The program of this name on `PATH` or in the folders of system servers, without a word.
pub fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(SYSTEM_FOLDERS.iter().map(PathBuf::from))
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
}

/// Says why a test is skipped; fails where `CI=true` promises that everything is there.
#[track_caller]
pub fn missing(reason: &str) {
    let promised = std::env::var_os("CI").is_some_and(|value| value == "true");
    assert!(!promised, "{reason}, and CI=true promises that it is");
    crate::report::line(&format!("skipped: {reason}"));
}

/// Raises this process's limit of open files to at least `count`; `false`, with a line that says so, where it may not.
#[track_caller]
pub fn open_files(count: u64) -> bool {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let raised = rustix::process::Rlimit { current: limit.maximum, maximum: limit.maximum };
    let enough = limit.maximum.is_none_or(|maximum| maximum >= count)
        && rustix::process::setrlimit(rustix::process::Resource::Nofile, raised).is_ok();
    if !enough {
        missing(&format!("only {:?} open files are allowed, {count} are needed", limit.maximum));
    }
    enough
}
