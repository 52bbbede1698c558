//! What a test says beside its verdict: figures on standard output, which `cargo test -- --nocapture` shows, and what nobody
//! may overlook on the standard error of the whole run.

use std::io::Write;

/// Prints one line.
#[expect(clippy::print_stdout, reason = "figures are what some tests are run for")]
pub fn line(text: &str) {
    println!("{text}");
}

/// Prints `name: value`.
pub fn figure(name: &str, value: impl std::fmt::Display) {
    line(&format!("{name}: {value}"));
}

/// Prints a line on standard error, for what explains a failure.
#[expect(clippy::print_stderr, reason = "a failure is explained where the harness shows it")]
pub fn complain(text: &str) {
    eprintln!("{text}");
}

/// Writes a line to the standard error of the whole run. What a test prints by macro is kept back while the test passes, and
/// a test that was skipped passes: whoever reads the run has to see it all the same.
pub fn proclaim(text: &str) {
    // One write, so that lines of tests that run at once do not mix. Without a standard error there is nobody to tell.
    let _ = std::io::stderr().write_all(format!("{text}\n").as_bytes());
}
