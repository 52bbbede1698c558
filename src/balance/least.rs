//! The least of all, or of a few drawn by weight where looking at all would take too long (Mitzenmacher 2001: a few
//! choices are nearly as good as all).

use super::draw::Draw;
use crate::host::Dice;

/// The candidate with the least cost. `None` as a cost: not to be had. Among equals each wins by the chance of its weight,
/// so that an idle pool shares by weight and does not always begin with its first node.
pub(super) fn of_all(
    count: usize,
    dice: &mut Dice,
    weight: impl Fn(usize) -> f32,
    mut cost: impl FnMut(usize) -> Option<f32>,
) -> Option<usize> {
    let mut best: Option<(usize, f32)> = None;
    let mut tied_weight = 0.0;
    for candidate in 0..count {
        let Some(cost) = cost(candidate) else { continue };
        match best {
            Some((_, least)) if cost > least => {}
            Some((_, least)) if cost < least => {
                best = Some((candidate, cost));
                tied_weight = weight(candidate);
            }
            Some(_) => {
                tied_weight += weight(candidate);
                if dice.fraction() * f64::from(tied_weight) < f64::from(weight(candidate)) {
                    best = Some((candidate, cost));
                }
            }
            None => {
                best = Some((candidate, cost));
                tied_weight = weight(candidate);
            }
        }
    }
    best.map(|(candidate, _)| candidate)
}

/// The least of `wanted` that may be had out of `draws_max` draws. Among equals the first drawn wins, so that an idle pool
/// shares by weight. The same one drawn twice in a row counts once.
pub(super) fn of_draws(
    table: &Draw,
    wanted: usize,
    draws_max: usize,
    dice: &mut Dice,
    mut cost: impl FnMut(usize) -> Option<f32>,
) -> Option<usize> {
    let mut best: Option<(usize, f32)> = None;
    let mut found = 0;
    for _ in 0..draws_max {
        let candidate = table.draw(dice)?;
        if best.is_some_and(|(standing, _)| standing == candidate) {
            continue;
        }
        let Some(cost) = cost(candidate) else { continue };
        if best.is_none_or(|(_, least)| cost < least) {
            best = Some((candidate, cost));
        }
        found += 1;
        if found == wanted {
            break;
        }
    }
    best.map(|(candidate, _)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_wins_and_what_cannot_be_had_does_not() {
        let costs = [Some(3.0), None, Some(1.0), Some(2.0)];
        let mut dice = Dice::from_seed(1);
        assert_eq!(of_all(4, &mut dice, |_| 1.0, |i| costs[i]), Some(2));
        let table = Draw::new(&[1.0; 4]);
        assert_eq!(of_draws(&table, 16, 64, &mut dice, |i| costs[i]), Some(2));
        assert_eq!(of_all(4, &mut dice, |_| 1.0, |_| None), None);
        assert_eq!(of_draws(&table, 2, 16, &mut dice, |_| None), None);
    }

    #[test]
    fn equals_win_by_the_chance_of_their_weights() {
        let weights = [1.0_f32, 2.0, 5.0];
        let table = Draw::new(&[1.0, 2.0, 5.0]);
        let mut dice = Dice::from_seed(3);
        let mut won = [[0_u32; 3]; 2];
        for _ in 0..80_000 {
            won[0][of_all(3, &mut dice, |i| weights[i], |_| Some(0.0)).unwrap()] += 1;
            won[1][of_draws(&table, 2, 16, &mut dice, |_| Some(0.0)).unwrap()] += 1;
        }
        for won in won {
            for (won, expected) in won.into_iter().zip([10_000, 20_000, 50_000]) {
                assert!(won.abs_diff(expected) < 800, "{won} and {expected}");
            }
        }
    }
}
