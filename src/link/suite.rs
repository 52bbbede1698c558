//! What every link must do, told once for both of them. A stage starts and kills peers; the rest is the same.

use crate::model::ClusterId;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::{AskError, Channel, Events, Inboxes, Link, LinkEvent, LinkState, To};
use crate::host;
use crate::model::PeerId;
use crate::model::limits::{PATIENT_QUESTIONS_PER_PEER_MAX, QUESTIONS_PER_PEER_MAX};
use crate::wire::Refusal;

/// More than anything here takes; only a failure takes it.
const PATIENCE: Duration = Duration::from_secs(20);

/// A peer under test.
pub(super) struct Peer {
    pub(super) id: PeerId,
    pub(super) link: Arc<dyn Link>,
    pub(super) inboxes: Inboxes,
    pub(super) address: SocketAddr,
    pub(super) events: Events,
}

/// Where peers are started and killed.
pub(super) trait Stage {
    /// Starts a peer, at an address that was one's before or at a free one.
    fn start(&self, id: &str, incarnation: u64, address: Option<SocketAddr>) -> Peer;

    /// Ends a peer without a word.
    fn kill(&self, peer: Peer) -> SocketAddr;

    /// The idle time of its links, and one keep-alive.
    fn loss_limit(&self) -> Duration;
}

impl Peer {
    pub(super) fn new(id: &str, address: SocketAddr, link: Arc<dyn Link>, inboxes: Inboxes) -> Self {
        let events = link.events();
        Self { id: id.parse().unwrap(), link, inboxes, address, events }
    }

    /// Says something to whoever listens at the other's address, so that it is dialed.
    pub(super) fn greet(&self, other: &Self) {
        self.link.send(To::Address(other.address), Channel::Gossip, Bytes::from_static(b"greeting"));
    }

    pub(super) async fn next(&mut self) -> LinkEvent {
        let known = || self.link.known();
        match timeout(PATIENCE, self.events.next()).await {
            Ok(event) => event,
            Err(_) => panic!("{} waited for an event in vain: {:#?}", self.id, known()),
        }
    }

    /// The next event is that this peer is up; returns its incarnation.
    pub(super) async fn sees_up(&mut self, other: &str) -> u64 {
        match self.next().await {
            LinkEvent::Up { peer, incarnation, .. } if peer.as_str() == other => incarnation,
            event => panic!("{} should see {other} up, and saw {event:?}", self.id),
        }
    }

    /// The next event is that this peer is lost; returns its incarnation, and whether it said goodbye.
    pub(super) async fn sees_lost(&mut self, other: &str) -> (u64, bool) {
        match self.next().await {
            LinkEvent::Lost { peer, incarnation, said_goodbye } if peer.as_str() == other => {
                (incarnation, said_goodbye)
            }
            event => panic!("{} should lose {other}, and saw {event:?}", self.id),
        }
    }

    /// The next message on a one-way channel.
    pub(super) async fn hears(&mut self, channel: Channel) -> super::Received {
        let inbox = match channel {
            Channel::Gossip => &mut self.inboxes.gossip,
            Channel::Hint => &mut self.inboxes.hint,
            Channel::Election => &mut self.inboxes.election,
            Channel::Catalog => &mut self.inboxes.catalog,
            Channel::Speed => &mut self.inboxes.speed,
            Channel::Query => panic!("questions are not messages"),
        };
        let heard = timeout(PATIENCE, inbox.recv()).await;
        heard.unwrap_or_else(|_| panic!("nothing came on {channel:?}: {:#?}", self.link.known())).unwrap()
    }
}

/// Two peers with a link, and the message by which it came about taken out of the way.
pub(super) async fn pair(stage: &impl Stage) -> (Peer, Peer) {
    let (mut ams, mut waw) = (stage.start("ams", 1, None), stage.start("waw", 1, None));
    link(&mut ams, &mut waw).await;
    (ams, waw)
}

/// Links two peers: the first one dials.
pub(super) async fn link(dials: &mut Peer, other: &mut Peer) {
    dials.greet(other);
    let (dialing_id, other_id) = (dials.id.to_string(), other.id.to_string());
    dials.sees_up(&other_id).await;
    other.sees_up(&dialing_id).await;
    assert_eq!(other.hears(Channel::Gossip).await.from, dials.id);
}

pub(super) async fn a_message_arrives_once_on_its_channel_with_the_name_of_its_sender(stage: &impl Stage) {
    let (mut ams, mut waw) = pair(stage).await;
    for round in 0..20_u8 {
        for channel in Channel::ONE_WAY {
            let bytes = Bytes::from(vec![round; 1 + usize::from(round) * 100]);
            ams.link.send(To::Peer(waw.id.clone()), channel, bytes.clone());
            let heard = waw.hears(channel).await;
            assert_eq!((&heard.from, heard.address, heard.channel), (&ams.id, ams.address, channel));
            assert_eq!(heard.bytes, bytes);
        }
        // And back on the same link, whoever dialed it.
        waw.link.send(To::Address(ams.address), Channel::Gossip, Bytes::from(vec![round]));
        assert_eq!(ams.hears(Channel::Gossip).await.bytes, [round][..]);
    }
    for channel in Channel::ONE_WAY {
        let (sent, received) = (*ams.link.known().counts.of(channel), *waw.link.known().counts.of(channel));
        let greeting = u64::from(channel == Channel::Gossip);
        assert_eq!((sent.sent, received.received, received.untaken), (20 + greeting, 20 + greeting, 0), "{channel:?}");
        assert_eq!(sent.bytes_sent, received.bytes_received);
    }
    assert!(waw.inboxes.gossip.try_recv().is_err(), "nothing comes twice");
}

pub(super) async fn a_burst_arrives_without_a_duplicate(stage: &impl Stage) {
    let (ams, mut waw) = pair(stage).await;
    let mut heard = BTreeMap::new();
    for at in 0..16_u8 {
        ams.link.send(To::Peer(waw.id.clone()), Channel::Election, Bytes::from(vec![at; 2_000]));
    }
    for _ in 0..16 {
        *heard.entry(waw.hears(Channel::Election).await.bytes[0]).or_insert(0) += 1;
    }
    assert_eq!(heard, (0..16).map(|at| (at, 1)).collect());
}

pub(super) async fn the_longest_message_of_each_channel_arrives_and_one_byte_more_is_dropped_and_counted(
    stage: &impl Stage,
) {
    let (ams, mut waw) = pair(stage).await;
    for channel in Channel::ONE_WAY {
        let longest = Bytes::from(vec![7; channel.bytes_max()]);
        let longer = Bytes::from(vec![7; channel.bytes_max() + 1]);
        ams.link.send(To::Peer(waw.id.clone()), channel, longer);
        ams.link.send(To::Peer(waw.id.clone()), channel, longest.clone());
        assert_eq!(waw.hears(channel).await.bytes.len(), longest.len(), "{channel:?}");
        assert_eq!(ams.link.known().counts.of(channel).oversized, 1);
    }
    let question = Bytes::from(vec![7; Channel::Query.bytes_max() + 1]);
    assert_eq!(ams.link.ask(waw.id.clone(), question, PATIENCE).await, Err(AskError::TooLong));
}

pub(super) async fn a_goodbye_is_seen_at_once_and_ends_the_link_in_silence(stage: &impl Stage) {
    let (mut ams, mut waw) = pair(stage).await;
    let before = host::now();
    waw.link.close().await;
    assert_eq!(ams.sees_lost("waw").await, (1, true));
    assert!(host::now() - before < stage.loss_limit() / 2, "{:?}", host::now() - before);
    assert_eq!(ams.link.known().peers[0].state, LinkState::Lost);
    assert_eq!(ams.link.known().counts.losses, 0);
    waw.greet(&ams);
    assert_eq!(waw.events.try_next(), None);
    assert_eq!(waw.link.known().counts.dials, 0);
}

pub(super) async fn a_killed_peer_is_lost_within_the_idle_time_and_dialed_once_more(stage: &impl Stage) {
    let (mut ams, waw) = pair(stage).await;
    let before = host::now();
    stage.kill(waw);
    assert_eq!(ams.sees_lost("waw").await, (1, false));
    let seen = host::now() - before;
    assert!(seen < stage.loss_limit() + Duration::from_millis(500), "{seen:?}");
    assert_eq!(ams.next().await, LinkEvent::RedialFailed { peer: "waw".parse().unwrap(), incarnation: 1 });
    assert_eq!(ams.link.known().counts.losses, 1);
}

pub(super) async fn a_restarted_peer_is_linked_again_under_its_new_incarnation(stage: &impl Stage) {
    let (mut ams, waw) = pair(stage).await;
    let address = stage.kill(waw);
    let mut waw = stage.start("waw", 2, Some(address));
    assert_eq!(ams.sees_lost("waw").await, (1, false));
    // The dial right after the loss may find the port closed.
    let incarnation = loop {
        match ams.next().await {
            LinkEvent::Up { incarnation, .. } => break incarnation,
            LinkEvent::RedialFailed { .. } => {}
            event => panic!("{event:?}"),
        }
    };
    assert_eq!(incarnation, 2);
    waw.sees_up("ams").await;
    ams.link.send(To::Peer(waw.id.clone()), Channel::Hint, Bytes::from_static(b"again"));
    assert_eq!(waw.hears(Channel::Hint).await.bytes, "again");
}

pub(super) async fn an_address_is_dialed_until_somebody_answers(stage: &impl Stage) {
    let mut ams = stage.start("ams", 1, None);
    let waw = stage.start("waw", 1, None);
    let address = stage.kill(waw);
    ams.link.send(To::Address(address), Channel::Gossip, Bytes::from_static(b"anybody?"));
    let failed = async {
        while ams.link.known().counts.dials_failed == 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, failed).await.expect("a dial fails where nobody listens");
    assert_eq!(ams.link.known().counts.of(Channel::Gossip).dropped, 1);
    let mut waw = stage.start("waw", 2, Some(address));
    assert_eq!(ams.sees_up("waw").await, 2);
    assert_eq!(waw.sees_up("ams").await, 1);
}

pub(super) async fn a_second_peer_of_one_id_is_refused_and_told_while_the_first_lives(stage: &impl Stage) {
    let (mut ams, mut waw) = pair(stage).await;
    let mut twin = stage.start("waw", 2, None);
    twin.greet(&ams);
    let refused = |address, by_other| LinkEvent::Refused { reason: Refusal::IdTaken, address, by_other };
    assert_eq!(twin.next().await, refused(ams.address, true));
    assert!(matches!(ams.next().await, LinkEvent::Refused { reason: Refusal::IdTaken, by_other: false, .. }));
    let known = ams.link.known();
    assert_eq!((known.peers.len(), known.peers[0].state, known.peers[0].incarnation), (1, LinkState::Up, 1));
    assert!(known.counts.refused(Refusal::IdTaken) >= 1);
    assert!(twin.link.known().counts.refused(Refusal::IdTaken) >= 1);
    ams.link.send(To::Peer(waw.id.clone()), Channel::Hint, Bytes::from_static(b"for the first"));
    assert_eq!(waw.hears(Channel::Hint).await.bytes, "for the first");
}

pub(super) async fn a_message_for_a_peer_that_was_never_met_is_dropped_and_counted(stage: &impl Stage) {
    let ams = stage.start("ams", 1, None);
    ams.link.send(To::Peer("nobody".parse().unwrap()), Channel::Hint, Bytes::from_static(b"hello?"));
    assert_eq!(ams.link.known().counts.of(Channel::Hint).dropped, 1);
    assert_eq!(ams.link.known().counts.dials, 0);
}

pub(super) async fn a_question_is_answered_or_the_asker_learns_why_not(stage: &impl Stage) {
    let (ams, mut waw) = pair(stage).await;
    let ask = |limit_ms| ams.link.ask(waw.id.clone(), Bytes::from_static(b"how"), Duration::from_millis(limit_ms));

    let (answered, ()) = tokio::join!(ask(10_000), async {
        let question = waw.inboxes.query.recv().await.unwrap();
        assert_eq!((question.from.as_str(), &question.bytes[..]), ("ams", &b"how"[..]));
        question.answer.send(Bytes::from_static(b"so"));
    });
    assert_eq!(answered, Ok(Bytes::from_static(b"so")));

    assert_eq!(ask(50).await, Err(AskError::TimedOut));
    let forgotten = waw.inboxes.query.recv().await.unwrap();
    forgotten.answer.send(Bytes::from_static(b"too late"));

    let (answered, ()) = tokio::join!(ask(10_000), async {
        drop(waw.inboxes.query.recv().await.unwrap());
    });
    assert_eq!(answered, Err(AskError::NotTaken), "a question that is dropped is answered by that");

    waw.inboxes.query.close();
    assert_eq!(ask(10_000).await, Err(AskError::NotTaken));
    assert_eq!(waw.link.known().counts.of(Channel::Query).untaken, 1);

    let nobody = ams.link.ask("nobody".parse().unwrap(), Bytes::new(), PATIENCE).await;
    assert_eq!(nobody, Err(AskError::NotLinked));
}

pub(super) async fn a_question_that_is_answered_at_once_does_not_wait_for_those_that_wait(stage: &impl Stage) {
    let (ams, mut waw) = pair(stage).await;
    let mut waiting = JoinSet::new();
    for _ in 0..2 * QUESTIONS_PER_PEER_MAX {
        let (link, to) = (Arc::clone(&ams.link), waw.id.clone());
        waiting.spawn(async move { link.ask(to, Bytes::from_static(b"once all agree"), PATIENCE).await });
    }
    let mut unanswered = Vec::new();
    while unanswered.len() < PATIENT_QUESTIONS_PER_PEER_MAX {
        unanswered.push(waw.inboxes.query.recv().await.unwrap());
    }
    let asked = ams.link.ask_at_once(waw.id.clone(), Bytes::from_static(b"what all agree on"), PATIENCE);
    let (answered, ()) = tokio::join!(asked, async {
        loop {
            let question = waw.inboxes.query.recv().await.unwrap();
            if question.bytes == "what all agree on" {
                return question.answer.send(Bytes::from_static(b"this"));
            }
            unanswered.push(question);
        }
    });
    assert_eq!(answered, Ok(Bytes::from_static(b"this")));
    // Those that wait have their turn, one after the other.
    let answers = async {
        for question in unanswered.drain(..) {
            question.answer.send(Bytes::from_static(b"done"));
        }
        while let Some(question) = waw.inboxes.query.recv().await {
            question.answer.send(Bytes::from_static(b"done"));
        }
    };
    let all = async {
        while let Some(answered) = waiting.join_next().await {
            assert_eq!(answered.unwrap(), Ok(Bytes::from_static(b"done")));
        }
    };
    tokio::select! {
        () = all => {}
        () = answers => panic!("the link ended"),
    }
}

pub(super) async fn a_question_ends_with_its_link(stage: &impl Stage) {
    let (ams, waw) = pair(stage).await;
    let asked = ams.link.ask(waw.id.clone(), Bytes::from_static(b"how"), PATIENCE);
    let (answered, _) = tokio::join!(asked, async {
        let mut waw = waw;
        let question = waw.inboxes.query.recv().await.unwrap();
        (stage.kill(waw), question)
    });
    assert_eq!(answered, Err(AskError::Lost));
}

pub(super) async fn two_peers_that_dial_each_other_at_once_end_with_one_link(stage: &impl Stage) {
    // Several pairs, for the order of things is another one each time.
    let mut pairs: Vec<(Peer, Peer)> =
        (0..5).map(|_| (stage.start("ams", 1, None), stage.start("waw", 1, None))).collect();
    for (ams, waw) in &pairs {
        ams.greet(waw);
        waw.greet(ams);
    }
    for (ams, waw) in &mut pairs {
        ams.sees_up("waw").await;
        waw.sees_up("ams").await;
        assert_eq!(waw.hears(Channel::Gossip).await.from, ams.id);
        assert_eq!(ams.hears(Channel::Gossip).await.from, waw.id);
    }
    // Longer than a connection lives that gave way: that nothing happens then is what is tested.
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    for (ams, waw) in &mut pairs {
        ams.link.send(To::Peer(waw.id.clone()), Channel::Hint, Bytes::from_static(b"still there"));
        assert_eq!(waw.hears(Channel::Hint).await.bytes, "still there");
        for peer in [ams, waw] {
            assert_eq!(peer.events.try_next(), None, "the link stood all the time");
            assert_eq!(peer.link.known().counts.losses, 0);
            assert_eq!(peer.link.known().counts.refusals, [0; Refusal::ALL.len()]);
        }
    }
}

pub(super) async fn a_peer_among_its_own_seeds_is_no_fault(stage: &impl Stage) {
    let (mut ams, waw) = (stage.start("ams", 1, None), stage.start("waw", 1, None));
    ams.link.send(To::Address(ams.address), Channel::Gossip, Bytes::from_static(b"me"));
    ams.greet(&waw);
    ams.sees_up("waw").await;
    let known = ams.link.known();
    assert_eq!(known.counts.of(Channel::Gossip).dropped, 0);
    assert_eq!(known.peers.len(), 1);
    assert!(known.refusals.is_empty(), "{:?}", known.refusals);
}

pub(super) async fn a_forgotten_peer_is_unknown_until_it_dials(stage: &impl Stage) {
    let (mut ams, mut waw) = pair(stage).await;
    ams.link.forget(&waw.id);
    assert!(ams.link.known().peers.is_empty());
    assert_eq!(waw.sees_lost("ams").await, (1, true));
    waw.greet(&ams);
    waw.sees_up("ams").await;
    assert_eq!(ams.sees_up("waw").await, 1);
}

pub(super) async fn a_peer_of_another_cluster_id_is_refused(stage: &impl Stage) {
    let (mut ams, mut waw) = (stage.start("ams", 1, None), stage.start("waw", 1, None));
    ams.link.set_cluster_id(ClusterId([1; 16]));
    waw.link.set_cluster_id(ClusterId([2; 16]));
    ams.greet(&waw);
    for peer in [&mut ams, &mut waw] {
        assert!(matches!(peer.next().await, LinkEvent::Refused { reason: Refusal::OtherCluster, .. }));
    }
    // One that has met no committed catalog yet is taken by both.
    let mut new = stage.start("new", 1, None);
    new.greet(&ams);
    new.sees_up("ams").await;
    new.greet(&waw);
    new.sees_up("waw").await;
}

/// The suite as tests, on a stage that `$stage` makes.
macro_rules! tests_of {
    ($attribute:meta, $stage:expr; $($name:ident)*) => {
        $(
            #[$attribute]
            async fn $name() {
                $crate::link::suite::$name(&$stage).await;
            }
        )*
    };
    ($attribute:meta, $stage:expr) => {
        $crate::link::suite::tests_of! { $attribute, $stage;
            a_message_arrives_once_on_its_channel_with_the_name_of_its_sender
            a_burst_arrives_without_a_duplicate
            the_longest_message_of_each_channel_arrives_and_one_byte_more_is_dropped_and_counted
            a_goodbye_is_seen_at_once_and_ends_the_link_in_silence
            a_killed_peer_is_lost_within_the_idle_time_and_dialed_once_more
            a_restarted_peer_is_linked_again_under_its_new_incarnation
            an_address_is_dialed_until_somebody_answers
            a_second_peer_of_one_id_is_refused_and_told_while_the_first_lives
            a_message_for_a_peer_that_was_never_met_is_dropped_and_counted
            a_question_is_answered_or_the_asker_learns_why_not
            a_question_that_is_answered_at_once_does_not_wait_for_those_that_wait
            a_question_ends_with_its_link
            two_peers_that_dial_each_other_at_once_end_with_one_link
            a_peer_among_its_own_seeds_is_no_fault
            a_forgotten_peer_is_unknown_until_it_dials
            a_peer_of_another_cluster_id_is_refused
        }
    };
}

pub(super) use tests_of;
