//! One fixed hash for all versions: peers must agree bit for bit, so nothing here may ever change.

use std::net::IpAddr;

/// The hash of the bytes that stand for a client (XXH3, 64 bits, seed 0).
pub fn of(bytes: &[u8]) -> u64 {
    xxhash_rust::xxh3::xxh3_64(bytes)
}

/// The hash of a client's address. An IPv4 address is the same client whether a listener of IPv4 or of IPv6 took it.
pub fn of_address(address: IpAddr) -> u64 {
    match address.to_canonical() {
        IpAddr::V4(address) => of(&address.octets()),
        IpAddr::V6(address) => of(&address.octets()),
    }
}

/// One hash of two.
pub(super) fn pair(a: u64, b: u64) -> u64 {
    xxhash_rust::xxh3::xxh3_64_with_seed(&a.to_le_bytes(), b)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_stay_what_they_are_for_ever() {
        assert_eq!(of(b""), 0x2d06_8005_38d3_94c2);
        assert_eq!(of(b"web-1"), 14_861_603_140_197_594_164);
        assert_eq!(of_address("203.0.113.7".parse().unwrap()), of(&[203, 0, 113, 7]));
        assert_eq!(of_address("::ffff:203.0.113.7".parse().unwrap()), of(&[203, 0, 113, 7]));
    }
}
