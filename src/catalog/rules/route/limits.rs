//! `rate_limit` and `connection_limit`: how much a route lets through, and of whom.

use std::num::NonZeroU32;

use crate::document::{Fault, Form, Section, Words, Wrong, parsed, quoted, whole};
use crate::model::limits::{CONNECTION_LIMIT_MAX, RATE_MAX};
use crate::model::{
    ConnectionLimit, FieldName, Ipv6Prefix, LIMITED_STATUS_DEFAULT, LimitError, Per, Period, Rate, RateLimit,
};

/// [`Per`] without the prefix, which has a key of its own.
#[derive(Clone, PartialEq)]
enum Counted {
    Client,
    Header(FieldName),
    Route,
}

const PER: Words<Counted> = Words::of(
    "\"client_ip\", \"header:<name of a field>\", \"route\"",
    |text| match text.split_once(':') {
        None if text == "client_ip" => Ok(Counted::Client),
        None if text == "route" => Ok(Counted::Route),
        Some(("header", name)) => parsed(name).map(Counted::Header),
        None if text == "header" => Err(Wrong::new("it does not say which").hint("write \"header:x-api-key\"")),
        None if matches!(text, "ip" | "client" | "src" | "remote_addr" | "source_ip") => {
            Err(Wrong::new("it is none of these").hint("write \"client_ip\""))
        }
        _ => Err(Wrong::new("it is none of these")),
    },
    |counted| match counted {
        Counted::Client => quoted(&"client_ip"),
        Counted::Header(name) => quoted(&format!("header:{}", name.as_str())),
        Counted::Route => quoted(&"route"),
    },
);

const RATE: Words<Rate> = Words::of(
    "a number of 1 to 1000000 in a second, a minute or an hour: \"10/s\", \"300/m\", \"1000/h\"",
    |text| {
        text.parse().map_err(|error: LimitError| {
            let wrong = Wrong::new(error.to_string());
            match meant(text) {
                Some(meant) if error == LimitError::Rate => wrong.hint(format!("write \"{meant}\"")),
                _ => wrong,
            }
        })
    },
    quoted,
);

const _: () = assert!(RATE_MAX == 1_000_000, "the words above say so");

/// What somebody who wrote `10r/s`, `10 / s` or `10/sec` has in mind.
fn meant(text: &str) -> Option<Rate> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (count, rest) = text.split_at(digits);
    let unit = rest.trim_start_matches(['r', ' ']).trim_start_matches(['/', ' ']);
    let sign = match unit {
        "" | "s" | "sec" | "second" => 's',
        "m" | "min" | "minute" => 'm',
        "h" | "hour" => 'h',
        _ => return None,
    };
    let period = Period::ALL.into_iter().find(|(known, _)| *known == sign).map(|(_, period)| period)?;
    Rate::new(count.parse().ok()?, period).ok()
}

const PREFIX: Prefix = Prefix;

/// Bits of an address.
struct Prefix;

impl Form for Prefix {
    type Out = Ipv6Prefix;

    fn allowed(&self) -> String {
        whole::<u8>(Ipv6Prefix::MIN.into(), Ipv6Prefix::MAX.into()).allowed()
    }

    fn read(&self, content: &crate::document::Content) -> Result<Ipv6Prefix, Wrong> {
        let bits = whole::<u8>(Ipv6Prefix::MIN.into(), Ipv6Prefix::MAX.into()).read(content)?;
        Ipv6Prefix::new(bits).ok_or_else(|| Wrong::new("it is outside of that"))
    }

    fn show(&self, prefix: &Ipv6Prefix) -> String {
        prefix.get().to_string()
    }
}

/// The keys that say whom a limit counts.
fn per(s: &mut Section<'_, '_, '_>) -> Per {
    let counted = s.key(
        "per",
        &PER,
        Counted::Client,
        "Whom it counts by itself: each client by its address, all who say the same in a field (whoever leaves it out or \
         sends it more than once by address), or all together. Whose word about a client's address is believed \
         `trusted_proxies` of the listener says.",
    );
    let by_address = s.is_describing() || counted != Counted::Route;
    let prefix = s.only(by_address, "per = \"client_ip\" or per = \"header:...\"", |s| {
        s.key(
            "ipv6_prefix",
            &PREFIX,
            Ipv6Prefix::DEFAULT,
            "Bits of an IPv6 address that tell clients apart: whoever has a line has a /64 of addresses or more.",
        )
    });
    match counted {
        Counted::Client => Per::Client(prefix),
        Counted::Header(name) => Per::Header(name, prefix),
        Counted::Route => Per::Route,
    }
}

fn status(s: &mut Section<'_, '_, '_>) -> u16 {
    s.key(
        "status",
        &whole(400, 599),
        LIMITED_STATUS_DEFAULT,
        "What those are told that are too many, with a `Retry-After`. A connection that is not HTTP is reset.",
    )
}

pub(super) fn rate(s: &mut Section<'_, '_, '_>) -> Option<RateLimit> {
    let per = per(s);
    let rate: Option<Rate> = s.required("rate", &RATE, "How many may come.");
    let burst: Option<NonZeroU32> = s.optional(
        "burst",
        &whole(1, RATE_MAX.into()),
        "what the rate allows in a second, at least 1",
        "How many may come at once after a rest. 1 lets nobody be faster than the rate at any time. It must be there again \
         within a day.",
    );
    let status = status(s);
    let rate = rate?;
    let limit = RateLimit::new(per, rate, burst.unwrap_or_else(|| rate.burst()), status);
    if let Err(error) = &limit {
        let fault = Fault::new(s.origin_of("burst"), s.path_of("burst"), error.to_string())
            .allowed(format!("a whole number of 1 to {} at {rate}", rate.burst_max()));
        s.reader().fault(fault);
    }
    limit.ok()
}

pub(super) fn connections(s: &mut Section<'_, '_, '_>) -> Option<ConnectionLimit> {
    let per = per(s);
    let max = s.required("max", &whole(1, CONNECTION_LIMIT_MAX.into()), "How many there may be at the same time.");
    let status = status(s);
    Some(ConnectionLimit { per, max: max?, status })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::super::{Unknown, read};
    use super::*;
    use crate::document::Faults;
    use crate::model::{Action, Catalog};

    fn of(then: &Value) -> Result<Catalog, Faults> {
        let desired = json!({
            "pool": [{"name": "web", "node": [{"id": "web-1", "address": "10.0.0.1:80"}]}],
            "route": [{"name": "api", "then": then}],
        });
        read(desired.as_object().unwrap(), Unknown::Refused).map(|read| read.catalog)
    }

    fn action(then: &Value) -> Action {
        of(then).unwrap_or_else(|refused| panic!("{refused}")).routes()[0].then.clone()
    }

    #[test]
    fn limits_are_read_with_what_is_usual_where_nothing_is_said() {
        let then = action(&json!({"pool": "web", "rate_limit": {"rate": "10/s"}, "connection_limit": {"max": 5}}));
        let rate = then.rate_limit.unwrap();
        assert_eq!((rate.rate().to_string().as_str(), rate.burst().get(), rate.status()), ("10/s", 10, 429));
        assert_eq!(*rate.per(), Per::Client(Ipv6Prefix::DEFAULT));
        let connections = then.connection_limit.unwrap();
        assert_eq!((connections.max.get(), connections.status), (5, 429));
        assert_eq!(connections.per, Per::Client(Ipv6Prefix::DEFAULT));
    }

    #[test]
    fn every_key_of_a_limit_reaches_it() {
        let then = action(&json!({
            "rate_limit": {"per": "header:X-Api-Key", "ipv6_prefix": 48, "rate": "300/m", "burst": 20, "status": 503},
            "connection_limit": {"per": "route", "max": 1000, "status": 403},
        }));
        assert!(then.end.is_none(), "a route that only limits is one");
        let rate = then.rate_limit.unwrap();
        let per = Per::Header("x-api-key".parse().unwrap(), Ipv6Prefix::new(48).unwrap());
        assert_eq!((rate.per(), rate.burst().get(), rate.status()), (&per, 20, 503));
        assert_eq!(rate.rate().to_string(), "300/m");
        let connections = then.connection_limit.unwrap();
        assert_eq!((connections.per, connections.max.get(), connections.status), (Per::Route, 1_000, 403));
    }

    #[test]
    fn every_wrong_value_is_told_what_may_stand_there() {
        for (limit, key, value, why, allowed, hint) in [
            ("rate_limit", "rate", json!("10"), "it is not a rate", "\"10/s\"", Some("write \"10/s\"")),
            ("rate_limit", "rate", json!("10r/s"), "it is not a rate", "\"10/s\"", Some("write \"10/s\"")),
            ("rate_limit", "rate", json!("5 / min"), "it is not a rate", "\"300/m\"", Some("write \"5/m\"")),
            ("rate_limit", "rate", json!("10/d"), "it is not a rate", "an hour", None),
            ("rate_limit", "rate", json!("fast"), "it is not a rate", "an hour", None),
            ("rate_limit", "rate", json!("0/s"), "1 to 1000000", "1 to 1000000", None),
            ("rate_limit", "rate", json!("1000001/s"), "1 to 1000000", "1 to 1000000", None),
            ("rate_limit", "rate", json!(10), "not a text", "\"10/s\"", Some("\"10\"")),
            ("rate_limit", "burst", json!(0), "less than 1", "1 to 1000000", None),
            ("rate_limit", "burst", json!(1_000_001), "more than 1000000", "1 to 1000000", None),
            ("rate_limit", "burst", json!(864_001), "more than a day", "1 to 864000 at 10/s", None),
            ("rate_limit", "burst", json!("20"), "not a whole number", "1 to 1000000", Some("without quotes")),
            ("rate_limit", "status", json!(200), "less than 400", "400 to 599", None),
            ("rate_limit", "status", json!(600), "more than 599", "400 to 599", None),
            ("rate_limit", "per", json!("ip"), "none of these", "\"client_ip\"", Some("write \"client_ip\"")),
            ("rate_limit", "per", json!("header"), "which", "header:<name", Some("write \"header:x-api-key\"")),
            ("rate_limit", "per", json!("header:"), "", "header:<name", None),
            ("rate_limit", "per", json!("header:a b"), "", "header:<name", None),
            ("rate_limit", "per", json!("cookie:a"), "none of these", "\"route\"", None),
            ("rate_limit", "ipv6_prefix", json!(31), "less than 32", "32 to 128", None),
            ("rate_limit", "ipv6_prefix", json!(129), "more than 128", "32 to 128", None),
            ("rate_limit", "brust", json!(1), "no such key", "burst, ipv6_prefix, per, rate, status", Some("burst")),
            ("connection_limit", "max", json!(0), "less than 1", "1 to 1000000", None),
            ("connection_limit", "max", json!(1_000_001), "more than 1000000", "1 to 1000000", None),
            ("connection_limit", "status", json!(99), "less than 400", "400 to 599", None),
            ("connection_limit", "per", json!("listener"), "none of these", "\"route\"", None),
            ("connection_limit", "ipv6_prefix", json!(0), "less than 32", "32 to 128", None),
        ] {
            let mut then = json!({"pool": "web", "rate_limit": {"rate": "10/s"}, "connection_limit": {"max": 5}});
            then[limit][key] = value.clone();
            let found = of(&then).unwrap_err();
            let fault = &found.faults[0];
            assert_eq!(
                (found.count(), fault.key.as_str()),
                (1, &*format!("route \"api\" then.{limit}.{key}")),
                "{found}"
            );
            assert!(fault.wrong.contains(why), "{found}");
            assert!(found.to_string().contains(allowed), "{found}");
            assert!(hint.is_none_or(|hint| fault.hint.as_deref().is_some_and(|said| said.contains(hint))), "{found}");
        }
        for (limit, key) in [("rate_limit", "rate"), ("connection_limit", "max")] {
            let found = of(&json!({"pool": "web", limit: {}})).unwrap_err();
            assert_eq!((found.count(), found.faults[0].wrong.as_str()), (1, "it is missing"), "{found}");
            assert_eq!(found.faults[0].key, format!("route \"api\" then.{limit}.{key}"));
        }
    }

    #[test]
    fn a_prefix_is_refused_where_no_address_is_looked_at() {
        let found = of(&json!({"rate_limit": {"per": "route", "rate": "1/s", "ipv6_prefix": 64}})).unwrap_err();
        assert_eq!(found.count(), 1);
        assert!(found.faults[0].wrong.contains("per = \"client_ip\""), "{found}");
    }
}
