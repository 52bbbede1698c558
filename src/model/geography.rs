//! Where on earth: countries and continents by their codes.

use std::fmt;
use std::str::FromStr;

/// A code that is none.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum CodeError {
    /// Not two letters.
    #[error("a country is two letters of ISO 3166-1: DE, US")]
    Country,
    /// None of the seven.
    #[error("a continent is one of AF, AN, AS, EU, NA, OC, SA")]
    Continent,
}

/// A country by two letters (ISO 3166-1 alpha-2), as GeoIP files have it. Whether there is such a country is not checked: the list
/// changes.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Country([u8; 2]);

/// A continent by the two letters that GeoIP files have.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Continent([u8; 2]);

/// Africa, Antarctica, Asia, Europe, North America, Oceania, South America.
const CONTINENTS: [[u8; 2]; 7] = [*b"AF", *b"AN", *b"AS", *b"EU", *b"NA", *b"OC", *b"SA"];

fn two_letters(text: &str) -> Option<[u8; 2]> {
    let code: [u8; 2] = text.as_bytes().try_into().ok()?;
    code.iter().all(u8::is_ascii_alphabetic).then(|| code.map(|letter| letter.to_ascii_uppercase()))
}

impl FromStr for Country {
    type Err = CodeError;

    fn from_str(text: &str) -> Result<Self, CodeError> {
        two_letters(text).map(Self).ok_or(CodeError::Country)
    }
}

impl FromStr for Continent {
    type Err = CodeError;

    fn from_str(text: &str) -> Result<Self, CodeError> {
        two_letters(text).filter(|code| CONTINENTS.contains(code)).map(Self).ok_or(CodeError::Continent)
    }
}

impl fmt::Display for Country {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(std::str::from_utf8(&self.0).unwrap_or_default())
    }
}

impl fmt::Display for Continent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(std::str::from_utf8(&self.0).unwrap_or_default())
    }
}

/// Where an address is, as far as that is known.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Whereabouts {
    /// In this country.
    pub country: Option<Country>,
    /// On this continent.
    pub continent: Option<Continent>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_two_letters_in_any_case() {
        assert_eq!("de".parse::<Country>().unwrap().to_string(), "DE");
        assert_eq!("na".parse::<Continent>().unwrap().to_string(), "NA");
        for text in ["", "D", "DEU", "d1", "ü", "*"] {
            assert_eq!(text.parse::<Country>(), Err(CodeError::Country), "{text}");
        }
        assert_eq!("XX".parse::<Continent>(), Err(CodeError::Continent));
    }
}
