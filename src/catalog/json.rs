//! JSON as the catalog is written in: read strictly, written in one way only.

use std::fmt;
use std::str::FromStr;

use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Number, Value};

use crate::model::ValueHash;
use crate::model::limits::VALUE_BODY_BYTES_MAX;

/// An object of a document.
pub type Object = serde_json::Map<String, Value>;

/// Why bytes are no document.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum JsonError {
    /// More than a catalog may have.
    #[error("it has {length} bytes, more than the {VALUE_BODY_BYTES_MAX} of a catalog")]
    TooLong {
        /// Bytes that came.
        length: usize,
    },
    /// It is no JSON, is nested too deep, or has a key twice.
    #[error("it is no JSON that can be taken: {0}")]
    Unreadable(String),
    /// It is JSON, and no object.
    #[error("it is not an object: write {{ ... }}")]
    NoObject,
}

/// The object that these bytes are. A key that stands twice is refused: two readers could take either.
pub fn parse(bytes: &[u8]) -> Result<Object, JsonError> {
    if bytes.len() > VALUE_BODY_BYTES_MAX {
        return Err(JsonError::TooLong { length: bytes.len() });
    }
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let unreadable = |error: serde_json::Error| JsonError::Unreadable(error.to_string());
    let value = Strict.deserialize(&mut deserializer).map_err(unreadable)?;
    deserializer.end().map_err(unreadable)?;
    match value {
        Value::Object(object) => Ok(object),
        _ => Err(JsonError::NoObject),
    }
}

/// The one way in which a document is written: keys sorted by their bytes, no spaces.
pub fn canonical(object: &Object) -> Vec<u8> {
    let mut value = Value::Object(object.clone());
    value.sort_all_objects();
    // A tree of values has a text, whatever is in it.
    serde_json::to_vec(&value).unwrap_or_default()
}

/// What tells one version of a document or of a part of it from another: the first 16 bytes of the SHA-256 of its canonical
/// form.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Etag([u8; 16]);

impl Etag {
    /// The ETag of these bytes.
    pub const fn new(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    pub const fn bytes(&self) -> [u8; 16] {
        self.0
    }

    /// Of this document.
    pub fn of(object: &Object) -> Self {
        let mut first = [0; 16];
        first.copy_from_slice(&ValueHash::of(&canonical(object)).bytes()[..16]);
        Self(first)
    }
}

impl fmt::Display for Etag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// A text is no [`Etag`].
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("an ETag of the catalog is 32 digits 0-9 a-f, in quotes")]
pub struct EtagError;

impl FromStr for Etag {
    type Err = EtagError;

    fn from_str(text: &str) -> Result<Self, EtagError> {
        let digits = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text);
        if digits.len() != 32 || !digits.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)) {
            return Err(EtagError);
        }
        let mut bytes = [0; 16];
        for (at, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&digits[2 * at..2 * at + 2], 16).map_err(|_| EtagError)?;
        }
        Ok(Self(bytes))
    }
}

impl Serialize for Etag {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Etag {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// Reads any JSON, and refuses a key that stands twice.
struct Strict;

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("a number is too large"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = list.next_element_seed(Self)? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut object = Object::new();
        while let Some(key) = map.next_key::<String>()? {
            let value = map.next_value_seed(Self)?;
            if object.insert(key.clone(), value).is_some() {
                return Err(de::Error::custom(format_args!("the key {key:?} stands there twice")));
            }
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn object(text: &str) -> Object {
        parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn a_document_is_written_in_one_way_however_it_came() {
        let one = object(r#"{"b": [1, {"y": null, "x": "t"}], "a": 0.5}"#);
        let other = object("{\"a\":0.5,\n\"b\":[1,{\"x\":\"\\u0074\",\"y\":null}]}");
        assert_eq!(canonical(&one), br#"{"a":0.5,"b":[1,{"x":"t","y":null}]}"#);
        assert_eq!(Etag::of(&one), Etag::of(&other));
        assert_ne!(
            Etag::of(&one),
            Etag::of(&object(r#"{"a":0.5,"b":[{"x":"t","y":null},1]}"#)),
            "order in a list counts"
        );
    }

    #[test]
    fn what_two_readers_could_read_in_two_ways_is_refused() {
        for (text, why) in [
            (r#"{"a": 1, "a": 1}"#, "\"a\" stands there twice"),
            (r#"{"a": [{"b": 1, "b": 2}]}"#, "\"b\" stands there twice"),
            (r#"{"a": 1} {"#, "trailing"),
            (r#"{"a": 1e999}"#, "number"),
            ("[1]", "not an object"),
            ("", "EOF"),
            ("{\"a\": \"\\ud800\"}", "hex escape"),
        ] {
            let error = parse(text.as_bytes()).expect_err(text).to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
        let deep = format!("{}{}", "{\"a\":".repeat(200), "1");
        assert!(parse(deep.as_bytes()).unwrap_err().to_string().contains("recursion"), "nested too deep");
        let long = vec![b' '; VALUE_BODY_BYTES_MAX + 1];
        assert_eq!(parse(&long), Err(JsonError::TooLong { length: long.len() }));
    }

    #[test]
    fn an_etag_is_read_as_it_is_shown_with_quotes_or_without() {
        let etag = Etag::of(&object("{}"));
        assert_eq!(etag.to_string().parse(), Ok(etag));
        assert_eq!(format!("\"{etag}\"").parse(), Ok(etag));
        for wrong in ["", "\"", "W/\"44136fa355b3678a1146ad16f7e8649e\"", "44136FA355b3678a1146ad16f7e8649e"] {
            assert_eq!(wrong.parse::<Etag>(), Err(EtagError), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn hostile_bytes_are_an_error_or_a_document_that_is_written_as_it_is_read(bytes: Vec<u8>) {
            if let Ok(object) = parse(&bytes) {
                prop_assert_eq!(canonical(&parse(&canonical(&object)).unwrap()), canonical(&object));
            }
        }
    }
}
