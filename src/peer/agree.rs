//! The side of a peer that agrees with others: its elector and its catalog, with their files, joined with the rest.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::cluster::{AgreeInboxes, ClusterHandles, ClusterSettings};
use super::failover::{Joints, failover};
use super::founding::Founding;
use super::supervise::ChildSpec;
use crate::catalog::{
    self, Applied, Author, CatalogActor, CatalogHandle, Change, Object, Parts, Source, Versions, Write, WriteRefused,
};
use crate::election::{self, Committed, ElectionActor, Founders, Reach, Request, Standing, Store};
use crate::failover::FailoverHandle;
use crate::gossip::{Input, PeerRow, Seed};
use crate::host::{self, DataFolder, Dice, Names};
use crate::link::{Link, Question, Received};
use crate::model::limits::{ORDERS_OF_OTHERS_MAX, QUESTIONS_AT_ONCE_MAX, WRITES_OF_OTHERS_MAX, WRITES_WAITING_MAX};
use crate::model::{Catalog, Electors, PeerId, Preset, Revision};
use crate::view::ViewCell;
use crate::wire::{Query, QueryAnswer};

/// Requests of the rest of a peer to its elector that wait.
const REQUESTS_MAX: usize = 64;
/// How long a stopping leader waits until the others were told.
const RESIGN_LIMIT: Duration = Duration::from_millis(200);
/// Until a peer that follows its file asks again for it to be applied.
const FOLLOW_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// What a peer has on disk of the cluster's agreement.
#[derive(Clone, Debug)]
pub(super) struct Files {
    /// Held for as long as anything is written there.
    folder: DataFolder,
    store: Arc<Store>,
    versions: Versions,
}

impl Files {
    pub(super) fn open(path: &Path) -> Result<Self, host::FolderError> {
        let folder = DataFolder::take(path)?;
        if let Some(failing) = folder.failing() {
            tracing::error!(
                failing,
                "the data folder cannot be written; this peer serves, votes for nobody and keeps nothing"
            );
        }
        let store = Store::new(folder.inner("election"));
        let store = Arc::new(match folder.failing() {
            None => store,
            Some(failing) => store.sealed(failing),
        });
        let versions = Versions::new(folder.inner("catalog"));
        Ok(Self { folder, store, versions })
    }

    /// The folder of all of it.
    pub(super) fn folder(&self) -> &DataFolder {
        &self.folder
    }

    /// What this peer serves by from its start: what the cluster committed last, as far as it was told, else its own file.
    /// Blocks.
    ///
    /// `file_first`: it alone decides, and is about to decide for its file; what operators did stays over that.
    pub(super) fn at_start(&self, desired: &Arc<Object>, catalog: &Arc<Catalog>, file_first: bool) -> Applied {
        let source = Source::File { desired: Arc::clone(desired) };
        let of_file = Applied { source, catalog: Arc::clone(catalog), warnings: Arc::default(), behind: None };
        let Some(slot) = self.store.load().ballot.committed else { return of_file };
        let read = self.store.read(slot.hash).and_then(|value| {
            let committed = Committed { slot, value };
            if file_first { catalog::of_file(&committed, desired) } else { catalog::at_start(&committed) }
        });
        read.unwrap_or_else(|why| {
            tracing::error!(
                why,
                "the cluster's catalog on this peer's disk cannot be used; its own file is, until others tell"
            );
            of_file
        })
    }
}

/// A cluster of several, as its elector and its catalog see it.
pub(super) struct Company {
    pub(super) link: Arc<dyn Link>,
    pub(super) election_inbox: mpsc::Receiver<Received>,
    pub(super) questions: mpsc::Receiver<Question>,
    pub(super) founders: Founders,
    pub(super) advertise: std::net::SocketAddr,
    pub(super) seeds: Arc<[Seed]>,
    pub(super) peers: watch::Receiver<Arc<Vec<PeerRow>>>,
}

impl Company {
    pub(super) fn of(settings: &ClusterSettings, handles: &ClusterHandles, inboxes: AgreeInboxes) -> Self {
        let AgreeInboxes { election, questions } = inboxes;
        Self {
            link: Arc::clone(&handles.link),
            election_inbox: election,
            questions,
            founders: settings.founders.clone(),
            advertise: handles.advertise,
            seeds: settings.seeds.clone().into(),
            peers: handles.peers.clone(),
        }
    }
}

/// Who agrees on what.
pub(super) struct Settings {
    pub(super) own: PeerId,
    pub(super) preset: Preset,
    pub(super) desired: Arc<Object>,
    /// Whether what the file says is applied at every start.
    pub(super) follow_file: bool,
    /// Whether a new cluster shall rather begin with another peer's file.
    pub(super) gives_way: bool,
    /// What failover is joined with.
    pub(super) joints: Joints,
}

/// A peer's elector and its catalog, ready to be supervised.
pub(super) struct Agreement {
    pub(super) handles: Agreed,
    pub(super) children: Vec<ChildSpec>,
    pub(super) elector: Elector,
    pub(super) file: OwnFile,
}

/// What the rest of the process may ask of a peer's agreement with others.
#[derive(Clone, Debug)]
pub struct Agreed {
    /// The catalog.
    pub catalog: CatalogHandle,
    /// Failover, and the last events.
    pub failover: FailoverHandle,
    /// What a new cluster still waits for before it can elect a first leader, for people.
    pub founding: watch::Receiver<Option<String>>,
    /// Whether this peer's file is applied at every start.
    pub follow_file: bool,
    /// What users want, as this peer's file had it when it was read last.
    pub file: watch::Receiver<Arc<Object>>,
    /// Where this peer keeps what must outlive it.
    pub data_folder: DataFolder,
}

/// The way by which a peer hears what its file says.
#[derive(Clone, Debug)]
pub(super) struct OwnFile {
    read: watch::Sender<Arc<Object>>,
    to_apply: watch::Sender<Arc<Object>>,
    settled: watch::Sender<Option<Settled>>,
}

/// What became of a file.
#[derive(Clone, Debug)]
struct Settled {
    desired: Arc<Object>,
    /// The revision by which it is the catalog; `None`: it was refused for good.
    revision: Option<u64>,
}

impl OwnFile {
    fn new(desired: &Arc<Object>) -> Self {
        Self {
            read: watch::Sender::new(Arc::clone(desired)),
            to_apply: watch::Sender::new(Arc::clone(desired)),
            settled: watch::Sender::new(None),
        }
    }

    /// What the file said that was to be applied last, where that is neither refused nor applied by this peer.
    pub(super) fn under_way(&self, handle: &CatalogHandle) -> Option<Arc<Object>> {
        let newest = Arc::clone(&self.to_apply.borrow());
        let settled = self.settled.borrow();
        let of_newest = settled.as_ref().filter(|of| Arc::ptr_eq(&of.desired, &newest));
        let applied = handle.applied().revision().map(Revision::get);
        let is_under_way = of_newest.is_none_or(|of| of.revision.is_some_and(|revision| applied < Some(revision)));
        is_under_way.then_some(newest)
    }

    /// Waits until this peer serves by the file that is to be applied, whichever that is by then. One that the leader refuses is waited
    /// for until another one takes its place.
    pub(super) fn served(&self, handle: CatalogHandle, view: ViewCell) -> impl Future<Output = ()> + Send + use<> {
        let (mut settled, to_apply) = (self.settled.subscribe(), self.to_apply.subscribe());
        async move {
            let revision_of = |settled: &Option<Settled>| {
                let of_newest = settled.as_ref().filter(|of| Arc::ptr_eq(&of.desired, &to_apply.borrow()));
                of_newest.and_then(|settled| settled.revision)
            };
            let revision = settled.wait_for(|settled| revision_of(settled).is_some()).await;
            let Some(revision) = revision.ok().and_then(|settled| revision_of(&settled)) else {
                // The peer is ending.
                return std::future::pending().await;
            };
            // The leader has committed it; here it is applied a moment later, or much later where this peer lags.
            handle.wait_applied(revision).await;
            let mut catalogs = view.catalogs();
            while !view.load().is_of(&handle.applied().catalog) {
                if catalogs.changed().await.is_err() {
                    return;
                }
            }
        }
    }

    pub(super) fn was_read(&self, desired: &Arc<Object>) {
        self.read.send_replace(Arc::clone(desired));
    }

    pub(super) fn apply(&self, desired: &Arc<Object>) {
        self.to_apply.send_replace(Arc::clone(desired));
    }
}

/// The way to a peer's elector when it stops.
#[derive(Clone, Debug)]
pub(super) struct Elector(mpsc::Sender<Request>);

impl Elector {
    /// A leader says that it leads no more, so that nobody has to wait for it.
    pub(super) async fn resign(&self) {
        let (reply, done) = oneshot::channel();
        if self.0.try_send(Request::Stop(reply)).is_ok() {
            let _ = timeout(RESIGN_LIMIT, done).await;
        }
    }
}

pub(super) fn agree(
    settings: Settings,
    files: Files,
    company: Option<Company>,
    applied: Applied,
    catalog: watch::Sender<Arc<Catalog>>,
    (gossip, view): (Option<mpsc::Sender<Input>>, &ViewCell),
    dice: Dice,
) -> Agreement {
    let Settings { own, preset, desired, follow_file, gives_way, joints } = settings;
    let Files { folder, store, versions } = files;
    let (elector, requests) = mpsc::channel(REQUESTS_MAX);
    let (asks, asked) = mpsc::channel(WRITES_WAITING_MAX);
    let ((standing, standing_seen), (committed, committed_seen)) = election::Arguments::channels();
    let (applied, applied_seen) = watch::channel(Arc::new(applied));
    let mut children = Vec::new();
    if let Some(gossip) = gossip {
        children.push(serves_by_child(applied_seen.clone(), gossip));
    }
    let (waits_for, founding_seen) = watch::channel(None);
    let is_alone = company.is_none();
    let link = company.as_ref().map(|company| Arc::clone(&company.link));
    let handle = CatalogHandle::new(Parts {
        own: own.clone(),
        link,
        standing: standing_seen.clone(),
        applied: applied_seen,
        asked: asks,
        elector: elector.clone(),
        store: Arc::clone(&store),
        versions: versions.clone(),
    });

    let (failover, part) = failover(joints, &handle, &elector, view, &folder);
    children.push(part);
    let (told, founders) = match &company {
        // Alone it needs nobody's word.
        None => watch::channel(Some(Electors::alone(own.clone()))),
        Some(_) => watch::channel(None),
    };
    let reach = company.map(|company| {
        let Company { link, election_inbox, questions, founders, advertise, seeds, peers } = company;
        let (own, names, standing) = (own.clone(), Names::of_system(), standing_seen.clone());
        let founding =
            Founding { founders, own, advertise, seeds, peers, names, standing, told: told.clone(), waits_for };
        children.push(founding.child());
        let answers = Answers { catalog: handle.clone(), failover: failover.clone(), view: view.clone() };
        children.push(questions_child(questions, answers));
        Reach { link, inbox: Arc::new(Mutex::new(election_inbox)) }
    });
    let arguments = election::Arguments {
        settings: election::Settings { own: own.clone(), pace: election::Pace::of(preset) },
        store,
        reach,
        requests: Arc::new(Mutex::new(requests)),
        founders,
        standing,
        committed,
        dice,
    };
    // The list of founders is told by whoever holds its other end, for as long as the elector may be started again.
    let keep_told = told;
    children.push(ChildSpec::new("election", move || {
        let _ = &keep_told;
        (ElectionActor, arguments.clone())
    }));
    let file = OwnFile::new(&desired);
    let arguments = catalog::Arguments {
        own: own.clone(),
        gives_way,
        file_first: follow_file && is_alone,
        desired,
        asked: Arc::new(Mutex::new(asked)),
        standing: standing_seen,
        committed: committed_seen,
        elector: elector.clone(),
        applied,
        catalog,
        versions,
    };
    children.push(ChildSpec::new("catalog", move || (CatalogActor, arguments.clone())));
    if follow_file {
        children.push(follow_child(handle.clone(), own, file.clone()));
    }
    let read = file.read.subscribe();
    let handles =
        Agreed { catalog: handle, failover, founding: founding_seen, follow_file, file: read, data_folder: folder };
    Agreement { handles, children, elector: Elector(elector), file }
}

/// Tells the others by which revision this peer serves.
fn serves_by_child(applied: watch::Receiver<Arc<Applied>>, gossip: mpsc::Sender<Input>) -> ChildSpec {
    ChildSpec::task("serves-by", move || {
        let (mut applied, gossip) = (applied.clone(), gossip.clone());
        async move {
            loop {
                let revision = applied.borrow_and_update().revision();
                if let Some(revision) = revision
                    && gossip.send(Input::ServesBy(revision)).await.is_err()
                {
                    return;
                }
                if applied.changed().await.is_err() {
                    return;
                }
            }
        }
    })
}

/// Who answers what other peers ask.
#[derive(Clone)]
struct Answers {
    catalog: CatalogHandle,
    failover: FailoverHandle,
    view: ViewCell,
}

/// Answers what other peers ask, a bounded number at once; one more is told at once that it is not taken. Writes wait for a
/// majority, which may have to ask here for what it shall accept; so they are counted apart.
fn questions_child(questions: mpsc::Receiver<Question>, answers: Answers) -> ChildSpec {
    let questions = Arc::new(Mutex::new(questions));
    ChildSpec::task("questions", move || {
        let (questions, Answers { catalog: handle, failover, view }) = (Arc::clone(&questions), answers.clone());
        async move {
            let mut questions = questions.lock().await;
            let (mut answering, mut writing, mut ordering) = (JoinSet::new(), JoinSet::new(), JoinSet::new());
            while let Some(Question { from, bytes, answer }) = questions.recv().await {
                while answering.try_join_next().is_some() {}
                while writing.try_join_next().is_some() {}
                while ordering.try_join_next().is_some() {}
                let query = match Query::decode(&bytes) {
                    Ok(query) => query,
                    Err(error) => {
                        tracing::debug!(peer = %from, %error, "a question cannot be read");
                        continue;
                    }
                };
                let (others, others_max) = match &query {
                    Query::Drain(node) => {
                        let view = view.load();
                        let seen = view.node(node).and_then(|(_, node)| node.drain_seen(host::now()));
                        if let Ok(bytes) = QueryAnswer::Drain(seen).encode() {
                            answer.send(bytes.into());
                        }
                        continue;
                    }
                    Query::Order(_) | Query::Operate(_) | Query::Report | Query::Events => {
                        if ordering.len() < ORDERS_OF_OTHERS_MAX {
                            let failover = failover.clone();
                            ordering.spawn(async move {
                                let answered = failover.answer(query).await.and_then(|answered| answered.encode().ok());
                                if let Some(bytes) = answered {
                                    answer.send(bytes.into());
                                }
                            });
                        }
                        continue;
                    }
                    Query::Write(_) | Query::Electors(_) => (&mut writing, WRITES_OF_OTHERS_MAX),
                    Query::Value(_) | Query::Desired(_) => (&mut answering, QUESTIONS_AT_ONCE_MAX),
                };
                if others.len() < others_max {
                    let handle = handle.clone();
                    others.spawn(async move { handle.answer(query, answer).await });
                }
            }
        }
    })
}

/// Applies what this peer's file says, after every start and whenever the file was read again, as soon as somebody leads.
fn follow_child(handle: CatalogHandle, own: PeerId, file: OwnFile) -> ChildSpec {
    ChildSpec::task("follow-file", move || {
        let (handle, own, OwnFile { to_apply, settled, .. }) = (handle.clone(), own.clone(), file.clone());
        let mut file = to_apply.subscribe();
        async move {
            loop {
                let desired = Arc::clone(&file.borrow_and_update());
                // What is settled stays so when this child is started again: users may have changed the catalog since.
                if !settled.borrow().as_ref().is_some_and(|settled| Arc::ptr_eq(&settled.desired, &desired)) {
                    let write = write_of_file(&own, &desired);
                    // A file that is read meanwhile takes the place of this one, between two tries: so no older write is on its
                    // way beside a newer one.
                    loop {
                        if let Some(revision) = becomes(&handle, &write).await {
                            settled.send_replace(Some(Settled { desired, revision }));
                            break;
                        }
                        if file.has_changed().unwrap_or(false) {
                            break;
                        }
                        sleep(FOLLOW_AGAIN_AFTER).await;
                    }
                }
                if file.changed().await.is_err() {
                    // The peer is ending; a child that ends would be started again.
                    std::future::pending::<()>().await;
                }
            }
        }
    })
}

fn write_of_file(own: &PeerId, desired: &Object) -> Write {
    Write {
        change: Change::Apply { desired: desired.clone() },
        if_match: None,
        id: election::IdempotencyId::random(&mut Dice::new()),
        by: Author::new("settings file"),
        via: own.clone(),
        at_ms: host::wall_now_ms(),
    }
}

/// Asks for what a file says: the revision that has it, or that it is refused for good; `None`: neither, it is to be asked for again.
async fn becomes(handle: &CatalogHandle, write: &Write) -> Option<Option<u64>> {
    match handle.write(write.clone()).await {
        Ok(written) if written.changed => {
            tracing::info!(revision = written.revision, "the catalog follows this peer's file");
            Some(Some(written.revision))
        }
        Ok(written) => Some(Some(written.revision)),
        Err(refused) if refused.may_pass() => {
            tracing::debug!(%refused, "the catalog does not follow this peer's file yet");
            None
        }
        Err(WriteRefused::Invalid { faults }) => {
            tracing::error!(?faults, "the catalog does not follow this peer's file: the leader refuses it");
            Some(None)
        }
        Err(refused) => {
            tracing::error!(%refused, "the catalog does not follow this peer's file");
            Some(None)
        }
    }
}

impl Agreed {
    /// How this peer's elector stands.
    pub fn standing(&self) -> Arc<Standing> {
        self.catalog.standing()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use bytes::Bytes;

    use super::super::supervise::{Board, Supervisor};
    use super::*;
    use crate::driver::Executor;
    use crate::link::memory::Network;
    use crate::link::{AskError, Channel, Identity, LinkEvent, Timing, To};
    use crate::model::{Member, Members, RegionName, ValueHash};
    use crate::telemetry::events::Events;

    /// A peer whose catalog takes no write, with others' questions on a link.
    #[tokio::test(start_paused = true)]
    async fn a_peer_at_which_many_writes_wait_still_sends_the_value_that_they_wait_for() {
        let network = Network::new(7);
        let start = |id: &str| {
            let identity = Identity {
                cluster: "prod".parse().unwrap(),
                id: id.parse().unwrap(),
                region: "eu-west".parse().unwrap(),
                incarnation: 1,
            };
            network.start(&identity, Timing::LAN, None)
        };
        let ((asker, _asker_inboxes), (leader, inboxes)) = (start("ams"), start("waw"));
        let asker = Arc::new(asker);
        let to: PeerId = "waw".parse().unwrap();
        let mut events = asker.events();
        asker.send(To::Address(leader.address()), Channel::Gossip, Bytes::from_static(b"greeting"));
        while !matches!(events.next().await, LinkEvent::Up { .. }) {}

        let folder = tempfile::tempdir().unwrap();
        let store = Arc::new(Store::new(folder.path().to_path_buf()));
        let bytes = election::Value { body: b"the value".to_vec(), ..Default::default() }.encode().unwrap();
        let hash = ValueHash::of(&bytes);
        store.write(hash, &bytes).unwrap();
        let source = Source::File { desired: Arc::default() };
        let applied = Applied { source, catalog: Arc::default(), warnings: Arc::default(), behind: None };
        // Nobody takes the writes, so each waits as long as it may.
        let (asked, _untaken) = mpsc::channel(1);
        let ((_standing, standing), _) = election::Arguments::channels();
        let handle = CatalogHandle::new(Parts {
            own: to.clone(),
            link: None,
            standing,
            applied: watch::channel(Arc::new(applied)).1,
            asked,
            elector: mpsc::channel(1).0,
            store,
            versions: Versions::new(folder.path().to_path_buf()),
        });
        let members = Arc::new(Members::alone(Member { id: to.clone(), region: RegionName::default() }));
        let view = ViewCell::new(crate::view::first(&Catalog::default(), members, host::now()));
        let supervisor = Supervisor::start(Board::default(), Dice::from_seed(1)).await.unwrap();
        let failover = FailoverHandle::new(crate::failover::Parts {
            own: to.clone(),
            link: None,
            catalog: handle.clone(),
            executor: Executor::new(BTreeMap::new(), folder.path().join("driver"), Dice::from_seed(1)),
            view: view.clone(),
            asked: mpsc::channel(1).0,
            events: Events::default(),
        });
        let answers = Answers { catalog: handle, failover, view };
        supervisor.add(questions_child(inboxes.query, answers)).await.unwrap();

        let write = serde_json::to_vec(&write_of_file(&to, &Object::new())).unwrap();
        let write = Bytes::from(Query::Write(write).encode().unwrap());
        let mut waiting = JoinSet::new();
        for _ in 0..2 * QUESTIONS_AT_ONCE_MAX {
            let (asker, to, write) = (Arc::clone(&asker), to.clone(), write.clone());
            waiting.spawn(async move { asker.ask(to, write, Duration::from_secs(4)).await });
        }
        // As many as can be are there once the first is refused.
        assert_eq!(waiting.join_next().await.unwrap().unwrap(), Err(AskError::NotTaken));
        let question = Query::Value(hash).encode().unwrap();
        let answered = asker.ask_at_once(to, question.into(), Duration::from_secs(1)).await.unwrap();
        assert_eq!(QueryAnswer::decode(&answered).unwrap(), QueryAnswer::Bytes(Some(bytes)));
        supervisor.stop().await;
    }
}
