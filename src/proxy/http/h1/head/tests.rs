use super::*;
use crate::proxy::http::picture::Length;

#[test]
fn an_absolute_target_is_of_the_scheme_of_its_connection() {
    let asked = |scheme: &str, over_tls| {
        let mut head = RequestHead::default();
        let text = format!("GET {scheme}://shop.example/a?b HTTP/1.1\r\nHost: other\r\n\r\n");
        request(text.as_bytes(), over_tls, &mut head)
            .map(|()| (head.target, head.authority))
            .map_err(|refusal| refusal.status)
    };
    let taken = Ok((b"/a?b".to_vec(), b"shop.example".to_vec()));
    assert_eq!(
        (asked("http", false), asked("https", true), asked("HTTPS", true)),
        (taken.clone(), taken.clone(), taken)
    );
    assert_eq!((asked("https", false), asked("http", true)), (Err(421), Err(421)));
}

#[test]
fn a_host_is_a_name_that_routes_can_know() {
    let longest = "a".repeat(255);
    for host in ["a", "a.b", "a.b.", "a.b:80", "10.0.0.1", "[::1]:8", "a_b", &longest] {
        assert!(is_authority(host.as_bytes()), "{host}");
    }
    let too_long = "a".repeat(256);
    for host in ["", ".", ".a", "a..b", "a..", "..", ":80", "a:b", "a b", "[::1", &too_long] {
        assert!(!is_authority(host.as_bytes()), "{host}");
    }
}

/// What a whole head becomes, or the status that refuses it.
fn read(text: &str) -> Result<RequestHead, u16> {
    read_bytes(text.replace('\n', "\r\n").as_bytes())
}

fn read_bytes(bytes: &[u8]) -> Result<RequestHead, u16> {
    let start = leading_empty_lines(bytes).map_err(|refusal| refusal.status)?;
    let bytes = &bytes[start..];
    match HeadScan::default().scan(bytes) {
        Scanned::Whole(length) => {
            assert_eq!(length, bytes.len(), "the sample is one head");
            let mut head = RequestHead::default();
            request(bytes, false, &mut head).map(|()| head).map_err(|refusal| refusal.status)
        }
        Scanned::BareLineFeed => Err(400),
        Scanned::TooLong => Err(too_long(bytes).status),
        Scanned::More => panic!("the sample is not whole"),
    }
}

#[test]
fn a_head_is_the_same_however_it_is_cut_into_pieces() {
    let bytes = b"GET / HTTP/1.1\r\nHost: a\r\n\r\nNEXT";
    for first in 0..bytes.len() {
        let mut scan = HeadScan::default();
        let early = scan.scan(&bytes[..first]);
        let found = if early == Scanned::More { scan.scan(bytes) } else { early };
        assert_eq!(found, Scanned::Whole(bytes.len() - 4), "first {first} bytes");
    }
}

#[test]
fn the_four_forms_of_a_target_say_what_and_for_which_host() {
    for (text, target, authority) in [
        ("GET /a?b=c HTTP/1.1\nHost: x.example:80\n\n", "/a?b=c", "x.example:80"),
        ("GET http://y.example/a HTTP/1.1\nHost: x.example\n\n", "/a", "y.example"),
        ("GET HTTP://y.example HTTP/1.1\nHost: x\n\n", "/", "y.example"),
        ("GET http://y.example?q HTTP/1.1\nHost: x\n\n", "/?q", "y.example"),
        ("OPTIONS * HTTP/1.1\nHost: x\n\n", "*", "x"),
        ("OPTIONS http://y.example:80 HTTP/1.1\nHost: x\n\n", "*", "y.example:80"),
        ("GET / HTTP/1.1\nHost: [::1]:8080\n\n", "/", "[::1]:8080"),
        ("GET / HTTP/1.0\n\n", "/", ""),
        ("GET / HTTP/1.2\nHost: x\n\n", "/", "x"),
        ("GET / HTTP/1.9\nHost: x\n\n", "/", "x"),
        ("\n\nGET / HTTP/1.1\nHost: x\n\n", "/", "x"),
    ] {
        let head = read(text).unwrap_or_else(|status| panic!("{text:?}: {status}"));
        assert_eq!(head.target, target.as_bytes(), "{text:?}");
        assert_eq!(head.authority, authority.as_bytes(), "{text:?}");
    }
}

#[test]
fn a_connection_goes_on_only_where_both_versions_and_options_say_so() {
    for (text, persistent) in [
        ("GET / HTTP/1.1\nHost: x\n\n", true),
        ("GET / HTTP/1.1\nHost: x\nConnection: close\n\n", false),
        ("GET / HTTP/1.1\nHost: x\nConnection: keep-alive, Close\n\n", false),
        ("GET / HTTP/1.0\n\n", false),
        ("GET / HTTP/1.0\nConnection: Keep-Alive\n\n", true),
    ] {
        assert_eq!(read(text).unwrap().persistent, persistent, "{text:?}");
    }
}

#[test]
fn only_an_upgrade_that_can_be_tunnelled_is_offered_to_a_node() {
    for (text, upgrade) in [
        ("GET / HTTP/1.1\nHost: x\nConnection: Upgrade\nUpgrade: websocket\n\n", true),
        ("GET / HTTP/1.1\nHost: x\nUpgrade: websocket\n\n", false),
        ("GET / HTTP/1.1\nHost: x\nConnection: Upgrade\n\n", false),
        ("GET / HTTP/1.1\nHost: x\nConnection: Upgrade, HTTP2-Settings\nUpgrade: h2c\nHTTP2-Settings: AA\n\n", false),
        ("GET / HTTP/1.1\nHost: x\nConnection: Upgrade\nUpgrade: websocket, h2c\n\n", false),
        ("GET / HTTP/1.0\nConnection: Upgrade\nUpgrade: websocket\n\n", false),
        ("POST / HTTP/1.1\nHost: x\nContent-Length: 2\nConnection: Upgrade\nUpgrade: websocket\n\n", false),
    ] {
        assert_eq!(read(text).unwrap().upgrade, upgrade, "{text:?}");
    }
}

#[test]
fn a_body_is_as_long_as_its_fields_say_in_one_way_only() {
    let with = |fields: &str| read(&format!("POST / HTTP/1.1\nHost: x\n{fields}\n"));
    for (fields, length) in [
        ("", Length::None),
        ("Content-Length: 0\n", Length::None),
        ("Content-Length: 5\n", Length::Counted(5)),
        ("Content-Length: 0005\n", Length::Counted(5)),
        ("Transfer-Encoding: chunked\n", Length::Chunked),
        ("Transfer-Encoding:  CHUNKED \n", Length::Chunked),
    ] {
        assert_eq!(with(fields).unwrap().length, length, "{fields:?}");
    }
    for (fields, status) in [
        ("Content-Length: 5\nContent-Length: 5\n", 400),
        ("Content-Length: 5\nContent-Length: 6\n", 400),
        ("Content-Length: 5, 5\n", 400),
        ("Content-Length: +5\n", 400),
        ("Content-Length: -5\n", 400),
        ("Content-Length: 0x5\n", 400),
        ("Content-Length: 5 5\n", 400),
        ("Content-Length:\n", 400),
        ("Content-Length: 99999999999999999999\n", 400),
        ("Content-Length: 5\nTransfer-Encoding: chunked\n", 400),
        ("Transfer-Encoding: chunked\nContent-Length: 5\n", 400),
        ("Transfer-Encoding: chunked\nTransfer-Encoding: chunked\n", 400),
        ("Transfer-Encoding: chunked, chunked\n", 400),
        ("Transfer-Encoding: xchunked\n", 400),
        ("Transfer-Encoding: chunked;q=1\n", 400),
        ("Transfer-Encoding: \x0bchunked\n", 400),
        ("Transfer-Encoding: identity\n", 400),
        ("Transfer-Encoding:\n", 400),
        ("Transfer-Encoding: gzip, chunked\n", 501),
        ("Transfer-Encoding: chunked, gzip\n", 400),
    ] {
        assert_eq!(with(fields).map(|head| head.length), Err(status), "{fields:?}");
    }
    assert_eq!(read("POST / HTTP/1.0\nTransfer-Encoding: chunked\n\n").map(|head| head.length), Err(400));
}

#[test]
fn any_number_of_hops_may_be_allowed_to_options() {
    let with = |value: &str| read(&format!("OPTIONS / HTTP/1.1\nHost: x\nMax-Forwards: {value}\n\n"));
    for (value, hops) in [("0", 0), ("007", 7), ("4294967295", u32::MAX), ("99999999999", u32::MAX)] {
        assert_eq!(with(value).unwrap().max_forwards, Some(hops), "{value}");
    }
    for value in ["", "-1", "+1", "1 2", "x", "1\nMax-Forwards: 1"] {
        assert_eq!(with(value).map(|head| head.max_forwards), Err(400), "{value:?}");
    }
}

#[test]
fn a_malformed_head_is_refused_with_the_status_that_fits() {
    let long = "x".repeat(40_000);
    let many = "X: 1\n".repeat(101);
    for (text, status) in [
        ("GET  / HTTP/1.1\nHost: x\n\n", 400),
        ("GET / HTTP/1.1 \nHost: x\n\n", 400),
        (" GET / HTTP/1.1\nHost: x\n\n", 400),
        ("GET /a b HTTP/1.1\nHost: x\n\n", 400),
        ("GET / http/1.1\nHost: x\n\n", 400),
        ("GET / HTTP/2.0\nHost: x\n\n", 505),
        ("GET / HTTP/1.x\nHost: x\n\n", 400),
        ("GET / HTTP/1.12\nHost: x\n\n", 400),
        ("GET  / HTTP/1.2\nHost: x\n\n", 400),
        ("GET / HTTP/1.2\n\n", 400),
        ("PRI * HTTP/2.0\n\n", 505),
        ("GET /\n\n", 400),
        ("G[T / HTTP/1.1\nHost: x\n\n", 400),
        ("GET /#top HTTP/1.1\nHost: x\n\n", 400),
        ("GET x.example:80 HTTP/1.1\nHost: x\n\n", 400),
        ("GET * HTTP/1.1\nHost: x\n\n", 400),
        ("GET https://x/ HTTP/1.1\nHost: x\n\n", 421),
        ("GET http://u@x/ HTTP/1.1\nHost: x\n\n", 400),
        ("GET http:///a HTTP/1.1\nHost: x\n\n", 400),
        ("CONNECT x:80 HTTP/1.1\nHost: x:80\n\n", 405),
        ("TRACE / HTTP/1.1\nHost: x\n\n", 405),
        ("GET / HTTP/1.1\n\n", 400),
        ("GET / HTTP/1.1\nHost: x\nHost: x\n\n", 400),
        ("GET / HTTP/1.1\nHost:\n\n", 400),
        ("GET / HTTP/1.1\nHost: x y\n\n", 400),
        ("GET / HTTP/1.1\nHost: u@x\n\n", 400),
        ("GET / HTTP/1.1\nHost: x:port\n\n", 400),
        ("GET / HTTP/1.1\nHost: x:65536\n\n", 400),
        ("GET / HTTP/1.1\nHost: x, y\n\n", 400),
        ("GET / HTTP/1.1\nHost : x\n\n", 400),
        ("GET / HTTP/1.1\nHost: x\n: y\n\n", 400),
        ("GET / HTTP/1.1\nHost: x\nA B: y\n\n", 400),
        ("GET / HTTP/1.1\nHost: x\nno colon\n\n", 400),
        ("GET / HTTP/1.1\nHost: x\n folded\n\n", 400),
        ("GET / HTTP/1.1\n Host: x\n\n", 400),
        ("GET / HTTP/1.1\nHost: x\nX: a\x00b\n\n", 400),
        ("GET / HTTP/1.1\nHost: x\nX: a\rb\n\n", 400),
        ("GET / HTTP/1.1\nHost: x\nX: a\x7fb\n\n", 400),
        ("GET / HTTP/1.1\nHost: x\nExpect: more\n\n", 417),
        (&format!("GET /{long} HTTP/1.1\nHost: x\n\n"), 414),
        (&format!("GET / HTTP/1.1\nHost: x\nX: {long}\n\n"), 431),
        (&format!("GET / HTTP/1.1\nHost: x\n{many}\n"), 431),
        (&format!("GET / HTTP/1.1\nHost: x\nConnection: {}\n\n", "a,".repeat(14_000)), 400),
        ("\n\n\n\n\n\nGET / HTTP/1.1\nHost: x\n\n", 400),
    ] {
        let shown: String = text.chars().take(60).collect();
        assert_eq!(read(text).map(|_| ()), Err(status), "{shown:?}");
    }
    assert_eq!(read_bytes(b"GET / HTTP/1.1\nHost: x\n\n").map(|_| ()), Err(400));
    assert_eq!(read_bytes(b"\x16\x03\x01\x02\x00\x01").map(|_| ()), Err(400));
}

fn read_answer(method: Method, text: &str) -> Result<AnswerHead, Malformed> {
    let bytes = text.replace('\n', "\r\n").into_bytes();
    assert_eq!(HeadScan::default().scan(&bytes), Scanned::Whole(bytes.len()));
    let request = RequestHead { method, ..RequestHead::default() };
    let mut head = AnswerHead::default();
    answer(&bytes, &request, &mut head).map(|()| head)
}

#[test]
fn an_answer_ends_as_its_head_and_its_request_say() {
    for (method, text, length, persistent) in [
        (Method::Get, "HTTP/1.1 200 OK\nContent-Length: 5\n\n", Length::Counted(5), true),
        (Method::Get, "HTTP/1.1 200\nContent-Length: 5\n\n", Length::Counted(5), true),
        (Method::Get, "HTTP/1.2 200 OK\nContent-Length: 5\n\n", Length::Counted(5), true),
        (Method::Head, "HTTP/1.1 200 OK\nContent-Length: 5\n\n", Length::None, true),
        (Method::Head, "HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n", Length::None, true),
        (Method::Get, "HTTP/1.1 304 Not Modified\nContent-Length: 5\n\n", Length::None, true),
        (Method::Get, "HTTP/1.1 204 No Content\n\n", Length::None, true),
        (Method::Get, "HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n", Length::Chunked, true),
        (Method::Get, "HTTP/1.1 200 OK\n\n", Length::UntilClose, false),
        (Method::Get, "HTTP/1.0 200 OK\nContent-Length: 5\n\n", Length::Counted(5), false),
        (Method::Get, "HTTP/1.1 200 OK\nContent-Length: 5\nConnection: close\n\n", Length::Counted(5), false),
    ] {
        let head = read_answer(method, text).unwrap_or_else(|fault| panic!("{text:?}: {fault}"));
        assert_eq!((head.length, head.persistent), (length, persistent), "{text:?}");
    }
}

#[test]
fn a_length_is_said_of_a_body_that_another_request_would_get_and_never_of_none() {
    for (method, text, said) in [
        (Method::Head, "HTTP/1.1 200 OK\nContent-Length: 5\n\n", Some(5)),
        (Method::Get, "HTTP/1.1 304 Not Modified\nContent-Length: 5\n\n", Some(5)),
        (Method::Get, "HTTP/1.1 204 No Content\nContent-Length: 5\n\n", None),
        (Method::Head, "HTTP/1.1 204 No Content\nContent-Length: 5\n\n", None),
        (Method::Head, "HTTP/1.1 103 Early Hints\nContent-Length: 5\n\n", None),
    ] {
        assert_eq!(read_answer(method, text).unwrap().length_said, said, "{text:?}");
    }
}

#[test]
fn an_answer_that_can_be_read_in_two_ways_is_refused() {
    for text in [
        "HTTP/1.1 200 OK\nContent-Length: 5\nTransfer-Encoding: chunked\n\n",
        "HTTP/1.1 200 OK\nContent-Length: 5\nContent-Length: 5\n\n",
        "HTTP/1.1 200 OK\nContent-Length: 5, 5\n\n",
        "HTTP/1.1 200 OK\nTransfer-Encoding: gzip, chunked\n\n",
        "HTTP/1.0 200 OK\nTransfer-Encoding: chunked\n\n",
        "HTTP/1.1 200 OK\nX: a\n folded\n\n",
        "HTTP/1.1 200 OK\nX : a\n\n",
        "HTTP/1.1 99 Low\n\n",
        "HTTP/1.1 1000 High\n\n",
        "HTTP/1.1 600 High\n\n",
        "HTTP/2.0 200 OK\n\n",
        "HTP/1.1 200 OK\n\n",
    ] {
        assert!(read_answer(Method::Get, text).is_err(), "{text:?}");
    }
}
