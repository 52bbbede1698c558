//! TCP listeners: real brokers and databases with their own clients, and bytes under half close and resets.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Stdio;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use cluster_tests::front::Front;
use cluster_tests::mosquitto::{self, Mosquitto};
use cluster_tests::pattern::Pattern;
use cluster_tests::peer::Peer;
use cluster_tests::postgres::Postgres;
use cluster_tests::raw::{Broken, End, Raw, SILENCE_MAX};
use cluster_tests::settings::{Pool, Settings};
use cluster_tests::wait::{PATIENCE, pause, wait_until};
use cluster_tests::{ports, procfs, report};

const MIB: usize = 1 << 20;

fn relay(nodes: impl IntoIterator<Item = SocketAddr>) -> Option<Front> {
    Front::start(&Settings::one("relay", "tcp", nodes))
}

/// A server that hands each of its connections to `serve`, on a thread of its own.
fn server(connections: usize, serve: impl Fn(TcpStream) + Clone + Send + 'static) -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address");
    let thread = thread::spawn(move || {
        let serving: Vec<_> = (0..connections)
            .map(|_| {
                let (stream, _) = listener.accept().expect("a connection");
                stream.set_read_timeout(Some(SILENCE_MAX)).expect("a time-out above zero");
                let serve = serve.clone();
                thread::spawn(move || serve(stream))
            })
            .collect();
        for thread in serving {
            thread.join().expect("a connection is served");
        }
    });
    (address, thread)
}

fn expect_pattern(got: &[u8], length: usize) {
    assert_eq!((got.len(), Pattern::shared().difference(0, got)), (length, None));
}

fn read_all(mut stream: &TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).expect("bytes to an orderly end");
    bytes
}

#[test]
fn messages_pass_through_to_a_real_broker_and_back() {
    let Some(mut broker) = Mosquitto::start() else { return };
    let Some(front) = relay([broker.address()]) else { return };
    let through = front.listener("relay");
    let payload = Pattern::shared().body(MIB);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("payload");
    std::fs::write(&file, &payload).unwrap();

    // Retained, so that the subscriber need not come first.
    for topic in ["large", "small"] {
        let mut publish = mosquitto::client("mosquitto_pub", through);
        publish.args(["-t", topic, "-r"]);
        let publish = if topic == "large" { publish.arg("-f").arg(&file) } else { publish.args(["-m", "hello"]) };
        assert!(publish.status().unwrap().success());
    }
    for (topic, expected) in [("large", payload.as_slice()), ("small", b"hello")] {
        let got = mosquitto::client("mosquitto_sub", through)
            .args(["-t", topic, "-C", "1", "-N", "-W", "10"])
            .output()
            .unwrap();
        assert!(got.status.success(), "{}", String::from_utf8_lossy(&got.stderr));
        assert!(got.stdout == expected, "{} bytes of {topic} came", got.stdout.len());
    }

    let mut subscribe = mosquitto::client("mosquitto_sub", through);
    subscribe.args(["-t", "live/#", "-C", "100", "-W", "20", "-i", "live"]).stdout(Stdio::piped());
    let subscriber = subscribe.spawn().unwrap();
    broker.process().wait_log("the subscription", PATIENCE, |log| log.contains("Sending SUBACK to live").then_some(()));
    let lines: String = (1..=100).map(|number| format!("message {number}\n")).collect();
    let mut publisher =
        mosquitto::client("mosquitto_pub", through).args(["-t", "live/a", "-l"]).stdin(Stdio::piped()).spawn().unwrap();
    publisher.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
    assert!(publisher.wait().unwrap().success());
    let output = subscriber.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let got = String::from_utf8(output.stdout).unwrap();
    let got: Vec<&str> = got.lines().collect();
    assert_eq!(got, lines.lines().collect::<Vec<_>>(), "each message once and in order");
}

#[test]
fn a_real_database_and_its_benchmark_work_through_it() {
    let Some(database) = Postgres::start() else { return };
    let Some(front) = relay([database.address()]) else { return };
    let through = front.listener("relay");

    // 30 MB of rows, byte for byte the same as without the relay.
    let rows = "copy (select i, repeat(md5(i::text), 10) from generate_series(1, 90000) i) to stdout";
    let ask = |server| database.client("psql", server).args(["-At", "-c", rows]).output().unwrap();
    let (direct, relayed) = (ask(database.address()), ask(through));
    assert!(relayed.status.success(), "{}", String::from_utf8_lossy(&relayed.stderr));
    assert!(direct.stdout.len() > 29_000_000 && relayed.stdout == direct.stdout, "{} bytes came", relayed.stdout.len());

    // The same rows the other way.
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("rows");
    std::fs::write(&file, &direct.stdout).unwrap();
    let load = format!("create table t (i int, s text); \\copy t from '{}'", path(&file));
    for command in load.split("; ") {
        let output = database.client("psql", through).args(["-c", command]).output().unwrap();
        assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    }
    let sum = "select count(*), md5(string_agg(s, ',' order by i)) from t";
    let same =
        "select count(*), md5(string_agg(repeat(md5(i::text), 10), ',' order by i)) from generate_series(1, 90000) i";
    let told = |sql| database.client("psql", through).args(["-At", "-c", sql]).output().unwrap().stdout;
    assert_eq!(told(sum), told(same));

    let initialise = database.client("pgbench", through).args(["-i", "-q", "postgres"]).output().unwrap();
    assert!(initialise.status.success(), "{}", String::from_utf8_lossy(&initialise.stderr));
    let arguments = ["-c", "8", "-j", "2", "-t", "50", "postgres"];
    for connect_each in [false, true] {
        let mut bench = database.client("pgbench", through);
        if connect_each {
            bench.arg("-C");
        }
        let output = bench.args(arguments).output().unwrap();
        let told = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            output.status.success() && told.contains("400/400"),
            "{told}{}",
            String::from_utf8_lossy(&output.stderr)
        );
        for line in told.lines().filter(|line| line.starts_with("tps")) {
            report::line(&format!("pgbench, a connection each: {connect_each}: {line}"));
        }
    }
}

fn path(file: &Path) -> &str {
    file.to_str().expect("a temporary path is plain")
}

#[test]
fn each_side_may_finish_sending_first_and_still_read() {
    let (address, serving) = server(2, |mut stream| {
        let mut first = [0];
        stream.read_exact(&mut first).unwrap();
        if first == [b'c'] {
            // The client finishes first; only then does the node answer.
            expect_pattern(&read_all(&stream), 8 * MIB);
            stream.write_all(&Pattern::shared().body(8 * MIB)).unwrap();
        } else {
            // The node finishes first and then still reads.
            stream.write_all(&Pattern::shared().body(8 * MIB)).unwrap();
            stream.shutdown(Shutdown::Write).unwrap();
            expect_pattern(&read_all(&stream), 8 * MIB);
        }
    });
    let Some(front) = relay([address]) else { return };

    let mut client = Raw::connect(front.listener("relay"));
    client.send("c").unwrap();
    client.send(Pattern::shared().body(8 * MIB)).unwrap();
    client.end_sending();
    expect_pattern(&client.rest().unwrap(), 8 * MIB);

    let mut client = Raw::connect(front.listener("relay"));
    client.send("n").unwrap();
    expect_pattern(&client.rest().unwrap(), 8 * MIB);
    client.send(Pattern::shared().body(8 * MIB)).unwrap();
    client.end_sending();
    serving.join().unwrap();
}

#[test]
fn a_reset_of_one_side_is_a_reset_of_the_other() {
    let (reports, seen) = std::sync::mpsc::sync_channel(2);
    let (address, serving) = server(2, move |mut stream| {
        let mut first = [0];
        stream.read_exact(&mut first).unwrap();
        if first == [b'c'] {
            reports.send(stream.read(&mut [0; 16]).map_err(|error| error.kind())).unwrap();
        } else {
            stream.write_all(b"half").unwrap();
            stream.read_exact(&mut first).unwrap();
            socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
        }
    });
    let Some(front) = relay([address]) else { return };

    let mut client = Raw::connect(front.listener("relay"));
    client.send("c").unwrap();
    // The byte must have been relayed before the reset, which may overtake bytes that are still under way.
    pause(Duration::from_millis(100));
    client.reset();
    let told = seen.recv_timeout(PATIENCE).unwrap();
    assert_eq!(told, Err(std::io::ErrorKind::ConnectionReset), "the node cannot take it for an orderly end");

    let mut client = Raw::connect(front.listener("relay"));
    client.send("n").unwrap();
    assert_eq!(client.bytes(4).unwrap(), b"half");
    client.send("n").unwrap();
    assert_eq!(client.rest(), Err(Broken::Reset), "the client cannot take it for an orderly end");
    serving.join().unwrap();
}

#[test]
fn a_node_may_speak_first() {
    let (address, serving) = server(1, |mut stream| {
        stream.write_all(b"220 ready\r\n").unwrap();
        assert_eq!(read_all(&stream), b"quit\r\n");
    });
    let Some(front) = relay([address]) else { return };
    let mut client = Raw::connect(front.listener("relay"));
    assert_eq!(client.bytes(11).unwrap(), b"220 ready\r\n");
    client.send("quit\r\n").unwrap();
    client.end_sending();
    serving.join().unwrap();
}

#[test]
fn a_slow_reader_holds_the_other_side_back() {
    let (address, serving) = server(8, |mut stream| {
        stream.set_nonblocking(false).unwrap();
        for _ in 0..64 {
            stream.write_all(&Pattern::shared().body(MIB)).unwrap();
        }
    });
    let Some(mut front) = relay([address]) else { return };
    let before = procfs::forget_peak(front.pid());
    let mut clients: Vec<Raw> = (0..8).map(|_| Raw::connect(front.listener("relay"))).collect();
    pause(Duration::from_millis(500));
    let grown = procfs::peak_resident_bytes(front.pid()).saturating_sub(before);
    report::figure("KiB grown with 8 readers that do not read", grown / 1024);
    assert!(grown < 32 * MIB as u64, "{grown}");
    for client in &mut clients {
        assert_eq!(client.rest().unwrap().len(), 64 * MIB);
    }
    serving.join().unwrap();
}

#[test]
fn a_client_that_leaves_the_waiting_line_never_reaches_the_node() {
    let (address, serving) = server(2, |mut stream| while let Ok(1..) = stream.read(&mut [0; 16]) {});
    let pool = Pool::new("relay").unchecked().line("queue_timeout = \"30s\"");
    let pool = pool.node(&address.to_string(), &["max_connections = 1"]);
    let peer = Peer::start(&Settings::default().serve("tcp", pool));
    let waiting = |count: u64| {
        wait_until("the waiting line", || peer.json("/api/health/detailed")["pools"][0]["waiting"] == count);
    };
    let connect = || {
        let mut client = Raw::connect(peer.listener("relay"));
        client.send("x").unwrap();
        client
    };
    let holder = connect();
    wait_until("the only place to be taken", || peer.json("/api/v1/nodes")["items"][0]["in_flight"] == 1);
    let (leaver, stayer) = (connect(), connect());
    waiting(2);
    leaver.reset();
    waiting(1);
    drop(holder);
    waiting(0);
    drop(stayer);
    // The third would have been the leaver's.
    serving.join().unwrap();
}

#[test]
fn a_node_that_refuses_is_passed_over() {
    let (address, serving) = server(20, |mut stream| stream.write_all(b"here").unwrap());
    let settings = Settings::default().serve(
        "tcp",
        Pool::new("relay").unchecked().line("strategy = \"round_robin\"").nodes([ports::free(), address]),
    );
    let Some(front) = Front::start(&settings) else { return };
    for _ in 0..20 {
        assert_eq!(Raw::connect(front.listener("relay")).rest().unwrap(), b"here");
    }
    serving.join().unwrap();
}

#[test]
fn a_client_whose_nodes_all_refuse_is_let_go() {
    let Some(front) = relay([ports::free()]) else { return };
    for _ in 0..3 {
        // The reset may come while the socket is still being set up.
        let end = Raw::try_connect(front.listener("relay")).map(|mut client| client.end(Duration::from_secs(5)));
        assert!(matches!(end, Err(_) | Ok(End::Closed | End::Reset)), "{end:?}");
    }
}

#[test]
fn an_idle_connection_ends_and_a_busy_one_does_not() {
    let (address, serving) = server(2, |mut stream| {
        let mut bytes = [0; 16];
        while let Ok(count @ 1..) = stream.read(&mut bytes) {
            stream.write_all(&bytes[..count]).unwrap();
        }
    });
    let settings = Settings::one("relay", "tcp", [address]).listener_line("idle_timeout = \"600ms\"");
    let Some(front) = Front::start(&settings) else { return };
    if !front.is_peer() {
        return;
    }
    let mut idle = Raw::connect(front.listener("relay"));
    let mut busy = Raw::connect(front.listener("relay"));
    for _ in 0..10 {
        busy.send("x").unwrap();
        assert_eq!(busy.bytes(1).unwrap(), b"x");
        pause(Duration::from_millis(120));
    }
    assert_eq!(idle.end(Duration::from_secs(2)), End::Reset, "nobody said that it was done");
    drop(busy);
    drop(idle);
    serving.join().unwrap();
}
