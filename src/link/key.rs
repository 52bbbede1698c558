//! The cluster key: 32 random bytes that make a peer one of the cluster.
//!
//! Every secret of the cluster is derived from it (HKDF-SHA256, a label each), so that one file is all an operator hands
//! out. Whoever holds the key can issue any peer id: it separates the cluster from the world, not its peers from each other.
//!
//! A [`KeyRing`] is what a key file holds. Its first key issues, all are trusted; so a key is changed in three steps, with
//! every peer taking each step before the next: the new key is added as the last, then made the first, then the old one goes.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Prk, Salt};
use aws_lc_rs::rand;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use zeroize::{Zeroize, Zeroizing};

use crate::model::limits::{CLUSTER_KEYS_MAX, KEY_FILE_BYTES_MAX};
use crate::model::{ClusterName, PeerId};

/// What the text of a key begins with: what it is, and the version of its form.
const PREFIX: &str = "evenkeel-key-1:";
/// Of this product and of this way to derive: another way takes another salt.
const SALT: &[u8] = b"evenkeel cluster key 1";

/// One cluster key. Its bytes are wiped from memory with it, and no `Debug` shows them.
#[derive(Clone, Eq, PartialEq)]
pub struct ClusterKey(Zeroizing<[u8; 32]>);

/// Why a text is no cluster key. What stands there is not told: it could be most of a key.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum KeyError {
    /// It begins otherwise.
    #[error("a key begins with \"{PREFIX}\"; make one with `evenkeel keygen`")]
    Prefix,
    /// What follows is not 32 bytes in base64url.
    #[error("a key has 43 characters A-Z a-z 0-9 - _ after \"{PREFIX}\"; was it cut off when it was copied?")]
    Bytes,
}

impl ClusterKey {
    /// A new key that nobody can guess. `None` where the system has no random numbers to give.
    pub fn generate() -> Option<Self> {
        let mut bytes = Zeroizing::new([0; 32]);
        rand::fill(bytes.as_mut_slice()).ok()?;
        Some(Self(bytes))
    }

    /// The key of peers that listen on loopback and were given none. It is no secret: whoever is on the machine may join.
    fn of_loopback(cluster: &ClusterName) -> Self {
        let mut key = Self(Zeroizing::new([0; 32]));
        let no_secret = Salt::new(HKDF_SHA256, SALT).extract(b"loopback, no secret");
        expand(&no_secret, &[b"cluster ", cluster.as_str().as_bytes()], key.0.as_mut_slice());
        key
    }

    /// The key as a key file has it. To be written to that file and shown nowhere.
    pub fn to_text(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::with_capacity(PREFIX.len() + 43));
        text.push_str(PREFIX);
        URL_SAFE_NO_PAD.encode_string(self.0.as_slice(), &mut text);
        text
    }

    /// What people compare to see whether two peers have the same key; it tells nothing about the key.
    pub fn fingerprint(&self) -> Fingerprint {
        let mut bytes = [0; 8];
        self.derive(&[b"fingerprint"], &mut bytes);
        Fingerprint(bytes)
    }

    /// The key that signs the cookies of sticky sessions.
    pub fn cookie_key(&self) -> Zeroizing<[u8; 32]> {
        let mut key = Zeroizing::new([0; 32]);
        self.derive(&[b"cookie"], key.as_mut_slice());
        key
    }

    /// The seed of the authority's Ed25519 key.
    pub(super) fn authority_seed(&self) -> Zeroizing<[u8; 32]> {
        let mut seed = Zeroizing::new([0; 32]);
        self.derive(&[b"authority ed25519"], seed.as_mut_slice());
        seed
    }

    /// What a peer's restarted process must have in common with the one before it.
    pub(super) fn reset_secret(&self, id: &PeerId) -> ResetSecret {
        ResetSecret::derive(&self.extract(), id)
    }

    fn extract(&self) -> Prk {
        Salt::new(HKDF_SHA256, SALT).extract(self.0.as_slice())
    }

    fn derive(&self, label: &[&[u8]], out: &mut [u8]) {
        expand(&self.extract(), label, out);
    }
}

impl FromStr for ClusterKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let text = text.strip_prefix(PREFIX).ok_or(KeyError::Prefix)?;
        let mut key = Self(Zeroizing::new([0; 32]));
        match URL_SAFE_NO_PAD.decode_slice(text, key.0.as_mut_slice()) {
            Ok(32) => Ok(key),
            _ => Err(KeyError::Bytes),
        }
    }
}

impl fmt::Debug for ClusterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClusterKey({})", self.fingerprint())
    }
}

/// A few characters that are the same where the key is the same.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Fingerprint([u8; 8]);

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, pair) in self.0.chunks(2).enumerate() {
            let dash = if at == 0 { "" } else { "-" };
            write!(f, "{dash}{:02x}{:02x}", pair[0], pair[1])?;
        }
        Ok(())
    }
}

/// One to [`CLUSTER_KEYS_MAX`] keys: the first issues, all are trusted.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct KeyRing(Vec<ClusterKey>);

/// Why a text is no key file.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum KeyFileError {
    /// Only blank lines and comments.
    #[error("the key file holds no key; make one with `evenkeel keygen`")]
    Empty,
    /// One line is no key.
    #[error("line {line} of the key file: {error}")]
    Line {
        /// Counted from 1.
        line: usize,
        /// What is wrong with it.
        error: KeyError,
    },
    /// The same key again.
    #[error("line {line} of the key file repeats the key of line {first}; leave one of them out")]
    Repeated {
        /// Counted from 1.
        line: usize,
        /// Where the key stands first.
        first: usize,
    },
    /// More than [`CLUSTER_KEYS_MAX`].
    #[error("the key file holds more than {CLUSTER_KEYS_MAX} keys; leave out those that no peer issues with any more")]
    TooMany,
    /// More than [`KEY_FILE_BYTES_MAX`].
    #[error("the key file has more than {KEY_FILE_BYTES_MAX} bytes; is it another file?")]
    TooLong,
}

impl KeyRing {
    /// A ring of one key.
    pub fn of(key: ClusterKey) -> Self {
        Self(vec![key])
    }

    /// What peers on loopback take each other by where they were given no key: see [`ClusterKey`]. Nothing beyond the
    /// machine may be trusted by it.
    pub fn of_loopback(cluster: &ClusterName) -> Self {
        Self::of(ClusterKey::of_loopback(cluster))
    }

    /// Reads the text of a key file: a key a line; blank lines and those that begin with `#` are passed over.
    pub fn parse(text: &str) -> Result<Self, KeyFileError> {
        if text.len() > KEY_FILE_BYTES_MAX {
            return Err(KeyFileError::TooLong);
        }
        let mut keys: Vec<(usize, ClusterKey)> = Vec::new();
        for (line, text) in text.lines().enumerate() {
            let (line, text) = (line + 1, text.trim());
            if text.is_empty() || text.starts_with('#') {
                continue;
            }
            let key: ClusterKey = text.parse().map_err(|error| KeyFileError::Line { line, error })?;
            if let Some(&(first, _)) = keys.iter().find(|(_, known)| *known == key) {
                return Err(KeyFileError::Repeated { line, first });
            }
            if keys.len() == CLUSTER_KEYS_MAX {
                return Err(KeyFileError::TooMany);
            }
            keys.push((line, key));
        }
        if keys.is_empty() {
            return Err(KeyFileError::Empty);
        }
        Ok(Self(keys.into_iter().map(|(_, key)| key).collect()))
    }

    /// The key that this peer's certificate is issued with.
    pub fn issuing(&self) -> &ClusterKey {
        &self.0[0]
    }

    /// Every key, the issuing one first: what they have issued is trusted.
    pub fn trusted(&self) -> impl Iterator<Item = &ClusterKey> {
        self.0.iter()
    }
}

/// What lets a restarted peer say at once that it does not know a connection of the process before it: the key of its
/// stateless resets, and that of its connection ids. Without them the other peers wait for the idle time-out.
pub(super) struct ResetSecret {
    /// Signs the tokens of stateless resets.
    pub(super) reset: Zeroizing<[u8; 32]>,
    /// Marks connection ids as this peer's.
    pub(super) connection_id: u64,
}

impl ResetSecret {
    /// Derived from a secret that outlives the process, for one peer.
    pub(super) fn derive(secret: &Prk, id: &PeerId) -> Self {
        let mut reset = Zeroizing::new([0; 32]);
        expand(secret, &[b"stateless reset ", id.as_str().as_bytes()], reset.as_mut_slice());
        let mut connection_id = [0; 8];
        expand(secret, &[b"connection id ", id.as_str().as_bytes()], &mut connection_id);
        let secret = Self { reset, connection_id: u64::from_be_bytes(connection_id) };
        connection_id.zeroize();
        secret
    }

    /// Derived from the private key of a certificate that the user's own authority issued.
    pub(super) fn of_private_key(key: &[u8], id: &PeerId) -> Self {
        Self::derive(&Salt::new(HKDF_SHA256, SALT).extract(key), id)
    }
}

fn expand(secret: &Prk, label: &[&[u8]], out: &mut [u8]) {
    secret
        .expand(label, Length(out.len()))
        .and_then(|material| material.fill(out))
        .expect("HKDF-SHA256 gives up to 8,160 bytes, and 32 are the most asked for");
}

#[derive(Clone, Copy)]
struct Length(usize);

impl KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(byte: u8) -> ClusterKey {
        ClusterKey(Zeroizing::new([byte; 32]))
    }

    #[test]
    fn a_key_is_read_as_it_was_written_and_no_two_are_alike() {
        let made = ClusterKey::generate().unwrap();
        assert_eq!(made.to_text().parse::<ClusterKey>().unwrap(), made);
        assert_ne!(ClusterKey::generate().unwrap(), made);
        assert_eq!(key(0).to_text().as_str(), "evenkeel-key-1:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA");
    }

    #[test]
    fn debug_shows_a_fingerprint_and_nothing_of_the_key() {
        let made = key(0x41);
        let shown = format!("{made:?} {:?}", KeyRing::of(made.clone()));
        assert!(shown.contains(&made.fingerprint().to_string()), "{shown}");
        assert!(!shown.contains("QUFB") && !shown.contains("65, 65"), "{shown}");
    }

    /// These are frozen: a version that derived others could not talk to one of before.
    #[test]
    fn what_is_derived_stays_the_same_over_versions() {
        assert_eq!(key(1).fingerprint().to_string(), "381a-af0f-418c-fc23");
        let secret = key(1).reset_secret(&"ams-1".parse().unwrap());
        assert_eq!(secret.connection_id, key(1).reset_secret(&"ams-1".parse().unwrap()).connection_id);
        assert_ne!(secret.connection_id, key(1).reset_secret(&"ams-2".parse().unwrap()).connection_id);
        assert_ne!(secret.reset, key(2).reset_secret(&"ams-1".parse().unwrap()).reset);
        assert_ne!(key(1).cookie_key(), key(1).authority_seed());
    }

    #[test]
    fn a_key_file_holds_keys_blank_lines_and_comments() {
        let text = format!("# new\n{}\n\n  {}  \r\n# end", *key(2).to_text(), *key(1).to_text());
        let ring = KeyRing::parse(&text).unwrap();
        assert_eq!(ring.issuing(), &key(2));
        assert_eq!(ring.trusted().cloned().collect::<Vec<_>>(), [key(2), key(1)]);
    }

    #[test]
    fn a_wrong_key_file_is_refused_with_its_line() {
        let good = key(1).to_text();
        let line = |line, error| Err(KeyFileError::Line { line, error });
        for (text, why) in [
            (String::new(), Err(KeyFileError::Empty)),
            ("# nothing\n\n".to_owned(), Err(KeyFileError::Empty)),
            (format!("{}\nhello", *good), line(2, KeyError::Prefix)),
            (good[..good.len() - 1].to_owned(), line(1, KeyError::Bytes)),
            (format!("{}A", *good), line(1, KeyError::Bytes)),
            (format!("{}=", *good), line(1, KeyError::Bytes)),
            (format!("{}\n#\n{}", *good, *good), Err(KeyFileError::Repeated { line: 3, first: 1 })),
            ((1..=9).map(|byte| format!("{}\n", *key(byte).to_text())).collect(), Err(KeyFileError::TooMany)),
            ("#".repeat(KEY_FILE_BYTES_MAX + 1), Err(KeyFileError::TooLong)),
        ] {
            assert_eq!(KeyRing::parse(&text), why, "{text}");
        }
    }

    #[test]
    fn an_error_never_repeats_what_could_be_most_of_a_key() {
        let text = key(1).to_text();
        let error = KeyRing::parse(&text[..text.len() - 1]).unwrap_err().to_string();
        assert!(!error.contains("AQEB"), "{error}");
    }

    proptest! {
        #[test]
        fn no_text_breaks_the_reader(text: String) {
            let _ = KeyRing::parse(&text);
            let _ = format!("{PREFIX}{text}").parse::<ClusterKey>();
        }
    }
}
