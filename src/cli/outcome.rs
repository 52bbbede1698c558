//! How a command ends: what is said of a failure, and the exit code.

use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;

/// Exit code of a command that failed.
const FAILED: u8 = 1;
/// Exit code of wrong usage or settings (`EX_USAGE` of sysexits.h).
pub(super) const USAGE: u8 = 64;

/// Why a command failed.
#[derive(Debug)]
pub(super) enum Failure {
    /// Something went wrong; what to do about it stands below.
    Failed { what: String, hint: String },
    /// Settings are wrong. What is wrong was found by `config` and is shown as it stands.
    Settings(String),
    /// Everything was said already, and the answer is no.
    Told(u8),
    /// Standard output cannot be written.
    Output(io::Error),
}

impl Failure {
    /// Something went wrong: `what`, and what to do about it.
    pub(super) fn new(what: impl Display, hint: impl Display) -> Self {
        Self::Failed { what: what.to_string(), hint: hint.to_string() }
    }

    /// Settings are wrong in ways that were told to standard output.
    pub(super) fn told_settings() -> Self {
        Self::Told(USAGE)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

/// Tells standard error of a failure and makes the exit code.
pub(super) fn exit(done: Result<(), Failure>) -> ExitCode {
    let Err(failure) = done else { return ExitCode::SUCCESS };
    let (code, text) = told(failure);
    if !text.is_empty() {
        // There is nobody left to tell where this fails.
        let _ = writeln!(io::stderr(), "{}", text.trim_end());
    }
    ExitCode::from(code)
}

fn told(failure: Failure) -> (u8, String) {
    match failure {
        Failure::Failed { what, hint } => (FAILED, format!("evenkeel: {what}\n  {hint}")),
        Failure::Settings(faults) => (USAGE, faults),
        Failure::Told(code) => (code, String::new()),
        // Whoever closed the pipe (`| head`) has read enough.
        Failure::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => (0, String::new()),
        Failure::Output(error) => (FAILED, format!("evenkeel: cannot write to standard output: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_are_0_1_and_64() {
        let code = |failure| told(failure).0;
        assert_eq!(code(Failure::new("it broke", "mend it")), 1);
        assert_eq!(code(Failure::Settings("line 3".into())), 64);
        assert_eq!(code(Failure::told_settings()), 64);
        assert_eq!(code(io::Error::from(io::ErrorKind::BrokenPipe).into()), 0);
        assert_eq!(code(io::Error::from(io::ErrorKind::StorageFull).into()), 1);
    }

    #[test]
    fn a_failure_says_what_is_wrong_and_what_to_do() {
        assert_eq!(told(Failure::new("it broke", "mend it")).1, "evenkeel: it broke\n  mend it");
    }
}
