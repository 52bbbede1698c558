//! `[[region]]`.

use std::num::NonZeroU32;

use super::time::{DAY, MINUTE, ZONE};
use crate::document::{
    Fault, ListOf, Number, OneOrMore, Origin, Section, Span, Words, Wrong, name, parsed, quoted, whole,
};
use crate::model::limits::{REGION_CLIENTS_MAX, REGIONS_MAX};
use crate::model::{
    Capacity, Cidr, Continent, Country, DailyTime, Drill, Region, RegionName, RegionWeight, ScheduledDrill, Zone,
};

const CAPACITY: Words<Capacity> = Words::of(
    "requests a second, a whole number of 1 to 4294967295 and \"/s\": \"1000/s\"",
    |text| {
        let Some(number) = text.strip_suffix("/s") else {
            let wrong = Wrong::new("it does not say of which time");
            let is_number = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
            return Err(if is_number { wrong.hint(format!("write \"{text}/s\" for so many a second")) } else { wrong });
        };
        let number = number.trim_end();
        if number.is_empty() || !number.bytes().all(|b| b.is_ascii_digit()) {
            return Err(Wrong::new("it does not begin with a whole number"));
        }
        match number.parse::<u32>().map(NonZeroU32::new) {
            Ok(Some(number)) => Ok(Capacity(number)),
            Ok(None) => Err(Wrong::new("it is nothing").hint("drain the nodes of a region that is to take nothing")),
            Err(_) => Err(Wrong::new("it is more than 4294967295")),
        }
    },
    |capacity| format!("\"{}/s\"", capacity.0),
);

const CIDR: Words<Cidr> = Words::of("ranges of addresses, \"10.0.0.0/8\", or addresses", parsed, quoted);

const COUNTRY: Words<Country> = Words::of("countries, two letters each: \"DE\", \"US\"", parsed, quoted);

const CONTINENT: Words<Continent> = Words::of("AF, AN, AS, EU, NA, OC, SA", parsed, quoted);

/// More than there are.
const COUNTRIES_MAX: usize = 300;
const CONTINENTS_MAX: usize = 7;

const DAYS_MAX: usize = 7;

const WEIGHT: Number<RegionWeight> = Number {
    allowed: "a number above 0, at most 1000",
    read: RegionWeight::new,
    show: |weight| format!("{:?}", weight.get()),
};

/// What was read of one region; what is `None` was wrong and is reported.
pub(crate) struct RegionRead {
    pub name: Option<(RegionName, Origin)>,
    pub region: Option<Region>,
}

pub(super) fn regions(s: &mut Section<'_, '_, '_>) -> Vec<RegionRead> {
    s.list("region", "What is special about a region. Others need no word.", region)
}

fn region(s: &mut Section<'_, '_, '_>) -> RegionRead {
    let name: Option<RegionName> = s.required("name", &name(), "Its name, as peers and nodes say it.");
    if let Some(name) = &name {
        s.called("region", name, "");
    }
    let prefer = s.key(
        "prefer",
        &ListOf(crate::document::name::<RegionName>(), REGIONS_MAX),
        Vec::new(),
        "Where its traffic goes when it cannot stay, the best first. These need no `[[region]]` and no nodes.",
    );
    let capacity = s.optional(
        "capacity",
        &CAPACITY,
        "unlimited",
        "What it takes with all its nodes usable. What comes beyond that, or when nodes are lost, goes to other regions as long as \
         these stay below nine tenths of theirs; the rest is answered 503 with `Retry-After`.",
    );
    let weight = s.key("weight", &WEIGHT, RegionWeight::default(), "Its share beside the others', where shares count.");
    let clients = s.key(
        "clients",
        &ListOf(CIDR, REGION_CLIENTS_MAX),
        Vec::new(),
        "Clients that are there, by address; where ranges overlap the narrowest counts.",
    );
    let countries = s.key(
        "countries",
        &ListOf(COUNTRY, COUNTRIES_MAX),
        Vec::new(),
        "Countries whose clients are there, as the GeoIP file of a peer says; `clients` counts before it.",
    );
    let continents = s.key(
        "continents",
        &ListOf(CONTINENT, CONTINENTS_MAX),
        Vec::new(),
        "Continents whose clients are there, where no region names their country.",
    );
    let region_name = name.as_ref();
    let drill = s.optional_table(
        "drill",
        "A little of its traffic is held away from it for a little while, again and again, to see whether the others could take it. \
         It ends at once where they answer worse, or anything goes wrong. Left out: never by itself.",
        |s| drill(s, region_name),
    );
    for (at, preferred) in prefer.iter().enumerate() {
        let wrong = if Some(preferred) == name.as_ref() {
            "it names the region itself"
        } else if prefer[..at].contains(preferred) {
            "it names a region twice"
        } else {
            continue;
        };
        let fault = Fault::new(s.origin_of("prefer"), s.path_of("prefer"), wrong)
            .found(quoted(preferred))
            .hint("name each other region once, the best first");
        s.reader().fault(fault);
    }
    let origin = s.origin_of("name");
    RegionRead {
        region: name.clone().map(|name| Region {
            name,
            prefer,
            capacity,
            weight,
            clients,
            countries,
            continents,
            drill: drill.flatten(),
        }),
        name: name.map(|name| (name, origin)),
    }
}

fn drill(s: &mut Section<'_, '_, '_>, region: Option<&RegionName>) -> Option<ScheduledDrill> {
    let default = Drill::default();
    let at = s.required("at", &MINUTE, "When it begins.");
    let days = s.optional("days", &OneOrMore(DAY, DAYS_MAX), "every day", "On which days.");
    let zone = s.key("zone", &ZONE, Zone::default(), "Whose clocks and days.");
    let drill = Drill {
        percent: s.key(
            "percent",
            &whole(1, u64::from(Drill::PERCENT_MAX)),
            default.percent,
            "How much of its traffic is held away.",
        ),
        lasts: s.key("for", &Span(Drill::LASTS_MIN, Drill::LASTS_MAX), default.lasts, "How long."),
        to: s.optional("to", &name::<RegionName>(), "where it would go without the region", "Where it goes first."),
    };
    if drill.to.is_some() && drill.to.as_ref() == region {
        let fault = Fault::new(s.origin_of("to"), s.path_of("to"), "it names the region itself");
        s.reader().fault(fault.hint("name another region, or leave the key out"));
    }
    Some(ScheduledDrill { at: DailyTime { at: at?, days: days.unwrap_or_default(), zone }, drill })
}
