//! One fixed hash for all versions: peers must agree bit for bit, so nothing here may ever change.

/// The hash of the bytes that stand for a client (XXH3, 64 bits, seed 0).
pub fn of(bytes: &[u8]) -> u64 {
    xxhash_rust::xxh3::xxh3_64(bytes)
}
