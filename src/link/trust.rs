//! Which peers are taken: made from cluster keys, or from the files of an authority of the user's own.
//!
//! From a key every process derives the same authority, certificate and all, and issues itself a certificate under a key
//! that is new at every start. The clock plays no part: both are valid from 1975 to 4096.
//!
//! A certificate carries two names. One is the cluster's, `<cluster>.cluster.evenkeel`: it is what a peer dials, because it
//! does not know yet who answers at a seed's address, and it keeps two clusters under one authority apart. The other is the
//! peer's, `<id>.peer.evenkeel`, against which the hello is checked. Names are looked at in both directions, unlike in TLS
//! for browsers. The endings keep ids, clusters and hosts apart, and make a name of an id like `1` or `10.0.0.1`.

use std::fmt;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, SerialNumber,
};
use rustls::client::verify_server_name;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use rustls::version::TLS13;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use zeroize::Zeroizing;

use super::key::{ClusterKey, KeyRing, ResetSecret};
use super::protocols::Protocols;
use crate::model::{ClusterName, PeerId};

/// What the cluster's name in a certificate ends with.
const CLUSTER_SUFFIX: &str = ".cluster.evenkeel";
/// What a peer's name in a certificate ends with.
const PEER_SUFFIX: &str = ".peer.evenkeel";
/// PKCS#8 version 1 of an Ed25519 key, up to its 32 bytes of seed (RFC 8410 section 7).
const ED25519_PKCS8: [u8; 16] =
    [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];

/// Why trust cannot be set up.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum TrustError {
    /// An id that is legal, and yet no name for a certificate.
    #[error(
        "peer id {0:?} cannot stand in a certificate; let it end in a letter or digit, and no two . follow each other"
    )]
    Id(PeerId),
    /// A cluster name that is legal, and yet no name for a certificate.
    #[error(
        "cluster name {0:?} cannot stand in a certificate; let it end in a letter or digit, and no two . follow each other"
    )]
    Cluster(ClusterName),
    /// A file of the user's that cannot be read as what it should be.
    #[error("{what} cannot be read: {why}; it is to be PEM")]
    Pem {
        /// Which file.
        what: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// The certificate does not carry a name that it needs.
    #[error(
        "the certificate does not name {0:?}; issue one with both names, <id>{PEER_SUFFIX} and <cluster>{CLUSTER_SUFFIX}"
    )]
    NameMissing(String),
    /// The library of TLS refuses.
    #[error("TLS between peers cannot be set up: {0}")]
    Setup(String),
}

impl From<rcgen::Error> for TrustError {
    fn from(error: rcgen::Error) -> Self {
        Self::Setup(error.to_string())
    }
}

impl From<rustls::Error> for TrustError {
    fn from(error: rustls::Error) -> Self {
        Self::Setup(error.to_string())
    }
}

/// Where trust comes from.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum TrustSource {
    /// The authority that is derived from cluster keys.
    Keys(KeyRing),
    /// An authority of the user's own.
    Authority(AuthorityFiles),
}

/// What the user's own authority gave: contents of files, all PEM.
#[derive(Clone, Eq, PartialEq)]
pub struct AuthorityFiles {
    /// Certificates of the authorities that are trusted.
    pub authorities: Vec<u8>,
    /// This peer's certificate, and those between it and the authority.
    pub certificate: Vec<u8>,
    /// The private key of the certificate.
    pub key: Zeroizing<Vec<u8>>,
}

impl fmt::Debug for AuthorityFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AuthorityFiles")
    }
}

/// What TLS between peers needs at one peer.
#[derive(Clone)]
pub(super) struct Trust {
    /// For dialing.
    pub(super) client: Arc<ClientConfig>,
    /// For being dialed.
    pub(super) server: Arc<ServerConfig>,
    /// The name that is dialed: every peer of the cluster has it.
    pub(super) cluster_name: ServerName<'static>,
}

impl Trust {
    /// Sets up trust for the peer `id` of `cluster`.
    pub(super) fn new(
        source: &TrustSource,
        protocols: Protocols,
        cluster: &ClusterName,
        id: &PeerId,
    ) -> Result<Self, TrustError> {
        let cluster_name = name_of_cluster(cluster)?;
        let id_name = name_of_peer(id)?;
        let provider = Arc::new(aws_lc_rs::default_provider());
        let Identity { roots, chain, key } = match source {
            TrustSource::Keys(ring) => Identity::issue(ring, [&id_name.to_str(), &cluster_name.to_str()])?,
            TrustSource::Authority(files) => Identity::read(files)?,
        };
        if let Some(leaf) = chain.first() {
            for name in [&id_name, &cluster_name] {
                if !carries(leaf, name) {
                    return Err(TrustError::NameMissing(name.to_str().into_owned()));
                }
            }
        }
        Ok(Self {
            client: Arc::new(client(&provider, &roots, protocols, chain.clone(), key.clone_key())?),
            server: Arc::new(server(&provider, roots, protocols, chain, key)?),
            cluster_name,
        })
    }
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trust").field("cluster_name", &self.cluster_name).finish_non_exhaustive()
    }
}

impl TrustSource {
    /// What the restarted process of `id` has in common with this one.
    pub(super) fn reset_secret(&self, id: &PeerId) -> ResetSecret {
        match self {
            Self::Keys(ring) => ring.issuing().reset_secret(id),
            Self::Authority(files) => ResetSecret::of_private_key(&files.key, id),
        }
    }
}

/// Whether the certificate of another peer says that it is the peer `id` of the cluster that is called `cluster_name`.
pub(super) fn names_peer(certificate: &CertificateDer<'_>, cluster_name: &ServerName<'_>, id: &PeerId) -> bool {
    name_of_peer(id).is_ok_and(|name| carries(certificate, &name)) && carries(certificate, cluster_name)
}

fn carries(certificate: &CertificateDer<'_>, name: &ServerName<'_>) -> bool {
    ParsedCertificate::try_from(certificate).is_ok_and(|certificate| verify_server_name(&certificate, name).is_ok())
}

fn name_of_peer(id: &PeerId) -> Result<ServerName<'static>, TrustError> {
    ServerName::try_from(format!("{id}{PEER_SUFFIX}")).map_err(|_| TrustError::Id(id.clone()))
}

fn name_of_cluster(cluster: &ClusterName) -> Result<ServerName<'static>, TrustError> {
    ServerName::try_from(format!("{cluster}{CLUSTER_SUFFIX}")).map_err(|_| TrustError::Cluster(cluster.clone()))
}

/// What this peer shows and what it trusts.
struct Identity {
    roots: Arc<RootCertStore>,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl Identity {
    /// A certificate of the first key of the ring; every key's authority is trusted.
    fn issue(ring: &KeyRing, names: [&str; 2]) -> Result<Self, TrustError> {
        let mut roots = RootCertStore::empty();
        for key in ring.trusted() {
            roots.add(authority(key)?.der().clone())?;
        }
        let mut parameters = CertificateParams::new(names.map(str::to_owned))?;
        parameters.distinguished_name = DistinguishedName::new();
        parameters.distinguished_name.push(DnType::CommonName, names[0]);
        parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        let key = KeyPair::generate_for(&rcgen::PKCS_ED25519)?;
        let issuer = authority(ring.issuing())?;
        let certificate = parameters.signed_by(&key, &issuer)?;
        Ok(Self {
            roots: Arc::new(roots),
            chain: vec![certificate.der().clone()],
            key: PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der())),
        })
    }

    fn read(files: &AuthorityFiles) -> Result<Self, TrustError> {
        let mut roots = RootCertStore::empty();
        for certificate in certificates("the file of authorities", &files.authorities)? {
            roots
                .add(certificate)
                .map_err(|error| TrustError::Pem { what: "the file of authorities", why: error.to_string() })?;
        }
        let chain = certificates("the file of the certificate", &files.certificate)?;
        let key = PrivateKeyDer::from_pem_slice(&files.key)
            .map_err(|error| TrustError::Pem { what: "the file of the private key", why: error.to_string() })?;
        Ok(Self { roots: Arc::new(roots), chain, key })
    }
}

fn certificates(what: &'static str, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TrustError> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let found = found.map_err(|error| TrustError::Pem { what, why: error.to_string() })?;
    if found.is_empty() {
        return Err(TrustError::Pem { what, why: "no certificate stands in it".to_owned() });
    }
    Ok(found)
}

/// The authority of a key: the same bytes in every process, for its signature too is fixed by key and content.
fn authority(key: &ClusterKey) -> Result<CertifiedIssuer<'static, KeyPair>, TrustError> {
    let mut pkcs8 = Zeroizing::new(Vec::with_capacity(ED25519_PKCS8.len() + 32));
    pkcs8.extend_from_slice(&ED25519_PKCS8);
    pkcs8.extend_from_slice(key.authority_seed().as_slice());
    let pair = KeyPair::try_from(&PrivatePkcs8KeyDer::from(pkcs8.as_slice()))?;
    let mut parameters = CertificateParams::new(Vec::new())?;
    parameters.distinguished_name = DistinguishedName::new();
    parameters.distinguished_name.push(DnType::CommonName, format!("evenkeel cluster {}", key.fingerprint()));
    parameters.serial_number = Some(SerialNumber::from_slice(&[1]));
    parameters.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    Ok(CertifiedIssuer::self_signed(parameters, pair)?)
}

fn client(
    provider: &Arc<CryptoProvider>,
    roots: &Arc<RootCertStore>,
    protocols: Protocols,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<ClientConfig, TrustError> {
    let mut config = ClientConfig::builder_with_provider(Arc::clone(provider))
        .with_protocol_versions(&[&TLS13])?
        .with_root_certificates(Arc::clone(roots))
        .with_client_auth_cert(chain, key)?;
    config.alpn_protocols = protocols.names();
    // A resumed session would be judged by the keys of the day it began, and not by those of a rotation since.
    config.resumption = rustls::client::Resumption::disabled();
    Ok(config)
}

fn server(
    provider: &Arc<CryptoProvider>,
    roots: Arc<RootCertStore>,
    protocols: Protocols,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<ServerConfig, TrustError> {
    let verifier = WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(provider))
        .build()
        .map_err(|error| TrustError::Setup(error.to_string()))?;
    let mut config = ServerConfig::builder_with_provider(Arc::clone(provider))
        .with_protocol_versions(&[&TLS13])?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)?;
    config.alpn_protocols = protocols.names();
    config.send_tls13_tickets = 0;
    config.max_early_data_size = 0;
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ring(byte: u8) -> KeyRing {
        let text = format!("evenkeel-key-1:{}", ["A", "B", "C"][usize::from(byte)].repeat(42) + "A");
        KeyRing::parse(&text).unwrap()
    }

    fn leaf(ring: &KeyRing, id: &str, cluster: &str) -> CertificateDer<'static> {
        let names = [format!("{id}{PEER_SUFFIX}"), format!("{cluster}{CLUSTER_SUFFIX}")];
        Identity::issue(ring, [&names[0], &names[1]]).unwrap().chain.remove(0)
    }

    #[test]
    fn every_process_derives_the_same_authority_from_a_key() {
        let (first, second) = (authority(ring(0).issuing()).unwrap(), authority(ring(0).issuing()).unwrap());
        assert_eq!(first.der(), second.der());
        assert_ne!(first.der(), authority(ring(1).issuing()).unwrap().der());
    }

    #[test]
    fn a_certificate_names_one_peer_of_one_cluster() {
        let certificate = leaf(&ring(0), "ams-1", "prod");
        let names = |cluster: &str, id: &str| {
            let cluster = name_of_cluster(&cluster.parse().unwrap()).unwrap();
            names_peer(&certificate, &cluster, &id.parse().unwrap())
        };
        assert!(names("prod", "ams-1"));
        assert!(!names("prod", "ams-2"));
        assert!(!names("test", "ams-1"));
        assert!(!names("prod", "prod.cluster.evenkeel"), "the cluster's name is nobody's id");
        assert!(!names("ams-1.peer.evenkeel", "ams-1"));
    }

    #[test]
    fn an_id_that_no_certificate_can_carry_is_refused_at_start() {
        let new = |cluster: &str, id: &str| {
            Trust::new(&TrustSource::Keys(ring(0)), Protocols::OWN, &cluster.parse().unwrap(), &id.parse().unwrap())
                .map(|_| ())
        };
        for good in ["ams-1", "peer_7", "a.b", "10.0.0.1", "0", &"x".repeat(63)] {
            assert_eq!(new("prod", good), Ok(()), "{good}");
        }
        for bad in ["a..b", "a."] {
            assert_eq!(new("prod", bad), Err(TrustError::Id(bad.parse().unwrap())), "{bad}");
        }
        assert_eq!(new("a..b", "ams-1"), Err(TrustError::Cluster("a..b".parse().unwrap())));
    }

    #[test]
    fn files_of_an_authority_serve_as_well_and_are_checked_for_both_names() {
        let issuer = authority(ring(0).issuing()).unwrap();
        let key = KeyPair::generate().unwrap();
        let files = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
            let certificate = CertificateParams::new(names).unwrap().signed_by(&key, &issuer).unwrap();
            TrustSource::Authority(AuthorityFiles {
                authorities: issuer.pem().into_bytes(),
                certificate: certificate.pem().into_bytes(),
                key: Zeroizing::new(key.serialize_pem().into_bytes()),
            })
        };
        let new = |source: &TrustSource| {
            Trust::new(source, Protocols::OWN, &"prod".parse().unwrap(), &"ams-1".parse().unwrap()).map(|_| ())
        };
        let [peer, cluster] = ["ams-1.peer.evenkeel", "prod.cluster.evenkeel"];
        assert_eq!(new(&files(&[peer, cluster, "host.example"])), Ok(()));
        assert_eq!(new(&files(&[peer])), Err(TrustError::NameMissing(cluster.to_owned())));
        assert_eq!(new(&files(&[cluster, "ams-1"])), Err(TrustError::NameMissing(peer.to_owned())));
        let TrustSource::Authority(mut files) = files(&[peer, cluster]) else { unreachable!() };
        files.certificate = b"nothing".to_vec();
        let error = new(&TrustSource::Authority(files)).unwrap_err();
        assert!(matches!(error, TrustError::Pem { what: "the file of the certificate", .. }), "{error}");
    }
}
