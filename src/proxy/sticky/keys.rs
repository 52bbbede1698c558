//! The keys by which cookies are signed: derived from the cluster's, so that any peer believes what another one set, also after
//! both were started again.

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use aws_lc_rs::hmac;

use crate::link::KeyRing;

/// The first signs, all are believed: as with the cluster's keys, and so they are changed in the same three steps.
pub struct CookieKeys(Vec<hmac::Key>);

impl CookieKeys {
    /// Those that are derived from these.
    pub fn of(ring: &KeyRing) -> Self {
        Self(ring.trusted().map(|key| hmac::Key::new(hmac::HMAC_SHA256, key.cookie_key().as_slice())).collect())
    }

    pub(super) fn sign(&self, message: &[u8]) -> hmac::Tag {
        // A ring has one key at least.
        hmac::sign(&self.0[0], message)
    }

    /// In constant time for each key.
    pub(super) fn verify(&self, message: &[u8], tag: &[u8]) -> bool {
        self.0.iter().any(|key| hmac::verify(key, message, tag).is_ok())
    }
}

impl fmt::Debug for CookieKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CookieKeys({})", self.0.len())
    }
}

/// The keys that are in force now.
#[derive(Clone, Debug)]
pub struct CookieKeysCell(Arc<ArcSwap<CookieKeys>>);

impl CookieKeysCell {
    /// Those of now. It neither locks nor waits.
    pub(crate) fn load(&self) -> arc_swap::Guard<Arc<CookieKeys>> {
        self.0.load()
    }

    /// From now on it is these.
    pub fn set(&self, keys: CookieKeys) {
        self.0.store(Arc::new(keys));
    }
}

impl From<CookieKeys> for CookieKeysCell {
    fn from(keys: CookieKeys) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(keys)))
    }
}
