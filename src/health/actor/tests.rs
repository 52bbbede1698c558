//! The actor against real listeners on loopback, on one thread as in a peer. Waits are for conditions; times are printed.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Mutex as Locked;

use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::*;
use crate::health::{Asking, World};
use crate::model::CheckTarget;
use crate::model::limits::CHECKS_IN_FLIGHT_MAX;
use crate::model::{
    Check, CheckKind, Health as Vote, HttpCheck, Member, Node, Observation, Pool, RegionName, TcpCheck,
};
use crate::probe::{Found, ProbeError, Report};
use crate::tls::ClientConfigs;
use crate::view::{self, Changes, Event as ViewEvent, View};

/// Longer than anything here takes on a slow machine; reached only by a failure.
const PATIENCE: Duration = Duration::from_secs(30);

/// What the view is told, made here as `peer` makes it.
struct Told(ViewEvent);

impl From<Output> for Told {
    fn from(output: Output) -> Self {
        Self(match output {
            Output::Observed { key, observation, .. } => ViewEvent::Observed { node: key, observation },
            Output::Resolved { key, addresses, .. } => ViewEvent::Resolved { node: key, addresses },
            Output::Swept { at } => ViewEvent::OwnSwept { at },
        })
    }
}

/// A running actor, with a view that is kept as the view's own actor would keep it.
struct Stage {
    actor: ActorRef<Turn>,
    ended: Option<JoinHandle<()>>,
    arguments: Arguments<Told>,
    outputs: mpsc::Receiver<Told>,
    suspects: mpsc::Sender<Evidence>,
    hinted: mpsc::Sender<NodeId>,
    hints: mpsc::Receiver<Hint>,
    members: watch_channel::Sender<Arc<Members>>,
    catalogs: watch_channel::Sender<Arc<Catalog>>,
    first_round: watch_channel::Receiver<bool>,
}

impl Stage {
    async fn new(pools: Vec<Pool>) -> Self {
        Self::with(pools, Asker::Nodes(ClientConfigs::trusting([]).unwrap().into()), &["own"]).await
    }

    /// The first of `peers` is this one.
    async fn with(pools: Vec<Pool>, asker: Asker, peers: &[&str]) -> Self {
        let catalog = Arc::new(Catalog::new(pools).unwrap());
        let (sender, outputs) = mpsc::channel(64);
        let (suspects, suspected) = mpsc::channel(64);
        let (round, first_round) = watch_channel::channel(false);
        let (hinted, hinted_inbox) = mpsc::channel(64);
        let (hints_out, hints) = mpsc::channel(64);
        let (members, members_now) = watch_channel::channel(cluster(peers));
        let view = ViewCell::new(view::first(&catalog, cluster(peers), host::now()));
        let (catalogs, catalog) = watch_channel::channel(catalog);
        let arguments = Arguments {
            view,
            catalog,
            outputs: sender,
            suspects: Arc::new(Mutex::new(suspected)),
            hinted: Arc::new(Mutex::new(hinted_inbox)),
            hints: hints_out,
            members: members_now,
            company_by: host::now(),
            first_round: round,
            dice: Dice::from_seed(1),
            names: Names::of_system(),
            asker,
        };
        let (actor, ended) = Actor::spawn(None, Health::default(), arguments.clone()).await.unwrap();
        Self { actor, ended: Some(ended), arguments, outputs, suspects, hinted, hints, members, catalogs, first_round }
    }

    fn view(&self) -> Arc<View> {
        self.arguments.view.load()
    }

    fn observation(&self, node: &str) -> Observation {
        self.view().node(&id(node)).unwrap().1.observation.clone()
    }

    /// Takes outputs into the view until `enough`; how long that was.
    async fn until(&mut self, what: &str, enough: impl Fn(&View) -> bool) -> Duration {
        let began = host::now();
        while !enough(&self.view()) {
            let mut events = Vec::new();
            let received = timeout(PATIENCE, self.outputs.recv_many(&mut events, 64)).await;
            assert!(received.is_ok_and(|count| count > 0), "waited for {what}");
            let (view, mut changes) = (self.view(), Changes::default());
            events.into_iter().for_each(|Told(event)| changes.add(&view, event));
            self.arguments.view.store(Arc::new(view.after(changes, host::now())));
        }
        host::now() - began
    }

    async fn until_vote(&mut self, node: &'static str, vote: Vote) -> Duration {
        self.until(&format!("{node} {vote:?}"), move |view| observed(view, node).vote == Some(vote)).await
    }

    async fn stop(mut self) {
        self.actor.stop(None);
        timeout(PATIENCE, self.ended.take().unwrap()).await.expect("it stops").unwrap();
    }
}

fn cluster(peers: &[&str]) -> Arc<Members> {
    let member = |id: &&str| Member { id: id.parse().unwrap(), region: RegionName::default() };
    Arc::new(Members::new(member(&peers[0]), peers[1..].iter().map(member)))
}

fn observed<'a>(view: &'a View, node: &str) -> &'a Observation {
    &view.node(&id(node)).unwrap().1.observation
}

fn id(text: &str) -> NodeId {
    text.parse().unwrap()
}

fn pool(name: &str, check: Check, nodes: &[(&str, String)]) -> Pool {
    let mut pool = Pool::new(name.parse().unwrap());
    pool.check = check;
    pool.nodes = nodes.iter().map(|(node, address)| Node::new(id(node), address.parse().unwrap())).collect();
    pool
}

fn tcp() -> Check {
    Check::of(CheckKind::Tcp(TcpCheck::default()))
}

/// Once an interval is longer than any test, only what is faster than the interval can be seen.
fn slow(check: Check) -> Check {
    Check { interval: Duration::from_secs(600), ..check }
}

/// A node that answers every request with this status, until it is killed.
struct Server {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Server {
    async fn start(address: &str) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                answer(&stream).await;
            }
        });
        Self { address, task }
    }

    async fn kill(self) -> String {
        self.task.abort();
        let _ = self.task.await;
        self.address.to_string()
    }
}

async fn answer(stream: &TcpStream) {
    let mut head = [0; 1024];
    while stream.readable().await.is_ok() {
        match stream.try_read(&mut head) {
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            _ => break,
        }
    }
    let _ = stream.try_write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
}

async fn nobody() -> String {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().to_string()
}

#[tokio::test]
async fn a_node_that_dies_is_voted_down_and_one_that_comes_back_up_within_a_second() {
    let check = Check { interval: Duration::from_millis(500), ..Check::of(CheckKind::Http(HttpCheck::of("/"))) };
    let server = Server::start("127.0.0.1:0").await;
    let mut stage = Stage::new(vec![pool("web", check, &[("a", server.address.to_string())])]).await;
    stage.until_vote("a", Vote::Up).await;
    let up = stage.observation("a");
    assert!(up.reached_before && up.latency.is_some() && up.streak >= 1 && up.checks_total >= 1);
    assert!(up.last_result.starts_with("ok 200 in "), "{}", up.last_result);

    let address = server.kill().await;
    let took = stage.until_vote("a", Vote::Down).await;
    println!("killed -> down: {} ms (interval 500 ms, fall 3)", took.as_millis());
    assert_eq!(stage.observation("a").last_result, "connect: refused");

    let server = Server::start(&address).await;
    let took = stage.until_vote("a", Vote::Up).await;
    println!("answers again -> up: {} ms (250 ms, rise 2)", took.as_millis());
    server.kill().await;
    stage.stop().await;
}

#[tokio::test]
async fn traffic_that_meets_a_dead_node_takes_it_down_at_once_and_a_living_one_is_cleared() {
    let (living, dying) = (Server::start("127.0.0.1:0").await, Server::start("127.0.0.1:0").await);
    let nodes = [("living", living.address.to_string()), ("dying", dying.address.to_string())];
    let mut stage = Stage::new(vec![pool("web", slow(tcp()), &nodes)]).await;
    stage.until_vote("living", Vote::Up).await;
    stage.until_vote("dying", Vote::Up).await;
    dying.kill().await;
    for node in ["living", "dying"] {
        assert!(stage.view().node(&id(node)).unwrap().1.live.suspect());
        stage.suspects.send(Evidence::Hard(id(node))).await.unwrap();
    }
    let took = stage.until_vote("dying", Vote::Down).await;
    println!("suspected -> down: {} ms (one check)", took.as_millis());
    stage.until("living cleared", |view| !view.node(&id("living")).unwrap().1.live.is_suspect()).await;
    assert_eq!(stage.observation("living").vote, Some(Vote::Up));
    assert!(stage.view().node(&id("dying")).unwrap().1.live.is_suspect());
    living.kill().await;
    stage.stop().await;
}

#[tokio::test]
async fn a_suspicion_of_which_no_word_came_is_found_in_the_view() {
    let server = Server::start("127.0.0.1:0").await;
    let check = Check::of(CheckKind::None);
    let mut stage = Stage::new(vec![pool("web", check, &[("a", server.address.to_string())])]).await;
    stage.until_vote("a", Vote::Up).await;
    stage.view().node(&id("a")).unwrap().1.live.suspect();
    stage.until("a probe", |view| observed(view, "a").checks_total > 0).await;
    stage.until("a cleared", |view| !view.node(&id("a")).unwrap().1.live.is_suspect()).await;
    assert_eq!(stage.observation("a").vote, Some(Vote::Up));
    let address = server.kill().await;
    stage.suspects.send(Evidence::Hard(id("a"))).await.unwrap();
    stage.until_vote("a", Vote::Down).await;
    let server = Server::start(&address).await;
    stage.until_vote("a", Vote::Up).await;
    server.kill().await;
    stage.stop().await;
}

#[tokio::test]
async fn a_check_that_panics_ends_neither_the_actor_nor_other_checks() {
    let server = Server::start("127.0.0.1:0").await;
    // A time-out past the end of the clock cannot be added to it.
    let broken = Check { timeout: Duration::MAX, ..tcp() };
    let pools = vec![
        pool("broken", broken, &[("x", server.address.to_string())]),
        pool("web", tcp(), &[("a", server.address.to_string())]),
    ];
    let mut stage = Stage::new(pools).await;
    stage.until_vote("a", Vote::Up).await;
    stage.until("word of the panic", |view| observed(view, "x").last_result.contains("fault of this program")).await;
    assert_eq!(stage.observation("x").vote, None);
    let checks = stage.observation("a").checks_total;
    stage.suspects.send(Evidence::Hard(id("a"))).await.unwrap();
    stage.until("another check", move |view| observed(view, "a").checks_total > checks).await;
    server.kill().await;
    stage.stop().await;
}

#[tokio::test]
async fn names_are_resolved_and_one_that_leads_nowhere_is_down_with_the_reason() {
    let server = Server::start("127.0.0.1:0").await;
    let nodes = [
        ("local", format!("localhost:{}", server.address.port())),
        ("nowhere", format!("nowhere.invalid:{}", server.address.port())),
    ];
    let mut stage = Stage::new(vec![pool("web", slow(tcp()), &nodes)]).await;
    stage.until_vote("local", Vote::Up).await;
    let first = stage.view().node(&id("local")).unwrap().1.addresses.first().copied();
    assert_eq!(first, Some(server.address), "the address that answers goes first");
    stage.until_vote("nowhere", Vote::Down).await;
    let nowhere = stage.observation("nowhere").last_result;
    assert!(nowhere.starts_with("name does not resolve: "), "{nowhere}");
    timeout(PATIENCE, stage.first_round.wait_for(|done| *done)).await.unwrap().unwrap();
    server.kill().await;
    stage.stop().await;
}

#[tokio::test]
async fn a_thousand_nodes_are_checked_once_and_the_round_is_told() {
    // Several servers, so that none's queue of connections overflows.
    let mut servers = Vec::new();
    for _ in 0..25 {
        servers.push(Server::start("127.0.0.1:0").await);
    }
    let dead = nobody().await;
    let names: Vec<String> = (0..1_000).map(|number| format!("n{number}")).collect();
    let address = |number: usize| match number % 2 {
        0 => servers[number / 2 % servers.len()].address.to_string(),
        _ => dead.clone(),
    };
    let nodes: Vec<(&str, String)> =
        names.iter().enumerate().map(|(number, name)| (name.as_str(), address(number))).collect();
    let began = host::now();
    let mut stage = Stage::new(vec![pool("web", slow(tcp()), &nodes)]).await;
    stage.until("every vote", |view| view.pools().all(|pool| pool.nodes.iter().all(voted))).await;
    timeout(PATIENCE, stage.first_round.wait_for(|done| *done)).await.unwrap().unwrap();
    println!("1,000 nodes checked once: {} ms", (host::now() - began).as_millis());
    assert_eq!(stage.observation("n0").vote, Some(Vote::Up));
    assert_eq!(stage.observation("n1").vote, Some(Vote::Down));
    const { assert!(CHECKS_IN_FLIGHT_MAX < 1_000, "or the bound is not met here") };
    for server in servers {
        server.kill().await;
    }
    stage.stop().await;
}

fn voted(node: &Arc<view::NodeView>) -> bool {
    node.observation.vote.is_some()
}

#[tokio::test]
async fn an_actor_that_is_started_again_goes_on_where_the_last_one_was() {
    let server = Server::start("127.0.0.1:0").await;
    let mut stage = Stage::new(vec![pool("web", slow(tcp()), &[("a", server.address.to_string())])]).await;
    stage.until_vote("a", Vote::Up).await;
    let seen = stage.observation("a");
    // A word that came while nobody was there is not lost.
    stage.actor.kill();
    timeout(PATIENCE, stage.ended.take().unwrap()).await.unwrap().unwrap();
    stage.suspects.send(Evidence::Hard(id("a"))).await.unwrap();
    let address = server.kill().await;
    let (actor, ended) = Actor::spawn(None, Health::default(), stage.arguments.clone()).await.unwrap();
    (stage.actor, stage.ended) = (actor, Some(ended));
    stage.until("the next check", |view| observed(view, "a").checks_total > seen.checks_total).await;
    assert!(stage.observation("a").reached_before);
    stage.until_vote("a", Vote::Down).await;
    println!("{address} down after {} checks", stage.observation("a").checks_total);
    stage.stop().await;
}

#[tokio::test]
async fn it_stops_when_nobody_hears_it_any_more() {
    let mut stage = Stage::new(vec![pool("web", tcp(), &[("a", nobody().await)])]).await;
    stage.outputs.close();
    while stage.outputs.recv().await.is_some() {}
    timeout(PATIENCE, stage.ended.take().unwrap()).await.expect("it stops").unwrap();
}

/// A world in which the nodes at these addresses are gone and all others answer at once.
#[derive(Debug, Default)]
struct Made {
    gone: Locked<BTreeSet<SocketAddr>>,
}

impl World for Made {
    fn ask(&self, target: &CheckTarget, _: &Check) -> Asking {
        let outcome = if self.gone.lock().unwrap().contains(&target.address) {
            Err(ProbeError::Refused)
        } else {
            Ok(Found::Connected)
        };
        let connect = outcome.is_ok().then_some(Duration::from_millis(3));
        Box::pin(async move { Report { outcome, connect, total: Duration::from_millis(3) } })
    }
}

fn made(number: u8) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, number], 80))
}

#[tokio::test]
async fn what_one_peer_sees_is_hinted_to_the_others_and_what_they_hint_at_is_looked_at_in_a_made_up_world() {
    let world = Arc::new(Made::default());
    let nodes = [("a", made(1).to_string()), ("b", made(2).to_string())];
    let asker = Asker::World(Arc::<Made>::clone(&world));
    let mut stage = Stage::with(vec![pool("web", slow(tcp()), &nodes)], asker, &["own", "x", "y"]).await;
    stage.until_vote("a", Vote::Up).await;
    stage.until_vote("b", Vote::Up).await;
    assert_eq!(stage.observation("a").latency, Some(Duration::from_millis(3)));

    // Traffic here meets it.
    world.gone.lock().unwrap().insert(made(1));
    stage.view().node(&id("a")).unwrap().1.live.suspect();
    stage.suspects.send(Evidence::Hard(id("a"))).await.unwrap();
    stage.until_vote("a", Vote::Down).await;
    for to in ["x", "y"] {
        let hint = timeout(PATIENCE, stage.hints.recv()).await.unwrap().unwrap();
        assert_eq!(hint, Hint { to: to.parse().unwrap(), nodes: vec![id("a")] });
    }

    // Another peer met this one; the next check would be ten minutes away.
    world.gone.lock().unwrap().insert(made(2));
    stage.hinted.send(id("b")).await.unwrap();
    stage.until_vote("b", Vote::Down).await;
    assert_eq!(stage.observation("b").last_result, "connect: refused");
    assert!(stage.hints.try_recv().is_err(), "what others hinted at is not handed on");
    let swept = stage.view().own_swept();
    stage.until("a sweep", move |view| view.own_swept() > swept).await;
    stage.stop().await;
}

#[tokio::test]
async fn a_running_actor_follows_the_members() {
    let asker = Asker::World(Arc::new(Made::default()));
    let names: Vec<String> = (0..40).map(|number| format!("n{number}")).collect();
    let nodes: Vec<(&str, String)> = names.iter().map(|name| (name.as_str(), made(1).to_string())).collect();
    let many = ["own", "p1", "p2", "p3", "p4", "p5", "p6", "p7"];
    let mut stage = Stage::with(vec![pool("web", tcp(), &nodes)], asker, &many).await;
    let voted =
        |view: &View| view.pools().flat_map(|pool| &pool.nodes).filter(|node| node.observation.vote.is_some()).count();
    stage.until("the first votes", |view| voted(view) > 5).await;
    timeout(PATIENCE, stage.first_round.wait_for(|done| *done)).await.unwrap().unwrap();
    assert!(voted(&stage.view()) < 30);
    stage.members.send(cluster(&["own"])).unwrap();
    stage.until("a vote on every node", |view| voted(view) == 40).await;
    stage.members.send(cluster(&many)).unwrap();
    stage.until("votes taken back", |view| voted(view) < 30).await;
    stage.stop().await;
}

#[tokio::test]
async fn a_changed_catalog_is_followed_whether_the_view_knows_it_first_or_last() {
    let mut listeners = Vec::new();
    for _ in 0..4 {
        // A connection that the kernel completes is answer enough.
        listeners.push(TcpListener::bind("127.0.0.1:0").await.unwrap());
    }
    let addresses: Vec<String> = listeners.iter().map(|of| of.local_addr().unwrap().to_string()).collect();
    let pools = |names: &[&str]| {
        let nodes = names.iter().zip(&addresses).map(|(name, address)| (*name, address.clone()));
        vec![pool("web", tcp(), &nodes.collect::<Vec<_>>())]
    };
    let catalog = |names: &[&str]| Arc::new(Catalog::new(pools(names)).unwrap());
    let mut stage = Stage::new(pools(&["a"])).await;
    stage.until_vote("a", Vote::Up).await;
    let view_knows = |stage: &Stage, names: &[&str]| {
        let (view, mut changes) = (stage.view(), Changes::default());
        changes.add(&view, ViewEvent::Catalog(catalog(names)));
        stage.arguments.view.store(Arc::new(view.after(changes, host::now())));
    };

    // First here: what is said of the new node is lost on the view, and said again once that knows it.
    stage.catalogs.send_replace(catalog(&["a", "b"]));
    stage.until("an answer of b that nobody takes", |view| view.heard_dropped() >= 2).await;
    view_knows(&stage, &["a", "b"]);
    stage.until_vote("b", Vote::Up).await;

    // First there.
    view_knows(&stage, &["a", "b", "c"]);
    stage.catalogs.send_replace(catalog(&["a", "b", "c"]));
    stage.until_vote("c", Vote::Up).await;
    assert_eq!(stage.observation("a").vote, Some(Vote::Up));
    assert!(*stage.first_round.borrow());

    // An actor that is started again goes by the newest.
    stage.actor.kill();
    timeout(PATIENCE, stage.ended.take().unwrap()).await.unwrap().unwrap();
    stage.catalogs.send_replace(catalog(&["a", "b", "c", "d"]));
    view_knows(&stage, &["a", "b", "c", "d"]);
    let (actor, ended) = Actor::spawn(None, Health::default(), stage.arguments.clone()).await.unwrap();
    (stage.actor, stage.ended) = (actor, Some(ended));
    stage.until_vote("d", Vote::Up).await;
    assert!(*stage.first_round.borrow());
    stage.stop().await;
}
