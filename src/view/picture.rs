//! The picture itself: immutable, swapped whole, read by every worker through a cache of its own.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::heard::{OWN, Observers, Place, Said, Slots};
use super::regions::Regions;
use super::tiers::Tiers;
use super::verdict::Tally;
use crate::balance::score::{Band, Score};
use crate::balance::{NodeLive, PoolLive};
use crate::model::{
    Admin, CheckKind, DrainLeft, DrainSeen, Health, Heard, Members, Node, NodeId, NodeKey, Observation, PeerId, Pool,
    PoolName, Revision, Route, Run, Verdict,
};
use crate::route::Table;

/// One peer's picture of everything it may send traffic to.
#[derive(Clone, Debug)]
pub struct View {
    pub(super) pools: Vec<Arc<PoolView>>,
    pub(super) index: Arc<Index>,
    /// Where requests go.
    pub(super) routes: Arc<Routes>,
    pub(super) regions: Arc<Regions>,
    /// Who lives.
    pub(super) members: Arc<Members>,
    /// What is known of everybody who told something.
    pub(super) observers: Observers,
    /// Those whose votes do not count.
    pub(super) doubtful: Slots,
    /// When the observations of some peer will not be fresh any more.
    pub(super) stale_at: Option<Instant>,
    /// What was heard and not kept.
    pub(super) dropped: u64,
    /// How often a deadline became another one without another catalog.
    pub(super) deadlines_moved: u64,
}

/// Routes, as they were written and as they are looked up.
#[derive(Debug, Default)]
pub(super) struct Routes {
    pub(super) written: Vec<Route>,
    pub(super) table: Table,
}

/// Where pools and nodes stand in a view; the same for all views of one catalog.
#[derive(Debug, Default)]
pub(super) struct Index {
    pub(super) pools: HashMap<PoolName, usize>,
    pub(super) nodes: HashMap<NodeId, Place>,
    pub(super) keys: HashMap<NodeKey, Place>,
}

impl View {
    /// Whether of every node it is known where it is, and of those that are checked how, from this peer or from others.
    pub fn is_checked(&self) -> bool {
        let is_known = |node: &NodeView, is_checked: bool| {
            let is_asked = node.observation.checks_total > 0 || node.state.verdict != Verdict::Unknown;
            node.node.admin == Admin::Disabled
                // Its name leads nowhere.
                || node.observation.vote == Some(Health::Down)
                || (!node.addresses.is_empty() && (is_asked || !is_checked))
        };
        self.pools.iter().all(|pool| {
            let is_checked = pool.pool.check.kind != CheckKind::None;
            pool.nodes.iter().all(|node| is_known(node, is_checked))
        })
    }

    /// This peer and those that live.
    pub fn members(&self) -> &Arc<Members> {
        &self.members
    }

    /// The peers whose votes do not count, because they disagree with everybody. This peer may be one of them.
    pub fn doubtful(&self) -> Vec<PeerId> {
        let known = self.doubtful.iter().filter_map(|slot| self.observers.get(slot));
        known.map(|observer| observer.id.clone()).collect()
    }

    /// When this peer's own health actor last said that it keeps time: while that rises, what it says is worth telling.
    pub fn own_swept(&self) -> Option<Instant> {
        self.observers.get(OWN)?.swept
    }

    /// How much was heard and not kept: of nodes that this catalog does not have, from more peers or in more pages than
    /// there may be.
    pub fn heard_dropped(&self) -> u64 {
        self.dropped
    }

    /// What those who live say of a node, by peer id, this peer included.
    pub fn opinions(&self, id: &NodeId) -> Option<Vec<Opinion>> {
        let place = *self.index.nodes.get(id)?;
        let (pool, node) = self.node(id)?;
        let of = |slot: usize, heard: Heard, in_flight: u32| {
            let peer = self.observers.get(slot).map(|observer| &observer.id);
            Some(Opinion {
                peer: peer.filter(|id| self.members.contains(id))?.clone(),
                heard,
                fresh: pool.standing.fresh.has(slot),
                doubtful: self.doubtful.has(slot),
                in_flight,
            })
        };
        let others = node.said.iter().map(|said| (said.slot, said.heard, self.observers.in_flight(said.slot, place)));
        let own = (OWN, node.said_here(), node.live.in_flight());
        let all = std::iter::once(own).chain(others);
        let mut opinions: Vec<Opinion> =
            all.filter_map(|(slot, heard, in_flight)| of(slot, heard, in_flight)).collect();
        opinions.sort_unstable_by(|a, b| a.peer.cmp(&b.peer));
        Some(opinions)
    }

    /// Where requests go.
    pub fn routes(&self) -> &Table {
        &self.routes.table
    }

    /// What is known of regions.
    pub fn regions(&self) -> &Regions {
        &self.regions
    }

    /// The pool of this name.
    pub fn pool(&self, name: &PoolName) -> Option<&Arc<PoolView>> {
        self.pools.get(*self.index.pools.get(name)?)
    }

    /// Every pool, in the order of the catalog.
    pub fn pools(&self) -> impl Iterator<Item = &Arc<PoolView>> {
        self.pools.iter()
    }

    /// A node and its pool.
    pub fn node(&self, id: &NodeId) -> Option<(&Arc<PoolView>, &Arc<NodeView>)> {
        let place = self.index.nodes.get(id)?;
        let pool = self.pools.get(place.pool)?;
        Some((pool, pool.nodes.get(place.node)?))
    }

    /// When something in it changes by time alone; `None`: only by what is observed.
    pub fn due(&self) -> Option<Instant> {
        self.pools.iter().filter_map(|pool| pool.due).chain(self.stale_at).min()
    }
}

/// A pool with its nodes and whatever its strategy prepared.
#[derive(Debug)]
pub struct PoolView {
    /// As users wrote it.
    pub pool: Arc<Pool>,
    /// Its counts.
    pub live: Arc<PoolLive>,
    /// Its nodes, in the order of the catalog.
    pub nodes: Vec<Arc<NodeView>>,
    /// Who may be picked, prepared.
    pub(super) tiers: Tiers,
    /// The same pool for traffic that is held away from regions: without their nodes. `None`: none of it is, or there would be none left.
    pub(super) away: Option<Arc<PoolView>>,
    /// When it changes by time alone: a node climbs its ramp, or an old verdict ends.
    pub(super) due: Option<Instant>,
    /// Whose votes it was judged by.
    pub(super) standing: Standing,
    /// How the fresh votes on its nodes stand to one another.
    pub(super) tally: Arc<Tally>,
}

/// Whose observations of a pool are worth something.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Standing {
    /// Those that live and were lately seen to look.
    pub(super) fresh: Slots,
    /// Of these the ones that are not doubtful: their votes count.
    pub(super) counting: Slots,
}

/// What one peer says of one node, and what it is worth.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Opinion {
    /// Whose.
    pub peer: PeerId,
    /// What it says.
    pub heard: Heard,
    /// Whether it lives and was lately seen to look. A vote that is not fresh does not count.
    pub fresh: bool,
    /// Whether it disagrees with everybody. Its votes do not count.
    pub doubtful: bool,
    /// What it has in flight there, as it said last.
    pub in_flight: u32,
}

/// A node with everything that is known of it.
#[derive(Clone, Debug)]
pub struct NodeView {
    /// As users wrote it.
    pub node: Node,
    /// What peers call it among themselves.
    pub key: NodeKey,
    /// Its counts.
    pub live: Arc<NodeLive>,
    /// Where its name leads now; a literal address is its own. Empty: the name does not resolve.
    pub addresses: Vec<SocketAddr>,
    /// What is said of it.
    pub state: NodeState,
    /// This peer's own observation.
    pub observation: Observation,
    /// What others say of it, by slot.
    pub(super) said: Vec<Said>,
    /// Weight × slow start × degraded 0.5.
    pub effective_weight: f64,
    /// Moving average of the check's connect time, the median over observers.
    pub latency: Option<Duration>,
    /// Since when its verdict has been up or degraded without a break; slow start counts from here.
    pub usable_since: Option<Instant>,
    /// Since when no vote on it has counted; `None`: one does.
    pub(super) silent_since: Option<Instant>,
    /// Whether a verdict was ever known here.
    pub(super) was_judged: bool,
    /// It was there when this peer began, and may have had sessions before.
    pub(super) is_from_start: bool,
    /// `None`: it does not drain.
    pub(super) drain: Option<DrainBegun>,
    /// It drains, and its time is over.
    pub(super) drain_is_over: bool,
}

impl NodeView {
    /// Whether the verdict allows it, it is enabled, and there is an address to connect to.
    pub fn is_usable(&self) -> bool {
        matches!(self.state.verdict, Verdict::Up | Verdict::Degraded) && self.is_allowed()
    }

    /// Whether it may be sent traffic when nothing better is left: enabled, and with an address.
    pub(super) fn is_allowed(&self) -> bool {
        self.state.admin == Admin::Enabled && !self.addresses.is_empty()
    }

    /// Whether sessions that are at home there go on: it can be used, or it drains and still has time. So do those at a node of which
    /// nothing was ever known here: whoever began the session knew that it is well, and this peer has just started.
    pub fn keeps_sessions(&self) -> bool {
        let may_be_well = match self.state.verdict {
            Verdict::Up | Verdict::Degraded => true,
            Verdict::Unknown => !self.was_judged,
            Verdict::Down => false,
        };
        let is_well = may_be_well && !self.addresses.is_empty() && !self.is_out_of_reach();
        is_well
            && match self.state.admin {
                Admin::Enabled => true,
                Admin::Draining { .. } => !self.drain_is_over,
                Admin::Disabled => false,
            }
    }

    /// The same for sessions by a hash, which nobody began: at a node that was added later and is not known to be well there are none.
    pub(super) fn keeps_sessions_by_hash(&self) -> bool {
        self.keeps_sessions() && (self.state.verdict != Verdict::Unknown || self.is_from_start)
    }

    /// When what it still has at this peer is cut; `None`: never, or it does not drain.
    pub fn cut_at(&self) -> Option<Instant> {
        match self.node.admin {
            Admin::Draining { timeout: Some(timeout), .. } => self.drain?.since.checked_add(timeout),
            _ => None,
        }
    }

    /// How far its drain is at this peer; `None`: this peer knows of none.
    pub fn drain_left(&self) -> Option<DrainLeft> {
        let cut_before = self.drain?.cut_before;
        let cut = self.live.counts.drains_cut.load(Relaxed).saturating_sub(cut_before);
        Some(DrainLeft { in_flight: self.live.in_flight(), cut })
    }

    /// The same as other peers are told it.
    pub fn drain_seen(&self, now: Instant) -> Option<DrainSeen> {
        let DrainBegun { since, revision, .. } = self.drain?;
        let passed_ms = u64::try_from(now.saturating_duration_since(since).as_millis()).unwrap_or(u64::MAX);
        Some(DrainSeen { begun: revision, passed_ms, left: self.drain_left()? })
    }

    /// Which drain with a deadline it is in, while that is not over: by the revision that the drain began with.
    pub fn drains_by(&self) -> Option<Revision> {
        let drain = self.drain.filter(|_| !self.drain_is_over && self.cut_at().is_some())?;
        Some(drain.revision)
    }

    /// Whether this peer's own checks fail, whatever the cluster says: the path from here may be the fault. Such a node is
    /// used when no other is left.
    pub(super) fn is_out_of_reach(&self) -> bool {
        self.observation.vote == Some(Health::Down)
    }

    /// What this peer tells the others of it.
    pub fn said_here(&self) -> Heard {
        let Observation { vote, reached_before, latency, .. } = self.observation;
        Heard { vote, reached_before, latency, ejected: self.local() == Local::Ejected }
    }

    /// What this peer's own traffic and checks say of it at this moment.
    pub fn local(&self) -> Local {
        if self.live.is_suspect() || self.is_out_of_reach() { Local::Ejected } else { Local::Admitted }
    }

    /// 50 to 100 in hundredths, with what is in flight at this moment; see [`crate::balance::score`].
    pub fn health_score(&self) -> f64 {
        (f64::from(Score::of(self.latency).at(self.live.in_flight_everywhere())) * 100.0).round() / 100.0
    }

    /// The score in a word.
    pub fn band(&self) -> Band {
        Band::of(self.health_score())
    }
}

/// The begin of a drain at this peer.
#[derive(Clone, Copy, Debug)]
pub(super) struct DrainBegun {
    /// Since when the peer has known of it.
    pub(super) since: Instant,
    /// Which drain it is.
    revision: Revision,
    /// What drains before it had cut of the node's work.
    cut_before: u64,
}

impl DrainBegun {
    /// Of a node of which an operator says this; `before`: the drain that was known of.
    pub(super) fn of(admin: Admin, before: Option<Self>, live: &NodeLive, now: Instant) -> Option<Self> {
        let Admin::Draining { begun: revision, .. } = admin else { return None };
        let begins = || Self { since: now, revision, cut_before: live.counts.drains_cut.load(Relaxed) };
        Some(before.filter(|before| before.revision == revision).unwrap_or_else(begins))
    }

    /// The same drain, where others have known of it for longer.
    pub(super) fn known_since(self, revision: Revision, since: Instant) -> Option<Self> {
        (self.revision == revision && since < self.since).then_some(Self { since, ..self })
    }
}

/// A node's state, by who says it. What this peer's own traffic says is asked of [`NodeView::local`]: it changes between
/// two views.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct NodeState {
    /// What an operator says.
    pub admin: Admin,
    /// How it runs.
    pub run: Run,
    /// What the cluster says.
    pub verdict: Verdict,
}

/// What this peer's own traffic and checks say of a node.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Local {
    /// Nothing against it.
    Admitted,
    /// Hard evidence: a connection was refused or reset, or the checks of this peer fail.
    Ejected,
}
