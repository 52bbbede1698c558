//! How a region is chosen, where a strategy and not the client's place decides.

use std::time::Duration;

use crate::balance::PoolLive;
use crate::host::Dice;
use crate::model::{RegionName, RegionStrategy};

/// What a strategy looks at of a region.
pub(super) struct Standing {
    pub(super) weight: f64,
    /// Of the checks of its usable nodes, the median; `None`: nobody has measured it.
    pub(super) latency: Option<Duration>,
}

/// A choice among regions, which are numbered from 0.
#[derive(Debug, PartialEq)]
pub(super) enum Chooser {
    /// Each in turn.
    Turns(usize),
    /// By chance: the sums of the weights up to each.
    Weights(Vec<f64>),
    /// Always this one.
    One(usize),
    /// Nobody is to be chosen.
    Nobody,
}

impl Chooser {
    pub(super) fn of(
        strategy: RegionStrategy,
        names: &[RegionName],
        standing: impl Fn(&RegionName) -> Standing,
    ) -> Self {
        if names.is_empty() {
            return Self::Nobody;
        }
        match strategy {
            RegionStrategy::Nearest | RegionStrategy::Any => Self::Nobody,
            RegionStrategy::RoundRobin => Self::Turns(names.len()),
            RegionStrategy::Weighted => {
                let mut sum = 0.0;
                let sums = names.iter().map(|name| {
                    sum += standing(name).weight;
                    sum
                });
                Self::Weights(sums.collect())
            }
            RegionStrategy::LeastLatency => {
                // One that nobody has measured may be anywhere: it comes last.
                let latency = |name: &RegionName| standing(name).latency.unwrap_or(Duration::MAX);
                let nearest = (0..names.len()).min_by_key(|&at| latency(&names[at]));
                nearest.map_or(Self::Nobody, Self::One)
            }
        }
    }

    /// Whose turn it is.
    pub(super) fn choose(&self, live: &PoolLive, dice: &mut Dice) -> Option<usize> {
        match self {
            Self::Turns(count) => Some(live.next_region(*count)),
            Self::Weights(_) | Self::One(_) | Self::Nobody => self.choose_instead(dice),
        }
    }

    /// Who takes the place of one that cannot. By chance where each has its turn: to count on would give that to the same one each time.
    pub(super) fn choose_instead(&self, dice: &mut Dice) -> Option<usize> {
        match self {
            Self::Turns(count) => Some(dice.below(*count)),
            Self::Weights(sums) => {
                let drawn = dice.fraction() * sums.last()?;
                Some(sums.partition_point(|&sum| sum <= drawn).min(sums.len() - 1))
            }
            Self::One(at) => Some(*at),
            Self::Nobody => None,
        }
    }
}

/// The lower median; `None` of nothing.
pub(super) fn median(mut times: Vec<Duration>) -> Option<Duration> {
    let middle = times.len().checked_sub(1)? / 2;
    Some(*times.select_nth_unstable(middle).1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shares(strategy: RegionStrategy) -> [usize; 3] {
        let names: Vec<RegionName> = ["a", "b", "c"].map(|name| name.parse().unwrap()).into();
        let standing = |name: &RegionName| match name.as_str() {
            "a" => Standing { weight: 1.0, latency: None },
            "b" => Standing { weight: 2.0, latency: Some(Duration::from_millis(20)) },
            _ => Standing { weight: 1.0, latency: Some(Duration::from_millis(30)) },
        };
        let chooser = Chooser::of(strategy, &names, standing);
        let (live, mut dice) = (PoolLive::default(), Dice::from_seed(1));
        let mut counts = [0; 3];
        for _ in 0..1_200 {
            if let Some(at) = chooser.choose(&live, &mut dice) {
                counts[at] += 1;
            }
        }
        counts
    }

    #[test]
    fn regions_get_their_turns_their_weights_or_go_by_latency() {
        assert_eq!(shares(RegionStrategy::RoundRobin), [400; 3]);
        assert_eq!(shares(RegionStrategy::LeastLatency), [0, 1_200, 0]);
        let [a, b, c] = shares(RegionStrategy::Weighted);
        assert!(a.abs_diff(300) < 60 && b.abs_diff(600) < 60 && c.abs_diff(300) < 60, "{a} {b} {c}");
        assert_eq!(shares(RegionStrategy::Nearest), [0; 3]);
    }
}
