//! The log: one line an event, to standard error.

/// How much is said, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// What is said at least.
    pub level: Level,
    /// How a line looks.
    pub format: Format,
}

/// What is said at least.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Level {
    /// Everything.
    Trace,
    /// Much.
    Debug,
    /// What an operator wants to have read later.
    #[default]
    Info,
    /// What an operator should look at.
    Warn,
    /// What is broken.
    Error,
}

/// How a line looks.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Format {
    /// For people; in colour on a terminal.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

impl Default for Settings {
    fn default() -> Self {
        Self { level: Level::default(), format: Format::default() }
    }
}
