//! What a worker's traffic met at a node, told to whoever checks nodes.

use super::NodeId;

/// Evidence against a node.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Evidence {
    /// Nobody is there: a connection was refused. The node is passed over, and the next failed check takes it down.
    Hard(NodeId),
    /// A connection that stood and broke. The request may be to blame: a reason to look at once, and no more.
    Soft(NodeId),
}
