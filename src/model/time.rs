//! Times of day and days of the week, in a zone.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

use jiff::civil::Weekday;
use jiff::tz::TimeZone;

/// A time of the day, from 00:00 to 24:00, to the minute.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct MinuteOfDay(u16);

/// Why a text is no time, no day or no zone.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum TimeError {
    /// Not `hh:mm` from 00:00 to 24:00.
    #[error("it is no time of day; write 09:00 or 17:30, at most 24:00")]
    Minute,
    /// None of the seven.
    #[error("it is no day of the week; write mon, tue, wed, thu, fri, sat or sun")]
    Day,
    /// Not a zone of the IANA database.
    #[error("it is no time zone; write a name of the IANA database: Europe/Berlin, America/New_York, UTC")]
    Zone,
}

impl MinuteOfDay {
    /// The first one.
    pub const MIDNIGHT: Self = Self(0);
    /// The end of the day.
    pub const END: Self = Self(24 * 60);

    /// Minutes since midnight: 0 to 1,440.
    pub fn get(self) -> u16 {
        self.0
    }
}

impl FromStr for MinuteOfDay {
    type Err = TimeError;

    fn from_str(text: &str) -> Result<Self, TimeError> {
        let (hours, minutes) = text.split_once(':').ok_or(TimeError::Minute)?;
        let number = |text: &str| {
            let is_one = matches!(text.len(), 1 | 2) && text.bytes().all(|b| b.is_ascii_digit());
            if is_one { text.parse::<u16>().map_err(|_| TimeError::Minute) } else { Err(TimeError::Minute) }
        };
        let (hours, minutes) = (number(hours)?, number(minutes)?);
        let minute = hours * 60 + minutes;
        if minutes < 60 && minute <= Self::END.0 { Ok(Self(minute)) } else { Err(TimeError::Minute) }
    }
}

impl fmt::Display for MinuteOfDay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}:{:02}", self.0 / 60, self.0 % 60)
    }
}

/// A day of the week.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Day(pub Weekday);

const DAYS: [(&str, Weekday); 7] = [
    ("mon", Weekday::Monday),
    ("tue", Weekday::Tuesday),
    ("wed", Weekday::Wednesday),
    ("thu", Weekday::Thursday),
    ("fri", Weekday::Friday),
    ("sat", Weekday::Saturday),
    ("sun", Weekday::Sunday),
];

impl FromStr for Day {
    type Err = TimeError;

    fn from_str(text: &str) -> Result<Self, TimeError> {
        DAYS.iter().find(|(name, _)| *name == text).map(|(_, day)| Self(*day)).ok_or(TimeError::Day)
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(DAYS.iter().find(|(_, day)| *day == self.0).map_or("", |(name, _)| name))
    }
}

/// A time zone by its name in the IANA database, which is built in: every peer has the same rules.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Zone(TimeZone);

impl Zone {
    /// The zone.
    pub fn rules(&self) -> &TimeZone {
        &self.0
    }
}

impl Hash for Zone {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.iana_name().hash(state);
    }
}

impl Default for Zone {
    fn default() -> Self {
        Self(TimeZone::UTC)
    }
}

impl FromStr for Zone {
    type Err = TimeError;

    fn from_str(text: &str) -> Result<Self, TimeError> {
        jiff::tz::db().get(text).map(Self).map_err(|_| TimeError::Zone)
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.iana_name().unwrap_or("UTC"))
    }
}

/// A time of day on some days: from `from` until just before `to`. Where `to` is not after `from` it ends on the next day,
/// and `days` are those on which it begins.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct TimeWindow {
    /// When it begins.
    pub from: MinuteOfDay,
    /// When it is over.
    pub to: MinuteOfDay,
    /// On which days; empty: on all.
    pub days: Vec<Day>,
    /// Whose clocks and days.
    pub zone: Zone,
}

impl TimeWindow {
    /// Whether it is open at this moment.
    pub fn holds(&self, now: jiff::Timestamp) -> bool {
        let there = now.to_zoned(self.zone.0.clone());
        let minute = u16::try_from(i32::from(there.hour()) * 60 + i32::from(there.minute())).unwrap_or(0);
        let today = there.weekday();
        let begins_on = |day: Weekday| self.days.is_empty() || self.days.iter().any(|known| known.0 == day);
        let (from, to) = (self.from.get(), self.to.get());
        if from < to {
            return (from..to).contains(&minute) && begins_on(today);
        }
        (minute >= from && begins_on(today)) || (minute < to && begins_on(today.previous()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(from: &str, to: &str, days: &[&str], zone: &str) -> TimeWindow {
        TimeWindow {
            from: from.parse().unwrap(),
            to: to.parse().unwrap(),
            days: days.iter().map(|day| day.parse().unwrap()).collect(),
            zone: zone.parse().unwrap(),
        }
    }

    #[test]
    fn a_window_is_open_from_its_begin_until_just_before_its_end() {
        // 2026-03-27 was a Friday.
        for (from, to, days, zone, at, holds) in [
            ("09:00", "17:00", &[][..], "UTC", "2026-03-27T09:00:00Z", true),
            ("09:00", "17:00", &[], "UTC", "2026-03-27T16:59:59Z", true),
            ("09:00", "17:00", &[], "UTC", "2026-03-27T17:00:00Z", false),
            ("09:00", "17:00", &[], "UTC", "2026-03-27T08:59:59Z", false),
            ("09:00", "17:00", &["fri"], "UTC", "2026-03-27T09:00:00Z", true),
            ("09:00", "17:00", &["sat"], "UTC", "2026-03-27T09:00:00Z", false),
            ("00:00", "24:00", &["sat", "sun"], "UTC", "2026-03-28T23:59:59Z", true),
            ("22:00", "06:00", &["fri"], "UTC", "2026-03-27T23:00:00Z", true),
            ("22:00", "06:00", &["fri"], "UTC", "2026-03-28T05:59:00Z", true),
            ("22:00", "06:00", &["fri"], "UTC", "2026-03-27T05:59:00Z", false),
            ("22:00", "06:00", &["fri"], "UTC", "2026-03-28T06:00:00Z", false),
            ("08:00", "08:00", &[], "UTC", "2026-03-28T03:00:00Z", true),
            ("09:00", "10:00", &[], "Europe/Berlin", "2026-03-27T08:30:00Z", true),
            // Two days later Berlin is two hours ahead.
            ("09:00", "10:00", &[], "Europe/Berlin", "2026-03-29T07:30:00Z", true),
            ("00:00", "01:00", &["sat"], "Pacific/Auckland", "2026-03-27T11:30:00Z", true),
        ] {
            let open = window(from, to, days, zone).holds(at.parse().unwrap());
            assert_eq!(open, holds, "{from}-{to} {days:?} {zone} at {at}");
        }
    }

    #[test]
    fn times_days_and_zones_that_do_not_exist_are_refused() {
        for text in ["", "9", "24:01", "09:60", "-1:00", "9:0:0", "09:000"] {
            assert_eq!(text.parse::<MinuteOfDay>(), Err(TimeError::Minute), "{text}");
        }
        assert_eq!("9:05".parse::<MinuteOfDay>().unwrap().to_string(), "09:05");
        assert_eq!("monday".parse::<Day>(), Err(TimeError::Day));
        assert_eq!("Europe/Atlantis".parse::<Zone>(), Err(TimeError::Zone));
        assert_eq!("Europe/Berlin".parse::<Zone>().unwrap().to_string(), "Europe/Berlin");
    }
}
