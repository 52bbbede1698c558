//! The side of a peer that others see: its link and its gossip, joined with its view and its checks.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::{Mutex, mpsc, watch};

use super::announce::Announcer;
use super::drains::learn_child;
use super::supervise::ChildSpec;
use crate::election::Founders;
use crate::gossip::{self, Gossip, Input, Memory, News, Output, Pace, PeerRow, Seed};
use crate::health;
use crate::host::{self, Incarnations, Names};
use crate::link::{self, Channel, Inboxes, KeyRing, Link, Protocols, Question, Received, Timing, To, TrustSource};
use crate::model::limits::GOSSIP_INPUTS_MAX;
use crate::model::{ClusterName, Member, Members, NodeId, PeerId, Preset, RegionName};
use crate::view::{self, ViewCell};
use crate::wire::{self, Advertised};

/// Hints on their way, in either direction.
const HINTS_MAX: usize = 256;
/// A peer that starts waits so long for others, with whom it shares the checks of nodes: some round trips, and little of the
/// second within which it is to be ready.
const COMPANY_WAIT_MAX: Duration = Duration::from_millis(400);
/// Looks at the view in one interval of gossip: a change waits for half of it at most before it is told.
const LOOKS_PER_INTERVAL: u32 = 2;

/// With whom a peer shares what it knows.
#[derive(Clone, Debug, PartialEq)]
pub struct ClusterSettings {
    /// The cluster's name.
    pub name: ClusterName,
    /// The UDP address of this peer.
    pub listen: SocketAddr,
    /// Where others dial it; `None`: where it listens.
    pub advertise: Option<Advertised>,
    /// Whom it asks first.
    pub seeds: Vec<Seed>,
    /// How far apart peers are.
    pub preset: Preset,
    /// Whom it takes.
    pub trust: TrustSource,
    /// By what cookies of sticky sessions are signed; `None`: by keys that the cluster's are derived to, where it has any.
    pub cookie_keys: Option<KeyRing>,
    /// What it speaks with them.
    pub protocols: Protocols,
    /// Who votes first, where the cluster is new.
    pub founders: Founders,
}

/// What may be asked of the cluster side.
#[derive(Clone, Debug)]
pub struct ClusterHandles {
    /// The cluster's name.
    pub name: ClusterName,
    /// How far apart its peers are.
    pub preset: Preset,
    /// Where others reach this peer.
    pub advertise: SocketAddr,
    /// Where the API of this peer listens.
    pub api: String,
    /// Which start of it this is.
    pub incarnation: u64,
    /// Its links.
    pub link: Arc<dyn Link>,
    /// The other peers.
    pub peers: watch::Receiver<Arc<Vec<PeerRow>>>,
    /// What gossip costs.
    pub gossip: Arc<gossip::Counts>,
}

/// Who a peer is, for its cluster side.
pub(super) struct Own {
    pub(super) id: PeerId,
    pub(super) region: RegionName,
    pub(super) api: String,
    pub(super) incarnations: Incarnations,
}

/// The ends at which the rest of the peer is joined.
pub(super) struct Ends {
    /// Who lives.
    pub(super) members: watch::Receiver<Arc<Members>>,
    /// Until when it is waited for somebody who lives.
    pub(super) company_by: Instant,
    /// Nodes that others saw failing.
    pub(super) hinted: mpsc::Receiver<NodeId>,
    /// What this peer saw failing.
    pub(super) hints: mpsc::Sender<health::Hint>,
}

impl Ends {
    /// Of a peer that is alone: it hears no hints, has nobody to send one to, and stays alone.
    pub(super) fn of_one(members: Arc<Members>, now: Instant) -> Self {
        Self {
            members: watch::channel(members).1,
            company_by: now,
            hinted: mpsc::channel(1).1,
            hints: mpsc::channel(1).0,
        }
    }
}

/// What the link is told of a peer.
pub(super) fn link_settings(settings: &ClusterSettings, own: &Own) -> link::Settings {
    link::Settings {
        own: link::Identity {
            cluster: settings.name.clone(),
            id: own.id.clone(),
            region: own.region.clone(),
            incarnation: own.incarnations.next(),
        },
        listen: settings.listen,
        advertise: settings.advertise.map(Advertised::get),
        trust: settings.trust.clone(),
        timing: timing(settings.preset),
        protocols: settings.protocols,
    }
}

/// How soon a silent link counts as lost.
pub(super) fn timing(preset: Preset) -> Timing {
    match preset {
        Preset::Local => Timing::LOCAL,
        Preset::Lan => Timing::LAN,
        Preset::Wan => Timing::WAN,
    }
}

/// A peer's cluster side, ready to be started.
pub(super) struct Joined {
    pub(super) handles: ClusterHandles,
    pub(super) ends: Ends,
    pub(super) children: Vec<ChildSpec>,
    /// What gossip is told beside the view.
    pub(super) inputs: mpsc::Sender<Input>,
    /// What others say that is not for gossip, nor a hint.
    pub(super) inboxes: AgreeInboxes,
}

/// What others say to a peer's elector and to its catalog.
pub(super) struct AgreeInboxes {
    pub(super) election: mpsc::Receiver<Received>,
    pub(super) questions: mpsc::Receiver<Question>,
}

/// With whom a peer gossips, over whatever link.
pub(super) struct Group<'s> {
    pub(super) name: &'s ClusterName,
    pub(super) seeds: &'s [Seed],
    pub(super) preset: Preset,
}

impl<'s> From<&'s ClusterSettings> for Group<'s> {
    fn from(settings: &'s ClusterSettings) -> Self {
        Self { name: &settings.name, seeds: &settings.seeds, preset: settings.preset }
    }
}

/// Joins a link that stands with view and checks. `advertise`: where others reach it, its port known.
pub(super) fn join(
    group: &Group<'_>,
    own: Own,
    advertise: SocketAddr,
    incarnation: u64,
    (link, inboxes): (Arc<dyn Link>, Inboxes),
    view: &ViewCell,
    events: mpsc::Sender<view::Event>,
) -> Joined {
    let Inboxes { gossip: gossip_inbox, hint: hint_inbox, election, query: questions, .. } = inboxes;
    let gossip_settings = Arc::new(gossip::Settings {
        cluster: group.name.clone(),
        id: own.id.clone(),
        region: own.region.clone(),
        advertise,
        api: own.api.clone(),
        seeds: group.seeds.to_vec(),
        pace: Pace::of(group.preset),
    });
    let alone = Arc::new(Members::alone(Member { id: own.id, region: own.region }));
    let (members, members_seen) = watch::channel(alone);
    let (peers, peers_seen) = watch::channel(Arc::default());
    let (inputs, inputs_out) = mpsc::channel(GOSSIP_INPUTS_MAX);
    let (hints, hints_out) = mpsc::channel(HINTS_MAX);
    let (hinted_in, hinted) = mpsc::channel(HINTS_MAX);
    let counts = Arc::new(gossip::Counts::default());
    let arguments = gossip::Arguments {
        memory: Memory::new(&gossip_settings, inputs_out),
        settings: Arc::clone(&gossip_settings),
        link: Arc::clone(&link),
        inbox: Arc::new(Mutex::new(gossip_inbox)),
        outputs: events.clone(),
        members,
        peers,
        counts: Arc::clone(&counts),
        incarnations: own.incarnations,
        names: Names::of_system(),
    };
    let pace = gossip_settings.pace;
    let children = vec![
        ChildSpec::new("gossip", move || (Gossip::<view::Event>::default(), arguments.clone())).critical(),
        announce_child(view.clone(), inputs.clone(), pace),
        hints_child(Arc::clone(&link), hints_out, hint_inbox, hinted_in),
        learn_child(Arc::clone(&link), peers_seen.clone(), view.clone(), events),
    ];
    let handles = ClusterHandles {
        name: group.name.clone(),
        preset: group.preset,
        advertise,
        api: own.api,
        incarnation,
        link,
        peers: peers_seen,
        gossip: counts,
    };
    Joined {
        handles,
        ends: Ends { members: members_seen, company_by: host::now() + COMPANY_WAIT_MAX, hinted, hints },
        children,
        inputs,
        inboxes: AgreeInboxes { election, questions },
    }
}

/// Tells gossip what changed in the view.
fn announce_child(view: ViewCell, inputs: mpsc::Sender<Input>, pace: Pace) -> ChildSpec {
    let pause = pace.interval / LOOKS_PER_INTERVAL;
    ChildSpec::task("announce", move || {
        let (view, inputs) = (view.clone(), inputs.clone());
        async move {
            let mut announcer = Announcer::new(host::now());
            loop {
                for input in announcer.look(&view.load(), host::now()) {
                    if inputs.send(input).await.is_err() {
                        return;
                    }
                }
                tokio::time::sleep(pause).await;
            }
        }
    })
}

/// Carries hints in both directions.
fn hints_child(
    link: Arc<dyn Link>,
    out: mpsc::Receiver<health::Hint>,
    inbox: mpsc::Receiver<Received>,
    hinted: mpsc::Sender<NodeId>,
) -> ChildSpec {
    let ends = Arc::new(Mutex::new((out, inbox)));
    ChildSpec::task("hints", move || {
        let (ends, link, hinted) = (Arc::clone(&ends), Arc::clone(&link), hinted.clone());
        async move {
            let mut ends = ends.lock().await;
            let (out, inbox) = &mut *ends;
            loop {
                tokio::select! {
                    Some(hint) = out.recv() => send_hint(&*link, hint),
                    Some(received) = inbox.recv() => take_hint(&received, &hinted),
                    else => return,
                }
            }
        }
    })
}

fn send_hint(link: &dyn Link, hint: health::Hint) {
    let health::Hint { to, nodes } = hint;
    match wire::Hint::new(nodes).map(|hint| hint.encode()) {
        Some(Ok(bytes)) => link.send(To::Peer(to), Channel::Hint, Bytes::from(bytes)),
        Some(Err(error)) => tracing::error!(%error, "a hint could not be written"),
        None => {}
    }
}

/// A hint is a reason to look. While too many wait to be looked at one more says nothing new.
fn take_hint(received: &Received, hinted: &mpsc::Sender<NodeId>) {
    match wire::Hint::decode(&received.bytes) {
        Ok(hint) => {
            for node in hint.nodes() {
                let _ = hinted.try_send(node.clone());
            }
        }
        Err(error) => tracing::debug!(peer = %received.from, %error, "a hint cannot be read"),
    }
}

impl From<Output> for view::Event {
    fn from(output: Output) -> Self {
        match output {
            Output::Members(members) => Self::Members(members),
            Output::News(News::Page { observer, page, nodes }) => Self::Heard { observer, page, nodes },
            Output::News(News::Forget(observer)) => Self::Forgotten { observer },
            Output::News(News::Swept { observer, at }) => Self::Swept { observer, at },
            Output::News(News::Load { observer, at, loads }) => Self::Load { observer, at, in_flight: loads },
            Output::News(News::Demand { observer, at, demand }) => Self::Demand { observer, at, demand },
        }
    }
}
