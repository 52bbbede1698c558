//! A proxy that is measured.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use cluster_tests::haproxy::Haproxy;
use cluster_tests::nginx::{Nginx, Shape};
use cluster_tests::peer::Peer;
use cluster_tests::procfs;
use cluster_tests::raw::TlsClient;
use cluster_tests::settings::Settings;

use crate::work;

/// Which proxy.
#[derive(Clone, Copy, Debug, Eq, PartialEq, clap::ValueEnum)]
pub(crate) enum Kind {
    /// A peer.
    Evenkeel,
    /// A peer of the version before.
    #[value(skip)]
    Before,
    /// nginx with one worker.
    Nginx,
    /// HAProxy with one thread.
    Haproxy,
}

/// A running proxy.
pub(crate) struct Contender {
    pub(crate) kind: Kind,
    pub(crate) address: SocketAddr,
    pid: u32,
    /// Ends it when dropped.
    _running: Running,
}

enum Running {
    Evenkeel { _peer: Peer },
    Nginx { _nginx: Nginx },
    Haproxy { _haproxy: Haproxy },
}

impl Contender {
    /// Starts one and waits until it serves; `None`, with a line that says so, where it is not installed or cannot do this.
    pub(crate) fn start(
        kind: Kind,
        settings: &Settings,
        binary: Option<&Path>,
        client: Option<&TlsClient>,
    ) -> Option<Self> {
        let settings = settings.clone();
        let (address, pid, running) = match kind {
            Kind::Evenkeel | Kind::Before => {
                let peer = Peer::start_binary(binary?, &settings);
                (peer.listener("bench"), peer.pid(), Running::Evenkeel { _peer: peer })
            }
            Kind::Nginx => {
                let nginx = Nginx::start_front(&settings.with_own_ports(), Shape::Worker)?;
                (nginx.address(), nginx.pid(), Running::Nginx { _nginx: nginx })
            }
            Kind::Haproxy => {
                let haproxy = Haproxy::start_front(&settings.with_own_ports())?;
                (haproxy.address(), haproxy.pid(), Running::Haproxy { _haproxy: haproxy })
            }
        };
        work::await_service(address, client);
        Some(Self { kind, address, pid, _running: running })
    }

    /// CPU time of all its processes so far.
    pub(crate) fn cpu_time(&self) -> Duration {
        procfs::cpu_time(self.pid) + procfs::children(self.pid).into_iter().map(procfs::cpu_time).sum::<Duration>()
    }

    /// Its memory now, of all its processes.
    pub(crate) fn resident_bytes(&self) -> u64 {
        procfs::resident_bytes(self.pid)
            + procfs::children(self.pid).into_iter().map(procfs::resident_bytes).sum::<u64>()
    }
}
