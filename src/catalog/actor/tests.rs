use tempfile::TempDir;
use tokio::task::JoinHandle;

use super::super::body::Next;
use super::super::write::{Author, Change, Write};
use super::*;
use crate::election::{self, ElectionActor, Pace, Settings, Store};
use crate::host::Dice;
use crate::model::{Electors, Preset};

/// A cluster of one: a real elector, and between it and the catalog a gate that holds back what is committed.
struct Peer {
    _folder: TempDir,
    elector: mpsc::Sender<Request>,
    /// What is committed.
    committed: watch::Receiver<Option<Committed>>,
    /// What the catalog hears of it.
    heard: watch::Sender<Option<Committed>>,
    asks: mpsc::Sender<Asked>,
    applied: watch::Receiver<Arc<Applied>>,
    actors: Vec<JoinHandle<()>>,
}

impl Peer {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let own: PeerId = "ams".parse().unwrap();
        let (elector, requests) = mpsc::channel(8);
        let (_, founders) = watch::channel(Some(Electors::alone(own.clone())));
        let ((standing, standing_seen), (committed, committed_seen)) = election::Arguments::channels();
        let electing = election::Arguments {
            settings: Settings { own: own.clone(), pace: Pace::of(Preset::Local) },
            store: Arc::new(Store::new(folder.path().to_path_buf())),
            reach: None,
            requests: Arc::new(Mutex::new(requests)),
            founders,
            standing,
            committed,
            dice: Dice::from_seed(7),
        };
        let desired = Arc::new(super::super::json::parse(br#"{"pool":[{"name":"web"}]}"#).unwrap());
        let of_file = Applied {
            source: Source::File { desired: Arc::clone(&desired) },
            catalog: Arc::default(),
            warnings: Arc::default(),
            behind: None,
        };
        let (heard, hears) = watch::channel(None);
        let (asks, asked) = mpsc::channel(8);
        let (applied, applied_seen) = watch::channel(Arc::new(of_file));
        let arguments = Arguments {
            own,
            desired,
            gives_way: false,
            file_first: false,
            asked: Arc::new(Mutex::new(asked)),
            standing: standing_seen,
            committed: hears,
            elector: elector.clone(),
            applied,
            catalog: watch::channel(Arc::default()).0,
            versions: Versions::new(folder.path().to_path_buf()),
        };
        let (_, electing) = Actor::spawn(None, ElectionActor, electing).await.unwrap();
        let (_, serving) = Actor::spawn(None, CatalogActor, arguments).await.unwrap();
        let actors = vec![electing, serving];
        Self { _folder: folder, elector, committed: committed_seen, heard, asks, applied: applied_seen, actors }
    }

    /// Once this revision is committed.
    async fn committed(&mut self, revision: u64) -> Committed {
        let is_it = |now: &Option<Committed>| now.as_ref().is_some_and(|now| now.slot.revision.get() == revision);
        self.committed.wait_for(is_it).await.unwrap().clone().unwrap()
    }

    /// Lets the catalog hear of it, and waits until it is served by.
    async fn hears(&mut self, committed: Committed) {
        let revision = committed.slot.revision;
        self.heard.send_replace(Some(committed));
        self.applied.wait_for(|applied| applied.revision() == Some(revision)).await.unwrap();
    }

    async fn ask(&self, id: &str, change: Change) -> oneshot::Receiver<Result<Written, WriteRefused>> {
        let (id, by, via) = (id.parse().unwrap(), Author::new("ada"), "ams".parse().unwrap());
        let (reply, outcome) = oneshot::channel();
        let write = Keyed::new(Write { change, if_match: None, id, by, via, at_ms: 1 });
        self.asks.send(Asked { write, term: None, reply }).await.unwrap();
        outcome
    }
}

#[tokio::test(start_paused = true)]
async fn a_write_that_changes_nothing_is_answered_by_the_newest_that_was_accepted_and_by_nothing_older() {
    let mut peer = Peer::start().await;
    let first = peer.committed(1).await;
    peer.hears(first.clone()).await;
    let web = |text: &str| Change::Apply { desired: super::super::json::parse(text.as_bytes()).unwrap() };
    // What a leader before it has committed, and this catalog has not heard of yet.
    let body = {
        let before = Body::parse(&first.value.body).unwrap();
        let write = Write {
            change: web(r#"{"pool":[{"name":"web"},{"name":"api"}]}"#),
            if_match: None,
            id: "a".parse().unwrap(),
            by: Author::new("ada"),
            via: "ams".parse().unwrap(),
            at_ms: 1,
        };
        let Ok(Next::Changed { bytes, .. }) = before.after(&write, 2) else { panic!("it changes something") };
        bytes
    };
    let bytes = Value { body, ..Value::default() }.encode().unwrap();
    let (reply, taken) = oneshot::channel();
    peer.elector.send(Request::Propose { on: Revision::new(1).unwrap(), bytes, reply }).await.unwrap();
    taken.await.unwrap().unwrap();
    let second = peer.committed(2).await;

    // By revision 1 this changes nothing, by revision 2 it does.
    let mut outcome = peer.ask("b", web(r#"{"pool":[{"name":"web"}]}"#)).await;
    let early = tokio::time::timeout(10 * AGAIN_AFTER, &mut outcome).await;
    assert!(early.is_err(), "{early:?}");
    peer.hears(second).await;
    let third = peer.committed(3).await;
    peer.hears(third).await;
    let written = outcome.await.unwrap().unwrap();
    assert_eq!((written.revision, written.changed), (3, true));

    drop(peer.asks);
    peer.actors.iter().for_each(JoinHandle::abort);
}

#[tokio::test(start_paused = true)]
async fn a_peer_with_nothing_to_begin_a_cluster_with_lets_another_one_lead_first_and_begins_it_where_none_does() {
    let folder = tempfile::tempdir().unwrap();
    let (elector, mut requests) = mpsc::channel(8);
    let ((standing, standing_seen), (_committed, committed_seen)) = election::Arguments::channels();
    let desired = Arc::new(Object::new());
    let of_file = Applied {
        source: Source::File { desired: Arc::clone(&desired) },
        catalog: Arc::default(),
        warnings: Arc::default(),
        behind: None,
    };
    let (_asks, asked) = mpsc::channel(8);
    let arguments = Arguments {
        own: "ams".parse().unwrap(),
        desired,
        gives_way: true,
        file_first: false,
        asked: Arc::new(Mutex::new(asked)),
        standing: standing_seen.clone(),
        committed: committed_seen,
        elector,
        applied: watch::channel(Arc::new(of_file)).0,
        catalog: watch::channel(Arc::default()).0,
        versions: Versions::new(folder.path().to_path_buf()),
    };
    let (actor, ended) = Actor::spawn(None, CatalogActor, arguments).await.unwrap();
    let nobody = Standing::clone(&standing_seen.borrow());
    let leads = |number: u64| Standing {
        leadership: Leadership::Own { term: Term::new(number).unwrap(), first: true },
        electors: Some(Electors::new(["ams".parse().unwrap(), "fra".parse().unwrap()]).unwrap()),
        ..nobody.clone()
    };
    let mut gave_way = 0;
    for number in 1.. {
        standing.send_replace(Arc::new(leads(number)));
        match requests.recv().await.unwrap() {
            Request::GiveWay => gave_way += 1,
            Request::Propose { .. } => break,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(gave_way, GIVE_WAY_MAX);
    actor.stop(None);
    ended.await.unwrap();
}
