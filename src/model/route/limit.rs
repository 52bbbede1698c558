//! How much a route lets through, and of whom.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;
use std::time::Duration;

use super::super::limits::{BURST_REFILL_MAX, RATE_MAX};
use super::pattern::FieldName;

/// Whom a limit counts by itself.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Per {
    /// Each client, by its address.
    Client(Ipv6Prefix),
    /// All who say the same in this field. Whoever leaves it out, or sends it more than once, is counted by address.
    Header(FieldName, Ipv6Prefix),
    /// All that the route fits, together.
    Route,
}

impl Per {
    /// `client_ip`, `header:<name>` or `route`.
    pub fn word(&self) -> String {
        match self {
            Self::Client(_) => "client_ip".to_owned(),
            Self::Header(name, _) => format!("header:{}", name.as_str()),
            Self::Route => "route".to_owned(),
        }
    }
}

/// Bits of an IPv6 address that tell clients apart, 32 to 128. IPv4 addresses count whole.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Ipv6Prefix(u8);

impl Ipv6Prefix {
    /// What one line is given at the most usual (RFC 6177 section 2): whoever has it can send from any address in it.
    pub const DEFAULT: Self = Self(64);
    /// The fewest bits, which are a whole provider's.
    pub const MIN: u8 = 32;
    /// The most bits, which are a whole address.
    pub const MAX: u8 = 128;

    /// These many bits; `None` outside of 32 to 128.
    pub fn new(bits: u8) -> Option<Self> {
        (Self::MIN..=Self::MAX).contains(&bits).then_some(Self(bits))
    }

    /// How many bits.
    pub fn get(self) -> u8 {
        self.0
    }
}

/// Why a limit is none.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum LimitError {
    /// Not of the form `10/s`.
    #[error("it is not a rate")]
    Rate,
    /// 0, or more than [`RATE_MAX`].
    #[error("it is not 1 to {RATE_MAX} in that time")]
    Count,
    /// A burst that is only there again after more than [`BURST_REFILL_MAX`].
    #[error("at this rate it is there again only after more than a day")]
    Refill,
}

/// The time that a rate is said for.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Period {
    /// `s`
    Second,
    /// `m`
    Minute,
    /// `h`
    Hour,
}

impl Period {
    /// Each with its sign.
    pub const ALL: [(char, Self); 3] = [('s', Self::Second), ('m', Self::Minute), ('h', Self::Hour)];

    fn length(self) -> Duration {
        Duration::from_secs(match self {
            Self::Second => 1,
            Self::Minute => 60,
            Self::Hour => 3_600,
        })
    }
}

/// So many in a time: `10/s`, `300/m`, `1000/h`.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Rate {
    count: NonZeroU32,
    period: Period,
}

impl Rate {
    /// 1 to [`RATE_MAX`] in this time.
    pub fn new(count: u32, period: Period) -> Result<Self, LimitError> {
        let count = NonZeroU32::new(count).filter(|count| count.get() <= RATE_MAX).ok_or(LimitError::Count)?;
        Ok(Self { count, period })
    }

    /// The time from one to the next where they come evenly. Rounded down to a nanosecond, a thousandth at most.
    pub fn interval(self) -> Duration {
        self.period.length() / self.count.get()
    }

    /// What comes in a second, at least one: the burst where none is set.
    pub fn burst(self) -> NonZeroU32 {
        let a_second = u64::from(self.count.get()) / self.period.length().as_secs();
        u32::try_from(a_second).ok().and_then(NonZeroU32::new).unwrap_or(NonZeroU32::MIN)
    }

    /// The greatest burst that is there again within [`BURST_REFILL_MAX`].
    pub fn burst_max(self) -> u32 {
        let most = BURST_REFILL_MAX.as_nanos() / self.interval().as_nanos().max(1);
        u32::try_from(most).unwrap_or(u32::MAX).clamp(1, RATE_MAX)
    }
}

impl FromStr for Rate {
    type Err = LimitError;

    fn from_str(text: &str) -> Result<Self, LimitError> {
        let (count, period) = text.split_once('/').ok_or(LimitError::Rate)?;
        let mut letters = period.chars();
        let (Some(letter), None) = (letters.next(), letters.next()) else { return Err(LimitError::Rate) };
        let period = Period::ALL.iter().find(|(sign, _)| *sign == letter).map(|(_, period)| *period);
        if count.is_empty() || !count.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(LimitError::Rate);
        }
        Self::new(count.parse().unwrap_or(u32::MAX), period.ok_or(LimitError::Rate)?)
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = Period::ALL.iter().find(|(_, period)| *period == self.period).map_or('s', |(sign, _)| *sign);
        write!(f, "{}/{sign}", self.count)
    }
}

/// How many requests, or connections that are not HTTP, may come in a time.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RateLimit {
    per: Per,
    rate: Rate,
    burst: NonZeroU32,
    status: u16,
}

impl RateLimit {
    /// `burst`: so many may come at once after a rest; 1 is none beyond the rate. `status`: what the others are told.
    pub fn new(per: Per, rate: Rate, burst: NonZeroU32, status: u16) -> Result<Self, LimitError> {
        if burst.get() > rate.burst_max() {
            return Err(LimitError::Refill);
        }
        Ok(Self { per, rate, burst, status })
    }

    /// Whom it counts by itself.
    pub fn per(&self) -> &Per {
        &self.per
    }

    /// How many in which time.
    pub fn rate(&self) -> Rate {
        self.rate
    }

    /// How many at once after a rest.
    pub fn burst(&self) -> NonZeroU32 {
        self.burst
    }

    /// What those are told that are too many.
    pub fn status(&self) -> u16 {
        self.status
    }
}

/// How many requests, upgraded connections, or connections that are not HTTP there may be at the same time.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ConnectionLimit {
    /// Whom it counts by itself.
    pub per: Per,
    /// How many.
    pub max: NonZeroU32,
    /// What those are told that are too many.
    pub status: u16,
}

/// Too Many Requests (RFC 6585 section 4).
pub const LIMITED_STATUS_DEFAULT: u16 = 429;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_a_number_in_a_time() {
        for (text, interval_ns, burst) in [
            ("10/s", 100_000_000, 10),
            ("300/m", 200_000_000, 5),
            ("1000/h", 3_600_000_000, 1),
            ("1/h", 3_600_000_000_000, 1),
            ("1000000/s", 1_000, 1_000_000),
        ] {
            let rate: Rate = text.parse().unwrap();
            assert_eq!((rate.to_string().as_str(), rate.interval().as_nanos()), (text, interval_ns));
            assert_eq!(rate.burst().get(), burst, "{text}");
        }
        for (text, error) in [
            ("", LimitError::Rate),
            ("10", LimitError::Rate),
            ("10/", LimitError::Rate),
            ("10/sec", LimitError::Rate),
            ("10/d", LimitError::Rate),
            ("/s", LimitError::Rate),
            ("-1/s", LimitError::Rate),
            ("+1/s", LimitError::Rate),
            ("1.5/s", LimitError::Rate),
            ("10 /s", LimitError::Rate),
            ("0/s", LimitError::Count),
            ("1000001/s", LimitError::Count),
            ("99999999999999999999/s", LimitError::Count),
        ] {
            assert_eq!(text.parse::<Rate>(), Err(error), "{text}");
        }
    }

    #[test]
    fn a_burst_is_there_again_within_a_day() {
        let limit = |rate: &str, burst| {
            let burst = NonZeroU32::new(burst).unwrap();
            RateLimit::new(Per::Route, rate.parse().unwrap(), burst, LIMITED_STATUS_DEFAULT).map(|_| ())
        };
        assert_eq!(limit("1/h", 24), Ok(()));
        assert_eq!(limit("1/h", 25), Err(LimitError::Refill));
        assert_eq!(limit("1000000/s", 1_000_000), Ok(()));
        assert_eq!(limit("1000000/s", 1_000_001), Err(LimitError::Refill));
    }

    #[test]
    fn a_prefix_has_32_to_128_bits() {
        let known: Vec<u8> = (0..=u8::MAX).filter(|&bits| Ipv6Prefix::new(bits).is_some()).collect();
        assert_eq!(known, (32..=128).collect::<Vec<u8>>());
    }
}
