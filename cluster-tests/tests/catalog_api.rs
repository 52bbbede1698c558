//! The catalog through the API: what whoever writes a program against it can rely on.

use std::time::Duration;

use cluster_tests::api::{Api, Request, Said};
use cluster_tests::cluster::{Cluster, Shape};
use cluster_tests::node::TestNode;
use cluster_tests::peer::Peer;
use cluster_tests::raw::{Answer, Raw};
use cluster_tests::settings::Settings;
use cluster_tests::wait::{PATIENCE, wait_for, wait_until};
use rustix::process::Signal;
use serde_json::{Value, json};

const CATALOG: &str = "/api/v1/catalog";

/// A cluster of one, whose catalog changes through the API alone, and two nodes: pool `web` is of the first.
struct Shop {
    peer: Peer,
    nodes: [TestNode; 2],
}

impl Shop {
    #[track_caller]
    fn open() -> Self {
        let nodes = [TestNode::start("a"), TestNode::start("b")];
        let settings = Settings::one("web", "http", [nodes[0].address()]);
        let peer = Peer::start_file(&format!("{}[catalog]\nfollow_file = false\n", settings.evenkeel_toml()), &[]);
        let shop = Self { peer, nodes };
        wait_until("the first catalog", || shop.get(CATALOG).json["source"] == "cluster");
        shop
    }

    #[track_caller]
    fn ask(&self, request: &Request<'_>) -> Said {
        let said = Api { address: self.peer.api(), namespace: None }.ask(request, PATIENCE);
        said.unwrap_or_else(|broken| panic!("{} {}: {broken:?}", request.method, request.path))
    }

    #[track_caller]
    fn get(&self, path: &str) -> Said {
        self.ask(&Request::get(path))
    }

    #[track_caller]
    fn write(&self, method: &str, path: &str, body: Value) -> Said {
        self.ask(&Request::write(method, path, body))
    }

    #[track_caller]
    fn delete(&self, path: &str) -> Said {
        self.ask(&delete(path))
    }

    /// Sends a body as it stands, whatever it is.
    #[track_caller]
    fn send_text(&self, path: &str, body: &str) -> Answer {
        let request = format!(
            "PUT {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        Raw::connect(self.peer.api()).ask(request).expect("an answer")
    }

    #[track_caller]
    fn revision(&self) -> u64 {
        self.get(CATALOG).json["revision"].as_u64().expect("a revision")
    }

    /// Who answers a client.
    #[track_caller]
    fn served_by(&self) -> String {
        Raw::connect(self.peer.listener("web")).get("/").text().trim_end().to_owned()
    }

    fn address(&self, node: usize) -> String {
        self.nodes[node].address().to_string()
    }
}

fn delete(path: &str) -> Request<'_> {
    Request { method: "DELETE", path, fields: Vec::new(), body: None }
}

/// A write that is done, or that changed nothing, with its revision.
#[track_caller]
fn done(said: &Said) -> u64 {
    assert!(matches!(said.status, 200 | 201), "{said:?}");
    assert_eq!(said.json["applied"], true, "whoever is told that it is done finds it: {said:?}");
    said.json["revision"].as_u64().expect("a revision")
}

/// A write that is not done: its error, which always says what to do.
#[track_caller]
fn refused(said: &Said, status: u16, code: &str) -> Value {
    let error = &said.json["error"];
    assert_eq!((said.status, error["code"].as_str()), (status, Some(code)), "{said:?}");
    assert!(error["message"].as_str().is_some_and(|text| !text.is_empty()), "{said:?}");
    assert!(error["hint"].as_str().is_some_and(|text| !text.is_empty()), "{said:?}");
    error.clone()
}

#[test]
fn whoever_read_the_catalog_last_may_replace_it_and_others_are_told_its_etag() {
    let shop = Shop::open();
    let read = shop.get(CATALOG);
    let etag = read.etag.clone().expect("an ETag");
    assert_eq!(etag, format!("\"{}\"", read.json["etag"].as_str().unwrap()));
    assert_eq!(read.json["file"], json!({"follow": false, "differs": false}));

    let unchanged = shop.ask(&Request::write("PUT", CATALOG, read.json.clone()).field("If-Match", &etag));
    assert_eq!(done(&unchanged), read.json["revision"], "what was read may be sent back as it is");
    assert_eq!(unchanged.json["changed"], false);

    let mut desired = read.json["desired"].clone();
    desired["pool"][0]["strategy"] = json!("p2c");
    let body = json!({"desired": desired});
    let difference = shop.write("POST", "/api/v1/catalog/diff", body.clone());
    assert_eq!(difference.json["changes"][0]["keys"][0]["key"], "strategy", "{difference:?}");
    let put = shop.ask(&Request::write("PUT", CATALOG, body.clone()).field("If-Match", &etag));
    assert_eq!(done(&put), read.json["revision"].as_u64().unwrap() + 1);
    assert_eq!(put.json["changed"], true);
    let now = shop.get(CATALOG);
    assert_eq!((&now.json["desired"], &now.etag), (&desired, &put.etag));
    assert_eq!(now.json["file"]["differs"], true);
    assert_eq!(shop.get("/api/v1/pools/web").json["strategy"], "p2c");

    let late = shop.ask(&Request::write("PUT", CATALOG, read.json.clone()).field("If-Match", &etag));
    let error = refused(&late, 412, "changed");
    assert_eq!(error["etag"], now.json["etag"]);
    assert!(error["message"].as_str().unwrap().contains(now.etag.as_deref().unwrap()), "{error}");
    assert_eq!(shop.get(CATALOG).etag, now.etag);
    for (name, value) in [("If-Match", "W/\"x\""), ("If-None-Match", "*"), ("If-None-Match", "\"x\"")] {
        let said = shop.ask(&Request::write("PUT", CATALOG, body.clone()).field(name, value));
        refused(&said, 400, "bad_field");
    }
}

#[test]
fn every_kind_of_resource_is_made_read_changed_and_deleted_one_by_one() {
    let shop = Shop::open();
    for (list, id, made, changed, twice_code) in [
        ("pools", "name", json!({"name": "api", "strategy": "p2c"}), json!({"strategy": "random"}), "unknown_pool"),
        ("regions", "name", json!({"name": "eu-west", "weight": 2.0}), json!({"weight": 3.0}), "unknown_region"),
        (
            "servers",
            "id",
            json!({"id": "vpn-1", "region": "eu-west", "address": "vpn-1.example"}),
            json!({"address": "vpn-2.example", "region": "eu-west"}),
            "unknown_server",
        ),
        (
            "routes",
            "name",
            json!({"name": "all", "then": {"pool": "web"}}),
            json!({"priority": 7, "then": {"pool": "web"}}),
            "unknown_route",
        ),
    ] {
        let path = format!("/api/v1/{list}");
        let one = format!("{path}/{}", made[id].as_str().unwrap());
        let before = shop.revision();
        let created = shop.write("POST", &path, made.clone());
        assert_eq!((created.status, done(&created)), (201, before + 1));
        refused(&shop.write("POST", &path, made.clone()), 409, "exists");
        let read = shop.get(&one);
        let etag = read.etag.clone().expect("an ETag of one resource");
        assert_eq!(read.json[id], made[id]);
        let listed = shop.get(&path).json["items"].clone();
        assert!(listed.as_array().unwrap().iter().any(|item| item[id] == made[id]), "{listed}");

        let put = shop.ask(&Request::write("PUT", &one, changed.clone()).field("If-Match", &etag));
        assert_eq!((put.status, done(&put)), (200, before + 2));
        let now = shop.get(&one);
        assert_eq!(put.etag, now.etag, "what the next If-Match has to say");
        assert_eq!(put.etag, Some(format!("\"{}\"", put.json["resource_etag"].as_str().unwrap())));
        let (key, value) = changed.as_object().unwrap().iter().next().unwrap();
        assert_eq!((&now.json[key], &now.json[id]), (value, &made[id]), "its name need not be said twice");
        let late = shop.ask(&Request::write("PUT", &one, changed.clone()).field("If-Match", &etag));
        let error = refused(&late, 412, "changed");
        assert_eq!(Some(format!("\"{}\"", error["etag"].as_str().unwrap())), now.etag, "the ETag that it has now");
        let late = shop.ask(&delete(&one).field("If-Match", &etag));
        refused(&late, 412, "changed");
        let other = shop.write("PUT", &one, json!({id: "another"}));
        assert_eq!(refused(&other, 422, "invalid")["faults"][0]["key"], id);

        let there = shop.ask(&Request::write("PUT", &one, changed.clone()).field("If-None-Match", "*"));
        refused(&there, 412, "exists");
        assert_eq!(done(&shop.delete(&one)), before + 3);
        refused(&shop.get(&one), 404, twice_code);
        refused(&shop.delete(&one), 404, "not_found");
        let gone = shop.ask(&Request::write("PUT", &one, changed.clone()).field("If-Match", &etag));
        let error = refused(&gone, 412, "changed");
        assert_eq!(error["etag"], Value::Null, "{error}");
        let gone = shop.ask(&Request::write("PUT", &one, made.clone()).field("If-Match", "*"));
        refused(&gone, 412, "missing");
        let new = shop.ask(&Request::write("PUT", &one, made.clone()).field("If-None-Match", "*"));
        assert_eq!((new.status, done(&new)), (201, before + 4));
        assert_eq!((&new.json["created"], &put.json["created"]), (&json!(true), &json!(false)));
        assert_eq!(done(&shop.delete(&one)), before + 5);
    }
}

#[test]
fn traffic_follows_nodes_that_are_added_changed_moved_and_deleted() {
    let shop = Shop::open();
    assert_eq!(shop.served_by(), "a");
    let second = json!({"id": "web-2", "address": shop.address(1)});
    assert_eq!(shop.write("POST", "/api/v1/pools/web/nodes", second.clone()).status, 201);
    refused(&shop.write("POST", "/api/v1/pools/nope/nodes", json!({"id": "x", "address": "a:1"})), 404, "not_found");
    refused(&shop.write("POST", "/api/v1/nodes", json!({"id": "x", "address": "a:1"})), 422, "invalid");
    refused(&shop.write("POST", "/api/v1/nodes?pool=web", second.clone()), 409, "exists");
    done(&shop.delete("/api/v1/nodes/web-1"));
    assert_eq!(shop.served_by(), "b", "whoever is told that it is done is served so");

    done(&shop.write("POST", "/api/v1/pools", json!({"name": "spare", "health": {"type": "none"}})));
    let first = json!({"id": "web-1", "address": shop.address(0)});
    assert_eq!(shop.write("POST", "/api/v1/nodes?pool=spare", first).status, 201);
    assert_eq!(shop.get("/api/v1/nodes/web-1").json["pool"], "spare");
    assert_eq!(shop.served_by(), "b");
    let etag = shop.get("/api/v1/nodes/web-1").etag.expect("an ETag");
    let moved = Request::write("PUT", "/api/v1/nodes/web-1?pool=web", json!({"address": shop.address(0), "weight": 7}));
    done(&shop.ask(&moved.field("If-Match", etag)));
    done(&shop.write("PUT", "/api/v1/nodes/web-2?pool=spare", json!({"address": shop.address(1)})));
    let shown = shop.get("/api/v1/nodes/web-1").json;
    assert_eq!((&shown["pool"], &shown["weight"]), (&json!("web"), &json!(7)));
    assert_eq!(shop.served_by(), "a");
    // The same node at another address.
    done(&shop.write("PUT", "/api/v1/nodes/web-1", json!({"address": shop.address(1)})));
    assert_eq!(shop.served_by(), "b");

    refused(&shop.write("PUT", "/api/v1/nodes/web-1?pool=nope", json!({"address": shop.address(0)})), 404, "not_found");
    assert_eq!(shop.get("/api/v1/nodes/web-1").json["pool"], "web", "what is refused changes nothing");
    done(&shop.write("PUT", "/api/v1/pools/web", json!({"strategy": "random", "health": {"type": "none"}})));
    assert_eq!(shop.served_by(), "b", "a pool that is put without its nodes keeps them");
    done(&shop.delete("/api/v1/pools/spare"));
    refused(&shop.get("/api/v1/nodes/web-2"), 404, "unknown_node");
}

#[test]
fn the_same_idempotency_key_is_done_once_and_answered_alike() {
    let shop = Shop::open();
    let post = Request::write("POST", "/api/v1/pools", json!({"name": "api"})).field("Idempotency-Key", "order-66");
    let first = shop.ask(&post);
    let (revision, again) = (done(&first), shop.ask(&post));
    assert_eq!((again.status, done(&again)), (201, revision), "not 409, although the pool is there by now");
    assert_eq!(
        (&again.json["etag"], &again.json["resource_etag"]),
        (&Value::Null, &Value::Null),
        "it may have changed since"
    );
    assert_eq!(shop.revision(), revision);

    let read = shop.get(CATALOG);
    let mut desired = read.json["desired"].clone();
    desired["pool"][0]["strategy"] = json!("random");
    let put = Request::write("PUT", CATALOG, json!({"desired": desired}))
        .field("If-Match", read.etag.unwrap())
        .field("Idempotency-Key", "f81d4fae-7dec-11d0-a765-00a0c91e6bf6");
    let revision = done(&shop.ask(&put));
    let meanwhile = done(&shop.delete("/api/v1/pools/api"));
    assert_eq!(meanwhile, revision + 1);
    assert_eq!(done(&shop.ask(&put)), revision, "not 412, although the catalog has changed since");
    assert_eq!(shop.revision(), meanwhile, "and nothing is undone");

    let drain = Request::write("POST", "/api/v1/nodes/web-1/drain", json!({})).field("Idempotency-Key", "d");
    assert_eq!(done(&shop.ask(&drain)), done(&shop.ask(&drain)));
    let revision = shop.revision();
    let other = Request::write("POST", "/api/v1/nodes/web-1/undrain", json!({})).field("Idempotency-Key", "d");
    refused(&shop.ask(&other), 422, "idempotency_key_reused");
    let other = Request::write("POST", "/api/v1/pools", json!({"name": "db"})).field("Idempotency-Key", "order-66");
    refused(&shop.ask(&other), 422, "idempotency_key_reused");
    let twice = Request::write("POST", "/api/v1/pools", json!({"name": "db"}));
    refused(&shop.ask(&twice.field("Idempotency-Key", "a").field("Idempotency-Key", "b")), 400, "bad_field");
    assert_eq!(shop.revision(), revision);
    let endless = "x".repeat(129);
    for wrong in ["", "two words", endless.as_str()] {
        let said = shop.ask(&Request::write("POST", "/api/v1/pools", json!({})).field("Idempotency-Key", wrong));
        refused(&said, 400, "bad_field");
    }
}

#[test]
fn a_catalog_with_faults_is_refused_with_every_fault_and_what_to_do() {
    let shop = Shop::open();
    let before = shop.revision();
    let wrong = json!({"desired": {
        "pool": [
            {"name": "web", "strategy": "rond_robin", "node": [{"id": "web-1", "address": "10.0.0.1"}]},
            {"name": "web"},
            {"name": "api", "retires": 3},
        ],
        "route": [{"name": "r", "then": {"pool": "wbe"}}],
        "regoin": [],
    }});
    let said = shop.write("PUT", CATALOG, wrong);
    let error = refused(&said, 422, "invalid");
    let faults = error["faults"].as_array().unwrap();
    let told: Vec<String> = faults.iter().map(|fault| fault["key"].as_str().unwrap().to_owned()).collect();
    assert_eq!(error["message"], format!("{} faults in it; nothing is changed", faults.len()));
    for key in ["strategy", "address", "retires", "then.pool", "regoin"] {
        assert!(told.iter().any(|told| told.contains(key)), "{key}: {error:#}");
    }
    assert!(
        faults
            .iter()
            .any(|fault| fault["wrong"].as_str().unwrap().contains("twice") || fault["key"] == "pool \"web\" name"),
        "the second pool web: {error:#}"
    );
    let helped = faults.iter().filter(|fault| fault["hint"].is_string() || fault["allowed"].is_string()).count();
    assert_eq!(helped, faults.len(), "each fault says what may stand there, or what to do: {error:#}");
    let strategy = faults.iter().find(|fault| fault["key"].as_str().unwrap().ends_with("strategy")).unwrap();
    assert!(strategy["found"].as_str().unwrap().contains("rond_robin"), "{strategy}");

    let node = shop.write("PUT", "/api/v1/nodes/web-1", json!({"address": "10.0.0.1:80", "weight": 0, "wait": 1}));
    assert_eq!(refused(&node, 422, "invalid")["faults"].as_array().unwrap().len(), 2);
    let listener_left = shop.write("PUT", CATALOG, json!({"pool": []}));
    refused(&listener_left, 422, "bad_body");
    let beside = shop.write("PUT", CATALOG, json!({"desired": {}, "pool": []}));
    refused(&beside, 422, "bad_body");
    assert_eq!(shop.revision(), before);
}

#[test]
fn a_body_that_is_no_json_object_is_refused_whatever_it_is() {
    let shop = Shop::open();
    let before = shop.revision();
    let deep = format!("{{\"desired\":{}1{}}}", "[".repeat(200_000), "]".repeat(200_000));
    let large = format!("{{\"desired\":{{\"x\":\"{}\"}}}}", "x".repeat(4 << 20));
    for (body, status, code) in [
        ("", 422, "bad_body"),
        ("{", 422, "bad_body"),
        ("[]", 422, "bad_body"),
        ("null", 422, "bad_body"),
        ("\u{1}", 422, "bad_body"),
        ("{\"desired\":{}} {}", 422, "bad_body"),
        ("{\"desired\":{\"pool\":[{\"name\":\"a\",\"name\":\"b\"}]}}", 422, "bad_body"),
        ("{\"desired\":{},\"desired\":{}}", 422, "bad_body"),
        (deep.as_str(), 422, "bad_body"),
        (large.as_str(), 413, "catalog_too_large"),
    ] {
        let answer = shop.send_text(CATALOG, body);
        let shown: String = body.chars().take(40).collect();
        let said: Value = serde_json::from_slice(&answer.body).unwrap_or_else(|_| panic!("{shown}: {}", answer.text()));
        assert_eq!((answer.status, said["error"]["code"].as_str()), (status, Some(code)), "{shown}: {said}");
        assert!(said["error"]["hint"].is_string());
    }
    let twice = shop.send_text(CATALOG, "{\"desired\":{\"pool\":[{\"name\":\"a\",\"name\":\"b\"}]}}").text();
    assert!(twice.contains("name"), "which key stands twice: {twice}");

    // What is larger than any body may be is refused by its length alone.
    let mut raw = Raw::connect(shop.peer.api());
    let head = format!("PUT {CATALOG} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n", 5 << 20);
    let answer = raw.ask(head).unwrap();
    assert_eq!(answer.status, 413, "{}", answer.text());
    assert!(answer.text().contains("\"hint\""), "{}", answer.text());
    assert_eq!(shop.revision(), before);
}

#[test]
fn a_page_of_another_site_changes_nothing() {
    let shop = Shop::open();
    let before = shop.revision();
    for origin in ["https://evil.example", "http://evil.example", "null", "http://localhost.evil.example"] {
        for (method, path) in [("POST", "/api/v1/pools"), ("POST", "/api/v1/nodes/web-1/drain"), ("PUT", CATALOG)] {
            let said = shop.ask(&Request::write(method, path, json!({"name": "x"})).field("Origin", origin));
            refused(&said, 403, "foreign_origin");
        }
        refused(&shop.ask(&delete("/api/v1/pools/web").field("Origin", origin)), 403, "foreign_origin");
    }
    assert_eq!(shop.revision(), before);
    let own = Request::write("POST", "/api/v1/pools", json!({"name": "x"})).field("Origin", "http://localhost:8080");
    assert_eq!(shop.ask(&own).status, 201);
}

#[test]
fn the_history_says_who_changed_what_and_any_revision_of_it_comes_back() {
    let shop = Shop::open();
    let first = shop.get(CATALOG).json;
    let then = first["revision"].as_u64().unwrap();
    let add = Request::write("POST", "/api/v1/pools", json!({"name": "api"})).field("Evenkeel-User", "ada");
    done(&shop.ask(&add));
    let deleted = shop.delete("/api/v1/pools/web");
    done(&deleted);
    let warnings = deleted.json["warnings"].to_string();
    assert!(warnings.contains("listener web of this peer sends to pool web"), "{warnings}");
    let reasons = shop.get("/api/health").json["reasons"].clone();
    assert!(reasons.as_array().unwrap().iter().any(|reason| reason["code"] == "listener_without_pool"), "{reasons}");
    assert_eq!(Raw::connect(shop.peer.listener("web")).get("/").status, 503, "the pool of the listener is gone");
    assert!(shop.peer.log().contains("its clients are turned away"), "{}", shop.peer.log());

    let history = shop.get("/api/v1/catalog/history").json["items"].clone();
    let said: Vec<_> = history.as_array().unwrap().iter().map(|record| record["what"].as_str().unwrap()).collect();
    assert_eq!(said, ["delete pool \"web\"", "create pool \"api\"", "first catalog"]);
    assert_eq!((&history[1]["by"], &history[0]["by"]), (&json!("ada"), &json!("127.0.0.1")));
    assert!(history[0]["at"].as_str().unwrap().ends_with('Z'), "{history}");

    let past = shop.get(&format!("/api/v1/catalog/history/{then}")).json;
    assert_eq!(past["desired"], first["desired"]);
    assert_eq!(past["difference"], Value::Null, "there is none before the first");
    let second = shop.get(&format!("/api/v1/catalog/history/{}", then + 1)).json;
    let changes = second["difference"]["changes"].as_array().unwrap();
    assert_eq!(
        (changes.len(), &changes[0]["operation"], &changes[0]["id"]),
        (1, &json!("add"), &json!("api")),
        "{second}"
    );
    assert_eq!(past["rollback_difference"]["changes"].as_array().unwrap().len(), 3, "{past}");
    for unknown in ["99", "nope", "-1"] {
        refused(&shop.get(&format!("/api/v1/catalog/history/{unknown}")), 404, "unknown_revision");
    }
    refused(&shop.write("POST", "/api/v1/catalog/rollback", json!({"revision": 99})), 404, "unknown_revision");
    refused(&shop.write("POST", "/api/v1/catalog/rollback", json!({"revison": 1})), 422, "bad_body");

    let back = shop.write("POST", "/api/v1/catalog/rollback", json!({"revision": then}));
    assert_eq!(done(&back), then + 3, "a rollback is a change like any other");
    let now = shop.get(CATALOG).json;
    assert_eq!((&now["desired"], &now["etag"]), (&first["desired"], &first["etag"]));
    assert_eq!(shop.served_by(), "a");
    let newest = shop.get("/api/v1/catalog/history").json["items"][0]["what"].clone();
    assert_eq!(newest, format!("rollback to revision {then}"));
}

#[test]
fn what_is_not_there_is_neither_drained_nor_found_and_queries_are_checked() {
    let shop = Shop::open();
    let before = shop.revision();
    refused(&shop.write("POST", "/api/v1/nodes/web-9/drain", json!({})), 404, "not_found");
    refused(&shop.write("POST", "/api/v1/nodes/web-9/undrain", json!({})), 404, "not_found");
    refused(&shop.write("POST", "/api/v1/nodes/web-1/drain", json!({"timeout": "soon"})), 422, "bad_body");
    refused(&shop.write("POST", "/api/v1/nodes/web-1/drain", json!({"timeuot": "1s"})), 422, "bad_body");
    refused(&shop.get("/api/v1/catalog?all=true"), 400, "unknown_query");
    refused(&shop.write("PUT", "/api/v1/regions/eu?pool=web", json!({})), 400, "unknown_query");
    refused(&shop.delete("/api/v1/catalog"), 405, "method_not_allowed");
    refused(&shop.write("POST", "/api/v1/electors", json!({"id": "ams-2"})), 409, "declined");
    assert_eq!(shop.revision(), before);
}

/// Three peers of one node, and the one that leads.
fn three() -> Option<(Cluster, usize)> {
    let cluster = Cluster::start(Shape { peers: 3, nodes: 1, preset: "lan", health: None })?;
    let ((leader, _), _) = cluster.wait_led(&[0, 1, 2]);
    cluster.wait_agreed(PATIENCE);
    wait_until("the first catalog", || (0..3).all(|peer| cluster.json(peer, CATALOG)["source"] == "cluster"));
    Some((cluster, leader))
}

#[test]
fn a_peer_that_does_not_lead_takes_writes_as_the_leader_does() {
    let Some((cluster, leader)) = three() else { return };
    let (asked, other) = ((leader + 1) % 3, (leader + 2) % 3);
    let read = cluster.send(asked, &Request::get(CATALOG));
    let post = Request::write("POST", "/api/v1/pools", json!({"name": "api"})).field("Idempotency-Key", "once");
    let revision = done(&cluster.send(asked, &post));
    for peer in [asked, other, leader] {
        let again = cluster.send(peer, &post);
        assert_eq!((again.status, done(&again)), (201, revision), "the same key at another peer");
    }
    let late = Request::write("PUT", CATALOG, read.json.clone()).field("If-Match", read.etag.as_deref().unwrap());
    let error = refused(&cluster.send(other, &late), 412, "changed");
    assert_eq!(error["etag"], cluster.json(leader, CATALOG)["etag"]);
    refused(&cluster.send(other, &Request::write("POST", "/api/v1/pools", json!({"name": "api"}))), 409, "exists");
    let faults = refused(
        &cluster.send(asked, &Request::write("PUT", "/api/v1/pools/api", json!({"retires": 1, "strategy": "x"}))),
        422,
        "invalid",
    );
    assert_eq!(faults["faults"].as_array().unwrap().len(), 2, "all faults travel: {faults}");
    let record = cluster.json(other, "/api/v1/catalog/history")["items"][0].clone();
    assert_eq!((&record["via"], &record["revision"]), (&json!(cluster.id(asked)), &json!(revision)));

    let back = json!({"revision": read.json["revision"]});
    done(&cluster.send(other, &Request::write("POST", "/api/v1/catalog/rollback", back)));
    for peer in 0..3 {
        wait_until("the rollback everywhere", || cluster.json(peer, CATALOG)["etag"] == read.json["etag"]);
    }
}

#[test]
fn a_drain_ends_when_no_peer_has_anything_left_at_the_node() {
    let Some((cluster, leader)) = three() else { return };
    let (one, two, asked) = (leader, (leader + 1) % 3, (leader + 2) % 3);
    let drain = |body: Value| cluster.send(asked, &Request::write("POST", "/api/v1/nodes/web-1/drain", body));
    let shown = || cluster.json(asked, "/api/v1/nodes/web-1");
    // Of a peer that has not said yet nobody knows what it has.
    let is_over = || {
        let drain = shown()["drain"].clone();
        drain["in_flight"] == 0 && drain["missing_peers"] == json!([])
    };
    let client = cluster.client();
    let get = |peer: usize, path: &str| client.within(|| Raw::connect(cluster.traffic(peer)).get(path).status);
    let begin = |peer: usize, path: &str| {
        client.within(|| {
            let mut raw = Raw::connect(cluster.traffic(peer));
            raw.send(format!("GET {path} HTTP/1.1\r\nHost: test\r\n\r\n")).unwrap();
            raw
        })
    };
    let at = |peer: usize| cluster.json(peer, "/api/v1/nodes/web-1")["in_flight"].clone();

    let mut long = [begin(one, "/delay/3000"), begin(two, "/delay/3000")];
    wait_until("the long requests", || at(one) == 1 && at(two) == 1);
    done(&drain(json!({"timeout": "60s"})));
    let (progress, _) = wait_for("every peer to have heard of it", PATIENCE, || {
        Some(shown()["drain"].clone()).filter(|drain| drain["missing_peers"] == json!([]))
    });
    let of = |peer| json!({"peer": cluster.id(peer), "in_flight": 1, "cut": 0});
    let mut by_peer = [of(one), of(two)];
    by_peer.sort_by_key(|of| of["peer"].to_string());
    assert_eq!((&progress["in_flight"], &progress["by_peer"]), (&json!(2), &json!(by_peer)), "{progress}");
    assert_eq!(progress["timeout_ms"], 60_000);
    assert!(progress["cut_in_ms"].as_u64().is_some_and(|ms| ms <= 60_000), "{progress}");
    assert_eq!(shown()["state"]["admin"], "draining");
    wait_until("no peer to send anything there", || (0..3).all(|peer| get(peer, "/") == 503));
    wait_until("nothing to be left", is_over);
    for raw in &mut long {
        assert_eq!(raw.answer("GET").expect("it is not cut").status, 200);
    }

    let undrain = Request::write("POST", "/api/v1/nodes/web-1/undrain", json!({}));
    done(&cluster.send(two, &undrain));
    wait_until("traffic to be back", || (0..3).all(|peer| get(peer, "/") == 200));
    assert_eq!(shown()["drain"], Value::Null);

    let mut endless = begin(two, "/freeze");
    wait_until("the endless request", || at(two) == 1);
    done(&drain(json!({"timeout": "300ms"})));
    let (_, took) = wait_for("the end of the time that is given", PATIENCE, || is_over().then_some(()));
    assert!(took < Duration::from_secs(5), "{took:?}");
    assert_eq!(shown()["drain"]["cut"], 1, "and it says so");
    let cut = endless.answer("GET");
    assert!(cut.as_ref().map_or(true, |answer| answer.status >= 500), "{cut:?}");
    // Asked again it gives more time, or as much as it takes.
    done(&drain(json!({})));
    assert_eq!(shown()["drain"]["timeout_ms"], Value::Null);
}

#[test]
fn a_drain_is_not_called_done_while_a_peer_has_not_heard_of_it() {
    let Some((mut cluster, leader)) = three() else { return };
    let (asked, deaf) = ((leader + 1) % 3, (leader + 2) % 3);
    let drain = |cluster: &Cluster| cluster.json(asked, "/api/v1/nodes/web-1")["drain"].clone();
    cluster.peer(deaf).process().signal(Signal::STOP);
    done(&cluster.send(asked, &Request::write("POST", "/api/v1/nodes/web-1/drain", json!({}))));
    let missing = json!([cluster.id(deaf)]);
    wait_until("the others to have heard of it", || drain(&cluster)["missing_peers"] == missing);
    wait_until("it to be known as dead", || cluster.sees_peer(asked, deaf).as_deref() == Some("dead"));
    assert_eq!(drain(&cluster)["missing_peers"], missing, "it may be serving clients all the same");
    cluster.peer(deaf).process().signal(Signal::CONT);
    wait_until("every peer to have heard of it", || drain(&cluster)["missing_peers"] == json!([]));
}

#[test]
fn electors_are_removed_and_added_one_by_one_and_only_such_as_are_there() {
    let Some((cluster, leader)) = three() else { return };
    let (asked, gone) = ((leader + 1) % 3, (leader + 2) % 3);
    let ids = |said: &Value| -> Vec<String> {
        said.as_array().unwrap().iter().map(|id| id.as_str().or(id["id"].as_str()).unwrap().to_owned()).collect()
    };
    let all = vec![cluster.id(0), cluster.id(1), cluster.id(2)];
    for peer in 0..3 {
        let said = cluster.json(peer, "/api/v1/leader");
        assert_eq!((&said["leader"]["id"], &said["quorum"]), (&json!(cluster.id(leader)), &json!(2)), "{said}");
        assert_eq!((ids(&said["electors"]), &said["waits_for"]), (all.clone(), &Value::Null), "{said}");
        assert!(said["electors"].as_array().unwrap().iter().all(|of| of["state"] == "alive"), "{said}");
        assert_eq!(ids(&cluster.json(peer, "/api/v1/electors")["items"]), all);
    }
    let add = |id: &str| cluster.send(asked, &Request::write("POST", "/api/v1/electors", json!({"id": id})));
    refused(&add("p9"), 409, "declined");
    refused(&add(&cluster.id(gone)), 409, "declined");
    refused(&add("no id"), 422, "bad_body");
    refused(&cluster.send(asked, &delete("/api/v1/electors/p9")), 409, "declined");
    refused(&cluster.send(asked, &delete("/api/v1/electors/p3?forget=maybe")), 400, "bad_query");

    let path = format!("/api/v1/electors/{}", cluster.id(gone));
    let removed = cluster.send(asked, &delete(&path));
    assert_eq!(removed.status, 200, "{removed:?}");
    let left: Vec<String> = all.iter().filter(|id| **id != cluster.id(gone)).cloned().collect();
    assert_eq!(ids(&removed.json["electors"]), left);
    assert!(removed.json["warning"].is_string(), "two electors are warned about: {removed:?}");
    for peer in 0..3 {
        wait_until("every peer to know", || ids(&cluster.json(peer, "/api/v1/leader")["electors"]) == left);
    }
    // Who does not vote serves and writes as before.
    done(&cluster.send(gone, &Request::write("POST", "/api/v1/pools", json!({"name": "api"}))));
    let added = add(&cluster.id(gone));
    assert_eq!((added.status, ids(&added.json["electors"])), (201, all.clone()), "{added:?}");
    assert_eq!(added.json["warning"], Value::Null);
    for peer in 0..3 {
        wait_until("every peer to know", || ids(&cluster.json(peer, "/api/v1/leader")["electors"]) == all);
    }
}
