use super::super::suite::{Peer, Stage, pair, tests_of};
use super::super::{LinkEvent, LinkState};
use super::*;

struct Simulation(Network);

impl Simulation {
    fn new() -> Self {
        Self(Network::new(7))
    }
}

impl Stage for Simulation {
    fn start(&self, id: &str, incarnation: u64, address: Option<SocketAddr>) -> Peer {
        let own = Identity {
            cluster: "prod".parse().unwrap(),
            id: id.parse().unwrap(),
            region: "eu-west".parse().unwrap(),
            incarnation,
        };
        let (link, inboxes) = self.0.start(&own, Timing::LAN, address);
        let address = link.address();
        Peer::new(id, address, Arc::new(link), inboxes)
    }

    fn kill(&self, peer: Peer) -> SocketAddr {
        self.0.kill(peer.address);
        peer.address
    }

    fn loss_limit(&self) -> Duration {
        Timing::LAN.idle + Timing::LAN.keep_alive
    }
}

tests_of! { tokio::test(start_paused = true), Simulation::new() }

/// A small story with everything that dice decide; its trace.
async fn story(seed: u64) -> (u64, Vec<LinkEvent>) {
    let simulation = Simulation(Network::new(seed));
    simulation.0.set_paths(Path { delay: Duration::from_millis(3), loss: 0.2 });
    let mut peers: Vec<Peer> =
        ["ams", "fra", "waw", "lon"].into_iter().map(|id| simulation.start(id, 1, None)).collect();
    for one in &peers {
        for other in &peers {
            one.greet(other);
        }
    }
    for round in 0..200_u8 {
        tokio::time::sleep(Duration::from_millis(20)).await;
        let (from, to) = (&peers[usize::from(round) % 4], &peers[usize::from(round / 4) % 4]);
        from.link.send(To::Address(to.address), Channel::Gossip, Bytes::from(vec![round; 100]));
        match round {
            60 => simulation.0.pause(peers[1].address),
            150 => simulation.0.resume(peers[1].address),
            _ => {}
        }
    }
    let mut events = Vec::new();
    for peer in &mut peers {
        while let Some(event) = peer.events.try_next() {
            events.push(event);
        }
    }
    (simulation.0.trace(), events)
}

#[tokio::test(start_paused = true)]
async fn the_same_seed_gives_the_same_events_and_another_seed_others() {
    let first = story(1).await;
    assert!(first.1.iter().any(|event| matches!(event, LinkEvent::Lost { .. })), "{:?}", first.1);
    assert_eq!(story(1).await, first);
    assert_ne!(story(2).await.0, first.0);
}

#[tokio::test(start_paused = true)]
async fn what_is_lost_on_the_way_comes_late_and_once() {
    let simulation = Simulation::new();
    let (ams, mut waw) = pair(&simulation).await;
    simulation.0.set_paths(Path { delay: Duration::from_millis(1), loss: 0.3 });
    for at in 0..100_u8 {
        ams.link.send(To::Peer(waw.id.clone()), Channel::Election, Bytes::from(vec![at]));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let counts = || *ams.link.known().counts.of(Channel::Election);
    // In virtual time: until each has come or is too late.
    while counts().sent + counts().late < 100 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let mut heard: Vec<u8> = std::iter::from_fn(|| waw.inboxes.election.try_recv().ok()).map(|m| m.bytes[0]).collect();
    heard.sort_unstable();
    let counts = counts();
    assert_eq!(counts.sent, heard.len() as u64);
    assert_eq!(counts.sent + counts.late, 100);
    assert!(heard.len() > 90, "five tries fit into the limit of the channel: {}", heard.len());
    heard.dedup();
    assert_eq!(heard.len() as u64, counts.sent, "nothing comes twice");
}

#[tokio::test(start_paused = true)]
async fn a_cut_shorter_than_the_idle_time_loses_no_link_and_a_longer_one_does_on_both_sides() {
    let simulation = Simulation::new();
    let (mut ams, mut waw) = pair(&simulation).await;
    let cut = |is_cut: bool| {
        for (from, to) in [(ams.address, waw.address), (waw.address, ams.address)] {
            if is_cut { simulation.0.cut(from, to) } else { simulation.0.mend(from, to) }
        }
    };
    cut(true);
    tokio::time::sleep(Timing::LAN.idle / 3).await;
    cut(false);
    tokio::time::sleep(Timing::LAN.idle * 2).await;
    assert_eq!((ams.events.try_next(), waw.events.try_next()), (None, None));
    cut(true);
    let before = host::now();
    assert_eq!(ams.sees_lost("waw").await, (1, false));
    assert_eq!(waw.sees_lost("ams").await, (1, false));
    assert!(host::now() - before <= simulation.loss_limit());
    // The message finds no way within its time.
    assert!(matches!(ams.next().await, LinkEvent::RedialFailed { .. }));
    for (from, to) in [(ams.address, waw.address), (waw.address, ams.address)] {
        simulation.0.mend(from, to);
    }
    while !matches!(ams.next().await, LinkEvent::Up { .. }) {}
}

#[tokio::test(start_paused = true)]
async fn a_cut_in_one_direction_ends_the_link_for_both() {
    let simulation = Simulation::new();
    let (mut ams, mut waw) = pair(&simulation).await;
    simulation.0.cut(ams.address, waw.address);
    assert_eq!(waw.sees_lost("ams").await, (1, false));
    assert_eq!(ams.sees_lost("waw").await, (1, false));
    assert_eq!(ams.link.known().peers[0].state, LinkState::Dialing);
}

#[tokio::test(start_paused = true)]
async fn a_paused_peer_is_lost_and_finds_back_by_itself() {
    let simulation = Simulation::new();
    let (mut ams, mut waw) = pair(&simulation).await;
    simulation.0.pause(waw.address);
    assert_eq!(ams.sees_lost("waw").await, (1, false));
    assert_eq!(waw.events.try_next(), None, "it does not know");
    simulation.0.resume(waw.address);
    while !matches!(ams.next().await, LinkEvent::Up { .. }) {}
    // Another connection took the place of its old one before it missed anything.
    ams.link.send(To::Peer(waw.id.clone()), Channel::Hint, Bytes::from_static(b"back"));
    assert_eq!(waw.hears(Channel::Hint).await.bytes, "back");
    assert_eq!(waw.events.try_next(), None);
}

#[tokio::test(start_paused = true)]
async fn a_dead_peer_sends_nothing_again_and_its_successor_is_not_charged_for_it() {
    let simulation = Simulation::new();
    let (one, other) = pair(&simulation).await;
    simulation.0.set_paths(Path { loss: 1.0, ..Path::default() });
    one.link.send(To::Address(other.address), Channel::Gossip, Bytes::from_static(b"lost"));
    tokio::time::sleep(Duration::from_millis(50)).await;
    let address = simulation.kill(one);
    let successor = simulation.start("ams", 2, Some(address));
    tokio::time::sleep(Channel::Gossip.limit() * 2).await;
    let gossip = successor.link.known().counts.channels[Channel::Gossip as usize];
    assert_eq!((gossip.sent, gossip.late), (0, 0));
}
