//! Free ports for servers that cannot take port 0.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};

/// Below the range from which the kernel takes the ports of outgoing connections, so that a port stays free while its server
/// is down.
const RANGE: std::ops::Range<u16> = 10_240..32_000;

/// A loopback address on which nobody listens now.
pub fn free() -> SocketAddr {
    let mut dice = fastrand::Rng::with_seed(seed());
    loop {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, dice.u16(RANGE)));
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
}

/// Another one for every thread and moment.
fn seed() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(std::thread::current().id())
}
