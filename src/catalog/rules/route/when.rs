//! `when`: what a request must be like.

use std::sync::Arc;

use super::super::time::{DAY, MINUTE, ZONE};
use crate::document::{Choice, Fault, Form, Number, OneOrMore, Section, Words, Wrong, YesNo, name, parsed, quoted};
use crate::model::limits::{CONDITIONS_DEPTH_MAX, ROUTE_VALUES_MAX, TEXT_PATTERN_BYTES_MAX};
use crate::model::{
    Cidr, Conditions, FieldName, HostPattern, ListenerName, Method, MinuteOfDay, Named, PathPattern, Percent,
    RegionName, Scheme, Share, ShareOf, TextPattern, TimeWindow, Zone,
};

const HOST: Words<HostPattern> = Words::of(
    "host names or addresses without a port; * stands for any characters: \"shop.example\", \"*.example.com\"",
    parsed,
    quoted,
);

const PATH: Words<PathPattern> = Words::of(
    "paths that begin with /; * stands for any characters: \"/health\", \"/api/*\", \"/*/status\"",
    parsed,
    quoted,
);

const METHOD: Words<Method> = Words::of(
    "methods in capitals, \"GET\"",
    |text| {
        parsed::<Method>(text).map_err(|wrong| {
            let upper = text.to_ascii_uppercase();
            if upper.parse::<Method>().is_ok() { wrong.hint(format!("write \"{upper}\"")) } else { wrong }
        })
    },
    quoted,
);

const SCHEME: Choice<Scheme> = Choice::of(&[("http", Scheme::Http), ("https", Scheme::Https)]);

pub(super) const FIELD_NAME: Words<FieldName> = Words::of("the name of a field, \"x-tier\"", parsed, quoted);

const TEXT: Words<TextPattern> = Words::of("texts; * stands for any characters: \"gold\", \"v2*\"", parsed, quoted);

/// A name of a cookie or of a parameter, which are compared as they stand.
const PLAIN_NAME: Words<Arc<str>> = Words::of(
    "a name, 1 to 128 letters, digits and signs without spaces, commas, semicolons and =",
    |text| {
        let is_one = (1..=128).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_graphic() && !b",;=\"&#".contains(&byte));
        if is_one { Ok(Arc::from(text)) } else { Err(Wrong::new("it is no such name")) }
    },
    quoted,
);

const USER_AGENT: Words<Arc<str>> = Words::of(
    "texts that it contains, capitals and all: \"iPhone\"",
    |text| match text.len() {
        0 => Err(Wrong::new("it is empty").hint("leave the key out")),
        1..=TEXT_PATTERN_BYTES_MAX => Ok(Arc::from(text)),
        _ => Err(Wrong::new(format!("it is longer than {TEXT_PATTERN_BYTES_MAX} bytes"))),
    },
    |text| format!("{text:?}"),
);

const CIDR: Words<Cidr> = Words::of("ranges of addresses, \"10.0.0.0/8\", or addresses", parsed, quoted);

/// A number of 0 to 100.
pub(super) const PERCENT: Number<Percent> = Number {
    allowed: "a number of 0 to 100, to the hundredth",
    read: Percent::new,
    show: |percent| format!("{}", percent.get()),
};

const SHARE_OF: Choice<ShareOf> = Choice::of(&[("clients", ShareOf::Clients), ("requests", ShareOf::Requests)]);

const ANY: &str = "any";

fn listed<F: Form>(s: &mut Section<'_, '_, '_>, key: &'static str, form: F, doc: &'static str) -> Vec<F::Out> {
    s.optional(key, &OneOrMore(form, ROUTE_VALUES_MAX), ANY, doc).unwrap_or_default()
}

/// Reads conditions that stand `depth` conditions deep.
pub(super) fn conditions(s: &mut Section<'_, '_, '_>, depth: usize) -> Conditions {
    let mut conditions = Conditions {
        listeners: listed(s, "listener", name::<ListenerName>(), "Where it came in."),
        scheme: s.optional("scheme", &SCHEME, ANY, "Whether it came over TLS."),
        hosts: listed(s, "host", HOST, "The host that it names, in any case of letters, whatever the port."),
        paths: listed(
            s,
            "path",
            PATH,
            "Its path without the query, compared decoded and without empty and dot segments, so that `//a/../%61dmin` is \
             `/admin`.",
        ),
        methods: listed(s, "method", METHOD, "Its method."),
        headers: all_named(s, "header", &FIELD_NAME, "A field of its head."),
        cookies: all_named(s, "cookie", &PLAIN_NAME, "A cookie."),
        queries: all_named(s, "query", &PLAIN_NAME, "A parameter of its query, compared decoded."),
        user_agents: listed(s, "user_agent", USER_AGENT, "What its `User-Agent` contains."),
        clients: listed(
            s,
            "client",
            CIDR,
            "The address of the client: behind `trusted_proxies` the one that they tell.",
        ),
        regions: listed(s, "region", name::<RegionName>(), "Where the client is."),
        times: s.one_or_more("time", ROUTE_VALUES_MAX, "When it is.", time),
        share: s.optional_table("share", "A part of all clients or requests.", share).flatten(),
        ..Conditions::default()
    };
    if depth + 1 < CONDITIONS_DEPTH_MAX && !(s.is_describing() && depth > 0) {
        conditions.any = s.one_or_more("any", ROUTE_VALUES_MAX, "One of these must hold; keys as in `when`.", |s| {
            nested(s, depth + 1)
        });
        conditions.not = s.one_or_more("not", ROUTE_VALUES_MAX, "None of these may hold; keys as in `when`.", |s| {
            nested(s, depth + 1)
        });
    }
    conditions
}

/// Conditions inside of `any` and `not`, where empty ones would be a trap: they hold always.
fn nested(s: &mut Section<'_, '_, '_>, depth: usize) -> Conditions {
    if s.is_describing() {
        return Conditions::default();
    }
    let conditions = conditions(s, depth);
    if s.is_empty() {
        let fault = Fault::new(s.origin(), s.name().to_owned(), "it says nothing, and so it would always hold");
        s.reader().fault(fault.hint("say a condition, or remove it"));
    }
    conditions
}

fn all_named<N>(s: &mut Section<'_, '_, '_>, key: &'static str, form: &Words<N>, doc: &'static str) -> Vec<Named<N>> {
    s.one_or_more(key, ROUTE_VALUES_MAX, doc, |s| named(s, form)).into_iter().flatten().collect()
}

fn named<N>(s: &mut Section<'_, '_, '_>, form: &Words<N>) -> Option<Named<N>> {
    let name = s.required("name", form, "Its name.");
    let values = s.optional("value", &OneOrMore(TEXT, ROUTE_VALUES_MAX), "whatever it is", "What it says.");
    let ignore_case =
        s.key("ignore_case", &YesNo, false, "Whether capitals and small letters of ASCII are the same in the value.");
    Some(Named { name: name?, values: values.unwrap_or_default(), ignore_case })
}

fn time(s: &mut Section<'_, '_, '_>) -> TimeWindow {
    TimeWindow {
        from: s.key("from", &MINUTE, MinuteOfDay::MIDNIGHT, "When it begins."),
        to: s.key("to", &MINUTE, MinuteOfDay::END, "When it is over; where that is not after `from`, on the next day."),
        days: listed(s, "days", DAY, "The days on which it begins."),
        zone: s.key("zone", &ZONE, Zone::default(), "Whose clocks and days."),
    }
}

fn share(s: &mut Section<'_, '_, '_>) -> Option<Share> {
    let percent = s.required("percent", &PERCENT, "How many of a hundred.");
    let of = s.key(
        "of",
        &SHARE_OF,
        ShareOf::default(),
        "Of the clients, by address: one who is in it stays in it, at every peer, and when it grows. Or of the requests, by \
         chance.",
    );
    Some(Share { percent: percent?, of })
}
