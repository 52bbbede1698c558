//! `[pool.sticky]`.

use std::sync::Arc;
use std::time::Duration;

use super::hash_key::{hash_key, is_token, show};
use crate::document::{Choice, Section, Span, Words, Wrong, quoted};
use crate::model::limits::{COOKIE_DOMAIN_BYTES_MAX, COOKIE_NAME_BYTES_MAX, COOKIE_PATH_BYTES_MAX};
use crate::model::{HashKey, PoolName, SameSite, Sticky, StickyCookie};

const MINUTE: Duration = Duration::from_secs(60);
const YEAR: Duration = Duration::from_secs(365 * 24 * 3_600);

/// What a session is known by.
enum By {
    OwnCookie,
    Key(HashKey),
}

const BY: Words<By> = Words::of(
    "\"cookie\", \"client_ip\", \"header:<name>\", \"cookie:<name>\", \"query:<name>\", \"session:<name>\", \"mqtt_client_id\"",
    |text| match text {
        "cookie" => Ok(By::OwnCookie),
        "uri" => Err(Wrong::new("it is of a request and not of a session")
            .hint("strategy = \"consistent_hash\" with hash = \"uri\" keeps a resource at its node")),
        text => hash_key(text).map(By::Key),
    },
    |by| match by {
        By::OwnCookie => "\"cookie\"".to_owned(),
        By::Key(key) => show(key),
    },
);

const COOKIE_NAME: Words<Arc<str>> = Words::of(
    "the name of a cookie, letters, digits and !#$%&'*+-.^_`|~, at most 64",
    |text| {
        if !is_token(text) || text.len() > COOKIE_NAME_BYTES_MAX {
            return Err(Wrong::new("it is no name of a cookie"));
        }
        // Browsers take these only with conditions that a balancer does not know to be met (RFC 6265bis section 4.1.3).
        if text.starts_with("__Host-") || text.starts_with("__Secure-") {
            return Err(Wrong::new(
                "browsers take a cookie of such a name over TLS only, and not with every domain and path",
            ));
        }
        Ok(text.into())
    },
    quoted,
);

/// Nothing that ends an attribute of a cookie (RFC 6265 section 4.1.1).
fn is_attribute(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b';' && byte != b',')
}

const PATH: Words<Arc<str>> = Words::of(
    "a path, \"/\" or \"/shop\", at most 255 bytes",
    |text| {
        let is_path = text.starts_with('/') && is_attribute(text) && text.len() <= COOKIE_PATH_BYTES_MAX;
        if is_path { Ok(text.into()) } else { Err(Wrong::new("it is no path of a cookie")) }
    },
    quoted,
);

const DOMAIN: Words<Arc<str>> = Words::of(
    "a domain, \"example.com\", at most 253 bytes",
    |text| {
        let is_host = !text.is_empty()
            && text.len() <= COOKIE_DOMAIN_BYTES_MAX
            && text.split('.').all(|label| {
                !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            });
        if is_host { Ok(text.to_ascii_lowercase().into()) } else { Err(Wrong::new("it is no domain")) }
    },
    quoted,
);

const SAME_SITE: Choice<SameSite> = Choice::of(&SameSite::ALL);

pub(super) fn sticky(s: &mut Section<'_, '_, '_>, pool: &PoolName) -> Option<Sticky> {
    let by = s.required(
        "by",
        &BY,
        "What a session is known by. `cookie`: a signed one that the peer sets. The others are what requests have anyway: their \
         hash finds the node at every peer; a request without it goes by its client's address.",
    );
    let is_cookie = s.is_describing() || matches!(by, Some(By::OwnCookie));
    let cookie = s.only(is_cookie, "by = \"cookie\"", |s| StickyCookie {
        name: s
            .optional("name", &COOKIE_NAME, "`EVENKEEL-` and the pool's name", "Its name. Two pools of one site take two names.")
            .unwrap_or_else(|| StickyCookie::name_of(pool.as_str())),
        ttl: s.key(
            "ttl",
            &Span(MINUTE, YEAR),
            StickyCookie::TTL_DEFAULT,
            "How long a session lasts after its last request.",
        ),
        path: s.key("path", &PATH, "/".into(), "The paths for which browsers send it."),
        domain: s.optional(
            "domain",
            &DOMAIN,
            "the host that was asked",
            "The domain for which they do, those below it too.",
        ),
        same_site: s.key(
            "same_site",
            &SAME_SITE,
            SameSite::default(),
            "Whether browsers send it with what other sites ask for: `lax` with links alone, `strict` never, `none` always, and then \
             over TLS only.",
        ),
    });
    Some(match by? {
        By::OwnCookie => Sticky::Cookie(cookie),
        By::Key(key) => Sticky::Key(key),
    })
}
