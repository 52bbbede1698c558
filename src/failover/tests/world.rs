//! A cluster's leader, its catalog, an executor that keeps what it did, and nodes that are up where the test says so.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::catalog::{Author, Body, Change, Next, Object, Write as CatalogWrite};
use crate::driver::{Action, Answer, Done, Effect};
use crate::election::IdempotencyId;
use crate::failover::facts::{ExecutorFacts, Facts, NodeFacts, RegionFacts};
use crate::failover::machine::Machine;
use crate::failover::operation::{Answered, Operation, What};
use crate::failover::output::{Input, Output, ProbeBy, Unwritten, Write};
use crate::host::{self, Dice};
use crate::model::{Admin, DrainLeft, Event, Happened, IntentId, NodeId, PeerId, RegionName, ServerId, Term, Verdict};

/// How much time passes between two looks of the leader.
pub(super) const LOOK: Duration = Duration::from_millis(250);
const BEGAN_MS: u64 = 1_700_000_000_000;

/// What an executor did, by plan and action: how often it began.
#[derive(Debug, Default)]
pub(super) struct Hand {
    pub(super) highest: u64,
    pub(super) did: BTreeMap<(IntentId, Action), Result<Done, String>>,
    pub(super) begun: BTreeMap<(IntentId, Action), u32>,
    pub(super) refused: u32,
    /// What it is asked fails.
    pub(super) failing: BTreeSet<Action>,
    /// All that it took for an order, one after the other.
    pub(super) told: Vec<Effect>,
    /// It does not answer.
    pub(super) is_silent: bool,
    /// Another one does, which has the same driver and has never heard of anything.
    pub(super) has_sibling: bool,
    /// It forgot its fence; told the term, it has one again.
    pub(super) has_no_fence: bool,
    /// Orders that it answers with `Running` before it is done.
    pub(super) slow: u32,
}

pub(super) struct World {
    pub(super) body: Body,
    pub(super) revision: u64,
    pub(super) term: u64,
    pub(super) now: Instant,
    pub(super) wall_ms: u64,
    pub(super) machine: Machine,
    pub(super) hand: Hand,
    /// Addresses where nobody answers.
    pub(super) dead: BTreeSet<String>,
    /// Addresses that take a connection and serve nothing.
    pub(super) deaf: BTreeSet<String>,
    /// Requests at each node.
    pub(super) connections: BTreeMap<String, u32>,
    pub(super) cpu: BTreeMap<String, f64>,
    /// Where the leader is.
    pub(super) own_region: RegionName,
    /// Answers and errors by region.
    pub(super) traffic: BTreeMap<String, (u64, u64)>,
    /// The same when this leader was elected.
    traffic_then: BTreeMap<String, (u64, u64)>,
    pub(super) happened: Vec<Happened>,
    pub(super) replies: Vec<Answered>,
    /// Every step of every plan, as it was committed.
    pub(super) events: Vec<Event>,
    /// Outputs that were performed.
    pub(super) performed: u32,
    /// The leader is gone before that many, or after it and before it has heard.
    pub(super) dies: Option<(u32, bool)>,
    pub(super) deaths: u32,
}

impl World {
    pub(super) fn new(desired: &Value) -> Self {
        let desired: Object = desired.as_object().cloned().expect("an object");
        let body = Body::first(desired, &"ams-1".parse().expect("an id"), BEGAN_MS);
        body.meaning().expect("a catalog");
        Self {
            body,
            revision: 1,
            term: 1,
            now: host::now() + Duration::from_secs(7_200),
            wall_ms: BEGAN_MS,
            machine: Machine::default(),
            hand: Hand::default(),
            dead: BTreeSet::new(),
            deaf: BTreeSet::new(),
            connections: BTreeMap::new(),
            cpu: BTreeMap::new(),
            own_region: RegionName::default(),
            traffic: BTreeMap::new(),
            traffic_then: BTreeMap::new(),
            happened: Vec::new(),
            replies: Vec::new(),
            events: Vec::new(),
            performed: 0,
            dies: None,
            deaths: 0,
        }
    }

    fn serves(&self, address: &str) -> bool {
        !self.dead.contains(address) && !self.deaf.contains(address)
    }

    fn with_facts<T>(&mut self, use_them: impl FnOnce(&mut Machine, &Facts<'_>, Instant) -> T) -> T {
        let catalog = self.body.meaning().expect("a catalog").catalog;
        let own_region = self.own_region.clone();
        let mut nodes = BTreeMap::new();
        let mut regions: BTreeMap<RegionName, RegionFacts> = BTreeMap::new();
        for (_, node) in catalog.nodes() {
            let is_up = self.serves(&node.address.to_string());
            let verdict = if is_up { Verdict::Up } else { Verdict::Down };
            let is_usable = is_up && node.admin == Admin::Enabled;
            let connections = self.connections.get(node.id.as_str()).copied().unwrap_or_default();
            let cpu_percent = self.cpu.get(node.id.as_str()).copied();
            let facts =
                NodeFacts { verdict, is_usable, connections, cpu_percent, ..NodeFacts::at(node.address.clone()) };
            nodes.insert(node.id.clone(), facts);
            let region = regions.entry(node.region.clone().unwrap_or_else(|| own_region.clone())).or_default();
            region.add(node, is_usable, &self.body.managed);
        }
        for (name, (answers, errors)) in &self.traffic {
            if let Some(region) = regions.get_mut(name.as_str()) {
                let (answers_then, errors_then) = self.traffic_then.get(name).copied().unwrap_or_default();
                (region.answers, region.errors) = (answers - answers_then, errors - errors_then);
            }
        }
        let mut executors = BTreeMap::new();
        if !self.hand.is_silent {
            let drivers = [("vpn".parse().expect("a name"), BTreeSet::new())].into();
            executors.insert(hand(), ExecutorFacts { region: RegionName::default(), drivers });
        }
        if self.hand.has_sibling {
            let drivers = [("vpn".parse().expect("a name"), BTreeSet::new())].into();
            let sibling = "fra-1".parse().expect("an id");
            executors.insert(sibling, ExecutorFacts { region: RegionName::default(), drivers });
        }
        let facts = Facts {
            own_region: &own_region,
            term: Term::new(self.term).expect("a term"),
            revision: self.revision,
            catalog: &catalog,
            managed: &self.body.managed,
            nodes,
            regions,
            executors,
            is_checked: true,
            wall_now_ms: self.wall_ms,
        };
        use_them(&mut self.machine, &facts, self.now)
    }

    /// The leader looks, and everything that it wants is done.
    pub(super) fn look(&mut self) {
        let outputs = self.with_facts(Machine::turn);
        self.perform(outputs);
        self.now += LOOK;
        self.wall_ms += u64::try_from(LOOK.as_millis()).expect("milliseconds");
    }

    pub(super) fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.look();
        }
    }

    /// Time in which nobody looks.
    pub(super) fn pass(&mut self, time: Duration) {
        self.now += time;
        self.wall_ms += u64::try_from(time.as_millis()).expect("milliseconds");
    }

    /// Looks until that holds.
    pub(super) fn until(&mut self, what: &str, holds: impl Fn(&Self) -> bool) {
        for _ in 0..40_000 {
            if holds(self) {
                return;
            }
            self.look();
        }
        panic!("never: {what}; {:#?} {:#?}", self.body.managed, self.happened);
    }

    /// Another leader, that knows what is committed and nothing else.
    pub(super) fn elect(&mut self) {
        self.term += 1;
        self.machine = Machine::default();
        self.traffic_then.clone_from(&self.traffic);
        self.deaths += 1;
    }

    pub(super) fn operate(&mut self, what: What) -> Answered {
        let operation = Operation { what, by: "operator".to_owned() };
        let before = self.replies.len();
        self.hear(Input::Operate { ticket: 1, operation });
        self.replies.get(before).cloned().expect("an answer")
    }

    /// Asks, and waits for no answer.
    pub(super) fn ask_operation(&mut self, operation: Operation) {
        self.hear(Input::Operate { ticket: 1, operation });
    }

    fn hear(&mut self, input: Input) {
        let outputs = self.with_facts(|machine, facts, now| {
            let mut outputs = machine.hear(input, facts, now);
            outputs.extend(machine.turn(facts, now));
            outputs
        });
        self.perform(outputs);
    }

    fn perform(&mut self, outputs: Vec<Output>) {
        let mut queue = VecDeque::from(outputs);
        let term = self.term;
        while let Some(output) = queue.pop_front() {
            self.performed += 1;
            if self.dies.is_some_and(|(at, after)| at == self.performed && !after) {
                self.elect();
                return;
            }
            let input = self.do_it(output, term);
            if self.dies.is_some_and(|(at, after)| at == self.performed && after) {
                self.elect();
                return;
            }
            if let Some(input) = input {
                self.hear(input);
                if self.term != term {
                    return;
                }
            }
        }
    }

    fn do_it(&mut self, output: Output, term: u64) -> Option<Input> {
        match output {
            Output::Probe(probe) => {
                let addresses: Vec<String> = match &probe.by {
                    ProbeBy::Check(addresses) => addresses.iter().map(ToString::to_string).collect(),
                    ProbeBy::Driver { effects, .. } => {
                        effects.iter().map(|effect| effect.to.as_ref().expect("a server").address.clone()).collect()
                    }
                };
                let found = probe.servers.iter().zip(addresses).map(|(server, address)| {
                    let is_up = !self.dead.contains(&address);
                    (server.id.clone(), if is_up { Ok("connected".to_owned()) } else { Err("refused".to_owned()) })
                });
                Some(Input::Probed { look: probe.look, found: found.collect() })
            }
            Output::Write(Write::Plan { look, progress }) => {
                Some(Input::Planned { look, written: self.write(Change::Plan(progress)).map_err(Unwritten::Refused) })
            }
            Output::Write(Write::Resolve { ticket, intent, progress }) => {
                let written = self.write(Change::Plan(progress)).map(drop).map_err(Unwritten::Refused);
                Some(Input::Resolved { ticket, intent, written })
            }
            Output::Write(Write::Progress { intent, progress }) => {
                let written = self.write(Change::Plan(progress)).map(drop);
                Some(Input::Progressed { intent, written })
            }
            Output::Write(Write::Shift(shifting)) => {
                Some(Input::Shifted { written: self.write(Change::Shift(shifting)).map(drop) })
            }
            Output::Write(Write::Drill(drilling)) => {
                Some(Input::Shifted { written: self.write(Change::Drill(drilling)).map(drop) })
            }
            Output::Ask { effect, .. } => {
                let (intent, action) = (effect.intent, effect.action);
                Some(Input::Answered { intent, action, answer: self.ask(&effect) })
            }
            Output::Fence { intent, action, .. } => {
                self.hand.has_no_fence = false;
                self.hand.highest = self.hand.highest.max(term);
                Some(Input::Answered { intent, action, answer: Some(Answer::Fenced) })
            }
            Output::CountDrain { intent, node } => {
                let in_flight = self.connections.get(node.as_str()).copied().unwrap_or_default();
                let left = vec![("ams-1".parse().expect("an id"), Some(DrainLeft { in_flight, cut: 0 }))];
                Some(Input::Drained { intent, left })
            }
            Output::Verify { intent, address, .. } => {
                let is_up = self.serves(&address.to_string());
                Some(Input::Verified {
                    intent,
                    found: if is_up { Ok("ok".to_owned()) } else { Err("refused".to_owned()) },
                })
            }
            Output::Tell(happened) => {
                assert!(Happened::KINDS.contains(&happened.kind()) && !happened.to_string().is_empty());
                self.happened.push(happened);
                None
            }
            Output::Reply { answered, .. } => {
                self.replies.push(answered);
                None
            }
        }
    }

    /// What an order of a leader comes to. A late one of an earlier leader comes here too.
    pub(super) fn ask(&mut self, effect: &Effect) -> Option<Answer> {
        let hand = &mut self.hand;
        if hand.is_silent {
            return None;
        }
        if hand.has_no_fence {
            return Some(Answer::NoFence { challenge: 7 });
        }
        if effect.term.get() < hand.highest {
            hand.refused += 1;
            return Some(Answer::Stale { term: Term::new(hand.highest)?, intent: None });
        }
        hand.highest = effect.term.get();
        let key = (effect.intent, effect.action);
        if hand.slow > 0 {
            hand.slow -= 1;
            return Some(Answer::Running);
        }
        // What cleans up and failed is told once, and tried again.
        let is_again = matches!(hand.did.get(&key), Some(Err(_)))
            && matches!(effect.action, Action::Undo | Action::Finish | Action::Stop);
        if is_again {
            hand.did.remove(&key);
        }
        hand.told.push(effect.clone());
        let did = hand.did.entry(key).or_insert_with(|| {
            *hand.begun.entry(key).or_default() += 1;
            if hand.failing.contains(&effect.action) {
                return Err("the driver failed".to_owned());
            }
            let address = match effect.action {
                Action::Switch => effect.to.as_ref().map(|to| to.address.clone()),
                Action::Start => Some(format!("198.51.100.{}:80", effect.intent.revision() % 250)),
                _ => None,
            };
            Ok(Done { address, note: String::new() })
        });
        Some(match did {
            Ok(done) => Answer::Done(done.clone()),
            Err(why) => Answer::Failed { why: why.clone() },
        })
    }

    pub(super) fn write(&mut self, change: Change) -> Result<u64, String> {
        let write = CatalogWrite {
            change,
            if_match: None,
            id: IdempotencyId::random(&mut Dice::from_seed(self.revision)),
            by: Author::new(""),
            via: "ams-1".parse().expect("an id"),
            at_ms: self.wall_ms,
        };
        match self.body.after(&write, self.revision + 1).map_err(|refused| refused.to_string())? {
            Next::Changed { body, bytes, .. } => {
                // What another peer reads is what this one wrote.
                assert_eq!(Body::parse(&bytes).expect("a body"), *body);
                let own = "ams-1".parse().expect("an id");
                let told = crate::failover::told(&self.body.managed, &body.managed, &own, self.wall_ms);
                let is_known = |event: &Event| Happened::KINDS.contains(&event.happened.kind());
                assert!(told.iter().all(is_known), "{told:?}");
                self.events.extend(told);
                self.body = *body;
                self.revision += 1;
            }
            Next::Same { .. } => {}
        }
        Ok(self.revision)
    }

    /// Where a node is, as everybody serves by it.
    pub(super) fn address(&self, node: &str) -> String {
        let catalog = self.body.meaning().expect("a catalog").catalog;
        let address =
            catalog.nodes().find(|(_, known)| known.id.as_str() == node).map(|(_, node)| node.address.to_string());
        address.unwrap_or_default()
    }

    pub(super) fn server(&self, node: &str) -> Option<ServerId> {
        let catalog = self.body.meaning().expect("a catalog").catalog;
        catalog.nodes().find(|(_, known)| known.id.as_str() == node).and_then(|(_, node)| node.server.clone())
    }

    pub(super) fn node_ids(&self) -> Vec<String> {
        let catalog = self.body.meaning().expect("a catalog").catalog;
        catalog.nodes().map(|(_, node)| node.id.to_string()).collect()
    }

    /// What was against plans, in the order in which it was told.
    pub(super) fn refusals(&self) -> Vec<(String, String)> {
        let refused = self.happened.iter().filter_map(|happened| match happened {
            Happened::PlanRefused { constraint, reason, .. } => Some((constraint.clone(), reason.clone())),
            _ => None,
        });
        refused.collect()
    }
}

pub(super) fn hand() -> PeerId {
    "ams-1".parse().expect("an id")
}

pub(super) fn node(id: &str) -> NodeId {
    id.parse().expect("an id")
}
