//! What nodes of other pools get of a request: to be asked whether it may go on, or to have a copy.

use std::sync::Arc;
use std::time::Duration;

use super::super::id::PoolName;
use super::pattern::FieldName;

/// Who is asked about a request before it goes on: nginx's `auth_request`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ExternalCheck {
    /// Whose nodes are asked.
    pub pool: PoolName,
    /// The path at which they are asked.
    pub path: Arc<str>,
    /// How long that may take in all, with every node that is tried.
    pub timeout: Duration,
    /// Fields of the answer that go with the request, in the place of what the client said in them.
    pub copy: Vec<FieldName>,
}

impl ExternalCheck {
    /// `timeout` where none is set.
    pub const TIMEOUT_DEFAULT: Duration = Duration::from_secs(2);
}

/// Who gets a copy of a request. What becomes of it nobody waits for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Mirror {
    /// Whose nodes get it.
    pub pool: PoolName,
}
