//! The proxy under test. It is a peer, unless `CLUSTER_TESTS_FRONT` puts `nginx` or `haproxy` in its place: so a test shows
//! that it can fail, and what the others do with the same input.

use std::net::SocketAddr;

use crate::haproxy::Haproxy;
use crate::nginx::{Nginx, Shape};
use crate::peer::Peer;
use crate::process::Process;
use crate::settings::Settings;

/// Which proxy is under test.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// A peer.
    Evenkeel,
    /// nginx in its place.
    Nginx,
    /// HAProxy in its place.
    Haproxy,
}

/// A running proxy.
#[derive(Debug)]
pub enum Front {
    /// A peer.
    Evenkeel(Peer),
    /// nginx in its place.
    Nginx(Nginx, Vec<(String, SocketAddr)>),
    /// HAProxy in its place.
    Haproxy(Haproxy, Vec<(String, SocketAddr)>),
}

impl Kind {
    /// The one that the environment names.
    pub fn chosen() -> Self {
        let name = std::env::var_os("CLUSTER_TESTS_FRONT").unwrap_or_default();
        match name.to_str() {
            Some("" | "evenkeel") => Self::Evenkeel,
            Some("nginx") => Self::Nginx,
            Some("haproxy") => Self::Haproxy,
            _ => panic!("CLUSTER_TESTS_FRONT is {}; use evenkeel, nginx or haproxy", name.display()),
        }
    }
}

impl Front {
    /// Starts the chosen proxy; `None` where it is not installed.
    #[track_caller]
    pub fn start(settings: &Settings) -> Option<Self> {
        if Kind::chosen() == Kind::Evenkeel {
            return Some(Self::Evenkeel(Peer::start(settings)));
        }
        let settings = settings.clone().with_lasting_ports();
        let listeners = settings.listeners.iter().map(|listener| (listener.name.clone(), listener.listen)).collect();
        match Kind::chosen() {
            Kind::Haproxy => Haproxy::start_front(&settings).map(|front| Self::Haproxy(front, listeners)),
            _ => Nginx::start_front(&settings, Shape::Single).map(|front| Self::Nginx(front, listeners)),
        }
    }

    /// Which one it is.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Evenkeel(_) => Kind::Evenkeel,
            Self::Nginx(..) => Kind::Nginx,
            Self::Haproxy(..) => Kind::Haproxy,
        }
    }

    /// Whether it is a peer, from which everything is demanded.
    pub fn is_peer(&self) -> bool {
        self.kind() == Kind::Evenkeel
    }

    /// The address of a listener.
    #[track_caller]
    pub fn listener(&self, name: &str) -> SocketAddr {
        let listeners = match self {
            Self::Evenkeel(peer) => peer.listeners(),
            Self::Nginx(_, listeners) | Self::Haproxy(_, listeners) => listeners,
        };
        let found = listeners.iter().find(|(listener, _)| listener == name);
        found.unwrap_or_else(|| panic!("no listener {name} in {listeners:?}")).1
    }

    /// Its process.
    pub fn process(&mut self) -> &mut Process {
        match self {
            Self::Evenkeel(peer) => peer.process(),
            Self::Nginx(nginx, _) => nginx.process(),
            Self::Haproxy(haproxy, _) => haproxy.process(),
        }
    }

    /// Its process id.
    pub fn pid(&mut self) -> u32 {
        self.process().pid()
    }
}
