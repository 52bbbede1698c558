//! Sets of fields that tell browsers to be careful.

/// Which set an answer gets. A field that the answer has already stays as it is: whoever made the answer knows it better.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum SecurityHeaders {
    /// None.
    #[default]
    Off,
    /// What breaks hardly any site.
    Basic,
    /// What a site must be made for: it frames nothing, is framed by nobody, and takes scripts from itself alone.
    Strict,
}

const NO_SNIFF: (&str, &str) = ("X-Content-Type-Options", "nosniff");
/// RFC 6797. It is meant for HTTPS alone and ignored elsewhere.
const STRICT_TRANSPORT: &str = "Strict-Transport-Security";

const BASIC: [(&str, &str); 4] = [
    NO_SNIFF,
    ("X-Frame-Options", "SAMEORIGIN"),
    ("Referrer-Policy", "strict-origin-when-cross-origin"),
    (STRICT_TRANSPORT, "max-age=31536000"),
];

const STRICT: [(&str, &str); 8] = [
    NO_SNIFF,
    ("X-Frame-Options", "DENY"),
    ("Referrer-Policy", "no-referrer"),
    (
        "Content-Security-Policy",
        "default-src 'self'; base-uri 'self'; form-action 'self'; frame-ancestors 'none'; object-src 'none'",
    ),
    ("Permissions-Policy", "camera=(), geolocation=(), microphone=(), payment=(), usb=()"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    (STRICT_TRANSPORT, "max-age=63072000; includeSubDomains"),
];

impl SecurityHeaders {
    /// The fields of the set; `over_tls`: whether the client came over TLS.
    pub fn fields(self, over_tls: bool) -> impl Iterator<Item = (&'static str, &'static str)> {
        let all: &[_] = match self {
            Self::Off => &[],
            Self::Basic => &BASIC,
            Self::Strict => &STRICT,
        };
        all.iter().copied().filter(move |(name, _)| over_tls || *name != STRICT_TRANSPORT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_comes_over_tls_is_told_to_stay_there() {
        for set in [SecurityHeaders::Basic, SecurityHeaders::Strict] {
            let has = |over_tls| set.fields(over_tls).any(|(name, _)| name == STRICT_TRANSPORT);
            assert!(has(true) && !has(false), "{set:?}");
            assert!(set.fields(false).any(|field| field == NO_SNIFF), "{set:?}");
        }
        assert_eq!(SecurityHeaders::Off.fields(true).count(), 0);
    }
}
