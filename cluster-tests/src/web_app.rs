//! A web app with WebSockets, in Python with nothing but its standard library (`apps/web_app.py`): a node that nobody here wrote
//! a server for.

use std::net::SocketAddr;

use rustix::process::Signal;

use crate::process::{Process, Spawn};
use crate::raw::Raw;
use crate::wait::PATIENCE;
use crate::{need, ports};

const PROGRAM: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/apps/web_app.py");

/// A running app.
#[derive(Debug)]
pub struct WebApp {
    name: String,
    address: SocketAddr,
    process: Process,
}

impl WebApp {
    /// Starts one that calls itself by this name; `None`, with a line that says so, where Python is not installed.
    pub fn start(name: &str) -> Option<Self> {
        let program = need::program("python3")?;
        let address = ports::free();
        let mut process = Spawn::new(format!("web app {name}"), &program, Signal::TERM)
            .arg(PROGRAM)
            .args([name, &address.ip().to_string(), &address.port().to_string()])
            .start(tempfile::tempdir().expect("a temporary folder"));
        process.wait_log("readiness", PATIENCE, |log| log.lines().any(|line| line == "ready").then_some(()));
        Some(Self { name: name.to_owned(), address, process })
    }

    /// One of each of these names.
    pub fn start_each<const N: usize>(names: [&str; N]) -> Option<[Self; N]> {
        let apps: Option<Vec<Self>> = names.into_iter().map(Self::start).collect();
        apps?.try_into().ok()
    }

    /// What it calls itself, in the field `Node` of its answers.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Has it answer this path with this status from now on.
    #[track_caller]
    pub fn order(&self, path: &str, status: u16) {
        let request = format!("PUT /order/{status}{path} HTTP/1.1\r\nHost: test\r\nContent-Length: 0\r\n\r\n");
        let answer = Raw::connect(self.address).ask(request).expect("an order is taken");
        assert_eq!(answer.status, 200, "{path}");
    }

    /// Kills it at once.
    pub fn kill(&mut self) {
        self.process.kill();
    }
}
