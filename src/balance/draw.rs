//! Drawing by weight: an alias table (Walker 1977, built as Vose 1991 has it), so that a draw costs one random number
//! and one look, however many candidates there are.

use crate::host::Dice;

/// A prepared lottery. Candidates are numbered from 0.
#[derive(Debug)]
pub(super) struct Draw {
    lots: Vec<Lot>,
}

/// Half of the chances of a lot are its owner's up to `threshold` of 2³², the rest goes to `alias`.
#[derive(Clone, Copy, Debug)]
struct Lot {
    threshold: u32,
    alias: u32,
}

impl Draw {
    /// A lottery in which candidate `i` wins with the chance `weights[i]` of their sum. Weights are positive.
    pub(super) fn new(weights: &[f64]) -> Self {
        let mean = weights.iter().sum::<f64>() / weights.len().max(1) as f64;
        let mut fill: Vec<f64> = weights.iter().map(|weight| weight / mean).collect();
        let (mut small, mut large): (Vec<usize>, Vec<usize>) = (0..fill.len()).partition(|&i| fill[i] < 1.0);
        let mut lots: Vec<Lot> = (0..fill.len()).map(|i| Lot { threshold: u32::MAX, alias: index(i) }).collect();
        while let (Some(&poor), Some(&rich)) = (small.last(), large.last()) {
            small.pop();
            lots[poor] = Lot { threshold: threshold(fill[poor]), alias: index(rich) };
            fill[rich] -= 1.0 - fill[poor];
            if fill[rich] < 1.0 {
                large.pop();
                small.push(rich);
            }
        }
        Self { lots }
    }

    /// A candidate by chance; `None` where there is none.
    pub(super) fn draw(&self, dice: &mut Dice) -> Option<usize> {
        let bits = dice.bits();
        // The high half picks the lot (multiply and shift, as Lemire 2019, without its correction: a bias of 10,000 in
        // 2³² is nobody's business), the low half decides within it.
        let at = ((bits >> 32) * self.lots.len() as u64) >> 32;
        let lot = self.lots.get(usize::try_from(at).ok()?)?;
        let low = bits & u64::from(u32::MAX);
        Some(if low <= u64::from(lot.threshold) { usize::try_from(at).ok()? } else { lot.alias as usize })
    }
}

fn index(i: usize) -> u32 {
    u32::try_from(i).unwrap_or(u32::MAX)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a fraction of 0 to 1 of 2³²; the cast saturates"
)]
fn threshold(fraction: f64) -> u32 {
    (fraction * f64::from(u32::MAX)) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn candidates_win_in_proportion_to_their_weights() {
        for weights in [vec![1.0], vec![1.0, 1.0], vec![3.0, 1.0], vec![0.1, 1.0, 10.0], vec![1.0, 1_000.0, 5.0, 5.0]] {
            let draw = Draw::new(&weights);
            let mut dice = Dice::from_seed(7);
            let mut won = vec![0_u32; weights.len()];
            for _ in 0..200_000 {
                won[draw.draw(&mut dice).unwrap()] += 1;
            }
            let sum: f64 = weights.iter().sum();
            for (weight, won) in weights.iter().zip(won) {
                let (expected, got) = (weight / sum, f64::from(won) / 200_000.0);
                assert!((expected - got).abs() < 0.005, "{weights:?}: {expected} and {got}");
            }
        }
    }

    #[test]
    fn nobody_wins_where_there_is_nobody() {
        assert_eq!(Draw::new(&[]).draw(&mut Dice::from_seed(1)), None);
    }
}
