//! `[[pool.node]]`.

use std::num::NonZeroU32;

use crate::document::{Origin, Section, Words, YesNo, name, parsed, quoted, whole};
use crate::model::{AddressError, Node, NodeAddress, NodeId, ServerId, Weight};

const ADDRESS: Words<NodeAddress> = Words::of(
    "\"host:port\", \"http://host\", \"https://host\"; a name is looked up again as its TTL ends",
    |text| {
        parsed::<NodeAddress>(text).map_err(|wrong| {
            let with_port = format!("{text}:80");
            match text.parse::<NodeAddress>() {
                Err(AddressError::PortMissing) if with_port.parse::<NodeAddress>().is_ok() => {
                    wrong.hint(format!("write \"{with_port}\" if that is its port"))
                }
                _ => wrong,
            }
        })
    },
    quoted,
);

/// What was read of one node; what is `None` was wrong and is reported.
pub(crate) struct NodeRead {
    pub id: Option<(NodeId, Origin)>,
    pub address: Option<(NodeAddress, Origin)>,
    pub server: Option<(ServerId, Origin)>,
    /// As faults name it.
    pub place: String,
}

pub(super) fn node(s: &mut Section<'_, '_, '_>, above: &str, nodes: &mut Vec<NodeRead>) -> Option<Node> {
    let id: Option<NodeId> = s.required("id", &name(), "Its id, unique in the cluster.");
    if let Some(id) = &id {
        s.called("node", id, above);
    }
    let address = s.required(
        "address",
        &ADDRESS,
        "Where it listens; https speaks TLS to it, checks its certificate and its name.",
    );
    let server: Option<ServerId> = s.optional(
        "server",
        &name(),
        "not known",
        "What it stands on: a [[server]]. It is moved from there to another one of its region, where its pool has `failover`.",
    );
    nodes.push(NodeRead {
        id: id.clone().map(|id| (id, s.origin_of("id"))),
        address: address.clone().map(|address| (address, s.origin_of("address"))),
        server: server.clone().map(|server| (server, s.origin_of("server"))),
        place: s.name().to_owned(),
    });
    let region = s.optional("region", &name(), "the region of whoever asks", "Where it is.");
    let weight = s.key(
        "weight",
        &whole(1, Weight::MAX.into()),
        Weight::DEFAULT,
        "Its share beside its siblings': 2 gets twice what 1 gets.",
    );
    let backup = s.key("backup", &YesNo, false, "Used only when no other node of the pool is usable.");
    let max_connections: NonZeroU32 = s.key(
        "max_connections",
        &whole(1, 1_000_000),
        Node::MAX_CONNECTIONS_DEFAULT,
        "Requests or connections at the same time, a peer; more wait in the pool's queue.",
    );
    Some(Node { region, server, weight, backup, max_connections, ..Node::new(id?, address?) })
}
