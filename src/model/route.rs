//! Routes, as users wrote them: what a request must be like, and where it then goes.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::address::{Host, NodeAddress};
use super::id::{ListenerName, PoolName, RouteName};
use super::limits::TARGET_BYTES_MAX;

/// Why a text is no pattern or no method.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum PatternError {
    /// Not a host name, an address, or `*.` and a host name.
    #[error(
        "it is neither a host name nor an address without a port; *.example.com stands for all names below example.com"
    )]
    Host,
    /// It does not begin with `/`.
    #[error("it does not begin with /")]
    Slash,
    /// A character that no path has.
    #[error("{0:?} cannot stand in a path")]
    Character(char),
    /// `*` stands elsewhere than at the end.
    #[error("* stands only at the end, for whatever follows")]
    Star,
    /// It has more bytes than a request target may have.
    #[error("it is longer than {TARGET_BYTES_MAX} bytes")]
    TooLong,
    /// Not a method of HTTP.
    #[error("it is no method; methods are written in capitals: GET")]
    Method,
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
    /// The host that a request names, in lower case and without a port: `shop.example`, `*.example.com`, `10.0.0.1`.
    HostPattern, host
}
pattern! {
    /// A path, `/health`, or all that begin so, `/api/*`.
    PathPattern, path
}
pattern! {
    /// A method of HTTP, in capitals.
    Method, method
}

fn host(text: &str) -> Result<Arc<str>, PatternError> {
    let (star, name) = match text.strip_prefix("*.") {
        Some(name) => ("*.", name),
        None => ("", text),
    };
    if text.contains('/') {
        return Err(PatternError::Host);
    }
    // It is read as the host of a node is; the port is none of it.
    let address: NodeAddress = format!("{name}:1").parse().map_err(|_| PatternError::Host)?;
    if matches!(address.host, Host::Ip(_)) && !star.is_empty() {
        return Err(PatternError::Host);
    }
    Ok(Arc::from(format!("{star}{}", address.host)))
}

fn path(text: &str) -> Result<Arc<str>, PatternError> {
    let plain = text.strip_suffix('*').unwrap_or(text);
    if text.len() > TARGET_BYTES_MAX {
        Err(PatternError::TooLong)
    } else if !text.starts_with('/') {
        Err(PatternError::Slash)
    } else if plain.contains('*') {
        Err(PatternError::Star)
    } else if let Some(wrong) = plain.chars().find(|c| !c.is_ascii_graphic() || matches!(c, '#' | '?')) {
        Err(PatternError::Character(wrong))
    } else {
        Ok(Arc::from(text))
    }
}

fn method(text: &str) -> Result<Arc<str>, PatternError> {
    /// No method that is in use is longer.
    const METHOD_BYTES_MAX: usize = 32;
    let is_one = (1..=METHOD_BYTES_MAX).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_uppercase() || matches!(b, b'-' | b'_'));
    if is_one { Ok(Arc::from(text)) } else { Err(PatternError::Method) }
}

/// What a request must be like: every list that is not empty must hold something that fits it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Conditions {
    /// Where it came in.
    pub listeners: Vec<ListenerName>,
    /// The host that it names.
    pub hosts: Vec<HostPattern>,
    /// Its path.
    pub paths: Vec<PathPattern>,
    /// Its method.
    pub methods: Vec<Method>,
}

/// Where a request goes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Action {
    /// The pool.
    pub pool: PoolName,
}

/// What a request must be like, and where it then goes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Route {
    /// Unique in the catalog.
    pub name: RouteName,
    /// Lower ones are looked at first.
    pub priority: u16,
    /// One that is switched off is passed over.
    pub enabled: bool,
    /// What a request must be like.
    pub when: Conditions,
    /// Where it goes.
    pub then: Action,
}

impl Route {
    /// `priority` of a route that sets none.
    pub const PRIORITY_DEFAULT: u16 = 100;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_a_name_or_all_names_below_one() {
        for (text, read) in [
            ("Shop.example", "shop.example"),
            ("*.example.com", "*.example.com"),
            ("10.0.0.1", "10.0.0.1"),
            ("[::1]", "[::1]"),
        ] {
            assert_eq!(text.parse::<HostPattern>().map(|host| host.to_string()), Ok(read.to_owned()));
        }
        for text in ["", "*", "*.", "*.*.com", "a.*", "*.10.0.0.1", "a:80", "a/b", "http://a"] {
            assert!(text.parse::<HostPattern>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_path_begins_with_a_slash_and_may_end_with_a_star() {
        for text in ["/", "/*", "/api/*", "/a%20b", "/v1*"] {
            assert_eq!(text.parse::<PathPattern>().unwrap().as_str(), text);
        }
        for (text, error) in [
            ("api", PatternError::Slash),
            ("", PatternError::Slash),
            ("/*/a", PatternError::Star),
            ("/**", PatternError::Star),
            ("/a b", PatternError::Character(' ')),
            ("/a?b", PatternError::Character('?')),
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
}
