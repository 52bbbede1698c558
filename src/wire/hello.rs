//! The first messages of a connection: who speaks, and whether the other one takes it.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, de};

use super::codec::{WireError, decode, encode};
use super::frame::Kind;
use crate::model::limits::{HELLO_BYTES_MAX, SOFTWARE_BYTES_MAX};
use crate::model::{ClusterId, ClusterName, PeerId, RegionName};

/// A peer says who it is. What it says of its id and cluster is believed only as far as its certificate says the same.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Hello {
    /// The cluster that it belongs to.
    pub cluster: ClusterName,
    /// Its name.
    pub id: PeerId,
    /// Where it is.
    pub region: RegionName,
    /// A number that is greater after every start of this peer: two processes never share id and incarnation.
    pub incarnation: u64,
    /// Where it can be dialed.
    pub advertised: Advertised,
    /// Minted by the cluster's first commit; a peer that has not met one does not know it yet.
    pub cluster_id: Option<ClusterId>,
    /// What it runs, for people.
    pub software: Software,
}

impl Hello {
    /// The message.
    pub(crate) fn encode(&self) -> Result<Vec<u8>, WireError> {
        Ok(Kind::Hello.frame(&encode::<HELLO_BYTES_MAX>(self)?))
    }

    /// The hello that a message is.
    pub(crate) fn decode(message: &[u8]) -> Result<Self, WireError> {
        decode::<Self, HELLO_BYTES_MAX>(Kind::Hello.body(message)?)
    }
}

/// What the accepting peer answers to a [`Hello`].
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum HelloAnswer {
    /// Taken; and this is who answers.
    Welcome(Hello),
    /// Not taken.
    Refused {
        /// Why.
        reason: Refusal,
        /// Who answers: behind a second address of a peer that is linked already there is nobody new.
        by: PeerId,
    },
}

impl HelloAnswer {
    /// The message.
    pub(crate) fn encode(&self) -> Result<Vec<u8>, WireError> {
        Ok(Kind::HelloAnswer.frame(&encode::<{ HELLO_BYTES_MAX + 1 }>(self)?))
    }

    /// The answer that a message is.
    pub(crate) fn decode(message: &[u8]) -> Result<Self, WireError> {
        decode::<Self, { HELLO_BYTES_MAX + 1 }>(Kind::HelloAnswer.body(message)?)
    }
}

/// Why two peers do not take each other. Sent as it stands here: a new one goes to the end.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub enum Refusal {
    /// The certificate of one is not from an authority that the other one trusts.
    WrongKey,
    /// They belong to clusters of different names.
    WrongCluster,
    /// A certificate does not carry the id that its owner claims.
    WrongId,
    /// A live peer has this id already.
    IdTaken,
    /// A peer has dialed its own address.
    Itself,
    /// The same name, and yet another cluster: each has committed a first catalog of its own.
    OtherCluster,
    /// They speak no protocol in common.
    Version,
    /// As many peers as allowed are known.
    Full,
    /// What was said cannot be read, or came too late.
    Malformed,
    /// Both have dialed; the other connection stays.
    Duplicate,
}

impl Refusal {
    /// Every reason, in the order of its number.
    pub const ALL: [Self; 10] = [
        Self::WrongKey,
        Self::WrongCluster,
        Self::WrongId,
        Self::IdTaken,
        Self::Itself,
        Self::OtherCluster,
        Self::Version,
        Self::Full,
        Self::Malformed,
        Self::Duplicate,
    ];

    /// One word, for metrics and the API.
    pub fn name(self) -> &'static str {
        match self {
            Self::WrongKey => "wrong_key",
            Self::WrongCluster => "wrong_cluster",
            Self::WrongId => "wrong_id",
            Self::IdTaken => "id_taken",
            Self::Itself => "itself",
            Self::OtherCluster => "other_cluster",
            Self::Version => "version",
            Self::Full => "full",
            Self::Malformed => "malformed",
            Self::Duplicate => "duplicate",
        }
    }

    /// What an operator can do about it.
    pub fn hint(self) -> &'static str {
        match self {
            Self::WrongKey => {
                "the peers have different cluster keys or authorities; give both the same key file (`key_file`)"
            }
            Self::WrongCluster => {
                "the peers have different cluster names; set the same `cluster.name`, or take the address out of `seeds`"
            }
            Self::WrongId => {
                "the certificate does not name the peer's id; issue one that names `<peer.id>.peer.evenkeel` and `<cluster.name>.cluster.evenkeel`"
            }
            Self::IdTaken => "two running peers have the same id; give each its own `peer.id`",
            Self::Itself => "one of the seeds is the peer's own address, which does no harm",
            Self::OtherCluster => {
                "two clusters of the same name have begun apart; clear the data folder of the peer that shall join the other one"
            }
            Self::Version => "the peers speak no protocol in common; bring them to versions that fit each other",
            Self::Full => "as many peers as allowed are known; stop some, or forget those that are gone",
            Self::Malformed => {
                "the hello of the other side cannot be read; is it an evenkeel peer of a version that fits?"
            }
            Self::Duplicate => "both peers dialed at once; the other connection stays",
        }
    }

    /// False for what happens between healthy peers, and is neither counted nor told.
    pub fn is_fault(self) -> bool {
        !matches!(self, Self::Itself | Self::Duplicate)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// An address that can be dialed: no wildcard, no port 0, not that of a group.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub struct Advertised(SocketAddr);

impl Advertised {
    /// Checks `address`; `None` where nobody can dial it.
    pub fn new(address: SocketAddr) -> Option<Self> {
        let ip = address.ip();
        let dialable = !ip.is_unspecified() && !ip.is_multicast() && address.port() != 0;
        dialable.then_some(Self(address))
    }

    /// The address.
    pub fn get(self) -> SocketAddr {
        self.0
    }
}

impl<'de> Deserialize<'de> for Advertised {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let address = SocketAddr::deserialize(deserializer)?;
        Self::new(address).ok_or_else(|| de::Error::custom(format_args!("{address} is not an address to dial")))
    }
}

/// A few words of a peer about its software: printable ASCII, at most [`SOFTWARE_BYTES_MAX`].
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Software(Box<str>);

impl Software {
    /// What runs here.
    pub fn own() -> Self {
        Self(Box::from(concat!("evenkeel ", env!("CARGO_PKG_VERSION"))))
    }

    /// The words.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A text is no [`Software`].
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("software is told in at most {SOFTWARE_BYTES_MAX} printable ASCII characters")]
pub struct SoftwareError;

impl FromStr for Software {
    type Err = SoftwareError;

    fn from_str(text: &str) -> Result<Self, SoftwareError> {
        let plain = text.bytes().all(|b| b == b' ' || b.is_ascii_graphic());
        if plain && text.len() <= SOFTWARE_BYTES_MAX { Ok(Self(Box::from(text))) } else { Err(SoftwareError) }
    }
}

impl<'de> Deserialize<'de> for Software {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hello() -> Hello {
        Hello {
            cluster: "prod".parse().unwrap(),
            id: "ams-1".parse().unwrap(),
            region: "eu-west".parse().unwrap(),
            incarnation: u64::MAX,
            advertised: Advertised::new("[2001:db8::1]:7940".parse().unwrap()).unwrap(),
            cluster_id: Some(ClusterId([7; 16])),
            software: Software::own(),
        }
    }

    #[test]
    fn what_is_sent_is_what_arrives() {
        let hello = hello();
        assert_eq!(Hello::decode(&hello.encode().unwrap()), Ok(hello.clone()));
        let refused = |reason| HelloAnswer::Refused { reason, by: "waw-1".parse().unwrap() };
        for answer in Refusal::ALL.map(refused).into_iter().chain([HelloAnswer::Welcome(hello)]) {
            assert_eq!(HelloAnswer::decode(&answer.encode().unwrap()), Ok(answer));
        }
    }

    #[test]
    fn the_longest_hello_fits() {
        let long = "x".repeat(63);
        let hello = Hello {
            cluster: long.parse().unwrap(),
            id: long.parse().unwrap(),
            region: long.parse().unwrap(),
            software: "x".repeat(SOFTWARE_BYTES_MAX).parse().unwrap(),
            ..hello()
        };
        assert_eq!(Hello::decode(&hello.encode().unwrap()), Ok(hello));
    }

    #[test]
    fn the_numbers_of_reasons_are_frozen() {
        for (number, refusal) in Refusal::ALL.into_iter().enumerate() {
            assert_eq!(refusal as usize, number);
            let answer = HelloAnswer::Refused { reason: refusal, by: "a".parse().unwrap() };
            assert_eq!(answer.encode().unwrap(), [0, 2, 1, u8::try_from(number).unwrap(), 1, b'a']);
        }
    }

    #[test]
    fn an_address_that_nobody_can_dial_is_refused() {
        for bad in ["0.0.0.0:7940", "[::]:7940", "10.0.0.1:0", "224.0.0.1:7940"] {
            assert_eq!(Advertised::new(bad.parse().unwrap()), None, "{bad}");
        }
        let mut message = hello().encode().unwrap();
        // The port of the address, a varint of three bytes.
        let port = message.windows(3).position(|bytes| bytes == [251, 4, 31]).unwrap();
        message.splice(port..port + 3, [0]);
        let error = Hello::decode(&message).unwrap_err().to_string();
        assert!(error.contains("is not an address to dial"), "{error}");
    }

    #[test]
    fn an_id_that_no_user_could_write_is_refused() {
        let mut message = hello().encode().unwrap();
        let id = message.windows(5).position(|bytes| bytes == b"ams-1").unwrap();
        message[id] = b'A';
        let error = Hello::decode(&message).unwrap_err().to_string();
        assert!(error.contains("'A' is not allowed in a name"), "{error}");
    }

    proptest! {
        #[test]
        fn hostile_bytes_are_an_error_or_a_hello_that_stands_all_checks(bytes: Vec<u8>) {
            let _ = HelloAnswer::decode(&Kind::HelloAnswer.frame(&bytes));
            if let Ok(hello) = Hello::decode(&Kind::Hello.frame(&bytes)) {
                prop_assert_eq!(Hello::decode(&hello.encode().unwrap()), Ok(hello));
            }
        }

        #[test]
        fn a_damaged_hello_breaks_nothing(at in 0_usize..128, byte: u8, cut in 0_usize..128) {
            let mut message = hello().encode().unwrap();
            let end = message.len();
            message[at % end] = byte;
            message.truncate(end - cut % end);
            if let Ok(hello) = Hello::decode(&message) {
                prop_assert_eq!(Hello::decode(&hello.encode().unwrap()), Ok(hello));
            }
        }
    }
}
