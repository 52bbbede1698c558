//! Requests that are malformed, ambiguous or hostile, with what each gets; and beside them requests that look odd and are fine.
//!
//! After each row the same connection, where it stays open, and another one are answered rightly, and the node's own record
//! shows that nothing of a refused request reached it, nor a second request hidden in a first. Each character of a row is one
//! byte, and a table is read by its rows, so rustfmt leaves them alone. Behind every refused row follows [`HIDDEN`]: who took the row for whole would answer that too.
//!
//! `CLUSTER_TESTS_FRONT=nginx` (or `haproxy`) prints what the others do differently.

use std::time::Duration;

use cluster_tests::front::Front;
use cluster_tests::head::bytes;
use cluster_tests::node::{SeenRequest, TestNode};
use cluster_tests::raw::{Broken, End, Raw};
use cluster_tests::report;
use cluster_tests::settings::Settings;

use Gets::{Cut, Declined, Refused, Served};

/// A request behind the row's own, which nobody may ever see.
const HIDDEN: &str = "GET /hidden HTTP/1.1\r\nHost: test\r\n\r\n";
/// How long a connection may stay open that ought to close.
const CLOSE_PATIENCE: Duration = Duration::from_secs(2);

/// What a request gets. Where two statuses stand, the RFC leaves the choice.
#[derive(Clone, Debug)]
enum Gets {
    /// This status and the connection's end; no node sees anything of it.
    Refused(&'static [u16]),
    /// This status; the connection may stay, and then it is in order. No node sees anything of it.
    Declined(&'static [u16]),
    /// As `Refused`, but the fault is in the body: a node may have seen the beginning, and never takes it for whole.
    Cut(&'static [u16]),
    /// 200 for each of these request lines, as the node sees them.
    Served(Vec<String>),
}

struct Row {
    name: &'static str,
    request: String,
    gets: Gets,
    why: &'static str,
    /// What the first request that the node sees must carry, or, with `None`, must not.
    fields: Vec<(&'static str, Option<&'static str>)>,
    /// Bytes of its body.
    body_bytes: u64,
    /// Whether the connection ends after it, as the client wanted.
    ends: bool,
}

fn row(name: &'static str, request: impl Into<String>, gets: Gets, why: &'static str) -> Row {
    Row { name, request: request.into(), gets, why, fields: Vec::new(), body_bytes: 0, ends: false }
}

impl Row {
    fn with(mut self, name: &'static str, value: &'static str) -> Self {
        self.fields.push((name, Some(value)));
        self
    }

    fn without(mut self, name: &'static str) -> Self {
        self.fields.push((name, None));
        self
    }

    fn body(mut self, bytes: u64) -> Self {
        self.body_bytes = bytes;
        self
    }

    fn ends(mut self) -> Self {
        self.ends = true;
        self
    }
}

/// A request with this line among its fields.
fn get(line: &str) -> String {
    format!("GET /row HTTP/1.1\r\nHost: test\r\n{line}\r\n\r\n")
}

/// A request with these fields and this body.
fn post(fields: &str, body: &str) -> String {
    format!("POST /row HTTP/1.1\r\nHost: test\r\n{fields}\r\n\r\n{body}")
}

/// A request whose body is sent in chunks, as they stand.
fn chunks(body: &str) -> String {
    post("Transfer-Encoding: chunked", body)
}

fn served(line: &str) -> Gets {
    Served(vec![line.to_owned()])
}

#[rustfmt::skip]
fn start_lines() -> Vec<Row> {
    vec![
        row("LF ends the request line", "GET /row HTTP/1.1\nHost: test\r\n\r\n", Refused(&[400]), "RFC 9112 2.2: a bare LF is where parsers part ways"),
        row("LF ends every line", "GET /row HTTP/1.1\nHost: test\n\n", Refused(&[400]), "RFC 9112 2.2"),
        row("LF ends the head", "GET /row HTTP/1.1\r\nHost: test\r\n\n", Refused(&[400]), "RFC 9112 2.2"),
        row("CR ends the request line", "GET /row HTTP/1.1\rHost: test\r\n\r\n", Refused(&[400]), "RFC 9112 2.2: a bare CR is invalid"),
        row("CR CR LF ends the request line", "GET /row HTTP/1.1\r\r\nHost: test\r\n\r\n", Refused(&[400]), "RFC 9112 2.2"),
        row("LF before the request line", "\nGET /row HTTP/1.1\r\nHost: test\r\n\r\n", Refused(&[400]), "RFC 9112 2.2: only CRLF may be skipped"),
        row("space before the method", " GET /row HTTP/1.1\r\nHost: test\r\n\r\n", Refused(&[400]), "RFC 9112 3"),
        row("space before the first field", "GET /row HTTP/1.1\r\n Host: test\r\n\r\n", Refused(&[400]), "RFC 9112 2.2: white space between start line and first field"),
        row("tab before the first field", "GET /row HTTP/1.1\r\n\tX: y\r\nHost: test\r\n\r\n", Refused(&[400]), "RFC 9112 2.2"),
        row("a line of white space before the fields", "GET /row HTTP/1.1\r\n \r\nHost: test\r\n\r\n", Refused(&[400]), "RFC 9112 2.2"),
        row("no method", " /row HTTP/1.1\r\nHost: test\r\n\r\n", Refused(&[400]), "RFC 9112 3.1"),
        row("method with a separator", "GE(T /row HTTP/1.1\r\nHost: test\r\n\r\n", Refused(&[400]), "RFC 9110 5.6.2: a token"),
        row("method with @", "G@T /row HTTP/1.1\r\nHost: test\r\n\r\n", Refused(&[400]), "RFC 9110 5.6.2"),
        row("method with a control byte", "G\x01T /row HTTP/1.1\r\nHost: test\r\n\r\n", Refused(&[400]), "RFC 9110 5.6.2"),
        row("method with NUL", "GET\0 /row HTTP/1.1\r\nHost: test\r\n\r\n", Refused(&[400]), "RFC 9110 5.6.2"),
        row("method with a byte above ASCII", "G\u{c9}T /row HTTP/1.1\r\nHost: test\r\n\r\n", Refused(&[400]), "RFC 9110 5.6.2"),
        row("tab between method and target", "GET\t/row HTTP/1.1\r\nHost: test\r\n\r\n", Refused(&[400]), "RFC 9112 3: one SP"),
        row("two spaces between method and target", "GET  /row HTTP/1.1\r\nHost: test\r\n\r\n", Refused(&[400]), "RFC 9112 3"),
        row("two spaces before the version", "GET /row  HTTP/1.1\r\nHost: test\r\n\r\n", Refused(&[400]), "RFC 9112 3"),
        row("space behind the version", "GET /row HTTP/1.1 \r\nHost: test\r\n\r\n", Refused(&[400]), "RFC 9112 3"),
        row("no target", "GET HTTP/1.1\r\nHost: test\r\n\r\n", Refused(&[400]), "RFC 9112 3"),
        row("no version (HTTP/0.9)", "GET /row\r\n\r\n", Refused(&[400, 505]), "RFC 9112 3"),
        row("only a method", "GET\r\n\r\n", Refused(&[400]), "RFC 9112 3"),
        row("version HTTP/2.0", "GET /row HTTP/2.0\r\nHost: test\r\n\r\n", Refused(&[505]), "RFC 9110 15.6.6"),
        row("version HTTP/3.0", "GET /row HTTP/3.0\r\nHost: test\r\n\r\n", Refused(&[505]), "RFC 9110 15.6.6"),
        row("version HTTP/0.9", "GET /row HTTP/0.9\r\nHost: test\r\n\r\n", Refused(&[400, 505]), "RFC 9110 15.6.6"),
        row("version in small letters", "GET /row http/1.1\r\nHost: test\r\n\r\n", Refused(&[400]), "RFC 9112 2.3: the name is case-sensitive"),
        row("version without minor", "GET /row HTTP/1\r\nHost: test\r\n\r\n", Refused(&[400, 505]), "RFC 9112 2.3"),
        row("version with two-digit minor", "GET /row HTTP/1.10\r\nHost: test\r\n\r\n", Refused(&[400]), "RFC 9112 2.3: one digit each"),
        row("version with two-digit major", "GET /row HTTP/11.1\r\nHost: test\r\n\r\n", Refused(&[400]), "RFC 9112 2.3"),
        row("version of letters", "GET /row HTTP/x.y\r\nHost: test\r\n\r\n", Refused(&[400]), "RFC 9112 2.3"),
        row("another protocol", "GET /row ICAP/1.0\r\nHost: test\r\n\r\n", Refused(&[400]), "RFC 9112 2.3"),
        row("a TLS handshake", "\x16\x03\x01\x02\0\x01\0\x01\u{fc}\x03\x03\r\n\r\n", Refused(&[400]), "RFC 9112 3: no request"),
        row("an SMTP command", "EHLO mail.example\r\n\r\n", Refused(&[400]), "RFC 9112 3: two words"),
    ]
}

#[rustfmt::skip]
fn targets() -> Vec<Row> {
    vec![
        row("target without /", "GET row HTTP/1.1\r\nHost: test\r\n\r\n", Refused(&[400]), "RFC 9112 3.2: none of the four forms"),
        row("authority-form for GET", "GET test:80 HTTP/1.1\r\nHost: test\r\n\r\n", Refused(&[400]), "RFC 9112 3.2.3: for CONNECT alone"),
        row("asterisk-form for GET", "GET * HTTP/1.1\r\nHost: test\r\n\r\n", Refused(&[400]), "RFC 9112 3.2.4: for OPTIONS alone"),
        row("asterisk with more", "OPTIONS *x HTTP/1.1\r\nHost: test\r\n\r\n", Refused(&[400]), "RFC 9112 3.2.4"),
        row("fragment", "GET /row#top HTTP/1.1\r\nHost: test\r\n\r\n", Refused(&[400]), "RFC 9112 3.2: a target has none"),
        row("space within", "GET /ro w HTTP/1.1\r\nHost: test\r\n\r\n", Refused(&[400]), "RFC 9112 3.2: no white space"),
        row("tab within", "GET /ro\tw HTTP/1.1\r\nHost: test\r\n\r\n", Refused(&[400]), "RFC 9112 3.2"),
        row("NUL within", "GET /ro\0w HTTP/1.1\r\nHost: test\r\n\r\n", Refused(&[400]), "RFC 3986 2"),
        row("control byte within", "GET /ro\x1fw HTTP/1.1\r\nHost: test\r\n\r\n", Refused(&[400]), "RFC 3986 2"),
        row("DEL within", "GET /ro\x7fw HTTP/1.1\r\nHost: test\r\n\r\n", Refused(&[400]), "RFC 3986 2"),
        row("byte above ASCII within", "GET /r\u{f6}w HTTP/1.1\r\nHost: test\r\n\r\n", Refused(&[400]), "RFC 3986 2: must be percent-encoded"),
        row("CR within", "GET /ro\rw HTTP/1.1\r\nHost: test\r\n\r\n", Refused(&[400]), "RFC 9112 2.2"),
        row("absolute-form of another scheme", "GET ftp://test/row HTTP/1.1\r\nHost: test\r\n\r\n", Refused(&[400]), "RFC 9110 4.2: not ours to serve"),
        row("absolute-form without a host", "GET http:///row HTTP/1.1\r\nHost: test\r\n\r\n", Refused(&[400]), "RFC 9110 4.2.1: an empty host is invalid"),
        row("absolute-form with user and password", "GET http://a:b@test/row HTTP/1.1\r\nHost: test\r\n\r\n", Refused(&[400]), "RFC 9110 4.2.4: userinfo is an error"),
        row("absolute-form with a bad port", "GET http://test:99999/row HTTP/1.1\r\nHost: test\r\n\r\n", Refused(&[400]), "RFC 9110 4.2.1"),
        row("absolute-form with a fragment", "GET http://test/row#top HTTP/1.1\r\nHost: test\r\n\r\n", Refused(&[400]), "RFC 9112 3.2.2: absolute-URI has none"),
        row("absolute-form does not replace a missing Host", "GET http://test/row HTTP/1.1\r\n\r\n", Refused(&[400]), "RFC 9112 3.2.2: Host even then"),
        row("CONNECT", "CONNECT test:443 HTTP/1.1\r\nHost: test:443\r\n\r\n", Refused(&[405]), "RFC 9110 9.3.6: no tunnels here"),
        row("CONNECT to a path", "CONNECT /row HTTP/1.1\r\nHost: test\r\n\r\n", Refused(&[400, 405]), "RFC 9112 3.2.3"),
        row("CONNECT with a length", "CONNECT test:443 HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\n\r\nhello", Refused(&[405]), "RFC 9110 9.3.6"),
        row("TRACE", "TRACE /row HTTP/1.1\r\nHost: test\r\n\r\n", Declined(&[405]), "RFC 9110 9.3.8: would show fields that the peer added"),
        row("target over 8 KiB", format!("GET /{} HTTP/1.1\r\nHost: test\r\n\r\n", "a".repeat(8 * 1024)), Refused(&[414]), "RFC 9110 15.5.15"),
        row("query over 8 KiB", format!("GET /?{} HTTP/1.1\r\nHost: test\r\n\r\n", "a=b&".repeat(3 * 1024)), Refused(&[414]), "RFC 9110 15.5.15"),
        row("target without end", format!("GET /{}", "a".repeat(64 * 1024)), Refused(&[400, 414, 431]), "RFC 9112 3: bounded"),
        row("method without end", "G".repeat(64 * 1024), Refused(&[400, 414, 431, 501]), "RFC 9112 3: bounded"),
    ]
}

#[rustfmt::skip]
fn hosts() -> Vec<Row> {
    let host = |value: &str| format!("GET /row HTTP/1.1\r\nHost: {value}\r\n\r\n");
    vec![
        row("no Host", "GET /row HTTP/1.1\r\n\r\n", Refused(&[400]), "RFC 9112 3.2: MUST 400"),
        row("two Hosts", "GET /row HTTP/1.1\r\nHost: test\r\nHost: other\r\n\r\n", Refused(&[400]), "RFC 9112 3.2: MUST 400"),
        row("the same Host twice", "GET /row HTTP/1.1\r\nHost: test\r\nX: y\r\nhost: test\r\n\r\n", Refused(&[400]), "RFC 9112 3.2: MUST 400"),
        row("two Hosts of HTTP/1.0", "GET /row HTTP/1.0\r\nHost: test\r\nHost: other\r\n\r\n", Refused(&[400]), "RFC 9112 3.2"),
        row("an empty Host", "GET /row HTTP/1.1\r\nHost:\r\n\r\n", Refused(&[400]), "RFC 9110 4.2.1: an http URI has a host"),
        row("Host with a user", host("user@test"), Refused(&[400]), "RFC 9110 7.2: uri-host and port only"),
        row("Host with a space", host("te st"), Refused(&[400]), "RFC 9110 7.2"),
        row("two names in Host", host("test other"), Refused(&[400]), "RFC 9110 7.2"),
        row("Host with a path", host("test/row"), Refused(&[400]), "RFC 9110 7.2"),
        row("Host with a query", host("test?a"), Refused(&[400]), "RFC 9110 7.2"),
        row("Host with a fragment", host("test#a"), Refused(&[400]), "RFC 9110 7.2"),
        row("Host with a scheme", host("http://test"), Refused(&[400]), "RFC 9110 7.2"),
        row("Host with a name for a port", host("test:http"), Refused(&[400]), "RFC 9110 7.2"),
        row("Host with a port too high", host("test:65536"), Refused(&[400]), "RFC 9110 7.2"),
        row("Host with two ports", host("test:80:80"), Refused(&[400]), "RFC 9110 7.2"),
        row("Host with an open bracket", host("[::1"), Refused(&[400]), "RFC 3986 3.2.2"),
        row("Host with letters in brackets", host("[test]"), Refused(&[400]), "RFC 3986 3.2.2"),
        row("Host with bare IPv6", host("fe80::1"), Refused(&[400]), "RFC 3986 3.2.2"),
        row("Host with a byte above ASCII", host("t\u{eb}st"), Refused(&[400]), "RFC 3986 3.2.2"),
        row("Host with a backslash", host("test\\other"), Refused(&[400]), "RFC 3986 3.2.2"),
    ]
}

#[rustfmt::skip]
fn fields() -> Vec<Row> {
    let many: String = (0..100).map(|number| format!("X-{number}: y\r\n")).collect();
    vec![
        row("space before the colon", get("X : y"), Refused(&[400]), "RFC 9112 5.1: MUST 400"),
        row("tab before the colon", get("X\t: y"), Refused(&[400]), "RFC 9112 5.1: MUST 400"),
        row("no name", get(": y"), Refused(&[400]), "RFC 9110 5.1"),
        row("no colon", get("X"), Refused(&[400]), "RFC 9112 5"),
        row("space within a name", get("X Y: z"), Refused(&[400]), "RFC 9110 5.6.2"),
        row("separator within a name", get("X(Y): z"), Refused(&[400]), "RFC 9110 5.6.2"),
        row("slash within a name", get("X/Y: z"), Refused(&[400]), "RFC 9110 5.6.2"),
        row("NUL within a name", get("X\0Y: z"), Refused(&[400]), "RFC 9110 5.6.2"),
        row("byte above ASCII within a name", get("X\u{e9}: z"), Refused(&[400]), "RFC 9110 5.6.2"),
        row("DEL within a name", get("X\x7f: z"), Refused(&[400]), "RFC 9110 5.6.2"),
        row("NUL within a value", get("X: y\0z"), Refused(&[400]), "RFC 9110 5.5: dangerous, MUST reject or replace"),
        row("control byte within a value", get("X: y\x01z"), Refused(&[400]), "RFC 9110 5.5"),
        row("escape within a value", get("X: y\x1bz"), Refused(&[400]), "RFC 9110 5.5"),
        row("vertical tab within a value", get("X: y\x0bz"), Refused(&[400]), "RFC 9110 5.5"),
        row("form feed within a value", get("X: y\x0cz"), Refused(&[400]), "RFC 9110 5.5"),
        row("DEL within a value", get("X: y\x7fz"), Refused(&[400]), "RFC 9110 5.5"),
        row("CR within a value", get("X: y\rZ: z"), Refused(&[400]), "RFC 9112 2.2, RFC 9110 5.5"),
        row("LF within a value", get("X: y\nZ: z"), Refused(&[400]), "RFC 9112 2.2, RFC 9110 5.5"),
        row("CR CR LF behind a value", get("X: y\r"), Refused(&[400]), "RFC 9112 2.2"),
        row("a value continued after a space", get("X: y\r\n z"), Refused(&[400]), "RFC 9112 5.2: obs-fold"),
        row("a value continued after a tab", get("X: y\r\n\tz"), Refused(&[400]), "RFC 9112 5.2: obs-fold"),
        row("a continuation of nothing", get("X: y\r\n "), Refused(&[400]), "RFC 9112 5.2: obs-fold"),
        row("Host continued", "GET /row HTTP/1.1\r\nHost:\r\n test\r\n\r\n", Refused(&[400]), "RFC 9112 5.2: obs-fold"),
        row("length continued", post("Content-Length:\r\n 5", "hello"), Refused(&[400]), "RFC 9112 5.2: obs-fold"),
        row("coding continued", chunks("0\r\n\r\n").replace(": chunked", ":\r\n chunked"), Refused(&[400]), "RFC 9112 5.2: obs-fold"),
        row("101 fields", format!("GET /row HTTP/1.1\r\nHost: test\r\n{many}\r\n"), Refused(&[431]), "RFC 6585 5"),
        row("a head over 32 KiB", get(&format!("X: {}", "y".repeat(33 * 1024))), Refused(&[431]), "RFC 6585 5"),
        row("a name over 32 KiB", get(&format!("{}: y", "X".repeat(33 * 1024))), Refused(&[400, 431]), "RFC 6585 5"),
        row("a field without end", format!("GET /row HTTP/1.1\r\nHost: test\r\nX: {}", "y".repeat(80 * 1024)), Refused(&[431]), "RFC 6585 5: bounded"),
    ]
}

#[rustfmt::skip]
fn lengths() -> Vec<Row> {
    let length = |value: &str| post(&format!("Content-Length: {value}"), "hello");
    vec![
        row("length and coding", post("Content-Length: 6\r\nTransfer-Encoding: chunked", "0\r\n\r\nG"), Refused(&[400]), "RFC 9112 6.3: the classic of smuggling"),
        row("coding and length", post("Transfer-Encoding: chunked\r\nContent-Length: 6", "0\r\n\r\nG"), Refused(&[400]), "RFC 9112 6.3"),
        row("length 0 and coding", post("Content-Length: 0\r\nTransfer-Encoding: chunked", "0\r\n\r\n"), Refused(&[400]), "RFC 9112 6.3"),
        row("two lengths", post("Content-Length: 5\r\nContent-Length: 6", "hello"), Refused(&[400]), "RFC 9112 6.3: unrecoverable"),
        row("the same length twice", post("Content-Length: 5\r\nContent-Length: 5", "hello"), Refused(&[400]), "RFC 9112 6.3: may be refused, and nobody sends it honestly"),
        row("a list of one length twice", length("5, 5"), Refused(&[400]), "RFC 9112 6.3"),
        row("a list of two lengths", length("5, 6"), Refused(&[400]), "RFC 9112 6.3"),
        row("length with a comma", length("5,"), Refused(&[400]), "RFC 9110 8.6: 1*DIGIT"),
        row("length with a plus", length("+5"), Refused(&[400]), "RFC 9110 8.6"),
        row("negative length", length("-1"), Refused(&[400]), "RFC 9110 8.6"),
        row("negative zero length", length("-0"), Refused(&[400]), "RFC 9110 8.6"),
        row("hexadecimal length", length("0x5"), Refused(&[400]), "RFC 9110 8.6"),
        row("empty length", length(""), Refused(&[400]), "RFC 9110 8.6"),
        row("length with a fraction", length("5.0"), Refused(&[400]), "RFC 9110 8.6"),
        row("length with an exponent", length("5e0"), Refused(&[400]), "RFC 9110 8.6"),
        row("length with a space within", length("5 5"), Refused(&[400]), "RFC 9110 8.6"),
        row("length with an underscore", length("5_0"), Refused(&[400]), "RFC 9110 8.6"),
        row("length in quotes", length("\"5\""), Refused(&[400]), "RFC 9110 8.6"),
        row("length of letters", length("five"), Refused(&[400]), "RFC 9110 8.6"),
        row("length with a control byte", length("5\x0b"), Refused(&[400]), "RFC 9110 5.5"),
        row("length of 2^64", length("18446744073709551616"), Refused(&[400, 413]), "RFC 9110 8.6: overflow"),
        row("length of 2^64 + 5", length("18446744073709551621"), Refused(&[400, 413]), "RFC 9110 8.6: overflow that wraps to 5"),
        row("length of 30 digits", length(&"9".repeat(30)), Refused(&[400, 413]), "RFC 9110 8.6: overflow"),
        row("space before the colon of the length", post("Content-Length : 5", "hello"), Refused(&[400]), "RFC 9112 5.1"),
        row("length of 5 on GET with a second length", get("Content-Length: 5\r\ncontent-length: 0"), Refused(&[400]), "RFC 9112 6.3"),
    ]
}

#[rustfmt::skip]
fn codings() -> Vec<Row> {
    let coding = |value: &str| post(&format!("Transfer-Encoding: {value}"), "0\r\n\r\n");
    vec![
        row("gzip before chunked", coding("gzip, chunked"), Refused(&[501]), "RFC 9112 6.1: not understood"),
        row("gzip alone", coding("gzip"), Refused(&[400, 501]), "RFC 9112 6.3: no end is known"),
        row("identity", coding("identity"), Refused(&[400, 501]), "RFC 9112 7: withdrawn"),
        row("identity before chunked", coding("identity, chunked"), Refused(&[400, 501]), "RFC 9112 7: withdrawn"),
        row("chunked before gzip", coding("chunked, gzip"), Refused(&[400, 501]), "RFC 9112 6.3: chunked is not last"),
        row("chunked before identity", coding("chunked, identity"), Refused(&[400, 501]), "RFC 9112 6.3"),
        row("chunked twice", coding("chunked, chunked"), Refused(&[400]), "RFC 9112 6.1: MUST NOT"),
        row("two lines of chunked", post("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", "0\r\n\r\n"), Refused(&[400]), "RFC 9112 6.1"),
        row("two lines, the second identity", post("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity", "0\r\n\r\n"), Refused(&[400, 501]), "RFC 9112 6.3"),
        row("an unknown coding", coding("xchunked"), Refused(&[400, 501]), "RFC 9112 6.3: no end is known"),
        row("chunked with a parameter", coding("chunked;q=1"), Refused(&[400, 501]), "RFC 9112 7: chunked has none"),
        row("chunked in quotes", coding("\"chunked\""), Refused(&[400, 501]), "RFC 9112 7: a token"),
        row("chunked with a space within", coding("chunk ed"), Refused(&[400, 501]), "RFC 9112 7"),
        row("chunked behind a vertical tab", coding("\x0bchunked"), Refused(&[400]), "RFC 9110 5.5"),
        row("chunked before a vertical tab", coding("chunked\x0b"), Refused(&[400]), "RFC 9110 5.5"),
        row("chunked behind a comma", coding(", chunked"), Refused(&[400, 501]), "RFC 9110 5.6.1: needless, and parsers part ways"),
        row("chunked before a comma", coding("chunked,"), Refused(&[400, 501]), "RFC 9110 5.6.1"),
        row("an empty coding", coding(""), Refused(&[400, 501]), "RFC 9112 6.1"),
        row("an empty coding and a length", post("Transfer-Encoding:\r\nContent-Length: 5", "hello"), Refused(&[400]), "RFC 9112 6.3"),
        row("an unknown coding and a length", post("Transfer-Encoding: x\r\nContent-Length: 5", "hello"), Refused(&[400, 501]), "RFC 9112 6.3"),
        row("space before the colon of the coding", post("Transfer-Encoding : chunked\r\nContent-Length: 5", "0\r\n\r\n"), Refused(&[400]), "RFC 9112 5.1"),
        row("chunked of HTTP/1.0", coding("chunked").replace("HTTP/1.1", "HTTP/1.0"), Refused(&[400]), "RFC 9112 6.1: faulty framing"),
        row("chunked and length of HTTP/1.0", post("Content-Length: 5\r\nTransfer-Encoding: chunked", "0\r\n\r\n").replace("HTTP/1.1", "HTTP/1.0"), Refused(&[400]), "RFC 9112 6.1"),
    ]
}

#[rustfmt::skip]
fn bodies() -> Vec<Row> {
    let trailers = |lines: &str| chunks(&format!("5\r\nhello\r\n0\r\n{lines}\r\n\r\n"));
    vec![
        row("chunk size of a letter", chunks("g\r\nhello\r\n0\r\n\r\n"), Cut(&[400]), "RFC 9112 7.1"),
        row("chunk size of nothing", chunks("\r\nhello\r\n0\r\n\r\n"), Cut(&[400]), "RFC 9112 7.1"),
        row("chunk size with 0x", chunks("0x5\r\nhello\r\n0\r\n\r\n"), Cut(&[400]), "RFC 9112 7.1: HEXDIG"),
        row("chunk size with a plus", chunks("+5\r\nhello\r\n0\r\n\r\n"), Cut(&[400]), "RFC 9112 7.1"),
        row("negative chunk size", chunks("-5\r\nhello\r\n0\r\n\r\n"), Cut(&[400]), "RFC 9112 7.1"),
        row("space before the chunk size", chunks(" 5\r\nhello\r\n0\r\n\r\n"), Cut(&[400]), "RFC 9112 7.1"),
        row("space behind the chunk size", chunks("5 \r\nhello\r\n0\r\n\r\n"), Cut(&[400]), "RFC 9112 7.1.1: white space stands before a semicolon only"),
        row("underscore in the chunk size", chunks("0_5\r\nhello\r\n0\r\n\r\n"), Cut(&[400]), "RFC 9112 7.1"),
        row("chunk size of 2^64 + 5", chunks("10000000000000005\r\nhello\r\n0\r\n\r\n"), Cut(&[400, 413]), "RFC 9112 7.1: overflow"),
        row("chunk size of 16 f", chunks("ffffffffffffffff\r\nhello\r\n0\r\n\r\n"), Cut(&[400, 413]), "RFC 9112 7.1: 2^64 - 1 with its end overflows"),
        row("chunk size of 300 digits", chunks(&format!("{}5\r\nhello\r\n0\r\n\r\n", "0".repeat(300))), Cut(&[400, 413]), "RFC 9112 7.1: bounded"),
        row("LF behind the chunk size", chunks("5\nhello\r\n0\r\n\r\n"), Cut(&[400]), "RFC 9112 7.1: CRLF"),
        row("CR behind the chunk size", chunks("5\rhello\r\n0\r\n\r\n"), Cut(&[400]), "RFC 9112 7.1"),
        row("CR CR LF behind the chunk size", chunks("5\r\r\nhello\r\n0\r\n\r\n"), Cut(&[400]), "RFC 9112 7.1"),
        row("nothing behind the chunk", chunks("5\r\nhello0\r\n\r\n"), Cut(&[400]), "RFC 9112 7.1: CRLF"),
        row("LF behind the chunk", chunks("5\r\nhello\n0\r\n\r\n"), Cut(&[400]), "RFC 9112 7.1"),
        row("CR behind the chunk", chunks("5\r\nhello\r0\r\n\r\n"), Cut(&[400]), "RFC 9112 7.1"),
        row("a chunk longer than its size", chunks("4\r\nhello\r\n0\r\n\r\n"), Cut(&[400]), "RFC 9112 7.1"),
        row("two bytes that are not CRLF behind the chunk", chunks("5\r\nhelloXX0\r\n\r\n"), Cut(&[400]), "RFC 9112 7.1"),
        row("LF in an extension", chunks("5;a\nhello\r\n0\r\n\r\n"), Cut(&[400]), "RFC 9112 7.1.1: where parsers part ways"),
        row("CR in an extension", chunks("5;a\rb\r\nhello\r\n0\r\n\r\n"), Cut(&[400]), "RFC 9112 7.1.1"),
        row("NUL in an extension", chunks("5;a\0\r\nhello\r\n0\r\n\r\n"), Cut(&[400]), "RFC 9112 7.1.1"),
        row("an extension over 256 bytes", chunks(&format!("5;a={}\r\nhello\r\n0\r\n\r\n", "b".repeat(300))), Cut(&[400, 413]), "RFC 9112 7.1.1: bounded"),
        row("an extension without a semicolon", chunks("5 a=b\r\nhello\r\n0\r\n\r\n"), Cut(&[400]), "RFC 9112 7.1.1"),
        row("LF ends the body", chunks("5\r\nhello\r\n0\r\n\n"), Cut(&[400]), "RFC 9112 7.1"),
        row("LF behind the last chunk", chunks("5\r\nhello\r\n0\n\r\n"), Cut(&[400]), "RFC 9112 7.1"),
        row("trailer without a colon", trailers("X"), Cut(&[400]), "RFC 9112 7.1.2"),
        row("space before the colon of a trailer", trailers("X : y"), Cut(&[400]), "RFC 9112 5.1"),
        row("trailer without a name", trailers(": y"), Cut(&[400]), "RFC 9112 5.1"),
        row("NUL within a trailer", trailers("X: y\0"), Cut(&[400]), "RFC 9110 5.5"),
        row("LF within a trailer", trailers("X: y\nZ: z"), Cut(&[400]), "RFC 9112 2.2"),
        row("a trailer continued", trailers("X: y\r\n z"), Cut(&[400]), "RFC 9112 5.2"),
        row("length as a trailer", trailers("Content-Length: 5"), Cut(&[400]), "RFC 9110 6.5.1: MUST NOT"),
        row("coding as a trailer", trailers("Transfer-Encoding: chunked"), Cut(&[400]), "RFC 9110 6.5.1: MUST NOT"),
        row("Host as a trailer", trailers("Host: other"), Cut(&[400]), "RFC 9110 6.5.1: MUST NOT"),
        row("trailers over 8 KiB", trailers(&format!("X: {}", "y".repeat(9 * 1024))), Cut(&[400, 431]), "RFC 9112 7.1.2: bounded"),
        row("200 trailers", trailers(&vec!["X: y"; 200].join("\r\n")), Cut(&[400, 431]), "RFC 9112 7.1.2: bounded"),
    ]
}

#[rustfmt::skip]
fn odd_and_fine() -> Vec<Row> {
    let line = |target: &str| served(&format!("GET {target} HTTP/1.1"));
    let here = || line("/row");
    let posted = || served("POST /row HTTP/1.1");
    let long = format!("/{}", "a".repeat(8 * 1024 - 1));
    let many: String = (0..99).map(|number| format!("X-{number}: y\r\n")).collect();
    vec![
        row("CRLF before the request line", format!("\r\n{}", get("X: y")), here(), "RFC 9112 2.2: at least one SHOULD be skipped"),
        row("three CRLF before the request line", format!("\r\n\r\n\r\n{}", get("X: y")), here(), "RFC 9112 2.2"),
        row("no white space before a value", get("X:y"), here(), "RFC 9112 5: optional").with("x", "y"),
        row("much white space around a value", get("X: \t y z \t "), here(), "RFC 9112 5.1: not part of it").with("x", "y z"),
        row("an empty value", get("X:"), here(), "RFC 9110 5.5").with("x", ""),
        row("bytes above ASCII in a value", get("X: \u{e9}\u{ff}"), here(), "RFC 9110 5.5: obs-text passes as it is").with("x", "\u{e9}\u{ff}"),
        row("every token character in a name", get("X!#$%&'*+-.^_`|~9: y"), here(), "RFC 9110 5.6.2").with("x!#$%&'*+-.^_`|~9", "y"),
        row("another method", "BREW /row HTTP/1.1\r\nHost: test\r\n\r\n", served("BREW /row HTTP/1.1"), "RFC 9110 9.1: methods are open"),
        row("a method in small letters", "get /row HTTP/1.1\r\nHost: test\r\n\r\n", served("get /row HTTP/1.1"), "RFC 9110 9.1: another method"),
        row("OPTIONS for the server", "OPTIONS * HTTP/1.1\r\nHost: test\r\n\r\n", served("OPTIONS * HTTP/1.1"), "RFC 9112 3.2.4"),
        row("OPTIONS for the server, absolute", "OPTIONS http://shop.example HTTP/1.1\r\nHost: test\r\n\r\n", served("OPTIONS * HTTP/1.1"), "RFC 9112 3.2.4").with("host", "shop.example"),
        row("absolute-form", "GET http://shop.example/row?a=b HTTP/1.1\r\nHost: test\r\n\r\n", line("/row?a=b"), "RFC 9112 3.2.2: the target wins, Host is replaced").with("host", "shop.example"),
        row("absolute-form without a path", "GET http://shop.example?a=b HTTP/1.1\r\nHost: test\r\n\r\n", line("/?a=b"), "RFC 9112 3.2.1: / then").with("host", "shop.example"),
        row("absolute-form in large letters", "GET HTTP://shop.example:8080/row HTTP/1.1\r\nHost: test\r\n\r\n", here(), "RFC 3986 3.1").with("host", "shop.example:8080"),
        row("a colon and a double slash in the path", "GET //a:b//c HTTP/1.1\r\nHost: test\r\n\r\n", line("//a:b//c"), "RFC 3986 3.3: the path is the node's to read"),
        row("dots and percent in the path", "GET /a/../%2e%2E/b%00?%zz HTTP/1.1\r\nHost: test\r\n\r\n", line("/a/../%2e%2E/b%00?%zz"), "RFC 9112 3.2: passed on as it is"),
        row("target of 8 KiB", format!("GET {long} HTTP/1.1\r\nHost: test\r\n\r\n"), line(&long), "RFC 9112 3: 8000 bytes at least"),
        row("100 fields", format!("GET /row HTTP/1.1\r\nHost: test\r\n{many}\r\n"), here(), "the bound itself").with("x-98", "y"),
        row("a field of 16 KiB", get(&format!("X: {}", "y".repeat(16 * 1024))), here(), "within the bound"),
        row("Host with a port", "GET /row HTTP/1.1\r\nHost: test:8080\r\n\r\n", here(), "RFC 9110 7.2").with("host", "test:8080"),
        row("Host of IPv6", "GET /row HTTP/1.1\r\nHost: [2001:db8::1]:80\r\n\r\n", here(), "RFC 9110 7.2").with("host", "[2001:db8::1]:80"),
        row("version HTTP/1.2", "GET /row HTTP/1.2\r\nHost: test\r\n\r\n", here(), "RFC 9110 2.5: read as the latest minor version that is known"),
        row("HTTP/1.0 without Host", "GET /row HTTP/1.0\r\n\r\n", here(), "RFC 9112 3.2: only 1.1 must").ends(),
        row("Connection: close", get("Connection: close"), here(), "RFC 9112 9.6").without("x").ends(),
        row("Connection: close in a list", get("Connection: foo, CLOSE"), here(), "RFC 9110 7.6.1").ends(),
        row("POST without a length", post("X: y", ""), posted(), "RFC 9112 6.3: no body then"),
        row("a body on GET", "GET /row HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\n\r\nhello", here(), "RFC 9110 9.3.1: no meaning, but framed").body(5),
        row("length with zeros in front", post("Content-Length: 0005", "hello"), posted(), "RFC 9110 8.6: 1*DIGIT").body(5),
        row("coding in large letters", post("TRANSFER-ENCODING: CHUNKED", "5\r\nhello\r\n0\r\n\r\n"), posted(), "RFC 9112 7: case-insensitive").body(5),
        row("chunk size in large letters with zeros", chunks("000A\r\n0123456789\r\n0\r\n\r\n"), posted(), "RFC 9112 7.1").body(10),
        row("extensions", chunks("5;a=b;c=\"d;e\"\r\nhello\r\n0;last\r\n\r\n"), posted(), "RFC 9112 7.1.1: read and dropped").body(5),
        row("a trailer", chunks("5\r\nhello\r\n0\r\nX-Checksum: 1\r\n\r\n"), posted(), "RFC 9112 7.1.2").body(5),
        row("chunks of one byte", chunks("1\r\nh\r\n1\r\ni\r\n0\r\n\r\n"), posted(), "RFC 9112 7.1").body(2),
        row("two requests at once", format!("{}{}", post("Content-Length: 5", "hello"), get("X: y")), Served(vec!["POST /row HTTP/1.1".into(), "GET /row HTTP/1.1".into()]), "RFC 9112 9.3.2").body(5),
        row("CRLF between two requests", format!("{}\r\n{}", post("Content-Length: 5", "hello"), get("X: y")), Served(vec!["POST /row HTTP/1.1".into(), "GET /row HTTP/1.1".into()]), "RFC 9112 2.2").body(5),
        row("h2c offered", get("Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA"), here(), "RFC 9110 7.8: an offer may be ignored; no node hears of it").without("upgrade").without("http2-settings"),
        row("h2c offered in a list", get("Connection: Upgrade, HTTP2-Settings\r\nUpgrade: H2C, foo\r\nHTTP2-Settings: AAMAAABk"), here(), "RFC 9110 7.8").without("http2-settings"),
        row("Upgrade without Connection", get("Upgrade: websocket"), here(), "RFC 9110 7.8: not meant for this hop").without("upgrade"),
        row("Upgrade of HTTP/1.0", "GET /row HTTP/1.0\r\nHost: test\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n", here(), "RFC 9110 7.8: MUST ignore").without("upgrade").ends(),
        row("Connection names Host", get("Connection: Host"), here(), "RFC 9110 7.6.1: not for fields meant for the end").with("host", "test"),
        row("Connection names the length", post("Connection: Content-Length\r\nContent-Length: 5", "hello"), posted(), "RFC 9110 7.6.1").body(5),
        row("Connection names what the peer adds", get("Connection: X-Forwarded-For"), here(), "RFC 9110 7.6.1: what this hop adds is not the sender's to drop").with("x-forwarded-for", "127.0.0.1"),
        row("Expect: 100-continue without a body", get("Expect: 100-continue"), here(), "RFC 9110 10.1.1"),
        row("Expect of HTTP/1.0", "GET /row HTTP/1.0\r\nHost: test\r\nExpect: 100-continue\r\n\r\n", here(), "RFC 9110 10.1.1: MUST ignore").ends(),
        row("another Expect", get("Expect: tea"), Declined(&[417]), "RFC 9110 10.1.1"),
        row("another Expect beside a body", post("Expect: tea\r\nContent-Length: 5", "hello"), Declined(&[417]), "RFC 9110 10.1.1"),
    ]
}

/// What one row got, or what is wrong with that.
fn try_row(row: &Row, front: &Front, node: &TestNode, elsewhere: &mut Raw) -> Result<(), String> {
    node.forget();
    let mut client = Raw::connect(front.listener("web"));
    client.set_patience(CLOSE_PATIENCE);
    let mut request = bytes(&row.request);
    if matches!(row.gets, Refused(_) | Cut(_)) {
        request.extend_from_slice(HIDDEN.as_bytes());
    }
    // A refusal may end the connection before all was sent.
    let _ = client.send(&request);
    let answers = if let Served(lines) = &row.gets { lines.len() } else { 1 };
    let mut open = true;
    for _ in 0..answers {
        let answer = match client.answer("GET") {
            Ok(answer) => answer,
            Err(broken) => return Err(format!("got no answer: {broken:?}")),
        };
        let allowed = match &row.gets {
            Refused(statuses) | Declined(statuses) | Cut(statuses) => statuses,
            Served(_) => &[200][..],
        };
        if !allowed.contains(&answer.status) {
            return Err(format!("got {}", answer.status));
        }
        open = answer.head.keeps_alive();
    }
    let ends = row.ends || matches!(row.gets, Refused(_) | Cut(_));
    if ends || !open {
        match client.end(CLOSE_PATIENCE) {
            End::Closed | End::Reset => {}
            left => return Err(format!("the connection was to end: {left:?}")),
        }
        if matches!(row.gets, Served(_)) && !ends {
            return Err("the connection ended".into());
        }
    } else {
        answered(&mut client, "on the same connection")?;
    }
    answered(elsewhere, "on another connection")?;
    node.look(|seen| {
        let requests: Vec<&SeenRequest> = seen.requests.iter().filter(|seen| !seen.line.contains("/after")).collect();
        record_fits(row, &requests)?;
        if seen.faults.is_empty() { Ok(()) } else { Err(format!("the node got {:?}", seen.faults)) }
    })
}

fn answered(client: &mut Raw, which: &str) -> Result<(), String> {
    match client.ask("GET /after HTTP/1.1\r\nHost: test\r\n\r\n") {
        Ok(answer) if answer.status == 200 && answer.text() == "a\n" => Ok(()),
        Ok(answer) => Err(format!("the next request {which} got {} {:?}", answer.status, answer.text())),
        Err(broken) => Err(format!("the next request {which} got {broken:?}")),
    }
}

fn record_fits(row: &Row, requests: &[&SeenRequest]) -> Result<(), String> {
    let lines: Vec<&str> = requests.iter().map(|request| request.line.as_str()).collect();
    match &row.gets {
        Refused(_) | Declined(_) if !lines.is_empty() => return Err(format!("the node saw {lines:?}")),
        Cut(_) if lines.len() > 1 || requests.iter().any(|request| request.whole) => {
            return Err(format!("the node took it for whole: {lines:?}"));
        }
        Served(expected) if lines != *expected => return Err(format!("the node saw {lines:?}")),
        Refused(_) | Declined(_) | Cut(_) => return Ok(()),
        Served(_) => {}
    }
    let first = requests[0];
    for &(name, expected) in &row.fields {
        if first.field(name) != expected {
            return Err(format!("the node saw {name}: {:?}", first.field(name)));
        }
    }
    if first.body_bytes != row.body_bytes {
        return Err(format!("the node saw a body of {} bytes", first.body_bytes));
    }
    Ok(())
}

#[test]
fn every_bad_request_gets_what_it_deserves() {
    let node = TestNode::start("a");
    let Some(front) = Front::start(&Settings::one("web", "http", [node.address()])) else { return };
    let mut elsewhere = Raw::connect(front.listener("web"));
    let rows: Vec<Row> = [start_lines(), targets(), hosts(), fields(), lengths(), codings(), bodies(), odd_and_fine()]
        .into_iter()
        .flatten()
        .collect();
    let refused = rows.iter().filter(|row| !matches!(row.gets, Served(_))).count();
    assert!(refused >= 80, "{refused} rows of bad requests");

    let mut wrong = Vec::new();
    for row in &rows {
        if let Err(fault) = try_row(row, &front, &node, &mut elsewhere) {
            let start: String = row.request.escape_debug().take(160).collect();
            wrong.push(format!("{}: {fault}; expected {:?} ({})\n    {start}", row.name, row.gets, row.why));
            elsewhere = Raw::connect(front.listener("web"));
        }
    }
    report::line(&format!(
        "{refused} bad and {} odd requests, {} otherwise than written",
        rows.len() - refused,
        wrong.len()
    ));
    let wrong = wrong.join("\n");
    if front.is_peer() {
        assert!(wrong.is_empty(), "{wrong}");
    } else {
        report::line(&wrong);
    }
}

#[test]
fn a_request_that_ends_early_is_never_taken_for_whole() {
    let node = TestNode::start("a");
    let Some(front) = Front::start(&Settings::one("web", "http", [node.address()])) else { return };
    for request in [
        "GET /row HT",
        "GET /row HTTP/1.1\r\nHost: test\r\n",
        "POST /row HTTP/1.1\r\nHost: test\r\nContent-Length: 10\r\n\r\nhello",
        "POST /row HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        "POST /row HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n",
    ] {
        node.forget();
        let mut client = Raw::connect(front.listener("web"));
        client.send(request).unwrap();
        client.end_sending();
        match client.answer("GET") {
            Ok(answer) => assert!((400..=499).contains(&answer.status), "{request:?}: {}", answer.head.start),
            Err(broken) => assert!(matches!(broken, Broken::Closed | Broken::Reset), "{request:?}: {broken:?}"),
        }
        assert_eq!(Raw::connect(front.listener("web")).get("/after").text(), "a\n");
        assert!(!node.seen().requests.iter().any(|seen| seen.line.contains("/row") && seen.whole), "{request:?}");
    }
}
