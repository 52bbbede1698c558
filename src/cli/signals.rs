//! SIGTERM and Ctrl-C, which end the process; and SIGHUP, which does not.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Signals that ask the process to end. From its making on they no longer end it by themselves.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Takes over SIGTERM and SIGINT, on the runtime that this is called on.
    pub(super) fn take() -> io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Waits for the next one.
    pub(super) async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// SIGHUP, by which other servers are told to read their settings anew. Left alone it would end the process.
pub(super) struct Hangups(Signal);

impl Hangups {
    /// Takes over SIGHUP, on the runtime that this is called on.
    pub(super) fn take() -> io::Result<Self> {
        signal(SignalKind::hangup()).map(Self)
    }

    /// Says of each that nothing comes of it.
    pub(super) async fn refuse(mut self) {
        while self.0.recv().await.is_some() {
            tracing::warn!("reload is not available in this version; restart to read settings anew");
        }
    }
}
