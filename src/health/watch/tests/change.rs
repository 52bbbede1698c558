//! The watch while its catalog changes.

use super::*;
use crate::model::HttpCheck;

fn http() -> Check {
    Check::of(CheckKind::Http(HttpCheck::of("/")))
}

impl Stage {
    fn change(&mut self, catalog: &Catalog) {
        self.watch.change(catalog, |_| false, self.now);
    }

    /// Whoever is due now is asked, and answers at once; who that was, by address.
    fn ask_all(&mut self) -> Vec<String> {
        let asked: Vec<Ask> = std::iter::from_fn(|| self.watch.take_ask(self.now)).collect();
        asked.iter().for_each(|ask| drop(self.answer(ask, self.now, Ok(Condition::Well), 0)));
        let mut addresses: Vec<String> = asked.iter().map(|ask| ask.targets[0].address.to_string()).collect();
        addresses.sort_unstable();
        addresses
    }
}

#[test]
fn nodes_that_stay_keep_what_was_found_and_new_ones_are_asked_at_once() {
    let mut stage = Stage::new(&catalog(tcp(), &[("a", "10.0.0.1:80"), ("b", "10.0.0.2:80")]));
    assert_eq!(stage.ask_all(), ["10.0.0.1:80", "10.0.0.2:80"]);
    stage.hear();
    assert!(stage.watch.is_first_round_done());
    stage.now += 100 * MS;
    stage.observed.clear();
    stage.change(&catalog(tcp(), &[("c", "10.0.0.3:80"), ("b", "10.0.0.2:80")]));
    assert_eq!(stage.vote("c"), None);
    assert!(!stage.observed.contains_key(&id("b")), "of a node that stays nothing is said again");
    assert_eq!(stage.ask_all(), ["10.0.0.3:80"]);
    assert_eq!(stage.vote("c"), Some(Health::Up));
    // One that is gone is never asked again, and nobody's suspicion brings it back.
    stage.watch.suspected(&id("a"), stage.now);
    stage.watch.hinted(&id("a"), stage.now);
    for _ in 0..20 {
        let ask = stage.next_ask();
        assert_ne!(ask.targets[0].address, "10.0.0.1:80".parse().unwrap());
        stage.answer(&ask, stage.now, Ok(Condition::Well), 0);
    }
    assert!(!stage.observed.contains_key(&id("a")));
}

#[test]
fn an_answer_of_a_node_that_is_gone_is_not_taken_for_that_of_another() {
    let mut stage = Stage::new(&catalog(tcp(), &[("a", "10.0.0.1:80")]));
    let late = stage.ask();
    // It moved while it was asked, twice, and others came.
    stage.change(&catalog(tcp(), &[("a", "10.0.0.9:80"), ("b", "10.0.0.2:80")]));
    stage.change(&catalog(tcp(), &[("a", "10.0.0.8:80"), ("b", "10.0.0.2:80"), ("c", "10.0.0.3:80")]));
    assert_eq!(stage.answer(&late, stage.now, Ok(Condition::Well), 0), None);
    assert_eq!((stage.vote("a"), stage.vote("b"), stage.vote("c")), (None, None, None));
    assert!(!stage.watch.is_first_round_done());
    assert_eq!(stage.ask_all(), ["10.0.0.2:80", "10.0.0.3:80", "10.0.0.8:80"]);
    assert_eq!(
        (stage.vote("a"), stage.vote("b"), stage.vote("c")),
        (Some(Health::Up), Some(Health::Up), Some(Health::Up))
    );
    assert!(stage.watch.is_first_round_done());
    // Places of nodes that are gone are used again, and so the watch does not grow with the changes.
    for number in 0..100 {
        let address = format!("10.0.1.{number}:80");
        stage.change(&catalog(tcp(), &[("a", &address)]));
        assert_eq!(stage.ask_all(), [address]);
    }
    assert!(stage.watch.nodes.len() <= 5, "{}", stage.watch.nodes.len());
}

#[test]
fn how_a_pool_is_checked_now_applies_to_nodes_that_stay() {
    let nodes = [("a", "10.0.0.1:80")];
    let rare = Check { interval: Duration::from_secs(600), ..tcp() };
    let mut stage = Stage::new(&catalog(rare, &nodes));
    stage.ask_all();
    // More often.
    stage.change(&catalog(Check { interval: Duration::from_secs(2), ..tcp() }, &nodes));
    assert!(stage.skip() <= Duration::from_secs(2));
    let late = stage.ask();
    // In another way: what was asked before says nothing of it.
    stage.change(&catalog(Check { interval: Duration::from_secs(2), ..http() }, &nodes));
    assert_eq!(stage.answer(&late, stage.now, Err(Fault::Hard), 0), None);
    assert_eq!(stage.vote("a"), Some(Health::Up));
    let ask = stage.ask();
    assert!(matches!(ask.check.kind, CheckKind::Http(_)));
    stage.answer(&ask, stage.now, Ok(Condition::Well), 0);
    // With another `fall`.
    stage.change(&catalog(Check { fall: std::num::NonZeroU8::MIN, ..http() }, &nodes));
    stage.check(Err(Fault::Soft));
    assert_eq!(stage.vote("a"), Some(Health::Down));
    // Not at all, and again.
    stage.change(&catalog(Check::of(CheckKind::None), &nodes));
    assert_eq!((stage.vote("a"), stage.watch.next()), (Some(Health::Up), None));
    stage.change(&catalog(tcp(), &nodes));
    assert_eq!(stage.vote("a"), None);
    assert_eq!(stage.ask_all(), ["10.0.0.1:80"]);
    assert_eq!(stage.vote("a"), Some(Health::Up));
    assert!(stage.watch.is_first_round_done());
}

#[test]
fn a_node_that_is_disabled_is_left_alone_until_it_is_enabled() {
    let with = |admin: Admin| {
        let mut pool = catalog(tcp(), &[("a", "10.0.0.1:80"), ("b", "10.0.0.2:80")]).pools()[0].clone();
        pool.nodes[0].admin = admin;
        Catalog::new(vec![pool]).unwrap()
    };
    let mut stage = Stage::new(&with(Admin::Enabled));
    stage.ask_all();
    stage.change(&with(Admin::Disabled));
    assert!(stage.last_result("a").contains("disabled"));
    assert_eq!(stage.vote("a"), None);
    stage.observed.clear();
    stage.change(&with(Admin::Disabled));
    stage.hear();
    assert!(stage.observed.is_empty(), "that is said once");
    for _ in 0..5 {
        let ask = stage.next_ask();
        assert_eq!(ask.targets[0].address, "10.0.0.2:80".parse().unwrap());
        stage.answer(&ask, stage.now, Ok(Condition::Well), 0);
    }
    stage.change(&with(Admin::Enabled));
    assert_eq!(stage.ask_all(), ["10.0.0.1:80"]);
    assert_eq!(stage.vote("a"), Some(Health::Up));
}

#[test]
fn names_come_and_go_with_their_nodes() {
    let mut stage = Stage::new(&catalog(tcp(), &[("a", "web.test:80")]));
    stage.name(&["10.0.0.1"]);
    assert_eq!(stage.ask_all(), ["10.0.0.1:80"]);
    // A second node of a name that is known is asked without waiting for the name.
    stage.change(&catalog(tcp(), &[("a", "web.test:80"), ("b", "web.test:81"), ("c", "other.test:80")]));
    stage.hear();
    assert_eq!(stage.resolved[&id("b")], sockets(&["10.0.0.1:81"]));
    assert_eq!(stage.ask_all(), ["10.0.0.1:81"]);
    let (late, name) = stage.watch.take_name(stage.now).unwrap();
    assert_eq!(&*name, "other.test");
    stage.change(&catalog(tcp(), &[("a", "web.test:80")]));
    let resolved = Resolved { addresses: vec!["10.0.0.7".parse().unwrap()], valid_for: Duration::from_secs(60) };
    stage.watch.name_answered(late, Ok(resolved), stage.now);
    assert_eq!(stage.ask_all(), [""; 0]);
    stage.change(&catalog(tcp(), &[("c", "10.0.0.3:80")]));
    assert_eq!(stage.watch.take_name(stage.now + Duration::from_secs(3_600)), None, "no name is left");
    assert_eq!(stage.ask_all(), ["10.0.0.3:80"]);
}

#[test]
fn what_a_view_has_otherwise_is_said_again() {
    let nodes = catalog(tcp(), &[("a", "10.0.0.1:80"), ("b", "10.0.0.2:80"), ("c", "web.test:80")]);
    let mut stage = Stage::new(&nodes);
    stage.name(&["10.0.0.3"]);
    stage.ask_all();
    stage.hear();
    let of = |stage: &Stage, name: &str| Known {
        observation: stage.observed[&id(name)].clone(),
        addresses: stage.resolved.get(&id(name)).cloned().unwrap_or_default(),
    };
    let mut known = HashMap::from([
        (key("a", "10.0.0.1:80"), of(&stage, "a")),
        (key("b", "10.0.0.2:80"), Known::default()),
        (key("c", "web.test:80"), of(&stage, "c")),
        (key("x", "10.0.0.9:80"), Known::default()),
    ]);
    stage.observed.clear();
    stage.watch.tell_again(&known);
    stage.hear();
    assert_eq!(stage.observed.keys().collect::<Vec<_>>(), [&id("b")]);
    known.get_mut(&key("c", "web.test:80")).unwrap().addresses.clear();
    stage.resolved.clear();
    stage.watch.tell_again(&known);
    stage.hear();
    assert_eq!(stage.resolved[&id("c")], sockets(&["10.0.0.3:80"]));
}

#[test]
fn the_order_of_a_catalog_does_not_matter() {
    let (first, second) = (("a", "10.0.0.1:80"), ("b", "10.0.0.2:80"));
    let mut stage = Stage::new(&catalog(tcp(), &[first, second]));
    stage.ask_all();
    let due = stage.watch.next();
    stage.hear();
    stage.observed.clear();
    stage.change(&catalog(tcp(), &[second, first]));
    stage.hear();
    assert_eq!((stage.watch.next(), stage.observed.len()), (due, 0));
}
