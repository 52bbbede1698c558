//! The one writer of the view: takes what was observed, builds the next view, publishes it.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::sync::{Mutex, mpsc, watch};

use super::build::Event;
use super::changes::Changes;
use super::picture::{NodeView, PoolView, View};
use crate::host;
use crate::model::limits::VIEW_EVENTS_MAX;
use crate::model::{NodeKey, Verdict};

/// Between two views while much changes. A view that comes after a quiet time is published at once.
const PACE_MIN: Duration = Duration::from_millis(10);
/// Building takes at most one part of so many of the thread, however much changes.
const BUILD_SHARE: u32 = 10;
/// How long a change that only shifts what is shown may wait for others like it: the longer, the more a view costs to
/// build, so that details of 1,000 nodes that come one by one take one part of [`DETAIL_SHARE`] of the thread.
const DETAIL_DELAY_MIN: Duration = Duration::from_millis(250);
const DETAIL_DELAY_MAX: Duration = Duration::from_secs(1);
const DETAIL_SHARE: u32 = 1_000;
/// How often what regions are asked is measured, and what each peer may send there allotted.
const DEMAND_STEP: Duration = Duration::from_millis(250);
/// How often the counts that picks read follow what others have in flight, which fades.
const LOAD_STEP: Duration = Duration::from_millis(250);
/// A turn ends after this time even if nothing happened, so that a request to stop is heard.
const TURN_MAX: Duration = Duration::from_millis(200);
/// Events that one turn takes.
const EVENTS_PER_TURN_MAX: usize = 1_024;

/// Where the one writer puts a new view and everybody reads it.
#[derive(Clone, Debug)]
pub struct ViewCell {
    view: Arc<ArcSwap<View>>,
    catalogs: watch::Sender<()>,
}

impl ViewCell {
    /// A cell with its first view in it.
    pub fn new(view: View) -> Self {
        Self { view: Arc::new(ArcSwap::from_pointee(view)), catalogs: watch::channel(()).0 }
    }

    /// The view of this moment.
    pub fn load(&self) -> Arc<View> {
        self.view.load_full()
    }

    /// A reader for one thread, which costs one relaxed load while nothing changed.
    pub fn cache(&self) -> Cache {
        Cache(arc_swap::Cache::new(Arc::clone(&self.view)))
    }

    /// Changes whenever the view is of another catalog than before, or a drain in it has another deadline. What it is then is asked of
    /// the view: of many changes only the last may be seen.
    pub fn catalogs(&self) -> watch::Receiver<()> {
        self.catalogs.subscribe()
    }

    /// Only the view's own actor, and whoever starts a peer, may.
    pub(crate) fn store(&self, view: Arc<View>) {
        let before = self.load();
        let is_another = !view.is_of_the_catalog_of(&before) || view.deadlines_moved != before.deadlines_moved;
        self.view.store(view);
        if is_another {
            self.catalogs.send_replace(());
        }
    }
}

/// One thread's reader of the view.
#[derive(Debug)]
pub struct Cache(arc_swap::Cache<Arc<ArcSwap<View>>, Arc<View>>);

impl Cache {
    /// The view of this moment.
    pub fn load(&mut self) -> &Arc<View> {
        self.0.load()
    }
}

/// A bounded way to the view for all that is observed.
pub fn channel() -> (mpsc::Sender<Event>, Inbox) {
    let (sender, events) = mpsc::channel(VIEW_EVENTS_MAX);
    (sender, Inbox(Arc::new(Mutex::new(Pending { events, changes: Changes::default() }))))
}

/// What arrived and is not in a view yet. It outlives the actor: the one that is started after it goes on here.
#[derive(Clone, Debug)]
pub struct Inbox(Arc<Mutex<Pending>>);

#[derive(Debug)]
struct Pending {
    events: mpsc::Receiver<Event>,
    changes: Changes,
}

/// What the actor is given at every start.
#[derive(Clone, Debug)]
pub struct Arguments {
    /// Where it publishes, with [`super::first`] or a later view already in it.
    pub cell: ViewCell,
    /// What it reads.
    pub inbox: Inbox,
}

/// The actor.
#[derive(Clone, Copy, Debug, Default)]
pub struct ViewActor;

/// The only message: take what is there, or wait a little for it. The actor sends the next one to itself, so its mailbox
/// cannot grow.
#[derive(Clone, Copy, Debug)]
pub struct Turn;

/// What it knows beside the view and the inbox; nothing that a restart would miss.
#[derive(Debug)]
pub struct State {
    arguments: Arguments,
    taken: Vec<Event>,
    /// When the first of the changes at hand is to be published, if there are any.
    publish_at: Option<Instant>,
    /// No view before this.
    not_before: Instant,
    /// How long details wait.
    detail_delay: Duration,
    /// When what others have in flight is looked at again, while they have any.
    load_at: Option<Instant>,
    /// When what regions are asked is measured again, while users say of any what it can take.
    demand_at: Option<Instant>,
    /// When it was measured last.
    measured: Instant,
}

impl Actor for ViewActor {
    type Msg = Turn;
    type State = State;
    type Arguments = Arguments;

    async fn pre_start(&self, myself: ActorRef<Turn>, arguments: Arguments) -> Result<State, ActorProcessingErr> {
        let now = host::now();
        // Changes that the one before took and did not publish.
        let left = !arguments.inbox.0.lock().await.changes.is_empty();
        myself.cast(Turn)?;
        Ok(State {
            arguments,
            taken: Vec::new(),
            publish_at: left.then_some(now),
            not_before: now,
            detail_delay: DETAIL_DELAY_MIN,
            load_at: Some(now),
            demand_at: Some(now),
            measured: now,
        })
    }

    async fn handle(&self, myself: ActorRef<Turn>, _: Turn, state: &mut State) -> Result<(), ActorProcessingErr> {
        if state.turn().await {
            myself.cast(Turn)?;
        } else {
            myself.stop(Some("nobody observes any more".to_owned()));
        }
        Ok(())
    }
}

impl State {
    /// False where nobody is left to send events.
    async fn turn(&mut self) -> bool {
        let inbox = Arc::clone(&self.arguments.inbox.0);
        let mut pending = inbox.lock().await;
        let view = self.arguments.cell.load();
        let now = host::now();
        let next = [self.publish_at, view.due()].into_iter().flatten().min().map(|at| at.max(self.not_before));
        let next = [next, self.load_at, self.demand_at].into_iter().flatten().min();
        let wait = next.map_or(TURN_MAX, |at| at.saturating_duration_since(now).min(TURN_MAX));
        let receiving = pending.events.recv_many(&mut self.taken, EVENTS_PER_TURN_MAX);
        if let Ok(0) = tokio::time::timeout(wait, receiving).await {
            return false;
        }
        let now = host::now();
        for event in self.taken.drain(..) {
            let at = if view.is_news(&event) { now } else { now + self.detail_delay };
            pending.changes.add(&view, event);
            self.publish_at = Some(self.publish_at.map_or(at, |standing| standing.min(at)));
        }
        let due = [self.publish_at, view.due()].into_iter().flatten().any(|at| at <= now);
        if due && self.not_before <= now {
            let changes = std::mem::take(&mut pending.changes);
            self.publish(&view, changes, now);
        }
        if self.load_at.is_some_and(|at| at <= now) {
            let fades = self.arguments.cell.load().share_load(now);
            self.load_at = fades.then_some(now + LOAD_STEP);
        }
        if self.demand_at.is_some_and(|at| at <= now) {
            let view = self.arguments.cell.load();
            view.measure_demand(now.saturating_duration_since(self.measured));
            self.measured = now;
            view.share_regions(now);
            self.demand_at = view.limits_regions().then_some(now + DEMAND_STEP);
        }
        true
    }

    fn publish(&mut self, old: &View, changes: Changes, now: Instant) {
        self.publish_at = None;
        let new = Arc::new(old.after(changes, now));
        self.arguments.cell.store(Arc::clone(&new));
        if new.limits_regions() {
            // At once: a region may have died.
            new.share_regions(now);
            self.demand_at = self.demand_at.or(Some(now));
        }
        if new.has_load(now) {
            self.load_at = Some(now);
        }
        tell(old, &new);
        let built_in = host::now().saturating_duration_since(now);
        self.not_before = now + PACE_MIN.max(built_in * BUILD_SHARE);
        self.detail_delay = (built_in * DETAIL_SHARE).clamp(DETAIL_DELAY_MIN, DETAIL_DELAY_MAX);
    }
}

/// Tells those whom a new view concerns: whoever waits for a place, and whoever reads the log.
fn tell(old: &View, new: &View) {
    let (were, are) = (old.doubtful(), new.doubtful());
    for peer in are.iter().filter(|peer| !were.contains(peer)) {
        tracing::warn!(%peer, "a peer disagrees with everybody about most nodes; its votes do not count, look at its network");
    }
    for peer in were.iter().filter(|peer| !are.contains(peer)) {
        tracing::info!(%peer, "the votes of a peer that disagreed with everybody count again");
    }
    if !new.is_of_the_catalog_of(old) {
        tell_of_catalog(old, new);
    }
    for (old, new) in pairs(old, new).filter(|(old, new)| !Arc::ptr_eq(old, new)) {
        for (before, after) in nodes_of(old, new) {
            let (was, is) = (before.state.verdict, after.state.verdict);
            if was == is {
                continue;
            }
            let (id, why) = (&after.node.id, &after.observation.last_result);
            if is == Verdict::Down {
                tracing::warn!(node = %id, pool = %new.pool.name, was = was.name(), why, "node is down");
            } else {
                tracing::info!(node = %id, pool = %new.pool.name, was = was.name(), why, "node is {}", is.name());
            }
            if before.usable_since.is_none() && after.usable_since.is_some() {
                after.live.forget_response_time();
            }
        }
        if !new.picks_like(old) {
            new.live.queue.wake_all();
        }
    }
}

/// Those who wait at a pool that is gone are told so, and whoever reads the log what came and went.
fn tell_of_catalog(old: &View, new: &View) {
    for gone in old.pools().filter(|old| new.pool(&old.pool.name).is_none()) {
        gone.live.queue.wake_all();
    }
    let nodes = |view: &View| view.pools().map(|pool| pool.nodes.len()).sum::<usize>();
    let keys = |view: &View| view.pools().flat_map(|pool| &pool.nodes).map(|node| node.key).collect::<HashSet<_>>();
    let (were, are) = (keys(old), keys(new));
    let (added, removed) = (are.difference(&were).count(), were.difference(&are).count());
    tracing::info!(pools = new.pools().count(), nodes = nodes(new), added, removed, "another catalog is served now");
}

/// Pools of both views.
fn pairs<'v>(old: &'v View, new: &'v View) -> impl Iterator<Item = (&'v Arc<PoolView>, &'v Arc<PoolView>)> {
    new.pools().filter_map(|new| Some((old.pool(&new.pool.name)?, new)))
}

/// Nodes of both.
fn nodes_of<'v>(old: &'v PoolView, new: &'v PoolView) -> impl Iterator<Item = (&'v Arc<NodeView>, &'v Arc<NodeView>)> {
    // Only a change of the catalog moves nodes, and then they are looked for.
    let moved = old.nodes.len() != new.nodes.len() || old.nodes.iter().zip(&new.nodes).any(|(a, b)| a.key != b.key);
    let by_key: HashMap<NodeKey, &Arc<NodeView>> =
        if moved { old.nodes.iter().map(|node| (node.key, node)).collect() } else { HashMap::new() };
    new.nodes.iter().enumerate().filter_map(move |(at, after)| {
        let before = if moved { by_key.get(&after.key).copied() } else { old.nodes.get(at) };
        Some((before?, after))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Catalog, Health, Member, Members, Node, NodeId, Observation, Pool, RegionName};
    use crate::view::first;

    fn catalog() -> Catalog {
        let mut pool = Pool::new("p".parse().unwrap());
        for id in ["a", "b"] {
            pool.nodes.push(Node::new(id.parse().unwrap(), "192.0.2.1:80".parse().unwrap()));
        }
        Catalog::new(vec![pool]).unwrap()
    }

    fn observed(id: &str, vote: Health) -> Event {
        let observation = Observation { vote: Some(vote), ..Observation::default() };
        let node = NodeKey::of(&id.parse().unwrap(), &"192.0.2.1:80".parse().unwrap());
        Event::Observed { node, observation }
    }

    async fn until(cell: &ViewCell, what: &str, holds: impl Fn(&View) -> bool) {
        let seen = async {
            while !holds(&cell.load()) {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), seen).await.unwrap_or_else(|_| panic!("never: {what}"));
    }

    fn verdict_of(view: &View, id: &str) -> Verdict {
        view.node(&id.parse::<NodeId>().unwrap()).unwrap().1.state.verdict
    }

    fn start() -> (mpsc::Sender<Event>, Arguments) {
        let own = Member { id: "own".parse().unwrap(), region: RegionName::default() };
        let cell = ViewCell::new(first(&catalog(), Arc::new(Members::alone(own)), host::now()));
        let (events, inbox) = channel();
        (events, Arguments { cell, inbox })
    }

    #[tokio::test]
    async fn what_is_observed_is_published_and_outlives_the_actor() {
        let (events, arguments) = start();
        let cell = arguments.cell.clone();
        let (actor, task) = Actor::spawn(None, ViewActor, arguments.clone()).await.unwrap();
        events.send(observed("a", Health::Up)).await.unwrap();
        until(&cell, "a is up", |view| verdict_of(view, "a") == Verdict::Up).await;
        actor.kill();
        task.await.unwrap();

        // Nobody is there to read it yet.
        events.send(observed("b", Health::Degraded)).await.unwrap();
        let (_actor, task) = Actor::spawn(None, ViewActor, arguments).await.unwrap();
        until(&cell, "b is degraded", |view| verdict_of(view, "b") == Verdict::Degraded).await;
        assert_eq!(verdict_of(&cell.load(), "a"), Verdict::Up);

        // With nobody left to observe, it ends.
        drop(events);
        tokio::time::timeout(Duration::from_secs(10), task).await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn a_change_of_what_may_be_picked_lets_those_who_wait_try_again() {
        let (events, arguments) = start();
        let pool = Arc::clone(arguments.cell.load().pools().next().unwrap());
        let mut waiting = pool.live.queue.wait(1).unwrap();
        (&mut waiting).await;
        waiting.again();
        let (actor, task) = Actor::spawn(None, ViewActor, arguments).await.unwrap();
        events.send(observed("a", Health::Up)).await.unwrap();
        tokio::time::timeout(Duration::from_secs(10), &mut waiting).await.unwrap();
        actor.stop(None);
        tokio::time::timeout(Duration::from_secs(10), task).await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn a_flood_is_gathered_into_few_views_and_nothing_of_it_is_lost() {
        let (events, arguments) = start();
        let cell = arguments.cell.clone();
        let (actor, task) = Actor::spawn(None, ViewActor, arguments).await.unwrap();
        let started = host::now();
        let mut views = 0;
        let mut last = cell.load();
        for round in 0..10_000_u64 {
            let health = if round % 2 == 0 { Health::Up } else { Health::Down };
            events.send(observed("a", health)).await.unwrap();
            let view = cell.load();
            views += u128::from(!Arc::ptr_eq(&view, &last));
            last = view;
        }
        events.send(observed("b", Health::Up)).await.unwrap();
        until(&cell, "b is up", |view| verdict_of(view, "b") == Verdict::Up).await;
        assert_eq!(verdict_of(&cell.load(), "a"), Verdict::Down, "the last word counts");
        assert!(views <= started.elapsed().as_millis() / PACE_MIN.as_millis() + 2, "{views} views");
        actor.stop(None);
        task.await.unwrap();
    }

    #[tokio::test]
    async fn what_others_have_in_flight_reaches_the_counts_that_picks_read_and_leaves_them_again() {
        let (events, arguments) = start();
        let cell = arguments.cell.clone();
        let (actor, task) = Actor::spawn(None, ViewActor, arguments).await.unwrap();
        let member = |id: &str| Member { id: id.parse().unwrap(), region: RegionName::default() };
        let both = Members::new(member("own"), [member("b")]);
        let key = cell.load().node(&"a".parse::<NodeId>().unwrap()).unwrap().1.key;
        let load = Event::Load { observer: member("b").id, at: host::now(), in_flight: vec![(key, 1_000)] };
        events.send(Event::Members(Arc::new(both))).await.unwrap();
        events.send(load).await.unwrap();
        let elsewhere = |view: &View| view.pools().map(|pool| pool.nodes[0].live.in_flight_elsewhere()).sum::<u32>();
        until(&cell, "the load of b", |view| elsewhere(view) > 0).await;
        // It would fade, but a dead peer holds nothing at once.
        events.send(Event::Members(Arc::new(Members::alone(member("own"))))).await.unwrap();
        until(&cell, "no load", |view| elsewhere(view) == 0).await;
        actor.stop(None);
        tokio::time::timeout(Duration::from_secs(10), task).await.unwrap().unwrap();
    }
}
