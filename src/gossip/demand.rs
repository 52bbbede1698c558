//! What a peer is asked by region, as text: `eu=230,us=7.4`, requests a second. The busiest regions are named.

use crate::model::RegionName;
use crate::model::limits::{DEMANDS_PER_PEER_MAX, GOSSIP_VALUE_BYTES_MAX, ID_BYTES_MAX};

/// Bytes of a rate: it has two digits, up to a billion.
const RATE_BYTES_MAX: usize = 12;
/// More a second is nonsense.
const RATE_MAX: f64 = 1e9;

const _: () = assert!(DEMANDS_PER_PEER_MAX * (ID_BYTES_MAX + RATE_BYTES_MAX + 2) <= GOSSIP_VALUE_BYTES_MAX);

/// The text; `None` where nothing is asked.
pub(super) fn text(mut demand: Vec<(RegionName, f64)>) -> Option<String> {
    demand.sort_by(|(name, rate), (other, other_rate)| other_rate.total_cmp(rate).then_with(|| name.cmp(other)));
    demand.truncate(DEMANDS_PER_PEER_MAX);
    demand.sort_by(|(name, _), (other, _)| name.cmp(other));
    let told: Vec<String> = demand.iter().map(|(name, rate)| format!("{name}={}", rate.min(RATE_MAX))).collect();
    (!told.is_empty()).then(|| told.join(","))
}

/// Reads such a text. `None`: it is not one.
pub(super) fn read(text: &str) -> Option<Vec<(RegionName, f64)>> {
    if text.len() > GOSSIP_VALUE_BYTES_MAX {
        return None;
    }
    let entry = |entry: &str| {
        let (name, rate) = entry.split_once('=')?;
        let rate = rate.parse::<f64>().ok().filter(|rate| (0.0..=RATE_MAX).contains(rate))?;
        Some((name.parse().ok()?, rate))
    };
    let demand: Vec<(RegionName, f64)> = text.split(',').map(entry).collect::<Option<_>>()?;
    (demand.len() <= DEMANDS_PER_PEER_MAX).then_some(demand)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn name(text: &str) -> RegionName {
        text.parse().unwrap()
    }

    #[test]
    fn what_is_told_is_read_and_the_busiest_are_told() {
        let demand = vec![(name("us"), 7.4), (name("eu"), 230.0)];
        assert_eq!(text(demand.clone()).as_deref(), Some("eu=230,us=7.4"));
        assert_eq!(read("eu=230,us=7.4"), Some(vec![(name("eu"), 230.0), (name("us"), 7.4)]));
        assert_eq!(text(Vec::new()), None);
        let many = (0..200).map(|at| (name(&format!("r{at}")), f64::from(at))).collect();
        let told = read(&text(many).unwrap()).unwrap();
        assert_eq!(told.len(), DEMANDS_PER_PEER_MAX);
        assert!(told.iter().all(|(_, rate)| *rate >= 136.0));
    }

    #[test]
    fn rates_that_are_none_are_refused() {
        for text in ["", "eu", "eu=", "eu=x", "eu=-1", "eu=NaN", "eu=inf", "eu=1e10", "EU=1", "eu=1,"] {
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
