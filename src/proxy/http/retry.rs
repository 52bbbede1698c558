//! When a request may be sent again: only where nobody can have seen it, or where seeing it twice means the same.

use super::picture::Method;

/// What became of one try.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Failure {
    /// No connection to the node: nothing of the request can have arrived.
    Connect,
    /// A connection that had been idle was closed before anything of an answer came. The node most likely closed it as the
    /// request was on its way, which says nothing about the node.
    StaleConnection,
    /// The exchange broke before the head of an answer was whole.
    Broken,
    /// No head of an answer in time.
    Timeout,
    /// What came is no answer.
    Malformed,
    /// The node was drained, and its time was over before the head of an answer was whole.
    Drained,
    /// The node answered 502 or 503.
    Unavailable,
}

/// What may be done about it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Again {
    /// Nothing.
    No,
    /// Once more to this node, over a new connection; it costs no try.
    SameNode,
    /// To another node.
    OtherNode,
}

/// `is_replayable`: all that was sent of the request is still there to be sent once more.
pub(crate) fn decide(failure: Failure, method: &Method, is_replayable: bool) -> Again {
    match failure {
        Failure::Connect => Again::OtherNode,
        _ if !method.is_idempotent() || !is_replayable => Again::No,
        Failure::StaleConnection => Again::SameNode,
        Failure::Broken | Failure::Timeout | Failure::Malformed | Failure::Drained | Failure::Unavailable => {
            Again::OtherNode
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_sent_twice_only_where_that_is_safe() {
        use Again::{No, OtherNode, SameNode};
        use Failure::{Broken, Connect, Drained, Malformed, StaleConnection, Timeout, Unavailable};
        let get = Method::Get;
        let post = Method::Post;
        let patch = Method::of(b"PATCH");
        for (failure, method, is_replayable, again) in [
            (Connect, &get, true, OtherNode),
            (Connect, &post, true, OtherNode),
            (Connect, &post, false, OtherNode),
            (StaleConnection, &get, true, SameNode),
            (StaleConnection, &post, true, No),
            (Broken, &get, true, OtherNode),
            (Broken, &get, false, No),
            (Broken, &post, true, No),
            (Broken, &patch, true, No),
            (Drained, &get, true, OtherNode),
            (Drained, &post, true, No),
            (Timeout, &Method::Put, true, OtherNode),
            (Timeout, &Method::Put, false, No),
            (Malformed, &Method::Delete, true, OtherNode),
            (Unavailable, &get, true, OtherNode),
            (Unavailable, &post, true, No),
        ] {
            assert_eq!(decide(failure, method, is_replayable), again, "{failure:?} {method:?} {is_replayable}");
        }
    }
}
