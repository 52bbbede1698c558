//! The environment of the tests themselves.

use std::ffi::OsString;

/// The value of a variable.
#[expect(clippy::disallowed_methods, reason = "the one place where tests read their environment")]
pub fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name)
}
