//! What a request says of its session, and what its client is told of it.

use std::io::Write;
use std::net::IpAddr;

use super::cookie::{Opened, open, seal};
use super::keys::CookieKeys;
use crate::balance::hash;
use crate::model::{HashKey, NodeKey, Pool, RegionChoice, SameSite, Sticky, StickyCookie, Strategy};
use crate::proxy::http::picture::RequestHead;
use crate::route::{path, query};
use crate::view::{NodeView, PoolView, Stick, View};

/// Cookies of one name that are looked at, since each costs a signature: a browser sends one, or one for each path.
const COOKIES_MAX: usize = 8;

/// The cookie that a request came with, as far as it is believed.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    home: NodeKey,
    ends_s: u64,
}

/// The hash that the pool's strategy goes by; `None` where the request does not have it or the strategy does not ask.
pub(crate) fn hash_of(head: &RequestHead, pool: &Pool) -> Option<u64> {
    if pool.strategy == Strategy::ConsistentHash { hash_by(head, &pool.hash) } else { None }
}

/// Where the session of a request is at home, and the cookie that says so. A cookie that names a node where the request may not go by
/// its route is none: the session begins anew where it may.
pub(crate) fn stick_of(
    (head, client): (&RequestHead, IpAddr),
    (pool, choice): (&PoolView, Option<&RegionChoice>),
    view: &View,
    keys: &CookieKeys,
    now_s: u64,
) -> (Stick, Option<Held>) {
    match &pool.pool.sticky {
        None => (Stick::Free, None),
        Some(Sticky::Key(key)) => (Stick::Key(hash_by(head, key).unwrap_or_else(|| hash::of_address(client))), None),
        Some(Sticky::Cookie(cookie)) => {
            let of_pool = |opened: Opened| {
                let (_, node) = view.node(&opened.node).filter(|(of, _)| of.pool.name == pool.pool.name)?;
                let region = node.node.region.as_ref().unwrap_or(view.regions().own());
                if choice.is_some_and(|choice| choice.strict && !choice.prefer.contains(region)) {
                    return None;
                }
                Some(Held { home: node.key, ends_s: opened.ends_s })
            };
            let values = cookies(head).flat_map(|field| query::cookies(field, cookie.name.as_bytes()));
            let values = values.take(COOKIES_MAX);
            let held = values.filter_map(|value| open(keys, &pool.pool.name, value, now_s)).find_map(of_pool);
            (held.as_ref().map_or(Stick::Free, |held| Stick::Node(held.home)), held)
        }
    }
}

/// The fields by which a client is told where its session is from now on; `None`: it knows, or there is no session.
///
/// A session stays at a home that just this once could not take its request. A node that is used because there is no better one
/// becomes nobody's home.
pub(crate) fn set_cookie(
    pool: &PoolView,
    node: &NodeView,
    held: Option<&Held>,
    view: &View,
    keys: &CookieKeys,
    (now_s, is_secure): (u64, bool),
) -> Option<Vec<u8>> {
    let Some(Sticky::Cookie(cookie)) = &pool.pool.sticky else { return None };
    let stays = held.filter(|held| held.home != node.key && view.keeps(&pool.pool.name, held.home));
    if stays.is_some() || !node.keeps_sessions() {
        return None;
    }
    let knows = held.filter(|held| held.home == node.key);
    let is_young = |held: &&Held| held.ends_s.saturating_sub(now_s) > cookie.ttl.as_secs();
    if knows.filter(is_young).is_some() {
        return None;
    }
    let value = seal(keys, &pool.pool.name, &node.node.id, now_s.saturating_add(cookie.lifetime().as_secs()));
    Some(written(cookie, &value, is_secure))
}

fn written(cookie: &StickyCookie, value: &str, is_secure: bool) -> Vec<u8> {
    let StickyCookie { name, path, domain, same_site, .. } = cookie;
    let mut out = Vec::with_capacity(256);
    let mut write = |text: std::fmt::Arguments<'_>| {
        let written = out.write_fmt(text);
        debug_assert!(written.is_ok(), "a Vec takes everything");
    };
    write(format_args!("Set-Cookie: {name}={value}; Path={path}; Max-Age={}; HttpOnly", cookie.lifetime().as_secs()));
    write(format_args!("; SameSite={}", same_site.as_attribute()));
    if let Some(domain) = domain {
        write(format_args!("; Domain={domain}"));
    }
    if is_secure || *same_site == SameSite::None {
        write(format_args!("; Secure"));
    }
    // A shared cache that kept this answer would give its cookie to everybody.
    write(format_args!("\r\nCache-Control: private\r\n"));
    out
}

fn cookies(head: &RequestHead) -> impl Iterator<Item = &[u8]> {
    head.fields.iter().filter(|field| field.name.eq_ignore_ascii_case(b"cookie")).map(|field| field.value)
}

fn hash_by(head: &RequestHead, key: &HashKey) -> Option<u64> {
    let cookie = |name: &str| cookies(head).find_map(|field| query::cookie(field, name.as_bytes()));
    let parameter = |name: &str| {
        let question = memchr::memchr(b'?', &head.target)?;
        query::values(&head.target[question + 1..], name.as_bytes()).next()
    };
    let value = match key {
        HashKey::ClientIp | HashKey::MqttClientId => None,
        HashKey::Uri => Some(&head.target[..]),
        HashKey::Header(name) => head.fields.value_of(name.as_bytes()),
        HashKey::Cookie(name) => cookie(name),
        HashKey::Query(name) => parameter(name),
        HashKey::Session(name) => cookie(name)
            .or_else(|| parameter(name))
            .or_else(|| path::parameter(path::of(&head.target), name.as_bytes())),
    };
    value.map(hash::of)
}

#[cfg(test)]
mod tests;
