use ::http::Request;

use super::*;
use crate::host::Dice;

/// A request: its pseudo-header fields, the fields, and whether it ends with its head.
struct Asked<'a> {
    method: &'a str,
    uri: &'a str,
    fields: &'a [(&'a str, &'a str)],
    has_ended: bool,
    protocol: Option<&'static str>,
}

impl Default for Asked<'_> {
    fn default() -> Self {
        Self { method: "GET", uri: "https://x.test/", fields: &[], has_ended: true, protocol: None }
    }
}

fn read(asked: &Asked<'_>) -> Result<(RequestHead, Option<Handshake>), u16> {
    let mut request = Request::builder().method(asked.method).uri(asked.uri);
    for (name, value) in asked.fields {
        request = request.header(*name, *value);
    }
    let (mut parts, ()) = request.body(()).unwrap().into_parts();
    if let Some(protocol) = asked.protocol {
        parts.extensions.insert(Protocol::from_static(protocol));
    }
    let mut head = RequestHead::default();
    let handshake = || Handshake::new(&mut Dice::from_seed(1));
    let taken = take(&parts, asked.has_ended, handshake, &mut head).map_err(|refusal| refusal.status)?;
    Ok((head, taken))
}

fn refused(asked: &Asked<'_>) -> Option<u16> {
    read(asked).err()
}

fn fields(head: &RequestHead) -> Vec<String> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    head.fields.iter().map(|field| format!("{}: {}", text(field.name), text(field.value))).collect()
}

#[test]
fn a_head_is_the_one_that_http_1_would_have_made() {
    let asked = Asked {
        uri: "https://x.test:8443/a/b?c=d%20",
        fields: &[("accept", "*/*"), ("cookie", "a=1"), ("te", "trailers"), ("cookie", "b=2"), ("cookie", "c=3")],
        ..Asked::default()
    };
    let (head, handshake) = read(&asked).unwrap();
    assert_eq!(fields(&head), ["host: x.test:8443", "accept: */*", "te: trailers", "cookie: a=1; b=2; c=3"]);
    assert_eq!((&head.target[..], &head.authority[..]), (&b"/a/b?c=d%20"[..], &b"x.test:8443"[..]));
    assert_eq!((head.method, head.length, head.is_http2), (Method::Get, Length::None, true));
    assert!(handshake.is_none() && !head.upgrade && !head.expects_continue);
}

#[test]
fn a_request_is_for_one_host() {
    let with = |uri, fields| Asked { uri, fields, ..Asked::default() };
    let (head, _) = read(&with("/", &[("host", "y.test")])).unwrap();
    assert_eq!(head.authority, b"y.test", "of an intermediary that came from HTTP/1");
    let (head, _) = read(&with("https://x.test/", &[("host", "X.TEST")])).unwrap();
    assert_eq!(fields(&head), ["host: x.test"]);
    for asked in [
        with("/", &[]),
        with("/", &[("host", "")]),
        with("/", &[("host", "a b")]),
        with("/", &[("host", "x.test"), ("host", "x.test")]),
        with("https://x.test/", &[("host", "y.test")]),
        with("https://x.test/", &[("host", "x.test:80")]),
        with("https://user@x.test/", &[]),
        with("https://x.test:70000/", &[]),
        with("ftp://x.test/", &[]),
    ] {
        assert_eq!(refused(&asked), Some(400), "{} {:?}", asked.uri, asked.fields);
    }
}

#[test]
fn a_target_is_what_it_may_be_in_http_1() {
    let long = format!("https://x.test/{}", "a".repeat(TARGET_BYTES_MAX));
    for (method, uri, status) in [
        ("GET", "https://x.test/\u{7f}", Some(400)),
        ("GET", "https://x.test/\"{}", None),
        ("GET", &long, Some(414)),
        ("TRACE", "https://x.test/", Some(405)),
        ("CONNECT", "x.test:443", Some(405)),
    ] {
        let Ok(_) = uri.parse::<::http::Uri>() else { continue };
        assert_eq!(refused(&Asked { method, uri, ..Asked::default() }), status, "{method} {uri:.40}");
    }
    let whole = |method| {
        let mut parts = Request::new(()).into_parts().0;
        parts.method = method;
        parts.uri = "*".parse().unwrap();
        parts.headers.insert("host", "x.test".parse().unwrap());
        let mut head = RequestHead::default();
        take(&parts, true, || unreachable!(), &mut head).map(|_| head.target).map_err(|refusal| refusal.status)
    };
    assert_eq!(whole(WireMethod::OPTIONS), Ok(b"*".to_vec()));
    assert_eq!(whole(WireMethod::GET), Err(400));
}

#[test]
fn a_body_is_as_long_as_its_length_says_or_says_itself_where_it_ends() {
    for (fields, has_ended, length) in [
        (&[][..], true, Ok(Length::None)),
        (&[], false, Ok(Length::Chunked)),
        (&[("content-length", "5")], false, Ok(Length::Counted(5))),
        (&[("content-length", "0")], false, Ok(Length::None)),
        (&[("content-length", "0")], true, Ok(Length::None)),
        (&[("content-length", "5")], true, Err(400)),
        (&[("content-length", "5"), ("content-length", "5")], false, Err(400)),
        (&[("content-length", "+5")], false, Err(400)),
        (&[("content-length", "5, 5")], false, Err(400)),
    ] {
        let asked = Asked { method: "POST", fields, has_ended, ..Asked::default() };
        assert_eq!(read(&asked).map(|(head, _)| head.length), length, "{fields:?} {has_ended}");
    }
    let waits = Asked { method: "POST", fields: &[("expect", "100-continue")], has_ended: false, ..Asked::default() };
    assert!(read(&waits).unwrap().0.expects_continue);
}

#[test]
fn fields_that_nobody_means_are_refused() {
    let many: Vec<(String, String)> = (0..=HEAD_FIELDS_MAX).map(|n| (format!("x-{n}"), String::new())).collect();
    let many: Vec<(&str, &str)> = many.iter().map(|(name, value)| (&name[..], &value[..])).collect();
    for (fields, status) in
        [(&[("x-a", " 1")][..], 400), (&[("x-a", "1\t")], 400), (&[("expect", "more")], 417), (&many, 431)]
    {
        assert_eq!(refused(&Asked { fields, ..Asked::default() }), Some(status), "{:?}", fields[0]);
    }
}

#[test]
fn a_websocket_is_asked_of_a_node_as_http_1_does_it() {
    let asked = |protocol, fields, has_ended| Asked {
        method: "CONNECT",
        uri: "https://x.test/chat",
        protocol: Some(protocol),
        fields,
        has_ended,
    };
    let fields_sent = &[("sec-websocket-version", "13"), ("sec-websocket-key", "mine"), ("origin", "https://x.test")];
    let (head, handshake) = read(&asked("websocket", fields_sent, false)).unwrap();
    let handshake = handshake.unwrap();
    assert_eq!((&head.method, head.length, head.upgrade), (&Method::Get, Length::None, true));
    let key = format!("sec-websocket-key: {}", handshake.key);
    let sent = ["host: x.test", "sec-websocket-version: 13", "origin: https://x.test", "upgrade: websocket", &key];
    assert_eq!(fields(&head), sent);
    assert_eq!(refused(&asked("connect-udp", &[], false)), Some(501));
    assert_eq!(refused(&asked("websocket", &[], true)), Some(400));
    assert_eq!(refused(&asked("websocket", &[("content-length", "5")], false)), Some(400));
}
