//! Leaders that die, hang, or are cut off with the few: another one leads soon, what the old one still says counts for nothing,
//! and no client notices.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::ScopedJoinHandle;
use std::time::Duration;

use cluster_tests::api::Request;
use cluster_tests::cluster::{Cluster, Shape};
use cluster_tests::environment::is_soak;
use cluster_tests::load::{Load, Outcome, Plan, failures};
use cluster_tests::wait::{PATIENCE, pause, wait_for};
use cluster_tests::{network, report};
use evenkeel::host;
use rustix::process::Signal;
use serde_json::json;

/// What another leader may take, in the median and at the worst (DESIGN section 11).
const MEDIAN_MAX: Duration = Duration::from_millis(500);
const WORST_MAX: Duration = Duration::from_millis(1_200);

fn start(peers: u8) -> Option<Cluster> {
    let cluster = Cluster::start(Shape { peers, nodes: 2, preset: "lan", health: None })?;
    cluster.wait_agreed(PATIENCE);
    cluster.wait_founded();
    Some(cluster)
}

/// Clients of a peer, until they are told to stop.
struct Clients<'s>(Vec<ScopedJoinHandle<'s, Vec<Outcome>>>);

impl<'s> Clients<'s> {
    /// So many requests a second at each of these peers.
    fn start<'e>(
        scope: &'s std::thread::Scope<'s, 'e>,
        cluster: &Cluster,
        peers: &[usize],
        rate: u32,
        stop: &'s AtomicBool,
    ) -> Self {
        let namespace: PathBuf = cluster.client().namespace();
        let start = |&peer: &usize| {
            let (to, namespace) = (cluster.traffic(peer), namespace.clone());
            scope.spawn(move || {
                network::enter(&namespace);
                let load = Load::start(&Plan::get(to, rate));
                wait_for("the end of the story", Duration::from_secs(120), || stop.load(Relaxed).then_some(()));
                load.stop()
            })
        };
        Self(peers.iter().map(start).collect())
    }

    /// What became of all of them: none may have failed.
    #[track_caller]
    fn assert_none_failed(self) -> usize {
        let outcomes: Vec<Vec<Outcome>> = self.0.into_iter().map(|load| load.join().expect("clients end")).collect();
        for outcomes in &outcomes {
            let failed = failures(outcomes, 10);
            assert!(failed.is_empty(), "{failed:?}");
        }
        outcomes.iter().map(Vec::len).sum()
    }
}

/// Kills the leader so many times, and says what it took until all that are left know another, and until a write is done that
/// was sent in that moment.
fn deaths(peers: u8, rounds: usize) {
    let Some(mut cluster) = start(peers) else { return };
    let (mut took, mut wrote) = (Vec::new(), Vec::new());
    let mut requests = 0;
    for round in 1..=rounds {
        let ((leader, term), _) = cluster.wait_led(&cluster.running());
        let left: Vec<usize> = cluster.running().into_iter().filter(|&peer| peer != leader).collect();
        let stop = AtomicBool::new(false);
        requests += std::thread::scope(|scope| {
            let clients = Clients::start(scope, &cluster, &left, 50, &stop);
            pause(Duration::from_millis(200));
            let killed = host::now();
            cluster.kill_peer(leader);
            let api = cluster.api(left[0]);
            let writing = scope.spawn(move || {
                let put = Request::write("PUT", "/api/v1/regions/here", json!({ "weight": round }));
                (api.ask(&put, PATIENCE).expect("the peer that is asked lives"), killed.elapsed())
            });
            wait_for("another leader", PATIENCE, || {
                let known: Vec<_> = left.iter().map(|&peer| cluster.leader_at(peer)).collect();
                let (led, after) = known[0]?;
                (led != leader && after > term && known.iter().all(|one| *one == known[0])).then_some(())
            });
            took.push(killed.elapsed());
            let (written, after) = writing.join().expect("a write ends");
            assert!(matches!(written.status, 200 | 201), "{}", written.json);
            wrote.push(after);
            stop.store(true, Relaxed);
            clients.assert_none_failed()
        });
        cluster.restart_peer(leader);
        cluster.wait_agreed(PATIENCE);
    }
    took.sort_unstable();
    wrote.sort_unstable();
    let (median, worst) = (took[took.len() / 2], took[took.len() - 1]);
    report::figure(
        &format!("another leader of {peers}, {rounds} deaths: median, worst"),
        format!("{median:?}, {worst:?}"),
    );
    report::figure(
        &format!("a write that was sent in that moment, of {peers}: median, worst"),
        format!("{:?}, {:?}", wrote[wrote.len() / 2], wrote[wrote.len() - 1]),
    );
    report::figure("requests meanwhile, none failed", requests);
    assert!(median <= MEDIAN_MAX && worst <= WORST_MAX, "{took:?}");
}

#[test]
fn when_the_leader_is_killed_another_leads_within_half_a_second_and_no_request_fails() {
    let rounds = if is_soak() { 50 } else { 8 };
    deaths(3, rounds);
    deaths(5, rounds);
}

#[test]
fn a_leader_that_was_stopped_for_five_seconds_does_nothing_when_it_goes_on() {
    let Some(mut cluster) = start(3) else { return };
    let ((old, term), _) = cluster.wait_led(&[0, 1, 2]);
    let left: Vec<usize> = (0..3).filter(|&peer| peer != old).collect();
    let stop = AtomicBool::new(false);
    let requests = std::thread::scope(|scope| {
        let clients = Clients::start(scope, &cluster, &left, 50, &stop);
        let stopped = host::now();
        cluster.peer(old).process().signal(Signal::STOP);
        let ((new, after), _) =
            wait_for("another leader", PATIENCE, || cluster.leader_at(left[0]).filter(|(leader, _)| *leader != old));
        report::figure("another leads after", format!("{:?}", stopped.elapsed()));
        assert!(after > term);
        // It asks for something of its own, which is what the old one must not undo.
        let written = cluster.send(left[0], &Request::write("PUT", "/api/v1/regions/while-it-hung", json!({})));
        assert_eq!(written.status, 201, "{}", written.json);
        pause(Duration::from_secs(5).saturating_sub(stopped.elapsed()));
        let lines = cluster.log(old).lines().count();
        cluster.peer(old).process().signal(Signal::CONT);
        let (led, _) = cluster.wait_led(&[0, 1, 2]);
        assert_eq!(led, (new, after), "nobody had to be elected again");
        let revision = written.json["revision"].clone();
        wait_for("the one that hung to serve by what was written", PATIENCE, || {
            (cluster.json(old, "/api/v1/catalog")["revision"] == revision).then_some(())
        });
        let log = cluster.log(old);
        let since: Vec<&str> = log.lines().skip(lines).collect();
        assert!(since.iter().all(|line| !line.contains("this peer leads")), "{since:?}");
        stop.store(true, Relaxed);
        clients.assert_none_failed()
    });
    report::figure("requests meanwhile, none failed", requests);
    cluster.wait_agreed(PATIENCE);
}

/// The leader and one more on one side, three on the other.
fn part(cluster: &Cluster, leader: usize) -> (Vec<usize>, Vec<usize>) {
    let other = (leader + 1) % 5;
    let few = vec![leader, other];
    let many: Vec<usize> = (0..5).filter(|peer| !few.contains(peer)).collect();
    for &one in &few {
        for &another in &many {
            cluster.network().cut(one, another);
        }
    }
    (few, many)
}

#[test]
fn a_leader_among_the_few_steps_down_the_many_elect_another_and_healed_there_is_one() {
    let Some(cluster) = start(5) else { return };
    let ((old, term), _) = cluster.wait_led(&cluster.running());
    let stop = AtomicBool::new(false);
    let requests = std::thread::scope(|scope| {
        let clients = Clients::start(scope, &cluster, &[0, 1, 2, 3, 4], 50, &stop);
        let (few, many) = part(&cluster, old);
        let parted = host::now();
        wait_for("the few to know that nobody leads them", PATIENCE, || {
            few.iter().all(|&peer| cluster.leader_at(peer).is_none()).then_some(())
        });
        report::figure("the leader has stepped down after", format!("{:?}", parted.elapsed()));
        let ((new, after), _) = cluster.wait_led(&many);
        report::figure("the many have another after", format!("{:?}", parted.elapsed()));
        assert!(many.contains(&new) && after > term);

        let region = |name: &str| format!("/api/v1/regions/{name}");
        let written = cluster.send(many[0], &Request::write("PUT", &region("of-the-many"), json!({})));
        assert_eq!(written.status, 201, "{}", written.json);
        let refused = cluster.send(few[0], &Request::write("PUT", &region("of-the-few"), json!({})));
        assert_eq!((refused.status, &refused.json["error"]["code"]), (503, &json!("no_leader")), "{}", refused.json);
        let waits_for = cluster.json(few[1], "/api/v1/leader")["waits_for"].clone();
        assert!(waits_for.as_str().is_some_and(|words| words.contains("majority")), "{waits_for}");

        cluster.network().heal();
        let healed = host::now();
        let (led, _) = cluster.wait_led(&[0, 1, 2, 3, 4]);
        report::figure("healed, all know one leader after", format!("{:?}", healed.elapsed()));
        assert_eq!(led, (new, after), "nobody had to be elected again");
        wait_for("one catalog everywhere", PATIENCE, || {
            let catalogs = (0..5).map(|peer| cluster.json(peer, "/api/v1/catalog"));
            let mut is_it = catalogs.map(|catalog| {
                catalog["revision"] == written.json["revision"] && catalog["etag"] == written.json["etag"]
            });
            is_it.all(|is_it| is_it).then_some(())
        });
        let catalog = cluster.json(few[0], "/api/v1/catalog");
        assert!(!catalog.to_string().contains("of-the-few"), "{catalog}");
        stop.store(true, Relaxed);
        clients.assert_none_failed()
    });
    report::figure("requests meanwhile, none failed", requests);
    cluster.wait_agreed(PATIENCE);
}

#[test]
fn what_a_deposed_leader_said_before_it_knew_is_refused_when_it_arrives_and_that_is_logged() {
    /// Whether something is still on its way when the path is mended is chance.
    const ROUNDS_MAX: usize = 20;
    let Some(cluster) = start(5) else { return };
    for round in 1..=ROUNDS_MAX {
        let ((old, term), _) = cluster.wait_led(&cluster.running());
        let (_, many) = part(&cluster, old);
        wait_for("the many to elect another", PATIENCE, || {
            many.iter()
                .any(|&peer| cluster.leader_at(peer).is_some_and(|(led, after)| led != old && after > term))
                .then_some(())
        });
        // What the old one sent while it was cut off is sent again by its link.
        cluster.network().heal();
        cluster.wait_led(&cluster.running());
        let said = format!("peer={} term={term} ", cluster.id(old));
        let is_refusal =
            |line: &str| line.contains("a heartbeat of an earlier term is refused") && line.contains(&said);
        if many.iter().any(|&peer| cluster.log(peer).lines().any(is_refusal)) {
            report::figure("a late heartbeat was refused in round", round);
            return;
        }
    }
    panic!("no heartbeat was late in {ROUNDS_MAX} rounds");
}
