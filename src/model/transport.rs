//! How a node is spoken to.

use super::id::TlsName;
use super::pool::{Node, Pool};

/// What is spoken to a node below its own protocol.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub enum Transport {
    /// Nothing.
    #[default]
    Plain,
    /// TLS; its certificate is of an authority that the machine trusts.
    Tls,
    /// TLS as the profile of this name says, which each peer has in its own file.
    Profile(TlsName),
}

impl Pool {
    /// How this node of the pool is spoken to. A pool that names a profile has TLS to all of its nodes.
    pub fn transport(&self, node: &Node) -> Transport {
        match &self.tls {
            Some(profile) => Transport::Profile(profile.clone()),
            None if node.address.tls => Transport::Tls,
            None => Transport::Plain,
        }
    }
}
