//! Certificates and trust roots from bytes, made into what rustls wants.
