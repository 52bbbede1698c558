//! What a node does with a request.

use serde::{Deserialize, Serialize};

/// What a node does with a request, in this order: read the request body, wait, send informational heads, answer.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct Behaviour {
    /// When the request body is read.
    pub body_read: BodyRead,
    /// Pause before the answer, in ms.
    pub delay_ms: u64,
    /// Statuses of informational answers sent first.
    pub interim: Vec<u16>,
    /// The answer.
    pub answer: Answer,
}

/// When a node reads a request's body.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum BodyRead {
    /// Before it answers; `Expect: 100-continue` gets its 100 first.
    #[default]
    First,
    /// After it answered.
    Last,
    /// Never: it answers and closes.
    Never,
}

/// An answer.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// One that is well formed; the body is the shared pattern.
    Pattern {
        /// Status.
        status: u16,
        /// Further fields.
        fields: Vec<(String, String)>,
        /// Bytes of the body.
        bytes: u64,
        /// Sent in chunks rather than counted.
        chunked: bool,
        /// Pause between pieces of 16 KiB, in ms; 0: as fast as it goes.
        pause_ms: u64,
    },
    /// 200 with the node's name and a line end.
    #[default]
    Name,
    /// 200 with the request's own body, in chunks, as it comes in.
    Echo,
    /// 200 with `<bytes> <digest>` of the request's body.
    Digest,
    /// 101, then every byte back.
    Upgrade,
    /// These bytes, each character one byte, whatever they are.
    Raw {
        /// The bytes.
        bytes: String,
        /// What follows.
        then: Then,
    },
}

/// What follows on a connection.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Then {
    /// The next request is read.
    #[default]
    Keep,
    /// The connection is closed.
    Close,
    /// The connection is reset.
    Reset,
    /// Nothing, and the connection stays open.
    Hang,
}

impl From<Answer> for Behaviour {
    fn from(answer: Answer) -> Self {
        Self { answer, ..Self::default() }
    }
}

impl Behaviour {
    /// Answers with these bytes, each character one byte.
    pub fn raw(bytes: impl Into<String>, then: Then) -> Self {
        Answer::Raw { bytes: bytes.into(), then }.into()
    }

    /// Answers with a status and an empty body.
    pub fn status(status: u16) -> Self {
        pattern(status, 0, false).into()
    }

    /// Never answers.
    pub fn freeze() -> Self {
        Self::raw("", Then::Hang)
    }

    /// Waits, then answers with its name.
    pub fn delayed(delay_ms: u64) -> Self {
        Self { delay_ms, ..Self::default() }
    }

    /// What a target asks for where nothing else was set: `/bytes/N`, `/chunked/N`, `/slow/N` (16 KiB every 5 ms),
    /// `/status/N`, `/delay/MS`, `/echo`, `/digest`, `/early` (answers before it reads the body), `/upgrade`, `/freeze`,
    /// `/close`, `/reset`; anything else: the node's name.
    pub fn of_target(target: &str) -> Self {
        let path = target.split('?').next().unwrap_or_default();
        let mut words = path.trim_start_matches('/').split('/');
        let word = words.next().unwrap_or_default();
        let number: u64 = words.next().and_then(|number| number.parse().ok()).unwrap_or(0);
        match word {
            "bytes" => pattern(200, number, false).into(),
            "chunked" => pattern(200, number, true).into(),
            "slow" => {
                Answer::Pattern { status: 200, fields: Vec::new(), bytes: number, chunked: false, pause_ms: 5 }.into()
            }
            "status" => Self::status(u16::try_from(number).unwrap_or(500)),
            "delay" => Self::delayed(number),
            "echo" => Answer::Echo.into(),
            "digest" => Answer::Digest.into(),
            "early" => Self { body_read: BodyRead::Last, ..Self::default() },
            "upgrade" => Answer::Upgrade.into(),
            "freeze" => Self::freeze(),
            "close" => Self::raw("", Then::Close),
            "reset" => Self::raw("", Then::Reset),
            _ => Self::default(),
        }
    }
}

fn pattern(status: u16, bytes: u64, chunked: bool) -> Answer {
    Answer::Pattern { status, fields: Vec::new(), bytes, chunked, pause_ms: 0 }
}
