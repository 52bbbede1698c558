//! Where names lead, and for how long: the machine's hosts file, then DNS with its TTL, then whatever else the system
//! knows (`getaddrinfo`, which tells no TTL).
//!
//! The hosts file and `resolv.conf` are read again when they change, so that a peer follows its machine without a restart.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::op::Query;
use hickory_resolver::proto::rr::{Name, RecordType};
use hickory_resolver::{Hosts, TokioResolver, system_conf};
use tokio::sync::{Mutex, Semaphore};
use tokio::time::timeout;

use super::now;
use crate::model::limits::ADDRESSES_PER_NODE_MAX;

/// How long one name may take in all.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// How long DNS may take before the system is asked.
const DNS_WITHIN: Duration = Duration::from_secs(3);
/// Bounds of a TTL: 0 would ask without pause, and a week would miss that a node moved.
const VALID_MIN: Duration = Duration::from_secs(1);
const VALID_MAX: Duration = Duration::from_secs(3_600);
/// How long an answer without a TTL holds.
const VALID_WITHOUT_TTL: Duration = Duration::from_secs(30);
/// How long "no such name" is believed.
const MISSING_VALID: Duration = Duration::from_secs(5);
/// How often the machine's files are looked at for a change.
const FILES_LOOKED_AT_EVERY: Duration = Duration::from_secs(5);
/// Bytes read of the hosts file or `resolv.conf`.
const FILE_BYTES_MAX: u64 = 1024 * 1024;
/// Calls of `getaddrinfo` at the same time: each holds a thread, and none can be called back.
const SYSTEM_CALLS_MAX: usize = 8;

/// The machine's resolver. Cheap to clone; used by one runtime.
#[derive(Clone)]
pub struct Names(Arc<Inner>);

struct Inner {
    files: Mutex<Files>,
    system_calls: Arc<Semaphore>,
}

/// Where a name leads.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Resolved {
    /// At least one, sorted, no more than [`ADDRESSES_PER_NODE_MAX`].
    pub addresses: Vec<IpAddr>,
    /// How long that holds: 1 s to 1 h.
    pub valid_for: Duration,
}

/// Why a name leads nowhere now.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum NameError {
    /// Nobody knows an address.
    #[error("no address is known for {name} ({reason})")]
    NoAddress {
        /// The name.
        name: String,
        /// What the system said last.
        reason: String,
    },
    /// Nobody answered in time.
    #[error("no answer for {name} within {} s; look at the name servers of this machine", ANSWER_WITHIN.as_secs())]
    TimedOut {
        /// The name.
        name: String,
    },
}

impl Names {
    /// Names as this machine is set up to know them. Files are read with the first question.
    pub fn of_system() -> Self {
        Self::reading("/etc/hosts".into(), "/etc/resolv.conf".into())
    }

    fn reading(hosts: PathBuf, resolv_conf: PathBuf) -> Self {
        let files = Files {
            looked_at: None,
            hosts: File::new(hosts),
            known: Arc::default(),
            resolv_conf: File::new(resolv_conf),
            dns: None,
        };
        Self(Arc::new(Inner {
            files: Mutex::new(files),
            system_calls: Arc::new(Semaphore::const_new(SYSTEM_CALLS_MAX)),
        }))
    }

    /// Where `name` leads now. Takes 5 s at most.
    pub async fn resolve(&self, name: &str) -> Result<Resolved, NameError> {
        timeout(ANSWER_WITHIN, self.ask(name))
            .await
            .unwrap_or_else(|_| Err(NameError::TimedOut { name: name.to_owned() }))
    }

    async fn ask(&self, name: &str) -> Result<Resolved, NameError> {
        let (hosts, dns) = self.0.files.lock().await.read(now()).await;
        let (addresses, valid_for) = if let Some(addresses) = static_addresses(&hosts, name) {
            (addresses, VALID_WITHOUT_TTL)
        } else if let Some(answer) = ask_dns(dns, name).await {
            answer
        } else {
            (self.ask_system(name).await?, VALID_WITHOUT_TTL)
        };
        // A set: sorted, so that two answers can be compared, and without what two sources both say.
        let addresses: BTreeSet<IpAddr> = addresses.into_iter().collect();
        let addresses = addresses.into_iter().take(ADDRESSES_PER_NODE_MAX).collect();
        Ok(Resolved { addresses, valid_for: valid_for.clamp(VALID_MIN, VALID_MAX) })
    }

    /// What `getaddrinfo` says. The call cannot be ended, so its permit stays with it and not with whoever waits.
    async fn ask_system(&self, name: &str) -> Result<Vec<IpAddr>, NameError> {
        let no_address = |reason: String| NameError::NoAddress { name: name.to_owned(), reason };
        let permit = Arc::clone(&self.0.system_calls).acquire_owned().await;
        let permit = permit.map_err(|closed| no_address(closed.to_string()))?;
        let asked = (name.to_owned(), 0);
        let call = tokio::spawn(async move {
            let _permit = permit;
            #[expect(clippy::disallowed_methods, reason = "the one place that falls back to names without a TTL")]
            let found = tokio::net::lookup_host(asked).await;
            found.map(|found| found.map(|address: SocketAddr| address.ip()).collect::<Vec<_>>())
        });
        let found = call.await.map_err(|error| no_address(error.to_string()))?;
        let found = found.map_err(|error| no_address(error.to_string()))?;
        if found.is_empty() { Err(no_address("an empty answer".to_owned())) } else { Ok(found) }
    }
}

/// What the hosts file says; and `localhost`, which is this machine whatever a file or a server says (RFC 6761 section 6.3).
fn static_addresses(hosts: &Hosts, name: &str) -> Option<Vec<IpAddr>> {
    let parsed = Name::from_utf8(name).ok()?;
    let addresses: Vec<IpAddr> = [RecordType::A, RecordType::AAAA]
        .into_iter()
        .filter_map(|kind| hosts.lookup_static_host(&Query::query(parsed.clone(), kind)))
        .flat_map(|found| found.answers().iter().filter_map(|record| record.data.ip_addr()).collect::<Vec<_>>())
        .collect();
    if !addresses.is_empty() {
        return Some(addresses);
    }
    let plain = name.strip_suffix('.').unwrap_or(name);
    (plain == "localhost" || plain.ends_with(".localhost"))
        .then(|| vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()])
}

/// What DNS says, with the time that is left of it; `None` where it says nothing, for whatever reason.
async fn ask_dns(dns: Option<TokioResolver>, name: &str) -> Option<(Vec<IpAddr>, Duration)> {
    let found = timeout(DNS_WITHIN, dns?.lookup_ip(name)).await.ok()?.ok()?;
    let addresses: Vec<IpAddr> = found.iter().collect();
    let valid_for = found.valid_until().saturating_duration_since(now());
    (!addresses.is_empty()).then_some((addresses, valid_for))
}

/// The machine's files, and what was read from them.
struct Files {
    looked_at: Option<Instant>,
    hosts: File,
    known: Arc<Hosts>,
    resolv_conf: File,
    dns: Option<TokioResolver>,
}

/// A file, and the state in which it was last read.
struct File {
    path: PathBuf,
    seen: Option<(SystemTime, u64)>,
}

impl Files {
    async fn read(&mut self, now: Instant) -> (Arc<Hosts>, Option<TokioResolver>) {
        if self.looked_at.is_none_or(|at| now.saturating_duration_since(at) >= FILES_LOOKED_AT_EVERY) {
            self.looked_at = Some(now);
            if let Some(bytes) = self.hosts.changed().await {
                let mut hosts = Hosts::default();
                // A line that cannot be read ends it; what stands before it counts.
                let _ = hosts.read_hosts_conf(&*bytes);
                self.known = Arc::new(hosts);
            }
            if let Some(bytes) = self.resolv_conf.changed().await {
                self.dns = resolver(&bytes);
            }
        }
        (Arc::clone(&self.known), self.dns.clone())
    }
}

impl File {
    fn new(path: PathBuf) -> Self {
        Self { path, seen: None }
    }

    /// Its bytes if it is not as it was last time; none of them if it is gone.
    async fn changed(&mut self) -> Option<Vec<u8>> {
        let found = tokio::fs::metadata(&self.path).await.ok();
        let seen = found.and_then(|found| Some((found.modified().ok()?, found.len())));
        if seen == self.seen {
            return None;
        }
        self.seen = seen;
        let small = seen.is_some_and(|(_, length)| length <= FILE_BYTES_MAX);
        Some(if small { tokio::fs::read(&self.path).await.unwrap_or_default() } else { Vec::new() })
    }
}

/// A resolver as `resolv.conf` says; `None` where that names no server.
fn resolver(resolv_conf: &[u8]) -> Option<TokioResolver> {
    let (config, options) = system_conf::parse_resolv_conf(resolv_conf).ok()?;
    let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
    *builder.options_mut() = options;
    build(builder)
}

fn build(mut builder: hickory_resolver::ResolverBuilder<TokioRuntimeProvider>) -> Option<TokioResolver> {
    let options = builder.options_mut();
    options.use_hosts_file = hickory_resolver::config::ResolveHosts::Never;
    options.negative_max_ttl = Some(MISSING_VALID);
    builder.build().ok()
}

#[cfg(test)]
mod tests {
    use hickory_resolver::config::{NameServerConfig, ResolverConfig};
    use hickory_resolver::proto::op::Message;
    use hickory_resolver::proto::rr::{RData, Record};
    use hickory_resolver::proto::serialize::binary::{BinDecodable, BinEncodable};
    use tokio::net::UdpSocket;

    use super::*;

    /// Names of a machine with this hosts file and without DNS.
    fn with_hosts(hosts: &str) -> Names {
        let names = Names::reading("/nonexistent/hosts".into(), "/nonexistent/resolv.conf".into());
        let mut known = Hosts::default();
        known.read_hosts_conf(hosts.as_bytes()).unwrap();
        names.0.files.try_lock().unwrap().known = Arc::new(known);
        names
    }

    /// A name server that gives `addresses` with this TTL for every name.
    async fn with_dns(addresses: &'static [&'static str], ttl_s: u32) -> Names {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let port = socket.local_addr().unwrap().port();
        tokio::spawn(async move {
            let mut bytes = [0; 4096];
            while let Ok((length, from)) = socket.recv_from(&mut bytes).await {
                let asked = Message::from_bytes(&bytes[..length]).unwrap();
                let query = asked.queries[0].clone();
                let mut answer = asked.into_response();
                let records = addresses
                    .iter()
                    .map(|address| RData::from(address.parse::<IpAddr>().unwrap()))
                    .filter(|data| data.record_type() == query.query_type())
                    .map(|data| Record::from_rdata(query.name().clone(), ttl_s, data));
                answer.add_answers(records);
                socket.send_to(&answer.to_bytes().unwrap(), from).await.unwrap();
            }
        });
        let mut server = NameServerConfig::udp(Ipv4Addr::LOCALHOST.into());
        server.connections[0].port = port;
        let config = ResolverConfig::from_parts(None, Vec::new(), vec![server]);
        let names = with_hosts("");
        let builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
        names.0.files.try_lock().unwrap().dns = build(builder);
        names
    }

    fn ips(addresses: &[&str]) -> Vec<IpAddr> {
        addresses.iter().map(|address| address.parse().unwrap()).collect()
    }

    #[tokio::test]
    async fn the_hosts_file_goes_first_and_is_asked_again_after_half_a_minute() {
        let names = with_hosts("10.0.0.2 web.internal web # a comment\n10.0.0.1 web.internal\nfd00::1 web.internal\n");
        let found = names.resolve("web.internal").await.unwrap();
        assert_eq!(found.addresses, ips(&["10.0.0.1", "10.0.0.2", "fd00::1"]));
        assert_eq!(found.valid_for, Duration::from_secs(30));
        assert_eq!(names.resolve("web").await.unwrap().addresses, ips(&["10.0.0.2"]));
    }

    #[tokio::test]
    async fn localhost_is_this_machine_on_every_machine() {
        for name in ["localhost", "localhost.", "api.localhost"] {
            let found = with_hosts("").resolve(name).await.unwrap();
            assert_eq!(found.addresses, ips(&["127.0.0.1", "::1"]), "{name}");
        }
    }

    #[tokio::test]
    async fn dns_answers_hold_for_their_ttl_within_a_second_and_an_hour() {
        for (ttl_s, least_s, most_s) in [(0, 1, 1), (60, 55, 60), (1_000_000, 3_600, 3_600)] {
            let names = with_dns(&["10.0.0.9", "10.0.0.3", "fd00::7"], ttl_s).await;
            let found = names.resolve("web.test").await.unwrap();
            assert_eq!(found.addresses, ips(&["10.0.0.3", "10.0.0.9", "fd00::7"]));
            assert!((least_s..=most_s).contains(&found.valid_for.as_secs()), "{found:?}");
        }
    }

    #[tokio::test]
    async fn a_name_that_nobody_knows_is_an_error_that_says_so() {
        let error = with_hosts("").resolve("missing.invalid").await.unwrap_err();
        assert!(error.to_string().contains("missing.invalid"), "{error}");
    }

    #[tokio::test]
    async fn files_are_read_again_when_they_change() {
        let folder = std::env::temp_dir().join(format!("evenkeel-names-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let hosts = folder.join("hosts");
        std::fs::write(&hosts, "10.0.0.1 web.internal\n").unwrap();
        let names = Names::reading(hosts.clone(), folder.join("resolv.conf"));
        assert_eq!(names.resolve("web.internal").await.unwrap().addresses, ips(&["10.0.0.1"]));
        std::fs::write(&hosts, "10.0.0.1 web.internal\n10.0.0.2 web.internal\n").unwrap();
        let later = now() + FILES_LOOKED_AT_EVERY;
        let (known, _) = names.0.files.lock().await.read(later).await;
        let found = static_addresses(&known, "web.internal").unwrap();
        std::fs::remove_dir_all(&folder).unwrap();
        assert_eq!(found, ips(&["10.0.0.1", "10.0.0.2"]));
    }
}
