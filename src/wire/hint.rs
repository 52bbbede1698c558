//! "I just saw these nodes fail": a reason to look, never a verdict.

use serde::{Deserialize, Deserializer, Serialize, de};

use super::codec::{WireError, decode, encode};
use super::frame::Kind;
use crate::model::NodeId;
use crate::model::limits::{HINT_BYTES_MAX, HINT_NODES_MAX};

/// Nodes that the sender itself saw failing: 1 to [`HINT_NODES_MAX`].
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Hint(Vec<NodeId>);

impl Hint {
    /// A hint at `nodes`; `None` where there is none, or more than one hint holds.
    pub fn new(nodes: Vec<NodeId>) -> Option<Self> {
        (1..=HINT_NODES_MAX).contains(&nodes.len()).then_some(Self(nodes))
    }

    /// The nodes, in the sender's order.
    pub fn nodes(&self) -> &[NodeId] {
        &self.0
    }

    /// The message.
    pub fn encode(&self) -> Result<Vec<u8>, WireError> {
        Ok(Kind::Hint.frame(&encode::<HINT_BYTES_MAX>(self)?))
    }

    /// The hint that a message is.
    pub fn decode(message: &[u8]) -> Result<Self, WireError> {
        decode::<Self, HINT_BYTES_MAX>(Kind::Hint.body(message)?)
    }
}

impl<'de> Deserialize<'de> for Hint {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let nodes = Vec::deserialize(deserializer)?;
        Self::new(nodes).ok_or_else(|| de::Error::custom(format_args!("a hint names 1 to {HINT_NODES_MAX} nodes")))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn nodes(count: usize) -> Vec<NodeId> {
        (0..count).map(|at| format!("{at:0>63}").parse().unwrap()).collect()
    }

    #[test]
    fn a_full_hint_arrives_as_it_was_sent() {
        for count in [1, HINT_NODES_MAX] {
            let hint = Hint::new(nodes(count)).unwrap();
            assert_eq!(Hint::decode(&hint.encode().unwrap()), Ok(hint));
        }
    }

    #[test]
    fn a_hint_at_nothing_or_at_too_many_is_none() {
        assert_eq!(Hint::new(nodes(0)), None);
        assert_eq!(Hint::new(nodes(HINT_NODES_MAX + 1)), None);
        assert!(Hint::decode(&Kind::Hint.frame(&[0])).is_err());
        let many = encode::<HINT_BYTES_MAX>(&nodes(HINT_NODES_MAX + 1)).unwrap();
        let error = Hint::decode(&Kind::Hint.frame(&many)).unwrap_err().to_string();
        assert!(error.contains("1 to 128 nodes"), "{error}");
    }

    proptest! {
        #[test]
        fn hostile_bytes_are_an_error_or_a_hint(bytes: Vec<u8>) {
            if let Ok(hint) = Hint::decode(&Kind::Hint.frame(&bytes)) {
                prop_assert!((1..=HINT_NODES_MAX).contains(&hint.nodes().len()));
            }
        }
    }
}
