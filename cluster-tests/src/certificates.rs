//! A private authority and certificates of nodes, made for one test.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{BasicConstraints, Certificate, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};

use crate::raw::TlsClient;

/// An authority that no machine trusts on its own.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    /// A new one.
    pub fn new() -> Self {
        let mut parameters = CertificateParams::new(Vec::new()).expect("no names are fine names");
        // OpenSSL takes a certificate for self-signed whose issuer has its own name.
        parameters.distinguished_name.push(DnType::CommonName, "an authority of a test");
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        Self { issuer: CertifiedIssuer::self_signed(parameters, key).expect("an authority signs itself") }
    }

    /// Writes its certificate, for `SSL_CERT_FILE`.
    pub fn write(&self, folder: &Path) -> PathBuf {
        let file = folder.join("authority.pem");
        std::fs::write(&file, self.issuer.pem()).expect("a temporary folder takes a file");
        file
    }

    /// Its certificate, PEM.
    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// A certificate for `names` and its private key, both PEM.
    pub fn issue(&self, names: &[&str]) -> (String, String) {
        let (certificate, key) = self.signed(names);
        (certificate.pem(), key.serialize_pem())
    }

    /// Writes a certificate for `names` and its private key into a folder, as `<name>.pem` and `<name>.key`.
    pub fn issue_to(&self, folder: &Path, name: &str, names: &[&str]) -> (PathBuf, PathBuf) {
        let (certificate, key) = self.issue(names);
        let (certificate_file, key_file) = (folder.join(format!("{name}.pem")), folder.join(format!("{name}.key")));
        let modes = [(&certificate_file, certificate, 0o644), (&key_file, key, 0o600)];
        for (file, text, mode) in modes {
            // As certificates are replaced: the whole file at once.
            let new = folder.join(".new");
            std::fs::write(&new, text).expect("a temporary folder takes a file");
            std::fs::set_permissions(&new, std::fs::Permissions::from_mode(mode)).expect("a file of one's own");
            std::fs::rename(&new, file).expect("a temporary folder takes a file");
        }
        (certificate_file, key_file)
    }

    /// Writes a certificate for `names` and its private key into one file.
    pub fn issue_in_one(&self, folder: &Path, names: &[&str]) -> PathBuf {
        let (certificate, key) = self.issue(names);
        let file = folder.join("both.pem");
        std::fs::write(&file, format!("{certificate}{key}")).expect("a temporary folder takes a file");
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).expect("a file of one's own");
        file
    }

    /// A client that trusts it alone, and asks for `name`.
    pub fn client(&self, name: &str) -> TlsClient {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("the provider speaks TLS 1.3")
            .with_root_certificates(self.roots())
            .with_no_client_auth();
        let name = ServerName::try_from(name.to_owned()).expect("a host name");
        TlsClient { config: Arc::new(config), name }
    }

    /// What a TLS server with a certificate for `names` needs.
    pub fn server(&self, names: &[&str]) -> Arc<ServerConfig> {
        self.server_with(names, WebPkiClientVerifier::no_client_auth())
    }

    /// The same for one that takes clients with a certificate of this authority, and nobody else.
    pub fn server_asking_clients(&self, names: &[&str]) -> Arc<ServerConfig> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(self.roots()), provider);
        self.server_with(names, verifier.build().expect("an authority is one"))
    }

    fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).expect("an authority is one");
        roots
    }

    fn server_with(&self, names: &[&str], clients: Arc<dyn ClientCertVerifier>) -> Arc<ServerConfig> {
        let (certificate, key) = self.signed(names);
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("the provider speaks TLS 1.3")
            .with_client_cert_verifier(clients)
            .with_single_cert(vec![certificate.der().clone()], key)
            .expect("a certificate fits its key");
        Arc::new(config)
    }

    fn signed(&self, names: &[&str]) -> (Certificate, KeyPair) {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let key = KeyPair::generate().expect("a key");
        let parameters = CertificateParams::new(names).expect("names are host names");
        (parameters.signed_by(&key, &self.issuer).expect("an authority signs"), key)
    }
}

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Authority")
    }
}
