//! Sessions stay at their node, whichever peer is asked, while peers die and nodes drain.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cluster_tests::api::Request;
use cluster_tests::cluster::{Cluster, Shape, Special};
use cluster_tests::node::TestNode;
use cluster_tests::peer::Peer;
use cluster_tests::raw::{Answer, Raw};
use cluster_tests::settings::{Pool, Settings};
use cluster_tests::wait::wait_until;
use evenkeel::host::now;
use evenkeel::link::KeyRing;
use serde_json::json;

const SESSIONS: usize = 60;
const DRAIN: Duration = Duration::from_secs(10);
const FAST: &str =
    "{ type = \"http\", path = \"/health\", interval = \"250ms\", timeout = \"1s\", rise = 1, fall = 2 }";

/// What a browser keeps of a session.
#[derive(Clone, Debug)]
struct Session {
    cookie: String,
    node: String,
}

fn ask(to: SocketAddr, cookie: Option<&str>) -> Answer {
    let field = cookie.map_or(String::new(), |cookie| format!("Cookie: theme=dark; {cookie}\r\n"));
    let request = format!("GET / HTTP/1.1\r\nHost: test\r\n{field}\r\n");
    let answer = Raw::connect(to).ask(request).expect("an answer");
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer
}

fn node(answer: &Answer) -> String {
    answer.field("node").expect("a node says who it is").to_owned()
}

/// The cookie that an answer sets, as a browser sends it back.
fn cookie(answer: &Answer) -> Option<String> {
    let set = answer.field("set-cookie")?;
    assert_eq!(answer.field("cache-control"), Some("private"), "a shared cache must not keep it");
    set.split(';').next().map(str::to_owned)
}

fn begin(to: SocketAddr) -> Session {
    let answer = ask(to, None);
    Session { cookie: cookie(&answer).expect("a cookie"), node: node(&answer) }
}

/// Asks at every one of these peers for every session. Those that moved, with how often.
fn moved(sessions: &[Session], peers: &[SocketAddr]) -> BTreeMap<String, usize> {
    let mut moved = BTreeMap::new();
    for session in sessions {
        for &peer in peers {
            let answer = ask(peer, Some(&session.cookie));
            if node(&answer) != session.node || cookie(&answer).is_some() {
                *moved.entry(session.node.clone()).or_default() += 1;
            }
        }
    }
    moved
}

#[test]
fn every_session_stays_over_three_peers_while_the_leader_is_killed_and_a_node_drained() {
    let shape = Shape { peers: 3, nodes: 3, preset: "lan", health: Some(FAST) };
    let special = Special {
        pool_lines: vec!["sticky = { by = \"cookie\", name = \"SERVERID\", ttl = \"1h\" }"],
        ..Special::default()
    };
    let Some(mut cluster) = Cluster::start_special(shape, special) else { return };
    cluster.wait_founded();
    let traffic: Vec<SocketAddr> = (0..3).map(|peer| cluster.traffic(peer)).collect();
    let begun: Vec<Session> = cluster.client().within(|| (0..SESSIONS).map(|at| begin(traffic[at % 3])).collect());
    let nodes: BTreeSet<&str> = begun.iter().map(|session| session.node.as_str()).collect();
    assert_eq!(nodes.len(), 3, "{nodes:?}");
    let check = |cluster: &Cluster, peers: &[SocketAddr]| cluster.client().within(|| moved(&begun, peers));
    assert_eq!(check(&cluster, &traffic), BTreeMap::new(), "any peer goes on with what another one began");

    let ((leader, _), _) = cluster.wait_led(&[0, 1, 2]);
    cluster.kill_peer(leader);
    let left: Vec<SocketAddr> = (0..3).filter(|peer| *peer != leader).map(|peer| traffic[peer]).collect();
    assert_eq!(check(&cluster, &left), BTreeMap::new(), "a peer was killed");
    cluster.wait_led(&cluster.running());

    let asked = *cluster.running().first().expect("two peers run");
    let drain =
        Request::write("POST", "/api/v1/nodes/web-1/drain", json!({"timeout": format!("{}s", DRAIN.as_secs())}));
    let drained = now();
    let said = cluster.send(asked, &drain);
    assert!(said.status < 300, "{said:?}");
    wait_until("both peers to know of the drain", || {
        cluster.running().iter().all(|&peer| {
            let node = cluster.json(peer, "/api/v1/nodes/web-1");
            node["state"]["admin"] == "draining"
        })
    });
    assert_eq!(check(&cluster, &left), BTreeMap::new(), "a node drains, and its time is not over");
    let fresh: Vec<Session> = cluster.client().within(|| (0..12).map(|at| begin(left[at % 2])).collect());
    let at: BTreeSet<&str> = fresh.iter().map(|session| session.node.as_str()).collect();
    assert_eq!(at, BTreeSet::from(["web-2", "web-3"]), "no new one at the node that drains");

    wait_until("a third of the drain", || drained.elapsed() > DRAIN / 3);
    assert_eq!(check(&cluster, &left), BTreeMap::new(), "they still stay");
    let restarted = now();
    cluster.restart_peer(leader);
    let of_drained = || begun.iter().filter(|session| session.node == "web-1");
    let everywhere = BTreeMap::from([("web-1".to_owned(), of_drained().count() * traffic.len())]);
    wait_until("the deadline of the drain at every peer", || check(&cluster, &traffic) == everywhere);
    assert!(restarted.elapsed() < DRAIN, "a peer that was started meanwhile counts from when the others were told");
    let again: Vec<Session> = cluster.client().within(|| {
        let told = of_drained().map(|session| {
            let answer = ask(traffic[0], Some(&session.cookie));
            Session { cookie: cookie(&answer).expect("a new cookie"), node: node(&answer) }
        });
        told.collect()
    });
    let stays = cluster.client().within(|| moved(&again, &traffic));
    assert_eq!(stays, BTreeMap::new(), "at the new node they stay, also at the peer that was started again");
}

/// What a cookie of this peer says, and the key that it is signed by: as `proxy/sticky/cookie.rs` has it.
#[derive(Clone)]
struct Signed {
    said: Vec<u8>,
    key: hmac::Key,
}

impl Signed {
    const TAG_BYTES: usize = 32;

    fn of(cookie: &str, ring: &KeyRing) -> Self {
        let (_, value) = cookie.split_once('=').expect("a name and a value");
        let mut said = URL_SAFE_NO_PAD.decode(value).expect("base64url");
        said.truncate(said.len() - Self::TAG_BYTES);
        let key = ring.trusted().next().expect("a key").cookie_key();
        Self { said, key: hmac::Key::new(hmac::HMAC_SHA256, key.as_slice()) }
    }

    fn ending(mut self, ends_s: u64) -> Self {
        self.said[1..9].copy_from_slice(&ends_s.to_be_bytes());
        self
    }

    fn bytes(&self, pool: &str) -> Vec<u8> {
        let tag = hmac::sign(&self.key, &[&self.said, &b"\0"[..], pool.as_bytes()].concat());
        [&self.said, tag.as_ref()].concat()
    }

    fn sealed(&self, pool: &str) -> String {
        Self::cookie(&self.bytes(pool))
    }

    fn with_a_bit_of_the_tag_turned(self, pool: &str) -> String {
        let mut bytes = self.bytes(pool);
        *bytes.last_mut().expect("a tag") ^= 1;
        Self::cookie(&bytes)
    }

    fn longer_than_signed(self, pool: &str) -> String {
        let mut bytes = self.bytes(pool);
        bytes[1] ^= 1;
        Self::cookie(&bytes)
    }

    fn cookie(bytes: &[u8]) -> String {
        format!("SID={}", URL_SAFE_NO_PAD.encode(bytes))
    }
}

#[test]
fn forged_foreign_and_expired_cookies_begin_a_new_session() {
    let nodes = [TestNode::start("a"), TestNode::start("b")];
    let pool = |name: &str| {
        Pool::new(name)
            .unchecked()
            .nodes(nodes.iter().map(TestNode::address))
            .line("strategy = \"round_robin\"")
            .line("sticky = { by = \"cookie\", name = \"SID\", ttl = \"1m\" }")
    };
    let folder = tempfile::tempdir().expect("a folder");
    let settings = Settings::default().serve("http", pool("web")).serve("http", pool("shop"));
    let one = Peer::start(&settings.remembering_in(folder.path()));
    let other = Peer::start(&Settings::default().serve("http", pool("web")));
    let web = one.listener("web");
    let session = begin(web);
    for _ in 0..6 {
        let answer = ask(web, Some(&session.cookie));
        assert_eq!((node(&answer), cookie(&answer)), (session.node.clone(), None));
    }
    let key = std::fs::read_to_string(folder.path().join("state/cookie.key")).expect("the key of the peer");
    let signed = Signed::of(&session.cookie, &KeyRing::parse(&key).expect("a key"));
    assert_eq!(signed.sealed("web"), session.cookie, "as the peer itself signs it");
    let now_s = evenkeel::host::wall_now_ms() / 1_000;
    let lasting = signed.clone().ending(now_s + 60).sealed("web");
    assert_eq!(node(&ask(web, Some(&lasting))), session.node, "one that is not over yet is believed");
    let mut bent = session.cookie.clone();
    bent.pop();
    for (what, value) in [
        ("over, and else as the peer signed it", signed.clone().ending(now_s - 1).sealed("web")),
        ("signed for another pool", signed.sealed("shop")),
        ("well formed, with a signature of its own", signed.clone().with_a_bit_of_the_tag_turned("web")),
        ("well formed, and longer than it was signed for", signed.clone().longer_than_signed("web")),
        ("of another peer that is in no cluster with this one", begin(other.listener("web")).cookie),
        ("of another pool", begin(one.listener("shop")).cookie),
        ("bent", bent),
        ("made up", "SID=web-1".to_owned()),
        ("empty", "SID=".to_owned()),
        ("long", format!("SID={}", "A".repeat(3_000))),
    ] {
        assert!(cookie(&ask(web, Some(&value))).is_some(), "{what}");
    }
}

#[test]
fn sessions_known_by_header_cookie_query_or_address_are_at_the_same_node_at_every_peer_and_after_a_restart() {
    let nodes: Vec<TestNode> = ["a", "b", "c", "d"].map(TestNode::start).into();
    for (by, request) in [
        ("header:x-session", "GET / HTTP/1.1\r\nHost: test\r\nX-Session: {}\r\n\r\n"),
        ("cookie:app", "GET / HTTP/1.1\r\nHost: test\r\nCookie: app={}\r\n\r\n"),
        ("query:user", "GET /?user={} HTTP/1.1\r\nHost: test\r\n\r\n"),
        ("session:sid", "GET /cart;sid={} HTTP/1.1\r\nHost: test\r\n\r\n"),
    ] {
        let pool = Pool::new("web")
            .unchecked()
            .nodes(nodes.iter().map(TestNode::address))
            .line(format!("sticky = {{ by = {by:?} }}"));
        let settings = Settings::default().serve("http", pool);
        let homes = |peer: &Peer| -> Vec<String> {
            let mut client = Raw::connect(peer.listener("web"));
            let mut asked = |id: usize| {
                let answer = client.ask(request.replace("{}", &format!("user-{id}"))).expect("an answer");
                assert_eq!(cookie(&answer), None);
                node(&answer)
            };
            (0..40)
                .map(|id| {
                    let first = asked(id);
                    assert_eq!(asked(id), first);
                    first
                })
                .collect()
        };
        let first = homes(&Peer::start(&settings));
        assert_eq!(first.iter().collect::<BTreeSet<_>>().len(), 4, "{by}: {first:?}");
        assert_eq!(homes(&Peer::start(&settings)), first, "{by}");
    }
}

#[test]
fn an_mqtt_client_comes_back_to_its_broker_by_its_client_id() {
    let brokers: Vec<std::net::TcpListener> =
        (0..3).map(|_| std::net::TcpListener::bind("127.0.0.1:0").expect("a free port")).collect();
    let addresses = brokers.iter().map(|broker| broker.local_addr().expect("an address"));
    let pool = Pool::new("mqtt").unchecked().nodes(addresses).line("sticky = { by = \"mqtt_client_id\" }");
    let peer = Peer::start(&Settings::default().serve("tcp", pool));
    brokers.iter().for_each(|broker| broker.set_nonblocking(true).expect("a socket"));
    let broker_of = |id: &str, in_parts: bool| {
        let mut packet = vec![0x10, u8::try_from(12 + id.len()).expect("short"), 0, 4];
        packet.extend_from_slice(b"MQTT\x04\x02\x00\x3c\x00");
        packet.push(u8::try_from(id.len()).expect("short"));
        packet.extend_from_slice(id.as_bytes());
        let mut client = Raw::connect(peer.listener("mqtt"));
        let (head, rest) = packet.split_at(if in_parts { 5 } else { packet.len() });
        client.send(head).expect("a connection");
        client.send(rest).expect("a connection");
        let mut found = None;
        wait_until("the broker to be reached", || {
            found = found.or_else(|| {
                brokers.iter().position(|broker| match broker.accept() {
                    Ok((mut stream, _)) => {
                        stream.set_nonblocking(false).expect("a socket");
                        stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a socket");
                        let mut got = vec![0; packet.len()];
                        std::io::Read::read_exact(&mut stream, &mut got).expect("the packet, whole");
                        assert_eq!(got, packet);
                        true
                    }
                    Err(_) => false,
                })
            });
            found.is_some()
        });
        found.expect("it was waited for")
    };
    let homes: Vec<usize> = (0..12).map(|id| broker_of(&format!("meter-{id}"), id % 2 == 0)).collect();
    assert_eq!(homes.iter().collect::<BTreeSet<_>>().len(), 3, "{homes:?}");
    for (id, home) in homes.iter().enumerate() {
        assert_eq!(broker_of(&format!("meter-{id}"), id % 3 == 0), *home);
    }
}
