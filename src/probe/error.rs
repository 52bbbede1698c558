//! Why a check found no good answer: in which phase, whose fault, and how sure that makes us.

use std::error::Error;
use std::fmt;
use std::io;

/// Characters kept of words that come from outside: a certificate may carry thousands of names.
const REASON_CHARS_MAX: usize = 160;

/// How far a check came.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Phase {
    /// Opening the TCP connection.
    Connect,
    /// The TLS handshake.
    Tls,
    /// From the first byte sent to the end of what was waited for.
    Answer,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Answer => "answer",
        })
    }
}

/// Why a check found no good answer.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ProbeError {
    /// Nobody listens there.
    #[error("connect: refused")]
    Refused,
    /// There is no way to the address.
    #[error("connect: unreachable ({0})")]
    Unreachable(String),
    /// The connection could not be opened, in the words of the system.
    #[error("connect: {0}")]
    Connect(String),
    /// The check's time was over.
    #[error("{0}: timed out")]
    TimedOut(Phase),
    /// The handshake failed: certificate, name, versions.
    #[error("tls: {0}")]
    Tls(String),
    /// The node closed the connection before it had answered.
    #[error("{0}: closed by the node")]
    Closed(Phase),
    /// The node reset the connection.
    #[error("{0}: reset by the node")]
    Reset(Phase),
    /// What came is no HTTP answer.
    #[error("answer: malformed ({0})")]
    Malformed(String),
    /// A status outside of the check's range.
    #[error("status {0}")]
    Status(u16),
    /// The bytes that the check expects are not in what came.
    #[error("answer: the expected bytes are not among the {received} bytes received")]
    ExpectedMissing {
        /// Bytes that came.
        received: usize,
    },
    /// It speaks the protocol and does not let us in.
    #[error("answer: {0}")]
    Declined(String),
    /// It answers, and says that it cannot be used, in its own word.
    #[error("says {0:?}")]
    Unwell(String),
    /// The body of the answer does not say what the check asks for.
    #[error("answer: {0}")]
    Silent(String),
    /// This peer could not ask: it is out of files, ports or memory, or the check cannot be put into words. It says
    /// nothing about the node.
    #[error("not checked: {0}")]
    Own(String),
}

impl ProbeError {
    /// Whether nobody can be there: no second try is needed to believe it.
    pub fn is_hard(&self) -> bool {
        matches!(self, Self::Refused | Self::Unreachable(_))
    }

    /// Whether the fault is this peer's own, so that the node is not to be blamed.
    pub fn is_own(&self) -> bool {
        matches!(self, Self::Own(_))
    }

    /// A connection that could not be opened.
    pub fn of_connect(error: &io::Error) -> Self {
        use io::ErrorKind as Kind;
        use rustix::io::Errno;
        let own = [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM, Errno::ADDRNOTAVAIL];
        if error.raw_os_error().is_some_and(|raw| own.iter().any(|errno| errno.raw_os_error() == raw)) {
            return Self::Own(words(error));
        }
        match error.kind() {
            Kind::ConnectionRefused => Self::Refused,
            Kind::NetworkUnreachable | Kind::HostUnreachable | Kind::NetworkDown => Self::Unreachable(words(error)),
            Kind::ConnectionReset | Kind::ConnectionAborted => Self::Reset(Phase::Connect),
            // The kernel gave up before the check did.
            Kind::TimedOut => Self::TimedOut(Phase::Connect),
            _ => Self::Connect(words(error)),
        }
    }

    /// A connection that stood and broke in `phase`.
    pub(super) fn of_io(error: &io::Error, phase: Phase) -> Self {
        use io::ErrorKind as Kind;
        match error.kind() {
            Kind::ConnectionReset | Kind::ConnectionAborted | Kind::BrokenPipe => Self::Reset(phase),
            Kind::UnexpectedEof => Self::Closed(phase),
            // The kernel's keepalive or retransmissions ended.
            Kind::TimedOut => Self::TimedOut(phase),
            // What rustls finds wrong reaches us wrapped as invalid data.
            _ if is_tls(error) => Self::Tls(words(error)),
            _ => match phase {
                Phase::Connect => Self::Connect(words(error)),
                Phase::Tls => Self::Tls(words(error)),
                Phase::Answer => Self::Malformed(words(error)),
            },
        }
    }

    /// An exchange that hyper gave up.
    pub(super) fn of_exchange(error: &hyper::Error) -> Self {
        if error.is_parse_too_large() {
            return Self::Malformed("its head is too large".to_owned());
        }
        if error.is_parse() {
            return Self::Malformed(error.source().map_or_else(|| words(error), words));
        }
        if let Some(io) = error.source().and_then(|source| source.downcast_ref::<io::Error>()) {
            return Self::of_io(io, Phase::Answer);
        }
        if error.is_incomplete_message() || error.is_closed() || error.is_canceled() {
            return Self::Closed(Phase::Answer);
        }
        Self::Malformed(words(error))
    }
}

fn is_tls(error: &io::Error) -> bool {
    error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()).is_some()
}

/// An error in its own words, cut to a length that can be shown.
pub(super) fn words(error: impl fmt::Display) -> String {
    let mut text = error.to_string();
    if let Some((end, _)) = text.char_indices().nth(REASON_CHARS_MAX) {
        text.truncate(end);
        text.push('…');
    }
    text
}
