use std::net::UdpSocket;
use std::sync::mpsc;
use std::thread;

use quinn::{ConnectionError, VarInt};

use super::super::suite::{self, Peer, Stage, pair, tests_of};
use super::super::{ClusterKey, Identity, KeyRing, LinkState};
use super::*;
use crate::model::limits::HELLO_BYTES_MAX;
use crate::wire::{Hello, Software};

/// Peers on this machine, each with a runtime and a thread of its own: one that is killed says nothing more.
struct Machine {
    cluster: &'static str,
    trust: TrustSource,
    timing: Timing,
    running: Mutex<BTreeMap<SocketAddr, Process>>,
}

struct Process {
    stop: oneshot::Sender<()>,
    thread: thread::JoinHandle<()>,
}

const TIMING: Timing = Timing::LOCAL;

impl Machine {
    fn new() -> Self {
        Self::of("prod", KeyRing::of(ClusterKey::generate().unwrap()))
    }

    fn of(cluster: &'static str, ring: KeyRing) -> Self {
        Self { cluster, trust: TrustSource::Keys(ring), timing: TIMING, running: Mutex::default() }
    }

    fn start_link(&self, id: &str, incarnation: u64, address: Option<SocketAddr>) -> (Arc<QuicLink>, Inboxes) {
        let settings = Settings {
            own: Identity {
                cluster: self.cluster.parse().unwrap(),
                id: id.parse().unwrap(),
                region: "eu-west".parse().unwrap(),
                incarnation,
            },
            listen: address.unwrap_or("127.0.0.1:0".parse().unwrap()),
            advertise: None,
            trust: self.trust.clone(),
            timing: self.timing,
            protocols: Protocols::OWN,
        };
        let (stop, is_stopped) = oneshot::channel();
        let (started, has_started) = mpsc::sync_channel(1);
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let (link, inboxes) = QuicLink::start(&settings).unwrap();
                let _ = started.send((Arc::new(link), inboxes));
                let _ = is_stopped.await;
            });
        });
        let (link, inboxes) = has_started.recv().unwrap();
        self.running.lock().unwrap().insert(link.address(), Process { stop, thread });
        (link, inboxes)
    }
}

impl Stage for Machine {
    fn start(&self, id: &str, incarnation: u64, address: Option<SocketAddr>) -> Peer {
        let (link, inboxes) = self.start_link(id, incarnation, address);
        let address = link.address();
        Peer::new(id, address, link, inboxes)
    }

    fn kill(&self, peer: Peer) -> SocketAddr {
        let Process { stop, thread } = self.running.lock().unwrap().remove(&peer.address).unwrap();
        drop(stop);
        thread.join().unwrap();
        peer.address
    }

    fn loss_limit(&self) -> Duration {
        TIMING.idle + TIMING.keep_alive
    }
}

tests_of! { tokio::test, Machine::new() }

#[tokio::test]
async fn a_restarted_peer_is_missed_long_before_the_idle_time() {
    let machine = Machine::new();
    let (mut ams, waw) = pair(&machine).await;
    let address = machine.kill(waw);
    let _waw = machine.start("waw", 2, Some(address));
    let before = host::now();
    // What is sent to it is answered by a reset.
    ams.link.send(To::Peer("waw".parse().unwrap()), Channel::Hint, Bytes::from_static(b"still there?"));
    assert_eq!(ams.sees_lost("waw").await, (1, false));
    let seen = host::now() - before;
    println!("a restarted peer was missed after {seen:?}");
    assert!(seen < TIMING.idle / 2, "{seen:?}");
}

#[tokio::test]
async fn two_peers_are_linked_within_milliseconds() {
    let machine = Machine::new();
    let mut ams = machine.start("ams", 1, None);
    let others: Vec<Peer> = (0..20).map(|at| machine.start(&format!("peer-{at}"), 1, None)).collect();
    let mut all = Vec::new();
    for other in &others {
        let before = host::now();
        ams.greet(other);
        ams.sees_up(other.id.as_str()).await;
        all.push(host::now() - before);
    }
    all.sort();
    println!("dial to welcome: median {:?}, worst {:?}", all[10], all[19]);
    assert!(all[10] < Duration::from_millis(200), "{all:?}");
}

#[tokio::test]
async fn a_peer_of_another_key_is_refused_and_both_are_told() {
    let (machine, other) = (Machine::new(), Machine::new());
    let (mut ams, mut waw) = (machine.start("ams", 1, None), other.start("waw", 1, None));
    ams.greet(&waw);
    for peer in [&mut ams, &mut waw] {
        assert!(matches!(peer.next().await, LinkEvent::Refused { reason: Refusal::WrongKey, .. }));
        assert!(peer.link.known().counts.refused(Refusal::WrongKey) >= 1);
        assert!(peer.link.known().peers.is_empty());
    }
}

#[tokio::test]
async fn a_peer_of_another_cluster_name_is_refused_and_both_are_told() {
    let ring = KeyRing::of(ClusterKey::generate().unwrap());
    let (machine, other) = (Machine::of("prod", ring.clone()), Machine::of("test", ring));
    let (mut ams, mut waw) = (machine.start("ams", 1, None), other.start("waw", 1, None));
    ams.greet(&waw);
    for peer in [&mut ams, &mut waw] {
        assert!(matches!(peer.next().await, LinkEvent::Refused { reason: Refusal::WrongCluster, .. }));
        assert!(peer.link.known().peers.is_empty());
    }
}

#[tokio::test]
async fn keys_are_changed_in_three_steps_under_links_that_stand() {
    let (old, new) = (ClusterKey::generate().unwrap(), ClusterKey::generate().unwrap());
    let ring = |keys: &[&ClusterKey]| {
        let text: Vec<String> = keys.iter().map(|key| key.to_text().to_string()).collect();
        TrustSource::Keys(KeyRing::parse(&text.join("\n")).unwrap())
    };
    // No link may be lost, also where the machine stands still for a second.
    let machine = Machine { timing: Timing::WAN, ..Machine::of("prod", KeyRing::of(old.clone())) };
    let mut peers: Vec<(Arc<QuicLink>, Peer)> = ["ams", "fra", "waw"]
        .map(|id| {
            let (link, inboxes) = machine.start_link(id, 1, None);
            (Arc::clone(&link), Peer::new(id, link.address(), link, inboxes))
        })
        .into();
    for (one, other) in [(0, 1), (0, 2), (1, 2)] {
        let [(_, one), (_, other)] = peers.get_disjoint_mut([one, other]).unwrap();
        suite::link(one, other).await;
    }
    for (step, keys) in [[&old, &new].as_slice(), &[&new, &old], &[&new]].into_iter().enumerate() {
        for at in 0..3 {
            peers[at].0.rekey(&ring(keys)).unwrap();
            // The others are a step behind: somebody new is taken by all of them even so.
            let newcomers = Machine { trust: ring(keys), timing: Timing::WAN, ..Machine::new() };
            let mut newcomer = newcomers.start(&format!("new-{step}-{at}"), 1, None);
            for (_, peer) in &mut peers {
                newcomer.greet(peer);
                newcomer.sees_up(peer.id.as_str()).await;
                peer.sees_up(newcomer.id.as_str()).await;
            }
            newcomer.link.close().await;
            for (_, peer) in &mut peers {
                assert_eq!(peer.sees_lost(newcomer.id.as_str()).await, (1, true));
            }
        }
    }
    // With the last step the old key opens nothing any more.
    let outdated = Machine::of("prod", KeyRing::of(old));
    let mut outdated = outdated.start("outdated", 1, None);
    outdated.greet(&peers[0].1);
    assert!(matches!(outdated.next().await, LinkEvent::Refused { reason: Refusal::WrongKey, .. }));
    for (_, peer) in &mut peers {
        assert_eq!(peer.link.known().counts.losses, 0);
        assert_eq!(peer.link.known().peers.iter().filter(|peer| peer.state == LinkState::Up).count(), 2);
    }
}

/// Somebody with the right key who need not keep to the rules.
struct Rogue {
    endpoint: Endpoint,
    client: ClientConfig,
    trust: Trust,
}

impl Rogue {
    fn new(machine: &Machine, certified: &str) -> Self {
        let id: PeerId = certified.parse().unwrap();
        let trust = Trust::new(&machine.trust, Protocols::OWN, &machine.cluster.parse().unwrap(), &id).unwrap();
        let (client, server) = endpoint::configs(&trust, TIMING).unwrap();
        let socket = endpoint::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let endpoint = endpoint::open(socket, &machine.trust.reset_secret(&id), server).unwrap();
        Self { endpoint, client, trust }
    }

    async fn connect(&self, to: &Peer) -> Connection {
        let name = self.trust.cluster_name.to_str();
        self.endpoint.connect_with(self.client.clone(), to.address, &name).unwrap().await.unwrap()
    }

    fn hello(&self, id: &str) -> Hello {
        Hello {
            cluster: "prod".parse().unwrap(),
            id: id.parse().unwrap(),
            region: "eu-west".parse().unwrap(),
            incarnation: 1,
            advertised: Advertised::new(self.endpoint.local_addr().unwrap()).unwrap(),
            cluster_id: None,
            software: Software::own(),
        }
    }

    async fn say(&self, connection: &Connection, message: &[u8]) -> Vec<u8> {
        let (mut to, mut from) = connection.open_bi().await.unwrap();
        to.write_all(message).await.unwrap();
        to.finish().unwrap();
        from.read_to_end(2 * HELLO_BYTES_MAX).await.unwrap_or_default()
    }
}

#[tokio::test]
async fn an_id_that_the_certificate_does_not_carry_is_refused() {
    let machine = Machine::new();
    let mut ams = machine.start("ams", 1, None);
    let rogue = Rogue::new(&machine, "rogue");
    let connection = rogue.connect(&ams).await;
    let answer = rogue.say(&connection, &rogue.hello("waw").encode().unwrap()).await;
    let refused = crate::wire::HelloAnswer::Refused { reason: Refusal::WrongId, by: ams.id.clone() };
    assert_eq!(crate::wire::HelloAnswer::decode(&answer), Ok(refused));
    let ConnectionError::ApplicationClosed(close) = connection.closed().await else { panic!("it is closed") };
    assert_eq!(close.error_code, close::code_of(Refusal::WrongId));
    assert!(matches!(ams.next().await, LinkEvent::Refused { reason: Refusal::WrongId, by_other: false, .. }));
    assert!(ams.link.known().peers.is_empty());
}

#[tokio::test]
async fn nothing_is_read_before_the_hello_and_a_hello_of_garbage_ends_the_connection() {
    let machine = Machine::new();
    let mut ams = machine.start("ams", 1, None);
    let rogue = Rogue::new(&machine, "rogue");
    let connection = rogue.connect(&ams).await;
    let mut stream = connection.open_uni().await.unwrap();
    stream.write_all(b"\x01early").await.unwrap();
    stream.finish().unwrap();
    assert_eq!(rogue.say(&connection, &[0xff; 4 * HELLO_BYTES_MAX]).await, b"");
    connection.closed().await;
    assert!(matches!(ams.next().await, LinkEvent::Refused { reason: Refusal::Malformed, by_other: false, .. }));
    assert!(ams.inboxes.gossip.try_recv().is_err());
}

#[tokio::test]
async fn garbage_in_datagrams_and_streams_changes_nothing() {
    let machine = Machine::new();
    let (mut ams, mut waw) = pair(&machine).await;
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut dice = Dice::from_seed(7);
    for _ in 0..10_000 {
        let mut datagram = vec![0; 1 + dice.below(1_400)];
        datagram.iter_mut().for_each(|byte| *byte = (dice.bits() & 0xff) as u8);
        // Half of them look like the first packet of a connection.
        datagram[0] |= if dice.below(2) == 0 { 0xc0 } else { 0x40 };
        let _ = socket.send_to(&datagram, ams.address);
    }

    let rogue = Rogue::new(&machine, "rogue");
    let connection = rogue.connect(&ams).await;
    let answer = rogue.say(&connection, &rogue.hello("rogue").encode().unwrap()).await;
    assert!(matches!(crate::wire::HelloAnswer::decode(&answer), Ok(crate::wire::HelloAnswer::Welcome(_))));
    ams.sees_up("rogue").await;
    for at in 0..1_000_usize {
        // Unknown channels, channels that carry questions, messages that are too long, streams that are broken off.
        let mut stream = connection.open_uni().await.unwrap();
        let number = [0, 3, 9, 255, 2][at % 5];
        let length = if number == 2 { Channel::Hint.bytes_max() + 1 } else { dice.below(2_000) };
        let _ = stream.write_all(&[number]).await;
        let _ = stream.write_all(&vec![(dice.bits() & 0xff) as u8; length]).await;
        let _ = if dice.below(3) == 0 { stream.reset(VarInt::from_u32(9)) } else { stream.finish() };
    }

    // The link that stood stands, and carries.
    waw.link.send(To::Peer(ams.id.clone()), Channel::Hint, Bytes::from_static(b"well?"));
    let heard = loop {
        let heard = ams.hears(Channel::Hint).await;
        if heard.from == waw.id {
            break heard;
        }
    };
    assert_eq!(heard.bytes, "well?");
    assert_eq!((ams.events.try_next(), waw.events.try_next()), (None, None));
    let counts = ams.link.known().counts;
    assert_eq!(counts.losses, 0);
    assert_eq!(counts.refusals, [0; Refusal::ALL.len()], "a datagram of garbage is nobody's refusal");
    assert!(counts.of(Channel::Hint).oversized > 0);
    assert!(ams.inboxes.gossip.try_recv().is_err());
}

#[tokio::test]
async fn a_port_that_is_taken_and_an_address_that_nobody_can_dial_are_told_at_start() {
    let machine = Machine::new();
    let ams = machine.start("ams", 1, None);
    let settings = |listen: SocketAddr| Settings {
        own: Identity {
            cluster: "prod".parse().unwrap(),
            id: "waw".parse().unwrap(),
            region: "eu-west".parse().unwrap(),
            incarnation: 1,
        },
        listen,
        advertise: None,
        trust: machine.trust.clone(),
        timing: TIMING,
        protocols: Protocols::OWN,
    };
    assert!(matches!(QuicLink::start(&settings(ams.address)), Err(StartError::Bind { .. })));
    let error = QuicLink::start(&settings("0.0.0.0:0".parse().unwrap())).unwrap_err();
    assert!(matches!(error, StartError::Advertise(_)) && error.to_string().contains("cluster.advertise"), "{error}");
}
