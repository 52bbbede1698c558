//! Where addresses are, by a file in the MaxMind DB format: GeoLite2, GeoIP2, DB-IP and others with countries in the same place.
//! No such file is part of Evenkeel; whoever has one has its licence.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use maxminddb::{PathElement, Reader};

use crate::model::Whereabouts;

/// Why bytes are no file of places.
#[derive(Debug, thiserror::Error)]
pub enum GeoError {
    /// They are something else, or damaged.
    #[error("it is no MaxMind DB, or damaged: {0}")]
    Unreadable(String),
    /// It holds something else.
    #[error("it holds no countries: it is of type {0:?}")]
    NoCountries(String),
}

/// A file of places, in memory.
pub struct Geo {
    reader: Reader<Vec<u8>>,
    /// Of all its bytes: by this one is known to be the same as another.
    hash: u64,
}

/// Two letters, wherever they stand.
const COUNTRY: [PathElement<'_>; 2] = [PathElement::Key("country"), PathElement::Key("iso_code")];
const CONTINENT: [PathElement<'_>; 2] = [PathElement::Key("continent"), PathElement::Key("code")];

impl Geo {
    /// Takes the bytes of a file and looks through all of them.
    pub fn new(bytes: Vec<u8>) -> Result<Self, GeoError> {
        let unreadable = |error: maxminddb::MaxMindDbError| GeoError::Unreadable(error.to_string());
        let hash = xxhash_rust::xxh3::xxh3_64(&bytes);
        let reader = Reader::from_source(bytes).map_err(unreadable)?;
        reader.verify().map_err(unreadable)?;
        let kind = &reader.metadata().database_type;
        if !["Country", "City", "Enterprise", "Insights", "Location"].iter().any(|known| kind.contains(known)) {
            return Err(GeoError::NoCountries(kind.clone()));
        }
        Ok(Self { reader, hash })
    }

    /// Where an address is, as far as the file says.
    pub fn whereabouts(&self, address: IpAddr) -> Whereabouts {
        let Ok(found) = self.reader.lookup(address.to_canonical()) else { return Whereabouts::default() };
        let text = |path: &[PathElement<'_>]| found.decode_path::<&str>(path).ok().flatten();
        Whereabouts {
            country: text(&COUNTRY).and_then(|code| code.parse().ok()),
            continent: text(&CONTINENT).and_then(|code| code.parse().ok()),
        }
    }

    /// What the file says of itself: its type, and when it was made, in seconds since 1970.
    pub fn about(&self) -> (&str, u64) {
        let metadata = self.reader.metadata();
        (&metadata.database_type, metadata.build_epoch)
    }
}

impl PartialEq for Geo {
    fn eq(&self, other: &Self) -> bool {
        self.hash == other.hash
    }
}

impl fmt::Debug for Geo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Geo({:?})", self.about())
    }
}

/// The file that is in force now.
#[derive(Clone, Debug, Default)]
pub struct GeoCell(Arc<ArcSwapOption<Geo>>);

impl GeoCell {
    /// Where an address is by the file of now. It neither locks nor waits; without a file it costs a load.
    pub fn whereabouts(&self, address: IpAddr) -> Option<Whereabouts> {
        self.0.load().as_ref().map(|geo| geo.whereabouts(address))
    }

    /// From now on it is this one.
    pub fn set(&self, geo: Option<Arc<Geo>>) {
        self.0.store(geo);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Made for these tests, with these ranges: see `fixture.md`.
    const FIXTURE: &[u8] = include_bytes!("fixture.mmdb");

    fn shown(address: &str) -> [String; 2] {
        let geo = Geo::new(FIXTURE.to_vec()).unwrap();
        let found = geo.whereabouts(address.parse().unwrap());
        [found.country.map(|it| it.to_string()), found.continent.map(|it| it.to_string())]
            .map(Option::unwrap_or_default)
    }

    #[test]
    fn addresses_are_where_the_file_says_and_others_nowhere() {
        assert_eq!(shown("203.0.113.7"), ["DE", "EU"]);
        assert_eq!(shown("::ffff:203.0.113.7"), ["DE", "EU"]);
        assert_eq!(shown("198.51.100.1"), ["US", "NA"]);
        assert_eq!(shown("2001:db8:1::1"), ["JP", "AS"]);
        assert_eq!(shown("192.0.2.1"), ["", ""]);
        assert_eq!(shown("10.77.0.1"), ["US", "NA"]);
    }

    #[test]
    fn what_is_no_such_file_is_refused() {
        assert!(matches!(Geo::new(b"hello".to_vec()), Err(GeoError::Unreadable(_))));
        assert!(matches!(Geo::new(FIXTURE[..FIXTURE.len() / 2].to_vec()), Err(GeoError::Unreadable(_))));
        let asn = String::from_utf8_lossy(FIXTURE).contains("Test-Country");
        assert!(asn, "the type stands in the file");
        let other: Vec<u8> = replaced(FIXTURE, b"Test-Country", b"Test-Numbers");
        assert!(matches!(Geo::new(other), Err(GeoError::NoCountries(kind)) if kind == "Test-Numbers"));
    }

    fn replaced(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
        let at = bytes.windows(from.len()).position(|window| window == from).unwrap();
        [&bytes[..at], to, &bytes[at + from.len()..]].concat()
    }

    proptest! {
        #[test]
        fn a_bent_file_is_refused_or_answers_without_harm(at in 0_usize..10_000, byte in any::<u8>(), ip in any::<u32>()) {
            let mut bytes = FIXTURE.to_vec();
            let at = at % bytes.len();
            bytes[at] = byte;
            if let Ok(geo) = Geo::new(bytes) {
                geo.whereabouts(IpAddr::V4(std::net::Ipv4Addr::from_bits(ip)));
            }
        }
    }
}
