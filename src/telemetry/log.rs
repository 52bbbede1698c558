//! The log: one line an event, to standard error.

use std::io::{self, IsTerminal};

use tracing_subscriber::Layer;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;

/// How much is said, and how.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
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

/// The process has a log already: it was set up before, or by the program that Evenkeel is embedded in.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the process has a log already; leave it to whoever set it up")]
pub struct AlreadySet;

/// Sets up the log of the process, to standard error, and sends panics through it. Only the binary calls this: a program
/// that embeds Evenkeel has a log of its own.
pub fn init(settings: &Settings) -> Result<(), AlreadySet> {
    let lines = tracing_subscriber::fmt::layer().with_writer(io::stderr);
    let lines = match settings.format {
        // NO_COLOR is heeded by the layer itself.
        Format::Text if io::stderr().is_terminal() => lines.boxed(),
        Format::Text => lines.with_ansi(false).boxed(),
        Format::Json => lines.json().flatten_event(true).boxed(),
    };
    let subscriber = tracing_subscriber::registry().with(lines.with_filter(filter(settings.level)));
    tracing::subscriber::set_global_default(subscriber).map_err(|_| AlreadySet)?;
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string);
        let payload = panic.payload();
        let text = payload.downcast_ref::<&str>().copied().or(payload.downcast_ref::<String>().map(String::as_str));
        let text = text.unwrap_or("without words");
        tracing::error!(place, "a part of the peer panicked: {text}");
    }));
    Ok(())
}

/// Evenkeel at `level`; what it stands on only where it warns, unless everything was asked for.
fn filter(level: Level) -> Targets {
    let level = match level {
        Level::Trace => LevelFilter::TRACE,
        Level::Debug => LevelFilter::DEBUG,
        Level::Info => LevelFilter::INFO,
        Level::Warn => LevelFilter::WARN,
        Level::Error => LevelFilter::ERROR,
    };
    let others = if level == LevelFilter::TRACE { LevelFilter::DEBUG } else { level.min(LevelFilter::WARN) };
    Targets::new().with_default(others).with_target("evenkeel", level)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_evenkeel_stands_on_speaks_up_only_where_it_warns() {
        for (level, own, others) in [
            (Level::Error, LevelFilter::ERROR, LevelFilter::ERROR),
            (Level::Info, LevelFilter::INFO, LevelFilter::WARN),
            (Level::Debug, LevelFilter::DEBUG, LevelFilter::WARN),
            (Level::Trace, LevelFilter::TRACE, LevelFilter::DEBUG),
        ] {
            let filter = filter(level);
            for step in [tracing::Level::ERROR, tracing::Level::WARN, tracing::Level::INFO, tracing::Level::DEBUG] {
                assert_eq!(filter.would_enable("evenkeel::proxy", &step), step <= own, "{level:?} {step}");
                assert_eq!(filter.would_enable("hyper", &step), step <= others, "{level:?} {step}");
            }
        }
    }
}
