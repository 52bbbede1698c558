//! Nodes whose server dies are moved to another one, by whoever leads, once.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use cluster_tests::api::Request;
use cluster_tests::cluster::{Cluster, Shape, Special};
use cluster_tests::load::{Load, Plan, failures};
use cluster_tests::report;
use cluster_tests::wait::{PATIENCE, wait_for, wait_until, wait_until_async};
use evenkeel::driver::{Action, Answer, Order};
use evenkeel::link::{Channel, Identity, Link, LinkState, Protocols, QuicLink, Settings, Timing, To, TrustSource};
use evenkeel::model::PeerId;
use evenkeel::wire::{Query, QueryAnswer};
use serde_json::{Value, json};

const HEALTH: &str =
    "{ type = \"http\", path = \"/health\", interval = \"250ms\", timeout = \"500ms\", rise = 1, fall = 2 }";
/// Where spares are: the host of clients of a cluster of three peers and one node.
const SPARES: &str = "10.77.0.5";

const SERVERS: &str = "
[[server]]
id = \"s-0\"
region = \"default\"
address = \"10.77.0.4:9000\"
[[server]]
id = \"s-1\"
region = \"default\"
address = \"10.77.0.5:9100\"
[[server]]
id = \"s-2\"
region = \"default\"
address = \"10.77.0.5:9101\"
[[server]]
id = \"s-3\"
region = \"default\"
address = \"10.77.0.5:9102\"
";

/// Three peers, and one node on the first of four servers.
fn cluster(failover: &'static str, sections: Option<fn(usize) -> String>) -> Option<Cluster> {
    let shape = Shape { peers: 3, nodes: 1, preset: "lan", health: Some(HEALTH) };
    let special = Special {
        node_lines: vec!["server = \"s-0\""],
        pool_lines: vec![failover],
        catalog: SERVERS,
        spares: 3,
        sections,
        ..Special::default()
    };
    let cluster = Cluster::start_special(shape, special)?;
    cluster.wait_led(&[0, 1, 2]);
    cluster.wait_founded();
    cluster.wait_agreed(PATIENCE);
    Some(cluster)
}

fn status(cluster: &Cluster) -> Value {
    let peer = cluster.running()[0];
    cluster.json(peer, "/api/v1/failover")
}

/// The plans that are over, the newest first.
fn attempts(cluster: &Cluster) -> Vec<Value> {
    status(cluster)["attempts"].as_array().cloned().unwrap_or_default()
}

fn wait_attempts(cluster: &Cluster, count: usize) -> Vec<Value> {
    let over = || {
        let status = status(cluster);
        let attempts = status["attempts"].as_array()?;
        (attempts.len() >= count && status["plans"].as_array()?.is_empty()).then(|| attempts.clone())
    };
    wait_for("the plan to be over", PATIENCE, over).0
}

fn force(cluster: &Cluster, peer: usize, body: Value) -> (u16, Value) {
    let said = cluster.send(peer, &Request::write("POST", "/api/v1/nodes/web-1/move", body));
    (said.status, said.json)
}

#[test]
fn a_node_whose_server_dies_is_in_use_on_another_one_and_any_peer_tells_why() {
    let Some(mut cluster) = cluster("failover = { driver = \"static\", cooldown = \"0s\" }", None) else { return };
    let load = cluster.client().within(|| Load::start(&Plan::get(cluster.traffic(2), 50)));
    wait_until("traffic", || load.count() > 50);
    // The best that is left does not answer, and one is not to be used.
    cluster.kill_spare(0);
    let said = cluster.send(1, &Request::write("POST", "/api/v1/servers/s-2/blacklist", json!({ "reason": "slow" })));
    assert_eq!(said.status, 200, "{:?}", said.json);
    cluster.kill_node(0);
    let (_, took) = wait_for("it to be served from another server", PATIENCE, || {
        let node = cluster.json(2, "/api/v1/nodes/web-1");
        (node["server"] == "s-3" && node["state"]["verdict"] == "up").then_some(())
    });
    let count = load.count();
    wait_until("traffic again", || load.count() > count + 100);
    let outcomes = load.stop();
    let last: Vec<_> = outcomes.into_iter().rev().take(50).collect();
    assert_eq!(failures(&last, 5), [""; 0]);
    report::figure("death of the server to its node in use on another", format!("{took:?}"));

    let attempt = &wait_attempts(&cluster, 1)[0];
    assert_eq!(attempt["outcome"], "done");
    assert_eq!(attempt["address"], format!("{SPARES}:9102"));
    assert_eq!(attempt["trigger"], "verdict_down");
    let found: BTreeMap<&str, &str> = attempt["candidates"]
        .as_array()
        .expect("candidates")
        .iter()
        .filter_map(|of| Some((of["server"].as_str()?, of["found"].as_str()?)))
        .collect();
    assert!(found["s-1"].contains("refused"), "{found:?}");
    assert_eq!(found["s-2"], "blacklisted: slow");
    assert!(found["s-3"].starts_with("chosen: "), "{found:?}");
    for peer in 0..3 {
        let events = cluster.json(peer, "/api/v1/events?node=web-1");
        let kinds: Vec<&str> =
            events["items"].as_array().expect("a list").iter().filter_map(|event| event["kind"].as_str()).collect();
        assert_eq!(kinds, ["plan_begun", "plan_ended"], "at peer {peer}: {events}");
        assert_eq!(events["items"][1]["outcome"], "done");
        assert!(events["items"][1]["steps"][0]["term"].as_u64() >= Some(1));
    }
}

#[test]
fn a_fourth_move_within_an_hour_is_refused_with_the_reason_at_any_peer() {
    let Some(cluster) = cluster("failover = { cooldown = \"0s\" }", None) else { return };
    for (number, peer) in [0, 1, 2].into_iter().enumerate() {
        let (status, said) = force(&cluster, peer, json!({}));
        assert_eq!(status, 202, "{said}");
        let attempts = wait_attempts(&cluster, number + 1);
        assert_eq!(attempts[0]["outcome"], "done", "{}", attempts[0]);
    }
    let (status, said) = force(&cluster, 1, json!({}));
    assert_eq!(status, 409);
    assert_eq!(said["error"]["code"], "refused");
    assert_eq!(said["error"]["against"]["constraint"], "moves_per_hour", "{said}");
    assert!(
        said["error"]["message"].as_str().is_some_and(|words| words.contains("3 times in the last hour")),
        "{said}"
    );
    let events = cluster.json(0, "/api/v1/events?kind=plan_refused");
    assert_eq!(events["items"][0]["constraint"], "moves_per_hour", "{events}");
    let (status, said) = force(&cluster, 1, json!({ "ignore_limits": true }));
    assert_eq!(status, 202, "{said}");
}

/// The commands of `exec` write here what they are asked, a folder a peer and story. The harness names a story's thread after it.
fn journal(peer: usize) -> PathBuf {
    let story = std::thread::current().name().unwrap_or("story").to_owned();
    std::env::temp_dir().join(format!("evenkeel-{story}-{}-{peer}", std::process::id()))
}

/// A driver that writes down what it begins and ends, and takes its time over it.
fn exec(peer: usize) -> String {
    let journal = journal(peer);
    std::fs::create_dir_all(&journal).expect("a temporary folder");
    let script = journal.join("driver");
    let text = format!(
        "#!/usr/bin/python3\nimport json, os, sys, time\nask = json.load(sys.stdin)\nfolder = {journal:?}\n\
         def note(what):\n    with open(folder + '/journal', 'a') as file:\n        file.write(json.dumps([what, ask['action'], ask['intent'], ask['term'], ask.get('again', False)]) + '\\n')\n\
         def value(name):\n    try:\n        return open(folder + '/' + name).read().strip()\n    except FileNotFoundError:\n        return ''\n\
         if ask['action'] == 'probe':\n    print(json.dumps({{'note': 'probed'}}))\n    sys.exit(0)\n\
         note('begin')\n\
         while os.path.exists(folder + '/hold'):\n    time.sleep(0.02)\n\
         if value('fail') == ask['action']:\n    print('the hypervisor said no', file=sys.stderr)\n    sys.exit(3)\n\
         note('end')\n\
         print(json.dumps({{'address': ask['to']['address']}} if ask['action'] == 'switch' else {{}}))\n"
    );
    std::fs::write(&script, text).expect("a temporary folder takes a file");
    std::fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("its mode");
    format!("[[driver]]\nname = \"vpn\"\ntype = \"exec\"\ncommand = [{script:?}]\nprobes = true\n")
}

/// What the commands of all peers began and ended: `(begin, action, intent, term, again)`.
fn noted(peers: usize) -> Vec<(String, String, String, u64, bool)> {
    let of = |peer: usize| std::fs::read_to_string(journal(peer).join("journal")).unwrap_or_default();
    let lines: Vec<String> =
        (0..peers).flat_map(|peer| of(peer).lines().map(str::to_owned).collect::<Vec<_>>()).collect();
    lines.iter().map(|line| serde_json::from_str(line).expect("what the driver writes")).collect()
}

fn set(name: &str, is_set: bool, text: &str) {
    for peer in 0..3 {
        let file = journal(peer).join(name);
        if is_set {
            std::fs::write(&file, text).expect("a temporary folder takes a file");
        } else {
            let _ = std::fs::remove_file(&file);
        }
    }
}

fn forget() {
    for peer in 0..3 {
        let _ = std::fs::remove_dir_all(journal(peer));
    }
}

/// What the plan of a leader that is gone came to: every effect begun once, and done or undone.
fn judge(cluster: &Cluster, what: &str, may_repeat: bool) {
    let attempts = attempts(cluster);
    // A peer that was killed with its command has it begun again, and says so to the command.
    let mut begun: BTreeMap<(String, String), usize> = BTreeMap::new();
    let mut did: BTreeSet<(String, String)> = BTreeSet::new();
    let mut ended: BTreeMap<(String, String), usize> = BTreeMap::new();
    for (when, action, intent, _, again) in noted(3) {
        if when == "end" && !(again && may_repeat) {
            *ended.entry((intent.clone(), action.clone())).or_default() += 1;
        }
        if when == "begin" {
            did.insert((intent.clone(), action.clone()));
            // Only what was killed with the peer, before it could be known how far it came, is begun again, and is told so.
            *begun.entry((intent, action)).or_default() += usize::from(!(again && may_repeat));
        }
    }
    assert!(begun.values().all(|count| *count <= 1), "{what}: {begun:?}");
    assert!(ended.values().all(|count| *count <= 1), "{what}: {ended:?}");
    for attempt in &attempts {
        let intent = attempt["intent"].as_str().expect("an intent").to_owned();
        let did = |action: &str| did.contains(&(intent.clone(), action.to_owned()));
        match attempt["outcome"].as_str().expect("an outcome") {
            "done" => assert!(did("switch") && did("finish") && !did("undo"), "{what}: {begun:?}"),
            "rolled_back" => assert!(did("undo") && !did("finish"), "{what}: {begun:?}"),
            outcome => panic!("{what}: {outcome}: {attempt}"),
        }
    }
}

#[test]
fn a_switch_that_fails_is_rolled_back_by_the_driver_and_graceful_waits_for_old_work() {
    forget();
    let failover = "failover = { driver = \"vpn\", mode = \"graceful\", drain_timeout = \"60s\", cooldown = \"0s\" }";
    let Some(cluster) = cluster(failover, Some(exec)) else { return };
    wait_driver(&cluster);
    set("fail", true, "switch");
    let (status, said) = force(&cluster, 0, json!({ "mode": "immediate" }));
    assert_eq!(status, 202, "{said}");
    let attempt = wait_attempts(&cluster, 1).remove(0);
    assert_eq!(attempt["outcome"], "rolled_back");
    assert!(attempt["failure"].as_str().is_some_and(|words| words.contains("the hypervisor said no")), "{attempt}");
    assert_eq!(cluster.json(0, "/api/v1/nodes/web-1")["server"], "s-0");
    judge(&cluster, "a failing switch", false);

    set("fail", false, "");
    // One request is under way for a while.
    let slow = "GET /delay/3000 HTTP/1.1\r\nHost: test\r\n\r\n".to_owned();
    let plan = Plan { request: slow, clients: 1, ..Plan::get(cluster.traffic(0), 1) };
    let load = cluster.client().within(|| Load::start(&plan));
    wait_until("a request under way", || cluster.json(0, "/api/v1/nodes/web-1")["in_flight"].as_u64() >= Some(1));
    let before = noted(3).len();
    let (status, said) = force(&cluster, 2, json!({}));
    assert_eq!(status, 202, "{said}");
    wait_until("the drain", || cluster.json(1, "/api/v1/nodes/web-1")["state"]["admin"] == "draining");
    assert_eq!(noted(3).len(), before, "nothing is switched while there is old work");
    let outcomes = load.stop();
    assert_eq!(failures(&outcomes, 5), [""; 0], "the old work is finished");
    let attempts = wait_attempts(&cluster, 2);
    assert_eq!(attempts[0]["outcome"], "done", "{}", attempts[0]);
    judge(&cluster, "graceful", false);
    forget();
}

/// Waits until the leader has heard of the driver from the peer that has the node: then nothing but the servers is against a move to where it is.
fn wait_driver(cluster: &Cluster) {
    wait_until("a plan that is not refused for want of a driver", || {
        let here = cluster.json(0, "/api/v1/nodes/web-1")["server"].clone();
        let said = cluster
            .send(0, &Request::write("POST", "/api/v1/nodes/web-1/move", json!({ "to": here, "ignore_limits": true })));
        said.json["error"]["against"]["constraint"] == "candidates"
    });
}

/// Whether so many plans are over and none is under way, as this peer knows it.
fn over(cluster: &Cluster, peer: usize, plans: usize) -> Option<()> {
    let status = cluster.json(peer, "/api/v1/failover");
    let is_over = status["plans"].as_array()?.is_empty() && status["attempts"].as_array()?.len() >= plans;
    is_over.then_some(())
}

/// How a leader goes.
#[derive(Clone, Copy, Debug)]
enum End {
    Killed,
    Stopped,
    Cut,
}

#[test]
fn a_leader_that_is_killed_stopped_or_cut_off_at_any_step_leaves_a_plan_that_the_next_one_ends_once() {
    forget();
    let failover = "failover = { driver = \"vpn\", cooldown = \"0s\", moves_per_hour = 60 }";
    let Some(mut cluster) = cluster(failover, Some(exec)) else { return };
    wait_driver(&cluster);
    let mut done = 0;
    // Peers that are killed come last: what they begin again stays in the journal.
    for end in [End::Stopped, End::Cut, End::Killed] {
        let has_killed = matches!(end, End::Killed);
        for step in ["before", "act", "verify"] {
            let ((leader, _), _) = cluster.wait_led(&[0, 1, 2]);
            wait_driver(&cluster);
            let others: Vec<usize> = (0..3).filter(|&peer| peer != leader).collect();
            // During the effect: the driver is held until the leader is gone.
            set("hold", step == "act", "");
            let asked = force(&cluster, others[0], json!({ "ignore_limits": true }));
            assert_eq!(asked.0, 202, "{}", asked.1);
            if step == "act" {
                wait_until("the effect", || {
                    noted(3).last().is_some_and(|(when, action, ..)| when == "begin" && action == "switch")
                });
            }
            if step == "verify" {
                wait_until("the switch", || noted(3).last().is_some_and(|(when, ..)| when == "end"));
            }
            match end {
                End::Killed => cluster.kill_peer(leader),
                End::Stopped => cluster.peer(leader).process().signal(rustix::process::Signal::STOP),
                End::Cut => others.iter().for_each(|&other| {
                    cluster.network().cut(cluster.peer_host(leader), cluster.peer_host(other));
                }),
            }
            wait_for("another leader", PATIENCE, || {
                others.iter().any(|&peer| cluster.leader_at(peer).is_some_and(|(led, _)| led != leader)).then_some(())
            });
            set("hold", false, "");
            done += 1;
            // An executor that is gone with the leader is waited for: it may have done it.
            let executor_is_gone = || {
                let plans = cluster.json(others[0], "/api/v1/failover")["plans"].clone();
                plans.as_array().is_some_and(|plans| plans.iter().any(|plan| plan["executor"] == cluster.id(leader)))
            };
            let is_gone = wait_for("the plan to be over, or to wait for its executor", PATIENCE, || {
                over(&cluster, others[0], done).map(|()| false).or_else(|| executor_is_gone().then_some(true))
            });
            report::line(&format!("{end:?} at {step}: executor gone with it: {}", is_gone.0));
            match end {
                End::Killed => cluster.restart_peer(leader),
                End::Stopped => cluster.peer(leader).process().signal(rustix::process::Signal::CONT),
                End::Cut => cluster.network().heal(),
            }
            cluster.wait_led(&[0, 1, 2]);
            wait_for("the plan to be over", PATIENCE, || over(&cluster, others[0], done));
            judge(&cluster, &format!("{end:?} at {step}"), has_killed);
        }
    }
    forget();
}

/// Orders something of a peer, as one that was a leader when the order left it.
fn order(cluster: &Cluster, executor: &str, order: &Order) -> Answer {
    let settings = Settings {
        own: Identity {
            cluster: "evenkeel".parse().expect("a name"),
            id: "late".parse().expect("an id"),
            region: "default".parse().expect("a name"),
            incarnation: 1,
        },
        listen: "0.0.0.0:0".parse().expect("an address"),
        advertise: Some(format!("{SPARES}:1").parse().expect("an address")),
        trust: TrustSource::Keys(cluster.key_ring()),
        timing: Timing::LAN,
        protocols: Protocols::OWN,
    };
    let question = Query::Order(serde_json::to_vec(order).expect("JSON")).encode().expect("a question");
    let number = (0..3).find(|&peer| cluster.id(peer) == executor).expect("one of the peers");
    let ask = async || {
        let (link, _inboxes) = QuicLink::start(&settings).expect("a link");
        link.send(To::Address(cluster.cluster_address(number)), Channel::Gossip, b"hello"[..].into());
        let executor = executor.parse::<PeerId>().expect("an id");
        wait_until_async("a link", || {
            link.known().peers.iter().any(|peer| peer.id == executor && peer.state == LinkState::Up)
        })
        .await;
        let answer = link.ask(executor, question.into(), PATIENCE).await.expect("an answer");
        link.close().await;
        let Ok(QueryAnswer::Outcome(outcome)) = QueryAnswer::decode(&answer) else { panic!("{answer:?}") };
        serde_json::from_slice(&outcome).expect("an answer")
    };
    cluster.client().within(|| {
        // One thread: it is in the network of whoever made it.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(ask())
    })
}

#[test]
fn an_order_that_left_a_leader_of_the_past_is_refused_by_the_executor_and_told_at_any_peer() {
    forget();
    let failover = "failover = { driver = \"vpn\", cooldown = \"0s\", moves_per_hour = 60 }";
    let Some(mut cluster) = cluster(failover, Some(exec)) else { return };
    wait_driver(&cluster);
    assert_eq!(force(&cluster, 0, json!({})).0, 202);
    let early = wait_attempts(&cluster, 1).remove(0);
    let executor = early["executor"].as_str().expect("an executor").to_owned();
    // Another leader moves it again, and the executor lives.
    let ((leader, term), _) = cluster.wait_led(&[0, 1, 2]);
    if cluster.id(leader) == executor {
        cluster.peer(leader).process().signal(rustix::process::Signal::STOP);
        let others: Vec<usize> = (0..3).filter(|&peer| peer != leader).collect();
        wait_until("another leader", || cluster.leader_at(others[0]).is_some_and(|(_, later)| later > term));
        cluster.peer(leader).process().signal(rustix::process::Signal::CONT);
    } else {
        cluster.kill_peer(leader);
        cluster.restart_peer(leader);
    }
    wait_until("a later term at every peer", || {
        (0..3).all(|peer| cluster.leader_at(peer).is_some_and(|(_, later)| later > term))
    });
    wait_driver(&cluster);
    assert_eq!(force(&cluster, 1, json!({ "ignore_limits": true })).0, 202);
    let late = wait_attempts(&cluster, 2).remove(0);
    assert_eq!(late["executor"], executor.as_str(), "{late}");
    let before = noted(3);

    let intent = early["intent"].as_str().expect("an intent");
    let order_of = |intent: &str, action: Action| {
        let effect = json!({
            "action": action, "intent": intent, "term": term,
            "node": { "id": "web-1", "pool": "web", "region": "default", "address": "10.77.0.4:9000" },
            "from": { "id": "s-0", "address": "10.77.0.4:9000" },
            "to": { "id": "s-1", "address": "10.77.0.5:9100" },
        });
        serde_json::from_value(json!({ "act": { "driver": "vpn", "effect": effect } })).expect("an order")
    };
    // The plan of its time, the one of the next leader, and one that it had just made.
    let newest = format!("i{}", cluster.json(1, "/api/v1/catalog")["revision"].as_u64().expect("a revision") + 1);
    for (intent, action) in [
        (intent, Action::Undo),
        (intent, Action::Switch),
        (late["intent"].as_str().expect("an intent"), Action::Undo),
        (&newest, Action::Switch),
    ] {
        let answer = order(&cluster, &executor, &order_of(intent, action));
        assert!(matches!(answer, Answer::Stale { .. }), "{action} of {intent}: {answer:?}");
    }
    assert_eq!(noted(3), before, "the driver heard nothing of it");
    for peer in 0..3 {
        let events = cluster.json(peer, "/api/v1/events?kind=order_refused&node=web-1");
        let events = events["items"].as_array().expect("a list").clone();
        assert!(events.len() >= 3 && events.iter().all(|event| event["peer"] == executor.as_str()), "{events:?}");
        assert!(events.iter().all(|event| event["term"] == term && event["highest"].as_u64() > Some(term)));
    }
    let number = (0..3).find(|&peer| cluster.id(peer) == executor).expect("one of the peers");
    let said = format!("came in term {term}");
    assert!(cluster.log(number).contains(&said), "it is in the log too");
    forget();
}
