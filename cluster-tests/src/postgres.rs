//! A real PostgreSQL server with a database of its own, for one test.

use std::net::SocketAddr;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;
use tempfile::TempDir;

use crate::process::{Process, Spawn};
use crate::{need, ports};

/// Where Debian keeps the programs of each version.
const VERSIONS: &str = "/usr/lib/postgresql";
/// The account of Debian's package, since the server refuses to run as root.
const ACCOUNT: &str = "postgres";
/// How long a server may take to start.
const START_PATIENCE: Duration = Duration::from_secs(30);

/// A running server; everybody on loopback may connect as `postgres`.
#[derive(Debug)]
pub struct Postgres {
    address: SocketAddr,
    programs: PathBuf,
    _process: Process,
}

impl Postgres {
    /// Starts one; `None`, with a line that says so, where it is not installed.
    pub fn start() -> Option<Self> {
        let Some(programs) = programs() else {
            need::missing("postgresql is not installed");
            return None;
        };
        let account = if rustix::process::geteuid().is_root() {
            let Some(account) = account(ACCOUNT) else {
                need::missing("the account postgres does not exist, and root may not run the server");
                return None;
            };
            Some(account)
        } else {
            None
        };
        let folder = tempfile::tempdir().expect("a temporary folder");
        let data = data_folder(&folder, account);
        let mut initialise = Command::new("setpriv");
        initialise.current_dir("/").args(identity(account)).arg(programs.join("initdb")).arg("--pgdata").arg(&data);
        initialise.args([
            "--auth",
            "trust",
            "--username",
            "postgres",
            "--no-sync",
            "--encoding",
            "UTF8",
            "--locale",
            "C",
        ]);
        let output = initialise.output().expect("initdb runs");
        assert!(output.status.success(), "initdb: {}", String::from_utf8_lossy(&output.stderr));

        let address = ports::free();
        let mut spawn = Spawn::new("postgres", Path::new("/usr/bin/setpriv"), Signal::INT);
        for argument in identity(account) {
            spawn = spawn.arg(argument);
        }
        let mut process = spawn
            .args(["--pdeathsig", "INT"])
            .arg(programs.join("postgres"))
            .arg("-D")
            .arg(&data)
            .args(["-h", &address.ip().to_string(), "-p", &address.port().to_string(), "-k", ""])
            .args(["-c", "fsync=off", "-c", "shared_buffers=32MB"])
            .start(folder);
        process.wait_log("readiness", START_PATIENCE, |log| log.contains("ready to accept connections").then_some(()));
        Some(Self { address, programs, _process: process })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A client program that connects to `server`: `psql`, `pgbench`.
    pub fn client(&self, program: &str, server: SocketAddr) -> Command {
        let mut command = Command::new(self.programs.join(program));
        command
            .args(["-h", &server.ip().to_string(), "-p", &server.port().to_string(), "-U", "postgres"])
            .env("PGSSLMODE", "disable")
            .env("PGCONNECT_TIMEOUT", "10");
        command
    }
}

/// The folder with the programs of the newest version.
fn programs() -> Option<PathBuf> {
    let versions = std::fs::read_dir(VERSIONS).ok()?;
    let mut folders: Vec<PathBuf> = versions
        .filter_map(|version| Some(version.ok()?.path().join("bin")))
        .filter(|folder| folder.join("initdb").is_file())
        .collect();
    folders.sort();
    folders.pop()
}

/// User and group of an account.
fn account(name: &str) -> Option<(u32, u32)> {
    let accounts = std::fs::read_to_string("/etc/passwd").ok()?;
    let line = accounts.lines().find(|line| line.split(':').next() == Some(name))?;
    let mut words = line.split(':').skip(2);
    Some((words.next()?.parse().ok()?, words.next()?.parse().ok()?))
}

/// What makes `setpriv` run a program as this account.
fn identity(account: Option<(u32, u32)>) -> Vec<String> {
    let Some((user, group)) = account else { return Vec::new() };
    vec![format!("--reuid={user}"), format!("--regid={group}"), "--clear-groups".to_owned()]
}

fn data_folder(folder: &TempDir, account: Option<(u32, u32)>) -> PathBuf {
    let data = folder.path().join("data");
    std::fs::create_dir(&data).expect("a temporary folder takes a folder");
    if let Some((user, group)) = account {
        chown(&data, Some(user), Some(group)).expect("root may give a folder away");
        let open = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(folder.path(), open).expect("a folder of one's own");
    }
    data
}
