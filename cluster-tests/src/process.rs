//! A process that a test started: its log is kept, and it ends with the test, however the test ends.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::wait::wait_for;
use crate::{need, report};

/// How long a process may take to end when asked, before it is killed.
const END_PATIENCE: Duration = Duration::from_secs(10);
/// What of its own environment a test hands on; the rest might change what is tested.
const ENVIRONMENT_KEPT: [&str; 4] = ["PATH", "HOME", "TMPDIR", "RUST_BACKTRACE"];
/// Lines of a log that a failing test shows.
const TAIL_LINES: usize = 60;

/// What to start.
#[derive(Debug)]
pub struct Spawn {
    name: String,
    command: Command,
    stop: Signal,
    unread: bool,
}

/// A running process with its own folder, in which it may keep files.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    stop: Signal,
    folder: Option<TempDir>,
    log: PathBuf,
}

impl Spawn {
    /// A process called `name` in messages, which ends upon `stop` without leaving anything behind.
    ///
    /// The kernel sends it `stop` too when the thread that started it dies, so that a killed test leaves nothing behind.
    pub fn new(name: impl Into<String>, program: &Path, stop: Signal) -> Self {
        Self::on_core(name, program, stop, None)
    }

    /// The same, bound to one core where one is given.
    pub fn on_core(name: impl Into<String>, program: &Path, stop: Signal, core: Option<usize>) -> Self {
        match core {
            None => Self::through(name, &[], program, stop),
            Some(core) => {
                let bound = ["taskset".into(), "--cpu-list".into(), core.to_string().into()];
                Self::through(name, &bound, program, stop)
            }
        }
    }

    /// The same, started by another program, which takes its place: these words come before it.
    pub(crate) fn through(name: impl Into<String>, before: &[OsString], program: &Path, stop: Signal) -> Self {
        let mut words: Vec<OsString> = Vec::new();
        if let Some(setpriv) = need::find("setpriv") {
            words.extend([setpriv.into(), "--pdeathsig".into(), signal_name(stop).into()]);
        }
        words.extend_from_slice(before);
        words.push(program.into());
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).env_clear();
        for kept in ENVIRONMENT_KEPT {
            command.envs(crate::environment::variable(kept).map(|value| (kept, value)));
        }
        Self { name: name.into(), command, stop, unread: false }
    }

    /// Adds an argument.
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.command.arg(arg);
        self
    }

    /// Adds arguments.
    pub fn args<A: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.command.args(args);
        self
    }

    /// Sets a variable of its environment.
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Nobody reads its standard output: from the first byte on a write of it fails, as after `| head -1`. Its log is then
    /// what it writes to standard error.
    pub fn unread(mut self) -> Self {
        self.unread = true;
        self
    }

    /// Starts it; `folder` is its own and goes with it.
    pub fn start(mut self, folder: TempDir) -> Process {
        // What it is to remember, as a supervisor names the folder for that.
        self.command.env("STATE_DIRECTORY", folder.path().join("state"));
        let log = folder.path().join("log");
        let out = File::create(&log).expect("a log in a temporary folder");
        let err = out.try_clone().expect("a second handle of the log");
        let out = if self.unread {
            let (_, unread) = io::pipe().expect("a pipe");
            Stdio::from(unread)
        } else {
            Stdio::from(out)
        };
        let child = self
            .command
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(err)
            .spawn()
            .unwrap_or_else(|error| panic!("{} does not start: {error}", self.name));
        Process { name: self.name, child, stop: self.stop, folder: Some(folder), log }
    }
}

impl Process {
    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its folder.
    pub fn folder(&self) -> &Path {
        self.folder.as_ref().expect("a folder lives as long as its process").path()
    }

    /// Everything it wrote so far.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// Waits for `look` to find something in the log; panics with the log's end when the process ends before.
    #[track_caller]
    pub fn wait_log<T>(&mut self, what: &str, patience: Duration, mut look: impl FnMut(&str) -> Option<T>) -> T {
        let what = format!("{what} of {}", self.name);
        let (found, _) = wait_for(&what, patience, || {
            let ended = self.exited();
            let found = look(&self.log());
            if found.is_none()
                && let Some(status) = ended
            {
                panic!("{} ended ({status}) before {what}:\n{}", self.name, tail(&self.log()));
            }
            found
        });
        found
    }

    /// Its exit status, once it has ended.
    pub fn exited(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("a child can be asked")
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        if let Err(error) = send(&self.child, signal) {
            report::complain(&format!("{} does not take {signal:?}: {error}", self.name));
        }
    }

    /// Kills it at once and waits for its end.
    pub fn kill(&mut self) {
        if self.exited().is_none() {
            self.signal(Signal::KILL);
            let _ = self.child.wait();
        }
    }

    /// Waits for its end; panics after `patience`.
    #[track_caller]
    pub fn wait(&mut self, patience: Duration) -> ExitStatus {
        wait_for(&format!("the end of {}", self.name), patience, || self.exited()).0
    }

    /// Asks it to end, as its supervisor would (SIGTERM), and waits.
    #[track_caller]
    pub fn terminate(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.wait(END_PATIENCE)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if std::thread::panicking() {
            report::complain(&format!("--- the end of the log of {} ---\n{}", self.name, tail(&self.log())));
            if let Some(folder) = self.folder.take() {
                report::complain(&format!("--- kept in {} ---", folder.keep().display()));
            }
        }
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = send(&self.child, self.stop);
            let began = evenkeel::host::now();
            while matches!(self.child.try_wait(), Ok(None)) {
                if began.elapsed() > END_PATIENCE {
                    let _ = self.child.kill();
                    let _ = self.child.wait();
                }
                crate::wait::pause(Duration::from_millis(2));
            }
        }
    }
}

fn send(child: &Child, signal: Signal) -> io::Result<()> {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::InvalidInput)?;
    Ok(kill_process(pid, signal)?)
}

fn signal_name(signal: Signal) -> &'static str {
    match signal {
        Signal::INT => "INT",
        Signal::QUIT => "QUIT",
        Signal::KILL => "KILL",
        _ => "TERM",
    }
}

fn tail(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
}
