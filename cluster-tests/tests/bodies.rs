//! Bodies of every size, both ways, counted and chunked, at any speed: byte for byte, and the peer's memory stays flat.

use std::io::Write;
use std::time::Duration;

use cluster_tests::front::Front;
use cluster_tests::head::Framing;
use cluster_tests::node::{Behaviour, BodyRead, TestNode};
use cluster_tests::pattern::Pattern;
use cluster_tests::raw::Raw;
use cluster_tests::settings::Settings;
use cluster_tests::wait::pause;
use cluster_tests::{procfs, report};
use evenkeel::host;

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const SIZES: [u64; 7] = [0, 1, 2, 64 * KIB - 1, 64 * KIB, MIB + 1, 16 * MIB];

/// What a peer's memory may grow by while bodies of any size pass through it.
const GROWTH_BYTES_MAX: u64 = 64 * MIB;
/// Bytes written at once.
const PIECE_BYTES: usize = 256 * 1024;

/// One node, a proxy before it, and how much memory the proxy took before the first body.
struct Stage {
    node: TestNode,
    front: Front,
    resident_before: u64,
}

impl Stage {
    fn set() -> Option<Self> {
        let node = TestNode::start("a");
        node.order("/count", Behaviour::of_target("/digest"));
        let mut front = Front::start(&Settings::one("web", "http", [node.address()]))?;
        assert_eq!(Raw::connect(front.listener("web")).get("/").status, 200);
        let resident_before = procfs::forget_peak(front.pid());
        Some(Self { node, front, resident_before })
    }

    fn connect(&self) -> Raw {
        Raw::connect(self.front.listener("web"))
    }

    /// Fails where the memory of the proxy was at any moment larger than buffers explain.
    fn expect_flat(&mut self, during: &str) {
        let grown = procfs::peak_resident_bytes(self.front.pid()).saturating_sub(self.resident_before);
        report::line(&format!("memory grown by at most {} KiB during {during}", grown / KIB));
        assert!(grown < GROWTH_BYTES_MAX, "memory grew by {grown} bytes during {during}");
        procfs::forget_peak(self.front.pid());
    }
}

/// Reads a body of `length` bytes and compares every one of them.
fn download(client: &mut Raw, path: &str, length: u64, mut between: impl FnMut()) {
    client.send(format!("GET {path} HTTP/1.1\r\nHost: test\r\n\r\n")).expect("a request is taken");
    let (_, head) = client.final_head().expect("a head");
    assert_eq!(head.status(), Ok(200));
    let framing = head.answer_framing("GET").expect("a framing");
    let (mut got, mut wrong) = (0, None);
    let body = client.body(framing, &mut |part| {
        wrong = wrong.or_else(|| Pattern::shared().difference(got, part));
        got += part.len() as u64;
        between();
    });
    assert_eq!((body, wrong, got), (Ok(Vec::new()), None, length), "{path} as {framing:?}");
}

/// Sends a body of `length` bytes and compares the node's digest of it.
fn upload(client: &mut Raw, chunked: bool, length: u64, piece_bytes: usize, mut between: impl FnMut()) {
    let framing = if chunked { "Transfer-Encoding: chunked".to_owned() } else { format!("Content-Length: {length}") };
    client.send(format!("POST /count HTTP/1.1\r\nHost: test\r\n{framing}\r\n\r\n")).expect("a head is taken");
    let mut sent = 0;
    while sent < length {
        let left = usize::try_from(length - sent).unwrap_or(usize::MAX);
        let piece = Pattern::shared().at(sent, left.min(piece_bytes));
        if chunked {
            client.send(format!("{:x}\r\n", piece.len())).expect("a chunk is taken");
        }
        client.send(piece).expect("a body is taken");
        if chunked {
            client.send("\r\n").expect("a chunk is taken");
        }
        sent += piece.len() as u64;
        between();
    }
    if chunked {
        client.send("0\r\n\r\n").expect("an end is taken");
    }
    let answer = client.answer("POST").expect("an answer");
    let expected = format!("{length} {:016x}\n", Pattern::shared().digest(length));
    assert_eq!((answer.status, answer.text()), (200, expected), "chunked: {chunked}");
}

#[test]
fn bodies_of_every_size_pass_both_ways_on_one_connection() {
    let Some(mut stage) = Stage::set() else { return };
    let mut client = stage.connect();
    for length in SIZES {
        for chunked in [false, true] {
            let path = format!("/{}/{length}", if chunked { "chunked" } else { "bytes" });
            download(&mut client, &path, length, || ());
            upload(&mut client, chunked, length, PIECE_BYTES, || ());
        }
    }
    stage.expect_flat("bodies up to 16 MiB");
}

#[test]
fn a_gibibyte_passes_both_ways_and_memory_stays_flat() {
    let Some(mut stage) = Stage::set() else { return };
    let mut client = stage.connect();
    for chunked in [false, true] {
        let framing = if chunked { "chunked" } else { "bytes" };
        let began = host::now();
        download(&mut client, &format!("/{framing}/{GIB}"), GIB, || ());
        report::line(&format!("1 GiB down, {framing}: {:?}", began.elapsed()));
        stage.expect_flat("1 GiB down");
        let began = host::now();
        upload(&mut client, chunked, GIB, PIECE_BYTES, || ());
        report::line(&format!("1 GiB up, {framing}: {:?}", began.elapsed()));
        stage.expect_flat("1 GiB up");
    }
}

#[test]
fn bytes_sent_one_by_one_arrive() {
    let Some(stage) = Stage::set() else { return };
    let mut client = stage.connect();
    for chunked in [false, true] {
        upload(&mut client, chunked, 2_000, 1, || ());
    }
    let request = "POST /digest HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    for byte in request.as_bytes() {
        client.send([*byte]).unwrap();
    }
    assert_eq!(client.answer("POST").unwrap().status, 200);
}

#[test]
fn a_slow_reader_holds_the_node_back_and_not_the_body_in_memory() {
    let Some(mut stage) = Stage::set() else { return };
    let mut readers: Vec<Raw> = (0..16).map(|_| stage.connect()).collect();
    for reader in &mut readers {
        reader.send(format!("GET /bytes/{} HTTP/1.1\r\nHost: test\r\n\r\n", 64 * MIB)).unwrap();
        assert_eq!(reader.final_head().unwrap().1.status(), Ok(200));
    }
    // 1 GiB is under way and nobody reads: buffers fill and everything waits.
    pause(Duration::from_secs(1));
    stage.expect_flat("1 s with 16 readers that do not read");
    for reader in &mut readers {
        let (mut got, mut wrong) = (0, None);
        let body = reader.body(Framing::Counted(64 * MIB), &mut |part| {
            wrong = wrong.or_else(|| Pattern::shared().difference(got, part));
            got += part.len() as u64;
        });
        assert_eq!((body, wrong, got), (Ok(Vec::new()), None, 64 * MIB));
    }
    let mut slow = stage.connect();
    download(&mut slow, &format!("/chunked/{}", 4 * MIB), 4 * MIB, || pause(Duration::from_millis(2)));
}

#[test]
fn a_slow_writer_is_waited_for_in_both_directions() {
    let Some(mut stage) = Stage::set() else { return };
    let mut client = stage.connect();
    for chunked in [false, true] {
        upload(&mut client, chunked, 256 * KIB, 4_096, || pause(Duration::from_millis(5)));
    }
    download(&mut client, &format!("/slow/{MIB}"), MIB, || ());
    stage.expect_flat("slow writers");
}

#[test]
fn a_node_that_does_not_read_holds_the_writer_back() {
    let Some(mut stage) = Stage::set() else { return };
    stage.node.order("/stuck", Behaviour { body_read: BodyRead::Last, ..Behaviour::delayed(5_000) });
    let client = stage.connect();
    let mut stream = client.stream();
    stream.set_write_timeout(Some(Duration::from_millis(500))).unwrap();
    stream
        .write_all(format!("POST /stuck HTTP/1.1\r\nHost: test\r\nContent-Length: {GIB}\r\n\r\n").as_bytes())
        .unwrap();
    let mut taken = 0;
    // A write ends in an error once nothing was taken for the time above.
    while taken < GIB
        && let Ok(count) = stream.write(Pattern::shared().at(taken, PIECE_BYTES))
    {
        taken += count as u64;
    }
    report::figure("MiB taken from a writer whose node does not read", taken / MIB);
    assert!(taken < GROWTH_BYTES_MAX, "{taken} bytes were taken");
    stage.expect_flat("a node that does not read");
}
