//! A peer's API, asked from wherever the test stands: the answer with its JSON, or that there was none.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

use crate::network;
use crate::raw::{Broken, Raw};

/// Where an API is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Api {
    /// Its address.
    pub address: SocketAddr,
    /// The host that it is on; `None`: the test's own.
    pub namespace: Option<PathBuf>,
}

/// A request.
#[derive(Clone, Debug)]
pub struct Request<'r> {
    /// `GET`, `PUT`, ...
    pub method: &'r str,
    /// With its query.
    pub path: &'r str,
    /// Whole lines, without their ends.
    pub fields: Vec<String>,
    /// JSON; `None`: no body.
    pub body: Option<Value>,
}

/// What was said to it.
#[derive(Clone, Debug)]
pub struct Said {
    /// The status.
    pub status: u16,
    /// The body; `null` where it is no JSON.
    pub json: Value,
    /// The `ETag`, with its quotes.
    pub etag: Option<String>,
}

impl<'r> Request<'r> {
    /// `GET path`.
    pub fn get(path: &'r str) -> Self {
        Self { method: "GET", path, fields: Vec::new(), body: None }
    }

    /// A write with this body.
    pub fn write(method: &'r str, path: &'r str, body: Value) -> Self {
        Self { method, path, fields: Vec::new(), body: Some(body) }
    }

    /// With this field.
    #[must_use]
    pub fn field(mut self, name: &str, value: impl std::fmt::Display) -> Self {
        self.fields.push(format!("{name}: {value}"));
        self
    }

    fn text(&self) -> String {
        let Self { method, path, fields, body } = self;
        let fields: String = fields.iter().map(|field| format!("{field}\r\n")).collect();
        let body = body.as_ref().map(Value::to_string).unwrap_or_default();
        format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{fields}Content-Length: {}\r\n\r\n{body}",
            body.len()
        )
    }
}

impl Api {
    /// Asks, and waits for the answer no longer than this.
    pub fn ask(&self, request: &Request<'_>, patience: Duration) -> Result<Said, Broken> {
        let ask = || {
            let mut raw = Raw::try_connect(self.address).map_err(|_| Broken::Closed)?;
            raw.set_patience(patience);
            let answer = raw.ask(request.text())?;
            Ok(Said {
                status: answer.status,
                json: serde_json::from_slice(&answer.body).unwrap_or_default(),
                etag: answer.field("etag").map(str::to_owned),
            })
        };
        match &self.namespace {
            None => ask(),
            Some(namespace) => std::thread::scope(|scope| {
                let asked = scope.spawn(|| {
                    network::enter(namespace);
                    ask()
                });
                asked.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            }),
        }
    }
}
