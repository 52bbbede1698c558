//! The actor: it runs chitchat, says what this peer has to say, and tells what others say.
//!
//! chitchat's loop is one task; when that ends, for whatever reason, the actor fails with it and is started again with a new
//! generation. What this peer says, and whom it knows, outlives both in [`Memory`].

use std::collections::BTreeSet;
use std::future::Future;
use std::marker::PhantomData;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chitchat::{ChitchatConfig, ChitchatHandle, ChitchatId, FailureDetectorConfig, ListenerHandle, spawn_chitchat};
use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::sync::{Mutex, Notify, OwnedMutexGuard, mpsc, watch};
use tokio::task::JoinSet;

use super::counts::Counts;
use super::membership::{Change, Linked, Membership};
use super::publisher::Publisher;
use super::reader::{News, Reader};
use super::seeds::Seeds;
use super::settings::{Seed, Settings};
use super::transport::LinkTransport;
use crate::host::{self, Incarnations, NameError, Names, Resolved};
use crate::link::{Events, Link, LinkEvent, LinkState, Received};
use crate::model::{Demand, Heard, Member, Members, NodeKey, PeerId, PeerState, RegionName, Revision};

/// A turn ends after this time even if nothing happened, so that a request to stop is heard.
const TURN_MAX: Duration = Duration::from_millis(200);
/// Between two readings of what others say. With many peers something always changes.
const READ_PAUSE: Duration = Duration::from_millis(40);
/// A wake-up later than so many intervals means that this peer itself was held up.
const LATE_INTERVALS: u32 = 2;
/// Heartbeats looked at for phi, at most.
const PHI_WINDOW: usize = 1_000;
/// Inputs taken in one turn.
const INPUTS_PER_TURN_MAX: usize = 1_024;

/// What this peer has to say.
#[derive(Clone, Debug)]
pub enum Input {
    /// What it knows of a node; `None`: it no longer observes it.
    Observed {
        /// The node.
        node: NodeKey,
        /// What is known.
        heard: Option<Heard>,
    },
    /// Its checks keep time.
    Swept,
    /// What is in flight, at every node that has something.
    Load(Vec<(NodeKey, u32)>),
    /// What it is asked, by region and for others.
    Demand(Demand),
    /// What others say of nodes and their load is to be heard once more: some of it was about nodes that this peer did not know
    /// when it heard it.
    TellAgain,
    /// It serves by this revision of the catalog.
    ServesBy(Revision),
    /// It stops.
    Leaving,
}

/// What this peer hears.
#[derive(Clone, Debug)]
pub enum Output {
    /// Somebody said something new.
    News(News),
    /// Who lives now, this peer included.
    Members(Arc<Members>),
}

/// A peer as it is shown.
#[derive(Clone, Debug)]
pub struct PeerRow {
    /// Its id.
    pub id: PeerId,
    /// Its region, once it has said it.
    pub region: Option<RegionName>,
    /// How it is.
    pub state: PeerState,
    /// Where it is reached.
    pub address: SocketAddr,
    /// Where its API listens.
    pub api: Option<String>,
    /// What it runs.
    pub software: Option<String>,
    /// The revision of the catalog that it serves by, once it has said one.
    pub catalog: Option<Revision>,
    /// Which start of it.
    pub incarnation: u64,
    /// When it was heard of last.
    pub heard: Instant,
    /// It stops.
    pub leaving: bool,
}

/// What outlives the actor.
#[derive(Clone, Debug)]
pub struct Memory(Arc<Mutex<Remembered>>);

#[derive(Debug)]
struct Remembered {
    publisher: Publisher,
    membership: Membership,
    reader: Reader,
    inputs: mpsc::Receiver<Input>,
}

impl Memory {
    /// What a peer begins with. `inputs`: what it has to say.
    pub fn new(settings: &Settings, inputs: mpsc::Receiver<Input>) -> Self {
        Self(Arc::new(Mutex::new(Remembered {
            publisher: Publisher::default(),
            membership: Membership::new(settings.id.clone(), settings.pace.detection()),
            reader: Reader::default(),
            inputs,
        })))
    }
}

/// What the actor is given at every start.
pub struct Arguments<T> {
    /// How it gossips.
    pub settings: Arc<Settings>,
    /// The way to others.
    pub link: Arc<dyn Link>,
    /// What arrives for gossip.
    pub inbox: Arc<Mutex<mpsc::Receiver<Received>>>,
    /// What outlives it.
    pub memory: Memory,
    /// Where news go.
    pub outputs: mpsc::Sender<T>,
    /// Who lives.
    pub members: watch::Sender<Arc<Members>>,
    /// Everybody who is known, to be shown.
    pub peers: watch::Sender<Arc<Vec<PeerRow>>>,
    /// What it costs.
    pub counts: Arc<Counts>,
    /// Numbers that only grow.
    pub incarnations: Incarnations,
    /// Names of seeds.
    pub names: Names,
}

impl<T> Clone for Arguments<T> {
    fn clone(&self) -> Self {
        Self {
            settings: Arc::clone(&self.settings),
            link: Arc::clone(&self.link),
            inbox: Arc::clone(&self.inbox),
            memory: self.memory.clone(),
            outputs: self.outputs.clone(),
            members: self.members.clone(),
            peers: self.peers.clone(),
            counts: Arc::clone(&self.counts),
            incarnations: self.incarnations.clone(),
            names: self.names.clone(),
        }
    }
}

/// The actor. Its outputs arrive as `T`.
#[derive(Debug)]
pub struct Gossip<T>(PhantomData<fn() -> T>);

impl<T> Default for Gossip<T> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

/// The actor's one message, which it sends itself.
#[derive(Clone, Copy, Debug)]
pub struct Turn;

type Ended = Pin<Box<dyn Future<Output = anyhow::Result<()>> + Send>>;

/// What the actor owns while it runs.
pub struct State<T> {
    arguments: Arguments<T>,
    remembered: OwnedMutexGuard<Remembered>,
    own: ChitchatId,
    chitchat: ChitchatHandle,
    ended: Ended,
    events: Events,
    /// Told when a key of anybody changed.
    changed: Arc<Notify>,
    _listener: ListenerHandle,
    seeds: Seeds,
    resolving: JoinSet<((String, u16), Result<Resolved, NameError>)>,
    tick_at: Instant,
    read_at: Option<Instant>,
    not_before: Instant,
    /// Everybody is to be shown anew, whatever changed.
    show: bool,
}

enum Woken {
    Input(Option<Input>),
    Link(LinkEvent),
    Changed,
    Resolved((String, u16), Result<Resolved, NameError>),
    Ended(anyhow::Result<()>),
    Time,
}

impl<T: From<Output> + Send + 'static> Actor for Gossip<T> {
    type Msg = Turn;
    type State = State<T>;
    type Arguments = Arguments<T>;

    async fn pre_start(&self, myself: ActorRef<Turn>, given: Arguments<T>) -> Result<State<T>, ActorProcessingErr> {
        let now = host::now();
        let mut remembered = Arc::clone(&given.memory.0).lock_owned().await;
        let settings = Arc::clone(&given.settings);
        let own = ChitchatId::new(settings.id.as_str(), given.incarnations.next(), settings.advertise);
        let transport = LinkTransport {
            link: Arc::clone(&given.link),
            inbox: Arc::clone(&given.inbox),
            counts: Arc::clone(&given.counts),
            own: own.clone(),
            cluster: settings.cluster.clone(),
            pace: settings.pace,
        };
        let about = Publisher::about(&settings);
        let chitchat = spawn_chitchat(chitchat_config(&settings, own.clone()), about, &transport).await?;
        let changed = Arc::new(Notify::new());
        let listener = {
            let changed = Arc::clone(&changed);
            let chitchat = chitchat.chitchat();
            let chitchat = chitchat.lock().await;
            chitchat.subscribe_event("", move |_| changed.notify_one())
        };
        remembered.publisher.begin();
        for news in remembered.reader.begin() {
            let _ = given.outputs.send(T::from(Output::News(news))).await;
        }
        myself.cast(Turn)?;
        Ok(State {
            ended: Box::pin(chitchat.termination_watcher()),
            events: given.link.events(),
            seeds: Seeds::new(&settings.seeds, now),
            resolving: JoinSet::new(),
            own,
            chitchat,
            changed,
            _listener: listener,
            remembered,
            arguments: given,
            tick_at: now,
            read_at: Some(now),
            not_before: now,
            show: true,
        })
    }

    async fn handle(&self, myself: ActorRef<Turn>, _: Turn, state: &mut State<T>) -> Result<(), ActorProcessingErr> {
        if !state.turn().await? {
            myself.stop(Some("nobody listens to its outputs".to_owned()));
            return Ok(());
        }
        myself.cast(Turn)?;
        Ok(())
    }

    async fn post_stop(&self, _: ActorRef<Turn>, state: &mut State<T>) -> Result<(), ActorProcessingErr> {
        state.chitchat.abort();
        Ok(())
    }
}

impl<T: From<Output> + Send + 'static> State<T> {
    /// False where nobody is left to hear the news.
    async fn turn(&mut self) -> Result<bool, ActorProcessingErr> {
        let now = host::now();
        self.ask_for_names(now);
        let read_at = self.read_at.map(|at| at.max(self.not_before));
        let wake_at = [Some(self.tick_at), read_at, Some(now + TURN_MAX)].into_iter().flatten().min();
        let woken = self.wait(wake_at.unwrap_or(now)).await;
        let now = host::now();
        match woken {
            Woken::Input(Some(input)) => self.take(input),
            Woken::Input(None) => return Ok(false),
            Woken::Link(event) => self.linked(&event, now),
            Woken::Changed => self.read_at = self.read_at.or(Some(now)),
            Woken::Resolved(name, answer) => self.seeds.answered(&name, &answer, now),
            Woken::Ended(Ok(())) => return Err("the loop of gossip ended".into()),
            Woken::Ended(Err(error)) => return Err(format!("the loop of gossip ended: {error:#}").into()),
            Woken::Time => {}
        }
        self.take_all_that_is_there();
        if self.tick_at <= now {
            self.tick(now);
        }
        if self.read_at.is_some_and(|at| at <= now) && self.not_before <= now {
            self.not_before = now + READ_PAUSE;
            return Ok(self.exchange(now).await);
        }
        Ok(!self.arguments.outputs.is_closed())
    }

    async fn wait(&mut self, until: Instant) -> Woken {
        tokio::select! {
            biased;
            ended = &mut self.ended => Woken::Ended(ended),
            event = self.events.next() => Woken::Link(event),
            input = self.remembered.inputs.recv() => Woken::Input(input),
            Some(Ok((name, answer))) = self.resolving.join_next(), if !self.resolving.is_empty() => {
                Woken::Resolved(name, answer)
            }
            () = self.changed.notified(), if self.read_at.is_none() => Woken::Changed,
            () = tokio::time::sleep_until(until.into()) => Woken::Time,
        }
    }

    fn take(&mut self, input: Input) {
        let Remembered { publisher, reader, .. } = &mut *self.remembered;
        match input {
            Input::Observed { node, heard } => publisher.observe(node, heard.as_ref()),
            Input::Swept => publisher.sweep(),
            Input::Load(loads) => publisher.load(loads),
            Input::Demand(demand) => publisher.demand(demand),
            Input::TellAgain => reader.tell_again(),
            Input::ServesBy(revision) => publisher.serve_by(revision),
            Input::Leaving => publisher.leave(),
        }
        self.read_at = self.read_at.or(Some(self.not_before));
    }

    fn take_all_that_is_there(&mut self) {
        for _ in 0..INPUTS_PER_TURN_MAX {
            let Ok(input) = self.remembered.inputs.try_recv() else { break };
            self.take(input);
        }
    }

    /// Once an interval: phi may have spoken without a key having changed.
    fn tick(&mut self, now: Instant) {
        let interval = self.arguments.settings.pace.interval;
        let late = now.saturating_duration_since(self.tick_at);
        if late > interval * LATE_INTERVALS {
            tracing::warn!(late_ms = late.as_millis(), "this peer was held up; it calls nobody dead for a while");
            self.remembered.membership.was_late(now);
        }
        self.tick_at = now + interval;
        self.show = true;
        for link in self.arguments.link.known().peers {
            self.remembered.membership.link_received(&link.id, link.datagrams_received, now);
        }
        self.read_at = self.read_at.or(Some(now));
        let peers = self.arguments.peers.borrow().clone();
        let own = self.own.gossip_advertise_addr;
        let is_met = |address| {
            address == own || peers.iter().any(|peer| peer.address == address && peer.state != PeerState::Dead)
        };
        for address in self.seeds.take_greetings(now, is_met) {
            // A loop that has ended is noticed by its watcher.
            let _ = self.chitchat.gossip(address);
        }
    }

    fn ask_for_names(&mut self, now: Instant) {
        while let Some(name) = self.seeds.take_name(now) {
            let names = self.arguments.names.clone();
            self.resolving.spawn(async move {
                let answer = names.resolve(&name.0).await;
                (name, answer)
            });
        }
    }

    fn linked(&mut self, event: &LinkEvent, now: Instant) {
        let (peer, linked) = match event {
            LinkEvent::Up { peer, .. } => (peer, Linked::Up),
            LinkEvent::Lost { peer, said_goodbye: true, .. } => (peer, Linked::Closed),
            LinkEvent::Lost { peer, .. } => (peer, Linked::Lost),
            LinkEvent::RedialFailed { peer, .. } => (peer, Linked::Failed),
            LinkEvent::Refused { .. } => return,
            LinkEvent::Missed => return self.look_at_links(now),
        };
        tell(&self.remembered.membership.linked(peer, linked, now));
        self.read_at = self.read_at.or(Some(now));
    }

    /// Events were missed: the table says how every link is now.
    fn look_at_links(&mut self, now: Instant) {
        for link in self.arguments.link.known().peers {
            let linked = match link.state {
                LinkState::Up => Linked::Up,
                LinkState::Dialing => Linked::Lost,
                LinkState::Lost => Linked::Failed,
            };
            tell(&self.remembered.membership.linked(&link.id, linked, now));
        }
    }

    /// Says what is new here, reads what is new elsewhere.
    async fn exchange(&mut self, now: Instant) -> bool {
        self.read_at = None;
        let round = {
            let chitchat = self.chitchat.chitchat();
            let mut chitchat = chitchat.lock().await;
            let remembered = &mut *self.remembered;
            remembered.publisher.say(chitchat.self_node_state(), now);
            let live: BTreeSet<ChitchatId> = chitchat.live_nodes().cloned().collect();
            remembered.reader.read(&self.own, chitchat.node_states(), &live, now)
        };
        tell(&self.remembered.membership.sighted(round.sightings, now));
        let Remembered { reader, membership, .. } = &*self.remembered;
        self.arguments.counts.set_not_taken(reader.unreadable_total(), membership.refused_total());
        for news in round.news {
            if self.arguments.outputs.send(T::from(Output::News(news))).await.is_err() {
                return false;
            }
        }
        // Of most readings only heartbeats are new.
        let changed = self.remembered.membership.take_changed();
        !(std::mem::take(&mut self.show) || changed) || self.show().await
    }

    /// Tells who lives, where that changed, and shows everybody.
    async fn show(&mut self) -> bool {
        let rows: Vec<PeerRow> = self
            .remembered
            .membership
            .peers()
            .map(|known| {
                let about = self.remembered.reader.about(&known.sighting.id);
                PeerRow {
                    id: known.sighting.id.clone(),
                    region: known.sighting.region.clone(),
                    state: known.state,
                    address: known.sighting.address,
                    api: about.api.map(str::to_owned),
                    software: about.software.map(str::to_owned),
                    catalog: about.catalog,
                    incarnation: known.sighting.incarnation,
                    heard: known.heard,
                    leaving: known.sighting.leaving,
                }
            })
            .collect();
        let members = Arc::new(members(&self.arguments.settings, &rows));
        self.arguments.peers.send_replace(Arc::new(rows));
        let is_news = self.arguments.members.send_if_modified(|standing| {
            let is_news = **standing != *members;
            if is_news {
                *standing = Arc::clone(&members);
            }
            is_news
        });
        !is_news || self.arguments.outputs.send(T::from(Output::Members(members))).await.is_ok()
    }
}

/// Whoever lives, has said where it is, and stays.
fn members(settings: &Settings, rows: &[PeerRow]) -> Members {
    let own = Member { id: settings.id.clone(), region: settings.region.clone() };
    let others = rows.iter().filter(|row| row.state != PeerState::Dead && !row.leaving);
    let others = others.filter_map(|row| Some(Member { id: row.id.clone(), region: row.region.clone()? }));
    Members::new(own, others)
}

fn tell(changes: &[Change]) {
    for Change { id, state, why } in changes {
        match state {
            PeerState::Dead => tracing::warn!(peer = %id, why, "peer is dead"),
            state => tracing::info!(peer = %id, why, "peer is {}", state.name()),
        }
    }
}

fn chitchat_config(settings: &Settings, own: ChitchatId) -> ChitchatConfig {
    let pace = settings.pace;
    let addresses = settings.seeds.iter().filter_map(|seed| match seed {
        Seed::Address(address) => Some(address.to_string()),
        Seed::Name(..) => None,
    });
    ChitchatConfig {
        listen_addr: own.gossip_advertise_addr,
        chitchat_id: own,
        cluster_id: settings.cluster.to_string(),
        gossip_interval: pace.interval,
        seed_nodes: addresses.collect(),
        failure_detector_config: FailureDetectorConfig::new(
            pace.phi,
            PHI_WINDOW,
            pace.sample_max(),
            // With the default of 5 s the death of a young peer would take 15 s to be seen.
            pace.interval,
            pace.grace,
        ),
        marked_for_deletion_grace_period: pace.grace,
        catchup_callback: None,
        extra_liveness_predicate: None,
    }
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;
    use chitchat::transport::{Socket, Transport};
    use chitchat::{ChitchatMessage, Deserializable};
    use tokio::time::sleep;

    use super::super::fuzzing;
    use super::super::settings::Pace;
    use super::*;
    use crate::model::Preset;

    type Inbox = mpsc::Receiver<ChitchatMessage>;

    /// Hears what it is fed, and says nothing.
    struct Fed(Arc<Mutex<Inbox>>);

    #[async_trait]
    impl Transport for Fed {
        async fn open(&self, _listen: SocketAddr) -> anyhow::Result<Box<dyn Socket>> {
            Ok(Box::new(Self(Arc::clone(&self.0))))
        }
    }

    #[async_trait]
    impl Socket for Fed {
        async fn send(&mut self, _to: SocketAddr, _message: ChitchatMessage) -> anyhow::Result<()> {
            Ok(())
        }

        async fn recv(&mut self) -> anyhow::Result<(SocketAddr, ChitchatMessage)> {
            let message = self.0.lock().await.recv().await.unwrap();
            Ok(("10.77.0.1:7940".parse().unwrap(), message))
        }
    }

    /// For how long a peer counts as living whose heartbeats rose at these times, after the last of them.
    async fn lives_for(rises_ms: &[u64]) -> Duration {
        let settings = Settings {
            cluster: "evenkeel".parse().unwrap(),
            id: "own".parse().unwrap(),
            region: RegionName::default(),
            advertise: "10.77.0.9:7940".parse().unwrap(),
            api: String::new(),
            seeds: Vec::new(),
            pace: Pace::of(Preset::Lan),
        };
        let own = ChitchatId::new("own", 1, settings.advertise);
        let (sender, inbox) = mpsc::channel(1);
        let fed = Fed(Arc::new(Mutex::new(inbox)));
        let chitchat = spawn_chitchat(chitchat_config(&settings, own), Vec::new(), &fed).await.unwrap();
        let began = host::now();
        for (heartbeat, ms) in (1..).zip(rises_ms) {
            tokio::time::sleep_until((began + Duration::from_millis(*ms)).into()).await;
            let message = ChitchatMessage::deserialize(&mut &fuzzing::syn(heartbeat)[..]).unwrap();
            sender.send(message).await.unwrap();
        }
        let last = host::now();
        let mut lived = Duration::ZERO;
        while host::now() < last + Duration::from_secs(5) {
            sleep(Duration::from_millis(10)).await;
            if chitchat.chitchat().lock().await.live_nodes().count() > 1 {
                lived = host::now() - last;
            }
        }
        lived
    }

    #[tokio::test(start_paused = true)]
    async fn one_more_heartbeat_of_a_dead_peer_counts_as_life_for_less_than_two_seconds() {
        let mut longest = Duration::ZERO;
        for silence_ms in (100..=2_000).step_by(100) {
            // Heard of twice, by one who had just met it; and at length.
            longest = longest.max(lives_for(&[0, 50, 50 + silence_ms]).await);
            let long: Vec<u64> = (0..100).map(|beat| 50 * beat).chain([4_950 + silence_ms]).collect();
            longest = longest.max(lives_for(&long).await);
        }
        assert!(longest >= Duration::from_millis(500), "it was never alive: {longest:?}");
        assert!(longest < Duration::from_millis(1_900), "{longest:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_beats_as_slowly_as_large_clusters_hear_it_lives() {
        let beats: Vec<u64> = (0..100).map(|beat| 250 * beat).collect();
        assert!(lives_for(&beats).await > Duration::from_millis(800));
    }
}
