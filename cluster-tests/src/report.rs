//! Figures and remarks of a test, on standard output: `cargo test -- --nocapture` shows them.

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
