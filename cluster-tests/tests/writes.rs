//! Clients that write to one catalog through different peers, each only if nothing changed since it read, while peers are
//! killed and cut off. What they were told is all that is looked at afterwards.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Mutex, RwLock};
use std::thread::ScopedJoinHandle;
use std::time::Duration;

use cluster_tests::api::{Api, Request, Said};
use cluster_tests::cluster::{Cluster, Shape};
use cluster_tests::environment::is_soak;
use cluster_tests::report;
use cluster_tests::wait::{PATIENCE, pause, wait_for};
use evenkeel::host;
use serde_json::json;

const PEERS: u8 = 5;
const CLIENTS: usize = 5;
/// Writes that are acknowledged before the story ends.
const WRITES: usize = 300;
const WRITES_SOAK: usize = 1_000;
/// What all clients count up: what a region may take, of which each client reads the number and writes the next.
const COUNTER: &str = "/api/v1/regions/counter";
/// A peer that is cut off or gone is not waited for.
const ANSWER_WITHIN: Duration = Duration::from_secs(7);
/// How long a write whose outcome nobody knows is sent again before the story fails.
const SETTLED_WITHIN: Duration = Duration::from_secs(60);

/// One write that a client was told is done.
#[derive(Clone, Debug)]
struct Acknowledged {
    client: usize,
    /// What it wrote: one more than it had read.
    value: u64,
    revision: u64,
    /// The times that it was sent.
    sent: usize,
}

/// Where the APIs of the peers are now; `None`: it does not run.
type Apis = RwLock<Vec<Option<Api>>>;

struct Client<'s> {
    number: usize,
    apis: &'s Apis,
    dice: fastrand::Rng,
}

impl Client<'_> {
    /// Asks any peer; `None`: nobody answered.
    fn ask(&mut self, request: &Request<'_>) -> Option<Said> {
        let peer = self.dice.usize(0..usize::from(PEERS));
        let api = self.apis.read().expect("nobody panics with it")[peer].clone()?;
        api.ask(request, ANSWER_WITHIN).ok()
    }

    /// Reads the counter: its value and its ETag.
    fn read(&mut self) -> Option<(u64, String)> {
        let said = self.ask(&Request::get(COUNTER)).filter(|said| said.status == 200)?;
        let value = said.json["capacity"].as_str()?.strip_suffix("/s")?.parse().ok()?;
        Some((value, said.etag?))
    }

    /// Counts up by one, if nobody else did; `None`: somebody did, or nothing was done.
    fn count(&mut self) -> Option<Acknowledged> {
        let (before, etag) = self.read()?;
        let value = before + 1;
        let id = format!("{}-{:x}", self.number, self.dice.u128(..));
        let request = Request::write("PUT", COUNTER, json!({ "capacity": format!("{value}/s") }))
            .field("If-Match", &etag)
            .field("Idempotency-Key", &id);
        let began = host::now();
        // Once it was sent it is done or not, and the client finds out which: by sending it again, through whomever.
        for sent in 1.. {
            match self.ask(&request) {
                Some(said) if said.status == 200 => {
                    let revision = said.json["revision"].as_u64().expect("a write has a revision");
                    return Some(Acknowledged { client: self.number, value, revision, sent });
                }
                Some(said) if said.status == 412 => return None,
                Some(said) => assert_eq!(said.status, 503, "{}", said.json),
                None => {}
            }
            assert!(began.elapsed() < SETTLED_WITHIN, "nobody can say what became of {id}");
            pause(Duration::from_millis(50));
        }
        None
    }
}

/// Kills peers and cuts some off, a majority always left or soon back, until the clients are done.
fn disturb(cluster: &mut Cluster, apis: &Apis, is_over: impl Fn() -> bool) -> (usize, usize) {
    let mut dice = fastrand::Rng::with_seed(4);
    let (mut kills, mut cuts) = (0, 0);
    while !is_over() {
        pause(Duration::from_millis(500));
        let victim = dice.usize(0..usize::from(PEERS));
        // Half of the time it is the leader.
        let victim = match dice.bool().then(|| cluster.leader_at(victim)).flatten() {
            Some((leader, _)) => leader,
            None => victim,
        };
        if dice.bool() {
            kills += 1;
            apis.write().expect("nobody panics with it")[victim] = None;
            cluster.restart_peer(victim);
            apis.write().expect("nobody panics with it")[victim] = Some(cluster.api(victim));
        } else {
            cuts += 1;
            let friend = (victim + 1) % usize::from(PEERS);
            for other in (0..usize::from(PEERS)).filter(|peer| *peer != victim && *peer != friend) {
                cluster.network().cut(victim, other);
                cluster.network().cut(friend, other);
            }
            pause(Duration::from_millis(1_500));
            cluster.network().heal();
        }
    }
    (kills, cuts)
}

#[test]
fn of_hundreds_of_conditional_writes_while_peers_are_killed_and_cut_none_is_lost_or_done_twice() {
    let Some(mut cluster) = Cluster::start(Shape { peers: PEERS, nodes: 1, preset: "lan", health: None }) else {
        return;
    };
    cluster.wait_founded();
    let made = cluster.send(0, &Request::write("PUT", COUNTER, json!({ "capacity": "1/s" })));
    assert_eq!(made.status, 201, "{}", made.json);
    let apis: Apis = RwLock::new((0..usize::from(PEERS)).map(|peer| Some(cluster.api(peer))).collect());
    let acknowledged = Mutex::new(Vec::new());
    let count = AtomicUsize::new(0);
    let writes = if is_soak() { WRITES_SOAK } else { WRITES };
    let began = host::now();
    let (kills, cuts) = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|number| {
                let (apis, acknowledged, count) = (&apis, &acknowledged, &count);
                scope.spawn(move || {
                    let mut client = Client { number, apis, dice: fastrand::Rng::with_seed(number as u64) };
                    while count.load(SeqCst) < writes {
                        if let Some(written) = client.count() {
                            count.fetch_add(1, SeqCst);
                            acknowledged.lock().expect("nobody panics with it").push(written);
                        }
                    }
                })
            })
            .collect();
        // On this thread: what a thread has started ends with it.
        let disturbed = disturb(&mut cluster, &apis, || clients.iter().all(ScopedJoinHandle::is_finished));
        for client in clients {
            client.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        }
        disturbed
    });
    let took = began.elapsed();
    let acknowledged = acknowledged.into_inner().expect("nobody panics with it");

    // The history as the clients were told it, by revision: each value is one more than the one before, and none is missing.
    let by_revision: BTreeMap<u64, &Acknowledged> =
        acknowledged.iter().map(|written| (written.revision, written)).collect();
    assert_eq!(by_revision.len(), acknowledged.len(), "one revision is one write");
    let values: Vec<u64> = by_revision.values().map(|written| written.value).collect();
    let expected: Vec<u64> = (2..2 + acknowledged.len() as u64).collect();
    if let Some(at) = (0..values.len()).find(|&at| values[at] != expected[at]) {
        let around: Vec<_> = by_revision.values().skip(at.saturating_sub(3)).take(7).collect();
        panic!("the history is not linear: {around:?}");
    }
    // And that is what all peers serve by.
    let last = format!("{}/s", expected.last().expect("there were writes"));
    wait_for("all peers to have counted as far as the clients were told", PATIENCE, || {
        (0..usize::from(PEERS)).all(|peer| cluster.json(peer, COUNTER)["capacity"] == last.as_str()).then_some(())
    });
    let again = acknowledged.iter().filter(|written| written.sent > 1).count();
    let by_client: Vec<usize> =
        (0..CLIENTS).map(|client| acknowledged.iter().filter(|written| written.client == client).count()).collect();
    report::figure("writes acknowledged, by client", format!("{} {by_client:?} in {took:?}", acknowledged.len()));
    report::figure(
        "peers killed, cut off with another; writes sent more than once",
        format!("{kills}, {cuts}; {again}"),
    );
    assert!(kills + cuts > 3, "nothing happened to the peers");
}
