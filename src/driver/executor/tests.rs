use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::Path;
use std::sync::LazyLock;

use async_trait::async_trait;
use tempfile::TempDir;
use tokio::task::{JoinHandle, yield_now};
use tracing::Dispatch;
use tracing::subscriber::NoSubscriber;

use super::*;
use crate::driver::Usage;
use crate::driver::fence::samples::{effect, intent, node, server, term};

mod sequences;

/// A driver that writes down what it is told, and does it when it is let.
#[derive(Debug, Default)]
struct Recorder {
    told: StdMutex<Vec<Told>>,
    is_held: watch::Sender<bool>,
    failing: StdMutex<BTreeSet<Action>>,
    panics: AtomicBool,
    described: StdMutex<u32>,
}

#[derive(Clone, Debug, PartialEq)]
enum Told {
    Begun(Effect),
    Ended { effect: Effect, well: bool },
}

#[async_trait]
impl Driver for Recorder {
    async fn act(&self, effect: &Effect) -> Result<Done, Failed> {
        lock(&self.told).push(Told::Begun(effect.clone()));
        assert!(!self.panics.load(Ordering::Relaxed), "as it was told to");
        let _ = self.is_held.subscribe().wait_for(|is_held| !is_held).await;
        let well = !lock(&self.failing).contains(&effect.action);
        lock(&self.told).push(Told::Ended { effect: effect.clone(), well });
        if well { Ok(done(effect)) } else { Err(Failed::new(format!("no {}", effect.action))) }
    }

    async fn usage(&self) -> Result<Vec<Usage>, Failed> {
        *lock(&self.described) += 1;
        assert!(!self.panics.load(Ordering::Relaxed), "as it was told to");
        let _ = self.is_held.subscribe().wait_for(|is_held| !is_held).await;
        if lock(&self.failing).is_empty() { Ok(vec![usage("web-1")]) } else { Err(Failed::new("engine\nis gone")) }
    }
}

impl Recorder {
    fn hold(&self, is_held: bool) {
        self.is_held.send_replace(is_held);
    }

    fn fail(&self, actions: &[Action]) {
        *lock(&self.failing) = actions.iter().copied().collect();
    }

    /// What was begun: term, action, and whether again.
    fn begun(&self) -> Vec<(u64, Action, bool)> {
        let told = lock(&self.told);
        let begun = told.iter().filter_map(|told| match told {
            Told::Begun(effect) => Some((effect.term.get(), effect.action, effect.again)),
            Told::Ended { .. } => None,
        });
        begun.collect()
    }

    fn begun_count(&self) -> usize {
        self.begun().len()
    }
}

fn done(effect: &Effect) -> Done {
    Done { address: Some("10.0.1.11:8000".to_owned()), note: format!("{} of {}", effect.action, effect.intent) }
}

fn usage(id: &str) -> Usage {
    Usage { node: node(id), cpu_percent: Some(1.0), memory_mb: None, is_healthy: None }
}

fn drivers(driver: &Arc<Recorder>) -> Drivers {
    BTreeMap::from([(name("vpn"), Arc::clone(driver) as Arc<dyn Driver>)])
}

fn name(text: &str) -> DriverName {
    text.parse().unwrap()
}

fn act(effect: &Effect) -> Order {
    Order::Act { driver: name("vpn"), effect: Box::new(effect.clone()) }
}

fn at(id: &str, of: (u64, u64), action: Action) -> Effect {
    let mut effect = effect(of, action);
    effect.node.id = node(id);
    effect
}

/// An executor, its folder and its driver.
struct Story {
    folder: TempDir,
    driver: Arc<Recorder>,
    executor: Executor,
}

impl Story {
    /// Of which every node in question was fenced in term 1.
    fn new(nodes: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for id in nodes {
            FenceFile::new(folder.path(), &node(id)).write(&Fence::new(node(id), term(1))).unwrap();
        }
        let driver = Arc::new(Recorder::default());
        let executor = executor(&driver, folder.path());
        Self { folder, driver, executor }
    }

    async fn ask(&self, of: (u64, u64), action: Action) -> Answer {
        self.executor.order(act(&effect(of, action))).await
    }

    fn ask_aside(&self, effect: &Effect) -> JoinHandle<Answer> {
        let (executor, order) = (self.executor.clone(), act(effect));
        tokio::spawn(async move { executor.order(order).await })
    }

    /// Another one on the same folder, as after a crash.
    fn restart(&mut self) {
        self.executor = executor(&self.driver, self.folder.path());
    }

    fn on_disk(&self) -> Fence {
        FenceFile::new(self.folder.path(), &node("web-1")).read().unwrap().unwrap()
    }

    /// While it holds, no fence of `web-1` can be written: a folder stands where that would be done, which stops root, too.
    fn break_disk(&self, is_broken: bool) {
        let beside = self.folder.path().join("fence-web-1.record.new");
        if is_broken { fs::create_dir(beside).unwrap() } else { fs::remove_dir(beside).unwrap() }
    }
}

fn executor(driver: &Arc<Recorder>, folder: &Path) -> Executor {
    Executor::new(drivers(driver), folder.to_owned(), Dice::from_seed(1))
}

async fn until(condition: impl Fn() -> bool) {
    while !condition() {
        yield_now().await;
    }
}

fn why(answer: &Answer) -> &str {
    match answer {
        Answer::Failed { why } | Answer::Unable { why } => why,
        other => panic!("nothing failed: {other:?}"),
    }
}

fn is_unable(answer: &Answer) -> bool {
    matches!(answer, Answer::Unable { .. })
}

#[tokio::test(start_paused = true)]
async fn an_effect_is_done_once_and_told_as_often_as_it_is_asked_for() {
    let story = Story::new(&["web-1"]);
    let switch = effect((2, 7), Action::Switch);
    for _ in 0..3 {
        assert_eq!(story.ask((2, 7), Action::Switch).await, Answer::Done(done(&switch)));
    }
    assert_eq!(story.ask((3, 7), Action::Switch).await, Answer::Done(done(&switch)), "to the next leader, too");
    assert_eq!(story.driver.begun(), [(2, Action::Switch, false)]);
    assert_eq!(story.on_disk().term(), term(3));
}

#[tokio::test(start_paused = true)]
async fn an_effect_that_takes_longer_is_running_until_it_is_done() {
    let story = Story::new(&["web-1"]);
    story.driver.hold(true);
    let asked = host::now();
    for _ in 0..3 {
        assert_eq!(story.ask((2, 7), Action::Start).await, Answer::Running);
    }
    assert!(host::now() - asked <= 3 * ANSWER_WITHIN);
    story.driver.hold(false);
    assert_eq!(story.ask((2, 7), Action::Start).await, Answer::Done(done(&effect((2, 7), Action::Start))));
    assert_eq!(story.driver.begun(), [(2, Action::Start, false)]);
}

#[tokio::test(start_paused = true)]
async fn an_effect_goes_on_when_nobody_waits_for_its_answer() {
    let story = Story::new(&["web-1"]);
    story.driver.hold(true);
    let asked = story.ask_aside(&effect((2, 7), Action::Switch));
    until(|| story.driver.begun_count() == 1).await;
    asked.abort();
    story.driver.hold(false);
    assert_eq!(story.ask((2, 7), Action::Switch).await, Answer::Done(done(&effect((2, 7), Action::Switch))));
    assert_eq!(story.driver.begun_count(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_order_of_an_earlier_term_is_refused_and_the_log_says_so() {
    let (log, _guard) = capture_log();
    let story = Story::new(&["web-1"]);
    story.ask((5, 7), Action::Switch).await;
    let stale = Answer::Stale { term: term(5), intent: Some(intent(7)) };
    assert_eq!(story.ask((4, 8), Action::Switch).await, stale);
    assert_eq!(story.executor.order(Order::Fence { node: node("web-1"), term: term(4), challenge: 0 }).await, stale);
    assert_eq!(story.driver.begun(), [(5, Action::Switch, false)]);
    let log = log.text();
    let lines: Vec<_> = log.lines().filter(|line| line.contains("an order of an earlier term is refused")).collect();
    assert_eq!(lines.len(), 2, "{log}");
    for part in ["WARN", "node=web-1", "term=4", "highest=5"] {
        assert!(lines.iter().all(|line| line.contains(part)), "{part}: {lines:?}");
    }
    assert!(lines[0].contains("intent=i8") && lines[0].contains("action=switch"), "{lines:?}");
}

#[tokio::test(start_paused = true)]
async fn what_is_refused_for_its_plan_raises_the_term_all_the_same() {
    let (log, _guard) = capture_log();
    let story = Story::new(&["web-1"]);
    story.ask((5, 7), Action::Switch).await;
    let stale = |of| Answer::Stale { term: term(of), intent: Some(intent(7)) };
    assert_eq!(story.ask((6, 6), Action::Undo).await, stale(6));
    assert_eq!(story.on_disk().term(), term(6));
    assert_eq!(story.ask((5, 7), Action::Undo).await, stale(6));
    assert!(log.text().contains("an order of an earlier plan is refused"));
}

#[tokio::test(start_paused = true)]
async fn a_node_without_a_fence_waits_for_a_leader_that_says_the_challenge() {
    let story = Story::new(&[]);
    let fence = |challenge| Order::Fence { node: node("web-1"), term: term(4), challenge };
    let Answer::NoFence { challenge } = story.ask((4, 7), Action::Switch).await else { panic!("there is none") };
    let refused = Answer::NoFence { challenge };
    assert_eq!(story.ask((4, 7), Action::Probe).await, refused, "the same as long as nobody says it");
    assert_eq!(story.executor.order(fence(challenge ^ 1)).await, refused);
    assert_eq!(story.driver.begun_count(), 0);
    assert_eq!(story.executor.order(fence(challenge)).await, Answer::Fenced);
    assert_eq!(story.on_disk(), Fence::new(node("web-1"), term(4)));
    assert_eq!(story.executor.order(fence(challenge)).await, Answer::Fenced, "its answer may have been lost");
    assert!(matches!(story.ask((3, 7), Action::Switch).await, Answer::Stale { .. }));
    assert!(matches!(story.ask((4, 7), Action::Switch).await, Answer::Done(_)));
}

#[tokio::test(start_paused = true)]
async fn each_process_and_each_node_has_a_challenge_of_its_own() {
    let mut story = Story::new(&[]);
    let mut challenges = BTreeSet::new();
    for seed in 0..2 {
        story.executor = Executor::new(drivers(&story.driver), story.folder.path().to_owned(), Dice::from_seed(seed));
        for id in ["web-1", "web-2"] {
            let answer = story.executor.order(act(&at(id, (4, 7), Action::Switch))).await;
            let Answer::NoFence { challenge } = answer else { panic!("{answer:?}") };
            challenges.insert(challenge);
        }
    }
    assert_eq!(challenges.len(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_damaged_fence_is_put_aside_and_asked_for() {
    let story = Story::new(&["web-1"]);
    let file = story.folder.path().join("fence-web-1.record");
    let mut bytes = fs::read(&file).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&file, &bytes).unwrap();
    let Answer::NoFence { challenge } = story.ask((4, 7), Action::Switch).await else { panic!("it is damaged") };
    assert_eq!(fs::read(story.folder.path().join("fence-web-1.record.damaged")).unwrap(), bytes);
    let fenced = story.executor.order(Order::Fence { node: node("web-1"), term: term(4), challenge }).await;
    assert_eq!(fenced, Answer::Fenced);
    assert!(matches!(story.ask((4, 7), Action::Switch).await, Answer::Done(_)));
}

#[tokio::test(start_paused = true)]
async fn while_something_runs_a_later_term_is_on_disk_at_once_and_nothing_else_begins() {
    let story = Story::new(&["web-1"]);
    story.driver.hold(true);
    assert_eq!(story.ask((2, 7), Action::Switch).await, Answer::Running);
    assert_eq!(story.ask((4, 7), Action::Undo).await, Answer::Running);
    assert_eq!(story.on_disk().term(), term(4));
    assert!(matches!(story.ask((2, 7), Action::Switch).await, Answer::Stale { .. }), "the old leader asks on");
    assert_eq!(story.ask((5, 8), Action::Switch).await, Answer::Running);
    assert_eq!(story.on_disk().term(), term(5));
    story.driver.hold(false);
    assert!(matches!(story.ask((5, 7), Action::Switch).await, Answer::Done(_)), "plan 8 did not begin");
    assert!(matches!(story.ask((5, 7), Action::Undo).await, Answer::Done(_)));
    assert!(matches!(story.ask((5, 8), Action::Switch).await, Answer::Done(_)));
    let begun = [(2, Action::Switch, false), (5, Action::Undo, false), (5, Action::Switch, false)];
    assert_eq!(story.driver.begun(), begun);
}

#[tokio::test(start_paused = true)]
async fn a_late_switch_after_its_undo_is_not_done() {
    let story = Story::new(&["web-1"]);
    assert!(matches!(story.ask((2, 7), Action::Undo).await, Answer::Done(_)));
    assert!(why(&story.ask((2, 7), Action::Switch).await).contains("it was undone"));
    assert_eq!(story.driver.begun(), [(2, Action::Undo, false)]);
}

#[tokio::test(start_paused = true)]
async fn after_a_restart_what_was_done_is_told_and_what_was_begun_is_begun_again() {
    let mut story = Story::new(&["web-1"]);
    story.ask((2, 7), Action::Switch).await;
    story.restart();
    assert_eq!(story.ask((3, 7), Action::Switch).await, Answer::Done(done(&effect((2, 7), Action::Switch))));
    story.driver.hold(true);
    assert_eq!(story.ask((3, 7), Action::Finish).await, Answer::Running);
    story.restart();
    story.driver.hold(false);
    assert!(matches!(story.ask((3, 7), Action::Finish).await, Answer::Done(_)));
    let begun = [(2, Action::Switch, false), (3, Action::Finish, false), (3, Action::Finish, true)];
    assert_eq!(story.driver.begun(), begun);
}

#[tokio::test(start_paused = true)]
async fn an_executor_that_is_gone_writes_nothing_where_another_one_does() {
    let mut story = Story::new(&["web-1"]);
    story.driver.hold(true);
    assert_eq!(story.ask((2, 7), Action::Switch).await, Answer::Running);
    let held = Arc::clone(&story.driver);
    story.driver = Arc::new(Recorder::default());
    story.restart();
    assert!(matches!(story.ask((4, 8), Action::Switch).await, Answer::Done(_)));
    let written = story.on_disk();
    held.hold(false);
    until(|| matches!(lock(&held.told).last(), Some(Told::Ended { .. }))).await;
    // Longer than the task needs to see it.
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(story.on_disk(), written);
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_knows_that_it_was_begun_elsewhere_is_believed() {
    let story = Story::new(&["web-1"]);
    story.executor.order(act(&Effect { again: true, ..effect((2, 7), Action::Switch) })).await;
    assert_eq!(story.driver.begun(), [(2, Action::Switch, true)]);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_done_that_could_not_be_written_down_first() {
    let story = Story::new(&["web-1"]);
    story.break_disk(true);
    for action in Action::ALL {
        let answer = story.ask((2, 7), action).await;
        assert!(is_unable(&answer) && why(&answer).contains("cannot be written"), "{answer:?}");
    }
    assert_eq!(story.driver.begun_count(), 0);
    story.break_disk(false);
    assert!(matches!(story.ask((2, 7), Action::Switch).await, Answer::Done(_)));
    assert_eq!(story.driver.begun(), [(2, Action::Switch, false)]);
}

#[tokio::test(start_paused = true)]
async fn an_outcome_that_cannot_be_written_down_is_told_and_written_later() {
    let (log, _guard) = capture_log();
    let mut story = Story::new(&["web-1"]);
    story.driver.hold(true);
    assert_eq!(story.ask((2, 7), Action::Switch).await, Answer::Running);
    story.break_disk(true);
    story.driver.hold(false);
    let outcome = Answer::Done(done(&effect((2, 7), Action::Switch)));
    for _ in 0..2 {
        assert_eq!(story.ask((2, 7), Action::Switch).await, outcome);
    }
    assert!(log.text().contains("is remembered until this peer stops, and is not on disk"));
    assert!(is_unable(&story.ask((2, 7), Action::Finish).await), "nothing new begins");
    story.break_disk(false);
    assert_eq!(story.ask((2, 7), Action::Switch).await, outcome);
    story.restart();
    assert_eq!(story.ask((2, 7), Action::Switch).await, outcome);
    assert_eq!(story.driver.begun_count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_probe_is_fenced_and_told_once_and_done_anew() {
    let story = Story::new(&["web-1"]);
    story.driver.hold(true);
    let other = Effect { to: Some(server("host-3", "10.0.0.3")), ..effect((2, 7), Action::Probe) };
    assert_eq!(story.ask((2, 7), Action::Probe).await, Answer::Running);
    assert_eq!(story.executor.order(act(&other)).await, Answer::Running);
    story.driver.hold(false);
    let outcome = Answer::Done(done(&other));
    until(|| lock(&story.driver.told).len() == 2).await;
    // Another server is another question, and its answer does not take the place of the first one's.
    assert_eq!(story.executor.order(act(&other)).await, outcome);
    assert_eq!(story.driver.begun_count(), 2);
    assert_eq!(story.ask((2, 7), Action::Probe).await, outcome);
    assert_eq!(story.driver.begun_count(), 2, "it was told what came of the one that ran");
    assert_eq!(story.ask((2, 7), Action::Probe).await, outcome);
    assert_eq!(story.driver.begun_count(), 3, "that was told, so it is looked at anew");
    let begun = story.driver.begun();
    assert!(begun.iter().all(|(_, _, again)| !again), "{begun:?}");
    assert!(matches!(story.ask((1, 7), Action::Probe).await, Answer::Stale { intent: None, .. }));
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_nobody_asked_after_for_long_is_done_anew() {
    let story = Story::new(&["web-1"]);
    story.driver.hold(true);
    assert_eq!(story.ask((2, 7), Action::Probe).await, Answer::Running);
    story.driver.hold(false);
    tokio::time::sleep(UNTOLD_FOR + Duration::from_secs(1)).await;
    assert!(matches!(story.ask((2, 7), Action::Probe).await, Answer::Done(_)));
    assert_eq!(story.driver.begun_count(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_undo_that_failed_is_told_and_then_tried_again() {
    let story = Story::new(&["web-1"]);
    story.driver.fail(&[Action::Undo, Action::Switch]);
    story.driver.hold(true);
    assert_eq!(story.ask((2, 7), Action::Undo).await, Answer::Running);
    story.driver.hold(false);
    assert_eq!(why(&story.ask((2, 7), Action::Undo).await), "no undo");
    assert_eq!(story.driver.begun_count(), 1);
    story.driver.fail(&[]);
    assert!(matches!(story.ask((2, 7), Action::Undo).await, Answer::Done(_)));
    assert!(matches!(story.ask((2, 7), Action::Undo).await, Answer::Done(_)));
    assert_eq!(story.driver.begun(), [(2, Action::Undo, false), (2, Action::Undo, true)]);
}

#[tokio::test(start_paused = true)]
async fn a_switch_that_failed_stays_failed() {
    let story = Story::new(&["web-1"]);
    story.driver.fail(&[Action::Switch]);
    for _ in 0..3 {
        assert_eq!(why(&story.ask((2, 7), Action::Switch).await), "no switch");
    }
    assert_eq!(story.driver.begun_count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_driver_that_panics_has_failed() {
    let story = Story::new(&["web-1"]);
    story.driver.panics.store(true, Ordering::Relaxed);
    for _ in 0..2 {
        assert!(why(&story.ask((2, 7), Action::Switch).await).contains("the driver panicked"));
    }
    story.driver.panics.store(false, Ordering::Relaxed);
    assert!(matches!(story.ask((2, 7), Action::Undo).await, Answer::Done(_)), "the node is not held by it");
    assert_eq!(story.driver.begun_count(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_driver_that_is_not_here_is_said_not_to_be_and_nothing_counts_as_begun() {
    let story = Story::new(&["web-1"]);
    let elsewhere = Order::Act { driver: name("docker"), effect: Box::new(effect((3, 7), Action::Switch)) };
    let answer = story.executor.order(elsewhere).await;
    assert!(is_unable(&answer) && why(&answer).contains("no driver docker"), "{answer:?}");
    assert_eq!(story.on_disk(), Fence::new(node("web-1"), term(3)), "the term holds all the same");
    assert!(matches!(story.ask((3, 7), Action::Switch).await, Answer::Done(_)));
    assert_eq!(story.driver.begun(), [(3, Action::Switch, false)]);
}

#[tokio::test(start_paused = true)]
async fn what_goes_on_goes_on_with_the_driver_that_began_it() {
    let story = Story::new(&["web-1"]);
    story.driver.hold(true);
    assert_eq!(story.ask((2, 7), Action::Switch).await, Answer::Running);
    let next = Arc::new(Recorder::default());
    story.executor.set_drivers(drivers(&next));
    story.driver.hold(false);
    assert!(matches!(story.ask((2, 7), Action::Switch).await, Answer::Done(_)));
    assert!(matches!(story.ask((2, 7), Action::Finish).await, Answer::Done(_)));
    assert_eq!(story.driver.begun(), [(2, Action::Switch, false)]);
    assert_eq!(next.begun(), [(2, Action::Finish, false)]);
}

#[tokio::test(start_paused = true)]
async fn different_nodes_are_worked_on_at_once_and_only_so_many() {
    let names: Vec<String> = (0..=EFFECTS_MAX).map(|number| format!("web-{number}")).collect();
    let story = Story::new(&names.iter().map(String::as_str).collect::<Vec<_>>());
    story.driver.hold(true);
    for id in &names[..EFFECTS_MAX] {
        assert_eq!(story.executor.order(act(&at(id, (2, 7), Action::Switch))).await, Answer::Running);
    }
    assert_eq!(story.driver.begun_count(), EFFECTS_MAX);
    let one_more = at(&names[EFFECTS_MAX], (2, 7), Action::Switch);
    let answer = story.executor.order(act(&one_more)).await;
    assert!(is_unable(&answer) && why(&answer).contains("too much under way"), "{answer:?}");
    assert_eq!(story.driver.begun_count(), EFFECTS_MAX);
    story.driver.hold(false);
    for id in &names[..EFFECTS_MAX] {
        assert!(matches!(story.executor.order(act(&at(id, (2, 7), Action::Switch))).await, Answer::Done(_)));
    }
    assert!(matches!(story.executor.order(act(&one_more)).await, Answer::Done(_)));
    assert_eq!(story.driver.begun().last(), Some(&(2, Action::Switch, false)));
}

#[tokio::test(start_paused = true)]
async fn only_so_many_orders_are_taken_at_once() {
    let story = Story::new(&["web-1"]);
    story.driver.hold(true);
    let asked: Vec<_> = (0..=ORDERS_MAX).map(|_| story.ask_aside(&effect((2, 7), Action::Switch))).collect();
    let mut refused = 0;
    for answer in asked {
        let answer = answer.await.unwrap();
        refused += usize::from(is_unable(&answer) && why(&answer).contains("orders wait"));
    }
    assert_eq!(refused, 1);
    assert_eq!(story.driver.begun_count(), 1);
    assert_eq!(story.ask((2, 7), Action::Switch).await, Answer::Running, "there is room again");
}

#[tokio::test(start_paused = true)]
async fn nodes_are_forgotten_in_memory_and_not_on_disk() {
    let story = Story::new(&["web-1", "busy"]);
    assert!(matches!(story.ask((5, 7), Action::Switch).await, Answer::Done(_)));
    story.driver.hold(true);
    let busy = at("busy", (5, 7), Action::Switch);
    assert_eq!(story.executor.order(act(&busy)).await, Answer::Running);
    for number in 0..NODES_REMEMBERED_MAX {
        let stranger = at(&format!("stranger-{number}"), (2, 7), Action::Switch);
        assert!(matches!(story.executor.order(act(&stranger)).await, Answer::NoFence { .. }));
    }
    {
        let nodes = lock(&story.executor.0.nodes);
        assert_eq!(nodes.known.len(), NODES_REMEMBERED_MAX);
        assert!(!nodes.known.contains_key(&node("web-1")) && nodes.known.contains_key(&node("busy")));
    }
    assert!(matches!(story.ask((4, 7), Action::Switch).await, Answer::Stale { .. }));
    assert_eq!(story.executor.order(act(&busy)).await, Answer::Running);
    assert_eq!(story.driver.begun_count(), 2);
}

/// In real time: a disk that hangs is a file whose opening waits for somebody to write.
#[tokio::test]
async fn a_disk_that_hangs_keeps_nobody_waiting_and_what_was_not_begun_is_not_begun_later() {
    let story = Story::new(&[]);
    let file = story.folder.path().join("fence-web-1.record");
    let made = std::process::Command::new("mkfifo").arg(&file).status().unwrap();
    assert!(made.success());
    let asked = host::now();
    let answer = story.ask((2, 7), Action::Switch).await;
    assert!(is_unable(&answer) && why(&answer).contains("takes too long"), "{answer:?}");
    assert!(host::now() - asked < 2 * ANSWER_WITHIN);
    let fence = Fence::new(node("web-1"), term(1)).encode().unwrap();
    spawn_blocking(move || fs::write(file, fence)).await.unwrap().unwrap();
    let orders = || story.executor.0.orders.available_permits();
    while orders() < ORDERS_MAX {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(story.driver.begun_count(), 0);
    // The disk is a real one, and may take its time.
    while !matches!(story.ask((2, 7), Action::Switch).await, Answer::Done(_)) {}
    assert_eq!(story.driver.begun_count(), 1);
}

#[tokio::test(start_paused = true)]
async fn drivers_are_described_once_for_all_who_ask() {
    let story = Story::new(&[]);
    let broken = Arc::new(Recorder::default());
    broken.fail(&[Action::Probe]);
    let panicking = Arc::new(Recorder::default());
    panicking.panics.store(true, Ordering::Relaxed);
    let silent = Arc::new(Recorder::default());
    silent.hold(true);
    let all = [("vpn", &story.driver), ("broken", &broken), ("panicking", &panicking), ("silent", &silent)];
    let all = all.map(|(text, driver)| (name(text), Arc::clone(driver) as Arc<dyn Driver>));
    story.executor.set_drivers(all.into());
    let asked = host::now();
    let askers = (0..10).map(|_| {
        let executor = story.executor.clone();
        tokio::spawn(async move { executor.order(Order::Describe).await })
    });
    for answer in askers.collect::<Vec<_>>() {
        let Answer::Described(Described { drivers }) = answer.await.unwrap() else { panic!("asked for nothing else") };
        let failing = |id: &str| drivers.iter().find(|driver| driver.name == name(id)).unwrap().failing.as_deref();
        assert_eq!(drivers.len(), 4);
        assert_eq!(failing("vpn"), None);
        assert_eq!(drivers[3].nodes, [usage("web-1")], "by name");
        assert_eq!(failing("broken"), Some("engine is gone"));
        assert!(failing("panicking").unwrap().contains("panicked"));
        assert!(failing("silent").unwrap().contains("within 3 s"));
    }
    assert_eq!(host::now() - asked, DESCRIBED_WITHIN);
    assert_eq!(*lock(&story.driver.described), 1);
    tokio::time::sleep(DESCRIBED_FOR).await;
    story.executor.order(Order::Describe).await;
    assert_eq!(*lock(&story.driver.described), 2);
}

#[tokio::test(start_paused = true)]
async fn other_drivers_are_described_at_once() {
    let story = Story::new(&[]);
    story.executor.order(Order::Describe).await;
    story.executor.set_drivers(BTreeMap::new());
    assert_eq!(story.executor.order(Order::Describe).await, Answer::Described(Described::default()));
}

/// What is logged on this thread, for as long as the guard is held.
#[derive(Clone, Default)]
struct Log(Arc<StdMutex<Vec<u8>>>);

impl Log {
    fn text(&self) -> String {
        String::from_utf8(lock(&self.0).clone()).unwrap()
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        lock(&self.0).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn capture_log() -> (Log, tracing::subscriber::DefaultGuard) {
    // While tracing knows of one subscriber alone, it believes what the thread that comes first to a line of the log says of it, and a
    // test on another thread listens to nothing.
    static OTHERS: LazyLock<[Dispatch; 2]> = LazyLock::new(|| [(); 2].map(|()| Dispatch::new(NoSubscriber::new())));
    LazyLock::force(&OTHERS);
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
    (log, tracing::subscriber::set_default(subscriber))
}
