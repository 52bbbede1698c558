//! What an X.509 certificate says of itself (RFC 5280), as far as this peer must know it to choose between certificates and
//! to warn of old ones: its names and its time. Whether it is to be trusted is the business of rustls.

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

/// Names that are taken of one certificate.
const NAMES_MAX: usize = 1_024;

/// Tags of DER (X.690).
mod tag {
    pub(super) const INTEGER: u8 = 0x02;
    pub(super) const OCTETS: u8 = 0x04;
    pub(super) const OBJECT: u8 = 0x06;
    pub(super) const UTC_TIME: u8 = 0x17;
    pub(super) const GENERALIZED_TIME: u8 = 0x18;
    pub(super) const SEQUENCE: u8 = 0x30;
    pub(super) const VERSION: u8 = 0xa0;
    pub(super) const EXTENSIONS: u8 = 0xa3;
    pub(super) const DNS_NAME: u8 = 0x82;
    pub(super) const IP_ADDRESS: u8 = 0x87;
}

/// 2.5.29.17, the names of the subject.
const SUBJECT_ALT_NAME: [u8; 3] = [0x55, 0x1d, 0x11];

/// A name that a certificate carries.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum CertificateName {
    /// A host name, in lower case.
    Host(Box<str>),
    /// `*.` and this: any one label stands in front (RFC 9525 section 6.3).
    Wildcard(Box<str>),
    /// An address.
    Ip(IpAddr),
}

impl std::fmt::Display for CertificateName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Host(name) => f.write_str(name),
            Self::Wildcard(rest) => write!(f, "*.{rest}"),
            Self::Ip(ip) => ip.fmt(f),
        }
    }
}

/// What was read of a certificate.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Said {
    pub(crate) names: Vec<CertificateName>,
    pub(crate) not_before: SystemTime,
    pub(crate) not_after: SystemTime,
}

/// Until when a certificate is good, in milliseconds since 1970; `None` where it is none.
pub(crate) fn good_until_ms(certificate: &[u8]) -> Option<u64> {
    let until = read(certificate)?.not_after.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    u64::try_from(until.as_millis()).ok()
}

/// Reads a certificate; `None` where it is none.
pub(crate) fn read(certificate: &[u8]) -> Option<Said> {
    let mut certificate = Der(Der(certificate).take(tag::SEQUENCE)?);
    let mut body = Der(certificate.take(tag::SEQUENCE)?);
    body.take_if(tag::VERSION)?;
    body.take(tag::INTEGER)?;
    body.take(tag::SEQUENCE)?;
    body.take(tag::SEQUENCE)?;
    let mut validity = Der(body.take(tag::SEQUENCE)?);
    let (not_before, not_after) = (validity.time()?, validity.time()?);
    let mut names = Vec::new();
    while let Some((found, content)) = body.next()? {
        if found == tag::EXTENSIONS {
            let mut extensions = Der(Der(content).take(tag::SEQUENCE)?);
            while let Some((_, extension)) = extensions.next()? {
                let mut extension = Der(extension);
                if extension.take(tag::OBJECT)? == SUBJECT_ALT_NAME {
                    // Between the two stands whether it is critical, or nothing.
                    let value = match extension.next()?? {
                        (tag::OCTETS, value) => value,
                        _ => extension.take(tag::OCTETS)?,
                    };
                    names = names_of(value)?;
                }
            }
        }
    }
    Some(Said { names, not_before, not_after })
}

fn names_of(value: &[u8]) -> Option<Vec<CertificateName>> {
    let mut list = Der(Der(value).take(tag::SEQUENCE)?);
    let mut names = Vec::new();
    while let Some((found, content)) = list.next()? {
        let name = match found {
            tag::DNS_NAME => host(content),
            tag::IP_ADDRESS => address(content).map(CertificateName::Ip),
            _ => None,
        };
        names.extend(name);
        if names.len() == NAMES_MAX {
            break;
        }
    }
    Some(names)
}

/// A name that clients may ask for. Others are of no use to choose by, and nobody can ask for them.
fn host(name: &[u8]) -> Option<CertificateName> {
    let name = std::str::from_utf8(name).ok()?.to_ascii_lowercase();
    let (rest, is_wildcard) = name.strip_prefix("*.").map_or((name.as_str(), false), |rest| (rest, true));
    let is_label = |label: &str| {
        !label.is_empty() && label.len() <= 63 && label.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
    };
    if rest.len() > 253 || !rest.split('.').all(is_label) {
        return None;
    }
    Some(if is_wildcard { CertificateName::Wildcard(rest.into()) } else { CertificateName::Host(rest.into()) })
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    <[u8; 4]>::try_from(bytes).map(IpAddr::from).or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok()
}

/// A run of DER values.
struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    /// The next value with its tag. `Some(None)` at the end; `None` where what stands there is no DER.
    #[expect(clippy::option_option, reason = "the end is no fault")]
    fn next(&mut self) -> Option<Option<(u8, &'a [u8])>> {
        let Some((&tag, rest)) = self.0.split_first() else { return Some(None) };
        let (&first, mut rest) = rest.split_first()?;
        let length = match first {
            0..=0x7f => usize::from(first),
            // Certificates have fewer than 2^24 bytes.
            0x81..=0x83 => {
                let (length, behind) = rest.split_at_checked(usize::from(first & 0x7f))?;
                rest = behind;
                length.iter().fold(0, |length, &byte| (length << 8) | usize::from(byte))
            }
            _ => return None,
        };
        let (content, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some(Some((tag, content)))
    }

    fn take(&mut self, wanted: u8) -> Option<&'a [u8]> {
        self.next()?.filter(|(found, _)| *found == wanted).map(|(_, content)| content)
    }

    /// Passes over a value that may be left out.
    fn take_if(&mut self, wanted: u8) -> Option<()> {
        if self.0.first() == Some(&wanted) { self.take(wanted).map(|_| ()) } else { Some(()) }
    }

    /// RFC 5280 section 4.1.2.5: both forms in UTC with seconds.
    fn time(&mut self) -> Option<SystemTime> {
        let (found, text) = self.next()??;
        let text = text.strip_suffix(b"Z")?;
        if !text.iter().all(u8::is_ascii_digit) {
            return None;
        }
        let number = |digits: &[u8]| digits.iter().fold(0_u64, |number, digit| number * 10 + u64::from(digit - b'0'));
        let (year, rest) = match found {
            tag::UTC_TIME => {
                let (year, rest) = text.split_at_checked(2)?;
                let year = number(year);
                (if year < 50 { 2_000 + year } else { 1_900 + year }, rest)
            }
            tag::GENERALIZED_TIME => text.split_at_checked(4).map(|(year, rest)| (number(year), rest))?,
            _ => return None,
        };
        let [month, day, hour, minute, second] = rest.chunks(2).map(number).collect::<Vec<_>>().try_into().ok()?;
        if !(1..=12).contains(&month) || !(1..=31).contains(&day) || rest.len() != 10 {
            return None;
        }
        // Before 1970 nothing was certified, and what was is over.
        let days = days_since_1970(year, month, day).unwrap_or(0);
        SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(
            days.checked_mul(86_400)?.checked_add(hour * 3_600 + minute * 60 + second)?,
        ))
    }
}

/// Days of the Gregorian calendar; `None` before 1970.
fn days_since_1970(year: u64, month: u64, day: u64) -> Option<u64> {
    const DAYS_TO_MONTH: [u64; 12] = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334];
    let leaps_before = |year: u64| (year - 1) / 4 - (year - 1) / 100 + (year - 1) / 400;
    let is_leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let years = year.checked_sub(1_970)?;
    let before = DAYS_TO_MONTH[usize::try_from(month - 1).ok()?] + u64::from(is_leap && month > 2);
    Some(years * 365 + leaps_before(year) - leaps_before(1_970) + before + day - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(time: SystemTime) -> u64 {
        time.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs()
    }

    #[test]
    fn names_and_times_are_those_that_the_certificate_was_made_with() {
        let names = ["shop.example", "*.Example.org", "192.0.2.7", "2001:db8::1"].map(str::to_owned);
        let mut made = rcgen::CertificateParams::new(names).unwrap();
        made.not_before = rcgen::date_time_ymd(1999, 12, 31);
        made.not_after = rcgen::date_time_ymd(2052, 2, 29);
        let made = made.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap();
        let said = read(made.der()).unwrap();
        let shown: Vec<String> = said.names.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["shop.example", "*.example.org", "192.0.2.7", "2001:db8::1"]);
        assert_eq!((seconds(said.not_before), seconds(said.not_after)), (946_598_400, 2_592_777_600));
    }

    #[test]
    fn a_certificate_without_names_has_none() {
        let made = rcgen::CertificateParams::new(Vec::<String>::new()).unwrap();
        let made = made.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap();
        assert_eq!(read(made.der()).unwrap().names, []);
    }

    #[test]
    fn what_is_cut_or_damaged_is_refused_or_read_and_never_panics() {
        let made = rcgen::generate_simple_self_signed(["shop.example".to_owned()]).unwrap();
        let whole = made.cert.der().to_vec();
        for length in 0..whole.len() {
            assert_eq!(read(&whole[..length]), None, "{length} bytes");
        }
        for at in 0..whole.len() {
            for bits in [0x01, 0x80, 0xff] {
                let mut damaged = whole.clone();
                damaged[at] ^= bits;
                let _ = read(&damaged);
            }
        }
    }

    #[test]
    fn days_are_counted_as_the_calendar_does() {
        for ((year, month, day), days) in
            [((1970, 1, 1), 0), ((2000, 2, 29), 11_016), ((2000, 3, 1), 11_017), ((2100, 3, 1), 47_541)]
        {
            assert_eq!(days_since_1970(year, month, day), Some(days), "{year}-{month}-{day}");
        }
        assert_eq!(days_since_1970(1969, 12, 31), None);
    }
}
