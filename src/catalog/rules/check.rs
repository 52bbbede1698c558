//! `health`: how the nodes of a pool are checked.

use std::num::NonZeroU8;
use std::sync::Arc;
use std::time::Duration;

use super::Over;
use crate::document::{Choice, Fault, Section, Span, WholeOf, Words, Wrong, parsed, quoted, whole};
use crate::model::limits::{CHECK_ANSWER_BYTES_MAX, TARGET_BYTES_MAX};
use crate::model::{
    BodyCheck, Check, CheckKind, HttpCheck, JsonField, MqttCheck, NodeAddress, StatusRange, TcpCheck, TlsCheck,
};

/// Longer users and passwords are a mistake.
const CREDENTIAL_BYTES_MAX: usize = 1_024;
const MS_10: Duration = Duration::from_millis(10);
const MINUTES_5: Duration = Duration::from_secs(300);
const HOUR: Duration = Duration::from_secs(3_600);

/// How often a node may be asked how it is.
pub(crate) const INTERVAL: Span = Span(Duration::from_millis(100), HOUR);

#[derive(Clone, Copy, PartialEq)]
enum Type {
    Tcp,
    Http,
    Tls,
    Mqtt,
    None,
}

const TYPE: Choice<Type> = Choice {
    words: &[("tcp", Type::Tcp), ("http", Type::Http), ("tls", Type::Tls), ("mqtt", Type::Mqtt), ("none", Type::None)],
    aliases: &[],
    later: &["grpc", "postgres", "docker", "exec"],
};

const PATH: Words<Arc<str>> = Words::of(
    "a path that begins with /, without spaces, perhaps with a query",
    |text| {
        let encoded = encoded(text);
        if encoded.len() > TARGET_BYTES_MAX {
            Err(Wrong::new(format!("it is longer than {TARGET_BYTES_MAX} bytes")))
        } else if !text.starts_with('/') {
            Err(Wrong::new("it does not begin with /").hint(format!("write \"/{encoded}\"")))
        } else if let Some(wrong) = text.chars().find(|c| !may_stand_in_target(*c)) {
            let wrong = Wrong::new(format!("{wrong:?} cannot stand in a request target"));
            Err(wrong.hint(format!("write \"{encoded}\"")))
        } else {
            Ok(Arc::from(text))
        }
    },
    quoted,
);

fn may_stand_in_target(c: char) -> bool {
    c.is_ascii_graphic() && c != '#'
}

/// `text` with what cannot stand in a request target percent-encoded (RFC 3986 section 2.1).
fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if may_stand_in_target(c) {
            out.push(c);
        } else {
            let mut bytes = [0; 4];
            out.extend(c.encode_utf8(&mut bytes).bytes().map(|byte| format!("%{byte:02X}")));
        }
    }
    out
}

const HOST: Words<Arc<str>> = Words::of(
    "a host name or address, perhaps with a port",
    |text| {
        // Read as an address it obeys the same rules; a port is no part of them here.
        let as_address = format!("http://{text}").parse::<NodeAddress>();
        match as_address {
            Ok(_) if !text.ends_with('/') => Ok(Arc::from(text)),
            Ok(_) => Err(Wrong::new("a host has no path")),
            Err(error) => Err(Wrong::new(error.to_string())),
        }
    },
    quoted,
);

pub(crate) const STATUSES: Words<StatusRange> = Words {
    number_too: true,
    ..Words::of(
        "a status or a range of them within 100 to 599: 200, \"200-399\"",
        |text| {
            let (low, high) = text.split_once('-').unwrap_or((text, text));
            match (low.trim().parse(), high.trim().parse()) {
                (Ok(low), Ok(high)) => StatusRange::new(low, high)
                    .ok_or_else(|| Wrong::new("it is empty, or reaches outside of 100 to 599")),
                _ => Err(Wrong::new("it is neither a status nor a range of them")),
            }
        },
        |statuses: &StatusRange| {
            if statuses.to_string().contains('-') { quoted(statuses) } else { statuses.to_string() }
        },
    )
};

const BYTES: Words<Arc<[u8]>> = Words::of(
    "a text of at most 64 KiB; TOML's escapes such as \\r\\n work",
    |text| {
        if text.len() > CHECK_ANSWER_BYTES_MAX {
            return Err(Wrong::new(format!("it is longer than {CHECK_ANSWER_BYTES_MAX} bytes")));
        }
        Ok(Arc::from(text.as_bytes()))
    },
    |bytes| format!("{:?}", String::from_utf8_lossy(bytes)),
);

const TEXT: Words<Arc<[u8]>> = Words::of(
    "a text of 1 to 65536 bytes",
    |text| if text.is_empty() { Err(Wrong::new("it is empty").hint("leave the key out")) } else { (BYTES.parse)(text) },
    |bytes| format!("{:?}", String::from_utf8_lossy(bytes)),
);

/// Bytes that may log in: `AUTH` of Redis, `LOGIN` of a mail server.
const BYTES_SENT: Words<Arc<[u8]>> = Words {
    show: |bytes| if bytes.is_empty() { "\"\"".to_owned() } else { format!("({} bytes, not shown)", bytes.len()) },
    secret: true,
    ..BYTES
};

/// Bad answers in a row that take a node down.
pub(crate) const FALL: WholeOf<NonZeroU8> = whole(1, 255);

const USER: Words<Arc<str>> = Words::of(
    "a text of 1 to 1024 bytes",
    |text| match text.len() {
        0 => Err(Wrong::new("it is empty").hint("leave the key out")),
        1..=CREDENTIAL_BYTES_MAX if !text.chars().any(char::is_control) => Ok(Arc::from(text)),
        1..=CREDENTIAL_BYTES_MAX => Err(Wrong::new("it holds a control character")),
        _ => Err(Wrong::new(format!("it is longer than {CREDENTIAL_BYTES_MAX} bytes"))),
    },
    quoted,
);

const PASSWORD: Words<Arc<[u8]>> = Words {
    allowed: "a text of 1 to 1024 bytes",
    parse: |text| match text.len() {
        0 => Err(Wrong::new("it is empty").hint("leave the key out")),
        1..=CREDENTIAL_BYTES_MAX => Ok(Arc::from(text.as_bytes())),
        _ => Err(Wrong::new(format!("it is longer than {CREDENTIAL_BYTES_MAX} bytes"))),
    },
    ..BYTES_SENT
};

const JSON_FIELD: Words<JsonField> =
    Words::of("one to eight names with dots between them: \"status\", \"checks.database.state\"", parsed, quoted);

fn body(s: &mut Section<'_, '_, '_>) -> BodyCheck {
    let contains = s.optional("contains", &TEXT, "whatever it is", "What the body of the answer must contain.");
    let json = s.optional(
        "json",
        &JSON_FIELD,
        "none",
        "The field of a JSON body that says how the node is: `healthy`, `ok`, `up` or `pass`, `degraded` or `warn`, for which it gets half of \
         its weight; any other word means down.",
    );
    match (contains, json) {
        (None, None) => BodyCheck::Any,
        (Some(text), None) => BodyCheck::Contains(text),
        (None, Some(field)) => BodyCheck::Json(field),
        (Some(_), Some(field)) => {
            let fault = Fault::new(s.origin_of("contains"), s.path_of("contains"), "there is `json` beside it");
            s.reader().fault(fault.hint("say one of them"));
            BodyCheck::Json(field)
        }
    }
}

pub(super) fn check(s: &mut Section<'_, '_, '_>, over: &Over) -> Check {
    let kind = s.key_unless_refused(
        "type",
        &TYPE,
        Type::Tcp,
        "What is asked: whether it accepts a connection, how it answers a request, a TLS handshake, whether an MQTT broker lets a client in (3.1.1), or nothing, \
         so that a node counts as up until traffic says otherwise. To a node with an https address, or with `tls`, all speak TLS.",
    );
    let asks = kind.is_none_or(|kind| kind != Type::None);
    let http = s.only(kind.is_none_or(|kind| kind == Type::Http), "type = \"http\"", |s| HttpCheck {
        path: s.key("path", &PATH, Arc::from("/"), "What is asked for with GET."),
        host: s.optional("host", &HOST, "the node's own", "The value of the `Host` field."),
        statuses: s.key("statuses", &STATUSES, StatusRange::SUCCESS, "Statuses of an answer that mean up."),
        body: body(s),
    });
    let tcp = s.only(kind.is_none_or(|kind| kind == Type::Tcp), "type = \"tcp\"", |s| TcpCheck {
        send: s.key("send", &BYTES_SENT, Arc::default(), "What is sent once connected; empty: nothing."),
        expect: s.key(
            "expect",
            &BYTES,
            Arc::default(),
            "What the answer must contain; empty: the connection is enough.",
        ),
    });
    let tls = s.only(kind.is_none_or(|kind| kind == Type::Tls), "type = \"tls\"", |s| TlsCheck {
        min_days: s.key(
            "min_days",
            &whole(0, 3_650),
            TlsCheck::default().min_days,
            "A node whose certificate is good for fewer days is degraded, and gets half of its weight.",
        ),
    });
    let mqtt = s.only(kind.is_none_or(|kind| kind == Type::Mqtt), "type = \"mqtt\"", |s| MqttCheck {
        user: s.optional("user", &USER, "nobody in particular", "Who connects."),
        password: s.optional("password", &PASSWORD, "none", "Their password."),
    });
    if mqtt.user.is_none() && mqtt.password.is_some() {
        let fault = Fault::new(s.origin_of("password"), s.path_of("password"), "there is no user beside it");
        s.reader().fault(fault.hint("say whose it is: `user`"));
    }
    s.only(asks, "a type that asks", |s| Check {
        interval: s.key_overridden(
            "interval",
            &INTERVAL,
            Check::INTERVAL_DEFAULT,
            "Time between two checks of a settled node, ± 10 %. Shorter finds dead nodes sooner and asks them more often; a \
             node that is changing is asked faster anyway.",
            over.interval.as_ref(),
        ),
        timeout: s.key("timeout", &Span(MS_10, MINUTES_5), Check::TIMEOUT_DEFAULT, "How long one check may take."),
        rise: s.key::<WholeOf<NonZeroU8>>(
            "rise",
            &whole(1, 255),
            Check::RISE_DEFAULT,
            "Good answers in a row that bring a node that is down up again.",
        ),
        fall: s.key_overridden(
            "fall",
            &FALL,
            Check::FALL_DEFAULT,
            "Bad answers in a row that take a node down.",
            over.fall.as_ref(),
        ),
        kind: match kind.unwrap_or(Type::Tcp) {
            Type::Tcp => CheckKind::Tcp(tcp),
            Type::Http => CheckKind::Http(http),
            Type::Tls => CheckKind::Tls(tls),
            Type::Mqtt => CheckKind::Mqtt(mqtt),
            Type::None => CheckKind::None,
        },
    })
}
