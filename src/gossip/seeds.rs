//! Seeds that are names: asked for again until somebody is found there, then as their TTL ends.
//!
//! chitchat itself resolves names once a minute, which is long where a cluster starts before its DNS does. So it is given
//! addresses only, and what a name leads to is greeted from here.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::settings::Seed;
use crate::host::{NameError, Resolved};

/// Between two questions for a name that leads nowhere.
const ASK_AGAIN: Duration = Duration::from_secs(1);
/// Between two greetings of an address at which nobody was found yet.
const GREET_EVERY: Duration = Duration::from_secs(1);

/// The seeds that are names.
#[derive(Debug)]
pub(super) struct Seeds {
    names: BTreeMap<(String, u16), Known>,
}

#[derive(Debug)]
struct Known {
    addresses: Vec<SocketAddr>,
    ask_at: Option<Instant>,
    greet_at: Instant,
}

impl Seeds {
    /// Those of `seeds` that are names; all are to be asked for at once.
    pub(super) fn new(seeds: &[Seed], now: Instant) -> Self {
        let names = seeds.iter().filter_map(|seed| match seed {
            Seed::Address(_) => None,
            Seed::Name(name, port) => Some((name.clone(), *port)),
        });
        let known = || Known { addresses: Vec::new(), ask_at: Some(now), greet_at: now };
        Self { names: names.map(|name| (name, known())).collect() }
    }

    /// Takes a name whose time to be asked has come; it counts as asked until [`Seeds::answered`].
    pub(super) fn take_name(&mut self, now: Instant) -> Option<(String, u16)> {
        let (name, known) = self.names.iter_mut().find(|(_, known)| known.ask_at.is_some_and(|at| at <= now))?;
        known.ask_at = None;
        Some(name.clone())
    }

    /// Where a name leads.
    pub(super) fn answered(&mut self, name: &(String, u16), answer: &Result<Resolved, NameError>, now: Instant) {
        let Some(known) = self.names.get_mut(name) else { return };
        match answer {
            Ok(resolved) => {
                known.addresses = resolved.addresses.iter().map(|&ip| SocketAddr::new(ip, name.1)).collect();
                known.greet_at = now;
                known.ask_at = Some(now + resolved.valid_for.max(ASK_AGAIN));
            }
            Err(error) => {
                tracing::debug!(name = name.0, %error, "a seed's name leads nowhere yet");
                known.ask_at = Some(now + ASK_AGAIN);
            }
        }
    }

    /// Addresses to greet now: those at which `is_met` finds nobody.
    pub(super) fn take_greetings(&mut self, now: Instant, is_met: impl Fn(SocketAddr) -> bool) -> Vec<SocketAddr> {
        let mut greetings = Vec::new();
        for known in self.names.values_mut().filter(|known| known.greet_at <= now) {
            known.greet_at = now + GREET_EVERY;
            greetings.extend(known.addresses.iter().copied().filter(|&address| !is_met(address)));
        }
        greetings
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host;

    #[test]
    fn a_name_is_asked_for_until_it_leads_somewhere_and_its_addresses_are_greeted_until_somebody_is_met() {
        let start = host::now();
        let at = |ms: u64| start + Duration::from_millis(ms);
        let literal = Seed::Address("192.0.2.9:7940".parse().unwrap());
        let mut seeds = Seeds::new(&[literal, Seed::Name("peers.test".to_owned(), 7940)], start);
        let name = seeds.take_name(start).unwrap();
        assert_eq!(seeds.take_name(start), None, "it is under way");

        let missing = NameError::TimedOut { name: name.0.clone() };
        seeds.answered(&name, &Err(missing), at(10));
        assert_eq!(seeds.take_name(at(500)), None);
        assert_eq!(seeds.take_name(at(1_010)), Some(name.clone()));

        let addresses = vec!["192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap()];
        let resolved = Resolved { addresses, valid_for: Duration::from_secs(30) };
        seeds.answered(&name, &Ok(resolved), at(1_020));
        assert_eq!(seeds.take_greetings(at(1_020), |_| false).len(), 2);
        assert_eq!(seeds.take_greetings(at(1_500), |_| false), []);
        let met = |address: SocketAddr| address.ip().to_string() == "192.0.2.1";
        assert_eq!(seeds.take_greetings(at(2_020), met), ["192.0.2.2:7940".parse().unwrap()]);
        assert_eq!(seeds.take_name(at(30_000)), None);
        assert_eq!(seeds.take_name(at(31_020)), Some(name));
    }
}
