//! The far end of the access log's thread: a file, standard output, or syslog. It blocks, and only that thread calls it.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::tz::TimeZone;

use super::destination::{Destination, Facility};
use crate::host;

/// How syslog names who logs.
const TAG: &str = "evenkeel";
/// How long a syslog that takes nothing is waited for.
const SYSLOG_TIMEOUT: Duration = Duration::from_secs(1);
/// Bytes of a line that fit one datagram beside what stands before it.
const DATAGRAM_LINE_BYTES_MAX: usize = 60_000;
/// Who may read a file that is new: its owner, and the group.
const FILE_MODE: u32 = 0o640;

/// Where lines are written.
pub(super) enum Sink {
    Stdout { is_torn: bool },
    File { path: PathBuf, file: File, is_torn: bool },
    Syslog { to: Destination, socket: Option<Socket>, head: Head },
}

/// A connected socket of syslog.
pub(super) enum Socket {
    Unix(UnixDatagram),
    Udp(UdpSocket),
}

/// What stands before each line of syslog.
pub(super) struct Head {
    priority: u8,
    /// RFC 5424, for a server elsewhere; else as the C library writes it, which is what a local syslog expects.
    is_5424: bool,
    host: String,
    pid: u32,
}

impl Sink {
    /// Opens it. A syslog that is not there yet is no fault: it may start later.
    pub(super) fn open(to: &Destination) -> io::Result<Self> {
        Ok(match to {
            Destination::Stdout => Self::Stdout { is_torn: false },
            Destination::File(path) => Self::File { path: path.clone(), file: open_file(path)?, is_torn: false },
            Destination::SyslogUnix(_, facility) => Self::syslog(to, *facility, false),
            Destination::SyslogUdp(_, facility) => Self::syslog(to, *facility, true),
        })
    }

    fn syslog(to: &Destination, facility: Facility, is_5424: bool) -> Self {
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let host: String = host.trim().chars().filter(char::is_ascii_graphic).take(255).collect();
        let host = if host.is_empty() { "-".to_owned() } else { host };
        let head = Head { priority: facility.priority(), is_5424, host, pid: std::process::id() };
        Self::Syslog { to: to.clone(), socket: None, head }
    }

    /// Opens the file anew, whatever stands at its path now. Where that fails the old one is written on.
    pub(super) fn reopen(&mut self) -> io::Result<()> {
        if let Self::File { path, file, is_torn } = self {
            *file = open_file(path)?;
            *is_torn = false;
        }
        Ok(())
    }

    /// Writes whole lines, each with its end. How many were not written, and why.
    pub(super) fn write(&mut self, lines: &[u8]) -> Result<(), (u64, io::Error)> {
        match self {
            Self::Stdout { is_torn } => write_lines(&mut io::stdout().lock(), lines, is_torn),
            Self::File { file, is_torn, .. } => write_lines(file, lines, is_torn),
            Self::Syslog { to, socket, head } => {
                let (mut failed, mut why) = (0, None);
                for line in lines.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
                    if let Err(error) = send(to, socket, &head.with(line)) {
                        failed += 1;
                        why = Some(error);
                    }
                }
                why.map_or(Ok(()), |error| Err((failed, error)))
            }
        }
    }
}

fn open_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(FILE_MODE).open(path)
}

/// Writes lines. Where the last time ended within one, that one is ended first, so that it costs no other.
fn write_lines(out: &mut impl Write, lines: &[u8], is_torn: &mut bool) -> Result<(), (u64, io::Error)> {
    let count = |left: &[u8]| left.iter().filter(|&&byte| byte == b'\n').count() as u64;
    if *is_torn {
        out.write_all(b"\n").map_err(|error| (count(lines), error))?;
        *is_torn = false;
    }
    let mut left = lines;
    while !left.is_empty() {
        match out.write(left) {
            Ok(0) => return Err((count(left), io::ErrorKind::WriteZero.into())),
            Ok(written) => {
                *is_torn = left[written - 1] != b'\n';
                left = &left[written..];
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err((count(left), error)),
        }
    }
    out.flush().map_err(|error| (0, error))
}

/// Sends a datagram. A syslog that was started again is connected to anew.
fn send(to: &Destination, socket: &mut Option<Socket>, datagram: &[u8]) -> io::Result<()> {
    if let Some(connected) = socket {
        match connected.send(datagram) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Err(error),
            Err(_) => *socket = None,
        }
    }
    socket.insert(Socket::connect(to)?).send(datagram)
}

impl Socket {
    fn connect(to: &Destination) -> io::Result<Self> {
        match to {
            Destination::SyslogUdp(address, _) => {
                let any: SocketAddr = match address {
                    SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
                    SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
                };
                let socket = UdpSocket::bind(any)?;
                socket.connect(address)?;
                socket.set_write_timeout(Some(SYSLOG_TIMEOUT))?;
                Ok(Self::Udp(socket))
            }
            Destination::SyslogUnix(path, _) => {
                let socket = UnixDatagram::unbound()?;
                socket.connect(path)?;
                socket.set_write_timeout(Some(SYSLOG_TIMEOUT))?;
                Ok(Self::Unix(socket))
            }
            Destination::Stdout | Destination::File(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    fn send(&self, datagram: &[u8]) -> io::Result<()> {
        match self {
            Self::Unix(socket) => socket.send(datagram),
            Self::Udp(socket) => socket.send(datagram),
        }
        .map(drop)
    }
}

impl Head {
    fn with(&self, line: &[u8]) -> Vec<u8> {
        let Self { priority, is_5424, host, pid } = self;
        let now = host::wall_timestamp();
        let mut datagram = if *is_5424 {
            format!("<{priority}>1 {now:.6} {host} {TAG} {pid} access - ").into_bytes()
        } else {
            let now = now.to_zoned(TimeZone::UTC);
            format!("<{priority}>{} {TAG}[{pid}]: ", now.strftime("%b %e %H:%M:%S")).into_bytes()
        };
        let mut end = line.len().min(DATAGRAM_LINE_BYTES_MAX);
        // Not within a character.
        while end < line.len() && end > 0 && line[end] & 0b1100_0000 == 0b1000_0000 {
            end -= 1;
        }
        datagram.extend_from_slice(&line[..end]);
        datagram
    }
}
