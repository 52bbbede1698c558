//! What happened, a line an event, and all of it as one number.

use std::fmt::Display;
use std::hash::Hasher;
use std::time::Duration;

use xxhash_rust::xxh3::Xxh3Default;

use crate::report;

/// The lines so far.
#[derive(Default)]
pub struct Trace {
    hash: Xxh3Default,
    is_quiet: bool,
}

impl Trace {
    /// An empty one. A quiet one prints nothing but its figures; its number is the same.
    pub fn new(is_quiet: bool) -> Self {
        Self { is_quiet, ..Self::default() }
    }

    /// Something happened.
    pub fn event(&mut self, at: Duration, what: &impl Display) {
        let line = format!("{:>9} {what}", at.as_millis());
        self.hash.write(line.as_bytes());
        self.hash.write_u8(b'\n');
        if !self.is_quiet {
            report::line(&line);
        }
    }

    /// Something was measured.
    pub fn figure(&mut self, name: &str, value: &impl Display) {
        let line = format!("{name}: {value}");
        self.hash.write(line.as_bytes());
        report::line(&line);
    }

    /// All of it, with what `more` stands for, as one number.
    pub fn number(&self, more: u64) -> u64 {
        let mut hash = self.hash.clone();
        hash.write_u64(more);
        hash.finish()
    }
}
