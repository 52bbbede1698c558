//! Certificates and trust roots from bytes, made into what rustls wants.

mod client;

pub use client::{ClientConfigs, RootSource, Roots, TlsError, client_configs, server_name};
