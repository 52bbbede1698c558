//! `[listener.tls]` and `[[tls]]`.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use rcgen::{CertificateParams, KeyPair};
use tempfile::TempDir;

use super::*;

/// A listener without its TLS, and a pool.
const FRONT: &str = "[[pool]]\nname = \"web\"\nnode = [{ id = \"web-1\", address = \"127.0.0.1:3000\" }]\n\
                     [[listener]]\nname = \"web\"\nlisten = \"127.0.0.1:8443\"\npool = \"web\"\n";

/// A folder of certificates.
struct Files(TempDir);

impl Files {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn write(&self, name: &str, text: &str, mode: u32) -> PathBuf {
        let file = self.0.path().join(name);
        std::fs::write(&file, text).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
        file
    }

    /// The files of a certificate for these names that ends in this year.
    fn certificate(&self, name: &str, names: &[&str], end: i32) -> (PathBuf, PathBuf) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>()).unwrap();
        params.not_after = rcgen::date_time_ymd(end, 1, 1);
        let certificate = params.self_signed(&key).unwrap();
        let file = self.write(&format!("{name}.pem"), &certificate.pem(), 0o644);
        (file, self.write(&format!("{name}.key"), &key.serialize_pem(), 0o600))
    }
}

fn listener(text: &str) -> crate::proxy::Listener {
    let loaded = of_text(&format!("{FRONT}{text}")).unwrap_or_else(|refused| panic!("{refused}"));
    assert_eq!(loaded.warnings, []);
    loaded.settings.peer.proxy.listeners[0].clone()
}

#[test]
fn certificates_stand_in_a_list_or_alone_and_every_file_is_told() {
    let files = Files::new();
    let ((shop, shop_key), (blog, blog_key)) =
        (files.certificate("shop", &["shop.test"], 2090), files.certificate("blog", &["blog.test"], 2090));
    let one = format!("{{ certificate_file = {shop:?}, key_file = {shop_key:?} }}");
    let alone = listener(&format!("[listener.tls]\ncertificates = {one}")).tls.expect("TLS");
    assert_eq!(alone, listener(&format!("[listener.tls]\ncertificates = [{one}]")).tls.expect("TLS"));
    assert_eq!(alone.handshake_timeout, crate::proxy::Tls::HANDSHAKE_TIMEOUT);

    let text = format!(
        "[listener.tls]\ndefault = \"blog.test\"\nmin_version = \"1.3\"\nhandshake_timeout = \"3s\"\n\
         client_certificates = {{ ca_file = {blog:?} }}\n\
         [[listener.tls.certificates]]\ncertificate_file = {shop:?}\nkey_file = {shop_key:?}\n\
         [[listener.tls.certificates]]\ncertificate_file = {blog:?}\nkey_file = {blog_key:?}\n"
    );
    let all = listener(&text).tls.expect("TLS");
    assert!(all != alone && all.handshake_timeout == Duration::from_secs(3));
    assert_eq!(all.server.certificates().count(), 2);
    let loaded = of_text(&format!("{FRONT}{text}")).unwrap();
    assert_eq!(loaded.files, [shop, shop_key, blog, blog_key].into());
    assert_eq!(listener("").tls, None);
}

#[test]
fn everything_that_is_wrong_with_files_is_told_at_once_with_the_file() {
    let files = Files::new();
    let (good, key) = files.certificate("good", &["shop.test"], 2090);
    let (_, other_key) = files.certificate("other", &["shop.test"], 2090);
    let encrypted = files.write(
        "encrypted.key",
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAA==\n-----END ENCRYPTED PRIVATE KEY-----\n",
        0o600,
    );
    let missing = files.0.path().join("missing.pem");
    let text = format!(
        "[listener.tls]\ncertificates = [\n\
         {{ certificate_file = {missing:?} }},\n\
         {{ certificate_file = {key:?} }},\n\
         {{ certificate_file = {good:?} }},\n\
         {{ certificate_file = {good:?}, key_file = {other_key:?} }},\n\
         {{ certificate_file = {good:?}, key_file = {encrypted:?} }},\n\
         ]\n"
    );
    let found = faults(of_text(&format!("{FRONT}{text}")));
    let told: Vec<_> = found.faults.iter().map(|fault| (fault.wrong.as_str(), fault.found.clone())).collect();
    let shown = |file: &PathBuf| Some(format!("\"{}\"", file.display()));
    assert_eq!(
        told,
        [
            ("there is no such file", shown(&missing)),
            ("there is no certificate in it", shown(&key)),
            ("there is no private key in it", shown(&good)),
            ("its private key does not belong to the certificate", shown(&other_key)),
            ("its private key is encrypted with a password", shown(&encrypted)),
        ]
    );
    let secret = std::fs::read_to_string(&other_key).unwrap();
    assert!(!found.to_string().contains(secret.lines().nth(1).unwrap()), "no key is shown");
}

#[test]
fn what_is_missing_or_names_nobody_is_refused() {
    let files = Files::new();
    let (good, key) = files.certificate("good", &["shop.test"], 2090);
    let one = format!("certificates = {{ certificate_file = {good:?}, key_file = {key:?} }}");
    for (text, key, wrong) in [
        ("[listener.tls]".to_owned(), "tls.certificates", "it is missing"),
        ("[listener.tls]\ncertificates = []".to_owned(), "tls.certificates", "it is empty"),
        (
            format!("[listener.tls]\n{one}\ndefault = \"blog.test\""),
            "tls.default",
            "no certificate of this listener carries it",
        ),
        (
            format!("[listener.tls]\n{one}\nclient_certificates = {{}}"),
            "tls.client_certificates.ca_file",
            "it is missing",
        ),
        (format!("[listener.tls]\n{one}\nmin_version = \"1.1\""), "tls.min_version", "it is none of these"),
    ] {
        let found = faults(of_text(&format!("{FRONT}{text}")));
        let fault = &found.faults[0];
        assert_eq!((found.count(), fault.key.as_str()), (1, format!("listener \"web\" {key}").as_str()), "{found}");
        assert_eq!(fault.wrong, wrong, "{found}");
    }
}

#[test]
fn a_certificate_that_is_over_and_a_key_that_everybody_may_read_are_warned_of() {
    let files = Files::new();
    let (old, key) = files.certificate("old", &["shop.test"], 2020);
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
    let text = format!("{FRONT}[listener.tls]\ncertificates = {{ certificate_file = {old:?}, key_file = {key:?} }}");
    let warnings = of_text(&text).unwrap_or_else(|refused| panic!("{refused}")).warnings;
    let told: Vec<&str> = warnings.iter().map(|warning| warning.message.as_str()).collect();
    assert!(told.iter().any(|told| told.contains("the certificate has expired")), "{told:?}");
    assert!(told.iter().any(|told| told.contains("everybody may read it")), "{told:?}");
}

#[test]
fn a_pool_names_a_profile_of_the_file() {
    let files = Files::new();
    let (ca, _) = files.certificate("ca", &["ca.test"], 2090);
    let front = FRONT.replacen("name = \"web\"", "name = \"web\"\ntls = \"inner\"", 1);
    let profile = format!("[[tls]]\nname = \"inner\"\nca_file = {ca:?}\nserver_name = \"db.test\"\n");
    let loaded = of_text(&format!("{front}{profile}")).unwrap_or_else(|refused| panic!("{refused}"));
    assert_eq!(loaded.settings.peer.tls.len(), 1);
    assert_eq!(loaded.settings.peer.catalog.pools()[0].tls.as_ref().map(crate::model::TlsName::as_str), Some("inner"));

    let found = faults(of_text(&front));
    assert_eq!((found.count(), found.faults[0].key.as_str()), (1, "pool \"web\" tls"), "{found}");
    let cluster = "[cluster]\nlisten = \"127.0.0.1:0\"\n";
    let loaded = of_text(&format!("{front}{cluster}")).unwrap_or_else(|refused| panic!("{refused}"));
    assert!(loaded.warnings.iter().any(|of| of.message.contains("does not use the nodes")), "{:?}", loaded.warnings);

    let twice = faults(of_text(&format!("{front}{profile}{profile}")));
    assert_eq!((twice.count(), twice.faults[0].wrong.as_str()), (1, "tls inner stands there twice"));
    let keyless = faults(of_text(&format!("{front}[[tls]]\nname = \"inner\"\nkey_file = {ca:?}\n")));
    assert_eq!(keyless.faults[0].wrong, "it is the key of no certificate", "{keyless}");
}
