//! What the driver says and does where an engine is no good one: each story has an engine of its own, which answers as it likes.
//!
//! What a good one does is told in `cluster-tests/tests/docker_driver.rs`, by a real one.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::{Docker, DockerSettings};
use crate::driver::effect::{Action, Done, Driver, Effect, Failed, NodeAt, ServerAt, Usage};
use crate::host;
use crate::model::{IntentId, NodeAddress, Term};

/// An effect on node `us-1`.
pub(super) fn effect(action: Action, revision: u64) -> Effect {
    Effect {
        action,
        intent: IntentId::of_revision(revision),
        term: Term::new(3).unwrap(),
        node: NodeAt {
            id: "us-1".parse().unwrap(),
            pool: "exits".parse().unwrap(),
            region: "us".parse().unwrap(),
            address: Some("10.0.0.9:8000".to_owned()),
        },
        from: None,
        to: None,
        again: false,
    }
}

pub(super) fn server(id: &str, address: &str, labels: &[(&str, &str)]) -> ServerAt {
    ServerAt {
        id: id.parse().unwrap(),
        address: address.to_owned(),
        labels: labels.iter().map(|&(name, text)| (name.into(), text.into())).collect(),
    }
}

/// What an engine does with a request.
enum Answer {
    /// It answers.
    Json(u16, Value),
    /// It sends these bytes and closes.
    Bytes(Vec<u8>),
    /// It sends these bytes again and again.
    Endless(&'static [u8]),
    /// It keeps silent. From then on time passes by itself, so that a story of a minute takes none.
    Silence,
}

/// An engine of a test.
struct Engine {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
}

/// What an engine answers to a ping.
fn pong(version: &str) -> Answer {
    let head = format!("HTTP/1.1 200 OK\r\nApi-Version: {version}\r\nContent-Length: 2\r\n\r\nOK");
    Answer::Bytes(head.into_bytes())
}

impl Engine {
    /// One that answers `METHOD path` like this, and how often that was asked before. Paths come without the version, and pings of
    /// engines that do not care are answered.
    async fn start(answer: impl Fn(&str, usize) -> Option<Answer> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&asked);
        let answer = Arc::new(answer);
        tokio::spawn(async move {
            let mut counts: HashMap<String, usize> = HashMap::new();
            while let Ok((mut stream, _)) = listener.accept().await {
                let Some(line) = request_line(&mut stream).await else { continue };
                let mut words = line.split(' ');
                let (method, target) = (words.next().unwrap(), words.next().unwrap());
                log.lock().unwrap().push(format!("{method} {target}"));
                let path = target.split('?').next().unwrap();
                let path = if path.starts_with("/v1.") { &path[path[1..].find('/').unwrap() + 1..] } else { path };
                let asked = format!("{method} {path}");
                let before = counts.entry(asked.clone()).or_default();
                let answer = answer(&asked, *before).or_else(|| (asked == "GET /_ping").then(|| pong("1.41")));
                *before += 1;
                tokio::spawn(give(
                    stream,
                    answer.unwrap_or_else(|| Answer::Json(500, json!({"message": "not in this story"}))),
                ));
            }
        });
        Self { address, asked }
    }

    fn settings(&self) -> DockerSettings {
        let engine = format!("http://{}", self.address).parse().unwrap();
        DockerSettings { engine, stop_timeout: Duration::from_secs(1), ..DockerSettings::of_image("exit-node", 8000) }
    }

    async fn act(&self, effect: &Effect) -> Result<Done, Failed> {
        Docker::new(self.settings()).unwrap().act(effect).await
    }

    /// What was asked, without the version.
    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

async fn request_line(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    let mut buffer = [0; 4096];
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        let read = stream.read(&mut buffer).await.ok().filter(|&read| read > 0)?;
        head.extend_from_slice(&buffer[..read]);
    }
    String::from_utf8(head).unwrap().lines().next().map(str::to_owned)
}

async fn give(mut stream: TcpStream, answer: Answer) {
    match answer {
        Answer::Json(status, body) => {
            let body = body.to_string();
            let head = format!("HTTP/1.1 {status} Status\r\nContent-Length: {}\r\n\r\n", body.len());
            let _ = stream.write_all((head + &body).as_bytes()).await;
        }
        Answer::Bytes(bytes) => {
            let _ = stream.write_all(&bytes).await;
        }
        Answer::Endless(bytes) => {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nApi-Version: 1.41\r\n\r\n").await;
            let many = bytes.repeat(64 * 1024 / bytes.len());
            while stream.write_all(&many).await.is_ok() {}
        }
        Answer::Silence => {
            tokio::time::pause();
            std::future::pending::<()>().await;
        }
    }
    // What is unread at the close would reset the connection.
    let _ = stream.shutdown().await;
    let _ = stream.read(&mut [0; 64]).await;
}

const LIST: &str = "GET /containers/json";
const CREATE: &str = "POST /containers/create";
/// Ids of containers.
const NEW: &str = "aaaaaaaaaaaa";
const OLD: &str = "bbbbbbbbbbbb";

fn listed(id: &str, node: &str, intent: Option<&str>, state: &str) -> Value {
    let mut labels = json!({"evenkeel.node": node});
    if let Some(intent) = intent {
        labels["evenkeel.intent"] = json!(intent);
    }
    json!({"Id": id, "Names": [format!("/{node}.{}", intent.unwrap_or("first"))], "Labels": labels, "State": state, "Created": 1})
}

fn inspected(id: &str, state: &Value) -> Answer {
    let labels = json!({"evenkeel.node": "us-1", "evenkeel.intent": "i42"});
    let networks = json!({"Networks": {"bridge": {"IPAddress": "172.17.0.2"}}});
    Answer::Json(200, json!({"Id": id, "State": state, "Config": {"Labels": labels}, "NetworkSettings": networks}))
}

fn healthy() -> Value {
    json!({"Status": "running", "Running": true, "Health": {"Status": "healthy"}})
}

/// An engine on which a switch goes well; `other` may have another answer.
async fn good(other: impl Fn(&str, usize) -> Option<Answer> + Send + Sync + 'static) -> Engine {
    Engine::start(move |asked, before| {
        other(asked, before).or_else(|| match asked {
            LIST => Some(Answer::Json(200, json!([listed(OLD, "us-1", None, "running")]))),
            CREATE => Some(Answer::Json(201, json!({"Id": NEW, "Warnings": []}))),
            "POST /containers/bbbbbbbbbbbb/stop" | "POST /containers/aaaaaaaaaaaa/start" => {
                Some(Answer::Bytes(b"HTTP/1.1 204 No Content\r\n\r\n".to_vec()))
            }
            "GET /containers/aaaaaaaaaaaa/json" => Some(inspected(NEW, &healthy())),
            _ => None,
        })
    })
    .await
}

/// The switch fails, in one line that names the engine and holds this.
async fn fails(engine: &Engine, said: &str) {
    let failed = engine.act(&effect(Action::Switch, 42)).await.expect_err(said);
    assert!(failed.why.contains(said), "{said}: {}", failed.why);
    assert!(failed.why.contains(&format!("http://{}", engine.address)), "{}", failed.why);
    assert!(!failed.why.chars().any(char::is_control) && failed.why.chars().count() < 2_000, "{}", failed.why);
}

/// What is asked on the way of a switch, one after the other.
const STEPS: [&str; 6] = [
    "GET /_ping",
    LIST,
    CREATE,
    "POST /containers/bbbbbbbbbbbb/stop",
    "POST /containers/aaaaaaaaaaaa/start",
    "GET /containers/aaaaaaaaaaaa/json",
];

#[tokio::test]
async fn an_engine_that_keeps_silent_at_any_step_is_given_up_within_the_time_of_that_step() {
    for step in STEPS {
        let engine = good(move |asked, _| (asked == step).then_some(Answer::Silence)).await;
        let began = host::now();
        let last = STEPS.last() == Some(&step);
        fails(&engine, if last { "it is not there after 60 s" } else { "did not answer within" }).await;
        // A container may take 60 s to start; so may an engine to make one.
        assert!(began.elapsed() <= Duration::from_secs(75), "{step}: {:?}", began.elapsed());
        tokio::time::resume();
    }
}

#[tokio::test]
async fn an_engine_that_breaks_off_or_sends_rubbish_at_any_step_is_an_error() {
    let rubbish: [(&str, &[u8]); 4] = [
        ("did not answer as one does", b""),
        ("did not answer as one does", b"SSH-2.0-OpenSSH_9.2\r\n"),
        ("did not answer as one does", b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n[{"),
        ("answered 503: \\u{1b}[31m over there", b"HTTP/1.1 503 Busy\r\n\r\n\"\\u{1b}[31m\nover there"),
    ];
    // The last step is asked again until its time is over.
    for step in &STEPS[..5] {
        for (said, bytes) in rubbish {
            let engine = good(move |asked, _| (asked == *step).then(|| Answer::Bytes(bytes.to_vec()))).await;
            let no_body = step.ends_with("stop") || step.ends_with("start");
            if *step == "GET /_ping" && said.starts_with("answered") {
                fails(&engine, "answered 503: to a ping; is it an engine that listens there?").await;
            } else if *step == "GET /_ping" && bytes.starts_with(b"HTTP") {
                fails(&engine, "names no version of its API").await;
            } else if no_body && bytes.starts_with(b"HTTP/1.1 200") {
                engine.act(&effect(Action::Switch, 42)).await.expect("nobody reads what it says of that");
            } else {
                fails(&engine, if said.starts_with("answered") { "answered 503: " } else { said }).await;
            }
        }
    }
}

#[tokio::test]
async fn an_answer_without_end_is_cut_off() {
    for (step, bytes) in [("GET /_ping", &b"x: y\r\n"[..]), (LIST, &b"[ "[..]), (CREATE, &b"{\"Id\": \""[..])] {
        let engine = good(move |asked, _| (asked == step).then_some(Answer::Endless(bytes))).await;
        let outcome = engine.act(&effect(Action::Switch, 42)).await;
        // Nobody reads what comes after the head of a ping.
        assert_eq!(outcome.is_ok(), step == "GET /_ping", "{outcome:?}");
        if let Err(failed) = outcome {
            assert!(failed.why.contains("it answers with more than 16777216 bytes"), "{}", failed.why);
        }
    }
    let endless_head = Engine::start(|_, _| {
        let mut bytes = b"HTTP/1.1 200 OK\r\n".to_vec();
        bytes.extend(b"X-Field: value\r\n".repeat(1_000_000));
        Some(Answer::Bytes(bytes))
    });
    fails(&endless_head.await, "did not answer as one does").await;
}

#[tokio::test]
async fn an_answer_that_is_none_of_an_engine_is_an_error() {
    for (step, body, said) in [
        (LIST, json!({"not": "a list"}), "did not answer as one does"),
        (LIST, json!([{"Id": 7}]), "did not answer as one does"),
        (CREATE, json!({"Id": "../../images", "Warnings": []}), "the id of a new container is none"),
        (CREATE, json!(null), "did not answer as one does"),
        ("GET /containers/aaaaaaaaaaaa/json", json!({"Id": "../x"}), "it tells nothing of a container that it has"),
    ] {
        let engine = good(move |asked, _| (asked == step).then(|| Answer::Json(200, body.clone()))).await;
        if step.ends_with("/json") && step != LIST {
            tokio::time::pause();
        }
        fails(&engine, said).await;
    }
}

#[tokio::test]
async fn containers_that_an_engine_lists_for_another_node_are_not_touched() {
    let engine = good(|asked, _| {
        let all = json!([
            listed("cccccccccccc", "us-2", Some("i7"), "running"),
            listed("dddddddddddd", "us-10", None, "running"),
            {"Id": "eeeeeeeeeeee", "Names": ["/database"], "Labels": {}, "State": "running"},
            {"Id": "ffffffffffff", "Names": null, "Labels": null, "State": null},
        ]);
        (asked == LIST).then(|| Answer::Json(200, all))
    })
    .await;
    engine.act(&effect(Action::Switch, 42)).await.expect("a switch");
    engine.act(&effect(Action::Stop, 43)).await.expect("a stop of nothing");
    let asked = engine.asked();
    for other in ["cccccccccccc", "dddddddddddd", "eeeeeeeeeeee", "ffffffffffff"] {
        assert!(!asked.iter().any(|asked| asked.contains(other)), "{asked:?}");
    }
}

#[tokio::test]
async fn more_containers_of_a_node_than_can_be_are_told_of_and_not_touched() {
    let engine = good(|asked, _| {
        let many: Vec<Value> =
            (0..65).map(|number| listed(&format!("c{number}"), "us-1", Some("i7"), "exited")).collect();
        (asked == LIST).then(|| Answer::Json(200, json!(many)))
    })
    .await;
    fails(&engine, "more than 64 containers have the label evenkeel.node=us-1").await;
    assert_eq!(engine.asked().len(), 2, "a ping and a list");
}

#[tokio::test]
async fn the_version_of_the_api_is_the_lower_one_of_both() {
    for (told, spoken) in [("1.41", "/v1.41/"), ("1.99", "/v1.53/"), ("2.0", "/v1.53/"), ("1.9", "/v1.9/")] {
        let engine = good(move |asked, _| (asked == "GET /_ping").then(|| pong(told))).await;
        engine.act(&effect(Action::Switch, 42)).await.expect("a switch");
        assert!(engine.asked()[1].starts_with(&format!("GET {spoken}")), "{:?}", engine.asked());
    }
    for odd in ["", "1", "one.two", "-1.41"] {
        fails(&good(move |asked, _| (asked == "GET /_ping").then(|| pong(odd))).await, "names no version").await;
    }
}

#[tokio::test]
async fn an_image_is_fetched_once_where_that_is_asked_for() {
    let missing = || Answer::Json(404, json!({"message": "No such image: exit-node:latest"}));
    let fetched = |told: &'static str| {
        good(move |asked, before| match asked {
            CREATE if before == 0 => Some(missing()),
            "GET /images/exit-node/json" => Some(missing()),
            "POST /images/create" => Some(Answer::Bytes(format!("HTTP/1.1 200 OK\r\n\r\n{told}").into_bytes())),
            _ => None,
        })
    };
    let engine = fetched("{\"status\":\"Pulling\"}\r\n{\"status\":\"Done\"}\r\n").await;
    fails(&engine, "has no image exit-node; pull it on this machine, or set pull = true").await;

    let engine = fetched("{\"status\":\"Pulling\"}\r\n{\"status\":\"Done\"}\r\n").await;
    let driver = Docker::new(DockerSettings { pull: true, ..engine.settings() }).unwrap();
    driver.act(&effect(Action::Switch, 42)).await.expect("a switch with an image that was fetched");
    let pulls: Vec<String> = engine.asked().into_iter().filter(|asked| asked.contains("/images/create")).collect();
    assert_eq!(pulls.len(), 1);
    assert!(pulls[0].contains("fromImage=exit-node") && pulls[0].contains("tag=latest"), "not every tag: {pulls:?}");

    let engine = fetched("{\"errorDetail\":{\"message\":\"denied\"},\"error\":\"denied\"}\r\n").await;
    let driver = Docker::new(DockerSettings { pull: true, ..engine.settings() }).unwrap();
    let failed = driver.act(&effect(Action::Switch, 42)).await.expect_err("nobody may have it");
    assert!(
        failed.why.contains("its image exit-node cannot be pulled") && failed.why.contains("denied"),
        "{}",
        failed.why
    );
    assert!(!engine.asked().iter().any(|asked| asked.contains("/stop")), "nothing was stopped for it");
}

#[tokio::test]
async fn a_name_that_is_taken_is_fine_where_the_container_is_the_one_that_was_to_be_made() {
    let taken =
        || Answer::Json(409, json!({"message": "Conflict. The container name \"/us-1.i42\" is already in use"}));
    let engine = good(move |asked, _| match asked {
        CREATE => Some(taken()),
        "GET /containers/us-1.i42/json" => Some(inspected(NEW, &json!({"Status": "created"}))),
        _ => None,
    });
    let done = engine.await.act(&effect(Action::Switch, 42)).await.expect("somebody asked for it before");
    assert_eq!(done.address.as_deref(), Some("172.17.0.2:8000"));
    let engine = good(move |asked, _| match asked {
        CREATE => Some(taken()),
        "GET /containers/us-1.i42/json" => {
            Some(Answer::Json(200, json!({"Id": NEW, "State": {"Status": "running"}, "Config": {"Labels": null}})))
        }
        _ => None,
    });
    fails(&engine.await, "another of that name, which was not made for node us-1 and plan i42").await;
}

#[tokio::test]
async fn what_is_never_well_is_given_up_when_its_time_is_over() {
    let waits = |state: Value| {
        good(move |asked, _| (asked == "GET /containers/aaaaaaaaaaaa/json").then(|| inspected(NEW, &state)))
    };
    for (state, said) in [
        (json!({"Status": "running", "Health": {"Status": "unhealthy"}}), "it is unhealthy"),
        (json!({"Status": "exited", "ExitCode": 137, "OOMKilled": true}), "it was ended for want of memory"),
        (json!({"Status": "exited", "ExitCode": 3}), "it ended with exit code 3; its log is empty or cannot be read"),
    ] {
        fails(&waits(state).await, said).await;
    }
    for (state, said) in [
        (json!({"Status": "running", "Health": {"Status": "starting"}}), "its health check says that it is starting"),
        (json!({"Status": "restarting"}), "it ends and is started again"),
        (json!({"Status": "paused"}), "it is paused"),
    ] {
        let engine = waits(state).await;
        let settings = DockerSettings { start_timeout: Duration::from_secs(2), ..engine.settings() };
        let failed = Docker::new(settings).unwrap().act(&effect(Action::Switch, 42)).await.expect_err(said);
        assert!(failed.why.contains("it is not there after 2 s") && failed.why.contains(said), "{}", failed.why);
    }
    let gone = good(|asked, _| {
        let looked = asked == "GET /containers/aaaaaaaaaaaa/json";
        looked.then(|| Answer::Json(404, json!({"message": "No such container"})))
    });
    let failed = gone.await.act(&effect(Action::Switch, 42)).await.expect_err("it is gone");
    assert!(failed.why.contains("while it was awaited"), "{}", failed.why);
}

#[tokio::test]
async fn a_container_that_somebody_else_removes_is_waited_for() {
    let engine = Engine::start(|asked, before| match asked {
        LIST => Some(Answer::Json(200, json!([listed(OLD, "us-1", Some("i1"), "removing")]))),
        "DELETE /containers/bbbbbbbbbbbb" => {
            Some(Answer::Json(409, json!({"message": "removal of container is already in progress"})))
        }
        "GET /containers/bbbbbbbbbbbb/json" if before < 2 => Some(inspected(OLD, &json!({"Status": "removing"}))),
        "GET /containers/bbbbbbbbbbbb/json" => Some(Answer::Json(404, json!({"message": "No such container"}))),
        _ => None,
    });
    let engine = engine.await;
    let done = engine.act(&effect(Action::Stop, 42)).await.expect("it is gone in the end");
    assert_eq!(done.note, "us-1.i1 removed");
}

#[tokio::test]
async fn what_nodes_use_is_told_in_time_even_where_an_engine_tells_only_half_of_it() {
    let cpu = json!({"cpu_usage": {"total_usage": 1}, "system_cpu_usage": 1, "online_cpus": 2});
    let engine = Engine::start(move |asked, _| match asked {
        LIST => Some(Answer::Json(
            200,
            json!([
                listed("a1", "us-1", Some("i1"), "running"),
                listed("a2", "us-1", Some("i2"), "running"),
                listed("b1", "us-2", None, "running"),
                listed("c1", "us-3", None, "exited"),
                {"Id": "d1", "Names": ["/d1"], "Labels": {"evenkeel.node": "us-4"}, "State": "running", "Health": {"Status": "healthy"}},
            ]),
        )),
        "GET /containers/a2/stats" => {
            Some(Answer::Json(200, json!({"cpu_stats": cpu, "memory_stats": {"usage": 2_500_000}})))
        }
        "GET /containers/b1/stats" => Some(Answer::Silence),
        _ => None,
    });
    let engine = engine.await;
    let began = host::now();
    let used = Docker::new(engine.settings()).unwrap().usage().await.expect("a list");
    assert!(began.elapsed() < Duration::from_secs(6), "{:?}", began.elapsed());
    let told: Vec<(&str, Option<f64>, Option<bool>)> =
        used.iter().map(|Usage { node, memory_mb, is_healthy, .. }| (node.as_str(), *memory_mb, *is_healthy)).collect();
    assert_eq!(told, [("us-1", Some(2.5), None), ("us-2", None, None), ("us-4", None, Some(true))]);
    assert!(!engine.asked().iter().any(|asked| asked.contains("/a1/")), "only the later container of a node");
}

#[tokio::test]
async fn an_engine_that_tells_no_list_is_a_failure_of_the_whole_look() {
    let engine = Engine::start(|asked, _| (asked == LIST).then_some(Answer::Silence)).await;
    let failed = Docker::new(engine.settings()).unwrap().usage().await.expect_err("silence");
    assert!(failed.why.contains("did not answer within 5 s"), "{}", failed.why);
}

#[tokio::test]
async fn a_server_is_probed_by_a_connection_where_its_address_has_a_port() {
    let driver = Docker::new(DockerSettings::of_image("exit-node", 8000)).unwrap();
    let probe = async |server: Option<ServerAt>| driver.act(&Effect { to: server, ..effect(Action::Probe, 42) }).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    for host in ["127.0.0.1", "localhost"] {
        let done = probe(Some(server("vpn-3", &format!("{host}:{port}"), &[]))).await.expect("it listens");
        assert_eq!(done.note, format!("server vpn-3 takes connections at {host}:{port}"));
    }
    drop(listener);
    let failed = probe(Some(server("vpn-3", &format!("127.0.0.1:{port}"), &[]))).await.expect_err("nobody listens");
    assert!(
        failed.why.starts_with(&format!("server vpn-3 at 127.0.0.1:{port} cannot be connected to: ")),
        "{}",
        failed.why
    );
    for (server, why) in [(Some(server("vpn-3", "127.0.0.1", &[])), "has no port"), (None, "the plan has no server")] {
        let done = probe(server).await.expect("there is nothing to ask");
        assert!(done.note.starts_with("nothing was asked: ") && done.note.contains(why), "{}", done.note);
    }
}

#[tokio::test]
async fn a_server_that_keeps_silent_is_given_up_after_three_seconds() {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    socket.listen(0).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    // One waits to be accepted for ever; whoever comes later is not answered.
    let _waits = TcpStream::connect(address).await.unwrap();
    let probe = Effect { to: Some(server("vpn-3", &address.to_string(), &[])), ..effect(Action::Probe, 42) };
    let driver = Docker::new(DockerSettings::of_image("exit-node", 8000)).unwrap();
    tokio::time::pause();
    let began = host::now();
    let failed = driver.act(&probe).await.expect_err("nobody answers");
    assert!(failed.why.ends_with("no answer within 3 s"), "{}", failed.why);
    assert!(began.elapsed() < Duration::from_secs(4));
}

#[test]
fn an_address_of_a_node_is_one() {
    for address in ["127.0.0.1:32768", "[fd00::2]:8000"] {
        assert_eq!(
            address.parse::<SocketAddr>().unwrap().to_string().parse::<NodeAddress>().unwrap().to_string(),
            address
        );
    }
}
