//! Nodes that are containers of a real engine: moved when one dies, started and stopped by what there is to do.

use std::fmt::Write as _;
use std::time::Duration;

use cluster_tests::api::{Api, Request};
use cluster_tests::docker::Engine;
use cluster_tests::load::{Load, Plan, failures};
use cluster_tests::peer::Peer;
use cluster_tests::report;
use cluster_tests::settings::{Pool, Settings};
use cluster_tests::wait::{PATIENCE, wait_for, wait_until};
use serde_json::{Value, json};

/// Starting a container takes an engine a while on a busy machine.
const ENGINE_PATIENCE: Duration = Duration::from_secs(60);

/// The file of a peer whose nodes are containers of this image. `node`: the id of the first, and where it is.
fn settings(image: &str, pool: Pool, more: &str) -> String {
    let mut text = Settings::default().serve("http", pool).evenkeel_toml();
    write!(
        text,
        "\n[[driver]]\nname = \"exits\"\ntype = \"docker\"\nimage = {image:?}\nport = 8000\npublish = \"127.0.0.1\"\nstop_timeout = \"1s\"\n\
         command = [\"--name\", \"{{node}}.{{intent}}\", \"--listen\", \"0.0.0.0:8000\"]\n\
         {more}"
    )
    .expect("a string takes everything");
    text
}

fn start(text: &str) -> Peer {
    Peer::start_file(text, &[])
}

fn post(peer: &Peer, path: &str, body: Value) -> (u16, Value) {
    let api = Api { address: peer.api(), namespace: None };
    let said = api.ask(&Request::write("POST", path, body), PATIENCE).expect("an answer");
    (said.status, said.json)
}

/// The plans that are over, the newest first, once there are so many and none is under way.
fn wait_attempts(peer: &Peer, count: usize) -> Vec<Value> {
    let over = || {
        let status = peer.json("/api/v1/failover");
        let attempts = status["attempts"].as_array()?.clone();
        (attempts.len() >= count && status["plans"].as_array()?.is_empty()).then_some(attempts)
    };
    wait_for("the plan to be over", ENGINE_PATIENCE, over).0
}

/// Where an operator's own container of a node listens.
fn address_of(engine: &Engine, container: &str) -> String {
    let ip = engine.inspect(container)["NetworkSettings"]["IPAddress"].as_str().expect("an address").to_owned();
    format!("{ip}:8000")
}

#[test]
fn a_node_whose_container_dies_is_served_by_another_one_on_another_server() {
    let Some(engine) = Engine::here() else { return };
    let id = format!("us-{}", std::process::id());
    let first = engine.run_first(&id, engine.image(), &[]);
    let mut pool = Pool::new("exits").checked_fast().line("failover = { driver = \"exits\", cooldown = \"0s\" }");
    pool = pool.node(&address_of(&engine, &first), &["region = \"us\"", "server = \"us-a\""]);
    pool.nodes[0].id.clone_from(&id);
    let servers = ["us-a", "us-b"]
        .map(|server| format!("[[server]]\nid = \"{server}\"\nregion = \"us\"\naddress = \"{server}.example\"\n"));
    let more = format!("environment = {{ VPN_SERVER = \"{{server.host}}\" }}\n{}", servers.concat());
    let peer = start(&settings(engine.image(), pool, &more));
    let node = format!("/api/v1/nodes/{id}");
    wait_until("the node", || peer.json(&node)["state"]["verdict"] == "up");
    wait_until("the driver to be known", || {
        let (_, said) = post(&peer, &format!("{node}/move"), json!({ "to": "us-a" }));
        said["error"]["against"]["constraint"] == "candidates"
    });
    engine.kill(&first);
    let attempts = wait_attempts(&peer, 1);
    assert_eq!(attempts[0]["outcome"], "done", "{}", attempts[0]);
    assert_eq!((&attempts[0]["from"], &attempts[0]["to"]), (&json!("us-a"), &json!("us-b")));
    let shown = peer.json(&node);
    assert_eq!((&shown["server"], &shown["state"]["verdict"]), (&json!("us-b"), &json!("up")), "{shown}");
    let intent = attempts[0]["intent"].as_str().expect("an intent");
    assert_eq!(engine.states(&id), format!("{id}.{intent} running"), "one is left, and the one before is gone");
    let load = Load::start(&Plan::get(peer.listener("exits"), 50));
    wait_until("traffic", || load.count() > 50);
    assert_eq!(failures(&load.stop(), 5), [""; 0]);
    report::figure("steps of the move", &attempts[0]["steps"]);
}

#[test]
fn nodes_are_started_at_the_threshold_and_stopped_when_there_is_nothing_to_do() {
    let Some(engine) = Engine::here() else { return };
    let id = format!("sc-{}", std::process::id());
    let first = engine.run_first(&id, engine.image(), &[]);
    let pool_name = format!("scaled-{}", std::process::id());
    let mut pool = Pool::new(&pool_name).checked_fast();
    pool = pool.line(
        "scaling = { driver = \"exits\", max_nodes = 2, connections = { up = 4, down = 1 }, down_for = \"2s\", cooldown_out = \"1s\", \
         cooldown_in = \"1s\", drain_timeout = \"20s\" }",
    );
    pool = pool.node(&address_of(&engine, &first), &["region = \"us\""]);
    pool.nodes[0].id.clone_from(&id);
    let peer = start(&settings(engine.image(), pool, ""));
    let nodes = || {
        let list = peer.json("/api/v1/nodes");
        list["items"].as_array().map_or(0, Vec::len)
    };
    wait_until("the node", || peer.json(&format!("/api/v1/nodes/{id}"))["state"]["verdict"] == "up");
    // Each is under way for a second, so eight a second are eight at once.
    let slow = "GET /delay/1000 HTTP/1.1\r\nHost: test\r\n\r\n".to_owned();
    let plan = |rate| Plan { request: slow.clone(), clients: 16, ..Plan::get(peer.listener(&pool_name), rate) };
    let load = Load::start(&plan(8));
    wait_for("another node", ENGINE_PATIENCE, || (nodes() == 2).then_some(()));
    let started = wait_attempts(&peer, 1).remove(0);
    assert_eq!((&started["plan"], &started["outcome"]), (&json!("start"), &json!("done")), "{started}");
    assert_eq!(started["trigger"], "load_high");
    assert_eq!(failures(&load.stop(), 5), [""; 0]);
    wait_for("it to be stopped again", ENGINE_PATIENCE, || (nodes() == 1).then_some(()));
    let stopped = wait_attempts(&peer, 2).remove(0);
    assert_eq!((&stopped["plan"], &stopped["outcome"]), (&json!("stop"), &json!("done")), "{stopped}");
    let steps: Vec<&str> =
        stopped["steps"].as_array().expect("steps").iter().filter_map(|step| step["step"].as_str()).collect();
    assert_eq!(steps, ["drain", "act"], "drained before it is stopped");
    let gone = started["node"].as_str().expect("a node");
    assert_eq!(engine.states(gone), "");
    assert_eq!(engine.states(&id).matches("running").count(), 1, "what users wrote stays");
}
