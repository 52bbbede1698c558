//! The watch in virtual time: no connection is opened here, answers are made up.

use super::*;
use crate::health::machine::Condition;
use crate::host;
use crate::model::{Admin, Health, Member, Node, Pool, RegionName, Revision, TcpCheck};

mod change;
mod divided;
mod hints;

const MS: Duration = Duration::from_millis(1);

/// A pool of this check with a node for each (id, address).
fn catalog(check: Check, nodes: &[(&str, &str)]) -> Catalog {
    let mut pool = Pool::new("web".parse().unwrap());
    pool.check = check;
    pool.nodes = nodes.iter().map(|(id, address)| Node::new(id.parse().unwrap(), address.parse().unwrap())).collect();
    Catalog::new(vec![pool]).unwrap()
}

fn tcp() -> Check {
    Check::of(CheckKind::Tcp(TcpCheck::default()))
}

fn id(text: &str) -> NodeId {
    text.parse().unwrap()
}

fn key(text: &str, address: &str) -> NodeKey {
    NodeKey::of(&id(text), &address.parse().unwrap())
}

/// The first is this peer.
fn members(ids: &[&str]) -> Arc<Members> {
    let member = |id: &&str| Member { id: id.parse().unwrap(), region: RegionName::default() };
    Arc::new(Members::new(member(&ids[0]), ids[1..].iter().map(member)))
}

/// A watch, its time, and what it said last of each node.
struct Stage {
    watch: Watch,
    now: Instant,
    observed: HashMap<NodeId, Observation>,
    resolved: HashMap<NodeId, Vec<SocketAddr>>,
    swept: Option<Instant>,
}

impl Stage {
    fn new(catalog: &Catalog) -> Self {
        Self::resumed(catalog, HashMap::new())
    }

    fn resumed(catalog: &Catalog, known: HashMap<NodeKey, Known>) -> Self {
        Self::among(catalog, known, &["own"])
    }

    /// The first of `peers` is this one.
    fn among(catalog: &Catalog, known: HashMap<NodeKey, Known>, peers: &[&str]) -> Self {
        let now = host::now();
        let watch = Watch::new(catalog, known, members(peers), now, Dice::from_seed(1), now);
        Self { watch, now, observed: HashMap::new(), resolved: HashMap::new(), swept: None }
    }

    fn hear(&mut self) {
        while let Some(output) = self.watch.next_output() {
            match output {
                Output::Observed { node, observation, .. } => self.observed.insert(node, observation).map(drop),
                Output::Resolved { node, addresses, .. } => self.resolved.insert(node, addresses).map(drop),
                Output::Swept { at } => self.swept.replace(at).map(drop),
            };
        }
        assert!(!self.watch.has_output());
    }

    fn vote(&mut self, node: &str) -> Option<Health> {
        self.hear();
        self.observed[&id(node)].vote
    }

    fn last_result(&mut self, node: &str) -> String {
        self.hear();
        self.observed[&id(node)].last_result.clone()
    }

    /// Goes on to when something is due; how long that was.
    fn skip(&mut self) -> Duration {
        let next = self.watch.next().unwrap();
        let waited = next.saturating_duration_since(self.now);
        self.now = self.now.max(next);
        waited
    }

    fn ask(&mut self) -> Ask {
        self.watch.take_ask(self.now).expect("something is due")
    }

    /// Goes on to the next question; hints that are due until then are gone.
    fn next_ask(&mut self) -> Ask {
        loop {
            self.skip();
            self.watch.take_hints(self.now);
            if let Some(ask) = self.watch.take_ask(self.now) {
                return ask;
            }
        }
    }

    fn answer(
        &mut self,
        ask: &Ask,
        began: Instant,
        result: Result<Condition, Fault>,
        answering: usize,
    ) -> Option<(NodeId, Suspicion)> {
        let words = format!("{result:?} from {}", ask.targets[answering].address);
        let finding = Finding { result, connect: Some(MS), words };
        let answering = result.is_ok().then_some(answering);
        self.watch.answered(ask.index, Answer { began, finding, answering }, self.now)
    }

    /// Waits until a check is due and answers it at once; how long that was.
    fn check(&mut self, result: Result<Condition, Fault>) -> Duration {
        let waited = self.skip();
        let ask = self.ask();
        self.answer(&ask, self.now, result, 0);
        waited
    }

    fn name(&mut self, answer: &[&str]) {
        let (number, _) = self.watch.take_name(self.now).expect("a name is due");
        let answer = if answer.is_empty() {
            Err(NameError::TimedOut { name: "web.test".into() })
        } else {
            let addresses = answer.iter().map(|ip| ip.parse().unwrap()).collect();
            Ok(Resolved { addresses, valid_for: Duration::from_secs(1) })
        };
        self.watch.name_answered(number, answer, self.now);
    }
}

fn sockets(addresses: &[&str]) -> Vec<SocketAddr> {
    addresses.iter().map(|address| address.parse().unwrap()).collect()
}

#[test]
fn every_node_is_asked_at_once_at_the_start_and_the_round_ends_with_the_last() {
    let mut stage = Stage::new(&catalog(tcp(), &[("a", "10.0.0.1:80"), ("b", "10.0.0.2:80")]));
    let (first, second) = (stage.ask(), stage.ask());
    assert_eq!(first.targets[0].address, "10.0.0.1:80".parse().unwrap());
    assert_eq!(&*first.targets[0].authority, "10.0.0.1");
    assert!(stage.watch.take_ask(stage.now).is_none());
    stage.answer(&first, stage.now, Ok(Condition::Well), 0);
    stage.hear();
    assert!(!stage.watch.is_first_round_done());
    stage.answer(&second, stage.now, Err(Fault::Hard), 0);
    assert!(!stage.watch.is_first_round_done(), "nobody has heard of it");
    assert_eq!((stage.vote("a"), stage.vote("b")), (Some(Health::Up), Some(Health::Down)));
    assert!(stage.watch.is_first_round_done());
}

#[test]
fn a_node_that_comes_back_within_a_minute_is_up_within_a_second() {
    let mut stage = Stage::new(&catalog(tcp(), &[("a", "10.0.0.1:80")]));
    stage.check(Ok(Condition::Well));
    for _ in 0..3 {
        stage.check(Err(Fault::Hard));
    }
    assert_eq!(stage.vote("a"), Some(Health::Down));
    for _ in 0..100 {
        assert!(stage.check(Err(Fault::Hard)) <= 275 * MS);
    }
    // It answers from now on; the next check comes after 275 ms at most, the second after as much again.
    let back = stage.now;
    stage.check(Ok(Condition::Well));
    stage.check(Ok(Condition::Well));
    assert_eq!(stage.vote("a"), Some(Health::Up));
    assert!(stage.now - back <= Duration::from_secs(1));
}

#[test]
fn a_suspicion_asks_at_once_but_not_without_pause() {
    let mut stage = Stage::new(&catalog(tcp(), &[("a", "10.0.0.1:80")]));
    stage.check(Ok(Condition::Well));
    stage.now += 200 * MS;
    stage.watch.suspected(&id("a"), stage.now);
    assert_eq!(stage.skip(), Duration::ZERO);
    let ask = stage.ask();
    assert_eq!(
        stage.answer(&ask, stage.now, Ok(Condition::Well), 0),
        Some((id("a"), Suspicion::Disproved)),
        "a good answer disproves it"
    );
    assert!(!stage.watch.is_suspected(&id("a")));
    stage.watch.suspected(&id("a"), stage.now);
    assert_eq!(stage.skip(), PAUSE_MIN);
    let ask = stage.ask();
    assert_eq!(stage.answer(&ask, stage.now, Err(Fault::Soft), 0), None);
    assert_eq!(stage.vote("a"), Some(Health::Down), "one bad answer is enough");
    stage.watch.suspected(&id("nobody"), stage.now);
}

#[test]
fn an_exchange_that_broke_asks_at_once_and_is_no_more_than_a_reason_to_ask() {
    let check = Check { fall: 3.try_into().unwrap(), ..tcp() };
    let mut stage = Stage::new(&catalog(check, &[("a", "10.0.0.1:80")]));
    stage.check(Ok(Condition::Well));
    for bad in 1..=3 {
        stage.now += PAUSE_MIN;
        stage.watch.broke_off(&id("a"), stage.now);
        assert_eq!(stage.check(Err(Fault::Soft)), Duration::ZERO);
        let vote = if bad < 3 { Health::Up } else { Health::Down };
        assert_eq!(stage.vote("a"), Some(vote), "{bad} of the 3 bad answers that take it down");
        assert!(!stage.watch.is_suspected(&id("a")));
    }
    stage.watch.broke_off(&id("nobody"), stage.now);
}

#[test]
fn an_exchange_that_broke_during_a_check_asks_again_after_it() {
    let mut stage = Stage::new(&catalog(tcp(), &[("a", "10.0.0.1:80")]));
    stage.check(Ok(Condition::Well));
    stage.skip();
    let ask = stage.ask();
    stage.watch.broke_off(&id("a"), stage.now);
    stage.answer(&ask, stage.now, Ok(Condition::Well), 0);
    assert_eq!(stage.skip(), PAUSE_MIN);
    stage.ask();
}

#[test]
fn a_suspicion_during_a_check_asks_again_after_it() {
    let mut stage = Stage::new(&catalog(tcp(), &[("a", "10.0.0.1:80")]));
    stage.check(Ok(Condition::Well));
    stage.skip();
    let ask = stage.ask();
    stage.watch.suspected(&id("a"), stage.now);
    assert!(stage.watch.take_ask(stage.now).is_none(), "one question at a time");
    assert_eq!(stage.answer(&ask, stage.now, Ok(Condition::Well), 0), None, "that question was older");
    let ask = stage.ask();
    assert_eq!(stage.answer(&ask, stage.now, Ok(Condition::Well), 0), Some((id("a"), Suspicion::Disproved)));
}

#[test]
fn a_peer_that_was_late_accuses_nobody() {
    let mut stage = Stage::new(&catalog(tcp(), &[("a", "10.0.0.1:80")]));
    stage.check(Ok(Condition::Well));
    stage.watch.suspected(&id("a"), stage.now);
    stage.skip();
    let (ask, began) = (stage.ask(), stage.now);
    // The process stood still for three seconds.
    stage.now += Duration::from_secs(3);
    assert!(stage.watch.woke(began + 100 * MS, stage.now));
    stage.answer(&ask, began, Err(Fault::Soft), 0);
    assert_eq!(stage.vote("a"), Some(Health::Up));
    assert!(stage.last_result("a").starts_with("not counted, this peer was late itself"));
    stage.now += MS;
    assert!(stage.check(Err(Fault::Soft)) <= Duration::from_millis(1_100), "it is asked again soon");
    assert_eq!(stage.vote("a"), Some(Health::Down), "and what is found then counts");
}

#[test]
fn a_check_that_breaks_off_changes_no_vote_and_is_done_again() {
    let mut stage = Stage::new(&catalog(tcp(), &[("a", "10.0.0.1:80")]));
    let ask = stage.ask();
    stage.watch.broke(ask.index, stage.now);
    assert_eq!(stage.vote("a"), None);
    assert!(stage.last_result("a").contains("fault of this program"));
    assert!(!stage.watch.is_first_round_done());
    stage.check(Ok(Condition::Well));
    stage.hear();
    assert!(stage.watch.is_first_round_done());
}

#[test]
fn a_disabled_node_is_not_asked_and_a_draining_one_is() {
    let mut pool = Pool::new("web".parse().unwrap());
    for (name, admin) in
        [("off", Admin::Disabled), ("leaving", Admin::Draining { begun: Revision::ZERO, timeout: None })]
    {
        pool.nodes.push(Node { admin, ..Node::new(id(name), "10.0.0.1:80".parse().unwrap()) });
    }
    let mut stage = Stage::new(&Catalog::new(vec![pool]).unwrap());
    stage.check(Ok(Condition::Well));
    stage.hear();
    assert!(stage.watch.is_first_round_done());
    assert_eq!((stage.vote("off"), stage.vote("leaving")), (None, Some(Health::Up)));
    assert!(stage.last_result("off").contains("disabled"));
}

#[test]
fn a_pool_without_checks_is_asked_only_on_suspicion() {
    let mut stage = Stage::new(&catalog(Check::of(CheckKind::None), &[("a", "10.0.0.1:80")]));
    assert!(stage.watch.is_first_round_done());
    assert_eq!(stage.watch.next(), None);
    assert_eq!(stage.vote("a"), Some(Health::Up));
    stage.watch.suspected(&id("a"), stage.now);
    stage.check(Err(Fault::Hard));
    assert_eq!(stage.vote("a"), Some(Health::Down));
    assert!(stage.check(Err(Fault::Hard)) <= 275 * MS);
    stage.check(Ok(Condition::Well));
    stage.check(Ok(Condition::Well));
    assert_eq!(stage.vote("a"), Some(Health::Up));
    assert_eq!(stage.watch.next(), None);
}

#[test]
fn the_first_round_waits_for_the_addresses_of_nodes_that_nobody_checks() {
    for (ips, address) in [(&["10.0.0.1"][..], true), (&[], false)] {
        let mut stage = Stage::new(&catalog(Check::of(CheckKind::None), &[("a", "web.test:80"), ("b", "10.0.0.2:80")]));
        stage.hear();
        assert!(!stage.watch.is_first_round_done(), "nobody could be sent there");
        stage.name(ips);
        assert!(!stage.watch.is_first_round_done(), "nobody was told");
        stage.hear();
        assert!(stage.watch.is_first_round_done());
        assert_eq!(stage.resolved.get(&id("a")).is_some_and(|addresses| !addresses.is_empty()), address);
    }
}

#[test]
fn a_name_is_resolved_before_the_node_is_asked_and_the_address_that_answers_goes_first() {
    let mut stage = Stage::new(&catalog(tcp(), &[("a", "web.test:80"), ("b", "web.test:81")]));
    assert!(stage.watch.take_ask(stage.now).is_none());
    stage.name(&["10.0.0.1", "10.0.0.2", "10.0.0.3"]);
    assert!(stage.watch.take_name(stage.now).is_none(), "one name, one question");
    stage.hear();
    assert_eq!(stage.resolved[&id("b")], sockets(&["10.0.0.1:81", "10.0.0.2:81", "10.0.0.3:81"]));
    let ask = stage.ask();
    assert_eq!(ask.targets.len(), 3);
    stage.answer(&ask, stage.now, Ok(Condition::Well), 2);
    stage.hear();
    let first = sockets(&["10.0.0.3:80", "10.0.0.1:80", "10.0.0.2:80"]);
    assert_eq!(stage.resolved[&id("a")], first);
    // One address is new, one is gone; the good one stays in front.
    stage.now += Duration::from_secs(1);
    stage.name(&["10.0.0.2", "10.0.0.3", "10.0.0.4"]);
    stage.hear();
    assert_eq!(stage.resolved[&id("a")], sockets(&["10.0.0.3:80", "10.0.0.2:80", "10.0.0.4:80"]));
    assert!(stage.observed[&id("a")].reached_before);
}

#[test]
fn a_node_that_moves_entirely_is_asked_at_once_and_answers_from_its_old_place_do_not_count() {
    let mut stage = Stage::new(&catalog(tcp(), &[("a", "web.test:80")]));
    stage.name(&["10.0.0.1"]);
    stage.check(Ok(Condition::Well));
    stage.watch.suspected(&id("a"), stage.now);
    stage.now += Duration::from_secs(1);
    let old = stage.ask();
    stage.name(&["10.9.9.9"]);
    assert!(!stage.watch.nodes[0].machine.observation().reached_before);
    stage.answer(&old, stage.now, Err(Fault::Hard), 0);
    assert_eq!(stage.vote("a"), Some(Health::Up));
    assert_eq!(stage.ask().targets[0].address, "10.9.9.9:80".parse().unwrap());
}

#[test]
fn a_name_that_leads_nowhere_is_down_until_it_leads_somewhere() {
    let mut stage = Stage::new(&catalog(tcp(), &[("a", "web.test:80")]));
    stage.name(&[]);
    assert_eq!(stage.vote("a"), Some(Health::Down));
    assert!(stage.last_result("a").starts_with("name does not resolve: "));
    assert_eq!(stage.resolved[&id("a")], []);
    assert!(stage.watch.is_first_round_done());
    assert_eq!(stage.skip(), Duration::from_secs(5), "nothing to ask but the name");
    stage.name(&["10.0.0.1"]);
    stage.check(Ok(Condition::Well));
    stage.check(Ok(Condition::Well));
    assert_eq!(stage.vote("a"), Some(Health::Up));
    // From now on a failure of the name servers is not the node's.
    stage.now += Duration::from_secs(1);
    stage.name(&[]);
    assert_eq!(stage.vote("a"), Some(Health::Up));
}

#[test]
fn a_restart_forgets_neither_votes_nor_addresses() {
    let nodes = catalog(tcp(), &[("a", "web.test:80"), ("b", "web.test:81"), ("c", "10.0.0.9:80")]);
    let up = Observation { vote: Some(Health::Up), checks_total: 9, streak: 9, ..Observation::default() };
    let known = HashMap::from([
        (
            key("a", "web.test:80"),
            Known { observation: up.clone(), addresses: sockets(&["10.0.0.2:80", "10.0.0.1:80"]) },
        ),
        (key("c", "10.0.0.9:80"), Known { observation: up, addresses: sockets(&["10.0.0.9:80"]) }),
    ]);
    let mut stage = Stage::resumed(&nodes, known);
    assert_eq!((stage.vote("a"), stage.vote("b"), stage.vote("c")), (Some(Health::Up), None, Some(Health::Up)));
    assert_eq!(stage.ask().targets[0].address, "10.0.0.2:80".parse().unwrap());
    assert_eq!(stage.ask().targets[0].address, "10.0.0.1:81".parse().unwrap(), "where the name of b leads is known");
    stage.ask();
    stage.name(&["10.0.0.1", "10.0.0.2"]);
    assert!(stage.watch.take_ask(stage.now).is_none(), "nothing has moved");
}

#[test]
fn a_node_that_changes_often_is_told_once_as_it_is_when_told() {
    let mut stage = Stage::new(&catalog(tcp(), &[("a", "10.0.0.1:80")]));
    for _ in 0..50 {
        stage.check(Ok(Condition::Well));
    }
    let Some(Output::Observed { observation, .. }) = stage.watch.next_output() else { panic!() };
    assert_eq!(observation.checks_total, 50);
    assert_eq!(stage.watch.next_output(), None);
}

/// Peers that all observe.
const FEW: [&str; 3] = ["own", "b", "c"];

/// Peers of which three observe a node.
const MANY: [&str; 8] = ["own", "b", "c", "d", "e", "f", "g", "h"];

/// A node that `own` observes among many, and one that it does not.
fn here_and_elsewhere() -> (NodeId, NodeId) {
    let many = members(&MANY);
    let here = |node: &NodeId| {
        let node = Node::new(node.clone(), "10.0.0.1:80".parse().unwrap());
        Observed::of(&node, crate::model::Observe::Divided).is_observed_here(&many)
    };
    let nodes: Vec<NodeId> = (0..50).map(|number| id(&format!("n{number}"))).collect();
    let find = |wanted| nodes.iter().find(|node| here(node) == wanted).unwrap().clone();
    (find(true), find(false))
}

/// A watch among many peers over a node that it observes and one that it does not.
fn divided() -> (Stage, String, String) {
    let (here, elsewhere) = here_and_elsewhere();
    let nodes = [(here.as_str(), "10.0.0.1:80"), (elsewhere.as_str(), "10.0.0.1:80")];
    let stage = Stage::among(&catalog(tcp(), &nodes), HashMap::new(), &MANY);
    (stage, here.to_string(), elsewhere.to_string())
}
