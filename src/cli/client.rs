//! Asking a running peer, over one connection an answer.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper::header::HOST;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

use super::outcome::Failure;
use crate::model::{AddressError, NodeAddress};

/// How long one answer may take.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes of an answer at most: a page of the longest list is a tenth of it.
const ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Where a peer's API is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct ApiAddress(NodeAddress);

impl FromStr for ApiAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const LOOKS: &str =
            "an API's address is host:port, such as 127.0.0.1:8080; a peer prints its own when it starts";
        let address: NodeAddress = text.parse().map_err(|error| {
            let wrong = match error {
                // What it says beside that is of nodes, which may speak TLS.
                AddressError::PortMissing => "the port is missing".to_owned(),
                AddressError::Scheme(scheme) => format!("an API speaks http, not {scheme}"),
                error => error.to_string(),
            };
            // Perhaps a port alone, perhaps a host alone.
            let mut meant = [format!("127.0.0.1:{text}"), format!("{text}:8080")].into_iter();
            let meant = meant.find(|meant| meant.parse::<NodeAddress>().is_ok());
            let meant = meant.map_or_else(String::new, |meant| format!("; did you mean {meant}?"));
            format!("{wrong}{meant}\n  {LOOKS}")
        })?;
        if address.tls {
            return Err(format!("the API of this version speaks no TLS; write http://\n  {LOOKS}"));
        }
        Ok(Self(address))
    }
}

impl fmt::Display for ApiAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What the API said.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) body: Value,
}

/// What is sent with a request.
#[derive(Clone, Debug, Default)]
pub(super) struct Sent {
    /// Fields, by name.
    pub(super) fields: Vec<(&'static str, String)>,
    body: bytes::Bytes,
}

impl Sent {
    /// A body of JSON.
    pub(super) fn json(body: &Value) -> Self {
        let fields = vec![("content-type", "application/json".to_owned())];
        Self { fields, body: bytes::Bytes::from(body.to_string()) }
    }

    /// Bytes of the body.
    pub(super) fn length(&self) -> usize {
        self.body.len()
    }
}

/// Asks `GET path`.
pub(super) async fn get(api: &ApiAddress, path: &str) -> Result<Answer, Failure> {
    send(api, Method::GET, path, &Sent::default()).await
}

/// Sends a request.
pub(super) async fn send(api: &ApiAddress, method: Method, path: &str, sent: &Sent) -> Result<Answer, Failure> {
    try_send(api, method, path, sent).await.map_err(|broken| broken.failure(api))
}

/// Sends a request, for whoever may send it again.
pub(super) async fn try_send(api: &ApiAddress, method: Method, path: &str, sent: &Sent) -> Result<Answer, Broken> {
    let answered = tokio::time::timeout(TIMEOUT, exchange(api, method, path, sent)).await.unwrap_or(Err(Broken::Slow));
    let (status, bytes) = answered?;
    let body = serde_json::from_slice(&bytes).map_err(|_| Broken::NoJson(status))?;
    Ok(Answer { status, body })
}

/// Why there is no answer.
pub(super) enum Broken {
    Connect(std::io::Error),
    Slow,
    Exchange(Box<dyn std::error::Error + Send + Sync>),
    NoJson(StatusCode),
}

impl Broken {
    /// Whether what was asked for may have been done all the same.
    pub(super) fn is_perhaps_done(&self) -> bool {
        matches!(self, Self::Slow | Self::Exchange(_))
    }

    /// What to say of it.
    pub(super) fn failure(self, api: &ApiAddress) -> Failure {
        let hint = match self {
            Self::Connect(_) => {
                "is a peer running? start one with `evenkeel run` or `evenkeel demo`, or name its API with --api or EVENKEEL_API"
            }
            Self::Slow => "the peer may be stuck; its log may say why",
            Self::Exchange(_) => "is that the API of a peer? its log may say why",
            Self::NoJson(_) => "is that the API of a peer, or a listener?",
        };
        Failure::new(format_args!("{api} {self}"), hint)
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect(error) => write!(f, "does not answer: {error}"),
            Self::Slow => write!(f, "did not answer within {TIMEOUT:?}"),
            Self::Exchange(error) => write!(f, "broke off: {error}"),
            Self::NoJson(status) => write!(f, "answered {status} and no JSON"),
        }
    }
}

async fn exchange(
    api: &ApiAddress,
    method: Method,
    path: &str,
    sent: &Sent,
) -> Result<(StatusCode, bytes::Bytes), Broken> {
    let host = api.0.host.to_string();
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let stream = TcpStream::connect((host, api.0.port)).await.map_err(Broken::Connect)?;
    let broken = |error: hyper::Error| Broken::Exchange(error.into());
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    let request = Request::builder().method(method).uri(path).header(HOST, api.0.authority());
    let request = sent.fields.iter().fold(request, |request, (name, value)| request.header(*name, value));
    let request = request.body(Full::new(sent.body.clone()));
    let request = request.map_err(|error| Broken::Exchange(error.into()))?;
    let answer = async {
        let response = sender.send_request(request).await.map_err(broken)?;
        let status = response.status();
        let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await.map_err(Broken::Exchange)?;
        Ok((status, body.to_bytes()))
    };
    // The connection is driven by polling it beside the answer.
    let mut connection = std::pin::pin!(connection);
    let mut answer = std::pin::pin!(answer);
    tokio::select! {
        answer = answer.as_mut() => answer,
        ended = connection.as_mut() => {
            ended.map_err(broken)?;
            answer.await
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_api_is_named_as_people_write_it() {
        for (text, authority) in [
            ("127.0.0.1:8080", "127.0.0.1:8080"),
            ("http://127.0.0.1:8080/", "127.0.0.1:8080"),
            ("localhost:80", "localhost"),
            ("[::1]:8080", "[::1]:8080"),
        ] {
            assert_eq!(text.parse::<ApiAddress>().unwrap().0.authority(), authority);
        }
        for wrong in ["", "8080", "https://127.0.0.1:8080", "http://127.0.0.1:8080/api"] {
            assert!(wrong.parse::<ApiAddress>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_is_no_address_of_an_api_is_answered_with_what_one_looks_like() {
        for (text, hint) in [
            ("foo", "did you mean foo:8080?"),
            ("8080", "did you mean 127.0.0.1:8080?"),
            ("ftp://foo", "such as 127.0.0.1:8080"),
            ("https://127.0.0.1:8080", "speaks no TLS"),
        ] {
            let told = text.parse::<ApiAddress>().unwrap_err();
            assert!(told.contains(hint), "{text}: {told}");
            assert!(told.contains("an API's address is host:port"), "{text}: {told}");
            assert!(!told.contains("443"), "no API listens there: {told}");
        }
    }

    #[tokio::test]
    async fn where_nobody_answers_the_hint_says_what_to_start() {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let api: ApiAddress = free.local_addr().unwrap().to_string().parse().unwrap();
        drop(free);
        let Err(Failure::Failed { what, hint }) = get(&api, "/health").await else { panic!("answered") };
        assert!(what.contains("does not answer"), "{what}");
        assert!(hint.contains("evenkeel run"), "{hint}");
    }
}
