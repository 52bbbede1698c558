//! A driver that runs a command: the effect as one JSON object on its standard input, what came of it as one on its standard output.
//!
//! A command outlives the peer that began it: one that is killed halfway through leaves a node halfway moved, so nothing ends it but
//! its own time-out. A second one must not run beside it when the peer is there again. So the standard input is a file, one for
//! each node, and an exclusive lock (flock) is on it. The lock belongs to the open file and not to this process: it is there for as long
//! as anything has that file open, which is the command, and whatever it began that inherited its standard input. Nobody has to
//! remember a process id, which by then may be another's.
//!
//! What that means for a command: what it leaves running (a server that it started) must be given another standard input, or no later
//! command for that node begins. A shell does that for what it starts with `&`. And a command that closes its own standard input, or
//! puts another in its place, gives the lock away while it runs.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Seek, Write};
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use async_trait::async_trait;
use rustix::fs::{Access, FlockOperation, MemfdFlags, access, flock, memfd_create};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};
use serde::Deserialize;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::net::TcpStream;
use tokio::process::{Child, ChildStderr, ChildStdout, Command};
use tokio::task::spawn_blocking;
use tokio::time::{sleep, sleep_until, timeout, timeout_at};

use super::effect::{Action, Done, Driver, Effect, Failed, ServerAt, Usage};
use super::fence::one_line;
use crate::host::{self, Names};
use crate::model::{Host, NodeAddress, NodeId, ServerAddress};

/// Bytes of an effect as JSON.
const INPUT_BYTES_MAX: usize = 256 * 1024;
/// Bytes that a command may print on its standard output, and on its standard error.
const OUTPUT_BYTES_MAX: usize = 64 * 1024;
/// The longest time-out; a greater one is this.
const TIMEOUT_MAX: Duration = Duration::from_secs(24 * 3_600);
/// How often a lock is tried, and processes that were told to end are looked at.
const LOOKED_AT_EVERY: Duration = Duration::from_millis(50);
/// How long a command that takes too long may take to end in order.
const ENDS_WITHIN: Duration = Duration::from_secs(5);
/// How long the system may take to end what was killed.
const KILLED_WITHIN: Duration = Duration::from_secs(1);
/// How long what a command printed is read after its end, where something that it began keeps its output open.
const READ_AFTER_END_FOR: Duration = Duration::from_millis(250);
/// How long a server may take to answer where the command does not understand probes.
const PROBE_WITHIN: Duration = Duration::from_secs(3);
/// Where a command finds others, unless its settings say otherwise.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A command, and how it is run.
#[derive(Clone, Eq, PartialEq)]
pub struct ExecSettings {
    /// The path of the program, from the root, and its arguments. No shell reads them.
    pub command: Vec<String>,
    /// What its environment has beside `PATH`. Nothing of the peer's own is in it.
    pub environment: BTreeMap<String, String>,
    /// How long it may run; after that it is ended, with all of its process group, and has failed. An earlier command for the same
    /// node that still runs is waited for as long, so an effect may take twice this time.
    pub timeout: Duration,
    /// Whether it knows what to do with [`Action::Probe`]. If not, a server is probed by a TCP connection, where it has a port.
    pub probes: bool,
    /// Where the files are that commands get as their standard input; made when it is needed. Drivers that share it keep off each
    /// other's nodes.
    pub folder: PathBuf,
}

/// Values of the environment may be secret, and so may arguments.
impl fmt::Debug for ExecSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExecSettings")
            .field("program", &self.command.first())
            .field("environment", &self.environment.keys().collect::<Vec<_>>())
            .field("timeout", &self.timeout)
            .field("probes", &self.probes)
            .field("folder", &self.folder)
            .finish_non_exhaustive()
    }
}

/// Runs a command for each effect.
pub struct Exec {
    settings: ExecSettings,
    names: Names,
}

impl fmt::Debug for Exec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.settings.fmt(f)
    }
}

/// What a command prints if it prints anything. A field that is not known is refused: an address with a typing error would be lost.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "an object with address, note or error")]
struct Said {
    address: Option<String>,
    note: Option<String>,
    error: Option<String>,
}

/// What a command left behind.
struct Ended {
    status: ExitStatus,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

impl Exec {
    /// A driver of these settings. Whether they can work is found out by each effect, and by [`Driver::usage`].
    pub fn new(settings: ExecSettings) -> Self {
        let timeout = settings.timeout.min(TIMEOUT_MAX);
        Self { settings: ExecSettings { timeout, ..settings }, names: Names::of_system() }
    }

    fn program(&self) -> Result<&str, String> {
        match self.settings.command.first() {
            None => Err("no command is set".to_owned()),
            Some(program) if !program.starts_with('/') => {
                Err(format!("the command {program:?} is no path from the root; name the whole path of the program"))
            }
            Some(program) => Ok(program),
        }
    }

    async fn run(&self, effect: &Effect) -> Result<Done, String> {
        let program = self.program()?;
        let input =
            serde_json::to_vec(effect).map_err(|error| format!("the effect cannot be written as JSON: {error}"))?;
        if input.len() > INPUT_BYTES_MAX {
            return Err(format!("the effect has {} bytes as JSON, more than {INPUT_BYTES_MAX}", input.len()));
        }
        // A probe changes nothing, so nothing has to be kept from running beside it.
        let file = match effect.action {
            Action::Probe => nameless().map_err(|error| format!("there is no memory for its input: {error}"))?,
            _ => self.locked(&effect.node.id).await?,
        };
        let file = blocking(move || filled(file, &input))
            .await
            .map_err(|error| format!("its input cannot be written: {error}"))?;
        let mut command = Command::new(program);
        command
            .args(&self.settings.command[1..])
            .env_clear()
            .env("PATH", PATH)
            .envs(&self.settings.environment)
            .current_dir("/")
            .process_group(0)
            .stdin(Stdio::from(file))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let child = command.spawn().map_err(|error| format!("it cannot be started: {error}"))?;
        // It has this process's copy of the input; from here on the lock is the command's alone.
        drop(command);
        outcome(watch(child, self.settings.timeout).await?)
    }

    /// The node's file, once nothing runs that has it. The lock goes with the file.
    async fn locked(&self, node: &NodeId) -> Result<File, String> {
        let path = self.settings.folder.join(format!("command-{node}.json"));
        let until = host::now() + self.settings.timeout;
        loop {
            let tried = path.clone();
            let locked = blocking(move || lock(&tried)).await;
            if let Some(file) = locked.map_err(|error| format!("{} cannot be locked: {error}", path.display()))? {
                return Ok(file);
            }
            if host::now() >= until {
                return Err(format!(
                    "an earlier command for this node, or something that it began, still has {} open after {} s; \
                     nothing new is begun beside it: let it end, or end it",
                    path.display(),
                    self.settings.timeout.as_secs_f32()
                ));
            }
            sleep(LOOKED_AT_EVERY).await;
        }
    }

    /// What can be said of a server by whoever knows nothing but its address.
    async fn probe(&self, server: Option<&ServerAt>) -> Result<Done, Failed> {
        let passed = |note: String| Ok(Done { address: None, note: one_line(&note) });
        let Some(server) = server else { return passed("not looked at: no server was named".to_owned()) };
        let failed = |why: String| Failed::new(one_line(&format!("server {} at {}: {why}", server.id, server.address)));
        let address: ServerAddress = server.address.parse().map_err(|error| failed(format!("{error}")))?;
        let Some(port) = address.port else {
            return passed(format!("not looked at: {} has no port to connect to", server.address));
        };
        let until = host::now() + PROBE_WITHIN;
        let too_late = |_| failed(format!("it does not answer a TCP connection within {} s", PROBE_WITHIN.as_secs()));
        let addresses = match address.host {
            Host::Ip(ip) => vec![ip],
            Host::Name(name) => {
                let resolved = timeout_at(until.into(), self.names.resolve(&name)).await.map_err(too_late)?;
                resolved.map_err(|error| failed(error.to_string()))?.addresses
            }
        };
        let mut last = failed("its name leads nowhere".to_owned());
        for (at, ip) in addresses.iter().enumerate() {
            // Each gets its share of the time: one that swallows everything leaves some to the next.
            let left = until.saturating_duration_since(host::now());
            let share = left / u32::try_from(addresses.len() - at).unwrap_or(u32::MAX);
            let connecting = TcpStream::connect(SocketAddr::new(*ip, port.get()));
            match timeout(share, connecting).await.map_err(too_late) {
                Ok(Ok(_)) => return passed(format!("{} takes TCP connections", server.address)),
                Ok(Err(error)) => last = failed(format!("it takes no TCP connection: {error}")),
                Err(late) => last = late,
            }
        }
        Err(last)
    }
}

#[async_trait]
impl Driver for Exec {
    async fn act(&self, effect: &Effect) -> Result<Done, Failed> {
        if effect.action == Action::Probe && !self.settings.probes {
            return self.probe(effect.to.as_ref()).await;
        }
        self.run(effect).await.map_err(|why| {
            let program = self.settings.command.first().map_or("", String::as_str);
            Failed::new(one_line(&format!("{program}, asked to {} node {}: {why}", effect.action, effect.node.id)))
        })
    }

    fn secrets(&self) -> Vec<String> {
        self.settings.environment.values().cloned().collect()
    }

    /// A command cannot be asked what it has; that it can be run at all is looked at.
    async fn usage(&self) -> Result<Vec<Usage>, Failed> {
        let program = self.program().map_err(|why| Failed::new(one_line(&why)))?.to_owned();
        let shown = program.clone();
        let found = blocking(move || {
            if Path::new(&program).is_dir() {
                return Err(Errno::ISDIR.into());
            }
            access(program, Access::EXEC_OK).map_err(io::Error::from)
        });
        found.await.map_err(|error| Failed::new(one_line(&format!("{shown} cannot be run: {error}"))))?;
        Ok(Vec::new())
    }
}

/// The file with its lock; `None`: somebody else has that.
fn lock(path: &Path) -> io::Result<Option<File>> {
    if let Some(folder) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    // What stands in it is that of the command that has the lock: it is not touched before.
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(file)),
        Err(Errno::WOULDBLOCK) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// A file that is nobody else's and goes with whoever has it open.
fn nameless() -> io::Result<File> {
    Ok(File::from(memfd_create(c"evenkeel-probe", MemfdFlags::CLOEXEC)?))
}

/// The file with this content, to be read from its beginning. It is written in place: under another file of the same name there would
/// be another lock.
fn filled(mut file: File, content: &[u8]) -> io::Result<File> {
    file.set_len(0)?;
    file.rewind()?;
    file.write_all(content)?;
    file.rewind()?;
    Ok(file)
}

/// Waits for a command, and ends it where it takes too long or says too much.
async fn watch(mut child: Child, limit: Duration) -> Result<Ended, String> {
    let group = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    let (mut stdout, mut stderr) = (Output::of(child.stdout.take()), Output::of(child.stderr.take()));
    let mut until = host::now() + limit;
    let mut status = None;
    let why = loop {
        tokio::select! {
            more = stdout.read() => if more.is_err() { break too_much("standard output") },
            more = stderr.read() => if more.is_err() { break too_much("standard error") },
            ended = child.wait(), if status.is_none() => {
                status = Some(ended.map_err(|error| format!("nothing can be known of its end: {error}"))?);
                until = host::now() + READ_AFTER_END_FOR;
            }
            () = sleep_until(until.into()) => match status {
                Some(status) => return Ok(Ended { status, stdout: stdout.read, stderr: stderr.read }),
                None => break format!("it did not end within {} s, and was ended", limit.as_secs_f32()),
            },
        }
        if let (Some(status), None, None) = (status, &stdout.stream, &stderr.stream) {
            return Ok(Ended { status, stdout: stdout.read, stderr: stderr.read });
        }
    };
    end(&mut child, group, (stdout, stderr)).await;
    Err(why)
}

fn too_much(what: &str) -> String {
    format!("it printed more than {} KiB on its {what}, and was ended", OUTPUT_BYTES_MAX / 1024)
}

/// Ends a command and what it began in its group, in order if that is quick.
async fn end(
    child: &mut Child,
    group: Option<Pid>,
    (mut stdout, mut stderr): (Output<ChildStdout>, Output<ChildStderr>),
) {
    let Some(group) = group else { return };
    let _ = kill_process_group(group, Signal::TERM);
    let until = host::now() + ENDS_WITHIN;
    // What it prints while it ends is read, or it would wait for that with its end.
    let read_on = async { tokio::join!(stdout.drop_all(), stderr.drop_all()) };
    let gone = async {
        // While one of the group is there, its number is nobody else's.
        while test_kill_process_group(group) != Err(Errno::SRCH) {
            let _ = child.try_wait();
            sleep(LOOKED_AT_EVERY).await;
        }
    };
    let is_gone = tokio::select! {
        () = gone => true,
        _ = read_on => false,
        () = sleep_until(until.into()) => false,
    };
    if !is_gone {
        let _ = kill_process_group(group, Signal::KILL);
        let _ = timeout(KILLED_WITHIN, child.wait()).await;
    }
}

/// What is read of a command.
struct Output<T> {
    /// `None`: it is closed.
    stream: Option<T>,
    read: Vec<u8>,
}

impl<T: AsyncRead + Unpin> Output<T> {
    fn of(stream: Option<T>) -> Self {
        Self { stream, read: Vec::new() }
    }

    /// Some more of it, once there is some; an error: there is too much. May be dropped while it waits.
    async fn read(&mut self) -> Result<(), ()> {
        let Some(stream) = &mut self.stream else { return std::future::pending().await };
        let mut some = [0; 4 * 1024];
        match stream.read(&mut some).await {
            Ok(0) | Err(_) => self.stream = None,
            Ok(length) => self.read.extend_from_slice(&some[..length]),
        }
        if self.read.len() > OUTPUT_BYTES_MAX { Err(()) } else { Ok(()) }
    }

    /// Reads it and keeps nothing, without an end.
    async fn drop_all(&mut self) {
        loop {
            self.read.clear();
            let _ = self.read().await;
        }
    }
}

/// What an end means.
fn outcome(Ended { status, stdout, stderr }: Ended) -> Result<Done, String> {
    let printed = stdout.trim_ascii();
    let said = (!printed.is_empty()).then(|| serde_json::from_slice::<Said>(printed));
    if !status.success() {
        let complaint = match said {
            Some(Ok(Said { error: Some(error), .. })) => error,
            _ => last_line(&stderr),
        };
        return Err(if complaint.is_empty() { status.to_string() } else { format!("{status}: {complaint}") });
    }
    let Some(said) = said else { return Ok(Done::default()) };
    let Said { address, note, error } =
        said.map_err(|error| format!("it ended well, but what it printed is not the JSON that was expected: {error}"))?;
    if let Some(error) = error {
        return Err(if error.trim().is_empty() { "it says that it failed, and not why".to_owned() } else { error });
    }
    let address = address.map(|text| {
        let read = text.parse::<NodeAddress>();
        read.map_err(|error| format!("it ended well, but the address that it printed is none: {error}"))
    });
    let address = address.transpose()?.map(|address| address.to_string());
    Ok(Done { address, note: one_line(&note.unwrap_or_default()) })
}

/// The last line that has something in it.
fn last_line(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    one_line(text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default())
}

/// Does what blocks where that is allowed.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    spawn_blocking(work).await.unwrap_or_else(|error| Err(io::Error::other(error)))
}

#[cfg(test)]
mod tests;
