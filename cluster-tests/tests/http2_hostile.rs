//! What a client of HTTP/2 cannot do: frames that no codec would send, and more of them than anybody means.

use std::time::Duration;

use cluster_tests::frames::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, ENHANCE_YOUR_CALM, Frame, Frames, GOAWAY, HEADERS, PING,
    PROTOCOL_ERROR, RST_STREAM, SETTINGS, fields,
};
use cluster_tests::node::{Behaviour, TestNode};
use cluster_tests::peer::Peer;
use cluster_tests::procfs;
use cluster_tests::settings::Settings;
use cluster_tests::wait::wait_until;

const GET: [(&str, &str); 4] = [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "x.test")];

/// A count of the peer, or of its listener.
fn count(peer: &Peer, kind: &str) -> u64 {
    let told = peer.json("/api/health/detailed");
    let found = told["counts"][kind].as_u64().or_else(|| told["listeners"][0]["counts"][kind].as_u64());
    found.unwrap_or_else(|| panic!("no count {kind}: {told}"))
}

fn scene() -> (TestNode, Peer) {
    let node = TestNode::start("a");
    let peer = Peer::start(&Settings::one("web", "http", [node.address()]));
    (node, peer)
}

/// What became of a stream.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Outcome {
    Reset(u32),
    /// The first byte of its head: a status of the static table, or anything else.
    Head(u8),
    Gone(u32),
    Closed,
}

/// `:status: 400` of the static table of HPACK.
const STATUS_400: u8 = 0x8c;
const STATUS_200: u8 = 0x88;

fn outcome(frames: &mut Frames, stream: u32) -> Outcome {
    let found =
        frames.find(|frame| frame.kind == GOAWAY || (frame.stream == stream && frame.kind != DATA && frame.kind != 8));
    match found {
        None => Outcome::Closed,
        Some(frame) => match frame.kind {
            RST_STREAM => Outcome::Reset(frame.error().expect("it has a code")),
            GOAWAY => Outcome::Gone(frame.error().expect("it has a code")),
            _ => Outcome::Head(frame.payload[0]),
        },
    }
}

#[test]
fn a_malformed_request_ends_its_stream_and_never_reaches_a_node() {
    let (node, peer) = scene();
    let with = |more: &[(&'static str, &'static str)]| [&GET[..], more].concat();
    let without = |name: &str| GET.into_iter().filter(|field| field.0 != name).collect::<Vec<_>>();
    let instead = |name: &str, value: &'static str| {
        GET.into_iter().map(|field| if field.0 == name { (field.0, value) } else { field }).collect::<Vec<_>>()
    };
    let reset = [Outcome::Reset(PROTOCOL_ERROR)];
    let refused = [Outcome::Head(STATUS_400), Outcome::Reset(PROTOCOL_ERROR)];
    for (said, outcomes) in [
        (without(":method"), &reset[..]),
        (without(":scheme"), &reset),
        (without(":path"), &reset),
        (without(":authority"), &refused),
        (instead(":path", ""), &reset),
        (instead(":path", "a"), &refused),
        (instead(":path", "*"), &refused),
        (instead(":path", "/a b"), &refused),
        (instead(":path", "http://x.test/"), &refused),
        (instead(":authority", "u@x.test"), &refused),
        (instead(":authority", "x.test:99999"), &refused),
        (instead(":scheme", "ftp"), &refused),
        (with(&[(":path", "/")]), &reset),
        (with(&[("x-a", "1"), (":path", "/")]), &reset),
        (with(&[(":status", "200")]), &reset),
        (with(&[("connection", "close")]), &reset),
        (with(&[("keep-alive", "1")]), &reset),
        (with(&[("proxy-connection", "1")]), &reset),
        (with(&[("transfer-encoding", "chunked")]), &reset),
        (with(&[("upgrade", "websocket")]), &reset),
        (with(&[("te", "gzip")]), &reset),
        (with(&[("host", "y.test")]), &refused),
        (with(&[("content-length", "5")]), &refused),
        (with(&[("content-length", "0"), ("content-length", "0")]), &refused),
        (with(&[("content-length", "x")]), &refused),
        (with(&[("x-a", " 1")]), &refused),
    ] {
        let mut frames = Frames::connect(peer.listener("web"));
        assert!(frames.head(1, true, &said));
        let found = outcome(&mut frames, 1);
        assert!(outcomes.contains(&found), "{said:?}: {found:?}");
        assert!(frames.head(3, true, &GET));
        assert_eq!(outcome(&mut frames, 3), Outcome::Head(STATUS_200), "{said:?}: the next one is answered");
    }
    // What HPACK itself cannot have ends the connection, of which the tables are unknown from there on.
    for said in [with(&[("X-Upper", "1")]), with(&[("x a", "1")]), with(&[("x-a", "1\n2")]), with(&[(":new", "1")])] {
        let mut frames = Frames::connect(peer.listener("web"));
        assert!(frames.head(1, true, &said));
        let found = outcome(&mut frames, 1);
        assert!(matches!(found, Outcome::Reset(_) | Outcome::Gone(_)), "{said:?}: {found:?}");
    }
    let seen = node.seen();
    assert_eq!((seen.faults.len(), seen.requests.iter().filter(|seen| seen.line != "GET / HTTP/1.1").count()), (0, 0));
    assert!(count(&peer, "requests_refused") > 0);
}

#[test]
fn a_body_that_is_not_as_long_as_it_was_said_ends_its_stream() {
    let (node, peer) = scene();
    for (length, sent) in [("5", &b"hell"[..]), ("5", b"hello!"), ("0", b"x")] {
        let mut frames = Frames::connect(peer.listener("web"));
        let said = [("content-length", length), (":method", "POST"), (":path", "/digest")];
        let said = [&[said[1], GET[1], said[2], GET[3]][..], &said[..1]].concat();
        assert!(frames.head(1, false, &said));
        assert!(frames.send(&[Frame::new(DATA, END_STREAM, 1, sent)]));
        assert_eq!(outcome(&mut frames, 1), Outcome::Reset(PROTOCOL_ERROR), "{length}");
    }
    wait_until("the node to be free", || node.seen().in_flight == 0);
    assert!(node.seen().requests.iter().all(|seen| !seen.whole || seen.body_bytes == 0));
}

#[test]
fn a_hundred_and_first_stream_is_refused_and_the_others_go_on() {
    let (node, peer) = scene();
    node.order("/stuck", Behaviour { delay_ms: 2_000, ..Behaviour::default() });
    let mut frames = Frames::connect(peer.listener("web"));
    // The peer's settings must be known to count.
    frames.find(|frame| frame.kind == SETTINGS && frame.flags == 0).expect("settings");
    assert!(frames.send(&[Frame::new(SETTINGS, 1, 0, [])]));
    let stuck = [GET[0], GET[1], (":path", "/stuck"), GET[3]];
    for number in 0..101 {
        assert!(frames.head(1 + 2 * number, true, &stuck));
    }
    const REFUSED_STREAM: u32 = 7;
    assert_eq!(outcome(&mut frames, 201), Outcome::Reset(REFUSED_STREAM));
    assert_eq!(outcome(&mut frames, 1), Outcome::Head(STATUS_200));
}

/// Sends frames in bunches until the connection is ended, or too many were taken.
fn flood(peer: &Peer, bunch: impl Fn(u32) -> Vec<Frame>) -> Option<u32> {
    let mut frames = Frames::connect(peer.listener("web"));
    for number in 0..2_000 {
        if !frames.send(&bunch(number)) {
            break;
        }
    }
    // Whether its last words are read or lost in a reset is the kernel's matter.
    frames.find(|frame| frame.kind == GOAWAY).and_then(|frame| frame.error())
}

#[test]
fn floods_of_frames_end_the_connection_and_are_counted() {
    let (node, mut_peer) = scene();
    node.order("/stuck", Behaviour::freeze());
    let peer = mut_peer;
    let pid = peer.pid();
    let resident = procfs::forget_peak(pid);
    let stuck = fields(&[GET[0], GET[1], (":path", "/stuck"), GET[3]]);
    let head = |number: u32| Frame::new(HEADERS, END_HEADERS | END_STREAM, number, stuck.clone());
    type Bunch<'b> = Box<dyn Fn(u32) -> Vec<Frame> + 'b>;
    let floods: [(&str, Bunch<'_>); 7] = [
        ("pings", Box::new(|_| vec![Frame::new(PING, 0, 0, [0; 8]); 100])),
        ("settings", Box::new(|_| vec![Frame::new(SETTINGS, 0, 0, [0, 3, 0, 0, 0, 9]); 100])),
        ("unknown frames", Box::new(|_| vec![Frame::new(77, 0, 0, [0; 8]); 100])),
        ("priorities", Box::new(|_| vec![Frame::new(2, 0, 1, [0, 0, 0, 3, 9]); 100])),
        (
            "rapid resets",
            Box::new(|number| {
                let ids = (0..50).map(|one| 1 + 2 * (50 * number + one));
                ids.flat_map(|id| [head(id), Frame::new(RST_STREAM, 0, id, [0, 0, 0, 8])]).collect()
            }),
        ),
        (
            "empty data",
            Box::new(|number| {
                let first = (number == 0).then(|| Frame::new(HEADERS, END_HEADERS, 1, stuck.clone()));
                first.into_iter().chain(vec![Frame::new(DATA, 0, 1, []); 100]).collect()
            }),
        ),
        (
            "continuations",
            Box::new(|number| {
                let first = (number == 0).then(|| Frame::new(HEADERS, 0, 1, stuck.clone()));
                first.into_iter().chain(vec![Frame::new(CONTINUATION, 0, 1, fields(&[("x-a", "1")])); 10]).collect()
            }),
        ),
    ];
    for (index, (what, bunch)) in floods.iter().enumerate() {
        let told = flood(&peer, bunch);
        assert!(told.is_none_or(|code| code == ENHANCE_YOUR_CALM || code == PROTOCOL_ERROR), "{what}: {told:?}");
        wait_until(what, || count(&peer, "http2_floods") + count(&peer, "http2_faults") == index as u64 + 1);
    }
    assert!(count(&peer, "http2_floods") >= 5, "{}", count(&peer, "http2_floods"));
    let grown = procfs::peak_resident_bytes(pid).saturating_sub(resident);
    assert!(grown < 64 * 1024 * 1024, "{grown} bytes");
    wait_until("the node to be free", || node.seen().in_flight == 0);
    let mut frames = Frames::connect(peer.listener("web"));
    assert!(frames.head(1, true, &GET));
    assert_eq!(outcome(&mut frames, 1), Outcome::Head(STATUS_200), "the peer serves on");
}

#[test]
fn a_head_that_is_too_large_is_refused() {
    let (node, peer) = scene();
    let large = "x".repeat(10_000);
    let mut frames = Frames::connect(peer.listener("web"));
    let block = fields(&[&GET[..], &[("x-a", &large), ("x-b", &large), ("x-c", &large), ("x-d", &large)]].concat());
    let (first, rest) = block.split_at(16_000);
    let mut sent = vec![Frame::new(HEADERS, END_STREAM, 1, first)];
    let pieces: Vec<&[u8]> = rest.chunks(16_000).collect();
    for (at, piece) in pieces.iter().enumerate() {
        sent.push(Frame::new(CONTINUATION, if at + 1 == pieces.len() { END_HEADERS } else { 0 }, 1, *piece));
    }
    assert!(frames.send(&sent));
    let found = outcome(&mut frames, 1);
    assert!(
        matches!(found, Outcome::Head(first) if first != STATUS_200) || matches!(found, Outcome::Reset(_)),
        "{found:?}"
    );
    let many: Vec<(String, String)> = (0..200).map(|number| (format!("x-{number}"), "1".to_owned())).collect();
    let many: Vec<(&str, &str)> =
        GET.into_iter().chain(many.iter().map(|(name, value)| (&name[..], &value[..]))).collect();
    assert!(frames.head(3, true, &many));
    let found = outcome(&mut frames, 3);
    assert!(matches!(found, Outcome::Head(first) if first != STATUS_200), "{found:?}");
    assert_eq!(node.seen().requests_total, 0);
}

#[test]
fn what_is_no_preface_and_no_frame_ends_the_connection() {
    let (_node, peer) = scene();
    let mut raw = cluster_tests::raw::Raw::connect(peer.listener("web"));
    raw.send("PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n").unwrap();
    assert!(!matches!(raw.end(Duration::from_secs(5)), cluster_tests::raw::End::Open));
    let mut frames = Frames::connect(peer.listener("web"));
    assert!(frames.send(&[Frame::new(DATA, 0, 0, *b"x")]));
    assert_eq!(outcome(&mut frames, 1), Outcome::Gone(PROTOCOL_ERROR));
    wait_until("both to be counted", || count(&peer, "http2_faults") == 2);
}
