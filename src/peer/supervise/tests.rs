//! Real actors that really panic, on a current-thread runtime like the cluster thread's. Its clock stands still while
//! anything can go on and jumps to the next timer otherwise, so pauses cost no time and no test waits for the clock.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use super::*;

/// What an actor of these tests does when it starts, and when it is spoken to.
#[derive(Clone, Copy, PartialEq)]
enum Manner {
    Good,
    PanicsInPreStart,
    FailsInPostStart,
    NeverStarts,
    NeverStops,
}

/// An actor that counts its starts, notes its stop, and panics when it is told to.
struct Sample(Manner);

enum Order {
    Panic,
    End,
    Answer(oneshot::Sender<()>),
}

#[derive(Clone)]
struct Notes {
    name: &'static str,
    starts: Arc<AtomicUsize>,
    current: Arc<Mutex<Option<ActorRef<Order>>>>,
    stopped: Arc<Mutex<Vec<&'static str>>>,
}

impl Notes {
    fn new(name: &'static str) -> Self {
        Self { name, starts: Arc::default(), current: Arc::default(), stopped: Arc::default() }
    }

    fn starts(&self) -> usize {
        self.starts.load(Ordering::SeqCst)
    }

    fn tell(&self, order: Order) {
        let current = self.current.lock().unwrap().clone();
        assert!(current.unwrap().send_message(order).is_ok());
    }

    fn spec(&self, manner: Manner) -> ChildSpec {
        let notes = self.clone();
        ChildSpec::new(self.name, move || (Sample(manner), notes.clone()))
    }
}

impl Actor for Sample {
    type Msg = Order;
    type State = Notes;
    type Arguments = Notes;

    async fn pre_start(&self, myself: ActorRef<Order>, notes: Notes) -> Result<Notes, ActorProcessingErr> {
        notes.starts.fetch_add(1, Ordering::SeqCst);
        assert!(self.0 != Manner::PanicsInPreStart, "no start today");
        if self.0 == Manner::NeverStarts {
            std::future::pending::<()>().await;
        }
        *notes.current.lock().unwrap() = Some(myself);
        Ok(notes)
    }

    async fn post_start(&self, _myself: ActorRef<Order>, _notes: &mut Notes) -> Result<(), ActorProcessingErr> {
        if self.0 == Manner::FailsInPostStart { Err("not after all".into()) } else { Ok(()) }
    }

    async fn handle(&self, me: ActorRef<Order>, order: Order, _: &mut Notes) -> Result<(), ActorProcessingErr> {
        match order {
            Order::Panic => panic!("as it was told"),
            Order::End => me.stop(None),
            Order::Answer(reply) => reply.send(()).unwrap(),
        }
        Ok(())
    }

    async fn post_stop(&self, _myself: ActorRef<Order>, notes: &mut Notes) -> Result<(), ActorProcessingErr> {
        notes.stopped.lock().unwrap().push(notes.name);
        if self.0 == Manner::NeverStops {
            std::future::pending::<()>().await;
        }
        Ok(())
    }
}

async fn until(mut holds: impl FnMut() -> bool) {
    for _ in 0..1_000_000 {
        if holds() {
            return;
        }
        tokio::time::advance(Duration::from_millis(1)).await;
    }
    panic!("it never came to that");
}

fn status(board: &Board, name: &str) -> ChildStatus {
    board.children().into_iter().find(|child| child.name == name).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_child_that_panics_is_started_again_while_its_sibling_goes_on() {
    let board = Board::default();
    let supervisor = Supervisor::start(board.clone(), Dice::from_seed(1)).await.unwrap();
    let (calm, wild) = (Notes::new("calm"), Notes::new("wild"));
    supervisor.add(calm.spec(Manner::Good)).await.unwrap();
    supervisor.add(wild.spec(Manner::Good)).await.unwrap();

    for round in 1..=3 {
        wild.tell(Order::Panic);
        until(|| status(&board, "wild").state == ChildState::Restarting).await;
        let (reply, answer) = oneshot::channel();
        calm.tell(Order::Answer(reply));
        answer.await.unwrap();
        until(|| status(&board, "wild").state == ChildState::Running).await;
        assert_eq!(wild.starts(), 1 + round);
    }

    let wild = status(&board, "wild");
    assert_eq!((wild.restarts, wild.last_failure.as_deref()), (3, Some("as it was told")));
    assert_eq!(calm.starts(), 1);
    assert_eq!(status(&board, "calm").restarts, 0);
    supervisor.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_child_that_ends_unasked_or_is_killed_is_started_again() {
    let board = Board::default();
    let supervisor = Supervisor::start(board.clone(), Dice::from_seed(1)).await.unwrap();
    let child = Notes::new("child");
    supervisor.add(child.spec(Manner::Good)).await.unwrap();

    child.tell(Order::End);
    until(|| child.starts() == 2).await;
    assert_eq!(status(&board, "child").last_failure.as_deref(), Some("it ended unasked"));
    until(|| status(&board, "child").state == ChildState::Running).await;

    assert!(supervisor.kill("child").await);
    until(|| child.starts() == 3).await;
    assert_eq!(status(&board, "child").last_failure.as_deref(), Some("it ended: killed"));
    assert!(!supervisor.kill("nobody").await);
    supervisor.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_child_that_keeps_failing_is_given_up_however_it_fails_and_its_sibling_goes_on() {
    for (manner, reason) in [(Manner::PanicsInPreStart, "no start today"), (Manner::FailsInPostStart, "not after all")]
    {
        let board = Board::default();
        let supervisor = Supervisor::start(board.clone(), Dice::from_seed(1)).await.unwrap();
        let (calm, hopeless) = (Notes::new("calm"), Notes::new("hopeless"));
        supervisor.add(calm.spec(Manner::Good)).await.unwrap();
        let first = supervisor.add(hopeless.spec(manner)).await;
        if manner == Manner::PanicsInPreStart {
            assert_eq!(first, Err(AddError::NotStarted { child: "hopeless".into(), reason: reason.into() }));
        }
        until(|| status(&board, "hopeless").state == ChildState::GivenUp).await;
        let hopeless = (hopeless.starts(), status(&board, "hopeless"));
        assert_eq!(hopeless.0, 11);
        assert_eq!((hopeless.1.restarts, hopeless.1.last_failure.as_deref()), (10, Some(reason)));
        let (reply, answer) = oneshot::channel();
        calm.tell(Order::Answer(reply));
        answer.await.unwrap();
        supervisor.stop().await;
        assert_eq!(status(&board, "hopeless").state, ChildState::GivenUp);
        assert_eq!(status(&board, "calm").state, ChildState::Stopped);
    }
}

#[tokio::test(start_paused = true)]
async fn a_child_whose_making_panics_fails_alone() {
    let board = Board::default();
    let supervisor = Supervisor::start(board.clone(), Dice::from_seed(1)).await.unwrap();
    let spec = ChildSpec::new("unmade", || -> (Sample, Notes) { panic!("cannot be made") });
    let reason = "cannot be made".to_owned();
    assert_eq!(supervisor.add(spec).await, Err(AddError::NotStarted { child: "unmade".into(), reason }));
    let sibling = Notes::new("sibling");
    supervisor.add(sibling.spec(Manner::Good)).await.unwrap();
    supervisor.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_child_that_hangs_at_its_start_holds_up_no_sibling_and_counts_as_failed() {
    let board = Board::default();
    let supervisor = Supervisor::start(board.clone(), Dice::from_seed(1)).await.unwrap();
    let (hanging, sibling) = (Notes::new("hanging"), Notes::new("sibling"));
    let (first, second) = tokio::join!(supervisor.add(hanging.spec(Manner::NeverStarts)), async {
        let added = supervisor.add(sibling.spec(Manner::Good)).await;
        assert_eq!(status(&board, "hanging").state, ChildState::Starting);
        added
    });
    assert!(matches!(first, Err(AddError::NotStarted { reason, .. }) if reason.contains("did not start within 10s")));
    assert_eq!(second, Ok(()));
    supervisor.stop().await;
    assert_eq!(status(&board, "hanging").state, ChildState::Stopped);
}

#[tokio::test(start_paused = true)]
async fn children_are_stopped_in_reverse_order_and_one_that_does_not_stop_is_killed() {
    let board = Board::default();
    let supervisor = Supervisor::start(board.clone(), Dice::from_seed(1)).await.unwrap();
    let stopped: Arc<Mutex<Vec<&'static str>>> = Arc::default();
    let mut children = Vec::new();
    for (name, manner) in [("first", Manner::Good), ("second", Manner::NeverStops), ("third", Manner::Good)] {
        let notes = Notes { stopped: Arc::clone(&stopped), ..Notes::new(name) };
        supervisor.add(notes.spec(manner).stop_timeout(Duration::from_secs(30))).await.unwrap();
        children.push(notes);
    }
    supervisor.stop().await;
    assert_eq!(*stopped.lock().unwrap(), ["third", "second", "first"]);
    assert!(board.children().iter().all(|child| child.state == ChildState::Stopped));
    for child in &children {
        let current = child.current.lock().unwrap().clone().unwrap();
        assert_eq!(current.get_status(), ActorStatus::Stopped);
        assert_eq!(child.starts(), 1, "{} was started again", child.name);
    }
    assert_eq!(supervisor.add(Notes::new("late").spec(Manner::Good)).await, Err(AddError::Stopping));
    supervisor.stop().await;
}
