//! What texts of a request are compared with. In all of them `*` stands for any number of characters, none among them.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::super::address::{Host, NodeAddress};
use super::super::limits::{HOST_BYTES_MAX, PATTERN_STARS_MAX, TARGET_BYTES_MAX, TEXT_PATTERN_BYTES_MAX};

/// Why a text is no pattern or no method.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum PatternError {
    /// Not a host name, an address, or a host name with `*` in it.
    #[error(
        "it is neither a host name nor an address without a port; *.example.com stands for all names below example.com"
    )]
    Host,
    /// It fits whatever comes.
    #[error("it fits everything; leave the key out")]
    Everything,
    /// It does not begin with `/`.
    #[error("it does not begin with /")]
    Slash,
    /// A character that no path has.
    #[error("{0:?} cannot stand in a path")]
    Character(char),
    /// A path is compared in its plain form, so this one would never fit.
    #[error("no request has that path: paths are compared decoded, without empty and dot segments; write {0}")]
    NotPlain(String),
    /// More than [`PATTERN_STARS_MAX`] stars.
    #[error("it has more than {PATTERN_STARS_MAX} stars")]
    Stars,
    /// It has more bytes than what it is compared with may have.
    #[error("it is longer than {0} bytes")]
    TooLong(usize),
    /// Not a method of HTTP.
    #[error("it is no method; methods are written in capitals: GET")]
    Method,
    /// Nothing that a field name may be.
    #[error("it is no field name; those have letters, digits and - _ . alone")]
    FieldName,
    /// A control character, which no field has.
    #[error("it holds a character that cannot be seen")]
    Invisible,
}

macro_rules! pattern {
    ($(#[$doc:meta])* $name:ident, $parse:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
        pub struct $name(Arc<str>);

        impl $name {
            /// As it is compared.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = PatternError;

            fn from_str(text: &str) -> Result<Self, PatternError> {
                $parse(text).map(Self)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

pattern! {
    /// The host that a request names, in lower case and without a port: `shop.example`, `*.example.com`, `api-*.example.com`,
    /// `10.0.0.1`.
    HostPattern, host
}
pattern! {
    /// A path in plain form: `/health`, all that begin so, `/api/*`, or with stars elsewhere, `/*/status`.
    PathPattern, path
}
pattern! {
    /// A method of HTTP, in capitals.
    Method, method
}
pattern! {
    /// The name of a field, in lower case.
    FieldName, field_name
}
pattern! {
    /// The value of a field, a cookie or a query parameter.
    TextPattern, text
}

fn stars(text: &str, bytes_max: usize) -> Result<(), PatternError> {
    if text.len() > bytes_max {
        Err(PatternError::TooLong(bytes_max))
    } else if text.bytes().filter(|&byte| byte == b'*').count() > PATTERN_STARS_MAX {
        Err(PatternError::Stars)
    } else {
        Ok(())
    }
}

fn host(text: &str) -> Result<Arc<str>, PatternError> {
    stars(text, HOST_BYTES_MAX)?;
    if !text.is_empty() && text.bytes().all(|byte| byte == b'*') {
        return Err(PatternError::Everything);
    }
    if text.contains(['/', ' ']) || text.ends_with("*.") {
        return Err(PatternError::Host);
    }
    // A final dot says "absolute"; it is the same host, and requests are compared without it.
    let text = text.strip_suffix('.').unwrap_or(text);
    // It is read as the host of a node is; the port is none of it, and a star stands for a letter.
    let read = |text: &str| format!("{text}:1").parse::<NodeAddress>().map_err(|_| PatternError::Host);
    let address = read(&text.replace('*', "x"))?;
    if !text.contains('*') {
        return Ok(Arc::from(address.host.to_string()));
    }
    // Stars in an address are stars in a name: 10.0.0.* fits 10.0.0.1, which a host may be.
    if matches!(address.host, Host::Ip(_)) { Err(PatternError::Host) } else { Ok(Arc::from(text.to_ascii_lowercase())) }
}

fn path(text: &str) -> Result<Arc<str>, PatternError> {
    stars(text, TARGET_BYTES_MAX)?;
    if !text.starts_with('/') {
        return Err(PatternError::Slash);
    }
    if let Some(wrong) = text.chars().find(|c| c.is_control() || matches!(c, '#' | '?')) {
        return Err(PatternError::Character(wrong));
    }
    if let Some(decoded) = decoded(text) {
        return Err(PatternError::NotPlain(decoded));
    }
    if text.contains("//") || text.split('/').any(|segment| matches!(segment, "." | "..")) {
        let kept = text.split('/').filter(|segment| !matches!(*segment, "" | "." | ".."));
        return Err(PatternError::NotPlain(format!("/{}", kept.collect::<Vec<_>>().join("/"))));
    }
    Ok(Arc::from(text))
}

/// The text with what is percent-encoded in it decoded; `None`: nothing is.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('%') {
        let code = rest.get(at + 1..at + 3).filter(|code| code.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let byte = code.and_then(|code| u8::from_str_radix(code, 16).ok());
        bytes.extend_from_slice(&rest.as_bytes()[..at]);
        bytes.push(byte.unwrap_or(b'%'));
        rest = &rest[at + if byte.is_some() { 3 } else { 1 }..];
    }
    bytes.extend_from_slice(rest.as_bytes());
    (bytes != text.as_bytes()).then(|| String::from_utf8_lossy(&bytes).into_owned())
}

fn method(text: &str) -> Result<Arc<str>, PatternError> {
    /// No method that is in use is longer.
    const METHOD_BYTES_MAX: usize = 32;
    let is_one = (1..=METHOD_BYTES_MAX).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_uppercase() || matches!(b, b'-' | b'_'));
    if is_one { Ok(Arc::from(text)) } else { Err(PatternError::Method) }
}

fn field_name(text: &str) -> Result<Arc<str>, PatternError> {
    const FIELD_NAME_BYTES_MAX: usize = 128;
    let is_one = (1..=FIELD_NAME_BYTES_MAX).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'));
    if is_one { Ok(Arc::from(text.to_ascii_lowercase())) } else { Err(PatternError::FieldName) }
}

fn text(text: &str) -> Result<Arc<str>, PatternError> {
    stars(text, TEXT_PATTERN_BYTES_MAX)?;
    if text.chars().any(char::is_control) { Err(PatternError::Invisible) } else { Ok(Arc::from(text)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_a_name_or_one_with_stars() {
        for (text, read) in [
            ("Shop.example", "shop.example"),
            ("*.example.com", "*.example.com"),
            ("API-*.example.com", "api-*.example.com"),
            ("*.*.com", "*.*.com"),
            ("a.*", "a.*"),
            ("10.0.0.1", "10.0.0.1"),
            ("[::1]", "[::1]"),
        ] {
            assert_eq!(text.parse::<HostPattern>().map(|host| host.to_string()), Ok(read.to_owned()));
        }
        for text in ["", "*", "**", "*.", "a:80", "a/b", "http://a", "a b", "[::*]"] {
            assert!(text.parse::<HostPattern>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_path_begins_with_a_slash_and_is_plain() {
        for text in ["/", "/*", "/api/*", "/a b", "/v1*", "/*/a", "/für", "/100%", "/%zz"] {
            assert_eq!(text.parse::<PathPattern>().unwrap().as_str(), text);
        }
        for (text, error) in [
            ("api", PatternError::Slash),
            ("", PatternError::Slash),
            ("/a?b", PatternError::Character('?')),
            ("/a//b", PatternError::NotPlain("/a/b".into())),
            ("/a/../b", PatternError::NotPlain("/a/b".into())),
            ("/caf%C3%A9/*", PatternError::NotPlain("/café/*".into())),
            ("/%70rivate", PatternError::NotPlain("/private".into())),
            ("/*********", PatternError::Stars),
        ] {
            assert_eq!(text.parse::<PathPattern>(), Err(error), "{text}");
        }
    }

    #[test]
    fn a_method_is_written_in_capitals() {
        assert_eq!("M-SEARCH".parse::<Method>().unwrap().as_str(), "M-SEARCH");
        for text in ["", "get", "GET ", "G ET"] {
            assert!(text.parse::<Method>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_field_is_known_by_its_name_in_lower_case() {
        assert_eq!("X-Tier".parse::<FieldName>().unwrap().as_str(), "x-tier");
        for text in ["", "a b", "a:", "ä"] {
            assert!(text.parse::<FieldName>().is_err(), "{text}");
        }
    }
}
