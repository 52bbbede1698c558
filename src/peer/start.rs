//! Starting and stopping: what is bound, made and wired in which order, and undone in the reverse.

use std::collections::BTreeMap;
use std::hash::RandomState;
use std::io;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tokio::runtime;
use tokio::sync::{Mutex, mpsc, oneshot, watch};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::agree::{self, Agreement, Company, Elector, Files, OwnFile, agree};
use super::cluster::{ClusterSettings, Ends, Joined, Own, join, link_settings};
use super::cookies;
use super::failover::{Joints, made};
use super::handles::{Handles, Readiness};
use super::listeners::pools_child;
use super::open::OpenListeners;
use super::profiles::profiles_child;
use super::settings::Settings;
use super::supervise::{AddError, Board, ChildSpec, Supervisor};
use crate::catalog::{Applied, Object};
use crate::driver::Kind;
use crate::geo::{Geo, GeoCell};
use crate::gossip::Input;
use crate::health::{self, Asker};
use crate::host::{self, Dice, FolderError, Incarnations, Names};
use crate::limit::Limiter;
use crate::link::{self, Link, QuicLink, TrustError};
use crate::model::{Catalog, DriverName, Evidence, Member, Members, Preset};
use crate::proxy::explain::{Beside, Explainer};
use crate::proxy::limits::ProcessCap;
use crate::proxy::{self, BindErrors, CookieKeys, CookieKeysCell, Listener, Listeners, Phase, WorkerActor};
use crate::tls::{self, NodeTls, NodeTlsCell, Profile, TlsError};
use crate::view::{self, ViewActor, ViewCell};

/// Readiness waits so long for the first check of every node: a peer that cannot reach some serves the others.
const FIRST_ROUND_MAX: Duration = Duration::from_secs(1);
/// What was found is in the view within a few of these.
const VIEW_PAUSE: Duration = Duration::from_millis(2);
/// What workers found suspicious and health has not looked at yet.
pub(super) const SUSPECTS_MAX: usize = 1_024;
/// Workers cut what is left within this time once they are told.
const END_TIMEOUT: Duration = Duration::from_secs(5);

/// Why a peer did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A listener could not be bound.
    #[error(transparent)]
    Bind(#[from] BindErrors),
    /// TLS to nodes cannot be spoken.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The machine refused a thread or a runtime.
    #[error("the machine gave no thread: {0}")]
    Thread(io::Error),
    /// Links to other peers cannot be had.
    #[error(transparent)]
    Link(#[from] link::StartError),
    /// Its data folder cannot be had.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// No key could be made.
    #[error("the system has no random numbers to give")]
    NoRandom,
    /// A part did not start.
    #[error(transparent)]
    Child(#[from] AddError),
    /// The supervisor did not start.
    #[error("the supervisor did not start: {0}")]
    Supervisor(String),
}

/// A running peer. Dropping it ends the peer without a drain; [`Peer::stop`] drains.
#[derive(Debug)]
pub struct Peer {
    handles: Handles,
    /// What is to be served: whoever has a newer one sends it here.
    pub(super) catalog: watch::Sender<Arc<Catalog>>,
    elector: Elector,
    file: OwnFile,
    supervisor: Supervisor,
    open: OpenListeners,
    /// By what cookies of sticky sessions are signed.
    cookie_keys: CookieKeysCell,
    /// Where addresses are.
    geo: GeoCell,
    workers: usize,
    phase: watch::Sender<Phase>,
    running: Arc<watch::Sender<usize>>,
    announce: Duration,
    drain: Duration,
    cluster: Option<Cluster>,
    /// The way to gossip, and the link below it.
    gossip: Option<(mpsc::Sender<Input>, Arc<QuicLink>)>,
}

/// The thread on which everything runs that must keep time: health, view, supervision.
#[derive(Debug)]
struct Cluster {
    /// The thread ends when this is gone.
    alive: oneshot::Sender<()>,
    runtime: runtime::Handle,
    thread: thread::JoinHandle<()>,
}

impl Peer {
    /// Starts a peer: its listeners are bound, its workers accept, and the first checks are under way.
    ///
    /// `api`: where its API listens, for other peers to show.
    pub async fn start(settings: Settings, api: String) -> Result<Self, StartError> {
        let started = host::now();
        let workers = settings.proxy.workers.get();
        let listeners = proxy::bind(&settings.proxy.listeners, workers, &[])?;
        let tls = NodeTlsCell::from(NodeTls::new(tls::client_configs()?, &settings.tls)?);
        let geo = GeoCell::default();
        geo.set(settings.geo.clone());
        let (files, applied, cookie_keys) = agreed_before(&settings).await?;
        let catalog = Arc::clone(&applied.catalog);
        let (catalogs, newest) = watch::channel(Arc::clone(&catalog));
        let own = Member { id: settings.id.clone(), region: settings.region.clone() };
        let members = Arc::new(Members::alone(own));
        let view = ViewCell::new(view::first(&catalog, Arc::clone(&members), started));
        let (cluster, supervisor, board) = cluster_thread().await?;

        let (events, inbox) = view::channel();
        let (suspects, suspect_inbox) = mpsc::channel(SUSPECTS_MAX);
        let (first_round, is_checked) = watch::channel(false);
        let (phase, _) = watch::channel(Phase::Serving);
        let running = Arc::new(watch::channel(0).0);

        supervisor.add(view_child(view.clone(), inbox)).await?;
        supervisor.add(catalog_child(newest.clone(), events.clone())).await?;
        let joined = match &settings.cluster {
            None => None,
            Some(cluster_settings) => {
                let own = Own {
                    id: settings.id.clone(),
                    region: settings.region.clone(),
                    api,
                    incarnations: Incarnations::new(),
                };
                Some(join_cluster(&cluster, cluster_settings, own, &view, events.clone()).await?)
            }
        };
        let (handles, ends, parts, gossip, company) = match joined {
            Some((Joined { handles, ends, children, inputs, inboxes }, link)) => {
                let company = settings.cluster.as_ref().map(|cluster| Company::of(cluster, &handles, inboxes));
                (Some(handles), ends, children, Some((inputs, link)), company)
            }
            None => (None, Ends::of_one(members, started), Vec::new(), None, None),
        };
        let others = handles.as_ref().map(|cluster| (Arc::clone(&cluster.link), cluster.peers.clone()));
        let joints = Joints {
            own: Member { id: settings.id.clone(), region: settings.region.clone() },
            drivers: settings.drivers,
            tls: tls.clone(),
            members: ends.members.clone(),
            others,
        };
        let agreement = agree::Settings {
            own: settings.id.clone(),
            preset: settings.cluster.as_ref().map_or(Preset::Local, |cluster| cluster.preset),
            desired: Arc::clone(&settings.desired),
            follow_file: settings.follow_file,
            gives_way: settings.proxy.listeners.is_empty() || settings.catalog.pools().is_empty(),
            joints,
        };
        let inputs = gossip.as_ref().map(|(inputs, _)| inputs.clone());
        let Agreement { handles: agreed, children: agreeing, elector, file } =
            agree(agreement, files, company, applied, catalogs.clone(), (inputs, &view), Dice::new());
        let ways = Ways { outputs: events, suspects: suspect_inbox, ends, first_round };
        supervisor.add(health_child(newest, view.clone(), ways, Asker::Nodes(tls.clone()), Dice::new())).await?;
        for part in parts.into_iter().chain(agreeing) {
            supervisor.add(part).await?;
        }
        let open = OpenListeners::new(listeners);
        let limiter = Arc::new(Limiter::new(RandomState::new(), host::now()));
        let shared = proxy::Shared {
            listeners: open.subscribe(),
            view: view.clone(),
            tls: tls.clone(),
            cookie_keys: cookie_keys.clone(),
            geo: geo.clone(),
            suspects,
            phase: phase.subscribe(),
            running: Arc::clone(&running),
            limiter: Arc::clone(&limiter),
            cap: Arc::new(ProcessCap::new(settings.proxy.connections_max)),
            settings: Arc::new(settings.proxy),
        };
        for index in 0..shared.settings.workers.get() {
            supervisor.add(worker_child(index, shared.clone())).await?;
        }

        let readiness = Readiness::default();
        cluster.runtime.spawn(become_ready(readiness.clone(), is_checked, view.clone()));
        let shown = open.shown();
        supervisor.add(pools_child(shown.clone(), view.clone())).await?;
        supervisor.add(profiles_child(tls.clone(), view.clone())).await?;
        let beside = Beside { cookie_keys: cookie_keys.clone(), geo: geo.clone(), limiter: Arc::clone(&limiter) };
        let explainer = Explainer::new(open.subscribe(), view.clone(), beside);
        Ok(Self {
            handles: Handles {
                id: settings.id,
                region: settings.region,
                view,
                started,
                listeners: shown,
                tls,
                explainer,
                limiter,
                children: board,
                readiness,
                agreed,
                cluster: handles,
            },
            gossip,
            catalog: catalogs,
            elector,
            file,
            supervisor,
            open,
            cookie_keys,
            geo,
            workers,
            announce: shared.settings.announce,
            drain: shared.settings.drain,
            phase,
            running,
            cluster: Some(cluster),
        })
    }

    /// What may be asked of this peer.
    pub fn handles(&self) -> &Handles {
        &self.handles
    }

    /// From now on new peers are taken as these settings say, and cookies signed; links that stand are left alone. A peer without a
    /// cluster takes none.
    pub fn rekey(&self, settings: &ClusterSettings) -> Result<(), TrustError> {
        self.gossip.as_ref().map_or(Ok(()), |(_, link)| link.rekey(&settings.trust))?;
        if let Some(keys) = cookies::shared(Some(settings)) {
            self.cookie_keys.set(CookieKeys::of(keys));
        }
        Ok(())
    }

    /// Binds what listens by this and did not before, for [`Peer::listen`]. What cannot be bound leaves everything as it was.
    pub fn bind(&self, listeners: &[Listener]) -> Result<Listeners, BindErrors> {
        proxy::bind(listeners, self.workers, &self.open.bound())
    }

    /// Listens at these from now on. Connections go on, and so does what waits in the line of a listener that stays; those of one that is
    /// gone or that changed end with their next answer.
    ///
    /// Where `after_catalog`, one that is new takes its first connection once the catalog is what [`Peer::file_was_read`] said last: in it
    /// may be the routes that guard it. Clients wait in its line meanwhile.
    pub fn listen(&self, listeners: &Listeners, after_catalog: bool) {
        let (catalog, view) = (&self.handles.agreed.catalog, &self.handles.view);
        let catalog = after_catalog.then(|| self.file.served(catalog.clone(), view.clone()));
        let runtime = self.cluster.as_ref().map(|cluster| &cluster.runtime);
        self.open.listen(listeners, catalog.zip(runtime));
    }

    /// Opens the files of access logs anew, for whoever has moved them away.
    pub fn reopen_logs(&self) {
        self.open.bound().iter().for_each(|bound| bound.reopen_log());
    }

    /// From now on TLS is spoken to nodes as these profiles say; connections that stand are used no more.
    pub fn set_profiles(&self, profiles: &[Profile]) -> Result<(), TlsError> {
        let tls = self.handles.tls.load().with(profiles)?;
        self.handles.tls.set(tls);
        Ok(())
    }

    /// From now on nodes are moved, started and stopped here by these drivers; what goes on is ended by those before.
    pub fn set_drivers(&self, drivers: BTreeMap<DriverName, Kind>) {
        self.handles.agreed.failover.executor().set_drivers(made(drivers));
    }

    /// From now on addresses are where this file says.
    pub fn set_geo(&self, geo: Option<Arc<Geo>>) {
        self.geo.set(geo);
    }

    /// This peer's file was read again, and this is what users want by it. Where `applies`, the cluster's catalog becomes that,
    /// as soon as somebody leads; only a peer that follows its file does it.
    pub fn file_was_read(&self, desired: &Arc<Object>, applies: bool) {
        self.file.was_read(desired);
        if applies {
            self.file.apply(desired);
        }
    }

    /// What the file said before, where that is neither the catalog of this peer nor refused yet.
    pub fn file_under_way(&self) -> Option<Arc<Object>> {
        self.file.under_way(&self.handles.agreed.catalog)
    }

    /// Serves this catalog from now on. Whatever is under way goes on.
    #[doc(hidden)]
    pub fn set_catalog(&self, catalog: Arc<Catalog>) {
        self.catalog.send_replace(catalog);
    }

    /// Adds a part to those that are looked after; it stops before the others.
    pub async fn add(&self, child: ChildSpec) -> Result<(), AddError> {
        self.supervisor.add(child).await
    }

    /// Kills a part by name, which is started again as after any failure. True where there was one.
    pub async fn kill(&self, child: &str) -> bool {
        self.supervisor.kill(child).await
    }

    /// Says so for `announce`, accepts nothing more, lets requests and connections finish for up to `drain`, and ends.
    /// True where nothing had to be cut.
    pub async fn stop(mut self) -> bool {
        self.handles.readiness.set_draining();
        self.elector.resign().await;
        if let Some((gossip, _)) = &self.gossip {
            // Gossip that is down is started again and would tell the others; one that is given up cannot.
            let _ = gossip.try_send(Input::Leaving);
        }
        self.phase.send_replace(Phase::Announcing);
        tokio::time::sleep(self.announce).await;
        self.phase.send_replace(Phase::Draining);
        self.open.close();
        let finished = self.workers_ended(self.drain).await;
        self.phase.send_replace(Phase::Ending);
        if !finished && !self.workers_ended(END_TIMEOUT).await {
            tracing::error!("a worker does not end; it is left behind");
        }
        let listeners = self.open.bound();
        for listener in listeners.iter() {
            listener.flush_log().await;
        }
        self.supervisor.stop().await;
        if let (Some((_, link)), Some(cluster)) = (&self.gossip, &self.cluster) {
            let link = Arc::clone(link);
            // The others see it at once, and not when they miss its heartbeats.
            let _ = cluster.runtime.spawn(async move { link.close().await }).await;
        }
        if let Some(Cluster { alive, thread, .. }) = self.cluster.take() {
            drop(alive);
            // It has nothing left to do, and whatever it panicked with was logged.
            let _ = spawn_blocking(move || thread.join()).await;
        }
        finished
    }

    async fn workers_ended(&self, within: Duration) -> bool {
        let mut running = self.running.subscribe();
        let ended = running.wait_for(|count| *count == 0);
        timeout(within, ended).await.is_ok()
    }
}

/// Starts the thread, and the supervisor on it.
async fn cluster_thread() -> Result<(Cluster, Supervisor, Board), StartError> {
    let board = Board::default();
    let its_board = board.clone();
    let (alive, is_alive) = oneshot::channel::<()>();
    let (started, has_started) = oneshot::channel();
    let runtime = runtime::Builder::new_current_thread().enable_all().build().map_err(StartError::Thread)?;
    let handle = runtime.handle().clone();
    let thread = thread::Builder::new()
        .name("cluster".to_owned())
        .spawn(move || {
            runtime.block_on(async {
                let supervisor = Supervisor::start(its_board, Dice::new()).await.map_err(|error| error.to_string());
                // Whoever started the peer may have given up waiting; then `is_alive` says so.
                let _ = started.send(supervisor);
                let _ = is_alive.await;
            });
        })
        .map_err(StartError::Thread)?;
    let supervisor = has_started.await.unwrap_or_else(|_| Err("its thread ended".to_owned()));
    let supervisor = supervisor.map_err(StartError::Supervisor)?;
    Ok((Cluster { alive, runtime: handle, thread }, supervisor, board))
}

/// What this peer has on its disk of what the cluster agreed on, and what it serves by until it hears more.
async fn agreed_before(settings: &Settings) -> Result<(Files, Applied, CookieKeysCell), StartError> {
    let (path, desired, catalog) =
        (settings.data_dir.clone(), Arc::clone(&settings.desired), Arc::new(settings.catalog.clone()));
    let file_first = settings.follow_file && settings.cluster.is_none();
    let shared = cookies::shared(settings.cluster.as_ref()).cloned();
    let opened = spawn_blocking(move || {
        let files = Files::open(&path)?;
        let applied = files.at_start(&desired, &catalog, file_first);
        let keys = shared.or_else(|| cookies::own(files.folder())).ok_or(StartError::NoRandom)?;
        Ok((files, applied, CookieKeysCell::from(CookieKeys::of(&keys))))
    });
    opened.await.map_err(|error| StartError::Thread(io::Error::other(error)))?
}

/// Opens the link on the cluster thread, whose runtime carries it, and joins it with the rest.
async fn join_cluster(
    cluster: &Cluster,
    settings: &ClusterSettings,
    own: Own,
    view: &ViewCell,
    events: mpsc::Sender<view::Event>,
) -> Result<(Joined, Arc<QuicLink>), StartError> {
    let link_settings = link_settings(settings, &own);
    let incarnation = link_settings.own.incarnation;
    let start = cluster.runtime.spawn(async move { QuicLink::start(&link_settings) });
    let (link, inboxes) = start.await.map_err(|error| StartError::Thread(io::Error::other(error)))??;
    let link = Arc::new(link);
    let standing: Arc<dyn Link> = Arc::<QuicLink>::clone(&link);
    let joined = join(&settings.into(), own, link.advertised(), incarnation, (standing, inboxes), view, events);
    Ok((joined, link))
}

pub(super) fn view_child(cell: ViewCell, inbox: view::Inbox) -> ChildSpec {
    ChildSpec::new("view", move || (ViewActor, view::Arguments { cell: cell.clone(), inbox: inbox.clone() })).critical()
}

/// Tells the view which catalog is the newest.
pub(super) fn catalog_child(newest: watch::Receiver<Arc<Catalog>>, events: mpsc::Sender<view::Event>) -> ChildSpec {
    ChildSpec::task("catalog-to-view", move || {
        let (mut newest, events) = (newest.clone(), events.clone());
        async move {
            loop {
                let catalog = Arc::clone(&newest.borrow_and_update());
                // The one that the view has already changes nothing.
                if events.send(view::Event::Catalog(catalog)).await.is_err() {
                    return;
                }
                if newest.changed().await.is_err() {
                    // The peer is ending: there will be no other.
                    std::future::pending::<()>().await;
                }
            }
        }
    })
    .critical()
}

/// How the health actor is joined with the rest.
pub(super) struct Ways {
    pub(super) outputs: mpsc::Sender<view::Event>,
    pub(super) suspects: mpsc::Receiver<Evidence>,
    pub(super) ends: Ends,
    pub(super) first_round: watch::Sender<bool>,
}

pub(super) fn health_child(
    catalog: watch::Receiver<Arc<Catalog>>,
    view: ViewCell,
    ways: Ways,
    asker: Asker,
    dice: Dice,
) -> ChildSpec {
    let Ways { outputs, suspects, ends: Ends { members, company_by, hinted, hints }, first_round } = ways;
    let (suspects, hinted) = (Arc::new(Mutex::new(suspects)), Arc::new(Mutex::new(hinted)));
    let names = Names::of_system();
    ChildSpec::new("health", move || {
        let arguments = health::Arguments {
            catalog: catalog.clone(),
            view: view.clone(),
            outputs: outputs.clone(),
            suspects: Arc::clone(&suspects),
            hinted: Arc::clone(&hinted),
            hints: hints.clone(),
            members: members.clone(),
            company_by,
            first_round: first_round.clone(),
            dice: dice.clone(),
            names: names.clone(),
            asker: asker.clone(),
        };
        (health::Health::default(), arguments)
    })
    .critical()
}

impl From<health::Output> for view::Event {
    fn from(output: health::Output) -> Self {
        match output {
            health::Output::Observed { key, observation, .. } => Self::Observed { node: key, observation },
            health::Output::Resolved { key, addresses, .. } => Self::Resolved { node: key, addresses },
            health::Output::Swept { at } => Self::OwnSwept { at },
        }
    }
}

fn worker_child(index: usize, shared: proxy::Shared) -> ChildSpec {
    ChildSpec::new(format!("proxy-{index}"), move || (WorkerActor, (index, shared.clone()))).critical()
}

/// Ready once routing knows what the first check of every node found, or the wait for it is over.
async fn become_ready(readiness: Readiness, mut is_checked: watch::Receiver<bool>, view: ViewCell) {
    let known = async {
        // Without a health actor the wait is over by time.
        if is_checked.wait_for(|checked| *checked).await.is_err() {
            std::future::pending::<()>().await;
        }
        while !view.load().is_checked() {
            tokio::time::sleep(VIEW_PAUSE).await;
        }
    };
    let _ = timeout(FIRST_ROUND_MAX, known).await;
    readiness.set_checked();
}
