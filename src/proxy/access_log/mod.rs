//! The access log: a line for each request and each TCP connection, written by a thread of its own.
//!
//! A worker makes the line at the end of an exchange and hands it over without waiting; where the queue is full it is dropped
//! and counted. A line is one line of valid UTF-8 whatever a client sent: see `escape`.

mod destination;
mod escape;
mod format;
mod line;
mod note;
mod sink;
mod writer;

use std::sync::Arc;

pub use destination::{Destination, DestinationError, Facility};
pub use format::{Format, FormatError};
pub(crate) use line::{Asked, Record, Tls};
pub(crate) use note::{End, Note};
pub(crate) use writer::Writer;
pub use writer::{Counts, OpenError};

use super::listen::{BindError, Bound};
use super::settings::Listener;
use crate::host::Dice;

/// What a listener logs, and where.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// How a line looks.
    pub format: Format,
    /// Where it goes.
    pub to: Destination,
    /// Which share is logged.
    pub sample: Share,
    /// Whether queries are logged in the formats that have a name, those of referers included.
    pub query: bool,
}

/// A share of all, more than 0 and at most 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Share(f64);

impl Share {
    /// All.
    pub const ALL: Self = Self(1.0);

    /// `None` unless it is more than 0 and at most 1.
    pub fn new(share: f64) -> Option<Self> {
        (share > 0.0 && share <= 1.0).then_some(Self(share))
    }

    /// As a number.
    pub fn get(self) -> f64 {
        self.0
    }
}

/// The access log of a listener.
#[derive(Debug)]
pub struct AccessLog {
    pub(crate) settings: Settings,
    pub(crate) writer: Arc<Writer>,
}

impl AccessLog {
    /// Logs an exchange, if it is one of the share. Failures of the peer or of a node, 500 and above, always are.
    pub(crate) fn log(&self, record: &Record<'_>, dice: &mut Dice) {
        let Settings { format, sample, query, .. } = &self.settings;
        let is_failure = record.note.status.is_some_and(|status| status >= 500);
        if !is_failure && *sample != Share::ALL && dice.fraction() >= sample.get() {
            return;
        }
        let mut line = Vec::with_capacity(LINE_BYTES_USUAL);
        format.write(record, *query, &mut line);
        self.writer.write(line);
    }

    /// Where it goes, and what was counted there.
    pub fn counts(&self) -> (&Destination, &Arc<Counts>) {
        (&self.settings.to, self.writer.counts())
    }
}

/// The logs of these listeners. Where one writes already to the same place, be it of `now` or of these, its writer does it.
pub(super) fn open(listeners: &[Listener], now: &[Arc<Bound>]) -> Vec<Result<Option<Arc<AccessLog>>, BindError>> {
    let mut writers: Vec<Arc<Writer>> =
        now.iter().filter_map(|bound| bound.log.as_ref()).map(|log| Arc::clone(&log.writer)).collect();
    let logs = listeners.iter().map(|listener| {
        let Some(settings) = &listener.access_log else { return Ok(None) };
        let writer = match writers.iter().find(|writer| writer.to == settings.to) {
            Some(writer) => Arc::clone(writer),
            None => {
                let fail = |error| BindError::Log { name: listener.name.to_string(), error };
                let writer = Writer::open(&settings.to).map_err(fail)?;
                writers.push(Arc::clone(&writer));
                writer
            }
        };
        Ok(Some(Arc::new(AccessLog { settings: settings.clone(), writer })))
    });
    logs.collect()
}

#[cfg(test)]
impl AccessLog {
    /// One that nobody reads.
    pub(crate) fn to_nowhere() -> Arc<Self> {
        let to: Destination = "file:/dev/null".parse().expect("a destination");
        let writer = Writer::open(&to).expect("it can be opened");
        let settings = Settings { format: "common".parse().expect("a format"), to, sample: Share::ALL, query: false };
        Arc::new(Self { settings, writer })
    }
}

const LINE_BYTES_USUAL: usize = 512;

#[cfg(test)]
mod tests;
