//! What of a request makes it go to the same node, as users write it.

use std::sync::Arc;

use crate::document::{Words, Wrong};
use crate::model::HashKey;

/// A name that a field or a cookie may have (RFC 9110 section 5.6.2).
pub(super) fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

pub(super) const HASH: Words<HashKey> = Words::of(
    "\"client_ip\", \"uri\", \"header:<name>\", \"cookie:<name>\", \"query:<name>\", \"session:<name>\", \"mqtt_client_id\"",
    hash_key,
    show,
);

pub(super) fn hash_key(text: &str) -> Result<HashKey, Wrong> {
    let (what, name) = text.split_once(':').map_or((text, None), |(what, name)| (what, Some(name)));
    let token = |name: &str| is_token(name).then(|| Arc::from(name));
    let key = match (what, name) {
        ("client_ip", None) => Some(HashKey::ClientIp),
        ("uri", None) => Some(HashKey::Uri),
        ("mqtt_client_id", None) => Some(HashKey::MqttClientId),
        ("header", Some(name)) => token(&name.to_ascii_lowercase()).map(HashKey::Header),
        ("cookie", Some(name)) => token(name).map(HashKey::Cookie),
        ("session", Some(name)) => token(name).map(HashKey::Session),
        ("query", Some(name)) if !name.is_empty() => Some(HashKey::Query(Arc::from(name))),
        ("header" | "cookie" | "query" | "session", None) => {
            return Err(Wrong::new("it does not say which").hint(format!("write \"{what}:<name>\"")));
        }
        _ => None,
    };
    key.ok_or_else(|| Wrong::new("it is none of these"))
}

pub(super) fn show(key: &HashKey) -> String {
    match key {
        HashKey::ClientIp => "\"client_ip\"".to_owned(),
        HashKey::Uri => "\"uri\"".to_owned(),
        HashKey::Header(name) => format!("\"header:{name}\""),
        HashKey::Cookie(name) => format!("\"cookie:{name}\""),
        HashKey::Query(name) => format!("\"query:{name}\""),
        HashKey::Session(name) => format!("\"session:{name}\""),
        HashKey::MqttClientId => "\"mqtt_client_id\"".to_owned(),
    }
}
