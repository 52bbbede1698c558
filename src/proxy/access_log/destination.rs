//! Where the lines of an access log go.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

/// Where lines go. Listeners with the same share one writer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Destination {
    /// Standard output.
    Stdout,
    /// A file, at whose end lines are added. It is opened anew at SIGHUP.
    File(PathBuf),
    /// The socket of this machine's syslog.
    SyslogUnix(PathBuf, Facility),
    /// A syslog server (RFC 5426).
    SyslogUdp(SocketAddr, Facility),
}

/// Where this machine's syslog listens.
const LOCAL_SYSLOG: &str = "/dev/log";

/// Why a text is no destination.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum DestinationError {
    /// Nothing that is known.
    #[error("it is no place that lines can go to")]
    Unknown,
    /// A path that depends on where the process was started.
    #[error("its path does not begin with /")]
    Relative,
    /// Not an address with a port.
    #[error("it is not an IP address with a port")]
    Address,
}

impl FromStr for Destination {
    type Err = DestinationError;

    fn from_str(text: &str) -> Result<Self, DestinationError> {
        let absolute = |path: &str| match path.starts_with('/') && path.len() > 1 {
            true => Ok(PathBuf::from(path)),
            false => Err(DestinationError::Relative),
        };
        let facility = Facility::default();
        match text {
            "stdout" => Ok(Self::Stdout),
            "syslog" => Ok(Self::SyslogUnix(LOCAL_SYSLOG.into(), facility)),
            _ => {
                if let Some(path) = text.strip_prefix("file:") {
                    absolute(path).map(Self::File)
                } else if let Some(path) = text.strip_prefix("syslog:unix:") {
                    Ok(Self::SyslogUnix(absolute(path)?, facility))
                } else if let Some(address) = text.strip_prefix("syslog:udp://") {
                    let address = address.parse().map_err(|_| DestinationError::Address)?;
                    Ok(Self::SyslogUdp(address, facility))
                } else {
                    Err(DestinationError::Unknown)
                }
            }
        }
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stdout => f.write_str("stdout"),
            Self::File(path) => write!(f, "file:{}", path.display()),
            Self::SyslogUnix(path, _) => write!(f, "syslog:unix:{}", path.display()),
            Self::SyslogUdp(address, _) => write!(f, "syslog:udp://{address}"),
        }
    }
}

impl Destination {
    /// The same under another facility; where there is none, as it is.
    pub fn with_facility(self, facility: Facility) -> Self {
        match self {
            Self::SyslogUnix(path, _) => Self::SyslogUnix(path, facility),
            Self::SyslogUdp(address, _) => Self::SyslogUdp(address, facility),
            Self::Stdout | Self::File(_) => self,
        }
    }

    /// Whether it is syslog.
    pub fn is_syslog(&self) -> bool {
        matches!(self, Self::SyslogUnix(..) | Self::SyslogUdp(..))
    }
}

/// By which syslog sorts (RFC 5424 section 6.2.1).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Facility(u8);

impl Facility {
    /// Those that a program that is no part of the system may say.
    pub const NAMES: [(&'static str, Self); 10] = [
        ("user", Self(1)),
        ("daemon", Self(3)),
        ("local0", Self(16)),
        ("local1", Self(17)),
        ("local2", Self(18)),
        ("local3", Self(19)),
        ("local4", Self(20)),
        ("local5", Self(21)),
        ("local6", Self(22)),
        ("local7", Self(23)),
    ];

    /// The priority of a line: an access is informational (6).
    pub(super) fn priority(self) -> u8 {
        self.0 * 8 + 6
    }
}

impl Default for Facility {
    /// `local7`, as nginx has it.
    fn default() -> Self {
        Self(23)
    }
}
