//! The environment of the tests themselves.

use std::ffi::OsString;

/// The value of a variable.
#[expect(clippy::disallowed_methods, reason = "the one place where tests read their environment")]
pub fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name)
}

/// Whether tests run at their larger size (`EVENKEEL_SOAK=1`), for hours rather than minutes.
pub fn is_soak() -> bool {
    variable("EVENKEEL_SOAK").is_some_and(|value| !value.is_empty())
}
