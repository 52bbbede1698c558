//! The programs under test: `evenkeel`, built once a test process with the profile of the tests, and our own `test-node`.

use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use serde_json::Value;

/// Names a binary to test instead of the one built from this source.
const OVERRIDE: &str = "EVENKEEL_TEST_BINARY";

/// The `evenkeel` binary, built when first asked for.
pub fn evenkeel() -> PathBuf {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| std::env::var_os(OVERRIDE).map_or_else(|| build(Build::LikeTests), PathBuf::from)).clone()
}

/// The `test-node` binary, which cargo built beside the tests.
pub fn test_node() -> PathBuf {
    let own = std::env::current_exe().expect("a process knows its program");
    let near = own.ancestors().skip(1).take(2).map(|folder| folder.join("test-node")).find(|file| file.is_file());
    near.expect("cargo builds test-node before the tests of its package")
}

/// How `evenkeel` is built.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Build {
    /// With the profile of the tests, and with the features that the workspace gives its dependencies together: so most of it
    /// was built already.
    LikeTests,
    /// As its users get it.
    Release,
}

/// Builds `evenkeel` and asks cargo where it is.
pub fn build(how: Build) -> PathBuf {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.current_dir(env!("CARGO_MANIFEST_DIR")).args([
        "build",
        "--quiet",
        "--bin",
        "evenkeel",
        "--message-format=json",
    ]);
    match how {
        Build::LikeTests if cfg!(debug_assertions) => command.arg("--workspace"),
        Build::LikeTests => command.args(["--workspace", "--release"]),
        Build::Release => command.args(["--package", "evenkeel", "--release"]),
    };
    let output = command.output().expect("cargo runs");
    assert!(output.status.success(), "evenkeel does not build:\n{}", String::from_utf8_lossy(&output.stderr));
    let lines = String::from_utf8_lossy(&output.stdout);
    let executable = lines
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|message| message["reason"] == "compiler-artifact" && message["target"]["name"] == "evenkeel")
        .find_map(|message| message["executable"].as_str().map(PathBuf::from));
    executable.expect("cargo names the executable it built")
}
