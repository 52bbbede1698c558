//! Each in turn: a schedule made with the view. A node stands in it as often as its weight says and as evenly spread as
//! can be, so that a heavy node is not sent a burst.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Slots of a schedule, at least; a pool of more than half as many nodes has two slots a node.
const SLOTS: usize = 4_096;

/// A prepared round. Candidates are numbered from 0.
#[derive(Debug)]
pub(super) struct Rotation {
    slots: Vec<u32>,
}

impl Rotation {
    /// A round in which candidate `i` has a share of slots as near to `weights[i]` of their sum as the length allows, and
    /// at least one. Weights are positive.
    pub(super) fn new(weights: &[f64]) -> Self {
        let quotas = quotas(weights);
        // Earliest deadline first: the k-th slot of a node with quota q is due at (k + phase) / q of the round. Nodes
        // of one quota share the phases among them, or all light nodes would be due in one lump.
        let mut rank_of: Vec<usize> = vec![0; quotas.len()];
        let mut alike = std::collections::HashMap::<usize, usize>::new();
        for (rank, &quota) in rank_of.iter_mut().zip(&quotas) {
            let seen = alike.entry(quota).or_default();
            *rank = *seen;
            *seen += 1;
        }
        let mut due: Vec<(f64, u32)> = Vec::with_capacity(quotas.iter().sum());
        for (i, (&quota, &rank)) in quotas.iter().zip(&rank_of).enumerate() {
            let phase = (rank as f64 + 0.5) / alike[&quota] as f64;
            let node = u32::try_from(i).unwrap_or(u32::MAX);
            due.extend((0..quota).map(|k| ((k as f64 + phase) / quota as f64, node)));
        }
        due.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        Self { slots: due.into_iter().map(|(_, node)| node).collect() }
    }

    /// Whose turn it is; `None` where there is nobody.
    pub(super) fn next(&self, cursor: &AtomicUsize) -> Option<usize> {
        if self.slots.is_empty() {
            return None;
        }
        let turn = cursor.fetch_add(1, Relaxed) % self.slots.len();
        Some(self.slots[turn] as usize)
    }
}

/// How many slots each gets: exactly in proportion where weights are whole numbers that allow it, else by largest
/// remainder (Hamilton 1792).
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "weights are positive and bounded by 1000")]
fn quotas(weights: &[f64]) -> Vec<usize> {
    let slots_max = SLOTS.max(2 * weights.len());
    if weights.iter().all(|weight| weight.fract() == 0.0) {
        let whole: Vec<usize> = weights.iter().map(|&weight| weight as usize).collect();
        let divisor = whole.iter().copied().fold(0, greatest_common_divisor).max(1);
        if whole.iter().sum::<usize>() / divisor <= slots_max {
            return whole.into_iter().map(|weight| weight / divisor).collect();
        }
    }
    let sum: f64 = weights.iter().sum();
    let ideal: Vec<f64> = weights.iter().map(|weight| weight / sum * slots_max as f64).collect();
    let mut quotas: Vec<usize> = ideal.iter().map(|&ideal| (ideal as usize).max(1)).collect();
    let left = slots_max.saturating_sub(quotas.iter().sum());
    let mut by_remainder: Vec<usize> = (0..ideal.len()).filter(|&i| ideal[i] >= 1.0).collect();
    by_remainder.sort_by(|&a, &b| ideal[b].fract().total_cmp(&ideal[a].fract()));
    for i in by_remainder.into_iter().take(left) {
        quotas[i] += 1;
    }
    quotas
}

fn greatest_common_divisor(a: usize, b: usize) -> usize {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round(weights: &[f64]) -> Vec<usize> {
        let rotation = Rotation::new(weights);
        let cursor = AtomicUsize::new(0);
        (0..rotation.slots.len()).map(|_| rotation.next(&cursor).unwrap()).collect()
    }

    #[test]
    fn equal_nodes_take_turns_in_order() {
        assert_eq!(round(&[1.0, 1.0, 1.0]), [0, 1, 2]);
        assert_eq!(round(&[7.0, 7.0]), [0, 1]);
        assert_eq!(Rotation::new(&[]).next(&AtomicUsize::new(0)), None);
    }

    #[test]
    fn heavy_nodes_come_more_often_and_never_in_a_burst() {
        assert_eq!(round(&[3.0, 1.0]), [0, 0, 1, 0]);
        assert_eq!(round(&[5.0, 1.0, 1.0]), [0, 1, 0, 0, 0, 2, 0]);
        let mut weights = vec![1.0; 100];
        weights.push(100.0);
        let order = round(&weights);
        assert!(order.windows(3).all(|three| three.iter().any(|&node| node != 100)), "{order:?}");
    }

    #[test]
    fn shares_are_those_of_the_weights_within_the_length_of_the_round() {
        for weights in [vec![0.1, 1.0, 1.0], vec![1_000.0, 999.0, 7.0], vec![1.0, 2.5, 0.5], vec![1_000.0, 0.1]] {
            let order = round(&weights);
            let sum: f64 = weights.iter().sum();
            for (i, weight) in weights.iter().enumerate() {
                let share = order.iter().filter(|&&node| node == i).count() as f64 / order.len() as f64;
                assert!((share - weight / sum).abs() < 2.0 / SLOTS as f64, "{weights:?} node {i}: {share}");
                assert!(share > 0.0);
            }
        }
    }

    #[test]
    fn a_round_is_bounded_with_as_many_nodes_as_there_may_be() {
        let weights: Vec<f64> = (0..10_000).map(|i| 1.0 + f64::from(i % 1_000)).collect();
        let order = round(&weights);
        assert!(order.len() <= 30_000, "{}", order.len());
    }
}
