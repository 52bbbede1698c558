//! TLS to nodes: by the machine's trust roots, or by profiles that a peer's file has and pools name.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;

use super::client::{self, ClientConfigs, TlsError, server_name};
use super::server::{Authorities, Certificate};
use crate::model::{Host, TlsName, Transport};

/// A profile as a peer's file has it.
#[derive(Clone, Debug)]
pub struct Profile {
    /// What pools name it by.
    pub name: TlsName,
    /// Who is trusted, instead of the machine's roots.
    pub authorities: Option<Authorities>,
    /// What this peer shows to nodes.
    pub certificate: Option<Certificate>,
    /// What a node's certificate must carry; `None`: the node's own name or address.
    pub server_name: Option<ServerName<'static>>,
}

impl PartialEq for Profile {
    fn eq(&self, other: &Self) -> bool {
        let of = |profile: &Self| {
            let authorities = profile.authorities.as_ref().map(|of| of.identity);
            (authorities, profile.certificate.as_ref().map(|of| *of.identity()))
        };
        self.name == other.name && self.server_name == other.server_name && of(self) == of(other)
    }
}

/// What is spoken inside of TLS.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Inside {
    /// HTTP/1.1, which ALPN says.
    Http,
    /// Bytes that are none of our business.
    Bytes,
}

/// Why TLS cannot be spoken to a node. That is never the node's fault.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum NodeTlsError {
    /// The pool names a profile that this peer's file does not have.
    #[error("this peer's file has no [[tls]] of name {0:?}, which the pool names")]
    NoProfile(TlsName),
    /// The name that a certificate must carry is none.
    #[error(transparent)]
    Name(#[from] TlsError),
}

/// How this peer speaks TLS to nodes.
#[derive(Clone, Debug)]
pub struct NodeTls {
    roots: ClientConfigs,
    profiles: BTreeMap<TlsName, (ClientConfigs, Option<ServerName<'static>>)>,
}

impl NodeTls {
    /// With these profiles, and by `roots` where none is named.
    pub fn new(roots: ClientConfigs, profiles: &[Profile]) -> Result<Self, TlsError> {
        let made = profiles.iter().map(|profile| {
            let Profile { name, authorities, certificate, server_name } = profile;
            let configs = client::of_profile(&roots, authorities.as_ref(), certificate.as_ref())?;
            Ok((name.clone(), (configs, server_name.clone())))
        });
        let profiles = made.collect::<Result<_, TlsError>>()?;
        Ok(Self { roots, profiles })
    }

    /// The same roots, and these profiles from now on.
    pub fn with(&self, profiles: &[Profile]) -> Result<Self, TlsError> {
        Self::new(self.roots.clone(), profiles)
    }

    /// Whether a pool that names this profile can be served.
    pub fn has(&self, profile: &TlsName) -> bool {
        self.profiles.contains_key(profile)
    }

    /// The configuration for a node, and the name that its certificate must carry; `None`: it is spoken to without TLS.
    pub fn of(
        &self,
        transport: &Transport,
        inside: Inside,
        host: &Host,
    ) -> Result<Option<(Arc<ClientConfig>, ServerName<'static>)>, NodeTlsError> {
        let (configs, name) = match transport {
            Transport::Plain => return Ok(None),
            Transport::Tls => (&self.roots, None),
            Transport::Profile(profile) => {
                let known = self.profiles.get(profile);
                known
                    .map(|(configs, name)| (configs, name.clone()))
                    .ok_or_else(|| NodeTlsError::NoProfile(profile.clone()))?
            }
        };
        let config = match inside {
            Inside::Http => &configs.http,
            Inside::Bytes => &configs.plain,
        };
        let name = name.map_or_else(|| server_name(host), Ok)?;
        Ok(Some((Arc::clone(config), name)))
    }
}

impl From<ClientConfigs> for NodeTls {
    fn from(roots: ClientConfigs) -> Self {
        Self { roots, profiles: BTreeMap::new() }
    }
}

/// The one that is in force, which a reload changes.
#[derive(Clone)]
pub struct NodeTlsCell(Arc<ArcSwap<NodeTls>>);

impl NodeTlsCell {
    /// The one that is in force now. It neither locks nor waits.
    pub fn load(&self) -> Arc<NodeTls> {
        self.0.load_full()
    }

    /// From now on it is this one.
    pub fn set(&self, tls: NodeTls) {
        self.0.store(Arc::new(tls));
    }
}

impl From<NodeTls> for NodeTlsCell {
    fn from(tls: NodeTls) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(tls)))
    }
}

impl From<ClientConfigs> for NodeTlsCell {
    fn from(roots: ClientConfigs) -> Self {
        NodeTls::from(roots).into()
    }
}

impl fmt::Debug for NodeTlsCell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.load().profiles.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pool_is_served_by_its_profile_and_by_nothing_else_in_its_place() {
        let roots = ClientConfigs::trusting([]).unwrap();
        let made = rcgen::generate_simple_self_signed(["db.test".to_owned()]).unwrap();
        let profile = |name: &str| Profile {
            name: name.parse().unwrap(),
            authorities: Some(Authorities::from_pem(made.cert.pem().as_bytes()).unwrap()),
            certificate: None,
            server_name: Some(ServerName::try_from("db.test").unwrap()),
        };
        let tls = NodeTls::new(roots.clone(), &[profile("inner")]).unwrap();
        let host = Host::Name("node.test".into());
        let of = |transport: &Transport| tls.of(transport, Inside::Http, &host);
        assert!(of(&Transport::Plain).unwrap().is_none());
        let (config, name) = of(&Transport::Tls).unwrap().unwrap();
        assert!(Arc::ptr_eq(&config, &roots.http) && name == ServerName::try_from("node.test").unwrap());
        let (config, name) = of(&Transport::Profile("inner".parse().unwrap())).unwrap().unwrap();
        assert!(!Arc::ptr_eq(&config, &roots.http) && name == ServerName::try_from("db.test").unwrap());
        let missing = Transport::Profile("other".parse().unwrap());
        assert!(matches!(of(&missing), Err(NodeTlsError::NoProfile(name)) if name.as_str() == "other"));
        assert!(profile("inner") == profile("inner") && profile("inner") != profile("outer"));
        assert!(profile("inner") != Profile { authorities: None, ..profile("inner") });
    }
}
