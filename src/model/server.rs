//! Servers, as users wrote them: what a node stands on and can be moved between.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::num::NonZeroU16;
use std::str::FromStr;
use std::sync::Arc;

use super::address::{AddressError, Host, NodeAddress};
use super::id::{RegionName, ServerId};

/// Where a server is reached: a host name or an IP address, perhaps with a port.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct ServerAddress {
    /// Name or literal address.
    pub host: Host,
    /// Its port, where one is said.
    pub port: Option<NonZeroU16>,
}

impl FromStr for ServerAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        if let Ok(ip) = text.parse::<IpAddr>() {
            return Ok(Self { host: Host::Ip(ip), port: None });
        }
        if let Some((scheme, _)) = text.split_once("://") {
            return Err(AddressError::Scheme(scheme.to_owned()));
        }
        match text.parse::<NodeAddress>() {
            Ok(address) => Ok(Self { host: address.host, port: NonZeroU16::new(address.port) }),
            // Its host is read as that of a node is.
            Err(AddressError::PortMissing) => {
                Ok(Self { host: format!("http://{text}").parse::<NodeAddress>()?.host, port: None })
            }
            Err(error) => Err(error),
        }
    }
}

impl fmt::Display for ServerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) => write!(f, "{}:{port}", self.host),
            None => write!(f, "{}", self.host),
        }
    }
}

/// Something that a node can stand on.
#[derive(Clone, Debug, PartialEq)]
pub struct Server {
    /// Unique in the catalog.
    pub id: ServerId,
    /// Where it is.
    pub region: RegionName,
    /// Where it is reached.
    pub address: ServerAddress,
    /// What users say of it, for drivers and for themselves.
    pub labels: BTreeMap<Arc<str>, Arc<str>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_host_and_perhaps_a_port() {
        for (text, shown) in [
            ("10.0.0.1", "10.0.0.1"),
            ("10.0.0.1:51820", "10.0.0.1:51820"),
            ("fd00::1", "[fd00::1]"),
            ("[fd00::1]", "[fd00::1]"),
            ("[fd00::1]:1", "[fd00::1]:1"),
            ("VPN-1.example", "vpn-1.example"),
            ("vpn-1.example:80", "vpn-1.example:80"),
        ] {
            assert_eq!(text.parse::<ServerAddress>().map(|read| read.to_string()), Ok(shown.to_owned()), "{text}");
        }
        for text in ["", "http://a", "a b", "a:0", "a:99999", "a/b"] {
            assert!(text.parse::<ServerAddress>().is_err(), "{text}");
        }
    }
}
