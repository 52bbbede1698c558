//! `[listener.tls]` and `[[tls]]`: the files that they name are read with the settings, so that `evenkeel check` finds what is wrong with them.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls_pki_types::ServerName;
use zeroize::Zeroizing;

use super::certificate_file;
use super::path::FILE;
use crate::document::{Choice, Fault, Origin, Section, Span, Words, Wrong, YesNo, name, quoted};
use crate::host;
use crate::model::TlsName;
use crate::model::limits::{CERTIFICATES_PER_LISTENER_MAX, TLS_PROFILES_MAX};
use crate::proxy::Tls;
use crate::tls::{
    Authorities, Certificate, CertificateError, ClientCertificates, MinVersion, Profile, Server, ServerSettings,
};

const SECOND: Duration = Duration::from_secs(1);
const MINUTES_5: Duration = Duration::from_secs(300);

const MIN_VERSION: Choice<MinVersion> = Choice::of(&[("1.2", MinVersion::Tls12), ("1.3", MinVersion::Tls13)]);

const HOST: Words<String> = Words::of(
    "a name that one of the certificates carries",
    |text| if text.is_empty() { Err(Wrong::new("it is empty")) } else { Ok(text.to_owned()) },
    quoted,
);

/// `[listener.tls]`; `None` where it is left out, or wrong. `protocols`: what is spoken inside, for ALPN.
pub(super) fn listener(s: &mut Section<'_, '_, '_>, protocols: &[&[u8]]) -> Option<Tls> {
    let is_written = s.is_set("tls") || s.reader().is_describing();
    s.table("tls", "TLS of a listener. Left out: clients speak without it.", |s| {
        if is_written { server(s, protocols) } else { None }
    })
}

fn server(s: &mut Section<'_, '_, '_>, protocols: &[&[u8]]) -> Option<Tls> {
    let certificates = s.list_or_one(
        "certificates",
        "A certificate of a listener; also written `certificates = [{ certificate_file = \"...\", key_file = \"...\" }]`, or one \
         without the list. A client gets the first that carries the \
         name that it asks for, a whole name before one with a star, and whose key it knows.",
        certificate,
    );
    let default: Option<String> = s.optional(
        "default",
        &HOST,
        "none",
        "Which certificate clients get that ask for a name that none carries, or for no name: that which carries this one. Left \
         out: they are refused (`unrecognized_name`), except one that asks for no name and comes to an address that a certificate \
         carries.",
    );
    let min_version = s.key(
        "min_version",
        &MIN_VERSION,
        MinVersion::Tls12,
        "The least version that is spoken. TLS 1.2 has forward secrecy and authenticated encryption only; 1.0 and 1.1 are not \
         spoken at all (RFC 8996).",
    );
    let handshake_timeout = s.key(
        "handshake_timeout",
        &Span(SECOND / 100, MINUTES_5),
        Tls::HANDSHAKE_TIMEOUT,
        "How long a client may take from its connection to the end of its handshake.",
    );
    let asks_clients = s.is_set("client_certificates") || s.reader().is_describing();
    let clients =
        s.table("client_certificates", "Certificates that clients show. Left out: none are asked for.", |s| {
            if asks_clients { clients(s) } else { None }
        });
    if s.reader().is_describing() {
        return None;
    }
    let is_damaged = s.reader().is_damaged();
    if certificates.is_empty() && !s.is_set("certificates") && !is_damaged {
        let fault = Fault::new(s.origin(), s.path_of("certificates"), "it is missing").hint(
            "write certificates = [{ certificate_file = \"/etc/evenkeel/shop.pem\", key_file = \"/etc/evenkeel/shop.key\" }]",
        );
        s.reader().fault(fault);
    }
    if certificates.is_empty() && s.is_set("certificates") && !is_damaged {
        let fault = Fault::new(s.origin_of("certificates"), s.path_of("certificates"), "it is empty")
            .allowed("at least one certificate");
        s.reader().fault(fault);
    }
    if certificates.len() > CERTIFICATES_PER_LISTENER_MAX {
        let wrong = format!("{} are more than the {CERTIFICATES_PER_LISTENER_MAX} allowed", certificates.len());
        let fault = Fault::new(s.origin_of("certificates"), s.path_of("certificates"), wrong);
        s.reader().fault(fault);
        return None;
    }
    let certificates: Vec<Certificate> = certificates.into_iter().collect::<Option<_>>()?;
    let default = default.map(|name| position(s, &certificates, &name));
    if certificates.is_empty() || (asks_clients && clients.is_none()) || default == Some(None) {
        return None;
    }
    let protocols = protocols.iter().map(|name| name.to_vec()).collect();
    let settings = ServerSettings { certificates, default: default.flatten(), min_version, clients, protocols };
    match Server::new(settings) {
        Ok(server) => Some(Tls { server: Arc::new(server), handshake_timeout }),
        Err(error) => {
            let fault = Fault::new(s.origin(), s.name().to_owned(), error.to_string());
            s.reader().fault(fault);
            None
        }
    }
}

fn position(s: &mut Section<'_, '_, '_>, certificates: &[Certificate], name: &str) -> Option<usize> {
    /// More are not listed.
    const NAMED_MAX: usize = 20;
    let found = certificates.iter().position(|certificate| certificate.carries(name));
    if found.is_none() {
        let names = certificates.iter().flat_map(Certificate::names).take(NAMED_MAX);
        let names: Vec<String> = names.map(quoted).collect();
        let fault =
            Fault::new(s.origin_of("default"), s.path_of("default"), "no certificate of this listener carries it")
                .found(quoted(&name))
                .allowed(names.join(", "));
        s.reader().fault(fault);
    }
    found
}

fn clients(s: &mut Section<'_, '_, '_>) -> Option<ClientCertificates> {
    let ca_file = s.required("ca_file", &FILE, "The authorities whose certificates are taken, PEM.");
    let required = s.key(
        "required",
        &YesNo,
        true,
        "Whether a client without a certificate is refused. One with a certificate of somebody else always is.",
    );
    Some(ClientCertificates { authorities: authorities(s, "ca_file", &ca_file?)?, required })
}

const SERVER_NAME: Words<ServerName<'static>> = Words::of(
    "a host name or an IP address",
    |text| ServerName::try_from(text.to_owned()).map_err(|_| Wrong::new("it is neither a host name nor an IP address")),
    |name| quoted(&name.to_str()),
);

/// `[[tls]]`: how TLS is spoken to the nodes of pools that name it.
pub(super) fn profiles(s: &mut Section<'_, '_, '_>) -> Vec<Profile> {
    let read =
        s.list("tls", "How this peer speaks TLS to the nodes of pools that name it: `tls = \"<name>\"`.", profile);
    let names = read.iter().filter_map(|(name, _)| name.as_ref()).map(|(name, origin)| (name, origin.clone()));
    let words = |name: &_| (format!("tls \"{name}\" name"), format!("tls {name} stands there twice"));
    s.reader().refuse_twice(names, words);
    if read.len() > TLS_PROFILES_MAX {
        let wrong = format!("{} are more than the {TLS_PROFILES_MAX} allowed", read.len());
        let fault = Fault::new(s.origin_of("tls"), "tls", wrong);
        s.reader().fault(fault);
    }
    read.into_iter().filter_map(|(_, profile)| profile).collect()
}

fn profile(s: &mut Section<'_, '_, '_>) -> (Option<(TlsName, Origin)>, Option<Profile>) {
    let name: Option<TlsName> = s.required("name", &name(), "Its name, unique in the peer. Pools name it.");
    if let Some(name) = &name {
        s.called("tls", name, "");
    }
    let ca_file: Option<PathBuf> = s.optional(
        "ca_file",
        &FILE,
        "the machine's trust roots",
        "The authorities whose certificates nodes may show, PEM; nobody else is trusted then.",
    );
    let certificate_file: Option<PathBuf> = s.optional(
        "certificate_file",
        &FILE,
        "none",
        "What this peer shows to nodes that ask for a certificate, PEM, its own first.",
    );
    let key_file: Option<PathBuf> = s.optional(
        "key_file",
        &FILE,
        "`certificate_file`",
        "The private key of that, PEM, without a password. Left out: it is in the same file.",
    );
    let server_name = s.optional(
        "server_name",
        &SERVER_NAME,
        "the node's own",
        "The name that a node's certificate must carry, and that it is asked for. Left out: that of its address.",
    );
    if key_file.is_some() && certificate_file.is_none() {
        let fault = Fault::new(s.origin_of("key_file"), s.path_of("key_file"), "it is the key of no certificate")
            .hint("name the certificate with certificate_file, or remove it");
        s.reader().fault(fault);
    }
    let authorities = ca_file.as_ref().map(|file| authorities(s, "ca_file", file));
    let certificate = certificate_file.map(|file| pair(s, &file, key_file.as_deref()));
    let named = name.clone().map(|name| (name, s.origin_of("name")));
    let profile = match (name, authorities, certificate) {
        (None, ..) | (_, Some(None), _) | (.., Some(None)) => None,
        (Some(name), authorities, certificate) => {
            let (authorities, certificate) = (authorities.flatten(), certificate.flatten());
            Some(Profile { name, authorities, certificate, server_name })
        }
    };
    (named, profile)
}

/// The authorities of a file; `None` where something is wrong with it, which is reported.
fn authorities(s: &mut Section<'_, '_, '_>, key: &'static str, file: &Path) -> Option<Authorities> {
    let pem = certificate_file::read(s, key, file)?;
    Authorities::from_pem(&pem).map_err(|error| refuse(s, key, file, &error)).ok()
}

fn certificate(s: &mut Section<'_, '_, '_>) -> Option<Certificate> {
    let certificate_file: Option<PathBuf> = s.required(
        "certificate_file",
        &FILE,
        "The certificate and those between it and its authority, PEM, its own first.",
    );
    let key_file: Option<PathBuf> = s.optional(
        "key_file",
        &FILE,
        "`certificate_file`",
        "Its private key, PEM, without a password. Left out: it is in the same file.",
    );
    pair(s, &certificate_file?, key_file.as_deref())
}

/// The certificate of these files; `None` where something is wrong with them, which is reported.
fn pair(s: &mut Section<'_, '_, '_>, file: &Path, key_file: Option<&Path>) -> Option<Certificate> {
    let chain = certificate_file::read(s, "certificate_file", file);
    let (key_key, key_file) = key_file.map_or(("certificate_file", file), |key_file| ("key_file", key_file));
    let key = match key_key {
        "key_file" => certificate_file::read(s, key_key, key_file),
        _ => chain.clone(),
    };
    let (chain, key): (Zeroizing<Vec<u8>>, _) = (chain?, key?);
    certificate_file::warn_if_open(s, key_key, key_file);
    match Certificate::from_pem(&chain, &key) {
        Ok(certificate) => {
            if let Some(wrong) = certificate.out_of_time(host::wall_now()) {
                let (origin, path) = (s.origin_of("certificate_file"), s.path_of("certificate_file"));
                let message = format!("{}: {wrong}; clients refuse it", file.display());
                s.reader().warn(origin, path, message);
            }
            Some(certificate)
        }
        Err(error) if error.is_of_key() => {
            refuse(s, key_key, key_file, &error);
            None
        }
        Err(error) => {
            refuse(s, "certificate_file", file, &error);
            None
        }
    }
}

fn refuse(s: &mut Section<'_, '_, '_>, key: &'static str, file: &Path, error: &CertificateError) {
    let mut fault = Fault::new(s.origin_of(key), s.path_of(key), error.to_string()).found(quoted(&file.display()));
    fault.hint = match error {
        CertificateError::KeyEncrypted => {
            Some("write it without one: `openssl pkey -in FILE -out NEW`, mode 0600".to_owned())
        }
        CertificateError::KeyMissing if key == "certificate_file" => {
            Some("name the file that has it with key_file = \"...\"".to_owned())
        }
        CertificateError::KeyMismatch => Some(
            "the file begins with the certificate that the key is of, and those of its authority follow".to_owned(),
        ),
        _ => None,
    };
    s.reader().fault(fault);
}
