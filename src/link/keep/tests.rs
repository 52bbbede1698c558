use super::super::events::LinkEvent;
use super::dials::BACKOFF_MOST;
use super::*;
use crate::host;
use crate::model::ClusterId;
use crate::model::limits::DIAL_ADDRESSES_MAX;
use crate::wire::{Advertised, Software};

/// A keeper, and what it has been told and has answered.
struct Story {
    keeper: Keeper,
    start: Instant,
    now: Instant,
}

fn hello(id: &str, incarnation: u64) -> Hello {
    // An address that is the peer's alone.
    let number = id.bytes().fold(0_u8, u8::wrapping_add);
    Hello {
        cluster: "prod".parse().unwrap(),
        id: id.parse().unwrap(),
        region: "eu-west".parse().unwrap(),
        incarnation,
        advertised: Advertised::new(SocketAddr::from(([10, 0, 0, number], 7940))).unwrap(),
        cluster_id: None,
        software: Software::own(),
    }
}

fn address(id: &str) -> SocketAddr {
    hello(id, 1).advertised.get()
}

fn message() -> Bytes {
    Bytes::from_static(b"message")
}

impl Story {
    fn of(id: &str) -> Self {
        let now = host::now();
        Self { keeper: Keeper::new(hello(id, 1), Dice::from_seed(1)), start: now, now }
    }

    fn pass(&mut self, pause: Duration) {
        self.now += pause;
        self.keeper.on_time(self.now);
    }

    fn greeted(&mut self, token: Token, side: Side, hello: Hello) {
        let remote = hello.advertised.get();
        self.keeper.greeted(Newcomer { token, side, remote, hello, is_named: true }, self.now);
    }

    /// A peer that dialed this one.
    fn accept(&mut self, id: &str, incarnation: u64) -> Token {
        let token = self.keeper.begin();
        self.greeted(token, Side::Accepted, hello(id, incarnation));
        token
    }

    fn send(&mut self, to: &To) -> Option<Token> {
        self.keeper.send(to, Channel::Gossip, message(), self.now)
    }

    /// Sends to an address, which must be dialed for that.
    fn dial(&mut self, to: SocketAddr) -> Token {
        assert_eq!(self.send(&To::Address(to)), None);
        match self.outputs().as_slice() {
            [Output::Dial { token, address }] if *address == to => *token,
            outputs => panic!("{to} should be dialed: {outputs:?}"),
        }
    }

    fn outputs(&mut self) -> Vec<Output> {
        std::iter::from_fn(|| self.keeper.poll_output()).collect()
    }

    fn next_deadline(&self) -> Option<Duration> {
        self.keeper.next_deadline(self.now).map(|deadline| deadline.duration_since(self.start))
    }
}

fn up(id: &str, incarnation: u64) -> Output {
    let Hello { id: peer, region, advertised, .. } = hello(id, incarnation);
    Output::Tell(LinkEvent::Up { peer, incarnation, region, address: advertised.get() })
}

fn lost(id: &str, incarnation: u64, said_goodbye: bool) -> Output {
    Output::Tell(LinkEvent::Lost { peer: id.parse().unwrap(), incarnation, said_goodbye })
}

fn refused(reason: Refusal, address: SocketAddr, by_other: bool) -> Output {
    Output::Tell(LinkEvent::Refused { reason, address, by_other })
}

#[test]
fn a_message_to_an_address_dials_it_and_goes_to_whoever_answers() {
    let mut story = Story::of("ams");
    let seed: SocketAddr = "192.168.0.1:7940".parse().unwrap();
    let token = story.dial(seed);
    story.greeted(token, Side::Dialed, hello("waw", 1));
    assert_eq!(story.outputs(), [Output::Take { token }, up("waw", 1)]);
    assert_eq!(story.keeper.next_message(token, Channel::Gossip), Ok(Some(message())));
    assert_eq!(story.keeper.next_message(token, Channel::Gossip), Ok(None));
    // The seed's address, the peer's own and its id all lead to one connection.
    for to in [To::Address(seed), To::Address(address("waw")), To::Peer("waw".parse().unwrap())] {
        assert_eq!(story.send(&to), Some(token), "{to:?}");
    }
    assert_eq!(story.outputs(), []);
}

#[test]
fn a_lost_peer_is_dialed_at_once_and_its_failure_is_told_once() {
    let mut story = Story::of("ams");
    let token = story.accept("waw", 1);
    story.outputs();
    story.keeper.ended(token, Ended::Lost, story.now);
    let outputs = story.outputs();
    let [told, Output::Dial { token: first, address: dialed }] = outputs.as_slice() else { panic!("{outputs:?}") };
    assert_eq!((told, *dialed), (&lost("waw", 1, false), address("waw")));
    story.keeper.failed(*first, None, story.now);
    let failed = LinkEvent::RedialFailed { peer: "waw".parse().unwrap(), incarnation: 1 };
    assert_eq!(story.outputs(), [Output::Tell(failed)]);
    // It goes on, with pauses that double up to the longest, and tells nothing more.
    let mut pauses = Vec::new();
    for _ in 0..12 {
        let pause = story.keeper.next_deadline(story.now).unwrap() - story.now;
        pauses.push(pause);
        story.pass(pause);
        let outputs = story.outputs();
        let [Output::Dial { token, .. }] = outputs.as_slice() else { panic!("{outputs:?}") };
        story.keeper.failed(*token, None, story.now);
        assert_eq!(story.outputs(), []);
    }
    assert!(pauses[0] >= BACKOFF_FIRST / 2 && pauses[0] <= 2 * BACKOFF_FIRST, "{pauses:?}");
    assert!(pauses[11] >= BACKOFF_MOST / 2 && pauses.iter().all(|pause| *pause <= BACKOFF_MOST), "{pauses:?}");
    // Until nobody has wanted it for long.
    story.now += WANTED_BY_LOSS;
    assert_eq!(story.next_deadline(), None);
    assert_eq!(story.send(&To::Peer("waw".parse().unwrap())), None);
    assert!(matches!(story.outputs().as_slice(), [Output::Dial { .. }]), "a message wants it again");
}

#[test]
fn a_peer_that_said_goodbye_is_left_alone_for_a_moment_and_its_messages_are_dropped() {
    let mut story = Story::of("ams");
    let token = story.accept("waw", 1);
    story.send(&To::Peer("waw".parse().unwrap()));
    story.outputs();
    story.keeper.ended(token, Ended::Goodbye, story.now);
    assert_eq!(story.outputs(), [lost("waw", 1, true)]);
    assert_eq!(story.keeper.counts().of(Channel::Gossip).dropped, 1);
    assert_eq!(story.next_deadline(), Some(PAUSE_AFTER_GOODBYE));
    story.pass(PAUSE_AFTER_GOODBYE);
    let outputs = story.outputs();
    let [Output::Dial { token, .. }] = outputs.as_slice() else { panic!("{outputs:?}") };
    story.keeper.failed(*token, None, story.now);
    assert_eq!(story.outputs(), [], "it was not lost, so nothing failed");
}

#[test]
fn four_addresses_are_dialed_at_once_and_the_next_when_one_has_answered() {
    let mut story = Story::of("ams");
    let seeds: Vec<SocketAddr> = (1..=6).map(|at| SocketAddr::from(([192, 168, 0, at], 7940))).collect();
    let mut tokens: Vec<Token> = seeds[..4].iter().map(|seed| story.dial(*seed)).collect();
    for seed in &seeds[4..] {
        story.send(&To::Address(*seed));
        assert_eq!(story.outputs(), []);
    }
    assert_eq!(story.next_deadline(), None, "the end of a dial is the next event");
    story.keeper.failed(tokens.remove(0), None, story.now);
    assert!(matches!(story.outputs().as_slice(), [Output::Dial { address, .. }] if *address == seeds[4]));
    story.greeted(tokens[0], Side::Dialed, hello("waw", 1));
    assert!(matches!(story.outputs().last(), Some(Output::Dial { address, .. }) if *address == seeds[5]));
}

#[test]
fn a_hello_that_cannot_be_taken_is_refused_for_its_reason() {
    let other = |change: fn(&mut Hello)| {
        let mut hello = hello("waw", 1);
        change(&mut hello);
        hello
    };
    for (hello, is_named, reason) in [
        (other(|hello| hello.cluster = "test".parse().unwrap()), true, Refusal::WrongCluster),
        (other(|_| {}), false, Refusal::WrongId),
        (other(|hello| hello.cluster_id = Some(ClusterId([2; 16]))), true, Refusal::OtherCluster),
        (hello("ams", 2), true, Refusal::IdTaken),
        (hello("ams", 1), true, Refusal::Itself),
    ] {
        let mut story = Story::of("ams");
        story.keeper.set_cluster_id(ClusterId([1; 16]));
        let token = story.keeper.begin();
        let remote = hello.advertised.get();
        story.keeper.greeted(Newcomer { token, side: Side::Accepted, remote, hello, is_named }, story.now);
        let mut expected = vec![Output::Refuse { token, reason }];
        // A peer that dials itself is nobody's fault.
        expected.extend((reason != Refusal::Itself).then(|| refused(reason, remote, false)));
        assert_eq!(story.outputs(), expected);
        assert_eq!(
            story.keeper.known(story.now, |_, _| {}).counts.refused(reason),
            u64::from(reason != Refusal::Itself)
        );
    }
}

#[test]
fn a_second_run_of_an_id_waits_until_the_first_has_answered() {
    for answered in [true, false] {
        let mut story = Story::of("ams");
        let old = story.accept("waw", 1);
        story.outputs();
        let newcomer = story.accept("waw", 2);
        assert_eq!(story.outputs(), [Output::Ping { old, newcomer }]);
        story.keeper.pinged(old, newcomer, answered, story.now);
        let expected = if answered {
            let reason = Refusal::IdTaken;
            vec![Output::Refuse { token: newcomer, reason }, refused(reason, address("waw"), false)]
        } else {
            let lost = lost("waw", 1, false);
            vec![Output::Retire { token: old }, lost, Output::Take { token: newcomer }, up("waw", 2)]
        };
        assert_eq!(story.outputs(), expected);
        assert_eq!(story.keeper.link(&"waw".parse().unwrap()), Some(if answered { old } else { newcomer }));
    }
}

#[test]
fn a_second_run_is_taken_at_once_where_the_first_ends_while_it_waits() {
    let mut story = Story::of("ams");
    let old = story.accept("waw", 1);
    let newcomer = story.accept("waw", 2);
    story.outputs();
    story.keeper.ended(old, Ended::Lost, story.now);
    assert!(matches!(story.outputs().as_slice(), [Output::Tell(LinkEvent::Lost { .. }), Output::Dial { .. }]));
    story.keeper.pinged(old, newcomer, false, story.now);
    assert_eq!(story.outputs(), [Output::Take { token: newcomer }, up("waw", 2)]);
}

#[test]
fn a_connection_of_the_same_run_takes_the_place_of_the_old_one_without_a_word() {
    let mut story = Story::of("waw");
    let old = story.accept("ams", 1);
    story.outputs();
    let new = story.accept("ams", 1);
    assert_eq!(story.outputs(), [Output::Retire { token: old }, Output::Take { token: new }]);
    assert_eq!(story.keeper.next_message(old, Channel::Gossip), Err(Gone));
    assert!(story.keeper.owner(old).is_some(), "what is under way on it is still read");
    story.keeper.ended(old, Ended::Lost, story.now);
    assert_eq!(story.outputs(), [], "it ends without a word as well");
}

#[test]
fn a_dial_that_is_welcomed_and_not_needed_is_read_out_before_it_is_closed() {
    let mut story = Story::of("waw");
    let dialed = story.dial(address("ams"));
    let accepted = story.accept("ams", 1);
    assert_eq!(story.outputs(), [Output::Take { token: accepted }, up("ams", 1)]);
    story.greeted(dialed, Side::Dialed, hello("ams", 1));
    assert_eq!(story.outputs(), [Output::Ping { old: accepted, newcomer: dialed }]);
    story.keeper.pinged(accepted, dialed, true, story.now);
    assert_eq!(story.outputs(), [Output::Take { token: dialed }, Output::Retire { token: dialed }]);
    assert_eq!(story.keeper.next_message(dialed, Channel::Gossip), Err(Gone));
    assert_eq!(story.keeper.next_message(accepted, Channel::Gossip), Ok(Some(message())));
    assert_eq!(story.next_deadline(), None, "nothing is left to dial");
}

#[test]
fn a_second_address_of_a_linked_peer_is_known_as_such_once_it_says_so() {
    let mut story = Story::of("waw");
    let link = story.accept("ams", 1);
    story.outputs();
    let alias: SocketAddr = "192.168.0.1:7940".parse().unwrap();
    let dialed = story.dial(alias);
    let duplicate = Refused { reason: Refusal::Duplicate, by_other: true, peer: Some("ams".parse().unwrap()) };
    story.keeper.failed(dialed, Some(duplicate), story.now);
    assert_eq!(story.outputs(), []);
    assert_eq!(story.keeper.next_message(link, Channel::Gossip), Ok(Some(message())), "what waited goes its way");
    assert_eq!(story.send(&To::Address(alias)), Some(link));
}

#[test]
fn a_peers_own_address_is_dialed_once_at_most_and_never_counted() {
    let mut story = Story::of("ams");
    assert_eq!(story.send(&To::Address(address("ams"))), None);
    assert_eq!(story.outputs(), [], "its advertised address it knows");
    let alias: SocketAddr = "127.0.0.1:7940".parse().unwrap();
    let dialed = story.dial(alias);
    let itself = Refused { reason: Refusal::Itself, by_other: true, peer: Some("ams".parse().unwrap()) };
    story.keeper.failed(dialed, Some(itself), story.now);
    story.pass(Duration::from_secs(10));
    assert_eq!(story.send(&To::Address(alias)), None);
    assert_eq!(story.outputs(), []);
    assert_eq!(*story.keeper.counts(), Counts { dials: 1, ..Counts::default() });
}

#[test]
fn with_a_full_table_the_longest_lost_peer_gives_way_and_linked_ones_never() {
    let mut story = Story::of("ams");
    let tokens: Vec<Token> = (0..PEERS_MAX).map(|at| story.accept(&format!("peer-{at}"), 1)).collect();
    story.outputs();
    let token = story.accept("late", 1);
    assert_eq!(story.outputs()[0], Output::Refuse { token, reason: Refusal::Full });
    for at in [7, 3] {
        story.now += Duration::from_secs(1);
        story.keeper.ended(tokens[at], Ended::Goodbye, story.now);
    }
    story.outputs();
    let token = story.accept("late", 1);
    assert!(story.outputs().contains(&Output::Take { token }));
    let known = story.keeper.known(story.now, |_, _| {});
    assert_eq!(known.peers.len(), PEERS_MAX);
    assert!(known.peers.iter().all(|peer| peer.id.as_str() != "peer-7"));
    assert!(known.peers.iter().any(|peer| peer.id.as_str() == "peer-3"));
}

#[test]
fn addresses_that_nobody_wants_give_way_to_new_ones() {
    let mut story = Story::of("ams");
    for at in 0..2 * DIAL_ADDRESSES_MAX {
        let [high, low] = u16::try_from(at).unwrap().to_be_bytes();
        story.send(&To::Address(SocketAddr::from(([172, 16, high, low], 7940))));
    }
    assert_eq!(story.keeper.targets.len(), DIAL_ADDRESSES_MAX);
    assert_eq!(story.keeper.counts().of(Channel::Gossip).dropped, DIAL_ADDRESSES_MAX as u64);
    story.outputs();
    story.now += WANTED_BY_MESSAGE;
    story.send(&To::Address("172.31.0.1:7940".parse().unwrap()));
    assert_eq!(story.keeper.targets.len(), DIAL_ADDRESSES_MAX);
    assert!(story.keeper.targets.contains_key(&"172.31.0.1:7940".parse().unwrap()));
}

#[test]
fn a_peer_that_refuses_after_all_is_dialed_again_after_a_pause_and_told() {
    let mut story = Story::of("ams");
    let token = story.accept("waw", 1);
    story.outputs();
    story.keeper.ended(token, Ended::Refused(Refusal::IdTaken), story.now);
    assert_eq!(story.outputs(), [lost("waw", 1, false), refused(Refusal::IdTaken, address("waw"), true)]);
    assert_eq!(story.next_deadline(), Some(BACKOFF_FIRST));
}
