//! Answers of nodes that are malformed, hostile or cut, with what the client gets; and beside them odd ones that are fine.
//!
//! After each row the same client connection, where it stays open, and another one are answered rightly: nothing of a node's
//! misdeed reaches the next client. Each character of a row is one byte, and a table is read by its rows, so rustfmt leaves
//! them alone.
//!
//! `CLUSTER_TESTS_FRONT=nginx` (or `haproxy`) prints what the others do differently.

use std::time::Duration;

use cluster_tests::front::Front;
use cluster_tests::node::{Behaviour, TestNode, Then};
use cluster_tests::raw::{Broken, End, Raw};
use cluster_tests::report;
use cluster_tests::settings::{Pool, Settings};

use Gets::{Broke, Own, Passed};
use Then::{Close, Hang, Keep, Reset};

/// How long a connection may stay open that ought to close.
const CLOSE_PATIENCE: Duration = Duration::from_secs(2);
/// A second answer behind a first, which nobody may ever get.
const HIDDEN: &str = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhidden";

/// What the client gets.
#[derive(Clone, Debug)]
enum Gets {
    /// The peer's own answer of this status.
    Own(u16),
    /// The node's answer: this status and body.
    Passed(u16, String),
    /// The answer's beginning, then an end by which it can tell that something is missing; or 502 where nothing had begun.
    Broke,
}

struct Row {
    name: &'static str,
    method: &'static str,
    answer: String,
    then: Then,
    gets: Gets,
    why: &'static str,
    /// Whether the node's connection may serve again.
    reused: bool,
}

fn row(name: &'static str, answer: impl Into<String>, then: Then, gets: Gets, why: &'static str) -> Row {
    Row { name, method: "GET", answer: answer.into(), then, gets, why, reused: false }
}

impl Row {
    fn to(mut self, method: &'static str) -> Self {
        self.method = method;
        self
    }

    fn reused(mut self) -> Self {
        self.reused = true;
        self
    }
}

/// An answer with this line among its fields and a counted body.
fn ok(line: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n{line}\r\n\r\nhello")
}

/// An answer with these fields and this body.
fn with(fields: &str, body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\n{fields}\r\n\r\n{body}")
}

/// An answer in chunks, as they stand.
fn chunks(body: &str) -> String {
    with("Transfer-Encoding: chunked", body)
}

fn passed(body: &str) -> Gets {
    Passed(200, body.to_owned())
}

#[rustfmt::skip]
fn heads() -> Vec<Row> {
    let many: String = (0..101).map(|number| format!("X-{number}: y\r\n")).collect();
    vec![
        row("no HTTP at all", "220 mail.example ESMTP\r\n\r\n", Close, Own(502), "RFC 9112 4"),
        row("noise", "\x16\x03\x01\0\u{ff}\u{fe}\r\n\r\n", Close, Own(502), "RFC 9112 4"),
        row("nothing", "", Close, Own(502), "RFC 9112 9.5: closed before the answer"),
        row("nothing but a reset", "", Reset, Own(502), "RFC 9112 9.5"),
        row("nothing for ever", "", Hang, Own(504), "RFC 9110 15.6.5: response time-out"),
        row("half a head, then silence", "HTTP/1.1 200 OK\r\nX: ", Hang, Own(504), "RFC 9110 15.6.5"),
        row("half a status line", "HTTP/1.1 20", Close, Own(502), "RFC 9112 8: cut within the head"),
        row("half a head", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n", Close, Own(502), "RFC 9112 8"),
        row("half a head, then a reset", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n", Reset, Own(502), "RFC 9112 8"),
        row("HTTP/0.9", "hello", Close, Own(502), "RFC 9112 4: no status line"),
        row("version HTTP/2.0", "HTTP/2.0 200 OK\r\nContent-Length: 5\r\n\r\nhello", Keep, Own(502), "RFC 9112 2.3"),
        row("version in small letters", "http/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", Keep, Own(502), "RFC 9112 2.3"),
        row("another protocol", "ICY 200 OK\r\nContent-Length: 5\r\n\r\nhello", Keep, Own(502), "RFC 9112 2.3"),
        row("status of two digits", "HTTP/1.1 99 Low\r\nContent-Length: 5\r\n\r\nhello", Keep, Own(502), "RFC 9112 4: 3DIGIT"),
        row("status of four digits", "HTTP/1.1 1000 High\r\nContent-Length: 5\r\n\r\nhello", Keep, Own(502), "RFC 9112 4"),
        row("status 000", "HTTP/1.1 000 None\r\nContent-Length: 5\r\n\r\nhello", Keep, Own(502), "RFC 9110 15: 100 to 599"),
        row("status 600", "HTTP/1.1 600 High\r\nContent-Length: 5\r\n\r\nhello", Keep, Own(502), "RFC 9110 15: 100 to 599"),
        row("status of letters", "HTTP/1.1 OK 200\r\nContent-Length: 5\r\n\r\nhello", Keep, Own(502), "RFC 9112 4"),
        row("negative status", "HTTP/1.1 -20 OK\r\nContent-Length: 5\r\n\r\nhello", Keep, Own(502), "RFC 9112 4"),
        row("two spaces before the status", "HTTP/1.1  200 OK\r\nContent-Length: 5\r\n\r\nhello", Keep, Own(502), "RFC 9112 4"),
        row("NUL in the reason", "HTTP/1.1 200 O\0K\r\nContent-Length: 5\r\n\r\nhello", Keep, Own(502), "RFC 9112 4"),
        row("CR in the reason", "HTTP/1.1 200 O\rK\r\nContent-Length: 5\r\n\r\nhello", Keep, Own(502), "RFC 9112 2.2"),
        row("LF ends the status line", "HTTP/1.1 200 OK\nContent-Length: 5\r\n\r\nhello", Keep, Own(502), "RFC 9112 2.2"),
        row("LF ends every line", "HTTP/1.1 200 OK\nContent-Length: 5\n\nhello", Close, Own(502), "RFC 9112 2.2"),
        row("white space before the first field", "HTTP/1.1 200 OK\r\n Content-Length: 5\r\n\r\nhello", Keep, Own(502), "RFC 9112 2.2"),
        row("a value continued", ok("X: y\r\n z"), Keep, Own(502), "RFC 9112 5.2: obs-fold"),
        row("a length continued", with("Content-Length:\r\n 5", "hello"), Keep, Own(502), "RFC 9112 5.2"),
        row("space before the colon", ok("X : y"), Keep, Own(502), "RFC 9112 5.1: remove or refuse"),
        row("no colon", ok("X"), Keep, Own(502), "RFC 9112 5"),
        row("no name", ok(": y"), Keep, Own(502), "RFC 9110 5.1"),
        row("NUL in a value", ok("X: y\0z"), Keep, Own(502), "RFC 9110 5.5"),
        row("control byte in a value", ok("X: y\x01z"), Keep, Own(502), "RFC 9110 5.5"),
        row("a field smuggled in by CR", ok("X: y\rSet-Cookie: a=b"), Keep, Own(502), "RFC 9112 2.2"),
        row("a field smuggled in by LF", ok("X: y\nSet-Cookie: a=b"), Keep, Own(502), "RFC 9112 2.2"),
        row("an answer smuggled in by CR", ok("X: y\r\rHTTP/1.1 200 OK"), Keep, Own(502), "RFC 9112 2.2"),
        row("a name with a byte above ASCII", ok("X\u{e9}: y"), Keep, Own(502), "RFC 9110 5.6.2"),
        row("101 fields", with(&format!("{many}Content-Length: 5"), "hello"), Keep, Own(502), "bounded"),
        row("a head over 32 KiB", ok(&format!("X: {}", "y".repeat(33 * 1024))), Keep, Own(502), "bounded"),
        row("a head without end", format!("HTTP/1.1 200 OK\r\nX: {}", "y".repeat(200 * 1024)), Hang, Own(502), "bounded"),
        row("101 that nobody asked for", "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n", Keep, Own(502), "RFC 9110 7.8: MUST NOT"),
        row("100 interim answers", format!("{}{}", "HTTP/1.1 103 Early Hints\r\n\r\n".repeat(100), ok("X: y")), Keep, Own(502), "RFC 9110 15.2: bounded"),
    ]
}

#[rustfmt::skip]
fn bodies() -> Vec<Row> {
    vec![
        row("length and coding", with("Content-Length: 5\r\nTransfer-Encoding: chunked", "0\r\n\r\n"), Keep, Own(502), "RFC 9112 6.3: response splitting"),
        row("coding and length", with("Transfer-Encoding: chunked\r\nContent-Length: 5", "0\r\n\r\n"), Keep, Own(502), "RFC 9112 6.3"),
        row("two lengths", with("Content-Length: 5\r\nContent-Length: 6", "hello!"), Keep, Own(502), "RFC 9112 6.3: MUST 502"),
        row("a list of two lengths", with("Content-Length: 5, 6", "hello!"), Keep, Own(502), "RFC 9112 6.3"),
        row("length with a plus", with("Content-Length: +5", "hello"), Keep, Own(502), "RFC 9110 8.6"),
        row("negative length", with("Content-Length: -5", "hello"), Keep, Own(502), "RFC 9110 8.6"),
        row("empty length", with("Content-Length:", "hello"), Keep, Own(502), "RFC 9110 8.6"),
        row("hexadecimal length", with("Content-Length: 0x5", "hello"), Keep, Own(502), "RFC 9110 8.6"),
        row("length of 2^64 + 5", with("Content-Length: 18446744073709551621", "hello"), Keep, Own(502), "RFC 9110 8.6: overflow"),
        row("an unknown coding", with("Transfer-Encoding: gzip", "hello"), Close, Own(502), "RFC 9112 6.1: we asked for none"),
        row("gzip before chunked", with("Transfer-Encoding: gzip, chunked", "0\r\n\r\n"), Keep, Own(502), "RFC 9112 6.1"),
        row("chunked twice", with("Transfer-Encoding: chunked, chunked", "0\r\n\r\n"), Keep, Own(502), "RFC 9112 6.1"),
        row("chunked of HTTP/1.0", chunks("5\r\nhello\r\n0\r\n\r\n").replace("HTTP/1.1", "HTTP/1.0"), Close, Own(502), "RFC 9112 6.1: faulty framing"),
        row("length on 204 and a body", "HTTP/1.1 204 No Content\r\n\r\nhidden", Keep, Passed(204, String::new()), "RFC 9110 15.3.5: what follows is nobody's"),
        row("an answer behind 204", format!("HTTP/1.1 204 No Content\r\n\r\n{HIDDEN}"), Keep, Passed(204, String::new()), "RFC 9112 6.3"),
        row("an answer behind 304", format!("HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n{HIDDEN}"), Keep, Passed(304, String::new()), "RFC 9112 6.3"),
        row("an answer behind a counted body", format!("{}{HIDDEN}", ok("X: y")), Keep, passed("hello"), "RFC 9112 9.2: nobody asked for it"),
        row("noise behind a counted body", format!("{}\r\n\r\nhidden", ok("X: y")), Keep, passed("hello"), "RFC 9112 9.2"),
        row("an answer behind the last chunk", format!("{}{HIDDEN}", chunks("5\r\nhello\r\n0\r\n\r\n")), Keep, passed("hello"), "RFC 9112 9.2"),
        row("a body to HEAD", ok("X: y"), Keep, passed(""), "RFC 9110 9.3.2: MUST NOT; the rest is nobody's").to("HEAD"),
        row("a counted body cut", with("Content-Length: 10", "hello"), Close, Broke, "RFC 9112 8: incomplete"),
        row("a counted body reset", with("Content-Length: 10", "hello"), Reset, Broke, "RFC 9112 8"),
        row("chunks cut between two", chunks("5\r\nhello\r\n"), Close, Broke, "RFC 9112 8: no last chunk"),
        row("chunks cut within one", chunks("a\r\nhello"), Close, Broke, "RFC 9112 8"),
        row("chunks cut before the empty line", chunks("5\r\nhello\r\n0\r\n"), Close, Broke, "RFC 9112 8"),
        row("chunk size of a letter", chunks("5\r\nhello\r\ng\r\n"), Close, Broke, "RFC 9112 7.1"),
        row("negative chunk size", chunks("5\r\nhello\r\n-1\r\n"), Close, Broke, "RFC 9112 7.1"),
        row("chunk size of 2^64 + 5", chunks("5\r\nhello\r\n10000000000000005\r\nhello\r\n0\r\n\r\n"), Close, Broke, "RFC 9112 7.1: overflow"),
        row("LF behind a chunk size", chunks("5\r\nhello\r\n5\nhello\r\n0\r\n\r\n"), Close, Broke, "RFC 9112 7.1"),
        row("a chunk longer than its size", chunks("5\r\nhello\r\n4\r\nhello\r\n0\r\n\r\n"), Close, Broke, "RFC 9112 7.1"),
        row("an extension over 256 bytes", chunks(&format!("5\r\nhello\r\n5;{}\r\nhello\r\n0\r\n\r\n", "a".repeat(300))), Close, Broke, "RFC 9112 7.1.1: bounded"),
        row("trailer without a colon", chunks("5\r\nhello\r\n0\r\nX\r\n\r\n"), Close, Broke, "RFC 9112 7.1.2"),
        row("length as a trailer", chunks("5\r\nhello\r\n0\r\nContent-Length: 5\r\n\r\n"), Close, Broke, "RFC 9110 6.5.1"),
        row("trailers over 8 KiB", chunks(&format!("5\r\nhello\r\n0\r\nX: {}\r\n\r\n", "y".repeat(9 * 1024))), Close, Broke, "RFC 9112 7.1.2: bounded"),
    ]
}

#[rustfmt::skip]
fn odd_and_fine() -> Vec<Row> {
    vec![
        row("HTTP/1.0 to its close", "HTTP/1.0 200 OK\r\n\r\nhello", Close, passed("hello"), "RFC 9112 6.3: until the connection ends"),
        row("HTTP/1.0 with a length", "HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello", Close, passed("hello"), "RFC 9112 9.3"),
        row("HTTP/1.1 to its close", "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhello", Close, passed("hello"), "RFC 9112 6.3"),
        row("to its close and empty", "HTTP/1.1 200 OK\r\n\r\n", Close, passed(""), "RFC 9112 6.3"),
        row("version HTTP/1.2", "HTTP/1.2 200 OK\r\nContent-Length: 5\r\n\r\nhello", Keep, passed("hello"), "RFC 9110 2.5").reused(),
        row("no reason and no space", "HTTP/1.1 200\r\nContent-Length: 5\r\n\r\nhello", Keep, passed("hello"), "RFC 9112 4: many leave the space out").reused(),
        row("no reason", "HTTP/1.1 200 \r\nContent-Length: 5\r\n\r\nhello", Keep, passed("hello"), "RFC 9112 4: optional").reused(),
        row("a reason above ASCII", "HTTP/1.1 200 Tr\u{e8}s bien\r\nContent-Length: 5\r\n\r\nhello", Keep, passed("hello"), "RFC 9112 4: obs-text").reused(),
        row("a status nobody knows", "HTTP/1.1 299 Fine\r\nContent-Length: 5\r\n\r\nhello", Keep, Passed(299, "hello".into()), "RFC 9110 15: by its class").reused(),
        row("an error of the node's own", "HTTP/1.1 500 Oops\r\nContent-Length: 5\r\n\r\nhello", Keep, Passed(500, "hello".into()), "RFC 9110 15.6: not the peer's to hide").reused(),
        row("no white space before a value", "HTTP/1.1 200 OK\r\nContent-Length:5\r\n\r\nhello", Keep, passed("hello"), "RFC 9112 5").reused(),
        row("much white space around a value", with("Content-Length: \t 5 \t ", "hello"), Keep, passed("hello"), "RFC 9112 5.1").reused(),
        row("bytes above ASCII in a value", ok("X: \u{e9}"), Keep, passed("hello"), "RFC 9110 5.5: obs-text").reused(),
        row("coding in large letters", with("TRANSFER-ENCODING: Chunked", "5\r\nhello\r\n0\r\n\r\n"), Keep, passed("hello"), "RFC 9112 7").reused(),
        row("extensions and a trailer", chunks("5;a=\"b;c\"\r\nhello\r\n0\r\nX: y\r\n\r\n"), Keep, passed("hello"), "RFC 9112 7.1").reused(),
        row("trailers that come too late to count", chunks("5\r\nhello\r\n0\r\nSet-Cookie: a=b\r\nDate: x\r\nContent-Type: y\r\nCache-Control: z\r\n\r\n"), Keep, passed("hello"), "RFC 9110 6.5.1: dropped, the body is whole").reused(),
        row("a length without a body to HEAD", with("Content-Length: 5", ""), Keep, passed(""), "RFC 9110 9.3.2").to("HEAD").reused(),
        row("chunked without a body to HEAD", with("Transfer-Encoding: chunked", ""), Keep, passed(""), "RFC 9110 9.3.2").to("HEAD").reused(),
        row("one answer ahead", format!("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n{}", ok("X: y")), Keep, passed("hello"), "RFC 9110 15.2").reused(),
        row("two answers ahead", format!("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n{}", ok("X: y")), Keep, passed("hello"), "RFC 9110 15.2.1: an unasked 100 is dropped").reused(),
        row("a field of 16 KiB", ok(&format!("X: {}", "y".repeat(16 * 1024))), Keep, passed("hello"), "within the bound").reused(),
    ]
}

/// What one row got, or what is wrong with that.
fn try_row(row: &Row, front: &Front, node: &TestNode, elsewhere: &mut Raw) -> Result<(), String> {
    node.forget();
    node.order("/row", Behaviour::raw(row.answer.clone(), row.then));
    let mut client = Raw::connect(front.listener("web"));
    client.set_patience(CLOSE_PATIENCE);
    let answer = client.ask(format!("{} /row HTTP/1.1\r\nHost: test\r\n\r\n", row.method));
    let bad_on = node.look(|seen| seen.requests.back().map(|request| request.connection));
    match (&row.gets, &answer) {
        (Own(expected), Ok(answer)) if answer.status == *expected => {
            if answer.text().contains("hello") || answer.field("x").is_some() {
                return Err(format!("the answer holds what the node sent: {:?}", answer.text()));
            }
        }
        (Passed(status, body), Ok(answer)) if answer.status == *status && answer.text() == *body => {}
        (Broke, Err(Broken::Cut | Broken::Reset)) => {}
        (Broke, Ok(answer)) if answer.status == 502 => {}
        (_, Ok(answer)) => return Err(format!("got {} {:?}", answer.status, answer.text())),
        (_, Err(broken)) => return Err(format!("got {broken:?}")),
    }
    if answer.is_ok_and(|answer| answer.head.keeps_alive()) {
        answered(&mut client, "on the same connection")?;
    } else if !matches!(client.end(CLOSE_PATIENCE), End::Closed | End::Reset) {
        return Err("the connection was to end".into());
    }
    for _ in 0..2 {
        answered(elsewhere, "on another connection")?;
    }
    let after = node
        .look(|seen| seen.requests.iter().find(|request| request.line.contains("/after")).map(|seen| seen.connection));
    if row.reused != (after == bad_on) {
        return Err(format!("the node's connection {bad_on:?} served it, {after:?} the next request"));
    }
    Ok(())
}

fn answered(client: &mut Raw, which: &str) -> Result<(), String> {
    match client.ask("GET /after HTTP/1.1\r\nHost: test\r\n\r\n") {
        Ok(answer) if answer.status == 200 && answer.text() == "a\n" => Ok(()),
        Ok(answer) => Err(format!("the next request {which} got {} {:?}", answer.status, answer.text())),
        Err(broken) => Err(format!("the next request {which} got {broken:?}")),
    }
}

fn one_node(node: &TestNode) -> Settings {
    Settings::default()
        .serve("http", Pool::new("web").unchecked().line("response_timeout = \"300ms\"").nodes([node.address()]))
}

#[test]
fn every_bad_answer_is_kept_from_the_client() {
    let node = TestNode::start("a");
    let Some(front) = Front::start(&one_node(&node)) else { return };
    let mut elsewhere = Raw::connect(front.listener("web"));
    let rows: Vec<Row> = [heads(), bodies(), odd_and_fine()].into_iter().flatten().collect();
    let bad = rows.iter().filter(|row| !row.reused).count();
    assert!(bad >= 30, "{bad} rows of bad answers");

    let mut wrong = Vec::new();
    for row in &rows {
        // What a test of the others would wait for in vain.
        if !front.is_peer() && row.then == Hang {
            continue;
        }
        if let Err(fault) = try_row(row, &front, &node, &mut elsewhere) {
            let start: String = row.answer.escape_debug().take(160).collect();
            wrong.push(format!("{}: {fault}; expected {:?} ({})\n    {start}", row.name, row.gets, row.why));
            elsewhere = Raw::connect(front.listener("web"));
        }
    }
    report::line(&format!("{bad} bad and {} odd answers, {} otherwise than written", rows.len() - bad, wrong.len()));
    let wrong = wrong.join("\n");
    if front.is_peer() {
        assert!(wrong.is_empty(), "{wrong}");
    } else {
        report::line(&wrong);
    }
}

#[test]
fn a_bad_answer_to_an_idempotent_request_is_asked_for_again_elsewhere() {
    let (good, bad) = (TestNode::start("good"), TestNode::start("bad"));
    bad.order(
        "*",
        Behaviour::raw("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", Close),
    );
    let pool = Pool::new("web").unchecked().line("strategy = \"round_robin\"").nodes([good.address(), bad.address()]);
    let Some(front) = Front::start(&Settings::default().serve("http", pool)) else { return };
    if !front.is_peer() {
        return;
    }
    let mut client = Raw::connect(front.listener("web"));
    for _ in 0..20 {
        assert_eq!(client.get("/").text(), "good\n");
    }
    assert!(bad.seen().requests_total > 0, "the bad node was asked");
}

#[test]
fn bytes_behind_an_answer_never_reach_another_client() {
    let node = TestNode::start("a");
    node.order("/row", Behaviour::raw(format!("{}{HIDDEN}", ok("X: y")), Keep));
    let Some(front) = Front::start(&one_node(&node)) else { return };
    for round in 0..200 {
        let mut client = Raw::connect(front.listener("web"));
        assert_eq!(client.get("/row").text(), "hello", "round {round}");
        assert_eq!(Raw::connect(front.listener("web")).get("/other").text(), "a\n", "round {round}");
    }
}
