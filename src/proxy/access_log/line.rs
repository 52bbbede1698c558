//! An exchange made into a line.

use std::borrow::Cow;
use std::io::Write;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::escape::{self, Style};
use super::format::{Format, FormatError, Piece};
use super::note::Note;
use crate::model::{ListenerName, RouteName};
use crate::proxy::http::fields::Fields;

/// Fields that prove who somebody is: nobody reads them in a log.
const SECRET: [&str; 5] = ["authorization", "proxy-authorization", "cookie", "set-cookie", "authentication-info"];

/// The status that stands for a client that went away before it was told one, as nginx has it.
const CLIENT_GONE: u64 = 499;

/// Everything that a line can say.
pub(crate) struct Record<'a> {
    /// When it began.
    pub(crate) began: Timestamp,
    pub(crate) duration: Duration,
    /// For whom it was.
    pub(crate) client: IpAddr,
    /// Who sent it: the client, or a proxy.
    pub(crate) sender: SocketAddr,
    pub(crate) listener: &'a ListenerName,
    pub(crate) route: Option<&'a RouteName>,
    /// `http`, `https`, `tcp` or `tls`.
    pub(crate) scheme: &'static str,
    /// `None`: a connection that is not HTTP, or a request whose head could not be read.
    pub(crate) asked: Option<Asked<'a>>,
    /// Fields of the answer.
    pub(crate) answer: Option<&'a Fields>,
    pub(crate) tls: Option<Tls>,
    pub(crate) note: &'a Note,
}

/// What a request asked.
pub(crate) struct Asked<'a> {
    pub(crate) method: &'a [u8],
    pub(crate) authority: &'a [u8],
    pub(crate) target: &'a [u8],
    pub(crate) fields: &'a Fields,
    /// `HTTP/1.1`.
    pub(crate) protocol: &'static str,
}

/// The version of TLS that a client speaks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tls(pub(crate) &'static str);

macro_rules! fields {
    ($($name:literal $field:ident,)*) => {
        /// Something that a line can say.
        #[derive(Clone, Debug, Eq, PartialEq)]
        pub(super) enum Field {
            $($field,)*
            /// A field of the request.
            Header(String),
            /// A field of the answer.
            AnswerHeader(String),
        }

        const FIELDS: &[(&str, Field)] = &[$(($name, Field::$field),)*];
    };
}

fields! {
    "time" Time,
    "time_common" TimeCommon,
    "time_ms" TimeMs,
    "client" Client,
    "sender" Sender,
    "sender_port" SenderPort,
    "listener" Listener,
    "route" Route,
    "pool" Pool,
    "node" Node,
    "scheme" Scheme,
    "method" Method,
    "host" Host,
    "path" Path,
    "query" Query,
    "target" Target,
    "protocol" Protocol,
    "request" Request,
    "status" Status,
    "bytes_in" BytesIn,
    "bytes_out" BytesOut,
    "duration_ms" DurationMs,
    "node_ms" NodeMs,
    "retries" Retries,
    "user_agent" UserAgent,
    "referer" Referer,
    "request_id" RequestId,
    "tls" TlsVersion,
    "own" Own,
    "end" End,
}

/// What an object of JSON says, in this order. `query` comes behind the path where it is wanted.
const OF_JSON: [(&str, Field); 25] = [
    ("time", Field::Time),
    ("client", Field::Client),
    ("sender", Field::Sender),
    ("listener", Field::Listener),
    ("route", Field::Route),
    ("pool", Field::Pool),
    ("node", Field::Node),
    ("scheme", Field::Scheme),
    ("method", Field::Method),
    ("host", Field::Host),
    ("path", Field::Path),
    ("query", Field::Query),
    ("protocol", Field::Protocol),
    ("status", Field::Status),
    ("bytes_in", Field::BytesIn),
    ("bytes_out", Field::BytesOut),
    ("duration_ms", Field::DurationMs),
    ("node_ms", Field::NodeMs),
    ("retries", Field::Retries),
    ("user_agent", Field::UserAgent),
    ("referer", Field::Referer),
    ("request_id", Field::RequestId),
    ("tls", Field::TlsVersion),
    ("own", Field::Own),
    ("end", Field::End),
];

impl Field {
    /// What a word in braces stands for.
    pub(super) fn of(word: &str) -> Result<Self, FormatError> {
        if let Some((_, field)) = FIELDS.iter().find(|(name, _)| *name == word) {
            return Ok(field.clone());
        }
        let named = |prefix: &str| {
            word.strip_prefix(prefix).filter(|name| crate::proxy::http::fields::is_token(name.as_bytes()))
        };
        let (name, field): (_, fn(String) -> Self) = match (named("header:"), named("answer_header:")) {
            (Some(name), _) => (name, Self::Header),
            (_, Some(name)) => (name, Self::AnswerHeader),
            _ => return Err(FormatError::Word(word.chars().take(60).collect())),
        };
        if SECRET.iter().any(|secret| name.eq_ignore_ascii_case(secret)) {
            return Err(FormatError::Secret(word.to_owned()));
        }
        Ok(field(name.to_owned()))
    }

    /// All words.
    pub(super) fn known() -> String {
        let names = FIELDS.iter().map(|(name, _)| *name).chain(["header:<name>", "answer_header:<name>"]);
        names.collect::<Vec<_>>().join(", ")
    }
}

/// What stands for a field.
enum Value<'a> {
    Nothing,
    Number(u64),
    Duration(Duration),
    /// As it is: nothing in it is a client's.
    Plain(Cow<'a, str>),
    Bytes(Cow<'a, [u8]>),
}

impl<'a> Value<'a> {
    fn plain(text: Option<&'a str>) -> Self {
        text.map_or(Self::Nothing, |text| Self::Plain(text.into()))
    }

    fn bytes(bytes: Option<&'a [u8]>) -> Self {
        bytes.filter(|bytes| !bytes.is_empty()).map_or(Self::Nothing, |bytes| Self::Bytes(bytes.into()))
    }

    /// Writes it, or a hyphen where there is nothing.
    fn write(&self, style: Style, out: &mut Vec<u8>) {
        let written = match self {
            Self::Nothing => out.write_all(b"-"),
            Self::Number(number) => write!(out, "{number}"),
            Self::Duration(duration) => write!(out, "{:.3}", duration.as_secs_f64() * 1_000.0),
            Self::Plain(text) => out.write_all(text.as_bytes()),
            Self::Bytes(bytes) => {
                escape::write(bytes, style, out);
                Ok(())
            }
        };
        debug_assert!(written.is_ok(), "a Vec takes everything");
    }
}

/// A target without its query.
fn without_query(target: &[u8]) -> &[u8] {
    memchr::memchr2(b'?', b'#', target).map_or(target, |at| &target[..at])
}

impl<'a> Record<'a> {
    fn value(&self, field: &Field, with_query: bool) -> Value<'a> {
        let (note, asked) = (self.note, self.asked.as_ref());
        let target = asked.map(|asked| asked.target);
        let of_request = |name: &str| asked.and_then(|asked| asked.fields.received(name.as_bytes()));
        match field {
            Field::Time => Value::Plain(format!("{:.3}", self.began).into()),
            Field::TimeCommon => {
                let began = self.began.to_zoned(TimeZone::UTC);
                Value::Plain(began.strftime("%d/%b/%Y:%H:%M:%S %z").to_string().into())
            }
            Field::TimeMs => Value::Number(u64::try_from(self.began.as_millisecond()).unwrap_or(0)),
            Field::Client => Value::Plain(self.client.to_string().into()),
            Field::Sender => Value::Plain(self.sender.ip().to_string().into()),
            Field::SenderPort => Value::Number(self.sender.port().into()),
            Field::Listener => Value::plain(Some(self.listener.as_str())),
            Field::Route => Value::plain(self.route.map(RouteName::as_str)),
            Field::Pool => Value::plain(note.pool.as_ref().map(crate::model::PoolName::as_str)),
            Field::Node => Value::plain(note.node.as_ref().map(crate::model::NodeId::as_str)),
            Field::Scheme => Value::plain(Some(self.scheme)),
            Field::Method => Value::bytes(asked.map(|asked| asked.method)),
            Field::Host => Value::bytes(asked.map(|asked| asked.authority)),
            Field::Path => Value::bytes(target.map(without_query)),
            Field::Query => Value::bytes(target.and_then(|target| target.get(without_query(target).len() + 1..))),
            Field::Target => Value::bytes(target),
            Field::Protocol => Value::plain(asked.map(|asked| asked.protocol)),
            Field::Request => match asked {
                Some(asked) => {
                    let target = if with_query { asked.target } else { without_query(asked.target) };
                    Value::Bytes([asked.method, b" ", target, b" ", asked.protocol.as_bytes()].concat().into())
                }
                None => Value::Nothing,
            },
            Field::Status => match (note.status, note.end) {
                (Some(status), _) => Value::Number(status.into()),
                (None, super::End::ClientGone) if asked.is_some() => Value::Number(CLIENT_GONE),
                (None, _) => Value::Nothing,
            },
            Field::BytesIn => Value::Number(note.bytes_in),
            Field::BytesOut => Value::Number(note.bytes_out),
            Field::DurationMs => Value::Duration(self.duration),
            Field::NodeMs => note.node_time.map_or(Value::Nothing, Value::Duration),
            Field::Retries => Value::Number(note.retries.into()),
            Field::UserAgent => Value::bytes(of_request("user-agent")),
            Field::Referer => {
                let referer = of_request("referer");
                Value::bytes(if with_query { referer } else { referer.map(without_query) })
            }
            Field::RequestId => Value::bytes(of_request("x-request-id")),
            Field::TlsVersion => Value::plain(self.tls.map(|tls| tls.0)),
            Field::Own => Value::bytes(note.own.map(str::as_bytes)),
            Field::End => Value::plain(Some(note.end.name())),
            Field::Header(name) => Value::bytes(of_request(name)),
            Field::AnswerHeader(name) => Value::bytes(self.answer.and_then(|answer| answer.value_of(name.as_bytes()))),
        }
    }
}

impl Format {
    /// Writes the line of an exchange, without its end.
    pub(super) fn write(&self, record: &Record<'_>, with_query: bool, out: &mut Vec<u8>) {
        match self {
            Self::Json => json(record, with_query, out),
            Self::Common => common(record, with_query, out),
            Self::Combined => {
                common(record, with_query, out);
                for field in [Field::Referer, Field::UserAgent] {
                    out.extend_from_slice(b" \"");
                    record.value(&field, with_query).write(Style::Text, out);
                    out.push(b'"');
                }
            }
            Self::Own(own) => {
                for piece in &own.pieces {
                    match piece {
                        Piece::Text(text) => out.extend_from_slice(text.as_bytes()),
                        // A field that is named is wanted as it is.
                        Piece::Field(field) => record.value(field, true).write(Style::Text, out),
                    }
                }
            }
        }
    }
}

fn json(record: &Record<'_>, with_query: bool, out: &mut Vec<u8>) {
    let mut separator = b'{';
    for (name, field) in &OF_JSON {
        if *field == Field::Query && !with_query {
            continue;
        }
        out.push(separator);
        separator = b',';
        out.push(b'"');
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b"\":");
        match record.value(field, with_query) {
            Value::Nothing => out.extend_from_slice(b"null"),
            value @ (Value::Number(_) | Value::Duration(_)) => value.write(Style::Json, out),
            value @ (Value::Plain(_) | Value::Bytes(_)) => {
                out.push(b'"');
                value.write(Style::Json, out);
                out.push(b'"');
            }
        }
    }
    out.push(b'}');
}

/// `client - - [time] "request" status bytes`: who logged in is not known, and never logged.
fn common(record: &Record<'_>, with_query: bool, out: &mut Vec<u8>) {
    let mut put = |before: &[u8], field: &Field| {
        out.extend_from_slice(before);
        record.value(field, with_query).write(Style::Text, out);
    };
    put(b"", &Field::Client);
    put(b" - - [", &Field::TimeCommon);
    put(b"] \"", &Field::Request);
    put(b"\" ", &Field::Status);
    put(b" ", &Field::BytesOut);
}
