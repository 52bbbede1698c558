//! What a peer's file says of its API.

use std::net::{Ipv4Addr, SocketAddr};

/// Where the API listens.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Settings {
    listen: SocketAddr,
}

/// Why the API cannot listen there.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "{0} is not loopback; the API of this version has no users and listens on loopback only, such as 127.0.0.1:8080"
)]
pub struct NotLoopback(SocketAddr);

impl Settings {
    /// Listens at `listen`, which is a loopback address; port 0: a free one.
    pub fn new(listen: SocketAddr) -> Result<Self, NotLoopback> {
        if listen.ip().to_canonical().is_loopback() { Ok(Self { listen }) } else { Err(NotLoopback(listen)) }
    }

    /// Where it listens.
    pub fn listen(&self) -> SocketAddr {
        self.listen
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self { listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)) }
    }
}
