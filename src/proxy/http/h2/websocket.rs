//! A WebSocket over HTTP/2 (RFC 8441) as a node knows it: the handshake of HTTP/1.1 (RFC 6455 section 4), of which this peer
//! makes the client's half itself.

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::host::Dice;

/// What the protocol adds to a key (RFC 6455 section 1.3).
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// The client's half of a handshake, and what the node's half must be.
#[derive(Debug)]
pub(super) struct Handshake {
    /// `Sec-WebSocket-Key`.
    pub(super) key: String,
    /// `Sec-WebSocket-Accept`.
    pub(super) accept: String,
}

impl Handshake {
    /// A new one. The key is no secret: it shows that the node's answer is to this request and comes from no cache.
    pub(super) fn new(dice: &mut Dice) -> Self {
        let nonce = [dice.bits().to_be_bytes(), dice.bits().to_be_bytes()].concat();
        Self::of(STANDARD.encode(nonce))
    }

    fn of(key: String) -> Self {
        let sum = digest(&SHA1_FOR_LEGACY_USE_ONLY, &[key.as_bytes(), GUID].concat());
        Self { accept: STANDARD.encode(sum.as_ref()), key }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handshake_is_that_of_the_rfc_and_never_the_same_twice() {
        let example = Handshake::of("dGhlIHNhbXBsZSBub25jZQ==".to_owned());
        assert_eq!(example.accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        let mut dice = Dice::from_seed(1);
        let (one, other) = (Handshake::new(&mut dice), Handshake::new(&mut dice));
        assert_eq!(STANDARD.decode(&one.key).unwrap().len(), 16);
        assert_ne!(one.key, other.key);
    }
}
