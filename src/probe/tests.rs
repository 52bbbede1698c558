//! Checks against real listeners on loopback that behave in every way a node can.

use std::net::SocketAddr;
use std::sync::Arc;

use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::model::{BodyCheck, Host, HttpCheck, StatusRange, TlsCheck, Transport};
use crate::tls::{ClientConfigs, NodeTls};

const SHORT: Duration = Duration::from_millis(150);

/// A listener whose connections are each handed to `behave`.
async fn node<F>(behave: impl Fn(TcpStream) -> F + Send + 'static) -> SocketAddr
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(behave(stream));
        }
    });
    address
}

/// Reads one request head, says `answer`, closes.
async fn saying(answer: &'static [u8]) -> SocketAddr {
    node(move |mut stream| async move {
        read_head(&mut stream).await;
        let _ = stream.write_all(answer).await;
    })
    .await
}

async fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => break,
        }
    }
    String::from_utf8(head).unwrap()
}

/// Waits until the other side is gone.
async fn freeze(mut stream: TcpStream) {
    let mut sink = [0; 1024];
    while matches!(stream.read(&mut sink).await, Ok(1..)) {}
}

fn target(address: SocketAddr) -> CheckTarget {
    CheckTarget {
        address,
        transport: Transport::Plain,
        host: Host::Ip(address.ip()),
        authority: Arc::from(address.to_string()),
    }
}

fn http() -> Check {
    Check::of(CheckKind::Http(HttpCheck::of("/health?x=1")))
}

fn tcp(send: &[u8], expect: &[u8]) -> Check {
    Check::of(CheckKind::Tcp(TcpCheck { send: send.into(), expect: expect.into() }))
}

fn short(check: Check) -> Check {
    Check { timeout: SHORT, ..check }
}

async fn asked(address: SocketAddr, check: &Check) -> Report {
    run(&target(address), check, &ClientConfigs::trusting([]).unwrap().into()).await
}

async fn found(address: SocketAddr, check: &Check) -> Result<Found, ProbeError> {
    asked(address, check).await.outcome
}

/// An address at which nobody listens.
async fn nobody() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

#[tokio::test]
async fn a_good_status_is_good_and_its_times_are_told() {
    let address = saying(b"HTTP/1.1 204 No Content\r\n\r\n").await;
    let report = asked(address, &http()).await;
    assert_eq!(report.outcome, Ok(Found::Status(204)));
    assert!(report.connect.unwrap() <= report.total);
    assert!(report.to_string().starts_with("ok 204 in "), "{report}");
}

#[tokio::test]
async fn the_request_names_the_path_the_host_and_us() {
    let (sent, mut heads) = tokio::sync::mpsc::channel(2);
    let address = node(move |mut stream| {
        let sent = sent.clone();
        async move {
            sent.send(read_head(&mut stream).await).await.unwrap();
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await.unwrap();
        }
    })
    .await;
    found(address, &http()).await.unwrap();
    let head = heads.recv().await.unwrap().to_lowercase();
    assert!(head.starts_with("get /health?x=1 http/1.1\r\n"), "{head}");
    let agent = format!("user-agent: evenkeel/{}\r\n", env!("CARGO_PKG_VERSION"));
    for field in [&format!("host: {address}\r\n"), agent.as_str(), "connection: close\r\n"] {
        assert!(head.contains(field), "{field} in {head}");
    }

    let named = HttpCheck { host: Some("shop.test".into()), ..HttpCheck::of("/") };
    found(address, &Check::of(CheckKind::Http(named))).await.unwrap();
    assert!(heads.recv().await.unwrap().to_lowercase().contains("host: shop.test\r\n"));
}

#[tokio::test]
async fn a_status_outside_of_the_range_is_bad_and_named() {
    let address = saying(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n").await;
    let report = asked(address, &http()).await;
    assert_eq!(report.outcome, Err(ProbeError::Status(503)));
    assert_eq!(report.to_string(), "status 503");
    let only_503 = HttpCheck { statuses: StatusRange::new(503, 503).unwrap(), ..HttpCheck::of("/") };
    assert_eq!(found(address, &Check::of(CheckKind::Http(only_503))).await, Ok(Found::Status(503)));
}

#[tokio::test]
async fn nobody_there_is_refused_and_hard() {
    for check in [http(), tcp(b"", b""), Check::of(CheckKind::None)] {
        let report = asked(nobody().await, &check).await;
        assert_eq!(report.outcome, Err(ProbeError::Refused));
        assert_eq!(report.connect, None);
        assert!(report.outcome.unwrap_err().is_hard());
    }
}

#[tokio::test]
async fn a_node_that_freezes_runs_into_the_time_out_of_its_phase() {
    let address = node(freeze).await;
    let report = asked(address, &short(http())).await;
    assert_eq!(report.outcome, Err(ProbeError::TimedOut(Phase::Answer)));
    assert!(report.connect.is_some());
    assert_eq!(found(address, &short(tcp(b"PING\r\n", b"PONG"))).await, Err(ProbeError::TimedOut(Phase::Answer)));
    let mut tls = target(address);
    tls.transport = Transport::Tls;
    let report = run(&tls, &short(http()), &ClientConfigs::trusting([]).unwrap().into()).await;
    assert_eq!(report.outcome, Err(ProbeError::TimedOut(Phase::Tls)));
    assert_eq!(report.to_string(), "tls: timed out");
}

#[tokio::test]
async fn a_node_that_closes_early_is_told_from_one_that_is_silent() {
    let closes = node(|mut stream| async move {
        read_head(&mut stream).await;
    })
    .await;
    assert_eq!(found(closes, &http()).await, Err(ProbeError::Closed(Phase::Answer)));
    let cut = saying(b"HTTP/1.1 200 OK\r\nContent-").await;
    assert_eq!(found(cut, &http()).await, Err(ProbeError::Closed(Phase::Answer)));
    let resets = node(|mut stream| async move {
        read_head(&mut stream).await;
        socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
    })
    .await;
    assert_eq!(found(resets, &http()).await, Err(ProbeError::Reset(Phase::Answer)));
}

#[tokio::test]
async fn what_is_not_http_is_malformed() {
    for garbage in [
        &b"220 mail.test ESMTP\r\n\r\n"[..],
        b"HTTP/1.1 abc OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nbroken line\r\n\r\n",
        b"\x00\x01\x02\x03\x04\x05\x06\x07\x08\r\n\r\n",
    ] {
        let got = found(saying(garbage).await, &http()).await;
        assert!(matches!(got, Err(ProbeError::Malformed(_))), "{got:?} for {garbage:?}");
    }
}

#[tokio::test]
async fn a_head_without_end_is_cut_off_and_bad() {
    for endless in [&b"X-Filler: 0123456789012345678901234567890123456789\r\n"[..], b"0123456789"] {
        let address = node(move |mut stream| async move {
            read_head(&mut stream).await;
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nX: ").await;
            while stream.write_all(endless).await.is_ok() {}
        })
        .await;
        let got = found(address, &http()).await;
        assert!(matches!(got, Err(ProbeError::Malformed(_))), "{got:?}");
    }
}

#[tokio::test]
async fn a_flood_of_interim_answers_is_cut_off_and_bad() {
    let address = node(|mut stream| async move {
        read_head(&mut stream).await;
        while stream.write_all(b"HTTP/1.1 102 Processing\r\n\r\n").await.is_ok() {}
    })
    .await;
    let report = asked(address, &http()).await;
    assert_eq!(report.outcome, Err(ProbeError::Malformed("more bytes than a check reads".into())));
    assert!(report.total < Check::TIMEOUT_DEFAULT);
}

#[tokio::test]
async fn interim_answers_before_a_good_one_are_passed_over() {
    let address = saying(b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
    assert_eq!(found(address, &http()).await, Ok(Found::Status(200)));
}

#[tokio::test]
async fn a_slow_trickle_of_a_head_runs_into_the_time_out() {
    let address = node(|mut stream| async move {
        let mut pause = tokio::time::interval(Duration::from_millis(20));
        for byte in b"HTTP/1.1 200 OK\r\nX-Slow: ".iter().chain(std::iter::repeat(&b'x')) {
            pause.tick().await;
            if stream.write_all(&[*byte]).await.is_err() {
                return;
            }
        }
    })
    .await;
    assert_eq!(found(address, &short(http())).await, Err(ProbeError::TimedOut(Phase::Answer)));
}

#[tokio::test]
async fn a_body_without_end_does_not_hold_up_a_good_status() {
    let floods = node(|mut stream| async move {
        read_head(&mut stream).await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n").await;
        while stream.write_all(&[b'x'; 4096]).await.is_ok() {}
    })
    .await;
    assert_eq!(found(floods, &http()).await, Ok(Found::Status(200)));
    let stands_still = node(|mut stream| async move {
        read_head(&mut stream).await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab").await;
        freeze(stream).await;
    })
    .await;
    assert_eq!(found(stands_still, &short(http())).await, Ok(Found::Status(200)));
    let began = host::now();
    assert_eq!(found(stands_still, &http()).await, Ok(Found::Status(200)));
    assert!(host::now() - began < Check::TIMEOUT_DEFAULT);
}

#[tokio::test]
async fn a_tcp_check_finds_its_bytes_wherever_reads_cut_them() {
    let pong = node(|mut stream| async move {
        let mut ping = [0; 6];
        stream.read_exact(&mut ping).await.unwrap();
        assert_eq!(&ping, b"PING\r\n");
        stream.set_nodelay(true).unwrap();
        for piece in [&b"+PO"[..], b"N", b"G\r\n"] {
            stream.write_all(piece).await.unwrap();
            tokio::task::yield_now().await;
        }
        freeze(stream).await;
    })
    .await;
    assert_eq!(found(pong, &tcp(b"PING\r\n", b"+PONG\r\n")).await, Ok(Found::Expected));
    assert_eq!(found(pong, &tcp(b"", b"")).await, Ok(Found::Connected));
    assert_eq!(found(pong, &Check::of(CheckKind::None)).await, Ok(Found::Connected));
}

#[tokio::test]
async fn a_tcp_check_without_its_bytes_is_bad() {
    let greets = saying(b"").await;
    assert_eq!(found(greets, &tcp(b"\r\n\r\n", b"x")).await, Err(ProbeError::Closed(Phase::Answer)));
    let wrong = node(|mut stream| async move { stream.write_all(b"-ERR").await.unwrap() }).await;
    assert_eq!(found(wrong, &tcp(b"", b"+OK")).await, Err(ProbeError::ExpectedMissing { received: 4 }));
    let endless = node(|mut stream| async move { while stream.write_all(&[b'x'; 4096]).await.is_ok() {} }).await;
    let got = found(endless, &tcp(b"", b"+OK")).await;
    assert!(matches!(got, Err(ProbeError::ExpectedMissing { received }) if received >= 64 * 1024), "{got:?}");
}

/// A TLS node with a certificate for `names`, and the certificate.
async fn tls_node(names: &[&str], answer: &'static [u8]) -> (SocketAddr, CertificateDer<'static>) {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let issued = rcgen::generate_simple_self_signed(names).unwrap();
    let key = PrivateKeyDer::try_from(issued.signing_key.serialize_der()).unwrap();
    let mut config =
        rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![issued.cert.der().clone()], key)
            .unwrap();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let address = node(move |stream| {
        let acceptor = acceptor.clone();
        async move {
            if let Ok(mut stream) = acceptor.accept(stream).await {
                let mut head = [0; 512];
                let _ = stream.read(&mut head).await;
                let _ = stream.write_all(answer).await;
                let _ = stream.shutdown().await;
            }
        }
    })
    .await;
    (address, issued.cert.der().clone())
}

#[tokio::test]
async fn over_tls_the_certificate_must_be_trusted_and_carry_the_name() {
    let (address, certificate) = tls_node(&["node.test"], b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
    let trusting = NodeTls::from(ClientConfigs::trusting([certificate]).unwrap());
    let named =
        |name: &str| CheckTarget { transport: Transport::Tls, host: Host::Name(name.into()), ..target(address) };

    let report = run(&named("node.test"), &http(), &trusting).await;
    assert_eq!(report.outcome, Ok(Found::Status(200)), "{report}");
    assert_eq!(run(&named("node.test"), &tcp(b"", b""), &trusting).await.outcome, Ok(Found::Connected));

    let report = run(&named("other.test"), &http(), &trusting).await;
    assert!(matches!(&report.outcome, Err(ProbeError::Tls(why)) if why.contains("not valid for name")), "{report}");
    assert!(report.connect.is_some(), "the connection stood");

    let report = run(&named("node.test"), &http(), &ClientConfigs::trusting([]).unwrap().into()).await;
    assert!(matches!(&report.outcome, Err(ProbeError::Tls(why)) if why.contains("UnknownIssuer")), "{report}");
}

#[tokio::test]
async fn a_plain_node_spoken_to_in_tls_is_bad() {
    let address = node(|mut stream| async move {
        let mut hello = [0; 64];
        let _ = stream.read(&mut hello).await;
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        freeze(stream).await;
    })
    .await;
    let tls = CheckTarget { transport: Transport::Tls, host: Host::Name("node.test".into()), ..target(address) };
    let report = run(&tls, &http(), &ClientConfigs::trusting([]).unwrap().into()).await;
    assert!(matches!(report.outcome, Err(ProbeError::Tls(_))), "{report}");
}

#[tokio::test]
async fn what_this_peer_lacks_is_not_blamed_on_the_node() {
    let full = std::io::Error::from_raw_os_error(rustix::io::Errno::MFILE.raw_os_error());
    assert!(ProbeError::of_connect(&full).is_own());
    let unheard_of = HttpCheck::of("/a b");
    let got = found(nobody().await, &Check::of(CheckKind::Http(unheard_of))).await.unwrap_err();
    assert!(got.is_own(), "{got}");
}

fn json(field: &str) -> Check {
    let body = BodyCheck::Json(field.parse().unwrap());
    Check::of(CheckKind::Http(HttpCheck { body, ..HttpCheck::of("/health") }))
}

#[tokio::test]
async fn a_field_of_json_says_how_a_node_is() {
    let said = |found: &str| found.to_owned();
    for (body, field, expected) in [
        (r#"{"status":"healthy"}"#, "status", Ok(Found::Well(said("healthy")))),
        (r#"{"status":"UP","checks":{"db":{"state":"warn"}}}"#, "checks.db.state", Ok(Found::Degraded(said("warn")))),
        (r#"{"status":"Degraded"}"#, "status", Ok(Found::Degraded(said("Degraded")))),
        (r#"{"ok":true}"#, "ok", Ok(Found::Well(said("true")))),
        (r#"{"ok":false}"#, "ok", Err(ProbeError::Unwell(said("false")))),
        (r#"{"status":"unhealthy"}"#, "status", Err(ProbeError::Unwell(said("unhealthy")))),
        (r#"{"state":"up"}"#, "status", Err(ProbeError::Silent(said("its JSON has no field status")))),
        (r#"{"status":{"a":1}}"#, "status", Err(ProbeError::Silent(said(r#"field status is {"a":1}, and no word"#)))),
    ] {
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes();
        let address = saying(Box::leak(answer.into_boxed_slice())).await;
        assert_eq!(found(address, &json(field)).await, expected, "{body}");
    }
    let address = saying(b"HTTP/1.1 200 OK\r\n\r\n<html>").await;
    let error = found(address, &json("status")).await.unwrap_err().to_string();
    assert!(error.starts_with("answer: its body is no JSON"), "{error}");
    let address = saying(b"HTTP/1.1 503 No\r\nContent-Length: 15\r\n\r\n{\"status\":\"ok\"}").await;
    assert_eq!(found(address, &json("status")).await, Err(ProbeError::Status(503)), "the status counts first");
    // One that says and never ends, and one that ends in the middle.
    let address = node(|mut stream| async move {
        read_head(&mut stream).await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{\"status\":").await;
        freeze(stream).await;
    })
    .await;
    assert_eq!(found(address, &short(json("status"))).await, Err(ProbeError::TimedOut(Phase::Answer)));
    let address = saying(b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{\"status\":").await;
    assert_eq!(found(address, &json("status")).await, Err(ProbeError::Closed(Phase::Answer)));
    let address = node(|mut stream| async move {
        read_head(&mut stream).await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n").await;
        while stream.write_all(&[b' '; 4096]).await.is_ok() {}
    })
    .await;
    assert!(found(address, &json("status")).await.is_err(), "a body without end is read to a limit");
}

#[tokio::test]
async fn a_text_in_the_body_is_looked_for() {
    let body = BodyCheck::Contains(b"all well".as_slice().into());
    let check = Check::of(CheckKind::Http(HttpCheck { body, ..HttpCheck::of("/") }));
    let address = saying(b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\nall well, yo").await;
    assert_eq!(found(address, &check).await, Ok(Found::Expected));
    let address = saying(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nnope").await;
    assert_eq!(found(address, &check).await, Err(ProbeError::ExpectedMissing { received: 4 }));
    let chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nall w\r\n3\r\nell\r\n0\r\n\r\n";
    let address = saying(chunked).await;
    assert_eq!(found(address, &check).await, Ok(Found::Expected), "in two pieces");
}

#[tokio::test]
async fn a_tls_check_sees_how_long_the_certificate_is_good_and_refuses_what_is_not_trusted() {
    let (address, certificate) = tls_node(&["node.test"], b"").await;
    let trusting = NodeTls::from(ClientConfigs::trusting([certificate]).unwrap());
    let at = |transport| CheckTarget { transport, host: Host::Name("node.test".into()), ..target(address) };
    let check = |min_days| Check::of(CheckKind::Tls(TlsCheck { min_days }));
    for transport in [Transport::Plain, Transport::Tls] {
        let report = run(&at(transport.clone()), &check(7), &trusting).await;
        assert!(matches!(report.outcome, Ok(Found::Certified { days_left: 8.. })), "{transport:?}: {report}");
    }
    let report = run(&at(Transport::Tls), &check(u16::MAX), &trusting).await;
    // rcgen's certificates are good for two thousand years.
    assert!(matches!(report.outcome, Ok(Found::Certified { .. })), "{report}");
    let nobody_trusted = NodeTls::from(ClientConfigs::trusting([]).unwrap());
    let report = run(&at(Transport::Tls), &check(7), &nobody_trusted).await;
    assert!(matches!(report.outcome, Err(ProbeError::Tls(_))), "{report}");
    let plain = saying(b"HTTP/1.1 200 OK\r\n\r\n").await;
    let report = run(&CheckTarget { address: plain, ..at(Transport::Tls) }, &short(check(7)), &trusting).await;
    assert!(report.outcome.is_err(), "it does not speak TLS: {report}");
}
