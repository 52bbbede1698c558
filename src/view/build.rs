//! One view from the one before and what happened since. Pure, and whatever did not change is taken over as it is, so
//! that a verdict on one node of 10,000 does not cost 10,000 nodes' work.
//!
//! A view holds all that the next one needs: observations, what others said, counts, times. Whoever builds it keeps nothing
//! beside.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::carry::carried;
use super::changes::{Changes, FromPeer};
use super::heard::{Near, OWN, Observers, Place, Said, Slots};
use super::picture::{NodeView, PoolView, Standing, View};
use super::regions::Regions;
use super::tiers::Tiers;
use super::verdict::{HOLD, Held, Tally, Vote, verdict};
use crate::balance::PoolLive;
use crate::balance::weight;
use crate::model::{
    Catalog, CheckKind, Demand, Health, Heard, Members, NodeKey, Observation, PeerId, Pool, Revision, Verdict,
};

/// How often a node in slow start gets a new weight.
const RAMP_STEP: Duration = Duration::from_secs(1);

/// Something that changes the view. Times are of this peer's own monotonic clock.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// What is to be served now. What is said of nodes that it does not have is dropped; what was said of its new nodes
    /// before the view knew them was dropped too and is to be said again, once [`super::ViewCell::catalogs`] tells.
    Catalog(Arc<Catalog>),
    /// This peer's checks say this of a node now.
    Observed {
        /// The node, at the address that was asked.
        node: NodeKey,
        /// All that is known of it.
        observation: Observation,
    },
    /// A node's name leads here now.
    Resolved {
        /// The node.
        node: NodeKey,
        /// Every address; none: the name does not resolve.
        addresses: Vec<SocketAddr>,
    },
    /// This peer's own health actor looks at its nodes and keeps time.
    OwnSwept {
        /// When it said so.
        at: Instant,
    },
    /// Who lives now. What a peer said that is not among them does not count, from this moment on.
    Members(Arc<Members>),
    /// All that one page of another peer's observations says; it takes the place of what that page said before. A page that
    /// is gone is an empty one.
    Heard {
        /// The other peer.
        observer: PeerId,
        /// Which page.
        page: u16,
        /// What it says.
        nodes: Vec<(NodeKey, Heard)>,
    },
    /// Another peer's sweep counter was seen to rise: it still looks. The first counter that is heard counts too, so that a peer
    /// that has just started knows verdicts at once; if the other has long stopped to look, that is believed for as long as
    /// words are fresh.
    Swept {
        /// The other peer.
        observer: PeerId,
        /// When that was seen.
        at: Instant,
    },
    /// What another peer has in flight; it takes the place of what it said before, and fades from when it was heard or the
    /// peer's sweep rose last.
    Load {
        /// The other peer.
        observer: PeerId,
        /// When that was heard.
        at: Instant,
        /// Requests and connections at each node where there are some worth telling.
        in_flight: Vec<(NodeKey, u32)>,
    },
    /// What another peer is asked; it takes the place of what it said before, and fades like a load.
    Demand {
        /// The other peer.
        observer: PeerId,
        /// When that was heard.
        at: Instant,
        /// What that is.
        demand: Demand,
    },
    /// Somebody has known of a node's drain for longer than this peer, which was perhaps started since.
    DrainKnown {
        /// The node.
        node: NodeKey,
        /// The revision that the drain began with.
        begun: Revision,
        /// Since when, by the clock of this peer.
        since: Instant,
    },
    /// Nothing of what another peer said before counts: it was started anew, or is gone for good.
    Forgotten {
        /// The other peer.
        observer: PeerId,
    },
}

/// The view of a peer that has just started: literal addresses are known and nothing else.
pub fn first(catalog: &Catalog, members: Arc<Members>, now: Instant) -> View {
    let observers = Observers::alone(members.own().id.clone(), now);
    carried(&View::empty(members, observers), catalog, now)
}

impl View {
    /// The view after these changes, or after time alone.
    #[must_use]
    pub fn after(&self, mut changes: Changes, now: Instant) -> Self {
        // What is gathered here was said of the nodes as they stand in this view.
        let catalog = changes.catalog.take();
        let view = self.after_words(changes, now);
        match catalog {
            Some(catalog) => carried(&view, &catalog, now),
            None => view,
        }
    }

    /// The view after what was said and seen.
    fn after_words(&self, changes: Changes, now: Instant) -> Self {
        let members = changes.members.unwrap_or_else(|| Arc::clone(&self.members));
        let mut draft = Draft { view: self, pools: BTreeMap::new() };
        let mut deadlines_moved = self.deadlines_moved;
        for (key, change) in changes.nodes {
            let Some(&place) = self.index.keys.get(&key) else { continue };
            let node = draft.node(place);
            if let Some(observation) = change.observation {
                node.observation = observation;
            }
            if let Some(addresses) = change.addresses {
                node.addresses = addresses;
            }
            let longer = change.drain.and_then(|(begun, since)| node.drain?.known_since(begun, since));
            if longer.is_some() {
                node.drain = longer;
                deadlines_moved += 1;
            }
        }
        let mut observers = self.observers.clone();
        let mut dropped = self.dropped + changes.dropped;
        if let Some(at) = changes.own_swept {
            observers.sweep(OWN, at);
        }
        for (id, told) in changes.peers {
            dropped += u64::from(!draft.hear(&mut observers, &members, &id, told));
        }

        // Whose votes count is settled over all pools before any node is judged.
        let alive = observers.alive(&members);
        let mut by_interval = HashMap::new();
        let mut stale_at: Option<Instant> = None;
        let mut whole = Tally::default();
        let looked: Vec<(Slots, Arc<Tally>)> = (self.pools.iter().enumerate())
            .map(|(at, pool)| {
                let interval = pool.pool.check.interval;
                let fresh = || observers.fresh(alive, members.is_alone(), interval, now);
                let (fresh, until) = *by_interval.entry(interval).or_insert_with(fresh);
                stale_at = [stale_at, until].into_iter().flatten().min();
                let nodes = draft.pools.get(&at);
                let tally = if fresh != pool.standing.fresh {
                    Arc::new(tally(nodes.unwrap_or(&pool.nodes), fresh))
                } else if let Some(nodes) = nodes {
                    let mut tally = Tally::clone(&pool.tally);
                    recount(&mut tally, &pool.nodes, nodes, fresh);
                    Arc::new(tally)
                } else {
                    Arc::clone(&pool.tally)
                };
                whole.add(&tally);
                (fresh, tally)
            })
            .collect();
        let doubtful: Slots = whole.doubtful().into_iter().collect();
        let near = Near::of(&observers, &members);
        let same_members = members == self.members;

        let pools = self.pools.iter().zip(looked).enumerate().map(|(at, (pool, (fresh, tally)))| {
            let standing = Standing { fresh, counting: fresh.without(doubtful) };
            let changed = draft.pools.remove(&at);
            let due = pool.due.is_some_and(|due| due <= now);
            let judged = (!due && same_members && standing == pool.standing).then_some(&pool.nodes[..]);
            if changed.is_none() && judged.is_some() {
                return Arc::clone(pool);
            }
            let nodes = changed.unwrap_or_else(|| pool.nodes.clone());
            let (settings, live) = (Arc::clone(&pool.pool), Arc::clone(&pool.live));
            let seen = Seen { standing, regions: &self.regions, tally, near: &near, judged };
            Arc::new(build_pool(settings, live, Some(Previous::of(pool)), nodes, seen, now))
        });
        let pools = pools.collect();
        let (routes, regions) = (Arc::clone(&self.routes), Arc::clone(&self.regions));
        let index = Arc::clone(&self.index);
        Self { pools, index, routes, regions, members, observers, doubtful, stale_at, dropped, deadlines_moved }
    }
}

impl PoolView {
    /// Whether the same nodes are picked in the same way.
    pub fn picks_like(&self, other: &Self) -> bool {
        let are = |one: &Self, other: &Self| one.tiers.are(&other.tiers);
        let away = match (&self.away, &other.away) {
            (Some(one), Some(other)) => are(one, other),
            (one, other) => one.is_none() && other.is_none(),
        };
        are(self, other) && away
    }
}

/// The nodes of the next view, as far as they are not those of the last.
struct Draft<'v> {
    view: &'v View,
    pools: BTreeMap<usize, Vec<Arc<NodeView>>>,
}

impl Draft<'_> {
    fn as_is(&self, place: Place) -> &NodeView {
        let nodes = self.pools.get(&place.pool).unwrap_or(&self.view.pools[place.pool].nodes);
        &nodes[place.node]
    }

    fn node(&mut self, place: Place) -> &mut NodeView {
        let nodes = self.pools.entry(place.pool).or_insert_with(|| self.view.pools[place.pool].nodes.clone());
        Arc::make_mut(&mut nodes[place.node])
    }

    /// Takes in what a peer told. False where there is no room for one more peer.
    fn hear(&mut self, observers: &mut Observers, members: &Members, id: &PeerId, told: FromPeer) -> bool {
        if told.forgotten
            && let Some(slot) = observers.find(id)
        {
            self.forget(observers, slot);
        }
        if told.swept.is_none() && told.pages.is_empty() && told.load.is_none() && told.demand.is_none() {
            return true;
        }
        let slot = observers.find(id).or_else(|| observers.settle(id)).or_else(|| {
            let stranger = observers.stranger(members).filter(|_| members.contains(id))?;
            self.forget(observers, stranger);
            observers.settle(id)
        });
        let Some(slot) = slot else { return false };
        if let Some(at) = told.swept {
            observers.sweep(slot, at);
        }
        for (page, nodes) in told.pages {
            let places: Vec<Place> = nodes.iter().map(|(place, _)| *place).collect();
            let before = observers.turn(slot, page, places);
            for &place in before.iter().filter(|place| nodes.binary_search_by_key(*place, |(at, _)| *at).is_err()) {
                self.unsay(place, slot, Some(page));
            }
            for (place, heard) in nodes {
                self.say(place, Said { slot, page, heard });
            }
        }
        if let Some(load) = told.load {
            observers.load(slot, load);
        }
        if let Some(demand) = told.demand {
            observers.demand(slot, demand);
        }
        true
    }

    fn forget(&mut self, observers: &mut Observers, slot: usize) {
        for place in observers.forget(slot) {
            self.unsay(place, slot, None);
        }
    }

    fn say(&mut self, place: Place, new: Said) {
        match self.as_is(place).said.binary_search_by_key(&new.slot, |said| said.slot) {
            Ok(at) if self.as_is(place).said[at] == new => {}
            Ok(at) => self.node(place).said[at] = new,
            Err(at) => self.node(place).said.insert(at, new),
        }
    }

    /// Takes back what was said, by that page if one is named.
    fn unsay(&mut self, place: Place, slot: usize, page: Option<u16>) {
        if let Ok(at) = self.as_is(place).said.binary_search_by_key(&slot, |said| said.slot)
            && page.is_none_or(|page| self.as_is(place).said[at].page == page)
        {
            self.node(place).said.remove(at);
        }
    }
}

/// How the votes of those who are `fresh` stand to one another.
pub(super) fn tally(nodes: &[Arc<NodeView>], fresh: Slots) -> Tally {
    let mut tally = Tally::default();
    let mut votes = Vec::new();
    for node in nodes {
        node.votes(fresh, &mut votes);
        tally.count(&votes);
    }
    tally
}

/// The tally of `before` made into that of `after`, by what changed.
fn recount(tally: &mut Tally, before: &[Arc<NodeView>], after: &[Arc<NodeView>], fresh: Slots) {
    let mut votes = Vec::new();
    for (old, new) in before.iter().zip(after).filter(|(old, new)| !Arc::ptr_eq(old, new)) {
        old.votes(fresh, &mut votes);
        tally.take_back(&votes);
        new.votes(fresh, &mut votes);
        tally.count(&votes);
    }
}

impl NodeView {
    /// The votes of those who are `fresh`, by slot.
    fn votes(&self, fresh: Slots, votes: &mut Vec<(usize, Health)>) {
        votes.clear();
        let cast = self.observations().filter(|(slot, _)| fresh.has(*slot));
        votes.extend(cast.filter_map(|(slot, heard)| Some((slot, heard.vote?))));
    }

    /// What everybody says of it, by slot; this peer's own traffic is not in it.
    fn observations(&self) -> impl Iterator<Item = (usize, Heard)> {
        let Observation { vote, reached_before, latency, .. } = self.observation;
        let own = Heard { vote, reached_before, latency, ejected: false };
        std::iter::once((OWN, own)).chain(self.said.iter().map(|said| (said.slot, said.heard)))
    }
}

/// By whom a pool is judged.
pub(super) struct Seen<'n> {
    pub(super) standing: Standing,
    pub(super) regions: &'n Regions,
    pub(super) tally: Arc<Tally>,
    pub(super) near: &'n Near,
    /// The nodes as they were, where nothing has happened that concerns them all: what is still the same was judged rightly.
    pub(super) judged: Option<&'n [Arc<NodeView>]>,
}

/// Judges nodes, weighs each it beside its siblings and prepares the picking.
pub(super) fn build_pool(
    pool: Arc<Pool>,
    live: Arc<PoolLive>,
    previous: Option<Previous<'_>>,
    mut nodes: Vec<Arc<NodeView>>,
    Seen { standing, regions, tally, near, judged }: Seen<'_>,
    now: Instant,
) -> PoolView {
    let mut due: Option<Instant> = None;
    let mut wake_at = |at: Instant| due = Some(due.map_or(at, |due| due.min(at)));
    let counting = standing.counting;
    let mut judge = Judge { counting, near, pool: &pool, votes: Vec::new(), times: Vec::new() };
    for (at, node) in nodes.iter_mut().enumerate() {
        // A node on which nobody votes is judged by what traffic says, and traffic says nothing to a view.
        if judged.is_none_or(|judged| !Arc::ptr_eq(&judged[at], node)) || node.silent_since.is_some() {
            let judged = judge.judge(node, now);
            if judged != Judged::of(node) {
                let node = Arc::make_mut(node);
                let Judged { verdict, latency, usable_since, silent_since } = judged;
                (node.state.verdict, node.latency) = (verdict, latency);
                (node.usable_since, node.silent_since) = (usable_since, silent_since);
                node.was_judged |= verdict != Verdict::Unknown;
            }
        }
        if let Some(silent_since) = node.silent_since.filter(|&since| now < since + HOLD) {
            wake_at(silent_since + HOLD);
        }
        let cut_at = node.cut_at();
        if let Some(cut_at) = cut_at.filter(|&cut_at| now < cut_at) {
            wake_at(cut_at);
        }
        let drain_is_over = cut_at.is_some_and(|cut_at| cut_at <= now);
        if node.drain_is_over != drain_is_over {
            Arc::make_mut(node).drain_is_over = drain_is_over;
        }
    }
    let ramp = |node: &NodeView| {
        let age = node.usable_since.map(|since| now.saturating_duration_since(since));
        age.filter(|_| node.is_usable()).map(|age| weight::ramp(age, pool.slow_start))
    };
    // Backup nodes never share traffic with the others, so they have a ramp of their own.
    let top = |backup: bool| {
        let siblings = nodes.iter().filter(|node| node.node.backup == backup);
        siblings.filter_map(|node| ramp(node)).fold(0.0, f64::max)
    };
    let tops = [top(false), top(true)];
    for node in &mut nodes {
        let degraded = node.state.verdict == Verdict::Degraded;
        let top = tops[usize::from(node.node.backup)];
        let (own, top) = ramp(node).map_or((1.0, 1.0), |own| (own, top));
        if own < top {
            wake_at(now + RAMP_STEP);
        }
        let weight = weight::effective(node.node.weight, own, top, degraded);
        if (weight - node.effective_weight).abs() > f64::EPSILON {
            Arc::make_mut(node).effective_weight = weight;
        }
    }
    let all = |_: &NodeView| true;
    let tiers = Tiers::new(&pool, &nodes, regions, &all, previous.map(|previous| previous.tiers));
    let shifted = |node: &NodeView| {
        let region = node.node.region.as_ref().unwrap_or(regions.own());
        regions.shifts().iter().any(|shift| shift.region == *region)
    };
    let is_shifted = nodes.iter().any(|node| shifted(node)) && !nodes.iter().all(|node| shifted(node));
    let away = is_shifted.then(|| {
        let others = |node: &NodeView| !shifted(node);
        let tiers = Tiers::new(&pool, &nodes, regions, &others, previous.and_then(|previous| previous.away));
        let (pool, live, nodes, tally) = (Arc::clone(&pool), Arc::clone(&live), nodes.clone(), Arc::clone(&tally));
        Arc::new(PoolView { pool, live, nodes, tiers, away: None, due: None, standing, tally })
    });
    PoolView { pool, live, nodes, tiers, away, due, standing, tally }
}

/// What was prepared for a pool before.
#[derive(Clone, Copy)]
pub(super) struct Previous<'p> {
    tiers: &'p Tiers,
    away: Option<&'p Tiers>,
}

impl<'p> Previous<'p> {
    pub(super) fn of(pool: &'p PoolView) -> Self {
        Self { tiers: &pool.tiers, away: pool.away.as_ref().map(|away| &away.tiers) }
    }
}

/// What all observations of a node say together.
#[derive(PartialEq)]
struct Judged {
    verdict: Verdict,
    latency: Option<Duration>,
    usable_since: Option<Instant>,
    silent_since: Option<Instant>,
}

impl Judged {
    /// What was said last.
    fn of(node: &NodeView) -> Self {
        Self {
            verdict: node.state.verdict,
            latency: node.latency,
            usable_since: node.usable_since,
            silent_since: node.silent_since,
        }
    }
}

/// Judges the nodes of one pool, one after the other.
struct Judge<'p> {
    /// Whose votes count.
    counting: Slots,
    /// And on which nodes.
    near: &'p Near,
    pool: &'p Pool,
    /// Of the node at hand.
    votes: Vec<Vote>,
    /// Of the node at hand.
    times: Vec<Duration>,
}

impl Judge<'_> {
    fn judge(&mut self, node: &NodeView, now: Instant) -> Judged {
        let counting = self.counting.and(self.near.to(&node.node, self.pool.observe));
        let counted = || node.observations().filter(|(slot, _)| counting.has(*slot)).map(|(_, heard)| heard);
        self.votes.clear();
        self.votes.extend(
            counted().filter_map(|said| Some(Vote { health: said.vote?, reached_before: said.reached_before })),
        );
        self.times.clear();
        self.times.extend(counted().filter_map(|said| said.latency));
        let silent_since = if self.votes.is_empty() { node.silent_since.or(Some(now)) } else { None };
        let held = silent_since
            .map(|since| Held { verdict: node.state.verdict, silent: now.saturating_duration_since(since) });
        let local = if node.live.is_suspect() {
            Some(Health::Down)
        } else {
            // Nobody is waited for where nobody ever looks.
            (self.pool.check.kind == CheckKind::None).then_some(Health::Up)
        };
        let verdict = verdict(&self.votes, held, local);
        let usable = matches!(verdict, Verdict::Up | Verdict::Degraded);
        Judged {
            verdict,
            // While nobody votes the last picture holds whole.
            latency: self.median().or(node.latency.filter(|_| silent_since.is_some())),
            usable_since: usable.then(|| node.usable_since.unwrap_or(now)),
            silent_since,
        }
    }

    /// The lower median, so that of two who differ the nearer one speaks: it is the one that gets the traffic.
    fn median(&mut self) -> Option<Duration> {
        let middle = self.times.len().checked_sub(1)? / 2;
        Some(*self.times.select_nth_unstable(middle).1)
    }
}
