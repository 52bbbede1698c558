//! One worker: a thread with its own runtime, its own sockets and its own connections to nodes. What its tasks share is
//! theirs alone, so nothing here is locked or waited for.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Poll, Waker};
use std::time::{Duration, Instant, SystemTime};

use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::LocalOptions;
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::task::{JoinHandle, spawn_local};
use tokio::time::{sleep, sleep_until};

use super::buffer::Stock;
use super::complaint::Complaint;
use super::counts::bump;
use super::drains::Drains;
use super::http::compress::Codecs;
use super::idle::IdleConnections;
use super::limits::{Inside, ProcessCap, enter_client};
use super::listen::{self, Bound, Listeners};
use super::settings::{Protocol, Settings};
use super::sticky::CookieKeysCell;
use super::stream::Stream;
use super::tls_stream::Scratch;
use super::{handshake, http, tcp};
use crate::balance::NodeLive;
use crate::geo::GeoCell;
use crate::host::{self, Dice};
use crate::limit::{Full, Held, Limiter};
use crate::model::{Admin, Evidence, PoolName};
use crate::tls::NodeTlsCell;
use crate::view::{Cache, NodeView, PoolView, View, ViewCell};

/// How often idle connections are looked through.
const SWEEP_INTERVAL: Duration = Duration::from_secs(5);
/// Pause of an accept loop that the machine gave no more file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What every worker of a peer is given.
#[derive(Clone)]
pub struct Shared {
    /// The settings of the data plane.
    pub settings: Arc<Settings>,
    /// The listeners, bound, as the file says them now.
    pub listeners: watch::Receiver<Listeners>,
    /// The picture of all nodes.
    pub view: ViewCell,
    /// How TLS is spoken to nodes.
    pub tls: NodeTlsCell,
    /// By what cookies of sticky sessions are signed.
    pub cookie_keys: CookieKeysCell,
    /// Where addresses are.
    pub geo: GeoCell,
    /// Takes evidence against nodes, for a probe at once.
    pub suspects: mpsc::Sender<Evidence>,
    /// What the peer is about to do.
    pub phase: watch::Receiver<Phase>,
    /// Counts for limits.
    pub limiter: Arc<Limiter>,
    /// Counts client connections for the cap of the process.
    pub cap: Arc<ProcessCap>,
    /// How many workers run.
    pub running: Arc<watch::Sender<usize>>,
}

/// What the peer is about to do.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Phase {
    /// It serves.
    Serving,
    /// It serves on and says with every answer that the connection ends.
    Announcing,
    /// It takes no new connection and ends those that are idle.
    Draining,
    /// It ends what is left.
    Ending,
}

/// What the tasks of one worker share.
pub(crate) struct Worker {
    pub(crate) shared: Shared,
    pub(crate) stock: Stock,
    pub(crate) scratch: Scratch,
    pub(crate) idle: RefCell<IdleConnections>,
    pub(crate) codecs: Codecs,
    pub(crate) dice: RefCell<Dice>,
    /// Told once the peer drains.
    pub(crate) drain: Notify,
    /// Connections to nodes that this peer itself could not open.
    pub(crate) connects_failed: Complaint,
    accepts_failed: Complaint,
    /// Routes that name folders which this peer does not have.
    pub(crate) folders_missing: Complaint,
    phase: Cell<Phase>,
    view: RefCell<Cache>,
    /// Nodes that were drained and whose time is over. Empty nearly always.
    over: RefCell<Vec<Arc<NodeLive>>>,
    /// Whether there are any, which every turn of a session asks.
    is_any_over: Cell<bool>,
    /// What wakes each session, by number.
    wakers: RefCell<BTreeMap<u64, Waker>>,
    next_session: Cell<u64>,
    sessions: Cell<usize>,
    /// Copies of requests under way.
    pub(super) mirrors: Cell<usize>,
    session_ended: Notify,
    date: RefCell<DateCache>,
}

/// The `Date` of now, formatted once a second.
struct DateCache {
    text: String,
    valid_until: Instant,
}

impl Worker {
    fn new(shared: Shared) -> Self {
        let now = host::now();
        let phase = *shared.phase.borrow();
        Self {
            view: RefCell::new(shared.view.cache()),
            stock: Stock::default(),
            scratch: Scratch::default(),
            idle: RefCell::default(),
            codecs: Codecs::default(),
            dice: RefCell::new(Dice::new()),
            drain: Notify::new(),
            connects_failed: Complaint::default(),
            accepts_failed: Complaint::default(),
            folders_missing: Complaint::default(),
            phase: Cell::new(phase),
            over: RefCell::default(),
            is_any_over: Cell::new(false),
            wakers: RefCell::default(),
            next_session: Cell::new(0),
            sessions: Cell::new(0),
            mirrors: Cell::new(0),
            session_ended: Notify::new(),
            date: RefCell::new(DateCache { text: String::new(), valid_until: now }),
            shared,
        }
    }

    /// Asks the picture of this moment.
    pub(crate) fn with_view<T>(&self, ask: impl FnOnce(&View) -> T) -> T {
        ask(self.view.borrow_mut().load())
    }

    /// The pool of this name as it is now.
    pub(crate) fn pool(&self, name: &PoolName) -> Option<Arc<PoolView>> {
        self.view.borrow_mut().load().pool(name).map(Arc::clone)
    }

    /// The pool that traffic of this listener goes to: as the file says it now, also for a connection that came before. While
    /// the catalog does not have that pool yet, the one before serves: a file that renames a pool changes both, and the catalog
    /// follows a moment later.
    pub(crate) fn pool_of<'b>(&self, bound: &'b Bound) -> &'b PoolName {
        let newest = bound.newest();
        // Under another name it is another listener, which other routes guard.
        let newest = if newest.listener.name == bound.listener.name { newest } else { bound };
        let pool = &newest.listener.pool;
        match &newest.pool_before {
            Some(before) if self.pool(pool).is_none() && self.pool(before).is_some() => before,
            _ => pool,
        }
    }

    /// Whether connections are kept for another request.
    pub(crate) fn keeps_connections(&self) -> bool {
        self.phase.get() == Phase::Serving
    }

    /// Whether idle connections end.
    pub(crate) fn is_draining(&self) -> bool {
        matches!(self.phase.get(), Phase::Draining | Phase::Ending)
    }

    /// Whether a node was drained and its time is over: what it still has is cut. Sessions are woken when that comes about.
    pub(crate) fn is_over(&self, live: &Arc<NodeLive>) -> bool {
        self.is_any_over.get() && self.over.borrow().iter().any(|over| Arc::ptr_eq(over, live))
    }

    /// Whether a node that was picked may still be sent something: it is in the view, and not drained, or the session `is_at_home`
    /// there and may stay.
    pub(crate) fn still_serves(&self, node: &NodeView, is_at_home: bool) -> bool {
        let mut view = self.view.borrow_mut();
        let known = view.load().node(&node.node.id);
        let serves = |known: &NodeView| known.state.admin == Admin::Enabled || (is_at_home && known.keeps_sessions());
        known.is_some_and(|(_, known)| Arc::ptr_eq(&known.live, &node.live) && serves(known))
    }

    /// Has the task at hand woken when the time of a node is over, or when a listener is another one.
    pub(crate) async fn enlist(&self) -> Enlisted<'_> {
        let id = self.next_session.replace(self.next_session.get() + 1);
        // A task has one waker for as long as it lives.
        let waker = poll_fn(|cx| Poll::Ready(cx.waker().clone())).await;
        self.wakers.borrow_mut().insert(id, waker);
        Enlisted { worker: self, id }
    }

    fn wake_all(&self) {
        self.wakers.borrow().values().for_each(Waker::wake_by_ref);
    }

    /// From now on these nodes' time is over. Whoever may have something to be cut is woken.
    fn set_over(&self, over: Vec<Arc<NodeLive>>) {
        let is_new = |live: &Arc<NodeLive>| !self.over.borrow().iter().any(|known| Arc::ptr_eq(known, live));
        let wakes = over.iter().any(|live| is_new(live) && live.in_flight() > 0);
        self.is_any_over.set(!over.is_empty());
        *self.over.borrow_mut() = over;
        if wakes {
            self.wake_all();
        }
    }

    /// Hard evidence against a node: it is passed over from now on, and probed at once. Where the channel is full the health
    /// actor finds the suspicion by itself, a little later.
    pub(crate) fn suspect(&self, node: &NodeView) {
        if node.live.suspect() {
            let _ = self.shared.suspects.try_send(Evidence::Hard(node.node.id.clone()));
        }
    }

    /// Soft evidence against a node: it is probed at once, and used as before until the probe says otherwise.
    pub(crate) fn ask_for_probe(&self, node: &NodeView) {
        // Where the channel is full there are probes enough.
        let _ = self.shared.suspects.try_send(Evidence::Soft(node.node.id.clone()));
    }

    /// Calls `use_date` with the value of a `Date` field.
    pub(crate) fn with_date<T>(&self, now: Instant, use_date: impl FnOnce(&str) -> T) -> T {
        let mut date = self.date.borrow_mut();
        if date.text.is_empty() || now >= date.valid_until {
            let wall = host::wall_now();
            date.text = httpdate::fmt_http_date(wall);
            let into_second = wall.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |time| time.subsec_nanos());
            date.valid_until = now + Duration::from_secs(1) - Duration::from_nanos(u64::from(into_second));
        }
        use_date(&date.text)
    }

    /// Keeps a connection to a node for the next request.
    pub(crate) fn keep_idle(&self, live: &Arc<NodeLive>, connection: super::idle::NodeConnection, now: Instant) {
        if !self.is_draining() {
            self.idle.borrow_mut().keep(live, connection, now, &self.shared.settings.idle);
        }
    }
}

/// Runs worker number `index` until the peer ends or nobody keeps it alive. Called on a thread of its own.
pub(crate) fn run(index: usize, shared: Shared, is_alive: oneshot::Receiver<()>) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build_local(LocalOptions::default())?;
    let ended = runtime.block_on(async {
        tokio::select! {
            ended = serve(index, shared) => ended,
            _ = is_alive => Ok(()),
        }
    });
    // What is still open is cut, and resets its connections as it is dropped where an end would look like one: its time is over.
    runtime.shutdown_background();
    ended
}

async fn serve(index: usize, shared: Shared) -> io::Result<()> {
    let mut phase = shared.phase.clone();
    let mut listeners = shared.listeners.clone();
    let worker = Rc::new(Worker::new(shared));
    let mut doors = Doors { index, open: Vec::new(), closed: Vec::new() };
    spawn_local(tidy(Rc::clone(&worker)));
    loop {
        let now = *phase.borrow_and_update();
        worker.phase.set(now);
        match now {
            Phase::Serving | Phase::Announcing => {
                let wanted = Arc::clone(&listeners.borrow_and_update());
                doors.follow(&worker, &wanted)?;
            }
            Phase::Draining => {
                worker.drain.notify_waiters();
                let sessions_ended = async {
                    for task in doors.into_tasks() {
                        // An accept loop that panicked has ended too, which is all that is waited for.
                        let _ = task.await;
                    }
                    while worker.sessions.get() > 0 {
                        worker.session_ended.notified().await;
                    }
                };
                tokio::select! {
                    () = sessions_ended => return Ok(()),
                    _ = phase.wait_for(|phase| *phase == Phase::Ending) => return Ok(()),
                }
            }
            Phase::Ending => return Ok(()),
        }
        tokio::select! {
            changed = phase.changed() => {
                if changed.is_err() {
                    return Ok(());
                }
            }
            // Where the peer is gone, its phase says so too. Connections of HTTP/2 tell their clients at once.
            Ok(()) = listeners.changed() => worker.wake_all(),
            failed = accept_failed(&mut doors.open) => return Err(io::Error::other(failed)),
        }
    }
}

/// Where connections come in at this worker.
struct Doors {
    /// Of the worker.
    index: usize,
    open: Vec<(Rc<Door>, JoinHandle<()>)>,
    /// Those that take what the kernel has for them still, and end.
    closed: Vec<JoinHandle<()>>,
}

/// One listener at this worker.
struct Door {
    /// Changes with the settings; the socket stays.
    bound: RefCell<Arc<Bound>>,
    closed: Notify,
}

impl Doors {
    /// Opens and closes doors, so that they are those that are wanted. Nobody in the line of one that stays is turned away.
    fn follow(&mut self, worker: &Rc<Worker>, wanted: &Listeners) -> io::Result<()> {
        self.closed.retain(|task| !task.is_finished());
        for (door, task) in std::mem::take(&mut self.open) {
            let stays = wanted.iter().find(|bound| bound.is_same(&door.bound.borrow()));
            if let Some(bound) = stays {
                door.bound.replace(Arc::clone(bound));
                self.open.push((door, task));
            } else {
                door.closed.notify_one();
                self.closed.push(task);
            }
        }
        for bound in wanted.iter() {
            if self.open.iter().any(|(door, _)| door.bound.borrow().is_same(bound)) {
                continue;
            }
            if let Some(socket) = bound.socket(self.index)? {
                let listener = TcpListener::from_std(socket)?;
                let door = Rc::new(Door { bound: RefCell::new(Arc::clone(bound)), closed: Notify::new() });
                let task = spawn_local(accept(Rc::clone(worker), Rc::clone(&door), listener));
                self.open.push((door, task));
            }
        }
        Ok(())
    }

    fn into_tasks(self) -> impl Iterator<Item = JoinHandle<()>> {
        self.open.into_iter().map(|(_, task)| task).chain(self.closed)
    }
}

/// Waits until one of the accept loops ends, which none does by itself while the peer serves.
async fn accept_failed(accepting: &mut [(Rc<Door>, JoinHandle<()>)]) -> String {
    poll_fn(|cx| {
        for (_, task) in accepting.iter_mut() {
            if let Poll::Ready(ended) = std::pin::Pin::new(task).poll(cx) {
                return Poll::Ready(match ended {
                    Ok(()) => "an accept loop ended".to_owned(),
                    Err(error) => format!("an accept loop ended: {error}"),
                });
            }
        }
        Poll::Pending
    })
    .await
}

async fn accept(worker: Rc<Worker>, door: Rc<Door>, listener: TcpListener) {
    loop {
        let accepted = {
            let drained = worker.drain.notified();
            if worker.is_draining() {
                break;
            }
            tokio::select! {
                accepted = listener.accept() => accepted,
                () = drained => break,
                () = door.closed.notified() => break,
            }
        };
        match accepted {
            Ok((stream, client)) => begin(&worker, &door.bound.borrow(), stream, client),
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                if let Some(times) = worker.accepts_failed.count(host::now()) {
                    tracing::warn!(listener = %door.bound.borrow().listener.name, %error, times,
                        "no connection could be accepted; trying again; look at LimitNOFILE");
                }
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    // What the kernel has completed already was promised to its client.
    let Ok(listener) = listener.into_std() else { return };
    while let Ok((stream, client)) = listener.accept() {
        if stream.set_nonblocking(true).is_ok()
            && let Ok(stream) = TcpStream::from_std(stream)
        {
            begin(&worker, &door.bound.borrow(), stream, client);
        }
    }
}

/// Whether the error concerns the connection that was to be accepted and not the listener (accept(2)).
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{
        ConnectionAborted, ConnectionReset, HostUnreachable, NetworkDown, NetworkUnreachable, TimedOut,
    };
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionReset | TimedOut | HostUnreachable | NetworkUnreachable | NetworkDown
    )
}

/// A task that is woken when something ends that it may be about, for as long as this lives.
pub(crate) struct Enlisted<'w> {
    worker: &'w Worker,
    id: u64,
}

impl Drop for Enlisted<'_> {
    fn drop(&mut self) {
        self.worker.wakers.borrow_mut().remove(&self.id);
    }
}

/// Counts a session in, and out when it is dropped, whatever ends it.
struct Session {
    worker: Rc<Worker>,
    bound: Arc<Bound>,
    /// Of the process, and of its client.
    _places: (Option<Inside>, Option<Held>),
}

impl Drop for Session {
    fn drop(&mut self) {
        self.bound.counts.connections_open.fetch_sub(1, Relaxed);
        self.worker.sessions.set(self.worker.sessions.get() - 1);
        self.worker.session_ended.notify_one();
    }
}

fn begin(worker: &Rc<Worker>, bound: &Arc<Bound>, stream: TcpStream, client: std::net::SocketAddr) {
    bump(&bound.counts.connections_total);
    let open = bound.counts.connections_open.fetch_add(1, Relaxed);
    worker.sessions.set(worker.sessions.get() + 1);
    let mut session = Session { worker: Rc::clone(worker), bound: Arc::clone(bound), _places: (None, None) };
    let enter = || {
        let of_client = enter_client(&worker.shared.limiter, &bound.listener, client.ip())?;
        Ok::<_, Full>((worker.shared.cap.enter()?, of_client))
    };
    match enter() {
        Ok(places) if open < u64::from(bound.listener.connections_max) => session._places = places,
        _ => return bump(&bound.counts.connections_refused),
    }
    listen::prepare(&stream);
    spawn_local(async move {
        let Session { worker, bound, .. } = &session;
        let _enlisted = worker.enlist().await;
        let stream = match &bound.listener.tls {
            None => Stream::Plain(stream),
            // On the heap, so that the task of a connection is not larger for what is over before its first request.
            Some(tls) => match Box::pin(handshake::accept(worker, bound, tls, stream, client)).await {
                Some(stream) => stream,
                None => return,
            },
        };
        match &bound.listener.protocol {
            Protocol::Http(settings) => http::session::serve(worker, bound, settings, stream, client).await,
            Protocol::Tcp(settings) => tcp::serve(worker, bound, settings, stream, client).await,
        }
    });
}

/// Closes idle connections of no more use, and ends drains whose time is over. It follows every change of the catalog.
async fn tidy(worker: Rc<Worker>) {
    let mut catalogs = worker.shared.view.catalogs();
    let mut drains = Drains::default();
    loop {
        let now = host::now();
        let view = worker.shared.view.load();
        worker.idle.borrow_mut().sweep(now, &worker.shared.settings.idle, &view);
        drains.follow(&view);
        worker.set_over(drains.over(now));
        drop(view);
        let sweep_at = now + SWEEP_INTERVAL;
        let until = drains.next(now).map_or(sweep_at, |next| next.min(sweep_at));
        tokio::select! {
            // The cell is held by the worker, so its sender lives.
            Ok(()) = catalogs.changed() => {}
            () = sleep_until(until.into()) => {}
        }
    }
}
