//! TLS from this peer to nodes: which roots it trusts, which versions it speaks, which name a certificate must carry.
//!
//! Every configuration names its crypto provider itself: a process-wide default would be one for all peers of a process.

use std::sync::Arc;

use rustls::client::Resumption;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, RootCertStore};

use super::server::{Authorities, Certificate};
use crate::model::Host;

/// TLS sessions kept for resumption, by server name, in each of the two configurations.
const SESSIONS_MAX: usize = 1_024;
/// Errors of single certificates that are told in words; the rest is counted.
const ERRORS_TOLD_MAX: usize = 3;

/// How this peer speaks TLS to nodes.
#[derive(Clone, Debug)]
pub struct ClientConfigs {
    /// For HTTP, traffic and checks alike: ALPN offers `http/1.1` and nothing else.
    pub http: Arc<ClientConfig>,
    /// For bytes that are none of our business: no ALPN.
    pub plain: Arc<ClientConfig>,
    /// What is trusted.
    pub roots: Roots,
    /// The same, for profiles that say nothing else.
    store: Arc<RootCertStore>,
}

/// The trust roots that were loaded, for people.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Roots {
    /// Where they come from.
    pub source: RootSource,
    /// How many are trusted.
    pub loaded: usize,
    /// How many certificates or files of the source could not be read and are not trusted.
    pub unusable: usize,
}

/// Where trust roots come from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RootSource {
    /// The machine's store, or what `SSL_CERT_FILE` and `SSL_CERT_DIR` name.
    System,
    /// The list of Mozilla that is built in, on a machine that has no store.
    BuiltIn,
    /// Given by whoever embeds the peer.
    Given,
}

/// Why TLS to nodes cannot be set up.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum TlsError {
    /// There is a store, and nothing in it can be read. The built-in list does not take its place: whoever named a
    /// store wants that one trusted and no other.
    #[error("no trust root could be read ({0}); look at SSL_CERT_FILE and SSL_CERT_DIR, or at the machine's store")]
    RootsUnreadable(String),
    /// The provider lacks what TLS 1.2 or 1.3 needs.
    #[error("TLS cannot be set up: {0}")]
    Setup(String),
    /// Not a name that a certificate can carry.
    #[error("{0:?} is not a name that a certificate can carry; use a host name or an IP address")]
    Name(String),
}

/// Configurations with the machine's trust roots, or the built-in ones where it has none. Reads files: call it at start.
pub fn client_configs() -> Result<ClientConfigs, TlsError> {
    let found = rustls_native_certs::load_native_certs();
    let mut store = RootCertStore::empty();
    let (loaded, ignored) = store.add_parsable_certificates(found.certs);
    let unusable = ignored + found.errors.len();
    if loaded > 0 {
        return build(store, Roots { source: RootSource::System, loaded, unusable });
    }
    if unusable > 0 {
        let mut told: Vec<String> = found.errors.iter().take(ERRORS_TOLD_MAX).map(ToString::to_string).collect();
        if unusable > told.len() {
            told.push(format!("{} more unusable", unusable - told.len()));
        }
        return Err(TlsError::RootsUnreadable(told.join("; ")));
    }
    store.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    let loaded = store.len();
    build(store, Roots { source: RootSource::BuiltIn, loaded, unusable })
}

impl ClientConfigs {
    /// Configurations that trust these roots and no other.
    pub fn trusting(roots: impl IntoIterator<Item = CertificateDer<'static>>) -> Result<Self, TlsError> {
        let mut store = RootCertStore::empty();
        let (loaded, unusable) = store.add_parsable_certificates(roots);
        build(store, Roots { source: RootSource::Given, loaded, unusable })
    }
}

/// The name that a node's certificate must carry.
pub fn server_name(host: &Host) -> Result<ServerName<'static>, TlsError> {
    match host {
        Host::Ip(ip) => Ok(ServerName::IpAddress((*ip).into())),
        // A final dot says "absolute" to the resolver; certificates and SNI do without (RFC 6066 section 3).
        Host::Name(name) => ServerName::try_from(name.strip_suffix('.').unwrap_or(name).to_owned())
            .map_err(|_| TlsError::Name(name.to_string())),
    }
}

fn build(store: RootCertStore, roots: Roots) -> Result<ClientConfigs, TlsError> {
    made(Arc::new(store), roots, None)
}

/// Configurations of a profile: what it does not say is as in `by_default`.
pub(super) fn of_profile(
    by_default: &ClientConfigs,
    authorities: Option<&Authorities>,
    certificate: Option<&Certificate>,
) -> Result<ClientConfigs, TlsError> {
    let (store, roots) = match authorities {
        Some(of) => (Arc::clone(&of.roots), Roots { source: RootSource::Given, loaded: of.roots.len(), unusable: 0 }),
        None => (Arc::clone(&by_default.store), by_default.roots),
    };
    made(store, roots, certificate)
}

fn made(store: Arc<RootCertStore>, roots: Roots, shown: Option<&Certificate>) -> Result<ClientConfigs, TlsError> {
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&TLS13, &TLS12])
        .map_err(|error| TlsError::Setup(error.to_string()))?
        .with_root_certificates(Arc::clone(&store));
    let mut plain = match shown {
        None => builder.with_no_client_auth(),
        Some(certificate) => {
            let one = SingleCertAndKey::from(CertifiedKey::clone(certificate.certified()));
            builder.with_client_cert_resolver(Arc::new(one))
        }
    };
    plain.resumption = Resumption::in_memory_sessions(SESSIONS_MAX);
    let mut http = plain.clone();
    http.alpn_protocols = vec![b"http/1.1".to_vec()];
    // A store of its own: a session of one protocol is not resumed for another.
    http.resumption = Resumption::in_memory_sessions(SESSIONS_MAX);
    Ok(ClientConfigs { http: Arc::new(http), plain: Arc::new(plain), roots, store })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_http_configuration_names_a_protocol() {
        let configs = ClientConfigs::trusting([]).unwrap();
        assert_eq!(configs.http.alpn_protocols, [b"http/1.1".to_vec()]);
        assert!(configs.plain.alpn_protocols.is_empty());
        assert_eq!(configs.roots, Roots { source: RootSource::Given, loaded: 0, unusable: 0 });
    }

    #[test]
    fn a_root_that_is_no_certificate_is_counted_and_not_trusted() {
        let key = rcgen::generate_simple_self_signed(["node.test".to_owned()]).unwrap();
        let good = key.cert.der().clone();
        let configs = ClientConfigs::trusting([good, CertificateDer::from(vec![1, 2, 3])]).unwrap();
        assert_eq!(configs.roots, Roots { source: RootSource::Given, loaded: 1, unusable: 1 });
    }

    #[test]
    fn this_machine_or_the_built_in_list_gives_roots() {
        let configs = client_configs().unwrap();
        assert!(configs.roots.loaded > 0, "{:?}", configs.roots);
        assert_ne!(configs.roots.source, RootSource::Given);
    }

    #[test]
    fn a_certificate_must_carry_the_nodes_name_or_address() {
        let name = |text: &str| server_name(&Host::Name(text.into())).map(|name| name.to_str().into_owned());
        assert_eq!(name("eu.example.com"), Ok("eu.example.com".into()));
        assert_eq!(name("eu.example.com."), Ok("eu.example.com".into()));
        assert_eq!(name("a b"), Err(TlsError::Name("a b".into())));
        let ip = server_name(&Host::Ip("::1".parse().unwrap())).unwrap();
        assert_eq!(ip, ServerName::try_from("::1").unwrap());
    }
}
