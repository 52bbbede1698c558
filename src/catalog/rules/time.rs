//! Times of day, days and zones, as they are written.

use crate::document::{Words, parsed, quoted};
use crate::model::{Day, MinuteOfDay, Zone};

pub(super) const MINUTE: Words<MinuteOfDay> = Words::of("a time of day, \"00:00\" to \"24:00\"", parsed, quoted);

pub(super) const DAY: Words<Day> = Words::of(
    "mon, tue, wed, thu, fri, sat, sun",
    |text| {
        parsed::<Day>(text).map_err(|wrong| {
            let short: String = text.to_ascii_lowercase().chars().take(3).collect();
            if short.parse::<Day>().is_ok() { wrong.hint(format!("write \"{short}\"")) } else { wrong }
        })
    },
    quoted,
);

pub(super) const ZONE: Words<Zone> = Words::of("a time zone of the IANA database, \"Europe/Berlin\"", parsed, quoted);
