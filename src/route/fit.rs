//! Whether a request is as conditions want it.

use std::net::IpAddr;
use std::sync::Arc;

use memchr::memmem;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::facts::{Facts, Head};
use super::glob;
use super::query::{cookie, meant, values};
use crate::host::Dice;
use crate::model::{Conditions, FieldName, Named, Share, ShareOf, TextPattern};

/// What of the outermost conditions the index has settled already.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Settled {
    pub(super) listener: bool,
    pub(super) host: bool,
    pub(super) path: bool,
}

/// Whether all of it holds. `seed` tells apart the shares of clients of different routes.
pub(super) fn holds<F: Facts + ?Sized>(
    conditions: &Conditions,
    settled: Settled,
    facts: &F,
    seed: u64,
    dice: &mut Dice,
) -> bool {
    let Conditions {
        listeners,
        scheme,
        hosts,
        paths,
        methods,
        headers,
        cookies,
        queries,
        user_agents,
        clients,
        regions,
        times,
        share,
        ..
    } = conditions;
    let is_one = |list: usize, is_it: bool| list == 0 || is_it;
    if !(settled.listener || is_one(listeners.len(), listeners.contains(facts.listener()))) {
        return false;
    }
    if scheme.is_some_and(|scheme| scheme != facts.scheme()) {
        return false;
    }
    match facts.head() {
        Some(head) => {
            if !((settled.host || is_host(conditions, head))
                && (settled.path
                    || is_one(
                        paths.len(),
                        paths.iter().any(|path| glob::fits(path.as_str().as_bytes(), head.path, false)),
                    ))
                && is_one(methods.len(), methods.iter().any(|method| method.as_str().as_bytes() == head.method)))
            {
                return false;
            }
            let has_header =
                |named: &Named<FieldName>| facts.has_field(named.name.as_str(), &mut |value| fits(named, value));
            let has_cookie = |named: &Named<Arc<str>>| {
                facts.has_field("cookie", &mut |field| {
                    cookie(field, named.name.as_bytes()).is_some_and(|value| fits(named, value))
                })
            };
            let has_query = |named: &Named<Arc<str>>| {
                values(head.query(), named.name.as_bytes()).any(|value| fits(named, &meant(value)))
            };
            let has_agent = |part: &Arc<str>| {
                facts.has_field("user-agent", &mut |value| memmem::find(value, part.as_bytes()).is_some())
            };
            if !(is_one(headers.len(), headers.iter().any(has_header))
                && is_one(cookies.len(), cookies.iter().any(has_cookie))
                && is_one(queries.len(), queries.iter().any(has_query))
                && is_one(user_agents.len(), user_agents.iter().any(has_agent)))
            {
                return false;
            }
        }
        None => {
            let asks = [
                hosts.len(),
                paths.len(),
                methods.len(),
                headers.len(),
                cookies.len(),
                queries.len(),
                user_agents.len(),
            ];
            if asks.iter().any(|&count| count > 0) {
                return false;
            }
        }
    }
    if !is_one(clients.len(), clients.iter().any(|range| range.contains(facts.client()))) {
        return false;
    }
    if !(regions.is_empty() || facts.region().is_some_and(|region| regions.contains(region))) {
        return false;
    }
    if !times.is_empty() {
        let now = facts.now();
        if !times.iter().any(|window| window.holds(now)) {
            return false;
        }
    }
    if !conditions.any.is_empty() && !conditions.any.iter().any(|one| holds(one, Settled::default(), facts, seed, dice))
    {
        return false;
    }
    if conditions.not.iter().any(|one| holds(one, Settled::default(), facts, seed, dice)) {
        return false;
    }
    // The dice roll last, and only for who fits otherwise.
    share.is_none_or(|share| is_in(share, facts.client(), seed, dice))
}

fn is_host(conditions: &Conditions, head: Head<'_>) -> bool {
    let hosts = &conditions.hosts;
    hosts.is_empty() || hosts.iter().any(|host| glob::fits(host.as_str().as_bytes(), head.host(), true))
}

fn is_in(share: Share, client: IpAddr, seed: u64, dice: &mut Dice) -> bool {
    let number = match share.of {
        ShareOf::Requests => dice.bits(),
        ShareOf::Clients => match client.to_canonical() {
            IpAddr::V4(ip) => xxh3_64_with_seed(&ip.octets(), seed),
            IpAddr::V6(ip) => xxh3_64_with_seed(&ip.octets(), seed),
        },
    };
    share.percent.holds(number)
}

fn fits<N>(named: &Named<N>, value: &[u8]) -> bool {
    let is_it = |pattern: &TextPattern| glob::fits(pattern.as_str().as_bytes(), value, named.ignore_case);
    named.values.is_empty() || named.values.iter().any(is_it)
}
