//! How a peer is, as another one sees it.

use serde::Serialize;

/// How a peer is, as another one sees it.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PeerState {
    /// It is heard.
    Alive,
    /// Its link broke and it is being dialed again, or only others reach it.
    Suspect,
    /// It is silent, or said goodbye.
    Dead,
    /// It is not taken: wrong key, wrong cluster, an id that is not its own.
    Refused,
}

impl PeerState {
    /// The word that is shown.
    pub fn name(self) -> &'static str {
        match self {
            Self::Alive => "alive",
            Self::Suspect => "suspect",
            Self::Dead => "dead",
            Self::Refused => "refused",
        }
    }
}
