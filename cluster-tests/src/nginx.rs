//! nginx from Debian: as a node that serves real files, and as a proxy in the peer's place.

use std::fmt::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use rustix::process::Signal;

use crate::pattern::Pattern;
use crate::process::{Process, Spawn};
use crate::raw::get_once;
use crate::settings::{Listener, Pool, Settings};
use crate::wait::PATIENCE;
use crate::{need, ports};

/// Where Debian's `libnginx-mod-stream` puts the module that relays TCP.
const STREAM_MODULE: &str = "/usr/lib/nginx/modules/ngx_stream_module.so";

/// A running nginx.
#[derive(Debug)]
pub struct Nginx {
    address: SocketAddr,
    process: Process,
}

/// How nginx divides its work.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Shape {
    /// One process, which is the whole server: killing it kills the node.
    Single,
    /// A master and one worker, as in production.
    Worker,
}

impl Nginx {
    /// A node with files of the shared pattern (`/1k`, `/64k`, `/1m`, also below `/static/`), `/health`, and `/` for its name;
    /// `None`, with a line that says so, where nginx is not installed.
    pub fn start_node(name: &str) -> Option<Self> {
        Self::start_node_at(name, ports::free(), Shape::Single, None)
    }

    /// The same at a given address, bound to a core where one is given.
    pub fn start_node_at(name: &str, address: SocketAddr, shape: Shape, core: Option<usize>) -> Option<Self> {
        let program = need::program("nginx")?;
        let folder = tempfile::tempdir().expect("a temporary folder");
        let www = folder.path().join("www");
        std::fs::create_dir(&www).expect("a temporary folder takes a folder");
        for (file, length) in [("1k", 1 << 10), ("64k", 64 << 10), ("1m", 1 << 20)] {
            std::fs::write(www.join(file), Pattern::shared().body(length)).expect("a temporary folder takes a file");
        }
        let server = format!(
            "server {{ listen {address} backlog=4096; root {}; etag on; add_header Node {name};\n\
             location = / {{ return 200 \"{name}\\n\"; }}\n\
             location = /small {{ return 200 \"{}\"; }}\n\
             location = /health {{ return 200 \"up\\n\"; }} location /static/ {{ alias {}/; }} }}",
            www.display(),
            "n".repeat(128),
            www.display(),
        );
        let mut node = Self { address, process: start(&program, folder, shape, core, &server, "") };
        node.process.wait_log("an answer", PATIENCE, |_| get_once(address, "/health"));
        Some(node)
    }

    /// A proxy in the peer's place.
    pub fn start_front(settings: &Settings, shape: Shape) -> Option<Self> {
        let program = need::program("nginx")?;
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (mut http, mut stream) = (String::new(), String::new());
        for pool in &settings.pools {
            let (text, proxies) = match settings.listeners.iter().find(|listener| listener.pool == pool.name) {
                Some(listener) if listener.protocol == "tcp" => (&mut stream, stream_server(listener)),
                Some(listener) => (&mut http, http_server(listener)),
                None => continue,
            };
            writeln!(text, "upstream {} {{ {} }}\n{proxies}", pool.name, upstream(pool, proxies.contains("location")))
                .expect("a string takes everything");
        }
        if !stream.is_empty() && !relays_tcp() {
            need::missing("nginx without its stream module (libnginx-mod-stream) relays no TCP");
            return None;
        }
        let address = settings.listeners.first().expect("a proxy listens").listen;
        let mut front = Self { address, process: start(&program, folder, shape, settings.core, &http, &stream) };
        front.process.wait_log("an open port", PATIENCE, |_| std::net::TcpStream::connect(address).ok());
        Some(front)
    }

    /// Where it listens first.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its process; with [`Shape::Worker`] the worker is its child.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }
}

/// Whether the installed nginx can relay TCP.
pub fn relays_tcp() -> bool {
    Path::new(STREAM_MODULE).exists()
}

fn upstream(pool: &Pool, keep: bool) -> String {
    let mut text = String::new();
    for node in &pool.nodes {
        let backup = if node.lines.iter().any(|line| line == "backup = true") { " backup" } else { "" };
        let _ = write!(text, "server {}{backup} max_fails=1 fail_timeout=1s; ", node.address);
    }
    if keep {
        text.push_str("keepalive 64; keepalive_requests 1000000;");
    }
    text
}

fn http_server(listener: &Listener) -> String {
    format!(
        "server {{ listen {} backlog=4096{}; location / {{ proxy_pass http://{}; proxy_http_version 1.1;\n\
         proxy_set_header Connection \"\"; proxy_set_header Host $http_host;\n\
         proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; proxy_request_buffering off; proxy_max_temp_file_size 0;\n\
         proxy_next_upstream error timeout http_502 http_503; }} }}",
        listener.listen,
        over_tls(listener),
        listener.pool
    )
}

/// What a server with TLS says behind its `listen`.
fn over_tls(listener: &Listener) -> String {
    listener.tls.as_ref().map_or_else(String::new, |file| {
        let file = file.display();
        format!(" ssl http2; ssl_certificate {file}; ssl_certificate_key {file}; ssl_protocols TLSv1.2 TLSv1.3")
    })
}

fn stream_server(listener: &Listener) -> String {
    format!(
        "server {{ listen {} backlog=4096; proxy_pass {}; proxy_buffer_size 64k; }}",
        listener.listen, listener.pool
    )
}

fn start(
    program: &Path,
    folder: tempfile::TempDir,
    shape: Shape,
    core: Option<usize>,
    http: &str,
    stream: &str,
) -> Process {
    let at = folder.path().display().to_string();
    let module = if stream.is_empty() { String::new() } else { format!("load_module {STREAM_MODULE};") };
    let master = if shape == Shape::Single { "off" } else { "on" };
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .iter()
        .map(|kind| format!("{kind}_temp_path {at}/{kind}; "))
        .collect();
    let streams = if stream.is_empty() { String::new() } else { format!("stream {{ access_log off; {stream} }}") };
    let user = if rustix::process::geteuid().is_root() { "user root;" } else { "" };
    let configuration = format!(
        "{module} {user} daemon off; master_process {master}; worker_processes 1; pid {at}/pid; error_log stderr warn;\n\
         worker_rlimit_nofile 16384; events {{ worker_connections 8192; }}\n\
         http {{ access_log off; {temporary} client_max_body_size 0; keepalive_requests 10000000; sendfile on;\n\
         types {{ }} default_type application/octet-stream;\n{http} }}\n{streams}\n"
    );
    let file: PathBuf = folder.path().join("nginx.conf");
    std::fs::write(&file, configuration).expect("a temporary folder takes a file");
    Spawn::on_core("nginx", program, Signal::TERM, core)
        .arg("-e")
        .arg("stderr")
        .arg("-p")
        .arg(&at)
        .arg("-c")
        .arg(&file)
        .start(folder)
}
