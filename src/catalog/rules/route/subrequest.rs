//! `check` and `mirror`: what other pools get of a request.

use std::time::Duration;

use super::then::{PATH, changeable};
use super::when::FIELD_NAME;
use crate::document::{ListOf, Section, Span, Words, Wrong, name};
use crate::model::limits::EXTERNAL_CHECK_FIELDS_MAX;
use crate::model::{ExternalCheck, FieldName, Mirror};

/// How long a check may take.
const TIMEOUT: Span = Span(Duration::from_millis(10), Duration::from_secs(60));

const COPIED: Words<FieldName> = Words { parse: copied, ..FIELD_NAME };

/// A field that an answer may add to a request: one that nobody but the proxy writes would be dropped again.
fn copied(text: &str) -> Result<FieldName, Wrong> {
    let name = changeable(text)?;
    let real = name.as_str().replace('_', "-");
    if matches!(&*real, "proxy-authenticate" | "proxy-authorization" | "via" | "x-real-ip")
        || changeable(&real).is_err()
    {
        return Err(Wrong::new("the proxy alone says what nodes read there"));
    }
    Ok(name)
}

pub(super) fn check(s: &mut Section<'_, '_, '_>) -> Option<ExternalCheck> {
    let pool = s.required("pool", &name(), "The pool whose nodes are asked.");
    let path = s.required("path", &PATH, "The path at which they are asked.");
    let timeout = s.key(
        "timeout",
        &TIMEOUT,
        ExternalCheck::TIMEOUT_DEFAULT,
        "How long that may take in all. Within it another node is asked where one fails, as often as `retries` of the pool says.",
    );
    let copy = s.key(
        "copy",
        &ListOf(COPIED, EXTERNAL_CHECK_FIELDS_MAX),
        Vec::new(),
        "Fields of the answer that go with the request. What the client says in them is dropped, also where the answer has none.",
    );
    Some(ExternalCheck { pool: pool?, path: path?, timeout, copy })
}

pub(super) fn mirror(s: &mut Section<'_, '_, '_>) -> Option<Mirror> {
    let pool = s.required("pool", &name(), "The pool whose nodes get it.");
    Some(Mirror { pool: pool? })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::super::{Unknown, read};
    use super::*;
    use crate::document::Faults;
    use crate::model::{Catalog, PoolName};

    fn of(then: &Value) -> Result<Catalog, Faults> {
        let node = |id: &str| json!([{"id": id, "address": "10.0.0.1:80"}]);
        let desired = json!({
            "pool": [
                {"name": "web", "node": node("web-1")},
                {"name": "auth", "node": node("auth-1")},
                {"name": "shadow", "node": node("shadow-1")},
            ],
            "route": [{"name": "api", "then": then}],
        });
        read(desired.as_object().unwrap(), Unknown::Refused).map(|read| read.catalog)
    }

    #[test]
    fn a_check_and_a_mirror_are_read_with_what_is_usual_where_nothing_is_said() {
        let read = of(&json!({
            "pool": "web",
            "check": {"pool": "auth", "path": "/verify", "copy": ["X-User"]},
            "mirror": {"pool": "shadow"},
        }));
        let catalog = read.unwrap_or_else(|refused| panic!("{refused}"));
        let then = &catalog.routes()[0].then;
        let check = then.check.as_ref().unwrap();
        assert_eq!((check.pool.as_str(), &*check.path), ("auth", "/verify"));
        assert_eq!((check.timeout, check.copy.len()), (Duration::from_secs(2), 1));
        assert_eq!(then.mirror.as_ref().unwrap().pool.as_str(), "shadow");
        let pools: Vec<&str> = then.pools().map(PoolName::as_str).collect();
        assert_eq!(pools, ["web", "auth", "shadow"], "none of them can be removed while the route is there");
    }

    #[test]
    fn every_wrong_value_is_told_what_may_stand_there() {
        for (table, key, value, why, allowed) in [
            ("check", "pool", json!("ghost"), "there is no such pool", "auth, shadow, web"),
            ("check", "path", json!("verify"), "does not begin with /", "a path"),
            ("check", "path", json!("/a b"), "cannot stand in a path", "a path"),
            ("check", "timeout", json!("5ms"), "less than", "\"10ms\" to \"1m\""),
            ("check", "timeout", json!("2m"), "more than", "\"10ms\" to \"1m\""),
            ("check", "copy", json!(["host"]), "the proxy writes it", "x-tier"),
            ("check", "copy", json!(["x-forwarded-for"]), "the proxy writes it", "x-tier"),
            ("check", "copy", json!(["X-Real-IP"]), "the proxy alone", "x-tier"),
            ("check", "copy", json!(["x_forwarded_for"]), "the proxy alone", "x-tier"),
            ("check", "copy", json!(["a b"]), "", "x-tier"),
            ("mirror", "pool", json!("ghost"), "there is no such pool", "auth, shadow, web"),
            ("mirror", "share", json!(10), "no such key", "pool"),
        ] {
            let mut then = json!({"pool": "web", "check": {"pool": "auth", "path": "/"}, "mirror": {"pool": "shadow"}});
            then[table][key] = value;
            let found = of(&then).unwrap_err();
            assert_eq!(found.count(), 1, "{found}");
            assert!(found.faults[0].key.starts_with(&format!("route \"api\" then.{table}.{key}")), "{found}");
            assert!(found.to_string().contains(why) && found.to_string().contains(allowed), "{found}");
        }
        for (table, key) in [("check", "pool"), ("check", "path"), ("mirror", "pool")] {
            let mut then = json!({"pool": "web", "check": {"pool": "auth", "path": "/"}, "mirror": {"pool": "shadow"}});
            then[table].as_object_mut().unwrap().remove(key);
            let found = of(&then).unwrap_err();
            assert_eq!((found.count(), found.faults[0].wrong.as_str()), (1, "it is missing"), "{found}");
        }
    }
}
