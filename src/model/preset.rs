//! One word that sets every timer of a cluster.

use std::str::FromStr;

/// How far apart peers are. Every timer of link, gossip and election follows from it.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Preset {
    /// One machine.
    Local,
    /// One network, round trips of a few milliseconds.
    #[default]
    Lan,
    /// Across regions.
    Wan,
}

impl Preset {
    /// Every one, in the order of their distance.
    pub const ALL: [Self; 3] = [Self::Local, Self::Lan, Self::Wan];

    /// The word that is written.
    pub fn name(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Lan => "lan",
            Self::Wan => "wan",
        }
    }
}

/// A text is no [`Preset`].
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("a preset is local, lan or wan")]
pub struct PresetError;

impl FromStr for Preset {
    type Err = PresetError;

    fn from_str(text: &str) -> Result<Self, PresetError> {
        Self::ALL.into_iter().find(|preset| preset.name() == text).ok_or(PresetError)
    }
}
