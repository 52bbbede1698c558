//! Certificates and trust roots from bytes, made into what rustls wants.

mod client;
mod nodes;
mod server;
#[cfg(test)]
mod tests;
mod x509;

pub use client::{ClientConfigs, RootSource, Roots, TlsError, client_configs, server_name};
pub use nodes::{Inside, NodeTls, NodeTlsCell, NodeTlsError, Profile};
pub use server::{Authorities, Certificate, CertificateError, ClientCertificates, MinVersion, Server, ServerSettings};
pub use x509::CertificateName;
pub(crate) use x509::good_until_ms;
