//! Whatever is ordered by whomever, in any order, twice, with crashes between: what never happens.

use proptest::prelude::*;
use tokio::runtime::Builder;

use super::*;

/// What happens to an executor.
#[derive(Clone, Debug)]
enum Event {
    /// A leader asks. `patience`: how often the asker looks for an answer before it goes away; `None`: until there is one.
    Order { of: (u64, u64), action: Action, patience: Option<u8> },
    /// As above, and the next event does not wait for the answer.
    OrderAside { of: (u64, u64), action: Action },
    /// What goes on comes to its end.
    Release { well: bool },
    /// The peer is killed and started.
    Restart,
}

/// What was seen, in the order of it.
#[derive(Clone, Debug)]
enum Seen {
    Driver(Told),
    /// The answer to an order of that term.
    Answered(Effect, Answer),
    Restart,
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let order = || ((1..5_u64, 1..4_u64), (0..Action::ALL.len()).prop_map(|at| Action::ALL[at]));
    let patience = prop_oneof![3 => Just(None), 1 => (0..12_u8).prop_map(Some)];
    let event = prop_oneof![
        4 => (order(), patience).prop_map(|((of, action), patience)| Event::Order { of, action, patience }),
        4 => order().prop_map(|(of, action)| Event::OrderAside { of, action }),
        3 => prop::bool::weighted(0.7).prop_map(|well| Event::Release { well }),
        1 => Just(Event::Restart),
    ];
    prop::collection::vec(event, 1..40)
}

/// A driver whose effects end one by one, as they are let.
#[derive(Debug)]
struct Stepwise {
    seen: Arc<StdMutex<Vec<Seen>>>,
    steps: Mutex<tokio::sync::mpsc::Receiver<bool>>,
}

#[async_trait]
impl Driver for Stepwise {
    async fn act(&self, effect: &Effect) -> Result<Done, Failed> {
        lock(&self.seen).push(Seen::Driver(Told::Begun(effect.clone())));
        let well = self.steps.lock().await.recv().await.unwrap_or(false);
        lock(&self.seen).push(Seen::Driver(Told::Ended { effect: effect.clone(), well }));
        if well { Ok(done(effect)) } else { Err(Failed::new("no")) }
    }
}

fn play(folder: &Path, events: &[Event]) -> Vec<Seen> {
    let seen = Arc::new(StdMutex::new(Vec::new()));
    for life in events.split(|event| matches!(event, Event::Restart)) {
        // A runtime that goes takes every task with it at whatever it waits for, as a kill does.
        let runtime = Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        runtime.block_on(live(folder, life, &seen));
        drop(runtime);
        lock(&seen).push(Seen::Restart);
    }
    lock(&seen).clone()
}

async fn live(folder: &Path, events: &[Event], seen: &Arc<StdMutex<Vec<Seen>>>) {
    let (step, steps) = tokio::sync::mpsc::channel(64);
    let driver: Arc<dyn Driver> = Arc::new(Stepwise { seen: Arc::clone(seen), steps: Mutex::new(steps) });
    let executor = Executor::new(BTreeMap::from([(name("vpn"), driver)]), folder.to_owned(), Dice::from_seed(1));
    let ask = |of, action| {
        let (executor, seen, effect) = (executor.clone(), Arc::clone(seen), effect(of, action));
        async move {
            let answer = executor.order(act(&effect)).await;
            lock(&seen).push(Seen::Answered(effect, answer));
        }
    };
    for event in events {
        match *event {
            Event::Order { of, action, patience: None } => ask(of, action).await,
            Event::Order { of, action, patience: Some(polls) } => {
                let mut asking = pin!(ask(of, action));
                for _ in 0..polls {
                    if poll_fn(|context| Poll::Ready(asking.as_mut().poll(context).is_ready())).await {
                        break;
                    }
                    yield_now().await;
                }
            }
            Event::OrderAside { of, action } => drop(tokio::spawn(ask(of, action))),
            Event::Release { well } => {
                let _ = step.try_send(well);
                yield_now().await;
            }
            Event::Restart => {}
        }
    }
}

/// Fails where something was seen that must not be.
fn check(seen: &[Seen]) -> Result<(), TestCaseError> {
    let mut answered = 0;
    let mut under_way: Option<Effect> = None;
    // Probes go on beside everything else, but not two of one server.
    let mut probes: Vec<Effect> = Vec::new();
    // Of each step of a plan: begun and not ended in this life; how its last end was; how often it was done well by who was not told
    // that it was begun before.
    let mut begun: BTreeMap<(IntentId, Action), Option<bool>> = BTreeMap::new();
    let mut completed: BTreeMap<(IntentId, Action), u32> = BTreeMap::new();
    let mut told_done = BTreeSet::new();
    let mut is_restarted: BTreeSet<(IntentId, Action)> = BTreeSet::new();
    for event in seen {
        match event {
            Seen::Restart => {
                under_way = None;
                probes.clear();
                is_restarted.extend(begun.keys());
            }
            Seen::Answered(effect, answer) => {
                let step = (effect.intent, effect.action);
                match answer {
                    // These promise nothing.
                    Answer::Unable { .. } | Answer::NoFence { .. } => continue,
                    // What came of a probe is for whoever asks after that server.
                    Answer::Done(_) if effect.action == Action::Probe => {}
                    Answer::Done(_) => {
                        prop_assert_eq!(begun.get(&step).copied().flatten(), Some(true), "{:?}", step);
                        told_done.insert(step);
                    }
                    _ => {}
                }
                answered = answered.max(effect.term.get());
            }
            Seen::Driver(Told::Begun(effect)) if effect.action == Action::Probe => {
                prop_assert!(effect.term.get() >= answered, "a probe of {} begins after {answered}", effect.term);
                prop_assert!(probes.iter().all(|probe| probe.to != effect.to), "two probes of one server");
                probes.push(effect.clone());
            }
            Seen::Driver(Told::Ended { effect, .. }) if effect.action == Action::Probe => {
                prop_assert!(probes.contains(effect), "a probe ends that did not begin");
                probes.retain(|probe| probe != effect);
            }
            Seen::Driver(Told::Begun(effect)) => {
                let step = (effect.intent, effect.action);
                prop_assert!(under_way.is_none(), "{step:?} begins beside {under_way:?}");
                prop_assert!(effect.term.get() >= answered, "{step:?} of {} begins after {answered}", effect.term);
                prop_assert!(!told_done.contains(&step), "{step:?} begins after it was told to be done");
                let later = begun.keys().any(|(intent, _)| *intent > effect.intent);
                prop_assert!(!later, "{step:?} begins after a later plan");
                let undone = begun.contains_key(&(effect.intent, Action::Undo));
                let is_new = matches!(effect.action, Action::Switch | Action::Start | Action::Finish);
                prop_assert!(!(undone && is_new), "{step:?} begins after undo");
                match begun.get(&step) {
                    None => {}
                    Some(Some(false)) if may_be_tried_again(effect.action) => prop_assert!(effect.again),
                    Some(_) => {
                        prop_assert!(effect.again && is_restarted.contains(&step), "{step:?} is begun twice");
                    }
                }
                begun.insert(step, None);
                is_restarted.remove(&step);
                under_way = Some(effect.clone());
            }
            Seen::Driver(Told::Ended { effect, well }) => {
                let step = (effect.intent, effect.action);
                let went_on = under_way.take();
                prop_assert_eq!(went_on.as_ref(), Some(effect));
                begun.insert(step, Some(*well));
                if *well && !effect.again {
                    *completed.entry(step).or_default() += 1;
                }
            }
        }
    }
    prop_assert!(completed.values().all(|times| *times == 1), "{completed:?}");
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn nothing_is_done_twice_or_for_the_past_or_beside_something_else(events in events()) {
        let folder = tempfile::tempdir().unwrap();
        FenceFile::new(folder.path(), &node("web-1")).write(&Fence::new(node("web-1"), term(0))).unwrap();
        check(&play(folder.path(), &events))?;
    }
}

/// The check itself: it would see what must not be.
#[test]
fn what_must_not_be_is_seen() {
    let begun = |of, action| Seen::Driver(Told::Begun(effect(of, action)));
    let ended = |of, action| Seen::Driver(Told::Ended { effect: effect(of, action), well: true });
    let answered = |of| Seen::Answered(effect(of, Action::Undo), Answer::Running);
    let switch = |of| [begun(of, Action::Switch), ended(of, Action::Switch)];
    for wrong in [
        [&switch((2, 7))[..], &switch((2, 7))].concat(),
        [&switch((2, 7))[..], &[Seen::Restart], &switch((3, 7))].concat(),
        [&[answered((3, 7))][..], &switch((2, 7))].concat(),
        [begun((2, 7), Action::Switch), begun((2, 7), Action::Finish)].to_vec(),
        [&switch((2, 8))[..], &switch((2, 7))].concat(),
    ] {
        assert!(check(&wrong).is_err(), "{wrong:?}");
    }
    assert!(check(&[&switch((2, 7))[..], &switch((3, 8))].concat()).is_ok());
}
