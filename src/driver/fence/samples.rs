//! Effects that tests order.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::driver::{Action, Effect, NodeAt, ServerAt};
use crate::model::{IntentId, NodeId, Term};

pub(crate) fn term(number: u64) -> Term {
    Term::new(number).expect("a legal sample")
}

pub(crate) fn intent(number: u64) -> IntentId {
    IntentId::of_revision(number)
}

pub(crate) fn node(id: &str) -> NodeId {
    id.parse().expect("a legal sample")
}

/// A step of plan `intent` for node `web-1`, by the leader of `term`.
pub(crate) fn effect((of_term, of_intent): (u64, u64), action: Action) -> Effect {
    Effect {
        action,
        intent: intent(of_intent),
        term: term(of_term),
        node: NodeAt {
            id: node("web-1"),
            pool: "web".parse().expect("a legal sample"),
            region: "eu-west".parse().expect("a legal sample"),
            address: Some("10.0.1.10:8000".to_owned()),
        },
        from: Some(server("host-1", "10.0.0.1")),
        to: Some(server("host-2", "10.0.0.2:51820")),
        again: false,
    }
}

pub(crate) fn server(id: &str, address: &str) -> ServerAt {
    ServerAt {
        id: id.parse().expect("a legal sample"),
        address: address.to_owned(),
        labels: BTreeMap::from([(Arc::from("rack"), Arc::from("7"))]),
    }
}
