//! Names of things: checked once, cheap to clone, ordered and hashable afterwards.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::limits::ID_BYTES_MAX;

/// Why a text is not a name.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum IdError {
    /// Nothing stands there.
    #[error("a name cannot be empty")]
    Empty,
    /// Longer than [`ID_BYTES_MAX`] bytes.
    #[error("a name has at most {ID_BYTES_MAX} characters, this one has {0}")]
    TooLong(usize),
    /// A character outside `[a-z0-9][a-z0-9._-]*`.
    #[error("{0:?} is not allowed in a name; use a-z, 0-9, and after the first character also . _ -")]
    Character(char),
}

fn parse(text: &str) -> Result<Arc<str>, IdError> {
    let first = text.chars().next().ok_or(IdError::Empty)?;
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    if !plain(first) {
        return Err(IdError::Character(first));
    }
    if let Some(wrong) = text.chars().find(|&c| !plain(c) && !matches!(c, '.' | '_' | '-')) {
        return Err(IdError::Character(wrong));
    }
    if text.len() > ID_BYTES_MAX {
        return Err(IdError::TooLong(text.len()));
    }
    Ok(Arc::from(text))
}

/// Reads a name from bytes that another peer sent: it is checked like one that a user wrote.
struct Text;

impl de::Visitor<'_> for Text {
    type Value = Arc<str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Arc<str>, E> {
        parse(text).map_err(E::custom)
    }
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        ///
        /// `[a-z0-9][a-z0-9._-]{0,62}`, so it is a legal key, file name and metric label everywhere.
        #[derive(Clone, Eq, Hash, Ord, PartialEq, PartialOrd)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                parse(text).map(Self)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_str(Text).map(Self)
            }
        }
    };
}

id! {
    /// One evenkeel process, unique in the cluster.
    PeerId
}
id! {
    /// A named group of nodes that serve the same thing.
    PoolName
}
id! {
    /// A folder of files that a peer serves, as its settings name it.
    FolderName
}
id! {
    /// One endpoint in a pool, unique in the cluster.
    NodeId
}
id! {
    /// Where a peer or node is: a country code (`us`) or a cloud region (`eu-west`).
    RegionName
}
id! {
    /// What a node stands on and can be moved between, unique in the catalog.
    ServerId
}
id! {
    /// Conditions and an action, unique in the catalog.
    RouteName
}
id! {
    /// The peers that gossip with each other; two clusters in reach of each other have different names.
    ClusterName
}
id! {
    /// An address of one peer that takes client traffic.
    ListenerName
}
id! {
    /// How a plan is carried out, as the settings of the peers say that can; policies name it.
    DriverName
}
id! {
    /// How a peer speaks TLS to nodes, unique in its peer; pools name it.
    TlsName
}

impl Default for RegionName {
    fn default() -> Self {
        Self(Arc::from("default"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_lower_case_ascii_and_at_most_63_characters() {
        for good in ["a", "0", "ams-1", "eu_west.2", &"x".repeat(63)] {
            assert_eq!(good.parse::<NodeId>().unwrap().as_str(), good);
        }
        for (bad, why) in [
            ("", IdError::Empty),
            ("-a", IdError::Character('-')),
            ("Web", IdError::Character('W')),
            ("a b", IdError::Character(' ')),
            ("ä", IdError::Character('ä')),
            (&"x".repeat(64), IdError::TooLong(64)),
        ] {
            assert_eq!(bad.parse::<NodeId>(), Err(why), "{bad:?}");
        }
    }
}
