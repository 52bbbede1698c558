//! Times of day and days of the week, in a zone.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

use jiff::civil::{self, Weekday};
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

/// A moment of the day, on some days.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct DailyTime {
    /// When.
    pub at: MinuteOfDay,
    /// On which days; empty: on all.
    pub days: Vec<Day>,
    /// Whose clocks and days.
    pub zone: Zone,
}

impl DailyTime {
    /// The last one until this moment; `None` only at the ends of what calendars know.
    pub fn last(&self, now: jiff::Timestamp) -> Option<jiff::Timestamp> {
        self.nearest(now, civil::Date::yesterday, |moment| moment <= now)
    }

    /// The first one after this moment.
    pub fn next(&self, now: jiff::Timestamp) -> Option<jiff::Timestamp> {
        // One of yesterday, 24:00, may be yet to come where clocks were set back.
        let yesterday = now.checked_sub(jiff::SignedDuration::from_hours(24)).ok()?;
        self.nearest(yesterday, civil::Date::tomorrow, |moment| moment > now)
    }

    fn nearest(
        &self,
        from: jiff::Timestamp,
        step: impl Fn(civil::Date) -> Result<civil::Date, jiff::Error>,
        fits: impl Fn(jiff::Timestamp) -> bool,
    ) -> Option<jiff::Timestamp> {
        let mut day = from.to_zoned(self.zone.0.clone()).date();
        // A week, and the days before and after.
        for _ in 0..10 {
            let is_one_of_them = self.days.is_empty() || self.days.iter().any(|known| known.0 == day.weekday());
            let moment = || {
                let midnight = day.to_datetime(civil::Time::midnight());
                let at = midnight.checked_add(jiff::SignedDuration::from_mins(i64::from(self.at.get()))).ok()?;
                // A time that clocks pass over is as much later; of one that comes twice it is the first.
                Some(at.to_zoned(self.zone.0.clone()).ok()?.timestamp())
            };
            if let Some(moment) = moment().filter(|moment| is_one_of_them && fits(*moment)) {
                return Some(moment);
            }
            day = step(day).ok()?;
        }
        None
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
    fn a_daily_time_has_a_last_one_and_a_next_one_through_weeks_and_changes_of_clocks() {
        for (at, days, zone, now, last, next) in [
            ("03:00", &[][..], "UTC", "2026-03-27T03:00:00Z", "2026-03-27T03:00:00Z", "2026-03-28T03:00:00Z"),
            ("03:00", &[], "UTC", "2026-03-27T02:59:59Z", "2026-03-26T03:00:00Z", "2026-03-27T03:00:00Z"),
            ("03:00", &["sun"], "UTC", "2026-03-27T12:00:00Z", "2026-03-22T03:00:00Z", "2026-03-29T03:00:00Z"),
            ("24:00", &["fri"], "UTC", "2026-03-27T23:59:00Z", "2026-03-21T00:00:00Z", "2026-03-28T00:00:00Z"),
            ("00:00", &["sat"], "UTC", "2026-03-28T00:00:00Z", "2026-03-28T00:00:00Z", "2026-04-04T00:00:00Z"),
            // On 2026-03-29 clocks in Berlin pass from 2 to 3.
            ("02:30", &[], "Europe/Berlin", "2026-03-28T12:00:00Z", "2026-03-28T01:30:00Z", "2026-03-29T01:30:00Z"),
            // On 2026-10-25 they are set back from 3 to 2.
            ("02:30", &[], "Europe/Berlin", "2026-10-25T00:00:00Z", "2026-10-24T00:30:00Z", "2026-10-25T00:30:00Z"),
            ("02:30", &[], "Europe/Berlin", "2026-10-25T01:45:00Z", "2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"),
        ] {
            let daily = DailyTime {
                at: at.parse().unwrap(),
                days: days.iter().map(|day| day.parse().unwrap()).collect(),
                zone: zone.parse().unwrap(),
            };
            let now: jiff::Timestamp = now.parse().unwrap();
            assert_eq!(daily.last(now), Some(last.parse().unwrap()), "last {at} {days:?} {zone} at {now}");
            assert_eq!(daily.next(now), Some(next.parse().unwrap()), "next {at} {days:?} {zone} at {now}");
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
