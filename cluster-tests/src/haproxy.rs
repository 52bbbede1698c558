//! HAProxy from Debian, as a proxy in the peer's place.

use std::fmt::Write;
use std::net::SocketAddr;

use rustix::process::Signal;

use crate::need;
use crate::process::{Process, Spawn};
use crate::settings::Settings;
use crate::wait::PATIENCE;

/// A running HAProxy.
#[derive(Debug)]
pub struct Haproxy {
    address: SocketAddr,
    process: Process,
}

impl Haproxy {
    /// A proxy with one thread; `None`, with a line that says so, where HAProxy is not installed.
    pub fn start_front(settings: &Settings) -> Option<Self> {
        let program = need::program("haproxy")?;
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = folder.path().join("haproxy.cfg");
        std::fs::write(&file, configuration(settings)).expect("a temporary folder takes a file");
        let address = settings.listeners.first().expect("a proxy listens").listen;
        let process = Spawn::on_core("haproxy", &program, Signal::TERM, settings.core)
            .arg("-db")
            .arg("-f")
            .arg(&file)
            .start(folder);
        let mut front = Self { address, process };
        front.process.wait_log("an open port", PATIENCE, |_| std::net::TcpStream::connect(address).ok());
        Some(front)
    }

    /// Where it listens first.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its process.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }
}

fn configuration(settings: &Settings) -> String {
    let mut text = String::from(
        "global\n nbthread 1\n maxconn 8000\ndefaults\n timeout connect 3s\n timeout client 60s\n timeout server 60s\n \
         timeout http-keep-alive 60s\n option http-keep-alive\n http-reuse always\n retries 2\n option redispatch 1\n",
    );
    for listener in &settings.listeners {
        let (name, mode) = (&listener.name, listener.protocol);
        let _ = writeln!(
            text,
            "frontend {name}-front\n mode {mode}\n bind {}{}\n default_backend {}",
            listener.listen,
            listener.tls.as_ref().map_or_else(String::new, |file| {
                // HTTP/2 where clients choose it, as a peer has it.
                let inside = if mode == "http" { " alpn h2,http/1.1" } else { "" };
                format!(" ssl crt {}{inside}", file.display())
            }),
            listener.pool
        );
        if mode == "http" {
            let _ = writeln!(text, " option forwardfor");
        }
    }
    for pool in &settings.pools {
        let listener = settings.listeners.iter().find(|listener| listener.pool == pool.name);
        let mode = listener.map_or("http", |listener| listener.protocol);
        let _ = writeln!(text, "backend {}\n mode {mode}", pool.name);
        if mode == "http" && pool.is_checked() {
            let _ = writeln!(text, " option httpchk GET /health");
        }
        let check = if pool.is_checked() { " check inter 250ms fall 2 rise 1" } else { "" };
        for node in &pool.nodes {
            let backup = if node.lines.iter().any(|line| line == "backup = true") { " backup" } else { "" };
            let _ = writeln!(text, " server {} {}{check}{backup}", node.id, node.address);
        }
    }
    text
}
