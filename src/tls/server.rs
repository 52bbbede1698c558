//! TLS from clients to a listener: which certificate a client gets by the name it asks for, which versions are spoken, and
//! whether clients must show a certificate of their own. Bytes in, configurations for rustls out; who reads the files and who
//! speaks is elsewhere.
//!
//! A client never gets a certificate that does not carry the name it asked for, unless one is named as the default: else the
//! name of one tenant would be told to whoever asks for another.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

use aws_lc_rs::digest::{self, SHA256};
use rustls::crypto::{CryptoProvider, aws_lc_rs as provider};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, NoServerSessionStorage, ServerSessionMemoryCache, WebPkiClientVerifier};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::version::{TLS12, TLS13};
use rustls::{Error, InconsistentKeys, RootCertStore, ServerConfig, SupportedProtocolVersion};

use super::client::TlsError;
use super::x509::{self, CertificateName};

/// Sessions of TLS 1.2 kept for clients that take no tickets, a listener.
const SESSIONS_MAX: usize = 4_096;
/// Mark of a private key that has a password, whichever form it has.
const ENCRYPTED: [&[u8]; 2] = [b"-----BEGIN ENCRYPTED PRIVATE KEY-----", b"Proc-Type: 4,ENCRYPTED"];

/// A certificate with its chain and its key. Its `Debug` shows its names.
#[derive(Clone)]
pub struct Certificate {
    certified: Arc<CertifiedKey>,
    names: Vec<CertificateName>,
    not_before: SystemTime,
    not_after: SystemTime,
    identity: [u8; 32],
}

/// Why there is no certificate, and in which of the two files that is.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum CertificateError {
    /// The file has none.
    #[error("there is no certificate in it")]
    Missing,
    /// Something between the marks of PEM is none.
    #[error("a certificate in it cannot be read: {0}")]
    Unreadable(String),
    /// Nobody could ask for it.
    #[error("its certificate names no host and no address (subjectAltName)")]
    Nameless,
    /// The key's file has none.
    #[error("there is no private key in it")]
    KeyMissing,
    /// A password would have to be typed at each start.
    #[error("its private key is encrypted with a password")]
    KeyEncrypted,
    /// Not a key, or of a kind that is not spoken.
    #[error("its private key cannot be used: {0}")]
    KeyUnusable(String),
    /// The key is another certificate's.
    #[error("its private key does not belong to the certificate")]
    KeyMismatch,
}

impl CertificateError {
    /// Whether the file of the key is to be looked at, and not that of the certificate.
    pub fn is_of_key(&self) -> bool {
        match self {
            Self::Missing | Self::Unreadable(_) | Self::Nameless => false,
            Self::KeyMissing | Self::KeyEncrypted | Self::KeyUnusable(_) | Self::KeyMismatch => true,
        }
    }
}

impl Certificate {
    /// A certificate from PEM: its own first, then those between it and its authority; and the key.
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Self, CertificateError> {
        let chain: Vec<CertificateDer<'static>> = certificates(chain)?;
        let first = chain.first().ok_or(CertificateError::Missing)?;
        let said = x509::read(first).ok_or_else(|| CertificateError::Unreadable("it is no X.509".to_owned()))?;
        if said.names.is_empty() {
            return Err(CertificateError::Nameless);
        }
        let key = key_of(key)?;
        let identity = identity(chain.iter().map(AsRef::as_ref).chain([key.secret_der()]));
        let key = provider::default_provider()
            .key_provider
            .load_private_key(key)
            .map_err(|error| CertificateError::KeyUnusable(error.to_string()))?;
        let certified = CertifiedKey::new(chain, key);
        match certified.keys_match() {
            Ok(()) | Err(Error::InconsistentKeys(InconsistentKeys::Unknown)) => {}
            Err(Error::InconsistentKeys(_)) => return Err(CertificateError::KeyMismatch),
            Err(error) => return Err(CertificateError::Unreadable(error.to_string())),
        }
        let (not_before, not_after) = (said.not_before, said.not_after);
        Ok(Self { certified: Arc::new(certified), names: said.names, not_before, not_after, identity })
    }

    /// What it may be asked for by.
    pub fn names(&self) -> &[CertificateName] {
        &self.names
    }

    /// What is wrong with its time; clients refuse it then.
    pub fn out_of_time(&self, now: SystemTime) -> Option<&'static str> {
        match (now < self.not_before, now > self.not_after) {
            (true, _) => Some("the certificate is not valid yet"),
            (_, true) => Some("the certificate has expired"),
            (false, false) => None,
        }
    }

    /// Whether it carries a name or an address, written as users do; `*.` stands for itself.
    pub fn carries(&self, name: &str) -> bool {
        self.names.iter().any(|of| match of {
            CertificateName::Ip(ip) => name.parse().is_ok_and(|name: IpAddr| name == *ip),
            of => of.to_string().eq_ignore_ascii_case(name),
        })
    }

    /// The chain and the key, for whoever shows them to a node.
    pub(super) fn certified(&self) -> &Arc<CertifiedKey> {
        &self.certified
    }

    pub(super) fn identity(&self) -> &[u8; 32] {
        &self.identity
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.names.iter().map(ToString::to_string)).finish()
    }
}

/// Authorities whose certificates are taken.
#[derive(Clone)]
pub struct Authorities {
    pub(super) roots: Arc<RootCertStore>,
    pub(super) identity: [u8; 32],
}

impl Authorities {
    /// Authorities from PEM, at least one.
    pub fn from_pem(pem: &[u8]) -> Result<Self, CertificateError> {
        let found = certificates(pem)?;
        let mut roots = RootCertStore::empty();
        for certificate in &found {
            roots.add(certificate.clone()).map_err(|error| CertificateError::Unreadable(error.to_string()))?;
        }
        if roots.is_empty() {
            return Err(CertificateError::Missing);
        }
        Ok(Self { roots: Arc::new(roots), identity: identity(found.iter().map(AsRef::as_ref)) })
    }
}

impl fmt::Debug for Authorities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} authorities", self.roots.len())
    }
}

/// The least version that is spoken.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum MinVersion {
    /// TLS 1.2 with forward secrecy and authenticated encryption only, and 1.3.
    #[default]
    Tls12,
    /// TLS 1.3 alone.
    Tls13,
}

impl MinVersion {
    fn versions(self) -> &'static [&'static SupportedProtocolVersion] {
        const BOTH: &[&SupportedProtocolVersion] = &[&TLS13, &TLS12];
        match self {
            Self::Tls12 => BOTH,
            Self::Tls13 => &BOTH[..1],
        }
    }
}

/// Certificates that clients show.
#[derive(Clone, Debug)]
pub struct ClientCertificates {
    /// Who issues them.
    pub authorities: Authorities,
    /// Whether a client without one is refused.
    pub required: bool,
}

/// What a listener is told of TLS.
#[derive(Clone, Debug)]
pub struct ServerSettings {
    /// Its certificates, at least one.
    pub certificates: Vec<Certificate>,
    /// The one for clients whose name no certificate carries, or who ask for none, by its place in the list.
    pub default: Option<usize>,
    /// The least version.
    pub min_version: MinVersion,
    /// Certificates of clients; `None`: none are asked for.
    pub clients: Option<ClientCertificates>,
    /// The protocols that are spoken inside, by their names of ALPN (RFC 7301); none: it is not looked at.
    pub protocols: Vec<Vec<u8>>,
}

/// How TLS is spoken to the clients of one listener. Two of them are equal when they were made of the same.
#[derive(Clone)]
pub struct Server {
    certificates: Vec<(Certificate, Arc<ServerConfig>)>,
    hosts: HashMap<Box<str>, Vec<usize>>,
    /// By what stands behind `*.`.
    wildcards: HashMap<Box<str>, Vec<usize>>,
    addresses: HashMap<IpAddr, Vec<usize>>,
    default: Option<usize>,
    identity: [u8; 32],
}

impl Server {
    /// Makes the configurations. Tickets are sealed with keys that only this one has, new ones every six hours: what another
    /// listener, another certificate or an earlier setting allowed resumes nothing here.
    pub fn new(settings: ServerSettings) -> Result<Self, TlsError> {
        let ServerSettings { certificates, default, min_version, clients, protocols } = settings;
        let setup = |error: &dyn fmt::Display| TlsError::Setup(error.to_string());
        let identity = identity_of(&certificates, default, min_version, clients.as_ref(), &protocols);
        let provider = Arc::new(provider::default_provider());
        let verifier = match clients {
            None => WebPkiClientVerifier::no_client_auth(),
            Some(ClientCertificates { authorities, required }) => {
                let verifier = WebPkiClientVerifier::builder_with_provider(
                    authorities.roots,
                    Arc::<CryptoProvider>::clone(&provider),
                );
                let verifier = if required { verifier } else { verifier.allow_unauthenticated() };
                verifier.build().map_err(|error| setup(&error))?
            }
        };
        let sessions = ServerSessionMemoryCache::new(SESSIONS_MAX);
        let mut made = Vec::with_capacity(certificates.len());
        for certificate in certificates {
            let one = SingleCertAndKey::from(CertifiedKey::clone(&certificate.certified));
            let mut config = ServerConfig::builder_with_provider(Arc::clone(&provider))
                .with_protocol_versions(min_version.versions())
                .map_err(|error| setup(&error))?
                .with_client_cert_verifier(Arc::clone(&verifier))
                .with_cert_resolver(Arc::new(one));
            config.ticketer = provider::Ticketer::new().map_err(|error| setup(&error))?;
            config.session_storage = match min_version {
                MinVersion::Tls12 => Arc::<ServerSessionMemoryCache>::clone(&sessions),
                MinVersion::Tls13 => Arc::new(NoServerSessionStorage {}),
            };
            config.alpn_protocols.clone_from(&protocols);
            made.push((certificate, Arc::new(config)));
        }
        let mut server = Self {
            certificates: made,
            hosts: HashMap::new(),
            wildcards: HashMap::new(),
            addresses: HashMap::new(),
            default,
            identity,
        };
        for (index, (certificate, _)) in server.certificates.iter().enumerate() {
            for name in &certificate.names {
                match name {
                    CertificateName::Host(name) => server.hosts.entry(name.clone()).or_default().push(index),
                    CertificateName::Wildcard(rest) => server.wildcards.entry(rest.clone()).or_default().push(index),
                    CertificateName::Ip(ip) => server.addresses.entry(*ip).or_default().push(index),
                }
            }
        }
        Ok(server)
    }

    /// The configuration for a client; `None`: no certificate is for it, and it is told so (`unrecognized_name`, RFC 6066
    /// section 3). `local` is asked for only where the client names nobody.
    pub fn choose(
        &self,
        hello: &ClientHello<'_>,
        local: impl FnOnce() -> Option<IpAddr>,
    ) -> Option<&Arc<ServerConfig>> {
        let found = match hello.server_name() {
            Some(name) => self.by_name(name),
            None => local().and_then(|ip| self.addresses.get(&ip.to_canonical())),
        };
        let index = match found {
            // Of several that carry the name, the first whose key the client can verify.
            Some(several) => {
                let fits = |index: &&usize| {
                    let key = &self.certificates[**index].0.certified.key;
                    key.choose_scheme(hello.signature_schemes()).is_some()
                };
                several.iter().find(fits).or_else(|| several.first()).copied()
            }
            None => self.default,
        };
        index.map(|index| &self.certificates[index].1)
    }

    fn by_name(&self, name: &str) -> Option<&Vec<usize>> {
        let lower;
        let name = if name.bytes().any(|b| b.is_ascii_uppercase()) {
            lower = name.to_ascii_lowercase();
            lower.as_str()
        } else {
            name
        };
        let by_wildcard = || self.wildcards.get(name.split_once('.')?.1);
        self.hosts.get(name).or_else(by_wildcard)
    }

    /// The place of the certificate that this configuration is of.
    #[cfg(test)]
    pub(super) fn position(&self, config: &Arc<ServerConfig>) -> Option<usize> {
        self.certificates.iter().position(|(_, of)| Arc::ptr_eq(of, config))
    }

    /// Its certificates.
    pub fn certificates(&self) -> impl Iterator<Item = &Certificate> {
        self.certificates.iter().map(|(certificate, _)| certificate)
    }
}

impl PartialEq for Server {
    fn eq(&self, other: &Self) -> bool {
        self.identity == other.identity
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.certificates()).finish()
    }
}

pub(super) fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let found = found.map_err(|error| CertificateError::Unreadable(error.to_string()))?;
    if found.is_empty() { Err(CertificateError::Missing) } else { Ok(found) }
}

fn key_of(pem: &[u8]) -> Result<PrivateKeyDer<'static>, CertificateError> {
    if ENCRYPTED.iter().any(|mark| memchr::memmem::find(pem, mark).is_some()) {
        return Err(CertificateError::KeyEncrypted);
    }
    PrivateKeyDer::from_pem_slice(pem).map_err(|error| match error {
        rustls::pki_types::pem::Error::NoItemsFound => CertificateError::KeyMissing,
        // What it says may quote the file.
        _ => CertificateError::KeyUnusable("it is not PEM".to_owned()),
    })
}

/// A digest of parts, each with its length.
pub(super) fn identity<'b>(parts: impl IntoIterator<Item = &'b [u8]>) -> [u8; 32] {
    let mut context = digest::Context::new(&SHA256);
    for part in parts {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part);
    }
    let mut identity = [0; 32];
    identity.copy_from_slice(context.finish().as_ref());
    identity
}

fn identity_of(
    certificates: &[Certificate],
    default: Option<usize>,
    min_version: MinVersion,
    clients: Option<&ClientCertificates>,
    protocols: &[Vec<u8>],
) -> [u8; 32] {
    let clients = clients.map(|clients| (clients.authorities.identity, clients.required));
    let rest = format!("{default:?} {min_version:?} {clients:?} {protocols:?}");
    identity(certificates.iter().map(|certificate| &certificate.identity[..]).chain([rest.as_bytes()]))
}
