//! How many are enough: arithmetic that knows neither who asks nor what for.

use crate::model::{Electors, PeerId};

/// How many electors have to agree.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Need {
    /// More than half: two groups that are enough have a member in common.
    Majority,
    /// Every one of them: before the first commit nobody could tell a new cluster from one that lost its disks.
    All,
}

impl Need {
    /// How many of `electors` that is.
    pub(super) fn of(self, electors: usize) -> usize {
        match self {
            Self::Majority => electors / 2 + 1,
            Self::All => electors,
        }
    }
}

/// What one elector said.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Ballot {
    Yes,
    No,
    Silent,
}

/// Where a vote stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Outcome {
    /// Enough have agreed.
    Won,
    /// Enough cannot agree any more.
    Lost,
    /// Neither yet.
    Pending,
}

/// Where a vote among `electors` stands.
pub(super) fn outcome(electors: &Electors, need: Need, mut ballot: impl FnMut(&PeerId) -> Ballot) -> Outcome {
    let (mut yes, mut no) = (0, 0);
    for id in electors.iter() {
        match ballot(id) {
            Ballot::Yes => yes += 1,
            Ballot::No => no += 1,
            Ballot::Silent => {}
        }
    }
    let needed = need.of(electors.len());
    if yes >= needed {
        Outcome::Won
    } else if electors.len() - no < needed {
        Outcome::Lost
    } else {
        Outcome::Pending
    }
}

/// The latest moment that enough of them have reached, where each has reached its own; `None` where not enough have one.
pub(super) fn reached_by<T: Copy + Ord>(
    electors: &Electors,
    need: Need,
    moment: impl FnMut(&PeerId) -> Option<T>,
) -> Option<T> {
    let mut moments: Vec<T> = electors.iter().filter_map(moment).collect();
    moments.sort_unstable();
    moments.iter().rev().nth(need.of(electors.len()) - 1).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn electors(count: usize) -> Electors {
        Electors::new((0..count).map(|at| format!("p{at}").parse().unwrap())).unwrap()
    }

    #[test]
    fn a_majority_is_more_than_half() {
        let needs: Vec<_> = (1..=7).map(|count| Need::Majority.of(count)).collect();
        assert_eq!(needs, [1, 2, 2, 3, 3, 4, 4]);
        assert!((1..=7).all(|count| Need::All.of(count) == count));
    }

    /// Every split of one to seven electors into yes, no and silent.
    #[test]
    fn a_vote_is_won_lost_or_pending_as_counted() {
        for count in 1..=7 {
            let electors = electors(count);
            for yes in 0..=count {
                for no in 0..=count - yes {
                    let ballot = |id: &PeerId| match id.as_str()[1..].parse::<usize>().unwrap() {
                        at if at < yes => Ballot::Yes,
                        at if at < yes + no => Ballot::No,
                        _ => Ballot::Silent,
                    };
                    let silent = count - yes - no;
                    let majority = match (2 * yes > count, 2 * (yes + silent) > count) {
                        (true, _) => Outcome::Won,
                        (false, false) => Outcome::Lost,
                        (false, true) => Outcome::Pending,
                    };
                    assert_eq!(outcome(&electors, Need::Majority, ballot), majority, "{yes}:{no} of {count}");
                    let all = match (yes == count, no > 0) {
                        (true, _) => Outcome::Won,
                        (false, true) => Outcome::Lost,
                        (false, false) => Outcome::Pending,
                    };
                    assert_eq!(outcome(&electors, Need::All, ballot), all, "{yes}:{no} of {count}");
                }
            }
        }
    }

    #[test]
    fn majorities_of_lists_that_differ_by_one_have_a_member_in_common() {
        for count in 1..=7_usize {
            assert!(Need::Majority.of(count) + Need::Majority.of(count + 1) > count + 1, "{count}");
        }
    }

    #[test]
    fn enough_have_reached_the_latest_moment_but_for_the_slowest() {
        for (moments, majority, all) in [
            (&[Some(5)][..], Some(5), Some(5)),
            (&[Some(5), None], None, None),
            (&[Some(5), Some(3)], Some(3), Some(3)),
            (&[Some(5), Some(3), None], Some(3), None),
            (&[Some(5), Some(3), Some(9)], Some(5), Some(3)),
            (&[None, Some(3), Some(9), Some(4)], Some(3), None),
            (&[Some(1), Some(2), Some(3), Some(4), Some(5)], Some(3), Some(1)),
        ] {
            let electors = electors(moments.len());
            let moment = |id: &PeerId| moments[id.as_str()[1..].parse::<usize>().unwrap()];
            assert_eq!(reached_by(&electors, Need::Majority, moment), majority, "{moments:?}");
            assert_eq!(reached_by(&electors, Need::All, moment), all, "{moments:?}");
        }
    }
}
