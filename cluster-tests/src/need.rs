//! What a machine must offer for a test: where it is missing the test is skipped at home, which everybody sees, and fails in CI.

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
    let path = crate::environment::variable("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(SYSTEM_FOLDERS.iter().map(PathBuf::from))
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
}

/// Says for all to see why this test is skipped; fails where `CI=true` promises that nothing is missing.
#[track_caller]
pub fn missing(reason: &str) {
    let promised = crate::environment::variable("CI").is_some_and(|value| value == "true");
    assert!(!promised, "{reason}, and CI=true promises that no test is skipped");
    // The harness names a test's thread after the test.
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    crate::report::proclaim(&format!("skipped {test}: {reason}"));
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

#[cfg(test)]
mod tests {
    use std::process::{Command, Output};

    use super::*;

    #[test]
    #[ignore = "the test below runs it and looks at what it prints"]
    fn needs_what_no_machine_has() {
        assert_eq!(program("a-program-that-no-machine-has"), None);
    }

    fn run(ci: Option<&str>) -> (Output, String) {
        let mut harness = Command::new(std::env::current_exe().expect("a process knows its program"));
        harness.args(["--exact", "need::tests::needs_what_no_machine_has", "--ignored"]).env_remove("CI");
        let output = harness.envs(ci.map(|ci| ("CI", ci))).output().expect("the harness runs");
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        (output, told)
    }

    #[test]
    fn a_skipped_test_is_seen_at_home_and_fails_in_ci() {
        let (output, told) = run(None);
        assert!(output.status.success());
        let line = "skipped need::tests::needs_what_no_machine_has: a-program-that-no-machine-has is not installed\n";
        assert_eq!(told, line, "told though the test passes");
        let (output, _) = run(Some("true"));
        assert!(!output.status.success(), "CI=true takes no skip");
    }
}
