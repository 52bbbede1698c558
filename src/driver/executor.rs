//! Carries out what leaders order, once, and nothing in the name of a leader of the past.
//!
//! Each order is a task of its own, so that whoever asked may go away at any moment. Orders for one node take turns: a turn reads what
//! the node's [fence](super::fence) says, brings to the disk what changes, and only then begins an effect, or answers. The effect itself is
//! not part of the turn: it goes on in a task while later orders are answered that it runs, and its outcome takes a turn at its end.
//!
//! Three answers promise nothing and are given before a term is written down: the place of an order is taken, the disk fails, or the
//! disk takes longer than the leader is kept waiting. After the last one nothing of that order begins. Every other answer to a term
//! means that nothing of an earlier one begins from then on.
//!
//! A probe is fenced like all else. It changes nothing, so it keeps nothing else waiting, and goes on beside what goes on; the same server is
//! not probed twice at a time for one node. Of its outcome nothing is written: it waits for a moment in memory until somebody asks for it, is told once, and who asks again has it looked at anew. What cleans up and failed
//! ([`may_be_tried_again`]) is told once in the same way before it is tried again, or a leader would never hear of it.

use std::collections::{BTreeMap, VecDeque};
use std::future::poll_fn;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex as StdMutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::task::Poll;
use std::time::{Duration, Instant};

use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore, oneshot, watch};
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::{timeout, timeout_at};

#[cfg(feature = "docker")]
use super::docker::{Docker, DockerSettings};
use super::effect::{Action, Done, Driver, Effect, Failed};
use super::exec::{Exec, ExecSettings};
use super::fence::{Decision, Fence, FenceFile, bounded, may_be_tried_again, one_line, remove_over};
use super::order::{Answer, Described, DriverDescribed, Order};
use crate::host::{self, Dice};
use crate::model::limits::NODES_MAX;
use crate::model::{DriverName, IntentId, NodeId, ServerId, Term};

/// How long whoever orders is kept waiting, whatever the disk does.
const ANSWER_WITHIN: Duration = Duration::from_secs(1);
/// How long an effect is waited for before the answer is that it goes on.
const EFFECT_WAITED_FOR: Duration = Duration::from_millis(500);
/// What is left of [`ANSWER_WITHIN`] so that an answer which is known is not too late.
const ANSWER_SPARE: Duration = Duration::from_millis(100);
/// Effects at the same time.
const EFFECTS_MAX: usize = 16;
/// Orders at the same time, those for one node in line included.
const ORDERS_MAX: usize = 64;
/// Nodes of which the file need not be read again.
const NODES_REMEMBERED_MAX: usize = 1_024;
/// Probes at the same time: however many hang, effects have their places.
const PROBES_MAX: usize = 32;
/// Outcomes a node that wait to be told once.
const UNTOLD_MAX: usize = 16;
/// How long they wait: a probe of before that says nothing about now.
const UNTOLD_FOR: Duration = Duration::from_secs(30);
/// How long all drivers together may take to say what they have.
const DESCRIBED_WITHIN: Duration = Duration::from_secs(3);
/// How long that is told to others who ask.
const DESCRIBED_FOR: Duration = Duration::from_secs(2);
/// What is left of nodes that were started and are gone is looked for that often, and removed after that time.
const CLEANED_EVERY: Duration = Duration::from_secs(600);
const GONE_FOR: Duration = Duration::from_secs(3_600);
/// Nodes of which all drivers together tell.
const NODES_DESCRIBED_MAX: usize = NODES_MAX;

type Drivers = BTreeMap<DriverName, Arc<dyn Driver>>;

/// What kinds of drivers there are, as settings have them.
#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    /// A command.
    Exec(ExecSettings),
    /// Containers.
    #[cfg(feature = "docker")]
    Docker(DockerSettings),
}

impl Kind {
    /// The driver of these settings; why there is none, where they were not checked.
    pub fn into_driver(self) -> Result<Arc<dyn Driver>, String> {
        Ok(match self {
            Self::Exec(settings) => Arc::new(Exec::new(settings)),
            #[cfg(feature = "docker")]
            Self::Docker(settings) => Arc::new(Docker::new(settings).map_err(|fault| fault.to_string())?),
        })
    }
}

/// Carries out orders. Cheap to clone; all copies are one executor. Effects run on the runtime that calls [`Executor::order`].
///
/// One has the folder at a time. When the last copy is gone, effects that go on are not ended, and what comes of them is not
/// written down: whoever has the folder next is told that they were begun, as after a crash.
#[derive(Clone, Debug)]
pub struct Executor(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    folder: PathBuf,
    drivers: StdMutex<Arc<Drivers>>,
    described: Mutex<Option<Telling>>,
    nodes: StdMutex<Nodes>,
    dice: StdMutex<Dice>,
    orders: Arc<Semaphore>,
    effects: Arc<Semaphore>,
    probes: Arc<Semaphore>,
    cleaned: StdMutex<Option<Instant>>,
}

/// What the drivers said last.
#[derive(Debug)]
struct Telling {
    of: Arc<Drivers>,
    at: Instant,
    described: Described,
}

/// Nodes that were asked for, each with when that was, counted in orders.
#[derive(Debug, Default)]
struct Nodes {
    known: BTreeMap<NodeId, (u64, Arc<Mutex<Node>>)>,
    orders: u64,
}

/// What is known of one node. Whoever holds its lock has its turn.
#[derive(Debug, Default)]
struct Node {
    memory: Memory,
    under_way: Option<Arc<Effort>>,
    probes: Vec<Arc<Effort>>,
    untold: VecDeque<Arc<Effort>>,
}

#[derive(Debug, Default)]
enum Memory {
    /// Its file was not looked at yet.
    #[default]
    Unread,
    /// There is no file that can be read.
    Lost {
        challenge: u64,
        /// The highest term that was told the challenge: a later one is told another.
        told: Option<Term>,
    },
    /// What it says. `on_disk`: it says so; if not, what was done last could not be written down.
    Whole { fence: Fence, on_disk: bool },
}

/// An effect that was begun in this process.
#[derive(Debug)]
struct Effort {
    what: What,
    intent: IntentId,
    /// What came of it, once something has.
    outcome: watch::Sender<Option<Answer>>,
    ended: OnceLock<Instant>,
    told: AtomicBool,
}

/// What makes two orders the same.
#[derive(Clone, Debug, Eq, PartialEq)]
enum What {
    /// A step of a plan.
    Step(IntentId, Action),
    /// A look at a server, whoever asks for it and when.
    Probe(Option<ServerId>),
}

/// Whoever waits for the answer to an order.
struct Asker {
    answer: oneshot::Sender<Answer>,
    /// Whether it is settled that the effect begins, or that nobody waits for that any more. Whoever is first settles it.
    is_settled: Arc<AtomicBool>,
}

/// What a turn comes to.
enum Turn {
    Answer(Answer),
    /// What is asked for goes on.
    Await(Arc<Effort>),
    /// Nobody waits for it any more.
    Gone,
}

impl Executor {
    /// With these drivers, and its memory in this folder, which is made when it is needed.
    pub fn new(drivers: BTreeMap<DriverName, Arc<dyn Driver>>, folder: PathBuf, dice: Dice) -> Self {
        Self(Arc::new(Inner {
            folder,
            drivers: StdMutex::new(Arc::new(drivers)),
            described: Mutex::default(),
            nodes: StdMutex::default(),
            dice: StdMutex::new(dice),
            orders: Arc::new(Semaphore::new(ORDERS_MAX)),
            effects: Arc::new(Semaphore::new(EFFECTS_MAX)),
            probes: Arc::new(Semaphore::new(PROBES_MAX)),
            cleaned: StdMutex::default(),
        }))
    }

    /// From now on it has these drivers. What goes on goes on with the driver that began it.
    pub fn set_drivers(&self, drivers: BTreeMap<DriverName, Arc<dyn Driver>>) {
        *lock(&self.0.drivers) = Arc::new(drivers);
    }

    /// Answers within about a second ([`Order::Describe`]: within three), and may be dropped at any moment: an effect that was begun
    /// goes on, and one that was not does not begin.
    pub async fn order(&self, order: Order) -> Answer {
        if order == Order::Describe {
            return Answer::Described(self.0.describe().await);
        }
        let Ok(place) = Arc::clone(&self.0.orders).try_acquire_owned() else {
            return unable(format!("too much under way: {ORDERS_MAX} orders wait at this executor; ask again"));
        };
        let (sender, answer) = oneshot::channel();
        let is_settled = Arc::new(AtomicBool::new(false));
        let asker = Asker { answer: sender, is_settled: Arc::clone(&is_settled) };
        let inner = Arc::clone(&self.0);
        tokio::spawn(async move {
            let _place = place;
            inner.take(order, asker).await;
        });
        match timeout(ANSWER_WITHIN, answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => unable("this executor is being stopped, or an order broke it; ask again".to_owned()),
            // It began in this very moment.
            Err(_) if is_settled.swap(true, Ordering::AcqRel) => Answer::Running,
            Err(_) => unable("the disk of this executor takes too long; ask again".to_owned()),
        }
    }
}

impl Inner {
    async fn take(self: Arc<Self>, order: Order, asker: Asker) {
        let latest = host::now() + ANSWER_WITHIN - ANSWER_SPARE;
        let id = match &order {
            Order::Describe => return,
            Order::Act { effect, .. } => &effect.node.id,
            Order::Fence { node, .. } => node,
        };
        let Some(node) = lock(&self.nodes).node(id) else {
            let why = format!(
                "too much under way: what became of {NODES_REMEMBERED_MAX} nodes is not written down yet; ask again"
            );
            let _ = asker.answer.send(unable(why));
            return;
        };
        let mut turn = node.lock().await;
        // Whoever waited in line for too long was told that nothing is done.
        if asker.answer.is_closed() {
            return;
        }
        let taken = match order {
            Order::Describe => return,
            Order::Act { driver, effect } => self.act(&node, &mut turn, &driver, *effect, &asker).await,
            Order::Fence { node, term, challenge } => Turn::Answer(self.fence(&mut turn, &node, term, challenge).await),
        };
        drop(turn);
        match taken {
            Turn::Gone => {}
            Turn::Answer(answer) => {
                let _ = asker.answer.send(answer);
            }
            Turn::Await(effort) => {
                let until = latest.min(host::now() + EFFECT_WAITED_FOR);
                effort.tell(asker.answer, until).await;
            }
        }
    }

    /// One turn of an effect.
    async fn act(
        self: &Arc<Self>,
        shared: &Arc<Mutex<Node>>,
        node: &mut Node,
        driver: &DriverName,
        effect: Effect,
        asker: &Asker,
    ) -> Turn {
        let before = match self.remembered(node, &effect.node.id, Some(effect.term)).await {
            Ok(fence) => fence.clone(),
            Err(answer) => return Turn::Answer(answer),
        };
        let what = What::of(&effect);
        let mut fence = before.clone();
        fence.raise(effect.term);
        let is_probe = effect.action == Action::Probe;
        let under_way = match is_probe {
            true => node.probes.iter().find(|probe| probe.what == what).cloned(),
            false => node.under_way.clone(),
        };
        let turn = match fence.decide(&effect, under_way.is_some()) {
            Decision::Answer(answer) => match (answer, under_way) {
                (Answer::Running, Some(effort)) if effort.what == what => Turn::Await(effort),
                (answer, _) => Turn::Answer(answer),
            },
            Decision::Run { again } => match (node.untold(&what), self.means(driver, is_probe)) {
                (Some(effort), _) => Turn::Await(effort),
                (None, Err(answer)) => Turn::Answer(answer),
                (None, Ok((driver, place))) => {
                    fence.begin(effect.intent, effect.action);
                    if let Err(why) = self.keep(node, &before, fence).await {
                        return Turn::Answer(unable(why));
                    }
                    if !asker.waits_for_begin() {
                        return Turn::Gone;
                    }
                    let effect = Effect { again: again || effect.again, ..effect };
                    return Turn::Await(self.begin(shared, node, what, (driver, effect, place)).await);
                }
            },
        };
        if let Turn::Answer(Answer::Stale { .. }) = turn {
            warn_of_stale(&effect.node.id, effect.term, fence.term(), Some(&effect));
        }
        match self.keep(node, &before, fence).await {
            Ok(()) => turn,
            Err(why) => Turn::Answer(unable(why)),
        }
    }

    /// One turn of a leader's word that this term holds.
    async fn fence(&self, node: &mut Node, id: &NodeId, term: Term, challenge: u64) -> Answer {
        let before = match self.remembered(node, id, None).await {
            Ok(fence) => Some(fence.clone()),
            Err(Answer::NoFence { challenge: asked }) if asked == challenge => None,
            Err(answer) => return answer,
        };
        let Some(before) = before else {
            let fence = Fence::new(id.clone(), term);
            return match self.write(node, fence).await {
                Ok(()) => {
                    tracing::info!(node = %id, %term, "a node is fenced anew");
                    Answer::Fenced
                }
                Err(why) => unable(why),
            };
        };
        // It was heard before, and the answer was lost.
        let mut fence = before.clone();
        fence.raise(term);
        if fence.term() > term {
            warn_of_stale(id, term, fence.term(), None);
            return fence.stale();
        }
        self.keep(node, &before, fence).await.map_or_else(unable, |()| Answer::Fenced)
    }

    /// What is remembered of the node, or the answer that nothing is. `by`: the term that asks for an effect.
    async fn remembered<'a>(&self, node: &'a mut Node, id: &NodeId, by: Option<Term>) -> Result<&'a Fence, Answer> {
        if matches!(node.memory, Memory::Unread) {
            let file = FenceFile::new(&self.folder, id);
            node.memory = match blocking(move || file.read()).await.map_err(unable)? {
                Some(fence) => Memory::Whole { fence, on_disk: true },
                None => Memory::Lost { challenge: lock(&self.dice).bits(), told: None },
            };
        }
        if let (Memory::Lost { challenge, told }, Some(term)) = (&mut node.memory, by) {
            if told.is_some_and(|told| told < term) {
                *challenge = lock(&self.dice).bits();
            }
            *told = (*told).max(Some(term));
        }
        if let Memory::Whole { fence, on_disk: false } = &node.memory {
            // That it failed was said when it failed first.
            let fence = fence.clone();
            let _ = self.write(node, fence).await;
        }
        match &node.memory {
            Memory::Unread => Err(unable("nothing is known of this node yet; ask again".to_owned())),
            Memory::Lost { challenge, .. } => Err(Answer::NoFence { challenge: *challenge }),
            Memory::Whole { fence, .. } => Ok(fence),
        }
    }

    /// Brings what changed to the disk.
    async fn keep(&self, node: &mut Node, before: &Fence, fence: Fence) -> Result<(), String> {
        if *before == fence { Ok(()) } else { self.write(node, fence).await }
    }

    async fn write(&self, node: &mut Node, fence: Fence) -> Result<(), String> {
        let file = FenceFile::new(&self.folder, fence.node());
        let written = fence.clone();
        blocking(move || file.write(&written)).await?;
        node.memory = Memory::Whole { fence, on_disk: true };
        Ok(())
    }

    /// The driver, and a place for one more effect.
    fn means(&self, driver: &DriverName, is_probe: bool) -> Result<(Arc<dyn Driver>, OwnedSemaphorePermit), Answer> {
        let drivers = Arc::clone(&lock(&self.drivers));
        let known = drivers.get(driver).cloned();
        let known =
            known.ok_or_else(|| unable(format!("this peer has no driver {driver}: its settings do not name it")))?;
        let (places, most, of) = match is_probe {
            true => (&self.probes, PROBES_MAX, "probes"),
            false => (&self.effects, EFFECTS_MAX, "effects"),
        };
        let place = Arc::clone(places).try_acquire_owned();
        let place =
            place.map_err(|_| unable(format!("too much under way: {most} {of} go on at this executor; ask again")))?;
        Ok((known, place))
    }

    /// Tells the driver. When this returns it has been told, so whoever has the next turn comes after that.
    async fn begin(
        self: &Arc<Self>,
        shared: &Arc<Mutex<Node>>,
        node: &mut Node,
        what: What,
        (driver, effect, place): (Arc<dyn Driver>, Effect, OwnedSemaphorePermit),
    ) -> Arc<Effort> {
        tracing::info!(
            node = %effect.node.id,
            intent = %effect.intent,
            term = %effect.term,
            action = %effect.action,
            again = effect.again,
            "an effect begins"
        );
        let effort = Arc::new(Effort {
            what,
            intent: effect.intent,
            outcome: watch::Sender::new(None),
            ended: OnceLock::new(),
            told: AtomicBool::new(false),
        });
        match effect.action {
            Action::Probe => node.probes.push(Arc::clone(&effort)),
            _ => node.under_way = Some(Arc::clone(&effort)),
        }
        let (begun, has_begun) = oneshot::channel();
        let id = effect.node.id.clone();
        let secrets = driver.secrets();
        let act = tokio::spawn(async move {
            let _place = place;
            let mut act = pin!(driver.act(&effect));
            let first = poll_fn(|context| Poll::Ready(act.as_mut().poll(context))).await;
            let _ = begun.send(());
            match first {
                Poll::Ready(outcome) => outcome,
                Poll::Pending => act.await,
            }
        });
        let (executor, shared, effect) = (Arc::downgrade(self), Arc::clone(shared), Arc::clone(&effort));
        tokio::spawn(async move {
            let outcome = match act.await {
                Ok(outcome) => bounded(outcome, &secrets),
                Err(error) if error.is_panic() => Err(Failed::new("the driver panicked; the peer's log says where")),
                // The runtime ends, and with it the peer: nobody knows how far it came.
                Err(_) => return,
            };
            Self::end(&executor, &shared, &id, &effect, outcome).await;
        });
        // An error: it panicked at once, and that is an outcome.
        let _ = has_begun.await;
        effort
    }

    async fn end(
        executor: &Weak<Self>,
        shared: &Mutex<Node>,
        id: &NodeId,
        effort: &Arc<Effort>,
        outcome: Result<Done, Failed>,
    ) {
        let intent = effort.intent;
        let action = match effort.what {
            What::Step(_, action) => action,
            What::Probe(_) => Action::Probe,
        };
        match &outcome {
            Ok(done) => tracing::info!(node = %id, %intent, %action, note = done.note, "an effect is done"),
            Err(failed) => tracing::warn!(node = %id, %intent, %action, why = failed.why, "an effect failed"),
        }
        // Another executor may have the folder by now.
        let Some(executor) = executor.upgrade() else { return };
        let mut node = shared.lock().await;
        if let Memory::Whole { fence: before, .. } = &node.memory {
            let before = before.clone();
            let mut fence = before.clone();
            fence.end(intent, action, &outcome);
            if let Err(error) = executor.keep(&mut node, &before, fence.clone()).await {
                tracing::error!(
                    node = %id, %intent, %action, error,
                    "what became of an effect is remembered until this peer stops, and is not on disk"
                );
                node.memory = Memory::Whole { fence, on_disk: false };
            }
        }
        match action {
            Action::Probe => node.probes.retain(|probe| !Arc::ptr_eq(probe, effort)),
            _ => node.under_way = None,
        }
        let is_known = action != Action::Probe && (outcome.is_ok() || !may_be_tried_again(action));
        if !is_known {
            if node.untold.len() == UNTOLD_MAX {
                node.untold.pop_front();
            }
            node.untold.push_back(Arc::clone(effort));
        }
        let _ = effort.ended.set(host::now());
        effort.outcome.send_replace(Some(match outcome {
            Ok(done) => Answer::Done(done),
            Err(Failed { why }) => Answer::Failed { why },
        }));
    }

    /// Removes what is left of nodes that were started and are gone, now and then.
    fn clean(&self) {
        let now = host::now();
        {
            let mut cleaned = lock(&self.cleaned);
            if cleaned.is_some_and(|at| now.saturating_duration_since(at) < CLEANED_EVERY) {
                return;
            }
            *cleaned = Some(now);
        }
        let folder = self.folder.clone();
        spawn_blocking(move || {
            let removed = remove_over(&folder, GONE_FOR, &[folder.join("exec")]);
            if removed > 0 {
                tracing::info!(removed, "what was left of nodes that were started and are gone is removed");
            }
        });
    }

    /// Asks all drivers at once, and everybody who asks meanwhile gets what this one does.
    async fn describe(&self) -> Described {
        self.clean();
        let drivers = Arc::clone(&lock(&self.drivers));
        let mut told = self.described.lock().await;
        if let Some(telling) = &*told
            && Arc::ptr_eq(&telling.of, &drivers)
            && host::now().saturating_duration_since(telling.at) < DESCRIBED_FOR
        {
            return telling.described.clone();
        }
        let described = ask_all(&drivers).await;
        *told = Some(Telling { of: drivers, at: host::now(), described: described.clone() });
        described
    }
}

impl Nodes {
    /// The node, in the place of the one that was asked for longest ago if need be. `None`: none can be forgotten.
    fn node(&mut self, id: &NodeId) -> Option<Arc<Mutex<Node>>> {
        self.orders += 1;
        let now = self.orders;
        if let Some((asked, node)) = self.known.get_mut(id) {
            *asked = now;
            return Some(Arc::clone(node));
        }
        if self.known.len() >= NODES_REMEMBERED_MAX {
            let idle = self.known.iter().filter(|(_, (_, node))| Node::may_be_forgotten(node));
            let oldest = idle.min_by_key(|(_, (asked, _))| *asked).map(|(id, _)| id.clone())?;
            self.known.remove(&oldest);
        }
        let node = Arc::default();
        self.known.insert(id.clone(), (now, Arc::clone(&node)));
        Some(node)
    }
}

impl Node {
    /// Whether its file says all that is known. Whoever has a turn, or an effect under way, holds a copy.
    fn may_be_forgotten(shared: &Arc<Mutex<Self>>) -> bool {
        let is_on_disk = |node: &Self| !matches!(node.memory, Memory::Whole { on_disk: false, .. });
        Arc::strong_count(shared) == 1 && shared.try_lock().is_ok_and(|node| is_on_disk(&node))
    }

    /// An outcome of that which nobody was told yet.
    fn untold(&mut self, what: &What) -> Option<Arc<Effort>> {
        let now = host::now();
        let is_recent = |ended: &Instant| now.saturating_duration_since(*ended) < UNTOLD_FOR;
        self.untold.retain(|effort| !effort.told.load(Ordering::Acquire) && effort.ended.get().is_some_and(is_recent));
        self.untold.iter().find(|effort| effort.what == *what).cloned()
    }
}

impl Asker {
    /// Settles that the effect begins, unless it is settled that nobody waits for that.
    fn waits_for_begin(&self) -> bool {
        !self.answer.is_closed() && !self.is_settled.swap(true, Ordering::AcqRel)
    }
}

impl Effort {
    /// Tells what came of it if it ends by then, and else that it goes on.
    async fn tell(&self, asker: oneshot::Sender<Answer>, until: Instant) {
        let mut outcome = self.outcome.subscribe();
        let ended = timeout_at(until.into(), outcome.wait_for(Option::is_some)).await;
        let Some(answer) = ended.ok().and_then(Result::ok).and_then(|outcome| outcome.clone()) else {
            let _ = asker.send(Answer::Running);
            return;
        };
        // Before it is sent: whoever asks at once again is not told the same.
        self.told.store(true, Ordering::Release);
        if asker.send(answer).is_err() {
            self.told.store(false, Ordering::Release);
        }
    }
}

impl What {
    fn of(effect: &Effect) -> Self {
        match effect.action {
            Action::Probe => Self::Probe(effect.to.as_ref().map(|server| server.id.clone())),
            action => Self::Step(effect.intent, action),
        }
    }
}

async fn ask_all(drivers: &Drivers) -> Described {
    let until = host::now() + DESCRIBED_WITHIN;
    let mut asked = JoinSet::new();
    let mut names = BTreeMap::new();
    for (name, driver) in drivers {
        let driver = Arc::clone(driver);
        let asking = asked.spawn(async move { timeout_at(until.into(), driver.usage()).await });
        names.insert(asking.id(), name.clone());
    }
    let mut told = BTreeMap::new();
    while let Some(answer) = asked.join_next_with_id().await {
        let (id, usage) = match answer {
            Ok((id, Ok(usage))) => (id, usage),
            Ok((id, Err(_))) => {
                (id, Err(Failed::new(format!("it did not say what it has within {} s", DESCRIBED_WITHIN.as_secs()))))
            }
            Err(error) => (error.id(), Err(Failed::new("the driver panicked; the peer's log says where"))),
        };
        if let Some(name) = names.remove(&id) {
            told.insert(name, usage);
        }
    }
    let mut left = NODES_DESCRIBED_MAX;
    let drivers = told.into_iter().map(|(name, usage)| match usage {
        Ok(mut nodes) => {
            if nodes.len() > left {
                let count = nodes.len();
                tracing::warn!(driver = %name, count, told = left, "a driver has more nodes than are told of");
                nodes.truncate(left);
            }
            left -= nodes.len();
            DriverDescribed { name, nodes, failing: None }
        }
        Err(failed) => DriverDescribed { name, nodes: Vec::new(), failing: Some(one_line(&failed.why)) },
    });
    Described { drivers: drivers.collect() }
}

fn warn_of_stale(node: &NodeId, term: Term, highest: Term, effect: Option<&Effect>) {
    let intent = effect.map(|effect| tracing::field::display(effect.intent));
    let action = effect.map(|effect| tracing::field::display(effect.action));
    if term < highest {
        tracing::warn!(%node, %term, %highest, intent, action, "an order of an earlier term is refused");
    } else {
        tracing::warn!(%node, %term, %highest, intent, action, "an order of an earlier plan is refused");
    }
}

fn unable(why: String) -> Answer {
    Answer::Unable { why }
}

/// Does what blocks where that is allowed.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, String> + Send + 'static) -> Result<T, String> {
    spawn_blocking(work).await.unwrap_or_else(|error| Err(format!("the disk could not be asked: {error}")))
}

/// What is behind these locks is whole between two statements, so a panic of another thread leaves it whole.
fn lock<T>(mutex: &StdMutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
