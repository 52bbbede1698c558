//! The fields of a head, kept as the bytes that came and where in them each field stands.

use std::ops::Range;

use crate::model::limits::CONNECTION_OPTIONS_MAX;
use crate::proxy::buffer;

/// Fields for which a resting head keeps room.
const PLACES_KEPT_MAX: usize = 32;
/// Bytes of the longest name that is known.
const NAME_BYTES_MAX: usize = "proxy-authorization".len();

/// Fields that the proxy itself acts upon; all others pass as they are.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Known {
    Connection,
    ContentLength,
    Date,
    Expect,
    Forwarded,
    Host,
    Http2Settings,
    KeepAlive,
    MaxForwards,
    ProxyAuthenticate,
    ProxyAuthorization,
    ProxyConnection,
    Te,
    TransferEncoding,
    Upgrade,
    Via,
    /// Any `X-Forwarded-` field that has no name of its own here.
    XForwarded,
    XForwardedFor,
    XForwardedHost,
    XForwardedProto,
    XRealIp,
    /// The name of one of these with an underscore for a hyphen. Nodes that make variables of names (CGI and what came after
    /// it) cannot tell the two apart, so it would get past whatever is done about the real one.
    Disguised,
    Other,
}

impl Known {
    /// The field of this name, in any case of letters.
    pub(crate) fn of(name: &[u8]) -> Self {
        match Self::exactly(name) {
            Self::Other => Self::nearly(name),
            known => known,
        }
    }

    fn exactly(name: &[u8]) -> Self {
        let (known, lower): (Self, &[u8]) = match name.len() {
            2 => (Self::Te, b"te"),
            3 => (Self::Via, b"via"),
            4 if name[0] | 0x20 == b'h' => (Self::Host, b"host"),
            4 => (Self::Date, b"date"),
            6 => (Self::Expect, b"expect"),
            7 => (Self::Upgrade, b"upgrade"),
            9 if name[0] | 0x20 == b'f' => (Self::Forwarded, b"forwarded"),
            9 => (Self::XRealIp, b"x-real-ip"),
            10 if name[0] | 0x20 == b'c' => (Self::Connection, b"connection"),
            10 => (Self::KeepAlive, b"keep-alive"),
            12 => (Self::MaxForwards, b"max-forwards"),
            14 if name[0] | 0x20 == b'c' => (Self::ContentLength, b"content-length"),
            14 => (Self::Http2Settings, b"http2-settings"),
            15 => (Self::XForwardedFor, b"x-forwarded-for"),
            16 if name[0] | 0x20 == b'p' => (Self::ProxyConnection, b"proxy-connection"),
            16 => (Self::XForwardedHost, b"x-forwarded-host"),
            17 if name[0] | 0x20 == b't' => (Self::TransferEncoding, b"transfer-encoding"),
            17 => (Self::XForwardedProto, b"x-forwarded-proto"),
            18 => (Self::ProxyAuthenticate, b"proxy-authenticate"),
            19 => (Self::ProxyAuthorization, b"proxy-authorization"),
            _ => return Self::Other,
        };
        if name.eq_ignore_ascii_case(lower) { known } else { Self::Other }
    }

    /// What a name that [`Self::exactly`] does not have is like.
    fn nearly(name: &[u8]) -> Self {
        const FORWARDED: &[u8] = b"x-forwarded-";
        let has_underscore = memchr::memchr(b'_', name).is_some();
        let is_forwarded = name.len() > FORWARDED.len()
            && name.iter().zip(FORWARDED).all(|(&byte, &lower)| hyphened(byte).eq_ignore_ascii_case(&lower));
        match (is_forwarded, has_underscore) {
            (true, false) => Self::XForwarded,
            (true, true) => Self::Disguised,
            (false, false) => Self::Other,
            (false, true) => {
                let mut real = [0; NAME_BYTES_MAX];
                let Some(real) = real.get_mut(..name.len()) else { return Self::Other };
                real.iter_mut().zip(name).for_each(|(real, &byte)| *real = hyphened(byte));
                if Self::exactly(real) == Self::Other { Self::Other } else { Self::Disguised }
            }
        }
    }

    /// Whether it concerns one connection only, named by `Connection` or not (RFC 9110 section 7.6.1).
    pub(crate) fn is_hop_by_hop(self) -> bool {
        matches!(
            self,
            Self::Connection
                | Self::Http2Settings
                | Self::KeepAlive
                | Self::ProxyAuthenticate
                | Self::ProxyAuthorization
                | Self::ProxyConnection
                | Self::Te
                | Self::TransferEncoding
                | Self::Upgrade
        )
    }
}

/// Whether two names are one, in any case of letters and with an underscore taken for a hyphen.
pub(crate) fn alike(one: &[u8], other: &[u8]) -> bool {
    one.len() == other.len()
        && one.iter().zip(other).all(|(&one, &other)| hyphened(one).eq_ignore_ascii_case(&hyphened(other)))
}

fn hyphened(byte: u8) -> u8 {
    if byte == b'_' { b'-' } else { byte }
}

/// A head's fields in the order in which they came.
#[derive(Debug, Default)]
pub(crate) struct Fields {
    bytes: Vec<u8>,
    places: Vec<Place>,
}

#[derive(Debug)]
struct Place {
    name: Range<usize>,
    value: Range<usize>,
    known: Known,
    /// It ends here: `Connection` names it, or this proxy has something else to say.
    dropped: bool,
}

/// One field.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Field<'a> {
    pub(crate) name: &'a [u8],
    pub(crate) value: &'a [u8],
    pub(crate) known: Known,
    pub(crate) dropped: bool,
}

/// What `Connection` says of the connection itself.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct ConnectionOptions {
    pub(crate) close: bool,
    pub(crate) keep_alive: bool,
    pub(crate) upgrade: bool,
}

impl Fields {
    /// Forgets all and keeps the memory.
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.places.clear();
    }

    /// Forgets all, and gives back memory that only a large head needed.
    pub(crate) fn rest(&mut self) {
        buffer::rest(&mut self.bytes);
        self.places.clear();
        if self.places.capacity() > PLACES_KEPT_MAX {
            self.places = Vec::new();
        }
    }

    /// Bytes of memory that it holds.
    #[cfg(test)]
    pub(crate) fn capacity_bytes(&self) -> usize {
        self.bytes.capacity() + self.places.capacity() * size_of::<Place>()
    }

    /// Adds a field at the end.
    pub(crate) fn push(&mut self, name: &[u8], value: &[u8]) {
        let name_start = self.bytes.len();
        self.bytes.extend_from_slice(name);
        let value_start = self.bytes.len();
        self.bytes.extend_from_slice(value);
        self.places.push(Place {
            name: name_start..value_start,
            value: value_start..self.bytes.len(),
            known: Known::of(name),
            dropped: false,
        });
    }

    /// Drops every field of this name, in any case of letters.
    pub(crate) fn take_away(&mut self, name: &[u8]) {
        for place in &mut self.places {
            place.dropped |= self.bytes[place.name.clone()].eq_ignore_ascii_case(name);
        }
    }

    /// The same with an underscore taken for a hyphen: nodes that make variables of names cannot tell them apart.
    pub(crate) fn take_away_alike(&mut self, name: &[u8]) {
        for place in &mut self.places {
            place.dropped |= alike(&self.bytes[place.name.clone()], name);
        }
    }

    /// Every field.
    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = Field<'_>> {
        self.places.iter().map(|place| Field {
            name: &self.bytes[place.name.clone()],
            value: &self.bytes[place.value.clone()],
            known: place.known,
            dropped: place.dropped,
        })
    }

    /// The values of one field, in order.
    pub(crate) fn values(&self, known: Known) -> impl DoubleEndedIterator<Item = &[u8]> {
        self.iter().filter(move |field| field.known == known).map(|field| field.value)
    }

    /// The first value of the field of this name, in any case of letters.
    pub(crate) fn value_of(&self, name: &[u8]) -> Option<&[u8]> {
        self.iter().find(|field| !field.dropped && field.name.eq_ignore_ascii_case(name)).map(|field| field.value)
    }

    /// The same of what was received, also where it ends here.
    pub(crate) fn received(&self, name: &[u8]) -> Option<&[u8]> {
        self.iter().find(|field| field.name.eq_ignore_ascii_case(name)).map(|field| field.value)
    }

    /// Reads `Connection`, and drops the fields that it names unless they are ones that only this proxy may drop or set: a
    /// sender must not be able to take away framing, `Host` or the proof of who it is. `None` where it lists more than
    /// [`CONNECTION_OPTIONS_MAX`], which no sender means.
    pub(crate) fn take_connection(&mut self) -> Option<ConnectionOptions> {
        let mut options = ConnectionOptions::default();
        let mut count = 0;
        for at in 0..self.places.len() {
            if self.places[at].known != Known::Connection {
                continue;
            }
            let value = &self.bytes[self.places[at].value.clone()];
            for option in list([value].into_iter()) {
                count += 1;
                if count > CONNECTION_OPTIONS_MAX {
                    return None;
                }
                if option.eq_ignore_ascii_case(b"close") {
                    options.close = true;
                } else if option.eq_ignore_ascii_case(b"keep-alive") {
                    options.keep_alive = true;
                } else if option.eq_ignore_ascii_case(b"upgrade") {
                    options.upgrade = true;
                } else {
                    for place in self.places.iter_mut().filter(|place| place.known == Known::Other) {
                        place.dropped |= self.bytes[place.name.clone()].eq_ignore_ascii_case(option);
                    }
                }
            }
        }
        Some(options)
    }
}

/// The elements of a comma-separated list, without white space and empty ones (RFC 9110 section 5.6.1).
pub(crate) fn list<'a>(values: impl Iterator<Item = &'a [u8]>) -> impl Iterator<Item = &'a [u8]> {
    values.flat_map(|value| value.split(|&byte| byte == b',')).map(<[u8]>::trim_ascii).filter(|item| !item.is_empty())
}

/// Whether every byte is one of a token (RFC 9110 section 5.6.2), and there is one.
pub(crate) fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|&byte| is_token_byte(byte))
}

pub(crate) fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_known_in_any_case_of_letters() {
        for (name, known) in [
            ("Host", Known::Host),
            ("DATE", Known::Date),
            ("te", Known::Te),
            ("Transfer-encoding", Known::TransferEncoding),
            ("X-Forwarded-Proto", Known::XForwardedProto),
            ("x-forwarded-port", Known::XForwarded),
            ("X-Forwarded-Server", Known::XForwarded),
            ("x-forwarded-prefix", Known::XForwarded),
            ("Proxy-Authenticate", Known::ProxyAuthenticate),
            ("hosts", Known::Other),
            ("hose", Known::Other),
            ("X-Forwarded-Client-Cert", Known::XForwarded),
            ("x-forwarded-pore", Known::XForwarded),
            ("X-Forwarded-", Known::Other),
            ("X-Forward", Known::Other),
            ("X_Forwarded_For", Known::Disguised),
            ("x-forwarded_for", Known::Disguised),
            ("X-Forwarded-Client_Cert", Known::Disguised),
            ("X_Real-IP", Known::Disguised),
            ("transfer_encoding", Known::Disguised),
            ("Content_Length", Known::Disguised),
            ("proxy_authorization", Known::Disguised),
            ("X_Request_Id", Known::Other),
            ("a_name_that_is_longer_than_any_that_is_known", Known::Other),
            ("_", Known::Other),
            ("", Known::Other),
        ] {
            assert_eq!(Known::of(name.as_bytes()), known, "{name}");
        }
    }

    #[test]
    fn what_connection_names_is_dropped_but_never_framing_or_host() {
        let mut fields = Fields::default();
        for name in ["X-Secret", "Host", "Content-Length", "X-Forwarded-For", "X-End"] {
            fields.push(name.as_bytes(), b"1");
        }
        fields.push(b"Connection", b"x-secret, host,, content-length");
        fields.push(b"connection", b"Keep-Alive, x-forwarded-for, X-None");
        let options = fields.take_connection();
        assert_eq!(options, Some(ConnectionOptions { keep_alive: true, ..ConnectionOptions::default() }));
        let dropped: Vec<bool> = fields.iter().map(|field| field.dropped).collect();
        assert_eq!(dropped, [true, false, false, false, false, false, false]);
    }

    #[test]
    fn what_connection_lists_is_looked_for_only_while_it_is_a_list_that_somebody_means() {
        for (count, is_read) in [(CONNECTION_OPTIONS_MAX, true), (CONNECTION_OPTIONS_MAX + 1, false), (14_000, false)] {
            let mut fields = Fields::default();
            fields.push(b"Connection", vec!["a"; count].join(",").as_bytes());
            assert_eq!(fields.take_connection().is_some(), is_read, "{count}");
        }
    }

    #[test]
    fn a_list_is_read_over_several_fields() {
        let values: [&[u8]; 3] = [b" a ,, b", b"", b"\tc"];
        let items: Vec<&[u8]> = list(values.into_iter()).collect();
        assert_eq!(items, [b"a", b"b", b"c"]);
    }
}
