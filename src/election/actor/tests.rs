use tempfile::TempDir;
use tokio::task::JoinHandle;

use super::*;
use crate::election::ballot::{Ballot, samples};
use crate::election::settings::Pace;
use crate::model::Preset;

struct Peer {
    requests: mpsc::Sender<Request>,
    committed: watch::Receiver<Option<Committed>>,
    standing: watch::Receiver<Arc<Standing>>,
    actor: ActorRef<Turn>,
    ended: JoinHandle<()>,
}

/// A cluster of one, with its files in this folder.
async fn start(folder: &TempDir) -> Peer {
    let own: PeerId = "ams".parse().unwrap();
    let (requests, inbox) = mpsc::channel(8);
    let (founders, seen_founders) = watch::channel(Some(Electors::alone(own.clone())));
    let ((standing, seen_standing), (committed, seen_committed)) = Arguments::channels();
    let arguments = Arguments {
        settings: Settings { own, pace: Pace::of(Preset::Local) },
        store: Arc::new(Store::new(folder.path().to_path_buf())),
        reach: None,
        requests: Arc::new(Mutex::new(inbox)),
        founders: seen_founders,
        standing,
        committed,
        dice: Dice::from_seed(7),
    };
    let (actor, ended) = Actor::spawn(None, ElectionActor, arguments).await.unwrap();
    drop(founders);
    Peer { requests, committed: seen_committed, standing: seen_standing, actor, ended }
}

impl Peer {
    async fn leads(&mut self, first: bool) {
        let leads = |standing: &Arc<Standing>| {
            matches!(standing.leadership, Leadership::Own { first: is_first, .. } if is_first == first)
                && (first || standing.takes_changes)
        };
        self.standing.wait_for(leads).await.unwrap();
    }

    async fn propose(&self, on: u64, body: &[u8]) -> Result<ValueHash, Refused> {
        let bytes = Value { body: body.to_vec(), ..Value::default() }.encode().unwrap();
        let (reply, answer) = oneshot::channel();
        let on = Revision::new(on).unwrap();
        self.requests.send(Request::Propose { on, bytes, reply }).await.unwrap();
        answer.await.unwrap()
    }

    async fn committed(&mut self, revision: u64) -> Arc<Value> {
        let is_it = |committed: &Option<Committed>| {
            committed.as_ref().is_some_and(|committed| committed.slot.revision.get() == revision)
        };
        let seen = self.committed.wait_for(is_it).await.unwrap();
        Arc::clone(&seen.as_ref().unwrap().value)
    }

    async fn stop(self) {
        self.actor.stop(None);
        self.ended.await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn one_peer_alone_leads_agrees_with_itself_and_remembers_it_over_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let mut peer = start(&folder).await;
    peer.leads(true).await;
    peer.propose(0, b"first").await.unwrap();
    assert_eq!(peer.committed(1).await.body, b"first");
    peer.leads(false).await;
    assert_eq!(peer.propose(0, b"stale").await, Err(Refused::Declined(Declined::Outdated)));
    peer.propose(1, b"second").await.unwrap();
    assert_eq!(peer.committed(2).await.body, b"second");
    let (reply, answer) = oneshot::channel();
    peer.requests.send(Request::Authority(reply)).await.unwrap();
    assert!(answer.await.unwrap().is_some());
    let before = peer.standing.borrow().term;
    peer.stop().await;

    let mut peer = start(&folder).await;
    assert_eq!(peer.committed(2).await.body, b"second", "before anybody leads");
    peer.leads(false).await;
    assert!(peer.standing.borrow().term > before);
    peer.propose(2, b"third").await.unwrap();
    assert_eq!(peer.committed(3).await.body, b"third");
    peer.stop().await;
}

#[tokio::test(start_paused = true)]
async fn values_that_nobody_needs_are_removed() {
    let folder = tempfile::tempdir().unwrap();
    let mut peer = start(&folder).await;
    peer.leads(true).await;
    for revision in 0..10 {
        peer.propose(revision, format!("body {revision}").as_bytes()).await.unwrap();
        peer.committed(revision + 1).await;
        peer.leads(false).await;
    }
    let values = || {
        let names = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
        names.filter(|name| name.to_string_lossy().starts_with("value-")).count()
    };
    // In virtual time: a look, and then the other tasks' turn.
    let removed = async {
        while values() > 2 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), removed).await.expect("what nobody needs is removed");
    peer.stop().await;
    let mut peer = start(&folder).await;
    assert_eq!(peer.committed(10).await.body, b"body 9");
    peer.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_cannot_write_does_not_lead_and_does_once_it_can() {
    let folder = tempfile::tempdir().unwrap();
    // A folder where the ballot would be written: that fails for every user.
    std::fs::create_dir(folder.path().join("ballot.new")).unwrap();
    let mut peer = start(&folder).await;
    peer.standing.wait_for(|standing| standing.disk_failing.is_some()).await.unwrap();
    assert_eq!(peer.standing.borrow().leadership, Leadership::Nobody);
    std::fs::remove_dir(folder.path().join("ballot.new")).unwrap();
    peer.leads(true).await;
    peer.stop().await;
}

/// The ballot of a peer that has one other elector, in the same folder.
fn with_another_elector(folder: &TempDir) {
    let store = Store::new(folder.path().to_path_buf());
    let bytes = Value { body: b"body".to_vec(), ..Value::default() }.encode().unwrap();
    let hash = ValueHash::of(&bytes);
    store.write(hash, &bytes).unwrap();
    let electors = Electors::new(["ams", "waw"].map(|id| id.parse().unwrap())).unwrap();
    let slot = Slot { hash, electors, ..samples::full().accepted.unwrap() };
    let ballot = Ballot { accepted: Some(slot.clone()), committed: Some(slot), founding: None, ..samples::full() };
    let (life, _) = store.begin();
    store.write_ballot(life, &ballot).unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_elector_that_is_said_to_be_forgotten_is_so_on_disk_and_in_the_standing() {
    let folder = tempfile::tempdir().unwrap();
    with_another_elector(&folder);
    let peer = start(&folder).await;
    let forget = async |id: &str| {
        let (reply, answer) = oneshot::channel();
        peer.requests.send(Request::Forget { peer: id.parse().unwrap(), reply }).await.unwrap();
        answer.await
    };
    assert_eq!(forget("lon").await.unwrap(), Err(Refused::Declined(Declined::NoElector)));
    std::fs::create_dir(folder.path().join("ballot.new")).unwrap();
    assert!(forget("waw").await.is_err(), "the disk fails, so it may yet be done");
    std::fs::remove_dir(folder.path().join("ballot.new")).unwrap();
    peer.stop().await;

    let folder = tempfile::tempdir().unwrap();
    with_another_elector(&folder);
    let peer = start(&folder).await;
    let (reply, answer) = oneshot::channel();
    peer.requests.send(Request::Forget { peer: "waw".parse().unwrap(), reply }).await.unwrap();
    assert_eq!(answer.await.unwrap(), Ok(()));
    let alone = Electors::alone("ams".parse().unwrap());
    assert_eq!(peer.standing.borrow().electors.as_ref(), Some(&alone));
    let on_disk = Store::new(folder.path().to_path_buf()).load().ballot;
    assert_eq!(on_disk.committed.map(|slot| slot.electors), Some(alone));
    peer.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_is_killed_is_not_seen_to_lead() {
    let folder = tempfile::tempdir().unwrap();
    let mut peer = start(&folder).await;
    peer.leads(true).await;
    peer.propose(0, b"first").await.unwrap();
    peer.standing.wait_for(|standing| standing.takes_changes && standing.committed.is_some()).await.unwrap();
    peer.actor.kill();
    peer.ended.await.unwrap();
    let standing = peer.standing.borrow();
    assert_eq!((&standing.leadership, standing.takes_changes), (&Leadership::Nobody, false));
    assert!(standing.committed.is_some(), "what it knew stays");
}
