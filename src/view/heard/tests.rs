//! One peer's view while others talk: `own` is this peer, the others are `b`, `c` and so on. No time passes but what is given.

use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroU32;

use super::*;
use crate::host::{self, Dice};
use crate::model::{
    Catalog, Check, CheckKind, Health, Member, Node, NodeId, NodeKey, Observation, Observe, Panic, Pool, RegionName,
    Strategy, TcpCheck, Verdict,
};
use crate::view::verdict::{Vote, verdict};
use crate::view::{Ask, Changes, Event, Local, Tried, Unavailable, View, first};

const SECOND: Duration = Duration::from_secs(1);

/// A view, its time, and the others.
struct Stage {
    view: View,
    now: Instant,
    peers: Vec<PeerId>,
}

fn peer(text: &str) -> PeerId {
    text.parse().unwrap()
}

fn members(peers: &[PeerId]) -> Arc<Members> {
    let member = |id: &PeerId| Member { id: id.clone(), region: RegionName::default() };
    Arc::new(Members::new(member(&peer("own")), peers.iter().map(member)))
}

fn health(letter: char) -> Option<Health> {
    match letter {
        'U' => Some(Health::Up),
        'G' => Some(Health::Degraded),
        'D' => Some(Health::Down),
        '-' => None,
        _ => panic!("{letter}"),
    }
}

fn heard(letter: char) -> Heard {
    Heard { vote: health(letter), reached_before: letter != '-', latency: None, ejected: letter == 'D' }
}

fn letter(verdict: Verdict) -> char {
    match verdict {
        Verdict::Up => 'U',
        Verdict::Degraded => 'G',
        Verdict::Down => 'D',
        Verdict::Unknown => '?',
    }
}

fn pool(nodes: usize) -> Pool {
    let mut pool = Pool::new("p".parse().unwrap());
    pool.check = Check { interval: SECOND, ..Check::of(CheckKind::Tcp(TcpCheck::default())) };
    pool.strategy = Strategy::LeastConnections;
    for number in 0..nodes {
        pool.nodes.push(Node::new(format!("n{number}").parse().unwrap(), "192.0.2.1:80".parse().unwrap()));
    }
    pool
}

impl Stage {
    /// One line a peer and one letter a node, this peer's line first.
    fn new(lines: &[&str]) -> Self {
        let peers: Vec<PeerId> = ["b", "c", "d", "e", "f", "g"][..lines.len() - 1].iter().map(|id| peer(id)).collect();
        Self::of(pool(lines[0].len()), peers, lines)
    }

    fn of(pool: Pool, peers: Vec<PeerId>, lines: &[&str]) -> Self {
        let now = host::now();
        let view = first(&Catalog::new(vec![pool]).unwrap(), members(&peers), now);
        let mut stage = Self { view, now, peers };
        stage.votes(lines);
        stage
    }

    fn tell(&mut self, events: impl IntoIterator<Item = Event>) {
        let mut changes = Changes::default();
        events.into_iter().for_each(|event| changes.add(&self.view, event));
        self.view = self.view.after(changes, self.now);
    }

    fn votes(&mut self, lines: &[&str]) {
        let mut events: Vec<Event> = lines[0]
            .chars()
            .enumerate()
            .map(|(number, letter)| Event::Observed { node: key_of(number), observation: observation(letter) })
            .collect();
        for (observer, line) in self.peers.iter().zip(&lines[1..]) {
            let nodes = line.chars().enumerate().map(|(number, letter)| (self.key(number), heard(letter))).collect();
            events.push(Event::Heard { observer: observer.clone(), page: 0, nodes });
            events.push(Event::Swept { observer: observer.clone(), at: self.now });
        }
        events.push(Event::OwnSwept { at: self.now });
        self.tell(events);
    }

    fn key(&self, number: usize) -> NodeKey {
        self.view.node(&id(number)).unwrap().1.key
    }

    /// Time passes, and those who are named say that they look.
    fn pass(&mut self, time: Duration, sweeping: &[&str]) {
        self.now += time;
        let at = self.now;
        self.tell(sweeping.iter().map(|name| match *name {
            "own" => Event::OwnSwept { at },
            name => Event::Swept { observer: peer(name), at },
        }));
    }

    /// The verdicts, one letter a node.
    fn verdicts(&self) -> String {
        self.view.pools[0].nodes.iter().map(|node| letter(node.state.verdict)).collect()
    }

    fn doubtful(&self) -> Vec<String> {
        self.view.doubtful().iter().map(ToString::to_string).collect()
    }

    /// Who is picked by 100 requests that end at once.
    fn picked(&self) -> Vec<String> {
        let mut dice = Dice::from_seed(1);
        let mut ids = std::collections::BTreeSet::new();
        for number in 0..100 {
            let ask = Ask::of(IpAddr::V4(Ipv4Addr::from_bits(number)), host::now());
            let taken = self.view.pools[0].take(&ask, &Tried::default(), &mut dice).unwrap();
            ids.insert(taken.node().node.id.to_string());
        }
        ids.into_iter().collect()
    }
}

fn id(number: usize) -> NodeId {
    format!("n{number}").parse().unwrap()
}

/// Of a node of [`pool`].
fn key_of(number: usize) -> NodeKey {
    NodeKey::of(&id(number), &"192.0.2.1:80".parse().unwrap())
}

fn observation(letter: char) -> Observation {
    let Heard { vote, reached_before, latency, .. } = heard(letter);
    Observation { vote, reached_before, latency, ..Observation::default() }
}

#[test]
fn a_peer_that_alone_is_cut_off_from_a_node_routes_around_it_and_the_cluster_does_not() {
    // Told at one that reaches it ...
    let stage = Stage::new(&["UUUUU", "DUUUU", "UUUUU", "UUUUU", "UUUUU"]);
    assert_eq!(stage.verdicts(), "UUUUU");
    assert_eq!(stage.picked(), ["n0", "n1", "n2", "n3", "n4"]);
    // ... and at the one that does not.
    let stage = Stage::new(&["DUUUU", "UUUUU", "UUUUU", "UUUUU", "UUUUU"]);
    assert_eq!(stage.verdicts(), "UUUUU");
    assert_eq!(stage.picked(), ["n1", "n2", "n3", "n4"]);
    assert_eq!(stage.view.pools[0].nodes[0].local(), Local::Ejected);
    assert_eq!(stage.doubtful(), Vec::<String>::new());
    // When nothing else is left even that node is better than none.
    let mut stage = Stage::new(&["DDDDD", "UDDDD", "UDDDD", "UDDDD", "UDDDD"]);
    assert_eq!((stage.verdicts(), stage.picked()), ("UDDDD".to_owned(), vec!["n0".to_owned()]));
    stage.votes(&["DDDDD"; 5]);
    assert_eq!(stage.picked().len(), 5);
}

#[test]
fn a_node_that_only_this_peer_cannot_reach_comes_after_backup_nodes_and_not_at_all_where_panic_is_closed() {
    for panic in [Panic::Open, Panic::Closed] {
        let mut settings = pool(3);
        settings.panic = panic;
        settings.nodes[1].backup = true;
        let mut stage = Stage::of(settings, vec![peer("b"), peer("c")], &["DUD", "UUD", "UUD"]);
        assert_eq!((stage.verdicts(), stage.picked()), ("UUD".to_owned(), vec!["n1".to_owned()]));
        stage.votes(&["DDD", "UDD", "UDD"]);
        let ask = Ask::of(IpAddr::V4(Ipv4Addr::LOCALHOST), host::now());
        let taken = stage.view.pools[0].take(&ask, &Tried::default(), &mut Dice::from_seed(1));
        let expected = if panic == Panic::Open { Ok(id(0)) } else { Err(Unavailable::NoNode) };
        assert_eq!(taken.map(|taken| taken.node().node.id.clone()), expected);
    }
}

#[test]
fn most_of_the_peers_take_a_node_down_everywhere_and_fewer_do_not() {
    for (downs, expected) in [(1, 'U'), (2, 'U'), (3, 'D'), (4, 'D'), (5, 'D')] {
        for cut_off in [true, false] {
            // Whether this peer is among them.
            let mut lines = vec!["DUUUU"; downs];
            lines.resize(5, "UUUUU");
            if !cut_off {
                lines.reverse();
            }
            let stage = Stage::new(&lines);
            assert_eq!(stage.verdicts(), format!("{expected}UUUU"), "{lines:?}");
        }
    }
    // A tie favours the node, and so does one who never reached it.
    assert_eq!(Stage::new(&["D", "U"]).verdicts(), "U");
    assert_eq!(Stage::new(&["D", "D"]).verdicts(), "D");
}

#[test]
fn a_peer_that_reaches_nothing_is_doubtful_and_takes_nobody_with_it_not_even_itself() {
    for lines in [["DDDD", "UUUU", "UUUU"], ["UUUU", "DDDD", "UUUU"]] {
        let stage = Stage::new(&lines);
        let expected = if lines[0] == "DDDD" { "own" } else { "b" };
        assert_eq!((stage.verdicts(), stage.doubtful()), ("UUUU".to_owned(), vec![expected.to_owned()]));
        assert_eq!(stage.picked().len(), 4);
    }
    // With its vote the first node would be down for all.
    let mut stage = Stage::new(&["UUUU", "DDDD", "DUUU"]);
    assert_eq!(stage.verdicts(), "UUUU");
    // It sees again, and its vote counts again.
    stage.votes(&["UUUU", "DUUU", "DUUU"]);
    assert_eq!((stage.verdicts(), stage.doubtful()), ("DUUU".to_owned(), Vec::<String>::new()));
}

#[test]
fn a_vote_counts_while_its_observer_is_seen_to_look() {
    let mut stage = Stage::new(&["U", "D", "D"]);
    assert_eq!(stage.verdicts(), "D");
    assert_eq!(stage.view.due(), Some(stage.now + FRESH_MIN));
    stage.pass(2 * SECOND, &["own", "c"]);
    assert_eq!(stage.verdicts(), "D");
    // `b` has been silent for three seconds now: one of two is not enough.
    stage.pass(SECOND, &["own", "c"]);
    assert_eq!(stage.verdicts(), "U");
    let opinions = stage.view.opinions(&id(0)).unwrap();
    let shown: Vec<(&str, bool)> = opinions.iter().map(|of| (of.peer.as_str(), of.fresh)).collect();
    assert_eq!(shown, [("b", false), ("c", true), ("own", true)]);
    let event = Event::Swept { observer: peer("b"), at: stage.now };
    assert!(stage.view.is_news(&event), "it wakes up");
    stage.pass(SECOND, &["b"]);
    assert_eq!(stage.verdicts(), "D");
}

#[test]
fn where_checks_are_rarer_a_vote_is_good_for_two_intervals() {
    let mut rare = pool(1);
    rare.check.interval = 10 * SECOND;
    let mut stage = Stage::of(rare, vec![peer("b"), peer("c")], &["U", "D", "D"]);
    stage.pass(19 * SECOND, &["own"]);
    assert_eq!(stage.verdicts(), "D");
    stage.pass(SECOND, &["own"]);
    assert_eq!(stage.verdicts(), "U");
}

#[test]
fn a_page_without_a_sweep_counts_for_nothing() {
    let mut stage = Stage::new(&["U", "-", "-"]);
    stage.tell([Event::Members(members(&["b", "c", "x", "y"].map(peer)))]);
    for name in ["x", "y"] {
        let nodes = vec![(stage.key(0), heard('D'))];
        stage.tell([Event::Heard { observer: peer(name), page: 0, nodes }]);
    }
    assert_eq!(stage.verdicts(), "U");
    stage.pass(SECOND, &["x", "y"]);
    assert_eq!(stage.verdicts(), "D");
}

#[test]
fn a_peer_whose_own_checks_stand_still_goes_by_the_others() {
    let mut stage = Stage::new(&["D", "D", "U"]);
    assert_eq!(stage.verdicts(), "D");
    stage.pass(FRESH_MIN, &["b", "c"]);
    assert_eq!(stage.verdicts(), "U", "its own vote of before does not count");
}

#[test]
fn a_peer_that_is_alone_goes_by_what_it_saw_last() {
    let mut stage = Stage::new(&["UD"]);
    stage.pass(3_600 * SECOND, &[]);
    assert_eq!((stage.verdicts(), stage.view.due()), ("UD".to_owned(), None));
}

#[test]
fn what_a_dead_peer_said_does_not_count_from_that_moment_and_again_when_it_is_back() {
    let mut stage = Stage::new(&["U", "D", "D"]);
    stage.tell([Event::Members(members(&[peer("b")]))]);
    assert_eq!(stage.verdicts(), "U");
    stage.tell([Event::Members(members(&[peer("b"), peer("c")]))]);
    assert_eq!(stage.verdicts(), "D");
    // One that was started anew has nothing to do with what it said before.
    stage.tell([Event::Forgotten { observer: peer("c") }, Event::Swept { observer: peer("c"), at: stage.now }]);
    assert_eq!(stage.verdicts(), "U");
    assert_eq!(stage.view.opinions(&id(0)).unwrap().len(), 2);
}

#[test]
fn when_all_are_silent_the_last_verdict_holds_for_half_a_minute_and_then_local_evidence_alone() {
    let mut stage = Stage::new(&["-", "D", "D"]);
    stage.pass(FRESH_MIN, &["own"]);
    assert_eq!(stage.verdicts(), "D");
    assert_eq!(stage.view.due(), Some(stage.now + FRESH_MIN), "of this peer itself");
    stage.pass(29 * SECOND, &["own"]);
    assert_eq!(stage.verdicts(), "D");
    stage.pass(SECOND, &["own"]);
    assert_eq!(stage.verdicts(), "?");
    stage.pass(SECOND, &["b", "c"]);
    assert_eq!(stage.verdicts(), "D");
}

#[test]
fn a_node_may_move_from_page_to_page_in_either_order_and_leaves_with_its_page() {
    let page = |stage: &Stage, page: u16, nodes: &[usize]| Event::Heard {
        observer: peer("b"),
        page,
        nodes: nodes.iter().map(|&number| (stage.key(number), heard('D'))).collect(),
    };
    let said = |stage: &Stage| -> Vec<usize> { stage.view.pools[0].nodes.iter().map(|node| node.said.len()).collect() };
    for together in [true, false] {
        for order in [[0, 1], [1, 0]] {
            let mut stage = Stage::new(&["UUU", "DDD"]);
            let pages = [page(&stage, 0, &[0]), page(&stage, 1, &[1, 2])];
            let events = order.map(|at: usize| pages[at].clone());
            if together {
                stage.tell(events);
            } else {
                events.into_iter().for_each(|event| stage.tell([event]));
            }
            assert_eq!(said(&stage), [1, 1, 1], "{order:?} {together}");
            let gone = page(&stage, 1, &[]);
            assert!(stage.view.is_news(&gone));
            stage.tell([gone]);
            assert_eq!(said(&stage), [1, 0, 0], "{order:?} {together}");
        }
    }
}

#[test]
fn what_nobody_here_knows_is_dropped_and_counted() {
    let mut stage = Stage::new(&["UU", "UU"]);
    let stranger = NodeKey::from_bytes([7; 6]);
    let nodes = vec![(stranger, heard('D')), (stage.key(0), heard('D')), (stage.key(0), heard('D'))];
    stage.tell([Event::Heard { observer: peer("b"), page: 0, nodes: nodes.clone() }]);
    assert_eq!(stage.view.heard_dropped(), 2, "a node that is unknown, and one that is there twice");
    stage.tell([Event::Heard { observer: peer("b"), page: u16::MAX, nodes: nodes.clone() }]);
    assert_eq!(stage.view.heard_dropped(), 5);
    stage.tell([Event::Heard { observer: peer("own"), page: 0, nodes }]);
    assert_eq!(stage.view.heard_dropped(), 8, "nobody else speaks for this peer");
    assert_eq!(stage.view.pools[0].nodes[1].said.len(), 0, "the page says no more of it");
}

#[test]
fn observers_are_bounded_and_one_that_lives_takes_the_place_of_one_that_does_not() {
    let mut stage = Stage::new(&["U", "U"]);
    for number in 0..300 {
        let nodes = vec![(stage.key(0), heard('D'))];
        stage.tell([Event::Heard { observer: peer(&format!("x{number}")), page: 0, nodes }]);
    }
    assert_eq!(stage.view.observers.known().count(), PEERS_MAX);
    assert_eq!(stage.view.pools[0].nodes[0].said.len(), PEERS_MAX - 1);
    assert!(stage.view.heard_dropped() >= 300 - PEERS_MAX as u64);
    let late = peer("x299");
    stage.tell([Event::Members(members(&[peer("b"), late.clone()]))]);
    stage.tell([Event::Swept { observer: late.clone(), at: stage.now }]);
    assert!(stage.view.observers.find(&late).is_some());
    assert_eq!(stage.view.pools[0].nodes[0].said.len(), PEERS_MAX - 2);
}

#[test]
fn the_latency_of_a_node_is_the_median_over_observers() {
    let mut stage = Stage::new(&["U", "U", "U", "U"]);
    let ms = |ms| Some(Duration::from_millis(ms));
    let own = Observation { latency: ms(40), ..observation('U') };
    let mut events = vec![Event::Observed { node: key_of(0), observation: own }];
    for (name, latency) in [("b", ms(10)), ("c", ms(900)), ("d", None)] {
        let nodes = vec![(stage.key(0), Heard { latency, ..heard('U') })];
        events.push(Event::Heard { observer: peer(name), page: 0, nodes });
    }
    stage.tell(events);
    assert_eq!(stage.view.pools[0].nodes[0].latency, ms(40));
    stage.tell([Event::Members(members(&["c", "d"].map(peer)))]);
    assert_eq!(stage.view.pools[0].nodes[0].latency, ms(40), "the nearer of two");
    stage.pass(40 * SECOND, &[]);
    assert_eq!(stage.view.pools[0].nodes[0].latency, ms(40), "nobody speaks, and the last picture holds");
}

#[test]
fn what_others_have_in_flight_counts_in_the_choice_and_fades_within_three_seconds() {
    let mut stage = Stage::new(&["UU", "UU", "UU"]);
    let load = |stage: &Stage, name: &str, counts: &[(usize, u32)]| Event::Load {
        observer: peer(name),
        at: stage.now,
        in_flight: counts.iter().map(|&(number, count)| (stage.key(number), count)).collect(),
    };
    let elsewhere = |stage: &Stage, after: Duration| {
        let some = stage.view.share_load(stage.now + after);
        let counts = [0, 1].map(|at| stage.view.pools[0].nodes[at].live.in_flight_elsewhere());
        assert_eq!(counts.iter().sum::<u32>(), stage.view.pools[0].live.in_flight_everywhere());
        (some, counts)
    };
    assert_eq!(elsewhere(&stage, Duration::ZERO), (false, [0, 0]));
    let events = [load(&stage, "b", &[(0, 20), (1, 4)]), load(&stage, "c", &[(0, 10)])];
    stage.tell(events);
    for (ms, expected) in
        [(0, (true, [30, 4])), (1_000, (true, [20, 3])), (1_500, (true, [15, 2])), (3_000, (false, [0, 0]))]
    {
        assert_eq!(elsewhere(&stage, Duration::from_millis(ms)), expected, "{ms} ms");
    }
    elsewhere(&stage, Duration::ZERO);
    assert_eq!(stage.picked(), ["n1"], "least connections, of all peers");
    let opinions = stage.view.opinions(&id(0)).unwrap();
    assert_eq!(opinions.iter().map(|of| of.in_flight).collect::<Vec<_>>(), [20, 10, 0]);

    // The latest word counts, and a dead peer holds nothing.
    let event = load(&stage, "b", &[(0, 2)]);
    stage.tell([event]);
    assert_eq!(elsewhere(&stage, Duration::ZERO), (true, [12, 0]));
    // Whose load stays as it is says nothing of it, but that it is still there.
    stage.pass(2 * SECOND, &["c"]);
    assert_eq!(elsewhere(&stage, SECOND), (true, [7, 0]));
    stage.pass(Duration::ZERO, &["b"]);
    assert_eq!(elsewhere(&stage, Duration::ZERO), (true, [12, 0]));
    stage.tell([Event::Members(members(&[peer("b")]))]);
    assert_eq!(elsewhere(&stage, Duration::ZERO), (true, [2, 0]));
}

#[test]
fn a_hashed_to_node_that_is_crowded_from_elsewhere_is_passed_over_and_places_stay_a_peers_own() {
    let mut hashed = pool(4);
    hashed.strategy = Strategy::ConsistentHash;
    for node in &mut hashed.nodes {
        node.max_connections = NonZeroU32::MIN;
    }
    let mut stage = Stage::of(hashed, vec![peer("b")], &["UUUU", "UUUU"]);
    let ask = Ask { hash: Some(7), ..Ask::of(IpAddr::V4(Ipv4Addr::LOCALHOST), host::now()) };
    let home = |stage: &Stage| {
        let taken = stage.view.pools[0].take(&ask, &Tried::default(), &mut Dice::from_seed(1)).unwrap();
        taken.node().node.id.clone()
    };
    let at_first = home(&stage);
    let number = (0..4).find(|&number| id(number) == at_first).unwrap();
    let in_flight = vec![(stage.key(number), 1_000)];
    stage.tell([Event::Load { observer: peer("b"), at: stage.now, in_flight }]);
    stage.view.share_load(stage.now);
    assert_ne!(home(&stage), at_first);
    // Where all others are full here, the crowded one still has this peer's place.
    let others = (0..4).filter(|&other| other != number).map(|other| &stage.view.pools[0].nodes[other].live);
    others.for_each(|live| assert!(stage.view.pools[0].live.try_enter(live, 1)));
    assert_eq!(home(&stage), at_first);
}

#[test]
fn one_word_on_one_node_of_many_touches_that_node_alone() {
    let other = Pool {
        name: "q".parse().unwrap(),
        nodes: vec![Node::new("z".parse().unwrap(), "192.0.2.2:80".parse().unwrap())],
        ..pool(0)
    };
    let now = host::now();
    let peers = vec![peer("b"), peer("c")];
    let view = first(&Catalog::new(vec![pool(100), other]).unwrap(), members(&peers), now);
    let mut stage = Stage { view, now, peers };
    let all = "U".repeat(100);
    stage.votes(&[&all, &all, &all]);
    let before = stage.view.clone();
    let nodes: Vec<_> =
        (0..100).map(|number| (stage.key(number), heard(if number == 7 { 'D' } else { 'U' }))).collect();
    stage.tell([Event::Heard { observer: peer("b"), page: 0, nodes: nodes.clone() }]);
    let kept = |stage: &Stage| -> Vec<usize> {
        let pairs = before.pools[0].nodes.iter().zip(&stage.view.pools[0].nodes).enumerate();
        pairs.filter(|(_, (old, new))| !Arc::ptr_eq(old, new)).map(|(at, _)| at).collect()
    };
    assert_eq!(kept(&stage), [7]);
    assert!(Arc::ptr_eq(&before.pools[1], &stage.view.pools[1]));
    assert!(stage.view.pools[0].picks_like(&before.pools[0]), "the verdict is as it was");
    let pool = Arc::clone(&stage.view.pools[0]);
    stage.tell([Event::Heard { observer: peer("b"), page: 0, nodes }]);
    stage.pass(SECOND, &["own", "b", "c"]);
    assert!(Arc::ptr_eq(&pool, &stage.view.pools[0]), "what is said again and sweeps alone change no pool");
}

#[test]
fn a_peer_that_does_not_observe_a_node_knows_it_from_those_who_do() {
    let mut checked = Stage::new(&["---", "---", "---", "---", "---", "---", "---"]);
    checked.pass(FRESH_MIN, &["own"]);
    assert!(!checked.view.is_checked());
    let observation = Observation { checks_total: 1, ..observation('D') };
    checked.tell([Event::Observed { node: key_of(0), observation }]);
    assert!(!checked.view.is_checked(), "of the others nothing is known");
    let nodes = (0..3).map(|number| (checked.key(number), heard('U'))).collect();
    checked.tell([Event::Heard { observer: peer("b"), page: 0, nodes }]);
    assert!(!checked.view.is_checked(), "nor from somebody who is not seen to look");
    checked.pass(Duration::ZERO, &["b"]);
    assert!(checked.view.is_checked());
}

#[test]
fn peers_of_other_regions_have_no_say_on_a_node_while_one_of_its_own_lives() {
    let member = |id: &PeerId, region: &str| Member { id: id.clone(), region: region.parse().unwrap() };
    let others = [("b", "eu"), ("c", "us"), ("d", "us"), ("e", "us")];
    for (region, lines, expected) in [
        (Some("eu"), ["D", "D", "U", "U", "U"], "D"),
        (Some("us"), ["D", "D", "U", "U", "U"], "U"),
        (Some("us"), ["U", "U", "D", "D", "U"], "D"),
        // It is in this peer's region, and what others find at its address is another thing.
        (None, ["U", "U", "D", "D", "D"], "U"),
        // Nobody lives there: everybody has a say.
        (Some("asia"), ["U", "U", "D", "D", "D"], "D"),
        (Some("asia"), ["D", "D", "U", "U", "U"], "U"),
    ] {
        let mut pool = pool(1);
        pool.nodes[0].region = region.map(|region| region.parse().unwrap());
        let mut stage = Stage::of(pool, others.map(|(id, _)| peer(id)).to_vec(), &lines);
        let regions = others.map(|(id, region)| member(&peer(id), region));
        stage.tell([Event::Members(Arc::new(Members::new(member(&peer("own"), "eu"), regions)))]);
        assert_eq!(stage.verdicts(), expected, "{region:?} {lines:?}");
        // The last of the others dies or moves: the node is judged anew.
        let here = others.map(|(id, _)| member(&peer(id), "eu"));
        stage.tell([Event::Members(Arc::new(Members::new(member(&peer("own"), "eu"), here)))]);
        let downs = lines.iter().filter(|line| **line == "D").count();
        assert_eq!(stage.verdicts(), if downs > 2 { "D" } else { "U" }, "{region:?} {lines:?}");
    }
}

/// However a view came about step by step, each verdict is that of the votes that count, and the tally is that of a view made
/// in one go.
#[test]
fn what_is_built_step_by_step_is_what_would_be_built_at_once() {
    let mut dice = Dice::from_seed(0x5eed);
    let everybody = ["b", "c", "d", "e", "f"].map(peer);
    let mut stage = Stage::new(&["UUUUUU"; 6]);
    let (mut unanimous, mut doubted) = (0, 0);
    for _ in 0..3_000 {
        let number = dice.below(6);
        let letter = ['U', 'U', 'U', 'G', 'D', 'D', '-'][dice.below(7)];
        let observer = everybody[dice.below(5)].clone();
        let event = match dice.below(8) {
            0 | 1 => Event::Observed { node: key_of(number), observation: observation(letter) },
            2..=4 => {
                let page = u16::try_from(number).unwrap();
                Event::Heard { observer, page, nodes: vec![(stage.key(number), heard(letter))] }
            }
            5 => Event::Swept { observer, at: stage.now },
            6 => Event::OwnSwept { at: stage.now },
            _ if dice.below(4) == 0 => Event::Forgotten { observer },
            _ => Event::Members(members(&everybody[..3 + dice.below(3)])),
        };
        stage.now += Duration::from_millis(50 * dice.below(4) as u64);
        stage.tell([event]);
        let pool = &stage.view.pools[0];
        for node in &pool.nodes {
            let opinions = stage.view.opinions(&node.node.id).unwrap();
            let counting = opinions.iter().filter(|of| of.fresh && !of.doubtful).map(|of| of.heard);
            let votes: Vec<Vote> = counting
                .filter_map(|heard| Some(Vote { health: heard.vote?, reached_before: heard.reached_before }))
                .collect();
            if votes.is_empty() {
                assert!(node.silent_since.is_some());
            } else {
                assert_eq!(node.state.verdict, verdict(&votes, None, None), "{opinions:?}");
                unanimous += usize::from(votes.windows(2).all(|two| two[0].health == two[1].health));
            }
        }
        assert_eq!(*pool.tally, crate::view::build::tally(&pool.nodes, pool.standing.fresh));
        doubted += stage.view.doubtful().len();
    }
    assert!(unanimous < 15_000 && doubted > 10, "too little happened: {unanimous} {doubted}");
}

/// Prints what it costs; the bound is that of the design, 2 ms, with room for slow machines.
#[test]
fn doubt_over_twenty_peers_and_a_thousand_nodes_costs_little() {
    let mut many = pool(1_000);
    many.observe = Observe::Everywhere;
    let peers: Vec<PeerId> = (0..19).map(|number| peer(&format!("p{number}"))).collect();
    let all = "U".repeat(1_000);
    let none = "D".repeat(1_000);
    let mut lines = vec![all.as_str(); 20];
    lines[7] = &none;
    let mut stage = Stage::of(many, peers, &lines);
    assert_eq!(stage.doubtful(), ["p6"]);
    let mut times: Vec<Duration> = (0..20)
        .map(|round| {
            let nodes = vec![(stage.key(round), heard('D'))];
            let event = Event::Heard { observer: peer("p3"), page: 1, nodes };
            let began = host::now();
            stage.tell([event]);
            host::now() - began
        })
        .collect();
    times.sort_unstable();
    println!("next view of 1,000 nodes with 20 observers each, doubt included: {} us", times[10].as_micros());
    let began = host::now();
    let votes: Vec<(usize, Health)> = (0..20).map(|peer| (peer, Health::Up)).collect();
    let mut tally = super::super::verdict::Tally::default();
    (0..1_000).for_each(|_| tally.count(&votes));
    assert!(tally.doubtful().is_empty());
    println!("doubt alone, 20 peers and 1,000 nodes: {} us", (host::now() - began).as_micros());
}
