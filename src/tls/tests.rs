use rcgen::{CertificateParams, KeyPair};

use super::*;

/// PEM of a certificate with these names, and of its key.
fn made(names: &[&str]) -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>()).unwrap();
    (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
}

fn certificate(names: &[&str]) -> Certificate {
    let (chain, key) = made(names);
    Certificate::from_pem(chain.as_bytes(), key.as_bytes()).unwrap()
}

fn settings(certificates: Vec<Certificate>) -> ServerSettings {
    ServerSettings { certificates, default: None, min_version: MinVersion::Tls12, clients: None, protocols: Vec::new() }
}

#[test]
fn a_certificate_and_its_key_may_stand_in_one_file() {
    let (chain, key) = made(&["shop.example"]);
    for file in [format!("{chain}{key}"), format!("{key}{chain}")] {
        let read = Certificate::from_pem(file.as_bytes(), file.as_bytes()).unwrap();
        assert!(read.carries("SHOP.example") && !read.carries("example"));
    }
}

#[test]
fn what_is_wrong_with_a_certificate_is_said_of_the_file_that_has_it() {
    let (chain, key) = made(&["shop.example"]);
    let (_, other_key) = made(&["shop.example"]);
    let (nameless, nameless_key) = made(&[]);
    let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIIB\n-----END ENCRYPTED PRIVATE KEY-----\n";
    let broken = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";
    for (chain, key, said, is_of_key) in [
        ("", key.as_str(), "there is no certificate in it", false),
        (key.as_str(), key.as_str(), "there is no certificate in it", false),
        (broken, key.as_str(), "a certificate in it cannot be read: it is no X.509", false),
        (
            nameless.as_str(),
            nameless_key.as_str(),
            "its certificate names no host and no address (subjectAltName)",
            false,
        ),
        (chain.as_str(), chain.as_str(), "there is no private key in it", true),
        (chain.as_str(), encrypted, "its private key is encrypted with a password", true),
        (chain.as_str(), other_key.as_str(), "its private key does not belong to the certificate", true),
    ] {
        let error = Certificate::from_pem(chain.as_bytes(), key.as_bytes()).unwrap_err();
        assert_eq!((error.to_string().as_str(), error.is_of_key()), (said, is_of_key));
    }
}

#[test]
fn nothing_of_a_key_is_shown() {
    let (chain, key) = made(&["shop.example"]);
    let read = Certificate::from_pem(chain.as_bytes(), key.as_bytes()).unwrap();
    assert_eq!(format!("{read:?}"), "[\"shop.example\"]");
    let server = Server::new(settings(vec![read])).unwrap();
    assert_eq!(format!("{server:?}"), "[[\"shop.example\"]]");
}

#[test]
fn two_are_the_same_when_they_were_made_of_the_same() {
    let (one, other) = (certificate(&["a.example"]), certificate(&["a.example"]));
    let made = |settings: ServerSettings| Server::new(settings).unwrap();
    let first = made(settings(vec![one.clone()]));
    assert_eq!(first, made(settings(vec![one.clone()])));
    assert_ne!(first, made(settings(vec![other.clone()])));
    assert_ne!(first, made(settings(vec![one.clone(), other])));
    assert_ne!(first, made(ServerSettings { default: Some(0), ..settings(vec![one.clone()]) }));
    assert_ne!(first, made(ServerSettings { min_version: MinVersion::Tls13, ..settings(vec![one.clone()]) }));
    let (authority, _) = self::made(&["ca.example"]);
    let authorities = Authorities::from_pem(authority.as_bytes()).unwrap();
    let clients = |required| Some(ClientCertificates { authorities: authorities.clone(), required });
    let required = made(ServerSettings { clients: clients(true), ..settings(vec![one.clone()]) });
    assert_ne!(first, required);
    assert_ne!(required, made(ServerSettings { clients: clients(false), ..settings(vec![one]) }));
}

/// Which certificate a client gets that asks for `name` at `local`.
fn chosen(server: &Server, name: Option<&str>, local: &str) -> Option<usize> {
    let configs = ClientConfigs::trusting([]).unwrap();
    let mut config = (*configs.plain).clone();
    config.enable_sni = name.is_some();
    let name = server_name(&crate::model::Host::Name(name.unwrap_or("none.example").into())).unwrap();
    let mut client = rustls::ClientConnection::new(std::sync::Arc::new(config), name).unwrap();
    let mut hello = Vec::new();
    client.write_tls(&mut hello).unwrap();
    let mut acceptor = rustls::server::Acceptor::default();
    acceptor.read_tls(&mut &hello[..]).unwrap();
    let accepted = acceptor.accept().unwrap_or_else(|(error, _)| panic!("{error}")).unwrap();
    let config = server.choose(&accepted.client_hello(), || local.parse().ok())?;
    server.position(config)
}

#[test]
fn a_client_gets_the_certificate_of_its_name_and_never_another_ones() {
    let certificates = vec![
        certificate(&["shop.example", "192.0.2.7"]),
        certificate(&["*.shop.example"]),
        certificate(&["b.example"]),
    ];
    let server = Server::new(settings(certificates.clone())).unwrap();
    let nowhere = "198.51.100.1";
    for (name, index) in [
        ("shop.example", Some(0)),
        ("SHOP.example", Some(0)),
        ("www.shop.example", Some(1)),
        ("b.example", Some(2)),
        ("a.b.shop.example", None),
        ("www.b.example", None),
        ("example", None),
        ("c.example", None),
    ] {
        assert_eq!(chosen(&server, Some(name), nowhere), index, "{name}");
    }
    assert_eq!(chosen(&server, None, nowhere), None, "no name, and no certificate for the address");
    assert_eq!(chosen(&server, None, "192.0.2.7"), Some(0));
    assert_eq!(chosen(&server, None, "::ffff:192.0.2.7"), Some(0));
    assert_eq!(chosen(&server, Some("c.example"), "192.0.2.7"), None, "whoever names somebody is believed");

    let with_default = Server::new(ServerSettings { default: Some(2), ..settings(certificates) }).unwrap();
    assert_eq!(chosen(&with_default, Some("c.example"), nowhere), Some(2));
    assert_eq!(chosen(&with_default, None, nowhere), Some(2));
    assert_eq!(chosen(&with_default, None, "192.0.2.7"), Some(0));
}

#[test]
fn of_two_certificates_of_one_name_the_first_is_taken() {
    let server =
        Server::new(settings(vec![certificate(&["a.example"]), certificate(&["a.example", "b.example"])])).unwrap();
    assert_eq!(chosen(&server, Some("a.example"), "::1"), Some(0));
    assert_eq!(chosen(&server, Some("b.example"), "::1"), Some(1));
}

#[test]
fn the_post_quantum_group_is_offered_first() {
    let groups = rustls::crypto::aws_lc_rs::default_provider().kx_groups;
    assert_eq!(groups.first().map(|group| group.name()), Some(rustls::NamedGroup::X25519MLKEM768));
}
