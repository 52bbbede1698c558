//! `[[server]]`.

use std::collections::BTreeMap;

use crate::document::{Origin, Section, Texts, Words, name, parsed, quoted};
use crate::model::limits::{LABEL_BYTES_MAX, LABELS_MAX};
use crate::model::{RegionName, Server, ServerAddress, ServerId};

const ADDRESS: Words<ServerAddress> = Words::of(
    "a host name or an IP address, perhaps with a port: \"vpn-1.example\", \"10.0.0.1:51820\"",
    parsed,
    quoted,
);

/// What users say of something.
const LABELS: Texts =
    Texts { example: "{ provider = \"acme\" }", texts_max: LABELS_MAX, bytes_max: LABEL_BYTES_MAX, secret: false };

/// What was read of one server; what is `None` was wrong and is reported.
pub(crate) struct ServerRead {
    pub id: Option<(ServerId, Origin)>,
    pub server: Option<Server>,
}

pub(super) fn servers(s: &mut Section<'_, '_, '_>) -> Vec<ServerRead> {
    s.long_list(
        "server",
        "What a node stands on and can be moved between: the VPN server of an exit node, a host. A node is moved among the servers of \
         its region.",
        server,
    )
}

fn server(s: &mut Section<'_, '_, '_>) -> ServerRead {
    let id: Option<ServerId> = s.required("id", &name(), "Its id, unique in the catalog.");
    if let Some(id) = &id {
        s.called("server", id, "");
    }
    let region: Option<RegionName> = s.required("region", &name(), "Where it is.");
    let address = s.required("address", &ADDRESS, "Where it is reached.");
    let labels = s.key("labels", &LABELS, BTreeMap::new(), "What is to be known of it, for drivers and for people.");
    let origin = s.origin_of("id");
    let server = match (&id, region, address) {
        (Some(id), Some(region), Some(address)) => Some(Server { id: id.clone(), region, address, labels }),
        _ => None,
    };
    ServerRead { id: id.map(|id| (id, origin)), server }
}
