//! A running `evenkeel`, as its users see it: a settings file, addresses on its standard output, an API.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};

use evenkeel::host;
use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::process::{Process, Spawn};
use crate::raw::{Answer, Broken, Raw};
use crate::settings::Settings;
use crate::{binary, wait};

/// How a peer ends with its test: at once. An orderly end waits for what is under way, and some tests leave that on purpose.
const END: Signal = Signal::KILL;

/// One `evenkeel run`.
#[derive(Debug)]
pub struct Peer {
    process: Process,
    listeners: Vec<(String, SocketAddr)>,
    api: SocketAddr,
    ready_after: Duration,
}

/// What a command printed and how it ended.
#[derive(Debug)]
pub struct Printed {
    /// Its exit status.
    pub status: ExitStatus,
    /// Its standard output.
    pub out: String,
    /// Its standard error.
    pub err: String,
}

impl Peer {
    /// Starts a peer and waits until it is ready.
    #[track_caller]
    pub fn start(settings: &Settings) -> Self {
        Self::start_binary(&binary::evenkeel(), settings)
    }

    /// The same with this binary.
    #[track_caller]
    pub fn start_binary(binary: &Path, settings: &Settings) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = write_settings(folder.path(), &settings.evenkeel_toml());
        let spawn = Spawn::on_core("evenkeel", binary, END, settings.core).arg("run").arg("--config").arg(file);
        Self::run(spawn, folder)
    }

    /// Starts a peer without a file: all it knows is in `variables`.
    #[track_caller]
    pub fn start_bare(variables: &[(&str, &str)]) -> Self {
        let mut spawn = Spawn::new("evenkeel", &binary::evenkeel(), END).arg("run");
        for (name, value) in variables {
            spawn = spawn.env(name, value);
        }
        Self::run(spawn, tempfile::tempdir().expect("a temporary folder"))
    }

    /// Starts a peer with this file and these variables.
    #[track_caller]
    pub fn start_file(toml: &str, variables: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = write_settings(folder.path(), toml);
        let mut spawn = Spawn::new("evenkeel", &binary::evenkeel(), END).arg("run").arg("--config").arg(file);
        for (name, value) in variables {
            spawn = spawn.env(name, value);
        }
        Self::run(spawn, folder)
    }

    #[track_caller]
    fn run(spawn: Spawn, folder: TempDir) -> Self {
        let began = host::now();
        Self::await_ready(spawn.start(folder), began)
    }

    /// The peer that this process becomes once it is ready.
    #[track_caller]
    pub fn await_ready_of(process: Process) -> Self {
        Self::await_ready(process, host::now())
    }

    #[track_caller]
    fn await_ready(mut process: Process, began: Instant) -> Self {
        process
            .wait_log("the line `ready`", wait::PATIENCE, |log| log.lines().any(|line| line == "ready").then_some(()));
        let ready_after = began.elapsed();
        let log = process.log();
        let address =
            |url: &str| url.split("://").nth(1).and_then(|address| address.trim_end_matches('/').parse().ok());
        let listeners = log
            .lines()
            .filter_map(|line| line.strip_prefix("listening ")?.split_once(' '))
            .filter_map(|(name, url)| Some((name.to_owned(), address(url)?)))
            .collect();
        let api =
            log.lines().find_map(|line| address(line.strip_prefix("api ")?)).expect("a peer says where its API is");
        Self { process, listeners, api, ready_after }
    }

    /// The address of a listener.
    #[track_caller]
    pub fn listener(&self, name: &str) -> SocketAddr {
        let found = self.listeners.iter().find(|(listener, _)| listener == name);
        found.unwrap_or_else(|| panic!("no listener {name} in {:?}", self.listeners)).1
    }

    /// All listeners.
    pub fn listeners(&self) -> &[(String, SocketAddr)] {
        &self.listeners
    }

    /// The address of its API.
    pub fn api(&self) -> SocketAddr {
        self.api
    }

    /// Time from its start to the line `ready`.
    pub fn ready_after(&self) -> Duration {
        self.ready_after
    }

    /// Its process.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// What it has said so far.
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// What the API answers to `GET path`.
    #[track_caller]
    pub fn ask(&self, path: &str) -> Answer {
        let answer = self.try_ask(path);
        answer.unwrap_or_else(|broken| panic!("GET {path} of the API: {broken:?}"))
    }

    /// The same while the API may be gone.
    pub fn try_ask(&self, path: &str) -> Result<Answer, Broken> {
        let mut raw = Raw::try_connect(self.api).map_err(|_| Broken::Closed)?;
        raw.ask(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"))
    }

    /// Whether `/health` says that it wants no more traffic.
    pub fn says_it_stops(&self) -> bool {
        self.try_ask("/health").is_ok_and(|answer| answer.status == 503)
    }

    /// The JSON that the API answers to `GET path`.
    #[track_caller]
    pub fn json(&self, path: &str) -> Value {
        let answer = self.ask(path);
        serde_json::from_slice(&answer.body).unwrap_or_else(|error| panic!("{path}: {error}: {}", answer.text()))
    }
}

/// Runs `evenkeel` to its end.
pub fn evenkeel(arguments: &[&str], variables: &[(&str, &str)]) -> Printed {
    let mut command = Command::new(binary::evenkeel());
    command.args(arguments).env_clear().envs(variables.iter().copied());
    let output = command.output().expect("evenkeel runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Printed { status: output.status, out: text(&output.stdout), err: text(&output.stderr) }
}

/// Writes `evenkeel.toml` into a folder.
pub fn write_settings(folder: &Path, toml: &str) -> PathBuf {
    let file = folder.join("evenkeel.toml");
    std::fs::write(&file, toml).expect("a temporary folder takes a file");
    file
}
