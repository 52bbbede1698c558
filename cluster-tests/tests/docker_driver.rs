//! Nodes that are containers: the driver and a real engine.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use cluster_tests::docker::{self, Engine};
use cluster_tests::wait::{PATIENCE, wait_for, wait_until};
use evenkeel::driver::{Action, Docker, DockerSettings, Done, Driver, Effect, NodeAt, Publish, ServerAt, Usage};
use evenkeel::model::{IntentId, NodeId, Term};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, UnixStream};
use tokio::task::JoinSet;

/// Where the engine listens.
const ENGINE: &str = "/var/run/docker.sock";
/// How long a read of a test may take.
const SILENCE_MAX: Duration = Duration::from_secs(10);

/// A node of this test alone: the engine is everybody's.
fn node(name: &str) -> String {
    format!("{name}-{}", std::process::id())
}

/// Nodes that say who they are and by which plan, on loopback.
fn settings(image: &str) -> DockerSettings {
    DockerSettings {
        command: ["--name", "{node}.{intent}", "--listen", "0.0.0.0:8000"].map(str::to_owned).to_vec(),
        publish: Publish::At(Ipv4Addr::LOCALHOST.into()),
        start_timeout: Duration::from_secs(60),
        stop_timeout: Duration::from_secs(1),
        ..DockerSettings::of_image(image, docker::PORT)
    }
}

fn driver(settings: DockerSettings) -> Docker {
    Docker::new(settings).expect("settings of a test")
}

fn effect(action: Action, node: &str, revision: u64) -> Effect {
    Effect {
        action,
        intent: IntentId::of_revision(revision),
        term: Term::new(7).expect("a term"),
        node: NodeAt {
            id: node.parse().expect("a node"),
            pool: "exits".parse().expect("a pool"),
            region: "us".parse().expect("a region"),
            address: Some("127.0.0.1:1".to_owned()),
        },
        from: None,
        to: None,
        again: false,
    }
}

/// What a node that was just started answers: its name.
#[track_caller]
fn name_at(address: &str) -> String {
    let address: SocketAddr = address.parse().expect("an address");
    let ask = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(SILENCE_MAX))?;
        stream.write_all(b"GET / HTTP/1.1\r\nHost: node\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer.lines().last().unwrap_or_default().to_owned())
    };
    // It runs; where it listens it may listen a moment later.
    wait_for("an answer of the node", PATIENCE, || ask().ok().filter(|name| !name.is_empty())).0
}

#[track_caller]
fn name_of(done: &Done) -> String {
    name_at(done.address.as_deref().expect("the node has an address"))
}

#[tokio::test]
async fn a_switch_is_made_taken_back_and_made_for_good() {
    let Some(engine) = Engine::here() else { return };
    let node = node("made");
    let mut settings = settings(engine.image());
    settings.environment = BTreeMap::from([("VPN".into(), "{server.id} at {server.host}".into())]);
    settings.labels = BTreeMap::from([("exit".into(), "{server.labels.country}".into())]);
    settings.memory_max_bytes = Some(256 << 20);
    let driver = driver(settings);
    let first = engine.run_first(&node, engine.image(), &["--publish", "127.0.0.1::8000"]);

    let mut switch = effect(Action::Switch, &node, 1);
    switch.to = Some(ServerAt {
        id: "vpn-3".parse().expect("a server"),
        address: "10.0.0.3:51820".to_owned(),
        labels: BTreeMap::from([("country".into(), "us".into())]),
    });
    let done = driver.act(&switch).await.expect("a switch");
    assert_eq!(name_of(&done), format!("{node}.i1"));
    assert_eq!(engine.states(&node), format!("{node}-first exited, {node}.i1 running"));
    let told = engine.inspect(&format!("{node}.i1"));
    let environment = told["Config"]["Env"].as_array().expect("an environment");
    assert!(environment.iter().any(|value| value == "VPN=vpn-3 at 10.0.0.3"), "{environment:?}");
    let labels = &told["Config"]["Labels"];
    for (label, text) in [
        ("exit", "us"),
        ("evenkeel.node", node.as_str()),
        ("evenkeel.intent", "i1"),
        ("evenkeel.term", "7"),
        ("evenkeel.pool", "exits"),
        ("evenkeel.region", "us"),
        ("evenkeel.before", first.as_str()),
    ] {
        assert_eq!(labels[label], text, "{label}");
    }
    assert_eq!(told["HostConfig"]["Memory"], 256 << 20);

    let again = driver.act(&Effect { again: true, ..switch.clone() }).await.expect("the same once more");
    assert_eq!(again.address, done.address, "it is done once");
    assert_eq!(engine.count_made_by(&node, "i1"), 1);

    let undo = Effect { action: Action::Undo, ..switch.clone() };
    for _ in 0..2 {
        let done = driver.act(&undo).await.expect("an undo");
        assert_eq!(name_of(&done), "node", "what the operator started has no other name");
        assert_eq!(engine.states(&node), format!("{node}-first running"));
    }

    switch.intent = IntentId::of_revision(2);
    driver.act(&switch).await.expect("another switch");
    let finish = Effect { action: Action::Finish, ..switch.clone() };
    for note in [format!("{node}-first removed"), "nothing was left to remove".to_owned()] {
        let done = driver.act(&finish).await.expect("an end");
        assert_eq!((done.address, done.note), (None, note));
        assert_eq!(engine.states(&node), format!("{node}.i2 running"));
    }

    // Its server dies; then the node moves on from what is dead.
    engine.kill(&format!("{node}.i2"));
    switch.intent = IntentId::of_revision(3);
    driver.act(&switch).await.expect("a switch from what is dead");
    assert_eq!(engine.states(&node), format!("{node}.i2 exited, {node}.i3 running"));
    let done = driver.act(&Effect { action: Action::Undo, ..switch }).await.expect("an undo");
    assert_eq!(name_of(&done), format!("{node}.i2"));
    assert_eq!(engine.states(&node), format!("{node}.i2 running"));
}

#[tokio::test]
async fn a_node_is_started_and_stopped() {
    let Some(engine) = Engine::here() else { return };
    let node = node("started");
    let driver = driver(DockerSettings { publish: Publish::Nowhere, ..settings(engine.image()) });
    let mut start = effect(Action::Start, &node, 1);
    start.node.address = None;
    for _ in 0..2 {
        let done = driver.act(&start).await.expect("a start");
        assert_eq!(name_of(&done), format!("{node}.i1"), "at the address of its container");
        assert_eq!(engine.states(&node), format!("{node}.i1 running"));
    }
    let other = Effect { intent: IntentId::of_revision(2), ..start.clone() };
    let failed = driver.act(&other).await.expect_err("one of that name runs");
    assert!(failed.why.contains(&format!("container {node}.i1 of it runs")), "{}", failed.why);
    assert_eq!(engine.states(&node), format!("{node}.i1 running"));

    for _ in 0..2 {
        let done = driver.act(&Effect { action: Action::Undo, ..start.clone() }).await.expect("an undo");
        assert_eq!(done.address, None, "{}", done.note);
        assert_eq!(engine.states(&node), "");
    }

    driver.act(&start).await.expect("a start");
    engine.run(["run", "--detach", "--label", &format!("evenkeel.node={node}"), engine.image()]);
    for _ in 0..2 {
        driver.act(&effect(Action::Stop, &node, 3)).await.expect("a stop");
        assert_eq!(engine.states(&node), "");
    }
}

#[tokio::test]
async fn what_does_not_run_fails_with_the_end_of_its_log_and_is_taken_back() {
    let Some(engine) = Engine::here() else { return };
    let node = node("failing");
    let mut settings = settings(engine.image());
    settings.command.push("--no-such-word".into());
    let driver = driver(settings);
    engine.run_first(&node, engine.image(), &["--publish", "127.0.0.1::8000"]);
    let switch = effect(Action::Switch, &node, 1);
    for _ in 0..2 {
        let failed = driver.act(&switch).await.expect_err("it ends at once");
        for said in
            [&format!("container {node}.i1"), "it ended with exit code 2", "unexpected argument '--no-such-word'"]
        {
            assert!(failed.why.contains(said), "{said}: {}", failed.why);
        }
        assert!(!failed.why.contains('\n'), "{}", failed.why);
        assert_eq!(engine.states(&node), format!("{node}-first exited, {node}.i1 exited"));
    }
    let done = driver.act(&Effect { action: Action::Undo, ..switch }).await.expect("an undo");
    assert_eq!(name_of(&done), "node");
    assert_eq!(engine.states(&node), format!("{node}-first running"));
}

#[tokio::test]
async fn what_cannot_be_made_costs_the_node_nothing() {
    let Some(engine) = Engine::here() else { return };
    let node = node("missing");
    engine.run_first(&node, engine.image(), &["--publish", "127.0.0.1::8000"]);
    let fails = async |settings: DockerSettings, action: Action, said: &str| {
        let failed = driver(settings).act(&effect(action, &node, 1)).await.expect_err("it cannot be made");
        assert!(failed.why.contains(said), "{}", failed.why);
        assert!(failed.why.contains("/var/run/docker.sock") || said.contains('{'), "{}", failed.why);
    };
    let missing = DockerSettings { image: "127.0.0.1:1/no/such:image".into(), ..settings(engine.image()) };
    fails(missing.clone(), Action::Switch, "has no image 127.0.0.1:1/no/such:image; pull it on this machine").await;
    fails(DockerSettings { pull: true, ..missing }, Action::Switch, "127.0.0.1:1/no/such:image cannot be pulled").await;
    let mut needs_server = settings(engine.image());
    needs_server.environment.insert("VPN".into(), "{server.host}".into());
    fails(needs_server, Action::Switch, "{server.host} stands for nothing").await;
    assert_eq!(engine.states(&node), format!("{node}-first running"));

    // Somebody else's container has the name.
    engine.run(["create", "--name", &format!("{node}.i1"), engine.image()]);
    fails(settings(engine.image()), Action::Switch, "another of that name, which was not made for node").await;
    assert_eq!(engine.states(&node), format!("{node}-first running"));

    // Nothing is thrown away for a plan that made nothing.
    fails(settings(engine.image()), Action::Finish, "so nothing would be left").await;
    let undo = effect(Action::Undo, &node, 1);
    let done = driver(settings(engine.image())).act(&undo).await.expect("there is nothing to take back");
    assert_eq!(name_of(&done), "node");
    assert_eq!(engine.states(&node), format!("{node}-first running"));
}

#[tokio::test]
async fn a_container_with_a_health_check_stands_when_it_is_healthy_and_not_before() {
    let Some(engine) = Engine::here() else { return };
    let node = node("health");
    let driver = driver(settings(engine.image_with_health()));
    let done = driver.act(&effect(Action::Switch, &node, 1)).await.expect("a switch");
    assert!(done.note.contains("is healthy"), "{}", done.note);
    assert_eq!(engine.health(&format!("{node}.i1")), "healthy");

    // Made by a peer that ended before it was started; and it will never be well.
    let name = format!("{node}.i2");
    let labels = [format!("evenkeel.node={node}"), "evenkeel.intent=i2".to_owned()];
    let labels = [["--label", labels[0].as_str()], ["--label", labels[1].as_str()]];
    let words = ["create", "--name", &name].into_iter().chain(labels.as_flattened().iter().copied());
    engine.run(words.chain([engine.image_with_health()]));
    engine.make_unwell(&name);
    let failed = driver.act(&effect(Action::Switch, &node, 2)).await.expect_err("it is unhealthy");
    assert!(failed.why.contains("it is unhealthy"), "{}", failed.why);
    assert_eq!(engine.states(&node), format!("{node}.i1 exited, {node}.i2 running"));

    let done = driver.act(&effect(Action::Undo, &node, 2)).await.expect("an undo");
    assert_eq!(name_of(&done), format!("{node}.i1"));
    assert_eq!(engine.health(&format!("{node}.i1")), "healthy", "what comes back is waited for");

    // What was unhealthy before anybody touched it is no fault of an undo.
    engine.make_unwell(&format!("{node}.i1"));
    wait_until("it to be unhealthy", || engine.health(&format!("{node}.i1")) == "unhealthy");
    let done = driver.act(&effect(Action::Undo, &node, 3)).await.expect("an undo of nothing");
    assert!(done.note.contains("unhealthy, as it was"), "{}", done.note);
    let used = usage_of(&driver, &node).await.expect("it runs");
    assert_eq!(used.is_healthy, Some(false));
}

#[tokio::test]
async fn a_container_is_on_all_of_its_networks_and_reached_on_the_first() {
    let Some(engine) = Engine::here() else { return };
    let node = node("networks");
    let networks = [format!("{node}-vpn"), format!("{node}-metrics")];
    for network in &networks {
        engine.make_network(network);
    }
    let driver =
        driver(DockerSettings { networks: networks.to_vec(), publish: Publish::Nowhere, ..settings(engine.image()) });
    let done = driver.act(&effect(Action::Switch, &node, 1)).await.expect("a switch");
    let told = engine.inspect(&format!("{node}.i1"));
    let on = told["NetworkSettings"]["Networks"].as_object().expect("networks");
    assert_eq!(on.len(), 2, "{on:?}");
    let ip = on[&networks[0]]["IPAddress"].as_str().expect("an address");
    assert_eq!(done.address, Some(format!("{ip}:8000")));
    assert_eq!(name_of(&done), format!("{node}.i1"));
    // A network cannot be removed while somebody is on it.
    driver.act(&effect(Action::Stop, &node, 2)).await.expect("a stop");
}

/// A way to the engine that is gone after so many requests, as a peer is that ends: the last one is done, and nobody hears of
/// that. Had it not been done, the engine would be as after the one before.
struct Cut {
    address: SocketAddr,
    asked: Arc<AtomicUsize>,
}

impl Cut {
    async fn after(requests: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                // The driver has a connection of its own for each request.
                let number = count.fetch_add(1, Ordering::SeqCst) + 1;
                tokio::spawn(async move {
                    if number > requests {
                        return;
                    }
                    let mut engine = UnixStream::connect(ENGINE).await.expect("an engine");
                    if number < requests {
                        let _ = copy_bidirectional(&mut client, &mut engine).await;
                    } else {
                        let (mut from_client, _to_client) = client.split();
                        let (mut answer, mut to_engine) = engine.split();
                        let mut unheard = tokio::io::sink();
                        // The engine ends its connection with the answer.
                        tokio::select! {
                            _ = tokio::io::copy(&mut answer, &mut unheard) => {}
                            _ = tokio::io::copy(&mut from_client, &mut to_engine) => {}
                        }
                    }
                });
            }
        });
        Self { address, asked }
    }

    /// Has a driver do this up to here.
    async fn act(&self, settings: DockerSettings, effect: &Effect) {
        let engine = format!("http://{}", self.address).parse().expect("an engine");
        // For so long it asks a way that is gone how its container is.
        let start_timeout = Duration::from_secs(8);
        let cut = driver(DockerSettings { engine, start_timeout, ..settings });
        cut.act(effect).await.expect_err("it is cut");
    }
}

/// Requests of a switch until its container is started: a ping, a list, the new container, a stop, the start, a look.
const REQUESTS_OF_A_SWITCH: usize = 6;
/// Those of an undo: a ping, a list, the end of the new one, the start of the old one, a look.
const REQUESTS_OF_AN_UNDO: usize = 5;

/// Whatever the peer was doing when it ended, what it is told again then does the rest.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_switch_that_was_cut_anywhere_is_completed_or_taken_back_when_it_is_told_again() {
    let Some(engine) = Engine::here() else { return };
    let engine = Arc::new(engine);
    let mut stories = JoinSet::new();
    for requests in 1..=REQUESTS_OF_A_SWITCH {
        let engine = Arc::clone(&engine);
        stories.spawn(async move {
            let node = node(&format!("cut-{requests}"));
            engine.run_first(&node, engine.image(), &["--publish", "127.0.0.1::8000"]);
            let settings = DockerSettings { stop_timeout: Duration::ZERO, ..settings(engine.image()) };
            let whole = driver(settings.clone());
            let switch = effect(Action::Switch, &node, 1);
            let again = Effect { again: true, ..switch.clone() };
            let undo = Effect { action: Action::Undo, ..again.clone() };

            let cut = Cut::after(requests).await;
            cut.act(settings.clone(), &switch).await;
            let asked = cut.asked.load(Ordering::SeqCst);
            // A container that is slow to start is not looked at any more.
            assert!(asked >= requests.min(REQUESTS_OF_A_SWITCH - 1), "the switch got as far as {asked} of {requests}");
            let done = whole.act(&again).await.expect("the same told again");
            assert_eq!(name_of(&done), format!("{node}.i1"));
            assert_eq!(engine.states(&node), format!("{node}-first exited, {node}.i1 running"));

            if requests <= REQUESTS_OF_AN_UNDO {
                Cut::after(requests).await.act(settings.clone(), &undo).await;
            }
            let done = whole.act(&undo).await.expect("an undo told again");
            assert_eq!(name_of(&done), "node");
            assert_eq!(engine.states(&node), format!("{node}-first running"));

            let second = Effect { intent: IntentId::of_revision(2), ..switch };
            Cut::after(requests).await.act(settings, &second).await;
            let done = whole.act(&Effect { action: Action::Undo, ..second }).await.expect("an undo of what was cut");
            assert_eq!(name_of(&done), "node");
            assert_eq!(engine.states(&node), format!("{node}-first running"));
        });
    }
    while let Some(story) = stories.join_next().await {
        story.expect("a story ends well");
    }
}

async fn usage_of(driver: &Docker, node: &str) -> Option<Usage> {
    let node: NodeId = node.parse().expect("a node");
    driver.usage().await.expect("the engine tells").into_iter().find(|used| used.node == node)
}

#[tokio::test]
async fn what_a_busy_node_uses_is_seen() {
    let Some(engine) = Engine::here() else { return };
    let node = node("busy");
    let driver = driver(settings(engine.image()));
    assert_eq!(usage_of(&driver, &node).await, None);
    let done = driver.act(&effect(Action::Switch, &node, 1)).await.expect("a switch");
    let first = usage_of(&driver, &node).await.expect("it runs");
    assert_eq!((first.cpu_percent, first.is_healthy), (None, None), "the first look, and no health check");
    let memory_mb = first.memory_mb.expect("it uses memory");
    assert!((0.1..1_000.0).contains(&memory_mb), "{memory_mb}");

    let address = done.address.expect("an address");
    name_at(&address);
    let mut stream = TcpStream::connect(&address).expect("the node listens");
    stream.set_read_timeout(Some(SILENCE_MAX)).expect("a socket");
    stream.write_all(b"GET /bytes/100000000000 HTTP/1.1\r\nHost: node\r\n\r\n").expect("a request");
    let client = stream.try_clone().expect("a socket");
    let reader = std::thread::spawn(move || std::io::copy(&mut stream, &mut std::io::sink()));
    let began = evenkeel::host::now();
    let mut most = 0.0_f64;
    while most < 10.0 {
        assert!(began.elapsed() < PATIENCE, "a node that writes without pause used {most} percent at most");
        let used = usage_of(&driver, &node).await.expect("it runs");
        most = most.max(used.cpu_percent.unwrap_or_default());
    }
    assert!(most < 250.0, "{most} percent of a core, by one thread");
    driver.act(&effect(Action::Stop, &node, 2)).await.expect("a stop");
    let _ = client.shutdown(Shutdown::Both);
    let _ = reader.join();
    assert_eq!(usage_of(&driver, &node).await, None);
}

#[tokio::test]
async fn an_engine_that_is_not_there_is_named_with_what_can_be_done() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let socket = folder.path().join("docker.sock");
    let at = |socket: &Path| {
        let engine = socket.to_str().expect("a path").parse().expect("an engine");
        driver(DockerSettings { engine, ..settings("image") })
    };
    for action in [Action::Switch, Action::Finish, Action::Undo, Action::Start, Action::Stop] {
        let failed = at(&socket).act(&effect(action, "us-1", 1)).await.expect_err("nobody listens");
        let said = format!("{action} of node us-1 cannot be done: the docker engine at unix://{}", socket.display());
        assert!(failed.why.starts_with(&said) && failed.why.contains("does it run"), "{}", failed.why);
    }
    assert!(at(&socket).usage().await.is_err());
}
