//! Hostile bytes at the cluster port: noise, bent greetings, peers that have a key and no manners, peers that have no key.
//! The cluster stays as it was, and pays for none of it with memory, log or a restart.
//!
//! By default 20,000 datagrams and 2,000 streams, with `EVENKEEL_SOAK=1` a million of both together.

#![expect(clippy::unwrap_used, reason = "in a test, where it cannot go on it is to stop")]

use std::collections::BTreeMap;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use cluster_tests::certificates::Authority;
use cluster_tests::cluster::{Cluster, Shape, Special, certificate_names};
use cluster_tests::network;
use cluster_tests::report;
use cluster_tests::wait::{PATIENCE, pause, pause_async, wait_until_async};
use cluster_tests::witness::Witness;
use evenkeel::link::{
    AuthorityFiles, Channel, ClusterKey, Identity, Inboxes, KeyRing, Link, Protocols, QuicLink, Settings, Timing, To,
    TrustSource,
};
use evenkeel::wire::Hint;
use fastrand::Rng;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

const SEED: u64 = 0x1dea;
/// Between two bursts of noise, so that a link carries it instead of dropping it from its outbox.
const NOISE_PAUSE: Duration = Duration::from_millis(5);
/// What all that noise may cost a peer at its worst moment: what is under way is bounded by `model/limits.rs` at about this.
const GROWTH_BYTES_MAX: u64 = 64 << 20;

fn datagrams() -> usize {
    if cluster_tests::environment::is_soak() { 900_000 } else { 20_000 }
}

fn streams() -> usize {
    if cluster_tests::environment::is_soak() { 100_000 } else { 2_000 }
}

/// Two peers, one node, and a third host for whoever means harm.
fn two(special: Special) -> Option<Cluster> {
    let shape = Shape { peers: 2, nodes: 1, preset: "lan", health: None };
    let cluster = Cluster::start_special(shape, special)?;
    cluster.wait_agreed(PATIENCE);
    Some(cluster)
}

/// Runs `attack` on the third host while the cluster is looked at, and says what became of it.
fn under<T: Send>(cluster: &mut Cluster, attack: impl FnOnce([SocketAddr; 2]) -> T + Send) -> T {
    let mut witness = Witness::of(cluster);
    let targets = [0, 1].map(|peer| cluster.cluster_address(peer));
    let (namespace, is_over) = (cluster.client().namespace(), AtomicBool::new(false));
    let done = std::thread::scope(|scope| {
        let attacker = scope.spawn(|| {
            network::enter(&namespace);
            let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| attack(targets)));
            is_over.store(true, Relaxed);
            done
        });
        witness.look_until(cluster, || is_over.load(Relaxed));
        attacker.join().expect("it catches its panics").unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    });
    witness.end(cluster, GROWTH_BYTES_MAX);
    done
}

/// Refusals of this reason that the peers count.
fn refused(cluster: &Cluster, reason: &str) -> u64 {
    let count = |peer: usize| -> u64 {
        let list = cluster.json(peer, "/api/v1/peers");
        let rows = list["items"].as_array().unwrap().iter().filter(|row| row["refused"]["reason"] == reason);
        rows.filter_map(|row| row["refused"]["count"].as_u64()).sum()
    };
    count(0) + count(1)
}

fn settings(id: &str, trust: TrustSource) -> Settings {
    Settings {
        own: Identity {
            cluster: "evenkeel".parse().unwrap(),
            id: id.parse().unwrap(),
            region: "nowhere".parse().unwrap(),
            incarnation: 1,
        },
        listen: "0.0.0.0:0".parse().unwrap(),
        advertise: Some("10.77.0.4:1".parse().unwrap()),
        trust,
        timing: Timing::LAN,
        protocols: Protocols::OWN,
    }
}

fn wrong_key() -> TrustSource {
    TrustSource::Keys(KeyRing::of(ClusterKey::generate().unwrap()))
}

fn runtime() -> tokio::runtime::Runtime {
    // One thread: it is in the namespace of whoever made it.
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// First packets of real connections, as they came to sockets that never answer.
fn real_greetings() -> Vec<Vec<u8>> {
    const LINKS: usize = 8;
    let sockets: Vec<UdpSocket> = (0..LINKS)
        .map(|_| {
            let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            socket.set_nonblocking(true).unwrap();
            socket
        })
        .collect();
    runtime().block_on(async {
        let links: Vec<(QuicLink, Inboxes)> =
            (0..LINKS).map(|at| QuicLink::start(&settings(&format!("noise-{at}"), wrong_key())).unwrap()).collect();
        let mut heard: BTreeMap<usize, Vec<u8>> = BTreeMap::new();
        for ((link, _), socket) in links.iter().zip(&sockets) {
            link.send(To::Address(socket.local_addr().unwrap()), Channel::Gossip, b"hello"[..].into());
        }
        wait_until_async("a dial at every socket", || {
            for (at, socket) in sockets.iter().enumerate() {
                let mut packet = [0; 2_048];
                if let Ok(length) = socket.recv(&mut packet) {
                    heard.entry(at).or_insert_with(|| packet[..length].to_vec());
                }
            }
            heard.len() == LINKS
        })
        .await;
        heard.into_values().collect()
    })
}

fn noise(dice: &mut Rng, length: usize) -> Vec<u8> {
    std::iter::repeat_with(|| dice.u8(..)).take(length).collect()
}

/// A real first packet, bent: bits turned, cut off, made longer, of another version, twice in one, or left as it is.
fn bent(dice: &mut Rng, greeting: &[u8]) -> Vec<u8> {
    let mut bytes = greeting.to_vec();
    match dice.u8(..7) {
        0 => {}
        1 => bytes.truncate(dice.usize(1..bytes.len())),
        2 => bytes.extend(noise(dice, 200)),
        3 => bytes[1..5].fill_with(|| dice.u8(..)),
        // The ids that a connection is known by, and their lengths.
        4 => bytes[5..30].fill_with(|| dice.u8(..)),
        5 => bytes.copy_within(0..200, 600),
        _ => {
            for _ in 0..dice.usize(1..20) {
                let at = dice.usize(..bytes.len());
                bytes[at] ^= 1 << dice.u8(..8);
            }
        }
    }
    bytes
}

#[test]
fn noise_and_bent_greetings_change_nothing() {
    let Some(mut cluster) = two(Special::default()) else { return };
    let sent = under(&mut cluster, |targets| {
        let greetings = real_greetings();
        let mut dice = Rng::with_seed(SEED);
        // Many ports, as many peers would have.
        let sockets: Vec<UdpSocket> = (0..64).map(|_| UdpSocket::bind("0.0.0.0:0").unwrap()).collect();
        let mut sent = 0;
        for at in 0..datagrams() {
            let datagram = match dice.u8(..4) {
                0 => {
                    let length = dice.usize(1..1_500);
                    noise(&mut dice, length)
                }
                1 => {
                    let length = dice.usize(20..1_400);
                    let mut bytes = noise(&mut dice, length);
                    // Half look like the first packet of a connection of QUIC 1, half like one of a connection that stands.
                    if dice.bool() {
                        bytes[..5].copy_from_slice(&[0xc0 | dice.u8(..16), 0, 0, 0, 1]);
                    } else {
                        bytes[0] = 0x40 | dice.u8(..64);
                    }
                    bytes
                }
                _ => {
                    let greeting = dice.usize(..greetings.len());
                    bent(&mut dice, &greetings[greeting])
                }
            };
            let from = &sockets[dice.usize(..sockets.len())];
            sent += usize::from(from.send_to(&datagram, targets[at % 2]).is_ok());
            if at % 50 == 0 {
                // About 25,000 a second: more would show how full a socket's buffer can be, and lose most of them there.
                pause(Duration::from_millis(2));
            }
        }
        sent
    });
    report::figure("datagrams of noise", sent);
    assert!(sent >= datagrams() * 9 / 10, "{sent} were sent");
}

#[test]
fn peers_with_a_wrong_key_that_dial_in_a_loop_are_refused_counted_and_told_once_a_minute() {
    const PEERS: usize = 8;
    let dials = if cluster_tests::environment::is_soak() { 2_000 } else { 100 };
    let Some(mut cluster) = two(Special::default()) else { return };
    under(&mut cluster, |targets| {
        runtime().block_on(async {
            for round in 0..dials / PEERS {
                let links: Vec<(QuicLink, Inboxes)> = (0..PEERS)
                    // One of them claims the id of a peer that lives.
                    .map(|at| if at == 0 { "p1".to_owned() } else { format!("stranger-{round}-{at}") })
                    .map(|id| QuicLink::start(&settings(&id, wrong_key())).unwrap())
                    .collect();
                for (at, (link, _)) in links.iter().enumerate() {
                    link.send(To::Address(targets[at % 2]), Channel::Gossip, b"hello"[..].into());
                }
                let all_refused = || links.iter().all(|(link, _)| !link.known().refusals.is_empty());
                wait_until_async("every peer with a wrong key to be told that it is refused", all_refused).await;
            }
        });
    });
    let counted = refused(&cluster, "wrong_key");
    report::figure("refusals counted", counted);
    assert!(counted >= (dials / PEERS * PEERS) as u64, "{counted} of {dials}");
    for peer in 0..2 {
        let told = cluster.log(peer).lines().filter(|line| line.contains("wrong_key")).count();
        assert!((1..=3).contains(&told), "{told} lines");
    }
}

/// Somebody with a certificate of the cluster's own authority.
fn insider(authority: &Authority, id: &str) -> TrustSource {
    let (certificate, key) = authority.issue(&certificate_names(id).each_ref().map(String::as_str));
    TrustSource::Authority(AuthorityFiles {
        authorities: authority.pem().into_bytes(),
        certificate: certificate.into_bytes(),
        key: key.into_bytes().into(),
    })
}

/// A hello as it is on the wire: kind 1, then the fields one after the other.
fn hello(id: &str) -> Vec<u8> {
    let mut bytes = vec![0, 1];
    for word in ["evenkeel", id, "nowhere"] {
        bytes.push(u8::try_from(word.len()).unwrap());
        bytes.extend_from_slice(word.as_bytes());
    }
    // Incarnation 1; 10.77.0.4, port 1; of no cluster id; no word of software.
    bytes.extend_from_slice(&[1, 0, 10, 77, 0, 4, 1, 0, 0]);
    bytes
}

#[test]
fn noise_from_a_peer_with_the_right_key_changes_nothing() {
    let special = Special { authority: Some(Authority::new()), ..Special::default() };
    let Some(mut cluster) = two(special) else { return };
    let trust = insider(cluster.authority(), "noise");
    under(&mut cluster, |targets| {
        runtime().block_on(async {
            let (link, _inboxes) = QuicLink::start(&settings("noise", trust)).unwrap();
            let mut dice = Rng::with_seed(SEED);
            let hint = Hint::new(vec!["web-1".parse().unwrap(); 3]).unwrap().encode().unwrap();
            for at in 0..streams() {
                let channel = Channel::ALL[at % Channel::ALL.len()];
                let length = dice.usize(..channel.bytes_max().min(2_000));
                let bytes = match dice.u8(..4) {
                    // Of the kinds that there are, of later ones, of none.
                    0 => [&[0, dice.u8(..8)], &noise(&mut dice, length)[..]].concat(),
                    1 => bent_message(&mut dice, &hint),
                    // As gossip begins, for its reader to go on reading: what is said to it means nothing.
                    2 => [&[0x53, 0xb0, 0, dice.u8(..5)], &noise(&mut dice, length)[..]].concat(),
                    _ => noise(&mut dice, length),
                };
                let target = dice.usize(..2);
                if channel == Channel::Query {
                    let id = ["p1", "p2"][target].parse().unwrap();
                    let _ = link.ask(id, bytes.into(), Duration::from_millis(20)).await;
                } else {
                    link.send(To::Address(targets[target]), channel, bytes.into());
                }
                if at % 20 == 0 {
                    pause_async(NOISE_PAUSE).await;
                }
            }
            let carried: u64 = Channel::ALL.iter().map(|channel| link.known().counts.of(*channel).sent).sum();
            report::figure("messages of noise that were carried", carried);
            assert!(carried >= streams() as u64 / 2, "{carried} of {}", streams());
            assert_eq!(link.known().counts.losses, 0, "noise is no reason to end a link");
            link.close().await;
        });
    });
    let unreadable = |peer: usize| cluster.json(peer, "/api/v1/cluster")["gossip"]["unreadable_total"].clone();
    for peer in 0..2 {
        let count = unreadable(peer).as_u64().unwrap();
        report::figure("messages of gossip that could not be read", count);
        assert!(count > 0);
    }
}

fn bent_message(dice: &mut Rng, message: &[u8]) -> Vec<u8> {
    let mut bytes = message.to_vec();
    // Its first byte names a kind; what the nodes are called is left as it is, for a hint at a node is no noise.
    bytes[..3].fill_with(|| dice.u8(..));
    bytes
}

#[test]
fn a_rogue_with_the_right_key_that_keeps_to_no_rule_changes_nothing() {
    let special = Special { authority: Some(Authority::new()), ..Special::default() };
    let Some(mut cluster) = two(special) else { return };
    let issued = cluster.authority().issue(&certificate_names("rogue").each_ref().map(String::as_str));
    let pem = cluster.authority().pem();
    let refused_hellos = under(&mut cluster, |targets| {
        runtime().block_on(async {
            let mut dice = Rng::with_seed(SEED);
            let endpoint = rogue(&pem, &issued);
            let refused_hellos = bad_hellos(&endpoint, &mut dice, targets).await;
            let mut left = streams();
            while left > 0 {
                let to = targets[dice.usize(..2)];
                let connection = connect(&endpoint, to).await;
                say_hello(&connection, &hello("rogue")).await;
                let now = left.min(200);
                bad_streams(&connection, &mut dice, now).await;
                left -= now;
                // Now and then without a word.
                if dice.bool() {
                    connection.close(0_u32.into(), b"");
                }
            }
            endpoint.wait_idle().await;
            refused_hellos
        })
    });
    let counted = refused(&cluster, "malformed");
    report::figure("bad hellos, and how many of them were counted", format!("{refused_hellos}, {counted}"));
    assert!(counted >= refused_hellos as u64 / 2, "{counted} of {refused_hellos}");
}

/// Somebody with a certificate of the cluster's own authority, and without our side of the protocol.
fn rogue(authority: &str, (certificate, key): &(String, String)) -> quinn::Endpoint {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_client_auth_cert(
            vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()],
            PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap(),
        )
        .unwrap();
    tls.alpn_protocols = vec![b"evenkeel/1".to_vec()];
    let crypto = quinn::crypto::rustls::QuicClientConfig::try_from(tls).unwrap();
    let mut endpoint = quinn::Endpoint::client("0.0.0.0:0".parse().unwrap()).unwrap();
    endpoint.set_default_client_config(quinn::ClientConfig::new(Arc::new(crypto)));
    endpoint
}

async fn connect(endpoint: &quinn::Endpoint, to: SocketAddr) -> quinn::Connection {
    let connecting = endpoint.connect(to, "evenkeel.cluster.evenkeel").unwrap();
    tokio::time::timeout(PATIENCE, connecting).await.expect("a peer takes connections").expect("the key is right")
}

/// The bytes that a hello is answered with; none where the connection is closed over it.
async fn say_hello(connection: &quinn::Connection, message: &[u8]) -> Vec<u8> {
    let Ok((mut to, mut from)) = connection.open_bi().await else { return Vec::new() };
    let _ = to.write_all(message).await;
    let _ = to.finish();
    let answer = tokio::time::timeout(PATIENCE, from.read_to_end(4_096)).await;
    answer.expect("a hello is answered, or the connection ends").unwrap_or_default()
}

/// Hellos that are none. Says how many.
async fn bad_hellos(endpoint: &quinn::Endpoint, dice: &mut Rng, targets: [SocketAddr; 2]) -> usize {
    let count = streams() / 40;
    for at in 0..count {
        let connection = connect(endpoint, targets[at % 2]).await;
        let good = hello("rogue");
        let bytes = match at % 5 {
            0 => noise(dice, 300),
            1 => noise(dice, 20_000),
            2 => good[..dice.usize(..good.len())].to_vec(),
            3 => [&good[..], b"and more"].concat(),
            // A text of 2^63 bytes.
            _ => [&[0, 1, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0x80], &good[2..]].concat(),
        };
        let answer = say_hello(&connection, &bytes).await;
        assert_eq!(answer, b"", "{bytes:x?} is no hello");
    }
    count
}

/// Streams of channels that there are and are not, too long, broken off, never ended.
async fn bad_streams(connection: &quinn::Connection, dice: &mut Rng, count: usize) {
    let limit = Duration::from_millis(500);
    let mut unfinished = Vec::new();
    for _ in 0..count {
        let number = dice.u8(..12);
        let length = if dice.u8(..20) == 0 { 200_000 } else { dice.usize(..3_000) };
        let bytes = [&[number], &noise(dice, length)[..]].concat();
        // Where the peer holds it back it may, and where it ends the connection too.
        if dice.u8(..5) == 0 {
            let Ok(Ok((mut to, _from))) = tokio::time::timeout(limit, connection.open_bi()).await else { continue };
            let _ = tokio::time::timeout(limit, to.write_all(&bytes)).await;
            let _ = to.finish();
            continue;
        }
        let Ok(Ok(mut to)) = tokio::time::timeout(limit, connection.open_uni()).await else { continue };
        let _ = tokio::time::timeout(limit, to.write_all(&bytes)).await;
        match dice.u8(..10) {
            0 => drop(to.reset(9_u32.into())),
            1 => unfinished.push(to),
            _ => drop(to.finish()),
        }
        if unfinished.len() > 16 {
            unfinished.clear();
        }
    }
}

#[test]
fn a_real_greeting_is_what_is_bent() {
    let greetings = real_greetings();
    for greeting in greetings {
        assert!(greeting.len() >= 1_200, "QUIC fills its first packet up");
        assert_eq!(greeting[0] & 0xc0, 0xc0, "a long header");
        assert_eq!(greeting[1..5], [0, 0, 0, 1], "of QUIC 1");
    }
}
