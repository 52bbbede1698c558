//! Versions of what peers say to each other.
//!
//! TLS agrees on one for a link (ALPN, RFC 7301): the newest that both sides speak. Two peers that have none in common do not
//! link. Within a version later software may say more: words that are not known are refused one by one, and the link stays.

/// The versions that a peer speaks, from the oldest to the newest.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Protocols {
    oldest: u8,
    newest: u8,
}

impl Protocols {
    /// What this software speaks.
    pub const OWN: Self = Self { oldest: 1, newest: 1 };

    /// From the oldest to the newest, both of them included; `None` where the first is the later one, or 0.
    pub const fn new(oldest: u8, newest: u8) -> Option<Self> {
        if 0 < oldest && oldest <= newest { Some(Self { oldest, newest }) } else { None }
    }

    /// As TLS names them, the newest first.
    pub(super) fn names(self) -> Vec<Vec<u8>> {
        (self.oldest..=self.newest).rev().map(|version| format!("evenkeel/{version}").into_bytes()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_version_is_offered_first_and_the_name_of_the_first_is_frozen() {
        assert_eq!(Protocols::OWN.names(), [b"evenkeel/1"]);
        let three = Protocols::new(1, 3).unwrap().names();
        assert_eq!(three, [b"evenkeel/3", b"evenkeel/2", b"evenkeel/1"]);
        assert_eq!(Protocols::new(2, 1), None);
        assert_eq!(Protocols::new(0, 1), None);
    }
}
