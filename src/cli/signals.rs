//! SIGTERM and Ctrl-C, which end the process; and SIGHUP, by which it reads its settings again.

use std::io;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::host;

/// What asks twice within this time means it once: `timeout`, a shell or a container's runtime may signal a process and then
/// its whole group, itself included.
const TWICE_IS_ONCE: Duration = Duration::from_secs(1);

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

    /// After one that was just taken, waits for another that is meant.
    pub(super) async fn again(&mut self) {
        let first = host::now();
        loop {
            self.next().await;
            if host::now().saturating_duration_since(first) >= TWICE_IS_ONCE {
                return;
            }
        }
    }
}

/// SIGHUP, which asks to read the settings again. Left alone it would end the process.
pub(super) struct Hangups(Signal);

impl Hangups {
    /// Takes over SIGHUP, on the runtime that this is called on.
    pub(super) fn take() -> io::Result<Self> {
        signal(SignalKind::hangup()).map(Self)
    }

    /// Waits for the next one.
    pub(super) async fn next(&mut self) {
        if self.0.recv().await.is_none() {
            // No signal will come any more.
            std::future::pending::<()>().await;
        }
    }
}
