//! What clients that speak HTTP/2 may rely on: the same peer with the same nodes, one connection with many streams.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use cluster_tests::certificates::Authority;
use cluster_tests::http2::{self, Http2};
use cluster_tests::need;
use cluster_tests::node::{Answer, Behaviour, BodyRead, TestNode, Then};
use cluster_tests::pattern::{Digest, Pattern};
use cluster_tests::peer::{Peer, write_settings};
use cluster_tests::procfs;
use cluster_tests::raw::Raw;
use cluster_tests::report;
use cluster_tests::settings::{Pool, Settings};
use cluster_tests::wait::{PATIENCE, wait_until};
use h2::Reason;
use http::Request;
use rustix::process::Signal;
use tempfile::TempDir;

const MIB: u64 = 1024 * 1024;

fn before(nodes: &[&TestNode]) -> Settings {
    Settings::one("web", "http", nodes.iter().map(|node| node.address()))
}

/// A count of the peer, or of its listener.
fn count(peer: &Peer, kind: &str) -> u64 {
    let told = peer.json("/api/health/detailed");
    let found = told["counts"][kind].as_u64().or_else(|| told["listeners"][0]["counts"][kind].as_u64());
    found.unwrap_or_else(|| panic!("no count {kind}: {told}"))
}

/// A peer whose listener speaks TLS, and who trusts it.
fn over_tls(settings: Settings) -> (Peer, Authority, TempDir) {
    let (authority, folder) = (Authority::new(), tempfile::tempdir().expect("a temporary folder"));
    let file = authority.issue_in_one(folder.path(), &["x.test", "127.0.0.1"]);
    (Peer::start(&settings.over_tls(&file)), authority, folder)
}

/// Version, status and body of `GET /` as curl gets it.
fn curl(peer: &Peer, authority: Option<&Path>, more: &[&str]) -> String {
    let at = peer.listener("web");
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--show-error", "--max-time", "10", "--write-out", "%{http_version} %{http_code}"]);
    curl.arg("--resolve").arg(format!("x.test:{}:{}", at.port(), at.ip())).args(more);
    let scheme = match authority {
        Some(authority) => {
            curl.arg("--cacert").arg(authority);
            "https"
        }
        None => "http",
    };
    let output = curl.arg(format!("{scheme}://x.test:{}/", at.port())).output().expect("curl runs");
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
}

#[test]
fn http_2_is_spoken_where_a_client_chooses_it_and_not_where_it_is_turned_off() {
    if need::program("curl").is_none() {
        return;
    }
    let node = TestNode::start("a");
    let (peer, authority, folder) = over_tls(before(&[&node]));
    let trusted = authority.write(folder.path());
    assert_eq!(curl(&peer, Some(&trusted), &[]), "a\n2 200", "curl offers both");
    assert_eq!(curl(&peer, Some(&trusted), &["--http1.1"]), "a\n1.1 200");
    let plain = Peer::start(&before(&[&node]));
    assert_eq!(curl(&plain, None, &["--http2-prior-knowledge"]), "a\n2 200");
    assert_eq!(curl(&plain, None, &["--http2"]), "a\n1.1 200", "nobody upgrades to h2c");
    assert_eq!(curl(&plain, None, &[]), "a\n1.1 200");
    assert_eq!((count(&peer, "http2_connections_total"), count(&plain, "http2_connections_total")), (1, 1));

    let (off, authority, folder) = over_tls(before(&[&node]).listener_line("http2 = false"));
    assert_eq!(curl(&off, Some(&authority.write(folder.path())), &[]), "a\n1.1 200");
    let off = Peer::start(&before(&[&node]).listener_line("http2 = false"));
    let answer = Raw::connect(off.listener("web")).ask("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").unwrap();
    assert_eq!(answer.status, 505);
}

#[test]
fn a_node_sees_a_request_of_http_1_that_says_where_it_came_from() {
    let node = TestNode::start("a");
    let (peer, authority, _folder) = over_tls(before(&[&node]));
    let client = Http2::connect_tls(peer.listener("web"), &authority.client("x.test"));
    let request = Request::get("https://x.test/a?b=c").header("cookie", "a=1").header("cookie", "b=2");
    let answer = client.run(http2::ask(client.sender(), request.body(()).unwrap(), &[])).unwrap();
    assert_eq!((answer.status, answer.text().as_str()), (200, "a\n"));
    assert!(answer.field("date").is_some() && answer.field("connection").is_none(), "{answer:?}");
    let seen = node.seen().requests.pop_back().expect("a request");
    assert_eq!(seen.line, "GET /a?b=c HTTP/1.1");
    for (name, value) in [
        ("host", "x.test"),
        ("cookie", "a=1; b=2"),
        ("x-forwarded-for", "127.0.0.1"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "x.test"),
        ("forwarded", "for=127.0.0.1;host=\"x.test\";proto=https"),
        ("via", "2.0 evenkeel"),
    ] {
        assert_eq!(seen.field(name), Some(value), "{name}: {seen:?}");
    }
    assert_eq!(seen.fields.iter().filter(|(name, _)| name.eq_ignore_ascii_case("host")).count(), 1);
}

#[test]
fn a_hundred_streams_with_bodies_of_all_kinds_run_at_the_same_time() {
    let (a, b) = (TestNode::start("a"), TestNode::start("b"));
    let (tls, authority, _folder) = over_tls(before(&[&a, &b]));
    let plain = Peer::start(&before(&[&a, &b]));
    for client in
        [Http2::connect(plain.listener("web")), Http2::connect_tls(tls.listener("web"), &authority.client("x.test"))]
    {
        let body = Pattern::shared().body(300_000);
        let answers: Vec<_> = (0..100_usize)
            .map(|number| {
                let (send, body) = (client.sender(), body[..number * 3_000].to_vec());
                async move {
                    match number % 4 {
                        0 => http2::ask(send, http2::get(&format!("/bytes/{}", number * 5_000)), &[]).await,
                        1 => http2::ask(send, http2::get(&format!("/chunked/{}", number * 5_000)), &[]).await,
                        2 => http2::ask(send, http2::request("POST", "/echo"), &[&body]).await,
                        _ => http2::ask(send, http2::request("PUT", "/echo"), &[&body[..7], &body[7..], &[]]).await,
                    }
                }
            })
            .collect();
        let answers = client.run(async {
            let tasks: Vec<_> = answers.into_iter().map(tokio::spawn).collect();
            let mut done = Vec::new();
            for task in tasks {
                done.push(task.await.unwrap());
            }
            done
        });
        for (number, answer) in answers.into_iter().enumerate() {
            let answer = answer.unwrap_or_else(|error| panic!("{number}: {error}"));
            let length = if number % 4 < 2 { number * 5_000 } else { number * 3_000 };
            assert_eq!((answer.status, answer.body.len()), (200, length), "{number}");
            assert_eq!(Pattern::shared().difference(0, &answer.body), None, "{number}");
        }
        assert!(client.ended().is_none(), "all of it over one connection");
    }
}

#[test]
fn a_hundred_mebibytes_go_either_way_through_bounded_memory() {
    let node = TestNode::start("a");
    let mut peer = Peer::start(&before(&[&node]));
    let client = Http2::connect(peer.listener("web"));
    client.get("/").unwrap();
    let pid = peer.process().pid();
    let resident = procfs::forget_peak(pid);
    client.run(async {
        let (answer, _) = client
            .sender()
            .ready()
            .await
            .unwrap()
            .send_request(http2::get(&format!("/bytes/{}", 100 * MIB)), true)
            .unwrap();
        let mut body = answer.await.unwrap().into_body();
        let (mut got, mut wrong) = (0, None);
        http2::read(&mut body, |part| {
            wrong = wrong.or_else(|| Pattern::shared().difference(got, part));
            got += part.len() as u64;
        })
        .await
        .unwrap();
        assert_eq!((got, wrong), (100 * MIB, None));
    });
    let digest = client.run(async {
        let (answer, mut stream) =
            client.sender().ready().await.unwrap().send_request(http2::request("POST", "/digest"), false).unwrap();
        let (mut digest, mut sent) = (Digest::default(), 0);
        while sent < 100 * MIB {
            let part = Pattern::shared().at(sent, usize::try_from((MIB / 2).min(100 * MIB - sent)).unwrap());
            digest.update(part);
            sent += part.len() as u64;
            http2::send_all(&mut stream, part, false).await.unwrap();
        }
        stream.send_data(bytes::Bytes::new(), true).unwrap();
        (http2::whole(answer.await.unwrap()).await.unwrap().text(), format!("{sent} {:x}", digest.value()))
    });
    assert_eq!(digest.0.trim_end(), digest.1);
    let grown = procfs::peak_resident_bytes(pid).saturating_sub(resident);
    report::line(&format!("100 MiB down and up took {} KiB of memory more", grown / 1024));
    assert!(grown < 16 * MIB, "{grown} bytes");
}

#[test]
fn clients_that_take_nothing_and_nodes_that_take_nothing_cost_no_memory_but_what_is_bounded() {
    let node = TestNode::start("a");
    node.order("/stuck", Behaviour { body_read: BodyRead::Never, ..Behaviour::freeze() });
    let mut peer = Peer::start(&before(&[&node]));
    // Windows of a client that promises to take all, and reads nothing.
    let wide = |builder: &mut h2::client::Builder| {
        builder.initial_window_size(1 << 30).initial_connection_window_size(1 << 30).max_concurrent_streams(1_000);
    };
    let (reader, writer) = (Http2::connect(peer.listener("web")), Http2::with(peer.listener("web"), None, wide));
    writer.get("/").unwrap();
    reader.get("/").unwrap();
    let pid = peer.process().pid();
    let resident = procfs::forget_peak(pid);
    // The default window: each stops after 64 KiB, and the node is read no further.
    let held: Vec<_> = (0..50)
        .map(|_| {
            reader.run(async {
                reader
                    .sender()
                    .ready()
                    .await
                    .unwrap()
                    .send_request(http2::get("/bytes/50000000"), true)
                    .unwrap()
                    .0
                    .await
                    .unwrap()
            })
        })
        .collect();
    let sent = writer.run(async {
        let mut sent = 0_u64;
        let mut streams = Vec::new();
        for _ in 0..50 {
            let (answer, mut stream) =
                writer.sender().ready().await.unwrap().send_request(http2::request("POST", "/stuck"), false).unwrap();
            while let Ok(Ok(())) =
                tokio::time::timeout(Duration::from_millis(50), http2::send_all(&mut stream, &[b'x'; 16_384], false))
                    .await
            {
                sent += 16_384;
            }
            streams.push((answer, stream));
        }
        sent
    });
    let grown = procfs::peak_resident_bytes(pid).saturating_sub(resident);
    report::line(&format!("50 stuck downloads and {sent} bytes of stuck uploads took {} KiB more", grown / 1024));
    assert!(grown < 48 * MIB, "{grown} bytes");
    drop(held);
    assert_eq!(reader.get("/").unwrap().status, 200, "and others go on beside them");
}

#[test]
fn trailers_go_both_ways() {
    let node = TestNode::start("a");
    let raw = "HTTP/1.1 200 OK\r\nContent-Type: application/grpc\r\nTransfer-Encoding: chunked\r\nTrailer: grpc-status\r\n\r\n\
               5\r\nhello\r\n0\r\ngrpc-status: 0\r\ngrpc-message: fine\r\n\r\n";
    node.order("/call", Behaviour::raw(raw, Then::Keep));
    let peer = Peer::start(&before(&[&node]));
    let client = Http2::connect(peer.listener("web"));
    let request = Request::post("http://test/call").header("te", "trailers").body(()).unwrap();
    let answer = client.run(async {
        let (answer, mut stream) = client.sender().ready().await.unwrap().send_request(request, false).unwrap();
        stream.send_data("message".into(), false).unwrap();
        let mut trailers = http::HeaderMap::new();
        trailers.insert("checksum", "1".parse().unwrap());
        stream.send_trailers(trailers).unwrap();
        http2::whole(answer.await.unwrap()).await.unwrap()
    });
    let trailers: Vec<_> =
        answer.trailers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
    assert_eq!((answer.status, answer.text().as_str()), (200, "hello"));
    assert_eq!(trailers, [("grpc-status", "0"), ("grpc-message", "fine")]);
    let seen = node.seen().requests.pop_back().expect("a request");
    assert_eq!((seen.trailers, seen.body_bytes), (vec!["checksum: 1".to_owned()], 7));
    assert_eq!(seen.fields.iter().find(|(name, _)| name == "TE").map(|(_, value)| value.as_str()), Some("trailers"));
}

#[test]
fn answers_without_bodies_interim_answers_and_expectations_are_what_they_were() {
    let node = TestNode::start("a");
    node.order("/hints", Behaviour { interim: vec![103], ..Behaviour::default() });
    let peer = Peer::start(&before(&[&node]));
    let client = Http2::connect(peer.listener("web"));
    let head = client.run(http2::ask(client.sender(), http2::request("HEAD", "/bytes/5000"), &[])).unwrap();
    assert_eq!((head.status, head.field("content-length"), head.body.len()), (200, Some("5000"), 0));
    for status in [204, 304, 404] {
        let answer = client.get(&format!("/status/{status}")).unwrap();
        assert_eq!((answer.status, answer.body.len()), (status, 0));
    }
    assert_eq!(client.get("/hints").unwrap().text(), "a\n");
    let request = Request::post("http://test/digest").header("expect", "100-continue").header("content-length", "5");
    let answer = client.run(http2::ask(client.sender(), request.body(()).unwrap(), &[b"hello"])).unwrap();
    assert!(answer.text().starts_with("5 "), "{answer:?}");

    let nghttp = need::program("nghttp");
    let Some(nghttp) = nghttp else { return };
    let url = |path: &str| format!("http://{}{path}", peer.listener("web"));
    let said = Command::new(&nghttp).args(["--verbose", "--null-out", &url("/hints")]).output().expect("nghttp runs");
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(said.contains(":status: 103") && said.contains(":status: 200"), "{said}");
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    std::fs::write(file.path(), "hello").expect("a file takes bytes");
    let mut waits = Command::new(&nghttp);
    waits.args(["--verbose", "--expect-continue", "--data"]).arg(file.path());
    let said = waits.arg(url("/digest")).output().expect("nghttp runs");
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(said.contains(":status: 100") && said.contains("5 "), "{said}");
}

#[test]
fn an_answer_that_comes_early_is_whole_and_ends_the_upload_without_an_error() {
    let node = TestNode::start("a");
    let peer = Peer::start(&before(&[&node]));
    let client = Http2::connect(peer.listener("web"));
    let (answer, mut stream) = client.begin(http2::request("POST", "/early"));
    client.run(async {
        stream.send_data("some".into(), false).unwrap();
        assert_eq!(http2::whole(answer.await.unwrap()).await.unwrap().text(), "a\n");
        let reason = std::future::poll_fn(|cx| stream.poll_reset(cx)).await.unwrap();
        assert_eq!(reason, Reason::NO_ERROR);
    });
    assert_eq!(client.get("/").unwrap().status, 200);
}

#[test]
fn an_answer_that_breaks_off_is_reset_and_other_streams_go_on() {
    let node = TestNode::start("a");
    let counted = "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\nhalf of it";
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n";
    let open = "HTTP/1.1 200 OK\r\n\r\nhalf of it";
    node.order("/counted", Behaviour::raw(counted, Then::Close));
    node.order("/chunked", Behaviour::raw(chunked, Then::Close));
    node.order("/open", Behaviour::raw(open, Then::Reset));
    let peer = Peer::start(&before(&[&node]));
    let client = Http2::connect(peer.listener("web"));
    let (beside, _stream) = client.begin(http2::request("POST", "/echo"));
    for path in ["/counted", "/chunked", "/open"] {
        let error = client.get(path).expect_err(path);
        assert_eq!((error.is_reset(), error.reason()), (true, Some(Reason::INTERNAL_ERROR)), "{path}: {error}");
    }
    for (path, status) in [("/close", 502), ("/reset", 502)] {
        assert_eq!(client.get(path).unwrap().status, status, "{path}: nothing was said yet");
    }
    drop(_stream);
    drop(beside);
    assert_eq!(client.get("/").unwrap().status, 200);
}

#[test]
fn a_node_that_is_killed_in_the_middle_of_its_answer_resets_the_stream() {
    let mut node = cluster_tests::node::NodeProcess::start("a");
    let peer = Peer::start(&Settings::one("web", "http", [node.address()]));
    let client = Http2::connect(peer.listener("web"));
    let error = client.run(async {
        let (answer, _) =
            client.sender().ready().await.unwrap().send_request(http2::get("/slow/50000000"), true).unwrap();
        let mut body = answer.await.unwrap().into_body();
        body.data().await.unwrap().unwrap();
        node.kill();
        http2::read(&mut body, |_| {}).await.unwrap_err()
    });
    assert_eq!((error.is_reset(), error.reason()), (true, Some(Reason::INTERNAL_ERROR)), "{error}");
}

#[test]
fn a_client_that_gives_a_stream_up_gives_the_place_at_the_node_back() {
    let node = TestNode::start("a");
    node.order("/stuck", Behaviour { delay_ms: 60_000, ..Behaviour::default() });
    let pool = Pool::new("web").unchecked().node(&node.address().to_string(), &["max_connections = 2"]);
    let peer = Peer::start(&Settings::default().serve("http", pool));
    let client = Http2::connect(peer.listener("web"));
    let hold = |client: &Http2| -> Vec<_> {
        let before = node.seen().requests_total;
        let held = ["/stuck", "/slow/50000000"].map(|path| client.begin(http2::get(path)));
        wait_until("the node to have both", || node.seen().requests_total == before + 2);
        held.into()
    };
    for _ in 0..3 {
        for (_, mut stream) in hold(&client) {
            stream.send_reset(Reason::CANCEL);
        }
        assert_eq!(client.get("/").unwrap().status, 200, "there is a place");
    }
    let held = hold(&client);
    drop((held, client));
    assert_eq!(Http2::connect(peer.listener("web")).get("/").unwrap().status, 200, "a client that is gone has none");
    wait_until("its going to be counted", || count(&peer, "clients_gone") == 8);
}

#[test]
fn a_stream_is_tried_elsewhere_and_told_what_any_request_is_told() {
    let (dead, node) = (cluster_tests::ports::free(), TestNode::start("a"));
    let peer = Peer::start(&Settings::one("web", "http", [dead, node.address()]));
    let client = Http2::connect(peer.listener("web"));
    for _ in 0..20 {
        assert_eq!(client.get("/").unwrap().status, 200);
        assert_eq!(client.post("/echo", b"hello").unwrap().text(), "hello");
    }
    let alone = Peer::start(&Settings::one("web", "http", []));
    let client = Http2::connect(alone.listener("web"));
    let answer = client.get("/").unwrap();
    assert_eq!((answer.status, answer.field("retry-after")), (503, Some("1")));
    assert!(answer.text().starts_with("503 Service Unavailable"), "{answer:?}");
    let head = client.run(http2::ask(client.sender(), http2::request("HEAD", "/"), &[])).unwrap();
    assert_eq!((head.status, head.body.len()), (503, 0));
    assert_eq!(client.post("/", &[b'x'; 300_000]).map(|answer| answer.status).ok(), Some(503));
    let connect =
        client.run(http2::ask(client.sender(), Request::connect("x.test:443").body(()).unwrap(), &[])).unwrap();
    assert_eq!(connect.status, 405);
}

#[test]
fn a_changed_listener_tells_its_connections_to_go_and_lets_their_streams_finish() {
    let node = TestNode::start("a");
    let settings = before(&[&node]);
    let mut peer = Peer::start(&settings);
    let client = Http2::connect(peer.listener("web"));
    client.get("/").unwrap();
    let slow = client.run(async {
        client.sender().ready().await.unwrap().send_request(http2::get("/slow/2000000"), true).unwrap().0.await.unwrap()
    });
    write_settings(peer.process().folder(), &settings.listener_line("keep_alive_timeout = \"50s\"").evenkeel_toml());
    peer.process().signal(Signal::HUP);
    // A client that was told begins no stream.
    wait_until("the end to be told", || client.run(async { client.sender().ready().await.is_err() }));
    assert_eq!(client.run(http2::whole(slow)).unwrap().body.len(), 2_000_000);
    assert_eq!(client.await_end(PATIENCE), Ok(()));
    assert_eq!(Http2::connect(peer.listener("web")).get("/").unwrap().status, 200);
}

#[test]
fn no_stream_fails_when_a_peer_stops() {
    let node = TestNode::start("a");
    let mut peer = Peer::start(&before(&[&node]).peer_line("announce = \"1s\""));
    let address = peer.listener("web");
    // What is not read of one stream must leave room for another.
    let wide = |builder: &mut h2::client::Builder| {
        builder.initial_connection_window_size(1 << 20);
    };
    let clients: Vec<Http2> = (0..4).map(|_| Http2::with(address, None, wide)).collect();
    let slow: Vec<_> = clients
        .iter()
        .map(|client| {
            let request = http2::get("/slow/6000000");
            client.run(async {
                client.sender().ready().await.unwrap().send_request(request, true).unwrap().0.await.unwrap()
            })
        })
        .collect();
    let (mut asked, mut refused) = (0, 0);
    peer.process().signal(Signal::TERM);
    for client in &clients {
        // Whoever was told asks no more; whatever was taken is answered.
        loop {
            match client.get("/") {
                Ok(answer) => assert_eq!(answer.status, 200),
                Err(error) => {
                    assert!(error.is_go_away() && error.reason() == Some(Reason::NO_ERROR), "{error}");
                    refused += 1;
                    break;
                }
            }
            asked += 1;
        }
    }
    for (client, slow) in clients.iter().zip(slow) {
        assert_eq!(client.run(http2::whole(slow)).unwrap().body.len(), 6_000_000);
        assert_eq!(client.await_end(PATIENCE), Ok(()));
    }
    report::line(&format!("{asked} streams answered while the peer stopped, {refused} clients told to go"));
    assert!(peer.process().wait(PATIENCE).success());
}

#[test]
fn idle_connections_are_told_to_go() {
    let node = TestNode::start("a");
    let settings =
        before(&[&node]).listener_line("keep_alive_timeout = \"300ms\"").listener_line("head_timeout = \"500ms\"");
    let peer = Peer::start(&settings);
    let client = Http2::connect(peer.listener("web"));
    assert_eq!(client.get("/").unwrap().status, 200);
    assert_eq!(client.get("/delay/600").unwrap().status, 200, "it waits for no next request meanwhile");
    assert_eq!(client.await_end(PATIENCE), Ok(()));
    assert_eq!(count(&peer, "timeouts_keep_alive"), 1);
    assert_eq!(Http2::connect(peer.listener("web")).await_end(PATIENCE), Ok(()));
    let mut silent = Raw::connect(peer.listener("web"));
    silent.send("PRI * HTTP/2.0\r\n\r\n").unwrap();
    wait_until("both to be counted", || count(&peer, "timeouts_head") == 2);
}

#[test]
fn a_websocket_over_http_2_reaches_a_node_that_knows_http_1_alone() {
    let node = TestNode::start("a");
    node.order("/wrong", Behaviour::raw("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: no\r\n\r\n", Then::Hang));
    node.order("/none", Answer::Name);
    let (peer, authority, _folder) = over_tls(before(&[&node]));
    let client = Http2::connect_tls(peer.listener("web"), &authority.client("x.test"));
    client.get("/").unwrap();
    let websocket = |path: &str| {
        let mut request = Request::connect(format!("https://x.test{path}")).header("sec-websocket-version", "13");
        request =
            request.header("sec-websocket-protocol", "chat").extension(h2::ext::Protocol::from_static("websocket"));
        client.begin(request.body(()).unwrap())
    };
    let (answer, mut stream) = websocket("/upgrade");
    client.run(async {
        let answer = answer.await.unwrap();
        assert_eq!(answer.status(), 200);
        assert!(!answer.headers().contains_key("sec-websocket-accept") && !answer.headers().contains_key("upgrade"));
        let mut body = answer.into_body();
        let sent = Pattern::shared().body(300_000);
        let echo = async {
            let mut echoed = Vec::new();
            while echoed.len() < sent.len() {
                let part = body.data().await.unwrap().unwrap();
                body.flow_control().release_capacity(part.len()).unwrap();
                echoed.extend_from_slice(&part);
            }
            echoed
        };
        let (echoed, said) = tokio::join!(echo, http2::send_all(&mut stream, &sent, false));
        said.unwrap();
        assert!(echoed == sent);
        stream.send_data(bytes::Bytes::new(), true).unwrap();
        http2::read(&mut body, |part| assert!(part.is_empty())).await.expect("the node ends its side too");
    });
    let seen = node.seen().requests.pop_back().expect("a request");
    assert_eq!(seen.line, "GET /upgrade HTTP/1.1");
    for (name, value) in [
        ("upgrade", "websocket"),
        ("connection", "upgrade"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-protocol", "chat"),
    ] {
        assert_eq!(seen.field(name), Some(value), "{seen:?}");
    }
    assert_eq!(seen.field("sec-websocket-key").map(str::len), Some(24));
    for (path, status) in [("/wrong", 502), ("/none", 502), ("/status/404", 404)] {
        let (answer, _stream) = websocket(path);
        assert_eq!(client.run(answer).unwrap().status().as_u16(), status, "{path}");
    }
    assert_eq!(count(&peer, "upgrades_total"), 1, "of those that became one");
}

#[test]
fn ten_thousand_requests_of_h2load_are_all_answered() {
    let Some(h2load) = need::program("h2load") else { return };
    let node = TestNode::start("a");
    let (peer, _authority, _folder) = over_tls(before(&[&node]));
    let url = format!("https://{}/bytes/2000", peer.listener("web"));
    let said = Command::new(h2load).args(["-n", "10000", "-c", "8", "-m", "100", &url]).output().expect("h2load runs");
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(said.contains("10000 succeeded, 0 failed, 0 errored, 0 timeout"), "{said}");
    assert!(said.contains("Application protocol: h2"), "{said}");
}
