//! The least of all, or of a few drawn by weight where looking at all would take too long (Mitzenmacher 2001: a few
//! choices are nearly as good as all).

use super::draw::Draw;
use crate::host::Dice;

/// Costs that are worked out before any is compared: without a branch between them the processor fetches many nodes'
/// counts at the same time.
const AT_ONCE: usize = 64;
/// Lanes in which the least of them is found.
const LANES: usize = 8;
/// Rounds of draws before the caller is to look at all.
const ROUNDS_MAX: usize = 4;
/// Draws to get another candidate than the one before.
const REDRAWS_MAX: usize = 3;

/// The candidate with the least cost; an infinite one is not to be had. Among equals each wins by the chance of its
/// weight, so that an idle pool shares by weight and does not always begin with its first node.
#[expect(clippy::cast_possible_truncation, reason = "a chance needs no more than 24 bits")]
pub(super) fn of_all(
    count: usize,
    dice: &mut Dice,
    weight: impl Fn(usize) -> f32,
    mut cost: impl FnMut(usize) -> f32,
) -> Option<usize> {
    let mut best: Option<usize> = None;
    let mut least = f32::INFINITY;
    let mut tied_weight = 0.0;
    for start in (0..count).step_by(AT_ONCE) {
        let mut costs = [f32::INFINITY; AT_ONCE];
        for (slot, candidate) in costs.iter_mut().zip(start..count) {
            *slot = cost(candidate);
        }
        let least_here = least_of(&costs);
        if least_here > least || least_here == f32::INFINITY {
            continue;
        }
        if least_here < least {
            (best, least, tied_weight) = (None, least_here, 0.0);
        }
        let mut weights = [0.0; AT_ONCE];
        for ((slot, &cost), candidate) in weights.iter_mut().zip(&costs).zip(start..count) {
            let weight = weight(candidate);
            *slot = if cost <= least { weight } else { 0.0 };
        }
        let weight_here: f32 = weights.iter().sum();
        tied_weight += weight_here;
        let chance = dice.fraction() as f32 * tied_weight;
        if best.is_none() || chance < weight_here {
            // Given that it is one of these, the same chance says which. Rounding may leave some of it at the end.
            let mut left = chance;
            let at = weights.iter().position(|weight| {
                left -= weight;
                left < 0.0
            });
            let at = at.or_else(|| weights.iter().rposition(|&weight| weight > 0.0));
            best = at.map(|at| start + at);
        }
    }
    best
}

fn least_of(costs: &[f32; AT_ONCE]) -> f32 {
    let mut lanes = [f32::INFINITY; LANES];
    for costs in costs.chunks_exact(LANES) {
        for (lane, &cost) in lanes.iter_mut().zip(costs) {
            *lane = if cost < *lane { cost } else { *lane };
        }
    }
    lanes.into_iter().fold(f32::INFINITY, f32::min)
}

/// The least of `DRAWS` drawn by weight; drawn again, up to `ROUNDS_MAX` times, while none of them is to be had. Among
/// equals the first drawn wins, so that an idle pool shares by weight. No one is drawn twice in a row, if that can be
/// helped: of two that are the same there is no better one.
pub(super) fn of_draws<const DRAWS: usize>(
    table: &Draw,
    dice: &mut Dice,
    mut cost: impl FnMut(usize) -> f32,
) -> Option<usize> {
    for _ in 0..ROUNDS_MAX {
        // First all draws, then all costs, then the comparison: as in `of_all`, nothing waits for a look at one node
        // before the next is under way.
        let mut drawn = [0; DRAWS];
        let mut last = None;
        for slot in &mut drawn {
            let mut candidate = table.draw(dice)?;
            for _ in 0..REDRAWS_MAX {
                if last != Some(candidate) {
                    break;
                }
                candidate = table.draw(dice)?;
            }
            last = Some(candidate);
            *slot = candidate;
        }
        let costs = drawn.map(&mut cost);
        let mut best = (f32::INFINITY, None);
        for (cost, candidate) in costs.into_iter().zip(drawn) {
            best = if cost < best.0 { (cost, Some(candidate)) } else { best };
        }
        if best.1.is_some() {
            return best.1;
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_wins_and_what_cannot_be_had_does_not() {
        let costs = [3.0, f32::INFINITY, 1.0, 2.0];
        let mut dice = Dice::from_seed(1);
        assert_eq!(of_all(4, &mut dice, |_| 1.0, |i| costs[i]), Some(2));
        let table = Draw::new(&[1.0; 4]);
        assert_eq!(of_draws::<16>(&table, &mut dice, |i| costs[i]), Some(2));
        assert_eq!(of_all(1_000, &mut dice, |_| 1.0, |i| if i == 777 { -1.0 } else { i as f32 }), Some(777));
        assert_eq!(of_all(0, &mut dice, |_| 1.0, |_| 0.0), None);
        assert_eq!(of_all(4, &mut dice, |_| 1.0, |_| f32::INFINITY), None);
        assert_eq!(of_draws::<2>(&table, &mut dice, |_| f32::INFINITY), None);
    }

    #[test]
    fn equals_win_by_the_chance_of_their_weights() {
        let weights = [1.0_f32, 2.0, 5.0];
        let table = Draw::new(&[1.0, 2.0, 5.0]);
        let mut dice = Dice::from_seed(3);
        let mut won = [[0_u32; 3]; 2];
        for _ in 0..80_000 {
            won[0][of_all(3, &mut dice, |i| weights[i], |_| 0.0).unwrap()] += 1;
            won[1][of_draws::<2>(&table, &mut dice, |_| 0.0).unwrap()] += 1;
        }
        // Two of the 200 are equal, each in another batch.
        let costs = |i| if i == 3 || i == 150 { 1.0 } else { 2.0 };
        let last = (0..8_000).filter(|_| of_all(200, &mut dice, |_| 1.0, costs) == Some(150)).count();
        assert!(last.abs_diff(4_000) < 300, "{last}");
        for won in won {
            for (won, expected) in won.into_iter().zip([10_000, 20_000, 50_000]) {
                assert!(won.abs_diff(expected) < 800, "{won} and {expected}");
            }
        }
    }
}
