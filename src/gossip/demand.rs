//! What a peer is asked by region, as text: `eu=230,us=7.4,*=40`, requests a second; of all of them 40 are to go to another region. The
//! busiest regions are named.

use crate::model::limits::{DEMANDS_PER_PEER_MAX, GOSSIP_VALUE_BYTES_MAX, ID_BYTES_MAX};
use crate::model::{Demand, RegionName};

/// Bytes of a rate: it has three digits, up to a billion.
const RATE_BYTES_MAX: usize = 12;
/// More a second is nonsense.
const RATE_MAX: f64 = 1e9;
/// What stands for the guests. No region has such a name.
const GUESTS: &str = "*";

const _: () = assert!((DEMANDS_PER_PEER_MAX + 1) * (ID_BYTES_MAX + RATE_BYTES_MAX + 2) <= GOSSIP_VALUE_BYTES_MAX);

/// The text; `None` where nothing is asked.
pub(super) fn text(demand: Demand) -> Option<String> {
    let Demand { mut by_region, guests } = demand;
    by_region.sort_by(|(name, rate), (other, other_rate)| other_rate.total_cmp(rate).then_with(|| name.cmp(other)));
    by_region.truncate(DEMANDS_PER_PEER_MAX);
    by_region.sort_by(|(name, _), (other, _)| name.cmp(other));
    let entry = |name: &str, rate: f64| format!("{name}={}", rate.min(RATE_MAX));
    let mut told: Vec<String> = by_region.iter().map(|(name, rate)| entry(name.as_str(), *rate)).collect();
    told.extend((guests > 0.0).then(|| entry(GUESTS, guests)));
    (!told.is_empty()).then(|| told.join(","))
}

/// Reads such a text. `None`: it is not one.
pub(super) fn read(text: &str) -> Option<Demand> {
    if text.len() > GOSSIP_VALUE_BYTES_MAX {
        return None;
    }
    let mut demand = Demand::default();
    for entry in text.split(',') {
        let (name, rate) = entry.split_once('=')?;
        let rate = rate.parse::<f64>().ok().filter(|rate| (0.0..=RATE_MAX).contains(rate))?;
        match name {
            GUESTS => demand.guests = rate,
            name => demand.by_region.push((name.parse::<RegionName>().ok()?, rate)),
        }
    }
    (demand.by_region.len() <= DEMANDS_PER_PEER_MAX).then_some(demand)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn name(text: &str) -> RegionName {
        text.parse().unwrap()
    }

    fn demand(by_region: Vec<(RegionName, f64)>, guests: f64) -> Demand {
        Demand { by_region, guests }
    }

    #[test]
    fn what_is_told_is_read_and_the_busiest_are_told() {
        let of = |guests| demand(vec![(name("us"), 7.4), (name("eu"), 230.0)], guests);
        assert_eq!(text(of(0.0)).as_deref(), Some("eu=230,us=7.4"));
        assert_eq!(text(of(40.5)).as_deref(), Some("eu=230,us=7.4,*=40.5"));
        assert_eq!(read("eu=230,us=7.4,*=40.5"), Some(demand(vec![(name("eu"), 230.0), (name("us"), 7.4)], 40.5)));
        assert_eq!(text(Demand::default()), None);
        assert_eq!(text(demand(Vec::new(), 1.0)).as_deref(), Some("*=1"));
        let many = (0..200).map(|at| (name(&format!("r{at}")), f64::from(at))).collect();
        let told = read(&text(demand(many, 7.0)).unwrap()).unwrap();
        assert_eq!((told.by_region.len(), told.guests), (DEMANDS_PER_PEER_MAX, 7.0));
        assert!(told.by_region.iter().all(|(_, rate)| *rate >= 136.0));
    }

    #[test]
    fn rates_that_are_none_are_refused() {
        for text in ["", "eu", "eu=", "eu=x", "eu=-1", "eu=NaN", "eu=inf", "eu=1e10", "EU=1", "eu=1,", "*=-1", "*"] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in ".{0,200}") {
            let _ = read(&text);
        }
    }
}
