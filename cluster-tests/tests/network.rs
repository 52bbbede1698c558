//! The network of namespaces that other stories stand on: its hosts reach each other, and each fault does what it says.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use cluster_tests::binary;
use cluster_tests::network::{Host, Network};
use cluster_tests::raw::get_once;
use cluster_tests::report;
use cluster_tests::wait::wait_until;
use rustix::process::Signal;

/// How long a packet may take from host to host on one machine; one that takes longer counts as lost.
const ARRIVAL: Duration = Duration::from_millis(200);

/// A host's socket for datagrams, which stays in its host whoever uses it.
fn socket(host: &Host) -> UdpSocket {
    let socket = host.within(|| UdpSocket::bind((host.address(), 0))).expect("a host has its address");
    socket.set_read_timeout(Some(ARRIVAL)).expect("a time-out above zero");
    socket
}

/// How many of `count` datagrams arrive.
fn arrived(from: &UdpSocket, to: &UdpSocket, count: usize) -> usize {
    /// So many fit into any socket's buffer.
    const AT_ONCE: usize = 200;
    let address = to.local_addr().expect("a bound socket has an address");
    let (mut sent, mut arrived) = (0, 0);
    while sent < count {
        let burst = AT_ONCE.min(count - sent);
        for _ in 0..burst {
            from.send_to(b"ping", address).expect("no host is told of a fault on the way");
        }
        sent += burst;
        // Nothing more comes once all did, or nothing did for a while.
        arrived += (0..burst).take_while(|_| to.recv(&mut [0; 8]).is_ok()).count();
    }
    arrived
}

/// Whether a datagram gets there and one gets back.
fn both_ways(one: &UdpSocket, other: &UdpSocket) -> (bool, bool) {
    (arrived(one, other, 1) == 1, arrived(other, one, 1) == 1)
}

#[test]
fn hosts_reach_each_other_and_each_has_a_loopback_of_its_own() {
    let Some(network) = Network::of(3) else { return };
    let at: SocketAddr = (network.host(1).address(), 80).into();
    let mut node = network
        .host(1)
        .spawn("test-node", &binary::test_node(), Signal::TERM)
        .args(["--name", "remote", "--listen", &at.to_string()])
        .start(tempfile::tempdir().unwrap());
    for client in [0, 2, 1] {
        wait_until("an answer from the other host", || {
            network.host(client).within(|| get_once(at, "/")).is_some_and(|answer| answer.text() == "remote\n")
        });
    }
    assert!(node.exited().is_none());
    let own: Vec<TcpListener> =
        (0..3).map(|host| network.host(host).within(|| TcpListener::bind("127.0.0.1:80")).unwrap()).collect();
    assert_eq!(own.len(), 3, "the same port on every host");
}

#[test]
fn a_cut_stops_everything_between_two_hosts_until_it_is_healed() {
    let Some(network) = Network::of(3) else { return };
    let sockets: Vec<UdpSocket> = (0..3).map(|host| socket(network.host(host))).collect();
    let listener = network.host(1).within(|| TcpListener::bind((network.host(1).address(), 0))).unwrap();
    let at = listener.local_addr().unwrap();
    let connect = |host: usize| network.host(host).within(|| TcpStream::connect_timeout(&at, ARRIVAL));
    assert_eq!(both_ways(&sockets[0], &sockets[1]), (true, true));
    assert!(connect(0).is_ok());

    network.cut(0, 1);
    assert_eq!(both_ways(&sockets[0], &sockets[1]), (false, false));
    assert_eq!(both_ways(&sockets[0], &sockets[2]), (true, true), "others are not touched");
    assert_eq!(connect(0).unwrap_err().kind(), ErrorKind::TimedOut);
    assert!(connect(2).is_ok());

    network.heal();
    assert_eq!(both_ways(&sockets[0], &sockets[1]), (true, true));
    assert!(connect(0).is_ok());
}

#[test]
fn a_cut_of_one_way_leaves_the_way_back() {
    let Some(network) = Network::of(2) else { return };
    let (one, other) = (socket(network.host(0)), socket(network.host(1)));
    network.cut_one_way(0, 1);
    assert_eq!(both_ways(&one, &other), (false, true));
    network.heal();
    network.cut_one_way(1, 0);
    assert_eq!(both_ways(&one, &other), (true, false));
}

#[test]
fn packets_are_lost_in_the_share_that_was_asked_for() {
    const SENT: usize = 1_000;
    let Some(network) = Network::of(2) else { return };
    let (one, other) = (socket(network.host(0)), socket(network.host(1)));
    network.lose(0, 1, 30);
    for (from, to) in [(&one, &other), (&other, &one)] {
        let arrived = arrived(from, to, SENT);
        report::figure("of 1,000 packets with 30 % loss arrived", arrived);
        // 700, give or take five standard deviations of 14.5.
        assert!((628..=772).contains(&arrived), "{arrived}");
    }
    network.heal();
    assert_eq!(arrived(&one, &other, SENT), SENT);
}

#[test]
fn nothing_is_left_of_a_network_that_is_dropped() {
    let namespaces = |links: &[std::path::PathBuf]| {
        let processes = std::fs::read_dir("/proc").unwrap();
        let used = processes.filter_map(|process| std::fs::read_link(process.ok()?.path().join("ns/net")).ok());
        used.filter(|used| links.contains(used)).count()
    };
    let Some(network) = Network::of(2) else { return };
    let links: Vec<_> = (0..2).map(|host| std::fs::read_link(network.host(host).namespace()).unwrap()).collect();
    let node = network.host(0).spawn("test-node", &binary::test_node(), Signal::TERM);
    let node = node.start(tempfile::tempdir().unwrap());
    let of_node = format!("/proc/{}/ns/net", node.pid());
    wait_until("the process to be in its host", || std::fs::read_link(&of_node).ok().as_ref() == Some(&links[0]));
    assert_eq!(namespaces(&links), 3, "two holders and the process");
    drop((node, network));
    assert_eq!(namespaces(&links), 0);
}
