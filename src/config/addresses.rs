//! What addresses say of each other: nobody listens where somebody else does, and no node is this peer itself.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::document::{Fault, Origin, Reader};
use crate::model::{Host, NodeAddress};

/// An address that a listener has.
pub(super) struct Listening {
    pub address: SocketAddr,
    pub origin: Origin,
    /// The listener, as faults name it.
    pub place: String,
}

/// The address of a node.
pub(super) struct NodeAt<'r> {
    pub address: &'r NodeAddress,
    pub origin: Origin,
    /// The node, as faults name it.
    pub place: &'r str,
}

/// Refuses a listener where the API listens, or another listener. Both are named.
pub(super) fn refuse_clashes(reader: &mut Reader<'_>, listeners: &[Listening], api: SocketAddr) {
    for (at, this) in listeners.iter().enumerate() {
        let before = listeners[..at].iter();
        let before = before.map(|of| (of.address, format!("{} ({})", of.place, of.origin)));
        let mut others = std::iter::once((api, "the API (api.listen)".to_owned())).chain(before);
        if let Some(wrong) = others.find_map(|(other, who)| clash(this.address, other, &who)) {
            let fault = Fault::new(this.origin.clone(), format!("{} listen", this.place), wrong)
                .found(format!("\"{}\"", this.address))
                .hint("give one of them another port");
            reader.fault(fault);
        }
    }
}

/// Refuses a node that is a listener of this peer: what is sent to it would come back.
pub(super) fn refuse_loops<'r>(
    reader: &mut Reader<'_>,
    listeners: &[Listening],
    nodes: impl IntoIterator<Item = NodeAt<'r>>,
) {
    for NodeAt { address, origin, place } in nodes {
        let leads_back = |of: &&Listening| targets(address).into_iter().any(|target| takes(of.address, target));
        if let Some(listener) = listeners.iter().find(leads_back) {
            let wrong = format!("{} of this peer listens there, so a request would come back to it", listener.place);
            let fault = Fault::new(origin, format!("{place} address"), wrong)
                .found(format!("\"{address}\""))
                .hint("name the address of the server itself, or give the listener another port");
            reader.fault(fault);
        }
    }
}

/// Why nobody can listen at `this` beside `other`, where `who` listens.
fn clash(this: SocketAddr, other: SocketAddr, who: &str) -> Option<String> {
    // Every port 0 is another port.
    if this.port() != other.port() || this.port() == 0 {
        None
    } else if this.ip().to_canonical() == other.ip().to_canonical() {
        Some(format!("{who} listens there"))
    } else if covers(other.ip(), this.ip()) {
        Some(format!("{who} listens at {other}, which covers it"))
    } else if covers(this.ip(), other.ip()) {
        Some(format!("it covers {other}, where {who} listens"))
    } else {
        None
    }
}

/// Whether whoever listens at `all` gets what is sent to `one`: 0.0.0.0 stands for all IPv4 addresses of the machine, and
/// `[::]` for these too.
fn covers(all: IpAddr, one: IpAddr) -> bool {
    all.is_unspecified() && (all.is_ipv6() || one.to_canonical().is_ipv4())
}

/// Whether a connection to `target` is one to a listener at `listen`, as far as that can be known without asking the
/// machine for its addresses.
fn takes(listen: SocketAddr, target: SocketAddr) -> bool {
    let (at, to) = (listen.ip(), target.ip());
    let same = at.to_canonical() == to.to_canonical() || (to.to_canonical().is_loopback() && covers(at, to));
    listen.port() == target.port() && same
}

/// Where a connection to a node goes, where that is known without looking up a name.
fn targets(address: &NodeAddress) -> Vec<SocketAddr> {
    let ips = match &address.host {
        // Connecting to "all addresses" connects to this machine.
        Host::Ip(IpAddr::V4(Ipv4Addr::UNSPECIFIED)) => vec![Ipv4Addr::LOCALHOST.into()],
        Host::Ip(IpAddr::V6(Ipv6Addr::UNSPECIFIED)) => vec![Ipv6Addr::LOCALHOST.into()],
        Host::Ip(ip) => vec![*ip],
        Host::Name(name) if name.strip_suffix('.').unwrap_or(name) == "localhost" => {
            vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]
        }
        Host::Name(_) => Vec::new(),
    };
    ips.into_iter().map(|ip| SocketAddr::new(ip, address.port)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn two_addresses_clash_where_one_covers_the_other() {
        for (one, other, clashes) in [
            ("127.0.0.1:80", "127.0.0.1:80", true),
            ("0.0.0.0:80", "127.0.0.1:80", true),
            ("[::]:80", "127.0.0.1:80", true),
            ("[::]:80", "0.0.0.0:80", true),
            ("[::]:80", "[::1]:80", true),
            ("[::ffff:127.0.0.1]:80", "127.0.0.1:80", true),
            ("0.0.0.0:80", "[::1]:80", false),
            ("127.0.0.1:80", "127.0.0.2:80", false),
            ("127.0.0.1:80", "[::1]:80", false),
            ("0.0.0.0:80", "0.0.0.0:81", false),
            ("0.0.0.0:0", "0.0.0.0:0", false),
        ] {
            assert_eq!(clash(at(one), at(other), "a").is_some(), clashes, "{one} {other}");
            assert_eq!(clash(at(other), at(one), "a").is_some(), clashes, "{other} {one}");
        }
    }

    #[test]
    fn a_node_leads_back_where_a_listener_takes_its_connections() {
        for (listen, node, leads_back) in [
            ("127.0.0.1:80", "127.0.0.1:80", true),
            ("127.0.0.1:80", "localhost:80", true),
            ("127.0.0.1:80", "0.0.0.0:80", true),
            ("10.0.0.1:80", "http://10.0.0.1", true),
            ("0.0.0.0:80", "127.0.0.9:80", true),
            ("[::]:443", "https://localhost", true),
            ("0.0.0.0:80", "10.0.0.1:80", false),
            ("127.0.0.1:80", "127.0.0.1:81", false),
            ("10.0.0.1:80", "localhost:80", false),
            ("127.0.0.1:80", "localhost.example:80", false),
        ] {
            let address: NodeAddress = node.parse().unwrap();
            let found = targets(&address).into_iter().any(|target| takes(at(listen), target));
            assert_eq!(found, leads_back, "{listen} {node}");
        }
    }
}
