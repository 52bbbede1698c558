//! `[[region]]`.

use std::num::NonZeroU32;

use crate::document::{Fault, ListOf, Number, Origin, Section, Words, Wrong, name, parsed, quoted};
use crate::model::limits::{REGION_CLIENTS_MAX, REGIONS_MAX};
use crate::model::{Capacity, Cidr, Region, RegionName, RegionWeight};

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
    let capacity = s.optional("capacity", &CAPACITY, "unlimited", "What it takes with all its nodes usable.");
    if capacity.is_some() {
        let (origin, path) = (s.origin_of("capacity"), s.path_of("capacity"));
        s.reader().warn(origin, path, "kept in the catalog; this version spills no traffic by it");
    }
    let weight = s.key("weight", &WEIGHT, RegionWeight::default(), "Its share beside the others', where shares count.");
    let clients = s.key(
        "clients",
        &ListOf(CIDR, REGION_CLIENTS_MAX),
        Vec::new(),
        "Clients that are there, by address; where ranges overlap the narrowest counts.",
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
        region: name.clone().map(|name| Region { name, prefer, capacity, weight, clients }),
        name: name.map(|name| (name, origin)),
    }
}
