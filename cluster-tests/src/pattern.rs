//! Bodies of any length that need not be kept: byte `n` is a function of `n`, so both ends know what must stand there.

use std::sync::OnceLock;

use xxhash_rust::xxh3::Xxh3Default;

/// A prime a little below 1 MiB: the pattern never falls in step with a buffer, so a buffer lost, doubled or swapped shows.
const PERIOD_BYTES: usize = 1_048_573;

/// The bytes from which bodies are cut.
#[derive(Debug)]
pub struct Pattern {
    /// Two periods, so that any slice of up to one period is contiguous.
    bytes: Vec<u8>,
}

impl Pattern {
    /// The one pattern of all tests.
    pub fn shared() -> &'static Self {
        static PATTERN: OnceLock<Pattern> = OnceLock::new();
        PATTERN.get_or_init(|| {
            let mut bytes = vec![0; PERIOD_BYTES];
            fastrand::Rng::with_seed(0x00EE_7EE1).fill(&mut bytes);
            bytes.extend_from_within(..);
            Self { bytes }
        })
    }

    /// The bytes from `offset` on, `length` of them or as many as fit (1 MiB less a little).
    pub fn at(&self, offset: u64, length: usize) -> &[u8] {
        let start = usize::try_from(offset % PERIOD_BYTES as u64).expect("a remainder is small");
        &self.bytes[start..start + length.min(PERIOD_BYTES)]
    }

    /// Where `got`, which begins at `offset` of the body, first differs.
    pub fn difference(&self, offset: u64, got: &[u8]) -> Option<u64> {
        let mut at = offset;
        for part in got.chunks(PERIOD_BYTES) {
            let expected = self.at(at, part.len());
            if part != expected {
                let inside = part.iter().zip(expected).position(|(got, expected)| got != expected).unwrap_or(0);
                return Some(at + inside as u64);
            }
            at += part.len() as u64;
        }
        None
    }

    /// The first `length` bytes.
    pub fn body(&self, length: usize) -> Vec<u8> {
        let mut body = Vec::with_capacity(length);
        while body.len() < length {
            body.extend_from_slice(self.at(body.len() as u64, length - body.len()));
        }
        body
    }

    /// The digest of the first `length` bytes.
    pub fn digest(&self, length: u64) -> u64 {
        let mut digest = Digest::default();
        while digest.bytes < length {
            let left = usize::try_from(length - digest.bytes).unwrap_or(usize::MAX);
            digest.update(self.at(digest.bytes, left));
        }
        digest.value()
    }
}

/// A running digest (XXH3) with the count of bytes.
#[derive(Clone, Default)]
pub struct Digest {
    hash: Xxh3Default,
    /// Bytes so far.
    pub bytes: u64,
}

impl Digest {
    /// Adds bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.hash.update(bytes);
        self.bytes += bytes.len() as u64;
    }

    /// The digest so far.
    pub fn value(&self) -> u64 {
        self.hash.digest()
    }
}

impl std::fmt::Debug for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} bytes, {:016x}", self.bytes, self.value())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_byte_shows_where_it_is_missing() {
        let pattern = Pattern::shared();
        let mut body = pattern.body(3_000_000);
        assert_eq!(pattern.difference(0, &body), None);
        assert_eq!(pattern.difference(2_000_000, &body[2_000_000..]), None);
        body.remove(1_500_000);
        assert!(pattern.difference(0, &body).is_some_and(|at| (1_500_000..1_500_020).contains(&at)));
        let mut digest = Digest::default();
        digest.update(&pattern.body(2_100_000));
        assert_eq!(digest.value(), pattern.digest(2_100_000));
    }
}
