//! HTTP/1.1 (RFC 9112) on both sides: bytes to heads and back, and bodies. Strict by construction: what two readers could
//! take for two things is refused, so that no node behind ever sees a request that this proxy did not.

pub(crate) mod body;
pub(crate) mod framing;
pub(crate) mod head;
