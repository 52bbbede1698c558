//! `then`: what becomes of a request.

use std::sync::Arc;
use std::time::Duration;

use super::super::check::STATUSES;
use super::when::FIELD_NAME;
use super::{limits, subrequest};
use crate::document::{
    Choice, Content, Fault, Form, ListOf, OneOrMore, Origin, Section, Span, Words, Wrong, YesNo, name, parsed, quoted,
    whole,
};
use crate::model::limits::{
    FIELD_CHANGES_MAX, FIXED_ANSWER_BYTES_MAX, REGIONS_MAX, ROUTE_VALUES_MAX, TARGET_BYTES_MAX,
};
use crate::model::{
    Action, End, Fallback, FieldChanges, FieldName, FieldValue, Files, FixedAnswer, Forward, NodeId, Piece, PoolName,
    Redirect, RegionChoice, RegionName, Rewrite, SecurityHeaders, StatusRange, Target, Template,
};

const YEARS_10: Duration = Duration::from_secs(10 * 365 * 24 * 3_600);

/// Fields that say where a message ends, whom it is for and what becomes of its connection: the proxy alone writes them.
const OF_THE_PROXY: [&str; 17] = [
    "connection",
    "content-length",
    "date",
    "expect",
    "forwarded",
    "host",
    "http2-settings",
    "keep-alive",
    "max-forwards",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
];

const TEMPLATE: Words<Template> = Words::of(
    "a text in which {host}, {authority}, {path}, {target}, {scheme}, {client}, {listener} and {route} stand for those of \
     the request",
    parsed,
    |template| format!("{:?}", template.to_string()),
);

pub(crate) const SECURITY_HEADERS: Choice<SecurityHeaders> = Choice::of(&[
    ("off", SecurityHeaders::Off),
    ("basic", SecurityHeaders::Basic),
    ("strict", SecurityHeaders::Strict),
]);

const BODY: Words<Arc<str>> = Words::of(
    "a text of at most 64 KiB",
    |text| {
        if text.len() > FIXED_ANSWER_BYTES_MAX {
            return Err(Wrong::new(format!("it is longer than {FIXED_ANSWER_BYTES_MAX} bytes")));
        }
        Ok(Arc::from(text))
    },
    |text| format!("{text:?}"),
);

pub(crate) const CONTENT_TYPE: Words<Arc<str>> = Words::of(
    "a media type, \"text/plain; charset=utf-8\"",
    |text| {
        let is_one =
            text.len() <= 256 && text.contains('/') && text.chars().all(|c| c.is_ascii() && !c.is_ascii_control());
        if is_one { Ok(Arc::from(text)) } else { Err(Wrong::new("it is no media type")) }
    },
    quoted,
);

pub(super) const PATH: Words<Arc<str>> = Words::of(
    "a path as it is sent, \"/api/\"",
    |text| {
        if !text.starts_with('/') {
            Err(Wrong::new("it does not begin with /"))
        } else if text.len() > TARGET_BYTES_MAX {
            Err(Wrong::new(format!("it is longer than {TARGET_BYTES_MAX} bytes")))
        } else if let Some(wrong) = text.chars().find(|c| !c.is_ascii_graphic() || matches!(c, '#' | '?')) {
            Err(Wrong::new(format!("{wrong:?} cannot stand in a path as it is sent")))
        } else {
            Ok(Arc::from(text))
        }
    },
    quoted,
);

/// Fields by name, each with what it says.
struct Fields;

impl Form for Fields {
    type Out = Vec<FieldValue>;

    fn allowed(&self) -> String {
        format!(
            "a table of at most {FIELD_CHANGES_MAX} fields, {{ \"X-Frame-Options\" = \"DENY\" }}, each {}",
            TEMPLATE.allowed()
        )
    }

    fn read(&self, content: &Content) -> Result<Self::Out, Wrong> {
        let Content::Table(table) = content else { return Err(Wrong::kind(content, "a table")) };
        if table.entries.len() > FIELD_CHANGES_MAX {
            return Err(Wrong::new(format!("it has {} fields", table.entries.len())));
        }
        let read = table.entries.iter().map(|entry| {
            let shown: String = entry.key.chars().take(60).collect();
            let of = |wrong: Wrong| Wrong { why: format!("{shown:?}: {}", wrong.why), ..wrong };
            changeable(&entry.key).map_err(of)?;
            let value = TEMPLATE.read(&entry.value.content).map_err(of)?;
            Ok(FieldValue { name: Arc::from(entry.key.as_str()), value })
        });
        read.collect()
    }

    fn show(&self, fields: &Self::Out) -> String {
        let shown: Vec<String> =
            fields.iter().map(|field| format!("{:?} = {:?}", field.name, field.value.to_string())).collect();
        if shown.is_empty() { "{}".to_owned() } else { format!("{{ {} }}", shown.join(", ")) }
    }
}

/// A field that a route may change.
pub(super) fn changeable(text: &str) -> Result<FieldName, Wrong> {
    let name: FieldName = parsed(text)?;
    match name.as_str() {
        "host" => Err(Wrong::new("the proxy writes it").hint("`host` of the pool says whose name nodes get")),
        forwarded if forwarded.starts_with("x-forwarded-") || forwarded == "forwarded" => {
            Err(Wrong::new("the proxy writes it")
                .hint("`trusted_proxies` of the listener says whose word is passed on"))
        }
        known if OF_THE_PROXY.contains(&known) => {
            Err(Wrong::new("the proxy writes it: it says where a message ends or what becomes of its connection"))
        }
        _ => Ok(name),
    }
}

const REMOVED: Words<FieldName> = Words { parse: changeable, ..FIELD_NAME };

/// What was read of an action, with the names that must lead somewhere.
#[derive(Default)]
pub(super) struct ActionRead {
    pub pools: Vec<(&'static str, PoolName, Origin)>,
    pub node: Option<(NodeId, Origin)>,
    pub action: Option<Action>,
}

/// The keys that end the way of a request: one route has one of them at most.
const ENDS: [&str; 6] = ["pool", "node", "redirect", "answer", "refuse", "files"];

pub(super) fn action(s: &mut Section<'_, '_, '_>) -> ActionRead {
    let pool: Option<PoolName> = s.optional("pool", &name(), "none", "The pool that it is sent to.");
    let node: Option<NodeId> = s.optional(
        "node",
        &name(),
        "none",
        "The node that it is sent to; while that cannot be used, another one of its pool.",
    );
    let forwards = s.is_describing() || pool.is_some() || node.is_some();
    let prefer = s.only(s.is_describing() || pool.is_some(), "a pool", |s| {
        s.optional(
            "region",
            &OneOrMore(name::<RegionName>(), REGIONS_MAX),
            "by the pool's `region_strategy`",
            "The regions whose nodes get it, the best first.",
        )
    });
    let picks = s.is_describing() || node.is_some() || prefer.is_some();
    let strict = s.only(picks, "a node or a region", |s| {
        s.key(
            "strict",
            &YesNo,
            false,
            "Whether nobody else gets it: while none of them can take it the answer is 503. Nodes that are down are tried \
             unless `panic` of the pool says otherwise.",
        )
    });
    let fallback = s.only(forwards, "a pool or a node", |s| {
        s.optional_table("fallback", "Where it is sent if that fails, as long as it can be sent again.", fallback)
            .flatten()
    });
    let redirect = s.optional_table("redirect", "Where the client is told to go.", redirect);
    let answer = s.optional_table("answer", "What the peer answers itself.", answer);
    let refuse = s.optional("refuse", &whole::<u16>(400, 599), "none", "The status with which the peer refuses it.");
    let files = s.optional_table("files", "The folder whose files the peer answers with.", files);
    let request_fields =
        s.optional_table("request_headers", "What becomes of the fields that a node gets.", field_changes);
    let answer_fields = s.optional_table(
        "answer_headers",
        "What becomes of the fields that the client gets, whoever answers.",
        field_changes,
    );
    let rewrite = s.optional_table("rewrite", "What becomes of the path that a node gets.", rewrite).flatten();
    let rate_limit = s.optional_table("rate_limit", "How many may come in a time.", limits::rate);
    let connection_limit = s.optional_table(
        "connection_limit",
        "How many requests, upgraded connections and connections that are not HTTP there may be at the same time.",
        limits::connections,
    );
    let check = s.optional_table(
        "check",
        "Who is asked before it goes on. 2xx: it goes on; 3xx and 4xx: that answer is the client's; anything else, or none in time: \
         503. The nodes get a GET with the fields of the request and without its body, what it is for in `X-Original-Method` and \
         `X-Original-URI`. What `request_headers` and `rewrite` say does not concern them.",
        subrequest::check,
    );
    let mirror = s.optional_table(
        "mirror",
        "Who gets a copy of it, as its node gets it, once that has answered. What they answer is dropped, and nobody waits for it. A \
         request with a body of more than 64 KiB, and one that becomes something else (a WebSocket), is not copied.",
        subrequest::mirror,
    );
    let access_log = s.optional(
        "access_log",
        &YesNo,
        "as routes before it say, or `true`",
        "Whether it is logged where the listener has an access log.",
    );
    let compression = s.optional(
        "compression",
        &YesNo,
        "as routes before it say, or `true`",
        "Whether its answer is compressed where the listener compresses. Say `false` where an answer has a secret beside something \
         that others can have it repeat (BREACH).",
    );
    let security_headers = s.optional(
        "security_headers",
        &SECURITY_HEADERS,
        "as routes before it or the listener say",
        "Fields that tell browsers to be careful, as `security_headers` of a listener.",
    );

    let mut read = ActionRead::default();
    let of_check = check.as_ref().and_then(|check| check.as_ref()).map(|check| check.pool.clone());
    let of_mirror = mirror.as_ref().and_then(|mirror| mirror.as_ref()).map(|mirror| mirror.pool.clone());
    for (key, path, pool) in [
        ("pool", "then.pool", pool.clone()),
        ("fallback", "then.fallback.pool", fallback.as_ref().map(|fallback| fallback.pool.clone())),
        ("check", "then.check.pool", of_check),
        ("mirror", "then.mirror.pool", of_mirror),
    ] {
        read.pools.extend(pool.map(|pool| (path, pool, s.origin_of(key))));
    }
    read.node = node.clone().map(|node| (node, s.origin_of("node")));
    let ends: Vec<&str> = ENDS.into_iter().filter(|key| s.is_set(key)).collect();
    if let [_, second, ..] = ends[..] {
        let fault =
            Fault::new(s.origin_of(second), s.path_of(second), format!("beside {} it is one end too many", ends[0]));
        s.reader().fault(fault.hint("a route has one of pool, node, redirect, answer, refuse and files"));
        return read;
    }
    if s.is_empty() && !s.is_describing() {
        let fault = Fault::new(s.origin(), s.name().to_owned(), "it says nothing")
            .hint("say pool, node, redirect, answer, refuse or files, or what else is to happen to the request");
        s.reader().fault(fault);
        return read;
    }
    let target = match (pool, node) {
        (Some(pool), _) => Some(Target::Pool(pool)),
        (None, Some(node)) => Some(Target::Node { node, strict }),
        (None, None) => None,
    };
    let end = match (target, redirect, answer, refuse.map(End::Refuse), files) {
        (Some(to), ..) => {
            Some(End::Forward(Forward { to, regions: prefer.map(|prefer| RegionChoice { prefer, strict }), fallback }))
        }
        (None, Some(redirect), ..) => match redirect {
            Some(redirect) => Some(End::Redirect(redirect)),
            None => return read,
        },
        (None, None, Some(answer), ..) => match answer {
            Some(answer) => Some(End::Answer(answer)),
            None => return read,
        },
        (None, None, None, Some(refuse), _) => Some(refuse),
        (None, None, None, None, Some(files)) => match files {
            Some(files) => Some(End::Files(files)),
            None => return read,
        },
        // One that was refused is reported; without it the route would be another one.
        (None, None, None, None, None) if !ends.is_empty() => return read,
        (None, None, None, None, None) => None,
    };
    // One that was refused is reported; without it the route would let through what it must not.
    if matches!(rate_limit, Some(None)) || matches!(connection_limit, Some(None)) || matches!(check, Some(None)) {
        return read;
    }
    read.action = Some(Action {
        end,
        request_fields: request_fields.unwrap_or_default(),
        answer_fields: answer_fields.unwrap_or_default(),
        rewrite,
        rate_limit: rate_limit.flatten(),
        connection_limit: connection_limit.flatten(),
        check: check.flatten(),
        mirror: mirror.flatten(),
        access_log,
        compression,
        security_headers,
    });
    read
}

fn fallback(s: &mut Section<'_, '_, '_>) -> Option<Fallback> {
    let pool = s.required("pool", &name(), "The pool.");
    let default = Fallback::STATUSES_DEFAULT.iter().filter_map(|&status| StatusRange::new(status, status)).collect();
    let statuses = s.key(
        "on",
        &OneOrMore(STATUSES, ROUTE_VALUES_MAX),
        default,
        "Statuses that mean a failure: of a node's answer, or of the peer's own where no node gave one.",
    );
    Some(Fallback { pool: pool?, statuses })
}

fn redirect(s: &mut Section<'_, '_, '_>) -> Option<Redirect> {
    let to: Option<Template> = s.required("to", &TEMPLATE, "Where to: https://{host}{target} is the same over TLS.");
    let status = s.key(
        "status",
        &whole::<u16>(301, 308),
        Redirect::STATUS_DEFAULT,
        "301 and 308 are remembered by clients, 302, 303 and 307 are not; 307 and 308 keep the method.",
    );
    if !Redirect::STATUSES.contains(&status) {
        let fault =
            Fault::new(s.origin_of("status"), s.path_of("status"), format!("{status} says nothing of another place"))
                .allowed("301, 302, 303, 307, 308");
        s.reader().fault(fault);
        return None;
    }
    let to = to?;
    let is_of_url = |piece: &Piece| match piece {
        Piece::Text(text) => {
            text.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'<' | b'>' | b'\\'))
        }
        Piece::Variable(_) => true,
    };
    if !to.pieces().iter().all(is_of_url) {
        let fault = Fault::new(s.origin_of("to"), s.path_of("to"), "it has a character that no URL has")
            .hint("write it percent-encoded: %20 for a space");
        s.reader().fault(fault);
        return None;
    }
    if to.pieces().is_empty() {
        let fault = Fault::new(s.origin_of("to"), s.path_of("to"), "it is empty").hint("write https://{host}{target}");
        s.reader().fault(fault);
        return None;
    }
    Some(Redirect { to, status })
}

fn answer(s: &mut Section<'_, '_, '_>) -> Option<FixedAnswer> {
    let status = s.key("status", &whole::<u16>(200, 599), 200, "Its status.");
    let body = s.key("body", &BODY, Arc::from(""), "What it says.");
    let content_type =
        s.key("content_type", &CONTENT_TYPE, Arc::from(FixedAnswer::CONTENT_TYPE_DEFAULT), "What the body is.");
    if !FixedAnswer::may_have_body(status) && !body.is_empty() {
        let fault =
            Fault::new(s.origin_of("body"), s.path_of("body"), format!("an answer of status {status} has none"))
                .hint("remove it");
        s.reader().fault(fault);
        return None;
    }
    Some(FixedAnswer { status, body, content_type })
}

fn files(s: &mut Section<'_, '_, '_>) -> Option<Files> {
    let folder = s.required(
        "folder",
        &name(),
        "Its name, as `[[files]]` in the settings of each peer has it; a peer that does not have it answers 404. The path is that of \
         the request, or what `rewrite` makes of it; of a folder it is `index.html`.",
    );
    let cache = s.optional(
        "cache",
        &Span(Duration::ZERO, YEARS_10),
        "nothing is said",
        "How long clients keep a file without asking again (`Cache-Control: public, max-age`).",
    );
    let immutable = s.only(s.is_describing() || cache.is_some(), "a cache", |s| {
        s.key("immutable", &YesNo, false, "Whether a file of this name never changes, as one with a hash in its name.")
    });
    let fallback = s.optional(
        "fallback",
        &PATH,
        "404",
        "The file that stands in for one that is not there, `/index.html` of an application with pages of its own making.",
    );
    Some(Files { folder: folder?, cache, immutable, fallback })
}

fn field_changes(s: &mut Section<'_, '_, '_>) -> FieldChanges {
    FieldChanges {
        remove: s.key("remove", &ListOf(REMOVED, FIELD_CHANGES_MAX), Vec::new(), "Fields that go."),
        set: s.key("set", &Fields, Vec::new(), "Fields that take the place of all of their name."),
        add: s.key("add", &Fields, Vec::new(), "Fields that come beside those of their name."),
    }
}

fn rewrite(s: &mut Section<'_, '_, '_>) -> Option<Rewrite> {
    let prefix = s.required("prefix", &PATH, "The beginning that goes. A path that begins otherwise stays.");
    let to = s.required(
        "to",
        &PATH,
        "What takes its place. Where it ends with a slash, slashes at the beginning of the rest go.",
    );
    Some(Rewrite { prefix: prefix?, to: to? })
}
